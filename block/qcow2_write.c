/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: writing.
 *
 * A write goes forward in steps.  Clusters that are ours alone are written in
 * place.  For others a step claims the guest clusters, allocates as many as lie
 * together, writes the data together with what has to be kept around it in one
 * go without the lock, and then puts the entries into the L2 slice.  What was
 * there before is freed then.  When anything fails before that, the image is as
 * it was.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_io.h"

enum {
    MERGE_BYTES = 256 << 10,   /* to copy together with the data */
    MAX_CRYPT_BYTES = 1 << 20, /* a step with encryption */
    MAX_FREED = 4096,          /* ranges; then flush to get at them */
};

/* Data on their way to clusters that have no (own) data yet. */
struct put {
    uint64_t guest, bytes;
    uint64_t host;       /* where guest lies */
    uint64_t head, tail; /* octets around them to be written as well */
    bool is_new;         /* clusters were allocated for it */
    bool is_fresh;       /* which read as zeros */
    bool is_head_zero, is_tail_zero;
    bool keeps_bitmap; /* other subclusters stay as they are */
    struct qcow2_claim claim;
};

/* ------------------------------------------------------------- transfer */

static int write_file(struct qcow2 *s, uint64_t host, const struct iovec *iov,
                      int iovcnt, size_t bytes)
{
    uint8_t *copy;
    int rc;

    if (s->crypt == NULL) return node_write(s->file, host, iov, iovcnt, 0);
    copy = malloc(bytes);
    if (copy == NULL) return -ENOMEM;
    iov_to_buf(iov, iovcnt, 0, copy, bytes);
    rc = s->crypt(s->crypt_arg, host, copy, bytes, true);
    if (rc == 0) rc = node_pwrite(s->file, host, copy, bytes);
    free(copy);
    return rc;
}

/* What the guest sees now in a range; zeros behind the end of the disk. */
static int read_old(struct qcow2 *s, uint64_t guest, uint8_t *buf,
                    uint64_t bytes, bool is_zero)
{
    uint64_t end = s->n->size_bytes, here = bytes;
    struct iovec iov;

    if (is_zero || guest >= end)
        here = 0;
    else if (bytes > end - guest)
        here = end - guest;
    memset(buf + here, 0, bytes - here);
    iov = (struct iovec){ buf, here };
    return here == 0 ? 0 : qcow2_readv(s->n, guest, &iov, 1, here);
}

static int fill_one(struct qcow2 *s, const struct put *p, uint64_t guest,
                    uint64_t bytes, bool is_zero)
{
    uint64_t host = p->host + guest - p->guest;
    struct iovec iov;
    int rc;

    if (bytes == 0) return 0;
    if (is_zero && s->crypt == NULL) return node_zero(s->file, host, bytes, 0);
    iov = (struct iovec){ malloc(bytes), bytes };
    if (iov.iov_base == NULL) return -ENOMEM;
    rc = read_old(s, guest, iov.iov_base, bytes, is_zero);
    if (rc == 0) rc = write_file(s, host, &iov, 1, bytes);
    free(iov.iov_base);
    return rc;
}

/* Head, data and tail as one write. */
static int write_merged(struct qcow2 *s, const struct put *p,
                        const struct iovec *iov, int iovcnt)
{
    struct iovec all[BLOCK_MAX_IOV];
    uint8_t *around = malloc(p->head + p->tail);
    int count = 0, rc;

    if (around == NULL) return -ENOMEM;
    rc = read_old(s, p->guest - p->head, around, p->head, p->is_head_zero);
    if (rc == 0)
        rc = read_old(s, p->guest + p->bytes, around + p->head, p->tail,
                      p->is_tail_zero);
    if (rc == 0) {
        if (p->head > 0) all[count++] = (struct iovec){ around, p->head };
        memcpy(all + count, iov, (size_t)iovcnt * sizeof(*iov));
        count += iovcnt;
        if (p->tail > 0)
            all[count++] = (struct iovec){ around + p->head, p->tail };
        rc = write_file(s, p->host - p->head, all, count,
                        p->head + p->bytes + p->tail);
    }
    free(around);
    return rc;
}

static int transfer(struct qcow2 *s, const struct put *p,
                    const struct iovec *iov, int iovcnt)
{
    int rc;

    if (p->head + p->tail == 0)
        return write_file(s, p->host, iov, iovcnt, p->bytes);
    if (p->head + p->tail <= MERGE_BYTES && iovcnt + 2 <= BLOCK_MAX_IOV)
        return write_merged(s, p, iov, iovcnt);
    rc = fill_one(s, p, p->guest - p->head, p->head, p->is_head_zero);
    if (rc == 0) rc = write_file(s, p->host, iov, iovcnt, p->bytes);
    if (rc == 0)
        rc = fill_one(s, p, p->guest + p->bytes, p->tail, p->is_tail_zero);
    return rc;
}

