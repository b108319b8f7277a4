/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: from guest offsets to places in the file.  L2 tables are cached in
 * slices; a slice belongs to one L2 table.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where the entry for a guest offset is. */
struct spot {
    uint64_t l1_index;
    uint64_t in_table; /* octet in the L2 table */
};

static struct spot find_spot(const struct qcow2 *s, uint64_t offset)
{
    uint64_t cluster = offset >> s->cluster_bits;
    uint64_t index = cluster & ((UINT64_C(1) << s->l2_bits) - 1);

    return (struct spot){ cluster >> s->l2_bits, index * s->l2_entry_bytes };
}

static uint64_t slice_of(const struct qcow2 *s, uint64_t table,
                         uint64_t in_table)
{
    return table + (in_table & ~(uint64_t)(s->l2_cache.table_bytes - 1));
}

/* Offset of the L2 table in an L1 entry; 0 none; -EIO. */
static int table_of(struct qcow2 *s, uint64_t l1_entry, uint64_t *offset)
{
    *offset = l1_entry & QCOW2_OFFSET_MASK;
    if ((*offset & (s->cluster_bytes - 1)) == 0) return 0;
    return qcow2_corrupt_locked(s, "L2 table at %#llx is not aligned",
                                (unsigned long long)*offset);
}

/* ------------------------------------------------------------- L2 tables */

static void mark_l1(struct qcow2 *s, uint64_t index)
{
    uint32_t i = (uint32_t)index;

    if (s->l1_dirty_to == 0 || i < s->l1_dirty_from) s->l1_dirty_from = i;
    if (i >= s->l1_dirty_to) s->l1_dirty_to = i + 1;
}

/* What a new table holds: zeros, or what the shared one it replaces does. */
static int fill_table(struct qcow2 *s, uint64_t old, uint8_t *b)
{
    if (old == 0) return 0;
    for (uint64_t at = 0; at < s->cluster_bytes;
         at += s->l2_cache.table_bytes) {
        struct qcow2_table *t;
        int rc = qcow2_cache_get_locked(s, &s->l2_cache, old + at, &t);

        if (rc < 0) return rc;
        memcpy(b + at, t->data, s->l2_cache.table_bytes);
        qcow2_cache_put_locked(t);
    }
    return 0;
}

/* A table of our own for an L1 entry.  May release the lock: look again. */
static int make_table(struct qcow2 *s, uint64_t l1_index)
{
    uint64_t old_entry = s->l1[l1_index], old, at;
    uint8_t *b;
    int rc = table_of(s, old_entry, &old);

    if (rc < 0) return rc;
    b = calloc(1, s->cluster_bytes);
    if (b == NULL) return -ENOMEM;
    rc = fill_table(s, old, b);
    if (rc < 0 || s->l1[l1_index] != old_entry) goto free_buffer;
    rc = qcow2_alloc_locked(s, 1, &at, NULL);
    if (rc < 0) goto free_buffer;
    rc = node_pwrite(s->file, at, b, s->cluster_bytes);
    if (rc == 0) rc = qcow2_meta_add_locked(s, at, 1);
    if (rc < 0) {
        qcow2_unalloc_locked(s, at, 1);
        goto free_buffer;
    }
    qcow2_cache_forget_locked(&s->l2_cache, at, s->cluster_bytes);
    s->l1[l1_index] = at | QCOW2_COPIED;
    mark_l1(s, l1_index);
    if (old != 0) {
        qcow2_meta_remove_locked(s, old, 1);
        qcow2_free_locked(s, old, 1);
    }
free_buffer:
    free(b);
    return rc;
}

int qcow2_l2_get_locked(struct qcow2 *s, uint64_t offset, bool for_write,
                        struct qcow2_table **out, uint32_t *at)
{
    struct spot x = find_spot(s, offset);
    uint64_t entry, table;
    int rc;

