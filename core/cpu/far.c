/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Far JMP, CALL, RET and IRET: SDM volume 2 (their instruction pages) and
 * volume 3A chapter 5.  All reads, checks and pushes come first; CS, SS, SP
 * and flags change at the end, where nothing can fail.
 */
#include "core/cpu/emu.h"

uint64_t check_target(struct cpu *c, const struct cpu_segment *cs, uint64_t rip)
{
    if (cpu_is_long(c) && (cs->attr & SEG_ATTR_L)) {
        if (!is_canonical(rip)) throw_gp(c, 0);
        return rip;
    }
    rip = (uint32_t)rip;
    if (rip > cs->limit) throw_gp(c, 0);
    return rip;
}

void jump_near(struct cpu *c, struct insn *i, uint64_t rip)
{
    i->next = check_target(c, &c->seg[SEG_CS], rip);
}

static void set_cs(struct cpu *c, const struct cpu_segment *cs, unsigned cpl)
{
    c->seg[SEG_CS] = *cs;
    c->seg[SEG_CS].sel = (uint16_t)((cs->sel & ~3u) | cpl);
}

/* CS of real mode or VM86 with the target checked against its limit. */
static uint64_t check_real_target(struct cpu *c, uint64_t off)
{
    if (off > c->seg[SEG_CS].limit) throw_gp(c, 0);
    return off;
}

