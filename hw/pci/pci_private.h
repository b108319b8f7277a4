/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_PCI_PCI_PRIVATE_H
#define ORRERY_HW_PCI_PCI_PRIVATE_H

/* The insides of the PCI bus, for hw/pci alone. */

#include <stdio.h>

#include "core/vm/report.h"
#include "hw/pci.h"

enum { PCI_FUNCS = 256, PCI_ROM_BAR = 6 };

/* Header offsets, PCI 3.0 figure 6-1 */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x0a,
    PCI_CACHE_LINE = 0x0c,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BASE_ADDRESS = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_ROM_ADDRESS = 0x30,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};

/* Command register */
#define PCI_COMMAND_IO       0x0001
#define PCI_COMMAND_MEM      0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_INTX_OFF 0x0400

struct pci_bus {
    struct dev *d;
    uint32_t address; /* CONFIG_ADDRESS, 0xcf8 */
    struct mem_region mem;
    struct pci_func *func[PCI_FUNCS];
    void (*route)(void *arg, unsigned line, bool level);
    void *route_arg;
    struct vm_query query;
};

/* off + bytes within a doubleword.  VM lock held. */
uint32_t pci_config_read(struct pci_func *f, unsigned off, unsigned bytes);
void pci_config_write(struct pci_func *f, unsigned off, unsigned bytes,
                      uint32_t v);

/* Where the register is mapped, UINT64_MAX if nowhere. */
uint64_t pci_bar_address(const struct pci_func *f, unsigned bar);

/* `info pci` */
void pci_print_info(void *arg, FILE *out);
const char *pci_class_text(unsigned code); /* base class, subclass; or NULL */
/* pci_json.c: query-pci */
void pci_query(void *arg, struct json_out *o);

#endif
