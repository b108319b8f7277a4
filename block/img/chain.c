/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img rebase and img commit: data that move between an image and the files
 * below it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "block/img/img.h"

enum { CHAIN_BYTES = 1 << 20 };

/* --------------------------------------------------------------- rebase */

struct rebase {
    struct img *m;
    struct node *n;
    struct node *below; /* the new backing file, or NULL */
    uint8_t *old_data, *new_data;
    struct img_work work;
};

/* Two that stand for the same octets: nothing to compare. */
static bool is_same_file(const struct node *a, const struct node *b)
{
    struct stat x, y;

    return a != NULL && b != NULL && stat(a->name, &x) == 0 &&
           stat(b->name, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* Zeros that hide what the new backing file has.  The node must know of one:
 * without, it would find nothing to do. */
static int hide(struct rebase *r, uint64_t at, size_t bytes)
{
    struct node *old = r->n->backing;
    int rc;

    r->n->backing = r->below;
    rc = node_zero(r->n, at, bytes, 0);
    r->n->backing = old;
    return rc;
}

/* Grains that differ are written into the image, so that it keeps showing
 * what it showed. */
static int keep_range(struct rebase *r, uint64_t at, size_t bytes)
{
    size_t grain = r->n->align_bytes != 0 ? r->n->align_bytes : 4096;
    int rc = node_pread(r->n, at, r->old_data, bytes);

    if (rc == 0) rc = img_read_padded(r->below, at, r->new_data, bytes);
    for (size_t done = 0; rc == 0 && done < bytes;) {
        size_t here = grain - (size_t)((at + done) % grain);

        if (here > bytes - done) here = bytes - done;
        if (memcmp(r->old_data + done, r->new_data + done, here) != 0)
            rc = buf_is_zero(r->old_data + done, here)
                     ? hide(r, at + done, here)
                     : node_pwrite(r->n, at + done, r->old_data + done, here);
        done += here;
    }
    return rc;
}

static int rebase_data(struct rebase *r)
{
    uint64_t at = 0, end = r->n->size_bytes;

    while (at < end) {
        struct node_extent x;
        uint64_t limit = end - at < CHAIN_BYTES ? end - at : CHAIN_BYTES;
        int rc = node_status(r->n, at, end - at, &x);

        if (atomic_load(&r->work.is_cancelled)) return -ECANCELED;
        if (rc < 0) {
            img_error("error while reading image metadata: %s", strerror(-rc));
            return rc;
        }
        if (!(x.flags & EXTENT_ALLOCATED)) {
            if (x.bytes > limit) x.bytes = limit;
            rc = keep_range(r, at, (size_t)x.bytes);
            if (rc < 0) {
                img_error("Error while writing to COW image: %s",
                          strerror(-rc));
                return rc;
            }
        }
        at += x.bytes;
        img_work_set(&r->work, at, end);
    }
    return 0;
}

static int open_new(struct rebase *r, const char *file, const char *format)
{
    struct node self = { .name = r->n->name,
                         .backing_file = (char *)(uintptr_t)file };
    char *path = node_backing_path(&self);
    struct node_options o = { .is_readonly = true, .secrets = r->m->secrets };
    struct err e = ERR_INIT;
    int rc;

    if (path == NULL) return -ENOMEM;
    o.is_unlocked = img_has(r->m, 'U');
    rc = node_open_image(path, format, false, false, &o, &r->below, &e);
    if (rc < 0)
        img_error("Could not open new backing file '%s': %s", path,
                  img_reason(&e, path));
    else if (is_same_file(r->below, r->n))
        img_error("Backing file '%s' is the image itself", file), rc = -ELOOP;
    free(path);
    return rc;
}

static int rebase_name(struct rebase *r, const char *file, const char *format)
{
    struct err e = ERR_INIT;
    int rc;

    if (file[0] != '\0' && format == NULL && r->n->drv->has_backing) {
        img_error("Could not change the backing file to '%s': backing format "
                  "must be specified",
                  file);
        return -EINVAL;
    }
    if (r->n->drv->change_backing == NULL) {
        img_error("Could not change the backing file to '%s': Operation not "
                  "supported",
                  file);
        return -ENOTSUP;
    }
    rc = r->n->drv->change_backing(r->n, file[0] ? file : NULL,
                                   file[0] ? format : NULL, &e);
    if (rc == 0) rc = node_flush(r->n);
    if (rc < 0)
        img_error("Could not change the backing file to '%s': %s", file,
                  e.text[0] ? e.text : strerror(-rc));
    return rc;
}

static int rebase(struct rebase *r, const char *file, const char *format)
{
    int rc = 0;

    if (!img_has(r->m, 'u')) {
        r->old_data = malloc(CHAIN_BYTES);
        r->new_data = malloc(CHAIN_BYTES);
        if (r->old_data == NULL || r->new_data == NULL) return -ENOMEM;
        if (file[0] != '\0') rc = open_new(r, file, format);
        if (rc == 0 && !is_same_file(r->below, r->n->backing))
            rc = rebase_data(r);
        if (rc == 0) rc = node_flush(r->n); /* before the name changes */
    }
    return rc == 0 ? rebase_name(r, file, format) : rc;
}

int img_rebase(struct img *m)
{
    const char *file = img_get(m, 'b'), *format = img_get(m, 'F');
    struct rebase r = { .m = m };
    bool is_unsafe = img_has(m, 'u');
    int rc;

    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (file == NULL && !is_unsafe)
        return img_usage_error(
            "Must specify backing file (-b) or use unsafe mode (-u)");
    if (file == NULL) file = "";
    if (img_check_cache(img_get(m, 'T'), IMG_SOURCE_CACHE) < 0) return 1;
    if (format != NULL && block_driver_find(format) == NULL) {
        img_error("Invalid format name: '%s'", format);
        return 1;
    }
    if (img_open(m, m->operands[0], img_get(m, 'f'), img_get(m, 't'),
                 (img_flags(m) & ~(unsigned)IMG_UNLOCKED) | IMG_WRITE |
                     (is_unsafe ? IMG_NO_BACKING : 0),
                 &r.n) < 0)
        return 1;
    if (img_work_begin(&r.work, img_has(m, 'p')) < 0) {
        rc = -ENOMEM;
    } else {
        rc = rebase(&r, file, format);
        img_work_end(&r.work, rc == 0);
    }
    node_unref(r.below);
    node_unref(r.n);
    free(r.old_data);
    free(r.new_data);
    return rc == 0 ? 0 : 1;
}

/* --------------------------------------------------------------- commit */

struct commit {
    struct img *m;
    struct node *layer[BLOCK_MAX_CHAIN + 1]; /* from the top; the last one is
                                                written */
    unsigned layers;
    uint8_t *buf;
    struct img_work work;
    uint64_t rate_bytes, moved_bytes;
    struct timespec start;
};

/* Is -b's name this file of the chain? */
static bool is_named(const char *name, const char *path, const char *as_written)
{
    struct stat x, y;

    return strcmp(name, as_written) == 0 ||
           (stat(name, &x) == 0 && stat(path, &y) == 0 &&
            x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* Open the chain file by file down to base, that one for writing. */
static int open_chain(struct commit *c, const char *base)
{
    struct img *m = c->m;
    struct node *n;
    int rc = img_open(m, m->operands[0], img_get(m, 'f'), img_get(m, 't'),
                      img_flags(m) | IMG_WRITE | IMG_NO_BACKING, &n);

    if (rc < 0) return rc;
    c->layer[c->layers++] = n;
    for (;;) {
        bool is_base;
        char *path;

        if (n->backing_file == NULL && c->layers == 1) {
            img_error("Image does not have a backing file");
            return -EINVAL;
        }
        if (n->backing_file == NULL || c->layers > BLOCK_MAX_CHAIN) {
            img_error("Did not find '%s' in the backing chain of '%s'", base,
                      m->operands[0]);
            return -ENOENT;
        }
        path = node_backing_path(n);
        if (path == NULL) return -ENOMEM;
        is_base = base == NULL || is_named(base, path, n->backing_file);
        rc = img_open(m, path, n->backing_format, img_get(m, 't'),
                      is_base ? IMG_WRITE | IMG_QUIET : IMG_NO_BACKING, &n);
        free(path);
        if (rc < 0) return rc;
        c->layer[c->layers++] = n;
        if (is_base) return 0;
    }
}

static void limit_rate(struct commit *c)
{
    while (c->rate_bytes != 0 && !atomic_load(&c->work.is_cancelled)) {
        const struct timespec tick = { 0, 20 * 1000 * 1000 };
        struct timespec now;
        double sec;

        clock_gettime(CLOCK_MONOTONIC, &now);
        sec = (double)(now.tv_sec - c->start.tv_sec) +
              (double)(now.tv_nsec - c->start.tv_nsec) / 1e9;
        if (sec * (double)c->rate_bytes >= (double)c->moved_bytes) return;
        nanosleep(&tick, NULL);
    }
}

/* One range: from the first layer that has it into the last. */
static int commit_range(struct commit *c, uint64_t at, uint64_t *bytes)
{
    struct node *base = c->layer[c->layers - 1];

    for (unsigned i = 0; i + 1 < c->layers; i++) {
        struct node *n = c->layer[i];
        struct node_extent x;
        size_t here;
        int rc;

        /* Shorter than what stands on it: what lies below is not seen. */
        if (at >= n->size_bytes)
            return node_zero(base, at, *bytes, NODE_REQ_UNMAP);
        rc = node_status(n, at, *bytes, &x);
        if (rc < 0) return rc;
        if (x.bytes < *bytes) *bytes = x.bytes;
        if (!(x.flags & EXTENT_ALLOCATED)) continue;
        if (x.flags & EXTENT_ZERO)
            return node_zero(base, at, *bytes, NODE_REQ_UNMAP);
        here = *bytes < CHAIN_BYTES ? (size_t)*bytes : CHAIN_BYTES;
        *bytes = here;
        rc = node_pread(n, at, c->buf, here);
        if (rc == 0) rc = node_pwrite(base, at, c->buf, here);
        c->moved_bytes += here;
        return rc;
    }
    return 0;
}

static int commit_data(struct commit *c)
{
    uint64_t at = 0, end = c->layer[0]->size_bytes;
    struct node *base = c->layer[c->layers - 1];
    struct err e = ERR_INIT;
    int rc;

    if (base->size_bytes < end) {
        rc = node_truncate(base, end, "off", false, &e);
        if (rc < 0) {
            img_error("%s", e.text);
            return rc;
        }
    }
    while (at < end) {
        uint64_t bytes = end - at;

        if (atomic_load(&c->work.is_cancelled)) return -ECANCELED;
        rc = commit_range(c, at, &bytes);
        if (rc < 0) {
            img_error("Block job failed: %s", strerror(-rc));
            return rc;
        }
        at += bytes;
        img_work_set(&c->work, at, end);
        limit_rate(c);
    }
    rc = node_flush(base);
    if (rc < 0) img_error("Block job failed: %s", strerror(-rc));
    return rc;
}

/* Nothing is lost: the data are in the base and on the disk. */
static int empty_top(struct commit *c)
{
    struct node *top = c->layer[0];
    struct err e = ERR_INIT;
    int rc;

    if (img_has(c->m, 'd') || img_has(c->m, 'b') ||
        top->drv->make_empty == NULL)
        return 0;
    rc = top->drv->make_empty(top, &e);
    if (rc == 0) rc = node_flush(top);
    if (rc < 0)
        img_error("Could not empty %s: %s", top->name,
                  e.text[0] ? e.text : strerror(-rc));
    return rc;
}

int img_commit(struct img *m)
{
    struct commit c = { .m = m };
    int rc;

    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_get_size(m, 'r', "rate limit", 0, &c.rate_bytes) < 0) return 1;
    rc = open_chain(&c, img_get(m, 'b'));
    c.buf = malloc(CHAIN_BYTES);
    if (rc == 0 && (c.buf == NULL ||
                    img_work_begin(&c.work, img_has(m, 'p') && !m->is_quiet)))
        rc = -ENOMEM;
    if (rc == 0) {
        clock_gettime(CLOCK_MONOTONIC, &c.start);
        rc = commit_data(&c);
        if (rc == 0) rc = empty_top(&c);
        img_work_end(&c.work, rc == 0);
    }
    if (rc == 0) img_say(m, "Image committed.\n");
    while (c.layers > 0)
        node_unref(c.layer[--c.layers]);
    free(c.buf);
    return rc == 0 ? 0 : 1;
}
