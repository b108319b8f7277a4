/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of a struct blk: starting, errors, completion; blk_work.c serves. */
#include "block/blk_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/trace.h"
#include "core/loop/loop.h"

enum { LARGE_BYTES = 32 << 10 };

void blk_queue_init(struct blk_queue *q)
{
    q->first = NULL;
    q->tail = &q->first;
}

void blk_queue_put(struct blk_queue *q, struct blk_req *r)
{
    r->next = NULL;
    *q->tail = r;
    q->tail = &r->next;
}

struct blk_req *blk_queue_get(struct blk_queue *q)
{
    struct blk_req *r = q->first;

    if (r == NULL) return NULL;
    q->first = r->next;
    if (q->first == NULL) q->tail = &q->first;
    return r;
}

bool blk_queue_remove(struct blk_queue *q, int64_t id, struct blk_req **out)
{
    for (struct blk_req **at = &q->first; *at != NULL; at = &(*at)->next) {
        struct blk_req *r = *at;

        if (r->id != id) continue;
        *at = r->next;
        if (*at == NULL) q->tail = at;
        *out = r;
        return true;
    }
    return false;
}

static void live_add_locked(struct blk *b, struct blk_req *r)
{
    r->live_at = &b->live;
    r->live_next = b->live;
    if (b->live != NULL) b->live->live_at = &r->live_next;
    b->live = r;
}

static void live_remove_locked(struct blk_req *r)
{
    *r->live_at = r->live_next;
    if (r->live_next != NULL) r->live_next->live_at = r->live_at;
}

/* ------------------------------------------------------------ fast path */

static bool is_aligned(const struct blk_req *r)
{
    uint64_t bits = r->run.file_offset;

    for (int i = 0; i < r->iovcnt; i++)
        bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
    return bits % r->run.align_bytes == 0;
}

/* The page cache is copied by the thread that submits: several workers are
 * faster than one thread once there is more than one large request. */
static bool is_for_workers_locked(const struct blk *b, const struct blk_req *r)
{
    return r->run.align_bytes <= 1 && r->bytes >= LARGE_BYTES && b->busy > 0;
}

/* Hand the request to the ring if it is plain octets in a file. */
static bool try_run_locked(struct blk *b, struct blk_req *r)
{
    bool is_write = r->op == BLK_WRITE;

    if (r->op != BLK_READ && !is_write) return false;
    if (b->ring == NULL || r->bytes == 0 || b->quiesced > 0) return false;
    if (b->is_tool && !b->is_direct) return false; /* blk_wait is shorter */
    if (is_write && (r->is_fua || b->is_writethrough)) return false;
    if (node_run(b->root, r->offset, r->bytes, is_write, &r->run) < 0)
        return false;
    if (r->run.bytes >= r->bytes && r->run.is_zero) {
        node_run_done(&r->run);
        iov_zero(r->iov, r->iovcnt);
        blk_finish_locked(b, r, 0);
        return true;
    }
    if (r->run.bytes >= r->bytes && is_aligned(r) &&
        !is_for_workers_locked(b, r) && blk_ring_submit_locked(b->ring, r)) {
        b->busy++;
        return true;
    }
    node_run_done(&r->run);
    return false;
}

void blk_dispatch_locked(struct blk *b, struct blk_req *r)
{
    trace(TRACE_BLK_REQUEST, "%s op %u offset %llu bytes %llu", b->root->name,
          r->op, (unsigned long long)r->offset, (unsigned long long)r->bytes);
    if (!try_run_locked(b, r)) blk_to_worker_locked(b, r);
}

/* Move what the ring has finished to the done queue.  Whatever did not go
 * smoothly is done again by a worker, which knows how to go on. */
static void reap_locked(struct blk *b)
{
    struct blk_req *r;
    int result;

    if (b->ring == NULL) return;
    while ((r = blk_ring_reap_locked(b->ring, &result)) != NULL) {
        b->busy--;
        node_run_done(&r->run);
        if (result >= 0 && (uint64_t)result == r->bytes)
            blk_finish_locked(b, r, 0);
        else
            blk_to_worker_locked(b, r);
    }
}

/* ------------------------------------------------------------- errors */

