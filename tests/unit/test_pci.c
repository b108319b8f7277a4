/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* PCI bus against the PCI Local Bus Specification 3.0. */
#include "tests/unit/support/chips_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/pci.h"

enum { COMMAND = 0x04, BAR0 = 0x10, ROM = 0x30, IO = 1, MEM = 2 };

/* A function with one register of each kind of BAR. */
struct toy {
    struct pci_func pci;
    struct mem_region mem32, mem64;
    char *addr;
    uint64_t written;
    unsigned config_writes;
};

static uint64_t toy_read(void *arg, uint64_t offset, unsigned bytes)
{
    (void)arg;
    (void)bytes;
    return 0x50 + offset;
}

static void toy_write(void *arg, uint64_t offset, unsigned bytes, uint64_t v)
{
    struct toy *t = arg;

    (void)offset;
    (void)bytes;
    t->written = v;
}

static const struct mem_ops toy_mem = { .read = toy_read, .write = toy_write };

static uint32_t toy_in(void *arg, unsigned port, unsigned bytes)
{
    (void)arg;
    (void)bytes;
    return 0xa0 + port;
}

static const struct port_ops toy_ports = { toy_in, NULL, 1 };

static void toy_config(struct pci_func *f, unsigned off, unsigned bytes)
{
    struct toy *t = f->d->s;

    (void)off;
    (void)bytes;
    t->config_writes++;
}

static int toy_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x1234,
        .device = 0x5678,
        .subvendor = 0x9abc,
        .subdevice = 0xdef0,
        .revision = 0x11,
        .prog_if = 0x22,
        .subclass = 0x80,
        .base_class = 0x03,
        .intx_pin = 1,
    };
    struct toy *t = d->s;
    int rc = pci_func_init(d, &t->pci, &ids, -1, e);

    if (rc < 0) return rc;
    t->pci.config_written = toy_config;
    mem_init_mmio(&t->mem32, "toy32", 0x1000, &toy_mem, t);
    mem_init_mmio(&t->mem64, "toy64", 0x100000, &toy_mem, t);
    pci_bar_mem(&t->pci, 0, &t->mem32, false, false);
    pci_bar_io(&t->pci, 1, 0x20, &toy_ports, t);
    pci_bar_mem(&t->pci, 2, &t->mem64, true, true);
    mem_init_rom(&t->pci.rom, "toy.rom", 0x800, e);
    memset(t->pci.rom.host, 0xee, 0x800);
    pci_bar_mem(&t->pci, 6, &t->pci.rom, false, false);
    return 0;
}

static void toy_reset(struct dev *d)
{
    struct toy *t = d->s;

    pci_func_reset(&t->pci);
}

static int toy_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct toy *t = d->s;

    (void)version;
    (void)e;
    pci_func_loaded(&t->pci);
    return 0;
}

static void toy_destroy(struct dev *d)
{
    struct toy *t = d->s;

    pci_func_exit(&t->pci);
}

static const struct prop toy_props[] = {
    PROP("addr", P_STR, toy, addr, 0, 0, NULL, NULL, "slot"),
    PROP_END,
};

static const struct field toy_state[] = {
    STRUCT(toy, pci, pci_func_state),
    STATE_END,
};

static const struct dev_class toy_class = {
    .name = "toy",
    .bus = BUS_PCI,
    .size = sizeof(struct toy),
    .props = toy_props,
    .state = toy_state,
    .version = 1,
    .create = toy_create,
    .reset = toy_reset,
    .loaded = toy_loaded,
    .destroy = toy_destroy,
};

static uint32_t conf_read(struct rig *r, unsigned devfn, unsigned off,
                          unsigned bytes)
{
    port_write_locked(r->vm, 0xcf8, 4, 0x80000000u | devfn << 8 | (off & ~3u));
    return port_read_locked(r->vm, 0xcfc + (off & 3), bytes);
}

static void conf_write(struct rig *r, unsigned devfn, unsigned off,
                       unsigned bytes, uint32_t v)
{
    port_write_locked(r->vm, 0xcf8, 4, 0x80000000u | devfn << 8 | (off & ~3u));
    port_write_locked(r->vm, 0xcfc + (off & 3), bytes, v);
}

