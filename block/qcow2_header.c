/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the header, its extensions, tables of 64-bit entries. */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Positions of the header's fields, "Header" of the specification. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_BYTES = 16,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT = 32,
    AT_L1_ENTRIES = 36,
    AT_L1_OFFSET = 40,
    AT_REFTABLE_OFFSET = 48,
    AT_REFTABLE_CLUSTERS = 56,
    AT_SNAPSHOTS = 60,
    AT_SNAPSHOT_OFFSET = 64,
    AT_INCOMPATIBLE = 72,
    AT_COMPATIBLE = 80,
    AT_AUTOCLEAR = 88,
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_BYTES = 100,
    AT_COMPRESSION = 104,
};

int qcow2_header_read(struct node *file, struct qcow2_header *h, struct err *e)
{
    uint8_t b[QCOW2_HEADER_BYTES] = { 0 };
    uint64_t bytes =
        file->size_bytes < sizeof(b) ? file->size_bytes : sizeof(b);
    int rc;

    if (bytes < QCOW2_HEADER_V2_BYTES)
        return err_set(e, -EINVAL, "%s: too short for a qcow2 image",
                       file->name);
    rc = node_pread(file, 0, b, bytes);
    if (rc < 0)
        return err_set(e, rc, "%s: header cannot be read: %s", file->name,
                       strerror(-rc));
    if (qcow2_be32(b + AT_MAGIC) != QCOW2_MAGIC)
        return err_set(e, -EINVAL, "%s: not a qcow2 image", file->name);
    *h = (struct qcow2_header){
        .version = qcow2_be32(b + AT_VERSION),
        .backing_offset = qcow2_be64(b + AT_BACKING_OFFSET),
        .backing_bytes = qcow2_be32(b + AT_BACKING_BYTES),
        .cluster_bits = qcow2_be32(b + AT_CLUSTER_BITS),
        .size_bytes = qcow2_be64(b + AT_SIZE),
        .crypt_method = qcow2_be32(b + AT_CRYPT),
        .l1_entries = qcow2_be32(b + AT_L1_ENTRIES),
        .l1_offset = qcow2_be64(b + AT_L1_OFFSET),
        .reftable_offset = qcow2_be64(b + AT_REFTABLE_OFFSET),
        .reftable_clusters = qcow2_be32(b + AT_REFTABLE_CLUSTERS),
        .snapshot_count = qcow2_be32(b + AT_SNAPSHOTS),
        .snapshot_offset = qcow2_be64(b + AT_SNAPSHOT_OFFSET),
        .refcount_order = 4,
        .header_bytes = QCOW2_HEADER_V2_BYTES,
    };
    if (h->version < 3) return 0;
    if (bytes < QCOW2_HEADER_V3_BYTES)
        return err_set(e, -EINVAL, "%s: too short for a qcow2 image",
                       file->name);
    h->incompatible = qcow2_be64(b + AT_INCOMPATIBLE);
    h->compatible = qcow2_be64(b + AT_COMPATIBLE);
    h->autoclear = qcow2_be64(b + AT_AUTOCLEAR);
    h->refcount_order = qcow2_be32(b + AT_REFCOUNT_ORDER);
    h->header_bytes = qcow2_be32(b + AT_HEADER_BYTES);
    if (h->header_bytes > AT_COMPRESSION)
        h->compression_type = b[AT_COMPRESSION];
    return 0;
}

