/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* qcow2, whole images: create, measure, check, resize, amend; with qemu-img as
 * the judge, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "block/qcow2_ops.h"
#include "tests/unit/support/image_rig.h"

enum { MiB = 1 << 20 };

/* Options of create that go together; both programs make images of each. */
static const char *const matrix[] = {
    "",
    "compat=0.10",
    "compat=1.1,lazy_refcounts=on",
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=2M",
    "refcount_bits=1",
    "refcount_bits=2",
    "refcount_bits=8",
    "refcount_bits=32",
    "refcount_bits=64",
    "compression_type=zstd",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "preallocation=metadata",
    "preallocation=falloc",
    "preallocation=full",
    "preallocation=metadata,extended_l2=on",
    "preallocation=metadata,cluster_size=512,refcount_bits=64",
    "preallocation=metadata,cluster_size=1k,refcount_bits=1",
    "preallocation=metadata,compat=0.10",
};
enum { MATRIX = sizeof(matrix) / sizeof(matrix[0]) };

static uint64_t json_number(const struct q2_rig *r, const char *command,
                            const char *key)
{
    return strtoull(ir_line(r,
                            "%s | grep -o '\"%s\": [0-9]*' | head -1 | "
                            "grep -o '[0-9]*$'",
                            command, key),
                    NULL, 10);
}

static void qemu_accepts_every_kind_of_image_we_make(void **state)
{
    const struct q2_rig *r = *state;
    const uint64_t size = 5 * MiB + 512;

    q2_need_qemu();
    for (unsigned i = Q2_FIRST(0); i < MATRIX; i += Q2_STEP) {
        struct node *n;

        ir_make(r, matrix[i], size);
        ir_both_check(r);
        assert_int_equal(
            json_number(r, "qemu-img info --output json image", "virtual-size"),
            size);
        assert_int_equal(q2_run(r, "qemu-io -f qcow2 -c 'write -P 7 1M 300k' "
                                   "-c 'write -P 9 5M 512' image >/dev/null"),
                         0);
        n = q2_open(r->image, NULL);
        ir_write(n, 2 * MiB + 1000, 70000, 3);
        node_unref(n);
        assert_int_equal(
            q2_run(r, "qemu-io -f qcow2 -c 'read -P 7 1M 300k' -c 'read -P 9 "
                      "5M 512' image | grep -c failed | grep -qx 0"),
            0);
        ir_both_check(r);
    }
}

static void we_accept_every_kind_of_image_qemu_makes(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = Q2_FIRST(1); i < MATRIX; i += Q2_STEP) {
        struct node *n;

        assert_int_equal(
            q2_run(r,
                   "rm -f image; qemu-img create -q -f qcow2 %s %s image "
                   "5243392",
                   matrix[i][0] ? "-o" : "", matrix[i]),
            0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_write(n, 2 * MiB + 1000, 70000, 3);
        ir_expect(n, 2 * MiB + 1000, 70000, 3);
        node_unref(n);
        ir_both_check(r);
    }
}

static void preallocation_takes_the_room_on_the_host(void **state)
{
    const struct q2_rig *r = *state;
    struct stat st;

    ir_make(r, "preallocation=falloc", 8 * MiB);
    assert_int_equal(stat(r->image, &st), 0);
    assert_true(st.st_blocks * 512 >= 8 * MiB);
    ir_make(r, "preallocation=full", 8 * MiB);
    assert_int_equal(stat(r->image, &st), 0);
    assert_true(st.st_blocks * 512 >= 8 * MiB);
    ir_make(r, "preallocation=metadata", 8 * MiB);
    assert_int_equal(stat(r->image, &st), 0);
    assert_true(st.st_size >= 8 * MiB);
    assert_true(st.st_blocks * 512 < 2 * MiB);
}