/* --------------------------------------------------------------- planning */

static bool is_place_ours(uint64_t v)
{
    return (v & QCOW2_COPIED) && !(v & QCOW2_COMPRESSED) &&
           (v & QCOW2_OFFSET_MASK) != 0;
}

/* Is what an entry describes data that can be written in place? (without
 * subclusters) */
static bool is_in_place(const struct qcow2 *s, uint64_t v)
{
    return is_place_ours(v) && !(s->h.version >= 3 && (v & QCOW2_ZERO));
}

/* Does a range without data of its own read as zeros? */
static bool reads_zero(struct qcow2 *s, const struct qcow2_extent *x,
                       uint64_t guest)
{
    struct node *b = s->n->backing;

    switch (x->kind) {
    case QCOW2_KIND_ZERO:
    case QCOW2_KIND_ZERO_ALLOC: return true;
    case QCOW2_KIND_NONE:
    case QCOW2_KIND_NONE_ALLOC: return b == NULL || guest >= b->size_bytes;
    default: return false;
    }
}

/* Clusters from the entry on that are like it: to be replaced, or with a place
 * of their own that lies behind the one before. */
static uint64_t count_alike(struct qcow2 *s, const struct qcow2_table *t,
                            uint32_t at, uint64_t max, bool is_ours)
{
    uint64_t first = qcow2_be64(t->data + at) & QCOW2_OFFSET_MASK, n = 1;

    for (at += s->l2_entry_bytes; n < max && at < s->l2_cache.table_bytes;
         at += s->l2_entry_bytes, n++) {
        uint64_t v = qcow2_be64(t->data + at);

        if (is_place_ours(v) != is_ours) break;
        if (!is_ours) continue;
        if (s->has_subclusters || is_in_place(s, v) ||
            (v & QCOW2_OFFSET_MASK) != first + (n << s->cluster_bits))
            break;
    }
    return n;
}

/* Octets around the data that have to come along: up to unit boundaries. */
static void plan_around(struct qcow2 *s, struct put *p,
                        const struct qcow2_extent *first,
                        const struct qcow2_extent *last, unsigned unit_bits)
{
    uint64_t mask = (UINT64_C(1) << unit_bits) - 1;
    uint64_t end = p->guest + p->bytes;

    p->head = p->guest & mask;
    p->tail = (0 - end) & mask;
    p->is_head_zero = reads_zero(s, first, p->guest - p->head);
    p->is_tail_zero = end >= s->n->size_bytes || reads_zero(s, last, end);
    if (!p->is_new || !p->is_fresh || s->crypt != NULL) return;
    if (p->is_head_zero) p->head = 0;
    if (p->is_tail_zero) p->tail = 0;
}

/*
 * The parts of the first and the last cluster that are not written have to be
 * copied if the cluster moves and holds data; with subclusters and no data
 * there, the other subclusters can stay as they are.
 */
static int plan_copies_locked(struct qcow2 *s, struct put *p, uint64_t bitmap0,
                              uint64_t bitmap1)
{
    struct qcow2_extent first, last;
    uint64_t last_octet = p->guest + p->bytes - 1;
    bool has_data;
    int rc = qcow2_map_locked(s, p->guest, 1, false, &first);

    if (rc == 0) rc = qcow2_map_locked(s, last_octet, 1, false, &last);
    if (rc < 0) return rc;
    if (!s->has_subclusters) {
        plan_around(s, p, &first, &last, s->cluster_bits);
        return 0;
    }
    has_data = first.kind == QCOW2_KIND_COMPRESSED ||
               last.kind == QCOW2_KIND_COMPRESSED ||
               ((bitmap0 | bitmap1) & UINT32_MAX) != 0;
    if (p->is_new && has_data) {
        /* Neighbours differ from what lies at the edge: copy, don't guess. */
        first.kind = last.kind = QCOW2_KIND_DATA;
        plan_around(s, p, &first, &last, s->cluster_bits);
        return 0;
    }
    p->keeps_bitmap = true;
    /* Data that are there already in the edge's subcluster stay. */
    plan_around(s, p, &first, &last, s->subcluster_bits);
    if (!p->is_new && first.kind == QCOW2_KIND_DATA) p->head = 0;
    if (!p->is_new && last.kind == QCOW2_KIND_DATA) p->tail = 0;
    return 0;
}

/* Allocate or take the place that is there; the claim is held, the slice
 * pinned. */
