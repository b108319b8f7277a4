/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_BLOCK_H
#define ORRERY_BLOCK_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "block/throttle.h"
#include "core/base/err.h"

/*
 * Block layer as devices, monitor and image tool see it.  A struct blk is the
 * root of a graph of nodes (protocol, format, filters); format-neutral and
 * asynchronous.  All functions: loop thread or with the VM lock held unless
 * noted; completion callbacks run on the loop thread without locks.
 */
struct loop;
struct blk;
struct node;
struct secret_table;
struct throttle_group;

/* detect-zeroes= */
enum blk_detect { BLK_DETECT_OFF, BLK_DETECT_ON, BLK_DETECT_UNMAP };
/* rerror=, werror=; enospc stops when the host's disk is full, else reports */
enum blk_on_error {
    BLK_REPORT,
    BLK_IGNORE,
    BLK_STOP,
    BLK_ENOSPC,
    BLK_AS_OPENED, /* for blk_set_on_error */
};

enum { BLK_MAX_EXTRA = 6, BLK_EXTRA_KEY = 48, BLK_EXTRA_VALUE = 208 };

/* Start with blk_options_init; all zero is right for tests and tools. */
struct blk_options {
    const char *format; /* NULL: probe (raw if nothing matches) */
    bool is_readonly;
    bool is_snapshot;      /* writes to an unlinked temporary overlay */
    bool is_auto_readonly; /* fall back to read-only if not writable */
    bool passes_discard;   /* discard=unmap */
    bool is_threads;       /* aio=threads: no io_uring */
    bool is_inactive;      /* another process still writes it: no locks */
    bool is_tool;          /* the loop thread calls blk_wait */
    const char *cache;     /* QEMU's cache= names, NULL = writeback */
    enum blk_detect detect;
    enum blk_on_error on_read_error, on_write_error;
    const struct secret_table *secrets; /* for encrypted images, or NULL */
    struct throttle_limits limits;      /* for drive_set_limits */
    char throttle_group[THROTTLE_GROUP_NAME];
    struct blk_extra { /* for the format's driver: encrypt.key-secret, ... */
        char key[BLK_EXTRA_KEY], value[BLK_EXTRA_VALUE];
    } extra[BLK_MAX_EXTRA];
    unsigned extra_count;
};
void blk_options_init(struct blk_options *o); /* as -drive without any */
/* One option as -drive spells it (cache, aio, discard, detect-zeroes, rerror,
 * werror and those of the formats): 1 taken, 0 not one of these, or an error.
 */
int blk_option_set(struct blk_options *o, const char *key, const char *value,
                   struct err *e);
/* One pair of "key=value,key=value"; ",," in a value is a comma.  What does not
 * fit is cut.  Returns what is left of the text. */
const char *blk_options_next(const char *at, char *key, size_t key_cap,
                             char *value, size_t value_cap);
/* Image formats, number 0 and on; NULL at the end. */
const char *blk_format_at(unsigned n, bool *is_read_only);
/* All of it. */
int blk_options_parse(struct blk_options *o, const char *text, struct err *e);

/* Open file.  Refuses what is not a regular file or block device within a
 * second; one clear line.  Takes the image locks. */
int blk_open(struct loop *l, const char *file, const struct blk_options *o,
             struct blk **out, struct err *e);
void blk_close(struct blk *b); /* drains, flushes */
/* The same with options of the graph, "file.driver=nbd,file.server.type=unix",
 * which may name nodes of the table.  file may be NULL. */
struct drive_table;
int blk_open_tree(struct drive_table *t, const char *tree, const char *file,
                  const struct blk_options *o, struct blk **out, struct err *e);
/* Option that names the secret of an encrypted image; NULL: needs none.  To
 * open one without is -ENOKEY. */
const char *blk_secret_key(const char *file, const struct blk_options *o);
/* The user's name for an image means a server, not a file ("nbd:..."). */
bool blk_is_remote_name(const char *file);

uint64_t blk_size_bytes(const struct blk *b);
bool blk_is_readonly(const struct blk *b);
const char *blk_file(const struct blk *b);
const char *blk_format(const struct blk *b);
/* When writes reach the disk, in the words of `info block`. */
const char *blk_cache_text(const struct blk *b);
struct blk_look { /* what `info block` shows besides */
    bool is_encrypted;
    enum blk_detect detect;
    const char *backing_file; /* as the image names it; NULL: none */
    unsigned depth;           /* backing files below each other */
};
void blk_look(const struct blk *b, struct blk_look *out);
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
/* Now, on this thread, if the octets are in memory and nothing has to be waited
 * for: 0, or -EAGAIN: use blk_read.  Any thread. */
