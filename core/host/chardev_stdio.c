/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard input and output.  A terminal is put into raw mode and restored at
 * the end.  Output must not block, but O_NONBLOCK belongs to the open file
 * description, which the shell shares: terminals and pipes are opened anew
 * through /proc, and only where that fails the flag of the shared one is
 * changed and put back.
 */
#include "core/host/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two readers would share what is typed between them. */
static atomic_bool is_taken;

static void set_raw(struct chardev *c)
{
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &t) < 0) return;
    c->termios = t;
    c->has_termios = true;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR |
                             ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!c->is_signal) t.c_lflag &= ~(tcflag_t)ISIG;
    t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    t.c_cflag |= CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* Own descriptor for fd 0 or 1 that does not block. */
static int own_fd(struct chardev *c, int fd, int flags)
{
    char path[32];
    struct stat st;
    int own;

    if (fstat(fd, &st) < 0) return -1;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISSOCK(st.st_mode))
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0) return own;
    c->saved_flags = fcntl(fd, F_GETFL);
    if (c->saved_flags >= 0) fcntl(fd, F_SETFL, c->saved_flags | O_NONBLOCK);
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int open_both(struct chardev *c, struct err *e)
{
    int in, out, rc;

    in = own_fd(c, STDIN_FILENO, O_RDONLY);
    if (in < 0) return err_set(e, -errno, "standard input is closed");
    out = own_fd(c, STDOUT_FILENO, O_WRONLY);
    if (out < 0) {
        rc = err_set(e, -errno, "standard output is closed");
        close(in);
        return rc;
    }
    rc = chardev_attach(c, in, out, e);
    if (rc < 0) {
        close(in);
        close(out);
        return rc;
    }
    set_raw(c);
    return 0;
}

static int stdio_open(struct chardev *c, struct err *e)
{
    int rc;

    if (atomic_exchange(&is_taken, true))
        return err_set(e, -EBUSY, "stdio: used by another character device");
    rc = open_both(c, e);
    c->has_stdio = rc == 0;
    if (rc < 0) atomic_store(&is_taken, false);
    return rc;
}

/* End of input: what is written still goes out. */
static void stdio_hangup(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->is_in_plain) loop_del_fd(c->loop, c->in_fd);
    close(c->in_fd);
    c->in_fd = -1;
    c->is_in_over = true;
    pthread_mutex_unlock(&c->lock);
}

static void stdio_close(struct chardev *c)
{
    if (c->has_termios) tcsetattr(STDIN_FILENO, TCSADRAIN, &c->termios);
    if (c->saved_flags >= 0) {
        fcntl(STDIN_FILENO, F_SETFL, c->saved_flags);
        fcntl(STDOUT_FILENO, F_SETFL, c->saved_flags);
    }
    if (c->has_stdio) atomic_store(&is_taken, false);
    c->has_stdio = false;
}

const struct chardev_kind chardev_stdio = {
    .name = "stdio",
    .open = stdio_open,
    .hangup = stdio_hangup,
    .close = stdio_close,
};
