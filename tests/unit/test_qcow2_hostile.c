/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/*
 * qcow2 images made to hurt: headers and tables with bad values, files cut
 * short, a file below that fails.  Nothing crashes, nothing takes long, nothing
 * that is missing reads as zeros, and errors leave a consistent image.
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

#include "block/qcow2.h"
#include "tests/unit/support/qcow2_rig.h"

enum { DISK_BYTES = 4 << 20, MAX_SECONDS = 2 };

static struct q2_mem *copy_of(const struct q2_mem *m)
{
    struct q2_mem *c = calloc(1, sizeof(*c));

    c->bytes = m->bytes;
    c->cap = m->bytes + (16 << 20);
    c->data = calloc(1, c->cap);
    assert_non_null(c->data);
    memcpy(c->data, m->data, m->bytes);
    return c;
}

/* An image with data, zeros, compressed clusters and a snapshot. */
static struct q2_mem *make_image(struct q2_rig *r, const char *options)
{
    assert_int_equal(
        q2_run(r,
               "qemu-img create -q -f qcow2 -o %s image %d && { qemu-io -f "
               "qcow2 -c 'write -P 1 0 700k' -c 'write -c -P 2 1M 256k' -c "
               "'write -z 2M 256k' image >/dev/null; qemu-img snapshot -c a "
               "image; qemu-io -f qcow2 -c 'write -P 3 100k 64k' image "
               ">/dev/null; }",
               options, DISK_BYTES),
        0);
    return q2_mem_load(r->image);
}

/* Whatever the image is: open it, read all, write here and there. */
static void abuse(struct q2_mem *m, bool is_readonly)
{
    struct err e = ERR_INIT;
    struct timespec from, to;
    uint8_t buf[65536];
    struct node *n;

    clock_gettime(CLOCK_MONOTONIC, &from);
    if (q2_mem_open(m, is_readonly, &n, &e) < 0) {
        assert_true(e.text[0] != '\0');
        return;
    }
    for (uint64_t at = 0; at + sizeof(buf) <= n->size_bytes && at < 32 << 20;
         at += sizeof(buf)) {
        struct node_extent x;

        node_pread(n, at, buf, sizeof(buf));
        node_status(n, at, n->size_bytes - at, &x);
        if (is_readonly) continue;
        if (at % (3 * sizeof(buf)) == 0) node_pwrite(n, at, buf, 5000);
        if (at % (7 * sizeof(buf)) == 0)
            node_zero(n, at, 70000, NODE_REQ_UNMAP);
        if (at % (11 * sizeof(buf)) == 0) node_discard(n, at, sizeof(buf));
    }
    node_flush(n);
    node_unref(n);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec <= MAX_SECONDS);
}

static void bad_header_fields_do_no_harm(void **state)
{
    static const uint64_t values[] = {
        0,          1,          2,          0x1ff,
        0x200,      0xffff,     0x10000,    0x7fffffff,
        0x80000000, 0xffffffff, 1ull << 55, 0x7fffffffffffffff,
        UINT64_MAX, 1ull << 62, 0x30000
    };
    struct q2_rig *r = *state;
    struct q2_mem *good;

    q2_need_qemu();
    good = make_image(r, "cluster_size=64k");
    for (uint32_t at = 0; at < 112; at += 4) {
        for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            for (unsigned wide = 0; wide < 2; wide++) {
                struct q2_mem *m = copy_of(good);

                if (wide)
                    qcow2_put64(m->data + at, values[v]);
                else
                    qcow2_put32(m->data + at, (uint32_t)values[v]);
                abuse(m, v % 2 == 0);
                q2_mem_free(m);
            }
        }
    }
    q2_mem_free(good);
}

