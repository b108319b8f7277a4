/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the state of a machine: checked, then put into it. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/size.h"
#include "core/cpu/state.h"
#include "core/vm/clock.h"
#include "core/vm/config.h"
#include "core/vm/dev.h"
#include "core/vm/mem.h"
#include "core/vm/vcpu.h"
#include "core/vm/vm.h"
#include "monitor/vmstate_int.h"

enum {
    MIN_TSC_KHZ = 1000,
    MAX_TSC_KHZ = 100000000,
    TSC_TOLERANCE_PPM = 250,
};

/* The value is what this machine has; else a refusal in the words of how. */
static int same(const char *text, const char *key, const char *here,
                const char *how, struct err *e)
{
    char value[256];

    if (!vmstate_meta(text, key, 0, value, sizeof(value)))
        return vmstate_damaged(e, "its description is not complete");
    if (strcmp(value, here) == 0) return 0;
    return err_set(e, -EINVAL,
                   "the saved machine has %s %s, this one %s; start it as it "
                   "was when it was saved",
                   value, how, here);
}

static int check_meta(struct vm *vm, const struct vmstate_head *h,
                      struct err *e)
{
    char ram[32], cpus[16];
    int rc =
        same(h->meta, "machine", vmstate_machine_name(vm), "as its type", e);

    snprintf(ram, sizeof(ram), "%llu", (unsigned long long)vm_ram(vm)->size);
    snprintf(cpus, sizeof(cpus), "%u", vm_vcpu_count(vm));
    if (rc == 0) rc = same(h->meta, "ram", ram, "octets of memory", e);
    if (rc == 0) rc = same(h->meta, "cpus", cpus, "CPUs", e);
    if (rc == 0 && h->about.clock_ns >> 62)
        rc = vmstate_damaged(e, "its clock");
    return rc < 0 ? rc : vmstate_check_cpuid(vm, h->meta, e);
}

/* Append a section, head and all, to a buffer. */
static int keep_section(vmstate_read_fn read, void *arg,
                        const struct section *s, uint8_t **buf, size_t *bytes,
                        struct err *e)
{
    uint8_t *more = realloc(*buf, *bytes + sizeof(*s) + s->bytes);
    int rc;

    if (more == NULL) return err_set(e, -ENOMEM, "out of memory");
    *buf = more;
    memcpy(more + *bytes, s, sizeof(*s));
    rc = vmstate_read_body(read, arg, s, more + *bytes + sizeof(*s), e);
    *bytes += sizeof(*s) + s->bytes;
    return rc;
}

/* ------------------------------------------- devices of both machines */

/* In a DEVS section: u8 id length, id, u32 version, u32 octets, record. */
static bool has_device(const uint8_t *data, size_t bytes, const char *id)
{
    size_t len = strlen(id);

    while (bytes > 0) {
        size_t n = data[0];
        uint32_t body;

        if (bytes < 9 + n) return false;
        memcpy(&body, data + 5 + n, sizeof(body));
        if (body > bytes - 9 - n) return false;
        if (n == len && memcmp(data + 1, id, n) == 0) return true;
        data += 9 + n + body;
        bytes -= 9 + n + body;
    }
    return false;
}

struct device_check {
    const struct vmstate_head *h;
    struct err *e;
};

static int check_device(struct dev *d, void *arg)
{
    const struct device_check *c = arg;

    if (d->cls->state == NULL || !d->is_created ||
        has_device(c->h->devices + sizeof(struct section),
                   c->h->devices_bytes - sizeof(struct section), d->id))
        return 0;
    return err_set(c->e, -EINVAL,
                   "the saved machine has no device %s (%s); start this one as "
                   "it was when it was saved",
                   d->id, d->cls->name);
}

static int check_devices(struct vm *vm, const struct vmstate_head *h,
                         struct err *e)
{
    struct device_check c = { h, e };

