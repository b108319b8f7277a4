/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* 8237A pair against its data sheet (231466). */
#include "tests/unit/support/chips_rig.h"

#include <string.h>

#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

struct dma_rig {
    struct dev *d;
    struct mem_region ram;
    unsigned ready;
};

static struct dma_rig x;

static int setup(void **state)
{
    struct rig *r;

    if (rig_setup(state) < 0) return -1;
    r = *state;
    memset(&x, 0, sizeof(x));
    if (mem_init_ram(&x.ram, "ram", 1 << 20, NULL) < 0) return -1;
    mem_add_locked(r->vm, mem_root(r->vm), 0, &x.ram, 0);
    x.d = rig_add(r, &dma8237_class);
    rig_out(r, 0xd6, 0xc0); /* channel 4: cascade */
    rig_out(r, 0xd4, 0x00); /* unmasked */
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    mem_del_locked(r->vm, &x.ram);
    mem_free(&x.ram);
    return rig_teardown(state);
}

/* Low octet first, from a cleared flip-flop. */
static unsigned in16(struct rig *r, unsigned port)
{
    unsigned low = rig_in(r, port);

    return low | (unsigned)rig_in(r, port) << 8;
}

/* As the BIOS programs channel 2 for the floppy. */
static void program(struct rig *r, unsigned mode, unsigned page, unsigned addr,
                    unsigned count)
{
    rig_out(r, 0x0a, 0x06);
    rig_out(r, 0x0c, 0x00);
    rig_out(r, 0x04, addr & 0xff);
    rig_out(r, 0x04, addr >> 8);
    rig_out(r, 0x05, count & 0xff);
    rig_out(r, 0x05, count >> 8);
    rig_out(r, 0x0b, mode);
    rig_out(r, 0x81, page);
    rig_out(r, 0x0a, 0x02);
}

static void a_write_transfer_fills_memory_up_to_terminal_count(void **state)
{
    struct rig *r = *state;
    uint8_t buf[512], back[512];
    bool is_tc = false;

    memset(buf, 0x5a, sizeof(buf));
    program(r, 0x46, 0x01, 0x2000, 511);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 300, &is_tc), 300);
    assert_false(is_tc);
    rig_out(r, 0x0c, 0);
    assert_int_equal(in16(r, 0x04), 0x2000 + 300);
    assert_int_equal(in16(r, 0x05), 511 - 300);
    /* The device has more than the count takes. */
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 512, &is_tc), 212);
    assert_true(is_tc);
    mem_read_locked(r->vm, 0x12000, back, sizeof(back));
    assert_memory_equal(buf, back, sizeof(buf));
    assert_int_equal(rig_in(r, 0x08), 0x04); /* TC of channel 2 */
    assert_int_equal(rig_in(r, 0x08), 0x00); /* cleared by reading */
    rig_out(r, 0x0c, 0);
    assert_int_equal(in16(r, 0x05), 0xffff);
    assert_false(dma8237_is_ready(x.d, 2)); /* masked by TC */
}

static void a_read_transfer_comes_from_memory(void **state)
{
    struct rig *r = *state;
    uint8_t buf[16] = { 0 };

    mem_write_locked(r->vm, 0x4321, "orrery", 6);
    program(r, 0x4a, 0, 0x4321, 5);
    assert_int_equal(dma8237_transfer(x.d, 2, false, buf, 16, NULL), 6);
    assert_memory_equal(buf, "orrery", 6);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 16, NULL), 0);
}

static void the_address_wraps_inside_its_page(void **state)
{
    struct rig *r = *state;
    uint8_t buf[4] = { 1, 2, 3, 4 }, v;

    program(r, 0x46, 0x02, 0xfffe, 3);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 4, NULL), 4);
    mem_read_locked(r->vm, 0x2ffff, &v, 1);
    assert_int_equal(v, 2);
    mem_read_locked(r->vm, 0x20000, &v, 1);
    assert_int_equal(v, 3);
    mem_read_locked(r->vm, 0x30000, &v, 1);
    assert_int_equal(v, 0);
}

static void decrement_and_auto_initialize_work(void **state)
{
    struct rig *r = *state;
    uint8_t buf[4] = { 1, 2, 3, 4 }, back[4];
    bool is_tc = false;

    program(r, 0x76, 0, 0x103, 3);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 4, &is_tc), 4);
    assert_true(is_tc);
    mem_read_locked(r->vm, 0x100, back, 4);
    assert_int_equal(back[0], 4);
    assert_int_equal(back[3], 1);
    assert_true(dma8237_is_ready(x.d, 2));
    rig_out(r, 0x0c, 0);
    assert_int_equal(in16(r, 0x04), 0x103);
}

