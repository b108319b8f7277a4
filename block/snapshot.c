/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/drive_priv.h"
#include "block/image.h"
#include "block/nodes.h"

struct vmstate_file {
    struct node *n;
    char id[128];
};

static bool takes_part(const struct drive *d)
{
    return d->blk != NULL && !blk_is_readonly(d->blk);
}

static bool can_snapshot(const struct drive *d)
{
    return blk_root(d->blk)->drv->snapshot_create != NULL;
}

/* Its id, its node's name, or what a node without one is called. */
static bool is_called(struct drive *d, const char *name)
{
    char buf[256];

    if (d->blk != NULL && strcmp(nodes_name_of(d, buf, sizeof(buf)), name) == 0)
        return true;
    return strcmp(d->id, name[0] == '#' ? name + 1 : name) == 0;
}

static struct drive *named(struct drive_table *t, const char *name)
{
    struct drive *d = t->first;

    while (d != NULL && !is_called(d, name))
        d = d->next;
    return d;
}

static bool is_member(const struct snapshot_set *set, struct drive *d)
{
    if (set == NULL || set->drive == NULL) return takes_part(d);
    for (unsigned i = 0; i < set->count; i++) {
        if (is_called(d, set->drive[i])) return takes_part(d);
    }
    return false;
}

/* It holds the machine's state: the one that was named, or the first that
 * can. */
static struct drive *state_drive(struct drive_table *t,
                                 const struct snapshot_set *set)
{
    struct drive *d = t->first;

    if (set != NULL && set->holder != NULL) {
        d = named(t, set->holder);
        return d != NULL && takes_part(d) && can_snapshot(d) ? d : NULL;
    }
    while (d != NULL && !(is_member(set, d) && can_snapshot(d)))
        d = d->next;
    return d;
}

static int check_set(struct drive_table *t, const struct snapshot_set *set,
                     struct err *e)
{
    if (set == NULL || set->drive == NULL) return 0;
    if (set->count == 0)
        return err_set(e, -EINVAL,
                       "At least one device is required for snapshot");
    for (unsigned i = 0; i < set->count; i++) {
        const struct drive *d = named(t, set->drive[i]);

        if (d == NULL || d->blk == NULL)
            return err_set(e, -ENODEV, "No block device node '%s'",
                           set->drive[i]);
        if (!takes_part(d))
            return err_set(e, -EROFS, "Device '%s' is not writable",
                           set->drive[i]);
    }
    if (set->holder != NULL && named(t, set->holder) == NULL)
        return err_set(e, -ENODEV, "vmstate block device '%s' does not exist",
                       set->holder);
    if (set->holder != NULL && state_drive(t, set) == NULL)
        return err_set(e, -ENOTSUP,
                       "vmstate block device '%s' does not support snapshots",
                       set->holder);
    if (set->holder != NULL && !is_member(set, state_drive(t, set)))
        return err_set(e, -EINVAL,
                       "vmstate block device '%s' is not among the devices",
                       set->holder);
    return 0;
}

const char *snapshot_drive_id(struct drive_table *t)
{
    const struct drive *d = state_drive(t, NULL);

    return d == NULL ? NULL : d->id;
}

static int no_drive(struct err *e)
{
    return err_set(e, -ENODEV,
                   "No block device can accept snapshots; give the machine a "
                   "disk in qcow2 format");
}

int snapshot_check(struct drive_table *t, const struct snapshot_set *set,
                   struct err *e)
{
    int rc = check_set(t, set, e);

    if (rc < 0) return rc;
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (!is_member(set, d)) continue;
        if (d->job != NULL)
            return err_set(e, -EBUSY,
                           "Device '%s' is in use by a block job; wait for it "
                           "or cancel it",
                           d->id);
        if (blk_held(d->blk) > 0)
            return err_set(e, -EIO,
                           "Device '%s' has a request that failed; mend that "
                           "and say cont first",
                           d->id);
        if (!can_snapshot(d))
            return err_set(e, -ENOTSUP,
                           "Device '%s' is writable but does not support "
                           "snapshots (format %s; use qcow2 or snapshot=on "
                           "without saving)",
                           d->id, blk_format(d->blk));
    }
    return state_drive(t, set) == NULL ? no_drive(e) : 0;
}

void snapshot_flush(struct drive_table *t)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (takes_part(d)) node_flush(blk_root(d->blk));
    }
}

static void convert(struct snapshot_info *to, const struct image_snapshot *s)
{
    *to = (struct snapshot_info){ .vm_state_bytes = s->vm_state_bytes,
                                  .date_sec = s->date_sec,
                                  .date_nsec = s->date_nsec,
                                  .vm_clock_ns = s->vm_clock_ns };
    memcpy(to->id, s->id, sizeof(to->id));
    memcpy(to->name, s->name, sizeof(to->name));
}

int snapshot_list(struct drive_table *t, struct snapshot_info **out,
                  unsigned *count, struct err *e)
{
    struct drive *d = state_drive(t, NULL);
    struct image_snapshot *all = NULL;
    struct node *n;
    int rc;

    *out = NULL;
    *count = 0;
    if (d == NULL) return 0;
    n = blk_root(d->blk);
    rc = n->drv->snapshot_list(n, &all, count, e);
    if (rc < 0) return rc;
    *out = calloc(*count + 1, sizeof(**out));
    if (*out == NULL) {
        free(all);
        return err_set(e, -ENOMEM, "out of memory");
    }
    for (unsigned i = 0; i < *count; i++)
        convert(&(*out)[i], &all[i]);
    free(all);
    return 0;
}

