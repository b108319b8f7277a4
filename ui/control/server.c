/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/host/console.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "monitor/monitor.h"
#include "ui/control/control.h"

enum { MAX_CLIENTS = 8, KEY_HOLD_MS = 10, PENDING_MAX_BYTES = 256 << 10 };

struct client {
    struct control_server *s;
    int fd; /* -1 = free */
    uint8_t in[sizeof(struct control_header) + CONTROL_MAX_REQUEST];
    size_t in_bytes;
    uint8_t *out;
    size_t out_bytes, out_pos, out_cap;
    struct qmp *qmp;
    bool is_lost; /* cannot be written to: the loop drops it */
    bool is_view; /* no JSON any more: screen and input */
    bool is_watching;
    bool is_ready;   /* acknowledged: the next frame may go out */
    bool has_news;   /* something changed since the last frame */
    bool needs_size; /* surface size not told yet */
    int first, last; /* damaged rows, last exclusive */
};

struct control_server {
    struct vm *vm;
    struct loop *loop;
    int fd;
    char *path, *name;
    void (*monitor_run)(void *arg, const char *line, FILE *out);
    void *arg;
    struct client client[MAX_CLIENTS];
};

/* ---- sending ---- */

/* Takes the VM lock, so only the loop's own callbacks may call it. */
static void drop(struct client *c)
{
    if (c->fd < 0) return;
    loop_del_fd(c->s->loop, c->fd);
    close(c->fd);
    free(c->out);
    c->fd = -1;
    c->out = NULL;
    c->out_bytes = c->out_pos = c->out_cap = 0;
    c->is_watching = c->is_view = c->is_lost = false;
    if (c->qmp != NULL) qmp_connected(c->qmp, false);
}

/* Who sends may hold the VM lock: shutting the socket down makes the loop call
 * on_ready(), which drops the client. */
static void lose(struct client *c)
{
    c->is_lost = true;
    c->out_bytes = c->out_pos = 0;
    shutdown(c->fd, SHUT_RDWR);
    loop_mod_fd(c->s->loop, c->fd, LOOP_READ);
}

static bool is_there(const struct client *c)
{
    return c->fd >= 0 && !c->is_lost;
}

static size_t pending(void *arg)
{
    struct client *c = arg;

    return c->out_bytes - c->out_pos;
}

static void flush(struct client *c)
{
    while (is_there(c) && c->out_pos < c->out_bytes) {
        ssize_t n = send(c->fd, c->out + c->out_pos, c->out_bytes - c->out_pos,
                         MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n <= 0) {
            lose(c);
            return;
        }
        c->out_pos += (size_t)n;
    }
    if (!is_there(c)) return;
    if (c->out_pos == c->out_bytes) c->out_pos = c->out_bytes = 0;
    loop_mod_fd(
        c->s->loop, c->fd,
        (pending(c) > PENDING_MAX_BYTES && !c->is_view ? 0 : LOOP_READ) |
            (c->out_bytes != 0 ? LOOP_WRITE : 0));
}

static void put(struct client *c, const void *data, size_t bytes)
{
    if (!is_there(c)) return;
    if (c->out_bytes + bytes > c->out_cap) {
        size_t cap = (c->out_bytes + bytes) * 2;
        uint8_t *p =
            cap <= 4ull * CONTROL_MAX_REPLY ? realloc(c->out, cap) : NULL;

        if (p == NULL) {
            lose(c);
            return;
        }
        c->out = p;
        c->out_cap = cap;
    }
    memcpy(c->out + c->out_bytes, data, bytes);
    c->out_bytes += bytes;
}

static void put_header(struct client *c, uint32_t type, size_t bytes)
{
    struct control_header h = { type, (uint32_t)bytes };

    put(c, &h, sizeof(h));
}

static void put_message(struct client *c, uint32_t type, const void *data,
                        size_t bytes)
{
    put_header(c, type, bytes);
    put(c, data, bytes);
}

