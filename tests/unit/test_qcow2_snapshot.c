/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* qcow2 snapshots, VM state and bitmaps; qemu-img and qemu-io as peers, and
 * power cuts at every write of every operation. */
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

#include "block/qcow2_ops.h"
#include "tests/unit/support/image_rig.h"

enum { MiB = 1 << 20, KiB = 1 << 10 };

static void create(struct node *n, const char *name, char id[128])
{
    struct image_snapshot sn = { .date_sec = 1700000000,
                                 .date_nsec = 5000,
                                 .vm_clock_ns = 3723004000000,
                                 .icount = UINT64_MAX };
    struct err e = ERR_INIT;

    snprintf(sn.name, sizeof(sn.name), "%s", name);
    if (n->drv->snapshot_create(n, &sn, &e) < 0) fail_msg("%s", e.text);
    if (id != NULL) strcpy(id, sn.id);
}

static void apply(struct node *n, const char *name)
{
    struct image_snapshot sn;
    struct err e = ERR_INIT;

    assert_int_equal(image_snapshot_find(n, name, &sn, &e), 0);
    if (n->drv->snapshot_apply(n, sn.id, &e) < 0) fail_msg("%s", e.text);
}

static void delete (struct node *n, const char *name)
{
    struct image_snapshot sn;
    struct err e = ERR_INIT;

    assert_int_equal(image_snapshot_find(n, name, &sn, &e), 0);
    if (n->drv->snapshot_delete(n, sn.id, &e) < 0) fail_msg("%s", e.text);
}

/* The disk of a snapshot, shown read-only. */
static struct node *show(const struct q2_rig *r, const char *name)
{
    const struct node_options o = { .is_readonly = true };
    struct node *n = q2_open(r->image, &o);
    struct image_snapshot sn;
    struct err e = ERR_INIT;

    assert_int_equal(image_snapshot_find(n, name, &sn, &e), 0);
    if (n->drv->snapshot_show(n, sn.id, &e) < 0) fail_msg("%s", e.text);
    return n;
}

static const char *const kinds[] = {
    "",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=2M",
    "refcount_bits=4",
    "refcount_bits=64",
    "extended_l2=on",
    "lazy_refcounts=on",
    "compression_type=zstd",
    "preallocation=metadata",
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void snapshots_keep_the_disk_as_it_was(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < KINDS; i++) {
        struct node *n;

        ir_make(r, kinds[i], 6 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, 2 * MiB, 1);
        ir_write(n, 5 * MiB, 100 * KiB, 1);
        create(n, "one", NULL);
        ir_write(n, MiB, 300 * KiB, 2);
        ir_write(n, 3 * MiB, 300 * KiB, 2);
        create(n, "two", NULL);
        ir_write(n, 0, 1000, 3);
        ir_expect(n, MiB, 300 * KiB, 2);
        node_unref(n);
        ir_both_check(r);

        n = show(r, "one");
        ir_expect(n, 0, 2 * MiB, 1);
        ir_expect_zero(n, 3 * MiB, 300 * KiB);
        node_unref(n);
        assert_int_equal(q2_run(r, "qemu-img convert -f qcow2 -l one -O raw "
                                   "image one.raw && qemu-img convert -f "
                                   "qcow2 -l two -O raw image two.raw"),
                         0);
        n = q2_open(r->image, NULL);
        apply(n, "one");
        ir_expect(n, 0, 2 * MiB, 1);
        node_unref(n);
        ir_both_check(r);
        assert_int_equal(q2_run(r, "qemu-img compare -q -f qcow2 -F raw image "
                                   "one.raw"),
                         0);
        n = q2_open(r->image, NULL);
        ir_write(n, 4 * MiB, 5000, 4);
        apply(n, "two");
        node_unref(n);
        ir_both_check(r);
        assert_int_equal(q2_run(r, "qemu-img compare -q -f qcow2 -F raw image "
                                   "two.raw"),
                         0);
        n = q2_open(r->image, NULL);
        delete (n, "one");
        ir_expect(n, MiB, 300 * KiB, 2);
        node_unref(n);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        delete (n, "two");
        ir_write(n, 0, 6 * MiB, 5);
        ir_expect(n, 0, 6 * MiB, 5);
        node_unref(n);
        ir_both_check(r);
    }
}

