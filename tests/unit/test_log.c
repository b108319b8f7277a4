/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: core */
/* The log: what -d understands, where lines go, what of guests' text is let
 * through, trace events by name and pattern. */
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

#include "core/base/log.h"
#include "core/base/trace.h"

static char path[] = "/tmp/test-log-XXXXXX";

static int setup(void **state)
{
    struct log_choice none = { .items = 0 };
    int fd;

    (void)state;
    strcpy(path + strlen(path) - 6, "XXXXXX");
    fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    log_choose(&none);
    return log_open(path);
}

static int teardown(void **state)
{
    (void)state;
    log_open(NULL);
    return unlink(path);
}

static const char *written(void)
{
    static char text[8192];
    FILE *f = fopen(path, "rb");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;

    if (f != NULL) fclose(f);
    text[n] = '\0';
    return text;
}

static void items_are_parsed_as_a_list(void **state)
{
    static const struct {
        const char *text;
        unsigned items;
    } rows[] = {
        { "int", LOG_INT },
        { "int,cpu_reset", LOG_INT | LOG_CPU_RESET },
        { "none", 0 },
        { "int,none", 0 },
        { "none,exec", LOG_EXEC },
        { "trace:cpu_in", 0 },
    };
    struct log_choice c;
    struct err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(log_parse(rows[i].text, &c, &e), 0);
        assert_int_equal(c.items, rows[i].items);
    }
    assert_int_equal(log_parse("trace:cpu_in", &c, &e), 0);
    assert_true(c.events == UINT64_C(1) << TRACE_CPU_IN);
    assert_int_equal(log_parse("all", &c, &e), 0);
    for (const struct log_item_row *r = log_item_rows; r->name != NULL; r++) {
        assert_true(c.items & r->item);
        assert_non_null(r->help);
    }
    assert_true(c.events == UINT64_MAX); /* trace is one of all */
}

static void unknown_items_are_named(void **state)
{
    static const char *const rows[] = {
        "", ",", "int,", "INT", "int,foo", "trace:", "trace:x", "all ", "in t"
    };
    static const char *const others[] = { "pcall", "int,mmu", "page", "op" };
    struct log_choice c;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;

        if (log_parse(rows[i], &c, &e) != -EINVAL) fail_msg("'%s'", rows[i]);
        assert_true(strncmp(e.text, "no ", 3) == 0);
    }
    /* Those that other programs have come with a reason. */
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct err e = ERR_INIT;

        assert_int_equal(log_parse(others[i], &c, &e), -EINVAL);
        assert_non_null(strstr(e.text, "': "));
    }
}

static void only_what_is_chosen_is_written(void **state)
{
    struct log_choice c = { .items = LOG_INT };

    (void)state;
    log_item(LOG_INT, "early");
    log_choose(&c);
    log_item(LOG_INT, "vector %d", 14);
    log_item(LOG_EXEC, "not this");
    log_guest("dev", "nor this");
    log_text(LOG_INT, "one\ntwo\n");
    log_warn("always");
    assert_string_equal(written(), "vector 14\none\ntwo\norrery: always\n");
}

static void control_characters_of_guests_are_not_written(void **state)
{
    struct log_choice c = { .items = LOG_GUEST_ERRORS | LOG_INT };

    (void)state;
    log_choose(&c);
    log_guest("d\x1b", "\x1b[2Jred\x7f%s", "\n%n");
    log_text(LOG_INT, "\ttab\r\n");
    assert_string_equal(written(), "guest: d?: ?[2Jred??%n\n?tab?\n");
}

static void guests_errors_come_to_an_end(void **state)
{
    struct log_choice c = { .items = LOG_GUEST_ERRORS };
    unsigned lines = 0;
    FILE *f;

    (void)state;
    log_choose(&c);
    for (unsigned i = 0; i < 5000; i++)
        log_guest("d", "again");
    f = fopen(path, "rb");
    for (int ch; (ch = fgetc(f)) != EOF;)
        lines += ch == '\n';
    fclose(f);
    assert_int_equal(lines, 2000);
    log_choose(&c); /* chosen anew, counted anew */
    log_guest("d", "once more");
    assert_int_equal(log_open(path), 0);
}

static void events_are_found_by_name_and_pattern(void **state)
{
    static const char slow[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";

    (void)state;
    for (unsigned i = 0; i < TRACE_COUNT; i++) {
        assert_true(trace_match(trace_name(i)) == UINT64_C(1) << i);
        assert_non_null(trace_help(i));
    }
    assert_true(trace_match("cpu_*") ==
                (UINT64_C(1) << TRACE_CPU_IN | UINT64_C(1) << TRACE_CPU_OUT));
    assert_true(trace_match("cpu_?n") == UINT64_C(1) << TRACE_CPU_IN);
    assert_true(trace_match("*set_irq") ==
                (UINT64_C(1) << TRACE_PIC_SET_IRQ |
                 UINT64_C(1) << TRACE_IOAPIC_SET_IRQ));
    assert_true(trace_match("*") == (UINT64_C(1) << TRACE_COUNT) - 1);
    assert_true(trace_match("cpu_") == 0);
    assert_true(trace_match("") == 0);
    assert_true(trace_match(slow) == 0);
}

static void an_event_that_is_on_writes_a_line(void **state)
{
    (void)state;
    trace(TRACE_CPU_IN, "early");
    log_set_events(UINT64_C(1) << TRACE_CPU_IN);
    assert_true(trace_is_on(TRACE_CPU_IN));
    trace(TRACE_CPU_IN, "addr 0x%x", 0x70);
    trace(TRACE_CPU_OUT, "off");
    log_set_events(0);
    trace(TRACE_CPU_IN, "late");
    assert_string_equal(written(), "cpu_in addr 0x70\n");
}

static void a_file_that_cannot_be_made_leaves_the_old_one(void **state)
{
    struct log_choice c = { .items = LOG_INT };

    (void)state;
    log_choose(&c);
    assert_int_equal(log_open("/no/such/dir/log"), -ENOENT);
    log_item(LOG_INT, "still here");
    assert_string_equal(written(), "still here\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(items_are_parsed_as_a_list),
        TEST(unknown_items_are_named),
        TEST(only_what_is_chosen_is_written),
        TEST(control_characters_of_guests_are_not_written),
        TEST(guests_errors_come_to_an_end),
        TEST(events_are_found_by_name_and_pattern),
        TEST(an_event_that_is_on_writes_a_line),
        TEST(a_file_that_cannot_be_made_leaves_the_old_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
