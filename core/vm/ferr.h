/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_FERR_H
#define ORRERY_VM_FERR_H

#include <stdbool.h>

/*
 * The service "ferr": what the chip set makes of a CPU's FERR# pin, which an
 * unmasked x87 exception asserts while CR0.NE is clear.
 */
struct vm_ferr {
    /* VM lock held; true: IGNNE# is asserted. */
    bool (*change)(void *arg, bool on);
    void *arg;
};

#endif
