/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/*
 * Pages written (core/vm/dirty.h) under both accelerators: by the CPU, by
 * DMA, by the monitor; each once per collect; pages that are only read are
 * clean; ROM and registers are no pages; more pages than a dirty ring holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/vm/dev.h"
#include "core/vm/dirty.h"
#include "core/vm/dma.h"
#include "tests/unit/support/accel_rig.h"

/* Both ways of KVM. */
static const char *const ways[] = { "soft", "soft,translate=off",
                                    "kvm,dirty-ring-size=0",
                                    "kvm,dirty-ring-size=4096" };
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
#define EACH_WAY(r)                        \
    struct rig *r;                         \
    for (unsigned n_ = 0; n_ < WAYS; n_++) \
        if ((r = accel_rig_new(ways[n_])) != NULL)

struct found {
    uint64_t count, first, second;
};

static void note(void *arg, const struct vm_dirty_block *b)
{
    struct found *f = arg;

    for (uint64_t p = 0; p < b->pages; p++) {
        if (!(b->now[p / 64] >> (p & 63) & 1)) continue;
        if (f->count == 0) f->first = p;
        if (f->count == 1) f->second = p;
        f->count++;
    }
}

static struct found collect(struct rig *r)
{
    struct found f = { 0 };

    assert_int_equal(vm_dirty_collect_locked(r->vm, note, &f), 0);
    return f;
}

static void start(struct rig *r)
{
    struct err e = ERR_INIT;

    if (vm_dirty_start_locked(r->vm, &e) < 0) fail_msg("%s", e.text);
}

/* clang-format off */
static const uint8_t writer[] = {
    0x8b, 0x1d, 0x00, 0x40, 0x00, 0x00,       /* mov ebx, [0x4000] */
    0xc6, 0x05, 0x00, 0x50, 0x00, 0x00, 0x11, /* mov byte [0x5000], 0x11 */
    0xc6, 0x05, 0x00, 0x50, 0x20, 0x00, 0x22, /* ROM page: no, a hole */
    0xff, 0x05, 0x00, 0x90, 0x00, 0x00,       /* inc dword [0x9000] */
    0xb0, 0x01, 0xe6, 0xf4, 0xf4,
};
/* clang-format on */

static void written_pages_are_found_once(void **state)
{
    (void)state;
    EACH_WAY(r)
    {
        struct cpu *c = set_up(r, writer, sizeof(writer));
        struct found f;

        start(r);
        assert_true(vm_dirty_is_on(r->vm));
        run(r);
        assert_int_equal(r->done, 1);
        f = collect(r);
        assert_int_equal(f.count, 2);
        assert_int_equal(f.first, 5);
        assert_int_equal(f.second, 9);
        assert_int_equal(collect(r).count, 0);
        /* The same stores again, now with everything in the caches. */
        r->done = 0;
        c->rip = CODE;
        c->activity = CPU_ACTIVE;
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        run(r);
        assert_int_equal(collect(r).count, 2);
        vm_dirty_stop_locked(r->vm);
        assert_false(vm_dirty_is_on(r->vm));
        assert_int_equal(vm_dirty_collect_locked(r->vm, note, &f), -EINVAL);
        accel_rig_free(r);
    }
}

static void writes_before_start_and_after_stop_do_not_count(void **state)
{
    (void)state;
    EACH_WAY(r)
    {
        struct cpu *c = set_up(r, writer, sizeof(writer));
        struct err e = ERR_INIT;

        run(r);
        start(r);
        assert_int_equal(vm_dirty_start_locked(r->vm, &e), -EBUSY);
        assert_int_equal(collect(r).count, 0);
        vm_dirty_stop_locked(r->vm);
        r->done = 0;
        c->rip = CODE;
        c->activity = CPU_ACTIVE;
        vm_accel(r->vm, NULL)->vcpu_put(vm_vcpu(r->vm, 0));
        run(r);
        start(r);
        assert_int_equal(collect(r).count, 0);
        accel_rig_free(r); /* still on: the machine takes it along */
    }
}

static void the_stack_and_code_pages_count_too(void **state)
{
    /* push eax; mov byte [CODE + 0x800], 1; done */
    static const uint8_t code[] = { 0x50, 0xc6, 0x05, 0x00, 0x18, 0x00, 0x00,
                                    0x01, 0xb0, 0x01, 0xe6, 0xf4, 0xf4 };

    (void)state;
    EACH_WAY(r)
    {
        struct found f;

        set_up(r, code, sizeof(code));
        start(r);
        run(r);
        f = collect(r);
        assert_int_equal(f.count, 2);
        assert_int_equal(f.first, 1);  /* the code's own */
        assert_int_equal(f.second, 7); /* below 0x8000 */
        accel_rig_free(r);
    }
}

