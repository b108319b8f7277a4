/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Protocol "null-co": takes every write, keeps nothing; for measurements. */
#include "block/block_int.h"

#include <errno.h>

#define NULL_SIZE_BYTES (UINT64_C(1) << 30)

static int null_open(struct node *n, const struct node_options *o,
                     struct err *e)
{
    uint64_t size = NULL_SIZE_BYTES;
    bool reads_zeros = false;
    int rc = node_option_size(o, "size", 0, INT64_MAX, &size, e);

    /* Reading gives zeros either way: nothing of this process leaks. */
    if (rc == 0) rc = node_option_bool(o, "read-zeroes", &reads_zeros, e);
    n->size_bytes = size;
    n->is_readonly = o->is_readonly;
    return rc;
}

static void null_close(struct node *n)
{
    (void)n;
}

static int null_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes)
{
    (void)n, (void)offset, (void)bytes;
    iov_zero(iov, iovcnt);
    return 0;
}

static int null_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                       int iovcnt, size_t bytes, unsigned flags)
{
    (void)n, (void)offset, (void)iov, (void)iovcnt, (void)bytes, (void)flags;
    return 0;
}

static int null_zero(struct node *n, uint64_t offset, uint64_t bytes,
                     unsigned flags)
{
    (void)n, (void)offset, (void)bytes, (void)flags;
    return 0;
}

static int null_status(struct node *n, uint64_t offset, uint64_t bytes,
                       struct node_extent *out)
{
    (void)n, (void)offset;
    *out = (struct node_extent){ .bytes = bytes,
                                 .flags = EXTENT_ZERO | EXTENT_ALLOCATED };
    return 0;
}

static const char *const keys[] = { "size", "read-zeroes", NULL };

const struct block_driver block_null = {
    .name = "null-co",
    .title = "takes everything, keeps nothing",
    .is_protocol = true,
    .keys = keys,
    .open = null_open,
    .close = null_close,
    .readv = null_readv,
    .writev = null_writev,
    .zero = null_zero,
    .status = null_status,
};
