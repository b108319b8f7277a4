/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine core: loop, clock and timers, memory map, ports, devices, state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/loop/loop.h"
#include "core/vm/clock.h"
#include "core/vm/dma.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

static const struct vm_config small = { .ram_bytes = 4 << 20,
                                        .cpus = 1,
                                        .rtc_base_s = 1000 };

struct env {
    struct loop *loop;
    struct vm *vm;
};

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));

    if (x == NULL || loop_create(&x->loop, NULL) < 0) return -1;
    if (vm_create(&small, x->loop, &x->vm, NULL) < 0) return -1;
    vm_lock(x->vm);
    *state = x;
    return 0;
}

static int drop(void **state)
{
    struct env *x = *state;

    vm_unlock(x->vm);
    vm_destroy(x->vm);
    loop_destroy(x->loop);
    free(x);
    return 0;
}

/* ---- clock ---- */

static void count_up(void *arg)
{
    ++*(int *)arg;
}

static void step(struct env *x)
{
    vm_unlock(x->vm);
    loop_step(x->loop, 1000);
    vm_lock(x->vm);
}

static void timers_fire_in_guest_time_only(void **state)
{
    struct env *x = *state;
    struct timer t;
    int fired = 0;

    timer_init(&t, x->vm, count_up, &fired);
    timer_arm_locked(&t, 1000);
    vm_unlock(x->vm);
    loop_step(x->loop, 20); /* paused: guest time stands at 0 */
    vm_lock(x->vm);
    assert_int_equal(fired, 0);
    clock_set_ns_locked(x->vm, 999);
    vm_unlock(x->vm);
    loop_step(x->loop, 20);
    vm_lock(x->vm);
    assert_int_equal(fired, 0);
    clock_set_ns_locked(x->vm, 1000);
    step(x);
    assert_int_equal(fired, 1);
    assert_false(t.is_armed);
}

static void disarmed_timers_do_not_fire(void **state)
{
    struct env *x = *state;
    struct timer a, b;
    int na = 0, nb = 0;

    timer_init(&a, x->vm, count_up, &na);
    timer_init(&b, x->vm, count_up, &nb);
    timer_arm_locked(&a, 10);
    timer_arm_locked(&b, 20);
    timer_disarm_locked(&a);
    clock_set_ns_locked(x->vm, 30);
    step(x);
    assert_int_equal(na, 0);
    assert_int_equal(nb, 1);
}

static void guest_clock_stands_still_while_paused(void **state)
{
    struct env *x = *state;
    uint64_t t;

    clock_resume_locked(x->vm);
    while (clock_now_ns(x->vm) == 0)
        continue;
    clock_pause_locked(x->vm);
    t = clock_now_ns(x->vm);
    assert_true(t > 0);
    assert_int_equal(clock_now_ns(x->vm), t);
    assert_int_equal(clock_wall_s(x->vm), 1000 + (int64_t)(t / 1000000000));
}

/* ---- memory map ---- */

static uint64_t reg_read(void *arg, uint64_t off, unsigned bytes)
{
    uint8_t *r = arg;
    uint64_t v = 0;

    memcpy(&v, r + off, bytes);
    return v;
}

static void reg_write(void *arg, uint64_t off, unsigned bytes, uint64_t v)
{
    memcpy((uint8_t *)arg + off, &v, bytes);
}

static const struct mem_ops reg_ops = { reg_read, reg_write, 1, 4 };

static void higher_priority_hides_and_gives_back(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region low, mmio;
    uint8_t regs[4096] = { 0 };
    uint32_t v = 0x11223344;

    mem_init_alias(&low, "low", vm_ram(vm), 0, 1 << 20);
    mem_init_mmio(&mmio, "mmio", 4096, &reg_ops, regs);
    mem_add_locked(vm, mem_root(vm), 0, &low, 0);
    mem_add_locked(vm, mem_root(vm), 0xa0000, &mmio, 1);
    mem_write_locked(vm, 0xa0000, &v, 4);
    assert_int_equal(regs[0], 0x44);
    assert_int_equal(vm_ram(vm)->host[0xa0000], 0);
    mem_set_enabled_locked(vm, &mmio, false);
    mem_write_locked(vm, 0xa0000, &v, 4);
    assert_int_equal(vm_ram(vm)->host[0xa0000], 0x44);
    assert_null(mem_find(vm, 1 << 20));
    mem_read_locked(vm, (1 << 20) - 2, &v, 4); /* runs out into a hole */
    assert_int_equal(v, 0xffff0000);
}

