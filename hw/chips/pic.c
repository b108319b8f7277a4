/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pair of 8259A programmable interrupt controllers as in a PC/AT, with the
 * edge/level control registers of the PIIX.
 *
 * Document: Intel 8259A data sheet (231468); 82371SB (PIIX3) data sheet for
 * ELCR1/ELCR2.  In edge mode a request is dropped when its line falls before
 * the acknowledge cycle, as the data sheet says ("must remain high until
 * after the falling edge of the first INTA"); a cycle that then finds no
 * request gets the vector of input 7 without setting ISR.
 */
#include "core/base/trace.h"
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/vm/intr.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/* 8259A data sheet, "Initialization Command Words" */
#define PIC_ICW1      0x10 /* A0 = 0, D4 = 1 */
#define PIC_ICW1_IC4  0x01
#define PIC_ICW1_SNGL 0x02
#define PIC_ICW1_LTIM 0x08
#define PIC_ICW4_AEOI 0x02
#define PIC_ICW4_SFNM 0x10
/* "Operation Command Words" */
#define PIC_OCW3      0x08 /* A0 = 0, D4 = 0, D3 = 1 */
#define PIC_OCW3_RIS  0x01
#define PIC_OCW3_RR   0x02
#define PIC_OCW3_POLL 0x04
#define PIC_OCW3_SMM  0x20
#define PIC_OCW3_ESMM 0x40

enum { PIC_CASCADE = 2, PIC_NONE = 8 };

/* Which initialization word comes next at A0 = 1. */
enum pic_init { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

struct pic_chip {
    uint8_t irr, isr, imr;
    uint8_t lines;  /* levels at the inputs */
    uint8_t elcr;   /* 1 = level, per input */
    uint8_t base;   /* ICW2, bits 7:3 */
    uint8_t lowest; /* input of lowest priority */
    uint8_t init;
    bool is_level; /* ICW1 LTIM: all inputs */
    bool needs_icw4, is_single;
    bool has_aeoi, has_sfnm, has_rotate_aeoi;
    bool has_smm, reads_isr, is_polled;
};

struct pic {
    struct pic_chip chip[2]; /* master, slave */
    uint64_t count[16];      /* rising lines, for info irq */
    struct dev *d;
    bool out; /* INT of the master */
};

static bool pic_is_level(const struct pic_chip *c, unsigned input)
{
    return c->is_level || (c->elcr >> input & 1) != 0;
}

/* Input of highest priority in mask, PIC_NONE if mask is empty. */
static unsigned pic_highest(const struct pic_chip *c, unsigned mask)
{
    for (unsigned i = 1; i <= 8; i++) {
        unsigned input = (c->lowest + i) & 7;

        if ((mask >> input & 1) != 0) return input;
    }
    return PIC_NONE;
}

static unsigned pic_rank(const struct pic_chip *c, unsigned input)
{
    return input >= PIC_NONE ? PIC_NONE : (input - c->lowest - 1) & 7;
}

/* The input the chip interrupts for now, PIC_NONE if for none. */
static unsigned pic_pending(const struct pic_chip *c, bool is_master)
{
    unsigned request = pic_highest(c, c->irr & ~(unsigned)c->imr);
    unsigned served = c->isr;

    if (request == PIC_NONE) return PIC_NONE;
    /* Special mask mode: inputs that are masked do not block others. */
    if (c->has_smm) served &= ~(unsigned)c->imr;
    /* Special fully nested: a slave in service may interrupt itself. */
    if (is_master && c->has_sfnm && request == PIC_CASCADE)
        served &= ~(1u << PIC_CASCADE);
    if (pic_rank(c, request) >= pic_rank(c, pic_highest(c, served)))
        return PIC_NONE;
    return request;
}

static void pic_input_level(struct pic_chip *c, unsigned input, bool level)
{
    unsigned bit = 1u << input;
    bool was = (c->lines & bit) != 0;

    if (level) {
        c->lines |= bit;
        if (pic_is_level(c, input) || !was) c->irr |= bit;
    } else {
        c->lines &= ~bit;
        c->irr &= ~bit;
    }
}

static void pic_update(struct pic *p)
{
    bool out;

    pic_input_level(&p->chip[0], PIC_CASCADE,
                    pic_pending(&p->chip[1], false) != PIC_NONE);
    out = pic_pending(&p->chip[0], true) != PIC_NONE;
    if (out == p->out) return;
    p->out = out;
    intr_pic_output_locked(p->d->vm, out);
}

void pic_set_irq(struct dev *d, unsigned n, bool level)
{
    struct pic *p = d->s;
    struct pic_chip *c = &p->chip[n >> 3 & 1];

    if (n >= 16 || n == PIC_CASCADE) return;
    trace(TRACE_PIC_SET_IRQ, "irq %u level %d", n, level);
    if (level && (c->lines >> (n & 7) & 1) == 0) p->count[n]++;
    pic_input_level(c, n & 7, level);
    pic_update(p);
}

static void pic_line(void *arg, unsigned n, bool level)
{
    pic_set_irq(arg, n, level);
}

struct irq_line pic_input(struct dev *d, unsigned n)
{
    return (struct irq_line){ .set = pic_line, .arg = d, .n = n };
}

/* First INTA pulse: request to service.  Returns the input, 7 if spurious. */
static unsigned pic_serve(struct pic_chip *c, bool is_master)
{
    unsigned input = pic_pending(c, is_master);

    if (input == PIC_NONE) return 7;
    if (!pic_is_level(c, input)) c->irr &= ~(1u << input);
    if (!c->has_aeoi) {
        c->isr |= 1u << input;
    } else if (c->has_rotate_aeoi) {
        c->lowest = input;
    }
    return input;
}

static int pic_ack(void *arg)
{
    struct pic *p = arg;
    struct pic_chip *m = &p->chip[0], *s = &p->chip[1];
    bool is_slave = pic_pending(m, true) == PIC_CASCADE;
    unsigned input = pic_serve(m, true);
    int vector = m->base | input;

    if (is_slave) {
        vector = s->base | pic_serve(s, false);
        /* The slave's INT falls with its INTA; another request of it makes a
         * new edge at the master. */
        pic_input_level(m, PIC_CASCADE, false);
    }
    pic_update(p);
    return vector;
}

/* OCW2: rotate and end of interrupt, data sheet "OCW2" table. */
static void pic_ocw2(struct pic_chip *c, unsigned v)
{
    unsigned served =
        pic_highest(c, c->has_smm ? c->isr & ~(unsigned)c->imr : c->isr);
    unsigned level = v & 7;

    switch (v >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
        c->has_rotate_aeoi = false;
        break;
    case 4: /* set */ c->has_rotate_aeoi = true; break;
    case 1: /* non-specific EOI */
    case 5: /* the same, then rotate */
        if (served == PIC_NONE) break;
        c->isr &= ~(1u << served);
        if (v >> 5 == 5) c->lowest = served;
        break;
    case 3: /* specific EOI */
    case 7: /* the same, then rotate */
        c->isr &= ~(1u << level);
        if (v >> 5 == 7) c->lowest = level;
        break;
    case 6: /* set priority */ c->lowest = level; break;
    default: /* 2: no operation */ break;
    }
}

static void pic_icw1(struct pic_chip *c, unsigned v)
{
    c->init = INIT_ICW2;
    c->needs_icw4 = (v & PIC_ICW1_IC4) != 0;
    c->is_single = (v & PIC_ICW1_SNGL) != 0;
    c->is_level = (v & PIC_ICW1_LTIM) != 0;
    /* Edge sense is reset: a line that is up needs a new edge. */
    c->irr = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (pic_is_level(c, i)) c->irr |= c->lines & 1u << i;
    }
    c->isr = 0;
    c->imr = 0;
    c->lowest = 7;
    c->has_smm = false;
    c->reads_isr = false;
    c->is_polled = false;
    c->has_rotate_aeoi = false;
    if (!c->needs_icw4) {
        c->has_aeoi = false;
        c->has_sfnm = false;
    }
}

static void pic_write_a1(struct pic_chip *c, unsigned v)
{
    switch (c->init) {
    case INIT_ICW2:
        c->base = v & 0xf8;
        if (!c->is_single) {
            c->init = INIT_ICW3;
        } else {
            c->init = c->needs_icw4 ? INIT_ICW4 : INIT_DONE;
        }
        break;
    case INIT_ICW3: /* the wiring of the pair is fixed */
        c->init = c->needs_icw4 ? INIT_ICW4 : INIT_DONE;
        break;
    case INIT_ICW4:
        c->has_aeoi = (v & PIC_ICW4_AEOI) != 0;
        c->has_sfnm = (v & PIC_ICW4_SFNM) != 0;
        c->init = INIT_DONE;
        break;
    default: /* OCW1 */ c->imr = v; break;
    }
}

static void pic_write_a0(struct pic_chip *c, unsigned v)
{
    if ((v & PIC_ICW1) != 0) {
        pic_icw1(c, v);
    } else if ((v & PIC_OCW3) != 0) {
        if ((v & PIC_OCW3_ESMM) != 0) c->has_smm = (v & PIC_OCW3_SMM) != 0;
        if ((v & PIC_OCW3_POLL) != 0) {
            c->is_polled = true;
        } else if ((v & PIC_OCW3_RR) != 0) {
            c->reads_isr = (v & PIC_OCW3_RIS) != 0;
        }
    } else {
        pic_ocw2(c, v);
    }
}

static void pic_write(struct pic *p, unsigned index, unsigned a0, unsigned v)
{
    if (a0 != 0) {
        pic_write_a1(&p->chip[index], v);
    } else {
        pic_write_a0(&p->chip[index], v);
    }
    pic_update(p);
}

static uint32_t pic_read(struct pic *p, unsigned index, unsigned a0)
{
    struct pic_chip *c = &p->chip[index];
    bool is_pending;
    unsigned input;

    if (c->is_polled) { /* the read is the acknowledge, whatever A0 is */
        c->is_polled = false;
        is_pending = pic_pending(c, index == 0) != PIC_NONE;
        if (!is_pending) return 0;
        input = pic_serve(c, index == 0);
        if (index == 1) pic_input_level(&p->chip[0], PIC_CASCADE, false);
        pic_update(p);
        return 0x80 | input;
    }
    if (a0 != 0) return c->imr;
    return c->reads_isr ? c->isr : c->irr;
}

static uint32_t pic_master_read(void *arg, unsigned port, unsigned bytes)
{
    (void)bytes;
    return pic_read(arg, 0, port & 1);
}

static void pic_master_write(void *arg, unsigned port, unsigned bytes,
                             uint32_t v)
{
    (void)bytes;
    pic_write(arg, 0, port & 1, v & 0xff);
}

static uint32_t pic_slave_read(void *arg, unsigned port, unsigned bytes)
{
    (void)bytes;
    return pic_read(arg, 1, port & 1);
}

static void pic_slave_write(void *arg, unsigned port, unsigned bytes,
                            uint32_t v)
{
    (void)bytes;
    pic_write(arg, 1, port & 1, v & 0xff);
}

/* PIIX3, ELCR: IRQ 0, 1, 2, 8 and 13 are always edge triggered. */
static const uint8_t elcr_mask[2] = { 0xf8, 0xde };

static uint32_t elcr_read(void *arg, unsigned port, unsigned bytes)
{
    struct pic *p = arg;

    (void)bytes;
    return p->chip[port & 1].elcr;
}

static void elcr_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct pic *p = arg;

    (void)bytes;
    p->chip[port & 1].elcr = v & elcr_mask[port & 1];
    pic_update(p);
}

