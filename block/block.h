/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_BLOCK_H
#define ORRERY_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"

/*
 * Block layer as devices, monitor and image tool see it.  A struct blk is the
 * root of a graph of nodes (protocol, format, filters); format-neutral and
 * asynchronous.  All functions: loop thread or with the VM lock held unless
 * noted; completion callbacks run on the loop thread without locks.
 */
struct loop;
struct blk;

struct blk_options {
    const char *format; /* NULL: probe (raw if nothing matches) */
    bool is_readonly;
    bool is_snapshot;      /* writes to an unlinked temporary overlay */
    bool is_auto_readonly; /* fall back to read-only if not writable */
    const char *cache;     /* QEMU's cache= names, NULL = writeback */
};

/* Open file.  Refuses what is not a regular file or block device within a
 * second; one clear line.  Takes the image locks. */
int blk_open(struct loop *l, const char *file, const struct blk_options *o,
             struct blk **out, struct err *e);
void blk_close(struct blk *b); /* drains, flushes */

uint64_t blk_size_bytes(const struct blk *b);
bool blk_is_readonly(const struct blk *b);
const char *blk_file(const struct blk *b);
const char *blk_format(const struct blk *b);
/* When writes reach the disk, in the words of `info block`. */
const char *blk_cache_text(const struct blk *b);
/* One line for the user about the image, NULL if there is nothing to say. */
const char *blk_warning(const struct blk *b);

/* Completion: rc = 0 or -errno. */
typedef void (*blk_done)(void *arg, int rc);

/*
 * Start a transfer; iov is copied, the buffers stay the caller's until done
 * runs.  offset and length any multiple of 1 byte (the layer aligns).  Reads
 * past the end give zeros up to the sector size boundary, beyond -EIO.
 * Returns a request id (> 0), and then done is always called, also after
 * blk_cancel; or -EINVAL, -ENOMEM, and then it is not called.
 * A flush covers the writes whose done has been called before it.
 */
int64_t blk_read(struct blk *b, uint64_t offset, const struct iovec *iov,
                 int iovcnt, blk_done done, void *arg);
int64_t blk_write(struct blk *b, uint64_t offset, const struct iovec *iov,
                  int iovcnt, bool is_fua, blk_done done, void *arg);
int64_t blk_flush(struct blk *b, blk_done done, void *arg);
int64_t blk_discard(struct blk *b, uint64_t offset, uint64_t bytes,
                    blk_done done, void *arg);
/* A request that no thread has begun completes with -ECANCELED; one that is
 * being served completes as it does.  An unknown id is ignored. */
void blk_cancel(struct blk *b, int64_t id);
/* Wait until no request is in flight.  Loop thread; callbacks of completed
 * requests run inside.  VM lock not held, or all callbacks cope with that
 * (vm_is_locked). */
void blk_drain(struct blk *b);

/* Synchronous, for loaders and the image tool. */
int blk_pread(struct blk *b, uint64_t offset, void *buf, size_t bytes);
int blk_pwrite(struct blk *b, uint64_t offset, const void *buf, size_t bytes);

/* Drives: a named slot a guest device shows, with exchangeable medium.  The
 * device sets ops; monitor and UI eject and change. */
struct drive;
struct drive_ops {
    void (*medium_changed)(void *arg); /* VM lock held */
    bool (*is_locked)(void *arg);      /* guest locked the tray */
    void (*eject_request)(void *arg);  /* ask the guest politely */
    bool (*is_tray_open)(void *arg);
    void *arg;
};
struct drive_table; /* all drives of a VM; service "drives" */

int drive_table_create(struct loop *l, struct drive_table **out);
void drive_table_destroy(struct drive_table *t);
/* id e.g. "ide1-cd0"; b may be NULL (empty, removable only). */
int drive_add(struct drive_table *t, const char *id, bool is_removable,
              bool is_cdrom, struct blk *b, struct drive **out, struct err *e);
struct drive *drive_find(struct drive_table *t, const char *id);
struct drive *drive_next(struct drive_table *t,
                         struct drive *d); /* NULL: first */
const char *drive_id(const struct drive *d);
bool drive_is_removable(const struct drive *d);
bool drive_is_cdrom(const struct drive *d);
struct blk *drive_blk(struct drive *d); /* NULL: no medium */
/* Name of the device that shows the drive (kept by the caller); NULL: none. */
void drive_set_device(struct drive *d, const char *device);
const char *drive_device(const struct drive *d);
void drive_set_ops(struct drive *d, const struct drive_ops *ops);
const struct drive_ops *drive_get_ops(const struct drive *d);
/* Replace the medium (NULL b: eject).  VM lock held; the old one is drained
 * and closed; b is taken over on success only.  -EBUSY when locked and not
 * is_forced, -EINVAL when the drive is not removable. */
int drive_set_medium_locked(struct drive *d, struct blk *b, bool is_forced,
                            struct err *e);

#endif
