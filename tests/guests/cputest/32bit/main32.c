/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU test of 32-bit protected mode: segments, gates, tasks, VM86 with VME,
 * paging without and with PAE, x87 errors as interrupts.  SDM 3A chapters 3 to
 * 7 and 20, SDM 1 appendix D.
 */
#include "../report.h"

struct frame {
    uint32_t es, ds, di, si, bp, unused, bx, dx, cx, ax;
    uint32_t vector, error, eip, cs, flags, esp, ss;
    uint32_t v_es, v_ds, v_fs, v_gs; /* from VM86 */
};
struct place {
    uint32_t reg[6];
};
struct tss32 {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, flags, ax, cx, dx,
        bx, sp, bp, si, di, es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, iomap;
    uint8_t redirection[32], bitmap[33];
} __attribute__((packed));

int save(struct place *p) __attribute__((returns_twice));
void back(struct place *p) __attribute__((noreturn));
void on_trap(struct frame *f);
int main(void);

extern uint64_t gdt[];
extern const char stubs[], gate16[], task_iret[], task_hlt[], task_error[];
extern const char u_int[], u_gate[], u_conforming[], u_hlt[], u_in[];
extern const char wrap16[], wrap16_end[];
extern const char v_int[], v_pushf[], v_cli[], v_sti[], v_in[], v_iret[],
    v_hlt[], v_end[];
extern volatile uint32_t seen_esp, seen_flags, seen_link, seen_cr0, seen_error,
    seen_eip, task_runs;

static struct frame trap;
static unsigned trap_count;
static uint32_t trap_cr2, trap_dr6;
static struct place escape;
static uint32_t seen_before;
static bool (*trap_hook)(struct frame *f);
static uint64_t idt[256] __attribute__((aligned(16)));
struct tss32 main_tss __attribute__((aligned(256)));
struct tss32 other_tss __attribute__((aligned(256)));
static uint8_t ring0_stack[8192] __attribute__((aligned(16)));
static uint8_t user_stack[8192] __attribute__((aligned(16)));
static uint8_t task_stack[4096] __attribute__((aligned(16)));
static uint8_t data[4096] __attribute__((aligned(4096)));

enum { NO_TRAP = 0xff, FREE = 0x60 };

void on_trap(struct frame *f)
{
    trap = *f;
    trap_count++;
    asm volatile("mov %%cr2, %0" : "=r"(trap_cr2));
    asm volatile("mov %%dr6, %0" : "=r"(trap_dr6));
    if (trap_hook && trap_hook(f)) return;
    asm volatile("pushl $2; popf" : : : "memory");
    back(&escape);
}

#define TRY(...)                         \
    do {                                 \
        trap_count = 0;                  \
        trap.vector = NO_TRAP;           \
        trap.error = 0;                  \
        if (!save(&escape)) {            \
            __VA_ARGS__;                 \
        }                                \
        asm volatile("" : : : "memory"); \
    } while (0)

