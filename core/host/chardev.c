/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: the registry and the two queues every kind shares.
 *
 * Output: chardev_write() may come from any thread with the VM lock held, so
 * it must never block.  It writes what the descriptor takes at once and queues
 * the rest up to a bound; the loop thread empties the queue when the
 * descriptor is writable again.  When the bound is reached the newest octets
 * are dropped: a serial port does not wait for its reader either.
 *
 * Input: read on the loop thread into a small queue per front end, handed over
 * as the front end has room.  A front end that has room again may say so from
 * any thread; a timer that is due at once brings that to the loop thread
 * (posted functions could run after the device is closed).
 */
#include "core/host/chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/host/chardev_int.h"
#include "core/vm/vm.h"

/* ---- output ---- */

static void watch_output_locked(struct chardev *c, bool on)
{
    unsigned read = c->is_in_reading ? LOOP_READ : 0;

    if (c->out_fd < 0 || c->is_out_watched == on) return;
    c->is_out_watched = on;
    if (c->in_fd == c->out_fd) {
        loop_mod_fd(c->loop, c->out_fd, read | (on ? LOOP_WRITE : 0));
    } else {
        loop_mod_fd(c->loop, c->out_fd, on ? LOOP_WRITE : 0);
    }
}

/* Octets the descriptor took; 0 if it is full or broken. */
static size_t write_now(struct chardev *c, const uint8_t *buf, size_t bytes)
{
    size_t done = 0;

    while (done < bytes && c->out_fd >= 0) {
        ssize_t n = c->is_out_socket
                        ? send(c->out_fd, buf + done, bytes - done,
                               MSG_DONTWAIT | MSG_NOSIGNAL)
                        : write(c->out_fd, buf + done, bytes - done);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

static void flush_locked(struct chardev *c)
{
    size_t n = write_now(c, c->queue + c->queue_start, c->queue_len);

    c->queue_start += n;
    c->queue_len -= n;
    if (c->queue_len > 0) return;
    c->queue_start = 0;
    if (c->queue_cap > CHARDEV_QUEUE_BYTES) {
        free(c->queue);
        c->queue = NULL;
        c->queue_cap = 0;
    }
    watch_output_locked(c, false);
}

static size_t enqueue_locked(struct chardev *c, const uint8_t *buf,
                             size_t bytes, size_t limit)
{
    size_t room = limit > c->queue_len ? limit - c->queue_len : 0;

    if (bytes > room) bytes = room;
    if (bytes == 0) return 0;
    if (c->queue_start > 0) {
        memmove(c->queue, c->queue + c->queue_start, c->queue_len);
        c->queue_start = 0;
    }
    if (c->queue_len + bytes > c->queue_cap) {
        size_t cap = c->queue_cap ? c->queue_cap : 4096;
        uint8_t *more;

        while (cap < c->queue_len + bytes)
            cap *= 2;
        more = realloc(c->queue, cap);
        if (more == NULL) return 0;
        c->queue = more;
        c->queue_cap = cap;
    }
    memcpy(c->queue + c->queue_len, buf, bytes);
    c->queue_len += bytes;
    watch_output_locked(c, true);
    return bytes;
}

static size_t put_locked(struct chardev *c, const uint8_t *buf, size_t bytes,
                         size_t limit)
{
    size_t n = 0;

    if (c->ring != NULL) {
        chardev_vc_store_locked(c, buf, bytes);
        return bytes;
    }
    if (c->is_deferred) chardev_start_locked(c, NULL);
    if (c->out_fd < 0) return bytes; /* gone, as on a cable without a peer */
    if (c->queue_len == 0) n = write_now(c, buf, bytes);
    if (n < bytes && !c->is_out_plain)
        n += enqueue_locked(c, buf + n, bytes - n, limit);
    return n;
}

/* Same with the time before each line. */
static size_t put_stamped_locked(struct chardev *c, const uint8_t *buf,
                                 size_t bytes, size_t limit)
{
    size_t done = 0;

    while (done < bytes) {
        const uint8_t *nl = memchr(buf + done, '\n', bytes - done);
        size_t n = nl != NULL ? (size_t)(nl - buf) + 1 - done : bytes - done;
        char stamp[32];

        if (!c->is_in_line) {
            chardev_mux_stamp(c, stamp, sizeof(stamp));
            put_locked(c, (const uint8_t *)stamp, strlen(stamp), limit);
        }
        c->is_in_line = nl == NULL;
        if (put_locked(c, buf + done, n, limit) < n) break;
        done += n;
    }
    return done;
}

static size_t write_limited(struct chardev *c, const void *buf, size_t bytes,
                            size_t limit)
{
    void (*written)(void *arg);
    void *arg;
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = c->has_stamps ? put_stamped_locked(c, buf, bytes, limit)
                      : put_locked(c, buf, bytes, limit);
    written = c->written;
    arg = c->written_arg;
    pthread_mutex_unlock(&c->lock);
    if (written != NULL) written(arg);
    return n;
}

size_t chardev_write(struct chardev *c, const void *buf, size_t bytes)
{
    return write_limited(c, buf, bytes, CHARDEV_QUEUE_BYTES);
}

size_t chardev_write_answer(struct chardev *c, const void *buf, size_t bytes)
{
    return write_limited(c, buf, bytes, CHARDEV_ANSWER_BYTES);
}

size_t chardev_pending(struct chardev *c)
{
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = c->queue_len;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* ---- input ---- */

size_t chardev_room(const struct chardev *c)
{
    size_t room = CHARDEV_IN_BYTES;

    if (c->front[0].receive == NULL && c->front[1].receive == NULL) return 0;
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        if (CHARDEV_IN_BYTES - c->in[i].len < room)
            room = CHARDEV_IN_BYTES - c->in[i].len;
    }
    return room;
}

void chardev_queue_input(struct chardev *c, unsigned front, uint8_t octet)
{
    struct chardev_input *in = &c->in[front];

    if (in->len >= CHARDEV_IN_BYTES) return;
    in->buf[(in->start + in->len) % CHARDEV_IN_BYTES] = octet;
    in->len++;
}

static void hand_over(struct chardev *c, unsigned front)
{
    struct chardev_input *in = &c->in[front];

    while (in->len > 0 && c->front[front].receive != NULL) {
        struct chardev_front f = c->front[front];
        size_t run = CHARDEV_IN_BYTES - in->start;
        size_t room = f.can_receive != NULL ? f.can_receive(f.arg) : run;
        uint8_t copy[256];

        if (run > in->len) run = in->len;
        if (run > room) run = room;
        if (run > sizeof(copy)) run = sizeof(copy);
        if (run == 0) break;
        memcpy(copy, in->buf + in->start, run);
        in->start = (in->start + run) % CHARDEV_IN_BYTES;
        in->len -= run;
        f.receive(f.arg, copy, run);
    }
}

static void watch_input(struct chardev *c)
{
    bool on = chardev_room(c) > 0;

    if (c->in_fd < 0 || c->is_in_reading == on) return;
    pthread_mutex_lock(&c->lock);
    c->is_in_reading = on;
    if (!c->is_in_plain)
        loop_mod_fd(
            c->loop, c->in_fd,
            (on ? LOOP_READ : 0) |
                (c->in_fd == c->out_fd && c->is_out_watched ? LOOP_WRITE : 0));
    pthread_mutex_unlock(&c->lock);
}

void chardev_deliver(struct chardev *c, const uint8_t *buf, size_t bytes)
{
    if (c->is_mux) {
        chardev_mux_input(c, buf, bytes);
    } else {
        for (size_t i = 0; i < bytes; i++)
            chardev_queue_input(c, 0, buf[i]);
    }
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++)
        hand_over(c, i);
    watch_input(c);
}

/* To fronts that took all input, or will never take any. */
static void tell_end(struct chardev *c)
{
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        struct chardev_front f = c->front[i];

        if (c->is_end_told[i] || f.opened == NULL) continue;
        if (f.receive != NULL && c->in[i].len > 0) continue;
        if (f.can_receive != NULL && f.can_receive(f.arg) == 0) continue;
        c->is_end_told[i] = true;
        f.opened(f.arg, false);
    }
}