/* What qemu-img refuses as well; and a part of what we say. */
static const struct {
    const char *options, *text;
    bool is_ours; /* qemu-img can do it, we say that we cannot */
} refused[] = {
    { "compat=0.10,lazy_refcounts=on", "compat=1.1", false },
    { "compat=0.10,extended_l2=on", "compat=1.1", false },
    { "compat=0.10,refcount_bits=8", "compat=1.1", false },
    { "compat=0.10,compression_type=zstd", "compat=1.1", false },
    { "compat=1.2", "compat", false },
    { "cluster_size=3000", "cluster_size", false },
    { "cluster_size=256", "cluster_size", false },
    { "cluster_size=4M", "cluster_size", false },
    { "cluster_size=8k,extended_l2=on", "cluster_size", false },
    { "refcount_bits=3", "refcount_bits", false },
    { "refcount_bits=128", "refcount_bits", false },
    { "refcount_bits=0", "refcount_bits", false },
    { "compression_type=lzma", "compression_type", false },
    { "preallocation=some", "preallocation", false },
    { "backing_fmt=raw", "backing_file", false },
    { "encrypt.format=luks", "key-secret", false },
    { "encrypt.format=rot13", "luks", false },
    { "encrypt.cipher-alg=aes-128", "encrypt.format", false },
    { "lazy_refcounts=maybe", "lazy_refcounts", false },
    { "nonsense=1", "nonsense", false },
    { "encryption=on", "luks", true },
};

static void bad_combinations_are_refused_with_a_line(void **state)
{
    const struct q2_rig *r = *state;

    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct err e = ERR_INIT;
        int rc = ir_create(r, "qcow2", refused[i].options, MiB, NULL, &e);

        if (rc >= 0) fail_msg("%s was accepted", refused[i].options);
        if (strstr(e.text, refused[i].text) == NULL)
            fail_msg("%s: '%s'", refused[i].options, e.text);
        assert_null(strchr(e.text, '\n'));
        assert_int_not_equal(q2_run(r, "test -e image"), 0);
    }
}

static void qemu_refuses_the_same_combinations(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (refused[i].is_ours) continue;
        assert_int_equal(q2_run(r,
                                "qemu-img create -q -f qcow2 -o %s other 1M "
                                ">/dev/null 2>&1",
                                refused[i].options),
                         1);
    }
}

static void an_image_takes_the_size_of_its_backing_file(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 base 3M && qemu-io "
                               "-f qcow2 -c 'write -P 5 1M 64k' base "
                               ">/dev/null"),
                     0);
    ir_make(r, "backing_file=base,backing_fmt=qcow2", UINT64_MAX);
    n = q2_open(r->image, NULL);
    assert_int_equal(n->size_bytes, 3 * MiB);
    ir_write(n, 2 * MiB, 1000, 1);
    node_unref(n);
    ir_both_check(r);
    assert_int_equal(
        q2_run(r, "qemu-io -f qcow2 -c 'read -P 5 1M 64k' image | grep -c "
                  "failed | grep -qx 0"),
        0);
}

static void preallocation_with_backing_shows_the_backing_file(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 base 3M && qemu-io "
                               "-f qcow2 -c 'write -P 5 0 3M' base >/dev/null"),
                     0);
    ir_make(r,
            "backing_file=base,backing_fmt=qcow2,extended_l2=on,preallocation="
            "metadata",
            3 * MiB);
    ir_both_check(r);
    assert_int_equal(q2_run(r, "qemu-img compare -q image base"), 0);
}

