/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors, far transfers, IRET and system calls of 64-bit mode:
 * SDM 3A chapters 5 and 7.7, SDM 2 (pages of the instructions). */
#include "cputest.h"

USER_ASM(u_syscall, "mov $0x123, %edi; stc; syscall; int $0x80");
USER_ASM(u_sysenter, "sysenter; int $0x80");
USER_ASM(u_far, "mov %cs, %ebx; int $0x80");
USER_ASM(u_gate, "mov $0x40030000, %eax; lcall *(%rax); int $0x80");
USER_ASM(u_swapgs, "swapgs");
USER_ASM(u_null, "mov $3, %eax; mov %eax, %ds; mov %eax, %gs; int3;"
                 "mov %gs, %eax; mov %ds, %ecx; shl $8, %ecx; or %ecx, %eax;"
                 "int $0x80");
USER_ASM(u_iret_if,
         "mov %rsp, %rax; mov $0x33, %ecx; push %rcx; push %rax;"
         "push $0x200; mov $0x3b, %ecx; push %rcx; lea 1f(%rip), %rcx;"
         "push %rcx; iretq; 1: int $0x80");

enum { FREE = 80 }; /* free descriptors from there on */

static void descriptor(unsigned sel, uint64_t v)
{
    gdt[sel / 8] = v;
}

#define LOAD(reg, sel) TRY(asm volatile("mov %w0, %%" #reg : : "r"(sel)))

static void loads(void)
{
    section("segment load");
    asm volatile("lldt %w0" : : "r"(0)); /* a reset leaves one (table 9-1) */
    LOAD(ds, 0);
    check_trap("null in DS is fine", NO_TRAP, 0);
    LOAD(ss, 0);
    check_trap("null in SS in ring 0 is fine", NO_TRAP, 0);
    LOAD(ss, 3);
    check_trap("null with RPL 3 in SS is #GP(0)", 13, 0);
    LOAD(ds, 0x1000);
    check_trap("beyond the table is #GP(selector)", 13, 0x1000);
    LOAD(ds, 0x10 | 4);
    check_trap("in an LDT that is not there: #GP(selector)", 13, 0x14);
    descriptor(FREE, 0x00cf13000000ffff);
    LOAD(ds, FREE);
    check_trap("DS not present is #NP(selector)", 11, FREE);
    LOAD(ss, FREE);
    check_trap("SS not present is #SS(selector)", 12, FREE);
    descriptor(FREE, 0x00cf91000000ffff);
    LOAD(ss, FREE);
    check_trap("SS not writable is #GP(selector)", 13, FREE);
    LOAD(ss, 48 | 3);
    check_trap("SS of another ring is #GP(selector)", 13, 48);
    descriptor(FREE, 0x00cf99000000ffff);
    LOAD(ds, FREE);
    check_trap("DS from code that cannot be read: #GP(selector)", 13, FREE);
    descriptor(FREE, 0x00cf92000000ffff);
    LOAD(es, FREE);
    check("loading sets the accessed bit", gdt[FREE / 8] >> 40 & 1, 1);
    LOAD(ds, 64);
    check_trap("DS from a TSS is #GP(selector)", 13, 64);
    LOAD(ss, 16);
}

