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
 * that changes has its own lock.  What works on whole images (create, check,
 * snapshots) is in block/image.h.
 */
enum {
    BLOCK_SECTOR_BYTES = 512,
    BLOCK_MAX_IOV = 1024,
    BLOCK_PROBE_BYTES = 2048,
    BLOCK_MAX_CHAIN = 200, /* backing files below each other */
};

struct node;
struct image_create;
struct image_create_opt;
struct image_bitmap;
struct image_bitmap_info;
struct image_check;
struct image_info;
struct image_progress;
struct image_snapshot;
struct info_sink;
struct secret_table;
struct throttle_groups;

/* key=value the user gave for a driver (l2-cache-size, encrypt.key-secret).
 * Each driver takes what it knows; node_open refuses what nobody took. */
struct node_kv {
    const char *key, *value;
    bool is_taken;
};

struct node_options {
    bool is_readonly;
    bool is_auto_readonly;
    bool is_probed;     /* the format was guessed, not named */
    bool is_direct;     /* O_DIRECT (cache=none, directsync) */
    bool is_unsafe;     /* flushes of the file do nothing (cache=unsafe) */
    bool is_unlocked;   /* take no image locks (img -U) */
    bool is_no_backing; /* open no other file than the one named */
    bool is_check;      /* for check and repair: open what normal use refuses */
    bool is_discard;    /* discard=unmap: pass discards on to the file */
    struct node_kv *kv;
    unsigned kv_count;
    const struct secret_table *secrets;
    struct throttle_groups *groups;  /* for the filter throttle, or NULL */
    const char *faults, *log_writes; /* tests: filters above the file */
};

/* Flags of writes and zeroes. */
enum {
    NODE_REQ_UNMAP = 1,      /* zero: the space may be given back */
    NODE_REQ_COMPRESSED = 2, /* write: whole clusters, compressed */
};

/* What a range of a node holds (node_status). */
enum {
    EXTENT_DATA = 1,      /* octets that were written */
    EXTENT_ZERO = 2,      /* reads as zeros */
    EXTENT_ALLOCATED = 4, /* decided by this node, not by its backing */
    EXTENT_OFFSET = 8,    /* file_offset is valid, data lie there as they are */
    EXTENT_COMPRESSED = 16,
};
struct node_extent {
    uint64_t bytes; /* > 0; this much from the offset on is alike */
    unsigned flags;
    uint64_t file_offset;
};

/*
 * Fast path: where a range lies in a file of the host, when that is known
 * without waiting.  Between run and run_done the range stays where it is.
 */
struct node_run {
    int fd;
    uint64_t file_offset;
    uint64_t bytes;       /* > 0, maybe less than asked */
    uint32_t align_bytes; /* of offset, length and memory; 1: any (buffered) */
    bool is_zero;         /* read: zeros, no file involved */
    struct node *pinned;  /* whose run_done to call, NULL: nobody's */
    uint64_t pin;         /* the driver's */
};

struct block_driver {
    const char *name;
    const char *title;       /* one line for help */
    bool is_protocol;        /* stands on a name, not on a child */
    bool has_backing;        /* can have a backing file */
    bool can_grow;           /* a write past the end makes it longer */
    bool is_filter;          /* passes through; not named in format lists */
    const char *const *keys; /* open options it takes (NULL end), or NULL */
    /* How sure the driver is (0 not mine .. 100) from the first octets of the
     * file; NULL: never guessed. */
    int (*probe)(const uint8_t *head, size_t bytes);
    /* n->name and, for formats, n->child are set; fills size_bytes, s. */
    int (*open)(struct node *n, const struct node_options *o, struct err *e);
    void (*close)(struct node *n);

