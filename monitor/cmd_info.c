/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help, info. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/vm.h"
#include "monitor/absent.h"
#include "monitor/commands.h"

enum { SCREEN_COLUMNS = 79, SCREEN_ROWS = 20 };

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

enum { PAGES_MAX = 160, NAMES_MAX = 200 };

static size_t name_length(const char *name)
{
    return strcspn(name, "|");
}

/* Width of column n of rows names. */
static size_t column_width(const char *const *name, unsigned count,
                           unsigned rows, unsigned n)
{
    size_t width = 0;

    for (unsigned i = n * rows; i < (n + 1) * rows && i < count; i++) {
        if (name_length(name[i]) > width) width = name_length(name[i]);
    }
    return width + 2;
}

/* Fewest rows whose columns fit side by side. */
static unsigned count_rows(const char *const *name, unsigned count)
{
    for (unsigned rows = 1; rows < count; rows++) {
        size_t total = 0;

        for (unsigned n = 0; n * rows < count; n++)
            total += column_width(name, count, rows, n);
        if (total <= SCREEN_COLUMNS + 2) return rows;
    }
    return count;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One after the other. */
static void print_flow(const char *const *name, unsigned count, FILE *out)
{
    size_t column = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t n = name_length(name[i]);

        if (column > 0 && column + 2 + n > SCREEN_COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(out, "%s%.*s", column > 0 ? "  " : "", (int)n,
                                  name[i]);
    }
    fputc('\n', out);
}

/* In columns if those fit a screen of 24 lines. */
static void print_names(const char **name, unsigned count, FILE *out)
{
    unsigned rows;

    qsort(name, count, sizeof(name[0]), compare_names);
    rows = count_rows(name, count);
    if (rows > SCREEN_ROWS) {
        print_flow(name, count, out);
        return;
    }
    for (unsigned r = 0; r < rows; r++) {
        for (unsigned i = r; i < count; i += rows) {
            int n = (int)name_length(name[i]);
            int width = (int)column_width(name, count, rows, i / rows);

            fprintf(out, "%.*s%*s", n, name[i],
                    i + rows < count ? width - n : 0, "");
        }
        fputc('\n', out);
    }
}

static void print_commands(struct cmd *c)
{
    const char *name[NAMES_MAX];
    unsigned count = 0;

    for (const struct command *p = command_table; p->name != NULL; p++) {
        if (count < NAMES_MAX) name[count++] = p->name;
    }
    print_names(name, count, c->out);
    fputs("help NAME explains one, help all lists them with arguments; Tab "
          "completes\n",
          c->out);
}

/* Pages of the table and those of devices, in the order of their names. */
struct pages {
    struct page {
        const struct command *c; /* NULL: a device's */
        const char *name, *help;
    } page[PAGES_MAX];
    unsigned count;
};

static void add_page(struct pages *all, const struct command *c,
                     const char *name, const char *help)
{
    unsigned at = all->count;

    for (unsigned i = 0; i < all->count; i++) {
        if (strcmp(all->page[i].name, name) == 0) return;
    }
    if (all->count == PAGES_MAX) return;
    for (; at > 0 && strcmp(all->page[at - 1].name, name) > 0; at--)
        all->page[at] = all->page[at - 1];
    all->page[at] = (struct page){ c, name, help };
    all->count++;
}

static void add_device_page(void *arg, const char *name, const char *help)
{
    add_page(arg, NULL, name, help);
}

static void collect(struct cmd *c, struct pages *all)
{
    all->count = 0;
    for (const struct command *p = info_table; p->name != NULL; p++)
        add_page(all, p, p->name, p->help);
    vm_for_each_info(c->vm, add_device_page, all);
}

static void print_page(const struct page *p, FILE *out)
{
    if (p->c != NULL) {
        command_print_help(p->c, "info ", out);
    } else {
        fprintf(out, "info %s  -- %s\n", p->name, p->help);
    }
}

/* `info` alone: what there is. */
static void list_pages(struct cmd *c)
{
    struct pages all;

    const char *name[PAGES_MAX];

    collect(c, &all);
    for (unsigned i = 0; i < all.count; i++) {
        name[i] = all.page[i].name;
        if (!c->s->is_person) print_page(&all.page[i], c->out);
    }
    if (!c->s->is_person) return;
    print_names(name, all.count, c->out);
    fputs("info NAME shows one, help info NAME explains it\n", c->out);
}

static int help_page(struct cmd *c, const char *name, struct err *e)
{
    const char *why = absent_page(name, strlen(name));
    struct pages all;

    collect(c, &all);
    for (unsigned i = 0; i < all.count; i++) {
        if (strcmp(all.page[i].name, name) != 0) continue;
        print_page(&all.page[i], c->out);
        return 0;
    }
    if (why != NULL) return err_set(e, -ENOTSUP, "info %s: %s", name, why);
    return err_set(e, -ENOENT, "unknown command: 'info %s'", name);
}

int cmd_info(struct cmd *c, struct err *e)
{
    const char *line = c->arg[0].text;
    size_t len = line != NULL ? strcspn(line, " ") : 0;
    struct cmd sub = { .s = c->s, .vm = c->vm, .out = c->out };
    const char *why;
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
    why = absent_page(line, len);
    if (why != NULL) return err_set(e, -ENOTSUP, "info %s: %s", name, why);
    return err_set(e, -ENOENT, "unknown command: 'info %s'", name);
}

int cmd_help(struct cmd *c, struct err *e)
{
    const struct command *p;
    const char *name = c->arg[0].text, *page = c->arg[1].text;

    if (!c->arg[0].is_given && c->s->is_person) {
        print_commands(c);
        return 0;
    }
    if (!c->arg[0].is_given || strcmp(name, "all") == 0) {
        for (p = command_table; p->name != NULL; p++)
            command_print_help(p, "", c->out);
        return 0;
    }
    p = command_find(command_table, name, strlen(name));
    if (p == NULL) {
        const char *why = absent_command(name, strlen(name));

        if (why != NULL) return err_set(e, -ENOTSUP, "%s: %s", name, why);
        return err_set(e, -ENOENT, "unknown command: '%s'", name);
    }
    if (strcmp(p->name, "info") != 0) {
        command_print_help(p, "", c->out);
        return 0;
    }
    if (!c->arg[1].is_given) {
        list_pages(c);
        return 0;
    }
    return help_page(c, page, e);
}