static void alias_windows_shift_and_clip(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region high;
    const struct mem_frag *f;

    mem_init_alias(&high, "high", vm_ram(vm), 3 << 20, 8 << 20);
    mem_add_locked(vm, mem_root(vm), 1ull << 32, &high, 0);
    f = mem_find(vm, (1ull << 32) + 5);
    assert_non_null(f);
    assert_ptr_equal(f->host, vm_ram(vm)->host + (3 << 20));
    assert_int_equal(f->size, 1 << 20); /* RAM ends there */
    assert_null(mem_find(vm, (1ull << 32) + (1 << 20)));
}

static void readonly_windows_drop_writes(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region w;
    uint8_t v = 9;

    mem_init_alias(&w, "pam", vm_ram(vm), 0, 4096);
    w.is_readonly = true;
    mem_add_locked(vm, mem_root(vm), 0, &w, 0);
    mem_write_locked(vm, 0, &v, 1);
    assert_int_equal(vm_ram(vm)->host[0], 0);
    mem_set_readonly_locked(vm, &w, false);
    mem_write_locked(vm, 0, &v, 1);
    assert_int_equal(vm_ram(vm)->host[0], 9);
}

static void a20_off_folds_odd_megabytes(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region all;
    uint8_t v = 7;

    mem_init_alias(&all, "ram", vm_ram(vm), 0, 4 << 20);
    mem_add_locked(vm, mem_root(vm), 0, &all, 0);
    mem_set_a20_locked(vm, false);
    mem_write_locked(vm, 0x100000, &v, 1);
    assert_int_equal(vm_ram(vm)->host[0], 7);
    mem_set_a20_locked(vm, true);
    mem_write_locked(vm, 0x100001, &v, 1);
    assert_int_equal(vm_ram(vm)->host[1], 0);
    assert_int_equal(vm_ram(vm)->host[0x100001], 7);
}

static void written_host(void *arg, const uint8_t *host, uint64_t bytes)
{
    (void)bytes;
    *(const uint8_t **)arg = host;
}

static void smm_sees_regions_of_its_own_and_all_address_lines(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region all, own;
    const uint8_t *seen = NULL;
    uint8_t v[4] = { 1, 2, 3, 4 }, got[4];

    mem_set_listener_locked(
        vm,
        &(struct mem_listener){ .arg = &seen, .host_written = written_host });
    mem_init_alias(&all, "ram", vm_ram(vm), 0, 2 << 20);
    mem_add_locked(vm, mem_root(vm), 0, &all, 0);
    mem_write_in_locked(vm, MEM_VIEW_SMM, 0x5000, v, 4);
    assert_int_equal(vm_ram(vm)->host[0x5003], 4);

    /* across its start and over its end */
    mem_init_alias(&own, "own", vm_ram(vm), 3 << 20, 0x1000);
    mem_add_locked(vm, mem_smm_root(vm), 0x5000, &own, 1);
    mem_write_in_locked(vm, MEM_VIEW_SMM, 0x4ffe, v, 4);
    assert_int_equal(vm_ram(vm)->host[0x4fff], 2);
    assert_int_equal(vm_ram(vm)->host[0x300000], 3);
    assert_ptr_equal(seen, vm_ram(vm)->host + 0x300000);
    assert_int_equal(vm_ram(vm)->host[0x5000], 1);
    mem_read_in_locked(vm, MEM_VIEW_SMM, 0x4ffe, got, 4);
    assert_memory_equal(got, v, 4);
    mem_read_locked(vm, 0x5000, got, 4);
    assert_memory_equal(got, v, 4);
    assert_ptr_equal(mem_find_in(vm, MEM_VIEW_SMM, 0x6000)->host,
                     vm_ram(vm)->host + 0x6000);

    mem_set_a20_locked(vm, false);
    mem_write_in_locked(vm, MEM_VIEW_SMM, 0x105000, v + 2, 1);
    assert_int_equal(vm_ram(vm)->host[0x105000], 3);
    mem_set_a20_locked(vm, true);
    mem_set_enabled_locked(vm, &own, false);
    mem_read_in_locked(vm, MEM_VIEW_SMM, 0x5000, got, 4);
    assert_memory_equal(got, v, 4);
    mem_set_listener_locked(vm, &(struct mem_listener){ .arg = NULL });
}

