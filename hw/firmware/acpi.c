/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables and the script with which firmware places them.
 *
 * Documents: ACPI specification 6.4, 5.2 (tables); QEMU's specification of
 * the table loader (docs/specs, "linker/loader" interface): a list of
 * 128-octet commands, each naming fw_cfg files: allocate memory for a file,
 * add the address of one file to a pointer in another, sum octets.
 *
 * All tables are in one file in this order: FACS (needs 64-octet alignment),
 * DSDT, FADT, MADT, HPET, RSDT, XSDT.  Pointers in it are offsets until the
 * script has run.
 */
#include <errno.h>
#include <string.h>

#include "hw/firmware/aml.h"
#include "hw/firmware/dsdt.h"
#include "hw/firmware/firmware.h"
#include "hw/fw_cfg.h"
#include "hw/pci/piix4pm.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"
#define SCRIPT_FILE "etc/table-loader"

enum { HEADER_BYTES = 36, CHECKSUM_AT = 9, LENGTH_AT = 4, MAX_TABLES = 4 };
enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER = 2, CMD_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2, COMMAND_BYTES = 128, NAME_BYTES = 56 };
enum { SPACE_IO = 1 };

struct acpi {
    struct aml t;      /* TABLES_FILE */
    struct aml rsdp;   /* RSDP_FILE */
    struct aml script; /* SCRIPT_FILE */
    uint32_t facs, dsdt;
    uint32_t table[MAX_TABLES]; /* what RSDT and XSDT list */
    unsigned table_count;
    const struct firmware_facts *facts;
};

/* ---- script ---- */

static void put_file_name(struct aml *s, const char *name)
{
    char buf[NAME_BYTES] = { 0 };

    memcpy(buf, name, strlen(name));
    aml_put(s, buf, sizeof(buf));
}

static void end_command(struct aml *s)
{
    static const uint8_t zeros[COMMAND_BYTES];

    aml_put(s, zeros, COMMAND_BYTES - s->bytes % COMMAND_BYTES);
}

static void allocate(struct acpi *x, const char *file, uint32_t align,
                     uint8_t zone)
{
    aml_u32(&x->script, CMD_ALLOCATE);
    put_file_name(&x->script, file);
    aml_u32(&x->script, align);
    aml_u8(&x->script, zone);
    end_command(&x->script);
}

/* The pointer at offset of file gets the address of TABLES_FILE added. */
static void add_pointer(struct acpi *x, const char *file, uint32_t offset,
                        uint8_t bytes)
{
    aml_u32(&x->script, CMD_ADD_POINTER);
    put_file_name(&x->script, file);
    put_file_name(&x->script, TABLES_FILE);
    aml_u32(&x->script, offset);
    aml_u8(&x->script, bytes);
    end_command(&x->script);
}

static void add_checksum(struct acpi *x, const char *file, uint32_t at,
                         uint32_t start, uint32_t bytes)
{
    aml_u32(&x->script, CMD_ADD_CHECKSUM);
    put_file_name(&x->script, file);
    aml_u32(&x->script, at);
    aml_u32(&x->script, start);
    aml_u32(&x->script, bytes);
    end_command(&x->script);
}

/* ---- tables ---- */

static uint32_t begin_table(struct acpi *x, const char *signature,
                            uint8_t revision)
{
    uint32_t at = (uint32_t)x->t.bytes;

    aml_put(&x->t, signature, 4);
    aml_u32(&x->t, 0); /* length */
    aml_u8(&x->t, revision);
    aml_u8(&x->t, 0); /* checksum */
    aml_put(&x->t, "ORRERY", 6);
    aml_put(&x->t, "ORRERYPC", 8);
    aml_u32(&x->t, 1);
    aml_put(&x->t, "ORRY", 4);
    aml_u32(&x->t, 1);
    return at;
}

static void end_table(struct acpi *x, uint32_t at)
{
    uint32_t bytes = (uint32_t)x->t.bytes - at;

    if (x->t.status < 0) return;
    memcpy(x->t.data + at + LENGTH_AT, &bytes, 4);
    add_checksum(x, TABLES_FILE, at + CHECKSUM_AT, at, bytes);
}

static void list_table(struct acpi *x, uint32_t at)
{
    if (x->table_count < MAX_TABLES) x->table[x->table_count++] = at;
}

/* 5.2.10: no header of the usual form, no checksum */
static void build_facs(struct acpi *x)
{
    static const uint8_t zeros[64];

    x->facs = (uint32_t)x->t.bytes;
    aml_put(&x->t, "FACS", 4);
    aml_u32(&x->t, 64);
    aml_put(&x->t, zeros, 24);
    aml_u8(&x->t, 1); /* version */
    aml_put(&x->t, zeros, 31);
}

