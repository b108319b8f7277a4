/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/*
 * Limits on octets and operations: the buckets on a clock of the test's, the
 * rules about combinations (texts as QEMU prints them), and what a drive with
 * limits lets through on the real clock: never more than they allow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/block.h"
#include "block/throttle.h"
#include "core/loop/loop.h"

#define S UINT64_C(1000000000)

/* Requests of one size, as many as a second lets through after the burst at
 * the start; the time of the last. */
static uint64_t run(struct throttle *t, bool is_write, uint64_t bytes,
                    unsigned count)
{
    uint64_t now = t->leaked_ns, wait;

    for (unsigned i = 0; i < count; i++) {
        while ((wait = throttle_wait_ns(t, is_write, now)) > 0)
            now += wait;
        throttle_account(t, is_write, bytes);
    }
    return now;
}

static void octets_keep_to_the_rate(void **unused)
{
    struct throttle_limits l = { .of[THROTTLE_BPS].per_s = 1000000 };
    struct throttle t;
    uint64_t end;

    (void)unused;
    throttle_init(&t, &l, 5 * S);
    /* 10 MB: a tenth of a second's worth and one request go at once. */
    end = run(&t, false, 10000, 1000) - 5 * S;
    assert_in_range(end, 9880 * S / 1000, 9900 * S / 1000);
}

static void operations_keep_to_the_rate_and_large_ones_count_more(void **unused)
{
    struct throttle_limits l = { .of[THROTTLE_IOPS].per_s = 100 };
    struct throttle t;

    (void)unused;
    throttle_init(&t, &l, 0);
    assert_in_range(run(&t, true, 1 << 20, 110), 980 * S / 1000, S);
    l.iops_bytes = 4096; /* 8192 octets are two */
    throttle_init(&t, &l, 0);
    assert_in_range(run(&t, true, 8192, 110), 2060 * S / 1000, 2100 * S / 1000);
}

static void reads_and_writes_have_limits_of_their_own(void **unused)
{
    struct throttle_limits l = { .of[THROTTLE_BPS_READ].per_s = 1000,
                                 .of[THROTTLE_IOPS_WRITE].per_s = 10 };
    struct throttle t;

    (void)unused;
    throttle_init(&t, &l, 0);
    throttle_account(&t, false, 1100); /* a second too much */
    assert_in_range(throttle_wait_ns(&t, false, 0), S, S + 1000);
    assert_int_equal(throttle_wait_ns(&t, true, 0), 0);
    throttle_account(&t, true, 1 << 30); /* writes: octets do not count */
    assert_int_equal(throttle_wait_ns(&t, true, 0), 0);
    throttle_account(&t, true, 1);
    assert_in_range(throttle_wait_ns(&t, true, 0), S / 10, S / 10 + 1000);
}

static void a_burst_lasts_as_long_as_it_may(void **unused)
{
    struct throttle_limits l = { .of[THROTTLE_IOPS] = { 10, 100, 3 } };
    struct throttle t;
    uint64_t now;

    (void)unused;
    throttle_init(&t, &l, 0);
    /* 3 seconds at 100; while they last 10 a second leak away. */
    now = run(&t, false, 512, 350);
    assert_in_range(now, 4500 * S / 1000, 5500 * S / 1000);
    /* From then on 10 a second. */
    assert_in_range(run(&t, false, 512, 20) - now, 1900 * S / 1000,
                    2100 * S / 1000);
    /* After a long rest the burst is there again. */
    now = t.leaked_ns + 100 * S;
    assert_int_equal(throttle_wait_ns(&t, false, now), 0);
    assert_true(t.bucket[THROTTLE_IOPS].level == 0);
}

static void time_that_does_not_move_or_goes_back_gives_nothing(void **unused)
{
    struct throttle_limits l = { .of[THROTTLE_BPS].per_s = 10 };
    struct throttle t;
    uint64_t wait;

    (void)unused;
    throttle_init(&t, &l, 100 * S);
    throttle_account(&t, false, 1000);
    wait = throttle_wait_ns(&t, false, 100 * S);
    assert_true(wait > 90 * S);
    assert_int_equal(throttle_wait_ns(&t, false, 1 * S), wait);
    throttle_account(&t, false, UINT64_MAX);
    assert_true(throttle_wait_ns(&t, false, 100 * S) > wait);
}

