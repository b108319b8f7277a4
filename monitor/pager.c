/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/pager.h"

#include <stdlib.h>
#include <string.h>

static const char more[] = "--More-- (Space, Enter, q)";
static const char wipe[] = "\r\x1b[K";

/* Octets of the next count lines. */
static size_t lines(const struct pager *p, unsigned count)
{
    size_t at = p->at;

    while (count-- > 0 && at < p->bytes) {
        const char *nl = memchr(p->text + at, '\n', p->bytes - at);

        at = nl != NULL ? (size_t)(nl - p->text) + 1 : p->bytes;
    }
    return at - p->at;
}

void pager_end(struct pager *p)
{
    free(p->text);
    p->text = NULL;
}

static bool show(struct pager *p, unsigned count)
{
    size_t n = lines(p, count);

    p->write(p->arg, p->text + p->at, n);
    p->at += n;
    if (p->at < p->bytes) {
        p->write(p->arg, more, sizeof(more) - 1);
        return true;
    }
    pager_end(p);
    return false;
}

bool pager_begin(struct pager *p, char *text, size_t bytes, unsigned rows)
{
    pager_end(p);
    p->text = text;
    p->at = 0;
    p->bytes = bytes;
    p->rows = rows;
    if (text == NULL) return false;
    if (rows < 3 || lines(p, rows - 1) == bytes) {
        p->write(p->arg, text, bytes);
        pager_end(p);
        return false;
    }
    return show(p, rows - 1);
}

bool pager_key(struct pager *p, uint8_t key, bool *is_taken)
{
    *is_taken = true;
    p->write(p->arg, wipe, sizeof(wipe) - 1);
    switch (key) {
    case ' ': return show(p, p->rows - 1);
    case '\r':
    case '\n': return show(p, 1);
    case 'q':
    case 'Q':
    case 3: pager_end(p); return false;
    default: break;
    }
    *is_taken = false;
    p->write(p->arg, p->text + p->at, p->bytes - p->at);
    pager_end(p);
    return false;
}
