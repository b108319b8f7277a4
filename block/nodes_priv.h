/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_NODES_PRIV_H
#define ORRERY_BLOCK_NODES_PRIV_H

#include "block/block_int.h"
#include "block/drive_priv.h"
#include "block/nodes.h"
#include "block/opts.h"

/* Shared by nodes.c (the table) and nodes_build.c (from options to nodes). */
enum { NODE_NAME_MAX = 31 };

/* What blk does for a node, as its options say. */
struct node_behaviour {
    bool is_direct, is_unsafe, passes_discard;
    enum blk_detect detect;
};

struct named_node {
    struct node *n; /* a reference; n->node_name is its name */
    struct node_behaviour how;
    struct json *options;     /* as given; NULL for those inside others */
    bool is_text;             /* they are all strings */
    struct named_node *owner; /* given inside that one's options, or NULL */
    struct named_node *next;
};

struct build {
    struct drive_table *t;
    bool is_text;
    struct named_node *made; /* not in the table yet */
};

/* The graph that options describe; the root gets a name only if it has
 * node-name. */
int build_node(struct build *b, const struct json *options,
               struct node_behaviour *how, struct node **out, struct err *e);
void build_undo(struct build *b); /* drops what was made */
/* blk.c */
void blk_get_behaviour(const struct blk *b, struct node_behaviour *out,
                       bool *is_writeback);
/* describe.c: what the user sees of a graph: jobs put things above it. */
struct node *nodes_shown(struct node *n);
struct named_node *named_find(struct drive_table *t, const char *name);

extern const struct block_driver block_throttle, block_null;

#endif
