/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw support block core */
/*
 * VGA registers and what the graphics controller does to memory accesses,
 * against IBM's description of the registers (FreeVGA).
 */
#include "tests/unit/support/video_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/video/vga_int.h"

enum { A0000 = 0xa0000 };

static void
crtc_registers_0_to_7_are_write_protected_by_bit_7_of_11(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_03); /* sets CR11 bit 7 */
    vrig_cr(r, 0x01, 0x12);
    assert_int_equal(rig_in(r->base, 0x3d5), 0x4f);
    vrig_cr(r, 0x07, 0xff); /* but line compare bit 8 may change */
    assert_int_equal(rig_in(r->base, 0x3d5), 0x1f | 0x10);
    vrig_cr(r, 0x07, 0x00);
    assert_int_equal(rig_in(r->base, 0x3d5), 0x0f);
    vrig_cr(r, 0x11, 0x0e);
    vrig_cr(r, 0x01, 0x12);
    assert_int_equal(rig_in(r->base, 0x3d5), 0x12);
}

static void crtc_moves_to_3b4_in_monochrome(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_03);
    assert_int_equal(rig_in(r->base, 0x3b4), 0xff);
    rig_out(r->base, 0x3c2, 0x66);
    rig_out(r->base, 0x3b4, 0x13);
    assert_int_equal(rig_in(r->base, 0x3b5), 0x28);
    assert_int_equal(rig_in(r->base, 0x3d5), 0xff);
    assert_int_equal(rig_in(r->base, 0x3cc), 0x66);
}

static void attribute_flip_flop_is_reset_by_reading_status_1(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_03);
    rig_in(r->base, 0x3da);
    rig_out(r->base, 0x3c0, 0x33); /* index 0x13, screen on */
    rig_in(r->base, 0x3da);
    rig_out(r->base, 0x3c0, 0x31); /* an index again, not data */
    rig_out(r->base, 0x3c0, 0x2a);
    assert_int_equal(rig_in(r->base, 0x3c1), 0x2a);
    rig_in(r->base, 0x3da);
    rig_out(r->base, 0x3c0, 0x33);
    assert_int_equal(rig_in(r->base, 0x3c1), 0x08);
}

static void dac_steps_through_components_and_indices(void **state)
{
    struct vrig *r = *state;
    static const uint8_t want[6] = { 1, 2, 3, 61, 62, 63 };

    rig_out(r->base, 0x3c8, 255);
    for (unsigned i = 0; i < 3; i++)
        rig_out(r->base, 0x3c9, want[i]);
    for (unsigned i = 3; i < 6; i++)
        rig_out(r->base, 0x3c9, want[i]);
    assert_int_equal(rig_in(r->base, 0x3c7), 0); /* write mode */
    rig_out(r->base, 0x3c7, 255);
    assert_int_equal(rig_in(r->base, 0x3c7), 3); /* read mode */
    for (unsigned i = 0; i < 6; i++)             /* 255, then 0 */
        assert_int_equal(rig_in(r->base, 0x3c9), want[i]);
}

static void dac_keeps_8_bits_when_vbe_asks_for_them(void **state)
{
    struct vrig *r = *state;

    vrig_vbe(r, 4, 0x20); /* 8-bit DAC */
    vrig_dac(r, 7, 0x81, 0x42, 0xff);
    rig_out(r->base, 0x3c7, 7);
    assert_int_equal(rig_in(r->base, 0x3c9), 0x81);
    vrig_vbe(r, 4, 0);
    rig_out(r->base, 0x3c7, 7);
    assert_int_equal(rig_in(r->base, 0x3c9), 0x81 >> 2);
}

/* All four planes at A0000 + offset. */
static void read_planes(struct vrig *r, uint32_t offset, uint8_t out[4])
{
    vrig_gr(r, 5, 0);
    for (unsigned p = 0; p < 4; p++) {
        vrig_gr(r, 4, p);
        out[p] = vrig_peek(r, A0000 + offset);
    }
}