static void mmio_accesses_are_split_and_widened(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    static const struct mem_ops wide = { reg_read, reg_write, 4, 4 };
    struct mem_region mmio;
    uint8_t regs[16] = { 0 };
    uint64_t v = 0x8877665544332211;
    uint8_t b = 0xaa;

    mem_init_mmio(&mmio, "mmio", 16, &wide, regs);
    mem_add_locked(vm, mem_root(vm), 0x1000, &mmio, 0);
    mem_write_locked(vm, 0x1000, &v, 8);
    assert_memory_equal(regs, &v, 8);
    mem_write_locked(vm, 0x1005, &b, 1);
    assert_int_equal(regs[5], 0xaa);
    assert_int_equal(regs[4], 0x55);
    mem_read_locked(vm, 0x1006, &b, 1);
    assert_int_equal(b, 0x77);
}

static void dma_refuses_what_is_not_memory(void **state)
{
    struct env *x = *state;
    struct vm *vm = x->vm;
    struct mem_region low, mmio;
    uint8_t regs[4096] = { 0 }, buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

    mem_init_alias(&low, "low", vm_ram(vm), 0, 4096);
    mem_init_mmio(&mmio, "mmio", 4096, &reg_ops, regs);
    mem_add_locked(vm, mem_root(vm), 0, &low, 0);
    mem_add_locked(vm, mem_root(vm), 4096, &mmio, 0);
    assert_int_equal(dma_write_locked(vm_root(vm), 4092, buf, 4), 0);
    assert_int_equal(dma_write_locked(vm_root(vm), 4092, buf, 8), -EFAULT);
    assert_int_equal(regs[0], 0);
    assert_int_equal(dma_read_locked(vm_root(vm), 1 << 30, buf, 1), -EFAULT);
    assert_int_equal(dma_read_locked(vm_root(vm), UINT64_MAX, buf, 2),
                     -EOVERFLOW);
}

/* ---- ports ---- */

static uint32_t port_get(void *arg, unsigned port, unsigned bytes)
{
    return ((uint8_t *)arg)[port] * (bytes == 1 ? 1u : 0x100u);
}

static void port_put(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    ((uint8_t *)arg)[port] = (uint8_t)(v + (bytes - 1));
}

static const struct port_ops byte_ports = { port_get, port_put, 1 };

static void wide_port_accesses_are_split(void **state)
{
    struct env *x = *state;
    uint8_t r[4] = { 1, 2, 3, 4 };

    assert_int_equal(
        port_map_locked(x->vm, 0x100, 4, &byte_ports, r, "t", NULL), 0);
    assert_int_equal(port_read_locked(x->vm, 0x100, 4), 0x04030201);
    assert_int_equal(port_read_locked(x->vm, 0x102, 4), 0xffff0403);
    port_write_locked(x->vm, 0x101, 2, 0x0908);
    assert_int_equal(r[1], 8);
    assert_int_equal(r[2], 9);
    port_write_locked(x->vm, 0xffff, 4, 0); /* wraps around, hits nothing */
    assert_int_equal(port_read_locked(x->vm, 0xffff, 1), 0xff);
}

