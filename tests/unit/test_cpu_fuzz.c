/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random instruction streams in random states of every mode: whatever a guest
 * executes, one step returns and the process lives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/support/cpu_rig.h"

enum { STEPS = 400, CODE_AT = 0x8000, TABLES = 0x60000 };

static uint64_t state;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1d;
}

enum fuzz_mode { REAL, PROTECTED16, PROTECTED32, VM86, COMPAT, LONG, MODES };

static void random_memory(struct cpu_rig *r)
{
    uint64_t *p = (uint64_t *)r->ram;
    for (unsigned n = 0; n < RIG_BYTES / 8; n++) {
        p[n] = rnd();
    }
    /* Four levels that map the first 2 MiB, sometimes with holes. */
    uint64_t e[3] = { TABLES + 0x1007, TABLES + 0x2007, 0x87 };
    for (unsigned n = 0; n < 3; n++) {
        if (rnd() % 8 == 0) e[n] &= ~(rnd() & 7);
        memcpy(r->ram + TABLES + 0x1000 * n, &e[n], 8);
    }
    /* Gates and descriptors that are often nearly right. */
    for (unsigned n = 0; n < 256; n++) {
        uint64_t v = rnd(), type = 0x80 | (v & 0x6f) | 2;
        uint64_t d = 0x00cf00000000ffff | type << 40 | (v & 0x20) << 48;
        if (rnd() & 1) memcpy(r->ram + 0x2000 + 8 * n, &d, 8);
        uint64_t g = (CODE_AT + (v & 0xff0)) | (8 * (v >> 12 & 15)) << 16 |
                     (uint64_t)0x8e00 << 32;
        if (rnd() & 1) memcpy(r->ram + 0x3000 + 8 * n, &g, 8);
        /* Gates of long mode and of VM86 that work. */
        uint64_t to = CODE_AT + (v & 0xff0), zero = 0;
        uint64_t lg = to | 0x58 << 16 | (uint64_t)0xee00 << 32;
        uint64_t vg = to | 0x60 << 16 | (uint64_t)0xee00 << 32;
        memcpy(r->ram + 0x5000 + 16 * n, &lg, 8);
        memcpy(r->ram + 0x5008 + 16 * n, &zero, 8);
        memcpy(r->ram + 0x6000 + 8 * n, &vg, 8);
    }
    static const uint64_t good[] = { 0x00af9b000000ffff, 0x00cf9b000000ffff,
                                     0x00cf93000000ffff };
    uint64_t sp = 0x70000, sp32 = 0x70000 | (uint64_t)0x68 << 32;
    memcpy(r->ram + 0x2058, good, sizeof(good));
    memcpy(r->ram + 0x4004, &sp, 8);
    if (rnd() & 1) memcpy(r->ram + 0x4004, &sp32, 8);
}

