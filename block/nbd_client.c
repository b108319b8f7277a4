/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protocol "nbd": an export of an NBD server as a node.
 *
 * Node functions come from several threads.  Each puts its request on a list,
 * sends it (one thread at a time) and waits; one of those that wait takes the
 * receiving role, reads one reply into the request with its cookie and hands
 * the role on.  Whoever waits has sent, so a server that stops reading until
 * its replies are read finds a reader.
 *
 * The server is hostile: lengths are checked against what was asked for
 * before anything is read, and the oldest request bounds how long anybody
 * waits.  After the first violation, loss or timeout the connection is dead:
 * all requests give -EIO, and the log has one line.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "block/block_int.h"
#include "block/nbd.h"
#include "core/base/log.h"

/* Ranges without payload in one request (the length has 32 bits). */
enum { MAX_RANGE = 1 << 30 };

struct nbd_request {
    uint64_t cookie, offset;
    unsigned type;
    size_t bytes; /* asked for */
    const struct iovec *iov;
    int iovcnt;
    size_t received;
    int error; /* of chunks; the receiver's */
    struct node_extent *extent;
    uint64_t deadline_ns;
    int rc;
    bool is_done;
    struct nbd_request *next;
};

struct nbd {
    int fd;
    struct nbd_export_info info;
    const char *name;     /* the node's, for messages */
    pthread_mutex_t send; /* one request at a time on the wire */
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t change;
    struct nbd_request *first, **tail; /* in flight, oldest first */
    uint64_t last_cookie;
    bool is_receiving, is_dead;
};

/* ---------------------------------------------------------- the list */

static void die_locked(struct nbd *b, int rc)
{
    const char *why = rc == -EPIPE       ? "the server closed it"
                      : rc == -EPROTO    ? "the server broke the protocol"
                      : rc == -ETIMEDOUT ? "the server does not answer"
                                         : strerror(-rc);

    if (!b->is_dead) {
        b->is_dead = true;
        log_warn("%s: connection lost: %s; all requests fail from now on",
                 b->name, why);
        shutdown(b->fd, SHUT_RDWR);
    }
    for (struct nbd_request *r = b->first; r != NULL; r = r->next) {
        if (r->is_done) continue;
        r->rc = -EIO;
        r->is_done = true;
    }
    pthread_cond_broadcast(&b->change);
}

static void remove_locked(struct nbd *b, struct nbd_request *r)
{
    struct nbd_request **at = &b->first;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    if (*at == NULL) b->tail = at;
}

static struct nbd_request *find_locked(struct nbd *b, uint64_t cookie)
{
    struct nbd_request *r = b->first;

    while (r != NULL && (r->cookie != cookie || r->is_done))
        r = r->next;
    return r;
}

/* --------------------------------------------------------- receiving */

/* What came of a reply: the request it belongs to, and whether it is over. */
struct reply {
    struct nbd_request *r;
    bool is_done;
    int rc;
};

static int recv_data(struct nbd *b, struct nbd_request *r, uint64_t offset,
                     size_t bytes, uint64_t deadline_ns)
{
    struct iovec part[BLOCK_MAX_IOV];
    size_t skip = (size_t)(offset - r->offset);
    int parts = iov_slice(r->iov, r->iovcnt, skip, bytes, part);

    return nbd_recv_iov(b->fd, part, parts, bytes, deadline_ns);
}

/* Part of a read: inside of what was asked for, and not more in sum. */
static bool is_inside(const struct nbd_request *r, uint64_t offset,
                      uint64_t bytes)
{
    return r->type == NBD_CMD_READ && bytes > 0 && offset >= r->offset &&
           bytes <= r->bytes - r->received &&
           offset - r->offset <= r->bytes - bytes;
}

static int data_chunk(struct nbd *b, struct nbd_request *r, uint32_t bytes,
                      uint64_t deadline_ns)
{
    uint8_t head[8];
    uint64_t offset;
    int rc;

    if (bytes <= sizeof(head)) return -EPROTO;
    rc = nbd_recv(b->fd, head, sizeof(head), deadline_ns);
    if (rc < 0) return rc;
    offset = nbd_get(head, 8);
    bytes -= (uint32_t)sizeof(head);
    if (!is_inside(r, offset, bytes)) return -EPROTO;
    r->received += bytes;
    return recv_data(b, r, offset, bytes, deadline_ns);
}

