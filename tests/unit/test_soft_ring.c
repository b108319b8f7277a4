/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/*
 * SYSCALL, SYSRET, IRETQ, page faults and REP strings: random cases run by a
 * small kernel, translated and emulated, must leave the same record.
 * RING_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/support/soft_rig.h"

/* Guest addresses; the kernel below has them as numbers. */
enum {
    KERNEL = 0x100000,
    USER = 0x500000,
    CASES = 0x200000,
    VARS = 0x300000, /* next case, next record, cases left, user RSP */
    LOG = 0x400000,
    TSS = 0x9f000,
    STRING = 0x600000,
    CASE_COUNT = 400,
    CASE_BYTES = 64,
    RECORD_BYTES = 128,
    STUB_BYTES = 8,
};

/*
 * next: load a case and do it; every entry into the kernel stores a record.
 * What an entry finds is on the stack: the stub has pushed the vector.
 */
__asm__(".pushsection .rodata\n"
        "  .balign 64\n"
        "ring_kernel:\n"
        "next:\n"
        "  mov $0x80000, %esp\n"
        "  mov 0x300000, %rsi\n"
        "  addq $64, 0x300000\n"
        "  decq 0x300010\n"
        "  js done\n"
        "  mov 8(%rsi), %rbx\n"
        "  mov (%rsi), %eax\n"
        "  dec %eax\n"
        "  js sysret\n"
        "  jz iret\n"
        "  dec %eax\n"
        "  jz fault\n"
        "  mov 16(%rsi), %rcx\n"
        "  mov %rbx, %rdi\n"
        "  mov 24(%rsi), %rax\n"
        "  mov %rsi, %rdx\n"
        "  pushq 32(%rsi)\n"
        "  mov 40(%rsi), %rsi\n"
        "  testb $1, 48(%rdx)\n"
        "  jnz 1f\n"
        "  popfq\n"
        "  rep stosb\n"
        "  jmp strung\n"
        "1: testb $2, 48(%rdx)\n"
        "  jnz 1f\n"
        "  popfq\n"
        "  rep stosq\n"
        "  jmp strung\n"
        "1: testb $4, 48(%rdx)\n"
        "  jnz 1f\n"
        "  popfq\n"
        "  rep movsb\n"
        "  jmp strung\n"
        "1: popfq\n"
        "  rep movsq\n"
        "strung:\n"
        "  mov %rdi, %r11\n"
        "  push $0x55\n"
        "  jmp record\n"
        "fault:\n"
        "  pushq 32(%rsi)\n"
        "  popfq\n"
        "  mov (%rbx), %rcx\n"
        "  adc %rcx, (%rbx)\n"
        "  push $0x56\n"
        "  jmp record\n"
        "sysret:\n"
        "  mov 16(%rsi), %r11\n"
        "  mov 24(%rsi), %rcx\n"
        "  pushq 32(%rsi)\n"
        "  popfq\n"
        "  sysretq\n"
        "iret:\n"
        "  pushq 16(%rsi)\n"
        "  pushq 48(%rsi)\n"
        "  pushq 40(%rsi)\n"
        "  pushq 56(%rsi)\n"
        "  pushq 24(%rsi)\n"
        "  pushq 32(%rsi)\n"
        "  popfq\n"
        "  iretq\n"
        "done:\n"
        "  out %al, $0xf4\n"
        "  jmp done\n"
        "ring_entry:\n"
        "  mov %rsp, 0x300018\n"
        "  mov $0x80000, %esp\n"
        "  pushq 0x300018\n"
        "  push $0x57\n"
        "  jmp record\n"
        "ring_kernel_target:\n"
        "  push $0x58\n"
        "record:\n"
        "  pushfq\n"
        "  mov 0x300008, %rdi\n"
        "  addq $128, 0x300008\n"
        "  cld\n"
        "  popq (%rdi)\n"
        "  mov %rcx, 8(%rdi)\n"
        "  mov %r11, 16(%rdi)\n"
        "  mov %rax, 24(%rdi)\n"
        "  mov %rsp, 32(%rdi)\n"
        "  mov %cs, 40(%rdi)\n"
        "  mov %ss, 42(%rdi)\n"
        "  mov %ds, 44(%rdi)\n"
        "  mov %cr2, %rcx\n"
        "  mov %rcx, 48(%rdi)\n"
        "  mov %cr0, %r13\n"
        "  mov %r13, 56(%rdi)\n"
        "  lea 64(%rdi), %rdi\n"
        "  mov %rsp, %rsi\n"
        "  mov $8, %ecx\n"
        "  rep movsq\n"
        "  mov $0x10, %ecx\n"
        "  mov %ecx, %ss\n"
        "  jmp next\n"
        "  .balign 8\n"
        "ring_stubs:\n"
        "  .set v, 0\n"
        "  .rept 32\n"
        "  .balign 8\n"
        "  push $v\n"
        "  jmp record\n"
        "  .set v, v + 1\n"
        "  .endr\n"
        "ring_kernel_end:\n"
        "  .balign 64\n"
        "ring_user:\n"
        "  syscall\n"
        "  .balign 8\n"
        "  add %rbx, %rcx\n" /* at 8 */
        "  syscall\n"
        "  .balign 8\n"
        "  mov (%rbx), %rax\n" /* at 16 */
        "  adc %rax, (%rbx)\n"
        "  syscall\n"
        "  .balign 8\n"
        "  .fill 16, 1, 0xf4\n" /* at 24: hlt */
        "ring_user_end:\n"
        ".popsection\n");

