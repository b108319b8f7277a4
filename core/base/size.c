/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int uint_parse(const char *text, uint64_t *out)
{
    char *end;

    while (isspace((unsigned char)*text))
        text++;
    if (!isdigit((unsigned char)*text)) {
        return *text == '-' && isdigit((unsigned char)text[1]) ? -ERANGE
                                                               : -EINVAL;
    }
    errno = 0;
    *out = strtoull(text, &end, 0);
    if (errno == ERANGE) return -ERANGE;
    return *end == '\0' ? 0 : -EINVAL;
}

static int suffix_shift(char c)
{
    static const char letters[] = "bkmgtpe";
    const char *p = strchr(letters, tolower((unsigned char)c));

    return p != NULL && c != '\0' ? (int)(p - letters) * 10 : -1;
}

/* Fraction digits behind the point in units of 1/2^shift, truncated. */
static uint64_t fraction(const char **pp, int shift)
{
    const char *p = *pp;
    unsigned __int128 num = 0, den = 1;

    while (isdigit((unsigned char)*p)) {
        if (den < 1000000000000000000ull) {
            num = num * 10 + (unsigned)(*p - '0');
            den *= 10;
        }
        p++;
    }
    *pp = p;
    return (uint64_t)((num << shift) / den);
}

int size_parse(const char *text, uint64_t unit, uint64_t *out)
{
    const char *p = text;
    const char *frac = NULL;
    unsigned __int128 v;
    char *end;
    uint64_t mul = unit, part = 0;

    while (isspace((unsigned char)*p))
        p++;
    if (!isdigit((unsigned char)*p)) {
        return *p == '-' && isdigit((unsigned char)p[1]) ? -ERANGE : -EINVAL;
    }
    errno = 0;
    v = strtoull(p, &end, p[0] == '0' && tolower(p[1]) == 'x' ? 16 : 10);
    if (errno == ERANGE) return -ERANGE;
    p = end;
    if (*p == '.') {
        frac = ++p;
        if (!isdigit((unsigned char)*p)) return -EINVAL;
        while (isdigit((unsigned char)*p))
            p++;
    }
    if (*p != '\0') {
        int shift = suffix_shift(*p++);

        if (shift < 0) return -EINVAL;
        if (shift > 0 && toupper((unsigned char)*p) == 'B') p++;
        if (*p != '\0') return -EINVAL;
        mul = 1ull << shift;
    }
    if (frac != NULL) {
        if (mul & (mul - 1)) return -EINVAL;
        part = fraction(&frac, __builtin_ctzll(mul));
    }
    v = v * mul + part;
    if (v > UINT64_MAX) return -ERANGE;
    *out = (uint64_t)v;
    return 0;
}

const char *size_text(uint64_t bytes, char *buf, size_t cap)
{
    static const char *const unit[] = { "B",   "KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB" };
    unsigned i = 0;
    double v = (double)bytes;

    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    snprintf(buf, cap, v == (double)(uint64_t)v ? "%.0f %s" : "%.3g %s", v,
             unit[i]);
    return buf;
}
