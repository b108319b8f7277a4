/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of qcow2 images that go beyond single refcounts: the flags "copied",
 * and a new set of refcounts. */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_ops.h"

typedef unsigned long long ull; /* for printf */

static bool is_one(const struct qcow2_count *k, uint64_t offset)
{
    uint64_t cluster = offset >> k->s->cluster_bits;

    return cluster < k->clusters &&
           (k->is_one[cluster / 64] >> cluster % 64 & 1);
}

/* Count a wrong flag; true: it is to be set right. */
static bool report(struct qcow2_count *k, const char *what, uint64_t number,
                   uint64_t entry)
{
    bool fix = (k->c->fix & IMAGE_FIX_ERRORS) != 0;
    uint64_t cluster = (entry & QCOW2_OFFSET_MASK) >> k->s->cluster_bits;
    uint64_t refcount = 0;

    if (k->refblock_errors == 0)
        qcow2_refcount_get_locked(k->s, cluster, &refcount);
    qcow2_check_line(k, "%s OFLAG_COPIED %s=%llu entry=%llx refcount=%llu",
                     fix ? "Repairing" : "ERROR", what, (ull)number, (ull)entry,
                     (ull)refcount);
    if (fix)
        k->c->corruptions_fixed++;
    else
        k->c->corruptions++;
    return fix;
}

static int check_l2(struct qcow2_count *k, uint64_t offset, uint8_t *buf)
{
    const struct qcow2 *s = k->s;
    bool has_changed = false;
    int rc = qcow2_check_read_l2(k, offset, buf);

    if (rc < 0) return 0; /* counted */
    for (uint32_t at = 0; at < s->cluster_bytes; at += s->l2_entry_bytes) {
        uint64_t entry = qcow2_be64(buf + at);
        uint64_t host = entry & QCOW2_OFFSET_MASK;

        if (host == 0 || s->has_data_file || (entry & QCOW2_COMPRESSED))
            continue;
        if ((host & (s->cluster_bytes - 1)) != 0) continue;
        if (is_one(k, host) == ((entry & QCOW2_COPIED) != 0)) continue;
        if (!report(k, "data cluster: l2_entry", at / s->l2_entry_bytes, entry))
            continue;
        qcow2_put64(buf + at, entry ^ QCOW2_COPIED);
        has_changed = true;
    }
    return has_changed ? node_pwrite(s->file, offset, buf, s->cluster_bytes)
                       : 0;
}

static int check_l1(struct qcow2_count *k, uint8_t *buf, bool *has_changed)
{
    struct qcow2 *s = k->s;

    for (uint32_t i = 0; i < s->h.l1_entries; i++) {
        uint64_t offset = s->l1[i] & QCOW2_OFFSET_MASK;
        int rc;

        if (offset == 0 || (offset & (s->cluster_bytes - 1)) != 0 ||
            offset + s->cluster_bytes > s->file->size_bytes)
            continue;
        if (is_one(k, offset) != ((s->l1[i] & QCOW2_COPIED) != 0) &&
            report(k, "L2 cluster: l1_index", i, s->l1[i])) {
            s->l1[i] ^= QCOW2_COPIED;
            *has_changed = true;
        }
        rc = check_l2(k, offset, buf);
        if (rc < 0) return rc;
    }
    return 0;
}

int qcow2_check_copied(struct qcow2_count *k)
{
    struct qcow2 *s = k->s;
    uint64_t fixed = k->c->corruptions_fixed;
    uint8_t *buf;
    bool has_changed = false;
    int rc;

    if (k->is_hopeless) return 0;
    buf = malloc(s->cluster_bytes);
    if (buf == NULL) return -ENOMEM;
    rc = check_l1(k, buf, &has_changed);
    if (rc == 0 && has_changed)
        rc = qcow2_table_write(s, s->h.l1_offset, s->l1, 0, s->h.l1_entries);
    if (fixed != k->c->corruptions_fixed) {
        qcow2_cache_forget_locked(&s->l2_cache, 0, UINT64_MAX);
        if (rc == 0) rc = node_flush(s->file);
    }
    free(buf);
    return rc;
}

/* -------------------------------------------------------------- rebuild */

/* A new table and blocks behind the end of the file. */
struct rebuild {
    uint64_t first;    /* cluster where they begin: the table, the blocks */
    uint64_t clusters; /* of the file then */
    uint64_t table, blocks;
    uint64_t *entries;
};

static void set_lengths(const struct qcow2 *s, struct rebuild *r)
{
    uint64_t last;

    r->table = r->blocks = r->clusters = 0;
    do {
        last = r->clusters;
        r->clusters = r->first + r->table + r->blocks;
        r->blocks = (r->clusters >> s->refblock_bits) + 1;
        r->table = qcow2_clusters(s, r->blocks * 8);
    } while (last != r->clusters);
}

