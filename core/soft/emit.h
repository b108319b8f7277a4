/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_EMIT_H
#define ORRERY_SOFT_EMIT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/soft/move.h"

/*
 * Writing x86-64 instructions.  The error is sticky: when there is no room the
 * emitter stops writing and status stays set; look at it once per block.
 */
struct emitter {
    uint8_t *at, *end; /* writable addresses */
    int64_t exec;      /* executable address = writable address + exec */
    int status;        /* 0 or -ENOSPC */
    /* Fields that depend on where the code is */
    uint8_t *start; /* writable address that theirs are counted from */
    struct code_move *moves;
    unsigned move_count;
    bool is_fixed; /* it cannot be moved */
};

enum host_reg {
    H_AX,
    H_CX,
    H_DX,
    H_BX,
    H_SP,
    H_BP,
    H_SI,
    H_DI,
    H_R8,
    H_R9,
    H_R10,
    H_R11,
    H_R12,
    H_R13,
    H_R14,
    H_R15,
    H_NONE = -1,
};

enum {
    H_GUEST_SP = H_R12,  /* guest RSP */
    H_GUEST_R12 = H_R15, /* guest R12 */
    S1 = H_R13,          /* scratch: addresses */
    S2 = H_R14,          /* scratch */
};

/* An instruction apart from its ModRM operands. */
struct enc {
    uint8_t prefix[4], prefix_count; /* 66, F0, F2, F3 */
    bool is_vex, force_rex;
    uint8_t map; /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t op;
    uint8_t w, l, pp, v; /* v not inverted */
    const uint8_t *tail; /* immediate */
    uint8_t tail_bytes;
};

struct mem_form {
    int base, index; /* enum host_reg */
    uint8_t scale;   /* 0..3: shift */
    bool is_gs;
    int32_t disp;
};

void emit8(struct emitter *e, unsigned v);
void emit16(struct emitter *e, unsigned v);
void emit32(struct emitter *e, uint32_t v);
void emit64(struct emitter *e, uint64_t v);
uint8_t *emit_pc(const struct emitter *e); /* executable address */

/* The field so many bytes before here is to be changed when the code moves. */
void emit_note(struct emitter *e, enum move_kind kind, unsigned back);
/* A guest address of the block. */
void emit_rip64(struct emitter *e, uint64_t rip);

void emit_rr(struct emitter *e, const struct enc *c, int reg, int rm);
void emit_rm(struct emitter *e, const struct enc *c, int reg,
             struct mem_form m);
/* Opcode with the register in its low bits. */
void emit_opreg(struct emitter *e, const struct enc *c, int reg);

/* One-byte opcode with ModRM; w: 64-bit operands. */
void emit_op_rr(struct emitter *e, unsigned op, bool w, int reg, int rm);
void emit_op_rm(struct emitter *e, unsigned op, bool w, int reg,
                struct mem_form m);

struct mem_form mem_gs(int32_t offset);
struct mem_form mem_at(int base, int32_t disp);

/* 64-bit moves; no flags touched. */
void emit_load(struct emitter *e, int reg, int32_t gs_offset);
void emit_store(struct emitter *e, int reg, int32_t gs_offset);
void emit_move(struct emitter *e, int to, int from);
void emit_const(struct emitter *e, int reg, uint64_t v);
void emit_rip_const(struct emitter *e, int reg, uint64_t rip);
void emit_lea(struct emitter *e, bool w, int reg, struct mem_form m);
/* op 0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp */
void emit_alu_imm(struct emitter *e, unsigned op, bool w, int reg, int32_t v);

void emit_rel32(struct emitter *e, const uint8_t *target);
void emit_call(struct emitter *e, const uint8_t *target);
void emit_jmp(struct emitter *e, const uint8_t *target);
void emit_jcc(struct emitter *e, unsigned cc, const uint8_t *target);
/* Make the rel32 that ends at the writable address `end` lead to target. */
void emit_patch(const struct emitter *e, uint8_t *end, const uint8_t *target);
/* No-ops until (address + skew) is a multiple of align (4 or 8). */
void emit_align(struct emitter *e, unsigned align, unsigned skew);

#endif
