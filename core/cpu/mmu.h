/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_MMU_H
#define ORRERY_CPU_MMU_H

#include "core/cpu/cpu.h"
#include "core/vm/mem.h"

/* Result of a page walk. */
struct cpu_page {
    uint64_t gpa;        /* of lin itself */
    uint64_t page_bytes; /* 4 KiB, 2 MiB, 4 MiB, 1 GiB; identity: 4 KiB */
    bool can_write;      /* a store at this CPL needs no further walk: writable
                            and the D bit is set */
    bool can_exec;
    bool is_user;   /* reachable from CPL 3 */
    bool is_global; /* G bit and CR4.PGE */
};

/*
 * Translate lin for the given access (ACC_READ/WRITE/EXEC, | ACC_SYSTEM for an
 * implicit supervisor access) with all permission bits (U/S, R/W, NX, WP,
 * SMEP, SMAP, reserved bits) and set A/D bits atomically.  Returns 0, or -1
 * with *error = page-fault error code (SDM 3A 4.7) and nothing changed.
 * a20 masking is the memory map's business.
 */
int cpu_walk(struct cpu *c, uint64_t lin, unsigned access,
             struct cpu_page *page, uint32_t *error);

/* Same without side effects and permission checks (monitor, gdb): 0 or -1. */
int cpu_walk_debug(struct cpu *c, uint64_t lin, uint64_t *gpa);

/* What the CPU sees at a guest-physical address. */
static inline enum mem_view cpu_mem_view(const struct cpu *c)
{
    return c->is_smm ? MEM_VIEW_SMM : MEM_VIEW_NORMAL;
}

#endif
