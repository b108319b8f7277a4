/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM accelerator: opening, vCPUs, pause and resume. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/accel/accel.h"
#include "core/accel/kvm.h"
#include "core/cpu/emulate.h"
#include "core/cpu/host_print.h"

/* Three pages for VM86 tricks of old Intel CPUs and one for the identity map,
 * below the BIOS (api.rst 4.38, 4.54). */
enum { IDENTITY_ADDR = 0xfeffc000, TSS_ADDR = 0xfeffd000 };

enum { RING_DEFAULT = 4096, RING_MIN = 1024, RING_MAX = 65536 };
#define RING_AUTO ((unsigned)-1)

struct kvm_accel *kvm_of(struct vm *vm)
{
    void *p;

    vm_accel(vm, &p);
    return p;
}

static int has_cap(struct kvm_accel *a, long cap)
{
    int rc =
        ioctl(a->vm_fd >= 0 ? a->vm_fd : a->dev_fd, KVM_CHECK_EXTENSION, cap);

    return rc > 0 ? rc : 0;
}

/* ---- vCPUs ---- */

static void set_lapic_reset(struct kvm_vcpu *k)
{
    kvm_call(k->fd, KVM_SET_LAPIC, &k->lapic);
}

static void vcpu_reset(struct vcpu *v)
{
    struct kvm_vcpu *k = v->engine;

    cpu_log_reset(&k->cpu, "system reset");
    cpu_reset(&k->cpu);
    set_lapic_reset(k);
    k->has_new_tsc = k->has_new_extra = false;
    k->is_dirty = true;
}

static void vcpu_close(struct vcpu *v)
{
    struct kvm_vcpu *k = v->engine;

    if (k == NULL) return;
    kvm_dirty_close_vcpu(k);
    if (k->run != NULL) munmap(k->run, k->a->run_bytes);
    if (k->fd >= 0) close(k->fd);
    free(k);
    v->engine = NULL;
}

static int open_fd(struct kvm_vcpu *k, struct err *e)
{
    void *run;

    k->fd = ioctl(k->a->vm_fd, KVM_CREATE_VCPU, (long)k->v->index);
    if (k->fd < 0) {
        return err_set(e, -errno, "KVM: cannot create CPU %u: %s", k->v->index,
                       strerror(errno));
    }
    run = mmap(NULL, k->a->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
               0);
    if (run == MAP_FAILED) {
        return err_set(e, -errno, "KVM: cannot map CPU %u: %s", k->v->index,
                       strerror(errno));
    }
    k->run = run;
    return 0;
}

static int vcpu_open(struct vcpu *v, struct err *e)
{
    struct kvm_accel *a = kvm_of(v->vm);
    struct kvm_vcpu *k = aligned_alloc(64, (sizeof(*k) + 63) & ~63ul);
    int rc;

    if (k == NULL) return err_set(e, -ENOMEM, "out of memory");
    memset(k, 0, sizeof(*k));
    k->a = a;
    k->v = v;
    k->fd = -1;
    v->engine = k;
    v->cpu = &k->cpu;
    k->cpu.vcpu = v;
    k->cpu.index = v->index;
    k->cpu.model = &a->model;
    k->cpu.ops = &kvm_cpu_ops;
    if (v->index == 0) kvm_irq_init(a);
    rc = open_fd(k, e);
    if (rc == 0) rc = kvm_dirty_open_vcpu(k, e);
    if (rc == 0) rc = kvm_cpuid_set(k, e);
    if (rc < 0) {
        vcpu_close(v);
        return rc;
    }
    /* Reset values of the local APIC are the kernel's own. */
    kvm_call(k->fd, KVM_GET_LAPIC, &k->lapic);
    kvm_call(k->fd, KVM_GET_XSAVE, k->xsave);
    cpu_reset(&k->cpu);
    k->is_dirty = true;
    v->kick = kvm_kick;
    return 0;
}

static void vcpu_get(struct vcpu *v)
{
    kvm_get_state(v->engine);
    kvm_get_extra(v->engine);
}

static void vcpu_put(struct vcpu *v)
{
    ((struct kvm_vcpu *)v->engine)->is_dirty = true;
}

/* ---- pause: kvmclock stands still with guest time (api.rst 4.29, 4.71) ----
 */

static void paused(struct vm *vm)
{
    struct kvm_accel *a = kvm_of(vm);

    kvm_debug_paused(a);
    a->has_clock = kvm_call(a->vm_fd, KVM_GET_CLOCK, &a->clock) >= 0;
    for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
        struct kvm_vcpu *k = vm_vcpu(vm, i)->engine;

        ioctl(k->fd, KVM_KVMCLOCK_CTRL, 0);
    }
}

