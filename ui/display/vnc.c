/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC display: libvncserver in its threaded form (its single-threaded
 * loop can be frozen by one unauthenticated octet).  We listen ourselves and
 * hand it connected sockets, so that errors are ours to word, nothing else
 * listens by accident, and unix sockets take the same way.
 *
 * WebSockets are off: libvncserver accepts them from any web page.  Its
 * random challenge is predictable; both functions are replaced here, the
 * dynamic linker prefers the program's.
 */
#include "ui/display/vnc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#ifdef HAVE_VNC

#include <fcntl.h>
#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/host/input.h"
#include "core/vm/vm.h"
#include "ui/display/vnc_int.h"

enum { WATCH_MS = 5000, CLOSE_S = 3, BITS = 8, SAMPLES = 3, PX_BYTES = 4 };
#define FB_BYTES ((size_t)VNC_MAX_SIDE_PX * VNC_MAX_SIDE_PX * PX_BYTES)

void rfbRandomBytes(unsigned char *bytes)
{
    size_t done = 0;

    while (done < CHALLENGESIZE) {
        ssize_t n = getrandom(bytes + done, CHALLENGESIZE - done, 0);
        if (n > 0) done += (size_t)n;
    }
}

rfbBool webSocketsCheck(rfbClientPtr cl)
{
    (void)cl;
    return TRUE; /* go on as plain RFB */
}

/* ----------------------------------------------------------- viewers' threads */

static rfbBool check_password(rfbClientPtr cl, const char *response, int bytes)
{
    struct vnc_display *v = cl->screen->screenData;
    uint8_t expected[CHALLENGESIZE];
    char password[VNC_PASSWORD_CHARS + 1];
    unsigned differs = 0;

    pthread_mutex_lock(&v->lock);
    memcpy(password, v->password, sizeof(password));
    pthread_mutex_unlock(&v->lock);
    if (password[0] == '\0' || bytes != CHALLENGESIZE) return FALSE;
    memcpy(expected, cl->authChallenge, CHALLENGESIZE);
    rfbEncryptBytes(expected, password);
    for (int i = 0; i < CHALLENGESIZE; i++)
        differs |= expected[i] ^ (uint8_t)response[i];
    explicit_bzero(password, sizeof(password));
    return differs == 0;
}

static void count_down(void *arg)
{
    struct vnc_display *v = arg;

    pthread_mutex_lock(&v->lock);
    if (--v->viewers == 0) pthread_cond_broadcast(&v->nobody);
    pthread_mutex_unlock(&v->lock);
}

/*
 * On the viewer's own thread, in the middle of libvncserver's clean-up.  The
 * library frees the client on this thread and again when it is shut down
 * meanwhile, so shutting down has to wait until the thread has ended: the
 * destructor of a thread-specific value tells.
 */
static void viewer_gone(rfbClientPtr cl)
{
    struct vnc_viewer *w = cl->clientData;

    if (w == NULL) return;
    cl->clientData = NULL;
    vnc_forget_key_codes(cl);
    vnc_release_keys(w);
    vnc_news_gone(w);
    pthread_detach(pthread_self()); /* nobody joins it */
    if (pthread_setspecific(w->v->thread_end, w->v) != 0) count_down(w->v);
    free(w);
}

static enum rfbNewClientAction viewer_new(rfbClientPtr cl)
{
    struct vnc_display *v = cl->screen->screenData;
    struct vnc_viewer *w;
    bool is_full;

    pthread_mutex_lock(&v->lock);
    is_full = v->viewers >= VNC_MAX_VIEWERS;
    if (!is_full) v->viewers++;
    pthread_mutex_unlock(&v->lock);
    if (is_full) return RFB_CLIENT_REFUSE;
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        pthread_mutex_lock(&v->lock);
        v->viewers--;
        pthread_mutex_unlock(&v->lock);
        return RFB_CLIENT_REFUSE;
    }
    w->v = v;
    w->since_ns = loop_now_ns();
    cl->clientData = w;
    cl->clientGoneHook = viewer_gone;
    vnc_news_connected(w, cl->sock);
    return RFB_CLIENT_ACCEPT;
}

