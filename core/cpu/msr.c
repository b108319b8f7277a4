/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * RDMSR and WRMSR: SDM volume 4.  What is not listed here does not exist and
 * raises #GP, as on hardware; system software probes for that.
 */
#include "core/cpu/emu.h"

enum {
    MSR_TSC = 0x10,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_FEATURE_CONTROL = 0x3a,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_BIOS_UPDT_TRIG = 0x79,
    MSR_BIOS_SIGN_ID = 0x8b,
    MSR_PLATFORM_INFO = 0xce,
    MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_MISC_FEATURES = 0x140,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_BASE0 = 0x200,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
};
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_FMASK          0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u
/* AMD: registers that exist, read 0 and take writes without effect. */
#define MSR_AMD_SYSCFG 0xc0010010u
#define MSR_AMD_HWCR   0xc0010015u
#define MSR_AMD_NB_CFG 0xc001001fu
/* Bit 24, TscFreqSel: the TSC counts at one frequency. */
#define AMD_HWCR_TSC_FREQ (1u << 24)
#define MSR_AMD_DE_CFG    0xc0011029u

#define APIC_BASE_BSP    (1u << 8)
#define APIC_BASE_X2APIC (1u << 10)
#define APIC_BASE_ENABLE (1u << 11)

static bool model_has(const struct cpu *c, bool has)
{
    return !c->model || has;
}
#define HAS(c, feature) model_has(c, (c)->model && (c)->model->feature)

static unsigned phys_bits(const struct cpu *c)
{
    return c->model && c->model->phys_bits ? c->model->phys_bits : 40;
}

static bool has_syscall(const struct cpu *c)
{
    return !c->model || (c->model->sets & CPU_SET_SYSCALL);
}

/* Bits of CPUID.1:EDX; of CPUID.7:EBX and ECX. */
enum { BIT_TSC = 4, BIT_SEP = 11, BIT_MCA = 14 };
enum { BIT_TSC_ADJUST = 1, BIT_RDPID = 22 };

/* Is msr, if it is one of a feature, there (SDM volume 4, table 2-2)? */
static bool is_there(const struct cpu *c, uint32_t msr)
{
    if (msr >= MSR_MTRR_BASE0 && msr <= MSR_MTRR_DEF_TYPE && msr != MSR_PAT) {
        return HAS(c, has_mtrr);
    }
    switch (msr) {
    case MSR_TSC: return model_bit(c, 1, 3, BIT_TSC);
    case MSR_TSC_ADJUST: return model_bit(c, 7, 1, BIT_TSC_ADJUST);
    case MSR_TSC_AUX:
        return HAS(c, has_rdtscp) || model_bit(c, 7, 2, BIT_RDPID);
    case MSR_MTRRCAP: return HAS(c, has_mtrr);
    case MSR_PAT: return HAS(c, has_pat);
    case MSR_SYSENTER_CS:
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP: return model_bit(c, 1, 3, BIT_SEP);
    case MSR_MCG_CAP:
    case MSR_MCG_STATUS: return model_bit(c, 1, 3, BIT_MCA);
    case MSR_EFER: return has_syscall(c) || HAS(c, has_nx) || HAS(c, has_long);
    case MSR_STAR: return has_syscall(c);
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FMASK: return has_syscall(c) && HAS(c, has_long);
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE: return HAS(c, has_long);
    default: return true;
    }
}

/* Index in mtrr_fixed[] of a fixed-range MTRR, or -1. */
static int fixed_mtrr(uint32_t msr)
{
    if (msr == 0x250) return 0;
    if (msr == 0x258 || msr == 0x259) return (int)(msr - 0x258) + 1;
    if (msr >= 0x268 && msr <= 0x26f) return (int)(msr - 0x268) + 3;
    return -1;
}

