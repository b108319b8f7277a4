/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* Formats that are only read, on images that qemu-img made (the seeds of
 * fuzz_image): what they hold, and that damaged ones do no harm. */
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

#include "block/image.h"
#include "block/map.h"
#include "tests/unit/support/sparse_image.h"

static const char *const seeds[] = {
    "vmdk",       "vmdk-stream", "vmdk-zero", "vdi",  "vdi-static",  "vhdx",
    "vhdx-fixed", "vpc",         "vpc-fixed", "qcow", "qcow-packed",
};
enum { SEEDS = sizeof(seeds) / sizeof(seeds[0]), MUTATIONS = 300 };

struct image {
    uint8_t data[16384];
    size_t bytes;
    char path[64];
    const char *format;
    int fd;
};

static void load(struct image *i, const char *seed)
{
    char name[200];
    FILE *f;

    snprintf(name, sizeof(name), "tests/fuzz/seeds/image/%s", seed);
    f = fopen(name, "rb");
    if (f == NULL) fail_msg("%s: %s", name, strerror(errno));
    i->bytes = fread(i->data, 1, sizeof(i->data), f);
    fclose(f);
    assert_in_range(i->bytes, 100, sizeof(i->data) - 1);
}

static void expand(struct image *i)
{
    i->fd = sparse_image_open(i->data, i->bytes, i->path, &i->format);
    assert_true(i->fd >= 0);
}

static int open_node(const struct image *i, const char *format,
                     struct node **out, struct err *e)
{
    struct node_options o = { .is_readonly = true, .is_no_backing = true };

    return node_open_image(i->path, format, true, false, &o, out, e);
}

static void check_disk(struct node *n)
{
    uint8_t buf[3 * 512];

    assert_int_equal(n->size_bytes, SPARSE_DISK_BYTES);
    for (uint64_t at = 0; at < SPARSE_DISK_BYTES; at += sizeof(buf)) {
        size_t here = sizeof(buf);

        if (here > SPARSE_DISK_BYTES - at)
            here = (size_t)(SPARSE_DISK_BYTES - at);
        assert_int_equal(node_pread(n, at, buf, here), 0);
        for (size_t k = 0; k < here; k++) {
            if (buf[k] != sparse_disk_octet(at + k))
                fail_msg("%s: octet %llu is %02x", n->drv->name,
                         (unsigned long long)(at + k), buf[k]);
        }
    }
}

static void every_kind_holds_what_was_put_in(void **unused)
{
    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct err e = ERR_INIT;
        struct image i;
        struct node *n;

        load(&i, seeds[s]);
        expand(&i);
        if (open_node(&i, i.format, &n, &e) < 0)
            fail_msg("%s: %s", seeds[s], e.text);
        check_disk(n);
        node_unref(n);
        close(i.fd);
    }
}

static void formats_are_known_by_their_first_octets(void **unused)
{
    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct err e = ERR_INIT;
        struct image i;
        struct node *n;
        const char *want;

        load(&i, seeds[s]);
        expand(&i);
        assert_int_equal(open_node(&i, NULL, &n, &e), 0);
        /* A fixed VHD has nothing at its beginning. */
        want = strcmp(seeds[s], "vpc-fixed") == 0 ? "raw" : i.format;
        assert_string_equal(n->drv->name, want);
        node_unref(n);
        close(i.fd);
    }
}

static void the_map_covers_the_disk_and_calls_no_data_zero(void **unused)
{
    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct err e = ERR_INIT;
        struct image i;
        struct node *n;
        uint64_t at = 0;

        load(&i, seeds[s]);
        expand(&i);
        assert_int_equal(open_node(&i, i.format, &n, &e), 0);
        while (at < n->size_bytes) {
            struct node_extent x;

            assert_int_equal(node_status(n, at, n->size_bytes - at, &x), 0);
            assert_in_range(x.bytes, 1, n->size_bytes - at);
            for (uint64_t k = at; k < at + x.bytes; k++) {
                bool is_data =
                    (x.flags & EXTENT_DATA) && !(x.flags & EXTENT_ZERO);

                if (!is_data && sparse_disk_octet(k) != 0)
                    fail_msg("%s: data at %llu are not mapped", seeds[s],
                             (unsigned long long)k);
            }
            at += x.bytes;
        }
        node_unref(n);
        close(i.fd);
    }
}

static void nothing_can_be_written(void **unused)
{
    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct err e = ERR_INIT;
        struct image i;
        struct node *n;
        uint8_t octet = 1;

        load(&i, seeds[s]);
        expand(&i);
        assert_int_equal(open_node(&i, i.format, &n, &e), 0);
        assert_int_equal(node_pwrite(n, 0, &octet, 1), -EROFS);
        assert_int_equal(node_zero(n, 0, 512, 0), -EROFS);
        node_unref(n);
        close(i.fd);
    }
}

/* Open and read all; what is wrong is said or -EIO. */
static void use(struct image *i, const char *seed)
{
    static uint8_t buf[SPARSE_DISK_BYTES];
    struct image_check c = { .fix = 0 };
    struct err e = ERR_INIT;
    struct node *n;
    int rc = open_node(i, i->format, &n, &e);

    if (rc < 0) {
        if (e.text[0] == '\0' || strchr(e.text, '\n') != NULL)
            fail_msg("%s: refused with '%s'", seed, e.text);
        return;
    }
    for (unsigned part = 0; part < 8; part++) {
        uint64_t at = n->size_bytes / 8 * part;
        uint64_t here = n->size_bytes - at;

        if (here > sizeof(buf)) here = sizeof(buf);
        rc = node_pread(n, at, buf, (size_t)here);
        if (rc > 0) fail_msg("%s: read gives %d", seed, rc);
    }
    if (n->drv->check != NULL && n->size_bytes < 1ull << 32)
        n->drv->check(n, &c, &e);
    node_unref(n);
}

