/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA registers at ports 0x3b0-0x3df.  Source: IBM VGA documentation as
 * collected by FreeVGA.  Every index is masked where it is used.
 */
#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/video/vga_int.h"

#define MISC_COLOUR       0x01 /* CRTC at 0x3dx, else 0x3bx */
#define MISC_CLOCK(v)     ((v) >> 2 & 3)
#define STATUS1_BLANK     0x01
#define STATUS1_RETRACE   0x08
#define CR11_PROTECT      0x80
#define CR7_LINE_COMPARE8 0x10
#define SR1_8_DOTS        0x01
#define SR1_HALF_CLOCK    0x08

/* Bits that exist */
static const uint8_t sr_mask[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gr_mask[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03,
                                     0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t ar_mask[32] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};
enum { CR_COUNT = 0x19, AR_COUNT = 0x15 };

/* ---------------------------------------------------------- input status 1 */

/* Where the beam is, from guest time and the CRTC's timing. */
static uint8_t beam_status(struct vga *v)
{
    const uint8_t *cr = v->cr;
    uint32_t hz = MISC_CLOCK(v->misc) == 1 ? 28322000 : 25175000;
    uint32_t dots = v->sr[1] & SR1_8_DOTS ? 8 : 9;
    uint32_t chars = cr[0] + 5u, shown_chars = cr[1] + 1u;
    uint32_t lines = (cr[6] | (cr[7] & 0x01u) << 8 | (cr[7] & 0x20u) << 4) + 2;
    uint32_t shown =
        (cr[0x12] | (cr[7] & 0x02u) << 7 | (cr[7] & 0x40u) << 3) + 1;
    uint32_t sync_start =
        cr[0x10] | (cr[7] & 0x04u) << 6 | (cr[7] & 0x80u) << 2;
    uint32_t sync_lines = (cr[0x11] - sync_start) & 0x0f;
    uint64_t char_index;
    uint32_t line, column;
    uint8_t status = 0;

    if (v->sr[1] & SR1_HALF_CLOCK) hz /= 2;
    if (sync_start >= lines) sync_start = lines - 1; /* never without one */
    if (sync_lines == 0) sync_lines = 1;
    char_index = muldiv64(clock_now_ns(v->pci.d->vm), hz / dots, 1000000000);
    column = (uint32_t)(char_index % chars);
    line = (uint32_t)(char_index / chars % lines);
    if (line >= shown || column >= shown_chars) status |= STATUS1_BLANK;
    if (line >= sync_start && line - sync_start < sync_lines)
        status |= STATUS1_BLANK | STATUS1_RETRACE;
    return status;
}

/* --------------------------------------------------------------------- DAC */

static bool is_dac_8bit(const struct vga *v)
{
    return (v->vbe[VBE_ENABLE] & VBE_8BIT_DAC) != 0;
}

static uint8_t dac_data_read(struct vga *v)
{
    uint8_t x = v->dac[(v->dac_read * 3u + v->dac_step) % sizeof(v->dac)];

    if (++v->dac_step >= 3) {
        v->dac_step = 0;
        v->dac_read++;
    }
    return is_dac_8bit(v) ? x : x >> 2;
}

static void dac_data_write(struct vga *v, uint8_t x)
{
    if (!is_dac_8bit(v)) {
        x &= 0x3f;
        x = (uint8_t)(x << 2 | x >> 4);
    }
    v->dac_latch[v->dac_step % 3] = x;
    if (++v->dac_step < 3) return;
    v->dac_step = 0;
    for (unsigned i = 0; i < 3; i++)
        v->dac[v->dac_write * 3u + i] = v->dac_latch[i];
    v->dac_write++;
}

/* ---------------------------------------------------------------- attribute */

static void attribute_write(struct vga *v, uint8_t x)
{
    unsigned i = v->ar_index & 0x1f;

    if (!v->ar_wants_data) {
        v->ar_index = x & 0x3f;
    } else if (i < AR_COUNT) {
        v->ar[i] = x & ar_mask[i];
    }
    v->ar_wants_data = !v->ar_wants_data;
}

/* --------------------------------------------------------------------- CRTC */

static void crtc_write(struct vga *v, uint8_t x)
{
    unsigned i = v->cr_index;

    if (i >= CR_COUNT) return;
    if (i < 8 && (v->cr[0x11] & CR11_PROTECT) != 0) {
        if (i != 7) return;
        x = (uint8_t)((v->cr[7] & ~CR7_LINE_COMPARE8) |
                      (x & CR7_LINE_COMPARE8));
    }
    v->cr[i] = x;
}

static uint8_t crtc_read(const struct vga *v)
{
    return v->cr_index < CR_COUNT ? v->cr[v->cr_index & 0x1f] : 0xff;
}

/* -------------------------------------------------------------------- ports */

/* The CRTC, status 1 and feature ports exist at one of two places. */
static bool is_other_place(const struct vga *v, unsigned port)
{
    bool is_mono_port = (port & ~0x0fu) == 0x3b0;
    bool is_colour_port = (port & ~0x0fu) == 0x3d0;
    bool is_colour = (v->misc & MISC_COLOUR) != 0;

    return (is_mono_port && is_colour) || (is_colour_port && !is_colour);
}

uint32_t vga_port_read(struct vga *v, unsigned port)
{
    if (is_other_place(v, port)) return 0xff;
    switch (port) {
    case 0x3c0: return v->ar_index;
    case 0x3c1: return v->ar[v->ar_index & 0x1f];
    case 0x3c2: return 0x10; /* monitor sense: colour */
    case 0x3c4: return v->sr_index;
    case 0x3c5: return v->sr[v->sr_index & 7];
    case 0x3c6: return v->dac_mask;
    case 0x3c7: return v->dac_state;
    case 0x3c8: return v->dac_write;
    case 0x3c9: return dac_data_read(v);
    case 0x3ca: return v->feature;
    case 0x3cc: return v->misc;
    case 0x3ce: return v->gr_index;
    case 0x3cf: return v->gr[v->gr_index & 15];
    case 0x3b4:
    case 0x3d4: return v->cr_index;
    case 0x3b5:
    case 0x3d5: return crtc_read(v);
    case 0x3ba:
    case 0x3da: v->ar_wants_data = false; return beam_status(v);
    default: return 0xff;
    }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t x)
{
    if (is_other_place(v, port)) return;
    switch (port) {
    case 0x3c0:
    case 0x3c1: attribute_write(v, x); break;
    case 0x3c2:
        v->misc = x & 0xef;
        vga_window_update_locked(v);
        break;
    case 0x3c4: v->sr_index = x & 7; break;
    case 0x3c5:
        v->sr[v->sr_index & 7] = x & sr_mask[v->sr_index & 7];
        vga_window_update_locked(v);
        break;
    case 0x3c6: v->dac_mask = x; break;
    case 0x3c7:
        v->dac_read = x;
        v->dac_step = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = x;
        v->dac_step = 0;
        v->dac_state = 0;
        break;
    case 0x3c9: dac_data_write(v, x); break;
    case 0x3ce: v->gr_index = x & 15; break;
    case 0x3cf:
        v->gr[v->gr_index & 15] = x & gr_mask[v->gr_index & 15];
        vga_window_update_locked(v);
        break;
    case 0x3b4:
    case 0x3d4: v->cr_index = x; break;
    case 0x3b5:
    case 0x3d5: crtc_write(v, x); break;
    case 0x3ba:
    case 0x3da: v->feature = x & 0x0b; break;
    default: break;
    }
}