    *out = NULL;
    if (x.l1_index >= s->h.l1_entries) return for_write ? -EIO : 0;
    do {
        while (for_write && !(s->l1[x.l1_index] & QCOW2_COPIED)) {
            rc = make_table(s, x.l1_index);
            if (rc < 0) return rc;
        }
        entry = s->l1[x.l1_index];
        rc = table_of(s, entry, &table);
        if (rc == 0 && table == 0 && for_write)
            rc = qcow2_corrupt_locked(s, "L1 entry %llu has no offset",
                                      (unsigned long long)x.l1_index);
        if (rc < 0 || table == 0) return rc;
        rc = qcow2_cache_get_locked(s, &s->l2_cache,
                                    slice_of(s, table, x.in_table), out);
        if (rc < 0) return rc;
        if (s->l1[x.l1_index] != entry) {
            qcow2_cache_put_locked(*out);
            *out = NULL;
        }
    } while (*out == NULL);
    *at = (uint32_t)(x.in_table & (s->l2_cache.table_bytes - 1));
    return 0;
}

/* --------------------------------------------------------------- entries */

/* Kind of subcluster i by the second word of an extended entry. */
static enum qcow2_kind subcluster_kind(uint64_t bitmap, unsigned i,
                                       bool has_place)
{
    bool is_data = bitmap >> i & 1, is_zero = bitmap >> (i + 32) & 1;

    if (is_data) return QCOW2_KIND_DATA;
    if (is_zero) return has_place ? QCOW2_KIND_ZERO_ALLOC : QCOW2_KIND_ZERO;
    return has_place ? QCOW2_KIND_NONE_ALLOC : QCOW2_KIND_NONE;
}

/* One unit (cluster or subcluster) at an offset, its entry in place. */
static int decode(struct qcow2 *s, const uint8_t *entry, uint64_t offset,
                  struct qcow2_extent *out)
{
    uint64_t v = qcow2_be64(entry);
    uint64_t in_cluster = offset & (s->cluster_bytes - 1);
    uint64_t host = v & QCOW2_OFFSET_MASK;
    uint64_t unit = UINT64_C(1) << s->subcluster_bits;
    /* Offset 0 of a data file is a place like others (qcow2.txt, "Standard
     * Cluster Descriptor"). */
    bool has_place = host != 0 || (s->has_data_file && (v & QCOW2_COPIED));

    *out = (struct qcow2_extent){ .entry = v };
    if (v & QCOW2_COMPRESSED) {
        if (s->has_data_file)
            return qcow2_corrupt_locked(
                s,
                "compressed cluster at guest offset %#llx, though the data "
                "are in a file of their own",
                (unsigned long long)offset);
        out->kind = QCOW2_KIND_COMPRESSED;
        out->bytes = s->cluster_bytes - in_cluster;
        return 0;
    }
    out->bytes = unit - (offset & (unit - 1));
    out->is_copied = (v & QCOW2_COPIED) != 0;
    if ((host & (s->cluster_bytes - 1)) != 0)
        return qcow2_corrupt_locked(s, "data cluster at %#llx is not aligned",
                                    (unsigned long long)host);
    if (s->has_subclusters) {
        uint64_t bitmap = qcow2_be64(entry + 8);

        if ((bitmap & bitmap >> 32 & UINT32_MAX) != 0 ||
            (!has_place && (bitmap & UINT32_MAX) != 0))
            return qcow2_corrupt_locked(s,
                                        "subclusters of the cluster at "
                                        "guest offset %#llx are invalid",
                                        (unsigned long long)offset);
        out->kind = subcluster_kind(
            bitmap, (unsigned)(in_cluster >> s->subcluster_bits), has_place);
    } else if (s->h.version >= 3 && (v & QCOW2_ZERO)) {
        out->kind = has_place ? QCOW2_KIND_ZERO_ALLOC : QCOW2_KIND_ZERO;
    } else {
        out->kind = has_place ? QCOW2_KIND_DATA : QCOW2_KIND_NONE;
    }
    if (has_place) out->host = host + in_cluster;
    return 0;
}

static bool continues(const struct qcow2_extent *a,
                      const struct qcow2_extent *b)
{
    if (a->kind != b->kind || a->kind == QCOW2_KIND_COMPRESSED) return false;
    if (a->kind == QCOW2_KIND_NONE || a->kind == QCOW2_KIND_ZERO) return true;
    return a->host + a->bytes == b->host && a->is_copied == b->is_copied;
}

