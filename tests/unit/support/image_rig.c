/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/image_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ir_create(const struct q2_rig *r, const char *format, const char *options,
              uint64_t size_bytes, const struct secret_table *secrets,
              struct err *e)
{
    const char *pairs[64] = { NULL };
    char text[512];
    struct image_create c = { .file = r->image,
                              .size_bytes = size_bytes,
                              .has_size = size_bytes != UINT64_MAX,
                              .pairs = pairs,
                              .secrets = secrets };
    unsigned count = 0;

    snprintf(text, sizeof(text), "%s", options);
    for (char *word = strtok(text, ","); word != NULL && count < 62;
         word = strtok(NULL, ",")) {
        char *value = strchr(word, '=');

        assert_non_null(value);
        *value = '\0';
        pairs[count++] = word;
        pairs[count++] = value + 1;
    }
    if (!c.has_size) c.size_bytes = 0;
    return image_create(format, &c, e);
}

void ir_make(const struct q2_rig *r, const char *options, uint64_t size_bytes)
{
    struct err e = ERR_INIT;

    if (ir_create(r, "qcow2", options, size_bytes, NULL, &e) < 0)
        fail_msg("create %s: %s", options, e.text);
}

static void print_line(void *arg, const char *text)
{
    char *lines = arg;
    size_t used = strlen(lines);

    if (used < 1500) snprintf(lines + used, 2000 - used, "  %s\n", text);
}

void ir_fix(const struct q2_rig *r, unsigned fix, struct image_check *c)
{
    const struct node_options o = { .is_readonly = fix == 0,
                                    .is_no_backing = true,
                                    .is_check = true };
    static char lines[2000];
    struct err e = ERR_INIT;
    struct node *n = q2_open(r->image, &o);
    int rc;

    lines[0] = '\0';
    *c = (struct image_check){ .fix = fix, .line = print_line, .arg = lines };
    rc = n->drv->check(n, c, &e);
    node_unref(n);
    if (rc < 0) fail_msg("check: %s", e.text);
}

void ir_check(const struct q2_rig *r, uint64_t corruptions, uint64_t leaks)
{
    struct image_check c;

    ir_fix(r, 0, &c);
    if (c.corruptions == corruptions && c.leaks == leaks && c.check_errors == 0)
        return;
    fail_msg("check: %d corruptions, %d leaks, %d errors, expected %d, %d\n%s",
             (int)c.corruptions, (int)c.leaks, (int)c.check_errors,
             (int)corruptions, (int)leaks, (const char *)c.arg);
}

void ir_qemu_check(const struct q2_rig *r, int status)
{
    int rc = q2_run(r, "qemu-img check -f qcow2 image >check.txt 2>&1");

    if (rc == status) return;
    q2_run(r, "tail -5 check.txt");
    fail_msg("qemu-img check: status %d, expected %d", rc, status);
}

void ir_both_check(const struct q2_rig *r)
{
    ir_qemu_check(r, 0);
    ir_check(r, 0, 0);
}

static void pattern(uint8_t *p, uint64_t offset, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++) {
        uint64_t at = offset + i;

        p[i] = (uint8_t)(1 + seed * 31 + at * 5 + (at >> 9) + (at >> 16));
    }
}

void ir_write(struct node *n, uint64_t offset, size_t bytes, unsigned seed)
{
    uint8_t *p = malloc(bytes);

    pattern(p, offset, bytes, seed);
    assert_int_equal(node_pwrite(n, offset, p, bytes), 0);
    free(p);
}

void ir_expect(struct node *n, uint64_t offset, size_t bytes, unsigned seed)
{
    uint8_t *p = malloc(bytes), *is = malloc(bytes);

    pattern(p, offset, bytes, seed);
    assert_int_equal(node_pread(n, offset, is, bytes), 0);
    for (size_t i = 0; i < bytes; i++) {
        if (p[i] != is[i])
            fail_msg("octet %llu: %#x, expected %#x",
                     (unsigned long long)(offset + i), is[i], p[i]);
    }
    free(p);
    free(is);
}

void ir_expect_zero(struct node *n, uint64_t offset, size_t bytes)
{
    uint8_t *p = malloc(bytes);

    memset(p, 1, bytes);
    assert_int_equal(node_pread(n, offset, p, bytes), 0);
    assert_true(buf_is_zero(p, bytes));
    free(p);
}

const char *ir_line(const struct q2_rig *r, const char *fmt, ...)
{
    static char line[512];
    char command[1024];
    int at = snprintf(command, sizeof(command), "cd %s && ", r->dir);
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(command + at, sizeof(command) - (size_t)at, fmt, ap);
    va_end(ap);
    f = popen(command, "r");
    assert_non_null(f);
    line[0] = '\0';
    if (fgets(line, sizeof(line), f) != NULL) line[strcspn(line, "\n")] = '\0';
    pclose(f);
    return line;
}
