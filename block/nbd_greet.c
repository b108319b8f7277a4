/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Server's side of the handshake ("Fixed newstyle negotiation").  The client
 * is hostile: an option's data are read only if they fit, longer ones end the
 * connection, and the whole has a deadline.
 */
#include <errno.h>
#include <string.h>

#include "block/nbd_server_int.h"

enum {
    MAX_OPTION_BYTES = 2 * NBD_MAX_STRING + 1024,
    MAX_OPTIONS = 200, /* of one client */
    CONTEXT_ALLOCATION = 1,
    GREET_GO = 1, /* the transmission phase begins */
};

struct greeting {
    struct nbd_client *c;
    uint64_t deadline_ns;
    uint32_t option, bytes;
    bool is_fixed;
    char status_export[NBD_MAX_STRING + 1]; /* that has_status is for */
    uint8_t data[MAX_OPTION_BYTES + 1];     /* of the option */
};

static int reply(struct greeting *g, uint32_t type, const void *data,
                 size_t bytes)
{
    struct iovec iov = { (void *)(uintptr_t)data, bytes };
    uint8_t head[20], *p = head;

    p = nbd_put(p, NBD_MAGIC_OPTION_REP, 8);
    p = nbd_put(p, g->option, 4);
    p = nbd_put(p, type, 4);
    nbd_put(p, bytes, 4);
    return nbd_send(g->c->fd, head, sizeof(head), &iov, bytes > 0,
                    g->deadline_ns);
}

static int refuse(struct greeting *g, uint32_t type, const char *why)
{
    return reply(g, type, why, strlen(why));
}

/* Length and text at *at of the option's data; false: not there. */
static bool take_string(const struct greeting *g, size_t *at, char *out,
                        size_t cap)
{
    uint32_t bytes;

    if (*at + 4 > g->bytes) return false;
    bytes = (uint32_t)nbd_get(g->data + *at, 4);
    *at += 4;
    if (bytes > g->bytes - *at || bytes >= cap) return false;
    memcpy(out, g->data + *at, bytes);
    out[bytes] = '\0';
    *at += bytes;
    return strlen(out) == bytes;
}

static struct nbd_export *find_export(struct nbd_client *c, const char *name)
{
    struct nbd_server *s = c->server;
    struct nbd_export *x;

    pthread_mutex_lock(&s->lock);
    x = nbd_export_find_locked(s, name);
    if (x != NULL) x->refs++;
    pthread_mutex_unlock(&s->lock);
    return x;
}

static void put_export(struct nbd_client *c, struct nbd_export *x)
{
    pthread_mutex_lock(&c->server->lock);
    nbd_export_unref_locked(x);
    pthread_mutex_unlock(&c->server->lock);
}

/* Several connections see one another's writes: all go to the same node.
 * Offered where one alone is let in, a client would wait for the others. */
static unsigned export_flags(const struct nbd_client *c,
                             const struct nbd_export *x)
{
    unsigned flags =
        NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA;

    if (c->server->o.max_clients != 1) flags |= NBD_FLAG_CAN_MULTI_CONN;
    if (c->is_structured) flags |= NBD_FLAG_SEND_DF;
    if (x->is_readonly) return flags | NBD_FLAG_READ_ONLY;
    return flags | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
}

/* ------------------------------------------------------------- options */

static int opt_export_name(struct greeting *g)
{
    struct nbd_client *c = g->c;
    uint8_t answer[10 + 124] = { 0 };
    int rc;

    if (g->bytes > NBD_MAX_STRING || strlen((char *)g->data) != g->bytes)
        return -EPROTO;
    c->x = find_export(c, (char *)g->data);
    if (c->x == NULL) return -ENOENT; /* no error can be told here */
    nbd_put(answer, c->x->size_bytes, 8);
    nbd_put(answer + 8, export_flags(c, c->x), 2);
    rc = nbd_send(c->fd, answer, c->no_zeroes ? 10 : sizeof(answer), NULL, 0,
                  g->deadline_ns);
    return rc < 0 ? rc : GREET_GO;
}

