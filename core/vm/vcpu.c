/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads: parked while the machine is paused, in the accelerator's run
 * function otherwise; events; exclusive sections.
 *
 * Exclusive sections (flat view, code cache): the holder has the VM lock, sets
 * is_exclusive, kicks everybody and waits until no other vCPU is_running.  A
 * vCPU that comes from outside in vcpu_enter sees the flag and waits.  The
 * order store(is_running) / load(is_exclusive) against store(is_exclusive) /
 * load(is_running), all sequentially consistent, lets neither miss the other.
 */
#include "core/vm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/vm_private.h"

static _Thread_local struct vcpu *current;

struct vcpu *vcpu_current(void)
{
    return current;
}

void vcpu_set_current(struct vcpu *v)
{
    current = v;
}

void vcpu_raise(struct vcpu *v, uint32_t events)
{
    atomic_fetch_or(&v->events, events);
    if (atomic_load(&v->is_halted)) {
        pthread_mutex_lock(&v->wait_lock);
        pthread_cond_broadcast(&v->wait_cond);
        pthread_mutex_unlock(&v->wait_lock);
    }
    if (v->kick != NULL) v->kick(v);
}

void vcpu_lower(struct vcpu *v, uint32_t events)
{
    atomic_fetch_and(&v->events, ~events);
}

uint32_t vcpu_take(struct vcpu *v, uint32_t events)
{
    return atomic_fetch_and(&v->events, ~events) & events;
}

void vcpu_wait(struct vcpu *v, uint32_t mask)
{
    pthread_mutex_lock(&v->wait_lock);
    atomic_store(&v->is_halted, true);
    while (!(atomic_load(&v->events) & mask) && !atomic_load(&v->wants_exit)) {
        pthread_cond_wait(&v->wait_cond, &v->wait_lock);
    }
    atomic_store(&v->is_halted, false);
    pthread_mutex_unlock(&v->wait_lock);
}

/* ---- exclusive sections ---- */

static bool others_running(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];

        if (v != current && atomic_load(&v->is_running)) return true;
    }
    return false;
}

void vm_exclusive_begin_locked(struct vm *vm)
{
    if (vm->excl_depth++ > 0) return;
    atomic_store(&vm->is_exclusive, true);
    if (!others_running(vm)) return;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i] != current) vcpu_raise(vm->vcpu[i], VCPU_FLUSH);
    }
    pthread_mutex_lock(&vm->excl_lock);
    while (others_running(vm)) {
        pthread_cond_wait(&vm->excl_cond, &vm->excl_lock);
    }
    pthread_mutex_unlock(&vm->excl_lock);
}

void vm_exclusive_end_locked(struct vm *vm)
{
    if (--vm->excl_depth > 0) return;
    pthread_mutex_lock(&vm->excl_lock);
    atomic_store(&vm->is_exclusive, false);
    pthread_cond_broadcast(&vm->excl_cond);
    pthread_mutex_unlock(&vm->excl_lock);
}

void vcpu_enter(struct vcpu *v)
{
    struct vm *vm = v->vm;

    for (;;) {
        atomic_store(&v->is_running, true);
        if (!atomic_load(&vm->is_exclusive)) return;
        vcpu_leave(v);
        pthread_mutex_lock(&vm->excl_lock);
        while (atomic_load(&vm->is_exclusive)) {
            pthread_cond_wait(&vm->excl_cond, &vm->excl_lock);
        }
        pthread_mutex_unlock(&vm->excl_lock);
    }
}

void vcpu_leave(struct vcpu *v)
{
    struct vm *vm = v->vm;

    atomic_store(&v->is_running, false);
    if (!atomic_load(&vm->is_exclusive)) return;
    pthread_mutex_lock(&vm->excl_lock);
    pthread_cond_broadcast(&vm->excl_cond);
    pthread_mutex_unlock(&vm->excl_lock);
}

/* ---- threads ---- */

