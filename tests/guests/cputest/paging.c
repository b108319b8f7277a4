/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page faults and their error codes, A and D bits, TLB: SDM 3A chapter 4. */
#include "cputest.h"

enum { AT = VA + 0x60000, NEXT = AT + 4096 };

USER_ASM(u_read, "mov $0x40060000, %eax; mov (%rax), %ecx; int $0x80");
USER_ASM(u_write, "mov $0x40060000, %eax; mov %ecx, (%rax); int $0x80");
USER_ASM(u_exec, "mov $0x40060000, %eax; jmp *%rax");
USER_ASM(u_sreg, "mov $0x53, %eax; mov %eax, %ds; int $0x80");

static void read_at(uint64_t va)
{
    asm volatile("mov (%0), %%eax" : : "r"(va) : "rax", "memory");
}

static void write_at(uint64_t va)
{
    asm volatile("mov %%eax, (%0)" : : "r"(va) : "memory");
}

static void exec_at(uint64_t va)
{
    ((void (*)(void))va)();
}

/* 4.7: P, W/R, U/S, RSVD, I/D. */
static void error_codes(void)
{
    uint64_t at = PHYS(page(8));

    section("page fault");
    page(8)[0] = 0xc3;
    map(AT, 0);
    TRY(read_at(AT));
    check_trap("read, not present: 0", 14, 0);
    check("CR2 is the address", trap.cr2, AT);
    TRY(write_at(AT));
    check_trap("write, not present: W", 14, 2);
    TRY(exec_at(AT));
    check_trap("fetch, not present: I", 14, 0x10);
    TRY(USER(u_read));
    check_trap("user read, not present: U", 14, 4);
    TRY(USER(u_write));
    check_trap("user write, not present: U W", 14, 6);
    TRY(USER(u_exec));
    check_trap("user fetch, not present: U I", 14, 0x14);
    map(AT, at | P | W);
    TRY(USER(u_read));
    check_trap("user read of a supervisor page: U P", 14, 5);
    TRY(USER(u_write));
    check_trap("user write of a supervisor page: U W P", 14, 7);
    TRY(USER(u_exec));
    check_trap("user fetch of a supervisor page: U I P", 14, 0x15);
    map(AT, at | P | U);
    TRY(USER(u_read));
    check_trap("user read of a read-only page is fine", 0x80, 0);
    TRY(USER(u_write));
    check_trap("user write of it: U W P", 14, 7);
    map(AT, at | P);
    TRY(write_at(AT));
    check_trap("supervisor write of it with WP: W P", 14, 3);
    WRITE_CR(0, READ_CR(0) & ~(1ull << 16));
    TRY(write_at(AT));
    check_trap("without WP it is fine", NO_TRAP, 0);
    page(8)[0] = 0xc3;
    WRITE_CR(0, READ_CR(0) | 1ull << 16);
    TRY(write_at(AT));
    check_trap("and with WP again W P", 14, 3);
}

static void no_execute(void)
{
    uint64_t at = PHYS(page(8));

    section("NX");
    if (!has.nx) {
        skip("execute disable", "not announced");
        return;
    }
    map(AT, at | P | U | W | NX);
    TRY(USER(u_exec));
    check_trap("user fetch: U I P", 14, 0x15);
    map(AT, at | P | W | NX);
    TRY(exec_at(AT));
    check_trap("supervisor fetch: I P", 14, 0x11);
    TRY(read_at(AT));
    check_trap("a read is fine", NO_TRAP, 0);
    wrmsr(EFER, rdmsr(EFER) & ~(1ull << 11));
    TRY(read_at(AT));
    check_trap("with NXE clear the bit is reserved: RSVD P", 14, 9);
    map(AT, 0);
    TRY(exec_at(AT));
    /* 4.7: I/D only if SMEP, or PAE and NXE */
    check_trap("and I/D is not set", 14, READ_CR(4) & CR4_SMEP ? 0x10 : 0);
    wrmsr(EFER, rdmsr(EFER) | 1ull << 11);
    test_pd[0] |= NX;
    map(AT, at | P | U | W);
    WRITE_CR(3, READ_CR(3));
    TRY(exec_at(AT));
    check_trap("NX in a directory entry counts too: I P", 14, 0x11);
    test_pd[0] &= ~NX;
    WRITE_CR(3, READ_CR(3));
}

static void reserved_bits(void)
{
    section("reserved bit");
    map(AT, PHYS(page(8)) | P | W | 1ull << 51);
    TRY(read_at(AT));
    check_trap("read: RSVD P", 14, 9);
    TRY(write_at(AT));
    check_trap("write: RSVD W P", 14, 0xb);
    map(AT, PHYS(page(8)) | 1ull << 51);
    TRY(read_at(AT));
    check_trap("in an entry that is not present it is nothing", 14, 0);
    test_pd[1] = 0x200000 | 1ull << 13 | P | W | PS;
    invlpg(VA + 0x200000);
    TRY(read_at(VA + 0x200000));
    check_trap("a 2 MiB page that is not aligned: RSVD P", 14, 9);
    test_pd[1] = 0;
    invlpg(VA + 0x200000);
    pml4[1] = PHYS(pdpt) | P | W | PS;
    WRITE_CR(3, READ_CR(3));
    TRY(read_at(1ull << 39));
    check_trap("PS in a PML4 entry: RSVD P", 14, 9);
    pml4[1] = 0;
}

