/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_INSN_FORMS_H
#define ORRERY_TESTS_INSN_FORMS_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Every form of an instruction an encoding can have, by number: opcode map,
 * opcode, mandatory and other prefixes, REX.W or VEX.W, VEX.L, memory or
 * register, ModRM.reg.  (ModRM.rm as well where it selects the instruction.)
 * Most mean nothing; Zydis and the host's CPU say which do.
 */
enum form_variant { FORM_PLAIN, FORM_LOCK, FORM_ADDRESS_SIZE };

struct form {
    uint8_t mode; /* code size in bytes: 2, 4, 8 */
    uint8_t map;  /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t op;
    uint8_t pp;      /* 0 none, 1 66, 2 F3, 3 F2; not VEX: 4 66 F3, 5 66 F2 */
    uint8_t variant; /* enum form_variant */
    uint8_t reg, rm; /* of ModRM; rm of register forms */
    bool is_vex, is_mem, w, l;
    bool has_vvvv; /* VEX.vvvv is not 1111 */
};

/* Form numbers of a mode run from 0 to forms_count(mode) - 1. */
uint32_t forms_count(unsigned mode);
void form_get(unsigned mode, uint32_t n, struct form *f);
/* The opcode is a prefix, or leads to another map. */
bool form_is_prefix(const struct form *f);

/* Where the parts of a form went that form_put() wrote. */
struct form_at {
    unsigned count; /* bytes up to the ModRM byte, or to the end */
    unsigned modrm; /* offset of the ModRM byte if there is one */
    unsigned opcode;
    uint8_t rex; /* W R X B, of REX or VEX */
};

/* Write prefixes, opcode and a ModRM byte (mod 3, or 0 for memory); bits of
 * random choose registers. */
void form_put(const struct form *f, uint64_t random, uint8_t *to,
              struct form_at *at);

/* Name of the CPUID feature that announces a set of instructions, "" when
 * every CPU has it; NULL: no CPU model of ours does. */
const char *isa_feature(ZydisISASet set);

#endif
