/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Modes and control transfer: real mode, protected mode gates and rings, task
 * switches, VM86, long mode, system calls, faults on faults.  Expectations
 * from SDM volume 3A chapters 5, 6, 7, 20 and the instruction pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/support/cpu_rig.h"

enum {
    GDT = 0x2000,
    IDT = 0x3000,
    TSS = 0x4000,
    TSS2 = 0x4800,
    LDT = 0x4c00,
    CODE = 0x8000,
    STACK0 = 0x20000,
    STACK3 = 0x30000,
    HANDLER = 0x9000,
};
/* Selectors of the tables below. */
enum {
    CODE0 = 0x08,
    DATA0 = 0x10,
    CODE3 = 0x1b,
    DATA3 = 0x23,
    TSS_SEL = 0x28,
    TSS2_SEL = 0x38,
    GATE = 0x48,
    CODE64 = 0x58,
    CODE16 = 0x60,
    DATA16 = 0x68,
    CONFORMING = 0x70,
    ABSENT = 0x78,
    TASK_GATE = 0x80,
    CODE64_3 = 0x8b,
};

static void put(struct cpu_rig *r, unsigned at, unsigned bytes, uint64_t v)
{
    memcpy(r->ram + at, &v, bytes);
}

static uint64_t get(struct cpu_rig *r, unsigned at, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, r->ram + at, bytes);
    return v;
}

