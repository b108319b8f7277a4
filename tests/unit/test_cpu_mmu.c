/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page walks: SDM volume 3A chapter 4, formats, rights, error codes, A and D. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/support/cpu_rig.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX ((uint64_t)1 << 63)

enum { TABLES = 0x10000, FRAME = 0x40000 };

/* Error code bits. */
enum { E_P = 1, E_W = 2, E_U = 4, E_R = 8, E_I = 16 };

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

static void set_cpl(struct cpu *c, unsigned cpl)
{
    c->seg[SEG_SS].attr = (uint16_t)(0xc093 | cpl << 5);
}

/* Four levels for linear address 0x1000 * n: table n at TABLES + 0x1000 * n,
 * all entries with the given flags. */
static struct cpu_rig *open_long(const uint64_t flags[4])
{
    struct cpu_rig *r = rig_open(false, "max");
    struct cpu *c = &r->c;
    c->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET;
    c->cr4 = CR4_PAE | CR4_PGE;
    c->efer = EFER_LME | EFER_LMA | EFER_NXE;
    c->cr3 = TABLES;
    for (unsigned n = 0; n < 4; n++) {
        uint64_t next = n < 3 ? TABLES + 0x1000 * (n + 1) : FRAME;
        if (flags[n] & PS) next = 0;
        put(r, TABLES + 0x1000 * n, 8, next | flags[n]);
    }
    return r;
}

struct walk_case {
    const char *what;
    uint64_t flags[4]; /* PML4E, PDPTE, PDE, PTE */
    unsigned cpl, access;
    uint64_t cr0_clear, cr4_set, rflags;
    int error; /* -1: allowed */
};

static const struct walk_case cases[] = {
    /* clang-format off */
    { "user read", { 7, 7, 7, 7 }, 3, ACC_READ, 0, 0, 0, -1 },
    { "not present", { 7, 7, 7, 6 }, 3, ACC_READ, 0, 0, 0, E_U },
    { "not present PML4E", { 6, 7, 7, 7 }, 0, ACC_WRITE, 0, 0, 0, E_W },
    { "user on supervisor page", { 7, 7, 7, 3 }, 3, ACC_READ, 0, 0, 0,
      E_P | E_U },
    { "supervisor bit at any level", { 3, 7, 7, 7 }, 3, ACC_READ, 0, 0, 0,
      E_P | E_U },
    { "user write to read-only", { 7, 7, 7, 5 }, 3, ACC_WRITE, 0, 0, 0,
      E_P | E_U | E_W },
    { "read-only at any level", { 7, 5, 7, 7 }, 3, ACC_WRITE, 0, 0, 0,
      E_P | E_U | E_W },
    { "kernel write to read-only, WP", { 7, 7, 7, 5 }, 0, ACC_WRITE, 0, 0, 0,
      E_P | E_W },
    { "kernel write to read-only, no WP", { 7, 7, 7, 5 }, 0, ACC_WRITE,
      CR0_WP, 0, 0, -1 },
    { "implicit system access from ring 3", { 7, 7, 7, 3 }, 3,
      ACC_READ | ACC_SYSTEM, 0, 0, 0, -1 },
    { "execute NX", { 7, 7, 7, 7 | NX }, 3, ACC_EXEC, 0, 0, 0,
      E_P | E_U | E_I },
    { "NX at any level", { 7 | NX, 7, 7, 7 }, 0, ACC_EXEC, 0, 0, 0,
      E_P | E_I },
    { "NX does not stop reads", { 7, 7, 7, 7 | NX }, 3, ACC_READ, 0, 0, 0,
      -1 },
    { "SMEP", { 7, 7, 7, 7 }, 0, ACC_EXEC, 0, CR4_SMEP, 0, E_P | E_I },
    { "SMEP spares supervisor pages", { 7, 7, 7, 3 }, 0, ACC_EXEC, 0,
      CR4_SMEP, 0, -1 },
    { "SMAP", { 7, 7, 7, 7 }, 0, ACC_READ, 0, CR4_SMAP, 0, E_P },
    { "SMAP with AC", { 7, 7, 7, 7 }, 0, ACC_READ, 0, CR4_SMAP, FLAG_AC, -1 },
    { "SMAP holds for implicit accesses", { 7, 7, 7, 7 }, 3,
      ACC_READ | ACC_SYSTEM, 0, CR4_SMAP, FLAG_AC, E_P },
    { "reserved PS in PML4E", { 7 | PS, 7, 7, 7 }, 3, ACC_READ, 0, 0, 0,
      E_P | E_U | E_R },
    { "reserved address bit", { 7, 7, 7 | 1ull << 51, 7 }, 0, ACC_READ, 0, 0,
      0, E_P | E_R },
    { "2 MiB page", { 7, 7, 7 | PS, 0 }, 3, ACC_WRITE, 0, 0, 0, -1 },
    { "2 MiB page, reserved bit 13", { 7, 7, 7 | PS | 1 << 13, 0 }, 3,
      ACC_WRITE, 0, 0, 0, E_P | E_U | E_W | E_R },
    { "1 GiB page", { 7, 7 | PS, 0, 0 }, 3, ACC_READ, 0, 0, 0, -1 },
    { "present beats reserved", { 7, 6 | PS, 7, 7 }, 3, ACC_READ, 0, 0, 0,
      E_U },
    /* clang-format on */
};

