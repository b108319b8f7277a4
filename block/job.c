/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: their thread, their life, and what the monitor does with them. */
#include "block/job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/gate.h"
#include "block/job_priv.h"
#include "block/opts.h"
#include "core/loop/loop.h"

static const struct {
    const char *name;
    const struct job_ops *ops;
} kinds[] = {
    [JOB_BACKUP] = { "backup", &job_backup_ops },
    [JOB_MIRROR] = { "mirror", &job_mirror_ops },
    [JOB_COMMIT] = { "commit", &job_commit_ops },
    [JOB_STREAM] = { "stream", &job_stream_ops },
};

const char *job_kind_name(enum job_kind k)
{
    return kinds[k].name;
}

void job_set_listener(struct drive_table *t, job_fn fn, void *arg)
{
    t->job_event = fn;
    t->job_arg = arg;
}

static void describe(struct job *j, struct job_info *i)
{
    pthread_mutex_lock(&j->lock);
    *i = (struct job_info){ .id = j->id,
                            .drive = drive_id(j->drive),
                            .kind = j->kind,
                            .status = j->status,
                            .waits_for_finalize = j->waits_for_finalize,
                            .waits_for_dismiss = j->waits_for_dismiss,
                            .done = j->done,
                            .total = j->total,
                            .speed = j->speed,
                            .is_ready = j->is_ready,
                            .is_paused = j->is_paused,
                            .rc = j->rc,
                            .error = j->error.text };
    pthread_mutex_unlock(&j->lock);
}

static void tell(struct job *j, enum job_event ev)
{
    struct drive_table *t = j->drive->table;
    struct job_info i;

    if (t->job_event == NULL) return;
    describe(j, &i);
    t->job_event(t->job_arg, ev, &i);
}

/* Loop thread. */
static void set_status(struct job *j, const char *status)
{
    pthread_mutex_lock(&j->lock);
    j->status = status;
    pthread_mutex_unlock(&j->lock);
    tell(j, JOB_STATUS);
}

/* ------------------------------------------------------- for the kinds */

int job_gate(struct job *j, const struct gate_hooks *hooks, struct err *e)
{
    int rc = gate_open(j->source, hooks, &j->gate, e);

    /* The drive's reference to the source becomes the job's. */
    if (rc == 0) blk_set_root(drive_blk(j->drive), node_ref(j->gate));
    return rc;
}

void job_ungate(struct job *j, struct node *root)
{
    blk_set_root(drive_blk(j->drive), root);
    node_unref(j->gate);
}

static void wait_locked(struct job *j, uint64_t ns)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / 1000000000u);
    t.tv_nsec = (long)(ns % 1000000000u);
    pthread_cond_timedwait(&j->changed, &j->lock, &t);
}

int job_breathe(struct job *j, uint64_t bytes_done)
{
    uint64_t start = loop_now_ns();
    int rc;

    pthread_mutex_lock(&j->lock);
    j->done += bytes_done;
    while (!j->is_cancelled) {
        uint64_t now = loop_now_ns(), due = start;

        if (j->is_paused) {
            pthread_cond_wait(&j->changed, &j->lock);
            continue;
        }
        if (j->speed > 0)
            due += (uint64_t)((double)bytes_done * 1e9 / (double)j->speed);
        if (now >= due) break;
        wait_locked(j, due - now);
    }
    rc = j->is_cancelled ? -ECANCELED : 0;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

void job_nap(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    if (!j->is_cancelled && !j->is_completing) wait_locked(j, 100000000);
    pthread_mutex_unlock(&j->lock);
}

bool job_is_completing(struct job *j)
{
    bool is;

    pthread_mutex_lock(&j->lock);
    is = j->is_completing;
    pthread_mutex_unlock(&j->lock);
    return is;
}

/* ------------------------------------------------------- life and death */

static void destroy(struct job *j)
{
    if (j->ops->destroy != NULL) j->ops->destroy(j);
    node_unref(j->gate);
    node_unref(j->target);
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->copy_lock);
    free(j->backing_file);
    free(j->bits);
    free(j->buf);
    free(j->id);
    free(j);
}

/* Nothing holds the drive any more. */
static void let_go(struct job *j)
{
    struct drive_table *t = j->drive->table;

    j->drive->job = NULL;
    if (!j->waits_for_dismiss) {
        set_status(j, "null");
        destroy(j);
        return;
    }
    node_unref(j->gate);
    node_unref(j->target);
    j->gate = j->target = NULL;
    j->next = t->over;
    t->over = j;
}

