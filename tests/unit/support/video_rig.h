/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_SUPPORT_VIDEO_RIG_H
#define ORRERY_TESTS_SUPPORT_VIDEO_RIG_H

#include "core/host/display.h"
#include "tests/unit/support/chips_rig.h"

/* A VM without CPU that has a PCI bus, a display and the VGA; the VM lock is
 * held. */
struct vrig {
    struct rig *base;
    struct vm *vm;
    struct display *display;
    struct dev *vga;
};

int vrig_setup(void **state); /* *state = struct vrig */
int vrig_teardown(void **state);

/* Register contents of a BIOS mode, from IBM's VGA parameter tables. */
struct vrig_mode {
    uint8_t misc, sr[5], cr[25], gr[9], ar[21];
};
extern const struct vrig_mode vrig_mode_03; /* 80x25 text, 9x16 */
extern const struct vrig_mode vrig_mode_04; /* 320x200, 4 colours, CGA */
extern const struct vrig_mode vrig_mode_12; /* 640x480, 16 colours */
extern const struct vrig_mode vrig_mode_13; /* 320x200, 256 colours */
void vrig_set_mode(struct vrig *r, const struct vrig_mode *m);

void vrig_sr(struct vrig *r, unsigned index, unsigned v);
void vrig_gr(struct vrig *r, unsigned index, unsigned v);
void vrig_cr(struct vrig *r, unsigned index, unsigned v);
void vrig_ar(struct vrig *r, unsigned index, unsigned v); /* screen on */
void vrig_dac(struct vrig *r, unsigned index, unsigned red, unsigned green,
              unsigned blue); /* 6 bits each */

uint8_t vrig_peek(struct vrig *r, uint32_t gpa);
void vrig_poke(struct vrig *r, uint32_t gpa, uint8_t v);

/* dispi registers through the ports */
void vrig_vbe(struct vrig *r, unsigned index, unsigned v);
unsigned vrig_vbe_get(struct vrig *r, unsigned index);
/* Map BAR 0 and BAR 2 and switch decoding on. */
enum { VRIG_LFB = 0xe0000000, VRIG_REGS = 0xf0000000 };
void vrig_map_bars(struct vrig *r);

/* Refresh and return a pixel as 0xRRGGBB. */
uint32_t vrig_pixel(struct vrig *r, int x, int y);

#endif
