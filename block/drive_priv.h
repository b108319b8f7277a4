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
    struct blk *blk; /* owned; NULL: no medium */
    struct drive_ops ops;
    const char *device;
    struct job *job; /* working on it, or NULL */
    struct drive *next;
};

struct drive_table {
    struct loop *loop;
    struct drive *first;
    blk_stop_fn stop;
    void *stop_arg;
    job_fn job_event;
    void *job_arg;
    struct nbd_server *nbd; /* exports media, or NULL */
};

#endif
