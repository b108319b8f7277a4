/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: ui monitor hw support block core */
/*
 * The terminal display: keys, text and pixels in an ncurses window, and the
 * whole of it in a pseudo-terminal, killed there too.
 */
#include "tests/unit/support/video_rig.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"
#include "ui/display/term.h"
#include "ui/display/term_keys.h"
#include "ui/display/term_view.h"

static void expect_key(bool is_function, unsigned code, bool has_alt,
                       const char *name, unsigned mods)
{
    struct term_input in = { is_function, has_alt, code };
    struct term_key k;

    assert_true(term_key_decode(&in, &k));
    assert_string_equal(input_key_name(k.keycode), name);
    assert_int_equal(k.mods, mods);
}

static void characters_become_keys_with_modifiers(void **state)
{
    struct term_key k = { 0, 0 };
    struct term_input unknown = { false, false, 0x20ac };
    unsigned codes[TERM_KEY_CODES];

    (void)state;
    expect_key(false, 'a', false, "a", 0);
    expect_key(false, 'A', false, "a", TERM_SHIFT);
    expect_key(false, '!', false, "1", TERM_SHIFT);
    expect_key(false, 'x', true, "x", TERM_ALT);
    expect_key(false, 3, false, "c", TERM_CTRL);
    expect_key(false, 10, false, "j", TERM_CTRL);
    expect_key(false, 13, false, "ret", 0);
    expect_key(false, 9, false, "tab", 0);
    expect_key(false, 27, false, "esc", 0);
    expect_key(false, 0x7f, false, "backspace", 0);
    expect_key(false, 0x1c, false, "backslash", TERM_CTRL);
    expect_key(true, KEY_UP, false, "up", 0);
    expect_key(true, KEY_UP, true, "up", TERM_ALT);
    expect_key(true, KEY_F(1), false, "f1", 0);
    expect_key(true, KEY_F(12), false, "f12", 0);
    expect_key(true, KEY_F(14), false, "f2", TERM_SHIFT);
    expect_key(true, KEY_F(25), false, "f1", TERM_CTRL);
    assert_false(term_key_decode(&unknown, &k));
    k = (struct term_key){ input_key_by_name("delete"), TERM_CTRL | TERM_ALT };
    assert_int_equal(term_key_codes(&k, codes), 3);
    assert_string_equal(input_key_name(codes[0]), "ctrl");
    assert_string_equal(input_key_name(codes[1]), "alt");
    assert_string_equal(input_key_name(codes[2]), "delete");
}

/* ------------------------------------------------- drawing into a window */

struct view_rig {
    SCREEN *screen;
    FILE *out, *in;
    WINDOW *w;
    struct term_view view;
    struct text_screen text;
    struct surface surface;
    int y, x;
};

