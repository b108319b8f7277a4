/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_VIDEO_VGA_DRAW_H
#define ORRERY_HW_VIDEO_VGA_DRAW_H

#include "core/host/display.h"
#include "hw/video/vga_int.h"

/* Shared by the parts of the renderer: registers, the frame being made, the
 * CRTC's counters. */
#define AR_DISPLAY_ENABLE 0x20 /* in the index register */
#define SR1_8_DOTS        0x01
#define SR1_HALF_CLOCK    0x08
#define SR1_SCREEN_OFF    0x20
#define SR4_CHAIN4        0x08
#define GR5_INTERLEAVE    0x20
#define GR5_256           0x40
#define GR6_GRAPHICS      0x01
#define AR10_LINE_CHARS   0x04
#define AR10_BLINK        0x08
#define AR10_PAN_COMPAT   0x20
#define AR10_SELECT       0x80
#define CR9_DOUBLE        0x80
#define CR0A_CURSOR_OFF   0x20
#define CR14_DWORD        0x40
#define CR14_COUNT_BY_4   0x20
#define CR17_ROW_BIT13    0x01 /* 0: address bit 13 is row scan bit 0 */
#define CR17_ROW_BIT14    0x02
#define CR17_COUNT_BY_2   0x08
#define CR17_WRAP_15      0x20
#define CR17_BYTE         0x40
#define CR17_RUN          0x80

struct vga_frame {
    struct vga *v;
    struct surface *s;
    struct rect dirty; /* run of changed lines not yet reported */
    bool is_full;
};

/* The CRTC's counters at the start of a scan line. */
struct vga_scan {
    uint32_t base;     /* address counter of the first character */
    uint32_t pitch;    /* added from row to row */
    unsigned row_scan; /* line within the row of characters */
    unsigned max_row_scan;
    unsigned split_line; /* after this line the address restarts at 0 */
    bool is_doubled, is_repeat, is_split, is_new_row;
};

/* vga_render.c: the surface */
void vga_put_line(struct vga_frame *f, int y, const uint32_t *px);
void vga_flush_dirty(struct vga_frame *f);
/* false: no memory; the picture stays as it was. */
bool vga_set_size(struct vga_frame *f, int width_px, int height_px);
void vga_put_black(struct vga_frame *f);

/* vga_render.c: the CRTC */
void vga_scan_init(const struct vga *v, struct vga_scan *n);
void vga_scan_next(struct vga_scan *n, unsigned y); /* line y is done */
/* Address counter to plane offset ("CRTC Mode Control Register"). */
uint32_t vga_plane_offset(const struct vga *v, uint32_t counter,
                          unsigned row_scan);
int vga_shown_columns(const struct vga *v);
int vga_shown_lines(const struct vga *v);

/* vga_render.c: 16-colour pixels; eight indices, one an octet */
uint64_t vga_planar_indices(const struct vga *v, const uint8_t m[4]);
void vga_draw_indices(struct vga *v, uint32_t *px, uint64_t indices);

/* vga_text.c; phase: bit 0 cursor off, bit 1 blinking characters off */
int vga_char_width(const struct vga *v);
unsigned vga_text_pan(const struct vga *v);
bool vga_fonts_changed(struct vga *v);
bool vga_registers_changed(struct vga *v, unsigned phase);
bool vga_read_text(struct vga *v, struct text_screen *t);
void vga_clear_text(struct text_screen *t, int cols, int rows);
void vga_draw_text_line(struct vga *v, const struct vga_scan *n,
                        unsigned phase);

/* vbe_render.c */
void vbe_refresh(struct vga_frame *f, bool is_blank);

#endif
