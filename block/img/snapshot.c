/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img snapshot. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/img/img.h"
#include "block/img/info.h"

static int list(struct node *n)
{
    struct image_snapshot *all = NULL;
    struct err e = ERR_INIT;
    unsigned count = 0;
    int rc = 0;

    if (n->drv->snapshot_list != NULL)
        rc = n->drv->snapshot_list(n, &all, &count, &e);
    if (rc < 0) {
        img_error("%s", e.text);
        return rc;
    }
    if (count > 0) img_print_snapshot_head();
    for (unsigned i = 0; i < count; i++)
        img_print_snapshot(&all[i]);
    free(all);
    return 0;
}

static int create(struct node *n, const char *name)
{
    struct image_snapshot s = { .icount = 0, .disk_bytes = n->size_bytes };
    struct err e = ERR_INIT;
    struct timespec now;
    int rc = -ENOTSUP;

    clock_gettime(CLOCK_REALTIME, &now);
    s.date_sec = (uint64_t)now.tv_sec;
    s.date_nsec = (uint32_t)now.tv_nsec / 1000 * 1000;
    if (strlen(name) >= sizeof(s.name))
        rc = -ENAMETOOLONG;
    else
        strcpy(s.name, name);
    if (rc == -ENOTSUP && n->drv->snapshot_create != NULL)
        rc = n->drv->snapshot_create(n, &s, &e);
    if (rc < 0)
        img_error("Could not create snapshot '%s': %d (%s)", name, rc,
                  e.text[0] ? e.text : strerror(-rc));
    return rc;
}

static int apply(struct node *n, const char *name)
{
    struct image_snapshot s;
    struct err e = ERR_INIT;
    int rc;

    if (n->drv->snapshot_apply == NULL) {
        img_error("Could not apply snapshot '%s': Block driver does not "
                  "support snapshots",
                  name);
        return -ENOTSUP;
    }
    rc = image_snapshot_find(n, name, &s, &e);
    if (rc == 0) rc = n->drv->snapshot_apply(n, s.id, &e);
    if (rc == -ENOENT)
        img_error("Could not apply snapshot '%s': Failed to load snapshot: "
                  "No such file or directory",
                  name);
    else if (rc < 0)
        img_error("Could not apply snapshot '%s': %s", name, e.text);
    return rc;
}

/* By name alone, as qemu-img: a name may look like another one's id. */
static int find_name(struct node *n, const char *name, char *id, size_t cap,
                     struct err *e)
{
    struct image_snapshot *all = NULL;
    unsigned count = 0;
    int rc = -ENOENT;

    if (n->drv->snapshot_list == NULL) return rc;
    if (n->drv->snapshot_list(n, &all, &count, e) < 0) return e->code;
    for (unsigned i = 0; i < count && rc == -ENOENT; i++) {
        if (strcmp(all[i].name, name) != 0) continue;
        snprintf(id, cap, "%s", all[i].id);
        rc = 0;
    }
    free(all);
    return rc;
}

static int drop(struct node *n, const char *name)
{
    char id[sizeof(((struct image_snapshot *)0)->id)];
    struct err e = ERR_INIT;
    int rc = find_name(n, name, id, sizeof(id), &e);

    if (rc == -ENOENT) {
        img_error("Could not delete snapshot '%s': snapshot not found", name);
        return rc;
    }
    if (rc == 0 && n->drv->snapshot_delete == NULL)
        rc = err_set(&e, -ENOTSUP, "format %s cannot", n->drv->name);
    if (rc == 0) rc = n->drv->snapshot_delete(n, id, &e);
    if (rc < 0) img_error("Could not delete snapshot '%s': %s", name, e.text);
    return rc;
}

int img_snapshot(struct img *m)
{
    unsigned flags = img_flags(m) | IMG_NO_BACKING;
    const char *name = NULL;
    int what = 0, rc;
    struct node *n;

    for (unsigned i = 0; i < m->given_count; i++) {
        int id = m->given[i].id;

        if (id != 'l' && id != 'a' && id != 'c' && id != 'd') continue;
        if (what != 0)
            return img_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
        what = id;
        name = m->given[i].value;
    }
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    /* An image that grew with its backing file is read through it. */
    if (what != 'l') flags = (flags | IMG_WRITE) & ~(unsigned)IMG_NO_BACKING;
    if (img_open(m, m->operands[0], img_get(m, 'f'), NULL, flags, &n) < 0)
        return 1;
    switch (what) {
    case 'a': rc = apply(n, name); break;
    case 'c': rc = create(n, name); break;
    case 'd': rc = drop(n, name); break;
    case 'l': rc = list(n); break;
    default: rc = 0; break; /* nothing was asked for */
    }
    if (rc == 0 && (flags & IMG_WRITE)) {
        rc = node_flush(n);
        if (rc < 0) img_error("%s: %s", n->name, strerror(-rc));
    }
    node_unref(n);
    return rc < 0 ? 1 : 0;
}