    return dev_for_each(vm_root(vm), check_device, &c);
}

/* DEVZ becomes DEVS. */
static int unpack_devices(struct vmstate_head *h, struct err *e)
{
    struct section s;
    uint8_t *plain, *from = h->devices + sizeof(s);
    uint64_t bytes;

    memcpy(&s, h->devices, sizeof(s));
    if (memcmp(s.type, "DEVS", 4) == 0) return 0;
    if (s.bytes < sizeof(bytes))
        return vmstate_damaged(e, "the devices' state");
    memcpy(&bytes, from, sizeof(bytes));
    if (bytes > MAX_STATE_BYTES)
        return vmstate_damaged(e, "the devices' state");
    plain = malloc(sizeof(s) + bytes);
    if (plain == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (!vmstate_unpack(plain + sizeof(s), bytes, from + sizeof(bytes),
                        s.bytes - sizeof(bytes))) {
        free(plain);
        return vmstate_damaged(e, "the devices' state");
    }
    memcpy(s.type, "DEVS", 4);
    s.bytes = bytes;
    memcpy(plain, &s, sizeof(s));
    free(h->devices);
    h->devices = plain;
    h->devices_bytes = sizeof(s) + bytes;
    return 0;
}

static bool is_type(const struct section *s, const char *type)
{
    return memcmp(s->type, type, 4) == 0;
}

/* The guest uses nothing that its accelerator alone has: u32 octets of a text
 * that says what, the text. */
static int check_needs(struct vm *vm, const struct vmstate_head *h,
                       struct err *e)
{
    const uint8_t *at = h->accel + sizeof(struct section);
    size_t left = h->accel_bytes - sizeof(struct section);
    uint32_t bytes;

    if (left < sizeof(bytes))
        return vmstate_damaged(e, "the accelerator's part");
    memcpy(&bytes, at, sizeof(bytes));
    if (bytes > left - sizeof(bytes))
        return vmstate_damaged(e, "the accelerator's part");
    if (bytes == 0 || strcmp(h->about.accel, vm_accel_name(vm)) == 0) return 0;
    return err_set(e, -EINVAL,
                   "the saved guest uses %.*s, which accelerator %s does not "
                   "have; start this machine with -accel %s",
                   bytes < 80 ? (int)bytes : 80, at + sizeof(bytes),
                   vm_accel_name(vm), h->about.accel);
}

/* CPUs and devices, after the head of the first section. */
static int read_parts(struct vm *vm, vmstate_read_fn read, void *arg,
                      struct section *s, struct vmstate_head *h, struct err *e)
{
    unsigned cpus = vm_vcpu_count(vm);
    int rc = 0;

    if (is_type(s, "ACCL")) {
        rc = keep_section(read, arg, s, &h->accel, &h->accel_bytes, e);
        if (rc == 0) rc = check_needs(vm, h, e);
        if (rc == 0)
            rc = vmstate_read_section(read, arg, s, MAX_STATE_BYTES, e);
    }
    for (unsigned i = 0; i < cpus && rc == 0; i++) {
        if (!is_type(s, "CPU "))
            return vmstate_damaged(e, "its sections are out of order");
        rc = keep_section(read, arg, s, &h->cpus, &h->cpus_bytes, e);
        if (rc == 0)
            rc = vmstate_read_section(read, arg, s, MAX_STATE_BYTES, e);
    }
    if (rc < 0) return rc;
    if (!is_type(s, "DEVS") && !is_type(s, "DEVZ"))
        return vmstate_damaged(e, "its sections are out of order");
    rc = keep_section(read, arg, s, &h->devices, &h->devices_bytes, e);
    return rc == 0 ? unpack_devices(h, e) : rc;
}

int vmstate_read_head(struct vm *vm, vmstate_read_fn read, void *arg,
                      struct vmstate_head *h, struct err *e)
{
    struct section s;
    int rc = vmstate_read_begin(read, arg, &h->about, &h->meta, &s, e);

    if (rc == 0) rc = check_meta(vm, h, e);
    if (rc == 0) rc = read_parts(vm, read, arg, &s, h, e);
    return rc == 0 ? check_devices(vm, h, e) : rc;
}

void vmstate_head_free(struct vmstate_head *h)
{
    vmstate_about_free(&h->about);
    free(h->meta);
    free(h->accel);
    free(h->cpus);
    free(h->devices);
    h->meta = NULL;
    h->accel = h->cpus = h->devices = NULL;
}

/* ----------------------------------------------------- CPUs and devices */

static int load_cpu_locked(struct vm *vm, unsigned i, const uint8_t *body,
                           size_t bytes, struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    struct vcpu *v = vm_vcpu(vm, i);
    struct cpu_head h = { .index = i };
    uint32_t head_bytes;
    int rc;

    if (bytes < 4) return vmstate_damaged(e, "a CPU");
    memcpy(&head_bytes, body, 4);
    if (head_bytes > bytes - 4) return vmstate_damaged(e, "a CPU");
    rc = state_load(body + 4, head_bytes, vmstate_cpu_head, &h, e);
    if (rc == 0 && h.index != i) rc = vmstate_damaged(e, "the order of CPUs");
    if (rc == 0)
        rc = state_load(body + 4 + head_bytes, bytes - 4 - head_bytes,
                        cpu_state, v->cpu, e);
    if (rc == 0) rc = cpu_state_check(v->cpu, e);
    if (rc == 0 && v->cpu->is_smm && !ops->has_smm) {
        rc = err_set(e, -ENOTSUP,
                     "it is in system management mode, which accelerator %s "
                     "has not",
                     vm_accel_name(vm));
    }
    if (rc < 0) return rc;
    if (ops->set_tsc != NULL) ops->set_tsc(v, h.tsc);
    atomic_store(&v->sipi_vector, h.sipi_vector);
    atomic_store(&v->is_halted, v->cpu->activity != CPU_ACTIVE);
    if (ops->vcpu_put != NULL) ops->vcpu_put(v);
    if (h.events != 0) vcpu_raise(v, h.events);
    return 0;
}

static int load_cpus_locked(struct vm *vm, const struct vmstate_head *h,
                            struct err *e)
{
    const uint8_t *at = h->cpus;
    int rc = 0;

    for (unsigned i = 0; i < vm_vcpu_count(vm) && rc == 0; i++) {
        struct section s;

        memcpy(&s, at, sizeof(s));
        rc = load_cpu_locked(vm, i, at + sizeof(s), s.bytes, e);
        if (rc < 0) err_prefix(e, "CPU %u", i);
        at += sizeof(s) + s.bytes;
    }
    return rc;
}

/* Only the accelerator that wrote it can read it. */
static int load_accel_locked(struct vm *vm, const struct vmstate_head *h,
                             struct err *e)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    if (h->accel == NULL || ops->load == NULL ||
        strcmp(h->about.accel, vm_accel_name(vm)) != 0)
        return 0;
    return ops->load(vm, h->accel + sizeof(struct section),
                     h->accel_bytes - sizeof(struct section), e);
}

