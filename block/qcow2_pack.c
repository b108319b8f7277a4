/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: compressed writes.  The caller's thread does the work; only finding a
 * place needs the lock.  Compressed clusters follow each other at any octet, so
 * several share a cluster of the file, whose refcount says how many.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_io.h"

/* The place begun before goes on over the next cluster, if that is free. */
static int extend_locked(struct qcow2 *s, uint64_t bytes, uint64_t *at)
{
    uint64_t next = s->compressed_next, mask = s->cluster_bytes - 1;
    uint64_t room = (s->cluster_bytes - (next & mask)) & mask;
    uint64_t more = bytes > room ? qcow2_clusters(s, bytes - room) : 0;
    int64_t got = 0;
    int rc;

    if (next == 0 || room == 0) return -EAGAIN;
    if (more > 0) {
        got = qcow2_alloc_at_locked(s, next + room, more);
        if (got < 0) return (int)got;
    }
    rc = (uint64_t)got < more ? -EAGAIN : 0;
    if (rc == 0)
        rc = qcow2_refcount_add_locked(s, next >> s->cluster_bits, 1, 1);
    if (rc < 0) {
        if (got > 0)
            qcow2_unalloc_locked(s, next + room,
                                 (uint64_t)got << s->cluster_bits);
        return rc == -ERANGE ? -EAGAIN : rc;
    }
    *at = next;
    return 0;
}

/* Octets of the file, refcounts taken. */
static int place_locked(struct qcow2 *s, uint64_t bytes, uint64_t *at)
{
    int rc = extend_locked(s, bytes, at);

    if (rc == -EAGAIN)
        rc = qcow2_alloc_locked(s, qcow2_clusters(s, bytes), at, NULL);
    if (rc == 0) s->compressed_next = *at + bytes;
    return rc;
}

static uint64_t make_entry(const struct qcow2 *s, uint64_t at, uint64_t bytes)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    uint64_t sectors =
        ((at + bytes - 1) / BLOCK_SECTOR_BYTES) - at / BLOCK_SECTOR_BYTES;

    return QCOW2_COMPRESSED | sectors << x | at;
}

static int store_locked(struct qcow2 *s, uint64_t offset, const uint8_t *data,
                        uint64_t bytes)
{
    struct qcow2_table *t;
    uint64_t where, entry;
    uint32_t at;
    int rc = qcow2_l2_get_locked(s, offset, true, &t, &at);

    if (rc < 0) return rc;
    qcow2_cache_put_locked(t);
    rc = place_locked(s, bytes, &where);
    if (rc < 0) return rc;
    entry = make_entry(s, where, bytes);
    if (where >> (62 - (s->cluster_bits - 8)) != 0) {
        rc = -EFBIG;
        goto unalloc;
    }
    pthread_mutex_unlock(&s->lock);
    rc = node_pwrite(s->file, where, data, bytes);
    pthread_mutex_lock(&s->lock);
    if (rc == 0) rc = qcow2_l2_get_locked(s, offset, true, &t, &at);
    if (rc < 0) goto unalloc;
    qcow2_plain_forget(s, entry);
    qcow2_set_entry_locked(s, t, at, entry, 0);
    qcow2_cache_put_locked(t);
    return 0;
unalloc:
    s->compressed_next = 0;
    qcow2_unalloc_locked(s, where, bytes);
    return rc;
}

static int write_packed(struct qcow2 *s, uint64_t offset, const uint8_t *data,
                        uint64_t bytes)
{
    struct qcow2_claim claim;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_locked(s);
    if (rc == 0) {
        qcow2_claim_locked(s, offset, 1, &claim);
        rc = store_locked(s, offset, data, bytes);
        qcow2_unclaim_locked(s, &claim);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* buf: two clusters of room, the first one for the plain data. */
static int write_cluster(struct qcow2 *s, uint64_t offset, uint8_t *buf,
                         const struct iovec *iov, int iovcnt, size_t skip,
                         size_t bytes)
{
    uint8_t *packed = buf + s->cluster_bytes;
    struct iovec plain = { buf, bytes };
    int64_t n;

    iov_to_buf(iov, iovcnt, skip, buf, bytes);
    memset(buf + bytes, 0, s->cluster_bytes - bytes);
    n = qcow2_compress(s->h.compression_type, packed, s->cluster_bytes - 1, buf,
                       s->cluster_bytes);
    if (n == -ENOSPC) return qcow2_writev(s->n, offset, &plain, 1, bytes, 0);
    if (n < 0) return (int)n;
    return write_packed(s, offset, packed, (uint64_t)n);
}

int qcow2_write_compressed(struct qcow2 *s, uint64_t offset,
                           const struct iovec *iov, int iovcnt, size_t bytes)
{
    uint64_t mask = s->cluster_bytes - 1;
    uint8_t *buf;
    int rc = 0;

    if (s->crypt != NULL) return -ENOTSUP;
    if ((offset & mask) != 0 ||
        ((bytes & mask) != 0 && offset + bytes != s->n->size_bytes))
        return -EINVAL;
    buf = malloc(2 * (size_t)s->cluster_bytes);
    if (buf == NULL) return -ENOMEM;
    for (size_t done = 0; done < bytes && rc == 0; done += s->cluster_bytes) {
        size_t left = bytes - done;

        rc = write_cluster(s, offset + done, buf, iov, iovcnt, done,
                           left < s->cluster_bytes ? left : s->cluster_bytes);
    }
    free(buf);
    return rc;
}
