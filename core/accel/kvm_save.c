/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a snapshot needs beyond struct cpu: the local APICs, the counters,
 * kvmclock, and every MSR the kernel lists that has no field of its own.
 * Fetched with the rest of the state, so that a forked child, which may not
 * ask the kernel about its parent's machine, can write it.
 *
 * The section: u32 octets of a text (what the guest uses that no other
 * accelerator has, "" if nothing), the text, then state rows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/accel/kvm.h"
#include "core/vm/config.h"
#include "core/vm/state.h"

enum { MSR_TSC = 0x10 };

/* Documentation/virt/kvm/x86/msr.rst: bit 0 switches them on. */
static const struct {
    uint32_t msr;
    const char *title;
} paravirt[] = {
    { 0x4b564d01, "KVM's clock (kvmclock)" },
    { 0x12, "KVM's clock (kvmclock)" },
    { 0x4b564d02, "KVM's asynchronous page faults" },
    { 0x4b564d03, "KVM's steal time" },
    { 0x4b564d04, "KVM's quick end of interrupt" },
};
enum { PARAVIRTS = sizeof(paravirt) / sizeof(paravirt[0]) };

struct saved_msr {
    uint32_t index;
    uint64_t value;
};

struct saved_cpu {
    uint8_t mp_state, sipi_vector, has_pending_nmi;
    uint8_t xsave[4096];
    uint32_t msrs;
    struct saved_msr msr[KVM_MAX_MSRS];
};

struct saved {
    uint64_t clock_ns;
    uint32_t tsc_khz;
};

static const struct field saved_msr_state[] = {
    U32(saved_msr, index),
    U64(saved_msr, value),
    STATE_END,
};

static const struct field saved_cpu_state[] = {
    U8_MAX(saved_cpu, mp_state, KVM_MP_STATE_SIPI_RECEIVED),
    U8(saved_cpu, sipi_vector),
    U8_MAX(saved_cpu, has_pending_nmi, 1),
    BYTES(saved_cpu, xsave),
    U32_MAX(saved_cpu, msrs, KVM_MAX_MSRS),
    STRUCT_ARRAY(saved_cpu, msr, saved_msr_state),
    STATE_END,
};

static const struct field saved_state[] = {
    U64_MAX(saved, clock_ns, INT64_MAX),
    U32(saved, tsc_khz),
    STATE_END,
};

/* ---------------------------------------------------------------- MSRs */

/* It has a field, or is put in an order of its own. */
static bool has_field(uint32_t msr)
{
    static const uint32_t own[] = {
        0x10,       0x3a,       0x3b,       0x48,       0x174,      0x175,
        0x176,      0x17a,      0x1a0,      0x277,      0x2ff,      0x6e0,
        0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
        0xc0000101, 0xc0000102, 0xc0000103,
    };

    if (msr >= 0x200 && msr <= 0x26f) return true; /* MTRRs */
    for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (own[i] == msr) return true;
    return false;
}

static int get_msr(struct kvm_vcpu *k, uint32_t index, uint64_t *out)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one;

    memset(&one, 0, sizeof(one));
    one.head.nmsrs = 1;
    one.entry.index = index;
    if (kvm_call(k->fd, KVM_GET_MSRS, &one) != 1) return -EIO;
    *out = one.entry.data;
    return 0;
}

static void put_msr(struct kvm_vcpu *k, uint32_t index, uint64_t v)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } one;

    memset(&one, 0, sizeof(one));
    one.head.nmsrs = 1;
    one.entry.index = index;
    one.entry.data = v;
    kvm_call(k->fd, KVM_SET_MSRS, &one);
}

/* The kernel lists some that this CPU does not let one read. */
static void list_extra(struct kvm_vcpu *k)
{
    struct kvm_accel *a = k->a;
    uint64_t ignored;

    a->has_extra = true;
    for (unsigned i = 0; i < a->msr_count; i++) {
        if (has_field(a->msr[i]) || get_msr(k, a->msr[i], &ignored) < 0)
            continue;
        a->extra_msr[a->extra_count++] = a->msr[i];
    }
}

static void get_extra_msrs(struct kvm_vcpu *k)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry[KVM_MAX_MSRS];
    } l;
    const struct kvm_accel *a = k->a;

    memset(&l, 0, sizeof(l));
    l.head.nmsrs = a->extra_count;
    for (unsigned i = 0; i < a->extra_count; i++)
        l.entry[i].index = a->extra_msr[i];
    kvm_call(k->fd, KVM_GET_MSRS, &l);
    for (unsigned i = 0; i < a->extra_count; i++)
        k->extra[i] = l.entry[i].data;
}

