/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core hw */
/* Coprocessor errors: FERR#, IRQ 13, port 0xF0 and IGNNE# (82371SB PIIX3,
 * "Coprocessor Error Register"). */
#include "tests/unit/support/chips_rig.h"

#include "core/vm/ferr.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

static struct irq_line lines[16];

static const struct vm_ferr *open_ferr(struct rig *r)
{
    for (unsigned n = 0; n < 16; n++) {
        lines[n] = rig_line(r, n);
    }
    vm_set_service(r->vm, "isa-irqs", lines);
    rig_add(r, &ferr_class);
    return vm_service(r->vm, "ferr");
}

static void an_error_raises_irq_13_until_port_f0_is_written(void **state)
{
    struct rig *r = *state;
    const struct vm_ferr *f = open_ferr(r);

    assert_non_null(f);
    assert_false(f->change(f->arg, true));
    assert_true(r->level[13]);
    rig_out(r, 0xf0, 0);
    assert_false(r->level[13]);
}

static void ignne_lasts_until_the_error_is_cleared(void **state)
{
    struct rig *r = *state;
    const struct vm_ferr *f = open_ferr(r);

    f->change(f->arg, true);
    rig_out(r, 0xf0, 0);
    assert_true(f->change(f->arg, true)); /* go on, no interrupt */
    assert_false(r->level[13]);
    assert_false(f->change(f->arg, false));
    assert_false(f->change(f->arg, true)); /* the next error */
    assert_true(r->level[13]);
    assert_int_equal(r->rises[13], 2);
}

static void a_write_without_an_error_is_nothing(void **state)
{
    struct rig *r = *state;
    const struct vm_ferr *f = open_ferr(r);

    rig_out(r, 0xf0, 0);
    assert_false(f->change(f->arg, true));
    assert_true(r->level[13]);
}

static void state_survives_saving_and_garbage(void **state)
{
    struct rig *r = *state;
    const struct vm_ferr *f = open_ferr(r);

    f->change(f->arg, true);
    rig_round_trip(r);
    assert_true(r->level[13]);
    rig_load_garbage(r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_raises_irq_13_until_port_f0_is_written),
        TEST(ignne_lasts_until_the_error_is_cleared),
        TEST(a_write_without_an_error_is_nothing),
        TEST(state_survives_saving_and_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
