/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info pci`, and the option ROM of a function. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/firmware.h"
#include "core/vm/vm.h"
#include "hw/pci/pci_private.h"

/* PCI Code and ID Assignment Specification: base class, subclass */
static const struct {
    uint16_t code;
    const char *text;
} class_names[] = {
    { 0x0100, "SCSI controller" },
    { 0x0101, "IDE controller" },
    { 0x0102, "Floppy controller" },
    { 0x0103, "IPI controller" },
    { 0x0104, "RAID controller" },
    { 0x0106, "SATA controller" },
    { 0x0108, "NVMe controller" },
    { 0x0180, "Storage controller" },
    { 0x0200, "Ethernet controller" },
    { 0x0280, "Network controller" },
    { 0x0300, "VGA controller" },
    { 0x0301, "XGA controller" },
    { 0x0302, "3D controller" },
    { 0x0380, "Display controller" },
    { 0x0400, "Video controller" },
    { 0x0401, "Audio controller" },
    { 0x0403, "Audio controller" },
    { 0x0500, "RAM controller" },
    { 0x0501, "Flash controller" },
    { 0x0600, "Host bridge" },
    { 0x0601, "ISA bridge" },
    { 0x0604, "PCI bridge" },
    { 0x0680, "Bridge" },
    { 0x0700, "Serial port" },
    { 0x0701, "Parallel port" },
    { 0x0900, "Keyboard" },
    { 0x0c03, "USB controller" },
    { 0x0c05, "SMBus" },
};

const char *pci_class_text(unsigned code)
{
    for (unsigned i = 0; i < sizeof(class_names) / sizeof(class_names[0]);
         i++) {
        if (class_names[i].code == code) return class_names[i].text;
    }
    return NULL;
}

static void print_bar(const struct pci_func *f, unsigned i, FILE *out)
{
    const struct pci_bar *b = &f->bar[i];
    uint64_t addr = pci_bar_address(f, i), last = addr + b->size - 1;
    unsigned type = i == PCI_ROM_BAR ? 0 : f->config[PCI_BASE_ADDRESS + i * 4];

    if (b->size == 0) return;
    if (b->is_io) {
        fprintf(out, "      BAR%u: I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n",
                i, addr, last);
        return;
    }
    fprintf(out,
            "      BAR%u: %d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64
            "].\n",
            i, type & 4 ? 64 : 32, type & 8 ? " prefetchable" : "", addr, last);
}

static void print_func(const struct pci_func *f, FILE *out)
{
    const uint8_t *c = f->config;
    unsigned code = c[PCI_CLASS + 1] * 256u + c[PCI_CLASS];
    unsigned sub = c[PCI_SUBSYSTEM_VENDOR] | c[PCI_SUBSYSTEM_VENDOR + 1] << 8;
    const char *text = pci_class_text(code);
    bool has_own_id;

    fprintf(out, "  Bus  0, device %3d, function %d:\n", f->devfn >> 3,
            f->devfn & 7);
    if (text != NULL) {
        fprintf(out, "    %s", text);
    } else {
        fprintf(out, "    Class %04x", code);
    }
    fprintf(out, ": PCI device %02x%02x:%02x%02x\n", c[1], c[0], c[3], c[2]);
    if (sub != 0) {
        fprintf(out, "      PCI subsystem %04x:%02x%02x\n", sub,
                c[PCI_SUBSYSTEM_ID + 1], c[PCI_SUBSYSTEM_ID]);
    }
    if (c[PCI_INTERRUPT_PIN] != 0) {
        fprintf(out, "      IRQ %d, pin %c\n", c[PCI_INTERRUPT_LINE],
                'A' + (c[PCI_INTERRUPT_PIN] - 1) % 4);
    }
    for (unsigned i = 0; i < PCI_BARS; i++) {
        print_bar(f, i, out);
    }
    /* Ids that were made from the class name are not the user's. */
    has_own_id =
        strncmp(f->d->id, f->d->cls->name, strlen(f->d->cls->name)) != 0;
    fprintf(out, "      id \"%s\"\n", has_own_id ? f->d->id : "");
}

void pci_print_info(void *arg, FILE *out)
{
    const struct pci_bus *b = arg;

    for (unsigned i = 0; i < PCI_FUNCS; i++) {
        if (b->func[i] != NULL) print_func(b->func[i], out);
    }
}

int pci_rom_load(struct pci_func *f, const char *file, struct err *e)
{
    enum { MAX_ROM = 16 << 20 };
    char path[4096];
    uint8_t *data;
    size_t bytes;
    uint64_t size = 2048; /* PCI 3.0, 6.2.5.2: at least 11 address bits */
    int rc = firmware_find(vm_config(f->d->vm)->data_dir, file, path,
                           sizeof(path), e);

    if (rc < 0) return rc;
    rc = file_read_all(path, MAX_ROM, &data, &bytes, e);
    if (rc < 0) return rc;
    while (size < bytes) {
        size *= 2;
    }
    rc = mem_init_rom(&f->rom, "rom", size, e);
    if (rc == 0) {
        memcpy(f->rom.host, data, bytes);
        pci_bar_mem(f, PCI_ROM_BAR, &f->rom, false, false);
    }
    free(data);
    return rc;
}
