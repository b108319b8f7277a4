/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* MC146818A against its data sheet (ADI1026R1). */
#include "tests/unit/support/chips_rig.h"

#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

#define S_NS UINT64_C(1000000000)

static struct dev *make_rtc(struct rig *r)
{
    struct dev *d = rig_add(r, &rtc_class);

    rtc_connect(d, rig_line(r, 8));
    return d;
}

static uint8_t get(struct rig *r, unsigned reg)
{
    rig_out(r, 0x70, reg);
    return rig_in(r, 0x71);
}

static void set(struct rig *r, unsigned reg, unsigned v)
{
    rig_out(r, 0x70, reg);
    rig_out(r, 0x71, v);
}

static void time_is_read_in_bcd_and_24_hours(void **state)
{
    static const uint8_t want[10] = { 0x59, 0, 0x59, 0,    0x11,
                                      0,    3, 0x29, 0x02, 0x00 };
    struct rig *r = *state;

    make_rtc(r);
    for (unsigned i = 0; i < 10; i++) {
        if (i == 1 || i == 3 || i == 5) continue;
        assert_int_equal(get(r, i), want[i]);
    }
    assert_int_equal(get(r, 0x32), 0x20);
    assert_int_equal(get(r, 0x0d), 0x80);
    assert_int_equal(get(r, 0x0a) & 0x7f, 0x26);
    rig_advance(r, 12 * 3600 * S_NS + 2 * S_NS);
    assert_int_equal(get(r, 0), 0x01); /* over the leap day */
    assert_int_equal(get(r, 4), 0x00);
    assert_int_equal(get(r, 7), 0x01);
    assert_int_equal(get(r, 8), 0x03);
    assert_int_equal(get(r, 6), 4);
}

static void hours_of_12_have_a_pm_bit(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    set(r, 0x0b, 0x00); /* 12 hours, BCD */
    assert_int_equal(get(r, 4), 0x11);
    rig_advance(r, 1 * S_NS);
    assert_int_equal(get(r, 4), 0x92); /* noon is 12 PM */
    set(r, 0x0b, 0x04);                /* binary */
    rig_advance(r, 3600 * S_NS);
    assert_int_equal(get(r, 4), 0x81);
    rig_advance(r, 11 * 3600 * S_NS);
    assert_int_equal(get(r, 4), 12); /* midnight is 12 AM */
}

static void setting_stops_the_clock_until_set_is_cleared(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    set(r, 0x0b, 0x82);
    set(r, 0x00, 0x30);
    set(r, 0x02, 0x15);
    set(r, 0x04, 0x23);
    set(r, 0x07, 0x31);
    set(r, 0x08, 0x12);
    set(r, 0x09, 0x99);
    set(r, 0x32, 0x19);
    rig_advance(r, 5 * S_NS);
    assert_int_equal(get(r, 0), 0x30);
    assert_int_equal(get(r, 0x0a) & 0x80, 0);
    set(r, 0x0b, 0x02);
    rig_advance(r, 45 * 60 * S_NS);
    assert_int_equal(get(r, 0), 0x30);
    assert_int_equal(get(r, 2), 0x00);
    assert_int_equal(get(r, 4), 0x00);
    assert_int_equal(get(r, 9), 0x00); /* into 2000 */
    assert_int_equal(get(r, 0x32), 0x20);
}

static void uip_is_up_before_the_second_changes(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    rig_advance(r, S_NS / 2);
    assert_int_equal(get(r, 0x0a) & 0x80, 0);
    rig_advance(r, S_NS / 2 - 1000000);
    assert_int_equal(get(r, 0x0a) & 0x80, 0x80);
    assert_int_equal(get(r, 0), 0x59);
    rig_advance(r, 1000000);
    assert_int_equal(get(r, 0x0a) & 0x80, 0);
    assert_int_equal(get(r, 0), 0x00);
}

static void releasing_the_divider_starts_half_a_second_in(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    rig_advance(r, S_NS / 4);
    set(r, 0x0a, 0x76);
    rig_advance(r, 3 * S_NS);
    set(r, 0x0a, 0x26);
    assert_int_equal(get(r, 0), 0x59);
    rig_advance(r, S_NS / 2 - 1);
    assert_int_equal(get(r, 0), 0x59);
    rig_advance(r, 1);
    assert_int_equal(get(r, 0), 0x00);
}