static void bad_table_entries_do_no_harm(void **state)
{
    static const char *const options[] = { "cluster_size=64k",
                                           "cluster_size=512",
                                           "cluster_size=16k,extended_l2=on",
                                           "cluster_size=4k,refcount_bits=1" };
    struct q2_rig *r = *state;
    uint32_t seed = 1;

    q2_need_qemu();
    for (unsigned i = 0; i < 4; i++) {
        struct q2_mem *good = make_image(r, options[i]);

        for (unsigned turn = 0; turn < 60; turn++) {
            struct q2_mem *m = copy_of(good);
            uint64_t bits = qcow2_be32(m->data + 20);

            for (unsigned k = 0; k < 20; k++) {
                /* L1, refcount table and the rest: any aligned word. */
                uint64_t at = (1ull << bits) + q2_random(&seed) %
                                                   (m->bytes - (1u << bits)) /
                                                   8 * 8;
                uint64_t v =
                    (uint64_t)q2_random(&seed) << 40 ^ q2_random(&seed);

                if (turn % 3 == 0) at = qcow2_be64(m->data + 40) + k % 4 * 8;
                if (turn % 3 == 1) at = qcow2_be64(m->data + 48) + k % 4 * 8;
                if (k % 2) v = v % (2 * m->bytes) >> bits << bits;
                if (k % 4 == 3) v |= QCOW2_COPIED;
                if (at + 8 <= m->bytes) qcow2_put64(m->data + at, v);
            }
            abuse(m, turn % 4 == 0);
            q2_mem_free(m);
        }
        q2_mem_free(good);
    }
}

/* Refcount tables that say everything everywhere is in use. */
static void counts_behind_the_end_of_the_file_end_the_search(void **state)
{
    struct q2_rig *r = *state;
    struct q2_mem *m;
    struct err e = ERR_INIT;
    struct node *n;
    uint8_t *table, buf[4096] = { 1 };
    uint64_t block;

    q2_need_qemu();
    assert_int_equal(
        q2_run(r, "qemu-img create -q -f qcow2 -o cluster_size=2M image 1G"),
        0);
    m = q2_mem_load(r->image);
    table = m->data + qcow2_be64(m->data + 48);
    block = qcow2_be64(table);
    memset(m->data + block, 0xff, 2 << 20);
    for (unsigned i = 0; i < (2 << 20) / 8; i++)
        qcow2_put64(table + i * 8, block);
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    assert_true(node_pwrite(n, 0, buf, sizeof(buf)) < 0);
    node_unref(n);
    q2_mem_free(m);
}

static void a_file_cut_short_is_no_file_of_zeros(void **state)
{
    struct q2_rig *r = *state;
    struct q2_mem *good, *m;
    struct err e = ERR_INIT;
    uint8_t buf[4096];
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 image 4M && "
                               "qemu-io -c 'write -P 1 0 4M' image >/dev/null"),
                     0);
    good = q2_mem_load(r->image);
    m = copy_of(good);
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    assert_string_equal(n->warning, "");
    node_unref(n);
    m->bytes -= 3 << 20;
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    assert_non_null(strstr(n->warning, "shorter"));
    assert_int_equal(node_pread(n, 0, buf, sizeof(buf)), 0);
    assert_int_equal(node_pread(n, 3 << 20, buf, sizeof(buf)), -EIO);
    assert_int_equal(node_pwrite(n, 3 << 20, buf, sizeof(buf)), -EIO);
    node_unref(n);
    /* Without its tables it is no image. */
    for (m->bytes = 0; m->bytes <= 196608; m->bytes += 16384)
        assert_true(q2_mem_open(m, true, &n, &e) < 0);
    q2_mem_free(m);
    q2_mem_free(good);
}

static void unknown_features_are_named(void **state)
{
    struct q2_rig *r = *state;
    struct q2_mem *m;
    struct err e = ERR_INIT;
    struct node *n;
    uint8_t *p;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 image 4M"), 0);
    m = q2_mem_load(r->image);
    qcow2_put64(m->data + 72, 1ull << 4 | 1ull << 40);
    p = memmem(m->data, 4096, "corrupt bit", 11);
    assert_non_null(p);
    p[-1] = 40; /* its number */
    memcpy(p, "odd feature", 11);
    assert_int_equal(q2_mem_open(m, true, &n, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "odd feature"));
    qcow2_put64(m->data + 72, QCOW2_INCOMPAT_DATA_FILE);
    assert_int_equal(q2_mem_open(m, false, &n, &e), -EROFS);
    assert_int_equal(q2_mem_open(m, true, &n, &e), -EINVAL);
    assert_non_null(strstr(e.text, "no valid name"));
    qcow2_put64(m->data + 72, QCOW2_INCOMPAT_CORRUPT);
    assert_true(q2_mem_open(m, false, &n, &e) < 0);
    assert_int_equal(q2_mem_open(m, true, &n, &e), 0);
    assert_true(n->warning[0] != '\0');
    node_unref(n);
    q2_mem_free(m);
}

