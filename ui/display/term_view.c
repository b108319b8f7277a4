/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/display/term_view.h"

#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>

#include "core/base/err.h"

/* ------------------------------------------------------------------ colours */

static int distance(uint32_t a, uint32_t b)
{
    int dr = (int)(a >> 16 & 255) - (int)(b >> 16 & 255);
    int dg = (int)(a >> 8 & 255) - (int)(b >> 8 & 255);
    int db = (int)(a & 255) - (int)(b & 255);

    return 2 * dr * dr + 4 * dg * dg + 3 * db * db;
}

/* xterm's 256 colours: a 6x6x6 cube from 16 on and 24 greys from 232 on. */
static int nearest_256(uint32_t rgb)
{
    static const uint8_t level[6] = { 0, 95, 135, 175, 215, 255 };
    unsigned index = 0, grey, cube = 0, mean;
    uint32_t grey_rgb;

    for (int shift = 16; shift >= 0; shift -= 8) {
        unsigned c = rgb >> shift & 255;
        unsigned i = c < 48 ? 0 : c < 115 ? 1 : (c - 35) / 40;
        index = index * 6 + i;
        cube = cube << 8 | level[i];
    }
    mean = ((rgb >> 16 & 255) + (rgb >> 8 & 255) + (rgb & 255)) / 3;
    grey = mean < 8 ? 0 : mean > 238 ? 23 : (mean - 3) / 10;
    grey_rgb = (8 + grey * 10) * 0x010101u;
    if (distance(rgb, grey_rgb) < distance(rgb, cube)) return 232 + (int)grey;
    return 16 + (int)index;
}

/* The eight or sixteen colours of ECMA-48, as most terminals show them. */
static int nearest_16(uint32_t rgb, int colours)
{
    static const uint32_t ansi[16] = {
        0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa,
        0x00aaaa, 0xaaaaaa, 0x555555, 0xff5555, 0x55ff55, 0xffff55,
        0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
    };
    int best = 0;

    for (int i = 1; i < 16; i++)
        if (distance(rgb, ansi[i]) < distance(rgb, ansi[best])) best = i;
    return best >= colours ? best - 8 : best;
}

static int terminal_colour(const struct term_view *v, uint32_t rgb)
{
    if (v->colours > 256) return (int)(rgb & 0xffffff); /* direct colour */
    if (v->colours == 256) return nearest_256(rgb);
    return nearest_16(rgb, v->colours < 16 ? 8 : 16);
}

static int brightness(uint32_t rgb)
{
    return (int)(2 * (rgb >> 16 & 255) + 5 * (rgb >> 8 & 255) + (rgb & 255));
}

void term_put(const struct term_view *v, WINDOW *w, int y, int x, wchar_t ch,
              attr_t attributes, uint32_t fg, uint32_t bg)
{
    wchar_t text[2] = { ch, L'\0' };
    cchar_t cell;
    int pair = 0;

    if (v->colours >= 8) {
        int f = terminal_colour(v, fg), b = terminal_colour(v, bg);
        if (v->colours < 16 && brightness(fg) > 8 * 0xaa)
            attributes |= A_BOLD; /* how 8-colour terminals show bright */
        pair = alloc_pair(f, b);
        if (pair < 0) pair = 0;
    } else if (brightness(bg) > brightness(fg)) {
        attributes |= A_REVERSE;
    } else if (brightness(fg) > 8 * 0xc0) {
        attributes |= A_BOLD;
    }
    if (setcchar(&cell, text, attributes, 0, &pair) == OK)
        (void)mvwadd_wch(w, y, x, &cell);
}

/* --------------------------------------------------------------- characters */

/* For terminals without Unicode. */
static wchar_t ascii_for(uint8_t ch)
{
    if (ch >= 0x20 && ch < 0x7f) return ch;
    if (ch == 0 || ch == 0xff) return L' ';
    if (ch == 0xb3 || ch == 0xba) return L'|';
    if (ch == 0xc4 || ch == 0xcd) return L'-';
    if (ch >= 0xb0 && ch <= 0xb2) return L':';
    if (ch >= 0xdb && ch <= 0xdf) return L'#';
    if (ch >= 0xb4 && ch <= 0xda) return L'+';
    switch (ch) {
    case 0x10: return L'>';
    case 0x11: return L'<';
    case 0x18:
    case 0x1e: return L'^';
    case 0x19:
    case 0x1f: return L'v';
    case 0xf8:
    case 0xf9:
    case 0xfa:
    case 0xfe: return L'.';
    default: return L'?';
    }
}

