/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_VM_H
#define ORRERY_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"
#include "core/vm/vcpu.h"

/*
 * One virtual machine: lock, memory, ports, devices, clock, vCPUs and run
 * state.  The struct is public to core/vm and the accelerators; everybody
 * else uses the functions.
 */
struct loop;
struct display;
struct input;

enum run_state {
    RUN_PRELAUNCH, /* -S: created, or reset, and not started */
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,       /* guest powered off, -no-shutdown */
    RUN_INTERNAL_ERROR, /* the accelerator cannot go on */
    RUN_IO_ERROR,
    RUN_DEBUG, /* a breakpoint, watchpoint or single step: core/vm/debug.h */
    RUN_INMIGRATE,      /* -incoming: its state is on the way */
    RUN_FINISH_MIGRATE, /* the last of it is going elsewhere */
    RUN_POSTMIGRATE,    /* it went elsewhere */
};
const char *run_state_name(enum run_state s); /* as info status prints */

enum vm_request { /* asked for by guest or user, done on the loop thread */
                  VM_REQ_RESET = 1,
                  VM_REQ_SHUTDOWN = 2,  /* guest powered off */
                  VM_REQ_POWERDOWN = 4, /* press the power button */
                  VM_REQ_QUIT = 8,
                  VM_REQ_STOP = 16,   /* pause, e.g. internal error */
                  VM_REQ_RESUME = 32, /* after all others */
                  VM_REQ_DEBUG = 64,  /* a vCPU has a struct vm_stop */
};

struct vm;

int vm_create(const struct vm_config *cfg, struct loop *loop, struct vm **out,
              struct err *e);
void vm_destroy(struct vm *vm);
const struct vm_config *vm_config(struct vm *vm);
struct loop *vm_loop(struct vm *vm);
struct dev *vm_root(struct vm *vm); /* the machine device */

/* The one VM lock: guards devices, tree, ports, memory map, clock. */
void vm_lock(struct vm *vm);
void vm_unlock(struct vm *vm);
bool vm_is_locked(struct vm *vm); /* by this thread */

/* vCPUs */
int vm_add_vcpus(struct vm *vm, unsigned count, struct err *e);
unsigned vm_vcpu_count(struct vm *vm);
struct vcpu *vm_vcpu(struct vm *vm, unsigned index);

/* Run state.  Loop thread, VM lock held.  Start and stop are complete when
 * they return: all vCPUs at a safe point, guest clock stopped.  A machine that
 * is not (wholly) here, RUN_INMIGRATE to RUN_POSTMIGRATE, does not start. */
enum run_state vm_run_state(struct vm *vm);
bool vm_is_elsewhere(struct vm *vm);
void vm_start_locked(struct vm *vm);
void vm_stop_locked(struct vm *vm, enum run_state why);
void vm_reset_locked(struct vm *vm); /* all devices and CPUs */

/* Hold every vCPU thread outside the accelerator's run function, so that its
 * registers can be got and put (KVM allows it nowhere else); run state and
 * guest clock stay.  Loop thread; the lock is released while waiting.  Nests. */
void vm_park_locked(struct vm *vm);
void vm_unpark_locked(struct vm *vm);

/* Ask for something from any thread, lock held or not; text (static) says
 * why, for RUN_INTERNAL_ERROR. */
