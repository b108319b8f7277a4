/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_FORM_ORACLE_H
#define ORRERY_TESTS_FORM_ORACLE_H

#include "tests/unit/support/form_native.h"
#include "tests/unit/support/insn_forms.h"

/*
 * A form with random operands that mean something: addresses in the data
 * area, branches to a place that is there, selectors of the LDT, save areas
 * that can be restored.
 */
struct form_oracle {
    struct cpu_rig *rig;
    unsigned mode;
    uint64_t random;
    ZydisDecoder decoder;

    uint8_t bytes[32];
    unsigned count; /* of bytes */
    bool is_decoded;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

    struct form_state start, native, ours;
    uint8_t memory[3][FORM_DATA_BYTES]; /* before, native, ours */
    uint8_t image[3][VECTOR_BYTES] __attribute__((aligned(64)));
    char text[400]; /* of a difference */
};

/* NULL: this host cannot run it. */
struct form_oracle *form_oracle_open(unsigned mode, uint64_t seed);
void form_oracle_close(struct form_oracle *o);
/* Make the instruction; with is_odd prefixes that do nothing, in any order. */
void form_oracle_make(struct form_oracle *o, const struct form *f, bool is_odd);
enum form_result {
    FORM_COMPARED,
    FORM_FAULTED,   /* both raised the same exception, or an interrupt came */
    FORM_UNDEFINED, /* #UD */
    FORM_OTHER,     /* this host does otherwise: amd.h */
    FORM_DIFFERS,
};
enum form_result form_oracle_run(struct form_oracle *o);
/* By the emulator alone: the vector it raises, or -1. */
int form_oracle_emulate(struct form_oracle *o);

#endif
