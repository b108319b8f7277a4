/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw block core */
/*
 * Machine "pc" as a whole, with an accelerator that runs nothing: memory map,
 * CMOS, boot order, -device, refusals.  Layout and CMOS octets are those of
 * QEMU's machine of that name, read there with its monitor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/firmware.h"
#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/boot.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/devices.h"
#include "hw/machine.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static int idle_open(struct vcpu *v, struct err *e)
{
    (void)v;
    (void)e;
    return 0;
}

static void idle_vcpu(struct vcpu *v)
{
    (void)v;
}

static void idle_run(struct vcpu *v)
{
    vcpu_wait(v, VCPU_EXIT);
    vcpu_take(v, VCPU_EXIT);
}

static const struct vm_accel_ops idle_accel = {
    .vcpu_open = idle_open,
    .vcpu_close = idle_vcpu,
    .vcpu_run = idle_run,
    .vcpu_reset = idle_vcpu,
};

struct pc_rig {
    struct vm_config cfg;
    struct loop *loop;
    struct vm *vm;
    struct err e;
    int rc;
};

static int setup(void **state)
{
    struct pc_rig *x = calloc(1, sizeof(*x));

    if (x == NULL || loop_create(&x->loop, &x->e) < 0) return -1;
    x->cfg = (struct vm_config){
        .ram_bytes = 64 * MIB,
        .cpus = 1,
        .boot_splash_ms = -1,
        .rtc_base_s = 951825599,
    };
    *state = x;
    return 0;
}

static void drop_vm(struct pc_rig *x)
{
    if (x->vm == NULL) return;
    vm_lock(x->vm);
    input_destroy(vm_service(x->vm, "input"));
    vm_unlock(x->vm);
    vm_destroy(x->vm);
    x->vm = NULL;
}

static int teardown(void **state)
{
    struct pc_rig *x = *state;

    drop_vm(x);
    loop_destroy(x->loop);
    free(x);
    return 0;
}

/* Make the machine; x->rc is what its init returned.  The lock is not held
 * afterwards. */
static void make(struct pc_rig *x)
{
    const struct machine *m;

    drop_vm(x);
    x->e = (struct err)ERR_INIT;
    assert_int_equal(vm_create(&x->cfg, x->loop, &x->vm, &x->e), 0);
    vm_set_accel(x->vm, "idle", &idle_accel, NULL);
    assert_int_equal(machine_select(x->cfg.machine, &m, &x->e), 0);
    vm_lock(x->vm);
    x->rc = m->init(x->vm, &x->e);
    if (x->rc == 0) vm_reset_locked(x->vm);
    vm_unlock(x->vm);
}

static void make_good(struct pc_rig *x)
{
    make(x);
    if (x->rc < 0) fail_msg("%s", x->e.text);
}

