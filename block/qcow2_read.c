/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: reading.  The lock is held to look at the tables only. */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_io.h"

enum { PLAIN_SLOTS = 16 };

/* Compressed clusters that were unpacked lately, by their L2 entry.  An entry
 * is forgotten when it is written: new data may lie at the same place. */
struct plain {
    pthread_mutex_t lock;
    unsigned next;
    struct plain_slot {
        uint64_t entry; /* 0: none */
        uint8_t *data;
    } slot[PLAIN_SLOTS];
};

int qcow2_plain_open(struct qcow2 *s)
{
    struct plain *p = calloc(1, sizeof(*p));

    if (p == NULL) return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    s->decompressed = p;
    return 0;
}

void qcow2_plain_close(struct qcow2 *s)
{
    struct plain *p = s->decompressed;

    if (p == NULL) return;
    for (unsigned i = 0; i < PLAIN_SLOTS; i++)
        free(p->slot[i].data);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void qcow2_plain_forget(struct qcow2 *s, uint64_t entry)
{
    struct plain *p = s->decompressed;

    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLAIN_SLOTS; i++) {
        if (p->slot[i].entry == entry) p->slot[i].entry = 0;
    }
    pthread_mutex_unlock(&p->lock);
}

static bool plain_read(struct plain *p, uint64_t entry, uint64_t at,
                       const struct iovec *iov, int iovcnt, size_t bytes)
{
    bool is_there = false;

    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLAIN_SLOTS && !is_there; i++) {
        if (p->slot[i].entry != entry) continue;
        iov_from_buf(iov, iovcnt, 0, p->slot[i].data + at, bytes);
        is_there = true;
    }
    pthread_mutex_unlock(&p->lock);
    return is_there;
}

/* Takes data over. */
static void plain_put(struct plain *p, uint64_t entry, uint8_t *data)
{
    struct plain_slot *slot;

    pthread_mutex_lock(&p->lock);
    slot = &p->slot[p->next++ % PLAIN_SLOTS];
    free(slot->data);
    *slot = (struct plain_slot){ entry, data };
    pthread_mutex_unlock(&p->lock);
}

/* ------------------------------------------------------------ compressed */

static int read_packed(struct qcow2 *s, uint64_t entry, uint8_t *plain)
{
    uint64_t offset, bytes, end = s->file->size_bytes;
    uint8_t *packed;
    int rc;

    qcow2_compressed_range(s->cluster_bits, entry, &offset, &bytes);
    if (offset >= end) return -EIO;
    if (bytes > end - offset) { /* the last sector need not be whole */
        if (bytes - (end - offset) >= BLOCK_SECTOR_BYTES) return -EIO;
        bytes = end - offset;
    }
    packed = malloc(bytes);
    if (packed == NULL) return -ENOMEM;
    rc = node_pread(s->file, offset, packed, bytes);
    if (rc == 0)
        rc = qcow2_decompress(s->h.compression_type, plain, s->cluster_bytes,
                              packed, bytes);
    free(packed);
    return rc;
}

static int read_compressed(struct qcow2 *s, const struct qcow2_extent *x,
                           uint64_t in_cluster, const struct iovec *iov,
                           int iovcnt)
{
    uint8_t *plain;
    int rc;

    if (plain_read(s->decompressed, x->entry, in_cluster, iov, iovcnt,
                   x->bytes))
        return 0;
    plain = malloc(s->cluster_bytes);
    if (plain == NULL) return -ENOMEM;
    rc = read_packed(s, x->entry, plain);
    if (rc < 0) {
        free(plain);
        return rc;
    }
    iov_from_buf(iov, iovcnt, 0, plain + in_cluster, x->bytes);
    plain_put(s->decompressed, x->entry, plain);
    return 0;
}

/* ------------------------------------------------------------------ data */

int qcow2_slice(struct qcow2_slice *p, const struct iovec *iov, int iovcnt,
                uint64_t skip, uint64_t bytes)
{
    p->v = p->few;
    if (iovcnt > (int)(sizeof(p->few) / sizeof(p->few[0]))) {
        p->v = malloc((size_t)iovcnt * sizeof(*p->v));
        if (p->v == NULL) return -ENOMEM;
    }
    p->count = iov_slice(iov, iovcnt, skip, bytes, p->v);
    return 0;
}

void qcow2_slice_free(struct qcow2_slice *p)
{
    if (p->v != p->few) free(p->v);
}

