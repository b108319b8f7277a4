/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modal dialogs, each a panel above what was there. */
#include <ctype.h>
#include <menu.h>
#include <panel.h>
#include <stdlib.h>
#include <string.h>

#include "ui/manager/screen.h"

struct dialog {
    WINDOW *win;
    PANEL *panel;
    struct screen_layer layer;
    const char *title;
    int want_rows, want_cols; /* 0 or less: that of the terminal */
    int rows, cols;
};

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static WINDOW *make_window(struct dialog *d)
{
    WINDOW *w;
    int rows = d->want_rows, cols = d->want_cols;

    d->rows = clamp(rows > 0 ? rows : LINES + rows, 4, LINES);
    d->cols = clamp(cols > 0 ? cols : COLS + cols, 20, COLS);
    w = newwin(d->rows, d->cols, (LINES - d->rows) / 2, (COLS - d->cols) / 2);
    if (w != NULL) screen_box(w, d->title);
    return w;
}

static void resize_dialog(void *arg)
{
    struct dialog *d = arg;
    WINDOW *old = d->win, *w = make_window(d);

    if (w == NULL) return;
    d->win = w;
    replace_panel(d->panel, w);
    delwin(old);
}

static void open_dialog(struct dialog *d, int rows, int cols, const char *title)
{
    d->title = title;
    d->want_rows = rows;
    d->want_cols = cols;
    d->layer = (struct screen_layer){ resize_dialog, d };
    d->win = make_window(d);
    d->panel = new_panel(d->win);
    set_panel_userptr(d->panel, &d->layer);
}

static void close_dialog(struct dialog *d)
{
    del_panel(d->panel);
    delwin(d->win);
    update_panels();
    doupdate();
}

static void show(void)
{
    update_panels();
    doupdate();
}

/* Octets of the next line of text when folded at cols columns. */
static size_t fold(const char *text, size_t cols)
{
    size_t n = strcspn(text, "\n"), cut = cols;

    if (n <= cols) return n;
    while (cut > 0 && text[cut] != ' ')
        cut--;
    return cut > 0 ? cut : cols;
}

static int count_lines(const char *text, size_t cols)
{
    int n = 0;

    while (*text != '\0') {
        text += fold(text, cols);
        if (*text == '\n' || *text == ' ') text++;
        n++;
    }
    return n;
}

/* Lines from first on into the dialog, rows of them. */
static void put_lines(struct dialog *d, const char *text, int first, int rows)
{
    size_t cols = (size_t)d->cols - 4;

    for (int i = 0; i < first + rows; i++) {
        char line[512] = "";
        size_t n = *text != '\0' ? fold(text, cols) : 0;

        snprintf(line, sizeof(line), "%.*s", (int)n, text);
        if (i >= first) {
            screen_put(d->win, 1 + i - first, 2, d->cols - 4, 0, line);
        }
        text += n;
        if (*text == '\n' || *text == ' ') text++;
    }
}

void dialog_text(const char *title, const char *text)
{
    struct dialog d;
    int lines, first = 0, page, key;

    open_dialog(&d, -2, -4, title);
    do {
        lines = count_lines(text, (size_t)d.cols - 4);
        page = d.rows - 3;
        first = clamp(first, 0, lines > page ? lines - page : 0);
        put_lines(&d, text, first, page);
        screen_put(d.win, d.rows - 2, 2, d.cols - 4, screen_colour(COLOUR_DIM),
                   lines > page ? "Up/Down scroll  Esc close" : "Esc close");
        show();
        key = screen_key(d.win, -1);
        if (key == KEY_DOWN) first++;
        if (key == KEY_UP) first--;
        if (key == KEY_NPAGE || key == ' ') first += page;
        if (key == KEY_PPAGE) first -= page;
    } while (key != 27 && key != KEY_ENTER && key != 'q');
    close_dialog(&d);
}

/* A text with a row of buttons below, scrolled where it does not fit. */
struct question {
    struct dialog d;
    const char *text;
    int first;
};

static void open_question(struct question *q, const char *title,
                          const char *text)
{
    int cols = COLS < 72 ? COLS - 4 : 68;

    *q = (struct question){ .text = text };
    open_dialog(&q->d, count_lines(text, (size_t)cols - 4) + 4, cols, title);
}