static void qemu_and_we_take_turns_with_snapshots(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < KINDS; i++) {
        struct node *n;

        ir_make(r, kinds[i], 6 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, 2 * MiB, 1);
        create(n, "ours", NULL);
        ir_write(n, MiB / 2, MiB, 2);
        node_unref(n);
        assert_int_equal(q2_run(r, "qemu-img snapshot -c theirs image"), 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_write(n, 2 * MiB, MiB, 3);
        node_unref(n);
        assert_int_equal(q2_run(r, "qemu-img snapshot -a ours image"), 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_expect(n, 0, 2 * MiB, 1);
        ir_write(n, 0, 100, 7);
        apply(n, "theirs");
        ir_expect(n, MiB / 2, MiB, 2);
        node_unref(n);
        ir_both_check(r);
        assert_int_equal(q2_run(r, "qemu-img snapshot -d ours image"), 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        create(n, "again", NULL);
        delete (n, "theirs");
        node_unref(n);
        ir_both_check(r);
        assert_int_equal(q2_run(r, "qemu-img snapshot -d again image"), 0);
        ir_both_check(r);
    }
}

static void compressed_clusters_are_shared(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(q2_run(r, "yes 0123456789 | head -c 3000000 >raw && "
                               "qemu-img convert -c -f raw -O qcow2 raw image"),
                     0);
    n = q2_open(r->image, NULL);
    create(n, "a", NULL);
    ir_write(n, 100, 200000, 1);
    create(n, "b", NULL);
    node_unref(n);
    ir_both_check(r);
    n = q2_open(r->image, NULL);
    apply(n, "a");
    delete (n, "b");
    node_unref(n);
    ir_both_check(r);
    assert_int_equal(q2_run(r, "truncate -s 3000320 raw; qemu-img compare -q "
                               "-f qcow2 -F raw image raw"),
                     0);
}

static void the_list_is_what_qemu_shows(void **state)
{
    const struct q2_rig *r = *state;
    struct image_snapshot *all;
    struct err e = ERR_INIT;
    struct node *n;
    unsigned count;

    q2_need_qemu();
    ir_make(r, "", 2 * MiB);
    n = q2_open(r->image, NULL);
    create(n, "first", NULL);
    create(n, "second one", NULL);
    node_unref(n);
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -c vm-state"),
        "2");
    assert_string_equal(ir_line(r, "TZ=UTC qemu-img snapshot -l image | sed -n "
                                   "3p | tr -s ' ' | sed 's/ $//'"),
                        "1 first 0 B 2023-11-14 22:13:20 01:02:03.004");
    assert_int_equal(q2_run(r, "qemu-img snapshot -c third image"), 0);
    n = q2_open(r->image, NULL);
    assert_int_equal(n->drv->snapshot_list(n, &all, &count, &e), 0);
    assert_int_equal(count, 3);
    assert_string_equal(all[1].name, "second one");
    assert_string_equal(all[2].id, "3");
    assert_string_equal(all[2].name, "third");
    assert_int_equal(all[2].disk_bytes, 2 * MiB);
    assert_int_equal(all[0].vm_clock_ns, 3723004000000);
    free(all);
    assert_int_equal(n->drv->snapshot_delete(n, "9", &e), -ENOENT);
    node_unref(n);
}

static void snapshots_of_another_size_resize_the_disk(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    ir_make(r, "cluster_size=4k", 2 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, MiB, MiB, 1);
    create(n, "small", NULL);
    node_unref(n);
    assert_int_equal(q2_run(r, "qemu-img resize -q image 40M"), 0);
    n = q2_open(r->image, NULL);
    ir_write(n, 30 * MiB, MiB, 2);
    create(n, "large", NULL);
    apply(n, "small");
    assert_int_equal(n->size_bytes, 2 * MiB);
    node_unref(n);
    ir_both_check(r);
    n = q2_open(r->image, NULL);
    apply(n, "large");
    assert_int_equal(n->size_bytes, 40 * MiB);
    ir_expect(n, 30 * MiB, MiB, 2);
    ir_expect(n, MiB, MiB, 1);
    node_unref(n);
    ir_both_check(r);
}

static void refcounts_too_narrow_refuse_and_change_nothing(void **state)
{
    const struct q2_rig *r = *state;
    struct image_snapshot sn = { .name = "x" };
    struct err e = ERR_INIT;
    struct node *n;

    ir_make(r, "refcount_bits=1", 2 * MiB);
    n = q2_open(r->image, NULL);
    ir_write(n, 0, MiB, 1);
    assert_int_equal(n->drv->snapshot_create(n, &sn, &e), -ERANGE);
    assert_non_null(strstr(e.text, "refcounts of 1 bits"));
    ir_write(n, 0, MiB, 2);
    node_unref(n);
    ir_check(r, 0, 0);
}

/* ------------------------------------------------------------- VM state */

static void vmwrite(struct node *n, const char *id, uint64_t pos, size_t bytes,
                    unsigned seed)
{
    uint8_t *p = malloc(bytes);
    struct iovec iov[2] = { { p, bytes / 3 },
                            { p + bytes / 3, bytes - bytes / 3 } };

    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)((pos + i) * seed + (pos + i) / 251);
    assert_int_equal(n->drv->vmstate_write(n, id, pos, iov, 2, bytes), 0);
    free(p);
}

