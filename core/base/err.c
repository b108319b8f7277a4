/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/err.h"

#include <stdio.h>
#include <string.h>

enum {
    LONGEST = 8192, /* of a text before it is cut: two whole paths */
    HEAD = 192,     /* octets that are kept before the cut */
};

/* Control characters, also those that UTF-8 writes as C2 80 to C2 9F, would
 * steer the reader's terminal or break the line. */
static void clean(char *text)
{
    unsigned char *p = (unsigned char *)text;

    for (; *p != '\0'; p++) {
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
        else if (*p < ' ' || *p == 0x7f)
            *p = '?';
    }
}

/* A long name stands at the beginning, the reason at the end: cut between. */
static void store(struct err *e, char *text)
{
    static const char cut[] = "...";
    size_t n = strlen(text), tail = sizeof(e->text) - HEAD - sizeof(cut);

    clean(text);
    if (n < sizeof(e->text)) {
        memcpy(e->text, text, n + 1);
        return;
    }
    memcpy(e->text, text, HEAD);
    memcpy(e->text + HEAD, cut, sizeof(cut) - 1);
    memcpy(e->text + HEAD + sizeof(cut) - 1, text + n - tail, tail + 1);
}

int err_set(struct err *e, int rc, const char *fmt, ...)
{
    char text[LONGEST];
    va_list ap;

    if (e == NULL) return rc;
    e->code = rc;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    store(e, text);
    return rc;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char text[LONGEST + sizeof(e->text) + 2];
    va_list ap;
    size_t n;

    if (e == NULL) return -1;
    va_start(ap, fmt);
    vsnprintf(text, LONGEST, fmt, ap);
    va_end(ap);
    n = strlen(text);
    memcpy(text + n, ": ", 2);
    memcpy(text + n + 2, e->text, strlen(e->text) + 1);
    store(e, text);
    return e->code;
}
