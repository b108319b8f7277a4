/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal display.
 *
 * Loop thread: the hub calls frame(); what changed is copied under the lock
 * and the terminal's thread is woken.  Terminal thread: draws, reads keys,
 * and posts what they mean back to the loop.  A terminal that does not read
 * (a hung ssh) blocks the second thread only.
 *
 * Graphics are copied at most every PIXELS_NS; text with every frame.
 */
#include "ui/display/term.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/host/console.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "ui/display/term_int.h"

#define PIXELS_NS 80000000u
enum { KEY_HOLD_MS = 10, JOIN_WAIT_S = 1 };

static void wake(struct term_display *t)
{
    uint64_t one = 1;
    ssize_t n = write(t->wake_fd, &one, sizeof(one));

    (void)n; /* fails only when it is signalled already */
}

/* ------------------------------------------------------------ loop thread */

struct key_event {
    struct vm *vm;
    unsigned codes[TERM_KEY_CODES], count;
};

static void deliver_keys(void *arg)
{
    struct key_event *ev = arg;

    vm_lock(ev->vm);
    if (!console_keys_locked(ev->vm, ev->codes, ev->count))
        input_send_keys_locked(vm_input(ev->vm), ev->codes, ev->count,
                               KEY_HOLD_MS);
    vm_unlock(ev->vm);
    free(ev);
}

void term_send_keys(struct term_display *t, const unsigned *codes,
                    unsigned count)
{
    struct key_event *ev = malloc(sizeof(*ev));

    if (ev == NULL || count > TERM_KEY_CODES) {
        free(ev);
        return;
    }
    ev->vm = t->vm;
    ev->count = count;
    memcpy(ev->codes, codes, count * sizeof(*codes));
    loop_post(vm_loop(t->vm), deliver_keys, ev);
}

static void select_console(void *arg)
{
    struct key_event *ev = arg;

    vm_lock(ev->vm);
    console_select_locked(ev->vm, ev->codes[0]);
    vm_unlock(ev->vm);
    free(ev);
}

void term_select_console(struct term_display *t, unsigned n)
{
    struct key_event *ev = calloc(1, sizeof(*ev));

    if (ev == NULL) return;
    ev->vm = t->vm;
    ev->codes[0] = n;
    loop_post(vm_loop(t->vm), select_console, ev);
}

void term_post(struct term_display *t, void (*fn)(void *arg))
{
    loop_post(vm_loop(t->vm), fn, t);
}

struct monitor_line {
    struct term_display *t;
    char text[TERM_MON_LINE_CHARS];
};

static void run_monitor_line(void *arg)
{
    struct monitor_line *l = arg;
    struct term_display *t = l->t;
    char *out = NULL, *all;
    size_t bytes = 0;
    FILE *f = open_memstream(&out, &bytes);

    if (f != NULL) {
        t->opt.monitor_run(t->opt.arg, l->text, f);
        fclose(f);
    }
    pthread_mutex_lock(&t->lock);
    all =
        realloc(t->shared.monitor_output, t->shared.monitor_bytes + bytes + 1);
    if (all != NULL) {
        if (bytes > 0) memcpy(all + t->shared.monitor_bytes, out, bytes);
        t->shared.monitor_bytes += bytes;
        all[t->shared.monitor_bytes] = '\0';
        t->shared.monitor_output = all;
    }
    pthread_mutex_unlock(&t->lock);
    wake(t);
    free(out);
    free(l);
}

void term_run_monitor(struct term_display *t, const char *line)
{
    struct monitor_line *l = malloc(sizeof(*l));

    if (l == NULL) return;
    l->t = t;
    snprintf(l->text, sizeof(l->text), "%s", line);
    loop_post(vm_loop(t->vm), run_monitor_line, l);
}

static void sink_damage(void *arg, const struct surface *s, struct rect r)
{
    struct term_display *t = arg;

    (void)s, (void)r;
    t->is_stale = true;
}

static bool copy_pixels(struct term_display *t, const struct surface *s)
{
    struct term_shared *sh = &t->shared;
    size_t count = (size_t)s->width_px * (size_t)s->height_px;

    if (count > sh->cap_px) {
        uint32_t *px = realloc(sh->surface.px, count * sizeof(*px));
        if (px == NULL) return false;
        sh->surface.px = px;
        sh->cap_px = count;
    }
    sh->surface.width_px = sh->surface.stride_px = s->width_px;
    sh->surface.height_px = s->height_px;
    for (int y = 0; y < s->height_px; y++) {
        const uint32_t *from = s->px + (size_t)y * (size_t)s->stride_px;
        uint32_t *to = sh->surface.px + (size_t)y * (size_t)s->width_px;
        for (int x = 0; x < s->width_px; x++)
            to[x] = from[x] | 0xff000000u;
    }
    return true;
}

