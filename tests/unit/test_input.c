/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input hub and key tables.  Scan codes: IBM PS/2 Hardware Interface
 * Technical Reference; key codes 1..83 are set 1 by definition of
 * linux/input-event-codes.h. */
#include "core/host/input.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "tests/unit/support/chips_rig.h"

struct seen {
    unsigned keycode[64];
    bool is_down[64];
    unsigned count;
    int dx, dy, dz, x, y;
    unsigned buttons;
};

static void see_key(void *arg, unsigned keycode, bool is_down)
{
    struct seen *s = arg;

    if (s->count == 64) return;
    s->keycode[s->count] = keycode;
    s->is_down[s->count++] = is_down;
}

static void see_mouse(void *arg, int dx, int dy, int dz, unsigned buttons)
{
    struct seen *s = arg;

    s->dx = dx;
    s->dy = dy;
    s->dz = dz;
    s->buttons = buttons;
}

static void see_tablet(void *arg, int x, int y, int dz, unsigned buttons)
{
    struct seen *s = arg;

    s->x = x;
    s->y = y;
    s->dz = dz;
    s->buttons = buttons;
}

static void handlers_hear_keys_and_motion(void **state)
{
    struct rig *r = *state;
    struct input *in = vm_input(r->vm);
    struct seen s = { .count = 0 }, t = { .count = 0 };
    const struct input_handler keyboard = { .key = see_key,
                                            .mouse = see_mouse,
                                            .arg = &s };
    const struct input_handler tablet = { .tablet = see_tablet, .arg = &t };

    assert_ptr_equal(vm_input(r->vm), in);
    input_add_handler_locked(in, &keyboard);
    assert_false(input_has_tablet(in));
    input_key_locked(in, KEY_A, true);
    input_mouse_locked(in, 1, -2, 3, INPUT_BTN_RIGHT);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.dy, -2);
    input_add_handler_locked(in, &tablet);
    assert_true(input_has_tablet(in));
    input_tablet_locked(in, -5, 40000, 0, 0);
    assert_int_equal(t.x, 0);
    assert_int_equal(t.y, 32767);
    input_remove_handler_locked(in, &s);
    input_key_locked(in, KEY_A, false);
    assert_int_equal(s.count, 1);
    input_key_locked(in, 100000, true); /* no such key: ignored */
}

static void losing_the_focus_releases_what_is_down(void **state)
{
    struct rig *r = *state;
    struct input *in = vm_input(r->vm);
    struct seen s = { .count = 0 };
    const struct input_handler h = { .key = see_key, .arg = &s };

    input_add_handler_locked(in, &h);
    input_key_locked(in, KEY_LEFTCTRL, true);
    input_key_locked(in, KEY_C, true);
    input_key_locked(in, KEY_C, true);  /* host's repeat goes through */
    input_key_locked(in, KEY_X, false); /* never pressed: nothing */
    assert_int_equal(s.count, 3);
    input_release_all_locked(in);
    assert_int_equal(s.count, 5);
    assert_false(s.is_down[3]);
    assert_false(s.is_down[4]);
    input_release_all_locked(in);
    assert_int_equal(s.count, 5);
}

static void sent_keys_are_held_and_released_in_reverse(void **state)
{
    static const unsigned keys[] = { KEY_LEFTCTRL, KEY_LEFTALT, KEY_DELETE };
    static const unsigned second[] = { KEY_B };
    struct rig *r = *state;
    struct input *in = vm_input(r->vm);
    struct seen s = { .count = 0 };
    const struct input_handler h = { .key = see_key, .arg = &s };

    input_add_handler_locked(in, &h);
    input_send_keys_locked(in, keys, 3, 100);
    input_send_keys_locked(in, second, 1, 50);
    rig_advance(r, 1000);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.keycode[2], KEY_DELETE);
    rig_advance(r, 99000000);
    assert_int_equal(s.count, 3);
    rig_advance(r, 1000000);
    assert_int_equal(s.count, 6);
    assert_int_equal(s.keycode[3], KEY_DELETE);
    assert_int_equal(s.keycode[5], KEY_LEFTCTRL);
    rig_advance(r, 30000000);
    assert_int_equal(s.count, 7);
    assert_int_equal(s.keycode[6], KEY_B);
    rig_advance(r, 50000000);
    assert_int_equal(s.count, 8);
    assert_false(s.is_down[7]);
    input_send_keys_locked(in, keys, 1000, 1); /* too many: refused */
    rig_advance(r, 1000);
    assert_int_equal(s.count, 8);
}

