/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_RUN_PARTS_H
#define ORRERY_UI_RUN_PARTS_H

#include <stdio.h>

#include "core/base/err.h"

/*
 * The ways to look at a running machine: terminal, window, VNC, control
 * socket.  Loop thread, VM lock not held.
 */
struct vm;
struct term_display;
struct sdl_display;
struct vnc_display;
struct control_server;

struct drive_table;
struct loop;
struct options;

/* run_drives.c: objects, named nodes and drives of the machine. */
struct run_drives {
    struct vm *vm;
    struct loop *loop;
    const struct options *o;
    struct drive_table *table;
};
/* What was opened before a failure is closed by run_drives_close. */
int run_drives_open(struct run_drives *d, struct vm *vm, struct loop *l,
                    const struct options *o, struct err *e);
void run_drives_close(struct run_drives *d);

struct run_view_options {
    const char *display;      /* "curses", "sdl", "none" */
    const char *display_opts; /* "full-screen=on,window-close=off" or NULL */
    const char *vnc;          /* -vnc text or NULL */
    const char *control;      /* path or NULL */
    const char *name;         /* of the machine or NULL */
    void (*monitor_run)(void *arg, const char *line, FILE *out);
    void *arg;
};

struct run_views {
    struct term_display *term;
    struct sdl_display *sdl;
    struct vnc_display *vnc;
    struct control_server *control;
};

/* What was opened before a failure is closed by run_views_close. */
int run_views_open(struct run_views *v, struct vm *vm,
                   const struct run_view_options *o, struct err *e);
void run_views_close(struct run_views *v);

#endif
