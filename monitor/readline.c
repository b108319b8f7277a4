/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/readline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 4096, HISTORY_LINES = 500, OFFERS = 256, HINT_BYTES = 512 };
#define CTRL(c) ((c)&31)

enum state { PLAIN, ESCAPE, CSI, SS3 };

struct readline {
    struct readline_ops ops;
    const char *prompt;
    char line[LINE_BYTES];
    size_t len, at; /* cursor */
    enum state state;
    unsigned csi_number;
    bool is_after_cr;
    char *history[HISTORY_LINES]; /* oldest first */
    unsigned history_count, history_at;
    char *typed; /* what stood there before history was looked through */
    char *offer[OFFERS];
    unsigned offer_count;
    char hint[HINT_BYTES];
};

struct readline *readline_new(const struct readline_ops *ops,
                              const char *prompt)
{
    struct readline *r = calloc(1, sizeof(*r));

    if (r == NULL) return NULL;
    r->ops = *ops;
    r->prompt = prompt;
    return r;
}

static void drop_offers(struct readline *r)
{
    while (r->offer_count > 0)
        free(r->offer[--r->offer_count]);
}

void readline_free(struct readline *r)
{
    if (r == NULL) return;
    drop_offers(r);
    for (unsigned i = 0; i < r->history_count; i++)
        free(r->history[i]);
    free(r->typed);
    free(r);
}

static void put(struct readline *r, const char *text, size_t bytes)
{
    if (bytes > 0) r->ops.write(r->ops.arg, text, bytes);
}

static void puts_(struct readline *r, const char *text)
{
    put(r, text, strlen(text));
}

static void move_left(struct readline *r, size_t columns)
{
    char seq[32];

    if (columns == 0) return;
    snprintf(seq, sizeof(seq), "\x1b[%zuD", columns);
    puts_(r, seq);
}

/* Draw what is behind the cursor, the cursor being at column from. */
static void redraw(struct readline *r, size_t from)
{
    move_left(r, from > r->at ? from - r->at : 0);
    put(r, r->line + r->at, r->len - r->at);
    puts_(r, "\x1b[K");
    move_left(r, r->len - r->at);
}

void readline_show_prompt(struct readline *r)
{
    puts_(r, r->prompt);
    put(r, r->line, r->len);
    move_left(r, r->len - r->at);
}

void readline_clear(struct readline *r)
{
    r->len = r->at = 0;
    r->state = PLAIN;
    r->history_at = r->history_count;
}

static void insert(struct readline *r, const char *text, size_t bytes)
{
    if (bytes > LINE_BYTES - 1 - r->len) bytes = LINE_BYTES - 1 - r->len;
    if (bytes == 0) return;
    memmove(r->line + r->at + bytes, r->line + r->at, r->len - r->at);
    memcpy(r->line + r->at, text, bytes);
    r->len += bytes;
    put(r, r->line + r->at, r->len - r->at);
    r->at += bytes;
    move_left(r, r->len - r->at);
}

/* Remove bytes before (the cursor moves) or behind the cursor. */
static void erase_before(struct readline *r, size_t bytes)
{
    size_t from = r->at;

    if (bytes > r->at) bytes = r->at;
    if (bytes == 0) return;
    memmove(r->line + r->at - bytes, r->line + r->at, r->len - r->at);
    r->at -= bytes;
    r->len -= bytes;
    redraw(r, from);
}

static void erase_behind(struct readline *r, size_t bytes)
{
    if (bytes > r->len - r->at) bytes = r->len - r->at;
    if (bytes == 0) return;
    memmove(r->line + r->at, r->line + r->at + bytes, r->len - r->at - bytes);
    r->len -= bytes;
    redraw(r, r->at);
}

static void go(struct readline *r, size_t to)
{
    if (to > r->len) return;
    if (to < r->at) move_left(r, r->at - to);
    if (to > r->at) put(r, r->line + r->at, to - r->at);
    r->at = to;
}