/* attr: bytes 5 and 6 of the descriptor, limit bits left out. */
static void descriptor(struct cpu_rig *r, unsigned sel, uint32_t base,
                       uint32_t limit, unsigned attr)
{
    uint64_t v =
        (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
        (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
        (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
    put(r, GDT + (sel & ~7u), 8, v);
}

static void gate(struct cpu_rig *r, unsigned at, unsigned sel, uint32_t off,
                 unsigned attr)
{
    put(r, at, 8,
        (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)attr << 32 |
            (uint64_t)(off >> 16) << 48);
}

static void idt_gate(struct cpu_rig *r, unsigned vector, unsigned sel,
                     unsigned type, unsigned dpl)
{
    gate(r, IDT + 8 * vector, sel, HANDLER + 16 * vector,
         (0x80 | dpl << 5 | type) << 8);
}

static struct cpu_segment flat(unsigned sel, unsigned attr)
{
    struct cpu_segment s = { (uint16_t)sel, (uint16_t)attr, UINT32_MAX, 0 };
    return s;
}

static void set_ring(struct cpu_rig *r, unsigned ring)
{
    struct cpu *c = &r->c;
    c->seg[SEG_CS] = flat(ring ? CODE3 : CODE0, 0xc09b | ring << 5);
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        if (n == SEG_CS) continue;
        c->seg[n] = flat(ring ? DATA3 : DATA0, 0xc093 | ring << 5);
    }
    c->gpr[GPR_SP] = ring ? STACK3 : STACK0 - 0x100;
}

/* 32-bit protected mode without paging, all tables set up. */
static struct cpu_rig *open_protected(unsigned ring)
{
    struct cpu_rig *r = rig_open(false, "max");
    struct cpu *c = &r->c;
    descriptor(r, CODE0, 0, 0xfffff, 0xc09b);
    descriptor(r, DATA0, 0, 0xfffff, 0xc093);
    descriptor(r, CODE3, 0, 0xfffff, 0xc0fb);
    descriptor(r, DATA3, 0, 0xfffff, 0xc0f3);
    descriptor(r, TSS_SEL, TSS, 0x400, 0x008b);
    descriptor(r, TSS2_SEL, TSS2, 0x67, 0x0089);
    descriptor(r, CODE64, 0, 0xfffff, 0xa09b);
    descriptor(r, CODE64_3, 0, 0xfffff, 0xa0fb);
    descriptor(r, CODE16, 0x10000, 0xffff, 0x009b);
    descriptor(r, DATA16, 0x10000, 0xfff, 0x0093);
    descriptor(r, CONFORMING, 0, 0xfffff, 0xc09f);
    descriptor(r, ABSENT, 0, 0xfffff, 0xc013);
    gate(r, GDT + GATE, CODE0, HANDLER, 0xec02); /* two parameters */
    gate(r, GDT + TASK_GATE, TSS2_SEL, 0, 0xe500);
    for (unsigned n = 0; n < 48; n++) {
        idt_gate(r, n, CODE0, 14, n == 3 || n >= 32 ? 3 : 0);
    }
    idt_gate(r, 0x2f, CODE0, 15, 3); /* trap gate */
    put(r, TSS + 4, 4, STACK0);
    put(r, TSS + 8, 4, DATA0);
    put(r, TSS + 0x66, 2, 0x88); /* I/O map; redirection map before it */
    memset(r->ram + TSS + 0x68, 0xff, 0x200);
    c->gdt.base = GDT;
    c->gdt.limit = 0xff;
    c->idt.base = IDT;
    c->idt.limit = 48 * 8 - 1;
    c->tr = (struct cpu_segment){ TSS_SEL, 0x8b, 0x400, TSS };
    c->cr0 = CR0_PE | CR0_ET | CR0_NE;
    c->rip = CODE;
    c->rflags = 2;
    set_ring(r, ring);
    return r;
}

static enum cpu_step run(struct cpu_rig *r, const char *bytes, unsigned count)
{
    uint64_t at = r->c.rip;
    if (!cpu_is_code64(&r->c)) at += r->c.seg[SEG_CS].base;
    memcpy(r->ram + at, bytes, count);
    return cpu_emulate(&r->c);
}
#define RUN(r, bytes) run(r, bytes, sizeof(bytes) - 1)

/* The vector whose handler has been entered, or -1. */
static int entered(const struct cpu_rig *r)
{
    uint64_t n = (r->c.rip - HANDLER) / 16;
    bool is_handler = r->c.rip >= HANDLER && n < 256 && !(r->c.rip & 15);
    return is_handler ? (int)n : -1;
}

static uint64_t stacked(struct cpu_rig *r, unsigned n)
{
    unsigned at = (unsigned)(r->c.gpr[GPR_SP] + r->c.seg[SEG_SS].base);
    return get(r, at + 4 * n, 4);
}

/* ---- real mode */

static struct cpu_rig *open_real(void)
{
    struct cpu_rig *r = rig_open(false, "max");
    for (unsigned n = 0; n < 256; n++) {
        put(r, 4 * n, 4, 0x0100 << 16 | (HANDLER - 0x1000 + 16 * n));
    }
    r->c.seg[SEG_CS].sel = 0x0100;
    r->c.seg[SEG_CS].base = 0x1000;
    r->c.idt.limit = 0x3ff;
    r->c.rip = CODE - 0x1000;
    r->c.gpr[GPR_SP] = 0x7000;
    return r;
}

static int real_vector(const struct cpu_rig *r)
{
    assert_int_equal(r->c.seg[SEG_CS].sel, 0x100);
    return ((int)r->c.rip - (HANDLER - 0x1000)) / 16;
}

static void reset_is_the_sdm_table(void **unused)
{
    struct cpu_rig *r = rig_open(false, "max");
    const struct cpu *c = &r->c;
    (void)unused;
    assert_int_equal(c->cr0, 0x60000010);
    assert_int_equal(c->rip, 0xfff0);
    assert_int_equal(c->seg[SEG_CS].base, 0xffff0000);
    assert_int_equal(c->seg[SEG_CS].sel, 0xf000);
    assert_int_equal(c->rflags, 2);
    assert_int_equal(c->dr[6], 0xffff0ff0);
    assert_int_equal(c->dr[7], 0x400);
    assert_int_equal(c->apic_base, 0xfee00900);
    assert_int_equal(c->pat, 0x0007040600070406);
    cpu_init_signal(&r->c);
    assert_int_equal(c->activity, CPU_ACTIVE); /* the bootstrap processor */
    r->c.apic_base = 0xfee00800;
    cpu_init_signal(&r->c);
    assert_int_equal(c->activity, CPU_WAIT_SIPI);
    cpu_sipi(&r->c, 0x9a);
    assert_int_equal(c->activity, CPU_ACTIVE);
    assert_int_equal(c->seg[SEG_CS].base, 0x9a000);
    assert_int_equal(c->rip, 0);
    rig_close(r);
}

static void real_mode_int_and_iret(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    r->c.rflags = 2 | FLAG_IF | FLAG_TF | FLAG_CF;
    assert_int_equal(RUN(r, "\xcd\x21"), STEP_OK);
    assert_int_equal(real_vector(r), 0x21);
    assert_int_equal(r->c.rflags & (FLAG_IF | FLAG_TF | FLAG_CF), FLAG_CF);
    assert_int_equal(r->c.gpr[GPR_SP], 0x7000 - 6);
    assert_int_equal(get(r, 0x7000 - 6, 2), CODE - 0x1000 + 2);
    assert_int_equal(get(r, 0x7000 - 4, 2), 0x100);
    assert_int_equal(get(r, 0x7000 - 2, 2) & 0x301, 0x301);
    assert_int_equal(RUN(r, "\xcf"), STEP_OK);
    assert_int_equal(r->c.rip, CODE - 0x1000 + 2);
    assert_true(r->c.rflags & FLAG_TF);
    rig_close(r);
}

static void real_mode_faults_come_back_to_the_instruction(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    /* div bl, bl = 0 */
    assert_int_equal(RUN(r, "\xf6\xf3"), STEP_FAULT);
    assert_int_equal(real_vector(r), 0);
    assert_int_equal(get(r, 0x7000 - 6, 2), CODE - 0x1000);
    /* mov ax, [0xffff]: over the limit */
    r->c.rip = CODE - 0x1000;
    assert_int_equal(RUN(r, "\xa1\xff\xff"), STEP_FAULT);
    assert_int_equal(real_vector(r), 13);
    /* push with SP = 1: over the limit of SS */
    r->c.rip = CODE - 0x1000;
    r->c.gpr[GPR_SP] = 1;
    assert_int_equal(RUN(r, "\x50"), STEP_SHUTDOWN);
    rig_close(r);
}

static void single_step_traps_after_the_instruction(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    r->c.rflags |= FLAG_TF;
    assert_int_equal(RUN(r, "\x90"), STEP_FAULT);
    assert_int_equal(real_vector(r), 1);
    assert_int_equal(get(r, 0x7000 - 6, 2), CODE - 0x1000 + 1);
    assert_true(r->c.dr[6] & 1u << 14);
    rig_close(r);
}

static void sti_and_mov_ss_hold_interrupts_for_one_instruction(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    assert_int_equal(RUN(r, "\xfb"), STEP_OK);
    assert_true(r->c.rflags & FLAG_IF);
    assert_false(cpu_can_interrupt(&r->c));
    assert_int_equal(RUN(r, "\x90"), STEP_OK);
    assert_true(cpu_can_interrupt(&r->c));
    assert_int_equal(RUN(r, "\xfb"), STEP_OK); /* IF was set: no shadow */
    assert_true(cpu_can_interrupt(&r->c));
    assert_int_equal(RUN(r, "\x8e\xd0"), STEP_OK); /* mov ss, ax */
    assert_false(cpu_can_interrupt(&r->c));
    rig_close(r);
}

static void hlt_waits_and_an_interrupt_wakes(void **unused)
{
    struct cpu_rig *r = open_real();
    (void)unused;
    assert_int_equal(RUN(r, "\xf4"), STEP_HALT);
    assert_int_equal(r->c.activity, CPU_HALTED);
    cpu_deliver_interrupt(&r->c, 8);
    assert_int_equal(r->c.activity, CPU_ACTIVE);
    assert_int_equal(real_vector(r), 8);
    assert_int_equal(get(r, 0x7000 - 6, 2), CODE - 0x1000 + 1);
    rig_close(r);
}

static void switch_to_protected_mode(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    struct cpu *c = &r->c;
    (void)unused;
    cpu_reset(c);
    c->seg[SEG_CS].sel = 0x0800;
    c->seg[SEG_CS].base = 0x8000;
    c->rip = 0;
    put(r, 0x500, 2, 0xff);
    put(r, 0x502, 4, GDT);
    c->gpr[GPR_AX] = 1;
    assert_int_equal(RUN(r, "\x0f\x01\x16\x00\x05"), STEP_OK); /* lgdt */
    assert_int_equal(c->gdt.base, GDT);
    assert_int_equal(RUN(r, "\x0f\x22\xc0"), STEP_OK); /* mov cr0, eax */
    assert_true(c->cr0 & CR0_PE);
    /* jmp dword 0x08:0x8000, still 16-bit code */
    assert_int_equal(RUN(r, "\x66\xea\x00\x80\x00\x00\x08\x00"), STEP_OK);
    assert_int_equal(c->rip, 0x8000);
    assert_int_equal(c->seg[SEG_CS].base, 0);
    assert_int_equal(c->seg[SEG_CS].limit, UINT32_MAX);
    assert_true(c->seg[SEG_CS].attr & SEG_ATTR_DB);
    c->gpr[GPR_AX] = DATA16;
    assert_int_equal(RUN(r, "\x8e\xd8"), STEP_OK); /* mov ds, ax */
    assert_int_equal(c->seg[SEG_DS].base, 0x10000);
    assert_int_equal(c->seg[SEG_DS].limit, 0xfff);
    assert_int_equal(RUN(r, "\xa1\xfc\x0f\x00\x00"), STEP_OK);
    c->idt.base = IDT;
    c->idt.limit = 0x17f;
    c->gpr[GPR_AX] = DATA0;
    assert_int_equal(RUN(r, "\x8e\xd0"), STEP_OK); /* mov ss, ax */
    c->gpr[GPR_SP] = STACK0;
    assert_int_equal(RUN(r, "\xa1\xfd\x0f\x00\x00"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), 0);
    rig_close(r);
}

/* ---- protected mode */

static void interrupt_from_ring_3_switches_stacks(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    struct cpu *c = &r->c;
    (void)unused;
    c->rflags |= FLAG_IF | FLAG_CF;
    cpu_deliver_interrupt(c, 0x20);
    assert_int_equal(entered(r), 0x20);
    assert_int_equal(cpu_cpl(c), 0);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 20);
    assert_int_equal(c->seg[SEG_SS].sel, DATA0);
    assert_int_equal(stacked(r, 0), CODE);
    assert_int_equal(stacked(r, 1), CODE3);
    assert_int_equal(stacked(r, 2), 2 | FLAG_IF | FLAG_CF);
    assert_int_equal(stacked(r, 3), STACK3);
    assert_int_equal(stacked(r, 4), DATA3);
    assert_false(c->rflags & FLAG_IF);
    /* IRET to the outer ring drops segments it may not keep. */
    c->seg[SEG_FS] = flat(DATA0, 0xc093);
    assert_int_equal(RUN(r, "\xcf"), STEP_OK);
    assert_int_equal(cpu_cpl(c), 3);
    assert_int_equal(c->rip, CODE);
    assert_int_equal(c->gpr[GPR_SP], STACK3);
    assert_int_equal(c->seg[SEG_FS].sel, 0);
    assert_int_equal(c->seg[SEG_DS].sel, DATA3);
    rig_close(r);
}

static void int_n_obeys_the_gate(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    r->c.rflags |= FLAG_IF;
    assert_int_equal(RUN(r, "\xcd\x2f"), STEP_OK); /* trap gate keeps IF */
    assert_int_equal(entered(r), 0x2f);
    assert_true(r->c.rflags & FLAG_IF);
    assert_int_equal(stacked(r, 0), CODE + 2);
    rig_close(r);
    r = open_protected(3);
    assert_int_equal(RUN(r, "\xcd\x0e"), STEP_FAULT); /* DPL 0 */
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), 14 * 8 + 2);
    assert_int_equal(stacked(r, 1), CODE);
    assert_true(stacked(r, 3) & FLAG_RF); /* faults push RF */
    rig_close(r);
    r = open_protected(3);
    assert_int_equal(RUN(r, "\xcd\x90"), STEP_FAULT); /* over the limit */
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), 0x90 * 8 + 2);
    rig_close(r);
    r = open_protected(3);
    assert_int_equal(RUN(r, "\xcc"), STEP_OK);
    assert_int_equal(entered(r), 3);
    assert_int_equal(stacked(r, 0), CODE + 1);
    rig_close(r);
}