static void measure_agrees_with_qemu(void **state)
{
    static const char *const sizes[] = { "0",  "512", "1000448", "10G",
                                         "1T", "64M", "7T" };
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = Q2_FIRST(2); i < MATRIX; i += Q2_STEP) {
        for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            const char *pairs[16] = { NULL };
            char command[300], text[200];
            struct image_create c = { .file = "x", .pairs = pairs };
            uint64_t required = 0, full = 0;
            struct err e = ERR_INIT;
            unsigned count = 0;
            int rc;

            snprintf(text, sizeof(text), "%s", matrix[i]);
            for (char *w = strtok(text, ","); w != NULL;
                 w = strtok(NULL, ",")) {
                pairs[count++] = w;
                *strchr(w, '=') = '\0';
                pairs[count] = w + strlen(w) + 1;
                count++;
            }
            c.size_bytes = strtoull(sizes[k], NULL, 10)
                           << (strchr(sizes[k], 'T')   ? 40
                               : strchr(sizes[k], 'G') ? 30
                               : strchr(sizes[k], 'M') ? 20
                                                       : 0);
            snprintf(command, sizeof(command),
                     "qemu-img measure -O qcow2 %s %s --size %s --output json "
                     "2>/dev/null",
                     matrix[i][0] ? "-o" : "", matrix[i], sizes[k]);
            rc = qcow2_measure(&c, NULL, &required, &full, &e);
            if (rc < 0) required = full = 0;
            if (json_number(r, command, "required") != required ||
                json_number(r, command, "fully-allocated") != full)
                fail_msg("%s --size %s: required %llu, full %llu (%s)",
                         matrix[i], sizes[k], (unsigned long long)required,
                         (unsigned long long)full, e.text);
        }
    }
}

static void measure_of_a_source_agrees_with_qemu(void **state)
{
    const struct q2_rig *r = *state;
    const char *pairs[1] = { NULL };
    struct image_create c = { .file = "x", .pairs = pairs };
    const char *command = "qemu-img measure -O qcow2 --output json image";
    uint64_t required, full;
    struct err e = ERR_INIT;
    struct node *n;

    q2_need_qemu();
    ir_make(r, "cluster_size=4k", 40 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, 10000, 100000, 1);
    ir_write(n, 20 * MiB + 30000, 200, 1);
    assert_int_equal(node_zero(n, 5 * MiB, 100000, 0), 0);
    assert_int_equal(node_flush(n), 0);
    assert_int_equal(qcow2_measure(&c, n, &required, &full, &e), 0);
    node_unref(n);
    assert_int_equal(json_number(r, command, "required"), required);
    assert_int_equal(json_number(r, command, "fully-allocated"), full);
}

/* ----------------------------------------------------------------- check */

