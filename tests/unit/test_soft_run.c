/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/* Small programs on the software CPU, translated and emulated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/soft/code.h"
#include "core/soft/engine.h"
#include "tests/unit/support/soft_rig.h"

enum { CODE = 0x100000 };

static const struct soft_options ways[] = {
    { .is_interpreted = true }, { .is_interpreted = false },
    { .is_ungrouped = true },   { .is_all_hot = true },
    { .is_verified = true },
};

/* Run code in a mode each way; check is called afterwards. */
static void run_each_way(unsigned bits, const uint8_t *code, size_t bytes,
                         void (*check)(struct soft_rig *r))
{
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct soft_rig *r = rig_new(&ways[i]);
        uint64_t at = bits == 16 ? 0x8000 : CODE;

        rig_put(r, at, code, bytes);
        rig_mode(r, bits, at);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        check(r);
        if (bits == 64) {
            rig_put(r, at, code, bytes);
            rig_mode(r, bits, at);
            rig_user(r);
            assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
            check(r);
        }
        rig_free(r);
    }
}

static void check_sum(struct soft_rig *r)
{
    assert_int_equal(r->c->gpr[GPR_BX], 500500);
}

static void a_64_bit_loop_computes_a_sum(void **state)
{
    static const uint8_t code[] = {
        0xb9, 0xe8, 0x03, 0x00, 0x00, /* mov ecx, 1000 */
        0x31, 0xdb,                   /* xor ebx, ebx */
        0x48, 0x01, 0xcb,             /* add rbx, rcx */
        0xff, 0xc9,                   /* dec ecx */
        0x75, 0xf9,                   /* jnz */
        0xe6, 0xf4,                   /* out 0xf4, al */
        0xeb, 0xfe,
    };
    (void)state;
    run_each_way(64, code, sizeof(code), check_sum);
}

static void a_32_bit_loop_computes_a_sum(void **state)
{
    static const uint8_t code[] = {
        0xb9, 0xe8, 0x03, 0x00, 0x00, /* mov ecx, 1000 */
        0x31, 0xdb,                   /* xor ebx, ebx */
        0x01, 0xcb,                   /* add ebx, ecx */
        0x49,                         /* dec ecx */
        0x75, 0xfb,                   /* jnz */
        0xe6, 0xf4,                   /* out 0xf4, al */
        0xeb, 0xfe,
    };
    (void)state;
    run_each_way(32, code, sizeof(code), check_sum);
}

static void a_16_bit_loop_computes_a_sum(void **state)
{
    static const uint8_t code[] = {
        0xb9, 0xe8, 0x03,       /* mov cx, 1000 */
        0x66, 0x31, 0xdb,       /* xor ebx, ebx */
        0x66, 0x0f, 0xb7, 0xc1, /* movzx eax, cx */
        0x66, 0x01, 0xc3,       /* add ebx, eax */
        0xe2, 0xf7,             /* loop */
        0xe6, 0xf4,             /* out 0xf4, al */
        0xeb, 0xfe,
    };
    (void)state;
    run_each_way(16, code, sizeof(code), check_sum);
}

static void check_memory(struct soft_rig *r)
{
    uint32_t v;

    memcpy(&v, r->ram.host + 0x2ffffe, sizeof(v));
    assert_int_equal(v, 0x12345678 + 100);
    assert_int_equal(r->c->gpr[GPR_DX], 0x12345678 + 100);
    assert_int_equal(r->c->gpr[GPR_R13], 0x55);
    assert_int_equal(r->mmio_value, 0xcafe);
    assert_int_equal((uint32_t)r->c->gpr[GPR_SI], ~0xcafeu);
}

static void memory_across_pages_and_devices_is_reached(void **state)
{
    static const uint8_t code[] = {
        0x49, 0xc7, 0xc4, 0xfe, 0xff, 0x2f, 0x00,       /* mov r12, 0x2ffffe */
        0x41, 0xc7, 0x04, 0x24, 0x78, 0x56, 0x34, 0x12, /* mov [r12], imm */
        0xb9, 0x64, 0x00, 0x00, 0x00,                   /* mov ecx, 100 */
        0x41, 0xff, 0x04, 0x24,                         /* inc dword [r12] */
        0xff, 0xc9, 0x75, 0xf8,                         /* dec ecx; jnz */
        0x41, 0x8b, 0x14, 0x24,                         /* mov edx, [r12] */
        0x6a, 0x55,                                     /* push 0x55 */
        0x41, 0x5d,                                     /* pop r13 */
        0xbf, 0x00, 0x00, 0x00, 0xf0,       /* mov edi, 0xf0000000 */
        0xc7, 0x07, 0xfe, 0xca, 0x00, 0x00, /* mov [rdi], 0xcafe */
        0x8b, 0x37,                         /* mov esi, [rdi] */
        0xe6, 0xf4, 0xeb, 0xfe,
    };
    (void)state;
    run_each_way(64, code, sizeof(code), check_memory);
}