static bool has_new_size(struct term_display *t)
{
    struct winsize ws;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0) return false;
    if (ws.ws_row == t->seen_lines && ws.ws_col == t->seen_cols) return false;
    t->seen_lines = ws.ws_row;
    t->seen_cols = ws.ws_col;
    return true;
}

static void copy_text(struct text_screen *to, const struct text_screen *from)
{
    to->is_text = from->is_text;
    to->cols = from->cols;
    to->rows = from->rows;
    to->cursor_col = from->cursor_col;
    to->cursor_row = from->cursor_row;
    to->has_blink = from->has_blink;
    memcpy(to->palette, from->palette, sizeof(to->palette));
    if (!from->is_text) return;
    memcpy(to->ch, from->ch, (size_t)from->rows * sizeof(from->ch[0]));
    memcpy(to->attr, from->attr, (size_t)from->rows * sizeof(from->attr[0]));
}

static void sink_frame(void *arg, const struct surface *s,
                       const struct text_screen *text)
{
    struct term_display *t = arg;
    uint64_t now_ns = loop_now_ns();
    enum run_state state = vm_run_state(t->vm);
    bool wants_wake = has_new_size(t);

    pthread_mutex_lock(&t->lock);
    if (state != t->shared.state) wants_wake = true;
    t->shared.state = state;
    if (t->is_stale && (text->is_text || now_ns - t->copied_ns >= PIXELS_NS)) {
        copy_text(&t->shared.text, text);
        if (text->is_text) { /* the size is in the status line */
            t->shared.surface.width_px = s->width_px;
            t->shared.surface.height_px = s->height_px;
        }
        if (text->is_text || copy_pixels(t, s)) {
            t->shared.is_new = true;
            t->is_stale = false;
            t->copied_ns = now_ns;
            wants_wake = true;
        }
    }
    pthread_mutex_unlock(&t->lock);
    if (wants_wake) wake(t);
}

/* --------------------------------------------------------- terminal thread */

static void take_frame(struct term_display *t)
{
    struct term_shared *sh = &t->shared;
    char *output;

    pthread_mutex_lock(&t->lock);
    t->state = sh->state;
    if (sh->is_new) {
        struct surface old = t->surface;
        size_t old_cap = t->cap_px;
        copy_text(&t->text, &sh->text);
        t->surface = sh->surface; /* swap buffers */
        t->cap_px = sh->cap_px;
        sh->surface.px = old.px;
        sh->cap_px = old_cap;
        sh->is_new = false;
    }
    output = sh->monitor_output;
    sh->monitor_output = NULL;
    sh->monitor_bytes = 0;
    pthread_mutex_unlock(&t->lock);
    if (output != NULL) term_monitor_add(t, output);
    free(output);
}

static void state_text(const struct term_display *t, const char **sign,
                       const char **word)
{
    bool u = t->view.is_utf8;

    *word = run_state_name(t->state);
    switch (t->state) {
    case RUN_RUNNING: *sign = u ? "\u25cf" : "*"; break;
    case RUN_PRELAUNCH:
    case RUN_PAUSED: *sign = u ? "\u2016" : "="; break;
    case RUN_SHUTDOWN: *sign = u ? "\u25cb" : "o"; break;
    default: *sign = "!"; break;
    }
}

static void draw_status(struct term_display *t)
{
    const char *sign, *word;
    const char *bar = t->view.is_utf8 ? "\u2502" : "|";
    char line[512];

    state_text(t, &sign, &word);
    if (t->focus == FOCUS_QUIT)
        snprintf(line, sizeof(line),
                 " Quit %s? It stops as if its power was cut.  y = quit,"
                 " any other key = stay",
                 t->name);
    else if (t->focus == FOCUS_PREFIX)
        snprintf(line, sizeof(line),
                 " Ctrl-A: ? help  a Ctrl-A  k Ctrl-Alt-Del  p pause"
                 "  c monitor  d leave  q quit");
    else
        snprintf(line, sizeof(line),
                 " %s %s %s %s %dx%d %s %s Ctrl-A ? for keys", t->name, sign,
                 word, bar, t->surface.width_px, t->surface.height_px,
                 t->text.is_text ? "text" : "graphics", bar);
    werase(t->status);
    wbkgdset(t->status, A_REVERSE | ' ');
    werase(t->status);
    mvwaddnstr(t->status, 0, 0, line, -1);
    wnoutrefresh(t->status);
}

