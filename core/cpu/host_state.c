/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * State rows of a CPU and the check after loading them.  A snapshot is
 * hostile: a state that hardware cannot reach must not get past here (the
 * engine restores the vector image with XRSTOR, which faults on one).
 */
#include "core/cpu/state.h"

#include <errno.h>
#include <string.h>

#include "core/cpu/cpuid.h"

static const struct field segment_state[] = {
    U16(cpu_segment, sel),
    U16(cpu_segment, attr),
    U32(cpu_segment, limit),
    U64(cpu_segment, base),
    STATE_END,
};

static const struct field table_state[] = {
    U64(cpu_table, base),
    U16(cpu_table, limit),
    STATE_END,
};

const struct field cpu_state[] = {
    UINT_ARRAY(cpu, gpr, UINT64_MAX),
    U64(cpu, rip),
    U64_MAX(cpu, rflags, 0x3f7fd7),
    STRUCT_ARRAY(cpu, seg, segment_state),
    STRUCT(cpu, ldt, segment_state),
    STRUCT(cpu, tr, segment_state),
    STRUCT(cpu, gdt, table_state),
    STRUCT(cpu, idt, table_state),
    U64_MAX(cpu, cr0, UINT32_MAX),
    U64(cpu, cr2),
    U64(cpu, cr3),
    U64(cpu, cr4),
    U64(cpu, xcr0),
    U64(cpu, efer),
    UINT_ARRAY(cpu, dr, UINT64_MAX),
    UINT_ARRAY(cpu, pdpte, UINT64_MAX),
    U64(cpu, star),
    U64(cpu, lstar),
    U64(cpu, cstar),
    U64(cpu, fmask),
    U64(cpu, kernel_gs_base),
    U64(cpu, sysenter_cs),
    U64(cpu, sysenter_esp),
    U64(cpu, sysenter_eip),
    U64(cpu, apic_base),
    U64(cpu, pat),
    U64(cpu, tsc_adjust),
    U64_MAX(cpu, tsc_aux, UINT32_MAX),
    U64(cpu, misc_enable),
    U64_MAX(cpu, spec_ctrl, 0x407),
    U64(cpu, mtrr_def_type),
    UINT_ARRAY(cpu, mtrr_fixed, UINT64_MAX),
    UINT_ARRAY(cpu, mtrr_base, UINT64_MAX),
    UINT_ARRAY(cpu, mtrr_mask, UINT64_MAX),
    U64(cpu, tsc_deadline),
    U64(cpu, mcg_status),
    U64(cpu, feature_control),
    U64_MAX(cpu, smbase, UINT32_MAX),
    U8_MAX(cpu, activity, CPU_WAIT_SIPI),
    BOOL(cpu, has_intr_shadow),
    BOOL(cpu, is_nmi_blocked),
    BOOL(cpu, is_smm),
    BOOL(cpu, is_nmi_blocked_outside),
    BOOL(cpu, has_pending_exception),
    U8(cpu, pending_vector),
    BOOL(cpu, has_pending_error),
    U32(cpu, pending_error),
    BYTES(cpu, xsave),
    STATE_END,
};

static bool is_canonical(uint64_t v)
{
    return (int64_t)(v << 16) >> 16 == (int64_t)v;
}

static bool is_mode_consistent(const struct cpu *c)
{
    bool is_long = c->efer & EFER_LMA;
    bool should = (c->efer & EFER_LME) && (c->cr0 & CR0_PG);
    if (is_long != should) return false;
    if ((c->cr0 & CR0_PG) && !(c->cr0 & CR0_PE)) return false;
    if (is_long && !(c->cr4 & CR4_PAE)) return false;
    if ((c->rflags & FLAG_VM) && (is_long || !(c->cr0 & CR0_PE))) return false;
    if ((c->cr4 & CR4_PCIDE) && !is_long) return false;
    return (c->rflags & 2) != 0;
}

/* CR4 and EFER bits the model has. */
static bool is_control_known(const struct cpu *c)
{
    const struct cpu_model *m = c->model;
    uint64_t cr4 = 0x7ff, efer = EFER_SCE;
    if (!m || m->is_native) return true;
    if (m->has_umip) cr4 |= CR4_UMIP;
    if (m->has_fsgsbase) cr4 |= CR4_FSGSBASE;
    if (m->has_pcid) cr4 |= CR4_PCIDE;
    if (m->has_xsave) cr4 |= CR4_OSXSAVE;
    if (m->has_smep) cr4 |= CR4_SMEP;
    if (m->has_smap) cr4 |= CR4_SMAP;
    if (m->has_long) efer |= EFER_LME | EFER_LMA;
    if (m->has_nx) efer |= EFER_NXE;
    return !(c->cr4 & ~cr4) && !(c->efer & ~efer);
}

static bool are_addresses_canonical(const struct cpu *c)
{
    const uint64_t v[] = {
        c->rip,
        c->gdt.base,
        c->idt.base,
        c->ldt.base,
        c->tr.base,
        c->lstar,
        c->cstar,
        c->kernel_gs_base,
        c->sysenter_esp,
        c->sysenter_eip,
        c->seg[SEG_FS].base,
        c->seg[SEG_GS].base,
        c->seg[SEG_CS].base,
        c->seg[SEG_SS].base,
        c->seg[SEG_DS].base,
        c->seg[SEG_ES].base,
    };
    for (unsigned n = 0; n < sizeof(v) / sizeof(v[0]); n++) {
        if (!is_canonical(v[n])) return false;
    }
    return true;
}

static bool is_xcr0_valid(const struct cpu *c)
{
    uint64_t mask = c->model == NULL      ? 7
                    : c->model->is_native ? UINT64_MAX
                                          : c->model->xcr0_mask;
    return (c->xcr0 & 1) && !(c->xcr0 & ~mask) && (c->xcr0 & 6) != 4;
}

/* Everything XRSTOR checks: SDM volume 1, 13.8. */
static void fit_vector_image(struct cpu *c)
{
    uint64_t present;
    uint32_t mxcsr;
    memcpy(&present, c->xsave + 512, 8);
    memcpy(&mxcsr, c->xsave + 24, 4);
    present &= 7;
    mxcsr &= 0xffff;
    memcpy(c->xsave + 512, &present, 8);
    memset(c->xsave + 520, 0, 56);
    memcpy(c->xsave + 24, &mxcsr, 4);
}

int cpu_state_check(struct cpu *c, struct err *e)
{
    if (!is_mode_consistent(c)) {
        return err_set(e, -EINVAL, "CPU modes contradict each other");
    }
    if (!is_control_known(c)) {
        return err_set(e, -EINVAL, "CR4 or EFER has bits the CPU lacks");
    }
    if (!are_addresses_canonical(c)) {
        return err_set(e, -EINVAL, "an address register is not canonical");
    }
    if (!is_xcr0_valid(c)) {
        return err_set(e, -EINVAL, "XCR0 %llx is not valid",
                       (unsigned long long)c->xcr0);
    }
    if (c->dr[6] >> 32 || c->dr[7] >> 32) {
        return err_set(e, -EINVAL, "DR6 or DR7 has upper bits");
    }
    fit_vector_image(c);
    return 0;
}
