/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: listening, exports, clients and their threads.
 *
 * All threads but the accepter are detached; each has a reference to the
 * server, and the last reference frees it.  Stopping closes the sockets, so
 * every thread ends as soon as the request it serves has ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "block/nbd_server_int.h"
#include "core/base/log.h"

/* ------------------------------------------------------------- lifetime */

static void export_free(struct nbd_export *x)
{
    node_unref(x->node);
    pthread_mutex_destroy(&x->lock);
    free(x->description);
    free(x->name);
    free(x);
}

void nbd_export_unref_locked(struct nbd_export *x)
{
    if (--x->refs == 0) export_free(x);
}

static void server_free(struct nbd_server *s)
{
    close(s->wake_fd);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Lock held; it is gone afterwards. */
static void server_unref_unlock(struct nbd_server *s)
{
    bool is_last = --s->refs == 0;

    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    if (is_last) server_free(s);
}

static void wake(struct nbd_server *s)
{
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof(one));

    (void)n; /* a full counter wakes as well */
}

/* Signals are for other threads. */
static int start_thread(void *(*fn)(void *), void *arg, pthread_t *out)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(out, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}

/* -------------------------------------------------------------- clients */

static void client_free(struct nbd_client *c)
{
    close(c->fd);
    pthread_mutex_destroy(&c->send);
    pthread_mutex_destroy(&c->recv);
    free(c);
}

/* The last thread of c is about to end.  Lock held. */
static void client_gone_locked(struct nbd_server *s, struct nbd_client *c)
{
    struct nbd_client **at = &s->clients;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->client_count--;
    if (c->x != NULL) nbd_export_unref_locked(c->x);
    client_free(c);
    wake(s); /* there is room for another one */
}

/* One thread of c ends. */
static void thread_end(struct nbd_client *c)
{
    struct nbd_server *s = c->server;
    bool is_idle = false;

    pthread_mutex_lock(&s->lock);
    if (--c->threads == 0) {
        client_gone_locked(s, c);
        is_idle = s->client_count == 0 && !s->is_stopping;
    }
    if (is_idle && s->o.idle != NULL) {
        pthread_mutex_unlock(&s->lock);
        s->o.idle(s->o.arg);
        pthread_mutex_lock(&s->lock);
    }
    server_unref_unlock(s);
}

static void *more_thread(void *arg)
{
    struct nbd_client *c = arg;

    nbd_serve(c);
    thread_end(c);
    return NULL;
}

static void *client_thread(void *arg)
{
    struct nbd_client *c = arg;

    if (nbd_greet(c) == 0) nbd_serve(c);
    thread_end(c);
    return NULL;
}

/* Lock held. */
static int add_thread_locked(struct nbd_client *c, void *(*fn)(void *))
{
    pthread_t t;

    c->threads++;
    c->idle_threads++;
    c->server->refs++;
    if (start_thread(fn, c, &t) == 0) {
        pthread_detach(t);
        return 0;
    }
    c->threads--;
    c->idle_threads--;
    c->server->refs--;
    return -EAGAIN;
}

void nbd_client_want_thread(struct nbd_client *c)
{
    pthread_mutex_lock(&c->server->lock);
    c->idle_threads--;
    if (c->idle_threads == 0 && c->threads < NBD_CLIENT_THREADS)
        add_thread_locked(c, more_thread);
    pthread_mutex_unlock(&c->server->lock);
}

void nbd_client_served(struct nbd_client *c)
{
    pthread_mutex_lock(&c->server->lock);
    c->idle_threads++;
    pthread_mutex_unlock(&c->server->lock);
}

/* ------------------------------------------------------------ accepting */

/* Takes fd over. */
static void add_client_locked(struct nbd_server *s, int fd)
{
    struct nbd_client *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = s;
    c->fd = fd;
    pthread_mutex_init(&c->recv, NULL);
    pthread_mutex_init(&c->send, NULL);
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    if (add_thread_locked(c, client_thread) < 0) client_gone_locked(s, c);
}

static void *accepter(void *arg)
{
    struct nbd_server *s = arg;
    unsigned max = s->o.max_clients;
    bool is_full = false; /* the host has no descriptor for another one */

    if (max == 0 || max > NBD_SERVER_CLIENTS) max = NBD_SERVER_CLIENTS;
    pthread_mutex_lock(&s->lock);
    while (!s->is_stopping) {
        struct pollfd p[2] = { { .fd = s->wake_fd, .events = POLLIN },
                               { .fd = s->listen_fd, .events = POLLIN } };
        uint64_t count;
        int fd, n = s->client_count < max && !is_full ? 2 : 1;

        pthread_mutex_unlock(&s->lock);
        poll(p, (nfds_t)n, is_full ? 200 : -1);
        is_full = false;
        if (p[0].revents & POLLIN && read(s->wake_fd, &count, 8) < 0)
            log_warn("eventfd: %s", strerror(errno));
        fd = n < 2 ? -1
                   : accept4(s->listen_fd, NULL, NULL,
                             SOCK_CLOEXEC | SOCK_NONBLOCK);
        pthread_mutex_lock(&s->lock);
        if (fd < 0) {
            is_full = n == 2 && (errno == EMFILE || errno == ENFILE);
            continue;
        }
        if (s->is_stopping)
            close(fd);
        else
            add_client_locked(s, fd);
    }
    server_unref_unlock(s);
    return NULL;
}

