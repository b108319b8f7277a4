/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/monitor_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpuid.h"
#include "core/host/input.h"
#include "core/loop/loop.h"

/* ---- a VM whose one CPU does nothing ---- */

static void *phys_ptr(struct cpu *c, uint64_t gpa)
{
    return gpa < RIG_RAM_BYTES ? vm_ram(c->vcpu->vm)->host + gpa : NULL;
}

static const struct cpu_ops fake_cpu_ops = { .phys_ptr = phys_ptr };
static const struct cpu_model fake_model = { .phys_bits = 40 };

static int fake_open(struct vcpu *v, struct err *e)
{
    (void)e;
    v->cpu = aligned_alloc(64, (sizeof(struct cpu) + 63) & ~63u);
    memset(v->cpu, 0, sizeof(*v->cpu));
    v->cpu->ops = &fake_cpu_ops;
    v->cpu->model = &fake_model;
    v->cpu->vcpu = v;
    return 0;
}

static void fake_close(struct vcpu *v)
{
    free(v->cpu);
}

static void fake_run(struct vcpu *v)
{
    vcpu_wait(v, VCPU_EXIT);
    vcpu_take(v, VCPU_EXIT);
}

static void fake_reset(struct vcpu *v)
{
    (void)v;
}

static const struct vm_accel_ops fake_ops = {
    .vcpu_open = fake_open,
    .vcpu_close = fake_close,
    .vcpu_run = fake_run,
    .vcpu_reset = fake_reset,
};

int monitor_rig_setup(void **state)
{
    struct monitor_rig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;
    static const uint8_t reset_code[16] = {
        /* the last 16 octets of SeaBIOS: a far jump and a date */
        0xea, 0x5b, 0xe0, 0x00, 0xf0, 0x30, 0x36, 0x2f,
        0x32, 0x33, 0x2f, 0x39, 0x39, 0x00, 0xfc, 0x00,
    };

    r->cfg.name = (char *)"test";
    r->cfg.cpus = 1;
    r->cfg.ram_bytes = RIG_RAM_BYTES;
    if (loop_create(&r->loop, &e) < 0) return -1;
    if (vm_create(&r->cfg, r->loop, &r->vm, &e) < 0) return -1;
    vm_set_accel(r->vm, "soft", &fake_ops, NULL);
    r->ram = vm_ram(r->vm);
    vm_lock(r->vm);
    mem_add_locked(r->vm, mem_root(r->vm), 0, r->ram, 0);
    memcpy(r->ram->host + 0xffff0, reset_code, sizeof(reset_code));
    if (vm_add_vcpus(r->vm, 1, &e) < 0) return -1;
    vm_unlock(r->vm);
    r->cpu = vm_vcpu(r->vm, 0)->cpu;
    r->cpu->rflags = 2;
    r->s.vm = r->vm;
    *state = r;
    return 0;
}

int monitor_rig_teardown(void **state)
{
    struct monitor_rig *r = *state;

    vm_lock(r->vm);
    mem_del_locked(r->vm, r->ram);
    input_destroy(vm_service(r->vm, "input")); /* made on first use */
    vm_unlock(r->vm);
    vm_destroy(r->vm);
    loop_destroy(r->loop);
    free(r);
    return 0;
}

char *monitor_rig_answer(struct monitor_rig *r, const char *line)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);

    monitor_run(&r->s, line, f);
    fclose(f);
    return text;
}

void monitor_rig_expect(struct monitor_rig *r, const char *line,
                        const char *want)
{
    char *got = monitor_rig_answer(r, line);

    if (strcmp(got, want) != 0)
        fail_msg("%s\n-- wanted --\n%s-- got --\n%s", line, want, got);
    free(got);
}
