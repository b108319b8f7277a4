/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/ring.h"

#include "core/base/log.h"
#include "core/cpu/copy.h"
#include "core/cpu/emu.h"

/*
 * Between rings in 64-bit mode without the emulator's decoder and its checked
 * accesses: what kernels do all the time, in its plain form.  Each function
 * looks at everything first and returns false, with nothing changed, when
 * something is unusual or would fault; the emulator then does it properly.
 */

enum {
    ATTR_CODE64 = 0xa09b,
    ATTR_DATA = 0xc093,
    GATE_INT = 14,
    GATE_BYTES = 16,
    TSS_RSP0 = 4,
};

static struct cpu_segment flat(unsigned sel, unsigned attr, unsigned dpl)
{
    struct cpu_segment s = {
        .sel = (uint16_t)((sel & 0xfffc) | dpl),
        .attr = (uint16_t)(attr | dpl << 5),
        .limit = UINT32_MAX,
    };

    return s;
}

static bool is_table_for(const struct engine *eng, unsigned space,
                         uint32_t bits)
{
    const struct mode_key *m = &eng->ibt_mode[space];

    return m->bits == bits && m->cs_base == 0 && m->cs_limit == UINT32_MAX;
}

void ring_update(struct engine *eng)
{
    static const uint32_t same =
        BM_CODE64 | BM_X87 | BM_WAIT | BM_SSE | BM_AVX | BM_TSD | BM_SMAP;
    static const uint64_t cleared =
        FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_AC | FLAG_NT;
    const struct cpu *c = &eng->cpu;
    struct ring *r = &eng->ring;
    uint32_t bits = eng->mode.bits & same;
    unsigned call = c->star >> 32 & 0xffff, ret = c->star >> 48;

    r->can_call = r->can_return = false;
    if (!(bits & BM_CODE64) || !(c->efer & EFER_SCE)) return;
    if (is_table_for(eng, SPACE_SUPER, bits | BM_CPL0) &&
        (c->fmask & cleared) == cleared && is_canonical(c->lstar)) {
        r->can_call = true;
        r->clear = c->fmask;
        r->target = c->lstar;
        r->slot = IBT_AT + SPACE_SUPER * IBT_SPAN + ibt_slot(c->lstar) * 8;
        r->kernel[0] = flat(call, ATTR_CODE64, 0);
        r->kernel[1] = flat(call + 8, ATTR_DATA, 0);
    }
    if (is_table_for(eng, SPACE_USER, bits)) {
        r->can_return = true;
        r->user[0] = flat(ret + 16, ATTR_CODE64, 3);
        r->user[1] = flat(ret + 8, ATTR_DATA, 3);
    }
}

/* Host address of bytes at lin in one page that may be accessed directly,
 * NULL otherwise. */
static uint8_t *reach(struct engine *eng, uint64_t lin, unsigned bytes,
                      unsigned access)
{
    const struct tlb_entry *t =
        &eng->tlb[soft_space(&eng->cpu, access)]
                 [lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    bool is_write = access & ACC_WRITE;
    uint64_t off = lin ^ (is_write ? t->wtag : t->rtag);
    struct page_ref r;

    if (off <= PAGE_BYTES - bytes) {
        return (uint8_t *)(is_write ? t->wpage : t->rpage) + off;
    }
    if ((lin & (PAGE_BYTES - 1)) + bytes > PAGE_BYTES) return NULL;
    if (tlb_resolve(eng, lin, access, &r) != PAGE_DIRECT) return NULL;
    return r.host;
}

/* A present, accessed descriptor of the GDT for privilege dpl. */
static bool read_descriptor(struct engine *eng, unsigned sel, unsigned dpl,
                            struct desc *d)
{
    const struct cpu *c = &eng->cpu;
    const uint8_t *p;

    if ((sel & 4) || !(sel & 0xfffc) || (sel | 7) > c->gdt.limit) return false;
    p = reach(eng, c->gdt.base + (sel & ~7u), 8, ACC_READ | ACC_SYSTEM);
    if (!p) return false;
    d->lo = (uint32_t)cpu_get(p, 4);
    d->hi = (uint32_t)cpu_get(p + 4, 4);
    return (d->hi & DESC_S) && (d->hi & DESC_P) && (d->hi & 0x100) &&
           DESC_DPL(d) == dpl;
}

static bool is_code64_of(const struct desc *d)
{
    return desc_is_code(d) && !desc_is_conforming(d) &&
           (d->hi & (DESC_L | DESC_DB)) == DESC_L;
}

/* ---- into the kernel */

/* Interrupt gate of the vector, without a stack of its own. */
static bool read_gate(struct engine *eng, unsigned vector, unsigned *sel,
                      uint64_t *rip)
{
    const struct cpu *c = &eng->cpu;
    const uint8_t *p;
    uint64_t v;

    if (vector * GATE_BYTES + GATE_BYTES - 1 > c->idt.limit) return false;
    p = reach(eng, c->idt.base + vector * GATE_BYTES, GATE_BYTES,
              ACC_READ | ACC_SYSTEM);
    if (!p) return false;
    v = cpu_get(p, 8);
    /* P, S and type; IST */
    if ((v >> 40 & 0x9f) != (0x80 | GATE_INT) || (v >> 32 & 7)) return false;
    *sel = v >> 16 & 0xffff;
    *rip = (v & 0xffff) | (v >> 32 & 0xffff0000) | cpu_get(p + 8, 4) << 32;
    return is_canonical(*rip);
}

static bool find_stack(struct engine *eng, bool is_inner, uint64_t *sp)
{
    const struct cpu *c = &eng->cpu;
    const uint8_t *p;

    *sp = c->gpr[GPR_SP];
    if (is_inner) {
        if (c->tr.limit < TSS_RSP0 + 7) return false;
        p = reach(eng, c->tr.base + TSS_RSP0, 8, ACC_READ | ACC_SYSTEM);
        if (!p) return false;
        *sp = cpu_get(p, 8);
    }
    *sp &= ~(uint64_t)15;
    return is_canonical(*sp);
}

bool ring_deliver(struct engine *eng, unsigned vector, bool is_fault,
                  bool has_error, uint32_t error)
{
    struct cpu *c = &eng->cpu;
    bool is_inner = cpu_cpl(c) == 3;
    unsigned sel, words = has_error ? 6 : 5;
    uint64_t rip, sp, frame[6], *to;
    struct desc d;

    if (!cpu_is_code64(c) || eng->watch_count || (eng->log & LOG_INT)) {
        return false;
    }
    if (!is_inner && cpu_cpl(c) != 0) return false;
    if (!read_gate(eng, vector, &sel, &rip) ||
        !read_descriptor(eng, sel, 0, &d) || !is_code64_of(&d) ||
        !find_stack(eng, is_inner, &sp)) {
        return false;
    }
    sp -= 8 * words;
    to = (uint64_t *)(void *)reach(eng, sp, 8 * words,
                                   ACC_READ | ACC_WRITE | ACC_SYSTEM);
    if (!to) return false;
    frame[0] = error;
    frame[words - 5] = c->rip;
    frame[words - 4] = c->seg[SEG_CS].sel;
    frame[words - 3] = c->rflags | (is_fault ? FLAG_RF : 0);
    frame[words - 2] = c->gpr[GPR_SP];
    frame[words - 1] = c->seg[SEG_SS].sel;
    for (unsigned i = 0; i < words; i++)
        to[i] = frame[i];
    c->rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_IF);
    if (is_inner) {
        c->seg[SEG_SS] = (struct cpu_segment){ .limit = UINT32_MAX };
    }
    c->seg[SEG_CS] = desc_segment(&d, sel & ~3u);
    c->gpr[GPR_SP] = sp;
    c->rip = rip;
    c->has_intr_shadow = false;
    eng->is_mode_stale = true;
    return true;
}

