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
int qcow2_vmstate_patch(struct node *n, const char *id, uint64_t pos,
                        const void *buf, size_t bytes);
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
/* The open cipher; NULL: opened without a secret, or not encrypted. */
struct luks *qcow2_luks_of(const struct qcow2 *s);
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
/* qcow2_bitmap_edit.c: the driver's bitmap. */
struct image_bitmap;
struct image_bitmap_info;
bool qcow2_bitmap_nth(struct node *n, unsigned i,
                      struct image_bitmap_info *out);
int qcow2_bitmap_edit(struct node *n, const struct image_bitmap *b,
                      struct err *e);
/* Flags of the i-th one, in memory and in the file; no flush. */
int qcow2_bitmap_set_flags(struct qcow2 *s, unsigned i, uint32_t flags);
/*
 * Bitmaps go with the disk's size: begin marks all of them "in use" in the
 * file, so that a crash leaves them inconsistent and the image good; end writes
 * them anew for the size the disk has then, or (is_resized false) takes the
 * marks back, and lets go of *out, which is NULL if there are none.
 */
struct qcow2_bitmap_edit;
int qcow2_bitmaps_resize_begin_locked(struct qcow2 *s, uint64_t size_bytes,
                                      struct qcow2_bitmap_edit **out,
                                      struct err *e);
int qcow2_bitmaps_resize_end_locked(struct qcow2_bitmap_edit *d,
                                    bool is_resized, struct err *e);
void qcow2_bitmaps_describe(const struct qcow2 *s, struct info_sink *out);

/* ------------------------------------ data files (qcow2_data_file.c) */

/* Open what the header names, unless no other file may be opened. */
int qcow2_data_file_open(struct qcow2 *s, const struct node_options *o,
                         struct err *e);
void qcow2_data_file_describe(const struct qcow2 *s, struct info_sink *out);

/* ------------------------------------------- snapshots (qcow2_snapshot.c) */

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_entries;
    char *id, *name; /* owned */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_ns, vm_state_bytes, disk_bytes;
    uint64_t icount;      /* UINT64_MAX: none */
    uint32_t extra_bytes; /* in the file */
    uint8_t *extra;       /* owned; what lies behind the fields known here */
};
struct qcow2_snapshots {
    struct qcow2_snapshot *v;
    unsigned count;
    uint64_t bytes; /* of the table in the file */
};
/* The table as it is in the file. */
int qcow2_snapshots_load(struct qcow2 *s, struct qcow2_snapshots *out,
                         struct err *e);
void qcow2_snapshots_free(struct qcow2_snapshots *all);

/* -------------------------------------------- check (qcow2_check.c, repair) */

