/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_SAVEVM_H
#define ORRERY_MONITOR_SAVEVM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * Snapshots of the running machine.  Saving stops it only while the devices
 * are written down, the disks take their snapshots and the process forks; a
 * frozen copy in a child is then compressed and written in the background.
 * Loading reads and checks in the background and stops the machine only to
 * put what was read into it.  Loop thread, VM lock held, except where said.
 */
struct vm;
struct monitor_session;
struct snapshot_set;
struct json_out;

enum savevm_kind { SAVEVM_SAVE, SAVEVM_LOAD, SAVEVM_DELETE };

struct savevm_request {
    enum savevm_kind kind;
    const char *name;
    bool may_replace;         /* save: one of that name is deleted first */
    uint64_t rate;            /* save: octets a second, 0: no limit */
    const char *note;         /* save: or NULL */
    struct snapshot_set *set; /* NULL: all writable drives; becomes ours */
    const char *job;          /* QMP's job-id, or NULL */
    /* Whoever is told what came of it; one that cannot wait (no wake) gets
     * its answer at once, and everything else waits meanwhile. */
    struct monitor_session *session;
};

/*
 * Begin, or wait until what goes on is over.  With a job: 0 once it is made.
 * Else what there is to say goes to out, now or (session->is_waiting is set)
 * to the session later.
 */
int savevm_submit_locked(struct vm *vm, struct savevm_request *r, FILE *out,
                         struct err *e);
/* Wait until all that was begun is over: 0 or how the last saving failed, now
 * or, is_waiting set, later. */
int savevm_wait_locked(struct vm *vm, struct monitor_session *session,
                       struct err *e);
/* Stop what goes on; a snapshot that was being written is deleted. */
int savevm_cancel_locked(struct vm *vm, struct err *e);
/* Lines about what goes on; false: nothing does. */
bool savevm_progress_locked(struct vm *vm, FILE *out);
/* Name of what the machine goes on from, "" : nothing. */
const char *savevm_current_locked(struct vm *vm);

/* Before the machine runs (-loadvm): at once. */
int savevm_load_now_locked(struct vm *vm, const char *name, struct err *e);
/* A session is about to be gone, or gave up waiting. */
void savevm_forget_locked(struct vm *vm, struct monitor_session *session);
/* Before the drives go: waits for what is being written, lock not held. */
void savevm_end(struct vm *vm);

/* ---- QMP's jobs ---- */

void savevm_print_jobs_locked(struct vm *vm, struct json_out *o);
/* verb: "dismiss", "cancel", "pause" ...; -ENOENT: no such job. */
int savevm_job_verb_locked(struct vm *vm, const char *id, const char *verb,
                           struct err *e);
const char *savevm_kind_name(enum savevm_kind k); /* snapshot-save ... */

#endif
