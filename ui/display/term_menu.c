/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the prefix key does.  One table gives the keys, the overlay of
 * `Ctrl-A ?` and the order in it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "ui/display/term_int.h"

struct action {
    unsigned key; /* character after the prefix */
    const char *text;
    void (*run)(struct term_display *t);
};

static void send_named(struct term_display *t, const char *const *names,
                       unsigned count)
{
    unsigned codes[4];

    for (unsigned i = 0; i < count; i++)
        codes[i] = input_key_by_name(names[i]);
    term_send_keys(t, codes, count);
}

static void send_ctrl_alt_del(struct term_display *t)
{
    static const char *const names[] = { "ctrl", "alt", "delete" };

    send_named(t, names, 3);
}

static void send_sysrq(struct term_display *t)
{
    static const char *const names[] = { "alt", "sysrq" };

    send_named(t, names, 2);
}

static void send_prefix(struct term_display *t)
{
    static const char *const names[] = { "ctrl", "a" };

    send_named(t, names, 2);
}

static void pause_or_resume(void *arg)
{
    struct term_display *t = arg;

    vm_lock(t->vm);
    if (vm_run_state(t->vm) == RUN_RUNNING)
        vm_stop_locked(t->vm, RUN_PAUSED);
    else
        vm_start_locked(t->vm);
    vm_unlock(t->vm);
}

static void run_pause(struct term_display *t)
{
    term_post(t, pause_or_resume);
}

static void call_detach(void *arg)
{
    struct term_display *t = arg;

    t->opt.detach(t->opt.arg);
}

static void run_detach(struct term_display *t)
{
    if (t->opt.detach != NULL)
        term_post(t, call_detach);
    else
        t->focus = FOCUS_QUIT;
}

static void run_quit(struct term_display *t)
{
    t->focus = FOCUS_QUIT;
}

enum term_focus term_rest_focus(const struct term_display *t)
{
    return t->is_monitor_open ? FOCUS_MONITOR : FOCUS_GUEST;
}

static void run_monitor(struct term_display *t)
{
    t->is_monitor_open = t->opt.monitor_run != NULL && !t->is_monitor_open;
    t->focus = term_rest_focus(t);
}

static void run_status(struct term_display *t)
{
    t->is_status_hidden = !t->is_status_hidden;
}

static void run_redraw(struct term_display *t)
{
    (void)t;
    clearok(curscr, TRUE);
}

static void run_help(struct term_display *t)
{
    t->focus = FOCUS_MENU;
    t->menu_row = 0;
}