static void system_segments(void)
{
    uint64_t high = gdt[9];

    section("LTR and LLDT");
    TRY(asm volatile("ltr %w0" : : "r"(64)));
    check_trap("a busy TSS is #GP(selector)", 13, 64);
    TRY(asm volatile("ltr %w0" : : "r"(0)));
    check_trap("LTR null is #GP(0)", 13, 0);
    TRY(asm volatile("ltr %w0" : : "r"(16)));
    check_trap("LTR of data is #GP(selector)", 13, 16);
    descriptor(64, gdt[8] & ~(0x82ull << 40));
    TRY(asm volatile("ltr %w0" : : "r"(64)));
    check_trap("one that is not present is #NP(selector)", 11, 64);
    descriptor(64, gdt[8] | 0x80ull << 40);
    descriptor(72, high);
    TRY(asm volatile("ltr %w0" : : "r"(64)));
    check_trap("LTR again is fine", NO_TRAP, 0);
    check("and sets busy", gdt[8] >> 41 & 1, 1);
    TRY(asm volatile("lldt %w0" : : "r"(0)));
    check_trap("LLDT null is fine", NO_TRAP, 0);
    TRY(asm volatile("lldt %w0" : : "r"(16)));
    check_trap("LLDT of data is #GP(selector)", 13, 16);
    descriptor(FREE, PHYS(page(8)) << 16 | 0x82ull << 40 | 15);
    descriptor(FREE + 8, 0);
    ((uint64_t *)page(8))[1] = 0x00cf93000000ffff;
    TRY(asm volatile("lldt %w0" : : "r"(FREE)));
    check_trap("LLDT is fine", NO_TRAP, 0);
    LOAD(ds, 8 | 4);
    check_trap("a load from the LDT is fine", NO_TRAP, 0);
    LOAD(ds, 16 | 4);
    check_trap("beyond its limit is #GP(selector)", 13, 0x14);
    TRY(asm volatile("lldt %w0" : : "r"(0)));
    LOAD(ds, 16);
}

static void verify(void)
{
    uint64_t f, v = 0;

    section("LAR LSL VERR");
    asm volatile("lar %k2, %k1; pushf; pop %0" : "=r"(f), "+r"(v) : "r"(8));
    /* bits 19..16 are undefined */
    check("LAR of code", (f >> 6 & 1) << 32 | (v & ~0xf0000ull),
          1ull << 32 | 0xa09b00);
    asm volatile("lsl %k2, %k1; pushf; pop %0" : "=r"(f), "+r"(v) : "r"(16));
    check("LSL of 4 GiB", (f >> 6 & 1) << 32 | v, 1ull << 32 | 0xffffffff);
    asm volatile("lar %k1, %k2; pushf; pop %0" : "=r"(f) : "r"(0), "r"(0));
    check("LAR of null clears ZF", f >> 6 & 1, 0);
    descriptor(FREE, 0x00008c0000080000); /* 64-bit call gate */
    descriptor(FREE + 8, 0);
    asm volatile("lsl %k1, %k2; pushf; pop %0" : "=r"(f) : "r"(FREE), "r"(0));
    check("LSL of a gate clears ZF", f >> 6 & 1, 0);
    asm volatile("verr %w1; pushf; pop %0" : "=r"(f) : "r"(48 | 3));
    check("VERR of data", f >> 6 & 1, 1);
    asm volatile("verw %w1; pushf; pop %0" : "=r"(f) : "r"(8));
    check("VERW of code clears ZF", f >> 6 & 1, 0);
}

/* ---- IRET */

static void iret_to(unsigned cs, uint64_t rip, uint64_t flags, unsigned ss,
                    uint64_t rsp)
{
    asm volatile("push %0; push %1; push %2; push %3; push %4; iretq"
                 :
                 : "r"((uint64_t)ss), "r"(rsp), "r"(flags), "r"((uint64_t)cs),
                   "r"(rip)
                 : "memory");
}

