/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: monitor core block */
/*
 * Every record of the command tables with arguments it must refuse, in every
 * run state, as a line and as JSON: one clear message, and nothing of the
 * machine or the session changes.  What is wrong is made from the declared
 * parameters, so that a new record is tested the day it is added.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "core/loop/loop.h"
#include "monitor/absent.h"
#include "monitor/command.h"
#include "monitor/monitor.h"
#include "tests/unit/support/monitor_rig.h"

static const enum run_state states[] = {
    RUN_PRELAUNCH, RUN_RUNNING,        RUN_PAUSED,
    RUN_SHUTDOWN,  RUN_INTERNAL_ERROR, RUN_IO_ERROR,
    RUN_DEBUG,     RUN_FINISH_MIGRATE, RUN_POSTMIGRATE,
};
enum { STATES = sizeof(states) / sizeof(states[0]) };

struct snapshot {
    enum run_state state;
    uint64_t sum;
    struct monitor_session session;
    struct cpu cpu;
    bool has_medium;
};

static struct drive *drive_of(struct monitor_rig *r)
{
    return drive_next(vm_service(r->vm, "drives"), NULL);
}

static void take(struct monitor_rig *r, struct snapshot *s)
{
    memset(s, 0, sizeof(*s));
    s->state = vm_run_state(r->vm);
    for (size_t i = 0; i < RIG_RAM_BYTES; i += 8)
        s->sum = s->sum * 31 + *(uint64_t *)(r->ram->host + i);
    s->session = r->s;
    s->session.format = s->session.size = 0; /* /FMT is kept, as in QEMU */
    s->cpu = *r->cpu;
    s->has_medium = drive_blk(drive_of(r)) != NULL;
}

static void same(struct monitor_rig *r, const struct snapshot *before,
                 const char *what)
{
    struct snapshot now;

    while (r->loop != NULL) { /* what was asked for would be done here */
        loop_step(r->loop, 0);
        break;
    }
    take(r, &now);
    if (memcmp(&now, before, sizeof(now)) != 0)
        fail_msg("something changed (state %d, was %d): %s", now.state,
                 before->state, what);
}

static void go_to(struct monitor_rig *r, enum run_state s)
{
    vm_lock(r->vm);
    vm_start_locked(r->vm);
    if (s != RUN_RUNNING) vm_stop_locked(r->vm, s);
    vm_unlock(r->vm);
}

/* ---- lines ---- */

/* One line that says what is wrong, and perhaps where to read more. */
static void refused(struct monitor_rig *r, const char *line)
{
    struct snapshot before;
    char *got, *second;

    take(r, &before);
    got = monitor_rig_answer(r, line);
    if (got[0] == '\0' || got[0] == '\n') fail_msg("no message: %s", line);
    second = strchr(got, '\n');
    if (second == NULL) fail_msg("no line end: %s: %s", line, got);
    if (second[1] != '\0' && strncmp(second + 1, "Try \"help ", 10) != 0)
        fail_msg("more than one line: %s: %s", line, got);
    free(got);
    same(r, &before, line);
}

/* A value a parameter may take. */
static const char *good(const struct param *p)
{
    switch (p->type) {
    case PARAM_SIZE:
    case PARAM_INT: return "0";
    case PARAM_BOOL: return "on";
    case PARAM_KEYS: return "a";
    default: return "x";
    }
}

/* Values it must not take; NULL at the end. */
static const char *bad(const struct param *p, unsigned i)
{
    static const char *const numbers[] = {
        "$nosuch", "99999999999999999999", "(1", "1)2", "1/0", "0x", "''", "%",
        NULL
    };
    static const char *const texts[] = { "\"open", "\"\\q\"", NULL };
    static const char *const bools[] = { "maybe", "\"open", NULL };
    static const char *const sizes[] = { "x",  "-1",     "1Q",     "16777216T",
                                         "''", "\"open", "8192P1", NULL };
    static const char *const keys[] = { "nosuch", "ctrl-nosuch", "0x1ff",
                                        "-",      "\"open",      NULL };

    switch (p->type) {
    case PARAM_INT: return numbers[i];
    case PARAM_SIZE: return sizes[i];
    case PARAM_BOOL: return bools[i];
    case PARAM_KEYS: return keys[i];
    case PARAM_REST: return NULL;
    default: return texts[i];
    }
}