/* VM lock held. */
static void put_state_locked(struct client *c)
{
    struct vm *vm = c->s->vm;
    struct control_state st = { 0 };
    struct rusage ru;

    getrusage(RUSAGE_SELF, &ru);
    st.run_state = vm_run_state(vm);
    st.guest_ns = clock_now_ns(vm);
    st.cpus = vm_vcpu_count(vm);
    st.ram_bytes = vm_config(vm)->ram_bytes;
    st.cpu_ns =
        (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000u +
        (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000u;
    snprintf(st.accel, sizeof(st.accel), "%s", vm_accel_name(vm));
    snprintf(st.name, sizeof(st.name), "%s", c->s->name);
    put_message(c, CTL_STATE, &st, sizeof(st));
}

static void put_text(struct client *c, const struct text_screen *t)
{
    struct control_text head = {
        .is_text = t->is_text,
        .cols = t->is_text ? t->cols : 0,
        .rows = t->is_text ? t->rows : 0,
        .cursor_col = t->cursor_col,
        .cursor_row = t->cursor_row,
        .has_blink = t->has_blink,
    };
    size_t cols = (size_t)head.cols, rows = (size_t)head.rows;

    memcpy(head.palette, t->palette, sizeof(head.palette));
    put_header(c, CTL_TEXT, sizeof(head) + 2 * cols * rows);
    put(c, &head, sizeof(head));
    for (size_t r = 0; r < rows; r++)
        put(c, t->ch[r], cols);
    for (size_t r = 0; r < rows; r++)
        put(c, t->attr[r], cols);
}

static void put_pixels(struct client *c, const struct surface *s)
{
    uint32_t head[2];
    size_t row = (size_t)s->width_px * 4;

    if (c->last > s->height_px) c->last = s->height_px;
    if (c->first >= c->last) return;
    head[0] = (uint32_t)c->first;
    head[1] = (uint32_t)(c->last - c->first);
    put_header(c, CTL_PIXELS, sizeof(head) + row * head[1]);
    put(c, head, sizeof(head));
    for (int y = c->first; y < c->last; y++) {
        put(c, s->px + (size_t)y * (size_t)s->stride_px, row);
    }
}

static void send_frame(struct client *c, const struct surface *s,
                       const struct text_screen *t)
{
    if (!c->is_watching || !c->is_ready || !c->has_news) return;
    c->is_ready = false;
    c->has_news = false;
    if (c->needs_size) {
        uint32_t size[2] = { (uint32_t)s->width_px, (uint32_t)s->height_px };

        put_message(c, CTL_SIZE, size, sizeof(size));
        c->needs_size = false;
        c->first = 0;
        c->last = s->height_px;
    }
    put_text(c, t);
    /* A terminal shows text modes as characters: no pixels needed then. */
    if (!t->is_text) {
        put_pixels(c, s);
        c->first = c->last = 0;
    }
    put_header(c, CTL_FRAME, 0);
    flush(c);
}

/* ---- display sink ---- */

static void on_resize(void *arg, const struct surface *s)
{
    struct control_server *srv = arg;

    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        srv->client[i].needs_size = true;
        srv->client[i].has_news = true;
        srv->client[i].first = 0;
        srv->client[i].last = s->height_px;
    }
}

static void on_damage(void *arg, const struct surface *s, struct rect r)
{
    struct control_server *srv = arg;

    (void)s;
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        struct client *c = &srv->client[i];

        c->has_news = true;
        if (c->first >= c->last) {
            c->first = r.y;
            c->last = r.y + r.h;
            continue;
        }
        if (r.y < c->first) c->first = r.y;
        if (r.y + r.h > c->last) c->last = r.y + r.h;
    }
}

static void on_frame(void *arg, const struct surface *s,
                     const struct text_screen *t)
{
    struct control_server *srv = arg;

    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        if (srv->client[i].fd >= 0) send_frame(&srv->client[i], s, t);
    }
}

/* ---- requests ---- */

static void send_now(struct client *c)
{
    struct display *d = vm_display(c->s->vm);

    vm_lock(c->s->vm);
    send_frame(c, display_surface(d), display_text(d));
    vm_unlock(c->s->vm);
}

static void set_watch(struct client *c, bool on)
{
    c->is_watching = on;
    c->is_ready = on;
    c->needs_size = true;
    c->has_news = true;
    if (on) send_now(c);
}

static void run_line(struct client *c, const char *line)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    if (f == NULL) {
        lose(c);
        return;
    }
    if (c->s->monitor_run != NULL) {
        c->s->monitor_run(c->s->arg, line, f);
    } else {
        fputs("this machine has no monitor\n", f);
    }
    fclose(f);
    put_message(c, CTL_REPLY, text, bytes);
    free(text);
}

static uint32_t word(const uint8_t *p, unsigned i)
{
    uint32_t v;

    memcpy(&v, p + 4 * i, 4);
    return v;
}

