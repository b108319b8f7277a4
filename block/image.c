/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole images: options of create, finding snapshots, progress. */
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/size.h"

int image_progress(const struct image_progress *p, uint64_t done,
                   uint64_t total)
{
    if (p == NULL) return 0;
    if (p->is_cancelled != NULL && atomic_load(p->is_cancelled))
        return -ECANCELED;
    if (p->cb != NULL) p->cb(p->arg, done, total);
    return 0;
}

/* ------------------------------------------------------------- options */

/* The last pair with the key counts, as on QEMU's command lines. */
const char *image_opt_text(const struct image_create *c, const char *key)
{
    const char *value = NULL;

    for (const char *const *p = c->pairs; p != NULL && p[0] != NULL; p += 2) {
        if (strcmp(p[0], key) == 0) value = p[1];
    }
    return value;
}

uint64_t image_opt_u64(const struct image_create *c, const char *key,
                       uint64_t without)
{
    const char *text = image_opt_text(c, key);
    uint64_t value;

    if (text == NULL || size_parse(text, 1, &value) < 0) return without;
    return value;
}

bool image_opt_bool(const struct image_create *c, const char *key, bool without)
{
    const char *text = image_opt_text(c, key);

    return text == NULL ? without : strcmp(text, "on") == 0;
}

static int check_words(const struct image_create_opt *o, const char *value,
                       struct err *e)
{
    char list[200] = "";

    if (o->words == NULL) return 0;
    for (const char *const *w = o->words; *w != NULL; w++) {
        size_t used = strlen(list);

        if (strcmp(*w, value) == 0) return 0;
        snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
                 *w);
    }
    return err_set(e, -EINVAL, "%s=%s: must be one of %s", o->key, value, list);
}

static int check_number(const struct image_create_opt *o, const char *value,
                        struct err *e)
{
    uint64_t v;
    int rc = o->type == IMAGE_SIZE ? size_parse(value, 1, &v)
                                   : uint_parse(value, &v);

    if (rc < 0)
        return err_set(e, rc, "%s=%s: must be a %s", o->key, value,
                       o->type == IMAGE_SIZE ? "size, such as 64k" : "number");
    if (v < o->min || (o->max != 0 && v > o->max))
        return err_set(e, -ERANGE, "%s=%s: outside %llu..%llu", o->key, value,
                       (unsigned long long)o->min, (unsigned long long)o->max);
    return 0;
}

static int check_value(const struct image_create_opt *o, const char *value,
                       struct err *e)
{
    switch (o->type) {
    case IMAGE_TEXT: return check_words(o, value, e);
    case IMAGE_BOOL:
        if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0) return 0;
        return err_set(e, -EINVAL, "%s=%s: on or off", o->key, value);
    default: return check_number(o, value, e);
    }
}

int image_opts_check(const struct image_create_opt *table, const char *format,
                     const struct image_create *c, struct err *e)
{
    for (const char *const *p = c->pairs; p != NULL && p[0] != NULL; p += 2) {
        const struct image_create_opt *o = table;
        int rc;

        while (o != NULL && o->key != NULL && strcmp(o->key, p[0]) != 0)
            o++;
        if (o == NULL || o->key == NULL)
            return err_set(e, -EINVAL, "format %s has no option '%s'", format,
                           p[0]);
        rc = check_value(o, p[1], e);
        if (rc < 0) return rc;
    }
    return 0;
}

static const struct image_create_opt *
find_opt(const struct image_create_opt *table, const char *key)
{
    while (table != NULL && table->key != NULL && strcmp(table->key, key) != 0)
        table++;
    return table == NULL || table->key == NULL ? NULL : table;
}

