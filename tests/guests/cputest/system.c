/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions of the system that have no other place: table registers, the
 * machine status word, string I/O; code in ROM and in a device's memory. */
#include "cputest.h"

USER_ASM(u_sldt, "sldt %eax; int $0x80");
USER_ASM(u_str, "str %eax; int $0x80");
USER_ASM(u_smsw, "smsw %eax; int $0x80");
USER_ASM(u_sidt, "mov $0x40030000, %eax; sidt (%rax); int $0x80");
USER_ASM(u_lmsw, "lmsw %ax; int $0x80");
USER_ASM(u_invd, "invd; int $0x80");
USER_ASM(u_outsb, "mov $0xa1, %edx; outsb; int $0x80");

static void table_registers(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) p = { 0, 0 };
    uint64_t v, word = ~0ull;

    section("SLDT, STR, SIDT");
    asm volatile("lldt %w0" : : "r"(0));
    asm volatile("mov $-1, %0; sldt %k0" : "=r"(v));
    check("SLDT r32 clears the upper half", v, 0);
    asm volatile("mov $-1, %0; sldt %w0" : "=r"(v));
    check("SLDT r16 keeps it", v, ~0xffffull);
    asm volatile("sldt %0" : "+m"(word));
    check("to memory it is 16 bits", word, ~0xffffull);
    asm volatile("mov $-1, %0; str %k0" : "=r"(v));
    check("STR r32", v, 64);
    asm volatile("mov $-1, %0; str %0" : "=r"(v));
    check("STR r64", v, 64);
    asm volatile("sidt %0" : "=m"(p));
    check("SIDT gives the limit", p.limit, sizeof(idt) - 1);
    check("and the base", p.base, (uint64_t)idt);
}

static void status_word(void)
{
    uint64_t v, cr0 = READ_CR(0);

    section("SMSW, LMSW");
    asm volatile("smsw %w0" : "=r"(v));
    check("SMSW is the lower half of CR0", v & 0xffff, cr0 & 0xffff);
    asm volatile("lmsw %w0" : : "r"((uint16_t)((cr0 & 0xf) | 8)));
    check("LMSW sets TS", READ_CR(0), cr0 | 8);
    asm volatile("lmsw %w0" : : "r"((uint16_t)0xfff0));
    check("and cannot clear PE", READ_CR(0), (cr0 & ~0xeull) | 1);
    WRITE_CR(0, cr0);
}

static void in_ring_3(void)
{
    section("system instructions in ring 3");
    TRY(USER(u_lmsw));
    check_trap("LMSW: #GP(0)", 13, 0);
    TRY(USER(u_invd));
    check_trap("INVD: #GP(0)", 13, 0);
    TRY(USER(u_outsb));
    check_trap("OUTSB without IOPL: #GP(0)", 13, 0);
    if (!has.umip) {
        skip("UMIP", "not announced");
        return;
    }
    WRITE_CR(4, READ_CR(4) | CR4_UMIP);
    TRY(USER(u_sldt));
    check_trap("SLDT with UMIP: #GP(0)", 13, 0);
    TRY(USER(u_str));
    check_trap("STR: #GP(0)", 13, 0);
    TRY(USER(u_smsw));
    check_trap("SMSW: #GP(0)", 13, 0);
    TRY(USER(u_sidt));
    check_trap("SIDT: #GP(0)", 13, 0);
    WRITE_CR(4, READ_CR(4) & ~CR4_UMIP);
}

static void caches(void)
{
    section("INVD, WBINVD");
    TRY(asm volatile("wbinvd; invd; wbinvd"));
    check_trap("in ring 0 fine", NO_TRAP, 0);
}

/* The mask register of the second interrupt controller can be read back, so can
 * PCI's interrupt line; PCI's address register is one of 32 bits. */
