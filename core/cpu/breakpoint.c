/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Breakpoints of the debug registers: SDM volume 3B 17.2.  Those on
 * instructions are faults before the instruction; those on data and I/O are
 * noted while it executes, in c->debug_hits, and trap when it is complete.
 * Implicit accesses (descriptors, task state, page tables) are not watched.
 */
#include "core/cpu/emu.h"

/* Is breakpoint n enabled?  Local and global are the same here. */
static bool is_enabled(const struct cpu *c, unsigned n)
{
    return c->dr[7] >> 2 * n & 3;
}

unsigned cpu_break_kind(const struct cpu *c, unsigned n)
{
    return is_enabled(c, n) ? c->dr[7] >> (16 + 4 * n) & 3 : BREAK_NONE;
}

uint64_t cpu_break_range(const struct cpu *c, unsigned n, unsigned *bytes)
{
    static const uint8_t lengths[] = { 1, 2, 8, 4 };
    *bytes = lengths[c->dr[7] >> (18 + 4 * n) & 3];
    return c->dr[n] & ~(uint64_t)(*bytes - 1);
}

void check_breakpoints(struct cpu *c)
{
    uint64_t lin = c->rip, hits = 0;
    if (!cpu_is_code64(c)) lin = (uint32_t)(lin + c->seg[SEG_CS].base);
    for (unsigned n = 0; n < 4; n++) {
        if (is_enabled(c, n) && cpu_break_kind(c, n) == BREAK_EXEC &&
            c->dr[n] == lin) {
            hits |= 1u << n;
        }
    }
    if (!hits) return;
    c->dr[6] |= hits;
    cpu_throw(c, EXC_DB);
}

static bool overlaps(const struct cpu *c, unsigned n, uint64_t at,
                     unsigned bytes)
{
    unsigned watched;
    uint64_t first = cpu_break_range(c, n, &watched);
    return at <= first + watched - 1 && at + bytes - 1 >= first;
}

void note_data_access(struct cpu *c, uint64_t lin, unsigned bytes,
                      unsigned access)
{
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = cpu_break_kind(c, n);
        bool is_kind = kind == BREAK_ACCESS ||
                       (kind == BREAK_WRITE && (access & ACC_WRITE));
        if (is_kind && overlaps(c, n, lin, bytes)) c->debug_hits |= 1u << n;
    }
}

void note_io_access(struct cpu *c, unsigned port, unsigned bytes)
{
    if (!(c->cr4 & CR4_DE)) return;
    for (unsigned n = 0; n < 4; n++) {
        if (cpu_break_kind(c, n) == BREAK_IO && overlaps(c, n, port, bytes)) {
            c->debug_hits |= 1u << n;
        }
    }
}
