/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "vhdx", Hyper-V virtual hard disk version 2, fixed and dynamic, read
 * only.  Source: [MS-VHDX].  Little end first; GUIDs are compared as they lie
 * in the file.
 *
 * The valid header is the one with the higher sequence number.  An image whose
 * log is not empty was not closed; its tables are not to be trusted before the
 * log has been replayed, which changes the file, so it is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/map.h"

enum {
    VHDX_HEADER_AT = 64 << 10, /* and the second 64 KiB later */
    VHDX_HEADER_BYTES = 4096,
    VHDX_REGIONS_AT = 192 << 10,
    VHDX_REGIONS_BYTES = 64 << 10,
    VHDX_MAX_ENTRIES = 2047,
    VHDX_METADATA_BYTES = 64 << 10,
    VHDX_PARAM_HAS_PARENT = 2,
};
#define VHDX_MAX_DISK (64ull << 40)

/* BAT entry: state in bits 0..2, offset in MiB from bit 20 on */
enum {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_FULL = 6,
    VHDX_PARTIAL = 7,
};

static const uint8_t guid_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6,
                                      0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e,
                                      0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t guid_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47,
                                           0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f,
                                           0x05, 0x0f, 0x88, 0x6e };
static const uint8_t guid_parameters[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa,
                                             0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0,
                                             0xaa, 0x44, 0xe7, 0x6b };
static const uint8_t guid_disk_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd,
                                            0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe,
                                            0xd8, 0x3b, 0xf4, 0xb8 };
static const uint8_t guid_sector[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9,
                                         0x09, 0x47, 0xba, 0x47, 0xf2, 0x33,
                                         0xa8, 0xfa, 0xab, 0x5f };

struct vhdx {
    struct map map;
    uint64_t bat_at, bat_bytes;
    uint64_t metadata_at, metadata_bytes;
    uint32_t block_bytes, sector_bytes;
    uint64_t chunk_ratio;
};

static int vhdx_probe(const uint8_t *head, size_t bytes)
{
    return bytes >= 8 && memcmp(head, "vhdxfile", 8) == 0 ? 100 : 0;
}

static int vhdx_find(struct node *n, uint64_t offset, struct map_range *out)
{
    struct vhdx *v = n->s;
    uint64_t block = offset / v->block_bytes, entry, at;
    uint32_t skip = (uint32_t)(offset % v->block_bytes);
    uint8_t raw[8];
    int rc;

    /* A sector bitmap's entry stands behind each chunk of payload blocks. */
    at = 8 * (block + block / v->chunk_ratio);
    if (at + 8 > v->bat_bytes) return -EIO;
    rc = map_table(&v->map, n->child, v->bat_at + at, raw, sizeof(raw));
    if (rc < 0) return rc;
    entry = get_le64(raw);
    out->bytes = v->block_bytes - skip;
    out->file = n->child;
    switch (entry & 7) {
    case VHDX_NOT_PRESENT:
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED: out->kind = MAP_ZERO; return 0;
    case VHDX_FULL: break;
    default: return -EIO; /* partial: differencing images alone */
    }
    entry = entry >> 20 << 20;
    if (entry > (uint64_t)INT64_MAX - v->block_bytes) return -EIO;
    out->kind = MAP_DATA;
    out->file_offset = entry + skip;
    return 0;
}

static const struct map_ops vhdx_ops = { .find = vhdx_find };

/* CRC-32C (Castagnoli, reflected) with the four octets at `at` as zeros. */
static uint32_t crc32c(const uint8_t *p, size_t bytes, size_t at)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= i >= at && i < at + 4 ? 0 : p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static int read_part(struct node *n, uint64_t at, uint8_t *buf, size_t bytes)
{
    uint64_t size = n->child->size_bytes;

    if (at > size || bytes > size - at) return -EIO;
    return node_pread(n->child, at, buf, bytes);
}

/* --------------------------------------------------------------- header */

static bool header_ok(struct node *n, unsigned which, uint8_t *h)
{
    uint64_t at = VHDX_HEADER_AT + (uint64_t)which * VHDX_HEADER_AT;

    return read_part(n, at, h, VHDX_HEADER_BYTES) == 0 &&
           memcmp(h, "head", 4) == 0 &&
           crc32c(h, VHDX_HEADER_BYTES, 4) == get_le32(h + 4);
}

