/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI bus 0 with configuration mechanism 1.
 *
 * Documents: PCI Local Bus Specification 3.0, 3.2.2.3.2 (mechanism 1: ports
 * 0xcf8 and 0xcfc), 6.1 (header), 6.2.5 (base addresses).
 *
 * Every function keeps its 256 octets of configuration space together with
 * two masks: bits the guest may write and bits it clears by writing one.
 * What a base address register means is recomputed from these octets after
 * each write to them or to the command register, so nothing about a mapping
 * has to be saved.  The level of an INTx line is likewise computed from all
 * functions; there are no counters that could get out of step.
 */
#include "hw/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/vm/vm.h"
#include "hw/pci/pci_private.h"

/* PCI 3.0, table 6-1 and 6-2 */
#define PCI_COMMAND_WRITABLE 0x0547 /* I/O, memory, master, PERR, SERR, INTx */
#define PCI_STATUS_INTX      0x08   /* low octet: interrupt pending */
#define PCI_STATUS_W1C       0xf9   /* high octet: bits 8, 11-15 */
#define PCI_BAR_IO           0x01u
#define PCI_BAR_64           0x04u
#define PCI_BAR_PREFETCH     0x08u
#define PCI_ROM_ENABLE       0x01u

#define MECH1_ENABLE  0x80000000u
#define MECH1_MASK    0x80fffffcu /* 30:24 are reserved, 1:0 read 0 */
#define MECH1_BUS(a)  ((a) >> 16 & 0xff)
#define MECH1_FUNC(a) ((a) >> 8 & 0xff)

static uint32_t get_le(const uint8_t *p, unsigned bytes)
{
    uint32_t v = 0;

    memcpy(&v, p, bytes);
    return v;
}

static void put_le(uint8_t *p, uint32_t v, unsigned bytes)
{
    memcpy(p, &v, bytes);
}

struct pci_bus *vm_pci_bus(struct vm *vm)
{
    return vm_service(vm, "pci");
}

struct dev *pci_bus_dev(struct pci_bus *b)
{
    return b->d;
}

struct mem_region *pci_bus_mem(struct pci_bus *b)
{
    return &b->mem;
}

struct pci_func *pci_bus_func(struct pci_bus *b, unsigned devfn)
{
    return devfn < PCI_FUNCS ? b->func[devfn] : NULL;
}

/* ---- INTx ---- */

/* Line of a function's pin, -1 if it has none. */
static int intx_line(const struct pci_func *f)
{
    unsigned pin = f->config[PCI_INTERRUPT_PIN];

    if (pin < 1 || pin > 4) return -1;
    return (int)(((f->devfn >> 3) + pin - 1 + 3) & 3);
}

static bool drives_line(const struct pci_func *f)
{
    return f->irq_level &&
           (f->config[PCI_COMMAND + 1] & PCI_COMMAND_INTX_OFF >> 8) == 0;
}

bool pci_bus_line(struct pci_bus *b, unsigned line)
{
    for (unsigned i = 0; i < PCI_FUNCS; i++) {
        const struct pci_func *f = b->func[i];

        if (f != NULL && drives_line(f) && intx_line(f) == (int)line) {
            return true;
        }
    }
    return false;
}

static void update_irq(struct pci_func *f)
{
    int line = intx_line(f);

    if (f->irq_level) {
        f->config[PCI_STATUS] |= PCI_STATUS_INTX;
    } else {
        f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    }
    if (line < 0 || f->bus->route == NULL) return;
    f->bus->route(f->bus->route_arg, (unsigned)line,
                  pci_bus_line(f->bus, (unsigned)line));
}

void pci_set_irq(struct pci_func *f, bool level)
{
    if (f->irq_level == level) return;
    f->irq_level = level;
    update_irq(f);
}

void pci_bus_set_router(struct pci_bus *b,
                        void (*set)(void *arg, unsigned line, bool level),
                        void *arg)
{
    b->route = set;
    b->route_arg = arg;
}

bool pci_is_bus_master(const struct pci_func *f)
{
    return (f->config[PCI_COMMAND] & PCI_COMMAND_MASTER) != 0;
}

/* ---- base address registers ---- */

static unsigned bar_offset(unsigned bar)
{
    return bar == PCI_ROM_BAR ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS + bar * 4;
}

/* Address the register holds if it decodes anything now, else UINT64_MAX:
 * decoding is off, or the range is 0, wraps or leaves the space (as it does
 * while the register is being sized). */
