/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_PCI_I440FX_H
#define ORRERY_HW_PCI_I440FX_H

#include "core/vm/dev.h"
#include "core/vm/irq.h"

/*
 * The chip set of machine "pc": 82441FX host bridge, PIIX3 ISA bridge and
 * PIIX4 power management, each a PCI function.  VM lock held, or before the
 * machine runs.
 */
struct mem_region;

extern const struct dev_class i440fx_class;
extern const struct dev_class piix3_class;
extern const struct dev_class piix4pm_class;

/*
 * What is visible at 0xc0000-0xfffff when a segment reads from PCI: the last
 * bytes of rom, ending at 1 MiB.  Needed for write-only shadowing alone.
 */
void i440fx_set_rom(struct dev *d, struct mem_region *rom);

/* irq: 16 ISA lines for the PIRQ outputs (only those the guest routes to are
 * driven). */
void piix3_connect(struct dev *d, const struct irq_line irq[16]);

void piix4pm_connect(struct dev *d, struct irq_line sci);
/* SMI#, a pulse; without it there is no SMM for firmware to set up. */
void piix4pm_connect_smi(struct dev *d, struct irq_line smi);

#endif
