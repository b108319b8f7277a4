/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/intr.h"

#include "core/vm/vm_private.h"

void intr_set_sink_locked(struct vm *vm, const struct intr_sink *sink)
{
    vm->sink = sink;
}

void intr_set_lapic_locked(struct vm *vm, const struct lapic_ops *ops,
                           void *lapics)
{
    vm->lapic = ops;
    vm->lapics = lapics;
}

void intr_set_pic_locked(struct vm *vm, int (*ack)(void *pic), void *pic)
{
    vm->pic_ack = ack;
    vm->pic = pic;
}

void intr_msi_locked(struct vm *vm, uint64_t addr, uint32_t data)
{
    if (vm->sink != NULL && vm->sink->msi != NULL) {
        vm->sink->msi(vm, addr, data);
    } else if (vm->lapic != NULL) {
        vm->lapic->msi(vm->lapics, addr, data);
    }
}

void intr_pic_output_locked(struct vm *vm, bool level)
{
    vm->pic_level = level;
    if (vm->sink != NULL && vm->sink->pic_output != NULL) {
        vm->sink->pic_output(vm, level);
    } else if (vm->lapic != NULL) {
        vm->lapic->pic_output(vm->lapics, level);
    } else if (vm->vcpu_count > 0) {
        if (level) {
            vcpu_raise(vm->vcpu[0], VCPU_INTR);
        } else {
            vcpu_lower(vm->vcpu[0], VCPU_INTR);
        }
    }
}

int intr_ack_locked(struct vm *vm, unsigned cpu)
{
    if (vm->lapic != NULL) {
        int vector = vm->lapic->ack(vm->lapics, cpu);

        if (vector != -2) return vector;
    } else if (cpu != 0 || !vm->pic_level) {
        return -1;
    }
    return vm->pic_ack != NULL ? vm->pic_ack(vm->pic) : -1;
}

const struct lapic_ops *intr_lapic(struct vm *vm, void **lapics)
{
    *lapics = vm->lapics;
    return vm->lapic;
}