enum cpu_step ring_fault(struct engine *eng)
{
    struct cpu *c = &eng->cpu;

    eng->has_fault = false;
    c->cr2 = eng->fault_lin;
    if (ring_deliver(eng, EXC_PF, true, true, eng->fault_error)) {
        return STEP_FAULT;
    }
    eng->is_mode_stale = true;
    return cpu_deliver_exception(c, EXC_PF, true, eng->fault_error);
}

/* ---- back */

/* SS of a return to 64-bit code at privilege rpl. */
static bool return_stack_segment(struct engine *eng, unsigned sel, unsigned rpl,
                                 struct cpu_segment *ss)
{
    struct desc d;

    if ((sel & 3) != rpl) return false;
    if (!(sel & 0xfffc) && rpl != 3) {
        *ss = (struct cpu_segment){
            .sel = (uint16_t)sel,
            .attr = (uint16_t)(rpl << 5),
            .limit = UINT32_MAX,
        };
        return true;
    }
    if (!read_descriptor(eng, sel, rpl, &d) || !desc_is_stack(&d)) {
        return false;
    }
    *ss = desc_segment(&d, sel);
    return true;
}

bool ring_iret(struct engine *eng)
{
    static const uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT |
                                 FLAG_RF | FLAG_AC | FLAG_ID | FLAG_IF |
                                 FLAG_IOPL | FLAG_VIF | FLAG_VIP;
    struct cpu *c = &eng->cpu;
    struct cpu_segment ss;
    const uint64_t *from;
    uint64_t frame[5];
    unsigned rpl;
    struct desc d;

    if (!cpu_is_code64(c) || cpu_cpl(c) != 0 || (c->rflags & FLAG_NT) ||
        eng->watch_count) {
        return false;
    }
    from = (const void *)reach(eng, c->gpr[GPR_SP], sizeof(frame), ACC_READ);
    if (!from) return false;
    for (unsigned i = 0; i < 5; i++)
        frame[i] = from[i];
    frame[1] &= 0xffff;
    frame[4] &= 0xffff;
    rpl = frame[1] & 3;
    if ((rpl != 0 && rpl != 3) || !is_canonical(frame[0]) ||
        !read_descriptor(eng, (unsigned)frame[1], rpl, &d) ||
        !is_code64_of(&d) ||
        !return_stack_segment(eng, (unsigned)frame[4], rpl, &ss)) {
        return false;
    }
    c->seg[SEG_SS] = ss;
    c->seg[SEG_CS] = desc_segment(&d, (unsigned)frame[1]);
    c->gpr[GPR_SP] = frame[3];
    if (rpl) drop_inner_segments(c, rpl);
    c->rflags = (c->rflags & ~mask) | (frame[2] & mask);
    c->rip = frame[0];
    c->is_nmi_blocked = false;
    eng->is_mode_stale = true;
    return true;
}
