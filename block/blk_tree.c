/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive with options of the graph ("file.driver=nbd,..."): the rest of what
 * -drive says joins them, and the graph is built as for -blockdev. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/blk_priv.h"
#include "block/nodes_priv.h"

/* What of the tree the other options decide, unless it says so itself. */
static int add(struct json **tree, const char *key, const char *value,
               struct err *e)
{
    if (value == NULL || json_get(*tree, key) != NULL) return 0;
    return opts_add(tree, key, value, e);
}

static int join_options(struct json **tree, const char *file,
                        const struct blk_options *o, struct err *e)
{
    bool is_readonly = o->is_readonly || o->is_snapshot;
    bool is_direct = o->cache != NULL && (strcmp(o->cache, "none") == 0 ||
                                          strcmp(o->cache, "directsync") == 0);
    int rc = 0;

    if (file != NULL && json_get(*tree, "file") == NULL) {
        rc = opts_add(tree, "file.driver", "file", e);
        if (rc == 0) rc = opts_add(tree, "file.filename", file, e);
    }
    if (rc == 0 && is_readonly) rc = add(tree, "read-only", "on", e);
    if (rc == 0 && o->is_auto_readonly)
        rc = add(tree, "auto-read-only", "on", e);
    if (rc == 0 && is_direct) rc = opts_add(tree, "cache.direct", "on", e);
    if (rc == 0 && o->passes_discard) rc = add(tree, "discard", "unmap", e);
    for (unsigned i = 0; i < o->extra_count && rc == 0; i++)
        rc = opts_add(tree, o->extra[i].key, o->extra[i].value, e);
    return rc;
}

/* The format, from what is in the file. */
static int guess(struct drive_table *t, const struct json *tree,
                 const char **format, struct err *e)
{
    const struct json *file = json_get(tree, "file");
    const struct block_driver *drv;
    struct node *n;
    int rc;

    *format = "raw";
    if (file == NULL || file->type != JSON_OBJECT)
        return err_set(e, -EINVAL, "no format given");
    rc = nodes_build(t, file, true, &n, e);
    if (rc < 0) return rc;
    rc = node_probe(n, &drv, e);
    if (rc == 0) *format = drv->name;
    nodes_forget(t, n);
    return rc;
}

int blk_open_tree(struct drive_table *t, const char *text, const char *file,
                  const struct blk_options *o, struct blk **out, struct err *e)
{
    const struct node_options none = { .is_readonly = false };
    const char *format = o->format;
    struct json *tree;
    struct node *n = NULL;
    bool is_text;
    int rc = opts_parse(text, NULL, &tree, &is_text, e);

    if (rc < 0) return rc;
    rc = join_options(&tree, file, o, e);
    if (rc == 0 && format == NULL) rc = guess(t, tree, &format, e);
    if (rc == 0) rc = add(&tree, "driver", format, e);
    if (rc == 0) rc = nodes_build(t, tree, true, &n, e);
    json_free(tree);
    if (rc < 0) return rc;
    if (o->is_snapshot && !o->is_readonly)
        rc = node_open(&block_overlay, n->name, n, &none, &n, e);
    if (rc < 0) return rc;
    rc = blk_open_node(t->loop, n, o, out, e);
    node_unref(n);
    return rc;
}

const char *blk_secret_key(const char *file, const struct blk_options *o)
{
    const struct node_options no = { .is_readonly = true,
                                     .is_no_backing = true,
                                     .is_unlocked = true };
    struct node *n;
    const char *key = NULL;

    if (node_open_image(file, o->format, true, false, &no, &n, NULL) < 0)
        return NULL;
    if (n->is_encrypted)
        key = strcmp(n->drv->name, "luks") == 0 ? "key-secret"
                                                : "encrypt.key-secret";
    node_unref(n);
    return key;
}