/* A plain 64-bit register of struct cpu, or NULL. */
static uint64_t *plain_msr(struct cpu *c, uint32_t msr)
{
    switch (msr) {
    case MSR_FEATURE_CONTROL: return &c->feature_control;
    case MSR_SYSENTER_CS: return &c->sysenter_cs;
    case MSR_SYSENTER_ESP: return &c->sysenter_esp;
    case MSR_SYSENTER_EIP: return &c->sysenter_eip;
    case MSR_MCG_STATUS: return &c->mcg_status;
    case MSR_MISC_ENABLE: return &c->misc_enable;
    case MSR_PAT: return &c->pat;
    case MSR_SPEC_CTRL: return HAS(c, has_spec_ctrl) ? &c->spec_ctrl : NULL;
    case MSR_MTRR_DEF_TYPE: return &c->mtrr_def_type;
    case MSR_STAR: return &c->star;
    case MSR_LSTAR: return &c->lstar;
    case MSR_CSTAR: return &c->cstar;
    case MSR_FMASK: return &c->fmask;
    case MSR_FS_BASE: return &c->seg[SEG_FS].base;
    case MSR_GS_BASE: return &c->seg[SEG_GS].base;
    case MSR_KERNEL_GS_BASE: return &c->kernel_gs_base;
    case MSR_TSC_AUX: return &c->tsc_aux;
    default: break;
    }
    if (fixed_mtrr(msr) >= 0) return &c->mtrr_fixed[fixed_mtrr(msr)];
    if (msr >= MSR_MTRR_BASE0 && msr < MSR_MTRR_BASE0 + 2 * CPU_MTRR_COUNT) {
        unsigned n = (msr - MSR_MTRR_BASE0) / 2;
        return msr & 1 ? &c->mtrr_mask[n] : &c->mtrr_base[n];
    }
    return NULL;
}

static bool is_x2apic(const struct cpu *c)
{
    return (c->apic_base & (APIC_BASE_X2APIC | APIC_BASE_ENABLE)) ==
           (APIC_BASE_X2APIC | APIC_BASE_ENABLE);
}

/* 0, or -1 for #GP. */
static int msr_read(struct cpu *c, uint32_t msr, uint64_t *v)
{
    const uint64_t *plain = plain_msr(c, msr);
    *v = 0;
    if (!is_there(c, msr)) return -1;
    if (plain) {
        *v = *plain;
        return 0;
    }
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) {
        if (!is_x2apic(c) || !c->ops->apic_read) return -1;
        return c->ops->apic_read(c, msr, v);
    }
    switch (msr) {
    case MSR_TSC: *v = guest_tsc(c); return 0;
    case MSR_TSC_ADJUST: *v = c->tsc_adjust; return 0;
    case MSR_APIC_BASE: *v = c->apic_base; return 0;
    case MSR_BIOS_SIGN_ID: *v = (uint64_t)1 << 32; return 0;
    case MSR_MTRRCAP:
        *v = CPU_MTRR_COUNT | 1u << 8 | 1u << 10; /* fixed, WC */
        return 0;
    case MSR_ARCH_CAPABILITIES:
        if (!c->model || !c->model->arch_capabilities) return -1;
        *v = c->model->arch_capabilities;
        return 0;
    case MSR_TSC_DEADLINE:
        if (!HAS(c, has_tsc_deadline) || !c->ops->tsc_deadline) return -1;
        *v = c->ops->tsc_deadline(c, false, 0);
        return 0;
    case MSR_EFER: *v = c->efer; return 0;
    case MSR_AMD_HWCR: *v = AMD_HWCR_TSC_FREQ; return 0;
    case MSR_PLATFORM_ID:
    case MSR_PLATFORM_INFO:
    case MSR_MISC_FEATURES:
    case MSR_MCG_CAP:
    case MSR_DEBUGCTL:
    case MSR_AMD_SYSCFG:
    case MSR_AMD_NB_CFG:
    case MSR_AMD_DE_CFG: return 0;
    default: return -1;
    }
}

static bool is_memory_type(uint64_t t)
{
    return t == 0 || t == 1 || (t >= 4 && t <= 6);
}

static bool is_mtrr_value(const struct cpu *c, uint32_t msr, uint64_t v)
{
    uint64_t reserved = ~(((uint64_t)1 << phys_bits(c)) - 1);
    if (fixed_mtrr(msr) >= 0) {
        for (unsigned n = 0; n < 8; n++) {
            if (!is_memory_type(v >> 8 * n & 0xff)) return false;
        }
        return true;
    }
    if (msr == MSR_MTRR_DEF_TYPE) {
        return !(v & ~0xcffull) && is_memory_type(v & 0xff);
    }
    if (msr & 1) return !(v & (reserved | 0x7ff));
    return !(v & (reserved | 0xf00)) && is_memory_type(v & 0xff);
}

static bool is_pat_value(uint64_t v)
{
    for (unsigned n = 0; n < 8; n++) {
        uint64_t t = v >> 8 * n & 0xff;
        if (!is_memory_type(t) && t != 7) return false;
    }
    return true;
}

