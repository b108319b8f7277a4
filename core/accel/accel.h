/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_ACCEL_ACCEL_H
#define ORRERY_ACCEL_ACCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Accelerators: one const record each in accel_table[] (accel.c); chosen by
 * -accel NAME[,opt=value...] or "auto".
 */
struct vm;

struct accel {
    const char *name; /* "kvm", "soft" */
    const char *title;
    /* 0 if this host can; else the reason and what to do about it. */
    int (*probe)(struct err *e);
    /* Attach to the VM: vm_set_accel, interrupt sink, memory listener.
     * opts: text after the first comma, or NULL.  Called before devices are
     * made; CPUs are opened by vm_accel()->vcpu_open. */
    int (*open)(struct vm *vm, const char *opts, struct err *e);
};

extern const struct accel accel_kvm, accel_soft;

/*
 * Choose and open.  spec as in -accel (NULL = "auto").  Afterwards why holds
 * one line: which accelerator and why ("soft: /dev/kvm emulates ring 0 (2 M
 * instructions/s), the software CPU is faster").
 */
int accel_open(struct vm *vm, const char *spec, char *why, size_t cap,
               struct err *e);
const struct accel *accel_at(unsigned i); /* NULL at the end */

/* Instructions per second of a ring-0 loop in a throw-away KVM VM, 0 if KVM
 * is not usable (reason in e). */
uint64_t accel_kvm_speed(struct err *e);

/* Below this, KVM is emulation: real hardware does thousands of millions, the
 * software CPU many hundreds. */
#define ACCEL_KVM_FAST_PER_S 200000000ull

#endif
