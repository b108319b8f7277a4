/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_CHAIN_H
#define ORRERY_BLOCK_CHAIN_H

#include "block/block_int.h"

/* Work on chains of backing files, for jobs and `commit'. */

enum chain_kind {
    CHAIN_BELOW, /* no node above base decides: base (or nothing) has it */
    CHAIN_ZERO,
    CHAIN_DATA,
};
/* What a range is, looked at from n down to, not into, base (NULL: to the
 * end, where what nobody has is CHAIN_BELOW).  *run: this much is alike. */
int chain_status(struct node *n, const struct node *base, uint64_t offset,
                 uint64_t bytes, enum chain_kind *kind, uint64_t *run);
bool chain_contains(const struct node *n, const struct node *base);
/* The node of the chain whose file this is, or NULL. */
struct node *chain_find(struct node *n, const char *file);

/* Read; what lies past the node's end is zeros. */
int node_read_padded(struct node *n, uint64_t offset, void *buf, size_t bytes);
/* Copy a range; zeros stay zeros, holes in to are used where may_unmap. */
int chain_copy(struct node *from, struct node *to, uint64_t offset,
               uint64_t bytes, void *buf);

/* Open the file of a node of a chain once more, for writing.  Its locks are
 * taken only by chain_lock: the reader in this process denies it to others
 * until then. */
int chain_open_writable(const struct node *n, struct node **out, struct err *e);
int chain_lock(struct node *n, struct err *e);
/* Open the backing files of n (again), as its header names them. */
int node_open_backing(struct node *n, const struct node_options *o,
                      struct err *e);

#endif
