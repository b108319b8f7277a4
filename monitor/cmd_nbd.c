/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exporting drives as network block devices. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "block/nbd_export.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static struct drive_table *drives_of(struct cmd *c)
{
    return vm_service(c->vm, "drives");
}

static int start(struct cmd *c, const char *address, unsigned max,
                 struct err *e)
{
    struct drive_table *t = drives_of(c);

    if (t == NULL) return err_set(e, -ENODEV, "this machine has no drives");
    return nbd_drives_start(t, address, max, e);
}

/* Every drive with a medium; none if one cannot be. */
static int add_all(struct drive_table *t, bool is_writable, struct err *e)
{
    struct drive *d = NULL;
    int rc = 0;

    while (rc == 0 && (d = drive_next(t, d)) != NULL) {
        if (drive_blk(d) == NULL) continue;
        rc = nbd_drives_add(t, d, NULL, NULL,
                            is_writable && !blk_is_readonly(drive_blk(d)), e);
    }
    return rc;
}

/* -a -w address */
int cmd_nbd_start(struct cmd *c, struct err *e)
{
    bool is_all = c->arg[0].is_given, is_writable = c->arg[1].is_given;
    int rc;

    if (is_writable && !is_all)
        return err_set(e, -EINVAL, "-w only valid together with -a");
    rc = start(c, c->arg[2].text, 0, e);
    if (rc < 0 || !is_all) return rc;
    rc = add_all(drives_of(c), is_writable, e);
    if (rc < 0) nbd_drives_stop(drives_of(c), NULL);
    return rc;
}

static int add(struct cmd *c, const char *id, const char *name,
               const char *description, bool is_writable, struct err *e)
{
    struct drive *d = cmd_drive(c, id, e);

    if (d == NULL) return -ENODEV;
    return nbd_drives_add(drives_of(c), d, name, description, is_writable, e);
}

/* -w device name */
int cmd_nbd_add(struct cmd *c, struct err *e)
{
    return add(c, c->arg[1].text, c->arg[2].text, NULL, c->arg[0].is_given, e);
}

/* -f name mode; either way its clients are sent away */
int cmd_nbd_remove(struct cmd *c, struct err *e)
{
    return nbd_drives_remove(drives_of(c), c->arg[1].text, e);
}

int cmd_nbd_stop(struct cmd *c, struct err *e)
{
    return nbd_drives_stop(drives_of(c), e);
}

/* ---- JSON ---- */

static const char *text_of(const struct json *object, const char *name)
{
    const struct json *j = object != NULL ? json_get(object, name) : NULL;

    return j != NULL && j->type == JSON_STRING ? j->text : NULL;
}

static int no_address(struct err *e)
{
    return err_set(e, -EINVAL,
                   "Invalid parameter type for 'addr', expected: a socket's "
                   "address, type unix with path or inet with host and port");
}

/* {"type": "unix", "data": {"path": p}} or "inet" with host and port; flat
 * too. */
static int address_of(const struct json *addr, char *out, size_t cap,
                      struct err *e)
{
    const char *type = text_of(addr, "type"), *host, *port;
    const struct json *data = json_get(addr, "data");
    int n = -1;

    if (data == NULL || data->type != JSON_OBJECT) data = addr;
    host = text_of(data, "host");
    port = text_of(data, "port");
    if (type != NULL && strcmp(type, "unix") == 0 &&
        text_of(data, "path") != NULL)
        n = snprintf(out, cap, "unix:%s", text_of(data, "path"));
    else if (type != NULL && strcmp(type, "inet") == 0 && host != NULL &&
             port != NULL)
        n = snprintf(out, cap, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
                     port);
    if (n >= 0 && (size_t)n < cap) return 0;
    return no_address(e);
}

static void answer_nothing(struct cmd *c)
{
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
}

/* addr max-connections */
int json_nbd_start(struct cmd *c, struct err *e)
{
    int64_t max = c->arg[1].is_given ? c->arg[1].number : 0;
    char address[512];
    int rc;

    if (c->arg[0].json == NULL || c->arg[0].json->type != JSON_OBJECT)
        return no_address(e);
    if (max < 0 || max > UINT32_MAX)
        return err_set(e, -EINVAL, "Invalid parameter 'max-connections'");
    rc = address_of(c->arg[0].json, address, sizeof(address), e);
    if (rc == 0) rc = start(c, address, (unsigned)max, e);
    if (rc == 0) answer_nothing(c);
    return rc;
}

/* device name description writable */
int json_nbd_add(struct cmd *c, struct err *e)
{
    int rc = add(c, c->arg[0].text, c->arg[1].text, c->arg[2].text,
                 c->arg[3].number != 0, e);

    if (rc == 0) answer_nothing(c);
    return rc;
}