static int hole_chunk(struct nbd *b, struct nbd_request *r, uint32_t bytes,
                      uint64_t deadline_ns)
{
    struct iovec part[BLOCK_MAX_IOV];
    uint8_t data[12];
    uint64_t offset;
    uint32_t hole;
    int rc;

    if (bytes != sizeof(data)) return -EPROTO;
    rc = nbd_recv(b->fd, data, sizeof(data), deadline_ns);
    if (rc < 0) return rc;
    offset = nbd_get(data, 8);
    hole = (uint32_t)nbd_get(data + 8, 4);
    if (!is_inside(r, offset, hole)) return -EPROTO;
    r->received += hole;
    iov_zero(part, iov_slice(r->iov, r->iovcnt, (size_t)(offset - r->offset),
                             hole, part));
    return 0;
}

/* The first extent is what was asked for (REQ_ONE). */
static int status_chunk(struct nbd *b, struct nbd_request *r, uint32_t bytes,
                        uint64_t deadline_ns)
{
    uint8_t data[4 + 8];
    uint32_t length, state;
    int rc;

    if (r->type != NBD_CMD_BLOCK_STATUS || r->received > 0 ||
        bytes != sizeof(data))
        return -EPROTO;
    rc = nbd_recv(b->fd, data, sizeof(data), deadline_ns);
    if (rc < 0) return rc;
    length = (uint32_t)nbd_get(data + 4, 4);
    state = (uint32_t)nbd_get(data + 8, 4);
    if (nbd_get(data, 4) != b->info.context || length == 0) return -EPROTO;
    r->received = r->bytes;
    r->extent->bytes = length < r->bytes ? length : r->bytes;
    r->extent->flags = EXTENT_ALLOCATED | EXTENT_OFFSET |
                       (state & NBD_STATE_ZERO ? EXTENT_ZERO : EXTENT_DATA);
    return 0;
}

/* number, length of a text, the text[, offset] */
static int error_chunk(struct nbd *b, struct nbd_request *r, uint32_t bytes,
                       uint64_t deadline_ns)
{
    uint8_t data[NBD_MAX_STRING + 16];
    int rc;

    if (bytes < 6 || bytes > sizeof(data)) return -EPROTO;
    rc = nbd_recv(b->fd, data, bytes, deadline_ns);
    if (rc < 0) return rc;
    if (r->error == 0) r->error = nbd_error_to_rc((uint32_t)nbd_get(data, 4));
    return 0;
}

/* 0 or what kills the connection. */
static int recv_chunk(struct nbd *b, struct nbd_request *r, unsigned type,
                      uint32_t bytes, uint64_t deadline_ns)
{
    if (type & NBD_REPLY_IS_ERROR) return error_chunk(b, r, bytes, deadline_ns);
    switch (type) {
    case NBD_REPLY_NONE: return bytes == 0 ? 0 : -EPROTO;
    case NBD_REPLY_OFFSET_DATA: return data_chunk(b, r, bytes, deadline_ns);
    case NBD_REPLY_OFFSET_HOLE: return hole_chunk(b, r, bytes, deadline_ns);
    case NBD_REPLY_BLOCK_STATUS: return status_chunk(b, r, bytes, deadline_ns);
    default: return -EPROTO;
    }
}

static struct nbd_request *find(struct nbd *b, uint64_t cookie)
{
    struct nbd_request *r;

    pthread_mutex_lock(&b->lock);
    r = find_locked(b, cookie);
    pthread_mutex_unlock(&b->lock);
    return r;
}

static int recv_simple(struct nbd *b, uint8_t head[], struct reply *out,
                       uint64_t deadline_ns)
{
    struct nbd_request *r = out->r = find(b, nbd_get(head + 8, 8));
    uint32_t error = (uint32_t)nbd_get(head + 4, 4);

    if (r == NULL) return -EPROTO;
    out->is_done = true;
    if (error != 0) {
        out->rc = nbd_error_to_rc(error);
        return 0;
    }
    if (r->type == NBD_CMD_BLOCK_STATUS) return -EPROTO;
    if (r->type != NBD_CMD_READ) return 0;
    if (b->info.is_structured) return -EPROTO;
    return recv_data(b, r, r->offset, r->bytes, deadline_ns);
}

/* One reply, or one chunk of it.  Nobody else receives; a request that is not
 * done stays on the list. */
