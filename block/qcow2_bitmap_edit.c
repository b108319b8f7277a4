/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent dirty bitmaps: making, removing and merging them, for the image
 * tool.  New data, tables and directory go to new clusters; the write of the
 * header makes them valid, and what they replace is freed after it.  Octets of
 * data: bit i of the bitmap is bit i % 8 of octet i / 8.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "block/qcow2_io.h"
#include "block/qcow2_ops.h"

enum {
    ENTRY_BYTES = 24,
    MAX_NAME = 1023,
    MAX_BITMAPS = 65535,
    TYPE_DIRTY = 1,
    MIN_GRANULARITY = 512,
    DEFAULT_GRANULARITY_MIN = 4096,
    DEFAULT_GRANULARITY_MAX = 65536,
};
#define MAX_BITMAP_BYTES ((uint64_t)512 << 20)
#define TABLE_OFFSET     UINT64_C(0x00fffffffffffe00)

struct bitmap {
    char name[MAX_NAME + 1];
    uint32_t flags;
    unsigned granularity_bits;
    uint64_t table_offset; /* in the file; 0: not there yet */
    uint32_t entries;
    uint8_t *bits; /* NULL: as they are in the file */
    bool is_gone;
};

struct qcow2_bitmap_edit {
    struct qcow2 *s;
    struct bitmap *list;
    unsigned count;
    uint64_t old_directory, old_bytes;
    struct err *e;
};

static uint64_t bits_for(uint64_t size_bytes, unsigned granularity_bits)
{
    uint64_t grain = UINT64_C(1) << granularity_bits;

    return (size_bytes + grain - 1) >> granularity_bits;
}

static uint64_t bitmap_bytes(const struct qcow2 *s, unsigned granularity_bits)
{
    return (bits_for(s->n->size_bytes, granularity_bits) + 7) / 8;
}

static uint32_t entries_for(const struct qcow2 *s, unsigned granularity_bits)
{
    uint64_t bytes = bitmap_bytes(s, granularity_bits);

    return (uint32_t)((bytes + s->cluster_bytes - 1) / s->cluster_bytes);
}

/* --------------------------------------------------------------- reading */

static int load_list(struct qcow2_bitmap_edit *d)
{
    struct qcow2_bitmap b;
    uint64_t at = 0;
    unsigned count = 1;

    qcow2_bitmap_directory(d->s, &d->old_directory, &d->old_bytes);
    while (qcow2_bitmap_next(d->s, &at, &b))
        count++;
    d->list = calloc(count, sizeof(*d->list));
    if (d->list == NULL) return err_set(d->e, -ENOMEM, "out of memory");
    for (at = 0; qcow2_bitmap_next(d->s, &at, &b);) {
        struct bitmap *x = &d->list[d->count++];

        memcpy(x->name, b.name, b.name_bytes);
        x->flags = b.flags;
        x->granularity_bits = b.granularity_bits;
        x->table_offset = b.table_offset;
        x->entries = b.table_entries;
        if (x->entries != entries_for(d->s, x->granularity_bits))
            return err_set(d->e, -EINVAL,
                           "bitmap '%.100s' does not fit the disk's size",
                           x->name);
    }
    return 0;
}

static struct bitmap *find(struct qcow2_bitmap_edit *d, const char *name)
{
    for (unsigned i = 0; i < d->count; i++) {
        if (!d->list[i].is_gone && strcmp(d->list[i].name, name) == 0)
            return &d->list[i];
    }
    return NULL;
}

static int read_table(struct qcow2 *s, const struct bitmap *x, uint64_t **out)
{
    uint64_t *table = calloc(x->entries + 1u, sizeof(*table));
    int rc = table == NULL ? -ENOMEM
                           : node_pread(s->file, x->table_offset, table,
                                        x->entries * sizeof(*table));

    for (uint32_t i = 0; i < x->entries && rc == 0; i++)
        table[i] = qcow2_be64((const uint8_t *)&table[i]);
    if (rc < 0) {
        free(table);
        return rc;
    }
    *out = table;
    return 0;
}

