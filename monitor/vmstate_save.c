/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the state of a machine down: everything but memory. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/cpu/state.h"
#include "core/vm/clock.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"
#include "core/vm/vcpu.h"
#include "core/vm/vm.h"
#include "monitor/vmstate_int.h"

static void append_cpu(struct vm *vm, unsigned i, struct state_out *out)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    struct vcpu *v = vm_vcpu(vm, i);
    struct state_out head = { .data = NULL }, body = { .data = NULL };
    struct cpu_head h = { .index = i,
                          .events = atomic_load(&v->events) & VMSTATE_EVENTS,
                          .tsc = ops->tsc == NULL ? 0 : ops->tsc(v),
                          .sipi_vector = atomic_load(&v->sipi_vector) };
    uint32_t head_bytes;

    state_save(&head, vmstate_cpu_head, &h);
    head_bytes = (uint32_t)head.bytes;
    state_append(&body, &head_bytes, sizeof(head_bytes));
    state_append(&body, head.data, head.bytes);
    state_save(&body, cpu_state, v->cpu);
    vmstate_append(out, "CPU ", &body);
    state_out_free(&head);
    state_out_free(&body);
}

void vmstate_prepare_locked(struct vm *vm)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    if (ops->sync != NULL) ops->sync(vm);
    vm_park_locked(vm);
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
        if (ops->vcpu_get != NULL) ops->vcpu_get(vm_vcpu(vm, i));
    }
    vm_unpark_locked(vm);
}

int vmstate_check_accel(struct vm *vm, const char *what, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    if (ops->tsc != NULL && ops->set_tsc != NULL) return 0;
    return err_set(e, -ENOTSUP,
                   "%s not supported under accelerator %s: it keeps state to "
                   "itself; use -accel soft",
                   what, vm_accel_name(vm));
}

static int append_accel(struct vm *vm, struct state_out *out, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    struct state_out body = { .data = NULL };
    int rc;

    if (ops->save == NULL) return 0;
    rc = ops->save(vm, &body);
    if (rc == 0) vmstate_append(out, "ACCL", &body);
    state_out_free(&body);
    return rc < 0 ? err_set(e, rc, "out of memory") : 0;
}

/* The video memory among it is mostly blank. */
static void append_packed(struct state_out *out, const struct state_out *body)
{
    size_t cap = body->bytes + body->bytes / 128 + 1024, packed;
    struct state_out small = { .data = malloc(cap + 8), .cap = cap + 8 };
    uint64_t bytes = body->bytes;

    packed = small.data == NULL
                 ? 0
                 : vmstate_pack(small.data + 8, cap, body->data, body->bytes);
    if (packed == 0) {
        vmstate_append(out, "DEVS", body);
    } else {
        memcpy(small.data, &bytes, sizeof(bytes));
        small.bytes = packed + 8;
        vmstate_append(out, "DEVZ", &small);
    }
    free(small.data);
}

int vmstate_capture_about(struct vm *vm, struct state_out *out,
                          const struct vmstate_about *a, struct err *e)
{
    const uint32_t version = STREAM_VERSION;
    struct state_out devices = { .data = NULL };
    int rc;

    state_append(out, vmstate_magic, sizeof(vmstate_magic));
    state_append(out, &version, sizeof(version));
    vmstate_append_about(vm, out, a);
    rc = append_accel(vm, out, e);
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++)
        append_cpu(vm, i, out);
    if (rc == 0) rc = dev_save_tree(vm_root(vm), &devices, e);
    if (rc == 0 && a->uid != 0) append_packed(out, &devices);
    if (rc == 0 && a->uid == 0) vmstate_append(out, "DEVS", &devices);
    state_out_free(&devices);
    if (rc == 0 && out->status < 0)
        rc = err_set(e, out->status, "out of memory");
    return rc;
}

int vmstate_capture(struct vm *vm, struct state_out *out, const char *parent,
                    struct err *e)
{
    struct vmstate_about a = { .uid = 0 };

    snprintf(a.parent, sizeof(a.parent), "%s", parent);
    return vmstate_capture_about(vm, out, &a, e);
}
