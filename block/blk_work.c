/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a struct blk that node functions serve, on worker threads.
 *
 * To wake a thread on another processor costs more than a small transfer to or
 * from the page cache.  A tool's own thread has nothing else to do, so it
 * serves requests itself (blk_wait): one at a time needs no other thread at
 * all.  Of several, the other processors get their share; more threads than
 * that are good for nothing unless requests wait for something, which is seen
 * by the time they take.
 */
#include "block/blk_priv.h"

#include <errno.h>
#include <signal.h>

#include "core/loop/loop.h"

enum { SLOW_NS = 100000, SLOW_NS_PER_BYTE = 1 };

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
    case BLK_ZERO:
        return node_zero(b->root, r->offset, r->bytes,
                         r->may_unmap ? NODE_REQ_UNMAP : 0);
    case BLK_OPS: break;
    }
    return -EINVAL;
}

/* Serve a request that was taken out of the queue. */
static void serve_locked(struct blk *b, struct blk_req *r)
{
    uint64_t start_ns = 0;
    int rc;

    b->busy++;
    pthread_mutex_unlock(&b->lock);
    if (b->is_tool) start_ns = loop_now_ns();
    rc = serve(b, r);
    if (b->is_tool) start_ns = loop_now_ns() - start_ns;
    pthread_mutex_lock(&b->lock);
    b->is_slow = start_ns > SLOW_NS + r->bytes * SLOW_NS_PER_BYTE;
    b->busy--;
    blk_finish_locked(b, r, rc);
}

/* ------------------------------------------------------------- threads */

static void *worker(void *arg)
{
    struct blk *b = arg;

    pthread_mutex_lock(&b->lock);
    for (;;) {
        struct blk_req *r = b->quiesced > 0 ? NULL : blk_queue_get(&b->todo);

        if (r == NULL && b->is_closing) break;
        if (r != NULL) {
            serve_locked(b, r);
            continue;
        }
        b->idle_threads++;
        pthread_cond_wait(&b->work, &b->lock);
        b->idle_threads--;
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* One more.  Signals are for other threads. */
static void add_thread_locked(struct blk *b)
{
    sigset_t all, old;

    if (b->threads == BLK_MAX_THREADS) return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&b->thread[b->threads], NULL, worker, b) == 0)
        b->threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void blk_stop_threads(struct blk *b)
{
    pthread_mutex_lock(&b->lock);
    b->is_closing = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->threads; i++)
        pthread_join(b->thread[i], NULL);
}

/* A tool's thread takes one, the other processors the rest.  Writes to the page
 * cache of one file wait for each other. */
static bool is_enough_locked(const struct blk *b, const struct blk_req *r)
{
    if (!b->is_tool) return false;
    if (b->todo.first == NULL || b->todo.first->next == NULL) return true;
    if (b->is_slow) return false;
    if (r->op != BLK_READ && !b->root->is_encrypted) return true;
    return b->threads - b->idle_threads + 1 >= b->cpus;
}

void blk_to_worker_locked(struct blk *b, struct blk_req *r)
{
    blk_queue_put(&b->todo, r);
    if (b->quiesced > 0 || is_enough_locked(b, r)) return;
    if (b->idle_threads == 0) add_thread_locked(b);
    if (b->threads > 0) {
        pthread_cond_signal(&b->work);
        return;
    }
    if (b->is_tool) return;
    /* The host has no thread for us. */
    serve_locked(b, blk_queue_get(&b->todo));
}

bool blk_help_locked(struct blk *b)
{
    struct blk_req *r = b->quiesced > 0 ? NULL : blk_queue_get(&b->todo);

    if (r == NULL) return false;
    serve_locked(b, r);
    return true;
}