static void flip(const struct q2_rig *r, uint64_t at, const void *data,
                 size_t bytes)
{
    FILE *f = fopen(r->image, "r+b");

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static uint64_t peek(const struct q2_rig *r, uint64_t at, size_t bytes)
{
    FILE *f = fopen(r->image, "rb");
    uint64_t v = 0;

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    while (bytes-- > 0)
        v = v << 8 | (uint64_t)fgetc(f);
    fclose(f);
    return v;
}

static void poke64(const struct q2_rig *r, uint64_t at, uint64_t v)
{
    uint8_t b[8];

    qcow2_put64(b, v);
    flip(r, at, b, 8);
}

static void poke16(const struct q2_rig *r, uint64_t at, unsigned v)
{
    const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

    flip(r, at, b, 2);
}

/* The places of the tables of an image with 64k clusters. */
struct places {
    uint64_t l1, l2, data, reftable, refblock;
};

static struct places make_small(const struct q2_rig *r)
{
    struct places p;
    struct node *n;

    ir_make(r, "", 4 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, 0, MiB, 1);
    node_unref(n);
    p.l1 = peek(r, 40, 8);
    p.l2 = peek(r, p.l1, 8) & QCOW2_OFFSET_MASK;
    p.data = peek(r, p.l2, 8) & QCOW2_OFFSET_MASK;
    p.reftable = peek(r, 48, 8);
    p.refblock = peek(r, p.reftable, 8);
    return p;
}

/* What is wrong, by number; both programs must see the same. */
static void spoil(const struct q2_rig *r, const struct places *p, unsigned how)
{
    uint64_t entry = peek(r, p->l2, 8);

    switch (how) {
    case 0: poke16(r, p->refblock + 2 * (p->data >> 16), 0); break;
    case 1: poke16(r, p->refblock + 2 * (p->data >> 16), 2); break;
    case 2: poke16(r, p->refblock + 2 * 100, 1); break; /* beyond the file */
    case 3: poke64(r, p->l2, entry & ~QCOW2_COPIED); break;
    case 4: poke64(r, p->l2, 0); break;                 /* a leak */
    case 5: poke64(r, p->l2 + 8, entry); break;         /* used twice */
    case 6: poke64(r, p->l2, entry + 512); break;       /* not aligned */
    case 7: poke64(r, p->l2, entry + (1 << 30)); break; /* outside */
    case 8: poke64(r, p->l1, peek(r, p->l1, 8) & ~QCOW2_COPIED); break;
    case 9: poke64(r, p->reftable, 0); break;
    case 10: poke64(r, p->reftable, p->data); break;
    case 11: poke64(r, p->reftable, p->refblock + 512); break;
    case 12: poke64(r, p->l2, p->l2 | QCOW2_COPIED); break; /* into a table */
    case 13: poke64(r, p->l2, entry | 2); break;            /* reserved */
    case 14: poke64(r, p->l1, peek(r, p->l1, 8) | 8); break;
    case 15: poke64(r, p->l2, p->l2 | QCOW2_COPIED); break;
    case 16: poke64(r, p->reftable + 8, p->refblock); break;
    default: break;
    }
}
enum { SPOILS = 17 };

static void check_sees_what_qemu_sees(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned how = 0; how < SPOILS; how++) {
        struct places p = make_small(r);
        struct image_check c;
        uint64_t corruptions, leaks;
        int status, ours;

        spoil(r, &p, how);
        status =
            q2_run(r, "qemu-img check --output json image >json 2>/dev/null");
        corruptions = json_number(r, "cat json", "corruptions");
        leaks = json_number(r, "cat json", "leaks");
        ir_fix(r, 0, &c);
        ours = c.corruptions > 0 ? 2 : c.leaks > 0 ? 3 : 0;
        if (status == 1) { /* qemu-img gave up, we went on */
            assert_true(c.corruptions >= corruptions);
            continue;
        }
        if (status != ours || corruptions != c.corruptions || leaks != c.leaks)
            fail_msg("damage %u: %d (%d corruptions, %d leaks), qemu-img %d "
                     "(%d, %d)\n%s",
                     how, ours, (int)c.corruptions, (int)c.leaks, status,
                     (int)corruptions, (int)leaks, (char *)c.arg);
    }
}

static void check_repairs_what_can_be_repaired(void **state)
{
    static const bool hopeless[SPOILS] = {
        [6] = true, [7] = true, [13] = true, [14] = true
    };
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned how = 0; how < SPOILS; how++) {
        struct places p = make_small(r);
        struct image_check c;

        spoil(r, &p, how);
        ir_fix(r, IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS, &c);
        ir_fix(r, 0, &c);
        if (hopeless[how]) {
            assert_int_not_equal(c.corruptions, 0);
            continue;
        }
        if (c.corruptions + c.leaks + c.check_errors != 0)
            fail_msg("damage %u is still there:\n%s", how, (char *)c.arg);
        ir_qemu_check(r, 0);
    }
}

/* An L1 table of 4M entries that name one L2 table, and many snapshots that
 * share it. */
static void check_of_tables_that_lie_ends_soon(void **state)
{
    const struct q2_rig *r = *state;
    struct places p;
    struct timespec a, b;
    struct image_check c;
    uint64_t entry, *l1 = malloc(QCOW2_MAX_L1_BYTES);
    uint8_t *sn = calloc(2000, 64), h[4];

    p = make_small(r);
    entry = peek(r, p.l1, 8);
    for (unsigned i = 0; i < QCOW2_MAX_L1_BYTES / 8; i++)
        qcow2_put64(&l1[i], entry);
    flip(r, 4 * MiB, l1, QCOW2_MAX_L1_BYTES);
    poke64(r, 40, 4 * MiB);
    qcow2_put32(h, QCOW2_MAX_L1_BYTES / 8);
    flip(r, 36, h, 4);
    for (unsigned i = 0; i < 2000; i++) {
        qcow2_put64(sn + 40 * i, 4 * MiB);
        qcow2_put32(sn + 40 * i + 8, QCOW2_MAX_L1_BYTES / 8);
    }
    flip(r, 3 * MiB, sn, 2000 * 40);
    poke64(r, 64, 3 * MiB);
    qcow2_put32(h, 2000);
    flip(r, 60, h, 4);
    free(l1);
    free(sn);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    ir_fix(r, IMAGE_FIX_ERRORS | IMAGE_FIX_LEAKS, &c);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    assert_true(c.corruptions > 0);
    assert_int_equal(c.corruptions_fixed + c.leaks_fixed, 0);
    assert_true(b.tv_sec - a.tv_sec < 5);
}