static int load_bits(struct qcow2 *s, struct bitmap *x, struct err *e)
{
    uint64_t bytes = bitmap_bytes(s, x->granularity_bits), *table = NULL;
    int rc;

    if (x->bits != NULL) return 0;
    if (bytes > MAX_BITMAP_BYTES)
        return err_set(e, -EFBIG, "bitmap '%.100s' is too large", x->name);
    x->bits = calloc(1, bytes + s->cluster_bytes);
    if (x->bits == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = x->table_offset == 0 ? 0 : read_table(s, x, &table);
    for (uint32_t i = 0; table != NULL && i < x->entries && rc == 0; i++) {
        uint64_t at = table[i] & TABLE_OFFSET;
        uint8_t *to = x->bits + (uint64_t)i * s->cluster_bytes;

        if (at == 0) {
            memset(to, table[i] & 1 ? 0xff : 0, s->cluster_bytes);
            continue;
        }
        rc = qcow2_check_range(s, at, s->cluster_bytes, "bitmap", e);
        if (rc == 0) rc = node_pread(s->file, at, to, s->cluster_bytes);
    }
    free(table);
    if (rc < 0 && e->code == 0)
        err_set(e, rc, "bitmap '%.100s': %s", x->name, strerror(-rc));
    return rc;
}

/* --------------------------------------------------------------- writing */

static int write_new(struct qcow2_bitmap_edit *d, const void *data,
                     uint64_t bytes, uint64_t *offset)
{
    struct qcow2 *s = d->s;
    uint64_t clusters = (bytes + s->cluster_bytes - 1) / s->cluster_bytes;
    int rc = qcow2_alloc_locked(s, clusters, offset, NULL);

    return rc < 0 ? rc : node_pwrite(s->file, *offset, data, bytes);
}

/* Data and table of one whose bits are in memory; zeros take no cluster. */
static int write_bits(struct qcow2_bitmap_edit *d, struct bitmap *x)
{
    struct qcow2 *s = d->s;
    uint8_t *table = calloc(x->entries + 1u, 8);
    int rc = table == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; i < x->entries && rc == 0; i++) {
        const uint8_t *from = x->bits + (uint64_t)i * s->cluster_bytes;
        uint64_t at = 0;

        if (!buf_is_zero(from, s->cluster_bytes))
            rc = write_new(d, from, s->cluster_bytes, &at);
        qcow2_put64(table + 8u * i, at);
    }
    if (rc == 0)
        rc = write_new(d, table, 8ull * (x->entries > 0 ? x->entries : 1),
                       &x->table_offset);
    free(table);
    return rc;
}

/* References of a bitmap's data and table, which nothing names any more. */
static int free_bits(struct qcow2_bitmap_edit *d, const struct bitmap *x)
{
    struct qcow2 *s = d->s;
    uint64_t *table;
    int rc;

    if (x->table_offset == 0) return 0;
    rc = read_table(s, x, &table);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < x->entries; i++) {
        if (table[i] & TABLE_OFFSET)
            qcow2_free_locked(s, table[i] & TABLE_OFFSET, s->cluster_bytes);
    }
    free(table);
    qcow2_free_locked(s, x->table_offset, 8ull * x->entries);
    return 0;
}

static uint8_t *make_directory(const struct qcow2_bitmap_edit *d,
                               uint64_t *bytes, uint32_t *count)
{
    uint8_t *out = calloc(d->count + 1u, ENTRY_BYTES + MAX_NAME + 8);

    *bytes = 0;
    *count = 0;
    for (unsigned i = 0; out != NULL && i < d->count; i++) {
        const struct bitmap *x = &d->list[i];
        uint8_t *p = out + *bytes;
        size_t name = strlen(x->name);

        if (x->is_gone) continue;
        qcow2_put64(p, x->table_offset);
        qcow2_put32(p + 8, x->entries);
        qcow2_put32(p + 12, x->flags);
        p[16] = TYPE_DIRTY;
        p[17] = (uint8_t)x->granularity_bits;
        p[18] = (uint8_t)(name >> 8);
        p[19] = (uint8_t)name;
        memcpy(p + ENTRY_BYTES, x->name, name);
        *bytes += (ENTRY_BYTES + name + 7) & ~(uint64_t)7;
        ++*count;
    }
    return out;
}

static int write_header(struct qcow2_bitmap_edit *d, uint64_t at,
                        uint64_t bytes, uint32_t count)
{
    struct qcow2 *s = d->s;
    uint8_t ext[24] = { 0 };
    int rc;

    qcow2_put32(ext, count);
    qcow2_put64(ext + 8, bytes);
    qcow2_put64(ext + 16, at);
    rc = qcow2_ext_set(s, QCOW2_EXT_BITMAPS, count > 0 ? ext : NULL,
                       count > 0 ? sizeof(ext) : 0);
    if (count > 0)
        s->h.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    else
        s->h.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
    if (rc == 0) rc = qcow2_flush_locked(s, true);
    if (rc == 0) rc = qcow2_header_update_locked(s);
    return rc == 0 ? node_flush(s->file) : rc;
}

