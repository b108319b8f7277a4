/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_VCPU_H
#define ORRERY_VM_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/vm/debug.h"

/*
 * One virtual CPU as the rest of the machine sees it: its number, its event
 * word and how to get its attention.  The accelerator owns what is behind
 * engine.  Interrupt controllers raise events; only the vCPU's own thread
 * consumes them.
 */
struct vm;
struct cpu;

enum vcpu_event {
    VCPU_INTR = 1u << 0, /* level: an interrupt controller has a vector */
    VCPU_NMI = 1u << 1,
    VCPU_SMI = 1u << 2,
    VCPU_INIT = 1u << 3,
    VCPU_SIPI = 1u << 4,  /* vector in sipi_vector */
    VCPU_EXIT = 1u << 5,  /* leave run(): stop, reset, quit, pause */
    VCPU_FLUSH = 1u << 6, /* engine-private: TLB or code flush asked for */
};

struct vcpu {
    struct vm *vm;
    unsigned index; /* also the initial local APIC id */
    _Atomic uint32_t events;
    _Atomic uint8_t sipi_vector;
    _Atomic bool is_running; /* inside run() and not at a safe point */
    _Atomic bool is_halted;  /* HLT or waiting for INIT/SIPI (info cpus) */
    _Atomic bool wants_exit; /* thread leaves its loop */
    pthread_t thread;
    bool has_thread;
    void (*kick)(struct vcpu *v); /* set by the accelerator; any thread */
    void *engine;                 /* accelerator's own state */
    struct cpu *cpu;              /* core/cpu state (valid at safe points) */
    pthread_mutex_t wait_lock;    /* guards waiting for an event in HLT */
    pthread_cond_t wait_cond;
    /* Debugger's orders and findings: core/vm/debug.h.  The first two change
     * only while the vCPU is parked, the third is guarded by the VM lock. */
    bool is_stepping, is_held;
    struct vm_stop stop;
};

/* Set events and get the vCPU's attention.  Any thread. */
void vcpu_raise(struct vcpu *v, uint32_t events);

/* Clear level events (VCPU_INTR when the controller lowers it).  Any thread. */
void vcpu_lower(struct vcpu *v, uint32_t events);

/* Atomically take and clear the given events.  vCPU thread. */
uint32_t vcpu_take(struct vcpu *v, uint32_t events);

/*
 * Sleep until any event in mask is set or wants_exit.  vCPU thread, at a safe
 * point (is_running false), VM lock not held.
 */
void vcpu_wait(struct vcpu *v, uint32_t mask);

/* The vCPU this thread runs, NULL on other threads. */
struct vcpu *vcpu_current(void);
void vcpu_set_current(struct vcpu *v);

/*
 * Exclusive section: every vCPU except the calling one is at a safe point
 * between begin and end, so flat view, code cache and page-table caches may
 * be changed.  VM lock held.  A vCPU calls vcpu_enter/vcpu_leave around the
 * time it holds references to those; taking the VM lock from vCPU code must
 * happen between leave and enter.
 */
void vm_exclusive_begin_locked(struct vm *vm);
void vm_exclusive_end_locked(struct vm *vm);
void vcpu_enter(struct vcpu *v); /* waits while an exclusive section runs */
void vcpu_leave(struct vcpu *v);

#endif
