/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "ui/control/control.h"
#include "ui/display/sdl.h"
#include "ui/display/term.h"
#include "ui/display/vnc.h"
#include "ui/run_parts.h"

/* Is "key=on" (or "key" alone) among the words? */
static bool has_word(const char *words, const char *key, const char *value)
{
    size_t n = strlen(key), m = strlen(value);

    while (words != NULL && *words != '\0') {
        size_t len = strcspn(words, ",");

        if (len >= n && strncmp(words, key, n) == 0) {
            if (len == n) return strcmp(value, "on") == 0;
            if (words[n] == '=' && len == n + 1 + m &&
                strncmp(words + n + 1, value, m) == 0)
                return true;
        }
        words += len + (words[len] == ',');
    }
    return false;
}

static int open_sdl(struct run_views *v, struct vm *vm,
                    const struct run_view_options *o, struct err *e)
{
    struct sdl_options so = {
        .name = o->name,
        .is_fullscreen = has_word(o->display_opts, "full-screen", "on"),
        .has_no_quit = has_word(o->display_opts, "window-close", "off"),
    };
    int rc = sdl_display_open(vm, &so, &v->sdl, e);

    if (rc < 0) err_prefix(e, "-display sdl");
    return rc;
}

static int open_term(struct run_views *v, struct vm *vm,
                     const struct run_view_options *o, struct err *e)
{
    struct term_options to = { .name = o->name,
                               .monitor_run = o->monitor_run,
                               .arg = o->arg };
    int rc = term_display_open(vm, &to, &v->term, e);

    if (rc < 0) err_prefix(e, "-display curses");
    return rc;
}

int run_views_open(struct run_views *v, struct vm *vm,
                   const struct run_view_options *o, struct err *e)
{
    int rc = 0;

    if (o->control != NULL) {
        struct control_options co = { .path = o->control,
                                      .name = o->name,
                                      .monitor_run = o->monitor_run,
                                      .arg = o->arg };

        rc = control_server_open(vm, &co, &v->control, e);
        if (rc < 0) err_prefix(e, "-control %s", o->control);
    }
    if (rc == 0 && o->vnc != NULL) {
        struct vnc_options vo = { .address = o->vnc, .name = o->name };

        rc = vnc_display_open(vm, &vo, &v->vnc, e);
    }
    if (rc == 0 && strcmp(o->display, "sdl") == 0) rc = open_sdl(v, vm, o, e);
    if (rc == 0 && strcmp(o->display, "curses") == 0)
        rc = open_term(v, vm, o, e);
    return rc;
}

void run_views_close(struct run_views *v)
{
    if (v->term != NULL) term_display_close(v->term);
    if (v->sdl != NULL) sdl_display_close(v->sdl);
    if (v->vnc != NULL) vnc_display_close(v->vnc);
    if (v->control != NULL) control_server_close(v->control);
}
