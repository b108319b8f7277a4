/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MIGRATE_H
#define ORRERY_MONITOR_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * A machine that moves to another program, or arrives from one.  Memory goes
 * while the guest runs, again what it writes meanwhile; then it stands still,
 * the rest goes, the disks change hands.  Until the very end the sender can
 * take everything back and go on.  Loop thread; VM lock held where the name
 * says so, not held elsewhere.  Service "migrate".
 */
struct vm;
struct monitor_session;

enum migrate_state {
    MIGRATE_NONE,
    MIGRATE_SETUP,
    MIGRATE_CANCELLING,
    MIGRATE_CANCELLED,
    MIGRATE_ACTIVE,
    MIGRATE_COMPLETED,
    MIGRATE_FAILED,
};
const char *migrate_state_name(enum migrate_state s); /* QMP's */

/* What can be set.  migrate_set_parameter and migrate_set_capability. */
struct migrate_settings {
    /* Bytes per second; 0, which it is at first, no limit: a busy guest that
     * is sent slowly never gets done, and to leave room on a shared line is
     * for whoever knows the line.  (QEMU begins with 128 MiB/s.) */
    uint64_t max_bandwidth;
    uint64_t downtime_limit_ms;
    bool is_compressed; /* capability compress; file: always is */
    bool has_events;    /* capability events: QMP's MIGRATION */
};
enum { MIGRATE_MAX_DOWNTIME_MS = 2000 * 1000 };
struct migrate_settings *migrate_settings_locked(struct vm *vm);

/* The last migration to or from here. */
struct migrate_status {
    enum migrate_state state;
    bool is_incoming;
    char error[400]; /* of MIGRATE_FAILED, or why it was not possible */
    uint64_t total_ms, setup_ms, downtime_ms, expected_downtime_ms;
    uint64_t sent_bytes; /* received, when incoming */
    uint64_t precopy_bytes, downtime_bytes;
    uint64_t total_bytes, left_bytes; /* of memory */
    uint64_t zero_pages, normal_pages, passes;
    uint64_t dirty_pages_per_s, pages_per_s;
    double mbps;
};
void migrate_status_locked(struct vm *vm, struct migrate_status *out);

/* What changes the machine as a whole has to wait while it moves, and needs
 * one that is here.  0, or -EBUSY, -EPERM and why. */
int migrate_check_idle_locked(struct vm *vm, struct err *e);

/* Begin.  session: is told (its wake) when it is over, or NULL. */
int migrate_begin_locked(struct vm *vm, const char *uri,
                         struct monitor_session *session, struct err *e);
/* Nothing happens when nothing goes on; -EBUSY: too late. */
int migrate_cancel_locked(struct vm *vm, struct err *e);

/* Take the disks back after RUN_POSTMIGRATE; the machine may be started. */
int migrate_take_back_locked(struct vm *vm, struct err *e);

/* Before the machine starts for the first time: it is to arrive by uri, or
 * "defer".  may_start: it runs once it is here (-S was not given). */
int migrate_incoming_prepare(struct vm *vm, const char *uri, bool may_start,
                             struct err *e);
/* After "defer". */
int migrate_incoming_begin_locked(struct vm *vm, const char *uri,
                                  struct err *e);
/* RUN_INMIGRATE: shall it run once it is here?  (cont, stop) */
void migrate_incoming_start_locked(struct vm *vm, bool may_start);

/* Before the monitors and drives go: ends what goes on. */
void migrate_end(struct vm *vm);

#endif
