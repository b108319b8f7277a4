/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core support */
/* System management mode from inside: what a guest cannot bring about on the
 * machines there are, or not see.  SDM volume 3C chapter 31, AMD APM volume 2
 * chapter 10.  Emulated, translated and verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/port.h"
#include "tests/unit/support/soft_rig.h"

enum {
    CODE = 0x100000,
    SMBASE = 0x30000, /* after a reset */
    HANDLER = 0x8000,
    AREA = 0xfe00,
    SMI_PORT = 0xb2,
    DATA_PORT = 0xb4, /* the first access raises an SMI */
};

static const struct soft_options ways[] = {
    { .is_interpreted = true },
    { .is_interpreted = false },
    { .is_verified = true },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

/* A machine whose SMRAM is memory of its own before that at 0x30000. */
struct smm {
    struct soft_rig *r;
    struct mem_region smram;
    unsigned accesses;
    uint8_t sent[16];
};

static uint32_t port_in(void *arg, unsigned port, unsigned bytes)
{
    struct smm *s = arg;

    (void)port, (void)bytes;
    if (++s->accesses == 1) vcpu_raise(&s->r->v, VCPU_SMI);
    return s->accesses == 1 ? 0xff : 0x42;
}

static void port_out(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct smm *s = arg;

    (void)bytes;
    if (port == 0 || s->accesses == 1) vcpu_raise(&s->r->v, VCPU_SMI);
    if (port == DATA_PORT - SMI_PORT && s->accesses < sizeof(s->sent)) {
        s->sent[s->accesses++] = (uint8_t)v;
    }
}

static const struct port_ops port_ops = { port_in, port_out, 1 };

static void make(struct smm *s, unsigned way)
{
    struct err e = ERR_INIT;
    struct soft_rig *r = rig_new(&ways[way]);

    memset(s, 0, sizeof(*s));
    s->r = r;
    assert_int_equal(mem_init_ram(&s->smram, "smram", 0x10000, &e), 0);
    vm_lock(r->vm);
    mem_add_locked(r->vm, mem_smm_root(r->vm), SMBASE, &s->smram, 1);
    port_map_locked(r->vm, SMI_PORT, 4, &port_ops, s, "smi", &e);
    vm_unlock(r->vm);
}

static void end(struct smm *s)
{
    vm_lock(s->r->vm);
    mem_del_locked(s->r->vm, &s->smram);
    port_unmap_locked(s->r->vm, SMI_PORT, 4, s);
    vm_unlock(s->r->vm);
    mem_free(&s->smram);
    rig_free(s->r);
}

static uint64_t saved(const struct smm *s, unsigned at, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, s->smram.host + at, bytes);
    return v;
}

/* ---- handlers: 16-bit code at SMBASE + 8000h */

struct text {
    uint8_t b[128];
    unsigned n;
};

static void add(struct text *t, const void *bytes, unsigned n)
{
    assert_true(t->n + n <= sizeof(t->b));
    memcpy(t->b + t->n, bytes, n);
    t->n += n;
}

/* mov dword cs:[at], v */
static void add_store(struct text *t, unsigned at, uint32_t v)
{
    const uint8_t op[] = { 0x2e, 0x66,        0xc7,
                           0x06, (uint8_t)at, (uint8_t)(at >> 8) };

    add(t, op, sizeof(op));
    add(t, &v, 4);
}

/* mov byte cs:[at], v */
static void add_store8(struct text *t, unsigned at, uint8_t v)
{
    const uint8_t op[] = {
        0x2e, 0xc6, 0x06, (uint8_t)at, (uint8_t)(at >> 8), v
    };

    add(t, op, sizeof(op));
}

static void set_handler(struct smm *s, struct text *t)
{
    static const uint8_t rsm[] = { 0x0f, 0xaa };

    add(t, rsm, sizeof(rsm));
    memcpy(s->smram.host + HANDLER, t->b, t->n);
}

static void put_code(struct smm *s, const void *code, size_t n)
{
    rig_put(s->r, CODE, code, n);
}

/* ---- */

static uint64_t random64(void)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 5; i++)
        v = v << 15 ^ (uint64_t)rand();
    return v;
}