static void resumed(struct vm *vm)
{
    struct kvm_accel *a = kvm_of(vm);
    struct kvm_clock_data d = { .clock = a->clock.clock };

    kvm_debug_resumed(a);
    if (a->has_clock) kvm_call(a->vm_fd, KVM_SET_CLOCK, &d);
    a->has_clock = false;
}

static void sync_vm(struct vm *vm)
{
    if (vm_vcpu_count(vm) == 0) return;
    kvm_serve_coalesced_locked(vm_vcpu(vm, 0)->engine);
}

static void print_stats(struct vm *vm, FILE *out)
{
    struct kvm_accel *a = kvm_of(vm);
    unsigned used = 0;

    for (unsigned i = 0; i < a->slot_max; i++)
        used += a->slot[i].host != NULL;
    fprintf(out, "kvm: %u memory slots of %u in use\n", used, a->slot_max);
    fprintf(out, "kvm: written pages by %s\n",
            a->ring_entries != 0   ? "dirty rings"
            : a->is_manual_protect ? "bitmaps, cleaned by hand"
                                   : "bitmaps");
}

static void close_vm(struct vm *vm)
{
    struct kvm_accel *a = kvm_of(vm);

    close(a->vm_fd);
    close(a->dev_fd);
    free(a->cpuid);
    free(a);
}

static const struct vm_accel_ops kvm_ops = {
    .vcpu_open = vcpu_open,
    .vcpu_close = vcpu_close,
    .vcpu_run = kvm_run_vcpu,
    .vcpu_reset = vcpu_reset,
    .vcpu_get = vcpu_get,
    .vcpu_put = vcpu_put,
    .paused = paused,
    .resumed = resumed,
    .sync = sync_vm,
    .print_stats = print_stats,
    .ioevent = kvm_ioevent,
    .irqfd = kvm_irqfd,
    .dirty_start = kvm_dirty_start,
    .dirty_collect = kvm_dirty_collect,
    .dirty_stop = kvm_dirty_stop,
    .set_debug = kvm_set_debug,
    .close = close_vm,
    .tsc = kvm_tsc,
    .set_tsc = kvm_set_tsc,
    .tsc_khz = kvm_tsc_khz,
    .set_tsc_khz = kvm_set_tsc_khz,
    .save = kvm_save,
    .load = kvm_load,
    .has_kernel_lapic = true,
};

/* ---- opening ---- */

static int list_msrs(struct kvm_accel *a, struct err *e)
{
    struct {
        struct kvm_msr_list head;
        uint32_t index[KVM_MAX_MSRS];
    } l = { .head.nmsrs = KVM_MAX_MSRS };
    int rc = kvm_call(a->dev_fd, KVM_GET_MSR_INDEX_LIST, &l);

    if (rc < 0) {
        return err_set(e, rc, "KVM: cannot list its MSRs: %s", strerror(-rc));
    }
    a->msr_count = l.head.nmsrs;
    memcpy(a->msr, l.index, a->msr_count * sizeof(a->msr[0]));
    return 0;
}

static void read_caps(struct kvm_accel *a)
{
    int slots = has_cap(a, KVM_CAP_NR_MEMSLOTS);

    a->slot_max =
        slots > 0 && slots < KVM_MAX_SLOTS ? (unsigned)slots : KVM_MAX_SLOTS;
    a->has_xsave = has_cap(a, KVM_CAP_XSAVE);
    a->has_xcrs = has_cap(a, KVM_CAP_XCRS);
    a->has_debugregs = has_cap(a, KVM_CAP_DEBUGREGS);
    a->has_vcpu_events = has_cap(a, KVM_CAP_VCPU_EVENTS);
    a->has_readonly_mem = has_cap(a, KVM_CAP_READONLY_MEM);
    a->has_immediate_exit = has_cap(a, KVM_CAP_IMMEDIATE_EXIT);
    a->coalesced_page = (unsigned)has_cap(a, KVM_CAP_COALESCED_MMIO);
    a->has_ioeventfd = has_cap(a, KVM_CAP_IOEVENTFD);
    a->has_any_length = has_cap(a, KVM_CAP_IOEVENTFD_ANY_LENGTH);
    a->has_irqfd = has_cap(a, KVM_CAP_IRQFD);
    a->gsi_max = (unsigned)has_cap(a, KVM_CAP_IRQ_ROUTING);
    if (has_cap(a, KVM_CAP_SET_GUEST_DEBUG)) {
        a->debug_flags = KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP |
                         (uint32_t)has_cap(a, KVM_CAP_SET_GUEST_DEBUG2);
    }
}

/* VGA memory and registers are written far more often than read. */
static void coalesce(struct kvm_accel *a)
{
    static const struct {
        uint64_t addr;
        uint32_t bytes;
    } zone[] = { { 0xa0000, 0x20000 } };

    if (a->coalesced_page == 0) return;
    for (unsigned i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
        struct kvm_coalesced_mmio_zone z = { .addr = zone[i].addr,
                                             .size = zone[i].bytes };

        kvm_call(a->vm_fd, KVM_REGISTER_COALESCED_MMIO, &z);
    }
}

