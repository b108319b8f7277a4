/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of info that come from the machine as a whole. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/cpu/cpu.h"
#include "core/cpu/host_print.h"
#include "core/host/chardev.h"
#include "core/host/input.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/readline.h"

int info_status(struct cmd *c, struct err *e)
{
    enum run_state s = vm_run_state(c->vm);

    (void)e;
    fprintf(c->out, "VM status: %s%s", s == RUN_RUNNING ? "running" : "paused",
            monitor_is_single(c->vm) ? " (single step mode)" : "");
    if (s != RUN_RUNNING && s != RUN_PAUSED)
        fprintf(c->out, " (%s)", run_state_name(s));
    fputc('\n', c->out);
    return 0;
}

int info_version(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out, "%s (Orrery)\n", ORRERY_VERSION);
    return 0;
}

int info_name(struct cmd *c, struct err *e)
{
    const struct vm_config *cfg = vm_config(c->vm);

    (void)e;
    if (cfg->name != NULL) fprintf(c->out, "%s\n", cfg->name);
    return 0;
}

int info_uuid(struct cmd *c, struct err *e)
{
    const uint8_t *u = vm_config(c->vm)->uuid;

    (void)e;
    for (unsigned i = 0; i < 16; i++)
        fprintf(c->out, "%s%02x",
                i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    fputc('\n', c->out);
    return 0;
}

static bool is_kvm(struct vm *vm)
{
    const char *name = vm_accel_name(vm);

    return name != NULL && strcmp(name, "kvm") == 0;
}

int info_kvm(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out, "kvm support: %s\n",
            is_kvm(c->vm) ? "enabled" : "disabled");
    return 0;
}

int info_accel(struct cmd *c, struct err *e)
{
    const char *why = vm_service(c->vm, "accel-why");
    const char *name = vm_accel_name(c->vm);

    (void)e;
    if (name == NULL) name = "none";
    fprintf(c->out, "accelerator: %s\n", why != NULL ? why : name);
    return 0;
}

int info_jit(struct cmd *c, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(c->vm, NULL);

    if (ops == NULL || ops->print_stats == NULL)
        return err_set(e, -ENOTSUP,
                       "JIT information is only available with accel=soft");
    ops->print_stats(c->vm, c->out);
    return 0;
}

/* Kernel's number of the thread called "CPU n" (vcpu.c names them), as a
 * script needs it for taskset; -1 if it cannot be found. */
int cpu_thread_id(unsigned n)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *d;
    char want[32], path[300], name[32];
    int id = -1;

    snprintf(want, sizeof(want), "CPU %u\n", n);
    while (dir != NULL && id < 0 && (d = readdir(dir)) != NULL) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
        f = fopen(path, "re");
        if (f == NULL) continue;
        if (fgets(name, sizeof(name), f) != NULL && strcmp(name, want) == 0)
            id = atoi(d->d_name);
        fclose(f);
    }
    if (dir != NULL) closedir(dir);
    return id;
}

int info_cpus(struct cmd *c, struct err *e)
{
    (void)e;
    for (unsigned i = 0; i < vm_vcpu_count(c->vm); i++) {
        struct vcpu *v = vm_vcpu(c->vm, i);

        fprintf(c->out, "%c CPU #%u: thread_id=%d%s\n",
                i == c->s->cpu ? '*' : ' ', i, cpu_thread_id(i),
                atomic_load(&v->is_halted) ? " (halted)" : "");
    }
    return 0;
}

int info_chardev(struct cmd *c, struct err *e)
{
    struct chardev *d = NULL;
    char name[512];

    (void)e;
    while ((d = chardev_next(c->vm, d)) != NULL)
        fprintf(c->out, "%s: filename=%s\n", chardev_name(d),
                chardev_filename(d, name, sizeof(name)));
    return 0;
}

static int print_cpu(struct cmd *c, unsigned i, struct err *e)
{
    struct vcpu *v = vm_vcpu(c->vm, i);
    struct cpu *cpu;

    if (v == NULL) return err_set(e, -EINVAL, "CPU#%u not available", i);
    cpu = monitor_cpu_begin(c->s, i);
    if (cpu == NULL) return err_set(e, -ENODEV, "No CPU available");
    fprintf(c->out, "\nCPU#%u\n", i);
    cpu_print_registers(
        cpu, cpu->activity != CPU_ACTIVE || atomic_load(&v->is_halted),
        mem_a20(c->vm), c->out);
    monitor_cpu_end(c->s);
    return 0;
}

