/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main screen: machines on the left, the selected one on the right with a
 * live picture of its screen when it runs.  One table of actions drives the
 * bar, the help page, the palette and the keys.
 */
#include "ui/manager/manager.h"

#include <panel.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "ui/control/control.h"
#include "ui/display/term_view.h"
#include "ui/manager/screen.h"

enum { LIST_COLS = 28, DETAIL_COLS = 32, TICK_MS = 500, MAX_WATCHED = 64 };

struct manager {
    struct machine *m;
    struct control_client **live; /* of each machine, NULL: not running */
    size_t count;
    size_t selected;
    int scroll;
    char message[300];
    char trashed[PATH_MAX]; /* last deleted, for undo */
    struct term_view view;
    WINDOW *list, *detail, *preview;
    PANEL *list_panel, *detail_panel; /* detail: none in 40 columns */
    struct screen_layer layer;
    bool is_done;
    uint64_t looked_ns; /* when all machines were last asked */
};

struct action {
    int key, letter; /* function key and its twin */
    const char *bar; /* in the bottom bar, NULL: not there */
    const char *name;
    void (*run)(struct manager *g);
    /* Why it can not be done now, or NULL. */
    const char *(*why_not)(const struct manager *g);
};

/* ---- machines ---- */

static struct machine *sel(const struct manager *g)
{
    return g->selected < g->count ? &g->m[g->selected] : NULL;
}

static struct control_client *live(const struct manager *g)
{
    return g->selected < g->count ? g->live[g->selected] : NULL;
}

static void drop_list(struct manager *g)
{
    for (size_t i = 0; i < g->count; i++) {
        control_disconnect(g->live[i]);
        machine_free(&g->m[i]);
    }
    free(g->m);
    free(g->live);
    g->m = NULL;
    g->live = NULL;
    g->count = 0;
}

/* Connect to machines that have come up, forget those that ended. */
static void refresh_live(struct manager *g)
{
    for (size_t i = 0; i < g->count; i++) {
        char path[PATH_MAX];

        if (g->live[i] == NULL &&
            machine_socket(g->m[i].name, path, sizeof(path), NULL) == 0 &&
            control_connect(path, &g->live[i], NULL) == 0) {
            control_watch(g->live[i], true);
            control_wait(g->live[i], CONTROL_NEW_STATE, TICK_MS);
        }
        if (g->live[i] != NULL && control_ask_state(g->live[i]) < 0) {
            control_disconnect(g->live[i]);
            g->live[i] = NULL;
        }
    }
}

static void reload(struct manager *g, const char *select)
{
    char name[MACHINE_NAME_MAX + 1] = "";
    struct err e = ERR_INIT;

    if (select == NULL && sel(g) != NULL) select = sel(g)->name;
    if (select != NULL) snprintf(name, sizeof(name), "%s", select);
    drop_list(g);
    if (machine_list(&g->m, &g->count, &e) < 0) {
        snprintf(g->message, sizeof(g->message), "%.299s", e.text);
    }
    g->live = calloc(g->count + 1, sizeof(*g->live));
    if (g->live == NULL) g->count = 0;
    if (g->selected >= g->count) g->selected = g->count ? g->count - 1 : 0;
    for (size_t i = 0; i < g->count; i++) {
        if (strcmp(g->m[i].name, name) == 0) g->selected = i;
    }
    refresh_live(g);
}

static void say(struct manager *g, const char *text)
{
    snprintf(g->message, sizeof(g->message), "%.299s", text);
}

/* ---- why not ---- */

static const char *needs_machine(const struct manager *g)
{
    return sel(g) == NULL ? "there is no machine yet" : NULL;
}

static const char *needs_running(const struct manager *g)
{
    if (sel(g) == NULL) return needs_machine(g);
    return live(g) == NULL ? "the machine is off" : NULL;
}

static const char *needs_off(const struct manager *g)
{
    if (sel(g) == NULL) return needs_machine(g);
    return live(g) != NULL ? "the machine is running" : NULL;
}

static const char *needs_trash(const struct manager *g)
{
    return g->trashed[0] == '\0' ? "nothing was deleted" : NULL;
}

/* ---- actions ---- */

static void draw(struct manager *g);