static void random_state(struct cpu_rig *r, enum fuzz_mode mode)
{
    struct cpu *c = &r->c;
    cpu_reset(c);
    for (unsigned n = 0; n < 16; n++) {
        uint64_t v = rnd();
        c->gpr[n] = rnd() & 1 ? v & 0xfffff : v;
        if (mode != LONG) c->gpr[n] = (uint32_t)c->gpr[n];
    }
    c->rip = CODE_AT;
    c->rflags = (rnd() & 0x247fd5 & ~(uint64_t)FLAG_VM) | 2;
    c->gdt.base = 0x2000;
    c->gdt.limit = 0x7ff;
    c->idt.base = 0x3000;
    c->idt.limit = 0x7ff;
    c->tr =
        (struct cpu_segment){ 0x28, rnd() & 1 ? 0x8b : 0x83, 0x400, 0x4000 };
    unsigned ring = rnd() & 3;
    unsigned db = mode == PROTECTED16 ? 0 : SEG_ATTR_DB;
    if (mode == REAL) {
        for (unsigned n = 0; n < SEG_COUNT; n++) {
            c->seg[n].base = n == SEG_CS ? 0 : rnd() & 0x7fff0;
        }
        return;
    }
    c->cr0 = CR0_PE | CR0_ET | (rnd() & (CR0_NE | CR0_MP | CR0_AM | CR0_WP));
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n] = (struct cpu_segment){ (uint16_t)(8 * n + ring),
                                          (uint16_t)(0x8093 | db | ring << 5),
                                          UINT32_MAX, 0 };
    }
    c->seg[SEG_CS].attr |= 8;
    c->cr4 = CR4_OSFXSR | CR4_OSXSAVE | (rnd() & (CR4_VME | CR4_DE));
    c->xcr0 = r->model.xcr0_mask;
    if (mode == VM86) {
        c->idt.base = 0x6000;
        c->tr.attr = 0x8b;
        c->rflags |= FLAG_VM;
        for (unsigned n = 0; n < SEG_COUNT; n++) {
            c->seg[n] = (struct cpu_segment){ 0, 0xf3, 0xffff, 0 };
        }
    }
    if (mode == COMPAT || mode == LONG) {
        c->cr0 |= CR0_PG;
        c->idt.base = 0x5000;
        c->idt.limit = 0xfff;
        c->gpr[GPR_SP] &= 0x7fff8;
        c->cr3 = TABLES;
        c->cr4 |= CR4_PAE | CR4_FSGSBASE;
        c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
        if (mode == LONG) {
            c->seg[SEG_CS].attr &= (uint16_t)~SEG_ATTR_DB;
            c->seg[SEG_CS].attr |= SEG_ATTR_L;
        }
    }
}

static void fuzz(enum fuzz_mode mode, unsigned runs)
{
    const char *given = getenv("ORRERY_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    struct cpu_rig *r = rig_open(false, "max");
    unsigned counts[5] = { 0 };
    print_message("seed %llu\n", (unsigned long long)seed);
    state = (seed + mode) * 0x9e3779b97f4a7c15 | 1;
    for (unsigned n = 0; n < runs; n++) {
        uint64_t image[VECTOR_BYTES / 8]
            __attribute__((aligned(64))) = { 0x37f, 0, 0, 0xffff00001f80 };
        image[64] = 7;
        if (n % 8 == 0) random_memory(r);
        random_state(r, mode);
        for (unsigned k = 0; k < STEPS; k++) {
            /* Keep executing bytes that mean something. */
            if (rnd() % 4 == 0 && mode != LONG) r->c.rip &= 0xffff;
            enum cpu_step s = emulate_vector_state(r, image);
            assert_true(s <= STEP_SHUTDOWN);
            counts[s]++;
            if (s == STEP_SHUTDOWN) {
                random_state(r, mode);
                r->c.rip = CODE_AT + rnd() % 0x40000;
                if (mode == VM86 || mode == REAL) r->c.rip &= 0xffff;
            }
            if (s == STEP_HALT) r->c.activity = CPU_ACTIVE;
        }
    }
    rig_close(r);
    print_message("%u executed, %u faults, %u halts, %u shutdowns\n",
                  counts[STEP_OK], counts[STEP_FAULT], counts[STEP_HALT],
                  counts[STEP_SHUTDOWN]);
    assert_true(counts[STEP_OK] > 100);
}

static void real_mode_survives(void **unused)
{
    (void)unused;
    fuzz(REAL, 400);
}

static void protected_mode_survives(void **unused)
{
    (void)unused;
    fuzz(PROTECTED16, 400);
    fuzz(PROTECTED32, 400);
}

static void vm86_survives(void **unused)
{
    (void)unused;
    fuzz(VM86, 400);
}

static void long_mode_survives(void **unused)
{
    (void)unused;
    fuzz(COMPAT, 400);
    fuzz(LONG, 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_mode_survives),
        cmocka_unit_test(protected_mode_survives),
        cmocka_unit_test(vm86_survives),
        cmocka_unit_test(long_mode_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
