/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large a qcow2 image would be (img measure). */
#include <errno.h>

#include "block/qcow2_ops.h"

/* Is there something to store for what lies at offset?  *bytes (in: at most)
 * are alike.  has_base: what the top does not hold is left to a backing file.
 */
static int is_data(struct node *n, uint64_t offset, uint64_t *bytes,
                   bool has_base)
{
    while (n != NULL && offset < n->size_bytes) {
        struct node_extent x;
        int rc = node_status(n, offset, *bytes, &x);

        if (rc < 0) return rc;
        if (x.bytes == 0) return -EIO;
        if (x.bytes < *bytes) *bytes = x.bytes;
        if (x.flags & EXTENT_ZERO) return 0;
        if (x.flags & (EXTENT_DATA | EXTENT_COMPRESSED)) return 1;
        if (has_base) return 0;
        n = n->backing;
        if (n != NULL &&
            offset<n->size_bytes && * bytes> n->size_bytes - offset)
            *bytes = n->size_bytes - offset;
    }
    return 0;
}

/* Octets in clusters that hold data. */
static int count_data(struct node *source, uint32_t cluster_bits, bool has_base,
                      const struct image_progress *p, uint64_t *out)
{
    uint64_t size = source->size_bytes,
             mask = (UINT64_C(1) << cluster_bits) - 1;
    uint64_t counted_to = 0, at = 0;

    *out = 0;
    while (at < size) {
        uint64_t bytes = size - at, end;
        int rc = is_data(source, at, &bytes, has_base);

        if (rc < 0) return rc;
        end = at + bytes;
        if (rc > 0) {
            uint64_t from = at & ~mask, to = (end + mask) & ~mask;

            if (from < counted_to) from = counted_to;
            if (to > from) *out += to - from;
            counted_to = to > counted_to ? to : counted_to;
        }
        at = end;
        rc = image_progress(p, at, size);
        if (rc < 0) return rc;
    }
    return 0;
}

int qcow2_measure(const struct image_create *c, struct node *source,
                  uint64_t *required, uint64_t *fully_allocated, struct err *e)
{
    uint64_t size = source != NULL ? source->size_bytes : c->size_bytes;
    uint64_t full, all_data, data = 0;
    struct qcow2_plan p;
    int rc = qcow2_plan_options(c, &p, e);

    if (rc == 0 && p.is_encrypted &&
        image_opt_text(c, "encrypt.key-secret") == NULL)
        rc = err_set(e, -EINVAL,
                     "Parameter 'encrypt.key-secret' is required for cipher");
    if (rc == 0) rc = qcow2_plan_layout(&p, size, true, e);
    if (rc < 0) return rc;
    /* An image without a disk still has an L1 table here, not in QEMU. */
    full = (size == 0 ? p.total - p.l1 : p.total) << p.h.cluster_bits;
    all_data = p.data << p.h.cluster_bits;
    if (p.prealloc == QCOW2_PREALLOC_FALLOC ||
        p.prealloc == QCOW2_PREALLOC_FULL) {
        data = all_data;
    } else if (source != NULL) {
        rc = count_data(source, p.h.cluster_bits,
                        image_opt_text(c, "backing_file") != NULL, c->progress,
                        &data);
        if (rc < 0) return err_set(e, rc, "%s: cannot be read", source->name);
    }
    *fully_allocated = full;
    *required = full - all_data + data;
    return 0;
}
