/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Display hub.
 *
 * One source (the graphics device) draws into one surface; sinks show it.
 * Nothing is pushed by the guest: a timer on the loop asks the source what
 * changed, so a guest that draws a thousand times between two frames costs
 * one frame.  The timer runs only while a sink is attached: at BUSY_MS while
 * pictures change, at IDLE_MS after QUIET_NS without change.  Screendump and
 * the like refresh on demand and need neither sink nor timer.
 *
 * Everything here is guarded by the VM lock.  Sinks may remove themselves
 * inside a callback, so removal only clears the slot.
 */
#include "core/host/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/loop/loop.h"
#include "core/vm/vm.h"

enum {
    BUSY_MS = 30,
    IDLE_MS = 80,
    MAX_SINKS = 16,
    MAX_SIDE_PX = 4096,
    FIRST_WIDTH_PX = 720,
    FIRST_HEIGHT_PX = 400,
};
#define QUIET_NS 2000000000u

struct display {
    struct vm *vm;
    struct surface surface;
    struct text_screen text;
    struct display_source source, overlay; /* overlay: instead, if set */
    struct display_sink sink[MAX_SINKS];   /* frame NULL and arg NULL: free */
    bool is_used[MAX_SINKS];
    struct loop_timer timer;
    uint64_t changed_ns; /* host time of the last damage */
    bool needs_full;     /* ask the source for everything */
    bool needs_damage;   /* tell the sinks everything */
};

static bool has_sinks(const struct display *d)
{
    for (unsigned i = 0; i < MAX_SINKS; i++)
        if (d->is_used[i]) return true;
    return false;
}

static void tick(void *arg)
{
    struct display *d = arg;
    bool goes_on;

    vm_lock(d->vm);
    display_refresh_locked(d);
    goes_on = has_sinks(d);
    vm_unlock(d->vm);
    if (goes_on) {
        bool is_quiet = loop_now_ns() - d->changed_ns > QUIET_NS;
        loop_timer_arm_ms(&d->timer, is_quiet ? IDLE_MS : BUSY_MS);
    }
}

static int alloc_surface(struct display *d, int width_px, int height_px)
{
    uint32_t *px = calloc((size_t)width_px * (size_t)height_px, sizeof(*px));

    if (px == NULL) return -ENOMEM;
    free(d->surface.px);
    d->surface = (struct surface){
        .width_px = width_px,
        .height_px = height_px,
        .stride_px = width_px,
        .px = px,
    };
    return 0;
}

int display_create(struct vm *vm, struct display **out, struct err *e)
{
    struct display *d = calloc(1, sizeof(*d));

    if (d == NULL || alloc_surface(d, FIRST_WIDTH_PX, FIRST_HEIGHT_PX) < 0) {
        free(d);
        return err_set(e, -ENOMEM, "no memory for the display");
    }
    d->vm = vm;
    d->needs_full = true;
    d->text.cursor_col = d->text.cursor_row = -1;
    loop_timer_init(&d->timer, vm_loop(vm), tick, d);
    vm_set_service(vm, "display", d);
    *out = d;
    return 0;
}

void display_detach(struct display *d)
{
    if (d == NULL) return;
    loop_timer_disarm(&d->timer);
    d->vm = NULL;
}

void display_destroy(struct display *d)
{
    if (d == NULL) return;
    loop_timer_disarm(&d->timer);
    if (d->vm != NULL) vm_set_service(d->vm, "display", NULL);
    free(d->surface.px);
    free(d);
}

struct display *vm_display(struct vm *vm)
{
    return vm_service(vm, "display");
}

void display_set_source_locked(struct display *d,
                               const struct display_source *src)
{
    d->source = src != NULL ? *src : (struct display_source){ 0 };
    d->needs_full = true;
}

void display_set_overlay_locked(struct display *d,
                                const struct display_source *src)
{
    d->overlay = src != NULL ? *src : (struct display_source){ 0 };
    d->needs_full = true;
}