int blk_read_now(struct blk *b, uint64_t offset, void *buf, size_t bytes);
int64_t blk_write(struct blk *b, uint64_t offset, const struct iovec *iov,
                  int iovcnt, bool is_fua, blk_done done, void *arg);
int64_t blk_write_zeros(struct blk *b, uint64_t offset, uint64_t bytes,
                        bool may_unmap, blk_done done, void *arg);
int64_t blk_flush(struct blk *b, blk_done done, void *arg);
int64_t blk_discard(struct blk *b, uint64_t offset, uint64_t bytes,
                    blk_done done, void *arg);
/* A request that nothing has begun, or that is held after an error, completes
 * with -ECANCELED; one that is being served completes as it does, and if it
 * fails that is not told but to done.  An unknown id is ignored. */
void blk_cancel(struct blk *b, int64_t id);
/* Wait until no request is in flight (held ones are not).  Loop thread;
 * callbacks of completed requests run inside.  VM lock not held, or all callbacks cope with that
 * (vm_is_locked). */
void blk_drain(struct blk *b);
/* Until at least one done has been called, unless none is in flight.  For
 * tools that opened with is_tool, instead of loop_step: this thread serves
 * requests itself meanwhile. */
void blk_wait(struct blk *b);

/*
 * Errors: the stop function is told of each, on the loop thread, without locks.
 * Those that stop the machine (action BLK_STOP; werror=stop, enospc) hold the
 * request, its done is not called; blk_retry starts all held requests again.
 * Without a stop function such errors are reported to the device.  Any thread.
 */
struct blk_error {
    bool is_read;
    enum blk_on_error action; /* BLK_REPORT, BLK_IGNORE or BLK_STOP */
    int rc;                   /* -errno */
    uint64_t offset, bytes;
};
typedef void (*blk_stop_fn)(void *arg, struct blk *b,
                            const struct blk_error *error);
void blk_set_stop(struct blk *b, blk_stop_fn stop, void *arg);
/* Instead of what the image was opened with; BLK_AS_OPENED keeps that.  Before
 * the first request. */
void blk_set_on_error(struct blk *b, enum blk_on_error on_read,
                      enum blk_on_error on_write);
/* Writes are on the disk when they are done (cache=writethrough). */
bool blk_is_writethrough(const struct blk *b);
void blk_retry(struct blk *b);
unsigned blk_held(struct blk *b);
/* Since the last retry: "ok", "nospace" or "failed". */
const char *blk_io_status(struct blk *b);

/* New requests wait, begun ones are over when quiesce returns (their callbacks
 * come as ever); nests.  Any thread but a worker's. */
void blk_quiesce(struct blk *b);
void blk_resume(struct blk *b);

/* Limits for reads and writes; the group stays the caller's, NULL: none.  Loop
 * thread.  0 or -ENOMEM. */
int blk_set_throttle(struct blk *b, struct throttle_group *g);

struct blk_op_stats {
    uint64_t operations, bytes, failed, total_ns;
};
struct blk_stats {
    struct blk_op_stats read, write, flush, discard;
};
void blk_get_stats(struct blk *b, struct blk_stats *out);

/*
 * Handing an image over to another process (migration).  While inactive it is
 * read-only and unlocked, though blk_is_readonly says what it will be; opened
 * so with is_inactive.  Machine stopped.  activate fails when the other one
 * still has it.
 */
bool blk_is_inactive(const struct blk *b);
int blk_activate(struct blk *b, struct err *e);
int blk_inactivate(struct blk *b, struct err *e);

/* For block/ itself: a blk on a graph that is there (a reference is taken). */
int blk_open_node(struct loop *l, struct node *n, const struct blk_options *o,
                  struct blk **out, struct err *e);
/* For block/ itself (jobs): the graph below.  Change it only while quiesced;
 * no reference is given or taken. */
struct node *blk_root(struct blk *b);
void blk_set_root(struct blk *b, struct node *root);
void blk_unref(struct blk *b);

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
    /* Open or close the tray, whatever the guest said; NULL: there is none.
     * VM lock held. */
    void (*set_tray)(void *arg, bool is_open);
    /* The disk has another size now.  VM lock held.  NULL: the device looks
     * when it needs it. */
    void (*resized)(void *arg);
    void *arg;
};
struct drive_table; /* all drives of a VM; service "drives" */

