/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memsave, pmemsave and where memory is: gva2gpa, gpa2hva, gpa2hpa. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/cpu/cpu.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/output.h"

/* Devices and holes below 4 GiB. */
static const uint64_t MAX_BEYOND_RAM = UINT64_C(4) << 30;

static int read_guest(struct vm *vm, struct cpu *cpu, uint64_t at, void *buf,
                      size_t bytes)
{
    if (cpu != NULL) return cpu_read_linear(vm, cpu, at, buf, bytes);
    mem_read_locked(vm, at, buf, bytes);
    return 0;
}

static FILE *create(const char *path, struct err *e)
{
    int fd = output_open(path, 0666, e);
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;

    if (f == NULL && fd >= 0) {
        err_set(e, -errno, "%s: %s", path, strerror(errno));
        close(fd);
    }
    return f;
}

static int save(struct cmd *c, bool is_linear, struct err *e)
{
    uint64_t at = (uint64_t)c->arg[0].number;
    uint64_t left = (uint64_t)c->arg[1].number;
    uint64_t index =
        c->arg[3].is_given ? (uint64_t)c->arg[3].number : c->s->cpu;
    struct cpu *cpu = NULL;
    uint8_t buf[4096];
    FILE *f;
    int rc = 0;

    /* More than there is an address space to find it in is a slip. */
    if (left > vm_ram(c->vm)->size + MAX_BEYOND_RAM)
        return err_set(e, -EINVAL,
                       "size %llu is more than the machine's memory",
                       (unsigned long long)left);
    if (is_linear) {
        if (index >= vm_vcpu_count(c->vm))
            return err_set(e, -EINVAL,
                           "Parameter 'cpu-index' expects a CPU number");
        cpu = monitor_cpu_begin(c->s, (unsigned)index);
        if (cpu == NULL) return err_set(e, -ENODEV, "No CPU");
    }
    f = create(c->arg[2].text, e);
    if (f == NULL) rc = -EIO;
    while (rc == 0 && left > 0) {
        size_t n = left < sizeof(buf) ? left : sizeof(buf);

        rc = read_guest(c->vm, cpu, at, buf, n);
        if (rc < 0) {
            err_set(e, rc, "Invalid addr 0x%016llx/size %llu specified",
                    (unsigned long long)c->arg[0].number,
                    (unsigned long long)c->arg[1].number);
        } else if (fwrite(buf, 1, n, f) != n) {
            rc = err_set(e, -errno, "%s: %s", c->arg[2].text, strerror(errno));
        }
        at += n;
        left -= n;
    }
    if (f != NULL && fclose(f) != 0 && rc == 0)
        rc = err_set(e, -errno, "%s: %s", c->arg[2].text, strerror(errno));
    if (cpu != NULL) monitor_cpu_end(c->s);
    return rc;
}

int cmd_memsave(struct cmd *c, struct err *e)
{
    return save(c, true, e);
}

int cmd_pmemsave(struct cmd *c, struct err *e)
{
    return save(c, false, e);
}

/* Host memory behind a guest-physical address. */
static const struct mem_frag *host_frag(struct cmd *c, uint64_t at,
                                        struct err *e)
{
    const struct mem_frag *f = mem_find(c->vm, at);

    if (f == NULL) {
        err_set(e, -EFAULT, "No memory is mapped at address 0x%llx",
                (unsigned long long)at);
        return NULL;
    }
    if (f->host == NULL) {
        err_set(e, -EFAULT, "Memory at address 0x%llx is not RAM",
                (unsigned long long)at);
        return NULL;
    }
    return f;
}

int cmd_gpa2hva(struct cmd *c, struct err *e)
{
    uint64_t at = (uint64_t)c->arg[0].number;
    const struct mem_frag *f = host_frag(c, at, e);

    if (f == NULL) return -EFAULT;
    fprintf(c->out, "Host virtual address for 0x%llx (%s) is %p\n",
            (unsigned long long)at, f->region->name,
            (void *)(f->host + (at - f->start)));
    return 0;
}

/* Documentation/admin-guide/mm/pagemap.rst of Linux: bits 54:0 are the page
 * frame number, bit 63 "present"; without CAP_SYS_ADMIN the number is 0. */
int cmd_gpa2hpa(struct cmd *c, struct err *e)
{
    uint64_t at = (uint64_t)c->arg[0].number, entry = 0, page = 4096;
    const struct mem_frag *f = host_frag(c, at, e);
    uintptr_t host;
    ssize_t n;
    int fd;

    if (f == NULL) return -EFAULT;
    host = (uintptr_t)(f->host + (at - f->start));
    fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(e, -errno, "Cannot open /proc/self/pagemap");
    n = pread(fd, &entry, sizeof(entry), (off_t)(host / page * sizeof(entry)));
    close(fd);
    if (n != (ssize_t)sizeof(entry))
        return err_set(e, -EIO, "Cannot read /proc/self/pagemap");
    if (!(entry >> 63)) return err_set(e, -EFAULT, "Page not present");
    entry &= (1ull << 55) - 1;
    if (entry == 0)
        return err_set(e, -EPERM,
                       "the kernel hides physical addresses: needs "
                       "CAP_SYS_ADMIN");
    fprintf(c->out, "Host physical address for 0x%llx (%s) is 0x%llx\n",
            (unsigned long long)at, f->region->name,
            (unsigned long long)(entry * page + host % page));
    return 0;
}

int cmd_gva2gpa(struct cmd *c, struct err *e)
{
    struct cpu *cpu = monitor_cpu_begin(c->s, c->s->cpu);
    uint64_t gpa = 0;

    if (cpu == NULL) return err_set(e, -ENODEV, "No CPU");
    if (monitor_walk(c->vm, cpu, (uint64_t)c->arg[0].number, &gpa) < 0) {
        fputs("Unmapped\n", c->out);
    } else {
        fprintf(c->out, "gpa: %#llx\n", (unsigned long long)gpa);
    }
    monitor_cpu_end(c->s);
    return 0;
}
