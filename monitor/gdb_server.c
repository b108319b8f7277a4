/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's gdb server: a listening character device and one peer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/chardev.h"
#include "core/vm/vm.h"
#include "monitor/gdb.h"

static const char service[] = "gdb-server";

struct gdb_server {
    struct vm *vm;
    struct chardev *chardev;
    struct gdb *gdb;
    bool is_owner;    /* of chardev */
    bool is_busy;     /* inside a packet */
    bool is_terminal; /* stdio, pty */
};

/* ---- the device's text ---- */

static bool is_loopback(const char *host, size_t len)
{
    static const char *const names[] = { "", "localhost", "[::1]" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == len && strncmp(host, names[i], len) == 0)
            return true;
    }
    return len > 4 && strncmp(host, "127.", 4) == 0 &&
           strspn(host, "0123456789.") == len;
}

static int parse_arch(const char *text, enum gdb_arch *arch, struct err *e)
{
    static const char *const name[] = { [GDB_ARCH_AUTO] = "auto",
                                        [GDB_ARCH_X86_64] = "x86-64",
                                        [GDB_ARCH_I386] = "i386",
                                        [GDB_ARCH_I8086] = "i8086" };

    for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
        if (strcmp(text, name[i]) != 0) continue;
        *arch = (enum gdb_arch)i;
        return 0;
    }
    return err_set(e, -EINVAL, "arch=%s: there are x86-64, i386 and i8086",
                   text);
}

/* "chardev:ID": one that is there; else what chardev_open takes. */
struct device {
    char id[48];
    char *spec; /* to be freed */
    enum gdb_arch arch;
};

/* QEMU's other options say what is so anyway, and are in every tutorial. */
static int parse_option(const char *text, struct device *d, struct err *e)
{
    static const char *const taken[] = { "server",     "server=on",
                                         "nowait",     "wait=off",
                                         "nodelay",    "nodelay=on",
                                         "nodelay=off" };

    if (strncmp(text, "arch=", 5) == 0)
        return parse_arch(text + 5, &d->arch, e);
    for (unsigned i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (strcmp(text, taken[i]) == 0) return 0;
    }
    return err_set(e, -EINVAL, "no option %s (arch=, server=on, wait=off)",
                   text);
}

/* Nothing to listen at: gdb started this program (target remote | ...), or
 * opens the terminal that is told. */
static bool is_terminal(const char *place)
{
    return strcmp(place, "stdio") == 0 || strcmp(place, "pty") == 0;
}

static int check_place(const char *place, struct err *e)
{
    const char *colon = strrchr(place, ':');

    if (is_terminal(place)) return 0;
    if (strncmp(place, "unix:", 5) == 0 && place[5] != '\0') return 0;
    if (strncmp(place, "tcp:", 4) != 0 || colon == place + 3 ||
        colon[1] == '\0') {
        return err_set(e, -EINVAL, "write tcp::PORT, unix:PATH, stdio or pty");
    }
    if (is_loopback(place + 4, (size_t)(colon - place - 4))) return 0;
    return err_set(e, -EPERM,
                   "whoever connects owns the machine; only this host's "
                   "loopback is allowed (tcp::PORT)");
}

static int parse_device(const char *device, struct device *d, struct err *e)
{
    char *copy = strdup(device), *rest = copy, *place, *option;
    int rc = 0;

    memset(d, 0, sizeof(*d));
    if (copy == NULL) return err_set(e, -ENOMEM, "out of memory");
    place = strsep(&rest, ",");
    while (rc == 0 && (option = strsep(&rest, ",")) != NULL)
        rc = parse_option(option, d, e);
    if (rc == 0 && strncmp(place, "chardev:", 8) == 0) {
        snprintf(d->id, sizeof(d->id), "%s", place + 8);
    } else if (rc == 0) {
        rc = check_place(place, e);
        if (rc == 0 &&
            asprintf(&d->spec, "%s%s", place,
                     is_terminal(place) ? "" : ",server=on,wait=off") < 0) {
            d->spec = NULL;
            rc = err_set(e, -ENOMEM, "out of memory");
        }
    }
    free(copy);
    return rc;
}

