/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/err.h"

#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int rc, const char *fmt, ...)
{
    va_list ap;

    if (e == NULL) return rc;
    e->code = rc;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    return rc;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char what[sizeof(e->text)];
    size_t n, room;
    va_list ap;

    if (e == NULL) return -1;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    n = strlen(what);
    if (n > sizeof(e->text) - 3) n = sizeof(e->text) - 3;
    room = sizeof(e->text) - n - 3;
    memmove(e->text + n + 2, e->text, strnlen(e->text, room) + 1);
    e->text[sizeof(e->text) - 1] = '\0';
    memcpy(e->text, what, n);
    memcpy(e->text + n, ": ", 2);
    return e->code;
}
