/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between local APICs, and from I/O APIC and MSI devices: SDM 3A
 * 10.6 (interprocessor interrupts), 10.11 (message-signalled), 10.12.10
 * (logical x2APIC identifiers).
 */
#include "core/vm/vm.h"
#include "hw/chips/lapic.h"

#define ICR_VECTOR(v)    ((v)&0xff)
#define ICR_DELIVERY(v)  ((v) >> 8 & 7)
#define ICR_LOGICAL      0x800u
#define ICR_ASSERT       0x4000u
#define ICR_LEVEL        0x8000u
#define ICR_SHORTHAND(v) ((v) >> 18 & 3)
#define ICR_DEFINED      UINT64_C(0xffffffff000ccfff)

enum { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };

/* SDM 10.6.2.2: flat and cluster model of the xAPIC; 10.12.10 otherwise. */
static bool lapic_is_logical_dest(const struct lapic *l, uint32_t dest,
                                  bool is_x2)
{
    uint32_t mine = l->ldr >> 24;

    if (lapic_is_x2(l)) {
        return dest >> 16 == l->ldr >> 16 && (dest & l->ldr & 0xffff) != 0;
    }
    if (is_x2 && dest > 0xff) return false;
    dest &= 0xff;
    if (l->dfr >> 28 == 0x0f) return (dest & mine) != 0;
    if (l->dfr >> 28 != 0) return false;
    return (dest >> 4 == mine >> 4 || dest >> 4 == 0x0f) &&
           (dest & mine & 0x0f) != 0;
}

static bool lapic_is_dest(const struct lapic *l, const struct lapic_message *m)
{
    if ((l->base & BASE_ENABLE) == 0) return false;
    if (m->dest == (m->is_x2 ? UINT32_MAX : 0xff)) return true; /* all */
    if (m->is_logical) return lapic_is_logical_dest(l, m->dest, m->is_x2);
    return m->dest == (lapic_is_x2(l) ? l->index : l->id);
}

/* One message at one local APIC. */
static void lapic_receive(struct lapic *l, const struct lapic_message *m)
{
    struct vcpu *v = vm_vcpu(l->all->d->vm, l->index);

    if (v == NULL) return;
    switch (m->delivery) {
    case DELIVER_FIXED:
    case DELIVER_LOWEST: lapic_accept(l, m->vector, m->is_level); break;
    case DELIVER_SMI: vcpu_raise(v, VCPU_SMI); break;
    case DELIVER_NMI: vcpu_raise(v, VCPU_NMI); break;
    case DELIVER_INIT: vcpu_raise(v, VCPU_INIT); break;
    case DELIVER_SIPI:
        atomic_store(&v->sipi_vector, m->vector);
        vcpu_raise(v, VCPU_SIPI);
        break;
    default: break; /* ExtINT: the 8259 pair is wired to LINT0 alone */
    }
}

static unsigned lapic_count(const struct lapics *a)
{
    unsigned n = vm_vcpu_count(a->d->vm);

    return n < VM_MAX_CPUS ? n : VM_MAX_CPUS;
}

void lapic_deliver(struct lapics *a, const struct lapic_message *m)
{
    struct lapic *lowest = NULL;

    for (unsigned i = 0; i < lapic_count(a); i++) {
        struct lapic *l = &a->cpu[i];

        if (!lapic_is_dest(l, m)) continue;
        if (m->delivery != DELIVER_LOWEST) {
            lapic_receive(l, m);
        } else if (lapic_is_enabled(l) &&
                   (lowest == NULL || lapic_ppr(l) < lapic_ppr(lowest))) {
            lowest = l;
        }
    }
    if (lowest != NULL) lapic_receive(lowest, m);
}

void lapic_write_icr(struct lapic *l, uint64_t icr)
{
    struct lapics *a = l->all;
    bool is_x2 = lapic_is_x2(l);
    struct lapic_message m = {
        .dest = (uint32_t)(icr >> (is_x2 ? 32 : 56)),
        .is_logical = (icr & ICR_LOGICAL) != 0,
        .is_x2 = is_x2,
        .delivery = ICR_DELIVERY(icr),
        .vector = ICR_VECTOR(icr),
    };

    l->icr = icr & ICR_DEFINED;
    /* The level of an IPI means nothing but for INIT, whose deassertion only
     * set arbitration identifiers long ago. */
    if (m.delivery == DELIVER_INIT && (icr & ICR_ASSERT) == 0) return;
    if (m.delivery <= DELIVER_LOWEST && m.vector < 16) {
        lapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    switch (ICR_SHORTHAND(icr)) {
    case TO_DEST: lapic_deliver(a, &m); break;
    case TO_SELF:
        if (m.delivery == DELIVER_FIXED) lapic_receive(l, &m);
        break;
    default:
        for (unsigned i = 0; i < lapic_count(a); i++) {
            if (ICR_SHORTHAND(icr) == TO_OTHERS && &a->cpu[i] == l) continue;
            if ((a->cpu[i].base & BASE_ENABLE) != 0)
                lapic_receive(&a->cpu[i], &m);
        }
        break;
    }
}

/* Message address and data registers, SDM 3A 10.11.1 and 10.11.2. */
void lapic_msi(void *lapics, uint64_t addr, uint32_t data)
{
    struct lapic_message m = {
        .dest = addr >> 12 & 0xff,
        .is_logical = (addr & 0x04) != 0,
        .is_level = (data & 0x8000) != 0,
        .delivery = data >> 8 & 7,
        .vector = data & 0xff,
    };

    if ((addr & UINT64_C(0xfffffffffff00000)) != UINT64_C(0xfee00000)) return;
    lapic_deliver(lapics, &m);
}