static void vmexpect(struct node *n, const char *id, uint64_t pos, size_t bytes,
                     unsigned seed)
{
    uint8_t *p = calloc(1, bytes);
    struct iovec iov = { p, bytes };

    assert_int_equal(n->drv->vmstate_read(n, id, pos, &iov, 1, bytes), 0);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(p[i], (uint8_t)((pos + i) * seed + (pos + i) / 251));
    free(p);
}

static void vm_state_is_written_while_the_disk_changes(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < KINDS; i++) {
        struct err e = ERR_INIT;
        struct node *n;
        char id[128];

        ir_make(r, kinds[i], 3 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, MiB, 1);
        create(n, "vm", id);
        for (unsigned k = 0; k < 30; k++) {
            vmwrite(n, id, k * 50001, 50001, 9);
            ir_write(n, k * 60000, 60000, k + 2);
        }
        assert_int_equal(n->drv->vmstate_end(n, id, 30 * 50001, &e), 0);
        vmexpect(n, id, 100, 300000, 9);
        node_unref(n);
        ir_both_check(r);
        assert_string_equal(
            ir_line(r, "qemu-img info --output json image | grep -o "
                       "'vm-state-size\": [0-9]*'"),
            "vm-state-size\": 1500030");
        n = show(r, "vm");
        ir_expect(n, 0, MiB, 1);
        vmexpect(n, id, 0, 30 * 50001, 9);
        node_unref(n);
        /* Its disk part is for QEMU to apply, and to delete. */
        assert_int_equal(q2_run(r, "qemu-img snapshot -a vm image"), 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        ir_expect(n, 0, MiB, 1);
        vmexpect(n, id, 5, 30 * 50001 - 5, 9);
        create(n, "next", NULL);
        node_unref(n);
        ir_both_check(r);
        assert_int_equal(q2_run(r, "qemu-img snapshot -d vm image"), 0);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        delete (n, "next");
        node_unref(n);
        ir_both_check(r);
    }
}