    /* 0 or -errno; the range was checked against size_bytes, bytes > 0.
     * NULL: -EROFS for what writes; discard NULL: nothing happens. */
    int (*readv)(struct node *n, uint64_t offset, const struct iovec *iov,
                 int iovcnt, size_t bytes);
    int (*writev)(struct node *n, uint64_t offset, const struct iovec *iov,
                  int iovcnt, size_t bytes, unsigned flags);
    /* NULL or -ENOTSUP: node_zero writes zeros. */
    int (*zero)(struct node *n, uint64_t offset, uint64_t bytes,
                unsigned flags);
    int (*discard)(struct node *n, uint64_t offset, uint64_t bytes);
    int (*flush)(struct node *n);
    /* NULL: all data. */
    int (*status)(struct node *n, uint64_t offset, uint64_t bytes,
                  struct node_extent *out);
    /* 0, or -EAGAIN: unknown or work to do first, use readv/writev on a
     * thread.  NULL: never.  Any thread, does not wait. */
    int (*run)(struct node *n, uint64_t offset, uint64_t bytes, bool is_write,
               struct node_run *out);
    void (*run_done)(struct node *n, const struct node_run *r);
    /* Between begin and end no request may wait for anything but the host.
     * NULL: none does. */
    void (*drain)(struct node *n, bool is_begin);

    /* Whole images; see the node_* functions in block/image.h.  NULL: cannot.
     */
    const struct image_create_opt *create_opts; /* key NULL at the end */
    const struct image_create_opt *amend_opts;  /* those of amend alone */
    int (*create)(const struct image_create *c, struct err *e);
    int (*measure)(const struct image_create *c, struct node *source,
                   uint64_t *required, uint64_t *fully_allocated,
                   struct err *e);
    int (*truncate)(struct node *n, uint64_t size_bytes,
                    const char *preallocation, bool may_shrink, struct err *e);
    int (*info)(struct node *n, struct image_info *out);
    void (*info_specific)(struct node *n, struct info_sink *out);
    int (*check)(struct node *n, struct image_check *c, struct err *e);
    int (*amend)(struct node *n, const struct image_create *c, struct err *e);
    int (*change_backing)(struct node *n, const char *file, const char *format,
                          struct err *e);
    int (*make_empty)(struct node *n, struct err *e);
    int (*bitmap)(struct node *n, const struct image_bitmap *b, struct err *e);
    bool (*bitmap_nth)(struct node *n, unsigned i,
                       struct image_bitmap_info *out);

    int (*snapshot_list)(struct node *n, struct image_snapshot **out,
                         unsigned *count, struct err *e);
    int (*snapshot_create)(struct node *n, struct image_snapshot *s,
                           struct err *e);
    int (*snapshot_apply)(struct node *n, const char *id, struct err *e);
    int (*snapshot_delete)(struct node *n, const char *id, struct err *e);
    int (*snapshot_show)(struct node *n, const char *id, struct err *e);
    int (*vmstate_write)(struct node *n, const char *id, uint64_t pos,
                         const struct iovec *iov, int iovcnt, size_t bytes);
    int (*vmstate_end)(struct node *n, const char *id, uint64_t bytes,
                       struct err *e);
    /* Octets of a finished one, in their place: not crash-safe. */
    int (*vmstate_patch)(struct node *n, const char *id, uint64_t pos,
                         const void *buf, size_t bytes);
    int (*vmstate_read)(struct node *n, const char *id, uint64_t pos,
                        const struct iovec *iov, int iovcnt, size_t bytes);
};

struct node {
    const struct block_driver *drv;
    struct node *child;   /* what it stands on; a reference */
    struct node *backing; /* where unallocated ranges come from, or NULL */
    char *name;           /* file name for messages; owned */
    char *node_name;      /* the user's (-blockdev), or NULL */
    unsigned refs;        /* loop thread or drained only */
    _Atomic uint64_t size_bytes; /* a protocol's grows by writes */
    bool is_readonly;
    uint32_t align_bytes;  /* best granularity for writes (cluster), or 0 */
    char *backing_file;    /* as the header has it; owned; NULL: none */
    char *backing_format;  /* as the header has it; owned; NULL: not said */
    const char *data_name; /* the file extents' offsets mean; NULL: name */
    bool is_encrypted;
    char warning[200]; /* one line for the user, empty if none */
    void *s;           /* driver's state; owned by the driver */
};

