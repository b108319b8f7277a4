/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System control port A (0x92): fast A20 gate and fast reset, as in the PS/2
 * and the PIIX.  The A20 line is this gate or the keyboard controller's.
 */
#include "hw/chips/chips.h"

#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

#define PORT92_RESET 0x01 /* 0 to 1 resets the CPU */
#define PORT92_A20   0x02
#define PORT92_RW    0x03

struct port92 {
    uint8_t value;
    bool kbd_a20; /* the keyboard controller's, which saves it */
    struct dev *d;
};

static void port92_update(struct port92 *p)
{
    mem_set_a20_locked(p->d->vm, p->kbd_a20 || (p->value & PORT92_A20) != 0);
}

void port92_set_kbd_a20(struct vm *vm, bool on)
{
    struct port92 *p = vm_service(vm, "port92");

    if (p == NULL) {
        mem_set_a20_locked(vm, on);
        return;
    }
    p->kbd_a20 = on;
    port92_update(p);
}

static uint32_t port92_read(void *arg, unsigned port, unsigned bytes)
{
    const struct port92 *p = arg;

    (void)port;
    (void)bytes;
    return p->value;
}

static void port92_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct port92 *p = arg;
    bool is_reset = (v & ~(uint32_t)p->value & PORT92_RESET) != 0;

    (void)port;
    (void)bytes;
    p->value = v & PORT92_RW;
    port92_update(p);
    if (is_reset) vm_request(p->d->vm, VM_REQ_RESET);
}

static const struct port_ops port92_ops = {
    .read = port92_read,
    .write = port92_write,
};

static int port92_create(struct dev *d, struct err *e)
{
    struct port92 *p = d->s;
    int rc;

    p->d = d;
    p->kbd_a20 = true;
    rc = port_map_locked(d->vm, 0x92, 1, &port92_ops, p, "port92", e);
    if (rc < 0) return rc;
    vm_set_service(d->vm, "port92", p);
    return 0;
}

static void port92_destroy(struct dev *d)
{
    port_unmap_locked(d->vm, 0x92, 1, d->s);
    vm_set_service(d->vm, "port92", NULL);
}

static void port92_reset(struct dev *d)
{
    struct port92 *p = d->s;

    p->value = 0;
    port92_update(p);
}

static int port92_loaded(struct dev *d, unsigned version, struct err *e)
{
    (void)version;
    (void)e;
    port92_update(d->s);
    return 0;
}

static const struct field port92_state[] = {
    U8_MAX(port92, value, PORT92_RW),
    STATE_END,
};

const struct dev_class port92_class = {
    .name = "port92",
    .title = "system control port A: A20 and reset",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct port92),
    .state = port92_state,
    .version = 1,
    .is_internal = true,
    .create = port92_create,
    .reset = port92_reset,
    .loaded = port92_loaded,
    .destroy = port92_destroy,
};
