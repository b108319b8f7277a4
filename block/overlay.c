/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filter "overlay" (snapshot=on): the image below is only read; what is
 * written goes to a temporary file that has no name and is gone when it is
 * closed.  The temporary is sparse and uses the image's offsets; a bit per
 * cluster tells where the data is.
 */
#include "block/block_int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLUSTER_BYTES = 65536 };
#define OVERLAY_MAX_MAP_BYTES ((uint64_t)64 << 20) /* 32 TiB of disk */

struct overlay {
    int fd;
    uint8_t *map; /* bit set: cluster is in the temporary */
    uint8_t *bounce;
    pthread_rwlock_t lock; /* map, bounce */
};

static int open_temporary(struct err *e)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    int fd;

    if (dir == NULL || dir[0] == '\0') dir = "/var/tmp";
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    if (snprintf(path, sizeof(path), "%s/orrery-XXXXXX", dir) <
        (int)sizeof(path)) {
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            unlink(path);
            return fd;
        }
    }
    return err_set(e, -errno,
                   "%s: no temporary file for snapshot=on: %s; set TMPDIR", dir,
                   strerror(errno));
}

static int overlay_open(struct node *n, const struct node_options *o,
                        struct err *e)
{
    uint64_t clusters, map_bytes;
    struct overlay *v;

    (void)o;
    n->size_bytes = n->child->size_bytes;
    n->is_readonly = false;
    clusters = n->size_bytes / CLUSTER_BYTES + 1;
    map_bytes = clusters / 8 + 1;
    if (map_bytes > OVERLAY_MAX_MAP_BYTES)
        return err_set(e, -EFBIG, "%s: too large for snapshot=on", n->name);
    v = calloc(1, sizeof(*v));
    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    v->map = calloc(1, map_bytes);
    v->bounce = malloc(CLUSTER_BYTES);
    if (v->map == NULL || v->bounce == NULL) {
        err_set(e, -ENOMEM, "out of memory");
        goto free_memory;
    }
    v->fd = open_temporary(e);
    if (v->fd < 0) goto free_memory;
    pthread_rwlock_init(&v->lock, NULL);
    n->s = v;
    /* What it stands on is a backing file like any other. */
    n->backing_file = realpath(n->name, NULL);
    n->backing_format = strdup(n->child->drv->name);
    n->backing = n->child;
    n->child = NULL;
    return 0;
free_memory:
    free(v->bounce);
    free(v->map);
    free(v);
    return e != NULL && e->code != 0 ? e->code : -ENOMEM;
}

static bool is_mapped(const struct overlay *v, uint64_t cluster)
{
    return v->map[cluster / 8] >> (cluster % 8) & 1;
}

/* Octets of the disk in this cluster (the last one may be short). */
static size_t cluster_bytes(const struct node *n, uint64_t cluster)
{
    uint64_t left = n->size_bytes - cluster * CLUSTER_BYTES;

    return left < CLUSTER_BYTES ? (size_t)left : CLUSTER_BYTES;
}

static int tmp_transfer(int fd, uint64_t offset, const struct iovec *iov,
                        int iovcnt, size_t bytes, bool is_write)
{
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;

    while (done < bytes) {
        int parts = iov_slice(iov, iovcnt, done, bytes - done, part);
        off_t at = (off_t)(offset + done);
        ssize_t rc = is_write ? pwritev(fd, part, parts, at)
                              : preadv(fd, part, parts, at);

        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0) return -errno;
        if (rc == 0) return -EIO;
        done += (size_t)rc;
    }
    return 0;
}

/* Length of the run from offset on that lies in one place. */
static size_t run_bytes(const struct overlay *v, uint64_t offset, size_t bytes,
                        bool *in_tmp)
{
    uint64_t cluster = offset / CLUSTER_BYTES;
    size_t run = CLUSTER_BYTES - (size_t)(offset % CLUSTER_BYTES);

    *in_tmp = is_mapped(v, cluster);
    while (run < bytes && is_mapped(v, cluster + 1) == *in_tmp) {
        cluster++;
        run += CLUSTER_BYTES;
    }
    return run < bytes ? run : bytes;
}

