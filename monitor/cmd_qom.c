/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom-list, qom-get, info qom-tree: devices as a tree of names.  "/machine" is
 * the machine; what it holds follows by the devices' ids.
 */
#include <errno.h>
#include <string.h>

#include "core/vm/dev.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

enum place { PLACE_NONE, PLACE_ROOT, PLACE_MACHINE, PLACE_DEVICE };

/* What a path leads to; *out is the machine or a device, else unchanged. */
static enum place find(struct cmd *c, const char *path, const struct dev **out)
{
    const struct dev *d = vm_root(c->vm);
    size_t n;

    path += strspn(path, "/");
    if (*path == '\0') return PLACE_ROOT;
    n = strcspn(path, "/");
    if (n != 7 || strncmp(path, "machine", 7) != 0) return PLACE_NONE;
    *out = d;
    for (path += n; d != NULL; path += n) {
        path += strspn(path, "/");
        n = strcspn(path, "/");
        if (n == 0) break;
        for (d = d->first_child; d != NULL; d = d->next_sibling) {
            if (strlen(d->id) == n && strncmp(d->id, path, n) == 0) break;
        }
        if (d == NULL) return PLACE_NONE;
        *out = d;
    }
    return *out == vm_root(c->vm) ? PLACE_MACHINE : PLACE_DEVICE;
}

static int no_path(struct cmd *c, const char *path, struct err *e)
{
    c->error_class = "DeviceNotFound";
    return err_set(e, -ENOENT, "Device '%s' not found", path);
}

static const char *class_name(const struct dev *d)
{
    return d != NULL && d->cls != NULL ? d->cls->name : "machine";
}

static const char *type_name(const struct prop *p)
{
    switch (p->type) {
    case P_BOOL: return "bool";
    case P_U32: return "uint32";
    case P_U64: return "uint64";
    case P_SIZE: return "size";
    default: return "string";
    }
}

typedef void row_fn(struct cmd *c, const char *name, const char *type);

static int list(struct cmd *c, const char *path, row_fn *row, struct err *e)
{
    const struct dev *d = NULL;
    enum place where = find(c, path, &d);
    char type[80];

    if (where == PLACE_NONE) return no_path(c, path, e);
    row(c, "type", "string");
    if (where == PLACE_ROOT) {
        snprintf(type, sizeof(type), "child<%s>", class_name(vm_root(c->vm)));
        row(c, "machine", type);
        return 0;
    }
    if (d == NULL) return 0;
    for (const struct prop *p = d->cls->props; p != NULL && p->name != NULL;
         p++)
        row(c, p->name, type_name(p));
    for (const struct dev *x = d->first_child; x != NULL; x = x->next_sibling) {
        snprintf(type, sizeof(type), "child<%s>", class_name(x));
        row(c, x->id, type);
    }
    return 0;
}

static void row_text(struct cmd *c, const char *name, const char *type)
{
    fprintf(c->out, "%s (%s)\n", name, type);
}

static void row_json(struct cmd *c, const char *name, const char *type)
{
    json_open(c->json, NULL, '{');
    json_str(c->json, "name", name);
    json_str(c->json, "type", type);
    json_close(c->json, '}');
}

int cmd_qom_list(struct cmd *c, struct err *e)
{
    if (!c->arg[0].is_given) {
        fputs("/\n", c->out);
        return 0;
    }
    return list(c, c->arg[0].text, row_text, e);
}

int json_qom_list(struct cmd *c, struct err *e)
{
    int rc;

    if (!c->arg[0].is_given)
        return err_set(e, -EINVAL, "Parameter 'path' is missing");
    json_open(c->json, NULL, '[');
    rc = list(c, c->arg[0].text, row_json, e);
    json_close(c->json, ']');
    return rc;
}

static int get(struct cmd *c, struct json_out *o, struct err *e)
{
    const char *path = c->arg[0].text, *name = c->arg[1].text;
    const struct dev *d = NULL;
    enum place where = find(c, path, &d);
    const struct prop *p = NULL;
    char text[256];

    if (where == PLACE_NONE) return no_path(c, path, e);
    if (strcmp(name, "type") == 0) {
        json_str(o, NULL, where == PLACE_ROOT ? "container" : class_name(d));
        return 0;
    }
    if (d != NULL && d->cls != NULL) p = d->cls->props;
    while (p != NULL && p->name != NULL && strcmp(p->name, name) != 0)
        p++;
    if (p == NULL || p->name == NULL)
        return err_set(e, -ENOENT, "Property '%s.%s' not found",
                       where == PLACE_ROOT ? "container" : class_name(d), name);
    switch (p->type) {
    case P_BOOL: json_bool(o, NULL, *(bool *)((char *)d->s + p->offset)); break;
    case P_U32:
        json_uint(o, NULL, *(uint32_t *)((char *)d->s + p->offset));
        break;
    case P_U64:
    case P_SIZE:
        json_uint(o, NULL, *(uint64_t *)((char *)d->s + p->offset));
        break;
    default: json_str(o, NULL, dev_prop_text(d, p, text, sizeof(text))); break;
    }
    return 0;
}

int cmd_qom_get(struct cmd *c, struct err *e)
{
    struct json_out o = { .f = c->out };
    int rc = get(c, &o, e);

    if (rc == 0) fputc('\n', c->out);
    return rc;
}

int json_qom_get(struct cmd *c, struct err *e)
{
    return get(c, c->json, e);
}

static void print_tree(const struct dev *d, unsigned depth, FILE *out)
{
    if (depth > 16) return;
    for (const struct dev *x = d->first_child; x != NULL; x = x->next_sibling) {
        fprintf(out, "%*s/%s (%s)\n", (int)(2 * depth), "", x->id,
                class_name(x));
        print_tree(x, depth + 1, out);
    }
}

int info_qom_tree(struct cmd *c, struct err *e)
{
    const char *path = c->arg[0].is_given ? c->arg[0].text : "/machine";
    const struct dev *d = NULL;
    enum place where = find(c, path, &d);

    if (where == PLACE_NONE) return no_path(c, path, e);
    if (d == NULL) d = vm_root(c->vm);
    if (d == NULL) return 0;
    fprintf(c->out, "/%s (%s)\n", d == vm_root(c->vm) ? "machine" : d->id,
            class_name(d));
    print_tree(d, 1, c->out);
    return 0;
}
