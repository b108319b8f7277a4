/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System management mode on the i440FX: SDM volume 3C chapter 31, AMD APM
 * volume 2 chapter 10 (table 10-1: the save area), the data sheets of 82441FX
 * (SMRAM, 72h) and 82371AB (DEVACTB, GLBCTL, APMC).  SeaBIOS has been here and
 * left its handler at A0000h, which this test replaces.
 *
 * The handler (smm.S) notes the state it finds, goes to 64-bit mode and calls
 * smi_main(), which keeps the save area and lets the case at hand do the rest.
 * What happens is written down as letters: S an SMI, N an NMI, I an interrupt,
 * each small when it comes in SMM.
 */
#include "../cputest/report.h"

enum { AREA_BYTES = 512, AREAS = 8, EVENTS = 16 };

struct box { /* one of each processor; smm.S knows the first fields */
    uint32_t esp;
    uint16_t sel[6];
    uint32_t flags, cr0, cr4, dr7, efer, stack16;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint16_t pad;
    uint32_t way, way_sel, stack;
    uint32_t smbase, count;
    volatile uint32_t is_inside;
    void (*act)(struct box *b); /* in SMM */
    uint8_t area[AREAS][AREA_BYTES];
} __attribute__((packed, aligned(16)));

struct frame { /* as the stubs of start64.S push it */
    uint64_t r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};

extern uint64_t gdt[], gdt_end[];
extern uint64_t regs_before[16], regs_after[16], flags_before, flags_after;
extern const uint8_t ap_code[], ap_code_end[], smi_entry[], smi_box[],
    smi_entry_end[], real_code[], real_code_end[], stubs[];
extern const char smi_way[], smi_spin[], smi_next[], smi_other[], smi_compat[],
    smi_flat[], smi_pm16[], smi_real[];
void smi_all(void);
void smi_modes(void);
void unblock_nmi(void);
void smi_main(struct box *b);
void on_trap(struct frame *f);
void ap_main(void);
int main(void);

static struct box boxes[2];
static uint8_t smm_stack[2][8192] __attribute__((aligned(16)));
static uint64_t idt[512] __attribute__((aligned(16)));
static char events[EVENTS + 1];
static volatile uint32_t event_count;
static volatile unsigned ud_count, starts, order, is_late;
static volatile uint64_t ap_rounds, interrupted_rip;
static uint16_t pm_base;

/* ---- machine */

static inline void outl(unsigned port, uint32_t v)
{
    asm volatile("outl %0, %w1" : : "a"(v), "d"(port) : "memory");
}

static uint8_t conf_read(unsigned devfn, unsigned at)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (at & ~3u));
    return inb(0xcfc + (at & 3));
}

static void conf_write(unsigned devfn, unsigned at, uint8_t v)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (at & ~3u));
    outb(0xcfc + (at & 3), v);
}

enum { BRIDGE = 0, PM = 11, SMRAM = 0x72, DEVACTB3 = 0x5b, GLBCTL = 0x28 };
enum { C_BASE = 2, G_SMRAME = 8, D_LCK = 0x10, D_OPEN = 0x40 };

static volatile uint32_t *const apic = (uint32_t *)0xfee00000;

static void wait_us(unsigned us) /* about: a port takes a microsecond */
{
    for (unsigned n = 0; n < us; n++) {
        inb(0x80);
    }
}

static void send(unsigned to, uint32_t v)
{
    apic[0x310 / 4] = to << 24;
    apic[0x300 / 4] = v;
    while (apic[0x300 / 4] & 0x1000) {
    }
}

enum { FIXED = 0x4040, SMI = 0x4200, NMI = 0x4400, INIT = 0x4500 };
enum { STARTUP = 0x4608 };

static bool wait_for(const volatile uint32_t *p, uint32_t least)
{
    for (unsigned n = 0; n < 5000000; n++) {
        if (*p >= least) return true;
        inb(0x80);
    }
    return false;
}

/* ---- events */

static unsigned this_cpu(void)
{
    return apic[0x20 / 4] >> 24;
}

