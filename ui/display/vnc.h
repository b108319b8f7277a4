/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_VNC_H
#define ORRERY_UI_DISPLAY_VNC_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * -vnc: the guest's screen over the network, by libvncserver with its own
 * threads.  Registers the page `info vnc`.
 */
struct vm;
struct vnc_display;

struct vnc_options {
    /* QEMU's text: [host]:N[,opt=...] (port 5900 + N), unix:PATH, none.  No
     * host: loopback alone, unlike QEMU; "0.0.0.0" or "::" listens
     * everywhere. */
    const char *address;
    const char *name; /* desktop name; NULL "Orrery" */
};

/* Loop thread, after display_create().  -EINVAL for the text, -EADDRINUSE
 * when the port is taken, -ENOTSUP when built without libvncserver. */
int vnc_display_open(struct vm *vm, const struct vnc_options *o,
                     struct vnc_display **out, struct err *e);
void vnc_display_close(struct vnc_display *v); /* NULL is allowed */

/* Set (or with NULL or "" remove) the password viewers must give; at most 8
 * octets count.  Loop thread. */
int vnc_display_set_password(struct vnc_display *v, const char *password,
                             struct err *e);

/* TCP port we listen on, 0 for a unix socket. */
int vnc_display_port(const struct vnc_display *v);

#endif
