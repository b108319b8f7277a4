/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/nbd_export.h"
#include "block/nodes_priv.h"

struct named_node *named_find(struct drive_table *t, const char *name)
{
    struct named_node *x = t->nodes;

    while (x != NULL && strcmp(x->n->node_name, name) != 0)
        x = x->next;
    return x;
}

struct node *nodes_find(struct drive_table *t, const char *name)
{
    struct named_node *x = named_find(t, name);

    return x != NULL ? x->n : NULL;
}

static void named_free(struct named_node *x)
{
    node_unref(x->n);
    json_free(x->options);
    free(x);
}

void build_undo(struct build *b)
{
    struct named_node *x;

    while ((x = b->made) != NULL) {
        b->made = x->next;
        named_free(x);
    }
}

/* ---------------------------------------------------------------- adding */

/* What was made joins the table; the one of root owns the others. */
static void join(struct build *b, const struct node *root)
{
    struct named_node *owner = b->made, **at = &b->t->nodes;

    while (owner != NULL && owner->n != root)
        owner = owner->next;
    for (struct named_node *x = b->made; x != NULL; x = x->next)
        x->owner = x == owner ? NULL : owner;
    while (*at != NULL)
        at = &(*at)->next;
    *at = b->made;
    b->made = NULL;
}

int nodes_add(struct drive_table *t, const struct json *options, bool is_text,
              struct err *e)
{
    struct build b = { .t = t, .is_text = is_text };
    struct node_behaviour how;
    struct node *n = NULL;
    struct json *copy;
    struct named_node *x;
    int rc;

    if (json_get(options, "driver") != NULL &&
        json_get(options, "node-name") == NULL)
        return err_set(e, -EINVAL,
                       "'node-name' must be specified for the root node");
    rc = build_node(&b, options, &how, &n, e);
    copy = rc == 0 ? opts_copy(options) : NULL;
    if (rc == 0 && copy == NULL) rc = err_set(e, -ENOMEM, "out of memory");
    if (rc < 0) {
        node_unref(n);
        build_undo(&b);
        return rc;
    }
    join(&b, n);
    x = named_find(t, n->node_name);
    x->options = copy;
    x->is_text = is_text;
    node_unref(n); /* the table has its own */
    return 0;
}

int nodes_add_text(struct drive_table *t, const char *text, struct err *e)
{
    struct json *j;
    bool is_text;
    int rc = opts_parse(text, "driver", &j, &is_text, e);

    if (rc < 0) return rc;
    rc = j->type == JSON_OBJECT
             ? nodes_add(t, j, is_text, e)
             : err_set(e, -EINVAL, "options are no JSON object");
    json_free(j);
    return rc;
}

int nodes_build(struct drive_table *t, const struct json *options, bool is_text,
                struct node **out, struct err *e)
{
    struct build b = { .t = t, .is_text = is_text };
    struct node_behaviour how;
    int rc = build_node(&b, options, &how, out, e);

    if (rc < 0)
        build_undo(&b);
    else
        join(&b, *out);
    return rc;
}

/* A name inside -drive's options lasts as long as its graph. */
static bool is_left_over(const struct named_node *x)
{
    return x->options == NULL && x->owner == NULL && x->n->refs == 1;
}

