/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Progress of long work, and the signals that have to do with it.  The signals
 * are blocked in all threads and taken by one of its own with sigtimedwait, so
 * there is no handler and nothing global.  What is shown is qemu-img's line,
 * "    (12.34/100%)" and a carriage return.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "block/img/img.h"

struct img_work_state {
    pthread_t thread;
    sigset_t signals, before;
    bool is_shown;
    atomic_bool is_over;
    atomic_int caught; /* signal that asked for the end */
    _Atomic uint64_t done, total;
};

static double percent(struct img_work_state *s)
{
    uint64_t total = atomic_load(&s->total);

    if (total == 0) return 0;
    return 100.0 * (double)atomic_load(&s->done) / (double)total;
}

static void show(struct img_work_state *s)
{
    printf("    (%3.2f/100%%)\r", percent(s));
    fflush(stdout);
}

static void kill_self(int sig)
{
    struct sigaction def = { .sa_handler = SIG_DFL };
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, sig);
    sigaction(sig, &def, NULL);
    raise(sig);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

void img_die_of(int sig)
{
    fflush(stdout);
    kill_self(sig);
}

static void *watch(void *arg)
{
    struct img_work *w = arg;
    struct img_work_state *s = w->s;
    const struct timespec tick = { 0, 100 * 1000 * 1000 };
    double shown = -1;

    while (!atomic_load(&s->is_over)) {
        int sig = sigtimedwait(&s->signals, NULL, &tick);

        if (sig == SIGUSR1 && !s->is_shown) {
            fprintf(stderr, "    (%3.2f/100%%)\n", percent(s));
        } else if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP) {
            if (atomic_load(&s->caught) != 0) kill_self(sig); /* at once */
            atomic_store(&s->caught, sig);
            atomic_store(&w->is_cancelled, true);
        }
        if (s->is_shown && percent(s) != shown) {
            shown = percent(s);
            show(s);
        }
    }
    return NULL;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    img_work_set(arg, done, total);
}

void img_work_set(struct img_work *w, uint64_t done, uint64_t total)
{
    atomic_store(&w->s->done, done);
    atomic_store(&w->s->total, total);
}

int img_work_begin(struct img_work *w, bool is_shown)
{
    struct img_work_state *s = calloc(1, sizeof(*s));
    static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };

    if (s == NULL) return -ENOMEM;
    *w = (struct img_work){ .s = s };
    w->progress = (struct image_progress){ on_progress, w, &w->is_cancelled };
    s->is_shown = is_shown;
    sigemptyset(&s->signals);
    for (unsigned i = 0; i < 4; i++) {
        struct sigaction now;

        /* nohup and the like stay in force */
        if (sigaction(all[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            continue;
        sigaddset(&s->signals, all[i]);
    }
    sigaddset(&s->signals, SIGRTMIN); /* the end: no tick is waited for */
    pthread_sigmask(SIG_BLOCK, &s->signals, &s->before);
    if (is_shown) show(s);
    if (pthread_create(&s->thread, NULL, watch, w) == 0) return 0;
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    free(s);
    w->s = NULL;
    return -EAGAIN;
}

int img_work_stop(struct img_work *w, bool is_done)
{
    struct img_work_state *s = w->s;
    int sig;

    atomic_store(&s->is_over, true);
    pthread_kill(s->thread, SIGRTMIN);
    pthread_join(s->thread, NULL);
    if (s->is_shown) {
        if (is_done) {
            img_work_set(w, 1, 1);
            show(s);
        }
        putchar('\n');
    }
    sig = atomic_load(&s->caught);
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    free(s);
    w->s = NULL;
    return sig;
}

void img_work_end(struct img_work *w, bool is_done)
{
    int sig = img_work_stop(w, is_done);

    if (sig != 0) img_die_of(sig);
}
