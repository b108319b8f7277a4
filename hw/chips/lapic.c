/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APICs of all CPUs for the software CPU (with KVM they are in the
 * kernel).  One device, one MMIO page that shows each vCPU its own APIC.
 *
 * Document: Intel SDM volume 3A, chapter 10.  The timer runs off a 1 GHz bus
 * clock.  The 8259 pair is wired to LINT0 of CPU 0, whose LVT entry is ExtINT
 * after reset as firmware would set it, so that interrupts work before (and
 * without) any APIC set-up.  Version 0x14, six LVT entries, no EOI-broadcast
 * suppression.
 */
#include "hw/chips/lapic.h"

#include <errno.h>
#include <string.h>

#include "core/vm/intr.h"
#include "core/vm/ioapic.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

#define LAPIC_BASE_GPA UINT64_C(0xfee00000)
#define LAPIC_BYTES    0x1000u
#define LAPIC_VER      (0x14u | (LVT_COUNT - 1) << 16)
#define BASE_ADDR(v)   ((v)&UINT64_C(0x000ffffffffff000))
#define SVR_ENABLE     0x100u
#define SVR_DEFINED    0x1ffu

static void vec_set(uint32_t *set, unsigned v)
{
    set[v >> 5 & 7] |= 1u << (v & 31);
}

static void vec_clear(uint32_t *set, unsigned v)
{
    set[v >> 5 & 7] &= ~(1u << (v & 31));
}

static bool vec_has(const uint32_t *set, unsigned v)
{
    return (set[v >> 5 & 7] >> (v & 31) & 1) != 0;
}

/* Highest vector in the set, -1 if empty. */
static int vec_highest(const uint32_t *set)
{
    for (int i = 7; i >= 0; i--) {
        if (set[i] != 0) return i * 32 + 31 - __builtin_clz(set[i]);
    }
    return -1;
}

/* SDM 10.8.3.1 */
uint8_t lapic_ppr(const struct lapic *l)
{
    int served = vec_highest(l->isr);
    unsigned isrv = served < 0 ? 0 : (unsigned)served & 0xf0;

    return (l->tpr & 0xf0) >= isrv ? l->tpr & 0xff : isrv;
}

/* Vector the CPU may take now, -1 if none. */
static int lapic_deliverable(const struct lapic *l)
{
    int v = vec_highest(l->irr);

    if (!lapic_is_enabled(l) || v < 0) return -1;
    return (v & 0xf0) > (lapic_ppr(l) & 0xf0) ? v : -1;
}

/* The 8259 pair asks through LINT0, or past a disabled APIC. */
static bool lapic_has_extint(const struct lapic *l)
{
    uint32_t lint0 = l->lvt[LVT_LINT0];

    if (l->index != 0 || !l->all->pic_level) return false;
    if ((l->base & BASE_ENABLE) == 0) return true;
    return (lint0 & LVT_MASK) == 0 && LVT_DELIVERY(lint0) == DELIVER_EXTINT;
}

void lapic_update(struct lapic *l)
{
    struct vcpu *v = vm_vcpu(l->all->d->vm, l->index);

    if (v == NULL || l->all->is_kernel) return;
    if (lapic_has_extint(l) || lapic_deliverable(l) >= 0) {
        vcpu_raise(v, VCPU_INTR);
    } else {
        vcpu_lower(v, VCPU_INTR);
    }
}

