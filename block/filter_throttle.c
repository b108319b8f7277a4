/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filter "throttle": what goes through it keeps to the limits of a group.  A
 * request that has to wait keeps its worker thread waiting; while the drive
 * above is drained nothing waits.
 */
#include "block/block_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "block/nodes.h"
#include "block/throttle.h"
#include "core/loop/loop.h"

struct filter {
    struct throttle_groups *groups;
    struct throttle_group *group; /* a reference */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned drains;
};

static int filter_open(struct node *n, const struct node_options *o,
                       struct err *e)
{
    const char *name = node_option(o, "throttle-group");
    struct filter *f;

    if (name == NULL)
        return err_set(e, -EINVAL, "Parameter 'throttle-group' is missing");
    if (o->groups == NULL || throttle_group_find(o->groups, name) == NULL)
        return err_set(e, -ENOENT, "Throttle group '%s' does not exist", name);
    f = calloc(1, sizeof(*f));
    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    f->groups = o->groups;
    f->group = throttle_group_get(o->groups, name);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    n->s = f;
    n->size_bytes = n->child->size_bytes;
    n->is_readonly = n->child->is_readonly;
    n->align_bytes = n->child->align_bytes;
    return 0;
}

static void filter_close(struct node *n)
{
    struct filter *f = n->s;

    throttle_group_put(f->groups, f->group);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* At most a quarter of a second at a time: the limits may change. */
static void nap_locked(struct filter *f, uint64_t ns)
{
    const uint64_t most = 250000000;
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    ns = (ns < most ? ns : most) + (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / 1000000000u);
    t.tv_nsec = (long)(ns % 1000000000u);
    pthread_cond_timedwait(&f->changed, &f->lock, &t);
}

static void pass(struct node *n, bool is_write, uint64_t bytes)
{
    struct filter *f = n->s;
    uint64_t wait;

    pthread_mutex_lock(&f->lock);
    while ((wait = throttle_group_ask(f->group, is_write, bytes)) > 0) {
        if (f->drains > 0) {
            throttle_group_force(f->group, is_write, bytes);
            break;
        }
        nap_locked(f, wait);
    }
    pthread_mutex_unlock(&f->lock);
}

static void filter_drain(struct node *n, bool is_begin)
{
    struct filter *f = n->s;

    pthread_mutex_lock(&f->lock);
    f->drains += is_begin ? 1u : -1u;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int filter_readv(struct node *n, uint64_t offset,
                        const struct iovec *iov, int iovcnt, size_t bytes)
{
    pass(n, false, bytes);
    return node_read(n->child, offset, iov, iovcnt);
}

static int filter_writev(struct node *n, uint64_t offset,
                         const struct iovec *iov, int iovcnt, size_t bytes,
                         unsigned flags)
{
    int rc;

    pass(n, true, bytes);
    rc = node_write(n->child, offset, iov, iovcnt, flags);
    n->size_bytes = n->child->size_bytes;
    return rc;
}

static int filter_zero(struct node *n, uint64_t offset, uint64_t bytes,
                       unsigned flags)
{
    int rc;

    pass(n, true, bytes);
    rc = node_zero(n->child, offset, bytes, flags);
    n->size_bytes = n->child->size_bytes;
    return rc;
}

static int filter_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    return node_discard(n->child, offset, bytes);
}

static int filter_flush(struct node *n)
{
    return node_flush(n->child);
}

static int filter_status(struct node *n, uint64_t offset, uint64_t bytes,
                         struct node_extent *out)
{
    return node_status(n->child, offset, bytes, out);
}

static int filter_truncate(struct node *n, uint64_t size_bytes, const char *how,
                           bool may_shrink, struct err *e)
{
    int rc = node_truncate(n->child, size_bytes, how, may_shrink, e);

    n->size_bytes = n->child->size_bytes;
    return rc;
}

static const char *const keys[] = { "throttle-group", NULL };

const struct block_driver block_throttle = {
    .name = "throttle",
    .title = "keeps to the limits of a throttle-group",
    .is_filter = true,
    .can_grow = true,
    .keys = keys,
    .open = filter_open,
    .close = filter_close,
    .drain = filter_drain,
    .readv = filter_readv,
    .writev = filter_writev,
    .zero = filter_zero,
    .discard = filter_discard,
    .flush = filter_flush,
    .status = filter_status,
    .truncate = filter_truncate,
};
