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
#include "smmtest.h"

int main(void);

static volatile unsigned starts, order, is_late;
static volatile uint64_t ap_rounds;

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
