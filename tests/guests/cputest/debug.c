/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single step, breakpoints, debug registers: SDM 3B chapter 17. */
#include "cputest.h"

enum { DR6_BS = 1 << 14, DR6_BD = 1 << 13, DR6_NONE = 0xffff0ff0 };
#define DR7(n, type, len) \
    (0x400ull | 1ull << 2 * (n) | (uint64_t)((len) << 2 | (type)) << (16 + 4 * (n)))
enum { ON_EXEC, ON_WRITE, ON_IO, ON_ACCESS };
enum { BYTES1, BYTES2, BYTES8, BYTES4 };

extern const char step_1[], step_2[], step_ss[], step_end[], step_int[];
extern const char watch_1[], watch_2[], watch_rep[], exec_1[], exec_rep[], io_1[];

USER_ASM(u_dr, "mov %dr0, %rax; int $0x80");
USER_ASM(u_icebp, ".byte 0xf1; int $0x80");
USER_ASM(u_popf, "push $0x102; popf; nop; syscall; int $0x80");

/* With room below: a handler may run on it. */
static uint8_t space[16384] __attribute__((aligned(64)));
#define data (space + 8192)

static void single_step(void)
{
    section("single step");
    TRY(asm volatile("pushf; orl $0x100, (%rsp); popf; nop; step_1: nop;"
                     "step_2: pushf; andl $~0x100, (%rsp); popf; step_end:"));
    check("traps after the instruction behind POPF", traps[0].rip,
          (uint64_t)step_1);
    check("and after each one", traps[1].rip, (uint64_t)step_2);
    check("up to the POPF that ends it", trap_count, 5);
    check("DR6 is BS", traps[0].dr6, DR6_NONE | DR6_BS);
    check("the handler has TF clear, the image not", traps[0].flags & 0x100,
          0x100);
    TRY(asm volatile("mov %%ss, %%eax; pushf; orl $0x100, (%%rsp); popf;"
                     "mov %%eax, %%ss; nop; step_ss: nop; pushf;"
                     "andl $~0x100, (%%rsp); popf" : : : "rax"));
    check("MOV SS holds the trap for one instruction", traps[0].rip,
          (uint64_t)step_ss);
    TRY(asm volatile("lea 1f(%%rip), %%rsi; lea %0, %%rdi; mov $3, %%ecx; cld;"
                     "pushf; orl $0x100, (%%rsp); popf; rep movsb;"
                     "1: pushf; andl $~0x100, (%%rsp); popf"
                     : "=m"(*data) : : "rsi", "rdi", "rcx", "memory"));
    check("REP traps after each iteration", trap_count, 6);
    check("with the count behind it", traps[0].cx << 4 | traps[1].cx, 0x21);
    check("with RF set, and clear after the last",
          traps[0].flags >> 16 << 8 | traps[1].flags >> 16 << 4 |
              traps[2].flags >> 16,
          0x110);
    TRY(asm volatile("pushf; orl $0x100, (%rsp); popf; int $0x20;"
                     "step_int: pushf; andl $~0x100, (%rsp); popf"));
    check("INT n clears TF: no trap in the handler", traps[0].vector, 0x20);
    check("nor behind it before IRET's next", traps[1].vector << 1 | 1, 3);
    TRY(asm volatile(".byte 0xf1"));
    check_trap("INT1 is #DB", 1, 0);
    check("without BS", trap.dr6, DR6_NONE);
    TRY(USER(u_icebp));
    check("INT1 in ring 3 asks no gate", traps[0].vector, 1);
    wrmsr(0xc0000084, 0x700);
    TRY(USER(u_popf));
    check("the first trap is behind NOP", traps[0].rip, USER_CODE + 7);
    check("SYSCALL with TF in FMASK traps no more",
          trap.vector << 8 | trap_count, 0x80ull << 8 | 2);
}

