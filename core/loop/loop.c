/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loop on epoll.  One eventfd wakes it for posted functions, one timerfd
 * carries the earliest timer, so a vCPU thread that arms a timer needs no
 * hand-over to the loop thread.  Watches are looked up by fd at dispatch: a
 * callback may delete any watch, also its own.
 */
#include "core/loop/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct watch {
    int fd;
    void (*cb)(void *arg, unsigned ready);
    void *arg;
    struct watch *next;
};

struct posted {
    void (*fn)(void *arg);
    void *arg;
    struct posted *next;
};

struct loop {
    int epoll_fd, event_fd, timer_fd;
    bool is_quitting;
    int value;
    struct watch *watches; /* loop thread only */
    pthread_mutex_t lock;  /* guards the lists below */
    struct posted *posted, **posted_tail;
    struct loop_timer *timers; /* sorted by deadline */
};

uint64_t loop_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int watch_internal(struct loop *l, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int loop_create(struct loop **out, struct err *e)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (l == NULL) return err_set(e, -ENOMEM, "out of memory");
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    l->posted_tail = &l->posted;
    pthread_mutex_init(&l->lock, NULL);
    if (l->epoll_fd < 0 || l->event_fd < 0 || l->timer_fd < 0 ||
        watch_internal(l, l->event_fd) < 0 ||
        watch_internal(l, l->timer_fd) < 0) {
        int rc = -errno;

        loop_destroy(l);
        return err_set(e, rc, "event loop: %s", strerror(-rc));
    }
    *out = l;
    return 0;
}

void loop_destroy(struct loop *l)
{
    if (l == NULL) return;
    while (l->watches != NULL) {
        struct watch *w = l->watches;

        l->watches = w->next;
        free(w);
    }
    while (l->posted != NULL) {
        struct posted *p = l->posted;

        l->posted = p->next;
        free(p);
    }
    if (l->epoll_fd >= 0) close(l->epoll_fd);
    if (l->event_fd >= 0) close(l->event_fd);
    if (l->timer_fd >= 0) close(l->timer_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->event_fd, &one, sizeof(one));

    (void)n; /* a full counter wakes as well */
}

/* ---- watches ---- */

static struct watch **find_watch(struct loop *l, int fd)
{
    struct watch **w = &l->watches;

    while (*w != NULL && (*w)->fd != fd)
        w = &(*w)->next;
    return w;
}

static uint32_t to_epoll(unsigned events)
{
    return (events & LOOP_READ ? EPOLLIN : 0) |
           (events & LOOP_WRITE ? EPOLLOUT : 0);
}

int loop_add_fd(struct loop *l, int fd, unsigned events,
                void (*cb)(void *arg, unsigned ready), void *arg, struct err *e)
{
    struct epoll_event ev = { .events = to_epoll(events), .data.fd = fd };
    struct watch *w = calloc(1, sizeof(*w));

    if (w == NULL) return err_set(e, -ENOMEM, "out of memory");
    *w = (struct watch){ .fd = fd, .cb = cb, .arg = arg };
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int rc = -errno;

        free(w);
        return err_set(e, rc, "cannot watch file descriptor %d: %s", fd,
                       strerror(-rc));
    }
    w->next = l->watches;
    l->watches = w;
    return 0;
}

void loop_mod_fd(struct loop *l, int fd, unsigned events)
{
    struct epoll_event ev = { .events = to_epoll(events), .data.fd = fd };

    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
}

