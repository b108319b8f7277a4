/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/size.h"

enum { MIB = 1 << 20 };
#define RAM_MIN_BYTES (1ull << 20)
#define RAM_MAX_BYTES (1ull << 40) /* 40 physical address bits */

static int ask_help(struct options *o, enum help_topic topic)
{
    o->help = topic;
    return 0;
}

/* "kvm:tcg": accelerators to try in this order. */
static int add_accel(struct options *o, const char *spec, struct err *e)
{
    if (o->accel_count == OPTIONS_MAX_ACCELS)
        return err_set(e, -E2BIG, "more than %d accelerators",
                       OPTIONS_MAX_ACCELS);
    return value_text(&o->accel[o->accel_count++], spec, e);
}

static int add_accel_list(struct options *o, const char *list, struct err *e)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ":");
        char one[64];

        if (n == 0 || n >= sizeof(one))
            return err_set(e, -EINVAL, "accel=%s: no such accelerator", list);
        memcpy(one, list, n);
        one[n] = '\0';
        int rc = add_accel(o, one, e);
        if (rc < 0) return rc;
        list += n + (list[n] == ':');
    }
    return 0;
}

/* Append "key=value" to the options the machine itself reads. */
static int add_machine_opt(struct options *o, const struct keyval *kv,
                           struct err *e)
{
    char *old = o->cfg.machine_opts, *text = NULL;

