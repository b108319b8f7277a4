/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_OPTS_H
#define ORRERY_BLOCK_OPTS_H

#include "core/base/json.h"

/*
 * Options that form a tree, as -blockdev and -object take them: JSON, or text
 * with dots, "driver=qcow2,file.driver=file,file.filename=x" (",," is a
 * comma).  In text every value is a string; the readers take "on", "off" and
 * numbers with a suffix there, and the types of JSON otherwise.
 */
struct opts {
    const struct json *j; /* an object */
    bool is_text;
    char path[128]; /* of it, with a dot at the end, for messages; or "" */
};

/* text, JSON if it begins with '{'; implied: name of a first value that has
 * none.  The tree is the caller's (json_free). */
int opts_parse(const char *text, const char *implied, struct json **out,
               bool *is_text, struct err *e);
/* Add "a.b=value" to a tree; *root NULL: begin one. */
int opts_add(struct json **root, const char *key, const char *value,
             struct err *e);

/* Readers: 0 and *out unchanged if the option is not there. */
int opts_text(const struct opts *o, const char *key, const char **out,
              struct err *e);
int opts_bool(const struct opts *o, const char *key, bool *out, struct err *e);
int opts_size(const struct opts *o, const char *key, uint64_t *out,
              struct err *e);
/* The object key; out->j NULL: not there. */
int opts_child(const struct opts *o, const char *key, struct opts *out,
               struct err *e);
/* One of words (NULL at the end); *index unchanged if it is not there. */
int opts_word(const struct opts *o, const char *key, const char *const *words,
              unsigned *index, struct err *e);
int opts_missing(const struct opts *o, const char *key, struct err *e);
/* Refuse members that are not among keys (NULL at the end). */
int opts_only(const struct opts *o, const char *const *keys, struct err *e);
/* Letters first, then letters, digits, '-', '.', '_'. */
bool opts_is_id(const char *text);
/* Overwrite all strings (they may be secrets). */
void opts_wipe(struct json *j);
/* An object or a value of its own. */
struct json *opts_copy(const struct json *j);

#endif
