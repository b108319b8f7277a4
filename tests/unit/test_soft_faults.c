/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/* Exceptions and interrupts of translated code are precise: emulated,
 * translated and verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/vm/intr.h"
#include "tests/unit/support/soft_rig.h"

enum { CODE = 0x100000, HANDLERS = 0x20000 };

static const struct soft_options ways[] = {
    { .is_interpreted = true },
    { .is_interpreted = false },
    { .is_ungrouped = true },
    { .is_verified = true },
};

static void put_gate(struct soft_rig *r, unsigned vector, uint64_t to)
{
    uint64_t low =
        (to & 0xffff) | 8 << 16 | 0x8eull << 40 | (to & 0xffff0000) << 32;
    uint64_t gate[2] = { low, to >> 32 };

    rig_put(r, RIG_IDT + 16 * vector, gate, sizeof(gate));
}

/* Vector v: mov al, v; out 0xf4, al */
static void put_handlers(struct soft_rig *r)
{
    for (unsigned v = 0; v < 32; v++) {
        uint8_t code[] = { 0xb0, (uint8_t)v, 0xe6, 0xf4, 0xeb, 0xfe };
        rig_put(r, HANDLERS + 16 * v, code, sizeof(code));
        put_gate(r, v, HANDLERS + 16 * v);
    }
}

struct fault {
    unsigned vector;
    uint32_t at; /* offset of the faulting instruction */
    bool has_error;
    uint32_t error;
};

static uint64_t get64(struct soft_rig *r, uint64_t gpa)
{
    uint64_t v;

    memcpy(&v, r->ram.host + gpa, sizeof(v));
    return v;
}

/* Run code each way; it must fault as told with RSP as at the start. */
static void expect_fault(const uint8_t *code, size_t bytes,
                         const struct fault *f,
                         void (*check)(struct soft_rig *r))
{
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct soft_rig *r = rig_new(&ways[i]);
        uint64_t sp;

        rig_put(r, CODE, code, bytes);
        put_handlers(r);
        rig_mode(r, 64, CODE);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(r->exit_value, f->vector);
        sp = r->c->gpr[GPR_SP];
        if (f->has_error) {
            assert_int_equal(get64(r, sp), f->error);
            sp += 8;
        }
        assert_int_equal(get64(r, sp), CODE + f->at);
        assert_int_equal(get64(r, sp + 24), RIG_STACK);
        if (check) check(r);
        rig_free(r);
    }
}

static void check_page_fault(struct soft_rig *r)
{
    assert_int_equal(r->c->cr2, 0x100001000);
    assert_int_equal(r->c->gpr[GPR_BX], 7); /* nothing half done */
    assert_int_equal(r->c->gpr[GPR_DX], 5);
}

static void a_page_fault_names_its_instruction(void **state)
{
    static const uint8_t code[] = {
        0xbb, 0x07, 0x00, 0x00, 0x00,             /* mov ebx, 7 */
        0x48, 0xbf, 0xfc, 0x0f, 0x00, 0x00, 0x01, /* mov rdi, ... */
        0x00, 0x00, 0x00, 0x48, 0x83, 0xc7, 0x04, /* add rdi, 4 */
        0xba, 0x05, 0x00, 0x00, 0x00,             /* mov edx, 5 */
        0x0f, 0xc1, 0x1f,                         /* xadd [rdi], ebx */
        0xba, 0x06, 0x00, 0x00, 0x00,             /* mov edx, 6 */
    };
    const struct fault f = { 14, 24, true, 2 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_page_fault);
}

static void check_group(struct soft_rig *r)
{
    assert_int_equal(r->c->cr2, 0x100000000);
    assert_int_equal(r->c->gpr[GPR_BX], 9); /* all before it is done */
    assert_int_equal(r->c->gpr[GPR_DX], 5);
}

/* The two loads share a check, which fails for the second's sake. */
static void a_page_fault_of_a_group_is_the_members(void **state)
{
    static const uint8_t code[] = {
        0xbb, 0x07, 0x00, 0x00, 0x00,             /* mov ebx, 7 */
        0xba, 0x05, 0x00, 0x00, 0x00,             /* mov edx, 5 */
        0x48, 0xbf, 0xf8, 0xff, 0xff, 0xff, 0x00, /* mov rdi, 0xfffffff8 */
        0x00, 0x00, 0x00, 0x8b, 0x0f,             /* mov ecx, [rdi] */
        0xbb, 0x09, 0x00, 0x00, 0x00,             /* mov ebx, 9 */
        0x48, 0x83, 0xc7, 0x04,                   /* add rdi, 4 */
        0x8b, 0x57, 0x04,                         /* mov edx, [rdi + 4] */
        0xba, 0x06, 0x00, 0x00, 0x00,             /* mov edx, 6 */
    };
    const struct fault f = { 14, 31, true, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_group);
}

