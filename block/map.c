/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading formats that are tables of pieces. */
#include "block/map.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

uint16_t get_le16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

uint32_t get_le32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

uint64_t get_le64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

uint16_t get_be16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return be16toh(v);
}

uint32_t get_be32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

uint64_t get_be64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

bool is_power_of_2(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

void *map_create(size_t bytes, const struct map_ops *ops)
{
    struct map *m = calloc(1, bytes);

    if (m == NULL) return NULL;
    m->ops = ops;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void map_destroy(void *state)
{
    struct map *m = state;

    if (m == NULL) return;
    for (unsigned i = 0; i < MAP_PAGES; i++)
        free(m->pages[i].data);
    free(m->unpacked);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* --------------------------------------------------------------- tables */

static int load_page_locked(struct map_page *p, struct node *file,
                            uint64_t number)
{
    uint64_t at = number * MAP_PAGE_BYTES, size = file->size_bytes;
    size_t here = MAP_PAGE_BYTES;
    int rc;

    if (p->file == file && p->number == number) return 0;
    if (p->data == NULL) p->data = malloc(MAP_PAGE_BYTES);
    if (p->data == NULL) return -ENOMEM;
    if (at >= size) return -EIO;
    if (here > size - at) here = (size_t)(size - at);
    p->file = NULL;
    rc = node_pread(file, at, p->data, here);
    if (rc < 0) return rc;
    memset(p->data + here, 0, MAP_PAGE_BYTES - here);
    p->file = file;
    p->number = number;
    return 0;
}

int map_table(struct map *m, struct node *file, uint64_t offset, void *buf,
              size_t bytes)
{
    uint8_t *to = buf;
    uint64_t size = file->size_bytes;
    int rc = 0;

    if (offset > size || bytes > size - offset) return -EIO;
    pthread_mutex_lock(&m->lock);
    while (bytes > 0 && rc == 0) {
        uint64_t number = offset / MAP_PAGE_BYTES;
        size_t skip = (size_t)(offset % MAP_PAGE_BYTES);
        size_t here = MAP_PAGE_BYTES - skip;
        struct map_page *p = &m->pages[number % MAP_PAGES];

        if (here > bytes) here = bytes;
        rc = load_page_locked(p, file, number);
        if (rc == 0) memcpy(to, p->data + skip, here);
        to += here;
        offset += here;
        bytes -= here;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

/* --------------------------------------------------------------- pieces */

static int find(struct node *n, uint64_t offset, uint64_t bytes,
                struct map_range *r)
{
    const struct map *m = n->s;
    int rc;

    *r = (struct map_range){ .bytes = 0 };
    rc = m->ops->find(n, offset, r);
    if (rc < 0) return rc;
    if (r->bytes == 0) return -EIO;
    if (r->bytes > bytes) r->bytes = bytes;
    return 0;
}

/* Does b go on where a ends? */
static bool continues(const struct map_range *a, const struct map_range *b)
{
    if (a->kind != b->kind || a->kind == MAP_PACKED) return false;
    return a->kind != MAP_DATA ||
           (a->file == b->file && a->file_offset + a->bytes == b->file_offset);
}

/* As find, with pieces that continue each other joined. */
static int find_run(struct node *n, uint64_t offset, uint64_t bytes,
                    struct map_range *r)
{
    int rc = find(n, offset, bytes, r);

    for (unsigned i = 0; rc == 0 && i < MAP_MAX_STEPS && r->bytes < bytes;
         i++) {
        struct map_range next;

        rc = find(n, offset + r->bytes, bytes - r->bytes, &next);
        if (rc < 0) return 0; /* said when it is its turn */
        if (!continues(r, &next)) break;
        r->bytes += next.bytes;
    }
    return rc;
}

static int read_backing(struct node *b, uint64_t offset,
                        const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct iovec part[BLOCK_MAX_IOV];
    size_t here = bytes;
    int rc = 0;

    if (b == NULL || offset >= b->size_bytes)
        here = 0;
    else if (bytes > b->size_bytes - offset)
        here = (size_t)(b->size_bytes - offset);
    if (here > 0) {
        int parts = iov_slice(iov, iovcnt, 0, here, part);

        rc = node_read(b, offset, part, parts);
    }
    if (rc == 0 && here < bytes)
        iov_zero(part, iov_slice(iov, iovcnt, here, bytes - here, part));
    return rc;
}

/* The cluster unpacked last stays at hand for small reads in a row. */
static int read_packed(struct node *n, const struct map_range *r,
                       const struct iovec *iov, int iovcnt)
{
    struct map *m = n->s;
    uint8_t *buf;
    bool is_hit;
    int rc;

    if (m->ops->unpack == NULL || r->cluster_bytes == 0 ||
        r->cluster_bytes > MAP_MAX_UNPACKED ||
        r->skip_bytes >= r->cluster_bytes ||
        r->bytes > r->cluster_bytes - r->skip_bytes)
        return -EIO;
    pthread_mutex_lock(&m->lock);
    is_hit = m->unpacked != NULL && m->unpacked_at == r->file_offset &&
             m->unpacked_file == r->file;
    if (is_hit)
        iov_from_buf(iov, iovcnt, 0, m->unpacked + r->skip_bytes,
                     (size_t)r->bytes);
    pthread_mutex_unlock(&m->lock);
    if (is_hit) return 0;
    buf = malloc(r->cluster_bytes);
    if (buf == NULL) return -ENOMEM;
    rc = m->ops->unpack(n, r, buf);
    if (rc < 0) {
        free(buf);
        return rc;
    }
    iov_from_buf(iov, iovcnt, 0, buf + r->skip_bytes, (size_t)r->bytes);
    pthread_mutex_lock(&m->lock);
    free(m->unpacked);
    m->unpacked = buf;
    m->unpacked_at = r->file_offset;
    m->unpacked_file = r->file;
    pthread_mutex_unlock(&m->lock);
    return 0;
}

int map_readv(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt, size_t bytes)
{
    struct iovec part[BLOCK_MAX_IOV];
    size_t done = 0;

    while (done < bytes) {
        struct map_range r;
        int parts, rc = find_run(n, offset + done, bytes - done, &r);

        if (rc < 0) return rc;
        parts = iov_slice(iov, iovcnt, done, (size_t)r.bytes, part);
        switch (r.kind) {
        case MAP_ZERO: iov_zero(part, parts); break;
        case MAP_DATA:
            rc = r.file == NULL ? -EIO
                                : node_read(r.file, r.file_offset, part, parts);
            break;
        case MAP_PACKED:
            rc = r.file == NULL ? -EIO : read_packed(n, &r, part, parts);
            break;
        default:
            rc = read_backing(n->backing, offset + done, part, parts,
                              (size_t)r.bytes);
            break;
        }
        if (rc < 0) return rc;
        done += (size_t)r.bytes;
    }
    return 0;
}

/* Preallocated data that were never written are holes of the file. */
static void look_for_holes(const struct map_range *r, struct node_extent *out)
{
    struct node_extent below;

    if (node_status(r->file, r->file_offset, r->bytes, &below) < 0) return;
    if (below.bytes == 0 || below.bytes > out->bytes) return;
    out->bytes = below.bytes;
    out->flags |= below.flags & EXTENT_ZERO;
}

int map_status(struct node *n, uint64_t offset, uint64_t bytes,
               struct node_extent *out)
{
    static const unsigned flags[] = {
        [MAP_ZERO] = EXTENT_ZERO | EXTENT_ALLOCATED,
        [MAP_DATA] = EXTENT_DATA | EXTENT_ALLOCATED,
        [MAP_BACKING] = 0,
        [MAP_PACKED] = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_COMPRESSED,
    };
    struct map_range r;
    int rc = find_run(n, offset, bytes, &r);

    if (rc < 0) return rc;
    *out = (struct node_extent){ .bytes = r.bytes, .flags = flags[r.kind] };
    if (r.kind == MAP_DATA && r.file == n->child) {
        out->flags |= EXTENT_OFFSET;
        out->file_offset = r.file_offset;
    }
    if (r.kind == MAP_DATA && r.is_plain && r.file != NULL)
        look_for_holes(&r, out);
    return 0;
}

static void check_piece(struct image_check *c, uint64_t at,
                        const struct map_range *r)
{
    uint64_t bytes = r->kind == MAP_PACKED ? r->packed_bytes : r->bytes;
    uint64_t size = r->file != NULL ? r->file->size_bytes : 0;
    char text[120];

    if (r->kind != MAP_DATA && r->kind != MAP_PACKED) return;
    if (r->file == NULL) return; /* another file, not opened */
    if (r->file_offset <= size && bytes <= size - r->file_offset) return;
    c->corruptions++;
    snprintf(text, sizeof(text),
             "ERROR: data of offset %llu lie past the end of the file",
             (unsigned long long)at);
    if (c->line != NULL && c->corruptions <= 1000) c->line(c->arg, text);
}

int map_check(struct node *n, struct image_check *c, struct err *e)
{
    uint64_t at = 0, end = n->size_bytes;

    while (at < end) {
        struct map_range r;
        int rc = find_run(n, at, end - at, &r);

        if (rc < 0) {
            /* From here on nothing is known. */
            c->corruptions++;
            return err_set(e, rc, "%s: tables cannot be read at offset %llu",
                           n->name, (unsigned long long)at);
        }
        check_piece(c, at, &r);
        at += r.bytes;
        rc = image_progress(c->progress, at, end);
        if (rc < 0) return rc;
    }
    return 0;
}

int map_inflate(int wbits, const uint8_t *in, size_t in_bytes, uint8_t *out,
                size_t out_bytes)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)in,
                   .avail_in = (uInt)in_bytes,
                   .next_out = out,
                   .avail_out = (uInt)out_bytes };
    int rc;

    if (inflateInit2(&z, wbits) != Z_OK) return -ENOMEM;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* A full buffer is enough: some writers pad what follows. */
    if ((rc != Z_STREAM_END && rc != Z_BUF_ERROR) || z.avail_out != 0)
        return -EIO;
    return 0;
}