int nbd_server_start(const struct nbd_server_options *o,
                     struct nbd_server **out, struct err *e)
{
    struct nbd_server *s = calloc(1, sizeof(*s));
    int rc;

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    s->o = *o;
    s->o.address = NULL;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = s->wake_fd < 0 ? err_set(e, -errno, "eventfd: %s", strerror(errno))
                        : nbd_parse_listen(o->address, &s->address, e);
    if (rc == 0) rc = s->listen_fd = nbd_listen(&s->address, e);
    if (rc < 0) goto close_wake;
    if (s->address.is_unix)
        snprintf(s->text, sizeof(s->text), "unix:%s", s->address.path);
    else
        snprintf(s->text, sizeof(s->text), "%s:%s", s->address.host,
                 s->address.port);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    s->refs = 2;
    rc = start_thread(accepter, s, &s->accepter);
    if (rc < 0) {
        err_set(e, rc, "no thread: %s", strerror(-rc));
        goto close_listen;
    }
    *out = s;
    return 0;
close_listen:
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    if (s->address.is_unix) unlink(s->address.path);
    close(s->listen_fd);
close_wake:
    if (s->wake_fd >= 0) close(s->wake_fd);
    free(s);
    return rc;
}

const char *nbd_server_address(const struct nbd_server *s)
{
    return s->text;
}

/* Every socket of clients of x, or of all (x NULL). */
static void hang_up_locked(struct nbd_server *s, const struct nbd_export *x)
{
    for (struct nbd_client *c = s->clients; c != NULL; c = c->next) {
        if (x == NULL || c->x == x) shutdown(c->fd, SHUT_RDWR);
    }
}

static void detach(struct nbd_export *x)
{
    atomic_store(&x->is_removed, true);
    pthread_mutex_lock(&x->lock);
    x->blk = NULL;
    pthread_mutex_unlock(&x->lock);
}

void nbd_server_stop(struct nbd_server *s, bool may_wait)
{
    struct nbd_export *x;

    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->accepter, NULL);
    close(s->listen_fd);
    if (s->address.is_unix) unlink(s->address.path);
    pthread_mutex_lock(&s->lock);
    hang_up_locked(s, NULL);
    while (may_wait && s->refs > 1)
        pthread_cond_wait(&s->change, &s->lock);
    while ((x = s->exports) != NULL) {
        s->exports = x->next;
        detach(x);
        nbd_export_unref_locked(x);
    }
    server_unref_unlock(s);
}

/* -------------------------------------------------------------- exports */

struct nbd_export *nbd_export_find_locked(struct nbd_server *s,
                                          const char *name)
{
    struct nbd_export *x = s->exports;

    while (x != NULL && strcmp(x->name, name) != 0)
        x = x->next;
    return x;
}

static struct nbd_export *export_new(const struct nbd_export_options *o)
{
    struct nbd_export *x = calloc(1, sizeof(*x));

    if (x == NULL) return NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->name = strdup(o->name);
    x->refs = 1;
    x->blk = o->blk;
    if (o->node != NULL) x->node = node_ref(o->node);
    if (o->description != NULL) x->description = strdup(o->description);
    if (x->name == NULL || (o->description != NULL && x->description == NULL)) {
        export_free(x);
        return NULL;
    }
    x->has_status = o->node != NULL;
    x->size_bytes =
        o->node != NULL ? o->node->size_bytes : blk_size_bytes(o->blk);
    x->is_readonly = !o->is_writable;
    return x;
}

int nbd_server_add(struct nbd_server *s, const struct nbd_export_options *o,
                   struct err *e)
{
    bool is_readonly =
        o->node != NULL ? o->node->is_readonly : blk_is_readonly(o->blk);
    struct nbd_export *x, **at;
    int rc = 0;

    if (strlen(o->name) > NBD_MAX_STRING ||
        (o->description != NULL && strlen(o->description) > NBD_MAX_STRING))
        return err_set(e, -EINVAL, "name or description of export too long");
    if (o->is_writable && is_readonly)
        return err_set(e, -EACCES, "export '%s': the image is read-only",
                       o->name);
    x = export_new(o);
    if (x == NULL) return err_set(e, -ENOMEM, "out of memory");
    pthread_mutex_lock(&s->lock);
    if (nbd_export_find_locked(s, o->name) != NULL) {
        rc = -EEXIST;
        export_free(x);
    } else {
        for (at = &s->exports; *at != NULL; at = &(*at)->next)
            continue;
        *at = x;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc < 0)
        err_set(e, rc, "NBD server already has export named '%s'", o->name);
    return rc;
}

static void remove_locked(struct nbd_server *s, struct nbd_export **at)
{
    struct nbd_export *x = *at;

    *at = x->next;
    detach(x);
    hang_up_locked(s, x);
    nbd_export_unref_locked(x);
}

int nbd_server_remove(struct nbd_server *s, const char *name, struct err *e)
{
    struct nbd_export **at;
    bool is_found;

    pthread_mutex_lock(&s->lock);
    for (at = &s->exports; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) break;
    }
    is_found = *at != NULL;
    if (is_found) remove_locked(s, at);
    pthread_mutex_unlock(&s->lock);
    return is_found ? 0 : err_set(e, -ENOENT, "Export '%s' is not found", name);
}

bool nbd_server_has(struct nbd_server *s, const struct blk *b)
{
    bool has = false;

    pthread_mutex_lock(&s->lock);
    for (struct nbd_export *x = s->exports; x != NULL; x = x->next)
        has |= x->blk == b;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void nbd_server_forget(struct nbd_server *s, const struct blk *b)
{
    struct nbd_export **at = &s->exports;

    pthread_mutex_lock(&s->lock);
    while (*at != NULL) {
        if ((*at)->blk == b)
            remove_locked(s, at);
        else
            at = &(*at)->next;
    }
    pthread_mutex_unlock(&s->lock);
}
