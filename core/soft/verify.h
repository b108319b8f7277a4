/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_VERIFY_H
#define ORRERY_SOFT_VERIFY_H

#include "core/soft/engine.h"

/*
 * verify=on: every block is run as translated, undone, and run again
 * instruction by instruction in the emulator; registers, defined flags,
 * vector state and memory must agree.  The emulator's result is kept.
 */
enum verify_result {
    VERIFY_DONE,
    VERIFY_EMULATE, /* nothing was run: emulate the instruction at rip */
    VERIFY_FAILED,  /* text in engine.error */
};

enum verify_result verify_block(struct engine *eng);

/* A store of translated code is about to happen; returns its address. */
uint64_t verify_log_store(struct engine *eng, uint8_t *host, unsigned bytes);

#endif
