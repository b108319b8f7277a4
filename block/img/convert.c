/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img convert and img dd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/img/img.h"
#include "core/base/size.h"

struct convert {
    struct img *m;
    const char *format, *cache, *backing;
    struct img_pairs pairs;
    struct node *sources[64];
    struct img_target target;
    struct img_work work;
    struct img_copy copy;
};

static int parse_threads(struct convert *v)
{
    const char *text = img_get(v->m, 'm');
    uint64_t count = 8;

    if (text != NULL &&
        (uint_parse(text, &count) < 0 || count < 1 || count > 16)) {
        img_error("Invalid number of coroutines. Allowed number of coroutines "
                  "is between 1 and 16");
        return -1;
    }
    v->copy.threads = (unsigned)count;
    return 0;
}

static int parse_sparse(struct convert *v)
{
    const char *text = img_get(v->m, 'S');
    uint64_t bytes = 4096;

    if (text != NULL && (size_parse(text, 1, &bytes) < 0 ||
                         bytes % BLOCK_SECTOR_BYTES != 0 || bytes > 16 << 20)) {
        img_error("Invalid buffer size for sparse output specified. Valid "
                  "sizes are multiples of 512 up to 16777216. Select 0 to "
                  "disable sparse detection (fully allocates output).");
        return -1;
    }
    v->copy.sparse_bytes = (uint32_t)bytes;
    return 0;
}

/* What contradicts itself. */
static int check_options(struct convert *v)
{
    const struct img *m = v->m;
    const struct block_driver *d = block_driver_find(v->format);

    if (m->operand_count < 1) {
        img_error("Must specify image file name");
        return -1;
    }
    if (img_has(m, IMG_SKIP_BROKEN) && !img_has(m, IMG_BITMAPS)) {
        img_error("Use of --skip-broken-bitmaps requires --bitmaps");
        return -1;
    }
    if (img_has(m, IMG_BITMAPS) && m->operand_count > 2) {
        img_error("Copying bitmaps only possible with single source");
        return -1;
    }
    if (img_has(m, 'n') && img_has(m, 'o')) {
        img_error("warning: -o has no effect when skipping image creation");
    }
    if (img_has(m, 'C') && img_has(m, 'S')) {
        img_error("Cannot enable copy offloading when -S is used");
        return -1;
    }
    if (img_has(m, 'C') && img_has(m, 'c')) {
        img_error("Cannot enable copy offloading when -c is used");
        return -1;
    }
    if (img_has(m, 'C') && img_has(m, IMG_SALVAGE)) {
        img_error("Cannot use copy offloading in salvaging mode");
        return -1;
    }
    if (img_has(m, IMG_TARGET_IS_ZERO) && !img_has(m, 'n')) {
        img_error("--target-is-zero requires use of -n flag");
        return -1;
    }
    if (img_has(m, IMG_TARGET_IMAGE_OPTS) && !img_has(m, 'n')) {
        img_error("--target-image-opts requires use of -n flag");
        return -1;
    }
    if (img_has(m, IMG_TARGET_IMAGE_OPTS) && img_has(m, 'O')) {
        img_error("--target-image-opts and -O are mutually exclusive");
        return -1;
    }
    if (m->operand_count < 2 || m->operand_count > 65) {
        img_error("Must specify image file name");
        return -1;
    }
    if (img_check_cache(img_get(m, 't'), 0) < 0 ||
        img_check_cache(img_get(m, 'T'), IMG_SOURCE_CACHE) < 0)
        return -1;
    if (d == NULL || d->is_protocol || d->is_filter) {
        img_error("Unknown file format '%s'", v->format);
        return -1;
    }
    if (img_has(m, 'c') && strcmp(v->format, "qcow2") != 0) {
        img_error("Compression not supported for this file format");
        return -1;
    }
    return 0;
}

static int open_sources(struct convert *v)
{
    struct img *m = v->m;

    for (unsigned i = 0; i + 1 < m->operand_count; i++) {
        struct node *n;

        if (img_open(m, m->operands[i], img_get(m, 'f'), img_get(m, 'T'),
                     img_flags(m) | IMG_SOURCE_CACHE, &n) < 0)
            return -1;
        v->sources[v->copy.source_count++] = n;
        v->copy.bytes += n->size_bytes;
    }
    if (!img_has(m, 'l')) return 0;
    if (v->copy.source_count > 1) {
        img_error("No support for concatenating multiple snapshot");
        return -1;
    }
    if (img_show_snapshot(v->sources[0], img_get(m, 'l')) < 0) return -1;
    v->copy.bytes = v->sources[0]->size_bytes;
    return 0;
}

