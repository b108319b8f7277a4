/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines taken apart by what a command's record declares.  An integer that is
 * not the last argument ends at the first blank outside parentheses, so that
 * "pmemsave 0 16 /file" is not a division; the last one may hold blanks.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "monitor/command.h"

static enum param_type type_of(const char *t, size_t n)
{
    static const struct {
        const char *name;
        enum param_type type;
    } types[] = {
        { "str", PARAM_STR },         { "file", PARAM_FILE },
        { "blk", PARAM_BLK },         { "keys", PARAM_KEYS },
        { "cmd", PARAM_CMD },         { "info", PARAM_INFO },
        { "int", PARAM_INT },         { "rest", PARAM_REST },
        { "fmt", PARAM_FMT },         { "dev", PARAM_DEV },
        { "bool", PARAM_BOOL },       { "any", PARAM_ANY },
        { "chardev", PARAM_CHARDEV }, { "log", PARAM_LOG },
        { "event", PARAM_EVENT },     { "size", PARAM_SIZE },
    };

    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i].name) == n && strncmp(types[i].name, t, n) == 0)
            return types[i].type;
    }
    return PARAM_END;
}

/* A copy of at most cap - 1 octets; false if it is longer. */
static bool copy(char *to, size_t cap, const char *from, size_t n)
{
    if (n >= cap) return false;
    memcpy(to, from, n);
    to[n] = '\0';
    return true;
}

/* "name=json?:type" without its brackets. */
static int parse_param(struct param *p, const char *word, size_t len)
{
    size_t name_len = 0, json_len;
    const char *json;

    if (len > 1 && word[0] == '-') p->flag = word[1];
    while (name_len < len && strchr("=?!:", word[name_len]) == NULL)
        name_len++;
    if (!copy(p->name, sizeof(p->name), word, name_len)) return -EINVAL;
    json = word;
    json_len = name_len;
    if (p->flag) json_len = 0;
    word += name_len;
    len -= name_len;
    if (len > 0 && *word == '=') {
        json = ++word;
        len--;
        json_len = 0;
        while (json_len < len && strchr("?!:", word[json_len]) == NULL)
            json_len++;
        word += json_len;
        len -= json_len;
    }
    if (!copy(p->json, sizeof(p->json), json, json_len)) return -EINVAL;
    p->is_json_optional = p->is_optional;
    if (len > 0 && (*word == '?' || *word == '!')) {
        p->is_json_optional = *word == '?';
        word++;
        len--;
    }
    if (len == 0) return p->flag ? 0 : -EINVAL;
    p->type = type_of(word + 1, len - 1);
    return p->type == PARAM_END ? -EINVAL : 0;
}

int params_parse(const char *params, struct param out[COMMAND_MAX_PARAMS + 1])
{
    unsigned n = 0;

    while (*params != '\0' && n < COMMAND_MAX_PARAMS) {
        struct param *p = &out[n];
        size_t len = strcspn(params, " ");
        const char *word = params;
        int rc;

        *p = (struct param){ .type = PARAM_FLAG };
        params += len;
        params += strspn(params, " ");
        if (*word == '[' || *word == '{') {
            p->is_optional = true;
            p->is_json_only = *word == '{';
            word++;
            len -= 2;
        }
        rc = parse_param(p, word, len);
        if (rc < 0) return rc;
        n++;
    }
    out[n] = (struct param){ .type = PARAM_END };
    return *params == '\0' ? (int)n : -E2BIG;
}

bool command_is_called(const struct command *c, const char *name, size_t len)
{
    const char *p = c->name;

    if (c->run == NULL) return false;
    while (*p != '\0') {
        size_t n = strcspn(p, "|");

        if (n == len && strncmp(p, name, n) == 0) return true;
        p += n + (p[n] == '|');
    }
    return false;
}

const struct command *command_find(const struct command *table,
                                   const char *name, size_t len)
{
    for (; table->name != NULL; table++) {
        if (command_is_called(table, name, len)) return table;
    }
    return NULL;
}

static const char *skip(const char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    return p;
}

/* The character a backslash in quotes stands for; -1 unknown. */
static int unescape(char ch)
{
    switch (ch) {
    case 'n': return '\n';
    case 'r': return '\r';
    case '\\':
    case '\'':
    case '"': return ch;
    default: return -1;
    }
}

