/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_QCOW2_H
#define ORRERY_BLOCK_QCOW2_H

#include <pthread.h>
#include <stdatomic.h>

#include "block/block_int.h"
#include "block/qcow2_format.h"

/*
 * qcow2, inside.  Source of all layouts: "QCow2 image file format"
 * (docs/interop/qcow2.txt of the QEMU project).
 *
 * Order of writes.  A crash, or a power cut that loses or reorders what was
 * written since the last fdatasync, leaks clusters at worst:
 *  - New clusters get their refcount in the cache first.  qcow2_flush writes
 *    the refcount blocks, then fdatasync (which covers the data too), then
 *    (only if it changed) the refcount table and fdatasync, then L2 and L1
 *    tables and fdatasync.  New L2 tables and refcount blocks are written
 *    whole when they are allocated, so before anything that points to them.
 *  - Clusters that nothing points to any more are handed to qcow2_free, which
 *    only notes them.  Their refcount goes down after the tables that pointed
 *    to them have reached the disk and the transfers that were using them are
 *    over (struct qcow2_pins).  Not before that are they used again.
 *
 * Locking.  s->lock guards everything but data transfers, which are made
 * without it.  Functions ending in _locked expect it; those that say "may
 * release the lock" do so while waiting.  Operations on whole images (check,
 * snapshots, resize) take it as well; they run while nothing else does, if
 * block/image.h does not say otherwise.
 */

/* ------------------------------------------------------------------ cache */

/* A piece of a table of the file: an L2 slice, a refcount block. */
struct qcow2_table {
    uint64_t offset; /* in the file */
    uint8_t *data;   /* as in the file, big endian */
    unsigned pins;
    uint32_t dirty_from, dirty_to; /* octets changed; to 0: none */
    bool is_writing;               /* a copy is on its way to the file */
    struct qcow2_table *hash_next;
    struct qcow2_table *newer, *older;
};
struct qcow2_cache {
    uint32_t table_bytes;
    unsigned count, max; /* tables that exist, that may */
    unsigned dirty;      /* tables with changes */
    unsigned buckets;    /* power of two */
    struct qcow2_table **bucket;
    struct qcow2_table *newest, *oldest;
};

/* Ranges whose refcounts are to go down. */
struct qcow2_ranges {
    struct qcow2_range {
        uint64_t cluster, clusters;
    } * v;
    size_t count, cap;
};

/* Set of clusters of the file that hold metadata of the active image. */
struct qcow2_set {
    uint64_t *slot; /* cluster + 1; 0: empty */
    size_t count, cap;
};

/* An allocating write under way: nobody else touches its guest clusters. */
struct qcow2_claim {
    uint64_t first, end; /* guest clusters */
    struct qcow2_claim *next;
};

struct qcow2 {
    struct node *n;    /* the image */
    struct node *file; /* n->child */
    /* Where data lie that are not in the file, see qcow2_data_file.c; owned;
     * NULL: they are, or (has_data_file) the data file is not open. */
    struct node *data;
    bool has_data_file;
    struct qcow2_header h;
    struct qcow2_ext *ext;
    unsigned ext_count;

    /* Derived from the header. */
    uint32_t cluster_bits, cluster_bytes;
    uint32_t l2_bits;         /* log2 of entries of an L2 table */
    uint32_t l2_entry_bytes;  /* 8; 16 with extended L2 entries */
    uint32_t subcluster_bits; /* log2 of octets; cluster_bits if none */
    bool has_subclusters;
    uint32_t refblock_bits; /* log2 of entries of a refcount block */
    uint64_t max_refcount;
    bool is_lazy;        /* refcounts are not kept up to date on disk */
    bool passes_discard; /* discard=unmap */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a claim, flush or transfer ended */

    uint64_t *l1;                        /* host byte order; h.l1_entries */
    uint32_t l1_dirty_from, l1_dirty_to; /* entries; to 0: none */
    uint64_t *reftable;                  /* host byte order */
    uint32_t reftable_entries;
    uint32_t reftable_dirty_from, reftable_dirty_to;
    struct qcow2_cache l2_cache, refcount_cache;
    struct qcow2_set metadata;

