/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_SNAPSHOT_ABOUT_H
#define ORRERY_MONITOR_SNAPSHOT_ABOUT_H

#include "block/snapshot.h"
#include "monitor/vmstate.h"

/* The snapshots of a machine with what their states tell of themselves.  Loop
 * thread, VM lock held. */
struct vm;

struct snapshot_entry {
    struct snapshot_info info;
    bool has_about; /* there is a state of ours in it */
    struct vmstate_about about;
    int parent; /* index of the nearest ancestor that is there; -1: none */
};

struct snapshot_entries {
    struct snapshot_entry *v;
    unsigned count;
    int current; /* what the machine goes on from; -1: none of them */
};

/* Free in any case.  name: that one alone, or NULL; -ENOENT. */
int snapshot_entries_load_locked(struct vm *vm, const char *name,
                                 struct snapshot_entries *out, struct err *e);
void snapshot_entries_free(struct snapshot_entries *s);

#endif
