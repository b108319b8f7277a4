/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_FIRMWARE_H
#define ORRERY_HOST_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Find a firmware file by name ("bios-256k.bin", "vgabios-stdvga.bin",
 * "efi-e1000.rom"): data_dir (-L) if given and nothing else, otherwise the
 * directories of the distribution.  path gets the full name.  -ENOENT with a
 * message that names the Debian package to install.
 */
int firmware_find(const char *data_dir, const char *name, char *path,
                  size_t cap, struct err *e);

/* Read a whole file of at most max_bytes; *out is malloc'ed. */
int file_read_all(const char *path, size_t max_bytes, uint8_t **out,
                  size_t *bytes, struct err *e);

#endif
