/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_PC_PC_H
#define ORRERY_HW_PC_PC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/vm/boot.h"
#include "core/vm/config.h"
#include "core/vm/irq.h"
#include "core/vm/mem.h"

/*
 * Machine "pc": i440FX with PIIX3 and PIIX4 power management.  The parts of
 * hw/pc share struct pc, the state of the device "pc" all others hang from.
 */
struct vm;
struct dev;

enum {
    PC_GSIS = 24,
    PC_SCI_IRQ = 9,
    PC_BOOT_LETTERS = 3, /* what fits into the CMOS */
};

/* Who drives an interrupt line; lines are shared by OR. */
enum pc_irq_source {
    PC_IRQ_ISA = 1,  /* the ISA device */
    PC_IRQ_PIRQ = 2, /* PCI through PIIX3 */
    PC_IRQ_SCI = 4,
    PC_IRQ_HPET = 8, /* I/O APIC alone */
};

struct pc {
    struct dev *d;
    struct dev *pic, *pit, *ioapic, *rtc, *i8042, *dma, *hpet;
    struct dev *bridge, *piix3, *ide, *pm, *fdc;

    uint64_t below_4g_bytes, above_4g_bytes;
    struct mem_region ram_640k, ram_low, ram_high;
    struct mem_region bios, bios_isa;

    uint8_t levels[PC_GSIS]; /* enum pc_irq_source, per line */
    struct irq_line isa[16], pirq[16], hpet_gsi[PC_GSIS], sci;

    bool has_hpet, has_acpi, has_graphics, has_smm;
    char boot_order[PC_BOOT_LETTERS + 1]; /* after the first reset */
    bool is_once;                         /* boot_once in effect */
    struct boot_set_service boot_set;
};

int pc_init(struct vm *vm, struct err *e);

/* memory.c: RAM below and above 4 GiB, BIOS at the top of 4 GiB and below
 * 1 MiB. */
int pc_memory_init(struct pc *pc, struct err *e);
void pc_memory_exit(struct pc *pc);

/* irqs.c: fan out to 8259 pair and I/O APIC, shared lines. */
void pc_irqs_init(struct pc *pc);

/* cmos.c */
void pc_cmos_init(struct pc *pc);
/* Boot order letters into CMOS 0x38 and 0x3d. */
void pc_cmos_set_boot(struct pc *pc, const char *letters);
/* "cad" and the like: -EINVAL with a message if it can not be. */
int pc_check_boot_order(const char *letters, struct err *e);

/* options.c: -M pc,NAME=VALUE,... */
int pc_parse_options(struct pc *pc, const char *text, struct err *e);

/* drives.c: IDE and floppy drives from the configuration. */
int pc_attach_drives(struct pc *pc, struct err *e);
/* Firmware's paths of what has a bootindex, in that order, a line each. */
int pc_boot_paths(struct pc *pc, char *text, size_t cap, struct err *e);

/* fw.c: fw_cfg items, ACPI, SMBIOS, boot loader. */
int pc_firmware_init(struct pc *pc, struct err *e);

#endif
