/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chardev-add, -change, -remove, -send-break, ringbuf_read, ringbuf_write. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/host/chardev.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

enum { RINGBUF_MAX_BYTES = 64 << 10 };

/* A back end as -chardev and JSON describe it. */
struct words {
    char kind[16], id[64], path[256], host[128], port[16], size[16];
    bool is_client;
};

static const struct {
    const char *key;
    size_t offset, cap;
} word_rows[] = {
#define ROW(key, field)                                                        \
    {                                                                          \
        key, offsetof(struct words, field), sizeof(((struct words *)0)->field) \
    }
    ROW("backend", kind), ROW("id", id),     ROW("path", path),
    ROW("host", host),    ROW("port", port), ROW("size", size),
#undef ROW
};

static int set_word(struct words *w, const char *key, const char *value,
                    struct err *e)
{
    for (unsigned i = 0; i < sizeof(word_rows) / sizeof(word_rows[0]); i++) {
        if (strcmp(word_rows[i].key, key) != 0) continue;
        if (strlen(value) >= word_rows[i].cap)
            return err_set(e, -EINVAL, "%s is too long", key);
        strcpy((char *)w + word_rows[i].offset, value);
        return 0;
    }
    if (strcmp(key, "server") == 0) {
        w->is_client = strcmp(value, "off") == 0;
        return 0;
    }
    /* What is so anyway: nobody is waited for while the machine is there. */
    if (strcmp(key, "wait") == 0 && strcmp(value, "on") != 0) return 0;
    if (strcmp(key, "wait") == 0)
        return err_set(e, -EINVAL, "wait=on would stop the machine");
    if (strcmp(key, "nodelay") == 0 || strcmp(key, "nowait") == 0) return 0;
    return err_set(e, -EINVAL, "Invalid parameter '%s'", key);
}

/* "KIND,id=ID,path=PATH,...": ",," is a comma. */
static int words_of_text(struct words *w, const char *text, struct err *e)
{
    bool is_first = true;

    while (*text != '\0') {
        char item[512], *value;
        size_t n = 0;
        int rc;

        for (; *text != '\0' && (*text != ',' || text[1] == ','); text++) {
            if (*text == ',') text++;
            if (n + 1 >= sizeof(item))
                return err_set(e, -EINVAL, "word too long");
            item[n++] = *text;
        }
        item[n] = '\0';
        if (*text == ',') text++;
        value = strchr(item, '=');
        if (value != NULL) *value++ = '\0';
        if (value == NULL && is_first) {
            rc = set_word(w, "backend", item, e);
        } else {
            rc = set_word(w, item, value != NULL ? value : "on", e);
        }
        if (rc < 0) return rc;
        is_first = false;
    }
    return 0;
}

/* chardev_open's text. */
static int spec_of(const struct words *w, char *out, size_t cap, struct err *e)
{
    static const char *const plain[] = { "null", "pty", "ringbuf" };
    bool is_file = strcmp(w->kind, "file") == 0 || strcmp(w->kind, "pipe") == 0;
    bool is_socket = strcmp(w->kind, "socket") == 0;
    const char *server = w->is_client ? "" : ",server=on,wait=off";
    char path[2 * sizeof(w->path)];
    uint64_t ring = 1;
    size_t n = 0;

    for (const char *p = w->path; *p != '\0'; p++) {
        path[n++] = *p;
        if (*p == ',') path[n++] = ',';
    }
    path[n] = '\0';
    if ((is_file || (is_socket && w->port[0] == '\0')) && n == 0)
        return err_set(e, -EINVAL, "chardev: %s: no path given", w->kind);
    if (strcmp(w->kind, "ringbuf") == 0 && w->size[0] != '\0' &&
        (size_parse(w->size, 1, &ring) < 0 || ring == 0 ||
         (ring & (ring - 1)) != 0))
        return err_set(e, -EINVAL,
                       "size of ringbuf chardev must be power of two");
    if (ring > RINGBUF_MAX_BYTES)
        return err_set(e, -EINVAL, "size: a ringbuf has %d octets",
                       RINGBUF_MAX_BYTES);
    if (is_file) {
        snprintf(out, cap, "%s:%s", w->kind, path);
        return 0;
    }
    if (is_socket && n > 0) {
        snprintf(out, cap, "unix:%s%s", path, server);
        return 0;
    }
    if (is_socket) {
        snprintf(out, cap, "tcp:%s:%s%s", w->host, w->port, server);
        return 0;
    }
    for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(w->kind, plain[i]) != 0) continue;
        snprintf(out, cap, "%s", w->kind);
        return 0;
    }
    return err_set(e, -EINVAL,
                   "no character device '%s' can be added: there are file, "
                   "null, pipe, pty, ringbuf, socket",
                   w->kind);
}

static int no_chardev(const char *id, struct err *e)
{
    return err_set(e, -ENOENT, "Chardev '%s' not found", id);
}

/* ---- JSON: {"type": "socket", "data": {...}} ---- */

