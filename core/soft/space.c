/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/engine.h"

/*
 * What translated code takes for granted about the CPU's state: the block
 * mode, and the segments as it checks them.
 */

unsigned soft_space(const struct cpu *c, unsigned access)
{
    if (access & ACC_SYSTEM) return SPACE_SUPER;
    if (cpu_cpl(c) == 3) return SPACE_USER;
    if ((c->cr4 & CR4_SMAP) && (c->rflags & FLAG_AC)) return SPACE_SUPER_AC;
    return SPACE_SUPER;
}

/* Type bits of code and data segments, SDM 3A 3.4.5.1. */
enum { TYPE_CODE = 8, TYPE_DOWN = 4, TYPE_RW = 2 };

static bool is_readable(const struct cpu_segment *s)
{
    if (!(s->attr & SEG_ATTR_P) || !(s->attr & SEG_ATTR_S)) return false;
    return !(s->attr & TYPE_CODE) || (s->attr & TYPE_RW);
}

static bool is_writable(const struct cpu_segment *s)
{
    if (!(s->attr & SEG_ATTR_P) || !(s->attr & SEG_ATTR_S)) return false;
    return !(s->attr & TYPE_CODE) && (s->attr & TYPE_RW);
}

static bool is_flat(const struct flat_segment *f)
{
    return f->base == 0 && f->rend == 1ull << 32 && f->wend == 1ull << 32;
}

static void set_segment(struct flat_segment *f, const struct cpu_segment *s,
                        bool is_real)
{
    bool is_down = !is_real && (s->attr & (TYPE_CODE | TYPE_DOWN)) == TYPE_DOWN;
    uint64_t end = (uint64_t)s->limit + 1;

    f->base = s->base;
    /* Expand-down segments are rare enough to be emulated. */
    f->rend = !is_down && (is_real || is_readable(s)) ? end : 0;
    f->wend = !is_down && (is_real || is_writable(s)) ? end : 0;
}

static uint32_t fpu_bits(const struct cpu *c)
{
    uint64_t cr0 = c->cr0, cr4 = c->cr4;
    uint32_t bits = 0;

    if (!(cr0 & (CR0_EM | CR0_TS))) {
        bits |= BM_X87;
        if (cr4 & CR4_OSFXSR) bits |= BM_SSE;
    }
    if ((cr0 & (CR0_MP | CR0_TS)) != (CR0_MP | CR0_TS)) bits |= BM_WAIT;
    if (!(cr0 & CR0_TS) && (cr4 & CR4_OSXSAVE) && (c->xcr0 & 6) == 6) {
        bits |= BM_AVX;
    }
    return bits;
}

/* The guest's data breakpoints become watched ranges: accesses to them are
 * emulated, and the emulator finds what they hit. */
static void update_watches(struct engine *eng)
{
    const struct cpu *c = &eng->cpu;
    bool is_same = true;

    for (unsigned n = 0; n < 4; n++) {
        is_same &= eng->watched_dr[n] == c->dr[n];
    }
    if (is_same && eng->watched_dr7 == c->dr[7]) return;
    eng->watched_dr7 = c->dr[7];
    if (eng->watch_count) soft_watch_clear(eng, 0xf);
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = cpu_break_kind(c, n), bytes;
        uint64_t lin = cpu_break_range(c, n, &bytes);

        eng->watched_dr[n] = c->dr[n];
        if (kind == BREAK_WRITE) {
            soft_watch_add(eng, lin, bytes, ACC_WRITE, n);
        } else if (kind == BREAK_ACCESS) {
            soft_watch_add(eng, lin, bytes, ACC_READ | ACC_WRITE, n);
        }
    }
}

void soft_update_mode(struct engine *eng)
{
    const struct cpu *c = &eng->cpu;
    struct mode_key *m = &eng->mode;
    bool is_real = !(c->cr0 & CR0_PE) || (c->rflags & FLAG_VM);
    uint32_t bits = fpu_bits(c);

    update_watches(eng);
    bits |= soft_space(c, 0) << BM_SPACE_SHIFT;
    if (c->rflags & FLAG_DF) bits |= BM_DF;
    if (cpu_cpl(c) == 0) bits |= BM_CPL0;
    if (c->cr4 & CR4_TSD) bits |= BM_TSD;
    if (c->cr4 & CR4_SMAP) bits |= BM_SMAP;
    if (c->rflags & FLAG_VM) bits |= BM_VM86;
    if (cpu_is_code64(c)) {
        m->bits = bits | BM_CODE64;
        m->cs_base = 0;
        m->cs_limit = UINT32_MAX;
        return;
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        set_segment(&eng->segment[i], &c->seg[i], is_real);
    }
    if (is_real) bits |= BM_REAL;
    if (!is_real && (c->seg[SEG_CS].attr & SEG_ATTR_DB)) bits |= BM_CODE32;
    if (!is_real && (c->seg[SEG_SS].attr & SEG_ATTR_DB)) bits |= BM_STACK32;
    if (is_flat(&eng->segment[SEG_DS])) bits |= BM_FLAT_DS;
    if (is_flat(&eng->segment[SEG_ES])) bits |= BM_FLAT_ES;
    if (is_flat(&eng->segment[SEG_SS])) bits |= BM_FLAT_SS;
    m->bits = bits;
    m->cs_base = c->seg[SEG_CS].base;
    m->cs_limit = c->seg[SEG_CS].limit;
}
