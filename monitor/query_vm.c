/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON answers about the machine, in QEMU 7.2's shapes (QMP reference). */
#include <errno.h>
#include <string.h>

#include "core/cpu/host_cpuid.h"
#include "core/host/chardev.h"
#include "core/host/display.h"
#include "core/host/input.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

int query_status(struct cmd *c, struct err *e)
{
    enum run_state s = vm_run_state(c->vm);

    (void)e;
    json_open(c->json, NULL, '{');
    json_str(c->json, "status", run_state_name(s));
    json_bool(c->json, "singlestep", monitor_is_single(c->vm));
    json_bool(c->json, "running", s == RUN_RUNNING);
    json_close(c->json, '}');
    return 0;
}

int query_name(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    if (vm_config(c->vm)->name != NULL)
        json_str(c->json, "name", vm_config(c->vm)->name);
    json_close(c->json, '}');
    return 0;
}

int query_uuid(struct cmd *c, struct err *e)
{
    const uint8_t *u = vm_config(c->vm)->uuid;
    char text[40];
    size_t n = 0;

    (void)e;
    for (unsigned i = 0; i < 16; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                              u[i]);
    json_open(c->json, NULL, '{');
    json_str(c->json, "UUID", text);
    json_close(c->json, '}');
    return 0;
}

int query_kvm(struct cmd *c, struct err *e)
{
    const char *name = vm_accel_name(c->vm);

    (void)e;
    json_open(c->json, NULL, '{');
    json_bool(c->json, "enabled", name != NULL && strcmp(name, "kvm") == 0);
    json_bool(c->json, "present", true);
    json_close(c->json, '}');
    return 0;
}

/* All CPUs are cores of one socket, as CPUID shows them. */
static void put_place(struct json_out *o, unsigned i)
{
    json_open(o, "props", '{');
    json_int(o, "core-id", i);
    json_int(o, "thread-id", 0);
    json_int(o, "socket-id", 0);
    json_close(o, '}');
}

