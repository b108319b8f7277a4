/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_NODES_H
#define ORRERY_BLOCK_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/base/err.h"

/*
 * Nodes with names (-blockdev, blockdev-add): they belong to the user until
 * blockdev-del, and stand under devices, other nodes and jobs meanwhile.  A
 * device is put on one by its name, as on a drive: drive_find makes the drive.
 * Loop thread, the VM lock held if there is a VM.
 */
struct drive;
struct drive_table;
struct json;
struct json_out;
struct node;

/* Options as QEMU's reference manual has them under blockdev-add.  is_text:
 * every value is a string. */
int nodes_add(struct drive_table *t, const struct json *options, bool is_text,
              struct err *e);
/* -blockdev's text: JSON, or with dots. */
int nodes_add_text(struct drive_table *t, const char *text, struct err *e);
/* -EBUSY: something stands on it. */
int nodes_del(struct drive_table *t, const char *name, struct err *e);
/* Other options for a node: read-only, what it stands on, and so on. */
int nodes_reopen(struct drive_table *t, const struct json *options,
                 struct err *e);
/* No reference; NULL: there is none of that name. */
struct node *nodes_find(struct drive_table *t, const char *name);
/* A drive that shows the node; drives of such nodes are unnamed in JSON. */
struct drive *nodes_drive(struct drive_table *t, const char *name);
bool nodes_is_child(struct drive_table *t, const char *name);
/* Last, when no drive is left. */
void nodes_destroy(struct drive_table *t);

/* A graph without a name of its own, for -drive with such options. */
int nodes_build(struct drive_table *t, const struct json *options, bool is_text,
                struct node **out, struct err *e);
/* Give it back, with its names. */
void nodes_forget(struct drive_table *t, struct node *n);
/* Names inside graphs that are gone are free again. */
void nodes_sweep(struct drive_table *t);

/*
 * Put the node into a removable drive that has no medium, and take it out
 * again (the node stays).
 */
int nodes_insert(struct drive_table *t, struct drive *d, const char *name,
                 struct err *e);

/* JSON of query-block's "inserted", query-named-block-nodes, query-blockstats
 * (members of one drive, what names it apart) and the same with query-nodes
 * (elements of the list). */
void nodes_put_inserted(struct json_out *o, struct drive *d);
void nodes_put_all(struct json_out *o, struct drive_table *t, bool is_flat);
void nodes_put_drive_stats(struct json_out *o, struct drive *d);
void nodes_put_all_stats(struct json_out *o, struct drive_table *t);
/* Name of the node a drive's medium is, "#" and the drive's id if the user
 * gave none; returns buf. */
const char *nodes_name_of(struct drive *d, char *buf, size_t cap);
/* As `info block -n` shows it. */
void nodes_print(const struct node *n, const char *name, FILE *out);
/* Named ones first; those without a name are called "#drive.file". */
void nodes_each(struct drive_table *t,
                void (*fn)(void *arg, const char *name, const struct node *n),
                void *arg);

/*
 * Objects that images need (-object, object-add): secret and throttle-group.
 * -ENOTSUP: qom-type is none of them.
 */
int objects_add(struct drive_table *t, const struct json *options, bool is_text,
                struct err *e);
int objects_add_text(struct drive_table *t, const char *text, struct err *e);
/* For images that are opened; NULL: out of memory. */
struct secret_table;
const struct secret_table *objects_secrets(struct drive_table *t);
/* Add a secret of which the user was asked. */
int objects_add_secret(struct drive_table *t, const char *id, const char *text,
                       struct err *e);
/* -ENOENT; -EBUSY. */
int objects_del(struct drive_table *t, const char *id, struct err *e);

#endif
