/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_ACCEL_RIG_H
#define ORRERY_TESTS_ACCEL_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/accel/accel.h"
#include "core/cpu/cpu.h"
#include "core/loop/loop.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/*
 * A machine with RAM, a ROM page, a page of registers, a port that ends a
 * run, and one CPU under a named accelerator.
 */
enum {
    RAM_BYTES = 2 << 20,
    CODE = 0x1000,
    ROM_AT = 0x200000,
    MMIO_AT = 0x300000,
    DONE_PORT = 0xf4,
    LIMIT_MS = 20000, /* of a run */
};

struct rig {
    struct loop *loop;
    struct vm *vm;
    struct mem_region low, rom, mmio;
    uint8_t reg[4096];
    unsigned done; /* value written to DONE_PORT, 0 = not yet */
    unsigned resets;
};

extern const struct vm_config accel_rig_config;

/* Skips the test, with the reason, where this host cannot.  accel_rig_open is
 * without the CPU. */
struct rig *accel_rig_new(const char *accel);
struct rig *accel_rig_open(const char *accel);
void accel_rig_add_cpus(struct rig *r, unsigned count);
void accel_rig_free(struct rig *r);

/* 32-bit protected mode, flat, no paging, at CODE. */
struct cpu *set_up(struct rig *r, const uint8_t *code, size_t bytes);
struct cpu *set_up_cpu(struct rig *r, unsigned index);

/* Run until the program writes DONE_PORT, is reset or stopped by the debugger;
 * then the machine is stopped and its registers are read. */
void run(struct rig *r);
/* Handle events until is_true(r), at most LIMIT_MS; was it? */
bool run_until(struct rig *r, bool (*is_true)(struct rig *r));
void get_registers(struct rig *r);

/* The software CPU both ways, then KVM: a case that is skipped there has
 * passed before. */
enum { ACCEL_RIGS = 3 };
extern const char *const accel_rig_names[ACCEL_RIGS];
#define EACH(r)                                  \
    struct rig *r;                               \
    for (unsigned n_ = 0; n_ < ACCEL_RIGS; n_++) \
        if ((r = accel_rig_new(accel_rig_names[n_])) != NULL)

#endif
