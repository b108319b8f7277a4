/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/cpu/mmu.h"
#include "core/vm/vm.h"
#include "monitor/command.h"

struct cpu *monitor_cpu_begin(struct monitor_session *s, unsigned index)
{
    const struct vm_accel_ops *ops = vm_accel(s->vm, NULL);
    struct vcpu *v = vm_vcpu(s->vm, index);

    if (v == NULL || ops == NULL) return NULL;
    vm_park_locked(s->vm);
    if (ops->vcpu_get != NULL) ops->vcpu_get(v);
    if (v->cpu == NULL) {
        vm_unpark_locked(s->vm);
        return NULL;
    }
    return v->cpu;
}

void monitor_cpu_end(struct monitor_session *s)
{
    vm_unpark_locked(s->vm);
}

/* General registers: 64-, 32-bit names in SDM order of encoding. */
static const char *const gpr_names[16][2] = {
    { "rax", "eax" },  { "rcx", "ecx" },  { "rdx", "edx" },  { "rbx", "ebx" },
    { "rsp", "esp" },  { "rbp", "ebp" },  { "rsi", "esi" },  { "rdi", "edi" },
    { "r8", "r8d" },   { "r9", "r9d" },   { "r10", "r10d" }, { "r11", "r11d" },
    { "r12", "r12d" }, { "r13", "r13d" }, { "r14", "r14d" }, { "r15", "r15d" },
};

#define FIELD(n, f)                                              \
    {                                                            \
        n, offsetof(struct cpu, f), sizeof(((struct cpu *)0)->f) \
    }
#define SEGMENT(n, s)                                    \
    FIELD(n, seg[s].sel), FIELD(n ".base", seg[s].base), \
        FIELD(n ".limit", seg[s].limit)
static const struct {
    const char *name;
    size_t offset;
    size_t bytes;
} fields[] = {
    FIELD("eip", rip),       FIELD("rip", rip),     FIELD("eflags", rflags),
    FIELD("rflags", rflags), SEGMENT("cs", SEG_CS), SEGMENT("ds", SEG_DS),
    SEGMENT("es", SEG_ES),   SEGMENT("ss", SEG_SS), SEGMENT("fs", SEG_FS),
    SEGMENT("gs", SEG_GS),   FIELD("cr0", cr0),     FIELD("cr2", cr2),
    FIELD("cr3", cr3),       FIELD("cr4", cr4),     FIELD("efer", efer),
};
#undef FIELD
#undef SEGMENT
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

int cpu_register(const struct cpu *c, const char *name, uint64_t *out)
{
    if (strcmp(name, "pc") == 0) {
        *out = c->rip + c->seg[SEG_CS].base;
        if (!cpu_is_long(c)) *out = (uint32_t)*out;
        return 0;
    }
    if (strcmp(name, "sp") == 0) name = "rsp";
    if (strcmp(name, "fp") == 0) name = "rbp";
    for (unsigned i = 0; i < 16; i++) {
        if (strcmp(name, gpr_names[i][0]) == 0) {
            *out = c->gpr[i];
            return 0;
        }
        if (strcmp(name, gpr_names[i][1]) == 0) {
            *out = (uint32_t)c->gpr[i];
            return 0;
        }
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        if (strcmp(name, fields[i].name) != 0) continue;
        *out = 0; /* little-endian host */
        memcpy(out, (const char *)c + fields[i].offset, fields[i].bytes);
        return 0;
    }
    return -ENOENT;
}

const char *cpu_register_name_at(unsigned i)
{
    if (i == 0) return "pc";
    if (i <= 32) return gpr_names[(i - 1) % 16][(i - 1) / 16];
    return i - 33 < FIELDS ? fields[i - 33].name : NULL;
}

/* KVM walks page tables itself and leaves its CPUs without the means. */
static void *phys_ptr(struct cpu *c, uint64_t gpa)
{
    const struct mem_frag *f = mem_find_in(c->vcpu->vm, cpu_mem_view(c), gpa);

    if (f == NULL || f->host == NULL) return NULL;
    gpa &= mem_address_mask(c->vcpu->vm, cpu_mem_view(c));
    return f->host + (gpa - f->start);
}

static const struct cpu_ops walk_ops = { .phys_ptr = phys_ptr };

int monitor_walk(struct vm *vm, struct cpu *c, uint64_t lin, uint64_t *gpa)
{
    const struct cpu_ops *ops = c->ops;
    struct vcpu *v = c->vcpu;
    int rc;

    if (ops == NULL || ops->phys_ptr == NULL) {
        c->ops = &walk_ops;
        for (unsigned i = 0; i < vm_vcpu_count(vm); i++) {
            if (vm_vcpu(vm, i)->cpu == c) c->vcpu = vm_vcpu(vm, i);
        }
    }
    rc = cpu_walk_debug(c, lin, gpa);
    c->ops = ops;
    c->vcpu = v;
    return rc;
}

int cpu_read_linear(struct vm *vm, struct cpu *c, uint64_t lin, void *buf,
                    size_t bytes)
{
    uint8_t *to = buf;

    while (bytes > 0) {
        size_t n = 4096 - (lin & 4095);
        uint64_t gpa = 0;

        if (n > bytes) n = bytes;
        if (monitor_walk(vm, c, lin, &gpa) < 0) return -EFAULT;
        mem_read_in_locked(vm, cpu_mem_view(c), gpa, to, n);
        to += n;
        lin += n;
        bytes -= n;
    }
    return 0;
}
