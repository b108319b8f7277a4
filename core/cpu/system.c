/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Fast system calls, flags and interrupt enabling, FS/GS bases, time stamp,
 * power-on reset, INIT and start-up IPI.
 */
#include "core/cpu/emu.h"

enum {
    ATTR_CODE32 = 0xc09b,
    ATTR_CODE64 = 0xa09b,
    ATTR_DATA = 0xc093,
};

/* Flat segment as SYSCALL and SYSENTER load it. */
static void set_flat(struct cpu *c, unsigned seg, unsigned sel, unsigned attr,
                     unsigned dpl)
{
    c->seg[seg].sel = (uint16_t)((sel & 0xfffc) | dpl);
    c->seg[seg].attr = (uint16_t)(attr | dpl << 5);
    c->seg[seg].base = 0;
    c->seg[seg].limit = UINT32_MAX;
}

static bool is_amd(const struct cpu *c)
{
    return c->model && c->model->is_amd;
}

void op_syscall(struct cpu *c, struct insn *i)
{
    unsigned sel = c->star >> 32 & 0xffff;
    if (!(c->efer & EFER_SCE) || !is_protected(c)) throw_ud(c);
    if (i->mode != 8 && !is_amd(c)) throw_ud(c);
    if (cpu_is_long(c)) {
        c->gpr[GPR_CX] = i->next;
        c->gpr[GPR_R11] = c->rflags & ~(uint64_t)FLAG_RF;
        i->next = i->mode == 8 ? c->lstar : c->cstar;
        c->rflags &= ~(c->fmask | FLAG_RF);
        c->rflags |= 2;
    } else {
        c->gpr[GPR_CX] = (uint32_t)i->next;
        i->next = (uint32_t)c->star;
        c->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
    }
    set_flat(c, SEG_CS, sel, cpu_is_long(c) ? ATTR_CODE64 : ATTR_CODE32, 0);
    set_flat(c, SEG_SS, sel + 8, ATTR_DATA, 0);
    if (!(c->rflags & FLAG_TF)) i->no_trap = true;
    mode_changed(c);
}

void op_sysret(struct cpu *c, struct insn *i)
{
    unsigned sel = c->star >> 48;
    if (!(c->efer & EFER_SCE) || !is_protected(c)) throw_ud(c);
    if (i->mode != 8 && !is_amd(c)) throw_ud(c);
    require_cpl0(c);
    if (i->mode == 8 && i->osize == 8) {
        if (!is_canonical(c->gpr[GPR_CX])) throw_gp(c, 0);
        i->next = c->gpr[GPR_CX];
        set_flat(c, SEG_CS, sel + 16, ATTR_CODE64, 3);
    } else {
        i->next = (uint32_t)c->gpr[GPR_CX];
        set_flat(c, SEG_CS, sel, ATTR_CODE32, 3);
    }
    set_flat(c, SEG_SS, sel + 8, ATTR_DATA, 3);
    if (i->mode == 8) {
        c->rflags = (c->gpr[GPR_R11] & 0x3c7fd7) | 2;
    } else {
        c->rflags |= FLAG_IF;
    }
    mode_changed(c);
}

/* AMD has SYSENTER and SYSEXIT in legacy mode alone: APM volume 3. */
void op_sysenter(struct cpu *c, struct insn *i)
{
    unsigned sel = (unsigned)c->sysenter_cs & 0xfffc;
    if (is_amd(c) && cpu_is_long(c)) throw_ud(c);
    if (!is_protected(c) || !sel) throw_gp(c, 0);
    c->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
    set_flat(c, SEG_CS, sel, cpu_is_long(c) ? ATTR_CODE64 : ATTR_CODE32, 0);
    set_flat(c, SEG_SS, sel + 8, ATTR_DATA, 0);
    unsigned width = cpu_is_long(c) ? 8 : 4;
    c->gpr[GPR_SP] = c->sysenter_esp & size_mask(width);
    i->next = c->sysenter_eip & size_mask(width);
    mode_changed(c);
}

