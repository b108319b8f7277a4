/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Stubs for natively run instructions: one memory object per CPU, mapped
 * twice (writable, executable; never both at one address).  A slot holds an
 * instruction and a return; slots are found by hash of the bytes, so after
 * warming up nothing is written any more.
 *
 * System calls are made directly: this runs while the guest's vector
 * registers are live, and the kernel keeps those.
 */
#include "core/cpu/native.h"

#include <asm/signal.h> /* <signal.h> declares names of ours */
#include <sys/mman.h>
#include <sys/syscall.h>

enum {
    SLOT_BYTES = 16,
    SLOTS = 2048,
    WAYS = 4, /* slots that an instruction may be in */
    SETS = SLOTS / WAYS,
    CODE_BYTES = SLOT_BYTES * SLOTS,
};

struct cpu_native {
    uint8_t scratch[NATIVE_SCRATCH_BYTES] __attribute__((aligned(64)));
    uint8_t *code;    /* executable view */
    uint8_t *writing; /* writable view */
    int signo;        /* of the last fault */
    uint64_t x87_ip, x87_dp;
    uint16_t x87_op;
    uint8_t is_defined[SLOTS]; /* native_check() has found so */
    uint8_t next_way[SETS];    /* to be replaced */
};

/* int native_enter(struct native_regs *, void *mem, const void *stub):
 * 0, or 1 when a signal handler led to native_fault. */
int native_enter(struct native_regs *r, void *mem, const void *stub);
extern const uint8_t native_fault[];

__asm__(".text\n"
        ".p2align 4\n"
        ".globl native_enter\n"
        ".hidden native_enter\n"
        ".type native_enter, @function\n"
        "native_enter:\n\t"
        "push %rbx\n\t"
        "mov %rdi, %rbx\n\t"
        "mov %rsp, 56(%rbx)\n\t"
        "mov %rdx, %r11\n\t"
        "mov %rsi, %rdi\n\t"
        "mov (%rbx), %rax\n\t"
        "mov 8(%rbx), %rcx\n\t"
        "mov 16(%rbx), %rdx\n\t"
        "mov 24(%rbx), %r8\n\t"
        "mov 32(%rbx), %r9\n\t"
        "mov 40(%rbx), %r10\n\t"
        "push 48(%rbx)\n\t"
        "popf\n\t"
        "call *%r11\n\t"
        "pushf\n\t"
        "pop 48(%rbx)\n\t"
        "mov %rax, (%rbx)\n\t"
        "mov %rcx, 8(%rbx)\n\t"
        "mov %rdx, 16(%rbx)\n\t"
        "mov %r8, 24(%rbx)\n\t"
        "mov %r9, 32(%rbx)\n\t"
        "mov %r10, 40(%rbx)\n\t"
        "xor %eax, %eax\n\t"
        "pop %rbx\n\t"
        "ret\n"
        ".globl native_fault\n"
        ".hidden native_fault\n"
        "native_fault:\n\t"
        "mov 56(%rbx), %rsp\n\t"
        "mov $1, %eax\n\t"
        "pop %rbx\n\t"
        "ret\n"
        ".size native_enter, . - native_enter\n");

static long sys(long number, uint64_t a, uint64_t b, uint64_t d, uint64_t e,
                uint64_t f, uint64_t g)
{
    register uint64_t r10 __asm__("r10") = e;
    register uint64_t r8 __asm__("r8") = f;
    register uint64_t r9 __asm__("r9") = g;
    long r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "0"(number), "D"(a), "S"(b), "d"(d), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}

static void *map(uint64_t bytes, int prot, int flags, int fd)
{
    long r = sys(SYS_mmap, 0, bytes, (uint64_t)prot, (uint64_t)flags,
                 (uint64_t)fd, 0);
    return r < 0 && r > -4096 ? NULL : (void *)r;
}