static int check_v3(const struct qcow2_header *h, const char *name,
                    struct err *e)
{
    if (h->header_bytes < QCOW2_HEADER_V3_BYTES || h->header_bytes % 8 != 0 ||
        h->header_bytes > UINT32_C(1) << h->cluster_bits)
        return err_set(e, -EINVAL, "%s: header length %u", name,
                       h->header_bytes);
    if (h->refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
        return err_set(e, -EINVAL, "%s: refcount_order %u outside 0..%d", name,
                       h->refcount_order, QCOW2_MAX_REFCOUNT_ORDER);
    if (h->compression_type > QCOW2_ZSTD)
        return err_set(e, -ENOTSUP, "%s: unknown compression type %u", name,
                       h->compression_type);
    if ((h->compression_type != QCOW2_ZLIB) !=
        ((h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != 0))
        return err_set(e, -EINVAL,
                       "%s: compression type %u does not go with the feature "
                       "bits",
                       name, h->compression_type);
    if ((h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) && h->cluster_bits < 14)
        return err_set(e, -EINVAL,
                       "%s: extended L2 entries with clusters below 16 KiB",
                       name);
    return 0;
}

/* Offset is a multiple of the cluster size and what lies there ends below
 * 2^63. */
static bool is_place(uint64_t offset, uint64_t bytes, uint32_t cluster_bits)
{
    return (offset & ((UINT64_C(1) << cluster_bits) - 1)) == 0 &&
           offset <= INT64_MAX && bytes <= (uint64_t)INT64_MAX - offset;
}

static int check_tables(const struct qcow2_header *h, const char *name,
                        struct err *e)
{
    uint64_t l1_bytes = (uint64_t)h->l1_entries * 8;
    uint64_t ref_bytes = (uint64_t)h->reftable_clusters << h->cluster_bits;
    unsigned entry = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3;
    unsigned bits = 2 * h->cluster_bits - entry;
    uint64_t need = (h->size_bytes >> bits) +
                    ((h->size_bytes & ((UINT64_C(1) << bits) - 1)) != 0);

    if (l1_bytes > QCOW2_MAX_L1_BYTES)
        return err_set(e, -EFBIG, "%s: L1 table of %llu bytes is too large",
                       name, (unsigned long long)l1_bytes);
    if (h->l1_entries < need)
        return err_set(e, -EINVAL, "%s: L1 table is too small for the disk",
                       name);
    if (!is_place(h->l1_offset, l1_bytes, h->cluster_bits) ||
        (h->l1_offset == 0 && h->l1_entries > 0))
        return err_set(e, -EINVAL, "%s: L1 table offset is invalid", name);
    if (h->reftable_clusters == 0)
        return err_set(e, -EINVAL, "%s: no refcount table", name);
    if (ref_bytes > QCOW2_MAX_REFTABLE_BYTES)
        return err_set(e, -EFBIG,
                       "%s: refcount table of %llu bytes is too large", name,
                       (unsigned long long)ref_bytes);
    if (!is_place(h->reftable_offset, ref_bytes, h->cluster_bits) ||
        h->reftable_offset == 0)
        return err_set(e, -EINVAL, "%s: refcount table offset is invalid",
                       name);
    if (h->snapshot_count > QCOW2_MAX_SNAPSHOTS)
        return err_set(e, -EFBIG, "%s: %u snapshots are too many", name,
                       h->snapshot_count);
    if (h->snapshot_count > 0 &&
        (!is_place(h->snapshot_offset, 0, h->cluster_bits) ||
         h->snapshot_offset == 0))
        return err_set(e, -EINVAL, "%s: snapshot table offset is invalid",
                       name);
    return 0;
}

static bool do_overlap(uint64_t a, uint64_t a_bytes, uint64_t b,
                       uint64_t b_bytes)
{
    return a_bytes > 0 && b_bytes > 0 && a < b + b_bytes && b < a + a_bytes;
}

int qcow2_header_check(const struct qcow2_header *h, const char *name,
                       struct err *e)
{
    int rc;

    if (h->version != 2 && h->version != 3)
        return err_set(e, -ENOTSUP, "%s: qcow2 version %u is not supported",
                       name, h->version);
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return err_set(e, -EINVAL, "%s: cluster_bits %u outside %d..%d", name,
                       h->cluster_bits, QCOW2_MIN_CLUSTER_BITS,
                       QCOW2_MAX_CLUSTER_BITS);
    if (h->size_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return err_set(e, -EFBIG, "%s: disk size too large", name);
    rc = h->version >= 3 ? check_v3(h, name, e) : 0;
    if (rc == 0) rc = check_tables(h, name, e);
    if (rc < 0) return rc;
    if (h->crypt_method > QCOW2_CRYPT_LUKS)
        return err_set(e, -ENOTSUP, "%s: unknown encryption method %u", name,
                       h->crypt_method);
    if (h->backing_offset != 0 &&
        (h->backing_bytes > QCOW2_MAX_BACKING_NAME ||
         h->backing_offset > (UINT64_C(1) << h->cluster_bits) ||
         h->backing_bytes >
             (UINT64_C(1) << h->cluster_bits) - h->backing_offset))
        return err_set(e, -EINVAL, "%s: backing file name is too long", name);
    if (do_overlap(h->l1_offset, (uint64_t)h->l1_entries * 8,
                   h->reftable_offset,
                   (uint64_t)h->reftable_clusters << h->cluster_bits))
        return err_set(e, -EINVAL, "%s: L1 and refcount table overlap", name);
    return 0;
}

/* ------------------------------------------------------------- writing */

static void encode(const struct qcow2_header *h, uint8_t *b)
{
    qcow2_put32(b + AT_MAGIC, QCOW2_MAGIC);
    qcow2_put32(b + AT_VERSION, h->version);
    qcow2_put64(b + AT_BACKING_OFFSET, h->backing_offset);
    qcow2_put32(b + AT_BACKING_BYTES, h->backing_bytes);
    qcow2_put32(b + AT_CLUSTER_BITS, h->cluster_bits);
    qcow2_put64(b + AT_SIZE, h->size_bytes);
    qcow2_put32(b + AT_CRYPT, h->crypt_method);
    qcow2_put32(b + AT_L1_ENTRIES, h->l1_entries);
    qcow2_put64(b + AT_L1_OFFSET, h->l1_offset);
    qcow2_put64(b + AT_REFTABLE_OFFSET, h->reftable_offset);
    qcow2_put32(b + AT_REFTABLE_CLUSTERS, h->reftable_clusters);
    qcow2_put32(b + AT_SNAPSHOTS, h->snapshot_count);
    qcow2_put64(b + AT_SNAPSHOT_OFFSET, h->snapshot_offset);
    if (h->version < 3) return;
    qcow2_put64(b + AT_INCOMPATIBLE, h->incompatible);
    qcow2_put64(b + AT_COMPATIBLE, h->compatible);
    qcow2_put64(b + AT_AUTOCLEAR, h->autoclear);
    qcow2_put32(b + AT_REFCOUNT_ORDER, h->refcount_order);
    qcow2_put32(b + AT_HEADER_BYTES, h->header_bytes);
    if (h->header_bytes > AT_COMPRESSION)
        b[AT_COMPRESSION] = h->compression_type;
}

/* The header cluster under construction. */
struct head {
    uint8_t *b;
    uint64_t at, cap;
    int rc;
};

static void put(struct head *w, const void *data, uint64_t bytes,
                uint64_t padded)
{
    if (w->rc < 0) return;
    if (padded > w->cap - w->at) {
        w->rc = -ENOSPC;
        return;
    }
    if (bytes > 0) memcpy(w->b + w->at, data, bytes);
    w->at += padded;
}

static void put_ext(struct head *w, uint32_t type, const void *data,
                    uint32_t bytes)
{
    uint8_t b[8];

    qcow2_put32(b, type);
    qcow2_put32(b + 4, bytes);
    put(w, b, sizeof(b), sizeof(b));
    put(w, data, bytes, ((uint64_t)bytes + 7) & ~UINT64_C(7));
}

/* Fields of the header that this code does not know (behind ours) are kept as
 * they are in the file. */
static int keep_unknown(struct node *file, const struct qcow2_header *h,
                        uint8_t *b)
{
    uint64_t end = h->header_bytes;

    if (h->version < 3 || end <= QCOW2_HEADER_BYTES) return 0;
    if (file->size_bytes < end) return 0;
    return node_pread(file, QCOW2_HEADER_BYTES, b + QCOW2_HEADER_BYTES,
                      end - QCOW2_HEADER_BYTES);
}

int qcow2_header_write(struct node *file, struct qcow2_header *h,
                       const struct qcow2_ext *ext, unsigned ext_count,
                       const char *backing, const char *backing_format)
{
    struct head w = { .cap = UINT64_C(1) << h->cluster_bits };

    w.b = calloc(1, w.cap);
    if (w.b == NULL) return -ENOMEM;
    w.rc = keep_unknown(file, h, w.b);
    w.at = h->version < 3 ? QCOW2_HEADER_V2_BYTES : h->header_bytes;
    if (backing != NULL && backing_format != NULL)
        put_ext(&w, QCOW2_EXT_BACKING_FORMAT, backing_format,
                (uint32_t)strlen(backing_format));
    for (unsigned i = 0; i < ext_count; i++)
        put_ext(&w, ext[i].type, ext[i].data, ext[i].bytes);
    put_ext(&w, QCOW2_EXT_END, NULL, 0);
    h->backing_offset = 0;
    h->backing_bytes = 0;
    if (backing != NULL) {
        h->backing_offset = w.at;
        h->backing_bytes = (uint32_t)strlen(backing);
        if (h->backing_bytes > QCOW2_MAX_BACKING_NAME) w.rc = -ENOSPC;
        put(&w, backing, h->backing_bytes, h->backing_bytes);
    }
    encode(h, w.b);
    if (w.rc == 0) w.rc = node_pwrite(file, 0, w.b, w.cap);
    free(w.b);
    return w.rc;
}

/* ---------------------------------------------------------- extensions */

const struct qcow2_ext *qcow2_ext_find(const struct qcow2 *s, uint32_t type)
{
    for (unsigned i = 0; i < s->ext_count; i++) {
        if (s->ext[i].type == type) return &s->ext[i];
    }
    return NULL;
}

static void remove_ext(struct qcow2 *s, uint32_t type)
{
    for (unsigned i = 0; i < s->ext_count; i++) {
        if (s->ext[i].type != type) continue;
        free(s->ext[i].data);
        memmove(&s->ext[i], &s->ext[i + 1],
                (s->ext_count - i - 1) * sizeof(s->ext[0]));
        s->ext_count--;
        return;
    }
}

int qcow2_ext_set(struct qcow2 *s, uint32_t type, const void *data,
                  uint32_t bytes)
{
    struct qcow2_ext *all;
    uint8_t *copy;

    if (data == NULL) {
        remove_ext(s, type);
        return 0;
    }
    copy = malloc(bytes > 0 ? bytes : 1);
    if (copy == NULL) return -ENOMEM;
    memcpy(copy, data, bytes);
    for (unsigned i = 0; i < s->ext_count; i++) {
        if (s->ext[i].type != type) continue;
        free(s->ext[i].data);
        s->ext[i].data = copy;
        s->ext[i].bytes = bytes;
        return 0;
    }
    all = realloc(s->ext, (s->ext_count + 1) * sizeof(*all));
    if (all == NULL) {
        free(copy);
        return -ENOMEM;
    }
    s->ext = all;
    s->ext[s->ext_count++] = (struct qcow2_ext){ type, bytes, copy };
    return 0;
}

static int write_header_of(struct qcow2 *s)
{
    return qcow2_header_write(s->file, &s->h, s->ext, s->ext_count,
                              s->n->backing_file, s->n->backing_format);
}

int qcow2_header_update_locked(struct qcow2 *s)
{
    int rc = write_header_of(s);

    /* The names of features are a help to others, no more. */
    if (rc != -ENOSPC || qcow2_ext_find(s, QCOW2_EXT_FEATURES) == NULL)
        return rc;
    remove_ext(s, QCOW2_EXT_FEATURES);
    return write_header_of(s);
}

/* "Feature name table": type (0 incompatible, 1 compatible, 2 autoclear), bit,
 * name of 46 octets.  The names are what other programs show. */
static const struct feature {
    uint8_t type, bit;
    const char *name;
} features[] = {
    /* clang-format off */
    { 0, 0, "dirty bit" },
    { 0, 1, "corrupt bit" },
    { 0, 2, "external data file" },
    { 0, 3, "compression type" },
    { 0, 4, "extended L2 entries" },
    { 1, 0, "lazy refcounts" },
    { 2, 0, "bitmaps" },
    { 2, 1, "raw external data" },
    /* clang-format on */
};

uint32_t qcow2_feature_names(uint8_t *out)
{
    enum { ENTRY_BYTES = 48, COUNT = sizeof(features) / sizeof(features[0]) };

    memset(out, 0, ENTRY_BYTES * COUNT);
    for (unsigned i = 0; i < COUNT; i++, out += ENTRY_BYTES) {
        out[0] = features[i].type;
        out[1] = features[i].bit;
        memcpy(out + 2, features[i].name, strlen(features[i].name));
    }
    return ENTRY_BYTES * COUNT;
}

/* -------------------------------------------------------------- tables */

int qcow2_table_read(struct qcow2 *s, uint64_t offset, uint32_t entries,
                     uint64_t **out)
{
    size_t bytes = (size_t)entries * sizeof(uint64_t);
    uint64_t *t;
    int rc = 0;

    if (bytes > QCOW2_MAX_L1_BYTES) return -EFBIG;
    t = malloc(bytes > 0 ? bytes : 1);
    if (t == NULL) return -ENOMEM;
    if (bytes > 0) rc = node_pread(s->file, offset, t, bytes);
    if (rc < 0) {
        free(t);
        return rc;
    }
    for (uint32_t i = 0; i < entries; i++)
        t[i] = be64toh(t[i]);
    *out = t;
    return 0;
}

int qcow2_table_write(struct qcow2 *s, uint64_t offset, const uint64_t *table,
                      uint32_t first, uint32_t entries)
{
    size_t bytes = (size_t)entries * sizeof(uint64_t);
    uint64_t *t = malloc(bytes > 0 ? bytes : 1);
    int rc;

    if (t == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < entries; i++)
        t[i] = htobe64(table[first + i]);
    rc = node_pwrite(s->file, offset + (uint64_t)first * 8, t, bytes);
    free(t);
    return rc;
}

int qcow2_check_range(const struct qcow2 *s, uint64_t offset, uint64_t bytes,
                      const char *what, struct err *e)
{
    uint64_t end = s->file->size_bytes;

    if (offset == 0 || (offset & (s->cluster_bytes - 1)) != 0)
        return err_set(e, -EINVAL, "%s: %s: offset %#llx is invalid",
                       s->n->name, what, (unsigned long long)offset);
    if (offset > end || bytes > end - offset)
        return err_set(e, -EINVAL, "%s: %s: lies behind the end of the file",
                       s->n->name, what);
    return 0;
}

void qcow2_compressed_range(uint32_t cluster_bits, uint64_t entry,
                            uint64_t *offset, uint64_t *bytes)
{
    unsigned x = 62 - (cluster_bits - 8); /* "Compressed Clusters Descriptor" */
    uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> x;

    *offset = entry & ((UINT64_C(1) << x) - 1);
    *bytes = (sectors + 1) * BLOCK_SECTOR_BYTES -
             (*offset & (BLOCK_SECTOR_BYTES - 1));
}
