/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/opts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"

enum { MAX_KEY = 128, MAX_DEPTH = 16, MAX_ITEMS = 256 };

/* -------------------------------------------------------------- building */

static struct json *new_member(struct json *parent, enum json_type type,
                               const char *name, size_t bytes)
{
    struct json *j = calloc(1, sizeof(*j)), **at;

    if (j == NULL) return NULL;
    j->type = type;
    if (name != NULL && (j->name = strndup(name, bytes)) == NULL) {
        free(j);
        return NULL;
    }
    if (parent == NULL) return j;
    for (at = &parent->first; *at != NULL; at = &(*at)->next)
        continue;
    *at = j;
    return j;
}

static struct json *find(const struct json *j, const char *name, size_t bytes)
{
    struct json *x = j->first;

    while (x != NULL &&
           (strncmp(x->name, name, bytes) != 0 || x->name[bytes] != '\0'))
        x = x->next;
    return x;
}

static int bad_key(const char *key, struct err *e)
{
    return err_set(e, -EINVAL, "Invalid parameter '%s'", key);
}

int opts_add(struct json **root, const char *key, const char *value,
             struct err *e)
{
    struct json *at = *root;
    unsigned depth = 0;

    if (at == NULL) at = *root = new_member(NULL, JSON_OBJECT, NULL, 0);
    for (const char *k = key; at != NULL; depth++) {
        size_t n = strcspn(k, ".");
        bool is_last = k[n] == '\0';
        struct json *x = find(at, k, n);

        if (n == 0 || depth == MAX_DEPTH) return bad_key(key, e);
        if (x != NULL && (x->type == JSON_OBJECT) == is_last)
            return err_set(e, -EINVAL, "Parameter '%s' used inconsistently",
                           key);
        if (is_last) {
            char *copy = strdup(value);

            if (copy != NULL && x == NULL)
                x = new_member(at, JSON_STRING, k, n);
            if (copy == NULL || x == NULL) {
                free(copy);
                break;
            }
            free(x->text);
            x->text = copy;
            return 0;
        }
        at = x != NULL ? x : new_member(at, JSON_OBJECT, k, n);
        k += n + 1;
    }
    return err_set(e, -ENOMEM, "out of memory");
}

/* One "key=value" of text into the tree; moves on. */
static int add_item(struct json **root, const char **at, const char *implied,
                    struct err *e)
{
    const char *p = *at;
    size_t n = strcspn(p, "=,"), used = 0;
    char key[MAX_KEY], *value = malloc(strlen(p) + 1);
    int rc;

    if (value == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (p[n] == '=' && n < sizeof(key)) {
        snprintf(key, sizeof(key), "%.*s", (int)n, p);
        p += n + 1;
    } else if (implied != NULL && n > 0) {
        snprintf(key, sizeof(key), "%s", implied);
    } else {
        free(value);
        return err_set(e, -EINVAL, "Expected '=' after parameter '%.*s'",
                       n < 60 ? (int)n : 60, p);
    }
    for (; *p != '\0'; p++) {
        if (*p == ',' && *++p != ',') break;
        value[used++] = *p;
    }
    value[used] = '\0';
    *at = p;
    rc = opts_add(root, key, value, e);
    explicit_bzero(value, used); /* a secret, maybe */
    free(value);
    return rc;
}

int opts_parse(const char *text, const char *implied, struct json **out,
               bool *is_text, struct err *e)
{
    unsigned items = 0;
    int rc = 0;

    *out = NULL;
    *is_text = text[0] != '{';
    if (!*is_text) return json_parse(text, strlen(text), out, e);
    while (rc == 0 && *text != '\0') {
        if (++items > MAX_ITEMS)
            rc = err_set(e, -E2BIG, "more than %d parameters", MAX_ITEMS);
        else
            rc = add_item(out, &text, items == 1 ? implied : NULL, e);
    }
    if (rc == 0 && *out == NULL) *out = new_member(NULL, JSON_OBJECT, NULL, 0);
    if (rc == 0 && *out == NULL) rc = err_set(e, -ENOMEM, "out of memory");
    if (rc < 0) {
        json_free(*out);
        *out = NULL;
    }
    return rc;
}

struct json *opts_copy(const struct json *j)
{
    struct json_out o = { .f = NULL };
    struct json *out = NULL;
    char *text = NULL;
    size_t bytes = 0;

