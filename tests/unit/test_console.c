/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/*
 * Text consoles: what a "vc" device writes is on the screen once its console is
 * chosen, keys of a view reach it, and the guest's picture comes back.
 * Sequences are those of ECMA-48.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/chardev.h"
#include "core/host/console.h"
#include "core/host/display.h"
#include "core/host/input.h"
#include "core/host/vt.h"
#include "core/loop/loop.h"
#include "core/vm/vm.h"

struct rig {
    struct vm_config cfg;
    struct loop *loop;
    struct vm *vm;
    struct display *display;
    struct chardev *vc;
    char typed[128];
    unsigned guest_keys, guest_frames;
};

static size_t can_receive(void *arg)
{
    (void)arg;
    return 64;
}

static void receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct rig *r = arg;

    vm_lock(r->vm); /* as a monitor does */
    strncat(r->typed, (const char *)buf, bytes);
    vm_unlock(r->vm);
}

static void guest_key(void *arg, unsigned keycode, bool is_down)
{
    struct rig *r = arg;

    (void)keycode;
    r->guest_keys += is_down;
}

static void guest_picture(void *arg, bool full)
{
    struct rig *r = arg;

    (void)full;
    r->guest_frames++;
    if (display_surface(r->display)->width_px != 320)
        display_resize(r->display, 320, 200);
    display_text(r->display)->is_text = false;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct chardev_front f = { .can_receive = can_receive,
                               .receive = receive,
                               .arg = r };
    struct input_handler h = { .key = guest_key, .arg = r };
    struct err e = ERR_INIT;

    r->cfg.cpus = 1;
    r->cfg.ram_bytes = 1 << 20;
    if (loop_create(&r->loop, &e) < 0 ||
        vm_create(&r->cfg, r->loop, &r->vm, &e) < 0 ||
        display_create(r->vm, &r->display, &e) < 0 ||
        chardev_open(r->loop, "monitor", "vc", &r->vc, &e) < 0 ||
        chardev_register(r->vm, r->vc, &e) < 0 || console_create(r->vm, &e) < 0)
        return -1;
    chardev_set_monitor(r->vc, &f);
    vm_lock(r->vm);
    input_add_handler_locked(vm_input(r->vm), &h);
    display_set_source_locked(r->display,
                              &(struct display_source){ guest_picture, r });
    display_refresh_locked(r->display);
    vm_unlock(r->vm);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    console_destroy(r->vm);
    chardev_set_front(r->vc, NULL);
    chardev_close(r->vc);
    input_destroy(vm_input(r->vm));
    display_destroy(r->display);
    vm_destroy(r->vm);
    loop_destroy(r->loop);
    free(r);
    return 0;
}

static void press(struct rig *r, unsigned a, unsigned b, unsigned c)
{
    const unsigned keys[3] = { a, b, c };

    vm_lock(r->vm);
    for (unsigned i = 0; i < 3; i++)
        if (keys[i]) input_key_locked(vm_input(r->vm), keys[i], true);
    for (unsigned i = 3; i-- > 0;)
        if (keys[i]) input_key_locked(vm_input(r->vm), keys[i], false);
    vm_unlock(r->vm);
    loop_step(r->loop, 20);
    loop_step(r->loop, 0);
}

static void refresh(struct rig *r)
{
    vm_lock(r->vm);
    display_refresh_locked(r->display);
    vm_unlock(r->vm);
}

static void ctrl_alt_and_a_digit_show_a_console_and_the_guest(void **state)
{
    struct rig *r = *state;
    const struct text_screen *t = display_text(r->display);
    unsigned frames;

    chardev_write(r->vc, "hello\r\nthere", 12);
    press(r, KEY_LEFTCTRL, KEY_LEFTALT, KEY_2);
    assert_int_equal(console_active_locked(r->vm), 1);
    assert_true(t->is_text);
    assert_memory_equal(t->ch[0], "hello ", 6);
    assert_memory_equal(t->ch[1], "there ", 6);
    assert_int_equal(t->cursor_row, 1);
    assert_int_equal(t->cursor_col, 5);
    assert_int_equal(display_surface(r->display)->width_px, 640);
    assert_int_equal(display_surface(r->display)->height_px, 400);
    frames = r->guest_frames;
    chardev_write(r->vc, "!", 1);
    refresh(r);
    assert_memory_equal(t->ch[1], "there! ", 7);
    assert_int_equal(r->guest_frames, frames);
    press(r, KEY_LEFTCTRL, KEY_LEFTALT, KEY_9); /* there is none */
    assert_int_equal(console_active_locked(r->vm), 1);
    press(r, KEY_RIGHTCTRL, KEY_LEFTALT, KEY_1);
    assert_int_equal(console_active_locked(r->vm), 0);
    assert_true(r->guest_frames > frames);
    assert_int_equal(display_surface(r->display)->width_px, 320);
    assert_false(t->is_text);
}

static void keys_go_where_the_picture_is(void **state)
{
    struct rig *r = *state;
    unsigned before;

    press(r, KEY_A, 0, 0);
    assert_int_equal(r->guest_keys, 1);
    press(r, KEY_LEFTCTRL, KEY_LEFTALT, KEY_2);
    before = r->guest_keys;
    press(r, KEY_A, 0, 0);
    press(r, KEY_LEFTSHIFT, KEY_B, 0);
    press(r, KEY_LEFTCTRL, KEY_C, 0);
    press(r, KEY_UP, 0, 0);
    press(r, KEY_ENTER, 0, 0);
    assert_string_equal(r->typed, "aB\x03\x1b[A\r");
    assert_int_equal(r->guest_keys, before);
    press(r, KEY_LEFTCTRL, KEY_LEFTALT, KEY_1);
    press(r, KEY_A, 0, 0);
    assert_string_equal(r->typed, "aB\x03\x1b[A\r");
    assert_int_equal(r->guest_keys, before + 1);
}

