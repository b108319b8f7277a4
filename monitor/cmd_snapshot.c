/* SPDX-License-Identifier: GPL-2.0-or-later */
/* savevm, loadvm, delvm and their family. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/snapshot.h"
#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/savevm.h"

/* "vm-20260131120000", as QEMU names one that got no name. */
static const char *default_name(char *buf, size_t cap)
{
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(buf, cap, "vm-%Y%m%d%H%M%S", &tm);
    return buf;
}

/* -f -n NOTE -r RATE name */
int cmd_savevm(struct cmd *c, struct err *e)
{
    char buf[64];
    struct savevm_request r = {
        .kind = SAVEVM_SAVE,
        .name = c->arg[3].is_given ? c->arg[3].text
                                   : default_name(buf, sizeof(buf)),
        .may_replace = c->arg[0].is_given,
        .note = c->arg[1].text,
        .session = c->s,
    };

    if (c->arg[2].is_given &&
        (size_parse(c->arg[2].text, 1 << 20, &r.rate) < 0 || r.rate == 0))
        return err_set(e, -EINVAL,
                       "rate '%s': octets a second, in MiB without a suffix",
                       c->arg[2].text);
    return savevm_submit_locked(c->vm, &r, c->out, e);
}

int cmd_savevm_wait(struct cmd *c, struct err *e)
{
    return savevm_wait_locked(c->vm, c->s, e);
}

int cmd_savevm_cancel(struct cmd *c, struct err *e)
{
    return savevm_cancel_locked(c->vm, e);
}

int cmd_loadvm(struct cmd *c, struct err *e)
{
    struct savevm_request r = { .kind = SAVEVM_LOAD,
                                .name = c->arg[0].text,
                                .session = c->s };

    return savevm_submit_locked(c->vm, &r, c->out, e);
}

int cmd_delvm(struct cmd *c, struct err *e)
{
    struct savevm_request r = { .kind = SAVEVM_DELETE,
                                .name = c->arg[0].text,
                                .session = c->s };

    return savevm_submit_locked(c->vm, &r, c->out, e);
}
