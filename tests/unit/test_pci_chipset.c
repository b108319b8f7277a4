/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* Host bridge, ISA bridge and power management function against the data
 * sheets of 82441FX, 82371SB and 82371AB. */
#include "tests/unit/support/chips_rig.h"

#include <stdlib.h>
#include <string.h>

#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/pci.h"
#include "hw/pci/i440fx.h"

enum { BRIDGE = 0, PIIX3 = 8, PM = 11, PMBASE = 0x600 };

#define MS_NS UINT64_C(1000000)

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

/* ---- host bridge ---- */

struct bridge {
    struct mem_region rom, isa;
};

/* A ROM whose octets say where they are, below 1 MiB as its last 128 KiB. */
static void make_bridge(struct rig *r, struct bridge *b)
{
    struct err e = ERR_INIT;
    struct dev *d;

    rig_add(r, &pci_bus_class);
    d = rig_add(r, &i440fx_class);
    assert_int_equal(mem_init_rom(&b->rom, "rom", 0x40000, &e), 0);
    for (unsigned i = 0; i < 0x40000; i++) {
        b->rom.host[i] = (uint8_t)(i >> 12);
    }
    mem_init_alias(&b->isa, "isa", &b->rom, 0x20000, 0x20000);
    mem_add_locked(r->vm, mem_root(r->vm), 0xe0000, &b->isa, 0);
    i440fx_set_rom(d, &b->rom);
}

static void free_bridge(struct rig *r, struct bridge *b)
{
    mem_del_locked(r->vm, &b->isa);
    mem_free(&b->rom);
}

static uint8_t peek(struct rig *r, gpa_t gpa)
{
    uint8_t v;

    mem_read_locked(r->vm, gpa, &v, 1);
    return v;
}

static void poke(struct rig *r, gpa_t gpa, uint8_t v)
{
    mem_write_locked(r->vm, gpa, &v, 1);
}

static void the_bridge_is_the_one_firmware_looks_for(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    assert_int_equal(conf_read(r, BRIDGE, 0, 4), 0x12378086);
    assert_int_equal(conf_read(r, BRIDGE, 0x2c, 4), 0x11001af4);
    assert_int_equal(conf_read(r, BRIDGE, 0x0a, 2), 0x0600);
    free_bridge(r, &b);
}

/* 82441FX, PAM registers: which octet and nibble serves which segment. */
static const struct {
    uint32_t base, last;
    uint8_t reg, shift;
} pam[] = {
    { 0xf0000, 0xfffff, 0x59, 4 }, { 0xc0000, 0xc3fff, 0x5a, 0 },
    { 0xc4000, 0xc7fff, 0x5a, 4 }, { 0xc8000, 0xcbfff, 0x5b, 0 },
    { 0xcc000, 0xcffff, 0x5b, 4 }, { 0xd0000, 0xd3fff, 0x5c, 0 },
    { 0xd4000, 0xd7fff, 0x5c, 4 }, { 0xd8000, 0xdbfff, 0x5d, 0 },
    { 0xdc000, 0xdffff, 0x5d, 4 }, { 0xe0000, 0xe3fff, 0x5e, 0 },
    { 0xe4000, 0xe7fff, 0x5e, 4 }, { 0xe8000, 0xebfff, 0x5f, 0 },
    { 0xec000, 0xeffff, 0x5f, 4 },
};

static uint8_t rom_octet(uint32_t gpa)
{
    return gpa >= 0xe0000 ? (uint8_t)((gpa - 0xe0000 + 0x20000) >> 12) : 0xff;
}