int display_add_sink(struct display *d, const struct display_sink *sink)
{
    bool was_locked = vm_is_locked(d->vm);
    int rc = -ENOSPC;

    if (!was_locked) vm_lock(d->vm);
    for (unsigned i = 0; i < MAX_SINKS; i++) {
        if (d->is_used[i]) continue;
        d->sink[i] = *sink;
        d->is_used[i] = true;
        d->needs_full = true;
        d->changed_ns = loop_now_ns();
        if (sink->resize != NULL) sink->resize(sink->arg, &d->surface);
        loop_timer_arm_ms(&d->timer, 0);
        rc = 0;
        break;
    }
    if (!was_locked) vm_unlock(d->vm);
    return rc;
}

void display_remove_sink(struct display *d, void *arg)
{
    bool was_locked = vm_is_locked(d->vm);

    if (!was_locked) vm_lock(d->vm);
    for (unsigned i = 0; i < MAX_SINKS; i++) {
        if (d->is_used[i] && d->sink[i].arg == arg) d->is_used[i] = false;
    }
    if (!has_sinks(d)) loop_timer_disarm(&d->timer);
    if (!was_locked) vm_unlock(d->vm);
}

int display_resize(struct display *d, int width_px, int height_px)
{
    int rc;

    if (width_px < 1 || height_px < 1 || width_px > MAX_SIDE_PX ||
        height_px > MAX_SIDE_PX)
        return -EINVAL;
    rc = alloc_surface(d, width_px, height_px);
    if (rc < 0) return rc;
    d->changed_ns = loop_now_ns();
    for (unsigned i = 0; i < MAX_SINKS; i++) {
        if (d->is_used[i] && d->sink[i].resize != NULL)
            d->sink[i].resize(d->sink[i].arg, &d->surface);
    }
    d->needs_damage = true; /* once the source has drawn */
    return 0;
}

struct surface *display_surface(struct display *d)
{
    return &d->surface;
}

struct text_screen *display_text(struct display *d)
{
    return &d->text;
}

static bool clip(struct rect *r, const struct surface *s)
{
    int x1 = r->x + r->w, y1 = r->y + r->h;

    if (r->x < 0) r->x = 0;
    if (r->y < 0) r->y = 0;
    if (x1 > s->width_px) x1 = s->width_px;
    if (y1 > s->height_px) y1 = s->height_px;
    r->w = x1 - r->x;
    r->h = y1 - r->y;
    return r->w > 0 && r->h > 0;
}

void display_damage(struct display *d, struct rect r)
{
    if (!clip(&r, &d->surface)) return;
    d->changed_ns = loop_now_ns();
    for (unsigned i = 0; i < MAX_SINKS; i++) {
        if (d->is_used[i] && d->sink[i].damage != NULL)
            d->sink[i].damage(d->sink[i].arg, &d->surface, r);
    }
}

void display_refresh_locked(struct display *d)
{
    const struct vm_accel_ops *accel = vm_accel(d->vm, NULL);
    bool is_full = d->needs_full;

    if (accel != NULL && accel->sync != NULL) accel->sync(d->vm);
    d->needs_full = false;
    d->needs_damage |= is_full;
    if (d->overlay.refresh != NULL) {
        d->overlay.refresh(d->overlay.arg, is_full);
    } else if (d->source.refresh != NULL) {
        d->source.refresh(d->source.arg, is_full);
    }
    if (d->needs_damage) {
        d->needs_damage = false;
        display_damage(d, (struct rect){ 0, 0, d->surface.width_px,
                                         d->surface.height_px });
    }
    for (unsigned i = 0; i < MAX_SINKS; i++) {
        if (d->is_used[i] && d->sink[i].frame != NULL)
            d->sink[i].frame(d->sink[i].arg, &d->surface, &d->text);
    }
}