void kvm_get_extra(struct kvm_vcpu *k)
{
    struct kvm_lapic_state s;

    if (!k->a->has_extra) list_extra(k);
    /* Loaded, not put yet: ours is newer. */
    if (!k->has_new_extra) get_extra_msrs(k);
    if (!k->has_new_tsc && get_msr(k, MSR_TSC, &k->tsc) < 0) k->tsc = 0;
    if (kvm_call(k->fd, KVM_GET_LAPIC, &s) < 0) return;
    for (unsigned i = 0; i < 64; i++)
        memcpy(&k->lapic_regs.reg[i], s.regs + 16 * i, 4);
    k->lapic_regs.base = k->cpu.apic_base;
    k->lapic_regs.deadline = k->cpu.tsc_deadline;
}

void kvm_put_extra(struct kvm_vcpu *k)
{
    const struct kvm_accel *a = k->a;

    for (unsigned i = 0; k->has_new_extra && i < a->extra_count; i++)
        put_msr(k, a->extra_msr[i], k->extra[i]);
    if (k->has_new_tsc) put_msr(k, MSR_TSC, k->tsc);
    k->has_new_tsc = false;
}

/* ------------------------------------------------------------- counters */

uint64_t kvm_tsc(struct vcpu *v)
{
    const struct kvm_vcpu *k = v->engine;

    return k->tsc - k->cpu.tsc_adjust;
}

void kvm_set_tsc(struct vcpu *v, uint64_t value)
{
    struct kvm_vcpu *k = v->engine;

    k->tsc = value + k->cpu.tsc_adjust;
    k->has_new_tsc = true;
    k->is_dirty = true;
}

uint64_t kvm_tsc_khz(struct vm *vm)
{
    return kvm_of(vm)->tsc_khz;
}

/* Where the processor cannot scale it the kernel refuses what is further from
 * the host's than 250 ppm.  Documentation/virt/kvm/api.rst, 4.55. */
