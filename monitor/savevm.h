/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_SAVEVM_H
#define ORRERY_MONITOR_SAVEVM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * Snapshots of the running machine.  Saving stops it only while the devices
 * are written down, the disks take their snapshots and the process forks; a
 * frozen copy in a child is then compressed and written in the background.
 * Loop thread, VM lock held.
 */
struct vm;

/* Begin; the machine runs again when it returns.  may_replace: a snapshot of
 * that name is deleted first.  *paused_ns: how long the guest stood still. */
int savevm_begin_locked(struct vm *vm, const char *name, bool may_replace,
                        uint64_t *paused_ns, struct err *e);
/* Wait until what was begun is written: 0 or how it failed.  Nothing begun:
 * 0. */
int savevm_wait_locked(struct vm *vm, struct err *e);
/* Stop writing; the snapshot is deleted. */
int savevm_cancel_locked(struct vm *vm, struct err *e);
/* A line about what is being written; false: nothing is. */
bool savevm_progress_locked(struct vm *vm, FILE *out);
/* Go back; whether the machine runs stays as it was. */
int loadvm_locked(struct vm *vm, const char *name, struct err *e);
int delvm_locked(struct vm *vm, const char *name, struct err *e);
/* Before the drives go: waits for the background, lock not held. */
void savevm_end(struct vm *vm);

#endif
