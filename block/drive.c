/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives: named slots with exchangeable media. */
#include "block/drive_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "block/nbd_export.h"
#include "block/nodes.h"

int drive_table_create(struct loop *l, struct drive_table **out)
{
    struct drive_table *t = calloc(1, sizeof(*t));

    if (t == NULL) return -ENOMEM;
    t->loop = l;
    *out = t;
    return 0;
}

void drive_table_destroy(struct drive_table *t)
{
    struct drive *d;

    if (t == NULL) return;
    job_table_stop(t);
    nbd_server_stop(t->nbd, false);
    while ((d = t->first) != NULL) {
        t->first = d->next;
        blk_close(d->blk);
        throttle_group_put(&t->groups, d->group);
        free(d->id);
        free(d);
    }
    nodes_destroy(t);
    throttle_groups_clear(&t->groups);
    secret_table_destroy(t->secrets);
    free(t);
}

void drive_table_set_stop(struct drive_table *t, blk_stop_fn stop, void *arg)
{
    t->stop = stop;
    t->stop_arg = arg;
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->blk != NULL) blk_set_stop(d->blk, stop, arg);
    }
}

void drive_table_retry(struct drive_table *t)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->blk != NULL) blk_retry(d->blk);
    }
}

struct drive *drive_of_blk(struct drive_table *t, const struct blk *b)
{
    struct drive *d = t->first;

    while (d != NULL && d->blk != b)
        d = d->next;
    return d;
}

static struct drive *find(struct drive_table *t, const char *id, bool is_node)
{
    struct drive *d = t->first;

    while (d != NULL && (d->is_node != is_node || strcmp(d->id, id) != 0))
        d = d->next;
    return d;
}

int drive_add(struct drive_table *t, const char *id, bool is_removable,
              bool is_cdrom, struct blk *b, struct drive **out, struct err *e)
{
    struct drive *d, **at;

    if (find(t, id, false) != NULL || nodes_find(t, id) != NULL)
        return err_set(e, -EEXIST, "there is a drive '%s' already", id);
    if (b == NULL && !is_removable)
        return err_set(e, -EINVAL, "drive '%s' needs an image file", id);
    d = calloc(1, sizeof(*d));
    if (d != NULL) d->id = strdup(id);
    if (d == NULL || d->id == NULL) {
        free(d);
        return err_set(e, -ENOMEM, "out of memory");
    }
    d->is_removable = is_removable;
    d->is_cdrom = is_cdrom;
    d->on_read_error = d->on_write_error = BLK_AS_OPENED;
    d->table = t;
    d->blk = b;
    if (b != NULL && t->stop != NULL) blk_set_stop(b, t->stop, t->stop_arg);
    for (at = &t->first; *at != NULL; at = &(*at)->next)
        continue;
    *at = d;
    if (out != NULL) *out = d;
    return 0;
}

int drive_add_node(struct drive_table *t, const char *id, struct blk *b,
                   struct drive **out)
{
    struct drive *d = calloc(1, sizeof(*d)), **at = &t->first;

    if (d == NULL || (d->id = strdup(id)) == NULL) {
        free(d);
        return -ENOMEM;
    }
    d->is_node = true;
    d->on_read_error = d->on_write_error = BLK_AS_OPENED;
    d->table = t;
    d->blk = b;
    if (t->stop != NULL) blk_set_stop(b, t->stop, t->stop_arg);
    while (*at != NULL)
        at = &(*at)->next;
    *at = d;
    *out = d;
    return 0;
}

struct drive *drive_find(struct drive_table *t, const char *id)
{
    struct drive *d = find(t, id, false);

    return d != NULL ? d : nodes_drive(t, id);
}

struct drive *drive_find_device(struct drive_table *t, const char *device)
{
    struct drive *d = t->first;

    while (d != NULL && (d->device == NULL || strcmp(d->device, device) != 0))
        d = d->next;
    return d;
}

struct drive *drive_next(struct drive_table *t, struct drive *d)
{
    return d == NULL ? t->first : d->next;
}

const char *drive_id(const struct drive *d)
{
    return d->id;
}

