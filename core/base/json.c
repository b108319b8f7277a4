/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *p, *end;
    unsigned depth, values;
    struct err *e;
};

static int parse_value(struct parser *x, struct json **out);

static int syntax(struct parser *x, const char *what)
{
    return err_set(x->e, -EINVAL, "JSON parse error, %s", what);
}

static void blanks(struct parser *x)
{
    while (x->p < x->end && strchr(" \t\r\n", *x->p) != NULL && *x->p != '\0')
        x->p++;
}

/* ---- strings ---- */

/* Octets of the UTF-8 character at p, 0 if there is none (RFC 3629). */
static size_t utf8_bytes(const unsigned char *p, size_t left)
{
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;

    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    if (n == 3 && p[0] == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (n == 3 && p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogate */
    if (n == 4 && p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (n == 4 && p[0] == 0xf4 && p[1] > 0x8f) return 0;
    return n;
}

static size_t utf8_put(uint32_t c, char *out)
{
    unsigned char *o = (unsigned char *)out;

    if (c < 0x80) {
        o[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        o[0] = (unsigned char)(0xc0 | c >> 6);
        o[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        o[0] = (unsigned char)(0xe0 | c >> 12);
        o[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        o[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    o[0] = (unsigned char)(0xf0 | c >> 18);
    o[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    o[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    o[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

/* Four hex digits at *p; -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 4) return -1;
    for (unsigned i = 0; i < 4; i++) {
        int c = tolower((unsigned char)p[i]);

        if (!isxdigit(c)) return -1;
        v = v * 16 + (isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    return v;
}

/* Behind \u: one character, two escapes if it is a surrogate pair. */
static int unicode_escape(struct parser *x, uint32_t *out)
{
    int32_t c = hex4(x->p, x->end), low;

    if (c < 0) return syntax(x, "\\u needs four hex digits");
    x->p += 4;
    if (c == 0) return syntax(x, "\\u0000 is not allowed");
    if (c >= 0xdc00 && c <= 0xdfff) return syntax(x, "lone surrogate");
    if (c >= 0xd800 && c <= 0xdbff) {
        low = x->end - x->p > 2 && x->p[0] == '\\' && x->p[1] == 'u'
                  ? hex4(x->p + 2, x->end)
                  : -1;
        if (low < 0xdc00 || low > 0xdfff) return syntax(x, "lone surrogate");
        x->p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = (uint32_t)c;
    return 0;
}

static int escape(struct parser *x, char *out, size_t *n)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    const char *at;
    uint32_t c = 0;
    int rc;

    if (x->p == x->end) return syntax(x, "unterminated string");
    if (*x->p == 'u') {
        x->p++;
        rc = unicode_escape(x, &c);
        if (rc == 0) *n += utf8_put(c, out + *n);
        return rc;
    }
    at = *x->p != '\0' ? strchr(from, *x->p) : NULL;
    if (at == NULL) return syntax(x, "invalid escape sequence");
    x->p++;
    out[(*n)++] = to[at - from];
    return 0;
}

static int parse_string(struct parser *x, char **out)
{
    char quote = *x->p++;
    char *text = malloc((size_t)(x->end - x->p) + 5); /* never grows */
    size_t n = 0;
    int rc = 0;

    if (text == NULL) return err_set(x->e, -ENOMEM, "out of memory");
    while (rc == 0) {
        size_t len;

        if (x->p == x->end) {
            rc = syntax(x, "unterminated string");
        } else if (*x->p == quote) {
            break;
        } else if (*x->p == '\\') {
            x->p++;
            rc = escape(x, text, &n);
        } else if ((unsigned char)*x->p < 32) {
            rc = syntax(x, "control character in a string");
        } else {
            len = utf8_bytes((const unsigned char *)x->p,
                             (size_t)(x->end - x->p));
            if (len == 0) rc = syntax(x, "invalid UTF-8 in a string");
            memcpy(text + n, x->p, len);
            n += len;
            x->p += len;
        }
    }
    if (rc < 0) {
        free(text);
        return rc;
    }
    x->p++;
    text[n] = '\0';
    *out = realloc(text, n + 1);
    if (*out == NULL) *out = text;
    return 0;
}

/* ---- the rest of the values ---- */

static int parse_number(struct parser *x, struct json *j)
{
    char word[64];
    const char *p = x->p;
    size_t n = 0;
    char *end;

    while (p < x->end && n + 1 < sizeof(word) && *p != '\0' &&
           strchr("+-.eE0123456789", *p) != NULL)
        word[n++] = *p++;
    if (n + 1 == sizeof(word)) return syntax(x, "number is too long");
    word[n] = '\0';
    end = word + (word[0] == '-');
    if (!isdigit((unsigned char)*end) ||
        (end[0] == '0' && isdigit((unsigned char)end[1])))
        return syntax(x, "invalid number");
    errno = 0;
    j->type = JSON_INT;
    j->i = strtoll(word, &end, 10);
    if (*end != '\0' || errno == ERANGE) {
        size_t last = strlen(word) - 1;

        j->type = JSON_FLOAT;
        errno = 0;
        j->u = word[0] != '-' ? strtoull(word, &end, 10) : 0;
        if (*end != '\0' || errno == ERANGE) j->u = 0;
        j->f = strtod(word, &end);
        if (!isdigit((unsigned char)word[last])) end = word;
    }
    if (*end != '\0') return syntax(x, "invalid number");
    if (j->type == JSON_FLOAT && !isfinite(j->f))
        return syntax(x, "number out of range");
    x->p = p;
    return 0;
}

static int parse_word(struct parser *x, struct json *j)
{
    static const struct {
        const char *word;
        enum json_type type;
        bool value;
    } words[] = { { "true", JSON_BOOL, true },
                  { "false", JSON_BOOL, false },
                  { "null", JSON_NULL, false } };
    size_t n = 0;

    while (x->p + n < x->end && isalpha((unsigned char)x->p[n]))
        n++;
    for (unsigned i = 0; i < 3; i++) {
        if (strlen(words[i].word) != n || memcmp(words[i].word, x->p, n) != 0)
            continue;
        j->type = words[i].type;
        j->is_true = words[i].value;
        x->p += n;
        return 0;
    }
    if (n == 0) return syntax(x, "invalid character");
    return err_set(x->e, -EINVAL, "JSON parse error, invalid keyword '%.*s'",
                   n > 40 ? 40 : (int)n, x->p);
}

/* "name": in front of a member. */
static int parse_name(struct parser *x, const struct json *in, char **name)
{
    int rc;

    blanks(x);
    if (x->p == x->end || (*x->p != '"' && *x->p != '\''))
        return syntax(x, "expecting a member's name");
    rc = parse_string(x, name);
    if (rc < 0) return rc;
    if (json_get(in, *name) != NULL) return syntax(x, "duplicate key");
    blanks(x);
    if (x->p == x->end || *x->p != ':') return syntax(x, "missing ':'");
    x->p++;
    return 0;
}

static int parse_members(struct parser *x, struct json *j)
{
    char close = j->type == JSON_OBJECT ? '}' : ']';
    struct json **last = &j->first;
    unsigned members = 0;

    x->p++;
    blanks(x);
    if (x->p < x->end && *x->p == close) {
        x->p++;
        return 0;
    }
    for (;;) {
        char *name = NULL;
        int rc = close == '}' ? parse_name(x, j, &name) : 0;

        if (++members > JSON_MAX_MEMBERS && rc == 0 && close == '}')
            rc = err_set(x->e, -E2BIG, "JSON token count limit exceeded");
        if (rc == 0) rc = parse_value(x, last);
        if (rc < 0) {
            free(name);
            return rc;
        }
        (*last)->name = name;
        last = &(*last)->next;
        blanks(x);
        if (x->p < x->end && *x->p == close) {
            x->p++;
            return 0;
        }
        if (x->p == x->end || *x->p != ',')
            return syntax(x, "expected a comma or the end");
        x->p++;
    }
}

static int parse_any(struct parser *x, struct json *j)
{
    switch (*x->p) {
    case '{': j->type = JSON_OBJECT; return parse_members(x, j);
    case '[': j->type = JSON_ARRAY; return parse_members(x, j);
    case '"':
    case '\'': j->type = JSON_STRING; return parse_string(x, &j->text);
    default: break;
    }
    if (*x->p == '-' || isdigit((unsigned char)*x->p))
        return parse_number(x, j);
    return parse_word(x, j);
}

static int parse_value(struct parser *x, struct json **out)
{
    struct json *j;
    int rc;

    blanks(x);
    if (x->p == x->end) return syntax(x, "unexpected end");
    if (x->depth >= JSON_MAX_DEPTH)
        return err_set(x->e, -E2BIG, "JSON nesting depth limit exceeded");
    if (++x->values > JSON_MAX_VALUES)
        return err_set(x->e, -E2BIG, "JSON token count limit exceeded");
    j = calloc(1, sizeof(*j));
    if (j == NULL) return err_set(x->e, -ENOMEM, "out of memory");
    x->depth++;
    rc = parse_any(x, j);
    x->depth--;
    if (rc < 0) {
        json_free(j);
        return rc;
    }
    *out = j;
    return 0;
}

int json_parse(const char *text, size_t bytes, struct json **out, struct err *e)
{
    struct parser x = { .p = text, .end = text + bytes, .e = e };
    struct json *j = NULL;
    int rc;

    if (bytes > JSON_MAX_BYTES)
        return err_set(e, -E2BIG, "JSON token size limit exceeded");
    rc = parse_value(&x, &j);
    if (rc < 0) return rc;
    blanks(&x);
    if (x.p != x.end) {
        json_free(j);
        return syntax(&x, "something behind the value");
    }
    *out = j;
    return 0;
}

void json_free(struct json *j)
{
    if (j == NULL) return;
    while (j->first != NULL) { /* depth is bounded, length is not */
        struct json *x = j->first;

        j->first = x->next;
        json_free(x);
    }
    free(j->text);
    free(j->name);
    free(j);
}

const struct json *json_get(const struct json *j, const char *name)
{
    if (j == NULL || j->type != JSON_OBJECT) return NULL;
    for (const struct json *x = j->first; x != NULL; x = x->next) {
        if (x->name != NULL && strcmp(x->name, name) == 0) return x;
    }
    return NULL;
}

const char *json_type_name(enum json_type t)
{
    static const char *const names[] = { "null",   "boolean", "integer",
                                         "number", "string",  "array",
                                         "object" };

    return names[t];
}
