/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_ERR_H
#define ORRERY_BASE_ERR_H

#include <stdarg.h>

/*
 * Error text, made where the fact is known and printed once by the caller on
 * top.  Functions return 0 or -errno and fill a struct err.  Text: lower case,
 * no full stop, names the value that is wrong.
 */
struct err {
    int code;       /* -errno, 0 = none */
    char text[400]; /* empty = none */
};

#define ERR_INIT                     \
    {                                \
        .code = 0, .text = { '\0' }, \
    }

/* Set code and text; returns rc so that `return err_set(e, ...)` works.
 * e may be NULL.  Any thread. */
int err_set(struct err *e, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "what: " before the text that is there; returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