/* -B: what the source shares with its own backing file is left out. */
static int prepare_backing(struct convert *v)
{
    struct img *m = v->m;
    const char *format = img_get(m, 'F');
    char *given;
    struct node *n;

    if (img_has(m, 'B') &&
        img_pairs_add(&v->pairs, "backing_file", img_get(m, 'B')) < 0)
        return -1;
    if (format != NULL && img_pairs_add(&v->pairs, "backing_fmt", format) < 0)
        return -1;
    v->backing = img_pairs_get(&v->pairs, "backing_file");
    if (v->backing == NULL) return 0;
    if (v->copy.source_count > 1) {
        img_error("Having a backing file for the target makes no sense when "
                  "concatenating multiple input images");
        return -1;
    }
    if (img_pairs_get(&v->pairs, "backing_fmt") == NULL) {
        img_error("Use of backing file requires explicit backing format");
        return -1;
    }
    given = NULL;
    {
        struct node self = { .name = v->target.file,
                             .backing_file = (char *)(uintptr_t)v->backing };
        given = node_backing_path(&self);
    }
    if (given == NULL) return -1;
    if (img_open(m, given, img_pairs_get(&v->pairs, "backing_fmt"),
                 img_get(m, 'T'), img_has(m, 'U') ? IMG_UNLOCKED : 0, &n) < 0) {
        free(given);
        return -1;
    }
    free(given);
    v->copy.has_backing = true;
    v->copy.backing_bytes = n->size_bytes;
    v->copy.base = v->sources[0]->backing;
    node_unref(n);
    return 0;
}

static int create_target(struct convert *v)
{
    struct image_create c = { .file = v->target.temp,
                              .size_bytes = v->copy.bytes,
                              .has_size = true,
                              .progress = &v->work.progress,
                              .secrets = v->m->secrets };
    char *size = img_pairs_take(&v->pairs, "size");
    struct err e = ERR_INIT;
    char text[600];
    int rc;

    if (size != NULL && size_parse(size, 1, &c.size_bytes) < 0) {
        img_error("Parameter 'size' expects a non-negative number below 2^64");
        free(size);
        return -EINVAL;
    }
    free(size);
    c.pairs = (const char *const *)v->pairs.kv;
    rc = image_create(v->format, &c, &e);
    if (rc == 0 || rc == -ECANCELED) return rc;
    img_error("%s: error while converting %s: %s", v->target.file, v->format,
              img_target_text(&v->target, e.text, text, sizeof(text)));
    return rc;
}

/* Keys that a new encrypted image is opened with. */
static int describe_target(struct convert *v, struct img_pairs *p)
{
    const char *secret = img_pairs_get(&v->pairs, "encrypt.key-secret");
    int rc = img_pairs_add(p, "driver", v->format);

    if (rc == 0) rc = img_pairs_add(p, "file.filename", v->target.temp);
    if (rc == 0 && secret != NULL)
        rc = img_pairs_add(p, "encrypt.key-secret", secret);
    return rc;
}

static char *pairs_text(const struct img_pairs *p)
{
    size_t bytes = 1;
    char *text, *to;

    for (unsigned i = 0; i < p->count; i++)
        bytes += 2 * strlen(p->kv[i]) + 1;
    text = to = malloc(bytes);
    for (unsigned i = 0; text != NULL && i < p->count; i++) {
        if (i > 0) *to++ = i % 2 ? '=' : ',';
        for (const char *s = p->kv[i]; *s != '\0'; s++) {
            if (*s == ',') *to++ = ',';
            *to++ = *s;
        }
    }
    if (text != NULL) *to = '\0';
    return text;
}

