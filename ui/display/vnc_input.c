/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From viewers to the guest's keyboard and mouse.
 *
 * Viewers send keysyms: what is printed on the key with the modifiers of
 * their own keyboard.  The guest's is a US one, so for a character whose
 * shift there differs from the shift the viewer holds, shift is pressed or
 * lifted around the key; with control or alt held it is a shortcut and left
 * alone.
 */
#include "config.h"

#ifdef HAVE_VNC

#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/host/input.h"
#include "core/vm/vm.h"
#include "ui/display/vnc_int.h"

enum { TABLET_MAX = 32767 };

/* -------------------------------------------------------------- loop thread */

static void deliver_one(struct vm *vm, const struct vnc_event *ev)
{
    struct input *in = vm_input(vm);

    switch (ev->kind) {
    case VNC_KEY: input_key_locked(in, ev->keycode, ev->is_down); break;
    case VNC_MOUSE:
        input_mouse_locked(in, ev->x, ev->y, ev->dz, ev->buttons);
        break;
    case VNC_TABLET:
        input_tablet_locked(in, ev->x, ev->y, ev->dz, ev->buttons);
        break;
    case VNC_NEWS:
        vm_report_locked(vm, ev->name, ev->data);
        free(ev->data);
        break;
    }
}

static bool take_event(struct vnc_display *v, struct vnc_event *ev)
{
    bool has_one;

    pthread_mutex_lock(&v->lock);
    has_one = v->queue_count > 0;
    if (has_one) {
        *ev = v->queue[v->queue_first];
        v->queue_first = (v->queue_first + 1) % VNC_QUEUE;
        v->queue_count--;
    }
    pthread_mutex_unlock(&v->lock);
    return has_one;
}

void vnc_deliver(void *arg, unsigned ready)
{
    struct vnc_display *v = arg;
    struct vnc_event ev;
    uint64_t count;
    ssize_t n = read(v->queue_fd, &count, sizeof(count));

    (void)ready, (void)n; /* before the queue is looked at: none is missed */
    vm_lock(v->vm);
    while (take_event(v, &ev))
        deliver_one(v->vm, &ev);
    vm_unlock(v->vm);
}

/* ----------------------------------------------------------- viewers' threads */

bool vnc_put_event(struct vnc_display *v, const struct vnc_event *ev)
{
    const uint64_t one = 1;
    bool is_first = false, has_room;

    pthread_mutex_lock(&v->lock);
    has_room = v->queue_count < VNC_QUEUE;
    if (has_room) {
        v->queue[(v->queue_first + v->queue_count) % VNC_QUEUE] = *ev;
        v->queue_count++;
        is_first = v->queue_count == 1;
    }
    pthread_mutex_unlock(&v->lock);
    if (is_first) {
        ssize_t n = write(v->queue_fd, &one, sizeof(one));
        (void)n; /* fails only when it is signalled already */
    }
    return has_room;
}

static bool is_down(const struct vnc_viewer *w, unsigned keycode)
{
    return w->keys_down[keycode / 8 % sizeof(w->keys_down)] >> (keycode % 8) &
           1;
}

static void put_key(struct vnc_viewer *w, unsigned keycode, bool down)
{
    struct vnc_event ev = { .kind = VNC_KEY,
                            .keycode = keycode,
                            .is_down = down };

    vnc_put_event(w->v, &ev);
}

static void mark_key(struct vnc_viewer *w, unsigned keycode, bool down)
{
    uint8_t *bits = &w->keys_down[keycode / 8 % sizeof(w->keys_down)];

    if (down)
        *bits |= (uint8_t)(1u << keycode % 8);
    else
        *bits &= (uint8_t) ~(1u << keycode % 8);
}