static void hang_up(struct chardev *c)
{
    struct chardev_front f[CHARDEV_FRONTS];

    memcpy(f, c->front, sizeof(f));
    if (c->kind->hangup != NULL) {
        c->kind->hangup(c);
    } else {
        chardev_detach(c);
    }
    if (c->is_in_over) {
        tell_end(c);
        return;
    }
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        if (f[i].opened != NULL) f[i].opened(f[i].arg, false);
    }
}

/* 1: there may be more, 0: nothing now, -1: peer gone. */
static int read_some(struct chardev *c)
{
    uint8_t buf[CHARDEV_IN_BYTES];
    size_t room = chardev_room(c);
    ssize_t n;

    if (room == 0) return 0;
    n = read(c->in_fd, buf, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) return -1;
    if (c->is_telnet) n = (ssize_t)chardev_telnet_filter(c, buf, (size_t)n);
    chardev_deliver(c, buf, (size_t)n);
    return 1;
}

static void input_ready(void *arg, unsigned ready)
{
    struct chardev *c = arg;

    if (ready & LOOP_WRITE) {
        pthread_mutex_lock(&c->lock);
        flush_locked(c);
        pthread_mutex_unlock(&c->lock);
        if (chardev_pending(c) == 0) chardev_accept_input(c);
    }
    if (ready & LOOP_READ) {
        if (read_some(c) < 0) hang_up(c);
    } else if (ready & LOOP_HANGUP) {
        hang_up(c);
    }
}

