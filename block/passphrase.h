/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_PASSPHRASE_H
#define ORRERY_BLOCK_PASSPHRASE_H

#include <stddef.h>

#include "core/base/err.h"

/* For the machine and the image tool: the user is asked on the terminal. */
enum { PASSPHRASE_MAX_BYTES = 512 };

/* One line from the terminal (standard input), which does not show it; -EINTR
 * if the user gives up (Ctrl-C, end of input). */
int passphrase_ask(const char *image, char *out, size_t cap, struct err *e);

#endif
