/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port by which a test guest ends the program: writing v gives exit status
 * v * 2 + 1 (QEMU's isa-debug-exit device).
 */
#include "hw/chips/chips.h"

#include "core/vm/port.h"
#include "core/vm/vm.h"

struct debugexit {
    uint32_t iobase, iosize; /* properties */
    struct dev *d;
};

static uint32_t debugexit_read(void *arg, unsigned port, unsigned bytes)
{
    (void)arg;
    (void)port;
    (void)bytes;
    return 0;
}

static void debugexit_write(void *arg, unsigned port, unsigned bytes,
                            uint32_t v)
{
    struct debugexit *x = arg;

    (void)port;
    (void)bytes;
    vm_exit_locked(x->d->vm, (int)((v << 1 | 1) & 0xff));
}

static const struct port_ops debugexit_ops = {
    .read = debugexit_read,
    .write = debugexit_write,
    .max_bytes = 4,
};

static int debugexit_create(struct dev *d, struct err *e)
{
    struct debugexit *x = d->s;

    x->d = d;
    return port_map_locked(d->vm, x->iobase, x->iosize, &debugexit_ops, x,
                           "isa-debug-exit", e);
}

static void debugexit_destroy(struct dev *d)
{
    struct debugexit *x = d->s;

    port_unmap_locked(d->vm, x->iobase, x->iosize, x);
}

static const struct prop debugexit_props[] = {
    PROP("iobase", P_U32, debugexit, iobase, 0, 0xffff, "0x501", NULL,
         "first port"),
    PROP("iosize", P_U32, debugexit, iosize, 1, 8, "2", NULL,
         "number of ports"),
    PROP_END,
};

const struct dev_class debugexit_class = {
    .name = "isa-debug-exit",
    .title = "port that ends the program",
    .bus = BUS_ISA,
    .size = sizeof(struct debugexit),
    .props = debugexit_props,
    .create = debugexit_create,
    .destroy = debugexit_destroy,
};
