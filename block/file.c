/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protocol "file": a regular file or a block device of the host.
 *
 * A file that got shorter while open gives read errors, not zeros.  After a
 * failed fdatasync the kernel may have dropped the dirty pages, so all later
 * flushes fail too.
 *
 * With O_DIRECT whole pages go by a descriptor of their own and everything
 * else through the page cache: no page is ever written by both ways at once,
 * unless the writes themselves overlap.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"

enum { DIRECT_ALIGN = 4096 };

struct file {
    int fd;
    int direct_fd;         /* -1: none */
    bool is_unsafe;        /* no fdatasync at all */
    atomic_bool is_failed; /* an fdatasync failed */
    atomic_bool no_zero_range, no_punch;
};

static int open_direct(struct node *n, struct file *f, struct err *e)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    f->direct_fd = open(path, (n->is_readonly ? O_RDONLY : O_RDWR) | O_DIRECT |
                                  O_CLOEXEC | O_NONBLOCK);
    if (f->direct_fd >= 0) return 0;
    return err_set(e, -errno, "%s: no direct I/O here: %s; use cache=writeback",
                   n->name, strerror(errno));
}

static int file_open(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct file *f = calloc(1, sizeof(*f));
    off_t end;
    int rc;

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    f->direct_fd = -1;
    f->fd = file_open_fd(n->name, o, &n->is_readonly, e);
    if (f->fd < 0) {
        rc = f->fd;
        goto free_file;
    }
    rc = o->is_unlocked ? 0 : image_lock(f->fd, n->name, !n->is_readonly, e);
    if (rc < 0) goto close_fd;
    end = lseek(f->fd, 0, SEEK_END);
    if (end < 0) {
        rc = err_set(e, -errno, "%s: size unknown: %s", n->name,
                     strerror(errno));
        goto close_fd;
    }
    if (o->is_direct) rc = open_direct(n, f, e);
    if (rc < 0) goto close_fd;
    n->size_bytes = (uint64_t)end;
    f->is_unsafe = o->is_unsafe;
    n->s = f;
    return 0;
close_fd:
    close(f->fd);
free_file:
    free(f);
    return rc;
}

int file_lock(const struct node *n, struct err *e)
{
    const struct file *f = n->s;

    return image_lock(f->fd, n->name, !n->is_readonly, e);
}

static bool is_whole_pages(uint64_t offset, const struct iovec *iov, int iovcnt)
{
    uint64_t bits = offset;

    for (int i = 0; i < iovcnt; i++)
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    return bits % DIRECT_ALIGN == 0;
}

/* Transfer all octets, going on after short transfers. */
static int transfer(struct node *n, uint64_t offset, const struct iovec *iov,
                    int iovcnt, size_t bytes, bool is_write)
{
    struct file *f = n->s;
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;

    while (done < bytes) {
        int parts = iov_slice(iov, iovcnt, done, bytes - done, part);
        off_t at = (off_t)(offset + done);
        int fd = f->direct_fd >= 0 && is_whole_pages((uint64_t)at, part, parts)
                     ? f->direct_fd
                     : f->fd;
        ssize_t rc = is_write ? pwritev(fd, part, parts, at)
                              : preadv(fd, part, parts, at);

        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0) return -errno;
        if (rc == 0) return is_write ? -ENOSPC : -EIO;
        done += (size_t)rc;
    }
    return 0;
}

static int file_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes)
{
    return transfer(n, offset, iov, iovcnt, bytes, false);
}

/* The file reaches at least to end now. */
static void grow_to(struct node *n, uint64_t end)
{
    uint64_t old = n->size_bytes;

    while (old < end &&
           !atomic_compare_exchange_weak(&n->size_bytes, &old, end))
        continue;
}

static int file_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                       int iovcnt, size_t bytes, unsigned flags)
{
    int rc = transfer(n, offset, iov, iovcnt, bytes, true);

    (void)flags;
    if (rc == 0) grow_to(n, offset + bytes);
    return rc;
}

static int file_flush(struct node *n)
{
    struct file *f = n->s;
    int rc;

    if (atomic_load(&f->is_failed)) return -EIO;
    if (n->is_readonly || f->is_unsafe) return 0;
    if (fdatasync(f->fd) == 0) return 0;
    rc = -errno;
    if (!atomic_exchange(&f->is_failed, true))
        log_warn("%s: could not be flushed: %s; what was written may be lost, "
                 "all later flushes fail",
                 n->name, strerror(-rc));
    return rc;
}

/* ------------------------------------------------------ zeros and holes */

static bool is_unsupported(int code)
{
    return code == EOPNOTSUPP || code == ENOSYS || code == EINVAL ||
           code == ENODEV;
}

