/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: metadata to the disk.
 *
 * A flush writes the refcount blocks, takes copies of what changed in the L2
 * tables, the L1 table and the refcount table, and lets the lock go.  Others
 * may go on changing the tables: what they do needs refcounts and data that
 * this flush does not cover, so it is the copies that are written:
 *
 *     refcount blocks | copies taken | fdatasync | refcount table, fdatasync
 *     (if it changed) | L2, L1 | fdatasync
 *
 * A failure makes all copied ranges dirty again.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR_MASK = BLOCK_SECTOR_BYTES - 1 };

/* A piece of the file to be written. */
struct piece {
    uint64_t table; /* L2 slice it belongs to */
    uint32_t from, bytes;
    uint8_t *data;
};
struct batch {
    struct piece *l2;
    unsigned l2_count;
    uint64_t *l1; /* from l1_from on, host byte order */
    uint32_t l1_from, l1_count;
    uint64_t *ref;
    uint32_t ref_from, ref_count;
    struct qcow2_ranges freed;
};

static int write_dirty(struct qcow2 *s, struct qcow2_cache *c,
                       struct qcow2_table *t)
{
    uint32_t from = t->dirty_from & ~(uint32_t)SECTOR_MASK;
    uint32_t to = (t->dirty_to + SECTOR_MASK) & ~(uint32_t)SECTOR_MASK;
    int rc;

    if (to > c->table_bytes) to = c->table_bytes;
    rc = node_pwrite(s->file, t->offset + from, t->data + from, to - from);
    if (rc < 0) return rc;
    t->dirty_to = 0;
    c->dirty--;
    return 0;
}

int qcow2_write_refcounts_locked(struct qcow2 *s)
{
    struct qcow2_cache *c = &s->refcount_cache;
    int rc = 0;

    for (struct qcow2_table *t = c->oldest;
         t != NULL && c->dirty > 0 && rc == 0; t = t->newer) {
        if (t->dirty_to > 0) rc = write_dirty(s, c, t);
    }
    return rc;
}

/* ---------------------------------------------------- refcount table moves */

/* The table grew in memory: give it a place where it fits, all at once. */
static int move_reftable_locked(struct qcow2 *s)
{
    uint32_t per_cluster = s->cluster_bytes / 8;
    uint32_t clusters, old_clusters = s->h.reftable_clusters;
    uint64_t old = s->h.reftable_offset, at;
    uint8_t b[12];
    int rc;

    if (s->reftable_entries / per_cluster == old_clusters) return 0;
    do { /* the table may grow again for its own sake */
        clusters = s->reftable_entries / per_cluster;
        rc = qcow2_alloc_locked(s, clusters, &at, NULL);
        if (rc < 0) return rc;
        if (clusters == s->reftable_entries / per_cluster) break;
        qcow2_unalloc_locked(s, at, (uint64_t)clusters << s->cluster_bits);
    } while (true);
    rc = qcow2_meta_add_locked(s, at, (uint64_t)clusters << s->cluster_bits);
    if (rc == 0) rc = qcow2_write_refcounts_locked(s);
    if (rc == 0)
        rc = qcow2_table_write(s, at, s->reftable, 0, s->reftable_entries);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0) {
        qcow2_meta_remove_locked(s, at, (uint64_t)clusters << s->cluster_bits);
        qcow2_unalloc_locked(s, at, (uint64_t)clusters << s->cluster_bits);
        return rc;
    }
    /* Offset and length lie in one sector of the header. */
    qcow2_put64(b, at);
    qcow2_put32(b + 8, clusters);
    rc = node_pwrite(s->file, 48, b, sizeof(b));
    if (rc < 0) return rc;
    s->h.reftable_offset = at;
    s->h.reftable_clusters = clusters;
    s->reftable_dirty_to = 0;
    qcow2_meta_remove_locked(s, old, (uint64_t)old_clusters << s->cluster_bits);
    /* Not used again before the flush this is part of is over. */
    qcow2_free_locked(s, old, (uint64_t)old_clusters << s->cluster_bits);
    return 0;
}

/* --------------------------------------------------------------- the batch */