/* Fixed payload octets of each request; -1: text. */
static int request_bytes(uint32_t type)
{
    switch (type) {
    case CTL_WATCH: return 4;
    case CTL_KEYS: return 4 * (1 + CONTROL_KEYS);
    case CTL_MOUSE: return 16;
    case CTL_RUN: return -1;
    case CTL_ACK:
    case CTL_STATUS: return 0;
    default: return -2;
    }
}

/* Queued with a hold time: a keyboard controller takes only so many at once,
 * and a paste comes all at once. */
static void send_keys(struct vm *vm, const uint8_t *p)
{
    unsigned codes[CONTROL_KEYS], count = word(p, 0);

    if (count > CONTROL_KEYS) return;
    for (unsigned i = 0; i < count; i++)
        codes[i] = word(p, 1 + i);
    vm_lock(vm);
    if (!console_keys_locked(vm, codes, count))
        input_send_keys_locked(vm_input(vm), codes, count, KEY_HOLD_MS);
    vm_unlock(vm);
}

static void handle(struct client *c, uint32_t type, uint8_t *p, uint32_t bytes)
{
    struct vm *vm = c->s->vm;

    switch (type) {
    case CTL_WATCH: set_watch(c, word(p, 0) != 0); break;
    case CTL_ACK:
        c->is_ready = true;
        if (c->has_news) send_now(c);
        break;
    case CTL_KEYS: send_keys(vm, p); break;
    case CTL_MOUSE:
        vm_lock(vm);
        input_mouse_locked(vm_input(vm), (int)word(p, 0), (int)word(p, 1),
                           (int)word(p, 2), word(p, 3));
        vm_unlock(vm);
        break;
    case CTL_RUN:
        p[bytes] = '\0'; /* in[] has room: see on_ready */
        run_line(c, (char *)p);
        break;
    case CTL_STATUS:
        vm_lock(vm);
        put_state_locked(c);
        vm_unlock(vm);
        break;
    default: break;
    }
    flush(c);
}

/* ---- JSON ---- */

static void json_write(void *arg, const char *text, size_t bytes)
{
    struct client *c = arg;

    put(c, text, bytes);
    flush(c);
}

/* x-orrery-view was answered. */
static void begin_view(void *arg)
{
    struct client *c = arg;

    if (!is_there(c)) return;
    c->is_view = true;
    vm_lock(c->s->vm);
    put_state_locked(c);
    vm_unlock(c->s->vm);
    flush(c);
}

/* What a view's client does not see is JSON. */
static void consume_json(struct client *c)
{
    uint8_t copy[sizeof(c->in)];
    size_t bytes = c->in_bytes, taken;

    memcpy(copy, c->in, bytes);
    c->in_bytes = 0;
    taken = qmp_input(c->qmp, copy, bytes);
    if (!is_there(c)) return;
    memcpy(c->in, copy + taken, bytes - taken);
    c->in_bytes = bytes - taken;
}

/* Handle complete requests in in[]; false when the peer talks nonsense. */
static bool consume(struct client *c)
{
    while (is_there(c) && c->in_bytes >= sizeof(struct control_header)) {
        struct control_header h;
        uint8_t body[CONTROL_MAX_REQUEST + 1];
        size_t total;
        int want;

        memcpy(&h, c->in, sizeof(h));
        want = request_bytes(h.type);
        if (want == -2 || h.bytes > CONTROL_MAX_REQUEST ||
            (want >= 0 && h.bytes != (uint32_t)want)) {
            return false;
        }
        total = sizeof(h) + h.bytes;
        if (c->in_bytes < total) break;
        memcpy(body, c->in + sizeof(h), h.bytes);
        memmove(c->in, c->in + total, c->in_bytes - total);
        c->in_bytes -= total;
        handle(c, h.type, body, h.bytes);
    }
    return true;
}

static void on_ready(void *arg, unsigned ready)
{
    struct client *c = arg;

    if (ready & LOOP_WRITE) flush(c);
    if (!(ready & (LOOP_READ | LOOP_HANGUP))) return;
    while (is_there(c)) {
        ssize_t n =
            recv(c->fd, c->in + c->in_bytes, sizeof(c->in) - c->in_bytes, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) break;
        c->in_bytes += (size_t)n;
        if (!c->is_view) consume_json(c);
        if (is_there(c) && c->is_view && !consume(c)) break;
        if (!c->is_view && pending(c) > PENDING_MAX_BYTES) return;
    }
    drop(c);
}

