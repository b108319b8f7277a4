/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/*
 * The same code at many linear addresses (core/soft/move.h): what it computes
 * there, also of its own address, when it is written, and that it is not
 * translated again.  The host runs it at the same distances.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "core/soft/code.h"
#include "core/soft/engine.h"
#include "tests/unit/support/soft_rig.h"

/*
 * Every kind of transfer, within the page and to the next one; data off RIP
 * alone, in groups and behind a page's end; addresses of code, less where the
 * code is; stack frames; strings.  Data are two pages behind the start.
 */
__asm__(".text\n"
        ".p2align 12\n"
        "tour:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    sub $0x88, %rsp\n"
        "    lea tour(%rip), %rbx\n"
        "    xor %eax, %eax\n"
        "    mov $30, %r12d\n"
        "1:  call near\n"
        "    add tour+0x2010(%rip), %rax\n"
        "    add tour+0x2018(%rip), %rax\n"
        "    add %rax, tour+0x2020(%rip)\n"
        "    call far\n"
        "    lea near(%rip), %rcx\n"
        "    call *%rcx\n"
        "    mov %rcx, 0x20(%rsp)\n"
        "    mov 0x20(%rsp), %rdx\n"
        "    sub %rbx, %rdx\n"
        "    add %rdx, %rax\n"
        "    mov %eax, %ecx\n"
        "    and $3, %ecx\n"
        "    lea table(%rip), %rdx\n"
        "    movslq (%rdx, %rcx, 4), %rcx\n"
        "    add %rdx, %rcx\n"
        "    jmp *%rcx\n"
        "2:  rol $5, %rax\n"
        "    jmp 5f\n"
        "3:  xor tour+0x2ffc(%rip), %rax\n" /* two pages */
        "    jmp 5f\n"
        "4:  imul $0x10001, %rax, %rax\n"
        "5:  lea tour+0x2100(%rip), %rdi\n"
        "    lea tour+0x2080(%rip), %rsi\n"
        "    mov $5, %ecx\n"
        "    rep movsq\n"
        "    movups tour+0x2100(%rip), %xmm0\n"
        "    movups tour+0x2118(%rip), %xmm1\n"
        "    paddq %xmm1, %xmm0\n"
        "    movups %xmm0, tour+0x2090(%rip)\n"
        "    mov $3, %ecx\n"
        "6:  lock xadd %rax, tour+0x2040(%rip)\n"
        "    loop 6b\n"
        "    cmpb $0x40, %al\n"
        "    ja 7f\n"
        "    notq tour+0x2040(%rip)\n"
        "7:  dec %r12d\n"
        "    jnz 1b\n"
        "    add $0x88, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    ret\n"
        "near:\n"
        "    mov (%rsp), %r13\n"
        "    sub %rbx, %r13\n"
        "    add %r13, %rax\n"
        "    add $7, %rax\n"
        "    ret $0\n"
        "table:\n"
        "    .long 2b - table, 3b - table, 4b - table, 5b - table\n"
        "    .org tour + 0x1000 - 9\n"
        "far:\n" /* goes on in the next page */
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    mov 8(%rbp), %r14\n"
        "    sub %rbx, %r14\n"
        "    xor %r14, %rax\n"
        "    mov $9, %r15d\n"
        "8:  add $3, %rax\n"
        "    add %rax, tour+0x2200(%rip)\n"
        "    dec %r15d\n"
        "    jnz 8b\n"
        "    leave\n"
        "    ret\n"
        "    .org tour + 0x1800\n"
        "tour_end:\n");
extern const uint8_t tour[], tour_end[];

enum {
    CODE = 0x300000,
    CODE_PAGES = 2,
    DATA = CODE + 0x2000,
    DATA_BYTES = 0x2000,
    PAGES = 4,
    START = 0x40000, /* calls RDI and stops */
    STACK = 0x90000,
};

