/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw core block */
/*
 * Event file descriptors (core/vm/eventfd.h) under both accelerators:
 * - a guest's write to a port or an address signals the fd and does not reach
 *   the device; width and value have to match; taken away it reaches it again
 * - an fd that is signalled sends its message to the CPU, a changed one sends
 *   the new message, a deleted one nothing
 * - a line is raised until the device lowers it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/vm/eventfd.h"
#include "hw/chips/chips.h"
#include "tests/unit/support/accel_rig.h"

enum { IDT = 0x6000, HANDLER = 0x7000, VECTOR = 0x41 };

static uint64_t count_of(int fd)
{
    uint64_t v = 0;

    return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

static int new_fd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void add(struct rig *r, const struct vm_ioevent *ev)
{
    struct err e = ERR_INIT;

    if (vm_ioevent_add_locked(r->vm, ev, &e) < 0) fail_msg("%s", e.text);
}

/* clang-format off */
static const uint8_t writer[] = {
    0xb8, 0x07, 0x00, 0x00, 0x00,             /* mov eax, 7 */
    0x66, 0xa3, 0x10, 0x00, 0x30, 0x00,       /* mov [MMIO_AT + 0x10], ax */
    0xa3, 0x10, 0x00, 0x30, 0x00,             /* mov [MMIO_AT + 0x10], eax */
    0xb0, 0x08,                               /* mov al, 8 */
    0xa3, 0x10, 0x00, 0x30, 0x00,             /* the same with 8 */
    0xa2, 0x20, 0x00, 0x30, 0x00,             /* mov [MMIO_AT + 0x20], al */
    0xe6, 0x80, 0xe7, 0x80,                   /* out 0x80, al; out, eax */
    0xb0, 0x01, 0xe6, 0xf4, 0xf4,
};
/* clang-format on */

static void a_write_signals_instead_of_reaching_the_device(void **state)
{
    (void)state;
    EACH(r)
    {
        int fd[3] = { new_fd(), new_fd(), new_fd() };
        struct vm_ioevent by_value = {
            false, MMIO_AT + 0x10, 4, true, 7, fd[0]
        };
        struct vm_ioevent any = { false, MMIO_AT + 0x20, 0, false, 0, fd[1] };
        struct vm_ioevent port = { true, 0x80, 1, false, 0, fd[2] };
        struct cpu *c = set_up(r, writer, sizeof(writer));

        add(r, &by_value);
        add(r, &any);
        add(r, &port);
        memset(r->reg, 0x55, sizeof(r->reg));
        run(r);
        assert_int_equal(r->done, 1);
        assert_int_equal(count_of(fd[0]), 1); /* four bytes, and 7 */
        assert_int_equal(count_of(fd[1]), 1);
        assert_int_equal(count_of(fd[2]), 1);
        assert_int_equal(r->reg[0x10], 8); /* the others came through */
        assert_int_equal(r->reg[0x20], 0x55);
        /* Taken away the device has it again. */
        assert_int_equal(vm_ioevent_del_locked(r->vm, &any), 0);
        assert_int_equal(vm_ioevent_del_locked(r->vm, &any), -ENOENT);
        r->done = 0;
        c->rip = CODE;
        c->activity = CPU_ACTIVE;
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        run(r);
        assert_int_equal(count_of(fd[1]), 0);
        assert_int_equal(r->reg[0x20], 8);
        accel_rig_free(r);
        for (unsigned i = 0; i < 3; i++)
            close(fd[i]);
    }
}