/* Of many clusters at once, over some that are there already. */
static void vm_state_is_written_in_large_pieces(void **state)
{
    const struct q2_rig *r = *state;

    q2_need_qemu();
    for (unsigned i = 0; i < KINDS; i++) {
        struct err e = ERR_INIT;
        struct node *n;
        char id[128];

        ir_make(r, kinds[i], 3 * MiB);
        n = q2_open(r->image, NULL);
        create(n, "vm", id);
        vmwrite(n, id, MiB + 77, 300000, 9);
        ir_write(n, 0, MiB, 1);
        vmwrite(n, id, 0, 6 * MiB + 1000, 9);
        vmwrite(n, id, 5 * MiB + 1, 9 * MiB, 9);
        assert_int_equal(n->drv->vmstate_end(n, id, 14 * MiB + 1, &e), 0);
        node_unref(n);
        ir_both_check(r);
        n = q2_open(r->image, NULL);
        vmexpect(n, id, 0, 14 * MiB + 1, 9);
        ir_expect(n, 0, MiB, 1);
        node_unref(n);
    }
}

static void vm_state_given_up_leaves_nothing(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;
    char id[128];

    ir_make(r, "", 3 * MiB);
    n = q2_open(r->image, NULL);
    create(n, "vm", id);
    vmwrite(n, id, 0, MiB, 3);
    delete (n, "vm");
    assert_int_equal(
        n->drv->vmstate_write(n, id, 0, &(struct iovec){ id, 10 }, 1, 10),
        -ENOENT);
    create(n, "other", id);
    vmwrite(n, id, 0, MiB, 3);
    node_unref(n);
    ir_both_check(r);
}

static double ms_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void a_snapshot_of_10_gib_is_quick(void **state)
{
    const struct q2_rig *r = *state;
    double start, create_ms, delete_ms;
    struct node *n;

    ir_make(r, "preallocation=metadata", (uint64_t)10 << 30);
    n = q2_open(r->image, NULL);
    start = ms_now();
    create(n, "a", NULL);
    create_ms = ms_now() - start;
    start = ms_now();
    delete (n, "a");
    delete_ms = ms_now() - start;
    node_unref(n);
    print_message("create %.1f ms, delete %.1f ms\n", create_ms, delete_ms);
    ir_check(r, 0, 0);
    assert_true(create_ms < 1000); /* a loaded computer; a few ms else */
}

/* ------------------------------------------------------------ power cuts */

/* The file as it is after the first `whole` events of the operation. */
static void replay(const struct q2_rig *r, const uint8_t *base,
                   uint64_t base_bytes, const struct q2_mem *m, size_t whole,
                   uint32_t *seed)
{
    uint64_t cap = m->cap, bytes = base_bytes;
    uint8_t *data = calloc(1, cap);
    size_t synced = 0;

    memcpy(data, base, base_bytes);
    for (size_t i = 0; i < whole; i++) {
        if (m->event[i].kind == Q2_FLUSH) synced = i;
    }
    for (size_t i = 0; i < whole; i++) {
        const struct q2_event *v = &m->event[i];

        if (v->kind == Q2_FLUSH) continue;
        /* What no flush followed may be lost. */
        if (seed != NULL && i > synced && q2_random(seed) % 2) continue;
        memcpy(data + v->offset, v->data, v->bytes);
        if (v->offset + v->bytes > bytes) bytes = v->offset + v->bytes;
    }
    q2_write_file(r->image, data, bytes);
    free(data);
}

enum {
    OP_CREATE,
    OP_DELETE,
    OP_APPLY,
    OP_VMSTATE,
    OP_SHRINK,
    OP_GROW,
    OP_REFCOUNTS,
    OPS
};

static void do_op(struct node *n, int op)
{
    static const char *const narrow[] = { "refcount_bits", "4", NULL };
    struct err e = ERR_INIT;
    char id[128];

    switch (op) {
    case OP_CREATE: create(n, "new", NULL); break;
    case OP_DELETE: delete (n, "old"); break;
    case OP_APPLY: apply(n, "old"); break;
    case OP_SHRINK:
        assert_int_equal(node_truncate(n, MiB + 4096, "off", true, &e), 0);
        break;
    case OP_GROW:
        assert_int_equal(node_truncate(n, 9 * MiB, "off", true, &e), 0);
        break;
    case OP_REFCOUNTS:
        assert_int_equal(
            n->drv->amend(n, &(struct image_create){ .pairs = narrow }, &e), 0);
        break;
    default:
        create(n, "new", id);
        vmwrite(n, id, 0, 200000, 3);
        assert_int_equal(n->drv->vmstate_end(n, id, 200000, &e), 0);
        break;
    }
}

