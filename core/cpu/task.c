/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Task switches through a TSS: SDM volume 3A chapter 7.  Faults found while
 * the new task's segments are loaded belong to the new task (rip and
 * registers are its own by then).
 */
#include "core/cpu/emu.h"

/* Offsets in the two TSS formats, SDM volume 3A figures 7-2 and 7-10. */
struct tss_layout {
    uint8_t bytes; /* of a register slot */
    uint8_t min_limit;
    uint8_t ip, flags, ax, es, segments, ldt;
};
static const struct tss_layout tss16 = {
    .bytes = 2,
    .min_limit = 0x2b,
    .ip = 0x0e,
    .flags = 0x10,
    .ax = 0x12,
    .es = 0x22,
    .segments = 4,
    .ldt = 0x2a,
};
static const struct tss_layout tss32 = {
    .bytes = 4,
    .min_limit = 0x67,
    .ip = 0x20,
    .flags = 0x24,
    .ax = 0x28,
    .es = 0x48,
    .segments = 6,
    .ldt = 0x60,
};
enum { TSS_CR3 = 0x1c, TSS_TRAP = 0x64 };

struct tss_image {
    uint64_t cr3, ip, flags, gpr[8];
    unsigned seg[SEG_COUNT], ldt;
    bool has_trap;
};

void tss_stack(struct cpu *c, unsigned cpl, uint16_t *ss, uint64_t *sp,
               uint32_t ext)
{
    uint32_t code = (c->tr.sel & 0xfffc) | ext;
    unsigned type = SEG_ATTR_TYPE(c->tr.attr);
    unsigned width = cpu_is_long(c) ? 8 : type & 8 ? 4 : 2;
    unsigned at = width == 8   ? 4 + 8 * cpl
                  : width == 4 ? 4 + 8 * cpl
                               : 2 + 4 * cpl;
    unsigned last = at + (width == 8 ? 7 : 2 * width - 1);
    if (!(c->tr.attr & SEG_ATTR_P) || last > c->tr.limit) {
        cpu_throw_code(c, EXC_TS, code);
    }
    *sp = lin_read(c, c->tr.base + at, width, ACC_SYSTEM);
    *ss = width == 8
              ? 0
              : (uint16_t)lin_read(c, c->tr.base + at + width, 2, ACC_SYSTEM);
}

static const struct tss_layout *layout_of(unsigned type)
{
    return type & 8 ? &tss32 : &tss16;
}

static void read_image(struct cpu *c, const struct tss_layout *l, uint64_t base,
                       struct tss_image *t)
{
    t->cr3 = l == &tss32 ? lin_read(c, base + TSS_CR3, 4, ACC_SYSTEM) : c->cr3;
    t->ip = lin_read(c, base + l->ip, l->bytes, ACC_SYSTEM);
    t->flags = lin_read(c, base + l->flags, l->bytes, ACC_SYSTEM);
    for (unsigned n = 0; n < 8; n++) {
        t->gpr[n] =
            lin_read(c, base + l->ax + n * l->bytes, l->bytes, ACC_SYSTEM);
        if (l->bytes == 2) t->gpr[n] |= 0xffff0000;
    }
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        t->seg[n] = 0;
        if (n < l->segments) {
            t->seg[n] = (unsigned)lin_read(c, base + l->es + n * l->bytes, 2,
                                           ACC_SYSTEM);
        }
    }
    t->ldt = (unsigned)lin_read(c, base + l->ldt, 2, ACC_SYSTEM);
    t->has_trap =
        l == &tss32 && (lin_read(c, base + TSS_TRAP, 2, ACC_SYSTEM) & 1);
}

static void save_old(struct cpu *c, uint64_t next_rip, uint64_t flags)
{
    const struct tss_layout *l = layout_of(c->tr.attr);
    uint64_t base = c->tr.base;
    lin_write(c, base + l->ip, l->bytes, next_rip, ACC_SYSTEM);
    lin_write(c, base + l->flags, l->bytes, flags, ACC_SYSTEM);
    for (unsigned n = 0; n < 8; n++) {
        lin_write(c, base + l->ax + n * l->bytes, l->bytes, c->gpr[n],
                  ACC_SYSTEM);
    }
    for (unsigned n = 0; n < l->segments; n++) {
        lin_write(c, base + l->es + n * l->bytes, 2, c->seg[n].sel, ACC_SYSTEM);
    }
}

static void load_task_cr3(struct cpu *c, uint64_t cr3)
{
    if (!(c->cr0 & CR0_PG) || cr3 == c->cr3) return;
    c->cr3 = cr3;
    if (c->cr4 & CR4_PAE) {
        for (unsigned n = 0; n < 4; n++) {
            void *p = c->ops->phys_ptr(c, (cr3 & 0xffffffe0) + 8 * n);
            c->pdpte[n] = p ? cpu_get(p, 8) : 0;
        }
    }
    c->ops->flush(c, CPU_FLUSH_NONGLOBAL, 0);
}

/* Selectors alone: what is visible if loading a descriptor faults. */
static void load_selectors(struct cpu *c, const struct tss_image *t)
{
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n].sel = (uint16_t)t->seg[n];
        if (t->flags & FLAG_VM) {
            set_real_segment(c, n, t->seg[n]);
        } else {
            c->seg[n].attr = 0;
        }
    }
    if (!(t->flags & FLAG_VM)) {
        c->seg[SEG_SS].attr = (uint16_t)((t->seg[SEG_CS] & 3) << 5);
    }
    c->ldt.sel = (uint16_t)t->ldt;
    c->ldt.attr = 0;
}