static const char *text_of(const struct json *j, const char *name)
{
    const struct json *m = json_get(j, name);

    return m != NULL && m->type == JSON_STRING ? m->text : "";
}

static int words_of_json(struct words *w, const struct json *backend,
                         struct err *e)
{
    const struct json *data = json_get(backend, "data");
    const struct json *addr = json_get(data, "addr");
    const struct json *place = json_get(addr, "data");
    const struct json *size = json_get(data, "size");
    const struct json *server = json_get(data, "server");
    int rc;

    if (backend->type != JSON_OBJECT)
        return err_set(
            e, -EINVAL,
            "Invalid parameter type for 'backend', expected: object");
    if (*text_of(backend, "type") == '\0')
        return err_set(
            e, -EINVAL,
            "Invalid parameter type for 'backend.type', expected: string");
    w->is_client =
        server != NULL && server->type == JSON_BOOL && !server->is_true;
    if (size != NULL && size->type == JSON_INT)
        snprintf(w->size, sizeof(w->size), "%llu", (unsigned long long)size->i);
    rc = set_word(w, "backend", text_of(backend, "type"), e);
    if (rc == 0)
        rc = set_word(w, "path",
                      place != NULL && *text_of(place, "path")
                          ? text_of(place, "path")
                      : *text_of(data, "out") ? text_of(data, "out")
                                              : text_of(data, "device"),
                      e);
    if (rc == 0 && place != NULL)
        rc = set_word(w, "host", text_of(place, "host"), e);
    if (rc == 0 && place != NULL)
        rc = set_word(w, "port", text_of(place, "port"), e);
    return rc;
}

/* The answer names the terminal of a pty. */
static void put_result(struct cmd *c, const struct chardev *d)
{
    char name[512];

    json_open(c->json, NULL, '{');
    chardev_filename(d, name, sizeof(name));
    if (strncmp(name, "pty:", 4) == 0) json_str(c->json, "pty", name + 4);
    json_close(c->json, '}');
}

static int add(struct cmd *c, const struct words *w, struct err *e)
{
    char spec[1024];
    int rc = 0;

    if (w->id[0] == '\0') rc = err_set(e, -EINVAL, "chardev: no id specified");
    if (rc == 0) rc = spec_of(w, spec, sizeof(spec), e);
    if (rc == 0) rc = chardev_add(c->vm, w->id, spec, e);
    return rc;
}

static int change(struct cmd *c, const struct words *w, struct err *e)
{
    struct chardev *d = chardev_find(c->vm, w->id);
    char spec[1024];
    int rc;

    if (d == NULL) return no_chardev(w->id, e);
    rc = spec_of(w, spec, sizeof(spec), e);
    return rc == 0 ? chardev_change(d, spec, e) : rc;
}

int cmd_chardev_add(struct cmd *c, struct err *e)
{
    struct words w = { .kind = "" };
    int rc;

    if (!c->arg[0].is_given)
        return err_set(e, -EINVAL, "chardev-add: string expected");
    if (strcmp(c->arg[0].text, "help") == 0) {
        fputs("Available chardev backend types:\n"
              "  file\n  null\n  pipe\n  pty\n  ringbuf\n  socket\n",
              c->out);
        return 0;
    }
    rc = words_of_text(&w, c->arg[0].text, e);
    return rc == 0 ? add(c, &w, e) : rc;
}

int cmd_chardev_change(struct cmd *c, struct err *e)
{
    struct words w = { .kind = "" };
    int rc;

    if (!c->arg[1].is_given)
        return err_set(e, -EINVAL, "chardev-change: string expected");
    rc = words_of_text(&w, c->arg[1].text, e);
    if (rc == 0) rc = set_word(&w, "id", c->arg[0].text, e);
    return rc == 0 ? change(c, &w, e) : rc;
}

static int from_json(struct cmd *c, bool is_new, struct err *e)
{
    struct words w = { .kind = "" };
    int rc = words_of_json(&w, c->arg[1].json, e);

    if (rc == 0) rc = set_word(&w, "id", c->arg[0].text, e);
    if (rc == 0) rc = is_new ? add(c, &w, e) : change(c, &w, e);
    if (rc == 0) put_result(c, chardev_find(c->vm, w.id));
    return rc;
}

int json_chardev_add(struct cmd *c, struct err *e)
{
    return from_json(c, true, e);
}

int json_chardev_change(struct cmd *c, struct err *e)
{
    return from_json(c, false, e);
}

/* ---- the rest ---- */

int cmd_chardev_remove(struct cmd *c, struct err *e)
{
    struct chardev *d = chardev_find(c->vm, c->arg[0].text);

    return d != NULL ? chardev_remove(d, e) : no_chardev(c->arg[0].text, e);
}

int cmd_chardev_break(struct cmd *c, struct err *e)
{
    struct chardev *d = chardev_find(c->vm, c->arg[0].text);

    if (d == NULL) return no_chardev(c->arg[0].text, e);
    if (chardev_send_break(d)) return 0;
    return err_set(e, -ENOTSUP, "nothing at '%s' takes a break",
                   c->arg[0].text);
}

