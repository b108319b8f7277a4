/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core */
/* Local APICs against SDM 3A chapter 10, I/O APIC against the 82093AA data
 * sheet.  vCPUs are made but never run: their event words are looked at. */
#include "tests/unit/support/chips_rig.h"

#include <stdatomic.h>
#include <string.h>

#include "core/vm/clock.h"
#include "core/vm/intr.h"
#include "core/vm/ioapic.h"
#include "core/vm/tsc.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

enum { CPUS = 4 };
#define APIC   UINT64_C(0xfee00000)
#define IOAPIC UINT64_C(0xfec00000)

static struct dev *pic, *ioapic, *lapic;
static const struct lapic_ops *ops;
static void *lapics;

static int cpu_open(struct vcpu *v, struct err *e)
{
    (void)v;
    (void)e;
    return 0;
}

static void cpu_nothing(struct vcpu *v)
{
    (void)v;
}

static const struct vm_accel_ops no_accel = {
    .vcpu_open = cpu_open,
    .vcpu_close = cpu_nothing,
    .vcpu_run = cpu_nothing,
};

static int setup(void **state)
{
    struct rig *r;

    if (rig_setup(state) < 0) return -1;
    r = *state;
    vm_set_accel(r->vm, "none", &no_accel, NULL);
    if (vm_add_vcpus(r->vm, CPUS, NULL) < 0) return -1;
    pic = rig_add(r, &pic_class);
    ioapic = rig_add(r, &ioapic_class);
    lapic = rig_add(r, &lapic_class);
    ops = intr_lapic(r->vm, &lapics);
    return 0;
}

static int teardown(void **state)
{
    vcpu_set_current(NULL);
    return rig_teardown(state);
}

static void on(struct rig *r, unsigned cpu)
{
    vcpu_set_current(vm_vcpu(r->vm, cpu));
}

static uint32_t rd(struct rig *r, unsigned cpu, unsigned reg)
{
    on(r, cpu);
    return rig_read32(r, APIC + reg);
}

static void wr(struct rig *r, unsigned cpu, unsigned reg, uint32_t v)
{
    on(r, cpu);
    rig_write32(r, APIC + reg, v);
}

/* Enable all local APICs, flat logical ids 1, 2, 4, 8. */
static void enable(struct rig *r)
{
    for (unsigned i = 0; i < CPUS; i++) {
        wr(r, i, 0xf0, 0x1ff);
        wr(r, i, 0xd0, 1u << (24 + i));
    }
}

static uint32_t events(struct rig *r, unsigned cpu)
{
    return atomic_load(&vm_vcpu(r->vm, cpu)->events) &
           (VCPU_INTR | VCPU_NMI | VCPU_INIT | VCPU_SIPI | VCPU_SMI);
}

static int ack(struct rig *r, unsigned cpu)
{
    return intr_ack_locked(r->vm, cpu);
}

/* Vector that CPU takes and finishes at once, -1 if none. */
static int serve(struct rig *r, unsigned cpu)
{
    int v = ack(r, cpu);

    if (v >= 0) wr(r, cpu, 0xb0, 0);
    return v;
}

static void icr(struct rig *r, unsigned cpu, unsigned dest, uint32_t low)
{
    wr(r, cpu, 0x310, dest << 24);
    wr(r, cpu, 0x300, low);
}

static void registers_reset_as_the_sdm_says(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(rd(r, i, 0x20), i << 24);
        assert_int_equal(rd(r, i, 0x30), 0x00050014);
        assert_int_equal(rd(r, i, 0x80), 0);
        assert_int_equal(rd(r, i, 0xe0), 0xffffffff);
        assert_int_equal(rd(r, i, 0xf0), 0xff);
        assert_int_equal(rd(r, i, 0x320), 0x10000);
        assert_int_equal(rd(r, i, 0x360), 0x10000);
        assert_int_equal(rd(r, i, 0x370), 0x10000);
    }
    assert_int_equal(rd(r, 0, 0x350), 0x700); /* ExtINT: the PIC's */
    assert_int_equal(rd(r, 1, 0x350), 0x10000);
    wr(r, 1, 0x350, 0x700); /* software-disabled: the mask stays */
    assert_int_equal(rd(r, 1, 0x350), 0x10700);
}

