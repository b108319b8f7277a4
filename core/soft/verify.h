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

enum { LOG_STORES = 512, LOG_BYTES = 64 };

struct logged_store {
    uint8_t *host;
    unsigned bytes;
    uint8_t before[LOG_BYTES], after[LOG_BYTES];
};

struct machine_state {
    uint64_t gpr[16], rip, rflags, gs_base, kernel_gs_base;
    uint8_t xsave[CPU_XSAVE_BYTES] __attribute__((aligned(64)));
};

struct verify_log {
    unsigned count;
    struct logged_store store[LOG_STORES];
    struct machine_state start, translated, emulated;
};

struct verify_log *verify_log_new(void); /* host_verify.c; NULL: no memory */
void verify_log_free(struct verify_log *l);

enum verify_result verify_block(struct engine *eng);

/* A store of translated code is about to happen; returns its address. */
uint64_t verify_log_store(struct engine *eng, uint8_t *host, unsigned bytes);

#endif
