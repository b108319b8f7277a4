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
#include "core/vm/debug.h"
#include "core/vm/eventfd.h"
#include "core/vm/ioapic.h"
#include "core/vm/kernel_lapic.h"
#include "core/vm/mem.h"
#include "core/vm/tsc.h"
#include "core/vm/vcpu.h"
#include "core/vm/vm.h"

enum {
    KVM_MAX_SLOTS = 64,
    KVM_MAX_MSRS = 256,
    KVM_HW_POINTS = 4, /* debug registers */
    KVM_SOFT_BREAKS = 256,
};
/* GSIs of irqfds follow the I/O APIC's pins. */
#define KVM_GSI_OF_SLOT(slot) (IOAPIC_PINS + (slot))

struct kvm_slot {
    uint64_t gpa, bytes;
    uint8_t *host; /* NULL = free slot */
    uint32_t flags;
};

struct kvm_irqfd_route {
    bool is_used;
    uint64_t addr;
    uint32_t data;
};

/* An INT3 in guest memory, for a VM_BREAK_SOFT. */
struct kvm_soft_break {
    uint64_t lin;
    uint8_t *host; /* NULL: not planted now */
    uint8_t old;
};

struct kvm_accel {
    struct vm *vm;
    int dev_fd, vm_fd;
    size_t run_bytes;            /* of the shared kvm_run mapping */
    struct kvm_clock_data clock; /* kvmclock when guest time stopped */
    bool has_clock;
    struct vm_kernel_lapic lapic;
    uint32_t extra_msr[KVM_MAX_MSRS]; /* without a field in struct cpu */
    unsigned extra_count;
    uint32_t tsc_khz;
    bool has_extra; /* the list was made */
    struct kvm_slot slot[KVM_MAX_SLOTS];
    unsigned slot_max; /* the kernel's limit or KVM_MAX_SLOTS */
    struct kvm_cpuid2 *cpuid;
    struct cpu_model model; /* name and widths for the monitor */
    uint32_t msr[KVM_MAX_MSRS];
    unsigned msr_count;
    struct ioapic_service *ioapic;
    struct vm_tsc tsc;
    unsigned coalesced_page; /* of kvm_run, 0 = not offered */
    bool has_ioeventfd, has_any_length, has_irqfd;
    unsigned gsi_max; /* GSIs a route may have, exclusive */
    struct kvm_irqfd_route irqfd[VM_IRQFD_MAX];
    unsigned ring_entries; /* of a vCPU's dirty ring, asked for until
                              kvm_dirty_init; 0: bitmaps */
    bool is_manual_protect, is_logging;
    uint32_t debug_flags; /* KVM_GUESTDBG_* that may be used */
    struct kvm_soft_break soft_break[KVM_SOFT_BREAKS];
    unsigned soft_break_count;
    uint32_t debug_serial;             /* of the points */
    struct vm_point hw[KVM_HW_POINTS]; /* by debug register */
    unsigned hw_count;
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
    struct kvm_lapic_state lapic; /* after a reset */
    /* kvm_save.c: as of the last vcpu_get, or loaded */
    struct kernel_lapic_regs lapic_regs;
    uint64_t extra[KVM_MAX_MSRS]; /* values of extra_msr */
    uint64_t tsc;
    uint8_t mp_state, sipi_vector, has_pending_nmi;
    bool has_new_tsc, has_new_extra; /* to be put with the next state */
    bool is_dirty;              /* cpu was changed and must be written back */
    struct kvm_dirty_gfn *ring; /* NULL: none */
    uint32_t ring_at;           /* next entry to look at */
    unsigned empty_fulls;       /* exits for a full ring that was not */
    uint32_t debug_control;     /* as last given to the kernel */
    uint32_t debug_serial;      /* of the points they were made from */
};

struct kvm_accel *kvm_of(struct vm *vm);

/* ioctl that retries EINTR; -errno on failure. */
int kvm_call(int fd, unsigned long request, void *arg);

/* kvm_probe.c */
int kvm_open_device(struct err *e);

/* kvm_mem.c: VM lock held (listener). */
void kvm_memory_changed(void *arg);
/* Give all slots the logging flag, or take it.  VM lock held. */
int kvm_slots_set_logging(struct kvm_accel *a);

/* kvm_irq.c */
void kvm_irq_init(struct kvm_accel *a);
int kvm_irq_routes(struct kvm_accel *a);

/* kvm_eventfd.c: struct vm_accel_ops */
int kvm_ioevent(struct vm *vm, const struct vm_ioevent *ev, bool on);
int kvm_irqfd(struct vm *vm, unsigned slot, int fd,
              const struct vm_irq_target *to);

/* kvm_dirty.c */
void kvm_dirty_init(struct kvm_accel *a, unsigned ring_max, bool is_acq_rel,
                    bool has_manual);
int kvm_dirty_open_vcpu(struct kvm_vcpu *k, struct err *e);
void kvm_dirty_close_vcpu(struct kvm_vcpu *k);
/* Lock not held; false: it cannot go on. */
bool kvm_dirty_ring_full(struct kvm_vcpu *k);
int kvm_dirty_start(struct vm *vm, struct err *e);
void kvm_dirty_collect(struct vm *vm);
void kvm_dirty_stop(struct vm *vm);

/* kvm_debug.c */
extern const struct cpu_ops kvm_cpu_ops; /* page walks */
int kvm_set_debug(struct vm *vm, struct err *e);
/* INT3s are in guest memory only while the machine runs. */
void kvm_debug_resumed(struct kvm_accel *a);
void kvm_debug_paused(struct kvm_accel *a);
/* vCPU thread, before it enters the guest: what it has to stop for. */
void kvm_debug_enter(struct kvm_vcpu *k);
/* KVM_EXIT_DEBUG; false: the machine stops. */
bool kvm_debug_exit(struct kvm_vcpu *k);

/* kvm_cpuid.c */
int kvm_cpuid_build(struct kvm_accel *a, const char *spec, struct err *e);
int kvm_cpuid_set(struct kvm_vcpu *k, struct err *e);

/* kvm_state.c: vCPU at a safe point. */
void kvm_get_state(struct kvm_vcpu *k);
int kvm_put_state(struct kvm_vcpu *k);

/* An external interrupt the CPU took over and has not delivered; in
 * cpu.pending_error. */
#define KVM_PENDING_INTERRUPT 0x80000000u

/* kvm_save.c */
void kvm_save_init(struct kvm_accel *a);
/* Fetch what only saving needs; then, before the state is put: put it. */
void kvm_get_extra(struct kvm_vcpu *k);
void kvm_put_extra(struct kvm_vcpu *k);
uint64_t kvm_tsc(struct vcpu *v);
void kvm_set_tsc(struct vcpu *v, uint64_t value);
uint64_t kvm_tsc_khz(struct vm *vm);
int kvm_set_tsc_khz(struct vm *vm, uint64_t khz);
int kvm_save(struct vm *vm, struct state_out *out);
int kvm_load(struct vm *vm, const uint8_t *data, size_t bytes, struct err *e);

/* kvm_run.c */
void kvm_run_vcpu(struct vcpu *v);
void kvm_kick(struct vcpu *v);
/* Do the writes collected in the ring all vCPUs share; VM lock held. */
void kvm_serve_coalesced_locked(struct kvm_vcpu *k);

/* kvm_signal.c: make a thread's KVM_RUN return. */
void kvm_signals_init(void);
void kvm_signal_thread(pthread_t thread);

#endif
