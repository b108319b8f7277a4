/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_LOG_H
#define ORRERY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Log lines.  Any thread.  Control characters in the finished text are shown
 * as '?', so guest text can not reach a terminal raw.
 */
enum log_item { /* -d items; warnings always go out */
                LOG_GUEST_ERRORS = 1,
                LOG_INT = 2,
                LOG_CPU_RESET = 4,
                LOG_UNIMP = 8,
                LOG_TRACE = 16, /* every event of trace.h */
                LOG_IN_ASM = 32,
                LOG_EXEC = 64,
                LOG_CPU = 128,
};

struct log_item_row {
    const char *name;
    unsigned item;
    const char *help;
};
extern const struct log_item_row log_item_rows[]; /* ends with name NULL */

/* What "int,cpu_reset,trace:cpu_*", "all" or "none" asks for. */
struct log_choice {
    unsigned items;
    uint64_t events; /* bits by enum trace_event */
};
/* -EINVAL names the item that is not known. */
int log_parse(const char *text, struct log_choice *out, struct err *e);
void log_choose(const struct log_choice *c);
unsigned log_items(void);
/* Bits of the trace events that are on. */
uint64_t log_events(void);
void log_set_events(uint64_t events);
/* File for everything; NULL = stderr.  0 or -errno. */
int log_open(const char *path);

/* "orrery: ..." to stderr or the log file. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Something the guest (or an image) did that real hardware would not like.
 * who: device name.  Rate-limited; shown with -d guest_errors. */
void log_guest(const char *who, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void log_item(unsigned item, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Several lines of one item, not torn apart by those of other threads. */
void log_text(unsigned item, const char *text);

#endif
