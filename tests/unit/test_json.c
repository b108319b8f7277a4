/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/* JSON: what RFC 8259 allows and forbids, limits, streams cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

static char *written(const struct json *j)
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_out o = { .f = open_memstream(&text, &bytes) };

    json_copy(&o, NULL, j);
    fclose(o.f);
    return text;
}

static int parse(const char *text, struct json **out)
{
    *out = NULL;
    return json_parse(text, strlen(text), out, NULL);
}

static void what_is_read_is_written_again(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "{}", "{}" },
        { " [ ] ", "[]" },
        { "{\"a\":[1,-2,true,false,null],\"b\":{\"c\":\"d\"}}",
          "{\"a\": [1, -2, true, false, null], \"b\": {\"c\": \"d\"}}" },
        { "{'execute': 'stop'}", "{\"execute\": \"stop\"}" },
        { "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"\\u00e9\\ud83d\\ude00\\n/\"" },
        { "\"\xc3\xa9\"", "\"\\u00e9\"" },
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "18446744073709551615", "18446744073709551615" },
        { "18446744073709551616", "1.8446744073709552e+19" },
        { "1.5e3", "1500" },
        { "0.25", "0.25" },
        { "-0.0", "0" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json *j = NULL;
        char *got;

        if (parse(rows[i].text, &j) < 0) fail_msg("%s", rows[i].text);
        got = written(j);
        assert_string_equal(got, rows[i].want);
        free(got);
        json_free(j);
    }
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "   ",
        "{",
        "}",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "[1 2]",
        "nul",
        "True",
        "01",
        "1e999",
        "-44444444e4444444",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x10",
        "--1",
        "\"open",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "{\"a\":1,\"a\":2}",
        "{} {}",
        "[}",
        "1 1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        int rc = json_parse(rows[i], strlen(rows[i]), &j, &e);

        if (rc != -EINVAL || e.text[0] == '\0' || j != NULL)
            fail_msg("'%s': %d", rows[i], rc);
    }
}

static void depth_and_number_of_values_are_bounded(void **state)
{
    size_t n = 200001;
    char *text = malloc(n + 1);
    struct json *j = NULL;

    (void)state;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = '\0';
    assert_int_equal(parse(text, &j), 0);
    json_free(j);
    memset(text, '[', n);
    text[n] = '\0';
    assert_int_equal(parse(text, &j), -E2BIG);
    text[0] = '[';
    for (size_t i = 1; i < n; i++)
        text[i] = i % 2 ? '1' : ',';
    text[n - 1] = ']';
    assert_int_equal(parse(text, &j), -E2BIG);
    free(text);
}

struct seen {
    char text[512];
    unsigned values, errors;
};

static void on_value(void *arg, const char *text, size_t bytes)
{
    struct seen *s = arg;

    if (bytes > 100) bytes = 100;
    strncat(s->text, text, bytes);
    strcat(s->text, "|");
    s->values++;
}

static void on_error(void *arg, const char *why)
{
    struct seen *s = arg;

    (void)why;
    strcat(s->text, "!");
    s->errors++;
}

static void feed(struct json_stream *st, struct seen *s, const char *text,
                 size_t piece)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i += piece)
        json_stream_feed(st, (const uint8_t *)text + i,
                         n - i < piece ? n - i : piece, on_value, on_error, s);
}

static void values_are_found_however_a_stream_is_cut(void **state)
{
    static const char text[] =
        "{\"a\":\"}\\\"]\"}{}\n [1]x \"s\" 5\n'{' \xff}y{\"b\":";
    static const char want[] = "{\"a\":\"}\\\"]\"}|{}|[1]|x|\"s\"|5|'{'|}|y|";

    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct json_stream st = { .buf = NULL };
        struct seen s = { .values = 0 };

        feed(&st, &s, text, piece);
        assert_string_equal(s.text, want);
        json_stream_clear(&st);
    }
}

static void a_stream_goes_on_behind_what_is_too_deep_or_too_long(void **state)
{
    struct json_stream st = { .buf = NULL };
    struct seen s = { .values = 0 };

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        feed(&st, &s, "[", 1);
    for (unsigned i = 0; i < 100; i++)
        feed(&st, &s, "]", 1);
    feed(&st, &s, "{}", 1);
    assert_string_equal(s.text, "!{}|");
    feed(&st, &s, "\"", 1);
    for (unsigned i = 0; i < JSON_MAX_BYTES / 16 + 1; i++)
        feed(&st, &s, "0123456789abcdef", 16);
    feed(&st, &s, "\"[]", 1);
    assert_string_equal(s.text, "!{}|![]|");
    feed(&st, &s, "[[\xff{}", 1); /* 0xff: begin anew */
    assert_string_equal(s.text, "!{}|![]|!{}|");
    json_stream_clear(&st);
}

static void text_that_is_no_utf8_is_written_as_replacement(void **state)
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_out o = { .f = open_memstream(&text, &bytes) };

    (void)state;
    json_open(&o, NULL, '{');
    json_str(&o, "a", "x\xff\xc3\x1b\"");
    json_uint(&o, "b", UINT64_MAX);
    json_open(&o, "c", '[');
    json_close(&o, ']');
    json_close(&o, '}');
    fclose(o.f);
    assert_string_equal(text, "{\"a\": \"x\\ufffd\\ufffd\\u001b\\\"\", "
                              "\"b\": 18446744073709551615, \"c\": []}");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written_again),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(depth_and_number_of_values_are_bounded),
        cmocka_unit_test(values_are_found_however_a_stream_is_cut),
        cmocka_unit_test(a_stream_goes_on_behind_what_is_too_deep_or_too_long),
        cmocka_unit_test(text_that_is_no_utf8_is_written_as_replacement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