/* fallocate; -ENOTSUP where the file system cannot, remembered in *cannot. */
static int allocate(const struct file *f, int mode, uint64_t offset,
                    uint64_t bytes, atomic_bool *cannot)
{
    int rc;

    if (atomic_load(cannot)) return -ENOTSUP;
    do {
        rc = fallocate(f->fd, mode, (off_t)offset, (off_t)bytes);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0) return 0;
    if (!is_unsupported(errno)) return -errno;
    atomic_store(cannot, true);
    return -ENOTSUP;
}

static int file_zero(struct node *n, uint64_t offset, uint64_t bytes,
                     unsigned flags)
{
    struct file *f = n->s;
    int rc = -ENOTSUP;

    /* A hole cannot move the end of the file. */
    if ((flags & NODE_REQ_UNMAP) && offset + bytes <= n->size_bytes)
        rc = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                      bytes, &f->no_punch);
    if (rc == -ENOTSUP)
        rc =
            allocate(f, FALLOC_FL_ZERO_RANGE, offset, bytes, &f->no_zero_range);
    if (rc == 0) grow_to(n, offset + bytes);
    return rc;
}

/* Discard is advice: a host that cannot do it keeps the data. */
static int file_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct file *f = n->s;
    int rc;

    if (offset >= n->size_bytes) return 0;
    rc = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes,
                  &f->no_punch);
    return rc == -ENOTSUP ? 0 : rc;
}

static int file_status(struct node *n, uint64_t offset, uint64_t bytes,
                       struct node_extent *out)
{
    const struct file *f = n->s;
    off_t data = lseek(f->fd, (off_t)offset, SEEK_DATA);
    uint64_t end = offset + bytes;

    *out = (struct node_extent){ bytes,
                                 EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET,
                                 offset };
    if (data < 0 && errno != ENXIO) return 0; /* no holes known here */
    if (data < 0 || (uint64_t)data > offset) {
        out->flags = EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_OFFSET;
        if (data > 0 && (uint64_t)data < end)
            out->bytes = (uint64_t)data - offset;
        return 0;
    }
    data = lseek(f->fd, (off_t)offset, SEEK_HOLE);
    if (data > (off_t)offset && (uint64_t)data < end)
        out->bytes = (uint64_t)data - offset;
    return 0;
}

static int file_run(struct node *n, uint64_t offset, uint64_t bytes,
                    bool is_write, struct node_run *out)
{
    const struct file *f = n->s;

    (void)is_write;
    *out = (struct node_run){ .fd = f->direct_fd >= 0 ? f->direct_fd : f->fd,
                              .file_offset = offset,
                              .bytes = bytes,
                              .align_bytes =
                                  f->direct_fd >= 0 ? DIRECT_ALIGN : 1 };
    return 0;
}

/* -------------------------------------------------------------- length */

static int preallocate(struct node *n, uint64_t from, uint64_t to,
                       const char *how, struct err *e)
{
    const struct file *f = n->s;
    int rc = 0;

    if (strcmp(how, "falloc") == 0) {
        if (fallocate(f->fd, 0, (off_t)from, (off_t)(to - from)) < 0)
            rc = -errno;
        if (rc == -EOPNOTSUPP) how = "full";
    }
    if (strcmp(how, "full") == 0) {
        static const uint8_t zeros[65536];

        for (rc = 0; rc == 0 && from < to; from += sizeof(zeros)) {
            uint64_t left = to - from;

            rc = node_pwrite(n, from, zeros,
                             left < sizeof(zeros) ? left : sizeof(zeros));
        }
    }
    if (rc < 0)
        err_set(e, rc, "%s: no space could be reserved: %s", n->name,
                strerror(-rc));
    return rc;
}

static int file_truncate(struct node *n, uint64_t size_bytes, const char *how,
                         bool may_shrink, struct err *e)
{
    const struct file *f = n->s;
    uint64_t old = n->size_bytes;
    int rc;

    (void)may_shrink;
    if (strcmp(how, "metadata") == 0)
        return err_set(e, -ENOTSUP,
                       "preallocation=metadata: a plain file has none (off, "
                       "falloc or full)");
    if (ftruncate(f->fd, (off_t)size_bytes) < 0)
        return err_set(e, -errno, "%s: length %llu: %s", n->name,
                       (unsigned long long)size_bytes, strerror(errno));
    n->size_bytes = size_bytes;
    if (size_bytes <= old) return 0;
    rc = preallocate(n, old, size_bytes, how, e);
    if (rc < 0 && ftruncate(f->fd, (off_t)old) == 0) n->size_bytes = old;
    return rc;
}

static void file_close(struct node *n)
{
    struct file *f = n->s;

    if (f->direct_fd >= 0) close(f->direct_fd);
    close(f->fd); /* lets the locks go */
    free(f);
}

const struct block_driver block_file = {
    .name = "file",
    .title = "a file or block device of the host",
    .is_protocol = true,
    .can_grow = true,
    .open = file_open,
    .close = file_close,
    .readv = file_readv,
    .writev = file_writev,
    .zero = file_zero,
    .discard = file_discard,
    .flush = file_flush,
    .status = file_status,
    .run = file_run,
    .truncate = file_truncate,
};
