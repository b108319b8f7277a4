/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/vm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/trace.h"
#include "core/vm/vm_private.h"

/* The device all others hang from. */
static const struct dev_class machine_class = {
    .name = "machine",
    .title = "virtual machine",
    .bus = BUS_SYSTEM,
    .is_internal = true,
};

const char *run_state_name(enum run_state s)
{
    static const char *const name[] = {
        [RUN_PRELAUNCH] = "prelaunch",
        [RUN_RUNNING] = "running",
        [RUN_PAUSED] = "paused",
        [RUN_SHUTDOWN] = "shutdown",
        [RUN_INTERNAL_ERROR] = "internal-error",
        [RUN_IO_ERROR] = "io-error",
        [RUN_DEBUG] = "debug",
        [RUN_INMIGRATE] = "inmigrate",
        [RUN_FINISH_MIGRATE] = "finish-migrate",
        [RUN_POSTMIGRATE] = "postmigrate",
    };

    return name[s];
}

static void handle_requests(void *arg);

int vm_create(const struct vm_config *cfg, struct loop *loop, struct vm **out,
              struct err *e)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    int rc;

    if (vm == NULL) return err_set(e, -ENOMEM, "out of memory");
    vm->cfg = cfg;
    vm->loop = loop;
    vm->state = RUN_PRELAUNCH;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_mutex_init(&vm->gate, NULL);
    pthread_cond_init(&vm->parked, NULL);
    pthread_mutex_init(&vm->excl_lock, NULL);
    pthread_cond_init(&vm->excl_cond, NULL);
    vm_clock_init(vm);
    rc = vm_mem_init(vm, e);
    if (rc < 0) goto fail;
    rc = vm_port_init(vm, e);
    if (rc < 0) goto fail;
    rc = dev_new(vm, NULL, &machine_class, "machine", &vm->root_dev, e);
    if (rc < 0) goto fail;
    vm->root_dev->is_created = true;
    *out = vm;
    return 0;
fail:
    vm_port_exit(vm);
    vm_mem_exit(vm);
    free(vm);
    return rc;
}

void vm_destroy(struct vm *vm)
{
    if (vm == NULL) return;
    vm_vcpus_exit(vm);
    vm_lock(vm);
    if (vm->root_dev != NULL) dev_remove(vm->root_dev);
    vm_dirty_stop_locked(vm);
    vm_unlock(vm);
    if (vm->accel != NULL && vm->accel->close != NULL) vm->accel->close(vm);
    free(vm->ioevent);
    loop_timer_disarm(&vm->host_timer);
    vm_port_exit(vm);
    vm_mem_exit(vm);
    pthread_mutex_destroy(&vm->lock);
    pthread_mutex_destroy(&vm->gate);
    pthread_cond_destroy(&vm->parked);
    pthread_mutex_destroy(&vm->excl_lock);
    pthread_cond_destroy(&vm->excl_cond);
    free(vm);
}

const struct vm_config *vm_config(struct vm *vm)
{
    return vm->cfg;
}

struct loop *vm_loop(struct vm *vm)
{
    return vm->loop;
}

struct dev *vm_root(struct vm *vm)
{
    return vm->root_dev;
}

unsigned vm_vcpu_count(struct vm *vm)
{
    return vm->vcpu_count;
}

struct vcpu *vm_vcpu(struct vm *vm, unsigned index)
{
    return index < vm->vcpu_count ? vm->vcpu[index] : NULL;
}

/* ---- the lock ---- */

/*
 * A vCPU that does I/O all the time takes the lock again before a thread woken
 * for it gets there.  So others announce themselves and hold the gate while
 * they wait, and a vCPU passes through the gate first.
 */
void vm_lock(struct vm *vm)
{
    if (vcpu_current() == NULL) {
        atomic_fetch_add(&vm->waiting, 1);
        pthread_mutex_lock(&vm->gate);
        pthread_mutex_lock(&vm->lock);
        pthread_mutex_unlock(&vm->gate);
        atomic_fetch_sub(&vm->waiting, 1);
    } else {
        if (atomic_load(&vm->waiting) > 0) {
            pthread_mutex_lock(&vm->gate);
            pthread_mutex_unlock(&vm->gate);
        }
        pthread_mutex_lock(&vm->lock);
    }
    atomic_store(&vm->owner, pthread_self());
    atomic_store(&vm->has_owner, true);
}