int image_amend(struct node *n, const struct image_create *c, struct err *e)
{
    const struct block_driver *d = n->drv;
    bool has_fixed = d != &block_luks; /* which says why they stay */

    for (const char *const *p = c->pairs; p != NULL && p[0] != NULL; p += 2) {
        const struct image_create_opt *o = find_opt(d->amend_opts, p[0]);
        int rc;

        if (o == NULL && has_fixed) o = find_opt(d->create_opts, p[0]);
        if (o == NULL)
            return err_set(e, -EINVAL, "Invalid parameter '%s'", p[0]);
        rc = check_value(o, p[1], e);
        if (rc < 0) return rc;
    }
    return d->amend(n, c, e);
}

/* ------------------------------------------------------------ creating */

/* nocow=, extent_size_hint=: hints to the host's file system for an empty file.
 * Only some have them, and nothing is lost without. */
static void give_hints(const char *file, const struct image_create *c)
{
    bool is_nocow = image_opt_bool(c, "nocow", false);
    uint64_t hint = image_opt_u64(c, "extent_size_hint", 0);
    int fd = is_nocow || hint != 0 ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    struct fsxattr x;
    int flags;

    if (fd < 0) return;
    if (is_nocow && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (hint != 0 && ioctl(fd, FS_IOC_FSGETXATTR, &x) == 0) {
        x.fsx_xflags |= FS_XFLAG_EXTSIZE;
        x.fsx_extsize = (uint32_t)hint;
        if (ioctl(fd, FS_IOC_FSSETXATTR, &x) < 0)
            log_warn("%s: the file system takes no extent size hint", file);
    }
    close(fd);
}

int image_create_file(const struct image_create *c, struct node **out,
                      struct err *e)
{
    const char *file = c->file;
    const struct node_options o = { .is_readonly = false };
    struct node *n;
    int rc;

    rc = file_make(file, e);
    if (rc < 0) return rc;
    rc = node_open(&block_file, file, NULL, &o, &n, e);
    if (rc < 0) return rc;
    rc = node_truncate(n, 0, "off", true, e);
    if (rc < 0) {
        node_unref(n);
        return rc;
    }
    give_hints(file, c);
    *out = n;
    return 0;
}

int image_create(const char *format, const struct image_create *c,
                 struct err *e)
{
    const struct block_driver *d = block_driver_find(format);
    bool existed = access(c->file, F_OK) == 0;
    int rc;

    if (d == NULL || d->is_protocol)
        return err_set(e, -EINVAL, "unknown image format '%s'", format);
    if (d->create == NULL)
        return err_set(e, -ENOTSUP, "format %s is only read, not created",
                       format);
    if (c->size_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return err_set(e, -EFBIG, "image size too large");
    rc = image_opts_check(d->create_opts, format, c, e);
    if (rc < 0) return rc;
    rc = d->create(c, e);
    if (rc < 0 && !existed) unlink(c->file);
    return rc;
}

uint64_t image_allocated_bytes(const struct node *n)
{
    struct stat st;

    if (stat(n->name, &st) < 0) return UINT64_MAX;
    return (uint64_t)st.st_blocks * 512;
}

/* ----------------------------------------------------------- snapshots */

int image_snapshot_find(struct node *n, const char *id_or_name,
                        struct image_snapshot *out, struct err *e)
{
    struct image_snapshot *all = NULL;
    unsigned count = 0, i, found;
    int rc;

    if (n->drv->snapshot_list == NULL)
        return err_set(e, -ENOTSUP, "%s: format %s has no snapshots", n->name,
                       n->drv->name);
    rc = n->drv->snapshot_list(n, &all, &count, e);
    if (rc < 0) return rc;
    found = count;
    for (i = 0; i < count && found == count; i++) {
        if (strcmp(all[i].id, id_or_name) == 0) found = i;
    }
    for (i = 0; i < count && found == count; i++) {
        if (strcmp(all[i].name, id_or_name) == 0) found = i;
    }
    if (found < count) *out = all[found];
    free(all);
    if (found < count) return 0;
    return err_set(e, -ENOENT, "%s: no snapshot '%s'", n->name, id_or_name);
}