static void check_trap(const char *name, unsigned vector, uint32_t error)
{
    check(name, (uint64_t)trap.vector << 32 | trap.error,
          (uint64_t)vector << 32 | error);
}

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned attr)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
           (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
           (uint64_t)(attr >> 8 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

static uint64_t gate(uint32_t to, unsigned sel, unsigned attr, unsigned params)
{
    return (to & 0xffff) | sel << 16 | (uint64_t)params << 32 |
           (uint64_t)attr << 40 | (uint64_t)(to >> 16) << 48;
}

static void set_gate(unsigned vector, unsigned attr)
{
    idt[vector] = gate((uint32_t)stubs + 16 * vector, 8, attr, 0);
}

static void set_up(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) p = { sizeof(idt) - 1, (uint32_t)idt };

    for (unsigned n = 0; n < 256; n++) {
        set_gate(n, 0x8e);
    }
    set_gate(0x80, 0xee);
    set_gate(3, 0xee);
    asm volatile("lidt %0" : : "m"(p));
    main_tss.esp0 = (uint32_t)ring0_stack + sizeof(ring0_stack);
    main_tss.ss0 = 16;
    main_tss.iomap = 0x68 + 32;
    for (unsigned n = 0; n < 33; n++) {
        main_tss.bitmap[n] = 0xff;
    }
    gdt[5] = descriptor((uint32_t)&main_tss, sizeof(main_tss) - 1, 0x89);
    asm volatile("ltr %w0" : : "r"(40));
    asm volatile("mov %%cr0, %%eax; and $0x9fffffff, %%eax; or $0x22, %%eax;"
                 "mov %%eax, %%cr0"
                 :
                 :
                 : "eax");
}

/* Bit of CPUID.1:EDX */
static bool has_feature(unsigned bit)
{
    uint32_t a = 1, b, c, d;

    asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return d >> bit & 1;
}

/* ---- segments: 3A 5.3 to 5.5 */

static void load_fs(unsigned sel)
{
    asm volatile("mov %w0, %%fs" : : "r"(sel) : "memory");
}

#define FS(op) asm volatile(op : : : "eax", "memory")

static void segments(void)
{
    section("segment");
    gdt[FREE / 8] = descriptor((uint32_t)data, 0xff, 0x493);
    load_fs(FREE);
    TRY(FS("mov %%fs:0xfc, %%eax"));
    check_trap("a load that ends at the limit is fine", NO_TRAP, 0);
    TRY(FS("mov %%fs:0xfd, %%eax"));
    check_trap("one byte more is #GP(0)", 13, 0);
    load_fs(FREE); /* a trap has loaded it anew */
    TRY(FS("mov %%eax, %%fs:0xfffffffe"));
    check_trap("so is a wrap", 13, 0);
    gdt[FREE / 8] = descriptor((uint32_t)data, 0xff, 0x491);
    load_fs(FREE);
    TRY(FS("mov %%eax, %%fs:0"));
    check_trap("a write to a read-only segment is #GP(0)", 13, 0);
    gdt[FREE / 8] = descriptor((uint32_t)data, 0xff, 0x497);
    load_fs(FREE);
    TRY(FS("mov %%fs:0xff, %%eax"));
    check_trap("expand down: below or at the limit is #GP(0)", 13, 0);
    TRY(FS("mov %%fs:0x100, %%eax"));
    check_trap("above it is fine", NO_TRAP, 0);
    gdt[FREE / 8] = descriptor((uint32_t)data, 0xff, 0x097);
    load_fs(FREE);
    TRY(FS("mov %%fs:0xfffd, %%eax"));
    check_trap("with B clear it ends at 64 KiB: #GP(0)", 13, 0);
    TRY(FS("mov %%fs:0xfffc, %%eax"));
    check_trap("and not before", NO_TRAP, 0);
    gdt[FREE / 8] = descriptor(0, 1, 0xc93);
    load_fs(FREE);
    TRY(FS("mov %%fs:0x1ffc, %%eax"));
    check_trap("granularity counts pages", NO_TRAP, 0);
    TRY(FS("mov %%fs:0x1ffd, %%eax"));
    check_trap("and their last byte: #GP(0)", 13, 0);
    load_fs(0);
    TRY(FS("mov %%fs:0, %%eax"));
    check_trap("a null segment is #GP(0)", 13, 0);
    gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc99);
    TRY(load_fs(FREE));
    check_trap("code that cannot be read is #GP(selector)", 13, FREE);
    gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc13);
    TRY(load_fs(FREE));
    check_trap("not present is #NP(selector)", 11, FREE);
    TRY(asm volatile("mov %w0, %%ss" : : "r"(FREE)));
    check_trap("in SS #SS(selector)", 12, FREE);
    TRY(asm volatile("mov %w0, %%ss" : : "r"(0)));
    check_trap("null in SS is #GP(0)", 13, 0);
    TRY(asm volatile("mov %w0, %%ss" : : "r"(32)));
    check_trap("SS of another ring is #GP(selector)", 13, 32);
    gdt[FREE / 8] = descriptor(0, 0xfff, 0x49b);
    TRY(asm volatile("ljmp %0, $0x1000" : : "i"(FREE)));
    check_trap("a far jump over the limit is #GP(0)", 13, 0);
    TRY(asm volatile("ljmp %0, $0" : : "i"(16)));
    check_trap("to data is #GP(selector)", 13, 16);
    TRY(asm volatile("ljmp %0, $0" : : "i"(24 + 3)));
    check_trap("to another ring is #GP(selector)", 13, 24);
    load_fs(16);
}