static bool start(struct manager *g)
{
    struct err e = ERR_INIT;
    int rc;

    snprintf(g->message, sizeof(g->message), "Starting %s ...", sel(g)->name);
    draw(g);
    rc = machine_start(sel(g), false, &e);
    g->message[0] = '\0';
    draw(g);
    if (rc < 0) {
        dialog_message("Not started", e.text);
        return false;
    }
    refresh_live(g);
    return true;
}

static void do_console(struct manager *g)
{
    if (live(g) == NULL && !start(g)) return;
    if (live(g) != NULL) control_watch(live(g), false);
    console_run(sel(g)->name);
    g->message[0] = '\0';
    reload(g, NULL);
}

static void do_start_stop(struct manager *g)
{
    struct err e = ERR_INIT;
    char text[256];

    if (live(g) == NULL) {
        start(g);
        return;
    }
    snprintf(text, sizeof(text),
             "%s is switched off at once, as by pulling the plug: what its "
             "system has not written to disk is lost. (Power button asks "
             "the guest to shut down by itself.)",
             sel(g)->name);
    if (!dialog_confirm("Stop", text, "Stop it")) return;
    control_disconnect(live(g));
    g->live[g->selected] = NULL;
    if (machine_stop(sel(g)->name, &e) < 0) dialog_message("Stop", e.text);
    refresh_live(g);
}

static void run_line(struct manager *g, const char *line, const char *said)
{
    struct err e = ERR_INIT;
    char *reply = NULL;

    if (machine_monitor(sel(g)->name, line, &reply, &e) < 0) {
        say(g, e.text);
    } else {
        say(g, reply != NULL && *reply != '\0' ? reply : said);
    }
    free(reply);
}

static void do_pause(struct manager *g)
{
    bool runs = control_state(live(g))->run_state == RUN_RUNNING;

    run_line(g, runs ? "stop" : "cont", runs ? "paused" : "goes on");
}

static void do_power_button(struct manager *g)
{
    run_line(g, "system_powerdown", "power button pressed");
}

static void do_reset(struct manager *g)
{
    char text[200];

    snprintf(text, sizeof(text),
             "%s is reset at once: what its system has not written to disk "
             "is lost.",
             sel(g)->name);
    if (dialog_confirm("Reset", text, "Reset it")) {
        run_line(g, "system_reset", "reset");
    }
}

static void do_monitor(struct manager *g)
{
    char line[300] = "", *reply = NULL;
    struct err e = ERR_INIT;

    if (!dialog_input("Monitor", "command (help lists them):", line,
                      sizeof(line)) ||
        *line == '\0') {
        return;
    }
    if (machine_monitor(sel(g)->name, line, &reply, &e) < 0) {
        dialog_message("Monitor", e.text);
    } else {
        dialog_text(line, reply != NULL && *reply ? reply : "(done)");
    }
    free(reply);
}

static void do_cd(struct manager *g)
{
    char path[PATH_MAX] = "", line[PATH_MAX + 64];

    snprintf(path, sizeof(path), "%s", sel(g)->cdrom ? sel(g)->cdrom : "");
    if (!dialog_browse("CD-ROM", path, sizeof(path))) return;
    snprintf(line, sizeof(line), "change ide1-cd0 \"%s\"", path);
    run_line(g, line, "CD changed");
}

static void do_settings(struct manager *g)
{
    if (form_edit(sel(g))) {
        say(g, live(g) != NULL ? "saved; takes effect at the next start"
                               : "saved");
    }
    reload(g, NULL);
}

static void do_new(struct manager *g)
{
    struct machine m;
    bool wants_start = false;

    machine_init(&m, "");
    if (form_new(&m, &wants_start)) {
        reload(g, m.name);
        say(g, "created");
        if (wants_start) do_console(g);
    }
    machine_free(&m);
}

static void do_delete(struct manager *g)
{
    struct err e = ERR_INIT;
    char text[400];

    snprintf(text, sizeof(text),
             "%s with its disks and settings moves to the trash. Images "
             "outside its folder stay. \"u\" brings it back.",
             sel(g)->name);
    if (!dialog_confirm("Delete", text, "Delete")) return;
    if (machine_trash(sel(g), g->trashed, sizeof(g->trashed), &e) < 0) {
        g->trashed[0] = '\0';
        dialog_message("Delete", e.text);
    } else {
        say(g, "deleted; u undoes it");
    }
    reload(g, NULL);
}

