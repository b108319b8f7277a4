/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw support block core */
/*
 * From video memory to pixels: text modes with loadable fonts, planar,
 * chain-4, mode X and CGA modes, VBE modes in every depth.  Expected pixels
 * follow from the register descriptions (FreeVGA) and the Bochs VBE
 * interface.
 */
#include "tests/unit/support/video_rig.h"

#include <string.h>

#include "core/vm/mem.h"
#include "core/vm/vm.h"

enum { TEXT = 0xb8000, A0000 = 0xa0000 };
enum { BLUE = 0x0000aa, RED = 0xaa0000, WHITE = 0xffffff, GREY = 0xaaaaaa };

/* The attribute palette of mode 3 maps 0-5, 7 to DAC 0-5, 7 and 6 to 0x14,
 * 8-15 to 0x38-0x3f. */
static void text_colours(struct vrig *r)
{
    vrig_dac(r, 0, 0, 0, 0);
    vrig_dac(r, 1, 0, 0, 0x2a);
    vrig_dac(r, 4, 0x2a, 0, 0);
    vrig_dac(r, 7, 0x2a, 0x2a, 0x2a);
    vrig_dac(r, 0x3f, 0x3f, 0x3f, 0x3f);
    vrig_dac(r, 0x3c, 0x3f, 0x15, 0x15);
}

/* Write a glyph of 16 equal rows into font block n as the BIOS does. */
static void load_glyph(struct vrig *r, unsigned block, unsigned ch,
                       uint8_t bits)
{
    static const unsigned offset[8] = { 0x0000, 0x4000, 0x8000, 0xc000,
                                        0x2000, 0x6000, 0xa000, 0xe000 };

    vrig_sr(r, 2, 0x04);
    vrig_sr(r, 4, 0x06);
    vrig_gr(r, 5, 0x00);
    vrig_gr(r, 6, 0x04);
    for (unsigned i = 0; i < 16; i++)
        vrig_poke(r, A0000 + offset[block] + ch * 32 + i, bits);
    vrig_sr(r, 2, 0x03);
    vrig_sr(r, 4, 0x02);
    vrig_gr(r, 5, 0x10);
    vrig_gr(r, 6, 0x0e);
}

static void put_cell(struct vrig *r, unsigned at, uint8_t ch, uint8_t attr)
{
    vrig_poke(r, TEXT + at * 2, ch);
    vrig_poke(r, TEXT + at * 2 + 1, attr);
}

static void text_mode(struct vrig *r)
{
    vrig_set_mode(r, &vrig_mode_03);
    text_colours(r);
    vrig_cr(r, 0x0a, 0x20); /* no cursor */
    load_glyph(r, 0, 'A', 0x81);
    load_glyph(r, 0, 0xc4, 0xff);
    load_glyph(r, 0, 0xdb, 0xff);
}

static void text_is_720_by_400_with_9_dots_a_cell(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 81, 'A', 0x17); /* row 1, column 1: grey on blue */
    assert_int_equal(vrig_pixel(r, 9, 16), GREY);
    assert_int_equal(vrig_pixel(r, 10, 16), BLUE);
    assert_int_equal(vrig_pixel(r, 16, 31), GREY);
    assert_int_equal(vrig_pixel(r, 17, 31), BLUE); /* the ninth dot */
    assert_int_equal(vrig_pixel(r, 9, 15), 0);
    assert_int_equal(display_surface(r->display)->width_px, 720);
    assert_int_equal(display_surface(r->display)->height_px, 400);
}

static void line_characters_fill_the_ninth_dot(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 0, 0xc4, 0x07);
    put_cell(r, 2, 0xe1, 0x07); /* not in 0xc0-0xdf */
    load_glyph(r, 0, 0xe1, 0xff);
    assert_int_equal(vrig_pixel(r, 8, 0), GREY);
    assert_int_equal(vrig_pixel(r, 25, 0), GREY);
    assert_int_equal(vrig_pixel(r, 26, 0), 0);
    vrig_ar(r, 0x10, 0x08); /* line graphics off */
    assert_int_equal(vrig_pixel(r, 8, 0), 0);
}

