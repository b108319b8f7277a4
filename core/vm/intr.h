/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_INTR_H
#define ORRERY_VM_INTR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where interrupt controllers and CPUs meet.  Devices raise interrupts here;
 * who serves them depends on the accelerator: with the soft CPU the local
 * APICs are devices of ours (hw/chips/lapic.c) that register struct
 * lapic_ops; with KVM they are in the kernel and the accelerator installs
 * struct intr_sink.  VM lock held except where noted.
 */
struct vm;
struct vcpu;

/* Installed by the accelerator (KVM); NULL entries: the soft path. */
struct intr_sink {
    /* A message-signalled interrupt (IOAPIC, MSI): SDM 3A 10.11 format. */
    void (*msi)(struct vm *vm, uint64_t addr, uint32_t data);
    /* Output of the 8259 pair changed. */
    void (*pic_output)(struct vm *vm, bool level);
};

/* Installed by the soft local APIC device. */
struct lapic_ops {
    void (*msi)(void *lapics, uint64_t addr, uint32_t data);
    void (*pic_output)(void *lapics, bool level); /* LINT0 of the BSP */
    /* Highest deliverable vector of CPU n, moved from IRR to ISR; -1 none;
     * -2: ExtINT, ask the PIC. */
    int (*ack)(void *lapics, unsigned cpu);
    uint8_t (*get_tpr)(void *lapics, unsigned cpu); /* bits 7:0 */
    void (*set_tpr)(void *lapics, unsigned cpu, uint8_t tpr);
    /* x2APIC registers 0x800..0x8ff: 0, or -1 for #GP. */
    int (*msr_read)(void *lapics, unsigned cpu, unsigned reg, uint64_t *v);
    int (*msr_write)(void *lapics, unsigned cpu, unsigned reg, uint64_t v);
    void (*set_base)(void *lapics, unsigned cpu, uint64_t apic_base);
    uint64_t (*tsc_deadline)(void *lapics, unsigned cpu, bool set, uint64_t v);
    void (*init)(void *lapics, unsigned cpu); /* INIT signal: reset it */
};

void intr_set_sink_locked(struct vm *vm, const struct intr_sink *sink);
void intr_set_lapic_locked(struct vm *vm, const struct lapic_ops *ops,
                           void *lapics);
/* The PIC registers its acknowledge cycle (returns the vector, also for
 * spurious IRQ 7/15). */
void intr_set_pic_locked(struct vm *vm, int (*ack)(void *pic), void *pic);

/* For devices */
void intr_msi_locked(struct vm *vm, uint64_t addr, uint32_t data);
void intr_pic_output_locked(struct vm *vm, bool level);

/* For CPUs: vector to deliver to CPU n, or -1 if nothing (any more). */
int intr_ack_locked(struct vm *vm, unsigned cpu);
const struct lapic_ops *intr_lapic(struct vm *vm, void **lapics);

#endif
