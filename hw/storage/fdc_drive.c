/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy drives as devices of their own (-device floppy, and what -drive
 * if=floppy makes).  What a guest can change is with the controller.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "hw/storage/fdc_int.h"
#include "hw/storage/slot.h"

struct floppy {
    struct slot_drive slot; /* first */
    char *type;
};

static int choose_unit(const struct fdc *f, const struct slot_drive *slot,
                       unsigned *unit, struct err *e)
{
    unsigned i = 0;

    if (slot->bus != NULL && strcmp(slot->bus, "floppy-bus.0") != 0)
        return err_set(e, -ENODEV, "bus '%s' not found (floppy-bus.0)",
                       slot->bus);
    if (slot->unit != SLOT_ANY_UNIT) {
        *unit = slot->unit;
        if (slot->unit < FDC_UNITS && f->unit[slot->unit].drive != NULL)
            return err_set(e, -EBUSY, "unit %u is in use by '%s'", slot->unit,
                           drive_id(f->unit[slot->unit].drive));
        return 0;
    }
    while (i < FDC_UNITS && f->unit[i].drive != NULL)
        i++;
    if (i == FDC_UNITS)
        return err_set(e, -ENOSPC, "floppy-bus.0 is full (%d drives)",
                       FDC_UNITS);
    *unit = i;
    return 0;
}

static int floppy_create(struct dev *d, struct err *e)
{
    struct floppy *x = d->s;
    struct fdc *f = d->parent->s;
    struct drive *drive;
    unsigned unit = 0;
    uint8_t type;
    int rc = fdc_type_parse(x->type, &type);

    if (rc < 0)
        return err_set(e, rc, "drive-type=%s: 144, 288, 120, none or auto",
                       x->type);
    rc = choose_unit(f, &x->slot, &unit, e);
    if (rc == 0) rc = slot_find_drive(d, &x->slot, true, false, &drive, e);
    if (rc == 0) rc = fdc_attach(f->d, unit, drive, e);
    if (rc < 0) return rc;
    drive_set_device(drive, d->id);
    if (type != FDC_TYPE_AUTO) f->unit[unit].type = type;
    x->slot.unit = unit;
    snprintf(x->slot.boot_path, sizeof(x->slot.boot_path),
             "/pci@i0cf8/isa@1/fdc@03f0/floppy@%u", unit);
    return 0;
}

static const struct prop floppy_props[] = {
    PROP("bootindex", P_U32, floppy, slot.bootindex, 0, UINT32_MAX,
         "0xffffffff", NULL, "place in the order of what is booted"),
    PROP("bus", P_STR, floppy, slot.bus, 0, 0, NULL, NULL, "floppy-bus.0"),
    PROP("drive", P_DRIVE, floppy, slot.drive, 0, 0, NULL, NULL,
         "Node name or ID of a block device to use as a backend"),
    PROP("drive-type", P_STR, floppy, type, 0, 0, "auto", NULL,
         "144, 288, 120, none or auto: by the medium"),
    PROP("unit", P_U32, floppy, slot.unit, 0, UINT32_MAX, "0xffffffff", NULL,
         "0 or 1; else the first free"),
    PROP_END,
};

const struct dev_class floppy_class = {
    .name = "floppy",
    .title = "virtual floppy drive",
    .bus = BUS_FLOPPY,
    .size = sizeof(struct floppy),
    .props = floppy_props,
    .create = floppy_create,
};