bool drive_is_node(const struct drive *d)
{
    return d->is_node;
}

bool drive_is_removable(const struct drive *d)
{
    return d->is_removable;
}

bool drive_is_cdrom(const struct drive *d)
{
    return d->is_cdrom;
}

void drive_set_kind(struct drive *d, bool is_removable, bool is_cdrom)
{
    d->is_removable = is_removable;
    d->is_cdrom = is_cdrom;
}

struct blk *drive_blk(struct drive *d)
{
    return d->blk;
}

void drive_set_device(struct drive *d, const char *device)
{
    d->device = device;
}

const char *drive_device(const struct drive *d)
{
    return d->device;
}

void drive_set_ops(struct drive *d, const struct drive_ops *ops)
{
    if (ops != NULL)
        d->ops = *ops;
    else
        memset(&d->ops, 0, sizeof(d->ops));
}

const struct drive_ops *drive_get_ops(const struct drive *d)
{
    return &d->ops;
}

int drive_set_limits(struct drive *d, const struct throttle_limits *l,
                     const char *group, struct err *e)
{
    struct throttle_groups *all = &d->table->groups;
    struct throttle_group *old = d->group, *g = NULL;
    int rc = throttle_check(l, e);

    if (rc < 0) return rc;
    if (throttle_is_on(l)) {
        if (group == NULL || group[0] == '\0')
            group = old != NULL ? throttle_group_name(old) : d->id;
        g = throttle_group_get(all, group);
        if (g == NULL) return err_set(e, -ENOMEM, "out of memory");
        throttle_group_set(g, l);
    }
    d->group = g;
    rc = d->blk != NULL ? blk_set_throttle(d->blk, g) : 0;
    if (rc < 0) {
        d->group = old;
        throttle_group_put(all, g);
        return err_set(e, rc, "out of memory");
    }
    throttle_group_put(all, old);
    return 0;
}

const char *drive_limits(const struct drive *d, struct throttle_limits *out)
{
    if (d->group == NULL) {
        *out = (struct throttle_limits){ .iops_bytes = 0 };
        return NULL;
    }
    throttle_group_limits(d->group, out);
    return throttle_group_name(d->group);
}

int drive_set_on_error(struct drive *d, const char *key, const char *value,
                       struct err *e)
{
    struct blk_options o;
    int rc;

    if (strcmp(value, "auto") == 0) return 0;
    blk_options_init(&o);
    rc = blk_option_set(&o, key, value, e);
    if (rc < 0) return rc;
    if (strcmp(key, "rerror") == 0)
        d->on_read_error = o.on_read_error;
    else
        d->on_write_error = o.on_write_error;
    if (d->blk != NULL)
        blk_set_on_error(d->blk, d->on_read_error, d->on_write_error);
    return 0;
}

int drive_set_medium_locked(struct drive *d, struct blk *b, bool is_forced,
                            struct err *e)
{
    const struct drive_ops *ops = &d->ops;
    struct blk *old = d->blk;

    if (!d->is_removable)
        return err_set(e, -EINVAL, "drive '%s' is not removable", d->id);
    if (d->job != NULL)
        return err_set(e, -EBUSY, "drive '%s' is in use by a block job", d->id);
    if (!is_forced && ops->is_locked != NULL && ops->is_locked(ops->arg)) {
        if (ops->eject_request != NULL) ops->eject_request(ops->arg);
        return err_set(e, -EBUSY,
                       "drive '%s' is locked by the guest; it was asked to "
                       "let go, or use force",
                       d->id);
    }
    if (old != NULL && d->table->nbd != NULL)
        nbd_server_forget(d->table->nbd, old);
    if (old != NULL) blk_drain(old);
    d->blk = b;
    if (b != NULL && d->table->stop != NULL)
        blk_set_stop(b, d->table->stop, d->table->stop_arg);
    if (b != NULL) {
        blk_set_throttle(b, d->group);
        blk_set_on_error(b, d->on_read_error, d->on_write_error);
    }
    if (ops->medium_changed != NULL) ops->medium_changed(ops->arg);
    blk_close(old);
    nodes_sweep(d->table);
    return 0;
}