/* -------------------------------------------------------------- loop thread */

static void accept_viewer(void *arg, unsigned ready)
{
    struct vnc_listener *l = arg;
    rfbClientPtr cl;
    int fd;

    (void)ready;
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    cl = rfbNewClient(l->v->screen, fd);
    if (cl != NULL && !cl->onHold) rfbStartOnHoldClient(cl);
}

static void for_each_viewer(struct vnc_display *v,
                            void (*fn)(rfbClientPtr cl, void *arg), void *arg)
{
    rfbClientIteratorPtr it = rfbGetClientIterator(v->screen);
    rfbClientPtr cl;

    while ((cl = rfbClientIteratorNext(it)) != NULL)
        fn(cl, arg);
    rfbReleaseClientIterator(it);
}

static void drop_if_late(rfbClientPtr cl, void *arg)
{
    const struct vnc_viewer *w = cl->clientData;
    uint64_t limit_ns = VNC_HANDSHAKE_S * 1000000000ull;

    (void)arg;
    if (w == NULL || cl->state == RFB_NORMAL) return;
    if (loop_now_ns() - w->since_ns > limit_ns && cl->sock >= 0)
        shutdown(cl->sock, SHUT_RDWR);
}

static void watch(void *arg)
{
    struct vnc_display *v = arg;

    for_each_viewer(v, drop_if_late, NULL);
    loop_timer_arm_ms(&v->watch, WATCH_MS);
}

/* libvncserver fixes its own pixel format to red in the lowest octet. */
static uint32_t swap_red_blue(uint32_t px)
{
    return (px & 0x00ff00) | (px & 0xff) << 16 | (px >> 16 & 0xff);
}

static void sink_resize(void *arg, const struct surface *s)
{
    struct vnc_display *v = arg;

    if (s->width_px > VNC_MAX_SIDE_PX || s->height_px > VNC_MAX_SIDE_PX) return;
    memset(v->fb, 0,
           (size_t)s->width_px * (size_t)s->height_px * sizeof(*v->fb));
    rfbNewFramebuffer(v->screen, (char *)v->fb, s->width_px, s->height_px, BITS,
                      SAMPLES, PX_BYTES);
}

static void sink_damage(void *arg, const struct surface *s, struct rect r)
{
    struct vnc_display *v = arg;

    if (s->width_px != v->screen->width || s->height_px != v->screen->height)
        return;
    for (int y = r.y; y < r.y + r.h; y++) {
        const uint32_t *from = s->px + (size_t)y * (size_t)s->stride_px;
        uint32_t *to = v->fb + (size_t)y * (size_t)s->width_px;
        for (int x = r.x; x < r.x + r.w; x++)
            to[x] = swap_red_blue(from[x]);
    }
    rfbMarkRectAsModified(v->screen, r.x, r.y, r.x + r.w, r.y + r.h);
}

static void sink_frame(void *arg, const struct surface *s,
                       const struct text_screen *t)
{
    struct vnc_display *v = arg;

    (void)s, (void)t;
    v->has_tablet = input_has_tablet(vm_input(v->vm));
    if (v->fresh > 0) for_each_viewer(v, vnc_news_check, NULL);
}

/* -------------------------------------------- info vnc, in QEMU's words */

static void print_viewer(rfbClientPtr cl, void *arg)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t bytes = sizeof(sa);
    char host[64] = "", port[16] = "";
    const char *family = "ipv4";

    if (cl->state != RFB_NORMAL ||
        getpeername(cl->sock, (struct sockaddr *)&sa, &bytes) < 0)
        return;
    if (sa.ss_family == AF_INET6) family = "ipv6";
    if (sa.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&sa, bytes, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        family = "unix";
    fprintf(arg,
            "  Client: %s:%s (%s)\n    x509_dname: none\n"
            "    sasl_username: none\n",
            host, port, family);
}

