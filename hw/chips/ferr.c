/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coprocessor errors: FERR# raises IRQ 13, a write to port 0xF0 lowers it and
 * asserts IGNNE# until FERR# is negated (82371SB PIIX3, 2.5.5.4).
 */
#include "hw/chips/chips.h"

#include "core/vm/ferr.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

enum { FERR_PORT = 0xf0, FERR_IRQ = 13 };

struct ferr {
    bool is_raised, is_ignne;
    struct vm_ferr service;
    struct dev *d;
};

static void ferr_set(struct ferr *f, bool level)
{
    struct irq_line line = isa_irq_line(f->d->vm, FERR_IRQ);

    f->is_raised = level;
    irq_set(&line, level);
}

static bool ferr_change(void *arg, bool on)
{
    struct ferr *f = arg;

    if (on && f->is_ignne) return true;
    if (!on) f->is_ignne = false;
    if (on != f->is_raised) ferr_set(f, on);
    return false;
}

static uint32_t ferr_read(void *arg, unsigned port, unsigned bytes)
{
    (void)arg;
    (void)port;
    (void)bytes;
    return 0xff;
}

static void ferr_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct ferr *f = arg;

    (void)port;
    (void)bytes;
    (void)v;
    if (!f->is_raised) return;
    f->is_ignne = true;
    ferr_set(f, false);
}

static const struct port_ops ferr_ops = {
    .read = ferr_read,
    .write = ferr_write,
};

static int ferr_create(struct dev *d, struct err *e)
{
    struct ferr *f = d->s;
    int rc;

    f->d = d;
    rc = port_map_locked(d->vm, FERR_PORT, 2, &ferr_ops, f, "ferr", e);
    if (rc < 0) return rc;
    f->service = (struct vm_ferr){ ferr_change, f };
    vm_set_service(d->vm, "ferr", &f->service);
    return 0;
}

static void ferr_destroy(struct dev *d)
{
    port_unmap_locked(d->vm, FERR_PORT, 2, d->s);
    vm_set_service(d->vm, "ferr", NULL);
}

static void ferr_reset(struct dev *d)
{
    struct ferr *f = d->s;

    f->is_ignne = false;
    ferr_set(f, false);
}

static int ferr_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct ferr *f = d->s;

    (void)version;
    (void)e;
    ferr_set(f, f->is_raised);
    return 0;
}

static const struct field ferr_state[] = {
    BOOL(ferr, is_raised),
    BOOL(ferr, is_ignne),
    STATE_END,
};

const struct dev_class ferr_class = {
    .name = "ferr",
    .title = "coprocessor errors: IRQ 13",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct ferr),
    .state = ferr_state,
    .version = 1,
    .is_internal = true,
    .create = ferr_create,
    .reset = ferr_reset,
    .loaded = ferr_loaded,
    .destroy = ferr_destroy,
};