static void the_monitors_writes_signal_too(void **state)
{
    (void)state;
    EACH(r)
    {
        int fd = new_fd();
        struct vm_ioevent port = { true, 0x1000, 2, true, 3, fd };
        struct vm_ioevent hole = { false, 0x500000, 4, false, 0, fd };
        uint32_t v = 9;

        add(r, &port);
        add(r, &hole);
        port_write_locked(r->vm, 0x1000, 2, 2);
        port_write_locked(r->vm, 0x1000, 1, 3);
        assert_int_equal(count_of(fd), 0);
        port_write_locked(r->vm, 0x1000, 2, 3);
        assert_int_equal(count_of(fd), 1);
        mem_write_locked(r->vm, 0x500000, &v, 4);
        mem_write_locked(r->vm, 0x500000, &v, 2);
        assert_int_equal(count_of(fd), 1);
        accel_rig_free(r);
        close(fd);
    }
}

static void impossible_addresses_are_refused(void **state)
{
    (void)state;
    EACH(r)
    {
        int fd = new_fd();
        struct vm_ioevent ok = { true, 0x1000, 2, true, 3, fd };
        struct vm_ioevent other = { true, 0x1000, 2, true, 4, fd };
        struct vm_ioevent overlap = { true, 0x1000, 0, false, 0, fd };
        struct vm_ioevent wide = { true, 0x1000, 8, false, 0, fd };
        struct vm_ioevent high = { true, 0x10000, 1, false, 0, fd };
        struct vm_ioevent odd = { false, 0x10000, 3, false, 0, fd };
        struct vm_ioevent vague = { false, 0x10000, 0, true, 1, fd };
        struct err e = ERR_INIT;

        add(r, &ok);
        add(r, &other);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &ok, &e), -EEXIST);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &overlap, &e), -EEXIST);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &wide, &e), -EINVAL);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &high, &e), -EINVAL);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &odd, &e), -EINVAL);
        assert_int_equal(vm_ioevent_add_locked(r->vm, &vague, &e), -EINVAL);
        accel_rig_free(r);
        close(fd);
    }
}

/* ---- interrupts ---- */

static void set_gate(struct rig *r, unsigned vector, uint32_t at)
{
    const uint8_t gate[8] = {
        (uint8_t)at,         (uint8_t)(at >> 8), 8, 0, 0, 0x8e,
        (uint8_t)(at >> 16), (uint8_t)(at >> 24)
    };

    memcpy(vm_ram(r->vm)->host + IDT + 8 * vector, gate, sizeof(gate));
}

/* clang-format off */
static const uint8_t waiter[] = {
    0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe,       /* mov [SVR], 0x1ff */
    0xff, 0x01, 0x00, 0x00,
    0xfb, 0xf4, 0xeb, 0xfd,                   /* sti; 1: hlt; jmp 1b */
};
static const uint8_t handler[] = {            /* +0x20: of VECTOR + 1 */
    0x66, 0xb8, 0x01, 0x00, 0xe6, 0xf4,       /* mov ax, 1; out 0xf4, al */
    0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe,       /* mov [EOI], 0 */
    0x00, 0x00, 0x00, 0x00,
    0xbc, 0x00, 0x80, 0x00, 0x00,             /* mov esp, 0x8000 */
    0xb8, 0x0a, 0x10, 0x00, 0x00, 0xff, 0xe0, /* mov eax, the sti; jmp eax:
                                                 not every KVM has IRET */
};
/* clang-format on */

static struct rig *apic_rig(const char *accel)
{
    static const uint8_t gdt[24] = {
        [8] = 0xff,  0xff, 0, 0, 0, 0x9b, 0xcf, 0,
        [16] = 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0,
    };
    struct rig *r = accel_rig_open(accel);
    struct err e = ERR_INIT;
    uint8_t *ram = vm_ram(r->vm)->host;
    struct dev *d;
    struct cpu *c;

    if (!vm_accel(r->vm, NULL)->has_kernel_lapic) {
        assert_int_equal(dev_add(r->vm, NULL, &lapic_class, "l", &d, &e), 0);
    }
    accel_rig_add_cpus(r, 1);
    c = set_up(r, waiter, sizeof(waiter));
    memcpy(ram + HANDLER, handler, sizeof(handler));
    memcpy(ram + HANDLER + 0x20, handler, sizeof(handler));
    ram[HANDLER + 0x22] = 2; /* mov ax, 2 */
    set_gate(r, VECTOR, HANDLER);
    set_gate(r, VECTOR + 1, HANDLER + 0x20);
    memcpy(ram + 0x6900, gdt, sizeof(gdt));
    c->gdt = (struct cpu_table){ 0x6900, sizeof(gdt) - 1 };
    c->idt = (struct cpu_table){ IDT, 256 * 8 - 1 };
    vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
    vm_start_locked(r->vm);
    return r;
}

