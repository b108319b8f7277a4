/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON answers about classes, CPU models, options, dumps; x-query-*. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/host_cpuid.h"
#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

int json_nothing_done(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_close(c->json, '}');
    return 0;
}

int json_no_balloon(struct cmd *c, struct err *e)
{
    c->error_class = "DeviceNotActive";
    return err_set(e, -ENODEV, "No balloon device has been activated");
}

int json_generation_id(struct cmd *c, struct err *e)
{
    return info_generation_id(c, e);
}

/* ---- classes ---- */

int json_type_list(struct cmd *c, struct err *e)
{
    const struct monitor_catalog *k = vm_service(c->vm, "monitor-catalog");
    const char *of = c->arg[0].is_given ? c->arg[0].text : "device";

    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; k != NULL && k->classes[i] != NULL; i++) {
        if (strcmp(of, "device") != 0 && strcmp(of, "object") != 0) break;
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", k->classes[i]->name);
        json_str(c->json, "parent", "device");
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

/* ---- CPU models ---- */

static void put_features(struct json_out *o, const struct cpu_model *m)
{
    for (unsigned i = 0; i < m->leaf_count; i++) {
        const struct cpuid_leaf *l = &m->leaf[i];
        const uint32_t reg[4] = { l->eax, l->ebx, l->ecx, l->edx };

        for (unsigned n = 0; n < 128; n++) {
            const char *name =
                cpu_feature_name(l->leaf, l->subleaf, n / 32, n % 32);

            if (name != NULL) json_bool(o, name, reg[n / 32] >> (n % 32) & 1);
        }
    }
}

int json_cpu_expansion(struct cmd *c, struct err *e)
{
    const struct json *name = json_get(c->arg[1].json, "name");
    bool is_full = strcmp(c->arg[0].text, "full") == 0;
    struct cpu_model *m;
    int rc;

    if (name == NULL || name->type != JSON_STRING)
        return err_set(
            e, -EINVAL,
            "Invalid parameter type for 'model.name', expected: string");
    if (!is_full && strcmp(c->arg[0].text, "static") != 0)
        return err_set(e, -EINVAL,
                       "Parameter 'type' does not accept value '%s'",
                       c->arg[0].text);
    m = calloc(1, sizeof(*m));
    if (m == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = cpu_model_build(m, name->text, 1, e);
    if (rc == 0) {
        json_open(c->json, NULL, '{');
        json_open(c->json, "model", '{');
        json_str(c->json, "name", name->text);
        json_open(c->json, "props", '{');
        put_features(c->json, m);
        json_close(c->json, '}');
        json_close(c->json, '}');
        json_close(c->json, '}');
    }
    free(m);
    return rc;
}

/* ---- options of the command line ---- */

int query_command_line(struct cmd *c, struct err *e)
{
    const struct monitor_catalog *k = vm_service(c->vm, "monitor-catalog");
    const char *want = c->arg[0].is_given ? c->arg[0].text : NULL;
    const char *name;
    bool is_found = want == NULL;

    json_open(c->json, NULL, '[');
    for (unsigned i = 0;
         k != NULL && k->option != NULL && (name = k->option(i)) != NULL; i++) {
        if (want != NULL && strcmp(want, name) != 0) continue;
        is_found = true;
        json_open(c->json, NULL, '{');
        json_open(c->json, "parameters", '[');
        json_close(c->json, ']');
        json_str(c->json, "option", name);
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    if (is_found) return 0;
    return err_set(e, -EINVAL, "Invalid option '%s'", want);
}

/* ---- dumps, memory ---- */

/* A dump is complete when the command is. */
int info_dump(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out, "Status: %s\n",
            vm_service(c->vm, "dump-done") != NULL ? "completed" : "none");
    return 0;
}

int query_dump(struct cmd *c, struct err *e)
{
    bool is_done = vm_service(c->vm, "dump-done") != NULL;
    uint64_t bytes = is_done ? vm_config(c->vm)->ram_bytes : 0;

    (void)e;
    json_open(c->json, NULL, '{');
    json_uint(c->json, "total", bytes);
    json_str(c->json, "status", is_done ? "completed" : "none");
    json_uint(c->json, "completed", bytes);
    json_close(c->json, '}');
    return 0;
}

int query_dump_formats(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_open(c->json, "formats", '[');
    json_str(c->json, NULL, "elf");
    json_close(c->json, ']');
    json_close(c->json, '}');
    return 0;
}

int info_memdev(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out,
            "memory backend: pc.ram\n  size:  %llu\n  merge: false\n"
            "  dump: true\n  prealloc: false\n  share: false\n"
            "  reserve: true\n  policy: default\n  host nodes: \n\n",
            (unsigned long long)vm_config(c->vm)->ram_bytes);
    return 0;
}

/* x-query-NAME: what `info NAME' prints. */
int json_text_page(struct cmd *c, struct err *e)
{
    char line[64], *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    struct monitor_session s = { .vm = c->vm };

    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    snprintf(line, sizeof(line), "info %s", c->c->json + strlen("x-query-"));
    monitor_run_locked(&s, line, f);
    fclose(f);
    json_open(c->json, NULL, '{');
    json_str(c->json, "human-readable-text", text);
    json_close(c->json, '}');
    free(text);
    return 0;
}