static void pam_segments_shadow_in_all_four_ways(void **state)
{
    struct rig *r = *state;
    struct bridge b;
    uint8_t *ram;

    make_bridge(r, &b);
    ram = vm_ram(r->vm)->host;
    for (unsigned i = 0; i < sizeof(pam) / sizeof(pam[0]); i++) {
        for (unsigned mode = 0; mode < 4; mode++) {
            const uint32_t at[] = { pam[i].base, pam[i].last };

            conf_write(r, BRIDGE, pam[i].reg, 1, mode << pam[i].shift);
            for (unsigned k = 0; k < 2; k++) {
                bool reads_ram = mode & 1, writes_ram = mode & 2;

                ram[at[k]] = 0x5a;
                assert_int_equal(peek(r, at[k]),
                                 reads_ram ? 0x5a : rom_octet(at[k]));
                poke(r, at[k], 0xa5);
                assert_int_equal(ram[at[k]], writes_ram ? 0xa5 : 0x5a);
            }
        }
        conf_write(r, BRIDGE, pam[i].reg, 1, 0);
    }
    free_bridge(r, &b);
}

static void pam_segments_do_not_touch_each_other(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    memset(vm_ram(r->vm)->host, 0x5a, 1 << 20);
    for (unsigned i = 0; i < sizeof(pam) / sizeof(pam[0]); i++) {
        conf_write(r, BRIDGE, pam[i].reg, 1, 1u << pam[i].shift);
        for (unsigned k = 0; k < sizeof(pam) / sizeof(pam[0]); k++) {
            assert_int_equal(peek(r, pam[k].base) == 0x5a, k == i);
        }
        conf_write(r, BRIDGE, pam[i].reg, 1, 0);
    }
    free_bridge(r, &b);
}

static void write_only_segments_move_wide_accesses(void **state)
{
    struct rig *r = *state;
    struct bridge b;
    uint64_t v = 0x1122334455667788;

    make_bridge(r, &b);
    conf_write(r, BRIDGE, 0x59, 1, 0x20);
    mem_write_locked(r->vm, 0xf0003, &v, 8);
    assert_memory_equal(vm_ram(r->vm)->host + 0xf0003, &v, 8);
    mem_read_locked(r->vm, 0xf0ffc, &v, 8);
    assert_int_equal(v, 0x3131313130303030);
    free_bridge(r, &b);
}

static void smram_opens_and_locks_shut(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    vm_ram(r->vm)->host[0xa0000] = 0x5a;
    assert_int_equal(conf_read(r, BRIDGE, 0x72, 1), 0x02);
    assert_int_equal(peek(r, 0xa0000), 0xff);
    conf_write(r, BRIDGE, 0x72, 1, 0x4a);
    assert_int_equal(peek(r, 0xa0000), 0x5a);
    conf_write(r, BRIDGE, 0x72, 1, 0x5a); /* D_LCK clears D_OPEN */
    assert_int_equal(peek(r, 0xa0000), 0xff);
    conf_write(r, BRIDGE, 0x72, 1, 0x4a);
    assert_int_equal(peek(r, 0xa0000), 0xff);
    assert_int_equal(conf_read(r, BRIDGE, 0x72, 1), 0x1a);
    dev_reset_tree(vm_root(r->vm));
    assert_int_equal(conf_read(r, BRIDGE, 0x72, 1), 0x02);
    free_bridge(r, &b);
}

static uint8_t peek_smm(struct rig *r, gpa_t gpa)
{
    uint8_t v;

    mem_read_in_locked(r->vm, MEM_VIEW_SMM, gpa, &v, 1);
    return v;
}

/* 82441FX 3.2.20; the others never see it by G_SMRAME. */
static void g_smrame_shows_smram_to_cpus_in_smm(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    vm_ram(r->vm)->host[0xa0000] = 0x5a;
    vm_ram(r->vm)->host[0xbffff] = 0x5b;
    assert_int_equal(peek_smm(r, 0xa0000), 0xff);
    conf_write(r, BRIDGE, 0x72, 1, 0x0a);
    assert_int_equal(peek_smm(r, 0xa0000), 0x5a);
    assert_int_equal(peek_smm(r, 0xbffff), 0x5b);
    assert_int_equal(peek(r, 0xa0000), 0xff);
    assert_int_equal(peek_smm(r, 0xe0000), peek(r, 0xe0000));
    conf_write(r, BRIDGE, 0x72, 1, 0x1a);
    conf_write(r, BRIDGE, 0x72, 1, 0x02); /* locked with it */
    assert_int_equal(peek_smm(r, 0xa0000), 0x5a);
    rig_round_trip(r);
    conf_write(r, BRIDGE, 0x72, 1, 0x02);
    assert_int_equal(peek_smm(r, 0xa0000), 0x5a);
    dev_reset_tree(vm_root(r->vm));
    assert_int_equal(peek_smm(r, 0xa0000), 0xff);
    free_bridge(r, &b);
}