static void check_calls(struct soft_rig *r)
{
    assert_int_equal(r->c->gpr[GPR_AX], 832040); /* fib(30) */
}

static void recursive_calls_return(void **state)
{
    static const uint8_t code[] = {
        0xbf,
        0x1e,
        0x00,
        0x00,
        0x00, /* mov edi, 30 */
        0xe8,
        0x04,
        0x00,
        0x00,
        0x00, /* call fib */
        0xe6,
        0xf4,
        0xeb,
        0xfe,
        /* fib: */
        0x89,
        0xf8, /* mov eax, edi */
        0x83,
        0xff,
        0x02, /* cmp edi, 2 */
        0x7c,
        0x17, /* jl out */
        0x53, /* push rbx */
        0x57, /* push rdi */
        0xff,
        0xcf, /* dec edi */
        0xe8,
        0xf0,
        0xff,
        0xff,
        0xff, /* call fib */
        0x89,
        0xc3, /* mov ebx, eax */
        0x5f, /* pop rdi */
        0x83,
        0xef,
        0x02, /* sub edi, 2 */
        0xe8,
        0xe5,
        0xff,
        0xff,
        0xff, /* call fib */
        0x01,
        0xd8, /* add eax, ebx */
        0x5b, /* pop rbx */
        0xc3,
    };
    struct soft_options o = { .is_interpreted = false };
    struct soft_rig *r = rig_new(&o);

    (void)state;
    rig_put(r, CODE, code, sizeof(code));
    rig_mode(r, 64, CODE);
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    check_calls(r);
    rig_free(r);
}

static void check_modified(struct soft_rig *r)
{
    assert_int_equal(r->c->gpr[GPR_AX], 10 + 20);
}

static void code_that_changes_itself_is_seen(void **state)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                               /* xor eax, eax */
        0xb9, 0x02, 0x00, 0x00, 0x00,             /* mov ecx, 2 */
        0x83, 0xc0, 0x0a,                         /* add eax, 10 */
        0xc6, 0x05, 0xf8, 0xff, 0xff, 0xff, 0x14, /* its operand = 20 */
        0xff, 0xc9, 0x75, 0xf2,                   /* dec ecx; jnz */
        0xe6, 0xf4, 0xeb, 0xfe,
    };
    (void)state;
    run_each_way(64, code, sizeof(code), check_modified);
}

static void check_straddle(struct soft_rig *r)
{
    assert_int_equal(r->c->gpr[GPR_BX], 100000ull * 100001);
    assert_int_equal(r->c->gpr[GPR_SP], 0x301020);
}

static const uint8_t straddle[] = {
    0xbc, 0x20, 0x10, 0x30, 0x00, /* mov esp,0x301020 */
    0xb9, 0xa0, 0x86, 0x01, 0x00, /* mov ecx,0x186a0 */
    0x31, 0xdb,                   /* xor ebx,ebx */
    0x48, 0x83, 0xec, 0x40,       /* sub rsp,0x40 */
    0x48, 0x89, 0x0c, 0x24,       /* mov QWORD PTR [rsp],rcx */
    0x48, 0x89, 0x4c, 0x24, 0x08, /* mov QWORD PTR [rsp+0x8],rcx */
    0x48, 0x89, 0x4c, 0x24, 0x38, /* mov QWORD PTR [rsp+0x38],rcx */
    0x48, 0x03, 0x1c, 0x24,       /* add rbx,QWORD PTR [rsp] */
    0x48, 0x03, 0x5c, 0x24, 0x38, /* add rbx,QWORD PTR [rsp+0x38] */
    0xe8, 0x0c, 0x00, 0x00, 0x00, /* call 38 */
    0x48, 0x83, 0xc4, 0x40,       /* add rsp,0x40 */
    0xff, 0xc9,                   /* dec ecx */
    0x75, 0xd8,                   /* jne c */
    0xe6, 0xf4,                   /* out 0xf4,al */
    0xeb, 0xfe,                   /* jmp 36 */
    0x51,                         /* push rcx */
    0x5a,                         /* pop rdx */
    0xc3,                         /* ret */
};

