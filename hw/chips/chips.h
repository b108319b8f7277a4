/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_CHIPS_CHIPS_H
#define ORRERY_HW_CHIPS_CHIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/vm/dev.h"
#include "core/vm/irq.h"

/*
 * The classic PC chips.  The machine makes each with dev_add() and hands in
 * lines with the connect functions; a device that was handed nothing drives
 * no line.  d is always a device of the class named in the function.  VM lock
 * held, or before the machine runs.
 */
struct vm;

extern const struct dev_class pic_class;       /* isa-i8259: 8259A pair */
extern const struct dev_class pit_class;       /* isa-pit, port 0x61 too */
extern const struct dev_class ioapic_class;    /* ioapic: 82093AA */
extern const struct dev_class lapic_class;     /* apic: all CPUs' local APICs */
extern const struct dev_class rtc_class;       /* mc146818rtc */
extern const struct dev_class i8042_class;     /* i8042, keyboard and mouse */
extern const struct dev_class port92_class;    /* port92: A20, fast reset */
extern const struct dev_class ferr_class;      /* ferr: x87 errors, IRQ 13 */
extern const struct dev_class dma8237_class;   /* i8257: both controllers */
extern const struct dev_class hpet_class;      /* hpet */
extern const struct dev_class uart_class;      /* isa-serial */
extern const struct dev_class parallel_class;  /* isa-parallel */
extern const struct dev_class debugcon_class;  /* isa-debugcon */
extern const struct dev_class debugexit_class; /* isa-debug-exit */

/*
 * ISA interrupt lines: the machine publishes an array of 16 struct irq_line
 * (each reaching 8259 and I/O APIC) as service "isa-irqs" before it makes ISA
 * devices; those with an irq property connect themselves in create, so that
 * -device isa-serial works.  Line n, or a line to nowhere.
 */
struct irq_line isa_irq_line(struct vm *vm, unsigned n);

/* 8259A pair at 0x20, 0xa0, ELCR at 0x4d0.  IRQ n, 0..15 except 2. */
struct irq_line pic_input(struct dev *d, unsigned n);
void pic_set_irq(struct dev *d, unsigned n, bool level);

/* 82C54 at 0x40 and port 0x61.  Line: IRQ 0 (channel 0 output). */
void pit_connect(struct dev *d, struct irq_line irq);
/* Speaker: called with the frequency (0 = silent) when it changes. */
void pit_set_speaker(struct dev *d, void (*fn)(void *arg, unsigned hz),
                     void *arg);

/* 82093AA at 0xfec00000; also service "ioapic" (core/vm/ioapic.h).  Pin n,
 * 0..23; on a PC IRQ 0 comes in on pin 2. */
struct irq_line ioapic_input(struct dev *d, unsigned pin);
void ioapic_set_pin(struct dev *d, unsigned pin, bool level);

/* MC146818A at 0x70.  Line: IRQ 8.  index 0..127. */
void rtc_connect(struct dev *d, struct irq_line irq);
void rtc_set_cmos(struct dev *d, unsigned index, uint8_t value);
uint8_t rtc_get_cmos(struct dev *d, unsigned index);

/* 8042 at 0x60, 0x64 with keyboard and mouse, fed by vm_input().  Lines:
 * IRQ 1, IRQ 12. */
void i8042_connect(struct dev *d, struct irq_line kbd, struct irq_line aux);

/* Keyboard controller's half of the A20 gate: the line is this OR port 92.
 * Works without a port92 device too. */
void port92_set_kbd_a20(struct vm *vm, bool on);

/*
 * 8237A pair at 0x00 and 0xc0 with page registers.  Channels 0..3 move
 * octets, 5..7 words (bytes even).
 */
/* The channel is unmasked and its controller enabled. */
bool dma8237_is_ready(struct dev *d, unsigned channel);
/* Called when a channel becomes ready.  One client per channel. */
void dma8237_set_client(struct dev *d, unsigned channel,
                        void (*ready)(void *arg), void *arg);
/*
 * The device raises DREQ and moves up to bytes octets: into guest memory
 * (to_memory) or from it into buf.  Stops at terminal count, which is
 * reported in *is_tc (may be NULL).  Returns octets moved; 0 if the channel is
 * not ready or programmed for the other direction.  Verify transfers count
 * without touching memory (buf is zeroed when reading).
 */
size_t dma8237_transfer(struct dev *d, unsigned channel, bool to_memory,
                        void *buf, size_t bytes, bool *is_tc);

/*
 * HPET at 0xfed00000.  irq0, irq8: where timers 0 and 1 go under legacy
 * replacement (and the PIT and RTC otherwise); gsi: 24 lines, I/O APIC pins.
 * The machine connects PIT and RTC to hpet_legacy_input(0) and (8).
 */
void hpet_connect(struct dev *d, struct irq_line irq0, struct irq_line irq8,
                  const struct irq_line *gsi);
struct irq_line hpet_legacy_input(struct dev *d, unsigned n);

/* 16550A.  Properties iobase, irq, index, chardev.  Replaces the line the irq
 * property chose. */
void uart_connect(struct dev *d, struct irq_line irq);
void parallel_connect(struct dev *d, struct irq_line irq);

#endif
