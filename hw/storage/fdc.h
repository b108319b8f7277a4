/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_STORAGE_FDC_H
#define ORRERY_HW_STORAGE_FDC_H

#include <stdint.h>

#include "core/vm/dev.h"
#include "core/vm/irq.h"

struct drive;

enum { FDC_UNITS = 2 };

/*
 * 82077AA floppy controller at ports 0x3f0-0x3f5 and 0x3f7 (-device isa-fdc).
 * VM lock held for all calls.
 */
extern const struct dev_class fdc_class;
/* Its children: drives (properties: -device floppy,help). */
extern const struct dev_class floppy_class;

/* irq: ISA IRQ 6; dma: device of class dma8237_class, channel 2 is taken. */
void fdc_connect(struct dev *d, struct irq_line irq, struct dev *dma);

/* Put a drive (removable; with or without medium) at unit 0 or 1. */
int fdc_attach(struct dev *d, unsigned unit, struct drive *drive,
               struct err *e);

/* Drive type as CMOS octet 0x10 codes it: 0 none, 2 1.2 MB 5.25", 4 1.44 MB,
 * 5 2.88 MB. */
uint8_t fdc_drive_type(struct dev *d, unsigned unit);

#endif
