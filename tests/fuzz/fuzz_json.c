/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON: what is read is written as something that reads as the same, and a
 * stream cut anywhere gives the same values. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char *text_of(const struct json *j)
{
    char *text = NULL;
    size_t bytes = 0;
    struct json_out o = { .f = open_memstream(&text, &bytes) };

    if (o.f == NULL) abort();
    json_copy(&o, NULL, j);
    fclose(o.f);
    return text;
}

static void on_value(void *arg, const char *text, size_t bytes)
{
    uint64_t *hash = arg;

    for (size_t i = 0; i < bytes; i++)
        *hash = (*hash ^ (uint8_t)text[i]) * 1099511628211u;
    *hash += 1;
}

static void on_error(void *arg, const char *why)
{
    (void)why;
    *(uint64_t *)arg *= 3;
}

static uint64_t stream_hash(const uint8_t *data, size_t bytes, size_t piece)
{
    struct json_stream s = { .buf = NULL };
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < bytes; i += piece)
        json_stream_feed(&s, data + i, bytes - i < piece ? bytes - i : piece,
                         on_value, on_error, &hash);
    json_stream_clear(&s);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct json *j = NULL, *again = NULL;
    struct err e = ERR_INIT;

    if (stream_hash(data, bytes, 1) != stream_hash(data, bytes, bytes + 1))
        abort();
    if (json_parse((const char *)data, bytes, &j, &e) == 0) {
        char *first = text_of(j), *second;

        if (json_parse(first, strlen(first), &again, &e) < 0) abort();
        second = text_of(again);
        if (strcmp(first, second) != 0) abort();
        free(first);
        free(second);
        json_free(again);
        json_free(j);
    } else if (e.text[0] == '\0') {
        abort();
    }
    return 0;
}
