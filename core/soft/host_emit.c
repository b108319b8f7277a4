/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/emit.h"

#include <string.h>

static bool has_room(struct emitter *e, unsigned bytes)
{
    if (e->end - e->at >= (int)bytes) return true;
    e->status = -ENOSPC;
    return false;
}

void emit8(struct emitter *e, unsigned v)
{
    if (has_room(e, 1)) *e->at++ = (uint8_t)v;
}

static void emit_bytes(struct emitter *e, const void *p, unsigned bytes)
{
    if (!has_room(e, bytes)) return;
    memcpy(e->at, p, bytes);
    e->at += bytes;
}

void emit16(struct emitter *e, unsigned v)
{
    uint16_t x = (uint16_t)v;

    emit_bytes(e, &x, sizeof(x));
}

void emit32(struct emitter *e, uint32_t v)
{
    emit_bytes(e, &v, sizeof(v));
}

void emit64(struct emitter *e, uint64_t v)
{
    emit_bytes(e, &v, sizeof(v));
}

uint8_t *emit_pc(const struct emitter *e)
{
    return e->at + e->exec;
}

void emit_note(struct emitter *e, enum move_kind kind, unsigned back)
{
    int64_t at = e->at - back - e->start;

    if (e->is_fixed || e->status < 0) return;
    if (e->move_count == MOVES_MAX || at < 0 || at > UINT16_MAX) {
        e->is_fixed = true;
        return;
    }
    e->moves[e->move_count++] =
        (struct code_move){ (uint16_t)at, (uint8_t)kind, 0 };
}

void emit_rip64(struct emitter *e, uint64_t rip)
{
    emit64(e, rip);
    emit_note(e, MOVE_ADD, 8);
}

/* Prefixes, REX or VEX, opcode; SDM 2A 2.1 to 2.3. */
static void emit_head(struct emitter *e, const struct enc *c, int reg, int x,
                      int b)
{
    unsigned r1 = (unsigned)reg >> 3 & 1, x1 = (unsigned)x & 1,
             b1 = (unsigned)b & 1, rex;

    if (c->is_vex) {
        emit8(e, 0xc4);
        emit8(e, (r1 ^ 1) << 7 | (x1 ^ 1) << 6 | (b1 ^ 1) << 5 | c->map);
        emit8(e, (unsigned)c->w << 7 | (~(unsigned)c->v & 15) << 3 |
                     (unsigned)c->l << 2 | c->pp);
        emit8(e, c->op);
        return;
    }
    for (unsigned i = 0; i < c->prefix_count; i++)
        emit8(e, c->prefix[i]);
    rex = 0x40 | (unsigned)c->w << 3 | r1 << 2 | x1 << 1 | b1;
    if (rex != 0x40 || c->force_rex) emit8(e, rex);
    if (c->map) emit8(e, 0x0f);
    if (c->map == 2) emit8(e, 0x38);
    if (c->map == 3) emit8(e, 0x3a);
    emit8(e, c->op);
}

static void emit_tail(struct emitter *e, const struct enc *c)
{
    for (unsigned i = 0; i < c->tail_bytes; i++)
        emit8(e, c->tail[i]);
}

