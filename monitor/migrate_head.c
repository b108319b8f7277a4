/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is, in lines "key=value", so that whoever is to take it in
 * can say what differs before any memory has moved.
 */
#include "monitor/migrate_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "core/base/size.h"
#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "monitor/monitor.h"

enum { MAX_LINE = 400 };

/* Name of the machine type, not an alias. */
static const char *machine_name(struct vm *vm)
{
    const struct monitor_catalog *c = vm_service(vm, "monitor-catalog");
    const char *asked = vm_config(vm)->machine, *name, *alias, *title;

    if (c == NULL) return asked != NULL ? asked : "default";
    if (asked == NULL) return c->default_machine;
    for (unsigned i = 0; c->machine(i, &name, &alias, &title); i++) {
        if (alias != NULL && strcmp(alias, asked) == 0) return name;
    }
    return asked;
}

static int describe_device(struct dev *d, void *arg)
{
    if (d->cls->state != NULL && d->is_created)
        fprintf(arg, "device=%s %s %u\n", d->id, d->cls->name, d->cls->version);
    return 0;
}

void migrate_describe_locked(struct vm *vm, bool wants_answers, FILE *out)
{
    const struct vm_config *cfg = vm_config(vm);
    struct drive_table *t = vm_service(vm, "drives");

    fprintf(out, "machine=%s\nram=%llu\ncpus=%u\ncpu=%s\naccel=%s\n",
            machine_name(vm), (unsigned long long)vm_ram(vm)->size,
            vm_vcpu_count(vm), cfg->cpu_model != NULL ? cfg->cpu_model : "max",
            vm_accel_name(vm));
    fprintf(out, "answers=%d\n", wants_answers);
    dev_for_each(vm_root(vm), describe_device, out);
    for (struct drive *d = t == NULL ? NULL : drive_next(t, NULL); d != NULL;
         d = drive_next(t, d)) {
        if (drive_blk(d) != NULL)
            fprintf(out, "drive=%s %llu\n", drive_id(d),
                    (unsigned long long)blk_size_bytes(drive_blk(d)));
    }
}

/* ---------------------------------------------------------- comparison */

struct compare {
    struct vm *vm;
    const char *text;
    struct err *e;
};

static int incomplete(struct err *e)
{
    return err_set(e, -EINVAL,
                   "the stream is damaged: its description is not complete");
}

/* The n-th value of a key; false: there are fewer. */
static bool value_of(const char *text, const char *key, unsigned n, char *out,
                     size_t cap)
{
    size_t len = strlen(key);

    while (*text != '\0') {
        size_t line = strcspn(text, "\n");

        if (line > len && strncmp(text, key, len) == 0 && text[len] == '=' &&
            n-- == 0) {
            snprintf(out, cap, "%.*s", (int)(line - len - 1), text + len + 1);
            return true;
        }
        text += line + (text[line] != '\0');
    }
    return false;
}

/* Text from elsewhere, for a message: no control characters. */
static const char *plain(char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    }
    return text;
}

static int same(const struct compare *c, const char *key, const char *here,
                const char *what, const char *option)
{
    char there[MAX_LINE];

    if (!value_of(c->text, key, 0, there, sizeof(there)))
        return incomplete(c->e);
    if (strcmp(there, here) == 0) return 0;
    return err_set(c->e, -EINVAL,
                   "the machine that arrives has %s %s, this one %s; start "
                   "this one with %s %s",
                   what, plain(there), here, option, there);
}

static int same_memory(const struct compare *c)
{
    uint64_t here = vm_ram(c->vm)->size, there;
    char text[MAX_LINE];

    if (!value_of(c->text, "ram", 0, text, sizeof(text)) ||
        uint_parse(text, &there) < 0)
        return incomplete(c->e);
    if (here == there) return 0;
    return err_set(c->e, -EINVAL,
                   "the machine that arrives has %llu MiB of memory, this one "
                   "%llu; start this one with -m %llu",
                   (unsigned long long)(there >> 20),
                   (unsigned long long)(here >> 20),
                   (unsigned long long)(there >> 20));
}

/* "id class version" of a device line. */
struct device_line {
    char id[48], class[64];
    unsigned version;
};

static bool device_line(const struct compare *c, unsigned n,
                        struct device_line *d)
{
    char text[MAX_LINE];

