/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* HPET against the IA-PC HPET specification 1.0a. */
#include "tests/unit/support/chips_rig.h"

#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

#define HPET UINT64_C(0xfed00000)
enum { IRQ0 = 0, IRQ8 = 8 };

static struct dev *hpet;

static int setup(void **state)
{
    struct irq_line gsi[24];
    struct rig *r;

    if (rig_setup(state) < 0) return -1;
    r = *state;
    hpet = rig_add(r, &hpet_class);
    for (unsigned i = 0; i < 24; i++) {
        gsi[i] = rig_line(r, i);
    }
    hpet_connect(hpet, rig_line(r, IRQ0), rig_line(r, IRQ8), gsi);
    return 0;
}

static uint32_t rd(struct rig *r, unsigned reg)
{
    return rig_read32(r, HPET + reg);
}

static uint64_t rd64(struct rig *r, unsigned reg)
{
    uint64_t v = 0;

    mem_read_locked(r->vm, HPET + reg, &v, sizeof(v));
    return v;
}

static void wr(struct rig *r, unsigned reg, uint32_t v)
{
    rig_write32(r, HPET + reg, v);
}

static void wr64(struct rig *r, unsigned reg, uint64_t v)
{
    mem_write_locked(r->vm, HPET + reg, &v, sizeof(v));
}

static void capabilities_say_three_timers_at_100_mhz(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rd(r, 4), 10000000); /* femtoseconds */
    assert_int_equal(rd(r, 0), 0x8086a201);
    assert_true((rd(r, 0x100) & 0x30) == 0x30);
    assert_int_equal(rd(r, 0x104), 0x00ff0000);
    assert_int_equal(rd(r, 0x160), 0); /* no fourth timer */
    wr(r, 0x000, 0xffffffff);
    assert_int_equal(rd(r, 0), 0x8086a201);
}

static void the_counter_runs_only_when_enabled(void **state)
{
    struct rig *r = *state;

    rig_advance(r, 1000);
    assert_int_equal(rd64(r, 0xf0), 0);
    wr(r, 0x10, 1);
    rig_advance(r, 1000);
    assert_int_equal(rd64(r, 0xf0), 100);
    wr(r, 0x10, 0);
    rig_advance(r, 1000);
    assert_int_equal(rd64(r, 0xf0), 100);
    wr64(r, 0xf0, 0x1ffffffff);
    wr(r, 0x10, 1);
    rig_advance(r, 20);
    assert_int_equal(rd(r, 0xf0), 1);
    assert_int_equal(rd(r, 0xf4), 2);
}

static void one_shot_interrupts_at_the_match(void **state)
{
    struct rig *r = *state;

    wr(r, 0x140, 0x4 | 20 << 9); /* timer 2, edge, GSI 20 */
    wr64(r, 0x148, 1000);
    wr(r, 0x10, 1);
    rig_advance(r, 9990);
    assert_int_equal(r->rises[20], 0);
    rig_advance(r, 10);
    assert_int_equal(r->rises[20], 1);
    rig_advance(r, 1000000000);
    assert_int_equal(r->rises[20], 1);
    /* A value that was missed by a little matches at once. */
    wr64(r, 0x148, rd64(r, 0xf0) - 5);
    rig_advance(r, 1);
    assert_int_equal(r->rises[20], 2);
}

static void a_32_bit_timer_matches_after_a_wrap(void **state)
{
    struct rig *r = *state;

    wr64(r, 0xf0, 0xfffffff0);
    wr(r, 0x140, 0x104 | 20 << 9);
    wr(r, 0x148, 0x10);
    wr(r, 0x10, 1);
    rig_advance(r, 310);
    assert_int_equal(r->rises[20], 0);
    rig_advance(r, 10);
    assert_int_equal(r->rises[20], 1);
}

/* As Linux programs it: VAL_SET, first match, then the period. */
static void start_periodic(struct rig *r, unsigned first, unsigned period)
{
    wr(r, 0x100, 0x4 | 0x8 | 0x40 | 0x100);
    wr(r, 0x108, first);
    rig_advance(r, 1000);
    wr(r, 0x108, period);
}

