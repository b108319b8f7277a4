/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots: one piece of work at a time, the others in a queue.
 *
 * The loop thread never waits for one, unless whoever asked cannot be told
 * later.  A thread that is done posts a call; what has to be said to sessions
 * is kept until the VM lock is not held any more, as they may go on with
 * their next line at once.
 */
#include "monitor/savevm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "monitor/export.h"
#include "monitor/migrate.h"
#include "monitor/monitor.h"
#include "monitor/savevm_int.h"

enum { WAKE_BYTES = 800 };

/* What a session will be told. */
struct savevm_wake {
    struct savevm_wake *next;
    struct monitor_session *session;
    char text[WAKE_BYTES];
};

struct savevm *savevm_of(struct vm *vm)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv != NULL) return sv;
    sv = calloc(1, sizeof(*sv));
    if (sv == NULL) return NULL;
    sv->vm = vm;
    sv->last = &sv->queue;
    vm_set_service(vm, "savevm", sv);
    return sv;
}

const char *savevm_kind_name(enum savevm_kind k)
{
    static const char *const names[] = { [SAVEVM_SAVE] = "snapshot-save",
                                         [SAVEVM_LOAD] = "snapshot-load",
                                         [SAVEVM_DELETE] = "snapshot-delete" };

    return names[k];
}

/* ---------------------------------------------------- telling sessions */

static void deliver(void *arg)
{
    struct savevm *sv = arg;

    atomic_fetch_sub(&sv->posts, 1);
    for (;;) {
        struct savevm_wake *k;

        vm_lock(sv->vm);
        k = sv->wakes;
        if (k != NULL) sv->wakes = k->next;
        vm_unlock(sv->vm);
        if (k == NULL) return;
        if (k->session->wake != NULL)
            k->session->wake(k->session, k->text);
        else if (k->session->wake_program != NULL)
            k->session->wake_program(k->session, k->text);
        free(k);
    }
}

static void tell(struct savevm *sv, struct monitor_session *s, const char *text)
{
    struct savevm_wake *k = calloc(1, sizeof(*k)), **at = &sv->wakes;

    if (k == NULL) return;
    k->session = s;
    snprintf(k->text, sizeof(k->text), "%s", text);
    while (*at != NULL)
        at = &(*at)->next;
    *at = k;
    atomic_fetch_add(&sv->posts, 1);
    loop_post(vm_loop(sv->vm), deliver, sv);
}

void savevm_forget_locked(struct vm *vm, struct monitor_session *s)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv == NULL) return;
    for (struct savevm_wake **at = &sv->wakes; *at != NULL;) {
        struct savevm_wake *k = *at;

        if (k->session != s) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        free(k);
    }
    for (unsigned i = 0; i < SAVEVM_MAX_WAITING; i++) {
        if (sv->waiting[i] == s) sv->waiting[i] = NULL;
    }
    if (sv->now != NULL && sv->now->session == s) sv->now->session = NULL;
    for (struct savevm_work *w = sv->queue; w != NULL; w = w->next) {
        if (w->session == s) w->session = NULL;
    }
}

/* ----------------------------------------------------------------- work */

static void work_free(struct savevm_work *w)
{
    if (w == NULL) return;
    if (w->progress != NULL)
        munmap((void *)(uintptr_t)w->progress, sizeof(*w->progress));
    if (w->slots != NULL) munmap(w->slots, SAVEVM_SLOTS_BYTES);
    if (w->cancel_fd >= 0) close(w->cancel_fd);
    if (w->set != NULL) {
        for (unsigned i = 0; i < w->set->count; i++)
            free(w->set->drive[i]);
        free(w->set->drive);
        free(w->set->holder);
        free(w->set);
    }
    vmstate_about_free(&w->about);
    free(w);
}

static struct savevm_work *work_new(struct savevm *sv, struct savevm_request *r)
{
    struct savevm_work *w = calloc(1, sizeof(*w));
    void *shared;

    if (w == NULL) return NULL;
    w->sv = sv;
    w->vm = sv->vm;
    w->kind = r->kind;
    w->may_replace = r->may_replace;
    w->rate = r->rate;
    w->error = (struct err)ERR_INIT;
    snprintf(w->name, sizeof(w->name), "%s", r->name);
    if (r->note != NULL)
        snprintf(w->about.note, sizeof(w->about.note), "%s", r->note);
    w->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    shared = mmap(NULL, sizeof(*w->progress), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared != MAP_FAILED) w->progress = shared;
    if (w->progress == NULL || w->cancel_fd < 0) {
        work_free(w);
        return NULL;
    }
    w->set = r->set;
    r->set = NULL;
    return w;
}

