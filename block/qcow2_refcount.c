/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: refcounts.  Which clusters of the file are in use, finding free ones,
 * and giving them back when it is safe.
 *
 * A refcount block that is missing is made when the first cluster it covers is
 * allocated.  Its own cluster may be one of those; then the new block counts
 * itself.  The refcount table grows in memory; qcow2_flush moves it.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_BLOCKS UINT64_C(64)

uint64_t qcow2_refcount_entry(const void *block, unsigned order, uint64_t index)
{
    const uint8_t *b = block;
    unsigned bits = 1u << order, shift;

    switch (order) {
    case 3: return b[index];
    case 4: return qcow2_be16(b + index * 2);
    case 5: return qcow2_be32(b + index * 4);
    case 6: return qcow2_be64(b + index * 8);
    default: break;
    }
    shift = (unsigned)(index * bits % 8); /* lowest bits first */
    return b[index * bits / 8] >> shift & ((1u << bits) - 1);
}

void qcow2_refcount_set_entry(void *block, unsigned order, uint64_t index,
                              uint64_t value)
{
    uint8_t *b = block;
    unsigned bits = 1u << order, shift, mask;

    switch (order) {
    case 3: b[index] = (uint8_t)value; return;
    case 4: qcow2_put16(b + index * 2, (uint16_t)value); return;
    case 5: qcow2_put32(b + index * 4, (uint32_t)value); return;
    case 6: qcow2_put64(b + index * 8, value); return;
    default: break;
    }
    shift = (unsigned)(index * bits % 8);
    mask = ((1u << bits) - 1) << shift;
    b += index * bits / 8;
    *b = (uint8_t)((*b & ~mask) | ((unsigned)value << shift & mask));
}

/* Block for reftable entry i; *out NULL if there is none. */
static int get_block(struct qcow2 *s, uint64_t i, struct qcow2_table **out)
{
    uint64_t offset;

    *out = NULL;
    if (i >= s->reftable_entries) return 0;
    offset = s->reftable[i] & QCOW2_REFTABLE_MASK;
    if (offset == 0) return 0;
    if ((offset & (s->cluster_bytes - 1)) != 0)
        return qcow2_corrupt_locked(s, "refcount block at %#llx is not aligned",
                                    (unsigned long long)offset);
    return qcow2_cache_get_locked(s, &s->refcount_cache, offset, out);
}

static uint64_t block_mask(const struct qcow2 *s)
{
    return (UINT64_C(1) << s->refblock_bits) - 1;
}

int qcow2_refcount_get_locked(struct qcow2 *s, uint64_t cluster, uint64_t *out)
{
    struct qcow2_table *t;
    int rc = get_block(s, cluster >> s->refblock_bits, &t);

    *out = 0;
    if (rc < 0 || t == NULL) return rc;
    *out = qcow2_refcount_entry(t->data, s->h.refcount_order,
                                cluster & block_mask(s));
    qcow2_cache_put_locked(t);
    return 0;
}

/* ---------------------------------------------------------- finding room */

/* First free clusters from free_hint on: whole (all of want in one piece) or
 * as many as follow each other.  Returns how many. */
static int64_t find_free(struct qcow2 *s, uint64_t want, bool whole,
                         uint64_t *first)
{
    uint64_t c = s->free_hint, run = 0;
    /* Counts that go on long behind the end of the file are no counts. */
    uint64_t limit = (s->fresh_from >> s->cluster_bits) +
                     (SPARE_BLOCKS << s->refblock_bits) + want;
    bool is_first = true;

    while (run < want) {
        uint64_t index = c & block_mask(s);
        struct qcow2_table *t;
        int rc = c > limit ? -EFBIG : get_block(s, c >> s->refblock_bits, &t);

        if (rc < 0) return rc;
        if (t == NULL) { /* a block that is not there: all of it is free */
            uint64_t here = block_mask(s) + 1 - index;

            if (run == 0) *first = c;
            if (is_first) s->free_hint = c;
            is_first = false;
            run += here;
            c += here;
            continue;
        }
        for (; index <= block_mask(s) && run < want; index++, c++) {
            if (qcow2_refcount_entry(t->data, s->h.refcount_order, index) ==
                0) {
                if (run++ == 0) *first = c;
                if (is_first) s->free_hint = c;
                is_first = false;
            } else if (run > 0 && !whole) {
                qcow2_cache_put_locked(t);
                return (int64_t)run;
            } else {
                run = 0;
            }
        }
        qcow2_cache_put_locked(t);
    }
    return (int64_t)(run < want ? run : want);
}