/* The toy at slot 3. */
static struct toy *make_toy(struct rig *r)
{
    rig_add(r, &pci_bus_class);
    return rig_add_with(r, &toy_class, "addr", "03.0", NULL)->s;
}

enum { TOY = 3 << 3 };

static void identity_reads_by_byte_word_and_doubleword(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    assert_int_equal(conf_read(r, TOY, 0, 4), 0x56781234);
    assert_int_equal(conf_read(r, TOY, 0, 2), 0x1234);
    assert_int_equal(conf_read(r, TOY, 2, 2), 0x5678);
    assert_int_equal(conf_read(r, TOY, 3, 1), 0x56);
    assert_int_equal(conf_read(r, TOY, 8, 4), 0x03802211);
    assert_int_equal(conf_read(r, TOY, 0x2c, 4), 0xdef09abc);
    assert_int_equal(conf_read(r, TOY, 0x3d, 1), 1);
}

static void empty_functions_and_other_buses_read_ones(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    assert_int_equal(conf_read(r, TOY + 1, 0, 4), 0xffffffff);
    assert_int_equal(conf_read(r, 4 << 3, 0, 2), 0xffff);
    assert_int_equal(conf_read(r, TOY + 0x100, 0, 4), 0xffffffff); /* bus 1 */
    port_write_locked(r->vm, 0xcf8, 4, TOY << 8); /* enable bit clear */
    assert_int_equal(port_read_locked(r->vm, 0xcfc, 4), 0xffffffff);
}

/* 3.2.2.3.2: anything but a doubleword at 0xcf8 is an I/O access of its own;
 * bits 1:0 and 30:24 read 0. */
static void the_address_register_takes_doublewords_alone(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    port_write_locked(r->vm, 0xcf8, 4, 0xffffffff);
    assert_int_equal(port_read_locked(r->vm, 0xcf8, 4), 0x80fffffc);
    port_write_locked(r->vm, 0xcf8, 4, 0x80001800);
    port_write_locked(r->vm, 0xcf8, 1, 0x55);
    port_write_locked(r->vm, 0xcfa, 2, 0x5555);
    assert_int_equal(port_read_locked(r->vm, 0xcf8, 4), 0x80001800);
    assert_int_equal(port_read_locked(r->vm, 0xcf8, 1), 0xff);
}

static void the_header_keeps_what_is_read_only(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    for (unsigned off = 0; off < 0x40; off += 4) {
        if (off != COMMAND) conf_write(r, TOY, off, 4, 0xffffffff);
    }
    assert_int_equal(conf_read(r, TOY, 0, 4), 0x56781234);
    assert_int_equal(conf_read(r, TOY, 8, 4), 0x03802211);
    assert_int_equal(conf_read(r, TOY, 0x2c, 4), 0xdef09abc);
    assert_int_equal(conf_read(r, TOY, 0x3c, 4), 0x000001ff);
    conf_write(r, TOY, COMMAND, 2, 0xffff);
    assert_int_equal(conf_read(r, TOY, COMMAND, 2) & ~0x0547u, 0);
    assert_true(pci_is_bus_master(&t->pci));
    assert_int_equal(t->config_writes, 16);
}

/* 6.2.5.1: write ones, read back size and type. */
static void base_addresses_tell_size_and_type(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    for (unsigned off = BAR0; off < 0x28; off += 4) {
        conf_write(r, TOY, off, 4, 0xffffffff);
    }
    conf_write(r, TOY, ROM, 4, 0xfffffffe);
    assert_int_equal(conf_read(r, TOY, 0x10, 4), 0xfffff000);
    assert_int_equal(conf_read(r, TOY, 0x14, 4), 0xffffffe1);
    assert_int_equal(conf_read(r, TOY, 0x18, 4), 0xfff0000c);
    assert_int_equal(conf_read(r, TOY, 0x1c, 4), 0xffffffff);
    assert_int_equal(conf_read(r, TOY, 0x20, 4), 0);
    assert_int_equal(conf_read(r, TOY, ROM, 4), 0xfffff800);
}

