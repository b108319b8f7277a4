/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-block and its relatives say about images, in QEMU 7.2's shape. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/image.h"
#include "block/nodes_priv.h"

enum { MAX_DEPTH = 200 };

struct node *nodes_shown(struct node *n)
{
    while (n->node_name == NULL && strcmp(n->drv->name, "gate") == 0)
        n = n->child;
    return n;
}

/* ------------------------------------------------------- format specific */

struct sink {
    struct json_out *o;
    unsigned depth;
    char closing[32];
};

static void sink_begin(void *arg, const char *key, bool is_list)
{
    struct sink *s = arg;

    json_open(s->o, key, is_list ? '[' : '{');
    if (s->depth < sizeof(s->closing))
        s->closing[s->depth] = is_list ? ']' : '}';
    s->depth++;
}

static void sink_end(void *arg)
{
    struct sink *s = arg;

    s->depth--;
    json_close(s->o,
               s->depth < sizeof(s->closing) ? s->closing[s->depth] : '}');
}

static void sink_text(void *arg, const char *key, const char *value)
{
    json_str(((struct sink *)arg)->o, key, value);
}

static void sink_number(void *arg, const char *key, uint64_t value)
{
    json_uint(((struct sink *)arg)->o, key, value);
}

static void sink_truth(void *arg, const char *key, bool value)
{
    json_bool(((struct sink *)arg)->o, key, value);
}

static void put_specific(struct json_out *o, struct node *n)
{
    struct sink s = { .o = o };
    struct info_sink to = { .begin = sink_begin,
                            .end = sink_end,
                            .text = sink_text,
                            .number = sink_number,
                            .truth = sink_truth,
                            .arg = &s };

    json_open(o, "format-specific", '{');
    json_str(o, "type", n->drv->name);
    json_open(o, "data", '{');
    n->drv->info_specific(n, &to);
    json_close(o, '}');
    json_close(o, '}');
}

/* ----------------------------------------------------------------- image */