/* Entry of 2 MiB page 2, whose D flag is bit 6. */
static void check_clean(struct soft_rig *r)
{
    assert_int_equal(r->c->cr2, 0x100000000);
    assert_int_equal(get64(r, RIG_TABLES + 0x2000 + 8 * 2) & 0x60, 0x20);
}

/* The check of the two stores stands before the load. */
static void a_page_is_clean_when_the_store_did_not_happen(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x40, 0x00, /* mov edi,0x400000 */
        0x48, 0xbb, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x00, 0x00, /* movabs rbx,0x100000000 */
        0x8b, 0x07,                   /* mov eax,DWORD PTR [rdi] */
        0x83, 0xf8, 0x01,             /* cmp eax,0x1 */
        0x8b, 0x13,                   /* mov edx,DWORD PTR [rbx] */
        0x89, 0x07,                   /* mov DWORD PTR [rdi],eax */
        0x89, 0x47, 0x08,             /* mov DWORD PTR [rdi+0x8],eax */
        0x0f, 0x92, 0xc1,             /* setb cl */
        0x90,                         /* nop */
    };
    const struct fault f = { 14, 20, true, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_clean);
}

/* In round 50 of a loop that uses R13 to R15. */
static void check_round(struct soft_rig *r)
{
    uint64_t a = 1000, b = 2000, c = 3000;

    for (int i = 0; i < 50; i++) {
        a++;
        b += a;
        c += b;
    }
    assert_int_equal(r->c->gpr[GPR_R13], a);
    assert_int_equal(r->c->gpr[GPR_R14], b);
    assert_int_equal(r->c->gpr[GPR_R15], c);
    assert_int_equal(r->c->gpr[GPR_DI], 0x300000 + 8 * 50);
}

static void a_division_by_zero_in_a_loop_is_precise(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x30, 0x00,       /* mov edi,0x300000 */
        0xb8, 0x01, 0x00, 0x00, 0x00,       /* mov eax,0x1 */
        0xb9, 0x64, 0x00, 0x00, 0x00,       /* mov ecx,0x64 */
        0x48, 0x89, 0x04, 0xcf,             /* mov QWORD PTR [rdi+rcx*8],rax */
        0x48, 0xff, 0xc9,                   /* dec rcx */
        0x75, 0xf7,                         /* jne f */
        0x89, 0x8f, 0x90, 0x01, 0x00, 0x00, /* mov DWORD PTR [rdi+0x190],ecx */
        0x41, 0xbd, 0xe8, 0x03, 0x00, 0x00, /* mov r13d,0x3e8 */
        0x41, 0xbe, 0xd0, 0x07, 0x00, 0x00, /* mov r14d,0x7d0 */
        0x41, 0xbf, 0xb8, 0x0b, 0x00, 0x00, /* mov r15d,0xbb8 */
        0x49, 0xff, 0xc5,                   /* inc r13 */
        0x4d, 0x01, 0xee,                   /* add r14,r13 */
        0x4d, 0x01, 0xf7,                   /* add r15,r14 */
        0xb8, 0x07, 0x00, 0x00, 0x00,       /* mov eax,0x7 */
        0x31, 0xd2,                         /* xor edx,edx */
        0x48, 0x83, 0xc7, 0x08,             /* add rdi,0x8 */
        0x48, 0xf7, 0x37,                   /* div QWORD PTR [rdi] */
        0x4c, 0x89, 0xbf, 0x00, 0x10, 0x00,
        0x00, /* mov QWORD PTR [rdi+0x1000],r15 */
        0x48, 0x81, 0xff, 0x00, 0x04, 0x30,
        0x00,       /* cmp rdi,0x300400 */
        0x75, 0xd9, /* jne 30 */
        0x90,       /* nop */
    };
    const struct fault f = { 0, 0x44, false, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_round);
}

