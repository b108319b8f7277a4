/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/*
 * ACPI and SMBIOS tables: the script is run as firmware runs it, then the
 * tables are walked from the RSDP (ACPI 6.4) and the entry point (DSP0134).
 * The DSDT goes through iasl, ACPICA's compiler, in both directions.
 */
#include "tests/unit/support/chips_rig.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/firmware/aml.h"
#include "hw/firmware/firmware.h"
#include "hw/fw_cfg.h"

enum { TABLES_AT = 0x100000, RSDP_AT = 0xf0010, MEMORY = 0x200000 };

struct env {
    struct rig *r;
    struct fw_cfg *f;
    struct firmware_facts facts;
    uint8_t *mem; /* where "firmware" puts things */
    size_t tables_bytes, rsdp_bytes;
};

static size_t read_file(struct env *x, const char *name, uint8_t *buf,
                        size_t cap)
{
    uint16_t key = fw_cfg_file_key(x->f, name);
    uint8_t dir[4 + 64 * 16];
    size_t bytes = 0;

    assert_int_not_equal(key, 0);
    port_write_locked(x->r->vm, 0x510, 2, FW_CFG_FILE_DIR);
    for (unsigned i = 0; i < sizeof(dir); i++) {
        dir[i] = rig_in(x->r, 0x511);
    }
    for (unsigned i = 0; i < 16; i++) {
        const uint8_t *p = dir + 4 + 64 * i;

        if (strcmp((const char *)p + 8, name) != 0) continue;
        bytes =
            (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    }
    assert_in_range(bytes, 1, cap);
    port_write_locked(x->r->vm, 0x510, 2, key);
    for (size_t i = 0; i < bytes; i++) {
        buf[i] = rig_in(x->r, 0x511);
    }
    return bytes;
}

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

static uint8_t sum(const uint8_t *p, size_t bytes)
{
    uint8_t s = 0;

    while (bytes-- > 0)
        s += *p++;
    return s;
}

/* Base of a file in env->mem. */
static uint32_t base_of(const uint8_t *name)
{
    if (strcmp((const char *)name, "etc/acpi/tables") == 0) return TABLES_AT;
    assert_string_equal((const char *)name, "etc/acpi/rsdp");
    return RSDP_AT;
}

static void run_command(struct env *x, const uint8_t *c)
{
    uint32_t base = base_of(c + 4);

    switch (u32(c)) {
    case 1: /* allocate */
        if (base == RSDP_AT) {
            assert_int_equal(u32(c + 60), 16);
            assert_int_equal(c[64], 2); /* F segment */
            x->rsdp_bytes = read_file(x, "etc/acpi/rsdp", x->mem + base, 64);
        } else {
            assert_int_equal(u32(c + 60), 64); /* the FACS needs it */
            x->tables_bytes =
                read_file(x, "etc/acpi/tables", x->mem + base, 0x10000);
        }
        break;
    case 2: { /* add pointer */
        uint32_t src = base_of(c + 60), at = u32(c + 116);
        uint64_t v = 0;

        assert_true(c[120] == 4 || c[120] == 8);
        memcpy(&v, x->mem + base + at, c[120]);
        v += src;
        memcpy(x->mem + base + at, &v, c[120]);
        break;
    }
    case 3: { /* checksum */
        uint32_t at = u32(c + 60), start = u32(c + 64), n = u32(c + 68);

        assert_in_range(at, start, start + n - 1);
        x->mem[base + at] -= sum(x->mem + base + start, n);
        break;
    }
    default: fail_msg("command %u", u32(c));
    }
}

static void run_script(struct env *x)
{
    uint8_t script[64 * 128];
    size_t bytes = read_file(x, "etc/table-loader", script, sizeof(script));

    assert_int_equal(bytes % 128, 0);
    for (size_t i = 0; i < bytes; i += 128) {
        run_command(x, script + i);
    }
}

static int setup(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    struct err e = ERR_INIT;

    if (x == NULL || rig_setup((void **)&x->r) < 0) return -1;
    x->mem = calloc(1, MEMORY);
    rig_add(x->r, &fw_cfg_class);
    x->f = vm_fw_cfg(x->r->vm);
    x->facts = (struct firmware_facts){
        .below_4g_bytes = 0xc0000000,
        .above_4g_bytes = 40ull << 30,
        .cpus = 4,
        .has_hpet = true,
        .has_floppy = true,
        .has_parallel = true,
        .has_serial = { true, false, true, false },
    };
    if (acpi_add_tables(x->f, &x->facts, &e) < 0) return -1;
    if (smbios_add_tables(x->f, &x->facts, &e) < 0) return -1;
    run_script(x);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct env *x = *state;
    void *r = x->r;

    free(x->mem);
    free(x);
    return rig_teardown(&r);
}

/* Table by signature from the XSDT, checked. */
static const uint8_t *find(struct env *x, const char *signature)
{
    const uint8_t *xsdt = x->mem + u32(x->mem + RSDP_AT + 24);
    const uint8_t *found = NULL;

    for (uint32_t i = 36; i < u32(xsdt + 4); i += 8) {
        const uint8_t *t = x->mem + u32(xsdt + i);

        assert_int_equal(u32(xsdt + i + 4), 0);
        assert_int_equal(sum(t, u32(t + 4)), 0);
        if (memcmp(t, signature, 4) == 0) found = t;
    }
    assert_non_null(found);
    return found;
}

static void root_pointer_and_root_tables_agree(void **state)
{
    struct env *x = *state;
    const uint8_t *rsdp = x->mem + RSDP_AT, *rsdt, *xsdt;

    assert_int_equal(x->rsdp_bytes, 36);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    rsdt = x->mem + u32(rsdp + 16);
    xsdt = x->mem + u32(rsdp + 24);
    assert_memory_equal(rsdt, "RSDT", 4);
    assert_memory_equal(xsdt, "XSDT", 4);
    assert_int_equal(sum(rsdt, u32(rsdt + 4)), 0);
    assert_int_equal(sum(xsdt, u32(xsdt + 4)), 0);
    assert_int_equal((u32(rsdt + 4) - 36) / 4, 3); /* FADT, MADT, HPET */
    assert_int_equal((u32(xsdt + 4) - 36) / 8, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(u32(rsdt + 36 + 4 * i), u32(xsdt + 36 + 8 * i));
    }
}

static void fixed_hardware_is_where_the_chip_set_has_it(void **state)
{
    struct env *x = *state;
    const uint8_t *t = find(x, "FACP"), *facs, *dsdt;

    assert_int_equal(u32(t + 4), 244);
    facs = x->mem + u32(t + 36);
    dsdt = x->mem + u32(t + 40);
    assert_memory_equal(facs, "FACS", 4);
    assert_int_equal((facs - x->mem) % 64, 0);
    assert_memory_equal(dsdt, "DSDT", 4);
    assert_int_equal(sum(dsdt, u32(dsdt + 4)), 0);
    assert_int_equal(u32(t + 140), u32(t + 40)); /* X_DSDT */
    assert_int_equal(t[46], 9);
    assert_int_equal(u32(t + 48), 0xb2);
    assert_int_equal(u32(t + 56), 0x600);
    assert_int_equal(u32(t + 64), 0x604);
    assert_int_equal(u32(t + 76), 0x608);
    assert_int_equal(u32(t + 80), 0xafe0);
    assert_int_equal(t[91], 4);
    assert_int_equal(u32(t + 112) & 1u << 8, 0);         /* 24-bit timer */
    assert_int_equal(u32(t + 112) & 1u << 10, 1u << 10); /* reset register */
    assert_int_equal(t[116], 1);                         /* in I/O space */
    assert_int_equal(u32(t + 120), 0xcf9);
    assert_int_equal(t[128], 6);
    assert_int_equal(u32(t + 148 + 4), 0x600); /* X_ blocks */
    assert_int_equal(u32(t + 172 + 4), 0x604);
    assert_int_equal(u32(t + 208 + 4), 0x608);
    assert_int_equal(u32(t + 220 + 4), 0xafe0);
}

static void interrupt_controllers_are_listed(void **state)
{
    struct env *x = *state;
    const uint8_t *t = find(x, "APIC"), *end = t + u32(t + 4);
    unsigned cpus = 0, ioapics = 0, overrides = 0, nmis = 0;

    assert_int_equal(u32(t + 36), 0xfee00000);
    for (const uint8_t *p = t + 44; p < end; p += p[1]) {
        assert_in_range(p[1], 6, 12);
        switch (p[0]) {
        case 0:
            assert_int_equal(p[3], cpus++);
            assert_int_equal(u32(p + 4), 1);
            break;
        case 1:
            ioapics++;
            assert_int_equal(u32(p + 4), 0xfec00000);
            break;
        case 2:
            overrides++;
            assert_int_equal(u32(p + 4), p[3] == 0 ? 2 : p[3]);
            assert_int_equal(p[8], p[3] == 0 ? 0 : 0x0d);
            break;
        case 4: nmis++; break;
        default: fail_msg("entry of type %u", p[0]);
        }
    }
    assert_int_equal(cpus, 4);
    assert_int_equal(ioapics, 1);
    assert_int_equal(overrides, 5);
    assert_int_equal(nmis, 1);
    assert_int_equal(u32(find(x, "HPET") + 44), 0xfed00000);
}

/* ---- AML ---- */

static char *run(const char *command)
{
    char *text = calloc(1, 1 << 20);
    FILE *in = popen(command, "r");

    assert_non_null(text);
    assert_non_null(in);
    (void)!fread(text, 1, (1 << 20) - 1, in);
    pclose(in);
    return text;
}

static void iasl_understands_the_dsdt(void **state)
{
    static const char *const want[] = {
        "Device (PCI0)",
        "Device (LNKD)",
        "Device (FDC0)",
        "Device (COM1)",
        "Device (COM3)",
        "Device (C003)",
        "Device (HPET)",
        "0xC0000000,         // Range Minimum",
        "0xFEBFFFFF,         // Range Maximum",
        "Name (\\_S5, Package (0x04)",
    };
    struct env *x = *state;
    const uint8_t *dsdt = x->mem + u32(find(x, "FACP") + 40);
    char dir[] = "/tmp/orrery-acpi-XXXXXX", command[256], path[64];
    char *text;
    FILE *out;

    if (system("command -v iasl >/dev/null 2>&1") != 0) {
        print_message("iasl is not installed (package acpica-tools)\n");
        skip();
    }
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/d.aml", dir);
    out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(dsdt, 1, u32(dsdt + 4), out), u32(dsdt + 4));
    fclose(out);
    snprintf(command, sizeof(command),
             "cd %s && iasl -d d.aml >/dev/null 2>&1; cat d.dsl", dir);
    text = run(command);
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        if (strstr(text, want[i]) == NULL) fail_msg("no %s in DSDT", want[i]);
    }
    assert_null(strstr(text, "Device (COM2)"));
    free(text);
    snprintf(command, sizeof(command), "cd %s && iasl d.dsl 2>&1; rm -r %s",
             dir, dir);
    text = run(command);
    if (strstr(text, " 0 Errors, 0 Warnings") == NULL) fail_msg("%s", text);
    free(text);
}