/* The last step, and the news of it. */
static void finish(struct job *j)
{
    struct blk *b = drive_blk(j->drive);
    int rc;

    blk_quiesce(b);
    rc = j->ops->finish == NULL ? j->rc : j->ops->finish(j, j->rc);
    if (j->gate != NULL && blk_root(b) == j->gate) job_ungate(j, j->source);
    blk_resume(b);
    if (rc == -ECANCELED && j->is_soft) rc = 0;
    j->rc = rc;
    if (rc < 0 && j->error.text[0] == '\0')
        err_set(&j->error, rc, "%s", strerror(-rc));
    tell(j, rc == 0            ? JOB_COMPLETED
            : rc == -ECANCELED ? JOB_CANCELLED
                               : JOB_FAILED);
    set_status(j, "concluded");
    let_go(j);
}

/* Loop thread: the job's thread has nothing more to do. */
static void conclude(void *arg)
{
    struct job *j = arg;

    pthread_join(j->thread, NULL);
    if (j->rc < 0 && !(j->rc == -ECANCELED && j->is_soft)) {
        set_status(j, "aborting");
        finish(j);
        return;
    }
    set_status(j, "waiting");
    set_status(j, "pending");
    if (j->waits_for_finalize && !j->is_cancelled) {
        tell(j, JOB_PENDING);
        return;
    }
    finish(j);
}

static void ready_on_loop(void *arg)
{
    struct drive *d = arg;

    if (d->job == NULL || !d->job->is_ready) return;
    if (!d->job->is_over) set_status(d->job, "ready");
    tell(d->job, JOB_READY);
}

void job_is_ready(struct job *j)
{
    bool is_news;

    pthread_mutex_lock(&j->lock);
    is_news = !j->is_told_ready;
    j->is_ready = j->is_told_ready = true;
    pthread_mutex_unlock(&j->lock);
    if (is_news) loop_post(j->drive->table->loop, ready_on_loop, j->drive);
}

static void *job_thread(void *arg)
{
    struct job *j = arg;
    int rc = j->ops->run(j);

    pthread_mutex_lock(&j->lock);
    j->rc = rc;
    j->is_over = true;
    pthread_mutex_unlock(&j->lock);
    loop_post(j->drive->table->loop, conclude, j);
    return NULL;
}

static struct job *job_new(struct drive *d, enum job_kind kind,
                           const struct job_args *a)
{
    struct job *j = calloc(1, sizeof(*j));
    pthread_condattr_t attr;

    if (j == NULL) return NULL;
    j->ops = kinds[kind].ops;
    j->kind = kind;
    j->drive = d;
    j->status = "created";
    j->waits_for_finalize = a->waits_for_finalize;
    j->waits_for_dismiss = a->waits_for_dismiss;
    j->speed = a->speed;
    j->source = blk_root(drive_blk(d));
    j->id = strdup(a->id != NULL ? a->id : drive_id(d));
    j->buf = aligned_alloc(4096, JOB_CHUNK_BYTES);
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->copy_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (j->id == NULL || j->buf == NULL) {
        destroy(j);
        return NULL;
    }
    return j;
}

static int start_thread(struct job *j)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&j->thread, NULL, job_thread, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}

static struct job *find(struct drive_table *t, const char *id)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->job != NULL && strcmp(d->job->id, id) == 0) return d->job;
    }
    for (struct job *j = t->over; j != NULL; j = j->next) {
        if (strcmp(j->id, id) == 0) return j;
    }
    return NULL;
}

/* A letter, then letters, digits and - . _; the name of a drive always is. */
static int check_id(const char *id, struct err *e)
{
    if (id == NULL || opts_is_id(id)) return 0;
    return err_set(e, -EINVAL, "Invalid job ID '%.60s'", id);
}