static int store(struct qcow2_bitmap_edit *d, const struct bitmap *before,
                 unsigned before_count)
{
    struct qcow2 *s = d->s;
    uint64_t bytes, at = 0;
    uint32_t count;
    uint8_t *directory;
    int rc = 0;

    for (unsigned i = 0; i < d->count && rc == 0; i++) {
        if (!d->list[i].is_gone && d->list[i].bits != NULL)
            rc = write_bits(d, &d->list[i]);
    }
    directory = make_directory(d, &bytes, &count);
    if (directory == NULL) rc = -ENOMEM;
    if (rc == 0 && count > 0) rc = write_new(d, directory, bytes, &at);
    free(directory);
    if (rc == 0) rc = write_header(d, at, bytes, count);
    /* From here on nothing names what was there before. */
    for (unsigned i = 0; i < before_count && rc == 0; i++) {
        if (d->list[i].is_gone || d->list[i].bits != NULL)
            rc = free_bits(d, &before[i]);
    }
    if (rc == 0 && d->old_bytes > 0)
        qcow2_free_locked(s, d->old_directory, d->old_bytes);
    return rc == 0 ? qcow2_settle_locked(s) : rc;
}

/* --------------------------------------------------------------- actions */

static int add(struct qcow2_bitmap_edit *d, const struct image_bitmap *b)
{
    struct qcow2 *s = d->s;
    uint64_t grain = b->granularity;
    struct bitmap *x, *list;

    if (s->h.version < 3)
        return err_set(d->e, -ENOTSUP,
                       "Cannot store dirty bitmaps in qcow2 v2 files");
    if (b->name[0] == '\0')
        return err_set(d->e, -EINVAL, "Bitmap name cannot be empty");
    if (strlen(b->name) > MAX_NAME)
        return err_set(d->e, -EINVAL,
                       "Name length exceeds maximum (%d characters)", MAX_NAME);
    if (find(d, b->name) != NULL)
        return err_set(d->e, -EEXIST, "Bitmap already exists: %s", b->name);
    if (d->count == MAX_BITMAPS)
        return err_set(d->e, -E2BIG, "Maximum number of bitmaps reached");
    if (grain == 0) {
        grain = s->cluster_bytes;
        if (grain < DEFAULT_GRANULARITY_MIN) grain = DEFAULT_GRANULARITY_MIN;
        if (grain > DEFAULT_GRANULARITY_MAX) grain = DEFAULT_GRANULARITY_MAX;
    }
    list = realloc(d->list, (d->count + 1) * sizeof(*list));
    if (list == NULL) return err_set(d->e, -ENOMEM, "out of memory");
    d->list = list;
    x = &list[d->count++];
    *x = (struct bitmap){ .flags = QCOW2_BITMAP_AUTO };
    strcpy(x->name, b->name);
    x->granularity_bits = (unsigned)__builtin_ctzll(grain);
    x->entries = entries_for(s, x->granularity_bits);
    return load_bits(s, x, d->e);
}

static int usable(const struct bitmap *x, struct err *e)
{
    if (!(x->flags & QCOW2_BITMAP_IN_USE)) return 0;
    return err_set(e, -EINVAL,
                   "Bitmap '%.100s' is inconsistent and cannot be used",
                   x->name);
}

/* Every bit of from, whatever the grain of the two. */
static int merge_bits(const struct qcow2 *s, struct bitmap *to,
                      const struct bitmap *from)
{
    uint64_t bits = bitmap_bytes(s, from->granularity_bits) * 8;
    uint64_t size = s->n->size_bytes;

    for (uint64_t i = 0; i < bits; i++) {
        uint64_t at = i << from->granularity_bits, end;

        if (at >= size) break;
        if (!(from->bits[i / 8] >> (i % 8) & 1)) continue;
        end = at + (UINT64_C(1) << from->granularity_bits);
        if (end > size) end = size;
        for (uint64_t k = at >> to->granularity_bits;
             k <= (end - 1) >> to->granularity_bits; k++)
            to->bits[k / 8] |= (uint8_t)(1u << (k % 8));
    }
    return 0;
}

static int no_bitmap(struct qcow2_bitmap_edit *d, const char *name)
{
    return err_set(d->e, -ENOENT, "Dirty bitmap '%s' not found", name);
}

