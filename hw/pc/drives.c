/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE and floppy drives from the configuration; vm service "drives" holds
 * them. */
#include <errno.h>

#include "block/block.h"
#include "core/vm/vm.h"
#include "hw/pc/pc.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"

static int attach_ide(struct pc *pc, const struct drive_config *dc,
                      struct drive *drive, struct err *e)
{
    int unit = dc->index;

    if (unit >= 0) {
        return ide_attach(pc->ide, (unsigned)unit, drive, dc->is_cdrom, e);
    }
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        int rc = ide_attach(pc->ide, i, drive, dc->is_cdrom, e);

        if (rc != -EBUSY) return rc;
    }
    return -EBUSY;
}

static int attach_floppy(struct pc *pc, const struct drive_config *dc,
                         struct drive *drive, struct err *e)
{
    if (dc->index >= 0) {
        return fdc_attach(pc->fdc, (unsigned)dc->index, drive, e);
    }
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        int rc = fdc_attach(pc->fdc, i, drive, e);

        if (rc != -EBUSY) return rc;
    }
    return -EBUSY;
}

static int attach(struct pc *pc, const struct drive_config *dc, struct err *e)
{
    struct drive_table *table = vm_service(pc->d->vm, "drives");
    struct drive *drive = NULL;
    int rc = 0;

    if (dc->iface == DRIVE_NONE) return 0;
    if (table != NULL && dc->id != NULL) drive = drive_find(table, dc->id);
    if (drive == NULL) {
        return err_set(e, -ENOENT, "there is no drive %s",
                       dc->id != NULL ? dc->id : "without a name");
    }
    switch (dc->iface) {
    case DRIVE_IDE: rc = attach_ide(pc, dc, drive, e); break;
    case DRIVE_FLOPPY: rc = attach_floppy(pc, dc, drive, e); break;
    default: rc = err_set(e, -ENOTSUP, "machine pc has no virtio drives yet");
    }
    if (rc < 0) err_prefix(e, "drive %s", drive_id(drive));
    return rc;
}

int pc_attach_drives(struct pc *pc, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);

    for (unsigned i = 0; i < cfg->drive_count; i++) {
        int rc = attach(pc, &cfg->drive[i], e);

        if (rc < 0) return rc;
    }
    return 0;
}