static void data_breakpoints(void)
{
    volatile uint8_t *p = data + 8;

    section("data breakpoint");
    WRITE_DR(0, (uint64_t)(data + 8));
    WRITE_DR(7, DR7(0, ON_WRITE, BYTES4));
    TRY(asm volatile("movl $1, %0; watch_1:" : "=m"(*(uint32_t *)p)));
    check("a write traps", trap.vector, 1);
    check("after the instruction", trap.rip, (uint64_t)watch_1);
    check("DR6 is B0", trap.dr6, DR6_NONE | 1);
    check("the write is done", p[0], 1);
    TRY((void)p[0]);
    check("a read does not", trap_count, 0);
    TRY(p[4] = 1; p[-1] = 1);
    check("nor a write beside it", trap_count, 0);
    TRY(p[3] = 1);
    check("a byte inside it does", trap_count, 1);
    TRY(asm volatile("movl $1, %0" : "=m"(*(uint32_t *)(p - 2))));
    check("a write that overlaps does", trap_count, 1);
    TRY(asm volatile("movq $1, %0" : "=m"(*(uint64_t *)(p - 4))));
    check("a longer one that overlaps does", trap_count, 1);
    TRY(asm volatile("lock addl $1, %0" : "+m"(*(uint32_t *)p)));
    check("a locked addition does", trap_count, 1);
    TRY(asm volatile("movups %%xmm0, %0" : "=m"(*(uint64_t *)(p - 8))));
    check("a vector store does", trap_count, 1);
    TRY(asm volatile("mov %%rsp, %%rdx; mov %0, %%rsp; push %%rax;"
                     "mov %%rdx, %%rsp"
                     :
                     : "r"(data + 64)
                     : "rdx", "memory"));
    check("a push elsewhere does not", trap_count, 0);
    WRITE_DR(0, (uint64_t)(data + 56));
    TRY(asm volatile("mov %%rsp, %%rdx; mov %0, %%rsp; push %%rax;"
                     "mov %%rdx, %%rsp"
                     :
                     : "r"(data + 64)
                     : "rdx", "memory"));
    check("one into it does", trap.dr6, DR6_NONE | 1);
    WRITE_DR(0, (uint64_t)(data + 8));
    WRITE_DR(7, DR7(0, ON_ACCESS, BYTES4));
    TRY(asm volatile("movl %0, %%eax; watch_2:" : : "m"(*(uint32_t *)p)
                     : "rax"));
    check("with R/W 11 a read traps", trap.rip, (uint64_t)watch_2);
    WRITE_DR(7, DR7(0, ON_ACCESS, BYTES1));
    TRY((void)p[1]; (void)p[0]);
    check("length 1", trap_count, 1);
    WRITE_DR(7, DR7(0, ON_ACCESS, BYTES8));
    TRY((void)p[7]; (void)p[8]);
    check("length 8", trap_count, 1);
    WRITE_DR(1, (uint64_t)(data + 12));
    WRITE_DR(7, DR7(0, ON_WRITE, BYTES4) | DR7(1, ON_WRITE, BYTES1));
    TRY(asm volatile("movq $1, %0" : "=m"(*(uint64_t *)p)));
    check("two at once: B0 and B1", trap.dr6, DR6_NONE | 3);
    WRITE_DR(7, DR7(0, ON_WRITE, BYTES1) & ~1ull);
    TRY(p[0] = 1);
    check("not enabled: nothing", trap_count, 0);
    WRITE_DR(0, (uint64_t)(data + 10));
    WRITE_DR(7, DR7(0, ON_WRITE, BYTES1));
    TRY(asm volatile("lea %0, %%rdi; mov $8, %%ecx; cld; rep stosb; watch_rep:"
                     : "=m"(*(uint64_t *)p) : : "rdi", "rcx", "memory"));
    check("in REP STOS it comes after its iteration", trap_count, 1);
    check("with the count behind it", trap.cx, 5);
    WRITE_DR(7, 0x400);
}