/* The slice, if it is in memory. */
static int peek_slice(struct qcow2 *s, uint64_t offset,
                      struct qcow2_table **out, uint32_t *at)
{
    struct spot x = find_spot(s, offset);
    uint64_t table;

    *out = NULL;
    if (x.l1_index >= s->h.l1_entries) return 0;
    table = s->l1[x.l1_index] & QCOW2_OFFSET_MASK;
    if (table == 0) return 0;
    *out =
        qcow2_cache_peek_locked(&s->l2_cache, slice_of(s, table, x.in_table));
    if (*out == NULL) return -EAGAIN;
    *at = (uint32_t)(x.in_table & (s->l2_cache.table_bytes - 1));
    (*out)->pins++;
    return 0;
}

int qcow2_map_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                     bool cached_only, struct qcow2_extent *out)
{
    struct qcow2_table *t;
    uint32_t at;
    int rc = cached_only ? peek_slice(s, offset, &t, &at)
                         : qcow2_l2_get_locked(s, offset, false, &t, &at);

    if (rc < 0) return rc;
    if (t == NULL) { /* no table: all of what it would cover */
        uint64_t span = UINT64_C(1) << (s->cluster_bits + s->l2_bits);

        *out = (struct qcow2_extent){ .kind = QCOW2_KIND_NONE,
                                      .bytes = span - (offset & (span - 1)) };
        if (out->bytes > bytes) out->bytes = bytes;
        return 0;
    }
    rc = decode(s, t->data + at, offset, out);
    while (rc == 0 && out->bytes < bytes) {
        uint64_t next = offset + out->bytes;
        struct qcow2_extent more;

        if ((next & (s->cluster_bytes - 1)) == 0) {
            at += s->l2_entry_bytes;
            if (at >= s->l2_cache.table_bytes) break;
        }
        rc = decode(s, t->data + at, next, &more);
        if (rc < 0 || !continues(out, &more)) {
            rc = 0; /* it will be met again, if it is wanted */
            break;
        }
        out->bytes += more.bytes;
    }
    qcow2_cache_put_locked(t);
    if (rc == 0 && out->bytes > bytes) out->bytes = bytes;
    return rc;
}

int qcow2_check_data_locked(struct qcow2 *s, uint64_t host, uint64_t bytes)
{
    if (!qcow2_meta_has_locked(s, host, bytes)) return 0;
    return qcow2_corrupt_locked(s, "data cluster at %#llx lies on metadata",
                                (unsigned long long)host);
}

/* -------------------------------------------------------- zero, discard */

/* Give back what an entry points to. */
static void free_entry(struct qcow2 *s, uint64_t v)
{
    uint64_t offset = v & QCOW2_OFFSET_MASK, bytes = s->cluster_bytes;

    if (v & QCOW2_COMPRESSED)
        qcow2_compressed_range(s->cluster_bits, v, &offset, &bytes);
    if (offset != 0) qcow2_free_locked(s, offset, bytes);
}

void qcow2_set_entry_locked(struct qcow2 *s, struct qcow2_table *t, uint32_t at,
                            uint64_t entry, uint64_t bitmap)
{
    uint64_t old = qcow2_be64(t->data + at);
    uint64_t old_place = old & QCOW2_COMPRESSED ? old : old & QCOW2_OFFSET_MASK;
    uint64_t place =
        entry & QCOW2_COMPRESSED ? entry : entry & QCOW2_OFFSET_MASK;

    if (old_place != place) free_entry(s, old);
    qcow2_put64(t->data + at, entry);
    if (s->has_subclusters) qcow2_put64(t->data + at + 8, bitmap);
    qcow2_cache_dirty_locked(&s->l2_cache, t, at, s->l2_entry_bytes);
}

/* Does the cluster read as it is to read already, without a place that is to
 * be given back? */