static int check_header(struct node *n, struct err *e)
{
    static const uint8_t none[16];
    uint8_t h[2][VHDX_HEADER_BYTES];
    bool ok[2] = { header_ok(n, 0, h[0]), header_ok(n, 1, h[1]) };
    const uint8_t *now = h[0];

    if (!ok[0] && !ok[1])
        return err_set(e, -EINVAL, "%s: no valid VHDX header (truncated?)",
                       n->name);
    if (!ok[0] || (ok[1] && get_le64(h[1] + 8) > get_le64(h[0] + 8)))
        now = h[1];
    if (get_le16(now + 66) != 1)
        return err_set(e, -ENOTSUP, "%s: VHDX version %u is not supported",
                       n->name, get_le16(now + 66));
    if (memcmp(now + 48, none, sizeof(none)) != 0)
        return err_set(e, -EUCLEAN,
                       "%s: VHDX image was not closed, its log must be "
                       "replayed first (open it once in Hyper-V, or with "
                       "qemu-img check -r all)",
                       n->name);
    return 0;
}

/* -------------------------------------------------------------- regions */

/* The place of a region; it must lie in the file, below it 1 MiB is taken. */
static int set_region(const struct node *n, const uint8_t *entry, uint64_t *at,
                      uint64_t *bytes, struct err *e)
{
    uint64_t size = n->child->size_bytes;

    *at = get_le64(entry + 16);
    *bytes = get_le32(entry + 24);
    if (*at >= 1 << 20 && *at <= size && *bytes <= size - *at) return 0;
    return err_set(e, -EINVAL,
                   "%s: VHDX region lies past the end of the file "
                   "(truncated?)",
                   n->name);
}

static int parse_regions(struct node *n, struct vhdx *v, const uint8_t *t,
                         struct err *e)
{
    uint32_t count = get_le32(t + 8);
    int rc = 0;

    if (count > VHDX_MAX_ENTRIES)
        return err_set(e, -EINVAL, "%s: VHDX region table of %u entries",
                       n->name, count);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        const uint8_t *entry = t + 16 + 32 * (size_t)i;

        if (memcmp(entry, guid_bat, 16) == 0)
            rc = set_region(n, entry, &v->bat_at, &v->bat_bytes, e);
        else if (memcmp(entry, guid_metadata, 16) == 0)
            rc = set_region(n, entry, &v->metadata_at, &v->metadata_bytes, e);
        else if (get_le32(entry + 28) & 1)
            rc = err_set(e, -ENOTSUP,
                         "%s: VHDX needs a region that is not known", n->name);
    }
    if (rc == 0 && (v->bat_at == 0 || v->metadata_at == 0))
        rc = err_set(e, -EINVAL, "%s: VHDX region table lacks a region",
                     n->name);
    return rc;
}

static int read_regions(struct node *n, struct vhdx *v, struct err *e)
{
    static const char what[] = "regi";
    uint8_t *t = malloc(VHDX_REGIONS_BYTES);
    int rc = -EINVAL;

    if (t == NULL) return err_set(e, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = VHDX_REGIONS_AT + (uint64_t)i * VHDX_REGIONS_BYTES;

        if (read_part(n, at, t, VHDX_REGIONS_BYTES) < 0 ||
            memcmp(t, what, 4) != 0 ||
            crc32c(t, VHDX_REGIONS_BYTES, 4) != get_le32(t + 4))
            continue;
        rc = parse_regions(n, v, t, e);
        free(t);
        return rc;
    }
    free(t);
    return err_set(e, rc, "%s: no valid VHDX region table (truncated?)",
                   n->name);
}

/* ------------------------------------------------------------- metadata */

/* A metadata item of exactly bytes octets; -ENOENT. */
static int read_item(struct node *n, const struct vhdx *v, const uint8_t *t,
                     const uint8_t *guid, uint8_t *buf, size_t bytes)
{
    uint16_t count = get_le16(t + 10);

    if (count > VHDX_MAX_ENTRIES) return -EINVAL;
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *entry = t + 32 + 32 * (size_t)i;
        uint64_t at = get_le32(entry + 16);

        if (memcmp(entry, guid, 16) != 0) continue;
        if (get_le32(entry + 20) < bytes || at > v->metadata_bytes ||
            bytes > v->metadata_bytes - at)
            return -EINVAL;
        return read_part(n, v->metadata_at + at, buf, bytes);
    }
    return -ENOENT;
}

