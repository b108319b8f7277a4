/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_CPU_SIGNAL_H
#define ORRERY_TESTS_CPU_SIGNAL_H

struct cpu;

/* Catch SIGILL, SIGFPE, SIGSEGV, SIGBUS and SIGTRAP on a stack of their own:
 * inside signals_call() they end the call, otherwise they are offered to
 * cpu_native_fault() of c. */
void signals_open(struct cpu *c);
void signals_close(void);
/* Call fn; 0, or the signal it raised. */
int signals_call(void (*fn)(void));
/* The exception behind that signal. */
int signals_vector(void);

#endif