static int copy_l2_locked(struct qcow2 *s, struct batch *b)
{
    struct qcow2_cache *c = &s->l2_cache;

    if (c->dirty == 0) return 0;
    b->l2 = calloc(c->dirty, sizeof(*b->l2));
    if (b->l2 == NULL) return -ENOMEM;
    for (struct qcow2_table *t = c->oldest; t != NULL; t = t->newer) {
        struct piece *p = &b->l2[b->l2_count];

        if (t->dirty_to == 0) continue;
        p->table = t->offset;
        p->from = t->dirty_from & ~(uint32_t)SECTOR_MASK;
        p->bytes =
            ((t->dirty_to + SECTOR_MASK) & ~(uint32_t)SECTOR_MASK) - p->from;
        p->data = malloc(p->bytes);
        if (p->data == NULL) return -ENOMEM;
        memcpy(p->data, t->data + p->from, p->bytes);
        b->l2_count++;
    }
    return 0;
}

static int copy_entries(const uint64_t *table, uint32_t from, uint32_t to,
                        uint64_t **out)
{
    *out = NULL;
    if (to == 0) return 0;
    *out = malloc((to - from) * sizeof(uint64_t));
    if (*out == NULL) return -ENOMEM;
    memcpy(*out, table + from, (to - from) * sizeof(uint64_t));
    return 0;
}

static void free_batch(struct batch *b)
{
    for (unsigned i = 0; i < b->l2_count; i++)
        free(b->l2[i].data);
    free(b->l2);
    free(b->l1);
    free(b->ref);
}

/* Copies of everything that changed; then it counts as clean. */
static int take_batch_locked(struct qcow2 *s, struct batch *b)
{
    int rc = copy_l2_locked(s, b);

    if (rc == 0)
        rc = copy_entries(s->l1, s->l1_dirty_from, s->l1_dirty_to, &b->l1);
    if (rc == 0 && !s->is_lazy)
        rc = copy_entries(s->reftable, s->reftable_dirty_from,
                          s->reftable_dirty_to, &b->ref);
    if (rc < 0) return rc;
    for (struct qcow2_table *t = s->l2_cache.oldest; t != NULL; t = t->newer) {
        if (t->dirty_to == 0) continue;
        t->dirty_to = 0;
        t->is_writing = true;
    }
    s->l2_cache.dirty = 0;
    if (b->l1 != NULL) {
        b->l1_from = s->l1_dirty_from;
        b->l1_count = s->l1_dirty_to - s->l1_dirty_from;
        s->l1_dirty_to = 0;
    }
    if (b->ref != NULL) {
        b->ref_from = s->reftable_dirty_from;
        b->ref_count = s->reftable_dirty_to - s->reftable_dirty_from;
        s->reftable_dirty_to = 0;
    }
    b->freed = s->freed;
    s->freed = (struct qcow2_ranges){ NULL, 0, 0 };
    return 0;
}

/* What was written before must not be taken for written after a failure: the
 * host may have dropped it. */
static int sync_file(struct qcow2 *s, bool *is_dead)
{
    int rc = node_flush(s->file);

    if (rc < 0) *is_dead = true;
    return rc;
}

static int write_batch(struct qcow2 *s, const struct batch *b, bool *is_dead)
{
    bool has_tables = b->l2_count > 0 || b->l1 != NULL;
    int rc = sync_file(s, is_dead);

    if (rc == 0 && b->ref != NULL) {
        rc = qcow2_table_write(s, s->h.reftable_offset + b->ref_from * 8ull,
                               b->ref, 0, b->ref_count);
        if (rc == 0) rc = sync_file(s, is_dead);
    }
    for (unsigned i = 0; i < b->l2_count && rc == 0; i++) {
        const struct piece *p = &b->l2[i];

        rc = node_pwrite(s->file, p->table + p->from, p->data, p->bytes);
    }
    if (rc == 0 && b->l1 != NULL)
        rc = qcow2_table_write(s, s->h.l1_offset + b->l1_from * 8ull, b->l1, 0,
                               b->l1_count);
    if (rc == 0 && has_tables) rc = sync_file(s, is_dead);
    return rc;
}

static void mark_entries(uint32_t *dirty_from, uint32_t *dirty_to,
                         uint32_t from, uint32_t count)
{
    if (count == 0) return;
    if (*dirty_to == 0 || from < *dirty_from) *dirty_from = from;
    if (from + count > *dirty_to) *dirty_to = from + count;
}

