/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img create, measure, amend, resize. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/img/img.h"
#include "core/base/json.h"
#include "core/base/size.h"

/* Order and defaults of the "Formatting" line, as qemu-img prints it. */
static const struct format_row {
    const char *format, *key, *without; /* without NULL: only if given */
} format_rows[] = {
    { "qcow2", "encrypt.format", NULL },
    { "qcow2", "encrypt.key-secret", NULL },
    { "qcow2", "encrypt.cipher-alg", NULL },
    { "qcow2", "encrypt.cipher-mode", NULL },
    { "qcow2", "encrypt.ivgen-alg", NULL },
    { "qcow2", "encrypt.ivgen-hash-alg", NULL },
    { "qcow2", "encrypt.hash-alg", NULL },
    { "qcow2", "encrypt.iter-time", NULL },
    { "qcow2", "cluster_size", "65536" },
    { "qcow2", "extended_l2", "off" },
    { "qcow2", "preallocation", NULL },
    { "qcow2", "compression_type", "zlib" },
    { "qcow2", "size", "0" },
    { "qcow2", "compat", NULL },
    { "qcow2", "data_file", NULL },
    { "qcow2", "backing_file", NULL },
    { "qcow2", "backing_fmt", NULL },
    { "qcow2", "data_file_raw", NULL },
    { "qcow2", "lazy_refcounts", "off" },
    { "qcow2", "refcount_bits", "16" },
    { "qcow2", "nocow", NULL },
    { "qcow2", "extent_size_hint", NULL },
    { "raw", "size", "0" },
    { "raw", "preallocation", NULL },
    { "raw", "nocow", NULL },
    { "raw", "extent_size_hint", NULL },
};

static void print_value(const char *key, const char *value)
{
    uint64_t v;

    if ((strcmp(key, "cluster_size") == 0 ||
         strcmp(key, "extent_size_hint") == 0) &&
        size_parse(value, 1, &v) == 0)
        printf(" %s=%llu", key, (unsigned long long)v);
    else
        printf(" %s=%s", key, value);
}

static void print_formatting(const struct img *m, const char *file,
                             const char *format, const struct img_pairs *p,
                             uint64_t bytes)
{
    char size[32];

    if (m->is_quiet) return;
    snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
    printf("Formatting '%s', fmt=%s", file, format);
    for (size_t i = 0; i < sizeof(format_rows) / sizeof(format_rows[0]); i++) {
        const struct format_row *r = &format_rows[i];
        const char *value = img_pairs_get(p, r->key);

        if (strcmp(r->format, format) != 0) continue;
        if (strcmp(r->key, "size") == 0) value = size;
        if (value == NULL) value = r->without;
        if (value != NULL) print_value(r->key, value);
    }
    putchar('\n');
    fflush(stdout);
}

static int check_format(const char *file, const char *format)
{
    const struct block_driver *d = block_driver_find(format);

    if (d != NULL && !d->is_protocol && !d->is_filter) return 0;
    if (file != NULL)
        img_error("%s: Unknown file format '%s'", file, format);
    else
        img_error("Unknown file format '%s'", format);
    return -1;
}

/* Look at the backing file: it must open, and gives the size. */
static int backing_size(const struct img *m, const char *file,
                        const struct img_pairs *p, uint64_t *bytes)
{
    const char *name = img_pairs_get(p, "backing_file");
    const char *format = img_pairs_get(p, "backing_fmt");
    struct node_options o = { .is_readonly = true, .secrets = m->secrets };
    struct node self = { .name = (char *)(uintptr_t)file,
                         .backing_file = (char *)(uintptr_t)name };
    struct err e = ERR_INIT;
    struct node *n;
    char *path = node_backing_path(&self);
    int rc;

    if (path == NULL) return -ENOMEM;
    rc = node_open_image(path, format, false, false, &o, &n, &e);
    if (rc < 0) {
        img_error("%s: Could not open '%s': %s\nCould not open backing image.",
                  file, path, img_reason(&e, path));
    } else if (format == NULL) {
        img_error("%s: Backing file specified without backing format\n"
                  "Detected format of %s.",
                  file, n->drv->name);
        rc = -EINVAL;
        node_unref(n);
    } else {
        *bytes = n->size_bytes;
        node_unref(n);
    }
    free(path);
    return rc;
}