static void combinations_that_make_no_sense_are_refused(void **unused)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "bps=10,bps_rd=5", "cannot be used at the same time" },
        { "throttling.iops-total=1,throttling.iops-write=1",
          "cannot be used at the same time" },
        { "bps_max=5", "require corresponding bps/iops values" },
        { "bps=10,bps_max=5", "cannot be lower than bps/iops" },
        { "iops_size=512", "iops size requires an iops value" },
        { "bps=5,bps_max_length=2", "burst length set without burst rate" },
        { "bps=5,bps_max=9,bps_max_length=0", "the burst length cannot be 0" },
        { "bps=-1", "must be within [0, 1000000000000000]" },
        { "bps=1000000000000001", "must be within [0, 1000000000000000]" },
        { "bps=1,bps_max=1000000000000000,bps_max_length=2",
          "burst length too high" },
        { "bps=1M", "expects a number" },
        { "throttling.bps-total=x", "expects a number" },
        { "throttling.nothing=1", "no option" },
    };
    struct blk_options o;

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;

        blk_options_init(&o);
        assert_true(blk_options_parse(&o, bad[i].text, &e) < 0);
        if (strstr(e.text, bad[i].why) == NULL)
            fail_msg("%s: %s", bad[i].text, e.text);
    }
    blk_options_init(&o);
    assert_int_equal(
        blk_options_parse(&o,
                          "throttling.bps-read=7,throttling.bps-read-max=9,"
                          "throttling.bps-read-max-length=2,iops=3,iops_size=5,"
                          "throttling.group=g",
                          NULL),
        0);
    assert_int_equal(o.limits.of[THROTTLE_BPS_READ].per_s, 7);
    assert_int_equal(o.limits.of[THROTTLE_BPS_READ].max, 9);
    assert_int_equal(o.limits.of[THROTTLE_BPS_READ].burst_s, 2);
    assert_int_equal(o.limits.of[THROTTLE_IOPS].per_s, 3);
    assert_int_equal(o.limits.iops_bytes, 5);
    assert_string_equal(o.throttle_group, "g");
}

/* ------------------------------------------------- on the real clock */

struct env {
    struct loop *loop;
    char dir[64];
    struct drive_table *t;
    struct drive *d[2];
    unsigned done;
    int rc;
};

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    static const char *const ids[] = { "d0", "d1" };

    strcpy(x->dir, "/tmp/orrery-throttle-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    assert_int_equal(loop_create(&x->loop, NULL), 0);
    assert_int_equal(drive_table_create(x->loop, &x->t), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct blk_options o = { .format = "raw" };
        char path[96];
        struct blk *b;
        FILE *f;

        snprintf(path, sizeof(path), "%s/%u", x->dir, i);
        f = fopen(path, "wb");
        assert_int_equal(ftruncate(fileno(f), 1 << 20), 0);
        fclose(f);
        assert_int_equal(blk_open(x->loop, path, &o, &b, NULL), 0);
        assert_int_equal(
            drive_add(x->t, ids[i], false, false, b, &x->d[i], NULL), 0);
    }
    *state = x;
    return 0;
}

static int drop(void **state)
{
    struct env *x = *state;
    char line[100];

    drive_table_destroy(x->t);
    loop_destroy(x->loop);
    snprintf(line, sizeof(line), "rm -r %s", x->dir);
    assert_int_equal(system(line), 0);
    free(x);
    return 0;
}

static void on_done(void *arg, int rc)
{
    struct env *x = arg;

    x->done++;
    x->rc = rc;
}

static uint8_t data[65536];

static void start(struct env *x, struct drive *d, bool is_write, unsigned count)
{
    struct iovec iov = { data, sizeof(data) };

    for (unsigned i = 0; i < count; i++) {
        if (is_write)
            blk_write(drive_blk(d), 0, &iov, 1, false, on_done, x);
        else
            blk_read(drive_blk(d), 0, &iov, 1, on_done, x);
    }
}

