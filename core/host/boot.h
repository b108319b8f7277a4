/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_BOOT_H
#define ORRERY_HOST_BOOT_H

#include "core/base/err.h"

/*
 * How a running machine's boot order is changed (boot_set).  A machine that can
 * do it sets service "boot" to one of these.
 */
struct boot_control {
    /* order: letters a..p, each once, from the next reset on.  VM lock held.
     * -EINVAL naming a letter that means nothing here. */
    int (*set_order)(void *arg, const char *order, struct err *e);
    void *arg;
};

#endif
