/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -kernel: find out what it is and let its loader make a plan. */
#include <errno.h>
#include <stdlib.h>

#include "core/host/firmware.h"
#include "hw/firmware/boot_rom.h"
#include "hw/fw_cfg.h"

#define MAX_KERNEL_BYTES (1ull << 30)

int boot_add_initrd(struct boot_plan *p, const char *path, size_t *bytes,
                    struct err *e)
{
    uint8_t *data;
    int rc = file_read_all(path, p->limit, &data, bytes, e);

    if (rc < 0) return rc;
    rc = fw_cfg_take_item(p->f, FW_CFG_INITRD_DATA, data, *bytes, e);
    if (rc < 0) return rc;
    fw_cfg_back_item(p->f, FW_CFG_INITRD_DATA, path, 0);
    return fw_cfg_add_u32(p->f, FW_CFG_INITRD_SIZE, (uint32_t)*bytes);
}

int loader_add(struct fw_cfg *f, const struct vm_config *cfg,
               const struct firmware_facts *facts, struct err *e)
{
    static int (*const formats[])(struct boot_plan * p, uint8_t * data,
                                  size_t bytes, struct err * e) = {
        linux_load,
        multiboot_load,
        pvh_load,
    };
    struct boot_plan p = {
        .f = f,
        .cfg = cfg,
        .facts = facts,
        .high_end = BOOT_HIGH_BASE,
        .limit = facts->below_4g_bytes,
    };
    uint8_t *data;
    size_t bytes;
    int rc;

    if (p.limit < BOOT_HIGH_BASE + 2 * BOOT_RESERVED_BYTES) {
        return err_set(e, -ENOMEM, "too little memory for -kernel %s",
                       cfg->kernel);
    }
    p.limit -= BOOT_RESERVED_BYTES;
    rc = file_read_all(cfg->kernel, MAX_KERNEL_BYTES, &data, &bytes, e);
    if (rc < 0) return rc;
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        rc = formats[i](&p, data, bytes, e);
        if (rc != -ENOEXEC) break;
    }
    if (rc == 0) {
        rc = fw_cfg_take_item(f, FW_CFG_KERNEL_DATA, data, p.kernel_bytes, e);
        if (rc < 0) return rc;
        if (p.kernel_offset) {
            fw_cfg_back_item(f, FW_CFG_KERNEL_DATA, cfg->kernel,
                             p.kernel_offset);
        }
        return boot_rom_add(&p, e);
    }
    free(data);
    if (rc != -ENOEXEC) return rc;
    return err_set(e, rc, "%s is not a Linux, Multiboot or PVH kernel",
                   cfg->kernel);
}