static void decoding_follows_command_and_address(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    conf_write(r, TOY, 0x10, 4, 0xe0000000);
    conf_write(r, TOY, 0x14, 4, 0xc100);
    assert_int_equal(rig_read32(r, 0xe0000000), 0xffffffff);
    conf_write(r, TOY, COMMAND, 2, MEM);
    assert_int_equal(rig_read32(r, 0xe0000010), 0x60);
    assert_int_equal(rig_in(r, 0xc105), 0xff);
    conf_write(r, TOY, COMMAND, 2, MEM | IO);
    assert_int_equal(rig_in(r, 0xc105), 0xa5);
    assert_int_equal(rig_in(r, 0xc120), 0xff);
    conf_write(r, TOY, 0x10, 4, 0xe0200000);
    assert_int_equal(rig_read32(r, 0xe0000010), 0xffffffff);
    rig_write32(r, 0xe0200000, 0x1234);
    assert_int_equal(t->written, 0x1234);
    conf_write(r, TOY, COMMAND, 2, 0);
    assert_int_equal(rig_read32(r, 0xe0200010), 0xffffffff);
    assert_int_equal(rig_in(r, 0xc105), 0xff);
}

static void a_64_bit_address_reaches_above_4_gib(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    conf_write(r, TOY, COMMAND, 2, MEM);
    conf_write(r, TOY, 0x18, 4, 0x80000000);
    conf_write(r, TOY, 0x1c, 4, 0x12);
    assert_int_equal(rig_read32(r, 0x1280000004), 0x54);
    assert_int_equal(conf_read(r, TOY, 0x18, 4), 0x8000000c);
}

static void the_rom_needs_both_enable_bits(void **state)
{
    struct rig *r = *state;

    make_toy(r);
    conf_write(r, TOY, ROM, 4, 0xe1000001);
    assert_int_equal(rig_read32(r, 0xe1000000), 0xffffffff);
    conf_write(r, TOY, COMMAND, 2, MEM);
    assert_int_equal(rig_read32(r, 0xe1000000), 0xeeeeeeee);
    rig_write32(r, 0xe1000000, 0);
    assert_int_equal(rig_read32(r, 0xe1000000), 0xeeeeeeee);
    conf_write(r, TOY, ROM, 4, 0xe1000000);
    assert_int_equal(rig_read32(r, 0xe1000000), 0xffffffff);
}

/* While it is sized, or programmed out of its space, a BAR decodes nothing. */
static void addresses_out_of_range_decode_nothing(void **state)
{
    static const uint32_t mem[] = { 0, 0xffffffff, 0xfffff000 };
    static const uint32_t io[] = { 0, 0xffffffff, 0x10000, 0xfffffff0 };
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    conf_write(r, TOY, COMMAND, 2, MEM | IO);
    for (unsigned i = 0; i < 3; i++) {
        conf_write(r, TOY, 0x10, 4, mem[i]);
        assert_false(t->pci.bar[0].is_mapped);
    }
    for (unsigned i = 0; i < 4; i++) {
        conf_write(r, TOY, 0x14, 4, io[i]);
        assert_false(t->pci.bar[1].is_mapped);
    }
    conf_write(r, TOY, 0x18, 4, 0xffffffff);
    conf_write(r, TOY, 0x1c, 4, 0xffffffff);
    assert_false(t->pci.bar[2].is_mapped);
    conf_write(r, TOY, 0x1c, 4, 0x00100000); /* at 2^52 */
    assert_false(t->pci.bar[2].is_mapped);
    conf_write(r, TOY, 0x10, 4, 0xe0000000);
    assert_true(t->pci.bar[0].is_mapped);
}

static void main_memory_hides_a_bar(void **state)
{
    struct rig *r = *state;
    struct mem_region low;

    make_toy(r);
    mem_init_alias(&low, "low", vm_ram(r->vm), 0, 4 << 20);
    mem_add_locked(r->vm, mem_root(r->vm), 0, &low, 0);
    conf_write(r, TOY, COMMAND, 2, MEM);
    conf_write(r, TOY, 0x10, 4, 0x00200000);
    rig_write32(r, 0x00200000, 0x77);
    assert_int_equal(rig_read32(r, 0x00200000), 0x77);
    mem_del_locked(r->vm, &low);
}

