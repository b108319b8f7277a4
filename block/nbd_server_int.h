/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_NBD_SERVER_INT_H
#define ORRERY_BLOCK_NBD_SERVER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "block/block.h"
#include "block/block_int.h"
#include "block/nbd.h"
#include "block/nbd_export.h"

/*
 * Inside of the NBD server: nbd_server.c accepts and keeps the lists,
 * nbd_greet.c does the handshake, nbd_serve.c the requests, nbd_backend.c
 * reaches the disk.
 */
enum {
    NBD_SERVER_CLIENTS = 100, /* at once, whatever the user allows */
    NBD_CLIENT_THREADS = 8,   /* requests of one client served at a time */
    NBD_GREET_MS = 30 * 1000, /* for the whole handshake */
};

struct nbd_export {
    char *name, *description;
    uint64_t size_bytes;
    bool is_readonly, has_status;
    struct nbd_export *next; /* server's lock */
    unsigned refs;           /* server's lock */
    atomic_bool is_removed;
    struct node *node;    /* or blk */
    pthread_mutex_t lock; /* blk; not held while waiting */
    struct blk *blk;      /* NULL: gone */
};

struct nbd_client {
    struct nbd_server *server;
    struct nbd_client *next;
    int fd;
    struct nbd_export *x; /* after the handshake; a reference */
    bool is_structured, has_status, no_zeroes;
    pthread_mutex_t recv, send;     /* one reader, one writer of the socket */
    unsigned threads, idle_threads; /* server's lock; idle: to read */
    bool is_over;                   /* recv: nothing more is read */
};

struct nbd_server {
    struct nbd_server_options o;
    struct nbd_address address;
    char text[400];
    int listen_fd, wake_fd;
    pthread_t accepter;
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t change;
    struct nbd_export *exports;
    struct nbd_client *clients;
    unsigned client_count;
    unsigned refs; /* owner, accepter, threads of clients */
    bool is_stopping;
};

/* nbd_server.c */
struct nbd_export *nbd_export_find_locked(struct nbd_server *s,
                                          const char *name);
void nbd_export_unref_locked(struct nbd_export *x);
/* The caller has a request to serve: another thread reads the next one. */
void nbd_client_want_thread(struct nbd_client *c);
void nbd_client_served(struct nbd_client *c);

/* nbd_greet.c: 0, or -errno when the connection is to be closed. */
int nbd_greet(struct nbd_client *c);

/* nbd_serve.c: until the client goes.  Several threads. */
void nbd_serve(struct nbd_client *c);

/* nbd_backend.c: 0 or -errno; several threads. */
struct nbd_io {
    unsigned type; /* NBD_CMD_* */
    uint64_t offset;
    uint32_t bytes;
    void *data;
    bool is_fua, may_unmap;
};
int nbd_backend_io(struct nbd_export *x, const struct nbd_io *io);
/* What lies at offset, through the backing files: NBD_STATE_*. */
int nbd_backend_status(struct nbd_export *x, uint64_t offset, uint32_t bytes,
                       uint32_t *length, uint32_t *state);

#endif
