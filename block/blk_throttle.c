/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that wait because of limits: kept in order, reads and writes apart,
 * until a timer lets them go.  A drain does not wait for the limits: what has
 * been asked for is done at once, and accounted.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/blk_priv.h"
#include "block/throttle.h"
#include "core/loop/loop.h"

enum { LOOK_AGAIN_NS = 250000000 };

struct blk_throttle {
    struct throttle_group *group;
    struct blk_queue waiting[2]; /* reads, writes */
    struct loop_timer timer;
};

static bool is_write(const struct blk_req *r)
{
    return r->op != BLK_READ;
}

static bool counts(const struct blk_req *r)
{
    return r->op == BLK_READ || r->op == BLK_WRITE || r->op == BLK_ZERO;
}

/* Start what may go; returns nanoseconds until the next may, 0: none waits. */
static uint64_t let_go_locked(struct blk *b)
{
    struct blk_throttle *h = b->throttle;
    uint64_t next = 0;

    for (unsigned i = 0; i < 2; i++) {
        struct blk_queue *q = &h->waiting[i];

        while (q->first != NULL) {
            uint64_t wait =
                throttle_group_ask(h->group, i == 1, q->first->bytes);

            if (wait > 0) {
                if (next == 0 || wait < next) next = wait;
                break;
            }
            blk_dispatch_locked(b, blk_queue_get(q));
        }
    }
    return next;
}

static void go_on_locked(struct blk *b)
{
    uint64_t next = let_go_locked(b);

    if (next > 0) loop_timer_arm_ns(&b->throttle->timer, loop_now_ns() + next);
}

static void on_timer(void *arg)
{
    struct blk *b = arg;

    pthread_mutex_lock(&b->lock);
    go_on_locked(b);
    pthread_mutex_unlock(&b->lock);
}

bool blk_throttle_locked(struct blk *b, struct blk_req *r)
{
    struct blk_throttle *h = b->throttle;
    struct blk_queue *q;

    if (h == NULL || h->group == NULL || !counts(r)) return false;
    q = &h->waiting[is_write(r)];
    if (q->first == NULL &&
        throttle_group_ask(h->group, is_write(r), r->bytes) == 0)
        return false;
    blk_queue_put(q, r);
    go_on_locked(b);
    return true;
}

bool blk_unthrottle_locked(struct blk *b, int64_t id, struct blk_req **out)
{
    struct blk_throttle *h = b->throttle;

    if (h == NULL) return false;
    return blk_queue_remove(&h->waiting[0], id, out) ||
           blk_queue_remove(&h->waiting[1], id, out);
}

void blk_throttle_release_locked(struct blk *b)
{
    struct blk_throttle *h = b->throttle;
    struct blk_req *r;

    for (unsigned i = 0; h != NULL && i < 2; i++) {
        while ((r = blk_queue_get(&h->waiting[i])) != NULL) {
            if (h->group != NULL)
                throttle_group_force(h->group, i == 1, r->bytes);
            blk_dispatch_locked(b, r);
        }
    }
}

int blk_set_throttle(struct blk *b, struct throttle_group *g)
{
    struct blk_throttle *h = b->throttle;

    if (h == NULL && g == NULL) return 0;
    if (h == NULL) {
        h = calloc(1, sizeof(*h));
        if (h == NULL) return -ENOMEM;
        blk_queue_init(&h->waiting[0]);
        blk_queue_init(&h->waiting[1]);
        loop_timer_init(&h->timer, b->loop, on_timer, b);
    }
    pthread_mutex_lock(&b->lock);
    b->throttle = h;
    if (g == NULL) {
        loop_timer_disarm(&h->timer);
        blk_throttle_release_locked(b);
        h->group = NULL;
    } else {
        h->group = g;
        go_on_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
    return 0;
}

void blk_throttle_free(struct blk *b)
{
    if (b->throttle == NULL) return;
    loop_timer_disarm(&b->throttle->timer);
    free(b->throttle);
    b->throttle = NULL;
}
