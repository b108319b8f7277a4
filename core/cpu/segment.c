/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Descriptors and segment registers: SDM volume 3A chapter 5, and the
 * instruction pages of MOV, LLDT, LTR.
 */
#include "core/cpu/emu.h"

/* Linear address of the descriptor of sel, bytes long; false when outside. */
static bool desc_address(const struct cpu *c, unsigned sel, unsigned bytes,
                         uint64_t *lin)
{
    uint64_t base = c->gdt.base;
    uint32_t limit = c->gdt.limit;
    if (sel & 4) {
        if (!(c->ldt.attr & SEG_ATTR_P)) return false;
        base = c->ldt.base;
        limit = c->ldt.limit;
    }
    if ((sel & ~7u) + bytes - 1 > limit) return false;
    *lin = base + (sel & ~7u);
    if (!cpu_is_long(c)) *lin = (uint32_t)*lin;
    return true;
}

bool desc_read(struct cpu *c, unsigned sel, struct desc *d)
{
    if (!(sel & 0xfffc)) return false;
    if (!desc_address(c, sel, 8, &d->lin)) return false;
    uint64_t v = lin_read(c, d->lin, 8, ACC_SYSTEM);
    d->lo = (uint32_t)v;
    d->hi = (uint32_t)(v >> 32);
    return true;
}

bool desc_read_high(struct cpu *c, unsigned sel, uint32_t *base_high)
{
    uint64_t lin;
    if (!desc_address(c, sel, 16, &lin)) return false;
    uint64_t v = lin_read(c, lin + 8, 8, ACC_SYSTEM);
    if (v >> 32 & 0x1f00) return false; /* type field must be 0 */
    *base_high = (uint32_t)v;
    return true;
}

struct cpu_segment desc_segment(const struct desc *d, unsigned sel)
{
    struct cpu_segment s;
    s.sel = (uint16_t)sel;
    s.attr = d->hi >> 8 & 0xf0ff;
    s.limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    if (s.attr & SEG_ATTR_G) s.limit = s.limit << 12 | 0xfff;
    s.base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000);
    return s;
}

/* Or v into, or clear it from, the byte at lin, atomically where possible. */
static void change_byte(struct cpu *c, uint64_t lin, uint8_t set, uint8_t clear)
{
    uint8_t *p = c->ops->lin_ptr(c, lin, ACC_READ | ACC_WRITE | ACC_SYSTEM);
    if (p) {
        uint8_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(
            p, &old, (uint8_t)((old | set) & ~clear), false, __ATOMIC_SEQ_CST,
            __ATOMIC_SEQ_CST)) {
        }
        return;
    }
    uint64_t v = lin_read(c, lin, 1, ACC_SYSTEM);
    lin_write(c, lin, 1, (v | set) & ~(uint64_t)clear, ACC_SYSTEM);
}

void desc_set_accessed(struct cpu *c, struct desc *d)
{
    if (d->hi & 0x100) return;
    change_byte(c, d->lin + 5, 1, 0);
    d->hi |= 0x100;
}

void desc_set_busy(struct cpu *c, const struct desc *d, bool busy)
{
    change_byte(c, d->lin + 5, busy ? 2 : 0, busy ? 0 : 2);
}

struct cpu_segment load_stack_segment(struct cpu *c, unsigned sel, unsigned cpl,
                                      unsigned vector, uint32_t ext)
{
    struct desc d;
    uint32_t code = (sel & 0xfffc) | ext;
    if (!desc_read(c, sel, &d)) cpu_throw_code(c, vector, code);
    if ((sel & 3) != cpl || !desc_is_stack(&d) || DESC_DPL(&d) != cpl) {
        cpu_throw_code(c, vector, code);
    }
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_SS, code);
    desc_set_accessed(c, &d);
    return desc_segment(&d, sel);
}

/* A null selector; SS keeps the CPL in its DPL (cpu_cpl reads it there). */
static void set_null(struct cpu *c, unsigned seg, unsigned sel)
{
    struct cpu_segment *s = &c->seg[seg];
    unsigned cpl = cpu_cpl(c);
    s->sel = (uint16_t)sel;
    s->base = 0;
    s->limit = 0;
    s->attr = 0;
    if (seg == SEG_SS) {
        s->attr = (uint16_t)(cpl << 5);
        s->limit = UINT32_MAX;
    }
}