static void pic_interrupts_reach_cpu_0_after_reset(void **state)
{
    struct rig *r = *state;

    rig_out(r, 0x20, 0x13);
    rig_out(r, 0x21, 0x08);
    rig_out(r, 0x21, 0x01);
    pic_set_irq(pic, 1, true);
    assert_int_equal(events(r, 0), VCPU_INTR);
    assert_int_equal(events(r, 1), 0);
    assert_int_equal(ack(r, 1), -1);
    assert_int_equal(ack(r, 0), 0x09);
    assert_int_equal(events(r, 0), 0);
    rig_out(r, 0x20, 0x20);
    pic_set_irq(pic, 1, false);
    /* Masked LINT0: not any more. */
    wr(r, 0, 0xf0, 0x1ff);
    wr(r, 0, 0x350, 0x10700);
    pic_set_irq(pic, 1, true);
    assert_int_equal(events(r, 0), 0);
    wr(r, 0, 0x350, 0x700);
    assert_int_equal(events(r, 0), VCPU_INTR);
    /* Globally disabled: past the APIC. */
    wr(r, 0, 0x350, 0x10700);
    assert_int_equal(events(r, 0), 0);
    ops->set_base(lapics, 0, APIC | 0x100);
    assert_int_equal(events(r, 0), VCPU_INTR);
    assert_int_equal(ack(r, 0), 0x09);
}

static void lint0_in_fixed_mode_gives_its_own_vector(void **state)
{
    struct rig *r = *state;

    rig_out(r, 0x20, 0x13);
    rig_out(r, 0x21, 0x08);
    rig_out(r, 0x21, 0x01);
    enable(r);
    wr(r, 0, 0x350, 0x45);
    pic_set_irq(pic, 3, true);
    assert_int_equal(serve(r, 0), 0x45);
    wr(r, 0, 0x350, 0x400);
    pic_set_irq(pic, 3, false);
    pic_set_irq(pic, 3, true);
    assert_int_equal(events(r, 0), VCPU_NMI);
}

static void priorities_follow_the_task_priority(void **state)
{
    struct rig *r = *state;

    enable(r);
    icr(r, 0, 0, 0x31);
    icr(r, 0, 0, 0x55);
    icr(r, 0, 0, 0x58);
    assert_int_equal(rd(r, 0, 0x210), 1u << 0x11); /* IRR 63:32 */
    assert_int_equal(rd(r, 0, 0x220), 0x01200000);
    assert_int_equal(ack(r, 0), 0x58);
    assert_int_equal(rd(r, 0, 0xa0), 0x50);
    assert_int_equal(events(r, 0), 0); /* 0x55 is of the same class */
    assert_int_equal(ack(r, 0), -1);
    wr(r, 0, 0xb0, 0);
    assert_int_equal(ack(r, 0), 0x55);
    wr(r, 0, 0xb0, 0);
    ops->set_tpr(lapics, 0, 0x30);
    assert_int_equal(rd(r, 0, 0x80), 0x30);
    assert_int_equal(events(r, 0), 0);
    ops->set_tpr(lapics, 0, 0x20);
    assert_int_equal(events(r, 0), VCPU_INTR);
    assert_int_equal(ops->get_tpr(lapics, 0), 0x20);
    assert_int_equal(serve(r, 0), 0x31);
    wr(r, 0, 0xb0, 0); /* EOI with nothing in service */
    assert_int_equal(ack(r, 0), -1);
}

static void ipis_find_their_destination(void **state)
{
    struct rig *r = *state;

    enable(r);
    icr(r, 0, 2, 0x40); /* physical */
    assert_int_equal(events(r, 2), VCPU_INTR);
    assert_int_equal(serve(r, 2), 0x40);
    icr(r, 0, 0x0a, 0x841); /* logical flat: 1 and 3 */
    assert_int_equal(serve(r, 0), -1);
    assert_int_equal(serve(r, 1), 0x41);
    assert_int_equal(serve(r, 2), -1);
    assert_int_equal(serve(r, 3), 0x41);
    icr(r, 1, 0, 0x40042); /* self */
    assert_int_equal(serve(r, 1), 0x42);
    icr(r, 1, 0, 0x80043); /* all */
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(serve(r, i), 0x43);
    }
    icr(r, 1, 0, 0xc0044); /* all but self */
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(serve(r, i), i == 1 ? -1 : 0x44);
    }
    icr(r, 3, 0xff, 0x45); /* physical broadcast */
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(serve(r, i), 0x45);
    }
}

