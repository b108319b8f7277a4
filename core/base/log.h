/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_LOG_H
#define ORRERY_BASE_LOG_H

#include <stdbool.h>

/*
 * Log lines.  Any thread.  Control characters in the finished text are shown
 * as '?', so guest text can not reach a terminal raw.
 */
enum log_item { /* -d items; warnings always go out */
                LOG_GUEST_ERRORS = 1,
                LOG_INT = 2,
                LOG_CPU_RESET = 4,
                LOG_UNIMP = 8,
                LOG_TRACE = 16,
};

void log_set_items(unsigned items);
unsigned log_items(void);
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

#endif
