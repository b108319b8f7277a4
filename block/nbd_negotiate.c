/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client's side of the handshake: fixed newstyle, structured replies and
 * base:allocation where they are offered, NBD_OPT_GO, and NBD_OPT_EXPORT_NAME
 * for servers that do not know GO ("Fixed newstyle negotiation").
 */
#include <errno.h>
#include <string.h>

#include "block/nbd.h"

enum {
    MAX_REPLY_BYTES = 64 << 10, /* of data in one reply to an option */
    MAX_REPLIES = 1000,         /* to one option */
};

struct handshake {
    int fd;
    const char *export;
    uint64_t deadline_ns;
    bool no_zeroes;
    struct nbd_export_info *info;
    uint8_t data[MAX_REPLY_BYTES]; /* of the last reply */
};

static int lost(struct err *e, int rc)
{
    return err_set(e, rc, "connection lost while negotiating: %s",
                   rc == -EPIPE ? "the server closed it" : strerror(-rc));
}

static int get(struct handshake *h, void *buf, size_t bytes, struct err *e)
{
    int rc = nbd_recv(h->fd, buf, bytes, h->deadline_ns);

    return rc < 0 ? lost(e, rc) : 0;
}

static int put(struct handshake *h, const void *buf, size_t bytes,
               struct err *e)
{
    int rc = nbd_send(h->fd, buf, bytes, NULL, 0, h->deadline_ns);

    return rc < 0 ? lost(e, rc) : 0;
}

static int send_option(struct handshake *h, uint32_t option, const void *data,
                       size_t bytes, struct err *e)
{
    uint8_t head[16], *p = head;
    int rc;

    p = nbd_put(p, NBD_MAGIC_OPTION, 8);
    p = nbd_put(p, option, 4);
    nbd_put(p, bytes, 4);
    rc = put(h, head, sizeof(head), e);
    return rc < 0 || bytes == 0 ? rc : put(h, data, bytes, e);
}

/* One reply; its data are in h->data, zero behind their end. */
static int get_reply(struct handshake *h, uint32_t option, uint32_t *type,
                     uint32_t *bytes, struct err *e)
{
    uint8_t head[20];
    int rc = get(h, head, sizeof(head), e);

    if (rc < 0) return rc;
    if (nbd_get(head, 8) != NBD_MAGIC_OPTION_REP ||
        nbd_get(head + 8, 4) != option)
        return err_set(e, -EPROTO, "the server's answer is not NBD");
    *type = (uint32_t)nbd_get(head + 12, 4);
    *bytes = (uint32_t)nbd_get(head + 16, 4);
    if (*bytes >= MAX_REPLY_BYTES)
        return err_set(e, -EPROTO, "the server's answer is too long");
    rc = get(h, h->data, *bytes, e);
    h->data[*bytes] = '\0';
    return rc;
}

/* Text of a refusal; what the server wrote is kept short and printable. */
static int refused(struct handshake *h, uint32_t type, struct err *e)
{
    char text[160];
    size_t n = 0;
    int rc = type == NBD_REP_ERR_UNSUP     ? -ENOTSUP
             : type == NBD_REP_ERR_UNKNOWN ? -ENOENT
             : type == NBD_REP_ERR_POLICY  ? -EACCES
                                           : -EINVAL;

    for (; h->data[n] != '\0' && n + 1 < sizeof(text); n++)
        text[n] =
            h->data[n] >= ' ' && h->data[n] < 127 ? (char)h->data[n] : '?';
    text[n] = '\0';
    if (type == NBD_REP_ERR_TLS_REQD)
        return err_set(e, -ENOTSUP, "the server wants TLS, not supported");
    if (type == NBD_REP_ERR_BLOCK_SIZE_REQD)
        return err_set(e, -ENOTSUP, "the server takes whole blocks alone");
    if (type == NBD_REP_ERR_UNKNOWN)
        return err_set(e, rc, "the server has no export '%s'", h->export);
    return err_set(e, rc, "the server refused: %s",
                   n > 0 ? text : "no reason given");
}

static int check_export(struct nbd_export_info *i, uint64_t size_bytes,
                        unsigned flags, struct err *e)
{
    if (size_bytes > INT64_MAX - 65536)
        return err_set(e, -EFBIG, "the server's size makes no sense");
    i->size_bytes = size_bytes;
    i->flags = flags & NBD_FLAG_HAS_FLAGS ? flags : 0;
    return 0;
}

/* 1: the server has it, 0: it has not. */
static int ask_structured(struct handshake *h, struct err *e)
{
    uint32_t type, bytes;
    int rc = send_option(h, NBD_OPT_STRUCTURED_REPLY, NULL, 0, e);

    if (rc == 0) rc = get_reply(h, NBD_OPT_STRUCTURED_REPLY, &type, &bytes, e);
    if (rc < 0) return rc;
    if (type == NBD_REP_ERR_TLS_REQD) return refused(h, type, e);
    return type == NBD_REP_ACK;
}