static void the_cluster_model_addresses_by_nibble(void **state)
{
    struct rig *r = *state;

    enable(r);
    for (unsigned i = 0; i < CPUS; i++) {
        wr(r, i, 0xe0, 0x0fffffff);
        wr(r, i, 0xd0, (i / 2 << 4 | 1u << (i % 2)) << 24);
    }
    icr(r, 0, 0x12, 0x850); /* cluster 1, member 1 */
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(serve(r, i), i == 3 ? 0x50 : -1);
    }
    icr(r, 0, 0xf1, 0x851); /* member 0 of all clusters */
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(serve(r, i), i % 2 == 0 ? 0x51 : -1);
    }
}

static void lowest_priority_goes_to_the_least_busy(void **state)
{
    struct rig *r = *state;

    enable(r);
    wr(r, 0, 0x80, 0x40);
    wr(r, 1, 0x80, 0x20);
    wr(r, 2, 0x80, 0x50);
    wr(r, 3, 0x80, 0x30);
    icr(r, 0, 0x0f, 0x960); /* logical, lowest priority */
    assert_int_equal(serve(r, 0), -1);
    assert_int_equal(serve(r, 1), 0x60);
    assert_int_equal(serve(r, 2), -1);
    assert_int_equal(serve(r, 3), -1);
}

static void init_sipi_and_nmi_become_events(void **state)
{
    struct rig *r = *state;

    /* As Linux starts a CPU; APs are software-disabled then. */
    icr(r, 0, 1, 0xc500); /* INIT, assert, level */
    assert_int_equal(events(r, 1), VCPU_INIT);
    vcpu_take(vm_vcpu(r->vm, 1), VCPU_INIT);
    icr(r, 0, 1, 0x8500); /* deassert: nothing */
    assert_int_equal(events(r, 1), 0);
    icr(r, 0, 1, 0x0699);
    assert_int_equal(events(r, 1), VCPU_SIPI);
    assert_int_equal(atomic_load(&vm_vcpu(r->vm, 1)->sipi_vector), 0x99);
    icr(r, 0, 2, 0x0400);
    assert_int_equal(events(r, 2), VCPU_NMI);
    icr(r, 0, 3, 0x0200);
    assert_int_equal(events(r, 3), VCPU_SMI);
    icr(r, 0, 0, 0xc4500); /* all others */
    assert_int_equal(events(r, 3), VCPU_SMI | VCPU_INIT);
    assert_int_equal(events(r, 0), 0);
    assert_int_equal(rd(r, 0, 0x300) & 0x1000, 0); /* delivered */
}

static void a_disabled_apic_takes_no_vectors(void **state)
{
    struct rig *r = *state;

    enable(r);
    icr(r, 0, 1, 0x70);
    wr(r, 1, 0xf0, 0xff);
    assert_int_equal(events(r, 1), 0);
    icr(r, 0, 1, 0x71);
    wr(r, 1, 0xf0, 0x1ff);
    assert_int_equal(serve(r, 1), 0x70); /* came before */
    assert_int_equal(serve(r, 1), -1);
    assert_int_equal(rd(r, 1, 0x350) & 0x10000, 0x10000);
}

static void illegal_vectors_are_errors(void **state)
{
    struct rig *r = *state;

    enable(r);
    wr(r, 0, 0x370, 0xfe);
    icr(r, 0, 1, 0x0f);
    assert_int_equal(serve(r, 0), 0xfe);
    assert_int_equal(rd(r, 0, 0x280), 0); /* shown after a write */
    wr(r, 0, 0x280, 0);
    assert_int_equal(rd(r, 0, 0x280), 0x20);
    wr(r, 0, 0x280, 0);
    assert_int_equal(rd(r, 0, 0x280), 0);
    intr_msi_locked(r->vm, APIC | 1 << 12, 0x05);
    wr(r, 1, 0x280, 0);
    assert_int_equal(rd(r, 1, 0x280), 0x40);
    wr(r, 0, 0x370, 0x05); /* an illegal error vector does not recurse */
    icr(r, 0, 1, 0x0f);
    wr(r, 0, 0x040, 0);
    wr(r, 0, 0x280, 0);
    assert_int_equal(rd(r, 0, 0x280), 0xa0);
}

