/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include <stdlib.h>
#include <string.h>

struct verify_log *verify_log_new(void)
{
    struct verify_log *l = aligned_alloc(64, sizeof(*l));

    if (l) memset(l, 0, sizeof(*l));
    return l;
}

void verify_log_free(struct verify_log *l)
{
    free(l);
}