static int open_target(struct convert *v)
{
    const char *file = v->m->operands[v->m->operand_count - 1];
    unsigned flags = IMG_WRITE | IMG_QUIET;
    struct img_pairs p = { NULL, 0 };
    char *text;
    int rc;

    if (strcmp(v->cache, "unsafe") == 0) flags |= IMG_UNSAFE;
    if (img_has(v->m, 'n')) {
        bool is_described = img_has(v->m, IMG_TARGET_IMAGE_OPTS);

        return img_open(v->m, file, is_described ? NULL : v->format, v->cache,
                        flags | (is_described ? IMG_DESCRIBED : 0),
                        &v->copy.target);
    }
    /* -u-like: the backing file is read where a cluster is filled up only. */
    if (v->backing == NULL) flags |= IMG_NO_BACKING;
    rc = describe_target(v, &p);
    text = rc == 0 ? pairs_text(&p) : NULL;
    rc = text == NULL ? -ENOMEM
                      : img_open(v->m, text, NULL, v->cache,
                                 flags | IMG_DESCRIBED, &v->copy.target);
    free(text);
    img_pairs_free(&p);
    return rc;
}

static int copy(struct convert *v)
{
    struct img_copy *c = &v->copy;
    struct err e = ERR_INIT;
    int rc;

    if (c->target->size_bytes < c->bytes) {
        img_error("output file is smaller than input file");
        return -EINVAL;
    }
    c->is_zero_target =
        !img_has(v->m, 'n') || img_has(v->m, IMG_TARGET_IS_ZERO);
    rc = img_copy_run(c, &e);
    if (rc == 0) {
        rc = node_flush(c->target);
        if (rc < 0) err_set(&e, rc, "error while writing: %s", strerror(-rc));
    }
    if (rc < 0 && rc != -ECANCELED) img_error("%s", e.text);
    if (rc == 0 && img_has(v->m, IMG_BITMAPS)) {
        rc = img_copy_bitmaps(v->sources[0], c->target,
                              img_has(v->m, IMG_SKIP_BROKEN));
        if (rc == 0) rc = node_flush(c->target);
    }
    return rc;
}

/* From here on signals are watched and the temporary file exists. */
static int convert_guarded(struct convert *v)
{
    bool is_new = !img_has(v->m, 'n');
    int rc = is_new ? create_target(v) : 0;

    if (rc == 0) rc = open_target(v);
    if (rc == 0) rc = copy(v);
    node_unref(v->copy.target);
    if (rc == 0 && atomic_load(&v->work.is_cancelled)) rc = -ECANCELED;
    if (rc == 0 && is_new) rc = img_target_commit(&v->target);
    return rc;
}

static int convert(struct convert *v)
{
    struct img *m = v->m;
    int sig, rc;

    if (open_sources(v) < 0) return 1;
    if (img_has(m, IMG_BITMAPS) &&
        img_check_bitmaps(v->sources[0], img_has(m, IMG_SKIP_BROKEN)) < 0)
        return 1;
    if (!img_has(m, 'n') &&
        img_target_begin(&v->target, m->operands[m->operand_count - 1]) < 0)
        return 1;
    if (!img_has(m, 'n') && prepare_backing(v) < 0) return 1;
    if (img_work_begin(&v->work, img_has(m, 'p') && !m->is_quiet) < 0) return 1;
    rc = convert_guarded(v);
    sig = img_work_stop(&v->work, rc == 0);
    if (sig != 0) {
        img_target_abort(&v->target);
        img_die_of(sig);
    }
    return rc == 0 ? 0 : 1;
}

int img_convert(struct img *m)
{
    struct convert v = { .m = m, .target = { .lock_fd = -1 } };
    int rc = 1;

    v.format = img_get(m, 'O') != NULL ? img_get(m, 'O') : "raw";
    v.cache = img_get(m, 't') != NULL ? img_get(m, 't') : "unsafe";
    v.copy.sources = v.sources;
    v.copy.work = &v.work;
    v.copy.is_compressed = img_has(m, 'c');
    v.copy.is_out_of_order = img_has(m, 'W');
    v.copy.is_offloaded = img_has(m, 'C');
    v.copy.is_salvaging = img_has(m, IMG_SALVAGE);
    if (img_options_help(m, v.format)) return 0;
    if (parse_threads(&v) < 0 || parse_sparse(&v) < 0 ||
        img_get_size(m, 'r', "rate limit", 0, &v.copy.rate_bytes) < 0 ||
        check_options(&v) < 0)
        return 1;
    if (img_pairs_from_o(m, &v.pairs) == 0) rc = convert(&v);
    img_target_abort(&v.target);
    for (unsigned i = 0; i < v.copy.source_count; i++)
        node_unref(v.sources[i]);
    img_pairs_free(&v.pairs);
    return rc;
}

