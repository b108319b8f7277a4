/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_CLOCK_H
#define ORRERY_VM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/*
 * Guest time: nanoseconds since power-on during which the machine was not
 * paused.  Never runs backwards.  Any thread.
 */
uint64_t clock_now_ns(struct vm *vm);

/* Wall-clock time the RTC starts from (seconds since 1970, -rtc base=) plus
 * guest time passed. */
int64_t clock_wall_s(struct vm *vm);

/*
 * Guest timer: cb(arg) runs once on the loop thread with the VM lock held when
 * guest time reaches deadline_ns; a deadline in the past fires as soon as
 * possible.  The struct is embedded in the device's state and is not saved:
 * the device re-arms it in its loaded hook.  VM lock held for all calls.
 */
struct timer {
    struct vm *vm;
    uint64_t deadline_ns;
    bool is_armed;
    void (*cb)(void *arg);
    void *arg;
    struct timer *next;
};

void timer_init(struct timer *t, struct vm *vm, void (*cb)(void *arg),
                void *arg);
void timer_arm_locked(struct timer *t, uint64_t deadline_ns);
void timer_disarm_locked(struct timer *t);

/* value * mul / div without overflow (128-bit); div != 0. */
static inline uint64_t muldiv64(uint64_t value, uint64_t mul, uint64_t div)
{
    return (uint64_t)((unsigned __int128)value * mul / div);
}

/* Used by vm.c: start, stop (pause) and set guest time. */
void clock_resume_locked(struct vm *vm);
void clock_pause_locked(struct vm *vm);
void clock_set_ns_locked(struct vm *vm, uint64_t now_ns);

#endif