/* Registers RSM loads; those of the program are at random. */
static void scramble(struct cpu *c)
{
    for (unsigned n = 0; n < 16; n++) {
        if (n != GPR_SP) c->gpr[n] = random64();
    }
    for (unsigned n = SEG_FS; n <= SEG_GS; n++) {
        c->seg[n].base = (uint64_t)((int64_t)(random64() << 17) >> 17);
    }
    c->ldt = (struct cpu_segment){ 0x28, 0x82, (uint32_t)random64(), 0x1234 };
    c->tr = (struct cpu_segment){ 0x30, 0x8b, 0x67, 0xffff800000001000 };
    c->idt = (struct cpu_table){ 0xffffffffff000000, (uint16_t)rand() };
    c->rflags = (random64() & 0x2008d5) | 2;
    c->dr[6] = 0xffff0ff0 | (random64() & 0xf);
    c->dr[7] = 0x400;
    c->has_intr_shadow = false;
}

static void expect_same(const struct cpu *a, const struct cpu *b)
{
    assert_memory_equal(a->gpr, b->gpr, sizeof(a->gpr));
    assert_memory_equal(a->seg, b->seg, sizeof(a->seg));
    assert_memory_equal(&a->ldt, &b->ldt, sizeof(a->ldt));
    assert_memory_equal(&a->tr, &b->tr, sizeof(a->tr));
    assert_int_equal(a->gdt.base, b->gdt.base);
    assert_int_equal(a->gdt.limit, b->gdt.limit);
    assert_int_equal(a->idt.base, b->idt.base);
    assert_int_equal(a->idt.limit, b->idt.limit);
    assert_int_equal(a->rflags, b->rflags);
    assert_int_equal(a->cr0, b->cr0);
    assert_int_equal(a->cr3, b->cr3);
    assert_int_equal(a->cr4, b->cr4);
    assert_int_equal(a->efer, b->efer);
    assert_memory_equal(a->dr, b->dr, sizeof(a->dr));
    assert_int_equal(a->smbase, b->smbase);
}

static void rsm_brings_back_what_the_smi_saved(void **state)
{
    /* out 0xb2, al; out 0xf4, al */
    static const uint8_t code[] = { 0xe6, SMI_PORT, 0xe6, 0xf4, 0xeb, 0xfe };
    static const unsigned bits[] = { 16, 32, 64 };

    (void)state;
    srand(31);
    for (unsigned way = 0; way < WAYS; way++) {
        for (unsigned i = 0; i < 60; i++) {
            struct text t = { .n = 0 };
            struct cpu before;
            struct smm s;

            make(&s, way);
            set_handler(&s, &t);
            rig_put(s.r, 0x9000, code, sizeof(code));
            put_code(&s, code, sizeof(code));
            rig_mode(s.r, bits[i % 3], i % 3 ? CODE : 0x9000);
            if (i % 3) scramble(s.r->c);
            soft_state_changed(s.r->eng);
            before = *s.r->c;
            assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
            assert_int_equal(s.r->c->rip, before.rip + 4);
            expect_same(s.r->c, &before);
            assert_false(s.r->c->is_smm);
            assert_int_equal(saved(&s, 0xfefc, 4), 0x20064);
            end(&s);
        }
    }
}

static void be_in_vm86(struct cpu *c)
{
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n] = (struct cpu_segment){ .sel = (uint16_t)(0x1000 + n),
                                          .attr = 0xf3,
                                          .limit = 0xffff,
                                          .base = 0x10000 + 16 * n };
    }
    c->rip = 0x1234;
    c->rflags |= FLAG_VM | FLAG_IF;
}

static void be_in_ring_3(struct cpu *c)
{
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        c->seg[n].sel |= 3;
        c->seg[n].attr |= 3 << 5;
    }
    c->rflags |= FLAG_IF | FLAG_AC;
    c->cr0 |= CR0_AM | CR0_TS;
    c->cr4 |= CR4_PGE;
}

static void be_halted(struct cpu *c)
{
    c->activity = CPU_HALTED;
    c->rflags |= FLAG_IF;
}

