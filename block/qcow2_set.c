/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the set of clusters that hold metadata (open addressing). */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>

enum { MIN_SLOTS = 64 };

static size_t slot_of(const struct qcow2_set *set, uint64_t cluster)
{
    return (size_t)(cluster * UINT64_C(0x9e3779b97f4a7c15) >> 20) &
           (set->cap - 1);
}

static void put(struct qcow2_set *set, uint64_t cluster)
{
    size_t i = slot_of(set, cluster);

    while (set->slot[i] != 0) {
        if (set->slot[i] == cluster + 1) return;
        i = (i + 1) & (set->cap - 1);
    }
    set->slot[i] = cluster + 1;
    set->count++;
}

static int grow(struct qcow2_set *set)
{
    struct qcow2_set bigger = { .cap =
                                    set->cap > 0 ? set->cap * 2 : MIN_SLOTS };

    bigger.slot = calloc(bigger.cap, sizeof(*bigger.slot));
    if (bigger.slot == NULL) return -ENOMEM;
    for (size_t i = 0; i < set->cap; i++) {
        if (set->slot[i] != 0) put(&bigger, set->slot[i] - 1);
    }
    free(set->slot);
    *set = bigger;
    return 0;
}

static bool has(const struct qcow2_set *set, uint64_t cluster)
{
    if (set->cap == 0) return false;
    for (size_t i = slot_of(set, cluster); set->slot[i] != 0;
         i = (i + 1) & (set->cap - 1)) {
        if (set->slot[i] == cluster + 1) return true;
    }
    return false;
}

/* Take one out and move those behind it, which may belong further ahead. */
static void take(struct qcow2_set *set, uint64_t cluster)
{
    size_t i;

    if (!has(set, cluster)) return;
    i = slot_of(set, cluster);
    while (set->slot[i] != cluster + 1)
        i = (i + 1) & (set->cap - 1);
    set->slot[i] = 0;
    set->count--;
    for (i = (i + 1) & (set->cap - 1); set->slot[i] != 0;
         i = (i + 1) & (set->cap - 1)) {
        uint64_t other = set->slot[i] - 1;

        set->slot[i] = 0;
        set->count--;
        put(set, other);
    }
}

int qcow2_meta_add_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    uint64_t end = qcow2_clusters(s, offset + bytes);
    int rc = 0;

    for (uint64_t c = offset >> s->cluster_bits; c < end && rc == 0; c++) {
        if (s->metadata.count * 2 >= s->metadata.cap) rc = grow(&s->metadata);
        if (rc == 0) put(&s->metadata, c);
    }
    return rc;
}

void qcow2_meta_remove_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    uint64_t end = qcow2_clusters(s, offset + bytes);

    for (uint64_t c = offset >> s->cluster_bits; c < end; c++)
        take(&s->metadata, c);
}

bool qcow2_meta_has_locked(const struct qcow2 *s, uint64_t offset,
                           uint64_t bytes)
{
    uint64_t end = qcow2_clusters(s, offset + bytes);

    for (uint64_t c = offset >> s->cluster_bits; c < end; c++) {
        if (has(&s->metadata, c)) return true;
    }
    return false;
}

static int add_entries(struct qcow2 *s, const uint64_t *table, uint32_t count,
                       uint64_t mask)
{
    uint64_t end = s->file->size_bytes;
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        uint64_t offset = table[i] & mask;

        if (offset != 0 && offset < end)
            rc = qcow2_meta_add_locked(s, offset, 1);
    }
    return rc;
}

int qcow2_meta_rebuild_locked(struct qcow2 *s)
{
    int rc;

    free(s->metadata.slot);
    s->metadata = (struct qcow2_set){ NULL, 0, 0 };
    rc = qcow2_meta_add_locked(s, 0, 1);
    if (rc == 0)
        rc = qcow2_meta_add_locked(s, s->h.l1_offset,
                                   (uint64_t)s->h.l1_entries * 8);
    if (rc == 0)
        rc = qcow2_meta_add_locked(s, s->h.reftable_offset,
                                   (uint64_t)s->h.reftable_clusters
                                       << s->cluster_bits);
    if (rc == 0) rc = add_entries(s, s->l1, s->h.l1_entries, QCOW2_OFFSET_MASK);
    if (rc == 0)
        rc = add_entries(s, s->reftable, s->reftable_entries,
                         QCOW2_REFTABLE_MASK);
    return rc;
}
