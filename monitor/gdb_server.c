/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's gdb server: a listening character device and one peer. */
#include <errno.h>
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
    bool is_busy; /* inside a packet */
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

/* Spec for chardev_open, to be freed. */
static int parse_device(const char *device, char **spec, enum gdb_arch *arch,
                        struct err *e)
{
    const char *option = strstr(device, ",arch=");
    size_t len = option != NULL ? (size_t)(option - device) : strlen(device);
    int rc = 0, n;

    *arch = GDB_ARCH_AUTO;
    if (option != NULL) rc = parse_arch(option + 6, arch, e);
    if (rc < 0) return rc;
    if (memchr(device, ',', len) != NULL) {
        return err_set(e, -EINVAL, "gdb: %s: the one option is arch=", device);
    }
    if (strncmp(device, "tcp:", 4) == 0) {
        const char *colon = memrchr(device + 4, ':', len - 4);

        if (colon == NULL || colon == device + len - 1) {
            return err_set(e, -EINVAL, "gdb: %s: write tcp::PORT", device);
        }
        if (!is_loopback(device + 4, (size_t)(colon - device - 4))) {
            return err_set(e, -EPERM,
                           "gdb: %s: whoever connects owns the machine; only "
                           "this host's loopback is allowed (tcp::PORT)",
                           device);
        }
    } else if (strncmp(device, "unix:", 5) != 0 || len == 5) {
        return err_set(e, -EINVAL, "gdb: %s: write tcp::PORT or unix:PATH",
                       device);
    }
    n = asprintf(spec, "%.*s,server=on,wait=off", (int)len, device);
    return n < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int gdb_server_check(const char *device, struct err *e)
{
    enum gdb_arch arch;
    char *spec;
    int rc;

    if (strcmp(device, "none") == 0) return 0;
    rc = parse_device(device, &spec, &arch, e);
    if (rc < 0) return rc;
    rc = chardev_check(spec, e);
    free(spec);
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
    chardev_close(s->chardev);
    free(s);
}

int gdb_server_start(struct vm *vm, const char *device, struct err *e)
{
    struct gdb_server *s, *old = vm_service(vm, service);
    enum gdb_arch arch;
    char *spec = NULL;
    int rc;

    if (old != NULL) {
        if (old->is_busy) {
            return err_set(e, -EBUSY, "gdb itself cannot end its server");
        }
        vm_set_service(vm, service, NULL);
        destroy(old);
    }
    if (strcmp(device, "none") == 0) return 0;
    rc = parse_device(device, &spec, &arch, e);
    if (rc < 0) return rc;
    s = calloc(1, sizeof(*s));
    rc = s != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
    if (rc == 0) rc = chardev_open(vm_loop(vm), "gdb", spec, &s->chardev, e);
    free(spec);
    if (rc < 0) goto free_server;
    rc = gdb_open(vm, arch, write_out, s, &s->gdb, e);
    if (rc < 0) goto close_chardev;
    s->vm = vm;
    chardev_set_front(s->chardev,
                      &(struct chardev_front){ .can_receive = can_receive,
                                               .receive = receive,
                                               .opened = opened,
                                               .send_break = send_break,
                                               .arg = s });
    vm_set_service(vm, service, s);
    return 0;
close_chardev:
    chardev_close(s->chardev);
free_server:
    free(s);
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