/* Options for create from -o, -b, -F and the size operand. */
static int create_pairs(struct img *m, struct img_pairs *p, uint64_t *bytes,
                        bool *has_size)
{
    const char *file = m->operands[0];
    const char *name = img_get(m, 'b'), *format = img_get(m, 'F');
    char *size;
    int rc = img_pairs_from_o(m, p);

    if (rc == 0 && name != NULL) rc = img_pairs_add(p, "backing_file", name);
    if (rc == 0 && format != NULL) rc = img_pairs_add(p, "backing_fmt", format);
    if (rc < 0) return rc;
    size = img_pairs_take(p, "size");
    if (size != NULL && *has_size) {
        img_error("%s: The image size must be specified only once", file);
        free(size);
        return -EINVAL;
    }
    if (size != NULL) {
        rc = size_parse(size, 1, bytes);
        free(size);
        if (rc < 0) {
            img_error("%s: Parameter 'size' expects a non-negative number "
                      "below 2^64",
                      file);
            return rc;
        }
        *has_size = true;
    }
    format = img_pairs_get(p, "backing_fmt");
    if (format != NULL && check_format(file, format) < 0) return -EINVAL;
    return 0;
}

/* Before anything is printed or touched. */
static int check_pairs(const char *file, const char *format,
                       const struct img_pairs *p)
{
    const struct image_create c = { .pairs = (const char *const *)p->kv };
    const struct block_driver *d = block_driver_find(format);
    struct err e = ERR_INIT;

    if (d->create == NULL ||
        image_opts_check(d->create_opts, format, &c, &e) == 0)
        return 0;
    img_error("%s: %s", file, e.text);
    return -1;
}

static int parse_size_operand(const char *text, uint64_t *bytes)
{
    int rc = size_parse(text, 1, bytes);

    if (rc == -ERANGE || (rc == 0 && *bytes > INT64_MAX)) {
        img_error("Invalid image size specified. Must be between 0 and %lld.",
                  (long long)INT64_MAX);
        return -1;
    }
    if (rc == 0) return 0;
    img_error("Invalid image size specified. You may use k, M, G, T, P or E "
              "suffixes for");
    img_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and "
              "exabytes.");
    return -1;
}

static int make(struct img *m, const char *format, struct img_pairs *p,
                uint64_t bytes)
{
    const char *file = m->operands[0];
    struct image_create c = { .size_bytes = bytes,
                              .has_size = true,
                              .pairs = (const char *const *)p->kv,
                              .secrets = m->secrets };
    struct img_target t;
    struct img_work w;
    struct err e = ERR_INIT;
    char text[600];
    int rc;

    if (img_target_begin(&t, file) < 0 || img_work_begin(&w, false) < 0) {
        img_target_abort(&t);
        return 1;
    }
    c.file = t.temp;
    c.progress = &w.progress;
    rc = image_create(format, &c, &e);
    if (rc == 0 && atomic_load(&w.is_cancelled)) rc = -ECANCELED;
    if (rc == 0)
        rc = img_target_commit(&t);
    else {
        if (rc != -ECANCELED) {
            struct err told = ERR_INIT;

            snprintf(told.text, sizeof(told.text), "%s",
                     img_target_text(&t, e.text, text, sizeof(text)));
            img_error("%s: %s", file, img_reason(&told, t.file));
        }
        img_target_abort(&t);
    }
    img_work_end(&w, rc == 0);
    return rc == 0 ? 0 : 1;
}

