/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine "pc": a PC of 1996 as QEMU's machine of that name lays it out, so
 * that firmware and guests that know one know the other.
 *
 * The device "pc" owns memory and interrupt lines; all others are its
 * children or on its PCI bus.
 */
#include "hw/pc/pc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/vm/clock.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"
#include "hw/devices.h"
#include "hw/fw_cfg.h"
#include "hw/pci.h"
#include "hw/pci/i440fx.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"
#include "hw/video/vga.h"

/* ---- parts ---- */

static int add(struct pc *pc, const struct dev_class *cls, struct dev **out,
               struct err *e)
{
    struct dev *d;
    int rc = dev_add(pc->d->vm, pc->d, cls, NULL, &d, e);

    if (rc < 0) return rc;
    if (out != NULL) *out = d;
    return 0;
}

static int add_interrupts(struct pc *pc, struct err *e)
{
    int rc;

    rc = add(pc, &pic_class, &pc->pic, e);
    if (rc < 0) return rc;
    rc = add(pc, &ioapic_class, &pc->ioapic, e);
    if (rc < 0) return rc;
    pc_irqs_init(pc);
    return add(pc, &lapic_class, NULL, e);
}

/* SMI# goes to the boot processor alone: that is the one firmware prepares. */
static void smi_changed(void *arg, unsigned n, bool level)
{
    struct vcpu *v = vm_vcpu(((struct pc *)arg)->d->vm, 0);

    (void)n;
    if (level && v != NULL) vcpu_raise(v, VCPU_SMI);
}

static int add_pci(struct pc *pc, struct err *e)
{
    struct dev *bus;
    int rc;

    rc = add(pc, &pci_bus_class, &bus, e);
    if (rc < 0) return rc;
    rc = dev_add(pc->d->vm, bus, &i440fx_class, NULL, &pc->bridge, e);
    if (rc < 0) return rc;
    i440fx_set_rom(pc->bridge, &pc->bios);
    rc = dev_add(pc->d->vm, bus, &piix3_class, NULL, &pc->piix3, e);
    if (rc < 0) return rc;
    piix3_connect(pc->piix3, pc->pirq);
    rc = dev_add(pc->d->vm, bus, &ide_piix3_class, NULL, &pc->ide, e);
    if (rc < 0) return rc;
    ide_connect(pc->ide, 0, pc->isa[14]);
    ide_connect(pc->ide, 1, pc->isa[15]);
    if (!pc->has_acpi) return 0;
    rc = dev_add(pc->d->vm, bus, &piix4pm_class, NULL, &pc->pm, e);
    if (rc < 0) return rc;
    piix4pm_connect(pc->pm, pc->sci);
    if (pc->has_smm) {
        piix4pm_connect_smi(pc->pm, (struct irq_line){ smi_changed, pc, 0 });
    }
    return 0;
}

static int add_timers(struct pc *pc, struct err *e)
{
    struct irq_line irq0 = pc->isa[0], irq8 = pc->isa[8];
    int rc;

    rc = add(pc, &pit_class, &pc->pit, e);
    if (rc < 0) return rc;
    rc = add(pc, &rtc_class, &pc->rtc, e);
    if (rc < 0) return rc;
    if (pc->has_hpet) {
        rc = add(pc, &hpet_class, &pc->hpet, e);
        if (rc < 0) return rc;
        hpet_connect(pc->hpet, irq0, irq8, pc->hpet_gsi);
        irq0 = hpet_legacy_input(pc->hpet, 0);
        irq8 = hpet_legacy_input(pc->hpet, 8);
    }
    pit_connect(pc->pit, irq0);
    rtc_connect(pc->rtc, irq8);
    return 0;
}

static int add_isa(struct pc *pc, struct err *e)
{
    int rc;

    rc = add(pc, &i8042_class, &pc->i8042, e);
    if (rc < 0) return rc;
    i8042_connect(pc->i8042, pc->isa[1], pc->isa[12]);
    rc = add(pc, &port92_class, NULL, e);
    if (rc < 0) return rc;
    rc = add(pc, &ferr_class, NULL, e);
    if (rc < 0) return rc;
    rc = add(pc, &dma8237_class, &pc->dma, e);
    if (rc < 0) return rc;
    rc = add(pc, &fdc_class, &pc->fdc, e);
    if (rc < 0) return rc;
    fdc_connect(pc->fdc, pc->isa[6], pc->dma);
    return 0;
}

/* A device of class cls on character device name, number n of its kind. */
static int add_char_device(struct pc *pc, const struct dev_class *cls,
                           const char *chardev, unsigned n, struct err *e)
{
    struct dev *d;
    char text[16];
    int rc = dev_new(pc->d->vm, pc->d, cls, NULL, &d, e);

    if (rc < 0) return rc;
    snprintf(text, sizeof(text), "%u", n);
    rc = dev_set(d, "index", text, e);
    if (rc == 0) rc = dev_set(d, "chardev", chardev, e);
    if (rc < 0) {
        dev_remove(d);
        return rc;
    }
    return dev_create(d, e);
}