static void periodic_timer_0_replaces_the_pit(void **state)
{
    struct rig *r = *state;
    struct irq_line pit = hpet_legacy_input(hpet, 0);

    irq_set(&pit, true);
    assert_int_equal(r->rises[IRQ0], 1);
    irq_set(&pit, false);
    wr(r, 0x10, 3); /* enable, legacy replacement */
    irq_set(&pit, true);
    assert_int_equal(r->rises[IRQ0], 1); /* the PIT is cut off */
    start_periodic(r, 100000, 100000);   /* 1 ms */
    rig_advance(r, 100000000);
    assert_in_range(r->rises[IRQ0], 100, 101);
    wr(r, 0x10, 1);
    assert_true(r->level[IRQ0]); /* the PIT's level again */
}

static void the_rtc_line_passes_without_legacy(void **state)
{
    struct rig *r = *state;
    struct irq_line rtc = hpet_legacy_input(hpet, 8);

    irq_set(&rtc, true);
    assert_true(r->level[IRQ8]);
    wr(r, 0x10, 2);
    assert_false(r->level[IRQ8]);
    wr(r, 0x10, 0);
    assert_true(r->level[IRQ8]);
}

static void level_interrupts_stay_until_cleared(void **state)
{
    struct rig *r = *state;

    wr(r, 0x140, 0x6 | 21 << 9);
    wr64(r, 0x148, 100);
    wr(r, 0x10, 1);
    rig_advance(r, 1000);
    assert_true(r->level[21]);
    assert_int_equal(rd(r, 0x20), 4);
    wr(r, 0x20, 1);
    assert_true(r->level[21]);
    wr(r, 0x20, 4);
    assert_false(r->level[21]);
    assert_int_equal(rd(r, 0x20), 0);
}

static void the_comparator_of_a_periodic_timer_moves_on(void **state)
{
    struct rig *r = *state;

    wr(r, 0x10, 1);
    start_periodic(r, 1000, 1000);
    rig_advance(r, 15000);
    assert_int_equal(rd(r, 0x108), 2000);
    rig_advance(r, 10000);
    assert_int_equal(rd(r, 0x108), 3000);
}

static void tiny_periods_do_not_freeze_the_loop(void **state)
{
    struct rig *r = *state;

    wr(r, 0x10, 3);
    start_periodic(r, 200, 1);
    rig_advance(r, 10000000);
    assert_in_range(r->rises[IRQ0], 1, 202);
}

static void a_stalled_loop_skips_what_is_long_gone(void **state)
{
    struct rig *r = *state;

    wr(r, 0x10, 3);
    start_periodic(r, 100000, 100000);
    clock_set_ns_locked(r->vm, clock_now_ns(r->vm) + 3600000000000);
    rig_advance(r, 1);
    assert_in_range(r->rises[IRQ0], 1, 25);
}

static void unrouted_timers_are_silent(void **state)
{
    struct rig *r = *state;

    wr(r, 0x140, 0x4 | 3 << 9); /* GSI 3 is not in the capability */
    wr64(r, 0x148, 100);
    wr(r, 0x10, 1);
    rig_advance(r, 10000);
    assert_int_equal(r->rises[3], 0);
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;

    wr(r, 0x10, 3);
    start_periodic(r, 100000, 100000);
    wr(r, 0x140, 0x6 | 21 << 9);
    wr64(r, 0x148, 500000);
    rig_advance(r, 3000000);
    rig_round_trip(r);
    r->rises[IRQ0] = 0;
    rig_advance(r, 10000000);
    assert_in_range(r->rises[IRQ0], 9, 11);
    assert_true(r->level[21]);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(capabilities_say_three_timers_at_100_mhz),
        T(the_counter_runs_only_when_enabled),
        T(one_shot_interrupts_at_the_match),
        T(a_32_bit_timer_matches_after_a_wrap),
        T(periodic_timer_0_replaces_the_pit),
        T(the_rtc_line_passes_without_legacy),
        T(level_interrupts_stay_until_cleared),
        T(the_comparator_of_a_periodic_timer_moves_on),
        T(tiny_periods_do_not_freeze_the_loop),
        T(a_stalled_loop_skips_what_is_long_gone),
        T(unrouted_timers_are_silent),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
