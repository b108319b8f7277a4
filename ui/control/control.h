/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_CONTROL_CONTROL_H
#define ORRERY_UI_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/host/display.h"

/*
 * Control socket of a running machine: unix socket, mode 0600.  It speaks QMP
 * (monitor/), so that any program can steer the machine there.  The manager
 * asks for x-orrery-view; behind its answer the connection carries the screen,
 * keys and monitor lines instead.  Messages are then a header and a payload,
 * little-endian, same host on both ends.  A frame is sent only after the
 * previous one was acknowledged, so a slow client costs one frame of memory
 * and delays nobody.
 */
enum control_type {
    /* client to machine */
    CTL_WATCH = 1,  /* u32: 1 start, 0 stop sending the screen */
    CTL_ACK = 2,    /* frame drawn, send the next */
    CTL_KEYS = 3,   /* u32 count, CONTROL_KEYS codes: press in order, release */
    CTL_MOUSE = 4,  /* i32 dx, dy, dz, u32 buttons */
    CTL_RUN = 5,    /* text: one monitor command line */
    CTL_STATUS = 6, /* ask for CTL_STATE */
    /* machine to client */
    CTL_STATE = 64,  /* struct control_state */
    CTL_SIZE = 65,   /* u32 width, height: graphics surface in pixels */
    CTL_PIXELS = 66, /* u32 first row, rows; XRGB rows of the full width */
    CTL_TEXT = 67,   /* struct control_text, rows * cols ch, the same attr */
    CTL_FRAME = 68,  /* picture complete */
    CTL_REPLY = 69,  /* text: what the command printed */
};

struct control_header {
    uint32_t type, bytes; /* of the payload */
};

enum { CONTROL_KEYS = 4 };
enum { CONTROL_MAX_REQUEST = 4095, CONTROL_MAX_REPLY = 72 << 20 };

struct control_state {
    uint32_t run_state; /* enum run_state */
    uint32_t cpus;
    uint64_t guest_ns, ram_bytes;
    uint64_t cpu_ns; /* host CPU time of the process */
    char accel[16];
    char name[64];
};

struct control_text {
    int32_t is_text, cols, rows, cursor_col, cursor_row, has_blink;
    uint32_t palette[16];
};

/* ---- machine side (server.c); loop thread ---- */
struct vm;
struct control_server;

struct control_options {
    const char *path; /* of the socket; a stale one is replaced */
    const char *name; /* of the machine; NULL: none given */
    /* Run one monitor command line; VM lock not held. */
    void (*monitor_run)(void *arg, const char *line, FILE *out);
    void *arg;
};

int control_server_open(struct vm *vm, const struct control_options *o,
                        struct control_server **out, struct err *e);
void control_server_close(struct control_server *s); /* removes the socket */

/* ---- manager side (client.c); one thread ---- */
struct control_client;

/* Connect and ask for the view: 0, -ENOENT or -ECONNREFUSED when nothing runs
 * there.  Does not wait for the answer: control_poll meets it. */
int control_connect(const char *path, struct control_client **out,
                    struct err *e);
void control_disconnect(struct control_client *c);
int control_fd(const struct control_client *c);

/* Take in what has arrived (never blocks).  Returns a mask of what is new, or
 * -EPIPE when the machine is gone. */
enum { CONTROL_NEW_FRAME = 1, CONTROL_NEW_STATE = 2, CONTROL_NEW_REPLY = 4 };
int control_poll(struct control_client *c);

/* Wait until one of mask is new, at most timeout_ms: mask, 0 or -EPIPE. */
int control_wait(struct control_client *c, unsigned mask, int timeout_ms);

/* The picture so far; valid until the next control_poll. */
const struct surface *control_surface(const struct control_client *c);
const struct text_screen *control_text(const struct control_client *c);
const struct control_state *control_state(const struct control_client *c);
const char *control_reply(const struct control_client *c);

/* Requests: 0 or -EPIPE. */
int control_watch(struct control_client *c, bool on);
/* Press the keys in order and release them, behind those sent before. */
int control_keys(struct control_client *c, const unsigned *codes,
                 unsigned count);
int control_mouse(struct control_client *c, int dx, int dy, int dz,
                  unsigned buttons);
int control_run(struct control_client *c, const char *line);
int control_ask_state(struct control_client *c);

#endif
