/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of an image as the command line and the monitor spell them. */
#include "block/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block_int.h"

struct word {
    const char *text;
    int value;
};

static int word_value(const struct word *words, const char *key,
                      const char *text, int *value, struct err *e)
{
    char list[120] = "";

    for (; words->text != NULL; words++) {
        size_t used = strlen(list);

        if (strcmp(words->text, text) == 0) {
            *value = words->value;
            return 1;
        }
        snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
                 words->text);
    }
    return err_set(e, -EINVAL, "%s=%s: one of %s", key, text, list);
}

static const struct word caches[] = {
    { "none", 0 },       { "writeback", 1 },    { "unsafe", 2 },
    { "directsync", 3 }, { "writethrough", 4 }, { NULL, 0 },
};
static const struct word aios[] = {
    { "threads", 1 }, { "native", 0 }, { "io_uring", 0 }, { NULL, 0 }
};
static const struct word discards[] = {
    { "ignore", 0 }, { "off", 0 }, { "unmap", 1 }, { "on", 1 }, { NULL, 0 }
};
static const struct word detects[] = { { "off", BLK_DETECT_OFF },
                                       { "on", BLK_DETECT_ON },
                                       { "unmap", BLK_DETECT_UNMAP },
                                       { NULL, 0 } };
static const struct word read_errors[] = { { "report", BLK_REPORT },
                                           { "ignore", BLK_IGNORE },
                                           { "stop", BLK_STOP },
                                           { NULL, 0 } };
static const struct word write_errors[] = { { "report", BLK_REPORT },
                                            { "ignore", BLK_IGNORE },
                                            { "stop", BLK_STOP },
                                            { "enospc", BLK_ENOSPC },
                                            { NULL, 0 } };

static bool is_driver_key(const char *key)
{
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        const char *const *k = block_drivers[i]->keys;

        for (; k != NULL && *k != NULL; k++) {
            if (strcmp(*k, key) == 0) return true;
        }
    }
    return false;
}

static int driver_option(struct blk_options *o, const char *key,
                         const char *value, struct err *e)
{
    struct blk_extra *x;

    if (!is_driver_key(key)) return 0;
    if (o->extra_count == BLK_MAX_EXTRA)
        return err_set(e, -E2BIG, "%s: too many options", key);
    x = &o->extra[o->extra_count];
    if (strlen(key) >= sizeof(x->key) || strlen(value) >= sizeof(x->value))
        return err_set(e, -EINVAL, "%s: value too long", key);
    strcpy(x->key, key);
    strcpy(x->value, value);
    o->extra_count++;
    return 1;
}

void blk_options_init(struct blk_options *o)
{
    *o = (struct blk_options){ .on_read_error = BLK_REPORT,
                               .on_write_error = BLK_ENOSPC };
}

int blk_option_set(struct blk_options *o, const char *key, const char *value,
                   struct err *e)
{
    int v = 0, rc;

    if (strcmp(key, "cache") == 0) {
        rc = word_value(caches, key, value, &v, e);
        if (rc > 0) o->cache = caches[v].text;
        return rc;
    }
    if (strcmp(key, "aio") == 0) {
        rc = word_value(aios, key, value, &v, e);
        o->is_threads = v != 0;
        return rc;
    }
    if (strcmp(key, "discard") == 0) {
        rc = word_value(discards, key, value, &v, e);
        o->passes_discard = v != 0;
        return rc;
    }
    if (strcmp(key, "detect-zeroes") == 0) {
        rc = word_value(detects, key, value, &v, e);
        o->detect = (enum blk_detect)v;
        return rc;
    }
    if (strcmp(key, "rerror") == 0) {
        rc = word_value(read_errors, key, value, &v, e);
        o->on_read_error = (enum blk_on_error)v;
        return rc;
    }
    if (strcmp(key, "werror") == 0) {
        rc = word_value(write_errors, key, value, &v, e);
        o->on_write_error = (enum blk_on_error)v;
        return rc;
    }
    if (strcmp(key, "throttling.group") == 0 || strcmp(key, "group") == 0) {
        if (strlen(value) >= sizeof(o->throttle_group))
            return err_set(e, -EINVAL, "%s: name too long", key);
        strcpy(o->throttle_group, value);
        return 1;
    }
    rc = throttle_set(&o->limits, key, value, e);
    if (rc != 0) return rc;
    return driver_option(o, key, value, e);
}

const char *blk_options_next(const char *at, char *key, size_t key_cap,
                             char *value, size_t value_cap)
{
    size_t n = strcspn(at, "="), k = n < key_cap ? n : key_cap - 1, v = 0;

    memcpy(key, at, k);
    key[k] = '\0';
    at += n;
    if (*at == '=') at++;
    for (; *at != '\0'; at++) {
        if (*at == ',' && *++at != ',') break;
        if (v + 1 < value_cap) value[v++] = *at;
    }
    value[v] = '\0';
    return at;
}

const char *blk_format_at(unsigned n, bool *is_read_only)
{
    for (unsigned i = 0; block_drivers[i] != NULL; i++) {
        const struct block_driver *d = block_drivers[i];

        if (d->is_protocol || d->is_filter || n-- > 0) continue;
        *is_read_only = d->writev == NULL;
        return d->name;
    }
    return NULL;
}

int blk_options_parse(struct blk_options *o, const char *text, struct err *e)
{
    char key[BLK_EXTRA_KEY], value[BLK_EXTRA_VALUE];

    while (text != NULL && *text != '\0') {
        int rc;

        text = blk_options_next(text, key, sizeof(key), value, sizeof(value));
        rc = blk_option_set(o, key, value, e);
        if (rc == 0)
            rc = err_set(e, -EINVAL, "images have no option '%s'", key);
        if (rc < 0) return rc;
    }
    return throttle_check(&o->limits, e);
}