static void leaks_alone_are_repaired_alone(void **state)
{
    const struct q2_rig *r = *state;
    struct places p = make_small(r);
    struct image_check c;

    spoil(r, &p, 4);
    spoil(r, &p, 8);
    ir_fix(r, IMAGE_FIX_LEAKS, &c);
    assert_int_equal(c.leaks_fixed, 1);
    assert_int_equal(c.leaks, 0);
    assert_int_equal(c.corruptions, 1);
    ir_check(r, 1, 0);
}

static void the_numbers_of_check_are_qemus(void **state)
{
    static const char *const keys[] = { "image-end-offset", "total-clusters",
                                        "allocated-clusters",
                                        "fragmented-clusters",
                                        "compressed-clusters" };
    const struct q2_rig *r = *state;
    struct image_check c;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "yes 0123456789 | head -c 3000000 >raw && "
                               "qemu-img convert -c -f raw -O qcow2 raw image"),
                     0);
    n = q2_open(r->image, NULL);
    ir_write(n, 2000000, 300000, 1);
    ir_write(n, 100000, 300000, 1);
    assert_int_equal(node_zero(n, 1048576, 65536, 0), 0);
    node_unref(n);
    ir_fix(r, 0, &c);
    for (unsigned i = 0; i < 5; i++) {
        const uint64_t ours[] = { c.image_end_offset, c.total_clusters,
                                  c.allocated_clusters, c.fragmented_clusters,
                                  c.compressed_clusters };

        assert_int_equal(
            json_number(r, "qemu-img check --output json image", keys[i]),
            ours[i]);
    }
}

static void a_dirty_image_is_repaired_when_opened(void **state)
{
    const struct q2_rig *r = *state;
    struct places p = make_small(r);
    struct node *n;

    q2_need_qemu();
    spoil(r, &p, 0);
    poke64(r, 72, QCOW2_INCOMPAT_DIRTY);
    poke64(r, 80, QCOW2_COMPAT_LAZY);
    n = q2_open(r->image, NULL);
    ir_expect(n, 0, MiB, 1);
    ir_write(n, 2 * MiB, 100000, 2);
    ir_expect(n, 0, MiB, 1);
    node_unref(n);
    assert_int_equal(peek(r, 72, 8), 0);
    ir_both_check(r);
}