void lapic_accept(struct lapic *l, unsigned vector, bool is_level)
{
    if (!lapic_is_enabled(l)) return;
    if (vector < 16) {
        lapic_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    vec_set(l->irr, vector);
    if (is_level) {
        vec_set(l->tmr, vector);
    } else {
        vec_clear(l->tmr, vector);
    }
    lapic_update(l);
}

void lapic_error(struct lapic *l, uint32_t bit)
{
    uint32_t lvt = l->lvt[LVT_ERROR];

    if ((l->errors & bit) != 0) return; /* told already */
    l->errors |= bit;
    /* An illegal vector here would be the next error: keep quiet. */
    if ((lvt & LVT_MASK) == 0 && LVT_VECTOR(lvt) >= 16)
        lapic_accept(l, LVT_VECTOR(lvt), false);
}

void lapic_local(struct lapic *l, enum lapic_lvt n)
{
    struct vcpu *v = vm_vcpu(l->all->d->vm, l->index);
    uint32_t lvt = l->lvt[n];

    if ((lvt & LVT_MASK) != 0 || v == NULL) return;
    switch (n == LVT_TIMER ? DELIVER_FIXED : LVT_DELIVERY(lvt)) {
    case DELIVER_FIXED: lapic_accept(l, LVT_VECTOR(lvt), false); break;
    case DELIVER_SMI: vcpu_raise(v, VCPU_SMI); break;
    case DELIVER_NMI: vcpu_raise(v, VCPU_NMI); break;
    default: break;
    }
}

static void lapic_pic_output(void *lapics, bool level)
{
    struct lapics *a = lapics;
    bool is_rising = level && !a->pic_level;

    a->pic_level = level;
    if (is_rising) lapic_local(&a->cpu[0], LVT_LINT0);
    lapic_update(&a->cpu[0]);
}

static int lapic_ack(void *lapics, unsigned cpu)
{
    struct lapics *a = lapics;
    struct lapic *l;
    int v;

    if (cpu >= VM_MAX_CPUS) return -1;
    l = &a->cpu[cpu];
    if (lapic_has_extint(l)) return -2;
    v = lapic_deliverable(l);
    if (v < 0) return -1;
    vec_clear(l->irr, (unsigned)v);
    vec_set(l->isr, (unsigned)v);
    lapic_update(l);
    return v;
}

static void lapic_eoi(struct lapic *l)
{
    int v = vec_highest(l->isr);

    if (v < 0) return;
    vec_clear(l->isr, (unsigned)v);
    if (vec_has(l->tmr, (unsigned)v))
        ioapic_eoi_locked(l->all->d->vm, (uint8_t)v);
    lapic_update(l);
}

/* ---- registers ---- */

static uint32_t lapic_id_reg(const struct lapic *l)
{
    return lapic_is_x2(l) ? l->index : l->id << 24;
}

/* False: there is no such register. */
static bool lapic_get(const struct lapic *l, unsigned reg, uint32_t *v)
{
    *v = 0;
    if (reg >= LAPIC_ISR && reg < LAPIC_ISR + 8) {
        *v = l->isr[reg - LAPIC_ISR];
        return true;
    }
    if (reg >= LAPIC_TMR && reg < LAPIC_TMR + 8) {
        *v = l->tmr[reg - LAPIC_TMR];
        return true;
    }
    if (reg >= LAPIC_IRR && reg < LAPIC_IRR + 8) {
        *v = l->irr[reg - LAPIC_IRR];
        return true;
    }
    if (reg >= LAPIC_LVT && reg < LAPIC_LVT + LVT_COUNT) {
        *v = l->lvt[reg - LAPIC_LVT];
        return true;
    }
    switch (reg) {
    case LAPIC_ID: *v = lapic_id_reg(l); return true;
    case LAPIC_VERSION: *v = LAPIC_VER; return true;
    case LAPIC_TPR: *v = l->tpr; return true;
    case LAPIC_APR:
    case LAPIC_PPR: *v = lapic_ppr(l); return true;
    case LAPIC_LDR: *v = l->ldr; return true;
    case LAPIC_DFR: *v = l->dfr; return true;
    case LAPIC_SVR: *v = l->svr; return true;
    case LAPIC_ESR: *v = l->esr; return true;
    case LAPIC_ICR: *v = (uint32_t)l->icr; return true;
    case LAPIC_ICR2: *v = (uint32_t)(l->icr >> 32); return true;
    case LAPIC_INITIAL: *v = l->initial; return true;
    case LAPIC_CURRENT: *v = lapic_timer_current(l); return true;
    case LAPIC_DIVIDE: *v = l->divide; return true;
    default: return false;
    }
}

static void lapic_set_svr(struct lapic *l, uint32_t v)
{
    l->svr = v & SVR_DEFINED;
    if ((v & SVR_ENABLE) == 0) { /* SDM 10.4.7.2: all LVT masks are set */
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            l->lvt[i] |= LVT_MASK;
        }
        lapic_timer_arm(l);
    }
    lapic_update(l);
}