static void output_ready(void *arg, unsigned ready)
{
    struct chardev *c = arg;

    pthread_mutex_lock(&c->lock);
    if (ready & LOOP_WRITE) flush_locked(c);
    if ((ready & LOOP_HANGUP) && c->out_fd >= 0) { /* reader is gone */
        loop_del_fd(c->loop, c->out_fd);
        close(c->out_fd);
        c->out_fd = -1;
        c->queue_len = 0;
    }
    pthread_mutex_unlock(&c->lock);
    chardev_accept_input(c);
}

static void pump(void *arg)
{
    struct chardev *c = arg;

    for (unsigned i = 0; i < CHARDEV_FRONTS; i++)
        hand_over(c, i);
    if (c->is_in_over) tell_end(c);
    watch_input(c);
    if (c->is_in_plain && c->in_fd >= 0) { /* a file is always readable */
        int rc = read_some(c);

        if (rc < 0) hang_up(c);
        if (rc > 0) loop_timer_arm_ms(&c->pump, 0);
    }
}

void chardev_accept_input(struct chardev *c)
{
    loop_timer_arm_ms(&c->pump, 0);
}

/* ---- descriptors ---- */

int chardev_attach(struct chardev *c, int in_fd, int out_fd, struct err *e)
{
    bool is_same = in_fd == out_fd;
    struct stat st;
    int rc = 0;

    c->is_in_reading = true;
    c->is_out_watched = false;
    c->is_in_plain = false;
    c->is_out_plain = out_fd >= 0 && fstat(out_fd, &st) == 0 &&
                      (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
    c->is_out_socket = out_fd >= 0 && !c->is_out_plain && S_ISSOCK(st.st_mode);
    if (in_fd >= 0) {
        rc = loop_add_fd(c->loop, in_fd, LOOP_READ, input_ready, c, e);
        if (rc == -EPERM) { /* epoll takes no regular files */
            c->is_in_plain = true;
            rc = 0;
        }
    }
    if (rc == 0 && out_fd >= 0 && !is_same && !c->is_out_plain)
        rc = loop_add_fd(c->loop, out_fd, 0, output_ready, c, e);
    if (rc == -EPERM) { /* /dev/null and the like take everything */
        c->is_out_plain = true;
        rc = 0;
    }
    if (rc < 0) {
        if (in_fd >= 0) loop_del_fd(c->loop, in_fd);
        return rc;
    }
    if (e != NULL) *e = (struct err)ERR_INIT;
    pthread_mutex_lock(&c->lock);
    c->in_fd = in_fd;
    c->out_fd = out_fd;
    pthread_mutex_unlock(&c->lock);
    chardev_accept_input(c);
    return 0;
}

void chardev_detach(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->out_fd >= 0 && c->queue_len > 0) flush_locked(c);
    if (c->in_fd >= 0) {
        if (!c->is_in_plain) loop_del_fd(c->loop, c->in_fd);
        if (c->in_fd > 2) close(c->in_fd);
    }
    if (c->out_fd >= 0 && c->out_fd != c->in_fd) {
        if (!c->is_out_plain) loop_del_fd(c->loop, c->out_fd);
        if (c->out_fd > 2) close(c->out_fd);
    }
    c->in_fd = c->out_fd = -1;
    c->queue_len = c->queue_start = 0;
    pthread_mutex_unlock(&c->lock);
}

/* ---- open, close ---- */