static void replace(struct readline *r, const char *text)
{
    size_t from = r->at;

    r->len = strlen(text);
    if (r->len > LINE_BYTES - 1) r->len = LINE_BYTES - 1;
    memcpy(r->line, text, r->len);
    r->at = r->len;
    move_left(r, from);
    put(r, r->line, r->len);
    puts_(r, "\x1b[K");
}

/* ---- history ---- */

void readline_remember(struct readline *r, const char *line)
{
    char *copy;

    if (line[0] != '\0' &&
        (r->history_count == 0 ||
         strcmp(r->history[r->history_count - 1], line) != 0) &&
        (copy = strdup(line)) != NULL) {
        if (r->history_count == HISTORY_LINES) {
            free(r->history[0]);
            memmove(r->history, r->history + 1,
                    (HISTORY_LINES - 1) * sizeof(r->history[0]));
            r->history_count--;
        }
        r->history[r->history_count++] = copy;
    }
    r->history_at = r->history_count;
}

const char *readline_history(const struct readline *r, unsigned i)
{
    return i < r->history_count ? r->history[i] : NULL;
}

static void look_back(struct readline *r)
{
    if (r->history_at == 0) return;
    if (r->history_at == r->history_count) {
        r->line[r->len] = '\0';
        free(r->typed);
        r->typed = strdup(r->line);
    }
    replace(r, r->history[--r->history_at]);
}

static void look_forward(struct readline *r)
{
    if (r->history_at >= r->history_count) return;
    r->history_at++;
    if (r->history_at < r->history_count) {
        replace(r, r->history[r->history_at]);
    } else {
        replace(r, r->typed != NULL ? r->typed : "");
    }
}

/* ---- completion ---- */

void readline_offer(struct readline *r, const char *word)
{
    if (r->offer_count == OFFERS) return;
    r->offer[r->offer_count] = strdup(word);
    if (r->offer[r->offer_count] != NULL) r->offer_count++;
}

void readline_hint(struct readline *r, const char *text)
{
    snprintf(r->hint, sizeof(r->hint), "%s", text);
}

