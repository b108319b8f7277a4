/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_HOST_PRINT_H
#define ORRERY_CPU_HOST_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A CPU's state for people: monitor and log.  Outside guest state: libc is
 * used. */
struct cpu;

/* `info registers': the layout scripts know from QEMU. */
void cpu_print_registers(const struct cpu *c, bool is_halted, bool has_a20,
                         FILE *out);

/* One instruction of code in the CPU's present mode, "0x000ffff0:  ea 5b e0 00
 * f0  ljmp ..." and a line end.  Octets of code that it takes, 0 if bytes is 0.
 * is_jump: execution may go on elsewhere; or NULL. */
unsigned cpu_print_insn(const struct cpu *c, uint64_t lin, const uint8_t *code,
                        size_t bytes, FILE *out, bool *is_jump);

/* -d cpu_reset: before a reset or INIT. */
void cpu_log_reset(const struct cpu *c, const char *what);
/* -d exec, -d cpu: before an instruction. */
void cpu_log_step(const struct cpu *c);
/* -d int: kind of an event ("exception", ...), has_error: error counts. */
void cpu_log_event(const struct cpu *c, const char *kind, unsigned vector,
                   bool has_error, uint32_t error);
/* -d int: before the other registers are saved or loaded. */
void cpu_log_smm(const struct cpu *c);

#endif
