/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Named nodes, objects, trays and media one step at a time, sizes, limits. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "block/nodes.h"
#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static struct drive_table *drives_of(struct cmd *c)
{
    return vm_service(c->vm, "drives");
}

static int need_drives(struct cmd *c, struct drive_table **out, struct err *e)
{
    *out = drives_of(c);
    return *out != NULL ? 0 : err_set(e, -ENODEV, "this machine has no drives");
}

/* rc, with {} as the answer if it is 0. */
static int nothing(struct cmd *c, int rc)
{
    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

/* ------------------------------------------------------------------ nodes */

/* An empty object where there are no arguments. */
static const struct json *all_of(struct cmd *c)
{
    static const struct json none = { .type = JSON_OBJECT };

    return c->all != NULL ? c->all : &none;
}

int json_blockdev_add(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc == 0) rc = nodes_add(t, all_of(c), false, e);
    return nothing(c, rc);
}

int json_blockdev_del(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc == 0) rc = nodes_del(t, c->arg[0].text, e);
    return nothing(c, rc);
}

int json_blockdev_reopen(struct cmd *c, struct err *e)
{
    const struct json *list = c->arg[0].json;
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc == 0 && list->type != JSON_ARRAY)
        rc = err_set(e, -EINVAL,
                     "Invalid parameter type for 'options', expected: array");
    for (const struct json *j = rc == 0 ? list->first : NULL;
         j != NULL && rc == 0; j = j->next)
        rc = j->type == JSON_OBJECT
                 ? nodes_reopen(t, j, e)
                 : err_set(e, -EINVAL,
                           "Invalid parameter type for 'options', expected: "
                           "object");
    return nothing(c, rc);
}

/* -n pci_addr opts */
int cmd_drive_add(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc < 0) return rc;
    if (c->arg[0].is_given) return nodes_add_text(t, c->arg[2].text, e);
    rc = drive_add_text(t, c->arg[2].text, e);
    if (rc == 0) fputs("OK\n", c->out);
    return rc;
}

int cmd_drive_del(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    return rc < 0 ? rc : drive_del_locked(t, c->arg[0].text, e);
}

int query_nodes(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc == 0) nodes_put_all(c->json, t, c->arg[0].number != 0);
    return rc;
}

/* ---------------------------------------------------------------- objects */

int cmd_object_add(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (c->arg[0].is_given && strcmp(c->arg[0].text, "help") == 0) {
        fputs("List of user creatable objects:\n  secret\n  throttle-group\n",
              c->out);
        return 0;
    }
    return rc < 0 ? rc : objects_add_text(t, c->arg[0].text, e);
}

int json_object_add(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    if (rc == 0) rc = objects_add(t, all_of(c), false, e);
    return nothing(c, rc);
}

int cmd_object_del(struct cmd *c, struct err *e)
{
    struct drive_table *t;
    int rc = need_drives(c, &t, e);

    return rc < 0 ? rc : objects_del(t, c->arg[0].text, e);
}

/* ------------------------------------------------------------------ media */

/* device id force */
int json_open_tray(struct cmd *c, struct err *e)
{
    struct drive *d = cmd_drive_by(c, c->arg[0].text, c->arg[1].text, e);
    struct err ignored = ERR_INIT;
    int rc;

    if (d == NULL) return e->code;
    rc = cmd_open_tray(c, d, c->arg[2].number != 0, &ignored);
    /* A guest that locked the tray was asked; it opens it or not. */
    if (rc == -EAGAIN) rc = 0;
    if (rc < 0) *e = ignored;
    return nothing(c, rc);
}

/* device id */
int json_close_tray(struct cmd *c, struct err *e)
{
    struct drive *d = cmd_drive_by(c, c->arg[0].text, c->arg[1].text, e);

    return d == NULL ? e->code : nothing(c, cmd_close_tray(c, d, e));
}

int json_remove_medium(struct cmd *c, struct err *e)
{
    struct drive *d = cmd_drive_by(c, NULL, c->arg[0].text, e);

    return d == NULL ? e->code : nothing(c, drive_take_medium_locked(d, e));
}

/* id node-name */
int json_insert_medium(struct cmd *c, struct err *e)
{
    struct drive *d = cmd_drive_by(c, NULL, c->arg[0].text, e);

    if (d == NULL) return e->code;
    return nothing(c, nodes_insert(drives_of(c), d, c->arg[1].text, e));
}

/* ------------------------------------------------------------------ sizes */

