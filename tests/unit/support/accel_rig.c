/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/accel_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

const struct vm_config accel_rig_config = {
    .ram_bytes = RAM_BYTES, .cpus = 1, .rtc_base_s = 0, .machine = (char *)"t"
};

static uint32_t port_get(void *arg, unsigned port, unsigned bytes)
{
    (void)arg, (void)port, (void)bytes;
    return 0x5a;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void port_put(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct rig *r = arg;

    (void)port, (void)bytes;
    r->done = v;
    loop_post(r->loop, nothing, NULL);
}

static const struct port_ops done_ops = { port_get, port_put, 1 };

static uint64_t reg_read(void *arg, uint64_t off, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, ((struct rig *)arg)->reg + off, bytes);
    return v;
}

static void reg_write(void *arg, uint64_t off, unsigned bytes, uint64_t v)
{
    memcpy(((struct rig *)arg)->reg + off, &v, bytes);
}

static const struct mem_ops reg_ops = { reg_read, reg_write, 1, 8 };

static void on_event(void *arg, enum vm_event ev)
{
    if (ev == VM_EVENT_RESET) ((struct rig *)arg)->resets++;
}

struct rig *accel_rig_open(const char *accel)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;
    char why[300];

    assert_non_null(r);
    assert_int_equal(loop_create(&r->loop, &e), 0);
    assert_int_equal(vm_create(&accel_rig_config, r->loop, &r->vm, &e), 0);
    vm_lock(r->vm);
    if (accel_open(r->vm, accel, why, sizeof(why), &e) < 0) {
        vm_unlock(r->vm);
        print_message("%s: %s\n", accel, e.text);
        vm_destroy(r->vm);
        loop_destroy(r->loop);
        free(r);
        skip(); /* what ran before, under the software CPU, has passed */
    }
    mem_init_alias(&r->low, "low", vm_ram(r->vm), 0, RAM_BYTES);
    assert_int_equal(mem_init_rom(&r->rom, "rom", 4096, &e), 0);
    mem_init_mmio(&r->mmio, "mmio", 4096, &reg_ops, r);
    mem_add_locked(r->vm, mem_root(r->vm), 0, &r->low, 0);
    mem_add_locked(r->vm, mem_root(r->vm), ROM_AT, &r->rom, 0);
    mem_add_locked(r->vm, mem_root(r->vm), MMIO_AT, &r->mmio, 0);
    port_map_locked(r->vm, DONE_PORT, 1, &done_ops, r, "done", &e);
    vm_add_listener(r->vm, on_event, r);
    return r;
}

void accel_rig_add_cpus(struct rig *r, unsigned count)
{
    struct err e = ERR_INIT;

    assert_int_equal(vm_add_vcpus(r->vm, count, &e), 0);
}

struct rig *accel_rig_new(const char *accel)
{
    struct rig *r = accel_rig_open(accel);

    accel_rig_add_cpus(r, 1);
    return r;
}

void accel_rig_free(struct rig *r)
{
    vm_unlock(r->vm);
    vm_destroy(r->vm);
    mem_free(&r->rom);
    loop_destroy(r->loop);
    free(r);
}

static struct cpu_segment flat(unsigned sel, unsigned type)
{
    return (struct cpu_segment){
        .sel = (uint16_t)sel,
        .attr = (uint16_t)(type | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB |
                           SEG_ATTR_G),
        .limit = UINT32_MAX,
    };
}

struct cpu *set_up_cpu(struct rig *r, unsigned index)
{
    struct vcpu *v = vm_vcpu(r->vm, index);
    struct cpu *c = v->cpu;

    vm_accel(r->vm, NULL)->vcpu_reset(v);
    c->seg[SEG_CS] = flat(8, 11);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != SEG_CS) c->seg[i] = flat(16, 3);
    }
    c->cr0 |= CR0_PE;
    c->rip = CODE;
    c->gpr[GPR_SP] = 0x8000;
    c->activity = CPU_ACTIVE;
    vm_accel(r->vm, NULL)->vcpu_put(v);
    return c;
}

struct cpu *set_up(struct rig *r, const uint8_t *code, size_t bytes)
{
    memcpy(vm_ram(r->vm)->host + CODE, code, bytes);
    return set_up_cpu(r, 0);
}

bool run_until(struct rig *r, bool (*is_true)(struct rig *r))
{
    uint64_t end = loop_now_ns() + LIMIT_MS * UINT64_C(1000000);

    while (!is_true(r) && loop_now_ns() < end) {
        vm_unlock(r->vm);
        loop_step(r->loop, 100);
        vm_lock(r->vm);
    }
    return is_true(r);
}

static bool is_over(struct rig *r)
{
    return r->done != 0 || r->resets != 0 || vm_run_state(r->vm) == RUN_DEBUG;
}

void get_registers(struct rig *r)
{
    const struct vm_accel_ops *a = vm_accel(r->vm, NULL);

    for (unsigned i = 0; i < vm_vcpu_count(r->vm); i++) {
        if (a->vcpu_get != NULL) a->vcpu_get(vm_vcpu(r->vm, i));
    }
}

void run(struct rig *r)
{
    vm_start_locked(r->vm);
    run_until(r, is_over);
    if (vm_run_state(r->vm) == RUN_RUNNING) {
        vm_stop_locked(r->vm, RUN_PAUSED);
    }
    get_registers(r);
}

const char *const accel_rig_names[ACCEL_RIGS] = { "soft", "soft,translate=off",
                                                  "kvm" };