    uint64_t free_hint;          /* no free cluster before this one */
    uint64_t fresh_from;         /* octet from which the file reads as zeros */
    uint64_t compressed_next;    /* where the next compressed data go, or 0 */
    struct qcow2_ranges freed;   /* tables that pointed there not written */
    struct qcow2_ranges written; /* they are; the pin phase is still on */
    struct qcow2_ranges waiting; /* transfers of the last phase go on */
    struct qcow2_claim *claims;
    bool is_flushing;
    bool is_begun;   /* first write made: dirty, autoclear bits done */
    bool is_corrupt; /* refuses writes */
    bool is_dead;    /* a flush failed: all later ones do */
    /* With is_corrupt as well: which header the disk has is not known, so
     * nothing may be written where one of them sees tables. */
    bool is_check; /* opened for check and repair */

    /* Transfers by phase: see qcow2_pin. */
    atomic_uint pins[2];
    unsigned pin_phase;

    /*
     * Encrypted data clusters, NULL if none: host offset (a multiple of 512)
     * and octets (too) are those of the file, in place.  Any thread, no lock.
     */
    int (*crypt)(void *arg, uint64_t host_offset, void *buf, size_t bytes,
                 bool is_encrypt);
    void (*crypt_free)(void *arg);
    void *crypt_arg;

    /* Called once with the lock held before the next write, NULL if nobody
     * cares: bitmaps that are not kept up to date must become invalid. */
    int (*before_write)(struct qcow2 *s);
    void *bitmaps;  /* qcow2_bitmap.c's */
    void *vmstates; /* qcow2_vmstate.c's */
    void *decompressed;
};

/* What host offsets of data mean; NULL: a data file that is not open. */
static inline struct node *qcow2_data(const struct qcow2 *s)
{
    return s->has_data_file ? s->data : s->file;
}

/* Sizes and positions. */
static inline uint64_t qcow2_round_up(const struct qcow2 *s, uint64_t bytes)
{
    return (bytes + s->cluster_bytes - 1) & ~(uint64_t)(s->cluster_bytes - 1);
}
static inline uint64_t qcow2_clusters(const struct qcow2 *s, uint64_t bytes)
{
    return (bytes >> s->cluster_bits) +
           ((bytes & (s->cluster_bytes - 1)) != 0 ? 1 : 0);
}
/* L1 entries for a disk of that size. */
static inline uint64_t qcow2_l1_need(const struct qcow2 *s, uint64_t bytes)
{
    unsigned bits = s->cluster_bits + s->l2_bits;

    return (bytes >> bits) + ((bytes & ((UINT64_C(1) << bits) - 1)) != 0);
}
/* Where compressed data lie, by their L2 entry: any octet; whole sectors up to
 * offset + bytes, the last of which may be behind the end of the file. */
void qcow2_compressed_range(uint32_t cluster_bits, uint64_t entry,
                            uint64_t *offset, uint64_t *bytes);

/* ------------------------------------------------- header (qcow2_header.c) */

int qcow2_header_read(struct node *file, struct qcow2_header *h, struct err *e);
/* Fields against each other and the caps; not against the file. */
int qcow2_header_check(const struct qcow2_header *h, const char *name,
                       struct err *e);
/*
 * Header, extensions and backing file name into the first cluster of file
 * (which is written whole).  backing, backing_format may be NULL.  Sets
 * h->backing_*.  -ENOSPC if they do not fit.
 */
int qcow2_header_write(struct node *file, struct qcow2_header *h,
                       const struct qcow2_ext *ext, unsigned ext_count,
                       const char *backing, const char *backing_format);
/* The same from s->h, s->ext and the names in s->n; no flush. */
int qcow2_header_update_locked(struct qcow2 *s);
/* Add, replace, or (bytes 0, data NULL) remove; data are copied. */
int qcow2_ext_set(struct qcow2 *s, uint32_t type, const void *data,
                  uint32_t bytes);
const struct qcow2_ext *qcow2_ext_find(const struct qcow2 *s, uint32_t type);
/* Header extension with the names of all feature bits this code knows, for
 * new images; returns its octets (out: 512 of them). */