int job_start(struct drive_table *t, struct drive *d, enum job_kind kind,
              const struct job_args *a, struct err *e)
{
    struct blk *b = drive_blk(d);
    struct job *j;
    int rc;

    if (b == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", drive_id(d));
    if (d->job != NULL)
        return err_set(e, -EBUSY,
                       "Node '%s' is busy: block device is in use by block "
                       "job: %s",
                       drive_id(d), job_kind_name(d->job->kind));
    rc = check_id(a->id, e);
    if (rc < 0) return rc;
    if (find(t, a->id != NULL ? a->id : drive_id(d)) != NULL)
        return err_set(e, -EEXIST, "Job ID '%s' already in use",
                       a->id != NULL ? a->id : drive_id(d));
    j = job_new(d, kind, a);
    if (j == NULL) return err_set(e, -ENOMEM, "out of memory");
    blk_quiesce(b);
    rc = j->ops->start(j, a, e);
    if (rc == 0) {
        rc = start_thread(j);
        if (rc < 0) err_set(e, rc, "no thread: %s", strerror(-rc));
    }
    if (rc < 0 && j->gate != NULL) job_ungate(j, j->source);
    if (rc == 0) d->job = j;
    blk_resume(b);
    if (rc < 0) {
        destroy(j);
        return rc;
    }
    tell(j, JOB_STATUS);
    set_status(j, "running");
    return 0;
}

bool job_on_drive(const struct drive *d)
{
    return d->job != NULL;
}

bool job_nth(struct drive_table *t, unsigned i, struct job_info *out)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->job == NULL || i-- > 0) continue;
        describe(d->job, out);
        return true;
    }
    for (struct job *j = t->over; j != NULL; j = j->next) {
        if (i-- > 0) continue;
        describe(j, out);
        return true;
    }
    return false;
}

/* ------------------------------------------------------------- control */

static struct job *need(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = find(t, id);

    if (j == NULL) err_set(e, -ENOENT, "Block job '%s' not found", id);
    return j;
}

static void set(struct job *j, bool *flag, bool value)
{
    pthread_mutex_lock(&j->lock);
    *flag = value;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

static int refuse(const struct job *j, const char *verb, struct err *e)
{
    return err_set(e, -EBUSY,
                   "Job '%s' in state '%s' cannot accept command verb '%s'",
                   j->id, j->status, verb);
}

/* Its thread has ended: it waits for job_finalize. */
static bool is_pending(const struct job *j)
{
    return strcmp(j->status, "pending") == 0;
}

static bool is_concluded(const struct job *j)
{
    return strcmp(j->status, "concluded") == 0;
}

static int cancel(struct drive_table *t, const char *id, bool is_soft,
                  struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    if (is_concluded(j)) return refuse(j, "cancel", e);
    if (is_pending(j)) {
        j->rc = -ECANCELED;
        set_status(j, "aborting");
        finish(j);
        return 0;
    }
    j->is_soft = is_soft && j->is_ready;
    set(j, &j->is_cancelled, true);
    return 0;
}

int job_cancel(struct drive_table *t, const char *id, struct err *e)
{
    return cancel(t, id, false, e);
}

int job_cancel_softly(struct drive_table *t, const char *id, struct err *e)
{
    return cancel(t, id, true, e);
}

int job_complete(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    if (!j->is_ready || j->is_over) return refuse(j, "complete", e);
    set(j, &j->is_completing, true);
    return 0;
}

int job_finalize(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    if (!is_pending(j)) return refuse(j, "finalize", e);
    finish(j);
    return 0;
}

int job_dismiss(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = need(t, id, e), **at = &t->over;

    if (j == NULL) return -ENOENT;
    if (!is_concluded(j)) return refuse(j, "dismiss", e);
    set_status(j, "null");
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    destroy(j);
    return 0;
}

int job_pause(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    if (j->is_over) return refuse(j, "pause", e);
    if (j->is_paused) return err_set(e, -EBUSY, "Job is already paused");
    set(j, &j->is_paused, true);
    set_status(j, j->is_ready ? "standby" : "paused");
    return 0;
}

int job_resume(struct drive_table *t, const char *id, struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    if (j->is_over) return refuse(j, "resume", e);
    if (!j->is_paused)
        return err_set(e, -EINVAL, "Can't resume a job that was not paused");
    set(j, &j->is_paused, false);
    set_status(j, j->is_ready ? "ready" : "running");
    return 0;
}

int job_set_speed(struct drive_table *t, const char *id, uint64_t speed,
                  struct err *e)
{
    struct job *j = need(t, id, e);

    if (j == NULL) return -ENOENT;
    pthread_mutex_lock(&j->lock);
    j->speed = speed;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return 0;
}

void job_table_stop(struct drive_table *t)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->job == NULL) continue;
        set(d->job, &d->job->is_cancelled, true);
        if (is_pending(d->job)) {
            d->job->rc = -ECANCELED;
            finish(d->job);
        }
        while (d->job != NULL)
            loop_step(t->loop, 100);
    }
    while (t->over != NULL) {
        struct job *j = t->over;

        t->over = j->next;
        destroy(j);
    }
}
