/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_FILTER_H
#define ORRERY_MONITOR_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * "COMMAND | grep [-i] [-v] [-c] TEXT", "| head [N]", "| tail [N]": what of an
 * answer is printed.  TEXT is plain; ^ in front and $ behind tie it to the
 * line's ends.  Several filters follow each other.
 */
enum { FILTERS_MAX = 4 };

struct filter {
    enum { FILTER_GREP, FILTER_HEAD, FILTER_TAIL } kind;
    bool ignores_case, is_inverted, counts, at_start, at_end;
    unsigned lines;
    char text[256];
};

/* Take the filters off the end of line, whose command is then *len octets
 * long.  A '|' in front of anything but a filter's name belongs to the
 * command.  Number of filters, or -EINVAL. */
int filter_split(const char *line, size_t *len, struct filter f[FILTERS_MAX],
                 struct err *e);
/* Print what f leaves of text. */
void filter_print(const struct filter *f, const char *text, size_t bytes,
                  FILE *out);

#endif
