/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Video memory to picture.
 *
 * Every refresh draws each scan line the way the hardware would (address
 * counter, row scan counter, shift registers, attribute controller, DAC)
 * into a line buffer and compares it with the surface; only what differs is
 * copied and reported.  So no write to video memory has to be tracked, and
 * no combination of registers can leave the picture stale.  A text screen is
 * drawn only when a character, attribute, glyph, register or blink phase
 * changed.
 *
 * All sizes come from 8- to 10-bit registers or from vbe_get_mode(); all
 * addresses are masked in vga_vram().  Source: FreeVGA ("VGA Display
 * Generation") and IBM's register descriptions.
 */
#include <string.h>

#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/video/vga_draw.h"

/* Blink periods: 16 and 32 frames at 70 Hz */
enum { CURSOR_HALF_NS = 228571429, CHAR_HALF_NS = 457142857 };

/* -------------------------------------------------------------- the surface */

void vga_flush_dirty(struct vga_frame *f)
{
    if (f->dirty.h > 0) display_damage(f->v->display, f->dirty);
    f->dirty = (struct rect){ 0, 0, 0, 0 };
}

void vga_put_line(struct vga_frame *f, int y, const uint32_t *px)
{
    uint32_t *dst = f->s->px + (size_t)y * (size_t)f->s->stride_px;
    int x0 = 0, x1 = f->s->width_px, right;

    if (f->is_full) {
        memcpy(dst, px, (size_t)x1 * sizeof(*px));
        return; /* the hub reports the whole surface */
    }
    if (memcmp(dst, px, (size_t)x1 * sizeof(*px)) == 0) {
        vga_flush_dirty(f);
        return;
    }
    while (dst[x0] == px[x0])
        x0++;
    while (dst[x1 - 1] == px[x1 - 1])
        x1--;
    memcpy(dst + x0, px + x0, (size_t)(x1 - x0) * sizeof(*px));
    if (f->dirty.h == 0) {
        f->dirty = (struct rect){ x0, y, x1 - x0, 1 };
        return;
    }
    right = f->dirty.x + f->dirty.w;
    if (x1 > right) right = x1;
    if (x0 < f->dirty.x) f->dirty.x = x0;
    f->dirty.w = right - f->dirty.x;
    f->dirty.h++;
}

bool vga_set_size(struct vga_frame *f, int width_px, int height_px)
{
    if (f->s->width_px == width_px && f->s->height_px == height_px) return true;
    if (display_resize(f->v->display, width_px, height_px) < 0) return false;
    f->s = display_surface(f->v->display);
    f->is_full = true;
    return true;
}

void vga_put_black(struct vga_frame *f)
{
    memset(f->v->line, 0, (size_t)f->s->width_px * sizeof(uint32_t));
    for (int y = 0; y < f->s->height_px; y++)
        vga_put_line(f, y, f->v->line);
    vga_flush_dirty(f);
}

/* ------------------------------------------------------------------ colours */

static void make_palette(struct vga *v)
{
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t *c = &v->dac[(i & v->dac_mask) * 3];
        v->palette[i] = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    }
    for (unsigned i = 0; i < 16; i++) {
        unsigned c = v->ar[i & v->ar[0x12]];
        if (v->ar[0x10] & AR10_SELECT)
            c = (c & 0x0f) | (v->ar[0x14] & 0x03u) << 4;
        c |= (v->ar[0x14] & 0x0cu) << 4;
        v->colour[i] = v->palette[c & 0xff];
    }
}

/* --------------------------------------------------------------- addresses */

static uint32_t start_address(const struct vga *v)
{
    return (uint32_t)v->cr[0x0c] << 8 | v->cr[0x0d];
}

void vga_scan_init(const struct vga *v, struct vga_scan *n)
{
    *n = (struct vga_scan){
        .base = start_address(v) + (v->cr[8] >> 5 & 3u),
        .pitch = v->cr[0x13] * 2u,
        .row_scan = v->cr[8] & 0x1f,
        .max_row_scan = v->cr[9] & 0x1f,
        .split_line =
            v->cr[0x18] | (v->cr[7] & 0x10u) << 4 | (v->cr[9] & 0x40u) << 3,
        .is_doubled = (v->cr[9] & CR9_DOUBLE) != 0,
        .is_new_row = true,
    };
}