static void verify_moves_nothing(void **state)
{
    struct rig *r = *state;
    uint8_t buf[4] = { 9, 9, 9, 9 }, v;

    program(r, 0x42, 0, 0x500, 3);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 4, NULL), 4);
    mem_read_locked(r->vm, 0x500, &v, 1);
    assert_int_equal(v, 0);
}

static void words_go_through_the_second_controller(void **state)
{
    struct rig *r = *state;
    uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, back[8];

    rig_out(r, 0xd8, 0);
    rig_out(r, 0xc4, 0x00); /* word address 0x0800: 0x1000 in octets */
    rig_out(r, 0xc4, 0x08);
    rig_out(r, 0xc6, 3);
    rig_out(r, 0xc6, 0);
    rig_out(r, 0xd6, 0x45); /* channel 5, to memory */
    rig_out(r, 0x8b, 0x03); /* bit 0 of the page is not used */
    rig_out(r, 0xd4, 0x01);
    assert_int_equal(dma8237_transfer(x.d, 5, true, buf, 8, NULL), 8);
    mem_read_locked(r->vm, 0x21000, back, 8);
    assert_memory_equal(buf, back, 8);
}

static void count_ready(void *arg)
{
    ++*(unsigned *)arg;
}

static void a_client_is_told_when_its_channel_opens(void **state)
{
    struct rig *r = *state;
    uint8_t buf[4] = { 0 };

    dma8237_set_client(x.d, 2, count_ready, &x.ready);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 4, NULL), 0);
    program(r, 0x46, 0, 0, 3);
    assert_int_equal(x.ready, 1);
    rig_out(r, 0x08, 0x04); /* controller off */
    assert_false(dma8237_is_ready(x.d, 2));
    rig_out(r, 0x08, 0x00);
    assert_int_equal(x.ready, 2);
    rig_out(r, 0xd4, 0x04); /* the cascade masked */
    assert_false(dma8237_is_ready(x.d, 2));
    rig_out(r, 0x0d, 0); /* master clear masks all */
    assert_int_equal(rig_in(r, 0x0f) & 0x0f, 0x0f);
    rig_out(r, 0x0e, 0);
    assert_int_equal(rig_in(r, 0x0f) & 0x0f, 0x00);
}

static void memory_that_is_not_there_is_survived(void **state)
{
    struct rig *r = *state;
    uint8_t buf[512];

    program(r, 0x46, 0xff, 0x0000, 511);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 512, NULL), 512);
    program(r, 0x4a, 0xff, 0x0000, 511);
    memset(buf, 0, sizeof(buf));
    assert_int_equal(dma8237_transfer(x.d, 2, false, buf, 512, NULL), 512);
    assert_int_equal(buf[511], 0xff);
    assert_int_equal(dma8237_transfer(x.d, 9, true, buf, 512, NULL), 0);
    assert_int_equal(dma8237_transfer(x.d, 4, true, buf, 512, NULL), 0);
}

static void spare_page_registers_are_memory(void **state)
{
    struct rig *r = *state;

    rig_out(r, 0x80, 0x42);
    assert_int_equal(rig_in(r, 0x80), 0x42);
    rig_out(r, 0x87, 0x17);
    assert_int_equal(rig_in(r, 0x87), 0x17);
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;
    uint8_t buf[4] = { 1, 2, 3, 4 };

    program(r, 0x46, 0x01, 0x2000, 511);
    dma8237_transfer(x.d, 2, true, buf, 4, NULL);
    rig_in(r, 0x04); /* flip-flop half way */
    rig_round_trip(r);
    assert_int_equal(rig_in(r, 0x04), 0x20);
    assert_int_equal(dma8237_transfer(x.d, 2, true, buf, 4, NULL), 4);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_write_transfer_fills_memory_up_to_terminal_count),
        T(a_read_transfer_comes_from_memory),
        T(the_address_wraps_inside_its_page),
        T(decrement_and_auto_initialize_work),
        T(verify_moves_nothing),
        T(words_go_through_the_second_controller),
        T(a_client_is_told_when_its_channel_opens),
        T(memory_that_is_not_there_is_survived),
        T(spare_page_registers_are_memory),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
