/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_VECTOR_H
#define ORRERY_CPU_VECTOR_H

#include "core/cpu/native.h"

/* BLSR, BLSMSK, BLSI: VEX.0F38 F3, ModRM.reg is part of the opcode and
 * VEX.vvvv the destination. */
static inline bool is_group17(const struct insn *i)
{
    return i->map == MAP_0F38 && i->op == 0xf3;
}

/* Encode i for native_run(); kind is its letter in vector.c's tables. */
void vector_encode(const struct insn *i, char kind, struct native_code *k);

/* Instructions that touch only some elements in memory: masked moves (f, F),
 * gathers (c), MASKMOVDQU and MASKMOVQ (l, L). */
void vector_masked(struct cpu *c, struct insn *i, char kind);

#endif
