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

#include "core/accel/accel.h"
#include "core/cpu/cpu.h"
#include "core/loop/loop.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

enum {
    RAM_BYTES = 2 << 20,
    CODE = 0x1000,
    ROM_AT = 0x200000,
    MMIO_AT = 0x300000,
    DONE_PORT = 0xf4,
    LIMIT_MS = 20000,
};

static const struct vm_config cfg = {
    .ram_bytes = RAM_BYTES, .cpus = 1, .rtc_base_s = 0, .machine = (char *)"t"
};

struct rig {
    struct loop *loop;
    struct vm *vm;
    struct mem_region low, rom, mmio;
    uint8_t reg[4096];
    unsigned done; /* value written to DONE_PORT, 0 = not yet */
    unsigned resets;
};

static uint32_t port_get(void *arg, unsigned port, unsigned bytes)
{
    (void)arg, (void)port, (void)bytes;
    return 0x5a;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void port_put(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct rig *r = arg;

    (void)port, (void)bytes;
    r->done = v;
    loop_post(r->loop, nothing, NULL);
}

static const struct port_ops done_ops = { port_get, port_put, 1 };

static uint64_t reg_read(void *arg, uint64_t off, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, ((struct rig *)arg)->reg + off, bytes);
    return v;
}

static void reg_write(void *arg, uint64_t off, unsigned bytes, uint64_t v)
{
    memcpy(((struct rig *)arg)->reg + off, &v, bytes);
}

static const struct mem_ops reg_ops = { reg_read, reg_write, 1, 8 };

static void on_event(void *arg, enum vm_event ev)
{
    if (ev == VM_EVENT_RESET) ((struct rig *)arg)->resets++;
}

/* Skips the test, with the reason, where this host cannot. */
static struct rig *rig_new(const char *accel)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;
    char why[300];

    assert_non_null(r);
    assert_int_equal(loop_create(&r->loop, &e), 0);
    assert_int_equal(vm_create(&cfg, r->loop, &r->vm, &e), 0);
    vm_lock(r->vm);
    if (accel_open(r->vm, accel, why, sizeof(why), &e) < 0) {
        vm_unlock(r->vm);
        print_message("%s: %s\n", accel, e.text);
        vm_destroy(r->vm);
        loop_destroy(r->loop);
        free(r);
        skip(); /* what ran before, under the software CPU, has passed */
    }
    mem_init_alias(&r->low, "low", vm_ram(r->vm), 0, RAM_BYTES);
    assert_int_equal(mem_init_rom(&r->rom, "rom", 4096, &e), 0);
    mem_init_mmio(&r->mmio, "mmio", 4096, &reg_ops, r);
    mem_add_locked(r->vm, mem_root(r->vm), 0, &r->low, 0);
    mem_add_locked(r->vm, mem_root(r->vm), ROM_AT, &r->rom, 0);
    mem_add_locked(r->vm, mem_root(r->vm), MMIO_AT, &r->mmio, 0);
    port_map_locked(r->vm, DONE_PORT, 1, &done_ops, r, "done", &e);
    vm_add_listener(r->vm, on_event, r);
    assert_int_equal(vm_add_vcpus(r->vm, 1, &e), 0);
    return r;
}

static void rig_free(struct rig *r)
{
    vm_unlock(r->vm);
    vm_destroy(r->vm);
    mem_free(&r->rom);
    loop_destroy(r->loop);
    free(r);
}

static struct cpu_segment flat(unsigned sel, unsigned type)
{
    return (struct cpu_segment){
        .sel = (uint16_t)sel,
        .attr = (uint16_t)(type | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB |
                           SEG_ATTR_G),
        .limit = UINT32_MAX,
    };
}

/* 32-bit protected mode, flat, no paging, at CODE. */
static struct cpu *set_up(struct rig *r, const uint8_t *code, size_t bytes)
{
    struct vcpu *v = vm_vcpu(r->vm, 0);
    struct cpu *c = v->cpu;

