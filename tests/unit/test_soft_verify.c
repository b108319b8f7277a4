/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/*
 * verify=on: a translation that is made wrong, by a byte of its host code, is
 * found, and what it has made wrong is named; right ones are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/soft/code.h"
#include "core/soft/verify.h"
#include "tests/unit/support/soft_rig.h"

enum { CODE = 0x100000, DATA = 0x200000, KERNEL = 0x300000 };

/* Each immediate operand is there once, to be found in the host code. */
__asm__(".text\n"
        "plain:\n"
        "    add $0x11223344, %ebx\n"
        "    movl $0x12345678, (%rdi)\n"
        "    pshufd $0x1b, %xmm0, %xmm1\n"
        "    cmp $0x66778899, %ecx\n"
        "    out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "plain_end:\n"
        "beyond:\n"
        "    test %esi, %esi\n"
        "    jz 2f\n"
        "    add $0x11223344, %ebx\n"
        "    jmp 1f\n"
        "    ud2\n"
        "1:  movl $0x12345678, (%rdi)\n"
        "    movl $0, 8(%rdi)\n"
        "    cmp $0x66778899, %ecx\n"
        "    sub $1, %ebp\n"
        "    jnz beyond\n" /* its stores are checked together from now on */
        "2:  out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "beyond_end:\n"
        "looped:\n"
        "    add $0x11223344, %r13\n"
        "    xor %r13, %r14\n"
        "    add %r14, (%rdi)\n"
        "    movl $0x12345678, 0x1000(%rdi)\n"
        "    add $8, %rdi\n"
        "    sub $1, %ecx\n"
        "    jnz looped\n"
        "    out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "looped_end:\n"
        "strung:\n"
        "    mov $0x1123, %ecx\n" /* more than two pages, from the middle */
        "    add $0x800, %edi\n"
        "    rep stosb\n"
        "    mov $0x2a7, %ecx\n"
        "    mov $0x200000, %esi\n"
        "    rep movsq\n"
        "    out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "strung_end:\n"
        "called:\n"
        "    inc %ebx\n"
        "    syscall\n"
        "called_end:\n"
        "over:\n" /* a superblock from 3: on runs over 3: */
        "    mov $40, %ecx\n"
        "    mov $(0x100000 + 3f - over), %eax\n"
        "    jmp *%rax\n"
        "1:  add $0x11223344, %ebx\n"
        "3:  add %ebx, %edx\n"
        "    sub $1, %ecx\n"
        "    jz 2f\n"
        "    add %edx, %esi\n"
        "    jmp 1b\n"
        "2:  out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "over_end:\n");
extern const uint8_t plain[], plain_end[], beyond[], beyond_end[], looped[],
    looped_end[], strung[], strung_end[], called[], called_end[], over[],
    over_end[];

struct program {
    const uint8_t *code, *end;
    bool is_hot;
};

static const struct program ordinary = { plain, plain_end, false },
                            superblock = { beyond, beyond_end, true },
                            loop = { looped, looped_end, true },
                            strings = { strung, strung_end, false },
                            call = { called, called_end, false },
                            passing = { over, over_end, true };

static struct soft_rig *new_rig(const struct program *p)
{
    struct soft_options o = { .is_verified = true, .is_all_hot = p->is_hot };
    struct soft_rig *r = rig_new(&o);

    rig_put(r, CODE, p->code, (size_t)(p->end - p->code));
    rig_put(r, KERNEL, "\xe6\xf4\xeb\xfe", 4); /* out 0xf4, al */
    return r;
}

static enum soft_exit run(struct soft_rig *r)
{
    struct cpu *c = r->c;

    rig_mode(r, 64, CODE);
    rig_user(r);
    c->gpr[GPR_DI] = DATA;
    c->gpr[GPR_SI] = 1;
    c->gpr[GPR_BP] = 4;
    c->gpr[GPR_CX] = 0x66778899;
    if (memcmp(r->ram.host + CODE, looped, 4) == 0) c->gpr[GPR_CX] = 1000;
    c->star = 0x1bull << 48 | 8ull << 32;
    c->lstar = KERNEL;
    c->fmask = 0x257fd5; /* Linux's */
    for (unsigned i = 160; i < 176; i++)
        c->xsave[i] = (uint8_t)i;
    c->xsave[512] |= 2;
    memset(r->ram.host + DATA, 0x33, 0x4000);
    return rig_run(r);
}

static struct block *block_of(struct soft_rig *r)
{
    struct code_cache *cache = r->soft->cache;

    for (unsigned i = cache->block_count; i-- > 0;) {
        struct block *b = &cache->blocks[i];
        if (b->mode.bits & (BM_UNGROUPED | BM_SPLIT_STACK)) continue;
        if (b->lin == CODE && !b->is_dead) return b;
    }
    fail_msg("no block");
    return NULL;
}

/* Change the first byte of the last such place in the block's main path. */
static void spoil(struct soft_rig *r, const void *bytes, size_t n)
{
    struct code_cache *cache = r->soft->cache;
    const struct block *b = block_of(r);
    uint8_t *at = cache->write + (b->pad - cache->exec);

    for (size_t i = b->bytes - n; i > 0; i--) {
        if (memcmp(at + i, bytes, n) != 0) continue;
        at[i] ^= 1;
        return;
    }
    fail_msg("the operand is not in the host code");
}

/* What verify names, of everything or first, after the operand was changed. */
static void expect(const struct program *p, const void *bytes, size_t n,
                   const char *what, bool is_all)
{
    struct soft_rig *r = new_rig(p);
    char path[] = "/tmp/orrery-verify-XXXXXX", line[200], wanted[80];
    int fd = mkstemp(path);
    unsigned marks = 0;
    const struct block *b;
    FILE *f;

    assert_true(fd >= 0);
    assert_int_equal(run(r), SOFT_EXIT_EVENT);
    b = block_of(r);
    assert_int_equal(b->is_super, p == &superblock);
    assert_int_equal(b->has_loop, p == &loop);
    spoil(r, bytes, n);
    assert_int_equal(log_open(path), 0);
    assert_int_equal(run(r), SOFT_EXIT_ERROR);
    assert_int_equal(log_open(NULL), 0);
    snprintf(wanted, sizeof(wanted), "): %s%s", what, is_all ? ": 0x" : ", ");
    if (!strstr(soft_error(r->eng), wanted)) {
        fail_msg("%s: not %s", soft_error(r->eng), what);
    }
    f = fdopen(fd, "r");
    while (fgets(line, sizeof(line), f)) {
        if (strstr(line, "<-- differs")) marks++;
    }
    fclose(f);
    unlink(path);
    assert_true(is_all ? marks == 1 : marks > 1);
    rig_free(r);
}

static const uint32_t sum = 0x11223344, word = 0x12345678, flag = 0x66778899;

static void right_translations_agree(void **state)
{
    const struct program *all[] = { &ordinary, &superblock, &loop,
                                    &strings,  &call,       &passing };

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct soft_rig *r = new_rig(all[i]);
        const struct verify *l = r->eng->verify;
        for (unsigned n = 0; n < 2 * VERIFY_TIMES; n++)
            assert_int_equal(run(r), SOFT_EXIT_EVENT);
        assert_true(l->stat.blocks > 0 && l->stat.runs >= VERIFY_TIMES);
        assert_int_equal(l->stat.doubtful, 0);
        assert_int_equal(l->stat.long_runs, 0);
        if (all[i] == &superblock) {
            assert_true(l->stat.supers >= 1);
            assert_true(l->stat.super_runs >= VERIFY_TIMES);
        }
        if (all[i] == &loop) {
            assert_true(l->stat.loops >= 1);
            assert_true(l->stat.loop_runs >= VERIFY_TIMES);
        }
        rig_free(r);
    }
}

