/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_CPU_RIG_H
#define ORRERY_TESTS_CPU_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cpu/cpuid.h"
#include "core/cpu/emulate.h"
#include "core/cpu/mmu.h"

/*
 * One CPU over 1 MiB of RAM, without an engine.
 *
 * Flat: guest linear addresses are host addresses (RIG_BASE up), no page
 * walk, 64-bit code at CPL 3; each vector enters RIG_BASE + RIG_HANDLERS +
 * 16 * vector.  So that an instruction can run natively and emulated on the
 * same memory.
 * Machine: RAM at guest-physical 0, translation by cpu_walk(), real mode
 * after cpu_reset().
 */
enum {
    RIG_BASE = 0x20000000,
    RIG_BYTES = 1 << 20,
    RIG_AREA = 0x1000, /* the native runner's registers */
    RIG_GDT = 0x2000,
    RIG_TSS = 0x2800,
    RIG_IDT = 0x3000,
    RIG_CODE = 0x5000,
    RIG_STACK = 0x7000, /* ring 0, grows down */
    RIG_HANDLERS = 0x7000,
    RIG_DATA = 0x10000,
    RIG_DATA_BYTES = 0x4000,
};

struct cpu_rig {
    struct cpu c;
    struct cpu_model model;
    uint8_t *ram;
    bool is_flat;
    bool is_32; /* flat: 32-bit code, run natively in compatibility mode */
    unsigned out_port, out_bytes;
    uint32_t out_value, in_value;
    unsigned flushes, outs;
};

struct cpu_rig *rig_open(bool is_flat, const char *model);
void rig_close(struct cpu_rig *r);
/* Flat: back to CPL 3 64-bit code with the given rip. */
void rig_flat_state(struct cpu_rig *r);

/* Registers of a native run: 16 GPRs in encoding order, flags. */
struct native_state {
    uint64_t gpr[16];
    uint64_t flags;
};
/* Run bytes[] natively at RIG_CODE with these registers; 0 or the signal it
 * raised (registers then are not updated). */
int native_insn(struct cpu_rig *r, struct native_state *s, const uint8_t *bytes,
                unsigned count);

/* Vector state image: XSAVE area of x87, SSE and AVX, 64-byte aligned. */
enum { VECTOR_BYTES = 832 };
int native_insn_vector(struct cpu_rig *r, struct native_state *s,
                       const uint8_t *bytes, unsigned count, void *image);
enum cpu_step emulate_vector_state(struct cpu_rig *r, void *image);

#endif
