/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices that come, go and change while the machine runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/chardev_int.h"
#include "core/vm/vm.h"

static bool is_used(const struct chardev *c)
{
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        if (c->front[i].receive != NULL || c->front[i].opened != NULL)
            return true;
    }
    return false;
}

int chardev_add(struct vm *vm, const char *name, const char *spec,
                struct err *e)
{
    struct chardev *c;
    int rc;

    if (chardev_find(vm, name) != NULL)
        return err_set(e, -EEXIST, "Chardev with id '%s' already exists", name);
    rc = chardev_check(spec, e);
    if (rc == 0) rc = chardev_open(vm_loop(vm), name, spec, &c, e);
    if (rc < 0) return rc;
    rc = chardev_register(vm, c, e);
    if (rc == 0) rc = chardev_start(c, e);
    if (rc < 0) {
        chardev_close(c);
        return rc;
    }
    c->is_added = true;
    return 0;
}

int chardev_remove(struct chardev *c, struct err *e)
{
    if (is_used(c)) return err_set(e, -EBUSY, "Chardev '%s' is busy", c->name);
    if (!c->is_added)
        return err_set(e, -EPERM, "Chardev '%s' was there from the start",
                       c->name);
    chardev_close(c);
    return 0;
}

void chardev_close_added(struct vm *vm)
{
    struct chardev *c = chardev_next(vm, NULL);

    while (c != NULL) {
        struct chardev *next = c->next;

        if (c->is_added && !is_used(c)) chardev_close(c);
        c = next;
    }
}

/* Kinds that are tied to more than their descriptors. */
static bool is_fixed(const struct chardev *c)
{
    return c->is_mux || c->kind == &chardev_vc || c->kind == &chardev_stdio ||
           c->kind == &chardev_ringbuf;
}

static int open_as(struct chardev *c, const char *spec, struct err *e)
{
    int rc;

    free(c->place);
    c->place = NULL;
    c->kind = NULL;
    c->is_server = c->is_telnet = c->is_deferred = false;
    c->telnet_state = 0;
    rc = chardev_parse_spec(c, spec, e);
    c->is_wait = false; /* the machine does not stand still for a peer */
    if (rc == 0) rc = c->kind->open(c, e);
    if (rc == 0) rc = chardev_start(c, e);
    return rc;
}

static void close_back(struct chardev *c)
{
    chardev_detach(c);
    if (c->kind->close != NULL) c->kind->close(c);
    c->listen_fd = c->slave_fd = -1;
}

int chardev_change(struct chardev *c, const char *spec, struct err *e)
{
    struct chardev parsed = { .in_fd = -1 };
    char *copy = strdup(spec);
    int rc = copy != NULL ? chardev_parse_spec(&parsed, spec, e)
                          : err_set(e, -ENOMEM, "out of memory");

    free(parsed.place);
    if (rc == 0) rc = chardev_check(spec, e);
    if (rc == 0 && (is_fixed(c) || is_fixed(&parsed)))
        rc = err_set(e, -ENOTSUP, "Chardev '%s' stays %s", c->name, c->spec);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    close_back(c);
    rc = open_as(c, spec, e);
    if (rc < 0) {
        struct err ignored = ERR_INIT;

        free(copy);
        if (c->kind != NULL) close_back(c);
        if (open_as(c, c->spec, &ignored) < 0) {
            free(c->place);
            c->place = NULL;
            c->kind = &chardev_null;
        }
        return rc;
    }
    free(c->spec);
    c->spec = copy;
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        if (c->front[i].opened != NULL)
            c->front[i].opened(c->front[i].arg, chardev_is_open(c));
    }
    return 0;
}

bool chardev_send_break(struct chardev *c)
{
    for (unsigned i = 0; i < CHARDEV_FRONTS; i++) {
        if (c->front[i].send_break == NULL) continue;
        c->front[i].send_break(c->front[i].arg);
        return true;
    }
    return false;
}

const char *chardev_filename(const struct chardev *c, char *out, size_t cap)
{
    if (c->kind == &chardev_pty && c->place != NULL) {
        snprintf(out, cap, "pty:%s", c->place);
    } else {
        const char *wait = strstr(c->spec, ",wait=");
        size_t n = wait == NULL ? strlen(c->spec) : (size_t)(wait - c->spec);

        snprintf(out, cap, "%.*s", (int)n, c->spec);
    }
    return out;
}

bool chardev_is_ringbuf(const struct chardev *c)
{
    return c->kind == &chardev_ringbuf;
}

size_t chardev_ringbuf_read(struct chardev *c, uint8_t *buf, size_t cap)
{
    size_t n = 0;

    pthread_mutex_lock(&c->lock);
    if (c->ring_total - c->ring_taken > CHARDEV_RING_BYTES)
        c->ring_taken = c->ring_total - CHARDEV_RING_BYTES;
    while (n < cap && c->ring_taken < c->ring_total)
        buf[n++] = c->ring[c->ring_taken++ % CHARDEV_RING_BYTES];
    pthread_mutex_unlock(&c->lock);
    return n;
}
