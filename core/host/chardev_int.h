/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HOST_CHARDEV_INT_H
#define ORRERY_HOST_CHARDEV_INT_H

#include <pthread.h>
#include <termios.h>

#include "core/host/chardev.h"
#include "core/loop/loop.h"

/*
 * Shared by the chardev_*.c files alone.  Every kind but null and vc is a pair
 * of file descriptors; a kind opens them and says what to do when the peer
 * hangs up.
 */
enum {
    CHARDEV_IN_BYTES = 4096,
    CHARDEV_QUEUE_BYTES = 64 << 10,
    CHARDEV_ANSWER_BYTES = 16 << 20,
    CHARDEV_FRONTS = 2,
    CHARDEV_RING_BYTES = 64 << 10, /* vc, ringbuf */
};

struct chardev_kind {
    const char *name;
    bool has_place; /* "KIND:PLACE" */
    /* Look whether it can be opened; creates nothing; or NULL. */
    int (*check)(const struct chardev *c, struct err *e);
    int (*open)(struct chardev *c, struct err *e);
    void (*hangup)(struct chardev *c); /* peer gone; NULL: just close fds */
    void (*close)(struct chardev *c);  /* or NULL */
};

struct chardev_input { /* octets on their way to one front end */
    uint8_t buf[CHARDEV_IN_BYTES];
    size_t start, len;
};

struct chardev {
    char *name, *spec;
    char *place; /* path or host:port; NULL */
    const struct chardev_kind *kind;
    bool is_mux, is_server, is_wait, has_signal, is_signal;
    struct loop *loop;
    struct vm *vm;
    struct chardev *next;

    struct chardev_front front[CHARDEV_FRONTS];
    struct chardev_input in[CHARDEV_FRONTS];
    unsigned focus;
    bool is_escaped;         /* Ctrl-A seen */
    _Atomic bool has_stamps; /* mux key t */
    uint64_t opened_ns;
    void (*escape)(void *arg, int key);
    void *escape_arg;
    struct loop_timer pump; /* deliver input soon; any thread arms it */

    pthread_mutex_t lock; /* guards out_fd and everything below */
    int in_fd, out_fd;
    bool is_in_watched, is_in_reading, is_out_watched, is_in_plain;
    /* Nothing more comes in; a front hears of it once it took what there was.
     */
    bool is_in_over, is_end_told[CHARDEV_FRONTS];
    bool is_out_plain; /* regular file: written at once */
    bool is_out_socket;
    bool is_deferred; /* file: to be made yet */
    bool is_added;    /* by chardev_add */
    bool is_in_line;  /* the last octet written was no line end */
    uint8_t *queue;
    size_t queue_start, queue_len, queue_cap;
    uint8_t *ring; /* vc */
    uint64_t ring_total;
    uint64_t ring_taken; /* ringbuf: read so far */
    void (*written)(void *arg);
    void *written_arg;

    /* stdio */
    bool has_termios, has_stdio;
    struct termios termios;
    int saved_flags; /* of fd 0 and 1, -1 = not changed */

    /* sockets */
    int listen_fd;
    uint64_t sock_dev, sock_ino;
    bool is_telnet;
    int telnet_state;

    int slave_fd; /* pty: kept open so that closing it is no hang-up */
};

extern const struct chardev_kind chardev_stdio, chardev_file, chardev_pipe,
    chardev_pty, chardev_null, chardev_vc, chardev_ringbuf, chardev_unix,
    chardev_tcp, chardev_telnet;

/* Fill kind, place and flags from the text. */
int chardev_parse_spec(struct chardev *c, const char *spec, struct err *e);

/* Start using the descriptors (both may be the same, out may be -1).  Loop
 * thread. */
int chardev_attach(struct chardev *c, int in_fd, int out_fd, struct err *e);
void chardev_detach(struct chardev *c); /* stop and close them */

/* Octets from the outside; goes through the mux keys.  Loop thread. */
void chardev_deliver(struct chardev *c, const uint8_t *buf, size_t bytes);
/* Room for more of them. */
size_t chardev_room(const struct chardev *c);
/* Mux: octets to where they belong, keys served. */
void chardev_mux_input(struct chardev *c, const uint8_t *buf, size_t bytes);
/* "[00:00:01.234] ", time since the device was opened. */
void chardev_mux_stamp(const struct chardev *c, char *out, size_t cap);
void chardev_queue_input(struct chardev *c, unsigned front, uint8_t octet);
/* Telnet: remove commands from buf, returns the octets left. */
size_t chardev_telnet_filter(struct chardev *c, uint8_t *buf, size_t bytes);
/* file: make it now. */
int chardev_start_locked(struct chardev *c, struct err *e);
void chardev_vc_store_locked(struct chardev *c, const uint8_t *buf,
                             size_t bytes);

#endif