/* An SMI from elsewhere.  The handler stops the CPU; RSM is one step. */
static void an_smi_comes_whatever_the_cpu_does(void **state)
{
    static const struct {
        unsigned bits;
        void (*be)(struct cpu *c);
        bool goes_on; /* the handler says so: not back to HLT */
    } of[] = {
        { 32, be_in_vm86, false },
        { 64, be_in_ring_3, false },
        { 64, be_halted, true },
        { 16, be_halted, false },
    };
    static const uint8_t stop[] = { 0xe6, 0xf4 };

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
            struct text t = { .n = 0 };
            struct cpu before;
            struct smm s;

            make(&s, way);
            add(&t, stop, sizeof(stop));
            if (of[i].goes_on) add_store8(&t, 0xfec9, 0);
            set_handler(&s, &t);
            rig_mode(s.r, of[i].bits, CODE & 0xffff);
            of[i].be(s.r->c);
            before = *s.r->c;
            soft_state_changed(s.r->eng);
            vcpu_raise(&s.r->v, VCPU_SMI);
            assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
            assert_true(s.r->c->is_smm);
            assert_int_equal(s.r->c->activity, CPU_ACTIVE);
            assert_int_equal(saved(&s, 0xfec9, 1),
                             before.activity == CPU_HALTED);
            assert_int_equal(saved(&s, 0xfec0, 4), 0);
            s.r->v.is_stepping = true;
            while (s.r->c->is_smm)
                assert_int_equal(soft_run(s.r->eng), SOFT_EXIT_DEBUG);
            s.r->v.is_stepping = false;
            expect_same(s.r->c, &before);
            assert_int_equal(s.r->c->rip, before.rip);
            assert_int_equal(s.r->c->activity,
                             of[i].goes_on ? CPU_ACTIVE : before.activity);
            end(&s);
        }
    }
}

/* Each is one step from a state that is good: APM 10.3.3 and the checks of
 * MOV to CR0, CR3, CR4 and WRMSR to EFER. */
static const struct {
    const char *what;
    uint16_t at;
    uint32_t v;
    bool is_good;
} stores[] = {
    { "nothing of note", 0xff70, 2, true },
    { "upper half of CR0", 0xff5c, 1, false },
    { "PG without PE", 0xff58, 0x80000010, false },
    { "NW without CD", 0xff58, 0xa0000011, false },
    { "NW and CD", 0xff58, 0xe0010031, true },
    { "reserved bit of CR4", 0xff48, 0x80000620, false },
    { "upper half of CR4", 0xff4c, 1, false },
    { "long mode without PAE", 0xff48, 0x600, false },
    { "PCIDE in long mode", 0xff48, 0x20620, true },
    { "physical address of 52 bits and more", 0xff54, 0x100000, false },
    { "reserved bit of EFER", 0xfed0, 0x2501, false },
    { "upper half of EFER", 0xfed4, 1, false },
    { "LMA alone is not believed", 0xfed0, 0x901, true },
    { "VM in long mode", 0xff70, 0x20002, false },
    { "upper half of DR6", 0xff6c, 1, false },
    { "upper half of DR7", 0xff64, 1, false },
    { "RIP that is not canonical", 0xff7c, 0x8000, false },
    { "base of FS that is not canonical", 0xfe4c, 0x8000, false },
    { "base of GDTR that is not canonical", 0xfe6c, 0x8000, false },
    { "base of TR that is not canonical", 0xfe9c, 0x8000, false },
};

static void rsm_to_what_no_cpu_can_be_in_shuts_down(void **state)
{
    static const uint8_t code[] = { 0xe6, SMI_PORT, 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        for (unsigned i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
            enum soft_exit want =
                stores[i].is_good ? SOFT_EXIT_EVENT : SOFT_EXIT_SHUTDOWN;
            struct text t = { .n = 0 };
            struct smm s;

            make(&s, way);
            add_store(&t, stores[i].at, stores[i].v);
            set_handler(&s, &t);
            put_code(&s, code, sizeof(code));
            rig_mode(s.r, 64, CODE);
            if (rig_run(s.r) != want) {
                fail_msg("%s: %s", stores[i].what,
                         stores[i].is_good ? "shut down" : "went on");
            }
            end(&s);
        }
    }
}