static void shadowing_comes_back_with_the_state(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    vm_ram(r->vm)->host[0xc0000] = 0x5a;
    conf_write(r, BRIDGE, 0x5a, 1, 0x13);
    rig_round_trip(r);
    assert_int_equal(peek(r, 0xc0000), 0x5a);
    assert_int_equal(conf_read(r, BRIDGE, 0x5a, 1), 0x13);
    rig_load_garbage(r);
    free_bridge(r, &b);
}

/* ---- ISA bridge ---- */

/* A function at slot 4 whose INTA is PIRQD. */
struct source {
    struct pci_func pci;
};

static int source_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = { .vendor = 1, .intx_pin = 1 };
    struct source *s = d->s;

    return pci_func_init(d, &s->pci, &ids, 4 << 3, e);
}

static void source_destroy(struct dev *d)
{
    struct source *s = d->s;

    pci_func_exit(&s->pci);
}

static const struct dev_class source_class = {
    .name = "source",
    .bus = BUS_PCI,
    .size = sizeof(struct source),
    .create = source_create,
    .destroy = source_destroy,
};

static struct source *make_piix3(struct rig *r)
{
    struct irq_line lines[16];
    struct dev *d;

    rig_add(r, &pci_bus_class);
    d = rig_add(r, &piix3_class);
    for (unsigned i = 0; i < 16; i++) {
        lines[i] = rig_line(r, i);
    }
    piix3_connect(d, lines);
    return rig_add(r, &source_class)->s;
}

static void pirq_goes_where_the_guest_routes_it(void **state)
{
    struct rig *r = *state;
    struct source *s = make_piix3(r);

    assert_int_equal(conf_read(r, PIIX3, 0x60, 4), 0x80808080);
    pci_set_irq(&s->pci, true);
    for (unsigned i = 0; i < 16; i++) {
        assert_false(r->level[i]);
    }
    conf_write(r, PIIX3, 0x63, 1, 11);
    assert_true(r->level[11]);
    conf_write(r, PIIX3, 0x63, 1, 5);
    assert_false(r->level[11]);
    assert_true(r->level[5]);
    conf_write(r, PIIX3, 0x60, 1, 5); /* another line, idle, same IRQ */
    assert_true(r->level[5]);
    pci_set_irq(&s->pci, false);
    assert_false(r->level[5]);
    pci_set_irq(&s->pci, true);
    conf_write(r, PIIX3, 0x63, 1, 0x85);
    assert_false(r->level[5]);
}

/* 82371SB, PIRQRC: 0, 1, 2, 8 and 13 are reserved. */
static void reserved_interrupts_can_not_be_chosen(void **state)
{
    struct rig *r = *state;
    struct source *s = make_piix3(r);

    pci_set_irq(&s->pci, true);
    for (unsigned irq = 0; irq < 16; irq++) {
        bool is_reserved = irq < 3 || irq == 8 || irq == 13;

        conf_write(r, PIIX3, 0x63, 1, irq);
        assert_int_equal(r->level[irq], !is_reserved);
    }
}

static void routing_comes_back_with_the_state(void **state)
{
    struct rig *r = *state;
    struct source *s = make_piix3(r);

    conf_write(r, PIIX3, 0x63, 1, 11);
    rig_out(r, 0xcf9, 0x02);
    pci_set_irq(&s->pci, true);
    rig_round_trip(r);
    assert_int_equal(rig_in(r, 0xcf9), 0x02);
    assert_int_equal(conf_read(r, PIIX3, 0x63, 1), 11);
    rig_load_garbage(r);
}

static void event(void *arg, enum vm_event ev)
{
    unsigned *seen = arg;

    *seen |= 1u << ev;
}

