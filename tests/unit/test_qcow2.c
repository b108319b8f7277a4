/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* qcow2: data written by us and by qemu-io, read and checked by the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/image.h"
#include "tests/unit/support/qcow2_rig.h"

enum { DISK_BYTES = 8 << 20, OPS = 250, THREADS = 4 };

static const char *const options[] = {
    "cluster_size=64k",
    "cluster_size=512",
    "cluster_size=4k,refcount_bits=1",
    "cluster_size=1k,refcount_bits=2",
    "cluster_size=1k,refcount_bits=4",
    "cluster_size=16k,refcount_bits=8",
    "cluster_size=2k,refcount_bits=32",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=2M",
    "compat=0.10",
    "compat=0.10,cluster_size=512",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,cluster_size=128k",
    "lazy_refcounts=on",
    "preallocation=metadata,cluster_size=8k",
    "preallocation=falloc",
    "preallocation=full,cluster_size=4k",
    "compression_type=zstd",
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

/* ------------------------------------------------------ random operations */

struct play {
    struct node *n;
    uint8_t *model; /* of the disk */
    uint8_t *buf;
    uint32_t seed;
};

static void pick(struct play *p, uint64_t *offset, size_t *bytes)
{
    uint64_t end = p->n->size_bytes;

    *offset = (uint64_t)q2_random(&p->seed) * 512 % end;
    *bytes = 1 + q2_random(&p->seed) %
                     (q2_random(&p->seed) % 4 == 0 ? 500000 : 9000);
    if (q2_random(&p->seed) % 2 == 0) *bytes = (*bytes + 4095) & ~4095u;
    if (q2_random(&p->seed) % 4 == 0) *offset += q2_random(&p->seed) % 512;
    if (*offset >= end) *offset = 0;
    if (*bytes > end - *offset) *bytes = (size_t)(end - *offset);
}

static int discard(struct play *p, uint64_t offset, size_t bytes)
{
    uint64_t unit = p->n->align_bytes, from = (offset + unit - 1) / unit * unit;
    uint64_t to = (offset + bytes) / unit * unit;

    if (from >= to) return 0;
    memset(p->model + from, 0, to - from);
    return node_discard(p->n, from, to - from);
}

static int read_back(struct play *p, uint64_t offset, size_t bytes)
{
    int rc = node_pread(p->n, offset, p->buf, bytes);

    if (rc == 0) assert_memory_equal(p->buf, p->model + offset, bytes);
    return rc;
}

static int play_one(struct play *p, bool has_discard)
{
    uint64_t offset;
    size_t bytes;
    unsigned op = q2_random(&p->seed) % 10;

    pick(p, &offset, &bytes);
    if (op < 4) {
        q2_fill(p->buf, bytes, &p->seed);
        memcpy(p->model + offset, p->buf, bytes);
        return node_pwrite(p->n, offset, p->buf, bytes);
    }
    if (op < 7) return read_back(p, offset, bytes);
    if (op == 7) {
        memset(p->model + offset, 0, bytes);
        return node_zero(p->n, offset, bytes,
                         q2_random(&p->seed) % 2 ? NODE_REQ_UNMAP : 0);
    }
    if (op == 8 && has_discard) return discard(p, offset, bytes);
    return q2_random(&p->seed) % 4 == 0 ? node_flush(p->n) : 0;
}

static void play(struct node *n, uint8_t *model, uint32_t seed, unsigned ops,
                 bool has_discard)
{
    struct play p = { n, model, malloc(DISK_BYTES), seed };

    assert_non_null(p.buf);
    for (unsigned i = 0; i < ops; i++)
        assert_int_equal(play_one(&p, has_discard), 0);
    assert_int_equal(read_back(&p, 0, n->size_bytes), 0);
    free(p.buf);
}

static void random_writes_of_ours_please_qemu(void **state)
{
    static const struct node_options o = { .is_discard = true };
    struct q2_rig *r = *state;
    uint8_t *model = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < OPTIONS; i++) {
        struct node *n;

        assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 -o %s image %d",
                                options[i], DISK_BYTES),
                         0);
        memset(model, 0, DISK_BYTES);
        for (unsigned turn = 0; turn < 2; turn++) {
            n = q2_open(r->image, &o);
            play(n, model, i * 10 + turn, OPS, true);
            node_unref(n);
            q2_judge(r, model, DISK_BYTES, false);
        }
    }
    free(model);
}

