/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_MANAGER_SCREEN_H
#define ORRERY_UI_MANAGER_SCREEN_H

#include <curses.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "ui/manager/machine.h"

/* Drawing and dialogs of the manager.  ncurses thread only. */
enum screen_colour {
    COLOUR_BAR = 1,
    COLOUR_GOOD,
    COLOUR_WARN,
    COLOUR_BAD,
    COLOUR_DIM
};

/* Needs at least 40x10. -ENOTTY without a terminal. */
int screen_open(struct err *e);
void screen_close(void);
bool screen_is_utf8(void);
attr_t screen_colour(enum screen_colour c); /* 0 with NO_COLOR */

/* Text clipped to width columns (multi-byte safe), padded with blanks. */
void screen_put(WINDOW *w, int y, int x, int width, attr_t a, const char *text);
void screen_box(WINDOW *w, const char *title);
/*
 * What lies on a panel, as its user pointer: resize() makes its windows again
 * (replace_panel) and draws them when the terminal has a new size.
 */
struct screen_layer {
    void (*resize)(void *arg);
    void *arg;
};

/* After KEY_RESIZE read by other means than screen_key(). */
void screen_resized(void);

/* Next key; ESC comes as 27.  At KEY_RESIZE every layer has been laid out
 * again, from the bottom up; a terminal that is too small is waited out. */
int screen_key(WINDOW *w, int timeout_ms);

/* ---- dialogs: modal, drawn over what is there ---- */
void dialog_message(const char *title, const char *text);
/* The safe button has the focus; true only if action was chosen. */
bool dialog_confirm(const char *title, const char *text, const char *action);
/* Pick one of items; typing narrows the list. -1: left with Esc. */
int dialog_choose(const char *title, const char *const *items, int count,
                  int selected);
/* Edit one line in buf; false: left with Esc. */
bool dialog_input(const char *title, const char *label, char *buf, size_t cap);
/* Pick a file, starting at path (a file or folder, may be empty). */
bool dialog_browse(const char *title, char *path, size_t cap);
/* Long text with scrolling. */
void dialog_text(const char *title, const char *text);

/* ---- parts of the manager ---- */
/* New or changed settings; true: m was created / saved. *start: the user
 * wants it started. */
bool form_new(struct machine *m, bool *start);
bool form_edit(struct machine *m);
/* Full-screen console of a running machine until detached or it ends. */
void console_run(const char *name);

#endif