int img_create(struct img *m)
{
    const char *format = img_get(m, 'f');
    struct img_pairs p = { NULL, 0 };
    uint64_t bytes = 0, of_backing = 0;
    bool has_size = false;
    int rc = 1;

    if (format == NULL) format = "raw";
    if (img_options_help(m, format)) return 0;
    if (m->operand_count == 0)
        return img_usage_error("Expecting image file name");
    if (m->operand_count > 2)
        return img_usage_error("Unexpected argument: %s", m->operands[2]);
    if (m->operand_count == 2 && parse_size_operand(m->operands[1], &bytes) < 0)
        return 1;
    if (check_format(m->operands[0], format) < 0) return 1;
    has_size = m->operand_count == 2;
    if (create_pairs(m, &p, &bytes, &has_size) < 0) goto out;
    if (img_pairs_get(&p, "backing_file") != NULL && !img_has(m, 'u')) {
        if (backing_size(m, m->operands[0], &p, &of_backing) < 0) goto out;
        if (!has_size) bytes = of_backing;
        has_size = true;
    }
    if (!has_size) {
        img_error("%s: Image creation needs a size parameter", m->operands[0]);
        goto out;
    }
    if (check_pairs(m->operands[0], format, &p) < 0) goto out;
    print_formatting(m, m->operands[0], format, &p, bytes);
    rc = make(m, format, &p, bytes);
out:
    img_pairs_free(&p);
    return rc;
}

/* -------------------------------------------------------------- measure */

int img_show_snapshot(struct node *n, const char *param)
{
    struct img_pairs p = { NULL, 0 };
    struct image_snapshot s;
    struct err e = ERR_INIT;
    const char *key = param;
    int rc = 0;

    if (strncmp(param, "snapshot.", 9) == 0) {
        if (img_pairs_parse(&p, param) < 0) return -ENOMEM;
        key = img_pairs_get(&p, "snapshot.id");
        if (key == NULL) key = img_pairs_get(&p, "snapshot.name");
        if (key == NULL) key = "";
    }
    if (n->drv->snapshot_show == NULL)
        rc = err_set(&e, -ENOTSUP, "format %s has no snapshots", n->drv->name);
    if (rc == 0) rc = image_snapshot_find(n, key, &s, &e);
    if (rc == 0) rc = n->drv->snapshot_show(n, s.id, &e);
    if (rc < 0)
        img_error("Failed to load snapshot: %s",
                  rc == -ENOENT ? "Can't find snapshot" : e.text);
    img_pairs_free(&p);
    return rc;
}

static void ignore_begin(void *arg, const char *key, bool is_list)
{
    (void)arg, (void)key, (void)is_list;
}

static void ignore_end(void *arg)
{
    (void)arg;
}

static void ignore_number(void *arg, const char *key, uint64_t value)
{
    (void)arg, (void)key, (void)value;
}

static void ignore_truth(void *arg, const char *key, bool value)
{
    (void)arg, (void)key, (void)value;
}

static void see_compat(void *arg, const char *key, const char *value)
{
    if (key != NULL && strcmp(key, "compat") == 0 && strcmp(value, "0.10") != 0)
        *(bool *)arg = true;
}

/* Version 3 can. */
static bool can_have_bitmaps(struct node *n)
{
    bool can = false;
    struct info_sink sink = { ignore_begin,  ignore_end,   see_compat,
                              ignore_number, ignore_truth, &can };

    if (strcmp(n->drv->name, "qcow2") == 0 && n->drv->info_specific != NULL)
        n->drv->info_specific(n, &sink);
    return can;
}

/* What the source's bitmaps would take, all of their bits stored: data, tables
 * and a directory, in clusters of the new image. */
static uint64_t bitmaps_size(struct node *n, const struct image_create *c)
{
    uint64_t cluster = image_opt_u64(c, "cluster_size", 65536);
    uint64_t total = 0, directory = 0;
    struct image_bitmap_info b;

    if (n->drv->bitmap_nth == NULL) return 0;
    for (unsigned i = 0; n->drv->bitmap_nth(n, i, &b); i++) {
        uint64_t bits = n->size_bytes / b.granularity +
                        (n->size_bytes % b.granularity != 0);
        uint64_t clusters = ((bits + 7) / 8 + cluster - 1) / cluster;

        if (b.is_broken) continue;
        total += clusters + (clusters * 8 + cluster - 1) / cluster;
        directory += (24 + strlen(b.name) + 7) & ~UINT64_C(7);
    }
    return (total + (directory + cluster - 1) / cluster) * cluster;
}