void vm_request(struct vm *vm, enum vm_request r);
void vm_internal_error(struct vm *vm, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Called on the loop thread with the lock held when something happened. */
enum vm_event {
    VM_EVENT_STOP,
    VM_EVENT_RESUME,
    VM_EVENT_RESET,
    VM_EVENT_SHUTDOWN,
    VM_EVENT_POWERDOWN
};
void vm_add_listener(struct vm *vm, void (*fn)(void *arg, enum vm_event ev),
                     void *arg);
void vm_remove_listener(struct vm *vm, void *arg);

/* Exit status given by isa-debug-exit or the like; makes the loop quit. */
void vm_exit_locked(struct vm *vm, int status);

/* Pages for `info NAME`: a device registers one, the monitor prints it. */
void vm_add_info(struct vm *vm, const char *name, const char *help,
                 void (*print)(void *arg, FILE *out), void *arg);
int vm_print_info_locked(struct vm *vm, const char *name, FILE *out);
void vm_for_each_info(struct vm *vm,
                      void (*fn)(void *arg, const char *name, const char *help),
                      void *arg);

/* Services found by name: fw_cfg, display, ... one pointer per name so that
 * device families need not know each other.  NULL if absent. */
void vm_set_service(struct vm *vm, const char *name, void *p);
void *vm_service(struct vm *vm, const char *name);

/* Guest main memory: below 4 GiB and above, made by the machine. */
struct mem_region *vm_ram(struct vm *vm);

/* What the accelerator does for the machine; set once by core/accel. */
struct accel;
struct vm_ioevent;
struct vm_irq_target;
struct vm_accel_ops {
    int (*vcpu_open)(struct vcpu *v, struct err *e);
    void (*vcpu_close)(struct vcpu *v);
    /* Run until VCPU_EXIT or wants_exit; handles HLT, I/O, interrupts. */
    void (*vcpu_run)(struct vcpu *v);
    void (*vcpu_reset)(struct vcpu *v); /* at a safe point */
    void (*vcpu_get)(struct vcpu *v);   /* make v->cpu complete */
    void (*vcpu_put)(struct vcpu *v);   /* v->cpu was changed */
    void (*paused)(struct vm *vm);      /* guest time stopped / goes on */
    void (*resumed)(struct vm *vm);
    /* Let devices see what the accelerator still holds back (coalesced
     * writes); VM lock held, any thread. */
    void (*sync)(struct vm *vm);
    void (*print_stats)(struct vm *vm, FILE *out);
    /* All of these may be NULL.  eventfd.h; a refusal is no error: core/vm does
     * it itself.  irqfd: slot below VM_IRQFD_MAX, to NULL: take it away. */
    int (*ioevent)(struct vm *vm, const struct vm_ioevent *ev, bool on);
    int (*irqfd)(struct vm *vm, unsigned slot, int fd,
                 const struct vm_irq_target *to);
    /* dirty.h: what is found goes to vm_dirty_mark.  Exclusive section. */
    int (*dirty_start)(struct vm *vm, struct err *e);
    void (*dirty_collect)(struct vm *vm);
    void (*dirty_stop)(struct vm *vm);
    /* debug.h: the points changed; CPUs parked. */
    int (*set_debug)(struct vm *vm, struct err *e);
    void (*close)(struct vm *vm);
    /* Guest's TSC without tsc_adjust; machine stopped. */
    uint64_t (*tsc)(struct vcpu *v);
    void (*set_tsc)(struct vcpu *v, uint64_t value);
    /* Its frequency, 0: not known; that of a guest from another host, before
     * set_tsc, CPUs parked: 0, or -ENOTSUP where it is the host's for good. */
    uint64_t (*tsc_khz)(struct vm *vm);
    int (*set_tsc_khz)(struct vm *vm, uint64_t khz);
    /* What there is to save beyond v->cpu, the devices and the counters, as
     * of the last vcpu_get; in a forked child too.  load: stopped, CPUs parked
     * and loaded. */
    int (*save)(struct vm *vm, struct state_out *out);
    int (*load)(struct vm *vm, const uint8_t *data, size_t bytes,
                struct err *e);
    bool has_kernel_lapic;
    bool has_smm; /* VCPU_SMI leads there, and to the memory view of it */
};
void vm_set_accel(struct vm *vm, const char *name,
                  const struct vm_accel_ops *ops, void *priv);
const struct vm_accel_ops *vm_accel(struct vm *vm, void **priv);
const char *vm_accel_name(struct vm *vm);

#endif