static void iret(void)
{
    uint64_t here = PHYS(page(8)), stack = PHYS(page(9)) + 4000;

    section("IRET");
    page(8)[0] = 0xcd; /* INT 0x80 */
    page(8)[1] = 0x80;
    TRY(iret_to(8, here, 2, 0, stack));
    check_trap("ring 0 with a null SS", 0x80, 0);
    check("loads RSP", trap.rsp, stack);
    TRY(iret_to(8, here, 2, 3, stack));
    check_trap("null SS with RPL 3: #GP(0)", 13, 0);
    TRY(iret_to(59, USER_CODE, 2, 0, USER_STACK));
    check_trap("to ring 3 with a null SS: #GP(0)", 13, 0);
    TRY(iret_to(0, here, 2, 16, stack));
    check_trap("to a null CS: #GP(0)", 13, 0);
    TRY(iret_to(16, here, 2, 16, stack));
    check_trap("to data: #GP(selector)", 13, 16);
    TRY(iret_to(8, 1ull << 50, 2, 16, stack));
    check_trap("to no canonical address: #GP(0)", 13, 0);
    TRY(iret_to(8, here, 2 | 1 << 14, 16, stack));
    check_trap("flags with NT are fine", 0x80, 0);
    check("NT came in", trap.flags >> 14 & 1, 1);
    TRY(asm volatile("push $0x4002; popf; iretq"));
    check_trap("IRET with NT in long mode: #GP(0)", 13, 0);
    asm volatile("push $2; popf");
    for (unsigned n = 0; n < 2; n++) {
        page(0)[n] = page(8)[n];
    }
    TRY(iret_to(59, USER_CODE, 0x3202, 51, USER_STACK));
    check("to ring 3 loads IOPL and IF", trap.flags & 0x3200, 0x3200);
    check("CS of ring 3", trap.cs, 59);
    TRY(iret_to(43, USER_CODE, 2, 51, USER_STACK));
    check("to 32-bit code", trap.cs, 43);
    TRY(USER(u_iret_if));
    check_trap("IRET in ring 3", 0x80, 0);
    check("leaves IF alone with IOPL 0", trap.flags & 0x200, 0);
    TRY(USER(u_null));
    check("IRET to ring 3 makes null selectors 0", trap.ax, 0);
    /* RF and the rest: SDM 2A IRET: RF from the image */
    TRY(iret_to(8, here, 2 | 1 << 18 | 1 << 21, 16, stack));
    check("AC and ID are loaded", trap.flags >> 18 & 9, 9);
}

/* ---- call gates to 64-bit code (5.8.3.1) */

static void call_gate(void)
{
    extern const char gate_target[];
    uint64_t t = (uint64_t)gate_target;

    section("call gate");
    asm volatile("jmp 1f; .globl gate_target; gate_target: int $0x80; 1:");
    descriptor(FREE, (t & 0xffff) | 8 << 16 | 0xecull << 40 |
                         (t >> 16 & 0xffff) << 48);
    descriptor(FREE + 8, 0);
    *(volatile uint64_t *)page(3) = (uint64_t)(FREE | 3) << 32;
    TRY(USER(u_gate));
    check_trap("from ring 3", 0x80, 0);
    check("comes to ring 0", trap.cs, 8);
    check("on the stack of the TSS, four words down", trap.rsp,
          tss.rsp[0] - 32);
    uint64_t *frame = (uint64_t *)trap.rsp;
    check("old CS is there", frame[1], 59);
    check("old RSP", frame[2], USER_STACK);
    check("old SS", frame[3], 51);
    descriptor(FREE, gdt[FREE / 8] & ~(0x60ull << 40));
    TRY(USER(u_gate));
    check_trap("with DPL 0: #GP(selector)", 13, FREE);
    descriptor(FREE, (gdt[FREE / 8] | 0x60ull << 40) & ~(0x80ull << 40));
    TRY(USER(u_gate));
    check_trap("not present: #NP(selector)", 11, FREE);
    *(volatile uint64_t *)page(3) = (uint64_t)(16 | 3) << 32;
    TRY(USER(u_gate));
    check_trap("far CALL to data: #GP(selector)", 13, 16);
    *(volatile uint64_t *)page(3) = 59ull << 32 | USER_CODE;
    TRY(USER(u_far));
    check("user code sees its CS", trap.cs, 59);
    /* RETF to ring 3 */
    TRY(asm volatile("push %0; push %1; push %2; push %3; lretq"
                     :
                     : "r"(51ull), "r"((uint64_t)USER_STACK), "r"(59ull),
                       "r"((uint64_t)USER_CODE)));
    check("RETF to ring 3", trap.cs, 59);
    TRY(asm volatile("push %0; push %1; push %2; push %3; lretq"
                     :
                     : "r"(16ull), "r"((uint64_t)USER_STACK), "r"(59ull),
                       "r"((uint64_t)USER_CODE)));
    check_trap("RETF to ring 3 with an SS of ring 0: #GP(selector)", 13, 16);
}

