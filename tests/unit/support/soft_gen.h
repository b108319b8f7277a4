/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TEST_SOFT_GEN_H
#define ORRERY_TEST_SOFT_GEN_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Random streams of user-mode instructions.  Opcodes come from tables of
 * ranges; whether the bytes mean something is asked of Zydis.  Memory operands
 * are led into a data area by setting their registers just before, and
 * undefined flags are defined again at once.
 */
enum {
    GEN_CODE = 0x400000,
    GEN_EXIT = 0x5ff000, /* 8 bytes: where the stream jumps at its end */
    GEN_DATA = 0x600000,
    GEN_DATA_BYTES = 0x3000,
    GEN_STACK = 0x700000, /* top; one page below is used */
    GEN_MAX_BYTES = 8192,
};

struct gen {
    uint64_t random; /* state; not 0 */
    unsigned bits;   /* 16, 32, 64 */
    bool has_vector; /* SSE, AVX, x87 too */
    bool walks;      /* take forms in their order instead, from next_form on */
    uint32_t next_form;
    unsigned tries; /* for that form */
    /* What became of a form that is announced: made part of the stream, or
     * not. */
    void (*told)(struct gen *g, const ZydisDecodedInstruction *d,
                 const uint8_t *bytes, bool is_made);
    void *arg;
    uint8_t code[GEN_MAX_BYTES];
    unsigned bytes;
};

uint64_t gen_random(struct gen *g);
/* Make a stream of about count instructions; fewer when the forms end. */
void gen_stream(struct gen *g, unsigned count);

#endif
