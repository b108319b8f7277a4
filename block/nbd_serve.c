/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Server's side of the transmission phase.  The threads of a client take
 * turns: one reads a request, hands the reading to another, serves the
 * request and sends the reply.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "block/nbd_server_int.h"

enum {
    MAX_EXTENTS = 512,      /* in a reply to BLOCK_STATUS */
    KEPT_BYTES = 256 << 10, /* a buffer up to this is kept for the next */
    CONTEXT_ALLOCATION = 1,
};

struct request {
    unsigned flags, type;
    uint64_t cookie, offset;
    uint32_t bytes;
    uint8_t *data;
    uint32_t data_bytes; /* allocated */
};

/* ------------------------------------------------------------- replies */

static int send_locked(struct nbd_client *c, const uint8_t *head, size_t bytes,
                       const void *data, size_t data_bytes)
{
    struct iovec iov = { (void *)(uintptr_t)data, data_bytes };
    int rc;

    pthread_mutex_lock(&c->send);
    rc = nbd_send(c->fd, head, bytes, &iov, data_bytes > 0, 0);
    pthread_mutex_unlock(&c->send);
    return rc;
}

static int send_simple(struct nbd_client *c, const struct request *r,
                       uint32_t error, const void *data, size_t bytes)
{
    uint8_t head[NBD_SIMPLE_BYTES], *p = head;

    p = nbd_put(p, NBD_MAGIC_SIMPLE, 4);
    p = nbd_put(p, error, 4);
    nbd_put(p, r->cookie, 8);
    return send_locked(c, head, sizeof(head), data, bytes);
}

/* The only chunk of a reply: some numbers in front, then data. */
static int send_chunk(struct nbd_client *c, const struct request *r,
                      unsigned type, const uint8_t *front, size_t front_bytes,
                      const void *data, size_t bytes)
{
    uint8_t head[NBD_CHUNK_BYTES + 16], *p = head;

    p = nbd_put(p, NBD_MAGIC_CHUNK, 4);
    p = nbd_put(p, NBD_REPLY_FLAG_DONE, 2);
    p = nbd_put(p, type, 2);
    p = nbd_put(p, r->cookie, 8);
    p = nbd_put(p, front_bytes + bytes, 4);
    if (front_bytes > 0) memcpy(p, front, front_bytes);
    return send_locked(c, head, NBD_CHUNK_BYTES + front_bytes, data, bytes);
}

static int send_error(struct nbd_client *c, const struct request *r, int code)
{
    uint8_t front[6] = { 0 };
    uint32_t error = nbd_error_from_rc(code);

    if (!c->is_structured) return send_simple(c, r, error, NULL, 0);
    nbd_put(front, error, 4);
    return send_chunk(c, r, NBD_REPLY_ERROR, front, sizeof(front), NULL, 0);
}

static int send_data(struct nbd_client *c, const struct request *r)
{
    uint8_t front[12];

    if (!c->is_structured) return send_simple(c, r, 0, r->data, r->bytes);
    if (r->bytes == 0)
        return send_chunk(c, r, NBD_REPLY_NONE, NULL, 0, NULL, 0);
    nbd_put(front, r->offset, 8);
    nbd_put(front + 8, r->bytes, 4);
    if (!(r->flags & NBD_CMD_FLAG_DF) && buf_is_zero(r->data, r->bytes))
        return send_chunk(c, r, NBD_REPLY_OFFSET_HOLE, front, 12, NULL, 0);
    return send_chunk(c, r, NBD_REPLY_OFFSET_DATA, front, 8, r->data, r->bytes);
}

/* ------------------------------------------------------------- serving */

/* 0, or what the client is told. */
static int check(const struct nbd_client *c, const struct request *r)
{
    static const unsigned flags[] = {
        [NBD_CMD_READ] = NBD_CMD_FLAG_DF | NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_FLUSH] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE,
        [NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_REQ_ONE | NBD_CMD_FLAG_FUA,
    };
    uint64_t size_bytes = c->x->size_bytes;
    bool is_write = r->type == NBD_CMD_WRITE || r->type == NBD_CMD_TRIM ||
                    r->type == NBD_CMD_WRITE_ZEROES;

    if (r->type >= sizeof(flags) / sizeof(flags[0]) || r->type == 5 ||
        (r->flags & ~flags[r->type]))
        return -EINVAL;
    if ((r->flags & NBD_CMD_FLAG_DF) && !c->is_structured) return -EINVAL;
    if (r->type == NBD_CMD_FLUSH)
        return r->offset == 0 && r->bytes == 0 ? 0 : -EINVAL;
    if (is_write && c->x->is_readonly) return -EPERM;
    if (r->offset > size_bytes || r->bytes > size_bytes - r->offset)
        return is_write && r->type != NBD_CMD_TRIM ? -ENOSPC : -EINVAL;
    if (r->type == NBD_CMD_READ && r->bytes > NBD_MAX_PAYLOAD) return -EINVAL;
    if (r->type == NBD_CMD_BLOCK_STATUS && (!c->has_status || r->bytes == 0))
        return -EINVAL;
    return 0;
}