/* Windows for the terminal's present size and what is to be shown. */
static bool layout(struct term_display *t)
{
    bool has_pane = t->is_monitor_open;
    bool has_status = t->focus != FOCUS_GUEST || !t->is_status_hidden;
    int pane_lines = has_pane ? LINES / 2 : 0, lines;

    /* a 25-line screen on a 25-line terminal is worth more than the line */
    if (t->focus == FOCUS_GUEST && t->text.is_text && t->text.rows == LINES)
        has_status = false;
    if (LINES < 3) pane_lines = 0;
    lines = LINES - pane_lines - (has_status ? 1 : 0);
    if (lines < 1) lines = 1;
    if (t->guest != NULL && getmaxy(t->guest) == lines &&
        getmaxx(t->guest) == COLS && (t->status != NULL) == has_status &&
        (t->pane != NULL) == (pane_lines > 2))
        return true;
    if (t->guest != NULL) delwin(t->guest);
    if (t->status != NULL) delwin(t->status);
    if (t->pane != NULL) delwin(t->pane);
    t->status = t->pane = NULL;
    t->guest = newwin(lines, COLS, 0, 0);
    if (has_status && LINES > 1) t->status = newwin(1, COLS, LINES - 1, 0);
    if (pane_lines > 2) t->pane = newwin(pane_lines, COLS, lines, 0);
    if (t->guest == NULL) return false;
    keypad(t->guest, TRUE);
    nodelay(t->guest, TRUE);
    return true;
}

static void draw(struct term_display *t)
{
    int y, x;

    if (!layout(t)) return;
    term_view_draw(&t->view, t->guest, &t->surface, &t->text, &y, &x);
    wnoutrefresh(t->guest);
    if (t->status != NULL) draw_status(t);
    if (t->pane != NULL) term_monitor_draw(t);
    if (t->focus == FOCUS_MENU) term_menu_draw(t);
    if (t->pane != NULL) {
        curs_set(t->focus == FOCUS_MONITOR);
    } else if (y >= 0 && t->focus == FOCUS_GUEST) {
        curs_set(1);
        wmove(t->guest, y, x);
        wnoutrefresh(t->guest);
    } else {
        curs_set(0);
    }
    doupdate();
}

static void guest_key(struct term_display *t, const struct term_input *in)
{
    struct term_key k;
    unsigned codes[TERM_KEY_CODES], count;

    if (!in->is_function && in->code == TERM_PREFIX) {
        t->focus = FOCUS_PREFIX;
        return;
    }
    if (!term_key_decode(in, &k)) return;
    count = term_key_codes(&k, codes);
    term_send_keys(t, codes, count);
}

static void read_keys(struct term_display *t)
{
    struct term_input in;

    while (term_input_read(t->guest, &in)) {
        if (in.is_function && in.code == KEY_RESIZE) continue;
        switch (t->focus) {
        case FOCUS_GUEST: guest_key(t, &in); break;
        case FOCUS_PREFIX: term_prefix_key(t, &in); break;
        case FOCUS_MENU: term_menu_key(t, &in); break;
        case FOCUS_QUIT: term_quit_key(t, &in); break;
        case FOCUS_MONITOR: term_monitor_key(t, &in); break;
        }
    }
}

static void follow_size(void)
{
    struct winsize ws;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_row < 1 ||
        ws.ws_col < 1)
        return;
    if (ws.ws_row != LINES || ws.ws_col != COLS)
        resizeterm(ws.ws_row, ws.ws_col);
}

static bool wants_stop(struct term_display *t)
{
    bool stop;

    pthread_mutex_lock(&t->lock);
    stop = t->shared.wants_stop;
    pthread_mutex_unlock(&t->lock);
    return stop;
}

static int start_curses(struct term_display *t)
{
    t->screen = newterm(NULL, stdout, stdin);
    if (t->screen == NULL) return -ENODEV;
    raw();
    noecho();
    nonl();
    set_escdelay(25);
    term_input_init();
    term_view_init(&t->view);
    t->state = t->shared.state;
    term_guard_start(&t->guard, STDOUT_FILENO);
    return layout(t) ? 0 : -ENOMEM;
}

static void stop_curses(struct term_display *t)
{
    term_view_fini(&t->view);
    if (t->pane != NULL) delwin(t->pane);
    if (t->status != NULL) delwin(t->status);
    if (t->guest != NULL) delwin(t->guest);
    endwin();
    delscreen(t->screen);
    term_guard_stop(&t->guard);
}

static void *thread_main(void *arg)
{
    struct term_display *t = arg;
    struct pollfd fds[2] = { { STDIN_FILENO, POLLIN, 0 },
                             { t->wake_fd, POLLIN, 0 } };

    t->open_status = start_curses(t);
    sem_post(&t->ready);
    if (t->open_status < 0) {
        if (t->screen != NULL) stop_curses(t);
        return NULL;
    }
    while (!wants_stop(t)) {
        uint64_t count;
        take_frame(t);
        follow_size();
        draw(t);
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        if (fds[1].revents != 0) {
            ssize_t n = read(t->wake_fd, &count, sizeof(count));
            (void)n;
        }
        if (fds[0].revents & (POLLHUP | POLLERR))
            fds[0].fd = -1; /* the terminal is gone */
        else if (fds[0].revents != 0)
            read_keys(t);
    }
    stop_curses(t);
    return NULL;
}

