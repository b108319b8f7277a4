/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU loop: enter the guest, serve the exit.  Other threads get its
 * attention by immediate_exit and a signal, whichever comes in time
 * (api.rst 5, "immediate_exit").
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/accel/kvm.h"
#include "core/vm/intr.h"
#include "core/vm/port.h"

void kvm_kick(struct vcpu *v)
{
    struct kvm_vcpu *k = v->engine;

    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (v->has_thread && !pthread_equal(v->thread, pthread_self())) {
        kvm_signal_thread(v->thread);
    }
}

static void serve_io(struct kvm_vcpu *k)
{
    struct kvm_run *r = k->run;
    uint8_t *data = (uint8_t *)r + r->io.data_offset;
    struct vm *vm = k->a->vm;

    vm_lock(vm);
    for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size) {
        uint32_t v = 0;

        if (r->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&v, data, r->io.size);
            port_write_locked(vm, r->io.port, r->io.size, v);
        } else {
            v = port_read_locked(vm, r->io.port, r->io.size);
            memcpy(data, &v, r->io.size);
        }
    }
    vm_unlock(vm);
}

/* Writes the kernel collected in the ring (api.rst 4.116): before anything
 * that could see their effect. */
void kvm_serve_coalesced_locked(struct kvm_vcpu *k)
{
    struct kvm_coalesced_mmio_ring *ring;
    unsigned max;

    if (k->a->coalesced_page == 0) return;
    ring = (void *)((uint8_t *)k->run + k->a->coalesced_page * 4096u);
    max = (4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]);
    while (ring->first != ring->last && ring->first < max) {
        struct kvm_coalesced_mmio *m = &ring->coalesced_mmio[ring->first];

        if (m->pio != 0) {
            uint32_t v = 0;

            memcpy(&v, m->data, m->len <= 4 ? m->len : 4);
            port_write_locked(k->a->vm, (unsigned)m->phys_addr, m->len, v);
        } else {
            mem_write_locked(k->a->vm, m->phys_addr, m->data,
                             m->len <= 8 ? m->len : 8);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        ring->first = (ring->first + 1) % max;
    }
}

static void serve_mmio(struct kvm_vcpu *k)
{
    struct kvm_run *r = k->run;
    uint32_t n = r->mmio.len <= 8 ? r->mmio.len : 8;

    vm_lock(k->a->vm);
    if (r->mmio.is_write) {
        mem_write_locked(k->a->vm, r->mmio.phys_addr, r->mmio.data, n);
    } else {
        mem_read_locked(k->a->vm, r->mmio.phys_addr, r->mmio.data, n);
    }
    vm_unlock(k->a->vm);
}

/* Offer the PIC's interrupt, or ask for an exit when it can be taken. */
static void offer_extint(struct kvm_vcpu *k)
{
    struct kvm_run *r = k->run;

    r->request_interrupt_window = 0;
    if (!(atomic_load(&k->v->events) & VCPU_INTR)) return;
    if (r->ready_for_interrupt_injection) {
        struct kvm_interrupt irq;
        int vector;

        vm_lock(k->a->vm);
        vector = intr_ack_locked(k->a->vm, k->v->index);
        vm_unlock(k->a->vm);
        if (vector >= 0) {
            irq.irq = (uint32_t)vector;
            kvm_call(k->fd, KVM_INTERRUPT, &irq);
        }
    }
    if (atomic_load(&k->v->events) & VCPU_INTR) {
        r->request_interrupt_window = 1;
    }
}

static void serve_system_event(struct kvm_vcpu *k)
{
    switch (k->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        vm_request(k->a->vm, VM_REQ_SHUTDOWN);
        break;
    case KVM_SYSTEM_EVENT_RESET: vm_request(k->a->vm, VM_REQ_RESET); break;
    default:
        vm_internal_error(k->a->vm, "KVM: system event %u on CPU %u",
                          k->run->system_event.type, k->v->index);
    }
}

