/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_ABSENT_H
#define ORRERY_MONITOR_ABSENT_H

#include <stddef.h>

/* Why a command or page of QEMU's is not here; NULL: it is no such name. */
const char *absent_command(const char *name, size_t len);
const char *absent_page(const char *name, size_t len);

#endif
