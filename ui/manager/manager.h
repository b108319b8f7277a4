/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_MANAGER_MANAGER_H
#define ORRERY_UI_MANAGER_MANAGER_H

/* The machine manager: `orrery` without arguments.  Returns the exit
 * status; takes over the terminal until the user leaves. */
int manager_main(void);

#endif
