/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "vpc", Virtual PC disk images (VHD), fixed and dynamic, read only.
 * Source: "Virtual Hard Disk Image Format Specification" 1.0, Microsoft.
 * A footer of 512 octets ends the file; a dynamic image has a copy of it at
 * the beginning.  All numbers are big end first.  A fixed image does not tell
 * what it is by its first octets and has to be named: -f vpc.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/map.h"

enum {
    VHD_FOOTER_BYTES = 512,
    VHD_HEADER_BYTES = 1024,
    VHD_FIXED = 2,
    VHD_DYNAMIC = 3,
};
#define VHD_UNUSED 0xffffffffu
/* The largest geometry the footer can hold; the disk may be larger. */
#define VHD_MAX_GEOMETRY (65535ull * 16 * 255)

struct vpc {
    struct map map;
    uint64_t table_at;
    uint32_t block_bytes, bitmap_bytes, entries;
    bool is_fixed;
};

static int vpc_probe(const uint8_t *head, size_t bytes)
{
    return bytes >= VHD_FOOTER_BYTES && memcmp(head, "conectix", 8) == 0 ? 100
                                                                         : 0;
}

static int vpc_find(struct node *n, uint64_t offset, struct map_range *out)
{
    struct vpc *v = n->s;
    uint64_t block;
    uint32_t skip, sector;
    uint8_t entry[4];
    int rc;

    out->file = n->child;
    if (v->is_fixed) {
        out->kind = MAP_DATA;
        out->is_plain = true;
        out->file_offset = offset;
        out->bytes = n->size_bytes - offset;
        return 0;
    }
    block = offset / v->block_bytes;
    skip = (uint32_t)(offset % v->block_bytes);
    out->bytes = v->block_bytes - skip;
    if (block >= v->entries) return -EIO;
    rc = map_table(&v->map, n->child, v->table_at + 4 * block, entry,
                   sizeof(entry));
    if (rc < 0) return rc;
    sector = get_be32(entry);
    out->kind = sector == VHD_UNUSED ? MAP_ZERO : MAP_DATA;
    out->file_offset = (uint64_t)sector * 512 + v->bitmap_bytes + skip;
    return 0;
}

static const struct map_ops vpc_ops = { .find = vpc_find };

/* One's complement of the sum of all octets but the checksum's. */
static bool checksum_ok(const uint8_t *p, size_t bytes, size_t at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < bytes; i++) {
        if (i < at || i >= at + 4) sum += p[i];
    }
    return ~sum == get_be32(p + at);
}

/* Programs that fill in the size; of all others the geometry counts. */
static bool size_is_exact(const uint8_t *creator)
{
    static const char apps[][5] = { "win ", "qem2", "d2v ", "tap", "CTXS" };

    for (unsigned i = 0; i < sizeof(apps) / sizeof(apps[0]); i++) {
        if (memcmp(creator, apps[i], 4) == 0) return true;
    }
    return false;
}

static uint64_t disk_bytes(const uint8_t *f)
{
    uint64_t sectors = (uint64_t)get_be16(f + 56) * f[58] * f[59];

    if (sectors >= VHD_MAX_GEOMETRY || size_is_exact(f + 28))
        return get_be64(f + 48) & ~511ull;
    return sectors * 512;
}

/* The footer, from the beginning or else from the end. */
static int read_footer(struct node *n, uint8_t *f, bool *is_at_end,
                       struct err *e)
{
    uint64_t size = n->child->size_bytes;
    int rc;

    if (size < VHD_FOOTER_BYTES)
        return err_set(e, -EINVAL, "%s: no VHD image", n->name);
    rc = node_pread(n->child, 0, f, VHD_FOOTER_BYTES);
    *is_at_end = rc == 0 && memcmp(f, "conectix", 8) != 0;
    if (*is_at_end)
        rc = node_pread(n->child, size - VHD_FOOTER_BYTES, f, VHD_FOOTER_BYTES);
    if (rc < 0)
        return err_set(e, rc, "%s: footer cannot be read: %s", n->name,
                       strerror(-rc));
    if (memcmp(f, "conectix", 8) != 0)
        return err_set(e, -EINVAL, "%s: no VHD image", n->name);
    if (!checksum_ok(f, VHD_FOOTER_BYTES, 64))
        snprintf(n->warning, sizeof(n->warning),
                 "the checksum of its footer is wrong");
    return 0;
}

