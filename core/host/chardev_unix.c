/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on sockets: unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT,
 * each as client or, with server=on, as a listener for one peer at a time.
 * A unix socket gets mode 0600 before it has a name; a name left behind by a
 * dead process is recognised by a refused connection and replaced, anything
 * else in that place is left alone.  Without a host TCP means loopback.
 */
#include "core/host/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void listen_ready(void *arg, unsigned ready);

static int unix_address(const struct chardev *c, struct sockaddr_un *a,
                        struct err *e)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    if (strlen(c->place) >= sizeof(a->sun_path))
        return err_set(e, -ENAMETOOLONG,
                       "%s: a socket's path has at most %zu characters",
                       c->place, sizeof(a->sun_path) - 1);
    strcpy(a->sun_path, c->place);
    return 0;
}

/* Is the name a socket nobody listens on? */
static bool is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    bool stale;
    int fd;

    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    stale = connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 &&
            errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int unix_check(const struct chardev *c, struct err *e)
{
    struct sockaddr_un a;
    struct stat st;
    char dir[sizeof(a.sun_path)];
    int rc = unix_address(c, &a, e);

    if (rc < 0) return rc;
    if (!c->is_server) return 0;
    if (lstat(c->place, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return err_set(e, -EEXIST, "%s exists and is no socket", c->place);
        if (!is_stale(&a))
            return err_set(e, -EADDRINUSE, "%s: somebody listens there",
                           c->place);
    }
    strcpy(dir, c->place);
    if (access(dirname(dir), W_OK | X_OK) < 0)
        return err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    return 0;
}

static int unix_listen(struct chardev *c, const struct sockaddr_un *a, int fd,
                       struct err *e)
{
    const struct sockaddr *sa = (const struct sockaddr *)a;
    struct stat st;
    int rc;

    fchmod(fd, 0600); /* the name is made with the socket's mode */
    rc = bind(fd, sa, sizeof(*a));
    if (rc < 0 && errno == EADDRINUSE && is_stale(a)) {
        unlink(a->sun_path);
        rc = bind(fd, sa, sizeof(*a));
    }
    if (rc < 0)
        return err_set(e, -errno, "%s: %s", c->place,
                       errno == EADDRINUSE ? "in use" : strerror(errno));
    if (chmod(a->sun_path, 0600) < 0 || listen(fd, 1) < 0)
        return err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    if (lstat(a->sun_path, &st) == 0) {
        c->sock_dev = st.st_dev;
        c->sock_ino = st.st_ino;
    }
    return 0;
}

/* Block until the first peer is there (wait=on). */
static int wait_for_peer(struct chardev *c, struct err *e)
{
    sigset_t none;
    int fd;

    fprintf(stderr, "orrery: waiting for a connection to %s\n", c->spec);
    sigemptyset(&none); /* Ctrl-C ends the waiting even where it is caught */
    do {
        struct pollfd p = { .fd = c->listen_fd, .events = POLLIN };

        fd = ppoll(&p, 1, NULL, &none);
        if (fd > 0) fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return err_set(e, -errno, "accept: %s", strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return chardev_attach(c, fd, fd, e);
}

/* fd is bound and listening. */
static int start_server(struct chardev *c, int fd, struct err *e)
{
    int rc;

    c->listen_fd = fd;
    if (c->is_wait) {
        rc = wait_for_peer(c, e);
        if (rc < 0) return rc;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return loop_add_fd(c->loop, fd, c->is_wait ? 0 : LOOP_READ, listen_ready, c,
                       e);
}

static int unix_open(struct chardev *c, struct err *e)
{
    struct sockaddr_un a;
    int rc = unix_address(c, &a, e), fd;

    if (rc < 0) return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_set(e, -errno, "socket: %s", strerror(errno));
    if (c->is_server) {
        rc = unix_listen(c, &a, fd, e);
        if (rc == 0) rc = start_server(c, fd, e);
    } else if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        rc = err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    } else {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        rc = chardev_attach(c, fd, fd, e);
    }
    if (rc < 0) {
        c->listen_fd = -1;
        close(fd);
    }
    return rc;
}

static void notify(struct chardev *c, bool is_open)
{
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        struct chardev_front *f = &c->front[i];
        if (f->opened != NULL) f->opened(f->arg, is_open);
    }
}

/* RFC 854, 857, 858: will echo, will suppress go-ahead; character mode. */
static const uint8_t telnet_hello[] = { 255, 251, 1, 255, 251, 3 };

static void listen_ready(void *arg, unsigned ready)
{
    struct chardev *c = arg;
    struct err e = ERR_INIT;
    int fd;

    (void)ready;
    fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (chardev_attach(c, fd, fd, &e) < 0) {
        close(fd);
        return;
    }
    loop_mod_fd(c->loop, c->listen_fd, 0); /* one peer at a time */
    if (c->is_telnet) {
        c->telnet_state = 0;
        chardev_write(c, telnet_hello, sizeof(telnet_hello));
    }
    notify(c, true);
}

static void socket_hangup(struct chardev *c)
{
    chardev_detach(c);
    c->is_escaped = false;
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++)
        c->in[i].len = 0;
    if (c->listen_fd >= 0) loop_mod_fd(c->loop, c->listen_fd, LOOP_READ);
}

static void socket_close(struct chardev *c)
{
    struct stat st;

    if (c->listen_fd < 0) return;
    loop_del_fd(c->loop, c->listen_fd);
    close(c->listen_fd);
    if (c->sock_ino != 0 && lstat(c->place, &st) == 0 &&
        st.st_dev == c->sock_dev && st.st_ino == c->sock_ino)
        unlink(c->place); /* ours and not a successor's */
}

const struct chardev_kind chardev_unix = {
    .name = "unix",
    .has_place = true,
    .check = unix_check,
    .open = unix_open,
    .hangup = socket_hangup,
    .close = socket_close,
};

/* ---- TCP ---- */

static int resolve(const struct chardev *c, struct addrinfo **out,
                   struct err *e)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_family = AF_UNSPEC };
    const char *colon = strrchr(c->place, ':');
    char host[256];
    size_t n;
    int rc;

    if (colon == NULL || colon[1] == '\0')
        return err_set(e, -EINVAL, "%s: write HOST:PORT", c->place);
    n = (size_t)(colon - c->place);
    if (n >= sizeof(host))
        return err_set(e, -EINVAL, "%s: host name too long", c->place);
    memcpy(host, c->place, n);
    host[n] = '\0';
    if (n > 1 && host[0] == '[' && host[n - 1] == ']') { /* [::1]:PORT */
        memmove(host, host + 1, n - 2);
        host[n - 2] = '\0';
    }
    /* glibc takes the low 16 bits of a larger number. */
    if (strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
        strtoul(colon + 1, NULL, 10) > 65535)
        return err_set(e, -EINVAL, "%s: a port is at most 65535", c->place);
    rc = getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, out);
    if (rc != 0)
        return err_set(e, -EINVAL, "%s: %s", c->place, gai_strerror(rc));
    return 0;
}