static void the_timer_counts_one_shot_and_periodic(void **state)
{
    struct rig *r = *state;
    unsigned fired = 0;

    enable(r);
    wr(r, 0, 0x3e0, 0x0b); /* divide by 1 */
    wr(r, 0, 0x320, 0x30);
    wr(r, 0, 0x380, 1000000);
    rig_advance(r, 400000);
    assert_int_equal(rd(r, 0, 0x390), 600000);
    assert_int_equal(serve(r, 0), -1);
    rig_advance(r, 600000);
    assert_int_equal(serve(r, 0), 0x30);
    assert_int_equal(rd(r, 0, 0x390), 0);
    rig_advance(r, 5000000);
    assert_int_equal(serve(r, 0), -1);

    wr(r, 0, 0x3e0, 0x03); /* divide by 16 */
    wr(r, 0, 0x320, 0x20031);
    wr(r, 0, 0x380, 62500); /* 1 ms */
    for (unsigned i = 0; i < 100; i++) {
        rig_advance(r, 1000000);
        if (serve(r, 0) == 0x31) fired++;
    }
    assert_in_range(fired, 99, 100);
    wr(r, 0, 0x320, 0x30031); /* masked */
    rig_advance(r, 3000000);
    assert_int_equal(serve(r, 0), -1);
    assert_true(rd(r, 0, 0x390) > 0); /* counts nevertheless */
    wr(r, 0, 0x380, 0);
    assert_int_equal(rd(r, 0, 0x390), 0);
}

static void every_divisor_divides(void **state)
{
    static const struct {
        unsigned code, by;
    } div[] = { { 0x0, 2 },  { 0x1, 4 },  { 0x2, 8 },   { 0x3, 16 },
                { 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 } };
    struct rig *r = *state;

    enable(r);
    for (unsigned i = 0; i < 8; i++) {
        wr(r, 0, 0x3e0, div[i].code);
        assert_int_equal(rd(r, 0, 0x3e0), div[i].code);
        wr(r, 0, 0x380, 1000000);
        rig_advance(r, 128000);
        assert_int_equal(rd(r, 0, 0x390), 1000000 - 128000 / div[i].by);
    }
}

static void tiny_timer_periods_do_not_freeze_the_loop(void **state)
{
    struct rig *r = *state;
    unsigned fired = 0;

    enable(r);
    wr(r, 0, 0x3e0, 0x0b);
    wr(r, 0, 0x320, 0x20031);
    wr(r, 0, 0x380, 1);
    for (unsigned i = 0; i < 20; i++) {
        rig_advance(r, 10000);
        if (serve(r, 0) == 0x31) fired++;
    }
    assert_in_range(fired, 1, 5);
}

static uint64_t read_tsc(void *arg, unsigned cpu)
{
    return clock_now_ns(arg) * 3 + cpu;
}

static void the_deadline_is_a_tsc_value(void **state)
{
    struct rig *r = *state;
    struct vm_tsc tsc = { .khz = 3000000, .read = read_tsc, .arg = r->vm };

    vm_set_service(r->vm, "tsc", &tsc);
    enable(r);
    assert_int_equal(ops->tsc_deadline(lapics, 0, true, 5), 0); /* mode */
    wr(r, 0, 0x320, 0x40032);
    ops->tsc_deadline(lapics, 0, true, read_tsc(r->vm, 0) + 3000000);
    assert_true(ops->tsc_deadline(lapics, 0, false, 0) != 0);
    rig_advance(r, 999000);
    assert_int_equal(serve(r, 0), -1);
    rig_advance(r, 1002);
    assert_int_equal(serve(r, 0), 0x32);
    assert_int_equal(ops->tsc_deadline(lapics, 0, false, 0), 0);
    ops->tsc_deadline(lapics, 0, true, 1); /* past: at once */
    rig_advance(r, 1);
    assert_int_equal(serve(r, 0), 0x32);
    ops->tsc_deadline(lapics, 0, true, UINT64_MAX);
    rig_advance(r, 1000000000);
    assert_int_equal(serve(r, 0), -1);
    ops->tsc_deadline(lapics, 0, true, 0);
    wr(r, 0, 0x380, 100); /* ignored in this mode */
    assert_int_equal(rd(r, 0, 0x390), 0);
    vm_set_service(r->vm, "tsc", NULL);
}