/* The guest or the user is told; the log too, once. */
static void warn_locked(struct blk *b, const struct blk_req *r, int rc)
{
    static const char *const what[] = { [BLK_READ] = "read",
                                        [BLK_WRITE] = "write",
                                        [BLK_FLUSH] = "flush",
                                        [BLK_DISCARD] = "discard",
                                        [BLK_ZERO] = "write of zeros" };

    if (rc == -ECANCELED || rc == -EROFS || b->has_warned) return;
    b->has_warned = true;
    log_warn("%s: %s failed: %s", b->root->name, what[r->op], strerror(-rc));
}

static enum blk_on_error policy(const struct blk *b, const struct blk_req *r,
                                int rc)
{
    enum blk_on_error on =
        r->op == BLK_READ ? b->on_read_error : b->on_write_error;

    if (r->is_cancelled) return BLK_REPORT;
    if (on == BLK_ENOSPC)
        return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? BLK_STOP
                                                              : BLK_REPORT;
    if (on == BLK_STOP && b->stop == NULL) return BLK_REPORT;
    return on;
}

struct stop_note {
    struct blk *b;
    struct blk_error error;
};

static void tell_stop(void *arg)
{
    struct stop_note *s = arg;
    struct blk *b = s->b;

    if (b->root != NULL && b->stop != NULL) b->stop(b->stop_arg, b, &s->error);
    free(s);
    blk_unref(b);
}

/* Tell the machine of an error.  false: there is nobody to tell. */
static bool tell_locked(struct blk *b, const struct blk_req *r, int rc,
                        enum blk_on_error action)
{
    struct stop_note *s = b->stop == NULL ? NULL : malloc(sizeof(*s));

    if (s == NULL) return false;
    *s = (struct stop_note){ b,
                             { .is_read = r->op == BLK_READ,
                               .action = action,
                               .rc = rc,
                               .offset = r->offset,
                               .bytes = r->bytes } };
    b->refs++;
    loop_post(b->loop, tell_stop, s);
    return true;
}

/* Keep the request until blk_retry, and have the machine stopped. */
static bool hold_locked(struct blk *b, struct blk_req *r, int rc)
{
    if (!tell_locked(b, r, rc, BLK_STOP)) return false;
    if (b->held_count++ == 0) b->held_rc = rc;
    blk_queue_put(&b->held, r);
    b->in_flight--;
    blk_signal_locked(b); /* a drain may wait for this one */
    return true;
}

const char *blk_io_status(struct blk *b)
{
    const char *status = "ok";

    pthread_mutex_lock(&b->lock);
    if (b->held_count > 0)
        status = b->held_rc == -ENOSPC ? "nospace" : "failed";
    pthread_mutex_unlock(&b->lock);
    return status;
}

void blk_retry(struct blk *b)
{
    struct blk_req *r;

    pthread_mutex_lock(&b->lock);
    b->has_warned = false;
    while ((r = blk_queue_get(&b->held)) != NULL) {
        b->held_count--;
        b->in_flight++;
        blk_to_worker_locked(b, r);
    }
    pthread_mutex_unlock(&b->lock);
}

unsigned blk_held(struct blk *b)
{
    unsigned count;

    pthread_mutex_lock(&b->lock);
    count = b->held_count;
    pthread_mutex_unlock(&b->lock);
    return count;
}

/* ---------------------------------------------------------- completion */

void blk_signal_locked(struct blk *b)
{
    uint64_t one = 1;
    ssize_t n;

    if (b->is_signalled || (b->is_tool && !b->is_asleep)) return;
    b->is_signalled = true;
    n = write(b->event_fd, &one, sizeof(one));
    (void)n; /* a full counter wakes as well */
}

static void count_locked(struct blk *b, const struct blk_req *r, int rc)
{
    struct blk_op_stats *s;

    switch (r->op) {
    case BLK_READ: s = &b->stats.read; break;
    case BLK_WRITE:
    case BLK_ZERO: s = &b->stats.write; break;
    case BLK_FLUSH: s = &b->stats.flush; break;
    default: s = &b->stats.discard; break;
    }
    if (rc < 0) {
        s->failed++;
        return;
    }
    s->operations++;
    s->bytes += r->bytes;
    s->total_ns += loop_now_ns() - r->start_ns;
}