/* Line y is done. */
void vga_scan_next(struct vga_scan *n, unsigned y)
{
    n->is_new_row = false;
    if (y == n->split_line) {
        n->base = 0;
        n->row_scan = 0;
        n->is_repeat = false;
        n->is_split = n->is_new_row = true;
        return;
    }
    if (n->is_doubled) {
        n->is_repeat = !n->is_repeat;
        if (n->is_repeat) return;
    }
    if (n->row_scan == n->max_row_scan) {
        n->row_scan = 0;
        n->base += n->pitch;
        n->is_new_row = true;
    } else {
        n->row_scan = (n->row_scan + 1) & 0x1f;
    }
}

/* Address counter to plane offset ("CRTC Mode Control Register").  Chain-4
 * memory is kept dense: see vga_int.h. */
uint32_t vga_plane_offset(const struct vga *v, uint32_t counter,
                          unsigned row_scan)
{
    bool is_chain4 = (v->sr[4] & SR4_CHAIN4) != 0;
    uint32_t a = counter;

    if (v->cr[0x14] & CR14_DWORD) {
        if (is_chain4) return counter & VGA_PLANE_MASK;
        a = counter << 2 | (counter >> 12 & 3);
    } else if ((v->cr[0x17] & CR17_BYTE) == 0) {
        unsigned wrap = v->cr[0x17] & CR17_WRAP_15 ? 15 : 13;
        a = counter << 1 | (counter >> wrap & 1);
    }
    if ((v->cr[0x17] & CR17_ROW_BIT13) == 0)
        a = (a & ~0x2000u) | (row_scan & 1) << 13;
    if ((v->cr[0x17] & CR17_ROW_BIT14) == 0)
        a = (a & ~0x4000u) | (row_scan >> 1 & 1) << 14;
    if (is_chain4) a >>= 2;
    return a & VGA_PLANE_MASK;
}

int vga_shown_columns(const struct vga *v)
{
    return v->cr[1] + 1;
}

int vga_shown_lines(const struct vga *v)
{
    return (v->cr[0x12] | (v->cr[7] & 0x02) << 7 | (v->cr[7] & 0x40) << 3) + 1;
}

/* ----------------------------------------------------------- graphics modes */

void vga_draw_indices(struct vga *v, uint32_t *px, uint64_t indices)
{
    for (unsigned i = 0; i < 8; i++, indices >>= 8)
        px[i] = v->colour[indices & 15];
}

uint64_t vga_planar_indices(const struct vga *v, const uint8_t m[4])
{
    return v->spread[m[0]] | v->spread[m[1]] << 1 | v->spread[m[2]] << 2 |
           v->spread[m[3]] << 3;
}

/* GR5 bit 5: planes 0 and 2 hold the first four pixels, 1 and 3 the rest;
 * two bits of each plane a pixel. */
static uint64_t interleaved_indices(const uint8_t m[4])
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = 6 - 2 * (i & 3), p = i >> 2;
        unsigned index = (m[p] >> shift & 3) | (m[p + 2] >> shift & 3) << 2;
        out |= (uint64_t)index << 8 * i;
    }
    return out;
}

static void draw_graphics_line(struct vga *v, const struct vga_scan *n)
{
    int cols = vga_shown_columns(v);
    unsigned slow = v->cr[0x14] & CR14_COUNT_BY_4   ? 2
                    : v->cr[0x17] & CR17_COUNT_BY_2 ? 1
                                                    : 0;

    for (int i = 0; i <= cols; i++) {
        uint32_t counter = (n->base + ((uint32_t)i >> slow)) & 0xffff;
        uint32_t a = vga_plane_offset(v, counter, n->row_scan);
        const uint8_t *m = vga_vram(v, a * 4);
        uint32_t *px = v->line + i * 8;

        if (v->gr[5] & GR5_256) {
            for (unsigned k = 0; k < 8; k++)
                px[k] = v->palette[m[k / 2]];
        } else if (v->gr[5] & GR5_INTERLEAVE) {
            vga_draw_indices(v, px, interleaved_indices(m));
        } else {
            vga_draw_indices(v, px, vga_planar_indices(v, m));
        }
    }
}

