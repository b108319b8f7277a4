/* SPDX-License-Identifier: GPL-2.0-or-later */
/* set_password, expire_password, screendump. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/base/log.h"
#include "core/base/size.h"
#include "core/host/display.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/output.h"

enum { EXPIRY_STEP_S = 86400 };
#define EXPIRY_MAX_S (UINT64_C(1) << 40)

/* When the VNC display's password ends: service "password-expiry". */
struct expiry {
    struct vm *vm;
    struct loop_timer timer;
    uint64_t at_s; /* seconds since 1970 */
};

static int set_vnc(struct cmd *c, const char *password, struct err *e)
{
    struct display_password *p = vm_service(c->vm, "vnc-password");

    if (p == NULL) return err_set(e, -ENOENT, "there is no VNC display");
    return p->set(p->arg, password, e);
}

static int check_protocol(const char *name, struct err *e)
{
    if (strcmp(name, "vnc") == 0) return 0;
    return err_set(e, -EINVAL, "protocol '%s': only vnc has a password", name);
}

int cmd_set_password(struct cmd *c, struct err *e)
{
    int rc = check_protocol(c->arg[0].text, e);

    if (rc < 0) return rc;
    if (c->arg[3].is_given && strcmp(c->arg[3].text, "keep") != 0)
        return err_set(e, -EINVAL,
                       "'%s': a new password leaves viewers alone (keep)",
                       c->arg[3].text);
    return set_vnc(c, c->arg[1].text, e);
}

int json_vnc_password(struct cmd *c, struct err *e)
{
    int rc = set_vnc(c, c->arg[0].text, e);

    if (rc < 0) return rc;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

/* A password nobody knows takes its place: viewers go on, none comes in. */
static int expire_now(struct vm *vm, struct err *e)
{
    struct display_password *p = vm_service(vm, "vnc-password");
    static const char hex[] = "0123456789abcdef";
    uint8_t noise[4];
    char text[9] = "";

    if (p == NULL) return err_set(e, -ENOENT, "there is no VNC display");
    if (getrandom(noise, sizeof(noise), 0) != sizeof(noise))
        return err_set(e, -EIO, "no random octets");
    for (unsigned i = 0; i < 8; i++)
        text[i] = hex[noise[i / 2] >> (i & 1 ? 4 : 0) & 15];
    return p->set(p->arg, text, e);
}

static void on_expiry(void *arg)
{
    struct expiry *x = arg;
    uint64_t now = (uint64_t)time(NULL);
    struct err e = ERR_INIT;

    if (now < x->at_s) { /* a timer holds no more than some days */
        uint64_t left = x->at_s - now;

        loop_timer_arm_ms(&x->timer,
                          (left < EXPIRY_STEP_S ? left : EXPIRY_STEP_S) * 1000);
        return;
    }
    vm_lock(x->vm);
    if (expire_now(x->vm, &e) < 0) log_warn("%s", e.text);
    vm_unlock(x->vm);
}

static struct expiry *expiry_of(struct vm *vm)
{
    struct expiry *x = vm_service(vm, "password-expiry");

    if (x != NULL) return x;
    x = calloc(1, sizeof(*x));
    if (x == NULL) return NULL;
    x->vm = vm;
    loop_timer_init(&x->timer, vm_loop(vm), on_expiry, x);
    vm_set_service(vm, "password-expiry", x);
    return x;
}

void password_expiry_close(struct vm *vm)
{
    struct expiry *x = vm_service(vm, "password-expiry");

    if (x == NULL) return;
    loop_timer_disarm(&x->timer);
    vm_set_service(vm, "password-expiry", NULL);
    free(x);
}

int cmd_expire_password(struct cmd *c, struct err *e)
{
    const char *text = c->arg[1].text;
    struct expiry *x;
    uint64_t s = 0;
    int rc = check_protocol(c->arg[0].text, e);

    if (rc < 0) return rc;
    if (vm_service(c->vm, "vnc-password") == NULL)
        return err_set(e, -ENOENT, "there is no VNC display");
    if (strcmp(text, "now") == 0) return expire_now(c->vm, e);
    if (strcmp(text, "never") == 0) {
        password_expiry_close(c->vm);
        return 0;
    }
    if (uint_parse(text + (*text == '+'), &s) < 0 || s > EXPIRY_MAX_S)
        return err_set(e, -EINVAL,
                       "time '%s': now, never, +SECONDS or seconds since 1970",
                       text);
    x = expiry_of(c->vm);
    if (x == NULL) return err_set(e, -ENOMEM, "out of memory");
    x->at_s = *text == '+' ? (uint64_t)time(NULL) + s : s;
    loop_timer_arm_ms(&x->timer, 0);
    return 0;
}

int cmd_screendump(struct cmd *c, struct err *e)
{
    const char *path = c->arg[0].text, *dot = strrchr(path, '.');
    struct display *d = vm_display(c->vm);
    bool is_png = dot != NULL && strcasecmp(dot, ".png") == 0;
    int rc;

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
    rc = output_check(path, e);
    if (rc < 0) return rc;
    display_refresh_locked(d);
    return display_screendump_locked(d, path, is_png, e);
}