static void let_requests_run(struct rig *r)
{
    vm_unlock(r->vm);
    loop_step(r->loop, 0);
    vm_lock(r->vm);
}

static void port_cf9_resets_when_bit_2_is_set(void **state)
{
    struct rig *r = *state;
    unsigned seen = 0;

    make_piix3(r);
    vm_add_listener(r->vm, event, &seen);
    rig_out(r, 0xcf9, 0x02);
    let_requests_run(r);
    assert_int_equal(seen, 0);
    rig_out(r, 0xcf9, 0x06);
    let_requests_run(r);
    assert_int_equal(seen, 1u << VM_EVENT_RESET);
}

static void cf9_and_the_address_register_do_not_mix(void **state)
{
    struct rig *r = *state;

    make_piix3(r);
    port_write_locked(r->vm, 0xcf8, 4, 0x80000800);
    rig_out(r, 0xcf9, 0x02);
    assert_int_equal(port_read_locked(r->vm, 0xcf8, 4), 0x80000800);
    assert_int_equal(rig_in(r, 0xcf9), 0x02);
    assert_int_equal(conf_read(r, PIIX3, 0x0e, 1), 0x80);
}

/* ---- power management ---- */

static struct dev *make_pm(struct rig *r)
{
    struct dev *d;

    rig_add(r, &pci_bus_class);
    d = rig_add(r, &piix4pm_class);
    piix4pm_connect(d, rig_line(r, 9));
    conf_write(r, PM, 0x40, 4, PMBASE | 1);
    conf_write(r, PM, 0x80, 1, 1);
    return d;
}

static uint32_t in(struct rig *r, unsigned port, unsigned bytes)
{
    return port_read_locked(r->vm, PMBASE + port, bytes);
}

static void out(struct rig *r, unsigned port, unsigned bytes, uint32_t v)
{
    port_write_locked(r->vm, PMBASE + port, bytes, v);
}

static void registers_are_where_the_base_says(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    assert_int_equal(conf_read(r, PM, 0x40, 4), PMBASE | 1);
    assert_int_equal(in(r, 4, 2), 0);
    conf_write(r, PM, 0x40, 4, 0xb001);
    assert_int_equal(in(r, 4, 2), 0xffff);
    assert_int_equal(port_read_locked(r->vm, 0xb004, 2), 0);
    conf_write(r, PM, 0x80, 1, 0);
    assert_int_equal(port_read_locked(r->vm, 0xb004, 2), 0xffff);
}

/* SeaBIOS takes APMC_EN in DEVACTB (0x58, bit 25) for a finished set-up. */
static void system_management_mode_looks_set_up(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    assert_int_equal(conf_read(r, PM, 0x58, 4), 1u << 25);
    conf_write(r, PM, 0x58, 4, 0);
    assert_int_equal(conf_read(r, PM, 0x58, 4), 1u << 25);
}

/* 82371AB: SMI# by APMC while DEVACTB.APMC_EN and GLBCTL.SMI_EN (PM base + 28h)
 * are set; GLBSTS (+ 18h) bit 5 tells of it. */
