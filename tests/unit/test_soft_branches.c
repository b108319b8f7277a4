/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/*
 * A branch to where no code can be, beyond the canonical addresses or the limit
 * of CS, is #GP(0) of the branch, which has then changed nothing: SDM volume 2,
 * "Protected Mode Exceptions" and "64-Bit Mode Exceptions" of JMP, CALL, RET.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/support/soft_rig.h"

enum {
    CODE = 0x10000,
    HANDLER = 0x20000,
    LIMIT = 0x1ffff,
    STACK = RIG_STACK + 8, /* a frame of 64-bit mode leaves the slot alone */
    DATA = 0x30000,
    EXC_GP_VECTOR = 13,
};

static const struct soft_options ways[] = {
    { .is_interpreted = true },
    { .is_interpreted = false },
    { .is_ungrouped = true },
    { .is_verified = true },
};

struct branch {
    const char *name, *code;
    size_t bytes;
    unsigned at; /* offset of the branch */
    int pushed;  /* octets on the stack before it */
};
#define BRANCH(name, code, at, pushed)           \
    {                                            \
        name, code, sizeof(code) - 1, at, pushed \
    }

/* CMP before each makes CF and SF, which must come into the frame. */
#define CMP "\x83\xf9\x01" /* cmp ecx, 1 with ECX 0 */

static const struct branch of_64[] = {
    BRANCH("jmp rax", CMP "\xff\xe0", 3, 0),
    BRANCH("jmp [rbx]", CMP "\xff\x23", 3, 0),
    BRANCH("call rax", CMP "\xff\xd0", 3, 0),
    BRANCH("call r13", CMP "\x41\xff\xd5", 3, 0),
    BRANCH("call [rbx]", CMP "\xff\x13", 3, 0),
    BRANCH("push; ret", "\x50" CMP "\xc3", 4, 8),
    BRANCH("push; push; pop; ret 16", "\x50\x52\x5a" CMP "\xc2\x10\x00", 6, 8),
    BRANCH("push; call rax", "\x50\x52" CMP "\xff\xd0", 5, 16),
};

static const struct branch of_32[] = {
    BRANCH("jmp eax", CMP "\xff\xe0", 3, 0),
    BRANCH("jmp [ebx]", CMP "\xff\x23", 3, 0),
    BRANCH("call eax", CMP "\xff\xd0", 3, 0),
    BRANCH("call [ebx]", CMP "\xff\x13", 3, 0),
    BRANCH("push; ret", "\x50" CMP "\xc3", 4, 4),
    BRANCH("push; ret 8", "\x50" CMP "\xc2\x08\x00", 4, 4),
    BRANCH("jmp rel32", CMP "\xe9\x00\x00\x10\x00", 3, 0),
    BRANCH("call rel32", CMP "\xe8\x00\x00\x10\x00", 3, 0),
    BRANCH("jc rel32", CMP "\x0f\x82\x00\x00\x10\x00", 3, 0),
};

static const struct branch of_16[] = {
    BRANCH("jmp eax", CMP "\x66\xff\xe0", 3, 0),
    BRANCH("call eax", CMP "\x66\xff\xd0", 3, 0),
    BRANCH("call dword [bx]", CMP "\x66\xff\x17", 3, 0),
    BRANCH("push; o32 ret", "\x66\x50" CMP "\x66\xc3", 5, 4),
    BRANCH("push; o32 ret 6", "\x66\x50" CMP "\x66\xc2\x06\x00", 5, 4),
};

static void put_handler(struct soft_rig *r, unsigned bits)
{
    static const uint8_t code[] = {
        0xb0, EXC_GP_VECTOR, 0xe6, 0xf4, 0xeb, 0xfe
    };
    uint32_t gate[4] = { 8 << 16 | (HANDLER & 0xffff),
                         (HANDLER & 0xffff0000) | 0x8e00, 0, 0 };
    uint16_t ivt[2] = { 0, HANDLER >> 4 };

    rig_put(r, HANDLER, code, sizeof(code));
    if (bits == 16) {
        rig_put(r, 4 * EXC_GP_VECTOR, ivt, sizeof(ivt));
    } else {
        rig_put(r, RIG_IDT + bits / 4 * EXC_GP_VECTOR, gate, bits / 4);
    }
}

static uint64_t word(struct soft_rig *r, uint64_t gpa, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, r->ram.host + gpa, bytes);
    return v;
}

/* What the frame tells. */
struct frame {
    uint64_t rip, flags, sp;
};

static struct frame frame_of(struct soft_rig *r, unsigned bits)
{
    uint64_t sp = r->c->gpr[GPR_SP];
    struct frame f;

    if (bits == 16) {
        f = (struct frame){ word(r, sp, 2), word(r, sp + 4, 2), sp + 6 };
    } else if (bits == 32) {
        f = (struct frame){ word(r, sp + 4, 4), word(r, sp + 12, 4), sp + 16 };
    } else {
        f = (struct frame){ word(r, sp + 8, 8), word(r, sp + 24, 8),
                            word(r, sp + 32, 8) };
    }
    if (bits != 16) assert_int_equal(word(r, sp, bits / 8), 0);
    return f;
}