    if (asprintf(&text, "%s%s%s=%s", old ? old : "", old ? "," : "", kv->key,
                 kv->value) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    free(old);
    o->cfg.machine_opts = text;
    return 0;
}

int option_machine(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    int rc;

    for (bool first = true; (rc = keyval_next(&v, "type", first, &kv, e)) > 0;
         first = false) {
        if (value_is_help(kv.value) || strcmp(kv.key, "help") == 0)
            return ask_help(o, HELP_MACHINE);
        if (strcmp(kv.key, "type") == 0) {
            rc = value_text(&o->cfg.machine, kv.value, e);
        } else if (strcmp(kv.key, "accel") == 0) {
            rc = add_accel_list(o, kv.value, e);
        } else {
            rc = add_machine_opt(o, &kv, e);
        }
        if (rc < 0) return rc;
    }
    return rc;
}

int option_memory(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    uint64_t bytes;
    int rc;

    for (bool first = true; (rc = keyval_next(&v, "size", first, &kv, e)) > 0;
         first = false) {
        if (strcmp(kv.key, "slots") == 0 || strcmp(kv.key, "maxmem") == 0)
            return err_set(e, -ENOTSUP, "%s: memory cannot be added later",
                           kv.key);
        if (strcmp(kv.key, "size") != 0) return keyval_unknown(&kv, "size=", e);
        rc = size_parse(kv.value, MIB, &bytes);
        if (rc == -EINVAL)
            return err_set(e, rc, "not a size; write 512M or 2G");
        if (rc < 0 || bytes < RAM_MIN_BYTES || bytes > RAM_MAX_BYTES)
            return err_set(e, -ERANGE, "outside 1M..1T");
        /* Whole pages; firmware counts in 64 KiB and more. */
        o->cfg.ram_bytes = (bytes + 8191) & ~8191ull;
    }
    return rc;
}

int option_smp(struct options *o, const char *v, struct err *e)
{
    static const char *const names[] = { "cpus",    "maxcpus", "sockets",
                                         "cores",   "threads", "dies",
                                         "clusters" };
    uint64_t n[7] = { 0 }, product;
    struct keyval kv;
    int rc;

    for (bool first = true; (rc = keyval_next(&v, "cpus", first, &kv, e)) > 0;
         first = false) {
        unsigned i = 0;

        while (i < 7 && strcmp(names[i], kv.key) != 0)
            i++;
        if (i == 7)
            return keyval_unknown(
                &kv, "cpus, maxcpus, sockets, dies, cores, threads", e);
        rc = value_uint(&kv, 1, VM_MAX_CPUS, &n[i], e);
        if (rc < 0) return rc;
    }
    if (rc < 0) return rc;
    product = 1; /* at most 8 to the 5th */
    for (unsigned i = 2; i < 7; i++)
        product *= n[i] ? n[i] : 1;
    if (n[0] == 0) n[0] = n[1] ? n[1] : product;
    if (n[0] > VM_MAX_CPUS)
        return err_set(e, -ERANGE, "%llu CPUs: outside 1..%d",
                       (unsigned long long)n[0], VM_MAX_CPUS);
    if (n[1] > n[0])
        return err_set(e, -ENOTSUP, "maxcpus=%llu: CPUs cannot be added later",
                       (unsigned long long)n[1]);
    if (n[1] != 0 && n[1] < n[0])
        return err_set(e, -EINVAL, "maxcpus=%llu is less than cpus=%llu",
                       (unsigned long long)n[1], (unsigned long long)n[0]);
    if (n[0] % product != 0 || (n[2] && n[3] && n[4] && product != n[0]))
        return err_set(e, -EINVAL,
                       "sockets x cores x threads is %llu, cpus is %llu",
                       (unsigned long long)product, (unsigned long long)n[0]);
    o->cfg.cpus = (unsigned)n[0];
    return 0;
}

int option_cpu(struct options *o, const char *v, struct err *e)
{
    if (value_is_help(v)) return ask_help(o, HELP_CPU);
    if (*v == '\0') return err_set(e, -EINVAL, "no CPU model");
    return value_text(&o->cfg.cpu_model, v, e);
}

int option_accel(struct options *o, const char *v, struct err *e)
{
    if (strncmp(v, "accel=", 6) == 0) v += 6;
    if (value_is_help(v)) return ask_help(o, HELP_ACCEL);
    if (*v == '\0') return err_set(e, -EINVAL, "no accelerator");
    return add_accel(o, v, e);
}

int option_enable_kvm(struct options *o, const char *v, struct err *e)
{
    (void)v;
    return add_accel(o, "kvm", e);
}

/* Drive letters a..p, each once; which ones mean something is the machine's
 * business (a floppy, c disk, d CD-ROM, n network). */
static int check_boot_letters(const char *letters, struct err *e)
{
    unsigned seen = 0;

    for (const char *p = letters; *p != '\0'; p++) {
        unsigned bit = 1u << ((*p - 'a') & 31);

        if (*p < 'a' || *p > 'p')
            return err_set(e, -EINVAL,
                           "no boot device '%c'; a floppy, "
                           "c disk, d CD-ROM, n network",
                           *p);
        if (seen & bit)
            return err_set(e, -EINVAL, "boot device '%c' given twice", *p);
        seen |= bit;
    }
    return 0;
}

static int boot_item(struct options *o, const struct keyval *kv, struct err *e)
{
    struct vm_config *c = &o->cfg;
    uint64_t ms;
    int rc;

    if (strcmp(kv->key, "order") == 0) {
        rc = check_boot_letters(kv->value, e);
        return rc < 0 ? rc : value_text(&c->boot_order, kv->value, e);
    }
    if (strcmp(kv->key, "once") == 0) {
        rc = check_boot_letters(kv->value, e);
        return rc < 0 ? rc : value_text(&c->boot_once, kv->value, e);
    }
    if (strcmp(kv->key, "menu") == 0)
        return value_bool(kv, &c->has_boot_menu, e);
    if (strcmp(kv->key, "strict") == 0)
        return value_bool(kv, &c->is_boot_strict, e);
    if (strcmp(kv->key, "splash-time") == 0) {
        rc = value_uint(kv, 0, 65535, &ms, e);
        if (rc == 0) c->boot_splash_ms = (int)ms;
        return rc;
    }
    return keyval_unknown(kv, "order, once, menu, strict, splash-time", e);
}

int option_boot(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    int rc;

    for (bool first = true; (rc = keyval_next(&v, "order", first, &kv, e)) > 0;
         first = false) {
        rc = boot_item(o, &kv, e);
        if (rc < 0) return rc;
    }
    return rc;
}

int option_name(struct options *o, const char *v, struct err *e)
{
    struct keyval kv;
    int rc;

    for (bool first = true; (rc = keyval_next(&v, "guest", first, &kv, e)) > 0;
         first = false) {
        if (strcmp(kv.key, "guest") == 0) {
            rc = value_text(&o->cfg.name, kv.value, e);
            if (rc < 0) return rc;
        } else if (strcmp(kv.key, "process") != 0 &&
                   strcmp(kv.key, "debug-threads") != 0) {
            return keyval_unknown(&kv, "guest, process, debug-threads", e);
        }
    }
    return rc;
}

int option_uuid(struct options *o, const char *v, struct err *e)
{
    uint8_t u[16];
    unsigned digits = 0;

    /* RFC 4122, section 3: 8-4-4-4-12 hexadecimal digits. */
    for (unsigned i = 0; i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        unsigned char ch = (unsigned char)v[i];

        if (is_dash ? ch != '-' : !isxdigit(ch)) goto bad;
        if (is_dash) continue;
        unsigned nibble = isdigit(ch) ? ch - 48u : (ch | 32u) - 'a' + 10u;
        if (digits % 2 == 0) u[digits / 2] = 0;
        u[digits / 2] = (uint8_t)(u[digits / 2] << 4 | nibble);
        digits++;
    }
    if (v[36] != '\0') goto bad;
    memcpy(o->cfg.uuid, u, sizeof(u));
    o->cfg.has_uuid = true;
    return 0;
bad:
    return err_set(e, -EINVAL,
                   "not a UUID; write 01234567-89ab-cdef-0123-456789abcdef");
}

static int add_device(struct options *o, const char *v, struct err *e)
{
    struct vm_config *c = &o->cfg;
    size_t n = strcspn(v, ",");

    if (value_is_help(v)) return ask_help(o, HELP_DEVICE);
    if (n == 0) return err_set(e, -EINVAL, "no device name");
    if (strcmp(v + n, ",help") == 0 || strcmp(v + n, ",?") == 0) {
        char name[64] = "";

        if (n < sizeof(name)) memcpy(name, v, n);
        o->help = HELP_DEVICE;
        return value_text(&o->help_arg, name, e);
    }
    if (c->device_count == VM_MAX_DEVICES)
        return err_set(e, -E2BIG, "more than %d devices", VM_MAX_DEVICES);
    return value_text(&c->device[c->device_count++], v, e);
}

/* ",key=value" of one member, as the other form of -device has it. */
static int device_member(FILE *f, const struct json *j, struct err *e)
{
    if (j->name[0] == '\0' || strpbrk(j->name, "=,") != NULL)
        return err_set(e, -EINVAL, "no parameter '%.60s'", j->name);
    fprintf(f, ",%s=", j->name);
    switch (j->type) {
    case JSON_BOOL: fputs(j->is_true ? "on" : "off", f); return 0;
    case JSON_INT: fprintf(f, "%lld", (long long)j->i); return 0;
    case JSON_STRING:
        for (const char *c = j->text; *c != '\0'; c++) {
            if (*c == ',') fputc(',', f);
            fputc(*c, f);
        }
        return 0;
    default:
        return err_set(e, -EINVAL,
                       "'%.60s' is of type %s; it takes a string, a whole "
                       "number, true or false",
                       j->name, json_type_name(j->type));
    }
}

/* {"driver": NAME, ...} becomes NAME,... */
static int device_from_json(const char *v, char **out, struct err *e)
{
    const struct json *driver;
    struct json *j = NULL;
    size_t size = 0;
    FILE *f;
    int rc = json_parse(v, strlen(v), &j, e);

    if (rc < 0) return rc;
    driver = json_get(j, "driver");
    if (driver == NULL || driver->type != JSON_STRING ||
        driver->text[0] == '\0' || strpbrk(driver->text, ",=") != NULL) {
        json_free(j);
        return err_set(e, -EINVAL, "no \"driver\": \"NAME\" in it");
    }
    f = open_memstream(out, &size);
    if (f != NULL) fputs(driver->text, f);
    for (const struct json *m = j->first; f != NULL && m != NULL && rc == 0;
         m = m->next) {
        if (m != driver) rc = device_member(f, m, e);
    }
    if (f == NULL || fclose(f) != 0) rc = err_set(e, -ENOMEM, "out of memory");
    json_free(j);
    return rc;
}

int option_device(struct options *o, const char *v, struct err *e)
{
    char *text = NULL;
    int rc;

    if (*v != '{') return add_device(o, v, e);
    rc = device_from_json(v, &text, e);
    if (rc == 0) rc = add_device(o, text, e);
    free(text);
    return rc;
}

int option_vga(struct options *o, const char *v, struct err *e)
{
    if (value_is_help(v)) return ask_help(o, HELP_VGA);
    if (strcmp(v, "std") != 0 && strcmp(v, "none") != 0)
        return err_set(e, -EINVAL,
                       "no graphics card of that name; there "
                       "are std and none");
    return value_text(&o->cfg.vga, v, e);
}
