/* SPDX-License-Identifier: GPL-2.0-or-later */
/* savevm, loadvm, delvm, info snapshots. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/snapshot.h"
#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/migrate.h"
#include "monitor/savevm.h"

/* Columns as QEMU has them. */
#define ROW "%-9s %-16s %8s %19s %12s %10s\n"

/* "vm-20260131120000", as QEMU names one that got no name. */
static const char *default_name(char *buf, size_t cap)
{
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(buf, cap, "vm-%Y%m%d%H%M%S", &tm);
    return buf;
}

int cmd_savevm(struct cmd *c, struct err *e)
{
    char buf[64];
    const char *name =
        c->arg[1].is_given ? c->arg[1].text : default_name(buf, sizeof(buf));
    uint64_t paused_ns = 0;
    int rc = migrate_check_idle_locked(c->vm, e);

    if (rc == 0)
        rc =
            savevm_begin_locked(c->vm, name, c->arg[0].is_given, &paused_ns, e);
    if (rc < 0) return rc;
    fprintf(c->out,
            "Snapshot '%s' taken, the machine stood still for %.1f ms; it is "
            "being written in the background\n",
            name, (double)paused_ns / 1e6);
    return 0;
}

int cmd_savevm_wait(struct cmd *c, struct err *e)
{
    return savevm_wait_locked(c->vm, e);
}

int cmd_savevm_cancel(struct cmd *c, struct err *e)
{
    return savevm_cancel_locked(c->vm, e);
}

int cmd_loadvm(struct cmd *c, struct err *e)
{
    int rc = migrate_check_idle_locked(c->vm, e);

    if (rc == 0) rc = loadvm_locked(c->vm, c->arg[0].text, e);

    if (rc == 0) fprintf(c->out, "Back at snapshot '%s'\n", c->arg[0].text);
    return rc;
}

int cmd_delvm(struct cmd *c, struct err *e)
{
    int rc = delvm_locked(c->vm, c->arg[0].text, e);

    if (rc == 0) fprintf(c->out, "Snapshot '%s' deleted\n", c->arg[0].text);
    return rc;
}

static void print_snapshot(const struct snapshot_info *s, FILE *out)
{
    uint64_t ms = s->vm_clock_ns / 1000000;
    time_t date = (time_t)s->date_sec;
    char when[40], clock[40], size[40];
    struct tm tm;

    localtime_r(&date, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(clock, sizeof(clock), "%02u:%02u:%02u.%03u",
             (unsigned)(ms / 3600000), (unsigned)(ms / 60000 % 60),
             (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000));
    fprintf(out, ROW, "--", s->name,
            size_text(s->vm_state_bytes, size, sizeof(size)), when, clock, "");
}

int info_snapshots(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct snapshot_info *all = NULL;
    unsigned count = 0;
    int rc = 0;

    savevm_progress_locked(c->vm, c->out);
    if (t != NULL) rc = snapshot_list(t, &all, &count, e);
    if (rc < 0) return rc;
    if (count == 0) {
        fputs("There is no snapshot available.\n", c->out);
    } else {
        fputs("List of snapshots present on all disks:\n", c->out);
        fprintf(c->out, ROW, "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
                "ICOUNT");
    }
    for (unsigned i = 0; i < count; i++)
        print_snapshot(&all[i], c->out);
    free(all);
    return 0;
}