/* Near branches beyond the limit, 4 MiB: FREE names the segment; the word that
 * was on the stack is there still (it lies where another ring's ESP would). */
#define LIMITED(name, text)                                      \
    TRY(asm volatile("pushl $0x5a5a; ljmp %0, $1f; .globl " name \
                     "; 1: mov $0x400000, %%eax;" text           \
                     :                                           \
                     : "i"(FREE)                                 \
                     : "eax", "memory"))

static void put_trap(uint32_t at)
{
    *(volatile uint16_t *)at = 0x80cd; /* INT 0x80 */
}

static void limited_code(void)
{
    extern const char near_jmp[], near_call[], near_ret[], near_jz[];

    section("near branch");
    gdt[FREE / 8] = descriptor(0, 0x3ff, 0xc9b);
    put_trap(0x400000); /* for who comes there */
    put_trap((uint32_t)near_jz + 0x400000);
    LIMITED("near_jmp", "near_jmp: jmp *%%eax;");
    check_trap("a jump over the limit is #GP(0)", 13, 0);
    check("at the jump", trap.eip, (uint32_t)near_jmp);
    LIMITED("near_call", "near_call: call *%%eax;");
    check_trap("a call over the limit is #GP(0)", 13, 0);
    check("at the call", trap.eip, (uint32_t)near_call);
    check("with the stack as before", trap.esp, 0x5a5a);
    LIMITED("near_ret", "pushl %%eax; near_ret: ret;");
    check_trap("a return over the limit is #GP(0)", 13, 0);
    check("at the return", trap.eip, (uint32_t)near_ret);
    check("with the address still there", trap.esp, 0x400000);
    LIMITED("near_jz", "xor %%eax, %%eax; near_jz: jz .+0x400000;");
    check_trap("a conditional jump over the limit is #GP(0)", 13, 0);
    check("at the jump", trap.eip, (uint32_t)near_jz);
}

static void small_faults(void)
{
    static const int32_t bounds[2] = { 1, 5 };
    extern const char after_into[];

    section("32-bit fault");
    TRY(asm volatile("bound %0, %1" : : "r"(5), "m"(bounds[0])));
    check_trap("BOUND inside is fine", NO_TRAP, 0);
    TRY(asm volatile("bound %0, %1" : : "r"(6), "m"(bounds[0])));
    check_trap("outside is #BR", 5, 0);
    TRY(asm volatile("movb $0x7f, %%al; inc %%al; into; after_into:"
                     :
                     :
                     : "eax"));
    check_trap("INTO is #OF", 4, 0);
    check("behind the instruction", trap.eip, (uint32_t)after_into);
    TRY(asm volatile(".byte 0xd4, 0" : : : "eax"));
    check_trap("AAM 0 is #DE", 0, 0);
    TRY(asm volatile(".byte 0x8d, 0xc0"));
    check_trap("LEA of a register is #UD", 6, 0);
    TRY(asm volatile(".byte 0xc4, 0x00" : : "a"(data) : "memory"));
    check_trap("LES with a null selector is fine", NO_TRAP, 0);
    asm volatile("mov %0, %%es" : : "r"(16));
}

/* ---- rings and gates */

static void user(const char *eip, uint32_t flags)
{
    asm volatile("push %0; push %1; push %2; push %3; push %4; iret"
                 :
                 : "r"(32 + 3), "r"(user_stack + sizeof(user_stack)),
                   "r"(flags | 2), "r"(24 + 3), "r"(eip)
                 : "memory");
}

