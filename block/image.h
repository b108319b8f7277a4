/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_IMAGE_H
#define ORRERY_BLOCK_IMAGE_H

#include <stdatomic.h>

#include "block/block_int.h"

/*
 * What is done with whole images: create, resize, check, describe, snapshots.
 * For block/ itself (jobs, the image tool).  All synchronous, any thread;
 * nothing else may be going on with the node unless it says so.
 */

/* Progress and cancel of anything long; NULL where nobody looks.  cb is
 * called from the working thread, cheaply enough for every cluster. */
struct image_progress {
    void (*cb)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    const atomic_bool *is_cancelled; /* or NULL: the work ends -ECANCELED */
};
int image_progress(const struct image_progress *p, uint64_t done,
                   uint64_t total); /* 0 or -ECANCELED; p may be NULL */

/* -------------------------------------------------------------- creating */

enum image_opt_type { IMAGE_SIZE, IMAGE_NUMBER, IMAGE_BOOL, IMAGE_TEXT };
/* One -o option; key NULL ends a table.  words: allowed texts, NULL any. */
struct image_create_opt {
    const char *key;
    enum image_opt_type type;
    const char *help; /* one line, as qemu-img -o help has it */
    const char *const *words;
    uint64_t min, max; /* IMAGE_SIZE, IMAGE_NUMBER; max 0: no limit */
    bool can_amend;
};
/* "encrypt.state" and what else `amend' takes for key slots. */
extern const struct image_create_opt luks_qcow2_amend_opts[];
struct image_create {
    const char *file;
    uint64_t size_bytes;
    bool has_size;            /* else the backing file's */
    const char *const *pairs; /* key, value, key, value, ..., NULL */
    const struct image_progress *progress;
    const struct secret_table *secrets;
    bool is_forced; /* amend: what may make the image unreadable */
};
/* Values from pairs, checked against the driver's table by image_create(). */
const char *image_opt_text(const struct image_create *c, const char *key);
uint64_t image_opt_u64(const struct image_create *c, const char *key,
                       uint64_t without);
bool image_opt_bool(const struct image_create *c, const char *key,
                    bool without);
/* Check pairs against the table: unknown key, bad value, range. */
int image_opts_check(const struct image_create_opt *table, const char *format,
                     const struct image_create *c, struct err *e);
/* Change options of an image that is there; its driver has amend. */
int image_amend(struct node *n, const struct image_create *c, struct err *e);
/* Create the image file (replacing what is there, as qemu-img does, but never
 * one that is in use: the lock is asked).  On failure nothing half-made stays
 * under the name. */
int image_create(const char *format, const struct image_create *c,
                 struct err *e);
/* For drivers' create: make or truncate the file, locked, as a protocol node.
 */
int image_create_file(const struct image_create *c, struct node **out,
                      struct err *e);

/* ------------------------------------------------------------ describing */

/* Sink for format-specific information: QEMU's text and JSON from one walk.
 * key NULL inside lists. */
struct info_sink {
    void (*begin)(void *arg, const char *key, bool is_list);
    void (*end)(void *arg);
    void (*text)(void *arg, const char *key, const char *value);
    void (*number)(void *arg, const char *key, uint64_t value);
    void (*truth)(void *arg, const char *key, bool value);
    void *arg;
};
struct image_info {
    uint32_t cluster_bytes;   /* 0: no clusters */
    uint64_t vm_state_offset; /* 0: none */
    bool is_dirty, is_compressed;
    bool has_specific;
};
/* On the host's disk; UINT64_MAX: not known. */
uint64_t image_allocated_bytes(const struct node *n);

/* ------------------------------------------------------------- checking */

enum { IMAGE_FIX_LEAKS = 1, IMAGE_FIX_ERRORS = 2 };
struct image_check {
    unsigned fix;
    /* One line of text for each problem (no line end), in QEMU's words. */
    void (*line)(void *arg, const char *text);
    void *arg;
    const struct image_progress *progress;
    /* results */
    uint64_t corruptions, leaks, check_errors;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t image_end_offset;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters,
        compressed_clusters;
};

/* --------------------------------------------------------------- bitmaps */

enum image_bitmap_action {
    IMAGE_BITMAP_ADD,
    IMAGE_BITMAP_REMOVE,
    IMAGE_BITMAP_CLEAR,
    IMAGE_BITMAP_ENABLE,
    IMAGE_BITMAP_DISABLE,
    IMAGE_BITMAP_MERGE,
};
/* What the driver's bitmap does to a persistent dirty bitmap. */
struct image_bitmap {
    enum image_bitmap_action action;
    const char *name;
    uint64_t granularity;    /* add: octets a bit stands for, 0: usual */
    const char *source_name; /* merge: the bitmap that is added */
    struct node *source;     /* its image, NULL: the same one */
};

/* The i-th of an image, for the driver's bitmap_nth. */
struct image_bitmap_info {
    char name[1024];
    uint64_t granularity;
    bool is_enabled, is_broken;
};

/* ------------------------------------------------------------- snapshots */

struct image_snapshot {
    char id[128], name[256];
    uint64_t vm_state_bytes;
    uint64_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock_ns;
    uint64_t icount; /* UINT64_MAX: none */
    uint64_t disk_bytes;
};
/*
 * id arguments of the driver's functions are ids as listed.  snapshot_create
 * fills s->id; the caller has drained writers for the moment of the call.
 * apply: the active disk becomes the snapshot's.  show: a read-only node shows
 * the snapshot instead of the active disk (convert -l).
 * vmstate_write may be called for an existing snapshot while the guest writes
 * to the disk; vmstate_end makes its length valid and flushes.
 */
/* By id or name, id first; -ENOENT. */
int image_snapshot_find(struct node *n, const char *id_or_name,
                        struct image_snapshot *out, struct err *e);

/* -------------------------------------------------------------- secrets */

/* -object secret,id=,data=|file=,format=raw|base64.  One table per program,
 * handed around in node_options and image_create; filled before use. */
struct secret_table;
int secret_table_create(struct secret_table **out);
void secret_table_destroy(struct secret_table *t); /* wipes */
int secret_add(struct secret_table *t, const char *id, const void *data,
               size_t bytes, struct err *e);
/* From a text or a file (the other is NULL). */
int secret_load(struct secret_table *t, const char *id, const char *data,
                const char *file, bool is_base64, struct err *e);
bool secret_has(const struct secret_table *t, const char *id);
/* Wiped; what was opened with it stays open.  false: there is none. */
bool secret_remove(struct secret_table *t, const char *id);
int secret_parse(struct secret_table *t, const char *text, struct err *e);
/* -ENOENT with a text that names the id; data stay the table's. */
int secret_find(const struct secret_table *t, const char *id,
                const uint8_t **data, size_t *bytes, struct err *e);

#endif