/* May v be written to the plain register msr? */
static bool is_valid(const struct cpu *c, uint32_t msr, uint64_t v)
{
    switch (msr) {
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE: return is_canonical(v);
    case MSR_PAT: return is_pat_value(v);
    case MSR_TSC_AUX: return !(v >> 32);
    case MSR_SPEC_CTRL:
        return !(v & ~0x407ull); /* IBRS, STIBP, SSBD,
                                                        BHI_DIS_S */
    case MSR_FEATURE_CONTROL: return !(c->feature_control & 1);
    default: break;
    }
    if ((msr >= MSR_MTRR_BASE0 && msr < MSR_PAT) || msr == MSR_MTRR_DEF_TYPE) {
        return is_mtrr_value(c, msr, v);
    }
    return true;
}

static int write_efer(struct cpu *c, uint64_t v)
{
    uint64_t allowed = EFER_LMA;
    if (has_syscall(c)) allowed |= EFER_SCE;
    if (HAS(c, has_long)) allowed |= EFER_LME;
    if (HAS(c, has_nx)) allowed |= EFER_NXE;
    if (v & ~allowed) return -1;
    if ((c->cr0 & CR0_PG) && ((v ^ c->efer) & EFER_LME)) return -1;
    uint64_t changed = v ^ c->efer;
    c->efer = (v & ~(uint64_t)EFER_LMA) | (c->efer & EFER_LMA);
    if (changed & EFER_NXE) c->ops->flush(c, CPU_FLUSH_ALL, 0);
    mode_changed(c);
    return 0;
}

/* State transitions: SDM volume 3A 10.12.5. */
static int write_apic_base(struct cpu *c, uint64_t v)
{
    uint64_t reserved = ~(((uint64_t)1 << phys_bits(c)) - 1) | 0x2ff;
    uint64_t mode = APIC_BASE_X2APIC | APIC_BASE_ENABLE;
    uint64_t from = c->apic_base & mode, to = v & mode;
    if (!HAS(c, has_x2apic)) reserved |= APIC_BASE_X2APIC;
    if ((v & reserved) || to == APIC_BASE_X2APIC) return -1;
    if (from == mode && to == APIC_BASE_ENABLE) return -1;
    if (from == 0 && to == mode) return -1;
    c->apic_base = v;
    if (c->ops->apic_base_changed) c->ops->apic_base_changed(c);
    mode_changed(c);
    return 0;
}

static int msr_write(struct cpu *c, uint32_t msr, uint64_t v)
{
    uint64_t *plain = plain_msr(c, msr);
    if (!is_there(c, msr)) return -1;
    if (plain) {
        if (!is_valid(c, msr, v)) return -1;
        *plain = v;
        if (msr == MSR_FS_BASE || msr == MSR_GS_BASE) mode_changed(c);
        return 0;
    }
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) {
        if (!is_x2apic(c) || !c->ops->apic_write) return -1;
        return c->ops->apic_write(c, msr, v);
    }
    switch (msr) {
    case MSR_TSC: c->tsc_adjust += v - guest_tsc(c); return 0;
    case MSR_TSC_ADJUST: c->tsc_adjust = v; return 0;
    case MSR_APIC_BASE: return write_apic_base(c, v);
    case MSR_TSC_DEADLINE:
        if (!HAS(c, has_tsc_deadline) || !c->ops->tsc_deadline) return -1;
        c->ops->tsc_deadline(c, true, v);
        return 0;
    case MSR_EFER: return write_efer(c, v);
    case MSR_PRED_CMD: return HAS(c, has_spec_ctrl) && v <= 1 ? 0 : -1;
    case MSR_BIOS_UPDT_TRIG:
    case MSR_BIOS_SIGN_ID:
    case MSR_DEBUGCTL:
    case MSR_MISC_FEATURES:
    case MSR_AMD_SYSCFG:
    case MSR_AMD_HWCR:
    case MSR_AMD_NB_CFG:
    case MSR_AMD_DE_CFG: return 0;
    default: return -1;
    }
}

void op_rdmsr(struct cpu *c)
{
    uint64_t v;
    require_cpl0(c);
    if (msr_read(c, (uint32_t)c->gpr[GPR_CX], &v) < 0) throw_gp(c, 0);
    c->gpr[GPR_AX] = (uint32_t)v;
    c->gpr[GPR_DX] = v >> 32;
}

void op_wrmsr(struct cpu *c)
{
    uint64_t v = (uint32_t)c->gpr[GPR_AX] | c->gpr[GPR_DX] << 32;
    require_cpl0(c);
    if (msr_write(c, (uint32_t)c->gpr[GPR_CX], v) < 0) throw_gp(c, 0);
}
