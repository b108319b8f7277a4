/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where one JSON value of a stream ends: brackets and strings are counted,
 * everything else is left to the parser. */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

void json_stream_clear(struct json_stream *s)
{
    free(s->buf);
    *s = (struct json_stream){ .buf = NULL };
}

static bool keep(struct json_stream *s, char ch)
{
    if (s->bytes == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 1024;
        char *more = cap <= JSON_MAX_BYTES ? realloc(s->buf, cap) : NULL;

        if (more == NULL) return false;
        s->buf = more;
        s->cap = cap;
    }
    s->buf[s->bytes++] = ch;
    return true;
}

static void skip_rest(struct json_stream *s)
{
    s->is_skipping = true;
    free(s->buf);
    s->buf = NULL;
    s->bytes = s->cap = 0;
}

/* The value's text is the receiver's only during the call; the stream is
 * ready for more before it, so that the receiver may clear it. */
static void finish(struct json_stream *s, json_value_fn *value, void *arg)
{
    char *text = s->buf;
    size_t bytes = s->bytes;
    bool is_lost = s->is_skipping;

    *s = (struct json_stream){ .buf = NULL };
    if (!is_lost && bytes > 0) value(arg, text, bytes);
    free(text);
}

/* Brackets and quotes; true if the value ends with this octet. */
static bool is_end(struct json_stream *s, char ch)
{
    if (s->quote != 0) {
        if (s->is_escaped) {
            s->is_escaped = false;
        } else if (ch == '\\') {
            s->is_escaped = true;
        } else if (ch == s->quote) {
            s->quote = 0;
            return s->depth == 0;
        }
        return false;
    }
    if (ch == '"' || ch == '\'') {
        s->quote = ch;
    } else if (ch == '{' || ch == '[') {
        s->depth++;
    } else if (ch == '}' || ch == ']') {
        if (s->depth > 0) s->depth--;
        return s->depth == 0;
    }
    return false;
}

static void feed_one(struct json_stream *s, uint8_t octet, json_value_fn *value,
                     json_error_fn *error, void *arg)
{
    char ch = (char)octet;
    bool is_blank = ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';

    if (octet == 0xff && s->quote == 0 && s->depth == 0 && !s->is_word) return;
    if (octet == 0xff) { /* no UTF-8: the peer starts anew */
        json_stream_clear(s);
        error(arg, "JSON parse error, invalid character");
        return;
    }
    if (s->depth == 0 && s->quote == 0) {
        if (s->is_word && (is_blank || strchr("{}[]\"',", ch) != NULL))
            finish(s, value, arg);
        if (is_blank) return;
        if (strchr("{}[]\"'", ch) == NULL || ch == '\0') s->is_word = true;
    }
    if (!s->is_skipping && !keep(s, ch)) {
        skip_rest(s);
        error(arg, "JSON token size limit exceeded");
    }
    if (is_end(s, ch)) {
        finish(s, value, arg);
    } else if (s->depth > JSON_MAX_DEPTH && !s->is_skipping) {
        skip_rest(s);
        error(arg, "JSON nesting depth limit exceeded");
    }
}

void json_stream_feed(struct json_stream *s, const uint8_t *buf, size_t bytes,
                      json_value_fn *value, json_error_fn *error, void *arg)
{
    for (size_t i = 0; i < bytes; i++)
        feed_one(s, buf[i], value, error, arg);
}
