/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_JSON_H
#define ORRERY_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * JSON (RFC 8259), read into a tree, found in a stream, and written.  One
 * thread at a time per object.  Text from outside is hostile: depth, size and
 * number of values are bounded, and what is not UTF-8 is refused.
 */
enum {
    JSON_MAX_DEPTH = 64,
    JSON_MAX_BYTES = 4 << 20,
    JSON_MAX_VALUES = 65536,
    JSON_MAX_MEMBERS = 1024, /* of one object */
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,   /* a whole number that fits i */
    JSON_FLOAT, /* any other number */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json {
    enum json_type type;
    bool is_true;
    int64_t i;
    double f;
    uint64_t u; /* FLOAT: the whole number past INT64_MAX, if it fits */
    char *text; /* STRING; "\u0000" in it is refused */
    char *name; /* of a member of an object, else NULL */
    struct json *first, *next;
};

/* One value and white space, nothing else.  Strings may stand in '' too.
 * -EINVAL, -E2BIG (a limit), -ENOMEM. */
int json_parse(const char *text, size_t bytes, struct json **out,
               struct err *e);
void json_free(struct json *j);
/* Member of an object; NULL if absent or j is no object. */
const struct json *json_get(const struct json *j, const char *name);
const char *json_type_name(enum json_type t); /* "string", "integer", ... */

/*
 * Values out of a stream of octets, wherever they are cut.  value gets the
 * text of one value (balanced brackets, or a word; it may still be malformed)
 * and may free the stream's owner's data, but not the stream.  error gets a
 * reason when a limit was passed; what follows is skipped up to the end of
 * that value or an octet 0xff.
 */
struct json_stream {
    char *buf;
    size_t bytes, cap;
    unsigned depth;
    char quote; /* ' or ", 0 outside a string */
    bool is_escaped, is_word, is_skipping;
};
typedef void json_value_fn(void *arg, const char *text, size_t bytes);
typedef void json_error_fn(void *arg, const char *why);
void json_stream_feed(struct json_stream *s, const uint8_t *buf, size_t bytes,
                      json_value_fn *value, json_error_fn *error, void *arg);
void json_stream_clear(struct json_stream *s); /* forget; frees */

/*
 * Writer.  key is the member's name inside an object and NULL inside an array
 * or at the top.  Text that is not UTF-8 is written with U+FFFD in its place.
 */
struct json_out {
    FILE *f;
    bool is_pretty;
    bool needs_comma, has_key;
    unsigned depth;
};
/* A member's name; the value follows with key NULL. */
void json_key(struct json_out *o, const char *key);
void json_open(struct json_out *o, const char *key, char bracket); /* { [ */
void json_close(struct json_out *o, char bracket);                 /* } ] */
void json_str(struct json_out *o, const char *key, const char *text);
void json_strf(struct json_out *o, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void json_int(struct json_out *o, const char *key, int64_t v);
void json_uint(struct json_out *o, const char *key, uint64_t v);
void json_bool(struct json_out *o, const char *key, bool v);
void json_null(struct json_out *o, const char *key);
void json_copy(struct json_out *o, const char *key, const struct json *j);
/* Text that is JSON already. */
void json_raw(struct json_out *o, const char *key, const char *text);

#endif
