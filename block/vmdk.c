/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "vmdk", VMware disk images, read only: one sparse file (also
 * stream-optimised), or a text descriptor that names sparse and flat extents.
 * Source: "Virtual Disk Format 5.0", VMware.  Little end first; sizes and
 * offsets in sectors of 512 octets.
 *
 * Extents that a descriptor names are plain files in its own folder: a name
 * with a slash in it is refused.  When only the named file may be opened, the
 * extents are not, and reading them is an error.
 */
#include "block/vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VMDK_HEADER_BYTES = 512,
    VMDK_FLAG_ZERO_GRAIN = 1 << 2,
    VMDK_FLAG_COMPRESSED = 1 << 16,
    VMDK_MARKER_BYTES = 12,
    VMDK_DEFLATE = 1,
    VMDK_FOOTER_FROM_END = 1024,
};
#define VMDK_GD_AT_END   UINT64_MAX
#define VMDK_MAX_SECTORS ((uint64_t)INT64_MAX / 512 / 4)

static int vmdk_probe(const uint8_t *head, size_t bytes)
{
    static const char text[] = "# Disk DescriptorFile";

    if (bytes >= 4 && memcmp(head, "KDMV", 4) == 0) return 100;
    return bytes >= sizeof(text) - 1 &&
                   memcmp(head, text, sizeof(text) - 1) == 0
               ? 100
               : 0;
}

/* ------------------------------------------------------------- one extent */

static int find_grain(struct vmdk *v, const struct vmdk_extent *x,
                      uint64_t offset, struct map_range *out)
{
    uint64_t grain = offset / x->grain_bytes;
    uint32_t skip = (uint32_t)(offset % x->grain_bytes);
    uint64_t table = grain / x->table_entries;
    uint8_t raw[VMDK_MARKER_BYTES];
    uint64_t at;
    int rc = map_table(&v->map, x->file, x->directory_at + 4 * table, raw, 4);

    if (rc < 0) return rc;
    at = get_le32(raw);
    out->kind = MAP_BACKING;
    out->bytes = ((table + 1) * x->table_entries - grain) * x->grain_bytes -
                 skip; /* of the whole table */
    if (at == 0) return 0;
    rc = map_table(&v->map, x->file, at * 512 + 4 * (grain % x->table_entries),
                   raw, 4);
    if (rc < 0) return rc;
    at = get_le32(raw);
    out->bytes = x->grain_bytes - skip;
    out->file = x->file;
    if (at == 0) return 0;
    if (at == 1 && x->has_zero_grains) {
        out->kind = MAP_ZERO;
        return 0;
    }
    out->kind = MAP_DATA;
    out->file_offset = at * 512 + skip;
    if (!x->is_compressed) return 0;
    /* Before the data: where on the disk they belong (8), their length. */
    rc = map_table(&v->map, x->file, at * 512, raw, VMDK_MARKER_BYTES);
    if (rc < 0) return rc;
    out->kind = MAP_PACKED;
    out->file_offset = at * 512 + VMDK_MARKER_BYTES;
    out->packed_bytes = get_le32(raw + 8);
    /* The last grain may be packed as far as the disk goes. */
    out->cluster_bytes = x->grain_bytes;
    if (out->cluster_bytes > x->bytes - (offset - skip))
        out->cluster_bytes = (uint32_t)(x->bytes - (offset - skip));
    out->skip_bytes = skip;
    return out->packed_bytes > 2ull * x->grain_bytes + 4096 ? -EIO : 0;
}

static const struct vmdk_extent *extent_at(const struct vmdk *v,
                                           uint64_t offset)
{
    unsigned low = 0, high = v->count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        const struct vmdk_extent *x = &v->extents[mid];

        if (offset < x->start)
            high = mid;
        else if (offset - x->start >= x->bytes)
            low = mid + 1;
        else
            return x;
    }
    return NULL;
}

static int vmdk_find(struct node *n, uint64_t offset, struct map_range *out)
{
    struct vmdk *v = n->s;
    const struct vmdk_extent *x = extent_at(v, offset);
    uint64_t left;
    int rc = 0;

    if (x == NULL) return -EIO;
    offset -= x->start;
    left = x->bytes - offset;
    out->bytes = left;
    out->file = x->file;
    switch (x->kind) {
    case VMDK_ZERO: out->kind = MAP_ZERO; break;
    case VMDK_FLAT:
        out->kind = MAP_DATA;
        out->is_plain = true;
        out->file_offset = x->flat_at + offset;
        break;
    default:
        out->kind = MAP_DATA; /* and no file: not opened */
        if (x->file != NULL) rc = find_grain(v, x, offset, out);
        break;
    }
    if (out->bytes > left) out->bytes = left;
    return rc;
}

