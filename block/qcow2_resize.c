/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: another disk size, and no contents at all.  Larger: more L1 entries if
 * need be, then the size in the header.  Smaller, emptied or preallocated: a
 * shadow update, so that the clusters change hands in one step.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_ops.h"

static int set_size_locked(struct qcow2 *s, uint64_t size_bytes)
{
    uint64_t old = s->h.size_bytes;
    int rc;

    s->h.size_bytes = size_bytes;
    rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0)
        s->h.size_bytes = old;
    else
        s->n->size_bytes = size_bytes;
    return rc;
}

/* The file ends with the last cluster in use. */
static void cut_file(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;
    uint64_t top = sh->top, end;
    struct err e = ERR_INIT;

    while (top > 0 && sh->now[top - 1] == 0)
        top--;
    end = top << s->cluster_bits;
    if (end >= s->file->size_bytes || s->file->drv->truncate == NULL) return;
    /* Nothing is lost if the file stays as long as it is. */
    if (node_truncate(s->file, end, "off", true, &e) == 0) sh->top = top;
}

static int finish(struct qcow2_shadow *sh, int rc, bool gives_back,
                  struct err *e)
{
    struct qcow2 *s = sh->s;

    if (rc == 0) {
        rc = qcow2_shadow_commit(sh, e);
        if (rc == 0) s->n->size_bytes = s->h.size_bytes;
        if (rc == 0 && gives_back) {
            cut_file(sh);
            qcow2_shadow_discard(sh);
        }
    } else if (e->code == 0) {
        err_set(e, rc, "%s: cannot be resized: %s", s->n->name, strerror(-rc));
    }
    qcow2_shadow_close(sh);
    return rc;
}

/* ------------------------------------------------------------- smaller */

/* Entries of an L2 table from first on are dropped, in a copy of it. */
static int cut_l2(struct qcow2_shadow *sh, uint64_t *l1_entry, uint64_t first)
{
    struct qcow2 *s = sh->s;
    uint64_t offset = *l1_entry & QCOW2_OFFSET_MASK, bytes = s->cluster_bytes;
    uint32_t at = (uint32_t)first * s->l2_entry_bytes;
    int rc = offset == 0 ? 0 : node_pread(s->file, offset, sh->buf, bytes);

    if (offset == 0 || rc < 0) return rc;
    for (; at < s->cluster_bytes && rc == 0; at += s->l2_entry_bytes) {
        uint64_t entry = qcow2_be64(sh->buf + at);
        uint64_t host = entry & QCOW2_OFFSET_MASK, host_bytes = bytes;

        memset(sh->buf + at, 0, s->l2_entry_bytes);
        if (entry & QCOW2_COMPRESSED)
            qcow2_compressed_range(s->cluster_bits, entry, &host, &host_bytes);
        else if (host == 0)
            continue;
        rc = qcow2_shadow_ref(sh, host, host_bytes, -1);
    }
    if (rc == 0) rc = qcow2_shadow_ref(sh, offset, bytes, -1);
    if (rc == 0) rc = qcow2_shadow_alloc(sh, bytes, &offset);
    if (rc == 0) rc = node_pwrite(s->file, offset, sh->buf, bytes);
    *l1_entry = offset | QCOW2_COPIED;
    return rc;
}

static int copy_l1(const struct qcow2 *s, uint64_t entries, uint64_t **out)
{
    uint64_t *l1 = calloc(entries + 1, sizeof(*l1));
    uint64_t copied = entries < s->h.l1_entries ? entries : s->h.l1_entries;

    if (l1 == NULL) return -ENOMEM;
    if (copied > 0) memcpy(l1, s->l1, copied * sizeof(*l1));
    *out = l1;
    return 0;
}

/* All references from the octet on go. */
static int cut(struct qcow2_shadow *sh, uint64_t size_bytes)
{
    struct qcow2 *s = sh->s;
    uint64_t clusters = qcow2_clusters(s, size_bytes);
    uint64_t in_table = clusters & ((UINT64_C(1) << s->l2_bits) - 1);
    uint64_t need = qcow2_l1_need(s, size_bytes), *l1 = NULL;
    uint32_t entries = need > 0 ? (uint32_t)need : 1;
    int rc = copy_l1(s, entries, &l1);

    if (rc < 0) return rc;
    if (need == 0) l1[0] = 0;
    rc = qcow2_shadow_walk(sh, s->l1, (uint32_t)need, s->h.l1_entries, -1);
    if (rc == 0 && in_table != 0) rc = cut_l2(sh, &l1[need - 1], in_table);
    if (rc < 0) {
        free(l1);
        return rc;
    }
    sh->h.size_bytes = size_bytes;
    return qcow2_shadow_set_l1(sh, l1, entries);
}