    return value_of(c->text, "device", n, text, sizeof(text)) &&
           sscanf(text, "%47s %63s %u", d->id, d->class, &d->version) == 3;
}

static int is_there(struct dev *d, void *arg)
{
    const struct compare *c = arg;
    struct device_line l;

    if (d->cls->state == NULL || !d->is_created) return 0;
    for (unsigned i = 0; device_line(c, i, &l); i++) {
        if (strcmp(l.id, d->id) == 0) return 0;
    }
    return err_set(c->e, -EINVAL,
                   "the machine that arrives has no device %s (%s), this one "
                   "has",
                   d->id, d->cls->name);
}

/* The same devices on both sides, none of them newer than ours. */
static int same_devices(struct compare *c)
{
    struct device_line l;

    for (unsigned i = 0; device_line(c, i, &l); i++) {
        const struct dev *d = dev_find(c->vm, l.id);

        if (d == NULL || strcmp(d->cls->name, l.class) != 0)
            return err_set(c->e, -EINVAL,
                           "the machine that arrives has a device %s (%s), "
                           "this one has not",
                           plain(l.id), plain(l.class));
        if (l.version > d->cls->version)
            return err_set(c->e, -EINVAL,
                           "device %s (%s) arrives in version %u, this "
                           "program knows %u",
                           l.id, l.class, l.version, d->cls->version);
    }
    return dev_for_each(vm_root(c->vm), is_there, c);
}

static struct drive *drive_line(const struct compare *c, unsigned n, char *id,
                                uint64_t *bytes)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    char text[MAX_LINE];
    unsigned long long size;

    if (!value_of(c->text, "drive", n, text, sizeof(text)) ||
        sscanf(text, "%63s %llu", id, &size) != 2)
        return NULL;
    *bytes = size;
    return t == NULL ? NULL : drive_find(t, id);
}

/* A drive here holds an image that is not among those that arrive. */
static int has_no_other(const struct compare *c)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct drive *d = t == NULL ? NULL : drive_next(t, NULL), *there = NULL;
    uint64_t bytes;
    char id[64] = "-";

    for (; d != NULL; d = drive_next(t, d)) {
        if (drive_blk(d) == NULL) continue;
        there = NULL;
        for (unsigned i = 0; there != d && *id != '\0'; i++) {
            *id = '\0';
            there = drive_line(c, i, id, &bytes);
        }
        if (there != d)
            return err_set(c->e, -EINVAL,
                           "this machine has an image in drive %s, the one "
                           "that arrives has none",
                           drive_id(d));
    }
    return 0;
}

static int same_drives(const struct compare *c)
{
    char id[64] = "";
    uint64_t there;

    for (unsigned i = 0;; i++) {
        struct drive *d;

        *id = '\0';
        d = drive_line(c, i, id, &there);
        if (*id == '\0') return has_no_other(c);
        if (d == NULL || drive_blk(d) == NULL)
            return err_set(c->e, -EINVAL,
                           "the machine that arrives has an image in drive "
                           "%s, this one has none",
                           plain(id));
        if (blk_size_bytes(drive_blk(d)) != there)
            return err_set(c->e, -EINVAL,
                           "drive %s has %llu octets where the machine comes "
                           "from, %llu here; both have to use the same image",
                           id, (unsigned long long)there,
                           (unsigned long long)blk_size_bytes(drive_blk(d)));
    }
}

int migrate_compare_locked(struct vm *vm, const char *text, bool *wants_answers,
                           struct err *e)
{
    struct compare c = { vm, text, e };
    const struct vm_config *cfg = vm_config(vm);
    char cpus[16], answers[4] = "";
    int rc;

    snprintf(cpus, sizeof(cpus), "%u", vm_vcpu_count(vm));
    rc = same(&c, "machine", machine_name(vm), "type", "-M");
    if (rc == 0) rc = same_memory(&c);
    if (rc == 0) rc = same(&c, "cpus", cpus, "CPUs:", "-smp");
    if (rc == 0)
        rc = same(&c, "cpu", cfg->cpu_model != NULL ? cfg->cpu_model : "max",
                  "CPU model", "-cpu");
    if (rc == 0) rc = same_devices(&c);
    if (rc == 0) rc = same_drives(&c);
    value_of(text, "answers", 0, answers, sizeof(answers));
    *wants_answers = strcmp(answers, "1") == 0;
    return rc;
}
