/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/* Frames and tables that lie across pages, jumps in the middle: the same code
 * natively and on the software CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "core/soft/engine.h"
#include "tests/unit/support/soft_rig.h"

/* Table look-ups by bytes and bits, a frame, forward jumps both ways. */
__asm__(".text\n"
        "mix:\n"
        "    push %rbx\n"
        "    call mix_body\n"
        "    pop %rbx\n"
        "    ret\n"
        "mix_body:\n"
        "    mov $3000, %ecx\n"
        "    mov $0x12345678, %ebx\n"
        "    xor %eax, %eax\n"
        "1:  push %rbx\n"
        "    push %rcx\n"
        "    sub $0x48, %rsp\n"
        "    mov %rbx, 8(%rsp)\n"
        "    mov %rax, 0x30(%rsp)\n"
        "    movzbl %bl, %edx\n"
        "    add (%rdi, %rdx, 4), %eax\n"
        "    movzbl %bh, %edx\n"
        "    xor 0x400(%rdi, %rdx, 4), %eax\n"
        "    mov %rbx, %rdx\n"
        "    shr $0x38, %rdx\n"
        "    add 0x800(%rdi, %rdx, 8), %rax\n"
        "    mov %ebx, %esi\n"
        "    and $0x3f, %esi\n"
        "    xor (%rdi, %rsi, 8), %rax\n"
        "    movzbl %bl, %edx\n"
        "    sub (%rdi, %rdx, 4), %eax\n"
        "    test $1, %al\n"
        "    jz 2f\n"
        "    add 8(%rsp), %rax\n"
        "2:  test $4, %al\n"
        "    jnz 3f\n"
        "    rol $5, %rax\n"
        "    jmp 4f\n"
        "3:  add 0x30(%rsp), %rax\n"
        "4:  movzbl %al, %edx\n"
        "    incl (%rdi, %rdx, 4)\n"
        "    add $0x48, %rsp\n"
        "    pop %rcx\n"
        "    pop %rbx\n"
        "    imul $0x19660d, %rbx, %rbx\n"
        "    add $0x3c6ef35f, %rbx\n"
        "    dec %ecx\n"
        "    jnz 1b\n"
        "mix_end:\n"
        "    ret\n");
/* A table in the frame itself, looked up by bytes (as strspn does). */
__asm__(".text\n"
        "look:\n"
        "    call look_body\n"
        "    ret\n"
        "look_body:\n"
        "    mov $300, %ecx\n"
        "    xor %eax, %eax\n"
        "1:  sub $0x118, %rsp\n"
        "    mov %rcx, 0x108(%rsp)\n"
        "    xor %edx, %edx\n"
        "2:  lea 5(%rcx, %rdx, 8), %r8d\n"
        "    mov %r8b, (%rsp, %rdx)\n"
        "    inc %edx\n"
        "    cmp $0x100, %edx\n"
        "    jne 2b\n"
        "    movzbl (%rdi, %rcx), %edx\n"
        "    movzbl (%rsp, %rdx), %esi\n"
        "    add %rsi, %rax\n"
        "    movzbl 1(%rdi, %rcx), %edx\n"
        "    rol $7, %rax\n"
        "    xor (%rsp, %rdx), %al\n"
        "    movzbl 2(%rdi, %rcx), %r9d\n"
        "    incb (%rsp, %r9)\n"
        "    movzbl %al, %edx\n"
        "    cmpb $0x40, (%rsp, %rdx)\n"
        "    jb 3f\n"
        "    rol $5, %rax\n"
        "3:  movzbl (%rsp, %r9), %esi\n"
        "    add %rsi, %rax\n"
        "    mov 0x108(%rsp), %rcx\n"
        "    add $0x118, %rsp\n"
        "    dec %ecx\n"
        "    jnz 1b\n"
        "look_end:\n"
        "    ret\n");
/* Tables at constant addresses, as programs have that are linked to one; with
 * flags that live across the look-up.  Bytes of AH where the index is in the
 * register that is borrowed for such operands. */
