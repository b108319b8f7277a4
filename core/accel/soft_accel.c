/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software CPU as an accelerator: core/soft behind struct vm_accel_ops. */
#include <errno.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "core/accel/accel.h"
#include "core/base/log.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/emulate.h"
#include "core/cpu/host_print.h"
#include "core/loop/loop.h"
#include "core/soft/soft.h"
#include "core/vm/intr.h"
#include "core/vm/single.h"
#include "core/vm/tsc.h"
#include "core/vm/vm.h"

struct soft_accel {
    struct vm *vm;
    struct soft_vm *soft;
    struct cpu_model model;
    struct vm_tsc tsc;
    uint64_t host_khz;
    uint64_t paused_tsc[VM_MAX_CPUS]; /* counter when guest time stopped */
    bool is_paused;
    struct single_service single;
};

static struct soft_accel *priv_of(struct vm *vm)
{
    void *p;

    vm_accel(vm, &p);
    return p;
}

static int vcpu_open(struct vcpu *v, struct err *e)
{
    struct soft_accel *a = priv_of(v->vm);
    struct engine *eng;

    return soft_vcpu_open(a->soft, v, &a->model, &eng, e);
}

static void vcpu_close(struct vcpu *v)
{
    soft_vcpu_close(v->engine);
}

static void vcpu_run(struct vcpu *v)
{
    switch (soft_run(v->engine)) {
    case SOFT_EXIT_EVENT: return;
    case SOFT_EXIT_SHUTDOWN:
        /* A triple fault resets a PC (the chip set ties SHUTDOWN to INIT). */
        log_item(LOG_CPU_RESET, "Triple fault (CPU %u)", v->index);
        vm_request(v->vm, VM_REQ_RESET);
        break;
    case SOFT_EXIT_DEBUG: vcpu_debug_stop(v, soft_stop(v->engine)); break;
    case SOFT_EXIT_ERROR:
        vm_internal_error(v->vm, "CPU %u: %s", v->index, soft_error(v->engine));
        break;
    }
    vcpu_wait(v, VCPU_EXIT);
}

static void vcpu_reset(struct vcpu *v)
{
    struct soft_accel *a = priv_of(v->vm);

    cpu_log_reset(v->cpu, "system reset");
    cpu_reset(v->cpu);
    soft_set_tsc(v->engine, 0);
    a->paused_tsc[v->index] = 0;
    soft_state_changed(v->engine);
}

static void vcpu_put(struct vcpu *v)
{
    soft_state_changed(v->engine);
}

static void paused(struct vm *vm)
{
    struct soft_accel *a = priv_of(vm);

    for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
        a->paused_tsc[i] = soft_tsc(vm_vcpu(vm, i)->engine);
    }
    a->is_paused = true;
}

/* The guest must not see the time it was paused in its counter. */
static void resumed(struct vm *vm)
{
    struct soft_accel *a = priv_of(vm);

    for (unsigned i = 0; a->is_paused && i < vm_vcpu_count(vm); i++) {
        soft_set_tsc(vm_vcpu(vm, i)->engine, a->paused_tsc[i]);
    }
    a->is_paused = false;
}

static uint64_t stopped_tsc(struct vcpu *v)
{
    return priv_of(v->vm)->paused_tsc[v->index];
}

static void set_stopped_tsc(struct vcpu *v, uint64_t value)
{
    struct soft_accel *a = priv_of(v->vm);

    a->paused_tsc[v->index] = value;
    soft_set_tsc(v->engine, value);
    a->is_paused = true; /* a machine that has not run yet, too */
}

static uint64_t tsc_khz(struct vm *vm)
{
    return priv_of(vm)->tsc.khz;
}

static int set_tsc_khz(struct vm *vm, uint64_t khz)
{
    struct soft_accel *a = priv_of(vm);
    uint64_t off = khz > a->host_khz ? khz - a->host_khz : a->host_khz - khz;

    if (off <= a->host_khz / 4000) khz = a->host_khz; /* measured, both */
    a->tsc.khz = khz;
    soft_set_tsc_khz(a->soft, khz, a->host_khz);
    return 0;
}

static void print_stats(struct vm *vm, FILE *out)
{
    char text[4096];

    soft_print_stats(priv_of(vm)->soft, text, sizeof(text));
    fputs(text, out);
}

