/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What CPUID announces works, and what it does not is #UD or #GP. */
#include "cputest.h"

USER_ASM(u_rdtsc, "rdtsc; int $0x80");
USER_ASM(u_sgdt, "mov $0x40030000, %eax; sgdt (%rax); int $0x80");
USER_ASM(u_clflush, "lea 0x100000, %rax; clflush (%rax); int $0x80");
USER_ASM(u_rdfsbase, "rdfsbase %rax; int $0x80");

static void bases(void)
{
    uint64_t v = 0;

    section("FSGSBASE");
    TRY_ASM("rdfsbase %%rax");
    check_trap("without CR4.FSGSBASE is #UD", 6, 0);
    if (!has.fsgsbase) {
        skip("FSGSBASE", "not announced");
        return;
    }
    WRITE_CR(4, READ_CR(4) | CR4_FSGSBASE);
    TRY(asm volatile("wrfsbase %1; rdfsbase %0" : "=r"(v) : "r"(0x123456789aull)));
    check("WRFSBASE and RDFSBASE", v, 0x123456789a);
    check("are the MSR", rdmsr(0xc0000100), 0x123456789a);
    TRY(asm volatile("wrgsbase %k0" : : "r"(0xffffffffffffull)));
    check("32 bits are zero-extended", rdmsr(0xc0000101), 0xffffffff);
    TRY(asm volatile("wrfsbase %0" : : "r"(1ull << 47)));
    check_trap("no canonical address: #GP(0)", 13, 0);
    TRY(USER(u_rdfsbase));
    check_trap("in ring 3", 0x80, 0);
    check("reads the same", trap.ax, 0x123456789a);
    WRITE_CR(4, READ_CR(4) & ~CR4_FSGSBASE);
}

static void time_stamp(void)
{
    uint32_t aux = 0, a, d;

    section("TSC");
    uint64_t before = rdtsc();
    check("it counts", rdtsc() > before, 1);
    WRITE_CR(4, READ_CR(4) | CR4_TSD);
    TRY(USER(u_rdtsc));
    check_trap("with CR4.TSD in ring 3: #GP(0)", 13, 0);
    WRITE_CR(4, READ_CR(4) & ~CR4_TSD);
    TRY(USER(u_rdtsc));
    check_trap("without it fine", 0x80, 0);
    if (has.rdtscp) {
        wrmsr(0xc0000103, 0x1234);
        TRY(asm volatile("rdtscp" : "=c"(aux), "=a"(a), "=d"(d)));
        check("RDTSCP gives TSC_AUX", aux, 0x1234);
        TRY(wrmsr(0xc0000103, 1ull << 32));
        check_trap("upper bits of TSC_AUX: #GP(0)", 13, 0);
    } else {
        TRY(asm volatile("rdtscp" : "=c"(aux), "=a"(a), "=d"(d)));
        check_trap("RDTSCP, not announced, is #UD", 6, 0);
    }
    if (has.rdpid) {
        uint64_t v = 0;
        TRY(asm volatile(".byte 0xf3, 0x0f, 0xc7, 0xf8" : "=a"(v)));
        check("RDPID gives it too", v, 0x1234);
    } else {
        TRY_ASM(".byte 0xf3, 0x0f, 0xc7, 0xf8");
        check_trap("RDPID, not announced, is #UD", 6, 0);
    }
    wrmsr(0x10, 1000);
    check("it can be written", rdtsc() < 1ull << 40, 1);
    check("and counts on", rdtsc() > 1000, 1);
}

static void others(void)
{
    section("other");
    if (has.rdrand) {
        uint64_t v, f;
        asm volatile("rdrand %0; pushf; pop %1" : "=r"(v), "=r"(f));
        check("RDRAND sets CF, clears ZF SF OF AF PF", f & 0x8d5, 1);
    }
    if (!has.monitor) {
        TRY(asm volatile("monitor" : : "a"(page(8)), "c"(0), "d"(0)));
        check_trap("MONITOR, not announced, is #UD", 6, 0);
        TRY(asm volatile("mwait" : : "a"(0), "c"(0)));
        check_trap("so is MWAIT", 6, 0);
    } else {
        TRY(asm volatile("monitor" : : "a"(page(8)), "c"(0), "d"(0)));
        check_trap("MONITOR", NO_TRAP, 0);
    }
    TRY(USER(u_clflush));
    check_trap("CLFLUSH of a supervisor page in ring 3: U P", 14, 5);
    if (has.umip) {
        WRITE_CR(4, READ_CR(4) | CR4_UMIP);
        TRY(USER(u_sgdt));
        check_trap("SGDT in ring 3 with UMIP: #GP(0)", 13, 0);
        WRITE_CR(4, READ_CR(4) & ~CR4_UMIP);
        TRY(USER(u_sgdt));
        check_trap("without fine", 0x80, 0);
    }
    static const struct {
        const char *name;
        unsigned bit;
        const bool *has;
    } bits[] = {
        { "CR4.UMIP, not announced, is #GP(0)", 11, &has.umip },
        { "CR4.LA57, not announced, is #GP(0)", 12, &has.la57 },
        { "CR4.FSGSBASE, not announced, is #GP(0)", 16, &has.fsgsbase },
        { "CR4.PCIDE, not announced, is #GP(0)", 17, &has.pcid },
        { "CR4.OSXSAVE, not announced, is #GP(0)", 18, &has.xsave },
        { "CR4.SMEP, not announced, is #GP(0)", 20, &has.smep },
        { "CR4.SMAP, not announced, is #GP(0)", 21, &has.smap },
    };
    for (unsigned n = 0; n < sizeof(bits) / sizeof(bits[0]); n++) {
        if (*bits[n].has) continue;
        TRY(WRITE_CR(4, READ_CR(4) | 1ull << bits[n].bit));
        check_trap(bits[n].name, 13, 0);
    }
    /* SDM 3A 11.11: what MTRRCAP announces */
    uint64_t cap = rdmsr(0xfe);
    for (unsigned n = 0; n < (cap & 0xff); n++) {
        rdmsr(0x200 + 2 * n);
        rdmsr(0x201 + 2 * n);
    }
    if (cap >> 8 & 1) rdmsr(0x250);
    check("the MTRRs that MTRRCAP announces are there", 1, 1);
    TRY(wrmsr(0x2ff, 2));
    check_trap("a reserved memory type: #GP(0)", 13, 0);
}

void test_features(void)
{
    bases();
    time_stamp();
    others();
}
