/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_INI_H
#define ORRERY_BASE_INI_H

#include <stdio.h>

#include "core/base/err.h"

/*
 * Hand-editable settings: "key = value" lines, '#' comments, blank lines.  A
 * document keeps every line, so what a person wrote survives a change made by
 * the program.  One thread at a time.
 */
struct ini;

enum { INI_MAX_BYTES = 256 * 1024, INI_MAX_LINES = 4096 };

/* Empty document. NULL: out of memory. */
struct ini *ini_new(void);
void ini_free(struct ini *d);

/* Read a file.  -EINVAL "PATH:LINE: ..." for a line that is none of the
 * three kinds; -EFBIG; -errno of open. */
int ini_read(const char *path, struct ini **out, struct err *e);

/* Write to a temporary file beside path, fsync, rename. */
int ini_write(const struct ini *d, const char *path, struct err *e);

/* Value of the last line with that key, NULL if there is none. */
const char *ini_get(const struct ini *d, const char *key);

/* Replace the value in place or append a line; NULL or "" removes it.
 * Control characters are refused (-EINVAL). */
int ini_set(struct ini *d, const char *key, const char *value);

/* i-th key and value with its line number from 1; NULL at the end. */
const char *ini_at(const struct ini *d, unsigned i, const char **value,
                   unsigned *line);

#endif
