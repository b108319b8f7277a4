/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/*
 * A debugger outside the guest (core/vm/debug.h) under both accelerators:
 * - breakpoints in a loop, of both kinds, stop each time and are not seen by
 *   the guest in its own memory once the machine stands still
 * - one single step is one instruction, interrupts and a HLT included
 * - watchpoints name the address after the instruction that touched it
 * - a CPU that is held does not run
 * - the guest's own INT3 and single step stay the guest's
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/support/accel_rig.h"

enum { DATA = 0x5000, IDT = 0x6000, HANDLER = 0x7000 };

/* clang-format off */
static const uint8_t loop_code[] = {
    0xb9, 0x03, 0x00, 0x00, 0x00,             /* 1000 mov ecx, 3 */
    0x31, 0xc0,                               /* 1005 xor eax, eax */
    0x40,                                     /* 1007 1: inc eax */
    0xff, 0x05, 0x00, 0x50, 0x00, 0x00,       /* 1008 inc dword [DATA] */
    0x8b, 0x15, 0x04, 0x50, 0x00, 0x00,       /* 100e mov edx, [DATA + 4] */
    0xe2, 0xf1,                               /* 1014 loop 1b */
    0x89, 0x05, 0x00, 0x51, 0x00, 0x00,       /* 1016 mov [DATA+0x100], eax */
    0xb0, 0x01, 0xe6, 0xf4, 0xeb, 0xfe,       /* 101c out 0xf4, 1; jmp . */
};
/* clang-format on */
enum { AT_INC = 0x1007, AT_ADD = 0x1008, AT_LOAD = 0x100e, AT_LOOP = 0x1014 };

static struct vm_stop stop_of(struct rig *r)
{
    struct vm_stop s = { .why = VM_STOP_NONE };
    unsigned cpu = 99;

    vm_stop_take_locked(r->vm, VM_STOP_ANY, &cpu, &s);
    return s;
}

static void add(struct rig *r, enum vm_point_kind kind, uint64_t lin,
                uint64_t bytes)
{
    const struct vm_point p = { kind, lin, bytes };
    struct err e = ERR_INIT;
    int rc = vm_point_add_locked(r->vm, &p, &e);

    if (rc < 0) fail_msg("%s: %s", vm_accel_name(r->vm), e.text);
}

static void del(struct rig *r, enum vm_point_kind kind, uint64_t lin,
                uint64_t bytes)
{
    const struct vm_point p = { kind, lin, bytes };

    assert_int_equal(vm_point_del_locked(r->vm, &p), 0);
}

static void step(struct rig *r)
{
    vm_debug_step_locked(r->vm, 0, true);
    run(r);
    vm_debug_step_locked(r->vm, 0, false);
}

/* A /dev/kvm that emulates ring 0 neither stops at INT3 nor sees data
 * breakpoints: its emulator knows neither.  Ends the test. */
static void skip_emulating_kvm(struct rig *r)
{
    struct err e = ERR_INIT;

    if (strcmp(vm_accel_name(r->vm), "kvm") != 0) return;
    if (accel_kvm_speed(&e) >= ACCEL_KVM_FAST_PER_S) return;
    print_message("kvm: this host's emulates ring 0, without INT3 and data "
                  "breakpoints\n");
    accel_rig_free(r);
    skip(); /* what ran before, under the software CPU, has passed */
}

/* Three passes of the loop stop at AT_ADD, which is the middle of a block. */
static void check_break(enum vm_point_kind kind, enum vm_stop_why why)
{
    EACH(r)
    {
        struct cpu *c = set_up(r, loop_code, sizeof(loop_code));
        const uint8_t *ram = vm_ram(r->vm)->host;

        add(r, kind, AT_ADD, 1);
        for (unsigned pass = 1; pass <= 3; pass++) {
            struct vm_stop s;

            run(r);
            s = stop_of(r);
            assert_int_equal(vm_run_state(r->vm), RUN_DEBUG);
            assert_int_equal(s.why, why);
            assert_int_equal(s.lin, AT_ADD);
            assert_int_equal(c->rip, AT_ADD);
            assert_int_equal(c->gpr[GPR_AX], pass);
            assert_int_equal(ram[AT_ADD], 0xff); /* no INT3 to be seen */
            del(r, kind, AT_ADD, 1);
            step(r);
            assert_int_equal(stop_of(r).why, VM_STOP_STEP);
            assert_int_equal(c->rip, AT_LOAD);
            add(r, kind, AT_ADD, 1);
        }
        run(r);
        assert_int_equal(r->done, 1);
        accel_rig_free(r);
    }
}