static void a_file_cut_off_anywhere_is_refused_or_gives_errors(void **unused)
{
    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct image i;

        load(&i, seeds[s]);
        expand(&i);
        for (off_t end = lseek(i.fd, 0, SEEK_END); end > 0;
             end -= end > 65536 ? 49152 : 500) {
            assert_int_equal(ftruncate(i.fd, end), 0);
            use(&i, seeds[s]);
        }
        close(i.fd);
    }
}

static uint64_t next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void change(struct image *i, uint64_t *random)
{
    static const uint64_t odd[] = { 0,          1,          0x7fffffff,
                                    0x80000000, 0xffffffff, INT64_MAX,
                                    1ull << 63, UINT64_MAX };
    size_t at = 4 + next(random) % (i->bytes - 4);
    size_t part = (size_t)1 << next(random) % 4;
    uint64_t value = next(random) % 2 ? odd[next(random) % 8] : next(random);

    if (part > i->bytes - at) part = i->bytes - at;
    for (size_t k = 0; k < part; k++)
        i->data[at + k] = (uint8_t)(value >> 8 * k);
}

static void damaged_files_are_refused_or_give_errors(void **unused)
{
    uint64_t random = 0x9e3779b97f4a7c15u;

    (void)unused;
    for (unsigned s = 0; s < SEEDS; s++) {
        struct image whole, i;

        load(&whole, seeds[s]);
        for (unsigned k = 0; k < MUTATIONS; k++) {
            i = whole;
            for (uint64_t m = 1 + next(&random) % 4; m > 0; m--)
                change(&i, &random);
            expand(&i);
            if (k % 4 != 0) sparse_image_fix(i.fd, i.format);
            use(&i, seeds[s]);
            close(i.fd);
        }
    }
}

/* ----------------------------------------------------- VMDK descriptors */

static int open_text(const char *text, struct err *e)
{
    char path[] = "/tmp/orrery-formats-XXXXXX";
    struct node_options o = { .is_readonly = true };
    int fd = mkstemp(path), rc;
    struct node *n;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    rc = node_open_image(path, "vmdk", true, false, &o, &n, e);
    if (rc == 0) node_unref(n);
    unlink(path);
    return rc;
}

static void extents_outside_the_folder_are_refused(void **unused)
{
    static const char *const names[] = { "/etc/passwd", "../x", "a/../../x",
                                         ".." };
    (void)unused;
    for (unsigned i = 0; i < 4; i++) {
        struct err e = ERR_INIT;
        char text[300];

        snprintf(text, sizeof(text),
                 "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n"
                 "createType=\"monolithicFlat\"\nRW 1 FLAT \"%s\" 0\n",
                 names[i]);
        assert_int_equal(open_text(text, &e), -EPERM);
        assert_non_null(strstr(e.text, "same folder"));
    }
}

static void odd_descriptors_are_refused(void **unused)
{
    static const char *const lines[] = {
        "",
        "RW",
        "RW x FLAT \"a\" 0",
        "RW 99999999999999999999 ZERO",
        "RW 1 FLAT a 0",
        "RW 1 FLAT \"a",
        "RW 1 SESPARSE \"a\"",
        "RW 0 ZERO",
        "RW 1 FLAT \"\" 0",
        "RW 1 FLAT \"http://x\" 0",
    };
    (void)unused;
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct err e = ERR_INIT;
        char text[300];

        snprintf(text, sizeof(text), "# Disk DescriptorFile\n%s\n", lines[i]);
        assert_true(open_text(text, &e) < 0);
        assert_true(e.text[0] != '\0');
    }
}

static void an_extent_of_zeros_needs_no_file(void **unused)
{
    struct err e = ERR_INIT;

    (void)unused;
    assert_int_equal(open_text("# Disk DescriptorFile\nRW 10 ZERO\n", &e), 0);
}

/* Inputs that the fuzzer found something with (seeds find-*). */
static void what_the_fuzzer_found_is_refused(void **state)
{
    static const char *const finds[] = { "find-vmdk-grain" };

    (void)state;
    for (size_t k = 0; k < sizeof(finds) / sizeof(finds[0]); k++) {
        struct image i;
        struct node *n = NULL;
        struct err e = ERR_INIT;

        load(&i, finds[k]);
        expand(&i);
        assert_true(open_node(&i, i.format, &n, &e) < 0);
        assert_string_not_equal(e.text, "");
        close(i.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_fuzzer_found_is_refused),
        cmocka_unit_test(every_kind_holds_what_was_put_in),
        cmocka_unit_test(formats_are_known_by_their_first_octets),
        cmocka_unit_test(the_map_covers_the_disk_and_calls_no_data_zero),
        cmocka_unit_test(nothing_can_be_written),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused_or_gives_errors),
        cmocka_unit_test(damaged_files_are_refused_or_give_errors),
        cmocka_unit_test(extents_outside_the_folder_are_refused),
        cmocka_unit_test(odd_descriptors_are_refused),
        cmocka_unit_test(an_extent_of_zeros_needs_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