void op_sysexit(struct cpu *c, struct insn *i)
{
    unsigned sel = (unsigned)c->sysenter_cs & 0xfffc;
    if (is_amd(c) && cpu_is_long(c)) throw_ud(c);
    if (!is_protected(c) || !sel) throw_gp(c, 0);
    require_cpl0(c);
    uint64_t rip = c->gpr[GPR_DX], sp = c->gpr[GPR_CX];
    if (i->osize == 8) {
        if (!is_canonical(rip) || !is_canonical(sp)) throw_gp(c, 0);
        set_flat(c, SEG_CS, sel + 32, ATTR_CODE64, 3);
        set_flat(c, SEG_SS, sel + 40, ATTR_DATA, 3);
    } else {
        rip = (uint32_t)rip;
        sp = (uint32_t)sp;
        set_flat(c, SEG_CS, sel + 16, ATTR_CODE32, 3);
        set_flat(c, SEG_SS, sel + 24, ATTR_DATA, 3);
    }
    c->gpr[GPR_SP] = sp;
    i->next = rip;
    mode_changed(c);
}

/* ---- flags */

static bool is_vme(const struct cpu *c)
{
    return is_protected(c) && (c->rflags & FLAG_VM) && iopl(c) < 3;
}

void op_pushf(struct cpu *c, const struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i);
    uint64_t v = c->rflags & 0xfcffff;
    if (is_vme(c)) {
        if (!(c->cr4 & CR4_VME) || bytes != 2) throw_gp(c, 0);
        v = (v & ~(uint64_t)FLAG_IF) | FLAG_IOPL | (v & FLAG_VIF ? FLAG_IF : 0);
    }
    stack_open(c, &s);
    stack_push(c, &s, bytes, v);
    stack_commit(c, &s);
}

void op_popf(struct cpu *c, struct insn *i)
{
    struct stack s;
    unsigned bytes = stack_bytes(i), cpl = cpu_cpl(c);
    uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
    if (bytes > 2) mask |= FLAG_AC | FLAG_ID;
    if (cpl <= iopl(c)) mask |= FLAG_IF;
    if (cpl == 0) mask |= FLAG_IOPL;
    if (is_vme(c) && (!(c->cr4 & CR4_VME) || bytes != 2)) throw_gp(c, 0);
    stack_open(c, &s);
    uint64_t v = stack_pop(c, &s, bytes);
    if (is_vme(c)) {
        bool wants_if = v & FLAG_IF;
        if ((v & FLAG_TF) || (wants_if && (c->rflags & FLAG_VIP))) {
            throw_gp(c, 0);
        }
        flags_set(c, FLAG_VIF, wants_if ? FLAG_VIF : 0);
    }
    stack_commit(c, &s);
    flags_set(c, mask, v);
    mode_changed(c);
    (void)i;
}

/* Which of IF and VIF CLI and STI work on (SDM volume 2, table for CLI). */
static uint64_t interrupt_flag(struct cpu *c)
{
    if (!is_protected(c) || iopl(c) >= cpu_cpl(c)) return FLAG_IF;
    if (c->rflags & FLAG_VM) {
        if (c->cr4 & CR4_VME) return FLAG_VIF;
    } else if (cpu_cpl(c) == 3 && (c->cr4 & CR4_PVI)) {
        return FLAG_VIF;
    }
    throw_gp(c, 0);
}

void op_cli(struct cpu *c)
{
    c->rflags &= ~interrupt_flag(c);
    mode_changed(c);
}

void op_sti(struct cpu *c, struct insn *i)
{
    uint64_t flag = interrupt_flag(c);
    if (flag == FLAG_VIF && (c->rflags & FLAG_VIP)) throw_gp(c, 0);
    if (flag == FLAG_IF && !(c->rflags & FLAG_IF)) i->shadows = true;
    c->rflags |= flag;
    mode_changed(c);
}

void op_fsgsbase(struct cpu *c, const struct insn *i)
{
    unsigned op = i->reg & 7, seg = op & 1 ? SEG_GS : SEG_FS;
    unsigned width = i->osize == 8 ? 8 : 4;
    if (i->mode != 8 || op > 3 || !(c->cr4 & CR4_FSGSBASE)) throw_ud(c);
    if (op < 2) {
        reg_set(c, i->rm, width, c->seg[seg].base);
        return;
    }
    uint64_t v = reg_get(c, i->rm, width);
    if (!is_canonical(v)) throw_gp(c, 0);
    c->seg[seg].base = v;
    mode_changed(c);
}

uint64_t guest_tsc(struct cpu *c)
{
    return (c->ops->tsc ? c->ops->tsc(c) : 0) + c->tsc_adjust;
}