int kvm_set_tsc_khz(struct vm *vm, uint64_t khz)
{
    struct kvm_accel *a = kvm_of(vm);

    if (ioctl(a->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0 &&
        khz != a->tsc_khz)
        return -ENOTSUP;
    for (unsigned n = 0; n < vm_vcpu_count(vm); n++) {
        const struct kvm_vcpu *k = vm_vcpu(vm, n)->engine;

        if (ioctl(k->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0)
            return -ENOTSUP;
    }
    a->tsc_khz = (uint32_t)khz;
    return 0;
}

/* ---------------------------------------------------------- local APICs */

static struct kernel_lapic_regs *lapic_regs(void *arg, unsigned cpu)
{
    struct kvm_accel *a = arg;
    struct kvm_vcpu *k = vm_vcpu(a->vm, cpu)->engine;

    return &k->lapic_regs;
}

/* Its base first: the kernel reads the registers by the mode it says. */
static int lapic_put(void *arg, unsigned cpu, struct err *e)
{
    struct kvm_accel *a = arg;
    struct kvm_vcpu *k = vm_vcpu(a->vm, cpu)->engine;
    struct kvm_lapic_state s;
    struct kvm_sregs sregs;
    int rc = kvm_call(k->fd, KVM_GET_SREGS, &sregs);

    sregs.apic_base = k->lapic_regs.base;
    if (rc >= 0) rc = kvm_call(k->fd, KVM_SET_SREGS, &sregs);
    memset(&s, 0, sizeof(s));
    for (unsigned i = 0; i < 64; i++)
        memcpy(s.regs + 16 * i, &k->lapic_regs.reg[i], 4);
    if (rc >= 0) rc = kvm_call(k->fd, KVM_SET_LAPIC, &s);
    if (rc < 0)
        return err_set(e, rc, "KVM refuses the local APIC of CPU %u: %s", cpu,
                       strerror(-rc));
    k->cpu.apic_base = k->lapic_regs.base;
    k->cpu.tsc_deadline = k->lapic_regs.deadline;
    k->is_dirty = true;
    return 0;
}

/* -------------------------------------------------------------- section */

static const char *needs(const struct kvm_accel *a)
{
    for (unsigned n = 0; n < vm_vcpu_count(a->vm); n++) {
        const struct kvm_vcpu *k = vm_vcpu(a->vm, n)->engine;

        for (unsigned i = 0; i < a->extra_count; i++) {
            for (unsigned p = 0; p < PARAVIRTS; p++) {
                if (a->extra_msr[i] == paravirt[p].msr && (k->extra[i] & 1))
                    return paravirt[p].title;
            }
        }
    }
    return "";
}

static void append_record(struct state_out *out, const struct field *rows,
                          const void *o)
{
    struct state_out r = { .data = NULL };
    uint32_t bytes;

    state_save(&r, rows, o);
    bytes = (uint32_t)r.bytes;
    state_append(out, &bytes, sizeof(bytes));
    state_append(out, r.data, r.bytes);
    if (r.status < 0) out->status = r.status;
    state_out_free(&r);
}

int kvm_save(struct vm *vm, struct state_out *out)
{
    struct kvm_accel *a = kvm_of(vm);
    const char *text = needs(a);
    uint32_t bytes = (uint32_t)strlen(text);
    struct saved s = { .clock_ns = a->clock.clock, .tsc_khz = a->tsc_khz };
    struct saved_cpu *c = calloc(1, sizeof(*c));

    if (c == NULL) return -ENOMEM;
    state_append(out, &bytes, sizeof(bytes));
    state_append(out, text, bytes);
    append_record(out, saved_state, &s);
    for (unsigned n = 0; n < vm_vcpu_count(vm); n++) {
        const struct kvm_vcpu *k = vm_vcpu(vm, n)->engine;

        c->mp_state = k->mp_state;
        c->sipi_vector = k->sipi_vector;
        c->has_pending_nmi = k->has_pending_nmi;
        memcpy(c->xsave, k->xsave, sizeof(c->xsave));
        memcpy(c->xsave, k->cpu.xsave, CPU_XSAVE_BYTES);
        c->msrs = a->extra_count;
        for (unsigned i = 0; i < a->extra_count; i++)
            c->msr[i] = (struct saved_msr){ a->extra_msr[i], k->extra[i] };
        append_record(out, saved_cpu_state, c);
    }
    free(c);
    return out->status;
}

static int damaged(struct err *e)
{
    return err_set(e, -EINVAL, "the accelerator's part is cut short");
}

static int take_record(const uint8_t **at, size_t *left,
                       const struct field *rows, void *o, struct err *e)
{
    uint32_t bytes;
    int rc;

    if (*left < sizeof(bytes)) return damaged(e);
    memcpy(&bytes, *at, sizeof(bytes));
    if (bytes > *left - sizeof(bytes)) return damaged(e);
    rc = state_load(*at + sizeof(bytes), bytes, rows, o, e);
    *at += sizeof(bytes) + bytes;
    *left -= sizeof(bytes) + bytes;
    return rc;
}

static void take_msrs(struct kvm_vcpu *k, const struct saved_cpu *c)
{
    const struct kvm_accel *a = k->a;

    for (unsigned i = 0; i < a->extra_count; i++) {
        for (unsigned n = 0; n < c->msrs; n++)
            if (c->msr[n].index == a->extra_msr[i])
                k->extra[i] = c->msr[n].value;
    }
}

static void load_cpu(struct kvm_vcpu *k, const struct saved_cpu *c)
{
    k->mp_state = c->mp_state;
    k->sipi_vector = c->sipi_vector;
    k->has_pending_nmi = c->has_pending_nmi;
    memcpy(k->xsave, c->xsave, sizeof(k->xsave));
    memcpy(k->cpu.xsave, c->xsave, CPU_XSAVE_BYTES);
    if (!k->a->has_extra) list_extra(k);
    take_msrs(k, c);
    k->has_new_extra = k->is_dirty = true;
}

int kvm_load(struct vm *vm, const uint8_t *data, size_t bytes, struct err *e)
{
    struct kvm_accel *a = kvm_of(vm);
    struct saved_cpu *c = calloc(1, sizeof(*c));
    struct saved s = { .clock_ns = 0 };
    uint32_t text;
    int rc = 0;

    if (c == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (bytes < sizeof(text)) rc = damaged(e);
    if (rc == 0) memcpy(&text, data, sizeof(text));
    if (rc == 0 && text > bytes - sizeof(text)) rc = damaged(e);
    if (rc == 0) {
        data += sizeof(text) + text;
        bytes -= sizeof(text) + text;
        rc = take_record(&data, &bytes, saved_state, &s, e);
    }
    for (unsigned n = 0; rc == 0 && n < vm_vcpu_count(vm); n++) {
        memset(c, 0, sizeof(*c));
        rc = take_record(&data, &bytes, saved_cpu_state, c, e);
        if (rc == 0) load_cpu(vm_vcpu(vm, n)->engine, c);
    }
    if (rc == 0) {
        a->clock = (struct kvm_clock_data){ .clock = s.clock_ns };
        a->has_clock = true;
    }
    free(c);
    return rc;
}

void kvm_save_init(struct kvm_accel *a)
{
    int khz = ioctl(a->vm_fd, KVM_GET_TSC_KHZ, 0);

    a->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
    a->lapic = (struct vm_kernel_lapic){ .arg = a,
                                         .regs = lapic_regs,
                                         .put = lapic_put };
    vm_set_service(a->vm, "kernel-lapic", &a->lapic);
}
