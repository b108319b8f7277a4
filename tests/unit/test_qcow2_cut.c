/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/*
 * qcow2 and power cuts: a random sequence of operations on a file that
 * remembers all writes and flushes is cut somewhere; of what was written after
 * the last flush nothing, everything, or a random part is there, sectors torn.
 * The image must be consistent by qemu-img's judgement (leaks are allowed), and
 * each 4 KiB block hold what it held at the last flush that was acknowledged,
 * or something written later.  The same without some of the flushes must fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"
#include "tests/unit/support/qcow2_rig.h"

enum {
    BLOCK = 4096,
    BLOCKS = 1024,
    MAX_HISTORY = 64,
    OPS = 400,
    CUTS = 25,
    MUTANT_CUTS = 6,
    SECTOR = 512,
};

/* What was written to a block, and at which event. */
struct history {
    unsigned count;
    struct {
        size_t event;
        uint64_t value;
    } v[MAX_HISTORY];
};
struct scene {
    struct q2_mem *m;
    struct history block[BLOCKS];
    uint8_t *base; /* the file before */
    uint64_t base_bytes;
    size_t ack[OPS]; /* events at which flushes were acknowledged */
    unsigned acks;
    uint32_t seed;
    uint64_t next_value;
};

static void note(struct scene *s, unsigned block, uint64_t value)
{
    struct history *h = &s->block[block];

    if (h->count == MAX_HISTORY) fail_msg("too many writes to one block");
    h->v[h->count].event = s->m->events;
    h->v[h->count++].value = value;
}

static void fill(uint8_t *p, uint64_t value)
{
    for (unsigned i = 0; i < BLOCK; i += 8)
        memcpy(p + i, &value, 8);
}

static int write_blocks(struct scene *s, struct node *n, unsigned first,
                        unsigned count)
{
    uint8_t buf[16 * BLOCK];

    for (unsigned i = 0; i < count; i++) {
        uint64_t value = ++s->next_value;

        note(s, first + i, value);
        fill(buf + i * BLOCK, value);
    }
    return node_pwrite(n, (uint64_t)first * BLOCK, buf, count * BLOCK);
}

static int clear_blocks(struct scene *s, struct node *n, unsigned first,
                        unsigned count, unsigned how)
{
    uint64_t unit = n->align_bytes < BLOCK ? BLOCK : n->align_bytes;
    unsigned per = (unsigned)(unit / BLOCK);

    if (how == 0) {
        for (unsigned i = 0; i < count; i++)
            note(s, first + i, 0);
        return node_zero(n, (uint64_t)first * BLOCK, (uint64_t)count * BLOCK,
                         NODE_REQ_UNMAP);
    }
    first = first / per * per;
    for (unsigned i = 0; i < per; i++)
        note(s, first + i, 0);
    return node_discard(n, (uint64_t)first * BLOCK, unit);
}

static void act(struct scene *s, struct node *n, unsigned ops)
{
    for (unsigned i = 0; i < ops; i++) {
        unsigned first = q2_random(&s->seed) % BLOCKS;
        unsigned count = 1 + q2_random(&s->seed) % 12;
        unsigned op = q2_random(&s->seed) % 12;
        int rc;

        if (count > BLOCKS - first) count = BLOCKS - first;
        if (op < 7) {
            rc = write_blocks(s, n, first, op < 4 ? 1 : count);
        } else if (op < 10) {
            rc = clear_blocks(s, n, first, count, op % 2);
        } else {
            rc = node_flush(n);
            if (rc == 0) s->ack[s->acks++] = s->m->events;
        }
        assert_int_equal(rc, 0);
    }
}

/* -------------------------------------------------------------- the cut */

/* Parts of writes reach the disk sector by sector. */
static void apply(struct scene *s, uint8_t *disk, uint64_t *bytes,
                  const struct q2_event *e, unsigned percent)
{
    for (uint64_t at = 0; at < e->bytes;) {
        uint64_t end = (e->offset + at) / SECTOR * SECTOR + SECTOR - e->offset;

        if (end > e->bytes) end = e->bytes;
        if (q2_random(&s->seed) % 100 < percent) {
            memcpy(disk + e->offset + at, e->data + at, end - at);
            if (e->offset + end > *bytes) *bytes = e->offset + end;
        }
        at = end;
    }
}

/* The file after a cut behind `cut` events; flush events are believed if
 * number % modulus != dropped. */
