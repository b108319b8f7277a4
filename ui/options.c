/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ui/options_int.h"

void options_init(struct options *o)
{
    memset(o, 0, sizeof(*o));
    o->cfg.ram_bytes = 128ull << 20;
    o->cfg.cpus = 1;
    o->cfg.boot_splash_ms = -1;
    o->cfg.rtc_base_s = INT64_MIN;
}

static void free_config(struct vm_config *c)
{
    char *texts[] = { c->machine,  c->machine_opts, c->cpu_model, c->accel,
                      c->name,     c->boot_order,   c->boot_once, c->kernel,
                      c->initrd,   c->append,       c->dtb,       c->bios,
                      c->data_dir, c->parallel,     c->vga,       c->debugcon };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    for (unsigned i = 0; i < VM_MAX_SERIAL; i++)
        free(c->serial[i]);
    for (unsigned i = 0; i < c->device_count; i++)
        free(c->device[i]);
    for (unsigned i = 0; i < c->drive_count; i++) {
        struct drive_config *d = &c->drive[i];

        free(d->id);
        free(d->file);
        free(d->format);
        free(d->block_options);
        free(d->tree);
    }
}

void options_free(struct options *o)
{
    free_config(&o->cfg);
    for (unsigned i = 0; i < o->chardev_count; i++) {
        free(o->chardev[i].name);
        free(o->chardev[i].spec);
    }
    for (unsigned i = 0; i < o->monitor_count; i++)
        free(o->monitor[i]);
    for (unsigned i = 0; i < o->accel_count; i++)
        free(o->accel[i]);
    for (unsigned i = 0; i < o->object_count; i++) {
        explicit_bzero(o->object[i], strlen(o->object[i])); /* a secret */
        free(o->object[i]);
    }
    for (unsigned i = 0; i < o->blockdev_count; i++)
        free(o->blockdev[i]);
    free(o->help_arg);
    free(o->display);
    free(o->display_opts);
    free(o->vnc);
    free(o->control);
    free(o->gdb);
    free(o->pidfile);
    free(o->incoming);
    free(o->loadvm);
    free(o->log_file);
    memset(o, 0, sizeof(*o));
}

static const struct option_row *find_row(const char *name)
{
    for (const struct option_row *r = option_table; r->name != NULL; r++) {
        if (r->kind == OPT_SECTION) continue;
        if (strcmp(r->name, name) == 0) return r;
        if (r->alias != NULL && strcmp(r->alias, name) == 0) return r;
    }
    return NULL;
}

static int apply(struct options *o, const struct option_row *r,
                 const char *value, struct err *e)
{
    switch (r->kind) {
    case OPT_FLAG: *(bool *)((char *)o + r->offset) = true; return 0;
    case OPT_TEXT:
        return value_text((char **)((char *)o + r->offset), value, e);
    default: return r->set(o, value, e);
    }
}

/* One option at argv[*i]; *i moves past its value. */
static int parse_one(struct options *o, int argc, char **argv, int *i,
                     struct err *e)
{
    const char *arg = argv[*i], *value = NULL;
    const struct option_row *r;
    int rc;

    if (arg[0] != '-' || arg[1] == '\0') { /* a disk image, as -hda */
        rc = option_hda(o, arg, e);
        if (rc < 0) err_prefix(e, "%s", arg);
        return rc;
    }
    r = find_row(arg[1] == '-' ? arg + 2 : arg + 1);
    if (r == NULL)
        return err_set(e, -EINVAL, "%s: unknown option; -help lists them", arg);
    if (r->arg != NULL) {
        if (*i + 1 >= argc)
            return err_set(e, -EINVAL, "%s: needs a value: %s", arg, r->arg);
        value = argv[++*i];
    }
    rc = apply(o, r, value, e);
    if (rc < 0) {
        if (value != NULL) {
            err_prefix(e, "%s %.200s", arg, value);
        } else {
            err_prefix(e, "%s", arg);
        }
    }
    return rc;
}

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
    for (int i = 1; i < argc && o->help == HELP_NONE; i++) {
        int rc = parse_one(o, argc, argv, &i, e);
        if (rc < 0) return rc;
    }
    return o->help == HELP_NONE ? options_finish(o, e) : 0;
}

int options_finish(struct options *o, struct err *e)
{
    int rc;

    if (o->is_daemonize && o->is_nographic)
        return err_set(e, -EINVAL,
                       "-daemonize: cannot be used with -nographic");
    if (o->cfg.kernel == NULL && o->cfg.initrd != NULL)
        return err_set(e, -EINVAL, "-initrd %s: needs -kernel", o->cfg.initrd);
    if (o->cfg.kernel == NULL && o->cfg.append != NULL)
        return err_set(e, -EINVAL, "-append %s: needs -kernel", o->cfg.append);
    if (o->is_nographic) { /* firmware then talks to the serial port */
        rc = option_machine(o, "graphics=off", e);
        if (rc < 0) return rc;
    }
    rc = drives_finish(o, e);
    if (rc == 0) rc = chardevs_finish(o, e);
    return rc;
}