static void wait_for(struct env *x, unsigned count)
{
    uint64_t end = loop_now_ns() + 60 * S;

    while (x->done < count && loop_now_ns() < end)
        loop_step(x->loop, 100);
    assert_int_equal(x->done, count);
}

static void a_drive_is_never_faster_than_its_limit(void **state)
{
    struct env *x = *state;
    struct throttle_limits l = { .of[THROTTLE_BPS].per_s = 4 << 20 };
    uint64_t begin = loop_now_ns();

    assert_int_equal(drive_set_limits(x->d[0], &l, NULL, NULL), 0);
    start(x, x->d[0], true, 40); /* 2.5 MiB at 4 MiB/s */
    wait_for(x, 40);
    /* All but what a bucket holds and the request that fills it. */
    assert_true(loop_now_ns() - begin >= (2560 - 410 - 64) * S / 4096);
    assert_int_equal(x->rc, 0);
}

static void drives_of_a_group_share_its_limit(void **state)
{
    struct env *x = *state;
    struct throttle_limits l = { .of[THROTTLE_IOPS].per_s = 50 };
    uint64_t begin = loop_now_ns();
    struct throttle_limits seen;

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(drive_set_limits(x->d[i], &l, "g", NULL), 0);
    assert_string_equal(drive_limits(x->d[1], &seen), "g");
    start(x, x->d[0], false, 20);
    start(x, x->d[1], false, 20);
    wait_for(x, 40);
    assert_true(loop_now_ns() - begin >= (40 - 5 - 1) * S / 50);
}

static void a_drain_waits_for_no_limit(void **state)
{
    struct env *x = *state;
    struct throttle_limits l = { .of[THROTTLE_IOPS_WRITE].per_s = 1 };
    uint64_t begin = loop_now_ns();

    assert_int_equal(drive_set_limits(x->d[0], &l, NULL, NULL), 0);
    start(x, x->d[0], true, 300); /* five minutes */
    start(x, x->d[0], false, 1);  /* reads are not held up */
    wait_for(x, 2);
    blk_drain(drive_blk(x->d[0]));
    assert_int_equal(x->done, 301);
    assert_true(loop_now_ns() - begin < 120 * S);
}

static void lifting_the_limit_lets_everything_go(void **state)
{
    struct env *x = *state;
    struct throttle_limits l = { .of[THROTTLE_BPS].per_s = 1 }, none = { 0 };

    assert_int_equal(drive_set_limits(x->d[0], &l, NULL, NULL), 0);
    start(x, x->d[0], true, 10);
    wait_for(x, 1);
    assert_int_equal(drive_set_limits(x->d[0], &none, NULL, NULL), 0);
    wait_for(x, 10);
    assert_null(drive_limits(x->d[0], &l));
}

static void a_waiting_request_can_be_cancelled(void **state)
{
    struct env *x = *state;
    struct throttle_limits l = { .of[THROTTLE_BPS].per_s = 1 };
    struct iovec iov = { data, sizeof(data) };
    int64_t id;

    assert_int_equal(drive_set_limits(x->d[0], &l, NULL, NULL), 0);
    start(x, x->d[0], true, 1);
    wait_for(x, 1);
    id = blk_write(drive_blk(x->d[0]), 0, &iov, 1, false, on_done, x);
    blk_cancel(drive_blk(x->d[0]), id);
    wait_for(x, 2);
    assert_int_equal(x->rc, -ECANCELED);
}

#define REAL(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets_keep_to_the_rate),
        cmocka_unit_test(operations_keep_to_the_rate_and_large_ones_count_more),
        cmocka_unit_test(reads_and_writes_have_limits_of_their_own),
        cmocka_unit_test(a_burst_lasts_as_long_as_it_may),
        cmocka_unit_test(time_that_does_not_move_or_goes_back_gives_nothing),
        cmocka_unit_test(combinations_that_make_no_sense_are_refused),
        REAL(a_drive_is_never_faster_than_its_limit),
        REAL(drives_of_a_group_share_its_limit),
        REAL(a_drain_waits_for_no_limit),
        REAL(lifting_the_limit_lets_everything_go),
        REAL(a_waiting_request_can_be_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