static int grow_reftable(struct qcow2 *s, uint64_t need)
{
    uint32_t per_cluster = s->cluster_bytes / 8;
    uint64_t entries = s->reftable_entries + s->reftable_entries / 2;
    uint64_t *table;

    if (entries < need) entries = need;
    entries = (entries + per_cluster - 1) / per_cluster * per_cluster;
    if (entries > QCOW2_MAX_REFTABLE_BYTES / 8)
        entries = QCOW2_MAX_REFTABLE_BYTES / 8;
    if (entries < need) return -EFBIG;
    table = realloc(s->reftable, entries * sizeof(*table));
    if (table == NULL) return -ENOMEM;
    memset(table + s->reftable_entries, 0,
           (entries - s->reftable_entries) * sizeof(*table));
    s->reftable = table;
    s->reftable_entries = (uint32_t)entries;
    return 0;
}

static void set_fresh(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                      bool *is_fresh)
{
    if (is_fresh != NULL) *is_fresh = offset >= s->fresh_from;
    if (offset + bytes > s->fresh_from) s->fresh_from = offset + bytes;
}

/* Write an empty block, which counts itself if it lies in what it covers. */
static int place_block(struct qcow2 *s, uint64_t i, uint64_t cluster)
{
    uint64_t offset = cluster << s->cluster_bits;
    uint8_t *b;
    int rc;

    if (qcow2_meta_has_locked(s, offset, 1))
        return qcow2_corrupt_locked(s, "metadata at %#llx have refcount 0",
                                    (unsigned long long)offset);
    b = calloc(1, s->cluster_bytes);
    if (b == NULL) return -ENOMEM;
    if (cluster >> s->refblock_bits == i)
        qcow2_refcount_set_entry(b, s->h.refcount_order,
                                 cluster & block_mask(s), 1);
    rc = node_pwrite(s->file, offset, b, s->cluster_bytes);
    free(b);
    if (rc == 0) rc = qcow2_meta_add_locked(s, offset, 1);
    if (rc == 0 && cluster >> s->refblock_bits != i) {
        rc = qcow2_refcount_add_locked(s, cluster, 1, 1);
        if (rc < 0) qcow2_meta_remove_locked(s, offset, 1);
    }
    if (rc < 0) return rc;
    set_fresh(s, offset, s->cluster_bytes, NULL);
    s->reftable[i] = offset;
    if (s->reftable_dirty_to == 0 || i < s->reftable_dirty_from)
        s->reftable_dirty_from = (uint32_t)i;
    if (i >= s->reftable_dirty_to) s->reftable_dirty_to = (uint32_t)i + 1;
    return 0;
}

static int make_block(struct qcow2 *s, uint64_t i)
{
    uint64_t cluster = 0, home;
    int64_t n;
    int rc = 0;

    if (i >= s->reftable_entries) rc = grow_reftable(s, i + 1);
    if (rc < 0) return rc;
    n = find_free(s, 1, false, &cluster);
    if (n < 0) return (int)n;
    /* A cluster that no block covers yet makes a home for that block first. */
    home = cluster >> s->refblock_bits;
    if (home != i && (home >= s->reftable_entries || s->reftable[home] == 0)) {
        if (home >= s->reftable_entries) rc = grow_reftable(s, home + 1);
        if (rc == 0) rc = place_block(s, home, cluster);
        if (rc == 0) rc = find_free(s, 1, false, &cluster) < 0 ? -EIO : 0;
        if (rc < 0) return rc;
        if (cluster >> s->refblock_bits != home &&
            cluster >> s->refblock_bits != i)
            return -ENOSPC;
    }
    return place_block(s, i, cluster);
}

/* ------------------------------------------------------------- changing */