static void build_dsdt(struct acpi *x)
{
    x->dsdt = begin_table(x, "DSDT", 2); /* 64-bit integers */
    dsdt_build(&x->t, x->facts);
    end_table(x, x->dsdt);
}

static void put_io_address(struct aml *t, unsigned port, unsigned bits,
                           unsigned access)
{
    aml_u8(t, SPACE_IO);
    aml_u8(t, (uint8_t)bits);
    aml_u8(t, 0);
    aml_u8(t, (uint8_t)access);
    aml_u64(t, port);
}

static void put_no_address(struct aml *t)
{
    static const uint8_t zeros[12];

    aml_put(t, zeros, sizeof(zeros));
}

/* 5.2.9.3, feature flags */
#define FADT_WBINVD          (1u << 0)
#define FADT_PROC_C1         (1u << 2)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_NO_RTC_FIXED    (1u << 6)
#define FADT_RESET_REG       (1u << 10)
#define FADT_PLATFORM_CLOCK  (1u << 15)

static void put_fadt_legacy(struct aml *t)
{
    aml_u8(t, 0);
    aml_u8(t, 0);  /* preferred profile: unspecified */
    aml_u16(t, 9); /* SCI */
    aml_u32(t, PIIX4PM_SMI_CMD);
    aml_u8(t, PIIX4PM_ACPI_ENABLE);
    aml_u8(t, PIIX4PM_ACPI_DISABLE);
    aml_u16(t, 0);            /* no S4BIOS, no performance states */
    aml_u32(t, PIIX4PM_BASE); /* PM1a events */
    aml_u32(t, 0);
    aml_u32(t, PIIX4PM_BASE + 4); /* PM1a control */
    aml_u32(t, 0);
    aml_u32(t, 0);
    aml_u32(t, PIIX4PM_BASE + 8); /* PM timer */
    aml_u32(t, PIIX4PM_GPE_PORT);
    aml_u32(t, 0);
    aml_u8(t, 4); /* lengths: PM1 events, control, PM2, timer, GPE0, GPE1 */
    aml_u8(t, 2);
    aml_u8(t, 0);
    aml_u8(t, 4);
    aml_u8(t, PIIX4PM_GPE_BYTES);
    aml_u8(t, 0);
    aml_u16(t, 0);
    aml_u16(t, 0xfff); /* no C2, no C3 */
    aml_u16(t, 0xfff);
    aml_u32(t, 0);    /* WBINVD flushes: no flush size, stride */
    aml_u16(t, 0);    /* no duty cycle */
    aml_u16(t, 0);    /* no day and month alarm */
    aml_u8(t, 0x32);  /* century in the CMOS */
    aml_u16(t, 0x03); /* legacy devices, 8042 */
    aml_u8(t, 0);
}

/* 5.2.9, table 5.9 up to revision 3 */
static void build_fadt(struct acpi *x)
{
    struct aml *t = &x->t;
    uint32_t at = begin_table(x, "FACP", 3);

    add_pointer(x, TABLES_FILE, (uint32_t)t->bytes, 4);
    aml_u32(t, x->facs);
    add_pointer(x, TABLES_FILE, (uint32_t)t->bytes, 4);
    aml_u32(t, x->dsdt);
    put_fadt_legacy(t);
    aml_u32(t, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON |
                   FADT_NO_RTC_FIXED | FADT_RESET_REG | FADT_PLATFORM_CLOCK);
    put_io_address(t, 0xcf9, 8, 1);
    aml_u8(t, 0x06); /* hard reset */
    aml_u16(t, 0);
    aml_u8(t, 0);
    aml_u64(t, 0); /* X_FIRMWARE_CTRL: the 32-bit one counts */
    add_pointer(x, TABLES_FILE, (uint32_t)t->bytes, 8);
    aml_u64(t, x->dsdt);
    put_io_address(t, PIIX4PM_BASE, 32, 2);
    put_no_address(t);
    put_io_address(t, PIIX4PM_BASE + 4, 16, 2);
    put_no_address(t);
    put_no_address(t);
    put_io_address(t, PIIX4PM_BASE + 8, 32, 3);
    put_io_address(t, PIIX4PM_GPE_PORT, 8 * PIIX4PM_GPE_BYTES, 1);
    put_no_address(t);
    end_table(x, at);
    list_table(x, at);
}

