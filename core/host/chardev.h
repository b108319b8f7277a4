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
    void *arg;
};

int chardev_open(struct loop *l, const char *name, const char *spec,
                 struct chardev **out, struct err *e);
void chardev_close(struct chardev *c);
const char *chardev_name(const struct chardev *c);
const char *chardev_spec(const struct chardev *c);

/* One front end at a time (two with mon:stdio); NULL detaches. */
void chardev_set_front(struct chardev *c, const struct chardev_front *f);

/* Write without blocking; octets that do not fit a bounded buffer (64 KiB)
 * are dropped, oldest kept.  Any thread.  Returns octets taken. */
size_t chardev_write(struct chardev *c, const void *buf, size_t bytes);

/* The front end can take input again (after can_receive returned 0). */
void chardev_accept_input(struct chardev *c);

/* Register with the VM and look up by name. */
int chardev_register(struct vm *vm, struct chardev *c, struct err *e);
struct chardev *chardev_find(struct vm *vm, const char *name);

#endif
