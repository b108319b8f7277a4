/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trays and media of removable drives, one step at a time; sizes of disks. */
#include <errno.h>

#include "block/block_int.h"
#include "block/drive_priv.h"
#include "block/nbd_export.h"
#include "block/nodes.h"

/* What messages call it: the device, if there is one. */
static const char *name_of(const struct drive *d)
{
    return d->device != NULL ? d->device : d->id;
}

bool drive_has_tray(const struct drive *d)
{
    return d->ops.set_tray != NULL;
}

bool drive_is_tray_open(const struct drive *d)
{
    return d->ops.is_tray_open != NULL && d->ops.is_tray_open(d->ops.arg);
}

static int check_removable(const struct drive *d, struct err *e)
{
    if (d->is_removable) return 0;
    return err_set(e, -EINVAL, "Device '%s' is not removable", name_of(d));
}

int drive_open_tray_locked(struct drive *d, bool is_forced, bool *has_moved,
                           struct err *e)
{
    const struct drive_ops *ops = &d->ops;
    int rc = check_removable(d, e);

    *has_moved = false;
    if (rc < 0 || !drive_has_tray(d) || drive_is_tray_open(d)) return rc;
    if (ops->is_locked != NULL && ops->is_locked(ops->arg)) {
        if (ops->eject_request != NULL) ops->eject_request(ops->arg);
        if (!is_forced) return -EAGAIN;
    }
    if (d->blk != NULL) blk_drain(d->blk);
    ops->set_tray(ops->arg, true);
    *has_moved = true;
    return 0;
}

int drive_close_tray_locked(struct drive *d, bool *has_moved, struct err *e)
{
    int rc = check_removable(d, e);

    *has_moved = false;
    if (rc < 0 || !drive_has_tray(d) || !drive_is_tray_open(d)) return rc;
    d->ops.set_tray(d->ops.arg, false);
    *has_moved = true;
    return 0;
}

static int check_tray(const struct drive *d, struct err *e)
{
    int rc = check_removable(d, e);

    if (rc < 0 || !drive_has_tray(d) || drive_is_tray_open(d)) return rc;
    return err_set(e, -EINVAL, "Tray of device '%s' is not open", name_of(d));
}

/* The medium changes, the tray stays as it is. */
static void exchange(struct drive *d, struct blk *b)
{
    const struct drive_ops *ops = &d->ops;
    bool was_open = drive_is_tray_open(d);

    d->blk = b;
    if (b != NULL && d->table->stop != NULL)
        blk_set_stop(b, d->table->stop, d->table->stop_arg);
    if (b != NULL) blk_set_throttle(b, d->group);
    if (ops->medium_changed != NULL) ops->medium_changed(ops->arg);
    if (drive_has_tray(d) && drive_is_tray_open(d) != was_open)
        ops->set_tray(ops->arg, was_open);
}

int drive_take_medium_locked(struct drive *d, struct err *e)
{
    struct blk *old = d->blk;
    int rc = check_tray(d, e);

    if (rc < 0 || old == NULL) return rc;
    if (d->job != NULL)
        return err_set(e, -EBUSY, "Device '%s' is in use by a block job",
                       name_of(d));
    if (d->table->nbd != NULL) nbd_server_forget(d->table->nbd, old);
    blk_drain(old);
    exchange(d, NULL);
    blk_close(old);
    nodes_sweep(d->table);
    return 0;
}

int drive_put_medium_locked(struct drive *d, struct blk *b, struct err *e)
{
    int rc = check_tray(d, e);

    if (rc < 0) return rc;
    if (d->blk != NULL)
        return err_set(e, -EBUSY, "There already is a medium in device '%s'",
                       name_of(d));
    exchange(d, b);
    return 0;
}

/* ----------------------------------------------------------------- sizes */

int drive_resize_locked(struct drive *d, uint64_t size_bytes, struct err *e)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    struct node *root;
    int rc;

    if (d->blk == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", d->id);
    if (d->job != NULL)
        return err_set(e, -EBUSY, "Device '%s' is in use by a block job",
                       d->id);
    if (d->table->nbd != NULL && nbd_server_has(d->table->nbd, d->blk))
        return err_set(e, -EBUSY, "Device '%s' is exported over the network",
                       d->id);
    if (size_bytes > INT64_MAX - mask)
        return err_set(e, -EFBIG, "size too large");
    root = blk_root(d->blk);
    blk_quiesce(d->blk);
    rc = node_truncate(root, (size_bytes + mask) & ~mask, "off", true, e);
    blk_resume(d->blk);
    if (rc == 0 && d->ops.resized != NULL) d->ops.resized(d->ops.arg);
    return rc;
}
