/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_FILE_H
#define ORRERY_BLOCK_FILE_H

#include "block/block_int.h"

/* Open a regular file or block device, never anything else, within a second.
 * Descriptor or -errno; *is_readonly tells when it fell back to reading. */
int file_open_fd(const char *name, const struct node_options *o,
                 bool *is_readonly, struct err *e);

/* Take the image locks of a node that was opened without (is_unlocked). */
int file_lock(const struct node *n, struct err *e);

#endif