static void draw_text(struct question *q)
{
    int lines = count_lines(q->text, (size_t)q->d.cols - 4);
    int room = q->d.rows - 3;

    q->first = clamp(q->first, 0, lines > room ? lines - room : 0);
    put_lines(&q->d, q->text, q->first, room);
    if (lines > room && q->d.cols >= 36) {
        screen_put(q->d.win, q->d.rows - 1, q->d.cols - 16, 14, 0,
                   " Up/Down more ");
    }
}

static int question_key(struct question *q)
{
    int key;

    show();
    key = screen_key(q->d.win, -1);
    if (key == KEY_DOWN) q->first++;
    if (key == KEY_UP) q->first--;
    return key;
}

void dialog_message(const char *title, const char *text)
{
    struct question q;
    int key;

    open_question(&q, title, text);
    do {
        draw_text(&q);
        screen_put(q.d.win, q.d.rows - 2, 2, 6, A_REVERSE, "[ OK ]");
        key = question_key(&q);
    } while (key != 27 && key != KEY_ENTER && key != ' ' && key != 'q');
    close_dialog(&q.d);
}

bool dialog_confirm(const char *title, const char *text, const char *action)
{
    bool is_action = false;
    struct question q;
    char button[64];
    int key;

    snprintf(button, sizeof(button), "[ %.50s ]", action);
    open_question(&q, title, text);
    do {
        draw_text(&q);
        screen_put(q.d.win, q.d.rows - 2, 2, 10, is_action ? 0 : A_REVERSE,
                   "[ Cancel ]");
        screen_put(q.d.win, q.d.rows - 2, 14, (int)strlen(button),
                   is_action ? A_REVERSE : 0, button);
        key = question_key(&q);
        if (key == KEY_LEFT || key == KEY_RIGHT || key == '\t' ||
            key == KEY_BTAB) {
            is_action = !is_action;
        }
    } while (key != 27 && key != KEY_ENTER);
    close_dialog(&q.d);
    return is_action && key == KEY_ENTER;
}

/* Edit keys of a one-line field; true if the key was one. */
static bool edit_key(char *buf, size_t cap, int key)
{
    size_t n = strlen(buf);

    if (key == KEY_BACKSPACE) {
        while (n > 0 && ((unsigned char)buf[n - 1] & 0xc0) == 0x80)
            n--;
        if (n > 0) n--;
        buf[n] = '\0';
        return true;
    }
    if (key == 'U' - 64) {
        buf[0] = '\0';
        return true;
    }
    if (key >= 32 && key < 256 && key != 127 && n + 1 < cap) {
        buf[n] = (char)key;
        buf[n + 1] = '\0';
        return true;
    }
    return false;
}

bool dialog_input(const char *title, const char *label, char *buf, size_t cap)
{
    struct dialog d;
    int key;

    open_dialog(&d, 5, COLS < 76 ? COLS - 4 : 72, title);
    do {
        size_t n = strlen(buf), room = (size_t)d.cols - 6;
        const char *tail = n > room ? buf + n - room : buf;

        curs_set(1);
        screen_put(d.win, 1, 2, d.cols - 4, 0, label);
        screen_put(d.win, 2, 2, d.cols - 4, A_UNDERLINE, tail);
        wmove(d.win, 2, 2 + (int)strlen(tail));
        show();
        key = screen_key(d.win, -1);
        edit_key(buf, cap, key);
    } while (key != 27 && key != KEY_ENTER);
    curs_set(0);
    close_dialog(&d);
    return key == KEY_ENTER;
}

/* ---- choosing from a list, with the menu library ---- */

struct chooser {
    struct dialog d;
    const char *const *items;
    int count;
    int *index; /* of the items that match, count of them */
    int shown;
    ITEM **row;
    MENU *menu;
    WINDOW *sub; /* of the dialog, the menu's */
    char filter[64];
};

static bool matches(const char *text, const char *filter)
{
    /* Letters of the filter in order: "cdr" finds "Change CD-ROM". */
    for (; *filter != '\0'; filter++, text++) {
        while (*text != '\0' && tolower((unsigned char)*text) !=
                                    tolower((unsigned char)*filter)) {
            text++;
        }
        if (*text == '\0') return false;
    }
    return true;
}

