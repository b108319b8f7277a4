/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives that come and go while the machine runs (drive_add, drive_del).
 * Disk controllers take no drive then, so these are for exports and the like.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/drive_priv.h"
#include "block/nbd_export.h"
#include "block/nodes.h"
#include "block/opts.h"

struct wanted {
    char id[64], format[32], iface[16];
    char file[PATH_MAX];
    bool is_cdrom;
    struct blk_options o;
};

static int take_word(char *to, size_t cap, const char *key, const char *value,
                     struct err *e)
{
    if (strlen(value) >= cap)
        return err_set(e, -EINVAL, "%s: value too long", key);
    strcpy(to, value);
    return 0;
}

static int take_switch(bool *to, const char *key, const char *value,
                       struct err *e)
{
    *to = strcmp(value, "on") == 0;
    if (*to || strcmp(value, "off") == 0) return 0;
    return err_set(e, -EINVAL, "Parameter '%s' expects 'on' or 'off'", key);
}

static int take(struct wanted *w, const char *key, const char *value,
                struct err *e)
{
    int rc;

    if (strcmp(key, "id") == 0)
        return take_word(w->id, sizeof(w->id), key, value, e);
    if (strcmp(key, "if") == 0)
        return take_word(w->iface, sizeof(w->iface), key, value, e);
    if (strcmp(key, "file") == 0)
        return take_word(w->file, sizeof(w->file), key, value, e);
    if (strcmp(key, "format") == 0 || strcmp(key, "driver") == 0)
        return take_word(w->format, sizeof(w->format), key, value, e);
    if (strcmp(key, "snapshot") == 0)
        return take_switch(&w->o.is_snapshot, key, value, e);
    if (strcmp(key, "readonly") == 0 || strcmp(key, "read-only") == 0)
        return take_switch(&w->o.is_readonly, key, value, e);
    if (strcmp(key, "media") == 0) {
        w->is_cdrom = strcmp(value, "cdrom") == 0;
        if (w->is_cdrom || strcmp(value, "disk") == 0) return 0;
        return err_set(e, -EINVAL, "'%s' invalid media", value);
    }
    rc = blk_option_set(&w->o, key, value, e);
    if (rc == 0)
        rc = err_set(e, -EINVAL, "drive_add takes no option '%s'", key);
    return rc < 0 ? rc : 0;
}

/* A name nobody has: none0, none1, ... */
static void choose_id(struct drive_table *t, char *id, size_t cap)
{
    for (unsigned i = 0;; i++) {
        snprintf(id, cap, "none%u", i);
        if (drive_find(t, id) == NULL) return;
    }
}

/* Disk controllers take drives when the machine is made. */
static int check_interface(const char *iface, struct err *e)
{
    static const char *const types[] = { "none",   "ide",    "scsi",
                                         "floppy", "pflash", "mtd",
                                         "sd",     "virtio", "xen" };
    const char *name = iface[0] != '\0' ? iface : "ide";

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i], name) != 0) continue;
        if (i == 0) return 0;
        return err_set(e, -ENOTSUP,
                       "Can't hot-add drive to type %zu (if=%s; if=none can)",
                       i, name);
    }
    return err_set(e, -EINVAL, "unsupported bus type '%s'", name);
}

static int add(struct drive_table *t, struct wanted *w, struct err *e)
{
    struct drive *d;
    struct blk *b = NULL;
    int rc = check_interface(w->iface, e);

    if (rc == 0) rc = throttle_check(&w->o.limits, e);
    if (rc < 0) return rc;
    if (w->id[0] == '\0') choose_id(t, w->id, sizeof(w->id));
    if (drive_find(t, w->id) != NULL)
        return err_set(e, -EEXIST, "Duplicate ID '%s' for drive", w->id);
    if (w->format[0] != '\0') w->o.format = w->format;
    if (w->is_cdrom) w->o.is_readonly = true;
    w->o.secrets = objects_secrets(t);
    if (w->file[0] != '\0') rc = blk_open(t->loop, w->file, &w->o, &b, e);
    if (rc < 0) return rc;
    rc = drive_add(t, w->id, b == NULL || w->is_cdrom, w->is_cdrom, b, &d, e);
    if (rc < 0) {
        blk_close(b);
        return rc;
    }
    if (throttle_is_on(&w->o.limits))
        rc = drive_set_limits(d, &w->o.limits, w->o.throttle_group, e);
    if (rc < 0) drive_drop(t, d);
    return rc;
}

int drive_add_text(struct drive_table *t, const char *text, struct err *e)
{
    struct wanted *w = calloc(1, sizeof(*w));
    char key[BLK_EXTRA_KEY], value[PATH_MAX];
    int rc = 0;

    if (w == NULL) return err_set(e, -ENOMEM, "out of memory");
    blk_options_init(&w->o);
    while (rc == 0 && *text != '\0') {
        text = blk_options_next(text, key, sizeof(key), value, sizeof(value));
        rc = take(w, key, value, e);
    }
    if (rc == 0) rc = add(t, w, e);
    free(w);
    return rc;
}

void drive_drop(struct drive_table *t, struct drive *d)
{
    struct drive **at = &t->first;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    blk_close(d->blk);
    throttle_group_put(&t->groups, d->group);
    free(d->id);
    free(d);
}

int drive_del_locked(struct drive_table *t, const char *id, struct err *e)
{
    struct drive *d = t->first;

    if (nodes_find(t, id) != NULL) return nodes_del(t, id, e);
    while (d != NULL && (d->is_node || strcmp(d->id, id) != 0))
        d = d->next;
    if (d == NULL) return err_set(e, -ENODEV, "Device '%s' not found", id);
    if (d->job != NULL)
        return err_set(e, -EBUSY,
                       "Device '%s' is busy: block device is in use by block "
                       "job",
                       id);
    if (d->device != NULL)
        return err_set(e, -EBUSY,
                       "Device '%s' is in use by '%s', which cannot be "
                       "unplugged%s",
                       id, d->device,
                       d->is_removable ? "; eject takes its medium" : "");
    if (d->blk != NULL && t->nbd != NULL) nbd_server_forget(t->nbd, d->blk);
    drive_drop(t, d);
    nodes_sweep(t);
    return 0;
}