static int find_ringbuf(struct cmd *c, struct chardev **out, struct err *e)
{
    *out = chardev_find(c->vm, c->arg[0].text);
    if (*out == NULL)
        return err_set(e, -ENOENT, "Device '%s' not found", c->arg[0].text);
    if (chardev_is_ringbuf(*out)) return 0;
    return err_set(e, -EINVAL, "%s is not a ringbuf device", c->arg[0].text);
}

/* What was not read yet, at most as many octets as asked for. */
static int read_ringbuf(struct cmd *c, uint8_t **out, size_t *bytes,
                        struct err *e)
{
    struct chardev *d;
    int rc = find_ringbuf(c, &d, e);
    uint64_t want = (uint64_t)c->arg[1].number;

    if (rc < 0) return rc;
    if (want == 0 || want > INT64_MAX)
        return err_set(e, -EINVAL, "size must be greater than zero");
    if (want > RINGBUF_MAX_BYTES) want = RINGBUF_MAX_BYTES;
    *out = malloc(want + 1);
    if (*out == NULL) return err_set(e, -ENOMEM, "out of memory");
    *bytes = chardev_ringbuf_read(d, *out, want);
    (*out)[*bytes] = '\0';
    return 0;
}

int cmd_ringbuf_read(struct cmd *c, struct err *e)
{
    uint8_t *data;
    size_t bytes;
    int rc = read_ringbuf(c, &data, &bytes, e);

    if (rc < 0) return rc;
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] == '\\') {
            fputs("\\\\", c->out);
        } else if ((data[i] < 32 && data[i] != '\n') || data[i] == 127) {
            fprintf(c->out, "\\u%04X", data[i]);
        } else {
            fputc(data[i], c->out);
        }
    }
    fputc('\n', c->out);
    free(data);
    return 0;
}

int cmd_ringbuf_write(struct cmd *c, struct err *e)
{
    struct chardev *d;
    int rc = find_ringbuf(c, &d, e);

    if (rc == 0) chardev_write(d, c->arg[1].text, strlen(c->arg[1].text));
    return rc;
}

/* ---- JSON: the data as text, or in base 64 (RFC 4648) ---- */

static const char digits64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(struct cmd *c, const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes / 3 * 4 + 5), *to = text;

    for (size_t i = 0; text != NULL && i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t v = (uint32_t)data[i] << 16;

        if (left > 1) v |= (uint32_t)data[i + 1] << 8;
        if (left > 2) v |= data[i + 2];
        *to++ = digits64[v >> 18];
        *to++ = digits64[v >> 12 & 63];
        *to++ = left > 1 ? digits64[v >> 6 & 63] : '=';
        *to++ = left > 2 ? digits64[v & 63] : '=';
    }
    if (text != NULL) *to = '\0';
    json_str(c->json, NULL, text != NULL ? text : "");
    free(text);
}

static int get_base64(const char *text, uint8_t *out, size_t *bytes,
                      struct err *e)
{
    uint32_t v = 0;
    unsigned bits = 0;

    for (*bytes = 0; *text != '\0' && *text != '='; text++) {
        const char *p = strchr(digits64, *text);

        if (p == NULL) break;
        v = v << 6 | (uint32_t)(p - digits64);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        out[(*bytes)++] = (uint8_t)(v >> bits);
    }
    if (text[strspn(text, "=")] == '\0') return 0;
    return err_set(e, -EINVAL, "'data' is not base 64");
}

static int is_base64(const struct cmd_arg *format, bool *out, struct err *e)
{
    *out = format->is_given && strcmp(format->text, "base64") == 0;
    if (!format->is_given || *out || strcmp(format->text, "utf8") == 0)
        return 0;
    return err_set(e, -EINVAL, "Parameter 'format' does not accept value '%s'",
                   format->text);
}

int json_ringbuf_read(struct cmd *c, struct err *e)
{
    uint8_t *data = NULL;
    bool is_64 = false;
    size_t bytes = 0;
    int rc = is_base64(&c->arg[2], &is_64, e);

    if (rc == 0) rc = read_ringbuf(c, &data, &bytes, e);
    if (rc < 0) return rc;
    if (is_64) {
        put_base64(c, data, bytes);
    } else {
        json_str(c->json, NULL, (char *)data);
    }
    free(data);
    return 0;
}

int json_ringbuf_write(struct cmd *c, struct err *e)
{
    const char *text = c->arg[1].text;
    uint8_t *data = malloc(strlen(text) + 1);
    size_t bytes = strlen(text);
    struct chardev *d;
    bool is_64 = false;
    int rc = find_ringbuf(c, &d, e);

    if (data == NULL) return err_set(e, -ENOMEM, "out of memory");
    if (rc == 0) rc = is_base64(&c->arg[2], &is_64, e);
    memcpy(data, text, bytes);
    if (rc == 0 && is_64) rc = get_base64(text, data, &bytes, e);
    if (rc == 0) {
        chardev_write(d, data, bytes);
        json_open(c->json, NULL, '{');
        json_close(c->json, '}');
    }
    free(data);
    return rc;
}
