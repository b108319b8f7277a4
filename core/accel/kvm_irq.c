/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split irqchip (api.rst 7.5): local APICs in the kernel, PIC and IOAPIC ours.
 * IOAPIC pins send MSIs; the routing table tells the kernel which vectors are
 * level triggered, so that it exits with KVM_EXIT_IOAPIC_EOI for them.
 */
#include <string.h>

#include "core/accel/kvm.h"
#include "core/vm/intr.h"

static void send_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
    struct kvm_accel *a = kvm_of(vm);
    struct kvm_msi msi = {
        .address_lo = (uint32_t)addr,
        .address_hi = (uint32_t)(addr >> 32),
        .data = data,
    };

    kvm_call(a->vm_fd, KVM_SIGNAL_MSI, &msi);
}

/* INTR of the 8259 pair: offered to the boot CPU before each entry. */
static void pic_output(struct vm *vm, bool level)
{
    struct vcpu *v = vm_vcpu(vm, 0);

    if (v == NULL) return;
    if (level) {
        vcpu_raise(v, VCPU_INTR);
    } else {
        vcpu_lower(v, VCPU_INTR);
    }
}

static const struct intr_sink kvm_sink = {
    .msi = send_msi,
    .pic_output = pic_output,
};

static void route_changed(void *arg, unsigned pin)
{
    (void)pin;
    kvm_irq_routes(arg); /* a refused route loses that interrupt alone */
}

struct routes {
    struct kvm_irq_routing head;
    struct kvm_irq_routing_entry entry[IOAPIC_PINS + VM_IRQFD_MAX];
};

static void add_msi(struct routes *t, unsigned gsi, uint64_t addr,
                    uint32_t data)
{
    struct kvm_irq_routing_entry *en = &t->entry[t->head.nr++];

    en->gsi = gsi;
    en->type = KVM_IRQ_ROUTING_MSI;
    en->u.msi.address_lo = (uint32_t)addr;
    en->u.msi.address_hi = (uint32_t)(addr >> 32);
    en->u.msi.data = data;
}

int kvm_irq_routes(struct kvm_accel *a)
{
    struct routes t;

    memset(&t, 0, sizeof(t));
    for (unsigned pin = 0; a->ioapic != NULL && pin < IOAPIC_PINS; pin++) {
        struct ioapic_route r = a->ioapic->route(a->ioapic->arg, pin);

        if (!r.is_masked) add_msi(&t, pin, r.addr, r.data);
    }
    for (unsigned i = 0; i < VM_IRQFD_MAX; i++) {
        const struct kvm_irqfd_route *r = &a->irqfd[i];

        if (r->is_used) add_msi(&t, KVM_GSI_OF_SLOT(i), r->addr, r->data);
    }
    return kvm_call(a->vm_fd, KVM_SET_GSI_ROUTING, &t);
}

/* The IOAPIC is made after the accelerator: looked up when CPUs open. */
void kvm_irq_init(struct kvm_accel *a)
{
    intr_set_sink_locked(a->vm, &kvm_sink);
    a->ioapic = vm_service(a->vm, "ioapic");
    if (a->ioapic == NULL) return;
    a->ioapic->changed = route_changed;
    a->ioapic->changed_arg = a;
    kvm_irq_routes(a);
}