static int check_sizes(const struct node *n, const struct vhdx *v,
                       uint64_t disk, struct err *e)
{
    uint64_t blocks, entries;

    if (!is_power_of_2(v->block_bytes) || v->block_bytes < 1 << 20 ||
        v->block_bytes > 256 << 20)
        return err_set(e, -EINVAL, "%s: VHDX block size %u is out of range",
                       n->name, v->block_bytes);
    if (v->sector_bytes != 512 && v->sector_bytes != 4096)
        return err_set(e, -EINVAL,
                       "%s: VHDX sector size %u is neither 512 nor "
                       "4096",
                       n->name, v->sector_bytes);
    if (disk > VHDX_MAX_DISK || disk % v->sector_bytes != 0)
        return err_set(e, -EINVAL, "%s: VHDX disk size %llu is out of range",
                       n->name, (unsigned long long)disk);
    blocks = (disk + v->block_bytes - 1) / v->block_bytes;
    entries = blocks == 0 ? 0 : blocks + (blocks - 1) / v->chunk_ratio;
    if (8 * entries > v->bat_bytes)
        return err_set(e, -EINVAL,
                       "%s: VHDX block table is too small for the disk",
                       n->name);
    return 0;
}

static int read_metadata(struct node *n, struct vhdx *v, uint64_t *disk,
                         struct err *e)
{
    uint8_t *t = malloc(VHDX_METADATA_BYTES);
    uint8_t raw[8];
    int rc;

    if (t == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = v->metadata_bytes < VHDX_METADATA_BYTES
             ? -EINVAL
             : read_part(n, v->metadata_at, t, VHDX_METADATA_BYTES);
    if (rc == 0 && memcmp(t, "metadata", 8) != 0) rc = -EINVAL;
    if (rc == 0) rc = read_item(n, v, t, guid_parameters, raw, 8);
    if (rc == 0) {
        v->block_bytes = get_le32(raw);
        if (get_le32(raw + 4) & VHDX_PARAM_HAS_PARENT) {
            free(t);
            return err_set(e, -ENOTSUP,
                           "%s: differencing VHDX images are not supported",
                           n->name);
        }
        rc = read_item(n, v, t, guid_disk_size, raw, 8);
        *disk = get_le64(raw);
    }
    if (rc == 0) rc = read_item(n, v, t, guid_sector, raw, 4);
    free(t);
    if (rc < 0)
        return err_set(e, rc, "%s: VHDX metadata cannot be read: %s", n->name,
                       strerror(-rc));
    v->sector_bytes = get_le32(raw);
    v->chunk_ratio = (uint64_t)(v->sector_bytes & 0x1fff) << 23;
    if (v->block_bytes != 0) v->chunk_ratio /= v->block_bytes;
    if (v->chunk_ratio == 0) v->chunk_ratio = 1;
    return check_sizes(n, v, *disk, e);
}

static int vhdx_open(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct vhdx *v;
    uint8_t head[8];
    uint64_t disk = 0;
    int rc = read_part(n, 0, head, sizeof(head));

    (void)o;
    if (rc < 0 || memcmp(head, "vhdxfile", 8) != 0)
        return err_set(e, -EINVAL, "%s: no VHDX image", n->name);
    rc = check_header(n, e);
    if (rc < 0) return rc;
    v = map_create(sizeof(*v), &vhdx_ops);
    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = read_regions(n, v, e);
    if (rc == 0) rc = read_metadata(n, v, &disk, e);
    if (rc < 0) {
        map_destroy(v);
        return rc;
    }
    n->s = v;
    n->size_bytes = disk;
    n->is_readonly = true;
    return 0;
}

static int vhdx_info(struct node *n, struct image_info *out)
{
    const struct vhdx *v = n->s;

    out->cluster_bytes = v->block_bytes;
    return 0;
}

static void vhdx_close(struct node *n)
{
    map_destroy(n->s);
}

const struct block_driver block_vhdx = {
    .name = "vhdx",
    .title = "Hyper-V disk image, version 2, read only",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .readv = map_readv,
    .status = map_status,
    .info = vhdx_info,
    .check = map_check,
};
