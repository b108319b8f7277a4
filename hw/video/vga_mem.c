/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legacy window at 0xa0000-0xbffff: what the sequencer and the graphics
 * controller do between the CPU and the four planes.  Source: IBM VGA
 * documentation as collected by FreeVGA ("Accessing the Display Memory").
 *
 * When the registers make the window a plain view of memory (VBE with a
 * linear format; chain-4 without any of the graphics controller's
 * operations), an alias of VRAM is laid over the window and the guest's
 * accesses never come here.
 */
#include "core/vm/vm.h"
#include "hw/video/vga_int.h"

enum { PRIORITY_MMIO = 1, PRIORITY_RAM = 2, LEGACY_BASE = 0xa0000 };

/* SR4 */
#define SR4_SEQUENTIAL 0x04 /* odd/even addressing off */
#define SR4_CHAIN4     0x08
/* GR5 */
#define GR5_WRITE_MODE(v) ((v)&3)
#define GR5_READ_MODE1    0x08
#define GR5_ODD_EVEN      0x10
/* GR6 */
#define GR6_MAP(v) ((v) >> 2 & 3)

static const struct {
    uint32_t offset, bytes;
} maps[4] = {
    { 0x00000, 0x20000 },
    { 0x00000, 0x10000 },
    { 0x10000, 0x08000 },
    { 0x18000, 0x08000 },
};

static bool is_vbe_linear(const struct vga *v)
{
    return vga_is_vbe(v) && v->vbe[VBE_BPP] != 4;
}

/* Window offset to address; false: this card does not answer there. */
static bool decode(const struct vga *v, uint64_t offset, uint32_t *addr)
{
    unsigned map = GR6_MAP(v->gr[6]);

    if ((v->misc & 0x02) == 0) return false; /* RAM access disabled */
    if (is_vbe_linear(v)) {
        if (offset >= VGA_BANK_BYTES) return false;
        *addr = v->vbe[VBE_BANK] * (uint32_t)VGA_BANK_BYTES + (uint32_t)offset;
        return true;
    }
    if (offset < maps[map].offset ||
        offset - maps[map].offset >= maps[map].bytes)
        return false;
    *addr = (uint32_t)offset - maps[map].offset;
    return true;
}

/* Where the four planes of plane offset a are. */
static uint8_t *planes_at(struct vga *v, uint32_t a)
{
    if (vga_is_vbe(v))
        a = (a & 0xffff) + v->vbe[VBE_BANK] * (uint32_t)VGA_BANK_BYTES;
    else
        a &= VGA_PLANE_MASK;
    return vga_vram(v, a * 4);
}

static uint8_t compare_colours(const struct vga *v)
{
    uint8_t match = 0xff;

    for (unsigned p = 0; p < 4; p++) {
        uint8_t want = v->gr[2] >> p & 1 ? 0xff : 0x00;
        if (v->gr[7] >> p & 1) match &= (uint8_t) ~(v->latch[p] ^ want);
    }
    return match;
}

static uint8_t read_byte(struct vga *v, uint64_t offset)
{
    uint32_t a;
    unsigned plane;
    const uint8_t *m;

    if (!decode(v, offset, &a)) return 0xff;
    if (is_vbe_linear(v)) return *vga_vram(v, a);
    if (v->sr[4] & SR4_CHAIN4) {
        plane = a & 3;
        m = planes_at(v, a >> 2);
    } else if (v->gr[5] & GR5_ODD_EVEN) {
        plane = (v->gr[4] & 2) | (a & 1);
        m = planes_at(v, a & ~1u);
    } else {
        plane = v->gr[4] & 3;
        m = planes_at(v, a);
    }
    for (unsigned p = 0; p < 4; p++)
        v->latch[p] = m[p];
    if (v->gr[5] & GR5_READ_MODE1) return compare_colours(v);
    return v->latch[plane];
}

static uint8_t rotate_right(uint8_t x, unsigned n)
{
    n &= 7;
    return (uint8_t)(x >> n | x << (8 - n));
}

static uint8_t combine(unsigned function, uint8_t x, uint8_t latch)
{
    switch (function & 3) {
    case 0: return x;
    case 1: return x & latch;
    case 2: return x | latch;
    default: return x ^ latch;
    }
}

