/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protocol "file": a regular file or a block device of the host.
 *
 * Nothing else is opened: a FIFO would hang, a directory or terminal makes no
 * disk.  A file that got shorter while open gives read errors, not zeros.
 * After a failed fdatasync the kernel may have dropped the dirty pages, so all
 * later flushes fail too.
 */
#include "block/block_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"

struct file {
    int fd;
    atomic_bool is_failed; /* an fdatasync failed */
};

static const char *kind_text(mode_t mode)
{
    if (S_ISDIR(mode)) return "is a directory";
    if (S_ISFIFO(mode)) return "is a FIFO";
    if (S_ISSOCK(mode)) return "is a socket";
    if (S_ISCHR(mode)) return "is a character device";
    return "is of an unknown kind";
}

static int check_kind(const struct stat *st, const char *name, struct err *e)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode)) return 0;
    return err_set(e, -EINVAL,
                   "%s: %s; a disk image must be a regular file or a block "
                   "device",
                   name, kind_text(st->st_mode));
}

static int refuse_open(const char *name, int code, bool is_readonly,
                       struct err *e)
{
    const char *hint = "";

    switch (code) {
    case ENOENT: hint = "; check the name"; break;
    case EROFS:
    case EACCES:
    case EPERM:
        hint = is_readonly ? "; make it readable for this user"
                           : "; make it writable for this user, or add "
                             "readonly=on or snapshot=on";
        break;
    default: break;
    }
    return err_set(e, -code, "%s: %s%s", name, strerror(code), hint);
}

/* Descriptor or -errno; sets *is_readonly when it fell back. */
static int open_fd(const char *name, const struct node_options *o,
                   bool *is_readonly, struct err *e)
{
    const int common = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct stat st;
    int fd;

    /* Look before opening: opening some devices has effects. */
    if (stat(name, &st) < 0) return refuse_open(name, errno, true, e);
    if (check_kind(&st, name, e) < 0) return -EINVAL;

    *is_readonly = o->is_readonly;
    fd = open(name, (o->is_readonly ? O_RDONLY : O_RDWR) | common);
    if (fd < 0 && !o->is_readonly && o->is_auto_readonly &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        *is_readonly = true;
        fd = open(name, O_RDONLY | common);
    }
    if (fd < 0) return refuse_open(name, errno, *is_readonly, e);
    if (fstat(fd, &st) < 0 || check_kind(&st, name, e) < 0) {
        close(fd);
        return -EINVAL;
    }
    return fd;
}

static int file_open(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct file *f;
    off_t end;
    int rc, fd = open_fd(n->name, o, &n->is_readonly, e);

    if (fd < 0) return fd;
    rc = image_lock(fd, n->name, !n->is_readonly, e);
    if (rc < 0) goto close_fd;
    end = lseek(fd, 0, SEEK_END);
    if (end < 0) {
        rc = err_set(e, -errno, "%s: size unknown: %s", n->name,
                     strerror(errno));
        goto close_fd;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        rc = err_set(e, -ENOMEM, "out of memory");
        goto close_fd;
    }
    f->fd = fd;
    n->size_bytes = (uint64_t)end;
    n->s = f;
    return 0;
close_fd:
    close(fd);
    return rc;
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
        ssize_t rc = is_write ? pwritev(f->fd, part, parts, at)
                              : preadv(f->fd, part, parts, at);

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
    if (n->is_readonly) return 0;
    if (fdatasync(f->fd) == 0) return 0;
    rc = -errno;
    if (!atomic_exchange(&f->is_failed, true))
        log_warn("%s: could not be flushed: %s; what was written may be lost, "
                 "all later flushes fail",
                 n->name, strerror(-rc));
    return rc;
}

/* Discard is advice: a host that cannot do it keeps the data. */
static int file_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct file *f = n->s;

    if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)offset, (off_t)bytes) == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? 0
                                                                     : -errno;
}

static void file_close(struct node *n)
{
    struct file *f = n->s;

    close(f->fd); /* lets the locks go */
    free(f);
}

const struct block_driver block_file = {
    .name = "file",
    .title = "a file or block device of the host",
    .is_protocol = true,
    .open = file_open,
    .readv = file_readv,
    .writev = file_writev,
    .flush = file_flush,
    .discard = file_discard,
    .close = file_close,
};
