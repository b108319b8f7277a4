/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "monitor/commands.h"
#include "monitor/gdb.h"

int cmd_gdbserver(struct cmd *c, struct err *e)
{
    const char *device = c->arg[0].is_given ? c->arg[0].text : "tcp::1234";
    int rc = gdb_server_start(c->vm, device, e);

    if (rc < 0) return rc;
    if (strcmp(device, "none") == 0) {
        fputs("Disabled gdbserver\n", c->out);
    } else {
        fprintf(c->out, "Waiting for gdb connection on device '%s'\n", device);
    }
    return 0;
}
