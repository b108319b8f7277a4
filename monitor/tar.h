/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_TAR_H
#define ORRERY_MONITOR_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"

/*
 * Archives as POSIX.1-2017 describes them under pax (ustar), with GNU's
 * base-256 sizes for members of 8 GiB and more.  Regular files alone.
 */
enum { TAR_BLOCK = 512, TAR_MAX_NAME = 100 };

struct tar_member {
    char name[TAR_MAX_NAME + 1];
    uint64_t bytes;
    off_t at; /* of its octets in the file */
};

/* Write a member's head where fd stands; its octets follow, then tar_pad. */
int tar_put_head(int fd, const char *name, uint64_t bytes, int64_t mtime_s);
int tar_pad(int fd, uint64_t bytes);
int tar_put_end(int fd);
/* The member after m (all zero: the first).  1, 0 at the end, or an error;
 * hostile archives are refused. */
int tar_next(int fd, struct tar_member *m, struct err *e);

#endif
