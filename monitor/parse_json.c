/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of a JSON request, checked against what the record declares. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/command.h"

static const struct command *const tables[] = { json_table, command_table,
                                                info_table };
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

const struct command *command_next_json(const struct command *c)
{
    unsigned t = 0;

    if (c == NULL) {
        c = tables[0];
    } else {
        for (t = 0; t < TABLES; t++) {
            const struct command *x = tables[t];

            while (x->name != NULL && x != c)
                x++;
            if (x->name != NULL) break;
        }
        c++;
    }
    for (;; c++) {
        while (c->name == NULL) {
            if (++t >= TABLES) return NULL;
            c = tables[t];
        }
        if (c->json != NULL) return c;
    }
}

const struct command *command_find_json(const char *name)
{
    const struct command *c = NULL;

    while ((c = command_next_json(c)) != NULL) {
        if (strcmp(c->json, name) == 0) return c;
    }
    return NULL;
}

static int wrong_type(const struct param *p, const char *wanted, struct err *e)
{
    return err_set(e, -EINVAL, "Invalid parameter type for '%s', expected: %s",
                   p->json, wanted);
}

static int take(const struct param *p, const struct json *j, struct cmd_arg *a,
                struct err *e)
{
    a->is_given = true;
    switch (p->type) {
    case PARAM_ANY:
    case PARAM_KEYS: a->json = j; return 0;
    case PARAM_FLAG:
    case PARAM_BOOL:
        if (j->type != JSON_BOOL) return wrong_type(p, "boolean", e);
        a->number = j->is_true;
        /* A flag that is false is one that was not written. */
        if (p->type == PARAM_FLAG) a->is_given = j->is_true;
        return 0;
    case PARAM_SIZE:
    case PARAM_INT:
        if (j->type != JSON_INT) return wrong_type(p, "integer", e);
        a->number = j->i;
        return 0;
    default: break;
    }
    if (j->type != JSON_STRING) return wrong_type(p, "string", e);
    a->text = strdup(j->text);
    return a->text != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int command_parse_json(struct cmd *c, struct err *e)
{
    struct param p[COMMAND_MAX_PARAMS + 1];
    int rc = params_parse(c->c->params, p);

    if (rc < 0) return err_set(e, rc, "%s: bad record", c->c->json);
    for (unsigned i = 0; p[i].type != PARAM_END; i++) {
        const struct json *j =
            p[i].json[0] ? json_get(c->all, p[i].json) : NULL;

        if (j != NULL) {
            rc = take(&p[i], j, &c->arg[i], e);
            if (rc < 0) return rc;
        } else if (p[i].json[0] && !p[i].is_json_optional) {
            return err_set(e, -EINVAL, "Parameter '%s' is missing", p[i].json);
        }
    }
    if (c->all == NULL || c->c->takes_any) return 0;
    for (const struct json *j = c->all->first; j != NULL; j = j->next) {
        unsigned i = 0;

        while (p[i].type != PARAM_END && strcmp(p[i].json, j->name) != 0)
            i++;
        if (p[i].type == PARAM_END)
            return err_set(e, -EINVAL, "Parameter '%s' is unexpected", j->name);
    }
    return 0;
}