static struct q2_mem *cut_file(struct scene *s, size_t cut, unsigned dropped)
{
    struct q2_mem *d = calloc(1, sizeof(*d));
    unsigned percent[] = { 0, 100, 50, 90, 10 };
    unsigned chance = percent[q2_random(&s->seed) % 5], flush = 0;
    size_t safe = 0;

    d->cap = s->m->cap;
    d->data = calloc(1, d->cap);
    memcpy(d->data, s->base, s->base_bytes);
    d->bytes = s->base_bytes;
    for (size_t i = 0; i < cut; i++) {
        if (s->m->event[i].kind != Q2_FLUSH) continue;
        if (dropped < 2 && flush++ % 2 == dropped) continue;
        safe = i;
    }
    for (size_t i = 0; i < cut; i++) {
        const struct q2_event *e = &s->m->event[i];
        bool is_torn = q2_random(&s->seed) % 2;
        unsigned here = chance;

        if (e->kind != Q2_WRITE) continue;
        if (i >= safe && !is_torn)
            here = q2_random(&s->seed) % 100 < chance ? 100 : 0;
        apply(s, d->data, &d->bytes, e, i < safe ? 100 : here);
    }
    return d;
}

static bool may_be(const struct scene *s, unsigned block, size_t cut,
                   uint64_t value)
{
    const struct history *h = &s->block[block];
    size_t safe = 0;
    bool is_allowed = value == 0;

    for (unsigned i = 0; i < s->acks; i++) {
        if (s->ack[i] <= cut) safe = s->ack[i];
    }
    for (unsigned i = 0; i < h->count; i++) {
        if (h->v[i].event < safe)
            is_allowed = h->v[i].value == value; /* the last one counts */
        else if (h->v[i].event <= cut && h->v[i].value == value)
            return true;
    }
    return is_allowed;
}

/* Number of blocks that hold what they must not. */
static unsigned wrong_blocks(struct scene *s, struct q2_mem *d, size_t cut)
{
    struct err e = ERR_INIT;
    struct node *n;
    unsigned wrong = 0;

    if (q2_mem_open(d, true, &n, &e) < 0) return BLOCKS;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t v[BLOCK / 8];
        int rc = node_pread(n, (uint64_t)i * BLOCK, v, BLOCK);

        for (unsigned k = 1; rc == 0 && k < BLOCK / 8; k++) {
            /* A write that was not flushed may be torn. */
            if (k > 1 && v[k] == v[k - 1]) continue;
            if (!may_be(s, i, cut, v[k])) rc = -EIO;
        }
        if (rc < 0) wrong++;
    }
    node_unref(n);
    return wrong;
}

/* Opening a lazy image that was not closed for writing puts its refcounts in
 * order. */
static bool repair_lazy(struct q2_mem *m)
{
    struct err e = ERR_INIT;
    struct node *n;

    if (m->data[7] < 3 || !(m->data[79] & QCOW2_INCOMPAT_DIRTY)) return true;
    if (q2_mem_open(m, false, &n, &e) < 0) return false;
    node_unref(n);
    return !(m->data[79] & QCOW2_INCOMPAT_DIRTY);
}

/* Cuts that went wrong. */
static unsigned play_cuts(struct q2_rig *r, struct scene *s, unsigned cuts,
                          unsigned dropped)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < cuts; i++) {
        size_t cut = q2_random(&s->seed) % (s->m->events + 1);
        struct q2_mem *d = cut_file(s, cut, dropped);
        bool is_wrong = wrong_blocks(s, d, cut) > 0;

        if (!is_wrong) {
            int rc;

            is_wrong = !repair_lazy(d);
            q2_write_file(r->image, d->data, d->bytes);
            rc = q2_run(r, "qemu-img check -q -f qcow2 image >/dev/null 2>&1");
            is_wrong |= rc != 0 && rc != 3;
        }
        failed += is_wrong;
        q2_mem_free(d);
    }
    return failed;
}