/* ACPI 6.4, 20.2.4: package length at the limits of its encodings */
static void package_lengths_are_encoded_as_specified(void **state)
{
    static const struct {
        size_t content;
        uint8_t octets[4];
        unsigned n;
    } row[] = {
        { 62, { 0x3f }, 1 },
        { 63, { 0x41, 0x04 }, 2 },
        { 0xffd, { 0x4f, 0xff }, 2 },
        { 0xffe, { 0x81, 0x00, 0x01 }, 3 },
        { 0xffffc, { 0x8f, 0xff, 0xff }, 3 },
        { 0xffffd, { 0xc1, 0x00, 0x00, 0x01 }, 4 },
    };
    static uint8_t zeros[0x100000];

    (void)state;
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct aml a = { 0 };

        aml_open_if(&a);
        aml_put(&a, zeros, row[i].content);
        aml_close(&a);
        assert_int_equal(a.status, 0);
        assert_int_equal(a.bytes, 1 + row[i].n + row[i].content);
        assert_memory_equal(a.data + 1, row[i].octets, row[i].n);
        aml_free(&a);
    }
}

static void unbalanced_building_is_an_error(void **state)
{
    struct aml a = { 0 };

    (void)state;
    aml_close(&a);
    assert_int_equal(a.status, -22);
    aml_free(&a);
    for (unsigned i = 0; i < AML_MAX_DEPTH; i++)
        aml_open_if(&a);
    assert_int_equal(a.status, 0);
    aml_open_if(&a);
    assert_int_equal(a.status, -22);
    aml_free(&a);
    aml_path(&a, "TOOLONG");
    assert_int_equal(a.status, -22);
    aml_free(&a);
}