static bool may_leak(int op)
{
    return op == OP_VMSTATE || op == OP_GROW;
}

/* Whatever was lost: no corruption, and what is listed is whole. */
static void judge_cut(const struct q2_rig *r, int op)
{
    struct image_check c;
    struct image_snapshot *all;
    struct err e = ERR_INIT;
    struct node *n;
    unsigned count;

    ir_fix(r, 0, &c);
    if (c.corruptions != 0 || c.check_errors != 0)
        fail_msg("corruptions after a power cut:\n%s", (char *)c.arg);
    if (!may_leak(op)) assert_int_equal(c.leaks, 0);
    n = q2_open(r->image, &(struct node_options){ .is_readonly = true });
    assert_int_equal(n->drv->snapshot_list(n, &all, &count, &e), 0);
    if (op != OP_APPLY) ir_expect(n, 0, MiB, 2);
    node_unref(n);
    for (unsigned i = 0; i < count; i++) {
        n = show(r, all[i].name);
        ir_expect(n, 0, MiB, strcmp(all[i].name, "old") == 0 ? 1 : 2);
        if (all[i].vm_state_bytes > 0) vmexpect(n, all[i].id, 0, 200000, 3);
        node_unref(n);
    }
    if (op != OP_DELETE) assert_true(count >= 1);
    free(all);
}

static void power_cuts_leave_the_image_before_or_after(void **state)
{
    const struct q2_rig *r = *state;
    uint32_t seed = 1;
    unsigned cuts = 0, qemu = 0;

    for (int op = 0; op < OPS; op++) {
        struct err e = ERR_INIT;
        struct q2_mem *m;
        struct node *n;
        uint8_t *base;
        uint64_t base_bytes;

        ir_make(r, "cluster_size=4k", 2 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, MiB, 1);
        create(n, "old", NULL);
        ir_write(n, 0, MiB, 2);
        node_unref(n);
        m = q2_mem_load(r->image);
        base_bytes = m->bytes;
        base = malloc(base_bytes);
        memcpy(base, m->data, base_bytes);
        assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
        do_op(n, op);
        node_unref(n);
        for (size_t k = 0; k <= m->events; k++) {
            replay(r, base, base_bytes, m, k, NULL);
            judge_cut(r, op);
            for (int again = 0; again < 3; again++) {
                replay(r, base, base_bytes, m, k, &seed);
                judge_cut(r, op);
                cuts++;
            }
            if (k % 8 == 0 && system("command -v qemu-img >/dev/null") == 0) {
                int rc = q2_run(r, "qemu-img check -q -f qcow2 image "
                                   ">/dev/null 2>&1");

                assert_true(rc == 0 || (rc == 3 && may_leak(op)));
                qemu++;
            }
        }
        free(base);
        q2_mem_free(m);
    }
    print_message("%u power cuts, %u judged by qemu-img too\n", cuts, qemu);
}

static void failing_writes_leave_the_image_as_it_was(void **state)
{
    const struct q2_rig *r = *state;
    unsigned failures = 0;

    for (unsigned long nth = 1; nth < 200; nth++) {
        struct image_snapshot sn = { .name = "new" };
        struct err e = ERR_INIT;
        struct image_check c;
        struct q2_mem *m;
        struct node *n;
        int rc;

        ir_make(r, "cluster_size=4k", 2 * MiB);
        n = q2_open(r->image, NULL);
        ir_write(n, 0, MiB, 1);
        node_unref(n);
        m = q2_mem_load(r->image);
        assert_int_equal(q2_mem_open(m, false, &n, &e), 0);
        m->fail_write = m->writes + nth;
        m->fail_error = ENOSPC;
        rc = n->drv->snapshot_create(n, &sn, &e);
        ir_expect(n, 0, MiB, 1);
        node_unref(n);
        q2_write_file(r->image, m->data, m->bytes);
        q2_mem_free(m);
        ir_fix(r, 0, &c);
        if (c.corruptions + c.check_errors + c.leaks != 0)
            fail_msg("write %lu failed:\n%s", nth, (char *)c.arg);
        if (rc == 0) break;
        assert_true(e.text[0] != '\0');
        failures++;
    }
    assert_true(failures > 4 && failures < 198);
    print_message("%u failing writes\n", failures);
}

