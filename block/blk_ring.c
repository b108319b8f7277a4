/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The io_uring of a struct blk. */
#include "block/blk_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "config.h"

#ifdef HAVE_URING

#include <liburing.h>

struct blk_ring {
    struct io_uring ring;
};

struct blk_ring *blk_ring_open(int event_fd)
{
    struct blk_ring *g = malloc(sizeof(*g));

    if (g == NULL) return NULL;
    if (io_uring_queue_init(BLK_RING_ENTRIES, &g->ring, 0) < 0) {
        free(g);
        return NULL;
    }
    if (io_uring_register_eventfd(&g->ring, event_fd) < 0) {
        io_uring_queue_exit(&g->ring);
        free(g);
        return NULL;
    }
    return g;
}

void blk_ring_close(struct blk_ring *g)
{
    if (g == NULL) return;
    io_uring_queue_exit(&g->ring);
    free(g);
}

bool blk_ring_submit_locked(struct blk_ring *g, struct blk_req *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&g->ring);

    if (sqe == NULL) return false;
    if (r->op == BLK_READ)
        io_uring_prep_readv(sqe, r->run.fd, r->iov, (unsigned)r->iovcnt,
                            r->run.file_offset);
    else
        io_uring_prep_writev(sqe, r->run.fd, r->iov, (unsigned)r->iovcnt,
                             r->run.file_offset);
    io_uring_sqe_set_data(sqe, r);
    /* On failure (-EBUSY, -EAGAIN) the entry stays queued and goes with the
     * next call; blk_ring_reap_locked tries again. */
    io_uring_submit(&g->ring);
    return true;
}

struct blk_req *blk_ring_reap_locked(struct blk_ring *g, int *result)
{
    struct io_uring_cqe *cqe;
    struct blk_req *r;

    if (io_uring_sq_ready(&g->ring) > 0) io_uring_submit(&g->ring);
    if (io_uring_peek_cqe(&g->ring, &cqe) < 0) return NULL;
    r = io_uring_cqe_get_data(cqe);
    *result = cqe->res;
    io_uring_cqe_seen(&g->ring, cqe);
    return r;
}

#else

struct blk_ring *blk_ring_open(int event_fd)
{
    (void)event_fd;
    return NULL;
}

void blk_ring_close(struct blk_ring *g)
{
    (void)g;
}

bool blk_ring_submit_locked(struct blk_ring *g, struct blk_req *r)
{
    (void)g, (void)r;
    return false;
}

struct blk_req *blk_ring_reap_locked(struct blk_ring *g, int *result)
{
    (void)g, (void)result;
    return NULL;
}

#endif