static bool is_cleared(const struct qcow2 *s, const uint8_t *entry,
                       bool to_zero, bool may_free)
{
    uint64_t v = qcow2_be64(entry);
    uint64_t bitmap = s->has_subclusters ? qcow2_be64(entry + 8) : 0;

    if (v & QCOW2_COMPRESSED) return false;
    if ((v & QCOW2_OFFSET_MASK) != 0 && may_free) return false;
    if (s->has_subclusters)
        return bitmap == (to_zero ? UINT64_C(0xffffffff00000000) : 0);
    if (s->h.version < 3) return (v & QCOW2_OFFSET_MASK) == 0 && !to_zero;
    if (to_zero) return (v & QCOW2_ZERO) != 0;
    return (v & (QCOW2_OFFSET_MASK | QCOW2_ZERO)) == 0;
}

/* What is not there reads as zeros. */
static bool reads_zero_anyway(const struct qcow2 *s)
{
    return s->n->backing_file == NULL && s->n->backing == NULL;
}

static void clear_entry(struct qcow2 *s, struct qcow2_table *t, uint32_t at,
                        bool to_zero, bool may_free)
{
    uint64_t v = qcow2_be64(t->data + at), entry = 0, bitmap = 0;

    if (is_cleared(s, t->data + at, to_zero, may_free)) return;
    if (to_zero && reads_zero_anyway(s) &&
        is_cleared(s, t->data + at, false, may_free))
        return;
    /* A place of our own may be kept for later writes. */
    if (to_zero && !may_free && (v & QCOW2_COPIED) && !(v & QCOW2_COMPRESSED))
        entry = (v & QCOW2_OFFSET_MASK) | QCOW2_COPIED;
    if (to_zero && s->has_subclusters) bitmap = UINT64_C(0xffffffff00000000);
    if (to_zero && !s->has_subclusters) entry |= QCOW2_ZERO;
    qcow2_set_entry_locked(s, t, at, entry, bitmap);
}

/* The clusters of one slice from offset on; how many octets of the disk. */
static int clear_slice(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                       bool to_zero, bool may_free, uint64_t *done)
{
    struct spot x = find_spot(s, offset);
    bool has_table = x.l1_index < s->h.l1_entries &&
                     (s->l1[x.l1_index] & QCOW2_OFFSET_MASK) != 0;
    uint64_t span = UINT64_C(1) << (s->cluster_bits + s->l2_bits);
    struct qcow2_table *t;
    uint32_t at;
    int rc;

    *done = span - (offset & (span - 1));
    if (!has_table && (!to_zero || reads_zero_anyway(s))) return 0;
    rc = qcow2_l2_get_locked(s, offset, true, &t, &at);
    if (rc < 0) return rc;
    for (*done = 0; *done < bytes && at < s->l2_cache.table_bytes;
         at += s->l2_entry_bytes, *done += s->cluster_bytes)
        clear_entry(s, t, at, to_zero, may_free);
    qcow2_cache_put_locked(t);
    return 0;
}

int qcow2_clear_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                       bool to_zero, bool may_free)
{
    while (bytes > 0) {
        uint64_t done;
        int rc = clear_slice(s, offset, bytes, to_zero, may_free, &done);

        if (rc < 0) return rc;
        if (done >= bytes) break;
        offset += done;
        bytes -= done;
    }
    return 0;
}

/* ---------------------------------------------------------------- claims */

static bool is_claimed(const struct qcow2 *s, uint64_t first, uint64_t end)
{
    for (const struct qcow2_claim *c = s->claims; c != NULL; c = c->next) {
        if (c->first < end && first < c->end) return true;
    }
    return false;
}

void qcow2_claim_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                        struct qcow2_claim *c)
{
    c->first = offset >> s->cluster_bits;
    c->end = qcow2_clusters(s, offset + bytes);
    while (is_claimed(s, c->first, c->end))
        pthread_cond_wait(&s->changed, &s->lock);
    c->next = s->claims;
    s->claims = c;
}

void qcow2_unclaim_locked(struct qcow2 *s, struct qcow2_claim *c)
{
    struct qcow2_claim **at = &s->claims;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    pthread_cond_broadcast(&s->changed);
}
