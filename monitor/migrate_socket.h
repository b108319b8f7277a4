/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MIGRATE_SOCKET_H
#define ORRERY_MONITOR_MIGRATE_SOCKET_H

#include "core/base/err.h"

/*
 * Sockets of migrations, not blocking, closed on exec.  address: "HOST:PORT",
 * ":PORT" for loopback, "[HOST]:PORT" for an IPv6 address.  On failure *fd is
 * -1.
 */
int migrate_tcp_check(const char *address, struct err *e);
int migrate_tcp_listen(const char *address, int *fd, struct err *e);
/* Waits; cancel_fd readable ends it. */
int migrate_tcp_connect(const char *address, int cancel_fd, int *fd,
                        struct err *e);
/* Mode 0600; a socket nobody listens on any more is replaced. */
int migrate_unix_listen(const char *path, int *fd, struct err *e);
int migrate_unix_connect(const char *path, int *fd, struct err *e);

#endif
