/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump-guest-memory: an ELF core file (System V ABI; NT_PRSTATUS as Linux has
 * it on x86-64) that gdb and crash(8) read.  One PT_LOAD per stretch of RAM or
 * ROM, by guest-physical address.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "core/cpu/cpu.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/output.h"

enum { MAX_PARTS = 256, NOTE_NAME_BYTES = 8 };

/* Places of the flags for formats that are not written. */
enum { ARG_ZLIB = 7, ARG_WIN = 10 };

struct part {
    uint64_t gpa, bytes;
    const uint8_t *host;
};

struct dump {
    struct part part[MAX_PARTS];
    unsigned parts;
    int fd;
};

struct note {
    Elf64_Nhdr head;
    char name[NOTE_NAME_BYTES];
    prstatus_t status;
} __attribute__((packed));

/* RAM and ROM inside begin..end, without windows onto the same memory. */
static void find_parts(struct cmd *c, uint64_t begin, uint64_t end,
                       struct dump *d)
{
    size_t count = 0;
    const struct mem_frag *f = mem_frags_locked(c->vm, &count);

    for (size_t i = 0; i < count && d->parts < MAX_PARTS; i++) {
        uint64_t from = f[i].start, to = from + f[i].size;

        if (f[i].host == NULL) continue;
        if (from < begin) from = begin;
        if (to > end) to = end;
        if (from >= to) continue;
        d->part[d->parts++] =
            (struct part){ from, to - from, f[i].host + (from - f[i].start) };
    }
}

