/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Console of a running machine: its screen fills the terminal, one status
 * line below.  The machine is another process; the picture comes and the keys
 * go through its control socket.  Ctrl-A is the prefix key.
 */
#include <panel.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/host/input.h"
#include "core/vm/vm.h"
#include "ui/control/control.h"
#include "ui/display/term_keys.h"
#include "ui/display/term_view.h"
#include "ui/manager/screen.h"

enum { PREFIX = 1 /* Ctrl-A */, TICK_MS = 500, REPLY_MS = 5000 };

struct console {
    const char *name;
    struct control_client *c;
    struct term_view view;
    WINDOW *guest, *status;
    PANEL *guest_panel, *status_panel;
    struct screen_layer layer;
    bool is_prefix, is_done, is_gone;
};

static const char console_help[] =
    "The machine goes on when you leave.\n"
    "\n"
    "Ctrl-A d    leave the console\n"
    "Ctrl-A m    monitor: one command (help lists them)\n"
    "Ctrl-A x    send Ctrl-Alt-Delete\n"
    "Ctrl-A f    send a function key (F1 to F12)\n"
    "Ctrl-A p    pause or continue\n"
    "Ctrl-A 1..5 guest's screen, monitor, serial port, ...\n"
    "Ctrl-A s    save a picture of the screen\n"
    "Ctrl-A a    send Ctrl-A itself\n"
    "Ctrl-A ?    this page\n"
    "\n"
    "All other keys go to the guest.";

/* ---- keys to the guest ---- */

static void send_input(struct console *k, const struct term_input *in)
{
    unsigned codes[TERM_KEY_CODES];
    struct term_key key;

    if (!term_key_decode(in, &key)) return;
    control_keys(k->c, codes, term_key_codes(&key, codes));
}

static void send_function_key(struct console *k)
{
    static const char *const name[] = { "F1", "F2", "F3", "F4",  "F5",  "F6",
                                        "F7", "F8", "F9", "F10", "F11", "F12" };
    static const char *const key[] = { "f1", "f2", "f3", "f4",  "f5",  "f6",
                                       "f7", "f8", "f9", "f10", "f11", "f12" };
    unsigned code;
    int i = dialog_choose("Send a function key", name, 12, 0);

    if (i < 0) return;
    code = input_key_by_name(key[i]);
    control_keys(k->c, &code, 1);
}

/* ---- monitor ---- */

static void run_line(struct console *k, const char *line, bool is_shown)
{
    if (control_run(k->c, line) < 0 ||
        control_wait(k->c, CONTROL_NEW_REPLY, REPLY_MS) < 0) {
        k->is_gone = true;
        return;
    }
    if (is_shown && *control_reply(k->c) != '\0') {
        dialog_text(line, control_reply(k->c));
    }
}

static void ask_monitor(struct console *k)
{
    char line[300] = "";

    if (dialog_input("Monitor", "command (help lists them):", line,
                     sizeof(line)) &&
        *line != '\0') {
        run_line(k, line, true);
    }
}

static void screenshot(struct console *k)
{
    char path[1024] = "", line[1100];

    snprintf(path, sizeof(path), "%s.png", k->name);
    if (!dialog_input("Save a picture",
                      "file (.png or .ppm), in the "
                      "machine's folder unless it begins with /:",
                      path, sizeof(path)) ||
        *path == '\0') {
        return;
    }
    snprintf(line, sizeof(line), "screendump %s", path);
    run_line(k, line, true);
}

static void prefix_key(struct console *k, const struct term_input *in)
{
    unsigned ctrl_alt_digit[] = { input_key_by_name("ctrl"),
                                  input_key_by_name("alt"), 0 };
    bool ignored;
    const unsigned ctrl_alt_del[] = { input_key_by_name("ctrl"),
                                      input_key_by_name("alt"),
                                      input_key_by_name("delete") };
    enum run_state st = control_state(k->c)->run_state;

    switch (in->code) {
    case 'd': k->is_done = true; break;
    case 'a':
    case PREFIX: send_input(k, &(struct term_input){ .code = PREFIX }); break;
    case 'm':
    case 'c': ask_monitor(k); break;
    case 'x': control_keys(k->c, ctrl_alt_del, 3); break;
    case 'f': send_function_key(k); break;
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
        ctrl_alt_digit[2] = input_key_for_char(in->code, &ignored);
        control_keys(k->c, ctrl_alt_digit, 3);
        break;
    case 'p': run_line(k, st == RUN_RUNNING ? "stop" : "cont", false); break;
    case 's': screenshot(k); break;
    default: dialog_text("Console keys", console_help);
    }
    clearok(curscr, TRUE);
}

