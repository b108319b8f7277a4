/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/storage/slot.h"

#include <errno.h>

#include "block/block.h"
#include "core/vm/vm.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"

static int make_empty(const struct dev *d, struct drive_table *table,
                      bool is_removable, bool is_cdrom, struct drive **out,
                      struct err *e)
{
    if (!is_removable)
        return err_set(e, -EINVAL, "drive= is missing: a disk needs a drive");
    return drive_add(table, d->id, true, is_cdrom, NULL, out, e);
}

int slot_find_drive(const struct dev *d, const struct slot_drive *slot,
                    bool is_removable, bool is_cdrom, struct drive **out,
                    struct err *e)
{
    struct drive_table *table = vm_service(d->vm, "drives");
    struct drive *x;

    if (table == NULL) return err_set(e, -ENODEV, "there are no drives");
    if (slot->drive == NULL)
        return make_empty(d, table, is_removable, is_cdrom, out, e);
    x = drive_find(table, slot->drive);
    if (x == NULL)
        return err_set(e, -ENOENT,
                       "drive=%s: there is no drive or node of that name that "
                       "is free",
                       slot->drive);
    if (drive_device(x) != NULL)
        return err_set(
            e, -EBUSY,
            "drive=%s: is in use by device '%s' (a drive for -device "
            "has if=none)",
            slot->drive, drive_device(x));
    if (!is_removable && drive_blk(x) == NULL)
        return err_set(e, -ENOMEDIUM,
                       "drive=%s: the device needs a medium, but the drive is "
                       "empty",
                       slot->drive);
    drive_set_kind(x, is_removable, is_cdrom);
    *out = x;
    return 0;
}

const struct slot_drive *slot_of(const struct dev *d)
{
    if (d->cls == &ide_hd_class || d->cls == &ide_cd_class ||
        d->cls == &floppy_class)
        return d->s;
    return NULL;
}