/* NULL when the host gives no memory. */
static struct cpu_native *native_open(void)
{
    static const char name[] = "orrery-stubs";
    struct cpu_native *n = map(sizeof(*n), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (!n) return NULL;
    int fd =
        (int)sys(SYS_memfd_create, (uint64_t)name, 1 /* CLOEXEC */, 0, 0, 0, 0);
    if (fd < 0) goto unmap;
    if (sys(SYS_ftruncate, (uint64_t)fd, CODE_BYTES, 0, 0, 0, 0) < 0) {
        goto close;
    }
    n->writing = map(CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    n->code = map(CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
    if (!n->writing || !n->code) goto unmap_views;
    sys(SYS_close, (uint64_t)fd, 0, 0, 0, 0, 0);
    return n;
unmap_views:
    if (n->writing)
        sys(SYS_munmap, (uint64_t)n->writing, CODE_BYTES, 0, 0, 0, 0);
    if (n->code) sys(SYS_munmap, (uint64_t)n->code, CODE_BYTES, 0, 0, 0, 0);
close:
    sys(SYS_close, (uint64_t)fd, 0, 0, 0, 0, 0);
unmap:
    sys(SYS_munmap, (uint64_t)n, sizeof(*n), 0, 0, 0, 0);
    return NULL;
}

void cpu_native_close(struct cpu *c)
{
    struct cpu_native *n = c->native;
    if (!n) return;
    sys(SYS_munmap, (uint64_t)n->writing, CODE_BYTES, 0, 0, 0, 0);
    sys(SYS_munmap, (uint64_t)n->code, CODE_BYTES, 0, 0, 0, 0);
    sys(SYS_munmap, (uint64_t)n, sizeof(*n), 0, 0, 0, 0);
    c->native = NULL;
}

static struct cpu_native *native(struct cpu *c)
{
    if (!c->native) c->native = native_open();
    if (!c->native) throw_ud(c); /* no memory: the unit is missing */
    return c->native;
}

uint8_t *native_scratch(struct cpu *c)
{
    return native(c)->scratch;
}

/* Code was written through another address than it runs from: a serializing
 * instruction is needed in between (SDM volume 3A 8.1.3). */
static void serialize(void)
{
    uint32_t a = 0, b, d, x = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(x), "=d"(d)::"memory");
}

/* Two instructions of a loop must not take turns in one slot: to write it costs
 * a thousand times what the instruction does. */
static const uint8_t *stub_of(struct cpu_native *n, struct native_code *k,
                              uint8_t **is_defined)
{
    k->bytes[k->count] = 0xc3;
    uint64_t lo = cpu_get(k->bytes, 8), hi = cpu_get(k->bytes + 8, 8);
    uint64_t hash = (lo ^ hi * 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd;
    unsigned first = (unsigned)(hash >> 48) % SETS * WAYS, at = first;
    uint8_t *slot = n->writing + first * SLOT_BYTES;
    while (cpu_get(slot, 8) != lo || cpu_get(slot + 8, 8) != hi) {
        slot += SLOT_BYTES;
        if (++at < first + WAYS) continue;
        at = first + n->next_way[first / WAYS]++ % WAYS;
        slot = n->writing + at * SLOT_BYTES;
        cpu_put(slot, 8, lo);
        cpu_put(slot + 8, 8, hi);
        n->is_defined[at] = 0;
        serialize();
    }
    *is_defined = &n->is_defined[at];
    return n->code + at * SLOT_BYTES;
}

static _Noreturn void throw_fault(struct cpu *c, int signo)
{
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    if (signo == SIGSEGV || signo == SIGBUS) throw_gp(c, 0);
    if (signo == SIGFPE) {
        if (status & 0x80) cpu_throw(c, EXC_MF);
        if (c->cr4 & CR4_OSXMMEXCPT) cpu_throw(c, EXC_XM);
    }
    throw_ud(c);
}

void native_run(struct cpu *c, struct native_code *k, struct native_regs *r,
                void *mem)
{
    struct cpu_native *n = native(c);
    uint8_t *is_defined;
    const uint8_t *stub = stub_of(n, k, &is_defined);
    r->flags = (c->rflags & FLAGS_ARITH) | 2;
    if (native_enter(r, mem, stub)) throw_fault(c, n->signo);
}

/* Run once with an address that is none. */
void native_check(struct cpu *c, struct native_code *k)
{
    struct cpu_native *n = native(c);
    struct native_regs r = { .flags = 2 };
    uint8_t *is_defined;
    const uint8_t *stub = stub_of(n, k, &is_defined);
    void *nowhere = (void *)((uint64_t)1 << 62);
    if (*is_defined) return;
    if (native_enter(&r, nowhere, stub) && n->signo == SIGILL) throw_ud(c);
    *is_defined = 1;
}

bool cpu_native_fault(struct cpu *c, int signo, uint64_t *host_rip)
{
    struct cpu_native *n = c ? c->native : NULL;
    if (!n || *host_rip - (uint64_t)n->code >= CODE_BYTES) return false;
    n->signo = signo;
    *host_rip = (uint64_t)native_fault;
    return true;
}

/* SDM volume 1, 8.1.9. */
static uint16_t x87_opcode(const struct insn *i)
{
    return (uint16_t)((i->op & 7) << 8 | i->modrm);
}

void native_note_x87(struct cpu *c, const struct insn *i, uint64_t lin)
{
    struct cpu_native *n = native(c);
    n->x87_ip = c->rip;
    n->x87_dp = lin;
    n->x87_op = x87_opcode(i);
}

/* FOP of the instruction at rip, 0 if it cannot be read any more. */
static uint16_t read_opcode(struct cpu *c, uint64_t rip)
{
    struct insn i;
    unsigned have = 0;
    unsigned mode = cpu_is_code64(c)                    ? 8
                    : c->seg[SEG_CS].attr & SEG_ATTR_DB ? 4
                                                        : 2;
    uint64_t lin = rip + (mode == 8 ? 0 : c->seg[SEG_CS].base), gpa;
    for (; have < INSN_MAX_BYTES; have++, lin++) {
        if (mode != 8) lin = (uint32_t)lin;
        if (cpu_walk_debug(c, lin, &gpa) < 0) break;
        const uint8_t *p = c->ops->phys_ptr(c, gpa & ~(uint64_t)7);
        if (!p) break;
        i.bytes[have] = p[gpa & 7];
    }
    if (insn_decode(&i, have, mode, is_real_style(c)) != INSN_OK) return 0;
    bool is_x87 = i.map == MAP_ONE && (i.op & 0xf8) == 0xd8;
    return is_x87 ? x87_opcode(&i) : 0;
}

/* Host code is known by its address; any other value is one that the guest
 * has loaded. */
struct x87_pointers native_pointers(struct cpu *c, const uint8_t *image)
{
    const struct cpu_native *n = c->native;
    bool is_pending = image[2] & 0x80; /* FSW.ES */
    struct x87_pointers p = { .ip = cpu_get(image + 8, 8),
                              .dp = cpu_get(image + 16, 8),
                              .op = (uint16_t)cpu_get(image + 6, 2) };
    if (n && p.ip - (uint64_t)n->code < CODE_BYTES) {
        p.ip = n->x87_ip;
        p.dp = n->x87_dp;
        p.op = is_pending ? n->x87_op : 0;
    } else if (p.ip >> 32 && c->ops->guest_rip) {
        uint64_t ip = c->ops->guest_rip(c, p.ip);
        if (ip == p.ip) return p;
        bool is_known = is_pending && p.dp && c->ops->guest_lin;
        p.dp = is_known ? c->ops->guest_lin(c, p.dp) : 0;
        p.op = is_pending && ip ? read_opcode(c, ip) : 0;
        p.ip = ip;
    }
    return p;
}

struct x87_pointers native_pointers_of(struct cpu *c, uint32_t host_ip)
{
    const struct cpu_native *n = c->native;
    struct x87_pointers p = { .ip = host_ip };
    if (n && host_ip - (uint32_t)(uint64_t)n->code < CODE_BYTES) {
        p.ip = n->x87_ip;
    } else if (c->ops->guest_rip) {
        p.ip = c->ops->guest_rip(c, host_ip);
    }
    return p;
}

static void move_vector(struct cpu *c, unsigned reg, bool is_256, void *buf,
                        unsigned op)
{
    struct native_code k;
    struct native_regs r = { 0 };
    code_open(&k);
    if (is_256) { /* VMOVUPS ymm */
        code_add(&k, 0xc4);
        code_add(&k, reg & 8 ? 0x61 : 0xe1);
        code_add(&k, 0x7c);
    } else { /* MOVUPS */
        if (reg & 8) code_add(&k, 0x44);
        code_add(&k, 0x0f);
    }
    code_add(&k, op);
    code_add(&k, (reg & 7) << 3 | 6);
    native_run(c, &k, &r, buf);
}

void native_vector_get(struct cpu *c, unsigned n, bool is_256, void *buf)
{
    move_vector(c, n, is_256, buf, 0x11);
}

void native_vector_set(struct cpu *c, unsigned n, bool is_256, void *buf)
{
    move_vector(c, n, is_256, buf, 0x10);
}

/* ---- what comes before any vector instruction */

/*
 * A pending unmasked x87 exception.  With CR0.NE clear the CPU asserts FERR#,
 * which the chip set makes IRQ 13 of, and waits for an interrupt, unless
 * IGNNE# is asserted (SDM volume 1, D.2.1): here the instruction is begun
 * again and again.
 */
static void check_pending(struct cpu *c)
{
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    if (!(status & 0x80)) return;
    if (c->cr0 & CR0_NE) cpu_throw(c, EXC_MF);
    if (c->ops->ferr && !c->ops->ferr(c, true)) cpu_throw_again(c);
    __asm__ volatile("fnclex");
}

void check_x87(struct cpu *c, bool is_waiting)
{
    if (c->cr0 & (CR0_EM | CR0_TS)) cpu_throw(c, EXC_NM);
    if (is_waiting) check_pending(c);
}

void fwait_check(struct cpu *c, bool is_wait)
{
    (void)is_wait;
    if ((c->cr0 & CR0_MP) && (c->cr0 & CR0_TS)) cpu_throw(c, EXC_NM);
    check_pending(c);
}

void check_mmx(struct cpu *c)
{
    if (c->cr0 & CR0_EM) throw_ud(c);
    if (c->cr0 & CR0_TS) cpu_throw(c, EXC_NM);
    check_pending(c);
}

void check_sse(struct cpu *c)
{
    if ((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR)) throw_ud(c);
    if (c->cr0 & CR0_TS) cpu_throw(c, EXC_NM);
}

void check_avx(struct cpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6) throw_ud(c);
    if (c->cr0 & CR0_TS) cpu_throw(c, EXC_NM);
}
