/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_FIRMWARE_FIRMWARE_H
#define ORRERY_HW_FIRMWARE_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/config.h"

/*
 * What a machine hands to its firmware through fw_cfg.  VM lock held, before
 * the first reset.
 */
struct fw_cfg;

struct firmware_facts {
    uint64_t below_4g_bytes, above_4g_bytes;
    unsigned cpus;
    bool has_hpet, has_floppy, has_parallel;
    bool has_serial[VM_MAX_SERIAL];
    const uint8_t *uuid; /* 16 octets or NULL */
    const char *boot_paths; /* of devices, a line each; or NULL */
};

/* etc/acpi/tables, etc/acpi/rsdp and the script etc/table-loader that makes
 * firmware place and link them (ACPI 2.0 tables). */
int acpi_add_tables(struct fw_cfg *f, const struct firmware_facts *facts,
                    struct err *e);

/* etc/smbios/smbios-tables and smbios-anchor (SMBIOS 2.8). */
int smbios_add_tables(struct fw_cfg *f, const struct firmware_facts *facts,
                      struct err *e);

/* What is booted in which order, as far as somebody said; first, before
 * boot_paths: the boot ROM, or NULL. */
int boot_order_add(struct fw_cfg *f, const struct vm_config *cfg,
                   const struct firmware_facts *facts, const char *first,
                   struct err *e);

/* cfg->kernel, initrd, append: a boot ROM that firmware starts first, and the
 * images it fetches. */
int loader_add(struct fw_cfg *f, const struct vm_config *cfg,
               const struct firmware_facts *facts, struct err *e);

#endif
