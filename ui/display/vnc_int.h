/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_UI_DISPLAY_VNC_INT_H
#define ORRERY_UI_DISPLAY_VNC_INT_H

#include <pthread.h>
#include <rfb/rfb.h>

#include "core/host/display.h"
#include "core/loop/loop.h"
#include "core/vm/report.h"
#include "ui/display/vnc.h"

/*
 * Private to the VNC display.  Threads: the loop thread (sink, listeners,
 * input delivery) and libvncserver's, one or two per viewer.  What they share
 * is guarded by lock, except the frame buffer: it is one mapping of the
 * largest size there is, never moved or freed while viewers live, so a
 * reader that still uses the old width sees a torn picture and no more.
 */
enum {
    VNC_MAX_SIDE_PX = 4096,
    VNC_MAX_LISTENERS = 4,
    VNC_MAX_VIEWERS = 32,
    VNC_QUEUE = 1024, /* input events on their way; more are dropped */
    VNC_BASE_PORT = 5900,
    VNC_PASSWORD_CHARS = 8,
    VNC_HANDSHAKE_S = 30,
};

struct vnc_address {
    bool is_none;
    bool is_unix;
    bool needs_password;
    char host[256]; /* "" = loopback */
    unsigned port, last_port;
    char path[108];
};

struct vnc_listener {
    struct vnc_display *v;
    int fd;
    char text[128]; /* "127.0.0.1:5901" */
    const char *family;
};

enum vnc_event_kind { VNC_KEY, VNC_MOUSE, VNC_TABLET, VNC_NEWS };

struct vnc_event {
    enum vnc_event_kind kind;
    unsigned keycode, buttons;
    bool is_down;
    int x, y, dz;     /* MOUSE: motion; TABLET: 0..32767 */
    const char *name; /* NEWS: event and its data, malloc'ed */
    char *data;
};

struct vnc_viewer { /* behind rfbClientRec.clientData; its own thread's */
    struct vnc_display *v;
    uint64_t since_ns;
    uint8_t keys_down[96]; /* bit per key code, 768 codes */
    int x, y;
    unsigned buttons;
    bool has_position, has_caps_lock;
    char *text;   /* who it is, as events tell it; or NULL */
    bool is_told; /* VNC_INITIALIZED was */
};

struct vnc_display {
    struct vm *vm;
    rfbScreenInfoPtr screen;
    struct vnc_address address;
    struct vnc_listener listener[VNC_MAX_LISTENERS];
    unsigned listener_count;
    uint32_t *fb;
    char name[128];
    struct display_password password_service;
    struct vm_query query, query_servers;
    struct loop_timer watch; /* viewers that never finish the handshake */

    _Atomic bool has_tablet; /* as of the last frame */
    _Atomic unsigned fresh;  /* viewers whose handshake goes on */

    pthread_key_t thread_end; /* its destructor counts viewers down */
    pthread_mutex_t lock;
    pthread_cond_t nobody; /* viewers became 0 */
    unsigned viewers;      /* threads that may still use the screen */
    char password[VNC_PASSWORD_CHARS + 1]; /* "" = none set */
    struct vnc_event queue[VNC_QUEUE];
    unsigned queue_first, queue_count;
    int queue_fd; /* eventfd: the queue became non-empty */
};

/* vnc_address.c */
int vnc_address_parse(const char *text, struct vnc_address *a, struct err *e);
/* Open the sockets; fills v->listener[]. */
int vnc_listen(struct vnc_display *v, struct err *e);
void vnc_unlisten(struct vnc_display *v);

/* vnc_input.c: callbacks of libvncserver, on viewers' threads */
void vnc_key(rfbBool is_down, rfbKeySym keysym, rfbClientPtr cl);
void vnc_pointer(int mask, int x, int y, rfbClientPtr cl);
void vnc_key_code(struct vnc_viewer *w, unsigned keycode, bool is_down);
void vnc_release_keys(struct vnc_viewer *w);
/* Loop thread, when queue_fd is readable: hand the queue to the guest. */
void vnc_deliver(void *arg, unsigned ready);

/* Any thread; false: the queue is full. */
bool vnc_put_event(struct vnc_display *v, const struct vnc_event *ev);

/* vnc_codes.c: once, and again as often as one likes */
void vnc_offer_key_codes(void);
/* The viewer has gone: what belongs to it is freed.  Its thread. */
void vnc_forget_key_codes(rfbClientPtr cl);

/* vnc_news.c */
struct json_out;
/* "family", "service", "host", "websocket" */
void vnc_put_address(struct json_out *o, const struct sockaddr_storage *sa,
                     socklen_t bytes);
void vnc_news_connected(struct vnc_viewer *w, int fd);
void vnc_news_gone(struct vnc_viewer *w); /* viewer's thread */
/* For each viewer, from time to time: has it become ready? */
void vnc_news_check(rfbClientPtr cl, void *arg);

#endif
