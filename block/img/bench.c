/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img bench: requests through the block layer that guests' disks use; this
 * thread serves some itself while it waits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "block/block.h"
#include "block/img/img.h"
#include "core/base/size.h"
#include "core/loop/loop.h"

struct bench {
    struct img *m;
    struct loop *loop;
    struct blk *blk;
    uint64_t count, depth, request_bytes, step_bytes, offset;
    uint64_t flush_interval, pattern;
    bool is_write, is_draining;
    uint64_t size_bytes, started, finished, in_flight, at;
    bool is_flushing;
    int rc;
    uint8_t *buf;
};

static void pump(struct bench *b);

static void on_flushed(void *arg, int rc)
{
    struct bench *b = arg;

    if (rc < 0 && b->rc == 0) b->rc = rc;
    b->is_flushing = false;
    b->in_flight--;
    pump(b);
}

static void on_done(void *arg, int rc)
{
    struct bench *b = arg;

    if (rc < 0 && b->rc == 0) b->rc = rc;
    b->in_flight--;
    b->finished++;
    pump(b);
}

static bool wants_flush(const struct bench *b)
{
    return b->flush_interval != 0 && b->started > 0 &&
           b->started % b->flush_interval == 0;
}

static int64_t submit(struct bench *b)
{
    struct iovec iov = { b->buf + b->started % b->depth * b->request_bytes,
                         (size_t)b->request_bytes };
    uint64_t at = b->at;

    b->at += b->step_bytes;
    if (b->size_bytes <= b->request_bytes)
        b->at = 0;
    else
        b->at %= b->size_bytes - b->request_bytes;
    return b->is_write ? blk_write(b->blk, at, &iov, 1, false, on_done, b)
                       : blk_read(b->blk, at, &iov, 1, on_done, b);
}

/* Keep depth requests in flight; a flush waits for those before it unless
 * --no-drain. */
static void pump(struct bench *b)
{
    while (b->rc == 0 && !b->is_flushing && b->started < b->count &&
           b->in_flight < b->depth) {
        int64_t id = submit(b);

        if (id < 0) {
            b->rc = (int)id;
            return;
        }
        b->started++;
        b->in_flight++;
        if (!wants_flush(b)) continue;
        if (blk_flush(b->blk, on_flushed, b) < 0) {
            b->rc = -EIO;
            return;
        }
        b->in_flight++;
        b->is_flushing = b->is_draining;
    }
}

static int run(struct bench *b)
{
    uint64_t start;

    img_say(b->m,
            "Sending %llu %s requests, %llu bytes each, %llu in parallel "
            "(starting at offset %llu, step size %llu)\n",
            (unsigned long long)b->count, b->is_write ? "write" : "read",
            (unsigned long long)b->request_bytes, (unsigned long long)b->depth,
            (unsigned long long)b->offset, (unsigned long long)b->step_bytes);
    if (b->flush_interval != 0)
        img_say(b->m, "Sending flush every %llu requests\n",
                (unsigned long long)b->flush_interval);
    fflush(stdout);
    b->at = b->offset;
    start = loop_now_ns();
    pump(b);
    while (b->in_flight > 0)
        blk_wait(b->blk);
    if (b->rc < 0) {
        img_error("Failed request: %s", strerror(-b->rc));
        return -1;
    }
    img_say(b->m, "Run completed in %3.3f seconds.\n",
            (double)(loop_now_ns() - start) / 1e9);
    return 0;
}

static int number(const struct img *m, int id, const char *what, uint64_t max,
                  uint64_t *out)
{
    const char *text = img_get(m, id);

    if (text == NULL) return 0;
    if (size_parse(text, 1, out) == 0 && *out <= max) return 0;
    img_error("Invalid %s specified", what);
    return -1;
}

