/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_kind(const char *path, const struct stat *s, struct err *e)
{
    if (S_ISREG(s->st_mode) || S_ISCHR(s->st_mode)) return 0;
    if (S_ISDIR(s->st_mode))
        return err_set(e, -EISDIR, "Could not open '%s': %s", path,
                       strerror(EISDIR));
    return err_set(e, -EINVAL, "Could not open '%s': it is not a plain file",
                   path);
}

int output_check(const char *path, struct err *e)
{
    struct stat s;

    return stat(path, &s) < 0 ? 0 : check_kind(path, &s, e);
}

int output_open(const char *path, unsigned mode, struct err *e)
{
    struct stat s;
    int fd, rc = output_check(path, e);

    if (rc < 0) return rc;
    /* Not blocking: it may have become something else since. */
    fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
              mode);
    if (fd < 0)
        return err_set(e, -errno, "Could not open '%s': %s", path,
                       strerror(errno));
    rc = fstat(fd, &s) < 0 ? err_set(e, -errno, "%s: %s", path, strerror(errno))
                           : check_kind(path, &s, e);
    if (rc == 0 && S_ISREG(s.st_mode) && ftruncate(fd, 0) < 0)
        rc = err_set(e, -errno, "%s: %s", path, strerror(errno));
    if (rc == 0) return fd;
    close(fd);
    return rc;
}
