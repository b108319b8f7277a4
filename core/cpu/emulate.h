/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_EMULATE_H
#define ORRERY_CPU_EMULATE_H

#include "core/cpu/cpu.h"

/*
 * One-instruction emulation and event delivery.  Vector registers of the
 * guest are live in the host (see cpu.h); everything here runs on the vCPU's
 * thread.
 */

enum cpu_step {
    STEP_OK,       /* executed; rip advanced */
    STEP_FAULT,    /* an exception was delivered to the guest instead */
    STEP_HALT,     /* HLT executed: activity is CPU_HALTED */
    STEP_SHUTDOWN, /* triple fault: activity is CPU_SHUTDOWN */
    STEP_UNKNOWN,  /* cannot be emulated (only when built without a feature):
                      engine reports it and stops the machine */
};

/*
 * Execute the instruction at c->rip completely (REP forms: until done, an
 * event bit is set in c->vcpu->events, or 4096 iterations, leaving exact
 * registers and rip on the instruction).  Exceptions are delivered through
 * the IDT inside.  Updates the interrupt shadow, RF and single-step (#DB).
 * Never returns an error for guest faults.
 */
enum cpu_step cpu_emulate(struct cpu *c);

/* Raise an exception from inside cpu_emulate, ops callbacks or helpers: never
 * returns; unwinds to the innermost cpu_try.  For #PF set c->cr2 first.
 * State must not have been changed by the failing instruction. */
_Noreturn void cpu_throw(struct cpu *c, unsigned vector);
_Noreturn void cpu_throw_code(struct cpu *c, unsigned vector, uint32_t code);

/* End the instruction unexecuted, to be begun again by the next step. */
_Noreturn void cpu_throw_again(struct cpu *c);

/*
 * Call fn(c, arg); if it throws, deliver the exception to the guest and
 * return STEP_FAULT (or STEP_SHUTDOWN), else what fn returned.  rip must be
 * that of the faulting instruction when the throw happens.
 */
enum cpu_step cpu_try(struct cpu *c, enum cpu_step (*fn)(struct cpu *, void *),
                      void *arg);

/* Deliver an exception raised by translated code (host signal or slow path);
 * rip names the instruction.  Handles double and triple faults. */
enum cpu_step cpu_deliver_exception(struct cpu *c, unsigned vector,
                                    bool has_error, uint32_t error);

/* Deliver external interrupt / NMI.  The caller has checked IF, shadow,
 * NMI blocking.  Wakes from HLT. */
enum cpu_step cpu_deliver_interrupt(struct cpu *c, unsigned vector);
enum cpu_step cpu_deliver_nmi(struct cpu *c);

/* Enter system management mode.  The caller has seen to it that the CPU is not
 * there already.  Wakes from HLT. */
void cpu_deliver_smi(struct cpu *c);

/* INIT and start-up IPI (SDM 3A 8.4, 9.1); power-on reset. */
void cpu_reset(struct cpu *c);
void cpu_init_signal(struct cpu *c); /* INIT: wait for SIPI unless BSP */
void cpu_sipi(struct cpu *c, uint8_t vector);

/*
 * For the engine's signal handler (SIGFPE, SIGILL, SIGSEGV, SIGBUS): when
 * *host_rip, the interrupted host instruction, is a vector or x87 instruction
 * that core/cpu runs natively for c, set it to where the guest exception is
 * raised and return true; the handler then just returns.
 */
bool cpu_native_fault(struct cpu *c, int signo, uint64_t *host_rip);

/* Free what natively run instructions needed (c->native).  Any thread, with
 * the vCPU stopped. */
void cpu_native_close(struct cpu *c);

/* True if an external interrupt may be taken now. */
static inline bool cpu_can_interrupt(const struct cpu *c)
{
    return (c->rflags & FLAG_IF) && !c->has_intr_shadow;
}

#endif
