/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MIGRATE_CHANNEL_H
#define ORRERY_MONITOR_MIGRATE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

/*
 * What a migration goes through, by URI:
 *     exec:COMMAND         a shell command's standard input or output
 *     file:PATH            a file, which appears when it is whole
 *     unix:PATH            a socket (mode 0600 when listening)
 *     tcp:[HOST]:PORT      the same; loopback without HOST
 *     fd:NUMBER            a descriptor this program was started with
 * Used by one thread at a time; cancel_fd is an eventfd that ends every wait
 * with -ECANCELED once it is readable, or -1.
 */
struct migrate_channel;

/* Is it one of these? */
int migrate_uri_check(const char *uri, struct err *e);

/* Outgoing: connect, start the command, make the file.  Waits. */
int migrate_channel_connect(const char *uri, int cancel_fd,
                            struct migrate_channel **out, struct err *e);
/* All was written: wait until the file or the command has it. */
int migrate_channel_finish(struct migrate_channel *c, struct err *e);

/* Incoming: open or listen; does not wait for anybody. */
int migrate_channel_listen(const char *uri, int cancel_fd,
                           struct migrate_channel **out, struct err *e);
/* Wait for the peer.  May be called again to wait for another one. */
int migrate_channel_accept(struct migrate_channel *c, struct err *e);
/* Another peer may come. */
bool migrate_channel_is_listener(const struct migrate_channel *c);
/* This one is the right one: nobody else can connect. */
void migrate_channel_stop_listening(struct migrate_channel *c);

/* Both ways: what comes back can be read. */
bool migrate_channel_answers(const struct migrate_channel *c);
/* A migrate_write_fn and migrate_read_fn: all octets, or -errno; -ENODATA at
 * the end. */
int migrate_channel_write(void *c, const void *data, size_t bytes);
int migrate_channel_read(void *c, void *data, size_t bytes);
/* From now on a wait for octets ends with -ETIMEDOUT after so long; 0:
 * never. */
void migrate_channel_set_timeout(struct migrate_channel *c, unsigned ms);

/* An unfinished file goes, an unfinished command is ended.  NULL is
 * allowed. */
void migrate_channel_close(struct migrate_channel *c);

#endif
