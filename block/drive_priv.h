/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_DRIVE_PRIV_H
#define ORRERY_BLOCK_DRIVE_PRIV_H

#include "block/block.h"
#include "block/job.h"

struct job;

struct drive {
    struct drive_table *table;
    char *id;
    bool is_removable, is_cdrom;
    bool is_node;    /* of a node with a name, which is its id */
    struct blk *blk; /* owned; NULL: no medium */
    struct drive_ops ops;
    const char *device;
    struct throttle_group *group; /* limits, or NULL */
    /* What the device said; BLK_AS_OPENED: nothing. */
    enum blk_on_error on_read_error, on_write_error;
    struct job *job; /* working on it, or NULL */
    struct drive *next;
};

struct named_node;
struct secret_table;

struct drive_table {
    struct named_node *nodes;     /* nodes.c */
    struct secret_table *secrets; /* owned, or NULL: none yet */
    struct throttle_groups groups;
    struct loop *loop;
    struct drive *first;
    blk_stop_fn stop;
    void *stop_arg;
    job_fn job_event;
    void *job_arg;
    struct nbd_server *nbd; /* exports media, or NULL */
    struct job *over;       /* jobs that wait for job_dismiss */
};

/* drive_live.c: close it; no device, job or export has it. */
void drive_drop(struct drive_table *t, struct drive *d);
/* drive.c: the drive of a node; b is taken over on success. */
int drive_add_node(struct drive_table *t, const char *id, struct blk *b,
                   struct drive **out);

#endif