static int serve_status(struct nbd_client *c, const struct request *r)
{
    unsigned count = 0, max = r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : MAX_EXTENTS;
    uint8_t extents[MAX_EXTENTS * 8], front[4], *p = extents;
    uint32_t done = 0, last = 0, last_length = 0;

    while (done < r->bytes) {
        uint32_t length, state;
        int rc = nbd_backend_status(c->x, r->offset + done, r->bytes - done,
                                    &length, &state);

        if (rc < 0) return send_error(c, r, rc);
        if (count > 0 && state == last) {
            last_length += length;
            nbd_put(p - 8, last_length, 4);
        } else {
            if (count == max) break;
            p = nbd_put(p, length, 4);
            p = nbd_put(p, state, 4);
            last = state;
            last_length = length;
            count++;
        }
        done += length;
    }
    nbd_put(front, CONTEXT_ALLOCATION, 4);
    return send_chunk(c, r, NBD_REPLY_BLOCK_STATUS, front, sizeof(front),
                      extents, (size_t)(p - extents));
}

static int serve(struct nbd_client *c, struct request *r)
{
    struct nbd_io io = { .type = r->type,
                         .offset = r->offset,
                         .bytes = r->bytes,
                         .data = r->data,
                         .is_fua = r->flags & NBD_CMD_FLAG_FUA,
                         .may_unmap = !(r->flags & NBD_CMD_FLAG_NO_HOLE) };
    int rc = check(c, r);

    if (rc < 0) return send_error(c, r, rc);
    if (r->type == NBD_CMD_BLOCK_STATUS) return serve_status(c, r);
    if (r->type == NBD_CMD_READ) io.is_fua = false;
    if (r->bytes > 0 || r->type == NBD_CMD_FLUSH)
        rc = nbd_backend_io(c->x, &io);
    if (rc < 0) return send_error(c, r, rc);
    if (r->type == NBD_CMD_READ) return send_data(c, r);
    return send_simple(c, r, 0, NULL, 0);
}

/* ------------------------------------------------------------ requests */

static int need_buffer(struct request *r)
{
    if (r->data_bytes >= r->bytes) return 0;
    free(r->data);
    r->data = malloc(r->bytes);
    r->data_bytes = r->data != NULL ? r->bytes : 0;
    return r->data != NULL ? 0 : -ENOMEM;
}

/* 0, or the connection is over.  Caller holds c->recv. */
static int read_request_locked(struct nbd_client *c, struct request *r)
{
    uint8_t head[NBD_REQUEST_BYTES];
    int rc = nbd_recv(c->fd, head, sizeof(head), 0);

    if (rc < 0) return rc;
    if (nbd_get(head, 4) != NBD_MAGIC_REQUEST) return -EPROTO;
    r->flags = (unsigned)nbd_get(head + 4, 2);
    r->type = (unsigned)nbd_get(head + 6, 2);
    r->cookie = nbd_get(head + 8, 8);
    r->offset = nbd_get(head + 16, 8);
    r->bytes = (uint32_t)nbd_get(head + 24, 4);
    if (r->type == NBD_CMD_DISC) return -EPIPE;
    if (r->type == NBD_CMD_WRITE) {
        if (r->bytes > NBD_MAX_PAYLOAD) return -EPROTO;
        rc = need_buffer(r);
        return rc < 0 ? rc : nbd_recv(c->fd, r->data, r->bytes, 0);
    }
    if (r->type == NBD_CMD_READ && r->bytes <= NBD_MAX_PAYLOAD)
        return need_buffer(r);
    return 0;
}

void nbd_serve(struct nbd_client *c)
{
    struct request r = { .data = NULL };
    int rc = 0;

    while (rc == 0) {
        pthread_mutex_lock(&c->recv);
        rc = c->is_over ? -EPIPE : read_request_locked(c, &r);
        if (rc < 0) c->is_over = true;
        pthread_mutex_unlock(&c->recv);
        if (rc < 0) break;
        nbd_client_want_thread(c);
        rc = serve(c, &r);
        if (rc < 0) shutdown(c->fd, SHUT_RDWR);
        if (r.data_bytes > KEPT_BYTES) {
            free(r.data);
            r.data = NULL;
            r.data_bytes = 0;
        }
        nbd_client_served(c);
    }
    free(r.data);
}