uint64_t pci_bar_address(const struct pci_func *f, unsigned bar)
{
    const struct pci_bar *b = &f->bar[bar];
    unsigned off = bar_offset(bar);
    uint64_t low = get_le(f->config + off, 4), addr, last;
    uint8_t command = f->config[PCI_COMMAND];

    if (b->size == 0) return UINT64_MAX;
    if (b->is_io) {
        addr = low & ~3ull & ~(b->size - 1);
        last = addr + b->size - 1;
        if (!(command & PCI_COMMAND_IO)) return UINT64_MAX;
        return addr != 0 && last <= 0xffff ? addr : UINT64_MAX;
    }
    if (!(command & PCI_COMMAND_MEM)) return UINT64_MAX;
    if (bar == PCI_ROM_BAR) {
        if (!(low & PCI_ROM_ENABLE)) return UINT64_MAX;
    } else if (low & PCI_BAR_64) {
        low |= (uint64_t)get_le(f->config + off + 4, 4) << 32;
    }
    addr = low & ~0xfull & ~(b->size - 1);
    last = addr + b->size - 1;
    if (addr == 0 || last < addr || last >= f->bus->mem.size) {
        return UINT64_MAX;
    }
    /* All ones is what a guest writes to learn the size. */
    if (addr >> 32 == 0 && last >= UINT32_MAX) return UINT64_MAX;
    return addr;
}

static void bar_unmap(struct pci_func *f, struct pci_bar *b)
{
    if (!b->is_mapped) return;
    if (b->is_io) {
        port_unmap_locked(f->d->vm, (unsigned)b->addr, (unsigned)b->size,
                          b->arg);
    } else {
        mem_del_locked(f->d->vm, b->region);
    }
    b->is_mapped = false;
}

static void bar_map(struct pci_func *f, struct pci_bar *b, uint64_t addr)
{
    struct err e = ERR_INIT;

    b->addr = addr;
    if (!b->is_io) {
        mem_add_locked(f->d->vm, &f->bus->mem, addr, b->region, 1);
        b->is_mapped = true;
    } else if (port_map_locked(f->d->vm, (unsigned)addr, (unsigned)b->size,
                               b->ports, b->arg, f->d->id, &e) == 0) {
        b->is_mapped = true;
    } else {
        log_guest(f->d->id, "%s", e.text);
    }
}

static void update_bars(struct pci_func *f)
{
    mem_begin_locked(f->d->vm);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        uint64_t addr = pci_bar_address(f, i);

        if (b->is_mapped && b->addr == addr) continue;
        bar_unmap(f, b);
        if (addr != UINT64_MAX) bar_map(f, b, addr);
    }
    mem_commit_locked(f->d->vm);
}

static void bar_init(struct pci_func *f, unsigned bar, uint64_t bytes,
                     uint32_t type)
{
    unsigned off = bar_offset(bar);
    uint64_t mask = ~(bytes - 1);

    f->bar[bar].size = bytes;
    put_le(f->config + off, type, 4);
    put_le(f->wmask + off, (uint32_t)mask, 4);
    if (bar == PCI_ROM_BAR) f->wmask[off] |= PCI_ROM_ENABLE;
    if (type & PCI_BAR_64 && !(type & PCI_BAR_IO)) {
        put_le(f->wmask + off + 4, (uint32_t)(mask >> 32), 4);
    }
    memcpy(f->identity + off, f->config + off, 4);
}

void pci_bar_mem(struct pci_func *f, unsigned bar, struct mem_region *r,
                 bool is_64, bool is_prefetch)
{
    f->bar[bar] = (struct pci_bar){ .region = r };
    bar_init(f, bar, r->size,
             (is_64 ? PCI_BAR_64 : 0) | (is_prefetch ? PCI_BAR_PREFETCH : 0));
}

void pci_bar_io(struct pci_func *f, unsigned bar, unsigned bytes,
                const struct port_ops *ops, void *arg)
{
    f->bar[bar] = (struct pci_bar){ .is_io = true, .ports = ops, .arg = arg };
    bar_init(f, bar, bytes, PCI_BAR_IO);
}

/* ---- functions ---- */

/* "5", "05.1" (hexadecimal, slot and function) from the addr property. */
static int parse_addr(const char *text, int *devfn)
{
    char *end;
    unsigned long slot = strtoul(text, &end, 16), fn = 0;

    if (end == text || slot > 31) return -EINVAL;
    if (*end == '.') {
        text = end + 1;
        fn = strtoul(text, &end, 16);
        if (end == text || fn > 7) return -EINVAL;
    }
    if (*end != '\0') return -EINVAL;
    *devfn = (int)(slot * 8 + fn);
    return 0;
}

static int take_slot(struct dev *d, struct pci_func *f, int devfn,
                     struct err *e)
{
    struct pci_bus *b = f->bus;
    const struct prop *p = d->cls->props;

