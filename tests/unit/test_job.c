/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/*
 * Jobs on a drive that is written to meanwhile: backup is the disk of the
 * start, mirror the disk of the end; commit and stream keep what the guest
 * sees and shorten the chain (made by qemu-img, looked at by it again).  Held
 * requests after errors, and their retry.
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

#include "block/block_int.h"
#include "block/job.h"
#include "core/loop/loop.h"

enum { DISK_BYTES = 8 << 20, BLOCK = 4096, BLOCKS = DISK_BYTES / BLOCK };

struct env {
    struct loop *loop;
    char dir[64];
    struct drive_table *drives;
    struct drive *drive;
    uint8_t *model; /* what the guest must read */
    unsigned seed, writes_out;
    int events[JOB_EVENTS], last_rc;
    char last_error[200];
};

static const char *path(struct env *x, const char *name)
{
    static char text[16][160];
    static unsigned turn;

    snprintf(text[turn %= 16], sizeof(text[0]), "%s/%s", x->dir, name);
    return text[turn++];
}

static void shell(struct env *x, const char *command)
{
    char line[600];

    snprintf(line, sizeof(line), "cd %s && { %s; } >log 2>&1", x->dir, command);
    if (system(line) != 0) fail_msg("%s", line);
}

static bool has_qemu_img(void)
{
    return system("command -v qemu-img >/dev/null") == 0;
}

static void on_job(void *arg, enum job_event ev, const struct job_info *i)
{
    struct env *x = arg;

    x->events[ev]++;
    x->last_rc = i->rc;
    assert_true(i->done <= i->total);
    if (ev == JOB_COMPLETED) assert_int_equal(i->done, i->total);
    snprintf(x->last_error, sizeof(x->last_error), "%s", i->error);
}

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));

    strcpy(x->dir, "/tmp/orrery-job-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    assert_int_equal(loop_create(&x->loop, NULL), 0);
    assert_int_equal(drive_table_create(x->loop, &x->drives), 0);
    job_set_listener(x->drives, on_job, x);
    x->model = malloc(DISK_BYTES);
    x->seed = 1;
    *state = x;
    return 0;
}

static int drop(void **state)
{
    struct env *x = *state;
    char line[100];

    drive_table_destroy(x->drives);
    loop_step(x->loop, 0);
    loop_destroy(x->loop);
    snprintf(line, sizeof(line), "rm -r %s", x->dir);
    assert_int_equal(system(line), 0);
    free(x->model);
    free(x);
    return 0;
}

