/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes: the driver table, probing, and range-checked access. */
#include "block/block_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct block_driver *const block_drivers[] = {
    &block_raw,
    NULL,
};

/* First octets of image formats, from their public descriptions. */
static const struct magic {
    const char *format;
    uint32_t offset, bytes;
    const char *octets;
} magics[] = {
    /* clang-format off */
    { "qcow2", 0,    4, "QFI\xfb" },
    { "qed",   0,    4, "QED\0" },
    { "vmdk",  0,    4, "KDMV" },
    { "vmdk",  0,    4, "COWD" },
    { "vmdk",  0,   21, "# Disk DescriptorFile" },
    { "vdi",   0x40, 4, "\x7f\x10\xda\xbe" },
    { "vhdx",  0,    8, "vhdxfile" },
    { "vpc",   0,    8, "conectix" },
    { "parallels", 0, 16, "WithoutFreeSpace" },
    { "parallels", 0, 16, "WithouFreSpacExt" },
    /* clang-format on */
};

const char *block_foreign_format(const uint8_t *head, size_t bytes)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        const struct magic *m = &magics[i];

        if (m->offset + m->bytes <= bytes &&
            memcmp(head + m->offset, m->octets, m->bytes) == 0)
            return m->format;
    }
    return NULL;
}

int node_open(const struct block_driver *drv, const char *name,
              struct node *child, const struct node_options *o,
              struct node **out, struct err *e)
{
    struct node *n = calloc(1, sizeof(*n));
    int rc;

    if (n != NULL) n->name = strdup(name);
    if (n == NULL || n->name == NULL) {
        rc = err_set(e, -ENOMEM, "out of memory");
        goto free_node;
    }
    n->drv = drv;
    n->child = child;
    rc = drv->open(n, o, e);
    if (rc < 0) goto free_node;
    *out = n;
    return 0;
free_node:
    if (n != NULL) free(n->name);
    free(n);
    node_close(child);
    return rc;
}

void node_close(struct node *n)
{
    while (n != NULL) {
        struct node *child = n->child;

        n->drv->close(n);
        free(n->name);
        free(n);
        n = child;
    }
}

static const struct block_driver *driver_by_name(const char *name)
{
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        if (strcmp(block_drivers[i]->name, name) == 0) return block_drivers[i];
    }
    return NULL;
}

static int probe(struct node *file, const struct block_driver **out,
                 struct err *e)
{
    uint8_t head[BLOCK_PROBE_BYTES] = { 0 };
    struct iovec iov = { head, sizeof(head) };
    const char *foreign;
    int rc, best = 0;

    if (file->size_bytes < sizeof(head)) iov.iov_len = file->size_bytes;
    rc = node_read(file, 0, &iov, 1);
    if (rc < 0)
        return err_set(e, rc, "%s: cannot be read: %s", file->name,
                       strerror(-rc));
    *out = NULL;
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        const struct block_driver *d = block_drivers[i];
        int score = d->probe != NULL ? d->probe(head, iov.iov_len) : 0;

        if (score > best) {
            best = score;
            *out = d;
        }
    }
    if (*out != NULL) return 0;
    foreign = block_foreign_format(head, iov.iov_len);
    return err_set(e, -ENOTSUP,
                   "%s: image format '%s' is not supported; convert it to "
                   "raw, or say format=raw if it is the disk itself",
                   file->name, foreign != NULL ? foreign : "unknown");
}

static int check_format(const char *format, const struct block_driver **drv,
                        struct err *e)
{
    *drv = NULL;
    if (format == NULL) return 0;
    *drv = driver_by_name(format);
    if (*drv != NULL) return 0;
    return err_set(e, -EINVAL, "unknown image format '%s'", format);
}

int node_open_image(const char *file, const char *format, bool is_snapshot,
                    struct node_options *o, struct node **out, struct err *e)
{
    const struct block_driver *drv;
    struct node_options below = *o;
    struct node *n;
    int rc = check_format(format, &drv, e);

    if (rc < 0) return rc;
    if (is_snapshot) below.is_readonly = true;
    rc = node_open(&block_file, file, NULL, &below, &n, e);
    if (rc < 0) return rc;
    if (drv == NULL) {
        rc = probe(n, &drv, e);
        if (rc < 0) {
            node_close(n);
            return rc;
        }
        below.is_probed = true;
    }
    rc = node_open(drv, file, n, &below, &n, e);
    if (rc < 0) return rc;
    if (is_snapshot && !o->is_readonly)
        rc = node_open(&block_overlay, file, n, o, &n, e);
    if (rc == 0) *out = n;
    return rc;
}

/* Total of iov if the range lies on the disk, else -EIO. */
static int64_t check_range(const struct node *n, uint64_t offset,
                           const struct iovec *iov, int iovcnt)
{
    int64_t bytes = iov_bytes(iov, iovcnt);

    if (bytes < 0) return bytes;
    if (offset > n->size_bytes || (uint64_t)bytes > n->size_bytes - offset)
        return -EIO;
    return bytes;
}

int node_read(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt)
{
    int64_t bytes = check_range(n, offset, iov, iovcnt);

    if (bytes <= 0) return (int)bytes;
    return n->drv->readv(n, offset, iov, iovcnt, (size_t)bytes);
}

int node_write(struct node *n, uint64_t offset, const struct iovec *iov,
               int iovcnt)
{
    int64_t bytes = check_range(n, offset, iov, iovcnt);

    if (bytes <= 0) return (int)bytes;
    if (n->is_readonly) return -EROFS;
    return n->drv->writev(n, offset, iov, iovcnt, (size_t)bytes);
}

int node_flush(struct node *n)
{
    return n->drv->flush(n);
}

int node_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    if (offset > n->size_bytes || bytes > n->size_bytes - offset) return -EIO;
    if (n->is_readonly) return -EROFS;
    return bytes == 0 ? 0 : n->drv->discard(n, offset, bytes);
}
