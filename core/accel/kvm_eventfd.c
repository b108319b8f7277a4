/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Doorbells and interrupts that the kernel serves itself (api.rst 4.59
 * KVM_IOEVENTFD, 4.75 KVM_IRQFD).  An interrupt goes through a GSI of its own,
 * above the I/O APIC's, whose route is the message.
 */
#include <errno.h>
#include <string.h>

#include "core/accel/kvm.h"

int kvm_ioevent(struct vm *vm, const struct vm_ioevent *ev, bool on)
{
    struct kvm_accel *a = kvm_of(vm);
    struct kvm_ioeventfd k = {
        .datamatch = ev->match,
        .addr = ev->addr,
        .len = ev->bytes,
        .fd = ev->fd,
    };

    if (!a->has_ioeventfd || (ev->bytes == 0 && !a->has_any_length)) {
        return -ENOTSUP;
    }
    if (ev->is_port) k.flags |= KVM_IOEVENTFD_FLAG_PIO;
    if (ev->has_match) k.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    if (!on) k.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    return kvm_call(a->vm_fd, KVM_IOEVENTFD, &k);
}

static int assign(struct kvm_accel *a, unsigned slot, int fd, bool on)
{
    struct kvm_irqfd k = {
        .fd = (uint32_t)fd,
        .gsi = KVM_GSI_OF_SLOT(slot),
        .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
    };

    return kvm_call(a->vm_fd, KVM_IRQFD, &k);
}

int kvm_irqfd(struct vm *vm, unsigned slot, int fd,
              const struct vm_irq_target *to)
{
    struct kvm_accel *a = kvm_of(vm);
    struct kvm_irqfd_route *r = &a->irqfd[slot];
    bool was_used = r->is_used;
    int rc;

    if (to == NULL) {
        assign(a, slot, fd, false);
        r->is_used = false;
        return kvm_irq_routes(a);
    }
    if (!a->has_irqfd || KVM_GSI_OF_SLOT(slot) >= a->gsi_max) return -ENOTSUP;
    *r = (struct kvm_irqfd_route){ true, to->msi_addr, to->msi_data };
    rc = kvm_irq_routes(a);
    if (rc == 0 && !was_used) rc = assign(a, slot, fd, true);
    if (rc < 0 && !was_used) {
        r->is_used = false;
        kvm_irq_routes(a);
    }
    return rc;
}