static void a_wrong_register_is_named(void **state)
{
    (void)state;
    expect(&ordinary, &sum, 4, "RBX", true);
}

static void a_wrong_store_is_named(void **state)
{
    (void)state;
    expect(&ordinary, &word, 4, "memory 0x200000", true);
}

static void a_wrong_flag_is_named(void **state)
{
    (void)state;
    expect(&ordinary, &flag, 1, "PF, ZF", true);
}

static void a_wrong_vector_register_is_named(void **state)
{
    static const uint8_t by[] = { 0x1b, 0x81, 0xf9 }; /* CMP is next */

    (void)state;
    expect(&ordinary, by, sizeof(by), "XMM1.0", true);
}

static void a_wrong_register_in_a_superblock_is_named(void **state)
{
    (void)state;
    expect(&superblock, &sum, 4, "RBX", true);
}

static void a_wrong_store_in_a_superblock_is_named(void **state)
{
    (void)state;
    expect(&superblock, &word, 4, "memory 0x200000", true);
}

static void a_wrong_store_in_a_loop_is_named(void **state)
{
    (void)state;
    expect(&loop, &word, 4, "memory 0x201008", false);
}

static void swapped_registers_of_a_loop_are_compared(void **state)
{
    struct soft_rig *r = new_rig(&loop);
    struct block *b;

    (void)state;
    assert_int_equal(run(r), SOFT_EXIT_EVENT);
    b = block_of(r);
    assert_true(b->has_loop && b->swaps != NO_SWAPS);
    spoil(r, &sum, 4);
    assert_int_equal(run(r), SOFT_EXIT_ERROR);
    assert_non_null(strstr(soft_error(r->eng), ": R13, R14, memory 0x2000"));
    rig_free(r);
}

static void a_wrong_count_of_rep_is_named(void **state)
{
    static const uint32_t stored = 0x1123, moved = 0x2a7;

    (void)state;
    expect(&strings, &stored, 4, "RDI", false);
    expect(&strings, &moved, 4, "RCX", true);
}

static void a_wrong_return_address_of_syscall_is_named(void **state)
{
    static const uint32_t next = CODE + 4;

    (void)state;
    expect(&call, &next, 4, "RCX", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_translations_agree),
        cmocka_unit_test(a_wrong_register_is_named),
        cmocka_unit_test(a_wrong_store_is_named),
        cmocka_unit_test(a_wrong_flag_is_named),
        cmocka_unit_test(a_wrong_vector_register_is_named),
        cmocka_unit_test(a_wrong_register_in_a_superblock_is_named),
        cmocka_unit_test(a_wrong_store_in_a_superblock_is_named),
        cmocka_unit_test(a_wrong_store_in_a_loop_is_named),
        cmocka_unit_test(swapped_registers_of_a_loop_are_compared),
        cmocka_unit_test(a_wrong_count_of_rep_is_named),
        cmocka_unit_test(a_wrong_return_address_of_syscall_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
