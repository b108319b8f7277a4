/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/*
 * Both accelerators behind one interface: the same small programs give the
 * same registers, memory and device accesses under KVM and under the software
 * CPU.  KVM cases are skipped, with the reason, where it cannot be used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/accel_rig.h"

/* clang-format off */
static void arithmetic_and_port_io_agree(void **state)
{
    static const uint8_t code[] = {
        0xb9, 0x64, 0x00, 0x00, 0x00,       /* mov ecx, 100 */
        0x31, 0xc0,                         /* xor eax, eax */
        0x01, 0xc8, 0xe2, 0xfc,             /* 1: add eax, ecx; loop 1b */
        0x89, 0xc3,                         /* mov ebx, eax */
        0xe4, 0xf4, 0x88, 0xc2,             /* in al, 0xf4; mov dl, al */
        0xb0, 0x07, 0xe6, 0xf4,             /* mov al, 7; out 0xf4, al */
        0xf4,                               /* hlt */
    };

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));

        run(r);
        assert_int_equal(r->done, 7);
        assert_int_equal(c->gpr[GPR_BX], 5050);
        assert_int_equal(c->gpr[GPR_DX] & 0xff, 0x5a);
        accel_rig_free(r);
    }
}

static void rom_drops_writes_and_mmio_reaches_the_device(void **state)
{
    static const uint8_t code[] = {
        0xc7, 0x05, 0x00, 0x00, 0x20, 0x00, /* mov [ROM_AT], 0x11223344 */
        0x44, 0x33, 0x22, 0x11,
        0x8b, 0x1d, 0x00, 0x00, 0x20, 0x00, /* mov ebx, [ROM_AT] */
        0xc7, 0x05, 0x08, 0x00, 0x30, 0x00, /* mov [MMIO_AT + 8], ... */
        0xdd, 0xcc, 0xbb, 0xaa,
        0x0f, 0xb6, 0x0d, 0x0a, 0x00, 0x30, 0x00, /* movzx ecx, [.. + 10] */
        0xb0, 0x01, 0xe6, 0xf4, 0xf4,
    };

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));

        memset(r->rom.host, 0x77, 16);
        run(r);
        assert_int_equal(r->done, 1);
        assert_int_equal(c->gpr[GPR_BX], 0x77777777);
        assert_int_equal(r->reg[8], 0xdd);
        assert_int_equal(c->gpr[GPR_CX], 0xbb);
        accel_rig_free(r);
    }
}

static void every_cpu_tells_its_brand(void **state)
{
    static const uint8_t code[] = {
        0xb8, 0x02, 0x00, 0x00, 0x80,       /* mov eax, 0x80000002 */
        0x0f, 0xa2,                         /* cpuid */
        0x89, 0xc7,                         /* mov edi, eax */
        0xb8, 0x00, 0x00, 0x00, 0x80,       /* mov eax, 0x80000000 */
        0x0f, 0xa2,
        0x89, 0xc6,                         /* mov esi, eax */
        0xb0, 0x01, 0xe6, 0xf4, 0xf4,
    };

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));

        run(r);
        assert_true(c->gpr[GPR_SI] >= 0x80000004);
        assert_int_not_equal(c->gpr[GPR_DI], 0);
        accel_rig_free(r);
    }
}

static void a_triple_fault_resets_the_machine(void **state)
{
    static const uint8_t code[] = { 0x0f, 0x0b };       /* ud2, no IDT */

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));

        c->idt.limit = 0;
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        run(r);
        assert_int_equal(r->resets, 1);
        accel_rig_free(r);
    }
}

enum { SLICE_NS = 20000000, SLICES = 1000 };

/* Run in slices of 20 ms till EAX has passed `seen`: on a busy host the vCPU
 * may not get to run in each. */
static void run_until_more(struct rig *r, const struct cpu *c,
                           uint64_t seen)
{
    const struct vm_accel_ops *a = vm_accel(r->vm, NULL);

    for (unsigned i = 0; i < SLICES && c->gpr[GPR_AX] <= seen; i++) {
        uint64_t until = loop_now_ns() + SLICE_NS;

        vm_start_locked(r->vm);
        while (loop_now_ns() < until) {
            vm_unlock(r->vm);
            loop_step(r->loop, 5);
            vm_lock(r->vm);
        }
        vm_stop_locked(r->vm, RUN_PAUSED);
        if (a->vcpu_get != NULL) a->vcpu_get(vm_vcpu(r->vm, 0));
    }
}