static int parse(struct bench *b)
{
    struct img *m = b->m;
    const char *aio = img_get(m, 'i');

    if (number(m, 'c', "request count", INT32_MAX, &b->count) < 0 ||
        number(m, 'd', "queue depth", 65536, &b->depth) < 0 ||
        number(m, IMG_FLUSH_INTERVAL, "flush interval", INT32_MAX,
               &b->flush_interval) < 0 ||
        number(m, 'o', "offset", INT64_MAX, &b->offset) < 0 ||
        number(m, IMG_PATTERN, "pattern byte", 0xff, &b->pattern) < 0 ||
        number(m, 's', "buffer size", 64 << 20, &b->request_bytes) < 0 ||
        number(m, 'S', "step size", INT32_MAX, &b->step_bytes) < 0)
        return -1;
    if (b->depth == 0 || b->request_bytes == 0) {
        img_error("Invalid %s specified",
                  b->depth == 0 ? "queue depth" : "buffer size");
        return -1;
    }
    if (aio != NULL && strcmp(aio, "threads") != 0 &&
        strcmp(aio, "native") != 0 && strcmp(aio, "io_uring") != 0) {
        img_error("Invalid aio option: %s", aio);
        return -1;
    }
    if (!b->is_write && b->flush_interval != 0) {
        img_error("--flush-interval is only available in write tests");
        return -1;
    }
    if (b->flush_interval != 0 && b->flush_interval < b->depth) {
        img_error("Flush interval can't be smaller than depth");
        return -1;
    }
    return img_check_cache(img_get(m, 't'), 0);
}

static bool make_buffers(struct bench *b)
{
    const size_t huge = 2 << 20, bytes = (size_t)(b->depth * b->request_bytes);
    void *buf;

    if (posix_memalign(&buf, bytes < huge ? 4096 : huge, bytes) != 0)
        return false;
    if (bytes >= huge) madvise(buf, bytes, MADV_HUGEPAGE);
    memset(buf, (int)b->pattern, bytes);
    b->buf = buf;
    return true;
}

/* -n and -i native are taken as they are meant: nothing but the page cache
 * keeps this program from its ring. */
static int check_native(const struct bench *b, const char *file)
{
    const char *aio = img_get(b->m, 'i'), *cache = img_get(b->m, 't');
    bool is_native =
        aio != NULL ? strcmp(aio, "native") == 0 : img_has(b->m, 'n');

    if (!is_native) return 0;
    if (cache != NULL &&
        (strcmp(cache, "none") == 0 || strcmp(cache, "off") == 0 ||
         strcmp(cache, "directsync") == 0))
        return 0;
    img_error("Could not open '%s': aio=native was specified, but it requires "
              "cache.direct=on, which was not specified.",
              file);
    return -1;
}

static int open_blk(struct bench *b, const char *file)
{
    const char *cache = img_get(b->m, 't'), *aio = img_get(b->m, 'i');
    struct blk_options o = { .is_tool = true, .cache = cache };
    struct err e = ERR_INIT;
    struct node *n;
    int rc;

    if (check_native(b, file) < 0) return -1;
    if (cache != NULL && strcmp(cache, "off") == 0) o.cache = "none";
    o.is_threads = aio != NULL && strcmp(aio, "threads") == 0;
    rc = img_open(b->m, file, img_get(b->m, 'f'), cache,
                  img_flags(b->m) | (b->is_write ? IMG_WRITE : 0), &n);
    if (rc < 0) return rc;
    rc = loop_create(&b->loop, &e);
    if (rc == 0) rc = blk_open_node(b->loop, n, &o, &b->blk, &e);
    node_unref(n);
    if (rc < 0) img_error("Could not open '%s': %s", file, e.text);
    return rc;
}

static int bench(struct bench *b, const char *file)
{
    if (open_blk(b, file) < 0) return -1;
    b->size_bytes = blk_size_bytes(b->blk);
    if (b->offset > b->size_bytes ||
        b->request_bytes > b->size_bytes - b->offset) {
        img_error("Offset and buffer size lie beyond the end of the image");
        return -1;
    }
    if (!make_buffers(b)) {
        img_error("Not enough memory for %llu buffers",
                  (unsigned long long)b->depth);
        return -1;
    }
    return run(b);
}

int img_bench(struct img *m)
{
    struct bench b = { .m = m,
                       .count = 75000,
                       .depth = 64,
                       .request_bytes = 4096,
                       .is_write = img_has(m, 'w'),
                       .is_draining = !img_has(m, IMG_NO_DRAIN) };
    int rc;

    if (parse(&b) < 0) return 1;
    if (b.step_bytes == 0) b.step_bytes = b.request_bytes;
    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    rc = bench(&b, m->operands[0]);
    if (b.blk != NULL) blk_close(b.blk);
    if (b.loop != NULL) loop_destroy(b.loop);
    free(b.buf);
    return rc < 0 ? 1 : 0;
}
