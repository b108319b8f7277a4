/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_STORAGE_SLOT_H
#define ORRERY_HW_STORAGE_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/vm/dev.h"

/*
 * What devices that show a drive have in common (ide-hd, ide-cd, floppy): the
 * first member of their state.
 */
struct drive;

#define SLOT_ANY_UNIT UINT32_MAX
#define SLOT_NO_BOOT  UINT32_MAX

struct slot_drive {
    char *drive, *bus;
    uint32_t unit;      /* SLOT_ANY_UNIT: the first free one */
    uint32_t bootindex; /* SLOT_NO_BOOT: none */
    char boot_path[64]; /* Open Firmware's path, as firmware looks for it */
};

/*
 * The drive named drive=: a -drive by its id, or a node by its name.  None is
 * given: an empty one is made for a removable device, else -EINVAL.  -ENOENT,
 * or -EBUSY if another device shows it.
 */
int slot_find_drive(const struct dev *d, const struct slot_drive *slot,
                    bool is_removable, bool is_cdrom, struct drive **out,
                    struct err *e);

/* Of a device of one of those classes; NULL for others. */
const struct slot_drive *slot_of(const struct dev *d);

#endif
