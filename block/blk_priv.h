/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_BLK_PRIV_H
#define ORRERY_BLOCK_BLK_PRIV_H

#include <pthread.h>

#include "block/block.h"
#include "block/block_int.h"

/*
 * Inside of struct blk: blk.c opens and closes, blk_req.c starts and ends
 * requests, blk_work.c serves them, blk_ring.c is the io_uring.
 *
 * A request whose octets lie in a host file at a known place (node_run) goes
 * to the ring from the thread that started it; everything else is served by
 * node functions on a few worker threads.  Both put what is finished on the
 * done queue and signal event_fd, which the loop watches.
 */
enum { BLK_MAX_THREADS = 16, BLK_RING_ENTRIES = 256 };

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO, BLK_OPS };

struct blk_req {
    int64_t id;
    enum blk_op op;
    uint64_t offset, bytes;
    bool is_fua, may_unmap;
    bool is_cancelled; /* nobody waits for it: an error stops no machine */
    int rc;
    uint64_t start_ns;
    blk_done done;
    void *arg;
    struct node_run run; /* while it is in the ring */
    struct blk_req *next;
    struct blk_req *live_next, **live_at;
    int iovcnt;
    struct iovec iov[];
};

/* block/throttle.h */
struct blk_throttle;

struct blk_queue {
    struct blk_req *first, **tail;
};
void blk_queue_init(struct blk_queue *q);
void blk_queue_put(struct blk_queue *q, struct blk_req *r);
struct blk_req *blk_queue_get(struct blk_queue *q);
/* Take the one with that id out; false: it is not in it. */
bool blk_queue_remove(struct blk_queue *q, int64_t id, struct blk_req **out);

struct blk_ring; /* NULL: the host has no io_uring, or aio=threads */

/* handover.c: what the user asked for, to open the image again. */
struct blk_wish;
struct blk_wish *blk_wish_new(const char *file, const struct blk_options *o);
void blk_wish_free(struct blk_wish *w); /* NULL is allowed */
bool blk_wish_is_readonly(const struct blk_wish *w);
int blk_open_root(struct blk *b, const char *file, const struct blk_options *o,
                  bool is_inactive, struct node **out, struct err *e);
/* Its image once more, read-only and without locks. */
int blk_open_again(struct blk *b, struct node **out, struct err *e);

struct blk {
    struct loop *loop;
    struct node *root;
    struct blk_wish *wish;
    bool is_inactive;     /* the image is somebody else's for now */
    bool is_writethrough; /* flush after every write */
    bool is_unsafe;       /* ignore flushes */
    bool is_direct;
    bool passes_discard;
    bool is_tool;  /* blk_wait is called, not the loop */
    unsigned cpus; /* of the host */
    enum blk_detect detect;
    enum blk_on_error on_read_error, on_write_error;
    blk_stop_fn stop;
    void *stop_arg;
    int event_fd;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t work;
    struct blk_queue todo, done, held;
    struct blk_req *live; /* all whose callback was not yet called */
    unsigned in_flight; /* submitted, callback not yet called; not the held */
    unsigned held_count;
    int held_rc;       /* why the first of them failed */
    unsigned quiesced; /* > 0: requests wait in todo */
    unsigned refs;
    bool is_signalled, is_closing, has_warned;
    bool is_asleep; /* the loop thread waits for event_fd in wait_locked */
    bool is_slow;   /* the last request a worker served had to wait (tools) */
    int64_t next_id;
    unsigned threads, idle_threads, busy; /* busy: worker or ring has it */
    pthread_t thread[BLK_MAX_THREADS];
    struct blk_ring *ring;
    struct blk_throttle *throttle; /* NULL: never limited */
    struct blk_stats stats;
};

/* All: lock held. */
void blk_finish_locked(struct blk *b, struct blk_req *r, int rc);
void blk_signal_locked(struct blk *b);
void blk_dispatch_locked(struct blk *b, struct blk_req *r); /* serve it now */

/* blk_throttle.c; lock held but for free. */
bool blk_throttle_locked(struct blk *b, struct blk_req *r); /* it waits */
bool blk_unthrottle_locked(struct blk *b, int64_t id, struct blk_req **out);
void blk_throttle_release_locked(struct blk *b); /* all of them, now */
void blk_throttle_free(struct blk *b);

/* blk_ring.c; lock held but for open and close. */
struct blk_ring *blk_ring_open(int event_fd);
void blk_ring_close(struct blk_ring *g);
/* false: the ring is full or the request does not fit it. */
bool blk_ring_submit_locked(struct blk_ring *g, struct blk_req *r);
/* What the ring has finished, one at a time; *result: octets or -errno. */
struct blk_req *blk_ring_reap_locked(struct blk_ring *g, int *result);

/* blk_req.c: event_fd is readable. */
void blk_on_event(void *arg, unsigned ready);

/* blk_work.c; lock held but for stop. */
void blk_to_worker_locked(struct blk *b, struct blk_req *r);
/* Serve one that waits for a worker, on this thread; false: there is none. */
bool blk_help_locked(struct blk *b);
void blk_stop_threads(struct blk *b);

#endif
