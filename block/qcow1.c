/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "qcow", version 1 of QEMU's copy-on-write images, read only; not
 * encrypted ones.  Source: "The QCOW Image Format" (M. McLoughlin).
 * Two levels of tables of offsets, all big end first; an L2 entry with its
 * topmost bit set is a cluster of raw deflate.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/map.h"

enum {
    QCOW1_HEADER_BYTES = 48,
    QCOW1_MAX_NAME = 1023,
    QCOW1_WBITS = -12, /* raw deflate, window of 4 KiB */
};
#define QCOW1_MAGIC  0x514649fbu
#define QCOW1_PACKED (1ull << 63)

struct qcow1 {
    struct map map;
    uint64_t l1_at;
    uint32_t cluster_bits, l2_bits;
};

static int qcow1_probe(const uint8_t *head, size_t bytes)
{
    return bytes >= QCOW1_HEADER_BYTES && get_be32(head) == QCOW1_MAGIC &&
                   get_be32(head + 4) == 1
               ? 100
               : 0;
}

static void set_packed(const struct qcow1 *q, struct node *n, uint64_t entry,
                       uint32_t skip, struct map_range *out)
{
    unsigned shift = 63 - q->cluster_bits;

    out->kind = MAP_PACKED;
    out->file_offset = entry & ((1ull << shift) - 1);
    out->packed_bytes = (entry >> shift) & ((1u << q->cluster_bits) - 1);
    out->cluster_bytes = 1u << q->cluster_bits;
    out->skip_bytes = skip;
    (void)n;
}

static int qcow1_find(struct node *n, uint64_t offset, struct map_range *out)
{
    struct qcow1 *q = n->s;
    unsigned l1_shift = q->cluster_bits + q->l2_bits;
    uint32_t skip = (uint32_t)(offset & ((1u << q->cluster_bits) - 1));
    uint64_t l2_index = (offset >> q->cluster_bits) & ((1u << q->l2_bits) - 1);
    uint8_t raw[8];
    uint64_t entry;
    int rc = map_table(&q->map, n->child, q->l1_at + 8 * (offset >> l1_shift),
                       raw, sizeof(raw));

    if (rc < 0) return rc;
    out->file = n->child;
    entry = get_be64(raw);
    if (entry == 0) {
        out->kind = MAP_BACKING;
        out->bytes = (1ull << l1_shift) - (offset & ((1ull << l1_shift) - 1));
        return 0;
    }
    if (entry > INT64_MAX - 8 * l2_index) return -EIO;
    rc = map_table(&q->map, n->child, entry + 8 * l2_index, raw, sizeof(raw));
    if (rc < 0) return rc;
    entry = get_be64(raw);
    out->bytes = (1u << q->cluster_bits) - skip;
    if (entry == 0) {
        out->kind = MAP_BACKING;
    } else if (entry & QCOW1_PACKED) {
        set_packed(q, n, entry, skip, out);
    } else {
        if (entry > (uint64_t)INT64_MAX - skip) return -EIO;
        out->kind = MAP_DATA;
        out->file_offset = entry + skip;
    }
    return 0;
}

static int qcow1_unpack(struct node *n, const struct map_range *r, uint8_t *buf)
{
    uint8_t *in = malloc(r->packed_bytes + 1);
    int rc;

    if (in == NULL) return -ENOMEM;
    rc = node_pread(n->child, r->file_offset, in, (size_t)r->packed_bytes);
    if (rc == 0)
        rc = map_inflate(QCOW1_WBITS, in, (size_t)r->packed_bytes, buf,
                         r->cluster_bytes);
    free(in);
    return rc;
}

static const struct map_ops qcow1_ops = { .find = qcow1_find,
                                          .unpack = qcow1_unpack };

static int read_backing_name(struct node *n, const uint8_t *h, struct err *e)
{
    uint64_t at = get_be64(h + 8);
    uint32_t bytes = get_be32(h + 16);
    int rc;

    if (at == 0 || bytes == 0) return 0;
    if (bytes > QCOW1_MAX_NAME)
        return err_set(e, -EINVAL, "%s: name of the backing file is too long",
                       n->name);
    n->backing_file = calloc(1, bytes + 1);
    if (n->backing_file == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = at > n->child->size_bytes
             ? -EIO
             : node_pread(n->child, at, n->backing_file, bytes);
    if (rc == 0) return 0;
    free(n->backing_file);
    n->backing_file = NULL;
    return err_set(e, rc, "%s: name of the backing file lies past the end",
                   n->name);
}

static int check_header(const struct node *n, const uint8_t *h, struct err *e)
{
    uint64_t size = get_be64(h + 24), l1_at = get_be64(h + 40), entries;
    unsigned cluster = h[32], l2 = h[33];

    if (get_be32(h) != QCOW1_MAGIC || get_be32(h + 4) != 1)
        return err_set(e, -EINVAL, "%s: no qcow image of version 1", n->name);
    if (cluster < 9 || cluster > 16)
        return err_set(e, -EINVAL, "%s: cluster_bits %u outside 9..16", n->name,
                       cluster);
    if (l2 < 6 || l2 > 13)
        return err_set(e, -EINVAL, "%s: l2_bits %u outside 6..13", n->name, l2);
    if (get_be32(h + 36) != 0)
        return err_set(e, -ENOTSUP,
                       "%s: encrypted qcow images are not supported", n->name);
    if (size < 1 || size > INT64_MAX - 512)
        return err_set(e, -EINVAL, "%s: disk size %llu is out of range",
                       n->name, (unsigned long long)size);
    entries = ((size - 1) >> (cluster + l2)) + 1;
    if (entries > (32u << 20) / 8)
        return err_set(e, -EFBIG,
                       "%s: disk size %llu is too large for its "
                       "tables",
                       n->name, (unsigned long long)size);
    if (l1_at > n->child->size_bytes ||
        8 * entries > n->child->size_bytes - l1_at)
        return err_set(e, -EINVAL,
                       "%s: L1 table lies past the end of the file "
                       "(truncated?)",
                       n->name);
    return 0;
}

static int qcow1_open(struct node *n, const struct node_options *o,
                      struct err *e)
{
    uint8_t h[QCOW1_HEADER_BYTES];
    struct qcow1 *q;
    int rc = n->child->size_bytes < sizeof(h)
                 ? -EINVAL
                 : node_pread(n->child, 0, h, sizeof(h));

    (void)o;
    if (rc < 0)
        return err_set(e, rc, "%s: no qcow image of version 1", n->name);
    rc = check_header(n, h, e);
    if (rc == 0) rc = read_backing_name(n, h, e);
    if (rc < 0) return rc;
    q = map_create(sizeof(*q), &qcow1_ops);
    if (q == NULL) return err_set(e, -ENOMEM, "out of memory");
    q->cluster_bits = h[32];
    q->l2_bits = h[33];
    q->l1_at = get_be64(h + 40);
    n->s = q;
    n->size_bytes = get_be64(h + 24) & ~511ull;
    n->is_readonly = true;
    return 0;
}

static int qcow1_info(struct node *n, struct image_info *out)
{
    const struct qcow1 *q = n->s;

    out->cluster_bytes = 1u << q->cluster_bits;
    return 0;
}

static void qcow1_close(struct node *n)
{
    map_destroy(n->s);
}

const struct block_driver block_qcow1 = {
    .name = "qcow",
    .title = "QEMU copy-on-write image, version 1, read only",
    .has_backing = true,
    .probe = qcow1_probe,
    .open = qcow1_open,
    .close = qcow1_close,
    .readv = map_readv,
    .status = map_status,
    .info = qcow1_info,
};