void vm_unlock(struct vm *vm)
{
    atomic_store(&vm->has_owner, false);
    pthread_mutex_unlock(&vm->lock);
}

bool vm_is_locked(struct vm *vm)
{
    return atomic_load(&vm->has_owner) &&
           pthread_equal(atomic_load(&vm->owner), pthread_self());
}

/* ---- run state ---- */

void vm_notify_locked(struct vm *vm, enum vm_event ev)
{
    for (unsigned i = 0; i < MAX_LISTENERS && vm->listener[i].fn; i++) {
        vm->listener[i].fn(vm->listener[i].arg, ev);
    }
}

void vm_add_listener(struct vm *vm, void (*fn)(void *arg, enum vm_event ev),
                     void *arg)
{
    for (unsigned i = 0; i < MAX_LISTENERS; i++) {
        if (vm->listener[i].fn != NULL) continue;
        vm->listener[i].fn = fn;
        vm->listener[i].arg = arg;
        return;
    }
}

void vm_remove_listener(struct vm *vm, void *arg)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_LISTENERS; i++) {
        if (vm->listener[i].fn == NULL || vm->listener[i].arg == arg) {
            continue;
        }
        vm->listener[n++] = vm->listener[i];
    }
    for (; n < MAX_LISTENERS; n++)
        vm->listener[n].fn = NULL;
}

enum run_state vm_run_state(struct vm *vm)
{
    return vm->state;
}

bool vm_is_elsewhere(struct vm *vm)
{
    return vm->state == RUN_INMIGRATE || vm->state == RUN_FINISH_MIGRATE ||
           vm->state == RUN_POSTMIGRATE;
}

void vm_start_locked(struct vm *vm)
{
    if (vm->state == RUN_RUNNING || vm_is_elsewhere(vm)) return;
    vm->state = RUN_RUNNING;
    trace(TRACE_RUN_STATE, "running");
    if (vm->accel != NULL && vm->accel->resumed != NULL) {
        vm->accel->resumed(vm);
    }
    clock_resume_locked(vm);
    pthread_cond_broadcast(&vm->parked);
    vm_notify_locked(vm, VM_EVENT_RESUME);
}

void vm_stop_locked(struct vm *vm, enum run_state why)
{
    if (vm->state != why) trace(TRACE_RUN_STATE, "%s", run_state_name(why));
    if (vm->state != RUN_RUNNING) {
        vm->state = why;
        return;
    }
    vm->state = why;
    vm_park_locked(vm);
    clock_pause_locked(vm);
    if (vm->accel != NULL && vm->accel->paused != NULL) {
        vm->accel->paused(vm);
    }
    vm_unpark_locked(vm);
    vm_notify_locked(vm, VM_EVENT_STOP);
}

void vm_reset_locked(struct vm *vm)
{
    trace(TRACE_RESET, "CPUs %u", vm->vcpu_count);
    vm_park_locked(vm);
    dev_reset_tree(vm->root_dev);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_take(vm->vcpu[i], ~(uint32_t)VCPU_EXIT);
        vm->accel->vcpu_reset(vm->vcpu[i]);
    }
    vm_unpark_locked(vm);
    vm_notify_locked(vm, VM_EVENT_RESET);
}

static void shut_down_locked(struct vm *vm)
{
    vm_notify_locked(vm, VM_EVENT_SHUTDOWN);
    if (vm->cfg->has_no_shutdown) {
        vm_stop_locked(vm, RUN_SHUTDOWN);
    } else {
        loop_quit(vm->loop, 0);
    }
}

/* A CPU may stop while the machine is stopped for another one. */
static bool has_debug_stop(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i]->stop.why != VM_STOP_NONE) {
            return vm->state == RUN_RUNNING;
        }
    }
    return false;
}