static int add_char_devices(struct pc *pc, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);
    int rc;

    for (unsigned i = 0; i < VM_MAX_SERIAL; i++) {
        if (cfg->serial[i] == NULL) continue;
        rc = add_char_device(pc, &uart_class, cfg->serial[i], i, e);
        if (rc < 0) return rc;
    }
    if (cfg->parallel != NULL) {
        rc = add_char_device(pc, &parallel_class, cfg->parallel, 0, e);
        if (rc < 0) return rc;
    }
    if (cfg->debugcon != NULL) {
        char text[256];

        snprintf(text, sizeof(text), "isa-debugcon,iobase=0xe9,chardev=%s",
                 cfg->debugcon);
        return device_add_text(pc->d->vm, text, e);
    }
    return 0;
}

static int add_video(struct pc *pc, struct err *e)
{
    const char *vga = vm_config(pc->d->vm)->vga;
    struct dev *bus = pci_bus_dev(vm_pci_bus(pc->d->vm));

    if (vga != NULL && strcmp(vga, "none") == 0) return 0;
    if (vga != NULL && strcmp(vga, "std") != 0) {
        return err_set(e, -EINVAL, "no VGA device of type '%s' (std or none)",
                       vga);
    }
    return dev_add(pc->d->vm, bus, &vga_class, NULL, NULL, e);
}

static int add_parts(struct pc *pc, struct err *e)
{
    static int (*const parts[])(struct pc * pc, struct err * e) = {
        add_interrupts, add_pci,          add_timers,       add_isa,
        add_video,      add_char_devices, pc_attach_drives,
    };
    struct vm *vm = pc->d->vm;
    const struct vm_config *cfg = vm_config(vm);

    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int rc = parts[i](pc, e);

        if (rc < 0) return rc;
    }
    for (unsigned i = 0; i < cfg->device_count; i++) {
        int rc = device_add_text(vm, cfg->device[i], e);

        if (rc < 0) return rc;
    }
    return 0;
}

/* ---- boot order ---- */

static int choose_boot_order(struct pc *pc, struct err *e)
{
    const struct vm_config *cfg = vm_config(pc->d->vm);
    const char *order = cfg->boot_order != NULL ? cfg->boot_order : "cad";
    int rc = pc_check_boot_order(order, e);

    if (rc == 0 && cfg->boot_once != NULL) {
        rc = pc_check_boot_order(cfg->boot_once, e);
    }
    if (rc < 0) return rc;
    snprintf(pc->boot_order, sizeof(pc->boot_order), "%s", order);
    pc->is_once = cfg->boot_once != NULL;
    pc_cmos_set_boot(pc, pc->is_once ? cfg->boot_once : order);
    return 0;
}

/* Service "boot_set": for the monitor's command of that name. */
static int boot_set(void *arg, const char *letters, struct err *e)
{
    struct pc *pc = arg;
    int rc = pc_check_boot_order(letters, e);

    if (rc < 0) return rc;
    snprintf(pc->boot_order, sizeof(pc->boot_order), "%s", letters);
    pc->is_once = false;
    pc_cmos_set_boot(pc, letters);
    return 0;
}

/* ---- the device "pc" ---- */

static int pc_create(struct dev *d, struct err *e)
{
    struct pc *pc = d->s;
    const struct vm_config *cfg = vm_config(d->vm);
    int rc;

    pc->d = d;
    pc->has_hpet = !cfg->has_no_hpet;
    pc->has_acpi = !cfg->has_no_acpi;
    pc->has_graphics = true;
    rc = pc_parse_options(pc, cfg->machine_opts, e);
    if (rc < 0) return rc;
    rc = pc_memory_init(pc, e);
    if (rc < 0) pc_memory_exit(pc);
    return rc;
}

/* once= holds until the guest, or the user, resets a machine that has run. */
static void pc_reset(struct dev *d)
{
    struct pc *pc = d->s;

    mem_set_a20_locked(d->vm, true);
    if (pc->is_once && clock_now_ns(d->vm) > 0) {
        pc->is_once = false;
        pc_cmos_set_boot(pc, pc->boot_order);
    }
}

static void pc_destroy(struct dev *d)
{
    vm_set_service(d->vm, "isa-irqs", NULL);
    vm_set_service(d->vm, "boot_set", NULL);
    pc_memory_exit(d->s);
}

static const struct field pc_state[] = {
    UINT_ARRAY(pc, levels, 0x0f),
    BOOL(pc, is_once),
    STATE_END,
};

static const struct dev_class pc_class = {
    .name = "pc",
    .title = "Standard PC (i440FX + PIIX, 1996)",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct pc),
    .state = pc_state,
    .version = 1,
    .is_internal = true,
    .create = pc_create,
    .reset = pc_reset,
    .destroy = pc_destroy,
};

int pc_init(struct vm *vm, struct err *e)
{
    const struct vm_config *cfg = vm_config(vm);
    struct dev *d;
    struct pc *pc;
    int rc;

    mem_begin_locked(vm);
    rc = dev_add(vm, NULL, &pc_class, NULL, &d, e);
    if (rc < 0) goto out;
    pc = d->s;
    rc = add(pc, &fw_cfg_class, NULL, e);
    if (rc == 0) rc = add_parts(pc, e);
    if (rc == 0) rc = pc_firmware_init(pc, e);
    if (rc < 0) goto out;
    pc_cmos_init(pc);
    rc = choose_boot_order(pc, e);
    if (rc < 0) goto out;
    pc->boot_set = (struct boot_set_service){ boot_set, pc };
    vm_set_service(vm, "boot_set", &pc->boot_set);
out:
    mem_commit_locked(vm);
    return rc < 0 ? rc : vm_add_vcpus(vm, cfg->cpus, e);
}