/* Of bitmaps only if the source can have some. */
static void print_measure(bool is_json, bool has_bitmaps, uint64_t bitmaps,
                          uint64_t required, uint64_t full)
{
    struct json_out o = { .f = stdout, .is_pretty = true };

    if (!is_json) {
        printf("required size: %llu\nfully allocated size: %llu\n",
               (unsigned long long)required, (unsigned long long)full);
        if (has_bitmaps)
            printf("bitmaps size: %llu\n", (unsigned long long)bitmaps);
        return;
    }
    json_open(&o, NULL, '{');
    if (has_bitmaps) json_uint(&o, "bitmaps", bitmaps);
    json_uint(&o, "required", required);
    json_uint(&o, "fully-allocated", full);
    json_close(&o, '}');
    putchar('\n');
}

int img_measure(struct img *m)
{
    const char *format = img_get(m, 'O');
    const struct block_driver *d;
    struct img_pairs p = { NULL, 0 };
    struct image_create c = { .file = "", .secrets = m->secrets };
    struct node *source = NULL;
    struct err e = ERR_INIT;
    uint64_t required, full;
    bool is_json;
    int rc = 1;

    if (format == NULL) format = "raw";
    if (img_get_output(m, &is_json) < 0) return 1;
    if (img_options_help(m, format)) return 0;
    if (m->operand_count > 1) {
        img_error("At most one filename argument is allowed.");
        return 1;
    }
    if (m->operand_count == 0 &&
        (img_has(m, IMG_IMAGE_OPTS) || img_has(m, 'f') || img_has(m, 'l'))) {
        img_error("--image-opts, -f, and -l can only be used with a filename "
                  "argument.");
        return 1;
    }
    if (m->operand_count == 0 && !img_has(m, IMG_SIZE)) {
        img_error("Either --size N or one filename must be specified.");
        return 1;
    }
    if (m->operand_count == 1 && img_has(m, IMG_SIZE)) {
        img_error("--size N cannot be used together with a filename.");
        return 1;
    }
    if (img_get_size(m, IMG_SIZE, "image size", 0, &c.size_bytes) < 0) return 1;
    if (check_format(NULL, format) < 0) return 1;
    d = block_driver_find(format);
    if (img_pairs_from_o(m, &p) < 0) goto out;
    c.pairs = (const char *const *)p.kv;
    c.has_size = true;
    if (m->operand_count == 1) {
        if (img_open(m, m->operands[0], img_get(m, 'f'), NULL, img_flags(m),
                     &source) < 0)
            goto out;
        if (img_has(m, 'l') && img_show_snapshot(source, img_get(m, 'l')) < 0)
            goto out;
        c.size_bytes = source->size_bytes;
    }
    if (d->measure == NULL) {
        img_error("Block driver '%s' does not support size measurement",
                  format);
        goto out;
    }
    if (image_opts_check(d->create_opts, format, &c, &e) < 0 ||
        d->measure(&c, source, &required, &full, &e) < 0) {
        img_error("%s", e.text);
        goto out;
    }
    print_measure(is_json,
                  source != NULL && strcmp(format, "qcow2") == 0 &&
                      can_have_bitmaps(source),
                  source != NULL ? bitmaps_size(source, &c) : 0, required,
                  full);
    rc = 0;
out:
    node_unref(source);
    img_pairs_free(&p);
    return rc;
}

/* ---------------------------------------------------------------- amend */

static bool can_amend(const char *format)
{
    const struct block_driver *d = block_driver_find(format);

    return d != NULL && d->amend != NULL;
}