uint32_t qcow2_feature_names(uint8_t *out);

/* A table of 64-bit entries read into host byte order; *out is the caller's.
 * -EIO when it is not inside the file. */
int qcow2_table_read(struct qcow2 *s, uint64_t offset, uint32_t entries,
                     uint64_t **out);
int qcow2_table_write(struct qcow2 *s, uint64_t offset, const uint64_t *table,
                      uint32_t first, uint32_t entries);
/*
 * offset: aligned to a cluster, not 0, offset + bytes inside of the file.
 * Tables of the file may end with it.
 */
int qcow2_check_range(const struct qcow2 *s, uint64_t offset, uint64_t bytes,
                      const char *what, struct err *e);
/* One line of warning, corrupt bit, all later writes fail.  Returns -EIO. */
int qcow2_corrupt_locked(struct qcow2 *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Before anything changes the image: -EROFS, -EIO (corrupt), dirty and
 * autoclear bits, before_write. */
int qcow2_begin_locked(struct qcow2 *s);
/* The same for changes that the guest does not see: no before_write. */
int qcow2_begin_tables_locked(struct qcow2 *s);

/* ------------------------------------------------ metadata cache, flushing */

int qcow2_cache_open(struct qcow2_cache *c, uint32_t table_bytes,
                     uint64_t max_bytes);
void qcow2_cache_close(struct qcow2_cache *c); /* changes are lost */
/* The table at offset, read if need be; pinned until put.  May write other
 * tables, and release the lock for that. */
int qcow2_cache_get_locked(struct qcow2 *s, struct qcow2_cache *c,
                           uint64_t offset, struct qcow2_table **out);
/* Only if it is there, else NULL; not pinned, good until the next call. */
struct qcow2_table *qcow2_cache_peek_locked(struct qcow2_cache *c,
                                            uint64_t offset);
void qcow2_cache_put_locked(struct qcow2_table *t);
/* Octets of t->data were changed. */
void qcow2_cache_dirty_locked(struct qcow2_cache *c, struct qcow2_table *t,
                              uint32_t from, uint32_t bytes);
/* Forget the tables in a range of the file (it was given another use) or all
 * (0, UINT64_MAX), with their changes.  None of them is pinned. */
void qcow2_cache_forget_locked(struct qcow2_cache *c, uint64_t offset,
                               uint64_t bytes);
/* The dirty refcount blocks alone; no fdatasync. */
int qcow2_write_refcounts_locked(struct qcow2 *s);

/*
 * Everything that is in memory to the disk, in order (see above); the refcounts
 * of clusters freed before go down after it (in the cache).  Releases the lock
 * while it waits for the disk unless keeps_lock.
 */
int qcow2_flush_locked(struct qcow2 *s, bool keeps_lock);
/* All of that, and freed clusters' refcounts on disk as well: afterwards the
 * file is exact.  Lock kept; for closing and whole-image work. */
int qcow2_settle_locked(struct qcow2 *s);

/* --------------------------------------------------------------- refcounts */

uint64_t qcow2_refcount_entry(const void *block, unsigned order,
                              uint64_t index);
void qcow2_refcount_set_entry(void *block, unsigned order, uint64_t index,
                              uint64_t value);
/* 0 for clusters no refcount block covers. */
int qcow2_refcount_get_locked(struct qcow2 *s, uint64_t cluster, uint64_t *out);
/*
 * Add delta to the refcounts of clusters; refcount blocks are made as needed.
 * -ERANGE: one would overflow (or -EIO and corrupt: go below 0); nothing has
 * changed then.  Negative: at once, so only for what nothing on the disk points
 * to; else qcow2_free_locked.
 */
int qcow2_refcount_add_locked(struct qcow2 *s, uint64_t cluster,
                              uint64_t clusters, int64_t delta);
/* Contiguous clusters with refcount 1.  is_fresh (or NULL): they read as zeros
 * in the file.  May flush to get at freed ones. */
int qcow2_alloc_locked(struct qcow2 *s, uint64_t clusters, uint64_t *offset,
                       bool *is_fresh);
/* The first free ones that follow each other, up to that many: how many, or
 * -errno. */
int64_t qcow2_alloc_some_locked(struct qcow2 *s, uint64_t clusters,
                                uint64_t *offset, bool *is_fresh);
/* Those at a given place, if all of them are free: number taken from there on,
 * maybe 0, or -errno. */
int64_t qcow2_alloc_at_locked(struct qcow2 *s, uint64_t offset,
                              uint64_t clusters);
/* Nothing in the cached tables points to these octets any more (any octets:
 * each cluster they touch loses one reference).  See "Order of writes". */
void qcow2_free_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes);
/* Back to free at once: allocated, and nothing ever pointed there. */
void qcow2_unalloc_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes);
/* Apply what qcow2_free noted and may be applied (after a flush). */
int qcow2_apply_freed_locked(struct qcow2 *s);