static void gates(void)
{
    section("32-bit gate");
    TRY(user(u_int, 0));
    check_trap("INT n from ring 3", 0x80, 0);
    check("pushes the ring's SS:ESP", (uint64_t)trap.ss << 32 | trap.esp,
          35ull << 32 | (uint32_t)(user_stack + sizeof(user_stack)));
    TRY(user(u_hlt, 0));
    check_trap("HLT in ring 3 is #GP(0)", 13, 0);
    /* call gate with two parameters */
    extern const char after_gate[];
    asm volatile("jmp 1f; after_gate: int $0x80; 1:");
    gdt[10] = gate((uint32_t)after_gate, 8, 0xec, 2);
    TRY(user(u_gate, 0));
    check_trap("call gate to ring 0", 0x80, 0);
    check("comes to CS of the gate", trap.cs, 8);
    const uint32_t *stack = (uint32_t *)(ring0_stack + sizeof(ring0_stack)) - 6;
    check("parameters are copied", stack[2] | (uint64_t)stack[3] << 32,
          0x2222 | 0x1111ull << 32);
    check("old SS:ESP above them", stack[5] << 16 | (stack[4] & 0xffff),
          35 << 16 |
              ((uint32_t)(user_stack + sizeof(user_stack) - 8) & 0xffff));
    check("and CS below", stack[1], 27);
    gdt[10] = gate((uint32_t)after_gate, 8, 0x8c, 2);
    TRY(user(u_gate, 0));
    check_trap("a gate of ring 0: #GP(selector)", 13, 80);
    gdt[11] = descriptor(0, 0xfffff, 0xc9f); /* conforming, DPL 0 */
    TRY(user(u_conforming, 0));
    check_trap("a far CALL to conforming code of ring 0", 0x80, 0);
    check("keeps the ring", trap.cs, 88 + 3);
    gdt[12] = descriptor(0x100000, 0xffff, 0x49b);
    idt[0x30] = gate((uint32_t)gate16 - 0x100000, 96, 0x86, 0);
    TRY(asm volatile("mov %%esp, %0; int $0x30"
                     : "=m"(seen_before)
                     :
                     : "memory"));
    check_trap("a 16-bit gate", 0x80, 0);
    check("pushes three words", seen_before - seen_esp, 6);
    set_gate(0x30, 0x8e);
    TRY(user(u_in, 0));
    check_trap("IN against the bitmap: #GP(0)", 13, 0);
    main_tss.bitmap[16] = 0xfe;
    TRY(user(u_in, 0));
    check_trap("with its bit clear it is fine", 0x80, 0);
    main_tss.bitmap[16] = 0xff;
    gdt[5] = descriptor((uint32_t)&main_tss, 0x67, 0x8b);
    gdt[5] &= ~(2ull << 40);
    asm volatile("ltr %w0" : : "r"(40));
    TRY(user(u_in, 0x3000));
    check_trap("IOPL 3 needs no bitmap", 0x80, 0);
    TRY(user(u_in, 0));
    check_trap("beyond the limit of the TSS: #GP(0)", 13, 0);
    gdt[5] = descriptor((uint32_t)&main_tss, sizeof(main_tss) - 1, 0x89);
    asm volatile("ltr %w0" : : "r"(40));
}

static void stack16(void)
{
    uint8_t *to = (uint8_t *)0x20000;

    section("16-bit stack");
    for (unsigned n = 0; n < (unsigned)(wrap16_end - wrap16); n++) {
        to[n] = (uint8_t)wrap16[n];
    }
    gdt[10] = descriptor(0x30000, 0xffff, 0x093);
    gdt[12] = descriptor(0x20000, 0xffff, 0x09b);
    idt[0x80] = gate((uint32_t)stubs + 16 * 0x80, 8, 0xee, 0);
    TRY(asm volatile("ljmp %0, $0" : : "i"(96)));
    check_trap("pushes", 0x80, 0);
    check("SP wraps, the upper half stays", trap.bx, 0x0012fffe);
    check("and the words are where they belong",
          *(uint16_t *)0x30000 | *(uint16_t *)0x3fffe << 16, 0x56781234);
}

