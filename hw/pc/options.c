/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine properties: -M pc,NAME=on|off,... */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/vm/vm.h"
#include "hw/pc/pc.h"

enum option_effect {
    OPTION_SETS,    /* a field of struct pc */
    OPTION_OFF,     /* only "off" can be had */
    OPTION_IGNORED, /* a matter of the host's memory or of other machines */
    OPTION_SMM,
};

static const struct option {
    const char *name;
    enum option_effect effect;
    size_t offset;
} options[] = {
    { "hpet", OPTION_SETS, offsetof(struct pc, has_hpet) },
    { "acpi", OPTION_SETS, offsetof(struct pc, has_acpi) },
    { "graphics", OPTION_SETS, offsetof(struct pc, has_graphics) },
    { "smm", OPTION_SMM, 0 },
    { "vmport", OPTION_OFF, 0 },
    { "usb", OPTION_OFF, 0 },
    { "dump-guest-core", OPTION_IGNORED, 0 },
    { "mem-merge", OPTION_IGNORED, 0 },
};

static int parse_bool(const char *v, bool *out)
{
    static const char *const on[] = { "on", "yes", "true", "y" };
    static const char *const off[] = { "off", "no", "false", "n", "auto" };

    for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        if (strcmp(v, on[i]) == 0) return *out = true, 0;
    }
    for (unsigned i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        if (strcmp(v, off[i]) == 0) return *out = false, 0;
    }
    return -EINVAL;
}

static bool can_smm(struct vm *vm)
{
    const struct vm_accel_ops *accel = vm_accel(vm, NULL);

    return accel != NULL && accel->has_smm;
}

static int set_smm(struct pc *pc, const char *value, struct err *e)
{
    struct vm *vm = pc->d->vm;
    bool on;

    if (strcmp(value, "auto") == 0) {
        pc->has_smm = can_smm(vm);
        return 0;
    }
    if (parse_bool(value, &on) < 0) {
        return err_set(e, -EINVAL,
                       "machine property smm=%s must be on, off or auto",
                       value);
    }
    if (on && !can_smm(vm)) {
        return err_set(e, -ENOTSUP,
                       "machine property smm=on: accelerator %s has no system "
                       "management mode here (-accel soft has)",
                       vm_accel(vm, NULL) ? vm_accel_name(vm) : "none");
    }
    pc->has_smm = on;
    return 0;
}

static int set_option(struct pc *pc, const char *name, const char *value,
                      struct err *e)
{
    bool on;

    for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct option *o = &options[i];

        if (strcmp(o->name, name) != 0) continue;
        if (o->effect == OPTION_SMM) return set_smm(pc, value, e);
        if (parse_bool(value, &on) < 0) {
            return err_set(e, -EINVAL,
                           "machine property %s=%s must be on or off", name,
                           value);
        }
        if (o->effect == OPTION_OFF && on) {
            return err_set(e, -ENOTSUP, "machine property %s=on: not supported",
                           name);
        }
        if (o->effect == OPTION_SETS) *(bool *)((char *)pc + o->offset) = on;
        return 0;
    }
    return err_set(e, -EINVAL, "machine pc has no property '%s'", name);
}

int pc_parse_options(struct pc *pc, const char *text, struct err *e)
{
    pc->has_smm = can_smm(pc->d->vm);
    while (text != NULL && *text != '\0') {
        char item[128], *value;
        size_t n = strcspn(text, ",");

        if (n >= sizeof(item)) {
            return err_set(e, -EINVAL, "machine property %.40s... is too long",
                           text);
        }
        snprintf(item, sizeof(item), "%.*s", (int)n, text);
        value = strchr(item, '=');
        if (value != NULL) *value++ = '\0';
        if (n > 0) {
            int rc = set_option(pc, item, value != NULL ? value : "on", e);

            if (rc < 0) return rc;
        }
        text += n;
        if (*text == ',') text++;
    }
    return 0;
}
