/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "vdi", VirtualBox disk images of version 1.1, dynamic and static,
 * read only.  Source: the header's description in the VirtualBox forum
 * ("All about VDIs").
 */
#include <errno.h>
#include <string.h>

#include "block/map.h"

enum {
    VDI_SIGNATURE_AT = 0x40,
    VDI_VERSION_AT = 0x44,
    VDI_TYPE_AT = 0x4c,
    VDI_MAP_AT = 0x154,
    VDI_DATA_AT = 0x158,
    VDI_SECTOR_AT = 0x168,
    VDI_SIZE_AT = 0x170,
    VDI_BLOCK_AT = 0x178,
    VDI_EXTRA_AT = 0x17c,
    VDI_BLOCKS_AT = 0x180,
    VDI_LINK_AT = 0x1a8, /* two UUIDs: differencing images */
    VDI_HEADER_BYTES = 512,
    VDI_DYNAMIC = 1,
    VDI_STATIC = 2,
};
#define VDI_SIGNATURE 0xbeda107fu
#define VDI_VERSION   0x00010001u
#define VDI_NO_BLOCK  0xfffffffeu /* and above: nothing, reads as zeros */

struct vdi {
    struct map map;
    uint32_t map_at, data_at, block_bytes, blocks;
    bool is_static;
};

static int vdi_probe(const uint8_t *head, size_t bytes)
{
    return bytes >= VDI_HEADER_BYTES &&
                   get_le32(head + VDI_SIGNATURE_AT) == VDI_SIGNATURE
               ? 100
               : 0;
}

static int vdi_find(struct node *n, uint64_t offset, struct map_range *out)
{
    struct vdi *v = n->s;
    uint64_t block = offset / v->block_bytes;
    uint32_t skip = (uint32_t)(offset % v->block_bytes);
    uint8_t entry[4];
    uint32_t where;
    int rc;

    if (block >= v->blocks) return -EIO;
    rc = map_table(&v->map, n->child, v->map_at + 4 * block, entry,
                   sizeof(entry));
    if (rc < 0) return rc;
    where = get_le32(entry);
    out->bytes = v->block_bytes - skip;
    out->kind = where >= VDI_NO_BLOCK ? MAP_ZERO : MAP_DATA;
    out->file = n->child;
    out->is_plain = v->is_static;
    out->file_offset = v->data_at + (uint64_t)where * v->block_bytes + skip;
    if (out->kind == MAP_DATA && where >= v->blocks) return -EIO;
    return 0;
}

static const struct map_ops vdi_ops = { .find = vdi_find };

static int check_header(const struct node *n, const uint8_t *h, struct err *e)
{
    static const uint8_t none[32];
    uint32_t type = get_le32(h + VDI_TYPE_AT);
    uint32_t block = get_le32(h + VDI_BLOCK_AT);
    uint64_t blocks = get_le32(h + VDI_BLOCKS_AT);
    uint64_t size = get_le64(h + VDI_SIZE_AT);

    if (get_le32(h + VDI_SIGNATURE_AT) != VDI_SIGNATURE)
        return err_set(e, -EINVAL, "%s: no VDI image", n->name);
    if (get_le32(h + VDI_VERSION_AT) != VDI_VERSION)
        return err_set(e, -ENOTSUP, "%s: VDI version %u.%u is not supported",
                       n->name, get_le32(h + VDI_VERSION_AT) >> 16,
                       get_le32(h + VDI_VERSION_AT) & 0xffff);
    if (type != VDI_DYNAMIC && type != VDI_STATIC)
        return err_set(e, -ENOTSUP,
                       "%s: VDI image type %u is not supported (dynamic and "
                       "static are)",
                       n->name, type);
    if (memcmp(h + VDI_LINK_AT, none, sizeof(none)) != 0)
        return err_set(e, -ENOTSUP,
                       "%s: differencing VDI images are not supported",
                       n->name);
    if (get_le32(h + VDI_SECTOR_AT) != 512 || get_le32(h + VDI_EXTRA_AT) != 0 ||
        !is_power_of_2(block) || block < 4096 || block > 256 << 20)
        return err_set(e, -EINVAL, "%s: VDI sector or block size %u is odd",
                       n->name, block);
    if (size > blocks * block)
        return err_set(
            e, -EINVAL, "%s: VDI disk size %llu is larger than its %llu blocks",
            n->name, (unsigned long long)size, (unsigned long long)blocks);
    if (get_le32(h + VDI_MAP_AT) % 512 != 0 ||
        get_le32(h + VDI_DATA_AT) % 512 != 0)
        return err_set(e, -EINVAL, "%s: VDI offsets are not aligned", n->name);
    if (get_le32(h + VDI_MAP_AT) + 4 * blocks > n->child->size_bytes)
        return err_set(e, -EINVAL,
                       "%s: VDI block map lies past the end of the "
                       "file (truncated?)",
                       n->name);
    return 0;
}

static int vdi_open(struct node *n, const struct node_options *o, struct err *e)
{
    uint8_t h[VDI_HEADER_BYTES];
    struct vdi *v;
    int rc;

    (void)o;
    rc = n->child->size_bytes < sizeof(h)
             ? -EINVAL
             : node_pread(n->child, 0, h, sizeof(h));
    if (rc < 0) return err_set(e, rc, "%s: no VDI image", n->name);
    rc = check_header(n, h, e);
    if (rc < 0) return rc;
    v = map_create(sizeof(*v), &vdi_ops);
    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    v->map_at = get_le32(h + VDI_MAP_AT);
    v->data_at = get_le32(h + VDI_DATA_AT);
    v->block_bytes = get_le32(h + VDI_BLOCK_AT);
    v->blocks = get_le32(h + VDI_BLOCKS_AT);
    v->is_static = get_le32(h + VDI_TYPE_AT) == VDI_STATIC;
    n->s = v;
    n->size_bytes = (get_le64(h + VDI_SIZE_AT) + 511) & ~511ull;
    if (n->size_bytes > (uint64_t)v->blocks * v->block_bytes)
        n->size_bytes = (uint64_t)v->blocks * v->block_bytes;
    n->is_readonly = true;
    return 0;
}

static int vdi_info(struct node *n, struct image_info *out)
{
    const struct vdi *v = n->s;

    out->cluster_bytes = v->block_bytes;
    return 0;
}

static void vdi_close(struct node *n)
{
    map_destroy(n->s);
}

const struct block_driver block_vdi = {
    .name = "vdi",
    .title = "VirtualBox disk image, read only",
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .readv = map_readv,
    .status = map_status,
    .info = vdi_info,
    .check = map_check,
};