int query_cpus(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; i < vm_vcpu_count(c->vm); i++) {
        json_open(c->json, NULL, '{');
        json_int(c->json, "thread-id", cpu_thread_id(i));
        put_place(c->json, i);
        json_strf(c->json, "qom-path", "/machine/cpu%u", i);
        json_int(c->json, "cpu-index", i);
        json_str(c->json, "target", "x86_64");
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int query_hotpluggable(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = vm_vcpu_count(c->vm); i-- > 0;) {
        json_open(c->json, NULL, '{');
        put_place(c->json, i);
        json_int(c->json, "vcpus-count", 1);
        json_strf(c->json, "qom-path", "/machine/cpu%u", i);
        json_str(c->json, "type", "x86_64-cpu");
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int query_chardev(struct cmd *c, struct err *e)
{
    struct chardev *d = NULL;
    char name[512];

    (void)e;
    json_open(c->json, NULL, '[');
    while ((d = chardev_next(c->vm, d)) != NULL) {
        json_open(c->json, NULL, '{');
        json_bool(c->json, "frontend-open", true);
        json_str(c->json, "filename", chardev_filename(d, name, sizeof(name)));
        json_str(c->json, "label", chardev_name(d));
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int query_chardev_kinds(struct cmd *c, struct err *e)
{
    static const char *const names[] = { "file", "null",    "pipe",
                                         "pty",  "ringbuf", "socket",
                                         "mux",  "stdio",   "vc" };

    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", names[i]);
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

static void put_mouse(struct json_out *o, int index, const char *name,
                      bool is_current, bool is_absolute)
{
    json_open(o, NULL, '{');
    json_int(o, "index", index);
    json_str(o, "name", name);
    json_bool(o, "current", is_current);
    json_bool(o, "absolute", is_absolute);
    json_close(o, '}');
}

int query_mice(struct cmd *c, struct err *e)
{
    bool has_tablet = input_has_tablet(vm_input(c->vm));

    (void)e;
    json_open(c->json, NULL, '[');
    put_mouse(c->json, 2, "PS/2 Mouse", !has_tablet, false);
    if (has_tablet) put_mouse(c->json, 3, "Tablet", true, true);
    json_close(c->json, ']');
    return 0;
}

int query_memory_size(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_uint(c->json, "base-memory", vm_config(c->vm)->ram_bytes);
    json_int(c->json, "plugged-memory", 0);
    json_close(c->json, '}');
    return 0;
}

int query_memdev(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '[');
    json_open(c->json, NULL, '{');
    json_bool(c->json, "share", false);
    json_bool(c->json, "reserve", true);
    json_bool(c->json, "prealloc", false);
    json_open(c->json, "host-nodes", '[');
    json_close(c->json, ']');
    json_uint(c->json, "size", vm_config(c->vm)->ram_bytes);
    json_bool(c->json, "merge", false);
    json_bool(c->json, "dump", true);
    json_str(c->json, "policy", "default");
    json_str(c->json, "id", "pc.ram");
    json_close(c->json, '}');
    json_close(c->json, ']');
    return 0;
}

int query_machines(struct cmd *c, struct err *e)
{
    const struct monitor_catalog *k = vm_service(c->vm, "monitor-catalog");
    const char *name, *alias, *title;

    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; k != NULL && k->machine(i, &name, &alias, &title);
         i++) {
        json_open(c->json, NULL, '{');
        json_bool(c->json, "hotpluggable-cpus", false);
        json_str(c->json, "name", name);
        json_bool(c->json, "numa-mem-supported", false);
        json_bool(c->json, "deprecated", false);
        if (alias != NULL) json_str(c->json, "alias", alias);
        if (strcmp(name, k->default_machine) == 0)
            json_bool(c->json, "is-default", true);
        json_int(c->json, "cpu-max", VM_MAX_CPUS);
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int query_cpu_models(struct cmd *c, struct err *e)
{
    const char *name, *title = NULL;

    (void)e;
    json_open(c->json, NULL, '[');
    for (unsigned i = 0; (name = cpu_model_list(i, &title)) != NULL; i++) {
        json_open(c->json, NULL, '{');
        json_str(c->json, "name", name);
        json_str(c->json, "typename", name);
        json_bool(c->json, "static", false);
        json_bool(c->json, "deprecated", false);
        json_bool(c->json, "migration-safe", strcmp(name, "host") != 0);
        json_open(c->json, "unavailable-features", '[');
        json_close(c->json, ']');
        json_close(c->json, '}');
    }
    json_close(c->json, ']');
    return 0;
}

int query_target(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_str(c->json, "arch", "x86_64");
    json_close(c->json, '}');
    return 0;
}

int query_current_machine(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_bool(c->json, "wakeup-suspend-support", false);
    json_close(c->json, '}');
    return 0;
}

int query_display(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '{');
    json_str(c->json, "type",
             vm_service(c->vm, "display-type") != NULL
                 ? vm_service(c->vm, "display-type")
                 : "none");
    json_close(c->json, '}');
    return 0;
}

int query_empty(struct cmd *c, struct err *e)
{
    (void)e;
    json_open(c->json, NULL, '[');
    json_close(c->json, ']');
    return 0;
}

/* ---- answers of a device or display ---- */

static bool ask(struct cmd *c, const char *service)
{
    const struct vm_query *q = vm_service(c->vm, service);

    if (q == NULL) return false;
    q->write(q->arg, c->json);
    return true;
}

int query_pci(struct cmd *c, struct err *e)
{
    return ask(c, "query-pci") ? 0 : query_empty(c, e);
}

int query_vnc(struct cmd *c, struct err *e)
{
    (void)e;
    if (ask(c, "query-vnc")) return 0;
    json_open(c->json, NULL, '{');
    json_bool(c->json, "enabled", vm_service(c->vm, "vnc") != NULL);
    json_close(c->json, '}');
    return 0;
}

int query_vnc_servers(struct cmd *c, struct err *e)
{
    return ask(c, "query-vnc-servers") ? 0 : query_empty(c, e);
}