static int put(struct dump *d, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    while (bytes > 0) {
        ssize_t n = write(d->fd, p, bytes);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? -errno : -EIO;
        p += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* The order of registers in Linux's user_regs_struct. */
static void fill_registers(const struct cpu *c, prstatus_t *s)
{
    const uint64_t regs[] = {
        c->gpr[GPR_R15],
        c->gpr[GPR_R14],
        c->gpr[GPR_R13],
        c->gpr[GPR_R12],
        c->gpr[GPR_BP],
        c->gpr[GPR_BX],
        c->gpr[GPR_R11],
        c->gpr[GPR_R10],
        c->gpr[GPR_R9],
        c->gpr[GPR_R8],
        c->gpr[GPR_AX],
        c->gpr[GPR_CX],
        c->gpr[GPR_DX],
        c->gpr[GPR_SI],
        c->gpr[GPR_DI],
        UINT64_MAX,
        c->rip,
        c->seg[SEG_CS].sel,
        c->rflags,
        c->gpr[GPR_SP],
        c->seg[SEG_SS].sel,
        c->seg[SEG_FS].base,
        c->seg[SEG_GS].base,
        c->seg[SEG_DS].sel,
        c->seg[SEG_ES].sel,
        c->seg[SEG_FS].sel,
        c->seg[SEG_GS].sel,
    };

    memcpy(s->pr_reg, regs, sizeof(regs));
}

static int put_headers(struct cmd *c, struct dump *d)
{
    unsigned cpus = vm_vcpu_count(c->vm);
    uint64_t at = sizeof(Elf64_Ehdr) + (d->parts + 1) * sizeof(Elf64_Phdr);
    Elf64_Ehdr h = { .e_type = ET_CORE,
                     .e_machine = EM_X86_64,
                     .e_version = EV_CURRENT,
                     .e_phoff = sizeof(Elf64_Ehdr),
                     .e_ehsize = sizeof(Elf64_Ehdr),
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = (uint16_t)(d->parts + 1) };
    Elf64_Phdr p = { .p_type = PT_NOTE,
                     .p_offset = at,
                     .p_filesz = cpus * sizeof(struct note),
                     .p_memsz = cpus * sizeof(struct note) };
    int rc;

    memcpy(h.e_ident, ELFMAG, SELFMAG);
    h.e_ident[EI_CLASS] = ELFCLASS64;
    h.e_ident[EI_DATA] = ELFDATA2LSB;
    h.e_ident[EI_VERSION] = EV_CURRENT;
    rc = put(d, &h, sizeof(h));
    if (rc == 0) rc = put(d, &p, sizeof(p));
    at += p.p_filesz;
    for (unsigned i = 0; i < d->parts && rc == 0; i++) {
        p = (Elf64_Phdr){ .p_type = PT_LOAD,
                          .p_offset = at,
                          .p_paddr = d->part[i].gpa,
                          .p_filesz = d->part[i].bytes,
                          .p_memsz = d->part[i].bytes };
        at += p.p_filesz;
        rc = put(d, &p, sizeof(p));
    }
    return rc;
}

static int put_notes(struct cmd *c, struct dump *d)
{
    int rc = 0;

    for (unsigned i = 0; i < vm_vcpu_count(c->vm) && rc == 0; i++) {
        struct cpu *cpu = monitor_cpu_begin(c->s, i);
        struct note n = { .head = { .n_namesz = 5,
                                    .n_descsz = sizeof(prstatus_t),
                                    .n_type = NT_PRSTATUS },
                          .name = "CORE" };
        prstatus_t status = { .pr_pid = 0 };

        if (cpu == NULL) return -ENODEV;
        status.pr_pid = (int)i + 1;
        fill_registers(cpu, &status);
        n.status = status;
        monitor_cpu_end(c->s);
        rc = put(d, &n, sizeof(n));
    }
    return rc;
}

static int put_all(struct cmd *c, struct dump *d)
{
    int rc = put_headers(c, d);

    if (rc == 0) rc = put_notes(c, d);
    for (unsigned i = 0; i < d->parts && rc == 0; i++)
        rc = put(d, d->part[i].host, d->part[i].bytes);
    return rc;
}

static int range(struct cmd *c, uint64_t *begin, uint64_t *end, struct err *e)
{
    *begin = 0;
    *end = UINT64_MAX;
    if (c->arg[2].is_given != c->arg[3].is_given)
        return err_set(e, -EINVAL, "Parameter '%s' is missing",
                       c->arg[2].is_given ? "length" : "begin");
    if (!c->arg[2].is_given) return 0;
    *begin = (uint64_t)c->arg[2].number;
    if (c->arg[3].number <= 0 ||
        __builtin_add_overflow(*begin, (uint64_t)c->arg[3].number, end))
        return err_set(e, -EINVAL, "Parameter 'length' expects a size");
    return 0;
}

/* As query-dump says it. */
static void report_done(struct vm *vm)
{
    unsigned long long bytes = vm_config(vm)->ram_bytes;
    char text[128];

    snprintf(text, sizeof(text),
             "{\"result\": {\"total\": %llu, \"status\": \"completed\", "
             "\"completed\": %llu}}",
             bytes, bytes);
    vm_report_locked(vm, "DUMP_COMPLETED", text);
}

int cmd_dump_memory(struct cmd *c, struct err *e)
{
    const char *path = c->arg[1].text;
    struct dump d = { .parts = 0 };
    uint64_t begin, end;
    int rc = range(c, &begin, &end, e);

    if (rc < 0) return rc;
    for (unsigned i = ARG_ZLIB; i <= ARG_WIN; i++) {
        if (c->arg[i].is_given)
            return err_set(e, -ENOTSUP,
                           "only plain ELF is written (no -z, -l, -s, -w)");
    }
    if (c->arg[0].is_given)
        return err_set(e, -ENOTSUP,
                       "only guest-physical addresses can be dumped");
    if (c->json != NULL && strncmp(path, "file:", 5) != 0)
        return err_set(e, -EINVAL, "Parameter 'protocol' expects file:PATH");
    if (c->arg[4].is_given && strcmp(c->arg[4].text, "elf") != 0)
        return err_set(e, -ENOTSUP, "format '%s': there is elf alone",
                       c->arg[4].text);
    if (strncmp(path, "file:", 5) == 0) path += 5;
    vm_park_locked(c->vm); /* one moment of all CPUs */
    find_parts(c, begin, end, &d);
    if (d.parts == 0) {
        vm_unpark_locked(c->vm);
        return err_set(e, -EINVAL, "no memory there");
    }
    d.fd = output_open(path, 0600, e);
    if (d.fd < 0) {
        vm_unpark_locked(c->vm);
        return d.fd;
    }
    rc = put_all(c, &d);
    vm_unpark_locked(c->vm);
    if (close(d.fd) < 0 && rc == 0) rc = -errno;
    if (rc < 0) return err_set(e, rc, "%s: %s", path, strerror(-rc));
    vm_set_service(c->vm, "dump-done", c->vm);
    report_done(c->vm);
    return 0;
}
