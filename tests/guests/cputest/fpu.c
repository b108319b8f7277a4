/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 and SSE exceptions, FXSAVE and the XSAVE family: SDM 1 chapters 8, 11
 * and 13. */
#include "cputest.h"

static uint8_t area[2048] __attribute__((aligned(64)));
static const uint32_t one_f = 0x3f800000, zero_f = 0;

extern const char at_div[], at_wait[], at_divss[], at_divm[], at_ld1[];

/* SDM 1 8.1.9: the first byte's lower three bits and the second one; the
 * code is the compiler's, so there may be no prefix. */
static uint16_t fop(const char *at)
{
    return (uint16_t)((at[0] & 7) << 8 | (uint8_t)at[1]);
}

static void x87(void)
{
    uint16_t cw = 0x37b; /* zero divide unmasked */

    section("x87");
    TRY(asm volatile("fninit; fldcw %0; fld1; fldz; at_div: fdivrp; nop"
                     :
                     : "m"(cw)));
    check_trap("the instruction itself does not fault", NO_TRAP, 0);
    TRY(asm volatile("at_wait: fwait"));
    check_trap("the next waiting one is #MF", 16, 0);
    check("at its own address", trap.rip, (uint64_t)at_wait);
    TRY(asm volatile("fnstsw %%ax; fnstcw %0" : "=m"(cw) : : "rax"));
    check_trap("FNSTSW does not wait", NO_TRAP, 0);
    TRY(asm volatile("fxsave64 %0" : "=m"(area)));
    check_trap("nor does FXSAVE", NO_TRAP, 0);
    check("FIP is the dividing instruction", *(uint64_t *)(area + 8),
          (uint64_t)at_div);
    check("FSW has ES and ZE", *(uint16_t *)(area + 2) & 0x84, 0x84);
    TRY(asm volatile("fld1"));
    check_trap("FLD waits", 16, 0);
    TRY(asm volatile("fnclex; fninit; fldcw %0; fld1; at_divm: fdivs %1;"
                     "fxsave64 %2"
                     :
                     : "m"(cw), "m"(zero_f), "m"(area)
                     : "memory"));
    check("FIP of one with an operand", *(uint64_t *)(area + 8),
          (uint64_t)at_divm);
    check("FDP is its address", *(uint64_t *)(area + 16), (uint64_t)&zero_f);
    check("FOP is its opcode", *(uint16_t *)(area + 6), fop(at_divm));
    TRY(asm volatile("fnstenv %0" : "=m"(area)));
    check("FNSTENV stores the same FIP", *(uint32_t *)(area + 12),
          (uint32_t)(uint64_t)at_divm);
    check("the same FDP", *(uint32_t *)(area + 20),
          (uint32_t)(uint64_t)&zero_f);
    check("the same FOP", *(uint16_t *)(area + 18), fop(at_divm));
    TRY(asm volatile("fninit; at_ld1: fld1; fnstenv %0" : "=m"(area)));
    /* XSAVE of AMD's stores it for a pending exception alone (APM 5), so who
     * was interrupted in between has lost it. */
    if (has.is_intel) {
        check("FIP without an exception", *(uint32_t *)(area + 12),
              (uint32_t)(uint64_t)at_ld1);
    } else {
        skip("FIP without an exception", "AMD keeps none");
    }
    TRY(asm volatile("fnclex; fwait; fninit"));
    check_trap("FNCLEX takes it away", NO_TRAP, 0);
    static double two = 2;
    TRY(asm volatile("fldl %0; fstp %%st; fnstenv %1"
                     :
                     : "m"(two), "m"(area)
                     : "memory"));
    check("tag word of an empty stack", *(uint16_t *)(area + 8), 0xffff);
    asm volatile("fninit");
}

static void sse(void)
{
    uint32_t unmasked = 0x1f80 & ~0x200u, plain = 0x1f80, reserved = 1u << 16;

    section("SSE");
    TRY(asm volatile("ldmxcsr %0; movss %1, %%xmm0; at_divss: divss %2, %%xmm0"
                     :
                     : "m"(unmasked), "m"(one_f), "m"(zero_f)));
    check_trap("an unmasked division by zero is #XM", 19, 0);
    check("at its own address", trap.rip, (uint64_t)at_divss);
    WRITE_CR(4, READ_CR(4) & ~CR4_XMM);
    TRY(asm volatile("ldmxcsr %0; movss %1, %%xmm0; divss %2, %%xmm0"
                     :
                     : "m"(unmasked), "m"(one_f), "m"(zero_f)));
    check_trap("without OSXMMEXCPT it is #UD", 6, 0);
    WRITE_CR(4, READ_CR(4) | CR4_XMM);
    asm volatile("ldmxcsr %0" : : "m"(plain));
    TRY(asm volatile("ldmxcsr %0" : : "m"(reserved)));
    check_trap("reserved bits of MXCSR: #GP(0)", 13, 0);
    TRY(asm volatile("movaps %0, %%xmm0" : : "m"(area[1])));
    check_trap("MOVAPS that is not aligned: #GP(0)", 13, 0);
    TRY(asm volatile("fxsave %0" : "=m"(area[8])));
    check_trap("FXSAVE that is not aligned: #GP(0)", 13, 0);
    TRY(asm volatile("cmpxchg16b %0" : "+m"(area[8]) : : "rax", "rdx"));
    check_trap("CMPXCHG16B that is not aligned: #GP(0)", 13, 0);
    asm volatile("fxsave %0" : "=m"(area));
    check("MXCSR mask", *(uint32_t *)(area + 28) & 0xffbf, 0xffbf);
    *(uint32_t *)(area + 24) |= 1u << 16;
    TRY(asm volatile("fxrstor %0" : : "m"(area)));
    check_trap("FXRSTOR with a reserved bit of MXCSR: #GP(0)", 13, 0);
}