void blk_finish_locked(struct blk *b, struct blk_req *r, int rc)
{
    if (rc < 0) {
        enum blk_on_error on = policy(b, r, rc);

        warn_locked(b, r, rc);
        if (on == BLK_STOP && !b->is_closing && hold_locked(b, r, rc)) return;
        if (!r->is_cancelled)
            tell_locked(b, r, rc, on == BLK_IGNORE ? on : BLK_REPORT);
        if (on == BLK_IGNORE) rc = 0;
    }
    r->rc = rc;
    count_locked(b, r, rc);
    blk_queue_put(&b->done, r);
    blk_signal_locked(b);
}

/* Call the callbacks of what is done.  Lock held, released meanwhile. */
static void complete_locked(struct blk *b)
{
    struct blk_req *r;

    reap_locked(b);
    while ((r = blk_queue_get(&b->done)) != NULL) {
        b->in_flight--;
        live_remove_locked(r);
        pthread_mutex_unlock(&b->lock);
        r->done(r->arg, r->rc);
        free(r);
        pthread_mutex_lock(&b->lock);
    }
}

static void clear_signal_locked(struct blk *b)
{
    uint64_t count;
    ssize_t n = read(b->event_fd, &count, sizeof(count));

    (void)n; /* not blocking; nothing there is fine */
    b->is_signalled = false;
}

void blk_on_event(void *arg, unsigned ready)
{
    struct blk *b = arg;

    (void)ready;
    pthread_mutex_lock(&b->lock);
    b->refs++;
    clear_signal_locked(b);
    complete_locked(b);
    pthread_mutex_unlock(&b->lock);
    blk_unref(b);
}

/* Wait until something is finished.  Lock held, released meanwhile. */
static void wait_locked(struct blk *b)
{
    struct pollfd p = { .fd = b->event_fd, .events = POLLIN };

    b->is_asleep = true;
    pthread_mutex_unlock(&b->lock);
    poll(&p, 1, -1);
    pthread_mutex_lock(&b->lock);
    b->is_asleep = false;
    clear_signal_locked(b);
}

