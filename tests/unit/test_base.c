/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, sizes, FIFO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/fifo.h"
#include "core/base/size.h"

static void sizes_take_binary_suffixes_and_fractions(void **unused)
{
    static const struct {
        const char *text;
        uint64_t unit;
        int rc;
        uint64_t v;
    } t[] = {
        { "512", 1 << 20, 0, 512ull << 20 },
        { "512M", 1, 0, 512ull << 20 },
        { "1.5G", 1, 0, 3ull << 29 },
        { "0x10", 1, 0, 16 },
        { "4k", 1, 0, 4096 },
        { "2GB", 1, 0, 2ull << 30 },
        { "1b", 1 << 20, 0, 1 },
        { "16777215T", 1, 0, 16777215ull << 40 },
        { "16777216T", 1, -ERANGE, 0 },
        { "99999999999999999999", 1, -ERANGE, 0 },
        { "-1", 1, -ERANGE, 0 },
        { "", 1, -EINVAL, 0 },
        { "M", 1, -EINVAL, 0 },
        { "12Q", 1, -EINVAL, 0 },
        { "12MM", 1, -EINVAL, 0 },
        { "1.M", 1, -EINVAL, 0 },
    };

    (void)unused;
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        uint64_t v = 0;
        int rc = size_parse(t[i].text, t[i].unit, &v);

        if (rc != t[i].rc || (rc == 0 && v != t[i].v)) {
            fail_msg("%s: rc %d value %llu", t[i].text, rc,
                     (unsigned long long)v);
        }
    }
}

static void size_text_picks_the_unit(void **unused)
{
    char buf[32];

    (void)unused;
    assert_string_equal(size_text(0, buf, sizeof(buf)), "0 B");
    assert_string_equal(size_text(2048, buf, sizeof(buf)), "2 KiB");
    assert_string_equal(size_text(3ull << 29, buf, sizeof(buf)), "1.5 GiB");
}

static void numbers_must_be_whole(void **unused)
{
    uint64_t v;

    (void)unused;
    assert_int_equal(uint_parse("0x1f", &v), 0);
    assert_int_equal(v, 31);
    assert_int_equal(uint_parse("12x", &v), -EINVAL);
    assert_int_equal(uint_parse("-3", &v), -ERANGE);
    assert_int_equal(uint_parse("18446744073709551616", &v), -ERANGE);
}

static void err_prefix_puts_context_before_the_text(void **unused)
{
    struct err e = ERR_INIT;
    char longer[1000];

    (void)unused;
    assert_int_equal(err_set(&e, -EINVAL, "bad %d", 7), -EINVAL);
    assert_int_equal(err_prefix(&e, "-m %s", "x"), -EINVAL);
    assert_string_equal(e.text, "-m x: bad 7");
    assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    err_prefix(&e, "%s", longer);
    assert_true(strlen(e.text) < sizeof(e.text));
}

static void err_keeps_the_reason_behind_a_long_name(void **unused)
{
    struct err e = ERR_INIT;
    char name[5000];

    (void)unused;
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    err_set(&e, -ENOENT, "%s: No such file", name);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_non_null(strstr(e.text, "aaa...aaa"));
    assert_string_equal(e.text + strlen(e.text) - 14, ": No such file");
    err_prefix(&e, "-hda %s", name);
    assert_int_equal(strncmp(e.text, "-hda aaa", 8), 0);
    assert_string_equal(e.text + strlen(e.text) - 14, ": No such file");
}

static void err_keeps_control_characters_from_the_terminal(void **unused)
{
    struct err e = ERR_INIT;

    (void)unused;
    err_set(&e, -EINVAL, "no file '%s'",
            "\x1b[2J\n\x7f\xc2\x9b"
            "1m \xc3\xa4");
    assert_string_equal(e.text, "no file '?[2J????1m \xc3\xa4'");
    err_prefix(&e, "-hda %s", "a\rb");
    assert_string_equal(e.text, "-hda a?b: no file '?[2J????1m \xc3\xa4'");
}

static void fifo_can_not_be_passed(void **unused)
{
    uint8_t buf[2];
    struct fifo f = { .buf = buf, .cap = 2 };

    (void)unused;
    assert_int_equal(fifo_get(&f, 0xff), 0xff);
    assert_true(fifo_put(&f, 1));
    assert_true(fifo_put(&f, 2));
    assert_false(fifo_put(&f, 3));
    assert_int_equal(fifo_left(&f), 2);
    assert_int_equal(fifo_get(&f, 0xff), 1);
    assert_int_equal(fifo_get(&f, 0xff), 2);
    assert_int_equal(fifo_get(&f, 0xff), 0xff);
    assert_int_equal(fifo_left(&f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_take_binary_suffixes_and_fractions),
        cmocka_unit_test(size_text_picks_the_unit),
        cmocka_unit_test(numbers_must_be_whole),
        cmocka_unit_test(err_prefix_puts_context_before_the_text),
        cmocka_unit_test(err_keeps_the_reason_behind_a_long_name),
        cmocka_unit_test(err_keeps_control_characters_from_the_terminal),
        cmocka_unit_test(fifo_can_not_be_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
