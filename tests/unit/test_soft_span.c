/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/* Hot code that lies across pages: whatever instruction the pages meet at, when
 * the second page becomes another one, and when it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/cpu/mmu.h"
#include "core/soft/engine.h"
#include "tests/unit/support/soft_rig.h"

/*
 * Loops with and without accesses, entered at their start and in their middle,
 * jumps forward taken and not, a jump back between them.
 */
__asm__(".text\n"
        "walk:\n"
        "    push %rbx\n"
        "    call walk_body\n"
        "    pop %rbx\n"
        "    ret\n"
        "walk_body:\n"
        "    mov $40, %ecx\n"
        "    xor %eax, %eax\n"
        "0:  xor %edx, %edx\n"
        "    jmp 2f\n"
        "1:  mov (%rdi, %rdx, 8), %rbx\n"
        "    add %rbx, %rax\n"
        "    rol $7, %rax\n"
        "    mov %rax, 0x400(%rdi, %rdx, 8)\n"
        "2:  add $1, %rdx\n"
        "    cmp $0x60, %rdx\n"
        "    jne 1b\n"
        "    test $8, %al\n"
        "    jz 3f\n"
        "    xor $0x1234567, %eax\n"
        "    jmp 4f\n"
        "3:  mov $0x123456789abcdef0, %rbx\n"
        "    add %rbx, %rax\n"
        "    movups 0x20(%rdi), %xmm0\n"
        "    paddd %xmm0, %xmm0\n"
        "    movups %xmm0, 0x20(%rdi)\n"
        "4:  xor %ebx, %ebx\n"
        "5:  imul $0x19660d, %rax, %rax\n"
        "    add $0x3c6ef35f, %rax\n"
        "    add $1, %ebx\n"
        "    cmp $50, %ebx\n"
        "    jne 5b\n"
        "    dec %ecx\n"
        "    jnz 0b\n"
        "walk_end:\n"
        "    ret\n");
uint64_t walk(void *table);
extern const uint8_t walk_body[], walk_end[];

enum { PAGE = 0x100000, TABLE = 0x200000, TABLE_BYTES = 0x1000 };

static const uint8_t stop[] = { 0xe6, 0xf4, 0xeb, 0xfe };

static void fill(uint8_t *table)
{
    for (unsigned i = 0; i < TABLE_BYTES; i++)
        table[i] = (uint8_t)(i * 7 + i / 256);
}

static struct soft_rig *begin(const struct soft_options *o, uint64_t at)
{
    size_t bytes = (size_t)(walk_end - walk_body);
    uint8_t table[TABLE_BYTES];
    struct soft_rig *r = rig_new(o);

    fill(table);
    rig_put(r, TABLE, table, sizeof(table));
    rig_put(r, at, walk_body, bytes);
    rig_put(r, at + bytes, stop, sizeof(stop));
    rig_mode(r, 64, at);
    rig_user(r);
    r->c->gpr[GPR_DI] = TABLE;
    return r;
}

static void code_may_meet_the_next_page_anywhere(void **state)
{
    static const struct soft_options ways[] = {
        { .is_all_hot = true },
        { .is_all_hot = true, .is_ungrouped = true },
        { .is_verified = true },
    };
    unsigned bytes = (unsigned)(walk_end - walk_body);
    uint8_t here[TABLE_BYTES];
    uint64_t expected;

    (void)state;
    fill(here);
    expected = walk(here);
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        for (unsigned before = 0; before <= bytes; before++) {
            struct soft_rig *r = begin(&ways[i], PAGE - before);

            assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
            assert_int_equal(r->c->gpr[GPR_AX], expected);
            assert_memory_equal(r->ram.host + TABLE, here, sizeof(here));
            /* Loops stay inside; the table is found by jumps. */
            if (i == 0) assert_in_range(r->eng->stat.entries, 1, 40);
            rig_free(r);
        }
    }
}

/* ---- pages of 4 KiB that can be moved */

enum {
    AREA = 0x600000, /* 2 MiB mapped by a table of its own */
    AREA_TABLE = 0x10000,
    FIRST = AREA,
    SECOND = AREA + 0x1000,
    OTHER = AREA + 0x5000,
};

static void map_page(struct soft_rig *r, uint64_t lin, uint64_t gpa)
{
    uint64_t entry = gpa | 0x67; /* present, writable, user, A, D */

    rig_put(r, AREA_TABLE + 8 * (lin >> 12 & 511), &entry, 8);
}

static void map_area(struct soft_rig *r)
{
    uint64_t entry = AREA_TABLE | 0x27;

    for (unsigned i = 0; i < 512; i++)
        map_page(r, AREA + i * 0x1000u, AREA + i * 0x1000u);
    rig_put(r, RIG_TABLES + 0x2000 + 8 * (AREA >> 21), &entry, 8);
    tlb_flush(r->eng, CPU_FLUSH_ALL, 0);
}

/*
 * At FIRST: ecx = 100, then a jump that can be linked to LOOP, which ends in the
 * next page: there eax grows by 1 each time; a stop; from FIRST again.
 */