int word_next(const char **at, char *out, size_t cap, struct err *e)
{
    const char *p = skip(*at);
    bool is_quoted = *p == '"';
    size_t n = 0;

    if (*p == '\0') return 0;
    if (is_quoted) p++;
    for (; *p != '\0'; p++) {
        int ch = (unsigned char)*p;

        if (is_quoted ? ch == '"' : isspace(ch)) break;
        if (is_quoted && ch == '\\') {
            ch = unescape(*++p);
            if (ch < 0)
                return err_set(e, -EINVAL, "unsupported escape code: '\\%c'",
                               *p);
        }
        if (n + 1 >= cap) return err_set(e, -EINVAL, "word too long");
        out[n++] = (char)ch;
    }
    if (is_quoted && *p != '"')
        return err_set(e, -EINVAL, "unterminated string");
    out[n] = '\0';
    *at = is_quoted ? p + 1 : p;
    return 1;
}

/* "/16xb": count, format, size, in any order of the letters. */
static int parse_format(struct cmd_format *f, const char **at, struct err *e)
{
    const char *p = *at;

    if (*p != '/') return 0;
    f->is_given = true;
    for (p++; isdigit((unsigned char)*p); p++) {
        if (f->count > UINT32_MAX)
            return err_set(e, -ERANGE, "count too large in format");
        f->count = f->count * 10 + (unsigned)(*p - '0');
    }
    for (; *p != '\0' && !isspace((unsigned char)*p); p++) {
        if (strchr("xduocis", *p) != NULL) {
            f->format = *p;
        } else if (strchr("bhwg", *p) != NULL) {
            f->size = *p;
        } else if (*p == 'l') {
            f->size = 'g';
        } else {
            return err_set(e, -EINVAL, "invalid char in format: '%c'",
                           isprint((unsigned char)*p) ? *p : '?');
        }
    }
    *at = p;
    return 0;
}

/* An expression that has to end where its word ends. */
static int parse_int(struct cmd *c, const char **at, bool is_last, int64_t *out,
                     struct err *e)
{
    char word[COMMAND_MAX_LINE];
    const char *p = skip(*at), *q = p;
    int depth = 0, rc;

    if (is_last) return expr_eval(c->s, at, out, e);
    for (; *q != '\0' && (depth > 0 || !isspace((unsigned char)*q)); q++)
        depth += *q == '(' ? 1 : *q == ')' ? -1 : 0;
    if ((size_t)(q - p) >= sizeof(word))
        return err_set(e, -EINVAL, "word too long");
    memcpy(word, p, (size_t)(q - p));
    word[q - p] = '\0';
    p = word;
    rc = expr_eval(c->s, &p, out, e);
    if (rc < 0) return rc;
    if (*skip(p) != '\0')
        return err_set(e, -EINVAL, "invalid char '%c' in expression", *p);
    *at = q;
    return 0;
}

static int parse_size(const char *word, int64_t *out, struct err *e)
{
    uint64_t bytes = 0;

    if (size_parse(word, 1 << 20, &bytes) < 0 || bytes > INT64_MAX)
        return err_set(e, -EINVAL, "invalid size '%s'", word);
    *out = (int64_t)bytes;
    return 0;
}

static const char *type_word(enum param_type t)
{
    switch (t) {
    case PARAM_FILE: return "filename";
    case PARAM_BLK: return "block device name";
    case PARAM_INT: return "integer";
    case PARAM_SIZE: return "size";
    default: return "string";
    }
}

static int parse_value(struct cmd *c, const struct param *p, bool is_last,
                       struct cmd_arg *a, const char **at, struct err *e)
{
    char word[COMMAND_MAX_LINE];
    int rc;

