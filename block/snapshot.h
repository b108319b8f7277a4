/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_SNAPSHOT_H
#define ORRERY_BLOCK_SNAPSHOT_H

#include "block/block.h"

/*
 * Snapshots of all writable drives of a machine under one name, as internal
 * snapshots of their images.  The first drive that can holds the state of the
 * machine, behind the disk's end.  Loop thread, machine stopped, except where
 * said.
 */
struct snapshot_info {
    char id[128], name[256];
    uint64_t vm_state_bytes;
    uint64_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock_ns;
};

/* Which drives take part (ids, or node names "#id") and which of them holds
 * the machine's state; NULL: its default. */
struct snapshot_set {
    char **drive;
    unsigned count;
    char *holder;
};

/* Every drive of the set is there, every writable drive of the set can take
 * part: 0, or which one cannot and why.  set NULL: all writable drives. */
int snapshot_check(struct drive_table *t, const struct snapshot_set *set,
                   struct err *e);
/* Of the drive that holds machine states; caller frees *out. */
int snapshot_list(struct drive_table *t, struct snapshot_info **out,
                  unsigned *count, struct err *e);
const char *snapshot_drive_id(struct drive_table *t); /* NULL: none */
/* Flush the drives that take part, so that little is left for create. */
void snapshot_flush(struct drive_table *t);
/* By name or id; -ENOENT. */
int snapshot_find(struct drive_table *t, const struct snapshot_set *set,
                  const char *name, struct snapshot_info *out, struct err *e);
/* The disks as they are now; no machine state yet.  On failure no drive keeps
 * one. */
int snapshot_create(struct drive_table *t, const struct snapshot_set *set,
                    const struct snapshot_info *s, struct err *e);
/* The disks become what they were.  *is_changed: a failure came too late, one
 * of them is already. */
int snapshot_apply(struct drive_table *t, const struct snapshot_set *set,
                   const char *name, bool *is_changed, struct err *e);
/* From every drive of the set that has it; -ENOENT: none has. */
int snapshot_delete(struct drive_table *t, const struct snapshot_set *set,
                    const char *name, struct err *e);

/* The machine's state of a snapshot.  Any one thread, machine running or not;
 * the drives stay while it is open. */
struct vmstate_file;
int vmstate_open(struct drive_table *t, const struct snapshot_set *set,
                 const char *name, struct vmstate_file **out, struct err *e);
int vmstate_pwrite(struct vmstate_file *f, uint64_t pos, const void *buf,
                   size_t bytes);
int vmstate_pread(struct vmstate_file *f, uint64_t pos, void *buf,
                  size_t bytes);
/* Of a finished one, in its place; a crash may leave some of it. */
int vmstate_patch(struct vmstate_file *f, uint64_t pos, const void *buf,
                  size_t bytes);
/* Written: this many octets count. */
int vmstate_finish(struct vmstate_file *f, uint64_t bytes, struct err *e);
void vmstate_close(struct vmstate_file *f);

#endif
