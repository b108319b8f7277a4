/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bochs VBE extensions: the "dispi" interface at ports 0x1ce/0x1cf and in
 * BAR 2.  Source: Bochs documentation, "VBE DISPI interface" (vbe_display_api).
 *
 * Registers keep what the guest wrote, within 16 bits; what is shown is
 * worked out at the use site by vbe_get_mode(), which clips everything, so no
 * order of writes can make an unsafe mode.
 */
#include <string.h>

#include "hw/video/vga_int.h"

static uint32_t clamp(uint32_t x, uint32_t lo, uint32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static unsigned valid_bpp(unsigned bpp)
{
    switch (bpp) {
    case 4:
    case 15:
    case 16:
    case 24:
    case 32: return bpp;
    default: return 8;
    }
}

/* Octets of n pixels; bpp 4: in one plane. */
static uint32_t line_bytes(unsigned bpp, uint32_t width_px)
{
    switch (bpp) {
    case 4: return (width_px + 7) / 8;
    case 8: return width_px;
    case 15:
    case 16: return width_px * 2;
    case 24: return width_px * 3;
    default: return width_px * 4;
    }
}

static uint32_t plane_or_vram_bytes(unsigned bpp)
{
    return bpp == 4 ? VGA_VRAM_BYTES / 4 : VGA_VRAM_BYTES;
}

static uint32_t virt_width(const struct vga *v)
{
    uint32_t xres = clamp(v->vbe[VBE_XRES], 1, VBE_MAX_XRES);
    uint32_t w = v->vbe[VBE_VIRT_WIDTH];

    return w < xres ? xres : w;
}

void vbe_get_mode(const struct vga *v, struct vbe_mode *m)
{
    uint32_t total, lines;

    m->bpp = valid_bpp(v->vbe[VBE_BPP]);
    m->width_px = clamp(v->vbe[VBE_XRES], 1, VBE_MAX_XRES);
    m->height_px = clamp(v->vbe[VBE_YRES], 1, VBE_MAX_YRES);
    m->pitch_bytes = line_bytes(m->bpp, virt_width(v));
    total = plane_or_vram_bytes(m->bpp);
    lines = total / m->pitch_bytes; /* >= 16 MiB / (64 Ki * 4) = 64 */
    if (m->height_px > lines) m->height_px = lines;
    m->start_offset = v->vbe[VBE_Y_OFFSET] * m->pitch_bytes;
    m->pan_px = 0;
    if (m->bpp == 4) {
        m->start_offset += v->vbe[VBE_X_OFFSET] / 8u;
        m->pan_px = v->vbe[VBE_X_OFFSET] & 7;
    } else {
        m->start_offset += line_bytes(m->bpp, v->vbe[VBE_X_OFFSET]);
    }
}

void vbe_reset(struct vga *v)
{
    memset(v->vbe, 0, sizeof(v->vbe));
    v->vbe_index = 0;
    v->vbe[VBE_ID] = VBE_ID_LAST;
    v->vbe[VBE_BPP] = 8;
}

uint16_t vbe_read(struct vga *v, unsigned index)
{
    bool is_caps = (v->vbe[VBE_ENABLE] & VBE_GETCAPS) != 0;

    switch (index) {
    case VBE_XRES: return is_caps ? VBE_MAX_XRES : v->vbe[VBE_XRES];
    case VBE_YRES: return is_caps ? VBE_MAX_YRES : v->vbe[VBE_YRES];
    case VBE_BPP: return is_caps ? VBE_MAX_BPP : v->vbe[VBE_BPP];
    case VBE_VIRT_WIDTH: return (uint16_t)virt_width(v);
    case VBE_VIRT_HEIGHT: {
        unsigned bpp = valid_bpp(v->vbe[VBE_BPP]);
        uint32_t lines =
            plane_or_vram_bytes(bpp) / line_bytes(bpp, virt_width(v));
        return (uint16_t)clamp(lines, 0, UINT16_MAX);
    }
    case VBE_MEMORY_64K: return VGA_VRAM_BYTES >> 16;
    default: return index < VBE_REGS ? v->vbe[index] : 0;
    }
}

static void write_enable(struct vga *v, uint16_t value)
{
    bool was_on = vga_is_vbe(v);

    v->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC |
                                  VBE_LFB_ENABLED | VBE_NO_CLEAR);
    if (!vga_is_vbe(v)) {
        v->vbe[VBE_BANK] = 0;
        return;
    }
    if (was_on) return;
    v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
    v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
    v->vbe[VBE_BANK] = 0;
    if ((value & VBE_NO_CLEAR) == 0) {
        struct vbe_mode m;
        vbe_get_mode(v, &m);
        /* height is clipped so that this stays inside; bpp 4: 4 planes */
        memset(v->vram, 0,
               (size_t)m.height_px * m.pitch_bytes * (m.bpp == 4 ? 4 : 1));
    }
}

void vbe_write(struct vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case VBE_ID:
        if (value >= VBE_ID0 && value <= VBE_ID_LAST) v->vbe[VBE_ID] = value;
        return;
    case VBE_XRES:
        if (value >= 1 && value <= VBE_MAX_XRES) v->vbe[VBE_XRES] = value;
        break;
    case VBE_YRES:
        if (value >= 1 && value <= VBE_MAX_YRES) v->vbe[VBE_YRES] = value;
        break;
    case VBE_BPP: v->vbe[VBE_BPP] = (uint16_t)valid_bpp(value); break;
    case VBE_ENABLE: write_enable(v, value); break;
    case VBE_BANK:
        /* 4 bpp: a bank is 64 KiB of each plane, 256 KiB of memory */
        v->vbe[VBE_BANK] = value & (VGA_VRAM_BYTES / VGA_BANK_BYTES - 1);
        break;
    case VBE_VIRT_WIDTH:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET: v->vbe[index] = value; break;
    default: return; /* read-only or not there */
    }
    vga_window_update_locked(v);
}
