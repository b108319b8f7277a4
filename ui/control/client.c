/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ui/control/control.h"

struct control_client {
    int fd;
    uint8_t *in;
    size_t in_bytes, in_cap;
    unsigned answers_left; /* JSON, before the view begins */
    struct surface surface;
    struct text_screen text;
    struct control_state state;
    char *reply;
};

static int send_all(struct control_client *c, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = send(c->fd, p + done, bytes - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -EPIPE;
        done += (size_t)n;
    }
    return 0;
}

int control_connect(const char *path, struct control_client **out,
                    struct err *e)
{
    static const char hello[] = "{\"execute\": \"qmp_capabilities\"}"
                                "{\"execute\": \"x-orrery-view\"}";
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct control_client *c;
    int rc;

    if (strlen(path) >= sizeof(a.sun_path)) {
        return err_set(e, -ENAMETOOLONG, "control socket %s: name too long",
                       path);
    }
    strcpy(a.sun_path, path);
    c = calloc(1, sizeof(*c));
    if (c == NULL) return err_set(e, -ENOMEM, "out of memory");
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        rc = err_set(e, -errno, "%s: %s", path, strerror(errno));
        if (c->fd >= 0) close(c->fd);
        free(c);
        return rc;
    }
    c->answers_left = 2;
    if (send_all(c, hello, strlen(hello)) < 0) {
        control_disconnect(c);
        return err_set(e, -ECONNREFUSED, "%s: the machine hung up", path);
    }
    *out = c;
    return 0;
}

void control_disconnect(struct control_client *c)
{
    if (c == NULL) return;
    close(c->fd);
    free(c->in);
    free(c->surface.px);
    free(c->reply);
    free(c);
}

int control_fd(const struct control_client *c)
{
    return c->fd;
}

/* ---- requests ---- */

static int request(struct control_client *c, uint32_t type, const void *data,
                   size_t bytes)
{
    uint8_t msg[sizeof(struct control_header) + CONTROL_MAX_REQUEST];
    struct control_header h = { type, (uint32_t)bytes };

    if (bytes > CONTROL_MAX_REQUEST) return -EMSGSIZE;
    memcpy(msg, &h, sizeof(h));
    if (bytes > 0) memcpy(msg + sizeof(h), data, bytes);
    return send_all(c, msg, sizeof(h) + bytes);
}

int control_watch(struct control_client *c, bool on)
{
    uint32_t v = on;

    return request(c, CTL_WATCH, &v, sizeof(v));
}

int control_keys(struct control_client *c, const unsigned *codes,
                 unsigned count)
{
    uint32_t v[1 + CONTROL_KEYS] = { count };

    if (count > CONTROL_KEYS) return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        v[1 + i] = codes[i];
    return request(c, CTL_KEYS, v, sizeof(v));
}

int control_mouse(struct control_client *c, int dx, int dy, int dz,
                  unsigned buttons)
{
    uint32_t v[4] = { (uint32_t)dx, (uint32_t)dy, (uint32_t)dz, buttons };

    return request(c, CTL_MOUSE, v, sizeof(v));
}

int control_run(struct control_client *c, const char *line)
{
    return request(c, CTL_RUN, line, strlen(line));
}

int control_ask_state(struct control_client *c)
{
    return request(c, CTL_STATUS, NULL, 0);
}

/* ---- what arrives; sizes are checked although the peer is ours ---- */

static int set_size(struct control_client *c, const uint8_t *p, size_t bytes)
{
    uint32_t v[2];
    uint32_t *px;

    if (bytes != sizeof(v)) return -EPROTO;
    memcpy(v, p, sizeof(v));
    if (v[0] > 4096 || v[1] > 4096) return -EPROTO;
    px = calloc((size_t)v[0] * v[1] + 1, 4);
    if (px == NULL) return -ENOMEM;
    free(c->surface.px);
    c->surface = (struct surface){ (int)v[0], (int)v[1], (int)v[0], px };
    return 0;
}

static int set_pixels(struct control_client *c, const uint8_t *p, size_t bytes)
{
    size_t row = (size_t)c->surface.width_px * 4;
    uint32_t v[2];

    if (bytes < sizeof(v)) return -EPROTO;
    memcpy(v, p, sizeof(v));
    if (v[0] > (uint32_t)c->surface.height_px ||
        v[1] > (uint32_t)c->surface.height_px - v[0] ||
        bytes - sizeof(v) != row * v[1]) {
        return -EPROTO;
    }
    memcpy(c->surface.px + (size_t)v[0] * (size_t)c->surface.stride_px,
           p + sizeof(v), row * v[1]);
    return 0;
}

static int set_text(struct control_client *c, const uint8_t *p, size_t bytes)
{
    struct control_text h;
    struct text_screen *t = &c->text;

    if (bytes < sizeof(h)) return -EPROTO;
    memcpy(&h, p, sizeof(h));
    if (h.cols < 0 || h.cols > TEXT_MAX_COLS || h.rows < 0 ||
        h.rows > TEXT_MAX_ROWS ||
        bytes - sizeof(h) != 2 * (size_t)h.cols * (size_t)h.rows) {
        return -EPROTO;
    }
    p += sizeof(h);
    t->is_text = h.is_text;
    t->cols = h.cols;
    t->rows = h.rows;
    t->cursor_col = h.cursor_col;
    t->cursor_row = h.cursor_row;
    t->has_blink = h.has_blink;
    memcpy(t->palette, h.palette, sizeof(t->palette));
    for (int r = 0; r < h.rows; r++, p += h.cols) {
        memcpy(t->ch[r], p, (size_t)h.cols);
    }
    for (int r = 0; r < h.rows; r++, p += h.cols) {
        memcpy(t->attr[r], p, (size_t)h.cols);
    }
    return 0;
}