static void a_software_breakpoint_stops_each_pass(void **state)
{
    (void)state;
    check_break(VM_BREAK_SOFT, VM_STOP_BREAK);
}

static void a_hardware_breakpoint_stops_each_pass(void **state)
{
    (void)state;
    check_break(VM_BREAK_HARD, VM_STOP_HARD);
}

static void there_are_more_breakpoints_than_debug_registers(void **state)
{
    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, loop_code, sizeof(loop_code));
        const uint8_t *ram = vm_ram(r->vm)->host;

        skip_emulating_kvm(r);
        for (unsigned i = 0; i < 6; i++) {
            add(r, VM_BREAK_SOFT, 0x9000 + i, 1);
        }
        add(r, VM_BREAK_SOFT, AT_LOAD, 1); /* an INT3 under KVM */
        run(r);
        assert_int_equal(stop_of(r).why, VM_STOP_BREAK);
        assert_int_equal(c->rip, AT_LOAD);
        assert_int_equal(ram[AT_LOAD], 0x8b);
        vm_point_clear_locked(r->vm);
        run(r);
        assert_int_equal(r->done, 1);
        assert_int_equal(ram[0x9000], 0);
        accel_rig_free(r);
    }
}

static bool is_int3_there(struct rig *r)
{
    return vm_ram(r->vm)->host[0x9004] == 0xcc;
}

/* Four debug registers, the fifth is in memory: but not for who looks. */
static void an_int3_is_in_memory_only_while_the_machine_runs(void **state)
{
    static const uint8_t code[] = { 0x40, 0xeb, 0xfd };

    (void)state;
    EACH(r)
    {
        const uint8_t *ram = vm_ram(r->vm)->host;
        bool is_kvm = strcmp(vm_accel_name(r->vm), "kvm") == 0;

        set_up(r, code, sizeof(code));
        for (unsigned i = 0; i < 5; i++) {
            add(r, VM_BREAK_SOFT, 0x9000 + i, 1);
        }
        assert_int_equal(ram[0x9004], 0);
        vm_start_locked(r->vm);
        if (is_kvm) assert_true(run_until(r, is_int3_there));
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(ram[0x9000 + i], 0);
        /* Taken away and set again while it runs. */
        del(r, VM_BREAK_SOFT, 0x9003, 1);
        assert_int_equal(ram[0x9004], 0); /* it has the register now */
        add(r, VM_BREAK_SOFT, 0x9003, 1);
        assert_int_equal(ram[0x9003], is_kvm ? 0xcc : 0);
        vm_stop_locked(r->vm, RUN_PAUSED);
        assert_int_equal(ram[0x9003], 0);
        accel_rig_free(r);
    }
}

static void breakpoints_may_come_after_the_code_has_run(void **state)
{
    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, loop_code, sizeof(loop_code));

        run(r); /* translated and linked */
        assert_int_equal(r->done, 1);
        r->done = 0;
        c->rip = CODE;
        c->activity = CPU_ACTIVE;
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        add(r, VM_BREAK_SOFT, AT_LOOP, 1);
        run(r);
        assert_int_equal(stop_of(r).why, VM_STOP_BREAK);
        assert_int_equal(c->rip, AT_LOOP);
        assert_int_equal(c->gpr[GPR_CX], 3);
        vm_point_clear_locked(r->vm);
        run(r);
        assert_int_equal(r->done, 1);
        accel_rig_free(r);
    }
}

static void single_steps_are_one_instruction_each(void **state)
{
    static const uint64_t rip[] = { 0x1005,  AT_INC,  AT_ADD,
                                    AT_LOAD, AT_LOOP, AT_INC };

    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, loop_code, sizeof(loop_code));

        for (unsigned i = 0; i < sizeof(rip) / sizeof(rip[0]); i++) {
            step(r);
            assert_int_equal(stop_of(r).why, VM_STOP_STEP);
            assert_int_equal(c->rip, rip[i]);
            assert_false(c->rflags & FLAG_TF);
        }
        assert_int_equal(c->gpr[GPR_AX], 1);
        assert_int_equal(c->gpr[GPR_CX], 2);
        run(r);
        assert_int_equal(r->done, 1);
        accel_rig_free(r);
    }
}

