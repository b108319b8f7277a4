/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt shadow, priorities, NMI blocking and the local APIC: SDM 3A
 * chapters 6.7, 6.8 and 10. */
#include "cputest.h"

enum {
    APIC = 0xfee00000,
    ID = 0x20,
    TPR = 0x80,
    EOI = 0xb0,
    SVR = 0xf0,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    TIMER = 0x320,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
    SELF = 0x40000,
    MASKED = 0x10000,
    PERIODIC = 0x20000,
    DEADLINE = 0x40000,
};

uint32_t apic_read(unsigned reg)
{
    return *(volatile uint32_t *)(uint64_t)(APIC + reg);
}

void apic_write(unsigned reg, uint32_t v)
{
    *(volatile uint32_t *)(uint64_t)(APIC + reg) = v;
}

void apic_eoi(void)
{
    apic_write(EOI, 0);
}

static bool eoi(struct frame *f)
{
    if (f->vector < 32) return f->vector == 1 || f->vector == 2;
    apic_eoi();
    return true;
}

static void self(unsigned vector)
{
    apic_write(ICR, SELF | vector);
}

/* Some time: the APIC may take a moment. */
static void wait(void)
{
    for (unsigned n = 0; n < 200; n++) {
        inb(0x80);
    }
}

extern const char sti_1[], sti_2[], popf_1[], cli_1[], shadow_1[];

static void shadow(void)
{
    section("interrupt shadow");
    trap_hook = eoi;
    asm volatile("cli");
    self(0x40);
    wait();
    TRY(asm volatile("sti; nop; sti_1: nop; cli"));
    check("STI holds one instruction", trap.rip, (uint64_t)sti_1);
    self(0x40);
    wait();
    TRY(asm volatile("sti; cli; nop; nop"));
    check("STI and CLI: nothing in between", trap_count, 0);
    TRY(asm volatile("pushf; orl $0x200, (%rsp); popf; popf_1: nop; cli"));
    check("POPF holds none", trap.rip, (uint64_t)popf_1);
    self(0x40);
    wait();
    /* 6.8.3: MOV SS holds interrupts as well */
    TRY(asm volatile("mov %%ss, %%eax; sti; mov %%eax, %%ss; sti_2: nop;"
                     "shadow_1: nop; cli" : : : "rax"));
    check("STI and MOV SS: which of them counts is open",
          trap.rip == (uint64_t)sti_2 || trap.rip == (uint64_t)shadow_1, 1);
    self(0x40);
    wait();
    TRY(asm volatile("sti; hlt; cli"));
    check("STI and HLT wake up", trap_count, 1);
    trap_hook = NULL;
}

static void priorities(void)
{
    section("APIC");
    trap_hook = eoi;
    asm volatile("mov %0, %%cr8" : : "r"(5ull));
    self(0x4a);
    wait();
    TRY(asm volatile("sti; nop; nop; cli"));
    check("CR8 5 holds vector 4A back", trap_count, 0);
    check("which waits in IRR", apic_read(IRR + 0x20) >> 10 & 1, 1);
    check("TPR is CR8 times 16", apic_read(TPR), 0x50);
    TRY(asm volatile("sti; mov %0, %%cr8; nop; nop; cli" : : "r"(0ull)));
    check("CR8 0 lets it come", trap.vector, 0x4a);
    self(0x61);
    self(0x72);
    self(0x53);
    wait();
    TRY(asm volatile("sti; nop; nop; nop; nop; cli"));
    check("three waiting", trap_count, 3);
    check("the highest is first",
          traps[0].vector << 16 | traps[1].vector << 8 | traps[2].vector,
          0x726153);
    self(0x44);
    self(0x44);
    wait();
    TRY(asm volatile("sti; nop; nop; nop; nop; cli"));
    check("the same vector twice is one", trap_count, 1);
    apic_write(ESR, 0);
    self(0x05);
    wait();
    apic_write(ESR, 0);
    check("vectors below 16 are errors: ESR bit 5", apic_read(ESR) >> 5 & 1,
          1);
    trap_hook = NULL;
}

static unsigned nmi_depth, nmi_deepest, nmis;

static bool on_nmi(struct frame *f)
{
    if (f->vector != 2) return eoi(f);
    nmis++;
    if (++nmi_depth > nmi_deepest) nmi_deepest = nmi_depth;
    if (nmis == 1) {
        apic_write(ICR_HIGH, apic_read(ID));
        apic_write(ICR, 0x4400);
        wait();
    }
    nmi_depth--;
    return true;
}

/* 6.7.1: from delivery to IRET no second NMI. */
static void nmi(void)
{
    section("NMI");
    trap_hook = on_nmi;
    asm volatile("cli");
    trap_clear();
    apic_write(ICR_HIGH, apic_read(ID));
    apic_write(ICR, 0x4400);
    wait();
    check("comes with IF clear; one sent meanwhile comes later", nmis, 2);
    check("and not inside the first", nmi_deepest, 1);
    trap_hook = NULL;
}

