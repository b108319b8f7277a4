/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest time = base_ns + (host now - host_start_ns) while ticking.  Readers on
 * any thread use a sequence lock; writers hold the VM lock.  All guest timers
 * hang in one sorted list behind one host timer.
 */
#include "core/vm/clock.h"

#include <sched.h>
#include <time.h>

#include "core/vm/vm_private.h"

static void set_clock(struct vm *vm, uint64_t base, bool ticks)
{
    atomic_fetch_add(&vm->clock_seq, 1);
    atomic_store(&vm->base_ns, base);
    atomic_store(&vm->host_start_ns, loop_now_ns());
    atomic_store(&vm->is_ticking, ticks);
    atomic_fetch_add(&vm->clock_seq, 1);
}

uint64_t clock_now_ns(struct vm *vm)
{
    for (;;) {
        unsigned seq = atomic_load(&vm->clock_seq);
        uint64_t now = atomic_load(&vm->base_ns);

        if (atomic_load(&vm->is_ticking)) {
            now += loop_now_ns() - atomic_load(&vm->host_start_ns);
        }
        if (!(seq & 1) && seq == atomic_load(&vm->clock_seq)) return now;
        sched_yield();
    }
}

int64_t clock_wall_s(struct vm *vm)
{
    const struct vm_config *cfg = vm->cfg;
    int64_t base = cfg->rtc_base_s;

    /* Without -rtc base= the guest sees the host's time of day, also after
     * a pause: what a user expects of a clock on the wall. */
    if (base == INT64_MIN) {
        base = (int64_t)time(NULL);
        if (cfg->is_rtc_local) {
            struct tm tm;
            time_t t = (time_t)base;

            localtime_r(&t, &tm);
            base += tm.tm_gmtoff;
        }
        return base;
    }
    return base + (int64_t)(clock_now_ns(vm) / 1000000000u);
}

static void rearm(struct vm *vm)
{
    struct timer *t = vm->timers;
    uint64_t now;

    if (t == NULL) {
        loop_timer_disarm(&vm->host_timer);
        return;
    }
    now = clock_now_ns(vm);
    if (t->deadline_ns <= now) {
        loop_timer_arm_ns(&vm->host_timer, 1);
    } else if (atomic_load(&vm->is_ticking)) {
        loop_timer_arm_ns(&vm->host_timer,
                          loop_now_ns() + (t->deadline_ns - now));
    } else {
        loop_timer_disarm(&vm->host_timer);
    }
}

static void run_due(void *arg)
{
    struct vm *vm = arg;

    vm_lock(vm);
    for (;;) {
        struct timer *t = vm->timers;

        if (t == NULL || t->deadline_ns > clock_now_ns(vm)) break;
        vm->timers = t->next;
        t->is_armed = false;
        t->cb(t->arg);
    }
    rearm(vm);
    vm_unlock(vm);
}

void vm_clock_init(struct vm *vm)
{
    loop_timer_init(&vm->host_timer, vm->loop, run_due, vm);
}

void timer_init(struct timer *t, struct vm *vm, void (*cb)(void *arg),
                void *arg)
{
    *t = (struct timer){ .vm = vm, .cb = cb, .arg = arg };
}

static void unlink_timer(struct timer *t)
{
    struct timer **p = &t->vm->timers;

    while (*p != NULL && *p != t)
        p = &(*p)->next;
    if (*p != NULL) *p = t->next;
    t->is_armed = false;
}

void timer_arm_locked(struct timer *t, uint64_t deadline_ns)
{
    struct vm *vm = t->vm;
    struct timer *first = vm->timers;
    struct timer **p;

    if (t->is_armed) unlink_timer(t);
    t->deadline_ns = deadline_ns;
    t->is_armed = true;
    for (p = &vm->timers; *p != NULL && (*p)->deadline_ns <= deadline_ns;) {
        p = &(*p)->next;
    }
    t->next = *p;
    *p = t;
    if (vm->timers == t || first == t) rearm(vm);
}

void timer_disarm_locked(struct timer *t)
{
    if (t->is_armed) unlink_timer(t);
}

void clock_resume_locked(struct vm *vm)
{
    set_clock(vm, clock_now_ns(vm), true);
    rearm(vm);
}

void clock_pause_locked(struct vm *vm)
{
    set_clock(vm, clock_now_ns(vm), false);
    rearm(vm);
}

void clock_set_ns_locked(struct vm *vm, uint64_t now_ns)
{
    set_clock(vm, now_ns, atomic_load(&vm->is_ticking));
    rearm(vm);
}
