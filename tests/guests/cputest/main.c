/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traps, pages and ring 3 of the 64-bit CPU test; the list of sections. */
#include "cputest.h"

struct trap trap, traps[TRAPS_MAX];
unsigned trap_count;
struct place escape;
bool (*trap_hook)(struct frame *f);
uint64_t idt[512] __attribute__((aligned(16)));
struct tss64 tss __attribute__((aligned(16)));
struct features has;
uint64_t test_pd[512] __attribute__((aligned(4096)));

static uint64_t test_pt[512] __attribute__((aligned(4096)));
static uint8_t memory[64][4096] __attribute__((aligned(4096)));
static uint8_t trap_stack[16384] __attribute__((aligned(16)));
static uint8_t ist_stack[16384] __attribute__((aligned(16)));

extern const char stubs[];

void check_trap(const char *name, unsigned vector, uint64_t error)
{
    uint64_t got =
        trap_count ? trap.vector << 32 | trap.error : (uint64_t)NO_TRAP << 32;
    check(name, got, (uint64_t)vector << 32 | error);
}

/* ---- traps */

void trap_clear(void)
{
    trap_count = 0;
    trap.vector = NO_TRAP;
    trap.error = 0;
}

void on_trap(struct frame *f);
void on_trap(struct frame *f)
{
    trap =
        (struct trap){ f->vector,  f->error,   f->rip, f->cs, f->flags, f->rsp,
                       READ_CR(2), READ_DR(6), f->cx,  f->si, f->di,    f->ax };
    if (trap_count < TRAPS_MAX) traps[trap_count] = trap;
    trap_count++;
    if (f->vector == 1) WRITE_DR(6, 0xffff0ff0);
    bool goes_on = trap_hook ? trap_hook(f)
                             : f->vector == 1 || f->vector == 3 ||
                                   (f->vector >= 32 && f->vector != 0x80);
    if (goes_on) return;
    asm volatile("push $2; popf" : : : "cc", "memory");
    back(&escape);
}

void set_gate_to(unsigned vector, uint64_t rip, unsigned sel, unsigned attr,
                 unsigned ist)
{
    idt[2 * vector] = (rip & 0xffff) | (uint64_t)sel << 16 |
                      (uint64_t)ist << 32 | (uint64_t)attr << 40 |
                      (rip >> 16 & 0xffff) << 48;
    idt[2 * vector + 1] = rip >> 32;
}

void set_gate(unsigned vector, unsigned attr, unsigned ist)
{
    set_gate_to(vector, (uint64_t)stubs + 16 * vector, 8, attr, ist);
}

static void set_traps(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) p = { sizeof(idt) - 1, (uint64_t)idt };
    uint64_t base = (uint64_t)&tss;

    for (unsigned n = 0; n < 256; n++) {
        set_gate(n, 0x8e, 0);
    }
    set_gate(8, 0x8e, 1);
    set_gate(3, 0xee, 0);
    set_gate(0x80, 0xee, 0);
    asm volatile("lidt %0" : : "m"(p));
    tss.rsp[0] = (uint64_t)(trap_stack + sizeof(trap_stack));
    tss.ist[0] = (uint64_t)(ist_stack + sizeof(ist_stack));
    tss.iomap = offsetof(struct tss64, bitmap);
    for (unsigned n = 0; n < sizeof(tss.bitmap); n++) {
        tss.bitmap[n] = 0xff;
    }
    gdt[8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
             (base >> 24 & 0xff) << 56;
    gdt[9] = base >> 32;
    asm volatile("ltr %w0" : : "r"(64));
}

/* ---- pages */

uint64_t *pte(uint64_t va)
{
    return &test_pt[va >> 12 & 511];
}

void map(uint64_t va, uint64_t e)
{
    *(volatile uint64_t *)pte(va) = e;
    invlpg(va);
}

uint8_t *page(unsigned n)
{
    return memory[n];
}

static void set_pages(void)
{
    pdpt[1] = PHYS(test_pd) | P | W | U;
    test_pd[0] = PHYS(test_pt) | P | W | U;
    WRITE_CR(3, READ_CR(3));
    map(USER_CODE, PHYS(page(0)) | P | U | W);
    map(USER_CODE + 4096, PHYS(page(1)) | P | U | W);
    map(USER_STACK - 4096, PHYS(page(2)) | P | U | W);
    map(USER_DATA, PHYS(page(3)) | P | U | W);
}

void user_run(const void *code, size_t bytes, uint64_t flags)
{
    for (size_t n = 0; n < bytes; n++) {
        page(0)[n] = ((const uint8_t *)code)[n];
    }
    asm volatile("push %0; push %1; push %2; push %3; push %4; iretq"
                 :
                 : "i"(48 | 3), "r"((uint64_t)USER_STACK), "r"(flags | 2),
                   "i"(56 | 3), "r"((uint64_t)USER_CODE)
                 : "memory");
}

/* ---- CPUID */

static void find_features(void)
{
    uint32_t max = cpuid(0, 0).a, top = cpuid(0x80000000, 0).a;
    struct regs one = cpuid(1, 0), seven = { 0 }, ext = { 0 }, x = { 0 };

    if (max >= 7) seven = cpuid(7, 0);
    if (top >= 0x80000001) ext = cpuid(0x80000001, 0);
    has.is_intel = cpuid(0, 0).c == 0x6c65746e;
    has.xsave = one.c >> 26 & 1;
    if (has.xsave && max >= 13) x = cpuid(13, 1);
    has.monitor = one.c >> 3 & 1;
    has.pcid = one.c >> 17 & 1;
    has.x2apic = one.c >> 21 & 1;
    has.deadline = one.c >> 24 & 1;
    has.avx = one.c >> 28 & 1;
    has.rdrand = one.c >> 30 & 1;
    has.fsgsbase = seven.b & 1;
    has.smep = seven.b >> 7 & 1;
    has.invpcid = seven.b >> 10 & 1;
    has.smap = seven.b >> 20 & 1;
    has.umip = seven.c >> 2 & 1;
    has.la57 = seven.c >> 16 & 1;
    has.rdpid = seven.c >> 22 & 1;
    has.nx = ext.d >> 20 & 1;
    has.gib = ext.d >> 26 & 1;
    has.rdtscp = ext.d >> 27 & 1;
    has.xsavec = x.a >> 1 & 1;
    has.xgetbv1 = x.a >> 2 & 1;
    has.xsaves = x.a >> 3 & 1;
}

void test_reset(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    report_before_reset();
    asm volatile("lidt %0; ud2" : : "m"(none));
}

int main(void)
{
    report_open();
    outb(0x21, 0xff); /* the old controllers are silent */
    outb(0xa1, 0xff);
    find_features();
    set_traps();
    set_pages();
    for (unsigned n = 1; n < 10; n++) {
        static char word[] = "clocks=0";
        word[7] = (char)('0' + n);
        if (!is_asked(word)) continue;
        test_clocks(n * 10);
        test_reset();
    }
    if (is_asked("system")) { /* alone: judges do not get through the rest */
        test_system();
        test_reset();
    }
    test_exceptions();
    test_paging();
    test_pcid();
    test_segments();
    test_interrupts();
    test_debug();
    test_fpu();
    test_features();
    test_code();
    test_system();
    test_smp();
    test_reset();
    return 0;
}
