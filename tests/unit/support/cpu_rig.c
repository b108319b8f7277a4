/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/cpu_rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/support/cpu_signal.h"

/* The callbacks run while the guest's vector registers are live. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("general-regs-only"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("general-regs-only")
#endif

static struct cpu_rig *rig_of(struct cpu *c)
{
    return (struct cpu_rig *)c; /* the first member */
}

static uint8_t *phys(struct cpu_rig *r, uint64_t gpa)
{
    uint64_t at = r->is_flat ? gpa - RIG_BASE : gpa;
    return at < RIG_BYTES ? r->ram + at : NULL;
}

static uint8_t *translate(struct cpu *c, uint64_t lin, unsigned access)
{
    struct cpu_rig *r = rig_of(c);
    struct cpu_page page = { .gpa = lin };
    uint32_t error = 4 | (access & ACC_WRITE ? 2 : 0);
    if (r->is_flat) {
        if (phys(r, lin)) return phys(r, lin);
    } else if (cpu_walk(c, lin, access, &page, &error) == 0) {
        return phys(r, page.gpa);
    }
    c->cr2 = lin;
    cpu_throw_code(c, EXC_PF, error);
}

static void *lin_ptr(struct cpu *c, uint64_t lin, unsigned access)
{
    return translate(c, lin, access);
}

/* Both pages are looked at before a byte moves. */
static void load(struct cpu *c, uint64_t lin, void *buf, unsigned bytes,
                 unsigned access)
{
    uint8_t *to = buf;
    translate(c, lin, access);
    translate(c, lin + bytes - 1, access);
    for (unsigned n = 0; n < bytes; n++) {
        const uint8_t *p = translate(c, lin + n, access);
        to[n] = p ? *p : 0xff;
    }
}

static void store(struct cpu *c, uint64_t lin, const void *buf, unsigned bytes,
                  unsigned access)
{
    const uint8_t *from = buf;
    translate(c, lin, access);
    translate(c, lin + bytes - 1, access);
    for (unsigned n = 0; n < bytes; n++) {
        uint8_t *p = translate(c, lin + n, access);
        if (p) *p = from[n];
    }
}

static void *phys_ptr(struct cpu *c, uint64_t gpa)
{
    return phys(rig_of(c), gpa);
}

static uint32_t port_in(struct cpu *c, unsigned port, unsigned bytes)
{
    (void)port, (void)bytes;
    return rig_of(c)->in_value;
}

static void port_out(struct cpu *c, unsigned port, unsigned bytes, uint32_t v)
{
    struct cpu_rig *r = rig_of(c);
    r->out_port = port;
    r->out_bytes = bytes;
    r->out_value = v;
    r->outs++;
}

static void flush(struct cpu *c, enum cpu_flush what, uint64_t lin)
{
    (void)what, (void)lin;
    rig_of(c)->flushes++;
}

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const struct cpu_ops ops = {
    .load = load,
    .store = store,
    .lin_ptr = lin_ptr,
    .phys_ptr = phys_ptr,
    .in = port_in,
    .out = port_out,
    .flush = flush,
};

static void put64(struct cpu_rig *r, unsigned at, uint64_t v)
{
    memcpy(r->ram + at, &v, sizeof(v));
}

static void flat_tables(struct cpu_rig *r)
{
    put64(r, RIG_GDT + 8, 0x00af9b000000ffff);  /* 64-bit code, ring 0 */
    put64(r, RIG_GDT + 16, 0x00affb000000ffff); /* 64-bit code, ring 3 */
    put64(r, RIG_GDT + 24, 0x00cff3000000ffff); /* data, ring 3 */
    put64(r, RIG_TSS + 4, RIG_BASE + RIG_STACK);
    for (unsigned n = 0; n < 256; n++) {
        uint64_t to = RIG_BASE + RIG_HANDLERS + 16 * n;
        put64(r, RIG_IDT + 16 * n,
              (to & 0xffff) | 8u << 16 | (uint64_t)0xee00 << 32 |
                  (to >> 16 & 0xffff) << 48);
        put64(r, RIG_IDT + 16 * n + 8, to >> 32);
    }
}

void rig_flat_state(struct cpu_rig *r)
{
    struct cpu *c = &r->c;
    c->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_ET;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    c->xcr0 = r->model.xcr0_mask;
    c->efer = EFER_LMA | EFER_LME | EFER_SCE | EFER_NXE;
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n] = (struct cpu_segment){ 0x1b, 0xc0f3, UINT32_MAX, 0 };
    }
    c->seg[SEG_CS] = (struct cpu_segment){ 0x13, 0xa0fb, UINT32_MAX, 0 };
    if (r->is_32) c->seg[SEG_CS].attr = 0xc0fb;
    c->gdt.base = RIG_BASE + RIG_GDT;
    c->gdt.limit = 31;
    c->idt.base = RIG_BASE + RIG_IDT;
    c->idt.limit = 4095;
    c->tr.base = RIG_BASE + RIG_TSS;
    c->tr.limit = 0x67;
    c->tr.attr = 0x8b;
    c->rip = RIG_BASE + RIG_CODE;
    c->rflags = FLAG_IF | 2;
    c->activity = CPU_ACTIVE;
}

