/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"
#include "core/soft/emit.h"
#include "core/soft/host_signal.h"

/* A host fault in translated code: registers go to struct cpu, and the
 * context leaves for the run loop with the instruction to be emulated. */

void soft_exit_saved(void);

static bool leave_translated(struct engine *eng, struct host_fault *f)
{
    struct code_cache *c = eng->soft->cache;
    uint8_t *pc = (uint8_t *)f->rip;
    struct block *b;

    if (!c || pc < c->exec || pc >= c->exec + c->bytes) return false;
    b = code_block_at(c, pc);
    if (!b) return false;
    for (int i = 0; i < 12; i++)
        eng->cpu.gpr[i] = f->gpr[i];
    eng->cpu.gpr[GPR_SP] = f->gpr[H_GUEST_SP];
    eng->cpu.gpr[GPR_R12] = f->gpr[H_GUEST_R12];
    if (b->has_loop && pc >= b->pad + b->loop_from) {
        soft_unswap(&eng->cpu, b->swaps);
    }
    eng->host_flags = f->flags;
    eng->cpu.rip = code_guest_rip(c, b, pc);
    eng->cause = LEAVE_EMULATE;
    eng->link = 0;
    eng->stat.signals++;
    f->rip = (uint64_t)soft_exit_saved;
    f->flags &= ~(uint64_t)(FLAG_DF | FLAG_TF | FLAG_AC);
    return true;
}

bool soft_host_fault(struct host_fault *f)
{
    struct vcpu *v = vcpu_current();
    struct engine *eng = v ? v->engine : NULL;

    if (!eng || eng->is_outside) return false;
    return cpu_native_fault(&eng->cpu, f->signo, &f->rip) ||
           leave_translated(eng, f);
}
