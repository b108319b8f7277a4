/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_HISTORY_H
#define ORRERY_MONITOR_HISTORY_H

/*
 * Lines typed at a terminal, kept from one machine to the next in
 * $XDG_STATE_HOME/orrery/monitor_history (~/.local/state if that is not set),
 * mode 0600.  Failures are silent: a monitor works without it.
 */
struct readline;

void history_load(struct readline *r);
/* Appends; lines with a password in them are left out. */
void history_add(const char *line);

#endif
