/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct blk: the asynchronous root of a graph of nodes.
 *
 * Requests are served by a few threads of the image's own, started with the
 * first request.  A thread puts what it finished on the done list and posts
 * one function to the loop, which calls the callbacks.  The struct is counted:
 * a posted function keeps it alive after blk_close.
 */
#include "block/block.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "block/block_int.h"
#include "core/base/log.h"
#include "core/loop/loop.h"

enum { BLK_THREADS = 2 };

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD };

struct blk_req {
    int64_t id;
    enum blk_op op;
    uint64_t offset, bytes;
    bool is_fua;
    int rc;
    blk_done done;
    void *arg;
    struct blk_req *next;
    int iovcnt;
    struct iovec iov[];
};

struct blk_queue {
    struct blk_req *first, **tail;
};

struct blk {
    struct loop *loop;
    struct node *root;
    bool is_writethrough; /* flush after every write */
    bool is_unsafe;       /* ignore flushes */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t work, finished;
    struct blk_queue todo, done;
    unsigned in_flight; /* submitted, callback not yet called */
    unsigned refs;
    bool is_posted, is_closing, has_warned;
    int64_t next_id;
    unsigned threads;
    pthread_t thread[BLK_THREADS];
};

static void queue_init(struct blk_queue *q)
{
    q->first = NULL;
    q->tail = &q->first;
}

static void queue_put(struct blk_queue *q, struct blk_req *r)
{
    r->next = NULL;
    *q->tail = r;
    q->tail = &r->next;
}

static struct blk_req *queue_get(struct blk_queue *q)
{
    struct blk_req *r = q->first;

    if (r == NULL) return NULL;
    q->first = r->next;
    if (q->first == NULL) q->tail = &q->first;
    return r;
}

const char *blk_cache_text(const struct blk *b)
{
    if (b->is_unsafe) return "writeback, ignore flushes";
    return b->is_writethrough ? "writethrough" : "writeback";
}

/* ------------------------------------------------------------- opening */

static const struct cache_mode {
    const char *name;
    bool is_writethrough, is_unsafe;
} cache_modes[] = {
    /* clang-format off */
    { "writeback",    false, false },
    { "none",         false, false },
    { "writethrough", true,  false },
    { "directsync",   true,  false },
    { "unsafe",       false, true  },
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
        return 0;
    }
    return err_set(e, -EINVAL,
                   "unknown cache mode '%s' (writeback, none, writethrough, "
                   "directsync or unsafe)",
                   cache);
}

int blk_open(struct loop *l, const char *file, const struct blk_options *o,
             struct blk **out, struct err *e)
{
    struct node_options no = { .is_readonly = o->is_readonly,
                               .is_auto_readonly = o->is_auto_readonly };
    struct blk *b = calloc(1, sizeof(*b));
    int rc;

    if (b == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = set_cache(b, o->cache, e);
    if (rc == 0)
        rc = node_open_image(file, o->format, true, o->is_snapshot, &no,
                             &b->root, e);
    if (rc < 0) {
        free(b);
        return rc;
    }
    b->loop = l;
    b->refs = 1;
    queue_init(&b->todo);
    queue_init(&b->done);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->finished, NULL);
    if (blk_warning(b) != NULL) log_warn("%s: %s", file, blk_warning(b));
    *out = b;
    return 0;
}

/* Called with the lock held; gives it back. */
static void unref_locked(struct blk *b)
{
    bool is_last = --b->refs == 0;

    pthread_mutex_unlock(&b->lock);
    if (!is_last) return;
    pthread_cond_destroy(&b->finished);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void blk_close(struct blk *b)
{
    if (b == NULL) return;
    blk_drain(b);
    pthread_mutex_lock(&b->lock);
    b->is_closing = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->threads; i++)
        pthread_join(b->thread[i], NULL);
    if (!b->is_unsafe && !b->root->is_readonly) node_flush(b->root);
    node_unref(b->root);
    b->root = NULL;
    pthread_mutex_lock(&b->lock);
    unref_locked(b);
}

uint64_t blk_size_bytes(const struct blk *b)
{
    return b->root->size_bytes;
}

bool blk_is_readonly(const struct blk *b)
{
    return b->root->is_readonly;
}

const char *blk_file(const struct blk *b)
{
    return b->root->name;
}

const char *blk_format(const struct blk *b)
{
    const struct node *n = b->root;

    return n->drv == &block_overlay ? n->child->drv->name : n->drv->name;
}

const char *blk_warning(const struct blk *b)
{
    for (const struct node *n = b->root; n != NULL; n = n->child) {
        if (n->warning[0] != '\0') return n->warning;
    }
    return NULL;
}

/* ------------------------------------------------------------- serving */

static int serve_write(struct blk *b, const struct blk_req *r)
{
    int rc = node_write(b->root, r->offset, r->iov, r->iovcnt, 0);

    if (rc == 0 && !b->is_unsafe && (r->is_fua || b->is_writethrough))
        rc = node_flush(b->root);
    return rc;
}

static int serve(struct blk *b, const struct blk_req *r)
{
    switch (r->op) {
    case BLK_READ: return node_read(b->root, r->offset, r->iov, r->iovcnt);
    case BLK_WRITE: return serve_write(b, r);
    case BLK_FLUSH: return b->is_unsafe ? 0 : node_flush(b->root);
    case BLK_DISCARD: return node_discard(b->root, r->offset, r->bytes);
    }
    return -EINVAL;
}

