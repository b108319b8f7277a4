/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shadow update of qcow2 metadata.
 *
 * A snapshot changes the refcounts of all clusters and, with them, the flag
 * "copied" in all L2 entries: done in place, every moment in between is an
 * image that check calls corrupt.  The header holds the places of the L1
 * table, the refcount table and the snapshot table in one sector.  So new
 * copies of all tables that change are written to clusters that are free in
 * the image as it is, and one write of the header switches to them.  A crash
 * before it leaves the old image, not even a leak; after it, the new one.
 *
 * Memory: four octets for each cluster of the file, mapped, so what is sparse
 * costs nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "block/qcow2_ops.h"

enum {
    MAX_BEYOND = 4096, /* refcount blocks behind the end of the file */
    SPARE_CLUSTERS = 65536,
};

/* -------------------------------------------------------------- loading */

static void *map_zeros(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* How far the refcount blocks reach; -EIO when one is not where it may be. */
static int find_covered(struct qcow2_shadow *sh)
{
    const struct qcow2 *s = sh->s;
    uint64_t end = qcow2_clusters(s, s->file->size_bytes), beyond = 0;

    sh->covered = 0;
    for (uint32_t i = 0; i < s->reftable_entries; i++) {
        uint64_t offset = s->reftable[i];
        uint64_t first = (uint64_t)i << s->refblock_bits;

        if (offset == 0) continue;
        if ((offset & (s->cluster_bytes - 1)) != 0 ||
            offset + s->cluster_bytes > s->file->size_bytes ||
            offset > INT64_MAX)
            return -EIO;
        if (first >= end && ++beyond > MAX_BEYOND) return -EIO;
        sh->covered = first + (UINT64_C(1) << s->refblock_bits);
    }
    return 0;
}

static int load_refcounts(struct qcow2_shadow *sh)
{
    const struct qcow2 *s = sh->s;
    uint64_t per_block = UINT64_C(1) << s->refblock_bits;

    for (uint64_t b = 0; b << s->refblock_bits < sh->covered; b++) {
        uint16_t *old = sh->old + b * per_block;
        int rc;

        if (s->reftable[b] == 0) continue;
        rc = node_pread(s->file, s->reftable[b], sh->buf, s->cluster_bytes);
        if (rc < 0) return rc;
        for (uint64_t i = 0; i < per_block; i++) {
            uint64_t v = qcow2_refcount_entry(sh->buf, s->h.refcount_order, i);

            if (v > UINT16_MAX) return -EIO;
            if (v == 0) continue;
            old[i] = (uint16_t)v;
            sh->top = b * per_block + i + 1;
        }
        memcpy(sh->now + b * per_block, old, per_block * sizeof(*old));
    }
    return 0;
}

static int open_arrays(struct qcow2_shadow *sh, uint64_t extra)
{
    const struct qcow2 *s = sh->s;
    uint64_t most = (uint64_t)s->cluster_bytes * 8; /* in a refcount block */
    uint64_t end = qcow2_clusters(s, s->file->size_bytes);
    int rc = find_covered(sh);

    if (rc < 0) return rc;
    if (end < sh->covered) end = sh->covered;
    if (extra > (uint64_t)INT64_MAX >> s->cluster_bits) return -EFBIG;
    sh->clusters =
        (2 * end + extra + extra / 8 + SPARE_CLUSTERS + most - 1) / most * most;
    if (sh->clusters > SIZE_MAX / 4) return -EFBIG;
    sh->bytes = (size_t)sh->clusters * sizeof(sh->old[0]);
    sh->old = map_zeros(sh->bytes);
    sh->now = map_zeros(sh->bytes);
    sh->buf = malloc(s->cluster_bytes);
    if (sh->old == NULL || sh->now == NULL || sh->buf == NULL) return -ENOMEM;
    return load_refcounts(sh);
}

int qcow2_shadow_open_locked(struct qcow2 *s, struct qcow2_shadow *sh,
                             uint64_t extra, struct err *e)
{
    int rc = qcow2_begin_tables_locked(s);

    *sh = (struct qcow2_shadow){ .s = s };
    if (rc == 0) rc = qcow2_settle_locked(s);
    if (rc == 0) {
        sh->h = s->h;
        rc = open_arrays(sh, extra);
    }
    if (rc == 0) return 0;
    qcow2_shadow_close(sh);
    if (rc == -EIO)
        return err_set(e, rc,
                       "%s: cannot be changed: errors in the image or "
                       "of the disk; check the image",
                       s->n->name);
    return err_set(e, rc, "%s: cannot be changed: %s", s->n->name,
                   strerror(-rc));
}

void qcow2_shadow_close(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;

    if (s->fresh_from < s->file->size_bytes)
        s->fresh_from = s->file->size_bytes;
    if (sh->old != NULL) munmap(sh->old, sh->bytes);
    if (sh->now != NULL) munmap(sh->now, sh->bytes);
    free(sh->l1);
    free(sh->place);
    free(sh->buf);
    *sh = (struct qcow2_shadow){ .s = s };
}

/* ----------------------------------------------------------- references */

int qcow2_shadow_ref(struct qcow2_shadow *sh, uint64_t offset, uint64_t bytes,
                     int delta)
{
    unsigned bits = sh->s->cluster_bits;
    uint64_t max = sh->s->max_refcount, first = offset >> bits, last;

    if (bytes == 0) return 0;
    last = (offset + bytes - 1) >> bits;
    if (offset + bytes < offset || last >= sh->covered) {
        /* Only what was allocated here lies behind the refcount blocks. */
        if (last >= sh->clusters || sh->now[first] == 0) return -EIO;
    }
    if (max > UINT16_MAX) max = UINT16_MAX;
    for (; first <= last; first++) {
        int64_t v = (int64_t)sh->now[first] + delta;

        if (v < 0) return -EIO;
        if ((uint64_t)v > max) return -ERANGE;
        sh->now[first] = (uint16_t)v;
        if (first >= sh->top) sh->top = first + 1;
        if (v == 0 && first < sh->cursor) sh->cursor = first;
    }
    return 0;
}

int qcow2_shadow_alloc(struct qcow2_shadow *sh, uint64_t bytes,
                       uint64_t *offset)
{
    uint64_t want = qcow2_clusters(sh->s, bytes), run = 0, at = sh->cursor;

    for (; run < want; at++) {
        if (at >= sh->clusters) return -EFBIG;
        run = (sh->old[at] | sh->now[at]) == 0 ? run + 1 : 0;
    }
    at -= want;
    for (uint64_t i = 0; i < want; i++)
        sh->now[at + i] = 1;
    if (want == 1) sh->cursor = at + 1;
    if (at + want > sh->top) sh->top = at + want;
    *offset = at << sh->s->cluster_bits;
    return 0;
}

static int check_l2_place(const struct qcow2_shadow *sh, uint64_t offset)
{
    const struct qcow2 *s = sh->s;

    if ((offset & (s->cluster_bytes - 1)) != 0 ||
        offset + s->cluster_bytes > s->file->size_bytes)
        return -EIO;
    return 0;
}

static int walk_l2(struct qcow2_shadow *sh, int delta)
{
    const struct qcow2 *s = sh->s;
    int rc = 0;

    for (uint32_t at = 0; at < s->cluster_bytes && rc == 0;
         at += s->l2_entry_bytes) {
        uint64_t entry = qcow2_be64(sh->buf + at);
        uint64_t offset = entry & QCOW2_OFFSET_MASK, bytes = s->cluster_bytes;

        if (entry & QCOW2_COMPRESSED)
            qcow2_compressed_range(s->cluster_bits, entry, &offset, &bytes);
        else if (offset == 0)
            continue;
        else if ((offset & (s->cluster_bytes - 1)) != 0)
            return -EIO;
        rc = qcow2_shadow_ref(sh, offset, bytes, delta);
    }
    return rc;
}

int qcow2_shadow_walk(struct qcow2_shadow *sh, const uint64_t *l1,
                      uint32_t first, uint32_t end, int delta)
{
    struct qcow2 *s = sh->s;
    int rc = 0;

    for (uint32_t i = first; i < end && rc == 0; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;

        if (offset == 0) continue;
        rc = check_l2_place(sh, offset);
        if (rc == 0)
            rc = node_pread(s->file, offset, sh->buf, s->cluster_bytes);
        if (rc == 0) rc = walk_l2(sh, delta);
        if (rc == 0) rc = qcow2_shadow_ref(sh, offset, s->cluster_bytes, delta);
    }
    return rc;
}

/* -------------------------------------------------------------- L1 table */

/* Flags of the L2 table in sh->buf as they are to be; true: some changed. */
static bool fix_flags(struct qcow2_shadow *sh)
{
    const struct qcow2 *s = sh->s;
    bool has_changed = false;

    for (uint32_t at = 0; at < s->cluster_bytes; at += s->l2_entry_bytes) {
        uint64_t entry = qcow2_be64(sh->buf + at);
        uint64_t cluster = (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits;
        bool is_one;

        if ((entry & QCOW2_COMPRESSED) || cluster == 0) continue;
        is_one = cluster < sh->clusters && sh->now[cluster] == 1;
        if (is_one == ((entry & QCOW2_COPIED) != 0)) continue;
        qcow2_put64(sh->buf + at, entry ^ QCOW2_COPIED);
        has_changed = true;
    }
    return has_changed;
}

static int fix_entry(struct qcow2_shadow *sh, uint64_t *entry)
{
    const struct qcow2 *s = sh->s;
    uint64_t offset = *entry & QCOW2_OFFSET_MASK;
    int rc = check_l2_place(sh, offset);

    if (rc == 0) rc = node_pread(s->file, offset, sh->buf, s->cluster_bytes);
    if (rc < 0) return rc;
    if (!fix_flags(sh)) {
        *entry = offset;
        if (sh->now[offset >> s->cluster_bits] == 1) *entry |= QCOW2_COPIED;
        return 0;
    }
    rc = qcow2_shadow_ref(sh, offset, s->cluster_bytes, -1);
    if (rc == 0) rc = qcow2_shadow_alloc(sh, s->cluster_bytes, &offset);
    if (rc == 0) rc = node_pwrite(s->file, offset, sh->buf, s->cluster_bytes);
    *entry = offset | QCOW2_COPIED;
    return rc;
}

int qcow2_shadow_set_l1(struct qcow2_shadow *sh, uint64_t *l1, uint32_t entries)
{
    struct qcow2 *s = sh->s;
    uint64_t offset;
    int rc = 0;

    free(sh->l1);
    sh->l1 = l1;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        if ((l1[i] & QCOW2_OFFSET_MASK) == 0)
            l1[i] = 0;
        else
            rc = fix_entry(sh, &l1[i]);
    }
    if (rc == 0 && s->h.l1_entries > 0)
        rc = qcow2_shadow_ref(sh, s->h.l1_offset, (uint64_t)s->h.l1_entries * 8,
                              -1);
    if (rc == 0) rc = qcow2_shadow_alloc(sh, (uint64_t)entries * 8, &offset);
    if (rc == 0) rc = qcow2_table_write(s, offset, l1, 0, entries);
    if (rc < 0) return rc;
    sh->h.l1_offset = offset;
    sh->h.l1_entries = entries;
    return 0;
}

/* --------------------------------------------------------------- commit */

static uint64_t blocks_in_use(const struct qcow2_shadow *sh)
{
    return (sh->top >> sh->s->refblock_bits) + 1;
}

static bool has_changed(const struct qcow2_shadow *sh, uint64_t block)
{
    unsigned bits = sh->s->refblock_bits;
    size_t bytes = sizeof(uint16_t) << bits;
    const uint16_t *now = sh->now + (block << bits);

    if (sh->is_all_new) return !buf_is_zero(now, bytes);
    return memcmp(sh->old + (block << bits), now, bytes) != 0;
}

/* With what is still to be allocated. */
static uint64_t blocks_needed(const struct qcow2_shadow *sh)
{
    uint64_t blocks = blocks_in_use(sh), top = sh->top;

    top += 2 * blocks + qcow2_clusters(sh->s, blocks * 8) + 2;
    return (top >> sh->s->refblock_bits) + 1;
}

/* Place of the new refcount table; all blocks where they are. */
static int place_table(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;
    uint64_t blocks = blocks_needed(sh), bytes;
    int rc;

    if (blocks < s->reftable_entries) blocks = s->reftable_entries;
    bytes = qcow2_round_up(s, blocks * 8);
    if (bytes > QCOW2_MAX_REFTABLE_BYTES ||
        blocks << s->refblock_bits > sh->clusters) {
        bytes = (uint64_t)s->h.reftable_clusters << s->cluster_bits;
        blocks = bytes / 8;
        if (blocks_needed(sh) > blocks) return -EFBIG;
    }
    sh->places = (uint32_t)(bytes / 8);
    sh->place = calloc(sh->places, sizeof(*sh->place));
    if (sh->place == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < s->reftable_entries && i < sh->places; i++)
        sh->place[i] = s->reftable[i];
    rc = qcow2_shadow_ref(sh, s->h.reftable_offset,
                          (uint64_t)s->h.reftable_clusters << s->cluster_bits,
                          -1);
    if (rc == 0) rc = qcow2_shadow_alloc(sh, bytes, &sh->h.reftable_offset);
    sh->h.reftable_clusters = (uint32_t)(bytes >> s->cluster_bits);
    return rc;
}

/* New places for the refcount blocks that change, which changes others. */
static int place_blocks(struct qcow2_shadow *sh, bool *is_moved)
{
    const struct qcow2 *s = sh->s;
    bool again = true;
    int rc = 0;

    while (again) {
        again = false;
        for (uint64_t b = 0; b < blocks_in_use(sh); b++) {
            if (is_moved[b] || !has_changed(sh, b)) continue;
            if (b >= sh->places) return -EFBIG;
            if (sh->place[b] != 0)
                rc = qcow2_shadow_ref(sh, sh->place[b], s->cluster_bytes, -1);
            if (rc == 0)
                rc = qcow2_shadow_alloc(sh, s->cluster_bytes, &sh->place[b]);
            if (rc < 0) return rc;
            is_moved[b] = again = true;
        }
    }
    return 0;
}

static int write_blocks(struct qcow2_shadow *sh, const bool *is_moved)
{
    const struct qcow2 *s = sh->s;
    uint64_t per_block = UINT64_C(1) << s->refblock_bits;
    int rc = 0;

    for (uint64_t b = 0; b < blocks_in_use(sh) && rc == 0; b++) {
        const uint16_t *now = sh->now + b * per_block;

        if (!is_moved[b]) continue;
        memset(sh->buf, 0, s->cluster_bytes);
        for (uint64_t i = 0; i < per_block; i++) {
            if (now[i] != 0)
                qcow2_refcount_set_entry(sh->buf, s->h.refcount_order, i,
                                         now[i]);
        }
        rc = node_pwrite(s->file, sh->place[b], sh->buf, s->cluster_bytes);
    }
    return rc;
}

/* The new tables are the ones in use; memory follows the file. */
static int install(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;

    free(s->reftable);
    s->reftable = sh->place;
    s->reftable_entries = sh->places;
    s->reftable_dirty_from = s->reftable_dirty_to = 0;
    sh->place = NULL;
    if (sh->l1 != NULL) {
        free(s->l1);
        s->l1 = sh->l1;
        sh->l1 = NULL;
        s->l1_dirty_from = s->l1_dirty_to = 0;
    }
    s->free_hint = 0;
    s->compressed_next = 0;
    qcow2_cache_forget_locked(&s->l2_cache, 0, UINT64_MAX);
    qcow2_cache_forget_locked(&s->refcount_cache, 0, UINT64_MAX);
    return qcow2_meta_rebuild_locked(s);
}

static int write_tables(struct qcow2_shadow *sh)
{
    uint64_t count = sh->clusters >> sh->s->refblock_bits;
    bool *is_moved = calloc(count, sizeof(*is_moved));
    int rc = is_moved == NULL ? -ENOMEM : place_table(sh);

    if (rc == 0) rc = place_blocks(sh, is_moved);
    if (rc == 0) rc = write_blocks(sh, is_moved);
    if (rc == 0)
        rc = qcow2_table_write(sh->s, sh->h.reftable_offset, sh->place, 0,
                               sh->places);
    if (rc == 0) rc = node_flush(sh->s->file);
    free(is_moved);
    return rc;
}

int qcow2_shadow_commit(struct qcow2_shadow *sh, struct err *e)
{
    struct qcow2 *s = sh->s;
    struct qcow2_header old = s->h;
    int rc = write_tables(sh);

    if (rc == 0) {
        s->h = sh->h;
        rc = qcow2_header_update_locked(s);
        if (rc == 0) rc = node_flush(s->file);
        if (rc < 0) {
            /* Which of the two the disk has is not known. */
            s->h = old;
            s->is_dead = s->is_corrupt = true;
        }
    }
    if (rc == 0) rc = install(sh);
    if (rc < 0)
        return err_set(e, rc, "%s: cannot be changed: %s", s->n->name,
                       strerror(-rc));
    return 0;
}

void qcow2_shadow_discard(struct qcow2_shadow *sh)
{
    unsigned bits = sh->s->cluster_bits;
    uint64_t end = qcow2_clusters(sh->s, sh->s->file->size_bytes), run = 0;

    for (uint64_t i = 0; i <= end && i < sh->clusters; i++) {
        if (i < end && sh->old[i] != 0 && sh->now[i] == 0) {
            run++;
            continue;
        }
        /* Advice: nothing is wrong if it is not taken. */
        if (run > 0) node_discard(sh->s->file, (i - run) << bits, run << bits);
        run = 0;
    }
}