/* ---- tasks: 3A chapter 7 */

static void open_task(const char *eip)
{
    other_tss.eip = (uint32_t)eip;
    other_tss.flags = 2;
    other_tss.cs = 8;
    other_tss.ds = other_tss.es = other_tss.ss = other_tss.fs = other_tss.gs =
        16;
    other_tss.sp = (uint32_t)task_stack + sizeof(task_stack);
    other_tss.link = 0;
    other_tss.trap = 0;
    other_tss.iomap = 0x68;
    gdt[6] = descriptor((uint32_t)&other_tss, sizeof(other_tss) - 1, 0x89);
}

static void tasks(void)
{
    section("task");
    open_task(task_iret);
    asm volatile("clts");
    TRY(asm volatile("lcall $48, $0" : : : "memory"));
    check_trap("CALL of a TSS comes back", NO_TRAP, 0);
    check("it ran", task_runs, 1);
    check("with NT set", seen_flags >> 14 & 1, 1);
    check("and the link to us", seen_link & 0xffff, 40);
    check("its descriptor is free again", gdt[6] >> 41 & 1, 0);
    check("ours is busy", gdt[5] >> 41 & 1, 1);
    uint32_t f, cr0;
    asm volatile("pushf; pop %0; mov %%cr0, %1" : "=r"(f), "=r"(cr0));
    check("NT is clear here", f >> 14 & 1, 0);
    check("CR0.TS is set", cr0 >> 3 & 1, 1);
    asm volatile("clts");
    TRY(asm volatile("lcall $48, $0" : : : "memory"));
    check("it goes on behind its IRET", task_runs, 2);
    open_task(task_hlt);
    TRY(asm volatile("ljmp $48, $0" : : : "memory"));
    check_trap("JMP to a TSS and back", NO_TRAP, 0);
    check("there NT was clear", seen_flags >> 14 & 1, 0);
    check("and TS set", seen_cr0 >> 3 & 1, 1);
    TRY(asm volatile("ljmp $40, $0"));
    check_trap("JMP to a busy TSS: #GP(selector)", 13, 40);
    gdt[6] = descriptor((uint32_t)&other_tss, 0x66, 0x89);
    TRY(asm volatile("ljmp $48, $0"));
    check_trap("to a short one: #TS(selector)", 10, 48);
    gdt[6] = descriptor((uint32_t)&other_tss, 0x68, 0x09);
    TRY(asm volatile("ljmp $48, $0"));
    check_trap("to one not present: #NP(selector)", 11, 48);
    asm volatile("clts");
    /* task gates in the IDT */
    open_task(task_error);
    idt[6] = gate(0, 48, 0x85, 0);
    TRY(asm volatile("ud2" : : : "memory"));
    check_trap("a task gate of a fault comes back", NO_TRAP, 0);
    set_gate(6, 0x8e);
    open_task(task_error);
    idt[11] = gate(0, 48, 0x85, 0);
    gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc13);
    TRY(asm volatile("mov %w0, %%ds" : : "r"(FREE) : "memory"));
    asm volatile("mov %w0, %%ds" : : "r"(16) : "memory");
    check("of one with an error code: it is on the task's stack", seen_error,
          FREE);
    set_gate(11, 0x8e);
    open_task(task_iret);
    other_tss.trap = 1;
    TRY(asm volatile("lcall $48, $0" : : : "memory"));
    check_trap("the T flag of a TSS is #DB", 1, 0);
    check("with BT, in the new task", (uint64_t)trap_dr6 >> 15 & 1, 1);
    check("before its first instruction", trap.eip, (uint32_t)task_iret);
    asm volatile("pushl $2; popf; mov %0, %%dr6" : : "r"(0xffff0ff0));
    /* back in our own task: TR is the other's */
    open_task(task_iret);
    gdt[5] &= ~(2ull << 40);
    asm volatile("ltr %w0; clts" : : "r"(40));
}

