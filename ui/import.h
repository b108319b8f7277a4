/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_IMPORT_H
#define ORRERY_UI_IMPORT_H

/*
 * `orrery import FILE [DIR]`: make a folder of a machine that snapshot_export
 * wrote: its disks, its state, and a script `start' that goes on with it.
 * Returns the exit status; on failure there is no folder.
 */
int import_main(int argc, char **argv);

#endif