static void event(char c)
{
    if (boxes[this_cpu()].is_inside) c |= 0x20;
    unsigned n = __sync_fetch_and_add(&event_count, 1);
    if (n < EVENTS) events[n] = c;
}

static void forget(void)
{
    for (unsigned n = 0; n < EVENTS; n++) {
        events[n] = 0;
    }
    event_count = 0;
    interrupted_rip = 0;
}

static void check_events(const char *name, const char *want)
{
    uint64_t got = 0, as = 0;
    for (unsigned n = 0; n < 8 && events[n]; n++) {
        got = got << 8 | (uint8_t)events[n];
    }
    for (unsigned n = 0; want[n]; n++) {
        as = as << 8 | (uint8_t)want[n];
    }
    check(name, got, as);
}

static bool nmi_raises_smi;

void on_trap(struct frame *f)
{
    if (f->vector == 6) {
        ud_count++;
        f->rip += 2;
    } else if (f->vector == 2) {
        event('N');
        if (nmi_raises_smi) {
            nmi_raises_smi = false;
            outb(0xb2, 1);
            send(0, NMI); /* waits for IRET, SMI or not */
            wait_us(100);
            event('E');
        }
    } else if (f->vector == 0x40) {
        event('I');
        interrupted_rip = f->rip;
        apic[0xb0 / 4] = 0;
    } else {
        put("unexpected vector ");
        put_hex(f->vector);
        put(" at ");
        put_hex(f->rip);
        put("\n");
        for (;;) {
        }
    }
}

/* The save area, in SMM. */
static volatile void *live(const struct box *b, unsigned at)
{
    return (void *)(uint64_t)(b->smbase + at);
}
#define LIVE8(b, at)  (*(volatile uint8_t *)live(b, at))
#define LIVE64(b, at) (*(volatile uint64_t *)live(b, at))

/* Go on behind the jump to itself that waits for us. */
static void leave_spin(struct box *b)
{
    enum { JMP_SELF = 0xfeeb };
    const uint16_t *at = (uint16_t *)(LIVE64(b, 0xfe18) + LIVE64(b, 0xff78));
    if (*at == JMP_SELF) LIVE64(b, 0xff78) += 2;
}

void smi_main(struct box *b)
{
    const uint8_t *from = (uint8_t *)(uint64_t)(b->smbase + 0xfe00);
    b->is_inside = 0;
    event('S');
    b->is_inside = 1;
    for (unsigned n = 0; n < AREA_BYTES; n++) {
        b->area[b->count % AREAS][n] = from[n];
    }
    b->count++;
    leave_spin(b);
    if (b->act) b->act(b);
    b->is_inside = 0;
}

/* What was kept of the save area, of the SMI so many before the last. */
static uint64_t kept(const struct box *b, unsigned back, unsigned at,
                     unsigned bytes)
{
    const uint8_t *p = b->area[(b->count - 1 - back) % AREAS] + (at - 0xfe00);
    uint64_t v = 0;
    for (unsigned n = bytes; n--;) {
        v = v << 8 | p[n];
    }
    return v;
}

/* ---- setting up */

static void set_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) p = { sizeof(idt) - 1, (uint64_t)idt };
    for (unsigned n = 0; n < 256; n++) {
        uint64_t rip = (uint64_t)stubs + 16 * n;
        idt[2 * n] = (rip & 0xffff) | 8 << 16 | 0x8eull << 40 |
                     (rip >> 16 & 0xffff) << 48;
        idt[2 * n + 1] = rip >> 32;
    }
    asm volatile("lidt %0" : : "m"(p));
    apic[0xf0 / 4] = 0x1ff;
}

static void set_box(unsigned n, uint32_t smbase)
{
    struct box *b = &boxes[n];
    b->stack16 = 0x7000 - 0x800 * n;
    b->gdt_limit = (uint16_t)((uint8_t *)gdt_end - (uint8_t *)gdt - 1);
    b->gdt_base = (uint32_t)(uint64_t)gdt;
    b->way = (uint32_t)(uint64_t)smi_way;
    b->way_sel = 8;
    b->stack = (uint32_t)(uint64_t)smm_stack[n] + sizeof(smm_stack[n]) - 8;
    b->smbase = smbase;
}