/* ----------------------------------------------------------- open and close */

/* Messages would land in the picture: keep them until it is gone. */
static void hold_stderr(struct term_display *t)
{
    t->stderr_fd = t->log_fd = -1;
    if (!isatty(STDERR_FILENO)) return;
    t->log_fd = memfd_create("orrery-messages", MFD_CLOEXEC);
    if (t->log_fd < 0) return;
    t->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    fflush(stderr);
    if (t->stderr_fd < 0 || dup2(t->log_fd, STDERR_FILENO) < 0) {
        close(t->log_fd);
        t->log_fd = -1;
    }
}

static void release_stderr(struct term_display *t)
{
    char buf[4096];
    ssize_t n;
    off_t at = 0;

    if (t->log_fd < 0) return;
    fflush(stderr);
    dup2(t->stderr_fd, STDERR_FILENO);
    while ((n = pread(t->log_fd, buf, sizeof(buf), at)) > 0) {
        if (write(STDERR_FILENO, buf, (size_t)n) < 0) break;
        at += n;
    }
    close(t->log_fd);
    close(t->stderr_fd);
    t->log_fd = -1;
}

static int start_thread(struct term_display *t)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all); /* signals are the main thread's business */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = -pthread_create(&t->thread, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc < 0) return rc;
    while (sem_wait(&t->ready) < 0 && errno == EINTR)
        continue;
    if (t->open_status < 0) pthread_join(t->thread, NULL);
    return t->open_status;
}

static void free_display(struct term_display *t)
{
    release_stderr(t);
    term_monitor_free(t);
    free(t->shared.monitor_output);
    free(t->shared.surface.px);
    free(t->surface.px);
    if (t->wake_fd >= 0) close(t->wake_fd);
    sem_destroy(&t->ready);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

int term_display_open(struct vm *vm, const struct term_options *o,
                      struct term_display **out, struct err *e)
{
    struct display_sink sink = { .name = "curses",
                                 .damage = sink_damage,
                                 .frame = sink_frame };
    struct term_display *t;
    int rc;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return err_set(e, -ENOTTY,
                       "display 'curses' needs a terminal as standard input "
                       "and output");
    t = calloc(1, sizeof(*t));
    if (t == NULL) return err_set(e, -ENOMEM, "no memory for the display");
    t->vm = vm;
    t->opt = *o;
    t->is_status_hidden = o->is_status_hidden;
    snprintf(t->name, sizeof(t->name), "%s",
             o->name != NULL ? o->name : "orrery");
    t->shared.state = vm_run_state(vm);
    t->stderr_fd = t->log_fd = t->guard.fd = -1;
    t->is_stale = true;
    t->text.is_text = t->shared.text.is_text = true;
    pthread_mutex_init(&t->lock, NULL);
    sem_init(&t->ready, 0, 0);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0) {
        rc = err_set(e, -errno, "eventfd: %s", strerror(errno));
        goto free_it;
    }
    rc = term_check_type(e);
    if (rc < 0) goto free_it;
    setlocale(LC_CTYPE, "");
    tcgetattr(STDIN_FILENO, &t->saved_tty);
    hold_stderr(t);
    rc = start_thread(t);
    if (rc < 0) {
        const char *term = getenv("TERM");
        err_set(e, rc, "cannot use the terminal (TERM=%s)",
                term != NULL ? term : "");
        goto free_it;
    }
    sink.arg = t;
    rc = display_add_sink(vm_display(vm), &sink);
    if (rc < 0) {
        term_display_close(t);
        return err_set(e, rc, "too many displays");
    }
    *out = t;
    return 0;
free_it:
    free_display(t);
    return rc;
}

void term_display_close(struct term_display *t)
{
    struct timespec until;

    if (t == NULL) return;
    display_remove_sink(vm_display(t->vm), t);
    pthread_mutex_lock(&t->lock);
    t->shared.wants_stop = true;
    pthread_mutex_unlock(&t->lock);
    wake(t);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_WAIT_S;
    if (pthread_timedjoin_np(t->thread, NULL, &until) != 0) {
        /* it hangs in a write: drop what the terminal did not take */
        tcflush(STDOUT_FILENO, TCOFLUSH);
        until.tv_sec += JOIN_WAIT_S;
        if (pthread_timedjoin_np(t->thread, NULL, &until) != 0)
            return; /* the guard puts the terminal back when we exit */
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &t->saved_tty);
    free_display(t);
}