static void handle_requests(void *arg)
{
    struct vm *vm = arg;
    unsigned r = atomic_exchange(&vm->requests, 0);

    vm_lock(vm);
    if (r & VM_REQ_STOP) {
        if (vm->error_text[0] != '\0') log_warn("%s", vm->error_text);
        vm_stop_locked(vm, vm->error_text[0] != '\0' ? RUN_INTERNAL_ERROR
                                                     : RUN_PAUSED);
        vm->error_text[0] = '\0';
    }
    if ((r & VM_REQ_DEBUG) && has_debug_stop(vm)) {
        vm_stop_locked(vm, RUN_DEBUG);
    }
    /* What arrives shall not be written over. */
    if ((r & VM_REQ_RESET) && vm->state != RUN_INMIGRATE) {
        if (vm->cfg->has_no_reboot) {
            r |= VM_REQ_SHUTDOWN;
        } else {
            vm_reset_locked(vm);
            if (vm->state != RUN_RUNNING && !vm_is_elsewhere(vm))
                vm->state = RUN_PRELAUNCH; /* as one that never ran */
        }
    }
    if (r & VM_REQ_SHUTDOWN) shut_down_locked(vm);
    if (r & VM_REQ_POWERDOWN) vm_notify_locked(vm, VM_EVENT_POWERDOWN);
    if (r & VM_REQ_RESUME) vm_start_locked(vm);
    if (r & VM_REQ_QUIT) loop_quit(vm->loop, 0);
    vm_unlock(vm);
}

void vm_request(struct vm *vm, enum vm_request r)
{
    trace(TRACE_REQUEST, "%s",
          r & VM_REQ_RESET       ? "reset"
          : r & VM_REQ_SHUTDOWN  ? "shutdown"
          : r & VM_REQ_POWERDOWN ? "powerdown"
          : r & VM_REQ_QUIT      ? "quit"
          : r & VM_REQ_STOP      ? "stop"
          : r & VM_REQ_RESUME    ? "resume"
                                 : "debug");
    atomic_fetch_or(&vm->requests, r);
    loop_post(vm->loop, handle_requests, vm);
}

void vm_internal_error(struct vm *vm, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(vm->error_text, sizeof(vm->error_text), fmt, ap);
    va_end(ap);
    vm_request(vm, VM_REQ_STOP);
}

void vm_exit_locked(struct vm *vm, int status)
{
    loop_quit(vm->loop, status);
}

/* ---- info pages, services, accelerator ---- */

void vm_add_info(struct vm *vm, const char *name, const char *help,
                 void (*print)(void *arg, FILE *out), void *arg)
{
    for (unsigned i = 0; i < MAX_INFO; i++) {
        if (vm->info[i].name != NULL) continue;
        vm->info[i] = (struct info_page){ name, help, print, arg };
        return;
    }
}

int vm_print_info_locked(struct vm *vm, const char *name, FILE *out)
{
    int rc = -ENOENT;

    for (unsigned i = 0; i < MAX_INFO && vm->info[i].name != NULL; i++) {
        if (strcmp(vm->info[i].name, name) != 0) continue;
        vm->info[i].print(vm->info[i].arg, out);
        rc = 0;
    }
    return rc;
}

void vm_for_each_info(struct vm *vm,
                      void (*fn)(void *arg, const char *name, const char *help),
                      void *arg)
{
    for (unsigned i = 0; i < MAX_INFO && vm->info[i].name != NULL; i++) {
        fn(arg, vm->info[i].name, vm->info[i].help);
    }
}

void vm_set_service(struct vm *vm, const char *name, void *p)
{
    for (unsigned i = 0; i < MAX_SERVICES; i++) {
        if (vm->service[i].name != NULL &&
            strcmp(vm->service[i].name, name) != 0) {
            continue;
        }
        vm->service[i].name = name;
        vm->service[i].p = p;
        return;
    }
    log_warn("no room for service %s", name);
}

void *vm_service(struct vm *vm, const char *name)
{
    for (unsigned i = 0; i < MAX_SERVICES; i++) {
        if (vm->service[i].name == NULL) return NULL;
        if (strcmp(vm->service[i].name, name) == 0) return vm->service[i].p;
    }
    return NULL;
}

void vm_set_accel(struct vm *vm, const char *name,
                  const struct vm_accel_ops *ops, void *priv)
{
    vm->accel = ops;
    vm->accel_priv = priv;
    vm->accel_name = name;
}

const struct vm_accel_ops *vm_accel(struct vm *vm, void **priv)
{
    if (priv != NULL) *priv = vm->accel_priv;
    return vm->accel;
}

const char *vm_accel_name(struct vm *vm)
{
    return vm->accel_name;
}
