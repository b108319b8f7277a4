/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Process-context identifiers: SDM 3A 4.10.1 and 4.10.4.1, 2A INVPCID.  What
 * a CR3 load keeps is up to the processor; what is tested is that nothing is
 * seen of another address space, and nothing that has been invalidated.
 */
#include "cputest.h"

enum { AT = VA + 0x60000, CODE_AT = VA + 0x61000, BIG_AT = VA + 0x400000 };
enum { FIRST = 5, SECOND = 6, MANY = 40, ROUNDS = 200 };
#define KEEP (1ull << 63)

/* The second address space: its own tables for the GiB of the tests. */
static uint64_t other_pml4[512] __attribute__((aligned(4096)));
static uint64_t other_pdpt[512] __attribute__((aligned(4096)));
static uint64_t other_pd[512] __attribute__((aligned(4096)));
static uint64_t other_pt[512] __attribute__((aligned(4096)));

static uint64_t cr3;

static void invpcid(uint64_t type, uint64_t pcid, uint64_t lin)
{
    struct {
        uint64_t pcid, lin;
    } d = { pcid, lin };
    asm volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

/* The address space of pcid, with what is cached of it. */
static void go(unsigned pcid)
{
    uint64_t root = pcid == SECOND ? PHYS(other_pml4) : cr3;
    WRITE_CR(3, root | pcid | KEEP);
}

static uint32_t value(void)
{
    return *(volatile uint32_t *)(uint64_t)AT;
}

static unsigned call(uint64_t at)
{
    return ((unsigned (*)(void))at)();
}

/* mov $v, %eax; ret */
static void write_function(volatile uint8_t *p, uint8_t v)
{
    p[1] = v;
    p[2] = p[3] = p[4] = 0;
    p[5] = 0xc3;
    p[0] = 0xb8;
}

static void instruction(void)
{
    volatile uint32_t *p = (void *)(uint64_t)AT;

    map(AT, PHYS(page(8)) | P | W);
    check("first mapping", *p, 8);
    for (unsigned type = 0; type < 4; type++) {
        static const char *const names[] = {
            "INVPCID type 0 shows a new mapping",
            "INVPCID type 1 shows a new mapping",
            "INVPCID type 2 shows a new mapping",
            "INVPCID type 3 shows a new mapping",
        };
        *pte(AT) = PHYS(page(8 + !(type & 1))) | P | W;
        invpcid(type, FIRST, AT);
        check(names[type], *p, 8 + !(type & 1));
    }
    TRY(invpcid(4, 0, 0));
    check_trap("INVPCID type 4 is #GP(0)", 13, 0);
    TRY(invpcid(0, 1 << 12, 0));
    check_trap("a PCID of 13 bits is #GP(0)", 13, 0);
    TRY(invpcid(0, FIRST, 1ull << 63));
    check_trap("an address that is not canonical is #GP(0)", 13, 0);
}

/* What is done to an entry of the first space while the second is loaded. */
enum way { LOAD, TYPE0, TYPE1, TYPE2, TYPE3, GLOBAL, PGE, WAYS };

static void invalidate(enum way way)
{
    switch (way) {
    case LOAD: WRITE_CR(3, cr3 | FIRST); break;
    case TYPE0: invpcid(0, FIRST, AT); break;
    case TYPE1: invpcid(1, FIRST, 0); break;
    case TYPE2: invpcid(2, 0, 0); break;
    case TYPE3: invpcid(3, 0, 0); break;
    case GLOBAL: invlpg(AT); break;
    default:
        WRITE_CR(4, READ_CR(4) & ~CR4_PGE);
        WRITE_CR(4, READ_CR(4) | CR4_PGE);
    }
}

static void from_elsewhere(void)
{
    static const char *const names[WAYS] = {
        [LOAD] = "a CR3 load with bit 63 clear shows it",
        [TYPE0] = "INVPCID type 0 of a PCID that is not loaded",
        [TYPE1] = "INVPCID type 1 of a PCID that is not loaded",
        [TYPE2] = "INVPCID type 2 takes it from all PCIDs",
        [TYPE3] = "INVPCID type 3 takes it from all PCIDs",
        [GLOBAL] = "INVLPG of a global page takes it from all PCIDs",
        [PGE] = "so does toggling CR4.PGE",
    };

    for (enum way way = LOAD; way < WAYS; way++) {
        uint64_t bits = P | W | (way >= GLOBAL ? G : 0), bad = 0;

        if (way >= TYPE0 && way <= TYPE3 && !has.invpcid) continue;
        go(FIRST);
        map(AT, PHYS(page(8)) | bits);
        for (unsigned n = 0; n < 4; n++) { /* there and back */
            go(FIRST);
            bad += value() != 8;
            go(SECOND);
        }
        *pte(AT) = PHYS(page(9)) | bits;
        invalidate(way);
        go(FIRST);
        check(names[way], bad << 32 | value(), 9);
        invlpg(AT);
    }
}

USER_ASM(u_call, "mov $0x40061000, %eax; call *%rax; call *%rax; int $0x80");

/* The same addresses mean something else in each. */
static void apart(void)
{
    volatile uint32_t *p = (void *)(uint64_t)AT;
    unsigned loads = 0, stores = 0, code = 0, user = 0;

    for (unsigned n = 0; n < 512; n++) {
        other_pml4[n] = pml4[n];
        other_pdpt[n] = pdpt[n];
        other_pt[n] = pte(VA)[n];
    }
    other_pml4[0] = PHYS(other_pdpt) | P | W | U;
    other_pdpt[1] = PHYS(other_pd) | P | W | U;
    other_pd[0] = PHYS(other_pt) | P | W | U;
    map(AT, PHYS(page(8)) | P | W);
    map(CODE_AT, PHYS(page(10)) | P | W);
    other_pt[AT >> 12 & 511] = PHYS(page(9)) | P | W;
    other_pt[CODE_AT >> 12 & 511] = PHYS(page(11)) | P | W;
    write_function(page(10), 10);
    write_function(page(11), 11);
    for (unsigned n = 0; n < ROUNDS; n++) {
        go(FIRST);
        loads += *p != 8;
        p[1] = n;
        code += call(CODE_AT) != 10;
        go(SECOND);
        loads += *p != 9;
        p[1] = ~n;
        code += call(CODE_AT) != 11;
        stores += ((uint32_t *)page(8))[1] != n;
        stores += ((uint32_t *)page(9))[1] != ~n;
    }
    check("loads see their own page", loads, 0);
    check("stores go to their own page", stores, 0);
    check("code is their own", code, 0);
    *pte(CODE_AT) |= U;
    other_pt[CODE_AT >> 12 & 511] |= U;
    for (unsigned n = 0; n < ROUNDS / 4; n++) {
        WRITE_CR(3, cr3 | FIRST | (n ? KEEP : 0));
        TRY(USER(u_call));
        user += trap.ax != 10;
        WRITE_CR(3, PHYS(other_pml4) | SECOND | (n ? KEEP : 0));
        TRY(USER(u_call));
        user += trap.ax != 11;
    }
    check("so in ring 3", user, 0);
}

/* What is known of a page must not survive a change of its use. */
static void kept(void)
{
    volatile uint8_t *data = (void *)(uint64_t)AT;
    unsigned bad = 0;

    /* It can be written in the first space, and is code in the second. */
    go(FIRST);
    map(AT, PHYS(page(11)) | P | W);
    for (unsigned n = 0; n < ROUNDS; n++) {
        go(FIRST);
        write_function(data, (uint8_t)n);
        go(SECOND);
        bad += call(CODE_AT) != (uint8_t)n;
    }
    check("code of one space written in the other", bad, 0);
    go(FIRST);
    *pte(AT) &= ~(A | D);
    WRITE_CR(3, cr3 | FIRST);
    data[100] = 1;
    go(SECOND);
    *pte(AT) &= ~(A | D);
    if (has.invpcid) {
        invpcid(1, FIRST, 0);
    } else {
        WRITE_CR(3, cr3 | FIRST);
    }
    go(FIRST);
    data[101] = 1;
    check("A and D are set again", *pte(AT) & (A | D), A | D);
    /* Pieces of a 2 MiB page, before and after. */
    volatile uint32_t *q = (void *)(BIG_AT + PHYS(page(8)) % 0x200000);
    uint64_t big = PHYS(page(8)) & ~0x1fffffull;
    test_pd[2] = big | P | W | PS;
    invlpg((uint64_t)q);
    check("a 2 MiB page", q[0] + q[1024], 8 + 9);
    go(SECOND);
    go(FIRST);
    *(volatile uint32_t *)((uint64_t)page(9) ^ 0x8000000) = 77;
    test_pd[2] = (big ^ 0x8000000) | P | W | PS;
    invlpg((uint64_t)q);
    go(SECOND);
    go(FIRST);
    check("INVLPG elsewhere in it, there and back", q[1024], 77);
    test_pd[2] = 0;
    invlpg((uint64_t)q);
    map(AT, 0);
}

/* More than any processor keeps apart. */
static void many(void)
{
    unsigned bad = 0;

    map(AT, PHYS(page(8)) | P | W);
    for (unsigned n = 0; n < 2 * MANY; n++) {
        WRITE_CR(3, cr3 | (n % MANY) | (n < MANY ? 0 : KEEP));
        bad += value() != 8;
    }
    *pte(AT) = PHYS(page(9)) | P | W;
    for (unsigned n = 0; n < MANY; n++) {
        if (has.invpcid) {
            invpcid(1, n, 0);
        } else {
            WRITE_CR(3, cr3 | n);
        }
    }
    for (unsigned n = 0; n < MANY; n++) {
        WRITE_CR(3, cr3 | n | KEEP);
        bad += value() != 9;
    }
    check("40 of them, invalidated one by one", bad, 0);
    WRITE_CR(3, cr3);
    *pte(AT) = PHYS(page(8)) | P | W;
    WRITE_CR(4, READ_CR(4) & ~CR4_PCIDE);
    WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
    for (unsigned n = 0; n < MANY; n++) {
        WRITE_CR(3, cr3 | n | KEEP);
        bad += value() != 8;
    }
    check("clearing CR4.PCIDE invalidates them all", bad, 0);
}

void test_pcid(void)
{
    cr3 = READ_CR(3);
    section("PCID");
    if (!has.pcid) {
        skip("PCID", "not announced");
        return;
    }
    *(uint32_t *)page(8) = 8;
    *(uint32_t *)page(9) = 9;
    WRITE_CR(3, cr3 | 8);
    TRY(WRITE_CR(4, READ_CR(4) | CR4_PCIDE));
    check_trap("setting PCIDE with CR3[11:0] not 0 is #GP(0)", 13, 0);
    WRITE_CR(3, cr3);
    WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
    TRY(WRITE_CR(3, cr3 | FIRST));
    check_trap("a CR3 with a PCID is fine", NO_TRAP, 0);
    TRY(WRITE_CR(3, cr3 | FIRST | KEEP));
    check_trap("so is bit 63", NO_TRAP, 0);
    check("which is not kept", READ_CR(3), cr3 | FIRST);
    if (has.invpcid) {
        instruction();
    } else {
        skip("INVPCID", "not announced");
    }
    apart();
    from_elsewhere();
    kept();
    many();
    WRITE_CR(3, cr3);
    WRITE_CR(4, READ_CR(4) & ~CR4_PCIDE);
}
