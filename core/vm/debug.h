/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_DEBUG_H
#define ORRERY_VM_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * What a debugger outside the guest wants of its CPUs: breakpoints,
 * watchpoints, single steps, and which CPUs run at all.  The guest cannot see
 * any of it, but for this: under KVM the points take the place of the guest's
 * own debug registers, and software breakpoints there is no register for are
 * INT3 in its memory while the machine runs.  Addresses are linear.
 *
 * A CPU that meets a point stops the machine (RUN_DEBUG); vm_stop_take() says
 * why.  All functions: loop thread, VM lock held, unless noted; the machine may
 * run, its CPUs are parked meanwhile.
 */
struct vm;
struct vcpu;

enum vm_point_kind {
    VM_BREAK_SOFT, /* before the instruction at lin */
    VM_BREAK_HARD,
    VM_WATCH_WRITE, /* after the instruction that writes into the range */
    VM_WATCH_READ,
    VM_WATCH_ACCESS,
};

struct vm_point {
    enum vm_point_kind kind;
    uint64_t lin;
    uint64_t bytes; /* watched; a break has 1 */
};
enum { VM_POINTS_MAX = 256 };

enum vm_stop_why {
    VM_STOP_NONE,
    VM_STOP_STEP,  /* one instruction was executed */
    VM_STOP_BREAK, /* lin: of the point, rip is there */
    VM_STOP_HARD,
    VM_STOP_WATCH, /* lin: of the point that was hit */
};
struct vm_stop {
    enum vm_stop_why why;
    enum vm_point_kind kind; /* of the point, for BREAK, HARD and WATCH */
    uint64_t lin;
};

/* -EEXIST; -ENOSPC: no room, or KVM's four debug registers are in use;
 * -EFAULT: KVM, and there is no memory at lin now; -ENOTSUP; -EINVAL: KVM
 * cannot watch that size or for reads alone. */
int vm_point_add_locked(struct vm *vm, const struct vm_point *p, struct err *e);
int vm_point_del_locked(struct vm *vm, const struct vm_point *p); /* -ENOENT */
void vm_point_clear_locked(struct vm *vm);
unsigned vm_point_count(struct vm *vm);
const struct vm_point *vm_point_at(struct vm *vm, unsigned i);

/*
 * From the next start on, the CPU stops after one instruction (interrupts are
 * held back meanwhile, unless it is halted); a held CPU does not run though
 * the machine does.
 */
void vm_debug_step_locked(struct vm *vm, unsigned cpu, bool on);
void vm_debug_hold_locked(struct vm *vm, unsigned cpu, bool on);

/* Take one recorded stop of the CPUs whose bits are set; false: there is none.
 * More CPUs than one may have stopped. */
#define VM_STOP_ANY UINT64_MAX
bool vm_stop_take_locked(struct vm *vm, uint64_t cpus, unsigned *cpu,
                         struct vm_stop *out);
/* Forget those that come again by themselves (breaks) or mean nothing any more
 * (steps): before going on. */
void vm_stop_drop_locked(struct vm *vm);

/* From the accelerator, vCPU's thread, lock not held: the CPU met s.  The
 * caller then waits for VCPU_EXIT. */
void vcpu_debug_stop(struct vcpu *v, const struct vm_stop *s);

#endif