static void lapic_set_lvt(struct lapic *l, unsigned n, uint32_t v)
{
    /* Bits that can be written, SDM figure 10-8. */
    static const uint32_t defined[LVT_COUNT] = {
        [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PMC] = 0x107ff,
        [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
    };
    uint32_t was;

    if (n >= LVT_COUNT) return;
    was = l->lvt[n];
    v &= defined[n];
    if (n == LVT_TIMER && LVT_TIMER_MODE(v) == 3) v &= ~0x60000u;
    if ((l->svr & SVR_ENABLE) == 0) v |= LVT_MASK;
    l->lvt[n] = v;
    if (n == LVT_TIMER) lapic_timer_lvt_changed(l, was);
    if (n == LVT_LINT0) lapic_update(l);
}

/* Registers that both interfaces write alike.  False: no such register. */
static bool lapic_put(struct lapic *l, unsigned reg, uint32_t v)
{
    if (reg >= LAPIC_LVT && reg < LAPIC_LVT + LVT_COUNT) {
        lapic_set_lvt(l, reg - LAPIC_LVT, v);
        return true;
    }
    switch (reg) {
    case LAPIC_TPR:
        l->tpr = v & 0xff;
        lapic_update(l);
        return true;
    case LAPIC_EOI: lapic_eoi(l); return true;
    case LAPIC_SVR: lapic_set_svr(l, v); return true;
    case LAPIC_ESR: /* a write shows what has come together */
        l->esr = l->errors;
        l->errors = 0;
        return true;
    case LAPIC_INITIAL: lapic_timer_write_initial(l, v); return true;
    case LAPIC_DIVIDE: lapic_timer_write_divide(l, v); return true;
    default: return false;
    }
}

static struct lapic *lapic_current(struct lapics *a)
{
    const struct vcpu *v = vcpu_current();
    unsigned cpu = v != NULL ? v->index : 0; /* the monitor sees CPU 0 */

    return &a->cpu[cpu < VM_MAX_CPUS ? cpu : 0];
}

static bool lapic_has_mmio(const struct lapic *l)
{
    return (l->base & BASE_ENABLE) != 0 && !lapic_is_x2(l);
}

static uint64_t lapic_mmio_read(void *arg, uint64_t offset, unsigned bytes)
{
    struct lapic *l = lapic_current(arg);
    uint32_t v;

    (void)bytes;
    if (!lapic_has_mmio(l)) return UINT32_MAX;
    if ((offset & 15) != 0) return 0; /* undefined by the SDM */
    if (!lapic_get(l, (unsigned)(offset >> 4), &v))
        lapic_error(l, ESR_REGISTER);
    return v;
}

static void lapic_mmio_write(void *arg, uint64_t offset, unsigned bytes,
                             uint64_t v)
{
    struct lapic *l = lapic_current(arg);

    (void)bytes;
    if (!lapic_has_mmio(l) || (offset & 15) != 0) return;
    switch (offset >> 4) {
    case LAPIC_ID: l->id = v >> 24 & 0xff; break;
    case LAPIC_LDR: l->ldr = v & 0xff000000u; break;
    case LAPIC_DFR: l->dfr = (uint32_t)v | 0x0fffffffu; break;
    case LAPIC_ICR:
        lapic_write_icr(l, (l->icr & ~(uint64_t)UINT32_MAX) | (uint32_t)v);
        break;
    case LAPIC_ICR2:
        l->icr = (l->icr & UINT32_MAX) | (v & 0xff000000u) << 32;
        break;
    default:
        if (!lapic_put(l, (unsigned)(offset >> 4), (uint32_t)v))
            lapic_error(l, ESR_REGISTER);
        break;
    }
}

static const struct mem_ops lapic_mmio_ops = {
    .read = lapic_mmio_read,
    .write = lapic_mmio_write,
    .min_bytes = 4,
    .max_bytes = 4,
};

/* ---- x2APIC, SDM table 10-6 ---- */

static int lapic_msr_read(void *lapics, unsigned cpu, unsigned msr, uint64_t *v)
{
    struct lapics *a = lapics;
    unsigned reg = msr - 0x800;
    struct lapic *l;
    uint32_t v32;

    if (cpu >= VM_MAX_CPUS || reg > 0xff) return -1;
    l = &a->cpu[cpu];
    if (!lapic_is_x2(l)) return -1;
    if (reg == LAPIC_ICR) {
        *v = l->icr;
        return 0;
    }
    if (reg == LAPIC_DFR || reg == LAPIC_ICR2 || reg == LAPIC_APR) return -1;
    if (!lapic_get(l, reg, &v32)) return -1;
    *v = v32;
    return 0;
}

static int lapic_msr_write(void *lapics, unsigned cpu, unsigned msr, uint64_t v)
{
    struct lapics *a = lapics;
    unsigned reg = msr - 0x800;
    struct lapic *l;

    if (cpu >= VM_MAX_CPUS || reg > 0xff) return -1;
    l = &a->cpu[cpu];
    if (!lapic_is_x2(l)) return -1;
    if (reg == LAPIC_ICR) {
        lapic_write_icr(l, v);
        return 0;
    }
    if (v > UINT32_MAX) return -1;
    if (reg == LAPIC_SELF_IPI) {
        if (v > 0xff) return -1;
        if (v < 16) {
            lapic_error(l, ESR_SEND_ILLEGAL);
        } else {
            lapic_accept(l, (unsigned)v, false);
        }
        return 0;
    }
    /* Reserved bits. */
    if ((reg == LAPIC_EOI || reg == LAPIC_ESR) && v != 0) return -1;
    if (reg == LAPIC_TPR && v > 0xff) return -1;
    return lapic_put(l, reg, (uint32_t)v) ? 0 : -1;
}

/* ---- CPU side ---- */

static uint8_t lapic_get_tpr(void *lapics, unsigned cpu)
{
    const struct lapics *a = lapics;

    return cpu < VM_MAX_CPUS ? a->cpu[cpu].tpr & 0xff : 0;
}

static void lapic_set_tpr(void *lapics, unsigned cpu, uint8_t tpr)
{
    struct lapics *a = lapics;

    if (cpu >= VM_MAX_CPUS || a->cpu[cpu].tpr == tpr) return;
    a->cpu[cpu].tpr = tpr;
    lapic_update(&a->cpu[cpu]);
}

static uint64_t lapic_tsc_deadline(void *lapics, unsigned cpu, bool set,
                                   uint64_t v)
{
    struct lapics *a = lapics;

    return cpu < VM_MAX_CPUS ? lapic_timer_deadline(&a->cpu[cpu], set, v) : 0;
}

static void lapic_set_x2_ldr(struct lapic *l)
{
    l->ldr = (l->index >> 4) << 16 | 1u << (l->index & 15);
}

void lapic_init_regs(struct lapic *l)
{
    memset(l->irr, 0, sizeof(l->irr));
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    l->tpr = l->ldr = l->divide = 0;
    l->dfr = UINT32_MAX;
    l->svr = 0xff;
    l->esr = l->errors = 0;
    l->icr = 0;
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        l->lvt[i] = LVT_MASK;
    }
    if (l->index == 0) l->lvt[LVT_LINT0] = DELIVER_EXTINT << 8;
    l->initial = 0;
    l->deadline = 0;
    l->start_ns = 0;
    timer_disarm_locked(&l->timer);
    if (lapic_is_x2(l)) lapic_set_x2_ldr(l);
    lapic_update(l);
}

