/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes: range-checked access, and what a driver without an operation gets. */
#include "block/block_int.h"

#include <errno.h>
#include <string.h>

/* Total of iov if the range lies on the node, else -EIO.  A protocol grows
 * when it is written past its end. */
static int64_t check_range(const struct node *n, uint64_t offset,
                           const struct iovec *iov, int iovcnt, bool may_grow)
{
    int64_t bytes = iov_bytes(iov, iovcnt);
    uint64_t limit = may_grow ? INT64_MAX : n->size_bytes;

    if (bytes < 0) return bytes;
    if (offset > limit || (uint64_t)bytes > limit - offset)
        return may_grow ? -EFBIG : -EIO;
    return bytes;
}

static int check_bytes(const struct node *n, uint64_t offset, uint64_t bytes)
{
    uint64_t limit = n->drv->can_grow ? INT64_MAX : n->size_bytes;

    return offset > limit || bytes > limit - offset ? -EIO : 0;
}

int node_read(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt)
{
    int64_t bytes = check_range(n, offset, iov, iovcnt, false);

    if (bytes <= 0) return (int)bytes;
    return n->drv->readv(n, offset, iov, iovcnt, (size_t)bytes);
}

int node_write(struct node *n, uint64_t offset, const struct iovec *iov,
               int iovcnt, unsigned flags)
{
    int64_t bytes = check_range(n, offset, iov, iovcnt, n->drv->can_grow);

    if (bytes <= 0) return (int)bytes;
    if (n->is_readonly || n->drv->writev == NULL) return -EROFS;
    return n->drv->writev(n, offset, iov, iovcnt, (size_t)bytes, flags);
}

int node_pread(struct node *n, uint64_t offset, void *buf, size_t bytes)
{
    struct iovec iov = { buf, bytes };

    return node_read(n, offset, &iov, 1);
}

int node_pwrite(struct node *n, uint64_t offset, const void *buf, size_t bytes)
{
    struct iovec iov = { (void *)(uintptr_t)buf, bytes };

    return node_write(n, offset, &iov, 1, 0);
}

/* Zeros written out, 64 KiB of them at a time. */
static int write_zeros(struct node *n, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeros[65536] __attribute__((aligned(4096)));
    struct iovec iov[16];

    while (bytes > 0) {
        uint64_t part = 0;
        int count = 0, rc;

        while (count < 16 && part < bytes) {
            size_t here = bytes - part < sizeof(zeros) ? (size_t)(bytes - part)
                                                       : sizeof(zeros);

            iov[count++] = (struct iovec){ (void *)(uintptr_t)zeros, here };
            part += here;
        }
        rc = node_write(n, offset, iov, count, 0);
        if (rc < 0) return rc;
        offset += part;
        bytes -= part;
    }
    return 0;
}

int node_zero(struct node *n, uint64_t offset, uint64_t bytes, unsigned flags)
{
    int rc = check_bytes(n, offset, bytes);

    if (rc < 0 || bytes == 0) return rc;
    if (n->is_readonly) return -EROFS;
    rc =
        n->drv->zero == NULL ? -ENOTSUP : n->drv->zero(n, offset, bytes, flags);
    return rc == -ENOTSUP ? write_zeros(n, offset, bytes) : rc;
}

int node_flush(struct node *n)
{
    return n->drv->flush == NULL ? 0 : n->drv->flush(n);
}

int node_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    int rc = check_bytes(n, offset, bytes);

    if (rc < 0 || bytes == 0) return rc;
    if (n->is_readonly) return -EROFS;
    return n->drv->discard == NULL ? 0 : n->drv->discard(n, offset, bytes);
}

int node_status(struct node *n, uint64_t offset, uint64_t bytes,
                struct node_extent *out)
{
    if (offset >= n->size_bytes) return -EINVAL;
    if (bytes > n->size_bytes - offset) bytes = n->size_bytes - offset;
    if (n->drv->status != NULL) return n->drv->status(n, offset, bytes, out);
    *out = (struct node_extent){ .bytes = bytes,
                                 .flags = EXTENT_DATA | EXTENT_ALLOCATED };
    return 0;
}

int node_run(struct node *n, uint64_t offset, uint64_t bytes, bool is_write,
             struct node_run *out)
{
    if (n->drv->run == NULL) return -EAGAIN;
    if (offset > n->size_bytes || bytes > n->size_bytes - offset) return -EIO;
    if (is_write && n->is_readonly) return -EROFS;
    return n->drv->run(n, offset, bytes, is_write, out);
}

void node_run_done(const struct node_run *r)
{
    if (r->pinned != NULL && r->pinned->drv->run_done != NULL)
        r->pinned->drv->run_done(r->pinned, r);
}

void node_drain(struct node *n, bool is_begin)
{
    for (; n != NULL; n = n->child) {
        if (n->drv->drain != NULL) n->drv->drain(n, is_begin);
        if (n->backing != NULL) node_drain(n->backing, is_begin);
    }
}

int node_truncate(struct node *n, uint64_t size_bytes,
                  const char *preallocation, bool may_shrink, struct err *e)
{
    if (n->is_readonly)
        return err_set(e, -EROFS, "%s: opened read-only", n->name);
    if (n->drv->truncate == NULL)
        return err_set(e, -ENOTSUP, "%s: format %s cannot be resized", n->name,
                       n->drv->name);
    if (size_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return err_set(e, -EFBIG, "%s: size too large", n->name);
    if (size_bytes < n->size_bytes && !may_shrink)
        return err_set(e, -ENOTSUP,
                       "%s: use --shrink to make it smaller; what lies behind "
                       "the new end is lost",
                       n->name);
    return n->drv->truncate(n, size_bytes, preallocation, may_shrink, e);
}