enum { LOOP = SECOND - 40, OPERAND = SECOND + 2 };

static void put_code(struct soft_rig *r)
{
    static const uint8_t top[] = {
        0x31, 0xc0,                         /* xor eax, eax */
        0xb9, 0x64, 0x00, 0x00, 0x00,       /* mov ecx, 100 */
        0x85, 0xc0,                         /* test eax, eax */
        0x0f, 0x84, 0xc9, 0x0f, 0x00, 0x00, /* jz LOOP */
        0x0f, 0x0b,                         /* ud2 */
    };
    static const uint8_t loop[] = {
        0x83, 0xc0, 0x01,             /* add eax, 1 */
        0xff, 0xc9,                   /* dec ecx */
        0x75, 0xd1,                   /* jnz LOOP */
        0xe6, 0xf4,                   /* out 0xf4, al */
        0xe9, 0xf2, 0xef, 0xff, 0xff, /* jmp FIRST */
    };
    uint8_t nops[40], other[sizeof(loop)];

    memset(nops, 0x90, sizeof(nops));
    memcpy(other, loop, sizeof(other));
    other[2] = 3; /* add eax, 3 */
    rig_put(r, FIRST, top, sizeof(top));
    rig_put(r, LOOP, nops, sizeof(nops));
    rig_put(r, SECOND, loop, sizeof(loop));
    rig_put(r, OTHER, other, sizeof(other));
}

static struct soft_rig *begin_loop(void)
{
    struct soft_options o = { .is_all_hot = true };
    struct soft_rig *r = rig_new(&o);

    rig_mode(r, 64, FIRST);
    rig_user(r);
    map_area(r);
    put_code(r);
    return r;
}

static void check_run(struct soft_rig *r, unsigned growth)
{
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    assert_int_equal(r->c->gpr[GPR_AX], 100 * growth);
}

static void the_second_page_may_become_another_one(void **state)
{
    static const enum cpu_flush how[] = {
        CPU_FLUSH_ALL,
        CPU_FLUSH_NONGLOBAL,
        CPU_FLUSH_PAGE,
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
        struct soft_rig *r = begin_loop();

        for (unsigned k = 0; k < 4; k++)
            check_run(r, 1);
        map_page(r, SECOND, OTHER);
        tlb_flush(r->eng, how[i], SECOND);
        for (unsigned k = 0; k < 4; k++)
            check_run(r, 3);
        map_page(r, SECOND, SECOND);
        tlb_flush(r->eng, how[i], SECOND);
        check_run(r, 1);
        rig_free(r);
    }
}

static void the_second_page_may_go_away(void **state)
{
    static const uint64_t none = 0;
    struct soft_rig *r = begin_loop();

    (void)state;
    check_run(r, 1);
    rig_put(r, AREA_TABLE + 8 * (SECOND >> 12 & 511), &none, 8);
    tlb_flush(r->eng, CPU_FLUSH_PAGE, SECOND);
    r->c->rip = FIRST;
    /* No table of gates: the fault shuts the CPU down. */
    r->c->idt.limit = 0;
    rig_run(r);
    assert_int_equal(r->c->cr2, SECOND);
    assert_int_equal(r->c->gpr[GPR_CX], 100);
    rig_free(r);
}

static void the_second_page_may_be_written(void **state)
{
    struct soft_rig *r = begin_loop();

    (void)state;
    for (unsigned growth = 1; growth < 6; growth++) {
        uint8_t n = (uint8_t)growth;

        rig_put(r, OPERAND, &n, 1);
        check_run(r, growth);
    }
    rig_free(r);
}

/* The loop changes the operand of its own addition in the next page. */
static void hot_code_may_change_its_own_next_page(void **state)
{
    static const uint8_t loop[] = {
        0x48, 0x8d, 0x14, 0x08,             /* lea rdx, [rax+rcx] */
        0x88, 0x0d, 0x04, 0x00, 0x00, 0x00, /* mov [operand], cl */
        0x90, 0x90,                         /* here the page ends */
        0x83, 0xc0, 0x01,                   /* add eax, 1 */
        0xff, 0xc9,                         /* dec ecx */
        0x75, 0xed,                         /* jnz */
        0xe6, 0xf4, 0xeb, 0xfe,
    };
    struct soft_rig *r = begin_loop();

    (void)state;
    rig_put(r, SECOND - 12, loop, sizeof(loop));
    r->c->rip = SECOND - 12;
    r->c->gpr[GPR_AX] = 0;
    r->c->gpr[GPR_CX] = 100;
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    assert_int_equal(r->c->gpr[GPR_AX], 100 * 101 / 2);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_may_meet_the_next_page_anywhere),
        cmocka_unit_test(the_second_page_may_become_another_one),
        cmocka_unit_test(the_second_page_may_go_away),
        cmocka_unit_test(the_second_page_may_be_written),
        cmocka_unit_test(hot_code_may_change_its_own_next_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
