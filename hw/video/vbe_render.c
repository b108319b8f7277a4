/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VBE modes to pixels: planar 4 bits, and linear 8, 15, 16, 24 and 32. */
#include <string.h>

#include "hw/video/vga_draw.h"

static void draw_vbe_planar(struct vga_frame *f, const struct vbe_mode *m,
                            int y)
{
    struct vga *v = f->v;
    uint32_t a = m->start_offset + (uint32_t)y * m->pitch_bytes;
    uint32_t *px = v->line;

    for (uint32_t x = 0; x < m->width_px + 8; x += 8, px += 8)
        vga_draw_indices(v, px, vga_planar_indices(v, vga_vram(v, a++ * 4)));
    vga_put_line(f, y, v->line + m->pan_px);
}

/* The octets of a line; copied together when it wraps at the end of VRAM. */
static const uint8_t *line_octets(struct vga *v, uint32_t offset,
                                  uint32_t bytes)
{
    uint32_t first;

    offset &= VGA_VRAM_MASK;
    if (bytes > sizeof(v->raw)) bytes = sizeof(v->raw);
    if (offset + bytes <= VGA_VRAM_BYTES) return v->vram + offset;
    first = VGA_VRAM_BYTES - offset;
    memcpy(v->raw, v->vram + offset, first);
    memcpy(v->raw + first, v->vram, bytes - first);
    return v->raw;
}

static uint32_t expand(unsigned x, unsigned bits)
{
    x &= (1u << bits) - 1;
    return x << (8 - bits) | x >> (2 * bits - 8);
}

static void convert_16(uint32_t *px, const uint8_t *s, uint32_t n, bool is_15)
{
    for (uint32_t i = 0; i < n; i++, s += 2) {
        unsigned x = s[0] | (unsigned)s[1] << 8;
        if (is_15)
            px[i] = expand(x >> 10, 5) << 16 | expand(x >> 5, 5) << 8 |
                    expand(x, 5);
        else
            px[i] = expand(x >> 11, 5) << 16 | expand(x >> 5, 6) << 8 |
                    expand(x, 5);
    }
}

static void draw_vbe_linear(struct vga_frame *f, const struct vbe_mode *m,
                            int y)
{
    struct vga *v = f->v;
    uint32_t n = m->width_px, octets = (m->bpp + 7) / 8;
    const uint8_t *s = line_octets(
        v, m->start_offset + (uint32_t)y * m->pitch_bytes, n * octets);

    switch (m->bpp) {
    case 8:
        for (uint32_t i = 0; i < n; i++)
            v->line[i] = v->palette[s[i]];
        break;
    case 15:
    case 16: convert_16(v->line, s, n, m->bpp == 15); break;
    case 24:
        for (uint32_t i = 0; i < n; i++, s += 3)
            v->line[i] = s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16;
        break;
    default: /* a 32-bit line starts at a multiple of 4 */
        vga_put_line(f, y, (const uint32_t *)(const void *)s);
        return;
    }
    vga_put_line(f, y, v->line);
}

void vbe_refresh(struct vga_frame *f, bool is_blank)
{
    struct vbe_mode m;

    vbe_get_mode(f->v, &m);
    f->v->cache.hash = 0;
    display_text(f->v->display)->is_text = false;
    if (!vga_set_size(f, (int)m.width_px, (int)m.height_px)) return;
    if (is_blank) {
        vga_put_black(f);
        return;
    }
    for (int y = 0; y < f->s->height_px; y++) {
        if (m.bpp == 4)
            draw_vbe_planar(f, &m, y);
        else
            draw_vbe_linear(f, &m, y);
    }
    vga_flush_dirty(f);
}