static void install(unsigned n, uint32_t smbase)
{
    uint8_t *to = (uint8_t *)(uint64_t)smbase + 0x8000;
    for (const uint8_t *p = smi_entry; p != smi_entry_end; p++) {
        to[p - smi_entry] = *p;
    }
    *(volatile uint32_t *)(to + (smi_box - smi_entry)) =
        (uint32_t)(uint64_t)&boxes[n];
    for (unsigned i = 0; i < AREA_BYTES; i++) {
        to[0x7e00 + i] = 0xa5;
    }
}

static void set_up(void)
{
    section("SMRAM");
    conf_write(BRIDGE, SMRAM, C_BASE | D_OPEN | G_SMRAME);
    check("C_BASE_SEG reads 010", conf_read(BRIDGE, SMRAM) & 7, C_BASE);
    set_box(0, 0xa0000);
    install(0, 0xa0000);
    *(volatile uint32_t *)0xb8000 = 0x600df00d;
    conf_write(BRIDGE, SMRAM, C_BASE | G_SMRAME);
    *(volatile uint32_t *)0xb8000 = 0x07410742;
    pm_base =
        (uint16_t)(conf_read(PM, 0x40) | conf_read(PM, 0x41) << 8) & 0xffc0;
    conf_write(PM, DEVACTB3, conf_read(PM, DEVACTB3) | 2);
    outl(pm_base + GLBCTL, 1);
}

static void smi(void)
{
    for (unsigned n = 0; n < 16; n++) {
        regs_before[n] = 0x0123456789abcdef * (n + 1);
    }
    flags_before = 0x8d7 | 2; /* OF SF ZF AF PF CF */
    smi_all();
}

static void smi_none(void)
{
    outb(0xb2, 3);
    wait_us(100);
}

/* ---- the cases */

static uint32_t smram_seen;

static void look_at_smram(struct box *b)
{
    (void)b;
    smram_seen = *(volatile uint32_t *)0xb8000;
    *(volatile uint32_t *)0xb8000 = 0x600d0002;
}

static void visibility(void)
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

static void entry_state(void)
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

static void save_area(void)
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

static void changes(void)
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

static void modes(void)
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

static void raise_again(struct box *b)
{
    (void)b;
    if (boxes[0].count & 1) return;
    outb(0xb2, 2);
    wait_us(100);
    event('X');
}

static void raise_nmi(struct box *b)
{
    (void)b;
    send(0, NMI);
    wait_us(100);
    event('X');
}

static void raise_nmi_and_iret(struct box *b)
{
    raise_nmi(b);
    unblock_nmi();
    wait_us(100);
    event('Y');
}

static void enable_interrupts(struct box *b)
{
    send(0, FIXED);
    wait_us(100);
    event('X');
    LIVE64(b, 0xff70) |= 0x200;
}

static uint32_t was_late;

static void look_at_late(struct box *b)
{
    (void)b;
    was_late = is_late;
}

static void pending(void)
{
    struct box *b = &boxes[0];

    section("events");
    if (b->count & 1) smi();
    /* the count is even, and odd at the second of two */
    b->count |= 1;
    b->act = raise_again;
    forget();
    smi();
    check_events("a second SMI waits for RSM", "SxS");
    check("and comes before the next instruction", kept(b, 0, 0xff78, 8),
          (uint64_t)smi_next);
    b->act = raise_nmi;
    forget();
    smi();
    check_events("an NMI waits for RSM", "SxN");
    b->act = raise_nmi_and_iret;
    forget();
    smi();
    check_events("but not after IRET", "Sxny");
    b->act = NULL;
    forget();
    nmi_raises_smi = true;
    send(0, NMI);
    wait_us(1000);
    check_events("RSM in an NMI's handler keeps NMIs blocked", "NSEN");
    b->act = enable_interrupts;
    forget();
    smi();
    check_events("an interrupt waits for RSM and IF", "SxI");
    check("and comes at once then", interrupted_rip, (uint64_t)smi_next);
    b->act = NULL;
    forget();
    send(0, FIXED);
    wait_us(100);
    asm volatile("sti; outb %%al, $0xb2; 1: jmp 1b; cli" : : "a"(1));
    check_events("an SMI comes before an interrupt", "SI");
    b->act = look_at_late;
    asm volatile("outb %%al, $0xb2; movl $1, %0" : "+m"(is_late) : "a"(1));
    wait_us(100);
    check("and before the instruction after OUT", was_late, 0);
    b->act = NULL;
}