extern const uint8_t ring_kernel[], ring_kernel_end[], ring_entry[],
    ring_kernel_target[], ring_stubs[], ring_user[], ring_user_end[];

static uint64_t random_state;

static uint64_t rnd(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static bool one_in(unsigned n)
{
    return rnd() % n == 0;
}

static uint64_t at_kernel(const uint8_t *p)
{
    return KERNEL + (uint64_t)(p - ring_kernel);
}

static uint64_t random_flags(bool is_plain)
{
    uint64_t v = rnd() & FLAGS_ARITH;

    if (is_plain) return v | 2;
    if (one_in(2)) v |= FLAG_RF;
    if (one_in(2)) v |= FLAG_ID;
    if (one_in(8)) v |= FLAG_TF;
    if (one_in(8)) v |= FLAG_DF;
    if (one_in(8)) v |= FLAG_AC;
    if (one_in(16)) v |= FLAG_NT;
    if (one_in(16)) v |= FLAG_VIP;
    if (one_in(16)) v |= FLAG_VM;
    if (one_in(4)) v |= FLAG_IF;
    if (one_in(8)) v |= FLAG_IOPL;
    return v;
}

static uint64_t random_user_rip(void)
{
    static const uint64_t at[] = { 0, 0, 8, 8, 16, 16, 24 };

    if (one_in(24)) return 0x800000000000;
    if (one_in(24)) return 0x140000000; /* not present */
    return USER + at[rnd() % 7];
}

/* A readable address, or one that faults. */
static uint64_t random_address(void)
{
    if (one_in(3)) return 0x100000000 + (rnd() & 0xfffff);
    if (one_in(8)) return 0x900000000000 + (rnd() & 0xff);
    return STRING + (rnd() & 0xffff);
}

static void make_case(uint64_t c[8])
{
    static const uint16_t code[] = { 0x2b, 0x2b, 0x2b, 0x2b, 0x08,
                                     0x08, 0x1b, 0x28, 0x10, 0 };
    static const uint16_t data[] = { 0x23, 0x23, 0x23, 0x10, 0, 3, 0x20 };

    memset(c, 0, CASE_BYTES);
    c[0] = rnd() % 4;
    c[1] = random_address();
    c[4] = random_flags(true);
    switch (c[0]) {
    case 0:
        c[2] = random_flags(false);
        c[3] = random_user_rip();
        break;
    case 1:
        c[7] = code[rnd() % 10];
        c[2] = c[7] == 0x2b && !one_in(8)   ? 0x23
               : c[7] == 0x08 && !one_in(4) ? 0x10 * (rnd() & 1)
                                            : data[rnd() % 7];
        c[3] = c[7] == 8 ? at_kernel(ring_kernel_target) : random_user_rip();
        c[5] = random_flags(false);
        c[6] = 0x70000 + (rnd() & 0xfff);
        break;
    default:
        if (c[0] == 2) break;
        c[1] = one_in(4) ? 0xfffff800 : STRING + (rnd() & 0x3fff);
        c[2] = one_in(8) ? 0 : rnd() & (one_in(2) ? 0x1f : 0x7ff);
        c[3] = rnd();
        c[5] = STRING + (rnd() & 0x3fff);
        c[6] = 1 << rnd() % 4;
        if (one_in(3)) c[4] |= FLAG_DF;
        break;
    }
}

static void put_gates(struct soft_rig *r)
{
    for (unsigned v = 0; v < 32; v++) {
        uint64_t to = at_kernel(ring_stubs) + STUB_BYTES * v;
        uint64_t gate[2] = { (to & 0xffff) | 8 << 16 | 0x8eull << 40 |
                                 (to & 0xffff0000) << 32,
                             to >> 32 };
        rig_put(r, RIG_IDT + 16 * v, gate, sizeof(gate));
    }
}

static struct soft_rig *start(const struct soft_options *o, uint64_t fmask)
{
    static const uint64_t gdt[] = {
        0,
        0x00af9b000000ffff, /* 08: kernel code */
        0x00cf93000000ffff, /* 10: kernel data */
        0x00cffb000000ffff, /* 18: user code, 32-bit */
        0x00cff3000000ffff, /* 20: user data */
        0x00affa000000ffff, /* 28: user code, not accessed yet */
    };
    uint64_t vars[4] = { CASES, LOG, CASE_COUNT, 0 }, sp0 = 0x80000;
    struct soft_rig *r = rig_new(o);

    rig_mode(r, 64, KERNEL);
    rig_put(r, KERNEL, ring_kernel, (size_t)(ring_kernel_end - ring_kernel));
    rig_put(r, USER, ring_user, (size_t)(ring_user_end - ring_user));
    rig_put(r, RIG_GDT, gdt, sizeof(gdt));
    rig_put(r, VARS, vars, sizeof(vars));
    rig_put(r, TSS + 4, &sp0, sizeof(sp0));
    put_gates(r);
    r->c->gdt.limit = sizeof(gdt) - 1;
    r->c->tr = (struct cpu_segment){ 0x30, 0x8b, 0x67, TSS };
    r->c->star = 0x1bull << 48 | 8ull << 32;
    r->c->lstar = r->c->cstar = at_kernel(ring_entry);
    r->c->fmask = fmask;
    return r;
}

static const uint64_t fmasks[] = {
    0x257fd5, /* Linux: everything */
    0x47700,  /* older: the arithmetic flags stay */
    0x257fd5,
    0,
};

static uint64_t pick_seed(void)
{
    const char *s = getenv("RING_SEED");
    struct timespec ts;

    if (s) return strtoull(s, NULL, 0);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000003 + (uint64_t)ts.tv_nsec;
}

/* Arithmetic flags that the faulting instruction was about to set need not
 * be the old ones: they are no part of the comparison. */
static void forget_flags(uint64_t *record)
{
    if (record[8] >= 32) return;
    record[0] &= ~(uint64_t)FLAGS_ARITH;
    record[11] &= ~(uint64_t)FLAGS_ARITH; /* without an error code */
    record[12] &= ~(uint64_t)FLAGS_ARITH;
}

static void compare_logs(struct soft_rig *a, struct soft_rig *b, uint64_t seed)
{
    for (unsigned i = 0; i < CASE_COUNT; i++) {
        uint64_t c[8], x[16], y[16];

        memcpy(c, a->ram.host + CASES + CASE_BYTES * i, sizeof(c));
        memcpy(x, a->ram.host + LOG + RECORD_BYTES * i, sizeof(x));
        memcpy(y, b->ram.host + LOG + RECORD_BYTES * i, sizeof(y));
        forget_flags(x);
        forget_flags(y);
        if (memcmp(x, y, sizeof(x)) == 0) continue;
        for (unsigned k = 0; k < 16; k++) {
            if (x[k] == y[k]) continue;
            print_message("word %u: %llx emulated, %llx translated\n", k,
                          (unsigned long long)x[k], (unsigned long long)y[k]);
        }
        for (unsigned k = 0; k < 8; k++) {
            print_message("case[%u] = %llx\n", k, (unsigned long long)c[k]);
        }
        fail_msg("RING_SEED=0x%llx: record %u differs",
                 (unsigned long long)seed, i);
    }
}

static void run_seed(uint64_t seed)
{
    static const struct soft_options ways[] = {
        { .is_interpreted = true },
        { .is_interpreted = false },
        { .is_verified = true },
    };
    struct soft_rig *r[3];
    uint64_t fmask = fmasks[seed & 3];

    for (unsigned w = 0; w < 3; w++) {
        r[w] = start(&ways[w], fmask);
        random_state = seed | 1 << 20;
        for (unsigned i = 0; i < CASE_COUNT; i++) {
            uint64_t c[8];
            make_case(c);
            rig_put(r[w], CASES + CASE_BYTES * i, c, sizeof(c));
        }
        for (unsigned i = 0; i < 0x5000; i += 8) {
            uint64_t v = rnd();
            rig_put(r[w], STRING + i, &v, sizeof(v));
        }
        assert_int_equal(rig_run(r[w]), SOFT_EXIT_EVENT);
        if (w > 0) {
            compare_logs(r[0], r[w], seed);
            assert_memory_equal(r[0]->ram.host + STRING - 0x8000,
                                r[w]->ram.host + STRING - 0x8000, 0x20000);
        }
    }
    for (unsigned w = 0; w < 3; w++)
        rig_free(r[w]);
}

static void crossing_rings_is_as_emulated(void **state)
{
    uint64_t seed = pick_seed();
    unsigned runs = getenv("RING_SEED") ? 1 : 24;

    (void)state;
    print_message("RING_SEED=0x%llx\n", (unsigned long long)seed);
    for (unsigned i = 0; i < runs; i++)
        run_seed(seed + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crossing_rings_is_as_emulated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