/* ---- drawing ---- */

static void put_on_panel(PANEL **p, WINDOW **w, WINDOW *new_window)
{
    if (*p == NULL) {
        *p = new_panel(new_window);
    } else {
        replace_panel(*p, new_window);
        delwin(*w);
    }
    *w = new_window;
}

static void layout(struct console *k)
{
    put_on_panel(&k->guest_panel, &k->guest, newwin(LINES - 1, COLS, 0, 0));
    put_on_panel(&k->status_panel, &k->status, newwin(1, COLS, LINES - 1, 0));
    keypad(k->guest, TRUE);
    nodelay(k->guest, TRUE);
    meta(k->guest, TRUE);
    clearok(curscr, TRUE);
}

static void draw(struct console *k)
{
    const struct text_screen *t = control_text(k->c);
    const struct surface *s = control_surface(k->c);
    const struct control_state *st = control_state(k->c);
    char line[256], mode[40];
    int y = -1, x = -1;

    if (t->is_text) {
        snprintf(mode, sizeof(mode), "%dx%d text", t->cols, t->rows);
    } else {
        snprintf(mode, sizeof(mode), "%dx%d", s->width_px, s->height_px);
    }
    snprintf(line, sizeof(line), " %s %s %s | %s | %s | Ctrl-A %s", k->name,
             st->run_state == RUN_RUNNING ? "*" : "||",
             run_state_name(st->run_state), st->accel, mode,
             k->is_prefix ? "..." : "? for keys, d to leave");
    screen_put(k->status, 0, 0, COLS, screen_colour(COLOUR_BAR), line);
    if (t->is_text || s->px != NULL) {
        term_view_draw(&k->view, k->guest, s, t, &y, &x);
    }
    curs_set(y >= 0);
    update_panels();
    if (y >= 0) wmove(k->guest, y, x);
    wnoutrefresh(k->guest); /* last: its cursor is the one to see */
    doupdate();
}

static void resize(void *arg)
{
    layout(arg);
    draw(arg);
}

/* ---- running ---- */

static void read_keys(struct console *k)
{
    struct term_input in;

    while (!k->is_done && term_input_read(k->guest, &in)) {
        if (in.is_function && in.code == KEY_RESIZE) {
            screen_resized();
        } else if (k->is_prefix) {
            k->is_prefix = false;
            prefix_key(k, &in);
        } else if (!in.is_function && !in.has_alt && in.code == PREFIX) {
            k->is_prefix = true;
        } else {
            send_input(k, &in);
        }
    }
}

static void wait_for_news(struct console *k)
{
    struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                           { .fd = control_fd(k->c), .events = POLLIN } };

    poll(p, 2, TICK_MS);
    if (control_poll(k->c) < 0) k->is_gone = true;
}

void console_run(const char *name)
{
    struct console k = { .name = name };
    struct err e = ERR_INIT;
    char path[PATH_MAX];
    int rc = machine_socket(name, path, sizeof(path), &e);

    if (rc == 0) rc = control_connect(path, &k.c, &e);
    if (rc < 0) {
        dialog_message("Console", e.text);
        return;
    }
    term_view_init(&k.view);
    term_input_init();
    layout(&k);
    k.layer = (struct screen_layer){ resize, &k };
    set_panel_userptr(k.guest_panel, &k.layer);
    control_watch(k.c, true);
    control_wait(k.c, CONTROL_NEW_STATE, TICK_MS);
    while (!k.is_done && !k.is_gone) {
        wait_for_news(&k);
        read_keys(&k);
        draw(&k);
    }
    control_disconnect(k.c);
    term_view_fini(&k.view);
    del_panel(k.guest_panel);
    del_panel(k.status_panel);
    delwin(k.guest);
    delwin(k.status);
    curs_set(0);
    clear();
    refresh();
    if (k.is_gone) {
        char text[128];

        snprintf(text, sizeof(text), "%s has ended.", name);
        dialog_message("Console", text);
    }
}
