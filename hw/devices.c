/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"
#include "hw/fw_cfg.h"
#include "hw/pci.h"
#include "hw/pci/i440fx.h"
#include "hw/storage/fdc.h"
#include "hw/storage/ide.h"
#include "hw/video/vga.h"

const struct dev_class *const dev_classes[] = {
    &pci_bus_class,   &i440fx_class,
    &piix3_class,     &piix4pm_class,
    &fw_cfg_class,    &pic_class,
    &pit_class,       &ioapic_class,
    &lapic_class,     &rtc_class,
    &i8042_class,     &port92_class,
    &ferr_class,      &dma8237_class,
    &hpet_class,      &uart_class,
    &parallel_class,  &debugcon_class,
    &debugexit_class, &ide_piix3_class,
    &ide_hd_class,    &ide_cd_class,
    &fdc_class,       &floppy_class,
    &vga_class,       NULL,
};

/* Headings of -device help, by what a class is. */
enum category {
    CAT_BRIDGE,
    CAT_STORAGE,
    CAT_NETWORK,
    CAT_INPUT,
    CAT_DISPLAY,
    CAT_MISC,
    CATEGORIES
};

static const char *const category_title[] = {
    [CAT_BRIDGE] = "Controller/Bridge/Hub devices",
    [CAT_STORAGE] = "Storage devices",
    [CAT_NETWORK] = "Network devices",
    [CAT_INPUT] = "Input devices",
    [CAT_DISPLAY] = "Display devices",
    [CAT_MISC] = "Misc devices",
};

/* Devices whose heading is not "Misc". */
static const struct {
    const struct dev_class *cls;
    enum category category;
} categories[] = {
    { &i8042_class, CAT_INPUT },       { &uart_class, CAT_INPUT },
    { &parallel_class, CAT_INPUT },    { &debugcon_class, CAT_INPUT },
    { &ide_piix3_class, CAT_STORAGE }, { &ide_hd_class, CAT_STORAGE },
    { &ide_cd_class, CAT_STORAGE },    { &fdc_class, CAT_STORAGE },
    { &floppy_class, CAT_STORAGE },    { &vga_class, CAT_DISPLAY },
};

static const char *const bus_name[] = {
    [BUS_SYSTEM] = "System", [BUS_ISA] = "ISA",           [BUS_PCI] = "PCI",
    [BUS_IDE] = "IDE",       [BUS_FLOPPY] = "floppy-bus",
};

static const char *const type_name[] = {
    [P_END] = "",       [P_BOOL] = "bool",   [P_U32] = "uint32",
    [P_U64] = "uint64", [P_SIZE] = "size",   [P_STR] = "str",
    [P_DRIVE] = "str",  [P_CHARDEV] = "str",
};

const struct dev_class *device_find(const char *name)
{
    for (unsigned i = 0; dev_classes[i] != NULL; i++) {
        if (strcmp(dev_classes[i]->name, name) == 0) return dev_classes[i];
    }
    return NULL;
}

static enum category category_of(const struct dev_class *cls)
{
    for (unsigned i = 0; i < sizeof(categories) / sizeof(categories[0]); i++) {
        if (categories[i].cls == cls) return categories[i].category;
    }
    return CAT_MISC;
}

/* ---- help ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct dev_class *const *)a)->name,
                  (*(const struct dev_class *const *)b)->name);
}

static void print_category(enum category cat, bool *is_first, FILE *out)
{
    enum { MAX = sizeof(dev_classes) / sizeof(dev_classes[0]) };
    const struct dev_class *list[MAX];
    unsigned n = 0;

    for (unsigned i = 0; dev_classes[i] != NULL; i++) {
        const struct dev_class *c = dev_classes[i];

        if (!c->is_internal && category_of(c) == cat) list[n++] = c;
    }
    if (n == 0) return;
    qsort(list, n, sizeof(list[0]), by_name);
    fprintf(out, "%s%s:\n", *is_first ? "" : "\n", category_title[cat]);
    *is_first = false;
    for (unsigned i = 0; i < n; i++) {
        fprintf(out, "name \"%s\", bus %s, desc \"%s\"\n", list[i]->name,
                bus_name[list[i]->bus], list[i]->title);
    }
}

void device_print_list(FILE *out)
{
    bool is_first = true;

    for (unsigned cat = 0; cat < CATEGORIES; cat++) {
        print_category((enum category)cat, &is_first, out);
    }
}

/* Numbers in decimal, however the table writes them. */
static void print_default(const struct prop *p, FILE *out)
{
    uint64_t v;

    if ((p->type == P_U32 || p->type == P_U64) && uint_parse(p->def, &v) == 0) {
        fprintf(out, " (default: %llu)", (unsigned long long)v);
    } else {
        fprintf(out, " (default: %s)", p->def);
    }
}