static void writing_apmc_raises_an_smi_where_it_is_enabled(void **state)
{
    enum { SMI_LINE = 20, APMC_EN = 1 << 25 };
    struct rig *r = *state;
    struct err e = ERR_INIT;
    struct dev *d = make_pm(r);

    piix4pm_connect_smi(d, rig_line(r, SMI_LINE));
    dev_reset_tree(vm_root(r->vm));
    conf_write(r, PM, 0x40, 4, PMBASE | 1);
    conf_write(r, PM, 0x80, 1, 1);
    assert_int_equal(conf_read(r, PM, 0x58, 4), 0);
    out(r, 0x28, 4, 1);
    rig_out(r, 0xb2, 0);
    assert_int_equal(r->rises[SMI_LINE], 0);
    conf_write(r, PM, 0x58, 4, APMC_EN);
    out(r, 0x28, 4, 0);
    rig_out(r, 0xb2, 0);
    assert_int_equal(r->rises[SMI_LINE], 0);
    assert_int_equal(in(r, 0x18, 2), 0x20);
    out(r, 0x18, 2, 0x20);
    assert_int_equal(in(r, 0x18, 2), 0);
    out(r, 0x28, 4, 1);
    rig_out(r, 0xb2, 0x17);
    rig_out(r, 0xb3, 0x18); /* APMS raises none */
    assert_int_equal(r->rises[SMI_LINE], 1);
    rig_out(r, 0xb2, 0xf1); /* of the FADT */
    assert_int_equal(r->rises[SMI_LINE], 1);
    assert_int_equal(in(r, 4, 2), 1);
    rig_round_trip(r);
    assert_int_equal(conf_read(r, PM, 0x58, 4), APMC_EN);
    rig_out(r, 0xb2, 0);
    assert_int_equal(r->rises[SMI_LINE], 2);
    rig_load_garbage(r);

    /* State of before there were any: firmware has no handler. */
    assert_int_equal(d->cls->loaded(d, 1, &e), 0);
    rig_out(r, 0xb2, 0);
    assert_int_equal(r->rises[SMI_LINE], 2);
    assert_int_equal(conf_read(r, PM, 0x58, 4), APMC_EN);
}

static void the_timer_runs_at_3_579545_mhz(void **state)
{
    struct rig *r = *state;
    uint32_t a;

    make_pm(r);
    a = in(r, 8, 4);
    rig_advance(r, 1000 * MS_NS);
    assert_in_range(in(r, 8, 4) - a, 3579544, 3579546);
    rig_advance(r, 4000 * MS_NS); /* 5 s: past 24 bits */
    assert_int_equal(in(r, 8, 4) >> 24, 0);
    assert_in_range((in(r, 8, 4) - a) & 0xffffff, 5 * 3579545 % 0x1000000 - 2,
                    5 * 3579545 % 0x1000000 + 2);
}

/* ACPI 4.8.3.1.1: TMR_STS when bit 23 changes, an SCI if enabled. */
static void the_timer_interrupts_every_half_period(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    out(r, 4, 2, 1); /* SCI_EN */
    out(r, 2, 2, 1); /* TMR_EN */
    rig_advance(r, 2340 * MS_NS);
    assert_false(r->level[9]);
    rig_advance(r, 10 * MS_NS); /* 2^23 ticks are 2343.5 ms */
    assert_true(r->level[9]);
    assert_int_equal(in(r, 0, 2), 1);
    out(r, 0, 2, 1);
    assert_false(r->level[9]);
    assert_int_equal(in(r, 0, 2), 0);
    rig_advance(r, 2344 * MS_NS);
    assert_true(r->level[9]);
    out(r, 2, 2, 0);
    assert_false(r->level[9]);
}

static void the_power_button_raises_the_sci(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    out(r, 4, 2, 1);
    out(r, 2, 2, 0x100);
    vm_request(r->vm, VM_REQ_POWERDOWN);
    let_requests_run(r);
    assert_true(r->level[9]);
    assert_int_equal(in(r, 0, 2) & 0x100, 0x100);
    out(r, 0, 2, 0x100);
    assert_false(r->level[9]);
}

static void status_bits_wait_until_they_are_enabled(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    vm_request(r->vm, VM_REQ_POWERDOWN);
    let_requests_run(r);
    assert_false(r->level[9]);
    out(r, 3, 1, 0x01); /* high octet of the enable register */
    assert_false(r->level[9]);
    rig_out(r, 0xb2, 0xf1); /* ACPI_ENABLE as the FADT says */
    assert_int_equal(in(r, 4, 2), 1);
    assert_true(r->level[9]);
    rig_out(r, 0xb2, 0xf0);
    assert_int_equal(in(r, 4, 2), 0);
    assert_false(r->level[9]);
}

static void slp_en_with_type_0_powers_off(void **state)
{
    struct rig *r = *state;
    unsigned seen = 0;

    make_pm(r);
    vm_add_listener(r->vm, event, &seen);
    out(r, 4, 2, 0x2000 | 1 << 10); /* another sleep type: not offered */
    let_requests_run(r);
    assert_int_equal(seen, 0);
    assert_int_equal(in(r, 4, 2) & 0x2000, 0);
    out(r, 4, 2, 0x2001);
    let_requests_run(r);
    assert_int_equal(seen, 1u << VM_EVENT_SHUTDOWN);
}