static void load_task_ldt(struct cpu *c, unsigned sel, uint32_t ext)
{
    struct desc d;
    if (!(sel & 0xfffc)) return;
    if ((sel & 4) || !desc_read(c, sel, &d) || (d.hi & DESC_S) ||
        DESC_TYPE(&d) != DESC_LDT || !(d.hi & DESC_P)) {
        cpu_throw_code(c, EXC_TS, (sel & 0xfffc) | ext);
    }
    c->ldt = desc_segment(&d, sel);
}

static void load_task_cs(struct cpu *c, unsigned sel, uint32_t ext)
{
    struct desc d;
    uint32_t code = (sel & 0xfffc) | ext;
    if (!desc_read(c, sel, &d) || !desc_is_code(&d)) {
        cpu_throw_code(c, EXC_TS, code);
    }
    unsigned dpl = DESC_DPL(&d), rpl = sel & 3;
    if (desc_is_conforming(&d) ? dpl > rpl : dpl != rpl) {
        cpu_throw_code(c, EXC_TS, code);
    }
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    desc_set_accessed(c, &d);
    c->seg[SEG_CS] = desc_segment(&d, sel);
}

static void load_task_data(struct cpu *c, unsigned seg, unsigned sel,
                           uint32_t ext)
{
    struct desc d;
    uint32_t code = (sel & 0xfffc) | ext;
    if (!(sel & 0xfffc)) return;
    if (!desc_read(c, sel, &d) || !desc_is_readable(&d)) {
        cpu_throw_code(c, EXC_TS, code);
    }
    if (!desc_is_code(&d) || !desc_is_conforming(&d)) {
        unsigned dpl = DESC_DPL(&d);
        if ((sel & 3) > dpl || cpu_cpl(c) > dpl) {
            cpu_throw_code(c, EXC_TS, code);
        }
    }
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    desc_set_accessed(c, &d);
    c->seg[seg] = desc_segment(&d, sel);
}

static void load_task_segments(struct cpu *c, const struct tss_image *t,
                               uint32_t ext)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    load_task_ldt(c, t->ldt, ext);
    if (t->flags & FLAG_VM) return;
    unsigned cpl = t->seg[SEG_CS] & 3;
    c->seg[SEG_SS] = load_stack_segment(c, t->seg[SEG_SS], cpl, EXC_TS, ext);
    load_task_cs(c, t->seg[SEG_CS], ext);
    for (unsigned n = 0; n < 4; n++) {
        load_task_data(c, data[n], t->seg[data[n]], ext);
    }
}

static void check_new_tss(struct cpu *c, unsigned sel, const struct desc *d,
                          enum task_cause cause, uint32_t ext)
{
    uint32_t code = (sel & 0xfffc) | ext;
    unsigned type = DESC_TYPE(d);
    bool is_tss = !(d->hi & DESC_S) && (type & 5) == 1;
    bool is_busy = type & 2;
    if (!is_tss || is_busy != (cause == TASK_IRET)) {
        cpu_throw_code(c, cause == TASK_IRET ? EXC_TS : EXC_GP, code);
    }
    if (!(d->hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    struct cpu_segment s = desc_segment(d, sel);
    if (s.limit < layout_of(type)->min_limit) {
        cpu_throw_code(c, EXC_TS, code);
    }
}

static void clear_old_busy(struct cpu *c)
{
    struct desc d;
    if (desc_read(c, c->tr.sel, &d)) desc_set_busy(c, &d, false);
}

void task_switch(struct cpu *c, unsigned sel, struct desc *d,
                 enum task_cause cause, uint64_t next_rip, bool has_error,
                 uint32_t error, uint32_t ext)
{
    struct tss_image t;
    check_new_tss(c, sel, d, cause, ext);
    const struct tss_layout *l = layout_of(DESC_TYPE(d));
    struct cpu_segment tr = desc_segment(d, sel);
    read_image(c, l, tr.base, &t);

    bool is_nested = cause == TASK_CALL || cause == TASK_EVENT;
    uint64_t flags = c->rflags;
    if (cause == TASK_IRET) flags &= ~(uint64_t)FLAG_NT;
    if (c->tr.limit < layout_of(c->tr.attr)->min_limit) {
        cpu_throw_code(c, EXC_TS, (c->tr.sel & 0xfffc) | ext);
    }
    lin_probe_write(c, c->tr.base, layout_of(c->tr.attr)->min_limit + 1,
                    ACC_SYSTEM);
    save_old(c, next_rip, flags);
    if (is_nested) {
        lin_write(c, tr.base, 2, c->tr.sel, ACC_SYSTEM);
        t.flags |= FLAG_NT;
    } else {
        clear_old_busy(c);
    }
    if (cause != TASK_IRET) desc_set_busy(c, d, true);

    /* From here on this is the new task. */
    tr.attr |= 2;
    c->tr = tr;
    c->cr0 |= CR0_TS;
    load_task_cr3(c, t.cr3);
    c->rflags = (t.flags & 0x3f7fd5) | 2;
    c->rip = t.ip;
    for (unsigned n = 0; n < 8; n++) {
        c->gpr[n] = (uint32_t)t.gpr[n];
    }
    c->dr[7] &= ~(uint64_t)0x155; /* local breakpoints */
    load_selectors(c, &t);
    load_task_segments(c, &t, ext);
    mode_changed(c);
    if (has_error) {
        struct stack s;
        stack_open(c, &s);
        stack_push(c, &s, l->bytes, error);
        stack_commit(c, &s);
    }
    check_target(c, &c->seg[SEG_CS], c->rip);
    if (t.has_trap) {
        c->dr[6] |= 1u << 15;
        cpu_throw(c, EXC_DB);
    }
}
