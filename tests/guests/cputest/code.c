/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that changes: SDM 3A 8.1.3 and 11.6 (a processor sees its own stores
 * to code after a branch; stores to the very next instruction are seen too on
 * every processor since the Pentium Pro, "self-modifying code" of 11.6).
 * REP with a fault in the middle; code in ROM and in device memory.
 */
#include "cputest.h"

static uint8_t *const code = (uint8_t *)0x2000000;

static unsigned call(const void *p)
{
    unsigned v;
    asm volatile("call *%1" : "=a"(v) : "r"(p) : "memory", "rcx", "rdx");
    return v;
}

/* mov eax, v; ret */
static void write_function(uint8_t *p, uint32_t v)
{
    p[0] = 0xb8;
    *(uint32_t *)(p + 1) = v;
    p[5] = 0xc3;
}

static void self_modifying(void)
{
    unsigned v, bad = 0;

    section("changing code");
    asm volatile("movb $2, 1f+1(%%rip); 1: mov $1, %%al; movzbl %%al, %0;"
                 : "=r"(v) : : "rax", "memory");
    check("a store to the next instruction is seen", v, 2);
    asm volatile("lea 2f(%%rip), %%rdi; mov $0x90, %%al; mov $2, %%ecx; cld;"
                 "xor %0, %0; rep stosb; 2: inc %%edx; nop"
                 : "=d"(v) : : "rax", "rcx", "rdi", "memory");
    check("so is REP STOSB over it", v, 0);
    for (unsigned n = 0; n < 3000; n++) {
        write_function(code, n);
        if (call(code) != n) bad++;
    }
    check("a function rewritten 3000 times", bad, 0);
    for (unsigned n = 0; n < 2000; n++) { /* the immediate is in two pages */
        write_function(code + 4093, n * 0x01010101u);
        if (call(code + 4093) != n * 0x01010101u) bad++;
    }
    check("one across a page boundary", bad, 0);
    for (unsigned n = 0; n < 20000; n++) {
        write_function(code + 16 * n, n);
    }
    for (unsigned n = 0; n < 20000; n++) {
        if (call(code + 16 * n) != n) bad++;
    }
    check("20000 functions", bad, 0);
    for (unsigned n = 0; n < 20000; n++) {
        *(uint32_t *)(code + 16 * n + 1) = ~n;
    }
    for (unsigned n = 0; n < 20000; n++) {
        if (call(code + 16 * n) != ~n) bad++;
    }
    check("and all of them changed", bad, 0);
    /* 05 B8 44 33 22: add eax, imm32; entered one byte later it is a mov */
    static const uint8_t twice[] = { 0x31, 0xc0, 0x05, 0xb8, 0x11, 0x22,
                                     0x33, 0x44, 0xc3, 0xc3 };
    for (unsigned n = 0; n < sizeof(twice); n++) {
        code[n] = twice[n];
    }
    check("jumping into an instruction: as written", call(code), 0x332211b8);
    check("and from its middle", call(code + 3), 0x44332211);
    check("and as written again", call(code), 0x332211b8);
    /* Two linear addresses of the same code. */
    uint8_t *alias = (uint8_t *)(uint64_t)(VA + 0x70000);
    map((uint64_t)alias, PHYS(page(10)) | P | W);
    write_function(page(10), 1);
    bad = call(alias) != 1;
    write_function(page(10), 2);
    bad += call(alias) != 2;
    write_function(alias, 3);
    bad += call(page(10)) != 3;
    check("code changed under its other name", bad, 0);
    write_function(page(11), 4);
    map((uint64_t)alias, PHYS(page(11)) | P | W);
    check("another page under the same name", call(alias), 4);
}

/* A loop that decodes itself: xor over the code behind it. */
static void unpacking(void)
{
    static const uint8_t plain[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3 };
    static const uint8_t loop[] = {
        0x48, 0x8d, 0x3d, 0x0a, 0x00, 0x00, 0x00, /* lea rdi, [rip + 10] */
        0x6a, 0x06, 0x59,                         /* push 6; pop rcx */
        0x80, 0x37, 0x5a,                         /* 1: xor byte [rdi], 5a */
        0x48, 0xff, 0xc7,                         /* inc rdi */
        0xe2, 0xf8,                               /* loop 1b */
    };
    unsigned at = 0;

    for (unsigned n = 0; n < sizeof(loop); n++) {
        code[at++] = loop[n];
    }
    code[3] = sizeof(loop) - 7;
    for (unsigned n = 0; n < sizeof(plain); n++) {
        code[at++] = plain[n] ^ 0x5a;
    }
    asm volatile("" : : : "memory");
    unsigned v;
    asm volatile("call *%1" : "=a"(v) : "r"(code) : "rcx", "rdi", "memory");
    check("code that unpacks itself", v, 0x12345678);
}

static void elsewhere(void)
{
    unsigned at = 0xf0000;

    section("code in");
    while (at < 0xfffff && *(volatile uint8_t *)(uint64_t)at != 0xc3) {
        at++;
    }
    TRY(call((void *)(uint64_t)at));
    check_trap("ROM", NO_TRAP, 0);
    TRY(call((void *)(uint64_t)at));
    check_trap("ROM again", NO_TRAP, 0);
    volatile uint8_t *screen = (uint8_t *)0xb8000;
    for (unsigned n = 0; n < 3; n++) {
        screen[0] = 0xb8;
        screen[1] = (uint8_t)(0x10 + n);
        screen[2] = screen[3] = screen[4] = 0;
        screen[5] = 0xc3;
        check("the text screen", call((void *)screen), 0x10 + n);
    }
}

static void strings(void)
{
    uint64_t to = VA + 0x80000, from = (uint64_t)page(12);

    section("REP");
    map(to, PHYS(page(14)) | P | W);
    map(to + 4096, 0);
    for (unsigned n = 0; n < 64; n++) {
        page(12)[n] = (uint8_t)n;
    }
    page(14)[4095] = 0xee;
    TRY(asm volatile("rep movsb" : : "S"(from), "D"(to + 4096 - 10), "c"(64)
                     : "memory"));
    check_trap("MOVS into a missing page: W", 14, 2);
    check("RCX is what is left", trap.cx, 54);
    check("RSI and RDI are where it stopped", trap.si - from, 10);
    check("what could be moved was moved", page(14)[4095], 9);
    check("CR2", trap.cr2, to + 4096);
    TRY(asm volatile("rep stosq" : : "a"(0), "D"(to + 4096 - 20), "c"(9)
                     : "memory"));
    check("STOSQ across: RCX", trap.cx, 7);
    check("RDI", trap.di, to + 4096 - 4);
    TRY(asm volatile("repe cmpsb" : : "S"(to + 4096 - 5), "D"(to + 4096 - 5),
                     "c"(64) : "memory"));
    check("CMPS: RCX", trap.cx, 59);
    TRY(asm volatile("std; rep movsb; cld"
                     : : "S"(from + 63), "D"(to + 4096 + 3), "c"(64)
                     : "memory"));
    asm volatile("cld");
    check("backwards it faults at its first byte", trap.cx, 64);
    uint64_t c = 0x100000000, d = (uint64_t)page(14);
    TRY(asm volatile("addr32 rep stosb" : "+c"(c), "+D"(d) : "a"(0)
                     : "memory"));
    check("with 32-bit addresses and ECX 0 it does nothing",
          c, 0x100000000);
}

void test_code(void)
{
    self_modifying();
    unpacking();
    elsewhere();
    strings();
}