static void later_port_mappings_hide_earlier_ones(void **state)
{
    struct env *x = *state;
    uint8_t a[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, b[2] = { 2, 2 };
    struct err e = ERR_INIT;

    port_map_locked(x->vm, 0x200, 8, &byte_ports, a, "a", NULL);
    port_map_locked(x->vm, 0x202, 2, &byte_ports, b, "b", NULL);
    assert_int_equal(port_read_locked(x->vm, 0x200, 4), 0x02020101);
    port_unmap_locked(x->vm, 0x202, 2, b);
    assert_int_equal(port_read_locked(x->vm, 0x200, 4), 0x01010101);
    assert_int_equal(port_map_locked(x->vm, 0xfffe, 4, &byte_ports, a, "a", &e),
                     -EINVAL);
}

/* ---- devices and state ---- */

struct sub {
    uint16_t a;
    bool on;
};
struct thing {
    uint32_t count;
    char *label;
    uint8_t fifo[4];
    uint32_t pos;
    struct sub ch[2];
    uint8_t *big;
};
static const struct field sub_state[] = { U16(sub, a), BOOL(sub, on),
                                          STATE_END };
static const struct field thing_state[] = {
    U32(thing, count),        BYTES(thing, fifo),
    U32_MAX(thing, pos, 3),   STRUCT_ARRAY(thing, ch, sub_state),
    PTR_BYTES(thing, big, 8), STATE_END,
};
static const struct prop thing_props[] = {
    PROP("count", P_U32, thing, count, 1, 10, "5", NULL, "how many"),
    PROP("label", P_STR, thing, label, 0, 0, NULL, NULL, "name"),
    PROP_END,
};

static int thing_create(struct dev *d, struct err *e)
{
    struct thing *t = d->s;

    if (t->count == 9) return err_set(e, -EINVAL, "nine is refused");
    t->big = calloc(1, 8);
    return t->big != NULL ? 0 : -ENOMEM;
}

static void thing_destroy(struct dev *d)
{
    free(((struct thing *)d->s)->big);
}

static const struct dev_class thing_class = {
    .name = "thing",
    .title = "test device",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct thing),
    .props = thing_props,
    .state = thing_state,
    .version = 1,
    .create = thing_create,
    .destroy = thing_destroy,
};

static void properties_have_defaults_and_ranges(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    struct dev *d;
    char buf[64];

    assert_int_equal(dev_new(x->vm, NULL, &thing_class, NULL, &d, &e), 0);
    assert_string_equal(dev_prop_text(d, &thing_props[0], buf, 64), "5 (0x5)");
    assert_int_equal(dev_set(d, "count", "11", &e), -ERANGE);
    assert_string_equal(e.text, "property count=11 is outside 1..10");
    assert_int_equal(dev_set(d, "count", "many", &e), -EINVAL);
    assert_int_equal(dev_set(d, "colour", "red", &e), -ENOENT);
    assert_int_equal(dev_set(d, "label", "x", &e), 0);
    assert_int_equal(dev_set(d, "count", "9", &e), 0);
    assert_int_equal(dev_create(d, &e), -EINVAL);
    assert_string_equal(e.text, "thing: nine is refused");
    assert_null(dev_find(x->vm, "thing"));
}

static void device_state_survives_a_round_trip(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    struct state_out out = { 0 };
    struct dev *d, *d2;
    struct thing *t;

    assert_int_equal(dev_add(x->vm, NULL, &thing_class, NULL, &d, &e), 0);
    assert_int_equal(dev_add(x->vm, NULL, &thing_class, NULL, &d2, &e), 0);
    assert_string_equal(d2->id, "thing#1");
    t = d->s;
    t->pos = 2;
    t->ch[1] = (struct sub){ 77, true };
    memcpy(t->big, "12345678", 8);
    assert_int_equal(dev_save_tree(vm_root(x->vm), &out, &e), 0);
    t->pos = 0;
    t->ch[1] = (struct sub){ 0 };
    memset(t->big, 0, 8);
    assert_int_equal(dev_load_tree(vm_root(x->vm), out.data, out.bytes, &e), 0);
    assert_int_equal(t->pos, 2);
    assert_int_equal(t->ch[1].a, 77);
    assert_true(t->ch[1].on);
    assert_memory_equal(t->big, "12345678", 8);
    state_out_free(&out);
}

struct screen {
    uint8_t *memory;
};
enum { SCREEN_BYTES = 3 * 4096 + 100 };
static const struct field screen_state[] = {
    PTR_BYTES(screen, memory, SCREEN_BYTES), STATE_END
};

/* Which quarters (the last one short) hold something: all sixteen ways. */
static void memory_is_saved_without_its_zeros(void **state)
{
    static uint8_t was[SCREEN_BYTES], now[SCREEN_BYTES];
    struct screen from = { was }, to = { now };
    struct err e = ERR_INIT;

    (void)state;
    for (unsigned used = 0; used < 16; used++) {
        struct state_out out = { 0 };

        memset(was, 0, sizeof(was));
        for (unsigned i = 0; i < 4; i++)
            was[i * 4096 + 77] = used >> i & 1 ? (uint8_t)(i + 1) : 0;
        memset(now, 0x5a, sizeof(now));
        assert_int_equal(state_save(&out, screen_state, &from), 0);
        assert_true(out.bytes <
                    4096u * (unsigned)__builtin_popcount(used) + 100);
        assert_int_equal(state_load(out.data, out.bytes, screen_state, &to, &e),
                         0);
        assert_memory_equal(now, was, sizeof(was));
        state_out_free(&out);
    }
}

