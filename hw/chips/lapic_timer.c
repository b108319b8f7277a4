/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APIC timer, SDM 3A 10.5.4: one-shot, periodic and TSC-deadline.  The
 * count is computed from guest time; the timer struct only tells when it
 * expires.  A masked timer counts, but nobody needs to be woken for it.
 */
#include "core/vm/tsc.h"
#include "core/vm/vm.h"
#include "hw/chips/lapic.h"

/* A periodic interrupt comes no faster; the count does not change. */
#define TIMER_MIN_PERIOD_NS 50000u
/* When the loop is later than this, missed expiries are not caught up. */
#define TIMER_MAX_LATE_NS 20000000u
#define TIMER_FAR_NS      (UINT64_C(1) << 62)

static uint64_t lapic_now_ns(const struct lapic *l)
{
    return clock_now_ns(l->all->d->vm);
}

static unsigned lapic_timer_mode(const struct lapic *l)
{
    return LVT_TIMER_MODE(l->lvt[LVT_TIMER]);
}

/* Nanoseconds of one count: bus clock 1 GHz over the divisor. */
static uint32_t lapic_divisor(const struct lapic *l)
{
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

    return code == 7 ? 1 : 2u << code;
}

static uint64_t lapic_period_ns(const struct lapic *l)
{
    return (uint64_t)l->initial * lapic_divisor(l);
}

uint32_t lapic_timer_current(const struct lapic *l)
{
    uint64_t period_ns = lapic_period_ns(l), past_ns;

    if (l->initial == 0 || lapic_timer_mode(l) >= TIMER_DEADLINE) return 0;
    past_ns = lapic_now_ns(l);
    past_ns = past_ns > l->start_ns ? past_ns - l->start_ns : 0;
    if (lapic_timer_mode(l) == TIMER_PERIODIC) {
        past_ns %= period_ns;
    } else if (past_ns >= period_ns) {
        return 0;
    }
    return l->initial - (uint32_t)(past_ns / lapic_divisor(l));
}

/* Arm for the first expiry after from_ns. */
static void lapic_arm_count(struct lapic *l, uint64_t from_ns)
{
    uint64_t period_ns = lapic_period_ns(l);
    uint64_t past_ns = from_ns > l->start_ns ? from_ns - l->start_ns : 0;

    timer_disarm_locked(&l->timer);
    if (period_ns == 0 || (l->lvt[LVT_TIMER] & LVT_MASK) != 0) return;
    if (lapic_timer_mode(l) == TIMER_PERIODIC) {
        l->fire_ns = l->start_ns + (past_ns / period_ns + 1) * period_ns;
    } else if (past_ns < period_ns) {
        l->fire_ns = l->start_ns + period_ns;
    } else {
        return;
    }
    timer_arm_locked(&l->timer, l->fire_ns);
}

static void lapic_arm_deadline(struct lapic *l)
{
    struct vm *vm = l->all->d->vm;
    const struct vm_tsc *tsc = vm_service(vm, "tsc");
    uint64_t now_ns = clock_now_ns(vm);
    uint64_t now = tsc != NULL ? tsc->read(tsc->arg, l->index) : now_ns;
    uint64_t khz = tsc != NULL && tsc->khz != 0 ? tsc->khz : 1000000;
    uint64_t wait_ns = 0;

    timer_disarm_locked(&l->timer);
    if (l->deadline == 0) return;
    if (l->deadline > now) {
        unsigned __int128 ns =
            (unsigned __int128)(l->deadline - now) * 1000000 / khz + 1;

        wait_ns = ns > TIMER_FAR_NS ? TIMER_FAR_NS : (uint64_t)ns;
    }
    timer_arm_locked(&l->timer, now_ns + wait_ns);
}

void lapic_timer_arm(struct lapic *l)
{
    if (lapic_timer_mode(l) == TIMER_DEADLINE) {
        lapic_arm_deadline(l);
    } else {
        lapic_arm_count(l, lapic_now_ns(l));
    }
}

static void lapic_deadline_due(struct lapic *l)
{
    const struct vm_tsc *tsc = vm_service(l->all->d->vm, "tsc");
    uint64_t now =
        tsc != NULL ? tsc->read(tsc->arg, l->index) : lapic_now_ns(l);

    if (l->deadline == 0) return;
    if (now < l->deadline) { /* rounding, or TSC and clock drifted */
        lapic_arm_deadline(l);
        return;
    }
    l->deadline = 0;
    lapic_local(l, LVT_TIMER);
}

static void lapic_timer_due(void *arg)
{
    struct lapic *l = arg;
    uint64_t now_ns = lapic_now_ns(l), from_ns = l->fire_ns;

    if (lapic_timer_mode(l) == TIMER_DEADLINE) {
        lapic_deadline_due(l);
        return;
    }
    lapic_local(l, LVT_TIMER);
    if (lapic_timer_mode(l) != TIMER_PERIODIC) return;
    if (from_ns + TIMER_MAX_LATE_NS < now_ns) from_ns = now_ns;
    lapic_arm_count(l, from_ns);
    if (l->timer.is_armed && lapic_period_ns(l) < TIMER_MIN_PERIOD_NS) {
        l->fire_ns = now_ns + TIMER_MIN_PERIOD_NS;
        timer_arm_locked(&l->timer, l->fire_ns);
    }
}

void lapic_timer_write_initial(struct lapic *l, uint32_t v)
{
    if (lapic_timer_mode(l) >= TIMER_DEADLINE) return;
    l->initial = v;
    l->start_ns = lapic_now_ns(l);
    lapic_arm_count(l, l->start_ns);
}

void lapic_timer_write_divide(struct lapic *l, uint32_t v)
{
    uint64_t now_ns = lapic_now_ns(l), past_ns;
    uint32_t current = lapic_timer_current(l);

    l->divide = v & 0x0b;
    if (l->initial == 0 || lapic_timer_mode(l) >= TIMER_DEADLINE) return;
    /* The count stays and goes on at the new pace. */
    past_ns = (uint64_t)(l->initial - current) * lapic_divisor(l);
    l->start_ns = now_ns > past_ns ? now_ns - past_ns : 0;
    lapic_arm_count(l, now_ns);
}

void lapic_timer_lvt_changed(struct lapic *l, uint32_t was)
{
    bool was_deadline = LVT_TIMER_MODE(was) == TIMER_DEADLINE;
    bool is_deadline = lapic_timer_mode(l) == TIMER_DEADLINE;

    if (was_deadline != is_deadline) { /* "disarms the timer" */
        l->deadline = 0;
        l->initial = 0;
    }
    lapic_timer_arm(l);
}

uint64_t lapic_timer_deadline(struct lapic *l, bool set, uint64_t v)
{
    if (lapic_timer_mode(l) != TIMER_DEADLINE) return 0;
    if (!set) return l->deadline;
    l->deadline = v;
    lapic_arm_deadline(l);
    return v;
}

void lapic_timer_init(struct lapic *l)
{
    timer_init(&l->timer, l->all->d->vm, lapic_timer_due, l);
}
