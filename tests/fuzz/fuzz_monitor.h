/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_TESTS_FUZZ_MONITOR_H
#define ORRERY_TESTS_FUZZ_MONITOR_H

#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "core/loop/loop.h"
#include "tests/unit/support/monitor_rig.h"

/* A machine with an empty drive for the monitor's targets, made once. */
static inline struct monitor_rig *fuzz_machine(void)
{
    static struct monitor_rig *r;
    struct drive_table *t = NULL;
    struct drive *d = NULL;
    void *state = NULL;
    struct err e = ERR_INIT;

    if (r != NULL) return r;
    if (monitor_rig_setup(&state) != 0) abort();
    r = state;
    if (drive_table_create(r->loop, &t) < 0 ||
        drive_add(t, "cd0", true, true, NULL, &d, &e) < 0)
        abort();
    vm_set_service(r->vm, "drives", t);
    return r;
}

/* Would this make or change files, or listen somewhere? */
static inline bool fuzz_is_outside(const char *text)
{
    static const char *const words[] = {
        "save",    "dump",    "gdbserver", "log",   "change", "migrate",
        "nbd",     "commit",  "snapshot",  "drive", "export", "blockdev",
        "object",  "mirror",  "backup",    "trace", "pty",    "path",
        "chardev", "stream",
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strstr(text, words[i]) != NULL) return true;
    }
    return false;
}

#endif
