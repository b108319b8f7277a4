/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_MACHINE_H
#define ORRERY_HW_MACHINE_H

#include <stdio.h>

#include "core/base/err.h"

/*
 * Machine types (-M): one const record each, listed in machine_table[]
 * (machines.c).
 */
struct vm;

struct machine {
    const char *name;  /* "pc-i440fx-7.2" */
    const char *alias; /* "pc" or NULL */
    const char *title;
    /* Make everything from vm_config(vm): memory, devices, firmware, vCPUs.
     * The accelerator is open; drives (service "drives") and character
     * devices exist; the VM lock is held.  What was made before a failure is
     * freed by vm_destroy. */
    int (*init)(struct vm *vm, struct err *e);
};

extern const struct machine machine_table[]; /* ends with name NULL */

/* By name or alias; NULL name: the default machine.  NULL if unknown. */
const struct machine *machine_find(const char *name);
/* As machine_find, with the message for the user. */
int machine_select(const char *name, const struct machine **out, struct err *e);
void machine_print_help(FILE *out); /* -M help */

#endif