/* Clusters that data must never be written to.  -ENOMEM. */
int qcow2_meta_add_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes);
void qcow2_meta_remove_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes);
bool qcow2_meta_has_locked(const struct qcow2 *s, uint64_t offset,
                           uint64_t bytes);
/* From s->h, s->l1, s->reftable anew (after the L1 table was replaced). */
int qcow2_meta_rebuild_locked(struct qcow2 *s);

/* Data transfers without the lock: the clusters found before, under the lock,
 * are not used otherwise until unpin.  unpin: any thread, no lock. */
unsigned qcow2_pin_locked(struct qcow2 *s);
void qcow2_unpin(struct qcow2 *s, unsigned pin);

/* ---------------------------------------------------------------- mapping */

enum qcow2_kind {
    QCOW2_KIND_NONE,       /* not here: backing file or zeros */
    QCOW2_KIND_NONE_ALLOC, /* the same, but the cluster has its place */
    QCOW2_KIND_ZERO,
    QCOW2_KIND_ZERO_ALLOC, /* zeros, but the cluster has its place */
    QCOW2_KIND_DATA,
    QCOW2_KIND_COMPRESSED,
};
/* A stretch of the guest's disk that is alike. */
struct qcow2_extent {
    enum qcow2_kind kind;
    uint64_t bytes;
    uint64_t host;  /* DATA, *_ALLOC: of the first octet */
    uint64_t entry; /* COMPRESSED: L2 entry */
    bool is_copied; /* refcount 1: may be written in place */
};
/*
 * What lies at offset, bytes at most.  cached_only: -EAGAIN instead of reading
 * a table.  Host offsets are aligned and not 0, nothing more: see
 * qcow2_check_data_locked.
 */
int qcow2_map_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                     bool cached_only, struct qcow2_extent *out);
/* Are these clusters of the file fit for data to be written to? Else -EIO and
 * the image is corrupt. */
int qcow2_check_data_locked(struct qcow2 *s, uint64_t host, uint64_t bytes);
/*
 * L2 slice for a guest offset and the octet in it where the entry is; pinned.
 * for_write: a table of our own, made or copied if need be (-errno), else *out
 * is NULL if there is no L2 table.
 */
int qcow2_l2_get_locked(struct qcow2 *s, uint64_t offset, bool for_write,
                        struct qcow2_table **out, uint32_t *at);
/* Zeros or nothing in whole guest clusters; the old ones are freed. to_zero:
 * reads as zeros (else as the backing file); may_free: give the place back. */
int qcow2_clear_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                       bool to_zero, bool may_free);

/* Put an entry into a slice; what the old one pointed to, if that is something
 * else, is freed.  bitmap: only with subclusters. */
void qcow2_set_entry_locked(struct qcow2 *s, struct qcow2_table *t, uint32_t at,
                            uint64_t entry, uint64_t bitmap);

/* Nobody else may allocate in these guest octets; waits (releasing the lock)
 * while somebody does. */
void qcow2_claim_locked(struct qcow2 *s, uint64_t offset, uint64_t bytes,
                        struct qcow2_claim *c);
void qcow2_unclaim_locked(struct qcow2 *s, struct qcow2_claim *c);

#endif