static wchar_t shown_char(const struct term_view *v, uint8_t ch)
{
    wchar_t u = display_cp437_to_unicode(ch);

    if (!v->is_utf8) return ascii_for(ch);
    if (u == 0xa0) return L' ';
    return wcwidth(u) == 1 ? u : ascii_for(ch);
}

static void draw_cell(const struct term_view *v, WINDOW *w, int y, int x,
                      const struct text_screen *t, int row, int col)
{
    uint8_t attr = t->attr[row][col];
    uint32_t fg = t->palette[attr & 15], bg;
    attr_t attributes = 0;

    if (t->has_blink) {
        bg = t->palette[attr >> 4 & 7];
        if (attr & 0x80) attributes |= A_BLINK;
    } else {
        bg = t->palette[attr >> 4];
    }
    term_put(v, w, y, x, shown_char(v, t->ch[row][col]), attributes, fg, bg);
}

/* First visible cell of one axis: as before if that still shows the cursor,
 * else moved as little as needed. */
static int follow(int first, int shown, int total, int cursor)
{
    if (cursor >= 0) {
        if (cursor < first) first = cursor;
        if (cursor >= first + shown) first = cursor - shown + 1;
    }
    if (first > total - shown) first = total - shown;
    return first < 0 ? 0 : first;
}

static void draw_text(struct term_view *v, WINDOW *w,
                      const struct text_screen *t, int *cursor_y, int *cursor_x)
{
    int h = getmaxy(w), width = getmaxx(w);
    int y0 = t->rows < h ? (h - t->rows) / 2 : 0;
    int x0 = t->cols < width ? (width - t->cols) / 2 : 0;

    v->top = follow(v->top, h, t->rows, t->cursor_row);
    v->left = follow(v->left, width, t->cols, t->cursor_col);
    werase(w);
    for (int y = 0; y + y0 < h && y + v->top < t->rows; y++)
        for (int x = 0; x + x0 < width && x + v->left < t->cols; x++)
            draw_cell(v, w, y + y0, x + x0, t, y + v->top, x + v->left);
    if (t->cursor_row >= 0 && t->cursor_col >= 0) {
        *cursor_y = t->cursor_row - v->top + y0;
        *cursor_x = t->cursor_col - v->left + x0;
    }
}

void term_view_draw(struct term_view *v, WINDOW *w, const struct surface *s,
                    const struct text_screen *t, int *y, int *x)
{
    *y = *x = -1;
    if (t->is_text) {
        draw_text(v, w, t, y, x);
    } else {
        werase(w);
        term_pixels_draw(v, w, s);
    }
}

void term_view_scroll(struct term_view *v, int rows, int cols)
{
    v->top += rows;
    v->left += cols;
    if (v->top < 0) v->top = 0;
    if (v->left < 0) v->left = 0;
}

int term_check_type(struct err *e)
{
    const char *name = getenv("TERM"), *move;
    bool is_known;
    int why;

    if (name == NULL || *name == '\0') name = "unset";
    is_known = setupterm(NULL, STDOUT_FILENO, &why) == OK;
    if (!is_known)
        return err_set(e, -ENODEV,
                       "the terminal type (TERM) is %s, which is not known "
                       "here; try TERM=xterm or TERM=vt100",
                       name);
    move = tigetstr("cup");
    del_curterm(cur_term);
    if (move != NULL && move != (const char *)-1) return 0;
    return err_set(e, -ENODEV,
                   "the terminal type (TERM) is %s, which cannot place the "
                   "cursor; try TERM=xterm or TERM=vt100",
                   name);
}

void term_view_init(struct term_view *v)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org */

    *v = (struct term_view){ 0 };
    v->is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (no_color != NULL && no_color[0] != '\0') return;
    if (!has_colors() || start_color() != OK || COLORS < 8) return;
    v->colours = COLORS;
}

void term_view_fini(struct term_view *v)
{
    term_pixels_fini(v);
}
