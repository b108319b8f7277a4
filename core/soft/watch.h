/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_WATCH_H
#define ORRERY_SOFT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Watched ranges and breakpoints (watch.c); part of engine.h. */
struct engine;
struct soft_vm;

/*
 * A watched range of linear addresses (watch.c).  Owners 0 to 3 are the
 * guest's debug registers, WATCH_DEBUGGER a debugger outside; each has a bit
 * in engine.watch_hits.
 */
enum { WATCH_MAX = 64, WATCH_DEBUGGER = 7 };
struct soft_watch {
    uint64_t first, last;
    uint8_t access; /* ACC_READ, ACC_WRITE or both */
    uint8_t owner;
};

/* Add a range; false: no room.  Remove those whose owner's bit is set.  The
 * vCPU is at a safe point or it is its own thread; the TLB is flushed. */
bool soft_watch_add(struct engine *eng, uint64_t lin, uint64_t bytes,
                    unsigned access, unsigned owner);
void soft_watch_clear(struct engine *eng, unsigned owner_mask);
/* Kinds of access (ACC_READ, ACC_WRITE) watched anywhere in lin's page. */
unsigned soft_watched_kinds(const struct engine *eng, uint64_t lin);
bool soft_is_watched(const struct engine *eng, uint64_t lin, unsigned bytes,
                     unsigned access);
/* The access was done: remember in watch_hits whom it concerns. */
void soft_watch_note(struct engine *eng, uint64_t lin, unsigned bytes,
                     unsigned access);
/* May no block of any vCPU cover this address? */
bool soft_is_break(const struct soft_vm *s, uint64_t lin);
/* Is rip at a breakpoint; did the debugger's watch hit?  They set stop. */
bool soft_at_break(struct engine *eng);
bool soft_met_watch(struct engine *eng);

#endif