    o.f = open_memstream(&text, &bytes);
    if (o.f == NULL) return NULL;
    json_copy(&o, NULL, j);
    fclose(o.f);
    if (text != NULL) json_parse(text, bytes, &out, NULL);
    free(text);
    return out;
}

void opts_wipe(struct json *j)
{
    if (j->text != NULL) explicit_bzero(j->text, strlen(j->text));
    for (struct json *x = j->first; x != NULL; x = x->next)
        opts_wipe(x);
}

/* --------------------------------------------------------------- reading */

static int wrong_type(const struct opts *o, const char *key, const char *want,
                      struct err *e)
{
    return err_set(e, -EINVAL,
                   "Invalid parameter type for '%s%s', expected: %s", o->path,
                   key, want);
}

int opts_text(const struct opts *o, const char *key, const char **out,
              struct err *e)
{
    const struct json *j = json_get(o->j, key);

    if (j == NULL) return 0;
    if (j->type != JSON_STRING) return wrong_type(o, key, "string", e);
    *out = j->text;
    return 0;
}

int opts_bool(const struct opts *o, const char *key, bool *out, struct err *e)
{
    const struct json *j = json_get(o->j, key);

    if (j == NULL) return 0;
    if (!o->is_text) {
        if (j->type != JSON_BOOL) return wrong_type(o, key, "boolean", e);
        *out = j->is_true;
        return 0;
    }
    if (j->type != JSON_STRING ||
        (strcmp(j->text, "on") != 0 && strcmp(j->text, "off") != 0))
        return err_set(e, -EINVAL, "Parameter '%s%s' expects 'on' or 'off'",
                       o->path, key);
    *out = strcmp(j->text, "on") == 0;
    return 0;
}

int opts_size(const struct opts *o, const char *key, uint64_t *out,
              struct err *e)
{
    const struct json *j = json_get(o->j, key);

    if (j == NULL) return 0;
    if (o->is_text && j->type == JSON_STRING &&
        size_parse(j->text, 1, out) == 0)
        return 0;
    if (o->is_text)
        return err_set(e, -EINVAL, "Parameter '%s%s' expects a size", o->path,
                       key);
    if (j->type != JSON_INT || j->i < 0) return wrong_type(o, key, "uint64", e);
    *out = (uint64_t)j->i;
    return 0;
}

int opts_child(const struct opts *o, const char *key, struct opts *out,
               struct err *e)
{
    const struct json *j = json_get(o->j, key);

    *out = (struct opts){ .j = j, .is_text = o->is_text };
    if (j == NULL) return 0;
    if (j->type != JSON_OBJECT) return wrong_type(o, key, "object", e);
    if (snprintf(out->path, sizeof(out->path), "%s%s.", o->path, key) >=
        (int)sizeof(out->path))
        return err_set(e, -E2BIG, "Parameter '%s' is too deep", key);
    return 0;
}

int opts_word(const struct opts *o, const char *key, const char *const *words,
              unsigned *index, struct err *e)
{
    const char *text = NULL;
    int rc = opts_text(o, key, &text, e);

    if (rc < 0 || text == NULL) return rc;
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) != 0) continue;
        *index = i;
        return 0;
    }
    return err_set(e, -EINVAL, "Parameter '%s%s' does not accept value '%s'",
                   o->path, key, text);
}

int opts_missing(const struct opts *o, const char *key, struct err *e)
{
    return err_set(e, -EINVAL, "Parameter '%s%s' is missing", o->path, key);
}

int opts_only(const struct opts *o, const char *const *keys, struct err *e)
{
    for (const struct json *j = o->j->first; j != NULL; j = j->next) {
        unsigned i = 0;

        while (keys[i] != NULL && strcmp(keys[i], j->name) != 0)
            i++;
        if (keys[i] == NULL)
            return err_set(e, -EINVAL, "Parameter '%s%s' is unexpected",
                           o->path, j->name);
    }
    return 0;
}

bool opts_is_id(const char *text)
{
    if (!isalpha((unsigned char)text[0])) return false;
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr("-._", *text) == NULL)
            return false;
    }
    return true;
}
