/* SPDX-License-Identifier: GPL-2.0-or-later */
/* set_password, screendump. */
#include <errno.h>
#include <string.h>

#include "core/host/display.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

int cmd_set_password(struct cmd *c, struct err *e)
{
    struct display_password *p = vm_service(c->vm, "vnc-password");

    if (strcmp(c->arg[0].text, "vnc") != 0) {
        return err_set(e, -EINVAL, "protocol '%s': only vnc has a password",
                       c->arg[0].text);
    }
    if (c->arg[3].is_given && strcmp(c->arg[3].text, "keep") != 0)
        return err_set(e, -EINVAL,
                       "'%s': a new password leaves viewers alone (keep)",
                       c->arg[3].text);
    if (p == NULL) return err_set(e, -ENOENT, "there is no VNC display");
    return p->set(p->arg, c->arg[1].text, e);
}

int cmd_screendump(struct cmd *c, struct err *e)
{
    const char *path = c->arg[0].text, *dot = strrchr(path, '.');
    struct display *d = vm_display(c->vm);
    bool is_png = dot != NULL && strcasecmp(dot, ".png") == 0;

    if (c->arg[3].is_given && !c->arg[2].is_given)
        return err_set(e, -EINVAL,
                       "'head' must be specified together with 'device'");
    if (c->arg[2].is_given && dev_find(c->vm, c->arg[2].text) == NULL)
        return cmd_no_device(c, c->arg[2].text, e);
    if (c->arg[3].is_given && c->arg[3].number != 0)
        return err_set(e, -EINVAL, "there is head 0 alone");
    if (c->arg[1].is_given) {
        is_png = strcmp(c->arg[1].text, "png") == 0;
        if (!is_png && strcmp(c->arg[1].text, "ppm") != 0)
            return err_set(e, -EINVAL, "format '%s': png or ppm",
                           c->arg[1].text);
    }
    if (d == NULL) return err_set(e, -ENODEV, "there is no screen to dump");
    display_refresh_locked(d);
    return display_screendump_locked(d, path, is_png, e);
}
