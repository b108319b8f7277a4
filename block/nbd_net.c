/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets of network block devices: octets with a deadline, connect, listen,
 * and the numbers on the wire. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "block/block_int.h"
#include "block/nbd.h"

/* ------------------------------------------------------------- numbers */

uint8_t *nbd_put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--) {
        to[i - 1] = (uint8_t)value;
        value >>= 8;
    }
    return to + bytes;
}

uint64_t nbd_get(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

static const struct {
    uint32_t error;
    int code;
} errors[] = {
    { NBD_EPERM, EPERM },
    { NBD_EPERM, EROFS },
    { NBD_EIO, EIO },
    { NBD_ENOMEM, ENOMEM },
    { NBD_EINVAL, EINVAL },
    { NBD_ENOSPC, ENOSPC },
    { NBD_ENOSPC, EDQUOT },
    { NBD_ENOSPC, EFBIG },
    { NBD_EOVERFLOW, EOVERFLOW },
    { NBD_ENOTSUP, ENOTSUP },
    { NBD_ESHUTDOWN, ESHUTDOWN },
};

int nbd_error_to_rc(uint32_t error)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].error == error) return -errors[i].code;
    }
    return -EIO; /* another number: some failure all the same */
}

uint32_t nbd_error_from_rc(int rc)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].code == -rc) return errors[i].error;
    }
    return NBD_EIO;
}

/* -------------------------------------------------------------- octets */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t nbd_deadline(unsigned ms)
{
    return now_ns() + ms * 1000000ull;
}

/* Until fd is ready: 0, -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd p = { .fd = fd, .events = events };

    for (;;) {
        uint64_t now = deadline_ns != 0 ? now_ns() : 0;
        int rc, ms = -1;

        if (deadline_ns != 0 && now >= deadline_ns) return -ETIMEDOUT;
        if (deadline_ns != 0) ms = (int)((deadline_ns - now) / 1000000) + 1;
        rc = poll(&p, 1, ms);
        if (rc > 0) return 0;
        if (rc < 0 && errno != EINTR) return -errno;
    }
}

/* What to do after a transfer that gave rc: 1 again, or -errno. */
static int after_error(int fd, short events, ssize_t rc, uint64_t deadline_ns)
{
    int wait;

    if (rc == 0) return -EPIPE;
    if (errno == EINTR) return 1;
    if (errno != EAGAIN) return errno == ECONNRESET ? -EPIPE : -errno;
    wait = wait_for(fd, events, deadline_ns);
    return wait < 0 ? wait : 1;
}

int nbd_recv(int fd, void *buf, size_t bytes, uint64_t deadline_ns)
{
    uint8_t *at = buf;

    while (bytes > 0) {
        ssize_t rc = recv(fd, at, bytes, 0);

        if (rc <= 0) {
            int again = after_error(fd, POLLIN, rc, deadline_ns);

            if (again < 0) return again;
            continue;
        }
        at += rc;
        bytes -= (size_t)rc;
    }
    return 0;
}

int nbd_recv_iov(int fd, const struct iovec *iov, int iovcnt, size_t bytes,
                 uint64_t deadline_ns)
{
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;

    while (done < bytes) {
        struct msghdr m = { .msg_iov = part };
        ssize_t rc;

        m.msg_iovlen = (size_t)iov_slice(iov, iovcnt, done, bytes - done, part);
        rc = recvmsg(fd, &m, 0);
        if (rc <= 0) {
            int again = after_error(fd, POLLIN, rc, deadline_ns);

            if (again < 0) return again;
            continue;
        }
        done += (size_t)rc;
    }
    return 0;
}

int nbd_send(int fd, const void *head, size_t head_bytes,
             const struct iovec *iov, int iovcnt, uint64_t deadline_ns)
{
    struct iovec part[BLOCK_MAX_IOV + 1];
    size_t bytes = iovcnt > 0 ? (size_t)iov_bytes(iov, iovcnt) : 0, done = 0;

    while (done < head_bytes + bytes) {
        struct msghdr m = { .msg_iov = part };
        size_t skip = 0;
        ssize_t rc;

        if (done < head_bytes)
            part[m.msg_iovlen++] =
                (struct iovec){ (uint8_t *)(uintptr_t)head + done,
                                head_bytes - done };
        else
            skip = done - head_bytes;
        if (skip < bytes)
            m.msg_iovlen += (size_t)iov_slice(iov, iovcnt, skip, bytes - skip,
                                              part + m.msg_iovlen);
        if (m.msg_iovlen > BLOCK_MAX_IOV) m.msg_iovlen = BLOCK_MAX_IOV;
        rc = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (rc <= 0) {
            int again = after_error(fd, POLLOUT, rc, deadline_ns);

            if (again < 0) return again;
            continue;
        }
        done += (size_t)rc;
    }
    return 0;
}