static void giant(void)
{
    section("1 GiB page");
    if (!has.gib) {
        skip("1 GiB page", "not announced");
        return;
    }
    uint64_t base = 8ull << 30, off = PHYS(page(8));
    pdpt[8] = 0 | P | W | PS;
    *(volatile uint32_t *)off = 0x12345678;
    TRY(check("reads memory", *(volatile uint32_t *)(base + off), 0x12345678));
    check_trap("is no fault", NO_TRAP, 0);
    *(volatile uint32_t *)(base + off) = 0x9abcdef0;
    check("sets A and D", pdpt[8] & (A | D), A | D);
    pdpt[8] = 1ull << 20 | P | W | PS;
    invlpg(base);
    TRY(read_at(base + off));
    check_trap("that is not aligned: RSVD P", 14, 9);
    pdpt[8] = 0;
    invlpg(base);
}

/* 4.8 */
static void accessed_dirty(void)
{
    uint64_t at = PHYS(page(8));

    section("A and D");
    test_pd[0] &= ~A;
    pdpt[1] &= ~A;
    map(AT, at | P | W | U);
    WRITE_CR(3, READ_CR(3));
    TRY(read_at(AT));
    check("a read sets A, not D", *pte(AT) & (A | D), A);
    check("and A of the directory entry", test_pd[0] & A, A);
    check("and A of the pointer entry", pdpt[1] & A, A);
    check("D of a directory entry stays", test_pd[0] & D, 0);
    TRY(write_at(AT));
    check("a write after it sets D", *pte(AT) & (A | D), A | D);
    map(AT, at | P | W | U);
    TRY(write_at(AT));
    check("a write sets both", *pte(AT) & (A | D), A | D);
    map(AT, at | P | U | A);
    TRY(write_at(AT));
    check("a write that faults does not set D", *pte(AT) & D, 0);
    map(AT, at | P | W | U);
    TRY(USER(u_read));
    check("a user read sets A, not D", *pte(AT) & (A | D), A);
    map(AT, at | P | W);
    page(8)[0] = 0xc3;
    TRY(exec_at(AT));
    check("a fetch sets A, not D", *pte(AT) & (A | D), A);
    map(AT, at | P | W);
    TRY(asm volatile("lock cmpxchg %%ecx, (%0)"
                     :
                     : "r"((uint64_t)AT), "a"(1), "c"(2)
                     : "memory"));
    check("CMPXCHG that fails writes all the same", *pte(AT) & (A | D), A | D);
}

/* 4.6: SMEP and SMAP; a fetch or access in ring 0 of a user page. */
static void smep_smap(void)
{
    uint64_t at = PHYS(page(8));

    section("SMEP");
    map(AT, at | P | W | U);
    page(8)[0] = 0xc3;
    if (has.smep) {
        WRITE_CR(4, READ_CR(4) | CR4_SMEP);
        TRY(exec_at(AT));
        check_trap("supervisor fetch of a user page: I P", 14, 0x11);
        TRY(USER(u_exec));
        check("a user fetch is fine", trap.vector != 14 || trap.cr2 != AT, 1);
        WRITE_CR(4, READ_CR(4) & ~CR4_SMEP);
        TRY(exec_at(AT));
        check_trap("without it it is fine", NO_TRAP, 0);
    } else {
        skip("SMEP", "not announced");
    }
    section("SMAP");
    if (!has.smap) {
        skip("SMAP", "not announced");
        return;
    }
    WRITE_CR(4, READ_CR(4) | CR4_SMAP);
    TRY(read_at(AT));
    check_trap("supervisor read of a user page: P", 14, 1);
    TRY(write_at(AT));
    check_trap("write: W P", 14, 3);
    TRY(asm volatile("stac"); read_at(AT); write_at(AT));
    check_trap("with AC set it is fine", NO_TRAP, 0);
    asm volatile("clac");
    TRY(read_at(AT));
    check_trap("and with AC clear not", 14, 1);
    /* an LDT in a user page: implicit access, AC does not help */
    gdt[10] = (AT & 0xffffffull) << 16 | 0x82ull << 40 | 15 | (uint64_t)(AT >> 24) << 56;
    gdt[11] = 0;
    ((uint64_t *)page(9))[1] = 0x00cff2000000ffff;
    map(AT, PHYS(page(9)) | P | W | U);
    TRY(asm volatile("lldt %w0; stac; mov %w1, %%fs" : : "r"(0x50), "r"(12)));
    check("AC does not help a descriptor load", trap.vector << 32 | trap.error,
          14ull << 32 | 1);
    asm volatile("lldt %w0" : : "r"(0));
    WRITE_CR(4, READ_CR(4) & ~CR4_SMAP);
    page(8)[0] = 0xc3;
}