static void keys_pressed_at_once_choose_and_type_too(void **state)
{
    static const unsigned choose[] = { KEY_LEFTCTRL, KEY_LEFTALT, KEY_2 };
    static const unsigned type[] = { KEY_LEFTSHIFT, KEY_S };
    struct rig *r = *state;

    vm_lock(r->vm);
    assert_false(console_keys_locked(r->vm, type, 2)); /* the guest's */
    assert_true(console_keys_locked(r->vm, choose, 3));
    assert_int_equal(console_active_locked(r->vm), 1);
    assert_true(console_keys_locked(r->vm, type, 2));
    vm_unlock(r->vm);
    loop_step(r->loop, 20);
    assert_string_equal(r->typed, "S");
    assert_int_equal(r->guest_keys, 0);
}

static void sendkey_types_at_the_guest_whatever_is_shown(void **state)
{
    static const unsigned keys[] = { KEY_LEFTCTRL, KEY_LEFTALT, KEY_2 };
    struct rig *r = *state;

    vm_lock(r->vm);
    vm_start_locked(r->vm);
    console_select_locked(r->vm, 1);
    input_send_keys_locked(vm_input(r->vm), keys, 3, 1);
    vm_unlock(r->vm);
    for (unsigned i = 0; i < 200 && r->guest_keys < 3; i++)
        loop_step(r->loop, 10);
    assert_int_equal(r->guest_keys, 3);
    assert_string_equal(r->typed, "");
}

static void glyphs_and_the_cursor_are_drawn(void **state)
{
    struct rig *r = *state;
    const struct surface *s;
    unsigned lit = 0;

    chardev_write(r->vc, "A", 1);
    press(r, KEY_LEFTCTRL, KEY_LEFTALT, KEY_2);
    s = display_surface(r->display);
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 8; x++)
            lit += s->px[y * s->stride_px + x] == 0xaaaaaa;
    if (lit == 0) skip(); /* no VGA BIOS: no font */
    assert_in_range(lit, 10, 60);
    assert_int_equal(s->px[15 * s->stride_px + 8], 0xaaaaaa); /* cursor */
    assert_int_equal(s->px[15 * s->stride_px + 16], 0);
}

/* ---- the terminal alone ---- */

static void row_is(const struct vt *t, int row, const char *want)
{
    char got[VT_COLS + 1] = "";
    int n = VT_COLS;

    memcpy(got, t->ch[row], VT_COLS);
    while (n > 0 && got[n - 1] == ' ')
        n--;
    got[n] = '\0';
    assert_string_equal(got, want);
}

static void say(struct vt *t, const char *text)
{
    vt_write(t, (const uint8_t *)text, strlen(text));
}

static void sequences_move_and_erase(void **state)
{
    struct vt t;

    (void)state;
    vt_reset(&t);
    say(&t, "abcdef\x1b[3DX\x1b[K");
    row_is(&t, 0, "abcX");
    say(&t, "\x1b[2;5Hhere\x1b[1;1H>\tT\b\bt");
    row_is(&t, 1, "    here");
    row_is(&t, 0, ">bcX   tT");
    say(&t, "\x1b[31;1mr\x1b[0mn\x1b[44mb");
    assert_int_equal(t.attr[0][8], 12);
    assert_int_equal(t.attr[0][9], 7);
    assert_int_equal(t.attr[0][10], 0x17);
    say(&t, "\x1b[0m\x1b[2J\x1b[Hx\x1b(B\x1b]y\xc3\xa9\xe2\x94\x80");
    row_is(&t, 0, "xy\x82\xc4");
    row_is(&t, 1, "");
}

static void long_lines_wrap_and_the_screen_scrolls(void **state)
{
    struct vt t;

    (void)state;
    vt_reset(&t);
    for (unsigned i = 0; i < VT_COLS; i++)
        say(&t, "x");
    assert_int_equal(t.row, 0);
    say(&t, "y");
    row_is(&t, 1, "y");
    for (unsigned i = 0; i < VT_ROWS - 1; i++)
        say(&t, "\r\n");
    say(&t, "last");
    row_is(&t, 0, "y");
    row_is(&t, VT_ROWS - 1, "last");
}

static void any_octets_stay_inside(void **state)
{
    struct vt t;
    uint32_t seed = 7;

    (void)state;
    vt_reset(&t);
    for (unsigned i = 0; i < 2000000; i++) {
        static const char odd[] = "\x1b[;0123456789ABCDHJKm\b\t\r\n";
        uint8_t ch;

        seed = seed * 1103515245 + 12345;
        ch = seed & 0x10000 ? (uint8_t)(seed >> 20)
                            : (uint8_t)odd[(seed >> 20) % (sizeof(odd) - 1)];
        vt_write(&t, &ch, 1);
        assert_in_range(t.row, 0, VT_ROWS - 1);
        assert_in_range(t.col, 0, VT_COLS);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ctrl_alt_and_a_digit_show_a_console_and_the_guest),
        TEST(keys_go_where_the_picture_is),
        TEST(keys_pressed_at_once_choose_and_type_too),
        TEST(sendkey_types_at_the_guest_whatever_is_shown),
        TEST(glyphs_and_the_cursor_are_drawn),
        cmocka_unit_test(sequences_move_and_erase),
        cmocka_unit_test(long_lines_wrap_and_the_screen_scrolls),
        cmocka_unit_test(any_octets_stay_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