static bool is_done(struct rig *r)
{
    return r->done != 0;
}

static bool is_waiting(struct rig *r)
{
    bool is_there;

    vm_park_locked(r->vm);
    get_registers(r);
    is_there = vm_vcpu(r->vm, 0)->cpu->rip == CODE + 12;
    vm_unpark_locked(r->vm);
    return is_there;
}

static void signal_fd(int fd)
{
    static const uint64_t one = 1;

    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void a_signalled_fd_interrupts_the_cpu(void **state)
{
    (void)state;
    for (unsigned n = 0; n < ACCEL_RIGS; n++) {
        struct rig *r = apic_rig(accel_rig_names[n]);
        struct vm_irq_target to = { .is_msi = true,
                                    .msi_addr = 0xfee00000,
                                    .msi_data = VECTOR };
        struct err e = ERR_INIT;
        struct vm_irqfd *f;
        int fd = new_fd();

        assert_int_equal(vm_irqfd_add_locked(r->vm, fd, &to, &f, &e), 0);
        assert_true(run_until(r, is_waiting));
        assert_int_equal(r->done, 0);
        signal_fd(fd);
        assert_true(run_until(r, is_done));
        assert_int_equal(r->done, 1);
        /* Another message, by the same descriptor. */
        r->done = 0;
        to.msi_data = VECTOR + 1;
        vm_irqfd_retarget_locked(f, &to);
        assert_true(run_until(r, is_waiting));
        signal_fd(fd);
        assert_true(run_until(r, is_done));
        assert_int_equal(r->done, 2);
        /* Gone: the signal stays in the counter for whoever reads it. */
        vm_irqfd_del_locked(f);
        vm_unlock(r->vm);
        loop_step(r->loop, 0);
        vm_lock(r->vm);
        signal_fd(fd);
        assert_int_equal(count_of(fd), 1);
        accel_rig_free(r);
        close(fd);
    }
}

static void on_line(void *arg, unsigned n, bool level)
{
    unsigned *seen = arg;

    seen[0] = n;
    seen[1] = level;
    seen[2]++;
}

static unsigned line_seen[3];

static bool is_raised(struct rig *r)
{
    (void)r;
    return line_seen[2] != 0;
}

static void a_line_is_raised_until_it_is_lowered(void **state)
{
    (void)state;
    EACH(r)
    {
        struct vm_irq_target to = { .line = { on_line, line_seen, 5 } };
        struct err e = ERR_INIT;
        struct vm_irqfd *f;
        int fd = new_fd(), own = dup(fd);

        memset(line_seen, 0, sizeof(line_seen));
        assert_int_equal(vm_irqfd_add_locked(r->vm, fd, &to, &f, &e), 0);
        close(fd); /* it has its own */
        signal_fd(own);
        assert_true(run_until(r, is_raised));
        assert_int_equal(line_seen[0], 5);
        assert_int_equal(line_seen[1], 1);
        assert_int_equal(line_seen[2], 1);
        vm_irqfd_del_locked(f);
        vm_unlock(r->vm);
        loop_step(r->loop, 0);
        vm_lock(r->vm);
        accel_rig_free(r);
        close(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_signals_instead_of_reaching_the_device),
        cmocka_unit_test(the_monitors_writes_signal_too),
        cmocka_unit_test(impossible_addresses_are_refused),
        cmocka_unit_test(a_signalled_fd_interrupts_the_cpu),
        cmocka_unit_test(a_line_is_raised_until_it_is_lowered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