static const struct dev_class dma_class = {
    .name = "dma-test",
    .title = "writes memory",
    .bus = BUS_SYSTEM,
    .size = 8,
    .is_internal = true,
};

static void dma_and_monitor_writes_count(void **state)
{
    (void)state;
    EACH_WAY(r)
    {
        static const uint8_t zeros[8];
        struct err e = ERR_INIT;
        struct dev *d;
        struct found f;

        assert_int_equal(dev_add(r->vm, NULL, &dma_class, "d", &d, &e), 0);
        start(r);
        /* Across a page end. */
        assert_int_equal(dma_write_locked(d, 0x12ffc, zeros, 8), 0);
        f = collect(r);
        assert_int_equal(f.count, 2);
        assert_int_equal(f.first, 0x12);
        assert_int_equal(f.second, 0x13);
        mem_write_locked(r->vm, 0x20000, zeros, 8);
        mem_write_locked(r->vm, ROM_AT, zeros, 8);
        mem_write_locked(r->vm, MMIO_AT, zeros, 8);
        f = collect(r);
        assert_int_equal(f.count, 1);
        assert_int_equal(f.first, 0x20);
        accel_rig_free(r);
    }
}

/* clang-format off */
static void every_page_of_a_long_run_is_found(void **state)
{
    /* Twenty passes over 448 pages: with a page or two of its own more than a
     * ring of 4096 entries holds should it not be emptied. */
    static const uint8_t code[] = {
        0xb9, 0x14, 0x00, 0x00, 0x00,             /* mov ecx, 20 */
        0xbf, 0x00, 0x00, 0x02, 0x00,             /* 1: mov edi, 0x20000 */
        0xff, 0x07,                               /* 2: inc dword [edi] */
        0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,       /* add edi, 4096 */
        0x81, 0xff, 0x00, 0x00, 0x1e, 0x00,       /* cmp edi, 0x1e0000 */
        0x72, 0xf0,                               /* jb 2b */
        0xe2, 0xe9,                               /* loop 1b */
        0xb0, 0x01, 0xe6, 0xf4, 0xf4,
    };

    (void)state;
    EACH_WAY(r) {
        struct found f;
        uint64_t sum = 0;
        struct err e = ERR_INIT;

        if (n_ == WAYS - 1 && accel_kvm_speed(&e) < ACCEL_KVM_FAST_PER_S) {
            print_message("kvm: this host's emulates, which overflows rings\n");
            accel_rig_free(r);
            skip();
        }

        set_up(r, code, sizeof(code));
        start(r);
        vm_start_locked(r->vm);
        while (r->done == 0) {                    /* while it runs */
            vm_unlock(r->vm);
            loop_step(r->loop, 1);
            vm_lock(r->vm);
            sum += collect(r).count;
        }
        vm_stop_locked(r->vm, RUN_PAUSED);
        f = collect(r);
        sum += f.count;
        assert_in_range(sum, 448, 448 * 20);
        accel_rig_free(r);
    }
}
/* clang-format on */

static void a_region_that_appears_is_wholly_dirty(void **state)
{
    (void)state;
    EACH_WAY(r)
    {
        struct mem_region more;
        struct err e = ERR_INIT;

        set_up(r, writer, sizeof(writer));
        start(r);
        assert_int_equal(mem_init_ram(&more, "more", 16 * 4096, &e), 0);
        mem_add_locked(r->vm, mem_root(r->vm), 0x400000, &more, 0);
        assert_int_equal(collect(r).count, 16);
        assert_int_equal(collect(r).count, 0);
        mem_del_locked(r->vm, &more);
        /* The kernel's slot is gone with what it knew. */
        assert_true(collect(r).count <= 16);
        mem_free(&more);
        run(r);
        assert_int_equal(collect(r).count, 2);
        accel_rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_pages_are_found_once),
        cmocka_unit_test(writes_before_start_and_after_stop_do_not_count),
        cmocka_unit_test(the_stack_and_code_pages_count_too),
        cmocka_unit_test(dma_and_monitor_writes_count),
        cmocka_unit_test(every_page_of_a_long_run_is_found),
        cmocka_unit_test(a_region_that_appears_is_wholly_dirty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