static void update_ended_interrupts_every_second(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    set(r, 0x0b, 0x12);
    assert_false(r->level[8]);
    rig_advance(r, S_NS);
    assert_true(r->level[8]);
    assert_int_equal(get(r, 0x0c), 0xd0); /* PF comes along */
    assert_false(r->level[8]);
    assert_int_equal(get(r, 0x0c), 0x00);
    rig_advance(r, S_NS / 2);
    assert_false(r->level[8]);
    rig_advance(r, S_NS / 2);
    assert_true(r->level[8]);
}

static void flags_are_set_without_their_enables(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    get(r, 0x0c);
    rig_advance(r, S_NS);
    assert_int_equal(get(r, 0x0c), 0x50); /* PF, UF; no IRQF */
    assert_int_equal(r->rises[8], 0);
}

static void the_periodic_rate_is_1024_hz_by_default(void **state)
{
    struct rig *r = *state;
    unsigned seen = 0;

    make_rtc(r);
    set(r, 0x0b, 0x42);
    for (unsigned i = 0; i < 1000; i++) {
        rig_advance(r, 1000000);
        if (!r->level[8]) continue;
        seen++;
        assert_int_equal(get(r, 0x0c) & 0xc0, 0xc0);
    }
    /* One flag a millisecond at most: 1000 looks at 1024 Hz. */
    assert_in_range(seen, 999, 1000);
    set(r, 0x0a, 0x2f); /* 2 Hz */
    get(r, 0x0c);
    r->rises[8] = 0;
    for (unsigned i = 0; i < 31; i++) {
        rig_advance(r, 100000000);
        if (r->level[8]) get(r, 0x0c);
    }
    assert_int_equal(r->rises[8], 6);
}

static void the_alarm_matches_and_ignores_do_not_care(void **state)
{
    struct rig *r = *state;

    make_rtc(r); /* 11:59:59 */
    set(r, 1, 0x05);
    set(r, 3, 0xff);
    set(r, 5, 0xc0);
    set(r, 0x0b, 0x22);
    rig_advance(r, 5 * S_NS);
    assert_false(r->level[8]);
    rig_advance(r, 1 * S_NS); /* 12:00:05 */
    assert_true(r->level[8]);
    assert_int_equal(get(r, 0x0c) & 0xa0, 0xa0);
    set(r, 3, 0x30);
    set(r, 5, 0x09); /* 09:30:05 tomorrow */
    rig_advance(r, (21 * 3600 + 29 * 60) * S_NS);
    assert_false(r->level[8]);
    rig_advance(r, 120 * S_NS);
    assert_true(r->level[8]);
}

static void an_alarm_that_can_not_be_never_comes(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    set(r, 1, 0x77);
    set(r, 3, 0xff);
    set(r, 5, 0xff);
    set(r, 0x0b, 0x22);
    rig_advance(r, 90000 * S_NS);
    assert_int_equal(r->rises[8], 0);
}

static void cmos_ram_keeps_what_machine_and_guest_write(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_rtc(r);

    rtc_set_cmos(d, 0x34, 0x5a);
    assert_int_equal(get(r, 0x34), 0x5a);
    set(r, 0xff, 0x77); /* bit 7 masks NMI: octet 0x7f */
    assert_int_equal(rtc_get_cmos(d, 0x7f), 0x77);
    assert_int_equal(rig_in(r, 0x70), 0xff);
    d->cls->reset(d);
    assert_int_equal(get(r, 0x7f), 0x77);
    rtc_set_cmos(d, 128, 1); /* out of range: ignored */
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;

    make_rtc(r);
    set(r, 0x0b, 0x82);
    set(r, 0x09, 0x85);
    set(r, 0x32, 0x19);
    set(r, 0x0b, 0x52); /* UIE, PIE */
    set(r, 0x40, 0xa5);
    rig_advance(r, 3 * S_NS);
    rig_round_trip(r);
    assert_int_equal(get(r, 0x09), 0x85);
    assert_int_equal(get(r, 0x40), 0xa5);
    get(r, 0x0c);
    rig_advance(r, S_NS);
    assert_true(r->level[8]);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(time_is_read_in_bcd_and_24_hours),
        T(hours_of_12_have_a_pm_bit),
        T(setting_stops_the_clock_until_set_is_cleared),
        T(uip_is_up_before_the_second_changes),
        T(releasing_the_divider_starts_half_a_second_in),
        T(update_ended_interrupts_every_second),
        T(flags_are_set_without_their_enables),
        T(the_periodic_rate_is_1024_hz_by_default),
        T(the_alarm_matches_and_ignores_do_not_care),
        T(an_alarm_that_can_not_be_never_comes),
        T(cmos_ram_keeps_what_machine_and_guest_write),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
