/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/*
 * All chips together under a hostile guest: random port and memory accesses,
 * clock steps of any size, resets, save and load, keys and motion in between.
 * Nothing may crash or hang, and a saved state must load again.
 */
#include "tests/unit/support/chips_rig.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/intr.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

static const uint16_t ports[][2] = {
    { 0x00, 16 }, { 0x20, 2 },  { 0x40, 4 },  { 0x60, 1 },  { 0x61, 1 },
    { 0x64, 1 },  { 0x70, 2 },  { 0x80, 16 }, { 0x92, 1 },  { 0xa0, 2 },
    { 0xc0, 32 }, { 0x378, 3 }, { 0x3f8, 8 }, { 0x402, 1 }, { 0x4d0, 2 },
};

static unsigned seed;

static unsigned rnd(void)
{
    seed = seed * 1103515245u + 12345u;
    return seed >> 8;
}

static uint32_t value(void)
{
    static const uint32_t edge[] = { 0,          1,          0xff,
                                     0x7fffffff, 0x80000000, 0xffffffff };
    unsigned n = rnd();

    return n % 3 == 0 ? edge[rnd() % 6] : n << 12 ^ rnd();
}

static void add_all(struct rig *r)
{
    static const struct dev_class *const classes[] = {
        &pic_class,   &pit_class,  &ioapic_class,   &lapic_class,
        &hpet_class,  &rtc_class,  &dma8237_class,  &port92_class,
        &i8042_class, &uart_class, &parallel_class,
    };
    struct irq_line gsi[24];
    struct dev *d[11];

    for (unsigned i = 0; i < 11; i++) {
        d[i] = rig_add(r, classes[i]);
    }
    rig_add_with(r, &debugcon_class, "iobase", "0x402", NULL);
    for (unsigned i = 0; i < 24; i++) {
        gsi[i] = ioapic_input(d[2], i);
    }
    hpet_connect(d[4], pic_input(d[0], 0), pic_input(d[0], 8), gsi);
    pit_connect(d[1], hpet_legacy_input(d[4], 0));
    rtc_connect(d[5], hpet_legacy_input(d[4], 8));
    i8042_connect(d[8], pic_input(d[0], 1), pic_input(d[0], 12));
    uart_connect(d[9], pic_input(d[0], 4));
    parallel_connect(d[10], pic_input(d[0], 7));
}

static void poke(struct rig *r)
{
    static const uint64_t pages[] = { 0xfec00000, 0xfee00000, 0xfed00000 };
    unsigned n = rnd() % 15;
    unsigned port = ports[n][0] + rnd() % ports[n][1];
    uint64_t gpa = pages[rnd() % 3] + (rnd() & 0x3fc);

    switch (rnd() % 8) {
    case 0: port_read_locked(r->vm, port, 1u << rnd() % 3); break;
    case 1:
    case 2:
    case 3: port_write_locked(r->vm, port, 1u << rnd() % 3, value()); break;
    case 4: rig_read32(r, gpa); break;
    case 5: rig_write32(r, gpa, value()); break;
    case 6: intr_ack_locked(r->vm, 0); break;
    default:
        input_key_locked(vm_input(r->vm), rnd() % KEY_CNT, rnd() & 1);
        input_mouse_locked(vm_input(r->vm), (int)value(), (int)value(),
                           (int)value(), value());
        break;
    }
}

static void step(struct rig *r)
{
    static const uint64_t steps_ns[] = { 1, 1000, 1000000, 60000000000 };

    clock_set_ns_locked(r->vm, clock_now_ns(r->vm) + steps_ns[rnd() % 4]);
    vm_unlock(r->vm);
    loop_step(r->loop, 0);
    vm_lock(r->vm);
}

static void random_accesses_do_no_harm(void **state)
{
    struct rig *r = *state;

    add_all(r);
    for (seed = 1; seed < 201; seed++) {
        unsigned kept = seed;

        for (unsigned i = 0; i < 2000; i++) {
            poke(r);
            if (rnd() % 32 == 0) step(r);
            if (rnd() % 700 == 0) dev_reset_tree(vm_root(r->vm));
            if (rnd() % 500 == 0) rig_round_trip(r);
        }
        seed = kept;
    }
    rig_load_garbage(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_accesses_do_no_harm, rig_setup,
                                        rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
