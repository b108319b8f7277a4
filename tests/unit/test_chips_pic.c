/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* 8259A pair against its data sheet (231468). */
#include "tests/unit/support/chips_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/intr.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

static struct dev *make_pic(struct rig *r)
{
    struct dev *d = rig_add(r, &pic_class);

    /* As firmware does it: vectors 0x08 and 0x70, cascade on 2, 8086 mode. */
    rig_out(r, 0x20, 0x11);
    rig_out(r, 0xa0, 0x11);
    rig_out(r, 0x21, 0x08);
    rig_out(r, 0xa1, 0x70);
    rig_out(r, 0x21, 0x04);
    rig_out(r, 0xa1, 0x02);
    rig_out(r, 0x21, 0x01);
    rig_out(r, 0xa1, 0x01);
    return d;
}

/* Without CPU and local APIC the cycle goes to the PIC if INT is up. */
static int ack(struct rig *r)
{
    return intr_ack_locked(r->vm, 0);
}

static void a_request_gives_its_vector_and_blocks_lower_ones(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    assert_int_equal(ack(r), -1);
    pic_set_irq(d, 4, true);
    assert_int_equal(ack(r), 0x0c);
    assert_int_equal(ack(r), -1); /* an edge counts once */
    pic_set_irq(d, 5, true);
    assert_int_equal(ack(r), -1); /* lower than what is in service */
    pic_set_irq(d, 1, true);
    assert_int_equal(ack(r), 0x09);
    rig_out(r, 0x20, 0x0b); /* OCW3: read ISR */
    assert_int_equal(rig_in(r, 0x20), 0x12);
    rig_out(r, 0x20, 0x0a); /* read IRR */
    assert_int_equal(rig_in(r, 0x20), 0x20);
    rig_out(r, 0x20, 0x20); /* EOI of the highest: 1 */
    assert_int_equal(ack(r), -1);
    rig_out(r, 0x20, 0x20);
    assert_int_equal(ack(r), 0x0d);
}

static void the_slave_comes_through_input_2(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    pic_set_irq(d, 12, true);
    assert_int_equal(ack(r), 0x74);
    rig_out(r, 0x20, 0x0b);
    rig_out(r, 0xa0, 0x0b);
    assert_int_equal(rig_in(r, 0x20), 0x04);
    assert_int_equal(rig_in(r, 0xa0), 0x10);
    pic_set_irq(d, 14, true);
    rig_out(r, 0xa0, 0x64); /* specific EOI of input 4 */
    rig_out(r, 0x20, 0x62);
    assert_int_equal(ack(r), 0x76);
}

static void masked_requests_wait(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    rig_out(r, 0x21, 0x10);
    assert_int_equal(rig_in(r, 0x21), 0x10);
    pic_set_irq(d, 4, true);
    assert_int_equal(ack(r), -1);
    rig_out(r, 0x21, 0x00);
    assert_int_equal(ack(r), 0x0c);
}

static int cpu_asks_anyway(void *lapics, unsigned cpu)
{
    (void)lapics;
    (void)cpu;
    return -2;
}

static void ignore_output(void *lapics, bool level)
{
    (void)lapics;
    (void)level;
}

/* "If the IR input goes low before the acknowledge, a DEFAULT IR7 will
 * occur": a CPU that had sampled INT already runs the cycle nevertheless. */
static void a_request_that_went_away_gives_the_spurious_vector(void **state)
{
    static const struct lapic_ops ops = {
        .ack = cpu_asks_anyway,
        .pic_output = ignore_output,
    };
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    pic_set_irq(d, 3, true);
    pic_set_irq(d, 3, false);
    assert_int_equal(ack(r), -1); /* INT is down */
    intr_set_lapic_locked(r->vm, &ops, NULL);
    assert_int_equal(ack(r), 0x0f);
    rig_out(r, 0x20, 0x0b);
    assert_int_equal(rig_in(r, 0x20), 0x00); /* nothing in service */
    intr_set_lapic_locked(r->vm, NULL, NULL);
}

static void polling_with_nothing_pending_reads_zero(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    rig_out(r, 0x20, 0x0c);
    assert_int_equal(rig_in(r, 0x20), 0x00);
    pic_set_irq(d, 6, true);
    rig_out(r, 0x20, 0x0c);
    assert_int_equal(rig_in(r, 0x20), 0x86);
    assert_int_equal(ack(r), -1); /* the poll was the acknowledge */
}

