/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FW_CFG_H
#define ORRERY_HW_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Firmware configuration device (QEMU specification docs/specs/fw_cfg: ports
 * 0x510/0x511, DMA 0x514).  Other parts of a machine add items before the
 * first reset.  Data is copied.  VM lock held.
 */
struct vm;
struct fw_cfg;

struct fw_cfg *vm_fw_cfg(struct vm *vm); /* service "fw_cfg" */
int fw_cfg_add_item(struct fw_cfg *f, uint16_t key, const void *data,
                    size_t bytes, struct err *e);
int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v);
int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v);
int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v);
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data,
                    size_t bytes, struct err *e);
/* File made anew at every read from its start (bootorder after once=). */
int fw_cfg_replace_file(struct fw_cfg *f, const char *name,
                        const void *data, size_t bytes, struct err *e);

#endif