struct cpu_rig *rig_open(bool is_flat, const char *model)
{
    struct cpu_rig *r = aligned_alloc(64, (sizeof(*r) + 63) & ~63ul);
    struct err e = { .code = 0 };
    if (!r) abort();
    memset(r, 0, sizeof(*r));
    int fixed = is_flat ? MAP_FIXED_NOREPLACE : 0;
    r->ram = mmap(is_flat ? (void *)(uintptr_t)RIG_BASE : NULL, RIG_BYTES,
                  PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (r->ram == MAP_FAILED) abort();
    if (cpu_model_build(&r->model, model, 1, &e) < 0) abort();
    r->is_flat = is_flat;
    r->c.ops = &ops;
    r->c.model = &r->model;
    cpu_reset(&r->c);
    signals_open(&r->c);
    if (is_flat) {
        flat_tables(r);
        rig_flat_state(r);
    }
    return r;
}

void rig_close(struct cpu_rig *r)
{
    signals_close();
    cpu_native_close(&r->c);
    munmap(r->ram, RIG_BYTES);
    free(r);
}

/* ---- native runs.  Everything is addressed absolutely below 2 GiB, so no
 * register is needed for it. */

/* clang-format off */
#define AREA "0x20001000"
#define GET(n, name) "mov " AREA "+8*" #n ", %" name "\n\t"
#define PUT(n, name) "mov %" name ", " AREA "+8*" #n "\n\t"
#define ALL(x)                                                    \
    x(0, "rax") x(1, "rcx") x(2, "rdx") x(3, "rbx") x(4, "rsp")   \
    x(5, "rbp") x(6, "rsi") x(7, "rdi") x(8, "r8") x(9, "r9")     \
    x(10, "r10") x(11, "r11") x(12, "r12") x(13, "r13")           \
    x(14, "r14") x(15, "r15")

/* The area: 16 GPRs, flags at 128, host rsp at 136, far pointer to the code
 * at 144, vector image address or 0 at 152, where to jump at 160: the code,
 * or native_run_far for 32-bit code. */
void native_run_area(void);
void native_run_back(void);
void native_run_far(void);
__asm__(".text\n"
        "native_run_area:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\t"
        "push %r14\n\tpush %r15\n\t"
        "mov %rsp, " AREA "+136\n\t"
        "mov " AREA "+152, %rbx\n\t"
        "test %rbx, %rbx\n\t"
        "jz 1f\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txrstor64 (%rbx)\n\t"
        "1: mov $0x2b, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\t"
        "pushq " AREA "+128\n\tpopf\n\t"
        ALL(GET)
        "jmp *" AREA "+160\n"
        "native_run_far:\n\t"
        "ljmpl *" AREA "+144\n"
        "native_run_back:\n\t"
        ALL(PUT)
        "mov " AREA "+136, %rsp\n\t"
        "pushf\n\tpopq " AREA "+128\n\tcld\n\t"
        "mov " AREA "+152, %rbx\n\t"
        "test %rbx, %rbx\n\t"
        "jz 2f\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txsave64 (%rbx)\n\tfninit\n\t"
        "pushq $0x1f80\n\tldmxcsr (%rsp)\n\tadd $8, %rsp\n\t"
        "2: pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\t"
        "pop %rbp\n\tpop %rbx\n\tret\n");
/* clang-format on */

/* void emulate_area(struct cpu *c, void *image, void *fn): fn(c) between
 * xrstor and xsave. */
enum cpu_step emulate_area(struct cpu *c, void *image,
                           enum cpu_step (*fn)(struct cpu *));
__asm__(".text\n"
        "emulate_area:\n\t"
        "push %rbx\n\tmov %rsi, %rbx\n\tmov %rdx, %rcx\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txrstor64 (%rbx)\n\t"
        "call *%rcx\n\tmov %eax, %ecx\n\t"
        "mov $7, %eax\n\txor %edx, %edx\n\txsave64 (%rbx)\n\tfninit\n\t"
        "pushq $0x1f80\n\tldmxcsr (%rsp)\n\tadd $8, %rsp\n\t"
        "mov %ecx, %eax\n\tpop %rbx\n\tret\n");

int native_insn_vector(struct cpu_rig *r, struct native_state *s,
                       const uint8_t *bytes, unsigned count, void *image)
{
    /* jmp *0(%rip): back; 32-bit: ljmp $0x33, $that */
    static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
    static const uint8_t far_jump[] = { 0xea, 0, 0, 0, 0, 0x33, 0 };
    uint8_t *code = r->ram + RIG_CODE, *area = r->ram + RIG_AREA;
    uint64_t back = (uint64_t)(uintptr_t)native_run_back;
    uint64_t start = RIG_BASE + RIG_CODE, flags = s->flags & 0xcd5;
    uint64_t far_start = start | (uint64_t)0x23 << 32;
    uint64_t at = (uint64_t)(uintptr_t)image, to = start;
    memcpy(code, bytes, count);
    if (r->is_32) {
        uint32_t next = (uint32_t)(start + count + sizeof(far_jump));
        memcpy(code + count, far_jump, sizeof(far_jump));
        memcpy(code + count + 1, &next, 4);
        count += sizeof(far_jump);
        to = (uint64_t)(uintptr_t)native_run_far;
    }
    memcpy(code + count, jump, sizeof(jump));
    memcpy(code + count + sizeof(jump), &back, 8);
    memcpy(area, s->gpr, 128);
    memcpy(area + 128, &flags, 8);
    memcpy(area + 144, &far_start, 8);
    memcpy(area + 152, &at, 8);
    memcpy(area + 160, &to, 8);
    int sig = signals_call(native_run_area);
    if (sig) return sig;
    memcpy(s->gpr, area, 128);
    memcpy(&s->flags, area + 128, 8);
    return 0;
}

int native_insn(struct cpu_rig *r, struct native_state *s, const uint8_t *bytes,
                unsigned count)
{
    return native_insn_vector(r, s, bytes, count, NULL);
}

enum cpu_step emulate_vector_state(struct cpu_rig *r, void *image)
{
    return emulate_area(&r->c, image, cpu_emulate);
}