static const struct action actions[] = {
    { 'a', "send Ctrl-A to the guest", send_prefix },
    { 'k', "send Ctrl-Alt-Delete", send_ctrl_alt_del },
    { 'y', "send Alt-SysRq", send_sysrq },
    { 'p', "pause or resume", run_pause },
    { 'c', "open or close the monitor below the screen", run_monitor },
    { 's', "hide or show the status line", run_status },
    { 'l', "draw the screen again", run_redraw },
    { 'd', "detach, or quit if nothing keeps it", run_detach },
    { 'q', "quit the machine ...", run_quit },
    { '?', "this help", run_help },
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

/* Keys that are no character; shown under the table. */
static const char *const more[] = {
    "1 ... 9        guest's screen, monitor, serial, ...",
    "F1 ... F12     send Ctrl-Alt-Fn",
    "arrow keys     move the part that is shown",
};
enum { MORE = sizeof(more) / sizeof(more[0]) };

static bool run_action(struct term_display *t, unsigned key)
{
    if (key == 'm') key = 'c';
    if (key == 'x') key = 'q';
    if (key == TERM_PREFIX) key = 'a';
    if (key == 'h') key = '?';
    if (key >= '1' && key <= '9') {
        t->focus = term_rest_focus(t);
        term_select_console(t, key - '1');
        return true;
    }
    for (unsigned i = 0; i < ACTIONS; i++) {
        if (actions[i].key != key) continue;
        t->focus = term_rest_focus(t);
        actions[i].run(t);
        return true;
    }
    return false;
}

static void prefix_function_key(struct term_display *t,
                                const struct term_input *in)
{
    struct term_key k;
    unsigned codes[3] = { input_key_by_name("ctrl"), input_key_by_name("alt"),
                          0 };

    switch (in->code) {
    case KEY_UP: term_view_scroll(&t->view, -1, 0); return;
    case KEY_DOWN: term_view_scroll(&t->view, 1, 0); return;
    case KEY_LEFT: term_view_scroll(&t->view, 0, -8); return;
    case KEY_RIGHT: term_view_scroll(&t->view, 0, 8); return;
    default: break;
    }
    if (in->code < KEY_F(1) || in->code > KEY_F(12)) return;
    if (!term_key_decode(in, &k)) return;
    codes[2] = k.keycode;
    term_send_keys(t, codes, 3);
}

void term_prefix_key(struct term_display *t, const struct term_input *in)
{
    t->focus = term_rest_focus(t);
    if (in->is_function)
        prefix_function_key(t, in);
    else
        (void)run_action(t, in->code);
}

void term_menu_key(struct term_display *t, const struct term_input *in)
{
    if (in->is_function && in->code == KEY_UP) {
        t->menu_row = (t->menu_row + ACTIONS - 1) % ACTIONS;
    } else if (in->is_function && in->code == KEY_DOWN) {
        t->menu_row = (t->menu_row + 1) % ACTIONS;
    } else if (!in->is_function && (in->code == '\r' || in->code == '\n')) {
        (void)run_action(t, actions[t->menu_row].key);
    } else if (in->is_function) {
        prefix_function_key(t, in);
    } else if (!run_action(t, in->code)) {
        t->focus = term_rest_focus(t); /* Esc and anything else closes it */
    }
}

static const char *why_not(const struct term_display *t, const struct action *a)
{
    if (a->run == run_monitor && t->opt.monitor_run == NULL)
        return " (no monitor here)";
    return "";
}

/* Line i of the overlay: the actions, a blank, what is no character. */
static void menu_line(const struct term_display *t, unsigned i, char *out,
                      size_t cap)
{
    if (i < ACTIONS) {
        snprintf(out, cap, "%c  %s%s", (int)actions[i].key, actions[i].text,
                 why_not(t, &actions[i]));
    } else {
        snprintf(out, cap, "%s", i == ACTIONS ? "" : more[i - ACTIONS - 1]);
    }
}

void term_menu_draw(struct term_display *t)
{
    unsigned lines = ACTIONS + 1 + MORE, rows, first = 0;
    int h = (int)lines + 2, w = 58, y = (LINES - h) / 2;
    WINDOW *win;

    if (h > LINES) h = LINES;
    if (w > COLS) w = COLS;
    win = newwin(h, w, y < 0 ? 0 : y, (COLS - w) / 2);
    if (win == NULL) return;
    rows = h > 2 ? (unsigned)h - 2 : 0;
    /* the chosen line is to be seen; with the last one all that follows */
    if (t->menu_row >= rows) first = t->menu_row - rows + 1;
    if (t->menu_row == ACTIONS - 1 && lines > rows) first = lines - rows;
    if (first > t->menu_row) first = t->menu_row;
    box(win, 0, 0);
    mvwaddnstr(win, 0, 2, " Ctrl-A and then ", w - 4);
    for (unsigned i = 0; i < rows && first + i < lines; i++) {
        char line[80];

        menu_line(t, first + i, line, sizeof(line));
        if (first + i == t->menu_row) wattron(win, A_REVERSE);
        mvwaddnstr(win, (int)i + 1, 2, line, w - 4);
        wattroff(win, A_REVERSE);
    }
    if (first + rows < lines) mvwaddnstr(win, h - 1, 2, " Down: more ", w - 4);
    wnoutrefresh(win);
    delwin(win);
}

void term_quit_key(struct term_display *t, const struct term_input *in)
{
    t->focus = term_rest_focus(t);
    if (!in->is_function && (in->code == 'y' || in->code == 'Y'))
        vm_request(t->vm, VM_REQ_QUIT);
}
