/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both directions of a migration share: settings, status, the thread and
 * its way to have something done on the loop thread.
 *
 * The thread owns the channel and waits where it likes; devices, disks and
 * run state belong to the loop thread, so the thread posts a step and waits
 * for its result.  The loop thread waits for the migration's thread in one
 * place only (migrate_end), and goes on serving steps meanwhile.
 */
#include "monitor/migrate.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/block.h"
#include "core/loop/loop.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/migrate_int.h"
#include "monitor/monitor.h"

const char *migrate_state_name(enum migrate_state s)
{
    static const char *const name[] = {
        [MIGRATE_NONE] = "none",
        [MIGRATE_SETUP] = "setup",
        [MIGRATE_CANCELLING] = "cancelling",
        [MIGRATE_CANCELLED] = "cancelled",
        [MIGRATE_ACTIVE] = "active",
        [MIGRATE_COMPLETED] = "completed",
        [MIGRATE_FAILED] = "failed",
    };

    return name[s];
}

struct migrate *migrate_of(struct vm *vm)
{
    struct migrate *m = vm_service(vm, "migrate");

    if (m != NULL) return m;
    m = calloc(1, sizeof(*m));
    if (m == NULL) return NULL;
    m->vm = vm;
    m->settings.downtime_limit_ms = 300;
    m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->called, NULL);
    vm_set_service(vm, "migrate", m);
    return m;
}

struct migrate_settings *migrate_settings_locked(struct vm *vm)
{
    struct migrate *m = migrate_of(vm);

    return m == NULL ? NULL : &m->settings;
}

void migrate_status_locked(struct vm *vm, struct migrate_status *out)
{
    struct migrate *m = vm_service(vm, "migrate");

    *out = (struct migrate_status){ .state = MIGRATE_NONE };
    if (m == NULL) return;
    pthread_mutex_lock(&m->lock);
    *out = m->status;
    pthread_mutex_unlock(&m->lock);
    if (m->has_thread) out->total_ms = (loop_now_ns() - m->start_ns) / 1000000;
}

int migrate_check_idle_locked(struct vm *vm, struct err *e)
{
    const struct migrate *m = vm_service(vm, "migrate");

    if (vm_run_state(vm) == RUN_INMIGRATE)
        return err_set(e, -EBUSY, "Guest is waiting for an incoming migration");
    if (vm_run_state(vm) == RUN_POSTMIGRATE)
        return err_set(e, -EPERM,
                       "the machine has gone elsewhere; cont takes it back, if "
                       "nobody else has it");
    if (m == NULL || !m->has_thread) return 0;
    return err_set(e, -EBUSY, "There's a migration process in progress");
}

void migrate_set_state_locked(struct migrate *m, enum migrate_state s)
{
    char data[64];
    bool is_new;

    pthread_mutex_lock(&m->lock);
    is_new = m->status.state != s;
    m->status.state = s;
    pthread_mutex_unlock(&m->lock);
    if (!is_new || !m->settings.has_events) return;
    snprintf(data, sizeof(data), "{\"status\": \"%s\"}", migrate_state_name(s));
    vm_report_locked(m->vm, "MIGRATION", data);
}

/* ---------------------------------------------------------- the thread */

int migrate_start_thread(struct migrate *m, const char *uri,
                         void *(*main)(void *arg), struct err *e)
{
    uint64_t count;
    sigset_t all, old;
    int rc;

    m->uri = strdup(uri);
    if (m->uri == NULL) return err_set(e, -ENOMEM, "out of memory");
    atomic_store(&m->is_cancelled, false);
    m->is_late = false;
    while (read(m->cancel_fd, &count, sizeof(count)) > 0)
        continue;
    m->start_ns = loop_now_ns();
    m->status = (struct migrate_status){ .state = MIGRATE_NONE,
                                         .is_incoming = m->is_incoming };
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&m->thread, NULL, main, m);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    m->has_thread = rc == 0;
    if (rc == 0) return 0;
    free(m->uri);
    m->uri = NULL;
    return err_set(e, -rc, "no thread for the migration: %s", strerror(rc));
}

void migrate_post_over(struct migrate *m, void (*over)(void *arg))
{
    loop_post(vm_loop(m->vm), over, m);
}

void migrate_join(struct migrate *m)
{
    pthread_join(m->thread, NULL);
    m->has_thread = false;
    migrate_channel_close(m->channel);
    m->channel = NULL;
    free(m->uri);
    m->uri = NULL;
}

/* --------------------------------------------------- steps on the loop */

struct call {
    struct migrate *m;
    migrate_step fn;
    void *arg;
    bool must, is_done;
    struct err *e;
    int rc;
};

static void run_call(void *arg)
{
    struct call *c = arg;
    struct migrate *m = c->m;

    vm_lock(m->vm);
    if (c->must || !atomic_load(&m->is_cancelled))
        c->rc = c->fn(m, c->arg, c->e);
    vm_unlock(m->vm);
    pthread_mutex_lock(&m->lock);
    c->is_done = true;
    pthread_cond_broadcast(&m->called);
    pthread_mutex_unlock(&m->lock);
}

int migrate_call(struct migrate *m, migrate_step fn, void *arg, bool must,
                 struct err *e)
{
    struct call c = {
        .m = m, .fn = fn, .arg = arg, .must = must, .e = e, .rc = -ECANCELED
    };

    loop_post(vm_loop(m->vm), run_call, &c);
    pthread_mutex_lock(&m->lock);
    while (!c.is_done)
        pthread_cond_wait(&m->called, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return c.rc;
}

/* ------------------------------------------------------------- the end */

static void cancel(struct migrate *m)
{
    const uint64_t one = 1;

    atomic_store(&m->is_cancelled, true);
    if (write(m->cancel_fd, &one, sizeof(one)) < 0) { /* it is readable */
    }
}

int migrate_cancel_locked(struct vm *vm, struct err *e)
{
    struct migrate *m = vm_service(vm, "migrate");

    if (m == NULL || !m->has_thread) return 0;
    if (m->is_incoming)
        return err_set(e, -EBUSY,
                       "the machine is on its way here; quit to give it up, or "
                       "cancel it where it comes from");
    if (m->is_late)
        return err_set(e, -EBUSY, "too late: the machine has been handed over");
    if (!atomic_load(&m->is_cancelled))
        migrate_set_state_locked(m, MIGRATE_CANCELLING);
    cancel(m);
    return 0;
}

int migrate_take_back_locked(struct vm *vm, struct err *e)
{
    struct drive_table *t = vm_service(vm, "drives");
    int rc;

    if (vm_run_state(vm) == RUN_FINISH_MIGRATE)
        return err_set(e, -EBUSY,
                       "the machine is being handed over; migrate_cancel stops "
                       "that");
    if (vm_run_state(vm) != RUN_POSTMIGRATE) return 0;
    rc = t == NULL ? 0 : drives_activate(t, e);
    if (rc < 0) return rc;
    vm_stop_locked(vm, RUN_PAUSED);
    return 0;
}

void migrate_end(struct vm *vm)
{
    struct migrate *m = vm_service(vm, "migrate");

    if (m == NULL) return;
    m->waiting = NULL;
    m->is_ending = true;
    cancel(m);
    while (m->has_thread)
        loop_step(vm_loop(vm), 100);
    vm_set_service(vm, "migrate", NULL);
    close(m->cancel_fd);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->called);
    free(m);
}
