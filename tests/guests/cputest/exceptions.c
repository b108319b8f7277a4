/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions, their error codes and priorities: SDM 3A chapter 6. */
#include "cputest.h"

USER_ASM(u_hlt, "hlt; int $0x80");
USER_ASM(u_cr9, ".byte 0x44, 0x0f, 0x20, 0xc8; int $0x80"); /* mov rax, cr9 */
USER_ASM(u_int20, "int $0x20");
USER_ASM(u_lgdt, "lgdt (%rax)");
USER_ASM(u_cli, "cli; int $0x80");
USER_ASM(u_in, "in $0x80, %al");
USER_ASM(u_rdmsr, "mov $0x10, %ecx; rdmsr");
USER_ASM(u_misaligned, "mov $0x40030001, %eax; mov (%rax), %ecx; int $0x80");
USER_ASM(u_aligned, "mov $0x40030004, %eax; mov (%rax), %ecx; int $0x80");
USER_ASM(u_misaligned_push, "mov $0x4001fff1, %esp; push %rax; int $0x80");
USER_ASM(u_movdqa, "mov $0x40030001, %eax; movdqa (%rax), %xmm0; int $0x80");

#define AWAY "mov $0x800000000000, %rax; movq $0x5a, -8(%rsp);"
USER_ASM(u_jump_away, AWAY "jmp *%rax");
USER_ASM(u_call_away, AWAY "call *%rax");
USER_ASM(u_ret_away, AWAY "push %rax; ret $8");