static void nobody_answers_on_the_smbus(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    conf_write(r, PM, 0x90, 4, 0x701);
    conf_write(r, PM, 0xd2, 1, 0x09);
    assert_int_equal(rig_in(r, 0x700), 0);
    rig_out(r, 0x704, 0xa1);
    rig_out(r, 0x702, 0x48); /* start, byte data */
    assert_int_equal(rig_in(r, 0x700), 0x04);
    assert_int_equal(rig_in(r, 0x702), 0x08);
    rig_out(r, 0x700, 0x04);
    assert_int_equal(rig_in(r, 0x700), 0);
}

static void power_management_state_round_trips(void **state)
{
    struct rig *r = *state;

    make_pm(r);
    out(r, 4, 2, 1);
    out(r, 2, 2, 0x101);
    rig_out(r, 0xafe2, 0x42);
    rig_out(r, 0xb3, 0x17);
    vm_request(r->vm, VM_REQ_POWERDOWN);
    let_requests_run(r);
    rig_round_trip(r);
    assert_int_equal(in(r, 0, 2) & 0x100, 0x100);
    assert_int_equal(in(r, 2, 2), 0x101);
    assert_int_equal(rig_in(r, 0xafe2), 0x42);
    assert_int_equal(rig_in(r, 0xb3), 0x17);
    assert_true(r->level[9]);
    rig_load_garbage(r);
}

static void random_accesses_do_no_harm(void **state)
{
    struct rig *r = *state;
    struct bridge b;

    make_bridge(r, &b);
    rig_add(r, &piix3_class);
    rig_add(r, &piix4pm_class);
    srand(2);
    for (unsigned i = 0; i < 5000; i++) {
        static const uint8_t fn[] = { BRIDGE, PIIX3, PM };
        unsigned bytes = 1u << rand() % 3;

        conf_write(r, fn[rand() % 3], (unsigned)rand() % 256, bytes,
                   (uint32_t)rand() * 2654435761u);
        port_write_locked(r->vm, 0xb2 + (unsigned)rand() % 2, 1,
                          (uint32_t)rand());
        mem_write_locked(r->vm, 0xa0000 + (unsigned)rand() % 0x60000, &i, 4);
        if (rand() % 200 == 0) dev_reset_tree(vm_root(r->vm));
    }
    assert_int_equal(conf_read(r, BRIDGE, 0, 4), 0x12378086);
    dev_reset_tree(vm_root(r->vm));
    free_bridge(r, &b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_bridge_is_the_one_firmware_looks_for),
        TEST(pam_segments_shadow_in_all_four_ways),
        TEST(pam_segments_do_not_touch_each_other),
        TEST(write_only_segments_move_wide_accesses),
        TEST(smram_opens_and_locks_shut),
        TEST(g_smrame_shows_smram_to_cpus_in_smm),
        TEST(writing_apmc_raises_an_smi_where_it_is_enabled),
        TEST(shadowing_comes_back_with_the_state),
        TEST(pirq_goes_where_the_guest_routes_it),
        TEST(reserved_interrupts_can_not_be_chosen),
        TEST(routing_comes_back_with_the_state),
        TEST(port_cf9_resets_when_bit_2_is_set),
        TEST(cf9_and_the_address_register_do_not_mix),
        TEST(registers_are_where_the_base_says),
        TEST(system_management_mode_looks_set_up),
        TEST(the_timer_runs_at_3_579545_mhz),
        TEST(the_timer_interrupts_every_half_period),
        TEST(the_power_button_raises_the_sci),
        TEST(status_bits_wait_until_they_are_enabled),
        TEST(slp_en_with_type_0_powers_off),
        TEST(nobody_answers_on_the_smbus),
        TEST(power_management_state_round_trips),
        TEST(random_accesses_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
