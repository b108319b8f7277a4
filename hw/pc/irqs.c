/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines of a PC.  IRQ n goes to input n of the 8259 pair and to pin
 * n of the I/O APIC, except IRQ 0, which comes in on pin 2 (the MADT says
 * so).  A line can have several drivers: the ISA device, PIRQs that the guest
 * routes there, the SCI, and the HPET (I/O APIC alone); it is up while one
 * of them drives it.
 */
#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"
#include "hw/pc/pc.h"

static void drive(struct pc *pc, unsigned n, unsigned source, bool level)
{
    uint8_t old = pc->levels[n];

    if (level) {
        pc->levels[n] |= (uint8_t)source;
    } else {
        pc->levels[n] &= (uint8_t)~source;
    }
    if (pc->levels[n] == old) return;
    if (n < 16 && n != 2) {
        pic_set_irq(pc->pic, n, (pc->levels[n] & ~PC_IRQ_HPET) != 0);
    }
    ioapic_set_pin(pc->ioapic, n == 0 ? 2 : n, pc->levels[n] != 0);
}

static void isa_set(void *arg, unsigned n, bool level)
{
    drive(arg, n, PC_IRQ_ISA, level);
}

static void pirq_set(void *arg, unsigned n, bool level)
{
    drive(arg, n, PC_IRQ_PIRQ, level);
}

static void sci_set(void *arg, unsigned n, bool level)
{
    drive(arg, n, PC_IRQ_SCI, level);
}

/* Pins 0 and 2 belong to IRQ 0. */
static void hpet_set(void *arg, unsigned n, bool level)
{
    if (n != 0) drive(arg, n == 2 ? 0 : n, PC_IRQ_HPET, level);
}

void pc_irqs_init(struct pc *pc)
{
    for (unsigned i = 0; i < 16; i++) {
        pc->isa[i] = (struct irq_line){ isa_set, pc, i };
        pc->pirq[i] = (struct irq_line){ pirq_set, pc, i };
    }
    pc->sci = (struct irq_line){ sci_set, pc, PC_SCI_IRQ };
    pc->isa[2] = (struct irq_line){ NULL, NULL, 0 };
    pc->pirq[2] = pc->isa[2];
    for (unsigned i = 0; i < PC_GSIS; i++) {
        pc->hpet_gsi[i] = (struct irq_line){ hpet_set, pc, i };
    }
    vm_set_service(pc->d->vm, "isa-irqs", pc->isa);
}
