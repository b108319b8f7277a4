/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host bridge 82441FX (PMC), function 00:00.0.
 *
 * Document: Intel 82441FX PCI and Memory Controller data sheet (290549):
 * 3.2.18 PAM registers (0x59-0x5f), 3.2.20 SMRAM (0x72).
 *
 * Each of the 13 PAM segments between 0xc0000 and 0xfffff reads from RAM or
 * from PCI and writes to RAM or to PCI, independently.  Reading and writing
 * RAM is an alias of main memory, reading alone the same alias read-only.
 * Writing alone (the BIOS copies itself "in place") can not be expressed by
 * memory and is an MMIO region that reads the ROM and writes RAM.
 *
 * SMRAM is the 128 KiB of main memory behind the VGA window.  CPUs in SMM see
 * it while G_SMRAME is set, everybody while D_OPEN is.  D_LCK ends that until a
 * reset.  D_CLS is a bit without effect: data references of SMM are not told
 * from fetches.
 */
#include "hw/pci/i440fx.h"

#include <string.h>

#include "core/vm/dirty.h"
#include "core/vm/dma.h"
#include "core/vm/vm.h"
#include "hw/pci.h"

enum {
    PAM_FIRST = 0x59,
    PAM_SEGMENTS = 13,
    SHADOW_BASE = 0xc0000,
    SHADOW_END = 0x100000,
    SMRAM_REG = 0x72,
    SMRAM_BASE = 0xa0000,
    SMRAM_BYTES = 0x20000,
};

#define PAM_RE         0x1 /* read from RAM */
#define PAM_WE         0x2 /* write to RAM */
#define SMRAM_D_OPEN   0x40
#define SMRAM_D_CLS    0x20
#define SMRAM_D_LCK    0x10
#define SMRAM_G_SMRAME 0x08
#define SMRAM_RESET    0x02 /* C_BASE_SEG = 010, read-only */
#define SMRAM_WRITABLE 0x78

struct pam_segment {
    struct mem_region ram;
    struct mem_region write_only;
    uint32_t base;
    struct i440fx *bridge;
};

struct i440fx {
    struct pci_func pci; /* first */
    struct dev *d;
    struct pam_segment seg[PAM_SEGMENTS];
    struct mem_region smram;     /* opened */
    struct mem_region smm_smram; /* in SMM */
    struct mem_region *rom;
};

/* ---- write-only segments ---- */

static uint64_t write_only_read(void *arg, uint64_t offset, unsigned bytes)
{
    const struct pam_segment *s = arg;
    const struct mem_region *rom = s->bridge->rom;
    uint64_t from_end = SHADOW_END - (s->base + offset);
    uint64_t v = UINT64_MAX;

    if (rom != NULL && from_end <= rom->size && from_end <= 0x20000 &&
        bytes <= from_end) {
        memcpy(&v, rom->host + rom->size - from_end, bytes);
    }
    return v;
}

static void write_only_write(void *arg, uint64_t offset, unsigned bytes,
                             uint64_t v)
{
    const struct pam_segment *s = arg;
    struct mem_region *ram = vm_ram(s->bridge->d->vm);
    uint64_t at = s->base + offset;

    if (at + bytes > ram->size) return;
    memcpy(ram->host + at, &v, bytes);
    vm_dirty_mark(s->bridge->d->vm, ram->host + at, bytes);
}

static const struct mem_ops write_only_ops = {
    .read = write_only_read,
    .write = write_only_write,
    .max_bytes = 8,
};

/* ---- registers ---- */

/* Segment 0 is 0xf0000-0xfffff (high nibble of PAM0), the others follow in
 * steps of 16 KiB from 0xc0000, low nibble first. */
static unsigned segment_mode(const struct i440fx *b, unsigned n)
{
    unsigned shift = n == 0 || n % 2 == 0 ? 4 : 0;

    return b->pci.config[PAM_FIRST + (n + 1) / 2] >> shift & 3;
}

static void update_map(struct i440fx *b)
{
    struct vm *vm = b->d->vm;
    uint8_t smram = b->pci.config[SMRAM_REG];

    mem_begin_locked(vm);
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        struct pam_segment *s = &b->seg[i];
        unsigned mode = segment_mode(b, i);

        mem_set_readonly_locked(vm, &s->ram, !(mode & PAM_WE));
        mem_set_enabled_locked(vm, &s->ram, (mode & PAM_RE) != 0);
        mem_set_enabled_locked(vm, &s->write_only, mode == PAM_WE);
    }
    mem_set_enabled_locked(vm, &b->smram, smram & SMRAM_D_OPEN);
    mem_set_enabled_locked(vm, &b->smm_smram, smram & SMRAM_G_SMRAME);
    mem_commit_locked(vm);
}

