/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img compare.  Exit status: 0 alike, 1 not, 2 cannot be opened, 3 and 4
 * cannot be read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/img/img.h"

enum {
    ALIKE = 0,
    DIFFERENT = 1,
    CANNOT_OPEN = 2,
    CANNOT_MAP = 3,
    CANNOT_READ = 4,
    COMPARE_BYTES = 1 << 20,
};

struct compare {
    const struct img *m;
    struct node *n[2];
    uint8_t *buf[2];
    struct img_work work;
    uint64_t total;
    bool is_strict;
};

static int read_error(const struct compare *c, int side, uint64_t offset,
                      int rc)
{
    img_error("Error while reading offset %llu of %s: %s",
              (unsigned long long)offset, c->n[side]->name, strerror(-rc));
    return CANNOT_READ;
}

static void print_mismatch(const struct compare *c, uint64_t offset)
{
    img_say(c->m, "Content mismatch at offset %llu!\n",
            (unsigned long long)(offset - offset % BLOCK_SECTOR_BYTES));
}

/* First octet that differs; bytes if none does. */
static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        size_t here = bytes - at < 4096 ? bytes - at : 4096;

        if (memcmp(a + at, b + at, here) != 0) break;
        at += here;
    }
    while (at < bytes && a[at] == b[at])
        at++;
    return at;
}

/* A range that one side (or both) has data in. */
static int compare_data(struct compare *c, uint64_t offset, uint64_t bytes,
                        const bool *is_zero)
{
    while (bytes > 0) {
        size_t here = bytes < COMPARE_BYTES ? (size_t)bytes : COMPARE_BYTES;
        size_t at;

        for (int i = 0; i < 2; i++) {
            int rc = 0;

            if (is_zero[i])
                memset(c->buf[i], 0, here);
            else
                rc = node_pread(c->n[i], offset, c->buf[i], here);
            if (rc < 0) return read_error(c, i, offset, rc);
        }
        at = first_difference(c->buf[0], c->buf[1], here);
        if (at < here) {
            print_mismatch(c, offset + at);
            return DIFFERENT;
        }
        offset += here;
        bytes -= here;
        img_work_set(&c->work, offset, c->total);
        if (atomic_load(&c->work.is_cancelled)) return CANNOT_READ;
    }
    return ALIKE;
}

static int map_error(const struct compare *c, int side, int rc)
{
    img_error("Sector allocation test failed for %s: %s", c->n[side]->name,
              strerror(-rc));
    return CANNOT_MAP;
}

/* The part that both have. */
static int compare_common(struct compare *c, uint64_t end)
{
    uint64_t at = 0;

    while (at < end) {
        struct img_extent x[2];
        uint64_t bytes = end - at;
        bool is_zero[2];
        int rc;

        if (atomic_load(&c->work.is_cancelled)) return CANNOT_READ;
        for (int i = 0; i < 2; i++) {
            rc = img_status(c->n[i], NULL, at, bytes, &x[i]);
            if (rc < 0) return map_error(c, i, rc);
            bytes = x[i].e.bytes;
            is_zero[i] = x[i].e.flags & EXTENT_ZERO;
        }
        if (c->is_strict &&
            (is_zero[0] != is_zero[1] || x[0].is_present != x[1].is_present)) {
            img_say(c->m, "Strict mode: Offset %llu block status mismatch!\n",
                    (unsigned long long)at);
            return DIFFERENT;
        }
        if (!is_zero[0] || !is_zero[1]) {
            rc = compare_data(c, at, bytes, is_zero);
            if (rc != ALIKE) return rc;
        }
        at += bytes;
        img_work_set(&c->work, at, c->total);
    }
    return ALIKE;
}

/* What the longer one has beyond the end of the other must be zeros. */
static int compare_rest(struct compare *c, int side, uint64_t at)
{
    uint64_t end = c->n[side]->size_bytes;
    static const bool is_zero[2][2] = { { false, true }, { true, false } };

    while (at < end) {
        struct img_extent x;
        int rc = img_status(c->n[side], NULL, at, end - at, &x);

        if (rc < 0) return map_error(c, side, rc);
        if (!(x.e.flags & EXTENT_ZERO)) {
            rc = compare_data(c, at, x.e.bytes, is_zero[side]);
            if (rc != ALIKE) return rc;
        }
        at += x.e.bytes;
        img_work_set(&c->work, at, c->total);
    }
    return ALIKE;
}

static int compare(struct compare *c)
{
    uint64_t a = c->n[0]->size_bytes, b = c->n[1]->size_bytes;
    int rc;

    c->total = a > b ? a : b;
    if (c->is_strict && a != b) {
        img_say(c->m, "Strict mode: Image size mismatch!\n");
        return DIFFERENT;
    }
    rc = compare_common(c, a < b ? a : b);
    if (rc == ALIKE && a != b) {
        img_say(c->m, "Warning: Image size mismatch!\n");
        rc = compare_rest(c, a > b ? 0 : 1, a < b ? a : b);
    }
    if (rc == ALIKE) img_say(c->m, "Images are identical.\n");
    return rc;
}

static int open_both(struct compare *c)
{
    const struct img *m = c->m;
    unsigned flags = img_flags(m) | IMG_SOURCE_CACHE;

    for (int i = 0; i < 2; i++) {
        if (img_open(m, m->operands[i], img_get(m, i == 0 ? 'f' : 'F'),
                     img_get(m, 'T'), flags, &c->n[i]) < 0)
            return CANNOT_OPEN;
        c->buf[i] = malloc(COMPARE_BYTES);
        if (c->buf[i] == NULL) return CANNOT_READ;
    }
    return ALIKE;
}

int img_compare(struct img *m)
{
    struct compare c = { .m = m, .is_strict = img_has(m, 's') };
    int rc;

    if (img_check_cache(img_get(m, 'T'), IMG_SOURCE_CACHE) < 0)
        return CANNOT_OPEN;
    if (m->operand_count != 2)
        return img_usage_error("Expecting two image file names");
    rc = open_both(&c);
    if (rc == ALIKE &&
        img_work_begin(&c.work, img_has(m, 'p') && !m->is_quiet) < 0)
        rc = CANNOT_READ;
    else if (rc == ALIKE) {
        rc = compare(&c);
        img_work_end(&c.work, rc == ALIKE);
    }
    for (int i = 0; i < 2; i++) {
        node_unref(c.n[i]);
        free(c.buf[i]);
    }
    return rc;
}