static void print_info(void *arg, FILE *out)
{
    struct vnc_display *v = vm_service(arg, "vnc");
    const char *auth;

    if (v == NULL || v->listener_count == 0) {
        fprintf(out, "None\n");
        return;
    }
    auth = v->screen->authPasswdData != NULL ? "vnc" : "none";
    fprintf(out, "default:\n");
    for (unsigned i = 0; i < v->listener_count; i++)
        fprintf(out, "  Server: %s (%s)\n    Auth: %s (Sub: none)\n",
                v->listener[i].text, v->listener[i].family, auth);
    for_each_viewer(v, print_viewer, out);
}

/* "host": ..., "service": ..., "family": ..., of a listener */
static void put_listener(struct json_out *o, const struct vnc_listener *l)
{
    const char *colon = strrchr(l->text, ':');
    size_t n = colon != NULL ? (size_t)(colon - l->text) : 0;

    json_str(o, "family", l->family);
    if (strcmp(l->family, "unix") == 0 || colon == NULL) {
        json_str(o, "service", l->text);
        json_str(o, "host", "");
        return;
    }
    json_str(o, "service", colon + 1);
    if (l->text[0] == '[' && n > 2) {
        json_strf(o, "host", "%.*s", (int)n - 2, l->text + 1);
    } else {
        json_strf(o, "host", "%.*s", (int)n, l->text);
    }
}

static void put_viewer(rfbClientPtr cl, void *arg)
{
    struct json_out *o = arg;
    struct sockaddr_storage sa = { 0 };
    socklen_t bytes = sizeof(sa);

    if (cl->state != RFB_NORMAL ||
        getpeername(cl->sock, (struct sockaddr *)&sa, &bytes) < 0)
        return;
    json_open(o, NULL, '{');
    vnc_put_address(o, &sa, bytes);
    json_close(o, '}');
}

static void put_clients(struct vnc_display *v, struct json_out *o)
{
    json_open(o, "clients", '[');
    for_each_viewer(v, put_viewer, o);
    json_close(o, ']');
}

static const char *auth_name(const struct vnc_display *v)
{
    return v->screen->authPasswdData != NULL ? "vnc" : "none";
}

static void query(void *arg, struct json_out *o)
{
    struct vnc_display *v = arg;

    json_open(o, NULL, '{');
    json_bool(o, "enabled", v->listener_count > 0);
    if (v->listener_count > 0) {
        json_str(o, "auth", auth_name(v));
        put_listener(o, &v->listener[0]);
        put_clients(v, o);
    }
    json_close(o, '}');
}

static void query_servers(void *arg, struct json_out *o)
{
    struct vnc_display *v = arg;

    json_open(o, NULL, '[');
    json_open(o, NULL, '{');
    json_str(o, "id", "default");
    json_str(o, "auth", auth_name(v));
    put_clients(v, o);
    json_open(o, "server", '[');
    for (unsigned i = 0; i < v->listener_count; i++) {
        json_open(o, NULL, '{');
        json_str(o, "auth", auth_name(v));
        put_listener(o, &v->listener[i]);
        json_bool(o, "websocket", false);
        json_close(o, '}');
    }
    json_close(o, ']');
    json_close(o, '}');
    json_close(o, ']');
}

/* ----------------------------------------------------------- open and close */