/* ---- VM86: 3A chapter 20 */

static void vm86(const char *piece, uint32_t flags)
{
    uint8_t *to = (uint8_t *)0x10000;

    for (unsigned n = 0; n < (unsigned)(v_end - v_int); n++) {
        to[n] = (uint8_t)v_int[n];
    }
    to[0xff0] = 0xf4;
    asm volatile("push %0; push %0; push %0; push %0; push %0; push %1;"
                 "push %2; push %0; push %3; iret"
                 :
                 : "r"(0x1000), "r"(0xf000), "r"(flags | 0x20002),
                   "r"(piece - v_int)
                 : "memory");
}

static void set_cr4(uint32_t bit, bool on)
{
    uint32_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    v = on ? v | bit : v & ~bit;
    asm volatile("mov %0, %%cr4" : : "r"(v));
}

static void virtual_8086(void)
{
    uint16_t *ivt = (uint16_t *)0;

    section("VM86");
    TRY(vm86(v_hlt, 0));
    check_trap("HLT is #GP(0)", 13, 0);
    check("the image has VM", trap.flags >> 17 & 1, 1);
    check("and the data segments", (uint64_t)trap.v_ds << 32 | trap.v_gs,
          0x1000ull << 32 | 0x1000);
    check("IP is the instruction's", trap.eip, (uint32_t)(v_hlt - v_int));
    TRY(vm86(v_int, 0));
    check_trap("INT n with IOPL 0 is #GP(0)", 13, 0);
    TRY(vm86(v_pushf, 0));
    check("so is PUSHF", trap.vector << 8 | trap.eip,
          13 << 8 | (uint32_t)(v_pushf - v_int));
    idt[0x21] = gate((uint32_t)stubs + 16 * 0x21, 8, 0xee, 0);
    TRY(vm86(v_int, 0x3000));
    check_trap("INT n with IOPL 3 goes through the IDT", 0x21, 0);
    check("and behind the instruction", trap.eip, 2);
    idt[0x21] = gate((uint32_t)stubs + 16 * 0x21, 8, 0x8e, 0);
    TRY(vm86(v_int, 0x3000));
    check_trap("whose DPL must be 3: #GP(8n+2)", 13, 0x21 * 8 + 2);
    TRY(vm86(v_in, 0x3000));
    check_trap("IN asks the bitmap whatever IOPL is: #GP(0)", 13, 0);
    set_cr4(1, true);
    uint16_t ip = ivt[0x42], cs = ivt[0x43];
    ivt[0x42] = (uint16_t)(v_hlt - v_int);
    ivt[0x43] = 0x1000;
    main_tss.redirection[4] = 0;
    TRY(vm86(v_int, 0x80000));
    check_trap("VME redirects INT n to the 8086 handler", 13, 0);
    check("there", trap.eip, (uint32_t)(v_hlt - v_int));
    const uint16_t *stack = (uint16_t *)(0x10000 + 0xf000 - 6);
    check("pushed flags have IF for VIF, and IOPL 3", stack[2] & 0x3200,
          0x3200);
    check("VIF is clear", trap.flags >> 19 & 1, 0);
    main_tss.redirection[4] = 2;
    TRY(vm86(v_int, 0));
    check_trap("with its bit set INT n is #GP(0) as before", 13, 0);
    check("at the instruction", trap.eip, 0);
    main_tss.redirection[4] = 0;
    ivt[0x42] = ip;
    ivt[0x43] = cs;
    TRY(vm86(v_pushf, 0x80000));
    check("PUSHF shows VIF as IF, IOPL 3", trap.ax & 0x3200, 0x3200);
    TRY(vm86(v_cli, 0x80000));
    check("CLI clears VIF", trap.flags >> 19 & 1, 0);
    check("and PUSHF shows it", trap.ax & 0x200, 0);
    TRY(vm86(v_sti, 0));
    check("STI sets VIF", trap.flags >> 19 & 1, 1);
    TRY(vm86(v_sti, 0x100000));
    check_trap("with VIP set it is #GP(0)", 13, 0);
    check("at the instruction", trap.eip, (uint32_t)(v_sti - v_int));
    TRY(vm86(v_iret, 0));
    check("IRET sets VIF from IF", trap.flags >> 19 & 1, 1);
    check("and goes there", trap.eip, 0xff0);
    set_cr4(1, false);
}

