/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard VGA as a PCI function: identity, BARs, ports, reset, state.
 *
 *   BAR 0  16 MiB of video memory, prefetchable
 *   BAR 2  4 KiB of registers: EDID at 0x000, VGA ports 0x3c0-0x3df at
 *          0x400, dispi registers at 0x500 (16 bits each), extended
 *          registers at 0x600
 *   ROM    VGA BIOS of the distribution
 *
 * Source for the layout of BAR 2: QEMU's specification of the device,
 * docs/specs/standard-vga.
 */
#include "hw/video/vga.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/host/display.h"
#include "core/host/firmware.h"
#include "core/vm/vm.h"
#include "hw/video/vga_int.h"

enum {
    BAR_VRAM = 0,
    BAR_REGS = 2,
    BAR2_BYTES = 0x1000,
    EDID_AREA = 0x400,
    PORTS_AT = 0x400,
    PORTS_BYTES = 0x20,
    DISPI_AT = 0x500,
    EXT_AT = 0x600,
    EXT_BYTES = 8,
    LEGACY_BASE = 0xa0000
};

/* -------------------------------------------------------------------- ports */

static uint32_t vga_b0_read(void *arg, unsigned port, unsigned bytes)
{
    (void)bytes;
    return vga_port_read(arg, 0x3b0 + port);
}

static void vga_b0_write(void *arg, unsigned port, unsigned bytes, uint32_t x)
{
    (void)bytes;
    vga_port_write(arg, 0x3b0 + port, (uint8_t)x);
}

static uint32_t vga_c0_read(void *arg, unsigned port, unsigned bytes)
{
    (void)bytes;
    return vga_port_read(arg, 0x3c0 + port);
}

static void vga_c0_write(void *arg, unsigned port, unsigned bytes, uint32_t x)
{
    (void)bytes;
    vga_port_write(arg, 0x3c0 + port, (uint8_t)x);
}

/* 0x1ce index, 0x1cf data, both 16 bits wide; 0x1d0 is the data register at
 * an aligned address. */
static uint32_t dispi_read(void *arg, unsigned port, unsigned bytes)
{
    struct vga *v = arg;

    (void)bytes;
    return port == 0 ? v->vbe_index : vbe_read(v, v->vbe_index);
}

static void dispi_write(void *arg, unsigned port, unsigned bytes, uint32_t x)
{
    struct vga *v = arg;

    (void)bytes;
    if (port == 0)
        v->vbe_index = (uint16_t)x;
    else
        vbe_write(v, v->vbe_index, (uint16_t)x);
}

static const struct port_ops b0_ops = { vga_b0_read, vga_b0_write, 1 };
static const struct port_ops c0_ops = { vga_c0_read, vga_c0_write, 1 };
static const struct port_ops dispi_ops = { dispi_read, dispi_write, 2 };

static const struct {
    unsigned first, count;
    const struct port_ops *ops;
    const char *name;
} port_table[] = {
    { 0x3b0, 12, &b0_ops, "vga" }, /* up to 0x3bb: 0x3bc may be a printer */
    { 0x3c0, 32, &c0_ops, "vga" },
    { 0x1ce, 3, &dispi_ops, "vbe" },
};
enum { PORT_RANGES = sizeof(port_table) / sizeof(port_table[0]) };

static void unmap_ports(struct vga *v, unsigned ranges)
{
    for (unsigned i = 0; i < ranges; i++)
        port_unmap_locked(v->pci.d->vm, port_table[i].first,
                          port_table[i].count, v);
}

static int map_ports(struct vga *v, struct err *e)
{
    for (unsigned i = 0; i < PORT_RANGES; i++) {
        int rc = port_map_locked(v->pci.d->vm, port_table[i].first,
                                 port_table[i].count, port_table[i].ops, v,
                                 port_table[i].name, e);
        if (rc < 0) {
            unmap_ports(v, i);
            return rc;
        }
    }
    return 0;
}

/* -------------------------------------------------------------------- BAR 2 */

static uint64_t edid_read(void *arg, uint64_t offset, unsigned bytes)
{
    struct vga *v = arg;

    (void)bytes;
    return offset < VGA_EDID_BYTES ? v->edid[offset] : 0;
}

static void edid_write(void *arg, uint64_t offset, unsigned bytes, uint64_t x)
{
    (void)arg, (void)offset, (void)bytes, (void)x; /* read-only */
}

static uint64_t bar_port_read(void *arg, uint64_t offset, unsigned bytes)
{
    (void)bytes;
    return vga_port_read(arg, 0x3c0 + (unsigned)offset);
}

static void bar_port_write(void *arg, uint64_t offset, unsigned bytes,
                           uint64_t x)
{
    (void)bytes;
    vga_port_write(arg, 0x3c0 + (unsigned)offset, (uint8_t)x);
}