/* Call the callbacks of what is done.  Lock held, released meanwhile. */
static void complete_locked(struct blk *b)
{
    struct blk_req *r;

    while ((r = queue_get(&b->done)) != NULL) {
        b->in_flight--;
        pthread_mutex_unlock(&b->lock);
        r->done(r->arg, r->rc);
        free(r);
        pthread_mutex_lock(&b->lock);
    }
}

static void run_done(void *arg)
{
    struct blk *b = arg;

    pthread_mutex_lock(&b->lock);
    b->is_posted = false;
    complete_locked(b);
    unref_locked(b);
}

/* The guest gets an error status; tell the user too, once. */
static void warn_locked(struct blk *b, const struct blk_req *r, int rc)
{
    static const char *const what[] = { [BLK_READ] = "read",
                                        [BLK_WRITE] = "write",
                                        [BLK_FLUSH] = "flush",
                                        [BLK_DISCARD] = "discard" };

    if (rc >= 0 || rc == -ECANCELED || rc == -EROFS || b->has_warned) return;
    b->has_warned = true;
    log_warn("%s: %s failed: %s", b->root->name, what[r->op], strerror(-rc));
}

static void finish_locked(struct blk *b, struct blk_req *r, int rc)
{
    r->rc = rc;
    warn_locked(b, r, rc);
    queue_put(&b->done, r);
    pthread_cond_broadcast(&b->finished);
    if (b->is_posted) return;
    b->is_posted = true;
    b->refs++;
    loop_post(b->loop, run_done, b);
}

static void *worker(void *arg)
{
    struct blk *b = arg;

    pthread_mutex_lock(&b->lock);
    for (;;) {
        struct blk_req *r = queue_get(&b->todo);
        int rc;

        if (r == NULL && b->is_closing) break;
        if (r == NULL) {
            pthread_cond_wait(&b->work, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        rc = serve(b, r);
        pthread_mutex_lock(&b->lock);
        finish_locked(b, r, rc);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Signals are for other threads. */
static void start_threads_locked(struct blk *b)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (b->threads < BLK_THREADS &&
           pthread_create(&b->thread[b->threads], NULL, worker, b) == 0)
        b->threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int64_t submit(struct blk *b, struct blk_req *r)
{
    int64_t id;

    pthread_mutex_lock(&b->lock);
    if (b->threads == 0) start_threads_locked(b);
    id = r->id = ++b->next_id;
    b->in_flight++;
    if (b->threads == 0) { /* the host has no thread for us */
        finish_locked(b, r, serve(b, r));
    } else {
        queue_put(&b->todo, r);
        pthread_cond_signal(&b->work);
    }
    pthread_mutex_unlock(&b->lock);
    return id;
}

static int64_t start(struct blk *b, const struct blk_req *what,
                     const struct iovec *iov, int iovcnt)
{
    struct blk_req *r;

    if (iov_bytes(iov, iovcnt) < 0) return -EINVAL;
    r = malloc(sizeof(*r) + sizeof(r->iov[0]) * (size_t)iovcnt);
    if (r == NULL) return -ENOMEM;
    *r = *what;
    r->iovcnt = iovcnt;
    if (iovcnt > 0) memcpy(r->iov, iov, sizeof(*iov) * (size_t)iovcnt);
    return submit(b, r);
}

int64_t blk_read(struct blk *b, uint64_t offset, const struct iovec *iov,
                 int iovcnt, blk_done done, void *arg)
{
    struct blk_req r = {
        .op = BLK_READ, .offset = offset, .done = done, .arg = arg
    };

    return start(b, &r, iov, iovcnt);
}

int64_t blk_write(struct blk *b, uint64_t offset, const struct iovec *iov,
                  int iovcnt, bool is_fua, blk_done done, void *arg)
{
    struct blk_req r = { .op = BLK_WRITE,
                         .offset = offset,
                         .is_fua = is_fua,
                         .done = done,
                         .arg = arg };

    return start(b, &r, iov, iovcnt);
}

int64_t blk_flush(struct blk *b, blk_done done, void *arg)
{
    struct blk_req r = { .op = BLK_FLUSH, .done = done, .arg = arg };

    return start(b, &r, NULL, 0);
}

int64_t blk_discard(struct blk *b, uint64_t offset, uint64_t bytes,
                    blk_done done, void *arg)
{
    struct blk_req r = { .op = BLK_DISCARD,
                         .offset = offset,
                         .bytes = bytes,
                         .done = done,
                         .arg = arg };

    return start(b, &r, NULL, 0);
}

void blk_cancel(struct blk *b, int64_t id)
{
    struct blk_req **at;

    pthread_mutex_lock(&b->lock);
    for (at = &b->todo.first; *at != NULL; at = &(*at)->next) {
        struct blk_req *r = *at;

        if (r->id != id) continue;
        *at = r->next;
        if (*at == NULL) b->todo.tail = at;
        finish_locked(b, r, -ECANCELED);
        break;
    }
    pthread_mutex_unlock(&b->lock);
}

void blk_drain(struct blk *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->in_flight > 0) {
        if (b->done.first == NULL) pthread_cond_wait(&b->finished, &b->lock);
        complete_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
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