/* The guest measured its counter once and goes by that.  Closer than what a
 * clock of a PC is off anyway is left as it is: nothing is faster than the
 * host's own. */
static void load_tsc_khz_locked(struct vm *vm, const struct vmstate_head *h)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);
    uint64_t here = ops->tsc_khz == NULL ? 0 : ops->tsc_khz(vm);
    uint64_t off, khz;
    char text[24];

    if (here == 0 || !vmstate_meta(h->meta, "tsc_khz", 0, text, sizeof(text)))
        return;
    khz = strtoull(text, NULL, 10);
    if (khz < MIN_TSC_KHZ || khz > MAX_TSC_KHZ) return;
    off = khz > here ? khz - here : here - khz;
    if (off <= here / 1000000 * TSC_TOLERANCE_PPM) return;
    if (ops->set_tsc_khz == NULL || ops->set_tsc_khz(vm, khz) < 0)
        log_warn("the saved guest's time stamp counter ran at %llu kHz, here "
                 "it runs at %llu: the guest's clock may be wrong until it "
                 "boots again",
                 (unsigned long long)khz, (unsigned long long)here);
}

static int load_all_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    int rc;

    clock_set_ns_locked(vm, h->about.clock_ns);
    /* The counters before the devices: a local APIC's deadline needs them. */
    load_tsc_khz_locked(vm, h);
    rc = load_cpus_locked(vm, h, e);
    if (rc == 0) rc = load_accel_locked(vm, h, e);
    if (rc < 0) return rc;
    return dev_load_tree(vm_root(vm), h->devices + sizeof(struct section),
                         h->devices_bytes - sizeof(struct section), e);
}