static void do_undo(struct manager *g)
{
    struct err e = ERR_INIT;

    if (machine_restore(g->trashed, &e) < 0) {
        dialog_message("Undo", e.text);
    } else {
        say(g, "back again");
    }
    g->trashed[0] = '\0';
    reload(g, NULL);
}

static void do_cmdline(struct manager *g)
{
    char *argv[MACHINE_ARGS], text[8192] = "";
    struct err e = ERR_INIT;
    size_t n = 0;

    if (machine_argv(sel(g), argv, &e) < 0) {
        dialog_message("Command line", e.text);
        return;
    }
    for (unsigned i = 0; argv[i] != NULL && n < sizeof(text); i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", argv[i]);
    }
    dialog_text("Command line", text);
    machine_argv_free(argv);
}

static void do_leave(struct manager *g)
{
    g->is_done = true;
}

static void do_help(struct manager *g);
static void do_palette(struct manager *g);

/* clang-format off */
static const struct action actions[] = {
    { KEY_ENTER, 0, "Enter Console", "Console (starts it if off)",
      do_console, needs_machine },
    { KEY_F(2), 'e', "F2 Settings", "Settings", do_settings, needs_machine },
    { KEY_F(4), 'm', "F4 Monitor", "Monitor command", do_monitor,
      needs_running },
    { KEY_F(5), 0, "F5 Start/Stop", "Start or stop", do_start_stop,
      needs_machine },
    { KEY_F(6), 'p', "F6 Pause", "Pause or continue", do_pause,
      needs_running },
    { KEY_F(8), 'c', "F8 CD", "Change the CD", do_cd, needs_running },
    { 'n', KEY_IC, "n New", "New machine", do_new, NULL },
    { KEY_DC, 'D', "Del Delete", "Delete the machine", do_delete, needs_off },
    { 'u', 0, NULL, "Undo the last deletion", do_undo, needs_trash },
    { 0, 0, NULL, "Press the power button", do_power_button, needs_running },
    { 0, 0, NULL, "Reset", do_reset, needs_running },
    { 'l', 0, NULL, "Show the command line", do_cmdline, needs_machine },
    { ':', 0, ": Actions", "All actions", do_palette, NULL },
    { '?', KEY_F(1), "? Help", "Help", do_help, NULL },
    { 'q', KEY_F(10), "q Leave", "Leave (machines keep running)", do_leave,
      NULL },
};
/* clang-format on */
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static void perform(struct manager *g, const struct action *a)
{
    const char *why = a->why_not != NULL ? a->why_not(g) : NULL;

    if (why != NULL) {
        snprintf(g->message, sizeof(g->message), "%s: %s", a->name, why);
        return;
    }
    g->message[0] = '\0';
    a->run(g);
}

static void key_text(const struct action *a, char out[24])
{
    const char *letter = a->letter > 32 && a->letter < 127 ? " or " : "";
    int key = a->key;

    if (key >= KEY_F(1) && key <= KEY_F(12)) {
        snprintf(out, 24, "F%d%s%.*s", key - KEY_F(0), letter,
                 letter[0] ? 1 : 0, (const char *)&a->letter);
    } else if (key == KEY_ENTER || key == KEY_DC) {
        snprintf(out, 24, "%s%s%.*s", key == KEY_ENTER ? "Enter" : "Del",
                 letter, letter[0] ? 1 : 0, (const char *)&a->letter);
    } else {
        snprintf(out, 24, "%.*s", key != 0, (const char *)&key);
    }
}

static void do_help(struct manager *g)
{
    char text[4096] = "Up and Down choose a machine; / finds one by name.\n\n";

    (void)g;
    for (unsigned i = 0; i < ACTIONS; i++) {
        size_t n = strlen(text);
        char key[24];

        key_text(&actions[i], key);
        snprintf(text + n, sizeof(text) - n, "%-12s %s\n", key,
                 actions[i].name);
    }
    strncat(text,
            "\nIn the console: Ctrl-A d leaves, Ctrl-A ? lists its keys.\n"
            "Machines run on when you leave; each is a folder with a "
            "machine.conf you may edit.\n",
            sizeof(text) - strlen(text) - 1);
    dialog_text("Help", text);
}