static void fill(uint8_t *data)
{
    for (unsigned i = 0; i < DATA_BYTES; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
}

static uint64_t run_on_host(uint8_t *data)
{
    uint8_t *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t (*go)(void), v;

    assert_ptr_not_equal(p, MAP_FAILED);
    memcpy(p, tour, (size_t)(tour_end - tour));
    fill(p + 0x2000);
    memcpy(&go, &p, sizeof(go));
    v = go();
    memcpy(data, p + 0x2000, DATA_BYTES);
    munmap(p, PAGES * 4096);
    return v;
}

static struct soft_rig *begin(const struct soft_options *o)
{
    static const uint8_t start[] = { 0xff, 0xd7, 0xe6, 0xf4, 0xeb, 0xfe };
    struct soft_rig *r = rig_new(o);

    rig_mode(r, 64, START);
    rig_user(r);
    rig_put(r, START, start, sizeof(start));
    rig_put(r, CODE, tour, (size_t)(tour_end - tour));
    return r;
}

static uint64_t run_at(struct soft_rig *r, uint64_t lin)
{
    fill(r->ram.host + DATA);
    rig_map(r, lin, CODE, PAGES);
    tlb_flush(r->eng, CPU_FLUSH_ALL, 0);
    r->c->rip = START;
    r->c->gpr[GPR_SP] = STACK;
    r->c->gpr[GPR_DI] = lin;
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    return r->c->gpr[GPR_AX];
}

static uint64_t place(unsigned i)
{
    static const uint64_t base[] = { 0x555555554000, 0x7f0123456000,
                                     0x7ffff7a00000, 0x400000000 };

    return base[i & 3] + (uint64_t)i * 0x7000;
}

static const struct soft_options ways[] = {
    { .is_all_hot = false },    { .is_all_hot = true },
    { .is_ungrouped = true },   { .is_verified = true },
    { .cache_bytes = 4 << 20 },
};

static void moved_code_does_the_same(void **state)
{
    static uint8_t here[DATA_BYTES];
    uint64_t expected = run_on_host(here);

    (void)state;
    for (unsigned w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        struct soft_rig *r = begin(&ways[w]);

        for (unsigned i = 0; i < 60; i++) {
            assert_int_equal(run_at(r, place(i)), expected);
            assert_memory_equal(r->ram.host + DATA, here, DATA_BYTES);
        }
        rig_free(r);
    }
}

/* But for blocks that end in the next page. */
static void code_is_translated_once(void **state)
{
    struct soft_rig *r = begin(NULL);
    uint64_t first;

    (void)state;
    run_at(r, place(0));
    first = r->soft->cache->stat.blocks;
    for (unsigned i = 1; i < 20; i++)
        run_at(r, place(i));
    assert_in_range(first, 20, 100);
    assert_in_range(r->soft->cache->stat.blocks, first, first + 19 * 3);
    assert_in_range(r->soft->cache->stat.moved, 19 * (first - 6), 19 * first);
    rig_free(r);
}

/* The table of switches is in code, and what is written there counts at once,
 * wherever the code is. */
static void a_store_drops_the_code_everywhere(void **state)
{
    enum { AT = 0x100 };
    uint8_t add[] = {
        0x48, 0x8d, 0x05, 0xf9, 0xfe, 0xff, 0xff, /* lea rax, [CODE] */
        0x48, 0x29, 0xf8,                         /* sub rax, rdi */
        0x48, 0x05, 0x00, 0x00, 0x00, 0x00,       /* add rax, imm32 */
        0xc3,
    };
    static const uint8_t jump[] = { 0xe9, 0xfb, 0x00, 0x00, 0x00 };
    struct soft_rig *r = begin(NULL);

    (void)state;
    rig_put(r, CODE, jump, sizeof(jump));
    for (unsigned n = 1; n < 30; n++) {
        add[12] = (uint8_t)n;
        rig_put(r, CODE + AT, add, sizeof(add));
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(run_at(r, place(i)), n);
    }
    assert_true(r->soft->cache->stat.moved > 0);
    rig_free(r);
}

/* 32-bit addresses are in shorter instructions, and so are those of the upper
 * half: such code stays where it is. */
static void only_code_at_long_addresses_is_moved(void **state)
{
    struct mode_key user = { .bits = BM_CODE64 | SPACE_USER << BM_SPACE_SHIFT };
    struct mode_key super = { .bits = BM_CODE64 | SPACE_SUPER
                                                      << BM_SPACE_SHIFT };
    struct mode_key narrow = { .bits = BM_CODE32 };

    (void)state;
    assert_true(code_may_move(&user, 0x7f0000000000));
    assert_true(code_may_move(&user, 0x555555554000));
    assert_false(code_may_move(&user, 0x400000));
    assert_false(code_may_move(&user, 0xfffff000));
    assert_true(code_may_move(&user, 0x7ffff7a00000));
    assert_false(code_may_move(&user, 0x7fffffff0000));
    assert_false(code_may_move(&user, 0xffff800000000000));
    assert_false(code_may_move(&super, 0x7f0000000000));
    assert_false(code_may_move(&narrow, 0x400000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_code_does_the_same),
        cmocka_unit_test(code_is_translated_once),
        cmocka_unit_test(a_store_drops_the_code_everywhere),
        cmocka_unit_test(only_code_at_long_addresses_is_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
