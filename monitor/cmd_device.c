/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_add, device_del, info qdm, device-list-properties. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static const struct dev_class *find_class(struct cmd *c, const char *name,
                                          size_t len)
{
    const struct monitor_catalog *k = vm_service(c->vm, "monitor-catalog");

    for (unsigned i = 0; k != NULL && k->classes[i] != NULL; i++) {
        if (strlen(k->classes[i]->name) == len &&
            strncmp(k->classes[i]->name, name, len) == 0)
            return k->classes[i];
    }
    return NULL;
}

static const char *bus_name(enum dev_bus bus)
{
    switch (bus) {
    case BUS_ISA: return "ISA";
    case BUS_PCI: return "PCI";
    case BUS_IDE: return "IDE";
    case BUS_FLOPPY: return "floppy-bus";
    default: return "System";
    }
}

static const char *bus_id(enum dev_bus bus)
{
    switch (bus) {
    case BUS_ISA: return "isa.0";
    case BUS_PCI: return "pci.0";
    case BUS_IDE: return "ide.0";
    case BUS_FLOPPY: return "floppy-bus.0";
    default: return "main-system-bus";
    }
}

static const char *type_name(enum prop_type t)
{
    switch (t) {
    case P_BOOL: return "bool";
    case P_U32: return "uint32";
    case P_U64: return "uint64";
    case P_SIZE: return "size";
    default: return "str";
    }
}

/* One line a class: those -device takes, or all. */
static void print_classes(struct cmd *c, bool is_all)
{
    const struct monitor_catalog *k = vm_service(c->vm, "monitor-catalog");

    for (unsigned i = 0; k != NULL && k->classes[i] != NULL; i++) {
        const struct dev_class *d = k->classes[i];

        if (d->is_internal && !is_all) continue;
        fprintf(c->out, "name \"%s\", bus %s, desc \"%s\"%s\n", d->name,
                bus_name(d->bus), d->title, d->is_internal ? ", no-user" : "");
    }
}

static void print_props(struct cmd *c, const struct dev_class *k)
{
    fprintf(c->out, "%s options:\n", k->name);
    for (const struct prop *p = k->props; p != NULL && p->name != NULL; p++) {
        int n = fprintf(c->out, "  %s=<%s>", p->name, type_name(p->type));

        fprintf(c->out, "%*s - %s", n < 24 ? 24 - n : 0, "",
                p->help != NULL ? p->help : "");
        if (p->def != NULL && p->def[0] != '\0')
            fprintf(c->out, " (default: %s)", p->def);
        fputc('\n', c->out);
    }
}

static bool is_help(const char *text)
{
    return strcmp(text, "help") == 0 || strcmp(text, "?") == 0;
}

/* No bus of ours takes a device while the machine runs: the guest could not
 * be told of it. */
int cmd_device_add(struct cmd *c, struct err *e)
{
    const struct json *driver = json_get(c->all, "driver");
    const struct dev_class *k;
    const char *name = c->arg[0].text;
    size_t len;

    if (driver == NULL ? !c->arg[0].is_given : driver->type != JSON_STRING)
        return err_set(e, -EINVAL, "Parameter 'driver' is missing");
    if (driver != NULL) name = driver->text;
    if (strncmp(name, "driver=", 7) == 0) name += 7;
    len = strcspn(name, ",");
    if (c->json == NULL && is_help(name)) {
        print_classes(c, false);
        return 0;
    }
    k = find_class(c, name, len);
    if (k == NULL)
        return err_set(e, -ENOENT, "'%.*s' is not a valid device model name",
                       (int)len, name);
    if (c->json == NULL && name[len] == ',' && is_help(name + len + 1)) {
        print_props(c, k);
        return 0;
    }
    if (k->is_internal)
        return err_set(e, -EPERM,
                       "Parameter 'driver' expects a pluggable device type");
    return err_set(e, -EOPNOTSUPP, "Bus '%s' does not support hotplugging",
                   bus_id(k->bus));
}

int cmd_device_del(struct cmd *c, struct err *e)
{
    const struct dev *d = dev_find(c->vm, c->arg[0].text);

    if (d == NULL) return cmd_no_device(c, c->arg[0].text, e);
    return err_set(e, -EOPNOTSUPP, "Bus '%s' does not support hotplugging",
                   bus_id(d->cls->bus));
}

int info_qdm(struct cmd *c, struct err *e)
{
    (void)e;
    print_classes(c, true);
    return 0;
}

int json_list_properties(struct cmd *c, struct err *e)
{
    const char *name = c->arg[0].text;
    const struct dev_class *k = find_class(c, name, strlen(name));

    if (k == NULL) {
        c->error_class = "DeviceNotFound";
        return err_set(e, -ENOENT, "Device '%s' not found", name);
    }
    json_open(c->json, NULL, '[');
    for (const struct prop *p = k->props; p != NULL && p->name != NULL; p++) {
        json_open(c->json, NULL, '{');
        if (p->type == P_BOOL) {
            json_bool(c->json, "default-value",
                      p->def != NULL && strcmp(p->def, "on") == 0);
        } else if (p->def != NULL && p->type != P_END &&
                   strcmp(type_name(p->type), "str") != 0) {
            json_uint(c->json, "default-value", strtoull(p->def, NULL, 0));
        }
        json_str(c->json, "name", p->name);
        if (p->help != NULL) json_str(c->json, "description", p->help);
        json_str(c->json, "type", type_name(p->type));
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}