/* Data of plane p on its way to memory; *mask gets the bits to change. */
static uint8_t plane_data(const struct vga *v, unsigned p, uint8_t x,
                          uint8_t *mask)
{
    uint8_t set_reset = v->gr[0] >> p & 1 ? 0xff : 0x00;
    uint8_t rotated = rotate_right(x, v->gr[3]);

    *mask = v->gr[8];
    switch (GR5_WRITE_MODE(v->gr[5])) {
    case 0: return v->gr[1] >> p & 1 ? set_reset : rotated;
    case 2: return x >> p & 1 ? 0xff : 0x00;
    default: *mask &= rotated; return set_reset; /* mode 3 */
    }
}

static void write_planes(struct vga *v, uint8_t *m, unsigned planes, uint8_t x)
{
    for (unsigned p = 0; p < 4; p++) {
        uint8_t mask, data;

        if ((planes >> p & 1) == 0) continue;
        if (GR5_WRITE_MODE(v->gr[5]) == 1) {
            m[p] = v->latch[p];
            continue;
        }
        data = plane_data(v, p, x, &mask);
        data = combine(v->gr[3] >> 3, data, v->latch[p]);
        m[p] = (uint8_t)((data & mask) | (v->latch[p] & ~mask));
    }
}

static void write_byte(struct vga *v, uint64_t offset, uint8_t x)
{
    unsigned planes = v->sr[2] & 0x0f;
    uint32_t a;

    if (!decode(v, offset, &a)) return;
    if (is_vbe_linear(v)) {
        *vga_vram(v, a) = x;
    } else if (v->sr[4] & SR4_CHAIN4) {
        write_planes(v, planes_at(v, a >> 2), planes & 1u << (a & 3), x);
    } else if ((v->sr[4] & SR4_SEQUENTIAL) == 0) {
        write_planes(v, planes_at(v, a & ~1u), planes & (a & 1 ? 0xa : 0x5), x);
    } else {
        write_planes(v, planes_at(v, a), planes, x);
    }
}

static uint64_t window_read(void *arg, uint64_t offset, unsigned bytes)
{
    uint64_t x = 0;

    for (unsigned i = 0; i < bytes; i++)
        x |= (uint64_t)read_byte(arg, offset + i) << 8 * i;
    return x;
}

static void window_write(void *arg, uint64_t offset, unsigned bytes, uint64_t x)
{
    for (unsigned i = 0; i < bytes; i++)
        write_byte(arg, offset + i, (uint8_t)(x >> 8 * i));
}

const struct mem_ops vga_window_ops = {
    .read = window_read,
    .write = window_write,
    .min_bytes = 1,
    .max_bytes = 8,
};

/* ------------------------------------------------- the window as plain RAM */

static bool is_chain4_plain(const struct vga *v)
{
    return (v->sr[4] & SR4_CHAIN4) != 0 && (v->sr[2] & 0x0f) == 0x0f &&
           (v->gr[5] & (GR5_READ_MODE1 | 3)) == 0 && v->gr[1] == 0 &&
           (v->gr[3] & 0x1f) == 0 && v->gr[8] == 0xff && !vga_is_vbe(v);
}

void vga_window_remove_locked(struct vga *v)
{
    if (!v->has_window_ram) return;
    mem_del_locked(v->pci.d->vm, &v->window_ram);
    v->has_window_ram = false;
}

void vga_window_update_locked(struct vga *v)
{
    struct vm *vm = v->pci.d->vm;
    uint32_t offset = 0, bytes = 0, target = 0;

    if ((v->misc & 0x02) != 0) {
        if (is_vbe_linear(v)) {
            bytes = VGA_BANK_BYTES;
            target =
                v->vbe[VBE_BANK] * (uint32_t)VGA_BANK_BYTES & VGA_VRAM_MASK;
        } else if (is_chain4_plain(v)) {
            offset = maps[GR6_MAP(v->gr[6])].offset;
            bytes = maps[GR6_MAP(v->gr[6])].bytes;
        }
    }
    if (v->has_window_ram == (bytes != 0) &&
        (bytes == 0 ||
         (offset == v->window_ram_offset && bytes == v->window_ram_bytes &&
          target == v->window_ram_target)))
        return;
    mem_begin_locked(vm);
    vga_window_remove_locked(v);
    if (bytes != 0) {
        mem_init_alias(&v->window_ram, "vga-window-ram", &v->vram_region,
                       target, bytes);
        mem_add_locked(vm, mem_root(vm), LEGACY_BASE + offset, &v->window_ram,
                       PRIORITY_RAM);
        v->has_window_ram = true;
        v->window_ram_offset = offset;
        v->window_ram_bytes = bytes;
        v->window_ram_target = target;
    }
    mem_commit_locked(vm);
}
