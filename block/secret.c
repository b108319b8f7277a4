/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets for encrypted images: -object secret,id=... */
#include "block/image.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MAX_BYTES = 65536 };

struct secret {
    char *id;
    uint8_t *data;
    size_t bytes;
    struct secret *next;
};

struct secret_table {
    struct secret *first;
};

int secret_table_create(struct secret_table **out)
{
    *out = calloc(1, sizeof(**out));
    return *out == NULL ? -ENOMEM : 0;
}

static void wipe(void *data, size_t bytes)
{
    if (data != NULL) explicit_bzero(data, bytes);
    free(data);
}

void secret_table_destroy(struct secret_table *t)
{
    struct secret *s;

    if (t == NULL) return;
    while ((s = t->first) != NULL) {
        t->first = s->next;
        wipe(s->data, s->bytes);
        free(s->id);
        free(s);
    }
    free(t);
}

static const struct secret *find(const struct secret_table *t, const char *id)
{
    const struct secret *s = t == NULL ? NULL : t->first;

    while (s != NULL && strcmp(s->id, id) != 0)
        s = s->next;
    return s;
}

int secret_find(const struct secret_table *t, const char *id,
                const uint8_t **data, size_t *bytes, struct err *e)
{
    const struct secret *s = find(t, id);

    if (s == NULL)
        return err_set(e, -ENOENT,
                       "no secret '%s'; give it by -object "
                       "secret,id=%s,file=NAME",
                       id, id);
    *data = s->data;
    *bytes = s->bytes;
    return 0;
}

int secret_add(struct secret_table *t, const char *id, const void *data,
               size_t bytes, struct err *e)
{
    struct secret *s;

    if (id == NULL || id[0] == '\0')
        return err_set(e, -EINVAL, "a secret needs an id");
    if (find(t, id) != NULL)
        return err_set(e, -EEXIST, "there is a secret '%s' already", id);
    s = calloc(1, sizeof(*s));
    if (s == NULL) goto no_memory;
    s->id = strdup(id);
    s->data = malloc(bytes + 1);
    if (s->id == NULL || s->data == NULL) {
        free(s->id);
        free(s->data);
        free(s);
        goto no_memory;
    }
    memcpy(s->data, data, bytes);
    s->data[bytes] = 0;
    s->bytes = bytes;
    s->next = t->first;
    t->first = s;
    return 0;
no_memory:
    return err_set(e, -ENOMEM, "out of memory");
}

bool secret_has(const struct secret_table *t, const char *id)
{
    return find(t, id) != NULL;
}

bool secret_remove(struct secret_table *t, const char *id)
{
    struct secret **at = t == NULL ? NULL : &t->first, *s;

    while (at != NULL && *at != NULL && strcmp((*at)->id, id) != 0)
        at = &(*at)->next;
    if (at == NULL || *at == NULL) return false;
    s = *at;
    *at = s->next;
    wipe(s->data, s->bytes);
    free(s->id);
    free(s);
    return true;
}

/* ------------------------------------------------------------- parsing */

static int read_file(const char *name, uint8_t *buf, size_t *bytes,
                     struct err *e)
{
    FILE *f = fopen(name, "rbe");

    if (f == NULL)
        return err_set(e, -errno, "secret file %s: %s", name, strerror(errno));
    *bytes = fread(buf, 1, SECRET_MAX_BYTES + 1, f);
    if (ferror(f)) {
        fclose(f);
        return err_set(e, -EIO, "secret file %s: cannot be read", name);
    }
    fclose(f);
    if (*bytes > SECRET_MAX_BYTES)
        return err_set(e, -EFBIG, "secret file %s: longer than %d", name,
                       SECRET_MAX_BYTES);
    return 0;
}