static void open_drive(struct env *x, const char *file, const char *format,
                       bool is_snapshot)
{
    struct blk_options o = { .format = format, .is_snapshot = is_snapshot };
    struct err e = ERR_INIT;
    struct blk *b;

    if (blk_open(x->loop, path(x, file), &o, &b, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(
        drive_add(x->drives, "disk0", false, false, b, &x->drive, &e), 0);
    assert_int_equal(blk_pread(b, 0, x->model, DISK_BYTES), 0);
}

/* A raw disk of 8 MiB whose second half is zeros. */
static void make_raw(struct env *x, const char *name)
{
    FILE *f = fopen(path(x, name), "wb");

    for (unsigned i = 0; i < DISK_BYTES / 2; i++)
        fputc((int)(i * 7 + i / 511), f);
    fclose(f);
    assert_int_equal(truncate(path(x, name), DISK_BYTES), 0);
}

struct guest_write {
    struct env *x;
    uint8_t data[BLOCK];
};

static void written(void *arg, int rc)
{
    struct guest_write *w = arg;

    assert_int_equal(rc, 0);
    w->x->writes_out--;
    free(w);
}

/* Some writes of a guest, noted in the model. */
static void guest_writes(struct env *x, unsigned count)
{
    while (count-- > 0) {
        struct guest_write *w = malloc(sizeof(*w));
        struct iovec iov = { w->data, BLOCK };
        uint64_t at = (uint64_t)(rand_r(&x->seed) % BLOCKS) * BLOCK;

        w->x = x;
        memset(w->data, rand_r(&x->seed), BLOCK);
        memcpy(x->model + at, w->data, BLOCK);
        x->writes_out++;
        assert_true(
            blk_write(drive_blk(x->drive), at, &iov, 1, false, written, w) > 0);
        /* Overlapping writes in flight have no order. */
        while (x->writes_out > 0)
            loop_step(x->loop, 100);
    }
}

static void start_job(struct env *x, enum job_kind kind,
                      const struct job_args *a)
{
    struct err e = ERR_INIT;

    if (job_start(x->drives, x->drive, kind, a, &e) < 0) fail_msg("%s", e.text);
}

/* Let the loop run, the guest writing, until the event has come. */
static void until(struct env *x, enum job_event ev, bool is_writing)
{
    uint64_t end = loop_now_ns() + 60000000000u;

    while (x->events[ev] == 0) {
        assert_true(loop_now_ns() < end);
        if (x->events[JOB_FAILED] > 0) fail_msg("failed: %s", x->last_error);
        loop_step(x->loop, 5);
        if (is_writing && job_on_drive(x->drive)) guest_writes(x, 1);
    }
}

static void assert_file_is(struct env *x, const char *name,
                           const uint8_t *expected)
{
    FILE *f = fopen(path(x, name), "rb");
    uint8_t *got = malloc(DISK_BYTES);

    assert_non_null(f);
    assert_int_equal(fread(got, 1, DISK_BYTES, f), DISK_BYTES);
    fclose(f);
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        if (got[i] != expected[i])
            fail_msg("%s differs at %u: %u, not %u", name, i, got[i],
                     expected[i]);
    }
    free(got);
}

static void assert_guest_reads_model(struct env *x)
{
    uint8_t *got = malloc(DISK_BYTES);

    assert_int_equal(blk_pread(drive_blk(x->drive), 0, got, DISK_BYTES), 0);
    assert_memory_equal(got, x->model, DISK_BYTES);
    free(got);
}

/* -------------------------------------------------------------- tests */

static void a_backup_is_the_disk_of_its_start(void **state)
{
    struct env *x = *state;
    const struct job_args a = { .target = path(x, "copy"),
                                .format = "raw",
                                .speed = 32 << 20 };
    uint8_t *before = malloc(DISK_BYTES);

    make_raw(x, "disk");
    open_drive(x, "disk", "raw", false);
    memcpy(before, x->model, DISK_BYTES);
    start_job(x, JOB_BACKUP, &a);
    guest_writes(x, 200);
    until(x, JOB_COMPLETED, true);
    assert_file_is(x, "copy", before);
    assert_guest_reads_model(x);
    free(before);
}

static void a_mirror_follows_the_guest_and_takes_over(void **state)
{
    struct env *x = *state;
    /* So slow that it is not ready before we ask. */
    const struct job_args a = { .target = path(x, "copy"),
                                .format = "raw",
                                .speed = 1 << 20 };
    struct err e = ERR_INIT;

    make_raw(x, "disk");
    open_drive(x, "disk", "raw", false);
    start_job(x, JOB_MIRROR, &a);
    assert_int_equal(job_complete(x->drives, "disk0", &e), -EBUSY);
    assert_int_equal(job_set_speed(x->drives, "disk0", 0, &e), 0);
    until(x, JOB_READY, true);
    guest_writes(x, 300);
    assert_int_equal(job_complete(x->drives, "disk0", &e), 0);
    until(x, JOB_COMPLETED, true);
    assert_string_equal(blk_file(drive_blk(x->drive)), path(x, "copy"));
    assert_guest_reads_model(x);
    guest_writes(x, 50);
    assert_guest_reads_model(x);
    assert_file_is(x, "copy", x->model);
}

static void a_cancelled_job_leaves_the_drive_as_it_was(void **state)
{
    struct env *x = *state;
    const struct job_args a = { .target = path(x, "copy"),
                                .format = "raw",
                                .speed = 65536 };
    struct job_info i;
    struct err e = ERR_INIT;

    make_raw(x, "disk");
    open_drive(x, "disk", "raw", false);
    start_job(x, JOB_BACKUP, &a);
    assert_true(job_nth(x->drives, 0, &i));
    assert_string_equal(i.status, "running");
    assert_int_equal(i.total, DISK_BYTES / 2); /* holes are not copied */
    assert_int_equal(job_start(x->drives, x->drive, JOB_BACKUP, &a, &e),
                     -EBUSY);
    assert_int_equal(job_cancel(x->drives, "nothing", &e), -ENOENT);
    assert_int_equal(job_pause(x->drives, "disk0", &e), 0);
    assert_true(job_nth(x->drives, 0, &i));
    assert_string_equal(i.status, "paused");
    assert_int_equal(job_resume(x->drives, "disk0", &e), 0);
    assert_int_equal(job_cancel(x->drives, "disk0", &e), 0);
    until(x, JOB_CANCELLED, true);
    assert_false(job_nth(x->drives, 0, &i));
    assert_string_equal(blk_file(drive_blk(x->drive)), path(x, "disk"));
    guest_writes(x, 50);
    assert_file_is(x, "disk", x->model);
}

static void commit_of_a_temporary_overlay_keeps_the_writes(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;

    make_raw(x, "disk");
    open_drive(x, "disk", "raw", true);
    guest_writes(x, 100);
    if (drive_commit(x->drive, &e) < 0) fail_msg("%s", e.text);
    assert_file_is(x, "disk", x->model);
    guest_writes(x, 20);
    assert_guest_reads_model(x);
}

/* base (raw data) <- mid <- top, qcow2, some blocks in each. */
static void make_chain(struct env *x)
{
    if (!has_qemu_img()) {
        print_message("qemu-img is missing: no chain to test with\n");
        skip();
    }
    if (block_driver_find("qcow2") == NULL) fail_msg("no qcow2");
    make_raw(x, "raw");
    shell(x, "qemu-img convert -f raw -O qcow2 raw base && "
             "qemu-img create -q -f qcow2 -b base -F qcow2 mid && "
             "qemu-img create -q -f qcow2 -b mid -F qcow2 top && "
             "qemu-io -f qcow2 -c 'write -P 17 1M 300k' mid && "
             "qemu-io -f qcow2 -c 'write -P 18 1100k 64k' top");
    open_drive(x, "top", "qcow2", false);
}

/* Close the drive's image and have qemu-img look at what is left. */
static void check_image(struct env *x, const char *name)
{
    char line[300];

    drive_table_destroy(x->drives);
    assert_int_equal(drive_table_create(x->loop, &x->drives), 0);
    job_set_listener(x->drives, on_job, x);
    snprintf(line, sizeof(line),
             "qemu-img check -q %s && qemu-img convert -O raw %s got", name,
             name);
    shell(x, line);
    assert_file_is(x, "got", x->model);
}

static void a_stream_makes_the_image_stand_alone(void **state)
{
    struct env *x = *state;
    const struct job_args a = { .speed = 0 };

    make_chain(x);
    start_job(x, JOB_STREAM, &a);
    until(x, JOB_COMPLETED, true);
    assert_null(blk_root(drive_blk(x->drive))->backing);
    assert_guest_reads_model(x);
    shell(x, "rm base mid");
    check_image(x, "top");
}

static void a_commit_of_the_middle_shortens_the_chain(void **state)
{
    struct env *x = *state;
    const struct job_args a = { .top = path(x, "mid"),
                                .base = path(x, "base") };

    make_chain(x);
    start_job(x, JOB_COMMIT, &a);
    until(x, JOB_COMPLETED, true);
    assert_non_null(
        strstr(blk_root(drive_blk(x->drive))->backing->name, "base"));
    guest_writes(x, 30);
    assert_guest_reads_model(x);
    shell(x, "rm mid");
    check_image(x, "top");
}

static void a_commit_of_the_active_image_ends_with_the_base(void **state)
{
    struct env *x = *state;
    const struct job_args a = { .base = path(x, "base") };
    struct err e = ERR_INIT;

    make_chain(x);
    start_job(x, JOB_COMMIT, &a);
    until(x, JOB_READY, true);
    guest_writes(x, 100);
    assert_int_equal(job_complete(x->drives, "disk0", &e), 0);
    until(x, JOB_COMPLETED, true);
    assert_string_equal(blk_file(drive_blk(x->drive)), path(x, "base"));
    guest_writes(x, 30);
    assert_guest_reads_model(x);
    shell(x, "rm mid top");
    check_image(x, "base");
}

static void commit_empties_an_overlay(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;

    make_chain(x);
    guest_writes(x, 60);
    if (drive_commit(x->drive, &e) < 0) fail_msg("%s", e.text);
    assert_guest_reads_model(x);
    guest_writes(x, 10);
    check_image(x, "top");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backup_is_the_disk_of_its_start),
        TEST(a_mirror_follows_the_guest_and_takes_over),
        TEST(a_cancelled_job_leaves_the_drive_as_it_was),
        TEST(commit_of_a_temporary_overlay_keeps_the_writes),
        TEST(a_stream_makes_the_image_stand_alone),
        TEST(a_commit_of_the_middle_shortens_the_chain),
        TEST(a_commit_of_the_active_image_ends_with_the_base),
        TEST(commit_empties_an_overlay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