static void faults(void)
{
    section("fault");
    TRY_ASM("xor %%ecx, %%ecx; mov $1, %%eax; cdq; div %%ecx");
    check_trap("DIV by zero is #DE", 0, 0);
    TRY_ASM("mov $0x80000000, %%eax; cdq; mov $-1, %%ecx; idiv %%ecx");
    check_trap("IDIV overflow is #DE", 0, 0);
    TRY(asm volatile(".globl at_ud\nat_ud: ud2"));
    check_trap("UD2 is #UD", 6, 0);
    extern const char at_ud[];
    check("a fault pushes the address of its instruction", trap.rip,
          (uint64_t)at_ud);
    /* 17.3.1.1: RF is set in the image of a fault */
    check("a fault pushes RF set", trap.flags >> 16 & 1, 1);
    TRY(asm volatile(".globl at_int3\nat_int3: int3"));
    extern const char at_int3[];
    check_trap("INT3 is #BP", 3, 0);
    check("a trap pushes the address after it", trap.rip,
          (uint64_t)at_int3 + 1);
    check("INT3 pushes RF clear", trap.flags >> 16 & 1, 0);
    TRY_ASM(".byte 0xf0, 0x90"); /* LOCK NOP; SDM 2A LOCK */
    check_trap("LOCK before an instruction that takes none is #UD", 6, 0);
    TRY_ASM(".byte 0xf0, 0x01, 0xc8"); /* LOCK ADD EAX, ECX */
    check_trap("LOCK with a register destination is #UD", 6, 0);
    TRY_ASM(".byte 0x06"); /* PUSH ES: invalid in 64-bit mode */
    check_trap("PUSH ES in 64-bit mode is #UD", 6, 0);
    TRY_ASM(".byte 0xce");
    check_trap("INTO in 64-bit mode is #UD", 6, 0);
    TRY_ASM(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
            "0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
    check_trap("an instruction of 16 bytes is #GP(0)", 13, 0);
    TRY_ASM(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
            "0x66,0x66,0x66,0x66,0x66,0x66,0x90");
    check_trap("one of 15 bytes is fine", NO_TRAP, 0);
    TRY_ASM("mov %%eax, %%cs");
    check_trap("MOV to CS is #UD", 6, 0);
}

static void canonical(void)
{
    section("canonical");
    TRY_ASM("mov $0x800000000000, %%rax; mov (%%rax), %%ecx");
    check_trap("a load is #GP(0)", 13, 0);
    TRY_ASM("push %%rbp; mov $0x800000000000, %%rbp; mov (%%rbp), %%ecx");
    check_trap("one through RBP is #SS(0)", 12, 0);
    TRY_ASM("mov $0x7ffffffffffd, %%rax; mov (%%rax), %%ecx");
    check_trap("a load that runs over the end is #GP(0)", 13, 0);
    TRY_ASM("mov $0x800000000000, %%rax; jmp *%%rax");
    check_trap("a jump is #GP(0)", 13, 0);
    TRY_ASM("mov $0x800000000000, %%rax; push %%rax; ret");
    check_trap("a return is #GP(0)", 13, 0);
    TRY_ASM("mov $0x800000000000, %%rsp; push %%rax");
    check_trap("a push is #SS(0), which ends as #DF", 8, 0);
    TRY_ASM("mov $0xc0000082, %%ecx; mov $0x8000, %%edx; wrmsr");
    check_trap("WRMSR to LSTAR is #GP(0)", 13, 0);
    TRY_ASM("mov $0x800000000000, %%rax; invlpg (%%rax)");
    check_trap("INVLPG is nothing", NO_TRAP, 0);
}

/* The end of u_..., of so many octets, is what faults, and changes nothing. */
static void check_away(const char *name, const char *end, const char *start,
                       unsigned octets, uint64_t rsp, uint64_t below)
{
    uint64_t stack = (*pte(USER_STACK - 8) & 0xfffffff000) + 0xff8;

    section(name);
    check_trap("to no canonical address: #GP(0)", 13, 0);
    check("at the instruction", trap.rip,
          USER_CODE + (uint64_t)(end - start) - octets);
    check("RSP is as before", trap.rsp, rsp);
    check("so is the stack", *(volatile uint64_t *)stack, below);
}
#define CHECK_AWAY(name, code, octets, rsp, below) \
    check_away(name, code##_end, code, octets, rsp, below)

static void away(void)
{
    for (unsigned n = 0; n < 40; n++) {
        TRY(USER(u_jump_away));
        if (n == 0 || n == 39) {
            CHECK_AWAY("jump away", u_jump_away, 2, USER_STACK, 0x5a);
        }
        TRY(USER(u_call_away));
        if (n == 0 || n == 39) {
            CHECK_AWAY("call away", u_call_away, 2, USER_STACK, 0x5a);
        }
        TRY(USER(u_ret_away));
        if (n == 0 || n == 39) {
            CHECK_AWAY("return away", u_ret_away, 3, USER_STACK - 8,
                       0x800000000000);
        }
    }
}

static void control_bits(void)
{
    if (is_asked("no-control-bits")) {
        skip("CR0, CR4, EFER bits that may not change", "asked not to");
        return;
    }
    TRY_ASM("mov %%cr4, %%rax; bts $31, %%rax; mov %%rax, %%cr4");
    check_trap("a reserved bit of CR4 is #GP(0)", 13, 0);
    TRY_ASM("mov %%cr0, %%rax; btr $0, %%rax; mov %%rax, %%cr0");
    check_trap("CR0.PG without PE is #GP(0)", 13, 0);
    TRY_ASM("mov %%cr0, %%rax; bts $29, %%rax; mov %%rax, %%cr0");
    check_trap("CR0.NW without CD is #GP(0)", 13, 0);
    TRY_ASM("mov %%cr4, %%rax; btr $5, %%rax; mov %%rax, %%cr4");
    check_trap("clearing PAE in long mode is #GP(0)", 13, 0);
    TRY_ASM("mov $0xc0000080, %%ecx; rdmsr; btr $8, %%eax; wrmsr");
    check_trap("clearing LME with paging on is #GP(0)", 13, 0);
}

static void privileged(void)
{
    section("privilege");
    TRY(USER(u_hlt));
    check_trap("HLT in ring 3 is #GP(0)", 13, 0);
    TRY(USER(u_lgdt));
    check_trap("LGDT in ring 3 is #GP(0)", 13, 0);
    TRY(USER(u_cli));
    check_trap("CLI with IOPL 0 in ring 3 is #GP(0)", 13, 0);
    TRY(USER_FLAGS(u_cli, 0x3000));
    check_trap("CLI with IOPL 3 is fine", 0x80, 0);
    TRY(USER(u_rdmsr));
    check_trap("RDMSR in ring 3 is #GP(0)", 13, 0);
    TRY(USER(u_in));
    check_trap("IN against the bitmap is #GP(0)", 13, 0);
    TRY(USER(u_cr9));
    check_trap("MOV from CR9: #UD comes before #GP", 6, 0);
    control_bits();
    TRY_ASM("mov $0xdeadbeef, %%ecx; rdmsr");
    check_trap("an MSR that does not exist is #GP(0)", 13, 0);
    TRY_ASM("mov $0x277, %%ecx; mov $0x02, %%eax; xor %%edx, %%edx; wrmsr");
    check_trap("a reserved type in PAT is #GP(0)", 13, 0);
    TRY_ASM("mov $0x10, %%eax; mov %%rax, %%cr8");
    check_trap("reserved bits of CR8 are #GP(0)", 13, 0);
}

/* 6.12.1.3, 6.13: errors found at the gate. */
static void gates(void)
{
    section("gate");
    TRY(USER(u_int20));
    check_trap("INT n below the gate's DPL is #GP(8n+2)", 13, 0x102);
    set_gate(0x20, 0x0e, 0);
    TRY_ASM("int $0x20");
    check_trap("a gate that is not present is #NP(8n+2)", 11, 0x102);
    set_gate(0x20, 0x8c, 0); /* call gate */
    TRY_ASM("int $0x20");
    check_trap("no gate at all is #GP(8n+2)", 13, 0x102);
    set_gate_to(0x20, 0, 16, 0x8e, 0);
    TRY_ASM("int $0x20");
    check_trap("a gate to data is #GP(selector)", 13, 16);
    set_gate_to(0x20, 0, 0, 0x8e, 0);
    TRY_ASM("int $0x20");
    check_trap("a gate to the null selector is #GP(0)", 13, 0);
    set_gate_to(0x20, 0, 24, 0x8e, 0);
    TRY_ASM("int $0x20");
    check_trap("a gate to 32-bit code is #GP(selector)", 13, 24);
    set_gate_to(0x20, 1ull << 47, 8, 0x8e, 0);
    TRY_ASM("int $0x20");
    check_trap("a gate to no canonical address is #GP(0)", 13, 0);
    set_gate(0x20, 0x8e, 0);
    set_gate(6, 0x0e, 0);
    TRY_ASM("ud2");
    check_trap("the same by an exception: EXT is set", 11, 6 * 8 + 3);
    set_gate(6, 0x8e, 0);
    set_gate(0x20, 0x8f, 0);
    TRY_ASM("int $0x20");
    check("a trap gate works", trap.vector, 0x20);
    set_gate(0x20, 0x8e, 0);
}

/* Table 6-5: which pairs make a double fault. */
static void doubles(void)
{
    section("double fault");
    set_gate(13, 0x0e, 0);
    TRY_ASM("mov $0x800000000000, %%rax; mov (%%rax), %%ecx");
    check_trap("#NP while #GP is delivered is #DF(0)", 8, 0);
    set_gate(13, 0x8e, 0);
    set_gate(14, 0x0e, 0);
    TRY_ASM("mov $0x50000000, %%eax; mov (%%rax), %%ecx");
    check_trap("#NP while #PF is delivered is #DF(0)", 8, 0);
    set_gate(14, 0x8e, 0);
    set_gate(11, 0x0e, 0);
    set_gate(6, 0x0e, 0);
    TRY_ASM("ud2");
    check_trap("#NP during #NP after #UD is #DF(0)", 8, 0);
    set_gate(6, 0x8e, 0);
    set_gate(11, 0x8e, 0);
    TRY_ASM("mov $0x50001000, %%esp; ud2");
    check_trap("no stack for #UD is #PF, no stack for that #DF(0)", 8, 0);
    check("CR2 is the stack's address", trap.cr2, 0x50000ff8);
}

/* Table 6-2. */
static void priorities(void)
{
    uint8_t *p = page(0);

    section("priority");
    map(VA + 0x50000, PHYS(p) | P | W);
    map(VA + 0x51000, 0);
    p[4094] = 0x0f; /* UD2 half on a missing page */
    p[4095] = 0x0f;
    TRY(((void (*)(void))(uint64_t)(VA + 0x50fff))());
    check_trap("fetching the second byte faults before decoding", 14, 0x10);
    check("CR2 is the second page", trap.cr2, VA + 0x51000);
    p[4095] = 0x06; /* PUSH ES */
    TRY(((void (*)(void))(uint64_t)(VA + 0x50fff))());
    check_trap("one that is invalid in its page is #UD", 6, 0);
    TRY_ASM("mov %%cr0, %%rax; mov %%rax, %%rdx; or $8, %%rax;"
            "mov %%rax, %%cr0; fnop");
    check_trap("x87 with TS is #NM", 7, 0);
    TRY_ASM("clts; mov %%cr0, %%rax; or $4, %%rax; mov %%rax, %%cr0; fnop");
    check_trap("x87 with EM is #NM", 7, 0);
    TRY_ASM("emms");
    check_trap("MMX with EM is #UD", 6, 0);
    TRY_ASM("mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0;"
            "xorps %%xmm0, %%xmm0");
    check_trap("SSE with EM and TS: #UD comes before #NM", 6, 0);
    WRITE_CR(0, READ_CR(0) & ~12ull);
}

/* 6.15 "Alignment Check": CPL 3, CR0.AM, EFLAGS.AC. */
static void alignment(void)
{
    section("alignment");
    TRY(USER_FLAGS(u_misaligned, FLAG_AC));
    check_trap("nothing while CR0.AM is clear", 0x80, 0);
    WRITE_CR(0, READ_CR(0) | 1 << 18);
    TRY(USER(u_misaligned));
    check_trap("nothing while AC is clear", 0x80, 0);
    TRY(USER_FLAGS(u_misaligned, FLAG_AC));
    check_trap("a load in ring 3 is #AC(0)", 17, 0);
    TRY(USER_FLAGS(u_aligned, FLAG_AC));
    check_trap("an aligned one is fine", 0x80, 0);
    TRY(USER_FLAGS(u_misaligned_push, FLAG_AC));
    check_trap("a push is #AC(0)", 17, 0);
    TRY(USER_FLAGS(u_movdqa, FLAG_AC));
    check_trap("MOVDQA is #GP(0) all the same", 13, 0);
    TRY_ASM("pushf; orq $0x40000, (%%rsp); popf; lea gdt+1, %%rax;"
            "mov (%%rax), %%ecx");
    check_trap("nothing in ring 0", NO_TRAP, 0);
    asm volatile("push $2; popf");
    WRITE_CR(0, READ_CR(0) & ~(1ull << 18));
}

void test_exceptions(void)
{
    faults();
    canonical();
    away();
    privileged();
    gates();
    doubles();
    priorities();
    alignment();
}
