/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_REP_H
#define ORRERY_SOFT_REP_H

#include <stdbool.h>
#include <stdint.h>

/* What soft_rep and the routines before it are told: gs offset of the TLB of
 * the space, and these. */
enum {
    REP_SHIFT = 3,       /* mask: log2 of the element's bytes */
    REP_FLAGS_SAVED = 4, /* guest flags are in saved_flags */
    REP_DOWN = 8,        /* EFLAGS.DF is set */
};

/* Called from entry.S, guest registers in the engine; false: the instruction
 * is not done, emulate it. */
bool soft_rep(bool is_movs, uint32_t param);

#endif