static void a_frame_across_pages_works(void **state)
{
    (void)state;
    run_each_way(64, straddle, sizeof(straddle), check_straddle);
}

/* Its group's checks fail each time round: that must stay inside. */
static void a_frame_across_pages_does_not_leave_translated_code(void **state)
{
    struct soft_options o = { .is_interpreted = false };
    struct soft_rig *r = rig_new(&o);

    (void)state;
    rig_put(r, CODE, straddle, sizeof(straddle));
    rig_mode(r, 64, CODE);
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    check_straddle(r);
    assert_in_range(r->eng->stat.entries, 1, 100);
    assert_in_range(r->eng->stat.emulated, 0, 100);
    rig_free(r);
}

static void check_written_code(struct soft_rig *r)
{
    assert_int_equal(r->c->gpr[GPR_BX], 3 + 2 + 1);
}

static void code_written_by_the_same_stores_again_is_seen(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x30, 0x00, /* mov edi,0x300000 */
        0xb9, 0x03, 0x00, 0x00, 0x00, /* mov ecx,0x3 */
        0x31, 0xdb,                   /* xor ebx,ebx */
        0xc6, 0x07, 0xb0,             /* mov BYTE PTR [rdi],0xb0 */
        0x88, 0x4f, 0x01,             /* mov BYTE PTR [rdi+0x1],cl */
        0xc6, 0x47, 0x02, 0xc3,       /* mov BYTE PTR [rdi+0x2],0xc3 */
        0x31, 0xc0,                   /* xor eax,eax */
        0xff, 0xd7,                   /* call rdi */
        0x01, 0xc3,                   /* add ebx,eax */
        0xff, 0xc9,                   /* dec ecx */
        0x75, 0xec,                   /* jne c */
        0xe6, 0xf4,                   /* out 0xf4,al */
        0xeb, 0xfe,                   /* jmp 22 */
    };
    (void)state;
    run_each_way(64, code, sizeof(code), check_written_code);
}

enum { PAGE = 0x600000, OTHER_PAGE = 0x800000 };

/* The 2 MiB page at PAGE is at gpa. */
static void map_page(struct soft_rig *r, uint64_t gpa)
{
    uint64_t entry = gpa | 0xe7; /* present, writable, user, A, D, 2 MiB */

    rig_put(r, RIG_TABLES + 0x2000 + 8 * (PAGE >> 21), &entry, 8);
}

static uint32_t get32(struct soft_rig *r, uint64_t gpa)
{
    uint32_t v;

    memcpy(&v, r->ram.host + gpa, sizeof(v));
    return v;
}

static void put32(struct soft_rig *r, uint64_t gpa, uint32_t v)
{
    rig_put(r, gpa, &v, sizeof(v));
}

static const enum cpu_flush flushes[] = {
    CPU_FLUSH_ALL,
    CPU_FLUSH_NONGLOBAL,
    CPU_FLUSH_PAGE,
};

static void a_load_sees_a_page_remapped(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x60, 0x00, /* mov edi,0x600000 */
        0x8b, 0x07,                   /* mov eax,DWORD PTR [rdi] */
        0x89, 0xc3,                   /* mov ebx,eax */
        0xe6, 0xf4,                   /* out 0xf4,al */
        0xeb, 0xf8,                   /* jmp 29 */
    };
    struct soft_options o = { .is_all_hot = true };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct soft_rig *r = rig_new(&o);

        rig_put(r, CODE, code, sizeof(code));
        rig_mode(r, 64, CODE);
        rig_user(r);
        map_page(r, PAGE);
        put32(r, PAGE, 1);
        put32(r, OTHER_PAGE, 2);
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
            assert_int_equal(r->c->gpr[GPR_BX], 1);
        }
        map_page(r, OTHER_PAGE);
        tlb_flush(r->eng, flushes[i], PAGE);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(r->c->gpr[GPR_BX], 2);
        rig_free(r);
    }
}

