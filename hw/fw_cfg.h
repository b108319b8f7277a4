/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FW_CFG_H
#define ORRERY_HW_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/dev.h"

/*
 * Firmware configuration device (QEMU specification docs/specs/fw_cfg: ports
 * 0x510/0x511, DMA 0x514).  Other parts of a machine add items before the
 * first reset.  Data is copied.  VM lock held.
 */
struct vm;
struct fw_cfg;

extern const struct dev_class fw_cfg_class;

/* Items with fixed keys */
enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

/* DMA control word (docs/specs/fw_cfg) */
#define FW_CFG_DMA_ERROR  0x01u
#define FW_CFG_DMA_READ   0x02u
#define FW_CFG_DMA_SKIP   0x04u
#define FW_CFG_DMA_SELECT 0x08u
#define FW_CFG_DMA_WRITE  0x10u

struct fw_cfg *vm_fw_cfg(struct vm *vm); /* service "fw_cfg" */
int fw_cfg_add_item(struct fw_cfg *f, uint16_t key, const void *data,
                    size_t bytes, struct err *e);
int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v);
int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v);
int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v);
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data,
                    size_t bytes, struct err *e);
/* As fw_cfg_add_item, but takes over data (malloc'ed; freed on failure too):
 * for kernels and initial RAM disks. */
int fw_cfg_take_item(struct fw_cfg *f, uint16_t key, void *data, size_t bytes,
                     struct err *e);
int fw_cfg_take_file(struct fw_cfg *f, const char *name, void *data,
                     size_t bytes, struct err *e);
/* The item is the octets of the file at path from offset on, and need not be
 * kept in memory: read it when the guest does.  It stays as it is if that is
 * no regular file. */
void fw_cfg_back_item(struct fw_cfg *f, uint16_t key, const char *path,
                      uint64_t offset);
/* Selector of a file, 0 if there is none. */
uint16_t fw_cfg_file_key(struct fw_cfg *f, const char *name);
/* New contents, or a new file (boot order after once=). */
int fw_cfg_replace_file(struct fw_cfg *f, const char *name, const void *data,
                        size_t bytes, struct err *e);

#endif
