/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CMOS contents of machine "pc".  The layout is the PC/AT's; SeaBIOS reads
 * the fields below (memory sizes, floppy and disk types, boot order, CPUs).
 */
#include <errno.h>
#include <string.h>

#include "core/vm/vm.h"
#include "hw/chips/chips.h"
#include "hw/pc/pc.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"

enum {
    CMOS_FLOPPY_TYPES = 0x10, /* high nibble A:, low B: */
    CMOS_DISK_TYPES = 0x12,
    CMOS_EQUIPMENT = 0x14,
    CMOS_BASE_KB = 0x15,
    CMOS_EXT_KB = 0x17, /* and 0x30: memory above 1 MiB */
    CMOS_DISK_TYPE_EXT = 0x19,
    CMOS_DISK_GEOMETRY = 0x1b, /* 9 octets per disk */
    CMOS_EXT_KB_POST = 0x30,
    CMOS_EXT2_64K = 0x34,  /* memory above 16 MiB */
    CMOS_BOOT_HIGH = 0x38, /* high nibble: third device */
    CMOS_TRANSLATION = 0x39,
    CMOS_BOOT_LOW = 0x3d,
    CMOS_HIGH_64K = 0x5b, /* memory above 4 GiB, 3 octets */
    CMOS_CPUS = 0x5f,
};

enum { EQUIPMENT_FPU = 0x02, EQUIPMENT_MOUSE = 0x04, DISK_TYPE_USER = 47 };

static void set16(struct pc *pc, unsigned index, uint64_t v)
{
    if (v > 0xffff) v = 0xffff;
    rtc_set_cmos(pc->rtc, index, (uint8_t)v);
    rtc_set_cmos(pc->rtc, index + 1, (uint8_t)(v >> 8));
}

static void set_memory(struct pc *pc)
{
    uint64_t low = pc->below_4g_bytes, high = pc->above_4g_bytes >> 16;
    uint64_t ext_kb = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;
    uint64_t ext2 = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;

    set16(pc, CMOS_BASE_KB, 640);
    set16(pc, CMOS_EXT_KB, ext_kb);
    set16(pc, CMOS_EXT_KB_POST, ext_kb);
    set16(pc, CMOS_EXT2_64K, ext2);
    for (unsigned i = 0; i < 3; i++) {
        rtc_set_cmos(pc->rtc, CMOS_HIGH_64K + i, (uint8_t)(high >> 8 * i));
    }
}

static void set_floppies(struct pc *pc)
{
    unsigned a = fdc_drive_type(pc->fdc, 0);
    unsigned b = fdc_drive_type(pc->fdc, 1);
    unsigned count = (a != 0) + (b != 0);
    uint8_t equipment = EQUIPMENT_FPU | EQUIPMENT_MOUSE;

    rtc_set_cmos(pc->rtc, CMOS_FLOPPY_TYPES, (uint8_t)(a << 4 | b));
    if (count > 0) equipment |= (uint8_t)(0x01 | (count - 1) << 6);
    rtc_set_cmos(pc->rtc, CMOS_EQUIPMENT, equipment);
}

/* Fixed disk parameters of type 47: cylinders, heads, no write
 * precompensation, control octet, landing zone, sectors. */
static void set_disk(struct pc *pc, unsigned n, const struct ide_geometry *g)
{
    unsigned at = CMOS_DISK_GEOMETRY + 9 * n;
    unsigned cylinders = g->cylinders > 0xffff ? 0xffff : g->cylinders;

    rtc_set_cmos(pc->rtc, CMOS_DISK_TYPE_EXT + n, DISK_TYPE_USER);
    set16(pc, at, cylinders);
    rtc_set_cmos(pc->rtc, at + 2, (uint8_t)g->heads);
    set16(pc, at + 3, 0xffff);
    rtc_set_cmos(pc->rtc, at + 5, (uint8_t)(0xc0 | (g->heads > 8) << 3));
    set16(pc, at + 6, cylinders);
    rtc_set_cmos(pc->rtc, at + 8, (uint8_t)g->sectors);
}

static void set_disks(struct pc *pc)
{
    uint8_t types = 0, translation = 0;

    for (unsigned n = 0; n < IDE_UNITS; n++) {
        struct ide_geometry g;

        if (!ide_get_geometry(pc->ide, n, &g)) continue;
        translation |= (uint8_t)((g.translation & 3u) << 2 * n);
        if (n >= 2) continue;
        types |= n == 0 ? 0xf0 : 0x0f;
        set_disk(pc, n, &g);
    }
    rtc_set_cmos(pc->rtc, CMOS_DISK_TYPES, types);
    rtc_set_cmos(pc->rtc, CMOS_TRANSLATION, translation);
}

/* Boot priorities: 1 floppy, 2 disk, 3 CD-ROM, 4 network. */
static unsigned boot_code(char letter)
{
    switch (letter) {
    case 'a':
    case 'b': return 1;
    case 'c': return 2;
    case 'd': return 3;
    case 'n': return 4;
    default: return 0;
    }
}

int pc_check_boot_order(const char *letters, struct err *e)
{
    size_t n = strlen(letters);

    if (n > PC_BOOT_LETTERS) {
        return err_set(e, -EINVAL, "boot order '%s' names more than %d devices",
                       letters, PC_BOOT_LETTERS);
    }
    for (size_t i = 0; i < n; i++) {
        if (boot_code(letters[i]) == 0) {
            return err_set(e, -EINVAL, "invalid boot device '%c' in '%s'",
                           letters[i], letters);
        }
    }
    return 0;
}

void pc_cmos_set_boot(struct pc *pc, const char *letters)
{
    unsigned code[PC_BOOT_LETTERS] = { 0 };

    for (unsigned i = 0; i < PC_BOOT_LETTERS && letters[i] != '\0'; i++) {
        code[i] = boot_code(letters[i]);
    }
    rtc_set_cmos(pc->rtc, CMOS_BOOT_LOW, (uint8_t)(code[1] << 4 | code[0]));
    /* Bit 0 clear: check a floppy's boot signature. */
    rtc_set_cmos(pc->rtc, CMOS_BOOT_HIGH, (uint8_t)(code[2] << 4));
}

void pc_cmos_init(struct pc *pc)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);

    set_memory(pc);
    set_floppies(pc);
    set_disks(pc);
    rtc_set_cmos(pc->rtc, CMOS_CPUS, (uint8_t)(cfg->cpus - 1));
}