void blk_wait(struct blk *b)
{
    bool is_done = false;

    pthread_mutex_lock(&b->lock);
    while (!is_done && b->in_flight > 0) {
        reap_locked(b);
        is_done = b->done.first != NULL;
        if (is_done)
            complete_locked(b);
        else if (!blk_help_locked(b))
            wait_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
}

void blk_drain(struct blk *b)
{
    node_drain(b->root, true);
    pthread_mutex_lock(&b->lock);
    for (;;) {
        blk_throttle_release_locked(b);
        complete_locked(b);
        if (b->in_flight == 0) break;
        if (b->done.first != NULL) continue;
        if (!b->is_tool || !blk_help_locked(b)) wait_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
    node_drain(b->root, false);
}

void blk_quiesce(struct blk *b)
{
    node_drain(b->root, true);
    pthread_mutex_lock(&b->lock);
    b->quiesced++;
    while (b->busy > 0) {
        reap_locked(b);
        if (b->busy == 0) break;
        wait_locked(b);
    }
    blk_signal_locked(b); /* the loop still has callbacks to call */
    pthread_mutex_unlock(&b->lock);
    node_drain(b->root, false);
}

void blk_resume(struct blk *b)
{
    pthread_mutex_lock(&b->lock);
    if (--b->quiesced == 0) {
        struct blk_queue waiting = b->todo;
        struct blk_req *r;

        if (waiting.first == NULL) waiting.tail = &waiting.first;
        blk_queue_init(&b->todo);
        while ((r = blk_queue_get(&waiting)) != NULL)
            blk_to_worker_locked(b, r);
    }
    pthread_mutex_unlock(&b->lock);
}

/* ------------------------------------------------------------ starting */

/* A write of nothing but zeros becomes what takes no space. */
static void detect_zeros(struct blk *b, struct blk_req *r)
{
    if (r->op != BLK_WRITE || b->detect == BLK_DETECT_OFF) return;
    for (int i = 0; i < r->iovcnt; i++) {
        if (!buf_is_zero(r->iov[i].iov_base, r->iov[i].iov_len)) return;
    }
    if (r->bytes == 0 || r->is_fua) return;
    r->op = BLK_ZERO;
    r->may_unmap = b->detect == BLK_DETECT_UNMAP;
}

static int64_t start(struct blk *b, const struct blk_req *what,
                     const struct iovec *iov, int iovcnt)
{
    int64_t id, bytes = iov_bytes(iov, iovcnt);
    struct blk_req *r;

    if (bytes < 0) return -EINVAL;
    r = malloc(sizeof(*r) + sizeof(r->iov[0]) * (size_t)iovcnt);
    if (r == NULL) return -ENOMEM;
    *r = *what;
    r->iovcnt = iovcnt;
    r->start_ns = loop_now_ns();
    if (iovcnt > 0) {
        memcpy(r->iov, iov, sizeof(*iov) * (size_t)iovcnt);
        r->bytes = (uint64_t)bytes;
    }
    detect_zeros(b, r);
    pthread_mutex_lock(&b->lock);
    id = r->id = ++b->next_id;
    live_add_locked(b, r);
    b->in_flight++;
    if (!blk_throttle_locked(b, r)) blk_dispatch_locked(b, r);
    pthread_mutex_unlock(&b->lock);
    return id;
}

int64_t blk_read(struct blk *b, uint64_t offset, const struct iovec *iov,
                 int iovcnt, blk_done done, void *arg)
{
    struct blk_req r = {
        .op = BLK_READ, .offset = offset, .done = done, .arg = arg
    };

    return start(b, &r, iov, iovcnt);
}

static int read_now_locked(struct blk *b, uint64_t offset, void *buf,
                           size_t bytes)
{
    struct iovec iov = { buf, bytes };
    struct node_run run;
    int rc = -EAGAIN;

    if (b->quiesced > 0 || b->is_closing || b->throttle != NULL) return rc;
    if (node_run(b->root, offset, bytes, false, &run) < 0) return rc;
    if (run.bytes >= bytes && run.is_zero) {
        memset(buf, 0, bytes);
        rc = 0;
    } else if (run.bytes >= bytes && run.align_bytes <= 1 &&
               preadv2(run.fd, &iov, 1, (off_t)run.file_offset, RWF_NOWAIT) ==
                   (ssize_t)bytes) {
        rc = 0;
    }
    node_run_done(&run);
    return rc;
}

int blk_read_now(struct blk *b, uint64_t offset, void *buf, size_t bytes)
{
    struct blk_req r = { .op = BLK_READ,
                         .offset = offset,
                         .bytes = bytes,
                         .start_ns = loop_now_ns() };
    int rc;

    if (bytes == 0) return -EAGAIN;
    pthread_mutex_lock(&b->lock);
    rc = read_now_locked(b, offset, buf, bytes);
    if (rc == 0) count_locked(b, &r, 0);
    pthread_mutex_unlock(&b->lock);
    return rc;
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

int64_t blk_write_zeros(struct blk *b, uint64_t offset, uint64_t bytes,
                        bool may_unmap, blk_done done, void *arg)
{
    struct blk_req r = { .op = BLK_ZERO,
                         .offset = offset,
                         .bytes = bytes,
                         .may_unmap = may_unmap,
                         .done = done,
                         .arg = arg };

    return start(b, &r, NULL, 0);
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
                         .bytes = b->passes_discard ? bytes : 0,
                         .done = done,
                         .arg = arg };

    return start(b, &r, NULL, 0);
}

void blk_cancel(struct blk *b, int64_t id)
{
    struct blk_req *r;

    pthread_mutex_lock(&b->lock);
    for (r = b->live; r != NULL && r->id != id;)
        r = r->live_next;
    if (r != NULL) r->is_cancelled = true;
    if (blk_queue_remove(&b->todo, id, &r)) {
        blk_finish_locked(b, r, -ECANCELED);
    } else if (blk_unthrottle_locked(b, id, &r)) {
        blk_finish_locked(b, r, -ECANCELED);
    } else if (blk_queue_remove(&b->held, id, &r)) {
        b->held_count--;
        b->in_flight++;
        blk_finish_locked(b, r, -ECANCELED);
    }
    pthread_mutex_unlock(&b->lock);
}