static void eight_dot_cells_make_640_pixels(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    vrig_sr(r, 1, 0x01);
    vrig_ar(r, 0x13, 0);
    put_cell(r, 1, 'A', 0x07);
    assert_int_equal(vrig_pixel(r, 8, 0), GREY);
    assert_int_equal(vrig_pixel(r, 15, 0), GREY);
    assert_int_equal(vrig_pixel(r, 16, 0), 0);
    assert_int_equal(display_surface(r->display)->width_px, 640);
}

static void attribute_bit_3_selects_the_second_font(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    load_glyph(r, 5, 'A', 0x40);
    vrig_sr(r, 3, 0x20 | 1 << 2); /* A = block 5, B = block 0 */
    put_cell(r, 0, 'A', 0x07);
    put_cell(r, 1, 'A', 0x0f);
    assert_int_equal(vrig_pixel(r, 0, 0), GREY);
    assert_int_equal(vrig_pixel(r, 1, 0), 0);
    assert_int_equal(vrig_pixel(r, 9, 0), 0);
    assert_int_equal(vrig_pixel(r, 10, 0), WHITE);
}

static void text_screen_tells_characters_attributes_and_cursor(void **state)
{
    struct vrig *r = *state;
    const struct text_screen *t = display_text(r->display);

    text_mode(r);
    put_cell(r, 3 * 80 + 7, 'x', 0x4e);
    vrig_cr(r, 0x0a, 0x0d);
    vrig_cr(r, 0x0e, 0);
    vrig_cr(r, 0x0f, 3 * 80 + 8);
    display_refresh_locked(r->display);
    assert_true(t->is_text);
    assert_int_equal(t->cols, 80);
    assert_int_equal(t->rows, 25);
    assert_int_equal(t->ch[3][7], 'x');
    assert_int_equal(t->attr[3][7], 0x4e);
    assert_int_equal(t->cursor_col, 8);
    assert_int_equal(t->cursor_row, 3);
    assert_int_equal(t->palette[4] & 0xffffff, RED);
    assert_true(t->has_blink);
    vrig_cr(r, 0x0a, 0x2d);
    display_refresh_locked(r->display);
    assert_int_equal(t->cursor_row, -1);
}

static void cursor_is_drawn_between_its_lines_and_blinks(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 2, ' ', 0x07);
    vrig_cr(r, 0x0a, 0x0d);
    vrig_cr(r, 0x0f, 2);
    assert_int_equal(vrig_pixel(r, 18, 12), 0);
    assert_int_equal(vrig_pixel(r, 18, 13), GREY);
    assert_int_equal(vrig_pixel(r, 26, 14), GREY);
    assert_int_equal(vrig_pixel(r, 18, 15), 0);
    rig_advance(r->base, 240000000); /* 16 frames later */
    assert_int_equal(vrig_pixel(r, 18, 13), 0);
}

static void attribute_bit_7_blinks_or_brightens(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 0, 0xdb, 0x97);
    assert_int_equal(vrig_pixel(r, 3, 3), GREY);
    rig_advance(r->base, 500000000);
    assert_int_equal(vrig_pixel(r, 3, 3), BLUE); /* off: background */
    vrig_ar(r, 0x10, 0x04);
    put_cell(r, 0, ' ', 0xc7);
    assert_int_equal(vrig_pixel(r, 3, 3), 0xff5555);
}

