/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/engine.h"

#include "core/base/log.h"
#include "core/cpu/emulate.h"
#include "core/cpu/host_print.h"
#include "core/soft/host_signal.h"
#include "core/soft/verify.h"
#include "core/vm/vm.h"

/*
 * The loop of one vCPU.  Translated code runs until it meets something that
 * is not rewritten; that one instruction is emulated, and so on.  In between
 * events are looked at: translated code leaves when attn is set, which
 * soft_kick does; an event that cannot be served yet (interrupt with IF clear)
 * is looked for again after each emulated instruction, as only those change
 * IF.
 */

enum { XSAVE_MASK = 7 }; /* x87, SSE, AVX */

void soft_vector_save(struct cpu *c)
{
    static const uint32_t plain_mxcsr = 0x1f80;

    __asm__ volatile("xsave64 %0\n\t"
                     "fninit\n\t"
                     "ldmxcsr %1\n\t"
                     "vzeroupper"
                     : "+m"(c->xsave)
                     : "m"(plain_mxcsr), "a"(XSAVE_MASK), "d"(0)
                     : "memory");
}

void soft_vector_load(struct cpu *c)
{
    __asm__ volatile("xrstor64 %0"
                     :
                     : "m"(c->xsave), "a"(XSAVE_MASK), "d"(0)
                     : "memory");
}

void soft_leave(struct engine *eng)
{
    if (eng->is_ahead) verify_stop(eng);
    soft_vector_save(&eng->cpu);
    eng->is_outside = true;
    vcpu_leave(eng->v);
    if (eng->verify) verify_turn_end(eng->soft->turn);
}

void soft_enter(struct engine *eng)
{
    if (eng->verify) verify_turn_begin(eng->soft->turn);
    vcpu_enter(eng->v);
    eng->is_outside = false;
    soft_vector_load(&eng->cpu);
}

void soft_kick(struct vcpu *v)
{
    struct engine *eng = v->engine;

    if (eng) atomic_store(&eng->attn, 1);
}

static void set_gs_base(void *p)
{
    __asm__ volatile("wrgsbase %0" : : "r"(p) : "memory");
}

uint64_t soft_tsc(const struct engine *eng)
{
    uint64_t t = __builtin_ia32_rdtsc();

    if (eng->tsc_ratio != 0)
        t = (uint64_t)((unsigned __int128)t * eng->tsc_ratio >> 48);
    return t + eng->tsc_offset;
}

/* Breakpoints on data are watched ranges, those on I/O met in emulation. */
static bool has_code_breakpoint(const struct cpu *c)
{
    for (unsigned n = 0; n < 4; n++) {
        if (cpu_break_kind(c, n) == BREAK_EXEC) return true;
    }
    return false;
}

static bool must_emulate(const struct engine *eng)
{
    const struct cpu *c = &eng->cpu;

    return eng->is_single || c->has_intr_shadow || (c->rflags & FLAG_TF) ||
           c->has_pending_exception ||
           ((c->dr[7] & DR7_ENABLES) && has_code_breakpoint(c)) ||
           ((c->rflags & FLAG_AC) && (c->cr0 & CR0_AM) && cpu_cpl(c) == 3);
}

static void log_step(struct engine *eng)
{
    soft_vector_save(&eng->cpu);
    cpu_log_step(&eng->cpu);
    soft_vector_load(&eng->cpu);
}

static enum soft_exit run_loop(struct engine *eng)
{
    struct cpu *c = &eng->cpu;
    enum soft_exit why = SOFT_EXIT_EVENT;
    enum cpu_step step;

    for (;;) {
        if (eng->watch_hits && soft_met_watch(eng)) return SOFT_EXIT_DEBUG;
        if (atomic_load_explicit(&eng->attn, memory_order_relaxed) ||
            soft_has_event(eng) || c->activity != CPU_ACTIVE) {
            if (soft_attend(eng, &why)) return why;
            if (c->activity != CPU_ACTIVE) continue;
        }
        if (!eng->v->is_stepping && soft_at_break(eng)) return SOFT_EXIT_DEBUG;
        if (eng->log & (LOG_EXEC | LOG_CPU)) log_step(eng);
        if (must_emulate(eng) || eng->v->is_stepping) {
            step = cpu_emulate(c);
            eng->stat.emulated++;
            eng->is_mode_stale = true;
        } else {
            step = soft_run_translated(eng);
        }
        if (step == STEP_SHUTDOWN) return SOFT_EXIT_SHUTDOWN;
        if (step == STEP_UNKNOWN) return SOFT_EXIT_ERROR;
        if (eng->v->is_stepping) {
            if (!soft_met_watch(eng)) eng->stop.why = VM_STOP_STEP;
            return SOFT_EXIT_DEBUG;
        }
    }
}

enum soft_exit soft_run(struct engine *eng)
{
    enum soft_exit why;

    vcpu_set_current(eng->v);
    eng->signal_stack = host_signal_stack_new();
    if (!eng->signal_stack) {
        soft_fail(eng, "no memory for a signal stack");
        return SOFT_EXIT_ERROR;
    }
    eng->log = log_items();
    eng->is_single = eng->soft->options.is_interpreted ||
                     eng->soft->options.is_single ||
                     (eng->log & (LOG_EXEC | LOG_CPU));
    set_gs_base(eng);
    soft_enter(eng);
    why = run_loop(eng);
    soft_leave(eng);
    host_signal_stack_free(eng->signal_stack);
    return why;
}