static void assert_refused(struct pc_rig *x, const char *text)
{
    make(x);
    assert_true(x->rc < 0);
    if (strstr(x->e.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", x->e.text, text);
    }
}

static uint8_t cmos(struct pc_rig *x, unsigned index)
{
    uint8_t v;

    vm_lock(x->vm);
    port_write_locked(x->vm, 0x70, 1, index);
    v = (uint8_t)port_read_locked(x->vm, 0x71, 1);
    vm_unlock(x->vm);
    return v;
}

/* Kind of memory at gpa: 'r' RAM, 'o' ROM, 'm' MMIO, ' ' nothing. */
static char kind(struct pc_rig *x, gpa_t gpa)
{
    const struct mem_frag *f;
    char k = ' ';

    vm_lock(x->vm);
    f = mem_find(x->vm, gpa);
    if (f != NULL) k = f->host == NULL ? 'm' : f->can_write ? 'r' : 'o';
    vm_unlock(x->vm);
    return k;
}

static bool has_bios(void)
{
    char path[256];

    if (firmware_find(NULL, "bios-256k.bin", path, sizeof(path), NULL) == 0) {
        return true;
    }
    print_message("no firmware: install the package seabios\n");
    return false;
}

static void memory_splits_around_the_pci_hole(void **state)
{
    static const struct {
        uint64_t ram, low, high; /* end below 4 GiB, end above (0: none) */
    } row[] = {
        { 64 * MIB, 64 * MIB, 0 },
        { 0xdff00000, 0xdff00000, 0 },
        { 0xe0000000, 0xc0000000, 4 * GIB + 512 * MIB },
        { 5 * GIB, 0xc0000000, 6 * GIB },
    };
    struct pc_rig *x = *state;

    if (!has_bios()) skip();
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        x->cfg.ram_bytes = row[i].ram;
        make_good(x);
        assert_int_equal(kind(x, row[i].low - 1), 'r');
        assert_int_equal(kind(x, row[i].low), ' ');
        if (row[i].high != 0) {
            assert_int_equal(kind(x, 4 * GIB), 'r');
            assert_int_equal(kind(x, row[i].high - 1), 'r');
        }
        assert_int_equal(kind(x, row[i].high != 0 ? row[i].high : 4 * GIB),
                         ' ');
        assert_int_equal(kind(x, 0x9ffff), 'r');
        assert_int_equal(kind(x, 0xa0000), 'm'); /* VGA */
        assert_int_equal(kind(x, 0xc0000), ' ');
        assert_int_equal(kind(x, 0xe0000), 'o');
        assert_int_equal(kind(x, 0xfffff), 'o');
        assert_int_equal(kind(x, 0x100000), 'r');
        assert_int_equal(kind(x, 0xfec00000), 'm');
        assert_int_equal(kind(x, 0xfed00000), 'm');
        assert_int_equal(kind(x, 0xfee00000), 'm');
        assert_int_equal(kind(x, 0xfffc0000), 'o');
        assert_int_equal(kind(x, 0xffffffff), 'o');
    }
}

/* QEMU 7.2, `o /b 0x70 N` and `i /b 0x71` under -S. */
static void cmos_tells_memory_sizes_and_cpus(void **state)
{
    static const struct {
        uint64_t ram;
        unsigned cpus;
        uint8_t v[9]; /* 15 16 30 31 34 35 5b 5c 5f */
    } row[] = {
        { 1 * MIB, 1, { 0x80, 0x02, 0, 0, 0, 0, 0, 0, 0 } },
        { 8 * MIB, 2, { 0x80, 0x02, 0x00, 0x1c, 0, 0, 0, 0, 1 } },
        { 64 * MIB, 1, { 0x80, 0x02, 0x00, 0xfc, 0x00, 0x03, 0, 0, 0 } },
        { 256 * MIB, 4, { 0x80, 0x02, 0xff, 0xff, 0x00, 0x0f, 0, 0, 3 } },
        { 5 * GIB, 8, { 0x80, 0x02, 0xff, 0xff, 0x00, 0xbf, 0x00, 0x80, 7 } },
    };
    static const uint8_t index[] = { 0x15, 0x16, 0x30, 0x31, 0x34,
                                     0x35, 0x5b, 0x5c, 0x5f };
    struct pc_rig *x = *state;

    if (!has_bios()) skip();
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        x->cfg.ram_bytes = row[i].ram;
        x->cfg.cpus = row[i].cpus;
        make_good(x);
        assert_int_equal(vm_vcpu_count(x->vm), row[i].cpus);
        for (unsigned k = 0; k < sizeof(index); k++) {
            assert_int_equal(cmos(x, index[k]), row[i].v[k]);
        }
    }
}

static void boot_letters_become_cmos_nibbles(void **state)
{
    static const struct {
        const char *order;
        uint8_t low, high;
    } row[] = { { NULL, 0x12, 0x30 }, { "cad", 0x12, 0x30 },
                { "d", 0x03, 0x00 },  { "n", 0x04, 0x00 },
                { "a", 0x01, 0x00 },  { "dcn", 0x23, 0x40 } };
    struct pc_rig *x = *state;

    if (!has_bios()) skip();
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        x->cfg.boot_order = (char *)(uintptr_t)row[i].order;
        make_good(x);
        assert_int_equal(cmos(x, 0x3d), row[i].low);
        assert_int_equal(cmos(x, 0x38), row[i].high);
    }
}