static void a_page_fault_in_a_loop_is_precise(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x00, 0x00, 0x30, 0x00, /* mov edi,0x300000 */
        0x48, 0x89, 0xf8,             /* mov rax,rdi */
        0xb9, 0x64, 0x00, 0x00, 0x00, /* mov ecx,0x64 */
        0x48, 0x89, 0x04, 0xcf,       /* mov QWORD PTR [rdi+rcx*8],rax */
        0x48, 0xff, 0xc9,             /* dec rcx */
        0x75, 0xf7,                   /* jne 65 */
        0xc7, 0x87, 0x94, 0x01, 0x00, 0x00, 0x01,
        0x00, 0x00, 0x00,                   /* mov DWORD PTR [rdi+0x194],0x1 */
        0x41, 0xbd, 0xe8, 0x03, 0x00, 0x00, /* mov r13d,0x3e8 */
        0x41, 0xbe, 0xd0, 0x07, 0x00, 0x00, /* mov r14d,0x7d0 */
        0x41, 0xbf, 0xb8, 0x0b, 0x00, 0x00, /* mov r15d,0xbb8 */
        0x49, 0xff, 0xc5,                   /* inc r13 */
        0x4d, 0x01, 0xee,                   /* add r14,r13 */
        0x4d, 0x01, 0xf7,                   /* add r15,r14 */
        0x48, 0x83, 0xc7, 0x08,             /* add rdi,0x8 */
        0x48, 0x8b, 0x17,                   /* mov rdx,QWORD PTR [rdi] */
        0x48, 0x8b, 0x02,                   /* mov rax,QWORD PTR [rdx] */
        0x48, 0x81, 0xff, 0x00, 0x04, 0x30, 0x00, /* cmp rdi,0x300400 */
        0x75, 0xe4,                               /* jne 8a */
        0x90,                                     /* nop */
    };
    const struct fault f = { 14, 0x9a - 0x58, true, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_round);
}

static void check_crossing(struct soft_rig *r)
{
    assert_int_equal(r->c->cr2, 0x100000000);
    assert_int_equal(r->mmio_value, 0);
}

static void a_store_across_pages_faults_before_its_first_byte(void **state)
{
    static const uint8_t code[] = {
        0x48, 0xbf, 0xfe, 0xff, 0xff, 0xff, 0x00, /* mov rdi, 0xfffffffe */
        0x00, 0x00, 0x00, 0xc7, 0x07, 0x11, 0x22,
        0x33, 0x44, /* mov [rdi], imm */
    };
    const struct fault f = { 14, 10, true, 2 };

    (void)state;
    expect_fault(code, sizeof(code), &f, check_crossing);
}

static void a_division_by_zero_is_precise(void **state)
{
    static const uint8_t code[] = {
        0x31, 0xc9,                   /* xor ecx, ecx */
        0xb8, 0x05, 0x00, 0x00, 0x00, /* mov eax, 5 */
        0x99,                         /* cdq */
        0xf7, 0xf9,                   /* idiv ecx */
        0x90,
    };
    const struct fault f = { 0, 8, false, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, NULL);
}

static void a_misaligned_sse_operand_is_a_protection_fault(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x08, 0x00, 0x30, 0x00, /* mov edi, 0x300008 */
        0x0f, 0x28, 0x07,             /* movaps xmm0, [rdi] */
        0x90,
    };
    const struct fault f = { 13, 5, true, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, NULL);
}

static void an_undefined_instruction_is_precise(void **state)
{
    static const uint8_t code[] = { 0x90, 0x31, 0xc0, 0x0f, 0x0b };
    const struct fault f = { 6, 3, false, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, NULL);
}

static void an_unmasked_sse_exception_is_precise(void **state)
{
    static const uint8_t code[] = {
        0xc7, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, /* mov [0x300000], */
        0x80, 0x1d, 0x00, 0x00,                   /* 0x1d80: ZM clear */
        0x0f, 0xae, 0x14, 0x25, 0x00, 0x00, 0x30, /* ldmxcsr */
        0x00, 0x0f, 0x57, 0xc0,                   /* xorps xmm0, xmm0 */
        0xb8, 0x01, 0x00, 0x00, 0x00,             /* mov eax, 1 */
        0xf3, 0x0f, 0x2a, 0xc8,                   /* cvtsi2ss xmm1, eax */
        0xf3, 0x0f, 0x5e, 0xc8,                   /* divss xmm1, xmm0 */
        0x90,
    };
    const struct fault f = { 19, 31, false, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, NULL);
}