void loop_del_fd(struct loop *l, int fd)
{
    struct watch **w = find_watch(l, fd);

    if (*w != NULL) {
        struct watch *old = *w;

        *w = old->next;
        free(old);
    }
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- posted functions ---- */

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct posted *p = malloc(sizeof(*p));

    if (p == NULL) abort(); /* nothing sensible can be done without 24 bytes */
    *p = (struct posted){ .fn = fn, .arg = arg };
    pthread_mutex_lock(&l->lock);
    *l->posted_tail = p;
    l->posted_tail = &p->next;
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

static void run_posted(struct loop *l)
{
    struct posted *p;

    pthread_mutex_lock(&l->lock);
    p = l->posted;
    l->posted = NULL;
    l->posted_tail = &l->posted;
    pthread_mutex_unlock(&l->lock);
    while (p != NULL) {
        struct posted *next = p->next;

        p->fn(p->arg);
        free(p);
        p = next;
    }
}

/* ---- timers ---- */

static void set_timer_fd_locked(struct loop *l)
{
    struct itimerspec its = { 0 };

    if (l->timers != NULL) {
        uint64_t at = l->timers->deadline_ns;

        its.it_value.tv_sec = (time_t)(at / 1000000000u);
        its.it_value.tv_nsec = (long)(at % 1000000000u);
    }
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void unlink_locked(struct loop_timer *t)
{
    struct loop_timer **p = &t->loop->timers;

    while (*p != NULL && *p != t)
        p = &(*p)->next;
    if (*p != NULL) *p = t->next;
    t->deadline_ns = 0;
}

void loop_timer_init(struct loop_timer *t, struct loop *l,
                     void (*cb)(void *arg), void *arg)
{
    *t = (struct loop_timer){ .loop = l, .cb = cb, .arg = arg };
}

void loop_timer_arm_ns(struct loop_timer *t, uint64_t deadline_ns)
{
    struct loop *l = t->loop;
    struct loop_timer **p, *first;

    if (deadline_ns == 0) deadline_ns = 1;
    pthread_mutex_lock(&l->lock);
    first = l->timers;
    if (t->deadline_ns != 0) unlink_locked(t);
    t->deadline_ns = deadline_ns;
    for (p = &l->timers; *p != NULL && (*p)->deadline_ns <= deadline_ns;) {
        p = &(*p)->next;
    }
    t->next = *p;
    *p = t;
    if (l->timers == t || first == t) set_timer_fd_locked(l);
    pthread_mutex_unlock(&l->lock);
}

void loop_timer_arm_ms(struct loop_timer *t, uint64_t delay_ms)
{
    loop_timer_arm_ns(t, loop_now_ns() + delay_ms * 1000000u);
}

void loop_timer_disarm(struct loop_timer *t)
{
    if (t->loop == NULL) return;
    pthread_mutex_lock(&t->loop->lock);
    if (t->deadline_ns != 0) {
        unlink_locked(t);
        set_timer_fd_locked(t->loop);
    }
    pthread_mutex_unlock(&t->loop->lock);
}

static void run_timers(struct loop *l)
{
    uint64_t now = loop_now_ns();

    for (;;) {
        struct loop_timer *t;

        pthread_mutex_lock(&l->lock);
        t = l->timers;
        if (t == NULL || t->deadline_ns > now) {
            set_timer_fd_locked(l);
            pthread_mutex_unlock(&l->lock);
            return;
        }
        unlink_locked(t);
        pthread_mutex_unlock(&l->lock);
        t->cb(t->arg);
    }
}

/* ---- running ---- */

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
    struct watch *w;
    unsigned ready = 0;

    if (ev->data.fd == l->event_fd || ev->data.fd == l->timer_fd) {
        uint64_t count;
        ssize_t n = read(ev->data.fd, &count, sizeof(count));

        (void)n;
        if (ev->data.fd == l->event_fd) {
            run_posted(l);
        } else {
            run_timers(l);
        }
        return;
    }
    w = *find_watch(l, ev->data.fd);
    if (w == NULL) return;
    if (ev->events & EPOLLIN) ready |= LOOP_READ;
    if (ev->events & EPOLLOUT) ready |= LOOP_WRITE;
    if (ev->events & (EPOLLHUP | EPOLLERR)) ready |= LOOP_HANGUP;
    w->cb(w->arg, ready);
}

void loop_step(struct loop *l, int timeout_ms)
{
    struct epoll_event ev[16];
    int n = epoll_wait(l->epoll_fd, ev, 16, timeout_ms);

    for (int i = 0; i < n; i++)
        dispatch(l, &ev[i]);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

void loop_quit(struct loop *l, int value)
{
    pthread_mutex_lock(&l->lock);
    if (!l->is_quitting) l->value = value;
    l->is_quitting = true;
    pthread_mutex_unlock(&l->lock);
    loop_post(l, do_nothing, NULL);
}

int loop_run(struct loop *l)
{
    bool quit = false;

    while (!quit) {
        loop_step(l, -1);
        pthread_mutex_lock(&l->lock);
        quit = l->is_quitting;
        pthread_mutex_unlock(&l->lock);
    }
    pthread_mutex_lock(&l->lock);
    l->is_quitting = false;
    pthread_mutex_unlock(&l->lock);
    return l->value;
}
