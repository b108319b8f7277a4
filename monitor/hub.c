/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: made wherever something happens, with the time it happened, queued
 * under the VM lock and handed to the peers on the loop thread, so that a
 * transport needs no lock of its own.
 */
#include "monitor/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/job.h"
#include "core/base/json.h"
#include "core/base/trace.h"
#include "core/host/chardev.h"
#include "core/loop/loop.h"
#include "core/vm/debug.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/command.h"

enum { MAX_QUEUED = 1024 };

struct event {
    struct event *next;
    char *text;
};

struct hub {
    struct vm *vm;
    struct vm_report_sink sink;
    struct qmp *peer[HUB_MAX_PEERS];
    unsigned others; /* monitors that are no peers */
    unsigned step_cpu;
    bool is_stepping;
    struct event *first, **last;
    unsigned queued;
    struct loop_timer timer;
    bool is_reset_ours, is_quit_ours, has_shut_down;
};

static struct hub *hub_of(struct vm *vm)
{
    return vm_service(vm, "monitor-hub");
}

static void queue_locked(void *arg, const char *name, const char *data)
{
    struct hub *h = arg;
    struct event *ev = calloc(1, sizeof(*ev));
    size_t bytes = 0;
    struct timespec t;
    struct json_out o = { .f = NULL };

    trace(TRACE_QMP_EVENT, "event=%s", name);
    if (ev == NULL || h->queued >= MAX_QUEUED) {
        free(ev);
        return;
    }
    o.f = open_memstream(&ev->text, &bytes);
    if (o.f == NULL) {
        free(ev);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &t);
    json_open(&o, NULL, '{');
    json_open(&o, "timestamp", '{');
    json_int(&o, "seconds", t.tv_sec);
    json_int(&o, "microseconds", t.tv_nsec / 1000);
    json_close(&o, '}');
    json_str(&o, "event", name);
    if (data != NULL) json_raw(&o, "data", data);
    json_close(&o, '}');
    fputs("\r\n", o.f);
    fclose(o.f);
    *h->last = ev;
    h->last = &ev->next;
    h->queued++;
    loop_timer_arm_ms(&h->timer, 0);
}

static void shut_down_locked(struct hub *h, bool is_guest)
{
    const char *data = is_guest ? "{\"guest\": true, \"reason\": "
                                  "\"guest-shutdown\"}"
                       : h->is_quit_ours
                           ? "{\"guest\": false, \"reason\": "
                             "\"host-qmp-quit\"}"
                           : "{\"guest\": false, \"reason\": \"host-signal\"}";

    if (h->has_shut_down) return;
    h->has_shut_down = true;
    queue_locked(h, "SHUTDOWN", data);
}

static void set_step_locked(struct hub *h, bool on)
{
    for (unsigned i = 0; i < vm_vcpu_count(h->vm); i++) {
        if (i == h->step_cpu) {
            vm_debug_step_locked(h->vm, i, on);
        } else {
            vm_debug_hold_locked(h->vm, i, on);
        }
    }
    h->is_stepping = on;
}

/* However the machine stopped, the step is over. */
static void end_step_locked(struct hub *h)
{
    unsigned cpu;
    struct vm_stop why;

    set_step_locked(h, false);
    vm_stop_take_locked(h->vm, 1ull << h->step_cpu, &cpu, &why);
}

int hub_step_locked(struct vm *vm, unsigned cpu, struct err *e)
{
    struct hub *h = hub_of(vm);

    if (vm_run_state(vm) == RUN_RUNNING)
        return err_set(e, -EBUSY, "the machine runs: stop it first");
    if (h == NULL || vm_service(vm, "gdb-server") != NULL)
        return err_set(e, -ENOTSUP,
                       h == NULL ? "only a monitor of the machine can step"
                                 : "gdb serves this machine: step there");
    h->step_cpu = cpu;
    set_step_locked(h, true);
    vm_start_locked(vm);
    return 0;
}

static void on_vm_event(void *arg, enum vm_event ev)
{
    struct hub *h = arg;
    bool is_end = vm_run_state(h->vm) == RUN_SHUTDOWN &&
                  !(h->has_shut_down && vm_config(h->vm)->has_no_shutdown);

    switch (ev) {
    case VM_EVENT_STOP:
        if (h->is_stepping) end_step_locked(h);
        if (is_end) {
            shut_down_locked(h, false);
        } else {
            queue_locked(h, "STOP", NULL);
        }
        break;
    case VM_EVENT_RESUME:
        h->has_shut_down = false;
        queue_locked(h, "RESUME", NULL);
        break;
    case VM_EVENT_RESET:
        queue_locked(h, "RESET",
                     h->is_reset_ours
                         ? "{\"guest\": false, \"reason\": "
                           "\"host-qmp-system-reset\"}"
                         : "{\"guest\": true, \"reason\": \"guest-reset\"}");
        h->is_reset_ours = false;
        h->has_shut_down = false;
        break;
    case VM_EVENT_SHUTDOWN: shut_down_locked(h, true); break;
    case VM_EVENT_POWERDOWN: queue_locked(h, "POWERDOWN", NULL); break;
    }
}

