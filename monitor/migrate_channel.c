/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels of migrations.
 *
 * Descriptors do not block; every wait is a poll that the cancel descriptor
 * ends as well.  Outgoing files get a temporary name beside the final one.
 */
#include "monitor/migrate_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/size.h"
#include "core/loop/loop.h"
#include "monitor/migrate_socket.h"

struct migrate_channel {
    int fd, listen_fd, cancel_fd;
    unsigned timeout_ms;
    bool is_socket;
    pid_t child;      /* of exec:, 0: none */
    char *final_path; /* file: that is being written */
    char *part_path;
    char *listen_path; /* unix:, to be removed */
};

/* Text after "kind:", or NULL. */
static const char *after(const char *uri, const char *kind)
{
    size_t n = strlen(kind);

    return strncmp(uri, kind, n) == 0 && uri[n] == ':' ? uri + n + 1 : NULL;
}

static int fd_number(const char *text, int *fd, struct err *e)
{
    uint64_t n;

    if (uint_parse(text, &n) < 0 || n > INT_MAX || fcntl((int)n, F_GETFD) < 0)
        return err_set(e, -EBADF, "fd:%s: there is no such open descriptor",
                       text);
    *fd = (int)n;
    return 0;
}

int migrate_uri_check(const char *uri, struct err *e)
{
    static const char *const kinds[] = { "exec", "file", "unix", "tcp", "fd" };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *rest = after(uri, kinds[i]);

        if (rest == NULL) continue;
        if (*rest == '\0')
            return err_set(e, -EINVAL, "%s: nothing behind it", uri);
        return strcmp(kinds[i], "tcp") == 0 ? migrate_tcp_check(rest, e) : 0;
    }
    return err_set(e, -EINVAL,
                   "'%s' is no place to migrate to or from: exec:COMMAND, "
                   "file:PATH, unix:PATH, tcp:HOST:PORT or fd:NUMBER",
                   uri);
}

static struct migrate_channel *channel_new(int cancel_fd, struct err *e)
{
    struct migrate_channel *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    c->fd = c->listen_fd = -1;
    c->cancel_fd = cancel_fd;
    return c;
}

/* --------------------------------------------------------------- waits */

/* 0, -ECANCELED, -ETIMEDOUT. */
static int wait_for(const struct migrate_channel *c, int fd, short events)
{
    struct pollfd p[2] = { { .fd = fd, .events = events },
                           { .fd = c->cancel_fd, .events = POLLIN } };
    int rc;

    do {
        rc = poll(p, 2, c->timeout_ms > 0 ? (int)c->timeout_ms : -1);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) return -errno;
    if (rc == 0) return -ETIMEDOUT;
    return p[1].revents != 0 ? -ECANCELED : 0;
}

int migrate_channel_write(void *arg, const void *data, size_t bytes)
{
    struct migrate_channel *c = arg;

    while (bytes > 0) {
        ssize_t n = c->is_socket ? send(c->fd, data, bytes, MSG_NOSIGNAL)
                                 : write(c->fd, data, bytes);
        int rc = 0;

        if (n < 0 && errno != EINTR && errno != EAGAIN) return -errno;
        if (n < 0 && errno == EAGAIN) rc = wait_for(c, c->fd, POLLOUT);
        if (rc < 0) return rc;
        if (n < 0) continue;
        data = (const char *)data + n;
        bytes -= (size_t)n;
    }
    return 0;
}

int migrate_channel_read(void *arg, void *data, size_t bytes)
{
    struct migrate_channel *c = arg;

    while (bytes > 0) {
        ssize_t n = read(c->fd, data, bytes);
        int rc = 0;

        if (n == 0) return -ENODATA;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return -errno;
        if (n < 0 && errno == EAGAIN) rc = wait_for(c, c->fd, POLLIN);
        if (rc < 0) return rc;
        if (n < 0) continue;
        data = (char *)data + n;
        bytes -= (size_t)n;
    }
    return 0;
}

void migrate_channel_set_timeout(struct migrate_channel *c, unsigned ms)
{
    c->timeout_ms = ms;
}

