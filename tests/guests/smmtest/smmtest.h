/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SMMTEST_H
#define SMMTEST_H

#include "../cputest/report.h"

/* What the files of the test of system management mode share. */

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

extern struct box boxes[2];
extern volatile uint32_t event_count, ud_count;
extern volatile uint64_t interrupted_rip;
extern bool nmi_raises_smi; /* the next one, in its handler */
extern uint16_t pm_base;
extern uint64_t idt[512];

/* ---- machine */

enum { BRIDGE = 0, PM = 11, SMRAM = 0x72, DEVACTB3 = 0x5b, GLBCTL = 0x28 };
enum { C_BASE = 2, G_SMRAME = 8, D_LCK = 0x10, D_OPEN = 0x40 };
enum { FIXED = 0x4040, SMI = 0x4200, NMI = 0x4400, INIT = 0x4500 };
enum { STARTUP = 0x4608 };

static inline void outl(unsigned port, uint32_t v)
{
    asm volatile("outl %0, %w1" : : "a"(v), "d"(port) : "memory");
}

uint8_t conf_read(unsigned devfn, unsigned at);
void conf_write(unsigned devfn, unsigned at, uint8_t v);
void wait_us(unsigned us);          /* about: a port takes a microsecond */
void send(unsigned to, uint32_t v); /* an interprocessor interrupt */
/* Until *p is at least that; false: for too long. */
bool wait_for(const volatile uint32_t *p, uint32_t least);

/* ---- events */

void event(char c);
void forget(void);
void check_events(const char *name, const char *want);

/* ---- the save area */

/* The save area, in SMM. */
static inline volatile void *live(const struct box *b, unsigned at)
{
    return (void *)(uint64_t)(b->smbase + at);
}
#define LIVE8(b, at)  (*(volatile uint8_t *)live(b, at))
#define LIVE64(b, at) (*(volatile uint64_t *)live(b, at))

/* What was kept of it, of the SMI so many before the last. */
uint64_t kept(const struct box *b, unsigned back, unsigned at, unsigned bytes);

/* ---- setting up */

void set_idt(void);
void set_box(unsigned n, uint32_t smbase);
void install(unsigned n, uint32_t smbase);
void set_up(void);
void smi(void);      /* with all registers set */
void smi_none(void); /* where none is expected */

/* ---- cases (area.c) */

extern uint32_t smram_seen;
void look_at_smram(struct box *b);
void visibility(void);
void entry_state(void);
void save_area(void);
void changes(void);
void modes(void);

#endif
