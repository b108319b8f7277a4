/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/*
 * Damaged qcow2 images under operations on whole images: check, repair,
 * snapshots, resize, amend.  Nothing crashes or takes long, and what check has
 * repaired is clean when it is checked again.
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
#include <time.h>

#include "block/qcow2_ops.h"
#include "tests/unit/support/image_rig.h"

enum { MiB = 1 << 20, MAX_SECONDS = 5, MAX_PLACES = 64 };

static struct q2_mem *copy_of(const struct q2_mem *m)
{
    struct q2_mem *c = calloc(1, sizeof(*c));

    c->bytes = m->bytes;
    c->cap = m->bytes + (8 << 20);
    c->data = calloc(1, c->cap);
    assert_non_null(c->data);
    memcpy(c->data, m->data, m->bytes);
    return c;
}

/* Data, zeros, compressed clusters, two snapshots with VM state, bitmaps. */
static struct q2_mem *make_image(struct q2_rig *r, const char *options)
{
    struct image_snapshot sn = { .name = "one", .icount = UINT64_MAX };
    struct err e = ERR_INIT;
    struct iovec iov = { r, sizeof(*r) };
    struct node *n;

    ir_make(r, options, 4 * MiB);
    assert_int_equal(
        q2_run(r, "qemu-img bitmap --add --disable image b && qemu-io -f qcow2 "
                  "-c 'write -c -P 2 1M 256k' -c 'write -z 2M 256k' image "
                  ">/dev/null"),
        0);
    n = q2_open(r->image, NULL);
    ir_write(n, 0, 700000, 1);
    assert_int_equal(n->drv->snapshot_create(n, &sn, &e), 0);
    assert_int_equal(n->drv->vmstate_write(n, sn.id, 0, &iov, 1, sizeof(*r)),
                     0);
    assert_int_equal(n->drv->vmstate_end(n, sn.id, sizeof(*r), &e), 0);
    ir_write(n, 100000, 70000, 2);
    strcpy(sn.name, "two");
    assert_int_equal(n->drv->snapshot_create(n, &sn, &e), 0);
    ir_write(n, 3 * MiB, 70000, 2);
    node_unref(n);
    return q2_mem_load(r->image);
}

/* Where the tables are. */
static unsigned find_places(const struct q2_mem *m, uint64_t *at)
{
    uint64_t l1 = qcow2_be64(m->data + 40), ref = qcow2_be64(m->data + 48);
    uint64_t table = qcow2_be64(m->data + 64);
    unsigned n = 0;

    for (unsigned i = 0; i < 120; i += 8)
        at[n++] = i;
    for (unsigned i = 0; i < 48; i += 8)
        at[n++] = table + i;
    at[n++] = l1;
    at[n++] = ref;
    for (unsigned i = 0; i < 8; i++)
        at[n++] = (qcow2_be64(m->data + l1) & QCOW2_OFFSET_MASK) + i * 16;
    for (unsigned i = 0; i < 4; i++)
        at[n++] = qcow2_be64(m->data + ref) + i * 8;
    at[n++] = qcow2_be64(m->data + table); /* the snapshot's L1 table */
    at[n++] =
        qcow2_be64(m->data + qcow2_be64(m->data + table)) & QCOW2_OFFSET_MASK;
    for (uint64_t i = 112; i < 400; i += 8) {
        if (qcow2_be32(m->data + i) == QCOW2_EXT_BITMAPS) {
            at[n++] = i + 8;
            at[n++] = i + 16;
            at[n++] = i + 24;
            at[n++] = qcow2_be64(m->data + i + 24);
            at[n++] = qcow2_be64(m->data + i + 24) + 8;
            at[n++] = qcow2_be64(m->data + i + 24) + 16;
        }
    }
    assert_true(n <= MAX_PLACES);
    return n;
}

static void use_snapshots(struct node *n)
{
    struct image_snapshot *all = NULL, sn = { .name = "new" };
    struct err e = ERR_INIT;
    unsigned count = 0;
    uint8_t buf[100];
    struct iovec iov = { buf, sizeof(buf) };

    n->drv->snapshot_list(n, &all, &count, &e);
    for (unsigned i = 0; i < count && i < 3; i++)
        n->drv->vmstate_read(n, all[i].id, 0, &iov, 1, sizeof(buf));
    if (n->drv->snapshot_create(n, &sn, &e) == 0) {
        n->drv->vmstate_write(n, sn.id, 50, &iov, 1, sizeof(buf));
        n->drv->vmstate_end(n, sn.id, 150, &e);
    }
    for (unsigned i = 0; i < count && i < 3; i++)
        n->drv->snapshot_apply(n, all[i].id, &e);
    for (unsigned i = 0; i < count && i < 3; i++)
        n->drv->snapshot_delete(n, all[i].id, &e);
    free(all);
}

/* Everything, on an image that may be anything. */
static void abuse(struct q2_mem *m)
{
    const char *const pairs[] = { "refcount_bits", "8", NULL };
    const struct image_create c = { .pairs = pairs };
    uint8_t buf[4096] = { 1 };
    struct err e = ERR_INIT;
    struct node *n;

    if (q2_mem_open(m, false, &n, &e) < 0) return;
    use_snapshots(n);
    node_pwrite(n, 0, buf, n->size_bytes < 4096 ? 1 : 4096);
    node_truncate(n, 6 * MiB, "off", true, &e);
    n->drv->amend(n, &c, &e);
    node_truncate(n, MiB, "off", true, &e);
    n->drv->make_empty(n, &e);
    node_unref(n);
}