    for (; p != NULL && p->type != P_END; p++) {
        const char *text;

        if (strcmp(p->name, "addr") != 0 || p->type != P_STR) continue;
        memcpy(&text, (uint8_t *)d->s + p->offset, sizeof(text));
        if (text != NULL && parse_addr(text, &devfn) < 0) {
            return err_set(e, -EINVAL, "property addr=%s is not slot.function",
                           text);
        }
    }
    for (int slot = 0; devfn < 0 && slot < 32; slot++) {
        bool is_free = true;

        for (int fn = 0; fn < 8; fn++) {
            is_free &= b->func[slot * 8 + fn] == NULL;
        }
        if (is_free) devfn = slot * 8;
    }
    if (devfn < 0 || devfn >= PCI_FUNCS) {
        return err_set(e, -EBUSY, "no free slot on the PCI bus");
    }
    if (b->func[devfn] != NULL) {
        return err_set(e, -EBUSY, "PCI slot %x.%d is taken by %s", devfn >> 3,
                       devfn & 7, b->func[devfn]->d->id);
    }
    f->devfn = (uint8_t)devfn;
    b->func[devfn] = f;
    return 0;
}

int pci_func_init(struct dev *d, struct pci_func *f, const struct pci_ids *ids,
                  int devfn, struct err *e)
{
    uint8_t *c = f->config;
    int rc;

    f->d = d;
    f->bus = vm_pci_bus(d->vm);
    if (f->bus == NULL) {
        return err_set(e, -ENODEV, "the machine has no PCI bus");
    }
    rc = take_slot(d, f, devfn, e);
    if (rc < 0) return rc;
    put_le(c + PCI_VENDOR_ID, ids->vendor, 2);
    put_le(c + PCI_DEVICE_ID, ids->device, 2);
    c[PCI_REVISION] = ids->revision;
    c[PCI_REVISION + 1] = ids->prog_if;
    c[PCI_CLASS] = ids->subclass;
    c[PCI_CLASS + 1] = ids->base_class;
    put_le(c + PCI_SUBSYSTEM_VENDOR, ids->subvendor, 2);
    put_le(c + PCI_SUBSYSTEM_ID, ids->subdevice, 2);
    c[PCI_INTERRUPT_PIN] = ids->intx_pin;
    put_le(f->wmask + PCI_COMMAND, PCI_COMMAND_WRITABLE, 2);
    f->wmask[PCI_CACHE_LINE] = 0xff;
    f->wmask[PCI_INTERRUPT_LINE] = 0xff;
    f->w1c[PCI_STATUS + 1] = PCI_STATUS_W1C;
    memcpy(f->identity, c, sizeof(f->identity));
    return 0;
}

void pci_func_reset(struct pci_func *f)
{
    f->config[PCI_COMMAND] = 0;
    f->config[PCI_COMMAND + 1] = 0;
    f->config[PCI_STATUS + 1] &= (uint8_t)~PCI_STATUS_W1C;
    f->config[PCI_CACHE_LINE] = 0;
    f->config[PCI_INTERRUPT_LINE] = 0;
    for (unsigned i = PCI_BASE_ADDRESS; i < PCI_ROM_ADDRESS + 4; i++) {
        f->config[i] &= (uint8_t)~f->wmask[i];
    }
    update_bars(f);
    f->irq_level = false;
    update_irq(f);
}

void pci_func_exit(struct pci_func *f)
{
    if (f->bus == NULL || f->bus->func[f->devfn] != f) return;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        bar_unmap(f, &f->bar[i]);
    }
    f->irq_level = false;
    update_irq(f);
    f->bus->func[f->devfn] = NULL;
    mem_free(&f->rom);
}

/* A snapshot may hold anything: what tells devices apart comes back from the
 * identity, bits of a base address that the guest can not write too. */
void pci_func_loaded(struct pci_func *f)
{
    static const uint8_t fixed[] = {
        PCI_VENDOR_ID,
        PCI_VENDOR_ID + 1,
        PCI_DEVICE_ID,
        PCI_DEVICE_ID + 1,
        PCI_REVISION,
        PCI_REVISION + 1,
        PCI_CLASS,
        PCI_CLASS + 1,
        PCI_HEADER_TYPE,
        PCI_SUBSYSTEM_VENDOR,
        PCI_SUBSYSTEM_VENDOR + 1,
        PCI_SUBSYSTEM_ID,
        PCI_SUBSYSTEM_ID + 1,
        PCI_INTERRUPT_PIN,
    };

    for (unsigned i = 0; i < sizeof(fixed); i++) {
        f->config[fixed[i]] = f->identity[fixed[i]];
    }
    for (unsigned i = PCI_BASE_ADDRESS; i < PCI_SUBSYSTEM_VENDOR - 4; i++) {
        f->config[i] = (uint8_t)((f->config[i] & f->wmask[i]) |
                                 (f->identity[i] & ~f->wmask[i]));
    }
    for (unsigned i = PCI_ROM_ADDRESS; i < PCI_ROM_ADDRESS + 4; i++) {
        f->config[i] &= f->wmask[i];
    }
    update_bars(f);
    update_irq(f);
}

