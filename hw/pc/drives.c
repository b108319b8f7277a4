/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE and floppy drives from the configuration, as the devices -device makes;
 * vm service "drives" holds the drives.  The order in which they are booted. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "core/vm/vm.h"
#include "hw/pc/pc.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"
#include "hw/storage/slot.h"

static int set_number(struct dev *d, const char *name, const char *format,
                      int value, struct err *e)
{
    char text[32];

    snprintf(text, sizeof(text), format, value);
    return dev_set(d, name, text, e);
}

/* index: bus * 2 + unit for IDE; negative: the next free place. */
static int add_drive(struct pc *pc, const struct drive_config *dc,
                     struct err *e)
{
    bool is_ide = dc->iface == DRIVE_IDE;
    const struct dev_class *cls = !is_ide        ? &floppy_class
                                  : dc->is_cdrom ? &ide_cd_class
                                                 : &ide_hd_class;
    struct dev *d;
    int rc = dev_new(pc->d->vm, is_ide ? pc->ide : pc->fdc, cls, NULL, &d, e);

    if (rc < 0) return rc;
    rc = dev_set(d, "drive", dc->id, e);
    if (rc == 0 && dc->index >= 0 && is_ide)
        rc = set_number(d, "bus", "ide.%d", dc->index / 2, e);
    if (rc == 0 && dc->index >= 0)
        rc = set_number(d, "unit", "%d", is_ide ? dc->index % 2 : dc->index, e);
    if (rc < 0) {
        dev_remove(d);
        return rc;
    }
    return dev_create(d, e);
}

int pc_attach_drives(struct pc *pc, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);
    int rc = 0;

    for (unsigned i = 0; i < cfg->drive_count && rc == 0; i++) {
        const struct drive_config *dc = &cfg->drive[i];

        if (dc->iface == DRIVE_NONE) continue;
        if (dc->id == NULL)
            rc = err_set(e, -ENOENT, "there is no drive without a name");
        else if (dc->iface == DRIVE_VIRTIO)
            rc = err_set(e, -ENOTSUP, "machine pc has no virtio drives yet");
        else
            rc = add_drive(pc, dc, e);
        if (rc < 0)
            err_prefix(e, "drive %s", dc->id != NULL ? dc->id : "(no name)");
    }
    return rc;
}

/* ------------------------------------------------------------- boot order */

/* The one to boot next: the lowest index that is not below `from`. */
struct boot_walk {
    uint64_t from;
    const struct slot_drive *best, *same;
};

static int look(struct dev *d, void *arg)
{
    struct boot_walk *w = arg;
    const struct slot_drive *s = slot_of(d);

    if (s == NULL || s->bootindex == SLOT_NO_BOOT || s->bootindex < w->from)
        return 0;
    if (w->best != NULL && s->bootindex == w->best->bootindex) w->same = s;
    if (w->best == NULL || s->bootindex < w->best->bootindex) {
        w->best = s;
        w->same = NULL;
    }
    return 0;
}

int pc_boot_paths(struct pc *pc, char *text, size_t cap, struct err *e)
{
    uint64_t from = 0;
    size_t n = 0;

    text[0] = '\0';
    for (;;) {
        struct boot_walk w = { .from = from };

        dev_for_each(pc->d, look, &w);
        if (w.same != NULL)
            return err_set(e, -EINVAL, "bootindex=%u: two devices have it",
                           w.best->bootindex);
        if (w.best == NULL) return 0;
        n += (size_t)snprintf(text + n, cap - n, "%s%s", n > 0 ? "\n" : "",
                              w.best->boot_path);
        if (n >= cap) return err_set(e, -E2BIG, "too many bootindex=");
        from = (uint64_t)w.best->bootindex + 1;
    }
}