static void print_prop(const struct prop *p, FILE *out)
{
    char head[64];

    snprintf(head, sizeof(head), "%s=<%s>", p->name, type_name[p->type]);
    if (p->help == NULL && p->def == NULL) {
        fprintf(out, "  %s\n", head);
        return;
    }
    fprintf(out, "  %-22s - %s", head, p->help != NULL ? p->help : "");
    if (p->def != NULL) print_default(p, out);
    fputc('\n', out);
}

int device_print_help(const char *name, FILE *out, struct err *e)
{
    const struct dev_class *cls = device_find(name);
    const struct prop *p;

    if (cls == NULL) {
        return err_set(e, -EINVAL, "'%s' is not a valid device model name",
                       name);
    }
    p = cls->props;
    if (p == NULL || p->type == P_END) {
        fprintf(out, "There are no options for %s.\n", name);
        return 0;
    }
    fprintf(out, "%s options:\n", name);
    for (; p->type != P_END; p++) {
        print_prop(p, out);
    }
    return 0;
}

/* ---- -device ---- */

enum { ITEM_BYTES = 4096 };

/* Next item up to a single comma; false at the end, -E2BIG as item "". */
static const char *next_item(const char *text, char item[ITEM_BYTES])
{
    size_t n = 0;

    while (*text != '\0') {
        if (*text == ',' && text[1] != ',') break;
        if (*text == ',') text++;
        if (n + 1 < ITEM_BYTES) item[n++] = *text;
        text++;
    }
    item[n] = '\0';
    return *text == ',' ? text + 1 : text;
}

/* Value of id= in a list of properties, "" if there is none. */
static void find_id(const char *text, char id[ITEM_BYTES])
{
    char item[ITEM_BYTES];

    id[0] = '\0';
    while (*text != '\0') {
        text = next_item(text, item);
        if (strncmp(item, "id=", 3) == 0) {
            memmove(id, item + 3, strlen(item + 3) + 1);
        }
    }
}

static int set_props(struct dev *d, const char *text, struct err *e)
{
    char item[ITEM_BYTES];

    while (*text != '\0') {
        char *value;
        int rc;

        text = next_item(text, item);
        value = strchr(item, '=');
        if (value != NULL) *value++ = '\0';
        if (item[0] == '\0' || strcmp(item, "id") == 0) continue;
        rc = dev_set(d, item, value != NULL ? value : "on", e);
        if (rc < 0) return rc;
    }
    return 0;
}

static int match_class(struct dev *d, void *arg)
{
    struct dev **at = arg;

    if (d->cls != (*at)->cls) return 0;
    *at = d;
    return 1;
}

/* The controller a drive goes to; NULL: there is none. */
static struct dev *controller(struct vm *vm, const struct dev_class *cls)
{
    struct dev like = { .cls = cls }, *at = &like;

    return dev_for_each(vm_root(vm), match_class, &at) == 1 ? at : NULL;
}

static struct dev *parent_for(struct vm *vm, const struct dev_class *cls)
{
    if (cls->bus == BUS_IDE) return controller(vm, &ide_piix3_class);
    if (cls->bus == BUS_FLOPPY) return controller(vm, &fdc_class);
    if (cls->bus == BUS_PCI && vm_pci_bus(vm) != NULL) {
        return pci_bus_dev(vm_pci_bus(vm));
    }
    return vm_root(vm)->first_child; /* the machine */
}

int device_add_text(struct vm *vm, const char *text, struct err *e)
{
    char name[ITEM_BYTES], id[ITEM_BYTES];
    const char *props = next_item(text, name);
    const char *at = strncmp(name, "driver=", 7) == 0 ? name + 7 : name;
    const struct dev_class *cls = device_find(at);
    struct dev *d, *parent;
    int rc;

    if (cls == NULL) {
        return err_set(e, -EINVAL, "'%s' is not a valid device model name", at);
    }
    if (cls->is_internal) {
        return err_set(e, -EINVAL, "device %s can not be added by -device", at);
    }
    find_id(props, id);
    if (strlen(id) >= sizeof(d->id)) {
        return err_set(e, -EINVAL, "id=%.60s... is too long", id);
    }
    parent = parent_for(vm, cls);
    if (parent == NULL) {
        return err_set(e, -ENODEV, "-device %s: there is no %s bus", text,
                       bus_name[cls->bus]);
    }
    rc = dev_new(vm, parent, cls, id[0] != '\0' ? id : NULL, &d, e);
    if (rc < 0) return err_prefix(e, "-device %s", text);
    rc = set_props(d, props, e);
    if (rc < 0) {
        dev_remove(d);
    } else {
        rc = dev_create(d, e);
    }
    return rc < 0 ? err_prefix(e, "-device %s", text) : 0;
}
