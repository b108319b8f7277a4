/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMRAM, the state at entry, the save area, RSM, all modes. */
#include "smmtest.h"

uint32_t smram_seen;

void look_at_smram(struct box *b)
{
    (void)b;
    smram_seen = *(volatile uint32_t *)0xb8000;
    *(volatile uint32_t *)0xb8000 = 0x600d0002;
}

void visibility(void)
{
    check("closed, the screen is there", *(volatile uint32_t *)0xb8000,
          0x07410742);
    boxes[0].act = look_at_smram;
    smi();
    check("an SMI is taken", boxes[0].count, 1);
    check("in SMM it is seen", smram_seen, 0x600df00d);
    check("and not afterwards", *(volatile uint32_t *)0xb8000, 0x07410742);
    smi();
    check("what was written there stays", smram_seen, 0x600d0002);
    boxes[0].act = NULL;
}

static uint64_t cr(unsigned n)
{
    uint64_t v;
    if (n == 0)
        asm volatile("mov %%cr0, %0" : "=r"(v));
    else if (n == 3)
        asm volatile("mov %%cr3, %0" : "=r"(v));
    else
        asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}

void entry_state(void)
{
    const struct box *b = &boxes[0];
    section("entry");
    smi();
    check("ES", b->sel[0], 0);
    check("CS is SMBASE / 16", b->sel[1], 0xa000);
    check("SS", b->sel[2], 0);
    check("DS", b->sel[3], 0);
    check("FS", b->sel[4], 0);
    check("GS", b->sel[5], 0);
    check("EFLAGS", b->flags, 2);
    check("CR0: PE, EM, TS, PG clear", b->cr0, cr(0) & ~0x8000000dul);
    check("CR4", b->cr4, 0);
    check("DR7", b->dr7, 0x400);
    check("EFER", b->efer, 0);
    check("ESP is not changed", b->esp, (uint32_t)regs_before[4]);
}

#define LDT_BASE 0x0000123456789ab0ul
#define TSS_BASE 0xffff9876543210f0ul
#define FS_BASE  0xffff800000001000ul
#define GS_BASE  0x00007fffffffe000ul

static void set_descriptor(unsigned n, uint64_t base, unsigned type,
                           unsigned limit)
{
    gdt[n] = limit | (base & 0xffffff) << 16 | (uint64_t)type << 40 |
             (base >> 24 & 0xff) << 56;
    gdt[n + 1] = base >> 32;
}

static void wrmsr(uint32_t n, uint64_t v)
{
    asm volatile("wrmsr" : : "c"(n), "a"((uint32_t)v), "d"(v >> 32));
}

static void set_system_segments(void)
{
    set_descriptor(8, TSS_BASE, 0x89, 0x67);
    set_descriptor(12, LDT_BASE, 0x82, 0x17);
    asm volatile("ltr %w0" : : "r"(64));
    asm volatile("lldt %w0" : : "r"(96));
    wrmsr(0xc0000100, FS_BASE);
    wrmsr(0xc0000101, GS_BASE);
}

static void check_segment(const char *name, unsigned at, uint64_t sel,
                          uint64_t attr, uint64_t limit, uint64_t base)
{
    const struct box *b = &boxes[0];
    check(name, kept(b, 0, at, 2), sel);
    check("its attributes", kept(b, 0, at + 2, 2), attr);
    check("its limit", kept(b, 0, at + 4, 4), limit);
    check("its base", kept(b, 0, at + 8, 8), base);
}

void save_area(void)
{
    static const char *const gpr[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP",
                                       "RSI", "RDI", "R8",  "R9",  "R10", "R11",
                                       "R12", "R13", "R14", "R15" };
    static const char *const seg[] = { "ES", "CS", "SS", "DS" };
    const struct box *b = &boxes[0];
    uint32_t lo, hi;

    section("save area");
    set_system_segments();
    smi();
    for (unsigned n = 0; n < 16; n++) {
        check(gpr[n], kept(b, 0, 0xfff8 - 8 * n, 8), regs_before[n]);
    }
    for (unsigned n = 0; n < 4; n++) {
        check_segment(seg[n], 0xfe00 + 16 * n, n == 1 ? 8 : 16,
                      n == 1 ? 0xa09b : 0xc093, 0xffffffff, 0);
    }
    check_segment("LDTR", 0xfe70, 96, 0x82, 0x17, LDT_BASE);
    check_segment("TR", 0xfe90, 64, 0x8b, 0x67, TSS_BASE);
    check("base of FS", kept(b, 0, 0xfe48, 8), FS_BASE);
    check("base of GS", kept(b, 0, 0xfe58, 8), GS_BASE);
    check("limit of GDTR", kept(b, 0, 0xfe64, 4), b->gdt_limit);
    check("base of GDTR", kept(b, 0, 0xfe68, 8), b->gdt_base);
    check("limit of IDTR", kept(b, 0, 0xfe84, 4), sizeof(idt) - 1);
    check("base of IDTR", kept(b, 0, 0xfe88, 8), (uint64_t)idt);
    check("RIP", kept(b, 0, 0xff78, 8), (uint64_t)smi_spin);
    check("RFLAGS", kept(b, 0, 0xff70, 8), flags_before);
    check("CR0", kept(b, 0, 0xff58, 8), cr(0));
    check("CR3", kept(b, 0, 0xff50, 8), cr(3));
    check("CR4", kept(b, 0, 0xff48, 8), cr(4));
    check("DR6", kept(b, 0, 0xff68, 8), 0xffff0ff0);
    check("DR7", kept(b, 0, 0xff60, 8), 0x400);
    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(0xc0000080));
    check("EFER", kept(b, 0, 0xfed0, 8), lo);
    check("revision", kept(b, 0, 0xfefc, 4), 0x20064);
    check("SMBASE", kept(b, 0, 0xff00, 4), 0xa0000);
    check("no I/O restart", kept(b, 0, 0xfec8, 1), 0);
    check("no HLT", kept(b, 0, 0xfec9, 1), 0);
    check("I/O: OUT of a byte to B2", kept(b, 0, 0xfec0, 4), 0xb20012);
    check("I/O: its RIP", kept(b, 0, 0xfea0, 8), (uint64_t)smi_spin - 2);
    for (unsigned n = 0; n < 16; n++) {
        check("after RSM a register is as before", regs_after[n],
              regs_before[n]);
    }
    check("and so are the flags", flags_after & 0xcd5, flags_before & 0xcd5);
}

