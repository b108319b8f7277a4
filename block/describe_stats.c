/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query-blockstats, in QEMU 7.2's shape.  Requests are counted where devices
 * make them; nodes below show zeros there as here.
 */
#include <stdio.h>
#include <string.h>

#include "block/nodes_priv.h"
#include "core/base/json.h"

enum { MAX_DEPTH = 200, NAME_BYTES = 96 };

static void put_number(struct json_out *o, const char *before, const char *op,
                       const char *after, uint64_t v)
{
    char key[48];

    snprintf(key, sizeof(key), "%s%s%s", before, op, after);
    json_uint(o, key, v);
}

/* Nothing is merged, and what devices refuse never gets here. */
static void put_op(struct json_out *o, const char *op, bool has_bytes,
                   const struct blk_op_stats *s)
{
    put_number(o, "", op, "_operations", s->operations);
    put_number(o, "", op, "_total_time_ns", s->total_ns);
    put_number(o, "failed_", op, "_operations", s->failed);
    put_number(o, "invalid_", op, "_operations", 0);
    if (!has_bytes) return;
    put_number(o, "", op, "_bytes", s->bytes);
    put_number(o, "", op, "_merged", 0);
}

static void put_stats(struct json_out *o, const struct blk_stats *s,
                      bool is_counted)
{
    json_open(o, "stats", '{');
    put_op(o, "rd", true, &s->read);
    put_op(o, "wr", true, &s->write);
    put_op(o, "unmap", true, &s->discard);
    put_op(o, "flush", false, &s->flush);
    json_int(o, "wr_highest_offset", 0);
    json_bool(o, "account_invalid", is_counted);
    json_bool(o, "account_failed", is_counted);
    json_open(o, "timed_stats", '[');
    json_close(o, ']');
    json_close(o, '}');
}

static void put_node(struct json_out *o, const struct node *n, const char *name,
                     bool has_backing, unsigned depth);

/* What a node stands on: QEMU calls it the parent. */
static void put_below(struct json_out *o, const struct node *n,
                      const char *name, bool has_backing, unsigned depth)
{
    const char *hash = name[0] == '#' ? "" : "#"; /* as nodes_each has it */
    char below[NAME_BYTES];

    if (depth == MAX_DEPTH) return;
    if (n->child != NULL) {
        snprintf(below, sizeof(below), "%s%.80s.file", hash, name);
        json_open(o, "parent", '{');
        put_node(o, n->child, below, has_backing, depth + 1);
        json_close(o, '}');
    }
    if (n->backing != NULL && has_backing) {
        snprintf(below, sizeof(below), "%s%.80s.backing", hash, name);
        json_open(o, "backing", '{');
        put_node(o, n->backing, below, has_backing, depth + 1);
        json_close(o, '}');
    }
}

static void put_node(struct json_out *o, const struct node *n, const char *name,
                     bool has_backing, unsigned depth)
{
    const struct blk_stats none = { .read = { 0 } };

    if (n->node_name != NULL) name = n->node_name;
    json_str(o, "node-name", name);
    put_stats(o, &none, false);
    put_below(o, n, name, has_backing, depth);
    if (n->drv != &block_file) return;
    json_open(o, "driver-specific", '{');
    json_str(o, "driver", "file");
    json_int(o, "discard-nb-ok", 0);
    json_int(o, "discard-nb-failed", 0);
    json_int(o, "discard-bytes-ok", 0);
    json_close(o, '}');
}

void nodes_put_drive_stats(struct json_out *o, struct drive *d)
{
    struct blk_stats s = { .read = { 0 } };
    char name[64];

    if (d->blk != NULL) blk_get_stats(d->blk, &s);
    put_stats(o, &s, true);
    if (d->blk == NULL) return;
    nodes_name_of(d, name, sizeof(name));
    json_str(o, "node-name", name);
    put_below(o, nodes_shown(blk_root(d->blk)), name, true, 0);
}

static void put_one(void *arg, const char *name, const struct node *n)
{
    struct json_out *o = arg;

    json_open(o, NULL, '{');
    put_node(o, n, name, false, 0);
    json_close(o, '}');
}

void nodes_put_all_stats(struct json_out *o, struct drive_table *t)
{
    nodes_each(t, put_one, o);
}