static void show(struct q2_mem *m)
{
    struct image_snapshot *all = NULL;
    struct err e = ERR_INIT;
    uint8_t buf[4096];
    unsigned count = 0;
    struct node *n;

    if (q2_mem_open(m, true, &n, &e) < 0) return;
    n->drv->snapshot_list(n, &all, &count, &e);
    for (unsigned i = 0; i < count && i < 3; i++) {
        if (n->drv->snapshot_show(n, all[i].id, &e) == 0)
            for (uint64_t at = 0; at < 4 * MiB; at += 65536)
                node_pread(n, at, buf, sizeof(buf));
    }
    free(all);
    node_unref(n);
}

static void keep_line(void *arg, const char *text)
{
    char *lines = arg;
    size_t used = strlen(lines);

    if (used < 2800) snprintf(lines + used, 3000 - used, "  %s\n", text);
}

/* Repair it; then nothing that was repaired is wrong. */
static unsigned repair(struct q2_mem *m)
{
    struct image_check c = { .fix = IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS };
    char *lines = calloc(1, 3000);
    struct image_check again = { .line = keep_line, .arg = lines };
    struct err e = ERR_INIT;
    struct node *n;
    int rc;

    if (q2_mem_open(m, false, &n, &e) < 0) {
        free(lines);
        return 0;
    }
    c.line = keep_line;
    c.arg = lines;
    rc = n->drv->check(n, &c, &e);
    keep_line(lines, "checked again:");
    if (rc == 0) rc = n->drv->check(n, &again, &e);
    node_unref(n);
    if (rc < 0 || c.check_errors > 0 || c.fix == 0) {
        free(lines);
        return 0;
    }
    if (again.leaks > 0 || again.corruptions > c.corruptions)
        fail_msg("after a repair: %d leaks, %d corruptions, %d before\n%s",
                 (int)again.leaks, (int)again.corruptions, (int)c.corruptions,
                 lines);
    free(lines);
    return 1;
}

static void try_all(const struct q2_mem *base, unsigned *repaired)
{
    struct timespec from, to;
    struct q2_mem *m;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    m = copy_of(base);
    abuse(m);
    q2_mem_free(m);
    m = copy_of(base);
    show(m);
    q2_mem_free(m);
    m = copy_of(base);
    *repaired += repair(m);
    q2_mem_free(m);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_true(to.tv_sec - from.tv_sec < MAX_SECONDS);
}

static void damaged_tables_do_no_harm(void **state)
{
    static const uint64_t values[] = { 0,
                                       1,
                                       0x200,
                                       0xffffffffffffffff,
                                       0x8000000000010000,
                                       0x8000000000000000,
                                       0x0000000100000001,
                                       0x7fffffffffffffff,
                                       0x4000000000010000,
                                       0x0000ffff0000ffff,
                                       0x00fffffffffffe00 };
    static const char *const options[] = { "", "cluster_size=4k",
                                           "extended_l2=on,cluster_size=16k" };
    struct q2_rig *r = *state;
    unsigned tried = 0, repaired = 0;

    q2_need_qemu();
    for (unsigned o = 0; o < 3; o++) {
        struct q2_mem *base = make_image(r, options[o]);
        uint64_t at[MAX_PLACES], old;
        unsigned places = find_places(base, at);

        for (unsigned i = 0; i < places; i++) {
            for (unsigned k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
                old = qcow2_be64(base->data + at[i]);
                qcow2_put64(base->data + at[i],
                            k % 2 ? values[k] : old ^ values[k]);
                try_all(base, &repaired);
                qcow2_put64(base->data + at[i], old);
                tried++;
            }
        }
        q2_mem_free(base);
    }
    print_message("%u images, %u of them repaired\n", tried, repaired);
    assert_true(repaired > tried / 4);
}

static void random_damage_does_no_harm(void **state)
{
    struct q2_rig *r = *state;
    struct q2_mem *base;
    uint32_t seed = 7;
    unsigned repaired = 0;

    q2_need_qemu();
    base = make_image(r, "cluster_size=4k");
    for (unsigned i = 0; i < 300; i++) {
        struct q2_mem *m = copy_of(base);

        for (unsigned k = 0; k < 20; k++) {
            uint64_t at = q2_random(&seed) % (m->bytes / 8) * 8;

            if (at < 112) continue;
            if (q2_random(&seed) % 2)
                qcow2_put64(m->data + at,
                            q2_random(&seed) % 300 * 4096 | QCOW2_COPIED);
            else
                m->data[at + q2_random(&seed) % 8] ^=
                    (uint8_t)(1 << q2_random(&seed) % 8);
        }
        if (q2_random(&seed) % 8 == 0) m->bytes -= q2_random(&seed) % 100000;
        try_all(m, &repaired);
        q2_mem_free(m);
    }
    q2_mem_free(base);
    print_message("300 images, %u of them repaired\n", repaired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, q2_rig_open, q2_rig_close)
        T(damaged_tables_do_no_harm),
        T(random_damage_does_no_harm),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