/* qemu-io does not compress over clusters that are allocated already. */
#define QEMU_WRITES                                                           \
    "qemu-img create -q -f qcow2 -o %s image %d && { qemu-io -f qcow2 "       \
    "-c 'write -P 1 3k 300k' -c 'write -P 2 1M 1k' -c 'write -c -P 3 4M 2M' " \
    "-c 'write -z 5M 640k' -c 'discard 128k 64k' -c 'write -P 4 7M 12345' "   \
    "image >/dev/null 2>&1; qemu-img convert -O raw image raw; }"

static void what_qemu_writes_reads_the_same_here(void **state)
{
    struct q2_rig *r = *state;
    uint8_t *model = malloc(DISK_BYTES), *got = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < OPTIONS; i++) {
        struct node *n;

        assert_int_equal(q2_run(r, QEMU_WRITES, options[i], DISK_BYTES), 0);
        struct q2_mem *raw = q2_mem_load(r->raw);
        memcpy(model, raw->data, DISK_BYTES);
        q2_mem_free(raw);
        n = q2_open(r->image, NULL);
        assert_int_equal(node_pread(n, 0, got, DISK_BYTES), 0);
        assert_memory_equal(got, model, DISK_BYTES);
        play(n, model, i, 60, true);
        node_unref(n);
        q2_judge(r, model, DISK_BYTES, false);
    }
    free(got);
    free(model);
}

static void clusters_shared_with_a_snapshot_are_copied(void **state)
{
    struct q2_rig *r = *state;
    uint8_t *model = malloc(DISK_BYTES), *old = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < OPTIONS; i++) {
        struct node *n;

        if (strstr(options[i], "refcount_bits=1") != NULL) continue;
        assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 -o %s image %d",
                                options[i], DISK_BYTES),
                         0);
        memset(model, 0, DISK_BYTES);
        n = q2_open(r->image, NULL);
        play(n, model, i, 60, true);
        node_unref(n);
        memcpy(old, model, DISK_BYTES);
        assert_int_equal(q2_run(r, "qemu-img snapshot -c one image"), 0);
        n = q2_open(r->image, NULL);
        play(n, model, i + 1, 120, true);
        node_unref(n);
        q2_judge(r, model, DISK_BYTES, false);
        assert_int_equal(q2_run(r, "qemu-img snapshot -a one image"), 0);
        q2_judge(r, old, DISK_BYTES, false);
    }
    free(old);
    free(model);
}

static void what_is_not_here_comes_from_the_backing_file(void **state)
{
    static const char *const few[] = { "cluster_size=64k", "cluster_size=2k",
                                       "extended_l2=on", "compat=0.10" };
    struct q2_rig *r = *state;
    uint8_t *model = malloc(DISK_BYTES);
    uint32_t seed = 5;

    q2_need_qemu();
    for (unsigned i = 0; i < 4; i++) {
        size_t base = DISK_BYTES / 2 + 512 * 5; /* shorter than the image */
        bool has_discard = i < 3;
        struct node *n;
        char path[128];

        memset(model, 0, DISK_BYTES);
        q2_fill(model, base, &seed);
        snprintf(path, sizeof(path), "%s/base", r->dir);
        q2_write_file(path, model, base);
        assert_int_equal(
            q2_run(r,
                   "qemu-img create -q -f qcow2 -o %s -b base -F raw image %d",
                   few[i], DISK_BYTES),
            0);
        n = q2_open(r->image, NULL);
        play(n, model, i, OPS, has_discard);
        node_unref(n);
        q2_judge(r, model, DISK_BYTES, false);
    }
    free(model);
}

/* ------------------------------------------------------------ compression */