static bool is_letter(rfbKeySym k)
{
    return (k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z');
}

/* Key down with the shift state the character needs. */
static void press(struct vnc_viewer *w, unsigned keycode, rfbKeySym keysym,
                  bool needs_shift)
{
    static const unsigned shifts[2] = { KEY_LEFTSHIFT, KEY_RIGHTSHIFT };
    bool is_shortcut = is_down(w, KEY_LEFTCTRL) || is_down(w, KEY_RIGHTCTRL) ||
                       is_down(w, KEY_LEFTALT) || is_down(w, KEY_RIGHTALT);
    bool held = is_down(w, KEY_LEFTSHIFT) || is_down(w, KEY_RIGHTSHIFT);

    if (is_letter(keysym) && w->has_caps_lock) needs_shift = !needs_shift;
    if (is_shortcut || held == needs_shift) {
        put_key(w, keycode, true);
    } else if (needs_shift) {
        put_key(w, KEY_LEFTSHIFT, true);
        put_key(w, keycode, true);
        put_key(w, KEY_LEFTSHIFT, false);
    } else {
        for (unsigned i = 0; i < 2; i++)
            if (is_down(w, shifts[i])) put_key(w, shifts[i], false);
        put_key(w, keycode, true);
        for (unsigned i = 0; i < 2; i++)
            if (is_down(w, shifts[i])) put_key(w, shifts[i], true);
    }
}

void vnc_key(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
    struct vnc_viewer *w = cl->clientData;
    bool is_char = keysym >= 0x20 && keysym < 0x7f, needs_shift = false;
    unsigned keycode;

    if (w == NULL) return;
    if (is_char)
        keycode = input_key_for_char((uint32_t)keysym, &needs_shift);
    else
        keycode = input_key_for_keysym((uint32_t)keysym);
    if (keycode == 0 || keycode >= sizeof(w->keys_down) * 8) return;
    if (keycode == KEY_CAPSLOCK && down) w->has_caps_lock = !w->has_caps_lock;
    if (down && is_char)
        press(w, keycode, keysym, needs_shift);
    else
        put_key(w, keycode, down);
    mark_key(w, keycode, down);
}

void vnc_key_code(struct vnc_viewer *w, unsigned keycode, bool down)
{
    if (keycode == KEY_CAPSLOCK && down) w->has_caps_lock = !w->has_caps_lock;
    put_key(w, keycode, down);
    mark_key(w, keycode, down);
}

void vnc_release_keys(struct vnc_viewer *w)
{
    for (unsigned k = 0; k < sizeof(w->keys_down) * 8; k++) {
        if (!is_down(w, k)) continue;
        mark_key(w, k, false);
        put_key(w, k, false);
    }
}

static unsigned to_buttons(int mask)
{
    return (mask & 1 ? INPUT_BTN_LEFT : 0u) |
           (mask & 2 ? INPUT_BTN_MIDDLE : 0u) |
           (mask & 4 ? INPUT_BTN_RIGHT : 0u);
}

static int scale(int at, int size)
{
    if (at < 0) at = 0;
    if (at >= size) at = size - 1;
    return size > 1 ? (int)((int64_t)at * TABLET_MAX / (size - 1)) : 0;
}

void vnc_pointer(int mask, int x, int y, rfbClientPtr cl)
{
    struct vnc_viewer *w = cl->clientData;
    struct vnc_event ev = { .kind = VNC_MOUSE };

    if (w == NULL) return;
    ev.buttons = to_buttons(mask);
    /* RFB: buttons 4 and 5 are the wheel, one click a press */
    if ((mask & 8) != 0 && (w->buttons & 8) == 0) ev.dz = -1;
    if ((mask & 16) != 0 && (w->buttons & 16) == 0) ev.dz = 1;
    w->buttons = (unsigned)mask;
    if (w->v->has_tablet) {
        ev.kind = VNC_TABLET;
        ev.x = scale(x, cl->screen->width);
        ev.y = scale(y, cl->screen->height);
    } else if (w->has_position) {
        ev.x = x - w->x;
        ev.y = y - w->y;
    }
    w->x = x;
    w->y = y;
    w->has_position = true;
    vnc_put_event(w->v, &ev);
}

#endif
