/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* 82C54 against its data sheet (231244), port 0x61 against PIIX3's. */
#include "tests/unit/support/chips_rig.h"

#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

static struct dev *make_pit(struct rig *r)
{
    struct dev *d = rig_add(r, &pit_class);

    pit_connect(d, rig_line(r, 0));
    clock_set_ns_locked(r->vm, 1000000);
    return d;
}

/* Go to the middle of the n-th counter clock from now on. */
static void clocks(struct rig *r, uint64_t n)
{
    uint64_t now_ns = clock_now_ns(r->vm);
    uint64_t tick = muldiv64(now_ns, 1193182, 1000000000) + n;

    rig_advance(r, muldiv64(tick * 2 + 1, 1000000000, 2 * 1193182) - now_ns);
}

static unsigned count(struct rig *r, unsigned ch)
{
    unsigned low;

    rig_out(r, 0x43, ch << 6); /* latch */
    low = rig_in(r, 0x40 + ch);
    return low | (unsigned)rig_in(r, 0x40 + ch) << 8;
}

static bool out2(struct rig *r)
{
    return (rig_in(r, 0x61) & 0x20) != 0;
}

static void load(struct rig *r, unsigned ch, unsigned mode, unsigned n)
{
    rig_out(r, 0x43, ch << 6 | 0x30 | mode);
    rig_out(r, 0x40 + ch, n & 0xff);
    rig_out(r, 0x40 + ch, n >> 8);
}

static void mode0_goes_high_n_plus_1_clocks_after_the_write(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    clocks(r, 1);
    rig_out(r, 0x61, 1); /* gate 2 */
    load(r, 2, 0, 4);
    assert_false(out2(r));
    clocks(r, 1);
    assert_int_equal(count(r, 2), 4);
    clocks(r, 3);
    assert_int_equal(count(r, 2), 1);
    assert_false(out2(r));
    clocks(r, 1);
    assert_int_equal(count(r, 2), 0);
    assert_true(out2(r));
    clocks(r, 1);
    assert_int_equal(count(r, 2), 0xffff); /* goes on counting */
    assert_true(out2(r));
}

static void mode0_stops_while_the_gate_is_low(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 0, 10);
    clocks(r, 4);
    assert_int_equal(count(r, 2), 7);
    rig_out(r, 0x61, 0);
    clocks(r, 50);
    assert_int_equal(count(r, 2), 7);
    rig_out(r, 0x61, 1);
    clocks(r, 6);
    assert_int_equal(count(r, 2), 1);
    assert_false(out2(r));
    clocks(r, 1);
    assert_true(out2(r));
}

static void mode1_is_low_for_n_clocks_after_a_trigger(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    clocks(r, 1);
    load(r, 2, 2, 3); /* control word bits 3:1 = 1 */
    assert_true(out2(r));
    clocks(r, 10);
    assert_true(out2(r)); /* nothing without a trigger */
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    assert_false(out2(r));
    assert_int_equal(count(r, 2), 3);
    clocks(r, 1);
    rig_out(r, 0x61, 0);
    rig_out(r, 0x61, 1); /* retrigger */
    clocks(r, 3);
    assert_false(out2(r));
    clocks(r, 1);
    assert_true(out2(r));
}

static void mode2_reloads_after_one(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 4, 3);
    clocks(r, 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(count(r, 2), 3);
        assert_true(out2(r));
        clocks(r, 1);
        assert_int_equal(count(r, 2), 2);
        assert_true(out2(r));
        clocks(r, 1);
        assert_int_equal(count(r, 2), 1);
        assert_false(out2(r));
        clocks(r, 1);
    }
    rig_out(r, 0x61, 0); /* gate low: output high at once */
    assert_true(out2(r));
    clocks(r, 7);
    rig_out(r, 0x61, 1); /* rising: reload */
    clocks(r, 1);
    assert_int_equal(count(r, 2), 3);
}

static void mode2_takes_a_new_count_at_the_end_of_the_cycle(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 4, 10);
    clocks(r, 5);
    assert_int_equal(count(r, 2), 6);
    rig_out(r, 0x42, 20);
    rig_out(r, 0x42, 0);
    rig_out(r, 0x43, 0xe8); /* read back the status of channel 2 */
    assert_int_equal(rig_in(r, 0x42), 0xf4); /* OUT, null count, mode 2 */
    assert_int_equal(count(r, 2), 6);
    clocks(r, 5);
    assert_int_equal(count(r, 2), 1);
    clocks(r, 1);
    assert_int_equal(count(r, 2), 20);
    rig_out(r, 0x43, 0xe8);
    assert_int_equal(rig_in(r, 0x42), 0xb4);
}

static void mode3_halves_even_and_odd_counts(void **state)
{
    static const unsigned even[] = { 4, 2, 4, 2, 4 };
    static const unsigned odd[] = { 4, 2, 0, 4, 2, 4 };
    static const bool odd_out[] = { 1, 1, 1, 0, 0, 1 };
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 6, 4);
    clocks(r, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(count(r, 2), even[i]);
        assert_int_equal(out2(r), i % 4 < 2);
        clocks(r, 1);
    }
    load(r, 2, 6, 5);
    clocks(r, 1);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(count(r, 2), odd[i]);
        assert_int_equal(out2(r), odd_out[i]);
        clocks(r, 1);
    }
}

static void mode4_strobes_once(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 8, 3);
    clocks(r, 3);
    assert_true(out2(r));
    clocks(r, 1);
    assert_false(out2(r));
    clocks(r, 1);
    assert_true(out2(r));
    clocks(r, 65536);
    assert_true(out2(r));
}

