/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_MODE_H
#define ORRERY_SOFT_MODE_H

#include <stdbool.h>
#include <stdint.h>

/* What a block depends on besides the bytes of its instructions. */
enum block_mode {
    BM_CODE64 = 1 << 0,
    BM_CODE32 = 1 << 1, /* neither: 16-bit */
    BM_STACK32 = 1 << 2,
    BM_FLAT_DS = 1 << 3, /* base 0, limit 4 GiB, readable and writable */
    BM_FLAT_ES = 1 << 4,
    BM_FLAT_SS = 1 << 5,
    BM_X87 = 1 << 6,  /* no #NM, no #UD */
    BM_WAIT = 1 << 7, /* the same for FWAIT */
    BM_SSE = 1 << 8,
    BM_AVX = 1 << 9,
    BM_DF = 1 << 10,
    BM_REAL = 1 << 11, /* real mode or VM86: no VEX */
    BM_CPL0 = 1 << 12,
    BM_TSD = 1 << 13,
    BM_SPACE_SHIFT = 14, /* 2 bits */
    BM_SMAP = 1 << 16,
    BM_VM86 = 1 << 17,
    BM_UNGROUPED = 1 << 18,   /* asked for: each access checked alone, */
    BM_SPLIT_STACK = 1 << 19, /* or only those off RSP */
};

struct mode_key {
    uint32_t bits;
    uint32_t cs_limit; /* 64-bit code: all ones */
    uint64_t cs_base;  /* 64-bit code: 0 */
};

/* Is rip where no code of the mode can be?  A branch to it is #GP. */
static inline bool is_no_code(const struct mode_key *m, uint64_t rip)
{
    if (!(m->bits & BM_CODE64)) return rip > m->cs_limit;
    return (int64_t)(rip << 16) >> 16 != (int64_t)rip;
}

#endif