/* Add delta to entries [from, from + count) of a block: all or none. */
static int add_in_block(struct qcow2 *s, struct qcow2_table *t, uint64_t from,
                        uint64_t count, int64_t delta)
{
    unsigned order = s->h.refcount_order;
    uint64_t bits = UINT64_C(1) << order;

    for (uint64_t i = from; i < from + count; i++) {
        uint64_t v = qcow2_refcount_entry(t->data, order, i);

        if (delta > 0 && (uint64_t)delta > s->max_refcount - v) return -ERANGE;
        if (delta < 0 && (uint64_t)-delta > v)
            return qcow2_corrupt_locked(
                s, "a cluster that is in use has refcount %llu",
                (unsigned long long)v);
    }
    for (uint64_t i = from; i < from + count; i++) {
        uint64_t v = qcow2_refcount_entry(t->data, order, i);

        qcow2_refcount_set_entry(t->data, order, i, v + (uint64_t)delta);
    }
    qcow2_cache_dirty_locked(&s->refcount_cache, t, (uint32_t)(from * bits / 8),
                             (uint32_t)((from + count) * bits + 7) / 8 -
                                 (uint32_t)(from * bits / 8));
    return 0;
}

/* The part of a range that one block covers. */
static int add_part(struct qcow2 *s, uint64_t cluster, uint64_t clusters,
                    int64_t delta, uint64_t *done)
{
    uint64_t i = cluster >> s->refblock_bits;
    uint64_t index = cluster & block_mask(s);
    uint64_t here = block_mask(s) + 1 - index;
    struct qcow2_table *t;
    int rc = get_block(s, i, &t);

    if (here > clusters) here = clusters;
    *done = here;
    if (rc < 0) return rc;
    if (t == NULL && delta < 0)
        return qcow2_corrupt_locked(s, "a cluster that is in use has no "
                                       "refcount");
    if (t == NULL) {
        rc = make_block(s, i);
        if (rc == 0) rc = get_block(s, i, &t);
        if (rc < 0) return rc;
    }
    rc = add_in_block(s, t, index, here, delta);
    qcow2_cache_put_locked(t);
    return rc;
}

/* Discard what has become free, if the user wants that, and remember where it
 * is. */
static void note_free(struct qcow2 *s, uint64_t cluster, uint64_t clusters)
{
    if (cluster < s->free_hint) s->free_hint = cluster;
    for (uint64_t c = cluster; c < cluster + clusters; c++) {
        uint64_t offset = c << s->cluster_bits, v;

        if (s->compressed_next > offset &&
            s->compressed_next - offset < s->cluster_bytes)
            s->compressed_next = 0;
        if (!s->passes_discard) continue;
        if (qcow2_refcount_get_locked(s, c, &v) == 0 && v == 0)
            node_discard(s->file, offset, s->cluster_bytes);
    }
}

int qcow2_refcount_add_locked(struct qcow2 *s, uint64_t cluster,
                              uint64_t clusters, int64_t delta)
{
    uint64_t done = 0, here, undone;
    int rc = 0;

    while (done < clusters) {
        rc = add_part(s, cluster + done, clusters - done, delta, &here);
        if (rc < 0) break;
        done += here;
    }
    if (rc == 0) {
        if (delta < 0) note_free(s, cluster, clusters);
        return 0;
    }
    for (undone = 0; undone < done; undone += here) {
        if (add_part(s, cluster + undone, done - undone, -delta, &here) < 0)
            break; /* these leak */
    }
    return rc;
}

/* ------------------------------------------------------------ allocating */

/* Refcount blocks for a range; 1 if one had to be made (which took a cluster,
 * maybe of the range). */
static int cover(struct qcow2 *s, uint64_t cluster, uint64_t clusters)
{
    uint64_t last = (cluster + clusters - 1) >> s->refblock_bits;

    for (uint64_t i = cluster >> s->refblock_bits; i <= last; i++) {
        int rc;

        if (i < s->reftable_entries && s->reftable[i] != 0) continue;
        rc = make_block(s, i);
        return rc < 0 ? rc : 1;
    }
    return 0;
}