static void reset_disables_and_forgets_addresses(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    conf_write(r, TOY, 0x10, 4, 0xe0000000);
    conf_write(r, TOY, 0x14, 4, 0xc100);
    conf_write(r, TOY, COMMAND, 2, MEM | IO);
    conf_write(r, TOY, 0x3c, 1, 11);
    pci_set_irq(&t->pci, true);
    dev_reset_tree(vm_root(r->vm));
    assert_int_equal(conf_read(r, TOY, COMMAND, 2), 0);
    assert_int_equal(conf_read(r, TOY, 0x10, 4), 0);
    assert_int_equal(conf_read(r, TOY, 0x14, 4), 1);
    assert_int_equal(conf_read(r, TOY, 0x3c, 1), 0);
    assert_false(t->pci.irq_level);
    assert_int_equal(rig_in(r, 0xc100), 0xff);
}

/* ---- INTx ---- */

static void router(void *arg, unsigned line, bool level)
{
    struct rig *r = arg;

    r->level[line] = level;
}

/* INTA of slot s is PIRQ (s - 1) mod 4, as firmware for this chip set takes
 * it. */
static void intx_lines_depend_on_the_slot(void **state)
{
    static const char *const addr[] = { "1", "2", "3", "4", "5", "1f" };
    static const unsigned line[] = { 0, 1, 2, 3, 0, 2 };
    struct rig *r = *state;

    rig_add(r, &pci_bus_class);
    pci_bus_set_router(vm_pci_bus(r->vm), router, r);
    for (unsigned i = 0; i < 6; i++) {
        struct toy *t = rig_add_with(r, &toy_class, "addr", addr[i], NULL)->s;

        pci_set_irq(&t->pci, true);
        for (unsigned n = 0; n < 4; n++) {
            assert_int_equal(r->level[n], n == line[i]);
        }
        pci_set_irq(&t->pci, false);
        assert_false(r->level[line[i]]);
    }
}

static void a_shared_line_is_up_while_one_function_drives_it(void **state)
{
    struct rig *r = *state;
    struct toy *a = make_toy(r);
    struct toy *b = rig_add_with(r, &toy_class, "addr", "7", NULL)->s;

    pci_bus_set_router(vm_pci_bus(r->vm), router, r);
    pci_set_irq(&a->pci, true);
    pci_set_irq(&b->pci, true);
    pci_set_irq(&a->pci, false);
    assert_true(r->level[2]);
    assert_int_equal(conf_read(r, TOY, 6, 1) & 8, 0);
    assert_int_equal(conf_read(r, 7 << 3, 6, 1) & 8, 8);
    conf_write(r, 7 << 3, COMMAND, 2, 0x0400); /* interrupt disable */
    assert_false(r->level[2]);
    assert_int_equal(conf_read(r, 7 << 3, 6, 1) & 8, 8);
    conf_write(r, 7 << 3, COMMAND, 2, 0);
    assert_true(r->level[2]);
    pci_set_irq(&b->pci, false);
    assert_false(r->level[2]);
}

/* ---- slots ---- */

static int add_at(struct rig *r, const char *addr, struct err *e)
{
    struct dev *d;

    if (dev_new(r->vm, NULL, &toy_class, NULL, &d, e) < 0) return -1;
    if (dev_set(d, "addr", addr, e) < 0) return -1;
    return dev_create(d, e);
}

static void wrong_and_taken_slots_are_refused(void **state)
{
    static const char *const wrong[] = { "20", "3.8", "x", "", "3.", "3.0.1" };
    struct rig *r = *state;

    make_toy(r);
    for (unsigned i = 0; i < 6; i++) {
        struct err e = ERR_INIT;

        assert_int_equal(add_at(r, wrong[i], &e), -22);
        assert_non_null(strstr(e.text, "addr="));
    }
    for (unsigned i = 0; i < 2; i++) {
        struct err e = ERR_INIT;

        assert_int_equal(add_at(r, "3.0", &e), -16);
        assert_non_null(strstr(e.text, "slot 3.0 is taken by toy"));
    }
}

static void a_full_bus_is_refused(void **state)
{
    struct rig *r = *state;
    struct err e = ERR_INIT;
    struct dev *d;

    rig_add(r, &pci_bus_class);
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(dev_add(r->vm, NULL, &toy_class, NULL, &d, &e), 0);
    }
    assert_int_equal(dev_add(r->vm, NULL, &toy_class, NULL, &d, &e), -16);
    assert_non_null(strstr(e.text, "no free slot"));
}