static void pae_tables_are_loaded_again(void **state)
{
    static const uint8_t code[] = { 0xe6, SMI_PORT, 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned bad = 0; bad < 2; bad++) {
        /* PDPTE 0: 2 MiB pages at 0xa000; bit 1 is reserved */
        uint64_t pdpte = 0xa001 | bad << 1, pde = 0x83;
        struct text t = { .n = 0 };
        struct smm s;

        make(&s, 1);
        set_handler(&s, &t);
        put_code(&s, code, sizeof(code));
        rig_mode(s.r, 32, CODE);
        s.r->c->cr3 = 0x9000;
        s.r->c->cr4 |= CR4_PAE;
        s.r->c->cr0 |= CR0_PG;
        s.r->c->pdpte[0] = 0xa001;
        rig_put(s.r, 0x9000, &pdpte, 8);
        rig_put(s.r, 0xa000, &pde, 8);
        soft_state_changed(s.r->eng);
        assert_int_equal(rig_run(s.r),
                         bad ? SOFT_EXIT_SHUTDOWN : SOFT_EXIT_EVENT);
        end(&s);
    }
}

static void an_input_is_done_again_if_the_handler_wants_that(void **state)
{
    /* in al, 0xb4; out 0xf4, al */
    static const uint8_t code[] = { 0xe4, DATA_PORT, 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned way = 0; way < WAYS; way++) {
            struct text t = { .n = 0 };
            struct smm s;

            make(&s, way);
            if (again) add_store8(&t, 0xfec8, 0xff);
            set_handler(&s, &t);
            put_code(&s, code, sizeof(code));
            rig_mode(s.r, 64, CODE);
            assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
            assert_int_equal(s.accesses, 1 + again);
            assert_int_equal(s.r->exit_value, again ? 0x42 : 0xff);
            /* port, one octet, valid, IN */
            assert_int_equal(saved(&s, 0xfec0, 4), 0xb40013);
            assert_int_equal(saved(&s, 0xfea0, 8), CODE);
            assert_int_equal(saved(&s, 0xff78, 8), CODE + 2);
            end(&s);
        }
    }
}

static void a_repeated_output_is_done_again_from_where_it_was(void **state)
{
    static const uint8_t code[] = { 0xf3, 0x6e, 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        struct text t = { .n = 0 };
        struct smm s;

        make(&s, way);
        add_store8(&t, 0xfec8, 0xff);
        set_handler(&s, &t);
        put_code(&s, code, sizeof(code));
        rig_put(s.r, 0x50000, "abcd", 4);
        rig_mode(s.r, 64, CODE);
        s.r->c->gpr[GPR_CX] = 4;
        s.r->c->gpr[GPR_SI] = 0x50000;
        s.r->c->gpr[GPR_DX] = DATA_PORT;
        assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
        /* the SMI comes with the second */
        assert_string_equal((char *)s.sent, "abbcd");
        assert_int_equal(saved(&s, 0xfec0, 4), 0xb4001e);
        assert_int_equal(saved(&s, 0xfea8, 8), 3);
        assert_int_equal(saved(&s, 0xfeb0, 8), 0x50001);
        assert_int_equal(s.r->c->gpr[GPR_CX], 0);
        end(&s);
    }
}

static void the_a20_gate_is_open_in_smm(void **state)
{
    /* mov eax, [0x200000]; mov [0x500], eax; out 0xb2; out 0xf4 */
    static const uint8_t code[] = { 0x67,     0x66, 0xa1, 0,    0,   0x10,
                                    0,        0x66, 0xa3, 0,    5,   0xe6,
                                    SMI_PORT, 0xe6, 0xf4, 0xeb, 0xfe };
    /* the same to 0x504 */
    static const uint8_t handler[] = { 0x67, 0x66, 0xa1, 0, 0, 0x10,
                                       0,    0x66, 0xa3, 4, 5 };
    static const uint32_t low = 0x11111111, high = 0x22222222;

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        struct text t = { .n = 0 };
        struct smm s;
        uint32_t v[2];

        make(&s, way);
        add(&t, handler, sizeof(handler));
        set_handler(&s, &t);
        rig_put(s.r, 0x9000, code, sizeof(code));
        rig_put(s.r, 0, &low, 4);
        rig_put(s.r, 0x100000, &high, 4);
        rig_mode(s.r, 16, 0x9000);
        for (int i = 0; i < SEG_COUNT; i++)
            s.r->c->seg[i].limit = UINT32_MAX;
        vm_lock(s.r->vm);
        mem_set_a20_locked(s.r->vm, false);
        vm_unlock(s.r->vm);
        soft_state_changed(s.r->eng);
        assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
        memcpy(v, s.r->ram.host + 0x500, sizeof(v));
        assert_int_equal(v[0], low);
        assert_int_equal(v[1], high);
        end(&s);
    }
}

