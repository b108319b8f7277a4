/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input hub: windows, terminals and the monitor on one side, emulated
 * keyboards and pointers on the other.  It knows which keys are down, so that
 * a view that loses the focus can let go of all of them, and types queued
 * keys on guest time, so that they wait while the machine is paused.
 */
#include "core/host/input.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/trace.h"
#include "core/host/console.h"
#include "core/vm/clock.h"
#include "core/vm/vm.h"

enum {
    INPUT_HANDLERS = 8,
    INPUT_GROUP = 16, /* keys pressed together */
    INPUT_MAX_GROUPS = 4096,
    INPUT_MIN_HOLD_MS = 1,
    INPUT_MAX_HOLD_MS = 60000,
};
#define INPUT_GAP_NS 20000000u /* between two groups */

struct key_group {
    struct key_group *next;
    unsigned hold_ms, count;
    unsigned keycode[INPUT_GROUP];
};

struct input {
    struct vm *vm;
    struct input_handler handler[INPUT_HANDLERS];
    unsigned handler_count;
    bool is_down[KEY_CNT];
    struct key_group *first, **last; /* first: being typed */
    unsigned group_count;
    bool is_held; /* the first group's keys are down */
    struct timer timer;
};

static void input_drop_groups(struct input *in)
{
    while (in->first != NULL) {
        struct key_group *g = in->first;

        in->first = g->next;
        free(g);
    }
    in->last = &in->first;
    in->group_count = 0;
    in->is_held = false;
}

void input_destroy(struct input *in)
{
    if (in == NULL) return;
    timer_disarm_locked(&in->timer);
    input_drop_groups(in);
    vm_set_service(in->vm, "input", NULL);
    free(in);
}

void input_add_handler_locked(struct input *in, const struct input_handler *h)
{
    if (in->handler_count == INPUT_HANDLERS) return;
    in->handler[in->handler_count++] = *h;
}

void input_remove_handler_locked(struct input *in, void *arg)
{
    unsigned kept = 0;

    if (in == NULL) return;
    for (unsigned i = 0; i < in->handler_count; i++) {
        if (in->handler[i].arg != arg) in->handler[kept++] = in->handler[i];
    }
    in->handler_count = kept;
}

/* To the guest's keyboards. */
static void input_deliver(struct input *in, unsigned keycode, bool is_down)
{
    if (keycode == 0 || keycode >= KEY_CNT) return;
    if (!is_down && !in->is_down[keycode]) return; /* was never pressed */
    in->is_down[keycode] = is_down;
    trace(TRACE_KEY, "code %u down %d", keycode, is_down);
    for (unsigned i = 0; i < in->handler_count; i++) {
        const struct input_handler *h = &in->handler[i];

        if (h->key != NULL) h->key(h->arg, keycode, is_down);
    }
}

void input_key_locked(struct input *in, unsigned keycode, bool is_down)
{
    if (!console_key_locked(in->vm, keycode, is_down))
        input_deliver(in, keycode, is_down);
}

void input_mouse_locked(struct input *in, int dx, int dy, int dz,
                        unsigned buttons)
{
    trace(TRACE_MOUSE, "dx %d dy %d dz %d buttons 0x%x", dx, dy, dz, buttons);
    for (unsigned i = 0; i < in->handler_count; i++) {
        const struct input_handler *h = &in->handler[i];

        if (h->mouse != NULL) h->mouse(h->arg, dx, dy, dz, buttons);
    }
}

static int input_clamp(int v)
{
    return v < 0 ? 0 : v > 32767 ? 32767 : v;
}

void input_tablet_locked(struct input *in, int x, int y, int dz,
                         unsigned buttons)
{
    trace(TRACE_MOUSE, "x %d y %d dz %d buttons 0x%x", x, y, dz, buttons);
    for (unsigned i = 0; i < in->handler_count; i++) {
        const struct input_handler *h = &in->handler[i];

        if (h->tablet == NULL) continue;
        h->tablet(h->arg, input_clamp(x), input_clamp(y), dz, buttons);
    }
}

bool input_has_tablet(struct input *in)
{
    for (unsigned i = 0; i < in->handler_count; i++) {
        if (in->handler[i].tablet != NULL) return true;
    }
    return false;
}

void input_release_all_locked(struct input *in)
{
    for (unsigned i = 0; i < KEY_CNT; i++) {
        if (in->is_down[i]) input_deliver(in, i, false);
    }
}

/* Press the first group's keys, or let them go and take the next group. */
static void input_type(void *arg)
{
    struct input *in = arg;
    struct key_group *g = in->first;
    uint64_t now_ns = clock_now_ns(in->vm);

    if (g == NULL) return;
    if (!in->is_held) {
        for (unsigned i = 0; i < g->count; i++) {
            input_deliver(in, g->keycode[i], true);
        }
        in->is_held = true;
        timer_arm_locked(&in->timer, now_ns + g->hold_ms * UINT64_C(1000000));
        return;
    }
    for (unsigned i = g->count; i-- > 0;) {
        input_deliver(in, g->keycode[i], false);
    }
    in->is_held = false;
    in->first = g->next;
    if (in->first == NULL) in->last = &in->first;
    in->group_count--;
    free(g);
    if (in->first != NULL) timer_arm_locked(&in->timer, now_ns + INPUT_GAP_NS);
}

struct input *vm_input(struct vm *vm)
{
    struct input *in = vm_service(vm, "input");

    if (in != NULL) return in;
    in = calloc(1, sizeof(*in));
    if (in == NULL) return NULL;
    in->vm = vm;
    in->last = &in->first;
    timer_init(&in->timer, vm, input_type, in);
    vm_set_service(vm, "input", in);
    return in;
}

void input_send_keys_locked(struct input *in, const unsigned *keycodes,
                            unsigned count, unsigned hold_ms)
{
    struct key_group *g;

    if (count == 0 || count > INPUT_GROUP ||
        in->group_count == INPUT_MAX_GROUPS) {
        return;
    }
    g = calloc(1, sizeof(*g));
    if (g == NULL) return;
    g->count = count;
    g->hold_ms = hold_ms < INPUT_MIN_HOLD_MS   ? INPUT_MIN_HOLD_MS
                 : hold_ms > INPUT_MAX_HOLD_MS ? INPUT_MAX_HOLD_MS
                                               : hold_ms;
    memcpy(g->keycode, keycodes, count * sizeof(*keycodes));
    *in->last = g;
    in->last = &g->next;
    in->group_count++;
    if (in->group_count > 1 || in->timer.is_armed) return;
    timer_arm_locked(&in->timer, clock_now_ns(in->vm));
}
