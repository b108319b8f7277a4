/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/*
 * Guest code in any mode: whatever is executed, the software CPU comes back
 * when it is asked to, and the process lives.  Octet 0 of the input is the mode,
 * octet 1 what is broken around the code, the rest code; registers, memory,
 * descriptors and page tables follow from the input.  A run of 20 s ends the
 * process.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support/soft_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* The one machine is kept to the end, in mappings that are not searched for
 * pointers to what it has allocated. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum { CODE = 0x20000, LOW = 0x10000, HIGH = 0x80000, STUCK_S = 20 };
enum { REAL, PROTECTED16, PROTECTED32, VM86, COMPAT, LONG, MODES };
enum { BREAK_TABLES = 1, RING3 = 2, SMALL_LIMITS = 4, TRAPS = 8, NMIS = 16 };

static struct soft_rig *rig;
static _Atomic bool wants_nmi;
static uint64_t state;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1d;
}

/* Asks for the CPU's attention all the time, as a machine's stop does. */
static void *tick(void *arg)
{
    struct vcpu *v = arg;

    for (;;) {
        usleep(2000);
        vcpu_raise(v, VCPU_EXIT | (wants_nmi ? VCPU_NMI : 0));
    }
    return NULL;
}

static void open_rig(void)
{
    struct soft_options o = { .cache_bytes = 4 << 20 };
    pthread_t t;

    rig = rig_new(&o);
    if (pthread_create(&t, NULL, tick, &rig->v) != 0) abort();
}

static void fill_memory(const uint8_t *code, size_t bytes)
{
    uint8_t *ram = rig->ram.host;

    for (unsigned n = LOW; n < HIGH; n += 8) {
        uint64_t v = rnd();
        memcpy(ram + n, &v, 8);
    }
    for (unsigned n = 0; n < 4; n++) { /* again and again */
        memcpy(ram + CODE + 0x1000 * n - 7 * n, code, bytes);
    }
    for (unsigned n = 0; n < 256; n++) { /* gates that lead to the code */
        uint64_t to = CODE + (rnd() & 0x3f), type = rnd() & 1 ? 0xee : 0x8f;
        uint64_t gate = (to & 0xffff) | 8 << 16 | type << 40 | (to >> 16) << 48;
        uint64_t vector = CODE >> 4 << 16;
        if (rnd() % 8 == 0) gate ^= 1ull << (rnd() & 63);
        memcpy(ram + RIG_IDT + 16 * n % 0x1000, &gate, 8);
        memcpy(ram + 4 * n, &vector, 4);
    }
    vm_lock(rig->vm);
    soft_code_written(rig->soft, 0, RIG_RAM);
    vm_unlock(rig->vm);
}

static void set_mode(unsigned mode, unsigned broken)
{
    struct cpu *c = rig->c;
    unsigned bits = mode == REAL ? 16 : mode >= COMPAT ? 64 : 32;
    unsigned ring = (broken & RING3) && mode != REAL ? 3 : 0;

    rig_mode(rig, bits, CODE);
    for (unsigned n = 0; n < 16; n++) {
        c->gpr[n] = rnd() & 1 ? rnd() : rnd() & 0xfffff;
        if (mode != LONG) c->gpr[n] = (uint32_t)c->gpr[n];
    }
    c->gpr[GPR_SP] = RIG_STACK - 8 * (rnd() & 0xff);
    c->rflags = (rnd() & 0x244ed5) | 2 | (broken & TRAPS ? FLAG_TF : 0);
    c->cr4 |= rnd() & (CR4_VME | CR4_DE | CR4_PGE);
    c->gdt.limit = 0xff;
    c->tr = (struct cpu_segment){ 0x28, 0x8b, 0x400, LOW };
    if (mode == REAL || mode == VM86) {
        c->rip = 0;
        c->gpr[GPR_SP] &= 0xffff;
    }
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        struct cpu_segment *s = &c->seg[n];

        if (mode == REAL || mode == VM86) {
            s->sel = CODE >> 4;
            s->base = CODE;
            s->limit = 0xffff;
        }
        if (mode == VM86) s->attr = 0xf3;
        if (mode == PROTECTED16) s->attr &= (uint16_t)~SEG_ATTR_DB;
        s->attr |= (uint16_t)(ring << 5);
        if (n != SEG_CS && (broken & SMALL_LIMITS)) s->limit = 0x7ffff;
    }
    if (mode == VM86) c->rflags |= FLAG_VM;
    if (mode == COMPAT) {
        c->seg[SEG_CS].attr ^= SEG_ATTR_L | SEG_ATTR_DB;
    }
    if (broken & TRAPS) {
        for (unsigned n = 0; n < 4; n++) {
            c->dr[n] = LOW + rnd() % (HIGH - LOW);
        }
        c->dr[7] = (rnd() & 0xffff00ff) | 0x400;
    }
    if (broken & BREAK_TABLES) {
        for (unsigned n = 0; n < 8; n++) {
            uint8_t *e = rig->ram.host + RIG_TABLES + 0x2000 + 8 * (rnd() & 7);
            e[rnd() & 7] ^= (uint8_t)(1u << (rnd() & 7));
        }
    }
    soft_state_changed(rig->eng);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 3) return 0;
    if (rig == NULL) open_rig();
    state = 0x9e3779b97f4a7c15;
    for (size_t n = 0; n < bytes; n++) {
        state = (state ^ data[n]) * 1099511628211u;
    }
    state |= 1;
    if (bytes > 0xf00) bytes = 0xf00;
    fill_memory(data + 2, bytes - 2);
    set_mode(data[0] % MODES, data[1]);
    wants_nmi = data[1] & NMIS;
    alarm(STUCK_S);
    for (unsigned n = 0; n < 3; n++) {
        if (soft_run(rig->eng) == SOFT_EXIT_ERROR) abort();
        rig->c->activity = CPU_ACTIVE;
    }
    alarm(0);
    return 0;
}
