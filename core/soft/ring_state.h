/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_RING_STATE_H
#define ORRERY_SOFT_RING_STATE_H

#include <stdint.h>

#include "core/cpu/cpu.h"

/* What soft_syscall and soft_sysret (entry.S) go by; ring_update sets it. */
struct ring {
    uint8_t can_call;   /* SYSCALL and */
    uint8_t can_return; /* SYSRET are plain */
    uint8_t unused[6];
    uint64_t clear;                        /* flags SYSCALL clears */
    uint64_t target;                       /* where it goes, */
    uint64_t slot;                         /* gs offset of its slot in ibt */
    struct cpu_segment kernel[2], user[2]; /* CS, SS */
};

#endif