static int dirty_start(struct vm *vm, struct err *e)
{
    (void)e;
    soft_dirty_begin(priv_of(vm)->soft);
    return 0;
}

static void dirty_collect(struct vm *vm)
{
    soft_dirty_begin(priv_of(vm)->soft);
}

static int set_debug(struct vm *vm, struct err *e)
{
    if (soft_points_changed(priv_of(vm)->soft)) return 0;
    return err_set(e, -ENOSPC, "too many watchpoints");
}

static void set_single(void *arg, bool on)
{
    soft_set_single(((struct soft_accel *)arg)->soft, on);
}

static bool get_single(void *arg)
{
    return soft_is_single(((struct soft_accel *)arg)->soft);
}

static void close_vm(struct vm *vm)
{
    struct soft_accel *a = priv_of(vm);

    soft_vm_close(a->soft);
    free(a);
}

static const struct vm_accel_ops soft_ops = {
    .vcpu_open = vcpu_open,
    .vcpu_close = vcpu_close,
    .vcpu_run = vcpu_run,
    .vcpu_reset = vcpu_reset,
    .vcpu_put = vcpu_put,
    .paused = paused,
    .resumed = resumed,
    .tsc = stopped_tsc,
    .set_tsc = set_stopped_tsc,
    .tsc_khz = tsc_khz,
    .set_tsc_khz = set_tsc_khz,
    .print_stats = print_stats,
    .dirty_start = dirty_start,
    .dirty_collect = dirty_collect,
    .set_debug = set_debug,
    .has_smm = true,
    .close = close_vm,
};

static void view_changed(void *arg)
{
    struct soft_accel *a = arg;

    soft_view_changed(a->soft);
}

static void ram_written(void *arg, gpa_t gpa, uint64_t bytes)
{
    struct soft_accel *a = arg;

    soft_code_written(a->soft, gpa, bytes);
}

static void host_written(void *arg, const uint8_t *host, uint64_t bytes)
{
    soft_host_written(((struct soft_accel *)arg)->soft, host, bytes);
}

static uint64_t read_tsc(void *arg, unsigned cpu)
{
    struct soft_accel *a = arg;
    struct vcpu *v = vm_vcpu(a->vm, cpu);

    return v != NULL ? soft_tsc(v->engine) + v->cpu->tsc_adjust : 0;
}

/* Host TSC frequency against the clock that guest time comes from: 5 ms give
 * about 20 ppm, well inside what an OS accepts of a crystal. */
static uint64_t measure_tsc_khz(void)
{
    uint64_t ns0 = loop_now_ns(), t0 = __rdtsc(), ns1, t1;

    do {
        ns1 = loop_now_ns();
        t1 = __rdtsc();
    } while (ns1 - ns0 < 5000000);
    return (uint64_t)((unsigned __int128)(t1 - t0) * 1000000 / (ns1 - ns0));
}

static int open_soft(struct vm *vm, const char *opts, struct err *e)
{
    const struct vm_config *cfg = vm_config(vm);
    struct soft_accel *a = calloc(1, sizeof(*a));
    struct soft_options so;
    int rc;

    if (a == NULL) return err_set(e, -ENOMEM, "out of memory");
    a->vm = vm;
    rc = soft_options_parse(&so, opts, e);
    if (rc == 0) {
        rc = cpu_model_build(&a->model, cfg->cpu_model ? cfg->cpu_model : "max",
                             cfg->cpus, e);
    }
    if (rc == 0 && a->model.missing[0]) {
        log_warn("CPU model %s: not there on this host: %s", a->model.name,
                 a->model.missing);
    }
    if (rc == 0) rc = soft_vm_open(vm, &so, &a->soft, e);
    if (rc < 0) {
        free(a);
        return rc;
    }
    a->host_khz = measure_tsc_khz();
    a->tsc = (struct vm_tsc){ a->host_khz, read_tsc, a };
    vm_set_service(vm, "tsc", &a->tsc);
    a->single = (struct single_service){ set_single, get_single, a };
    vm_set_service(vm, "singlestep", &a->single);
    vm_set_accel(vm, "soft", &soft_ops, a);
    mem_set_listener_locked(
        vm,
        &(struct mem_listener){ view_changed, ram_written, a, host_written });
    return 0;
}

const struct accel accel_soft = {
    .name = "soft",
    .title = "software CPU (dynamic binary translation)",
    .probe = soft_probe,
    .open = open_soft,
};
