/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_PCI_H
#define ORRERY_HW_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "core/vm/dev.h"
#include "core/vm/irq.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"

/*
 * PCI bus and functions (PCI Local Bus Specification 3.0).  A PCI device's
 * state struct begins with struct pci_func (first member), its class has
 * bus = BUS_PCI and it is created under the bus device.  VM lock held.
 */
enum { PCI_CONFIG_BYTES = 256, PCI_BARS = 7 /* 6 = expansion ROM */ };

struct pci_bar {
    bool is_io;
    bool is_mapped;
    uint64_t size;             /* power of two; 0 = absent */
    uint64_t addr;             /* where it is mapped now */
    struct mem_region *region; /* memory BAR */
    const struct port_ops *ports;
    void *arg;
};

struct pci_func {
    struct dev *d;
    struct pci_bus *bus;
    uint8_t devfn; /* slot * 8 + function */
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t wmask[PCI_CONFIG_BYTES]; /* bits the guest may write */
    uint8_t w1c[PCI_CONFIG_BYTES];   /* bits cleared by writing 1 */
    struct pci_bar bar[PCI_BARS];
    bool irq_level; /* INTx as driven by the device */
    /* After a config write took effect; may be NULL. */
    void (*config_written)(struct pci_func *f, unsigned off, unsigned bytes);
    struct mem_region rom;              /* option ROM image */
    uint8_t identity[PCI_CONFIG_BYTES]; /* config after pci_func_init */
};

struct pci_ids {
    uint16_t vendor, device, subvendor, subdevice;
    uint8_t revision, prog_if, subclass, base_class;
    uint8_t intx_pin; /* 0 none, 1 = INTA */
};

struct pci_bus;
/* The machine's root bus; service "pci". */
struct pci_bus *vm_pci_bus(struct vm *vm);
struct dev *pci_bus_dev(struct pci_bus *b);
extern const struct dev_class pci_bus_class; /* the machine makes one */
/* What lies behind RAM and ROM: BARs go here at their address. */
struct mem_region *pci_bus_mem(struct pci_bus *b);
/* Function at slot * 8 + function, NULL if none. */
struct pci_func *pci_bus_func(struct pci_bus *b, unsigned devfn);
/* Level of INTx line 0..3: some function drives it. */
bool pci_bus_line(struct pci_bus *b, unsigned line);

/* Call first in create: fills the header and takes the slot given by the
 * "addr" property (P_STR, "5" or "5.1") or devfn (-1 = next free).  -EBUSY if
 * taken. */
int pci_func_init(struct dev *d, struct pci_func *f, const struct pci_ids *ids,
                  int devfn, struct err *e);
void pci_func_reset(struct pci_func *f); /* command, BARs, INTx to 0 */
void pci_func_exit(struct pci_func *f);
/* After loading: remap BARs from config. */
void pci_func_loaded(struct pci_func *f);

void pci_bar_mem(struct pci_func *f, unsigned bar, struct mem_region *r,
                 bool is_64, bool is_prefetch);
void pci_bar_io(struct pci_func *f, unsigned bar, unsigned bytes,
                const struct port_ops *ops, void *arg);
/* Option ROM from a file (found by firmware_find in core/host/firmware.h). */
int pci_rom_load(struct pci_func *f, const char *file, struct err *e);

void pci_set_irq(struct pci_func *f, bool level);
bool pci_is_bus_master(const struct pci_func *f);

/* State rows to put first in a PCI device's table: STRUCT(x, pci, pci_state)
 */
extern const struct field pci_func_state[];

/* INTx of slot/pin (INTA = 0) goes to line = (slot + pin - 1) & 3; the south
 * bridge installs set(arg, line 0..3, level). */
void pci_bus_set_router(struct pci_bus *b,
                        void (*set)(void *arg, unsigned line, bool level),
                        void *arg);

#endif
