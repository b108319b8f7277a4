/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the state of a machine down: everything but memory. */
#include "monitor/vmstate.h"

#include <stdio.h>
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

static void append_section(struct state_out *out, const char *type,
                           const struct state_out *body)
{
    struct section s = { .crc = vmstate_crc(body->data, body->bytes),
                         .bytes = body->bytes };

    memcpy(s.type, type, 4);
    state_append(out, &s, sizeof(s));
    state_append(out, body->data, body->bytes);
    if (body->status < 0) out->status = body->status;
}

static void append_meta(struct vm *vm, struct state_out *out,
                        const char *parent)
{
    struct state_out body = { .data = NULL };
    char text[1200];

    snprintf(text, sizeof(text),
             "machine=%s\nram=%llu\ncpus=%u\naccel=%s\nclock=%llu\n"
             "parent=%.255s\n",
             vm_root(vm)->cls->name, (unsigned long long)vm_ram(vm)->size,
             vm_vcpu_count(vm), vm_accel_name(vm),
             (unsigned long long)clock_now_ns(vm), parent);
    state_append(&body, text, strlen(text));
    append_section(out, "META", &body);
    state_out_free(&body);
}

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
    append_section(out, "CPU ", &body);
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

int vmstate_capture(struct vm *vm, struct state_out *out, const char *parent,
                    struct err *e)
{
    const uint32_t version = STREAM_VERSION;
    struct state_out devices = { .data = NULL };
    int rc;

    state_append(out, vmstate_magic, sizeof(vmstate_magic));
    state_append(out, &version, sizeof(version));
    append_meta(vm, out, parent);
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++)
        append_cpu(vm, i, out);
    rc = dev_save_tree(vm_root(vm), &devices, e);
    if (rc == 0) append_section(out, "DEVS", &devices);
    state_out_free(&devices);
    if (rc == 0 && out->status < 0)
        rc = err_set(e, out->status, "out of memory");
    return rc;
}
