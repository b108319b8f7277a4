/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices on files: file:, pipe:, pty, null, vc. */
#include "core/host/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"

/* ---- file: output alone ---- */

static int file_check(const struct chardev *c, struct err *e)
{
    char dir[4096];
    struct stat st;

    if (stat(c->place, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return err_set(e, -EISDIR, "%s is a directory", c->place);
        if (access(c->place, W_OK) < 0)
            return err_set(e, -errno, "%s: %s", c->place, strerror(errno));
        return 0;
    }
    snprintf(dir, sizeof(dir), "%s", c->place);
    if (access(dirname(dir), W_OK | X_OK) < 0)
        return err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    return 0;
}

static int open_now(const struct chardev *c, int *fd, struct err *e)
{
    /* O_NONBLOCK: a FIFO without a reader is refused, not waited for. */
    *fd = open(c->place,
               O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
               0666);
    if (*fd >= 0) return 0;
    return err_set(e, -errno, "%s: %s", c->place,
                   errno == ENXIO ? "nobody reads this pipe" : strerror(errno));
}

/* A regular file is made, or emptied, when the machine starts or something is
 * written: not if the machine cannot be made. */
static int file_open(struct chardev *c, struct err *e)
{
    struct stat st;
    int fd, rc;

    if (stat(c->place, &st) < 0 || S_ISREG(st.st_mode)) {
        c->is_deferred = true;
        return file_check(c, e);
    }
    rc = open_now(c, &fd, e);
    if (rc == 0) rc = chardev_attach(c, -1, fd, e);
    if (rc < 0 && fd >= 0) close(fd);
    return rc;
}

int chardev_start_locked(struct chardev *c, struct err *e)
{
    int fd, rc;

    if (!c->is_deferred) return 0;
    rc = open_now(c, &fd, e);
    c->is_deferred = false;
    if (rc < 0) return rc;
    c->out_fd = fd;
    c->is_out_plain = true;
    return 0;
}

const struct chardev_kind chardev_file = {
    .name = "file",
    .has_place = true,
    .check = file_check,
    .open = file_open,
};

/* ---- pipe: PATH.in and PATH.out, or one PATH for both ---- */

static int open_fifo(const char *path, const char *suffix, int *fd)
{
    char name[4096];

    if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix) >=
        sizeof(name))
        return -ENAMETOOLONG;
    /* Read and write: neither waits for a peer nor ends when it leaves. */
    *fd = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

static int pipe_open(struct chardev *c, struct err *e)
{
    int in = -1, out = -1;
    int rc = open_fifo(c->place, ".in", &in);

    if (rc == 0) rc = open_fifo(c->place, ".out", &out);
    if (rc == -ENOENT && in < 0) {
        rc = open_fifo(c->place, "", &in);
        out = in;
    }
    if (rc == 0) rc = chardev_attach(c, in, out, e);
    if (rc == 0) return 0;
    if (in >= 0) close(in);
    if (out >= 0 && out != in) close(out);
    return err_set(e, rc, "%s(.in, .out): %s", c->place, strerror(-rc));
}

const struct chardev_kind chardev_pipe = {
    .name = "pipe",
    .has_place = true,
    .open = pipe_open,
};

/* ---- pty ---- */

static int pty_open(struct chardev *c, struct err *e)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[128];
    struct termios t;
    int rc;

    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 ||
        ptsname_r(fd, name, sizeof(name)) != 0) {
        rc = -errno;
        if (fd >= 0) close(fd);
        return err_set(e, rc, "no pseudo terminal: %s", strerror(-rc));
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    /* An open slave keeps the master from hanging up between users. */
    c->slave_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->slave_fd >= 0 && tcgetattr(c->slave_fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(c->slave_fd, TCSANOW, &t);
    }
    rc = chardev_attach(c, fd, fd, e);
    if (rc < 0) {
        close(fd);
        if (c->slave_fd >= 0) close(c->slave_fd);
        return rc;
    }
    c->place = strdup(name);
    fprintf(stderr, "char device redirected to %s (label %s)\n", name, c->name);
    return 0;
}

static void pty_close(struct chardev *c)
{
    if (c->slave_fd >= 0) close(c->slave_fd);
}

const struct chardev_kind chardev_pty = {
    .name = "pty",
    .open = pty_open,
    .close = pty_close,
};

/* ---- null ---- */

static int null_open(struct chardev *c, struct err *e)
{
    (void)c, (void)e;
    return 0;
}

const struct chardev_kind chardev_null = { .name = "null", .open = null_open };

/* ---- vc: a screen of its own in the display ---- */

static int vc_open(struct chardev *c, struct err *e)
{
    c->ring = calloc(1, CHARDEV_RING_BYTES);
    return c->ring != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
}

void chardev_vc_store_locked(struct chardev *c, const uint8_t *buf,
                             size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        c->ring[c->ring_total++ % CHARDEV_RING_BYTES] = buf[i];
}

bool chardev_is_vc(const struct chardev *c)
{
    return c->ring != NULL;
}

void chardev_vc_watch(struct chardev *c, void (*written)(void *arg), void *arg)
{
    pthread_mutex_lock(&c->lock);
    c->written = written;
    c->written_arg = arg;
    pthread_mutex_unlock(&c->lock);
}

size_t chardev_vc_tail(struct chardev *c, uint8_t *buf, size_t cap,
                       uint64_t *total_written)
{
    uint64_t from;
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = c->ring_total < CHARDEV_RING_BYTES ? (size_t)c->ring_total
                                           : CHARDEV_RING_BYTES;
    if (n > cap) n = cap;
    from = c->ring_total - n;
    for (size_t i = 0; i < n; i++)
        buf[i] = c->ring[(from + i) % CHARDEV_RING_BYTES];
    if (total_written != NULL) *total_written = c->ring_total;
    pthread_mutex_unlock(&c->lock);
    return n;
}

void chardev_vc_input(struct chardev *c, const uint8_t *buf, size_t bytes)
{
    size_t room = chardev_room(c);

    chardev_deliver(c, buf, bytes < room ? bytes : room);
}

const struct chardev_kind chardev_vc = { .name = "vc", .open = vc_open };
const struct chardev_kind chardev_ringbuf = { .name = "ringbuf",
                                              .open = vc_open };