static void config_written(struct pci_func *f, unsigned off, unsigned bytes)
{
    struct i440fx *b = f->d->s;

    if (off <= SMRAM_REG && SMRAM_REG < off + bytes &&
        f->config[SMRAM_REG] & SMRAM_D_LCK) {
        /* Locked until reset, and closed with it. */
        f->config[SMRAM_REG] &= (uint8_t)~SMRAM_D_OPEN;
        f->wmask[SMRAM_REG] = SMRAM_D_CLS;
    }
    if (off < PAM_FIRST + 7 && off + bytes > PAM_FIRST) update_map(b);
    if (off <= SMRAM_REG && SMRAM_REG < off + bytes) update_map(b);
}

/* ---- device ---- */

static void make_regions(struct i440fx *b)
{
    struct vm *vm = b->d->vm;

    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        struct pam_segment *s = &b->seg[i];
        uint32_t bytes = i == 0 ? 0x10000 : 0x4000;

        s->base = i == 0 ? 0xf0000 : SHADOW_BASE + (i - 1) * 0x4000;
        s->bridge = b;
        mem_init_alias(&s->ram, "pam-ram", vm_ram(vm), s->base, bytes);
        mem_init_mmio(&s->write_only, "pam-write-only", bytes, &write_only_ops,
                      s);
        s->ram.is_enabled = s->write_only.is_enabled = false;
        mem_add_locked(vm, mem_root(vm), s->base, &s->ram, 1);
        mem_add_locked(vm, mem_root(vm), s->base, &s->write_only, 1);
    }
    mem_init_alias(&b->smram, "smram", vm_ram(vm), SMRAM_BASE, SMRAM_BYTES);
    b->smram.is_enabled = false;
    mem_add_locked(vm, mem_root(vm), SMRAM_BASE, &b->smram, 16);
    mem_init_alias(&b->smm_smram, "smram", vm_ram(vm), SMRAM_BASE, SMRAM_BYTES);
    b->smm_smram.is_enabled = false;
    mem_add_locked(vm, mem_smm_root(vm), SMRAM_BASE, &b->smm_smram, 1);
}

static int i440fx_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x8086,
        .device = 0x1237,
        .subvendor = 0x1af4,
        .subdevice = 0x1100,
        .revision = 0x02,
        .base_class = 0x06,
    };
    struct i440fx *b = d->s;
    int rc;

    b->d = d;
    rc = pci_func_init(d, &b->pci, &ids, 0, e);
    if (rc < 0) return rc;
    memset(b->pci.wmask + PAM_FIRST, 0x33, 7);
    b->pci.wmask[PAM_FIRST] = 0x30;
    b->pci.config_written = config_written;
    mem_begin_locked(d->vm);
    make_regions(b);
    mem_commit_locked(d->vm);
    return 0;
}

static void i440fx_reset(struct dev *d)
{
    struct i440fx *b = d->s;

    pci_func_reset(&b->pci);
    memset(b->pci.config + PAM_FIRST, 0, 7);
    b->pci.config[SMRAM_REG] = SMRAM_RESET;
    b->pci.wmask[SMRAM_REG] = SMRAM_WRITABLE;
    update_map(b);
}

static int i440fx_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct i440fx *b = d->s;

    (void)version;
    (void)e;
    pci_func_loaded(&b->pci);
    b->pci.wmask[SMRAM_REG] = SMRAM_WRITABLE;
    if (b->pci.config[SMRAM_REG] & SMRAM_D_LCK) {
        b->pci.config[SMRAM_REG] &= (uint8_t)~SMRAM_D_OPEN;
        b->pci.wmask[SMRAM_REG] = SMRAM_D_CLS;
    }
    update_map(b);
    return 0;
}

static void i440fx_destroy(struct dev *d)
{
    struct i440fx *b = d->s;

    mem_begin_locked(d->vm);
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        mem_del_locked(d->vm, &b->seg[i].ram);
        mem_del_locked(d->vm, &b->seg[i].write_only);
    }
    mem_del_locked(d->vm, &b->smram);
    mem_del_locked(d->vm, &b->smm_smram);
    mem_commit_locked(d->vm);
    pci_func_exit(&b->pci);
}

void i440fx_set_rom(struct dev *d, struct mem_region *rom)
{
    struct i440fx *b = d->s;

    b->rom = rom;
}

static const struct field i440fx_state[] = {
    STRUCT(i440fx, pci, pci_func_state),
    STATE_END,
};

const struct dev_class i440fx_class = {
    .name = "i440FX",
    .title = "Intel 82441FX host bridge",
    .bus = BUS_PCI,
    .size = sizeof(struct i440fx),
    .state = i440fx_state,
    .version = 1,
    .is_internal = true,
    .create = i440fx_create,
    .reset = i440fx_reset,
    .loaded = i440fx_loaded,
    .destroy = i440fx_destroy,
};