/* ---- SMBIOS ---- */

static void smbios_structures_are_well_formed(void **state)
{
    static const uint8_t length[] = {
        [1] = 27,  [3] = 22,  [4] = 42,  [16] = 23,
        [17] = 40, [19] = 31, [32] = 11, [127] = 4
    };
    struct env *x = *state;
    uint8_t a[64], t[8192];
    unsigned count = 0, of_type[128] = { 0 }, largest = 0;
    size_t bytes = read_file(x, "etc/smbios/smbios-tables", t, sizeof(t));
    size_t at = 0;

    assert_int_equal(read_file(x, "etc/smbios/smbios-anchor", a, 64), 31);
    assert_memory_equal(a, "_SM_", 4);
    assert_memory_equal(a + 16, "_DMI_", 5);
    assert_int_equal(sum(a, 31), 0);
    assert_int_equal(sum(a + 16, 15), 0);
    while (at < bytes) {
        const uint8_t *s = t + at;
        size_t end = s[1];

        assert_in_range(s[0], 1, 127);
        assert_int_equal(s[1], length[s[0]]);
        while (at + end + 1 < bytes && (s[end] != 0 || s[end + 1] != 0))
            end++;
        assert_true(at + end + 2 <= bytes);
        if (end + 2 > largest) largest = (unsigned)end + 2;
        at += end + 2;
        of_type[s[0]]++;
        count++;
        if (s[0] == 127) break;
    }
    assert_int_equal(at, bytes);
    assert_int_equal(of_type[4], 4);
    assert_int_equal(of_type[17], 3); /* 43 GiB in modules of 16 */
    assert_int_equal(of_type[19], 2);
    assert_int_equal(a[28] | a[29] << 8, count);
    assert_int_equal(a[22] | a[23] << 8, bytes);
    assert_int_equal(a[8] | a[9] << 8, largest);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(root_pointer_and_root_tables_agree),
        TEST(fixed_hardware_is_where_the_chip_set_has_it),
        TEST(interrupt_controllers_are_listed),
        TEST(iasl_understands_the_dsdt),
        cmocka_unit_test(package_lengths_are_encoded_as_specified),
        cmocka_unit_test(unbalanced_building_is_an_error),
        TEST(smbios_structures_are_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
