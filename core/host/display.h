/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_DISPLAY_H
#define ORRERY_HOST_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Display hub: a graphics device draws into one 32-bit surface and describes
 * its text screen; any number of sinks (SDL, VNC, terminal) show it.  The hub
 * asks the source to refresh at most every refresh_ms on the loop thread with
 * the VM lock held; sinks are called there too and must not block.
 */
struct vm;
struct display;

struct rect { /* pixels; right and bottom exclusive = x + w, y + h */
    int x, y, w, h;
};

struct surface { /* XRGB8888, host byte order, rows of stride_px */
    int width_px, height_px, stride_px;
    uint32_t *px;
};

enum { TEXT_MAX_COLS = 256, TEXT_MAX_ROWS = 128 };

struct text_screen { /* what a text mode shows; also first-class for tests */
    bool is_text;    /* false: graphics mode, the rest is void */
    int cols, rows;
    int cursor_col, cursor_row;                 /* -1: not visible */
    uint8_t ch[TEXT_MAX_ROWS][TEXT_MAX_COLS];   /* code page 437 */
    uint8_t attr[TEXT_MAX_ROWS][TEXT_MAX_COLS]; /* VGA attribute byte */
    uint32_t palette[16]; /* XRGB of the 16 attribute colours now */
    bool has_blink;       /* attr bit 7 blinks instead of bright background */
};

/* The graphics device. */
struct display_source {
    /* Draw what changed into display_surface(), call display_resize and
     * display_damage, fill the text screen.  full: redraw everything. */
    void (*refresh)(void *arg, bool full);
    void *arg;
};

struct display_sink {
    const char *name;
    void (*resize)(void *arg, const struct surface *s);
    void (*damage)(void *arg, const struct surface *s, struct rect r);
    /* Once per refresh, after all damage calls. */
    void (*frame)(void *arg, const struct surface *s,
                  const struct text_screen *t);
    void *arg;
};

int display_create(struct vm *vm, struct display **out, struct err *e);
void display_destroy(struct display *d);
/* The VM goes first, its devices still have the display: forget the VM.  No
 * sink is left. */
void display_detach(struct display *d);
struct display *vm_display(struct vm *vm); /* service "display" */

void display_set_source_locked(struct display *d,
                               const struct display_source *src);
/* Show this in place of the device's picture (a text console); NULL: the
 * device again.  It keeps its place meanwhile. */
void display_set_overlay_locked(struct display *d,
                                const struct display_source *src);
int display_add_sink(struct display *d, const struct display_sink *sink);
void display_remove_sink(struct display *d, void *arg);

/* For the source, inside refresh.  resize clears and reallocates; at most
 * 4096 x 4096, larger is refused with -EINVAL. */
int display_resize(struct display *d, int width_px, int height_px);
struct surface *display_surface(struct display *d);
void display_damage(struct display *d, struct rect r);
struct text_screen *display_text(struct display *d);

/* Refresh now (screendump, info).  VM lock held, loop thread. */
void display_refresh_locked(struct display *d);

/* Write the picture to a file as PNG or PPM (P6).  VM lock held. */
int display_screendump_locked(struct display *d, const char *path, bool is_png,
                              struct err *e);

/* What lets a monitor set the password of a remote display: service
 * "vnc-password".  NULL or "" : nobody gets in while one is asked for. */
struct display_password {
    int (*set)(void *arg, const char *password, struct err *e);
    void *arg;
};

/* Unicode of a code page 437 octet (control codes too, as VGA draws them). */
uint16_t display_cp437_to_unicode(uint8_t ch);

#endif