static void do_palette(struct manager *g)
{
    static char line[ACTIONS][120];
    const char *item[ACTIONS];
    int picked;

    for (unsigned i = 0; i < ACTIONS; i++) {
        const struct action *a = &actions[i];
        const char *why = a->why_not != NULL ? a->why_not(g) : NULL;

        snprintf(line[i], sizeof(line[i]), "%s%s%s%s", a->name,
                 why != NULL ? "  (not now: " : "", why != NULL ? why : "",
                 why != NULL ? ")" : "");
        item[i] = line[i];
    }
    picked = dialog_choose("Actions", item, ACTIONS, 0);
    if (picked >= 0 && actions[picked].run != do_palette) {
        perform(g, &actions[picked]);
    }
}

static void do_search(struct manager *g)
{
    const char **name = calloc(g->count + 1, sizeof(*name));
    int picked;

    for (size_t i = 0; name != NULL && i < g->count; i++) {
        name[i] = g->m[i].name;
    }
    picked = name != NULL && g->count > 0
                 ? dialog_choose("Find", name, (int)g->count, (int)g->selected)
                 : -1;
    if (picked >= 0) g->selected = (size_t)picked;
    free(name);
}

/* ---- drawing ---- */

static const char *state_sign(const struct manager *g, size_t i)
{
    bool utf8 = screen_is_utf8();

    if (g->m[i].problem[0] != '\0') return "!";
    if (g->live[i] == NULL) return utf8 ? "○" : "o";
    switch (control_state(g->live[i])->run_state) {
    case RUN_RUNNING: return utf8 ? "●" : "*";
    case RUN_INTERNAL_ERROR:
    case RUN_IO_ERROR: return "!";
    default: return utf8 ? "‖" : "=";
    }
}

static attr_t state_colour(const struct manager *g, size_t i)
{
    if (g->m[i].problem[0] != '\0') return screen_colour(COLOUR_BAD);
    if (g->live[i] == NULL) return 0;
    return control_state(g->live[i])->run_state == RUN_RUNNING
               ? screen_colour(COLOUR_GOOD)
               : screen_colour(COLOUR_WARN);
}

static void draw_list(struct manager *g)
{
    int rows = getmaxy(g->list) - 2, cols = getmaxx(g->list) - 2;

    werase(g->list);
    screen_box(g->list, "Machines");
    if ((int)g->selected < g->scroll) g->scroll = (int)g->selected;
    if ((int)g->selected >= g->scroll + rows) {
        g->scroll = (int)g->selected - rows + 1;
    }
    for (int r = 0; r < rows && (size_t)(r + g->scroll) < g->count; r++) {
        size_t i = (size_t)(r + g->scroll);
        attr_t a = i == g->selected ? A_REVERSE : 0;
        char line[MACHINE_NAME_MAX + 32];

        snprintf(line, sizeof(line), "%-*.*s %6.6s", cols - 11, cols - 11,
                 g->m[i].name, g->m[i].memory != NULL ? g->m[i].memory : "");
        screen_put(g->list, 1 + r, 1, 2, state_colour(g, i) | a, "");
        screen_put(g->list, 1 + r, 2, 1, state_colour(g, i) | a,
                   state_sign(g, i));
        screen_put(g->list, 1 + r, 3, cols - 2, a, " ");
        screen_put(g->list, 1 + r, 4, cols - 3, a, line);
    }
    if (g->count == 0) {
        screen_put(g->list, 2, 2, cols - 2, 0, "No machine yet.");
        screen_put(g->list, 3, 2, cols - 2, 0, "n makes one.");
    }
}