static void enabling(void)
{
    uint32_t before = boxes[0].count;

    section("PIIX4");
    conf_write(PM, DEVACTB3, conf_read(PM, DEVACTB3) & ~2);
    smi_none();
    check("without APMC_EN there is no SMI", boxes[0].count - before, 0);
    check("APMC reads back", inb(0xb2), 3);
    conf_write(PM, DEVACTB3, conf_read(PM, DEVACTB3) | 2);
    outl(pm_base + GLBCTL, 0);
    smi_none();
    check("without SMI_EN there is none", boxes[0].count - before, 0);
    outl(pm_base + GLBCTL, 1);
    before = boxes[0].count;
    smi();
    check("with both there is", boxes[0].count - before, 1);
    outb(0xb3, 0x5a);
    check("APMS is a register", inb(0xb3), 0x5a);
}

static uint32_t new_smbase;

static void move(struct box *b)
{
    *(volatile uint32_t *)live(b, 0xff00) = new_smbase;
    b->smbase = new_smbase;
    b->act = NULL;
}

static void relocation(void)
{
    struct box *b = &boxes[0];

    section("relocation");
    install(0, 0x3030000);
    new_smbase = 0x3030000;
    b->act = move;
    smi();
    check("takes effect at RSM", b->sel[1], 0xa000);
    smi();
    check("the next SMI is there", b->sel[1], 0x3000);
    check("with its own area", kept(b, 0, 0xff78, 8), (uint64_t)smi_spin);
    check("that tells it", kept(b, 0, 0xff00, 4), 0x3030000);
    new_smbase = 0xa0000;
    b->act = move;
    smi();
    smi();
    check("and back", b->sel[1], 0xa000);
}

/* In SMM until somebody writes a character, for tests from outside. */
static void stay(struct box *b)
{
    b->act = NULL;
    put("in SMM\n");
    while (!(inb(0x3fd) & 1)) {
    }
    inb(0x3f8);
    put("leaving SMM\n");
}

/* ---- two processors */

/* WAKE_LATE: when the other one has left HLT already. */
enum { REST, WAKE, WAKE_LATE };

void ap_main(void)
{
    set_idt();
    __sync_fetch_and_add(&starts, 1);
    for (;;) {
        unsigned what = order;
        ap_rounds++;
        if (what != REST) {
            uint32_t before = boxes[0].count;
            wait_us(20000); /* the other one halts meanwhile */
            send(0, SMI);
            wait_for(&boxes[0].count, before + 1);
            if (what == WAKE_LATE) wait_for(&event_count, 2);
            wait_us(20000);
            send(0, FIXED);
            order = REST;
        }
        asm volatile("pause");
    }
}

static void start_ap(void)
{
    unsigned before = starts;
    for (const uint8_t *p = ap_code; p != ap_code_end; p++) {
        ((uint8_t *)0x8000)[p - ap_code] = *p;
    }
    send(1, INIT);
    wait_us(10000);
    send(1, STARTUP);
    check("starts", wait_for(&starts, before + 1), 1);
}

/* Again if the SMI came before HLT, which a busy host may bring about. */
static void wake_from_hlt(const char *name, unsigned how, const char *want)
{
    for (unsigned n = 0; n < 20; n++) {
        forget();
        order = how;
        asm volatile("sti; hlt");
        event('H');
        while (order != REST) {
            asm volatile("pause");
        }
        wait_us(1000);
        asm volatile("cli");
        if (kept(&boxes[0], 0, 0xfec9, 1)) break;
    }
    check_events(name, want);
}

static void no_restart(struct box *b)
{
    LIVE8(b, 0xfec9) = 0;
}