static size_t common_prefix(const struct readline *r)
{
    size_t n = strlen(r->offer[0]);

    for (unsigned i = 1; i < r->offer_count; i++) {
        size_t k = 0;

        while (k < n && r->offer[i][k] == r->offer[0][k])
            k++;
        n = k;
    }
    return n;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_offers(struct readline *r)
{
    size_t width = 10, column = 0;

    qsort(r->offer, r->offer_count, sizeof(r->offer[0]), compare);
    for (unsigned i = 0; i < r->offer_count; i++) {
        if (strlen(r->offer[i]) + 2 > width) width = strlen(r->offer[i]) + 2;
    }
    puts_(r, "\r\n");
    if (r->hint[0] != '\0') {
        puts_(r, r->hint);
        puts_(r, "\r\n");
    }
    for (unsigned i = 0; i < r->offer_count; i++) {
        char cell[LINE_BYTES];

        if (column > 0 && column + width > 79) {
            puts_(r, "\r\n");
            column = 0;
        }
        snprintf(cell, sizeof(cell), "%-*s", (int)width, r->offer[i]);
        puts_(r, cell);
        column += width;
    }
    puts_(r, "\r\n");
    readline_show_prompt(r);
}

static void complete(struct readline *r)
{
    size_t start, have, common;

    if (r->ops.complete == NULL) return;
    drop_offers(r);
    r->hint[0] = '\0';
    r->line[r->len] = '\0';
    start = r->ops.complete(r->ops.arg, r, r->line, r->at);
    if (r->offer_count > 0 && start <= r->at) {
        have = r->at - start;
        common = common_prefix(r);
        if (common > have) {
            insert(r, r->offer[0] + have, common - have);
        } else if (r->offer_count > 1) {
            list_offers(r);
        }
        if (r->offer_count == 1 && r->at == r->len && common > 0 &&
            r->offer[0][common - 1] != '/')
            insert(r, " ", 1);
    } else if (r->hint[0] != '\0') {
        puts_(r, "\r\n");
        puts_(r, r->hint);
        puts_(r, "\r\n");
        readline_show_prompt(r);
    }
    drop_offers(r);
}

/* ---- keys ---- */

static void finish(struct readline *r)
{
    char line[LINE_BYTES];

    r->line[r->len] = '\0';
    readline_remember(r, r->line);
    memcpy(line, r->line, r->len + 1);
    readline_clear(r);
    puts_(r, "\r\n");
    if (r->ops.line(r->ops.arg, line)) readline_show_prompt(r);
}

static size_t word_before(const struct readline *r)
{
    size_t i = r->at;

    while (i > 0 && r->line[i - 1] == ' ')
        i--;
    while (i > 0 && r->line[i - 1] != ' ')
        i--;
    return r->at - i;
}

static void cursor_key(struct readline *r, uint8_t key)
{
    switch (key) {
    case 'A': look_back(r); break;
    case 'B': look_forward(r); break;
    case 'C': go(r, r->at + 1); break;
    case 'D':
        if (r->at > 0) go(r, r->at - 1);
        break;
    case 'H': go(r, 0); break;
    case 'F': go(r, r->len); break;
    }
}

static void csi_key(struct readline *r, uint8_t key)
{
    if (key >= '0' && key <= '9') {
        r->csi_number = (r->csi_number * 10 + key - '0') % 1000;
        return;
    }
    if (key == ';') {
        r->csi_number = 0;
        return;
    }
    r->state = PLAIN;
    if (key != '~') {
        cursor_key(r, key);
    } else if (r->csi_number == 1 || r->csi_number == 7) {
        go(r, 0);
    } else if (r->csi_number == 4 || r->csi_number == 8) {
        go(r, r->len);
    } else if (r->csi_number == 3) {
        erase_behind(r, 1);
    }
}

static void plain_key(struct readline *r, uint8_t key)
{
    char ch = (char)key;
    bool is_after_cr = r->is_after_cr;

    r->is_after_cr = key == '\r';
    switch (key) {
    case '\n':
        if (!is_after_cr) finish(r); /* CR LF is one end */
        break;
    case '\r': finish(r); break;
    case '\t': complete(r); break;
    case 27: r->state = ESCAPE; break;
    case 8:
    case 127: erase_before(r, 1); break;
    case CTRL('A'): go(r, 0); break;
    case CTRL('B'): cursor_key(r, 'D'); break;
    case CTRL('D'): erase_behind(r, 1); break;
    case CTRL('E'): go(r, r->len); break;
    case CTRL('F'): cursor_key(r, 'C'); break;
    case CTRL('K'): erase_behind(r, r->len - r->at); break;
    case CTRL('L'):
        puts_(r, "\x1b[2J\x1b[H");
        readline_show_prompt(r);
        break;
    case CTRL('N'): look_forward(r); break;
    case CTRL('P'): look_back(r); break;
    case CTRL('U'): erase_before(r, r->at); break;
    case CTRL('W'): erase_before(r, word_before(r)); break;
    case CTRL('C'):
        puts_(r, "^C\r\n");
        readline_clear(r);
        readline_show_prompt(r);
        break;
    default:
        if (key >= 32) insert(r, &ch, 1);
        break;
    }
}

static void one_key(struct readline *r, uint8_t key)
{
    switch (r->state) {
    case ESCAPE:
        r->csi_number = 0;
        r->state = key == '[' ? CSI : key == 'O' ? SS3 : PLAIN;
        break;
    case CSI: csi_key(r, key); break;
    case SS3:
        r->state = PLAIN;
        cursor_key(r, key);
        break;
    default: plain_key(r, key); break;
    }
}

void readline_input(struct readline *r, const uint8_t *buf, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        one_key(r, buf[i]);
}