static uint64_t bar_dispi_read(void *arg, uint64_t offset, unsigned bytes)
{
    (void)bytes;
    return vbe_read(arg, (unsigned)(offset >> 1));
}

static void bar_dispi_write(void *arg, uint64_t offset, unsigned bytes,
                            uint64_t x)
{
    (void)bytes;
    vbe_write(arg, (unsigned)(offset >> 1), (uint16_t)x);
}

/* Register 0: size of this block; register 4: byte order of the frame
 * buffer, 0x1e1e1e1e = little.  Ours is always little. */
static uint64_t bar_ext_read(void *arg, uint64_t offset, unsigned bytes)
{
    (void)arg, (void)bytes;
    return offset == 0 ? EXT_BYTES : 0x1e1e1e1e;
}

static void bar_ext_write(void *arg, uint64_t offset, unsigned bytes,
                          uint64_t x)
{
    (void)arg, (void)offset, (void)bytes, (void)x;
}

static const struct mem_ops edid_ops = { edid_read, edid_write, 1, 1 };
static const struct mem_ops bar_port_ops = { bar_port_read, bar_port_write, 1,
                                             1 };
static const struct mem_ops bar_dispi_ops = { bar_dispi_read, bar_dispi_write,
                                              2, 2 };
static const struct mem_ops bar_ext_ops = { bar_ext_read, bar_ext_write, 4, 4 };

static void make_bar2(struct vga *v)
{
    struct vm *vm = v->pci.d->vm;

    mem_init_container(&v->bar2, "vga-registers", BAR2_BYTES);
    mem_init_mmio(&v->bar2_edid, "vga-edid", EDID_AREA, &edid_ops, v);
    mem_init_mmio(&v->bar2_ports, "vga-ports", PORTS_BYTES, &bar_port_ops, v);
    mem_init_mmio(&v->bar2_dispi, "vga-dispi", VBE_REGS * 2, &bar_dispi_ops, v);
    mem_init_mmio(&v->bar2_ext, "vga-ext", EXT_BYTES, &bar_ext_ops, v);
    mem_add_locked(vm, &v->bar2, 0, &v->bar2_edid, 0);
    mem_add_locked(vm, &v->bar2, PORTS_AT, &v->bar2_ports, 0);
    mem_add_locked(vm, &v->bar2, DISPI_AT, &v->bar2_dispi, 0);
    mem_add_locked(vm, &v->bar2, EXT_AT, &v->bar2_ext, 0);
}

/* ------------------------------------------------------------------- device */

static void print_info(void *arg, FILE *out)
{
    struct vga *v = arg;
    struct vbe_mode m;

    vbe_get_mode(v, &m);
    if (vga_is_vbe(v))
        fprintf(out, "VBE %ux%ux%u, %u bytes per line, start at 0x%x\n",
                m.width_px, m.height_px, m.bpp, m.pitch_bytes, m.start_offset);
    else
        fprintf(out, "VGA %s mode\n", v->gr[6] & 1 ? "graphics" : "text");
    for (unsigned i = 0; i < 0x19; i++)
        fprintf(out, "%s%02x%s", i == 0 ? "CR " : " ", v->cr[i],
                i == 0x18 ? "\n" : "");
    fprintf(out, "SR %02x %02x %02x %02x %02x  misc %02x\n", v->sr[0], v->sr[1],
            v->sr[2], v->sr[3], v->sr[4], v->misc);
    for (unsigned i = 0; i < 9; i++)
        fprintf(out, "%s%02x%s", i == 0 ? "GR " : " ", v->gr[i],
                i == 8 ? "\n" : "");
    for (unsigned i = 0; i < 0x15; i++)
        fprintf(out, "%s%02x%s", i == 0 ? "AR " : " ", v->ar[i],
                i == 0x14 ? "\n" : "");
}

static void vga_reset(struct dev *d)
{
    struct vga *v = d->s;

    pci_func_reset(&v->pci);
    v->misc = v->feature = 0;
    v->sr_index = v->cr_index = v->gr_index = v->ar_index = 0;
    memset(v->sr, 0, sizeof(v->sr));
    memset(v->cr, 0, sizeof(v->cr));
    memset(v->gr, 0, sizeof(v->gr));
    memset(v->ar, 0, sizeof(v->ar));
    memset(v->latch, 0, sizeof(v->latch));
    v->ar_wants_data = false;
    v->dac_mask = 0xff;
    v->dac_state = v->dac_read = v->dac_write = v->dac_step = 0;
    memset(v->dac, 0, sizeof(v->dac));
    vbe_reset(v);
    vga_window_update_locked(v);
}

