/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes: the driver table, probing, opening, and the chain of backing files.
 */
#include "block/block_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/chain.h"
#include "block/map.h"
#include "block/nbd.h"
#include "core/base/size.h"

const struct block_driver *const block_drivers[] = {
    &block_file, &block_nbd,   &block_raw, &block_qcow2,
    &block_luks, &block_vmdk,  &block_vdi, &block_vhdx,
    &block_vpc,  &block_qcow1, NULL,
};

/* First octets of image formats, from their public descriptions. */
static const struct magic {
    const char *format;
    uint32_t offset, bytes;
    const char *octets;
} magics[] = {
    /* clang-format off */
    { "qcow2", 0,    4, "QFI\xfb" },
    { "qed",   0,    4, "QED\0" },
    { "vmdk",  0,    4, "KDMV" },
    { "vmdk",  0,    4, "COWD" },
    { "vmdk",  0,   21, "# Disk DescriptorFile" },
    { "vdi",   0x40, 4, "\x7f\x10\xda\xbe" },
    { "vhdx",  0,    8, "vhdxfile" },
    { "vpc",   0,    8, "conectix" },
    { "parallels", 0, 16, "WithoutFreeSpace" },
    { "parallels", 0, 16, "WithouFreSpacExt" },
    /* clang-format on */
};

const char *block_foreign_format(const uint8_t *head, size_t bytes)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        const struct magic *m = &magics[i];

        if (m->offset + m->bytes <= bytes &&
            memcmp(head + m->offset, m->octets, m->bytes) == 0)
            return m->format;
    }
    return NULL;
}

const struct block_driver *block_driver_find(const char *name)
{
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        if (strcmp(block_drivers[i]->name, name) == 0) return block_drivers[i];
    }
    return NULL;
}

struct node *node_ref(struct node *n)
{
    n->refs++;
    return n;
}

static void node_free(struct node *n)
{
    free(n->backing_format);
    free(n->backing_file);
    free(n->node_name);
    free(n->name);
    free(n);
}

void node_unref(struct node *n)
{
    while (n != NULL && --n->refs == 0) {
        struct node *child = n->child;

        n->drv->close(n);
        node_unref(n->backing);
        node_free(n);
        n = child;
    }
}

int node_open(const struct block_driver *drv, const char *name,
              struct node *child, const struct node_options *o,
              struct node **out, struct err *e)
{
    struct node *n = calloc(1, sizeof(*n));
    int rc;

    if (n != NULL) n->name = strdup(name);
    if (n == NULL || n->name == NULL) {
        free(n);
        node_unref(child);
        return err_set(e, -ENOMEM, "out of memory");
    }
    n->drv = drv;
    n->child = child;
    n->refs = 1;
    rc = drv->open(n, o, e);
    if (rc < 0) {
        node_free(n);
        node_unref(child);
        return rc;
    }
    *out = n;
    return 0;
}

/* ------------------------------------------------------------- options */

const char *node_option(const struct node_options *o, const char *key)
{
    for (unsigned i = 0; i < o->kv_count; i++) {
        if (strcmp(o->kv[i].key, key) != 0) continue;
        o->kv[i].is_taken = true;
        return o->kv[i].value;
    }
    return NULL;
}

int node_option_size(const struct node_options *o, const char *key,
                     uint64_t min, uint64_t max, uint64_t *value, struct err *e)
{
    const char *text = node_option(o, key);
    uint64_t v;
    int rc;

    if (text == NULL) return 0;
    rc = size_parse(text, 1, &v);
    if (rc < 0) return err_set(e, rc, "%s=%s: no size", key, text);
    if (v < min || v > max)
        return err_set(e, -ERANGE, "%s=%s: outside %llu..%llu", key, text,
                       (unsigned long long)min, (unsigned long long)max);
    *value = v;
    return 0;
}

int node_option_bool(const struct node_options *o, const char *key, bool *value,
                     struct err *e)
{
    const char *text = node_option(o, key);

    if (text == NULL) return 0;
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
        return err_set(e, -EINVAL, "%s=%s: on or off", key, text);
    *value = strcmp(text, "on") == 0;
    return 0;
}

static int refuse_untaken(const struct node_options *o, const char *format,
                          struct err *e)
{
    for (unsigned i = 0; i < o->kv_count; i++) {
        if (!o->kv[i].is_taken)
            return err_set(e, -EINVAL, "format %s has no option '%s'", format,
                           o->kv[i].key);
    }
    return 0;
}

/* ------------------------------------------------------------- opening */

int node_probe(struct node *file, const struct block_driver **out,
               struct err *e)
{
    uint8_t head[BLOCK_PROBE_BYTES] = { 0 };
    size_t bytes = sizeof(head);
    const char *foreign;
    int rc, best = 0;

    if (file->size_bytes < bytes) bytes = (size_t)file->size_bytes;
    rc = node_pread(file, 0, head, bytes);
    if (rc < 0)
        return err_set(e, rc, "%s: cannot be read: %s", file->name,
                       strerror(-rc));
    *out = NULL;
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        const struct block_driver *d = block_drivers[i];
        int score = d->probe != NULL ? d->probe(head, bytes) : 0;

