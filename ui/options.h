/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_OPTIONS_H
#define ORRERY_UI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/vm/config.h"

/*
 * The command line of a machine, spelled as QEMU spells it.  One table
 * (options_table.c) drives parser, -help and manual page.  Nothing is opened
 * or created here; what needs the disk is checked in run_check.c.
 */
enum {
    OPTIONS_MAX_CHARDEVS = 16,
    OPTIONS_MAX_MONITORS = 8,
    OPTIONS_MAX_ACCELS = 4,
    OPTIONS_MAX_OBJECTS = 32,
    OPTIONS_MAX_BLOCKDEVS = 32,
};

struct chardev_option {
    char *name;    /* "serial0", "compat_monitor0" or the user's id= */
    char *spec;    /* as chardev_open takes it, e.g. "mon:stdio" */
    bool is_mux;   /* a monitor may share it with a serial port */
    bool is_stdio; /* takes the terminal */
};

enum help_topic {
    HELP_NONE,
    HELP_OPTIONS,
    HELP_MAN,
    HELP_VERSION,
    HELP_MACHINE,
    HELP_CPU,
    HELP_ACCEL,
    HELP_DISPLAY,
    HELP_DEVICE, /* help_arg: one device, NULL all */
    HELP_VGA,
    HELP_CHARDEV,
    HELP_LOG,
    HELP_TRACE,
    HELP_DRIVE_FORMAT,
};

enum monitor_mode { MONITOR_LINES, MONITOR_JSON, MONITOR_JSON_PRETTY };

struct options {
    struct vm_config cfg;
    enum help_topic help;
    char *help_arg;

    struct chardev_option chardev[OPTIONS_MAX_CHARDEVS];
    unsigned chardev_count;
    unsigned serial_count;
    char *object[OPTIONS_MAX_OBJECTS]; /* -object texts */
    unsigned object_count;
    char *blockdev[OPTIONS_MAX_BLOCKDEVS]; /* -blockdev texts */
    unsigned blockdev_count;
    char *monitor[OPTIONS_MAX_MONITORS]; /* chardev names */
    enum monitor_mode monitor_mode[OPTIONS_MAX_MONITORS];
    unsigned monitor_count;
    char *accel[OPTIONS_MAX_ACCELS]; /* tried in order; none: "auto" */
    unsigned accel_count;

    char *display;      /* "curses", "sdl", "none"; NULL: choose */
    char *display_opts; /* text after the first comma or NULL */
    char *vnc;          /* as given; NULL: no server */
    char *control;      /* control socket of the manager */
    char *gdb;          /* device gdb connects to; NULL: none */
    char *pidfile;
    char *loadvm;   /* snapshot to go on from; NULL: none */
    char *incoming; /* where the machine arrives from; NULL: it is new */
    char *log_file;
    unsigned log_items;  /* enum log_item */
    uint64_t log_events; /* bits by enum trace_event */
    bool is_nographic, is_daemonize, has_nodefaults, is_snapshot_all;
    bool is_singlestep;
    bool has_serial, has_parallel, has_monitor; /* given, even if none */
    bool has_default_cdrom, has_default_floppy; /* filled in, not asked for */
};

void options_init(struct options *o);
void options_free(struct options *o);

/*
 * Parse argv[1..].  0, or -errno with one line that names option and value.
 * If o->help is set afterwards the caller prints that and ends with status 0;
 * nothing else of o is complete then.  is_terminal: standard input and output
 * are a terminal that may be used for the display.
 */
int options_parse(struct options *o, int argc, char **argv, struct err *e);

/* Fill in what was not said as QEMU does: consoles, empty CD and floppy
 * drives, drive numbers.  Part of options_parse; here for tests. */
int options_finish(struct options *o, struct err *e);

/* How many want standard input and output; one can have them. */
unsigned options_count_stdio(const struct options *o);

void options_print_help(FILE *out);
void options_print_man(FILE *out);

/* One row of the table. */
enum option_kind { OPT_SECTION, OPT_CALL, OPT_FLAG, OPT_TEXT };

struct option_row {
    const char *name;  /* without dash; section: its title */
    const char *alias; /* second spelling or NULL */
    const char *arg;   /* what to write after it; NULL: takes no value */
    const char *help;
    enum option_kind kind;
    size_t offset; /* OPT_FLAG: bool, OPT_TEXT: char *, in struct options */
    int (*set)(struct options *o, const char *value, struct err *e);
    unsigned number; /* for rows that share set: see the table */
};
extern const struct option_row option_table[]; /* ends with name NULL */

#endif