    if (p->type == PARAM_REST) {
        *at = skip(*at);
        a->text = strdup(*at);
        *at += strlen(*at);
        if (a->text == NULL) return err_set(e, -ENOMEM, "out of memory");
        if (a->text[0] != '\0') a->is_given = true;
    } else if (*skip(*at) == '\0' && (p->type != PARAM_INT || p->is_optional)) {
        if (p->is_optional && !p->flag) return 0;
    } else if (p->type == PARAM_INT) {
        rc = parse_int(c, at, is_last, &a->number, e);
        if (rc < 0) return rc;
        a->is_given = true;
    } else {
        rc = word_next(at, word, sizeof(word), e);
        if (rc < 0) return rc;
        a->text = strdup(word);
        if (a->text == NULL) return err_set(e, -ENOMEM, "out of memory");
        a->is_given = true;
        a->number = strcmp(word, "on") == 0;
        if (p->type == PARAM_SIZE) return parse_size(word, &a->number, e);
        if (p->type == PARAM_BOOL && !a->number && strcmp(word, "off") != 0)
            return err_set(e, -EINVAL, "%s: %s is on or off, not '%s'",
                           c->c->name, p->name, word);
    }
    if (a->is_given || p->is_optional) return 0;
    return err_set(e, -EINVAL, "%s: %s expected", c->c->name,
                   type_word(p->type));
}

/* Flags stand anywhere: "-f" of a letter the command declares. */
static int parse_flags(struct cmd *c, const struct param *params,
                       const char **at, struct err *e)
{
    bool has_flag = false;

    for (unsigned i = 0; params[i].type != PARAM_END; i++)
        has_flag |= params[i].flag != 0;
    for (;;) {
        const char *p = skip(*at);
        unsigned i = 0;
        int rc;

        if (p[0] != '-' || p[1] == '\0' ||
            (p[2] != '\0' && !isspace((unsigned char)p[2])))
            return 0;
        while (params[i].type != PARAM_END && params[i].flag != p[1])
            i++;
        if (params[i].type == PARAM_END) {
            if (!has_flag || !isalpha((unsigned char)p[1])) return 0;
            return err_set(e, -EINVAL, "%s: unsupported option -%c", c->c->name,
                           p[1]);
        }
        *at = p + 2;
        c->arg[i].is_given = true;
        if (params[i].type == PARAM_FLAG) continue;
        c->arg[i].is_given = false;
        rc = parse_value(c, &params[i], false, &c->arg[i], at, e);
        if (rc < 0) return rc;
        if (!c->arg[i].is_given)
            return err_set(e, -EINVAL, "%s: -%c needs a value", c->c->name,
                           p[1]);
    }
}

int command_parse(struct cmd *c, const char *line, struct err *e)
{
    struct param params[COMMAND_MAX_PARAMS + 1];
    unsigned last = 0;
    int rc = params_parse(c->c->params, params);

    if (rc < 0) return err_set(e, rc, "%s: bad record", c->c->name);
    for (unsigned i = 0; params[i].type != PARAM_END; i++) {
        if (!params[i].flag && !params[i].is_json_only) last = i;
    }
    for (unsigned i = 0; params[i].type != PARAM_END; i++) {
        if (params[i].type == PARAM_FMT) {
            line = skip(line);
            rc = parse_format(&c->format, &line, e);
            if (rc < 0) return rc;
            continue;
        }
        rc = parse_flags(c, params, &line, e);
        if (rc == 0 && !params[i].flag && !params[i].is_json_only)
            rc = parse_value(c, &params[i], i == last, &c->arg[i], &line, e);
        if (rc < 0) return rc;
    }
    rc = parse_flags(c, params, &line, e);
    if (rc < 0) return rc;
    if (*skip(line) != '\0')
        return err_set(e, -EINVAL,
                       "%s: extraneous characters at the end of line",
                       c->c->name);
    return 0;
}

void command_free(struct cmd *c)
{
    for (unsigned i = 0; i < COMMAND_MAX_PARAMS; i++)
        free(c->arg[i].text);
}

void command_print_params(const struct command *c, FILE *out)
{
    struct param p[COMMAND_MAX_PARAMS + 1];

    if (params_parse(c->params, p) < 0) return;
    for (unsigned i = 0; p[i].type != PARAM_END; i++) {
        const char *open = p[i].is_optional ? "[" : "";
        const char *close = p[i].is_optional ? "]" : "";

        if (p[i].is_json_only) continue;
        if (p[i].type == PARAM_FMT) {
            fputs(" /fmt", out);
        } else if (p[i].flag && p[i].type != PARAM_FLAG) {
            fprintf(out, " %s%s value%s", open, p[i].name, close);
        } else {
            fprintf(out, " %s%s%s", open, p[i].name, close);
        }
    }
}