/* Take want clusters (whole), or at least one. */
static int64_t take(struct qcow2 *s, uint64_t want, bool whole,
                    uint64_t *offset, bool *is_fresh)
{
    uint64_t first = 0;
    int64_t got;
    int rc;

    do {
        got = find_free(s, want, whole, &first);
        if (got < 0) return got;
        if (first + (uint64_t)got > UINT64_C(1) << (56 - s->cluster_bits))
            return -EFBIG; /* what an L2 entry can hold */
        rc = cover(s, first, (uint64_t)got);
        if (rc < 0) return rc;
    } while (rc > 0);
    *offset = first << s->cluster_bits;
    if (qcow2_meta_has_locked(s, *offset, (uint64_t)got << s->cluster_bits))
        return qcow2_corrupt_locked(s, "metadata at %#llx have refcount 0",
                                    (unsigned long long)*offset);
    rc = qcow2_refcount_add_locked(s, first, (uint64_t)got, 1);
    if (rc < 0) return rc;
    if (first == s->free_hint) s->free_hint = first + (uint64_t)got;
    set_fresh(s, *offset, (uint64_t)got << s->cluster_bits, is_fresh);
    return got;
}

int64_t qcow2_alloc_some_locked(struct qcow2 *s, uint64_t clusters,
                                uint64_t *offset, bool *is_fresh)
{
    return take(s, clusters, false, offset, is_fresh);
}

int qcow2_alloc_locked(struct qcow2 *s, uint64_t clusters, uint64_t *offset,
                       bool *is_fresh)
{
    int64_t got = take(s, clusters, true, offset, is_fresh);

    return got < 0 ? (int)got : 0;
}

int64_t qcow2_alloc_at_locked(struct qcow2 *s, uint64_t offset,
                              uint64_t clusters)
{
    uint64_t first = offset >> s->cluster_bits, n = 0;
    int rc;

    do {
        for (n = 0; n < clusters; n++) {
            uint64_t v;

            rc = qcow2_refcount_get_locked(s, first + n, &v);
            if (rc < 0) return rc;
            if (v != 0) break;
        }
        if (n == 0) return 0;
        rc = cover(s, first, n);
        if (rc < 0) return rc;
    } while (rc > 0);
    if (qcow2_meta_has_locked(s, offset, n << s->cluster_bits))
        return qcow2_corrupt_locked(s, "metadata at %#llx have refcount 0",
                                    (unsigned long long)offset);
    rc = qcow2_refcount_add_locked(s, first, n, 1);
    if (rc < 0) return rc;
    set_fresh(s, offset, n << s->cluster_bits, NULL);
    return (int64_t)n;
}

/* --------------------------------------------------------- giving back */

void qcow2_free_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    struct qcow2_ranges *r = &s->freed;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t count = qcow2_clusters(s, offset + bytes) - first;
    struct qcow2_range *last = r->count > 0 ? &r->v[r->count - 1] : NULL;

    if (last != NULL && last->cluster + last->clusters == first) {
        last->clusters += count;
        return;
    }
    if (r->count == r->cap) {
        size_t cap = r->cap > 0 ? r->cap * 2 : 64;
        struct qcow2_range *v = realloc(r->v, cap * sizeof(*v));

        if (v == NULL) return; /* a leak, which check finds */
        r->v = v;
        r->cap = cap;
    }
    r->v[r->count++] = (struct qcow2_range){ first, count };
}

void qcow2_unalloc_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> s->cluster_bits;

    qcow2_refcount_add_locked(s, first,
                              qcow2_clusters(s, offset + bytes) - first, -1);
}

static int apply(struct qcow2 *s, struct qcow2_ranges *r)
{
    int rc = 0;

    while (r->count > 0 && rc == 0) {
        struct qcow2_range x = r->v[r->count - 1];

        rc = qcow2_refcount_add_locked(s, x.cluster, x.clusters, -1);
        if (rc == 0) r->count--;
    }
    return rc;
}

int qcow2_apply_freed_locked(struct qcow2 *s)
{
    for (;;) {
        struct qcow2_ranges none = s->waiting;

        if (s->waiting.count > 0) {
            int rc;

            if (atomic_load(&s->pins[s->pin_phase ^ 1]) > 0) return 0;
            rc = apply(s, &s->waiting);
            if (rc < 0) return rc;
            continue;
        }
        /* Transfers of the phase before are over, or these would wait. */
        if (s->written.count == 0) return 0;
        s->waiting = s->written;
        s->written = none;
        s->pin_phase ^= 1;
    }
}

unsigned qcow2_pin_locked(struct qcow2 *s)
{
    atomic_fetch_add(&s->pins[s->pin_phase], 1);
    return s->pin_phase;
}

void qcow2_unpin(struct qcow2 *s, unsigned pin)
{
    atomic_fetch_sub(&s->pins[pin & 1], 1);
}
