/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * String instructions, IN and OUT.  A REP form works in chunks of one page;
 * registers are exact after each chunk, so a fault, an event or the end of
 * the budget between chunks leaves a state the instruction continues from.
 * Inside a chunk the host's own rep movs/stos of the same element size runs,
 * which makes overlapping copies right by construction.
 */
#include <stdatomic.h>

#include "core/cpu/emu.h"
#include "core/vm/vcpu.h"

enum { STRING_BUDGET = 4096 };

/* I/O permission: SDM volume 1, 18.5. */
void check_io(struct cpu *c, unsigned port, unsigned bytes)
{
    if (!is_protected(c)) return;
    if (!(c->rflags & FLAG_VM) && cpu_cpl(c) <= iopl(c)) return;
    bool is_tss32 = (c->tr.attr & SEG_ATTR_P) && (c->tr.attr & 8);
    if (!is_tss32 || c->tr.limit < 0x67) throw_gp(c, 0);
    uint64_t at = lin_read(c, c->tr.base + 0x66, 2, ACC_SYSTEM) + port / 8;
    if (at + 1 > c->tr.limit) throw_gp(c, 0);
    uint64_t bits = lin_read(c, c->tr.base + at, 2, ACC_SYSTEM);
    if (bits >> (port & 7) & ((1u << bytes) - 1)) throw_gp(c, 0);
}

void emulate_io(struct cpu *c, struct insn *i)
{
    unsigned bytes = !(i->op & 1) ? 1 : i->osize == 2 ? 2 : 4;
    unsigned port = i->op & 8 ? c->gpr[GPR_DX] & 0xffff : (unsigned)i->imm;
    check_io(c, port, bytes);
    if (has_breakpoints(c)) note_io_access(c, port, bytes);
    if (i->op & 2) {
        port_out(c, i, port, bytes, (uint32_t)reg_get(c, GPR_AX, bytes));
    } else {
        reg_set(c, GPR_AX, bytes, port_in(c, i, port, bytes));
    }
}

struct string {
    unsigned bytes;
    uint64_t mask; /* of the address size */
    int64_t step;
    uint64_t count;
    bool has_src, has_dst, is_single;
    uint64_t src, dst; /* linear, of this chunk */
};

/* Elements that can be done from off on in one go: same page, no wrap of the
 * address size, inside the limit. */
static uint64_t chunk_elements(const struct cpu *c, const struct string *s,
                               unsigned seg, uint64_t off, uint64_t lin)
{
    uint64_t n = (4096 - (lin & 4095)) / s->bytes, room;
    if (!n) return 1;
    if (s->mask != UINT64_MAX) {
        room = (s->mask - off + 1) / s->bytes;
        if (n > room) n = room ? room : 1;
    }
    if (!cpu_is_code64(c)) {
        const struct cpu_segment *d = &c->seg[seg];
        bool is_down = (d->attr & 12) == 4;
        room = is_down || off > d->limit
                   ? 1
                   : ((uint64_t)d->limit - off + 1) / s->bytes;
        if (n > room) n = room ? room : 1;
    }
    return n;
}

/* Checks both operands and returns the size of the next chunk. */
static uint64_t open_chunk(struct cpu *c, const struct insn *i,
                           struct string *s)
{
    bool is_aligned_only =
        (c->rflags & FLAG_AC) && (c->cr0 & CR0_AM) && cpu_cpl(c) == 3;
    bool is_slow =
        s->is_single || s->step < 0 || is_aligned_only || has_breakpoints(c);
    uint64_t n = is_slow ? 1 : s->count, m;
    if (s->has_src) {
        uint64_t off = c->gpr[GPR_SI] & s->mask;
        s->src = seg_linear(c, i->seg, off, s->bytes, ACC_READ);
        m = chunk_elements(c, s, i->seg, off, s->src);
        if (n > m) n = m;
    }
    if (s->has_dst) {
        unsigned access =
            (i->op | 1) == 0xa7 || (i->op | 1) == 0xaf ? ACC_READ : ACC_WRITE;
        uint64_t off = c->gpr[GPR_DI] & s->mask;
        s->dst = seg_linear(c, SEG_ES, off, s->bytes, access);
        m = chunk_elements(c, s, SEG_ES, off, s->dst);
        if (n > m) n = m;
    }
    return n;
}

static bool is_in_page(uint64_t lin, unsigned bytes)
{
    return (lin & 4095) + bytes <= 4096;
}

static void host_movs(void *to, const void *from, uint64_t n, unsigned bytes)
{
    switch (bytes) {
    case 1:
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    case 2:
        __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    case 4:
        __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    default:
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    }
}

static void host_stos(void *to, uint64_t v, uint64_t n, unsigned bytes)
{
    switch (bytes) {
    case 1:
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    case 2:
        __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    case 4:
        __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    default:
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    }
}

/* Each do_ function does up to n elements and returns how many it did. */
static uint64_t do_movs(struct cpu *c, const struct string *s, uint64_t n)
{
    if (is_in_page(s->src, s->bytes) && is_in_page(s->dst, s->bytes)) {
        const void *from = c->ops->lin_ptr(c, s->src, ACC_READ);
        void *to = c->ops->lin_ptr(c, s->dst, ACC_WRITE);
        if (from && to) {
            host_movs(to, from, n, s->bytes);
            return n;
        }
    }
    lin_write(c, s->dst, s->bytes, lin_read(c, s->src, s->bytes, 0), 0);
    return 1;
}