/* A code descriptor fit to be executed at the current CPL by JMP or CALL. */
static struct cpu_segment check_code(struct cpu *c, unsigned sel,
                                     struct desc *d, bool is_gate)
{
    uint32_t code = sel & 0xfffc;
    unsigned cpl = cpu_cpl(c);
    if (!desc_is_code(d)) throw_gp(c, code);
    if (desc_is_conforming(d)) {
        if (DESC_DPL(d) > cpl) throw_gp(c, code);
    } else {
        if (DESC_DPL(d) != cpl) throw_gp(c, code);
        if (!is_gate && (sel & 3) > cpl) throw_gp(c, code);
    }
    if (cpu_is_long(c) && (d->hi & DESC_L) && (d->hi & DESC_DB)) {
        throw_gp(c, code);
    }
    if (!(d->hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    return desc_segment(d, sel);
}

/* What a call gate names. */
struct gate {
    unsigned sel, params, bytes;
    uint64_t off;
    struct desc d;
};

/* Read the call gate d at sel and the descriptor of its target. */
static void read_gate(struct cpu *c, unsigned sel, const struct desc *d,
                      struct gate *g)
{
    unsigned cpl = cpu_cpl(c);
    uint32_t code = sel & 0xfffc, high = 0;
    if (DESC_DPL(d) < cpl || DESC_DPL(d) < (sel & 3)) throw_gp(c, code);
    if (!(d->hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    if (cpu_is_long(c) && !desc_read_high(c, sel, &high)) throw_gp(c, code);
    g->sel = d->lo >> 16;
    g->params = d->hi & 31;
    g->off = d->lo & 0xffff;
    g->bytes = 2;
    if (DESC_TYPE(d) == DESC_CALL32) {
        g->bytes = cpu_is_long(c) ? 8 : 4;
        g->off |= d->hi & 0xffff0000;
    }
    g->off |= (uint64_t)high << 32;
    code = g->sel & 0xfffc;
    if (!desc_read(c, g->sel, &g->d) || !desc_is_code(&g->d)) {
        throw_gp(c, code);
    }
    if (DESC_DPL(&g->d) > cpl) throw_gp(c, code);
    if (cpu_is_long(c) && (g->d.hi & (DESC_L | DESC_DB)) != DESC_L) {
        throw_gp(c, code);
    }
    if (!(g->d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
}

/* Task gate or TSS descriptor: switch.  false when d is neither. */
static bool try_task(struct cpu *c, struct insn *i, unsigned sel,
                     struct desc *d, enum task_cause cause)
{
    uint32_t code = sel & 0xfffc;
    unsigned type = DESC_TYPE(d);
    if (cpu_is_long(c)) return false;
    bool is_tss = type == DESC_TSS16 || type == DESC_TSS32 ||
                  type == DESC_TSS16_BUSY || type == DESC_TSS32_BUSY;
    if (!is_tss && type != DESC_TASK) return false;
    if (DESC_DPL(d) < cpu_cpl(c) || DESC_DPL(d) < (sel & 3)) {
        throw_gp(c, code);
    }
    if (type == DESC_TASK) {
        if (!(d->hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
        sel = d->lo >> 16;
        if ((sel & 4) || !desc_read(c, sel, d)) throw_gp(c, sel & 0xfffc);
    }
    task_switch(c, sel, d, cause, i->next, false, 0, 0);
    i->next = c->rip;
    i->no_trap = true;
    return true;
}

static void jump_gate(struct cpu *c, struct insn *i, unsigned sel,
                      const struct desc *d)
{
    struct gate g;
    read_gate(c, sel, d, &g);
    struct cpu_segment cs = check_code(c, g.sel, &g.d, true);
    i->next = check_target(c, &cs, g.off);
    desc_set_accessed(c, &g.d);
    cs = desc_segment(&g.d, g.sel);
    set_cs(c, &cs, cpu_cpl(c));
}

void far_jump(struct cpu *c, struct insn *i, unsigned sel, uint64_t off)
{
    struct desc d;
    if (is_real_style(c)) {
        i->next = check_real_target(c, off);
        set_real_segment(c, SEG_CS, sel);
    } else {
        if (!desc_read(c, sel, &d)) throw_gp(c, sel & 0xfffc);
        if (d.hi & DESC_S) {
            struct cpu_segment cs = check_code(c, sel, &d, false);
            i->next = check_target(c, &cs, off);
            desc_set_accessed(c, &d);
            cs = desc_segment(&d, sel);
            set_cs(c, &cs, cpu_cpl(c));
        } else if (DESC_TYPE(&d) == DESC_CALL32 ||
                   (DESC_TYPE(&d) == DESC_CALL16 && !cpu_is_long(c))) {
            jump_gate(c, i, sel, &d);
        } else if (!try_task(c, i, sel, &d, TASK_JUMP)) {
            throw_gp(c, sel & 0xfffc);
        }
    }
    mode_changed(c);
}

/* ---- CALL */

/* Open the stack of ring cpl as named by the TSS. */
static void open_inner_stack(struct cpu *c, struct stack *s, unsigned cpl)
{
    uint16_t ss;
    tss_stack(c, cpl, &ss, &s->sp, 0);
    s->access = ACC_SYSTEM;
    s->is_ts = true;
    if (cpu_is_long(c)) {
        s->ss.sel = (uint16_t)cpl;
        s->ss.attr = (uint16_t)(cpl << 5);
        s->ss.base = 0;
        s->ss.limit = UINT32_MAX;
        s->mask = UINT64_MAX;
        return;
    }
    s->ss = load_stack_segment(c, ss, cpl, EXC_TS, 0);
    s->mask = s->ss.attr & SEG_ATTR_DB ? UINT32_MAX : 0xffff;
}

static void call_inner(struct cpu *c, struct insn *i, const struct gate *g,
                       const struct cpu_segment *cs, unsigned cpl)
{
    struct stack s, old;
    unsigned n = cpu_is_long(c) ? 0 : g->params;
    stack_open(c, &old);
    open_inner_stack(c, &s, cpl);
    stack_push(c, &s, g->bytes, old.ss.sel);
    stack_push(c, &s, g->bytes, old.sp);
    old.sp += (uint64_t)n * g->bytes;
    while (n--) {
        old.sp -= g->bytes;
        struct stack from = old;
        stack_push(c, &s, g->bytes, stack_pop(c, &from, g->bytes));
    }
    stack_push(c, &s, g->bytes, c->seg[SEG_CS].sel);
    stack_push(c, &s, g->bytes, i->next);
    c->seg[SEG_SS] = s.ss;
    set_cs(c, cs, cpl);
    stack_commit(c, &s);
    i->next = g->off;
}

static void call_gate(struct cpu *c, struct insn *i, unsigned sel,
                      const struct desc *d)
{
    struct gate g;
    unsigned cpl = cpu_cpl(c);
    read_gate(c, sel, d, &g);
    struct cpu_segment cs = desc_segment(&g.d, g.sel);
    g.off = check_target(c, &cs, g.off);
    desc_set_accessed(c, &g.d);
    cs = desc_segment(&g.d, g.sel);
    if (!desc_is_conforming(&g.d) && DESC_DPL(&g.d) < cpl) {
        call_inner(c, i, &g, &cs, DESC_DPL(&g.d));
        return;
    }
    struct stack s;
    stack_open(c, &s);
    if (g.bytes == 8) s.mask = UINT64_MAX;
    stack_push(c, &s, g.bytes, c->seg[SEG_CS].sel);
    stack_push(c, &s, g.bytes, i->next);
    stack_commit(c, &s);
    set_cs(c, &cs, cpl);
    i->next = g.off;
}

static void push_return(struct cpu *c, const struct insn *i, struct stack *s,
                        unsigned bytes)
{
    stack_open(c, s);
    stack_push(c, s, bytes, c->seg[SEG_CS].sel);
    stack_push(c, s, bytes, i->next);
}

void far_call(struct cpu *c, struct insn *i, unsigned sel, uint64_t off,
              unsigned bytes)
{
    struct desc d;
    struct stack s;
    if (is_real_style(c)) {
        check_real_target(c, off);
        push_return(c, i, &s, bytes);
        stack_commit(c, &s);
        set_real_segment(c, SEG_CS, sel);
        i->next = off;
    } else {
        if (!desc_read(c, sel, &d)) throw_gp(c, sel & 0xfffc);
        if (d.hi & DESC_S) {
            struct cpu_segment cs = check_code(c, sel, &d, false);
            off = check_target(c, &cs, off);
            push_return(c, i, &s, bytes);
            desc_set_accessed(c, &d);
            cs = desc_segment(&d, sel);
            stack_commit(c, &s);
            set_cs(c, &cs, cpu_cpl(c));
            i->next = off;
        } else if (DESC_TYPE(&d) == DESC_CALL32 ||
                   (DESC_TYPE(&d) == DESC_CALL16 && !cpu_is_long(c))) {
            call_gate(c, i, sel, &d);
        } else if (!try_task(c, i, sel, &d, TASK_CALL)) {
            throw_gp(c, sel & 0xfffc);
        }
    }
    mode_changed(c);
}

/* ---- RET and IRET to protected mode */

struct far_return {
    struct cpu_segment cs;
    unsigned rpl;
    uint64_t rip;
};

/* Check CS:rip popped by RETF or IRET. */
static void check_return(struct cpu *c, struct far_return *r, unsigned sel)
{
    struct desc d;
    uint32_t code = sel & 0xfffc;
    r->rpl = sel & 3;
    if (!desc_read(c, sel, &d)) throw_gp(c, code);
    if (!desc_is_code(&d) || r->rpl < cpu_cpl(c)) throw_gp(c, code);
    if (desc_is_conforming(&d) ? DESC_DPL(&d) > r->rpl
                               : DESC_DPL(&d) != r->rpl) {
        throw_gp(c, code);
    }
    if (cpu_is_long(c) && (d.hi & DESC_L) && (d.hi & DESC_DB)) {
        throw_gp(c, code);
    }
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    struct cpu_segment cs = desc_segment(&d, sel);
    r->rip = check_target(c, &cs, r->rip);
    desc_set_accessed(c, &d);
    r->cs = desc_segment(&d, sel);
}

/* SS of a return that pops it; null is fine for 64-bit code below ring 3. */
static struct cpu_segment return_ss(struct cpu *c, const struct far_return *r,
                                    unsigned sel)
{
    if (!(sel & 0xfffc) && cpu_is_long(c) && (r->cs.attr & SEG_ATTR_L) &&
        r->rpl != 3 && (sel & 3) == r->rpl) {
        struct cpu_segment ss = { .sel = (uint16_t)sel,
                                  .attr = (uint16_t)(r->rpl << 5),
                                  .limit = UINT32_MAX };
        return ss;
    }
    return load_stack_segment(c, sel, r->rpl, EXC_GP, 0);
}

/* SP as loaded by an outer return. */
static void set_outer_sp(struct cpu *c, const struct far_return *r, uint64_t sp)
{
    struct stack s;
    s.sp = sp;
    s.mask = cpu_is_long(c) && (r->cs.attr & SEG_ATTR_L) ? UINT64_MAX
             : c->seg[SEG_SS].attr & SEG_ATTR_DB         ? UINT32_MAX
                                                         : 0xffff;
    stack_commit(c, &s);
}

static void return_real(struct cpu *c, struct insn *i, unsigned bytes,
                        unsigned extra)
{
    struct stack s;
    stack_open(c, &s);
    uint64_t rip = stack_pop(c, &s, bytes);
    unsigned sel = stack_pop(c, &s, bytes) & 0xffff;
    check_real_target(c, rip);
    s.sp += extra;
    stack_commit(c, &s);
    set_real_segment(c, SEG_CS, sel);
    i->next = rip;
}

void far_return(struct cpu *c, struct insn *i, unsigned bytes, unsigned extra)
{
    struct stack s;
    struct far_return r;
    if (is_real_style(c)) {
        return_real(c, i, bytes, extra);
        mode_changed(c);
        return;
    }
    stack_open(c, &s);
    r.rip = stack_pop(c, &s, bytes);
    check_return(c, &r, stack_pop(c, &s, bytes) & 0xffff);
    s.sp += extra;
    if (r.rpl == cpu_cpl(c)) {
        stack_commit(c, &s);
        set_cs(c, &r.cs, r.rpl);
    } else {
        uint64_t sp = stack_pop(c, &s, bytes);
        struct cpu_segment ss =
            return_ss(c, &r, stack_pop(c, &s, bytes) & 0xffff);
        c->seg[SEG_SS] = ss;
        set_cs(c, &r.cs, r.rpl);
        set_outer_sp(c, &r, sp + extra);
        drop_inner_segments(c, r.rpl);
    }
    i->next = r.rip;
    mode_changed(c);
}

/* ---- IRET */

static void iret_real(struct cpu *c, struct insn *i, unsigned bytes)
{
    struct stack s;
    bool is_vm86 = c->rflags & FLAG_VM;
    bool is_vme = is_vm86 && iopl(c) < 3;
    uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_NT;
    if (!is_vm86) mask |= FLAG_IOPL;
    if (bytes > 2) mask |= FLAG_RF | FLAG_AC | FLAG_ID;
    if (is_vme && (!(c->cr4 & CR4_VME) || bytes != 2)) throw_gp(c, 0);
    stack_open(c, &s);
    uint64_t rip = stack_pop(c, &s, bytes);
    unsigned sel = stack_pop(c, &s, bytes) & 0xffff;
    uint64_t flags = stack_pop(c, &s, bytes);
    check_real_target(c, rip);
    if (is_vme) {
        bool wants_if = flags & FLAG_IF;
        if ((flags & FLAG_TF) || (wants_if && (c->rflags & FLAG_VIP))) {
            throw_gp(c, 0);
        }
        mask &= ~(uint64_t)FLAG_IF;
        flags_set(c, FLAG_VIF, wants_if ? FLAG_VIF : 0);
    }
    stack_commit(c, &s);
    set_real_segment(c, SEG_CS, sel);
    flags_set(c, mask, flags);
    i->next = rip;
}

static void iret_vm86(struct cpu *c, struct insn *i, struct stack *s,
                      uint64_t rip, unsigned cs, uint64_t flags)
{
    static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    unsigned sel[5];
    uint64_t sp = stack_pop(c, s, 4);
    for (unsigned n = 0; n < 5; n++) {
        sel[n] = stack_pop(c, s, 4) & 0xffff;
    }
    c->rflags = (flags & 0x3f7fd5) | 2; /* all defined flags */
    set_real_segment(c, SEG_CS, cs);
    for (unsigned n = 0; n < 5; n++) {
        set_real_segment(c, order[n], sel[n]);
    }
    c->gpr[GPR_SP] = sp;
    i->next = rip & 0xffff;
}

static void iret_task(struct cpu *c, struct insn *i)
{
    struct desc d;
    if (cpu_is_long(c)) throw_gp(c, 0);
    unsigned link = (unsigned)lin_read(c, c->tr.base, 2, ACC_SYSTEM);
    if ((link & 4) || !desc_read(c, link, &d)) {
        cpu_throw_code(c, EXC_TS, link & 0xfffc);
    }
    unsigned type = DESC_TYPE(&d);
    if ((d.hi & DESC_S) ||
        (type != DESC_TSS16_BUSY && type != DESC_TSS32_BUSY)) {
        cpu_throw_code(c, EXC_TS, link & 0xfffc);
    }
    task_switch(c, link, &d, TASK_IRET, i->next, false, 0, 0);
    i->next = c->rip;
    i->no_trap = true;
}

static uint64_t iret_flags_mask(const struct cpu *c, unsigned bytes)
{
    uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
    unsigned cpl = cpu_cpl(c);
    if (bytes > 2) mask |= FLAG_RF | FLAG_AC | FLAG_ID;
    if (cpl <= iopl(c)) mask |= FLAG_IF;
    if (cpl == 0) {
        mask |= FLAG_IOPL;
        if (bytes > 2) mask |= FLAG_VIF | FLAG_VIP;
    }
    return mask;
}

static void iret_protected(struct cpu *c, struct insn *i, unsigned bytes)
{
    struct stack s;
    struct far_return r;
    stack_open(c, &s);
    r.rip = stack_pop(c, &s, bytes);
    unsigned sel = stack_pop(c, &s, bytes) & 0xffff;
    uint64_t flags = stack_pop(c, &s, bytes);
    if (bytes == 4 && (flags & FLAG_VM) && cpu_cpl(c) == 0 && !cpu_is_long(c)) {
        iret_vm86(c, i, &s, r.rip, sel, flags);
        return;
    }
    check_return(c, &r, sel);
    uint64_t mask = iret_flags_mask(c, bytes);
    unsigned old_cpl = cpu_cpl(c);
    if (r.rpl == old_cpl && i->mode != 8) {
        stack_commit(c, &s);
        set_cs(c, &r.cs, r.rpl);
    } else {
        uint64_t sp = stack_pop(c, &s, bytes);
        struct cpu_segment ss =
            return_ss(c, &r, stack_pop(c, &s, bytes) & 0xffff);
        c->seg[SEG_SS] = ss;
        set_cs(c, &r.cs, r.rpl);
        set_outer_sp(c, &r, sp);
        if (r.rpl != old_cpl) drop_inner_segments(c, r.rpl);
    }
    flags_set(c, mask, flags);
    i->next = r.rip;
}

void interrupt_return(struct cpu *c, struct insn *i, unsigned bytes)
{
    if (is_real_style(c)) {
        iret_real(c, i, bytes);
    } else if (c->rflags & FLAG_NT) {
        iret_task(c, i);
    } else {
        iret_protected(c, i, bytes);
    }
    c->is_nmi_blocked = false;
    i->keeps_rf = true;
    mode_changed(c);
}