/* ---- configuration accesses ---- */

static bool overlaps(unsigned off, unsigned bytes, unsigned at, unsigned n)
{
    return off < at + n && at < off + bytes;
}

uint32_t pci_config_read(struct pci_func *f, unsigned off, unsigned bytes)
{
    if (off > PCI_CONFIG_BYTES - bytes) return UINT32_MAX;
    return get_le(f->config + off, bytes);
}

void pci_config_write(struct pci_func *f, unsigned off, unsigned bytes,
                      uint32_t v)
{
    if (off > PCI_CONFIG_BYTES - bytes) return;
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t b = (uint8_t)(v >> 8 * i), m = f->wmask[off + i];
        uint8_t *c = &f->config[off + i];

        *c = (uint8_t)((*c & ~m) | (b & m));
        *c &= (uint8_t) ~(b & f->w1c[off + i]);
    }
    if (overlaps(off, bytes, PCI_COMMAND, 2) ||
        overlaps(off, bytes, PCI_BASE_ADDRESS, 24) ||
        overlaps(off, bytes, PCI_ROM_ADDRESS, 4)) {
        update_bars(f);
        update_irq(f);
    }
    if (f->config_written != NULL) f->config_written(f, off, bytes);
}

/* Function that the address register selects. */
static struct pci_func *selected(struct pci_bus *b)
{
    if (!(b->address & MECH1_ENABLE) || MECH1_BUS(b->address) != 0) {
        return NULL;
    }
    return b->func[MECH1_FUNC(b->address)];
}

static uint32_t address_read(void *arg, unsigned port, unsigned bytes)
{
    const struct pci_bus *b = arg;

    /* Only a whole doubleword is the register; the rest is I/O space. */
    return port == 0 && bytes == 4 ? b->address : UINT32_MAX;
}

static void address_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct pci_bus *b = arg;

    if (port == 0 && bytes == 4) b->address = v & MECH1_MASK;
}

static uint32_t data_read(void *arg, unsigned port, unsigned bytes)
{
    struct pci_bus *b = arg;
    struct pci_func *f = selected(b);

    if (f == NULL) return UINT32_MAX;
    return pci_config_read(f, (b->address & 0xfc) + port, bytes);
}

static void data_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct pci_bus *b = arg;
    struct pci_func *f = selected(b);

    if (f != NULL) pci_config_write(f, (b->address & 0xfc) + port, bytes, v);
}

static const struct port_ops address_ops = { address_read, address_write, 4 };
static const struct port_ops data_ops = { data_read, data_write, 4 };

/* ---- the bus device ---- */

static int pci_bus_create(struct dev *d, struct err *e)
{
    struct pci_bus *b = d->s;
    int rc;

    b->d = d;
    rc = port_map_locked(d->vm, 0xcf8, 4, &address_ops, b, "pci-conf-idx", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0xcfc, 4, &data_ops, b, "pci-conf-data", e);
    if (rc < 0) goto unmap;
    mem_init_container(&b->mem, "pci", mem_root(d->vm)->size);
    mem_add_locked(d->vm, mem_root(d->vm), 0, &b->mem, -1);
    vm_set_service(d->vm, "pci", b);
    b->query = (struct vm_query){ pci_query, b };
    vm_set_service(d->vm, "query-pci", &b->query);
    vm_add_info(d->vm, "pci", "show PCI info", pci_print_info, b);
    return 0;
unmap:
    port_unmap_locked(d->vm, 0xcf8, 4, b);
    return rc;
}

static void pci_bus_destroy(struct dev *d)
{
    struct pci_bus *b = d->s;

    port_unmap_locked(d->vm, 0xcf8, 4, b);
    port_unmap_locked(d->vm, 0xcfc, 4, b);
    mem_del_locked(d->vm, &b->mem);
    vm_set_service(d->vm, "pci", NULL);
    vm_set_service(d->vm, "query-pci", NULL);
}

static void pci_bus_reset(struct dev *d)
{
    struct pci_bus *b = d->s;

    b->address = 0;
}

static int pci_bus_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct pci_bus *b = d->s;

    (void)version;
    (void)e;
    b->address &= MECH1_MASK;
    return 0;
}

const struct field pci_func_state[] = {
    BYTES(pci_func, config),
    BOOL(pci_func, irq_level),
    STATE_END,
};

static const struct field pci_bus_state[] = {
    U32(pci_bus, address),
    STATE_END,
};

const struct dev_class pci_bus_class = {
    .name = "pci.0",
    .title = "PCI bus 0",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct pci_bus),
    .state = pci_bus_state,
    .version = 1,
    .is_internal = true,
    .create = pci_bus_create,
    .reset = pci_bus_reset,
    .loaded = pci_bus_loaded,
    .destroy = pci_bus_destroy,
};
