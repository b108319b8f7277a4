/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TEST_SOFT_RIG_H
#define ORRERY_TEST_SOFT_RIG_H

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/soft/soft.h"
#include "core/vm/vm.h"

/*
 * A bare machine for the software CPU: RAM from 0, port 0xe9 collects text,
 * port 0xf4 stops, an MMIO page at 0xf0000000 that reads back what was
 * written, inverted.  Code runs on the test's thread.
 */
enum {
    RIG_RAM = 16 << 20,
    RIG_TABLES = 0x8000, /* page tables of rig_mode(64) */
    RIG_GDT = 0x7000,
    RIG_IDT = 0x6000,
    RIG_STACK = 0x80000,
    RIG_MAPS = 0xd00000, /* page tables of rig_map() */
};

struct loop;

struct soft_rig {
    struct loop *loop;
    struct vm *vm;
    struct vm_config cfg;
    struct mem_region ram, mmio;
    struct soft_vm *soft;
    struct cpu_model model;
    struct vcpu v;
    struct engine *eng;
    struct cpu *c;
    char text[256];
    unsigned text_bytes, map_tables;
    uint32_t mmio_value;
    unsigned exit_value, exits;
};

struct soft_rig *rig_new(const struct soft_options *o);
void rig_free(struct soft_rig *r);

void rig_put(struct soft_rig *r, uint64_t gpa, const void *bytes, size_t n);

/* Registers and segments of a CPU in flat mode bits (16: real mode, 32, 64)
 * with paging identity-mapped in 64-bit mode, rip and stack set. */
void rig_mode(struct soft_rig *r, unsigned bits, uint64_t rip);

/* In ring 3 from here on, ports allowed.  After rig_mode(64). */
void rig_user(struct soft_rig *r);

/* Pages at gpa are at lin, too; read, write, execute, any ring.  After
 * rig_mode(64), which forgets them; nothing is flushed. */
void rig_map(struct soft_rig *r, uint64_t lin, uint64_t gpa, unsigned pages);

/* Run until port 0xf4 is written or the CPU shuts down. */
enum soft_exit rig_run(struct soft_rig *r);

#endif