int info_registers(struct cmd *c, struct err *e)
{
    uint64_t i = c->s->cpu;
    int rc = 0;

    if (c->arg[0].is_given) {
        for (unsigned n = 0; n < vm_vcpu_count(c->vm) && rc == 0; n++)
            rc = print_cpu(c, n, e);
        return rc;
    }
    if (c->arg[1].is_given) i = (uint64_t)c->arg[1].number;
    if (i >= VM_MAX_CPUS)
        return err_set(e, -EINVAL, "CPU#%llu not available",
                       (unsigned long long)i);
    return print_cpu(c, (unsigned)i, e);
}

/* The device's page has all CPUs, one after the other. */
int info_lapic(struct cmd *c, struct err *e)
{
    uint64_t cpu = c->s->cpu;
    char *text = NULL, *from, *to, head[64];
    size_t bytes = 0;
    FILE *f;
    int rc;

    if (c->arg[0].is_given) cpu = (uint64_t)c->arg[0].number;
    if (cpu >= vm_vcpu_count(c->vm))
        return err_set(e, -EINVAL, "No local APIC with ID %lld",
                       (long long)cpu);
    f = open_memstream(&text, &bytes);
    if (f == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = vm_print_info_locked(c->vm, "lapic", f);
    fclose(f);
    if (rc < 0) {
        free(text);
        return err_set(e, rc,
                       "the local APICs are in the kernel and not shown");
    }
    snprintf(head, sizeof(head), "dumping local APIC state for CPU %u ",
             (unsigned)cpu);
    from = strstr(text, head);
    if (from != NULL) {
        to = strstr(from + 1, "dumping local APIC state");
        if (to != NULL) *to = '\0';
        fputs(from, c->out);
    }
    free(text);
    return 0;
}

/* ---- more of the machine ---- */

int info_history(struct cmd *c, struct err *e)
{
    const char *line;

    (void)e;
    if (c->s->readline == NULL) return 0;
    for (unsigned i = 0; (line = readline_history(c->s->readline, i)); i++)
        fprintf(c->out, "%u: '%s'\n", i, line);
    return 0;
}

int info_mice(struct cmd *c, struct err *e)
{
    struct input *in = vm_input(c->vm);

    (void)e;
    fprintf(c->out, "%c Mouse #2: PS/2 Mouse\n",
            input_has_tablet(in) ? ' ' : '*');
    if (input_has_tablet(in)) fputs("* Mouse #3: Tablet (absolute)\n", c->out);
    return 0;
}

int info_memory_size(struct cmd *c, struct err *e)
{
    (void)e;
    fprintf(c->out, "base memory: %llu\nplugged memory: 0\n",
            (unsigned long long)vm_config(c->vm)->ram_bytes);
    return 0;
}

int info_hotpluggable(struct cmd *c, struct err *e)
{
    (void)e;
    fputs("Hotpluggable CPUs:\n", c->out);
    for (unsigned i = vm_vcpu_count(c->vm); i-- > 0;)
        fprintf(c->out,
                "  type: \"x86_64-cpu\"\n  vcpus_count: \"1\"\n"
                "  qom_path: \"/machine/cpu%u\"\n"
                "  CPUInstance Properties:\n    socket-id: \"0\"\n"
                "    core-id: \"%u\"\n    thread-id: \"0\"\n",
                i, i);
    return 0;
}

int info_numa(struct cmd *c, struct err *e)
{
    (void)e;
    fputs("0 nodes\n", c->out);
    return 0;
}

int info_balloon(struct cmd *c, struct err *e)
{
    if (vm_print_info_locked(c->vm, "balloon", c->out) == 0) return 0;
    return err_set(e, -ENODEV, "No balloon device has been activated");
}

int info_generation_id(struct cmd *c, struct err *e)
{
    (void)c;
    return err_set(e, -ENODEV, "VM Generation ID device not found");
}

/* A list that is empty as long as no device or option can fill it. */
int info_nothing(struct cmd *c, struct err *e)
{
    (void)c, (void)e;
    return 0;
}

int info_vnc(struct cmd *c, struct err *e)
{
    (void)e;
    if (vm_service(c->vm, "vnc") == NULL ||
        vm_print_info_locked(c->vm, "vnc", c->out) < 0)
        fputs("None\n", c->out);
    return 0;
}