static void expect_planes(struct vrig *r, uint32_t offset, uint8_t p0,
                          uint8_t p1, uint8_t p2, uint8_t p3)
{
    uint8_t got[4], want[4] = { p0, p1, p2, p3 };

    read_planes(r, offset, got);
    assert_memory_equal(got, want, 4);
}

/* Fill a location's planes and the latches with known octets. */
static void prepare(struct vrig *r, uint32_t offset)
{
    static const uint8_t fill[4] = { 0x0f, 0x33, 0x55, 0xf0 };

    vrig_gr(r, 0, 0);
    vrig_gr(r, 1, 0);
    vrig_gr(r, 3, 0);
    vrig_gr(r, 5, 0);
    vrig_gr(r, 8, 0xff);
    for (unsigned p = 0; p < 4; p++) {
        vrig_sr(r, 2, 1u << p);
        vrig_poke(r, A0000 + offset, fill[p]);
    }
    vrig_sr(r, 2, 0x0f);
    vrig_peek(r, A0000 + offset);
}

static void map_mask_selects_planes(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 5);
    vrig_sr(r, 2, 0x0a);
    vrig_poke(r, A0000 + 5, 0xaa);
    expect_planes(r, 5, 0x0f, 0xaa, 0x55, 0xaa);
}

static void write_mode_0_rotates_sets_combines_and_masks(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 0);
    vrig_gr(r, 3, 4); /* rotate right by 4 */
    vrig_poke(r, A0000, 0x1e);
    expect_planes(r, 0, 0xe1, 0xe1, 0xe1, 0xe1);

    prepare(r, 0);
    vrig_gr(r, 0, 0x01); /* planes 0, 1 from set/reset = 1, 0 */
    vrig_gr(r, 1, 0x03);
    vrig_poke(r, A0000, 0x5a);
    expect_planes(r, 0, 0xff, 0x00, 0x5a, 0x5a);

    prepare(r, 0);
    vrig_gr(r, 8, 0x3c); /* other bits from the latches */
    vrig_poke(r, A0000, 0xff);
    expect_planes(r, 0, 0x3f, 0x3f, 0x7d, 0xfc);

    prepare(r, 0);
    vrig_gr(r, 3, 1 << 3); /* AND */
    vrig_poke(r, A0000, 0x3c);
    expect_planes(r, 0, 0x0c, 0x30, 0x14, 0x30);
    prepare(r, 0);
    vrig_gr(r, 3, 2 << 3); /* OR */
    vrig_poke(r, A0000, 0x81);
    expect_planes(r, 0, 0x8f, 0xb3, 0xd5, 0xf1);
    prepare(r, 0);
    vrig_gr(r, 3, 3 << 3); /* XOR */
    vrig_poke(r, A0000, 0xff);
    expect_planes(r, 0, 0xf0, 0xcc, 0xaa, 0x0f);
}

static void write_mode_1_copies_the_latches(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 100);
    vrig_gr(r, 5, 1);
    vrig_poke(r, A0000 + 200, 0x77); /* the data does not matter */
    expect_planes(r, 200, 0x0f, 0x33, 0x55, 0xf0);
}

static void write_mode_2_writes_a_colour_under_the_bit_mask(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 0);
    vrig_gr(r, 5, 2);
    vrig_gr(r, 8, 0xf0);
    vrig_poke(r, A0000, 0x09); /* colour 1001 */
    expect_planes(r, 0, 0xff, 0x03, 0x05, 0xf0);
}

static void write_mode_3_uses_data_as_bit_mask_for_set_reset(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 0);
    vrig_gr(r, 5, 3);
    vrig_gr(r, 0, 0x05); /* colour 0101, GR1 does not matter */
    vrig_gr(r, 8, 0x7e);
    vrig_poke(r, A0000, 0xf1); /* mask = 0xf1 & 0x7e = 0x70 */
    expect_planes(r, 0, 0x7f, 0x03, 0x75, 0x80);
}

