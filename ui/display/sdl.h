/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_SDL_H
#define ORRERY_UI_DISPLAY_SDL_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * -display sdl: the guest's screen in a window.  Everything runs on the loop
 * thread, which must be the main thread.
 */
struct vm;
struct sdl_display;

struct sdl_options {
    const char *name; /* machine, for the title; NULL "Orrery" */
    bool is_fullscreen;
    bool has_no_quit; /* window-close=off */
};

/* Loop thread, after display_create().  -ENOTSUP when built without SDL2;
 * -ENODEV when SDL finds no display. */
int sdl_display_open(struct vm *vm, const struct sdl_options *o,
                     struct sdl_display **out, struct err *e);
void sdl_display_close(struct sdl_display *s); /* NULL is allowed */

#endif