static void try_bad_values(struct monitor_rig *r, const char *name,
                           const struct param *p)
{
    char before[512], line[1024];
    size_t n = (size_t)snprintf(before, sizeof(before), "%s", name);

    for (; p->type != PARAM_END; p++) {
        if (p->is_json_only) continue;
        if (p->type == PARAM_FMT) {
            snprintf(line, sizeof(line), "%s /2q 0 0", name);
            refused(r, line);
            snprintf(line, sizeof(line), "%s /99999999999999999999x 0 0", name);
            refused(r, line);
            continue;
        }
        if (p->flag) {
            if (p->type == PARAM_FLAG) continue;
            snprintf(line, sizeof(line), "%s -%c \"open", name, p->flag);
            refused(r, line);
            continue;
        }
        if (!p->is_optional) refused(r, before); /* missing */
        for (unsigned i = 0; bad(p, i) != NULL; i++) {
            snprintf(line, sizeof(line), "%s %s", before, bad(p, i));
            refused(r, line);
        }
        n += (size_t)snprintf(before + n, sizeof(before) - n, " %s", good(p));
    }
}

static bool takes_rest(const struct param *p)
{
    for (; p->type != PARAM_END; p++) {
        if (p->type == PARAM_REST) return true;
    }
    return false;
}

static void try_lines(struct monitor_rig *r, const struct command *table,
                      const char *prefix)
{
    for (const struct command *c = table; c->name != NULL; c++) {
        struct param p[COMMAND_MAX_PARAMS + 1];
        char name[128], line[512];

        if (c->run == NULL) continue;
        assert_true(params_parse(c->params, p) >= 0);
        snprintf(name, sizeof(name), "%s%.*s", prefix,
                 (int)strcspn(c->name, "|"), c->name);
        if (!takes_rest(p)) {
            snprintf(line, sizeof(line),
                     "%s 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", name);
            refused(r, line);
            snprintf(line, sizeof(line), "%s \"", name);
            refused(r, line);
        }
        try_bad_values(r, name, p);
    }
}

static void every_command_refuses_bad_lines_in_every_state(void **state)
{
    struct monitor_rig *r = *state;

    for (unsigned i = 0; i < STATES; i++) {
        go_to(r, states[i]);
        try_lines(r, command_table, "");
        try_lines(r, info_table, "info ");
    }
}

