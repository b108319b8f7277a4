/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_TERM_VIEW_H
#define ORRERY_UI_DISPLAY_TERM_VIEW_H

#include <curses.h>
#include <stdbool.h>

#include "core/host/display.h"

/*
 * Draws a guest's screen into an ncurses window: text modes as characters,
 * graphics modes as coloured block characters, scaled to fit.  Knows nothing
 * of a VM: the manager draws the screen of another process with it.
 * One thread, the one that runs ncurses.
 */
struct term_view {
    bool is_utf8;  /* the terminal shows Unicode */
    int colours;   /* 0: none (NO_COLOR or a monochrome terminal) */
    int top, left; /* cell of the guest's text in the window's corner */
    void *canvas;  /* libchafa's, or NULL */
    int canvas_cols, canvas_rows;
};

/*
 * Before newterm(): is the terminal type TERM one ncurses can draw on?  It
 * must be known and able to move the cursor ("dumb" is not).  -ENODEV with
 * what to do.
 */
struct err;
int term_check_type(struct err *e);

/* After initscr(): calls start_color() and finds out what the terminal can. */
void term_view_init(struct term_view *v);
void term_view_fini(struct term_view *v);

/*
 * Draw all of the window (ncurses sends only what differs).  The pixels' top
 * octets must be 0xff.  *y and *x get where the guest's cursor is in the
 * window, -1 if there is none to be seen.
 */
void term_view_draw(struct term_view *v, WINDOW *w, const struct surface *s,
                    const struct text_screen *t, int *y, int *x);

/* Move the part of a text screen that is shown, when not all of it fits. */
void term_view_scroll(struct term_view *v, int rows, int cols);

/* For term_pixels.c: write a cell with colours 0xRRGGBB. */
void term_put(const struct term_view *v, WINDOW *w, int y, int x, wchar_t ch,
              attr_t attributes, uint32_t fg, uint32_t bg);
void term_pixels_draw(struct term_view *v, WINDOW *w, const struct surface *s);
void term_pixels_fini(struct term_view *v);

#endif