/* Mask of what is new, or -errno. */
static int take(struct control_client *c, uint32_t type, const uint8_t *p,
                size_t bytes)
{
    switch (type) {
    case CTL_STATE:
        if (bytes != sizeof(c->state)) return -EPROTO;
        memcpy(&c->state, p, bytes);
        c->state.name[sizeof(c->state.name) - 1] = '\0';
        c->state.accel[sizeof(c->state.accel) - 1] = '\0';
        return CONTROL_NEW_STATE;
    case CTL_SIZE: return set_size(c, p, bytes);
    case CTL_PIXELS: return set_pixels(c, p, bytes);
    case CTL_TEXT: return set_text(c, p, bytes);
    case CTL_FRAME:
        return request(c, CTL_ACK, NULL, 0) < 0 ? -EPIPE : CONTROL_NEW_FRAME;
    case CTL_REPLY:
        free(c->reply);
        c->reply = malloc(bytes + 1);
        if (c->reply == NULL) return -ENOMEM;
        memcpy(c->reply, p, bytes);
        c->reply[bytes] = '\0';
        return CONTROL_NEW_REPLY;
    default: return -EPROTO;
    }
}

static int grow(struct control_client *c, size_t cap)
{
    uint8_t *p;

    if (cap <= c->in_cap) return 0;
    p = realloc(c->in, cap);
    if (p == NULL) return -ENOMEM;
    c->in = p;
    c->in_cap = cap;
    return 0;
}

/* Greeting, answers and events before the view; octets taken, -EPROTO. */
static ssize_t consume_lines(struct control_client *c)
{
    size_t pos = 0;

    while (c->answers_left > 0) {
        const char *line = (const char *)c->in + pos;
        const char *end = memchr(line, '\n', c->in_bytes - pos);
        size_t n = end != NULL ? (size_t)(end - line) : 0;

        if (end == NULL) break;
        if (memmem(line, n, "\"error\"", 7) != NULL) return -EPROTO;
        if (memmem(line, n, "\"return\"", 8) != NULL) c->answers_left--;
        pos += n + 1;
    }
    return (ssize_t)pos;
}

/* Take complete messages out of in[]; mask or -errno. */
static int consume(struct control_client *c)
{
    struct control_header h;
    ssize_t lines = consume_lines(c);
    size_t pos = (size_t)lines;
    int news = 0, rc;

    if (lines < 0) return (int)lines;
    if (c->answers_left > 0) {
        memmove(c->in, c->in + pos, c->in_bytes - pos);
        c->in_bytes -= pos;
        return 0;
    }
    while (c->in_bytes - pos >= sizeof(h)) {
        memcpy(&h, c->in + pos, sizeof(h));
        if (h.bytes > CONTROL_MAX_REPLY) return -EPROTO;
        if (c->in_bytes - pos < sizeof(h) + h.bytes) {
            rc = grow(c, sizeof(h) + h.bytes + 65536);
            if (rc < 0) return rc;
            break;
        }
        rc = take(c, h.type, c->in + pos + sizeof(h), h.bytes);
        if (rc < 0) return rc;
        news |= rc;
        pos += sizeof(h) + h.bytes;
    }
    memmove(c->in, c->in + pos, c->in_bytes - pos);
    c->in_bytes -= pos;
    return news;
}

int control_poll(struct control_client *c)
{
    int news = 0;

    if (grow(c, 65536) < 0) return -EPIPE;
    for (;;) {
        ssize_t n;
        int rc;

        if (c->in_bytes == c->in_cap && grow(c, c->in_cap * 2) < 0) {
            return -EPIPE;
        }
        n = recv(c->fd, c->in + c->in_bytes, c->in_cap - c->in_bytes,
                 MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return news;
        if (n <= 0) return -EPIPE;
        c->in_bytes += (size_t)n;
        rc = consume(c);
        if (rc < 0) return -EPIPE;
        news |= rc;
    }
}

int control_wait(struct control_client *c, unsigned mask, int timeout_ms)
{
    for (;;) {
        struct pollfd p = { .fd = c->fd, .events = POLLIN };
        int rc = control_poll(c);

        if (rc < 0 || ((unsigned)rc & mask)) return rc;
        if (poll(&p, 1, timeout_ms) <= 0) return 0;
    }
}

const struct surface *control_surface(const struct control_client *c)
{
    return &c->surface;
}

const struct text_screen *control_text(const struct control_client *c)
{
    return &c->text;
}

const struct control_state *control_state(const struct control_client *c)
{
    return &c->state;
}

const char *control_reply(const struct control_client *c)
{
    return c->reply != NULL ? c->reply : "";
}