/* Not where wrong entries point to: they would show the refcounts as data. */
static bool avoid_outside(const struct qcow2_count *k, struct rebuild *r)
{
    bool has_moved = false;

    for (unsigned i = 0; i < k->outside_count; i++) {
        const struct qcow2_span *o = &k->outside[i];

        if (o->last < r->first || o->first >= r->clusters) continue;
        r->first = o->last + 1;
        has_moved = true;
        set_lengths(k->s, r);
    }
    return has_moved;
}

static int plan(const struct qcow2_count *k, struct rebuild *r)
{
    const struct qcow2 *s = k->s;

    if (k->outside_count == QCOW2_MAX_OUTSIDE) return -EFBIG;
    r->first = k->clusters;
    do {
        set_lengths(s, r);
        if (r->clusters > (uint64_t)INT64_MAX >> s->cluster_bits) return -EFBIG;
    } while (avoid_outside(k, r));
    if (r->table << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) return -EFBIG;
    r->entries = calloc(r->table, s->cluster_bytes);
    if (r->entries == NULL) return -ENOMEM;
    for (uint64_t i = 0; i < r->blocks; i++)
        r->entries[i] = (r->first + r->table + i) << s->cluster_bits;
    return 0;
}

/* The old refcount structures are given up. */
static void uncount_old(struct qcow2_count *k)
{
    const struct qcow2 *s = k->s;
    uint64_t first = s->h.reftable_offset >> s->cluster_bits;

    for (uint64_t i = 0; i < s->h.reftable_clusters; i++) {
        if (first + i < k->clusters && k->refs[first + i] > 0)
            k->refs[first + i]--;
    }
    for (uint32_t i = 0; i < s->reftable_entries; i++) {
        uint64_t offset = s->reftable[i];
        uint64_t cluster = offset >> s->cluster_bits;

        if (offset != 0 && (offset & (s->cluster_bytes - 1)) == 0 &&
            cluster < k->clusters && k->refs[cluster] > 0)
            k->refs[cluster]--;
    }
}

static uint64_t count_of(const struct qcow2_count *k, const struct rebuild *r,
                         uint64_t cluster)
{
    if (cluster < k->clusters) return k->refs[cluster];
    return cluster >= r->first && cluster < r->clusters ? 1 : 0;
}

static int write_blocks(struct qcow2_count *k, const struct rebuild *r)
{
    const struct qcow2 *s = k->s;
    uint64_t per_block = UINT64_C(1) << s->refblock_bits;
    uint8_t *buf = malloc(s->cluster_bytes);
    int rc = buf == NULL ? -ENOMEM : 0;

    for (uint64_t b = 0; b < r->blocks && rc == 0; b++) {
        memset(buf, 0, s->cluster_bytes);
        for (uint64_t i = 0; i < per_block && rc == 0; i++) {
            uint64_t count = count_of(k, r, b * per_block + i);

            if (count > s->max_refcount) rc = -ERANGE;
            if (count != 0 && rc == 0)
                qcow2_refcount_set_entry(buf, s->h.refcount_order, i, count);
        }
        if (rc == 0)
            rc = node_pwrite(s->file, r->entries[b], buf, s->cluster_bytes);
    }
    free(buf);
    return rc;
}

/* The new table is the one that counts. */
static int switch_to(struct qcow2_count *k, const struct rebuild *r)
{
    struct qcow2 *s = k->s;
    struct qcow2_header old = s->h;
    uint64_t *old_table = s->reftable;
    uint32_t entries = (uint32_t)((r->table << s->cluster_bits) / 8);
    int rc;

    s->h.reftable_offset = r->first << s->cluster_bits;
    s->h.reftable_clusters = (uint32_t)r->table;
    rc = qcow2_table_write(s, s->h.reftable_offset, r->entries, 0, entries);
    if (rc == 0) rc = node_flush(s->file);
    if (rc == 0) rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0) {
        s->h = old;
        return rc;
    }
    qcow2_cache_forget_locked(&s->refcount_cache, 0, UINT64_MAX);
    s->reftable = r->entries;
    s->reftable_entries = entries;
    s->reftable_dirty_from = s->reftable_dirty_to = 0;
    s->free_hint = 0;
    s->compressed_next = 0;
    s->fresh_from = s->file->size_bytes;
    free(old_table);
    return qcow2_meta_rebuild_locked(s);
}

int qcow2_rebuild_refcounts(struct qcow2_count *k)
{
    struct rebuild r;
    int rc = plan(k, &r);

    if (rc < 0) return rc;
    uncount_old(k);
    rc = write_blocks(k, &r);
    if (rc < 0) {
        free(r.entries);
        return rc;
    }
    rc = switch_to(k, &r);
    if (rc < 0 && k->s->reftable != r.entries) free(r.entries);
    if (rc == 0) k->highest = r.clusters - 1;
    return rc;
}