static bool may_run(const struct vcpu *v)
{
    return v->vm->state == RUN_RUNNING && v->vm->pause_depth == 0 &&
           !v->is_held;
}

/* Caller holds the VM lock; returns false when the thread shall end. */
static bool park_until_runnable(struct vcpu *v)
{
    struct vm *vm = v->vm;

    vm->parked_count++;
    pthread_cond_broadcast(&vm->parked);
    while (!may_run(v) && !atomic_load(&v->wants_exit)) {
        atomic_store(&vm->has_owner, false);
        pthread_cond_wait(&vm->parked, &vm->lock);
        atomic_store(&vm->owner, pthread_self());
        atomic_store(&vm->has_owner, true);
    }
    vm->parked_count--;
    vcpu_take(v, VCPU_EXIT);
    return !atomic_load(&v->wants_exit);
}

static void *vcpu_thread(void *arg)
{
    struct vcpu *v = arg;

    current = v;
    for (;;) {
        bool go;

        vm_lock(v->vm);
        go = park_until_runnable(v);
        vm_unlock(v->vm);
        if (!go) break;
        v->vm->accel->vcpu_run(v);
    }
    vm_lock(v->vm);
    v->vm->parked_count++; /* counts as parked for good */
    pthread_cond_broadcast(&v->vm->parked);
    vm_unlock(v->vm);
    return NULL;
}

void vm_park_locked(struct vm *vm)
{
    vm->pause_depth++;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_raise(vm->vcpu[i], VCPU_EXIT);
    }
    while (vm->parked_count < vm->vcpu_count) {
        atomic_store(&vm->has_owner, false);
        pthread_cond_wait(&vm->parked, &vm->lock);
        atomic_store(&vm->owner, pthread_self());
        atomic_store(&vm->has_owner, true);
    }
}

void vm_unpark_locked(struct vm *vm)
{
    vm->pause_depth--;
    pthread_cond_broadcast(&vm->parked);
}

static int add_vcpu(struct vm *vm, struct err *e)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    char name[16];
    int rc;

    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    v->vm = vm;
    v->index = vm->vcpu_count;
    pthread_mutex_init(&v->wait_lock, NULL);
    pthread_cond_init(&v->wait_cond, NULL);
    rc = vm->accel->vcpu_open(v, e);
    if (rc < 0) {
        free(v);
        return rc;
    }
    vm->vcpu[vm->vcpu_count++] = v;
    rc = pthread_create(&v->thread, NULL, vcpu_thread, v);
    if (rc != 0) {
        vm->vcpu_count--;
        vm->accel->vcpu_close(v);
        free(v);
        return err_set(e, -rc, "cannot start a thread for CPU %u: %s",
                       vm->vcpu_count, strerror(rc));
    }
    v->has_thread = true;
    snprintf(name, sizeof(name), "CPU %u", v->index);
    pthread_setname_np(v->thread, name);
    return 0;
}

int vm_add_vcpus(struct vm *vm, unsigned count, struct err *e)
{
    for (unsigned i = 0; i < count; i++) {
        int rc;

        if (vm->vcpu_count == VM_MAX_CPUS) {
            return err_set(e, -ERANGE, "more than %d CPUs", VM_MAX_CPUS);
        }
        rc = add_vcpu(vm, e);
        if (rc < 0) return rc;
    }
    return 0;
}

void vm_vcpus_exit(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        atomic_store(&vm->vcpu[i]->wants_exit, true);
        vcpu_raise(vm->vcpu[i], VCPU_EXIT);
    }
    vm_lock(vm);
    pthread_cond_broadcast(&vm->parked);
    vm_unlock(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];

        if (v->has_thread) pthread_join(v->thread, NULL);
        vm->accel->vcpu_close(v);
        pthread_mutex_destroy(&v->wait_lock);
        pthread_cond_destroy(&v->wait_cond);
        free(v);
        vm->vcpu[i] = NULL;
    }
    vm->vcpu_count = 0;
}
