/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port that prints: firmware writes its log to it.  Reading gives back a
 * known value, by which firmware finds it (SeaBIOS at 0x402).
 */
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/host/chardev.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

struct debugcon {
    uint32_t iobase, readback; /* properties */
    char *chardev;
    struct chardev *chr;
};

static uint32_t debugcon_read(void *arg, unsigned port, unsigned bytes)
{
    const struct debugcon *c = arg;

    (void)port;
    (void)bytes;
    return c->readback & 0xff;
}

static void debugcon_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct debugcon *c = arg;
    uint8_t octet = v & 0xff;

    (void)port;
    (void)bytes;
    if (c->chr != NULL) chardev_write(c->chr, &octet, 1);
}

static const struct port_ops debugcon_ops = {
    .read = debugcon_read,
    .write = debugcon_write,
};

static int debugcon_create(struct dev *d, struct err *e)
{
    struct debugcon *c = d->s;

    if (c->chardev != NULL) {
        c->chr = chardev_find(d->vm, c->chardev);
        if (c->chr == NULL) {
            return err_set(e, -ENOENT, "there is no chardev '%s'", c->chardev);
        }
    }
    return port_map_locked(d->vm, c->iobase, 1, &debugcon_ops, c,
                           "isa-debugcon", e);
}

static void debugcon_destroy(struct dev *d)
{
    struct debugcon *c = d->s;

    port_unmap_locked(d->vm, c->iobase, 1, c);
}

static const struct prop debugcon_props[] = {
    PROP("iobase", P_U32, debugcon, iobase, 0, 0xffff, "0xe9", NULL, "port"),
    PROP("readback", P_U32, debugcon, readback, 0, 0xff, "0xe9", NULL,
         "value that reading the port gives"),
    PROP("chardev", P_CHARDEV, debugcon, chardev, 0, 0, NULL, NULL,
         "character device that gets the text"),
    PROP_END,
};

const struct dev_class debugcon_class = {
    .name = "isa-debugcon",
    .title = "debug console port",
    .bus = BUS_ISA,
    .size = sizeof(struct debugcon),
    .props = debugcon_props,
    .create = debugcon_create,
    .destroy = debugcon_destroy,
};
