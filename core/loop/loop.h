/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_LOOP_LOOP_H
#define ORRERY_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * The event loop of the main thread: file descriptors, host timers, and
 * functions posted by other threads.  Callbacks run on the thread in
 * loop_run(), without any lock held; one that touches devices takes the VM
 * lock itself.  Unless noted, functions may be called from any thread.
 */
struct loop;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };

int loop_create(struct loop **out, struct err *e);
void loop_destroy(struct loop *l);

/* Run until loop_quit(); returns the value given there. */
int loop_run(struct loop *l);
void loop_quit(struct loop *l, int value);

/* Handle what is ready now, waiting at most timeout_ms (-1: no limit).
 * Loop thread (tests, nested dialogs). */
void loop_step(struct loop *l, int timeout_ms);

/* Watch fd; cb gets the ready events.  One watch per fd.  Loop thread, or
 * before loop_run. */
int loop_add_fd(struct loop *l, int fd, unsigned events,
                void (*cb)(void *arg, unsigned ready), void *arg,
                struct err *e);
void loop_mod_fd(struct loop *l, int fd, unsigned events);
void loop_del_fd(struct loop *l, int fd);

/* Run fn(arg) once on the loop thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* One-shot timer on the host's monotonic clock (user interface only; devices
 * use core/vm/clock.h).  Caller owns the struct; zero it before use. */
struct loop_timer {
    struct loop *loop;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = not armed */
    void (*cb)(void *arg);
    void *arg;
    struct loop_timer *next;
};
void loop_timer_init(struct loop_timer *t, struct loop *l,
                     void (*cb)(void *arg), void *arg);
void loop_timer_arm_ms(struct loop_timer *t, uint64_t delay_ms);
void loop_timer_arm_ns(struct loop_timer *t, uint64_t deadline_ns);
void loop_timer_disarm(struct loop_timer *t);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t loop_now_ns(void);

#endif