/* --------------------------------------------------------------- bitmaps */

static void bitmaps_are_kept_and_marked_when_we_write(void **state)
{
    const struct q2_rig *r = *state;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(
        q2_run(r, "qemu-img create -q -f qcow2 image 8M && qemu-io -f qcow2 -c "
                  "'write 0 1M' image >/dev/null && qemu-img bitmap --add "
                  "image live && qemu-img bitmap --add --disable image still "
                  "&& qemu-io -f qcow2 -c 'write 2M 1M' image >/dev/null"),
        0);
    ir_both_check(r);
    n = q2_open(r->image, &(struct node_options){ .is_readonly = true });
    node_unref(n);
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -c in-use"), "0");
    n = q2_open(r->image, NULL);
    ir_write(n, 4 * MiB, MiB, 1);
    create(n, "s", NULL);
    node_unref(n);
    ir_both_check(r);
    /* The one that should have recorded the write is of no use now. */
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -c in-use"), "1");
    assert_int_equal(q2_run(r, "qemu-img bitmap --remove image live && "
                               "qemu-img bitmap --remove image still"),
                     0);
    ir_both_check(r);
}

static void a_write_behind_a_resize_marks_bitmaps(void **state)
{
    const struct q2_rig *r = *state;
    struct err e = ERR_INIT;
    struct node *n;

    q2_need_qemu();
    assert_int_equal(
        q2_run(r, "qemu-img create -q -f qcow2 image 8M && qemu-img bitmap "
                  "--add image live && qemu-io -f qcow2 -c 'write 0 1M' image "
                  ">/dev/null"),
        0);
    n = q2_open(r->image, NULL);
    assert_int_equal(node_truncate(n, 12 * MiB, "off", false, &e), 0);
    assert_string_equal(
        ir_line(r, "qemu-img info -U --output json image | grep -c in-use"),
        "0");
    ir_write(n, 0, MiB, 1); /* in place */
    assert_int_equal(node_flush(n), 0);
    assert_string_equal(
        ir_line(r, "qemu-img info -U --output json image | grep -c in-use"),
        "1");
    /* What this program marked does not stop it. */
    assert_int_equal(node_truncate(n, 6 * MiB, "off", true, &e), 0);
    node_unref(n);
    ir_both_check(r);
    assert_string_equal(
        ir_line(r, "qemu-img info --output json image | grep -c in-use"), "1");
    n = q2_open(r->image, NULL);
    assert_int_equal(node_truncate(n, 7 * MiB, "off", false, &e), -EINVAL);
    assert_non_null(strstr(e.text, "inconsistent"));
    assert_int_equal(n->size_bytes, 6 * MiB);
    node_unref(n);
    ir_both_check(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, q2_rig_open, q2_rig_close)
        T(snapshots_keep_the_disk_as_it_was),
        T(qemu_and_we_take_turns_with_snapshots),
        T(compressed_clusters_are_shared),
        T(the_list_is_what_qemu_shows),
        T(snapshots_of_another_size_resize_the_disk),
        T(refcounts_too_narrow_refuse_and_change_nothing),
        T(vm_state_is_written_while_the_disk_changes),
        T(vm_state_is_written_in_large_pieces),
        T(vm_state_given_up_leaves_nothing),
        T(a_snapshot_of_10_gib_is_quick),
        T(power_cuts_leave_the_image_before_or_after),
        T(failing_writes_leave_the_image_as_it_was),
        T(bitmaps_are_kept_and_marked_when_we_write),
        T(a_write_behind_a_resize_marks_bitmaps),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