/* What came of it, for people; what failed goes after "Error: ". */
static void describe(const struct savevm_work *w, int rc, const struct err *e,
                     char text[WAKE_BYTES])
{
    if (rc < 0) {
        snprintf(text, WAKE_BYTES, "Error: %s\n", e->text);
    } else if (w->kind == SAVEVM_SAVE) {
        snprintf(text, WAKE_BYTES,
                 "Snapshot '%s' taken, the machine stood still for %.1f ms; it "
                 "is being written in the background\n",
                 w->name, (double)w->paused_ns / 1e6);
    } else if (w->kind == SAVEVM_LOAD) {
        snprintf(text, WAKE_BYTES, "Back at snapshot '%s'\n", w->name);
    } else {
        snprintf(text, WAKE_BYTES, "Snapshot '%s' deleted\n", w->name);
    }
}

static int delete_locked(struct savevm_work *w, struct err *e)
{
    int rc = snapshot_delete(vm_service(w->vm, "drives"), w->set, w->name, e);

    /* QMP's deleting is done when there is none. */
    return rc == -ENOENT && w->job != NULL ? 0 : rc;
}

/* 1: it goes on in the background. */
static int begin_locked(struct savevm_work *w, struct err *e)
{
    int rc = migrate_check_idle_locked(w->vm, e);

    if (rc == 0 && w->kind != SAVEVM_LOAD)
        rc = export_check_locked(w->vm, w->name, e);
    if (rc == 0 && vm_service(w->vm, "drives") == NULL)
        rc = err_set(e, -ENODEV, "the machine has no drives");
    if (rc < 0) return rc;
    switch (w->kind) {
    case SAVEVM_SAVE: rc = savevm_save_begin_locked(w, e); break;
    case SAVEVM_LOAD: rc = savevm_load_begin_locked(w, e); break;
    case SAVEVM_DELETE: return delete_locked(w, e);
    }
    return rc < 0 ? rc : 1;
}

static void job_over(struct savevm_work *w, int rc, const struct err *e)
{
    if (w->job == NULL) return;
    savevm_job_over_locked(w->sv, w->job, rc, rc < 0 ? e->text : "");
    w->job = NULL;
}

/* The next of the queue that has to go on in the background, if any. */
static void begin_next_locked(struct savevm *sv)
{
    while (sv->now == NULL && sv->queue != NULL) {
        struct savevm_work *w = sv->queue;
        struct err e = ERR_INIT;
        char text[WAKE_BYTES];
        int rc;

        sv->queue = w->next;
        if (sv->queue == NULL) sv->last = &sv->queue;
        w->next = NULL;
        if (w->is_dropped) {
            work_free(w);
            continue;
        }
        sv->now = w;
        rc = begin_locked(w, &e);
        describe(w, rc < 0 ? rc : 0, &e, text);
        if (w->session != NULL && (rc < 1 || w->kind == SAVEVM_SAVE)) {
            tell(sv, w->session, text);
            w->session = NULL;
        }
        if (rc == 1) return;
        job_over(w, rc, &e);
        sv->now = NULL;
        work_free(w);
    }
}

static void wake_waiting(struct savevm *sv)
{
    char text[WAKE_BYTES] = "";
    bool is_told = false;

    if (sv->now != NULL || sv->queue != NULL) return;
    if (sv->last_rc < 0)
        snprintf(text, sizeof(text), "Error: %s\n", sv->last_error.text);
    for (unsigned i = 0; i < SAVEVM_MAX_WAITING; i++) {
        if (sv->waiting[i] == NULL) continue;
        tell(sv, sv->waiting[i], text);
        sv->waiting[i] = NULL;
        is_told = true;
    }
    if (is_told) sv->last_rc = 0;
}