struct load_case {
    const char *what;
    unsigned ring, seg, sel;
    int vector, code;
};

static void segment_loads_are_checked(void **unused)
{
    static const struct load_case t[] = {
        { "data", 0, SEG_DS, DATA0, -1, 0 },
        { "null DS", 0, SEG_DS, 0, -1, 0 },
        { "null SS", 0, SEG_SS, 0, 13, 0 },
        { "inner data from ring 3", 3, SEG_DS, DATA0, 13, DATA0 },
        { "readable code", 0, SEG_ES, CODE0, -1, 0 },
        { "conforming code from ring 3", 3, SEG_ES, CONFORMING, -1, 0 },
        { "absent", 0, SEG_ES, ABSENT, 11, ABSENT },
        { "absent stack", 0, SEG_SS, ABSENT, 12, ABSENT },
        { "outside the table", 0, SEG_ES, 0x100, 13, 0x100 },
        { "empty LDT", 0, SEG_ES, 0x0c, 13, 0x0c },
        { "TSS", 0, SEG_ES, TSS_SEL, 13, TSS_SEL },
        { "RPL 3 stack in ring 0", 0, SEG_SS, DATA0 | 3, 13, DATA0 },
        { "code as stack", 0, SEG_SS, CODE0, 13, CODE0 },
        { "ring 3 data in ring 0", 0, SEG_DS, DATA3, -1, 0 },
    };
    (void)unused;
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        struct cpu_rig *r = open_protected(t[n].ring);
        char code[2] = { '\x8e', (char)(0xc0 | t[n].seg << 3) };
        r->c.gpr[GPR_AX] = t[n].sel;
        enum cpu_step step = run(r, code, 2);
        int vector = step == STEP_FAULT ? entered(r) : -1;
        if (vector != t[n].vector) {
            fail_msg("%s: vector %d, expected %d", t[n].what, vector,
                     t[n].vector);
        }
        if (vector >= 0 && (int)stacked(r, 0) != t[n].code) {
            fail_msg("%s: error code %llx", t[n].what,
                     (unsigned long long)stacked(r, 0));
        }
        rig_close(r);
    }
}

