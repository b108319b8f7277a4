/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: zeroes, discards, flushes, status, and the fast path. */
#include "block/qcow2.h"

#include <errno.h>
#include <string.h>

#include "block/image.h"
#include "block/qcow2_io.h"

enum {
    MAX_FREED = 4096, /* ranges; then flush to get at them */
    SPINS = 200,      /* to wait for a lock that is let go soon */
    ZERO_BYTES = 4096,
    STATUS_STEPS = 4096,   /* that others wait for */
    CLAIM_BYTES = 1 << 30, /* of the disk in one go */
};

/* ----------------------------------------------------- zeroes, discards */

static bool has_backing(const struct qcow2 *s)
{
    return s->n->backing_file != NULL || s->n->backing != NULL;
}

/* Whole clusters, claimed in pieces. */
static int clear(struct qcow2 *s, uint64_t offset, uint64_t bytes, bool to_zero,
                 bool may_free)
{
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_locked(s);
    while (rc == 0 && bytes > 0) {
        uint64_t here = bytes < CLAIM_BYTES ? bytes : CLAIM_BYTES;
        struct qcow2_claim claim;

        qcow2_claim_locked(s, offset, here, &claim);
        rc = qcow2_clear_locked(s, offset, here, to_zero, may_free);
        qcow2_unclaim_locked(s, &claim);
        if (rc == 0 && s->freed.count > MAX_FREED)
            rc = qcow2_flush_locked(s, false);
        offset += here;
        bytes -= here;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The whole clusters of a range; the disk's last one may be short. */
static void whole_clusters(const struct qcow2 *s, uint64_t offset,
                           uint64_t bytes, uint64_t *from, uint64_t *to)
{
    uint64_t mask = s->cluster_bytes - 1, end = offset + bytes;

    *from = (offset + mask) & ~mask;
    *to = end == s->n->size_bytes ? qcow2_round_up(s, end) : end & ~mask;
    if (*to < *from) *to = *from;
}

/* Less than a cluster: written, unless it reads as zeros already. */
static int zero_piece(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeros[ZERO_BYTES];

    while (bytes > 0) {
        struct iovec iov = { (void *)(uintptr_t)zeros, ZERO_BYTES };
        struct qcow2_extent x;
        bool is_zero;
        int rc;

        pthread_mutex_lock(&s->lock);
        rc = qcow2_map_locked(s, offset, bytes, false, &x);
        pthread_mutex_unlock(&s->lock);
        if (rc < 0) return rc;
        is_zero = x.kind == QCOW2_KIND_ZERO || x.kind == QCOW2_KIND_ZERO_ALLOC;
        if (x.kind <= QCOW2_KIND_NONE_ALLOC) is_zero = !has_backing(s);
        if (!is_zero && x.bytes > ZERO_BYTES) x.bytes = ZERO_BYTES;
        iov.iov_len = x.bytes;
        if (!is_zero) rc = qcow2_writev(s->n, offset, &iov, 1, x.bytes, 0);
        if (rc < 0) return rc;
        offset += x.bytes;
        bytes -= x.bytes;
    }
    return 0;
}

int qcow2_zero(struct node *n, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct qcow2 *s = n->s;
    bool may_free = (flags & NODE_REQ_UNMAP) != 0, to_zero = true;
    uint64_t from, to, end = offset + bytes;
    int rc = 0;

    if (s->h.version < 3) { /* no zero clusters: what is not there is zero */
        if (has_backing(s)) return -ENOTSUP;
        may_free = true;
    }
    if (may_free && !has_backing(s)) to_zero = false;
    whole_clusters(s, offset, bytes, &from, &to);
    if (from == to) return zero_piece(s, offset, bytes);
    if (offset < from) rc = zero_piece(s, offset, from - offset);
    if (rc == 0) rc = clear(s, from, to - from, to_zero, may_free);
    if (rc == 0 && to < end) rc = zero_piece(s, to, end - to);
    return rc;
}

int qcow2_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct qcow2 *s = n->s;
    uint64_t from, to;

    /* The old contents of the backing file must not come back. */
    if (s->h.version < 3 && has_backing(s)) return 0;
    whole_clusters(s, offset, bytes, &from, &to);
    return from == to ? 0 : clear(s, from, to - from, has_backing(s), true);
}

int qcow2_node_flush(struct node *n)
{
    struct qcow2 *s = n->s;
    int rc;

    if (n->is_readonly) return 0;
    pthread_mutex_lock(&s->lock);
    rc = qcow2_flush_locked(s, false);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---------------------------------------------------------------- status */

static void describe(const struct qcow2 *s, uint64_t offset,
                     const struct qcow2_extent *x, struct node_extent *out)
{
    uint64_t end =
        s->n->backing != NULL ? (uint64_t)s->n->backing->size_bytes : 0;

    *out = (struct node_extent){ .bytes = x->bytes };
    switch (x->kind) {
    case QCOW2_KIND_NONE:
    case QCOW2_KIND_NONE_ALLOC:
        if (!has_backing(s) || (s->n->backing != NULL && offset >= end))
            out->flags = EXTENT_ZERO;
        else if (s->n->backing != NULL && x->bytes > end - offset)
            out->bytes = end - offset;
        break;
    case QCOW2_KIND_ZERO: out->flags = EXTENT_ZERO | EXTENT_ALLOCATED; break;
    case QCOW2_KIND_ZERO_ALLOC:
        out->flags = EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_OFFSET;
        break;
    case QCOW2_KIND_DATA: out->flags = EXTENT_DATA | EXTENT_ALLOCATED; break;
    case QCOW2_KIND_COMPRESSED:
        out->flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_COMPRESSED;
        break;
    }
    if ((x->kind == QCOW2_KIND_DATA && s->crypt == NULL) ||
        x->kind == QCOW2_KIND_NONE_ALLOC)
        out->flags |= EXTENT_OFFSET;
    if (out->flags & EXTENT_OFFSET) out->file_offset = x->host;
}

/* Preallocated data that were never written are holes of the file: looked for
 * where it takes a tenth less than its size, two clusters at least. */
static void look_for_holes(const struct qcow2 *s, struct node_extent *out)
{
    struct node *file = s->file;
    uint64_t clusters = qcow2_clusters(s, file->size_bytes);
    uint64_t taken = image_allocated_bytes(file) >> s->cluster_bits;
    struct node_extent below;

    if (clusters < taken + 2 || clusters < taken * 10 / 9) return;
    if (out->file_offset >= file->size_bytes) out->flags |= EXTENT_ZERO;
    if (node_status(file, out->file_offset, out->bytes, &below) < 0) return;
    if (below.bytes == 0 || below.bytes > out->bytes) return;
    out->bytes = below.bytes;
    out->flags |= below.flags & EXTENT_ZERO;
}

int qcow2_status(struct node *n, uint64_t offset, uint64_t bytes,
                 struct node_extent *out)
{
    struct qcow2 *s = n->s;
    uint64_t done = 0;
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    for (int step = 0; done < bytes && step < STATUS_STEPS; step++) {
        struct qcow2_extent x;
        struct node_extent here;

        rc = qcow2_map_locked(s, offset + done, bytes - done, false, &x);
        if (rc < 0) break;
        describe(s, offset + done, &x, &here);
        if (done == 0)
            *out = here;
        else if (here.flags != out->flags ||
                 ((here.flags & EXTENT_OFFSET) &&
                  here.file_offset != out->file_offset + done))
            break;
        done += here.bytes;
    }
    pthread_mutex_unlock(&s->lock);
    if (done == 0) return rc;
    out->bytes = done;
    if ((out->flags & EXTENT_DATA) && (out->flags & EXTENT_OFFSET) &&
        !s->has_data_file)
        look_for_holes(s, out);
    return 0;
}

/* ------------------------------------------------------------- fast path */

/* The lock, if whoever has it lets it go at once. */
static bool try_lock(struct qcow2 *s)
{
    for (int i = 0; i < SPINS; i++) {
        if (pthread_mutex_trylock(&s->lock) == 0) return true;
        __builtin_ia32_pause();
    }
    return false;
}

/* Data at a known place, to be pinned while in use. */
static int run_data_locked(struct qcow2 *s, const struct qcow2_extent *x,
                           bool is_write, struct node_run *out)
{
    struct node *file = qcow2_data(s);
    uint64_t end;
    int rc;

    if (s->crypt != NULL || file == NULL) return -EAGAIN;
    end = file->size_bytes;
    if (x->bytes > end || x->host > end - x->bytes) return -EAGAIN;
    if (is_write && (!x->is_copied || !s->is_begun || s->is_corrupt ||
                     s->before_write != NULL ||
                     qcow2_meta_has_locked(s, x->host, x->bytes)))
        return -EAGAIN;
    rc = node_run(file, x->host, x->bytes, is_write, out);
    if (rc < 0) return rc;
    if (out->pinned != NULL) { /* there is one pin only */
        node_run_done(out);
        return -EAGAIN;
    }
    out->pinned = s->n;
    out->pin = qcow2_pin_locked(s);
    return 0;
}

static int run_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                      bool is_write, struct node_run *out)
{
    struct qcow2_extent x;
    bool is_zero;
    int rc = qcow2_map_locked(s, offset, bytes, true, &x);

    if (rc < 0) return -EAGAIN;
    if (x.kind == QCOW2_KIND_DATA) return run_data_locked(s, &x, is_write, out);
    is_zero = x.kind == QCOW2_KIND_ZERO || x.kind == QCOW2_KIND_ZERO_ALLOC;
    if (x.kind <= QCOW2_KIND_NONE_ALLOC) {
        struct node *b = s->n->backing;

        is_zero = b == NULL || offset >= b->size_bytes;
        if (!is_write && !is_zero && x.bytes <= b->size_bytes - offset)
            return node_run(b, offset, x.bytes, false, out);
    }
    if (is_write || !is_zero) return -EAGAIN;
    *out = (struct node_run){ .fd = -1, .bytes = x.bytes, .is_zero = true };
    return 0;
}

int qcow2_run(struct node *n, uint64_t offset, uint64_t bytes, bool is_write,
              struct node_run *out)
{
    struct qcow2 *s = n->s;
    int rc;

    if (!try_lock(s)) return -EAGAIN;
    rc = run_locked(s, offset, bytes, is_write, out);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void qcow2_run_done(struct node *n, const struct node_run *r)
{
    qcow2_unpin(n->s, (unsigned)r->pin);
}
