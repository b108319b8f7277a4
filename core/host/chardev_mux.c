/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One terminal for two: a serial port (front end 0) and a monitor (front end
 * 1).  Ctrl-A is the prefix key, as with QEMU's -nographic.
 */
#include "core/host/chardev_int.h"

#include <stdio.h>
#include <string.h>

enum { ESCAPE_KEY = 1 }; /* Ctrl-A */

static void say(struct chardev *c, const char *text)
{
    chardev_write(c, text, strlen(text));
}

static void switch_focus(struct chardev *c)
{
    unsigned to = !c->focus;

    if (c->front[to].receive == NULL) return;
    if (c->front[c->focus].focus != NULL)
        c->front[c->focus].focus(c->front[c->focus].arg, false);
    c->focus = to;
    if (c->front[to].focus != NULL) c->front[to].focus(c->front[to].arg, true);
}

static void escape_key(struct chardev *c, uint8_t key)
{
    struct chardev_front *f = &c->front[c->focus];

    switch (key) {
    case 'h':
    case '?':
        say(c, "\r\nCtrl-A then\r\n"
               "  h  shows this\r\n"
               "  x  ends the machine\r\n"
               "  t  stamps lines with the time, or stops it\r\n"
               "  b  sends a break (magic SysRq)\r\n"
               "  c  switches between serial port and monitor\r\n"
               "  Ctrl-A  sends Ctrl-A\r\n");
        break;
    case 'c': switch_focus(c); break;
    case 'b':
        if (f->send_break != NULL) f->send_break(f->arg);
        break;
    case 't': c->has_stamps = !c->has_stamps; break;
    case ESCAPE_KEY: chardev_queue_input(c, c->focus, ESCAPE_KEY); break;
    default:
        if (c->escape != NULL) c->escape(c->escape_arg, key);
        break;
    }
}

void chardev_mux_stamp(const struct chardev *c, char *out, size_t cap)
{
    uint64_t ms = (loop_now_ns() - c->opened_ns) / 1000000u;

    snprintf(out, cap, "[%02u:%02u:%02u.%03u] ", (unsigned)(ms / 3600000),
             (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60),
             (unsigned)(ms % 1000));
}

void chardev_mux_input(struct chardev *c, const uint8_t *buf, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (c->is_escaped) {
            c->is_escaped = false;
            escape_key(c, buf[i]);
        } else if (buf[i] == ESCAPE_KEY) {
            c->is_escaped = true;
        } else {
            chardev_queue_input(c, c->focus, buf[i]);
        }
    }
}
