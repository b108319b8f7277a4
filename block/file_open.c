/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening and making image files.  Only regular files and block devices are
 * opened: a FIFO would hang, a directory or terminal makes no disk.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

int file_open_fd(const char *name, const struct node_options *o,
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

int file_make(const char *file, struct err *e)
{
    int fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno == EEXIST) return 0;
    return err_set(e, -errno, "%s: cannot be made: %s", file, strerror(errno));
}