/* Runs that overlap, go backwards or past the end change nothing. */
static void hostile_runs_of_memory_are_refused(void **state)
{
    static const uint32_t bad[][4] = {
        { SCREEN_BYTES, 4, 0, 0 },
        { SCREEN_BYTES - 3, 4, 0, 0 },
        { 0xfffffffe, 4, 0, 0 },
        { 0, 0xffffffff, 0, 0 },
        { 8, 4, 8, 4 },
        { 8, 4, 11, 4 },
        { 8, 4, 0, 4 },
    };
    static uint8_t zero[SCREEN_BYTES], now[SCREEN_BYTES];
    struct screen from = { zero }, to = { now };
    struct err e = ERR_INIT;

    (void)state;
    memset(now, 0x5a, sizeof(now));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct state_out out = { 0 };
        uint32_t len = 12u * (bad[i][3] != 0 ? 2 : 1);

        assert_int_equal(state_save(&out, screen_state, &from), 0);
        memcpy(out.data + out.bytes - 4, &len, 4);
        state_append(&out, bad[i], 8);
        state_append(&out, "abcd", 4);
        if (len > 12) {
            state_append(&out, bad[i] + 2, 8);
            state_append(&out, "efgh", 4);
        }
        assert_int_equal(state_load(out.data, out.bytes, screen_state, &to, &e),
                         -EINVAL);
        for (size_t k = 0; k < sizeof(now); k++)
            assert_int_equal(now[k], 0x5a);
        state_out_free(&out);
    }
}

static void hostile_state_is_refused(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    struct state_out out = { 0 };
    struct thing t = { .pos = 3 }, back = { 0 };
    uint8_t big[8] = "1234567";

    (void)x;
    t.big = back.big = big;
    assert_int_equal(state_save(&out, thing_state, &t), 0);
    assert_int_equal(state_load(out.data, out.bytes, thing_state, &back, &e),
                     0);
    for (size_t n = 0; n < out.bytes; n++) { /* cut anywhere */
        state_load(out.data, n, thing_state, &back, &e);
    }
    for (size_t i = 0; i < out.bytes; i++) { /* flip anything */
        for (unsigned bit = 0; bit < 8; bit++) {
            out.data[i] ^= (uint8_t)(1u << bit);
            state_load(out.data, out.bytes, thing_state, &back, &e);
            assert_in_range(back.pos, 0, 3);
            out.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    state_out_free(&out);
    t.pos = 4; /* out of range for an index into fifo[4] */
    assert_int_equal(state_save(&out, thing_state, &t), 0);
    assert_int_equal(state_load(out.data, out.bytes, thing_state, &back, &e),
                     -EINVAL);
    assert_string_equal(e.text, "field pos is 4, more than 3");
    state_out_free(&out);
}

/* ---- loop ---- */

static void posted_functions_run_in_order(void **state)
{
    struct env *x = *state;
    int n = 0;

    loop_post(x->loop, count_up, &n);
    loop_post(x->loop, count_up, &n);
    loop_step(x->loop, 1000);
    assert_int_equal(n, 2);
    loop_quit(x->loop, 42);
    assert_int_equal(loop_run(x->loop), 42);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        T(timers_fire_in_guest_time_only),
        T(disarmed_timers_do_not_fire),
        T(guest_clock_stands_still_while_paused),
        T(higher_priority_hides_and_gives_back),
        T(alias_windows_shift_and_clip),
        T(readonly_windows_drop_writes),
        T(a20_off_folds_odd_megabytes),
        T(smm_sees_regions_of_its_own_and_all_address_lines),
        T(mmio_accesses_are_split_and_widened),
        T(dma_refuses_what_is_not_memory),
        T(wide_port_accesses_are_split),
        T(later_port_mappings_hide_earlier_ones),
        T(properties_have_defaults_and_ranges),
        T(device_state_survives_a_round_trip),
        T(memory_is_saved_without_its_zeros),
        T(hostile_runs_of_memory_are_refused),
        T(hostile_state_is_refused),
        T(posted_functions_run_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