static struct chardev *new_chardev(struct err *e)
{
    struct chardev *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    c->in_fd = c->out_fd = c->listen_fd = c->slave_fd = -1;
    c->saved_flags = -1;
    c->opened_ns = loop_now_ns();
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void free_chardev(struct chardev *c)
{
    pthread_mutex_destroy(&c->lock);
    free(c->queue);
    free(c->ring);
    free(c->place);
    free(c->name);
    free(c->spec);
    free(c);
}

int chardev_open(struct loop *l, const char *name, const char *spec,
                 struct chardev **out, struct err *e)
{
    struct chardev *c = new_chardev(e);
    int rc;

    if (c == NULL) return -ENOMEM;
    c->loop = l;
    loop_timer_init(&c->pump, l, pump, c);
    c->name = strdup(name);
    c->spec = strdup(spec);
    rc = c->name != NULL && c->spec != NULL
             ? chardev_parse_spec(c, spec, e)
             : err_set(e, -ENOMEM, "out of memory");
    if (rc == 0) rc = c->kind->open(c, e);
    if (rc < 0) {
        free_chardev(c);
        return rc;
    }
    *out = c;
    return 0;
}

int chardev_start(struct chardev *c, struct err *e)
{
    int rc;

    pthread_mutex_lock(&c->lock);
    rc = chardev_start_locked(c, e);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int chardev_check(const char *spec, struct err *e)
{
    struct chardev *c = new_chardev(e);
    int rc;

    if (c == NULL) return -ENOMEM;
    rc = chardev_parse_spec(c, spec, e);
    if (rc == 0 && c->kind->check != NULL) rc = c->kind->check(c, e);
    free_chardev(c);
    return rc;
}

void chardev_unregister(struct chardev *c)
{
    struct chardev *x;

    if (c == NULL || c->vm == NULL) return;
    x = vm_service(c->vm, "chardevs");
    if (x == c) {
        vm_set_service(c->vm, "chardevs", c->next);
    } else {
        while (x != NULL && x->next != c)
            x = x->next;
        if (x != NULL) x->next = c->next;
    }
    c->vm = NULL;
}

void chardev_close(struct chardev *c)
{
    if (c == NULL) return;
    chardev_unregister(c);
    chardev_detach(c);
    if (c->kind->close != NULL) c->kind->close(c);
    loop_timer_disarm(&c->pump);
    free_chardev(c);
}

/* ---- the rest ---- */

const char *chardev_name(const struct chardev *c)
{
    return c->name;
}

const char *chardev_spec(const struct chardev *c)
{
    return c->spec;
}

bool chardev_is_open(struct chardev *c)
{
    bool is_open;

    pthread_mutex_lock(&c->lock);
    is_open =
        c->in_fd >= 0 || c->out_fd >= 0 || c->ring != NULL || c->is_deferred;
    pthread_mutex_unlock(&c->lock);
    return is_open;
}

bool chardev_is_mux(const struct chardev *c)
{
    return c->is_mux;
}

static void set_front(struct chardev *c, unsigned i,
                      const struct chardev_front *f)
{
    c->front[i] = f != NULL ? *f : (struct chardev_front){ .arg = NULL };
    if (c->front[c->focus].receive == NULL &&
        c->front[!c->focus].receive != NULL)
        c->focus = !c->focus;
    if (i == 0 && f != NULL) c->focus = 0;
    chardev_accept_input(c);
}

void chardev_set_front(struct chardev *c, const struct chardev_front *f)
{
    set_front(c, 0, f);
}

void chardev_set_monitor(struct chardev *c, const struct chardev_front *f)
{
    set_front(c, c->is_mux ? 1 : 0, f);
}

void chardev_set_escape(struct chardev *c, void (*fn)(void *arg, int key),
                        void *arg)
{
    c->escape = fn;
    c->escape_arg = arg;
}

int chardev_register(struct vm *vm, struct chardev *c, struct err *e)
{
    struct chardev *x = vm_service(vm, "chardevs");

    if (chardev_find(vm, c->name) != NULL)
        return err_set(e, -EEXIST, "character device %s exists already",
                       c->name);
    c->vm = vm;
    c->next = NULL;
    if (x == NULL) {
        vm_set_service(vm, "chardevs", c);
        return 0;
    }
    while (x->next != NULL)
        x = x->next;
    x->next = c;
    return 0;
}

struct chardev *chardev_find(struct vm *vm, const char *name)
{
    struct chardev *c = vm_service(vm, "chardevs");

    while (c != NULL && strcmp(c->name, name) != 0)
        c = c->next;
    return c;
}

struct chardev *chardev_next(struct vm *vm, struct chardev *c)
{
    return c == NULL ? vm_service(vm, "chardevs") : c->next;
}