/* From this image, or from another of the same size. */
static int merge(struct qcow2_bitmap_edit *d, struct bitmap *x,
                 const struct image_bitmap *b)
{
    struct qcow2_bitmap_edit other = { .e = d->e };
    struct bitmap *from;
    int rc = load_bits(d->s, x, d->e);

    if (rc < 0) return rc;
    if (b->source == NULL) {
        from = find(d, b->source_name);
        if (from == NULL) return no_bitmap(d, b->source_name);
        rc = usable(from, d->e);
        if (rc == 0) {
            bool was_loaded = from->bits != NULL;

            rc = load_bits(d->s, from, d->e);
            if (rc == 0) merge_bits(d->s, x, from);
            if (!was_loaded) {
                free(from->bits);
                from->bits = NULL;
            }
        }
        return rc;
    }
    if (b->source->drv != &block_qcow2) return no_bitmap(d, b->source_name);
    if (b->source->size_bytes != d->s->n->size_bytes)
        return err_set(d->e, -EINVAL, "Bitmaps are of different sizes");
    other.s = b->source->s;
    rc = load_list(&other);
    from = rc == 0 ? find(&other, b->source_name) : NULL;
    if (rc == 0 && from == NULL) rc = no_bitmap(d, b->source_name);
    if (rc == 0) rc = usable(from, d->e);
    if (rc == 0) rc = load_bits(other.s, from, d->e);
    if (rc == 0) merge_bits(d->s, x, from);
    for (unsigned i = 0; i < other.count; i++)
        free(other.list[i].bits);
    free(other.list);
    return rc;
}

static int act(struct qcow2_bitmap_edit *d, const struct image_bitmap *b)
{
    struct bitmap *x;
    int rc;

    if (b->action == IMAGE_BITMAP_ADD) return add(d, b);
    x = find(d, b->name);
    if (x == NULL) return no_bitmap(d, b->name);
    if (b->action == IMAGE_BITMAP_REMOVE) {
        x->is_gone = true;
        return 0;
    }
    rc = usable(x, d->e);
    if (rc < 0) return rc;
    switch (b->action) {
    case IMAGE_BITMAP_ENABLE: x->flags |= QCOW2_BITMAP_AUTO; return 0;
    case IMAGE_BITMAP_DISABLE:
        x->flags &= ~(uint32_t)QCOW2_BITMAP_AUTO;
        return 0;
    case IMAGE_BITMAP_CLEAR:
        rc = load_bits(d->s, x, d->e);
        if (rc == 0)
            memset(x->bits, 0, bitmap_bytes(d->s, x->granularity_bits));
        return rc;
    default: return merge(d, x, b);
    }
}

static int edit_locked(struct qcow2_bitmap_edit *d,
                       const struct image_bitmap *b)
{
    struct qcow2 *s = d->s;
    struct bitmap *before = NULL;
    unsigned before_count;
    int rc = load_list(d);

    if (rc < 0) return rc;
    before_count = d->count;
    before = malloc((d->count + 1) * sizeof(*before));
    if (before == NULL) return err_set(d->e, -ENOMEM, "out of memory");
    memcpy(before, d->list, d->count * sizeof(*before));
    rc = act(d, b);
    if (rc == 0) {
        /* No guest data change: no bitmap becomes invalid. */
        s->before_write = NULL;
        rc = qcow2_begin_tables_locked(s);
        if (rc == 0) rc = qcow2_settle_locked(s);
        if (rc == 0) rc = store(d, before, before_count);
        if (rc < 0) err_set(d->e, rc, "%s: %s", s->n->name, strerror(-rc));
    }
    free(before);
    return rc;
}

/* ---------------------------------------------------- another disk size */

static void free_edit(struct qcow2_bitmap_edit *d)
{
    for (unsigned i = 0; i < d->count; i++)
        free(d->list[i].bits);
    free(d->list);
    free(d);
}

/* All bitmaps into memory.  What this program made inconsistent stays so; of
 * others the user is to know. */
static int load_all(struct qcow2_bitmap_edit *d, uint64_t size_bytes)
{
    int rc = load_list(d);

    for (unsigned i = 0; i < d->count && rc == 0; i++) {
        struct bitmap *x = &d->list[i];

        if (!d->s->is_begun) rc = usable(x, d->e);
        if (rc == 0 &&
            bits_for(size_bytes, x->granularity_bits) / 8 > MAX_BITMAP_BYTES)
            rc = err_set(d->e, -EFBIG, "bitmap '%.100s' would be too large",
                         x->name);
        if (rc == 0) rc = load_bits(d->s, x, d->e);
    }
    return rc;
}

/* Flags as they are in the file, with or without "in use". */
static int write_flags(struct qcow2_bitmap_edit *d, uint32_t added)
{
    int rc = 0;

    for (unsigned i = 0; i < d->count && rc == 0; i++)
        rc = qcow2_bitmap_set_flags(d->s, i, d->list[i].flags | added);
    return rc == 0 ? node_flush(d->s->file) : rc;
}