static int draw_facts(struct manager *g, int y)
{
    const struct machine *m = sel(g);
    int cols = getmaxx(g->detail) - 4;
    char line[PATH_MAX + 64];

    snprintf(line, sizeof(line), "%s, %s CPU%s, %s, accelerator %s", m->type,
             m->cpus, strcmp(m->cpus, "1") == 0 ? "" : "s", m->memory,
             live(g) != NULL && control_state(live(g))->accel[0] != '\0'
                 ? control_state(live(g))->accel
                 : m->accel);
    screen_put(g->detail, y++, 2, cols, 0, line);
    for (unsigned i = 0; i < MACHINE_DISKS; i++) {
        if (m->disk[i] == NULL || *m->disk[i] == '\0') continue;
        snprintf(line, sizeof(line), "disk  %s", m->disk[i]);
        screen_put(g->detail, y++, 2, cols, 0, line);
    }
    snprintf(line, sizeof(line), "cd    %s",
             m->cdrom != NULL && *m->cdrom ? m->cdrom : "(empty)");
    screen_put(g->detail, y++, 2, cols, 0, line);
    if (m->vnc != NULL && *m->vnc != '\0') {
        snprintf(line, sizeof(line), "vnc   %s", m->vnc);
        screen_put(g->detail, y++, 2, cols, 0, line);
    }
    if (m->notes != NULL && *m->notes != '\0') {
        snprintf(line, sizeof(line), "notes %s", m->notes);
        screen_put(g->detail, y++, 2, cols, 0, line);
    }
    if (m->problem[0] != '\0') {
        screen_put(g->detail, y++, 2, cols, screen_colour(COLOUR_BAD) | A_BOLD,
                   m->problem);
    }
    return y;
}

static void draw_preview(struct manager *g, int y)
{
    int rows = getmaxy(g->detail) - y - 1, cols = getmaxx(g->detail) - 4;
    const struct text_screen *t = control_text(live(g));
    const struct surface *s = control_surface(live(g));
    int cy, cx;

    if (rows < 3 || cols < 10 || (!t->is_text && s->px == NULL)) return;
    g->preview = derwin(g->detail, rows, cols, y, 2);
    if (g->preview == NULL) return;
    term_view_draw(&g->view, g->preview, s, t, &cy, &cx);
    delwin(g->preview);
}