static void read_mode_1_compares_colours(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 0); /* 0f 33 55 f0 */
    vrig_gr(r, 5, 8);
    vrig_gr(r, 2, 0x05); /* planes 0 and 2 set, 1 and 3 clear */
    vrig_gr(r, 7, 0x0f);
    assert_int_equal(vrig_peek(r, A0000), 0x0f & ~0x33 & 0x55 & ~0xf0);
    vrig_gr(r, 7, 0x01); /* only plane 0 counts */
    assert_int_equal(vrig_peek(r, A0000), 0x0f);
    vrig_gr(r, 7, 0x00); /* none: all match */
    assert_int_equal(vrig_peek(r, A0000), 0xff);
}

static void odd_even_puts_characters_in_plane_0_attributes_in_1(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_03);
    vrig_poke(r, 0xb8004, 'x');
    vrig_poke(r, 0xb8005, 0x1e);
    assert_int_equal(vrig_peek(r, 0xb8004), 'x');
    assert_int_equal(vrig_peek(r, 0xb8005), 0x1e);
    assert_int_equal(vrig_peek(r, 0xa0004), 0xff); /* not in this window */
    vrig_sr(r, 4, 0x06); /* sequential, as to load a font */
    vrig_gr(r, 6, 0x04);
    expect_planes(r, 4, 'x', 0x1e, 0, 0);
}

static void chain_4_spreads_bytes_over_the_planes(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_13);
    for (unsigned i = 0; i < 8; i++)
        vrig_poke(r, A0000 + i, (uint8_t)(0x10 + i));
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(vrig_peek(r, A0000 + i), 0x10 + i);
    vrig_gr(r, 3, 1); /* no plain view now: the same through the planes */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(vrig_peek(r, A0000 + i), 0x10 + i);
    vrig_sr(r, 2, 0x01); /* only plane 0 */
    vrig_gr(r, 3, 0);
    vrig_poke(r, A0000 + 4, 0xee);
    vrig_poke(r, A0000 + 5, 0xee);
    assert_int_equal(vrig_peek(r, A0000 + 4), 0xee);
    assert_int_equal(vrig_peek(r, A0000 + 5), 0x15);
}

static void chain_4_window_is_plain_memory(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    assert_null(mem_find(r->vm, A0000)->host);
    vrig_set_mode(r, &vrig_mode_13);
    assert_non_null(mem_find(r->vm, A0000)->host);
    assert_null(mem_find(r->vm, 0xb8000)->host);
    vrig_sr(r, 4, 0x06); /* mode X */
    assert_null(mem_find(r->vm, A0000)->host);
}

static void memory_is_not_there_while_disabled(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_13);
    vrig_poke(r, A0000, 0x42);
    rig_out(r->base, 0x3c2, 0x61); /* RAM enable off */
    assert_int_equal(vrig_peek(r, A0000), 0xff);
    vrig_poke(r, A0000, 0x43);
    rig_out(r->base, 0x3c2, 0x63);
    assert_int_equal(vrig_peek(r, A0000), 0x42);
}

/* 25.175 MHz, 800 dots, 449 lines: about 70 Hz; sync at lines 412 and 413 */
static void retrace_comes_70_times_a_second_of_guest_time(void **state)
{
    struct vrig *r = *state;
    unsigned rises = 0;
    bool was = false;

    vrig_set_mode(r, &vrig_mode_13);
    for (unsigned i = 0; i < 50000; i++) { /* one second in 20 us steps */
        bool now = (rig_in(r->base, 0x3da) & 8) != 0;
        if (now && !was) rises++;
        was = now;
        rig_advance(r->base, 20000);
    }
    assert_in_range(rises, 69, 71);
}

static void state_survives_a_round_trip(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    prepare(r, 0);
    vrig_dac(r, 3, 1, 2, 3);
    vrig_vbe(r, 1, 640);
    rig_round_trip(r->base);
}

static void fill(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)p)[i] = (uint8_t)rand();
}

