/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the NBD server reaches a node or, in a VM, the medium of a drive. */
#include <errno.h>

#include "block/nbd_server_int.h"

/* ---------------------------------------------------------------- node */

static int node_io(struct node *n, const struct nbd_io *io)
{
    int rc;

    switch (io->type) {
    case NBD_CMD_READ: return node_pread(n, io->offset, io->data, io->bytes);
    case NBD_CMD_WRITE:
        rc = node_pwrite(n, io->offset, io->data, io->bytes);
        break;
    case NBD_CMD_WRITE_ZEROES:
        rc = node_zero(n, io->offset, io->bytes,
                       io->may_unmap ? NODE_REQ_UNMAP : 0);
        break;
    case NBD_CMD_TRIM: rc = node_discard(n, io->offset, io->bytes); break;
    case NBD_CMD_FLUSH: return node_flush(n);
    default: return -EINVAL;
    }
    return rc == 0 && io->is_fua ? node_flush(n) : rc;
}

/* ----------------------------------------------------------------- blk */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool is_done;
    int rc;
};

static void done(void *arg, int rc)
{
    struct wait *w = arg;

    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    w->is_done = true;
    pthread_cond_signal(&w->change);
    pthread_mutex_unlock(&w->lock);
}

static int64_t start(struct blk *b, const struct nbd_io *io, struct wait *w)
{
    struct iovec iov = { io->data, io->bytes };

    switch (io->type) {
    case NBD_CMD_READ: return blk_read(b, io->offset, &iov, 1, done, w);
    case NBD_CMD_WRITE:
        return blk_write(b, io->offset, &iov, 1, io->is_fua, done, w);
    case NBD_CMD_WRITE_ZEROES:
        return blk_write_zeros(b, io->offset, io->bytes, io->may_unmap, done,
                               w);
    case NBD_CMD_TRIM: return blk_discard(b, io->offset, io->bytes, done, w);
    case NBD_CMD_FLUSH: return blk_flush(b, done, w);
    default: return -EINVAL;
    }
}

static int blk_io(struct nbd_export *x, const struct nbd_io *io)
{
    struct wait w = { .lock = PTHREAD_MUTEX_INITIALIZER,
                      .change = PTHREAD_COND_INITIALIZER };
    int64_t id;

    pthread_mutex_lock(&x->lock);
    id = x->blk != NULL ? start(x->blk, io, &w) : -ESHUTDOWN;
    pthread_mutex_unlock(&x->lock);
    if (id < 0) return (int)id;
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.change, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.rc;
}

/* ---------------------------------------------------------------- both */

int nbd_backend_io(struct nbd_export *x, const struct nbd_io *io)
{
    struct nbd_io flush = { .type = NBD_CMD_FLUSH };
    struct node *n = x->node;
    int rc;

    if (atomic_load(&x->is_removed)) return -ESHUTDOWN;
    if (n != NULL) return node_io(n, io);
    rc = blk_io(x, io);
    if (rc == 0 && io->is_fua && io->type != NBD_CMD_WRITE)
        rc = blk_io(x, &flush);
    return rc;
}

int nbd_backend_status(struct nbd_export *x, uint64_t offset, uint32_t bytes,
                       uint32_t *length, uint32_t *state)
{
    uint64_t left = bytes;
    unsigned flags = 0;

    for (struct node *n = x->node; n != NULL; n = n->backing) {
        struct node_extent e;
        int rc;

        if (offset >= n->size_bytes) break; /* a shorter backing file */
        rc = node_status(n, offset, left, &e);
        if (rc < 0) return rc;
        if (e.bytes == 0) return -EIO;
        if (e.bytes < left) left = e.bytes;
        flags = e.flags;
        if (flags & EXTENT_ALLOCATED) break;
        flags = 0;
    }
    *length = (uint32_t)left;
    /* Nobody decided: zeros.  Data that are known to be zeros take space. */
    *state = flags == 0 || flags & EXTENT_ZERO ? NBD_STATE_ZERO : 0;
    if (*state != 0 && !(flags & EXTENT_DATA)) *state |= NBD_STATE_HOLE;
    return 0;
}
