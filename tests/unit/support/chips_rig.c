/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chips_rig.h"

#include <stdlib.h>
#include <string.h>

#include "core/host/input.h"
#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

static const struct vm_config rig_config = {
    .ram_bytes = 4 << 20,
    .cpus = 1,
    .rtc_base_s = 951825599, /* 2000-02-29 11:59:59 UTC, a Tuesday */
};

int rig_setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;

    if (r == NULL || loop_create(&r->loop, &e) < 0) return -1;
    if (vm_create(&rig_config, r->loop, &r->vm, &e) < 0) return -1;
    vm_lock(r->vm);
    *state = r;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *r = *state;

    input_destroy(vm_service(r->vm, "input"));
    vm_unlock(r->vm);
    vm_destroy(r->vm);
    loop_destroy(r->loop);
    free(r);
    return 0;
}

struct dev *rig_add(struct rig *r, const struct dev_class *cls)
{
    return rig_add_with(r, cls, NULL);
}

struct dev *rig_add_with(struct rig *r, const struct dev_class *cls, ...)
{
    struct err e = ERR_INIT;
    struct dev *d = NULL;
    const char *name;
    va_list ap;

    if (dev_new(r->vm, NULL, cls, NULL, &d, &e) < 0) fail_msg("%s", e.text);
    va_start(ap, cls);
    while ((name = va_arg(ap, const char *)) != NULL) {
        if (dev_set(d, name, va_arg(ap, const char *), &e) < 0)
            fail_msg("%s", e.text);
    }
    va_end(ap);
    if (dev_create(d, &e) < 0) fail_msg("%s", e.text);
    if (cls->reset != NULL) cls->reset(d);
    return d;
}

static void rig_set(void *arg, unsigned n, bool level)
{
    struct rig *r = arg;

    if (level && !r->level[n]) r->rises[n]++;
    r->level[n] = level;
}

struct irq_line rig_line(struct rig *r, unsigned n)
{
    return (struct irq_line){ .set = rig_set, .arg = r, .n = n };
}

uint8_t rig_in(struct rig *r, unsigned port)
{
    return port_read_locked(r->vm, port, 1) & 0xff;
}

void rig_out(struct rig *r, unsigned port, unsigned v)
{
    port_write_locked(r->vm, port, 1, v);
}

uint32_t rig_read32(struct rig *r, uint64_t gpa)
{
    uint32_t v = 0;

    mem_read_locked(r->vm, gpa, &v, sizeof(v));
    return v;
}

void rig_write32(struct rig *r, uint64_t gpa, uint32_t v)
{
    mem_write_locked(r->vm, gpa, &v, sizeof(v));
}

/* Guest time stands still, so a timer of ours at the goal bounds the way: it
 * is set to every deadline in turn. */
static void rig_run_due(struct rig *r)
{
    vm_unlock(r->vm);
    loop_step(r->loop, 0);
    vm_lock(r->vm);
}

void rig_advance(struct rig *r, uint64_t ns)
{
    uint64_t goal_ns = clock_now_ns(r->vm) + ns;
    uint64_t step_ns = ns / 1000 + 1;

    while (clock_now_ns(r->vm) < goal_ns) {
        uint64_t next_ns = clock_now_ns(r->vm) + step_ns;

        clock_set_ns_locked(r->vm, next_ns < goal_ns ? next_ns : goal_ns);
        rig_run_due(r);
    }
    rig_run_due(r);
}

void rig_round_trip(struct rig *r)
{
    struct state_out a = { 0 }, b = { 0 };
    struct err e = ERR_INIT;

    assert_int_equal(dev_save_tree(vm_root(r->vm), &a, &e), 0);
    assert_true(a.bytes > 0);
    dev_reset_tree(vm_root(r->vm));
    if (dev_load_tree(vm_root(r->vm), a.data, a.bytes, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(dev_save_tree(vm_root(r->vm), &b, &e), 0);
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.data, b.data, a.bytes);
    state_out_free(&a);
    state_out_free(&b);
}

void rig_load_garbage(struct rig *r)
{
    struct state_out a = { 0 };
    struct err e = ERR_INIT;
    uint8_t *copy;

    assert_int_equal(dev_save_tree(vm_root(r->vm), &a, &e), 0);
    copy = malloc(a.bytes);
    assert_non_null(copy);
    srand(1);
    for (unsigned i = 0; i < 3000; i++) {
        memcpy(copy, a.data, a.bytes);
        for (unsigned n = 0; n < 1 + i % 4; n++) {
            copy[(unsigned)rand() % a.bytes] = (uint8_t)rand();
        }
        (void)dev_load_tree(vm_root(r->vm), copy, a.bytes, &e);
    }
    dev_reset_tree(vm_root(r->vm));
    if (dev_load_tree(vm_root(r->vm), a.data, a.bytes, &e) < 0)
        fail_msg("%s", e.text);
    free(copy);
    state_out_free(&a);
}