static int recv_reply(struct nbd *b, struct reply *out, uint64_t deadline_ns)
{
    uint8_t head[NBD_CHUNK_BYTES];
    int rc = nbd_recv(b->fd, head, NBD_SIMPLE_BYTES, deadline_ns);
    uint32_t magic = (uint32_t)nbd_get(head, 4);
    struct nbd_request *r;

    if (rc < 0) return rc;
    if (magic == NBD_MAGIC_SIMPLE)
        return recv_simple(b, head, out, deadline_ns);
    if (magic != NBD_MAGIC_CHUNK || !b->info.is_structured) return -EPROTO;
    rc = nbd_recv(b->fd, head + NBD_SIMPLE_BYTES,
                  NBD_CHUNK_BYTES - NBD_SIMPLE_BYTES, deadline_ns);
    if (rc < 0) return rc;
    r = out->r = find(b, nbd_get(head + 8, 8));
    if (r == NULL) return -EPROTO;
    rc = recv_chunk(b, r, (unsigned)nbd_get(head + 6, 2),
                    (uint32_t)nbd_get(head + 16, 4), deadline_ns);
    if (rc < 0) return rc;
    out->is_done = nbd_get(head + 4, 2) & NBD_REPLY_FLAG_DONE;
    out->rc = r->error;
    if (out->is_done && out->rc == 0 && r->received < r->bytes &&
        (r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS))
        return -EPROTO;
    return 0;
}

/* Take the role for one reply.  Lock held, released meanwhile. */
static void receive_locked(struct nbd *b)
{
    uint64_t deadline_ns = b->first->deadline_ns;
    struct reply reply = { .r = NULL };
    int rc;

    b->is_receiving = true;
    pthread_mutex_unlock(&b->lock);
    rc = recv_reply(b, &reply, deadline_ns);
    pthread_mutex_lock(&b->lock);
    b->is_receiving = false;
    if (rc < 0) {
        die_locked(b, rc);
        return;
    }
    if (!reply.is_done) return;
    reply.r->rc = reply.rc;
    reply.r->is_done = true;
    pthread_cond_broadcast(&b->change);
}

/* ----------------------------------------------------------- requests */

static int send_request(struct nbd *b, const struct nbd_request *r,
                        unsigned flags)
{
    uint8_t head[NBD_REQUEST_BYTES], *p = head;
    bool is_write = r->type == NBD_CMD_WRITE;
    int rc;

    p = nbd_put(p, NBD_MAGIC_REQUEST, 4);
    p = nbd_put(p, flags, 2);
    p = nbd_put(p, r->type, 2);
    p = nbd_put(p, r->cookie, 8);
    p = nbd_put(p, r->offset, 8);
    nbd_put(p, r->bytes, 4);
    pthread_mutex_lock(&b->send);
    rc = nbd_send(b->fd, head, sizeof(head), is_write ? r->iov : NULL,
                  is_write ? r->iovcnt : 0, r->deadline_ns);
    pthread_mutex_unlock(&b->send);
    return rc;
}

static int call(struct nbd *b, struct nbd_request *r, unsigned flags)
{
    int rc;

    pthread_mutex_lock(&b->lock);
    if (b->is_dead) {
        pthread_mutex_unlock(&b->lock);
        return -EIO;
    }
    r->cookie = ++b->last_cookie;
    r->deadline_ns = nbd_deadline(NBD_REQUEST_MS);
    *b->tail = r;
    b->tail = &r->next;
    pthread_mutex_unlock(&b->lock);
    rc = send_request(b, r, flags);
    pthread_mutex_lock(&b->lock);
    if (rc < 0) die_locked(b, rc);
    /* A receiver may still be writing into our buffers. */
    while (!r->is_done || (b->is_dead && b->is_receiving)) {
        if (b->is_receiving)
            pthread_cond_wait(&b->change, &b->lock);
        else
            receive_locked(b);
    }
    remove_locked(b, r);
    pthread_cond_broadcast(&b->change);
    pthread_mutex_unlock(&b->lock);
    return r->rc;
}

static int transfer(struct node *n, unsigned type, uint64_t offset,
                    const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct nbd *b = n->s;
    struct iovec part[BLOCK_MAX_IOV];

    for (size_t done = 0; done < bytes;) {
        size_t here =
            bytes - done < b->info.max_bytes ? bytes - done : b->info.max_bytes;
        struct nbd_request r = {
            .type = type, .offset = offset + done, .bytes = here, .iov = part
        };
        int rc;

        r.iovcnt = iov_slice(iov, iovcnt, done, here, part);
        rc = call(b, &r, 0);
        if (rc < 0) return rc;
        done += here;
    }
    return 0;
}

static int nbd_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                     int iovcnt, size_t bytes)
{
    return transfer(n, NBD_CMD_READ, offset, iov, iovcnt, bytes);
}

static int nbd_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes, unsigned flags)
{
    (void)flags;
    return transfer(n, NBD_CMD_WRITE, offset, iov, iovcnt, bytes);
}

static int range(struct node *n, unsigned type, uint64_t offset, uint64_t bytes,
                 unsigned flags)
{
    while (bytes > 0) {
        size_t here = bytes < MAX_RANGE ? (size_t)bytes : MAX_RANGE;
        struct nbd_request r = { .type = type,
                                 .offset = offset,
                                 .bytes = here };
        int rc = call(n->s, &r, flags);

        if (rc < 0) return rc;
        offset += here;
        bytes -= here;
    }
    return 0;
}

