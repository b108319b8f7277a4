/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "raw": the file is the disk.  A file that does not end at a sector
 * boundary is shown rounded up, the missing octets read as zeros.
 *
 * When the format was guessed, the guest must not be able to turn its disk
 * into something that would be guessed differently next time (an image header
 * that names files of the host): such a write to the first sector fails.
 */
#include "block/block_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"

struct raw {
    bool is_probed;
    bool has_size; /* the disk is part of the file, from offset on */
    uint64_t offset;
};

static int raw_probe(const uint8_t *head, size_t bytes)
{
    return block_foreign_format(head, bytes) == NULL ? 1 : 0;
}

/* offset=, size=: what of the file is the disk. */
static int take_part(struct raw *r, const struct node_options *o,
                     uint64_t *bytes, struct err *e)
{
    const uint64_t none = UINT64_MAX;
    uint64_t size = none, all = *bytes;
    int rc = node_option_size(o, "offset", 0, INT64_MAX, &r->offset, e);

    if (rc == 0) rc = node_option_size(o, "size", 0, INT64_MAX, &size, e);
    if (rc < 0) return rc;
    if (r->offset > all)
        return err_set(e, -EINVAL,
                       "offset=%llu lies behind the end of the file (%llu)",
                       (unsigned long long)r->offset, (unsigned long long)all);
    *bytes = all - r->offset;
    if (size == none) return 0;
    if (size % BLOCK_SECTOR_BYTES != 0)
        return err_set(e, -EINVAL, "Specified size is not multiple of %d",
                       BLOCK_SECTOR_BYTES);
    if (size > *bytes)
        return err_set(e, -EINVAL,
                       "The sum of offset (%llu) and size (%llu) has to be "
                       "smaller or equal to the actual size of the containing "
                       "file (%llu)",
                       (unsigned long long)r->offset, (unsigned long long)size,
                       (unsigned long long)all);
    r->has_size = true;
    *bytes = size;
    return 0;
}

static int raw_open(struct node *n, const struct node_options *o, struct err *e)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    uint64_t bytes = n->child->size_bytes;
    struct raw *r;
    int rc;

    if (bytes > (uint64_t)INT64_MAX - mask)
        return err_set(e, -EFBIG, "%s: image too large", n->name);
    r = calloc(1, sizeof(*r));
    if (r == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = take_part(r, o, &bytes, e);
    if (rc < 0) {
        free(r);
        return err_prefix(e, "%s", n->name);
    }
    r->is_probed = o->is_probed;
    n->s = r;
    n->size_bytes = (bytes + mask) & ~mask;
    n->is_readonly = n->child->is_readonly;
    if (n->size_bytes != bytes)
        snprintf(n->warning, sizeof(n->warning),
                 "size %llu is no multiple of 512: the last sector is filled "
                 "up with zeros",
                 (unsigned long long)bytes);
    return 0;
}

static int raw_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                     int iovcnt, size_t bytes)
{
    const struct raw *r = n->s;
    struct node *c = n->child;
    struct iovec part[BLOCK_MAX_IOV];
    size_t here = bytes;
    int rc = 0;

    offset += r->offset;
    if (offset >= c->size_bytes)
        here = 0;
    else if (bytes > c->size_bytes - offset)
        here = (size_t)(c->size_bytes - offset);
    if (here == bytes) return c->drv->readv(c, offset, iov, iovcnt, bytes);
    if (here > 0) {
        int parts = iov_slice(iov, iovcnt, 0, here, part);
        rc = c->drv->readv(c, offset, part, parts, here);
    }
    iov_zero(part, iov_slice(iov, iovcnt, here, bytes - here, part));
    return rc;
}

/* What the first sector would be after the write. */
static int check_first_sector(struct node *n, uint64_t offset,
                              const struct iovec *iov, int iovcnt, size_t bytes)
{
    uint8_t head[BLOCK_SECTOR_BYTES];
    struct iovec all = { head, sizeof(head) };
    struct iovec part[BLOCK_MAX_IOV];
    size_t at = (size_t)offset;
    int parts, rc = raw_readv(n, 0, &all, 1, sizeof(head));

    if (rc < 0) return rc;
    if (bytes > sizeof(head) - at) bytes = sizeof(head) - at;
    parts = iov_slice(iov, iovcnt, 0, bytes, part);
    for (int i = 0; i < parts; i++) {
        memcpy(head + at, part[i].iov_base, part[i].iov_len);
        at += part[i].iov_len;
    }
    return block_foreign_format(head, sizeof(head)) == NULL ? 0 : -EPERM;
}

