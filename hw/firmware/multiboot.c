/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot kernels: ELF, or raw images with address fields in the header.
 *
 * Document: Multiboot Specification 0.6.96, 3.1 (header), 3.2 (machine
 * state), 3.3 (boot information).  -initrd is a comma-separated list of
 * modules, each with arguments after the first space.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/firmware.h"
#include "hw/firmware/boot_rom.h"
#include "hw/firmware/elf_file.h"
#include "hw/fw_cfg.h"

#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC   0x2badb002u
#define BLOCK_FILE   "etc/orrery/boot-info"

enum {
    SEARCH_BYTES = 8192,
    FLAG_ADDRESSES = 1 << 16,
    FLAGS_KNOWN = 0x0007, /* page-aligned modules, memory, video (text) */

    INFO_MEMORY = 1 << 0,
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MAP = 1 << 6,
    INFO_LOADER = 1 << 9,

    /* Boot information */
    MB_FLAGS = 0,
    MB_MEM_LOWER = 4,
    MB_MEM_UPPER = 8,
    MB_CMDLINE = 16,
    MB_MODS_COUNT = 20,
    MB_MODS_ADDR = 24,
    MB_MMAP_LENGTH = 44,
    MB_MMAP_ADDR = 48,
    MB_LOADER_NAME = 64,

    /* Our layout of the block at BOOT_LOW_BASE */
    BLOCK_MODULES = 0x100,
    MAX_MODULES = 40,
    BLOCK_MAP = 0x400,
    BLOCK_TEXT = 0x1000,
    BLOCK_BYTES = 0x8000,
};

struct multiboot {
    struct boot_plan *p;
    uint32_t at; /* of the header in the file */
    const uint8_t *header;
    uint32_t entry;
    uint8_t *block;
    size_t text; /* next free octet for strings */
    unsigned modules;
};

static int find_header(struct multiboot *m, const uint8_t *data, size_t bytes)
{
    size_t end = bytes < SEARCH_BYTES ? bytes : SEARCH_BYTES;

    for (size_t at = 0; at + 12 <= end; at += 4) {
        const uint8_t *h = data + at;

        if (get_le32(h) == HEADER_MAGIC &&
            get_le32(h) + get_le32(h + 4) + get_le32(h + 8) == 0) {
            m->at = (uint32_t)at;
            m->header = h;
            return 0;
        }
    }
    return -ENOEXEC;
}

/* 3.1.3: header, load, load end, bss end and entry address */
static int load_raw(struct multiboot *m, size_t bytes, struct err *e)
{
    const uint8_t *h = m->header;
    struct boot_plan *p = m->p;
    uint64_t header, load, load_end, bss_end, offset, n;
    int rc;

    if (bytes - m->at < 32) goto damaged;
    header = get_le32(h + 12);
    load = get_le32(h + 16);
    load_end = get_le32(h + 20);
    bss_end = get_le32(h + 24);
    m->entry = get_le32(h + 28);
    if (header < load || header - load > m->at) goto damaged;
    offset = m->at - (header - load);
    n = load_end != 0 ? load_end - load : bytes - offset;
    if ((load_end != 0 && load_end < load) || n > bytes - offset) goto damaged;
    if (bss_end == 0) bss_end = load + n;
    if (bss_end < load + n) goto damaged;
    rc = boot_claim(p, load, bss_end - load, "the image", e);
    if (rc < 0) return rc;
    boot_read(p, FW_CFG_KERNEL_DATA, offset, load, n);
    boot_zero(p, load + n, bss_end - load - n);
    return 0;
damaged:
    return err_set(e, -EINVAL,
                   "%s: addresses in the Multiboot header are wrong",
                   p->cfg->kernel);
}

/* The entry point is a virtual address; find the segment it is in. */
static uint64_t physical_entry(const struct elf_file *f)
{
    for (unsigned i = 0; i < f->phnum; i++) {
        struct elf_segment s;

        if (elf_segment(f, i, &s) < 0 || s.type != PT_LOAD) continue;
        if (f->entry >= s.vaddr && f->entry - s.vaddr < s.mem_bytes) {
            return f->entry - s.vaddr + s.paddr;
        }
    }
    return f->entry;
}

static int load_elf(struct multiboot *m, const uint8_t *data, size_t bytes,
                    struct err *e)
{
    struct elf_file f;
    int rc;

    if (elf_open(&f, data, bytes) < 0) {
        return err_set(e, -EINVAL,
                       "%s: Multiboot header without addresses, and no ELF",
                       m->p->cfg->kernel);
    }
    if (f.is_64) {
        return err_set(e, -EINVAL,
                       "%s: a Multiboot kernel must be a 32-bit ELF file",
                       m->p->cfg->kernel);
    }
    rc = elf_load(m->p, &f, e);
    m->entry = (uint32_t)physical_entry(&f);
    return rc;
}

/* Address of a copy of text, 0 if there is no room. */
static uint32_t add_text(struct multiboot *m, const char *a, const char *b)
{
    size_t left = BLOCK_BYTES - m->text;
    int n = snprintf((char *)m->block + m->text, left, "%s%s%s", a,
                     b != NULL ? " " : "", b != NULL ? b : "");
    uint32_t addr = BOOT_LOW_BASE + (uint32_t)m->text;

    if (n < 0 || (size_t)n >= left) return 0;
    m->text += (size_t)n + 1;
    return addr;
}