static int find_on(struct drive *d, const char *name,
                   struct image_snapshot *out, struct err *e)
{
    int rc = image_snapshot_find(blk_root(d->blk), name, out, e);

    if (rc == -ENOENT)
        err_set(e, rc, "Device '%s' does not have the requested snapshot '%s'",
                d->id, name);
    return rc;
}

int snapshot_find(struct drive_table *t, const struct snapshot_set *set,
                  const char *name, struct snapshot_info *out, struct err *e)
{
    struct drive *d = state_drive(t, set);
    struct image_snapshot s;
    int rc;

    if (d == NULL) return no_drive(e);
    rc = find_on(d, name, &s, e);
    if (rc == 0) convert(out, &s);
    return rc;
}

/* Take it away again from the drives before end. */
static void undo_create(struct drive_table *t, const struct snapshot_set *set,
                        const struct drive *end, const char *name)
{
    struct err ignored = ERR_INIT;

    for (struct drive *d = t->first; d != end; d = d->next) {
        struct image_snapshot s;
        struct node *n;

        if (!is_member(set, d) || find_on(d, name, &s, &ignored) < 0) continue;
        n = blk_root(d->blk);
        blk_quiesce(d->blk);
        n->drv->snapshot_delete(n, s.id, &ignored);
        blk_resume(d->blk);
    }
}

int snapshot_create(struct drive_table *t, const struct snapshot_set *set,
                    const struct snapshot_info *what, struct err *e)
{
    int rc = snapshot_check(t, set, e);

    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        struct image_snapshot s = { .date_sec = what->date_sec,
                                    .date_nsec = what->date_nsec,
                                    .vm_clock_ns = what->vm_clock_ns,
                                    .icount = UINT64_MAX };
        struct node *n;

        if (!is_member(set, d)) continue;
        n = blk_root(d->blk);
        s.disk_bytes = n->size_bytes;
        strcpy(s.name, what->name);
        blk_quiesce(d->blk);
        rc = n->drv->snapshot_create(n, &s, e);
        blk_resume(d->blk);
        if (rc == 0) continue;
        err_prefix(e, "%s", d->id);
        undo_create(t, set, d, what->name);
    }
    return rc;
}

int snapshot_apply(struct drive_table *t, const struct snapshot_set *set,
                   const char *name, bool *is_changed, struct err *e)
{
    struct image_snapshot s;
    int rc = snapshot_check(t, set, e);

    *is_changed = false;

    /* All of them or none. */
    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        if (is_member(set, d)) rc = find_on(d, name, &s, e);
    }
    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        struct node *n;

        if (!is_member(set, d)) continue;
        n = blk_root(d->blk);
        rc = find_on(d, name, &s, e);
        if (rc < 0) break;
        blk_quiesce(d->blk);
        rc = n->drv->snapshot_apply(n, s.id, e);
        blk_resume(d->blk);
        if (rc == 0) *is_changed = true;
        if (rc < 0) err_prefix(e, "%s", d->id);
    }
    return rc;
}

int snapshot_delete(struct drive_table *t, const struct snapshot_set *set,
                    const char *name, struct err *e)
{
    struct drive *holder = state_drive(t, set);
    struct image_snapshot s;
    int rc = check_set(t, set, e);

    if (rc < 0) return rc;
    rc = holder == NULL ? no_drive(e) : find_on(holder, name, &s, e);

    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        struct err ignored = ERR_INIT;
        struct node *n;

        if (!is_member(set, d) || !can_snapshot(d)) continue;
        if (find_on(d, name, &s, &ignored) < 0) continue;
        n = blk_root(d->blk);
        blk_quiesce(d->blk);
        rc = n->drv->snapshot_delete(n, s.id, e);
        blk_resume(d->blk);
    }
    return rc;
}

/* ----------------------------------------------------- machine's state */

int vmstate_open(struct drive_table *t, const struct snapshot_set *set,
                 const char *name, struct vmstate_file **out, struct err *e)
{
    struct drive *d = state_drive(t, set);
    struct image_snapshot s;
    struct vmstate_file *f;
    int rc = d == NULL ? no_drive(e) : find_on(d, name, &s, e);

    if (rc < 0) return rc;
    f = calloc(1, sizeof(*f));
    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    f->n = node_ref(blk_root(d->blk));
    memcpy(f->id, s.id, sizeof(f->id));
    *out = f;
    return 0;
}

int vmstate_pwrite(struct vmstate_file *f, uint64_t pos, const void *buf,
                   size_t bytes)
{
    struct iovec iov = { (void *)(uintptr_t)buf, bytes };

    return f->n->drv->vmstate_write(f->n, f->id, pos, &iov, 1, bytes);
}

int vmstate_pread(struct vmstate_file *f, uint64_t pos, void *buf, size_t bytes)
{
    struct iovec iov = { buf, bytes };

    return f->n->drv->vmstate_read(f->n, f->id, pos, &iov, 1, bytes);
}

int vmstate_patch(struct vmstate_file *f, uint64_t pos, const void *buf,
                  size_t bytes)
{
    if (f->n->drv->vmstate_patch == NULL) return -ENOTSUP;
    return f->n->drv->vmstate_patch(f->n, f->id, pos, buf, bytes);
}

int vmstate_finish(struct vmstate_file *f, uint64_t bytes, struct err *e)
{
    return f->n->drv->vmstate_end(f->n, f->id, bytes, e);
}

void vmstate_close(struct vmstate_file *f)
{
    if (f == NULL) return;
    node_unref(f->n);
    free(f);
}
