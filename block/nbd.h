/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_NBD_H
#define ORRERY_BLOCK_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"

/*
 * Network block devices: what client and server share.  Names and numbers are
 * those of doc/proto.md of the NetworkBlockDevice project.  Every number on
 * the wire is big-endian.
 */
struct node;

/* "Handshake phase" */
#define NBD_MAGIC            0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_MAGIC_OPTION     0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_MAGIC_OPTION_REP 0x0003e889045565a9ull
enum { /* handshake flags, and those of the client in answer */
       NBD_FLAG_FIXED_NEWSTYLE = 1,
       NBD_FLAG_NO_ZEROES = 2,
};

/* "Option types" */
enum {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

/* "Option reply types" */
#define NBD_REP_ACK                 1u
#define NBD_REP_SERVER              2u
#define NBD_REP_INFO                3u
#define NBD_REP_META_CONTEXT        4u
#define NBD_REP_ERROR               0x80000000u /* bit of all errors */
#define NBD_REP_ERR_UNSUP           0x80000001u
#define NBD_REP_ERR_POLICY          0x80000002u
#define NBD_REP_ERR_INVALID         0x80000003u
#define NBD_REP_ERR_TLS_REQD        0x80000005u
#define NBD_REP_ERR_UNKNOWN         0x80000006u
#define NBD_REP_ERR_BLOCK_SIZE_REQD 0x80000008u
#define NBD_REP_ERR_TOO_BIG         0x80000009u

/* NBD_OPT_INFO, NBD_OPT_GO: kinds of information */
enum {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* "Transmission flags" */
enum {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
};

/* "Request types" */
enum {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};
enum { /* "Command flags" */
       NBD_CMD_FLAG_FUA = 1 << 0,
       NBD_CMD_FLAG_NO_HOLE = 1 << 1,
       NBD_CMD_FLAG_DF = 1 << 2,
       NBD_CMD_FLAG_REQ_ONE = 1 << 3,
};

/* "Transmission phase": magic, flags, type, cookie, offset, length */
#define NBD_MAGIC_REQUEST 0x25609513u
#define NBD_MAGIC_SIMPLE  0x67446698u /* magic, error, cookie */
#define NBD_MAGIC_CHUNK   0x668e33efu /* magic, flags, type, cookie, length */
enum { NBD_REQUEST_BYTES = 28, NBD_SIMPLE_BYTES = 16, NBD_CHUNK_BYTES = 20 };

/* "Structured reply types" */
enum {
    NBD_REPLY_FLAG_DONE = 1,
    NBD_REPLY_NONE = 0,
    NBD_REPLY_OFFSET_DATA = 1,
    NBD_REPLY_OFFSET_HOLE = 2,
    NBD_REPLY_BLOCK_STATUS = 5,
    NBD_REPLY_ERROR = 0x8001,
    NBD_REPLY_ERROR_OFFSET = 0x8002,
    NBD_REPLY_IS_ERROR = 0x8000,
};

/* Context "base:allocation" */
#define NBD_BASE_ALLOCATION "base:allocation"
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };

/* "Error values" */
enum {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};
int nbd_error_to_rc(uint32_t error);
uint32_t nbd_error_from_rc(int rc);

enum {
    NBD_MAX_STRING = 4096,        /* names, descriptions ("Values") */
    NBD_MAX_PAYLOAD = 32u << 20,  /* "Block size constraints": the default */
    NBD_PIECE_BYTES = 2u << 20,   /* what our client asks for at once */
    NBD_HANDSHAKE_MS = 10 * 1000, /* client: connect and negotiate */
    NBD_REQUEST_MS = 60 * 1000,   /* client: longest wait for a reply */
};
#define NBD_DEFAULT_PORT "10809"

/* Big-endian numbers; put returns where the next one goes. */
uint8_t *nbd_put(uint8_t *to, uint64_t value, unsigned bytes);
uint64_t nbd_get(const uint8_t *from, unsigned bytes);

/* --------------------------------------------------------- nbd_name.c */

struct nbd_address {
    bool is_unix;
    char path[108];
    char host[256], port[16];
    char export[NBD_MAX_STRING + 1];
};
/* The name says nbd, whether well-formed or not. */
bool nbd_is_name(const char *name);
/* nbd:unix:PATH[:exportname=N], nbd:HOST:PORT[:exportname=N],
 * nbd://HOST[:PORT][/EXPORT], nbd+unix:///EXPORT?socket=PATH. */
int nbd_parse_name(const char *name, struct nbd_address *out, struct err *e);
/* Where to listen: unix:PATH, HOST:PORT, :PORT (loopback). */
int nbd_parse_listen(const char *text, struct nbd_address *out, struct err *e);

/* ---------------------------------------------------------- nbd_net.c */

/* Descriptors are not blocking; deadline_ns by CLOCK_MONOTONIC, 0: never.
 * All octets or -errno; -EPIPE: the other side has gone; -ETIMEDOUT. */
uint64_t nbd_deadline(unsigned ms);
int nbd_recv(int fd, void *buf, size_t bytes, uint64_t deadline_ns);
int nbd_recv_iov(int fd, const struct iovec *iov, int iovcnt, size_t bytes,
                 uint64_t deadline_ns);
int nbd_send(int fd, const void *head, size_t head_bytes,
             const struct iovec *iov, int iovcnt, uint64_t deadline_ns);
/* A descriptor or -errno. */
int nbd_connect(const struct nbd_address *a, uint64_t deadline_ns,
                struct err *e);
/* Unix sockets: mode 0600; replaces a socket that nobody listens on.  port
 * "0" is replaced by the one that was taken. */
int nbd_listen(struct nbd_address *a, struct err *e);

/* ---------------------------------------------------- nbd_negotiate.c */

struct nbd_export_info {
    uint64_t size_bytes;
    unsigned flags; /* NBD_FLAG_* of transmission */
    uint32_t max_bytes;
    bool is_structured, has_status;
    uint32_t context; /* number of base:allocation */
};
/* Client's handshake up to the transmission phase. */
int nbd_negotiate(int fd, const char *export, uint64_t deadline_ns,
                  struct nbd_export_info *out, struct err *e);

extern const struct block_driver block_nbd; /* nbd_client.c */

#endif
