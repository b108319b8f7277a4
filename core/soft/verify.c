/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include "core/soft/code.h"

enum verify_result verify_block(struct engine *eng)
{
    (void)eng;
    return VERIFY_EMULATE;
}

uint64_t verify_log_store(struct engine *eng, uint8_t *host, unsigned bytes)
{
    (void)eng, (void)bytes;
    return (uint64_t)host;
}
