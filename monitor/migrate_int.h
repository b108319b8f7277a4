/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MIGRATE_INT_H
#define ORRERY_MONITOR_MIGRATE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "monitor/migrate.h"
#include "monitor/migrate_channel.h"

/*
 * Shared by the migrate_*.c files.  One thread at a time sends or receives;
 * what needs the machine it has done on the loop thread (migrate_call).
 */
struct migrate {
    struct vm *vm;
    struct migrate_settings settings;

    pthread_mutex_t lock; /* status, done */
    pthread_cond_t called;
    struct migrate_status status;

    /* The thread that sends or receives. */
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_cancelled; /* stop as soon as possible */
    bool is_late;              /* cannot be cancelled any more */
    bool is_ending;            /* the program is: nothing starts again */
    int cancel_fd;             /* readable: the same for those who wait */
    char *uri;
    struct migrate_channel *channel;
    struct monitor_session *waiting;
    uint64_t start_ns;

    /* migrate_in.c */
    bool is_incoming, is_deferred, may_start;
};

struct migrate *migrate_of(struct vm *vm); /* NULL: out of memory */

/* Begin: the thread runs main(m); over(m) follows on the loop thread. */
int migrate_start_thread(struct migrate *m, const char *uri,
                         void *(*main)(void *arg), struct err *e);
/* The thread's last act: call over(m) on the loop thread. */
void migrate_post_over(struct migrate *m, void (*over)(void *arg));
/* Part of over: the thread is gone, the channel closed. */
void migrate_join(struct migrate *m);

/* On the loop thread, VM lock held, while this thread waits; -ECANCELED
 * without calling it when the migration was cancelled (unless it must). */
typedef int (*migrate_step)(struct migrate *m, void *arg, struct err *e);
int migrate_call(struct migrate *m, migrate_step fn, void *arg, bool must,
                 struct err *e);

/* Change the state; QMP is told.  VM lock held. */
void migrate_set_state_locked(struct migrate *m, enum migrate_state s);

/* migrate_head.c: HEAD frame's text, and the comparison on arrival. */
void migrate_describe_locked(struct vm *vm, bool wants_answers, FILE *out);
int migrate_compare_locked(struct vm *vm, const char *text, bool *wants_answers,
                           struct err *e);

/* migrate_out.c, migrate_in.c */
void *migrate_out_main(void *arg);

#endif
