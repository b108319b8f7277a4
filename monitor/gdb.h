/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_GDB_H
#define ORRERY_MONITOR_GDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * gdb's remote serial protocol (the gdb manual, appendix E): registers, memory
 * by linear address, breakpoints, watchpoints, steps; threads are vCPUs.  Loop
 * thread; the VM lock is not held except where said.
 *
 * While gdb has the machine stopped its run state is RUN_DEBUG.  A peer that
 * goes away leaves no breakpoint behind, and the machine goes on if it was gdb
 * that had stopped it.
 */
struct vm;
struct gdb;

enum gdb_arch {
    GDB_ARCH_AUTO, /* x86-64 unless the CPU model has no long mode */
    GDB_ARCH_X86_64,
    GDB_ARCH_I386,
    GDB_ARCH_I8086, /* i386's registers; eip is linear, CS base added */
};

/* ---- one peer on any transport ---- */

int gdb_open(struct vm *vm, enum gdb_arch arch,
             void (*write)(void *arg, const void *data, size_t bytes),
             void *arg, struct gdb **out, struct err *e);
void gdb_close(struct gdb *g);
void gdb_connected(struct gdb *g, bool is_there);
/* The machine ends: tell a gdb that waits for it.  Lock not held. */
void gdb_exited(struct gdb *g);
void gdb_input(struct gdb *g, const uint8_t *buf, size_t bytes);

/* ---- the machine's server: -gdb, -s, gdbserver ---- */

/*
 * device: "tcp::PORT", "tcp:HOST:PORT" of a loopback HOST, "unix:PATH",
 * "chardev:ID", each with ",arch=x86-64|i386|i8086" behind it, or "none".
 * Takes the place of the one before, which stays if the text is wrong.  VM
 * lock held or not.
 */
int gdb_server_start(struct vm *vm, const char *device, struct err *e);
/* Before the VM goes; also without a server. */
void gdb_server_stop(struct vm *vm);
/* Well formed, and could it be opened?  Creates nothing. */
int gdb_server_check(const char *device, struct err *e);

#endif