static void once_holds_until_the_first_reset(void **state)
{
    struct pc_rig *x = *state;
    char order[] = "c", once[] = "d";

    if (!has_bios()) skip();
    x->cfg.boot_order = order;
    x->cfg.boot_once = once;
    make_good(x);
    assert_int_equal(cmos(x, 0x3d), 0x03);
    vm_lock(x->vm);
    vm_reset_locked(x->vm); /* has not run yet */
    vm_unlock(x->vm);
    assert_int_equal(cmos(x, 0x3d), 0x03);
    vm_lock(x->vm);
    clock_set_ns_locked(x->vm, 1000);
    vm_reset_locked(x->vm);
    vm_unlock(x->vm);
    assert_int_equal(cmos(x, 0x3d), 0x02);
}

static void boot_set_changes_the_order_for_good(void **state)
{
    struct pc_rig *x = *state;
    struct boot_set_service *s;

    if (!has_bios()) skip();
    make_good(x);
    s = vm_service(x->vm, "boot_set");
    assert_non_null(s);
    vm_lock(x->vm);
    assert_int_equal(s->set(s->arg, "x", &x->e), -EINVAL);
    assert_int_equal(s->set(s->arg, "dc", &x->e), 0);
    clock_set_ns_locked(x->vm, 1000);
    vm_reset_locked(x->vm);
    vm_unlock(x->vm);
    assert_int_equal(cmos(x, 0x3d), 0x23);
}

static void wrong_settings_get_a_line_that_names_them(void **state)
{
    struct pc_rig *x = *state;
    char text[64];

    if (!has_bios()) skip();
    x->cfg.boot_order = text;
    strcpy(text, "cx");
    assert_refused(x, "invalid boot device 'x' in 'cx'");
    strcpy(text, "acdn");
    assert_refused(x, "'acdn' names more than 3 devices");
    x->cfg.boot_order = NULL;
    x->cfg.machine_opts = text;
    strcpy(text, "foo=on");
    assert_refused(x, "no property 'foo'");
    strcpy(text, "hpet=maybe");
    assert_refused(x, "hpet=maybe must be on or off");
    strcpy(text, "acpi=on,smm=on");
    assert_refused(x, "smm=on: accelerator idle has no system management");
    strcpy(text, "smm=maybe");
    assert_refused(x, "smm=maybe must be on, off or auto");
    x->cfg.machine_opts = NULL;
    x->cfg.bios = text;
    strcpy(text, "/nonexistent/bios.bin");
    assert_refused(x, "/nonexistent/bios.bin");
    x->cfg.bios = NULL;
    x->cfg.data_dir = text;
    strcpy(text, "/nonexistent");
    assert_refused(x, "no firmware file bios-256k.bin in /nonexistent");
    x->cfg.data_dir = NULL;
    x->cfg.vga = text;
    strcpy(text, "cirrus");
    assert_refused(x, "'cirrus'");
    x->cfg.vga = NULL;
    x->cfg.ram_bytes = MIB - 4096;
    assert_refused(x, "less than 1 MiB");
    x->cfg.ram_bytes = MIB;
    make_good(x);
}

static void machine_options_take_parts_away(void **state)
{
    struct pc_rig *x = *state;
    char text[] = "hpet=off,acpi=off,vmport=off", none[] = "none";

    if (!has_bios()) skip();
    x->cfg.machine_opts = text;
    x->cfg.vga = none;
    make_good(x);
    assert_int_equal(kind(x, 0xfed00000), ' ');
    assert_int_equal(kind(x, 0xa0000), ' ');
    vm_lock(x->vm);
    port_write_locked(x->vm, 0xcf8, 4, 0x80000b00);
    assert_int_equal(port_read_locked(x->vm, 0xcfc, 4), UINT32_MAX);
    port_write_locked(x->vm, 0xcf8, 4, 0x80000800);
    assert_int_equal(port_read_locked(x->vm, 0xcfc, 4), 0x70008086);
    vm_unlock(x->vm);
}