static void a_busy_guest_stops_at_once_and_goes_on(void **state)
{
    static const uint8_t code[] = {
        0x40, 0xeb, 0xfd,                   /* 1: inc eax; jmp 1b */
    };

    (void)state;
    EACH(r) {
        struct cpu *c = set_up(r, code, sizeof(code));
        uint64_t seen = 0;

        for (unsigned i = 0; i < 3; i++) {
            run_until_more(r, c, seen);
            assert_true(c->gpr[GPR_AX] > seen);
            assert_in_range(c->rip, CODE, CODE + 2);
            seen = c->gpr[GPR_AX];
            if (seen > UINT32_MAX / 4) break;   /* would wrap */
        }
        accel_rig_free(r);
    }
}
/* clang-format on */

static void state_survives_the_way_in_and_out(void **state)
{
    static const uint8_t code[] = { 0xb0, 0x01, 0xe6, 0xf4, 0xf4 };

    (void)state;
    EACH(r)
    {
        struct cpu *c = set_up(r, code, sizeof(code));

        for (unsigned i = GPR_CX; i <= GPR_DI; i++) {
            if (i != GPR_SP) c->gpr[i] = 0x01010101u * i;
        }
        c->dr[0] = 0x1234;
        c->star = 0x0023001000000000;
        c->lstar = 0xffffffff81000000;
        c->kernel_gs_base = 0x7f0000001000;
        c->sysenter_eip = 0xc1000000;
        c->pat = 0x0007040600070406;
        c->gdt = (struct cpu_table){ 0x5000, 0x17 };
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        run(r);
        assert_int_equal(r->done, 1);
        for (unsigned i = GPR_CX; i <= GPR_DI; i++) {
            if (i == GPR_SP) continue;
            assert_int_equal(c->gpr[i], 0x01010101u * i);
        }
        assert_int_equal(c->dr[0], 0x1234);
        assert_int_equal(c->star, 0x0023001000000000);
        assert_int_equal(c->lstar, 0xffffffff81000000);
        assert_int_equal(c->kernel_gs_base, 0x7f0000001000);
        assert_int_equal(c->sysenter_eip, 0xc1000000);
        assert_int_equal(c->pat, 0x0007040600070406);
        assert_int_equal(c->gdt.base, 0x5000);
        assert_int_equal(c->seg[SEG_CS].sel, 8);
        assert_int_equal(c->seg[SEG_SS].attr & SEG_ATTR_DB, SEG_ATTR_DB);
        accel_rig_free(r);
    }
}

static void auto_chooses_by_speed_and_says_why(void **state)
{
    struct err e = ERR_INIT;
    uint64_t speed = accel_kvm_speed(&e);
    struct rig *r = accel_rig_new("auto");

    (void)state;
    assert_non_null(r);
    assert_string_equal(vm_accel_name(r->vm),
                        speed >= ACCEL_KVM_FAST_PER_S ? "kvm" : "soft");
    accel_rig_free(r);
    if (speed == 0) assert_string_not_equal(e.text, "");
}

static void unknown_accelerators_are_named(void **state)
{
    struct loop *loop;
    struct vm *vm;
    struct err e = ERR_INIT;
    char why[100];

    (void)state;
    assert_int_equal(loop_create(&loop, &e), 0);
    assert_int_equal(vm_create(&accel_rig_config, loop, &vm, &e), 0);
    vm_lock(vm);
    assert_int_equal(accel_open(vm, "warp", why, sizeof(why), &e), -EINVAL);
    assert_non_null(strstr(e.text, "warp"));
    assert_true(accel_open(vm, "soft,colour=red", why, sizeof(why), &e) < 0);
    assert_non_null(strstr(e.text, "colour"));
    if (accel_at(0)->probe(&e) == 0) {
        assert_true(
            accel_open(vm, "kvm,dirty-ring-size=7", why, sizeof(why), &e) < 0);
        assert_non_null(strstr(e.text, "dirty-ring-size"));
    }
    vm_unlock(vm);
    vm_destroy(vm);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic_and_port_io_agree),
        cmocka_unit_test(rom_drops_writes_and_mmio_reaches_the_device),
        cmocka_unit_test(every_cpu_tells_its_brand),
        cmocka_unit_test(a_triple_fault_resets_the_machine),
        cmocka_unit_test(a_busy_guest_stops_at_once_and_goes_on),
        cmocka_unit_test(state_survives_the_way_in_and_out),
        cmocka_unit_test(auto_chooses_by_speed_and_says_why),
        cmocka_unit_test(unknown_accelerators_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
