/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_DEVICES_H
#define ORRERY_HW_DEVICES_H

#include <stdio.h>

#include "core/base/err.h"
#include "core/vm/dev.h"

/*
 * All device classes and -device.  VM lock held, or before the machine runs.
 */
extern const struct dev_class *const dev_classes[]; /* ends with NULL */

const struct dev_class *device_find(const char *name); /* NULL: none */

/* "NAME[,id=ID][,PROP=VALUE...]" (",," stands for a comma in a value). */
int device_add_text(struct vm *vm, const char *text, struct err *e);

/* -device help; and -device NAME,help: -EINVAL if there is no such class. */
void device_print_list(FILE *out);
int device_print_help(const char *name, FILE *out, struct err *e);

#endif