static volatile unsigned ticks;
static bool on_tick(struct frame *f)
{
    if (f->vector < 32) return f->vector == 1;
    ticks++;
    apic_eoi();
    return true;
}

static bool until_ticks(unsigned n)
{
    uint64_t end = rdtsc() + 20000000000;

    asm volatile("sti");
    while (ticks < n && rdtsc() < end) {
    }
    asm volatile("cli");
    return ticks >= n;
}

/* 10.5.4 */
static void timer(void)
{
    section("APIC timer");
    trap_hook = on_tick;
    trap_clear();
    apic_write(DIVIDE, 0xb); /* by 1 */
    apic_write(TIMER, 0x50);
    ticks = 0;
    apic_write(INITIAL, 100000);
    check("one-shot comes", until_ticks(1), 1);
    check("and counts down to 0", apic_read(CURRENT), 0);
    wait();
    check("only once", ticks, 1);
    apic_write(TIMER, 0x50 | MASKED);
    apic_write(INITIAL, 1000);
    for (uint64_t end = rdtsc() + 20000000000;
         apic_read(CURRENT) && rdtsc() < end;) {
    }
    asm volatile("sti; nop; nop; cli");
    check("masked it counts but does not come",
          (uint64_t)ticks << 32 | apic_read(CURRENT), 1ull << 32);
    ticks = 0;
    apic_write(TIMER, 0x50 | PERIODIC);
    apic_write(INITIAL, 100000);
    check("periodic comes again and again", until_ticks(5), 1);
    apic_write(INITIAL, 0);
    wait();
    asm volatile("sti; nop; nop; cli");
    ticks = 0;
    wait();
    asm volatile("sti; nop; nop; cli");
    check("an initial count of 0 stops it", ticks, 0);
    if (!has.deadline) {
        skip("TSC deadline", "not announced");
        return;
    }
    apic_write(TIMER, 0x50 | DEADLINE);
    asm volatile("mfence");
    uint64_t at = rdtsc() + 3000000;
    wrmsr(0x6e0, at);
    check("the deadline can be read", rdmsr(0x6e0) == at || ticks, 1);
    check("a deadline comes", until_ticks(1), 1);
    check("not before its time", rdtsc() >= at, 1);
    check("and is 0 afterwards", rdmsr(0x6e0), 0);
    ticks = 0;
    wrmsr(0x6e0, 1);
    check("one in the past comes at once", until_ticks(1), 1);
    apic_write(INITIAL, 1000);
    check("writes to the initial count are ignored", apic_read(CURRENT), 0);
    wrmsr(0x6e0, rdtsc() + 1000000000000);
    wrmsr(0x6e0, 0);
    check("0 disarms", rdmsr(0x6e0), 0);
    apic_write(TIMER, 0x50 | MASKED);
    trap_hook = NULL;
}

/* 10.12 */
static void x2apic(void)
{
    uint64_t base = rdmsr(0x1b);

    section("x2APIC");
    TRY_ASM("mov $0x802, %%ecx; rdmsr");
    check_trap("its MSRs are #GP(0) before it is enabled", 13, 0);
    if (!has.x2apic) {
        skip("x2APIC", "not announced");
        return;
    }
    uint32_t id = apic_read(ID) >> 24, version = apic_read(0x30);
    TRY(wrmsr(0x1b, (base & ~(1ull << 11)) | 1 << 10));
    check_trap("x2APIC without enable is #GP(0)", 13, 0);
    wrmsr(0x1b, base | 1 << 10);
    check("has the same id", rdmsr(0x802), id);
    check("and version", rdmsr(0x803), version);
    TRY(rdmsr(0x80e));
    check_trap("there is no DFR: #GP(0)", 13, 0);
    TRY(wrmsr(0x80b, 1));
    check_trap("EOI takes 0 alone: #GP(0)", 13, 0);
    TRY(wrmsr(0x802, 1));
    check_trap("the id is read only: #GP(0)", 13, 0);
    TRY(wrmsr(0x1b, base));
    check_trap("back to xAPIC is #GP(0)", 13, 0);
    trap_clear();
    wrmsr(0x83f, 0x45);
    asm volatile("sti; nop; nop; nop; cli");
    check("a self IPI comes", trap.vector, 0x45);
    TRY(wrmsr(0x80b, 0));
    check_trap("EOI 0 is fine", NO_TRAP, 0);
    wrmsr(0x830, (uint64_t)id << 32 | 0x46);
    trap_clear();
    asm volatile("sti; nop; nop; nop; cli");
    check("an IPI to ourselves comes", trap.vector, 0x46);
    wrmsr(0x80b, 0);
    wrmsr(0x1b, base & ~(1ull << 11));
    check("disabled, CPUID shows no APIC", cpuid(1, 0).d >> 9 & 1, 0);
    wrmsr(0x1b, base);
    check("and again xAPIC", rdmsr(0x1b), base);
}

void test_interrupts(void)
{
    apic_write(SVR, 0x1ff);
    shadow();
    priorities();
    nmi();
    timer();
    x2apic();
    trap_hook = NULL;
    apic_write(SVR, 0x1ff);
}