bool migrate_channel_answers(const struct migrate_channel *c)
{
    return c->is_socket;
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ------------------------------------------------------------ commands */

/* child_fd of the command's end of a pipe becomes its descriptor number. */
static int spawn(struct migrate_channel *c, const char *command, int child_fd,
                 int number, struct err *e)
{
    char *const argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, normal;
    int rc;

    sigemptyset(&none);
    sigemptyset(&normal);
    sigaddset(&normal, SIGPIPE);
    sigaddset(&normal, SIGINT);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, child_fd, number);
    if (number != STDIN_FILENO) /* the terminal is not the command's */
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                         O_RDONLY, 0);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &normal);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    rc = posix_spawn(&c->child, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (rc == 0) return 0;
    c->child = 0;
    return err_set(e, -rc, "exec:%s: %s", command, strerror(rc));
}

static int open_exec(struct migrate_channel *c, const char *command,
                     bool is_outgoing, struct err *e)
{
    int fds[2], rc;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(e, -errno, "pipe: %s", strerror(errno));
    rc = spawn(c, command, fds[is_outgoing ? 0 : 1],
               is_outgoing ? STDIN_FILENO : STDOUT_FILENO, e);
    close(fds[is_outgoing ? 0 : 1]);
    c->fd = fds[is_outgoing ? 1 : 0];
    set_nonblocking(c->fd);
    return rc;
}

/* Wait for the command's end: 0, or how it failed. */
static int reap(struct migrate_channel *c, struct err *e)
{
    int fd = pidfd_open(c->child, 0), status = 0;
    int rc = fd < 0 ? 0 : wait_for(c, fd, POLLIN);

    if (fd >= 0) close(fd);
    if (rc < 0) return err_set(e, rc, "the command does not end");
    while (waitpid(c->child, &status, 0) < 0 && errno == EINTR)
        continue;
    c->child = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    return WIFEXITED(status)
               ? err_set(e, -EIO, "the command ended with status %d",
                         WEXITSTATUS(status))
               : err_set(e, -EIO, "the command was killed by signal %d",
                         WTERMSIG(status));
}

/* --------------------------------------------------------------- files */

