/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_SIZE_H
#define ORRERY_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Parse "512", "512M", "1.5G", "0x1000" (suffixes b k K M G T P E, binary);
 * without suffix the number is multiplied by unit.  0, -EINVAL (no number,
 * rubbish behind it) or -ERANGE (does not fit 64 bits, negative).
 */
int size_parse(const char *text, uint64_t unit, uint64_t *out);

/* Whole text as unsigned number (decimal, 0x, 0 octal): 0, -EINVAL,
 * -ERANGE. */
int uint_parse(const char *text, uint64_t *out);

/* "3.7 GiB"; returns buf. */
const char *size_text(uint64_t bytes, char *buf, size_t cap);

#endif