static void an_unmasked_x87_exception_comes_with_the_next_one(void **state)
{
    static const uint8_t code[] = {
        0xc7, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, /* mov [0x300000], */
        0x7b, 0x03, 0x00, 0x00,                   /* 0x37b: ZM clear */
        0xd9, 0x2c, 0x25, 0x00, 0x00, 0x30, 0x00, /* fldcw */
        0xd9, 0xe8,                               /* fld1 */
        0xd9, 0xee,                               /* fldz */
        0xde, 0xf9,                               /* fdivp */
        0x31, 0xc0,                               /* xor eax, eax */
        0x9b,                                     /* fwait */
        0x90,
    };
    const struct fault f = { 16, 26, false, 0 };

    (void)state;
    expect_fault(code, sizeof(code), &f, NULL);
}

/* ---- interrupts */

enum { COUNTER = 0x300000, TIMER_VECTOR = 0x40 };

struct source {
    struct soft_rig *r;
    _Atomic bool is_done;
};

static int ack(void *arg)
{
    struct soft_rig *r = arg;

    intr_pic_output_locked(r->vm, false);
    vcpu_lower(&r->v, VCPU_INTR);
    return TIMER_VECTOR;
}

static void *raise_interrupts(void *arg)
{
    struct source *s = arg;

    while (!atomic_load(&s->is_done)) {
        vm_lock(s->r->vm);
        intr_pic_output_locked(s->r->vm, true);
        vcpu_raise(&s->r->v, VCPU_INTR);
        vm_unlock(s->r->vm);
        sched_yield();
    }
    return NULL;
}

/*
 * A sum over a carry chain (flags live around the loop) while interrupts
 * arrive whenever they can; the handler destroys flags and registers and puts
 * them back.
 */
static void interrupts_at_any_block_leave_no_trace(void **state)
{
    static const uint8_t code[] = {
        0xfb,
        0x90, /* sti; nop */
        0xb9,
        0x80,
        0x84,
        0x1e,
        0x00, /* mov ecx, 2000000 */
        0x31,
        0xc0,
        0x31,
        0xd2, /* xor eax,eax; edx */
        0xf8, /* clc */
        /* loop: */
        0x48,
        0x13,
        0x04,
        0x25,
        0x00,
        0x10,
        0x30,
        0x00, /* adc rax,[..] */
        0x48,
        0x83,
        0xd2,
        0x00, /* adc rdx, 0 */
        0x48,
        0x8d,
        0x49,
        0xff, /* lea rcx, [rcx-1] */
        0xe3,
        0x02, /* jrcxz out */
        0xeb,
        0xec, /* jmp loop */
        0xe6,
        0xf4,
        0xeb,
        0xfe,
    };
    static const uint8_t handler[] = {
        0x50, 0x51, 0x52,                               /* push rax, rcx, rdx */
        0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, /* inc [COUNTER] */
        0x31, 0xc0, 0x31, 0xc9, 0xf9,                   /* xor; xor; stc */
        0x5a, 0x59, 0x58,                               /* pop */
        0x48, 0xcf,                                     /* iretq */
    };
    uint64_t step = 0x9e3779b97f4a7c15, low = 0, high = 0;
    unsigned carry = 0;

    (void)state;
    for (unsigned i = 0; i < 2000000; i++) {
        unsigned __int128 sum = (unsigned __int128)low + step + carry;
        unsigned __int128 top;
        low = (uint64_t)sum;
        top = (unsigned __int128)high + (uint64_t)(sum >> 64);
        high = (uint64_t)top;
        carry = (unsigned)(top >> 64);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct soft_rig *r = rig_new(&ways[i]);
        struct source s = { .r = r };
        pthread_t thread;

        rig_put(r, CODE, code, sizeof(code));
        rig_put(r, HANDLERS, handler, sizeof(handler));
        put_gate(r, TIMER_VECTOR, HANDLERS);
        memcpy(r->ram.host + COUNTER + 0x1000, &step, sizeof(step));
        rig_mode(r, 64, CODE);
        vm_lock(r->vm);
        intr_set_pic_locked(r->vm, ack, r);
        vm_unlock(r->vm);
        assert_int_equal(pthread_create(&thread, NULL, raise_interrupts, &s),
                         0);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        atomic_store(&s.is_done, true);
        pthread_join(thread, NULL);
        assert_true(get64(r, COUNTER) > 0);
        assert_int_equal(r->c->gpr[GPR_AX], low);
        assert_int_equal(r->c->gpr[GPR_DX], high);
        rig_free(r);
    }
}