static void rights_of_four_level_paging(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        const struct walk_case *t = &cases[n];
        struct cpu_rig *r = open_long(t->flags);
        struct cpu_page page;
        uint32_t error = 0;
        set_cpl(&r->c, t->cpl);
        r->c.cr0 &= ~t->cr0_clear;
        r->c.cr4 |= t->cr4_set;
        r->c.rflags |= t->rflags;
        int rc = cpu_walk(&r->c, 0x123, t->access, &page, &error);
        int got = rc == 0 ? -1 : (int)error;
        if (got != t->error) {
            fail_msg("%s: error %d, expected %d", t->what, got, t->error);
        }
        bool is_used = false;
        for (unsigned k = 0; k < 4; k++) {
            is_used |= (get(r, TABLES + 0x1000 * k, 8) & (A | D)) != 0;
        }
        if (is_used != (rc == 0)) fail_msg("%s: A or D bits", t->what);
        rig_close(r);
    }
}

static void nx_is_reserved_without_nxe(void **unused)
{
    static const uint64_t flags[4] = { 7, 7, 7, 7 | NX };
    struct cpu_rig *r = open_long(flags);
    struct cpu_page page;
    uint32_t error = 0;
    (void)unused;
    r->c.efer &= ~(uint64_t)EFER_NXE;
    assert_int_equal(cpu_walk(&r->c, 0, ACC_READ, &page, &error), -1);
    assert_int_equal(error, E_P | E_R);
    /* The I/D bit is not given without NXE and SMEP. */
    put(r, TABLES + 0x3000, 8, 0);
    assert_int_equal(cpu_walk(&r->c, 0, ACC_EXEC, &page, &error), -1);
    assert_int_equal(error, 0);
    rig_close(r);
}