static const struct port_ops pic_master_ops = {
    .read = pic_master_read,
    .write = pic_master_write,
};
static const struct port_ops pic_slave_ops = {
    .read = pic_slave_read,
    .write = pic_slave_write,
};
static const struct port_ops elcr_ops = {
    .read = elcr_read,
    .write = elcr_write,
};

static void pic_print(void *arg, FILE *out)
{
    const struct pic *p = arg;

    for (unsigned i = 0; i < 2; i++) {
        const struct pic_chip *c = &p->chip[i];

        fprintf(out,
                "pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x "
                "rr_sel=%d elcr=%02x fnm=%d\n",
                i, c->irr, c->imr, c->isr, (c->lowest + 1u) & 7, c->base,
                c->reads_isr, c->elcr, c->has_sfnm);
    }
    if (vm_service(p->d->vm, "ioapic") != NULL)
        vm_print_info_locked(p->d->vm, "ioapic", out);
}

static void pic_print_counts(void *arg, FILE *out)
{
    const struct pic *p = arg;

    fprintf(out, "IRQ statistics for %s:\n", p->d->cls->name);
    for (unsigned i = 0; i < 16; i++) {
        if (p->count[i] == 0) continue;
        fprintf(out, "%2u: %llu\n", i, (unsigned long long)p->count[i]);
    }
}