/* Firmware waits for an interrupt like this: only the instruction after STI
 * stands between it and the CLI. */
static void an_interrupt_is_taken_between_sti_and_cli(void **state)
{
    /* clang-format off */
    static const uint8_t code[] = {
        0xb9, 0x00, 0x00, 0x10, 0x00,                   /* mov ecx, 2^20 */
        0xfb, 0x90, 0xfa,                               /* 1: sti; nop; cli */
        0x48, 0x83, 0x3c, 0x25, 0x00, 0x00, 0x30, 0x00, /* cmp [COUNTER], 0 */
        0x00,
        0x75, 0x04,                                     /* jne 2f */
        0xff, 0xc9, 0x75, 0xee,                         /* dec ecx; jnz 1b */
        0xe6, 0xf4, 0xeb, 0xfe,                         /* 2: out 0xf4, al */
    };
    static const uint8_t handler[] = {
        0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00, /* inc [COUNTER] */
        0x48, 0xcf,                                     /* iretq */
    };
    /* clang-format on */

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct soft_rig *r = rig_new(&ways[i]);

        rig_put(r, CODE, code, sizeof(code));
        rig_put(r, HANDLERS, handler, sizeof(handler));
        put_gate(r, TIMER_VECTOR, HANDLERS);
        rig_mode(r, 64, CODE);
        vm_lock(r->vm);
        intr_set_pic_locked(r->vm, ack, r);
        intr_pic_output_locked(r->vm, true);
        vcpu_raise(&r->v, VCPU_INTR);
        vm_unlock(r->vm);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(get64(r, COUNTER), 1);
        rig_free(r);
    }
}

/* A snapshot of KVM's may lie between a fault and its delivery: no instruction
 * comes in between, nor an SMI, whose handler it would interrupt. */
static void a_pending_exception_comes_before_anything_else(void **state)
{
    static const uint8_t code[] = { 0xb0, 0xee, 0xe6, 0xf4 };

    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct soft_rig *r = rig_new(&ways[i]);

        rig_put(r, CODE, code, sizeof(code));
        put_handlers(r);
        rig_mode(r, 64, CODE);
        r->c->has_pending_exception = r->c->has_pending_error = true;
        r->c->pending_vector = EXC_GP;
        r->c->pending_error = 0x18;
        vcpu_raise(&r->v, VCPU_SMI);
        rig_put(r, 0x38000, "\xb0\xdd\xe6\xf4\x0f\xaa", 6);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(r->exit_value, 0xdd);
        assert_int_equal(get64(r, r->c->smbase + 0xff78), HANDLERS + 16 * 13);
        assert_int_equal(rig_run(r), SOFT_EXIT_EVENT);
        assert_int_equal(r->exit_value, EXC_GP);
        assert_int_equal(get64(r, r->c->gpr[GPR_SP]), 0x18);
        assert_int_equal(get64(r, r->c->gpr[GPR_SP] + 8), CODE);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_fault_names_its_instruction),
        cmocka_unit_test(a_page_fault_of_a_group_is_the_members),
        cmocka_unit_test(a_page_is_clean_when_the_store_did_not_happen),
        cmocka_unit_test(a_division_by_zero_in_a_loop_is_precise),
        cmocka_unit_test(a_page_fault_in_a_loop_is_precise),
        cmocka_unit_test(a_store_across_pages_faults_before_its_first_byte),
        cmocka_unit_test(a_division_by_zero_is_precise),
        cmocka_unit_test(a_misaligned_sse_operand_is_a_protection_fault),
        cmocka_unit_test(an_undefined_instruction_is_precise),
        cmocka_unit_test(an_unmasked_sse_exception_is_precise),
        cmocka_unit_test(an_unmasked_x87_exception_comes_with_the_next_one),
        cmocka_unit_test(a_pending_exception_comes_before_anything_else),
        cmocka_unit_test(interrupts_at_any_block_leave_no_trace),
        cmocka_unit_test(an_interrupt_is_taken_between_sti_and_cli),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
