/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine, events, handler and setting up for the test of SMM. */
#include "smmtest.h"

struct box boxes[2];
static uint8_t smm_stack[2][8192] __attribute__((aligned(16)));
uint64_t idt[512] __attribute__((aligned(16)));
static char events[EVENTS + 1];
volatile uint32_t event_count, ud_count;
volatile uint64_t interrupted_rip;
uint16_t pm_base;
/* ---- machine */

uint8_t conf_read(unsigned devfn, unsigned at)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (at & ~3u));
    return inb(0xcfc + (at & 3));
}

void conf_write(unsigned devfn, unsigned at, uint8_t v)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (at & ~3u));
    outb(0xcfc + (at & 3), v);
}

static volatile uint32_t *const apic = (uint32_t *)0xfee00000;

void wait_us(unsigned us) /* about: a port takes a microsecond */
{
    for (unsigned n = 0; n < us; n++) {
        inb(0x80);
    }
}

void send(unsigned to, uint32_t v)
{
    apic[0x310 / 4] = to << 24;
    apic[0x300 / 4] = v;
    while (apic[0x300 / 4] & 0x1000) {
    }
}

bool wait_for(const volatile uint32_t *p, uint32_t least)
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

void event(char c)
{
    if (boxes[this_cpu()].is_inside) c |= 0x20;
    unsigned n = __sync_fetch_and_add(&event_count, 1);
    if (n < EVENTS) events[n] = c;
}

void forget(void)
{
    for (unsigned n = 0; n < EVENTS; n++) {
        events[n] = 0;
    }
    event_count = 0;
    interrupted_rip = 0;
}

void check_events(const char *name, const char *want)
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

bool nmi_raises_smi;

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

uint64_t kept(const struct box *b, unsigned back, unsigned at, unsigned bytes)
{
    const uint8_t *p = b->area[(b->count - 1 - back) % AREAS] + (at - 0xfe00);
    uint64_t v = 0;
    for (unsigned n = bytes; n--;) {
        v = v << 8 | p[n];
    }
    return v;
}

/* ---- setting up */

void set_idt(void)
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

void set_box(unsigned n, uint32_t smbase)
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

void install(unsigned n, uint32_t smbase)
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

void set_up(void)
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

void smi(void)
{
    for (unsigned n = 0; n < 16; n++) {
        regs_before[n] = 0x0123456789abcdef * (n + 1);
    }
    flags_before = 0x8d7 | 2; /* OF SF ZF AF PF CF */
    smi_all();
}

void smi_none(void)
{
    outb(0xb2, 3);
    wait_us(100);
}
