/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Exceptions and interrupts: throwing, classes, delivery through the IVT or
 * IDT.  SDM volume 3A chapter 6; VM86 redirection chapter 20.
 *
 * Delivery is one function, event_enter(), that may itself throw; the loop
 * in deliver() catches that and makes a second, a double or a triple fault
 * of it.  As everywhere state changes last, so a failed delivery leaves the
 * CPU on the instruction it was on.
 */
#include "core/cpu/emu.h"

/* ---- throwing and catching */

static bool has_error_code(unsigned vector)
{
    return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) ||
           vector == EXC_AC;
}

_Noreturn void cpu_throw_code(struct cpu *c, unsigned vector, uint32_t code)
{
    c->exc_vector = (uint8_t)vector;
    c->exc_has_error = has_error_code(vector);
    c->exc_error = code;
    __builtin_longjmp(c->throw_env, 1);
}

_Noreturn void cpu_throw(struct cpu *c, unsigned vector)
{
    cpu_throw_code(c, vector, 0);
}

enum { THROW_AGAIN = 0xff }; /* no vector of an exception */

_Noreturn void cpu_throw_again(struct cpu *c)
{
    c->exc_vector = THROW_AGAIN;
    __builtin_longjmp(c->throw_env, 1);
}

static inline void save_env(void **to, struct cpu *c)
{
    for (unsigned n = 0; n < 5; n++) {
        to[n] = c->throw_env[n];
    }
}

static inline void restore_env(struct cpu *c, void **from)
{
    for (unsigned n = 0; n < 5; n++) {
        c->throw_env[n] = from[n];
    }
}

__attribute__((noinline)) enum cpu_step
cpu_try(struct cpu *c, enum cpu_step (*fn)(struct cpu *, void *), void *arg)
{
    void *outer[5];
    save_env(outer, c);
    if (__builtin_setjmp(c->throw_env) == 0) {
        enum cpu_step r = fn(c, arg);
        restore_env(c, outer);
        return r;
    }
    restore_env(c, outer);
    if (c->exc_vector == THROW_AGAIN) {
        c->has_intr_shadow = false; /* it waits for an interrupt */
        mode_changed(c);
        return STEP_OK;
    }
    return cpu_deliver_exception(c, c->exc_vector, c->exc_has_error,
                                 c->exc_error);
}

struct event {
    unsigned vector;
    enum event_kind kind;
    bool has_error;
    uint32_t error;
    uint64_t return_rip;
};

static __attribute__((noinline)) bool try_enter(struct cpu *c,
                                                const struct event *e)
{
    void *outer[5];
    save_env(outer, c);
    if (__builtin_setjmp(c->throw_env) == 0) {
        event_enter(c, e->vector, e->kind, e->has_error, e->error,
                    e->return_rip);
        restore_env(c, outer);
        return true;
    }
    restore_env(c, outer);
    return false;
}