static int opt_list(struct greeting *g)
{
    struct nbd_server *s = g->c->server;
    int rc = 0;

    if (g->bytes != 0) return refuse(g, NBD_REP_ERR_INVALID, "data in LIST");
    for (unsigned nth = 0; rc == 0; nth++) {
        uint8_t data[4 + NBD_MAX_STRING];
        struct nbd_export *x;
        size_t bytes = 0;
        unsigned i = 0;

        /* The lock is not held while the client reads. */
        pthread_mutex_lock(&s->lock);
        for (x = s->exports; x != NULL && i < nth; x = x->next)
            i++;
        if (x != NULL) {
            bytes = strlen(x->name);
            nbd_put(data, bytes, 4);
            memcpy(data + 4, x->name, bytes);
        }
        pthread_mutex_unlock(&s->lock);
        if (x == NULL) break;
        rc = reply(g, NBD_REP_SERVER, data, 4 + bytes);
    }
    return rc < 0 ? rc : reply(g, NBD_REP_ACK, NULL, 0);
}

static int send_text(struct greeting *g, unsigned kind, const char *text)
{
    uint8_t data[2 + NBD_MAX_STRING];

    nbd_put(data, kind, 2);
    memcpy(data + 2, text, strlen(text));
    return reply(g, NBD_REP_INFO, data, 2 + strlen(text));
}

static int send_info(struct greeting *g, const struct nbd_export *x,
                     const uint8_t *wanted, unsigned count)
{
    uint8_t data[14];
    int rc = 0;

    for (unsigned i = 0; i < count && rc == 0; i++) {
        unsigned kind = (unsigned)nbd_get(wanted + 2 * i, 2);

        if (kind == NBD_INFO_NAME)
            rc = send_text(g, kind, x->name);
        else if (kind == NBD_INFO_DESCRIPTION && x->description != NULL)
            rc = send_text(g, kind, x->description);
    }
    if (rc < 0) return rc;
    nbd_put(data, NBD_INFO_BLOCK_SIZE, 2);
    nbd_put(data + 2, 1, 4);
    nbd_put(data + 6, 4096, 4);
    nbd_put(data + 10, NBD_MAX_PAYLOAD, 4);
    rc = reply(g, NBD_REP_INFO, data, 14);
    if (rc < 0) return rc;
    nbd_put(data, NBD_INFO_EXPORT, 2);
    nbd_put(data + 2, x->size_bytes, 8);
    nbd_put(data + 10, export_flags(g->c, x), 2);
    return reply(g, NBD_REP_INFO, data, 12);
}

/* name, count, kinds of information */
static int opt_go(struct greeting *g)
{
    char name[NBD_MAX_STRING + 1];
    struct nbd_export *x;
    unsigned count;
    size_t at = 0;
    int rc;

    if (!take_string(g, &at, name, sizeof(name)) || g->bytes - at < 2)
        return refuse(g, NBD_REP_ERR_INVALID, "bad length");
    count = (unsigned)nbd_get(g->data + at, 2);
    at += 2;
    if (g->bytes - at != 2 * (size_t)count || count > 64)
        return refuse(g, NBD_REP_ERR_INVALID, "bad length");
    x = find_export(g->c, name);
    if (x == NULL) return refuse(g, NBD_REP_ERR_UNKNOWN, "no such export");
    rc = send_info(g, x, g->data + at, count);
    if (rc == 0) rc = reply(g, NBD_REP_ACK, NULL, 0);
    if (rc < 0 || g->option == NBD_OPT_INFO) {
        put_export(g->c, x);
        return rc;
    }
    g->c->x = x;
    if (strcmp(g->status_export, x->name) != 0) g->c->has_status = false;
    return GREET_GO;
}

/* A query names the context, or for LIST its namespace. */
static bool is_allocation(const char *query, bool is_list)
{
    return strcmp(query, NBD_BASE_ALLOCATION) == 0 ||
           (is_list && strcmp(query, "base:") == 0);
}

