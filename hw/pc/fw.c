/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware is told through fw_cfg. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/vm/vm.h"
#include "hw/firmware/firmware.h"
#include "hw/fw_cfg.h"
#include "hw/pc/pc.h"

/* etc/e820: base, length, type, packed; type 1 is RAM */
struct e820_row {
    uint64_t base, bytes;
    uint32_t type;
} __attribute__((packed));

static int add_e820(struct pc *pc, struct fw_cfg *f, struct err *e)
{
    struct e820_row rows[2] = {
        { 0, htole64(pc->below_4g_bytes), htole32(1) },
        { htole64(1ull << 32), htole64(pc->above_4g_bytes), htole32(1) },
    };
    unsigned n = pc->above_4g_bytes > 0 ? 2 : 1;

    return fw_cfg_add_file(f, "etc/e820", rows, n * sizeof(rows[0]), e);
}

/* Boot menu: item 0x0e and how long to wait for F12. */
static int add_boot_menu(const struct vm_config *cfg, struct fw_cfg *f,
                         struct err *e)
{
    static const uint32_t never = UINT32_MAX;
    uint16_t wait_ms;
    int rc;

    /* Without it firmware resets a machine that has nothing to boot. */
    rc = fw_cfg_add_file(f, "etc/boot-fail-wait", &never, sizeof(never), e);
    if (rc < 0) return rc;
    if (fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, cfg->has_boot_menu) < 0) {
        return err_set(e, -ENOMEM, "out of memory");
    }
    if (cfg->boot_splash_ms < 0) return 0;
    wait_ms =
        cfg->boot_splash_ms > 0xffff ? 0xffff : (uint16_t)cfg->boot_splash_ms;
    wait_ms = htole16(wait_ms);
    return fw_cfg_add_file(f, "etc/boot-menu-wait", &wait_ms, 2, e);
}

static int add_items(struct pc *pc, struct fw_cfg *f, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);
    uint64_t numa[1 + VM_MAX_CPUS] = { 0 }; /* no nodes */
    int rc = 0;

    rc |= fw_cfg_add_item(f, FW_CFG_UUID, cfg->uuid, 16, e);
    rc |= fw_cfg_add_u64(f, FW_CFG_RAM_SIZE,
                         pc->below_4g_bytes + pc->above_4g_bytes);
    rc |= fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, !pc->has_graphics);
    rc |= fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)cfg->cpus);
    rc |= fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)cfg->cpus);
    rc |= fw_cfg_add_item(f, FW_CFG_NUMA, numa, 8 + 8 * (size_t)cfg->cpus, e);
    rc |= fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1);
    if (rc < 0) return err_set(e, -ENOMEM, "out of memory");
    return add_boot_menu(cfg, f, e);
}

int pc_firmware_init(struct pc *pc, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);
    struct fw_cfg *f = vm_fw_cfg(pc->d->vm);
    char boot_paths[512];
    struct firmware_facts facts = {
        .below_4g_bytes = pc->below_4g_bytes,
        .above_4g_bytes = pc->above_4g_bytes,
        .cpus = cfg->cpus,
        .has_hpet = pc->has_hpet,
        .has_floppy = pc->fdc != NULL,
        .has_parallel = cfg->parallel != NULL,
        .uuid = cfg->has_uuid ? cfg->uuid : NULL,
    };
    int rc;

    rc = pc_boot_paths(pc, boot_paths, sizeof(boot_paths), e);
    if (rc < 0) return rc;
    facts.boot_paths = boot_paths;
    for (unsigned i = 0; i < VM_MAX_SERIAL; i++) {
        facts.has_serial[i] = cfg->serial[i] != NULL;
    }
    rc = add_items(pc, f, e);
    if (rc == 0) rc = add_e820(pc, f, e);
    if (rc == 0 && pc->has_acpi) rc = acpi_add_tables(f, &facts, e);
    if (rc == 0) rc = smbios_add_tables(f, &facts, e);
    if (rc < 0) return rc;
    return cfg->kernel != NULL ? loader_add(f, cfg, &facts, e)
                               : boot_order_add(f, cfg, &facts, NULL, e);
}