static int resize(struct cmd *c, const char *device, const char *node,
                  uint64_t bytes, struct err *e)
{
    struct drive_table *t = drives_of(c);
    struct drive *d = NULL;

    if (t != NULL && device != NULL) d = drive_find(t, device);
    if (t != NULL && device == NULL && node != NULL) d = drive_find(t, node);
    if (d == NULL)
        return err_set(e, -ENODEV, "Cannot find device='%s' nor node-name='%s'",
                       device != NULL ? device : "", node != NULL ? node : "");
    return drive_resize_locked(d, bytes, e);
}

/* A number without a suffix is mebibytes, as with QEMU. */
int cmd_block_resize(struct cmd *c, struct err *e)
{
    uint64_t bytes;

    if (size_parse(c->arg[1].text, 1 << 20, &bytes) < 0)
        return err_set(e, -EINVAL, "invalid size '%s'", c->arg[1].text);
    return resize(c, c->arg[0].text, NULL, bytes, e);
}

/* device node-name size */
int json_block_resize(struct cmd *c, struct err *e)
{
    if (c->arg[2].number < 0)
        return err_set(e, -EINVAL, "Parameter 'size' expects a >0 size");
    return nothing(c, resize(c, c->arg[0].text, c->arg[1].text,
                             (uint64_t)c->arg[2].number, e));
}

/* ----------------------------------------------------------------- limits */

static int out_of_range(struct err *e)
{
    return err_set(e, -ERANGE, "bps/iops/max values must be within [0, %llu]",
                   (unsigned long long)THROTTLE_MAX_VALUE);
}

/* device bps bps_rd bps_wr iops iops_rd iops_wr */
int cmd_set_throttle(struct cmd *c, struct err *e)
{
    struct drive *d = cmd_drive(c, c->arg[0].text, e);
    struct throttle_limits l = { .iops_bytes = 0 };

    if (d == NULL) return -ENODEV;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (c->arg[1 + i].number < 0) return out_of_range(e);
        l.of[i].per_s = (uint64_t)c->arg[1 + i].number;
    }
    return drive_set_limits(d, &l, NULL, e);
}

/* Member j of the arguments into l; 0: it is none of the limits. */
static int take_limit(struct throttle_limits *l, const struct json *j,
                      struct err *e)
{
    enum throttle_part part;
    uint64_t *value;
    const char *name;

    for (unsigned i = 0; (name = throttle_field(l, i, &part, &value)) != NULL;
         i++) {
        if (strcmp(name, j->name) != 0) continue;
        if (j->type != JSON_INT)
            return err_set(e, -EINVAL,
                           "Invalid parameter type for '%s', expected: integer",
                           name);
        if (j->i < 0) return out_of_range(e);
        if (part == THROTTLE_LENGTH && value != &l->iops_bytes && j->i == 0)
            return err_set(e, -EINVAL, "the burst length cannot be 0");
        *value = (uint64_t)j->i;
        return 1;
    }
    return 0;
}

static int text_of(const struct json *j, const char **out, struct err *e)
{
    if (j->type != JSON_STRING)
        return err_set(e, -EINVAL,
                       "Invalid parameter type for '%s', expected: string",
                       j->name);
    *out = j->text;
    return 1;
}

static int check_rates(const struct json *all, struct err *e)
{
    struct throttle_limits l;
    enum throttle_part part;
    uint64_t *value;
    const char *name;

    for (unsigned i = 0; (name = throttle_field(&l, i, &part, &value)) != NULL;
         i++) {
        if (part == THROTTLE_RATE && value != &l.iops_bytes &&
            json_get(all, name) == NULL)
            return err_set(e, -EINVAL, "Parameter '%s' is missing", name);
    }
    return 0;
}

int json_set_throttle(struct cmd *c, struct err *e)
{
    const char *device = NULL, *id = NULL, *group = NULL;
    struct throttle_limits l = { .iops_bytes = 0 };
    struct drive *d;
    int rc = check_rates(all_of(c), e);

    for (const struct json *j = all_of(c)->first; j != NULL && rc >= 0;
         j = j->next) {
        rc = take_limit(&l, j, e);
        if (rc == 0 && strcmp(j->name, "device") == 0)
            rc = text_of(j, &device, e);
        if (rc == 0 && strcmp(j->name, "id") == 0) rc = text_of(j, &id, e);
        if (rc == 0 && strcmp(j->name, "group") == 0)
            rc = text_of(j, &group, e);
        if (rc == 0)
            rc = err_set(e, -EINVAL, "Parameter '%s' is unexpected", j->name);
    }
    if (rc < 0) return rc;
    d = cmd_drive_by(c, device, id, e);
    return d == NULL ? e->code : nothing(c, drive_set_limits(d, &l, group, e));
}