static int nbd_zero(struct node *n, uint64_t offset, uint64_t bytes,
                    unsigned flags)
{
    const struct nbd *b = n->s;

    if (!(b->info.flags & NBD_FLAG_SEND_WRITE_ZEROES)) return -ENOTSUP;
    return range(n, NBD_CMD_WRITE_ZEROES, offset, bytes,
                 flags & NODE_REQ_UNMAP ? 0 : NBD_CMD_FLAG_NO_HOLE);
}

/* Advice: a server that cannot keeps the data. */
static int nbd_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    const struct nbd *b = n->s;
    int rc = 0;

    if (b->info.flags & NBD_FLAG_SEND_TRIM)
        rc = range(n, NBD_CMD_TRIM, offset, bytes, 0);
    return rc == -ENOTSUP ? 0 : rc;
}

static int nbd_flush(struct node *n)
{
    struct nbd *b = n->s;
    struct nbd_request r = { .type = NBD_CMD_FLUSH };
    bool is_dead;

    pthread_mutex_lock(&b->lock);
    is_dead = b->is_dead;
    pthread_mutex_unlock(&b->lock);
    if (is_dead) return -EIO;
    if (n->is_readonly || !(b->info.flags & NBD_FLAG_SEND_FLUSH)) return 0;
    return call(b, &r, 0);
}

static int nbd_status(struct node *n, uint64_t offset, uint64_t bytes,
                      struct node_extent *out)
{
    struct nbd *b = n->s;
    struct nbd_request r = { .type = NBD_CMD_BLOCK_STATUS,
                             .offset = offset,
                             .extent = out };

    *out = (struct node_extent){ bytes,
                                 EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET,
                                 offset };
    if (!b->info.has_status) return 0;
    r.bytes = bytes < MAX_RANGE ? (size_t)bytes : MAX_RANGE;
    return call(b, &r, NBD_CMD_FLAG_REQ_ONE);
}

/* ------------------------------------------------------- open and close */

static int take_export(struct node *n, const struct nbd *b,
                       const struct node_options *o, struct err *e)
{
    bool is_readonly = b->info.flags & NBD_FLAG_READ_ONLY;

    n->size_bytes = b->info.size_bytes;
    n->is_readonly = o->is_readonly;
    if (!is_readonly || o->is_readonly) return 0;
    n->is_readonly = true;
    if (o->is_auto_readonly) return 0;
    return err_set(e, -EACCES, "%s: the server exports it read-only", n->name);
}

static int nbd_open(struct node *n, const struct node_options *o, struct err *e)
{
    uint64_t deadline_ns = nbd_deadline(NBD_HANDSHAKE_MS);
    struct nbd_address *a = malloc(sizeof(*a));
    struct nbd *b = calloc(1, sizeof(*b));
    int rc = a == NULL || b == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;

    if (rc == 0) rc = nbd_parse_name(n->name, a, e);
    if (rc < 0) goto free_all;
    b->name = n->name;
    b->tail = &b->first;
    b->fd = nbd_connect(a, deadline_ns, e);
    rc = b->fd < 0 ? b->fd
                   : nbd_negotiate(b->fd, a->export, deadline_ns, &b->info, e);
    if (rc < 0) err_prefix(e, "%s", n->name);
    if (rc == 0) rc = take_export(n, b, o, e);
    if (rc < 0) goto close_fd;
    pthread_mutex_init(&b->send, NULL);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->change, NULL);
    n->s = b;
    free(a);
    return 0;
close_fd:
    if (b->fd >= 0) close(b->fd);
free_all:
    free(b);
    free(a);
    return rc;
}

static void nbd_close(struct node *n)
{
    struct nbd *b = n->s;
    uint8_t head[NBD_REQUEST_BYTES] = { 0 };

    nbd_put(head, NBD_MAGIC_REQUEST, 4);
    nbd_put(head + 6, NBD_CMD_DISC, 2);
    if (!b->is_dead)
        nbd_send(b->fd, head, sizeof(head), NULL, 0, nbd_deadline(1000));
    close(b->fd);
    pthread_cond_destroy(&b->change);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->send);
    free(b);
}

const struct block_driver block_nbd = {
    .name = "nbd",
    .title = "an export of a network block device server",
    .is_protocol = true,
    .open = nbd_open,
    .close = nbd_close,
    .readv = nbd_readv,
    .writev = nbd_writev,
    .zero = nbd_zero,
    .discard = nbd_discard,
    .flush = nbd_flush,
    .status = nbd_status,
};