static void drop_menu(struct chooser *c)
{
    if (c->menu != NULL) {
        unpost_menu(c->menu);
        free_menu(c->menu);
        delwin(c->sub);
        c->menu = NULL;
    }
    for (int i = 0; i < c->shown; i++)
        free_item(c->row[i]);
    c->shown = 0;
}

static void make_menu(struct chooser *c, int selected)
{
    struct dialog *d = &c->d;
    int at = 0;

    drop_menu(c);
    werase(d->win);
    for (int i = 0; i < c->count; i++) {
        if (!matches(c->items[i], c->filter)) continue;
        c->row[c->shown] = new_item(c->items[i], "");
        if (c->row[c->shown] == NULL) continue;
        if (i == selected) at = c->shown;
        c->index[c->shown++] = i;
    }
    c->row[c->shown] = NULL;
    if (c->shown == 0) return;
    c->menu = new_menu(c->row);
    set_menu_win(c->menu, d->win);
    c->sub = derwin(d->win, d->rows - 3, d->cols - 4, 1, 2);
    set_menu_sub(c->menu, c->sub);
    set_menu_format(c->menu, d->rows - 3, 1);
    set_menu_mark(c->menu, "");
    menu_opts_off(c->menu, O_SHOWDESC);
    set_current_item(c->menu, c->row[at]);
    post_menu(c->menu);
}

static int chosen(const struct chooser *c)
{
    if (c->menu == NULL || c->shown == 0) return -1;
    return c->index[item_index(current_item(c->menu))];
}

static void resize_chooser(void *arg)
{
    struct chooser *c = arg;
    int selected = chosen(c);

    drop_menu(c); /* it draws into the old window */
    resize_dialog(&c->d);
    make_menu(c, selected);
}

static void chooser_key(struct chooser *c, int key)
{
    static const struct {
        int key, request;
    } move[] = { { KEY_DOWN, REQ_DOWN_ITEM },  { KEY_UP, REQ_UP_ITEM },
                 { KEY_NPAGE, REQ_SCR_DPAGE }, { KEY_PPAGE, REQ_SCR_UPAGE },
                 { KEY_HOME, REQ_FIRST_ITEM }, { KEY_END, REQ_LAST_ITEM } };

    for (unsigned i = 0; i < sizeof(move) / sizeof(move[0]); i++) {
        if (key != move[i].key) continue;
        if (c->menu != NULL) menu_driver(c->menu, move[i].request);
        return;
    }
    if (edit_key(c->filter, sizeof(c->filter), key)) make_menu(c, -1);
}

int dialog_choose(const char *title, const char *const *items, int count,
                  int selected)
{
    struct chooser c = { .items = items, .count = count };
    int wide = (int)strlen(title) + 8, key = 0, picked = -1;
    char hint[100];

    for (int i = 0; i < count; i++) {
        if ((int)strlen(items[i]) + 6 > wide) wide = (int)strlen(items[i]) + 6;
    }
    c.index = calloc((size_t)count + 1, sizeof(int));
    c.row = calloc((size_t)count + 1, sizeof(ITEM *));
    if (c.index == NULL || c.row == NULL) goto out;
    open_dialog(&c.d, count + 3, wide < 44 ? 44 : wide, title);
    c.d.layer = (struct screen_layer){ resize_chooser, &c };
    make_menu(&c, selected);
    while (key != 27 && key != KEY_ENTER) {
        screen_box(c.d.win, title);
        snprintf(hint, sizeof(hint), "%s%s", c.filter[0] ? "narrow: " : "",
                 c.filter[0] ? c.filter
                             : "Enter choose  Esc back  type to narrow");
        screen_put(c.d.win, c.d.rows - 2, 2, c.d.cols - 4,
                   screen_colour(COLOUR_DIM), hint);
        show();
        key = screen_key(c.d.win, -1);
        chooser_key(&c, key);
    }
    if (key == KEY_ENTER) picked = chosen(&c);
    drop_menu(&c);
    close_dialog(&c.d);
out:
    free(c.index);
    free(c.row);
    return picked;
}
