/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_IRQ_H
#define ORRERY_VM_IRQ_H

#include <stdbool.h>
#include <stddef.h>

/*
 * An interrupt line is a value handed in: the driver of the line calls
 * irq_set, the receiver gets (arg, n, level).  Level semantics; receivers
 * detect edges themselves.  VM lock held.
 */
struct irq_line {
    void (*set)(void *arg, unsigned n, bool level);
    void *arg;
    unsigned n;
};

static inline void irq_set(const struct irq_line *l, bool level)
{
    if (l->set != NULL) l->set(l->arg, l->n, level);
}

#endif