static void x2apic_works_through_msrs(void **state)
{
    struct rig *r = *state;
    uint64_t v = 0;

    enable(r);
    assert_int_equal(ops->msr_read(lapics, 1, 0x802, &v), -1);
    for (unsigned i = 0; i < CPUS; i++) {
        ops->set_base(lapics, i, APIC | 0xc00);
    }
    assert_int_equal(ops->msr_read(lapics, 3, 0x802, &v), 0);
    assert_int_equal(v, 3);
    assert_int_equal(ops->msr_read(lapics, 3, 0x80d, &v), 0);
    assert_int_equal(v, 8); /* cluster 0, member 3 */
    assert_int_equal(ops->msr_write(lapics, 3, 0x80d, 1), -1);
    assert_int_equal(ops->msr_read(lapics, 3, 0x80e, &v), -1);
    assert_int_equal(ops->msr_write(lapics, 3, 0x80b, 1), -1);
    assert_int_equal(ops->msr_write(lapics, 3, 0x808, 0x100), -1);
    assert_int_equal(ops->msr_write(lapics, 0, 0x80f, 0x1ff), 0);
    assert_int_equal(ops->msr_write(lapics, 0, 0x830, (3ull << 32) | 0x61), 0);
    assert_int_equal(ack(r, 3), 0x61);
    assert_int_equal(ops->msr_write(lapics, 3, 0x80b, 0), 0);
    assert_int_equal(ops->msr_write(lapics, 2, 0x83f, 0x62), 0);
    assert_int_equal(ack(r, 2), 0x62);
    ops->msr_write(lapics, 2, 0x80b, 0);
    /* Logical: members 0 and 2 of cluster 0. */
    ops->msr_write(lapics, 1, 0x830, (5ull << 32) | 0x863);
    assert_int_equal(ack(r, 0), 0x63);
    assert_int_equal(ack(r, 1), -1);
    assert_int_equal(ack(r, 2), 0x63);
    ops->msr_write(lapics, 0, 0x80b, 0);
    ops->msr_write(lapics, 2, 0x80b, 0);
    ops->msr_write(lapics, 1, 0x830, (0xffffffffull << 32) | 0x64);
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(ack(r, i), 0x64);
    }
    assert_int_equal(rd(r, 0, 0x20), 0xffffffff); /* the page is gone */
}

/* ---- I/O APIC ---- */

static uint32_t io_rd(struct rig *r, unsigned reg)
{
    rig_write32(r, IOAPIC, reg);
    return rig_read32(r, IOAPIC + 0x10);
}

static void io_wr(struct rig *r, unsigned reg, uint32_t v)
{
    rig_write32(r, IOAPIC, reg);
    rig_write32(r, IOAPIC + 0x10, v);
}

static void route(struct rig *r, unsigned pin, uint32_t low, unsigned dest)
{
    io_wr(r, 0x11 + 2 * pin, dest << 24);
    io_wr(r, 0x10 + 2 * pin, low);
}

static void ioapic_registers_are_the_82093aas(void **state)
{
    struct rig *r = *state;

    assert_int_equal(io_rd(r, 1), 0x00170011);
    io_wr(r, 0, 0x0f000000);
    assert_int_equal(io_rd(r, 0), 0x0f000000);
    for (unsigned i = 0; i < 24; i++) {
        assert_int_equal(io_rd(r, 0x10 + 2 * i), 0x10000);
    }
    io_wr(r, 0x10, 0xffffffff);
    assert_int_equal(io_rd(r, 0x10), 0x1afff); /* status bits stay 0 */
    assert_int_equal(io_rd(r, 0x40), 0);
    io_wr(r, 0xff, 1);
}

static void edges_are_sent_once_and_lost_when_masked(void **state)
{
    struct rig *r = *state;

    enable(r);
    route(r, 4, 0x10034, 1);
    ioapic_set_pin(ioapic, 4, true);
    route(r, 4, 0x34, 1);
    assert_int_equal(serve(r, 1), -1);
    ioapic_set_pin(ioapic, 4, false);
    ioapic_set_pin(ioapic, 4, true);
    assert_int_equal(serve(r, 1), 0x34);
    ioapic_set_pin(ioapic, 4, true);
    assert_int_equal(serve(r, 1), -1);
    assert_int_equal(io_rd(r, 0x18) & 0x4000, 0);
}

