/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DSDT of machine "pc": the PCI root with its windows and interrupt routing,
 * the PIRQ links of the PIIX3, the ISA devices that are there, processors
 * and the soft-off state.
 */
#include "hw/firmware/dsdt.h"

#include <stdio.h>

#include "hw/pci/piix4pm.h"

enum { SPACE_PCI_CONFIG = 2, FIELD_BYTE_ACCESS = 1 };

static const char *const link_name[] = { "LNKA", "LNKB", "LNKC", "LNKD" };
static const char *const link_register[] = { "PRQ0", "PRQ1", "PRQ2", "PRQ3" };

/* ---- PCI root ---- */

static void put_windows(struct aml *a, const struct firmware_facts *facts)
{
    aml_name(a, "_CRS");
    aml_open_template(a);
    aml_res_bus_numbers(a, 0, 255);
    aml_res_io(a, 0xcf8, 1, 8);
    aml_res_io_window(a, 0, 0xcf7);
    aml_res_io_window(a, 0xd00, 0xffff);
    aml_res_memory_window(a, 0xa0000, 0xbffff, true);
    aml_res_memory_window(a, facts->below_4g_bytes, 0xfebfffff, false);
    aml_close_template(a);
}

/* Pin p of slot s goes to link (s + p - 1) mod 4; the power management
 * function's pin is its own, the SCI. */
static void put_routing(struct aml *a)
{
    aml_name(a, "_PRT");
    aml_open_package(a, 32 * 4);
    for (unsigned i = 0; i < 32 * 4; i++) {
        unsigned slot = i / 4, pin = i % 4;

        aml_open_package(a, 4);
        aml_int(a, (uint64_t)slot << 16 | 0xffff);
        aml_int(a, pin);
        if (slot == 1 && pin == 0) {
            aml_path(a, "LNKS");
        } else {
            aml_path(a, link_name[(slot + pin + 3) % 4]);
        }
        aml_int(a, 0);
        aml_close(a);
    }
    aml_close(a);
}

/* ---- interrupt links ---- */

static void put_interrupt_name(struct aml *a, const char *name,
                               const uint32_t *irq, unsigned count)
{
    aml_name(a, name);
    aml_open_template(a);
    aml_res_interrupts(a, irq, count);
    aml_close_template(a);
}

/* Bit 7 of a PIRQ register disables the link, bits 3:0 are the IRQ. */
static void put_link(struct aml *a, unsigned n)
{
    static const uint32_t choice[] = { 5, 10, 11 };
    static const uint32_t none = 0;
    const char *reg = link_register[n];

    aml_open_device(a, link_name[n]);
    aml_name_eisa(a, "_HID", "PNP0C0F");
    aml_name_int(a, "_UID", n);
    put_interrupt_name(a, "_PRS", choice, 3);

    aml_open_method(a, "_STA", 0, false);
    aml_open_if(a);
    aml_op(a, AML_AND);
    aml_path(a, reg);
    aml_int(a, 0x80);
    aml_int(a, 0);
    aml_op(a, AML_RETURN);
    aml_int(a, 0x09);
    aml_close(a);
    aml_op(a, AML_RETURN);
    aml_int(a, 0x0b);
    aml_close(a);

    aml_open_method(a, "_DIS", 0, false);
    aml_op(a, AML_OR);
    aml_path(a, reg);
    aml_int(a, 0x80);
    aml_path(a, reg);
    aml_close(a);

    /* The number is at octet 5 of the descriptor. */
    aml_open_method(a, "_CRS", 0, true);
    put_interrupt_name(a, "BUF0", &none, 1);
    aml_op(a, AML_CREATE_DWORD_FIELD);
    aml_path(a, "BUF0");
    aml_int(a, 5);
    aml_path(a, "IRQW");
    aml_open_if(a);
    aml_op(a, AML_LLESS);
    aml_path(a, reg);
    aml_int(a, 0x80);
    aml_op(a, AML_STORE);
    aml_path(a, reg);
    aml_path(a, "IRQW");
    aml_close(a);
    aml_op(a, AML_RETURN);
    aml_path(a, "BUF0");
    aml_close(a);

    aml_open_method(a, "_SRS", 1, true);
    aml_op(a, AML_CREATE_DWORD_FIELD);
    aml_op(a, AML_ARG0);
    aml_int(a, 5);
    aml_path(a, "IRQW");
    aml_op(a, AML_STORE);
    aml_path(a, "IRQW");
    aml_path(a, reg);
    aml_close(a);
    aml_close(a);
}

/* The SCI is wired to IRQ 9. */
static void put_sci_link(struct aml *a)
{
    static const uint32_t irq = 9;

    aml_open_device(a, "LNKS");
    aml_name_eisa(a, "_HID", "PNP0C0F");
    aml_name_int(a, "_UID", 4);
    aml_name_int(a, "_STA", 0x0b);
    put_interrupt_name(a, "_PRS", &irq, 1);
    put_interrupt_name(a, "_CRS", &irq, 1);
    aml_open_method(a, "_DIS", 0, false);
    aml_close(a);
    aml_open_method(a, "_SRS", 1, false);
    aml_close(a);
    aml_close(a);
}