static int tcp_listen(struct chardev *c, const struct addrinfo *a, int fd,
                      struct err *e)
{
    int one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1) < 0)
        return err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    return 0;
}

static int tcp_check(const struct chardev *c, struct err *e)
{
    struct addrinfo *a = NULL;
    int rc = resolve(c, &a, e);

    if (rc < 0) return rc;
    if (c->is_server) {
        int one = 1;
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0)
            rc = err_set(e, -errno, "%s: %s", c->place, strerror(errno));
        if (fd >= 0) close(fd);
    }
    freeaddrinfo(a);
    return rc;
}

static int tcp_open(struct chardev *c, struct err *e)
{
    struct addrinfo *a = NULL;
    int rc = resolve(c, &a, e), fd;

    if (rc < 0) return rc;
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        rc = err_set(e, -errno, "socket: %s", strerror(errno));
    } else if (c->is_server) {
        rc = tcp_listen(c, a, fd, e);
        if (rc == 0) rc = start_server(c, fd, e);
    } else if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
        rc = err_set(e, -errno, "%s: %s", c->place, strerror(errno));
    } else {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        rc = chardev_attach(c, fd, fd, e);
    }
    freeaddrinfo(a);
    if (rc < 0 && fd >= 0) {
        c->listen_fd = -1;
        close(fd);
    }
    return rc;
}

static int telnet_open(struct chardev *c, struct err *e)
{
    c->is_telnet = true;
    return tcp_open(c, e);
}

size_t chardev_telnet_filter(struct chardev *c, uint8_t *buf, size_t bytes)
{
    enum { DATA, COMMAND, OPTION, SUB, SUB_IAC };
    size_t out = 0;

    for (size_t i = 0; i < bytes; i++) {
        uint8_t b = buf[i];

        switch (c->telnet_state) {
        case COMMAND: /* RFC 854: 240 SE, 243 BRK, 250 SB, 251..254 */
            c->telnet_state = b == 250               ? SUB
                              : b >= 251 && b != 255 ? OPTION
                                                     : DATA;
            if (b == 255) buf[out++] = b;
            if (b == 243 && c->front[c->focus].send_break != NULL)
                c->front[c->focus].send_break(c->front[c->focus].arg);
            break;
        case OPTION: c->telnet_state = DATA; break;
        case SUB: c->telnet_state = b == 255 ? SUB_IAC : SUB; break;
        case SUB_IAC: c->telnet_state = b == 240 ? DATA : SUB; break;
        default:
            if (b == 255) {
                c->telnet_state = COMMAND;
            } else if (b != 0) { /* CR NUL is a bare CR */
                buf[out++] = b;
            }
        }
    }
    return out;
}

const struct chardev_kind chardev_tcp = {
    .name = "tcp",
    .has_place = true,
    .check = tcp_check,
    .open = tcp_open,
    .hangup = socket_hangup,
    .close = socket_close,
};

const struct chardev_kind chardev_telnet = {
    .name = "telnet",
    .has_place = true,
    .check = tcp_check,
    .open = telnet_open,
    .hangup = socket_hangup,
    .close = socket_close,
};
