/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help, info. */
#include <errno.h>
#include <string.h>

#include "core/vm/vm.h"
#include "monitor/commands.h"

enum { SCREEN_COLUMNS = 79 };

/* Words of text, continued behind four blanks where a line is full. */
static void print_wrapped(const char *text, size_t column, FILE *out)
{
    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (column + 1 + n > SCREEN_COLUMNS) {
            fputs("\n    ", out);
            column = 4;
        } else {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)n, text);
        column += n;
        text += n + (text[n] == ' ');
    }
    fputc('\n', out);
}

void command_print_help(const struct command *p, const char *prefix, FILE *out)
{
    char head[256] = "";
    FILE *f = fmemopen(head, sizeof(head), "w");
    size_t n;

    if (f == NULL) return;
    fprintf(f, "%s%s", prefix, p->name);
    command_print_params(p, f);
    fclose(f);
    n = strlen(head);
    if (n + strlen(p->help) + 5 > SCREEN_COLUMNS) {
        fprintf(out, "%s\n    --", head);
        print_wrapped(p->help, 6, out);
    } else {
        fprintf(out, "%s %s-- %s\n", head, p->params[0] ? "" : " ", p->help);
    }
}

static void print_page(void *arg, const char *name, const char *help)
{
    if (command_find(info_table, name, strlen(name)) == NULL)
        fprintf(arg, "info %s  -- %s\n", name, help);
}

/* `info` alone: what there is. */
static void list_pages(struct cmd *c)
{
    for (const struct command *p = info_table; p->name != NULL; p++)
        command_print_help(p, "info ", c->out);
    vm_for_each_info(c->vm, print_page, c->out);
}

int cmd_info(struct cmd *c, struct err *e)
{
    const char *line = c->arg[0].text;
    size_t len = line != NULL ? strcspn(line, " ") : 0;
    struct cmd sub = { .s = c->s, .vm = c->vm, .out = c->out };
    char name[64];
    int rc;

    if (len == 0) {
        list_pages(c);
        return 0;
    }
    sub.c = command_find(info_table, line, len);
    if (sub.c != NULL) {
        rc = command_parse(&sub, line + len, e);
        if (rc < 0) {
            snprintf(e->text + strlen(e->text),
                     sizeof(e->text) - strlen(e->text),
                     "\nTry \"help info %.*s\" for more information", (int)len,
                     line);
        } else {
            rc = sub.c->run(&sub, e);
            if (rc < 0 && !sub.c->has_plain_errors) err_prefix(e, "Error");
        }
        command_free(&sub);
        return rc;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, line);
    if (vm_print_info_locked(c->vm, name, c->out) == 0) return 0;
    return err_set(e, -ENOENT, "unknown command: 'info %s'", name);
}

int cmd_help(struct cmd *c, struct err *e)
{
    const struct command *p;
    const char *name = c->arg[0].text, *page = c->arg[1].text;

    if (!c->arg[0].is_given) {
        for (p = command_table; p->name != NULL; p++)
            command_print_help(p, "", c->out);
        return 0;
    }
    p = command_find(command_table, name, strlen(name));
    if (p == NULL) return err_set(e, -ENOENT, "unknown command: '%s'", name);
    if (strcmp(p->name, "info") != 0) {
        command_print_help(p, "", c->out);
        return 0;
    }
    if (!c->arg[1].is_given) {
        list_pages(c);
        return 0;
    }
    p = command_find(info_table, page, strlen(page));
    if (p == NULL)
        return err_set(e, -ENOENT, "unknown command: 'info %s'", page);
    command_print_help(p, "info ", c->out);
    return 0;
}