static void names_of_nothing_are_refused_in_every_state(void **state)
{
    static const char *const lines[] = {
        "nosuch",
        "info nosuch",
        "help nosuch",
        "help info nosuch",
        "eject nosuch",
        "change nosuch /x",
        "change cd0 /no/such/file",
        "change cd0 /no/such/file raw sometimes",
        "info block nosuch",
        "cpu 1",
        "cpu -1",
        "info registers 1",
        "info registers -2",
        "info lapic 1",
        "info lapic -1",
        "dump-guest-memory /no/such/dir/x",
        "dump-guest-memory -p /tmp/x",
        "dump-guest-memory /tmp/x 0",
        "dump-guest-memory /tmp/x 0 -1",
        "dump-guest-memory /tmp/x 0x90000000 16",
        "device_add nosuch",
        "device_add",
        "device_del nosuch",
        "chardev-add null",
        "chardev-add nosuch,id=x",
        "chardev-add file,id=x",
        "chardev-add socket,id=x,path=/x,wait=on",
        "chardev-add null,id=x,colour=red",
        "chardev-change nosuch null",
        "chardev-remove nosuch",
        "chardev-send-break nosuch",
        "ringbuf_read nosuch 1",
        "ringbuf_write nosuch x",
        "mouse_set 9",
        "mouse_set -1",
        "trace-event nosuch on",
        "info trace-events nosuch",
        "log trace:nosuch",
        "log int,,exec",
        "singlestep",
        "expire_password spice now",
        "expire_password vnc now",
        "expire_password vnc soon",
        "eject -q cd0",
        "netdev_add user,id=n",
        "set_link x off",
        "qom-set /machine a b",
        "balloon 64",
        "info usb",
        "info network",
        "help netdev_add",
        "help info virtio",
        "sendkey a 99999",
        "sendkey a -1",
        "mouse_button 8",
        "mouse_move 99999 0",
        "mouse_move 0 0 -99999",
        "boot_set zz",
        "boot_set cc",
        "boot_set 1",
        "log nosuch",
        "log none,nosuch",
        "logfile /no/such/dir/file",
        "screendump /no/such/dir/x.png",
        "screendump /tmp -f jpeg",
        "screendump /tmp/x.ppm nosuch",
        "screendump /no/such/x screen 7",
        "memsave 0 16 /no/such/dir/x",
        "pmemsave 0 16 /no/such/dir/x",
        "memsave 0 0x7fffffffffffffff /dev/null",
        "memsave 0 -1 /dev/null",
        "pmemsave 0 0x7fffffffffffffff /dev/null",
        "gdbserver tcp::99999",
        "gdbserver tcp::4294967297",
        "qom-get /nosuch type",
        "qom-get /machine nosuch",
        "qom-list /nosuch",
        "info qom-tree /nosuch",
        "set_password spice x",
        "set_password vnc x",
        "change vnc address x",
        "change vnc password",
        "gpa2hva 0xfffffffffff0",
        "gpa2hpa 0x90000000",
        "sum 0 0x7fffffffffffffff",
        "system_wakeup",
        "info balloon",
        "info vm-generation-id",
        "x/i",
        "\"stop\"",
        "stop\x01",
        "/x 0",
        "info status | grep",
        "info status | tail x",
    };
    struct monitor_rig *r = *state;

    for (unsigned i = 0; i < STATES; i++) {
        go_to(r, states[i]);
        for (unsigned n = 0; n < sizeof(lines) / sizeof(lines[0]); n++)
            refused(r, lines[n]);
    }
}

static void nothing_is_both_here_and_absent(void **state)
{
    (void)state;
    for (const struct command *c = command_table; c->name != NULL; c++) {
        size_t n = strcspn(c->name, "|");

        if (absent_command(c->name, n) != NULL) fail_msg("%s", c->name);
    }
    for (const struct command *c = info_table; c->name != NULL; c++) {
        if (absent_page(c->name, strlen(c->name)) != NULL)
            fail_msg("info %s", c->name);
    }
}

static void lines_of_any_octets_do_no_harm(void **state)
{
    static const char *const pieces[] = {
        "info ",      "x ",       "/",      "xp ", "$",      "(",
        ")",          "-",        "\"",     "\\",  "|",      "grep ",
        "p ",         "0x",       "99",     " ",   "\t",     "\xff",
        "\x1b",       "%n%s",     "help ",  "-f ", "block ", "tlb ",
        "registers ", "sendkey ", "|head ", "~",   "'",      "/i ",
    };
    struct monitor_rig *r = *state;
    uint32_t seed = 1;

    for (unsigned i = 0; i < 20000; i++) {
        char line[256] = "";

        for (unsigned n = 0; n < 8; n++) {
            seed = seed * 1103515245 + 12345;
            strcat(line,
                   pieces[(seed >> 16) % (sizeof(pieces) / sizeof(pieces[0]))]);
        }
        free(monitor_rig_answer(r, line));
    }
    assert_int_equal(vm_run_state(r->vm), RUN_PRELAUNCH);
}

/* ---- JSON ---- */

static char said[1 << 16];

