/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPUTEST_H
#define CPUTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report.h"

/* Frame of the 64-bit CPU test. */

/* ---- traps */

struct frame { /* as the stubs push it */
    uint64_t r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};
struct trap {
    uint64_t vector, error, rip, cs, flags, rsp, cr2, dr6, cx, si, di, ax;
};
enum { NO_TRAP = 0xff, TRAPS_MAX = 64 };

struct place {
    uint64_t reg[8];
};
int save(struct place *p) __attribute__((returns_twice));
void back(struct place *p) __attribute__((noreturn));

extern struct trap trap;             /* the last one */
extern struct trap traps[TRAPS_MAX]; /* all since TRY began */
extern unsigned trap_count;
extern struct place escape;
/* What happens after a trap was noted: true: go on by IRET; false: leave the
 * TRY.  Default (NULL): leave for all but vectors 1, 3 and from 32 on. */
extern bool (*trap_hook)(struct frame *f);
void trap_clear(void);

/* Run code; traps lead behind it. */
#define TRY(...)                          \
    do {                                  \
        trap_clear();                     \
        if (!save(&escape)) {             \
            __VA_ARGS__;                  \
        }                                 \
        asm volatile("" : : : "memory");  \
    } while (0)

/* The last TRY ended with this vector (NO_TRAP: none) and error code. */
void check_trap(const char *name, unsigned vector, uint64_t error);
/* One step for `asm volatile` text that faults or not. */
#define TRY_ASM(text) TRY(asm volatile(text ::: "memory", "rax", "rcx", "rdx"))

/* Gate of a vector: type and DPL byte (0x8e: interrupt, present). */
void set_gate(unsigned vector, unsigned attr, unsigned ist);
void set_gate_to(unsigned vector, uint64_t rip, unsigned sel, unsigned attr,
                 unsigned ist);
extern uint64_t idt[512];
extern uint64_t gdt[];
struct tss64 {
    uint32_t unused0;
    uint64_t rsp[3], unused1, ist[7], unused2;
    uint16_t unused3, iomap;
    uint8_t bitmap[16];
} __attribute__((packed));
extern struct tss64 tss;

/* ---- ring 3: code at USER_CODE, stack below USER_STACK; ends by a trap
 * (INT 0x80 has a gate for it).  Call inside TRY. */

enum {
    VA = 0x40000000, /* page tables of tests begin here (its second GiB) */
    USER_CODE = VA + 0x10000,
    USER_STACK = VA + 0x20000,
    USER_DATA = VA + 0x30000,
};
void user_run(const void *code, size_t bytes, uint64_t flags);
#define USER_ASM(name, text)                            \
    asm(".pushsection .rodata\n" #name ": " text        \
        "\n" #name "_end:\n.popsection");               \
    extern const char name[], name##_end[]
#define USER(name) user_run(name, (size_t)(name##_end - name), 0)
#define USER_FLAGS(name, f) user_run(name, (size_t)(name##_end - name), f)

/* ---- pages: one GiB at VA has 4 KiB tables */

#define P  1ull
#define W  2ull
#define U  4ull
#define A  0x20ull
#define D  0x40ull
#define PS 0x80ull
#define G  0x100ull
#define NX (1ull << 63)
uint64_t *pte(uint64_t va);               /* entry of a page of that GiB */
void map(uint64_t va, uint64_t e);        /* and INVLPG */
uint8_t *page(unsigned n);                /* n-th page of test memory, RAM */
#define PHYS(p) ((uint64_t)(p))
extern uint64_t pml4[512], pdpt[512], pd[2048], test_pd[512];

/* ---- registers */

#define READ_CR(n)                                        \
    ({                                                    \
        uint64_t v_;                                      \
        asm volatile("mov %%cr" #n ", %0" : "=r"(v_));    \
        v_;                                               \
    })
#define WRITE_CR(n, v) \
    asm volatile("mov %0, %%cr" #n : : "r"((uint64_t)(v)) : "memory")
#define READ_DR(n)                                     \
    ({                                                 \
        uint64_t v_;                                   \
        asm volatile("mov %%dr" #n ", %0" : "=r"(v_)); \
        v_;                                            \
    })
#define WRITE_DR(n, v) asm volatile("mov %0, %%dr" #n : : "r"((uint64_t)(v)))

static inline uint64_t rdmsr(uint32_t n)
{
    uint32_t a, d;
    asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(n));
    return (uint64_t)d << 32 | a;
}
static inline void wrmsr(uint32_t n, uint64_t v)
{
    asm volatile("wrmsr" : : "c"(n), "a"((uint32_t)v), "d"(v >> 32) : "memory");
}
struct regs {
    uint32_t a, b, c, d;
};
static inline struct regs cpuid(uint32_t leaf, uint32_t sub)
{
    struct regs r;
    asm volatile("cpuid"
                 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                 : "0"(leaf), "2"(sub));
    return r;
}
static inline uint64_t rdtsc(void)
{
    uint32_t a, d;
    asm volatile("rdtsc" : "=a"(a), "=d"(d) : : "memory");
    return (uint64_t)d << 32 | a;
}
static inline void invlpg(uint64_t va)
{
    asm volatile("invlpg (%0)" : : "r"(va) : "memory");
}

enum { EFER = 0xc0000080u - 0, STAR = 0xc0000081u - 0 };
#define CR4_TSD      (1ull << 2)
#define CR4_DE       (1ull << 3)
#define CR4_PGE      (1ull << 7)
#define CR4_XMM      (1ull << 10)
#define CR4_UMIP     (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_PCIDE    (1ull << 17)
#define CR4_OSXSAVE  (1ull << 18)
#define CR4_SMEP     (1ull << 20)
#define CR4_SMAP     (1ull << 21)
#define FLAG_TF      0x100ull
#define FLAG_IF      0x200ull
#define FLAG_AC      0x40000ull

/* Features the CPU under test announces. */
struct features {
    bool is_intel, smep, smap, nx, gib, pcid, invpcid, umip, fsgsbase, rdpid,
        rdtscp, xsave, avx, xsavec, xgetbv1, xsaves, x2apic, deadline, monitor,
        rdrand, la57;
};
extern struct features has;

/* ---- sections */

void test_exceptions(void);
void test_paging(void);
void test_pcid(void);
void test_segments(void);
void test_interrupts(void);
void test_debug(void);
void test_fpu(void);
void test_features(void);
void test_code(void);
void test_system(void);
void test_smp(void);
void test_clocks(unsigned seconds); /* alone */
void test_reset(void); /* last: does not come back */

/* local APIC (interrupts.c) */
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t v);
void apic_eoi(void);

#endif