int qcow2_bitmaps_resize_begin_locked(struct qcow2 *s, uint64_t size_bytes,
                                      struct qcow2_bitmap_edit **out,
                                      struct err *e)
{
    struct qcow2_bitmap_edit *d;
    int rc;

    *out = NULL;
    if (s->bitmaps == NULL) return 0;
    d = calloc(1, sizeof(*d));
    if (d == NULL) return err_set(e, -ENOMEM, "out of memory");
    *d = (struct qcow2_bitmap_edit){ .s = s, .e = e };
    rc = load_all(d, size_bytes);
    if (rc < 0) {
        free_edit(d);
        return err_prefix(e, "%s", s->n->name);
    }
    /* No guest data change: no bitmap becomes invalid by that. */
    s->before_write = NULL;
    rc = qcow2_begin_tables_locked(s);
    if (rc == 0) rc = write_flags(d, QCOW2_BITMAP_IN_USE);
    if (rc < 0) {
        free_edit(d);
        return err_set(e, rc, "%s: %s", s->n->name, strerror(-rc));
    }
    *out = d;
    return 0;
}

/* Bits of what the disk gained are clear; of what it lost, too. */
static int fit_bits(const struct qcow2 *s, struct bitmap *x)
{
    uint64_t bits = bits_for(s->n->size_bytes, x->granularity_bits);
    uint32_t entries = entries_for(s, x->granularity_bits);
    uint32_t kept = entries < x->entries ? entries : x->entries;
    uint8_t *fitted = calloc(entries + 1u, s->cluster_bytes);

    if (fitted == NULL) return -ENOMEM;
    memcpy(fitted, x->bits, (uint64_t)kept * s->cluster_bytes);
    free(x->bits);
    x->bits = fitted;
    x->entries = entries;
    for (; bits % 8 != 0; bits++)
        fitted[bits / 8] &= (uint8_t) ~(1u << (bits % 8));
    memset(fitted + bits / 8, 0,
           (entries + 1ull) * s->cluster_bytes - bits / 8);
    return 0;
}

static int store_fitted(struct qcow2_bitmap_edit *d)
{
    struct bitmap *before = malloc((d->count + 1) * sizeof(*before));
    int rc = before == NULL ? -ENOMEM : qcow2_settle_locked(d->s);

    if (before != NULL) memcpy(before, d->list, d->count * sizeof(*before));
    for (unsigned i = 0; i < d->count && rc == 0; i++)
        rc = fit_bits(d->s, &d->list[i]);
    if (rc == 0) rc = store(d, before, d->count);
    free(before);
    return rc;
}

int qcow2_bitmaps_resize_end_locked(struct qcow2_bitmap_edit *d,
                                    bool is_resized, struct err *e)
{
    struct qcow2 *s = d->s;
    int rc;

    /* Which size the disk has is not known after that. */
    if (s->is_corrupt)
        rc = -EIO;
    else
        rc = is_resized ? store_fitted(d) : write_flags(d, 0);
    free_edit(d);
    if (rc < 0)
        return err_set(e, rc, "%s: %s; its bitmaps can no longer be used: %s",
                       s->n->name,
                       is_resized ? "has its new size" : "cannot be resized",
                       strerror(-rc));
    qcow2_bitmaps_close(s);
    return qcow2_bitmaps_open(s, e);
}

bool qcow2_bitmap_nth(struct node *n, unsigned i, struct image_bitmap_info *out)
{
    struct qcow2_bitmap b;
    uint64_t at = 0;

    do {
        if (!qcow2_bitmap_next(n->s, &at, &b)) return false;
    } while (i-- > 0);
    memset(out->name, 0, sizeof(out->name));
    memcpy(out->name, b.name, b.name_bytes);
    out->granularity = UINT64_C(1) << b.granularity_bits;
    out->is_enabled = b.flags & QCOW2_BITMAP_AUTO;
    out->is_broken = b.flags & QCOW2_BITMAP_IN_USE;
    return true;
}

int qcow2_bitmap_edit(struct node *n, const struct image_bitmap *b,
                      struct err *e)
{
    struct qcow2_bitmap_edit d = { .s = n->s, .e = e };
    int rc;

    pthread_mutex_lock(&d.s->lock);
    rc = edit_locked(&d, b);
    for (unsigned i = 0; i < d.count; i++)
        free(d.list[i].bits);
    free(d.list);
    if (rc == 0) {
        qcow2_bitmaps_close(d.s);
        rc = qcow2_bitmaps_open(d.s, e);
        d.s->before_write = NULL;
    }
    pthread_mutex_unlock(&d.s->lock);
    return rc;
}
