/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor in the lower half of the terminal (Ctrl-A c). */
#include <stdlib.h>
#include <string.h>

#include "ui/display/term_int.h"

static void add_line(struct term_monitor *m, const char *s, size_t bytes)
{
    char *copy = strndup(s, bytes);
    unsigned at;

    if (copy == NULL) return;
    for (char *p = copy; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = *p == '\t' ? ' ' : '?';
    at = (m->first + m->count) % TERM_MON_LINES;
    if (m->count == TERM_MON_LINES) {
        free(m->line[m->first]);
        m->first = (m->first + 1) % TERM_MON_LINES;
    } else {
        m->count++;
    }
    m->line[at] = copy;
}

void term_monitor_add(struct term_display *t, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        size_t shown = n > 0 && text[n - 1] == '\r' ? n - 1 : n;
        add_line(&t->mon, text, shown);
        text += n;
        if (*text == '\n') text++;
    }
    t->mon.scroll_lines = 0;
}

static void remember(struct term_monitor *m)
{
    if (m->history_count == TERM_HISTORY) {
        free(m->history[0]);
        memmove(m->history, m->history + 1,
                sizeof(m->history) - sizeof(m->history[0]));
        m->history_count--;
    }
    m->history[m->history_count] = strdup(m->input);
    if (m->history[m->history_count] != NULL) m->history_count++;
    m->history_at = m->history_count;
}

static void enter_line(struct term_display *t)
{
    struct term_monitor *m = &t->mon;
    char echo[TERM_MON_LINE_CHARS + 16];

    snprintf(echo, sizeof(echo), "(qemu) %s", m->input);
    term_monitor_add(t, echo);
    if (m->input_bytes > 0) {
        remember(m);
        term_run_monitor(t, m->input);
    }
    m->input_bytes = 0;
    m->input[0] = '\0';
}

static void recall(struct term_monitor *m, int step)
{
    const char *s = "";

    if (step < 0 && m->history_at > 0) m->history_at--;
    if (step > 0 && m->history_at < m->history_count) m->history_at++;
    if (m->history_at < m->history_count) s = m->history[m->history_at];
    snprintf(m->input, sizeof(m->input), "%s", s);
    m->input_bytes = (unsigned)strlen(m->input);
}

static void scroll_by(struct term_monitor *m, int lines)
{
    int at = (int)m->scroll_lines + lines;

    if (at > (int)m->count) at = (int)m->count;
    m->scroll_lines = at < 0 ? 0 : (unsigned)at;
}

static void function_key(struct term_display *t, unsigned code)
{
    struct term_monitor *m = &t->mon;

    switch (code) {
    case KEY_UP: recall(m, -1); break;
    case KEY_DOWN: recall(m, 1); break;
    case KEY_PPAGE: scroll_by(m, LINES / 4); break;
    case KEY_NPAGE: scroll_by(m, -LINES / 4); break;
    case KEY_BACKSPACE:
        if (m->input_bytes > 0) m->input[--m->input_bytes] = '\0';
        break;
    case KEY_ENTER: enter_line(t); break;
    default: break;
    }
}

void term_monitor_key(struct term_display *t, const struct term_input *in)
{
    struct term_monitor *m = &t->mon;

    if (in->is_function) {
        function_key(t, in->code);
        return;
    }
    switch (in->code) {
    case 0x1b:
        t->is_monitor_open = false;
        t->focus = FOCUS_GUEST;
        break;
    case TERM_PREFIX: t->focus = FOCUS_PREFIX; break;
    case '\r':
    case '\n': enter_line(t); break;
    case 0x08:
    case 0x7f: function_key(t, KEY_BACKSPACE); break;
    case 0x15: /* Ctrl-U */
        m->input_bytes = 0;
        m->input[0] = '\0';
        break;
    default:
        if (in->code < 0x20 || in->code > 0x7e) break;
        if (m->input_bytes + 1 >= sizeof(m->input)) break;
        m->input[m->input_bytes++] = (char)in->code;
        m->input[m->input_bytes] = '\0';
        break;
    }
}

void term_monitor_draw(struct term_display *t)
{
    struct term_monitor *m = &t->mon;
    WINDOW *w = t->pane;
    int h = getmaxy(w), width = getmaxx(w), lines = h - 2;
    unsigned end =
        m->count - (m->scroll_lines < m->count ? m->scroll_lines : m->count);
    unsigned begin = end > (unsigned)lines ? end - (unsigned)lines : 0;

    werase(w);
    mvwhline(w, 0, 0, 0, width);
    mvwaddnstr(w, 0, 2, " monitor: Esc closes, PgUp/PgDn scroll ", width - 2);
    for (unsigned i = begin; i < end; i++)
        mvwaddnstr(w, 1 + (int)(i - begin), 0,
                   m->line[(m->first + i) % TERM_MON_LINES], width);
    mvwaddnstr(w, h - 1, 0, "(qemu) ", width);
    waddnstr(w, m->input, width - 10 > 0 ? width - 10 : 0);
    wnoutrefresh(w);
}

void term_monitor_free(struct term_display *t)
{
    struct term_monitor *m = &t->mon;

    for (unsigned i = 0; i < m->count; i++)
        free(m->line[(m->first + i) % TERM_MON_LINES]);
    for (unsigned i = 0; i < m->history_count; i++)
        free(m->history[i]);
}
