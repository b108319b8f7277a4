/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui/options_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"

/* Copy up to the next single comma, ",," becoming ","; NULL: too long. */
static const char *copy_item(const char *at, char *to, size_t cap)
{
    size_t n = 0;

    for (; *at != '\0'; at++) {
        if (*at == ',') {
            if (at[1] != ',') break;
            at++;
        }
        if (n + 1 >= cap) return NULL;
        to[n++] = *at;
    }
    to[n] = '\0';
    return at;
}

int keyval_next(const char **at, const char *implied, bool is_first,
                struct keyval *kv, struct err *e)
{
    const char *p = *at;
    size_t key_len = strcspn(p, "=,");
    bool has_key = p[key_len] == '=';

    if (*p == '\0') return 0;
    if (has_key) {
        if (key_len == 0) return err_set(e, -EINVAL, "no name before '='");
        if (key_len >= sizeof(kv->key))
            return err_set(e, -EINVAL, "no parameter '%.60s'", p);
        memcpy(kv->key, p, key_len);
        kv->key[key_len] = '\0';
        p += key_len + 1;
    }
    p = copy_item(p, kv->value, sizeof(kv->value));
    if (p == NULL) return err_set(e, -EINVAL, "value too long");
    kv->has_value = true;
    if (!has_key && is_first && implied != NULL) {
        strcpy(kv->key, implied);
    } else if (!has_key) {
        if (strlen(kv->value) >= sizeof(kv->key))
            return err_set(e, -EINVAL, "no parameter '%.60s'", kv->value);
        strcpy(kv->key, kv->value);
        strcpy(kv->value, "on");
        kv->has_value = false;
    }
    *at = *p == ',' ? p + 1 : p;
    return 1;
}

int keyval_unknown(const struct keyval *kv, const char *known, struct err *e)
{
    return err_set(e, -EINVAL, "no parameter '%s'; there are %s", kv->key,
                   known);
}

int value_bool(const struct keyval *kv, bool *out, struct err *e)
{
    static const char *const words[][2] = {
        { "on", "off" }, { "yes", "no" }, { "true", "false" }, { "y", "n" }
    };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (unsigned is_off = 0; is_off < 2; is_off++) {
            if (strcmp(kv->value, words[i][is_off]) == 0) {
                *out = is_off == 0;
                return 0;
            }
        }
    }
    return err_set(e, -EINVAL, "%s=%s: on or off", kv->key, kv->value);
}

int value_uint(const struct keyval *kv, uint64_t min, uint64_t max,
               uint64_t *out, struct err *e)
{
    uint64_t v = 0;
    int rc = uint_parse(kv->value, &v);

    if (rc == -EINVAL)
        return err_set(e, rc, "%s=%s: not a number", kv->key, kv->value);
    if (rc < 0 || v < min || v > max)
        return err_set(e, -ERANGE, "%s=%s: outside %llu..%llu", kv->key,
                       kv->value, (unsigned long long)min,
                       (unsigned long long)max);
    *out = v;
    return 0;
}

int value_text(char **where, const char *text, struct err *e)
{
    char *copy = NULL;

    if (text != NULL && (copy = strdup(text)) == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    free(*where);
    *where = copy;
    return 0;
}

bool value_is_help(const char *text)
{
    return strcmp(text, "help") == 0 || strcmp(text, "?") == 0;
}
