/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel loaders share, and the boot ROM as a firmware file. */
#include "hw/firmware/boot_rom.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hw/fw_cfg.h"

#define ROM_FILE "genroms/orrery-boot.bin"

enum { ROM_MAX_BYTES = 8192, ROM_PNP_AT = 0x1a, NO_ITEM = 0x3fff };

/* The most zeros one request may ask for behind an item's end. */
#define ZERO_CHUNK (128ull << 20)

extern const uint8_t boot_rom_start[], boot_rom_end[], boot_rom_params[];

/* ---- requests ---- */

static void request(struct boot_plan *p, uint32_t control, uint64_t addr,
                    uint64_t bytes)
{
    uint32_t be_control = htobe32(control);
    uint32_t be_bytes = htobe32((uint32_t)bytes);
    uint64_t be_addr = htobe64(addr);

    if (p->requests == BOOT_MAX_REQUESTS || bytes > UINT32_MAX) {
        p->status = -E2BIG;
        return;
    }
    memcpy(p->request[p->requests], &be_control, 4);
    memcpy(p->request[p->requests] + 4, &be_bytes, 4);
    memcpy(p->request[p->requests] + 8, &be_addr, 8);
    p->requests++;
}

void boot_read(struct boot_plan *p, uint16_t key, uint64_t offset,
               uint64_t addr, uint64_t bytes)
{
    uint32_t select = (uint32_t)key << 16 | FW_CFG_DMA_SELECT;

    if (bytes == 0) return;
    if (offset == 0) {
        request(p, select | FW_CFG_DMA_READ, addr, bytes);
        return;
    }
    request(p, select | FW_CFG_DMA_SKIP, 0, offset);
    request(p, FW_CFG_DMA_READ, addr, bytes);
}

void boot_zero(struct boot_plan *p, uint64_t addr, uint64_t bytes)
{
    while (bytes > 0 && p->status == 0) {
        uint64_t n = bytes < ZERO_CHUNK ? bytes : ZERO_CHUNK;

        boot_read(p, NO_ITEM, 0, addr, n);
        addr += n;
        bytes -= n;
    }
}

/* ---- memory ---- */

int boot_claim(struct boot_plan *p, uint64_t addr, uint64_t bytes,
               const char *what, struct err *e)
{
    uint64_t end = addr + bytes;

    if (bytes == 0) return 0;
    if (addr < BOOT_HIGH_BASE || end < addr || end > p->limit) {
        return err_set(e, -ENOMEM,
                       "%s of %s needs memory from 0x%llx to 0x%llx, there is "
                       "memory from 0x%x to 0x%llx",
                       what, p->cfg->kernel, (unsigned long long)addr,
                       (unsigned long long)end, BOOT_HIGH_BASE,
                       (unsigned long long)p->limit);
    }
    for (unsigned i = 0; i < p->claims; i++) {
        if (addr < p->claim[i].end && p->claim[i].start < end) {
            return err_set(e, -EINVAL, "%s of %s at 0x%llx overlaps another",
                           what, p->cfg->kernel, (unsigned long long)addr);
        }
    }
    if (p->claims == BOOT_MAX_CLAIMS) {
        return err_set(e, -E2BIG, "%s has too many parts", p->cfg->kernel);
    }
    p->claim[p->claims].start = addr;
    p->claim[p->claims++].end = end;
    if (end > p->high_end) p->high_end = end;
    return 0;
}

int boot_place_high(struct boot_plan *p, uint64_t bytes, uint64_t max,
                    const char *what, uint64_t *addr, struct err *e)
{
    uint64_t top = max < p->limit ? max + 1 : p->limit;

    if (bytes > top || ((top - bytes) & ~0xfffull) < p->high_end) {
        return err_set(e, -ENOMEM,
                       "no room in memory for %s of %llu bytes above 0x%llx "
                       "(use more with -m)",
                       what, (unsigned long long)bytes,
                       (unsigned long long)p->high_end);
    }
    *addr = (top - bytes) & ~0xfffull;
    return boot_claim(p, *addr, bytes, what, e);
}

/* ---- the ROM ---- */

static void set_sum(uint8_t *area, size_t bytes, uint8_t *sum_at)
{
    uint8_t sum = 0;

    *sum_at = 0;
    for (size_t i = 0; i < bytes; i++) {
        sum += area[i];
    }
    *sum_at = (uint8_t)-sum;
}

int boot_order_add(struct fw_cfg *f, const struct vm_config *cfg,
                   const struct firmware_facts *facts, const char *first,
                   struct err *e)
{
    const char *paths = facts->boot_paths != NULL ? facts->boot_paths : "";
    const char *gap = first != NULL && paths[0] != '\0' ? "\n" : "";
    char text[1024];
    int n;

    if (first == NULL) first = "";
    if (first[0] == '\0' && paths[0] == '\0') return 0;
    n = snprintf(text, sizeof(text), "%s%s%s%s", first, gap, paths,
                 cfg->is_boot_strict ? "\nHALT" : "");
    if ((size_t)n >= sizeof(text)) {
        return err_set(e, -E2BIG, "too many devices with bootindex=");
    }
    return fw_cfg_add_file(f, "bootorder", text, (size_t)n + 1, e);
}

int boot_rom_add(struct boot_plan *p, struct err *e)
{
    uint8_t rom[ROM_MAX_BYTES] = { 0 };
    size_t code = (size_t)(boot_rom_end - boot_rom_start);
    size_t bytes = code + (p->requests + 1) * 16;
    uint8_t *pnp;
    int rc;

    _Static_assert(sizeof(struct boot_rom_params) == 40, "boot_rom.S");
    bytes = (bytes + 511) & ~(size_t)511;
    if (p->status < 0 || bytes > sizeof(rom)) {
        return err_set(e, -E2BIG, "%s has too many parts", p->cfg->kernel);
    }
    memcpy(rom, boot_rom_start, code);
    p->params.script = (uint16_t)code;
    memcpy(rom + (boot_rom_params - boot_rom_start), &p->params,
           sizeof(p->params));
    memcpy(rom + code, p->request, p->requests * sizeof(p->request[0]));
    pnp = rom + get_le16(rom + ROM_PNP_AT);
    set_sum(pnp, 32, pnp + 9);
    rom[2] = (uint8_t)(bytes / 512);
    set_sum(rom, bytes, &rom[bytes - 1]);
    rc = fw_cfg_add_file(p->f, ROM_FILE, rom, bytes, e);
    return rc < 0 ? rc
                  : boot_order_add(p->f, p->cfg, p->facts, "/rom@" ROM_FILE, e);
}
