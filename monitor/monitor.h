/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MONITOR_H
#define ORRERY_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * The human monitor: commands, prompt and answers laid out as QEMU's, so that
 * what drives QEMU's monitor drives this one.  Loop thread, VM lock NOT held,
 * for everything.
 */
struct vm;
struct chardev;
struct monitor;

/* Attach a monitor with line editing to a character device (its monitor
 * front end).  Greets at once, or when a peer connects or switches to it. */
int monitor_create(struct vm *vm, struct chardev *c, struct monitor **out,
                   struct err *e);
void monitor_destroy(struct monitor *m); /* NULL is allowed */

/* What lasts from one line to the next. */
struct monitor_session {
    struct vm *vm;
    unsigned cpu;           /* chosen by the command cpu */
    char format, size;      /* given last in /FMT, 0 = none yet */
    bool is_quitting;       /* the last line was quit */
    unsigned mouse_buttons; /* held by mouse_button */
};

/* Run one line and print the answer, ready for a terminal (no control
 * characters but newlines). */
void monitor_run(struct monitor_session *s, const char *line, FILE *out);

/*
 * Ways to go on from the first at octets of line: calls fn for each word that
 * could stand at the end, and returns where that word starts.
 */
size_t monitor_complete(struct monitor_session *s, const char *line, size_t at,
                        void (*fn)(void *arg, const char *word), void *arg);

#endif