static void mode5_strobes_after_a_trigger(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    clocks(r, 1);
    load(r, 2, 10, 3);
    clocks(r, 8);
    assert_true(out2(r));
    rig_out(r, 0x61, 1);
    clocks(r, 3);
    assert_true(out2(r));
    clocks(r, 1);
    assert_false(out2(r));
    clocks(r, 1);
    assert_true(out2(r));
}

static void bcd_counts_decimal(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    clocks(r, 1);
    load(r, 2, 1, 0x1000); /* mode 0, BCD */
    clocks(r, 2);
    assert_int_equal(count(r, 2), 0x0999);
    load(r, 2, 1, 0);
    clocks(r, 1);
    assert_int_equal(count(r, 2), 0x0000);
    clocks(r, 1);
    assert_int_equal(count(r, 2), 0x9999);
}

static void read_back_latches_status_then_count(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    load(r, 0, 4, 0x1234);
    clocks(r, 1);
    rig_out(r, 0x43, 0xc2); /* both, channel 0 */
    clocks(r, 100);
    rig_out(r, 0x43, 0xd2); /* count again: the first latch holds */
    assert_int_equal(rig_in(r, 0x40), 0xb4);
    assert_int_equal(rig_in(r, 0x40), 0x34);
    assert_int_equal(rig_in(r, 0x40), 0x12);
    clocks(r, 1);
    assert_int_equal(rig_in(r, 0x40), (0x1234 - 101) & 0xff); /* live */
}

static void lsb_only_reads_and_writes_one_octet(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x43, 0x14); /* channel 0, LSB, mode 2 */
    rig_out(r, 0x40, 0x80);
    clocks(r, 1);
    assert_int_equal(rig_in(r, 0x40), 0x80);
    clocks(r, 1);
    assert_int_equal(rig_in(r, 0x40), 0x7f);
}

static void channel_0_interrupts_once_per_period(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    load(r, 0, 4, 11932); /* 100 Hz */
    r->rises[0] = 0;
    rig_advance(r, 1000500000);
    assert_int_equal(r->rises[0], 100);
    load(r, 0, 0, 1000); /* one shot */
    r->rises[0] = 0;
    assert_false(r->level[0]);
    rig_advance(r, 100000000);
    assert_int_equal(r->rises[0], 1);
    assert_true(r->level[0]);
}

static void tiny_periods_do_not_freeze_the_loop(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    load(r, 0, 4, 2);
    r->rises[0] = 0;
    rig_advance(r, 10000000);
    assert_in_range(r->rises[0], 1, 201);
}

static void a_long_pause_of_the_loop_is_not_caught_up(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    load(r, 0, 4, 1193); /* 1 kHz */
    r->rises[0] = 0;
    clock_set_ns_locked(r->vm, clock_now_ns(r->vm) + 3600000000000);
    rig_advance(r, 1);
    assert_in_range(r->rises[0], 1, 25);
}

static void port_61_toggles_refresh_and_keeps_low_bits(void **state)
{
    struct rig *r = *state;
    unsigned toggles = 0;
    uint8_t was;

    make_pit(r);
    rig_out(r, 0x61, 0xff);
    assert_int_equal(rig_in(r, 0x61) & 0xcf, 0x0f);
    was = rig_in(r, 0x61) & 0x10;
    for (unsigned i = 0; i < 100; i++) {
        rig_advance(r, 10000);
        if ((rig_in(r, 0x61) & 0x10) != was) toggles++;
        was = rig_in(r, 0x61) & 0x10;
    }
    assert_in_range(toggles, 65, 67); /* 1 ms / 15.085 us */
}

static unsigned speaker_hz;
static void speaker(void *arg, unsigned hz)
{
    *(unsigned *)arg = hz;
}

static void the_speaker_hears_channel_2(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pit(r);

    pit_set_speaker(d, speaker, &speaker_hz);
    load(r, 2, 6, 1193);
    assert_int_equal(speaker_hz, 0);
    rig_out(r, 0x61, 3);
    assert_int_equal(speaker_hz, 1000);
    rig_out(r, 0x61, 1);
    assert_int_equal(speaker_hz, 0);
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;

    make_pit(r);
    rig_out(r, 0x61, 1);
    load(r, 2, 0, 0x4000);
    load(r, 0, 4, 1193);
    clocks(r, 17);
    rig_out(r, 0x43, 0x80);
    rig_in(r, 0x42); /* half of a latched count read */
    rig_round_trip(r);
    assert_int_equal(rig_in(r, 0x42), 0x3f);
    assert_int_equal(count(r, 2), 0x4000 - 16);
    r->rises[0] = 0;
    rig_advance(r, 10000000);
    assert_in_range(r->rises[0], 9, 11);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(mode0_goes_high_n_plus_1_clocks_after_the_write),
        T(mode0_stops_while_the_gate_is_low),
        T(mode1_is_low_for_n_clocks_after_a_trigger),
        T(mode2_reloads_after_one),
        T(mode2_takes_a_new_count_at_the_end_of_the_cycle),
        T(mode3_halves_even_and_odd_counts),
        T(mode4_strobes_once),
        T(mode5_strobes_after_a_trigger),
        T(bcd_counts_decimal),
        T(read_back_latches_status_then_count),
        T(lsb_only_reads_and_writes_one_octet),
        T(channel_0_interrupts_once_per_period),
        T(tiny_periods_do_not_freeze_the_loop),
        T(a_long_pause_of_the_loop_is_not_caught_up),
        T(port_61_toggles_refresh_and_keeps_low_bits),
        T(the_speaker_hears_channel_2),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
