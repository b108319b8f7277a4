/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-snapshot-sync: a new image on top of the one a drive shows.  The
 * present one is flushed, opened again for reading alone under the new image,
 * and only then closed, so there is no moment without it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/chain.h"
#include "block/image.h"
#include "block/job_priv.h"

static int make_image(const struct node *below, const char *file,
                      const char *format, struct err *e)
{
    const char *pairs[] = { "backing_file", below->name, "backing_fmt",
                            below->drv->name, NULL };
    struct image_create c = { .file = file,
                              .size_bytes = below->size_bytes,
                              .has_size = true,
                              .pairs = pairs };

    return image_create(format, &c, e);
}

static int open_overlay(struct node *below, const char *file,
                        const char *format, struct node **out, struct err *e)
{
    const struct node_options alone = { .is_no_backing = true };
    const struct node_options readers = { .is_readonly = true,
                                          .is_unlocked = true };
    struct node *n;
    int rc = node_open_image(file, format, true, false, &alone, &n, e);

    if (rc < 0) return rc;
    if (n->backing_file == NULL || n->size_bytes < below->size_bytes)
        rc = err_set(e, -EINVAL, "%s does not stand on %s", file, below->name);
    if (rc == 0) rc = node_open_backing(n, &readers, e);
    if (rc < 0) {
        node_unref(n);
        return rc;
    }
    *out = n;
    return 0;
}

static int check(const struct drive *d, struct err *e)
{
    const struct node *root;

    if (d->blk == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", d->id);
    root = blk_root(d->blk);
    if (d->job != NULL)
        return err_set(e, -EBUSY, "Device '%s' is in use by a block job",
                       d->id);
    if (root->drv->is_filter || root->node_name != NULL)
        return err_set(e, -ENOTSUP,
                       "Device '%s' shows a filter or a named node, on which "
                       "no image can be put here",
                       d->id);
    if (root->is_readonly)
        return err_set(e, -EROFS, "Device '%s' is read-only", d->id);
    return 0;
}

int drive_overlay(struct drive *d, const char *file, const char *format,
                  bool is_existing, struct err *e)
{
    struct node *old, *n = NULL;
    struct err ignored = ERR_INIT;
    int rc = check(d, e);

    if (rc < 0) return rc;
    if (format == NULL) format = "qcow2";
    old = blk_root(d->blk);
    blk_quiesce(d->blk);
    rc = node_flush(old);
    if (rc < 0) err_set(e, rc, "%s: %s", old->name, strerror(-rc));
    if (rc == 0 && !is_existing) rc = make_image(old, file, format, e);
    if (rc == 0) rc = open_overlay(old, file, format, &n, e);
    if (rc == 0) {
        blk_set_root(d->blk, n);
        node_unref(old);
        chain_lock(n->backing, &ignored); /* as a reader from now on */
    }
    blk_resume(d->blk);
    return rc;
}
