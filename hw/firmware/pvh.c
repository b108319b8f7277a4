/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PVH direct boot: an ELF kernel whose Xen note XEN_ELFNOTE_PHYS32_ENTRY names
 * a 32-bit entry point.
 *
 * Document: Xen, docs/misc/pvh.pandoc and public header
 * arch-x86/hvm/start_info.h.  EBX points to struct hvm_start_info; memory map
 * and RSDP address are filled in by the boot ROM.
 */
#include <errno.h>
#include <string.h>

#include "hw/firmware/boot_rom.h"
#include "hw/firmware/elf_file.h"
#include "hw/fw_cfg.h"

enum {
    XEN_NOTE_PHYS32_ENTRY = 18,

    /* struct hvm_start_info, version 1 */
    START_MAGIC = 0,
    START_VERSION = 4,
    START_MODULES = 12,
    START_MODLIST = 16,
    START_CMDLINE = 24,
    START_RSDP = 32,
    START_MAP = 40,
    START_MAP_ENTRIES = 48,

    /* Our layout of the block at BOOT_LOW_BASE */
    BLOCK_MODULE = 0x80,
    BLOCK_MAP = 0x100,
    BLOCK_CMDLINE = 0x1000,
    BLOCK_MAX = BOOT_LOW_END - BOOT_LOW_BASE,
};

#define START_INFO_MAGIC 0x336ec578u
#define BLOCK_FILE       "etc/orrery/boot-info"

/* Entry point from one PT_NOTE segment. */
static bool find_entry(const uint8_t *p, uint64_t bytes, uint64_t *entry)
{
    while (bytes >= 12) {
        uint64_t name = get_le32(p), desc = get_le32(p + 4);
        uint64_t name_room = (name + 3) & ~3ull;
        uint64_t desc_room = (desc + 3) & ~3ull;

        if (name_room > bytes - 12 || desc > bytes - 12 - name_room) {
            return false;
        }
        if (get_le32(p + 8) == XEN_NOTE_PHYS32_ENTRY && name == 4 &&
            memcmp(p + 12, "Xen", 4) == 0 && desc >= 4) {
            p += 12 + name_room;
            *entry = desc >= 8 ? get_le64(p) : get_le32(p);
            return true;
        }
        if (desc_room > bytes - 12 - name_room) return false;
        p += 12 + name_room + desc_room;
        bytes -= 12 + name_room + desc_room;
    }
    return false;
}

static int pvh_entry(const struct elf_file *f, uint64_t *entry)
{
    for (unsigned i = 0; i < f->phnum; i++) {
        struct elf_segment s;

        if (elf_segment(f, i, &s) < 0 || s.type != PT_NOTE) continue;
        if (find_entry(f->data + s.offset, s.file_bytes, entry)) return 0;
    }
    return -ENOEXEC;
}

static int add_module(struct boot_plan *p, uint8_t *block, struct err *e)
{
    uint64_t addr;
    size_t bytes;
    int rc;

    if (p->cfg->initrd == NULL) return 0;
    rc = boot_add_initrd(p, p->cfg->initrd, &bytes, e);
    if (rc < 0) return rc;
    rc =
        boot_place_high(p, bytes, UINT32_MAX, "the initial RAM disk", &addr, e);
    if (rc < 0) return rc;
    boot_read(p, FW_CFG_INITRD_DATA, 0, addr, bytes);
    put_le32(block + START_MODULES, 1);
    put_le64(block + START_MODLIST, BOOT_LOW_BASE + BLOCK_MODULE);
    put_le64(block + BLOCK_MODULE, addr);
    put_le64(block + BLOCK_MODULE + 8, bytes);
    return 0;
}

static int add_block(struct boot_plan *p, struct err *e)
{
    static const uint8_t empty[BLOCK_CMDLINE];
    const char *append = p->cfg->append != NULL ? p->cfg->append : "";
    size_t len = strlen(append);
    uint8_t block[BLOCK_CMDLINE];
    int rc;

    if (len >= BLOCK_MAX - BLOCK_CMDLINE) {
        return err_set(e, -E2BIG, "-append of %zu bytes is too long", len);
    }
    memcpy(block, empty, sizeof(block));
    put_le32(block + START_MAGIC, START_INFO_MAGIC);
    put_le32(block + START_VERSION, 1);
    put_le64(block + START_CMDLINE, BOOT_LOW_BASE + BLOCK_CMDLINE);
    put_le64(block + START_MAP, BOOT_LOW_BASE + BLOCK_MAP);
    rc = add_module(p, block, e);
    if (rc < 0) return rc;
    rc = fw_cfg_add_file(p->f, BLOCK_FILE, block, sizeof(block), e);
    if (rc < 0) return rc;
    rc = fw_cfg_add_item(p->f, FW_CFG_CMDLINE_DATA, append, len + 1, e);
    if (rc < 0) return rc;
    boot_read(p, fw_cfg_file_key(p->f, BLOCK_FILE), 0, BOOT_LOW_BASE,
              sizeof(block));
    boot_read(p, FW_CFG_CMDLINE_DATA, 0, BOOT_LOW_BASE + BLOCK_CMDLINE,
              len + 1);
    return 0;
}

int pvh_load(struct boot_plan *p, uint8_t *data, size_t bytes, struct err *e)
{
    struct elf_file f;
    uint64_t entry;
    int rc = elf_open(&f, data, bytes);

    if (rc < 0) return rc;
    rc = pvh_entry(&f, &entry);
    if (rc < 0) {
        /* An ELF file deserves a more exact answer than "unknown". */
        return err_set(e, -EINVAL,
                       "%s is an ELF file without PVH note or Multiboot header",
                       p->cfg->kernel);
    }
    if (entry > UINT32_MAX) {
        return err_set(e, -EINVAL, "%s: PVH entry 0x%llx is above 4 GiB",
                       p->cfg->kernel, (unsigned long long)entry);
    }
    rc = elf_load(p, &f, e);
    if (rc == 0) rc = add_block(p, e);
    if (rc < 0) return rc;
    p->params.mode = BOOT_PROTECTED;
    p->params.entry = (uint32_t)entry;
    p->params.ebx = BOOT_LOW_BASE;
    p->params.map = BOOT_LOW_BASE + BLOCK_MAP;
    p->params.map_count = BOOT_LOW_BASE + START_MAP_ENTRIES;
    p->params.map_max = BOOT_MAP_MAX;
    p->params.rsdp = BOOT_LOW_BASE + START_RSDP;
    p->kernel_bytes = bytes;
    return 0;
}