/* All protocols and formats, NULL at the end. */
extern const struct block_driver *const block_drivers[];
extern const struct block_driver block_file;
extern const struct block_driver block_raw;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_luks; /* luks_format.c */
extern const struct block_driver block_overlay;
extern const struct block_driver block_faulty;    /* tests */
extern const struct block_driver block_logwrites; /* tests */
const struct block_driver *block_driver_find(const char *name);

/* Open drv on child (reference taken over, also on failure; NULL for
 * protocols). */
int node_open(const struct block_driver *drv, const char *name,
              struct node *child, const struct node_options *o,
              struct node **out, struct err *e);
struct node *node_ref(struct node *n);
void node_unref(struct node *n); /* the last one closes; NULL: nothing */
/*
 * The whole graph for a file: protocol, format (probed if NULL), backing
 * chain (read-only), overlay for snapshot=on.  file may be "nbd:..." or
 * "nbd+unix://..." only when is_user_name: names inside images are files,
 * relative ones to the image's folder.
 */
int node_open_image(const char *file, const char *format, bool is_user_name,
                    bool is_snapshot, const struct node_options *o,
                    struct node **out, struct err *e);
/* The format of what is in a protocol node. */
int node_probe(struct node *file, const struct block_driver **out,
               struct err *e);
/* Full name of what n->backing_file means; caller frees. */
char *node_backing_path(const struct node *n);
/* A name inside of n: a path, in the folder of n if it is relative. */
char *node_path_beside(const struct node *n, const char *file);
/* For drivers: value of an open option, marked as taken; NULL: not given. */
const char *node_option(const struct node_options *o, const char *key);
int node_option_size(const struct node_options *o, const char *key,
                     uint64_t min, uint64_t max, uint64_t *value,
                     struct err *e); /* unchanged if not given */
int node_option_bool(const struct node_options *o, const char *key, bool *value,
                     struct err *e);

/* Range-checked access. */
int node_read(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt);
int node_write(struct node *n, uint64_t offset, const struct iovec *iov,
               int iovcnt, unsigned flags);
int node_pread(struct node *n, uint64_t offset, void *buf, size_t bytes);
int node_pwrite(struct node *n, uint64_t offset, const void *buf, size_t bytes);
int node_zero(struct node *n, uint64_t offset, uint64_t bytes, unsigned flags);
int node_flush(struct node *n);
int node_discard(struct node *n, uint64_t offset, uint64_t bytes);
int node_status(struct node *n, uint64_t offset, uint64_t bytes,
                struct node_extent *out);
int node_run(struct node *n, uint64_t offset, uint64_t bytes, bool is_write,
             struct node_run *out);
void node_run_done(const struct node_run *r);
/* The whole graph below; begin and end come in pairs. */
void node_drain(struct node *n, bool is_begin);
/* New length of a protocol or format node.  preallocation: off, metadata,
 * falloc, full. */
int node_truncate(struct node *n, uint64_t size_bytes,
                  const char *preallocation, bool may_shrink, struct err *e);

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
/* Copy between an iov (from skip on) and a buffer. */
void iov_to_buf(const struct iovec *iov, int iovcnt, size_t skip, void *buf,
                size_t bytes);
void iov_from_buf(const struct iovec *iov, int iovcnt, size_t skip,
                  const void *buf, size_t bytes);
bool buf_is_zero(const void *buf, size_t bytes);

/* Make an empty file if there is none (0644 less umask). */
int file_make(const char *file, struct err *e);

/* Image locks (lock.c) on an open descriptor.  -EBUSY: another process has
 * the image, and still had it 400 ms later. */
int image_lock(int fd, const char *name, bool is_writer, struct err *e);

#endif