/* ---- ISA devices ---- */

static void open_isa(struct aml *a, const char *name, const char *hid, int uid)
{
    aml_open_device(a, name);
    aml_name_eisa(a, "_HID", hid);
    if (uid >= 0) aml_name_int(a, "_UID", (unsigned)uid);
    aml_name_int(a, "_STA", 0x0f);
    aml_name(a, "_CRS");
    aml_open_template(a);
}

static void close_isa(struct aml *a)
{
    aml_close_template(a);
    aml_close(a);
}

static void put_fixed_isa(struct aml *a)
{
    open_isa(a, "RTC", "PNP0B00", -1);
    aml_res_io(a, 0x70, 1, 8);
    aml_res_irq(a, 8);
    close_isa(a);
    open_isa(a, "KBD", "PNP0303", -1);
    aml_res_io(a, 0x60, 1, 1);
    aml_res_io(a, 0x64, 1, 1);
    aml_res_irq(a, 1);
    close_isa(a);
    open_isa(a, "MOU", "PNP0F13", -1);
    aml_res_irq(a, 12);
    close_isa(a);
}

static void put_optional_isa(struct aml *a, const struct firmware_facts *facts)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } com[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

    if (facts->has_floppy) {
        open_isa(a, "FDC0", "PNP0700", -1);
        aml_res_io(a, 0x3f2, 0, 4);
        aml_res_io(a, 0x3f7, 0, 1);
        aml_res_irq(a, 6);
        aml_res_dma(a, 2);
        close_isa(a);
    }
    if (facts->has_parallel) {
        open_isa(a, "LPT1", "PNP0400", 1);
        aml_res_io(a, 0x378, 8, 8);
        aml_res_irq(a, 7);
        close_isa(a);
    }
    for (unsigned i = 0; i < 4; i++) {
        char name[] = "COM1";

        if (!facts->has_serial[i]) continue;
        name[3] = (char)('1' + i);
        open_isa(a, name, "PNP0501", (int)i + 1);
        aml_res_io(a, com[i].port, 0, 8);
        aml_res_irq(a, com[i].irq);
        close_isa(a);
    }
}

static void put_isa_bridge(struct aml *a, const struct firmware_facts *facts)
{
    aml_open_device(a, "ISA");
    aml_name_int(a, "_ADR", 0x00010000);
    aml_region(a, "PIRQ", SPACE_PCI_CONFIG, 0x60, 4);
    put_fixed_isa(a);
    put_optional_isa(a, facts);
    aml_close(a);
}

/* ---- the rest of \_SB ---- */

static void put_hpet(struct aml *a)
{
    aml_open_device(a, "HPET");
    aml_name_eisa(a, "_HID", "PNP0103");
    aml_name_int(a, "_UID", 0);
    aml_name(a, "_CRS");
    aml_open_template(a);
    aml_res_memory32(a, 0xfed00000, 0x400, false);
    aml_close_template(a);
    aml_close(a);
}

static void put_gpe_ports(struct aml *a)
{
    aml_open_device(a, "GPER");
    aml_name_eisa(a, "_HID", "PNP0C02");
    aml_name(a, "_UID");
    aml_string(a, "GPE0 ports");
    aml_name(a, "_CRS");
    aml_open_template(a);
    aml_res_io(a, PIIX4PM_GPE_PORT, 1, PIIX4PM_GPE_BYTES);
    aml_close_template(a);
    aml_close(a);
}

static void put_processors(struct aml *a, unsigned cpus)
{
    for (unsigned i = 0; i < cpus; i++) {
        char name[8];

        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        aml_open_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_close(a);
    }
}

void dsdt_build(struct aml *a, const struct firmware_facts *facts)
{
    aml_open_scope(a, "\\_SB");
    aml_open_device(a, "PCI0");
    aml_name_eisa(a, "_HID", "PNP0A03");
    aml_name_int(a, "_UID", 0);
    put_windows(a, facts);
    put_routing(a);
    put_isa_bridge(a, facts);
    put_gpe_ports(a);
    aml_close(a);

    aml_open_field(a, "\\_SB.PCI0.ISA.PIRQ", FIELD_BYTE_ACCESS);
    for (unsigned i = 0; i < 4; i++) {
        aml_field(a, link_register[i], 8);
    }
    aml_close(a);
    for (unsigned i = 0; i < 4; i++) {
        put_link(a, i);
    }
    put_sci_link(a);
    if (facts->has_hpet) put_hpet(a);
    put_processors(a, facts->cpus);
    aml_close(a);

    /* SLP_TYP of S5 on the PIIX4 is 0. */
    aml_name(a, "\\_S5");
    aml_open_package(a, 4);
    for (unsigned i = 0; i < 4; i++) {
        aml_int(a, 0);
    }
    aml_close(a);
}