/* The thread of what goes on is done, or will be soon. */
static void end_locked(struct savevm *sv)
{
    struct savevm_work *w = sv->now;
    char text[WAKE_BYTES];

    if (w->has_thread) pthread_join(w->thread, NULL);
    w->has_thread = false;
    if (w->kind == SAVEVM_SAVE) {
        savevm_save_end_locked(w);
        sv->last_rc = w->rc == -ECANCELED ? 0 : w->rc;
        sv->last_error = w->error;
    } else {
        savevm_load_end_locked(w);
    }
    describe(w, w->rc, &w->error, text);
    if (w->session != NULL) tell(sv, w->session, text);
    w->session = NULL;
    job_over(w, w->rc, &w->error);
    sv->now = NULL;
    work_free(w);
}

static void after_end_locked(struct savevm *sv)
{
    begin_next_locked(sv);
    wake_waiting(sv);
}

static void on_over(void *arg)
{
    struct savevm *sv = arg;

    vm_lock(sv->vm);
    atomic_fetch_sub(&sv->posts, 1);
    if (sv->now != NULL && atomic_load(&sv->now->is_over)) {
        end_locked(sv);
        after_end_locked(sv);
    }
    vm_unlock(sv->vm);
}

struct start {
    struct savevm_work *w;
    void (*main)(struct savevm_work *);
};

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct savevm_work *w = s->w;
    struct savevm *sv = w->sv;

    s->main(w);
    free(s);
    atomic_store(&w->is_over, true); /* w may be gone from here on */
    loop_post(vm_loop(sv->vm), on_over, sv);
    return NULL;
}