static void level_inputs_ask_again_while_they_are_up(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    rig_out(r, 0x4d1, 0xff);
    assert_int_equal(rig_in(r, 0x4d1), 0xde); /* 8 and 13 are always edge */
    rig_out(r, 0x4d0, 0xff);
    assert_int_equal(rig_in(r, 0x4d0), 0xf8);
    pic_set_irq(d, 11, true);
    assert_int_equal(ack(r), 0x73);
    rig_out(r, 0xa0, 0x20);
    rig_out(r, 0x20, 0x20);
    assert_int_equal(ack(r), 0x73);
    pic_set_irq(d, 11, false);
    rig_out(r, 0xa0, 0x20);
    rig_out(r, 0x20, 0x20);
    assert_int_equal(ack(r), -1);
}

static void automatic_eoi_leaves_nothing_in_service(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    rig_out(r, 0x20, 0x13); /* single, ICW4 follows */
    rig_out(r, 0x21, 0x20);
    rig_out(r, 0x21, 0x03); /* AEOI */
    pic_set_irq(d, 5, true);
    assert_int_equal(ack(r), 0x25);
    rig_out(r, 0x20, 0x0b);
    assert_int_equal(rig_in(r, 0x20), 0x00);
}

static void rotation_makes_the_served_input_the_lowest(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    pic_set_irq(d, 3, true);
    assert_int_equal(ack(r), 0x0b);
    rig_out(r, 0x20, 0xa0); /* rotate on non-specific EOI */
    pic_set_irq(d, 3, false);
    pic_set_irq(d, 3, true);
    pic_set_irq(d, 4, true);
    assert_int_equal(ack(r), 0x0c);
    rig_out(r, 0x20, 0x20);
    assert_int_equal(ack(r), 0x0b);
    rig_out(r, 0x20, 0x20);
    rig_out(r, 0x20, 0xc0); /* set priority: 0 is lowest */
    pic_set_irq(d, 0, true);
    pic_set_irq(d, 7, true);
    assert_int_equal(ack(r), 0x0f);
}

static void special_mask_mode_lets_lower_levels_in(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    pic_set_irq(d, 1, true);
    assert_int_equal(ack(r), 0x09);
    pic_set_irq(d, 6, true);
    assert_int_equal(ack(r), -1);
    rig_out(r, 0x21, 0x02);
    assert_int_equal(ack(r), -1);
    rig_out(r, 0x20, 0x68); /* ESMM, SMM */
    assert_int_equal(ack(r), 0x0e);
}

static void special_fully_nested_mode_lets_the_slave_nest(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    pic_set_irq(d, 12, true);
    assert_int_equal(ack(r), 0x74);
    pic_set_irq(d, 9, true);
    assert_int_equal(ack(r), -1); /* plain: input 2 is in service */
    rig_out(r, 0x20, 0x11);
    rig_out(r, 0x21, 0x08);
    rig_out(r, 0x21, 0x04);
    rig_out(r, 0x21, 0x11); /* SFNM */
    rig_out(r, 0xa0, 0x11);
    rig_out(r, 0xa1, 0x70);
    rig_out(r, 0xa1, 0x02);
    rig_out(r, 0xa1, 0x01);
    pic_set_irq(d, 12, false);
    pic_set_irq(d, 9, false);
    pic_set_irq(d, 12, true);
    assert_int_equal(ack(r), 0x74);
    pic_set_irq(d, 9, true);
    assert_int_equal(ack(r), 0x71);
}

static void info_counts_lines(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    for (unsigned i = 0; i < 3; i++) {
        pic_set_irq(d, 1, true);
        pic_set_irq(d, 1, false);
    }
    assert_int_equal(vm_print_info_locked(r->vm, "irq", out), 0);
    assert_int_equal(vm_print_info_locked(r->vm, "pic", out), 0);
    fclose(out);
    assert_non_null(strstr(text, " 1: 3\n"));
    assert_non_null(strstr(text, "irq_base=70"));
    free(text);
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;
    struct dev *d = make_pic(r);

    rig_out(r, 0x21, 0x40);
    pic_set_irq(d, 9, true);
    pic_set_irq(d, 4, true);
    rig_round_trip(r);
    assert_int_equal(ack(r), 0x71);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_gives_its_vector_and_blocks_lower_ones),
        T(the_slave_comes_through_input_2),
        T(masked_requests_wait),
        T(a_request_that_went_away_gives_the_spurious_vector),
        T(polling_with_nothing_pending_reads_zero),
        T(level_inputs_ask_again_while_they_are_up),
        T(automatic_eoi_leaves_nothing_in_service),
        T(rotation_makes_the_served_input_the_lowest),
        T(special_mask_mode_lets_lower_levels_in),
        T(special_fully_nested_mode_lets_the_slave_nest),
        T(info_counts_lines),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