static void a_store_goes_to_a_page_remapped(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x60, 0x00, /* mov edi,0x600000 */
        0x89, 0x3f,                   /* mov DWORD PTR [rdi],edi */
        0xe6, 0xf4,                   /* out 0xf4,al */
        0xeb, 0xfa,                   /* jmp 36 */
    };
    struct soft_options o = { .is_all_hot = true };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct soft_rig *r = rig_new(&o);

        rig_put(r, CODE, code, sizeof(code));
        rig_mode(r, 64, CODE);
        rig_user(r);
        map_page(r, PAGE);
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        }
        assert_int_equal(get32(r, PAGE), PAGE);
        put32(r, PAGE, 0);
        map_page(r, OTHER_PAGE);
        tlb_flush(r->eng, flushes[i], PAGE);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(get32(r, PAGE), 0);
        assert_int_equal(get32(r, OTHER_PAGE), PAGE);
        rig_free(r);
    }
}

/*
 * R13 counts the rounds and there is no register to change places with: the
 * loop has no second form, and its jump back leads to its own start without a
 * link.
 */
__asm__(".pushsection .rodata\n"
        "full_loop:\n"
        "1:  add (%r13), %rax\n"
        "    lea (%rax, %rcx), %rdx\n"
        "    lea (%rdx, %rsi), %rbx\n"
        "    lea (%rbx, %rdi), %r8\n"
        "    lea (%r8, %r9), %r10\n"
        "    lea (%r10, %r11), %rcx\n"
        "    lea (%rcx, %r12), %r9\n"
        "    lea (%rsp, %r9), %r11\n"
        "    lea (%r11, %rdx), %r12\n"
        "    lea (%r12, %rbx), %rsi\n"
        "    lea (%rsi, %r8), %rdi\n"
        "    add $8, %r13\n"
        "    sub $1, %ebp\n"
        "    jnz 1b\n"
        "    out %al, $0xf4\n"
        "1:  jmp 1b\n"
        "full_loop_end:\n"
        ".popsection\n");
extern const uint8_t full_loop[], full_loop_end[];

static void run_full_loop(struct soft_rig *r)
{
    rig_put(r, CODE, full_loop, (size_t)(full_loop_end - full_loop));
    rig_mode(r, 64, CODE);
    for (unsigned g = 0; g < 16; g++) {
        if (g != GPR_SP) r->c->gpr[g] = 0x0123456789abcdef * (g + 1);
    }
    r->c->gpr[GPR_BP] = 2000;
    r->c->gpr[GPR_R13] = 0x200100;
    for (unsigned i = 0; i < 0x5000; i++)
        r->ram.host[0x200000 + i] = (uint8_t)(i * i >> 3);
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
}

static void
a_loop_without_second_form_sees_that_its_code_is_written(void **state)
{
    enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
    struct soft_rig *r[WAYS];

    (void)state;
    for (unsigned i = 0; i < WAYS; i++) {
        const struct block *b = NULL;
        const struct code_cache *cache;

        r[i] = rig_new(&ways[i]);
        run_full_loop(r[i]);
        assert_memory_equal(r[i]->c->gpr, r[0]->c->gpr, sizeof(r[0]->c->gpr));
        cache = r[i]->soft->cache;
        if (!cache) continue;
        for (unsigned k = 0; k < cache->block_count; k++) {
            const struct block *one = &cache->blocks[k];
            if (one->lin == CODE && !(one->mode.bits & BM_UNGROUPED)) b = one;
        }
        /* Ungrouped it is no loop: it has a link. */
        if (ways[i].is_ungrouped) continue;
        assert_true(b && b->has_loop && !b->is_counted);
        atomic_store(&r[i]->eng->attn, 0);
        soft_code_written(r[i]->soft, CODE, 1);
        assert_true(b->is_dead);
        assert_int_equal(atomic_load(&r[i]->eng->attn), 1);
    }
    for (unsigned i = 0; i < WAYS; i++)
        rig_free(r[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_64_bit_loop_computes_a_sum),
        cmocka_unit_test(a_32_bit_loop_computes_a_sum),
        cmocka_unit_test(a_16_bit_loop_computes_a_sum),
        cmocka_unit_test(
            a_loop_without_second_form_sees_that_its_code_is_written),
        cmocka_unit_test(memory_across_pages_and_devices_is_reached),
        cmocka_unit_test(recursive_calls_return),
        cmocka_unit_test(code_that_changes_itself_is_seen),
        cmocka_unit_test(code_written_by_the_same_stores_again_is_seen),
        cmocka_unit_test(a_load_sees_a_page_remapped),
        cmocka_unit_test(a_store_goes_to_a_page_remapped),
        cmocka_unit_test(a_frame_across_pages_works),
        cmocka_unit_test(a_frame_across_pages_does_not_leave_translated_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
