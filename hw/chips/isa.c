/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

struct irq_line isa_irq_line(struct vm *vm, unsigned n)
{
    const struct irq_line *lines = vm_service(vm, "isa-irqs");

    if (lines == NULL || n >= 16) return (struct irq_line){ .set = NULL };
    return lines[n];
}
