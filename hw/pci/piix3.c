/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI-to-ISA bridge 82371SB (PIIX3), function 00:01.0: interrupt routing and
 * the reset control register.  The chips of an ISA machine that are inside a
 * real PIIX3 (8259A, 8254, 8237A) are devices of their own.
 *
 * Document: Intel 82371FB/82371SB (PIIX/PIIX3) data sheet (290550):
 * PIRQRC[A:D] (0x60-0x63), RCR at I/O port 0xcf9.
 */
#include "hw/pci/i440fx.h"

#include <string.h>

#include "core/vm/port.h"
#include "core/vm/vm.h"
#include "hw/pci.h"

enum { PIRQRC = 0x60, PIRQ_LINES = 4, RCR_PORT = 0xcf9 };

#define PIRQ_DISABLED  0x80   /* IRQROUTEN# */
#define PIRQ_RESERVED  0x2107 /* IRQ 0, 1, 2, 8, 13 can not be chosen */
#define RCR_RESET_CPU  0x04
#define RCR_HARD_RESET 0x02

struct piix3 {
    struct pci_func pci; /* first */
    struct dev *d;
    struct irq_line irq[16];
    uint8_t rcr;
};

/* ISA interrupt that PIRQ line drives, -1: none. */
static int routed_irq(const struct piix3 *p, unsigned line)
{
    uint8_t v = p->pci.config[PIRQRC + line];
    unsigned irq = v & 0x0f;

    if (v & PIRQ_DISABLED || PIRQ_RESERVED >> irq & 1) return -1;
    return (int)irq;
}

/* Several lines may share one interrupt: it is up while any of them is. */
static void update_irqs(struct piix3 *p)
{
    unsigned levels = 0;

    for (unsigned line = 0; line < PIRQ_LINES; line++) {
        int irq = routed_irq(p, line);

        if (irq >= 0 && pci_bus_line(p->pci.bus, line)) levels |= 1u << irq;
    }
    for (unsigned irq = 0; irq < 16; irq++) {
        irq_set(&p->irq[irq], levels >> irq & 1);
    }
}

static void pirq_changed(void *arg, unsigned line, bool level)
{
    struct piix3 *p = arg;

    (void)line;
    (void)level;
    update_irqs(p);
}

void piix3_connect(struct dev *d, const struct irq_line irq[16])
{
    struct piix3 *p = d->s;

    memcpy(p->irq, irq, sizeof(p->irq));
}

static void config_written(struct pci_func *f, unsigned off, unsigned bytes)
{
    if (off < PIRQRC + PIRQ_LINES && off + bytes > PIRQRC) {
        update_irqs(f->d->s);
    }
}

/* ---- reset control register ---- */

static uint32_t rcr_read(void *arg, unsigned port, unsigned bytes)
{
    const struct piix3 *p = arg;

    (void)port;
    (void)bytes;
    return p->rcr;
}

static void rcr_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct piix3 *p = arg;

    (void)port;
    (void)bytes;
    p->rcr = v & RCR_HARD_RESET;
    /* A CPU-only reset takes the whole machine too, as port 92 does. */
    if (v & RCR_RESET_CPU) vm_request(p->d->vm, VM_REQ_RESET);
}

static const struct port_ops rcr_ops = { rcr_read, rcr_write, 1 };

/* ---- device ---- */

static int piix3_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x8086,
        .device = 0x7000,
        .subvendor = 0x1af4,
        .subdevice = 0x1100,
        .base_class = 0x06,
        .subclass = 0x01,
    };
    struct piix3 *p = d->s;
    int rc;

    p->d = d;
    rc = pci_func_init(d, &p->pci, &ids, 8, e);
    if (rc < 0) return rc;
    p->pci.config[0x0e] = p->pci.identity[0x0e] = 0x80; /* multi-function */
    memset(p->pci.wmask + PIRQRC, 0x8f, PIRQ_LINES);
    /* Registers firmware writes and reads back: XBCS, MBIRQ, APIC base */
    memset(p->pci.wmask + 0x4c, 0xff, 4);
    memset(p->pci.wmask + 0x69, 0xff, 2);
    memset(p->pci.wmask + 0x70, 0x8f, 2);
    p->pci.wmask[0x80] = 0x7f;
    memset(p->pci.wmask + 0xa0, 0xff, 15);
    p->pci.config_written = config_written;
    rc = port_map_locked(d->vm, RCR_PORT, 1, &rcr_ops, p, "piix3-reset-control",
                         e);
    if (rc < 0) {
        pci_func_exit(&p->pci);
        return rc;
    }
    pci_bus_set_router(p->pci.bus, pirq_changed, p);
    return 0;
}

static void piix3_reset(struct dev *d)
{
    struct piix3 *p = d->s;
    uint8_t *c = p->pci.config;

    pci_func_reset(&p->pci);
    /* Data sheet, default values; bus master and memory are always on. */
    c[0x04] = 0x07;
    c[0x07] = 0x02;
    c[0x4c] = 0x4d;
    c[0x4d] = 0x00;
    c[0x4e] = 0x03;
    c[0x4f] = 0x00;
    memset(c + PIRQRC, PIRQ_DISABLED, PIRQ_LINES);
    c[0x69] = 0x02;
    c[0x70] = c[0x71] = 0x80;
    c[0x80] = 0x00;
    memset(c + 0xa0, 0, 15);
    c[0xa0] = 0x08;
    p->rcr = 0;
    update_irqs(p);
}

static int piix3_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct piix3 *p = d->s;

    (void)version;
    (void)e;
    pci_func_loaded(&p->pci);
    update_irqs(p);
    return 0;
}

static void piix3_destroy(struct dev *d)
{
    struct piix3 *p = d->s;

    port_unmap_locked(d->vm, RCR_PORT, 1, p);
    pci_bus_set_router(p->pci.bus, NULL, NULL);
    pci_func_exit(&p->pci);
}

static const struct field piix3_state[] = {
    STRUCT(piix3, pci, pci_func_state),
    U8_MAX(piix3, rcr, RCR_HARD_RESET),
    STATE_END,
};

const struct dev_class piix3_class = {
    .name = "PIIX3",
    .title = "Intel 82371SB ISA bridge",
    .bus = BUS_PCI,
    .size = sizeof(struct piix3),
    .state = piix3_state,
    .version = 1,
    .is_internal = true,
    .create = piix3_create,
    .reset = piix3_reset,
    .loaded = piix3_loaded,
    .destroy = piix3_destroy,
};