static void null_segments_fault_when_used(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    (void)unused;
    assert_int_equal(RUN(r, "\x8e\xd8"), STEP_OK); /* mov ds, ax = 0 */
    assert_int_equal(RUN(r, "\xa1\x00\x00\x00\x00"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    rig_close(r);
}

static void call_gate_to_ring_0_copies_parameters(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    struct cpu *c = &r->c;
    (void)unused;
    put(r, STACK3, 4, 0x11111111);
    put(r, STACK3 + 4, 4, 0x22222222);
    /* call GATE:ignored */
    assert_int_equal(RUN(r, "\x9a\x99\x99\x99\x99\x4b\x00"), STEP_OK);
    assert_int_equal(c->rip, HANDLER);
    assert_int_equal(cpu_cpl(c), 0);
    assert_int_equal(stacked(r, 0), CODE + 7);
    assert_int_equal(stacked(r, 1), CODE3);
    assert_int_equal(stacked(r, 2), 0x11111111);
    assert_int_equal(stacked(r, 3), 0x22222222);
    assert_int_equal(stacked(r, 4), STACK3);
    assert_int_equal(stacked(r, 5), DATA3);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 24);
    assert_int_equal(RUN(r, "\xca\x08\x00"), STEP_OK); /* retf 8 */
    assert_int_equal(c->rip, CODE + 7);
    assert_int_equal(cpu_cpl(c), 3);
    assert_int_equal(c->gpr[GPR_SP], STACK3 + 8);
    rig_close(r);
}

static void far_jump_cannot_change_rings(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    assert_int_equal(RUN(r, "\xea\x00\x00\x00\x00\x08\x00"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), CODE0);
    rig_close(r);
    r = open_protected(3); /* conforming code runs at the caller's ring */
    assert_int_equal(RUN(r, "\xea\x00\x90\x00\x00\x70\x00"), STEP_OK);
    assert_int_equal(r->c.rip, 0x9000);
    assert_int_equal(cpu_cpl(&r->c), 3);
    assert_int_equal(r->c.seg[SEG_CS].sel, CONFORMING | 3);
    rig_close(r);
}

static void privileged_instructions_fault_in_ring_3(void **unused)
{
    static const struct {
        char bytes[4];
        uint8_t count;
    } t[] = {
        { "\xf4", 1 },         /* hlt */
        { "\x0f\x06", 2 },     /* clts */
        { "\x0f\x20\xc0", 3 }, /* mov eax, cr0 */
        { "\x0f\x22\xd8", 3 }, /* mov cr3, eax */
        { "\x0f\x32", 2 },     /* rdmsr */
        { "\x0f\x01\x10", 3 }, /* lgdt */
        { "\x0f\x00\xd8", 3 }, /* ltr */
        { "\x0f\x09", 2 },     /* wbinvd */
        { "\xfa", 1 },         /* cli, IOPL 0 */
        { "\xec", 1 },         /* in al, dx */
        { "\x0f\x01\x38", 3 }, /* invlpg */
    };
    (void)unused;
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        struct cpu_rig *r = open_protected(3);
        r->c.gpr[GPR_DX] = 0x60; /* the host's model after a reset */
        if (run(r, t[n].bytes, t[n].count) != STEP_FAULT)
            fail_msg("case %u: no fault", n);
        if (entered(r) != 13) fail_msg("case %u: vector %d", n, entered(r));
        assert_int_equal(stacked(r, 0), 0);
        rig_close(r);
    }
}

static void io_bitmap_opens_single_ports(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    r->ram[TSS + 0x88 + 0x60 / 8] = 0xfc; /* ports 60 and 61 */
    r->in_value = 0x5a;
    assert_int_equal(RUN(r, "\xe4\x60"), STEP_OK);
    assert_int_equal(r->c.gpr[GPR_AX] & 0xff, 0x5a);
    assert_int_equal(RUN(r, "\x66\xe5\x60"), STEP_OK);
    assert_int_equal(RUN(r, "\x66\xe5\x61"), STEP_FAULT); /* 62 is closed */
    assert_int_equal(entered(r), 13);
    rig_close(r);
}

static void popf_changes_what_the_ring_may(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    r->c.rflags |= FLAG_IF;
    put(r, STACK3, 4, 0x3002 | FLAG_CF | FLAG_NT | FLAG_ID | FLAG_VM);
    assert_int_equal(RUN(r, "\x9d"), STEP_OK);
    assert_int_equal(r->c.rflags, 2 | FLAG_CF | FLAG_NT | FLAG_ID | FLAG_IF);
    rig_close(r);
    r = open_protected(0);
    r->c.rflags |= FLAG_IF;
    put(r, STACK0 - 0x100, 4, 0x3002);
    assert_int_equal(RUN(r, "\x9d"), STEP_OK);
    assert_int_equal(r->c.rflags, 0x3002);
    rig_close(r);
}

