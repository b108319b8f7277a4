/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text after -vnc, and the sockets it asks for. */
#include "config.h"

#ifdef HAVE_VNC

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ui/display/vnc_int.h"

enum { MAX_DISPLAY = 65535 - VNC_BASE_PORT, BACKLOG = 8 };

static int parse_number(const char *s, unsigned max, unsigned *out)
{
    char *end;
    unsigned long n;

    if (s[0] < '0' || s[0] > '9') return -EINVAL;
    errno = 0;
    n = strtoul(s, &end, 10);
    if (errno != 0 || *end != '\0' || n > max) return -EINVAL;
    *out = (unsigned)n;
    return 0;
}

static int parse_host_display(char *s, struct vnc_address *a, struct err *e)
{
    char *colon = strrchr(s, ':');
    size_t n;
    unsigned display;

    if (colon == NULL || parse_number(colon + 1, MAX_DISPLAY, &display) < 0)
        return err_set(e, -EINVAL,
                       "-vnc '%s' is not [host]:display with a display of "
                       "0..%d, unix:path or none",
                       s, MAX_DISPLAY);
    a->port = a->last_port = VNC_BASE_PORT + display;
    *colon = '\0';
    n = strlen(s);
    if (n >= 2 && s[0] == '[' && s[n - 1] == ']') {
        s[n - 1] = '\0';
        s++;
    }
    if (strlen(s) >= sizeof(a->host))
        return err_set(e, -EINVAL, "-vnc host name is too long");
    strcpy(a->host, s);
    return 0;
}

static int parse_option(const char *o, struct vnc_address *a, struct err *e)
{
    unsigned display;

    if (strcmp(o, "password") == 0 || strcmp(o, "password=on") == 0) {
        a->needs_password = true;
    } else if (strcmp(o, "password=off") == 0) {
        a->needs_password = false;
    } else if (strncmp(o, "to=", 3) == 0) {
        if (parse_number(o + 3, MAX_DISPLAY, &display) < 0)
            return err_set(e, -EINVAL, "-vnc to=%s is not 0..%d", o + 3,
                           MAX_DISPLAY);
        a->last_port = VNC_BASE_PORT + display;
    } else if (strncmp(o, "share=", 6) != 0 || /* viewers always share */
               strcmp(o + 6, "exclusive") == 0) {
        return err_set(e, -EINVAL,
                       "-vnc option '%s' is not known (password=on|off, "
                       "to=display)",
                       o);
    }
    return 0;
}

int vnc_address_parse(const char *text, struct vnc_address *a, struct err *e)
{
    char copy[512], *rest = copy, *first;
    int rc = 0;

    *a = (struct vnc_address){ 0 };
    if (strlen(text) >= sizeof(copy))
        return err_set(e, -EINVAL, "-vnc text is too long");
    strcpy(copy, text);
    first = strsep(&rest, ",");
    if (strcmp(first, "none") == 0) {
        a->is_none = true;
    } else if (strncmp(first, "unix:", 5) == 0) {
        a->is_unix = true;
        if (first[5] == '\0' || strlen(first + 5) >= sizeof(a->path))
            return err_set(e, -EINVAL, "-vnc unix: path has 1..%zu octets",
                           sizeof(a->path) - 1);
        strcpy(a->path, first + 5);
    } else {
        rc = parse_host_display(first, a, e);
    }
    while (rc == 0 && rest != NULL)
        rc = parse_option(strsep(&rest, ","), a, e);
    if (rc == 0 && a->last_port < a->port)
        rc = err_set(e, -EINVAL, "-vnc to= is below the display");
    return rc;
}

/* ------------------------------------------------------------------ sockets */

static void add_listener(struct vnc_display *v, int fd, const char *text,
                         const char *family)
{
    struct vnc_listener *l = &v->listener[v->listener_count++];

    l->v = v;
    l->fd = fd;
    l->family = family;
    snprintf(l->text, sizeof(l->text), "%s", text);
}

static int listen_on(struct vnc_display *v, const struct addrinfo *ai)
{
    char host[NI_MAXHOST], port[NI_MAXSERV], text[128];
    int one = 1, rc;
    int fd =
        socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    if (getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        host[0] = port[0] = '\0';
    snprintf(text, sizeof(text), "%.60s:%.8s", host, port);
    add_listener(v, fd, text, ai->ai_family == AF_INET6 ? "ipv6" : "ipv4");
    return 0;
}

static bool is_family_missing(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL ||
           rc == -EPROTONOSUPPORT;
}

/* All addresses of host (NULL: loopback) at one port. */
static int listen_at(struct vnc_display *v, const char *host, unsigned port,
                     struct err *e)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    char service[8];
    int rc, last = -EADDRNOTAVAIL;

    snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &list); /* NULL host: loopback */
    if (rc != 0)
        return err_set(e, -EINVAL, "-vnc host '%s': %s",
                       host != NULL ? host : "loopback", gai_strerror(rc));
    for (struct addrinfo *ai = list;
         ai != NULL && v->listener_count < VNC_MAX_LISTENERS;
         ai = ai->ai_next) {
        rc = listen_on(v, ai);
        if (rc == 0 || is_family_missing(rc)) continue;
        last = rc;
        vnc_unlisten(v);
        break;
    }
    freeaddrinfo(list);
    if (v->listener_count == 2 && strcmp(v->listener[1].family, "ipv4") ==
                                      0) { /* people expect it first */
        struct vnc_listener first = v->listener[0];
        v->listener[0] = v->listener[1];
        v->listener[1] = first;
    }
    if (v->listener_count > 0) return 0;
    return err_set(e, last, "-vnc cannot listen on %s port %u (display %u): %s",
                   host != NULL ? host : "127.0.0.1", port,
                   port - VNC_BASE_PORT, strerror(-last));
}

/* A socket nobody listens on any more is left over and may go. */
static int remove_stale_socket(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode)) return -EEXIST;
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EAGAIN
             ? -EADDRINUSE
             : 0;
    close(fd);
    if (rc == 0 && unlink(path) < 0) rc = -errno;
    return rc;
}

static int listen_unix(struct vnc_display *v, const char *path, struct err *e)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int rc = remove_stale_socket(path), fd;

    if (rc < 0) return err_set(e, rc, "-vnc unix:%s: %s", path, strerror(-rc));
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* the mode is taken over by bind(): never open to others */
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        rc = -errno;
        if (fd >= 0) close(fd);
        return err_set(e, rc, "-vnc unix:%s: %s", path, strerror(-rc));
    }
    add_listener(v, fd, path, "unix");
    return 0;
}

int vnc_listen(struct vnc_display *v, struct err *e)
{
    struct vnc_address *a = &v->address;
    const char *host = a->host[0] != '\0' ? a->host : NULL;
    int rc;

    if (a->is_none) return 0;
    if (a->is_unix) return listen_unix(v, a->path, e);
    for (;; a->port++) {
        rc = listen_at(v, host, a->port, e);
        if (rc != -EADDRINUSE || a->port >= a->last_port) return rc;
    }
}

void vnc_unlisten(struct vnc_display *v)
{
    for (unsigned i = 0; i < v->listener_count; i++)
        close(v->listener[i].fd);
    if (v->address.is_unix && v->listener_count > 0) unlink(v->address.path);
    v->listener_count = 0;
}

#endif
