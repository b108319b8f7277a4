/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_JOB_H
#define ORRERY_BLOCK_JOB_H

#include "block/block.h"

/*
 * Long work on a drive while the guest goes on: backup, mirror, commit,
 * stream.  One job per drive, a thread each.  All functions: loop thread.
 */
enum job_kind { JOB_BACKUP, JOB_MIRROR, JOB_COMMIT, JOB_STREAM };
enum job_sync { JOB_SYNC_FULL, JOB_SYNC_TOP, JOB_SYNC_NONE };
/* As query-block-jobs names them. */
const char *job_kind_name(enum job_kind k); /* backup, mirror, commit, stream */

struct job_args {
    const char *id; /* NULL: the drive's */
    enum job_sync sync;
    const char *target, *format; /* backup, mirror; format NULL: the source's */
    bool is_target_existing;     /* mode=existing: do not create it */
    bool is_compressed;          /* backup */
    const char *target_node;     /* instead of target: a node with a name */
    bool waits_for_finalize;     /* auto-finalize=off */
    bool waits_for_dismiss;      /* auto-dismiss=off */
    const char *top, *base;      /* commit, stream: file or node names */
    const char *backing_file;    /* what the header shall say, or NULL */
    uint64_t speed;              /* octets a second, 0: no limit */
};

struct job_info {
    const char *id, *drive;
    enum job_kind kind;
    const char *status; /* as query-jobs has it */
    bool waits_for_finalize, waits_for_dismiss;
    uint64_t done, total, speed;
    bool is_ready, is_paused;
    int rc;            /* when it has ended: 0, -ECANCELED, -errno */
    const char *error; /* its text, or "" */
};

/* What a job tells the machine: loop thread, the VM lock held or not. */
enum job_event {
    JOB_READY,
    JOB_COMPLETED,
    JOB_CANCELLED,
    JOB_FAILED,
    JOB_PENDING, /* waits for job_finalize */
    JOB_STATUS,  /* status is another one now */
    JOB_EVENTS,
};
typedef void (*job_fn)(void *arg, enum job_event ev, const struct job_info *i);
void job_set_listener(struct drive_table *t, job_fn fn, void *arg);

/* Start; the job ends by itself (mirror and commit of the active image become
 * ready first and go on following the guest until job_complete). */
int job_start(struct drive_table *t, struct drive *d, enum job_kind kind,
              const struct job_args *a, struct err *e);
/* i-th job; false: there are fewer. */
bool job_nth(struct drive_table *t, unsigned i, struct job_info *out);
/* By the job's id; -ENOENT, or what the job cannot do now. */
int job_cancel(struct drive_table *t, const char *id, struct err *e);
/* A job that is ready leaves a good copy, and is told of as completed. */
int job_cancel_softly(struct drive_table *t, const char *id, struct err *e);
int job_finalize(struct drive_table *t, const char *id, struct err *e);
int job_dismiss(struct drive_table *t, const char *id, struct err *e);
int job_complete(struct drive_table *t, const char *id, struct err *e);
int job_pause(struct drive_table *t, const char *id, struct err *e);
int job_resume(struct drive_table *t, const char *id, struct err *e);
int job_set_speed(struct drive_table *t, const char *id, uint64_t speed,
                  struct err *e);
bool job_on_drive(const struct drive *d);
/* Cancel all and wait; before the drives go. */
void job_table_stop(struct drive_table *t);

/* HMP `commit': write an overlay's changes into its backing file and empty
 * it; the guest waits. */
int drive_commit(struct drive *d, struct err *e);

/* blockdev-snapshot-sync: from now on changes go to a new image (format qcow2
 * unless given) that stands on the present one.  Quiesced meanwhile. */
int drive_overlay(struct drive *d, const char *file, const char *format,
                  bool is_existing, struct err *e);

#endif