static void lapic_init(void *lapics, unsigned cpu)
{
    struct lapics *a = lapics;

    if (cpu < VM_MAX_CPUS) lapic_init_regs(&a->cpu[cpu]);
}

/* The page follows CPU 0; systems keep all CPUs' at one address. */
static void lapic_move(struct lapics *a, uint64_t base)
{
    if (a->is_kernel || BASE_ADDR(base) == a->mmio_base) return;
    a->mmio_base = BASE_ADDR(base);
    mem_set_offset_locked(a->d->vm, &a->mmio, a->mmio_base);
}

static void lapic_set_base(void *lapics, unsigned cpu, uint64_t base)
{
    struct lapics *a = lapics;
    struct lapic *l;
    bool was_x2;

    if (cpu >= VM_MAX_CPUS) return;
    l = &a->cpu[cpu];
    was_x2 = lapic_is_x2(l);
    if ((base & BASE_ENABLE) == 0) base &= ~(uint64_t)BASE_X2APIC;
    if (l->base == base) return;
    if ((l->base & BASE_ENABLE) != 0 && (base & BASE_ENABLE) == 0) {
        l->base = base;
        lapic_init_regs(l); /* SDM 10.4.3: state is lost */
    }
    l->base = base;
    if (lapic_is_x2(l) && !was_x2) {
        lapic_set_x2_ldr(l);
        l->icr &= UINT32_MAX;
    }
    if (cpu == 0) lapic_move(a, base);
    lapic_update(l);
}

static const struct lapic_ops lapic_ops = {
    .msi = lapic_msi,
    .pic_output = lapic_pic_output,
    .ack = lapic_ack,
    .get_tpr = lapic_get_tpr,
    .set_tpr = lapic_set_tpr,
    .msr_read = lapic_msr_read,
    .msr_write = lapic_msr_write,
    .set_base = lapic_set_base,
    .tsc_deadline = lapic_tsc_deadline,
    .init = lapic_init,
};

