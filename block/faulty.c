/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filter "faulty" for tests: fails chosen operations on the file below.
 *
 * faults= is a list "op:nth:error[:sticky]" separated by '/': op is read,
 * write, flush, zero or discard; nth counts from 1 (operations of that kind);
 * error is EIO, ENOSPC, or short (half of a write is done, then EIO).  Without
 * sticky only that one operation fails.
 */
#include "block/block_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum op { OP_READ, OP_WRITE, OP_FLUSH, OP_ZERO, OP_DISCARD, OPS };
enum { MAX_RULES = 16, IS_SHORT = -1, SECTOR = 512 };

static const char *const op_names[OPS] = { "read", "write", "flush", "zero",
                                           "discard" };

struct rule {
    enum op op;
    unsigned long nth;
    int error; /* errno, or IS_SHORT */
    bool is_sticky;
};

struct faulty {
    pthread_mutex_t lock;
    unsigned long count[OPS];
    struct rule rule[MAX_RULES];
    unsigned rules;
};

static int parse_rule(struct rule *r, char *text, struct err *e)
{
    char *save = NULL, *op = strtok_r(text, ":", &save);
    char *nth = strtok_r(NULL, ":", &save);
    char *error = strtok_r(NULL, ":", &save);
    char *sticky = strtok_r(NULL, ":", &save);
    unsigned i = 0;

    while (op != NULL && i < OPS && strcmp(op_names[i], op) != 0)
        i++;
    if (error == NULL || i == OPS)
        return err_set(e, -EINVAL, "faults=: op:nth:error[:sticky]");
    r->op = (enum op)i;
    r->nth = strtoul(nth, NULL, 10);
    r->is_sticky = sticky != NULL && strcmp(sticky, "sticky") == 0;
    if (strcmp(error, "EIO") == 0)
        r->error = EIO;
    else if (strcmp(error, "ENOSPC") == 0)
        r->error = ENOSPC;
    else if (strcmp(error, "short") == 0)
        r->error = IS_SHORT;
    else
        return err_set(e, -EINVAL, "faults=: EIO, ENOSPC or short, not '%s'",
                       error);
    return 0;
}

static int parse_rules(struct faulty *f, const char *text, struct err *e)
{
    char *copy = strdup(text), *save = NULL;
    int rc = copy == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;

    for (char *at = copy == NULL ? NULL : strtok_r(copy, "/", &save);
         at != NULL && rc == 0; at = strtok_r(NULL, "/", &save)) {
        if (f->rules == MAX_RULES)
            rc = err_set(e, -E2BIG, "faults=: more than %d", MAX_RULES);
        else
            rc = parse_rule(&f->rule[f->rules++], at, e);
    }
    free(copy);
    return rc;
}

static int faulty_open(struct node *n, const struct node_options *o,
                       struct err *e)
{
    struct faulty *f = calloc(1, sizeof(*f));
    const char *text;
    int rc;

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    text = node_option(o, "faults");
    if (o->faults != NULL) text = o->faults;
    rc = parse_rules(f, text == NULL ? "" : text, e);
    if (rc < 0) {
        free(f);
        return rc;
    }
    pthread_mutex_init(&f->lock, NULL);
    n->s = f;
    n->size_bytes = n->child->size_bytes;
    n->is_readonly = n->child->is_readonly;
    return 0;
}

/* What this operation meets: 0, an errno, or IS_SHORT. */
static int fault(struct node *n, enum op op)
{
    struct faulty *f = n->s;
    int error = 0;

    pthread_mutex_lock(&f->lock);
    f->count[op]++;
    for (unsigned i = 0; i < f->rules && error == 0; i++) {
        const struct rule *r = &f->rule[i];

        if (r->op == op &&
            (f->count[op] == r->nth || (r->is_sticky && f->count[op] > r->nth)))
            error = r->error;
    }
    pthread_mutex_unlock(&f->lock);
    return error;
}

static int faulty_readv(struct node *n, uint64_t offset,
                        const struct iovec *iov, int iovcnt, size_t bytes)
{
    int error = fault(n, OP_READ);

    if (error != 0) return error == IS_SHORT ? -EIO : -error;
    return n->child->drv->readv(n->child, offset, iov, iovcnt, bytes);
}

static int faulty_writev(struct node *n, uint64_t offset,
                         const struct iovec *iov, int iovcnt, size_t bytes,
                         unsigned flags)
{
    struct iovec part[BLOCK_MAX_IOV];
    int error = fault(n, OP_WRITE), rc;

    if (error > 0) return -error;
    if (error == IS_SHORT) {
        iovcnt = iov_slice(iov, iovcnt, 0, bytes / 2 / SECTOR * SECTOR, part);
        iov = part;
    }
    rc = node_write(n->child, offset, iov, iovcnt, flags);
    n->size_bytes = n->child->size_bytes;
    return error == IS_SHORT ? -EIO : rc;
}

static int faulty_zero(struct node *n, uint64_t offset, uint64_t bytes,
                       unsigned flags)
{
    int error = fault(n, OP_ZERO), rc;

    if (error != 0) return error == IS_SHORT ? -EIO : -error;
    rc = node_zero(n->child, offset, bytes, flags);
    n->size_bytes = n->child->size_bytes;
    return rc;
}

static int faulty_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    int error = fault(n, OP_DISCARD);

    if (error != 0) return error == IS_SHORT ? -EIO : -error;
    return node_discard(n->child, offset, bytes);
}

static int faulty_flush(struct node *n)
{
    int error = fault(n, OP_FLUSH);

    if (error != 0) return error == IS_SHORT ? -EIO : -error;
    return node_flush(n->child);
}

static int faulty_status(struct node *n, uint64_t offset, uint64_t bytes,
                         struct node_extent *out)
{
    return node_status(n->child, offset, bytes, out);
}

static int faulty_truncate(struct node *n, uint64_t size_bytes, const char *how,
                           bool may_shrink, struct err *e)
{
    int rc = node_truncate(n->child, size_bytes, how, may_shrink, e);

    n->size_bytes = n->child->size_bytes;
    return rc;
}

static void faulty_close(struct node *n)
{
    struct faulty *f = n->s;

    pthread_mutex_destroy(&f->lock);
    free(f);
}

const struct block_driver block_faulty = {
    .name = "faulty",
    .title = "fails chosen operations, for tests",
    .is_filter = true,
    .can_grow = true,
    .open = faulty_open,
    .close = faulty_close,
    .readv = faulty_readv,
    .writev = faulty_writev,
    .zero = faulty_zero,
    .discard = faulty_discard,
    .flush = faulty_flush,
    .status = faulty_status,
    .truncate = faulty_truncate,
};