static void keep(void *arg, const char *text, size_t bytes)
{
    (void)arg;
    if (strstr(text, "\"event\"") != NULL && bytes < 200) return;
    snprintf(said, sizeof(said), "%.*s", (int)bytes, text);
}

static void json_refused(struct monitor_rig *r, struct qmp *q,
                         const char *request, const char *why)
{
    struct snapshot before;

    take(r, &before);
    said[0] = '\0';
    qmp_input(q, (const uint8_t *)request, strlen(request));
    if (strstr(said, "{\"error\": {\"class\": \"") == NULL ||
        strstr(said, why) == NULL || strstr(said, "\"id\": 7") == NULL)
        fail_msg("%s: %s", request, said);
    same(r, &before, request);
}

/* {"execute": NAME, "arguments": {every required one right, then TAIL}} */
static void request_of(const struct command *c, const struct param *p,
                       const struct param *without, const char *tail, char *out,
                       size_t cap)
{
    FILE *f = fmemopen(out, cap, "w");
    struct json_out o = { .f = f };

    json_open(&o, NULL, '{');
    json_str(&o, "execute", c->json);
    json_int(&o, "id", 7);
    json_open(&o, "arguments", '{');
    for (; p->type != PARAM_END; p++) {
        if (p->json[0] == '\0' || p->is_json_optional || p == without) continue;
        if (p->type == PARAM_INT || p->type == PARAM_SIZE) {
            json_int(&o, p->json, 0);
        } else if (p->type == PARAM_BOOL || p->type == PARAM_FLAG) {
            json_bool(&o, p->json, false);
        } else if (p->type == PARAM_ANY || p->type == PARAM_KEYS) {
            json_raw(&o, p->json, "[]");
        } else {
            json_str(&o, p->json, "x");
        }
    }
    if (without != NULL && tail != NULL) json_raw(&o, without->json, tail);
    if (without == NULL) json_raw(&o, "no such", tail);
    json_close(&o, '}');
    json_close(&o, '}');
    fclose(f);
}

static void try_json(struct monitor_rig *r, struct qmp *q,
                     const struct command *c)
{
    struct param p[COMMAND_MAX_PARAMS + 1];
    char text[2048];

    assert_true(params_parse(c->params, p) >= 0);
    if (!c->takes_any) {
        request_of(c, p, NULL, "1", text, sizeof(text));
        json_refused(r, q, text, "'no such' is unexpected");
    }
    for (const struct param *x = p; x->type != PARAM_END; x++) {
        if (x->json[0] == '\0') continue;
        if (!x->is_json_optional) {
            request_of(c, p, x, NULL, text, sizeof(text));
            json_refused(r, q, text, "is missing");
        }
        if (c->takes_any) continue;
        request_of(c, p, x, "{\"a\": [null]}", text, sizeof(text));
        json_refused(r, q, text, "expected: ");
    }
}