static int plan_locked(struct qcow2 *s, struct put *p, struct qcow2_table *t,
                       uint32_t at)
{
    uint64_t v = qcow2_be64(t->data + at);
    uint64_t in_cluster = p->guest & (s->cluster_bytes - 1);
    uint64_t n = qcow2_clusters(s, in_cluster + p->bytes), room, host = 0;
    bool is_ours = is_place_ours(v);
    uint64_t b0 = 0, b1 = 0;

    n = count_alike(s, t, at, n, is_ours);
    if (is_ours) {
        host = v & QCOW2_OFFSET_MASK;
    } else {
        int64_t got = qcow2_alloc_some_locked(s, n, &host, &p->is_fresh);

        if (got < 0) return (int)got;
        n = (uint64_t)got;
        p->is_new = true;
    }
    p->host = host + in_cluster;
    room = (n << s->cluster_bits) - in_cluster;
    if (p->bytes > room) p->bytes = room;
    if (is_ours && qcow2_check_data_locked(s, p->host, p->bytes) < 0)
        return -EIO;
    if (s->has_subclusters) {
        b0 = qcow2_be64(t->data + at + 8);
        b1 = qcow2_be64(t->data + at + (n - 1) * s->l2_entry_bytes + 8);
    }
    return plan_copies_locked(s, p, b0, b1);
}

/* ---------------------------------------------------------------- linking */

/* Bits of the subclusters of the cluster at guest offset `cluster` that hold
 * data now. */
static uint64_t new_bits(const struct qcow2 *s, const struct put *p,
                         uint64_t cluster)
{
    uint64_t from = p->guest - p->head, to = p->guest + p->bytes + p->tail;
    uint64_t bits = 0;

    if (!p->keeps_bitmap) return UINT32_MAX;
    for (unsigned i = 0; i < QCOW2_SUBCLUSTERS; i++) {
        uint64_t at = cluster + ((uint64_t)i << s->subcluster_bits);

        if (at < to && at + (UINT64_C(1) << s->subcluster_bits) > from)
            bits |= UINT64_C(1) << i;
    }
    return bits;
}

static int link_locked(struct qcow2 *s, const struct put *p)
{
    uint64_t first = p->guest >> s->cluster_bits;
    uint64_t end = qcow2_clusters(s, p->guest + p->bytes);
    uint64_t host = p->host & ~(uint64_t)(s->cluster_bytes - 1);
    struct qcow2_table *t;
    uint32_t at;
    int rc = qcow2_l2_get_locked(s, p->guest, true, &t, &at);

    if (rc < 0) return rc;
    for (uint64_t c = first; c < end;
         c++, at += s->l2_entry_bytes, host += s->cluster_bytes) {
        uint64_t bitmap = 0;

        if (s->has_subclusters) {
            uint64_t bits = new_bits(s, p, c << s->cluster_bits);

            if (p->keeps_bitmap &&
                !(qcow2_be64(t->data + at) & QCOW2_COMPRESSED))
                bitmap = qcow2_be64(t->data + at + 8);
            bitmap = (bitmap | bits) & ~(bits << 32);
        }
        qcow2_set_entry_locked(s, t, at, host | QCOW2_COPIED, bitmap);
    }
    qcow2_cache_put_locked(t);
    return 0;
}

/* --------------------------------------------------------------- the steps */

/* Data that are ours: just write them. */
static int write_in_place_locked(struct qcow2 *s, struct qcow2_extent *x,
                                 const struct iovec *iov, int iovcnt,
                                 size_t skip)
{
    struct qcow2_slice part;
    uint64_t end = qcow2_round_up(s, s->file->size_bytes);
    unsigned pin;
    int rc;

    if (s->crypt != NULL && x->bytes > MAX_CRYPT_BYTES)
        x->bytes = MAX_CRYPT_BYTES;
    if (x->bytes > end || x->host > end - x->bytes) return -EIO; /* is lost */
    rc = qcow2_check_data_locked(s, x->host, x->bytes);
    if (rc < 0) return rc;
    pin = qcow2_pin_locked(s);
    pthread_mutex_unlock(&s->lock);
    rc = qcow2_slice(&part, iov, iovcnt, skip, x->bytes);
    if (rc == 0) {
        rc = write_file(s, x->host, part.v, part.count, x->bytes);
        qcow2_slice_free(&part);
    }
    qcow2_unpin(s, pin);
    pthread_mutex_lock(&s->lock);
    return rc;
}

/* Octets from guest on that one slice's entries describe. */
static uint64_t slice_bytes(const struct qcow2 *s, uint64_t guest)
{
    uint64_t span = (uint64_t)(s->l2_cache.table_bytes / s->l2_entry_bytes)
                    << s->cluster_bits;

    return span - (guest & (span - 1));
}

