/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_HUB_H
#define ORRERY_MONITOR_HUB_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * What the JSON monitors of one VM share: events on their way to them.  Made
 * for the first of them, gone with the last.  VM lock held except where said.
 */
struct vm;
struct qmp;

enum { HUB_MAX_PEERS = 16 };

/* Loop thread, lock not held.  q NULL: a monitor that wants no events. */
int hub_join(struct vm *vm, struct qmp *q, struct err *e);
void hub_leave(struct vm *vm, struct qmp *q);
/* Hand what happened to the peers now.  Loop thread, lock not held. */
void hub_flush(struct vm *vm);

/* The user, not the guest, asked for what comes next. */
enum hub_cause { HUB_RESET, HUB_QUIT };
void hub_caused_locked(struct vm *vm, enum hub_cause c);

/* Let CPU n execute one instruction, the others none, and pause again: run
 * state "debug".  -EBUSY, -ENOTSUP. */
int hub_step_locked(struct vm *vm, unsigned cpu, struct err *e);

/* qmp.c: one event, complete text; sent to a peer that negotiated. */
void qmp_event(struct qmp *q, const char *text);

#endif