static int add_module(struct multiboot *m, char *spec, struct err *e)
{
    struct boot_plan *p = m->p;
    uint8_t *row = m->block + BLOCK_MODULES + 16 * m->modules;
    char *args = strchr(spec, ' '), name[48];
    uint64_t addr = (p->high_end + 0xfff) & ~0xfffull;
    uint32_t text;
    uint8_t *data;
    size_t bytes;
    int rc;

    if (m->modules == MAX_MODULES) {
        return err_set(e, -E2BIG, "more than %d Multiboot modules",
                       MAX_MODULES);
    }
    text = add_text(m, spec, NULL);
    if (text == 0) return err_set(e, -E2BIG, "-initrd text is too long");
    if (args != NULL) *args = '\0';
    rc = file_read_all(spec, p->limit, &data, &bytes, e);
    if (rc < 0) return rc;
    snprintf(name, sizeof(name), "etc/orrery/module%u", m->modules);
    rc = fw_cfg_take_file(p->f, name, data, bytes, e);
    if (rc < 0) return rc;
    rc = boot_claim(p, addr, bytes, "a module", e);
    if (rc < 0) return rc;
    boot_read(p, fw_cfg_file_key(p->f, name), 0, addr, bytes);
    put_le32(row, (uint32_t)addr);
    put_le32(row + 4, (uint32_t)(addr + bytes));
    put_le32(row + 8, text);
    m->modules++;
    return 0;
}

static int add_modules(struct multiboot *m, struct err *e)
{
    const char *list = m->p->cfg->initrd;
    char *copy, *next, *save = NULL;
    int rc = 0;

    if (list == NULL) return 0;
    copy = strdup(list);
    if (copy == NULL) return err_set(e, -ENOMEM, "out of memory");
    for (next = strtok_r(copy, ",", &save); next != NULL && rc == 0;
         next = strtok_r(NULL, ",", &save)) {
        rc = add_module(m, next, e);
    }
    free(copy);
    return rc;
}

static int fill_block(struct multiboot *m, struct err *e)
{
    const struct vm_config *cfg = m->p->cfg;
    uint8_t *b = m->block;
    uint32_t cmdline;
    int rc;

    m->text = BLOCK_TEXT;
    cmdline = add_text(m, cfg->kernel, cfg->append);
    if (cmdline == 0) {
        return err_set(e, -E2BIG, "-append is too long for Multiboot");
    }
    rc = add_modules(m, e);
    if (rc < 0) return rc;
    put_le32(b + MB_FLAGS, INFO_MEMORY | INFO_CMDLINE | INFO_MODULES |
                               INFO_MAP | INFO_LOADER);
    put_le32(b + MB_MEM_LOWER, 639);
    put_le32(b + MB_MEM_UPPER,
             (uint32_t)((m->p->limit - BOOT_HIGH_BASE) >> 10));
    put_le32(b + MB_CMDLINE, cmdline);
    put_le32(b + MB_MODS_COUNT, m->modules);
    put_le32(b + MB_MODS_ADDR, BOOT_LOW_BASE + BLOCK_MODULES);
    put_le32(b + MB_MMAP_ADDR, BOOT_LOW_BASE + BLOCK_MAP);
    put_le32(b + MB_LOADER_NAME, add_text(m, "orrery", NULL));
    /* The ROM writes 20 octets behind each size field. */
    for (unsigned i = 0; i < BOOT_MAP_MAX; i++) {
        put_le32(b + BLOCK_MAP + 24 * i, 20);
    }
    rc = fw_cfg_add_file(m->p->f, BLOCK_FILE, b, BLOCK_BYTES, e);
    if (rc < 0) return rc;
    boot_read(m->p, fw_cfg_file_key(m->p->f, BLOCK_FILE), 0, BOOT_LOW_BASE,
              BLOCK_BYTES);
    return 0;
}

int multiboot_load(struct boot_plan *p, uint8_t *data, size_t bytes,
                   struct err *e)
{
    struct multiboot m = { .p = p };
    uint32_t flags;
    int rc = find_header(&m, data, bytes);

    if (rc < 0) return rc;
    flags = get_le32(m.header + 4);
    if (flags & 0xffff & ~FLAGS_KNOWN) {
        return err_set(e, -ENOTSUP,
                       "%s wants Multiboot features 0x%x, which are unknown",
                       p->cfg->kernel, flags & 0xffff & ~FLAGS_KNOWN);
    }
    rc = flags & FLAG_ADDRESSES ? load_raw(&m, bytes, e)
                                : load_elf(&m, data, bytes, e);
    if (rc < 0) return rc;
    m.block = calloc(1, BLOCK_BYTES);
    if (m.block == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = fill_block(&m, e);
    free(m.block);
    if (rc < 0) return rc;
    p->params.mode = BOOT_PROTECTED;
    p->params.entry = m.entry;
    p->params.eax = BOOT_MAGIC;
    p->params.ebx = BOOT_LOW_BASE;
    p->params.map = BOOT_LOW_BASE + BLOCK_MAP + 4;
    p->params.map_bytes = BOOT_LOW_BASE + MB_MMAP_LENGTH;
    p->params.map_max = BOOT_MAP_MAX;
    p->kernel_bytes = bytes;
    return 0;
}
