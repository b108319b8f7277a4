/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot_export, snapshot_export_cancel, info export. */
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/export.h"

/* -d -f tag file */
int cmd_snapshot_export(struct cmd *c, struct err *e)
{
    bool is_waiting = !c->arg[0].is_given && c->s->wake != NULL;
    int rc =
        export_begin_locked(c->vm, c->arg[2].text, c->arg[3].text,
                            c->arg[1].is_given, is_waiting ? c->s : NULL, e);

    if (rc < 0) return rc;
    c->s->is_waiting = is_waiting;
    if (!is_waiting)
        fprintf(c->out, "Exporting '%s' in the background; see info export\n",
                c->arg[2].text);
    return 0;
}

int cmd_snapshot_export_cancel(struct cmd *c, struct err *e)
{
    return export_cancel_locked(c->vm, e);
}

int info_export(struct cmd *c, struct err *e)
{
    (void)e;
    if (!export_progress_locked(c->vm, c->out))
        fputs("No snapshot was exported\n", c->out);
    return 0;
}