static void levels_wait_for_eoi_and_come_again(void **state)
{
    struct rig *r = *state;

    enable(r);
    route(r, 11, 0x8000 | 0x39, 2);
    ioapic_set_pin(ioapic, 11, true);
    assert_int_equal(ack(r, 2), 0x39);
    assert_int_equal(io_rd(r, 0x26) & 0x4000, 0x4000);
    assert_int_equal(rd(r, 2, 0x190), 1u << 0x19); /* TMR */
    assert_int_equal(ack(r, 2), -1);
    wr(r, 2, 0xb0, 0); /* still up: again */
    assert_int_equal(ack(r, 2), 0x39);
    ioapic_set_pin(ioapic, 11, false);
    wr(r, 2, 0xb0, 0);
    assert_int_equal(ack(r, 2), -1);
    assert_int_equal(io_rd(r, 0x26) & 0x4000, 0);
    /* Masked while up: sent on unmasking. */
    route(r, 11, 0x18039, 2);
    ioapic_set_pin(ioapic, 11, true);
    assert_int_equal(ack(r, 2), -1);
    route(r, 11, 0x8039, 2);
    assert_int_equal(ack(r, 2), 0x39);
    /* Switching to edge and back drops remote IRR (Linux's EOI by hand). */
    route(r, 11, 0x10039, 2);
    assert_int_equal(io_rd(r, 0x26) & 0x4000, 0);
}

static unsigned changed_pin;
static void note_change(void *arg, unsigned pin)
{
    (void)arg;
    changed_pin = pin;
}

static void routes_are_published(void **state)
{
    struct rig *r = *state;
    struct ioapic_service *s = vm_service(r->vm, "ioapic");
    struct ioapic_route x;

    assert_non_null(s);
    s->changed = note_change;
    route(r, 9, 0x8000 | 0x900 | 0x51, 0x0f);
    assert_int_equal(changed_pin, 9);
    x = s->route(s->arg, 9);
    assert_true(x.is_level);
    assert_false(x.is_masked);
    assert_int_equal(x.addr, 0xfee0f00c); /* logical, redirection hint */
    assert_int_equal(x.data, 0xc151);
    assert_true(s->route(s->arg, 99).is_masked);
    s->changed = NULL;
}

static void state_survives_saving(void **state)
{
    struct rig *r = *state;

    enable(r);
    route(r, 11, 0x8000 | 0x39, 2);
    ioapic_set_pin(ioapic, 11, true);
    wr(r, 0, 0x3e0, 0x0b);
    wr(r, 0, 0x320, 0x20031);
    wr(r, 0, 0x380, 1000000);
    icr(r, 0, 3, 0x44);
    assert_int_equal(ack(r, 3), 0x44);
    icr(r, 0, 3, 0x55);
    rig_advance(r, 300000);
    rig_round_trip(r);
    assert_int_equal(rd(r, 0, 0x390), 700000);
    assert_int_equal(events(r, 3), VCPU_INTR);
    assert_int_equal(ack(r, 2), 0x39);
    rig_advance(r, 700000);
    assert_int_equal(ack(r, 0), 0x31);
    on(r, 0);
    rig_load_garbage(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(registers_reset_as_the_sdm_says),
        T(pic_interrupts_reach_cpu_0_after_reset),
        T(lint0_in_fixed_mode_gives_its_own_vector),
        T(priorities_follow_the_task_priority),
        T(ipis_find_their_destination),
        T(the_cluster_model_addresses_by_nibble),
        T(lowest_priority_goes_to_the_least_busy),
        T(init_sipi_and_nmi_become_events),
        T(a_disabled_apic_takes_no_vectors),
        T(illegal_vectors_are_errors),
        T(the_timer_counts_one_shot_and_periodic),
        T(every_divisor_divides),
        T(tiny_timer_periods_do_not_freeze_the_loop),
        T(the_deadline_is_a_tsc_value),
        T(x2apic_works_through_msrs),
        T(ioapic_registers_are_the_82093aas),
        T(edges_are_sent_once_and_lost_when_masked),
        T(levels_wait_for_eoi_and_come_again),
        T(routes_are_published),
        T(state_survives_saving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
