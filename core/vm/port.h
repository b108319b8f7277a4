/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_PORT_H
#define ORRERY_VM_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct vm;
struct dev;

/*
 * I/O port space: 64 Ki byte ports.  A handler covers a range and gets the
 * port relative to its start, access size 1, 2 or 4.  An access wider than
 * max_bytes is split into byte-adjacent accesses of that width, low first (as
 * an ISA bus does).  Unclaimed ports read all ones.
 */
struct port_ops {
    uint32_t (*read)(void *arg, unsigned port, unsigned bytes);
    void (*write)(void *arg, unsigned port, unsigned bytes, uint32_t v);
    unsigned max_bytes; /* 1, 2 or 4; 0 means 1 */
};

/* Map count ports from first.  A later mapping hides an earlier one until it
 * is removed (PCI I/O BARs move).  name must stay valid.  VM lock held or
 * before start. -EINVAL when the range leaves the port space. */
int port_map_locked(struct vm *vm, unsigned first, unsigned count,
                    const struct port_ops *ops, void *arg, const char *name,
                    struct err *e);
void port_unmap_locked(struct vm *vm, unsigned first, unsigned count,
                       void *arg);

/* Access by a CPU or the monitor.  VM lock held. */
uint32_t port_read_locked(struct vm *vm, unsigned port, unsigned bytes);
void port_write_locked(struct vm *vm, unsigned port, unsigned bytes,
                       uint32_t v);

/* Call fn for every mapping in order (info mtree). */
void port_for_each_locked(struct vm *vm,
                          void (*fn)(void *arg, unsigned first, unsigned count,
                                     const char *name),
                          void *arg);

#endif