/* {key: value, "id": id} */
static void report_pair_locked(struct vm *vm, const char *event,
                               const char *key, const char *value,
                               const char *id)
{
    struct json_out o = { .f = NULL };
    char *text = NULL;
    size_t bytes = 0;

    o.f = open_memstream(&text, &bytes);
    if (o.f == NULL) return;
    json_open(&o, NULL, '{');
    json_str(&o, key, value);
    json_str(&o, "id", id);
    json_close(&o, '}');
    fclose(o.f);
    if (text != NULL) vm_report_locked(vm, event, text);
    free(text);
}

/* Loop thread, the VM lock held or not. */
static void on_job(void *arg, enum job_event ev, const struct job_info *i)
{
    static const char *const names[] = {
        [JOB_READY] = "BLOCK_JOB_READY",
        [JOB_COMPLETED] = "BLOCK_JOB_COMPLETED",
        [JOB_CANCELLED] = "BLOCK_JOB_CANCELLED",
        [JOB_FAILED] = "BLOCK_JOB_COMPLETED", /* with an error */
        [JOB_PENDING] = "BLOCK_JOB_PENDING",
        [JOB_STATUS] = "JOB_STATUS_CHANGE",
    };
    struct hub *h = arg;
    bool needs_lock = !vm_is_locked(h->vm);

    if (needs_lock) vm_lock(h->vm);
    if (ev == JOB_PENDING)
        report_pair_locked(h->vm, names[ev], "type", job_kind_name(i->kind),
                           i->id);
    else if (ev == JOB_STATUS)
        report_pair_locked(h->vm, names[ev], "status", i->status, i->id);
    else
        vm_report_job_locked(h->vm, names[ev], job_kind_name(i->kind), i->id,
                             i->total, i->done, i->speed,
                             ev == JOB_FAILED ? i->error : NULL);
    if (needs_lock) vm_unlock(h->vm);
}

static void flush(struct hub *h)
{
    struct event *ev;

    vm_lock(h->vm);
    ev = h->first;
    h->first = NULL;
    h->last = &h->first;
    h->queued = 0;
    vm_unlock(h->vm);
    while (ev != NULL) {
        struct event *next = ev->next;

        for (unsigned i = 0; i < HUB_MAX_PEERS; i++) {
            if (h->peer[i] != NULL) qmp_event(h->peer[i], ev->text);
        }
        free(ev->text);
        free(ev);
        ev = next;
    }
}

static void on_timer(void *arg)
{
    flush(arg);
}

void hub_flush(struct vm *vm)
{
    struct hub *h = hub_of(vm);

    if (h != NULL) flush(h);
}

static struct hub *hub_new(struct vm *vm)
{
    struct hub *h = calloc(1, sizeof(*h));

    if (h == NULL) return NULL;
    h->vm = vm;
    h->last = &h->first;
    h->sink = (struct vm_report_sink){ .report = queue_locked, .arg = h };
    loop_timer_init(&h->timer, vm_loop(vm), on_timer, h);
    vm_lock(vm);
    vm_add_listener(vm, on_vm_event, h);
    vm_set_service(vm, "report", &h->sink);
    vm_set_service(vm, "monitor-hub", h);
    if (vm_service(vm, "drives") != NULL)
        job_set_listener(vm_service(vm, "drives"), on_job, h);
    vm_unlock(vm);
    return h;
}

int hub_join(struct vm *vm, struct qmp *q, struct err *e)
{
    struct hub *h = hub_of(vm);

    if (h == NULL) h = hub_new(vm);
    if (h == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (q == NULL) {
        h->others++;
        return 0;
    }
    for (unsigned i = 0; i < HUB_MAX_PEERS; i++) {
        if (h->peer[i] != NULL) continue;
        h->peer[i] = q;
        return 0;
    }
    return err_set(e, -E2BIG, "more than %d JSON monitors", HUB_MAX_PEERS);
}

void hub_leave(struct vm *vm, struct qmp *q)
{
    struct hub *h = hub_of(vm);
    unsigned left = 0;

    if (h == NULL) return;
    for (unsigned i = 0; i < HUB_MAX_PEERS; i++)
        left += h->peer[i] != NULL && h->peer[i] != q;
    vm_lock(vm); /* the machine ends, nobody said so yet */
    if (vm_run_state(vm) == RUN_SHUTDOWN) shut_down_locked(h, false);
    vm_unlock(vm);
    flush(h);
    for (unsigned i = 0; i < HUB_MAX_PEERS; i++) {
        if (q != NULL && h->peer[i] == q) h->peer[i] = NULL;
    }
    if (q == NULL) h->others--;
    if (left + h->others > 0) return;
    vm_lock(vm);
    vm_remove_listener(vm, h);
    vm_set_service(vm, "report", NULL);
    vm_set_service(vm, "monitor-hub", NULL);
    if (vm_service(vm, "drives") != NULL)
        job_set_listener(vm_service(vm, "drives"), NULL, NULL);
    vm_unlock(vm);
    flush(h);
    password_expiry_close(vm);
    chardev_close_added(vm);
    loop_timer_disarm(&h->timer);
    free(h);
}

void hub_caused_locked(struct vm *vm, enum hub_cause c)
{
    struct hub *h = hub_of(vm);

    if (h == NULL) return;
    if (c == HUB_RESET) h->is_reset_ours = true;
    if (c == HUB_QUIT) h->is_quit_ours = true;
}
