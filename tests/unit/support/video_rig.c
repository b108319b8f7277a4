/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/video_rig.h"

#include <stdlib.h>

#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/pci.h"
#include "hw/video/vga.h"

int vrig_setup(void **state)
{
    struct vrig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;
    void *base;

    if (r == NULL || rig_setup(&base) < 0) return -1;
    r->base = base;
    r->vm = r->base->vm;
    rig_add(r->base, &pci_bus_class);
    if (display_create(r->vm, &r->display, &e) < 0) return -1;
    r->vga = rig_add(r->base, &vga_class);
    *state = r;
    return 0;
}

int vrig_teardown(void **state)
{
    struct vrig *r = *state;
    void *base = r->base;
    int rc;

    display_destroy(r->display);
    rc = rig_teardown(&base);
    free(r);
    return rc;
}

/* clang-format off */
const struct vrig_mode vrig_mode_03 = {
    0x67, { 0x03, 0x00, 0x03, 0x00, 0x02 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e,
      0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3,
      0xff },
    { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff },
    { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b,
      0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00 },
};
const struct vrig_mode vrig_mode_04 = {
    0x63, { 0x03, 0x09, 0x03, 0x00, 0x02 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2,
      0xff },
    { 0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x00, 0xff },
    { 0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13,
      0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00 },
};
const struct vrig_mode vrig_mode_12 = {
    0xe3, { 0x03, 0x01, 0x0f, 0x00, 0x06 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3,
      0xff },
    { 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff },
    { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b,
      0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00 },
};
const struct vrig_mode vrig_mode_13 = {
    0x63, { 0x03, 0x01, 0x0f, 0x00, 0x0e },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3,
      0xff },
    { 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff },
    { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
      0x0c, 0x0d, 0x0e, 0x0f, 0x41, 0x00, 0x0f, 0x00, 0x00 },
};
/* clang-format on */

static void index_data(struct vrig *r, unsigned port, unsigned index,
                       unsigned v)
{
    /* as programs do: one 16-bit write, index low */
    port_write_locked(r->vm, port, 2, index | v << 8);
}

void vrig_sr(struct vrig *r, unsigned index, unsigned v)
{
    index_data(r, 0x3c4, index, v);
}

void vrig_gr(struct vrig *r, unsigned index, unsigned v)
{
    index_data(r, 0x3ce, index, v);
}

void vrig_cr(struct vrig *r, unsigned index, unsigned v)
{
    index_data(r, 0x3d4, index, v);
}

void vrig_ar(struct vrig *r, unsigned index, unsigned v)
{
    rig_in(r->base, 0x3da); /* flip-flop to "index" */
    rig_out(r->base, 0x3c0, index | 0x20);
    rig_out(r->base, 0x3c0, v);
}

void vrig_set_mode(struct vrig *r, const struct vrig_mode *m)
{
    rig_out(r->base, 0x3c2, m->misc);
    for (unsigned i = 0; i < 5; i++)
        vrig_sr(r, i, m->sr[i]);
    vrig_cr(r, 0x11, 0); /* take the write protection off */
    for (unsigned i = 0; i < 25; i++)
        vrig_cr(r, i, m->cr[i]);
    for (unsigned i = 0; i < 9; i++)
        vrig_gr(r, i, m->gr[i]);
    for (unsigned i = 0; i < 21; i++)
        vrig_ar(r, i, m->ar[i]);
}

void vrig_dac(struct vrig *r, unsigned index, unsigned red, unsigned green,
              unsigned blue)
{
    rig_out(r->base, 0x3c8, index);
    rig_out(r->base, 0x3c9, red);
    rig_out(r->base, 0x3c9, green);
    rig_out(r->base, 0x3c9, blue);
}

uint8_t vrig_peek(struct vrig *r, uint32_t gpa)
{
    uint8_t v;

    mem_read_locked(r->vm, gpa, &v, 1);
    return v;
}

void vrig_poke(struct vrig *r, uint32_t gpa, uint8_t v)
{
    mem_write_locked(r->vm, gpa, &v, 1);
}

void vrig_vbe(struct vrig *r, unsigned index, unsigned v)
{
    port_write_locked(r->vm, 0x1ce, 2, index);
    port_write_locked(r->vm, 0x1cf, 2, v);
}

unsigned vrig_vbe_get(struct vrig *r, unsigned index)
{
    port_write_locked(r->vm, 0x1ce, 2, index);
    return port_read_locked(r->vm, 0x1cf, 2) & 0xffff;
}

static void config_write(struct vrig *r, unsigned off, unsigned bytes,
                         uint32_t v)
{
    struct pci_func *f = r->vga->s;

    port_write_locked(r->vm, 0xcf8, 4,
                      0x80000000u | (uint32_t)f->devfn << 8 | (off & ~3u));
    port_write_locked(r->vm, 0xcfc + (off & 3), bytes, v);
}

void vrig_map_bars(struct vrig *r)
{
    config_write(r, 0x10, 4, VRIG_LFB);
    config_write(r, 0x18, 4, VRIG_REGS);
    config_write(r, 0x04, 2, 0x0003);
}

uint32_t vrig_pixel(struct vrig *r, int x, int y)
{
    const struct surface *s;

    display_refresh_locked(r->display);
    s = display_surface(r->display);
    if (x >= s->width_px || y >= s->height_px)
        fail_msg("no pixel %d,%d in %dx%d", x, y, s->width_px, s->height_px);
    return s->px[(size_t)y * (size_t)s->stride_px + (size_t)x] & 0xffffff;
}