void set_real_segment(struct cpu *c, unsigned seg, unsigned sel)
{
    struct cpu_segment *s = &c->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = (uint64_t)(uint16_t)sel << 4;
    if (c->rflags & FLAG_VM) {
        s->limit = 0xffff;
        s->attr = 0xf3;
    } else if (!(s->attr & SEG_ATTR_P)) {
        s->limit = 0xffff; /* left null by protected mode */
        s->attr = 0x93;
    }
}

static void load_ss(struct cpu *c, unsigned sel)
{
    unsigned cpl = cpu_cpl(c);
    if (!(sel & 0xfffc)) {
        if (!cpu_is_code64(c) || cpl == 3 || (sel & 3) != cpl) throw_gp(c, 0);
        set_null(c, SEG_SS, sel);
        return;
    }
    c->seg[SEG_SS] = load_stack_segment(c, sel, cpl, EXC_GP, 0);
}

static void load_data(struct cpu *c, unsigned seg, unsigned sel)
{
    struct desc d;
    if (!(sel & 0xfffc)) {
        set_null(c, seg, sel);
        return;
    }
    uint32_t code = sel & 0xfffc;
    if (!desc_read(c, sel, &d) || !desc_is_readable(&d)) throw_gp(c, code);
    if (!desc_is_code(&d) || !desc_is_conforming(&d)) {
        if ((sel & 3) > DESC_DPL(&d) || cpu_cpl(c) > DESC_DPL(&d)) {
            throw_gp(c, code);
        }
    }
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    desc_set_accessed(c, &d);
    c->seg[seg] = desc_segment(&d, sel);
}

void load_segment(struct cpu *c, unsigned seg, unsigned sel)
{
    if (is_real_style(c)) {
        set_real_segment(c, seg, sel);
    } else if (seg == SEG_SS) {
        load_ss(c, sel);
    } else {
        load_data(c, seg, sel);
    }
    mode_changed(c);
}

void drop_inner_segments(struct cpu *c, unsigned cpl)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned n = 0; n < 4; n++) {
        struct cpu_segment *s = &c->seg[data[n]];
        bool is_conforming_code = (s->attr & 12) == 12;
        if ((s->attr & SEG_ATTR_P) && !is_conforming_code &&
            SEG_ATTR_DPL(s->attr) < cpl) {
            set_null(c, data[n], 0);
        } else if (!(s->sel & 0xfffc)) {
            s->sel = 0; /* a null selector loses its RPL: SDM volume 2, IRET */
        }
    }
}

void load_ldt(struct cpu *c, unsigned sel)
{
    struct desc d;
    uint32_t high = 0, code = sel & 0xfffc;
    if (!(sel & 0xfffc)) {
        c->ldt.sel = (uint16_t)sel;
        c->ldt.attr = 0;
        c->ldt.base = 0;
        c->ldt.limit = 0;
        return;
    }
    if ((sel & 4) || !desc_read(c, sel, &d)) throw_gp(c, code);
    if ((d.hi & DESC_S) || DESC_TYPE(&d) != DESC_LDT) throw_gp(c, code);
    if (cpu_is_long(c) && !desc_read_high(c, sel, &high)) throw_gp(c, code);
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    c->ldt = desc_segment(&d, sel);
    c->ldt.base |= (uint64_t)high << 32;
}

void load_tr(struct cpu *c, unsigned sel)
{
    struct desc d;
    uint32_t high = 0, code = sel & 0xfffc;
    if ((sel & 4) || !desc_read(c, sel, &d)) throw_gp(c, code);
    unsigned type = DESC_TYPE(&d);
    bool is_tss = type == DESC_TSS32 || (type == DESC_TSS16 && !cpu_is_long(c));
    if ((d.hi & DESC_S) || !is_tss) throw_gp(c, code);
    if (cpu_is_long(c) && !desc_read_high(c, sel, &high)) throw_gp(c, code);
    if (!(d.hi & DESC_P)) cpu_throw_code(c, EXC_NP, code);
    desc_set_busy(c, &d, true);
    c->tr = desc_segment(&d, sel);
    c->tr.base |= (uint64_t)high << 32;
    c->tr.attr |= 2;
}