static int empty(struct qcow2_shadow *sh)
{
    struct qcow2 *s = sh->s;
    uint64_t *l1 = calloc((size_t)s->h.l1_entries + 1, sizeof(*l1));
    int rc = l1 == NULL ? -ENOMEM : 0;

    if (rc == 0) rc = qcow2_shadow_walk(sh, s->l1, 0, s->h.l1_entries, -1);
    if (rc == 0) return qcow2_shadow_set_l1(sh, l1, s->h.l1_entries);
    free(l1);
    return rc;
}

/* Twice: the new tables had to lie beside the old ones; now they move to where
 * the clusters that went were, and the file can be cut behind them. */
static int drop_locked(struct qcow2 *s, bool all, uint64_t size_bytes,
                       struct err *e)
{
    int rc = 0;

    for (int pass = 0; pass < 2 && rc == 0; pass++) {
        struct qcow2_shadow sh;

        rc = qcow2_shadow_open_locked(s, &sh, 0, e);
        if (rc < 0) return rc;
        rc = all ? empty(&sh) : cut(&sh, size_bytes);
        rc = finish(&sh, rc, true, e);
    }
    return rc;
}

int qcow2_make_empty(struct node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_begin_locked(s);
    if (rc < 0)
        err_set(e, rc, "%s: %s", n->name, strerror(-rc));
    else
        rc = drop_locked(s, true, 0, e);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* -------------------------------------------------------------- larger */

/* What the active L1 table holds behind the disk (VM state) would become part
 * of it. */
static bool has_vm_state(const struct qcow2 *s)
{
    uint64_t i = qcow2_l1_need(s, s->h.size_bytes);

    for (; i < s->h.l1_entries; i++) {
        if (s->l1[i] != 0) return true;
    }
    return false;
}

/* A larger L1 table in a new place. */
static int grow_l1_locked(struct qcow2 *s, uint64_t entries)
{
    uint64_t old = s->h.l1_offset, old_bytes = (uint64_t)s->h.l1_entries * 8;
    uint64_t *l1, offset, bytes = entries * 8;
    int rc = qcow2_settle_locked(s);

    if (rc == 0) rc = copy_l1(s, entries, &l1);
    if (rc < 0) return rc;
    rc = qcow2_alloc_locked(s, qcow2_clusters(s, bytes), &offset, NULL);
    if (rc < 0) goto free_l1;
    rc = qcow2_table_write(s, offset, l1, 0, (uint32_t)entries);
    if (rc == 0) rc = qcow2_settle_locked(s);
    if (rc == 0) rc = qcow2_meta_add_locked(s, offset, bytes);
    if (rc < 0) {
        qcow2_unalloc_locked(s, offset, bytes);
        goto free_l1;
    }
    free(s->l1);
    s->l1 = l1;
    s->h.l1_offset = offset;
    s->h.l1_entries = (uint32_t)entries;
    rc = qcow2_header_update_locked(s);
    if (rc == 0) rc = node_flush(s->file);
    if (rc < 0) {
        s->is_dead = s->is_corrupt =
            true; /* which table the disk has is not known */
        return rc;
    }
    if (old_bytes == 0) return 0;
    qcow2_meta_remove_locked(s, old, old_bytes);
    qcow2_free_locked(s, old, old_bytes);
    return 0;
free_l1:
    free(l1);
    return rc;
}

static int grow_locked(struct qcow2 *s, uint64_t size_bytes, struct err *e)
{
    uint64_t need = qcow2_l1_need(s, size_bytes);
    int rc = qcow2_begin_locked(s);

    if (rc == 0 && need > s->h.l1_entries) rc = grow_l1_locked(s, need);
    if (rc == 0) rc = set_size_locked(s, size_bytes);
    if (rc < 0)
        return err_set(e, rc, "%s: cannot be resized: %s", s->n->name,
                       strerror(-rc));
    return 0;
}

/*
 * What the disk gained reads as zeros: the rest of the cluster where it ended,
 * which may hold what was cut off before, and what a longer backing file shows.
 */
static int zero_gained(struct node *n, uint64_t old, uint64_t size)
{
    uint64_t end = (old + n->align_bytes - 1) & ~(uint64_t)(n->align_bytes - 1);
    uint8_t *buf;
    int rc;

    if (n->backing != NULL && n->backing->size_bytes > end)
        end = n->backing->size_bytes;
    else if (n->backing == NULL && n->backing_file != NULL)
        end = size;
    if (end > size) end = size;
    if (end <= old) return 0;
    if (end - old > n->align_bytes) return node_zero(n, old, end - old, 0);
    buf = malloc(end - old);
    if (buf == NULL) return -ENOMEM;
    rc = node_pread(n, old, buf, end - old);
    if (rc < 0 || !buf_is_zero(buf, end - old))
        rc = node_zero(n, old, end - old, 0);
    free(buf);
    return rc;
}

/* ------------------------------------------------------ preallocation */

/* Places for the clusters [first, end) of the disk within one L2 table, as far
 * as they have none.  *next: cluster of the file for the next one. */
static int fill_l2(struct qcow2_shadow *sh, uint64_t *l1_entry, uint64_t first,
                   uint64_t end, uint64_t *next)
{
    struct qcow2 *s = sh->s;
    uint64_t mask = (UINT64_C(1) << s->l2_bits) - 1;
    uint64_t offset = *l1_entry & QCOW2_OFFSET_MASK;
    int rc = 0;

    memset(sh->buf, 0, s->cluster_bytes);
    if (offset != 0) {
        rc = node_pread(s->file, offset, sh->buf, s->cluster_bytes);
        if (rc == 0) rc = qcow2_shadow_ref(sh, offset, s->cluster_bytes, -1);
    }
    for (; first < end && rc == 0; first++) {
        uint8_t *at = sh->buf + (first & mask) * s->l2_entry_bytes;

        if (qcow2_be64(at) != 0) continue;
        qcow2_put64(at, *next << s->cluster_bits | QCOW2_COPIED);
        (*next)++;
    }
    if (rc == 0) rc = qcow2_shadow_alloc(sh, s->cluster_bytes, &offset);
    if (rc == 0) rc = node_pwrite(s->file, offset, sh->buf, s->cluster_bytes);
    *l1_entry = offset | QCOW2_COPIED;
    return rc;
}

/* The data go behind everything else, where the file reads as zeros. */
static int preallocate(struct qcow2_shadow *sh, uint64_t *l1, uint64_t old,
                       uint64_t size, const char *how, struct err *e)
{
    struct qcow2 *s = sh->s;
    uint64_t first = qcow2_clusters(s, old), end = qcow2_clusters(s, size);
    uint64_t tables =
        qcow2_l1_need(s, size) - (old >> (s->cluster_bits + s->l2_bits));
    uint64_t start = qcow2_clusters(s, s->file->size_bytes), next, data;
    int rc = 0;

    if (start < sh->top) start = sh->top;
    /* Room for tables that do not fit into gaps before. */
    start += tables + s->h.l1_entries + 16;
    data = end - first;
    if (start + data > sh->clusters) return -EFBIG;
    for (next = start; next < start + data; next++)
        sh->now[next] = 1;
    next = start;
    while (first < end && rc == 0) {
        uint64_t table = first >> s->l2_bits;
        uint64_t stop = (table + 1) << s->l2_bits;

        if (stop > end) stop = end;
        rc = fill_l2(sh, &l1[table], first, stop, &next);
        first = stop;
    }
    for (; data > 0 && start + data > next; data--)
        sh->now[start + data - 1] = 0; /* they had places */
    if (start + data > sh->top) sh->top = start + data;
    if (rc < 0) return rc;
    if (s->file->drv->truncate == NULL) return -ENOTSUP;
    return node_truncate(s->file, sh->top << s->cluster_bits,
                         strcmp(how, "metadata") == 0 ? "off" : how, true, e);
}

static int grow_preallocated_locked(struct qcow2 *s, uint64_t size_bytes,
                                    const char *how, struct err *e)
{
    uint64_t old = s->h.size_bytes, entries = qcow2_l1_need(s, size_bytes);
    uint64_t *l1 = NULL;
    struct qcow2_shadow sh;
    int rc = qcow2_shadow_open_locked(
        s, &sh, qcow2_clusters(s, size_bytes - old) + entries + 64, e);

    if (rc < 0) return rc;
    if (entries < s->h.l1_entries) entries = s->h.l1_entries;
    rc = copy_l1(s, entries, &l1);
    if (rc == 0) rc = preallocate(&sh, l1, old, size_bytes, how, e);
    if (rc == 0)
        rc = qcow2_shadow_set_l1(&sh, l1, (uint32_t)entries);
    else
        free(l1);
    sh.h.size_bytes = size_bytes;
    return finish(&sh, rc, false, e);
}

/* --------------------------------------------------------------- resize */

static int check_resize(const struct qcow2 *s, uint64_t size, const char *how,
                        struct err *e)
{
    bool is_off = how == NULL || strcmp(how, "off") == 0;
    const char *name = s->n->name;

    if (size % BLOCK_SECTOR_BYTES != 0)
        return err_set(e, -EINVAL, "%s: the new size must be a multiple of 512",
                       name);
    if (s->h.snapshot_count > 0 && s->h.version < 3)
        return err_set(e, -ENOTSUP,
                       "%s: an image of version 2 with snapshots "
                       "cannot be resized",
                       name);
    if (size > s->h.size_bytes &&
        qcow2_l1_need(s, size) > QCOW2_MAX_L1_BYTES / 8)
        return err_set(e, -EFBIG, "%s: too large for clusters of %u octets",
                       name, s->cluster_bytes);
    if (is_off) return 0;
    if (size < s->h.size_bytes)
        return err_set(e, -EINVAL,
                       "%s: preallocation cannot be used for "
                       "shrinking",
                       name);
    if (strcmp(how, "metadata") != 0 && strcmp(how, "falloc") != 0 &&
        strcmp(how, "full") != 0)
        return err_set(e, -EINVAL,
                       "preallocation=%s: must be off, metadata, "
                       "falloc or full",
                       how);
    return 0;
}

static int resize_locked(struct qcow2 *s, uint64_t size_bytes,
                         const char *preallocation, struct err *e)
{
    bool is_off = preallocation == NULL || strcmp(preallocation, "off") == 0;
    uint64_t old = s->h.size_bytes;
    int rc = 0;

    if (size_bytes < old) return drop_locked(s, false, size_bytes, e);
    if (size_bytes == old) return 0;
    if (has_vm_state(s)) rc = drop_locked(s, false, old, e);
    if (rc < 0) return rc;
    return is_off ? grow_locked(s, size_bytes, e)
                  : grow_preallocated_locked(s, size_bytes, preallocation, e);
}

int qcow2_truncate(struct node *n, uint64_t size_bytes,
                   const char *preallocation, bool may_shrink, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_bitmap_edit *bitmaps = NULL;
    uint64_t old;
    int rc;

    (void)may_shrink; /* node_truncate looked */
    pthread_mutex_lock(&s->lock);
    old = s->h.size_bytes;
    rc = check_resize(s, size_bytes, preallocation, e);
    if (rc == 0 && size_bytes != old)
        rc = qcow2_bitmaps_resize_begin_locked(s, size_bytes, &bitmaps, e);
    if (rc == 0) rc = resize_locked(s, size_bytes, preallocation, e);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0 && size_bytes > old) {
        rc = zero_gained(n, old, size_bytes);
        if (rc == 0) rc = node_flush(n);
        if (rc < 0) err_set(e, rc, "%s: %s", n->name, strerror(-rc));
    }
    if (bitmaps != NULL) {
        struct err more = ERR_INIT;
        int end;

        pthread_mutex_lock(&s->lock);
        end = qcow2_bitmaps_resize_end_locked(bitmaps, s->h.size_bytes != old,
                                              rc < 0 ? &more : e);
        pthread_mutex_unlock(&s->lock);
        if (rc == 0) rc = end;
    }
    return rc;
}
