/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_HOST_SIGNAL_H
#define ORRERY_SOFT_HOST_SIGNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Host signals that translated code causes (#DE, #MF, #XM, #UD, misaligned
 * SSE operands) become a return to the run loop, which emulates the
 * instruction and so raises the guest's exception.
 *
 * This header stays free of core/cpu: <signal.h> declares the same REG_
 * names.
 */
struct host_fault {
    int signo;
    uint64_t gpr[16]; /* host registers in encoding order */
    uint64_t rip, flags;
};

/* True if the fault was the guest's: rip and flags are where to go on.
 * fault.c. */
bool soft_host_fault(struct host_fault *f);

int host_signal_install(struct err *e);

/* Per vCPU thread: an alternate stack.  Returns it, NULL: no memory. */
void *host_signal_stack_new(void);
void host_signal_stack_free(void *stack);

#endif