    vm_accel(r->vm, NULL)->vcpu_reset(v);
    memcpy(vm_ram(r->vm)->host + CODE, code, bytes);
    c->seg[SEG_CS] = flat(8, 11);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != SEG_CS) c->seg[i] = flat(16, 3);
    }
    c->cr0 |= CR0_PE;
    c->rip = CODE;
    c->gpr[REG_SP] = 0x8000;
    vm_accel(r->vm, NULL)->vcpu_put(v);
    return c;
}

/* Run until the program writes DONE_PORT (or is reset), then stop. */
static void run(struct rig *r)
{
    const struct vm_accel_ops *a = vm_accel(r->vm, NULL);
    uint64_t end = loop_now_ns() + LIMIT_MS * UINT64_C(1000000);

    vm_start_locked(r->vm);
    while (r->done == 0 && r->resets == 0 && loop_now_ns() < end) {
        vm_unlock(r->vm);
        loop_step(r->loop, 100);
        vm_lock(r->vm);
    }
    vm_stop_locked(r->vm, RUN_PAUSED);
    if (a->vcpu_get != NULL) a->vcpu_get(vm_vcpu(r->vm, 0));
}

static const char *const accels[] = { "soft", "kvm" };
#define EACH(r)                         \
    struct rig *r;                      \
    for (unsigned n_ = 0; n_ < 2; n_++) \
        if ((r = rig_new(accels[n_])) != NULL)

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
        assert_int_equal(c->gpr[REG_BX], 5050);
        assert_int_equal(c->gpr[REG_DX] & 0xff, 0x5a);
        rig_free(r);
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
        assert_int_equal(c->gpr[REG_BX], 0x77777777);
        assert_int_equal(r->reg[8], 0xdd);
        assert_int_equal(c->gpr[REG_CX], 0xbb);
        rig_free(r);
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
        rig_free(r);
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
        const struct vm_accel_ops *a = vm_accel(r->vm, NULL);
        uint64_t seen = 0;

        for (unsigned i = 0; i < 3; i++) {
            uint64_t until = loop_now_ns() + 20000000;

            vm_start_locked(r->vm);
            while (loop_now_ns() < until) {
                vm_unlock(r->vm);
                loop_step(r->loop, 5);
                vm_lock(r->vm);
            }
            vm_stop_locked(r->vm, RUN_PAUSED);
            if (a->vcpu_get != NULL) a->vcpu_get(vm_vcpu(r->vm, 0));
            assert_true(c->gpr[REG_AX] > seen);
            assert_in_range(c->rip, CODE, CODE + 2);
            seen = c->gpr[REG_AX];
            if (seen > UINT32_MAX / 4) break;   /* would wrap */
        }
        rig_free(r);
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

        for (unsigned i = REG_CX; i <= REG_DI; i++) {
            if (i != REG_SP) c->gpr[i] = 0x01010101u * i;
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
        for (unsigned i = REG_CX; i <= REG_DI; i++) {
            if (i == REG_SP) continue;
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
        rig_free(r);
    }
}

static void auto_chooses_by_speed_and_says_why(void **state)
{
    struct err e = ERR_INIT;
    uint64_t speed = accel_kvm_speed(&e);
    struct rig *r = rig_new("auto");

    (void)state;
    assert_non_null(r);
    assert_string_equal(vm_accel_name(r->vm),
                        speed >= 200000000 ? "kvm" : "soft");
    rig_free(r);
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
    assert_int_equal(vm_create(&cfg, loop, &vm, &e), 0);
    vm_lock(vm);
    assert_int_equal(accel_open(vm, "warp", why, sizeof(why), &e), -EINVAL);
    assert_non_null(strstr(e.text, "warp"));
    assert_true(accel_open(vm, "soft,colour=red", why, sizeof(why), &e) < 0);
    assert_non_null(strstr(e.text, "colour"));
    vm_unlock(vm);
    vm_destroy(vm);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic_and_port_io_agree),
        cmocka_unit_test(rom_drops_writes_and_mmio_reaches_the_device),
        cmocka_unit_test(a_triple_fault_resets_the_machine),
        cmocka_unit_test(a_busy_guest_stops_at_once_and_goes_on),
        cmocka_unit_test(state_survives_the_way_in_and_out),
        cmocka_unit_test(auto_chooses_by_speed_and_says_why),
        cmocka_unit_test(unknown_accelerators_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