/* name, count, queries */
static int opt_context(struct greeting *g)
{
    bool is_list = g->option == NBD_OPT_LIST_META_CONTEXT, is_asked;
    char name[NBD_MAX_STRING + 1], query[NBD_MAX_STRING + 1];
    uint8_t data[4 + sizeof(NBD_BASE_ALLOCATION)];
    struct nbd_export *x;
    uint32_t count;
    size_t at = 0;
    bool has_status;
    int rc;

    if (!g->c->is_structured)
        return refuse(g, NBD_REP_ERR_INVALID, "no structured replies");
    if (!is_list) g->c->has_status = false;
    if (!take_string(g, &at, name, sizeof(name)) || g->bytes - at < 4)
        return refuse(g, NBD_REP_ERR_INVALID, "bad length");
    count = (uint32_t)nbd_get(g->data + at, 4);
    at += 4;
    is_asked = is_list && count == 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!take_string(g, &at, query, sizeof(query)))
            return refuse(g, NBD_REP_ERR_INVALID, "bad length");
        is_asked |= is_allocation(query, is_list);
    }
    if (at != g->bytes) return refuse(g, NBD_REP_ERR_INVALID, "bad length");
    x = find_export(g->c, name);
    if (x == NULL) return refuse(g, NBD_REP_ERR_UNKNOWN, "no such export");
    has_status = x->has_status && is_asked;
    put_export(g->c, x);
    if (has_status) {
        size_t bytes = strlen(NBD_BASE_ALLOCATION);

        nbd_put(data, is_list ? 0 : CONTEXT_ALLOCATION, 4);
        memcpy(data + 4, NBD_BASE_ALLOCATION, bytes);
        rc = reply(g, NBD_REP_META_CONTEXT, data, 4 + bytes);
        if (rc < 0) return rc;
    }
    if (!is_list) {
        g->c->has_status = has_status;
        strcpy(g->status_export, name);
    }
    return reply(g, NBD_REP_ACK, NULL, 0);
}

static int opt_structured(struct greeting *g)
{
    if (g->bytes != 0) return refuse(g, NBD_REP_ERR_INVALID, "bad length");
    g->c->is_structured = true;
    return reply(g, NBD_REP_ACK, NULL, 0);
}

static int option(struct greeting *g)
{
    if (!g->is_fixed && g->option != NBD_OPT_EXPORT_NAME) return -EPROTO;
    switch (g->option) {
    case NBD_OPT_EXPORT_NAME: return opt_export_name(g);
    case NBD_OPT_ABORT: reply(g, NBD_REP_ACK, NULL, 0); return -ECONNABORTED;
    case NBD_OPT_LIST: return opt_list(g);
    case NBD_OPT_INFO:
    case NBD_OPT_GO: return opt_go(g);
    case NBD_OPT_STRUCTURED_REPLY: return opt_structured(g);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT: return opt_context(g);
    default: return refuse(g, NBD_REP_ERR_UNSUP, "unknown option");
    }
}

static int read_option(struct greeting *g)
{
    uint8_t head[16];
    int rc = nbd_recv(g->c->fd, head, sizeof(head), g->deadline_ns);

    if (rc < 0) return rc;
    if (nbd_get(head, 8) != NBD_MAGIC_OPTION) return -EPROTO;
    g->option = (uint32_t)nbd_get(head + 8, 4);
    g->bytes = (uint32_t)nbd_get(head + 12, 4);
    if (g->bytes > MAX_OPTION_BYTES) return -EPROTO;
    rc = nbd_recv(g->c->fd, g->data, g->bytes, g->deadline_ns);
    g->data[g->bytes] = '\0';
    return rc;
}

int nbd_greet(struct nbd_client *c)
{
    struct greeting g = { .c = c, .deadline_ns = nbd_deadline(NBD_GREET_MS) };
    uint8_t head[18], answer[4];
    uint32_t flags;
    int rc;

    nbd_put(head, NBD_MAGIC, 8);
    nbd_put(head + 8, NBD_MAGIC_OPTION, 8);
    nbd_put(head + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
    rc = nbd_send(c->fd, head, sizeof(head), NULL, 0, g.deadline_ns);
    if (rc == 0) rc = nbd_recv(c->fd, answer, sizeof(answer), g.deadline_ns);
    if (rc < 0) return rc;
    flags = (uint32_t)nbd_get(answer, 4);
    if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
        return -EPROTO;
    g.is_fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
    c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    for (unsigned i = 0; i < MAX_OPTIONS && rc == 0; i++) {
        rc = read_option(&g);
        if (rc == 0) rc = option(&g);
    }
    if (rc == GREET_GO) return 0;
    return rc < 0 ? rc : -EPROTO;
}