static void a_fault_on_a_fault_is_double_then_shutdown(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    (void)unused;
    put(r, IDT + 13 * 8, 8, 0); /* #GP has no gate: #GP again, #DF */
    assert_int_equal(RUN(r, "\x0f\x22\xe0"), STEP_OK); /* mov cr4, eax */
    r->c.gpr[GPR_AX] = 0x80000000;
    assert_int_equal(RUN(r, "\x0f\x22\xe0"), STEP_FAULT);
    assert_int_equal(entered(r), 8);
    assert_int_equal(stacked(r, 0), 0);
    rig_close(r);
    r = open_protected(0);
    put(r, IDT + 13 * 8, 8, 0);
    put(r, IDT + 8 * 8, 8, 0);
    r->c.gpr[GPR_AX] = 0x80000000;
    assert_int_equal(RUN(r, "\x0f\x22\xe0"), STEP_SHUTDOWN);
    assert_int_equal(r->c.activity, CPU_SHUTDOWN);
    rig_close(r);
    r = open_protected(0); /* #UD is benign: the #GP of its gate counts */
    put(r, IDT + 6 * 8, 8, 0);
    assert_int_equal(RUN(r, "\x0f\x0b"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), 6 * 8 + 2 + 1); /* EXT */
    rig_close(r);
}

static void stack_faults_of_the_inner_ring_are_ts(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    put(r, TSS + 8, 4, DATA3); /* wrong ring */
    idt_gate(r, 10, CONFORMING, 14, 0);
    assert_int_equal(RUN(r, "\xcd\x20"), STEP_FAULT);
    assert_int_equal(entered(r), 10);
    assert_int_equal(stacked(r, 0), DATA3 & ~3);
    rig_close(r);
}

static void lar_lsl_and_verr_tell_by_zf(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    r->c.gpr[GPR_AX] = DATA3;
    assert_int_equal(RUN(r, "\x0f\x02\xc8"), STEP_OK); /* lar ecx, eax */
    assert_true(r->c.rflags & FLAG_ZF);
    assert_int_equal(r->c.gpr[GPR_CX], 0x00c0f300);
    assert_int_equal(RUN(r, "\x0f\x03\xc8"), STEP_OK); /* lsl */
    assert_int_equal(r->c.gpr[GPR_CX], UINT32_MAX);
    assert_int_equal(RUN(r, "\x0f\x00\xe8"), STEP_OK); /* verw ax */
    assert_true(r->c.rflags & FLAG_ZF);
    r->c.gpr[GPR_AX] = DATA0;
    assert_int_equal(RUN(r, "\x0f\x02\xc8"), STEP_OK);
    assert_false(r->c.rflags & FLAG_ZF);
    assert_int_equal(r->c.gpr[GPR_CX], UINT32_MAX);    /* kept */
    assert_int_equal(RUN(r, "\x0f\x00\xe0"), STEP_OK); /* verr ax */
    assert_false(r->c.rflags & FLAG_ZF);
    rig_close(r);
}

/* ---- tasks */

static void make_task(struct cpu_rig *r)
{
    put(r, TSS2 + 0x20, 4, HANDLER);
    put(r, TSS2 + 0x24, 4, 2 | FLAG_CF);
    put(r, TSS2 + 0x28, 4, 0xaaaa0001);     /* eax */
    put(r, TSS2 + 0x38, 4, STACK0 - 0x800); /* esp */
    put(r, TSS2 + 0x48, 2, DATA0);
    put(r, TSS2 + 0x4c, 2, CODE0);
    put(r, TSS2 + 0x50, 2, DATA0);
    put(r, TSS2 + 0x54, 2, DATA0);
}

static unsigned type_of(struct cpu_rig *r, unsigned sel)
{
    return (unsigned)get(r, GDT + sel + 5, 1) & 15;
}

static void call_to_a_tss_nests_and_iret_returns(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    struct cpu *c = &r->c;
    (void)unused;
    make_task(r);
    c->gpr[GPR_BX] = 0x12345678;
    assert_int_equal(RUN(r, "\x9a\x00\x00\x00\x00\x38\x00"), STEP_OK);
    assert_int_equal(c->rip, HANDLER);
    assert_int_equal(c->gpr[GPR_AX], 0xaaaa0001);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 0x800);
    assert_int_equal(c->tr.sel, TSS2_SEL);
    assert_int_equal(c->rflags, 2 | FLAG_CF | FLAG_NT);
    assert_true(c->cr0 & CR0_TS);
    assert_int_equal(get(r, TSS2, 2), TSS_SEL); /* back link */
    assert_int_equal(type_of(r, TSS2_SEL), 11); /* both busy */
    assert_int_equal(type_of(r, TSS_SEL), 11);
    assert_int_equal(get(r, TSS + 0x20, 4), CODE + 7);
    assert_int_equal(get(r, TSS + 0x34, 4), 0x12345678);
    assert_int_equal(c->seg[SEG_FS].attr & SEG_ATTR_P, 0);
    put(r, TSS + 0x24, 4, get(r, TSS + 0x24, 4));
    assert_int_equal(RUN(r, "\xcf"), STEP_OK);
    assert_int_equal(c->rip, CODE + 7);
    assert_int_equal(c->tr.sel, TSS_SEL);
    assert_int_equal(c->gpr[GPR_BX], 0x12345678);
    assert_false(c->rflags & FLAG_NT);
    assert_int_equal(type_of(r, TSS2_SEL), 9); /* available again */
    assert_int_equal(get(r, TSS2 + 0x24, 4) & FLAG_NT, 0);
    rig_close(r);
}

