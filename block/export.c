/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot's disk in an image of its own.
 *
 * The image is opened once more, read-only and without locks, and shows the
 * snapshot: what belongs to one does not change while it exists, whatever the
 * guest does to the disk.  The copy stands alone (no backing file) and is
 * compressed.
 */
#include "block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/blk_priv.h"
#include "block/drive_priv.h"
#include "block/image.h"
#include "config.h"

enum { CLUSTER_BYTES = 65536 };

struct disk_export {
    struct node *n;
    char id[128]; /* of the snapshot */
    uint64_t vm_state_bytes;
};

int disk_export_open(struct drive *d, const char *snapshot,
                     struct disk_export **out, struct err *e)
{
    struct disk_export *x = calloc(1, sizeof(*x));
    struct image_snapshot s;
    int rc;

    if (x == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = blk_open_again(d->blk, &x->n, e);
    if (rc == 0 && x->n->drv->snapshot_show == NULL)
        rc = err_set(e, -ENOTSUP, "its format (%s) has no snapshots",
                     x->n->drv->name);
    if (rc == 0) rc = image_snapshot_find(x->n, snapshot, &s, e);
    if (rc == -ENOENT)
        err_set(e, rc, "there is no snapshot '%s' in it", snapshot);
    if (rc == 0) {
        memcpy(x->id, s.id, sizeof(x->id));
        x->vm_state_bytes = s.vm_state_bytes;
        rc = x->n->drv->snapshot_show(x->n, x->id, e);
    }
    if (rc < 0) {
        err_prefix(e, "%s", d->id);
        disk_export_close(x);
        return rc;
    }
    *out = x;
    return 0;
}

void disk_export_close(struct disk_export *x)
{
    if (x == NULL) return;
    node_unref(x->n);
    free(x);
}

uint64_t disk_export_bytes(const struct disk_export *x)
{
    return x->n->size_bytes;
}

uint64_t disk_export_state_bytes(const struct disk_export *x)
{
    return x->vm_state_bytes;
}

int disk_export_read_state(struct disk_export *x, uint64_t pos, void *buf,
                           size_t bytes)
{
    struct iovec iov = { buf, bytes };

    return x->n->drv->vmstate_read(x->n, x->id, pos, &iov, 1, bytes);
}

static int make_target(const struct disk_export *x, const char *file,
                       struct node **out, struct err *e)
{
#ifdef HAVE_ZSTD
    static const char *const pairs[] = { "compression_type", "zstd", NULL };
#else
    static const char *const pairs[] = { NULL };
#endif
    const struct image_create c = { .file = file,
                                    .size_bytes = x->n->size_bytes,
                                    .has_size = true,
                                    .pairs = pairs };
    const struct node_options o = { .is_readonly = false };
    int rc = image_create("qcow2", &c, e);

    return rc < 0 ? rc
                  : node_open_image(file, "qcow2", false, false, &o, out, e);
}

static int copy_cluster(const struct disk_export *x, struct node *to,
                        uint64_t at, uint8_t *buf)
{
    uint64_t left = x->n->size_bytes - at;
    size_t bytes = left < CLUSTER_BYTES ? (size_t)left : CLUSTER_BYTES;
    struct iovec iov = { buf, bytes };
    int rc = node_pread(x->n, at, buf, bytes);

    if (rc < 0 || buf_is_zero(buf, bytes)) return rc;
    return node_write(to, at, &iov, 1, NODE_REQ_COMPRESSED);
}

static int copy_all(const struct disk_export *x, struct node *to,
                    const atomic_bool *is_cancelled, _Atomic uint64_t *done)
{
    uint8_t *buf = malloc(CLUSTER_BYTES);
    uint64_t at = 0, begin = atomic_load(done);
    int rc = buf == NULL ? -ENOMEM : 0;

    while (rc == 0 && at < x->n->size_bytes) {
        struct node_extent ext = { .flags = EXTENT_DATA };
        uint64_t left = x->n->size_bytes - at;

        if (atomic_load(is_cancelled)) rc = -ECANCELED;
        if (rc == 0) rc = node_status(x->n, at, left, &ext);
        /* Holes go by as a whole. */
        if (rc == 0 && (ext.flags & EXTENT_ZERO) &&
            (ext.bytes >= CLUSTER_BYTES || ext.bytes == left)) {
            at +=
                ext.bytes == left ? left : ext.bytes & ~(CLUSTER_BYTES - 1ull);
        } else if (rc == 0) {
            rc = copy_cluster(x, to, at, buf);
            at += left < CLUSTER_BYTES ? left : CLUSTER_BYTES;
        }
        atomic_store(done, begin + at);
    }
    free(buf);
    return rc;
}

int disk_export_run(struct disk_export *x, const char *file,
                    const atomic_bool *is_cancelled, _Atomic uint64_t *done,
                    struct err *e)
{
    struct node *to = NULL;
    int rc = make_target(x, file, &to, e);

    if (rc < 0) return rc;
    rc = copy_all(x, to, is_cancelled, done);
    if (rc == 0) rc = node_flush(to);
    node_unref(to);
    if (rc == 0) return 0;
    unlink(file);
    return err_set(e, rc, "%s: %s", file, strerror(-rc));
}