static bool resume(struct frame *f)
{
    f->flags |= 0x10000;
    if (trap_count > 8) WRITE_DR(7, 0x400); /* enough of them */
    return true;
}

static void instruction_breakpoints(void)
{
    section("instruction breakpoint");
    trap_hook = resume;
    WRITE_DR(2, (uint64_t)exec_1);
    WRITE_DR(7, DR7(2, ON_EXEC, BYTES1));
    uint64_t n = 0;
    TRY(asm volatile("xor %0, %0; exec_1: inc %0" : "+r"(n)));
    check("comes before the instruction", trap.rip, (uint64_t)exec_1);
    check("DR6 is B2", trap.dr6, DR6_NONE | 4);
    check("RF leads over it: once", trap_count, 1);
    check("which is executed once", n, 1);
    /* 17.3.1.1: the one fault that pushes RF clear */
    check("its image has RF clear", trap.flags >> 16 & 1, 0);
    /* 17.3.1.1: RF stays set for all iterations */
    WRITE_DR(2, (uint64_t)exec_rep);
    uint64_t count = 20000;
    TRY(asm volatile("cld; exec_rep: rep stosb" : "+c"(count)
                     : "a"(0), "D"(page(20)) : "memory"));
    check("before REP STOSB of 20000 bytes it comes once", trap_count, 1);
    check("at the first", trap.cx, 20000);
    trap_hook = NULL;
    WRITE_DR(7, 0x400);
    asm volatile("mov %%cr4, %%rax; or $8, %%rax; mov %%rax, %%cr4"
                 : : : "rax");
    WRITE_DR(3, 0x80);
    WRITE_DR(7, DR7(3, ON_IO, BYTES1));
    TRY(asm volatile("outb %%al, $0x80; io_1: nop" : : "a"(0)));
    check("I/O breakpoints trap after OUT", trap.rip, (uint64_t)io_1);
    check("DR6 is B3", trap.dr6, DR6_NONE | 8);
    WRITE_DR(7, 0x400);
    TRY(outb(0x80, 0));
    check("and not when off", trap_count, 0);
}

static void registers(void)
{
    uint64_t cr4 = READ_CR(4) & ~CR4_DE;

    section("debug register");
    WRITE_CR(4, cr4);
    WRITE_DR(7, 0x400);
    TRY_ASM("mov %%dr4, %%rax");
    check_trap("DR4 is DR6 without CR4.DE", NO_TRAP, 0);
    WRITE_CR(4, cr4 | CR4_DE);
    TRY_ASM("mov %%dr4, %%rax");
    check_trap("with it it is #UD", 6, 0);
    WRITE_CR(4, cr4);
    TRY(USER(u_dr));
    check_trap("in ring 3 #GP(0)", 13, 0);
    TRY_ASM("mov $1, %%eax; shl $32, %%rax; mov %%rax, %%dr7");
    check_trap("upper bits of DR7: #GP(0)", 13, 0);
    TRY_ASM("mov $1, %%eax; shl $32, %%rax; mov %%rax, %%dr6");
    check_trap("upper bits of DR6: #GP(0)", 13, 0);
    WRITE_DR(7, 0);
    check("DR7 bit 10 is 1", READ_DR(7), 0x400);
    WRITE_DR(6, 0);
    check("DR6 has its fixed bits", READ_DR(6), DR6_NONE);
    WRITE_DR(7, 0x400 | 1 << 13);
    TRY(asm volatile("mov %%dr0, %%rax" : : : "rax"));
    check("GD: access is #DB", traps[0].vector, 1);
    check("with BD", traps[0].dr6 & DR6_BD, DR6_BD);
    WRITE_DR(7, 0x400);
}

void test_debug(void)
{
    single_step();
    data_breakpoints();
    instruction_breakpoints();
    registers();
    WRITE_DR(6, DR6_NONE);
}
