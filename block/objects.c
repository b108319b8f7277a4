/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object, object-add: secrets and throttle groups of a machine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/drive_priv.h"
#include "block/image.h"
#include "block/nodes.h"
#include "block/opts.h"

static int need_secrets(struct drive_table *t, struct err *e)
{
    if (t->secrets != NULL || secret_table_create(&t->secrets) == 0) return 0;
    return err_set(e, -ENOMEM, "out of memory");
}

static int is_taken(const char *id, struct err *e)
{
    return err_set(e, -EEXIST,
                   "attempt to add duplicate property '%s' to object (type "
                   "'container')",
                   id);
}

static bool has_object(struct drive_table *t, const char *id)
{
    return secret_has(t->secrets, id) ||
           throttle_group_is_object(throttle_group_find(&t->groups, id));
}

/* ---------------------------------------------------------------- secret */

static int add_secret(struct drive_table *t, const struct opts *o,
                      const char *id, struct err *e)
{
    static const char *const formats[] = { "raw", "base64", NULL };
    static const char *const keys[] = { "qom-type", "id",    "data", "file",
                                        "format",   "keyid", "iv",   NULL };
    const char *data = NULL, *file = NULL, *keyid = NULL, *iv = NULL;
    unsigned format = 0;
    int rc = opts_only(o, keys, e);

    if (rc == 0) rc = opts_text(o, "data", &data, e);
    if (rc == 0) rc = opts_text(o, "file", &file, e);
    if (rc == 0) rc = opts_text(o, "keyid", &keyid, e);
    if (rc == 0) rc = opts_text(o, "iv", &iv, e);
    if (rc == 0) rc = opts_word(o, "format", formats, &format, e);
    if (rc == 0) rc = need_secrets(t, e);
    if (rc < 0) return rc;
    if (keyid != NULL || iv != NULL)
        return err_set(e, -ENOTSUP,
                       "a secret that is encrypted (keyid, iv) is not "
                       "supported; use file=");
    if (data != NULL && file != NULL)
        return err_set(e, -EINVAL, "'file' and 'data' are mutually exclusive");
    if (data == NULL && file == NULL)
        return err_set(e, -EINVAL, "Either 'file' or 'data' must be provided");
    return secret_load(t->secrets, id, data, file, format == 1, e);
}

int objects_add_secret(struct drive_table *t, const char *id, const char *text,
                       struct err *e)
{
    int rc = need_secrets(t, e);

    if (rc < 0) return rc;
    secret_remove(t->secrets, id);
    return secret_add(t->secrets, id, text, strlen(text), e);
}

/* -------------------------------------------------------- throttle-group */

/* "x-iops-total-max" or, inside limits, "iops-total-max"; in text numbers are
 * strings. */
static int take_limit(struct throttle_limits *l, const struct opts *o,
                      const struct json *j, const char *name, struct err *e)
{
    uint64_t *value, v = 0;
    enum throttle_part part;
    int rc;

    for (unsigned i = 0; throttle_long_name(i) != NULL; i++) {
        if (strcmp(throttle_long_name(i), name) != 0) continue;
        rc = opts_size(o, j->name, &v, e);
        if (rc < 0) return rc;
        throttle_field(l, i, &part, &value);
        *value = v;
        return 0;
    }
    return err_set(e, -EINVAL, "Parameter '%s%s' is unexpected", o->path,
                   j->name);
}

static int read_limits(const struct opts *o, struct throttle_limits *l,
                       struct err *e)
{
    struct opts inner;
    int rc = opts_child(o, "limits", &inner, e);

    if (rc < 0) return rc;
    for (const struct json *j = inner.j != NULL ? inner.j->first : NULL;
         j != NULL && rc == 0; j = j->next)
        rc = take_limit(l, &inner, j, j->name, e);
    for (const struct json *j = o->j->first; j != NULL && rc == 0;
         j = j->next) {
        if (strcmp(j->name, "qom-type") == 0 || strcmp(j->name, "id") == 0 ||
            strcmp(j->name, "limits") == 0)
            continue;
        rc = take_limit(l, o, j,
                        strncmp(j->name, "x-", 2) == 0 ? j->name + 2 : "", e);
    }
    return rc < 0 ? rc : throttle_check(l, e);
}

static int add_group(struct drive_table *t, const struct opts *o,
                     const char *id, struct err *e)
{
    struct throttle_limits l = { .iops_bytes = 0 };
    struct throttle_group *g;
    int rc = read_limits(o, &l, e);

    if (rc < 0) return rc;
    g = throttle_group_get(&t->groups, id);
    if (g == NULL) return err_set(e, -ENOMEM, "out of memory");
    throttle_group_set(g, &l);
    throttle_group_make_object(g, true);
    return 0;
}

/* ------------------------------------------------------------------- all */

int objects_add(struct drive_table *t, const struct json *options, bool is_text,
                struct err *e)
{
    const struct opts o = { .j = options, .is_text = is_text };
    const char *type = NULL, *id = NULL;
    bool is_secret;
    int rc = opts_text(&o, "qom-type", &type, e);

    if (rc == 0) rc = opts_text(&o, "id", &id, e);
    if (rc < 0) return rc;
    if (type == NULL) return opts_missing(&o, "qom-type", e);
    is_secret = strcmp(type, "secret") == 0;
    if (!is_secret && strcmp(type, "throttle-group") != 0)
        return err_set(e, -ENOTSUP,
                       "Parameter 'qom-type' does not accept value '%s'", type);
    if (id == NULL) return opts_missing(&o, "id", e);
    if (!opts_is_id(id))
        return err_set(e, -EINVAL, "Parameter 'id' expects an identifier");
    if (has_object(t, id)) return is_taken(id, e);
    return is_secret ? add_secret(t, &o, id, e) : add_group(t, &o, id, e);
}

int objects_add_text(struct drive_table *t, const char *text, struct err *e)
{
    struct json *j;
    bool is_text;
    int rc = opts_parse(text, "qom-type", &j, &is_text, e);

    if (rc < 0) return rc;
    rc = j->type == JSON_OBJECT
             ? objects_add(t, j, is_text, e)
             : err_set(e, -EINVAL, "options are no JSON object");
    opts_wipe(j);
    json_free(j);
    return rc;
}

int objects_del(struct drive_table *t, const char *id, struct err *e)
{
    struct throttle_group *g = throttle_group_find(&t->groups, id);

    if (secret_remove(t->secrets, id)) return 0;
    if (!throttle_group_is_object(g))
        return err_set(e, -ENOENT, "object '%s' not found", id);
    if (throttle_group_refs(g) > 1)
        return err_set(e, -EBUSY, "object '%s' is in use, can not be deleted",
                       id);
    throttle_group_put(&t->groups, g);
    return 0;
}

const struct secret_table *objects_secrets(struct drive_table *t)
{
    return need_secrets(t, NULL) < 0 ? NULL : t->secrets;
}