static void compressed_clusters_are_understood_by_qemu(void **state)
{
    static const char *const few[] = {
        "cluster_size=64k", "compression_type=zstd", "cluster_size=512",
        "cluster_size=2M",  "refcount_bits=1",       "extended_l2=on",
    };
    struct q2_rig *r = *state;
    uint8_t *model = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < 6; i++) {
        uint32_t seed = i, disk = DISK_BYTES - 1536; /* a short last cluster */
        struct node *n;

        assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 -o %s image %u",
                                few[i], disk),
                         0);
        memset(model, 0, DISK_BYTES);
        n = q2_open(r->image, NULL);
        for (uint64_t at = 0; at < disk; at += n->align_bytes) {
            size_t bytes = n->align_bytes;
            struct iovec iov;

            if (bytes > disk - at) bytes = (size_t)(disk - at);
            if (q2_random(&seed) % 3 == 0) continue;
            q2_fill(model + at, bytes, &seed);
            if (q2_random(&seed) % 4 == 0) /* does not get smaller */
                for (size_t k = 0; k < bytes; k++)
                    model[at + k] = (uint8_t)q2_random(&seed);
            iov = (struct iovec){ model + at, bytes };
            assert_int_equal(node_write(n, at, &iov, 1, NODE_REQ_COMPRESSED),
                             0);
        }
        node_unref(n);
        q2_judge(r, model, disk, false);
        n = q2_open(r->image, NULL);
        play(n, model, i, OPS, true); /* some are written over */
        node_unref(n);
        q2_judge(r, model, disk, false);
    }
    free(model);
}

/* ---------------------------------------------------------------- threads */

struct worker {
    struct node *n;
    uint8_t *model;
    unsigned number;
    int rc;
    bool differs;
};

/* Each thread has every THREADS-th piece of 3 KiB: they meet in clusters. */
static void *work(void *arg)
{
    enum { PIECE = 3072 };
    struct worker *w = arg;
    uint32_t seed = w->number + 100;
    uint8_t buf[PIECE];

    for (unsigned i = 0; i < 1500 && w->rc == 0 && !w->differs; i++) {
        uint64_t piece = q2_random(&seed) % (DISK_BYTES / PIECE / THREADS);
        uint64_t at = (piece * THREADS + w->number) * PIECE;
        unsigned op = q2_random(&seed) % 16;

        if (op < 8) {
            q2_fill(w->model + at, PIECE, &seed);
            w->rc = node_pwrite(w->n, at, w->model + at, PIECE);
        } else if (op < 10) {
            memset(w->model + at, 0, PIECE);
            w->rc = node_zero(w->n, at, PIECE, NODE_REQ_UNMAP);
        } else if (op == 10) {
            w->rc = node_flush(w->n);
        } else {
            w->rc = node_pread(w->n, at, buf, PIECE);
            w->differs = memcmp(buf, w->model + at, PIECE) != 0;
        }
    }
    return NULL;
}

static void work_together(struct q2_rig *r, const struct node_options *o)
{
    uint8_t *model = malloc(DISK_BYTES);

    q2_need_qemu();
    for (unsigned i = 0; i < OPTIONS; i++) {
        struct worker w[THREADS];
        pthread_t t[THREADS];
        struct node *n;

        assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 -o %s image %d",
                                options[i], DISK_BYTES),
                         0);
        memset(model, 0, DISK_BYTES);
        n = q2_open(r->image, o);
        for (unsigned k = 0; k < THREADS; k++) {
            w[k] = (struct worker){ n, model, k, 0, false };
            assert_int_equal(pthread_create(&t[k], NULL, work, &w[k]), 0);
        }
        for (unsigned k = 0; k < THREADS; k++) {
            pthread_join(t[k], NULL);
            assert_int_equal(w[k].rc, 0);
            assert_false(w[k].differs);
        }
        node_unref(n);
        q2_judge(r, model, DISK_BYTES, false);
    }
    free(model);
}

static void threads_in_the_same_clusters_do_not_disturb_each_other(void **state)
{
    work_together(*state, NULL);
}

/* Tables come and go all the time. */
static void threads_with_hardly_any_cache_do_not_either(void **state)
{
    struct node_kv kv[] = { { "l2-cache-size", "0", false },
                            { "refcount-cache-size", "0", false } };
    const struct node_options o = { .kv = kv, .kv_count = 2 };

    work_together(*state, &o);
}

/* ------------------------------------------------------------- encryption */

#define KEY "--object secret,id=k,data=open-sesame"
#define OPTIONS_ENCRYPTED \
    "driver=qcow2,file.filename=image,encrypt.key-secret=k"