static void start_address_scrolls_and_line_compare_splits(void **state)
{
    struct vrig *r = *state;
    const struct text_screen *t = display_text(r->display);

    text_mode(r);
    put_cell(r, 0, 'a', 7);
    put_cell(r, 80, 'b', 7);
    put_cell(r, 160, 'c', 7);
    vrig_cr(r, 0x0d, 80);
    display_refresh_locked(r->display);
    assert_int_equal(t->ch[0][0], 'b');
    assert_int_equal(t->ch[1][0], 'c');
    vrig_cr(r, 0x11, 0); /* line compare = 15: row 1 on is a second window */
    vrig_cr(r, 0x07, 0x0f);
    vrig_cr(r, 0x09, 0x0f);
    vrig_cr(r, 0x18, 15);
    display_refresh_locked(r->display);
    assert_int_equal(t->ch[0][0], 'b');
    assert_int_equal(t->ch[1][0], 'a');
    assert_int_equal(t->ch[2][0], 'b');
}

static void panning_moves_text_by_dots(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 1, 'A', 0x07); /* dots 9 and 16 */
    vrig_ar(r, 0x13, 2);       /* 9-dot cells: 8 none, 0 one, 2 three */
    assert_int_equal(vrig_pixel(r, 6, 0), GREY);
    assert_int_equal(vrig_pixel(r, 7, 0), 0);
    assert_int_equal(vrig_pixel(r, 13, 0), GREY);
}

static void display_enable_off_blanks_the_screen(void **state)
{
    struct vrig *r = *state;

    text_mode(r);
    put_cell(r, 0, 0xdb, 0x07);
    assert_int_equal(vrig_pixel(r, 0, 0), GREY);
    rig_in(r->base, 0x3da);
    rig_out(r->base, 0x3c0, 0x00);
    assert_int_equal(vrig_pixel(r, 0, 0), 0);
    assert_int_equal(display_text(r->display)->ch[0][0], ' ');
    rig_in(r->base, 0x3da);
    rig_out(r->base, 0x3c0, 0x20);
    assert_int_equal(vrig_pixel(r, 0, 0), GREY);
}

static void planar_mode_takes_a_bit_of_each_plane(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_12);
    text_colours(r);
    vrig_sr(r, 2, 0x04);
    vrig_poke(r, A0000 + 80 * 479 + 79, 0x01); /* red, last pixel */
    vrig_sr(r, 2, 0x01);
    vrig_poke(r, A0000 + 80, 0x80); /* blue, first of line 1 */
    assert_int_equal(vrig_pixel(r, 639, 479), RED);
    assert_int_equal(vrig_pixel(r, 638, 479), 0);
    assert_int_equal(vrig_pixel(r, 0, 1), BLUE);
    assert_int_equal(vrig_pixel(r, 0, 0), 0);
    assert_false(display_text(r->display)->is_text);
    vrig_ar(r, 0x12, 0x0b); /* plane 2 not shown */
    assert_int_equal(vrig_pixel(r, 639, 479), 0);
    vrig_ar(r, 0x12, 0x0f);
    vrig_ar(r, 0x14, 0x01); /* colour select gives bits 5:4 if AR10.7 */
    vrig_ar(r, 0x10, 0x81);
    vrig_dac(r, 0x14, 0, 0x3f, 0);
    assert_int_equal(vrig_pixel(r, 639, 479), 0x00ff00);
}

static void mode_13h_is_320_by_200_of_256_colours_doubled(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_13);
    vrig_dac(r, 200, 0x3f, 0, 0x3f);
    vrig_poke(r, A0000 + 320 * 199 + 318, 200);
    assert_int_equal(vrig_pixel(r, 636, 398), 0xff00ff);
    assert_int_equal(vrig_pixel(r, 637, 399), 0xff00ff);
    assert_int_equal(vrig_pixel(r, 638, 399), 0);
    assert_int_equal(vrig_pixel(r, 636, 397), 0);
    rig_out(r->base, 0x3c6, 0xf7); /* pixel mask: 200 becomes 192 */
    vrig_dac(r, 192, 0, 0x3f, 0);
    assert_int_equal(vrig_pixel(r, 636, 398), 0x00ff00);
}