static void halting(void)
{
    section("HLT");
    wake_from_hlt("RSM returns to it", WAKE, "SIH");
    check("the save area says so", kept(&boxes[0], 0, 0xfec9, 1), 1);
    boxes[0].act = no_restart;
    wake_from_hlt("or goes on behind it", WAKE_LATE, "SHI");
    boxes[0].act = NULL;
}

static volatile uint32_t has_come[2];

/* Neither leaves before the other is there. */
static void wait_for_other(struct box *b)
{
    unsigned n = b == &boxes[1];
    has_come[n] = 1;
    if (n == 0) send(1, SMI);
    b->act = NULL;
    if (wait_for(&has_come[!n], 1)) event('T');
}

static volatile uint32_t rounds_in_smm, is_released;

static void hold(struct box *b)
{
    (void)b;
    while (!is_released) {
        rounds_in_smm++;
        inb(0x80);
    }
}

static void wait_out(struct box *b)
{
    for (unsigned n = 0; n < 5000000 && b->is_inside; n++) {
        inb(0x80);
    }
    b->is_inside = 0; /* INIT may have torn it out */
}

static bool ap_runs(void)
{
    uint64_t before = ap_rounds;
    wait_us(20000);
    return ap_rounds != before;
}

static void two_processors(void)
{
    struct box *b = &boxes[1];
    uint32_t before;

    section("second processor");
    start_ap();
    set_box(1, 0x30000);
    install(1, 0x30000);
    install(1, 0x60000);
    new_smbase = 0x60000;
    b->act = move;
    send(1, SMI);
    check("takes an SMI from the bus", wait_for(&b->count, 1), 1);
    check("at SMBASE 30000", b->sel[1], 0x3000);
    check("of its own", boxes[0].smbase, 0xa0000);
    wait_out(b);
    send(1, SMI);
    wait_for(&b->count, 2);
    check("and moves it", b->sel[1], 0x6000);
    wait_out(b);
    b->act = boxes[0].act = wait_for_other;
    forget();
    smi();
    wait_for(&event_count, 4);
    check("both are in SMM at once", event_count, 4);
    wait_out(b);
    before = b->count;
    b->act = hold;
    send(1, SMI);
    wait_for(&b->count, before + 1);
    send(1, INIT);
    wait_us(20000);
    check("INIT waits in SMM", wait_for(&rounds_in_smm, rounds_in_smm + 1), 1);
    is_released = 1;
    wait_out(b);
    wait_us(20000);
    check("and is taken at RSM", ap_runs(), false);
    b->act = NULL;
    start_ap();
    before = b->count;
    send(1, SMI);
    wait_for(&b->count, before + 1);
    check("INIT keeps SMBASE", b->sel[1], 0x6000);
    halting();
}

static void locking(void)
{
    section("SMRAM");
    conf_write(BRIDGE, SMRAM, C_BASE | D_OPEN | D_LCK | G_SMRAME);
    check("D_LCK clears D_OPEN", conf_read(BRIDGE, SMRAM),
          C_BASE | D_LCK | G_SMRAME);
    conf_write(BRIDGE, SMRAM, C_BASE | D_OPEN);
    check("nothing opens it then", conf_read(BRIDGE, SMRAM),
          C_BASE | D_LCK | G_SMRAME);
    check("the screen is there", *(volatile uint32_t *)0xb8000, 0x07410742);
    boxes[0].act = look_at_smram;
    smi();
    check("and SMM still works", smram_seen, 0x600d0002);
}

static void break_cr4(struct box *b)
{
    LIVE64(b, 0xff48) |= 1ul << 31;
}

/* RSM to a CR4 with reserved bits shuts the processor down. */
static void end(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    report_before_reset();
    boxes[0].act = break_cr4;
    if (!is_asked("no-shutdown")) smi();
    asm volatile("lidt %0; ud2" : : "m"(none));
}

int main(void)
{
    report_open();
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    set_idt();
    set_up();
    if (is_asked("stay")) {
        boxes[0].act = stay;
        smi();
        check("stays no longer than asked to", boxes[0].count, 1);
        end();
    }
    visibility();
    entry_state();
    save_area();
    changes();
    modes();
    pending();
    enabling();
    relocation();
    two_processors();
    locking();
    end();
    return 0;
}