static bool is_contributory(unsigned vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static enum cpu_step deliver(struct cpu *c, struct event *e)
{
    /* Serial faults end in the double-fault rules after a few rounds; the
     * bound is for a guest that changes its tables meanwhile. */
    for (unsigned n = 0; n < 8; n++) {
        if (try_enter(c, e)) return STEP_FAULT;
        unsigned next = c->exc_vector;
        bool is_second = e->kind == EVENT_EXCEPTION;
        if (is_second && e->vector == EXC_DF &&
            (is_contributory(next) || next == EXC_PF)) {
            break;
        }
        bool is_double =
            is_second &&
            ((is_contributory(e->vector) && is_contributory(next)) ||
             (e->vector == EXC_PF &&
              (is_contributory(next) || next == EXC_PF)));
        e->kind = EVENT_EXCEPTION;
        e->vector = is_double ? EXC_DF : next;
        e->has_error = is_double ? true : c->exc_has_error;
        e->error = is_double ? 0 : c->exc_error;
        e->return_rip = c->rip;
    }
    c->activity = CPU_SHUTDOWN;
    return STEP_SHUTDOWN;
}

enum cpu_step cpu_deliver_exception(struct cpu *c, unsigned vector,
                                    bool has_error, uint32_t error)
{
    struct event e = { .vector = vector,
                       .kind = EVENT_EXCEPTION,
                       .has_error = has_error,
                       .error = error,
                       .return_rip = c->rip };
    if (vector == EXC_DB) c->dr[7] &= ~(uint64_t)(1u << 13); /* GD */
    return deliver(c, &e);
}

enum cpu_step cpu_deliver_interrupt(struct cpu *c, unsigned vector)
{
    struct event e = { .vector = vector & 0xff,
                       .kind = EVENT_EXTERNAL,
                       .return_rip = c->rip };
    c->activity = CPU_ACTIVE;
    return deliver(c, &e);
}

enum cpu_step cpu_deliver_nmi(struct cpu *c)
{
    c->is_nmi_blocked = true;
    return cpu_deliver_interrupt(c, EXC_NMI);
}

/* ---- real mode and VM86 through the IVT */

static void enter_ivt(struct cpu *c, unsigned vector, uint64_t base,
                      uint64_t pushed_flags, uint64_t return_rip,
                      uint64_t clear)
{
    struct stack s;
    uint64_t v = lin_read(c, base + 4 * vector, 4, 0);
    stack_open(c, &s);
    stack_push(c, &s, 2, pushed_flags);
    stack_push(c, &s, 2, c->seg[SEG_CS].sel);
    stack_push(c, &s, 2, return_rip);
    if ((v & 0xffff) > c->seg[SEG_CS].limit) throw_gp(c, 0);
    stack_commit(c, &s);
    c->rflags &= ~clear;
    set_real_segment(c, SEG_CS, (unsigned)(v >> 16));
    c->rip = v & 0xffff;
}

static void enter_real(struct cpu *c, unsigned vector, uint64_t return_rip)
{
    if (4 * vector + 3 > c->idt.limit) throw_gp(c, 8 * vector + 2);
    enter_ivt(c, vector, c->idt.base, c->rflags, return_rip,
              FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

/* INT n in VM86 with CR4.VME: true when delivered by the 8086 way (SDM
 * volume 3A, 20.3.3). */
static bool enter_vme(struct cpu *c, unsigned vector, uint64_t return_rip)
{
    if (c->cr4 & CR4_VME) {
        uint64_t map = lin_read(c, c->tr.base + 0x66, 2, ACC_SYSTEM);
        uint64_t at = map - 32 + vector / 8;
        bool is_redirected =
            map >= 32 && at <= c->tr.limit &&
            !(lin_read(c, c->tr.base + at, 1, ACC_SYSTEM) >> (vector & 7) & 1);
        if (is_redirected) {
            uint64_t flags = c->rflags;
            uint64_t clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_IF;
            if (iopl(c) < 3) {
                flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL |
                        (flags & FLAG_VIF ? FLAG_IF : 0);
                clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VIF;
            }
            enter_ivt(c, vector, 0, flags, return_rip, clear);
            return true;
        }
    }
    if (iopl(c) < 3) throw_gp(c, 0);
    return false;
}

/* ---- protected and long mode through the IDT */

/* What an interrupt gate names, checked. */
struct entry {
    unsigned sel, bytes, ist, cpl;
    uint64_t rip;
    bool is_trap, is_inner;
    struct desc d;
};

static void read_gate(struct cpu *c, const struct event *e, uint32_t ext,
                      struct desc *g, uint32_t *high)
{
    unsigned width = cpu_is_long(c) ? 16 : 8;
    uint32_t code = 8 * e->vector + 2;
    if (e->vector * width + width - 1 > c->idt.limit) throw_gp(c, code | ext);
    uint64_t lin = c->idt.base + e->vector * width;
    if (!cpu_is_long(c)) lin = (uint32_t)lin;
    uint64_t v = lin_read(c, lin, 8, ACC_SYSTEM);
    g->lo = (uint32_t)v;
    g->hi = (uint32_t)(v >> 32);
    *high = width == 16 ? (uint32_t)lin_read(c, lin + 8, 4, ACC_SYSTEM) : 0;
    unsigned type = DESC_TYPE(g);
    bool is_gate = type == DESC_INT32 || type == DESC_TRAP32;
    if (!cpu_is_long(c)) {
        is_gate |=
            type == DESC_INT16 || type == DESC_TRAP16 || type == DESC_TASK;
    }
    if ((g->hi & DESC_S) || !is_gate) throw_gp(c, code | ext);
    if (e->kind == EVENT_SOFT && DESC_DPL(g) < cpu_cpl(c)) throw_gp(c, code);
    if (!(g->hi & DESC_P)) cpu_throw_code(c, EXC_NP, code | ext);
}

static void check_entry(struct cpu *c, struct entry *t, uint32_t ext)
{
    uint32_t code = (t->sel & 0xfffc) | ext;
    unsigned cpl = cpu_cpl(c);
    if (!desc_read(c, t->sel, &t->d)) throw_gp(c, code);
    unsigned dpl = DESC_DPL(&t->d);
    if (!desc_is_code(&t->d) || dpl > cpl) throw_gp(c, code);
    if (cpu_is_long(c) && (t->d.hi & (DESC_L | DESC_DB)) != DESC_L) {
        throw_gp(c, code);
    }
    if (!(t->d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    t->is_inner = !desc_is_conforming(&t->d) && dpl < cpl;
    t->cpl = t->is_inner ? dpl : cpl;
    if ((c->rflags & FLAG_VM) && (!t->is_inner || dpl)) throw_gp(c, code);
    struct cpu_segment cs = desc_segment(&t->d, t->sel);
    if (cpu_is_long(c) ? !is_canonical(t->rip) : t->rip > cs.limit) {
        throw_gp(c, ext);
    }
    desc_set_accessed(c, &t->d);
}

static void open_stack(struct cpu *c, const struct entry *t, struct stack *s,
                       uint32_t ext)
{
    uint16_t ss;
    stack_open(c, s);
    if (t->cpl < 3) s->access = ACC_SYSTEM;
    if (cpu_is_long(c)) {
        s->mask = UINT64_MAX;
        if (t->ist) {
            unsigned at = 0x1c + 8 * t->ist;
            if (at + 7 > c->tr.limit) {
                cpu_throw_code(c, EXC_TS, (c->tr.sel & 0xfffc) | ext);
            }
            s->sp = lin_read(c, c->tr.base + at, 8, ACC_SYSTEM);
        } else if (t->is_inner) {
            tss_stack(c, t->cpl, &ss, &s->sp, ext);
        }
        if (t->is_inner) {
            s->ss.sel = (uint16_t)t->cpl;
            s->ss.attr = (uint16_t)(t->cpl << 5);
            s->ss.base = 0;
            s->ss.limit = UINT32_MAX;
        }
        s->sp &= ~(uint64_t)15;
        if (!is_canonical(s->sp)) cpu_throw_code(c, EXC_SS, ext);
    } else if (t->is_inner) {
        tss_stack(c, t->cpl, &ss, &s->sp, ext);
        s->ss = load_stack_segment(c, ss, t->cpl, EXC_TS, ext);
        s->mask = s->ss.attr & SEG_ATTR_DB ? UINT32_MAX : 0xffff;
    }
}

static void push_frame(struct cpu *c, const struct entry *t, struct stack *s,
                       const struct event *e, uint64_t flags)
{
    unsigned n = t->bytes;
    if (c->rflags & FLAG_VM) {
        stack_push(c, s, n, c->seg[SEG_GS].sel);
        stack_push(c, s, n, c->seg[SEG_FS].sel);
        stack_push(c, s, n, c->seg[SEG_DS].sel);
        stack_push(c, s, n, c->seg[SEG_ES].sel);
    }
    if (t->is_inner || cpu_is_long(c)) {
        stack_push(c, s, n, c->seg[SEG_SS].sel);
        stack_push(c, s, n, c->gpr[GPR_SP]);
    }
    stack_push(c, s, n, flags);
    stack_push(c, s, n, c->seg[SEG_CS].sel);
    stack_push(c, s, n, e->return_rip);
    if (e->has_error) stack_push(c, s, n, e->error);
}

static void set_null_segments(struct cpu *c)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned n = 0; n < 4; n++) {
        c->seg[data[n]].sel = 0;
        c->seg[data[n]].attr = 0;
        c->seg[data[n]].base = 0;
        c->seg[data[n]].limit = 0;
    }
}

static void enter_task(struct cpu *c, const struct event *e,
                       const struct desc *gate, uint32_t ext)
{
    struct desc d;
    unsigned sel = gate->lo >> 16;
    if ((sel & 4) || !desc_read(c, sel, &d)) {
        throw_gp(c, (sel & 0xfffc) | ext);
    }
    task_switch(c, sel, &d, TASK_EVENT, e->return_rip, e->has_error, e->error,
                ext);
}

static void enter_protected(struct cpu *c, const struct event *e,
                            uint64_t flags)
{
    uint32_t ext = e->kind != EVENT_SOFT, high;
    struct desc g;
    read_gate(c, e, ext, &g, &high);
    unsigned type = DESC_TYPE(&g);
    if (type == DESC_TASK) {
        enter_task(c, e, &g, ext);
        return;
    }
    struct entry t;
    struct stack s;
    t.sel = g.lo >> 16;
    t.bytes = cpu_is_long(c) ? 8 : type & 8 ? 4 : 2;
    t.rip = g.lo & 0xffff;
    if (t.bytes > 2) t.rip |= g.hi & 0xffff0000;
    t.rip |= (uint64_t)high << 32;
    t.ist = cpu_is_long(c) ? g.hi & 7 : 0;
    t.is_trap = type & 1;
    check_entry(c, &t, ext);
    open_stack(c, &t, &s, ext);
    push_frame(c, &t, &s, e, flags);

    bool was_vm86 = c->rflags & FLAG_VM;
    c->rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
    if (!t.is_trap) c->rflags &= ~(uint64_t)FLAG_IF;
    if (was_vm86) set_null_segments(c);
    c->seg[SEG_SS] = s.ss;
    c->seg[SEG_CS] = desc_segment(&t.d, (t.sel & ~3u) | t.cpl);
    stack_commit(c, &s);
    c->rip = t.rip;
}

/* Faults (not traps) push RF set, so that the instruction's own breakpoint
 * does not fire again: SDM volume 3B 17.3.1.1. */
static bool sets_rf(const struct event *e)
{
    return e->kind == EVENT_EXCEPTION && e->vector != EXC_DB &&
           e->vector != EXC_BP && e->vector != EXC_OF && e->vector != EXC_DF;
}

static const char *kind_name(enum event_kind kind)
{
    return kind == EVENT_EXCEPTION  ? "exception"
           : kind == EVENT_EXTERNAL ? "interrupt"
                                    : "INT";
}

void event_enter(struct cpu *c, unsigned vector, enum event_kind kind,
                 bool has_error, uint32_t error, uint64_t return_rip)
{
    struct event e = { .vector = vector,
                       .kind = kind,
                       .has_error = has_error,
                       .error = error,
                       .return_rip = return_rip };
    if (c->ops && c->ops->event) {
        c->ops->event(c, vector, kind_name(kind), has_error, error);
    }
    if (!is_protected(c)) {
        enter_real(c, vector, return_rip);
    } else {
        uint64_t flags = c->rflags | (sets_rf(&e) ? FLAG_RF : 0);
        enter_protected(c, &e, flags);
    }
    c->has_intr_shadow = false;
    mode_changed(c);
}

void soft_interrupt(struct cpu *c, struct insn *i, unsigned vector)
{
    bool is_int_n = i->op == 0xcd;
    enum event_kind kind = i->op == 0xf1 ? EVENT_INT1 : EVENT_SOFT;
    if (is_int_n && (c->rflags & FLAG_VM) && is_protected(c) &&
        enter_vme(c, vector, i->next)) {
        mode_changed(c);
    } else {
        event_enter(c, vector, kind, false, 0, i->next);
    }
    i->next = c->rip;
    i->no_trap = true;
}
