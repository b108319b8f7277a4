/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of network block devices, as users of QEMU know them; the URIs follow
 * doc/uri.md of the NetworkBlockDevice project. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "block/nbd.h"

static const char export_key[] = ":exportname=";

static bool has_start(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool nbd_is_name(const char *name)
{
    return has_start(name, "nbd:") || has_start(name, "nbd+") ||
           has_start(name, "nbds:") || has_start(name, "nbds+");
}

bool blk_is_remote_name(const char *file)
{
    return nbd_is_name(file);
}

static int bad(struct err *e, const char *name, const char *why)
{
    return err_set(e, -EINVAL, "%s: %s", name, why);
}

/* bytes of text, %XX decoded if is_uri; -ENAMETOOLONG, -EINVAL. */
static int copy_part(const char *text, size_t bytes, bool is_uri, char *out,
                     size_t cap)
{
    size_t used = 0;

    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];

        if (is_uri && c == '%') {
            char hex[3] = { 0 }, *end;

            if (bytes - i < 3) return -EINVAL;
            memcpy(hex, text + i + 1, 2);
            c = (char)strtoul(hex, &end, 16);
            if (end != hex + 2 || hex[0] == '+' || hex[0] == '-' || c == '\0')
                return -EINVAL;
            i += 2;
        }
        if (used + 1 >= cap) return -ENAMETOOLONG;
        out[used++] = c;
    }
    out[used] = '\0';
    return 0;
}

static bool is_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port <= 65535;
}

/* HOST:PORT, [HOST]:PORT; the port may be absent if is_uri. */
static int parse_host(const char *text, size_t bytes, bool is_uri,
                      struct nbd_address *a)
{
    const char *end = text + bytes, *host = text, *host_end, *port;

    if (bytes > 0 && *text == '[') {
        host = text + 1;
        host_end = memchr(host, ']', bytes - 1);
        if (host_end == NULL) return -EINVAL;
        port = host_end + 1;
        if (port < end && *port != ':') return -EINVAL;
    } else {
        host_end = memrchr(text, ':', bytes);
        if (host_end == NULL) host_end = end;
        port = host_end;
    }
    if (copy_part(host, (size_t)(host_end - host), is_uri, a->host,
                  sizeof(a->host)) < 0)
        return -EINVAL;
    if (port == end) {
        if (!is_uri) return -EINVAL;
        strcpy(a->port, NBD_DEFAULT_PORT);
        return 0;
    }
    port++;
    if (copy_part(port, (size_t)(end - port), false, a->port, sizeof(a->port)) <
        0)
        return -EINVAL;
    return is_port(a->port) ? 0 : -EINVAL;
}

static int parse_uri(const char *name, struct nbd_address *a, struct err *e)
{
    const char *authority = strstr(name, "://") + 3;
    size_t bytes = strcspn(authority, "/?");
    const char *path = authority + bytes, *query = NULL;
    size_t path_bytes;
    int rc;

    a->is_unix = has_start(name, "nbd+unix");
    if (*path == '/') path++;
    path_bytes = strcspn(path, "?");
    if (path[path_bytes] == '?') query = path + path_bytes + 1;
    if (copy_part(path, path_bytes, true, a->export, sizeof(a->export)) < 0)
        return bad(e, name, "bad name of an export");
    if (!a->is_unix) {
        if (query != NULL) return bad(e, name, "unknown option after '?'");
        rc = parse_host(authority, bytes, true, a);
        if (rc < 0 || a->host[0] == '\0')
            return bad(e, name, "nbd://HOST[:PORT][/EXPORT]");
        return 0;
    }
    if (bytes != 0 || query == NULL || !has_start(query, "socket=") ||
        strchr(query, '&') != NULL)
        return bad(e, name, "nbd+unix:///EXPORT?socket=PATH");
    rc =
        copy_part(query + 7, strlen(query + 7), true, a->path, sizeof(a->path));
    if (rc < 0 || a->path[0] == '\0')
        return bad(e, name, "bad name of a socket (at most 107 octets)");
    return 0;
}

int nbd_parse_name(const char *name, struct nbd_address *a, struct err *e)
{
    const char *rest, *key;
    size_t bytes;

    memset(a, 0, sizeof(*a));
    if (has_start(name, "nbds"))
        return err_set(e, -ENOTSUP, "%s: TLS is not supported", name);
    if (has_start(name, "nbd://") || has_start(name, "nbd+tcp://") ||
        has_start(name, "nbd+unix://"))
        return parse_uri(name, a, e);
    if (!has_start(name, "nbd:"))
        return bad(e, name, "unknown kind of nbd name");
    rest = name + 4;
    key = strstr(rest, export_key);
    bytes = key != NULL ? (size_t)(key - rest) : strlen(rest);
    if (key != NULL) {
        key += strlen(export_key);
        if (copy_part(key, strlen(key), false, a->export, sizeof(a->export)) <
            0)
            return bad(e, name, "name of the export too long");
    }
    a->is_unix = has_start(rest, "unix:");
    if (a->is_unix) {
        if (bytes <= 5 ||
            copy_part(rest + 5, bytes - 5, false, a->path, sizeof(a->path)) < 0)
            return bad(e, name, "bad name of a socket (at most 107 octets)");
        return 0;
    }
    if (parse_host(rest, bytes, false, a) < 0 || a->host[0] == '\0')
        return bad(e, name, "nbd:HOST:PORT or nbd:unix:PATH");
    return 0;
}

int nbd_parse_listen(const char *text, struct nbd_address *a, struct err *e)
{
    memset(a, 0, sizeof(*a));
    if (has_start(text, "unix:")) {
        a->is_unix = true;
        text += 5;
        if (*text == '\0' ||
            copy_part(text, strlen(text), false, a->path, sizeof(a->path)) < 0)
            return bad(e, text, "bad name of a socket (at most 107 octets)");
        return 0;
    }
    if (has_start(text, "tcp:")) text += 4;
    if (parse_host(text, strlen(text), false, a) < 0)
        return bad(e, text, "expected HOST:PORT or unix:PATH");
    return 0;
}