static void run_scene(struct q2_rig *r, const char *make, uint32_t seed,
                      unsigned failed[3])
{
    struct scene *s = calloc(1, sizeof(*s));
    struct err e = ERR_INIT;
    struct node *n;

    assert_int_equal(q2_run(r, "%s", make), 0);
    s->seed = seed;
    s->m = q2_mem_load(r->image);
    s->base_bytes = s->m->bytes;
    s->base = malloc(s->base_bytes);
    memcpy(s->base, s->m->data, s->base_bytes);
    if (q2_mem_open(s->m, false, &n, &e) < 0) fail_msg("%s", e.text);
    act(s, n, OPS);
    node_unref(n);
    for (unsigned dropped = 0; dropped < 3; dropped++)
        failed[dropped] +=
            play_cuts(r, s, dropped < 2 ? MUTANT_CUTS : CUTS, dropped);
    q2_mem_free(s->m);
    free(s->base);
    free(s);
}

#define CREATE "qemu-img create -q -f qcow2 image 4M -o "

static void a_power_cut_leaks_clusters_at_worst(void **state)
{
    static const char *const images[] = {
        CREATE "cluster_size=4k",
        CREATE "cluster_size=64k",
        CREATE "cluster_size=512",
        CREATE "cluster_size=512,refcount_bits=64",
        CREATE "compat=0.10,cluster_size=1k",
        CREATE "extended_l2=on,cluster_size=16k",
        CREATE "lazy_refcounts=on,cluster_size=4k",
        CREATE "cluster_size=8k && qemu-io -c 'write -z 0 4M' image >/dev/null",
        CREATE "cluster_size=4k && qemu-io -c 'write -P 0 0 4M' image "
               ">/dev/null && qemu-img snapshot -c a image",
    };
    unsigned failed[3] = { 0, 0, 0 };

    q2_need_qemu();
    for (unsigned i = 0; i < sizeof(images) / sizeof(images[0]); i++)
        run_scene(*state, images[i], i + 1, failed);
    print_message("%u cuts; failed: %u, without half of the flushes: %u, %u\n",
                  CUTS * (unsigned)(sizeof(images) / sizeof(images[0])),
                  failed[2], failed[0], failed[1]);
    assert_int_equal(failed[2], 0);
    assert_true(failed[0] > 0);
    assert_true(failed[1] > 0);
}

/* The peer refuses a bitmap that does not fit the disk and is not marked. */
static void a_power_cut_in_a_resize_keeps_bitmaps_and_size_in_step(void **state)
{
    static const struct {
        const char *make;
        uint64_t to;
    } cases[] = {
        { CREATE "cluster_size=512", 9 << 20 },
        { CREATE "cluster_size=512", 1 << 20 },
        { CREATE "cluster_size=4k", 300 << 20 },
    };
    struct q2_rig *r = *state;
    unsigned cuts = 0;

    q2_need_qemu();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene *s = calloc(1, sizeof(*s));
        struct err e = ERR_INIT;
        struct node *n;

        assert_int_equal(q2_run(r,
                                "%s && qemu-img bitmap --add -g 512 image a && "
                                "qemu-img bitmap --add --disable image b && "
                                "qemu-io -c 'write 0 4M' image >/dev/null",
                                cases[i].make),
                         0);
        s->seed = i + 1;
        s->m = q2_mem_load(r->image);
        s->base_bytes = s->m->bytes;
        s->base = malloc(s->base_bytes);
        memcpy(s->base, s->m->data, s->base_bytes);
        if (q2_mem_open(s->m, false, &n, &e) < 0) fail_msg("%s", e.text);
        if (node_truncate(n, cases[i].to, "off", true, &e) < 0)
            fail_msg("%s", e.text);
        node_unref(n);
        for (size_t cut = i % Q2_STEP; cut <= s->m->events; cut += Q2_STEP) {
            struct q2_mem *d = cut_file(s, cut, 2);
            int rc;

            q2_write_file(r->image, d->data, d->bytes);
            q2_mem_free(d);
            rc = q2_run(r, "qemu-img info -f qcow2 image >/dev/null && "
                           "qemu-img check -q -f qcow2 image >/dev/null 2>&1");
            if (rc != 0 && rc != 3) fail_msg("cut %zu: status %d", cut, rc);
            cuts++;
        }
        q2_mem_free(s->m);
        free(s->base);
        free(s);
    }
    print_message("%u cuts\n", cuts);
    assert_true(cuts > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_leaks_clusters_at_worst),
        cmocka_unit_test(
            a_power_cut_in_a_resize_keeps_bitmaps_and_size_in_step),
    };

    return cmocka_run_group_tests_name("qcow2_cut", tests, q2_rig_open,
                                       q2_rig_close);
}