static void watchpoints_stop_after_the_access(void **state)
{
    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, loop_code, sizeof(loop_code));
        uint32_t v;
        struct vm_stop s;

        skip_emulating_kvm(r);
        add(r, VM_WATCH_WRITE, DATA, 4);
        run(r);
        s = stop_of(r);
        assert_int_equal(s.why, VM_STOP_WATCH);
        assert_int_equal(s.lin, DATA);
        assert_int_equal(s.kind, VM_WATCH_WRITE);
        assert_int_equal(c->rip, AT_LOAD);
        memcpy(&v, vm_ram(r->vm)->host + DATA, 4);
        assert_int_equal(v, 1);
        del(r, VM_WATCH_WRITE, DATA, 4);
        add(r, VM_WATCH_ACCESS, DATA + 4, 4); /* read by the next one */
        run(r);
        s = stop_of(r);
        assert_int_equal(s.why, VM_STOP_WATCH);
        assert_int_equal(s.lin, DATA + 4);
        assert_int_equal(s.kind, VM_WATCH_ACCESS);
        assert_int_equal(c->rip, AT_LOOP);
        /* Writes alone: the load does not stop, nor do neighbours. */
        del(r, VM_WATCH_ACCESS, DATA + 4, 4);
        add(r, VM_WATCH_WRITE, DATA + 4, 4);
        run(r);
        assert_int_equal(r->done, 1);
        accel_rig_free(r);
    }
}

static void a_step_over_hlt_ends_with_the_cpu_halted(void **state)
{
    static const uint8_t code[] = { 0x90, 0xf4, 0x90, 0xeb, 0xfe };

    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, code, sizeof(code));

        step(r);
        assert_int_equal(c->rip, CODE + 1);
        step(r);
        assert_int_equal(stop_of(r).why, VM_STOP_STEP);
        assert_int_equal(c->rip, CODE + 2);
        accel_rig_free(r);
    }
}

/* Interrupt gate of a 32-bit IDT, SDM 3A 6.11. */
static void set_gate(struct rig *r, unsigned vector, uint32_t at)
{
    uint8_t *g = vm_ram(r->vm)->host + IDT + 8 * vector;
    const uint8_t gate[8] = {
        (uint8_t)at,         (uint8_t)(at >> 8), 8, 0, 0, 0x8e,
        (uint8_t)(at >> 16), (uint8_t)(at >> 24)
    };

    memcpy(g, gate, sizeof(gate));
}

/* Flat code and data segments where set_up's selectors point. */
static void set_gdt(struct rig *r, struct cpu *c)
{
    static const uint8_t gdt[24] = {
        [8] = 0xff,  0xff, 0, 0, 0, 0x9b, 0xcf, 0,
        [16] = 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0,
    };

    memcpy(vm_ram(r->vm)->host + 0x6800, gdt, sizeof(gdt));
    c->gdt = (struct cpu_table){ 0x6800, sizeof(gdt) - 1 };
    c->idt = (struct cpu_table){ IDT, 256 * 8 - 1 };
    vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
}

/* clang-format off */
static void the_guests_own_int3_is_the_guests(void **state)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                         /* 1000 xor eax, eax */
        0xcc,                               /* 1002 int3 */
        0x40,                               /* 1003 inc eax */
        0x88, 0xc3,                         /* 1004 mov bl, al */
        0xb0, 0x01, 0xe6, 0xf4, 0xeb, 0xfe,
    };
    static const uint8_t handler[] = {
        0xb9, 0x77, 0x00, 0x00, 0x00,       /* mov ecx, 0x77 */
        0xcf,                               /* iret */
    };

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));

        skip_emulating_kvm(r);
        memcpy(vm_ram(r->vm)->host + HANDLER, handler, sizeof(handler));
        set_gate(r, EXC_BP, HANDLER);
        set_gdt(r, c);
        add(r, VM_BREAK_SOFT, 0x1004, 1);
        run(r);
        assert_int_equal(stop_of(r).why, VM_STOP_BREAK);
        assert_int_equal(c->rip, 0x1004);
        assert_int_equal(c->gpr[GPR_CX], 0x77);
        assert_int_equal(c->gpr[GPR_AX], 1);
        accel_rig_free(r);
    }
}
/* clang-format on */

