/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_IOAPIC_H
#define ORRERY_VM_IOAPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vm/vm.h"

/*
 * The I/O APIC as local APICs and accelerators see it: service "ioapic".  An
 * in-kernel local APIC needs the routes of all pins (to know which vectors
 * are level triggered) and reports end of interrupt here.  VM lock held.
 */
enum { IOAPIC_PINS = 24 };

struct ioapic_route {
    uint64_t addr; /* message a pin sends, SDM 3A 10.11 format */
    uint32_t data;
    bool is_masked, is_level;
};

struct ioapic_service {
    void *arg;
    void (*eoi)(void *arg, uint8_t vector);
    /* pin < IOAPIC_PINS */
    struct ioapic_route (*route)(void *arg, unsigned pin);
    /* Set by the accelerator, may stay NULL: called after a route changed. */
    void (*changed)(void *changed_arg, unsigned pin);
    void *changed_arg;
};

/* End of interrupt for a level-triggered vector, from a local APIC. */
static inline void ioapic_eoi_locked(struct vm *vm, uint8_t vector)
{
    const struct ioapic_service *s = vm_service(vm, "ioapic");

    if (s != NULL) s->eoi(s->arg, vector);
}

#endif
