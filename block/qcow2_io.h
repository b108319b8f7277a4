/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_QCOW2_IO_H
#define ORRERY_BLOCK_QCOW2_IO_H

#include "block/qcow2.h"

/* qcow2: compression, and the functions of the node. */

/* ------------------------------------------------------------ compression */

/* dst bytes_out octets at most; octets made, -ENOSPC (not smaller), -EIO,
 * -ENOTSUP.  No lock. */
int64_t qcow2_compress(unsigned type, void *dst, size_t dst_bytes,
                       const void *src, size_t bytes);
/* Exactly dst_bytes come out, or -EIO. */
int qcow2_decompress(unsigned type, void *dst, size_t dst_bytes,
                     const void *src, size_t bytes);

/* Clusters unpacked lately; forget: data at that entry are being replaced. */
int qcow2_plain_open(struct qcow2 *s);
void qcow2_plain_close(struct qcow2 *s);
void qcow2_plain_forget(struct qcow2 *s, uint64_t entry);

/* A part of a scatter list; on the heap if it is long. */
struct qcow2_slice {
    struct iovec few[8], *v;
    int count;
};
int qcow2_slice(struct qcow2_slice *p, const struct iovec *iov, int iovcnt,
                uint64_t skip, uint64_t bytes); /* 0 or -ENOMEM */
void qcow2_slice_free(struct qcow2_slice *p);

/* ---------------------------------------------------------- node functions */

int qcow2_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                int iovcnt, size_t bytes);
int qcow2_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                 int iovcnt, size_t bytes, unsigned flags);
int qcow2_write_compressed(struct qcow2 *s, uint64_t offset,
                           const struct iovec *iov, int iovcnt, size_t bytes);
int qcow2_zero(struct node *n, uint64_t offset, uint64_t bytes, unsigned flags);
int qcow2_discard(struct node *n, uint64_t offset, uint64_t bytes);
int qcow2_node_flush(struct node *n);
int qcow2_status(struct node *n, uint64_t offset, uint64_t bytes,
                 struct node_extent *out);
int qcow2_run(struct node *n, uint64_t offset, uint64_t bytes, bool is_write,
              struct node_run *out);
void qcow2_run_done(struct node *n, const struct node_run *r);

/*
 * Elsewhere; the driver record in qcow2.c names them as they come into being:
 * qcow2_create.c, qcow2_check.c, qcow2_snapshot.c, qcow2_resize.c,
 * qcow2_bitmap.c, qcow2_amend.c.  LUKS: called by open with s->h and s->ext
 * set; fills crypt, crypt_free, crypt_arg.
 */
int qcow2_luks_open(struct qcow2 *s, const struct node_options *o,
                    struct err *e);
/* Called at the end of open; fills before_write, bitmaps. */
int qcow2_bitmaps_open(struct qcow2 *s, struct err *e);
void qcow2_bitmaps_close(struct qcow2 *s);

#endif
