/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_OUTPUT_H
#define ORRERY_MONITOR_OUTPUT_H

#include "core/base/err.h"

/*
 * Files that commands write while the machine waits for them (memsave, dumps,
 * pictures, logs): plain files and character devices such as /dev/null.  A
 * FIFO or socket would hold up the machine as long as nobody reads, so it is
 * refused.  Loop thread.
 */

/* Open, and empty, or create with mode.  A descriptor, or -errno. */
int output_open(const char *path, unsigned mode, struct err *e);
/* Whether one could be opened there, as far as its kind goes: 0, -errno. */
int output_check(const char *path, struct err *e);

#endif
