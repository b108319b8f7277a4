/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * EDID 1.4 base block (VESA Enhanced EDID Standard, release A rev. 2): a
 * digital monitor whose preferred mode is the one asked for, with reduced
 * blanking and 60 frames a second.
 */
#include <string.h>

#include "hw/video/vga_int.h"

/* VESA CVT, reduced blanking */
enum {
    RB_HBLANK = 160,
    RB_HFRONT = 48,
    RB_HSYNC = 32,
    RB_VFRONT = 3,
    RB_VSYNC = 6,
    RB_VBLANK = 23,
    REFRESH_HZ = 60,
    DPI = 96
};

static unsigned to_mm(unsigned px)
{
    return px * 254 / (DPI * 10);
}

/* Section 3.10.2, detailed timing descriptor */
static void put_detailed_timing(uint8_t *p, unsigned w, unsigned h)
{
    unsigned clock_10khz =
        (w + RB_HBLANK) * (h + RB_VBLANK) * REFRESH_HZ / 10000;
    unsigned w_mm = to_mm(w), h_mm = to_mm(h);

    p[0] = (uint8_t)clock_10khz;
    p[1] = (uint8_t)(clock_10khz >> 8);
    p[2] = (uint8_t)w;
    p[3] = RB_HBLANK & 0xff;
    p[4] = (uint8_t)((w >> 8) << 4 | RB_HBLANK >> 8);
    p[5] = (uint8_t)h;
    p[6] = RB_VBLANK;
    p[7] = (uint8_t)((h >> 8) << 4);
    p[8] = RB_HFRONT;
    p[9] = RB_HSYNC;
    p[10] = RB_VFRONT << 4 | RB_VSYNC;
    p[12] = (uint8_t)w_mm;
    p[13] = (uint8_t)h_mm;
    p[14] = (uint8_t)((w_mm >> 8) << 4 | h_mm >> 8);
    p[17] = 0x1a; /* separate digital sync, +H -V */
}

/* Section 3.10.3, display descriptors: text is ended by LF, then blanks */
static void put_name(uint8_t *p, const char *name)
{
    size_t n = strlen(name);

    p[3] = 0xfc;
    memset(p + 5, ' ', 13);
    memcpy(p + 5, name, n);
    p[5 + n] = '\n';
}

static void put_range_limits(uint8_t *p)
{
    static const uint8_t limits[18] = {
        0,    0,    0,   0xfd, 0,   50,  125, 30,
        160,  60, /* Hz, kHz, 10 MHz */
        0x01, '\n', ' ', ' ',  ' ', ' ', ' ', ' ',
    };
    memcpy(p, limits, sizeof(limits));
}

/* Section 3.9: (width / 8 - 31), aspect << 6 | (refresh - 60) */
static const uint8_t standard_timings[16] = {
    0x81, 0xc0, /* 1280x720, 16:9 */
    0x81, 0x80, /* 1280x1024, 5:4 */
    0x61, 0x40, /* 1024x768, 4:3 */
    0x45, 0x40, /* 800x600, 4:3 */
    0x31, 0x40, /* 640x480, 4:3 */
    0x95, 0x00, /* 1440x900, 16:10 */
    0xa9, 0x40, /* 1600x1200, 4:3 */
    0xd1, 0xc0, /* 1920x1080, 16:9 */
};

/* sRGB chromaticity, section 3.7 */
static const uint8_t chromaticity[10] = {
    0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54,
};

void edid_build(uint8_t edid[128], unsigned width_px, unsigned height_px)
{
    unsigned sum = 0;

    memset(edid, 0, 128);
    memset(edid + 1, 0xff, 6);
    /* manufacturer "ORR", five bits a letter */
    edid[8] = ('O' - '@') << 2 | ('R' - '@') >> 3;
    edid[9] = (uint8_t)(('R' - '@') << 5 | ('R' - '@'));
    edid[10] = 0x34; /* product 0x1234 */
    edid[11] = 0x12;
    edid[16] = 42; /* week, year - 1990 */
    edid[17] = 36;
    edid[18] = 1; /* version 1.4 */
    edid[19] = 4;
    edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
    edid[21] = (uint8_t)((to_mm(width_px) + 5) / 10);
    edid[22] = (uint8_t)((to_mm(height_px) + 5) / 10);
    edid[23] = 120;  /* gamma 2.2 */
    edid[24] = 0x06; /* sRGB, the first timing is the native one */
    memcpy(edid + 25, chromaticity, sizeof(chromaticity));
    edid[35] = 0x21; /* 640x480@60, 800x600@60 */
    edid[36] = 0x08; /* 1024x768@60 */
    memcpy(edid + 38, standard_timings, sizeof(standard_timings));
    put_detailed_timing(edid + 54, width_px, height_px);
    put_range_limits(edid + 72);
    put_name(edid + 90, "Orrery");
    edid[108 + 3] = 0x10; /* dummy descriptor */
    for (unsigned i = 0; i < 127; i++)
        sum += edid[i];
    edid[127] = (uint8_t)(0x100 - (sum & 0xff));
}
