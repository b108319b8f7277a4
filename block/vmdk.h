/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_VMDK_H
#define ORRERY_BLOCK_VMDK_H

#include "block/map.h"

/* Inside of the VMDK driver (vmdk.c, vmdk_text.c). */
enum {
    VMDK_MAX_TEXT = 256 << 10, /* descriptor */
    VMDK_MAX_EXTENTS = 1024,
};

enum vmdk_kind { VMDK_SPARSE, VMDK_FLAT, VMDK_ZERO };
struct vmdk_extent {
    enum vmdk_kind kind;
    struct node *file;     /* NULL: none, or not opened */
    uint64_t start, bytes; /* of the disk */
    uint64_t flat_at;      /* FLAT: where in the file it begins */
    uint64_t directory_at; /* SPARSE */
    uint32_t grain_bytes, table_entries;
    bool is_compressed, has_zero_grains;
    char name[1024];
};

struct vmdk {
    struct map map;
    struct vmdk_extent *extents; /* in the order of the disk */
    unsigned count;
    bool is_described; /* the file is a descriptor */
    uint32_t cid, parent_cid;
    char create_type[64];
};

int vmdk_open_sparse(struct node *file, struct vmdk_extent *x, uint8_t *h,
                     struct err *e);
/* The descriptor at `at` of n's file.  is_inside: the only extent is known
 * already.  Fills create_type, ids, extents, size, backing file. */
int vmdk_read_descriptor(struct node *n, struct vmdk *v, uint64_t at,
                         size_t bytes, bool is_inside,
                         const struct node_options *o, struct err *e);

#endif