static void mode_x_pages_flip_by_start_address(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_13);
    vrig_sr(r, 4, 0x06); /* unchained */
    vrig_cr(r, 0x14, 0x00);
    vrig_cr(r, 0x17, 0xe3);
    vrig_dac(r, 9, 0x3f, 0x3f, 0);
    vrig_sr(r, 2, 0x08);                 /* plane 3: pixel 4n + 3 */
    vrig_poke(r, A0000 + 16000 + 81, 9); /* second page, line 1, x = 7 */
    assert_int_equal(vrig_pixel(r, 14, 2), 0);
    vrig_cr(r, 0x0c, 16000 >> 8);
    vrig_cr(r, 0x0d, 16000 & 0xff);
    assert_int_equal(vrig_pixel(r, 14, 2), 0xffff00);
    assert_int_equal(vrig_pixel(r, 13, 2), 0);
    assert_int_equal(vrig_pixel(r, 16, 2), 0);
}

static void cga_mode_4_interleaves_lines_and_packs_two_bits(void **state)
{
    struct vrig *r = *state;

    vrig_set_mode(r, &vrig_mode_04);
    vrig_dac(r, 0x13, 0, 0x3f, 0x3f); /* AR1 */
    vrig_dac(r, 0x15, 0x3f, 0, 0x3f); /* AR2 */
    vrig_dac(r, 0x17, 0x3f, 0x3f, 0x3f);
    vrig_poke(r, TEXT, 0x1b);          /* line 0: pixels 0 1 2 3 */
    vrig_poke(r, TEXT + 1, 0xc0);      /* pixel 4 = 3 */
    vrig_poke(r, TEXT + 0x2000, 0x40); /* line 1: pixel 0 = 1 */
    vrig_poke(r, TEXT + 80, 0x80);     /* line 2: pixel 0 = 2 */
    assert_int_equal(vrig_pixel(r, 0, 0), 0);
    assert_int_equal(vrig_pixel(r, 2, 0), 0x00ffff);
    assert_int_equal(vrig_pixel(r, 5, 1), 0xff00ff);
    assert_int_equal(vrig_pixel(r, 6, 0), WHITE);
    assert_int_equal(vrig_pixel(r, 8, 0), WHITE);
    assert_int_equal(vrig_pixel(r, 10, 0), 0);
    assert_int_equal(vrig_pixel(r, 0, 2), 0x00ffff);
    assert_int_equal(vrig_pixel(r, 1, 5), 0xff00ff);
    assert_int_equal(display_surface(r->display)->width_px, 640);
    assert_int_equal(display_surface(r->display)->height_px, 400);
}

/* ---------------------------------------------------------------------- VBE */

static void vbe_mode(struct vrig *r, unsigned w, unsigned h, unsigned bpp)
{
    vrig_set_mode(r, &vrig_mode_13); /* screen on */
    vrig_map_bars(r);
    vrig_vbe(r, 4, 0);
    vrig_vbe(r, 1, w);
    vrig_vbe(r, 2, h);
    vrig_vbe(r, 3, bpp);
    vrig_vbe(r, 4, 0x41);
}

static void put_bytes(struct vrig *r, uint32_t at, const char *bytes, size_t n)
{
    mem_write_locked(r->vm, VRIG_LFB + at, bytes, n);
}