static void check_of_a_sparse_100_gib_image_is_quick(void **state)
{
    const struct q2_rig *r = *state;
    struct timespec a, b;
    double ms;

    ir_make(r, "preallocation=metadata", (uint64_t)100 << 30);
    clock_gettime(CLOCK_MONOTONIC, &a);
    ir_check(r, 0, 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    ms = (double)(b.tv_sec - a.tv_sec) * 1e3 +
         (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    print_message("%.0f ms; qemu-img: %s ms\n", ms,
                  ir_line(r, "a=$(date +%%s%%N); qemu-img check -q image; "
                             "b=$(date +%%s%%N); echo $(((b-a)/1000000))"));
    assert_true(ms < 5000);
}

/* ---------------------------------------------------------------- resize */

static void resize(const struct q2_rig *r, uint64_t size, const char *how,
                   int expect)
{
    struct err e = ERR_INIT;
    struct node *n = q2_open(r->image, NULL);
    int rc = node_truncate(n, size, how, true, &e);

    if (rc != expect) fail_msg("%d: %s", rc, e.text);
    if (rc == 0) assert_int_equal(n->size_bytes, size);
    if (rc == 0 && size > 0) {
        ir_write(n, size - 512, 512, 6);
        ir_expect(n, size - 512, 512, 6);
    }
    node_unref(n);
}

static void resizing_keeps_what_stays(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = Q2_FIRST(3); i < MATRIX; i += Q2_STEP) {
        struct node *n;

        ir_make(r, matrix[i], 2 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, 2 * MiB, 1);
        node_unref(n);
        resize(r, 9 * MiB + 512, "off", 0);
        ir_both_check(r);
        resize(r, MiB + 1024, "off", 0);
        ir_both_check(r);
        resize(r, 40 * MiB, "off", 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_expect(n, 0, MiB + 512, 1);
        ir_expect_zero(n, MiB + 1024, 3 * MiB);
        node_unref(n);
        resize(r, 0, "off", 0);
        ir_both_check(r);
        resize(r, MiB, "off", 0);
        ir_both_check(r);
    }
}

static void resizing_can_preallocate(void **state)
{
    static const char *const how[] = { "metadata", "falloc", "full" };
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < 6; i++) {
        struct stat st;
        struct node *n;

        ir_make(r, i < 3 ? "" : "cluster_size=1k,refcount_bits=64", 2 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, MiB / 2, MiB, 1);
        node_unref(n);
        resize(r, 2 * MiB + 512, "off", 0);
        resize(r, 20 * MiB, how[i % 3], 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_expect(n, MiB / 2, MiB, 1);
        ir_expect_zero(n, 2 * MiB + 512, 17 * MiB);
        node_unref(n);
        assert_int_equal(stat(r->image, &st), 0);
        assert_true(st.st_size > 18 * MiB);
        if (i % 3 != 0) assert_true(st.st_blocks * 512 >= 18 * MiB);
        assert_int_equal(q2_run(r, "qemu-io -f qcow2 -c 'write -P 3 4M 1M' "
                                   "image >/dev/null"),
                         0);
        ir_both_check(r);
    }
}

static void shrinking_gives_room_back(void **state)
{
    const struct q2_rig *r = *state;
    struct stat st;
    struct node *n;

    ir_make(r, "", 64 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, 0, 32 * MiB, 1);
    node_unref(n);
    resize(r, MiB, "off", 0);
    assert_int_equal(stat(r->image, &st), 0);
    assert_true(st.st_size < 3 * MiB);
    ir_check(r, 0, 0);
    resize(r, MiB / 2, "metadata", -EINVAL);
    resize(r, MiB + 1, "off", -EINVAL);
}

static void a_larger_disk_does_not_show_the_backing_file(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 base 8M && qemu-io "
                               "-f qcow2 -c 'write -P 5 0 8M' base >/dev/null"),
                     0);
    ir_make(r, "backing_file=base,backing_fmt=qcow2", MiB + 512);
    resize(r, 6 * MiB, "off", 0);
    n = q2_open(r->image, NULL);
    ir_expect_zero(n, MiB + 512, 4 * MiB);
    node_unref(n);
    ir_both_check(r);
}

/* ----------------------------------------------------- amend and the rest */

static void amend(const struct q2_rig *r, const char *key, const char *value,
                  int expect)
{
    const char *const pairs[] = { key, value, NULL };
    const struct image_create c = { .file = r->image, .pairs = pairs };
    struct err e = ERR_INIT;
    struct node *n = q2_open(r->image, NULL);
    int rc = n->drv->amend(n, &c, &e);

    if (rc != expect) fail_msg("%s=%s: %d: %s", key, value, rc, e.text);
    if (rc < 0) assert_true(e.text[0] != '\0');
    ir_expect(n, MiB / 2, MiB, 1);
    ir_write(n, MiB / 2, MiB, 1);
    node_unref(n);
    ir_both_check(r);
}

