/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VNC_CONNECTED, VNC_INITIALIZED, VNC_DISCONNECTED for programs that manage the
 * machine.  A viewer's threads may not take the VM lock (who closes the display
 * waits for them), so the news go the way of its keys.
 */
#include "config.h"

#ifdef HAVE_VNC

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/json.h"
#include "ui/display/vnc_int.h"

void vnc_put_address(struct json_out *o, const struct sockaddr_storage *sa,
                     socklen_t bytes)
{
    char host[64] = "", port[16] = "";

    if (sa->ss_family != AF_UNIX)
        getnameinfo((const struct sockaddr *)sa, bytes, host, sizeof(host),
                    port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    json_str(o, "family",
             sa->ss_family == AF_INET6  ? "ipv6"
             : sa->ss_family == AF_INET ? "ipv4"
                                        : "unix");
    json_str(o, "service", port);
    json_str(o, "host", host);
    json_bool(o, "websocket", false);
}

/* {"server": {...}, "client": {...}}, as QEMU's events have it. */
static char *describe(const struct vnc_display *v, int fd)
{
    struct sockaddr_storage sa = { .ss_family = AF_UNIX };
    socklen_t bytes = sizeof(sa);
    char *text = NULL;
    size_t text_bytes = 0;
    struct json_out o = { .f = open_memstream(&text, &text_bytes) };

    if (o.f == NULL) return NULL;
    json_open(&o, NULL, '{');
    json_open(&o, "server", '{');
    json_str(&o, "auth", v->address.needs_password ? "vnc" : "none");
    getsockname(fd, (struct sockaddr *)&sa, &bytes);
    vnc_put_address(&o, &sa, bytes);
    json_close(&o, '}');
    json_open(&o, "client", '{');
    sa = (struct sockaddr_storage){ .ss_family = AF_UNIX };
    bytes = sizeof(sa);
    getpeername(fd, (struct sockaddr *)&sa, &bytes);
    vnc_put_address(&o, &sa, bytes);
    json_close(&o, '}');
    json_close(&o, '}');
    fclose(o.f);
    return text;
}

static void tell(struct vnc_viewer *w, const char *name)
{
    struct vnc_event ev = { .kind = VNC_NEWS, .name = name };

    if (w->text == NULL) return;
    ev.data = strdup(w->text);
    if (ev.data != NULL && !vnc_put_event(w->v, &ev)) free(ev.data);
}

void vnc_news_connected(struct vnc_viewer *w, int fd)
{
    w->text = describe(w->v, fd);
    w->v->fresh++;
    tell(w, "VNC_CONNECTED");
}

void vnc_news_gone(struct vnc_viewer *w)
{
    if (!w->is_told) w->v->fresh--;
    tell(w, "VNC_DISCONNECTED");
    free(w->text);
}

void vnc_news_check(rfbClientPtr cl, void *arg)
{
    struct vnc_viewer *w = cl->clientData;

    (void)arg;
    if (w == NULL || w->is_told || cl->state != RFB_NORMAL) return;
    w->is_told = true;
    w->v->fresh--;
    tell(w, "VNC_INITIALIZED");
}

#endif
