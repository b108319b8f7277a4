/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* Named nodes: what a device finds by their names, and who keeps them there. */
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
#include "block/nodes.h"
#include "core/base/json.h"
#include "core/loop/loop.h"

struct env {
    struct loop *loop;
    struct drive_table *t;
    char file[64];
};

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    int fd;

    strcpy(x->file, "/tmp/orrery-nodes-XXXXXX");
    fd = mkstemp(x->file);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 16; i++) {
        uint8_t sector[512];

        memset(sector, (int)i, sizeof(sector));
        assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
    }
    close(fd);
    assert_int_equal(loop_create(&x->loop, NULL), 0);
    assert_int_equal(drive_table_create(x->loop, &x->t), 0);
    *state = x;
    return 0;
}

static int drop(void **state)
{
    struct env *x = *state;

    drive_table_destroy(x->t);
    loop_destroy(x->loop);
    unlink(x->file);
    free(x);
    return 0;
}

static void add(struct env *x, const char *form)
{
    char text[300];
    struct err e = ERR_INIT;

    snprintf(text, sizeof(text), form, x->file);
    if (nodes_add_text(x->t, text, &e) < 0) fail_msg("%s: %s", text, e.text);
}

static void a_device_finds_a_node_by_its_name(void **state)
{
    struct env *x = *state;
    struct drive *d;
    uint8_t b[512];
    struct err e = ERR_INIT;

    add(x, "file,node-name=f0,filename=%s");
    add(x, "raw,node-name=r0,file=f0,offset=1024,size=2048");
    assert_null(drive_find(x->t, "nosuch"));
    assert_null(drive_find(x->t, "f0")); /* r0 stands on it */
    d = drive_find(x->t, "r0");
    assert_non_null(d);
    assert_ptr_equal(drive_find(x->t, "r0"), d);
    assert_true(drive_is_node(d));
    assert_int_equal(blk_size_bytes(drive_blk(d)), 2048);
    assert_int_equal(blk_pread(drive_blk(d), 512, b, 512), 0);
    assert_int_equal(b[0], 3); /* sector 2 of the file is its first */
    assert_int_equal(blk_pread(drive_blk(d), 2048, b, 512), -EIO);
    b[0] = 99;
    assert_int_equal(blk_pwrite(drive_blk(d), 0, b, 512), 0);
    assert_int_equal(drive_resize_locked(d, 4096, &e), -ENOTSUP);

    drive_set_device(d, "hd0");
    assert_ptr_equal(drive_find_device(x->t, "hd0"), d);
    assert_int_equal(nodes_del(x->t, "r0", &e), -EBUSY);
    assert_int_equal(nodes_del(x->t, "f0", &e), -EBUSY);
    drive_set_device(d, NULL);
    assert_int_equal(nodes_del(x->t, "r0", &e), 0);
    assert_null(drive_find(x->t, "r0"));
    d = drive_find(x->t, "f0"); /* free now */
    assert_int_equal(blk_pread(drive_blk(d), 1024, b, 512), 0);
    assert_int_equal(b[0], 99);
    assert_int_equal(nodes_del(x->t, "f0", &e), 0);
    assert_int_equal(nodes_del(x->t, "f0", &e), -ENOENT);
}

static void names_are_one_space_with_those_of_drives(void **state)
{
    struct env *x = *state;
    struct blk_options o = { .format = "raw" };
    struct err e = ERR_INIT;
    struct blk *b;

    assert_int_equal(blk_open(x->loop, x->file, &o, &b, NULL), 0);
    assert_int_equal(drive_add(x->t, "hd", false, false, b, NULL, NULL), 0);
    assert_int_equal(nodes_add_text(x->t, "null-co,node-name=hd", &e), -EEXIST);
    add(x, "null-co,node-name=n0");
    assert_int_equal(nodes_add_text(x->t, "null-co,node-name=n0", &e), -EEXIST);
    assert_int_equal(drive_add(x->t, "n0", true, true, NULL, NULL, &e),
                     -EEXIST);
    /* What fails half-way leaves no name behind. */
    assert_true(nodes_add_text(x->t,
                               "raw,node-name=r0,file.driver=null-co,"
                               "file.node-name=inner,foo=1",
                               &e) < 0);
    assert_null(nodes_find(x->t, "inner"));
    add(x, "null-co,node-name=inner");
}

static void a_node_that_is_reopened_wrongly_is_what_it_was(void **state)
{
    struct env *x = *state;
    struct json *j;
    struct err e = ERR_INIT;
    const char *bad = "{\"driver\": \"null-co\", \"node-name\": \"n0\", "
                      "\"size\": 4096, \"foo\": 1}",
               *good = "{\"driver\": \"null-co\", \"node-name\": \"n0\", "
                       "\"size\": 4096}";

    add(x, "null-co,node-name=n0,size=1k");
    assert_int_equal(json_parse(bad, strlen(bad), &j, NULL), 0);
    assert_true(nodes_reopen(x->t, j, &e) < 0);
    json_free(j);
    assert_int_equal(blk_size_bytes(drive_blk(drive_find(x->t, "n0"))), 1024);
    assert_int_equal(json_parse(good, strlen(good), &j, NULL), 0);
    assert_int_equal(nodes_reopen(x->t, j, &e), 0);
    json_free(j);
    assert_int_equal(blk_size_bytes(drive_blk(drive_find(x->t, "n0"))), 4096);
}

static void a_filter_holds_up_what_goes_through_it(void **state)
{
    struct env *x = *state;
    uint64_t begin;
    struct drive *d;
    uint8_t b[4096] = { 0 };
    struct err e = ERR_INIT;

    assert_int_equal(
        objects_add_text(x->t, "throttle-group,id=g,x-bps-total=65536", &e), 0);
    add(x, "throttle,node-name=t0,throttle-group=g,file.driver=null-co,"
           "file.size=1M");
    assert_int_equal(objects_del(x->t, "g", &e), -EBUSY);
    d = drive_find(x->t, "t0");
    begin = loop_now_ns();
    for (unsigned i = 0; i < 12; i++) /* 48 KiB at 64 KiB/s */
        assert_int_equal(blk_pwrite(drive_blk(d), i * 4096u, b, 4096), 0);
    /* A tenth and the request that fills it go at once, the last has begun. */
    assert_true(loop_now_ns() - begin >= UINT64_C(500000000));
    assert_int_equal(nodes_del(x->t, "t0", &e), 0);
    assert_int_equal(objects_del(x->t, "g", &e), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_finds_a_node_by_its_name),
        TEST(names_are_one_space_with_those_of_drives),
        TEST(a_node_that_is_reopened_wrongly_is_what_it_was),
        TEST(a_filter_holds_up_what_goes_through_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