static void vbe_shows_every_depth(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 800, 600, 32);
    put_bytes(r, (600 - 1) * 3200 + 799 * 4, "\x11\x22\x33\x00", 4);
    assert_int_equal(vrig_pixel(r, 799, 599), 0x332211);
    assert_int_equal(vrig_pixel(r, 798, 599), 0);
    vbe_mode(r, 800, 600, 24);
    put_bytes(r, 2400 + 3, "\x44\x55\x66", 3);
    assert_int_equal(vrig_pixel(r, 1, 1), 0x665544);
    vbe_mode(r, 640, 480, 16); /* 5-6-5 */
    put_bytes(r, 1280 + 2, "\x1f\xf8", 2);
    assert_int_equal(vrig_pixel(r, 1, 1), 0xff00ff);
    put_bytes(r, 1280 + 2, "\xe0\x07", 2);
    assert_int_equal(vrig_pixel(r, 1, 1), 0x00ff00);
    vbe_mode(r, 640, 480, 15); /* 1-5-5-5 */
    put_bytes(r, 1280 + 2, "\x00\x7c", 2);
    assert_int_equal(vrig_pixel(r, 1, 1), 0xff0000);
    vbe_mode(r, 1024, 768, 8);
    vrig_dac(r, 77, 0, 0x3f, 0x3f);
    put_bytes(r, 1024 + 1, "\x4d", 1);
    assert_int_equal(vrig_pixel(r, 1, 1), 0x00ffff);
}

static void vbe_4_bits_are_planes(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 800, 600, 4);
    vrig_set_mode(r, &vrig_mode_12);
    text_colours(r);
    vrig_sr(r, 2, 0x04);
    vrig_poke(r, A0000 + 100 * 599 + 99, 0x01);
    assert_int_equal(vrig_pixel(r, 799, 599), RED);
    assert_int_equal(vrig_pixel(r, 798, 599), 0);
    vrig_vbe(r, 8, 3); /* x offset */
    assert_int_equal(vrig_pixel(r, 796, 599), RED);
}

static void vbe_virtual_screens_scroll(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 640, 480, 32);
    vrig_vbe(r, 6, 1024);
    assert_int_equal(vrig_vbe_get(r, 6), 1024);
    assert_int_equal(vrig_vbe_get(r, 7), (16 << 20) / 4096);
    put_bytes(r, 700 * 4096 + 300 * 4, "\x00\x00\xff\x00", 4);
    vrig_vbe(r, 8, 200);
    vrig_vbe(r, 9, 690);
    assert_int_equal(vrig_pixel(r, 100, 10), 0xff0000);
}

static void vbe_bank_moves_the_legacy_window(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 1024, 768, 8);
    vrig_dac(r, 5, 0, 0, 0x3f);
    vrig_vbe(r, 5, 3);
    vrig_poke(r, A0000 + 17, 5); /* 3 * 65536 + 17 = line 192, x = 17 */
    assert_int_equal(vrig_pixel(r, 17, 192), 0x0000ff);
    vrig_vbe(r, 5, 0);
    assert_int_equal(vrig_peek(r, A0000 + 17), 0);
    assert_non_null(mem_find(r->vm, A0000)->host);
}

static void vbe_enable_clears_memory_unless_told_not_to(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 640, 480, 32);
    put_bytes(r, 64, "\x01\x02\x03", 3);
    vrig_vbe(r, 4, 0);
    vrig_vbe(r, 4, 0xc1);
    assert_int_equal(vrig_pixel(r, 16, 0), 0x030201);
    vrig_vbe(r, 4, 0);
    vrig_vbe(r, 4, 0x41);
    assert_int_equal(vrig_pixel(r, 16, 0), 0);
}

static void vbe_registers_tell_identity_limits_and_memory(void **state)
{
    struct vrig *r = *state;

    assert_int_equal(vrig_vbe_get(r, 0), 0xb0c5);
    vrig_vbe(r, 0, 0xb0c0);
    assert_int_equal(vrig_vbe_get(r, 0), 0xb0c0);
    vrig_vbe(r, 0, 0x1234);
    assert_int_equal(vrig_vbe_get(r, 0), 0xb0c0);
    assert_int_equal(vrig_vbe_get(r, 10), 256); /* 16 MiB */
    vrig_vbe(r, 1, 640);
    vrig_vbe(r, 4, 2); /* get capabilities */
    assert_int_equal(vrig_vbe_get(r, 1), 4096);
    assert_int_equal(vrig_vbe_get(r, 3), 32);
    vrig_vbe(r, 4, 0);
    assert_int_equal(vrig_vbe_get(r, 1), 640);
    assert_int_equal(vrig_vbe_get(r, 0xffff), 0);
}