static int view_setup(void **state)
{
    struct view_rig *v = calloc(1, sizeof(*v));
    static const uint32_t vga[16] = {
        0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa,
        0xaa5500, 0xaaaaaa, 0x555555, 0x5555ff, 0x55ff55, 0x55ffff,
        0xff5555, 0xff55ff, 0xffff55, 0xffffff,
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    unsetenv("NO_COLOR");
    v->out = fopen("/dev/null", "w");
    v->in = fopen("/dev/null", "r");
    v->screen = newterm("xterm-256color", v->out, v->in);
    if (v->screen == NULL) return -1;
    resizeterm(24, 80);
    term_view_init(&v->view);
    v->w = newwin(24, 80, 0, 0);
    v->text.is_text = true;
    v->text.cols = 80;
    v->text.rows = 25;
    v->text.cursor_col = v->text.cursor_row = -1;
    v->text.has_blink = true;
    memcpy(v->text.palette, vga, sizeof(vga));
    memset(v->text.ch, ' ', sizeof(v->text.ch));
    memset(v->text.attr, 7, sizeof(v->text.attr));
    *state = v;
    return 0;
}

static int view_teardown(void **state)
{
    struct view_rig *v = *state;

    term_view_fini(&v->view);
    delwin(v->w);
    endwin();
    delscreen(v->screen);
    fclose(v->out);
    fclose(v->in);
    free(v);
    return 0;
}

static void draw_view(struct view_rig *v)
{
    term_view_draw(&v->view, v->w, &v->surface, &v->text, &v->y, &v->x);
}

static wchar_t cell(struct view_rig *v, int y, int x, attr_t *attrs, int *fg,
                    int *bg)
{
    cchar_t c;
    wchar_t text[CCHARW_MAX + 1] = { 0 };
    attr_t a;
    short pair;
    int wide_pair = 0;

    assert_int_equal(mvwin_wch(v->w, y, x, &c), OK);
    assert_int_equal(getcchar(&c, text, &a, &pair, &wide_pair), OK);
    if (attrs != NULL) *attrs = a;
    if (fg != NULL) extended_pair_content(wide_pair, fg, bg);
    return text[0];
}

static void text_is_drawn_as_characters_with_colours(void **state)
{
    struct view_rig *v = *state;
    attr_t a;
    int fg, bg;

    v->text.ch[0][0] = 'H';
    v->text.attr[0][0] = 0x1f; /* white on blue */
    v->text.ch[0][1] = 0xc9;   /* double line corner */
    v->text.ch[0][2] = 0x00;
    v->text.attr[0][3] = 0x87; /* blink */
    draw_view(v);
    assert_int_equal(cell(v, 0, 0, &a, &fg, &bg), 'H');
    assert_int_equal(fg, 231); /* 16 + 5 * 36 + 5 * 6 + 5 */
    assert_int_equal(bg, 19);  /* 0, 0, 175 */
    assert_int_equal(cell(v, 0, 1, NULL, NULL, NULL), 0x2554);
    assert_int_equal(cell(v, 0, 2, NULL, NULL, NULL), ' ');
    cell(v, 0, 3, &a, &fg, &bg);
    assert_true((a & A_BLINK) != 0);
    assert_int_equal(fg, 248); /* grey 168 is nearest to 170 */
    assert_int_equal(bg, 16);
    assert_int_equal(v->y, -1);
}

static void the_part_around_the_cursor_is_shown(void **state)
{
    struct view_rig *v = *state;

    v->text.ch[0][0] = 't';
    v->text.ch[24][5] = 'b';
    v->text.cursor_row = v->text.cursor_col = 0;
    draw_view(v);
    assert_int_equal(cell(v, 0, 0, NULL, NULL, NULL), 't');
    assert_int_equal(v->y, 0);
    v->text.cursor_row = 24;
    v->text.cursor_col = 6;
    draw_view(v);
    assert_int_equal(cell(v, 23, 5, NULL, NULL, NULL), 'b');
    assert_int_equal(v->y, 23);
    assert_int_equal(v->x, 6);
    v->text.cursor_row = -1; /* stays where it was */
    draw_view(v);
    assert_int_equal(cell(v, 23, 5, NULL, NULL, NULL), 'b');
    term_view_scroll(&v->view, -1, 0);
    draw_view(v);
    assert_int_equal(cell(v, 0, 0, NULL, NULL, NULL), 't');
}

static void pixels_become_blocks_scaled_to_fit(void **state)
{
    struct view_rig *v = *state;
    uint32_t *px = calloc(640 * 480, sizeof(*px));
    int fg, bg, left = (80 - 64) / 2;

    for (int i = 0; i < 640 * 480; i++) /* upper half red, lower blue */
        px[i] = 0xff000000 | (i < 640 * 240 ? 0xff0000 : 0x0000ff);
    v->surface = (struct surface){ 640, 480, 640, px };
    v->text.is_text = false;
    draw_view(v); /* 24 rows are 48 halves: 64 columns */
    (void)cell(v, 5, left - 1, NULL, &fg, &bg);
    assert_int_equal(bg, 0); /* border: nothing drawn */
    (void)cell(v, 5, left, NULL, &fg, &bg);
    assert_true(bg == 196 || fg == 196);
    (void)cell(v, 23, 79 - left, NULL, &fg, &bg);
    assert_true(bg == 21 || fg == 21);
    assert_int_equal(v->y, -1);
    free(px);
}

static void no_color_is_respected(void **state)
{
    struct view_rig *v = *state;
    attr_t a;
    int fg, bg;

    setenv("NO_COLOR", "1", 1);
    term_view_fini(&v->view);
    term_view_init(&v->view);
    v->text.ch[0][0] = 'r';
    v->text.attr[0][0] = 0x70; /* black on grey */
    draw_view(v);
    assert_int_equal(cell(v, 0, 0, &a, &fg, &bg), 'r');
    assert_true((a & A_REVERSE) != 0);
    assert_int_equal(PAIR_NUMBER(a), 0);
    unsetenv("NO_COLOR");
}

/* ------------------------------------------------------ in a pseudo-terminal */

static void on_key(void *arg, unsigned keycode, bool is_down)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "%u%c", keycode, is_down ? '+' : '-');

    if (write(*(int *)arg, line, (size_t)n) != n) abort();
}