/* Implicit accesses of ring 3 are a supervisor's: U is clear. */
static void implicit(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) here, there = { 12 * 8 - 1, AT };
    uint64_t *copy = (uint64_t *)page(8);

    section("implicit access");
    gdt[10] = 0x00cff2000000ffff;
    for (unsigned n = 0; n < 12; n++) {
        copy[n] = gdt[n];
    }
    map(AT, PHYS(copy) | P | W);
    asm volatile("sgdt %0" : "=m"(here));
    asm volatile("lgdt %0" : : "m"(there));
    TRY(USER(u_sreg));
    asm volatile("lgdt %0" : : "m"(here));
    check_trap("ring 3 loads a segment from a supervisor page", 0x80, 0);
    check("and sets its accessed bit", copy[10] >> 40 & 1, 1);
    asm volatile("mov %0, %%ds; mov %0, %%fs" : : "r"(0));
}

static void crossing(void)
{
    uint8_t *a = page(8), *b = page(9);

    section("page crossing");
    map(AT, PHYS(a) | P | W | U);
    map(NEXT, PHYS(b) | P | U);
    a[4094] = a[4095] = b[0] = b[1] = 0x11;
    TRY(asm volatile("movl $0x22222222, (%0)" : : "r"((uint64_t)NEXT - 2)));
    check_trap("a store into a read-only second page: W P", 14, 3);
    check("CR2 is the second page", trap.cr2, NEXT);
    check("nothing was stored", a[4094] | a[4095] << 8, 0x1111);
    map(NEXT, 0);
    TRY(asm volatile("movq (%0), %%rax" : : "r"((uint64_t)NEXT - 2) : "rax"));
    check_trap("a load into a missing second page: 0", 14, 0);
    check("CR2 is the second page again", trap.cr2, NEXT);
    map(NEXT, PHYS(b) | P | W);
    TRY(asm volatile("lock addl $0x33333333, (%0)" : : "r"((uint64_t)NEXT - 2)
                     : "memory"));
    check("a locked addition works across",
          a[4094] | a[4095] << 8 | b[0] << 16 | (uint64_t)b[1] << 24,
          0x44444444);
    map(NEXT, PHYS(a) | P | W);
    a[0] = 0x77;
    TRY(check("the second page is where its entry says",
              *(volatile uint8_t *)(uint64_t)NEXT, 0x77));
}

/* 4.10.4: what must be seen after an invalidation. */
static void invalidation(void)
{
    volatile uint32_t *p = (void *)(uint64_t)AT;

    section("TLB");
    *(uint32_t *)page(8) = 8;
    *(uint32_t *)page(9) = 9;
    map(AT, PHYS(page(8)) | P | W);
    check("first mapping", *p, 8);
    *pte(AT) = PHYS(page(9)) | P | W;
    invlpg(AT);
    check("INVLPG shows the new one", *p, 9);
    *pte(AT) = PHYS(page(8)) | P | W;
    WRITE_CR(3, READ_CR(3));
    check("so does a CR3 load", *p, 8);
    map(AT, PHYS(page(9)) | P | W | G);
    check("a global page", *p, 9);
    *pte(AT) = PHYS(page(8)) | P | W | G;
    invlpg(AT);
    check("INVLPG takes global pages", *p, 8);
    *pte(AT) = PHYS(page(9)) | P | W | G;
    WRITE_CR(4, READ_CR(4) & ~CR4_PGE);
    WRITE_CR(4, READ_CR(4) | CR4_PGE);
    check("so does toggling CR4.PGE", *p, 9);
    /* A 2 MiB page: INVLPG of one address drops all of it. */
    volatile uint32_t *q = (void *)(VA + 0x400000 + PHYS(page(8)) % 0x200000);
    uint64_t big = PHYS(page(8)) & ~0x1fffffull;
    test_pd[2] = big | P | W | PS;
    invlpg((uint64_t)q);
    check("a 2 MiB page", *q, 8);
    check("and a second piece of it", q[1024], 9);
    test_pd[2] = (big ^ 0x8000000) | P | W | PS;
    *(volatile uint32_t *)((uint64_t)page(9) ^ 0x8000000) = 77;
    invlpg((uint64_t)q);
    check("INVLPG elsewhere in it drops it all", q[1024], 77);
    test_pd[2] = 0;
    invlpg((uint64_t)q);
    *pte(AT) = 0;
    invlpg(AT);
    *pte(AT) = PHYS(page(8)) | P | W;
    /* 4.10.2.3: entries that are not present are never cached */
    check("a new entry needs no invalidation", *p, 8);
}

void test_paging(void)
{
    error_codes();
    no_execute();
    reserved_bits();
    giant();
    accessed_dirty();
    smep_smap();
    implicit();
    crossing();
    invalidation();
}