static void encrypted_clusters_are_understood_by_qemu(void **state)
{
    struct q2_rig *r = *state;
    struct node_kv kv = { "encrypt.key-secret", "k", false };
    struct node_options o = { .kv = &kv, .kv_count = 1 };
    struct secret_table *secrets;
    uint8_t *model = malloc(DISK_BYTES);
    struct err e = ERR_INIT;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(secret_table_create(&secrets), 0);
    assert_int_equal(secret_add(secrets, "k", "open-sesame", 11, &e), 0);
    o.secrets = secrets;
    assert_int_equal(
        q2_run(r,
               /* It gives up now and then when it cannot time its hash. */
               "for i in 1 2 3 4 5 6 7 8; do qemu-img create -q " KEY
               " -f qcow2 -o encrypt.format=luks,encrypt.key-secret=k,"
               "encrypt.iter-time=10 image %d && break; done && qemu-io " KEY
               " --image-opts -c 'write -P 5 100k 300k' " OPTIONS_ENCRYPTED
               " >/dev/null",
               DISK_BYTES),
        0);
    memset(model, 0, DISK_BYTES);
    memset(model + (100 << 10), 5, 300 << 10);
    n = q2_open(r->image, &o);
    play(n, model, 1, OPS, true);
    node_unref(n);
    q2_write_file(r->raw, model, DISK_BYTES);
    assert_int_equal(
        q2_run(r, "qemu-img compare " KEY " --image-opts " OPTIONS_ENCRYPTED
                  " driver=raw,file.filename=raw >/dev/null && qemu-img check "
                  "-q " KEY " --image-opts " OPTIONS_ENCRYPTED),
        0);
    secret_table_destroy(secrets);
    free(model);
}

/* -------------------------------------------------------------- fast path */

static void runs_tell_where_data_lie(void **state)
{
    struct q2_rig *r = *state;
    struct node_run run;
    uint8_t buf[4096], got[4096];
    uint32_t seed = 1;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 image 64M"), 0);
    n = q2_open(r->image, NULL);
    assert_int_equal(node_run(n, 4096, 4096, true, &run), -EAGAIN);
    q2_fill(buf, sizeof(buf), &seed);
    for (uint64_t at = 0; at < 1 << 20; at += sizeof(buf))
        assert_int_equal(node_pwrite(n, at, buf, sizeof(buf)), 0);
    assert_int_equal(node_run(n, 8192, 512 << 10, false, &run), 0);
    assert_int_equal(run.bytes, 512 << 10); /* across clusters */
    assert_int_equal(pread(run.fd, got, sizeof(got), (off_t)run.file_offset),
                     sizeof(got));
    assert_memory_equal(got, buf, sizeof(buf));
    node_run_done(&run);
    assert_int_equal(node_run(n, 8192, 4096, true, &run), 0);
    q2_fill(buf, sizeof(buf), &seed);
    assert_int_equal(pwrite(run.fd, buf, sizeof(buf), (off_t)run.file_offset),
                     sizeof(buf));
    /* A cluster that is in use stays where it is, also when it is freed. */
    assert_int_equal(node_discard(n, 0, 64 << 10), 0);
    assert_int_equal(node_flush(n), 0);
    for (uint64_t at = 2 << 20; at < 3 << 20; at += sizeof(buf))
        assert_int_equal(node_pwrite(n, at, got, sizeof(got)), 0);
    assert_int_equal(pread(run.fd, got, sizeof(got), (off_t)run.file_offset),
                     sizeof(got));
    assert_memory_equal(got, buf, sizeof(buf));
    node_run_done(&run);
    assert_int_equal(node_run(n, 0, 4096, false, &run), 0);
    assert_true(run.is_zero);
    node_run_done(&run);
    node_unref(n);
    assert_int_equal(q2_run(r, "qemu-img check -q image"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_writes_of_ours_please_qemu),
        cmocka_unit_test(what_qemu_writes_reads_the_same_here),
        cmocka_unit_test(clusters_shared_with_a_snapshot_are_copied),
        cmocka_unit_test(what_is_not_here_comes_from_the_backing_file),
        cmocka_unit_test(compressed_clusters_are_understood_by_qemu),
        cmocka_unit_test(
            threads_in_the_same_clusters_do_not_disturb_each_other),
        cmocka_unit_test(threads_with_hardly_any_cache_do_not_either),
        cmocka_unit_test(encrypted_clusters_are_understood_by_qemu),
        cmocka_unit_test(runs_tell_where_data_lie),
    };

    return cmocka_run_group_tests_name("qcow2", tests, q2_rig_open,
                                       q2_rig_close);
}
