/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_KERNEL_LAPIC_H
#define ORRERY_VM_KERNEL_LAPIC_H

#include <stdint.h>

#include "core/base/err.h"

/*
 * Local APICs an accelerator keeps in the kernel, for saving and loading:
 * service "kernel-lapic".  VM lock held, machine stopped, CPUs parked.
 */
struct kernel_lapic_regs {
    uint64_t base;     /* IA32_APIC_BASE */
    uint64_t deadline; /* IA32_TSC_DEADLINE */
    uint32_t reg[64];  /* by offset / 16, SDM 3A table 10-1; the timer's
                          current count is what is left of it */
};

struct vm_kernel_lapic {
    void *arg;
    /* As of the last vcpu_get; in a forked child too. */
    struct kernel_lapic_regs *(*regs)(void *arg, unsigned cpu);
    /* What regs holds becomes CPU n's. */
    int (*put)(void *arg, unsigned cpu, struct err *e);
};

#endif