static void options_are_amended(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    ir_make(r, "", 20 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, MiB / 2, MiB, 1);
    assert_int_equal(node_zero(n, MiB, 65536, 0), 0);
    ir_write(n, MiB, 65536, 1);
    assert_int_equal(node_zero(n, 3 * MiB, MiB, 0), 0);
    node_unref(n);
    amend(r, "refcount_bits", "1", 0);
    amend(r, "refcount_bits", "64", 0);
    amend(r, "compat", "0.10", -ENOTSUP);
    amend(r, "refcount_bits", "16", 0);
    amend(r, "lazy_refcounts", "on", 0);
    amend(r, "lazy_refcounts", "off", 0);
    amend(r, "compat", "0.10", 0);
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -o '0.10'"),
        "0.10");
    amend(r, "refcount_bits", "8", -EINVAL);
    amend(r, "compat", "1.1", 0);
    amend(r, "size", "30M", 0);
    amend(r, "cluster_size", "4096", -ENOTSUP);
    amend(r, "refcount_bits", "3", -EINVAL);
}

static void snapshots_go_along_to_version_2(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    ir_make(r, "", 20 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, MiB / 2, MiB, 1);
    node_unref(n);
    ir_line(r, "qemu-img snapshot -c s image");
    n = q2_open(r->image, NULL);
    assert_int_equal(node_zero(n, 3 * MiB, MiB, 0), 0);
    node_unref(n);
    amend(r, "compat", "0.10", 0);
    ir_both_check(r);
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -o '0.10'"),
        "0.10");
    /* A snapshot that has zero clusters itself stays as it is. */
    amend(r, "compat", "1.1", 0);
    ir_line(r, "qemu-io -c 'write -z 3M 1M' image >&2 && "
               "qemu-img snapshot -c t image");
    amend(r, "compat", "0.10", -ENOTSUP);
    ir_both_check(r);
    ir_line(r, "qemu-img snapshot -d t image");
    amend(r, "compat", "0.10", 0);
    /* One of another size: version 2 could not say so. */
    amend(r, "compat", "1.1", 0);
    amend(r, "size", "30M", 0);
    amend(r, "compat", "0.10", -ENOTSUP);
    ir_both_check(r);
    ir_line(r, "qemu-img snapshot -a s image");
    amend(r, "compat", "0.10", 0);
    ir_both_check(r);
}

static void the_backing_file_is_changed(void **state)
{
    const struct q2_rig *r = *state;
    struct err e = ERR_INIT;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "qemu-img create -q -f qcow2 base 2M; qemu-img "
                               "create -q -f raw other 2M; qemu-io -f raw -c "
                               "'write -P 4 0 2M' other >/dev/null"),
                     0);
    ir_make(r, "backing_file=base,backing_fmt=qcow2", 2 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, MiB, 1000, 1);
    assert_int_equal(n->drv->change_backing(n, "other", "raw", &e), 0);
    node_unref(n);
    assert_int_equal(q2_run(r, "qemu-io -f qcow2 -c 'read -P 4 0 1M' image | "
                               "grep -c failed | grep -qx 0"),
                     0);
    ir_both_check(r);
    n = q2_open(r->image, NULL);
    assert_int_equal(n->drv->change_backing(n, NULL, NULL, &e), 0);
    assert_int_equal(n->drv->make_empty(n, &e), 0);
    node_unref(n);
    n = q2_open(r->image, NULL);
    assert_null(n->backing_file);
    ir_expect_zero(n, 0, 2 * MiB);
    ir_write(n, MiB, 1000, 1);
    node_unref(n);
    ir_both_check(r);
}

/* ------------------------------------------------------------------ info */

struct text {
    char s[6000];
    unsigned depth, index[8];
};

static void add(struct text *t, const char *key, const char *value)
{
    size_t used = strlen(t->s);

    used += (size_t)snprintf(t->s + used, sizeof(t->s) - used, "%*s",
                             (int)(4 * t->depth), "");
    if (key == NULL)
        snprintf(t->s + used, sizeof(t->s) - used,
                 "[%u]:", t->index[t->depth]++);
    else
        snprintf(t->s + used, sizeof(t->s) - used, "%s:", key);
    for (char *p = t->s + used; *p != '\0'; p++) {
        if (*p == '-') *p = ' ';
    }
    used = strlen(t->s);
    snprintf(t->s + used, sizeof(t->s) - used, "%s%s\n", value[0] ? " " : "",
             value);
}