static void draw_detail(struct manager *g)
{
    char title[160];
    int y;

    werase(g->detail);
    if (sel(g) == NULL) {
        screen_box(g->detail, "");
        return;
    }
    if (live(g) != NULL) {
        const struct control_state *st = control_state(live(g));
        unsigned long long s = st->guest_ns / 1000000000u;

        snprintf(title, sizeof(title), "%s - %s %s %02llu:%02llu:%02llu",
                 sel(g)->name, state_sign(g, g->selected),
                 run_state_name(st->run_state), s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(title, sizeof(title), "%s - %s off", sel(g)->name,
                 state_sign(g, g->selected));
    }
    screen_box(g->detail, title);
    y = draw_facts(g, 1);
    if (live(g) != NULL) draw_preview(g, y + 1);
}

/* In the bar of a narrow terminal as well. */
static bool is_needed(const struct action *a)
{
    return a->run == do_console || a->run == do_new || a->run == do_palette ||
           a->run == do_help || a->run == do_leave;
}

/* Two lines; where they do not hold all keys, those one can not do without:
 * the others are behind ":". */
static void draw_keys(void)
{
    char line[2][400];
    bool is_short = false, fits;

    do {
        int at = 0;
        size_t n = 0;

        line[0][0] = line[1][0] = '\0';
        fits = true;
        for (unsigned i = 0; i < ACTIONS && fits; i++) {
            const char *bar = actions[i].bar;

            if (bar == NULL || (is_short && !is_needed(&actions[i]))) continue;
            if (at == 0 && (int)(n + strlen(bar)) + 2 > COLS) {
                at = 1;
                n = 0;
            }
            fits = (int)(n + strlen(bar)) + 2 <= COLS;
            n += (size_t)snprintf(line[at] + n, sizeof(line[0]) - n, " %s ",
                                  bar);
        }
        is_short = !is_short;
    } while (!fits && is_short);
    for (int i = 0; i < 2; i++)
        screen_put(stdscr, LINES - 2 + i, 0, COLS, 0, line[i]);
}

static void draw_bars(struct manager *g)
{
    size_t running = 0;
    char line[400] = "", clock[16];
    const char *said = g->message;
    time_t now = time(NULL);
    struct tm tm;

    if (*said == '\0' && g->detail == NULL && sel(g) != NULL) {
        said = sel(g)->problem;
    }
    for (size_t i = 0; i < g->count; i++)
        running += g->live[i] != NULL;
    strftime(clock, sizeof(clock), "%H:%M", localtime_r(&now, &tm));
    snprintf(line, sizeof(line), " Orrery   %zu machine%s, %zu running",
             g->count, g->count == 1 ? "" : "s", running);
    screen_put(stdscr, 0, 0, COLS - 7, screen_colour(COLOUR_BAR), line);
    screen_put(stdscr, 0, COLS - 7, 7, screen_colour(COLOUR_BAR), clock);
    screen_put(stdscr, LINES - 3, 0, COLS, *said ? A_BOLD : 0, said);
    draw_keys();
}

static void drop_panel(PANEL **p, WINDOW **w)
{
    if (*p == NULL) return;
    del_panel(*p);
    delwin(*w);
    *p = NULL;
    *w = NULL;
}

/* New windows on the same panels: what lies above stays above. */
static void put_panel(PANEL **p, WINDOW **w, WINDOW *new_window)
{
    if (*p == NULL) {
        *p = new_panel(new_window);
        bottom_panel(*p);
    } else {
        replace_panel(*p, new_window);
        delwin(*w);
    }
    *w = new_window;
}

static void layout(struct manager *g)
{
    bool is_narrow = COLS < LIST_COLS + DETAIL_COLS;

    put_panel(&g->list_panel, &g->list,
              newwin(LINES - 4, is_narrow ? COLS : LIST_COLS, 1, 0));
    if (is_narrow) {
        drop_panel(&g->detail_panel, &g->detail);
    } else {
        put_panel(&g->detail_panel, &g->detail,
                  newwin(LINES - 4, COLS - LIST_COLS, 1, LIST_COLS));
    }
    set_panel_userptr(g->list_panel, &g->layer);
    clear();
}

static void draw(struct manager *g)
{
    draw_bars(g);
    draw_list(g);
    if (g->detail != NULL) draw_detail(g);
    curs_set(0);
    update_panels();
    doupdate();
}

static void resize(void *arg)
{
    layout(arg);
    draw(arg);
}

/* ---- running ---- */

/* Wait for a key, news of a machine, or the next look at all of them. */
static void wait_for_news(struct manager *g)
{
    struct pollfd p[1 + MAX_WATCHED] = { { .fd = STDIN_FILENO,
                                           .events = POLLIN } };
    nfds_t n = 1;

    for (size_t i = 0; i < g->count && n <= MAX_WATCHED; i++) {
        if (g->live[i] == NULL) continue;
        p[n].fd = control_fd(g->live[i]);
        p[n++].events = POLLIN;
    }
    poll(p, n, TICK_MS);
    if (loop_now_ns() - g->looked_ns > TICK_MS * UINT64_C(1000000)) {
        refresh_live(g);
        g->looked_ns = loop_now_ns();
    }
    for (size_t i = 0; i < g->count; i++) {
        if (g->live[i] == NULL || control_poll(g->live[i]) >= 0) continue;
        control_disconnect(g->live[i]);
        g->live[i] = NULL;
    }
}

static void handle(struct manager *g, int key)
{
    if (key == KEY_DOWN && g->selected + 1 < g->count) g->selected++;
    if (key == KEY_UP && g->selected > 0) g->selected--;
    if (key == KEY_HOME) g->selected = 0;
    if (key == KEY_END && g->count > 0) g->selected = g->count - 1;
    if (key == '/') do_search(g);
    for (unsigned i = 0; i < ACTIONS; i++) {
        if (key == ERR || key == 0) break;
        if (key != actions[i].key && key != actions[i].letter) continue;
        perform(g, &actions[i]);
        clear();
        break;
    }
}

int manager_main(void)
{
    struct manager g = { 0 };
    struct err e = ERR_INIT;

    if (screen_open(&e) < 0) {
        fprintf(stderr, "orrery: %s\n", e.text);
        return 1;
    }
    term_view_init(&g.view);
    g.layer = (struct screen_layer){ resize, &g };
    layout(&g);
    reload(&g, NULL);
    while (!g.is_done) {
        int key;

        draw(&g);
        wait_for_news(&g);
        while ((key = screen_key(stdscr, 0)) != ERR)
            handle(&g, key);
    }
    drop_list(&g);
    term_view_fini(&g.view);
    drop_panel(&g.list_panel, &g.list);
    drop_panel(&g.detail_panel, &g.detail);
    screen_close();
    return 0;
}