/* Both at 0x38000, in the same mode once the limits are: far call, return. */
static void code_of_smram_and_of_what_is_behind_it_are_kept_apart(void **state)
{
    /* inc word [0x500]; retf */
    static const uint8_t behind[] = { 0xff, 0x06, 0, 5, 0xcb };
    /* inc word [0x502] */
    static const uint8_t before[] = { 0xff, 0x06, 2, 5 };
    /* 1: call 0x3000:0x8000; out 0xb2; loop 1b; out 0xf4 */
    static const uint8_t code[] = { 0x9a, 0,        0x80, 0,    0x30,
                                    0xe6, SMI_PORT, 0xe2, 0xf7, 0xe6,
                                    0xf4, 0xeb,     0xfe };
    enum { ROUNDS = 2000 };

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        struct text t = { .n = 0 };
        struct smm s;
        uint16_t v[2];

        make(&s, way);
        add(&t, before, sizeof(before));
        set_handler(&s, &t);
        rig_put(s.r, SMBASE + HANDLER, behind, sizeof(behind));
        rig_put(s.r, 0x9000, code, sizeof(code));
        rig_mode(s.r, 16, 0x9000);
        for (int i = 0; i < SEG_COUNT; i++)
            s.r->c->seg[i].limit = UINT32_MAX;
        s.r->c->gpr[GPR_CX] = ROUNDS;
        soft_state_changed(s.r->eng);
        assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
        memcpy(v, s.r->ram.host + 0x500, sizeof(v));
        assert_int_equal(v[0], ROUNDS);
        assert_int_equal(v[1], ROUNDS);
        end(&s);
    }
}

/* A handler that changes its own code, through the window that only it has. */
static void a_handler_may_write_itself(void **state)
{
    static const uint8_t code[] = { 0xe6, SMI_PORT, 0xe2, 0xfc, 0xe6, 0xf4 };
    /* inc byte cs:[0x8010]; jmp +9; 0x8010: the octet of mov byte [0x500], n */
    static const uint8_t handler[] = { 0x2e, 0xfe, 0x06, 0x11, 0x80, 0xeb,
                                       0x06, 0x90, 0x90, 0x90, 0x90, 0x90,
                                       0x90, 0xc6, 0x06, 0,    5,    0 };
    struct text t = { .n = 0 };
    struct smm s;

    (void)state;
    make(&s, 1);
    add(&t, handler, sizeof(handler));
    set_handler(&s, &t);
    put_code(&s, code, sizeof(code));
    rig_mode(s.r, 32, CODE);
    s.r->c->gpr[GPR_CX] = 200;
    assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
    assert_int_equal(s.r->ram.host[0x500], 200);
    end(&s);
}

static void nmis_stay_blocked_as_they_were(void **state)
{
    static const uint8_t code[] = { 0xe6, SMI_PORT, 0xe6, 0xf4, 0xeb, 0xfe };

    (void)state;
    for (unsigned blocked = 0; blocked < 2; blocked++) {
        struct text t = { .n = 0 };
        struct smm s;

        make(&s, 1);
        set_handler(&s, &t);
        put_code(&s, code, sizeof(code));
        rig_mode(s.r, 64, CODE);
        s.r->c->is_nmi_blocked = blocked;
        assert_int_equal(rig_run(s.r), SOFT_EXIT_EVENT);
        assert_int_equal(s.r->c->is_nmi_blocked, blocked);
        assert_int_equal(saved(&s, 0xfeca, 1), blocked);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsm_brings_back_what_the_smi_saved),
        cmocka_unit_test(an_smi_comes_whatever_the_cpu_does),
        cmocka_unit_test(rsm_to_what_no_cpu_can_be_in_shuts_down),
        cmocka_unit_test(pae_tables_are_loaded_again),
        cmocka_unit_test(an_input_is_done_again_if_the_handler_wants_that),
        cmocka_unit_test(a_repeated_output_is_done_again_from_where_it_was),
        cmocka_unit_test(the_a20_gate_is_open_in_smm),
        cmocka_unit_test(code_of_smram_and_of_what_is_behind_it_are_kept_apart),
        cmocka_unit_test(a_handler_may_write_itself),
        cmocka_unit_test(nmis_stay_blocked_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
