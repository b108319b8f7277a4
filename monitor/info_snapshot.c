/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info snapshots. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/snapshot.h"
#include "core/base/size.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"
#include "monitor/savevm.h"

/* Columns as QEMU has them. */
#define ROW "%-9s %-16s %8s %19s %12s %10s\n"

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