static bool second_ran(struct rig *r)
{
    uint32_t v;

    memcpy(&v, vm_ram(r->vm)->host + DATA + 4, 4);
    return v > 0;
}

static void a_held_cpu_does_not_run(void **state)
{
    /* 1000 1: inc dword [DATA + 4 * ebx]; jmp 1b */
    static const uint8_t code[] = { 0xff, 0x04, 0x9d, 0x00, 0x50,
                                    0x00, 0x00, 0xeb, 0xf7 };

    (void)state;
    for (unsigned n = 0; n < ACCEL_RIGS; n++) {
        struct rig *r = accel_rig_open(accel_rig_names[n]);
        uint32_t v[2];

        accel_rig_add_cpus(r, 2);
        memcpy(vm_ram(r->vm)->host + CODE, code, sizeof(code));
        memset(vm_ram(r->vm)->host + DATA, 0, 8);
        for (unsigned i = 0; i < 2; i++) {
            set_up_cpu(r, i)->gpr[GPR_BX] = i;
            vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, i));
        }
        vm_debug_hold_locked(r->vm, 0, true);
        vm_start_locked(r->vm);
        assert_true(run_until(r, second_ran));
        vm_stop_locked(r->vm, RUN_PAUSED);
        memcpy(v, vm_ram(r->vm)->host + DATA, 8);
        assert_int_equal(v[0], 0);
        assert_true(v[1] > 0);
        vm_debug_hold_locked(r->vm, 0, false);
        vm_debug_step_locked(r->vm, 0, true);
        vm_debug_hold_locked(r->vm, 1, true);
        run(r);
        assert_int_equal(stop_of(r).why, VM_STOP_STEP);
        memcpy(v, vm_ram(r->vm)->host + DATA, 8);
        assert_int_equal(v[0], 1);
        accel_rig_free(r);
    }
}

static void impossible_points_are_refused(void **state)
{
    (void)state;
    EACH(r)
    {
        const struct vm_point none = { VM_WATCH_WRITE, 0, 0 };
        const struct vm_point wraps = { VM_WATCH_WRITE, UINT64_MAX, 2 };
        const struct vm_point once = { VM_BREAK_HARD, CODE, 1 };
        struct err e = ERR_INIT;

        set_up(r, loop_code, sizeof(loop_code));
        assert_int_equal(vm_point_add_locked(r->vm, &none, &e), -EINVAL);
        assert_int_equal(vm_point_add_locked(r->vm, &wraps, &e), -EINVAL);
        assert_int_equal(vm_point_del_locked(r->vm, &once), -ENOENT);
        assert_int_equal(vm_point_add_locked(r->vm, &once, &e), 0);
        assert_int_equal(vm_point_add_locked(r->vm, &once, &e), -EEXIST);
        for (unsigned i = 1; i < 6; i++) {
            const struct vm_point p = { VM_BREAK_HARD, 0x9000 + i, 1 };
            int rc = vm_point_add_locked(r->vm, &p, &e);

            if (strcmp(vm_accel_name(r->vm), "kvm") == 0 && i >= 4) {
                assert_int_equal(rc, -ENOSPC); /* four registers */
            } else {
                assert_int_equal(rc, 0);
            }
        }
        run(r);
        assert_int_equal(stop_of(r).why, VM_STOP_HARD);
        accel_rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_software_breakpoint_stops_each_pass),
        cmocka_unit_test(a_hardware_breakpoint_stops_each_pass),
        cmocka_unit_test(there_are_more_breakpoints_than_debug_registers),
        cmocka_unit_test(an_int3_is_in_memory_only_while_the_machine_runs),
        cmocka_unit_test(breakpoints_may_come_after_the_code_has_run),
        cmocka_unit_test(single_steps_are_one_instruction_each),
        cmocka_unit_test(watchpoints_stop_after_the_access),
        cmocka_unit_test(a_step_over_hlt_ends_with_the_cpu_halted),
        cmocka_unit_test(the_guests_own_int3_is_the_guests),
        cmocka_unit_test(a_held_cpu_does_not_run),
        cmocka_unit_test(impossible_points_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
