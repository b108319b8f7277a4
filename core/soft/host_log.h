/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_HOST_LOG_H
#define ORRERY_SOFT_HOST_LOG_H

#include <stdint.h>

struct block;
struct engine;

/* Log a new block's instructions.  Guest vector state saved. */
void host_log_block(const struct engine *eng, const struct block *b,
                    const uint8_t *start, uint64_t lin, const uint8_t *next);

#endif
