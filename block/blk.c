/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct blk: the asynchronous root of a graph of nodes.  Opening, closing,
 * what it is; blk_req.c serves requests.
 */
#include "block/blk_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/nodes_priv.h"
#include "core/base/log.h"
#include "core/loop/loop.h"

const char *blk_cache_text(const struct blk *b)
{
    if (b->is_unsafe) return "writeback, ignore flushes";
    if (b->is_direct)
        return b->is_writethrough ? "writethrough, direct"
                                  : "writeback, direct";
    return b->is_writethrough ? "writethrough" : "writeback";
}

bool blk_is_writethrough(const struct blk *b)
{
    return b->is_writethrough;
}

void blk_set_on_error(struct blk *b, enum blk_on_error on_read,
                      enum blk_on_error on_write)
{
    if (on_read != BLK_AS_OPENED) b->on_read_error = on_read;
    if (on_write != BLK_AS_OPENED) b->on_write_error = on_write;
}

/* ------------------------------------------------------------- opening */

static const struct cache_mode {
    const char *name;
    bool is_writethrough, is_unsafe, is_direct;
} cache_modes[] = {
    /* clang-format off */
    { "writeback",    false, false, false },
    { "none",         false, false, true  },
    { "writethrough", true,  false, false },
    { "directsync",   true,  false, true  },
    { "unsafe",       false, true,  false },
    /* clang-format on */
};

static int set_cache(struct blk *b, const char *cache, struct err *e)
{
    if (cache == NULL) return 0;
    for (size_t i = 0; i < sizeof(cache_modes) / sizeof(cache_modes[0]); i++) {
        const struct cache_mode *m = &cache_modes[i];

        if (strcmp(m->name, cache) != 0) continue;
        b->is_writethrough = m->is_writethrough;
        b->is_unsafe = m->is_unsafe;
        b->is_direct = m->is_direct;
        return 0;
    }
    return err_set(e, -EINVAL,
                   "unknown cache mode '%s' (writeback, none, writethrough, "
                   "directsync or unsafe)",
                   cache);
}

static int open_events(struct blk *b, bool with_ring, struct err *e)
{
    int rc;

    b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->event_fd < 0)
        return err_set(e, -errno, "eventfd: %s", strerror(errno));
    rc = loop_add_fd(b->loop, b->event_fd, LOOP_READ, blk_on_event, b, e);
    if (rc < 0) {
        close(b->event_fd);
        return rc;
    }
    if (with_ring) b->ring = blk_ring_open(b->event_fd);
    return 0;
}

static struct blk *blk_new(struct loop *l, const struct blk_options *o)
{
    struct blk *b = calloc(1, sizeof(*b));

    if (b == NULL) return NULL;
    b->loop = l;
    b->refs = 1;
    b->detect = o->detect;
    b->passes_discard = o->passes_discard;
    b->is_tool = o->is_tool;
    b->cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    b->on_read_error = o->on_read_error;
    b->on_write_error = o->on_write_error;
    blk_queue_init(&b->todo);
    blk_queue_init(&b->done);
    blk_queue_init(&b->held);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    return b;
}

