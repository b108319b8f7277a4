/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is KVM there, and is it hardware?  The second question is answered by
 * timing a short ring-0 loop in a throw-away VM: 64-bit mode, identity
 * mapped, `dec %ecx; jnz` and `hlt`, run with growing counts until it took
 * long enough to tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/accel/accel.h"
#include "core/accel/kvm.h"
#include "core/loop/loop.h"

enum {
    PROBE_BYTES = 0x8000,
    PROBE_PML4 = 0x1000,
    PROBE_PDPT = 0x2000,
    PROBE_PD = 0x3000,
    PROBE_CODE = 0x4000,
    PROBE_MIN_NS = 2000000, /* a run this long gives a usable figure */
    PROBE_START = 2000,     /* iterations of the first run */
    PROBE_MAX = 200000000,
};

int kvm_call(int fd, unsigned long request, void *arg)
{
    int rc;

    do {
        rc = ioctl(fd, request, arg);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

int kvm_open_device(struct err *e)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        int rc = -errno;

        switch (rc) {
        case -EACCES:
        case -EPERM:
            return err_set(e, rc,
                           "/dev/kvm: permission denied; add yourself to its "
                           "group (sudo adduser $USER kvm) and log in again");
        case -ENOENT:
            return err_set(e, rc,
                           "/dev/kvm is missing: no virtualization in this "
                           "CPU or firmware set-up, or the module is not "
                           "loaded (modprobe kvm_intel or kvm_amd)");
        default: return err_set(e, rc, "/dev/kvm: %s", strerror(-rc));
        }
    }
    if (kvm_call(fd, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION) {
        close(fd);
        return err_set(e, -ENOTSUP, "/dev/kvm does not speak API version 12");
    }
    return fd;
}

/* Loop body is two instructions per iteration. */
static const uint8_t probe_code[] = {
    0xff, 0xc9, /* 1: dec %ecx */
    0x75, 0xfc, /*    jnz 1b */
    0xf4,       /*    hlt */
};

/* One 2 MiB page maps it all: PML4, page directory pointers, page directory. */
static void fill_memory(uint8_t *mem)
{
    uint64_t pml4e = PROBE_PDPT | 3, pdpte = PROBE_PD | 3, pde = 0x83;

    memcpy(mem + PROBE_PML4, &pml4e, 8);
    memcpy(mem + PROBE_PDPT, &pdpte, 8);
    memcpy(mem + PROBE_PD, &pde, 8);
    memcpy(mem + PROBE_CODE, probe_code, sizeof(probe_code));
}

static int set_long_mode(int fd, uint64_t count)
{
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = PROBE_CODE, .rcx = count, .rflags = 2 };
    struct kvm_segment code = { .limit = ~0u,
                                .selector = 8,
                                .type = 11,
                                .present = 1,
                                .s = 1,
                                .l = 1,
                                .g = 1 };
    struct kvm_segment data = { .limit = ~0u,
                                .selector = 16,
                                .type = 3,
                                .present = 1,
                                .s = 1,
                                .db = 1,
                                .g = 1 };
    int rc = kvm_call(fd, KVM_GET_SREGS, &s);

    if (rc < 0) return rc;
    s.cs = code;
    s.ds = s.es = s.ss = s.fs = s.gs = data;
    s.cr3 = PROBE_PML4;
    s.cr4 = CR4_PAE;
    s.cr0 = CR0_PE | CR0_PG | CR0_ET;
    s.efer = EFER_LME | EFER_LMA;
    rc = kvm_call(fd, KVM_SET_SREGS, &s);
    return rc < 0 ? rc : kvm_call(fd, KVM_SET_REGS, &r);
}

/* Nanoseconds for count iterations, 0 if the guest did not get to HLT. */
static uint64_t time_run(int fd, struct kvm_run *run, uint64_t count)
{
    uint64_t t0;

    if (set_long_mode(fd, count) < 0) return 0;
    t0 = loop_now_ns();
    do {
        if (kvm_call(fd, KVM_RUN, NULL) < 0) return 0;
    } while (run->exit_reason == KVM_EXIT_INTR);
    return run->exit_reason == KVM_EXIT_HLT ? loop_now_ns() - t0 : 0;
}

static uint64_t measure(int vcpu_fd, struct kvm_run *run, struct err *e)
{
    uint64_t count = PROBE_START, ns;

    for (;;) {
        ns = time_run(vcpu_fd, run, count);
        if (ns == 0) {
            err_set(e, -EIO, "a test guest does not run under /dev/kvm");
            return 0;
        }
        if (ns >= PROBE_MIN_NS || count >= PROBE_MAX) break;
        count *= 10;
    }
    return (uint64_t)((double)count * 2e9 / (double)ns);
}

static uint64_t speed_of(int dev, struct err *e)
{
    int vm = kvm_call(dev, KVM_CREATE_VM, NULL);
    int bytes = kvm_call(dev, KVM_GET_VCPU_MMAP_SIZE, NULL), cpu = -1;
    uint8_t *mem = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *run = MAP_FAILED;
    uint64_t speed = 0;

    if (vm >= 0 && mem != MAP_FAILED) {
        struct kvm_userspace_memory_region r = { .memory_size = PROBE_BYTES,
                                                 .userspace_addr =
                                                     (uintptr_t)mem };

        fill_memory(mem);
        if (kvm_call(vm, KVM_SET_USER_MEMORY_REGION, &r) == 0) {
            cpu = kvm_call(vm, KVM_CREATE_VCPU, NULL);
        }
    }
    if (cpu >= 0 && bytes > 0) {
        run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu,
                   0);
    }
    if (run != MAP_FAILED) {
        speed = measure(cpu, run, e);
        munmap(run, (size_t)bytes);
    } else {
        err_set(e, -EIO, "/dev/kvm opens but creates no virtual machine");
    }
    if (cpu >= 0) close(cpu);
    if (vm >= 0) close(vm);
    if (mem != MAP_FAILED) munmap(mem, PROBE_BYTES);
    return speed;
}

uint64_t accel_kvm_speed(struct err *e)
{
    int dev = kvm_open_device(e);
    uint64_t speed;

    if (dev < 0) return 0;
    speed = speed_of(dev, e);
    close(dev);
    return speed;
}
