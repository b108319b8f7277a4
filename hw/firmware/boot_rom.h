/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FIRMWARE_BOOT_ROM_H
#define ORRERY_HW_FIRMWARE_BOOT_ROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/config.h"
#include "hw/firmware/firmware.h"

/*
 * For the kernel loaders (linux.c, multiboot.c, pvh.c): what the boot ROM has
 * to fetch and how it enters the image.  Filled in by the loader, made into
 * the file genroms/orrery-boot.bin by boot_rom_add().
 */
struct fw_cfg;

enum boot_mode { BOOT_REAL = 0, BOOT_PROTECTED = 1 };

/* At boot_rom_params in boot_rom.S; little-endian, addresses linear. */
struct boot_rom_params {
    uint16_t script; /* offset in the ROM; set by boot_rom_add */
    uint16_t mode;
    uint32_t entry;          /* real mode: segment << 16 | offset */
    uint32_t eax, ebx;       /* protected mode */
    uint16_t segment, stack; /* real mode: all data segments, SP */
    uint32_t map;            /* memory map (24 octets per entry), 0: none */
    uint32_t map_count;      /* where the number of entries goes, 0 */
    uint32_t map_bytes;      /* where 24 times that goes, 0 */
    uint32_t rsdp;           /* where the RSDP's address goes, 0 */
    uint16_t map_max, reserved;
};

enum {
    BOOT_MAX_REQUESTS = 128,
    BOOT_MAX_CLAIMS = 64,
    BOOT_MAP_MAX = 100,
    /* Conventional memory firmware leaves alone; loaders put boot
     * information here. */
    BOOT_LOW_BASE = 0x10000,
    BOOT_LOW_END = 0x90000,
    BOOT_HIGH_BASE = 0x100000,
    /* At the end of RAM below 4 GiB firmware keeps tables. */
    BOOT_RESERVED_BYTES = 0x80000,
};

struct boot_plan {
    struct fw_cfg *f;
    const struct vm_config *cfg;
    const struct firmware_facts *facts;
    struct boot_rom_params params;
    uint8_t request[BOOT_MAX_REQUESTS][16];
    unsigned requests;
    struct {
        uint64_t start, end;
    } claim[BOOT_MAX_CLAIMS];
    unsigned claims;
    uint64_t high_end;    /* first address above 1 MiB no claim reaches */
    uint64_t limit;       /* end of what may be loaded below 4 GiB */
    size_t kernel_bytes;  /* of data to become item FW_CFG_KERNEL_DATA */
    size_t kernel_offset; /* its place in the file, 0: not as it is there */
    int status;           /* sticky: -E2BIG when there are too many requests */
};

/* Requests, in the order the ROM makes them.  bytes may exceed 4 GiB - 1
 * only by mistake: -E2BIG sticks. */
void boot_read(struct boot_plan *p, uint16_t key, uint64_t offset,
               uint64_t addr, uint64_t bytes);
void boot_zero(struct boot_plan *p, uint64_t addr, uint64_t bytes);

/* Memory a part of the image takes, above 1 MiB.  -ENOMEM if it is not there
 * or -EINVAL if another part lies there; what is for the message. */
int boot_claim(struct boot_plan *p, uint64_t addr, uint64_t bytes,
               const char *what, struct err *e);
/* Highest free place of bytes octets below max (inclusive; at most
 * p->limit), on 4 KiB. */
int boot_place_high(struct boot_plan *p, uint64_t bytes, uint64_t max,
                    const char *what, uint64_t *addr, struct err *e);

int boot_rom_add(struct boot_plan *p, struct err *e);

/* The initial RAM disk as item FW_CFG_INITRD_DATA; *bytes its size. */
int boot_add_initrd(struct boot_plan *p, const char *path, size_t *bytes,
                    struct err *e);

/* Loaders: 0, -errno, or -ENOEXEC without a message: not that format.  data
 * is the whole file; on 0 its first p->kernel_bytes octets (the loader may
 * move them there) become item FW_CFG_KERNEL_DATA. */
int linux_load(struct boot_plan *p, uint8_t *data, size_t bytes, struct err *e);
int multiboot_load(struct boot_plan *p, uint8_t *data, size_t bytes,
                   struct err *e);
int pvh_load(struct boot_plan *p, uint8_t *data, size_t bytes, struct err *e);

static inline uint16_t get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *p)
{
    return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

static inline uint64_t get_le64(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

static inline void put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

#endif