static int pic_create(struct dev *d, struct err *e)
{
    struct pic *p = d->s;
    int rc;

    p->d = d;
    p->chip[0].lowest = p->chip[1].lowest = 7;
    rc = port_map_locked(d->vm, 0x20, 2, &pic_master_ops, p, "pic", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0xa0, 2, &pic_slave_ops, p, "pic", e);
    if (rc < 0) goto unmap_master;
    rc = port_map_locked(d->vm, 0x4d0, 2, &elcr_ops, p, "elcr", e);
    if (rc < 0) goto unmap_slave;
    intr_set_pic_locked(d->vm, pic_ack, p);
    vm_add_info(d->vm, "pic", "show the interrupt controllers", pic_print, p);
    vm_add_info(d->vm, "irq", "show how often each line was raised",
                pic_print_counts, p);
    return 0;
unmap_slave:
    port_unmap_locked(d->vm, 0xa0, 2, p);
unmap_master:
    port_unmap_locked(d->vm, 0x20, 2, p);
    return rc;
}

static void pic_destroy(struct dev *d)
{
    port_unmap_locked(d->vm, 0x20, 2, d->s);
    port_unmap_locked(d->vm, 0xa0, 2, d->s);
    port_unmap_locked(d->vm, 0x4d0, 2, d->s);
    intr_set_pic_locked(d->vm, NULL, NULL);
}