static void fail(struct kvm_vcpu *k)
{
    struct kvm_run *r = k->run;

    switch (r->exit_reason) {
    case KVM_EXIT_FAIL_ENTRY:
        vm_internal_error(
            k->a->vm,
            "KVM: CPU %u cannot be entered, hardware reason "
            "0x%llx (invalid guest state)",
            k->v->index,
            (unsigned long long)r->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        vm_internal_error(k->a->vm,
                          "KVM: internal error %u on CPU %u%s; -accel soft "
                          "does without KVM",
                          r->internal.suberror, k->v->index,
                          r->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                              ? " (an instruction it cannot emulate)"
                              : "");
        break;
    default:
        vm_internal_error(k->a->vm, "KVM: unknown exit %u on CPU %u",
                          r->exit_reason, k->v->index);
    }
}

/* Returns false when the vCPU has to wait for the loop thread. */
static bool serve(struct kvm_vcpu *k)
{
    struct vm *vm = k->a->vm;

    switch (k->run->exit_reason) {
    case KVM_EXIT_IO: serve_io(k); return true;
    case KVM_EXIT_MMIO: serve_mmio(k); return true;
    case KVM_EXIT_IOAPIC_EOI:
        vm_lock(vm);
        ioapic_eoi_locked(vm, k->run->eoi.vector);
        vm_unlock(vm);
        return true;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR: return true;
    case KVM_EXIT_DEBUG: return kvm_debug_exit(k);
    case KVM_EXIT_DIRTY_RING_FULL: return kvm_dirty_ring_full(k);
    case KVM_EXIT_HLT:
        vcpu_wait(k->v, VCPU_INTR | VCPU_NMI | VCPU_EXIT);
        return true;
    case KVM_EXIT_SHUTDOWN: /* triple fault */
        vm_request(vm, VM_REQ_RESET);
        return false;
    case KVM_EXIT_SYSTEM_EVENT: serve_system_event(k); return false;
    default: fail(k); return false;
    }
}

/* KVM_RUN without retry: 0 or -errno. */
static int ioctl_run(struct kvm_vcpu *k)
{
    return ioctl(k->fd, KVM_RUN, NULL) < 0 ? -errno : 0;
}

/* One entry; false when the loop must end. */
static bool enter(struct kvm_vcpu *k)
{
    struct vcpu *v = k->v;
    int rc;

    if (vcpu_take(v, VCPU_NMI)) kvm_call(k->fd, KVM_NMI, NULL);
    if (v->index == 0) offer_extint(k);
    if (atomic_load(&v->events) & VCPU_EXIT) {
        k->run->immediate_exit = 1;
    }
    rc = ioctl_run(k);
    __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    vcpu_take(v, VCPU_FLUSH);
    if (k->a->coalesced_page != 0) {
        vm_lock(k->a->vm);
        kvm_serve_coalesced_locked(k);
        vm_unlock(k->a->vm);
    }
    if (rc == -EINTR || rc == -EAGAIN) return true;
    if (rc < 0) {
        vm_internal_error(k->a->vm, "KVM_RUN on CPU %u: %s", v->index,
                          strerror(-rc));
        vcpu_wait(v, VCPU_EXIT);
        return false;
    }
    if (serve(k)) return true;
    vcpu_wait(v, VCPU_EXIT);
    return false;
}

void kvm_run_vcpu(struct vcpu *v)
{
    struct kvm_vcpu *k = v->engine;

    if (k->is_dirty) {
        int rc = kvm_put_state(k);

        k->is_dirty = false;
        if (rc < 0) {
            vm_internal_error(k->a->vm, "KVM refuses the state of CPU %u: %s",
                              v->index, strerror(-rc));
            vcpu_wait(v, VCPU_EXIT);
            return;
        }
    }
    kvm_debug_enter(k);
    while (!(atomic_load(&v->events) & VCPU_EXIT) &&
           !atomic_load(&v->wants_exit)) {
        if (!enter(k)) return;
    }
    /* An I/O exit is finished by the next entry: do that before the state is
     * looked at (api.rst 5, "the instruction is completed"). */
    k->run->immediate_exit = 1;
    ioctl_run(k);
    __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}