static void blk_free(struct blk *b)
{
    blk_wish_free(b->wish);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int blk_open(struct loop *l, const char *file, const struct blk_options *o,
             struct blk **out, struct err *e)
{
    struct blk *b = blk_new(l, o);
    int rc;

    if (b == NULL) return err_set(e, -ENOMEM, "out of memory");
    b->wish = blk_wish_new(file, o);
    if (b->wish == NULL) {
        rc = err_set(e, -ENOMEM, "out of memory");
        goto free_blk;
    }
    b->is_inactive =
        o->is_inactive && (o->is_snapshot || !blk_wish_is_readonly(b->wish));
    rc = set_cache(b, o->cache, e);
    if (rc < 0) goto free_blk;
    rc = blk_open_root(b, file, o, b->is_inactive, &b->root, e);
    if (rc < 0) goto free_blk;
    rc = open_events(b, !o->is_threads, e);
    if (rc < 0) goto close_root;
    if (blk_warning(b) != NULL) log_warn("%s: %s", file, blk_warning(b));
    *out = b;
    return 0;
close_root:
    node_unref(b->root);
free_blk:
    blk_free(b);
    return rc;
}

int blk_open_node(struct loop *l, struct node *n, const struct blk_options *o,
                  struct blk **out, struct err *e)
{
    struct blk *b = blk_new(l, o);
    int rc;

    if (b == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = set_cache(b, o->cache, e);
    if (rc == 0) rc = open_events(b, !o->is_threads, e);
    if (rc < 0) {
        blk_free(b);
        return rc;
    }
    b->root = node_ref(n);
    *out = b;
    return 0;
}

void blk_unref(struct blk *b)
{
    bool is_last;

    pthread_mutex_lock(&b->lock);
    is_last = --b->refs == 0;
    pthread_mutex_unlock(&b->lock);
    if (is_last) blk_free(b);
}

/* What waits for `cont` gets its error now. */
static void give_up_held(struct blk *b)
{
    struct blk_req *r;

    pthread_mutex_lock(&b->lock);
    while ((r = blk_queue_get(&b->held)) != NULL) {
        b->held_count--;
        b->in_flight++;
        blk_finish_locked(b, r, -ECANCELED);
    }
    pthread_mutex_unlock(&b->lock);
}

void blk_close(struct blk *b)
{
    if (b == NULL) return;
    give_up_held(b);
    blk_drain(b);
    blk_stop_threads(b);
    blk_throttle_free(b);
    loop_del_fd(b->loop, b->event_fd);
    blk_ring_close(b->ring);
    close(b->event_fd);
    if (!b->is_unsafe && !b->root->is_readonly) node_flush(b->root);
    node_unref(b->root);
    b->root = NULL;
    blk_unref(b);
}

void blk_get_behaviour(const struct blk *b, struct node_behaviour *out,
                       bool *is_writeback)
{
    *out = (struct node_behaviour){ .is_direct = b->is_direct,
                                    .is_unsafe = b->is_unsafe,
                                    .passes_discard = b->passes_discard,
                                    .detect = b->detect };
    *is_writeback = !b->is_writethrough;
}

uint64_t blk_size_bytes(const struct blk *b)
{
    return b->root->size_bytes;
}

bool blk_is_readonly(const struct blk *b)
{
    return b->is_inactive ? blk_wish_is_readonly(b->wish)
                          : b->root->is_readonly;
}

const char *blk_file(const struct blk *b)
{
    return b->root->name;
}

const char *blk_format(const struct blk *b)
{
    const struct node *n = b->root;

    while (n->drv->is_filter)
        n = n->child != NULL ? n->child : n->backing;
    return n->drv->name;
}

const char *blk_warning(const struct blk *b)
{
    for (const struct node *n = b->root; n != NULL;
         n = n->child != NULL ? n->child : n->backing) {
        if (n->warning[0] != '\0') return n->warning;
    }
    return NULL;
}

void blk_get_stats(struct blk *b, struct blk_stats *out)
{
    pthread_mutex_lock(&b->lock);
    *out = b->stats;
    pthread_mutex_unlock(&b->lock);
}

void blk_set_stop(struct blk *b, blk_stop_fn stop, void *arg)
{
    pthread_mutex_lock(&b->lock);
    b->stop = stop;
    b->stop_arg = arg;
    pthread_mutex_unlock(&b->lock);
}

struct node *blk_root(struct blk *b)
{
    return b->root;
}

void blk_set_root(struct blk *b, struct node *root)
{
    b->root = root;
}

int blk_pread(struct blk *b, uint64_t offset, void *buf, size_t bytes)
{
    struct iovec iov = { buf, bytes };

    return node_read(b->root, offset, &iov, 1);
}

int blk_pwrite(struct blk *b, uint64_t offset, const void *buf, size_t bytes)
{
    struct blk_req r = { .op = BLK_WRITE, .offset = offset };
    struct iovec iov = { (void *)(uintptr_t)buf, bytes };
    int rc = node_write(b->root, r.offset, &iov, 1, 0);

    if (rc == 0 && b->is_writethrough) rc = node_flush(b->root);
    return rc;
}