int img_amend(struct img *m)
{
    const char *format = img_get(m, 'f');
    struct img_pairs p = { NULL, 0 };
    struct image_create c = { .secrets = m->secrets };
    struct node *n = NULL;
    struct img_work w;
    struct err e = ERR_INIT;
    int rc = 1;

    if (!img_has(m, 'o')) return img_usage_error("Must specify options (-o)");
    if (format != NULL && img_options_help(m, format))
        return can_amend(format) ? 0 : 1;
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_open(m, m->operands[0], format, img_get(m, 't'),
                 img_flags(m) | IMG_WRITE, &n) < 0)
        return 1;
    if (img_options_help(m, n->drv->name)) {
        node_unref(n);
        return 0;
    }
    if (n->drv->amend == NULL) {
        img_error("Format driver '%s' does not support option amendment",
                  n->drv->name);
        node_unref(n);
        return 1;
    }
    if (img_pairs_from_o(m, &p) == 0 &&
        img_work_begin(&w, img_has(m, 'p')) == 0) {
        c.file = n->name;
        c.pairs = (const char *const *)p.kv;
        c.progress = &w.progress;
        c.is_forced = img_has(m, IMG_FORCE);
        rc = image_amend(n, &c, &e);
        if (rc == 0) rc = node_flush(n);
        if (rc < 0 && rc != -ECANCELED)
            img_error("%s", e.text[0] ? e.text : strerror(-rc));
        img_work_end(&w, rc == 0);
        rc = rc == 0 ? 0 : 1;
    }
    node_unref(n);
    img_pairs_free(&p);
    return rc;
}

/* --------------------------------------------------------------- resize */

static bool is_preallocation(const char *how)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full" };

    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(names[i], how) == 0) return true;
    }
    return false;
}

/* [+|-]size against the present size. */
static int new_size(const struct node *n, const char *text, uint64_t *out)
{
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    uint64_t v;

    if (size_parse(text, 1, &v) < 0 || v > INT64_MAX) {
        img_error("Parameter 'size' expects a non-negative number below 2^64");
        fputs("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
              "tera-, peta-\nand exabytes, respectively.\n",
              stderr);
        return -1;
    }
    if (sign == '+')
        *out = n->size_bytes + v;
    else if (sign == '-' && v >= n->size_bytes)
        *out = 0;
    else
        *out = sign == '-' ? n->size_bytes - v : v;
    if (*out > 0) return 0;
    img_error("New image size must be positive");
    return -1;
}

static int resize(struct img *m, struct node *n, const char *how)
{
    struct err e = ERR_INIT;
    uint64_t bytes, before = n->size_bytes;
    int rc;

    if (new_size(n, m->operands[1], &bytes) < 0) return 1;
    if (bytes <= before && strcmp(how, "off") != 0) {
        img_error("Preallocation can only be used for growing images");
        return 1;
    }
    if (bytes < before && !img_has(m, IMG_SHRINK)) {
        img_error("Use the --shrink option to perform a shrink operation.");
        img_error("warning: Shrinking an image will delete all data beyond "
                  "the shrunken image's end. Before performing such an "
                  "operation, make sure there is no important data there.");
        return 1;
    }
    rc = node_truncate(n, bytes, how, img_has(m, IMG_SHRINK), &e);
    if (rc == 0) {
        rc = node_flush(n);
        if (rc < 0) err_set(&e, rc, "%s", strerror(-rc));
    }
    if (rc < 0) {
        img_error("%s", e.text);
        return 1;
    }
    img_say(m, "Image resized.\n");
    return 0;
}

int img_resize(struct img *m)
{
    const char *how = img_get(m, IMG_PREALLOCATION);
    struct node *n;
    int rc;

    if (how == NULL) how = "off";
    if (!is_preallocation(how)) {
        img_error("Invalid preallocation mode '%s'", how);
        return 1;
    }
    if (m->operand_count + m->given_count < 2)
        return img_usage_error("Not enough arguments");
    if (m->operand_count != 2)
        return img_usage_error("Expecting image file name and size");
    if (img_open(m, m->operands[0], img_get(m, 'f'), NULL,
                 img_flags(m) | IMG_WRITE, &n) < 0)
        return 1;
    rc = resize(m, n, how);
    node_unref(n);
    return rc;
}
