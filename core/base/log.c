/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Guest errors let through before the rest is only counted. */
enum { GUEST_LINES_MAX = 2000 };

/* The only mutable file-scope data of the program: the log itself. */
static _Atomic unsigned items_on;
static _Atomic unsigned guest_lines;
static FILE *log_file;

void log_set_items(unsigned items)
{
    atomic_store(&items_on, items);
}

unsigned log_items(void)
{
    return atomic_load(&items_on);
}

int log_open(const char *path)
{
    FILE *f = path != NULL ? fopen(path, "we") : NULL;

    if (path != NULL && f == NULL) return -errno;
    if (f != NULL) setvbuf(f, NULL, _IOLBF, 0);
    log_file = f;
    return 0;
}

static void put(const char *head, const char *fmt, va_list ap)
{
    char text[512];
    FILE *f = log_file != NULL ? log_file : stderr;

    vsnprintf(text, sizeof(text), fmt, ap);
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    }
    fprintf(f, "%s%s\n", head, text);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put("orrery: ", fmt, ap);
    va_end(ap);
}

void log_guest(const char *who, const char *fmt, ...)
{
    char head[64];
    va_list ap;

    if (!(log_items() & LOG_GUEST_ERRORS)) return;
    if (atomic_fetch_add(&guest_lines, 1) >= GUEST_LINES_MAX) return;
    snprintf(head, sizeof(head), "guest: %.40s: ", who);
    va_start(ap, fmt);
    put(head, fmt, ap);
    va_end(ap);
}

void log_item(unsigned item, const char *fmt, ...)
{
    va_list ap;

    if (!(log_items() & item)) return;
    va_start(ap, fmt);
    put("", fmt, ap);
    va_end(ap);
}
