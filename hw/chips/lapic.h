/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_CHIPS_LAPIC_H
#define ORRERY_HW_CHIPS_LAPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/vm/clock.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"

/*
 * Inside of the soft local APICs (hw/chips/lapic*.c alone).  Document: Intel
 * SDM volume 3A, chapter 10 (APIC).  VM lock held for everything.
 */

/* Bus clock that the timer divides: one tick a nanosecond. */
#define LAPIC_BUS_HZ UINT64_C(1000000000)

/* Register offsets / 16, SDM table 10-1; x2APIC MSR 0x800 + this */
enum lapic_reg {
    LAPIC_ID = 0x02,
    LAPIC_VERSION = 0x03,
    LAPIC_TPR = 0x08,
    LAPIC_APR = 0x09,
    LAPIC_PPR = 0x0a,
    LAPIC_EOI = 0x0b,
    LAPIC_LDR = 0x0d,
    LAPIC_DFR = 0x0e,
    LAPIC_SVR = 0x0f,
    LAPIC_ISR = 0x10,
    LAPIC_TMR = 0x18,
    LAPIC_IRR = 0x20,
    LAPIC_ESR = 0x28,
    LAPIC_ICR = 0x30,
    LAPIC_ICR2 = 0x31,
    LAPIC_LVT = 0x32, /* timer, thermal, counters, LINT0, LINT1, error */
    LAPIC_INITIAL = 0x38,
    LAPIC_CURRENT = 0x39,
    LAPIC_DIVIDE = 0x3e,
    LAPIC_SELF_IPI = 0x3f,
};
enum lapic_lvt {
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PMC,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
    LVT_COUNT
};

#define LVT_VECTOR(v)     ((v)&0xff)
#define LVT_DELIVERY(v)   ((v) >> 8 & 7)
#define LVT_MASK          0x10000u
#define LVT_TIMER_MODE(v) ((v) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

enum lapic_delivery {
    DELIVER_FIXED,
    DELIVER_LOWEST,
    DELIVER_SMI,
    DELIVER_NMI = 4,
    DELIVER_INIT,
    DELIVER_SIPI,
    DELIVER_EXTINT,
};

#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER        0x80u

#define BASE_BSP    0x100u
#define BASE_X2APIC 0x400u
#define BASE_ENABLE 0x800u

struct lapics;

struct lapic {
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t irr[8], isr[8], tmr[8];
    uint32_t id; /* as in the xAPIC register, shifted down */
    uint32_t tpr, ldr, dfr, svr, divide;
    uint32_t esr, errors; /* errors: not shown in esr yet */
    uint64_t icr;
    uint32_t lvt[LVT_COUNT];
    uint32_t initial;  /* timer count, 0 = stopped */
    uint64_t start_ns; /* when it was loaded */
    uint64_t deadline; /* TSC value, 0 = none */
    /* not saved */
    unsigned index;
    struct lapics *all;
    struct timer timer;
    uint64_t fire_ns; /* next expiry of a count */
};

struct lapics {
    struct lapic cpu[VM_MAX_CPUS];
    struct dev *d;
    struct mem_region mmio;
    uint64_t mmio_base;
    bool pic_level;
    bool is_kernel; /* the accelerator has them; state alone is here */
};

/* lapic.c */
static inline bool lapic_is_x2(const struct lapic *l)
{
    return (l->base & (BASE_ENABLE | BASE_X2APIC)) ==
           (BASE_ENABLE | BASE_X2APIC);
}
static inline bool lapic_is_enabled(const struct lapic *l)
{
    return (l->base & BASE_ENABLE) != 0 && (l->svr & 0x100) != 0;
}
/* Accept a fixed interrupt. */
void lapic_accept(struct lapic *l, unsigned vector, bool is_level);
/* Raise the interrupt of a local vector table entry. */
void lapic_local(struct lapic *l, enum lapic_lvt n);
/* Recompute the interrupt request to the CPU. */
void lapic_update(struct lapic *l);
void lapic_error(struct lapic *l, uint32_t bit);
uint8_t lapic_ppr(const struct lapic *l);
/* Registers and timer to their state after INIT. */
void lapic_init_regs(struct lapic *l);

/* lapic_kernel.c: from the kernel's into these, and back. */
void lapic_kernel_take(struct lapics *a);
int lapic_kernel_give(struct lapics *a, struct err *e);

/* lapic_print.c: `info lapic`, all CPUs */
void lapic_print(void *lapics, FILE *out);

/* lapic_ipi.c: send a message; dest as the sender wrote it. */
struct lapic_message {
    uint32_t dest;
    bool is_logical, is_level, is_x2; /* is_x2: 32-bit destination */
    uint8_t delivery, vector;
};
void lapic_deliver(struct lapics *a, const struct lapic_message *m);
void lapic_write_icr(struct lapic *l, uint64_t icr);
void lapic_msi(void *lapics, uint64_t addr, uint32_t data);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
uint32_t lapic_timer_current(const struct lapic *l);
void lapic_timer_write_initial(struct lapic *l, uint32_t v);
void lapic_timer_write_divide(struct lapic *l, uint32_t v);
/* The timer's LVT entry was changed from `was`. */
void lapic_timer_lvt_changed(struct lapic *l, uint32_t was);
uint64_t lapic_timer_deadline(struct lapic *l, bool set, uint64_t v);
void lapic_timer_arm(struct lapic *l); /* after loading */

#endif
