/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_SOFT_H
#define ORRERY_SOFT_SOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * The software CPU: guest code rewritten for the host, same instruction set.
 * core/accel/soft_accel.c is its one user apart from tests.
 *
 * Order: soft_vm_open, one soft_vcpu_open per vCPU, then each vCPU's thread
 * calls soft_run again and again.
 */
struct vm;
struct vcpu;
struct cpu;
struct cpu_model;
struct soft_vm; /* shared by the vCPUs: code cache, options */
struct engine;  /* one vCPU */

struct soft_options {
    bool is_interpreted;  /* translate=off: cpu_emulate for everything */
    bool is_single;       /* singlestep: the same, switched at run time */
    bool is_verified;     /* verify=on: run each block both ways, compare */
    bool is_all_hot;      /* hot=all: code is hot at once */
    bool is_ungrouped;    /* group=off: each access has its own check */
    unsigned cache_bytes; /* code cache; 0: default */
};

/*
 * Parse "translate=on|off,verify=on|off,group=on|off,tb-size=MiB" (QEMU's spelling of the
 * last); text NULL: defaults.  -EINVAL names the option.
 */
int soft_options_parse(struct soft_options *o, const char *text, struct err *e);

/* 0, or -ENOTSUP with what this host's CPU lacks. */
int soft_probe(struct err *e);

/* Start-up thread. -ENOMEM, -ENOTSUP. */
int soft_vm_open(struct vm *vm, const struct soft_options *o,
                 struct soft_vm **out, struct err *e);
void soft_vm_close(struct soft_vm *s); /* after all vCPUs */

/*
 * Make the engine of v; sets v->engine, v->cpu and v->kick and resets the
 * CPU.  model must outlive it.  -ENOMEM.
 */
int soft_vcpu_open(struct soft_vm *s, struct vcpu *v,
                   const struct cpu_model *model, struct engine **out,
                   struct err *e);
void soft_vcpu_close(struct engine *eng);

enum soft_exit {
    SOFT_EXIT_EVENT,    /* VCPU_EXIT (taken) or wants_exit */
    SOFT_EXIT_SHUTDOWN, /* triple fault */
    SOFT_EXIT_DEBUG,    /* the debugger's: soft_stop() says why */
    SOFT_EXIT_ERROR,    /* cannot be emulated: text in soft_error() */
};

/*
 * Run guest code until an exit; HLT, interrupts, INIT and SIPI are handled
 * inside.  vCPU's thread, VM lock not held, at a safe point before and after:
 * v->cpu is complete then.
 */
enum soft_exit soft_run(struct engine *eng);
const char *soft_error(const struct engine *eng);
struct vm_stop;
const struct vm_stop *soft_stop(const struct engine *eng);

/* One instruction at a time, through the emulator; vCPUs parked. */
void soft_set_single(struct soft_vm *s, bool on);
bool soft_is_single(const struct soft_vm *s);

/* Get the vCPU's attention soon.  Any thread.  This is v->kick. */
void soft_kick(struct vcpu *v);

/* v->cpu was changed from outside, at a safe point: caches that depend on it
 * are dropped. */
void soft_state_changed(struct engine *eng);

/* A new flat view, in the exclusive section. */
void soft_view_changed(struct soft_vm *s);

/* RAM was written other than by a vCPU's store.  Any thread, VM lock held. */
void soft_code_written(struct soft_vm *s, uint64_t gpa, uint64_t bytes);

/* As soft_code_written(), by host address. */
void soft_host_written(struct soft_vm *s, const uint8_t *host, uint64_t bytes);

/* The debugger's points (core/vm/debug.h) changed; vCPUs parked.  False: more
 * are watched than there is room for. */
bool soft_points_changed(struct soft_vm *s);

/* From now on the first store to each page is told to vm_dirty_mark_page().
 * Exclusive section. */
void soft_dirty_begin(struct soft_vm *s);

/* Guest time stamp counter, without tsc_adjust; it runs with the host's, or
 * at khz against host_khz from soft_set_tsc_khz on (set the counter after it).
 * At a safe point (reset, snapshot, after a pause), CPUs parked. */
uint64_t soft_tsc(const struct engine *eng);
void soft_set_tsc(struct engine *eng, uint64_t v);
void soft_set_tsc_khz(struct soft_vm *s, uint64_t khz, uint64_t host_khz);

/* Figures as text lines (info jit).  VM lock held. */
void soft_print_stats(struct soft_vm *s, char *text, size_t cap);

#endif
