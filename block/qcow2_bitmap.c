/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent dirty bitmaps: kept, not used.  Their clusters stay theirs, and
 * those that should record every write (flag "auto") are marked "in use", which
 * means inconsistent, before the first write: nobody trusts them afterwards.
 * Without the autoclear bit some other program wrote to the image without
 * caring, and the extension means nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/qcow2_io.h"
#include "block/qcow2_ops.h"

enum {
    ENTRY_BYTES = 24, /* of a directory entry, before extra data and name */
    MAX_BITMAPS = 65535,
    MAX_DIRECTORY_BYTES = 64 << 20,
    MAX_TABLE_ENTRIES = 4 << 20,
    MAX_NAME = 1023,
    MAX_GRANULARITY_BITS = 31,
    AT_FLAGS = 12,
};

struct directory {
    uint64_t offset, bytes;
    uint32_t count;
    uint8_t data[];
};

static uint64_t entry_bytes(const uint8_t *at)
{
    uint64_t bytes =
        ENTRY_BYTES + (uint64_t)qcow2_be32(at + 20) + qcow2_be16(at + 18);

    return (bytes + 7) & ~UINT64_C(7);
}

void qcow2_bitmap_directory(const struct qcow2 *s, uint64_t *offset,
                            uint64_t *bytes)
{
    const struct directory *d = s->bitmaps;

    *offset = d == NULL ? 0 : d->offset;
    *bytes = d == NULL ? 0 : d->bytes;
}

bool qcow2_bitmap_next(const struct qcow2 *s, uint64_t *at,
                       struct qcow2_bitmap *out)
{
    const struct directory *d = s->bitmaps;
    const uint8_t *p;

    if (d == NULL || *at >= d->bytes) return false;
    p = d->data + *at;
    out->at = *at;
    out->table_offset = qcow2_be64(p);
    out->table_entries = qcow2_be32(p + 8);
    out->flags = qcow2_be32(p + AT_FLAGS);
    out->type = p[16];
    out->granularity_bits = p[17];
    out->name_bytes = qcow2_be16(p + 18);
    out->name = (const char *)p + ENTRY_BYTES + qcow2_be32(p + 20);
    *at += entry_bytes(p);
    return true;
}

/* ------------------------------------------------------------- opening */

static int check_entries(const struct qcow2 *s, const struct directory *d,
                         struct err *e)
{
    uint64_t at = 0;
    uint32_t count = 0;

    for (; at < d->bytes; count++) {
        const uint8_t *p = d->data + at;
        struct qcow2_bitmap b;
        uint64_t next = at;

        if (d->bytes - at < ENTRY_BYTES || entry_bytes(p) > d->bytes - at)
            return err_set(e, -EINVAL, "bitmap directory is cut off");
        qcow2_bitmap_next(s, &next, &b);
        if (b.name_bytes == 0 || b.name_bytes > MAX_NAME ||
            b.granularity_bits > MAX_GRANULARITY_BITS || b.table_entries == 0 ||
            b.table_entries > MAX_TABLE_ENTRIES)
            return err_set(e, -EINVAL, "bitmap %u has wrong fields", count);
        at = next;
    }
    if (count != d->count)
        return err_set(e, -EINVAL, "bitmap directory has %u entries, not %u",
                       count, d->count);
    return 0;
}

int qcow2_bitmap_set_flags(struct qcow2 *s, unsigned i, uint32_t flags)
{
    struct directory *d = s->bitmaps;
    struct qcow2_bitmap b = { .at = 0 };
    uint64_t at = 0;
    int rc;

    do {
        if (!qcow2_bitmap_next(s, &at, &b)) return -ENOENT;
    } while (i-- > 0);
    if (flags == b.flags) return 0;
    qcow2_put32(d->data + b.at + AT_FLAGS, flags);
    rc = node_pwrite(s->file, d->offset + b.at + AT_FLAGS,
                     d->data + b.at + AT_FLAGS, 4);
    if (rc < 0) qcow2_put32(d->data + b.at + AT_FLAGS, b.flags);
    return rc;
}

/* Mark the bitmaps that would have to record what is written now. */
static int invalidate(struct qcow2 *s)
{
    struct qcow2_bitmap b;
    uint64_t at = 0;
    bool has_changed = false;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && qcow2_bitmap_next(s, &at, &b); i++) {
        if (!(b.flags & QCOW2_BITMAP_AUTO) || (b.flags & QCOW2_BITMAP_IN_USE))
            continue;
        rc = qcow2_bitmap_set_flags(s, i, b.flags | QCOW2_BITMAP_IN_USE);
        has_changed = true;
    }
    if (rc == 0 && has_changed) rc = node_flush(s->file);
    return rc;
}

int qcow2_bitmaps_open(struct qcow2 *s, struct err *e)
{
    const struct qcow2_ext *x = qcow2_ext_find(s, QCOW2_EXT_BITMAPS);
    struct directory *d;
    uint64_t offset, bytes;
    uint32_t count;
    int rc;

    if (x == NULL || !(s->h.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) return 0;
    if (x->bytes != 24)
        return err_set(e, -EINVAL, "%s: bitmaps extension of %u octets",
                       s->n->name, x->bytes);
    count = qcow2_be32(x->data);
    bytes = qcow2_be64(x->data + 8);
    offset = qcow2_be64(x->data + 16);
    if (count == 0 || count > MAX_BITMAPS || bytes == 0 ||
        bytes > MAX_DIRECTORY_BYTES)
        return err_set(e, -EINVAL, "%s: bitmap directory too large",
                       s->n->name);
    rc = qcow2_check_range(s, offset, bytes, "bitmap directory", e);
    if (rc < 0) return rc;
    d = malloc(sizeof(*d) + bytes);
    if (d == NULL) return err_set(e, -ENOMEM, "out of memory");
    *d = (struct directory){ .offset = offset, .bytes = bytes, .count = count };
    rc = node_pread(s->file, offset, d->data, bytes);
    if (rc < 0) err_set(e, rc, "bitmap directory: %s", strerror(-rc));
    s->bitmaps = d;
    if (rc == 0) rc = check_entries(s, d, e);
    if (rc < 0) {
        err_prefix(e, "%s", s->n->name);
        qcow2_bitmaps_close(s);
        return rc;
    }
    s->before_write = invalidate;
    return 0;
}

void qcow2_bitmaps_close(struct qcow2 *s)
{
    free(s->bitmaps);
    s->bitmaps = NULL;
    s->before_write = NULL;
}

/* ------------------------------------------------------------ describing */

void qcow2_bitmaps_describe(const struct qcow2 *s, struct info_sink *out)
{
    struct qcow2_bitmap b;
    uint64_t at = 0;

    if (s->bitmaps == NULL) return;
    out->begin(out->arg, "bitmaps", true);
    while (qcow2_bitmap_next(s, &at, &b)) {
        char name[MAX_NAME + 1];

        snprintf(name, sizeof(name), "%.*s", (int)b.name_bytes, b.name);
        out->begin(out->arg, NULL, false);
        out->begin(out->arg, "flags", true);
        if (b.flags & QCOW2_BITMAP_IN_USE) out->text(out->arg, NULL, "in-use");
        if (b.flags & QCOW2_BITMAP_AUTO) out->text(out->arg, NULL, "auto");
        out->end(out->arg);
        out->text(out->arg, "name", name);
        out->number(out->arg, "granularity", UINT64_C(1) << b.granularity_bits);
        out->end(out->arg);
    }
    out->end(out->arg);
}