int drive_table_create(struct loop *l, struct drive_table **out);
void drive_table_destroy(struct drive_table *t);
/* For every medium, also later ones: what happens on an error that stops the
 * machine, and the retry when it goes on. */
void drive_table_set_stop(struct drive_table *t, blk_stop_fn stop, void *arg);
void drive_table_retry(struct drive_table *t);
struct drive *drive_of_blk(struct drive_table *t, const struct blk *b);
/* All media: can they be handed over, hand them over, take them back (each
 * does nothing with what is there already), wait for what is in flight. */
int drives_check_handover(struct drive_table *t, struct err *e);
int drives_inactivate(struct drive_table *t, struct err *e);
int drives_activate(struct drive_table *t, struct err *e);
void drives_drain(struct drive_table *t);
/*
 * A snapshot's disk, and the machine's state in it, for other files.  Open and
 * close: loop thread; the rest: any one thread, guest running.  The snapshot
 * has to stay meanwhile.
 */
struct disk_export;
int disk_export_open(struct drive *d, const char *snapshot,
                     struct disk_export **out, struct err *e);
void disk_export_close(struct disk_export *x); /* NULL is allowed */
uint64_t disk_export_bytes(const struct disk_export *x);
uint64_t disk_export_state_bytes(const struct disk_export *x);
int disk_export_read_state(struct disk_export *x, uint64_t pos, void *buf,
                           size_t bytes);
/* Into a new, compressed qcow2 image; *done grows by its octets.  On failure
 * there is no file. */
int disk_export_run(struct disk_export *x, const char *file,
                    const atomic_bool *is_cancelled, _Atomic uint64_t *done,
                    struct err *e);
/* id e.g. "ide1-cd0"; b may be NULL (empty, removable only). */
int drive_add(struct drive_table *t, const char *id, bool is_removable,
              bool is_cdrom, struct blk *b, struct drive **out, struct err *e);
/*
 * drive_add and drive_del of a machine that runs: "if=none,id=x,file=y" and what
 * else -drive takes.  A drive that a device shows cannot go (-EBUSY).  VM lock
 * held.
 */
int drive_add_text(struct drive_table *t, const char *text, struct err *e);
int drive_del_locked(struct drive_table *t, const char *id, struct err *e);
/* Also a node that no drive shows yet, by its name. */
struct drive *drive_find(struct drive_table *t, const char *id);
/* By the name of the device that shows it. */
struct drive *drive_find_device(struct drive_table *t, const char *device);
struct drive *drive_next(struct drive_table *t,
                         struct drive *d); /* NULL: first */
const char *drive_id(const struct drive *d);
/* It shows a node with a name (-blockdev); its id is that name. */
bool drive_is_node(const struct drive *d);
bool drive_is_removable(const struct drive *d);
bool drive_is_cdrom(const struct drive *d);
/* What the device that shows it is; before the guest runs. */
void drive_set_kind(struct drive *d, bool is_removable, bool is_cdrom);
struct blk *drive_blk(struct drive *d); /* NULL: no medium */
/* Limits, which stay when the medium is changed.  They are those of a group:
 * group NULL keeps the one the drive is in, or makes one of its name.  All
 * zero: no limits, the drive leaves its group. */
int drive_set_limits(struct drive *d, const struct throttle_limits *l,
                     const char *group, struct err *e);
/* What is in force; the group's name, NULL: no limits. */
const char *drive_limits(const struct drive *d, struct throttle_limits *out);
/* rerror= or werror= (key) of the device, which goes before the drive's and
 * stays when the medium is changed; "auto": the drive's.  -EINVAL. */
int drive_set_on_error(struct drive *d, const char *key, const char *value,
                       struct err *e);
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

/*
 * One step at a time, with QEMU's texts (blockdev-open-tray and its like).
 * VM lock held.  *has_moved: the tray is somewhere else now.  A guest that
 * locked the tray is asked; -EAGAIN then, without a text.
 */
int drive_open_tray_locked(struct drive *d, bool is_forced, bool *has_moved,
                           struct err *e);
int drive_close_tray_locked(struct drive *d, bool *has_moved, struct err *e);
int drive_take_medium_locked(struct drive *d, struct err *e);
/* b is taken over on success. */
int drive_put_medium_locked(struct drive *d, struct blk *b, struct err *e);
bool drive_is_tray_open(const struct drive *d);
bool drive_has_tray(const struct drive *d);

/* block_resize: the medium's new size; what is beyond it is lost.  VM lock
 * held. */
int drive_resize_locked(struct drive *d, uint64_t size_bytes, struct err *e);

#endif