/* ---- info, state ---- */

/* Layout as QEMU 7.2 prints it for a function of this kind. */
static void info_pci_has_the_known_layout(void **state)
{
    static const char want[] =
        "  Bus  0, device   3, function 0:\n"
        "    Display controller: PCI device 1234:5678\n"
        "      PCI subsystem 9abc:def0\n"
        "      IRQ 11, pin A\n"
        "      BAR0: 32 bit memory at 0xe0000000 [0xe0000fff].\n"
        "      BAR1: I/O at 0xc100 [0xc11f].\n"
        "      BAR2: 64 bit prefetchable memory at 0x1280000000 "
        "[0x12800fffff].\n"
        "      BAR6: 32 bit memory at 0xffffffffffffffff [0x000007fe].\n"
        "      id \"\"\n";
    struct rig *r = *state;
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    make_toy(r);
    conf_write(r, TOY, 0x10, 4, 0xe0000000);
    conf_write(r, TOY, 0x14, 4, 0xc100);
    conf_write(r, TOY, 0x18, 4, 0x80000000);
    conf_write(r, TOY, 0x1c, 4, 0x12);
    conf_write(r, TOY, 0x3c, 1, 11);
    conf_write(r, TOY, COMMAND, 2, MEM | IO);
    assert_int_equal(vm_print_info_locked(r->vm, "pci", out), 0);
    fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static void mappings_come_back_with_the_state(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    conf_write(r, TOY, 0x10, 4, 0xe0000000);
    conf_write(r, TOY, 0x14, 4, 0xc100);
    conf_write(r, TOY, COMMAND, 2, MEM | IO);
    pci_set_irq(&t->pci, true);
    rig_round_trip(r);
    assert_int_equal(rig_read32(r, 0xe0000010), 0x60);
    assert_int_equal(rig_in(r, 0xc105), 0xa5);
    assert_true(t->pci.irq_level);
}

static void damaged_state_leaves_the_identity_alone(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    rig_load_garbage(r);
    memset(t->pci.config, 0xff, sizeof(t->pci.config));
    pci_func_loaded(&t->pci);
    assert_int_equal(conf_read(r, TOY, 0, 4), 0x56781234);
    assert_int_equal(conf_read(r, TOY, 0x10, 4) & 0xf, 0);
    assert_int_equal(conf_read(r, TOY, 0x14, 4) & 3, 1);
    dev_reset_tree(vm_root(r->vm));
}

static void random_accesses_do_no_harm(void **state)
{
    struct rig *r = *state;
    struct toy *t = make_toy(r);

    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned bytes = 1u << rand() % 3;

        if (rand() % 2) {
            conf_write(r, TOY, (unsigned)rand() % 256, bytes,
                       (uint32_t)rand() * 2654435761u);
        } else {
            conf_read(r, (unsigned)rand() % 65536, (unsigned)rand() % 256,
                      bytes);
        }
        if (rand() % 100 == 0) toy_reset(t->pci.d);
        if (rand() % 50 == 0) pci_set_irq(&t->pci, rand() % 2);
    }
    assert_int_equal(conf_read(r, TOY, 0, 4), 0x56781234);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity_reads_by_byte_word_and_doubleword),
        TEST(empty_functions_and_other_buses_read_ones),
        TEST(the_address_register_takes_doublewords_alone),
        TEST(the_header_keeps_what_is_read_only),
        TEST(base_addresses_tell_size_and_type),
        TEST(decoding_follows_command_and_address),
        TEST(a_64_bit_address_reaches_above_4_gib),
        TEST(the_rom_needs_both_enable_bits),
        TEST(addresses_out_of_range_decode_nothing),
        TEST(main_memory_hides_a_bar),
        TEST(reset_disables_and_forgets_addresses),
        TEST(intx_lines_depend_on_the_slot),
        TEST(a_shared_line_is_up_while_one_function_drives_it),
        TEST(wrong_and_taken_slots_are_refused),
        TEST(a_full_bus_is_refused),
        TEST(info_pci_has_the_known_layout),
        TEST(mappings_come_back_with_the_state),
        TEST(damaged_state_leaves_the_identity_alone),
        TEST(random_accesses_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