/* ---- paging: 3A 4.3 and 4.4 */

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pae_pd[2048] __attribute__((aligned(4096)));

static void read_at(uint32_t a)
{
    asm volatile("mov (%0), %%eax" : : "r"(a) : "eax", "memory");
}

static void set_paging(uint32_t cr3, bool on)
{
    uint32_t v;
    if (on) asm volatile("mov %0, %%cr3" : : "r"(cr3));
    asm volatile("mov %%cr0, %0" : "=r"(v));
    v = on ? v | 0x80010000 : v & 0x7fffffff;
    asm volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}

static void paging(void)
{
    section("32-bit paging");
    for (unsigned n = 0; n < 1024; n++) {
        directory[n] = n << 22 | 0x87;
    }
    directory[256] = 0;
    directory[257] = (uint32_t)data | 0x85; /* no 4 MiB boundary */
    directory[258] = 0x83;
    set_cr4(0x10, true);
    set_paging((uint32_t)directory, true);
    TRY(read_at(256u << 22));
    check_trap("not present: 0", 14, 0);
    check("CR2", trap_cr2, 256u << 22);
    directory[257] = 1 << 21 | 0x85;
    TRY(read_at(257u << 22));
    check_trap("bit 21 of a 4 MiB page is reserved: RSVD P", 14, 9);
    *(volatile uint32_t *)data = 0x1234;
    check("a 4 MiB page", *(volatile uint32_t *)((258u << 22) + (uint32_t)data),
          0x1234);
    check("has A set, not D", directory[258] & 0x60, 0x20);
    *(volatile uint32_t *)((258u << 22) + (uint32_t)data) = 0x5678;
    check("and D after a write", directory[258] & 0x60, 0x60);
    set_paging(0, false);
    section("PAE");
    if (!has_feature(6)) {
        skip("its pages", "the CPU has none");
        set_cr4(0x10, false);
        return;
    }
    for (unsigned n = 0; n < 2048; n++) {
        pae_pd[n] = (uint64_t)n << 21 | 0x87;
    }
    for (unsigned n = 0; n < 4; n++) {
        pdpt[n] = ((uint32_t)pae_pd + 4096 * n) | 1;
    }
    set_cr4(0x20, true);
    set_paging((uint32_t)pdpt, true);
    pae_pd[512] = 0;
    TRY(read_at(1u << 30));
    check_trap("not present: 0", 14, 0);
    pae_pd[512] = 0x87 | 1ull << 62;
    TRY(read_at(1u << 30));
    check_trap("bit 62 is reserved: RSVD P", 14, 9);
    pae_pd[512] = 0x87;
    *(volatile uint32_t *)data = 0x4321;
    check("a 2 MiB page", *(volatile uint32_t *)((1u << 30) + (uint32_t)data),
          0x4321);
    pdpt[1] = 0;
    check("pointers are loaded with CR3 alone",
          *(volatile uint32_t *)((1u << 30) + (uint32_t)data + 4096 * 0),
          0x4321);
    asm volatile("mov %0, %%cr3" : : "r"(pdpt));
    TRY(read_at(1u << 30));
    check_trap("and then one is missing", 14, 0);
    pdpt[1] = (uint32_t)pae_pd | 3;
    TRY(asm volatile("mov %0, %%cr3" : : "r"(pdpt)));
    check_trap("a reserved bit in one: MOV to CR3 is #GP(0)", 13, 0);
    pdpt[1] = ((uint32_t)pae_pd + 4096) | 1;
    set_paging(0, false);
    set_cr4(0x30, false);
}

