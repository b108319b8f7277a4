/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 snapshots.  A snapshot is an L1 table of its own; the clusters both
 * tables reach have one reference more.  All changes take effect by one write
 * of the header (qcow2_shadow.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/qcow2_ops.h"

enum { MAX_ID = 127, MAX_NAME = 255 };

/* ---------------------------------------------------------------- list */

static void show_one(const struct qcow2_snapshot *sn,
                     struct image_snapshot *out)
{
    *out = (struct image_snapshot){ .vm_state_bytes = sn->vm_state_bytes,
                                    .date_sec = sn->date_sec,
                                    .date_nsec = sn->date_nsec,
                                    .vm_clock_ns = sn->vm_clock_ns,
                                    .icount = sn->icount,
                                    .disk_bytes = sn->disk_bytes };
    snprintf(out->id, sizeof(out->id), "%s", sn->id);
    snprintf(out->name, sizeof(out->name), "%s", sn->name);
}

int qcow2_snapshot_list(struct node *n, struct image_snapshot **out,
                        unsigned *count, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_snapshots all;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = qcow2_snapshots_load(s, &all, e);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0) {
        err_prefix(e, "%s", n->name);
        return rc;
    }
    *count = all.count;
    *out = calloc(all.count + 1, sizeof(**out));
    for (unsigned i = 0; *out != NULL && i < all.count; i++)
        show_one(&all.v[i], &(*out)[i]);
    qcow2_snapshots_free(&all);
    return *out == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* --------------------------------------------------------- common parts */

struct change {
    struct qcow2_shadow sh;
    struct qcow2_snapshots all;
    uint64_t old_bytes; /* of the snapshot table */
};

static int change_open(struct qcow2 *s, struct change *c, struct err *e)
{
    int rc;

    *c = (struct change){ .sh = { .s = s } };
    rc = qcow2_shadow_open_locked(s, &c->sh, 0, e);
    if (rc < 0) return rc;
    rc = qcow2_snapshots_load(s, &c->all, e);
    if (rc < 0) {
        err_prefix(e, "%s", s->n->name);
        qcow2_shadow_close(&c->sh);
    }
    c->old_bytes = c->all.bytes;
    return rc;
}

static void change_close(struct change *c)
{
    qcow2_snapshots_free(&c->all);
    qcow2_shadow_close(&c->sh);
}

/* The snapshot table anew, in another place. */
static int write_table(struct change *c)
{
    struct qcow2_shadow *sh = &c->sh;
    uint64_t bytes = qcow2_snapshots_bytes(&c->all), offset = 0;
    int rc = qcow2_shadow_ref(sh, sh->s->h.snapshot_offset, c->old_bytes, -1);

    if (bytes > QCOW2_MAX_SNAPSHOT_TABLE_BYTES ||
        c->all.count > QCOW2_MAX_SNAPSHOTS)
        return -EFBIG;
    if (rc == 0 && bytes > 0) rc = qcow2_shadow_alloc(sh, bytes, &offset);
    if (rc == 0) rc = qcow2_snapshots_write(sh->s, &c->all, offset);
    sh->h.snapshot_offset = offset;
    sh->h.snapshot_count = c->all.count;
    return rc;
}

static int explain(const struct qcow2 *s, int rc, struct err *e)
{
    if (rc == 0 || e->code != 0) return rc;
    if (rc == -ERANGE)
        return err_set(e, rc,
                       "%s: refcounts of %u bits allow no more "
                       "snapshots",
                       s->n->name, 1u << s->h.refcount_order);
    if (rc == -EIO)
        return err_set(e, rc,
                       "%s: errors in the image or of the disk; check "
                       "the image",
                       s->n->name);
    if (rc == -EFBIG)
        return err_set(e, rc, "%s: too many or too large snapshots",
                       s->n->name);
    return err_set(e, rc, "%s: %s", s->n->name, strerror(-rc));
}

/* Entries of an L1 table that are the disk's; behind them is VM state. */
static uint32_t disk_entries(const struct qcow2 *s, uint64_t disk_bytes,
                             uint32_t entries)
{
    uint64_t need = qcow2_l1_need(s, disk_bytes);

    return need < entries ? (uint32_t)need : entries;
}

/* --------------------------------------------------------------- create */

static int new_id(const struct qcow2_snapshots *all, char **out)
{
    unsigned long max = 0;
    char text[24];

    for (unsigned i = 0; i < all->count; i++) {
        unsigned long v = strtoul(all->v[i].id, NULL, 10);

        if (v > max && v < UINT32_MAX) max = v;
    }
    snprintf(text, sizeof(text), "%lu", max + 1);
    *out = strdup(text);
    return *out == NULL ? -ENOMEM : 0;
}

static int add_entry(struct change *c, const struct image_snapshot *is,
                     struct qcow2_snapshot **out)
{
    struct qcow2_snapshots *all = &c->all;
    struct qcow2_snapshot *v = realloc(all->v, (all->count + 1) * sizeof(*v)),
                          *sn;
    int rc;

    if (v == NULL) return -ENOMEM;
    all->v = v;
    sn = &v[all->count];
    *sn = (struct qcow2_snapshot){
        .date_sec = (uint32_t)is->date_sec,
        .date_nsec = is->date_nsec,
        .vm_clock_ns = is->vm_clock_ns,
        .icount = is->icount,
        .disk_bytes = c->sh.s->h.size_bytes,
    };
    rc = new_id(all, &sn->id);
    sn->name = strdup(is->name[0] != '\0' ? is->name : "");
    if (rc < 0 || sn->name == NULL) {
        free(sn->id);
        free(sn->name);
        return -ENOMEM;
    }
    all->count++;
    *out = sn;
    return 0;
}

/* The snapshot's own L1 table: the disk's part of the active one. */
static int copy_l1(struct change *c, struct qcow2_snapshot *sn, uint64_t *l1,
                   uint32_t entries)
{
    uint64_t offset = 0;
    int rc = qcow2_shadow_alloc(&c->sh, (uint64_t)entries * 8, &offset);

    if (rc == 0) rc = qcow2_table_write(c->sh.s, offset, l1, 0, entries);
    sn->l1_offset = offset;
    sn->l1_entries = entries;
    return rc;
}

/* Active L1 without the VM state that may lie behind the disk, flags clear. */
static int active_l1(const struct qcow2 *s, uint32_t used, uint64_t **out)
{
    uint32_t entries = s->h.l1_entries;
    uint64_t *l1 = calloc((size_t)entries + 1, sizeof(*l1));

    if (l1 == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < used; i++)
        l1[i] = s->l1[i] & QCOW2_OFFSET_MASK;
    *out = l1;
    return 0;
}

static int create(struct change *c, const struct image_snapshot *is,
                  struct qcow2_snapshot **out)
{
    struct qcow2 *s = c->sh.s;
    uint32_t entries = s->h.l1_entries;
    uint32_t used = disk_entries(s, s->h.size_bytes, entries);
    uint64_t *l1 = NULL;
    int rc = active_l1(s, used, &l1);

    if (rc == 0) rc = add_entry(c, is, out);
    if (rc == 0) rc = qcow2_shadow_walk(&c->sh, s->l1, used, entries, -1);
    if (rc == 0) rc = qcow2_shadow_walk(&c->sh, s->l1, 0, used, 1);
    if (rc == 0) rc = copy_l1(c, *out, l1, entries);
    if (rc < 0) {
        free(l1);
        return rc;
    }
    rc = qcow2_shadow_set_l1(&c->sh, l1, entries);
    return rc == 0 ? write_table(c) : rc;
}

int qcow2_snapshot_create(struct node *n, struct image_snapshot *is,
                          struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_snapshot *sn = NULL;
    struct change c;
    int rc;

    if (strnlen(is->name, sizeof(is->name)) > MAX_NAME)
        return err_set(e, -EINVAL, "snapshot name is too long");
    pthread_mutex_lock(&s->lock);
    rc = change_open(s, &c, e);
    if (rc == 0) {
        rc = explain(s, create(&c, is, &sn), e);
        if (rc == 0) rc = qcow2_shadow_commit(&c.sh, e);
        if (rc == 0) snprintf(is->id, sizeof(is->id), "%s", sn->id);
        if (rc == 0) is->disk_bytes = sn->disk_bytes;
        change_close(&c);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* --------------------------------------------------------------- delete */

static void remove_entry(struct qcow2_snapshots *all, struct qcow2_snapshot *sn)
{
    unsigned index = (unsigned)(sn - all->v);

    free(sn->id);
    free(sn->name);
    free(sn->extra);
    memmove(sn, sn + 1, (all->count - index - 1) * sizeof(*sn));
    all->count--;
}

static int copy_active(const struct qcow2 *s, uint64_t **out)
{
    uint64_t *l1 = calloc((size_t)s->h.l1_entries + 1, sizeof(*l1));

    if (l1 == NULL) return -ENOMEM;
    if (s->h.l1_entries > 0) memcpy(l1, s->l1, s->h.l1_entries * sizeof(*l1));
    *out = l1;
    return 0;
}

static int delete (struct change *c, struct qcow2_snapshot *sn, struct err *e)
{
    struct qcow2 *s = c->sh.s;
    uint64_t *l1 = NULL;
    int rc = qcow2_snapshot_l1(s, sn, &l1, e);

    if (rc < 0) return rc;
    rc = qcow2_shadow_walk(&c->sh, l1, 0, sn->l1_entries, -1);
    if (rc == 0)
        rc = qcow2_shadow_ref(&c->sh, sn->l1_offset,
                              (uint64_t)sn->l1_entries * 8, -1);
    free(l1);
    l1 = NULL;
    if (rc == 0) rc = copy_active(s, &l1);
    if (rc == 0) rc = qcow2_shadow_set_l1(&c->sh, l1, s->h.l1_entries);
    if (rc < 0) return rc;
    remove_entry(&c->all, sn);
    return write_table(c);
}

int qcow2_snapshot_delete(struct node *n, const char *id, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_snapshot *sn;
    struct change c;
    int rc;

    pthread_mutex_lock(&s->lock);
    qcow2_vmstate_close(s);
    rc = change_open(s, &c, e);
    if (rc == 0) {
        sn = qcow2_snapshots_find(&c.all, id);
        rc = sn == NULL ? qcow2_no_snapshot(s, id, e)
                        : explain(s, delete (&c, sn, e), e);
        if (rc == 0) rc = qcow2_shadow_commit(&c.sh, e);
        if (rc == 0) qcow2_shadow_discard(&c.sh);
        change_close(&c);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---------------------------------------------------------------- apply */

/* The snapshot's L1 table as active one: the disk's part of it, with room for
 * the disk. */
static int applied_l1(struct qcow2 *s, const struct qcow2_snapshot *sn,
                      uint64_t **out, uint32_t *used, struct err *e)
{
    uint64_t *l1;
    int rc = qcow2_snapshot_l1(s, sn, &l1, e);

    if (rc < 0) return rc;
    *used = disk_entries(s, sn->disk_bytes, sn->l1_entries);
    *out = calloc((size_t)sn->l1_entries + 1, sizeof(**out));
    if (*out == NULL) {
        free(l1);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < *used; i++)
        (*out)[i] = l1[i] & QCOW2_OFFSET_MASK;
    free(l1);
    return 0;
}

static int apply(struct change *c, const struct qcow2_snapshot *sn,
                 struct err *e)
{
    struct qcow2 *s = c->sh.s;
    uint32_t used = 0, entries = sn->l1_entries > 0 ? sn->l1_entries : 1;
    uint64_t *l1 = NULL;
    int rc;

    if (sn->disk_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return err_set(e, -EINVAL, "%s: snapshot '%s' is too large", s->n->name,
                       sn->id);
    if (s->bitmaps != NULL && sn->disk_bytes != s->h.size_bytes)
        return err_set(e, -ENOTSUP,
                       "%s: snapshot '%s' has another disk size, "
                       "and there are bitmaps; remove them first",
                       s->n->name, sn->id);
    rc = applied_l1(s, sn, &l1, &used, e);
    if (rc == 0) rc = qcow2_shadow_walk(&c->sh, s->l1, 0, s->h.l1_entries, -1);
    if (rc == 0) rc = qcow2_shadow_walk(&c->sh, l1, 0, used, 1);
    if (rc < 0) {
        free(l1);
        return rc;
    }
    c->sh.h.size_bytes = sn->disk_bytes;
    return qcow2_shadow_set_l1(&c->sh, l1, entries);
}

int qcow2_snapshot_apply(struct node *n, const char *id, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_snapshot *sn;
    struct change c;
    int rc;

    /* They would have to record all that changes. */
    if (s->bitmaps != NULL)
        return err_set(e, -EBUSY, "Device has active dirty bitmaps");
    pthread_mutex_lock(&s->lock);
    rc = change_open(s, &c, e);
    if (rc == 0) {
        sn = qcow2_snapshots_find(&c.all, id);
        rc = sn == NULL ? qcow2_no_snapshot(s, id, e)
                        : explain(s, apply(&c, sn, e), e);
        if (rc == 0) rc = qcow2_shadow_commit(&c.sh, e);
        if (rc == 0) n->size_bytes = s->h.size_bytes;
        if (rc == 0) qcow2_shadow_discard(&c.sh);
        change_close(&c);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ----------------------------------------------------------------- show */

int qcow2_snapshot_show(struct node *n, const char *id, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_snapshots all;
    const struct qcow2_snapshot *sn;
    uint64_t *l1;
    int rc;

    if (!n->is_readonly)
        return err_set(e, -EINVAL,
                       "%s: a snapshot can only be shown by an "
                       "image that is open read-only",
                       n->name);
    pthread_mutex_lock(&s->lock);
    rc = qcow2_snapshots_load(s, &all, e);
    if (rc < 0) goto unlock;
    sn = qcow2_snapshots_find(&all, id);
    rc = sn == NULL ? qcow2_no_snapshot(s, id, e)
                    : qcow2_snapshot_l1(s, sn, &l1, e);
    if (rc == 0) {
        free(s->l1);
        s->l1 = l1;
        s->h.l1_offset = sn->l1_offset;
        s->h.l1_entries = sn->l1_entries;
        s->h.size_bytes = sn->disk_bytes;
        n->size_bytes = sn->disk_bytes;
        qcow2_cache_forget_locked(&s->l2_cache, 0, UINT64_MAX);
        rc = qcow2_meta_rebuild_locked(s);
        if (rc < 0) err_set(e, rc, "out of memory");
    }
    qcow2_snapshots_free(&all);
unlock:
    pthread_mutex_unlock(&s->lock);
    return rc;
}