/* Claim held. */
static int write_new_locked(struct qcow2 *s, struct put *p,
                            const struct iovec *iov, int iovcnt, size_t skip)
{
    struct qcow2_slice part;
    struct qcow2_table *t;
    uint32_t at;
    int rc = qcow2_l2_get_locked(s, p->guest, true, &t, &at);

    if (rc < 0) return rc;
    rc = plan_locked(s, p, t, at);
    qcow2_cache_put_locked(t);
    if (rc == 0) {
        pthread_mutex_unlock(&s->lock);
        rc = qcow2_slice(&part, iov, iovcnt, skip, p->bytes);
        if (rc == 0) {
            rc = transfer(s, p, part.v, part.count);
            qcow2_slice_free(&part);
        }
        pthread_mutex_lock(&s->lock);
        if (rc == 0) rc = link_locked(s, p);
    }
    if (rc < 0 && p->is_new) {
        uint64_t in_cluster = p->guest & (s->cluster_bytes - 1);

        qcow2_unalloc_locked(s, p->host - in_cluster, in_cluster + p->bytes);
    }
    return rc;
}

static int write_step_locked(struct qcow2 *s, uint64_t offset,
                             const struct iovec *iov, int iovcnt, size_t skip,
                             uint64_t bytes, uint64_t *done)
{
    struct put p = { .guest = offset };
    struct qcow2_extent x;
    int rc = qcow2_map_locked(s, offset, bytes, false, &x);

    if (rc < 0) return rc;
    if (x.kind == QCOW2_KIND_DATA && x.is_copied) {
        rc = write_in_place_locked(s, &x, iov, iovcnt, skip);
        *done = x.bytes;
        return rc;
    }
    if (bytes > slice_bytes(s, offset)) bytes = slice_bytes(s, offset);
    if (s->crypt != NULL && bytes > MAX_CRYPT_BYTES) bytes = MAX_CRYPT_BYTES;
    qcow2_claim_locked(s, offset, bytes, &p.claim);
    /* Somebody else may have been here meanwhile. */
    rc = qcow2_map_locked(s, offset, bytes, false, &x);
    *done = 0;
    if (rc == 0 && !(x.kind == QCOW2_KIND_DATA && x.is_copied)) {
        p.bytes = bytes;
        rc = write_new_locked(s, &p, iov, iovcnt, skip);
        *done = p.bytes;
    }
    qcow2_unclaim_locked(s, &p.claim);
    return rc;
}

/* Space that was freed comes back with a flush. */
static int reclaim_locked(struct qcow2 *s, int rc)
{
    if (rc != -ENOSPC && rc != -EDQUOT) return rc;
    if (s->freed.count + s->written.count + s->waiting.count == 0) return rc;
    return qcow2_flush_locked(s, false) < 0 ? rc : 0;
}

static int write_plain(struct qcow2 *s, uint64_t offset,
                       const struct iovec *iov, int iovcnt, size_t bytes)
{
    bool has_reclaimed = false;
    size_t done = 0;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_locked(s);
    while (rc == 0 && done < bytes) {
        uint64_t step = 0;

        rc = write_step_locked(s, offset + done, iov, iovcnt, done,
                               bytes - done, &step);
        if (rc == 0) {
            done += step;
        } else if (!has_reclaimed) {
            has_reclaimed = true;
            rc = reclaim_locked(s, rc);
        }
        if (s->freed.count > MAX_FREED && rc == 0)
            rc = qcow2_flush_locked(s, false);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Encryption knows sectors only: those at the edges are read first. */
static int write_unaligned(struct qcow2 *s, uint64_t offset,
                           const struct iovec *iov, int iovcnt, size_t bytes)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    uint64_t from = offset & ~mask;
    size_t all = (size_t)(((offset + bytes + mask) & ~mask) - from);
    struct iovec whole = { malloc(all), all };
    int rc;

    if (whole.iov_base == NULL) return -ENOMEM;
    rc = read_old(s, from, whole.iov_base, all, false);
    if (rc == 0) {
        iov_to_buf(iov, iovcnt, 0, (uint8_t *)whole.iov_base + (offset - from),
                   bytes);
        rc = write_plain(s, from, &whole, 1, all);
    }
    free(whole.iov_base);
    return rc;
}

int qcow2_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                 int iovcnt, size_t bytes, unsigned flags)
{
    struct qcow2 *s = n->s;
    uint64_t mask = BLOCK_SECTOR_BYTES - 1;

    if (flags & NODE_REQ_COMPRESSED)
        return qcow2_write_compressed(s, offset, iov, iovcnt, bytes);
    if (s->crypt != NULL && ((offset | bytes) & mask) != 0)
        return write_unaligned(s, offset, iov, iovcnt, bytes);
    return write_plain(s, offset, iov, iovcnt, bytes);
}