/* What a snapshot can hold: any value the state table lets through. */
static void loaded_registers_of_any_value_are_drawn(void **state)
{
    struct vrig *r = *state;
    struct vga *v = r->vga->s;
    struct err e = ERR_INIT;

    srand(2);
    for (unsigned i = 0; i < 400; i++) {
        fill(v->cr, sizeof(v->cr));
        fill(v->sr, sizeof(v->sr));
        fill(v->gr, sizeof(v->gr));
        fill(v->ar, sizeof(v->ar));
        fill(v->vbe, sizeof(v->vbe));
        fill(&v->cr_index, 1);
        v->misc = (uint8_t)rand();
        v->ar_index = rand() & 0x3f;
        v->vbe[VBE_ID] = VBE_ID0;
        if (i % 3 != 0) v->vbe[VBE_ENABLE] &= (uint16_t)~VBE_ENABLED;
        assert_int_equal(r->vga->cls->loaded(r->vga, 1, &e), 0);
        display_refresh_locked(r->display);
        vrig_poke(r, A0000 + (rand() & 0x1ffff), 0x55);
        vrig_peek(r, A0000 + (rand() & 0x1ffff));
        rig_in(r->base, 0x3da);
        rig_in(r->base, 0x3d5);
    }
    assert_true(display_surface(r->display)->height_px <= 4096);
    v->vbe[VBE_ID] = 0x1234;
    assert_int_equal(r->vga->cls->loaded(r->vga, 1, &e), -EINVAL);
}

static void registers_at_random_never_hurt(void **state)
{
    static const unsigned ports[] = { 0x3c0, 0x3c2, 0x3c4, 0x3c5, 0x3c6,
                                      0x3c7, 0x3c8, 0x3c9, 0x3ce, 0x3cf,
                                      0x3d4, 0x3d5, 0x3b4, 0x3b5, 0x3da };
    struct vrig *r = *state;
    uint8_t buf[64] = { 0 };

    srand(1);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned x = (unsigned)rand();
        unsigned v = (unsigned)rand() >> 7;
        switch (x & 15) {
        case 0: vrig_vbe(r, v >> 16 & 15, v & 0xffff); break;
        case 1: vrig_vbe(r, 4, v & 0xff); break;
        case 2: vrig_poke(r, A0000 + (v & 0x1ffff), (uint8_t)i); break;
        case 3:
            mem_write_locked(r->vm, A0000 + (v & 0x1ffff), buf,
                             1 + (v >> 18 & 63));
            break;
        case 4:
            mem_read_locked(r->vm, A0000 + (v & 0x1ffff), buf,
                            1 + (v >> 18 & 63));
            break;
        case 5:
            if (v % 50 == 0) r->vga->cls->reset(r->vga);
            if (v % 50 == 1) vrig_set_mode(r, &vrig_mode_12);
            if (v % 50 == 2) vrig_ar(r, 0x10, v >> 8 & 0xff);
            break;
        case 6:
            if (v % 16 == 0) display_refresh_locked(r->display);
            break;
        default:
            rig_out(r->base, ports[v % 15], v >> 8 & 0xff);
            rig_in(r->base, 0x3b0 + (v >> 16) % 0x30);
            break;
        }
    }
    display_refresh_locked(r->display);
    assert_true(display_surface(r->display)->width_px <= 4096);
}

#define T(f) cmocka_unit_test_setup_teardown(f, vrig_setup, vrig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(crtc_registers_0_to_7_are_write_protected_by_bit_7_of_11),
        T(crtc_moves_to_3b4_in_monochrome),
        T(attribute_flip_flop_is_reset_by_reading_status_1),
        T(dac_steps_through_components_and_indices),
        T(dac_keeps_8_bits_when_vbe_asks_for_them),
        T(map_mask_selects_planes),
        T(write_mode_0_rotates_sets_combines_and_masks),
        T(write_mode_1_copies_the_latches),
        T(write_mode_2_writes_a_colour_under_the_bit_mask),
        T(write_mode_3_uses_data_as_bit_mask_for_set_reset),
        T(read_mode_1_compares_colours),
        T(odd_even_puts_characters_in_plane_0_attributes_in_1),
        T(chain_4_spreads_bytes_over_the_planes),
        T(chain_4_window_is_plain_memory),
        T(memory_is_not_there_while_disabled),
        T(retrace_comes_70_times_a_second_of_guest_time),
        T(state_survives_a_round_trip),
        T(loaded_registers_of_any_value_are_drawn),
        T(registers_at_random_never_hurt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