static void run_monitor(void *arg, const char *line, FILE *out)
{
    (void)arg;
    fprintf(out, "ran <%s>\n", line);
}

/* A machine that shows HELLO and reports keys on fd; ends with a request. */
static void child_main(int fd)
{
    struct term_options o = { .name = "pty", .monitor_run = run_monitor };
    struct term_display *t = NULL;
    struct err e = ERR_INIT;
    struct vrig *r;
    struct input_handler h = { .key = on_key, .arg = &fd };
    void *p;

    setenv("TERM", "xterm-256color", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    if (vrig_setup(&p) < 0) _exit(10);
    r = p;
    input_add_handler_locked(vm_input(r->vm), &h);
    vrig_set_mode(r, &vrig_mode_03);
    for (unsigned i = 0; i < 5; i++) {
        vrig_poke(r, 0xb8000 + i * 2, (uint8_t) "HELLO"[i]);
        vrig_poke(r, 0xb8001 + i * 2, 7);
    }
    vm_start_locked(r->vm);
    vm_unlock(r->vm);
    if (term_display_open(r->vm, &o, &t, &e) < 0) _exit(11);
    loop_run(r->base->loop);
    term_display_close(t);
    _exit(0);
}

struct pty_rig {
    int master, keys;
    pid_t pid;
    char out[1 << 18];
    size_t bytes;
};

static void pty_start(struct pty_rig *p)
{
    struct winsize ws = { .ws_row = 24, .ws_col = 80 };
    int fds[2];

    memset(p, 0, sizeof(*p));
    assert_int_equal(pipe(fds), 0);
    p->pid = forkpty(&p->master, NULL, NULL, &ws);
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        close(fds[0]);
        signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the tests */
        signal(SIGABRT, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        signal(SIGILL, SIG_DFL);
        child_main(fds[1]);
    }
    close(fds[1]);
    p->keys = fds[0];
}

/* Read what the terminal gets until it holds s (from offset at). */
static bool pty_wait(struct pty_rig *p, size_t at, const char *s)
{
    uint64_t until_ns = loop_now_ns() + 10000000000u;

    while (loop_now_ns() < until_ns) {
        struct pollfd fd = { p->master, POLLIN, 0 };
        if (memmem(p->out + at, p->bytes - at, s, strlen(s)) != NULL)
            return true;
        if (poll(&fd, 1, 100) > 0) {
            ssize_t n =
                read(p->master, p->out + p->bytes, sizeof(p->out) - p->bytes);
            if (n <= 0) return false;
            p->bytes += (size_t)n;
        }
    }
    return false;
}

static void expect_keys(struct pty_rig *p, const char *want)
{
    char got[128] = "";
    size_t n = 0;

    while (n < strlen(want)) {
        struct pollfd fd = { p->keys, POLLIN, 0 };
        ssize_t k;
        assert_int_equal(poll(&fd, 1, 10000), 1);
        k = read(p->keys, got + n, sizeof(got) - 1 - n);
        assert_true(k > 0);
        n += (size_t)k;
    }
    assert_string_equal(got, want);
}

static void type(struct pty_rig *p, const char *s)
{
    assert_int_equal(write(p->master, s, strlen(s)), (ssize_t)strlen(s));
}

static void screen_keys_prefix_and_quit_work_in_a_terminal(void **state)
{
    static struct pty_rig p;
    struct termios before, after;
    int status;

    (void)state;
    pty_start(&p);
    assert_int_equal(tcgetattr(p.master, &before), 0);
    assert_true(pty_wait(&p, 0, "HELLO"));
    type(&p, "x");
    expect_keys(&p, "45+45-");
    type(&p, "\033[A"); /* xterm's cursor up, and in application mode */
    type(&p, "\033OA");
    expect_keys(&p, "103+103-103+103-");
    type(&p, "\001a"); /* prefix, a: Ctrl-A for the guest */
    expect_keys(&p, "29+30+30-29-");
    type(&p, "\001?");
    assert_true(pty_wait(&p, 0, "send Ctrl-Alt-Delete"));
    type(&p, "k");
    expect_keys(&p, "29+56+111+111-56-29-");
    type(&p, "\001q");
    assert_true(pty_wait(&p, 0, "Quit pty?"));
    type(&p, "n"); /* stays; and n is not for the guest */
    type(&p, "y");
    expect_keys(&p, "21+21-");
    type(&p, "\001qy");
    assert_true(pty_wait(&p, 0, "\033[?1049l")); /* rmcup */
    while (pty_wait(&p, p.bytes, "\1\1\1"))
        continue; /* until it is closed */
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(tcgetattr(p.master, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    close(p.master);
    close(p.keys);
}

static void the_monitor_opens_and_closes_with_one_key(void **state)
{
    static struct pty_rig p;
    int status;

    (void)state;
    pty_start(&p);
    assert_true(pty_wait(&p, 0, "HELLO"));
    type(&p, "\001c");
    assert_true(pty_wait(&p, 0, "Esc closes"));
    type(&p, "ab\r");
    assert_true(pty_wait(&p, 0, "ran <ab>"));
    type(&p, "\001kcd\r"); /* a key for the guest; the monitor stays open */
    expect_keys(&p, "29+56+111+111-56-29-");
    assert_true(pty_wait(&p, 0, "ran <cd>"));
    type(&p, "\001cy"); /* closed: y is the guest's */
    expect_keys(&p, "21+21-");
    type(&p, "\001xy");
    assert_true(pty_wait(&p, 0, "\033[?1049l"));
    while (pty_wait(&p, p.bytes, "\1\1\1"))
        continue;
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(p.master);
    close(p.keys);
}

static void a_killed_program_leaves_a_usable_terminal(void **state)
{
    static struct pty_rig p;
    struct termios tty;
    uint64_t until_ns;
    int status;

    (void)state;
    pty_start(&p);
    assert_true(pty_wait(&p, 0, "HELLO"));
    assert_int_equal(tcgetattr(p.master, &tty), 0);
    assert_int_equal(tty.c_lflag & (ICANON | ECHO), 0);
    kill(p.pid, SIGKILL);
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    assert_true(pty_wait(&p, 0, "\033[?1049l"));
    until_ns = loop_now_ns() + 5000000000u;
    do {
        assert_int_equal(tcgetattr(p.master, &tty), 0);
    } while ((tty.c_lflag & ICANON) == 0 && loop_now_ns() < until_ns);
    assert_int_equal(tty.c_lflag & (ICANON | ECHO), ICANON | ECHO);
    close(p.master);
    close(p.keys);
}

static void a_new_size_is_followed(void **state)
{
    static struct pty_rig p;
    struct winsize ws = { .ws_row = 40, .ws_col = 132 };
    size_t at;
    int status;

    (void)state;
    pty_start(&p);
    assert_true(pty_wait(&p, 0, "HELLO"));
    at = p.bytes;
    assert_int_equal(ioctl(p.master, TIOCSWINSZ, &ws), 0);
    /* 25 rows in 39: row 8, (132 - 80) / 2 columns to the right */
    assert_true(pty_wait(&p, at, "HELLO"));
    assert_true(pty_wait(&p, at, "720x400 text")); /* the status line */
    kill(p.pid, SIGKILL);
    waitpid(p.pid, &status, 0);
    close(p.master);
    close(p.keys);
}

static void a_small_terminal_shows_the_keys_in_parts(void **state)
{
    static struct pty_rig p;
    struct winsize ws = { .ws_row = 10, .ws_col = 40 };
    int status;

    (void)state;
    pty_start(&p);
    assert_true(pty_wait(&p, 0, "Ctrl-A ? for keys")); /* in 24 lines, too */
    assert_int_equal(ioctl(p.master, TIOCSWINSZ, &ws), 0);
    type(&p, "\001?");
    assert_true(pty_wait(&p, 0, "Down: more"));
    assert_false(memmem(p.out, p.bytes, "arrow keys", 10) != NULL);
    type(&p, "\033[A"); /* up from the first: the last and what follows */
    assert_true(pty_wait(&p, 0, "arrow keys"));
    kill(p.pid, SIGKILL);
    waitpid(p.pid, &status, 0);
    close(p.master);
    close(p.keys);
}

static void terminals_that_cannot_be_drawn_on_are_refused(void **state)
{
    static const char *const bad[] = { "dumb", "nonesuch", "" };
    static const char *const good[] = { "xterm-256color", "vt100", "linux",
                                        "screen-256color" };
    const char *before = getenv("TERM");
    char *kept = before != NULL ? strdup(before) : NULL;

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;

        setenv("TERM", bad[i], 1);
        assert_int_equal(term_check_type(&e), -ENODEV);
        assert_non_null(strstr(e.text, bad[i]));
        assert_non_null(strstr(e.text, "TERM=xterm"));
    }
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct err e = ERR_INIT;

        setenv("TERM", good[i], 1);
        if (term_check_type(&e) < 0) fail_msg("%s", e.text);
    }
    if (kept != NULL) {
        setenv("TERM", kept, 1);
    } else {
        unsetenv("TERM");
    }
    free(kept);
}

static void no_terminal_is_a_clear_error(void **state)
{
    struct term_options o = { 0 };
    struct term_display *t = NULL;
    struct err e = ERR_INIT;
    int in = dup(0), null = open("/dev/null", O_RDWR);

    (void)state;
    dup2(null, 0);
    assert_int_equal(term_display_open(NULL, &o, &t, &e), -ENOTTY);
    assert_non_null(strstr(e.text, "terminal"));
    dup2(in, 0);
    close(in);
    close(null);
}

#define V(f) cmocka_unit_test_setup_teardown(f, view_setup, view_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_become_keys_with_modifiers),
        V(text_is_drawn_as_characters_with_colours),
        V(the_part_around_the_cursor_is_shown),
        V(pixels_become_blocks_scaled_to_fit),
        V(no_color_is_respected),
        cmocka_unit_test(screen_keys_prefix_and_quit_work_in_a_terminal),
        cmocka_unit_test(the_monitor_opens_and_closes_with_one_key),
        cmocka_unit_test(a_killed_program_leaves_a_usable_terminal),
        cmocka_unit_test(a_new_size_is_followed),
        cmocka_unit_test(a_small_terminal_shows_the_keys_in_parts),
        cmocka_unit_test(terminals_that_cannot_be_drawn_on_are_refused),
        cmocka_unit_test(no_terminal_is_a_clear_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
