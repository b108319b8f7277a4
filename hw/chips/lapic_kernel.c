/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APICs that are in the kernel: this device is where their state is
 * saved and loaded, in the form the software CPU's have, so that each can go
 * on as the other.  Both count the timer at 1 GHz.
 */
#include <errno.h>
#include <string.h>

#include "core/vm/kernel_lapic.h"
#include "core/vm/vm.h"
#include "hw/chips/lapic.h"

/* What a snapshot may hold: without delivery status and remote IRR. */
#define LVT_KEPT 0x7afffu
#define SVR_KEPT 0x1ffu

static const struct vm_kernel_lapic *service(const struct lapics *a)
{
    return vm_service(a->d->vm, "kernel-lapic");
}

static uint32_t divisor(uint32_t divide)
{
    uint32_t code = (divide & 3) | (divide >> 1 & 4);

    return code == 7 ? 1 : 2u << code;
}

static void take_one(struct lapic *l, const struct kernel_lapic_regs *k,
                     uint64_t now_ns)
{
    const uint32_t *r = k->reg;
    uint64_t past_ns;

    l->base = k->base;
    for (unsigned i = 0; i < 8; i++) {
        l->irr[i] = r[LAPIC_IRR + i];
        l->isr[i] = r[LAPIC_ISR + i];
        l->tmr[i] = r[LAPIC_TMR + i];
    }
    l->id = lapic_is_x2(l) ? l->index : r[LAPIC_ID] >> 24;
    l->tpr = r[LAPIC_TPR] & 0xff;
    l->ldr = r[LAPIC_LDR];
    l->dfr = r[LAPIC_DFR] | 0x0fffffffu;
    l->svr = r[LAPIC_SVR] & SVR_KEPT;
    l->esr = r[LAPIC_ESR] & 0xff;
    l->errors = 0;
    l->icr = (uint64_t)r[LAPIC_ICR2] << 32 | r[LAPIC_ICR];
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = r[LAPIC_LVT + i] & LVT_KEPT;
    l->divide = r[LAPIC_DIVIDE] & 0x0b;
    l->initial = r[LAPIC_INITIAL];
    l->deadline =
        LVT_TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_DEADLINE ? k->deadline : 0;
    past_ns =
        r[LAPIC_CURRENT] <= l->initial
            ? (uint64_t)(l->initial - r[LAPIC_CURRENT]) * divisor(l->divide)
            : 0;
    l->start_ns = l->initial == 0 ? 0 : past_ns < now_ns ? now_ns - past_ns : 0;
}

void lapic_kernel_take(struct lapics *a)
{
    const struct vm_kernel_lapic *s = service(a);
    unsigned count = vm_vcpu_count(a->d->vm);

    for (unsigned i = 0; s != NULL && i < count; i++)
        take_one(&a->cpu[i], s->regs(s->arg, i), clock_now_ns(a->d->vm));
}

static void give_one(struct lapic *l, struct kernel_lapic_regs *k)
{
    uint32_t *r = k->reg, version = r[LAPIC_VERSION];

    memset(r, 0, sizeof(k->reg));
    k->base = l->base;
    for (unsigned i = 0; i < 8; i++) {
        r[LAPIC_IRR + i] = l->irr[i];
        r[LAPIC_ISR + i] = l->isr[i];
        r[LAPIC_TMR + i] = l->tmr[i];
    }
    r[LAPIC_ID] = (lapic_is_x2(l) ? l->index : l->id) << 24;
    r[LAPIC_VERSION] = version;
    r[LAPIC_TPR] = l->tpr;
    r[LAPIC_LDR] = l->ldr;
    r[LAPIC_DFR] = l->dfr;
    r[LAPIC_SVR] = l->svr;
    r[LAPIC_ESR] = l->esr;
    r[LAPIC_ICR] = (uint32_t)l->icr;
    r[LAPIC_ICR2] = (uint32_t)(l->icr >> 32);
    for (unsigned i = 0; i < LVT_COUNT; i++)
        r[LAPIC_LVT + i] = l->lvt[i];
    r[LAPIC_DIVIDE] = l->divide;
    r[LAPIC_INITIAL] = l->initial;
    r[LAPIC_CURRENT] = lapic_timer_current(l);
    k->deadline = l->deadline;
}

int lapic_kernel_give(struct lapics *a, struct err *e)
{
    const struct vm_kernel_lapic *s = service(a);
    unsigned count = vm_vcpu_count(a->d->vm);
    int rc = 0;

    for (unsigned i = 0; s != NULL && i < count && rc == 0; i++) {
        give_one(&a->cpu[i], s->regs(s->arg, i));
        rc = s->put(s->arg, i, e);
    }
    return rc;
}