static void pic_reset(struct dev *d)
{
    struct pic *p = d->s;

    for (unsigned i = 0; i < 2; i++) {
        uint8_t lines = p->chip[i].lines;

        p->chip[i] = (struct pic_chip){ .lines = lines, .lowest = 7 };
    }
    p->chip[0].lines &= ~(1u << PIC_CASCADE);
    pic_update(p);
}

static int pic_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct pic *p = d->s;

    (void)version;
    (void)e;
    for (unsigned i = 0; i < 2; i++) {
        p->chip[i].elcr &= elcr_mask[i];
        p->chip[i].base &= 0xf8;
    }
    p->out = pic_pending(&p->chip[0], true) != PIC_NONE;
    intr_pic_output_locked(d->vm, p->out);
    return 0;
}

static const struct field pic_chip_state[] = {
    U8(pic_chip, irr),           U8(pic_chip, isr),
    U8(pic_chip, imr),           U8(pic_chip, lines),
    U8(pic_chip, elcr),          U8(pic_chip, base),
    U8_MAX(pic_chip, lowest, 7), U8_MAX(pic_chip, init, INIT_ICW4),
    BOOL(pic_chip, is_level),    BOOL(pic_chip, needs_icw4),
    BOOL(pic_chip, is_single),   BOOL(pic_chip, has_aeoi),
    BOOL(pic_chip, has_sfnm),    BOOL(pic_chip, has_rotate_aeoi),
    BOOL(pic_chip, has_smm),     BOOL(pic_chip, reads_isr),
    BOOL(pic_chip, is_polled),   STATE_END,
};

static const struct field pic_state[] = {
    STRUCT_ARRAY(pic, chip, pic_chip_state),
    STATE_END,
};

const struct dev_class pic_class = {
    .name = "isa-i8259",
    .title = "8259A interrupt controllers",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct pic),
    .state = pic_state,
    .version = 1,
    .is_internal = true,
    .create = pic_create,
    .reset = pic_reset,
    .loaded = pic_loaded,
    .destroy = pic_destroy,
};
