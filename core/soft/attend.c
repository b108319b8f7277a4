/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/engine.h"

#include "core/cpu/emulate.h"
#include "core/cpu/host_print.h"
#include "core/vm/intr.h"
#include "core/vm/vm.h"

/*
 * Events of a vCPU: exits, exclusive sections, INIT, SIPI, NMI, interrupts;
 * and waiting for them.
 */

enum { IDLE_SPINS = 1000 }; /* about 50 us of PAUSE */

/* The events that could be served in the CPU's present state. */
static uint32_t served_events(const struct engine *eng)
{
    const struct cpu *c = &eng->cpu;
    uint32_t mask = VCPU_EXIT | VCPU_FLUSH;

    /* In SMM they wait for RSM: SDM volume 3C 31.3. */
    if (!c->is_smm) mask |= VCPU_INIT;
    if (c->activity == CPU_WAIT_SIPI) return mask | VCPU_SIPI;
    if (eng->v->is_stepping && c->activity == CPU_ACTIVE) return mask;
    if (c->activity == CPU_SHUTDOWN) return mask;
    /* It comes first, whatever it was: the next step delivers it. */
    if (c->has_pending_exception && c->activity == CPU_ACTIVE) return mask;
    if (!c->is_smm && !c->has_intr_shadow) mask |= VCPU_SMI;
    if (!c->is_nmi_blocked && !c->has_intr_shadow) mask |= VCPU_NMI;
    if (cpu_can_interrupt(c)) mask |= VCPU_INTR;
    return mask;
}

bool soft_has_event(const struct engine *eng)
{
    uint32_t ev = atomic_load_explicit(&eng->v->events, memory_order_relaxed);

    return ev && (ev & served_events(eng));
}

static void serve_init(struct engine *eng)
{
    struct vm *vm = eng->soft->vm;
    const struct lapic_ops *l;
    void *lapics;

    soft_leave(eng);
    vm_lock(vm);
    l = intr_lapic(vm, &lapics);
    if (l && l->init) l->init(lapics, eng->cpu.index);
    cpu_log_reset(&eng->cpu, "INIT");
    cpu_init_signal(&eng->cpu);
    vm_unlock(vm);
    soft_enter(eng);
    tlb_flush(eng, CPU_FLUSH_ALL, 0);
    eng->is_mode_stale = true;
}

static void serve_interrupt(struct engine *eng)
{
    struct vm *vm = eng->soft->vm;
    int vector;

    soft_leave(eng);
    vm_lock(vm);
    vector = intr_ack_locked(vm, eng->cpu.index);
    vm_unlock(vm);
    soft_enter(eng);
    if (vector < 0) return;
    eng->stat.interrupts++;
    cpu_deliver_interrupt(&eng->cpu, (unsigned)vector);
    eng->is_mode_stale = true;
}

/* In the order of SDM volume 3A table 6-2. */
bool soft_attend(struct engine *eng, enum soft_exit *why)
{
    struct cpu *c = &eng->cpu;
    struct vcpu *v = eng->v;
    uint32_t ev;

    if (atomic_exchange(&eng->attn, 0)) {
        /* Somebody may be waiting for a safe point. */
        soft_leave(eng);
        soft_enter(eng);
    }
    vcpu_take(v, VCPU_FLUSH);
    ev = atomic_load(&v->events);
    /* STI in translated code asks for attention again. */
    eng->is_waiting = ev != 0;
    ev &= served_events(eng);
    if ((ev & VCPU_EXIT) || atomic_load(&v->wants_exit)) {
        vcpu_take(v, VCPU_EXIT);
        *why = SOFT_EXIT_EVENT;
        return true;
    }
    if (ev & VCPU_SMI) {
        vcpu_take(v, VCPU_SMI);
        cpu_deliver_smi(c);
    } else if (ev & VCPU_INIT) {
        vcpu_take(v, VCPU_INIT);
        serve_init(eng);
    } else if (ev & VCPU_SIPI) {
        vcpu_take(v, VCPU_SIPI);
        cpu_sipi(c, atomic_load(&v->sipi_vector));
        eng->is_mode_stale = true;
    } else if (ev & VCPU_NMI) {
        vcpu_take(v, VCPU_NMI);
        cpu_deliver_nmi(c);
        eng->is_mode_stale = true;
    } else if (ev & VCPU_INTR) {
        serve_interrupt(eng);
    }
    if (c->activity == CPU_SHUTDOWN) {
        *why = SOFT_EXIT_SHUTDOWN;
        return true;
    }
    if (c->activity != CPU_ACTIVE) soft_idle(eng);
    return false;
}

void soft_idle(struct engine *eng)
{
    struct vcpu *v = eng->v;

    for (unsigned i = 0; i < IDLE_SPINS; i++) {
        if (soft_has_event(eng) || atomic_load(&eng->attn)) return;
        __builtin_ia32_pause();
    }
    soft_leave(eng);
    atomic_store(&v->is_halted, true);
    vcpu_wait(v, served_events(eng));
    atomic_store(&v->is_halted, false);
    soft_enter(eng);
}
