/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets of migrations. */
#include "monitor/migrate_socket.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/size.h"

struct place {
    char host[256], port[8];
};

static int split(const char *address, struct place *p, struct err *e)
{
    const char *colon = strrchr(address, ':'), *host = address;
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    uint64_t port;

    if (colon == NULL || uint_parse(colon + 1, &port) < 0 || port < 1 ||
        port > 65535)
        return err_set(e, -EINVAL, "tcp:%s: expected HOST:PORT", address);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof(p->host))
        return err_set(e, -EINVAL, "tcp:%s: the host's name is too long",
                       address);
    if (len == 0) {
        strcpy(p->host, "127.0.0.1");
    } else {
        memcpy(p->host, host, len);
        p->host[len] = '\0';
    }
    snprintf(p->port, sizeof(p->port), "%u", (unsigned)port);
    return 0;
}

int migrate_tcp_check(const char *address, struct err *e)
{
    struct place p;

    return split(address, &p, e);
}

static int look_up(const char *address, bool is_listening,
                   struct addrinfo **list, struct err *e)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = is_listening ? AI_PASSIVE : 0 };
    struct place p;
    int rc = split(address, &p, e);

    if (rc < 0) return rc;
    /* "0" is every address of this host, for those who say so. */
    rc = getaddrinfo(strcmp(p.host, "0") == 0 ? "0.0.0.0" : p.host, p.port,
                     &hints, list);
    if (rc == 0) return 0;
    return err_set(e, -EINVAL, "tcp:%s: %s", address, gai_strerror(rc));
}

static int wait_connected(int fd, int cancel_fd)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLOUT },
                           { .fd = cancel_fd, .events = POLLIN } };
    int error = 0, rc;
    socklen_t len = sizeof(error);

    do {
        rc = poll(p, 2, -1);
    } while (rc < 0 && errno == EINTR);
    if (p[1].revents != 0) return -ECANCELED;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return -error;
}

static int connect_to(const struct addrinfo *a, int cancel_fd, int *fd)
{
    int rc = 0;

    *fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return -errno;
    if (connect(*fd, a->ai_addr, a->ai_addrlen) < 0)
        rc = errno == EINPROGRESS ? wait_connected(*fd, cancel_fd) : -errno;
    if (rc < 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

int migrate_tcp_connect(const char *address, int cancel_fd, int *fd,
                        struct err *e)
{
    struct addrinfo *list = NULL;
    int rc = look_up(address, false, &list, e);

    if (rc < 0) return rc;
    rc = -EHOSTUNREACH;
    for (struct addrinfo *a = list; a != NULL && rc != -ECANCELED;
         a = a->ai_next) {
        rc = connect_to(a, cancel_fd, fd);
        if (rc == 0) break;
    }
    freeaddrinfo(list);
    if (rc == 0) return 0;
    return err_set(e, rc, "tcp:%s: %s", address, strerror(-rc));
}

static int listen_on(const struct addrinfo *a, int *fd)
{
    const int on = 1;
    int rc = 0;

    *fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return -errno;
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(*fd, a->ai_addr, a->ai_addrlen) < 0 || listen(*fd, 1) < 0) {
        rc = -errno;
        close(*fd);
        *fd = -1;
    }
    return rc;
}

int migrate_tcp_listen(const char *address, int *fd, struct err *e)
{
    struct addrinfo *list = NULL;
    int rc = look_up(address, true, &list, e);

    if (rc < 0) return rc;
    rc = listen_on(list, fd);
    freeaddrinfo(list);
    if (rc == 0) return 0;
    return err_set(e, rc, "tcp:%s: %s", address, strerror(-rc));
}

/* ---------------------------------------------------------------- unix */

static int unix_address(const char *path, struct sockaddr_un *a, struct err *e)
{
    *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(a->sun_path))
        return err_set(e, -ENAMETOOLONG, "unix:%s: the path is too long", path);
    strcpy(a->sun_path, path);
    return 0;
}

static int unix_error(const char *path, int code, struct err *e)
{
    return err_set(e, -code, "unix:%s: %s", path, strerror(code));
}

int migrate_unix_connect(const char *path, int *fd, struct err *e)
{
    struct sockaddr_un a;
    int rc = unix_address(path, &a, e);

    if (rc < 0) return rc;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return unix_error(path, errno, e);
    if (connect(*fd, (struct sockaddr *)&a, sizeof(a)) == 0) return 0;
    rc = unix_error(path, errno, e);
    close(*fd);
    *fd = -1;
    return rc;
}

/* Whoever listened there is gone. */
static bool is_stale(const char *path)
{
    struct err ignored = ERR_INIT;
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) return false;
    rc = migrate_unix_connect(path, &fd, &ignored);
    if (rc == 0) close(fd);
    return rc == -ECONNREFUSED;
}

int migrate_unix_listen(const char *path, int *fd, struct err *e)
{
    struct sockaddr_un a;
    int rc = unix_address(path, &a, e);

    if (rc < 0) return rc;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return unix_error(path, errno, e);
    if (is_stale(path)) unlink(path);
    /* The socket takes over the mode of its descriptor: nobody gets in between
     * bind and a chmod. */
    if (fchmod(*fd, 0600) == 0 &&
        bind(*fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(*fd, 1) == 0)
        return 0;
    rc = unix_error(path, errno, e);
    close(*fd);
    *fd = -1;
    return rc;
}
