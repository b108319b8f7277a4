/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_QCOW2_OPS_H
#define ORRERY_BLOCK_QCOW2_OPS_H

#include "block/image.h"
#include "block/luks.h"
#include "block/qcow2.h"

/* Whole-image operations of qcow2: what the driver record in qcow2.c names.
 * See block/image.h for what they do. */
extern const struct image_create_opt qcow2_create_opts[];
int qcow2_create(const struct image_create *c, struct err *e);
int qcow2_measure(const struct image_create *c, struct node *source,
                  uint64_t *required, uint64_t *fully_allocated, struct err *e);
int qcow2_truncate(struct node *n, uint64_t size_bytes,
                   const char *preallocation, bool may_shrink, struct err *e);
int qcow2_info(struct node *n, struct image_info *out);
void qcow2_info_specific(struct node *n, struct info_sink *out);
int qcow2_check(struct node *n, struct image_check *c, struct err *e);
int qcow2_amend(struct node *n, const struct image_create *c, struct err *e);
int qcow2_change_backing(struct node *n, const char *file, const char *format,
                         struct err *e);
int qcow2_make_empty(struct node *n, struct err *e);
int qcow2_snapshot_list(struct node *n, struct image_snapshot **out,
                        unsigned *count, struct err *e);
int qcow2_snapshot_create(struct node *n, struct image_snapshot *s,
                          struct err *e);
int qcow2_snapshot_apply(struct node *n, const char *id, struct err *e);
int qcow2_snapshot_delete(struct node *n, const char *id, struct err *e);
int qcow2_snapshot_show(struct node *n, const char *id, struct err *e);
int qcow2_vmstate_write(struct node *n, const char *id, uint64_t pos,
                        const struct iovec *iov, int iovcnt, size_t bytes);
int qcow2_vmstate_end(struct node *n, const char *id, uint64_t bytes,
                      struct err *e);
int qcow2_vmstate_read(struct node *n, const char *id, uint64_t pos,
                       const struct iovec *iov, int iovcnt, size_t bytes);

/* ------------------------------------------------- between those files */

enum qcow2_prealloc {
    QCOW2_PREALLOC_OFF,
    QCOW2_PREALLOC_METADATA,
    QCOW2_PREALLOC_FALLOC,
    QCOW2_PREALLOC_FULL
};

/* What a new image is to be like: create's options, checked. */
struct qcow2_plan {
    struct qcow2_header h;
    bool is_extended, is_encrypted;
    enum qcow2_prealloc prealloc;
    struct luks_spec luks;
    uint64_t luks_bytes; /* of the header with key slots */
    /* In clusters; places in the file are in this order: the header, ... */
    uint64_t reftable, refblocks, l1, crypto, l2, data, total;
};
/* Options to plan, without sizes. */
int qcow2_plan_options(const struct image_create *c, struct qcow2_plan *p,
                       struct err *e);
/* All the lengths, for a disk of size_bytes; with_data: with room for all the
 * disk's data and L2 tables. */
int qcow2_plan_layout(struct qcow2_plan *p, uint64_t size_bytes, bool with_data,
                      struct err *e);

/* Place of the LUKS header in the file, checked. */
int qcow2_luks_range(const struct qcow2 *s, uint64_t *offset, uint64_t *bytes,
                     struct err *e);

/* A persistent dirty bitmap as the directory has it. */
struct qcow2_bitmap {
    uint64_t table_offset;
    uint32_t table_entries, flags;
    uint8_t type, granularity_bits;
    uint16_t name_bytes;
    const char *name; /* not ended by a zero */
    uint64_t at;      /* of the entry in the directory */
};
enum { QCOW2_BITMAP_IN_USE = 1, QCOW2_BITMAP_AUTO = 2 };
/* The directory; *bytes 0 if the image has no (valid) bitmaps. */
void qcow2_bitmap_directory(const struct qcow2 *s, uint64_t *offset,
                            uint64_t *bytes);
/* *at: 0 at first; false: that was the last. */
bool qcow2_bitmap_next(const struct qcow2 *s, uint64_t *at,
                       struct qcow2_bitmap *out);
void qcow2_bitmaps_describe(const struct qcow2 *s, struct info_sink *out);

#endif
