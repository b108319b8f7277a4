/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MONITOR_H
#define ORRERY_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * The monitor for people (lines, HMP: commands, prompt and answers laid out as
 * QEMU's) and for programs (JSON, QMP).  Loop thread, VM lock NOT held, for
 * everything.
 */
struct vm;
struct chardev;
struct monitor;
struct readline;

/* Attach a monitor with line editing to a character device (its monitor
 * front end).  Greets at once, or when a peer connects or switches to it. */
int monitor_create(struct vm *vm, struct chardev *c, struct monitor **out,
                   struct err *e);
/* The same for JSON. */
int monitor_create_json(struct vm *vm, struct chardev *c, bool is_pretty,
                        struct monitor **out, struct err *e);
void monitor_destroy(struct monitor *m); /* NULL is allowed */

/* What lasts from one line to the next. */
struct monitor_session {
    struct vm *vm;
    unsigned cpu;              /* chosen by the command cpu */
    char format, size;         /* given last in /FMT, 0 = none yet */
    bool is_quitting;          /* the last line was quit */
    bool is_person;            /* who types: short help, a word on success */
    unsigned mouse_buttons;    /* held by mouse_button, input-send-event */
    int tablet_x, tablet_y;    /* last position given, 0..32767 */
    struct readline *readline; /* for info history, or NULL */
    /* A command that takes long (migrate) set is_waiting: no prompt and no
     * input until somebody calls wake with what there is to say.  NULL: this
     * session does not wait.  Loop thread, VM lock not held. */
    bool is_waiting;
    void (*wake)(struct monitor_session *s, const char *text);
    /* The same for a line out of a JSON request, whose answer waits: not for
     * what a program would not want to wait for (migrate). */
    void (*wake_program)(struct monitor_session *s, const char *text);
};

/* Run one line and print the answer, ready for a terminal (no control
 * characters but newlines). */
void monitor_run(struct monitor_session *s, const char *line, FILE *out);
void monitor_run_locked(struct monitor_session *s, const char *line, FILE *out);

/*
 * Ways to go on from the first at octets of line: calls fn for each word that
 * could stand at the end, and returns where that word starts.
 */
size_t monitor_complete(struct monitor_session *s, const char *line, size_t at,
                        void (*fn)(void *arg, const char *word), void *arg);
/* What the command at the start of line takes, "cont|c  -- let ..."; false if
 * there is no such command. */
bool monitor_usage(const char *line, char *out, size_t cap);

/* ---- JSON on any transport ---- */

struct qmp;

struct qmp_options {
    bool is_pretty;
    /* One whole answer or event, ended by CR LF. */
    void (*write)(void *arg, const char *text, size_t bytes);
    /* Octets not sent yet: events are dropped for a peer that does not read. */
    size_t (*pending)(void *arg);
    /* The peer asked for x-orrery-view and has the answer: what follows is no
     * JSON.  NULL: refused. */
    void (*view)(void *arg);
    void *arg;
};

int qmp_open(struct vm *vm, const struct qmp_options *o, struct qmp **out,
             struct err *e);
void qmp_close(struct qmp *q); /* NULL is allowed */
/* A peer is there (its greeting goes out) or gone; both forget what was. */
void qmp_connected(struct qmp *q, bool is_there);
/* Octets from the peer; returns how many were taken: fewer than given after
 * x-orrery-view. */
size_t qmp_input(struct qmp *q, const uint8_t *buf, size_t bytes);

/*
 * What the monitor tells about but may not include: machine types and device
 * classes.  Service "monitor-catalog".
 */
struct dev_class;
struct monitor_catalog {
    /* n-th machine type; false at the end. */
    bool (*machine)(unsigned n, const char **name, const char **alias,
                    const char **title);
    const char *default_machine;
    const struct dev_class *const *classes; /* ends with NULL */
    /* n-th option of the command line, without its dash; or NULL. */
    const char *(*option)(unsigned n);
};

#endif
