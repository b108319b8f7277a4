/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_PAGER_H
#define ORRERY_MONITOR_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A long answer a screenful at a time.  Space goes on, Enter by a line, q ends
 * it; any other key prints the rest and is a key for the line editor, so that
 * a program that types the next command is not held up.
 */
struct pager {
    char *text; /* NULL: not paging */
    size_t at, bytes;
    unsigned rows;
    void (*write)(void *arg, const char *text, size_t bytes);
    void *arg;
};

/* Print text (taken over, malloc) at once if it fits rows, else begin to page.
 * true: a page is waiting for a key. */
bool pager_begin(struct pager *p, char *text, size_t bytes, unsigned rows);
/* A key while a page waits; *is_taken: it was the pager's.  true: still
 * waiting. */
bool pager_key(struct pager *p, uint8_t key, bool *is_taken);
void pager_end(struct pager *p); /* drop the rest */

#endif
