/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_MANAGER_MACHINE_H
#define ORRERY_UI_MANAGER_MACHINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Machines as the manager knows them: each is a folder
 * $XDG_DATA_HOME/orrery/NAME with a hand-editable machine.conf; its disks,
 * log and trashed state live beside it.  A running machine is a process of
 * its own that answers on $XDG_RUNTIME_DIR/orrery/NAME.sock.  One thread.
 */
enum { MACHINE_NAME_MAX = 48, MACHINE_DISKS = 4, MACHINE_ARGS = 64 };

struct machine {
    char name[MACHINE_NAME_MAX + 1];
    char dir[PATH_MAX];
    /* As in machine.conf; texts, checked by machine_check.  Empty = default */
    char *type, *memory, *cpus, *cpu, *accel;
    char *boot;  /* letters of -boot */
    char *cdrom; /* file, empty = empty drive */
    char *floppy;
    char *disk[MACHINE_DISKS]; /* relative names are in dir */
    char *vnc;                 /* display for -vnc, empty = none */
    char *extra;               /* more arguments, split at spaces */
    char *notes;
    char problem[200]; /* why machine.conf can not be used; empty: fine */
};

/* One key of machine.conf: drives file, form, checks and help. */
struct machine_key {
    const char *key, *label;
    size_t offset; /* char * in struct machine */
    const char *def;
    const char *help; /* range, unit, why one would change it */
    /* 0, or -EINVAL with what is wrong. */
    int (*check)(const struct machine *m, const char *value, struct err *e);
};
extern const struct machine_key machine_keys[]; /* ends with key NULL */
const char *machine_value(const struct machine *m, const struct machine_key *k);
int machine_set(struct machine *m, const struct machine_key *k,
                const char *value);

/* Folder of all machines; created on first use. */
int machine_home(char *path, size_t cap, struct err *e);
int machine_socket(const char *name, char *path, size_t cap, struct err *e);

/* Letters, digits, '-', '_', '.', no dot first, at most MACHINE_NAME_MAX. */
int machine_check_name(const char *name, struct err *e);

/* Size of a disk to make, e.g. "20G"; empty is fine (none). */
int machine_check_size(const char *size, struct err *e);

void machine_init(struct machine *m, const char *name); /* with defaults */
void machine_free(struct machine *m);
/* Read NAME's folder.  A bad machine.conf is not an error: see problem. */
int machine_load(struct machine *m, const char *name, struct err *e);
/* All, sorted by name; free each and the array. */
int machine_list(struct machine **out, size_t *count, struct err *e);
/* Every key through its check: first error. */
int machine_check(const struct machine *m, struct err *e);
/* Write machine.conf (keeps comments). */
int machine_save(const struct machine *m, struct err *e);

/* Make the folder, disks (size text per disk, NULL none) and machine.conf.
 * On failure nothing is left behind. */
int machine_create(struct machine *m, const char *const size[MACHINE_DISKS],
                   struct err *e);

/* Move to the trash; where gets its folder there, for machine_restore. */
int machine_trash(const struct machine *m, char *where, size_t cap,
                  struct err *e);
int machine_restore(const char *where, struct err *e);

/* The command line: argv[0] is "orrery"; ends with NULL; free each. */
int machine_argv(const struct machine *m, char *argv[MACHINE_ARGS],
                 struct err *e);
void machine_argv_free(char *argv[MACHINE_ARGS]);

/*
 * Start the process and wait until its control socket answers.  An error of
 * the machine's own (bad option, missing file) is what e says.  Up to 20 s.
 */
int machine_start(const struct machine *m, bool is_paused, struct err *e);
bool machine_is_running(const char *name);
/* Run one monitor line on the running machine; reply (may be NULL) is
 * malloc'ed. -ECONNREFUSED when it does not run. */
int machine_monitor(const char *name, const char *line, char **reply,
                    struct err *e);
/* quit, and wait until the process is gone (5 s). */
int machine_stop(const char *name, struct err *e);

#endif
