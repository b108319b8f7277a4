/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* 8042, PS/2 keyboard and mouse against the IBM PS/2 Hardware Interface
 * Technical Reference, driven as Linux and firmware do. */
#include "tests/unit/support/chips_rig.h"

#include <linux/input-event-codes.h>

#include "core/host/input.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"
#include "hw/chips/ps2.h"

static struct dev *make_i8042(struct rig *r)
{
    struct dev *d;

    rig_add(r, &port92_class);
    d = rig_add(r, &i8042_class);
    i8042_connect(d, rig_line(r, 1), rig_line(r, 12));
    return d;
}

static unsigned status(struct rig *r)
{
    return rig_in(r, 0x64);
}

/* Next octet, -1 if none comes within 20 ms. */
static int next(struct rig *r)
{
    for (unsigned i = 0; i < 20; i++) {
        if ((status(r) & 1) != 0) return rig_in(r, 0x60);
        rig_advance(r, 1000000);
    }
    return -1;
}

static void expect(struct rig *r, const uint8_t *want, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(next(r), want[i]);
    }
    assert_int_equal(next(r), -1);
}
#define EXPECT(r, ...)                                  \
    do {                                                \
        static const uint8_t want_[] = { __VA_ARGS__ }; \
        expect(r, want_, sizeof(want_));                \
    } while (0)

static void key(struct rig *r, unsigned keycode, bool is_down)
{
    input_key_locked(vm_input(r->vm), keycode, is_down);
}

static void mouse(struct rig *r, int dx, int dy, int dz, unsigned buttons)
{
    input_mouse_locked(vm_input(r->vm), dx, dy, dz, buttons);
}

static void aux(struct rig *r, unsigned v)
{
    rig_out(r, 0x64, 0xd4);
    rig_out(r, 0x60, v);
}

static void self_tests_pass(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    assert_int_equal(status(r) & 0x04, 0);
    rig_out(r, 0x64, 0xaa);
    EXPECT(r, 0x55);
    assert_int_equal(status(r) & 0x04, 0x04);
    rig_out(r, 0x64, 0xab);
    EXPECT(r, 0x00);
    rig_out(r, 0x64, 0xa9);
    EXPECT(r, 0x00);
    rig_out(r, 0x64, 0xa4);
    EXPECT(r, 0xf1);
}

static void the_command_byte_is_kept(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x64, 0x60);
    assert_int_equal(status(r) & 0x08, 0x08);
    rig_out(r, 0x60, 0x45);
    assert_int_equal(status(r) & 0x08, 0);
    rig_out(r, 0x64, 0x20);
    EXPECT(r, 0x45);
    rig_out(r, 0x64, 0xa7); /* aux off shows in bit 5: how Linux finds it */
    rig_out(r, 0x64, 0x20);
    EXPECT(r, 0x65);
    rig_out(r, 0x64, 0xa8);
    rig_out(r, 0x64, 0x20);
    EXPECT(r, 0x45);
    rig_out(r, 0x64, 0x7f); /* RAM octet 31 */
    rig_out(r, 0x60, 0x99);
    rig_out(r, 0x64, 0x3f);
    EXPECT(r, 0x99);
}

static void the_aux_loopback_comes_back_as_mouse_data(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x64, 0xd3);
    rig_out(r, 0x60, 0x5a);
    assert_int_equal(status(r) & 0x21, 0x21);
    assert_true(r->level[12]);
    EXPECT(r, 0x5a);
    assert_false(r->level[12]);
    rig_out(r, 0x64, 0xd2);
    rig_out(r, 0x60, 0xa5);
    assert_int_equal(status(r) & 0x21, 0x01);
    assert_true(r->level[1]);
    EXPECT(r, 0xa5);
}

static void keys_interrupt_once_per_octet(void **state)
{
    struct rig *r = *state;

    make_i8042(r); /* interrupts on, no translation: set 2 */
    key(r, KEY_A, true);
    assert_true(r->level[1]);
    assert_int_equal(rig_in(r, 0x60), 0x1c);
    assert_false(r->level[1]);
    assert_int_equal(rig_in(r, 0x60), 0x1c); /* the last one stays */
    key(r, KEY_A, false);
    EXPECT(r, 0xf0, 0x1c);
    assert_int_equal(r->rises[1], 3);
    key(r, KEY_RIGHTALT, true);
    key(r, KEY_RIGHTALT, false);
    EXPECT(r, 0xe0, 0x11, 0xe0, 0xf0, 0x11);
}

static void translation_gives_set_1(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x64, 0x60);
    rig_out(r, 0x60, 0x61);
    rig_out(r, 0x64, 0xae);
    for (unsigned code = 1; code < 0x60; code++) {
        uint8_t down[8], up[8];
        unsigned n = input_scancode_set1(code, true, down);
        unsigned m = input_scancode_set1(code, false, up);

        key(r, code, true);
        key(r, code, false);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(next(r), down[i]);
        }
        for (unsigned i = 0; i < m; i++) {
            assert_int_equal(next(r), up[i]);
        }
        assert_int_equal(next(r), -1);
    }
    key(r, KEY_DELETE, true);
    EXPECT(r, 0xe0, 0x53);
    key(r, KEY_PAUSE, true);
    EXPECT(r, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    rig_out(r, 0x60, 0xf2); /* the identifier is translated as well */
    EXPECT(r, 0xfa, 0xab, 0x41);
}