static int vmdk_unpack(struct node *n, const struct map_range *r, uint8_t *buf)
{
    uint8_t *in = malloc(r->packed_bytes + 1);
    int rc;

    (void)n;
    if (in == NULL) return -ENOMEM;
    rc = node_pread(r->file, r->file_offset, in, (size_t)r->packed_bytes);
    if (rc == 0)
        rc =
            map_inflate(15, in, (size_t)r->packed_bytes, buf, r->cluster_bytes);
    free(in);
    return rc;
}

static const struct map_ops vmdk_ops = { .find = vmdk_find,
                                         .unpack = vmdk_unpack };

/* ---------------------------------------------------------- sparse header */

static int check_sparse(const struct node *file, const uint8_t *h,
                        struct vmdk_extent *x, uint64_t *directory,
                        struct err *e)
{
    uint32_t version = get_le32(h + 4), flags = get_le32(h + 8);
    uint64_t capacity = get_le64(h + 12), grain = get_le64(h + 20);
    uint32_t entries = get_le32(h + 44);

    if (memcmp(h, "KDMV", 4) != 0)
        return err_set(e, -EINVAL, "%s: no sparse VMDK extent", file->name);
    if (version < 1 || version > 3)
        return err_set(e, -ENOTSUP, "%s: VMDK version %u is not supported",
                       file->name, version);
    if (!is_power_of_2(grain) || grain > MAP_MAX_UNPACKED / 512)
        return err_set(e, -EINVAL, "%s: VMDK grain of %llu sectors", file->name,
                       (unsigned long long)grain);
    if (entries < 1 || entries > 1 << 16)
        return err_set(e, -EINVAL, "%s: VMDK grain tables of %u entries",
                       file->name, entries);
    if (capacity > VMDK_MAX_SECTORS)
        return err_set(e, -EFBIG, "%s: VMDK capacity %llu is out of range",
                       file->name, (unsigned long long)capacity);
    x->is_compressed = flags & VMDK_FLAG_COMPRESSED;
    x->has_zero_grains = flags & VMDK_FLAG_ZERO_GRAIN;
    if (x->is_compressed && get_le16(h + 77) != VMDK_DEFLATE)
        return err_set(e, -ENOTSUP, "%s: VMDK compression %u is not known",
                       file->name, get_le16(h + 77));
    x->bytes = capacity * 512;
    x->grain_bytes = (uint32_t)grain * 512;
    x->table_entries = entries;
    *directory = get_le64(h + 56);
    return 0;
}

/* x from the header of file; header is returned for the descriptor's place. */
int vmdk_open_sparse(struct node *file, struct vmdk_extent *x, uint8_t *h,
                     struct err *e)
{
    uint64_t size = file->size_bytes, at, tables;
    uint8_t footer[VMDK_HEADER_BYTES];
    int rc = size < VMDK_HEADER_BYTES
                 ? -EINVAL
                 : node_pread(file, 0, h, VMDK_HEADER_BYTES);

    if (rc < 0)
        return err_set(e, rc, "%s: VMDK header cannot be read (truncated?)",
                       file->name);
    rc = check_sparse(file, h, x, &at, e);
    if (rc < 0) return rc;
    if (at == VMDK_GD_AT_END) { /* written as a stream: the footer says */
        rc = size < VMDK_FOOTER_FROM_END
                 ? -EINVAL
                 : node_pread(file, (size - VMDK_FOOTER_FROM_END) & ~511ull,
                              footer, sizeof(footer));
        if (rc < 0 || memcmp(footer, "KDMV", 4) != 0)
            return err_set(e, -EINVAL,
                           "%s: VMDK footer is missing (truncated?)",
                           file->name);
        rc = check_sparse(file, footer, x, &at, e);
        if (rc < 0) return rc;
    }
    tables = x->bytes / x->grain_bytes / x->table_entries + 1;
    if (at > size / 512 || at == 0 || 4 * (tables - 1) > size - at * 512)
        return err_set(e, -EINVAL,
                       "%s: VMDK grain directory lies past the end of the "
                       "file (truncated?)",
                       file->name);
    x->kind = VMDK_SPARSE;
    x->file = file;
    x->directory_at = at * 512;
    return 0;
}