/* Offsets that leave VRAM wrap, heights that do not fit are cut. */
static void vbe_pictures_beyond_memory_are_clipped(void **state)
{
    struct vrig *r = *state;

    vbe_mode(r, 4096, 4096, 32);
    vrig_pixel(r, 4095, 1023);
    assert_int_equal(display_surface(r->display)->height_px, 1024);
    vrig_vbe(r, 8, 65535);
    vrig_vbe(r, 9, 65535);
    vrig_pixel(r, 0, 0);
    vbe_mode(r, 4095, 4096, 24);
    vrig_vbe(r, 6, 65535);
    vrig_vbe(r, 9, 85); /* the last line crosses the end of memory */
    vrig_pixel(r, 0, 0);
    vbe_mode(r, 4096, 4096, 4);
    vrig_vbe(r, 8, 65535);
    vrig_vbe(r, 9, 65535);
    vrig_pixel(r, 4095, 0);
}

static void bar_2_holds_edid_ports_dispi_and_extensions(void **state)
{
    struct vrig *r = *state;
    uint8_t edid[128], sum = 0;
    uint16_t id;

    vrig_map_bars(r);
    mem_read_locked(r->vm, VRIG_REGS, edid, sizeof(edid));
    assert_memory_equal(edid, "\0\xff\xff\xff\xff\xff\xff\0", 8);
    for (unsigned i = 0; i < 128; i++)
        sum = (uint8_t)(sum + edid[i]);
    assert_int_equal(sum, 0);
    assert_int_equal(edid[56] | (edid[58] & 0xf0) << 4, 1280);
    assert_int_equal(edid[59] | (edid[61] & 0xf0) << 4, 800);
    mem_read_locked(r->vm, VRIG_REGS + 0x500, &id, 2);
    assert_int_equal(id, 0xb0c5);
    vrig_poke(r, VRIG_REGS + 0x408, 0x12); /* port 0x3c8 */
    assert_int_equal(rig_in(r->base, 0x3c8), 0x12);
    assert_int_equal(rig_read32(r->base, VRIG_REGS + 0x600), 8);
    assert_int_equal(rig_read32(r->base, VRIG_REGS + 0x604), 0x1e1e1e1e);
}

#define T(f) cmocka_unit_test_setup_teardown(f, vrig_setup, vrig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(text_is_720_by_400_with_9_dots_a_cell),
        T(line_characters_fill_the_ninth_dot),
        T(eight_dot_cells_make_640_pixels),
        T(attribute_bit_3_selects_the_second_font),
        T(text_screen_tells_characters_attributes_and_cursor),
        T(cursor_is_drawn_between_its_lines_and_blinks),
        T(attribute_bit_7_blinks_or_brightens),
        T(start_address_scrolls_and_line_compare_splits),
        T(panning_moves_text_by_dots),
        T(display_enable_off_blanks_the_screen),
        T(planar_mode_takes_a_bit_of_each_plane),
        T(mode_13h_is_320_by_200_of_256_colours_doubled),
        T(mode_x_pages_flip_by_start_address),
        T(cga_mode_4_interleaves_lines_and_packs_two_bits),
        T(vbe_shows_every_depth),
        T(vbe_4_bits_are_planes),
        T(vbe_virtual_screens_scroll),
        T(vbe_bank_moves_the_legacy_window),
        T(vbe_enable_clears_memory_unless_told_not_to),
        T(vbe_registers_tell_identity_limits_and_memory),
        T(vbe_pictures_beyond_memory_are_clipped),
        T(bar_2_holds_edid_ports_dispi_and_extensions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