void nodes_sweep(struct drive_table *t)
{
    struct named_node **at = &t->nodes, *x;

    while ((x = *at) != NULL) {
        if (!is_left_over(x)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        named_free(x);
        at = &t->nodes; /* what it stood on may be left over now */
    }
}

void nodes_forget(struct drive_table *t, struct node *n)
{
    node_unref(n);
    nodes_sweep(t);
}

/* -------------------------------------------------------------- deleting */

static struct drive *drive_of(struct drive_table *t, const char *name)
{
    struct drive *d = t->first;

    while (d != NULL && (!d->is_node || strcmp(d->id, name) != 0))
        d = d->next;
    return d;
}

static bool is_exported(const struct drive_table *t, const struct drive *d)
{
    return t->nbd != NULL && nbd_server_has(t->nbd, d->blk);
}

/* References that others than the table and an idle drive have. */
static unsigned uses(struct drive_table *t, const struct named_node *x)
{
    const struct drive *d = drive_of(t, x->n->node_name);
    unsigned own = 1;

    if (d != NULL && d->blk != NULL && blk_root(d->blk) == x->n) own++;
    return x->n->refs - own;
}

static void drop(struct drive_table *t, struct named_node *x)
{
    struct named_node **at = &t->nodes;

    while (*at != NULL) {
        struct named_node *y = *at;

        if (y != x && y->owner != x) {
            at = &y->next;
            continue;
        }
        *at = y->next;
        named_free(y);
    }
}

static int check_free(struct drive_table *t, const struct named_node *x,
                      struct err *e)
{
    const char *name = x->n->node_name;
    const struct drive *d = drive_of(t, name);

    if (d != NULL && (d->device != NULL || d->job != NULL || is_exported(t, d)))
        return err_set(e, -EBUSY, "Node %s is in use", name);
    if (uses(t, x) > 0)
        return err_set(e, -EBUSY, "Block device %s is in use", name);
    return 0;
}

int nodes_del(struct drive_table *t, const char *name, struct err *e)
{
    struct named_node *x = named_find(t, name);
    struct drive *d;
    int rc;

    if (x == NULL)
        return err_set(e, -ENOENT, "Failed to find node with node-name='%s'",
                       name);
    if (x->owner != NULL)
        return err_set(e, -EBUSY, "Node %s is not owned by the monitor", name);
    rc = check_free(t, x, e);
    if (rc < 0) return rc;
    /* Those given inside it go with it, unless another one uses them. */
    for (struct named_node *y = t->nodes; y != NULL; y = y->next) {
        if (y->owner == x && y->n->refs > 2)
            return err_set(e, -EBUSY, "Block device %s is in use",
                           y->n->node_name);
    }
    d = drive_of(t, name);
    if (d != NULL) drive_drop(t, d);
    drop(t, x);
    return 0;
}

void nodes_destroy(struct drive_table *t)
{
    struct named_node *x;

    while ((x = t->nodes) != NULL) {
        t->nodes = x->next;
        named_free(x);
    }
}

/* ---------------------------------------------------------------- drives */

bool nodes_is_child(struct drive_table *t, const char *name)
{
    const struct named_node *x = named_find(t, name);

    return x != NULL && uses(t, x) > 0;
}

static int open_blk(struct drive_table *t, struct named_node *x,
                    struct blk **out, struct err *e)
{
    struct blk_options o;

    blk_options_init(&o);
    o.passes_discard = x->how.passes_discard;
    o.detect = x->how.detect;
    o.cache = x->how.is_unsafe   ? "unsafe"
              : x->how.is_direct ? "none"
                                 : "writeback";
    return blk_open_node(t->loop, x->n, &o, out, e);
}

struct drive *nodes_drive(struct drive_table *t, const char *name)
{
    struct named_node *x = named_find(t, name);
    struct drive *d = NULL;
    struct blk *b;

    if (x == NULL) return NULL;
    d = drive_of(t, name);
    if (d != NULL) return d;
    if (nodes_is_child(t, name) || open_blk(t, x, &b, NULL) < 0) return NULL;
    if (drive_add_node(t, name, b, &d) < 0) {
        blk_close(b);
        return NULL;
    }
    return d;
}

int nodes_insert(struct drive_table *t, struct drive *d, const char *name,
                 struct err *e)
{
    struct named_node *x = named_find(t, name);
    struct blk *b;
    int rc;

    if (x == NULL) return err_set(e, -ENOENT, "Node '%s' not found", name);
    for (struct drive *y = t->first; y != NULL; y = y->next) {
        if (y->blk != NULL && blk_root(y->blk) == x->n &&
            (!y->is_node || y->device != NULL))
            return err_set(e, -EBUSY, "Node '%s' is already in use", name);
    }
    if (drive_blk(d) != NULL)
        return err_set(e, -EBUSY, "There already is a medium in device '%s'",
                       drive_id(d));
    rc = open_blk(t, x, &b, e);
    if (rc < 0) return rc;
    rc = drive_put_medium_locked(d, b, e);
    if (rc < 0) blk_close(b);
    return rc;
}

/* ---------------------------------------------------------------- reopen */

int nodes_reopen(struct drive_table *t, const struct json *options,
                 struct err *e)
{
    const struct json *name = json_get(options, "node-name");
    struct err again = ERR_INIT;
    struct named_node *x;
    struct json *old;
    bool was_text;
    int rc;

    if (name == NULL || name->type != JSON_STRING)
        return err_set(e, -EINVAL, "node-name not specified");
    x = named_find(t, name->text);
    if (x == NULL)
        return err_set(e, -ENOENT, "Failed to find node with node-name='%s'",
                       name->text);
    rc = check_free(t, x, e);
    if (rc < 0) return rc;
    if (x->owner != NULL)
        return err_set(e, -EBUSY, "Node %s is not owned by the monitor",
                       name->text);
    /* The locks of an image let only one of the two be open. */
    old = x->options;
    was_text = x->is_text;
    x->options = NULL;
    if (drive_of(t, name->text) != NULL) drive_drop(t, drive_of(t, name->text));
    drop(t, x);
    rc = nodes_add(t, options, false, e);
    if (rc < 0 && nodes_add(t, old, was_text, &again) < 0)
        err_prefix(e, "the node is gone (%.100s)", again.text);
    json_free(old);
    return rc;
}
