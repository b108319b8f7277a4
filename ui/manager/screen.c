/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/manager/screen.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <panel.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "ui/display/term_view.h"

enum { MIN_COLS = 40, MIN_ROWS = 10, ESC_DELAY_MS = 50, MAX_LAYERS = 16 };

int screen_open(struct err *e)
{
    const char *no_color = getenv("NO_COLOR");

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        return err_set(e, -ENOTTY,
                       "the machine manager needs a terminal; `orrery -help` "
                       "lists what works without one");
    }
    if (term_check_type(e) < 0) return -ENODEV;
    setlocale(LC_ALL, "");
    set_escdelay(ESC_DELAY_MS);
    if (newterm(NULL, stdout, stdin) == NULL) {
        return err_set(e, -ENOTTY, "the terminal can not be used");
    }
    if (COLS < MIN_COLS || LINES < MIN_ROWS) {
        endwin();
        return err_set(e, -EINVAL, "the terminal is smaller than %dx%d",
                       MIN_COLS, MIN_ROWS);
    }
    raw(); /* Ctrl-S saves, Ctrl-C is not a way to lose a form */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    curs_set(0);
    if (has_colors() && (no_color == NULL || *no_color == '\0')) {
        start_color();
        use_default_colors();
        init_pair(COLOUR_BAR, COLOR_BLACK, COLOR_CYAN);
        init_pair(COLOUR_GOOD, COLOR_GREEN, -1);
        init_pair(COLOUR_WARN, COLOR_YELLOW, -1);
        init_pair(COLOUR_BAD, COLOR_RED, -1);
        init_pair(COLOUR_DIM, COLOR_BLUE, -1);
    }
    return 0;
}

void screen_close(void)
{
    endwin();
}

bool screen_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

attr_t screen_colour(enum screen_colour c)
{
    const char *no_color = getenv("NO_COLOR");
    bool has = has_colors() && (no_color == NULL || *no_color == '\0');

    if (has) return (attr_t)COLOR_PAIR(c);
    return c == COLOUR_BAR ? A_REVERSE : 0;
}

void screen_put(WINDOW *w, int y, int x, int width, attr_t a, const char *text)
{
    mbstate_t st = { 0 };
    int used = 0;

    wattron(w, a);
    wmove(w, y, x);
    while (*text != '\0' && used < width) {
        wchar_t wc;
        size_t n = mbrtowc(&wc, text, strlen(text), &st);
        wchar_t cell[2] = { 0 };
        int cols;

        if (n == (size_t)-1 || n == (size_t)-2) {
            wc = '?';
            n = 1;
            st = (mbstate_t){ 0 };
        }
        cols = wcwidth(wc);
        if (cols < 0) { /* control characters never reach the terminal */
            wc = '?';
            cols = 1;
        }
        if (used + cols > width) break;
        cell[0] = wc;
        waddwstr(w, cell);
        used += cols;
        text += n;
    }
    for (; used < width; used++)
        waddch(w, ' ');
    wattroff(w, a);
}

void screen_box(WINDOW *w, const char *title)
{
    char text[128];
    int cols = getmaxx(w);

    if (screen_is_utf8()) {
        box(w, 0, 0);
    } else {
        wborder(w, '|', '|', '-', '-', '+', '+', '+', '+');
    }
    if (*title == '\0') return;
    snprintf(text, sizeof(text), " %.120s ", title);
    if ((int)strlen(text) < cols - 2) {
        mvwaddstr(w, 0, 2, text);
    } else {
        screen_put(w, 0, 1, cols - 2, 0, text);
    }
}

/* The panels are looked up first: a layer may replace its windows. */
static void resize_layers(void)
{
    const struct screen_layer *layer[MAX_LAYERS];
    unsigned n = 0;

    for (PANEL *p = panel_above(NULL); p != NULL; p = panel_above(p)) {
        const struct screen_layer *l = panel_userptr(p);

        if (l != NULL && n < MAX_LAYERS) layer[n++] = l;
    }
    for (unsigned i = 0; i < n; i++)
        layer[i]->resize(layer[i]->arg);
    clearok(curscr, TRUE);
}

static void wait_for_room(void)
{
    WINDOW *w = newwin(0, 0, 0, 0);
    int key = KEY_RESIZE;

    while (w != NULL && key != ERR && (COLS < MIN_COLS || LINES < MIN_ROWS)) {
        char text[80];

        if (key == KEY_RESIZE) {
            snprintf(text, sizeof(text), "%dx%d needed, is %dx%d", MIN_COLS,
                     MIN_ROWS, COLS, LINES);
            wresize(w, LINES, COLS);
            werase(w);
            screen_put(w, LINES / 2, 0, COLS, A_BOLD, text);
            clearok(curscr, TRUE);
        }
        curs_set(0);
        keypad(w, TRUE);
        wtimeout(w, -1);
        key = wgetch(w);
    }
    if (w != NULL) delwin(w);
}

void screen_resized(void)
{
    wait_for_room();
    resize_layers();
}

int screen_key(WINDOW *w, int timeout_ms)
{
    int key;

    keypad(w, TRUE);
    wtimeout(w, timeout_ms);
    key = wgetch(w);
    if (key == KEY_RESIZE) screen_resized();
    if (key == '\r' || key == '\n') return KEY_ENTER;
    if (key == 127 || key == 8) return KEY_BACKSPACE;
    return key;
}
