/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_FORM_NATIVE_H
#define ORRERY_TESTS_FORM_NATIVE_H

#include "tests/unit/support/cpu_rig.h"

/*
 * One user-mode instruction, run by the host in 64-, 32- or 16-bit code with
 * segments of the process's LDT, and by cpu_emulate() from the same state: a
 * flat cpu_rig.  Data segments outside 64-bit code lie at the rig's data with
 * a limit of FORM_DATA_BYTES - 1.
 */
enum {
    FORM_DATA_BYTES = 0x2000,
    FORM_LDT_ENTRIES = 8,
    FORM_FAR = 0x60, /* where branches are led: octets behind the next one */
    FORM_SEL_DATA32 = 0x07,
    FORM_SEL_DATA16 = 0x0f,
    FORM_SEL_CODE32 = 0x17,
    FORM_SEL_CODE16 = 0x1f,
};

struct form_segments {
    uint16_t ds, es, ss, fs, gs;
    uint64_t fs_base, gs_base;
};

struct form_state {
    uint64_t gpr[16], flags;
    struct form_segments seg;
    bool is_taken;  /* came out FORM_FAR octets further */
    int vector;     /* -1, or of the exception it raised */
    uint8_t *image; /* VECTOR_BYTES, aligned to 64 */
};

/* Install the LDT, natively and in the rig.  False: the host has none, or no
 * RDFSBASE for user programs. */
bool form_native_open(struct cpu_rig *r);
/* Fill s->seg as an instruction of the mode finds it; the bases are kept. */
void form_native_segments(unsigned mode, struct form_segments *seg);
void form_native_run(struct cpu_rig *r, unsigned mode, const uint8_t *bytes,
                     unsigned count, struct form_state *s);
/* The code has been put by form_native_run(). */
void form_emulate(struct cpu_rig *r, unsigned mode, unsigned count,
                  struct form_state *s);

#endif