/* ---- x87 errors: SDM 1 appendix D */

static volatile unsigned irqs;

static bool on_irq(struct frame *f)
{
    if (f->vector != 0x75) return false;
    irqs++;
    outb(0xf0, 0);
    asm volatile("fnclex");
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
    return true;
}

static void x87_interrupt(void)
{
    uint16_t cw = 0x37b;
    uint32_t env[7];
    extern const char at_fdiv[];

    section("x87 interrupt");
    if (is_asked("no-x87-interrupt")) {
        skip("IRQ 13", "asked not to");
        return;
    }
    asm volatile("fninit; fldcw %0; fld1; fldz; at_fdiv: fdivrp" : : "m"(cw));
    TRY(asm volatile("fwait"));
    check_trap("with CR0.NE an error is #MF", 16, 0);
    asm volatile("fnstenv %0; fninit" : "=m"(env));
    check("FNSTENV has the instruction's address", env[3], (uint32_t)at_fdiv);
    static const uint8_t pic[][2] = {
        { 0x20, 0x11 }, { 0x21, 0x08 }, { 0x21, 4 }, { 0x21, 1 },
        { 0xa0, 0x11 }, { 0xa1, 0x70 }, { 0xa1, 2 }, { 0xa1, 1 },
        { 0x21, 0xfb }, { 0xa1, 0xdf },
    };
    for (unsigned n = 0; n < sizeof(pic) / sizeof(pic[0]); n++) {
        outb(pic[n][0], pic[n][1]);
    }
    asm volatile("mov %%cr0, %%eax; and $~0x20, %%eax; mov %%eax, %%cr0"
                 :
                 :
                 : "eax");
    trap_hook = on_irq;
    for (unsigned n = 0; n < 3; n++) {
        asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; sti; fwait; cli"
                     :
                     : "m"(cw)
                     : "memory");
    }
    check("without it is IRQ 13, each time", irqs, 3);
    trap_hook = NULL;
    asm volatile("fninit; mov %%cr0, %%eax; or $0x20, %%eax; mov %%eax, %%cr0"
                 :
                 :
                 : "eax");
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

/* ---- SYSENTER: SDM 2B */

static void wrmsr(uint32_t n, uint32_t v)
{
    asm volatile("wrmsr" : : "c"(n), "a"(v), "d"(0));
}

static void sysenter(void)
{
    extern const char u_sysenter[], on_sysenter[];

    section("32-bit SYSENTER");
    asm volatile("jmp 1f; u_sysenter: sysenter; on_sysenter: int $0x80; 1:");
    wrmsr(0x174, 8);
    wrmsr(0x175, (uint32_t)ring0_stack + 4096);
    wrmsr(0x176, (uint32_t)on_sysenter);
    TRY(user(u_sysenter, 0x202));
    check_trap("arrives", 0x80, 0);
    check("in ring 0", trap.cs, 8);
    check("with IF clear", trap.flags & 0x200, 0);
    TRY(asm volatile("sysexit" : : "d"(u_int), "c"(user_stack + 4096)));
    check_trap("SYSEXIT", 0x80, 0);
    check("to the third and fourth descriptor", trap.cs << 16 | trap.ss,
          27 << 16 | 35);
    check("with ESP of ECX", trap.esp, (uint32_t)(user_stack + 4096));
}

int main(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) none = { 0, 0 };

    report_open();
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    set_up();
    segments();
    limited_code();
    small_faults();
    gates();
    stack16();
    tasks();
    virtual_8086();
    paging();
    x87_interrupt();
    if (has_feature(11)) sysenter();
    report_before_reset();
    asm volatile("lidt %0; ud2" : : "m"(none));
    return 0;
}