/* ---- -device ---- */

static void devices_come_from_text(void **state)
{
    struct pc_rig *x = *state;
    char text[] = "isa-debug-exit,id=quit,iobase=0xf4,iosize=4";

    if (!has_bios()) skip();
    x->cfg.device[x->cfg.device_count++] = text;
    make_good(x);
    assert_non_null(dev_find(x->vm, "quit"));
}

static void wrong_devices_get_a_line_that_names_them(void **state)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        { "foo", "'foo' is not a valid device model name" },
        { "foo,bar=1", "'foo' is not a valid device model name" },
        { "", "'' is not a valid device model name" },
        { "i440FX", "can not be added" },
        { "isa-debug-exit,foo=3", "no property foo" },
        { "isa-debug-exit,iobase=zz", "iobase=zz is not a number" },
        { "isa-debug-exit,iobase=0x10000", "outside" },
        { "isa-debug-exit,id=fw_cfg", "fw_cfg" },
        { "isa-debug-exit,id=1234567890123456789012345678901234567890123456789",
          "too long" },
        { "VGA,addr=1f.9", "addr=1f.9" },
        { "VGA,addr=1", "taken" },
    };
    struct pc_rig *x = *state;
    char text[128];

    if (!has_bios()) skip();
    x->cfg.device[x->cfg.device_count++] = text;
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        snprintf(text, sizeof(text), "%s", row[i].text);
        assert_refused(x, row[i].want);
    }
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    print(out);
    fclose(out);
    return text;
}

/* Lines as QEMU 7.2 prints them for -M help and -device help. */
static void help_has_the_known_layout(void **state)
{
    char *text = printed(machine_print_help);

    (void)state;
    assert_string_equal(
        text, "Supported machines are:\n"
              "pc                   Standard PC (i440FX + PIIX, 1996) (alias "
              "of pc-i440fx-7.2)\n"
              "pc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) "
              "(default)\n");
    free(text);
    text = printed(device_print_list);
    assert_non_null(strstr(text, "Misc devices:\n"));
    assert_non_null(strstr(text, "name \"isa-debug-exit\", bus ISA"));
    assert_null(strstr(text, "i440FX"));
    free(text);
}

static void every_device_that_can_be_saved_round_trips(void **state)
{
    struct pc_rig *x = *state;
    struct state_out a = { 0 }, b = { 0 };

    if (!has_bios()) skip();
    x->cfg.cpus = 2;
    make_good(x);
    vm_lock(x->vm);
    port_write_locked(x->vm, 0xcf8, 4, 0x80000058); /* PAM0, PAM1 */
    port_write_locked(x->vm, 0xcfc, 4, 0x00333000);
    port_write_locked(x->vm, 0x3c4, 2, 0x0302);
    assert_int_equal(dev_save_tree(vm_root(x->vm), &a, &x->e), 0);
    vm_reset_locked(x->vm);
    if (dev_load_tree(vm_root(x->vm), a.data, a.bytes, &x->e) < 0) {
        fail_msg("%s", x->e.text);
    }
    assert_int_equal(dev_save_tree(vm_root(x->vm), &b, &x->e), 0);
    vm_unlock(x->vm);
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.data, b.data, a.bytes);
    assert_int_equal(kind(x, 0xf0000), 'r');
    state_out_free(&a);
    state_out_free(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_splits_around_the_pci_hole),
        TEST(cmos_tells_memory_sizes_and_cpus),
        TEST(boot_letters_become_cmos_nibbles),
        TEST(once_holds_until_the_first_reset),
        TEST(boot_set_changes_the_order_for_good),
        TEST(wrong_settings_get_a_line_that_names_them),
        TEST(machine_options_take_parts_away),
        TEST(devices_come_from_text),
        TEST(wrong_devices_get_a_line_that_names_them),
        cmocka_unit_test(help_has_the_known_layout),
        TEST(every_device_that_can_be_saved_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