int gdb_server_check(const char *device, struct err *e)
{
    struct device d;
    int rc;

    if (strcmp(device, "none") == 0) return 0;
    rc = parse_device(device, &d, e);
    if (rc == 0 && d.spec != NULL) rc = chardev_check(d.spec, e);
    free(d.spec);
    return rc;
}

/* ---- the peer ---- */

static size_t can_receive(void *arg)
{
    struct gdb_server *s = arg;

    /* A peer that asks and does not read has to wait. */
    return chardev_pending(s->chardev) < 1 << 20 ? 4096 : 0;
}

static void receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct gdb_server *s = arg;

    s->is_busy = true;
    /* Nobody says who is at a terminal: a first packet does. */
    if (s->is_terminal && memchr(buf, '$', bytes) != NULL)
        gdb_connected(s->gdb, true);
    gdb_input(s->gdb, buf, bytes);
    s->is_busy = false;
}

static void opened(void *arg, bool is_open)
{
    gdb_connected(((struct gdb_server *)arg)->gdb, is_open);
}

static void write_out(void *arg, const void *data, size_t bytes)
{
    chardev_write_answer(((struct gdb_server *)arg)->chardev, data, bytes);
}

static void send_break(void *arg)
{
    static const uint8_t ctrl_c = 3;

    gdb_input(((struct gdb_server *)arg)->gdb, &ctrl_c, 1);
}

static void destroy(struct gdb_server *s)
{
    chardev_set_front(s->chardev, NULL);
    gdb_close(s->gdb);
    if (s->is_owner) chardev_close(s->chardev);
    free(s);
}

static int open_chardev(struct gdb_server *s, const struct device *d,
                        struct err *e)
{
    if (d->spec != NULL) {
        s->is_owner = true;
        return chardev_open(vm_loop(s->vm), "gdb", d->spec, &s->chardev, e);
    }
    s->chardev = chardev_find(s->vm, d->id);
    if (s->chardev != NULL) return 0;
    return err_set(e, -ENOENT, "no -chardev with id=%s", d->id);
}

static int open_server(struct vm *vm, const struct device *d, struct err *e)
{
    struct gdb_server *s = calloc(1, sizeof(*s));
    int rc;

    if (s == NULL) return err_set(e, -ENOMEM, "out of memory");
    s->vm = vm;
    s->is_terminal = d->spec != NULL && is_terminal(d->spec);
    rc = open_chardev(s, d, e);
    if (rc < 0) goto free_server;
    rc = gdb_open(vm, d->arch, write_out, s, &s->gdb, e);
    if (rc < 0) goto close_chardev;
    chardev_set_front(s->chardev,
                      &(struct chardev_front){ .can_receive = can_receive,
                                               .receive = receive,
                                               .opened = opened,
                                               .send_break = send_break,
                                               .arg = s });
    vm_set_service(vm, service, s);
    return 0;
close_chardev:
    if (s->is_owner) chardev_close(s->chardev);
free_server:
    free(s);
    return rc;
}

int gdb_server_start(struct vm *vm, const char *device, struct err *e)
{
    struct gdb_server *old = vm_service(vm, service);
    bool is_none = strcmp(device, "none") == 0;
    struct device d = { .spec = NULL };
    int rc = 0;

    if (old != NULL && old->is_busy) {
        return err_set(e, -EBUSY, "gdb itself cannot end its server");
    }
    if (!is_none) rc = parse_device(device, &d, e);
    if (rc == 0 && old != NULL) {
        vm_set_service(vm, service, NULL);
        destroy(old);
    }
    if (rc == 0 && !is_none) rc = open_server(vm, &d, e);
    free(d.spec);
    return rc;
}

void gdb_server_stop(struct vm *vm)
{
    struct gdb_server *s = vm_service(vm, service);

    if (s == NULL) return;
    vm_set_service(vm, service, NULL);
    gdb_exited(s->gdb);
    destroy(s);
}