/* References to the clusters of a file, counted anew. */
enum { QCOW2_MAX_OUTSIDE = 4096 };
struct qcow2_count {
    struct qcow2 *s;
    struct image_check *c;
    uint64_t clusters; /* of the file, the last may be incomplete */
    uint16_t *refs;    /* of each, saturating; mapped memory */
    uint64_t *is_one;  /* bit set of clusters with stored refcount 1 */
    size_t refs_bytes, is_one_bytes;
    uint64_t highest;   /* last cluster in use */
    struct qcow2_span { /* references to what is not in the file */
        uint64_t first, last;
    } * outside;
    unsigned outside_count; /* QCOW2_MAX_OUTSIDE: maybe more */
    uint64_t refblock_errors;
    uint64_t table_clusters; /* of L1 and bitmap tables looked at */
    bool is_hopeless;        /* not all was looked at: nothing is repaired */
    bool needs_rebuild; /* stored refcounts are not fit for single repairs */
    uint64_t work_done, work_total;
};
void qcow2_check_line(const struct qcow2_count *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Count one more reference to each cluster these octets touch. */
void qcow2_count_range(struct qcow2_count *k, uint64_t offset, uint64_t bytes);
/* Flags QCOW2_COPIED of the active tables against stored refcounts. */
int qcow2_check_copied(struct qcow2_count *k);
/* New refcount table and blocks for what was counted.  Reads as valid before
 * and after each step. */
int qcow2_rebuild_refcounts(struct qcow2_count *k);
/* An L2 table into buf (a cluster); what cannot be read is counted. */
int qcow2_check_read_l2(struct qcow2_count *k, uint64_t offset, uint8_t *buf);

/* ------------------------------------------ shadow update (qcow2_shadow.c) */

/*
 * Changes of references that take effect at once, by the write of the header:
 * everything that changes is written to clusters that are free in the file as
 * it is, then the header is made to point there.  For whole images; the lock is
 * held all the time, and nobody writes to the image.
 */
struct qcow2_shadow {
    struct qcow2 *s;
    struct qcow2_header h; /* as it will be; set fields before commit */
    uint64_t clusters;     /* that the arrays have */
    uint64_t covered;      /* by the refcount blocks of the file */
    uint16_t *old, *now;   /* refcounts of each cluster; mapped */
    size_t bytes;          /* of each array */
    uint64_t cursor;       /* no free cluster before this one */
    uint64_t top;          /* none in use from this one on */
    bool is_all_new;       /* all refcount blocks are written anew */
    uint64_t *l1;          /* new active L1 table, NULL: as it is; owned */
    uint8_t *buf;          /* a cluster */
    uint64_t *place;       /* where the refcount blocks will be; owned */
    uint32_t places;
};
/* Begins with all changes on the disk.  extra: clusters to be allocated, more
 * than a copy of all tables needs. */
int qcow2_shadow_open_locked(struct qcow2 *s, struct qcow2_shadow *sh,
                             uint64_t extra, struct err *e);
/* Add to the references of each cluster these octets touch. -EIO: not in the
 * file, below 0; -ERANGE: more than the refcounts can hold. */
int qcow2_shadow_ref(struct qcow2_shadow *sh, uint64_t offset, uint64_t bytes,
                     int delta);
/* Contiguous clusters, one reference each. */
int qcow2_shadow_alloc(struct qcow2_shadow *sh, uint64_t bytes,
                       uint64_t *offset);
/* For all L2 tables in l1 and what they point to. */
int qcow2_shadow_walk(struct qcow2_shadow *sh, const uint64_t *l1,
                      uint32_t first, uint32_t end, int delta);
/*
 * l1 (taken over) becomes the active L1 table: flags "copied" as the references
 * are now, in copies of the L2 tables that need other ones; written to a new
 * place.  The references of the old L1 table itself go down.
 */
int qcow2_shadow_set_l1(struct qcow2_shadow *sh, uint64_t *l1,
                        uint32_t entries);
int qcow2_shadow_commit(struct qcow2_shadow *sh, struct err *e);
/* Give freed clusters back to the host's file system; after commit. */
void qcow2_shadow_discard(struct qcow2_shadow *sh);
void qcow2_shadow_close(struct qcow2_shadow *sh);

/* Octets of the table in the file, and the table. */
uint64_t qcow2_snapshots_bytes(const struct qcow2_snapshots *all);
int qcow2_snapshots_write(struct qcow2 *s, const struct qcow2_snapshots *all,
                          uint64_t offset);
/* By id; NULL if there is none. */
struct qcow2_snapshot *qcow2_snapshots_find(const struct qcow2_snapshots *all,
                                            const char *id);
/* Its L1 table, checked; the caller's. */
int qcow2_snapshot_l1(struct qcow2 *s, const struct qcow2_snapshot *sn,
                      uint64_t **l1, struct err *e);
/* -ENOENT with a text. */
int qcow2_no_snapshot(const struct qcow2 *s, const char *id, struct err *e);
/* What is known of snapshots' VM states is forgotten. */
void qcow2_vmstate_close(struct qcow2 *s);

#endif