/* ------------------------------------------------------------------- dd */

struct dd {
    const char *in, *out;
    uint64_t block_bytes, count, skip;
    bool has_count;
};

static int dd_number(const char *text, const char *name, uint64_t *out)
{
    if (size_parse(text, 1, out) == 0 && *out <= INT64_MAX) return 0;
    img_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes "
              "for",
              name);
    img_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and "
              "exabytes.");
    return -1;
}

static int dd_operand(struct dd *d, const char *text)
{
    const char *equal = strchr(text, '=');
    size_t bytes = equal != NULL ? (size_t)(equal - text) : strlen(text);
    int rc = 0;

    if (equal != NULL && bytes == 2 && strncmp(text, "if", 2) == 0) {
        d->in = equal + 1;
    } else if (equal != NULL && bytes == 2 && strncmp(text, "of", 2) == 0) {
        d->out = equal + 1;
    } else if (equal != NULL && bytes == 2 && strncmp(text, "bs", 2) == 0) {
        rc = dd_number(equal + 1, "bs", &d->block_bytes);
        if (rc == 0 && d->block_bytes == 0) {
            img_error("Invalid bs specified. Must be between 1 and "
                      "2147483647.");
            rc = -1;
        }
    } else if (equal != NULL && bytes == 5 && strncmp(text, "count", 5) == 0) {
        d->has_count = true;
        rc = dd_number(equal + 1, "count", &d->count);
    } else if (equal != NULL && bytes == 4 && strncmp(text, "skip", 4) == 0) {
        rc = dd_number(equal + 1, "skip", &d->skip);
    } else {
        img_error("unrecognized operand %.*s", (int)bytes, text);
        rc = -1;
    }
    return rc;
}

/* As qemu-img has it, count is where the input ends, counted from its
 * beginning, and not how much is copied behind skip. */
static void dd_range(const struct dd *d, struct convert *v)
{
    uint64_t end = v->sources[0]->size_bytes, limit, skip;

    if (d->has_count &&
        !__builtin_mul_overflow(d->count, d->block_bytes, &limit) &&
        limit < end)
        end = limit;
    if (__builtin_mul_overflow(d->skip, d->block_bytes, &skip) || skip > end) {
        img_error("%s: cannot skip to specified offset", d->in);
        skip = end;
    }
    v->copy.skip_bytes = skip;
    v->copy.bytes = end - skip;
}

int img_dd(struct img *m)
{
    struct convert v = { .m = m, .target = { .lock_fd = -1 } };
    struct dd d = { .block_bytes = 512 };
    int sig, rc;

    v.format = img_get(m, 'O') != NULL ? img_get(m, 'O') : "raw";
    v.cache = "writeback";
    v.copy.sources = v.sources;
    v.copy.work = &v.work;
    v.copy.threads = 4;
    v.copy.sparse_bytes = 4096;
    for (unsigned i = 0; i < m->operand_count; i++) {
        if (dd_operand(&d, m->operands[i]) < 0) return 1;
    }
    if (d.in == NULL || d.out == NULL) {
        img_error("Must specify both input and output files");
        return 1;
    }
    if (block_driver_find(v.format) == NULL) {
        img_error("Unknown file format");
        return 1;
    }
    if (img_open(m, d.in, img_get(m, 'f'), NULL, img_flags(m), &v.sources[0]) <
        0)
        return 1;
    v.copy.source_count = 1;
    dd_range(&d, &v);
    rc = img_target_begin(&v.target, d.out);
    if (rc == 0) rc = img_work_begin(&v.work, false);
    if (rc == 0) {
        rc = convert_guarded(&v);
        sig = img_work_stop(&v.work, rc == 0);
        if (sig != 0) {
            img_target_abort(&v.target);
            img_die_of(sig);
        }
    }
    img_target_abort(&v.target);
    node_unref(v.sources[0]);
    return rc == 0 ? 0 : 1;
}
