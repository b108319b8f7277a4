/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing JSON. */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

static void indent(struct json_out *o)
{
    if (o->is_pretty) fprintf(o->f, "\n%*s", (int)(4 * o->depth), "");
}

/* The character at *p, which moves on; U+FFFD for an octet that is none. */
static uint32_t next_char(const unsigned char **p)
{
    const unsigned char *s = *p;
    unsigned n = *s < 0x80                 ? 0
                 : *s >= 0xc2 && *s < 0xe0 ? 1
                 : *s >= 0xe0 && *s < 0xf0 ? 2
                 : *s >= 0xf0 && *s < 0xf5 ? 3
                                           : 9;
    static const unsigned char mask[] = { 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t c;

    (*p)++;
    if (n == 9) return 0xfffd;
    c = *s & mask[n];
    for (unsigned i = 1; i <= n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (s[i] & 63);
    }
    if ((n == 2 && c < 0x800) || (n == 3 && (c < 0x10000 || c > 0x10ffff)) ||
        (c >= 0xd800 && c <= 0xdfff))
        return 0xfffd;
    *p += n;
    return c;
}

static void put_string(FILE *f, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    fputc('"', f);
    while (*p != '\0') {
        uint32_t c = next_char(&p);

        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", (int)c);
        } else if (c == '\n') {
            fputs("\\n", f);
        } else if (c == '\r') {
            fputs("\\r", f);
        } else if (c == '\t') {
            fputs("\\t", f);
        } else if (c >= 32 && c < 127) {
            fputc((int)c, f);
        } else if (c < 0x10000) {
            fprintf(f, "\\u%04x", c);
        } else {
            c -= 0x10000;
            fprintf(f, "\\u%04x\\u%04x", 0xd800 + (c >> 10),
                    0xdc00 + (c & 0x3ff));
        }
    }
    fputc('"', f);
}

static void begin(struct json_out *o, const char *key)
{
    if (o->has_key) {
        o->has_key = false;
        return;
    }
    if (o->needs_comma) fputs(o->is_pretty ? "," : ", ", o->f);
    if (o->depth > 0) indent(o);
    if (key != NULL) {
        put_string(o->f, key);
        fputs(": ", o->f);
    }
    o->needs_comma = true;
}

void json_key(struct json_out *o, const char *key)
{
    begin(o, key);
    o->has_key = true;
}

void json_open(struct json_out *o, const char *key, char bracket)
{
    begin(o, key);
    fputc(bracket, o->f);
    o->depth++;
    o->needs_comma = false;
}

void json_close(struct json_out *o, char bracket)
{
    bool had_members = o->needs_comma;

    if (o->depth > 0) o->depth--;
    if (had_members) indent(o);
    fputc(bracket, o->f);
    o->needs_comma = true;
}

void json_str(struct json_out *o, const char *key, const char *text)
{
    begin(o, key);
    put_string(o->f, text);
}

void json_strf(struct json_out *o, const char *key, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0) text = NULL;
    va_end(ap);
    json_str(o, key, text != NULL ? text : "");
    free(text);
}

void json_int(struct json_out *o, const char *key, int64_t v)
{
    begin(o, key);
    fprintf(o->f, "%lld", (long long)v);
}

void json_uint(struct json_out *o, const char *key, uint64_t v)
{
    begin(o, key);
    fprintf(o->f, "%llu", (unsigned long long)v);
}

void json_bool(struct json_out *o, const char *key, bool v)
{
    begin(o, key);
    fputs(v ? "true" : "false", o->f);
}

void json_null(struct json_out *o, const char *key)
{
    begin(o, key);
    fputs("null", o->f);
}

void json_raw(struct json_out *o, const char *key, const char *text)
{
    begin(o, key);
    fputs(text, o->f);
}

void json_copy(struct json_out *o, const char *key, const struct json *j)
{
    switch (j->type) {
    case JSON_NULL: json_null(o, key); return;
    case JSON_BOOL: json_bool(o, key, j->is_true); return;
    case JSON_INT: json_int(o, key, j->i); return;
    case JSON_STRING: json_str(o, key, j->text); return;
    case JSON_FLOAT:
        if (j->u != 0) {
            json_uint(o, key, j->u);
            return;
        }
        begin(o, key);
        fprintf(o->f, "%.17g", j->f == 0 ? 0.0 : j->f); /* -0 reads as 0 */
        return;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    json_open(o, key, j->type == JSON_OBJECT ? '{' : '[');
    for (const struct json *x = j->first; x != NULL; x = x->next)
        json_copy(o, x->name, x);
    json_close(o, j->type == JSON_OBJECT ? '}' : ']');
}