static void sink_begin(void *arg, const char *key, bool is_list)
{
    struct text *t = arg;

    (void)is_list;
    add(t, key, "");
    t->index[++t->depth] = 0;
}

static void sink_end(void *arg)
{
    struct text *t = arg;

    t->depth--;
}

static void sink_text(void *arg, const char *key, const char *value)
{
    add(arg, key, value);
}

static void sink_number(void *arg, const char *key, uint64_t value)
{
    char s[24];

    snprintf(s, sizeof(s), "%llu", (unsigned long long)value);
    add(arg, key, s);
}

static void sink_truth(void *arg, const char *key, bool value)
{
    add(arg, key, value ? "true" : "false");
}

static void info_is_the_same_as_qemus(void **state)
{
    static const char *const how[] = {
        "qemu-img create -q -f qcow2 image 3M",
        "qemu-img create -q -f qcow2 -o compat=0.10 image 3M",
        "qemu-img create -q -f qcow2 -o lazy_refcounts=on,refcount_bits=8,"
        "compression_type=zstd,extended_l2=on image 3M",
        "qemu-img create -q -f qcow2 image 3M; qemu-img bitmap --add image b; "
        "qemu-img bitmap --add --disable -g 4096 image c",
        "qemu-img create -q --object secret,id=s,data=x -f qcow2 -o "
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100 image "
        "3M",
        "qemu-img create -q --object secret,id=s,data=x -f qcow2 -o "
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100,"
        "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,"
        "encrypt.ivgen-hash-alg=sha256,encrypt.cipher-alg=aes-128 image 3M",
    };
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
        const struct node_options o = { .is_readonly = true,
                                        .is_no_backing = true };
        struct text *t = calloc(1, sizeof(*t));
        struct info_sink sink = { sink_begin,  sink_end,   sink_text,
                                  sink_number, sink_truth, t };
        struct node *n;

        if (q2_run(r,
                   "for i in 1 2 3 4 5; do rm -f image; { %s; } 2>err && "
                   "exit 0; done; cat err; exit 1",
                   how[i]) != 0) {
            print_message("qemu-img cannot make number %u\n", i);
            free(t);
            continue;
        }
        n = q2_open(r->image, &o);
        t->depth = 1;
        n->drv->info_specific(n, &sink);
        node_unref(n);
        q2_write_file(r->raw, t->s, strlen(t->s));
        if (q2_run(r, "qemu-img info image | sed '1,/^Format spec/d' | diff -u "
                      "- raw") != 0)
            fail_msg("number %u differs", i);
        free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, q2_rig_open, q2_rig_close)
        T(qemu_accepts_every_kind_of_image_we_make),
        T(we_accept_every_kind_of_image_qemu_makes),
        T(preallocation_takes_the_room_on_the_host),
        T(bad_combinations_are_refused_with_a_line),
        T(qemu_refuses_the_same_combinations),
        T(an_image_takes_the_size_of_its_backing_file),
        T(preallocation_with_backing_shows_the_backing_file),
        T(measure_agrees_with_qemu),
        T(measure_of_a_source_agrees_with_qemu),
        T(check_sees_what_qemu_sees),
        T(check_repairs_what_can_be_repaired),
        T(check_of_tables_that_lie_ends_soon),
        T(leaks_alone_are_repaired_alone),
        T(the_numbers_of_check_are_qemus),
        T(a_dirty_image_is_repaired_when_opened),
        T(check_of_a_sparse_100_gib_image_is_quick),
        T(resizing_keeps_what_stays),
        T(resizing_can_preallocate),
        T(shrinking_gives_room_back),
        T(a_larger_disk_does_not_show_the_backing_file),
        T(options_are_amended),
        T(snapshots_go_along_to_version_2),
        T(the_backing_file_is_changed),
        T(info_is_the_same_as_qemus),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
