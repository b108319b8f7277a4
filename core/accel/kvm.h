/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_ACCEL_KVM_H
#define ORRERY_ACCEL_KVM_H

/* Insides of the KVM accelerator.  Facts: Linux Documentation/virt/kvm/api.rst
 * (section numbers there). */

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/vm/ioapic.h"
#include "core/vm/mem.h"
#include "core/vm/tsc.h"
#include "core/vm/vcpu.h"
#include "core/vm/vm.h"

enum { KVM_MAX_SLOTS = 64, KVM_MAX_MSRS = 256 };

struct kvm_slot {
    uint64_t gpa, bytes;
    uint8_t *host; /* NULL = free slot */
    uint32_t flags;
};

struct kvm_accel {
    struct vm *vm;
    int dev_fd, vm_fd;
    size_t run_bytes;            /* of the shared kvm_run mapping */
    struct kvm_clock_data clock; /* kvmclock when guest time stopped */
    bool has_clock;
    struct kvm_slot slot[KVM_MAX_SLOTS];
    unsigned slot_max; /* the kernel's limit or KVM_MAX_SLOTS */
    struct kvm_cpuid2 *cpuid;
    struct cpu_model model; /* name and widths for the monitor */
    uint32_t msr[KVM_MAX_MSRS];
    unsigned msr_count;
    struct ioapic_service *ioapic;
    struct vm_tsc tsc;
    unsigned coalesced_page; /* of kvm_run, 0 = not offered */
    bool has_xsave, has_xcrs, has_debugregs, has_vcpu_events, has_readonly_mem,
        has_immediate_exit;
};

struct kvm_vcpu {
    struct kvm_accel *a;
    struct vcpu *v;
    int fd;
    struct kvm_run *run;
    struct cpu cpu; /* copy, valid after kvm_get_state */
    uint8_t xsave[4096] __attribute__((aligned(64)));
    struct kvm_lapic_state lapic;
    bool is_dirty; /* cpu was changed and must be written back */
};

struct kvm_accel *kvm_of(struct vm *vm);

/* ioctl that retries EINTR; -errno on failure. */
int kvm_call(int fd, unsigned long request, void *arg);

/* kvm_probe.c */
int kvm_open_device(struct err *e);

/* kvm_mem.c: VM lock held (listener). */
void kvm_memory_changed(void *arg);
/* Bits of pages written since the last call, one per 4 KiB; slot found by
 * gpa.  -ENOENT without a slot. */
int kvm_dirty_log(struct kvm_accel *a, gpa_t gpa, uint64_t *bitmap);

/* kvm_irq.c */
void kvm_irq_init(struct kvm_accel *a);
void kvm_irq_routes(struct kvm_accel *a);

/* kvm_cpuid.c */
int kvm_cpuid_build(struct kvm_accel *a, const char *spec, struct err *e);
int kvm_cpuid_set(struct kvm_vcpu *k, struct err *e);

/* kvm_state.c: vCPU at a safe point. */
void kvm_get_state(struct kvm_vcpu *k);
int kvm_put_state(struct kvm_vcpu *k);

/* kvm_run.c */
void kvm_run_vcpu(struct vcpu *v);
void kvm_kick(struct vcpu *v);
/* Do the writes collected in the ring all vCPUs share; VM lock held. */
void kvm_serve_coalesced_locked(struct kvm_vcpu *k);

/* kvm_signal.c: make a thread's KVM_RUN return. */
void kvm_signals_init(void);
void kvm_signal_thread(pthread_t thread);

#endif
