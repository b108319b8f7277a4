/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_EXPORT_H
#define ORRERY_MONITOR_EXPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * A snapshot of the machine in one file, while the machine goes on: an archive
 * (tar) of
 *     machine    "key=value" lines: tag, how the program was started
 *                (arg=, in order), the images (disk=ID MEMBER PATH)
 *     ID.qcow2   each disk as it was, compressed, without backing file
 *     state      what -incoming file: takes
 * The file appears under its name when it is whole.  Loop thread, VM lock
 * held.
 */
struct vm;
struct monitor_session;

/* Begin.  session: is told (its wake) when it is over, or NULL. */
int export_begin_locked(struct vm *vm, const char *tag, const char *file,
                        bool may_replace, struct monitor_session *session,
                        struct err *e);
/* Nothing stays of the file. */
int export_cancel_locked(struct vm *vm, struct err *e);
/* A line about what is being exported, or how the last one ended; false:
 * nothing is to be told. */
bool export_progress_locked(struct vm *vm, FILE *out);
/* The snapshot (NULL: any) is not needed by an export: 0, or -EBUSY. */
int export_check_locked(struct vm *vm, const char *tag, struct err *e);
/* Before the drives go, lock not held: gives up what goes on. */
void export_end(struct vm *vm);

#endif