/* --------------------------------------------------------------- opening */

static int open_single(struct node *n, struct vmdk *v,
                       const struct node_options *o, struct err *e)
{
    uint8_t h[VMDK_HEADER_BYTES];
    uint64_t at, bytes;
    int rc;

    v->extents = calloc(1, sizeof(*v->extents));
    if (v->extents == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = vmdk_open_sparse(n->child, &v->extents[0], h, e);
    if (rc < 0) return rc;
    snprintf(v->extents[0].name, sizeof(v->extents[0].name), "%s", n->name);
    v->count = 1;
    n->size_bytes = v->extents[0].bytes;
    at = get_le64(h + 28);
    bytes = get_le64(h + 36);
    if (at == 0 || bytes == 0) return 0; /* part of a split image */
    if (at > n->child->size_bytes / 512 || bytes > VMDK_MAX_TEXT / 512)
        return err_set(e, -EINVAL,
                       "%s: VMDK descriptor is not where the header says",
                       n->name);
    bytes *= 512;
    if (bytes > n->child->size_bytes - at * 512)
        bytes = n->child->size_bytes - at * 512;
    return vmdk_read_descriptor(n, v, at * 512, (size_t)bytes, true, o, e);
}

static void vmdk_free(struct node *n, struct vmdk *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (v->extents[i].file != n->child) node_unref(v->extents[i].file);
    }
    free(v->extents);
    map_destroy(v);
}

static int vmdk_open(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct vmdk *v = map_create(sizeof(*v), &vmdk_ops);
    uint8_t magic[4] = { 0 };
    int rc = 0;

    if (v == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (n->child->size_bytes >= sizeof(magic))
        rc = node_pread(n->child, 0, magic, sizeof(magic));
    if (rc < 0)
        err_set(e, rc, "%s: cannot be read: %s", n->name, strerror(-rc));
    else if (memcmp(magic, "KDMV", 4) == 0)
        rc = open_single(n, v, o, e);
    else if (n->child->size_bytes > VMDK_MAX_TEXT)
        rc = err_set(e, -EINVAL, "%s: no VMDK image", n->name);
    else
        rc = vmdk_read_descriptor(n, v, 0, (size_t)n->child->size_bytes, false,
                                  o, e);
    if (rc < 0) {
        vmdk_free(n, v);
        free(n->backing_file);
        free(n->backing_format);
        n->backing_file = n->backing_format = NULL;
        return rc;
    }
    n->s = v;
    n->is_readonly = true;
    return 0;
}

static int vmdk_info(struct node *n, struct image_info *out)
{
    const struct vmdk *v = n->s;

    out->has_specific = true;
    if (v->count > 0 && v->extents[0].kind == VMDK_SPARSE)
        out->cluster_bytes = v->extents[0].grain_bytes;
    return 0;
}

static void vmdk_info_specific(struct node *n, struct info_sink *out)
{
    static const char *const kinds[] = {
        [VMDK_SPARSE] = "", [VMDK_FLAT] = "FLAT", [VMDK_ZERO] = "ZERO"
    };
    const struct vmdk *v = n->s;

    out->number(out->arg, "cid", v->cid);
    out->number(out->arg, "parent-cid", v->parent_cid);
    out->text(out->arg, "create-type", v->create_type);
    out->begin(out->arg, "extents", true);
    for (unsigned i = 0; i < v->count; i++) {
        const struct vmdk_extent *x = &v->extents[i];

        out->begin(out->arg, NULL, false);
        if (x->is_compressed) out->truth(out->arg, "compressed", true);
        out->number(out->arg, "virtual-size", x->bytes);
        out->text(out->arg, "filename", x->name);
        if (x->grain_bytes != 0)
            out->number(out->arg, "cluster-size", x->grain_bytes);
        out->text(out->arg, "format",
                  v->is_described && x->kind == VMDK_SPARSE ? "SPARSE"
                                                            : kinds[x->kind]);
        out->end(out->arg);
    }
    out->end(out->arg);
}

static void vmdk_close(struct node *n)
{
    vmdk_free(n, n->s);
}

const struct block_driver block_vmdk = {
    .name = "vmdk",
    .title = "VMware disk image, read only",
    .has_backing = true,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .readv = map_readv,
    .status = map_status,
    .info = vmdk_info,
    .info_specific = vmdk_info_specific,
    .check = map_check,
};