static void accessed_and_dirty_follow_use(void **unused)
{
    static const uint64_t flags[4] = { 7, 7, 7, 7 | G };
    struct cpu_rig *r = open_long(flags);
    struct cpu_page page;
    uint32_t error;
    (void)unused;
    assert_int_equal(cpu_walk(&r->c, 0x8, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, FRAME + 8);
    assert_int_equal(page.page_bytes, 4096);
    assert_true(page.is_global && page.is_user && page.can_exec);
    assert_false(page.can_write); /* D is still clear */
    for (unsigned n = 0; n < 4; n++) {
        assert_true(get(r, TABLES + 0x1000 * n, 8) & A);
        assert_false(get(r, TABLES + 0x1000 * n, 8) & D);
    }
    assert_int_equal(cpu_walk(&r->c, 0x8, ACC_WRITE, &page, &error), 0);
    assert_true(page.can_write);
    assert_true(get(r, TABLES + 0x3000, 8) & D);
    assert_false(get(r, TABLES + 0x2000, 8) & D); /* the leaf alone */
    rig_close(r);
}

static void large_pages_add_the_low_address_bits(void **unused)
{
    static const uint64_t flags2m[4] = { 7, 7, 7 | PS, 0 };
    static const uint64_t flags1g[4] = { 7, 7 | PS, 0, 0 };
    struct cpu_page page;
    uint32_t error;
    (void)unused;
    struct cpu_rig *r = open_long(flags2m);
    assert_int_equal(cpu_walk(&r->c, 0x54321, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, 0x54321);
    assert_int_equal(page.page_bytes, 2 << 20);
    rig_close(r);
    r = open_long(flags1g);
    assert_int_equal(cpu_walk(&r->c, 0x3fff4321, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, 0x3fff4321);
    assert_int_equal(page.page_bytes, 1 << 30);
    rig_close(r);
    r = open_long(flags1g);
    r->model.has_1g_pages = false;
    assert_int_equal(cpu_walk(&r->c, 0, ACC_READ, &page, &error), -1);
    assert_int_equal(error, E_P | E_R);
    rig_close(r);
}

static struct cpu_rig *open_legacy(uint32_t pde, uint32_t pte)
{
    struct cpu_rig *r = rig_open(false, "max");
    r->c.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET;
    r->c.cr4 = CR4_PSE;
    r->c.cr3 = TABLES;
    put(r, TABLES + 4 * 1, 4, pde);
    put(r, TABLES + 0x1000 + 4 * 2, 4, pte);
    return r;
}

static void two_level_paging_and_pse(void **unused)
{
    struct cpu_page page;
    uint32_t error;
    (void)unused;
    struct cpu_rig *r = open_legacy(TABLES | 0x1000 | 7, FRAME | 7);
    assert_int_equal(cpu_walk(&r->c, 0x402345, ACC_WRITE, &page, &error), 0);
    assert_int_equal(page.gpa, FRAME | 0x345);
    assert_int_equal(get(r, TABLES + 4, 4), (TABLES | 0x1000 | 7 | A));
    assert_int_equal(get(r, TABLES + 0x1008, 4), FRAME | 7 | A | D);
    /* Linear addresses have 32 bits. */
    assert_int_equal(cpu_walk(&r->c, 0x100402345, ACC_READ, &page, &error), 0);
    rig_close(r);
    /* PSE-36: bits 20..13 of the PDE are address bits 39..32. */
    r = open_legacy(0x12c00000 | 5 << 13 | 7 | PS, 0);
    assert_int_equal(cpu_walk(&r->c, 0x412345, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, 0x512c12345);
    assert_int_equal(page.page_bytes, 4 << 20);
    rig_close(r);
    r = open_legacy(0x12c00000 | 1 << 21 | 7 | PS, 0);
    assert_int_equal(cpu_walk(&r->c, 0x412345, ACC_READ, &page, &error), -1);
    assert_int_equal(error, E_P | E_R);
    rig_close(r);
    /* Without CR4.PSE the bit means nothing. */
    r = open_legacy(TABLES | 0x1000 | 7 | PS, FRAME | 7);
    r->c.cr4 = 0;
    assert_int_equal(cpu_walk(&r->c, 0x402345, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, FRAME | 0x345);
    rig_close(r);
}

static void pae_paging_uses_the_loaded_pdptes(void **unused)
{
    struct cpu_page page;
    uint32_t error;
    (void)unused;
    struct cpu_rig *r = rig_open(false, "max");
    r->c.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET;
    r->c.cr4 = CR4_PAE;
    r->c.efer = EFER_NXE;
    r->c.pdpte[3] = TABLES | 1;
    put(r, TABLES + 8 * 2, 8, (TABLES + 0x1000) | 7);
    put(r, TABLES + 0x1000 + 8 * 5, 8, FRAME | 7 | NX);
    uint64_t lin = 0xc0405678;
    assert_int_equal(cpu_walk(&r->c, lin, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, FRAME | 0x678);
    assert_false(page.can_exec);
    assert_int_equal(cpu_walk(&r->c, lin, ACC_EXEC, &page, &error), -1);
    assert_int_equal(error, E_P | E_I);
    assert_int_equal(cpu_walk(&r->c, 0x405678, ACC_READ, &page, &error), -1);
    assert_int_equal(error, 0); /* PDPTE 0 is not present */
    put(r, TABLES + 8 * 2, 8, 0x400000 | 7 | PS);
    assert_int_equal(cpu_walk(&r->c, lin, ACC_READ, &page, &error), 0);
    assert_int_equal(page.gpa, 0x405678);
    rig_close(r);
}

static void debug_walk_changes_nothing(void **unused)
{
    static const uint64_t flags[4] = { 3, 3, 3, 1 };
    struct cpu_rig *r = open_long(flags);
    uint64_t gpa = 0;
    (void)unused;
    set_cpl(&r->c, 3);
    assert_int_equal(cpu_walk_debug(&r->c, 0x77, &gpa), 0);
    assert_int_equal(gpa, FRAME + 0x77);
    assert_int_equal(get(r, TABLES + 0x3000, 8), FRAME | 1);
    assert_int_equal(cpu_walk_debug(&r->c, 0x1000, &gpa), -1);
    assert_int_equal(cpu_walk_debug(&r->c, 1ull << 60, &gpa), -1);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_of_four_level_paging),
        cmocka_unit_test(nx_is_reserved_without_nxe),
        cmocka_unit_test(accessed_and_dirty_follow_use),
        cmocka_unit_test(large_pages_add_the_low_address_bits),
        cmocka_unit_test(two_level_paging_and_pse),
        cmocka_unit_test(pae_paging_uses_the_loaded_pdptes),
        cmocka_unit_test(debug_walk_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