#define XSAVE(op, at, what) \
    asm volatile(op " (%0)" : : "r"(at), "a"(what), "d"(0) : "memory")

static void clear_area(void)
{
    for (unsigned n = 0; n < sizeof(area); n++) {
        area[n] = 0;
    }
}

static void xsave_family(void)
{
    uint64_t *bv = (uint64_t *)(area + 512), *comp = bv + 1;

    section("XSAVE");
    if (!has.xsave) {
        skip("XSAVE", "not announced");
        return;
    }
    TRY(XSAVE("xsave", area, 3));
    check_trap("without OSXSAVE is #UD", 6, 0);
    WRITE_CR(4, READ_CR(4) | CR4_OSXSAVE);
    check("OSXSAVE shows in CPUID", cpuid(1, 0).c >> 27 & 1, 1);
    uint32_t all = cpuid(13, 0).a & 7;
    TRY(asm volatile("xsetbv" : : "c"(0), "a"(all), "d"(0)));
    check_trap("XSETBV of what is announced", NO_TRAP, 0);
    check("size of that", cpuid(13, 0).b, all & 4 ? 832 : 576);
    TRY(asm volatile("xsetbv" : : "c"(0), "a"(2), "d"(0)));
    check_trap("XCR0 without x87: #GP(0)", 13, 0);
    TRY(asm volatile("xsetbv" : : "c"(0), "a"(5), "d"(0)));
    check_trap("AVX without SSE: #GP(0)", 13, 0);
    TRY(asm volatile("xsetbv" : : "c"(1), "a"(3), "d"(0)));
    check_trap("XCR1: #GP(0)", 13, 0);
    TRY(asm volatile("xgetbv" : : "c"(7) : "rax", "rdx"));
    check_trap("XGETBV of XCR7: #GP(0)", 13, 0);
    TRY(XSAVE("xsave", area + 8, all));
    check_trap("an area that is not aligned: #GP(0)", 13, 0);
    clear_area();
    asm volatile("movups %0, %%xmm1" : : "m"(idt));
    XSAVE("xsave", area, all);
    check("XSTATE_BV has SSE", *bv >> 1 & 1, 1);
    check("XMM1 is there", *(uint64_t *)(area + 176), idt[0]);
    *bv = 0;
    XSAVE("xrstor", area, 2);
    clear_area();
    XSAVE("xsave", area, 2);
    check("XRSTOR of a component not in XSTATE_BV initialises it",
          *(uint64_t *)(area + 176), 0);
    *bv = 1ull << 10;
    TRY(XSAVE("xrstor", area, all));
    check_trap("XSTATE_BV with a bit not in XCR0: #GP(0)", 13, 0);
    *bv = 0;
    bv[3] = 1;
    TRY(XSAVE("xrstor", area, all));
    check_trap("a header with other bits: #GP(0)", 13, 0);
    bv[3] = 0;
    if (has.xsavec) {
        clear_area();
        XSAVE("xsavec", area, 2);
        check("XSAVEC says it is compact", *comp, 1ull << 63 | 2);
        TRY(XSAVE("xrstor", area, 2));
        check_trap("and XRSTOR takes it", NO_TRAP, 0);
        *comp |= 1ull << 20;
        TRY(XSAVE("xrstor", area, 2));
        check_trap("but not components beyond XCR0: #GP(0)", 13, 0);
    } else {
        skip("XSAVEC", "not announced");
        *comp = 1ull << 63;
        TRY(XSAVE("xrstor", area, 2));
        check_trap("a compact image is #GP(0)", 13, 0);
        clear_area();
    }
    if (has.xsaves) {
        clear_area();
        XSAVE("xsaves", area, 2);
        check("XSAVES says it is compact", *comp, 1ull << 63 | 2);
        TRY(XSAVE("xrstors", area, 2));
        check_trap("and XRSTORS takes it", NO_TRAP, 0);
    } else {
        TRY(XSAVE("xsaves", area, 2));
        check_trap("XSAVES, not announced, is #UD", 6, 0);
        TRY(XSAVE("xrstors", area, 2));
        check_trap("and so is XRSTORS", 6, 0);
    }
    if (has.xgetbv1) {
        TRY(asm volatile("xgetbv" : : "c"(1) : "rax", "rdx"));
        check_trap("XGETBV of XCR1 is fine", NO_TRAP, 0);
    }
    if (has.avx) {
        TRY(asm volatile("vpxor %%ymm0, %%ymm0, %%ymm0" : : : "memory"));
        check_trap("AVX is fine", NO_TRAP, 0);
        asm volatile("xsetbv" : : "c"(0), "a"(3), "d"(0));
        TRY(asm volatile("vpxor %%ymm0, %%ymm0, %%ymm0" : : : "memory"));
        check_trap("without XCR0.AVX it is #UD", 6, 0);
        asm volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
        asm volatile("mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0"
                     :
                     :
                     : "rax");
        TRY(asm volatile("vpxor %%ymm0, %%ymm0, %%ymm0" : : : "memory"));
        check_trap("with CR0.TS it is #NM", 7, 0);
        TRY(XSAVE("xsave", area, 7));
        check_trap("so is XSAVE", 7, 0);
        asm volatile("clts");
        WRITE_CR(4, READ_CR(4) & ~CR4_OSXSAVE);
        TRY(asm volatile("vpxor %%ymm0, %%ymm0, %%ymm0" : : : "memory"));
        check_trap("without OSXSAVE it is #UD", 6, 0);
    }
    WRITE_CR(4, READ_CR(4) & ~CR4_OSXSAVE);
}

void test_fpu(void)
{
    x87();
    sse();
    xsave_family();
}
