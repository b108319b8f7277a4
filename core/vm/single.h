/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_SINGLE_H
#define ORRERY_VM_SINGLE_H

#include <stdbool.h>

/*
 * Service "singlestep" of an accelerator that can execute the guest one
 * instruction at a time.  VM lock held; set: loop thread, CPUs parked.
 */
struct single_service {
    void (*set)(void *arg, bool on);
    bool (*get)(void *arg);
    void *arg;
};

#endif
