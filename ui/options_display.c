/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -display, -vnc and -k: where the screen is shown and keys come from. */
#include "ui/options_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word behind a display's name.  Without a value to have it is on or off;
 * those that a display has no use for may be given, as long as they ask for
 * what is the case anyway. */
struct display_word {
    const char *key;
    const char *value; /* the one there is; NULL: on or off */
};

static const struct display_name {
    const char *name;
    struct display_word words[6]; /* key NULL ends them */
    const char *help;
} display_names[] = {
    { "curses",
      { { "charset", "CP437" },
        { "full-screen", NULL },
        { "window-close", NULL },
        { "gl", "off" } },
      "charset=CP437" },
    { "sdl",
      { { "full-screen", NULL },
        { "window-close", NULL },
        { "grab-mod", "lctrl-lalt" },
        { "gl", "off" } },
      "full-screen=on|off, window-close=on|off" },
    { "none",
      { { "full-screen", NULL }, { "window-close", NULL }, { "gl", "off" } },
      "nothing" },
};
enum { DISPLAYS = sizeof(display_names) / sizeof(display_names[0]) };

static int check_word(const struct display_name *d, struct keyval *kv,
                      struct err *e)
{
    bool is_on;
    int rc;

    for (const struct display_word *w = d->words; w->key != NULL; w++) {
        if (strcmp(w->key, kv->key) != 0) continue;
        if (w->value != NULL && strcmp(w->value, kv->value) == 0) return 0;
        if (w->value != NULL)
            return err_set(e, -ENOTSUP, "%s=%s: there is %s alone", kv->key,
                           kv->value, w->value);
        rc = value_bool(kv, &is_on, e);
        if (rc == 0) strcpy(kv->value, is_on ? "on" : "off");
        return rc;
    }
    return err_set(e, -EINVAL, "no parameter '%s'; %s takes %s", kv->key,
                   d->name, d->help);
}

/* The words behind the name, checked, truths as on and off. */
static int set_words(struct options *o, const struct display_name *d,
                     const char *at, struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    struct keyval kv;
    int rc;

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    while ((rc = keyval_next(&at, NULL, false, &kv, e)) > 0) {
        rc = check_word(d, &kv, e);
        if (rc < 0) break;
        fprintf(f, "%s%s=%s", ftell(f) > 0 ? "," : "", kv.key, kv.value);
    }
    if (fclose(f) != 0 && rc == 0) rc = err_set(e, -ENOMEM, "out of memory");
    if (rc == 0) rc = value_text(&o->display_opts, size > 0 ? text : NULL, e);
    free(text);
    return rc;
}

/* vnc=ADDRESS: -vnc, and nothing else. */
static int display_vnc(struct options *o, const char *v, struct err *e)
{
    int rc = option_vnc(o, *v == '=' ? v + 1 : "", e);

    if (rc == 0) rc = value_text(&o->display_opts, NULL, e);
    return rc < 0 ? rc : value_text(&o->display, "none", e);
}

int option_display(struct options *o, const char *v, struct err *e)
{
    size_t n;
    int rc;

    if (strncmp(v, "type=", 5) == 0) v += 5;
    n = strcspn(v, ",=");
    if (value_is_help(v)) {
        o->help = HELP_DISPLAY;
        return 0;
    }
    if (n == 3 && strncmp(v, "vnc", 3) == 0) return display_vnc(o, v + 3, e);
    for (unsigned i = 0; i < DISPLAYS; i++) {
        const struct display_name *d = &display_names[i];

        if (strlen(d->name) != n || strncmp(d->name, v, n) != 0 || v[n] == '=')
            continue;
        rc = set_words(o, d, v[n] == ',' ? v + n + 1 : "", e);
        return rc < 0 ? rc : value_text(&o->display, d->name, e);
    }
    return err_set(e, -EINVAL,
                   "no display of that name; there are curses, sdl, none, "
                   "vnc=ADDRESS");
}

int option_vnc(struct options *o, const char *v, struct err *e)
{
    if (strcmp(v, "none") == 0) return value_text(&o->vnc, NULL, e);
    if (strchr(v, ':') == NULL)
        return err_set(e, -EINVAL,
                       "write :1, 127.0.0.1:1, unix:PATH or none, behind it "
                       ",password=on or ,to=N");
    return value_text(&o->vnc, v, e);
}

/* Typed text becomes the keys of a US keyboard; what a window or a viewer
 * sends as scan codes needs no table. */
int option_keyboard(struct options *o, const char *v, struct err *e)
{
    (void)o;
    if (strcmp(v, "en-us") == 0) return 0;
    return err_set(e, -EINVAL,
                   "no such keyboard layout; there is en-us alone, used for "
                   "text typed in a terminal or in a simple VNC viewer "
                   "(windows and other viewers send the keys themselves)");
}
