/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_VM_BOOT_H
#define ORRERY_VM_BOOT_H

#include "core/base/err.h"

/*
 * Service "boot_set": the machine's boot order as letters ("cad"), from now
 * on and across resets.  -EINVAL with a message.  VM lock held.
 */
struct boot_set_service {
    int (*set)(void *arg, const char *letters, struct err *e);
    void *arg;
};

#endif