static int raw_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes, unsigned flags)
{
    struct raw *r = n->s;
    struct node *c = n->child;

    if (r->is_probed && offset < BLOCK_SECTOR_BYTES) {
        int rc = check_first_sector(n, offset, iov, iovcnt, bytes);
        if (rc < 0) return rc;
    }
    return node_write(c, offset + r->offset, iov, iovcnt, flags);
}

static int raw_flush(struct node *n)
{
    return node_flush(n->child);
}

static int raw_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    const struct raw *r = n->s;
    struct node *c = n->child;

    offset += r->offset;
    if (offset >= c->size_bytes) return 0;
    if (bytes > c->size_bytes - offset) bytes = c->size_bytes - offset;
    return node_discard(c, offset, bytes);
}

static int raw_zero(struct node *n, uint64_t offset, uint64_t bytes,
                    unsigned flags)
{
    /* Zeros are no image header, but the way to one is checked as a whole. */
    const struct raw *r = n->s;

    if (r->is_probed && offset < BLOCK_SECTOR_BYTES) return -ENOTSUP;
    return node_zero(n->child, offset + r->offset, bytes, flags);
}

static int raw_status(struct node *n, uint64_t offset, uint64_t bytes,
                      struct node_extent *out)
{
    const struct raw *r = n->s;
    struct node *c = n->child;

    offset += r->offset;
    if (offset < c->size_bytes) return node_status(c, offset, bytes, out);
    *out = (struct node_extent){ .bytes = bytes,
                                 .flags = EXTENT_ZERO | EXTENT_ALLOCATED };
    return 0;
}

static int raw_run(struct node *n, uint64_t offset, uint64_t bytes,
                   bool is_write, struct node_run *out)
{
    const struct raw *r = n->s;
    struct node *c = n->child;

    if (is_write && r->is_probed && offset < BLOCK_SECTOR_BYTES) return -EAGAIN;
    offset += r->offset;
    if (offset + bytes > c->size_bytes) return -EAGAIN;
    return node_run(c, offset, bytes, is_write, out);
}

static int raw_truncate(struct node *n, uint64_t size_bytes, const char *how,
                        bool may_shrink, struct err *e)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    const struct raw *r = n->s;
    int rc;

    if (r->has_size)
        return err_set(e, -ENOTSUP, "Cannot resize fixed-size raw disks");
    size_bytes = (size_bytes + mask) & ~mask;
    if (size_bytes > INT64_MAX - r->offset)
        return err_set(e, -EFBIG, "size too large");
    rc = node_truncate(n->child, size_bytes + r->offset, how, may_shrink, e);
    if (rc == 0) n->size_bytes = n->child->size_bytes - r->offset;
    return rc;
}

static const char *const raw_preallocation[] = { "off", "falloc", "full",
                                                 NULL };
static const struct image_create_opt raw_create_opts[] = {
    { .key = "extent_size_hint",
      .type = IMAGE_SIZE,
      .help = "Extent size hint for the image file, 0 to disable",
      .max = UINT32_MAX },
    { .key = "nocow",
      .type = IMAGE_BOOL,
      .help = "Turn off copy-on-write (valid only on btrfs)" },
    { .key = "preallocation",
      .type = IMAGE_TEXT,
      .help = "Preallocation mode (allowed values: off, falloc, full)",
      .words = raw_preallocation },
    { .key = "size", .type = IMAGE_SIZE, .help = "Virtual disk size" },
    { .key = NULL },
};

static int raw_create(const struct image_create *c, struct err *e)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    const char *how = image_opt_text(c, "preallocation");
    struct node *file;
    int rc = image_create_file(c, &file, e);

    if (rc < 0) return rc;
    rc = node_truncate(file, (c->size_bytes + mask) & ~mask,
                       how == NULL ? "off" : how, true, e);
    node_unref(file);
    return rc;
}

static int raw_measure(const struct image_create *c, struct node *source,
                       uint64_t *required, uint64_t *fully_allocated,
                       struct err *e)
{
    const uint64_t mask = BLOCK_SECTOR_BYTES - 1;
    uint64_t bytes = source != NULL ? source->size_bytes : c->size_bytes;

    (void)e;
    *required = *fully_allocated = (bytes + mask) & ~mask;
    return 0;
}

static void raw_close(struct node *n)
{
    free(n->s);
}

static const char *const keys[] = { "offset", "size", NULL };

const struct block_driver block_raw = {
    .name = "raw",
    .title = "the file is the disk",
    .keys = keys,
    .probe = raw_probe,
    .open = raw_open,
    .readv = raw_readv,
    .writev = raw_writev,
    .flush = raw_flush,
    .discard = raw_discard,
    .zero = raw_zero,
    .status = raw_status,
    .run = raw_run,
    .truncate = raw_truncate,
    .create_opts = raw_create_opts,
    .create = raw_create,
    .measure = raw_measure,
    .close = raw_close,
};