static void change_all(struct box *b)
{
    for (unsigned n = 0; n < 16; n++) {
        if (n != 4) LIVE64(b, 0xfff8 - 8 * n) = ~regs_before[n];
    }
    LIVE64(b, 0xff70) = 2;
    LIVE64(b, 0xff68) = 0xffff0ff3;
}

static void change_rip(struct box *b)
{
    LIVE64(b, 0xff78) = (uint64_t)smi_other;
}

void changes(void)
{
    uint64_t dr6;
    section("RSM");
    boxes[0].act = change_all;
    smi();
    for (unsigned n = 0; n < 16; n++) {
        check("a changed register is loaded", regs_after[n],
              n == 4 ? regs_before[n] : ~regs_before[n]);
    }
    check("changed flags are", flags_after & 0xcd5, 0);
    asm volatile("mov %%dr6, %0" : "=r"(dr6));
    check("changed DR6 is", dr6, 0xffff0ff3);
    asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ul));
    boxes[0].act = change_rip;
    smi();
    check("changed RIP is", regs_after[0], 0x600d);
    boxes[0].act = NULL;
    ud_count = 0;
    asm volatile("rsm");
    check("is #UD outside SMM", ud_count, 1);
}

static void check_mode(const char *name, unsigned back, const char *rip,
                       uint64_t cs, uint64_t attr, uint64_t base,
                       uint64_t limit)
{
    const struct box *b = &boxes[0];
    section(name);
    check("RIP", kept(b, back, 0xff78, 8), (uint64_t)rip);
    check("CS", kept(b, back, 0xfe10, 2), cs);
    check("attributes of CS", kept(b, back, 0xfe12, 2), attr);
    check("limit of CS", kept(b, back, 0xfe14, 4), limit);
    check("base of CS", kept(b, back, 0xfe18, 8), base);
}

void modes(void)
{
    const struct box *b = &boxes[0];
    uint8_t *low = (uint8_t *)0x5000;
    uint32_t before = b->count;
    uint64_t efer;

    for (const uint8_t *p = real_code; p != real_code_end; p++) {
        low[p - real_code] = *p;
    }
    gdt[10] = 0x00009b000000ffff;
    gdt[11] = 0x000093000000ffff;
    smi_modes();
    check("SMIs in all modes", b->count - before, 4);
    efer = kept(b, 3, 0xfed0, 8);
    check_mode("compatibility mode", 3, smi_compat, 24, 0xc09b, 0, 0xffffffff);
    check("EFER", efer & 0x500, 0x500);
    check_mode("32-bit mode", 2, smi_flat, 24, 0xc09b, 0, 0xffffffff);
    check("EFER", kept(b, 2, 0xfed0, 8), efer & ~0x500ul);
    check("CR0", kept(b, 2, 0xff58, 8) & 0x80000001, 1);
    check_mode("16-bit mode", 1,
               (char *)(uint64_t)(0x5000 + smi_pm16 - (char *)real_code), 80,
               0x9b, 0, 0xffff);
    check("DS", kept(b, 1, 0xfe30, 2), 88);
    section("real mode");
    check("RIP", kept(b, 0, 0xff78, 8),
          (uint64_t)(smi_real - (char *)real_code));
    check("CS", kept(b, 0, 0xfe10, 2), 0x500);
    check("base of CS", kept(b, 0, 0xfe18, 8), 0x5000);
    check("limit of CS", kept(b, 0, 0xfe14, 4), 0xffff);
    check("DS", kept(b, 0, 0xfe30, 2), 0x1234);
    check("base of DS", kept(b, 0, 0xfe38, 8), 0x12340);
    check("base of ES", kept(b, 0, 0xfe08, 8), 0xb0000);
    check("CR0", kept(b, 0, 0xff58, 8) & 0x80000001, 0);
    check("EBX", kept(b, 0, 0xffe0, 8) & 0xffffffff, 0xcafe0000);
}