static void sysrq_and_break_have_codes_of_their_own(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    key(r, KEY_SYSRQ, true);
    key(r, KEY_SYSRQ, false);
    EXPECT(r, 0xe0, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12);
    key(r, KEY_LEFTALT, true);
    key(r, KEY_SYSRQ, true);
    key(r, KEY_SYSRQ, false);
    key(r, KEY_LEFTALT, false);
    EXPECT(r, 0x11, 0x84, 0xf0, 0x84, 0xf0, 0x11);
    key(r, KEY_LEFTCTRL, true);
    key(r, KEY_PAUSE, true);
    key(r, KEY_PAUSE, false);
    key(r, KEY_LEFTCTRL, false);
    EXPECT(r, 0x14, 0xe0, 0x7e, 0xe0, 0xf0, 0x7e, 0xf0, 0x14);
}

static void keyboard_commands_are_acknowledged(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x60, 0xff);
    EXPECT(r, 0xfa, 0xaa);
    rig_out(r, 0x60, 0xf2);
    EXPECT(r, 0xfa, 0xab, 0x83);
    rig_out(r, 0x60, 0xed);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x07);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0xf3);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x00);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0xee);
    EXPECT(r, 0xee);
    rig_out(r, 0x60, 0xfe); /* resend */
    EXPECT(r, 0xee);
    rig_out(r, 0x60, 0xf6);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x05); /* no command */
    EXPECT(r, 0xfe);
    rig_out(r, 0x60, 0xf5); /* off: keys are not reported */
    EXPECT(r, 0xfa);
    key(r, KEY_A, true);
    assert_int_equal(next(r), -1);
    rig_out(r, 0x60, 0xf4);
    EXPECT(r, 0xfa);
    key(r, KEY_A, false);
    EXPECT(r, 0xf0, 0x1c);
}

static void scan_code_sets_can_be_chosen(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x60, 0xf0);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x01);
    EXPECT(r, 0xfa);
    key(r, KEY_A, true);
    key(r, KEY_A, false);
    EXPECT(r, 0x1e, 0x9e);
    rig_out(r, 0x60, 0xf0);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x03);
    EXPECT(r, 0xfa);
    key(r, KEY_LEFTCTRL, true);
    key(r, KEY_LEFTCTRL, false);
    EXPECT(r, 0x11, 0xf0, 0x11); /* make/break */
    key(r, KEY_A, true);
    key(r, KEY_A, false);
    EXPECT(r, 0x1c);        /* typematic: no break */
    rig_out(r, 0x60, 0xf8); /* all keys make/break */
    EXPECT(r, 0xfa);
    key(r, KEY_A, true);
    key(r, KEY_A, false);
    EXPECT(r, 0x1c, 0xf0, 0x1c);
    rig_out(r, 0x60, 0xf0);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x00);
    EXPECT(r, 0xfa, 0x03);
}

static void a_full_key_queue_reports_an_overrun(void **state)
{
    struct rig *r = *state;
    unsigned n = 0;
    int v, last = -1;

    make_i8042(r);
    for (unsigned i = 0; i < 40; i++) {
        key(r, KEY_A, true);
    }
    while ((v = next(r)) >= 0) {
        n++;
        last = v;
    }
    assert_int_equal(n, 17); /* the output buffer and 16 in the keyboard */
    assert_int_equal(last, 0x00);
}

static void a_disabled_keyboard_keeps_its_keys(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x64, 0xad);
    key(r, KEY_B, true);
    assert_int_equal(next(r), -1);
    rig_out(r, 0x64, 0xae);
    EXPECT(r, 0x32);
}

static void the_mouse_starts_as_a_standard_one(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    aux(r, 0xff);
    assert_int_equal(status(r) & 0x21, 0x21);
    EXPECT(r, 0xfa, 0xaa, 0x00);
    aux(r, 0xe9);
    EXPECT(r, 0xfa, 0x00, 0x02, 0x64);
    mouse(r, 5, 5, 0, 0);
    assert_int_equal(next(r), -1); /* not enabled */
    aux(r, 0xf4);
    EXPECT(r, 0xfa);
    mouse(r, 3, 4, 0, INPUT_BTN_LEFT);
    EXPECT(r, 0x29, 0x03, 0xfc); /* down is negative */
    mouse(r, -1, -2, 0, INPUT_BTN_RIGHT | INPUT_BTN_MIDDLE);
    EXPECT(r, 0x1e, 0xff, 0x02);
    assert_int_equal(r->rises[12], 14);
    aux(r, 0xe9);
    EXPECT(r, 0xfa, 0x23, 0x02, 0x64);
}