/* What the machine is now, to go back to: its state as it would be saved, and
 * the memory a reset may write to. */
struct present {
    struct state_out state;
    size_t read;
    uint8_t *low;
};

static int read_present(void *arg, void *data, size_t bytes)
{
    struct present *p = arg;

    if (bytes > p->state.bytes - p->read) return -ENODATA;
    memcpy(data, p->state.data + p->read, bytes);
    p->read += bytes;
    return 0;
}

static int keep_present_locked(struct vm *vm, struct present *p, struct err *e)
{
    const struct mem_region *ram = vm_ram(vm);
    size_t low = ram->size < LOW_BYTES ? (size_t)ram->size : LOW_BYTES;
    int rc;

    vmstate_prepare_locked(vm);
    rc = vmstate_capture(vm, &p->state, "", e);
    p->low = malloc(low);
    if (p->low == NULL) return err_set(e, -ENOMEM, "out of memory");
    memcpy(p->low, ram->host, low);
    return rc;
}

static void go_back_locked(struct vm *vm, struct present *p)
{
    struct mem_region *ram = vm_ram(vm);
    struct vmstate_head h = { .cpus = NULL };
    struct err e = ERR_INIT;
    int rc = vmstate_read_head(vm, read_present, p, &h, &e);

    if (rc == 0) rc = load_all_locked(vm, &h, &e);
    memcpy(ram->host, p->low,
           ram->size < LOW_BYTES ? (size_t)ram->size : LOW_BYTES);
    if (rc < 0) vm_internal_error(vm, "%s", e.text);
    vmstate_head_free(&h);
}

/* As vm_reset_locked, but nobody is told: the guest does not see one. */
static void reset_locked(struct vm *vm)
{
    const struct vm_accel_ops *ops = vm_accel(vm, NULL);

    vm_park_locked(vm);
    dev_reset_tree(vm_root(vm));
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
        vcpu_take(vm_vcpu(vm, i), ~(uint32_t)VCPU_EXIT);
        ops->vcpu_reset(vm_vcpu(vm, i));
    }
    vm_unpark_locked(vm);
}

int vmstate_restore_then_locked(struct vm *vm, const struct vmstate_head *h,
                                int (*then)(void *arg, struct err *e),
                                void *arg, struct err *e)
{
    struct present now = { .read = 0 };
    int rc = keep_present_locked(vm, &now, e);

    if (rc == 0) {
        reset_locked(vm);
        vm_park_locked(vm);
        rc = load_all_locked(vm, h, e);
        if (rc == 0 && then != NULL) rc = then(arg, e);
        if (rc < 0) {
            go_back_locked(vm, &now);
            mem_replaced_locked(vm);
        }
        vm_unpark_locked(vm);
    }
    state_out_free(&now.state);
    free(now.low);
    return rc;
}

int vmstate_restore_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    return vmstate_restore_then_locked(vm, h, NULL, NULL, e);
}