        if (score > best) {
            best = score;
            *out = d;
        }
    }
    if (*out != NULL) return 0;
    foreign = block_foreign_format(head, bytes);
    return err_set(e, -ENOTSUP,
                   "%s: image format '%s' is not supported; convert it to "
                   "raw, or say format=raw if it is the disk itself",
                   file->name, foreign != NULL ? foreign : "unknown");
}

static int check_format(const char *format, const struct block_driver **drv,
                        struct err *e)
{
    *drv = NULL;
    if (format == NULL) return 0;
    *drv = block_driver_find(format);
    if (*drv != NULL && !(*drv)->is_protocol) return 0;
    return err_set(e, -EINVAL, "unknown image format '%s'", format);
}

/* The protocol, and what tests put above it. */
static int open_file(const char *file, bool is_user_name,
                     const struct node_options *o, struct node **out,
                     struct err *e)
{
    const struct block_driver *drv =
        is_user_name && nbd_is_name(file) ? &block_nbd : &block_file;
    int rc = node_open(drv, file, NULL, o, out, e);

    if (rc == 0 && o->faults != NULL)
        rc = node_open(&block_faulty, file, *out, o, out, e);
    if (rc == 0 && o->log_writes != NULL)
        rc = node_open(&block_logwrites, file, *out, o, out, e);
    return rc;
}

/* Protocol and format, without what lies below. */
static int open_layer(const char *file, const char *format, bool is_user_name,
                      const struct node_options *o, struct node **out,
                      struct err *e)
{
    const struct block_driver *drv;
    struct node_options here = *o;
    struct node *n;
    int rc = check_format(format, &drv, e);

    if (rc < 0) return rc;
    rc = open_file(file, is_user_name, o, &n, e);
    if (rc < 0) return rc;
    if (drv == NULL) {
        rc = node_probe(n, &drv, e);
        if (rc < 0) {
            node_unref(n);
            return rc;
        }
        here.is_probed = true;
    }
    rc = node_open(drv, file, n, &here, &n, e);
    if (rc < 0) return rc;
    rc = refuse_untaken(o, drv->name, e);
    if (rc < 0) {
        node_unref(n);
        return rc;
    }
    *out = n;
    return 0;
}

char *node_backing_path(const struct node *n)
{
    return node_path_beside(n, n->backing_file);
}

char *node_path_beside(const struct node *n, const char *file)
{
    const char *slash;
    char *path;
    size_t folder;

    if (strncmp(file, "file:", 5) == 0) file += 5;
    slash = strrchr(n->name, '/');
    if (file[0] == '/' || slash == NULL) return strdup(file);
    folder = (size_t)(slash - n->name) + 1;
    path = malloc(folder + strlen(file) + 1);
    if (path == NULL) return NULL;
    memcpy(path, n->name, folder);
    strcpy(path + folder, file);
    return path;
}

/* The file is already in the chain: a loop. */
static bool is_same_file(const struct node *a, const char *path)
{
    struct stat x, y;

    return stat(a->name, &x) == 0 && stat(path, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int check_loop(const struct node *top, const char *path, struct err *e)
{
    unsigned depth = 0;

    for (const struct node *n = top; n != NULL; n = n->backing, depth++) {
        if (!n->drv->is_filter && is_same_file(n, path))
            return err_set(e, -ELOOP,
                           "%s: the backing file chain comes back to it", path);
    }
    if (depth >= BLOCK_MAX_CHAIN)
        return err_set(e, -ELOOP, "%s: more than %d backing files", top->name,
                       BLOCK_MAX_CHAIN);
    return 0;
}

/* Open what top's header names, and what that names, down to the end. */
int node_open_backing(struct node *top, const struct node_options *o,
                      struct err *e)
{
    struct node_options below = { .is_readonly = true,
                                  .is_direct = o->is_direct,
                                  .is_unlocked = o->is_unlocked,
                                  .secrets = o->secrets };

    for (struct node *n = top; n->backing_file != NULL; n = n->backing) {
        char *path = node_backing_path(n);
        int rc;

        if (path == NULL) return err_set(e, -ENOMEM, "out of memory");
        rc = check_loop(top, path, e);
        if (rc == 0)
            rc = open_layer(path, n->backing_format, false, &below, &n->backing,
                            e);
        free(path);
        if (rc < 0) {
            err_prefix(e, "%s: backing file", n->name);
            return rc;
        }
    }
    return 0;
}

int node_open_image(const char *file, const char *format, bool is_user_name,
                    bool is_snapshot, const struct node_options *o,
                    struct node **out, struct err *e)
{
    struct node_options top = *o;
    struct node *n;
    int rc;

    if (is_snapshot) top.is_readonly = true;
    rc = open_layer(file, format, is_user_name, &top, &n, e);
    if (rc < 0) return rc;
    if (!o->is_no_backing) rc = node_open_backing(n, o, e);
    if (rc < 0) {
        node_unref(n);
        return rc;
    }
    if (is_snapshot && !o->is_readonly)
        rc = node_open(&block_overlay, file, n, o, &n, e);
    if (rc == 0) *out = n;
    return rc;
}