static void names_are_qemus(void **state)
{
    static const struct {
        const char *name;
        unsigned keycode;
    } want[] = {
        { "ret", KEY_ENTER },
        { "ctrl", KEY_LEFTCTRL },
        { "ctrl_r", KEY_RIGHTCTRL },
        { "alt", KEY_LEFTALT },
        { "delete", KEY_DELETE },
        { "spc", KEY_SPACE },
        { "kp_enter", KEY_KPENTER },
        { "pgup", KEY_PAGEUP },
        { "esc", KEY_ESC },
        { "f12", KEY_F12 },
        { "minus", KEY_MINUS },
        { "meta_l", KEY_LEFTMETA },
        { "print", KEY_SYSRQ },
        { "sysrq", KEY_SYSRQ },
        { "grave_accent", KEY_GRAVE },
        { "less", KEY_102ND },
        { "0x1c", KEY_ENTER },
        { "0xd3", KEY_DELETE },
        { "caps_lock", KEY_CAPSLOCK },
        { "1", KEY_1 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(input_key_by_name(want[i].name), want[i].keycode);
    }
    assert_int_equal(input_key_by_name("nokey"), 0);
    assert_int_equal(input_key_by_name(""), 0);
    assert_int_equal(input_key_by_name("0x"), 0);
    assert_int_equal(input_key_by_name("0x1cz"), 0);
    assert_int_equal(input_key_by_name("0xfffff"), 0);
}

static void every_name_finds_its_key_and_back(void **state)
{
    unsigned n = 0;

    (void)state;
    for (const char *name; (name = input_key_name_at(n)) != NULL; n++) {
        unsigned keycode = input_key_by_name(name);

        assert_int_not_equal(keycode, 0);
        assert_int_equal(input_key_by_name(input_key_name(keycode)), keycode);
    }
    assert_true(n > 100);
    assert_null(input_key_name(KEY_MAX));
}

static void scan_codes_of_set_1_follow_key_codes(void **state)
{
    uint8_t out[8];

    (void)state;
    for (unsigned code = 1; code <= 83; code++) {
        assert_int_equal(input_scancode_set1(code, true, out), 1);
        assert_int_equal(out[0], code);
        assert_int_equal(input_scancode_set1(code, false, out), 1);
        assert_int_equal(out[0], code | 0x80);
    }
    assert_int_equal(input_scancode_set1(KEY_UP, true, out), 2);
    assert_memory_equal(out, "\xe0\x48", 2);
    assert_int_equal(input_scancode_set1(KEY_UP, false, out), 2);
    assert_memory_equal(out, "\xe0\xc8", 2);
    assert_int_equal(input_scancode_set1(KEY_SYSRQ, true, out), 4);
    assert_memory_equal(out, "\xe0\x2a\xe0\x37", 4);
    assert_int_equal(input_scancode_set1(KEY_PAUSE, true, out), 6);
    assert_memory_equal(out, "\xe1\x1d\x45\xe1\x9d\xc5", 6);
    assert_int_equal(input_scancode_set1(KEY_PAUSE, false, out), 0);
    assert_int_equal(input_scancode_set1(KEY_MAX, true, out), 0);
}

static void scan_codes_of_set_2_are_the_standard_ones(void **state)
{
    /* A column of the reference's key table. */
    static const uint8_t letters[26] = {
        0x1c, 0x32, 0x21, 0x23, 0x24, 0x2b, 0x34, 0x33, 0x43,
        0x3b, 0x42, 0x4b, 0x3a, 0x31, 0x44, 0x4d, 0x15, 0x2d,
        0x1b, 0x2c, 0x3c, 0x2a, 0x1d, 0x22, 0x35, 0x1a,
    };
    uint8_t out[8];

    (void)state;
    for (unsigned i = 0; i < 26; i++) {
        unsigned key = input_key_for_char('a' + i, NULL);

        assert_int_equal(input_scancode_set2(key, true, out), 1);
        assert_int_equal(out[0], letters[i]);
        assert_int_equal(input_scancode_set2(key, false, out), 2);
        assert_int_equal(out[0], 0xf0);
    }
    assert_int_equal(input_scancode_set2(KEY_F7, true, out), 1);
    assert_int_equal(out[0], 0x83);
    assert_int_equal(input_scancode_set2(KEY_DELETE, false, out), 3);
    assert_memory_equal(out, "\xe0\xf0\x71", 3);
    assert_int_equal(input_scancode_set2(KEY_PAUSE, true, out), 8);
    assert_memory_equal(out, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77", 8);
    assert_int_equal(input_scancode_set2(KEY_SYSRQ, false, out), 6);
    assert_memory_equal(out, "\xe0\xf0\x7c\xe0\xf0\x12", 6);
}

static void every_ascii_character_has_a_key(void **state)
{
    bool shift = false;

    (void)state;
    for (uint32_t ch = ' '; ch <= '~'; ch++) {
        assert_int_not_equal(input_key_for_char(ch, &shift), 0);
    }
    assert_int_equal(input_key_for_char('?', &shift), KEY_SLASH);
    assert_true(shift);
    assert_int_equal(input_key_for_char('a', &shift), KEY_A);
    assert_false(shift);
    assert_int_equal(input_key_for_char('\n', &shift), KEY_ENTER);
    assert_int_equal(input_key_for_char(0, &shift), 0);
    assert_int_equal(input_key_for_char(0xe4, &shift), 0);
}

static void keysyms_find_keys(void **state)
{
    (void)state;
    assert_int_equal(input_key_for_keysym('A'), KEY_A);
    assert_int_equal(input_key_for_keysym(0xff0d), KEY_ENTER);
    assert_int_equal(input_key_for_keysym(0xff52), KEY_UP);
    assert_int_equal(input_key_for_keysym(0xffbe), KEY_F1);
    assert_int_equal(input_key_for_keysym(0xffc9), KEY_F12);
    assert_int_equal(input_key_for_keysym(0xffe3), KEY_LEFTCTRL);
    assert_int_equal(input_key_for_keysym(0xfe03), KEY_RIGHTALT);
    assert_int_equal(input_key_for_keysym(0xffb7), KEY_KP7);
    assert_int_equal(input_key_for_keysym(0x01000041), KEY_A);
    assert_int_equal(input_key_for_keysym(0), 0);
    assert_int_equal(input_key_for_keysym(0xffffffff), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(handlers_hear_keys_and_motion),
        T(losing_the_focus_releases_what_is_down),
        T(sent_keys_are_held_and_released_in_reverse),
        cmocka_unit_test(names_are_qemus),
        cmocka_unit_test(every_name_finds_its_key_and_back),
        cmocka_unit_test(scan_codes_of_set_1_follow_key_codes),
        cmocka_unit_test(scan_codes_of_set_2_are_the_standard_ones),
        cmocka_unit_test(every_ascii_character_has_a_key),
        cmocka_unit_test(keysyms_find_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