void savevm_start_thread(struct savevm_work *w,
                         void (*main)(struct savevm_work *))
{
    struct start *s = malloc(sizeof(*s));
    sigset_t all, old;

    atomic_fetch_add(&w->sv->posts, 1);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (s != NULL) {
        *s = (struct start){ w, main };
        w->has_thread = pthread_create(&w->thread, NULL, thread_main, s) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (w->has_thread) return;
    free(s);
    main(w);
    atomic_store(&w->is_over, true);
    loop_post(vm_loop(w->vm), on_over, w->sv);
}

/* ------------------------------------------------------------- requests */

static bool can_wait(const struct monitor_session *s)
{
    return s != NULL && (s->wake != NULL || s->wake_program != NULL);
}

/* Until nothing is left; the loop thread waits. */
static void finish_all_locked(struct savevm *sv)
{
    while (sv->now != NULL) {
        end_locked(sv);
        begin_next_locked(sv);
    }
}

/* Begin it now, on behalf of somebody who waits for the answer. */
static int run_locked(struct savevm *sv, struct savevm_work *w, FILE *out,
                      struct err *e)
{
    struct monitor_session *s = w->session;
    char text[WAKE_BYTES];
    int rc;

    sv->now = w;
    w->session = NULL;
    rc = begin_locked(w, e);
    if (rc == 1 && w->kind == SAVEVM_LOAD && can_wait(s)) {
        w->session = s;
        s->is_waiting = true;
        return 0;
    }
    if (rc == 1 && w->kind == SAVEVM_LOAD) {
        pthread_join(w->thread, NULL);
        w->has_thread = false;
        savevm_load_end_locked(w);
        rc = w->rc;
        if (rc < 0) *e = w->error;
    }
    describe(w, rc < 0 ? rc : 0, e, text);
    if (rc >= 0 && out != NULL) fputs(text, out);
    if (rc == 1) return 0; /* it is being written */
    sv->now = NULL;
    work_free(w);
    return rc;
}

static int enqueue_locked(struct savevm *sv, struct savevm_work *w)
{
    *sv->last = w;
    sv->last = &w->next;
    begin_next_locked(sv);
    return 0;
}

int savevm_submit_locked(struct vm *vm, struct savevm_request *r, FILE *out,
                         struct err *e)
{
    struct savevm *sv = savevm_of(vm);
    struct savevm_job *job = NULL;
    struct savevm_work *w;

    if (sv == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (r->job != NULL) {
        job = savevm_job_new_locked(sv, r->job, r->kind, e);
        if (job == NULL) return e->code;
    }
    if (strlen(r->name) > 255 && job == NULL)
        return err_set(e, -EINVAL, "a snapshot's name has 1 to 255 characters");
    w = work_new(sv, r);
    if (w == NULL) {
        if (job != NULL)
            savevm_job_over_locked(sv, job, -ENOMEM, "out of memory");
        return err_set(e, -ENOMEM, "out of memory");
    }
    w->job = job;
    w->session = r->session;
    if (job != NULL) return enqueue_locked(sv, w);
    if (sv->now != NULL && can_wait(w->session)) {
        w->session->is_waiting = true;
        return enqueue_locked(sv, w);
    }
    finish_all_locked(sv);
    return run_locked(sv, w, out, e);
}

int savevm_load_now_locked(struct vm *vm, const char *name, struct err *e)
{
    struct savevm_request r = { .kind = SAVEVM_LOAD, .name = name };

    return savevm_submit_locked(vm, &r, NULL, e);
}

int savevm_wait_locked(struct vm *vm, struct monitor_session *session,
                       struct err *e)
{
    struct savevm *sv = vm_service(vm, "savevm");
    int rc;

    if (sv == NULL) return 0;
    if (sv->now != NULL && can_wait(session)) {
        for (unsigned i = 0; i < SAVEVM_MAX_WAITING; i++) {
            if (sv->waiting[i] != NULL) continue;
            sv->waiting[i] = session;
            session->is_waiting = true;
            return 0;
        }
        return err_set(e, -EBUSY, "too many wait for it already");
    }
    finish_all_locked(sv);
    wake_waiting(sv);
    rc = sv->last_rc;
    if (rc < 0) *e = sv->last_error;
    sv->last_rc = 0;
    return rc;
}

int savevm_cancel_locked(struct vm *vm, struct err *e)
{
    struct savevm *sv = vm_service(vm, "savevm");
    struct savevm_work *w = sv == NULL ? NULL : sv->now;
    const uint64_t one = 1;

    if (w != NULL && atomic_load(&w->is_over)) {
        end_locked(sv);
        after_end_locked(sv);
        w = sv->now;
    }
    if (w == NULL) return err_set(e, -ENOENT, "no snapshot is being saved");
    atomic_store(&w->is_cancelled, true);
    if (write(w->cancel_fd, &one, sizeof(one)) < 0) { /* it is readable */
    }
    if (w->kind == SAVEVM_SAVE) savevm_save_cancel(w);
    end_locked(sv);
    after_end_locked(sv);
    return 0;
}

/* ----------------------------------------------------------------- look */

bool savevm_progress_locked(struct vm *vm, FILE *out)
{
    struct savevm *sv = vm_service(vm, "savevm");
    struct savevm_work *w;

    if (sv != NULL && sv->now != NULL && atomic_load(&sv->now->is_over)) {
        end_locked(sv);
        after_end_locked(sv);
    }
    w = sv == NULL ? NULL : sv->now;
    if (w == NULL) return false;
    if (w->kind == SAVEVM_SAVE)
        fprintf(out, "Saving '%s': %llu of %llu MiB of memory", w->name,
                (unsigned long long)(atomic_load(w->progress) >> 20),
                (unsigned long long)(w->total >> 20));
    else
        fprintf(out, "Loading '%s': %llu of %llu MiB", w->name,
                (unsigned long long)(atomic_load(&w->moved) >> 20),
                (unsigned long long)(w->total >> 20));
    if (w->kind == SAVEVM_SAVE)
        fprintf(out, ", %llu MiB written",
                (unsigned long long)(atomic_load(&w->moved) >> 20));
    if (w->rate != 0)
        fprintf(out, ", at most %llu KiB/s",
                (unsigned long long)(w->rate >> 10));
    fputc('\n', out);
    for (w = sv->queue; w != NULL; w = w->next)
        fprintf(out, "Waiting: %s '%s'\n", savevm_kind_name(w->kind), w->name);
    return true;
}

const char *savevm_current_locked(struct vm *vm)
{
    const struct savevm *sv = vm_service(vm, "savevm");

    return sv == NULL ? "" : sv->current;
}

void savevm_end(struct vm *vm)
{
    struct savevm *sv = vm_service(vm, "savevm");

    if (sv == NULL) return;
    vm_lock(vm);
    while (sv->queue != NULL) {
        struct savevm_work *w = sv->queue;

        sv->queue = w->next;
        work_free(w);
    }
    sv->last = &sv->queue;
    if (sv->now != NULL) {
        if (sv->now->kind == SAVEVM_LOAD)
            atomic_store(&sv->now->is_cancelled, true);
        end_locked(sv);
    }
    vm_unlock(vm);
    while (atomic_load(&sv->posts) > 0)
        loop_step(vm_loop(vm), 100);
    vm_lock(vm);
    vm_set_service(vm, "savevm", NULL);
    savevm_jobs_free(sv);
    vm_unlock(vm);
    free(sv);
}