static void string_io(void)
{
    uint8_t out[3] = { 0xfe, 0xfd, 0xfb }, in[3] = { 0, 0, 0 };
    uint16_t word = 0x015a, word_in = 0;
    uint32_t dword[2] = { 0x80000008, 0x80000000 }, dword_in[2] = { 0, 0 };
    uint64_t si = (uint64_t)out, di = (uint64_t)in, cx = 3;

    section("string I/O");
    asm volatile("rep outsb" : "+S"(si), "+c"(cx) : "d"(0xa1) : "memory");
    check("REP OUTSB goes on to the end", si, (uint64_t)(out + 3));
    check("RCX is 0", cx, 0);
    check("the port has the last octet", inb(0xa1), 0xfb);
    cx = 3;
    asm volatile("rep insb" : "+D"(di), "+c"(cx) : "d"(0xa1) : "memory");
    check("REP INSB stores each", in[0] << 16 | in[1] << 8 | in[2], 0xfbfbfb);
    check("RDI is behind them", di, (uint64_t)(in + 3));
    si = (uint64_t)(dword + 1);
    cx = 2;
    asm volatile("std; rep outsl; cld"
                 : "+S"(si), "+c"(cx)
                 : "d"(0xcf8)
                 : "memory");
    check("OUTSD goes downwards", si, (uint64_t)(dword - 1));
    di = (uint64_t)dword_in;
    asm volatile("insl" : "+D"(di) : "d"(0xcf8) : "memory");
    check("INSD reads what OUTSD wrote last", dword_in[0], 0x80000008);
    asm volatile("outl %0, %w1" : : "a"(0x8000003c), "d"(0xcf8));
    si = (uint64_t)&word;
    asm volatile("outsw" : "+S"(si) : "d"(0xcfc) : "memory");
    di = (uint64_t)&word_in;
    asm volatile("insw" : "+D"(di) : "d"(0xcfc) : "memory");
    check("INSW reads what OUTSW wrote", word_in & 0xff, 0x5a);
    check("RSI is behind it", si, (uint64_t)(&word + 1));
    check("and RDI", di, (uint64_t)(&word_in + 1));
    outb(0xa1, 0xff);
}

/* ---- code that is not in RAM */

/* Adds 1..n: mov ecx, n; xor eax, eax; 1: add eax, ecx; dec ecx; jnz 1b;
 * mov [rdi], eax; ret */
static const uint8_t adder[] = {
    0xb9, 10,   0,    0,    0,    0x31, 0xc0, 0x01,
    0xc8, 0xff, 0xc9, 0x75, 0xfa, 0x89, 0x07, 0xc3
};

static uint32_t call(uint64_t at)
{
    uint32_t sum = 0, eax = 0;

    asm volatile("call *%2"
                 : "=a"(eax)
                 : "D"(&sum), "r"(at)
                 : "rcx", "cc", "memory");
    return sum ? sum : eax;
}

/* KVM cannot fetch instructions from a device. */
static bool is_kvm(void)
{
    return (cpuid(1, 0).c >> 31 & 1) && cpuid(0x40000000, 0).b == 0x4b4d564b;
}

static void run_in_device(const char *name, uint64_t at)
{
    volatile uint8_t *p = (volatile uint8_t *)at;

    section(name);
    if (is_kvm()) {
        skip(name, "KVM fetches no instructions from devices");
        return;
    }
    for (unsigned n = 0; n < sizeof(adder); n++)
        p[n] = adder[n];
    check("the code is there", p[0] == adder[0] && p[15] == adder[15], 1);
    check("it runs", call(at), 55);
    p[1] = 20;
    check("and is read anew each time", call(at), 210);
    /* An instruction that lies across the end of what it is called from. */
    for (unsigned n = 0; n < sizeof(adder); n++)
        p[0xff8 + n] = adder[n];
    check("it goes on over a page", call(at + 0xff8), 55);
}

static void vga_put(uint16_t port, uint8_t index, uint8_t v)
{
    outb(port, index);
    outb((uint16_t)(port + 1), v);
}

/* Sequencer 4 and graphics 5 and 6: 16 colours at A0000, plane 0. */
static void planar(bool is_on)
{
    vga_put(0x3c4, 4, is_on ? 0x06 : 0x02);
    vga_put(0x3c4, 2, is_on ? 0x01 : 0x03);
    vga_put(0x3ce, 4, 0);
    vga_put(0x3ce, 5, is_on ? 0x00 : 0x10);
    vga_put(0x3ce, 6, is_on ? 0x05 : 0x0e);
    vga_put(0x3ce, 8, 0xff);
}

/* Firmware has short functions: xor eax, eax; ret. */
static void run_in_rom(const char *name, uint64_t from, uint64_t to)
{
    section("code in ROM");
    for (uint64_t at = from; at < to - 3; at++) {
        const volatile uint8_t *rom = (const volatile uint8_t *)at;
        if (rom[0] != 0x31 || rom[1] != 0xc0 || rom[2] != 0xc3) continue;
        check(name, call(at), 0);
        check("and once more", call(at), 0);
        return;
    }
    skip(name, "this firmware has no function of that form");
}

void test_system(void)
{
    table_registers();
    status_word();
    in_ring_3();
    caches();
    string_io();
    run_in_rom("runs below 4 GiB", 0xfffe0000, 0x100000000);
    run_in_rom("runs below 1 MiB", 0xe0000, 0x100000);
    run_in_device("code in text memory", 0xb8000);
    planar(true);
    run_in_device("code in planar memory", 0xa0000);
    planar(false);
}
