/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_CHARDEV_H
#define ORRERY_HOST_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Character back ends for serial ports and monitors: null, stdio, file:PATH,
 * unix:PATH[,server=on][,wait=off], pty, pipe-like; "mon:stdio" multiplexes.
 * Registered by name in the VM ("serial0", "mon0", or -chardev id).
 * The front end (UART, monitor) installs handlers; input arrives on the loop
 * thread without the VM lock.
 */
struct loop;
struct vm;
struct chardev;

struct chardev_front {
    /* How many octets the front end takes now. */
    size_t (*can_receive)(void *arg);
    void (*receive)(void *arg, const uint8_t *buf, size_t bytes);
    void (*opened)(void *arg, bool is_open); /* peer came or went; or NULL */
    /* The user asked for a break (mux key b, telnet BRK); or NULL. */
    void (*send_break)(void *arg);
    /* Shared terminal: input now goes here or elsewhere; or NULL. */
    void (*focus)(void *arg, bool has_focus);
    void *arg;
};

/*
 * Open a back end.  spec is -serial's text: [mon:]KIND[:PLACE][,key=value...].
 * Loop thread.  With server=on and without wait=off it returns when the first
 * peer is there.  Errors name what is wrong in the spec.
 */
int chardev_open(struct loop *l, const char *name, const char *spec,
                 struct chardev **out, struct err *e);
/* The machine starts: make the file of a "file:", which is otherwise made at
 * the first write, so that a start that fails changes nothing. */
int chardev_start(struct chardev *c, struct err *e);
/* Is the spec well formed and openable?  Looks, creates nothing. */
int chardev_check(const char *spec, struct err *e);
void chardev_close(struct chardev *c); /* also takes it out of the VM */
const char *chardev_name(const struct chardev *c);
const char *chardev_spec(const struct chardev *c);
bool chardev_is_open(struct chardev *c); /* a peer is there */
bool chardev_is_mux(const struct chardev *c);

/* One front end at a time (two with mon:stdio); NULL detaches. */
void chardev_set_front(struct chardev *c, const struct chardev_front *f);
/* The second front end of a mux, which Ctrl-A c switches to; the only one of
 * any other. */
void chardev_set_monitor(struct chardev *c, const struct chardev_front *f);
/* Keys of the mux it does not serve itself: 'x' end, 's' commit disks. */
void chardev_set_escape(struct chardev *c, void (*fn)(void *arg, int key),
                        void *arg);

/* Write without blocking; octets that do not fit a bounded buffer (64 KiB)
 * are dropped, oldest kept.  Any thread.  Returns octets taken. */
size_t chardev_write(struct chardev *c, const void *buf, size_t bytes);
/* Same with a buffer of 16 MiB, for answers of a monitor. */
size_t chardev_write_answer(struct chardev *c, const void *buf, size_t bytes);
/* Octets waiting to go out. */
size_t chardev_pending(struct chardev *c);

/* The front end can take input again (after can_receive returned 0).  Any
 * thread. */
void chardev_accept_input(struct chardev *c);

/*
 * A "vc": keeps the last 64 KiB written and shows them to one viewer in the
 * display.  The viewer is called on the writer's thread and must only take
 * note; chardev_vc_tail copies the newest octets.  chardev_vc_input is what was
 * typed there (loop thread).
 */
bool chardev_is_vc(const struct chardev *c);
void chardev_vc_watch(struct chardev *c, void (*written)(void *arg), void *arg);
size_t chardev_vc_tail(struct chardev *c, uint8_t *buf, size_t cap,
                       uint64_t *total_written);
void chardev_vc_input(struct chardev *c, const uint8_t *buf, size_t bytes);

/* ---- at run time (chardev_add.c); loop thread ---- */

/* Open one more and register it; gone with chardev_close_added. */
int chardev_add(struct vm *vm, const char *name, const char *spec,
                struct err *e);
/* -EBUSY: somebody uses it; -EPERM: it was there from the start. */
int chardev_remove(struct chardev *c, struct err *e);
void chardev_close_added(struct vm *vm);
/* Another back end for the same front ends; the old one stays if the new one
 * cannot be opened. */
int chardev_change(struct chardev *c, const char *spec, struct err *e);
/* A break, as if the peer had sent it; false: nobody there knows breaks. */
bool chardev_send_break(struct chardev *c);
/* The spec, or "pty:/dev/pts/N": what info chardev shows.  Returns out. */
const char *chardev_filename(const struct chardev *c, char *out, size_t cap);
bool chardev_is_ringbuf(const struct chardev *c);
/* Octets of a ringbuf that were not read before, oldest first. */
size_t chardev_ringbuf_read(struct chardev *c, uint8_t *buf, size_t cap);

/* Register with the VM and look up by name. */
int chardev_register(struct vm *vm, struct chardev *c, struct err *e);
/* Before the VM goes, when the device has to outlive it; NULL is allowed. */
void chardev_unregister(struct chardev *c);
struct chardev *chardev_find(struct vm *vm, const char *name);
/* NULL: the first; NULL at the end.  In the order of registration. */
struct chardev *chardev_next(struct vm *vm, struct chardev *c);

#endif