/* ---- SYSCALL and SYSENTER */

static void system_calls(void)
{
    extern const char on_syscall[];

    section("SYSCALL");
    asm volatile("jmp 1f; .globl on_syscall; on_syscall: int $0x80; 1:");
    wrmsr(STAR, 0x0028000800000000); /* 8 and 16; 40 + 16, 40 + 8 */
    wrmsr(0xc0000082, (uint64_t)on_syscall);
    wrmsr(0xc0000084, 0x300 | 1);
    TRY(USER_FLAGS(u_syscall, 0x246));
    check_trap("arrives", 0x80, 0);
    check("in CS of STAR", trap.cs, 8);
    check("with RCX the address after it", trap.cx, USER_CODE + 8);
    check("FMASK clears IF and CF", trap.flags & 0x301, 0);
    check("and leaves ZF", trap.flags & 0x44, 0x44);
    wrmsr(EFER, rdmsr(EFER) & ~1ull);
    TRY(USER(u_syscall));
    check_trap("without SCE is #UD", 6, 0);
    wrmsr(EFER, rdmsr(EFER) | 1);
    page(0)[0] = 0xcd;
    page(0)[1] = 0x80;
    TRY(asm volatile("sysretq"
                     :
                     : "c"((uint64_t)USER_CODE), "a"(0), "d"(0), "S"(0), "D"(0)
                     : "r11"));
    check("SYSRET to 64-bit code", trap.cs, 59);
    TRY(asm volatile("mov $0x3ed7, %%r11d; sysretq"
                     :
                     : "c"((uint64_t)USER_CODE)
                     : "r11"));
    check("takes the flags of R11", trap.flags & 0x3fd7, 0x3ed7);
    TRY(asm volatile("mov $0x2, %%r11d; sysretl"
                     :
                     : "c"((uint64_t)USER_CODE)
                     : "r11"));
    check("SYSRET to 32-bit code", trap.cs, 43);
    if (has.is_intel) {
        TRY(asm volatile("sysretq" : : "c"(1ull << 47) : "r11"));
        check_trap("SYSRET to no canonical address: #GP(0)", 13, 0);
    } else {
        skip("SYSRET to no canonical address", "AMD faults in ring 3");
    }
    section("SYSENTER");
    wrmsr(0x174, 0);
    TRY(USER(u_sysenter));
    if (!has.is_intel) {
        /* APM 2 6.1.2: not there in long mode */
        check_trap("in long mode is #UD on AMD", 6, 0);
        return;
    }
    check_trap("with a null CS: #GP(0)", 13, 0);
    wrmsr(0x174, 8);
    wrmsr(0x175, tss.rsp[0]);
    wrmsr(0x176, (uint64_t)on_syscall);
    TRY(USER_FLAGS(u_sysenter, 0x202));
    check_trap("arrives", 0x80, 0);
    check("in ring 0", trap.cs, 8);
    check("with RSP of the MSR", trap.rsp, tss.rsp[0]);
    check("and IF clear", trap.flags & 0x200, 0);
}

static void bases(void)
{
    section("FS and GS");
    wrmsr(0xc0000100, 0x7123456789ab);
    check("FS base is 64 bits", rdmsr(0xc0000100), 0x7123456789ab);
    wrmsr(0xc0000101, 0x1000);
    wrmsr(0xc0000102, 0x2000);
    asm volatile("swapgs");
    check("SWAPGS", rdmsr(0xc0000101) << 32 | rdmsr(0xc0000102),
          0x2000ull << 32 | 0x1000);
    TRY(USER(u_swapgs));
    check_trap("SWAPGS in ring 3 is #GP(0)", 13, 0);
    wrmsr(0xc0000101, (uint64_t)page(8));
    *(uint64_t *)(page(8) + 8) = 0x1234;
    uint64_t v;
    asm volatile("mov %%gs:8, %0" : "=r"(v));
    check("GS base counts", v, 0x1234);
}

void test_segments(void)
{
    loads();
    system_segments();
    verify();
    iret();
    call_gate();
    system_calls();
    bases();
}