static void every_command_refuses_bad_json_in_every_state(void **state)
{
    static const char *const more[] = {
        "{\"execute\":\"cont\",\"arguments\":[],\"id\":7}",
        "{\"execute\":\"cont\",\"id\":7,\"exec-oob\":1}",
        "{\"execute\":[\"cont\"],\"id\":7}",
        "{\"id\":7}",
        "{\"execute\":\"nosuch\",\"id\":7}",
        "{\"execute\":\"chardev-add\",\"id\":7,\"arguments\":{\"id\":\"x\",\"backend\":{\"type\":\"vc\"}}}",
        "{\"execute\":\"chardev-add\",\"id\":7,\"arguments\":{\"id\":\"x\",\"backend\":5}}",
        "{\"execute\":\"ringbuf-read\",\"id\":7,\"arguments\":{\"device\":\"x\",\"size\":1}}",
        "{\"execute\":\"query-balloon\",\"id\":7}",
        "{\"execute\":\"netdev_add\",\"id\":7}",
        "{\"execute\":\"expire_password\",\"id\":7,\"arguments\":{\"protocol\":\"vnc\",\"time\":\"x\"}}",
        "{\"execute\":\"query-cpu-model-expansion\",\"id\":7,\"arguments\":{\"type\":\"full\",\"model\":{\"name\":\"nosuch\"}}}",
        "{\"execute\":\"send-key\",\"id\":7,\"arguments\":{\"keys\":[5]}}",
        "{\"execute\":\"send-key\",\"id\":7,\"arguments\":{\"keys\":[{\"type\":"
        "\"number\",\"data\":-1}]}}",
        "{\"execute\":\"send-key\",\"id\":7,\"arguments\":{\"keys\":[{\"type\":"
        "\"number\",\"data\":\"a\"}]}}",
        "{\"execute\":\"send-key\",\"id\":7,\"arguments\":{\"keys\":[{\"type\":"
        "\"qcode\",\"data\":\"a\",\"x\":1}]}}",
        "{\"execute\":\"chardev-add\",\"id\":7,\"arguments\":{\"id\":\"x\",\"backend\":{\"type\":\"ringbuf\",\"data\":{\"size\":1000}}}}",
        "{\"execute\":\"eject\",\"id\":7,\"arguments\":{}}",
        "{\"execute\":\"eject\",\"id\":7,\"arguments\":{\"device\":\"cd0\","
        "\"id\":\"cd0\"}}",
        "{\"execute\":\"device_add\",\"id\":7,\"arguments\":{\"driver\":5}}",
        "{\"execute\":\"memsave\",\"id\":7,\"arguments\":{\"val\":0,\"size\":1,"
        "\"filename\":\"/tmp/x\",\"cpu-index\":1}}",
        "{\"execute\":\"x-orrery-view\",\"id\":7}",
        "{\"execute\":\"input-send-event\",\"id\":7,\"arguments\":{\"events\":"
        "[{\"type\":\"btn\",\"data\":{\"down\":true,\"button\":\"left\"}},"
        "{\"type\":\"abs\",\"data\":{\"axis\":\"x\",\"value\":40000}}]}}",
    };
    struct monitor_rig *r = *state;
    struct qmp_options o = { .write = keep };
    const struct command *c;
    struct qmp *q = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(qmp_open(r->vm, &o, &q, &e), 0);
    qmp_connected(q, true);
    assert_non_null(strstr(said, "\"QMP\""));
    qmp_input(q, (const uint8_t *)"{\"execute\":\"qmp_capabilities\"}", 30);
    assert_non_null(strstr(said, "{\"return\": {}}"));
    for (unsigned i = 0; i < STATES; i++) {
        go_to(r, states[i]);
        for (c = command_next_json(NULL); c != NULL; c = command_next_json(c)) {
            if (strcmp(c->json, "qmp_capabilities") != 0) try_json(r, q, c);
        }
        for (unsigned n = 0; n < sizeof(more) / sizeof(more[0]); n++)
            json_refused(r, q, more[n], "\"desc\": \"");
    }
    qmp_close(q);
}

/* ---- the rig with a drive ---- */

static int setup(void **state)
{
    struct drive_table *t = NULL;
    struct drive *d = NULL;
    struct monitor_rig *r;
    struct err e = ERR_INIT;

    if (monitor_rig_setup(state) != 0) return -1;
    r = *state;
    if (drive_table_create(r->loop, &t) < 0 ||
        drive_add(t, "cd0", true, true, NULL, &d, &e) < 0)
        return -1;
    vm_set_service(r->vm, "drives", t);
    return 0;
}

static int teardown(void **state)
{
    struct monitor_rig *r = *state;

    drive_table_destroy(vm_service(r->vm, "drives"));
    vm_set_service(r->vm, "drives", NULL);
    return monitor_rig_teardown(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_command_refuses_bad_lines_in_every_state),
        TEST(names_of_nothing_are_refused_in_every_state),
        TEST(nothing_is_both_here_and_absent),
        TEST(lines_of_any_octets_do_no_harm),
        TEST(every_command_refuses_bad_json_in_every_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