static int base64_value(int c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, in place; white space is skipped. */
static int base64_decode(uint8_t *buf, size_t *bytes, struct err *e)
{
    size_t out = 0, pads = 0, digits = 0;
    uint32_t group = 0;

    for (size_t i = 0; i < *bytes; i++) {
        int v = base64_value(buf[i]);

        if (isspace(buf[i])) continue;
        if (buf[i] == '=') {
            pads++;
            v = 0;
        } else if (pads > 0) {
            v = -1;
        }
        if (v < 0) return err_set(e, -EINVAL, "secret is no base64 text");
        group = group << 6 | (uint32_t)v;
        if (++digits % 4 != 0) continue;
        buf[out++] = (uint8_t)(group >> 16);
        buf[out++] = (uint8_t)(group >> 8);
        buf[out++] = (uint8_t)group;
    }
    if (digits % 4 != 0 || pads > 2)
        return err_set(e, -EINVAL, "secret is no base64 text");
    *bytes = out - pads;
    return 0;
}

struct secret_words {
    const char *id, *data, *file, *format;
};

static int take_word(struct secret_words *w, char *word, struct err *e)
{
    static const char *const keys[] = { "id", "data", "file", "format" };
    const char **const where[] = { &w->id, &w->data, &w->file, &w->format };
    char *value = strchr(word, '=');

    if (value == NULL)
        return err_set(e, -EINVAL, "secret: '%s' is not key=value", word);
    *value++ = '\0';
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i], word) != 0) continue;
        *where[i] = value;
        return 0;
    }
    return err_set(e, -EINVAL,
                   "secret has no property '%s' (id, data, file, format)",
                   word);
}

static int load(struct secret_table *t, const char *id, const char *data,
                const char *file, bool is_base64, uint8_t *buf, struct err *e)
{
    size_t bytes = 0;
    int rc = 0;

    if (data != NULL) {
        bytes = strlen(data);
        if (bytes > SECRET_MAX_BYTES)
            return err_set(e, -EFBIG, "secret longer than %d",
                           SECRET_MAX_BYTES);
        memcpy(buf, data, bytes);
    } else {
        rc = read_file(file, buf, &bytes, e);
    }
    if (rc == 0 && is_base64) rc = base64_decode(buf, &bytes, e);
    return rc < 0 ? rc : secret_add(t, id, buf, bytes, e);
}

int secret_load(struct secret_table *t, const char *id, const char *data,
                const char *file, bool is_base64, struct err *e)
{
    uint8_t *buf = malloc(SECRET_MAX_BYTES + 1);
    int rc;

    if (buf == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = load(t, id, data, file, is_base64, buf, e);
    wipe(buf, SECRET_MAX_BYTES + 1);
    return rc;
}

static int load_words(struct secret_table *t, const struct secret_words *w,
                      struct err *e)
{
    bool is_base64 = w->format != NULL && strcmp(w->format, "base64") == 0;

    if ((w->data == NULL) == (w->file == NULL))
        return err_set(e, -EINVAL, "secret needs either data= or file=");
    if (w->format != NULL && !is_base64 && strcmp(w->format, "raw") != 0)
        return err_set(e, -EINVAL, "secret format=%s: raw or base64",
                       w->format);
    return secret_load(t, w->id, w->data, w->file, is_base64, e);
}

/* Words are separated by commas; ",," stands for a comma. */
static int split(struct secret_words *w, char *text, struct err *e)
{
    char *at = text, *to = text, *word = text;

    for (;; at++) {
        if (at[0] == ',' && at[1] == ',') {
            *to++ = *at++;
            continue;
        }
        if (*at != ',' && *at != '\0') {
            *to++ = *at;
            continue;
        }
        bool is_end = *at == '\0';
        int rc;

        *to++ = '\0';
        rc = take_word(w, word, e);
        if (rc < 0 || is_end) return rc;
        word = to;
    }
}

int secret_parse(struct secret_table *t, const char *text, struct err *e)
{
    struct secret_words w = { NULL, NULL, NULL, NULL };
    size_t text_bytes = strlen(text) + 1;
    char *copy = strdup(text);
    int rc;

    if (copy == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = split(&w, copy, e);
    if (rc == 0) rc = load_words(t, &w, e);
    wipe(copy, text_bytes);
    return rc;
}
