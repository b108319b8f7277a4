/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_INT_H
#define ORRERY_BLOCK_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"

/*
 * Inside of the block layer: nodes and their drivers.  Node functions are
 * synchronous and run on any thread, several at a time; a driver with state
 * that changes has its own lock.
 */
enum {
    BLOCK_SECTOR_BYTES = 512,
    BLOCK_MAX_IOV = 1024,
    BLOCK_PROBE_BYTES = 2048,
};

struct node;

struct node_options {
    bool is_readonly;
    bool is_auto_readonly;
    bool is_probed; /* the format was guessed, not named */
};

struct block_driver {
    const char *name;
    /* How sure the driver is (0 not mine .. 100) from the first octets of the
     * file; NULL: never guessed. */
    int (*probe)(const uint8_t *head, size_t bytes);
    /* n->name and, for formats, n->child are set; fills size_bytes, s. */
    int (*open)(struct node *n, const struct node_options *o, struct err *e);
    /* 0 or -errno; the range was checked against size_bytes. */
    int (*readv)(struct node *n, uint64_t offset, const struct iovec *iov,
                 int iovcnt, size_t bytes);
    int (*writev)(struct node *n, uint64_t offset, const struct iovec *iov,
                  int iovcnt, size_t bytes);
    int (*flush)(struct node *n);
    int (*discard)(struct node *n, uint64_t offset, uint64_t bytes);
    void (*close)(struct node *n);
};

struct node {
    const struct block_driver *drv;
    struct node *child; /* what it stands on; owned */
    char *name;         /* file name for messages; owned */
    uint64_t size_bytes;
    bool is_readonly;
    char warning[200]; /* one line for the user, empty if none */
    void *s;           /* driver's state; owned by the driver */
};

/* All formats, NULL at the end. */
extern const struct block_driver *const block_drivers[];
extern const struct block_driver block_file;
extern const struct block_driver block_raw;
extern const struct block_driver block_overlay;

/* Open drv on child (taken over, also on failure; NULL for protocols). */
int node_open(const struct block_driver *drv, const char *name,
              struct node *child, const struct node_options *o,
              struct node **out, struct err *e);
void node_close(struct node *n);
/* The whole graph for a file: protocol, format (probed if NULL), overlay. */
int node_open_image(const char *file, const char *format, bool is_snapshot,
                    struct node_options *o, struct node **out, struct err *e);

/* Range-checked access. */
int node_read(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt);
int node_write(struct node *n, uint64_t offset, const struct iovec *iov,
               int iovcnt);
int node_flush(struct node *n);
int node_discard(struct node *n, uint64_t offset, uint64_t bytes);

/* Name of an image format that the octets belong to and that is not raw;
 * NULL if none is known. */
const char *block_foreign_format(const uint8_t *head, size_t bytes);

/* Sum of the lengths; -EINVAL when it does not fit or iovcnt is too big. */
int64_t iov_bytes(const struct iovec *iov, int iovcnt);
/* Part of iov from skip on, bytes long, into out (BLOCK_MAX_IOV entries);
 * returns the number of entries. */
int iov_slice(const struct iovec *iov, int iovcnt, size_t skip, size_t bytes,
              struct iovec *out);
void iov_zero(const struct iovec *iov, int iovcnt);

/* Image locks (lock.c) on an open descriptor. */
int image_lock(int fd, const char *name, bool is_writer, struct err *e);

#endif