__asm__(".text\n"
        "fixed:\n"
        "    push %rbx\n"
        "    call fixed_body\n"
        "    pop %rbx\n"
        "    ret\n"
        "fixed_body:\n"
        "    mov $600, %ecx\n"
        "    mov $0x12345678, %ebx\n"
        "    xor %eax, %eax\n"
        "1:  movzbl %bl, %edx\n"
        "    xor 0x200000(, %rdx, 8), %rax\n"
        "    mov %ebx, %r8d\n"
        "    shr $0x18, %r8d\n"
        "    cmp %ecx, %ebx\n"
        "    mov 0x200400(, %r8, 4), %edx\n"
        "    adc %rdx, %rax\n"
        "    movzbl %bh, %esi\n"
        "    mov 0x200010(, %rsi, 2), %r10w\n"
        "    add 0x200010, %r10w\n"
        "    movzwl %r10w, %r10d\n"
        "    add %r10, %rax\n"
        "    movzbl %cl, %esi\n"
        "    mov (%rdi, %rsi), %ah\n"
        "    xor 1(%rdi, %rsi), %ah\n"
        "    and $0x3f, %esi\n"
        "    add %ah, 3(%rdi, %rsi, 4)\n"
        "    rol $3, %rax\n"
        "    imul $0x19660d, %rbx, %rbx\n"
        "    add $0x3c6ef35f, %rbx\n"
        "    dec %ecx\n"
        "    jnz 1b\n"
        "fixed_end:\n"
        "    ret\n");
uint64_t fixed(void *table);
extern const uint8_t fixed_body[], fixed_end[];
uint64_t look(void *text);
extern const uint8_t look_body[], look_end[];
uint64_t mix(void *table);
extern const uint8_t mix_body[], mix_end[];

enum { CODE = 0x100000, TABLE_BYTES = 0x1000 };

static void fill(uint8_t *table)
{
    for (unsigned i = 0; i < TABLE_BYTES; i++)
        table[i] = (uint8_t)(i * 7 + i / 256);
}

struct code {
    uint64_t (*run)(void *table);
    const uint8_t *body, *end;
};
static const struct code mixes = { mix, mix_body, mix_end };
static const struct code looks = { look, look_body, look_end };
static const struct code fixeds = { fixed, fixed_body, fixed_end };

/* The table of the native run, where the guest has its own. */
static uint8_t *map_table(uint64_t table)
{
    void *at = (void *)(table & ~0xfffull);
    void *p = mmap(at, 2 * TABLE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    assert_ptr_equal(p, at);
    return (uint8_t *)p + (table & 0xfff);
}

static void unmap_table(uint8_t *table)
{
    munmap((void *)((uintptr_t)table & ~0xffful), 2 * TABLE_BYTES);
}

static void run_code(const struct code *code, const struct soft_options *o,
                     uint64_t table, uint64_t sp)
{
    static const uint8_t stop[] = { 0xe6, 0xf4, 0xeb, 0xfe };
    uint8_t *here = map_table(table);
    struct soft_rig *r = rig_new(o);
    uint64_t expected;

    fill(here);
    rig_put(r, table, here, TABLE_BYTES);
    rig_put(r, CODE, code->body, (size_t)(code->end - code->body));
    rig_put(r, CODE + (uint64_t)(code->end - code->body), stop, sizeof(stop));
    rig_mode(r, 64, CODE);
    rig_user(r);
    r->c->gpr[GPR_DI] = table;
    r->c->gpr[GPR_SP] = sp;
    expected = code->run(here);
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    assert_int_equal(r->c->gpr[GPR_AX], expected);
    assert_int_equal(r->c->gpr[GPR_SP], sp);
    assert_memory_equal(r->ram.host + table, here, TABLE_BYTES);
    unmap_table(here);
    rig_free(r);
}

static void run_at(const struct soft_options *o, uint64_t table, uint64_t sp)
{
    run_code(&mixes, o, table, sp);
}

static const struct soft_options ways[] = {
    { .is_interpreted = false },
    { .is_ungrouped = true },
    { .is_all_hot = true },
    { .is_verified = true },
};

static void frames_across_pages_hold_what_was_put_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (ways[i].is_verified) continue;
        for (unsigned at = 0; at <= 0x68; at += 8) {
            run_at(&ways[i], 0x200000, 0x7f000 + at);
        }
    }
}

static void tables_across_pages_are_read_and_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        run_at(&ways[i], 0x200000, 0x7f800);
        run_at(&ways[i], 0x200e00, 0x7f020);
        run_at(&ways[i], 0x200a08, 0x7f800);
        run_at(&ways[i], 0x2007fd, 0x7f030);
    }
}

static void tables_in_the_frame_are_looked_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        run_code(&looks, &ways[i], 0x200000, 0x7f800);
        run_code(&looks, &ways[i], 0x200f10, 0x7f800);
        for (unsigned at = 0; at <= 0x120; at += 0x30)
            run_code(&looks, &ways[i], 0x200e00, 0x7f000 + at);
    }
}

static void tables_at_constant_addresses_are_looked_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        run_code(&fixeds, &ways[i], 0x200000, 0x7f800);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_across_pages_hold_what_was_put_there),
        cmocka_unit_test(tables_across_pages_are_read_and_written),
        cmocka_unit_test(tables_in_the_frame_are_looked_up),
        cmocka_unit_test(tables_at_constant_addresses_are_looked_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