static int overlay_readv(struct node *n, uint64_t offset,
                         const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct overlay *v = n->s;
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;
    int rc = 0;

    pthread_rwlock_rdlock(&v->lock);
    while (rc == 0 && done < bytes) {
        bool in_tmp;
        size_t run = run_bytes(v, offset + done, bytes - done, &in_tmp);
        int parts = iov_slice(iov, iovcnt, done, run, part);

        rc = in_tmp
                 ? tmp_transfer(v->fd, offset + done, part, parts, run, false)
                 : node_read(n->backing, offset + done, part, parts);
        done += run;
    }
    pthread_rwlock_unlock(&v->lock);
    return rc;
}

/* Copy a cluster up, unless the write covers all of it. */
static int copy_up(struct node *n, uint64_t cluster)
{
    struct overlay *v = n->s;
    struct iovec iov = { v->bounce, cluster_bytes(n, cluster) };
    uint64_t at = cluster * CLUSTER_BYTES;
    int rc = node_read(n->backing, at, &iov, 1);

    if (rc < 0) return rc;
    return tmp_transfer(v->fd, at, &iov, 1, iov.iov_len, true);
}

static int write_cluster(struct node *n, uint64_t offset,
                         const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct overlay *v = n->s;
    uint64_t cluster = offset / CLUSTER_BYTES;
    int rc = 0;

    if (!is_mapped(v, cluster) && bytes < cluster_bytes(n, cluster))
        rc = copy_up(n, cluster);
    if (rc == 0) rc = tmp_transfer(v->fd, offset, iov, iovcnt, bytes, true);
    if (rc == 0) v->map[cluster / 8] |= (uint8_t)(1u << (cluster % 8));
    return rc;
}

static int overlay_writev(struct node *n, uint64_t offset,
                          const struct iovec *iov, int iovcnt, size_t bytes,
                          unsigned flags)
{
    struct overlay *v = n->s;
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;
    int rc = 0;

    (void)flags;
    pthread_rwlock_wrlock(&v->lock);
    while (rc == 0 && done < bytes) {
        uint64_t at = offset + done;
        size_t run = CLUSTER_BYTES - (size_t)(at % CLUSTER_BYTES);

        if (run > bytes - done) run = bytes - done;
        rc = write_cluster(n, at, part, iov_slice(iov, iovcnt, done, run, part),
                           run);
        done += run;
    }
    pthread_rwlock_unlock(&v->lock);
    return rc;
}

static int overlay_flush(struct node *n)
{
    (void)n; /* nothing here outlives the process */
    return 0;
}

static int overlay_status(struct node *n, uint64_t offset, uint64_t bytes,
                          struct node_extent *out)
{
    struct overlay *v = n->s;
    bool in_tmp;

    if (bytes > SIZE_MAX) bytes = SIZE_MAX;
    pthread_rwlock_rdlock(&v->lock);
    out->bytes = run_bytes(v, offset, (size_t)bytes, &in_tmp);
    pthread_rwlock_unlock(&v->lock);
    out->flags = in_tmp ? EXTENT_DATA | EXTENT_ALLOCATED : 0;
    out->file_offset = 0;
    return 0;
}

/* After a commit: everything is below now. */
static int overlay_make_empty(struct node *n, struct err *e)
{
    struct overlay *v = n->s;
    int rc = 0;

    pthread_rwlock_wrlock(&v->lock);
    memset(v->map, 0, n->size_bytes / CLUSTER_BYTES / 8 + 1);
    if (ftruncate(v->fd, 0) < 0)
        rc = err_set(e, -errno, "%s: %s", n->name, strerror(errno));
    pthread_rwlock_unlock(&v->lock);
    return rc;
}

static void overlay_close(struct node *n)
{
    struct overlay *v = n->s;

    close(v->fd);
    pthread_rwlock_destroy(&v->lock);
    free(v->bounce);
    free(v->map);
    free(v);
}

const struct block_driver block_overlay = {
    .name = "overlay",
    .title = "snapshot=on: writes to a temporary file",
    .open = overlay_open,
    .readv = overlay_readv,
    .writev = overlay_writev,
    .flush = overlay_flush,
    .status = overlay_status,
    .make_empty = overlay_make_empty,
    .is_filter = true,
    .close = overlay_close,
};