/* The first octets from a node, zeros behind them. */
static int read_then_zeros(struct node *n, uint64_t offset,
                           const struct iovec *iov, int iovcnt, size_t bytes,
                           size_t here)
{
    struct qcow2_slice part;
    int rc = qcow2_slice(&part, iov, iovcnt, here, bytes - here);

    if (rc < 0) return rc;
    iov_zero(part.v, part.count);
    qcow2_slice_free(&part);
    if (here == 0) return 0;
    rc = qcow2_slice(&part, iov, iovcnt, 0, here);
    if (rc < 0) return rc;
    rc = node_read(n, offset, part.v, part.count);
    qcow2_slice_free(&part);
    return rc;
}

/* The file may end inside the cluster that lies last in it: zeros follow.
 * Clusters that begin behind the end are missing. */
static int read_file(struct qcow2 *s, uint64_t host, const struct iovec *iov,
                     int iovcnt, size_t bytes)
{
    struct node *file = qcow2_data(s);
    uint64_t end;

    if (file == NULL) return -EIO;
    end = file->size_bytes;
    if (bytes <= end && host <= end - bytes)
        return node_read(file, host, iov, iovcnt);
    if (host + bytes > qcow2_round_up(s, end)) return -EIO;
    return read_then_zeros(file, host, iov, iovcnt, bytes,
                           host < end ? (size_t)(end - host) : 0);
}

static int read_crypted(struct qcow2 *s, uint64_t host, const struct iovec *iov,
                        int iovcnt, size_t bytes)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    uint64_t from = host & ~mask;
    size_t all = (size_t)(((host + bytes + mask) & ~mask) - from);
    struct iovec whole = { malloc(all), all };
    int rc = -ENOMEM;

    if (whole.iov_base != NULL) rc = read_file(s, from, &whole, 1, all);
    if (rc == 0) rc = s->crypt(s->crypt_arg, from, whole.iov_base, all, false);
    if (rc == 0)
        iov_from_buf(iov, iovcnt, 0, (uint8_t *)whole.iov_base + (host - from),
                     bytes);
    free(whole.iov_base);
    return rc;
}

/* What this image does not have: the backing file's, which may be shorter. */
static int read_backing(struct qcow2 *s, uint64_t offset,
                        const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct node *b = s->n->backing;
    uint64_t end = b != NULL ? (uint64_t)b->size_bytes : 0;
    size_t here = 0;

    if (offset < end)
        here = bytes < end - offset ? bytes : (size_t)(end - offset);
    if (here == bytes) return node_read(b, offset, iov, iovcnt);
    return read_then_zeros(b, offset, iov, iovcnt, bytes, here);
}

static int read_extent(struct qcow2 *s, uint64_t offset,
                       const struct qcow2_extent *x, const struct iovec *iov,
                       int iovcnt)
{
    switch (x->kind) {
    case QCOW2_KIND_NONE:
    case QCOW2_KIND_NONE_ALLOC:
        return read_backing(s, offset, iov, iovcnt, x->bytes);
    case QCOW2_KIND_COMPRESSED:
        return read_compressed(s, x, offset & (s->cluster_bytes - 1), iov,
                               iovcnt);
    case QCOW2_KIND_DATA:
        if (s->crypt != NULL)
            return read_crypted(s, x->host, iov, iovcnt, x->bytes);
        return read_file(s, x->host, iov, iovcnt, x->bytes);
    default: iov_zero(iov, iovcnt); return 0;
    }
}

int qcow2_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                int iovcnt, size_t bytes)
{
    struct qcow2 *s = n->s;
    size_t done = 0;

    while (done < bytes) {
        struct qcow2_slice part;
        struct qcow2_extent x;
        unsigned pin = 0;
        int rc;

        pthread_mutex_lock(&s->lock);
        rc = qcow2_map_locked(s, offset + done, bytes - done, false, &x);
        if (rc == 0) pin = qcow2_pin_locked(s);
        pthread_mutex_unlock(&s->lock);
        if (rc < 0) return rc;
        rc = qcow2_slice(&part, iov, iovcnt, done, x.bytes);
        if (rc == 0) {
            rc = read_extent(s, offset + done, &x, part.v, part.count);
            qcow2_slice_free(&part);
        }
        qcow2_unpin(s, pin);
        if (rc < 0) return rc;
        done += x.bytes;
    }
    return 0;
}
