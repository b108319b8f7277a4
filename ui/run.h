/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_RUN_H
#define ORRERY_UI_RUN_H

#include "ui/options.h"

/*
 * Run one machine in the foreground until the guest or the user ends it.
 * Prints what goes wrong.  Returns the exit status: 0, 1 for an error, or what
 * an isa-debug-exit device was told.
 */
int run_machine(struct options *o);

/* Print what o->help asks for; exit status. */
int run_print_help(const struct options *o);

/*
 * Everything that can be found wrong before anything is made: files that are
 * missing or not readable, firmware, machine and CPU names, places of
 * character devices, the VNC port.  One line in e.
 */
int run_check(const struct options *o, struct err *e);

/* "-hda", "-cdrom": the option a drive was probably given with. */
const char *run_drive_option(const struct drive_config *d);

/* Where the screen goes if -display was not given: "curses", "sdl" or
 * "none". */
const char *run_choose_display(const struct options *o);

#endif