static void data_files_have_sane_names_and_no_compressed_data(void **state)
{
    static const struct {
        const char *name;
        int rc;
    } names[] = {
        { "nbd:x:12", -ENOENT },
        { "/dev/nul", -ENOENT },
        { "./a\0bcde", -EINVAL },
        { "/dev/tty", -EINVAL },
    };
    struct q2_rig *r = *state;
    struct q2_mem *m;
    struct err e = ERR_INIT;
    uint8_t buf[512], *p;
    uint64_t l1, l2;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(
        q2_run(r, "qemu-img create -q -f qcow2 -o data_file=datafile image 4M "
                  "&& qemu-io -c 'write 0 64k' image >/dev/null"),
        0);
    m = q2_mem_load(r->image);
    /* The name the extension has, not that of the feature. */
    p = memmem(m->data, 4096, "datafile", 8);
    assert_non_null(p);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        memcpy(p, names[i].name, 8);
        if (q2_mem_open(m, true, &n, &e) == 0)
            fail_msg("%s was opened", names[i].name);
        if (e.code != names[i].rc)
            fail_msg("%s: %d %s", names[i].name, e.code, e.text);
        e = (struct err)ERR_INIT;
    }
    l1 = qcow2_be64(m->data + 40);
    l2 = qcow2_be64(m->data + l1) & QCOW2_OFFSET_MASK;
    qcow2_put64(m->data + l2, QCOW2_COMPRESSED | 65536);
    memcpy(p, "datafile", 8);
    q2_write_file(r->image, m->data, m->bytes);
    n = q2_open(r->image, &(struct node_options){ .is_readonly = true });
    assert_int_equal(node_pread(n, 0, buf, sizeof(buf)), -EIO);
    assert_int_equal(node_pwrite(n, 0, buf, sizeof(buf)), -EROFS);
    node_unref(n);
    q2_mem_free(m);
}

static void data_on_metadata_are_refused_and_mark_the_image(void **state)
{
    struct q2_rig *r = *state;
    struct q2_mem *m;
    struct err e = ERR_INIT;
    uint8_t buf[4096] = { 1 };
    uint64_t l1, l2;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 image 4M && "
                               "qemu-io -c 'write 0 64k' image >/dev/null"),
                     0);
    m = q2_mem_load(r->image);
    l1 = qcow2_be64(m->data + 40);
    l2 = qcow2_be64(m->data + l1) & QCOW2_OFFSET_MASK;
    qcow2_put64(m->data + l2, l1 | QCOW2_COPIED);
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    assert_int_equal(node_pwrite(n, 0, buf, sizeof(buf)), -EIO);
    assert_int_equal(node_pwrite(n, 1 << 20, buf, sizeof(buf)), -EIO);
    node_unref(n);
    assert_true(qcow2_be64(m->data + 72) & QCOW2_INCOMPAT_CORRUPT);
    q2_mem_free(m);
}

/* Header extensions and autoclear bits nobody knows. */
static void unknown_extensions_stay_and_unknown_autoclear_bits_go(void **state)
{
    static const uint8_t ext[] = "\x12\x34\x56\x78\0\0\0\5hello\0\0\0";
    struct q2_rig *r = *state;
    struct q2_mem *m;
    struct err e = ERR_INIT;
    uint8_t buf[512] = { 1 };
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 image 4M"), 0);
    m = q2_mem_load(r->image);
    memmove(m->data + 112 + 16, m->data + 112, 1000);
    memcpy(m->data + 112, ext, 16);
    qcow2_put64(m->data + 88, 1ull << 33);
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    assert_int_equal(node_pread(n, 0, buf, sizeof(buf)), 0);
    assert_true(qcow2_be64(m->data + 88) != 0);
    assert_int_equal(node_pwrite(n, 0, buf, sizeof(buf)), 0);
    node_unref(n);
    assert_int_equal(qcow2_be64(m->data + 88), 0);
    assert_non_null(memmem(m->data, 1024, ext, 16));
    q2_write_file(r->image, m->data, m->bytes);
    assert_int_equal(q2_run(r, "qemu-img check -q image"), 0);
    q2_mem_free(m);
}

/* ----------------------------------------------------------------- faults */

