/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_TERM_H
#define ORRERY_UI_DISPLAY_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * -display curses: the guest's screen in this terminal.
 *
 * ncurses runs on a thread of its own, so a terminal that stops reading
 * stops nothing else.  Hooks run on the loop thread without the VM lock.
 */
struct vm;
struct term_display;

struct term_options {
    const char *name;      /* machine, for the status line; NULL "orrery" */
    bool is_status_hidden; /* until the prefix key is pressed */
    /* Run one monitor command line and print what it prints (Ctrl-A c); NULL:
     * no monitor in the terminal. */
    void (*monitor_run)(void *arg, const char *line, FILE *out);
    /* Leave the machine running (Ctrl-A d); NULL: Ctrl-A d asks whether to
     * quit, which is vm_request(VM_REQ_QUIT). */
    void (*detach)(void *arg);
    void *arg;
};

/* Take over stdin/stdout.  Loop thread, VM lock not held, after
 * display_create().  -ENOTTY when they are no terminal. */
int term_display_open(struct vm *vm, const struct term_options *o,
                      struct term_display **out, struct err *e);
/* Give the terminal back as it was.  Same thread; NULL is allowed. */
void term_display_close(struct term_display *t);

#endif