/* ---- device ---- */

static void lapic_reset(struct dev *d)
{
    struct lapics *a = d->s;

    for (unsigned i = 0; i < VM_MAX_CPUS; i++) {
        a->cpu[i].base = LAPIC_BASE_GPA | BASE_ENABLE | (i == 0 ? BASE_BSP : 0);
        a->cpu[i].id = i;
        lapic_init_regs(&a->cpu[i]);
    }
    lapic_move(a, LAPIC_BASE_GPA);
}

static int lapic_create(struct dev *d, struct err *e)
{
    const struct vm_accel_ops *accel = vm_accel(d->vm, NULL);
    struct lapics *a = d->s;

    (void)e;
    a->d = d;
    a->is_kernel = accel != NULL && accel->has_kernel_lapic;
    for (unsigned i = 0; i < VM_MAX_CPUS; i++) {
        a->cpu[i].index = i;
        a->cpu[i].all = a;
        lapic_timer_init(&a->cpu[i]);
    }
    if (a->is_kernel) {
        lapic_reset(d);
        return 0;
    }
    a->mmio_base = LAPIC_BASE_GPA;
    mem_init_mmio(&a->mmio, "apic-msi", LAPIC_BYTES, &lapic_mmio_ops, a);
    mem_add_locked(d->vm, mem_root(d->vm), LAPIC_BASE_GPA, &a->mmio, 2);
    intr_set_lapic_locked(d->vm, &lapic_ops, a);
    vm_add_info(d->vm, "lapic", "show the local APICs", lapic_print, a);
    lapic_reset(d);
    return 0;
}

static void lapic_destroy(struct dev *d)
{
    struct lapics *a = d->s;

    for (unsigned i = 0; i < VM_MAX_CPUS; i++) {
        timer_disarm_locked(&a->cpu[i].timer);
    }
    if (a->is_kernel) return;
    intr_set_lapic_locked(d->vm, NULL, NULL);
    mem_del_locked(d->vm, &a->mmio);
}

static int lapic_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct lapics *a = d->s;
    uint64_t now_ns = clock_now_ns(d->vm);

    (void)version;
    for (unsigned i = 0; i < VM_MAX_CPUS; i++) {
        struct lapic *l = &a->cpu[i];

        if (l->start_ns > now_ns)
            return err_set(e, -EINVAL, "cpu %u: start_ns is not past", i);
        if (LVT_TIMER_MODE(l->lvt[LVT_TIMER]) == 3)
            return err_set(e, -EINVAL, "cpu %u: timer mode is 3", i);
        l->irr[0] &= ~0xffffu; /* vectors 0..15 are illegal */
        l->isr[0] &= ~0xffffu;
        if (a->is_kernel) continue;
        lapic_timer_arm(l);
        lapic_update(l);
    }
    if (a->is_kernel) return lapic_kernel_give(a, e);
    lapic_move(a, a->cpu[0].base);
    return 0;
}

static void lapic_saving(struct dev *d)
{
    struct lapics *a = d->s;

    if (a->is_kernel) lapic_kernel_take(a);
}

static const struct field lapic_cpu_state[] = {
    U64(lapic, base),
    UINT_ARRAY(lapic, irr, UINT32_MAX),
    UINT_ARRAY(lapic, isr, UINT32_MAX),
    UINT_ARRAY(lapic, tmr, UINT32_MAX),
    U32_MAX(lapic, id, 0xff),
    U32_MAX(lapic, tpr, 0xff),
    U32(lapic, ldr),
    U32(lapic, dfr),
    U32_MAX(lapic, svr, SVR_DEFINED),
    U32_MAX(lapic, divide, 0x0b),
    U32_MAX(lapic, esr, 0xff),
    U32_MAX(lapic, errors, 0xff),
    U64(lapic, icr),
    UINT_ARRAY(lapic, lvt, 0x7ffff),
    U32(lapic, initial),
    U64(lapic, start_ns),
    U64(lapic, deadline),
    STATE_END,
};

static const struct field lapic_state[] = {
    STRUCT_ARRAY(lapics, cpu, lapic_cpu_state),
    STATE_END,
};

const struct dev_class lapic_class = {
    .name = "apic",
    .title = "local APICs",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct lapics),
    .state = lapic_state,
    .version = 1,
    .is_internal = true,
    .create = lapic_create,
    .reset = lapic_reset,
    .loaded = lapic_loaded,
    .saving = lapic_saving,
    .destroy = lapic_destroy,
};