/* ------------------------------------------------------------- sockets */

static void unix_address(const struct nbd_address *a, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(out->sun_path, a->path, sizeof(out->sun_path));
    out->sun_path[sizeof(out->sun_path) - 1] = '\0';
}

/* A descriptor that is connected, or -errno. */
static int connect_to(const struct sockaddr *sa, socklen_t bytes,
                      uint64_t deadline_ns)
{
    const struct timespec pause = { .tv_nsec = 20 * 1000000 };
    int fd =
        socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(int);
    int rc, code = 0;

    if (fd < 0) return -errno;
    /* EAGAIN: the queue of a unix socket is full; poll does not tell when it
     * is no longer. */
    while ((rc = connect(fd, sa, bytes)) < 0 && errno == EAGAIN) {
        if (now_ns() >= deadline_ns) break;
        nanosleep(&pause, NULL);
    }
    if (rc < 0) code = errno == EAGAIN ? ETIMEDOUT : errno;
    if (code == EINPROGRESS) {
        rc = wait_for(fd, POLLOUT, deadline_ns);
        code = -rc;
        if (rc == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
            code = errno;
    }
    if (code == 0) return fd;
    close(fd);
    return -code;
}

static void tune_tcp(int fd)
{
    int on = 1, idle = 20, interval = 10, count = 3;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static int resolve(const struct nbd_address *a, int flags,
                   struct addrinfo **out, struct err *e)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = flags };
    const char *host = a->host[0] != '\0' ? a->host : "localhost";
    int rc = getaddrinfo(host, a->port, &hints, out);

    if (rc == 0) return 0;
    return err_set(e, -EHOSTUNREACH, "%s: %s", host, gai_strerror(rc));
}

int nbd_connect(const struct nbd_address *a, uint64_t deadline_ns,
                struct err *e)
{
    struct addrinfo *list, *i;
    int rc = -EHOSTUNREACH;

    if (a->is_unix) {
        struct sockaddr_un sa;

        unix_address(a, &sa);
        rc = connect_to((struct sockaddr *)&sa, sizeof(sa), deadline_ns);
        if (rc < 0)
            err_set(e, rc, "%s: no connection: %s", a->path, strerror(-rc));
        return rc;
    }
    rc = resolve(a, 0, &list, e);
    if (rc < 0) return rc;
    for (i = list; i != NULL; i = i->ai_next) {
        rc = connect_to(i->ai_addr, i->ai_addrlen, deadline_ns);
        if (rc >= 0) break;
    }
    freeaddrinfo(list);
    if (rc < 0)
        return err_set(e, rc, "%s port %s: no connection: %s", a->host, a->port,
                       strerror(-rc));
    tune_tcp(rc);
    return rc;
}

/* A socket that nobody listens on is left over from a dead program. */
static void remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;
    int fd;

    if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) return;
    fd = connect_to((const struct sockaddr *)sa, sizeof(*sa), nbd_deadline(1));
    if (fd == -ECONNREFUSED) unlink(sa->sun_path);
    if (fd >= 0) close(fd);
}

static int listen_unix(const struct nbd_address *a, struct err *e)
{
    struct sockaddr_un sa;
    int rc, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return err_set(e, -errno, "socket: %s", strerror(errno));
    unix_address(a, &sa);
    remove_stale(&sa);
    /* The mode of the socket file is the descriptor's at the time of bind. */
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        chmod(a->path, 0600) < 0 || listen(fd, 32) < 0) {
        rc = err_set(e, -errno, "%s: cannot listen: %s", a->path,
                     strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}

static int bind_tcp(const struct addrinfo *i)
{
    int on = 1, rc;
    int fd =
        socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, i->ai_addr, i->ai_addrlen) == 0 && listen(fd, 32) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

int nbd_listen(struct nbd_address *a, struct err *e)
{
    struct sockaddr_storage sa;
    socklen_t bytes = sizeof(sa);
    struct addrinfo *list;
    int fd = -EADDRNOTAVAIL, rc;

    if (a->is_unix) return listen_unix(a, e);
    rc = resolve(a, 0, &list, e);
    if (rc < 0) return rc;
    for (struct addrinfo *i = list; i != NULL && fd < 0; i = i->ai_next)
        fd = bind_tcp(i);
    freeaddrinfo(list);
    if (fd < 0)
        return err_set(e, fd, "%s port %s: cannot listen: %s", a->host, a->port,
                       strerror(-fd));
    if (getsockname(fd, (struct sockaddr *)&sa, &bytes) == 0)
        getnameinfo((struct sockaddr *)&sa, bytes, NULL, 0, a->port,
                    sizeof(a->port), NI_NUMERICSERV);
    return fd;
}