/* Paused, goes on: every client hears of it at once. */
static void on_vm_event(void *arg, enum vm_event ev)
{
    struct control_server *s = arg;

    (void)ev;
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        if (!is_there(&s->client[i]) || !s->client[i].is_view) continue;
        put_state_locked(&s->client[i]);
        flush(&s->client[i]);
    }
}

/* ---- listening ---- */

static void on_connect(void *arg, unsigned ready)
{
    struct control_server *s = arg;
    int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)ready;
    if (fd < 0) return;
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        struct client *c = &s->client[i];

        if (c->fd >= 0) continue;
        *c = (struct client){ .s = s, .fd = fd, .qmp = c->qmp };
        if (loop_add_fd(s->loop, fd, LOOP_READ, on_ready, c, NULL) == 0) {
            qmp_connected(c->qmp, true);
            return;
        }
        c->fd = -1;
        break;
    }
    close(fd);
}

static int listen_at(const char *path, struct err *e)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd, rc, probe;

    if (strlen(path) >= sizeof(a.sun_path)) {
        return err_set(e, -ENAMETOOLONG, "control socket %s: name too long",
                       path);
    }
    strcpy(a.sun_path, path);
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0) {
        rc = connect(probe, (struct sockaddr *)&a, sizeof(a));
        close(probe);
        if (rc == 0) {
            return err_set(e, -EADDRINUSE,
                           "control socket %s: the machine runs already", path);
        }
        if (errno == ECONNREFUSED) unlink(path); /* left by a crash */
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return err_set(e, -errno, "socket: %s", strerror(errno));
    /* Nobody can connect before listen(), so the mode is set in time. */
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        chmod(path, 0600) < 0 || listen(fd, 16) < 0) {
        rc = err_set(e, -errno, "control socket %s: %s", path, strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}

static int open_peers(struct control_server *s, struct err *e)
{
    int rc = 0;

    for (unsigned i = 0; i < MAX_CLIENTS && rc == 0; i++) {
        struct qmp_options o = { .write = json_write,
                                 .pending = pending,
                                 .view = begin_view,
                                 .arg = &s->client[i] };

        rc = qmp_open(s->vm, &o, &s->client[i].qmp, e);
    }
    return rc;
}

static void close_peers(struct control_server *s)
{
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        qmp_close(s->client[i].qmp);
        s->client[i].qmp = NULL;
    }
}

int control_server_open(struct vm *vm, const struct control_options *o,
                        struct control_server **out, struct err *e)
{
    struct control_server *s = calloc(1, sizeof(*s));
    int rc;

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    s->vm = vm;
    s->loop = vm_loop(vm);
    s->monitor_run = o->monitor_run;
    s->arg = o->arg;
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        s->client[i].fd = -1;
        s->client[i].s = s;
    }
    rc = open_peers(s, e);
    if (rc < 0) goto free_server;
    s->fd = listen_at(o->path, e);
    rc = s->fd;
    if (rc < 0) goto free_server;
    s->path = strdup(o->path);
    s->name = strdup(o->name != NULL ? o->name : "orrery");
    rc = loop_add_fd(s->loop, s->fd, LOOP_READ, on_connect, s, e);
    if (rc < 0) goto close_fd;
    rc = display_add_sink(vm_display(vm),
                          &(struct display_sink){ .name = "control",
                                                  .resize = on_resize,
                                                  .damage = on_damage,
                                                  .frame = on_frame,
                                                  .arg = s });
    if (rc < 0) {
        err_set(e, rc, "too many displays");
        goto unwatch;
    }
    vm_add_listener(vm, on_vm_event, s);
    *out = s;
    return 0;
unwatch:
    loop_del_fd(s->loop, s->fd);
close_fd:
    close(s->fd);
    unlink(o->path);
    free(s->path);
    free(s->name);
free_server:
    close_peers(s);
    free(s);
    return rc;
}

void control_server_close(struct control_server *s)
{
    if (s == NULL) return;
    display_remove_sink(vm_display(s->vm), s);
    vm_remove_listener(s->vm, s);
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        qmp_close(s->client[i].qmp);
    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        s->client[i].qmp = NULL;
        drop(&s->client[i]);
    }
    loop_del_fd(s->loop, s->fd);
    close(s->fd);
    unlink(s->path);
    free(s->path);
    free(s->name);
    free(s);
}
