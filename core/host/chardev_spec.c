/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A character device's text taken apart: [mon:]KIND[:PLACE][,word...]. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/chardev_int.h"

static const struct chardev_kind *const kinds[] = {
    &chardev_stdio,  &chardev_file,    &chardev_pipe, &chardev_pty,
    &chardev_null,   &chardev_vc,      &chardev_unix, &chardev_tcp,
    &chardev_telnet, &chardev_ringbuf,
};

/* "server=on", "wait=off", "signal=off"; old form "server", "nowait". */
static int parse_word(struct chardev *c, const char *word, size_t n,
                      struct err *e)
{
    static const struct {
        const char *word;
        size_t offset;
        bool value;
    } words[] = {
        { "server=on", offsetof(struct chardev, is_server), true },
        { "server=off", offsetof(struct chardev, is_server), false },
        { "server", offsetof(struct chardev, is_server), true },
        { "wait=on", offsetof(struct chardev, is_wait), true },
        { "wait=off", offsetof(struct chardev, is_wait), false },
        { "wait", offsetof(struct chardev, is_wait), true },
        { "nowait", offsetof(struct chardev, is_wait), false },
        { "signal=on", offsetof(struct chardev, is_signal), true },
        { "signal=off", offsetof(struct chardev, is_signal), false },
        { "telnet=on", offsetof(struct chardev, is_telnet), true },
    };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == n &&
            strncmp(words[i].word, word, n) == 0) {
            *(bool *)((char *)c + words[i].offset) = words[i].value;
            return 0;
        }
    }
    if ((n == 7 && strncmp(word, "nodelay", 7) == 0) ||
        (n == 10 && strncmp(word, "nodelay=on", 10) == 0))
        return 0;
    return err_set(e, -EINVAL, "no parameter '%.*s'", (int)n, word);
}

/* Place up to the first single comma (",," is a comma), then words. */
int chardev_parse_spec(struct chardev *c, const char *spec, struct err *e)
{
    const char *p = spec, *end;
    size_t n = 0;

    if (strncmp(p, "mon:", 4) == 0) {
        c->is_mux = true;
        p += 4;
    }
    c->is_wait = true;
    c->is_signal = !c->is_mux; /* Ctrl-C goes to the guest through a mux */
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        n = strlen(kinds[i]->name);
        if (strncmp(p, kinds[i]->name, n) == 0 &&
            strchr(":,", p[n]) != NULL) { /* also the end */
            c->kind = kinds[i];
            break;
        }
    }
    if (c->kind == NULL)
        return err_set(e, -EINVAL, "no such character device: %s", spec);
    end = p + n;
    if (*end == ':' && c->kind == &chardev_vc) return 0; /* its size */
    if (*end == ':') {
        size_t len = 0;

        if (!c->kind->has_place)
            return err_set(e, -EINVAL, "%s takes nothing after ':'",
                           c->kind->name);
        c->place = strdup(end + 1);
        if (c->place == NULL) return err_set(e, -ENOMEM, "out of memory");
        for (end++; *end != '\0' && (*end != ',' || end[1] == ','); end++) {
            if (*end == ',') end++;
            c->place[len++] = *end;
        }
        c->place[len] = '\0';
    }
    if (c->kind->has_place && (c->place == NULL || c->place[0] == '\0'))
        return err_set(e, -EINVAL, "%s: needs a %s", c->kind->name,
                       c->kind == &chardev_tcp || c->kind == &chardev_telnet
                           ? "HOST:PORT"
                           : "path");
    while (*end == ',') {
        size_t len = strcspn(++end, ",");
        int rc = parse_word(c, end, len, e);

        if (rc < 0) return rc;
        end += len;
    }
    return 0;
}
