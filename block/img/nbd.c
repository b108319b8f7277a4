/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img nbd: export an image until told to stop, with qemu-nbd's options. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block/img/img.h"
#include "block/nbd.h"
#include "block/nbd_export.h"

enum { MAX_CLIENTS = 100 };

static int clients_of(const struct img *m, unsigned *out)
{
    const char *text = img_get(m, 'e');
    char *end;
    unsigned long n;

    *out = 1;
    if (text == NULL) return 0;
    n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n > MAX_CLIENTS) {
        img_error("Invalid number of clients '%s' (at most %d)", text,
                  MAX_CLIENTS);
        return -1;
    }
    *out = n == 0 ? MAX_CLIENTS : (unsigned)n;
    return 0;
}

/* Without -b nobody but this host reaches the port. */
static int address_of(const struct img *m, char *out, size_t cap)
{
    const char *path = img_get(m, 'k'), *port = img_get(m, 'p'),
               *host = img_get(m, 'b');
    int n;

    if (path != NULL && (port != NULL || host != NULL)) {
        img_error("-k goes with neither -p nor -b");
        return -1;
    }
    if (port == NULL) port = NBD_DEFAULT_PORT;
    if (host == NULL) host = "127.0.0.1";
    if (path != NULL)
        n = snprintf(out, cap, "unix:%s", path);
    else
        n = snprintf(out, cap, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
                     port);
    if (n >= 0 && (size_t)n < cap) return 0;
    img_error("Name of the socket too long");
    return -1;
}

static void on_idle(void *arg)
{
    uint64_t one = 1;
    ssize_t n = write(*(int *)arg, &one, sizeof(one));

    (void)n;
}

/* Until a signal, or until the last client has gone (not with -t). */
static void wait_for_end(const struct img *m, int idle_fd, const sigset_t *set)
{
    int signal_fd = signalfd(-1, set, SFD_CLOEXEC);
    struct pollfd p[2] = { { .fd = signal_fd, .events = POLLIN },
                           { .fd = img_has(m, 't') ? -1 : idle_fd,
                             .events = POLLIN } };

    struct signalfd_siginfo taken;

    while (poll(p, 2, -1) < 0 && errno == EINTR)
        continue;
    /* Whoever asked for the end gets it: the signal does not kill later. */
    if (p[0].revents & POLLIN &&
        read(signal_fd, &taken, sizeof(taken)) != sizeof(taken))
        img_error("signalfd: %s", strerror(errno));
    if (signal_fd >= 0) close(signal_fd);
}

static int serve(struct img *m, struct node *n, const char *address,
                 unsigned clients)
{
    const char *name = img_get(m, 'x');
    struct nbd_export_options x = { .name = name != NULL ? name : "",
                                    .description = img_get(m, 'D'),
                                    .node = n,
                                    .is_writable = !n->is_readonly };
    int idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct nbd_server_options o = { .address = address,
                                    .max_clients = clients,
                                    .idle = on_idle,
                                    .arg = &idle_fd };
    struct nbd_server *s;
    struct err e = ERR_INIT;
    sigset_t set, old;
    int rc;

    if (idle_fd < 0) {
        img_error("eventfd: %s", strerror(errno));
        return 1;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    rc = nbd_server_start(&o, &s, &e);
    if (rc == 0) {
        rc = nbd_server_add(s, &x, &e);
        if (rc == 0) {
            if (img_has(m, 'v')) {
                printf("listening on %s\n", nbd_server_address(s));
                fflush(stdout);
            }
            wait_for_end(m, idle_fd, &set);
        }
        nbd_server_stop(s, true);
    }
    if (rc < 0) img_error("%s", e.text);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(idle_fd);
    return rc < 0;
}

int img_nbd(struct img *m)
{
    const char *cache = img_get(m, IMG_CACHE);
    char address[512];
    unsigned clients;
    struct node *n;
    int rc;

    if (m->operand_count != 1)
        return img_usage_error("Expecting one image file name");
    if (clients_of(m, &clients) < 0 ||
        address_of(m, address, sizeof(address)) < 0 ||
        img_check_cache(cache, 0) < 0)
        return 1;
    rc = img_open(m, m->operands[0], img_get(m, 'f'), cache,
                  img_flags(m) | (img_has(m, 'r') ? 0 : IMG_WRITE), &n);
    if (rc < 0) return 1;
    if (img_has(m, 'l') && img_show_snapshot(n, img_get(m, 'l')) < 0)
        rc = 1;
    else
        rc = serve(m, n, address, clients);
    if (rc == 0 && !n->is_readonly && node_flush(n) < 0) {
        img_error("%s: could not be flushed", n->name);
        rc = 1;
    }
    node_unref(n);
    return rc;
}
