/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_JOB_PRIV_H
#define ORRERY_BLOCK_JOB_PRIV_H

#include <pthread.h>

#include "block/block_int.h"
#include "block/drive_priv.h"

/*
 * Inside of jobs: job.c owns the thread and the life of a job, each kind gives
 * its steps.  start and finish run on the loop thread with the drive quiesced,
 * run on the job's thread.
 */
enum { JOB_CHUNK_BYTES = 1 << 20 };

struct job;
struct job_ops {
    /* Open what is needed, put a gate on the drive (job_gate). */
    int (*start)(struct job *j, const struct job_args *a, struct err *e);
    int (*run)(struct job *j);            /* 0, -ECANCELED, -errno */
    int (*finish)(struct job *j, int rc); /* the last step; rc of run */
    void (*destroy)(struct job *j);
};

struct job {
    const struct job_ops *ops;
    enum job_kind kind;
    char *id;
    const char *status;
    bool waits_for_finalize, waits_for_dismiss;
    bool is_soft;     /* cancelled, but what is there is good */
    struct job *next; /* in the list of those to be dismissed */
    struct drive *drive;
    struct node *source; /* the graph the guest saw when it began; no ref */
    struct node *gate;   /* on top of it, or NULL; a reference */
    struct node *target; /* or NULL; a reference */
    pthread_t thread;
    uint8_t *buf; /* JOB_CHUNK_BYTES, the job thread's */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    uint64_t done, total, speed;
    bool is_cancelled, is_completing, is_paused, is_ready, is_told_ready;
    bool is_over; /* run has returned */
    int rc;
    struct err error;

    /* Backup, mirror: a bit per chunk. */
    uint8_t *bits;
    uint64_t chunks;
    uint32_t chunk_bytes;
    bool is_compressed;
    pthread_mutex_t copy_lock; /* backup: one copy before write at a time */
    /* Commit, stream. */
    struct node *top, *base, *above; /* no references */
    char *backing_file;
};

extern const struct job_ops job_backup_ops, job_mirror_ops, job_commit_ops,
    job_stream_ops;

/* Put a gate over the drive's root; quiesced. */
struct gate_hooks;
int job_gate(struct job *j, const struct gate_hooks *hooks, struct err *e);
/* Take it away; the drive's new root comes with a reference (the job has one
 * to the source). */
void job_ungate(struct job *j, struct node *root);
/* Job thread, between two pieces of work: waits while paused or over speed.
 * -ECANCELED when the job shall end. */
int job_breathe(struct job *j, uint64_t bytes_done);
/* The job follows the guest: tells once that it is ready. */
void job_is_ready(struct job *j);
bool job_is_completing(struct job *j);
/* Wait for a change or some time. */
void job_nap(struct job *j);
/* Bitmap of chunks; with its own lock. */
int job_make_bits(struct job *j, uint64_t disk_bytes, struct err *e);
bool job_bit_take(struct job *j, uint64_t *chunk); /* next set one, cleared */
bool job_bit_test_and_clear(struct job *j, uint64_t chunk);
/* There is more to do by the chunks that were not set. */
void job_bits_set(struct job *j, uint64_t offset, uint64_t bytes);
/* Create (unless existing) and open the target. */
int job_open_target(struct job *j, const struct job_args *a, struct err *e);
/* Set the bits of what sync= asks for. */
int job_fill_bits(struct job *j, enum job_sync sync);

/* Commit of the active image: a mirror whose target is the base. */
int job_active_commit_start(struct job *j, struct err *e);
int job_active_commit_finish(struct job *j, int rc);
int job_follow(struct job *j); /* run of everything that follows the guest */

#endif
