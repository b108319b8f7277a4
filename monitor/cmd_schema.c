/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query-qmp-schema: the commands with their arguments as the records declare
 * them, and the events, in the form of QEMU's introspection (QAPI reference,
 * "SchemaInfo").  Answers are of the type any: they are shaped as the QMP
 * reference says.
 */
#include <string.h>

#include "monitor/commands.h"
#include "monitor/qmp.h"

static void put_head(struct json_out *o, const char *name, const char *meta)
{
    json_open(o, NULL, '{');
    json_str(o, "name", name);
    json_str(o, "meta-type", meta);
}

static void put_builtin(struct json_out *o, const char *name, const char *type)
{
    put_head(o, name, "builtin");
    json_str(o, "json-type", type);
    json_close(o, '}');
}

static void put_object(struct json_out *o, const char *name)
{
    put_head(o, name, "object");
    json_open(o, "members", '[');
}

static void end_object(struct json_out *o)
{
    json_close(o, ']');
    json_close(o, '}');
}

static const char *type_of(const struct param *p)
{
    switch (p->type) {
    case PARAM_FLAG:
    case PARAM_BOOL: return "bool";
    case PARAM_SIZE:
    case PARAM_INT: return "int";
    case PARAM_ANY:
    case PARAM_KEYS: return "any";
    default: return "str";
    }
}

static bool has_arguments(const struct param *p)
{
    for (; p->type != PARAM_END; p++) {
        if (p->json[0] != '\0') return true;
    }
    return false;
}

static void put_arguments(struct json_out *o, const struct command *c,
                          const struct param *p)
{
    char name[80];

    snprintf(name, sizeof(name), "q_obj_%s-arg", c->json);
    put_object(o, name);
    for (; p->type != PARAM_END; p++) {
        if (p->json[0] == '\0') continue;
        json_open(o, NULL, '{');
        json_str(o, "name", p->json);
        if (p->is_json_optional) json_null(o, "default");
        json_str(o, "type", type_of(p));
        json_close(o, '}');
    }
    end_object(o);
}

static void put_command(struct json_out *o, const struct command *c)
{
    struct param p[COMMAND_MAX_PARAMS + 1];

    if (params_parse(c->params, p) < 0) return;
    put_head(o, c->json, "command");
    if (has_arguments(p)) {
        json_strf(o, "arg-type", "q_obj_%s-arg", c->json);
    } else {
        json_str(o, "arg-type", "q_empty");
    }
    json_str(o, "ret-type", c->answer != NULL ? "any" : "q_empty");
    json_bool(o, "allow-oob", false);
    json_close(o, '}');
    if (has_arguments(p)) put_arguments(o, c, p);
}

int json_schema(struct cmd *c, struct err *e)
{
    struct json_out *o = c->json;
    const struct command *k = NULL;
    const char *name;

    (void)e;
    json_open(o, NULL, '[');
    put_builtin(o, "str", "string");
    put_builtin(o, "int", "int");
    put_builtin(o, "bool", "boolean");
    put_builtin(o, "any", "value");
    put_object(o, "q_empty");
    end_object(o);
    while ((k = command_next_json(k)) != NULL)
        put_command(o, k);
    for (unsigned i = 0; (name = qmp_event_name_at(i)) != NULL; i++) {
        put_head(o, name, "event");
        json_str(o, "arg-type", "q_empty");
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}