static int ask_status(struct handshake *h, struct err *e)
{
    size_t name_bytes = strlen(h->export);
    uint8_t data[NBD_MAX_STRING + 64], *p = data;
    uint32_t type = 0, bytes;
    int rc;

    p = nbd_put(p, name_bytes, 4);
    memcpy(p, h->export, name_bytes);
    p = nbd_put(p + name_bytes, 1, 4);
    p = nbd_put(p, strlen(NBD_BASE_ALLOCATION), 4);
    memcpy(p, NBD_BASE_ALLOCATION, strlen(NBD_BASE_ALLOCATION));
    p += strlen(NBD_BASE_ALLOCATION);
    rc = send_option(h, NBD_OPT_SET_META_CONTEXT, data, (size_t)(p - data), e);
    for (unsigned i = 0; rc == 0 && i < MAX_REPLIES; i++) {
        rc = get_reply(h, NBD_OPT_SET_META_CONTEXT, &type, &bytes, e);
        if (rc < 0) return rc;
        if (type == NBD_REP_ACK) return 0;
        if (type & NBD_REP_ERROR) {
            h->info->has_status = false; /* no such context, or no export:
                                          * GO will tell */
            return 0;
        }
        if (type != NBD_REP_META_CONTEXT || bytes < 4 ||
            strcmp((char *)h->data + 4, NBD_BASE_ALLOCATION) != 0)
            continue;
        h->info->has_status = true;
        h->info->context = (uint32_t)nbd_get(h->data, 4);
    }
    return rc < 0 ? rc : err_set(e, -EPROTO, "too many answers");
}

static int take_info(struct handshake *h, uint32_t bytes, bool *has_export,
                     struct err *e)
{
    unsigned kind = bytes >= 2 ? (unsigned)nbd_get(h->data, 2) : UINT32_MAX;
    uint32_t max;

    if (kind == NBD_INFO_EXPORT && bytes == 12) {
        *has_export = true;
        return check_export(h->info, nbd_get(h->data + 2, 8),
                            (unsigned)nbd_get(h->data + 10, 2), e);
    }
    if (kind != NBD_INFO_BLOCK_SIZE || bytes != 14) return 0;
    max = (uint32_t)nbd_get(h->data + 10, 4);
    if (max < 4096) return err_set(e, -EPROTO, "block sizes make no sense");
    if (max < h->info->max_bytes) h->info->max_bytes = max & ~4095u;
    return 0;
}

/* NBD_OPT_GO; -ENOTSUP: the server does not know it. */
static int ask_go(struct handshake *h, struct err *e)
{
    size_t name_bytes = strlen(h->export);
    uint8_t data[NBD_MAX_STRING + 8], *p = data;
    bool has_export = false;
    int rc;

    p = nbd_put(p, name_bytes, 4);
    memcpy(p, h->export, name_bytes);
    p = nbd_put(p + name_bytes, 0, 2);
    rc = send_option(h, NBD_OPT_GO, data, (size_t)(p - data), e);
    for (unsigned i = 0; rc == 0 && i < MAX_REPLIES; i++) {
        uint32_t type, bytes;

        rc = get_reply(h, NBD_OPT_GO, &type, &bytes, e);
        if (rc < 0) return rc;
        if (type == NBD_REP_ACK && has_export) return 0;
        if (type & NBD_REP_ERROR) return refused(h, type, e);
        if (type != NBD_REP_INFO)
            return err_set(e, -EPROTO, "the server's answer makes no sense");
        rc = take_info(h, bytes, &has_export, e);
    }
    return rc < 0 ? rc : err_set(e, -EPROTO, "too many answers");
}

static int ask_export_name(struct handshake *h, struct err *e)
{
    uint8_t answer[10], zeros[124];
    int rc =
        send_option(h, NBD_OPT_EXPORT_NAME, h->export, strlen(h->export), e);

    if (rc == 0) rc = get(h, answer, sizeof(answer), e);
    if (rc == 0 && !h->no_zeroes) rc = get(h, zeros, sizeof(zeros), e);
    if (rc < 0) return rc;
    return check_export(h->info, nbd_get(answer, 8),
                        (unsigned)nbd_get(answer + 8, 2), e);
}

static int greet(struct handshake *h, struct err *e)
{
    uint8_t head[18], mine[4];
    unsigned flags;
    int rc = get(h, head, sizeof(head), e);

    if (rc < 0) return rc;
    if (nbd_get(head, 8) != NBD_MAGIC)
        return err_set(e, -EPROTO, "this is no NBD server");
    flags = (unsigned)nbd_get(head + 16, 2);
    if (nbd_get(head + 8, 8) != NBD_MAGIC_OPTION ||
        !(flags & NBD_FLAG_FIXED_NEWSTYLE))
        return err_set(e, -ENOTSUP, "the server speaks an old NBD dialect");
    h->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    nbd_put(mine, NBD_FLAG_FIXED_NEWSTYLE | (flags & NBD_FLAG_NO_ZEROES), 4);
    return put(h, mine, sizeof(mine), e);
}

int nbd_negotiate(int fd, const char *export, uint64_t deadline_ns,
                  struct nbd_export_info *out, struct err *e)
{
    struct handshake h = {
        .fd = fd, .export = export, .deadline_ns = deadline_ns, .info = out
    };
    int rc;

    *out = (struct nbd_export_info){ .max_bytes = NBD_PIECE_BYTES };
    rc = greet(&h, e);
    if (rc == 0) rc = ask_structured(&h, e);
    if (rc > 0) {
        out->is_structured = true;
        rc = ask_status(&h, e);
    }
    if (rc == 0) rc = ask_go(&h, e);
    if (rc == -ENOTSUP && e->code == -ENOTSUP) rc = ask_export_name(&h, e);
    if (rc == -ENOENT || rc == -EACCES || rc == -EINVAL) { /* say goodbye */
        struct err unused = ERR_INIT;

        send_option(&h, NBD_OPT_ABORT, NULL, 0, &unused);
    }
    return rc;
}