static void the_wheel_shows_after_the_magic_rates(void **state)
{
    static const uint8_t wheel[] = { 200, 100, 80 };
    static const uint8_t five[] = { 200, 200, 80 };
    struct rig *r = *state;

    make_i8042(r);
    for (unsigned i = 0; i < 3; i++) {
        aux(r, 0xf3);
        EXPECT(r, 0xfa);
        aux(r, wheel[i]);
        EXPECT(r, 0xfa);
    }
    aux(r, 0xf2);
    EXPECT(r, 0xfa, 0x03);
    aux(r, 0xf4);
    EXPECT(r, 0xfa);
    mouse(r, 0, 0, 1, 0);
    EXPECT(r, 0x08, 0x00, 0x00, 0x01);
    mouse(r, 0, 0, -1, 0);
    EXPECT(r, 0x08, 0x00, 0x00, 0xff);
    for (unsigned i = 0; i < 3; i++) {
        aux(r, 0xf3);
        EXPECT(r, 0xfa);
        aux(r, five[i]);
        EXPECT(r, 0xfa);
    }
    aux(r, 0xf2);
    EXPECT(r, 0xfa, 0x04);
    mouse(r, 0, 0, -1, 0x18);
    EXPECT(r, 0x08, 0x00, 0x00, 0x3f);
}

static void motion_adds_up_while_nobody_reads(void **state)
{
    struct rig *r = *state;
    int sum = 0, packet[3], v;
    unsigned n = 0;

    make_i8042(r);
    aux(r, 0xf4);
    EXPECT(r, 0xfa);
    for (unsigned i = 0; i < 100; i++) {
        mouse(r, 10, 0, 0, 0);
    }
    while ((v = next(r)) >= 0) {
        packet[n % 3] = v;
        if (n++ % 3 != 2) continue;
        sum += packet[1] - ((packet[0] & 0x10) != 0 ? 256 : 0);
    }
    assert_int_equal(n % 3, 0);
    assert_int_equal(sum, 1000);
}

static void remote_and_wrap_modes_work(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    aux(r, 0xf0);
    EXPECT(r, 0xfa);
    mouse(r, 2, 0, 0, 0);
    assert_int_equal(next(r), -1);
    aux(r, 0xeb);
    EXPECT(r, 0xfa, 0x08, 0x02, 0x00);
    aux(r, 0xee);
    EXPECT(r, 0xfa);
    aux(r, 0x77);
    EXPECT(r, 0x77);
    aux(r, 0xec);
    EXPECT(r, 0xfa);
}

static void a20_is_either_gate(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    assert_true(mem_a20(r->vm));
    rig_out(r, 0x64, 0xd1);
    rig_out(r, 0x60, 0xdd);
    assert_false(mem_a20(r->vm));
    rig_out(r, 0x64, 0xd0);
    assert_int_equal(next(r) & 0x03, 0x01);
    rig_out(r, 0x92, 0x02);
    assert_true(mem_a20(r->vm));
    assert_int_equal(rig_in(r, 0x92), 0x02);
    rig_out(r, 0x92, 0x00);
    assert_false(mem_a20(r->vm));
    rig_out(r, 0x64, 0xdf);
    assert_true(mem_a20(r->vm));
}

static unsigned resets;
static void count_resets(void *arg, enum vm_event ev)
{
    (void)arg;
    if (ev == VM_EVENT_RESET) resets++;
}

static void reset_comes_from_the_pulse_and_from_port_92(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    vm_add_listener(r->vm, count_resets, NULL);
    resets = 0;
    rig_out(r, 0x64, 0xff); /* pulses nothing */
    rig_advance(r, 1000);
    assert_int_equal(resets, 0);
    rig_out(r, 0x64, 0xfe);
    rig_advance(r, 1000);
    assert_int_equal(resets, 1);
    rig_out(r, 0x92, 0x01);
    rig_advance(r, 1000);
    assert_int_equal(resets, 2);
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;

    make_i8042(r);
    rig_out(r, 0x60, 0xf0);
    EXPECT(r, 0xfa);
    aux(r, 0xf4);
    EXPECT(r, 0xfa);
    rig_out(r, 0x60, 0x01);
    EXPECT(r, 0xfa);
    rig_out(r, 0x64, 0xdd);
    key(r, KEY_C, true);
    key(r, KEY_C, false);
    mouse(r, 7, 0, 0, 0);
    rig_round_trip(r);
    assert_false(mem_a20(r->vm));
    EXPECT(r, 0x2e, 0xae, 0x08, 0x07, 0x00);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(self_tests_pass),
        T(the_command_byte_is_kept),
        T(the_aux_loopback_comes_back_as_mouse_data),
        T(keys_interrupt_once_per_octet),
        T(translation_gives_set_1),
        T(sysrq_and_break_have_codes_of_their_own),
        T(keyboard_commands_are_acknowledged),
        T(scan_code_sets_can_be_chosen),
        T(a_full_key_queue_reports_an_overrun),
        T(a_disabled_keyboard_keeps_its_keys),
        T(the_mouse_starts_as_a_standard_one),
        T(the_wheel_shows_after_the_magic_rates),
        T(motion_adds_up_while_nobody_reads),
        T(remote_and_wrap_modes_work),
        T(a20_is_either_gate),
        T(reset_comes_from_the_pulse_and_from_port_92),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