void op_rdtsc(struct cpu *c, bool is_rdtscp)
{
    if ((c->cr4 & CR4_TSD) && cpu_cpl(c)) throw_gp(c, 0);
    uint64_t v = guest_tsc(c);
    c->gpr[GPR_AX] = (uint32_t)v;
    c->gpr[GPR_DX] = v >> 32;
    if (is_rdtscp) c->gpr[GPR_CX] = (uint32_t)c->tsc_aux;
}

/* ---- reset: SDM volume 3A table 9-1 */

static void reset_segment(struct cpu_segment *s, unsigned attr)
{
    s->sel = 0;
    s->base = 0;
    s->limit = 0xffff;
    s->attr = (uint16_t)attr;
}

static void reset_common(struct cpu *c)
{
    uint32_t id[4];
    for (unsigned n = 0; n < 16; n++) {
        c->gpr[n] = 0;
    }
    cpu_cpuid(c, 1, 0, id);
    c->gpr[GPR_DX] = id[0];
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        reset_segment(&c->seg[n], 0x93);
    }
    c->seg[SEG_CS].attr = 0x9b;
    c->seg[SEG_CS].sel = 0xf000;
    c->seg[SEG_CS].base = 0xffff0000;
    c->rip = 0xfff0;
    c->rflags = 2;
    reset_segment(&c->ldt, 0x82);
    reset_segment(&c->tr, 0x8b);
    c->gdt.base = c->idt.base = 0;
    c->gdt.limit = c->idt.limit = 0xffff;
    c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
    for (unsigned n = 0; n < 4; n++) {
        c->dr[n] = c->pdpte[n] = 0;
    }
    c->dr[4] = c->dr[5] = 0;
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->has_intr_shadow = c->is_nmi_blocked = c->is_smm = false;
    c->is_nmi_blocked_outside = false;
    c->smi_io = 0;
    c->has_pending_exception = c->has_pending_error = false;
    c->pending_vector = 0;
    c->pending_error = 0;
}

static void reset_msrs(struct cpu *c)
{
    c->star = c->lstar = c->cstar = c->fmask = c->kernel_gs_base = 0;
    c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
    c->apic_base = 0xfee00800 | (c->index == 0 ? 0x100 : 0);
    c->pat = 0x0007040600070406;
    c->tsc_adjust = c->tsc_aux = c->tsc_deadline = 0;
    c->spec_ctrl = 0;
    c->misc_enable = 1; /* fast strings */
    c->mtrr_def_type = 0;
    for (unsigned n = 0; n < 11; n++) {
        c->mtrr_fixed[n] = 0;
    }
    for (unsigned n = 0; n < CPU_MTRR_COUNT; n++) {
        c->mtrr_base[n] = c->mtrr_mask[n] = 0;
    }
    c->mcg_status = c->feature_control = 0;
    c->smbase = 0x30000;
}

void cpu_reset(struct cpu *c)
{
    reset_msrs(c);
    reset_common(c);
    c->cr0 = CR0_CD | CR0_NW | CR0_ET;
    c->xcr0 = 1;
    cpu_zero(c->xsave, sizeof(c->xsave));
    cpu_put(c->xsave, 2, 0x40);        /* FCW */
    cpu_put(c->xsave + 24, 4, 0x1f80); /* MXCSR */
    cpu_put(c->xsave + 28, 4, 0xffff); /* MXCSR_MASK */
    cpu_put(c->xsave + 512, 8, 3);     /* XSTATE_BV: both legacy parts */
    c->activity = c->apic_base & 0x100 ? CPU_ACTIVE : CPU_WAIT_SIPI;
}

void cpu_init_signal(struct cpu *c)
{
    reset_common(c);
    c->cr0 = (c->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    c->activity = c->apic_base & 0x100 ? CPU_ACTIVE : CPU_WAIT_SIPI;
    if (c->ops) {
        c->ops->flush(c, CPU_FLUSH_ALL, 0);
        mode_changed(c);
    }
}

void cpu_sipi(struct cpu *c, uint8_t vector)
{
    if (c->activity != CPU_WAIT_SIPI) return;
    c->seg[SEG_CS].sel = (uint16_t)(vector << 8);
    c->seg[SEG_CS].base = (uint64_t)vector << 12;
    c->rip = 0;
    c->activity = CPU_ACTIVE;
    if (c->ops) mode_changed(c);
}