static uint64_t do_stos(struct cpu *c, const struct string *s, uint64_t n)
{
    uint64_t v = reg_get(c, GPR_AX, s->bytes);
    if (is_in_page(s->dst, s->bytes)) {
        void *to = c->ops->lin_ptr(c, s->dst, ACC_WRITE);
        if (to) {
            host_stos(to, v, n, s->bytes);
            return n;
        }
    }
    lin_write(c, s->dst, s->bytes, v, 0);
    return 1;
}

static uint64_t do_lods(struct cpu *c, const struct string *s)
{
    reg_set(c, GPR_AX, s->bytes, lin_read(c, s->src, s->bytes, 0));
    return 1;
}

/* CMPS and SCAS: stop tells that the REP condition has failed. */
static uint64_t do_compare(struct cpu *c, const struct insn *i,
                           const struct string *s, uint64_t n, bool *stop)
{
    bool is_cmps = s->has_src, wants_equal = i->rep == 0xf3;
    uint64_t a = reg_get(c, GPR_AX, s->bytes), b = 0, done = 0;
    const uint8_t *src = NULL, *dst = NULL;
    if (n > 1) {
        dst = c->ops->lin_ptr(c, s->dst, ACC_READ);
        if (is_cmps) src = c->ops->lin_ptr(c, s->src, ACC_READ);
    }
    if (!dst || (is_cmps && !src)) {
        b = lin_read(c, s->dst, s->bytes, 0);
        if (is_cmps) a = lin_read(c, s->src, s->bytes, 0);
        done = 1;
    }
    while (done < n && dst && (src || !is_cmps)) {
        b = cpu_get(dst + done * s->bytes, s->bytes);
        if (is_cmps) a = cpu_get(src + done * s->bytes, s->bytes);
        done++;
        if ((a == b) != wants_equal) break;
    }
    uint64_t f = c->rflags;
    alu_binary(ALU_CMP, s->bytes, a, b, &f);
    flags_set(c, FLAGS_ARITH, f);
    *stop = i->rep && (a == b) != wants_equal;
    return done;
}

static uint64_t do_ins(struct cpu *c, const struct insn *i,
                       const struct string *s)
{
    lin_probe_write(c, s->dst, s->bytes, 0);
    uint32_t v = port_in(c, i, c->gpr[GPR_DX] & 0xffff, s->bytes);
    lin_write(c, s->dst, s->bytes, v, 0);
    return 1;
}

static uint64_t do_outs(struct cpu *c, const struct insn *i,
                        const struct string *s)
{
    uint64_t v = lin_read(c, s->src, s->bytes, 0);
    port_out(c, i, c->gpr[GPR_DX] & 0xffff, s->bytes, (uint32_t)v);
    return 1;
}

static uint64_t do_chunk(struct cpu *c, const struct insn *i,
                         const struct string *s, uint64_t n, bool *stop)
{
    switch (i->op & 0xfe) {
    case 0x6c: return do_ins(c, i, s);
    case 0x6e: return do_outs(c, i, s);
    case 0xa4: return do_movs(c, s, n);
    case 0xa6:
    case 0xae: return do_compare(c, i, s, n, stop);
    case 0xaa: return do_stos(c, s, n);
    default: return do_lods(c, s);
    }
}

static void open_string(struct cpu *c, const struct insn *i, struct string *s)
{
    unsigned op = i->op & 0xfe;
    s->bytes = i->op & 1 ? i->osize : 1;
    s->mask = size_mask(i->asize);
    if (op == 0x6c || op == 0x6e) {
        if (s->bytes == 8) s->bytes = 4;
        check_io(c, c->gpr[GPR_DX] & 0xffff, s->bytes);
        if (has_breakpoints(c) && (!i->rep || (c->gpr[GPR_CX] & s->mask))) {
            note_io_access(c, c->gpr[GPR_DX] & 0xffff, s->bytes);
        }
    }
    s->step = c->rflags & FLAG_DF ? -(int64_t)s->bytes : (int64_t)s->bytes;
    s->has_src = op == 0x6e || op == 0xa4 || op == 0xa6 || op == 0xac;
    s->has_dst = op != 0x6e && op != 0xac;
    s->is_single = !i->rep || op == 0xac || op == 0x6c || op == 0x6e;
    s->count = i->rep ? c->gpr[GPR_CX] & s->mask : 1;
    s->src = s->dst = 0;
}

static bool has_event(const struct cpu *c)
{
    return c->vcpu &&
           atomic_load_explicit(&c->vcpu->events, memory_order_relaxed);
}

static void go_on_later(const struct cpu *c, struct insn *i)
{
    i->next = c->rip;
    i->goes_on = true;
}

void emulate_string(struct cpu *c, struct insn *i)
{
    struct string s;
    open_string(c, i, &s);
    bool stop = false;
    for (unsigned budget = STRING_BUDGET; s.count; budget--) {
        if (!budget || (budget != STRING_BUDGET && has_event(c))) {
            go_on_later(c, i);
            return;
        }
        uint64_t n = open_chunk(c, i, &s);
        if ((c->rflags & FLAG_TF) || c->is_stepwise) n = 1;
        n = do_chunk(c, i, &s, n, &stop);
        if (s.has_src) {
            reg_set(c, GPR_SI, i->asize, c->gpr[GPR_SI] + n * (uint64_t)s.step);
        }
        if (s.has_dst) {
            reg_set(c, GPR_DI, i->asize, c->gpr[GPR_DI] + n * (uint64_t)s.step);
        }
        s.count -= n;
        if (i->rep) reg_set(c, GPR_CX, i->asize, s.count);
        if (stop) return;
        if (s.count &&
            ((c->rflags & FLAG_TF) || c->debug_hits || c->is_stepwise)) {
            go_on_later(c, i);
            return;
        }
    }
}
