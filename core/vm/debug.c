/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/debug.h"

#include <errno.h>
#include <string.h>

#include "core/vm/vm_private.h"

static bool is_same(const struct vm_point *a, const struct vm_point *b)
{
    return a->kind == b->kind && a->lin == b->lin && a->bytes == b->bytes;
}

/* Let the accelerator act on the present points; CPUs parked. */
static int apply(struct vm *vm, struct err *e)
{
    int rc;

    vm_park_locked(vm);
    rc = vm->accel->set_debug(vm, e);
    vm_unpark_locked(vm);
    return rc;
}

int vm_point_add_locked(struct vm *vm, const struct vm_point *p, struct err *e)
{
    int rc;

    if (vm->accel == NULL || vm->accel->set_debug == NULL) {
        return err_set(e, -ENOTSUP, "this accelerator cannot be debugged");
    }
    if (p->bytes == 0 || p->lin + (p->bytes - 1) < p->lin) {
        return err_set(e, -EINVAL, "cannot watch %llu bytes",
                       (unsigned long long)p->bytes);
    }
    for (unsigned i = 0; i < vm->point_count; i++) {
        if (!is_same(&vm->point[i], p)) continue;
        return err_set(e, -EEXIST, "there is one already");
    }
    if (vm->point_count == VM_POINTS_MAX) {
        return err_set(e, -ENOSPC, "more than %d points", VM_POINTS_MAX);
    }
    vm->point[vm->point_count++] = *p;
    rc = apply(vm, e);
    if (rc < 0) {
        vm->point_count--;
        apply(vm, NULL);
    }
    return rc;
}

int vm_point_del_locked(struct vm *vm, const struct vm_point *p)
{
    for (unsigned i = 0; i < vm->point_count; i++) {
        if (!is_same(&vm->point[i], p)) continue;
        vm->point_count--;
        memmove(&vm->point[i], &vm->point[i + 1],
                (vm->point_count - i) * sizeof(vm->point[0]));
        apply(vm, NULL);
        return 0;
    }
    return -ENOENT;
}

void vm_point_clear_locked(struct vm *vm)
{
    if (vm->point_count == 0) return;
    vm->point_count = 0;
    apply(vm, NULL);
}

unsigned vm_point_count(struct vm *vm)
{
    return vm->point_count;
}

const struct vm_point *vm_point_at(struct vm *vm, unsigned i)
{
    return i < vm->point_count ? &vm->point[i] : NULL;
}

void vm_debug_step_locked(struct vm *vm, unsigned cpu, bool on)
{
    struct vcpu *v = vm_vcpu(vm, cpu);

    if (v == NULL || v->is_stepping == on) return;
    vm_park_locked(vm);
    v->is_stepping = on;
    vm_unpark_locked(vm);
}

void vm_debug_hold_locked(struct vm *vm, unsigned cpu, bool on)
{
    struct vcpu *v = vm_vcpu(vm, cpu);

    if (v == NULL || v->is_held == on) return;
    vm_park_locked(vm);
    v->is_held = on;
    vm_unpark_locked(vm);
}

bool vm_stop_take_locked(struct vm *vm, uint64_t cpus, unsigned *cpu,
                         struct vm_stop *out)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];

        if (v->stop.why == VM_STOP_NONE || !(cpus >> i & 1)) continue;
        *out = v->stop;
        *cpu = i;
        v->stop.why = VM_STOP_NONE;
        return true;
    }
    return false;
}

void vm_stop_drop_locked(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vm_stop *s = &vm->vcpu[i]->stop;

        if (s->why != VM_STOP_WATCH) s->why = VM_STOP_NONE;
    }
}

void vcpu_debug_stop(struct vcpu *v, const struct vm_stop *s)
{
    vm_lock(v->vm);
    v->stop = *s;
    vm_unlock(v->vm);
    vm_request(v->vm, VM_REQ_DEBUG);
}
