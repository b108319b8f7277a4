/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_READLINE_H
#define ORRERY_MONITOR_READLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Line editing for a byte stream: insertion, cursor keys, Emacs keys, history,
 * Tab.  Knows nothing of what the line means.  A plain line that arrives in
 * one piece is echoed and handed over; no terminal is needed.
 */
struct readline;

struct readline_ops {
    void (*write)(void *arg, const char *buf, size_t bytes);
    /* A line is complete (without its end).  The prompt is printed anew
     * afterwards if this returns true. */
    bool (*line)(void *arg, const char *line);
    /* Call readline_offer for each word that may stand at the end of the
     * first at octets; returns where that word begins. */
    size_t (*complete)(void *arg, struct readline *r, const char *line,
                       size_t at);
    void *arg;
};

/* NULL: out of memory.  prompt must stay valid. */
struct readline *readline_new(const struct readline_ops *ops,
                              const char *prompt);
void readline_free(struct readline *r);
void readline_input(struct readline *r, const uint8_t *buf, size_t bytes);
void readline_show_prompt(struct readline *r); /* and what is typed so far */
void readline_clear(struct readline *r);       /* forget it */
void readline_offer(struct readline *r, const char *word);
/* From complete: shown above the line if no word was offered. */
void readline_hint(struct readline *r, const char *text);
/* Add a line to the history. */
void readline_remember(struct readline *r, const char *line);
/* i-th line of the history, oldest first; NULL at the end. */
const char *readline_history(const struct readline *r, unsigned i);

#endif