/* A KVM that emulates logs every write and not every page, between two looks
 * at how full the ring is: it overflows. */
static bool is_fast(void)
{
    struct err e = ERR_INIT;

    return accel_kvm_speed(&e) >= ACCEL_KVM_FAST_PER_S;
}

static int set_up_vm(struct kvm_accel *a, struct err *e)
{
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP,
                                    .args = { IOAPIC_PINS } };
    uint64_t identity = IDENTITY_ADDR;
    unsigned ring_max;
    int rc;

    if (!has_cap(a, KVM_CAP_SPLIT_IRQCHIP) ||
        !has_cap(a, KVM_CAP_IMMEDIATE_EXIT)) {
        return err_set(e, -ENOTSUP,
                       "this kernel's KVM is too old (split irqchip and "
                       "immediate_exit, Linux 4.13, are needed)");
    }
    kvm_call(a->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    ioctl(a->vm_fd, KVM_SET_TSS_ADDR, (long)TSS_ADDR);
    rc = kvm_call(a->vm_fd, KVM_ENABLE_CAP, &split);
    if (rc < 0) {
        return err_set(e, rc, "KVM: no split irqchip: %s", strerror(-rc));
    }
    rc = has_cap(a, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
    ring_max = (unsigned)(rc > 0 ? rc : has_cap(a, KVM_CAP_DIRTY_LOG_RING));
    if (a->ring_entries == RING_AUTO) {
        a->ring_entries = ring_max > 0 && is_fast() ? RING_DEFAULT : 0;
    }
    kvm_dirty_init(a, ring_max, rc > 0,
                   (has_cap(a, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
                    KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0);
    return 0;
}

/* dirty-ring-size=N, QEMU's name: entries of a vCPU's ring of written pages; 0:
 * bitmaps; not given: whichever suits this KVM. */
static int parse_options(struct kvm_accel *a, const char *opts, struct err *e)
{
    static const char name[] = "dirty-ring-size=";
    char *end;
    unsigned long n;

    if (opts == NULL || *opts == '\0') return 0;
    if (strncmp(opts, name, sizeof(name) - 1) != 0) {
        return err_set(e, -EINVAL, "-accel kvm has no option %s", opts);
    }
    opts += sizeof(name) - 1;
    n = strtoul(opts, &end, 10);
    if (end == opts || *end != '\0' || n > RING_MAX ||
        (n != 0 && (n < RING_MIN || (n & (n - 1)) != 0))) {
        return err_set(e, -EINVAL,
                       "dirty-ring-size=%s: not 0 or a power of two from %d to "
                       "%d",
                       opts, RING_MIN, RING_MAX);
    }
    a->ring_entries = (unsigned)n;
    return 0;
}

static int open_kvm(struct vm *vm, const char *opts, struct err *e)
{
    struct kvm_accel *a = calloc(1, sizeof(*a));
    int rc;

    if (a == NULL) return err_set(e, -ENOMEM, "out of memory");
    a->vm = vm;
    a->vm_fd = -1;
    a->ring_entries = RING_AUTO;
    rc = parse_options(a, opts, e);
    if (rc < 0) {
        free(a);
        return rc;
    }
    a->dev_fd = kvm_open_device(e);
    rc = a->dev_fd;
    if (rc < 0) goto free_accel;
    a->vm_fd = ioctl(a->dev_fd, KVM_CREATE_VM, 0);
    if (a->vm_fd < 0) {
        rc = err_set(e, -errno, "KVM: cannot create a virtual machine: %s",
                     strerror(errno));
        goto close_dev;
    }
    read_caps(a);
    a->run_bytes = (size_t)ioctl(a->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    rc = set_up_vm(a, e);
    if (rc == 0) rc = list_msrs(a, e);
    if (rc == 0) {
        rc = kvm_cpuid_build(a, vm_config(vm)->cpu_model, e);
    }
    if (rc < 0) goto close_vm_fd;
    coalesce(a);
    kvm_signals_init();
    kvm_save_init(a);
    vm_set_accel(vm, "kvm", &kvm_ops, a);
    mem_set_listener_locked(
        vm, &(struct mem_listener){ .changed = kvm_memory_changed, .arg = a });
    return 0;
close_vm_fd:
    close(a->vm_fd);
close_dev:
    close(a->dev_fd);
    free(a->cpuid);
free_accel:
    free(a);
    return rc;
}

static int probe_kvm(struct err *e)
{
    int fd = kvm_open_device(e);

    if (fd < 0) return fd;
    close(fd);
    return 0;
}

const struct accel accel_kvm = {
    .name = "kvm",
    .title = "hardware virtualization of the Linux kernel",
    .probe = probe_kvm,
    .open = open_kvm,
};
