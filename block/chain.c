/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/file.h"

int chain_status(struct node *n, const struct node *base, uint64_t offset,
                 uint64_t bytes, enum chain_kind *kind, uint64_t *run)
{
    *kind = CHAIN_BELOW;
    for (; n != NULL && n != base; n = n->backing) {
        struct node_extent x;
        int rc;

        if (offset >= n->size_bytes) { /* shorter than what stands on it */
            *kind = CHAIN_ZERO;
            break;
        }
        rc = node_status(n, offset, bytes, &x);
        if (rc < 0) return rc;
        if (x.bytes < bytes) bytes = x.bytes;
        if (!(x.flags & EXTENT_ALLOCATED)) continue;
        *kind = x.flags & EXTENT_ZERO ? CHAIN_ZERO : CHAIN_DATA;
        break;
    }
    *run = bytes;
    return 0;
}

bool chain_contains(const struct node *n, const struct node *base)
{
    while (n != NULL && n != base)
        n = n->backing;
    return n != NULL;
}

struct node *chain_find(struct node *n, const char *file)
{
    struct stat x, y;
    bool has = stat(file, &x) == 0;

    for (; n != NULL; n = n->backing) {
        if (strcmp(n->name, file) == 0) return n;
        if (n->node_name != NULL && strcmp(n->node_name, file) == 0) return n;
        if (has && stat(n->name, &y) == 0 && x.st_dev == y.st_dev &&
            x.st_ino == y.st_ino)
            return n;
    }
    return NULL;
}

int node_read_padded(struct node *n, uint64_t offset, void *buf, size_t bytes)
{
    size_t here = 0;

    if (offset < n->size_bytes)
        here = bytes < n->size_bytes - offset
                   ? bytes
                   : (size_t)(n->size_bytes - offset);
    memset((uint8_t *)buf + here, 0, bytes - here);
    return here == 0 ? 0 : node_pread(n, offset, buf, here);
}

int chain_copy(struct node *from, struct node *to, uint64_t offset,
               uint64_t bytes, void *buf)
{
    int rc;

    if (offset >= to->size_bytes) return 0;
    if (bytes > to->size_bytes - offset) bytes = to->size_bytes - offset;
    rc = node_read_padded(from, offset, buf, bytes);
    if (rc < 0) return rc;
    if (buf_is_zero(buf, bytes))
        return node_zero(to, offset, bytes, NODE_REQ_UNMAP);
    return node_pwrite(to, offset, buf, bytes);
}

int chain_open_writable(const struct node *n, struct node **out, struct err *e)
{
    const struct node_options o = { .is_unlocked = true,
                                    .is_no_backing = true };

    return node_open_image(n->name, n->drv->name, false, false, &o, out, e);
}

int chain_lock(struct node *n, struct err *e)
{
    while (n->child != NULL)
        n = n->child;
    return file_lock(n, e);
}
