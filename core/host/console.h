/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_CONSOLE_H
#define ORRERY_HOST_CONSOLE_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * Text consoles in the display: every character device of kind "vc" (monitor,
 * serial and parallel ports) is a screen of its own.  Console 0 is the guest's
 * picture; Ctrl-Alt-1, Ctrl-Alt-2 ... in any view show 0, 1 ...  All views
 * show the same console.  While a text console is shown, keys of views go
 * there; sendkey goes to the guest.  Loop thread, VM lock held, except where
 * said.
 */
struct vm;

/* Once the character devices are registered; lock not held.  Without a "vc"
 * there is console 0 alone. */
int console_create(struct vm *vm, struct err *e);
void console_destroy(struct vm *vm); /* lock not held */

void console_select_locked(struct vm *vm, unsigned n); /* unknown n: ignored */
unsigned console_active_locked(struct vm *vm);
/* Name of the n-th console, "VGA" or that of the device; NULL at the end. */
const char *console_name_locked(struct vm *vm, unsigned n);

/* A key of a view, before the guest gets it.  true: taken. */
bool console_key_locked(struct vm *vm, unsigned keycode, bool is_down);
/* The same for keys pressed in order and released at once. */
bool console_keys_locked(struct vm *vm, const unsigned *keycodes,
                         unsigned count);

#endif