static void add_ranges(struct qcow2_ranges *to, struct qcow2_ranges *from)
{
    struct qcow2_range *v;

    if (to->count == 0) {
        struct qcow2_ranges old = *to;

        *to = *from;
        *from = old;
        return;
    }
    if (from->count == 0) return;
    v = realloc(to->v, (to->count + from->count) * sizeof(*v));
    if (v == NULL) return; /* those leak */
    memcpy(v + to->count, from->v, from->count * sizeof(*v));
    to->v = v;
    to->count += from->count;
    to->cap = to->count;
}

/* The batch reached the disk (rc 0) or counts as changed again. */
static void end_batch_locked(struct qcow2 *s, struct batch *b, int rc)
{
    for (unsigned i = 0; i < b->l2_count; i++) {
        const struct piece *p = &b->l2[i];
        struct qcow2_table *t = qcow2_cache_peek_locked(&s->l2_cache, p->table);

        if (t == NULL) continue;
        t->is_writing = false;
        if (rc < 0)
            qcow2_cache_dirty_locked(&s->l2_cache, t, p->from, p->bytes);
    }
    if (rc < 0) {
        mark_entries(&s->l1_dirty_from, &s->l1_dirty_to, b->l1_from,
                     b->l1_count);
        mark_entries(&s->reftable_dirty_from, &s->reftable_dirty_to,
                     b->ref_from, b->ref_count);
    }
    add_ranges(rc < 0 ? &s->freed : &s->written, &b->freed);
    free(b->freed.v);
}

static bool is_clean_locked(const struct qcow2 *s)
{
    return s->l2_cache.dirty == 0 && s->l1_dirty_to == 0 &&
           s->freed.count == 0 &&
           (s->is_lazy ||
            (s->refcount_cache.dirty == 0 && s->reftable_dirty_to == 0));
}

/* Data alone: nobody has to wait for each other. */
static int flush_data_locked(struct qcow2 *s, bool keeps_lock)
{
    int rc;

    if (!keeps_lock) pthread_mutex_unlock(&s->lock);
    rc = node_flush(s->file);
    if (!keeps_lock) pthread_mutex_lock(&s->lock);
    if (rc < 0) s->is_dead = true;
    return rc;
}

static int flush_tables_locked(struct qcow2 *s, bool keeps_lock)
{
    struct batch b = { .l2 = NULL };
    bool is_dead = false;
    int rc = 0;

    if (!s->is_lazy) rc = move_reftable_locked(s);
    if (rc == 0 && !s->is_lazy) rc = qcow2_write_refcounts_locked(s);
    if (rc == 0) rc = take_batch_locked(s, &b);
    if (rc < 0) {
        free_batch(&b);
        return rc;
    }
    if (!keeps_lock) pthread_mutex_unlock(&s->lock);
    rc = write_batch(s, &b, &is_dead);
    if (!keeps_lock) pthread_mutex_lock(&s->lock);
    if (is_dead) s->is_dead = true;
    end_batch_locked(s, &b, rc);
    free_batch(&b);
    return rc;
}

int qcow2_flush_locked(struct qcow2 *s, bool keeps_lock)
{
    int rc;

    while (s->is_flushing)
        pthread_cond_wait(&s->changed, &s->lock);
    if (s->is_dead) return -EIO;
    if (is_clean_locked(s)) return flush_data_locked(s, keeps_lock);
    if (s->is_corrupt) return -EIO;
    s->is_flushing = true;
    rc = flush_tables_locked(s, keeps_lock);
    s->is_flushing = false;
    pthread_cond_broadcast(&s->changed);
    if (rc == 0) rc = qcow2_apply_freed_locked(s);
    return rc;
}

int qcow2_settle_locked(struct qcow2 *s)
{
    bool is_lazy = s->is_lazy;
    int rc = 0;

    s->is_lazy = false; /* this once the refcounts are written as well */
    for (int i = 0; i < 3 && rc == 0; i++) {
        if (is_clean_locked(s)) break; /* tables; data are not asked for */
        rc = qcow2_flush_locked(s, true);
    }
    s->is_lazy = is_lazy;
    return rc;
}
