/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/trace.h"

#include <string.h>

static const struct {
    const char *name, *help;
} events[TRACE_COUNT] = {
#define X(id, name, help) { name, help },
    TRACE_EVENTS(X)
#undef X
};

const char *trace_name(enum trace_event ev)
{
    return events[ev].name;
}

const char *trace_help(enum trace_event ev)
{
    return events[ev].help;
}

/* '*' and '?' alone, and no way to make it take long. */
static bool is_match(const char *pattern, const char *name)
{
    const char *star = NULL, *back = NULL;

    while (*name != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            back = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star + 1;
            name = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

uint64_t trace_match(const char *pattern)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < TRACE_COUNT; i++) {
        if (is_match(pattern, events[i].name)) bits |= UINT64_C(1) << i;
    }
    return bits;
}