static unsigned graphics_pan(const struct vga *v)
{
    return v->gr[5] & GR5_256 ? v->ar[0x13] & 6 : v->ar[0x13] & 7;
}

/* ------------------------------------------------------------ VGA as a whole */

static const uint32_t *double_dots(struct vga *v, const uint32_t *px,
                                   int width_px)
{
    for (int x = 0; x < width_px; x++)
        v->wide[x] = px[x / 2];
    return v->wide;
}

static void draw_vga(struct vga_frame *f, bool is_text, unsigned phase)
{
    struct vga *v = f->v;
    unsigned pan = is_text ? vga_text_pan(v) : graphics_pan(v);
    bool is_half = (v->sr[1] & SR1_HALF_CLOCK) != 0;
    struct vga_scan n;

    vga_scan_init(v, &n);
    for (int y = 0; y < f->s->height_px; y++) {
        const uint32_t *px = v->line + pan;
        if (n.is_split && (v->ar[0x10] & AR10_PAN_COMPAT)) px = v->line;
        if (is_text)
            vga_draw_text_line(v, &n, phase);
        else if (!n.is_repeat)
            draw_graphics_line(v, &n);
        if (is_half) px = double_dots(v, px, f->s->width_px);
        vga_put_line(f, y, px);
        vga_scan_next(&n, (unsigned)y);
    }
    vga_flush_dirty(f);
}

static void refresh_vga(struct vga_frame *f, bool is_blank)
{
    struct vga *v = f->v;
    struct text_screen *t = display_text(v->display);
    bool is_text = (v->gr[6] & GR6_GRAPHICS) == 0;
    int width_px = vga_shown_columns(v) * (is_text ? vga_char_width(v) : 8);
    uint64_t now_ns = clock_now_ns(v->pci.d->vm);
    unsigned phase = (unsigned)(now_ns / CURSOR_HALF_NS & 1) |
                     (unsigned)(now_ns / CHAR_HALF_NS & 1) << 1;
    bool changed;

    if (v->sr[1] & SR1_HALF_CLOCK) width_px *= 2;
    if (width_px > VGA_MAX_WIDTH_PX) width_px = VGA_MAX_WIDTH_PX;
    if (!vga_set_size(f, width_px, vga_shown_lines(v))) return;
    if (is_blank) {
        v->cache.hash = 0;
        if (is_text)
            vga_clear_text(t, vga_shown_columns(v),
                           vga_shown_lines(v) / ((v->cr[9] & 0x1f) + 1));
        else
            t->is_text = false;
        vga_put_black(f);
        return;
    }
    if (is_text) {
        changed = vga_registers_changed(v, phase);
        changed |= vga_fonts_changed(v);
        changed |= vga_read_text(v, t);
        if (!changed && !f->is_full) return;
    } else {
        v->cache.hash = 0;
        t->is_text = false;
    }
    draw_vga(f, is_text, phase);
}

void vga_render_init(struct vga *v)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t x = 0;
        for (unsigned k = 0; k < 8; k++)
            x |= (uint64_t)(i >> (7 - k) & 1) << 8 * k;
        v->spread[i] = x;
    }
}

void vga_refresh(void *arg, bool is_full)
{
    struct vga *v = arg;
    struct vga_frame f = { .v = v, .is_full = is_full };
    bool is_blank = (v->ar_index & AR_DISPLAY_ENABLE) == 0 ||
                    (v->sr[1] & SR1_SCREEN_OFF) != 0;

    f.s = display_surface(v->display);
    make_palette(v);
    if (vga_is_vbe(v)) {
        vbe_refresh(&f, is_blank);
    } else if ((v->cr[0x17] & CR17_RUN) == 0) {
        /* the CRTC stands still: no picture at all */
        v->cache.hash = 0;
        vga_clear_text(display_text(v->display), 80, 25);
        if (vga_set_size(&f, 720, 400)) vga_put_black(&f);
    } else {
        refresh_vga(&f, is_blank);
    }
}
