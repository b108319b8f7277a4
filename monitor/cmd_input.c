/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendkey, mouse_move, mouse_button, set_password, screendump. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/host/display.h"
#include "core/host/input.h"
#include "core/vm/vm.h"
#include "monitor/command.h"

enum { KEYS_MAX = 16, HOLD_DEFAULT_MS = 100, HOLD_MAX_MS = 60000 };

/* Linux key code of one name, or of a "0x1e" scan code of set 1. */
static unsigned key_by_word(const char *word)
{
    unsigned code = input_key_by_name(word);
    uint64_t scan = 0;
    uint8_t seq[8];

    if (code != 0 || strncmp(word, "0x", 2) != 0) return code;
    if (uint_parse(word, &scan) < 0 || scan == 0 || scan > 0xff) return 0;
    for (unsigned k = 1; k < 256; k++) {
        unsigned n = input_scancode_set1(k, true, seq);

        if (scan < 0x80 && n == 1 && seq[0] == scan) return k;
        if (scan >= 0x80 && n == 2 && seq[0] == 0xe0 && seq[1] == (scan & 0x7f))
            return k;
    }
    return 0;
}

int cmd_sendkey(struct cmd *c, struct err *e)
{
    unsigned keys[KEYS_MAX], count = 0, hold_ms = HOLD_DEFAULT_MS;
    const char *p = c->arg[0].text;

    do {
        char word[32];
        size_t n = strcspn(p, "-");

        if (p[0] == '-' && p[1] == '\0') n = 1; /* the key itself */
        if (n == 1 && p[0] == '<') {            /* as QEMU: the 102nd key */
            strcpy(word, "less");
        } else {
            snprintf(word, sizeof(word), "%.*s", (int)n, p);
        }
        if (count == KEYS_MAX)
            return err_set(e, -E2BIG, "too many keys: %s", c->arg[0].text);
        keys[count] = key_by_word(word);
        if (keys[count++] == 0)
            return err_set(e, -EINVAL, "invalid parameter: %s", word);
        p += n;
    } while (*p++ == '-');
    if (c->arg[1].is_given) {
        if (c->arg[1].number < 0 || c->arg[1].number > HOLD_MAX_MS)
            return err_set(e, -ERANGE, "hold time outside 0..%d ms",
                           HOLD_MAX_MS);
        hold_ms = (unsigned)c->arg[1].number;
    }
    input_send_keys_locked(vm_input(c->vm), keys, count, hold_ms);
    return 0;
}

static int small(const struct cmd_arg *a, int *out, struct err *e)
{
    if (a->is_given && (a->number < -32768 || a->number > 32767))
        return err_set(e, -ERANGE, "%lld is outside -32768..32767",
                       (long long)a->number);
    *out = a->is_given ? (int)a->number : 0;
    return 0;
}

/* Relative motion; a machine with a tablet takes it as 0..32767. */
int cmd_mouse_move(struct cmd *c, struct err *e)
{
    struct input *in = vm_input(c->vm);
    int d[3] = { 0, 0, 0 };

    for (unsigned i = 0; i < 3; i++) {
        int rc = small(&c->arg[i], &d[i], e);
        if (rc < 0) return rc;
    }
    if (input_has_tablet(in)) {
        input_tablet_locked(in, d[0], d[1], d[2], c->s->mouse_buttons);
    } else {
        input_mouse_locked(in, d[0], d[1], d[2], c->s->mouse_buttons);
    }
    return 0;
}

/* QEMU's numbers: 1 left, 2 middle, 4 right. */
int cmd_mouse_button(struct cmd *c, struct err *e)
{
    uint64_t b = (uint64_t)c->arg[0].number;

    if (b > 7) return err_set(e, -ERANGE, "button state outside 0..7");
    c->s->mouse_buttons = (b & 1 ? INPUT_BTN_LEFT : 0) |
                          (b & 2 ? INPUT_BTN_MIDDLE : 0) |
                          (b & 4 ? INPUT_BTN_RIGHT : 0);
    input_mouse_locked(vm_input(c->vm), 0, 0, 0, c->s->mouse_buttons);
    return 0;
}

int cmd_set_password(struct cmd *c, struct err *e)
{
    struct display_password *p = vm_service(c->vm, "vnc-password");

    if (strcmp(c->arg[0].text, "vnc") != 0) {
        return err_set(e, -EINVAL, "protocol '%s': only vnc has a password",
                       c->arg[0].text);
    }
    if (p == NULL) return err_set(e, -ENOENT, "there is no VNC display");
    return p->set(p->arg, c->arg[1].text, e);
}

int cmd_screendump(struct cmd *c, struct err *e)
{
    const char *path = c->arg[0].text, *dot = strrchr(path, '.');
    struct display *d = vm_display(c->vm);
    bool is_png = dot != NULL && strcasecmp(dot, ".png") == 0;

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