void emit_rr(struct emitter *e, const struct enc *c, int reg, int rm)
{
    emit_head(e, c, reg, 0, rm >> 3);
    emit8(e, 0xc0 | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
    emit_tail(e, c);
}

void emit_rm(struct emitter *e, const struct enc *c, int reg, struct mem_form m)
{
    unsigned r = (unsigned)(reg & 7) << 3, mod;

    if (m.base < 0) {
        mod = 0;
    } else if (m.disp == 0 && (m.base & 7) != H_BP) {
        mod = 0;
    } else {
        mod = m.disp == (int8_t)m.disp ? 1 : 2;
    }
    if (m.is_gs) emit8(e, 0x65);
    emit_head(e, c, reg, m.index >= 0 ? m.index >> 3 : 0,
              m.base >= 0 ? m.base >> 3 : 0);
    if (m.index >= 0 || m.base < 0 || (m.base & 7) == H_SP) {
        emit8(e, mod << 6 | r | 4);
        emit8(e, (unsigned)m.scale << 6 |
                     (unsigned)(m.index < 0 ? 4 : m.index & 7) << 3 |
                     (unsigned)(m.base < 0 ? 5 : m.base & 7));
    } else {
        emit8(e, mod << 6 | r | (unsigned)(m.base & 7));
    }
    if (m.base < 0 || mod == 2) {
        emit32(e, (uint32_t)m.disp);
    } else if (mod == 1) {
        emit8(e, (uint8_t)m.disp);
    }
    emit_tail(e, c);
}

void emit_opreg(struct emitter *e, const struct enc *c, int reg)
{
    struct enc k = *c;

    k.op = (uint8_t)((c->op & ~7u) | (unsigned)(reg & 7));
    emit_head(e, &k, 0, 0, reg >> 3);
    emit_tail(e, &k);
}

void emit_op_rr(struct emitter *e, unsigned op, bool w, int reg, int rm)
{
    struct enc c = { .op = (uint8_t)op, .w = w };

    emit_rr(e, &c, reg, rm);
}

void emit_op_rm(struct emitter *e, unsigned op, bool w, int reg,
                struct mem_form m)
{
    struct enc c = { .op = (uint8_t)op, .w = w };

    emit_rm(e, &c, reg, m);
}

struct mem_form mem_gs(int32_t offset)
{
    return (struct mem_form){ H_NONE, H_NONE, 0, true, offset };
}

struct mem_form mem_at(int base, int32_t disp)
{
    return (struct mem_form){ base, H_NONE, 0, false, disp };
}

void emit_load(struct emitter *e, int reg, int32_t gs_offset)
{
    emit_op_rm(e, 0x8b, true, reg, mem_gs(gs_offset));
}

void emit_store(struct emitter *e, int reg, int32_t gs_offset)
{
    emit_op_rm(e, 0x89, true, reg, mem_gs(gs_offset));
}

void emit_move(struct emitter *e, int to, int from)
{
    emit_op_rr(e, 0x89, true, from, to);
}

void emit_const(struct emitter *e, int reg, uint64_t v)
{
    unsigned b = (unsigned)reg >> 3;

    if (v >> 32 == 0) {
        if (b) emit8(e, 0x41);
        emit8(e, 0xb8 | (unsigned)(reg & 7));
        emit32(e, (uint32_t)v);
    } else if ((int64_t)v == (int32_t)v) {
        emit8(e, 0x48 | b);
        emit8(e, 0xc7);
        emit8(e, 0xc0 | (unsigned)(reg & 7));
        emit32(e, (uint32_t)v);
    } else {
        emit8(e, 0x48 | b);
        emit8(e, 0xb8 | (unsigned)(reg & 7));
        emit64(e, v);
    }
}

void emit_rip_const(struct emitter *e, int reg, uint64_t rip)
{
    uint8_t *at = e->at;

    emit_const(e, reg, rip);
    if (e->at - at < 10) e->is_fixed = true;
    emit_note(e, MOVE_ADD, 8);
}

void emit_lea(struct emitter *e, bool w, int reg, struct mem_form m)
{
    if (w && m.disp == 0 && m.index < 0 && m.base >= 0) {
        if (reg != m.base) emit_move(e, reg, m.base);
        return;
    }
    if (m.base < 0 && m.index >= 0 && m.scale == 0) {
        m.base = m.index;
        m.index = H_NONE;
    }
    emit_op_rm(e, 0x8d, w, reg, m);
}

void emit_alu_imm(struct emitter *e, unsigned op, bool w, int reg, int32_t v)
{
    bool is_short = v == (int8_t)v;

    emit_op_rr(e, is_short ? 0x83 : 0x81, w, (int)op, reg);
    if (is_short) {
        emit8(e, (uint8_t)v);
    } else {
        emit32(e, (uint32_t)v);
    }
}

void emit_rel32(struct emitter *e, const uint8_t *target)
{
    emit32(e, (uint32_t)(target - (emit_pc(e) + 4)));
    emit_note(e, MOVE_REL, 4);
}

void emit_call(struct emitter *e, const uint8_t *target)
{
    emit8(e, 0xe8);
    emit_rel32(e, target);
}

void emit_jmp(struct emitter *e, const uint8_t *target)
{
    emit8(e, 0xe9);
    emit_rel32(e, target);
}

void emit_jcc(struct emitter *e, unsigned cc, const uint8_t *target)
{
    emit8(e, 0x0f);
    emit8(e, 0x80 | cc);
    emit_rel32(e, target);
}

void emit_patch(const struct emitter *e, uint8_t *end, const uint8_t *target)
{
    int32_t rel = (int32_t)(target - (end + e->exec));

    if (e->status == 0) memcpy(end - 4, &rel, sizeof(rel));
}

void emit_align(struct emitter *e, unsigned align, unsigned skew)
{
    /* SDM 2B, NOP: recommended multi-byte forms */
    static const uint8_t nop[8][7] = {
        { 0 },
        { 0x90 },
        { 0x66, 0x90 },
        { 0x0f, 0x1f, 0x00 },
        { 0x0f, 0x1f, 0x40, 0x00 },
        { 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
    };
    unsigned n = (unsigned)-((uint64_t)e->at + skew) & (align - 1);

    emit_bytes(e, nop[n], n);
}