static void run_branch(const struct soft_options *way, unsigned bits,
                       const struct branch *b, uint64_t target)
{
    struct soft_rig *r = rig_new(way);
    struct cpu *c = r->c;
    unsigned width = bits / 8;
    uint64_t top = bits == 16 ? 0x7c00 : STACK, slot;
    struct frame f;

    rig_put(r, CODE, b->code, b->bytes);
    rig_put(r, DATA, &target, 8);
    if (bits == 16) rig_put(r, DATA + 0x400, &target, 8);
    put_handler(r, bits);
    rig_mode(r, bits, bits == 16 ? 0 : CODE);
    if (bits == 16) {
        c->seg[SEG_CS].sel = CODE >> 4;
        c->seg[SEG_CS].base = CODE;
        c->seg[SEG_DS].base = DATA;
    } else if (bits == 32) {
        c->seg[SEG_CS].limit = LIMIT;
    }
    c->gpr[GPR_SP] = top;
    c->gpr[GPR_AX] = c->gpr[GPR_R13] = target;
    c->gpr[GPR_BX] = bits == 16 ? 0x400 : DATA;
    c->gpr[GPR_CX] = 0;
    slot = top - (uint64_t)b->pushed - width;
    memset(r->ram.host + top - 256, 0xa5, 512);
    assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
    assert_int_equal(r->exit_value, EXC_GP_VECTOR);
    f = frame_of(r, bits);
    if (f.rip != (bits == 16 ? 0u : CODE) + b->at) {
        fail_msg("%s: at %llx", b->name, (unsigned long long)f.rip);
    }
    if (f.sp != top - (uint64_t)b->pushed) {
        fail_msg("%s: SP %llx", b->name, (unsigned long long)f.sp);
    }
    assert_int_equal(f.flags & FLAGS_ARITH,
                     FLAG_CF | FLAG_SF | FLAG_AF | FLAG_PF);
    /* What is there is there still, if the frame has not come over it. */
    if (bits == 64 && b->pushed % 16 == 0) {
        assert_int_equal(word(r, slot, 8), 0xa5a5a5a5a5a5a5a5);
    }
    rig_free(r);
}

static void run_all(unsigned bits, const struct branch *b, size_t count,
                    uint64_t target)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
            run_branch(&ways[w], bits, &b[i], target);
    }
}

#define RUN_ALL(bits, target) \
    run_all(bits, of_##bits, sizeof(of_##bits) / sizeof(of_##bits[0]), target)

static void branches_to_no_canonical_address_fault(void **state)
{
    (void)state;
    RUN_ALL(64, 0x800000000000);
    RUN_ALL(64, 0xffff7fffffffffff);
    RUN_ALL(64, 0xdead000000000123);
    RUN_ALL(64, 1ull << 48 | CODE); /* the slot of a block that is there */
    RUN_ALL(64, 1ull << 63 | CODE);
}

static void branches_beyond_the_limit_of_cs_fault(void **state)
{
    (void)state;
    RUN_ALL(32, LIMIT + 1);
    RUN_ALL(32, 0xffffffff);
    RUN_ALL(32, CODE | 0x40000);
}

static void branches_of_real_mode_beyond_64_kib_fault(void **state)
{
    (void)state;
    RUN_ALL(16, 0x10000);
    RUN_ALL(16, 0x12340000);
}

/* The address after the last one is not canonical: the fetch faults there, with
 * the mark of a jump that was fine still lying about. */
static void running_off_the_canonical_addresses_faults_behind_them(void **state)
{
    enum { TABLES = 0x40000, LAST = 0x1ffffe };
    const uint64_t tables[3] = { TABLES | 3, (TABLES + 0x1000) | 3, 0x83 };

    (void)state;
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        struct soft_rig *r = rig_new(&ways[w]);
        struct frame f;

        put_handler(r, 64);
        rig_mode(r, 64, CODE);
        /* The last 2 MiB of the lower half are the first ones of RAM. */
        rig_put(r, RIG_TABLES + 8 * 255, &tables[0], 8);
        rig_put(r, TABLES + 8 * 511, &tables[1], 8);
        rig_put(r, TABLES + 0x1000 + 8 * 511, &tables[2], 8);
        rig_put(r, CODE, "\xff\xe0", 2); /* jmp rax */
        rig_put(r, LAST, "\x90\x90", 2);
        r->c->gpr[GPR_AX] = 0x7ffffffffffe;
        r->c->gpr[GPR_SP] = STACK;
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(r->exit_value, EXC_GP_VECTOR);
        f = frame_of(r, 64);
        assert_int_equal(f.rip, 0x800000000000);
        assert_int_equal(f.sp, STACK);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_to_no_canonical_address_fault),
        cmocka_unit_test(branches_beyond_the_limit_of_cs_fault),
        cmocka_unit_test(branches_of_real_mode_beyond_64_kib_fault),
        cmocka_unit_test(
            running_off_the_canonical_addresses_faults_behind_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
