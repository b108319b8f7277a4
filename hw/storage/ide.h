/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_STORAGE_IDE_H
#define ORRERY_HW_STORAGE_IDE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/vm/dev.h"
#include "core/vm/irq.h"

struct drive;

enum { IDE_CHANNELS = 2, IDE_UNITS = 4 /* channel * 2 + device */ };

/*
 * PIIX3 IDE function (PCI 01.1): ports 0x1f0-0x1f7, 0x3f6 and 0x170-0x177,
 * 0x376, bus master registers in BAR 4.  VM lock held for all calls.
 */
extern const struct dev_class ide_piix3_class;
/* Children of it: a disk, a CD-ROM (properties: -device NAME,help). */
extern const struct dev_class ide_hd_class, ide_cd_class;

/* INTRQ of a channel: ISA IRQ 14 for channel 0, 15 for channel 1. */
void ide_connect(struct dev *d, unsigned channel, struct irq_line irq);

/*
 * Put a drive at unit 0..3 (primary master, primary slave, secondary master,
 * secondary slave), as a CD-ROM or as a disk.  Installs the drive's ops for a
 * CD-ROM.  -EBUSY if taken, -EROFS for a disk that cannot be written.
 */
int ide_attach(struct dev *d, unsigned unit, struct drive *drive, bool is_cdrom,
               struct err *e);

/* BIOS translation as the CMOS octets 0x39/0x3a code it. */
enum ide_translation {
    IDE_TRANS_NONE = 0,
    IDE_TRANS_LBA = 1,
    IDE_TRANS_LARGE = 2,
};
struct ide_geometry {
    uint32_t cylinders, heads, sectors; /* heads <= 16, sectors <= 63 */
    enum ide_translation translation;
};
/* Geometry of a disk; false if the unit holds no disk. */
bool ide_get_geometry(struct dev *d, unsigned unit, struct ide_geometry *out);

#endif