static void jump_to_a_tss_frees_the_old_one(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    (void)unused;
    make_task(r);
    /* through the task gate */
    assert_int_equal(RUN(r, "\xea\x00\x00\x00\x00\x80\x00"), STEP_OK);
    assert_int_equal(r->c.rip, HANDLER);
    assert_int_equal(type_of(r, TSS_SEL), 9);
    assert_int_equal(type_of(r, TSS2_SEL), 11);
    assert_false(r->c.rflags & FLAG_NT);
    /* A busy task cannot be entered. */
    assert_int_equal(RUN(r, "\xea\x00\x00\x00\x00\x38\x00"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    assert_int_equal(stacked(r, 0), TSS2_SEL);
    rig_close(r);
}

static void task_gate_in_the_idt_gets_the_error_code(void **unused)
{
    struct cpu_rig *r = open_protected(3);
    (void)unused;
    make_task(r);
    put(r, IDT + 13 * 8, 8, 0);
    gate(r, IDT + 8 * 8, TSS2_SEL, 0, 0x8500); /* #DF task */
    assert_int_equal(RUN(r, "\xf4"), STEP_FAULT);
    assert_int_equal(r->c.tr.sel, TSS2_SEL);
    assert_int_equal(r->c.rip, HANDLER);
    assert_int_equal(r->c.gpr[GPR_SP], STACK0 - 0x804);
    assert_int_equal(stacked(r, 0), 0);
    assert_true(r->c.rflags & FLAG_NT);
    assert_int_equal(get(r, TSS + 0x20, 4), CODE); /* on the HLT */
    rig_close(r);
}

/* ---- VM86 */

/* IRET from ring 0 to 1000:0100 with the given IOPL. */
static struct cpu_rig *open_vm86(unsigned iopl)
{
    struct cpu_rig *r = open_protected(0);
    struct cpu *c = &r->c;
    static const unsigned segs[] = { 0x2000, 0x3000, 0x4000, 0x5000, 0x6000 };
    unsigned sp = STACK0 - 0x100;
    put(r, sp, 4, 0x100);
    put(r, sp + 4, 4, 0x1000);
    put(r, sp + 8, 4, FLAG_VM | FLAG_IF | 2 | iopl << 12);
    put(r, sp + 12, 4, 0x800);
    for (unsigned n = 0; n < 5; n++) {
        put(r, sp + 16 + 4 * n, 4, segs[n]);
    }
    assert_int_equal(RUN(r, "\xcf"), STEP_OK);
    assert_true(c->rflags & FLAG_VM);
    assert_int_equal(cpu_cpl(c), 3);
    assert_int_equal(c->seg[SEG_CS].base, 0x10000);
    assert_int_equal(c->seg[SEG_SS].base, 0x20000);
    assert_int_equal(c->seg[SEG_ES].base, 0x30000);
    assert_int_equal(c->seg[SEG_GS].base, 0x60000);
    assert_int_equal(c->rip, 0x100);
    assert_int_equal(c->gpr[GPR_SP], 0x800);
    return r;
}

static void vm86_int_enters_ring_0_with_nine_words(void **unused)
{
    struct cpu_rig *r = open_vm86(3);
    struct cpu *c = &r->c;
    (void)unused;
    assert_int_equal(RUN(r, "\xcd\x21"), STEP_OK);
    assert_int_equal(entered(r), 0x21);
    assert_false(c->rflags & FLAG_VM);
    assert_int_equal(cpu_cpl(c), 0);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 36);
    assert_int_equal(stacked(r, 0), 0x102);
    assert_int_equal(stacked(r, 1), 0x1000);
    assert_true(stacked(r, 2) & FLAG_VM);
    assert_int_equal(stacked(r, 3), 0x800);
    assert_int_equal(stacked(r, 4), 0x2000);
    assert_int_equal(stacked(r, 5), 0x3000);
    assert_int_equal(stacked(r, 8), 0x6000);
    assert_int_equal(c->seg[SEG_DS].attr & SEG_ATTR_P, 0);
    rig_close(r);
}

static void vm86_without_iopl_traps_sensitive_instructions(void **unused)
{
    static const char *const t[] = { "\xcd\x21", "\xfa\x90", "\x9c\x90",
                                     "\x9d\x90", "\xcf\x90" };
    (void)unused;
    for (unsigned n = 0; n < 5; n++) {
        struct cpu_rig *r = open_vm86(0);
        assert_int_equal(run(r, t[n], 2), STEP_FAULT);
        assert_int_equal(entered(r), 13);
        assert_int_equal(stacked(r, 0), 0);
        assert_int_equal(stacked(r, 1), 0x100);
        rig_close(r);
    }
}

static void vme_redirects_int_n_to_the_8086_handler(void **unused)
{
    struct cpu_rig *r = open_vm86(0);
    struct cpu *c = &r->c;
    (void)unused;
    c->cr4 |= CR4_VME;
    r->ram[TSS + 0x88 - 32 + 0x21 / 8] &= (uint8_t) ~(1u << (0x21 & 7));
    put(r, 4 * 0x21, 4, 0x1000 << 16 | 0x555);
    c->rflags |= FLAG_VIF;
    assert_int_equal(RUN(r, "\xcd\x21"), STEP_OK);
    assert_true(c->rflags & FLAG_VM);
    assert_int_equal(c->rip, 0x555);
    assert_int_equal(c->gpr[GPR_SP], 0x800 - 6);
    assert_int_equal(get(r, 0x20000 + 0x800 - 6, 2), 0x102);
    /* The pushed image shows VIF as IF, and IOPL 3. */
    assert_int_equal(get(r, 0x20000 + 0x800 - 2, 2) & 0x3200, 0x3200);
    assert_false(c->rflags & FLAG_VIF);
    assert_int_equal(RUN(r, "\xfb"), STEP_OK); /* sti sets VIF */
    assert_true(c->rflags & FLAG_VIF);
    rig_close(r);
}

/* ---- long mode */

static struct cpu_rig *open_long(unsigned ring)
{
    struct cpu_rig *r = open_protected(ring);
    struct cpu *c = &r->c;
    enum { TABLES = 0x50000 };
    put(r, TABLES, 8, TABLES + 0x1000 + 7);
    put(r, TABLES + 0x1000, 8, TABLES + 0x2000 + 7);
    put(r, TABLES + 0x2000, 8, 0x87); /* 2 MiB identity */
    for (unsigned n = 0; n < 48; n++) {
        gate(r, IDT + 16 * n, CODE64, HANDLER + 16 * n,
             n >= 32 ? 0xee00 : 0x8e00);
        put(r, IDT + 16 * n + 8, 8, 0);
    }
    put(r, TSS + 4, 8, STACK0);
    put(r, TSS + 0x24, 8, STACK0 - 0x4008); /* IST1 */
    c->idt.limit = 48 * 16 - 1;
    c->cr3 = TABLES;
    c->cr4 = CR4_PAE;
    c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    c->cr0 |= CR0_PG | CR0_WP;
    c->seg[SEG_CS] = flat(ring ? CODE64_3 : CODE64, 0xa09b | ring << 5);
    return r;
}

static uint64_t stacked64(struct cpu_rig *r, unsigned n)
{
    return get(r, (unsigned)r->c.gpr[GPR_SP] + 8 * n, 8);
}

static void switch_to_long_mode(void **unused)
{
    struct cpu_rig *r = open_long(0);
    struct cpu *c = &r->c;
    (void)unused;
    c->cr0 = CR0_PE | CR0_ET;
    c->efer = 0;
    set_ring(r, 0);
    c->gpr[GPR_CX] = 0xc0000080;
    c->gpr[GPR_AX] = EFER_LME;
    c->gpr[GPR_DX] = 0; /* CPU signature after reset */
    assert_int_equal(RUN(r, "\x0f\x30"), STEP_OK); /* wrmsr */
    assert_false(c->efer & EFER_LMA);
    c->gpr[GPR_AX] = CR0_PE | CR0_PG;
    c->tr.attr = 0x8b;
    assert_int_equal(RUN(r, "\x0f\x22\xc0"), STEP_OK); /* mov cr0, eax */
    assert_true(c->efer & EFER_LMA);
    assert_false(cpu_is_code64(c)); /* compatibility mode */
    assert_int_equal(RUN(r, "\xea\x00\x90\x00\x00\x58\x00"), STEP_OK);
    assert_true(cpu_is_code64(c));
    assert_int_equal(c->rip, 0x9000);
    /* Paging cannot be left from 64-bit code. */
    c->gpr[GPR_AX] = CR0_PE;
    assert_int_equal(RUN(r, "\x0f\x22\xc0"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    rig_close(r);
}

static void long_mode_needs_pae(void **unused)
{
    struct cpu_rig *r = open_protected(0);
    (void)unused;
    r->c.efer = EFER_LME;
    r->c.gpr[GPR_AX] = CR0_PE | CR0_PG;
    assert_int_equal(RUN(r, "\x0f\x22\xc0"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    rig_close(r);
}

static void page_fault_in_long_mode_has_code_and_cr2(void **unused)
{
    struct cpu_rig *r = open_long(3);
    struct cpu *c = &r->c;
    (void)unused;
    c->gpr[GPR_BX] = 0x345678;
    assert_int_equal(RUN(r, "\x88\x03"), STEP_FAULT); /* mov [rbx], al */
    assert_int_equal(entered(r), 14);
    assert_int_equal(c->cr2, 0x345678);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 48);
    assert_int_equal(stacked64(r, 0), 6); /* write, user */
    assert_int_equal(stacked64(r, 1), CODE);
    assert_int_equal(stacked64(r, 2), CODE64_3);
    assert_int_equal(stacked64(r, 4), STACK3);
    assert_int_equal(c->seg[SEG_SS].sel, 0); /* null */
    assert_int_equal(cpu_cpl(c), 0);
    /* iretq after dropping the error code */
    c->gpr[GPR_SP] += 8;
    assert_int_equal(RUN(r, "\x48\xcf"), STEP_OK);
    assert_int_equal(cpu_cpl(c), 3);
    assert_int_equal(c->gpr[GPR_SP], STACK3);
    assert_int_equal(c->rip, CODE);
    rig_close(r);
}

static void ist_gives_a_known_stack_and_it_is_aligned(void **unused)
{
    struct cpu_rig *r = open_long(0);
    struct cpu *c = &r->c;
    (void)unused;
    r->ram[IDT + 16 * 6 + 4] = 1;
    c->gpr[GPR_SP] = 0x12345;
    assert_int_equal(RUN(r, "\x0f\x0b"), STEP_FAULT);
    assert_int_equal(entered(r), 6);
    assert_int_equal(c->gpr[GPR_SP], STACK0 - 0x4010 - 40);
    assert_int_equal(stacked64(r, 3), 0x12345);
    assert_int_equal(c->seg[SEG_SS].sel, DATA0); /* ring did not change */
    rig_close(r);
}

static void non_canonical_addresses_fault(void **unused)
{
    struct cpu_rig *r = open_long(0);
    (void)unused;
    r->c.gpr[GPR_BX] = (uint64_t)1 << 47;
    assert_int_equal(RUN(r, "\x8a\x03"), STEP_FAULT); /* mov al, [rbx] */
    assert_int_equal(entered(r), 13);
    rig_close(r);
    r = open_long(0);
    r->c.gpr[GPR_BP] = (uint64_t)1 << 47;
    idt_gate(r, 0, 0, 0, 0);
    assert_int_equal(RUN(r, "\x8a\x45\x00"), STEP_FAULT); /* [rbp] */
    assert_int_equal(entered(r), 12);
    rig_close(r);
}

static void syscall_and_sysret(void **unused)
{
    struct cpu_rig *r = open_long(3);
    struct cpu *c = &r->c;
    (void)unused;
    c->star = (uint64_t)CODE64 << 32 | (uint64_t)(CODE3 & ~3) << 48;
    c->lstar = 0xa000;
    c->fmask = FLAG_IF | FLAG_TF;
    c->rflags = 2 | FLAG_IF | FLAG_CF;
    c->gpr[GPR_SP] = 0x777;
    assert_int_equal(RUN(r, "\x0f\x05"), STEP_OK);
    assert_int_equal(c->rip, 0xa000);
    assert_int_equal(cpu_cpl(c), 0);
    assert_int_equal(c->gpr[GPR_CX], CODE + 2);
    assert_int_equal(c->gpr[GPR_R11], 2 | FLAG_IF | FLAG_CF);
    assert_int_equal(c->rflags, 2 | FLAG_CF);
    assert_int_equal(c->seg[SEG_CS].sel, CODE64);
    assert_int_equal(c->seg[SEG_SS].sel, CODE64 + 8);
    assert_int_equal(c->gpr[GPR_SP], 0x777);
    assert_int_equal(RUN(r, "\x48\x0f\x07"), STEP_OK); /* sysretq */
    assert_int_equal(c->rip, CODE + 2);
    assert_int_equal(cpu_cpl(c), 3);
    assert_true(cpu_is_code64(c));
    assert_int_equal(c->seg[SEG_CS].sel, (CODE3 & ~3) + 16 + 3);
    assert_int_equal(c->seg[SEG_SS].sel, (CODE3 & ~3) + 8 + 3);
    assert_int_equal(c->rflags, 2 | FLAG_IF | FLAG_CF);
    rig_close(r);
}

static void swapgs_and_gs_base(void **unused)
{
    struct cpu_rig *r = open_long(0);
    struct cpu *c = &r->c;
    (void)unused;
    c->kernel_gs_base = 0x8100;
    c->seg[SEG_GS].base = 0x1111;
    assert_int_equal(RUN(r, "\x0f\x01\xf8"), STEP_OK);
    assert_int_equal(c->seg[SEG_GS].base, 0x8100);
    assert_int_equal(c->kernel_gs_base, 0x1111);
    put(r, 0x8110, 8, 0x1122334455667788);
    /* mov rax, gs:[0x10] */
    assert_int_equal(RUN(r, "\x65\x48\x8b\x04\x25\x10\x00\x00\x00"), STEP_OK);
    assert_int_equal(c->gpr[GPR_AX], 0x1122334455667788);
    rig_close(r);
}

static void unknown_msrs_fault(void **unused)
{
    struct cpu_rig *r = open_long(0);
    (void)unused;
    r->c.gpr[GPR_CX] = 0x12345;
    assert_int_equal(RUN(r, "\x0f\x32"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    rig_close(r);
    r = open_long(0);
    r->c.gpr[GPR_CX] = 0xc0000102; /* KERNEL_GS_BASE: canonical only */
    r->c.gpr[GPR_DX] = 0x80000000;
    assert_int_equal(RUN(r, "\x0f\x30"), STEP_FAULT);
    assert_int_equal(entered(r), 13);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_is_the_sdm_table),
        cmocka_unit_test(real_mode_int_and_iret),
        cmocka_unit_test(real_mode_faults_come_back_to_the_instruction),
        cmocka_unit_test(single_step_traps_after_the_instruction),
        cmocka_unit_test(sti_and_mov_ss_hold_interrupts_for_one_instruction),
        cmocka_unit_test(hlt_waits_and_an_interrupt_wakes),
        cmocka_unit_test(switch_to_protected_mode),
        cmocka_unit_test(interrupt_from_ring_3_switches_stacks),
        cmocka_unit_test(int_n_obeys_the_gate),
        cmocka_unit_test(segment_loads_are_checked),
        cmocka_unit_test(null_segments_fault_when_used),
        cmocka_unit_test(call_gate_to_ring_0_copies_parameters),
        cmocka_unit_test(far_jump_cannot_change_rings),
        cmocka_unit_test(privileged_instructions_fault_in_ring_3),
        cmocka_unit_test(io_bitmap_opens_single_ports),
        cmocka_unit_test(popf_changes_what_the_ring_may),
        cmocka_unit_test(a_fault_on_a_fault_is_double_then_shutdown),
        cmocka_unit_test(stack_faults_of_the_inner_ring_are_ts),
        cmocka_unit_test(lar_lsl_and_verr_tell_by_zf),
        cmocka_unit_test(call_to_a_tss_nests_and_iret_returns),
        cmocka_unit_test(jump_to_a_tss_frees_the_old_one),
        cmocka_unit_test(task_gate_in_the_idt_gets_the_error_code),
        cmocka_unit_test(vm86_int_enters_ring_0_with_nine_words),
        cmocka_unit_test(vm86_without_iopl_traps_sensitive_instructions),
        cmocka_unit_test(vme_redirects_int_n_to_the_8086_handler),
        cmocka_unit_test(switch_to_long_mode),
        cmocka_unit_test(long_mode_needs_pae),
        cmocka_unit_test(page_fault_in_long_mode_has_code_and_cr2),
        cmocka_unit_test(ist_gives_a_known_stack_and_it_is_aligned),
        cmocka_unit_test(non_canonical_addresses_fault),
        cmocka_unit_test(syscall_and_sysret),
        cmocka_unit_test(swapgs_and_gs_base),
        cmocka_unit_test(unknown_msrs_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