static uint64_t on_disk_bytes(const struct node *n)
{
    struct stat st;

    return stat(n->name, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void put_snapshots(struct json_out *o, struct node *n)
{
    struct image_snapshot *all = NULL;
    unsigned count = 0;

    if (n->drv->snapshot_list == NULL ||
        n->drv->snapshot_list(n, &all, &count, NULL) < 0)
        return;
    if (count > 0) json_open(o, "snapshots", '[');
    for (unsigned i = 0; i < count; i++) {
        const struct image_snapshot *s = &all[i];

        json_open(o, NULL, '{');
        json_int(o, "vm-clock-nsec", (int64_t)(s->vm_clock_ns % 1000000000));
        json_str(o, "name", s->name);
        json_int(o, "date-sec", (int64_t)s->date_sec);
        json_int(o, "date-nsec", s->date_nsec);
        json_int(o, "vm-clock-sec", (int64_t)(s->vm_clock_ns / 1000000000));
        json_str(o, "id", s->id);
        json_uint(o, "vm-state-size", s->vm_state_bytes);
        json_close(o, '}');
    }
    if (count > 0) json_close(o, ']');
    free(all);
}

static void put_backing_names(struct json_out *o, const struct node *n)
{
    if (n->backing_file == NULL) return;
    if (n->backing_format != NULL)
        json_str(o, "backing-filename-format", n->backing_format);
    json_str(o, "full-backing-filename",
             n->backing != NULL ? n->backing->name : n->backing_file);
    json_str(o, "backing-filename", n->backing_file);
}

static void put_image(struct json_out *o, const char *key, struct node *n,
                      bool is_flat, unsigned depth)
{
    struct image_info info = { .cluster_bytes = 0 };
    bool has_info = n->drv->info != NULL && n->drv->info(n, &info) == 0;

    json_open(o, key, '{');
    if (!is_flat && n->backing != NULL && depth < MAX_DEPTH)
        put_image(o, "backing-image", n->backing, false, depth + 1);
    put_backing_names(o, n);
    json_uint(o, "virtual-size", n->size_bytes);
    json_str(o, "filename", n->name);
    if (has_info && info.cluster_bytes > 0)
        json_uint(o, "cluster-size", info.cluster_bytes);
    json_str(o, "format", n->drv->name);
    put_snapshots(o, n);
    json_uint(o, "actual-size", on_disk_bytes(n));
    if (has_info && info.has_specific && n->drv->info_specific != NULL)
        put_specific(o, n);
    if (n->is_encrypted) json_bool(o, "encrypted", true);
    json_bool(o, "dirty-flag", info.is_dirty);
    json_close(o, '}');
}

/* ------------------------------------------------------------------ node */

static void put_limits(struct json_out *o, struct throttle_limits *l,
                       const char *group)
{
    enum throttle_part part;
    uint64_t *value;
    const char *name;

    for (unsigned i = 0; (name = throttle_field(l, i, &part, &value)) != NULL;
         i++) {
        const struct throttle_limit *x =
            i / 3 < THROTTLE_KINDS ? &l->of[i / 3] : NULL;

        if (x == NULL) {
            if (l->iops_bytes > 0) json_uint(o, name, l->iops_bytes);
        } else if (part == THROTTLE_RATE) {
            json_uint(o, name, x->per_s);
        } else if (x->max > 0) {
            json_uint(o, name,
                      part == THROTTLE_PEAK ? x->max
                      : x->burst_s > 0      ? x->burst_s
                                            : 1);
        }
    }
    if (group != NULL) json_str(o, "group", group);
}

static unsigned chain_depth(const struct node *n, bool is_flat)
{
    unsigned depth = 0;

    for (n = n->backing; n != NULL && !is_flat; n = n->backing)
        depth++;
    return depth;
}

static void put_node(struct json_out *o, struct node *n, const char *name,
                     const struct node_behaviour *how, bool is_writeback,
                     struct throttle_limits *limits, const char *group,
                     bool is_flat)
{
    static const char *const detects[] = { "off", "on", "unmap" };

    put_limits(o, limits, group);
    json_str(o, "detect_zeroes", detects[how->detect]);
    put_image(o, "image", n, is_flat, 0);
    json_bool(o, "ro", n->is_readonly);
    json_str(o, "node-name", name);
    json_uint(o, "backing_file_depth", chain_depth(n, is_flat));
    json_str(o, "drv", n->drv->name);
    json_int(o, "write_threshold", 0);
    if (n->backing_file != NULL) json_str(o, "backing_file", n->backing_file);
    json_bool(o, "encrypted", n->is_encrypted);
    json_open(o, "cache", '{');
    json_bool(o, "no-flush", how->is_unsafe);
    json_bool(o, "direct", how->is_direct);
    json_bool(o, "writeback", is_writeback);
    json_close(o, '}');
    json_str(o, "file", n->name);
}

/* ------------------------------------------------------------------ names */

const char *nodes_name_of(struct drive *d, char *buf, size_t cap)
{
    struct node *n = d->blk != NULL ? nodes_shown(blk_root(d->blk)) : NULL;

    if (n != NULL && n->node_name != NULL)
        snprintf(buf, cap, "%s", n->node_name);
    else
        snprintf(buf, cap, "#%s", d->id);
    return buf;
}

void nodes_put_inserted(struct json_out *o, struct drive *d)
{
    struct throttle_limits limits;
    const char *group = drive_limits(d, &limits);
    struct node *n = nodes_shown(blk_root(d->blk));
    struct node_behaviour how;
    bool is_writeback;
    char name[64];

    blk_get_behaviour(d->blk, &how, &is_writeback);
    json_open(o, "inserted", '{');
    put_node(o, n, nodes_name_of(d, name, sizeof(name)), &how, is_writeback,
             &limits, group, false);
    json_close(o, '}');
}

/* A graph of nodes without names of their own; the name grows downwards. */
static void each_of(struct node *n, const char *name, unsigned depth,
                    void (*fn)(void *arg, const char *name,
                               const struct node *n),
                    void *arg)
{
    char below[96];

    if (depth == MAX_DEPTH) return;
    if (n->node_name == NULL) fn(arg, name, n);
    snprintf(below, sizeof(below), "%.80s.file", name);
    if (n->child != NULL) each_of(n->child, below, depth + 1, fn, arg);
    snprintf(below, sizeof(below), "%.80s.backing", name);
    if (n->backing != NULL) each_of(n->backing, below, depth + 1, fn, arg);
}

void nodes_each(struct drive_table *t,
                void (*fn)(void *arg, const char *name, const struct node *n),
                void *arg)
{
    char name[64];

    for (struct named_node *x = t->nodes; x != NULL; x = x->next)
        fn(arg, x->n->node_name, x->n);
    for (struct named_node *x = t->nodes; x != NULL; x = x->next) {
        snprintf(name, sizeof(name), "#%s", x->n->node_name);
        each_of(x->n, name, 0, fn, arg);
    }
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        struct node *n = d->blk != NULL ? nodes_shown(blk_root(d->blk)) : NULL;

        snprintf(name, sizeof(name), "#%s", d->id);
        if (n != NULL && n->node_name == NULL) each_of(n, name, 0, fn, arg);
    }
}

void nodes_print(const struct node *n, const char *name, FILE *out)
{
    fprintf(out, "\n%s: %s (%s%s%s)\n    Cache mode:       writeback\n", name,
            n->name, n->drv->name, n->is_readonly ? ", read-only" : "",
            n->is_encrypted ? ", encrypted" : "");
    if (n->backing != NULL)
        fprintf(out, "    Backing file:     %s (chain depth: %u)\n",
                n->backing_file != NULL ? n->backing_file : n->backing->name,
                chain_depth(n, false));
}

void blk_look(const struct blk *b, struct blk_look *out)
{
    struct node_behaviour how;
    bool is_writeback;
    const struct node *n = nodes_shown(blk_root((struct blk *)(uintptr_t)b));

    blk_get_behaviour(b, &how, &is_writeback);
    *out = (struct blk_look){ .is_encrypted = n->is_encrypted,
                              .detect = how.detect,
                              .backing_file =
                                  n->backing != NULL ? n->backing_file : NULL,
                              .depth = chain_depth(n, false) };
}

struct put_all {
    struct json_out *o;
    struct drive_table *t;
    bool is_flat;
};

static void put_one(void *arg, const char *name, const struct node *n)
{
    struct put_all *p = arg;
    struct throttle_limits none = { .iops_bytes = 0 };
    struct node_behaviour how = { .detect = BLK_DETECT_OFF };
    const struct named_node *x = named_find(p->t, name);
    bool is_writeback = true;

    if (x != NULL) how = x->how;
    for (struct drive *d = p->t->first; x == NULL && d != NULL; d = d->next) {
        if (d->blk != NULL && blk_root(d->blk) == n)
            blk_get_behaviour(d->blk, &how, &is_writeback);
    }
    json_open(p->o, NULL, '{');
    put_node(p->o, (struct node *)(uintptr_t)n, name, &how, is_writeback, &none,
             NULL, p->is_flat);
    json_close(p->o, '}');
}

void nodes_put_all(struct json_out *o, struct drive_table *t, bool is_flat)
{
    struct put_all p = { o, t, is_flat };

    json_open(o, NULL, '[');
    nodes_each(t, put_one, &p);
    json_close(o, ']');
}