/* 5.2.12 */
static void build_madt(struct acpi *x)
{
    static const uint8_t level_irqs[] = { 5, 9, 10, 11 };
    struct aml *t = &x->t;
    uint32_t at = begin_table(x, "APIC", 3);

    aml_u32(t, 0xfee00000);
    aml_u32(t, 1); /* there is an 8259 pair */
    for (unsigned i = 0; i < x->facts->cpus; i++) {
        aml_u16(t, 0x0800); /* type 0, 8 octets */
        aml_u8(t, (uint8_t)i);
        aml_u8(t, (uint8_t)i);
        aml_u32(t, 1); /* enabled */
    }
    aml_u16(t, 0x0c01); /* I/O APIC */
    aml_u16(t, 0);      /* id 0 */
    aml_u32(t, 0xfec00000);
    aml_u32(t, 0);
    aml_u16(t, 0x0a02); /* IRQ 0 on pin 2 */
    aml_u16(t, 0);
    aml_u32(t, 2);
    aml_u16(t, 0);
    for (unsigned i = 0; i < sizeof(level_irqs); i++) {
        aml_u16(t, 0x0a02);
        aml_u8(t, 0);
        aml_u8(t, level_irqs[i]);
        aml_u32(t, level_irqs[i]);
        aml_u16(t, 0x0d); /* active high, level */
    }
    aml_u16(t, 0x0604); /* NMI on LINT1 of all */
    aml_u8(t, 0xff);
    aml_u16(t, 0);
    aml_u8(t, 1);
    end_table(x, at);
    list_table(x, at);
}

/* IA-PC HPET specification 1.0a, 3.2.4 */
static void build_hpet(struct acpi *x)
{
    struct aml *t = &x->t;
    uint32_t at = begin_table(x, "HPET", 1);

    aml_u32(t, 0x8086a201); /* as the capability register says */
    aml_u8(t, 0);           /* memory */
    aml_u8(t, 0);
    aml_u16(t, 0);
    aml_u64(t, 0xfed00000);
    aml_u8(t, 0);
    aml_u16(t, 0);
    aml_u8(t, 0);
    end_table(x, at);
    list_table(x, at);
}

static uint32_t build_root(struct acpi *x, const char *signature,
                           unsigned bytes)
{
    uint32_t at = begin_table(x, signature, 1);

    for (unsigned i = 0; i < x->table_count; i++) {
        uint64_t v = x->table[i];

        add_pointer(x, TABLES_FILE, (uint32_t)x->t.bytes, (uint8_t)bytes);
        aml_put(&x->t, &v, bytes);
    }
    end_table(x, at);
    return at;
}

/* 5.2.5.3 */
static void build_rsdp(struct acpi *x, uint32_t rsdt, uint32_t xsdt)
{
    aml_put(&x->rsdp, "RSD PTR ", 8);
    aml_u8(&x->rsdp, 0); /* checksum of the first 20 octets */
    aml_put(&x->rsdp, "ORRERY", 6);
    aml_u8(&x->rsdp, 2);
    add_pointer(x, RSDP_FILE, (uint32_t)x->rsdp.bytes, 4);
    aml_u32(&x->rsdp, rsdt);
    aml_u32(&x->rsdp, 36);
    add_pointer(x, RSDP_FILE, (uint32_t)x->rsdp.bytes, 8);
    aml_u64(&x->rsdp, xsdt);
    aml_u32(&x->rsdp, 0); /* extended checksum, reserved */
    add_checksum(x, RSDP_FILE, 8, 0, 20);
    add_checksum(x, RSDP_FILE, 32, 0, 36);
}

int acpi_add_tables(struct fw_cfg *f, const struct firmware_facts *facts,
                    struct err *e)
{
    struct acpi x = { .facts = facts };
    uint32_t rsdt, xsdt;
    int rc;

    allocate(&x, TABLES_FILE, 64, ZONE_HIGH);
    allocate(&x, RSDP_FILE, 16, ZONE_FSEG);
    build_facs(&x);
    build_dsdt(&x);
    build_fadt(&x);
    build_madt(&x);
    if (facts->has_hpet) build_hpet(&x);
    rsdt = build_root(&x, "RSDT", 4);
    xsdt = build_root(&x, "XSDT", 8);
    build_rsdp(&x, rsdt, xsdt);
    if (x.t.depth != 0) x.t.status = -EINVAL;
    rc = x.t.status < 0      ? x.t.status
         : x.rsdp.status < 0 ? x.rsdp.status
                             : x.script.status;
    if (rc < 0) {
        err_set(e, rc, "ACPI tables can not be built");
        goto out;
    }
    rc = fw_cfg_add_file(f, TABLES_FILE, x.t.data, x.t.bytes, e);
    if (rc < 0) goto out;
    rc = fw_cfg_add_file(f, RSDP_FILE, x.rsdp.data, x.rsdp.bytes, e);
    if (rc < 0) goto out;
    rc = fw_cfg_add_file(f, SCRIPT_FILE, x.script.data, x.script.bytes, e);
out:
    aml_free(&x.t);
    aml_free(&x.rsdp);
    aml_free(&x.script);
    return rc;
}
