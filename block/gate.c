/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct range {
    uint64_t offset, end;
    struct range *next;
};

struct gate {
    struct gate_hooks hooks;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct range *writing; /* on the stacks of the threads that write */
    struct range kept;     /* the job's; empty: none */
};

static bool overlaps(const struct range *a, const struct range *b)
{
    return a->offset < b->end && b->offset < a->end;
}

static void enter(struct gate *g, struct range *r)
{
    pthread_mutex_lock(&g->lock);
    while (overlaps(r, &g->kept))
        pthread_cond_wait(&g->changed, &g->lock);
    r->next = g->writing;
    g->writing = r;
    pthread_mutex_unlock(&g->lock);
}

static void leave(struct gate *g, struct range *r)
{
    struct range **at;

    pthread_mutex_lock(&g->lock);
    for (at = &g->writing; *at != r; at = &(*at)->next)
        continue;
    *at = r->next;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static bool is_written(const struct gate *g, const struct range *r)
{
    for (const struct range *w = g->writing; w != NULL; w = w->next) {
        if (overlaps(w, r)) return true;
    }
    return false;
}

void gate_lock(struct node *gate, uint64_t offset, uint64_t bytes)
{
    struct gate *g = gate->s;

    pthread_mutex_lock(&g->lock);
    g->kept = (struct range){ offset, offset + bytes, NULL };
    while (is_written(g, &g->kept))
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

void gate_unlock(struct node *gate)
{
    struct gate *g = gate->s;

    pthread_mutex_lock(&g->lock);
    g->kept = (struct range){ 0, 0, NULL };
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

/* -------------------------------------------------------------- driver */

static int gate_make(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct gate *g = calloc(1, sizeof(*g));

    (void)o;
    if (g == NULL) return err_set(e, -ENOMEM, "out of memory");
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    n->s = g;
    n->size_bytes = n->child->size_bytes;
    n->is_readonly = n->child->is_readonly;
    n->align_bytes = n->child->align_bytes;
    return 0;
}

static int gate_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes)
{
    (void)bytes;
    return node_read(n->child, offset, iov, iovcnt);
}

static int begin(struct gate *g, struct range *r)
{
    int rc = 0;

    enter(g, r);
    if (g->hooks.before != NULL)
        rc = g->hooks.before(g->hooks.arg, r->offset, r->end - r->offset);
    return rc;
}

/* Also after a failed write: part of it may be there. */
static void end(struct gate *g, struct range *r)
{
    if (g->hooks.after != NULL)
        g->hooks.after(g->hooks.arg, r->offset, r->end - r->offset);
    leave(g, r);
}

static int gate_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                       int iovcnt, size_t bytes, unsigned flags)
{
    struct range r = { offset, offset + bytes, NULL };
    int rc = begin(n->s, &r);

    if (rc == 0) rc = node_write(n->child, offset, iov, iovcnt, flags);
    end(n->s, &r);
    return rc;
}

static int gate_zero(struct node *n, uint64_t offset, uint64_t bytes,
                     unsigned flags)
{
    struct range r = { offset, offset + bytes, NULL };
    int rc = begin(n->s, &r);

    if (rc == 0) rc = node_zero(n->child, offset, bytes, flags);
    end(n->s, &r);
    return rc;
}

static int gate_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct range r = { offset, offset + bytes, NULL };
    int rc = begin(n->s, &r);

    if (rc == 0) rc = node_discard(n->child, offset, bytes);
    end(n->s, &r);
    return rc;
}

static int gate_flush(struct node *n)
{
    return node_flush(n->child);
}

static int gate_status(struct node *n, uint64_t offset, uint64_t bytes,
                       struct node_extent *out)
{
    return node_status(n->child, offset, bytes, out);
}

static void gate_close(struct node *n)
{
    struct gate *g = n->s;

    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static const struct block_driver block_gate = {
    .name = "gate",
    .title = "tells a job of changes",
    .is_filter = true,
    .open = gate_make,
    .close = gate_close,
    .readv = gate_readv,
    .writev = gate_writev,
    .zero = gate_zero,
    .discard = gate_discard,
    .flush = gate_flush,
    .status = gate_status,
};

int gate_open(struct node *below, const struct gate_hooks *hooks,
              struct node **out, struct err *e)
{
    const struct node_options o = { .is_readonly = false };
    struct gate *g;
    int rc = node_open(&block_gate, below->name, node_ref(below), &o, out, e);

    if (rc < 0) return rc;
    g = (*out)->s;
    g->hooks = *hooks;
    return 0;
}
