/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_VIDEO_VGA_INT_H
#define ORRERY_HW_VIDEO_VGA_INT_H

#include "hw/pci.h"

/*
 * Private to hw/video.  Register names are those of the IBM VGA
 * documentation: SR sequencer, CR CRT controller, GR graphics controller, AR
 * attribute controller.
 *
 * Video memory: one octet of each of the four planes side by side, so plane
 * p at offset a is vram[4 * a + p].  Chain-4 and VBE see the same memory
 * linearly, which lets the guest's window onto it be plain RAM.
 */
enum {
    VGA_VRAM_BYTES = 16 << 20, /* power of two */
    VGA_VRAM_MASK = VGA_VRAM_BYTES - 1,
    VGA_PLANE_MASK = 0xffff, /* standard VGA: 64 Ki octets per plane */
    VGA_WINDOW_BYTES = 0x20000,
    VGA_BANK_BYTES = 0x10000,
    VGA_MAX_WIDTH_PX = 4096,
    /* 256 characters and one more to pan over, 9 dots, each doubled */
    VGA_LINE_PX = 257 * 9 * 2,
    VGA_EDID_BYTES = 128,
    VGA_FONT_BYTES = 2 * 256 * 32,
};

/* Bochs VBE extensions ("dispi"), indices of the registers */
enum {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY_64K,
    VBE_REGS = 16 /* a power of two; those above 10 read 0 */
};
#define VBE_ID0         0xb0c0
#define VBE_ID_LAST     0xb0c5
#define VBE_ENABLED     0x01
#define VBE_GETCAPS     0x02
#define VBE_8BIT_DAC    0x20
#define VBE_LFB_ENABLED 0x40
#define VBE_NO_CLEAR    0x80
#define VBE_MAX_XRES    4096
#define VBE_MAX_YRES    4096
#define VBE_MAX_BPP     32

struct display;

/* What the last drawn text screen depended on besides its characters, which
 * are in the hub's text screen.  Host side, not saved. */
struct vga_text_cache {
    uint8_t fonts[VGA_FONT_BYTES];
    uint64_t hash; /* of registers, palette and blink phase */
};

struct vga {
    struct pci_func pci; /* first */

    uint8_t misc, feature;
    uint8_t sr_index, sr[8];
    uint8_t cr_index, cr[32];
    uint8_t gr_index, gr[16];
    uint8_t ar_index, ar[32]; /* ar_index: bit 5 = display enable */
    bool ar_wants_data;       /* the flip-flop at port 0x3c0 */
    uint8_t latch[4];
    uint8_t dac_mask, dac_state;
    uint8_t dac_read, dac_write, dac_step;
    uint8_t dac_latch[3];
    uint8_t dac[768]; /* 8 bits a component */

    uint16_t vbe_index;
    uint16_t vbe[VBE_REGS];

    char *addr;          /* property: slot */
    uint32_t xres, yres; /* properties: preferred mode */
    uint8_t *vram;       /* = vram_region.host, for the state table */
    uint8_t edid[VGA_EDID_BYTES];

    struct mem_region vram_region;
    struct mem_region bar2, bar2_edid, bar2_ports, bar2_dispi, bar2_ext;
    struct mem_region window;     /* 0xa0000-0xbffff, MMIO */
    struct mem_region window_ram; /* alias of VRAM over it */
    bool has_window_ram;          /* window_ram is in the tree */
    uint32_t window_ram_offset, window_ram_bytes, window_ram_target;

    struct display *display;
    bool is_ports_mapped;
    struct vga_text_cache cache;

    /* the renderer's, remade at every refresh */
    uint32_t line[VGA_LINE_PX];        /* one scan line being drawn */
    uint32_t wide[VGA_LINE_PX];        /* the same with doubled dots */
    uint8_t raw[VGA_MAX_WIDTH_PX * 4]; /* a line that wraps in VRAM */
    uint32_t palette[256];             /* DAC as XRGB */
    uint32_t colour[16];               /* attribute colours as XRGB */
    uint64_t spread[256];              /* bit 7 - n of the index in octet n */
};

static inline uint8_t *vga_vram(struct vga *v, uint32_t offset)
{
    return &v->vram[offset & VGA_VRAM_MASK];
}

static inline bool vga_is_vbe(const struct vga *v)
{
    return (v->vbe[VBE_ENABLE] & VBE_ENABLED) != 0;
}

/* vga_mem.c: the legacy window */
extern const struct mem_ops vga_window_ops;
/* Map or unmap the RAM view of the window as the registers now ask. */
void vga_window_update_locked(struct vga *v);
void vga_window_remove_locked(struct vga *v);

/* vga_ports.c */
uint32_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);

/* vbe.c */
void vbe_reset(struct vga *v);
uint16_t vbe_read(struct vga *v, unsigned index);
void vbe_write(struct vga *v, unsigned index, uint16_t value);

/* The picture the dispi registers ask for, made safe: every value is within
 * the surface's limits. */
struct vbe_mode {
    uint32_t width_px, height_px;
    unsigned bpp;          /* 4, 8, 15, 16, 24, 32 */
    uint32_t pitch_bytes;  /* bpp 4: of one plane */
    uint32_t start_offset; /* octet in VRAM; bpp 4: in a plane */
    unsigned pan_px;       /* bpp 4: pixels to skip, 0..7 */
};
void vbe_get_mode(const struct vga *v, struct vbe_mode *m);

/* edid.c: fill a base EDID block for the preferred mode */
void edid_build(uint8_t edid[128], unsigned width_px, unsigned height_px);

/* vga_render.c */
void vga_render_init(struct vga *v);
void vga_refresh(void *arg, bool is_full); /* struct display_source */

#endif
