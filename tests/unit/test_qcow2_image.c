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
    for (unsigned i = 0; i < MATRIX; i++) {
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
    for (unsigned i = 0; i < MATRIX; i++) {
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
    for (unsigned i = 0; i < MATRIX; i++) {
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
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
