/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel port (SPP) with a printer that takes every octet at once and
 * passes it to a character device.
 *
 * Document: IBM PC/AT Technical Reference, "Parallel Port"; IEEE 1284
 * compatibility mode.
 */
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/host/chardev.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/* Status register: what a ready printer shows */
#define STATUS_NOT_ERROR 0x08
#define STATUS_SELECTED  0x10
#define STATUS_NOT_ACK   0x40
#define STATUS_NOT_BUSY  0x80
#define STATUS_READY \
    (STATUS_NOT_ERROR | STATUS_SELECTED | STATUS_NOT_ACK | STATUS_NOT_BUSY)
/* Control register */
#define CONTROL_STROBE 0x01
#define CONTROL_IRQ    0x10
#define CONTROL_INPUT  0x20 /* data lines are read */
#define CONTROL_BITS   0x3f

struct parallel {
    uint8_t data, control;
    /* properties */
    uint32_t iobase, irq_number, number;
    char *chardev;
    struct chardev *chr;
    struct irq_line irq;
};

static uint32_t parallel_read(void *arg, unsigned port, unsigned bytes)
{
    const struct parallel *p = arg;

    (void)bytes;
    switch (port) {
    case 0: return (p->control & CONTROL_INPUT) != 0 ? 0xff : p->data;
    case 1: return STATUS_READY | 0x07; /* reserved bits read as ones */
    case 2: return p->control | 0xc0;
    default: return 0xff;
    }
}

static void parallel_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct parallel *p = arg;
    bool is_strobe;

    (void)bytes;
    if (port == 0) p->data = v & 0xff;
    if (port != 2) return;
    is_strobe = (v & ~(uint32_t)p->control & CONTROL_STROBE) != 0;
    p->control = v & CONTROL_BITS;
    if (!is_strobe) return;
    if (p->chr != NULL) chardev_write(p->chr, &p->data, 1);
    /* ACK pulses; its end interrupts. */
    if ((p->control & CONTROL_IRQ) != 0) {
        irq_set(&p->irq, false);
        irq_set(&p->irq, true);
    }
}

static const struct port_ops parallel_ops = {
    .read = parallel_read,
    .write = parallel_write,
};

void parallel_connect(struct dev *d, struct irq_line irq)
{
    struct parallel *p = d->s;

    p->irq = irq;
}

static void parallel_reset(struct dev *d)
{
    struct parallel *p = d->s;

    p->data = p->control = 0;
    irq_set(&p->irq, false);
}

static int parallel_create(struct dev *d, struct err *e)
{
    static const uint16_t base[3] = { 0x378, 0x278, 0x3bc };
    static const uint8_t irq[3] = { 7, 5, 7 };
    struct parallel *p = d->s;
    int rc;

    if (p->number > 2) return err_set(e, -ERANGE, "index is above 2");
    if (p->iobase == 0) p->iobase = base[p->number];
    if (p->irq_number == 0) p->irq_number = irq[p->number];
    if (p->chardev != NULL) {
        p->chr = chardev_find(d->vm, p->chardev);
        if (p->chr == NULL) {
            return err_set(e, -ENOENT, "there is no chardev '%s'", p->chardev);
        }
    }
    rc = port_map_locked(d->vm, p->iobase, 3, &parallel_ops, p, "isa-parallel",
                         e);
    if (rc < 0) return rc;
    p->irq = isa_irq_line(d->vm, p->irq_number);
    return 0;
}

static void parallel_destroy(struct dev *d)
{
    struct parallel *p = d->s;

    port_unmap_locked(d->vm, p->iobase, 3, p);
}

static const struct prop parallel_props[] = {
    PROP("index", P_U32, parallel, number, 0, 2, "0", NULL,
         "0 to 2 for LPT1 to LPT3"),
    PROP("iobase", P_U32, parallel, iobase, 0, 0xfffc, "0", NULL,
         "first port; 0: by index"),
    PROP("irq", P_U32, parallel, irq_number, 0, 15, "0", NULL,
         "interrupt line; 0: by index"),
    PROP("chardev", P_CHARDEV, parallel, chardev, 0, 0, NULL, NULL,
         "character device that gets what is printed"),
    PROP_END,
};

static const struct field parallel_state[] = {
    U8(parallel, data),
    U8_MAX(parallel, control, CONTROL_BITS),
    STATE_END,
};

const struct dev_class parallel_class = {
    .name = "isa-parallel",
    .title = "parallel port",
    .bus = BUS_ISA,
    .size = sizeof(struct parallel),
    .props = parallel_props,
    .state = parallel_state,
    .version = 1,
    .create = parallel_create,
    .reset = parallel_reset,
    .destroy = parallel_destroy,
};
