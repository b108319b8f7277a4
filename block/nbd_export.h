/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_NBD_EXPORT_H
#define ORRERY_BLOCK_NBD_EXPORT_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * NBD server: exports nodes or drives' media to clients over a unix socket
 * (mode 0600) or TCP.  It has a thread that accepts and some for every client;
 * they end with the server.  Functions: one thread (the loop's, in a VM).
 */
struct blk;
struct drive;
struct drive_table;
struct nbd_server;
struct node;

struct nbd_server_options {
    const char *address;  /* unix:PATH, HOST:PORT, :PORT for loopback */
    unsigned max_clients; /* more wait; 0: no limit but the server's own */
    /* Called on some thread, without locks, when the last client has gone;
     * or NULL. */
    void (*idle)(void *arg);
    void *arg;
};
/* Exactly one of node (a reference is taken) and blk. */
struct nbd_export_options {
    const char *name, *description; /* "": the default; description or NULL */
    struct node *node;
    struct blk *blk;
    bool is_writable;
};

int nbd_server_start(const struct nbd_server_options *o,
                     struct nbd_server **out, struct err *e);
/* "unix:PATH" or "HOST:PORT" as it listens. */
const char *nbd_server_address(const struct nbd_server *s);
/* -EEXIST: the name is taken. */
int nbd_server_add(struct nbd_server *s, const struct nbd_export_options *o,
                   struct err *e);
/* Requests of its clients fail from now on.  -ENOENT. */
int nbd_server_remove(struct nbd_server *s, const char *name, struct err *e);
/* No export uses b after this, but for requests in flight. */
void nbd_server_forget(struct nbd_server *s, const struct blk *b);
bool nbd_server_has(struct nbd_server *s, const struct blk *b);
/*
 * Close everything.  may_wait: threads have ended on return; requests to a
 * blk need the loop, so its thread does not wait (the last thread frees).
 */
void nbd_server_stop(struct nbd_server *s, bool may_wait);

/* nbd_drive.c: the server of a VM, which its drive table keeps. */
int nbd_drives_start(struct drive_table *t, const char *address,
                     unsigned max_clients, struct err *e);
/* name NULL: the drive's id. */
int nbd_drives_add(struct drive_table *t, struct drive *d, const char *name,
                   const char *description, bool is_writable, struct err *e);
int nbd_drives_remove(struct drive_table *t, const char *name, struct err *e);
int nbd_drives_stop(struct drive_table *t, struct err *e);

#endif
