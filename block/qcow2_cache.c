/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: cache of metadata tables (L2 slices, refcount blocks). */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_TABLES = 4, MIN_BUCKETS = 64, MAX_LOOK = 256 };

int qcow2_cache_open(struct qcow2_cache *c, uint32_t table_bytes,
                     uint64_t max_bytes)
{
    uint64_t max = max_bytes / table_bytes;

    *c = (struct qcow2_cache){ .table_bytes = table_bytes };
    c->max = max < MIN_TABLES ? MIN_TABLES : (unsigned)max;
    for (c->buckets = MIN_BUCKETS; c->buckets < c->max; c->buckets *= 2)
        continue;
    c->bucket = calloc(c->buckets, sizeof(*c->bucket));
    return c->bucket == NULL ? -ENOMEM : 0;
}

static unsigned bucket_of(const struct qcow2_cache *c, uint64_t offset)
{
    uint64_t i = offset / c->table_bytes;

    return (unsigned)((i ^ i >> 16) & (c->buckets - 1));
}

static void unlink_lru(struct qcow2_cache *c, struct qcow2_table *t)
{
    if (t->newer != NULL)
        t->newer->older = t->older;
    else
        c->newest = t->older;
    if (t->older != NULL)
        t->older->newer = t->newer;
    else
        c->oldest = t->newer;
}

static void link_newest(struct qcow2_cache *c, struct qcow2_table *t)
{
    t->newer = NULL;
    t->older = c->newest;
    if (c->newest != NULL) c->newest->newer = t;
    c->newest = t;
    if (c->oldest == NULL) c->oldest = t;
}

static void unlink_hash(struct qcow2_cache *c, const struct qcow2_table *t)
{
    struct qcow2_table **at = &c->bucket[bucket_of(c, t->offset)];

    while (*at != t)
        at = &(*at)->hash_next;
    *at = t->hash_next;
}

static void drop(struct qcow2_cache *c, struct qcow2_table *t)
{
    unlink_hash(c, t);
    unlink_lru(c, t);
    if (t->dirty_to > 0) c->dirty--;
    c->count--;
    free(t->data);
    free(t);
}

void qcow2_cache_close(struct qcow2_cache *c)
{
    while (c->oldest != NULL)
        drop(c, c->oldest);
    free(c->bucket);
    c->bucket = NULL;
}

struct qcow2_table *qcow2_cache_peek_locked(struct qcow2_cache *c,
                                            uint64_t offset)
{
    struct qcow2_table *t = c->bucket[bucket_of(c, offset)];

    while (t != NULL && t->offset != offset)
        t = t->hash_next;
    return t;
}

/* Make room for one more.  1: the lock may have been released. */
static int make_room(struct qcow2 *s, struct qcow2_cache *c)
{
    int rc, looked = 0;

    if (c->count < c->max) return 0;
    for (struct qcow2_table *t = c->oldest; t != NULL; t = t->newer) {
        if (++looked > MAX_LOOK && c->dirty > 0) break; /* write them all */
        if (t->pins > 0 || t->dirty_to > 0 || t->is_writing) continue;
        drop(c, t);
        return 0;
    }
    if (c->dirty == 0) return 0; /* all pinned: one more than wanted */
    rc = c == &s->refcount_cache ? qcow2_write_refcounts_locked(s)
                                 : qcow2_flush_locked(s, true);
    return rc < 0 ? rc : 1;
}

static int load(struct qcow2 *s, struct qcow2_cache *c, uint64_t offset,
                struct qcow2_table **out)
{
    struct qcow2_table *t = calloc(1, sizeof(*t));
    int rc = -ENOMEM;

    if (t != NULL) t->data = malloc(c->table_bytes);
    if (t != NULL && t->data != NULL)
        rc = node_pread(s->file, offset, t->data, c->table_bytes);
    if (rc < 0) {
        if (t != NULL) free(t->data);
        free(t);
        return rc;
    }
    t->offset = offset;
    t->hash_next = c->bucket[bucket_of(c, offset)];
    c->bucket[bucket_of(c, offset)] = t;
    link_newest(c, t);
    c->count++;
    *out = t;
    return 0;
}

int qcow2_cache_get_locked(struct qcow2 *s, struct qcow2_cache *c,
                           uint64_t offset, struct qcow2_table **out)
{
    struct qcow2_table *t;
    int rc, tries = 0;

    while ((t = qcow2_cache_peek_locked(c, offset)) == NULL) {
        rc = tries++ < 3 ? make_room(s, c) : 0;
        if (rc < 0) return rc;
        if (rc > 0) continue;
        rc = load(s, c, offset, &t);
        if (rc < 0) return rc;
        break;
    }
    if (t != c->newest) {
        unlink_lru(c, t);
        link_newest(c, t);
    }
    t->pins++;
    *out = t;
    return 0;
}

void qcow2_cache_put_locked(struct qcow2_table *t)
{
    t->pins--;
}

void qcow2_cache_dirty_locked(struct qcow2_cache *c, struct qcow2_table *t,
                              uint32_t from, uint32_t bytes)
{
    if (t->dirty_to == 0) {
        c->dirty++;
        t->dirty_from = from;
        t->dirty_to = from + bytes;
        return;
    }
    if (from < t->dirty_from) t->dirty_from = from;
    if (from + bytes > t->dirty_to) t->dirty_to = from + bytes;
}

void qcow2_cache_forget_locked(struct qcow2_cache *c, uint64_t offset,
                               uint64_t bytes)
{
    struct qcow2_table *next;

    if (bytes / c->table_bytes <= MAX_LOOK) { /* tables do not cross those */
        for (uint64_t at = 0; at < bytes; at += c->table_bytes) {
            next = qcow2_cache_peek_locked(c, offset + at);
            if (next != NULL) drop(c, next);
        }
        return;
    }
    for (struct qcow2_table *t = c->oldest; t != NULL; t = next) {
        next = t->newer;
        if (t->offset >= offset && t->offset - offset < bytes) drop(c, t);
    }
}
