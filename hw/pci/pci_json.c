/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-pci, in the shape of QEMU's QMP reference. */
#include <string.h>

#include "core/base/json.h"
#include "hw/pci/pci_private.h"

static unsigned word_at(const struct pci_func *f, unsigned off)
{
    return f->config[off] | f->config[off + 1] << 8;
}

static void put_bar(const struct pci_func *f, unsigned i, struct json_out *o)
{
    const struct pci_bar *b = &f->bar[i];
    unsigned type = i == PCI_ROM_BAR ? 0 : f->config[PCI_BASE_ADDRESS + i * 4];

    if (b->size == 0) return;
    json_open(o, NULL, '{');
    if (!b->is_io) {
        json_bool(o, "prefetch", type & 8);
        json_bool(o, "mem_type_64", type & 4);
    }
    json_int(o, "bar", i);
    json_uint(o, "size", b->size);
    json_int(o, "address", (int64_t)pci_bar_address(f, i)); /* -1: nowhere */
    json_str(o, "type", b->is_io ? "io" : "memory");
    json_close(o, '}');
}

static void put_func(const struct pci_func *f, struct json_out *o)
{
    unsigned code = word_at(f, PCI_CLASS);
    const char *text = pci_class_text(code), *name = f->d->cls->name;
    bool has_own_id = strncmp(f->d->id, name, strlen(name)) != 0;

    json_open(o, NULL, '{');
    json_int(o, "irq_pin", f->config[PCI_INTERRUPT_PIN]);
    json_int(o, "bus", 0);
    json_str(o, "qdev_id", has_own_id ? f->d->id : "");
    if (f->config[PCI_INTERRUPT_PIN] != 0)
        json_int(o, "irq", f->config[PCI_INTERRUPT_LINE]);
    json_int(o, "slot", f->devfn >> 3);
    json_open(o, "class_info", '{');
    json_int(o, "class", code);
    if (text != NULL) json_str(o, "desc", text);
    json_close(o, '}');
    json_open(o, "id", '{');
    json_int(o, "device", word_at(f, PCI_DEVICE_ID));
    json_int(o, "vendor", word_at(f, PCI_VENDOR_ID));
    json_int(o, "subsystem-vendor", word_at(f, PCI_SUBSYSTEM_VENDOR));
    json_int(o, "subsystem", word_at(f, PCI_SUBSYSTEM_ID));
    json_close(o, '}');
    json_int(o, "function", f->devfn & 7);
    json_open(o, "regions", '[');
    for (unsigned i = 0; i < PCI_BARS; i++)
        put_bar(f, i, o);
    json_close(o, ']');
    json_close(o, '}');
}

void pci_query(void *arg, struct json_out *o)
{
    const struct pci_bus *b = arg;

    json_open(o, NULL, '[');
    json_open(o, NULL, '{');
    json_int(o, "bus", 0);
    json_open(o, "devices", '[');
    for (unsigned i = 0; i < PCI_FUNCS; i++) {
        if (b->func[i] != NULL) put_func(b->func[i], o);
    }
    json_close(o, ']');
    json_close(o, '}');
    json_close(o, ']');
}