static int vga_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x1234,
        .device = 0x1111,
        .subvendor = 0x1af4,
        .subdevice = 0x1100,
        .revision = 2,
        .base_class = 3,
    };
    struct vga *v = d->s;
    struct err rom_err = ERR_INIT;
    int rc = pci_func_init(d, &v->pci, &ids, -1, e);

    if (rc < 0) return rc;
    rc = mem_init_ram(&v->vram_region, "vga-vram", VGA_VRAM_BYTES, e);
    if (rc < 0) goto exit_pci;
    v->vram = v->vram_region.host;
    rc = map_ports(v, e);
    if (rc < 0) goto free_vram;
    make_bar2(v);
    edid_build(v->edid, v->xres, v->yres);
    vga_render_init(v);
    pci_bar_mem(&v->pci, BAR_VRAM, &v->vram_region, false, true);
    pci_bar_mem(&v->pci, BAR_REGS, &v->bar2, false, false);
    if (pci_rom_load(&v->pci, "vgabios-stdvga.bin", &rom_err) < 0)
        log_warn("VGA without BIOS: %s", rom_err.text);
    mem_init_mmio(&v->window, "vga-window", VGA_WINDOW_BYTES, &vga_window_ops,
                  v);
    mem_add_locked(d->vm, mem_root(d->vm), LEGACY_BASE, &v->window, 1);
    v->display = vm_display(d->vm);
    if (v->display != NULL)
        display_set_source_locked(v->display,
                                  &(struct display_source){ vga_refresh, v });
    vm_add_info(d->vm, "vga", "show the VGA's mode and registers", print_info,
                v);
    return 0;
free_vram:
    mem_free(&v->vram_region);
exit_pci:
    pci_func_exit(&v->pci);
    return rc;
}

static void vga_destroy(struct dev *d)
{
    struct vga *v = d->s;

    if (vm_display(d->vm) != NULL)
        display_set_source_locked(vm_display(d->vm), NULL);
    mem_begin_locked(d->vm);
    vga_window_remove_locked(v);
    mem_del_locked(d->vm, &v->window);
    mem_commit_locked(d->vm);
    unmap_ports(v, PORT_RANGES);
    pci_func_exit(&v->pci);
    mem_free(&v->vram_region);
}

static int vga_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct vga *v = d->s;

    (void)version;
    if (v->vbe[VBE_ID] < VBE_ID0 || v->vbe[VBE_ID] > VBE_ID_LAST)
        return err_set(e, -EINVAL, "dispi id 0x%x is none", v->vbe[VBE_ID]);
    pci_func_loaded(&v->pci);
    v->cache.hash = 0;
    vga_window_update_locked(v);
    return 0;
}

static const struct field vga_state[] = { STRUCT(vga, pci, pci_func_state),
                                          U8(vga, misc),
                                          U8(vga, feature),
                                          U8_MAX(vga, sr_index, 7),
                                          UINT_ARRAY(vga, sr, 0xff),
                                          U8(vga, cr_index),
                                          UINT_ARRAY(vga, cr, 0xff),
                                          U8_MAX(vga, gr_index, 15),
                                          UINT_ARRAY(vga, gr, 0xff),
                                          U8_MAX(vga, ar_index, 0x3f),
                                          UINT_ARRAY(vga, ar, 0xff),
                                          BOOL(vga, ar_wants_data),
                                          UINT_ARRAY(vga, latch, 0xff),
                                          U8(vga, dac_mask),
                                          U8_MAX(vga, dac_state, 3),
                                          U8(vga, dac_read),
                                          U8(vga, dac_write),
                                          U8_MAX(vga, dac_step, 2),
                                          UINT_ARRAY(vga, dac_latch, 0xff),
                                          BYTES(vga, dac),
                                          U16(vga, vbe_index),
                                          UINT_ARRAY(vga, vbe, 0xffff),
                                          PTR_BYTES(vga, vram, VGA_VRAM_BYTES),
                                          STATE_END };

static const struct prop vga_props[] = {
    PROP("addr", P_STR, vga, addr, 0, 0, NULL, NULL,
         "PCI slot and function, hexadecimal, e.g. 02.0"),
    PROP("xres", P_U32, vga, xres, 640, 3840, "1280", "pixels",
         "preferred width told to the guest (EDID)"),
    PROP("yres", P_U32, vga, yres, 480, 2160, "800", "pixels",
         "preferred height told to the guest (EDID)"),
    PROP_END
};

const struct dev_class vga_class = {
    .name = "VGA",
    .title = "standard VGA with VBE",
    .bus = BUS_PCI,
    .size = sizeof(struct vga),
    .props = vga_props,
    .state = vga_state,
    .version = 1,
    .create = vga_create,
    .reset = vga_reset,
    .loaded = vga_loaded,
    .destroy = vga_destroy,
};