static int make_screen(struct vnc_display *v, struct err *e)
{
    struct surface *s = display_surface(vm_display(v->vm));
    rfbScreenInfoPtr screen;

    rfbLogEnable(FALSE);
    v->fb = mmap(NULL, FB_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->fb == MAP_FAILED) {
        v->fb = NULL;
        return err_set(e, -ENOMEM, "no memory for the VNC picture");
    }
    screen = rfbGetScreen(NULL, NULL, s->width_px, s->height_px, BITS, SAMPLES,
                          PX_BYTES);
    if (screen == NULL) return err_set(e, -ENOMEM, "no memory for VNC");
    v->screen = screen;
    screen->frameBuffer = (char *)v->fb;
    screen->screenData = v;
    screen->desktopName = v->name;
    screen->cursor = NULL; /* the guest draws its own */
    screen->alwaysShared = TRUE;
    screen->autoPort = FALSE;
    screen->port = screen->ipv6port = 0; /* we listen ourselves */
    screen->httpDir = NULL;
    screen->permitFileTransfer = FALSE;
    screen->ignoreSIGPIPE = TRUE;
    screen->kbdAddEvent = vnc_key;
    screen->ptrAddEvent = vnc_pointer;
    screen->newClientHook = viewer_new;
    screen->passwordCheck = check_password;
    if (v->address.needs_password) screen->authPasswdData = v->password;
    vnc_offer_key_codes();
    rfbInitServer(screen);
    rfbRunEventLoop(screen, -1, TRUE);
    return 0;
}

static void unwatch(struct vnc_display *v)
{
    for (unsigned i = 0; i < v->listener_count; i++)
        loop_del_fd(vm_loop(v->vm), v->listener[i].fd);
    loop_del_fd(vm_loop(v->vm), v->queue_fd);
}

/* On failure nothing is watched. */
static int watch_all(struct vnc_display *v, struct err *e)
{
    int rc =
        loop_add_fd(vm_loop(v->vm), v->queue_fd, LOOP_READ, vnc_deliver, v, e);

    for (unsigned i = 0; i < v->listener_count && rc == 0; i++)
        rc = loop_add_fd(vm_loop(v->vm), v->listener[i].fd, LOOP_READ,
                         accept_viewer, &v->listener[i], e);
    if (rc < 0) unwatch(v);
    return rc;
}

static void hang_up(rfbClientPtr cl, void *arg)
{
    (void)arg;
    if (cl->sock >= 0) shutdown(cl->sock, SHUT_RDWR); /* ends any write */
}

/* true: no thread of a viewer is left. */
static bool wait_for_viewers(struct vnc_display *v)
{
    struct timespec until;
    bool is_empty;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSE_S;
    pthread_mutex_lock(&v->lock);
    while (v->viewers > 0 &&
           pthread_cond_timedwait(&v->nobody, &v->lock, &until) == 0)
        continue;
    is_empty = v->viewers == 0;
    pthread_mutex_unlock(&v->lock);
    return is_empty;
}

/* What viewers sent last has no guest to go to any more. */
static void drop_queue(struct vnc_display *v)
{
    for (; v->queue_count > 0; v->queue_count--) {
        struct vnc_event *ev = &v->queue[v->queue_first];

        if (ev->kind == VNC_NEWS) free(ev->data);
        v->queue_first = (v->queue_first + 1) % VNC_QUEUE;
    }
}

