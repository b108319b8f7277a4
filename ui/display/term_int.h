/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_TERM_INT_H
#define ORRERY_UI_DISPLAY_TERM_INT_H

#include <curses.h>
#include <pthread.h>
#include <semaphore.h>
#include <termios.h>

#include "core/host/display.h"
#include "core/vm/vm.h"
#include "ui/display/term.h"
#include "ui/display/term_keys.h"
#include "ui/display/term_view.h"

/*
 * Private to the terminal display.  Two threads: the loop thread (the hub's
 * sink, hooks) and the terminal's thread, which alone calls ncurses.
 */
enum {
    TERM_PREFIX = 1 /* Ctrl-A */,
    TERM_MON_LINES = 400,
    TERM_MON_LINE_CHARS = 512,
    TERM_HISTORY = 32
};

/* What the keyboard talks to. */
enum term_focus {
    FOCUS_GUEST,
    FOCUS_PREFIX,
    FOCUS_MENU,
    FOCUS_QUIT,
    FOCUS_MONITOR
};

struct term_monitor {           /* the terminal thread's */
    char *line[TERM_MON_LINES]; /* ring, oldest at first */
    unsigned first, count;
    char input[TERM_MON_LINE_CHARS];
    unsigned input_bytes;
    char *history[TERM_HISTORY];
    unsigned history_count, history_at;
    unsigned scroll_lines; /* back from the end */
};

struct term_shared { /* guarded by lock */
    struct text_screen text;
    struct surface surface; /* copy, top octets 0xff */
    size_t cap_px;
    enum run_state state;
    bool is_new;
    bool wants_stop;
    char *monitor_output; /* of finished commands, not yet shown */
    size_t monitor_bytes;
};

struct term_guard {
    int fd; /* its standard input; -1: no guard */
    pid_t pid;
};

struct term_display {
    struct vm *vm;
    struct term_options opt;
    char name[64];
    pthread_t thread;
    pthread_mutex_t lock;
    struct term_shared shared;
    int wake_fd;
    sem_t ready; /* the thread has the terminal, or open_status tells why */
    int open_status;
    struct termios saved_tty;
    struct term_guard guard;
    int stderr_fd, log_fd; /* -1: standard error was no terminal */

    /* the loop thread's */
    bool is_stale; /* pixels changed since the last copy */
    uint64_t copied_ns;
    unsigned seen_lines, seen_cols;

    /* the terminal thread's */
    SCREEN *screen;
    WINDOW *guest, *status, *pane;
    struct term_view view;
    struct text_screen text; /* what is drawn */
    struct surface surface;
    size_t cap_px;
    enum run_state state;
    enum term_focus focus;
    bool is_monitor_open; /* also while the prefix key waits for its second */
    unsigned menu_row;
    bool is_status_hidden;
    struct term_monitor mon;
};

/* term.c */
void term_send_keys(struct term_display *t, const unsigned *codes,
                    unsigned count);
void term_select_console(struct term_display *t, unsigned n);
void term_post(struct term_display *t, void (*fn)(void *arg));
void term_run_monitor(struct term_display *t, const char *line);

/* term_menu.c: keys after the prefix, help, questions */
/* What has the keyboard when no question or menu is open. */
enum term_focus term_rest_focus(const struct term_display *t);
void term_prefix_key(struct term_display *t, const struct term_input *in);
void term_menu_key(struct term_display *t, const struct term_input *in);
void term_menu_draw(struct term_display *t);
void term_quit_key(struct term_display *t, const struct term_input *in);

/* term_monitor.c */
void term_monitor_key(struct term_display *t, const struct term_input *in);
void term_monitor_add(struct term_display *t, const char *text);
void term_monitor_draw(struct term_display *t);
void term_monitor_free(struct term_display *t);

/* term_guard.c: a child that puts the terminal back should this process die
 * without doing so; out_fd is the terminal. */
void term_guard_start(struct term_guard *g, int out_fd);
void term_guard_stop(struct term_guard *g);

#endif
