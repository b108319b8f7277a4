/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the state of a machine: checked, then put into it. */
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

/* Value of a line "key=value"; false: no such line. */
static bool meta_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t len = strlen(key);

    for (const char *at = text; at != NULL && *at != '\0';
         at = strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (strncmp(at, key, len) != 0 || at[len] != '=') continue;
        snprintf(out, cap, "%.*s", (int)strcspn(at + len + 1, "\n"),
                 at + len + 1);
        return true;
    }
    return false;
}

/* The value is what this machine has; else a refusal in the words of how. */
static int same(const char *text, const char *key, const char *here,
                const char *how, struct err *e)
{
    char value[256];

    if (!meta_value(text, key, value, sizeof(value)))
        return vmstate_damaged(e, "its description is not complete");
    if (strcmp(value, here) == 0) return 0;
    return err_set(e, -EINVAL,
                   "the saved machine has %s %s, this one %s; start it as it "
                   "was when it was saved",
                   value, how, here);
}

static int check_meta(struct vm *vm, const char *text, struct vmstate_head *h,
                      struct err *e)
{
    char ram[32], cpus[16], clock[32];
    int rc = same(text, "machine", vm_root(vm)->cls->name, "as its type", e);

    snprintf(ram, sizeof(ram), "%llu", (unsigned long long)vm_ram(vm)->size);
    snprintf(cpus, sizeof(cpus), "%u", vm_vcpu_count(vm));
    if (rc == 0) rc = same(text, "ram", ram, "octets of memory", e);
    if (rc == 0) rc = same(text, "cpus", cpus, "CPUs", e);
    if (rc < 0) return rc;
    if (!meta_value(text, "clock", clock, sizeof(clock)) ||
        uint_parse(clock, &h->clock_ns) < 0 || h->clock_ns >> 62)
        return vmstate_damaged(e, "its clock");
    if (!meta_value(text, "parent", h->parent, sizeof(h->parent)))
        h->parent[0] = '\0';
    return 0;
}

static int read_meta(struct vm *vm, vmstate_read_fn read, void *arg,
                     struct vmstate_head *h, struct err *e)
{
    struct section s;
    char *text;
    int rc = vmstate_read_section(read, arg, &s, MAX_META_BYTES, e);

    if (rc < 0) return rc;
    if (memcmp(s.type, "META", 4) != 0)
        return vmstate_damaged(e, "it does not begin with a description");
    text = calloc(1, s.bytes + 1);
    if (text == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = vmstate_read_body(read, arg, &s, (uint8_t *)text, e);
    if (rc == 0) rc = check_meta(vm, text, h, e);
    free(text);
    return rc;
}

static int read_start(vmstate_read_fn read, void *arg, struct err *e)
{
    char magic[sizeof(vmstate_magic)];
    uint32_t version;
    int rc = read(arg, magic, sizeof(magic));

    if (rc == 0 && memcmp(magic, vmstate_magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL,
                       "this is not a machine's state as orrery saves it");
    if (rc == 0) rc = read(arg, &version, sizeof(version));
    if (rc < 0) return vmstate_cut_short(e, rc);
    if (version != STREAM_VERSION)
        return err_set(e, -EINVAL,
                       "the state was saved by another version (%u, here %d)",
                       version, STREAM_VERSION);
    return 0;
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

int vmstate_read_head(struct vm *vm, vmstate_read_fn read, void *arg,
                      struct vmstate_head *h, struct err *e)
{
    unsigned cpus = vm_vcpu_count(vm);
    int rc = read_start(read, arg, e);

    if (rc == 0) rc = read_meta(vm, read, arg, h, e);
    for (unsigned i = 0; i <= cpus && rc == 0; i++) {
        bool is_devices = i == cpus;
        struct section s;

        rc = vmstate_read_section(read, arg, &s, MAX_STATE_BYTES, e);
        if (rc == 0 && memcmp(s.type, is_devices ? "DEVS" : "CPU ", 4) != 0)
            rc = vmstate_damaged(e, "its sections are out of order");
        if (rc < 0) return rc;
        rc =
            is_devices
                ? keep_section(read, arg, &s, &h->devices, &h->devices_bytes, e)
                : keep_section(read, arg, &s, &h->cpus, &h->cpus_bytes, e);
    }
    return rc == 0 ? check_devices(vm, h, e) : rc;
}

void vmstate_head_free(struct vmstate_head *h)
{
    free(h->cpus);
    free(h->devices);
    h->cpus = h->devices = NULL;
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

static int load_all_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    int rc;

    clock_set_ns_locked(vm, h->clock_ns);
    /* The counters before the devices: a local APIC's deadline needs them. */
    rc = load_cpus_locked(vm, h, e);
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

int vmstate_restore_locked(struct vm *vm, const struct vmstate_head *h,
                           struct err *e)
{
    struct present now = { .read = 0 };
    int rc = keep_present_locked(vm, &now, e);

    if (rc == 0) {
        vm_reset_locked(vm);
        vm_park_locked(vm);
        rc = load_all_locked(vm, h, e);
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