static int open_fixed(struct node *n, struct vpc *v, struct err *e)
{
    v->is_fixed = true;
    if (n->size_bytes <= n->child->size_bytes - VHD_FOOTER_BYTES) return 0;
    /* The geometry is rounded up by some; the data say how much there is. */
    return err_set(e, -EINVAL,
                   "%s: VHD disk of %llu octets in a file of %llu (truncated?)",
                   n->name, (unsigned long long)n->size_bytes,
                   (unsigned long long)n->child->size_bytes);
}

static int open_dynamic(struct node *n, struct vpc *v, const uint8_t *f,
                        struct err *e)
{
    uint64_t at = get_be64(f + 16), size = n->child->size_bytes;
    uint8_t h[VHD_HEADER_BYTES];
    uint64_t blocks;
    int rc = at > size || size - at < sizeof(h)
                 ? -EINVAL
                 : node_pread(n->child, at, h, sizeof(h));

    if (rc < 0 || memcmp(h, "cxsparse", 8) != 0)
        return err_set(e, rc < 0 ? rc : -EINVAL,
                       "%s: header of the dynamic VHD is not where the footer "
                       "says",
                       n->name);
    if (!checksum_ok(h, sizeof(h), 36))
        return err_set(e, -EINVAL, "%s: checksum of the VHD header is wrong",
                       n->name);
    v->table_at = get_be64(h + 16);
    v->entries = get_be32(h + 28);
    v->block_bytes = get_be32(h + 32);
    if (!is_power_of_2(v->block_bytes) || v->block_bytes < 512 ||
        v->block_bytes > 256u << 20)
        return err_set(e, -EINVAL, "%s: VHD block size %u is out of range",
                       n->name, v->block_bytes);
    v->bitmap_bytes = (v->block_bytes / 512 / 8 + 511) & ~511u;
    blocks = (n->size_bytes + v->block_bytes - 1) / v->block_bytes;
    if (blocks > v->entries)
        return err_set(e, -EINVAL,
                       "%s: VHD table of %u entries is too small for the disk",
                       n->name, v->entries);
    if (v->table_at > size || 4 * blocks > size - v->table_at)
        return err_set(e, -EINVAL,
                       "%s: VHD table lies past the end of the file "
                       "(truncated?)",
                       n->name);
    return 0;
}

static int vpc_open(struct node *n, const struct node_options *o, struct err *e)
{
    uint8_t f[VHD_FOOTER_BYTES];
    struct vpc *v;
    uint32_t type;
    bool is_at_end;
    int rc = read_footer(n, f, &is_at_end, e);

    (void)o;
    if (rc < 0) return rc;
    type = get_be32(f + 60);
    if (type != VHD_FIXED && type != VHD_DYNAMIC)
        return err_set(e, -ENOTSUP,
                       "%s: VHD type %u is not supported (fixed and dynamic "
                       "are)",
                       n->name, type);
    if (disk_bytes(f) > (uint64_t)INT64_MAX / 2)
        return err_set(e, -EFBIG, "%s: VHD disk size is out of range", n->name);
    v = map_create(sizeof(*v), &vpc_ops);
    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    n->size_bytes = disk_bytes(f);
    rc = type == VHD_FIXED ? open_fixed(n, v, e) : open_dynamic(n, v, f, e);
    if (rc < 0) {
        map_destroy(v);
        return rc;
    }
    n->s = v;
    n->is_readonly = true;
    return 0;
}

static int vpc_info(struct node *n, struct image_info *out)
{
    const struct vpc *v = n->s;

    out->cluster_bytes = v->is_fixed ? 0 : v->block_bytes;
    return 0;
}

static void vpc_close(struct node *n)
{
    map_destroy(n->s);
}

const struct block_driver block_vpc = {
    .name = "vpc",
    .title = "Virtual PC and Hyper-V disk image (VHD), read only",
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .readv = map_readv,
    .status = map_status,
    .info = vpc_info,
};