/* Until the end in spite of errors; model: what was acknowledged. */
static void write_on(struct node *n, uint8_t *model, bool *is_known,
                     uint32_t seed)
{
    enum { PIECE = 4096, PIECES = DISK_BYTES / PIECE };
    uint8_t buf[PIECE];

    for (unsigned i = 0; i < 150; i++) {
        unsigned piece = q2_random(&seed) % PIECES;
        unsigned op = q2_random(&seed) % 8;
        uint64_t at = (uint64_t)piece * PIECE;
        int rc;

        if (op < 5) {
            q2_fill(buf, PIECE, &seed);
            rc = node_pwrite(n, at, buf, PIECE);
        } else if (op < 7) {
            memset(buf, 0, PIECE);
            rc = node_zero(n, at, PIECE, NODE_REQ_UNMAP);
        } else {
            node_flush(n);
            continue;
        }
        if (rc == 0) memcpy(model + at, buf, PIECE);
        is_known[piece] = rc == 0;
    }
}

static void one_fault(struct q2_rig *r, const struct q2_mem *good,
                      const uint8_t *before, unsigned long nth, unsigned kind,
                      int error)
{
    struct q2_mem *m = copy_of(good);
    bool is_known[DISK_BYTES / 4096];
    uint8_t *model = malloc(DISK_BYTES), buf[4096];
    struct err e = ERR_INIT;
    struct node *n;
    int rc;

    memcpy(model, before, DISK_BYTES);
    memset(is_known, 1, sizeof(is_known));
    assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
    m->reads = m->writes = m->flushes = 0;
    m->fail_error = error;
    *(kind == 0   ? &m->fail_write
      : kind == 1 ? &m->fail_read
                  : &m->fail_flush) = nth;
    write_on(n, model, is_known, (uint32_t)nth);
    m->fail_write = m->fail_read = m->fail_flush = 0;
    if (kind < 2) { /* it goes on as if nothing had been */
        assert_int_equal(node_flush(n), 0);
        for (unsigned i = 0; i < DISK_BYTES / 4096; i++) {
            assert_int_equal(node_pread(n, i * 4096ull, buf, 4096), 0);
            if (is_known[i])
                assert_memory_equal(buf, model + i * 4096ull, 4096);
        }
    } else if (m->flushes >= nth) {
        assert_true(node_flush(n) < 0); /* never again as if clean */
    }
    node_unref(n);
    q2_write_file(r->image, m->data, m->bytes);
    rc = q2_run(r, "qemu-img check -q image >/dev/null 2>&1");
    if (rc != 0 && rc != 3) fail_msg("fault %u/%lu: check %d", kind, nth, rc);
    free(model);
    q2_mem_free(m);
}

static void after_errors_of_the_file_the_image_is_consistent(void **state)
{
    static const char *const options[] = { "cluster_size=64k",
                                           "cluster_size=512",
                                           "cluster_size=4k" };
    struct q2_rig *r = *state;
    uint8_t *before = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < 3; i++) {
        struct q2_mem *good, *raw;

        q2_mem_free(make_image(r, options[i]));
        assert_int_equal(q2_run(r, "qemu-img convert -O raw image raw"), 0);
        good = q2_mem_load(r->image);
        raw = q2_mem_load(r->raw);
        memcpy(before, raw->data, DISK_BYTES);
        q2_mem_free(raw);
        for (unsigned nth = 1; nth <= 40; nth++) {
            one_fault(r, good, before, nth * 3 - 2, 0, nth % 2 ? EIO : ENOSPC);
            if (nth <= 12) one_fault(r, good, before, nth, 1, EIO);
            if (nth <= 12) one_fault(r, good, before, nth, 2, EIO);
        }
        q2_mem_free(good);
    }
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_header_fields_do_no_harm),
        cmocka_unit_test(bad_table_entries_do_no_harm),
        cmocka_unit_test(counts_behind_the_end_of_the_file_end_the_search),
        cmocka_unit_test(a_file_cut_short_is_no_file_of_zeros),
        cmocka_unit_test(unknown_features_are_named),
        cmocka_unit_test(data_files_have_sane_names_and_no_compressed_data),
        cmocka_unit_test(data_on_metadata_are_refused_and_mark_the_image),
        cmocka_unit_test(unknown_extensions_stay_and_unknown_autoclear_bits_go),
        cmocka_unit_test(after_errors_of_the_file_the_image_is_consistent),
    };

    return cmocka_run_group_tests_name("qcow2_hostile", tests, q2_rig_open,
                                       q2_rig_close);
}