/* What is no regular file (/dev/null, a FIFO) is written to as it is. */
static int open_special(struct migrate_channel *c, const char *path,
                        struct err *e)
{
    c->fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (c->fd < 0) return err_set(e, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

static int create_file(struct migrate_channel *c, const char *path,
                       struct err *e)
{
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return open_special(c, path, e);
    c->final_path = strdup(path);
    if (c->final_path == NULL || asprintf(&c->part_path, "%s.XXXXXX", path) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    c->fd = mkostemp(c->part_path, O_CLOEXEC);
    if (c->fd >= 0) return 0;
    free(c->part_path);
    c->part_path = NULL;
    return err_set(e, -errno, "%s: %s", path, strerror(errno));
}

/* The name of what was written becomes the final one. */
static int finish_file(struct migrate_channel *c, struct err *e)
{
    if (fsync(c->fd) < 0 || rename(c->part_path, c->final_path) < 0)
        return err_set(e, -errno, "%s: %s", c->final_path, strerror(errno));
    free(c->part_path);
    c->part_path = NULL;
    return 0;
}

static int open_fd(struct migrate_channel *c, const char *text, struct err *e)
{
    struct stat st;
    int rc = fd_number(text, &c->fd, e);

    if (rc < 0) return rc;
    c->is_socket = fstat(c->fd, &st) == 0 && S_ISSOCK(st.st_mode);
    fcntl(c->fd, F_SETFD, FD_CLOEXEC);
    set_nonblocking(c->fd);
    return 0;
}

/* ------------------------------------------------------------ outgoing */

static int connect_unix(struct migrate_channel *c, const char *path,
                        struct err *e)
{
    c->is_socket = true;
    return migrate_unix_connect(path, &c->fd, e);
}

static int connect_tcp(struct migrate_channel *c, const char *host_port,
                       struct err *e)
{
    c->is_socket = true;
    return migrate_tcp_connect(host_port, c->cancel_fd, &c->fd, e);
}

int migrate_channel_connect(const char *uri, int cancel_fd,
                            struct migrate_channel **out, struct err *e)
{
    struct migrate_channel *c = channel_new(cancel_fd, e);
    const char *rest;
    int rc = c == NULL ? -ENOMEM : migrate_uri_check(uri, e);

    if (rc < 0) goto fail;
    if ((rest = after(uri, "exec")) != NULL)
        rc = open_exec(c, rest, true, e);
    else if ((rest = after(uri, "file")) != NULL)
        rc = create_file(c, rest, e);
    else if ((rest = after(uri, "fd")) != NULL)
        rc = open_fd(c, rest, e);
    else if ((rest = after(uri, "unix")) != NULL)
        rc = connect_unix(c, rest, e);
    else
        rc = connect_tcp(c, after(uri, "tcp"), e);
    if (rc < 0) goto fail;
    *out = c;
    return 0;
fail:
    migrate_channel_close(c);
    return rc;
}

int migrate_channel_finish(struct migrate_channel *c, struct err *e)
{
    int rc = 0;

    if (c->part_path != NULL) rc = finish_file(c, e);
    if (rc == 0 && close(c->fd) < 0)
        rc = err_set(e, -errno, "close: %s", strerror(errno));
    c->fd = -1;
    if (rc == 0 && c->child > 0) rc = reap(c, e);
    return rc;
}

/* ------------------------------------------------------------ incoming */

static int open_file(struct migrate_channel *c, const char *path, struct err *e)
{
    struct stat st;

    c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (c->fd < 0) return err_set(e, -errno, "%s: %s", path, strerror(errno));
    if (fstat(c->fd, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "%s: %s", path, strerror(EISDIR));
    return 0;
}

static int listen_unix(struct migrate_channel *c, const char *path,
                       struct err *e)
{
    int rc = migrate_unix_listen(path, &c->listen_fd, e);

    if (rc < 0) return rc;
    c->is_socket = true;
    c->listen_path = strdup(path);
    return 0;
}

static int listen_tcp(struct migrate_channel *c, const char *host_port,
                      struct err *e)
{
    c->is_socket = true;
    return migrate_tcp_listen(host_port, &c->listen_fd, e);
}

int migrate_channel_listen(const char *uri, int cancel_fd,
                           struct migrate_channel **out, struct err *e)
{
    struct migrate_channel *c = channel_new(cancel_fd, e);
    const char *rest;
    int rc = c == NULL ? -ENOMEM : migrate_uri_check(uri, e);

    if (rc < 0) goto fail;
    if ((rest = after(uri, "exec")) != NULL)
        rc = open_exec(c, rest, false, e);
    else if ((rest = after(uri, "file")) != NULL)
        rc = open_file(c, rest, e);
    else if ((rest = after(uri, "fd")) != NULL)
        rc = open_fd(c, rest, e);
    else if ((rest = after(uri, "unix")) != NULL)
        rc = listen_unix(c, rest, e);
    else
        rc = listen_tcp(c, after(uri, "tcp"), e);
    if (rc < 0) goto fail;
    *out = c;
    return 0;
fail:
    migrate_channel_close(c);
    return rc;
}

bool migrate_channel_is_listener(const struct migrate_channel *c)
{
    return c->listen_fd >= 0;
}

void migrate_channel_stop_listening(struct migrate_channel *c)
{
    if (c->listen_fd >= 0) close(c->listen_fd);
    if (c->listen_path != NULL) unlink(c->listen_path);
    free(c->listen_path);
    c->listen_path = NULL;
    c->listen_fd = -1;
}

int migrate_channel_accept(struct migrate_channel *c, struct err *e)
{
    if (c->listen_fd < 0) return 0;
    if (c->fd >= 0) close(c->fd);
    c->timeout_ms = 0;
    do {
        int rc = wait_for(c, c->listen_fd, POLLIN);

        if (rc < 0) return err_set(e, rc, "%s", strerror(-rc));
        c->fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (c->fd < 0 &&
             (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED));
    if (c->fd < 0) return err_set(e, -errno, "accept: %s", strerror(errno));
    return 0;
}

/* ----------------------------------------------------------------- end */

void migrate_channel_close(struct migrate_channel *c)
{
    if (c == NULL) return;
    if (c->fd >= 0) close(c->fd);
    migrate_channel_stop_listening(c);
    if (c->part_path != NULL) unlink(c->part_path);
    if (c->child > 0) {
        kill(-c->child, SIGTERM);
        while (waitpid(c->child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    free(c->final_path);
    free(c->part_path);
    free(c);
}
