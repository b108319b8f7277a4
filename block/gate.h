/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_GATE_H
#define ORRERY_BLOCK_GATE_H

#include "block/block_int.h"

/*
 * Filter "gate" at the root of a graph while a job works on it: it tells the
 * job of every change, and lets the job keep a range to itself for a while.
 */
struct gate_hooks {
    /* Before and after a write, zero or discard; worker threads.  A failing
     * `before' fails the write.  Either may be NULL. */
    int (*before)(void *arg, uint64_t offset, uint64_t bytes);
    void (*after)(void *arg, uint64_t offset, uint64_t bytes);
    void *arg;
};
/* Takes a reference to below. */
int gate_open(struct node *below, const struct gate_hooks *hooks,
              struct node **out, struct err *e);
/* Wait until nothing is being changed in the range, and let nothing change it
 * until gate_unlock.  One lock at a time, from the job's thread. */
void gate_lock(struct node *gate, uint64_t offset, uint64_t bytes);
void gate_unlock(struct node *gate);

#endif