static void free_display(struct vnc_display *v)
{
    if (v->screen != NULL) {
        for_each_viewer(v, hang_up, NULL);
        if (!wait_for_viewers(v)) return; /* rather leak than use after free */
        rfbShutdownServer(v->screen, TRUE);
        v->screen->frameBuffer = NULL;
        rfbScreenCleanup(v->screen);
    }
    if (v->fb != NULL) munmap(v->fb, FB_BYTES);
    explicit_bzero(v->password, sizeof(v->password));
    drop_queue(v);
    if (v->queue_fd >= 0) close(v->queue_fd);
    pthread_key_delete(v->thread_end);
    pthread_cond_destroy(&v->nobody);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static int set_password_service(void *arg, const char *password, struct err *e)
{
    return vnc_display_set_password(arg, password, e);
}

int vnc_display_open(struct vm *vm, const struct vnc_options *o,
                     struct vnc_display **out, struct err *e)
{
    struct display_sink sink = { .name = "vnc",
                                 .resize = sink_resize,
                                 .damage = sink_damage,
                                 .frame = sink_frame };
    struct vnc_display *v = calloc(1, sizeof(*v));
    int rc;

    if (v == NULL) return err_set(e, -ENOMEM, "no memory for VNC");
    rc = pthread_key_create(&v->thread_end, count_down);
    if (rc != 0) {
        free(v);
        return err_set(e, -rc, "no thread key for VNC");
    }
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->nobody, NULL);
    v->vm = vm;
    if (o->name != NULL)
        snprintf(v->name, sizeof(v->name), "Orrery (%s)", o->name);
    else
        snprintf(v->name, sizeof(v->name), "Orrery");
    v->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->queue_fd < 0) {
        rc = err_set(e, -errno, "eventfd: %s", strerror(errno));
        goto free_it;
    }
    rc = vnc_address_parse(o->address, &v->address, e);
    if (rc < 0) goto free_it;
    rc = vnc_listen(v, e);
    if (rc < 0) goto free_it;
    rc = make_screen(v, e);
    if (rc < 0) goto unlisten;
    rc = watch_all(v, e);
    if (rc < 0) goto unlisten;
    sink.arg = v;
    rc = display_add_sink(vm_display(vm), &sink);
    if (rc < 0) {
        err_set(e, rc, "too many displays");
        unwatch(v);
        goto unlisten;
    }
    loop_timer_init(&v->watch, vm_loop(vm), watch, v);
    loop_timer_arm_ms(&v->watch, WATCH_MS);
    vm_set_service(vm, "vnc", v);
    v->password_service = (struct display_password){ set_password_service, v };
    vm_set_service(vm, "vnc-password", &v->password_service);
    v->query = (struct vm_query){ query, v };
    v->query_servers = (struct vm_query){ query_servers, v };
    vm_set_service(vm, "query-vnc", &v->query);
    vm_set_service(vm, "query-vnc-servers", &v->query_servers);
    vm_add_info(vm, "vnc", "show the VNC server status", print_info, vm);
    *out = v;
    return 0;
unlisten:
    vnc_unlisten(v);
free_it:
    free_display(v);
    return rc;
}

void vnc_display_close(struct vnc_display *v)
{
    if (v == NULL) return;
    vm_set_service(v->vm, "vnc", NULL);
    vm_set_service(v->vm, "vnc-password", NULL);
    vm_set_service(v->vm, "query-vnc", NULL);
    vm_set_service(v->vm, "query-vnc-servers", NULL);
    loop_timer_disarm(&v->watch);
    display_remove_sink(vm_display(v->vm), v);
    unwatch(v);
    vnc_unlisten(v);
    free_display(v);
}

int vnc_display_set_password(struct vnc_display *v, const char *password,
                             struct err *e)
{
    if (password == NULL) password = "";
    if (password[0] == '\0' && !v->address.needs_password) {
        v->screen->authPasswdData = NULL;
    } else {
        v->screen->authPasswdData = v->password;
    }
    pthread_mutex_lock(&v->lock);
    memset(v->password, 0, sizeof(v->password));
    strncpy(v->password, password, VNC_PASSWORD_CHARS);
    pthread_mutex_unlock(&v->lock);
    (void)e;
    return 0;
}

int vnc_display_port(const struct vnc_display *v)
{
    return v->address.is_unix || v->address.is_none ? 0 : (int)v->address.port;
}

#else

int vnc_display_open(struct vm *vm, const struct vnc_options *o,
                     struct vnc_display **out, struct err *e)
{
    (void)vm, (void)o, (void)out;
    return err_set(e, -ENOTSUP,
                   "VNC is not built in: install libvncserver-dev, then run "
                   "configure and make");
}

void vnc_display_close(struct vnc_display *v)
{
    (void)v;
}

int vnc_display_set_password(struct vnc_display *v, const char *password,
                             struct err *e)
{
    (void)v, (void)password;
    return err_set(e, -ENOTSUP, "VNC is not built in");
}

int vnc_display_port(const struct vnc_display *v)
{
    (void)v;
    return 0;
}

#endif
