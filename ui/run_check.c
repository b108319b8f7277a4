/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/block.h"
#include "config.h"
#include "core/cpu/cpuid.h"
#include "core/host/chardev.h"
#include "core/host/firmware.h"
#include "hw/devices.h"
#include "hw/machine.h"
#include "monitor/gdb.h"
#include "ui/run.h"

/* A file to be read in whole or used as an image.  Special files other than
 * block devices would make an open wait for ever. */
static int check_file(const char *option, const char *path, bool is_image,
                      struct err *e)
{
    struct stat st;

    if (path == NULL) return 0;
    if (stat(path, &st) < 0)
        return err_set(e, -errno, "%s %s: %s", option, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "%s %s: is a directory", option, path);
    if (!S_ISREG(st.st_mode) && !(is_image && S_ISBLK(st.st_mode)))
        return err_set(e, -EINVAL, "%s %s: is not a regular file%s", option,
                       path, is_image ? " or block device" : "");
    if (access(path, R_OK) < 0)
        return err_set(e, -errno, "%s %s: %s", option, path, strerror(errno));
    return 0;
}

const char *run_drive_option(const struct drive_config *d)
{
    static const char *const ide[] = { "-hda", "-hdb", "-hdc", "-hdd" };

    if (d->iface == DRIVE_FLOPPY) return d->index == 0 ? "-fda" : "-fdb";
    if (d->iface == DRIVE_IDE && d->is_cdrom && d->index == 2) return "-cdrom";
    if (d->iface == DRIVE_IDE && !d->is_cdrom) return ide[d->index & 3];
    return "-drive";
}

static int check_drives(const struct options *o, struct err *e)
{
    for (unsigned i = 0; i < o->cfg.drive_count; i++) {
        const struct drive_config *d = &o->cfg.drive[i];
        int rc;

        if (d->file != NULL && blk_is_remote_name(d->file)) continue;
        rc = check_file(run_drive_option(d), d->file, true, e);
        if (rc < 0) return rc;
        if (d->file != NULL && !d->is_readonly && !d->is_snapshot &&
            !d->is_cdrom && d->iface != DRIVE_FLOPPY &&
            access(d->file, W_OK) < 0)
            return err_set(e, -errno,
                           "%s %s: not writable (%s); -snapshot or "
                           "readonly=on",
                           run_drive_option(d), d->file, strerror(errno));
    }
    return 0;
}

/* Multiboot: "file args,file args". */
static int check_initrds(const char *text, struct err *e)
{
    struct stat st;
    char path[4096];
    size_t n;

    if (text == NULL) return 0;
    if (stat(text, &st) == 0) return check_file("-initrd", text, false, e);
    n = strcspn(text, " ,");
    snprintf(path, sizeof(path), "%.*s", (int)n, text);
    return check_file("-initrd", path, false, e);
}

static int check_firmware(const struct options *o, struct err *e)
{
    const struct vm_config *c = &o->cfg;
    char path[4096];
    struct stat st;

    if (c->data_dir != NULL &&
        (stat(c->data_dir, &st) < 0 || !S_ISDIR(st.st_mode)))
        return err_set(e, -ENOTDIR, "-L %s: no such directory", c->data_dir);
    if (c->bios != NULL && access(c->bios, F_OK) == 0)
        return check_file("-bios", c->bios, false, e);
    if (firmware_find(c->data_dir, c->bios ? c->bios : "bios-256k.bin", path,
                      sizeof(path), e) < 0) {
        if (c->bios != NULL) return err_prefix(e, "-bios %s", c->bios);
        if (c->data_dir != NULL) return err_prefix(e, "-L %s", c->data_dir);
        return e->code;
    }
    return 0;
}

/* The directory a file is to be made in. */
static int check_place(const char *option, const char *path, struct err *e)
{
    char dir[4096];

    if (path == NULL) return 0;
    snprintf(dir, sizeof(dir), "%s", path);
    if (access(path, F_OK) == 0 ? access(path, W_OK) < 0
                                : access(dirname(dir), W_OK | X_OK) < 0)
        return err_set(e, -errno, "%s %s: %s", option, path, strerror(errno));
    return 0;
}

static int check_chardevs(const struct options *o, struct err *e)
{
    for (unsigned i = 0; i < o->chardev_count; i++) {
        const struct chardev_option *c = &o->chardev[i];
        const char *option = strncmp(c->name, "serial", 6) == 0 ? "-serial"
                             : strncmp(c->name, "compat_monitor", 14) == 0
                                 ? "-monitor"
                             : strcmp(c->name, "parallel0") == 0 ? "-parallel"
                             : strcmp(c->name, "debugcon") == 0  ? "-debugcon"
                                                                 : "-chardev";

        if (chardev_check(c->spec, e) < 0)
            return err_prefix(e, "%s %s", option, c->spec);
    }
    return 0;
}

/* A bad -gdb is known before anything is made. */
static int check_gdb(const struct options *o, struct err *e)
{
    if (o->gdb == NULL || gdb_server_check(o->gdb, e) == 0) return 0;
    return err_prefix(e, "-gdb %s", o->gdb);
}

/* Names of model and features; what the accelerator makes of them is its
 * business. */
static int check_cpu(const struct options *o, struct err *e)
{
    struct cpu_model *m;
    int rc;

    if (o->cfg.cpu_model == NULL) return 0;
    m = calloc(1, sizeof(*m));
    if (m == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = cpu_model_build(m, o->cfg.cpu_model, o->cfg.cpus, e);
    free(m);
    return rc < 0 ? err_prefix(e, "-cpu %s", o->cfg.cpu_model) : 0;
}

static int check_devices(const struct options *o, struct err *e)
{
    for (unsigned i = 0; i < o->cfg.device_count; i++) {
        char name[64];
        const char *text = o->cfg.device[i];

        if (strncmp(text, "driver=", 7) == 0) text += 7;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ","), text);
        if (device_find(name) == NULL)
            return err_set(e, -ENODEV,
                           "-device %s: no such device; -device help lists "
                           "them",
                           text);
    }
    return 0;
}

static int check_display(const struct options *o, struct err *e)
{
    const char *d = run_choose_display(o);

    if (strcmp(d, "curses") == 0 &&
        (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        return err_set(e, -ENOTTY,
                       "-display curses: standard input and "
                       "output are no terminal");
#ifndef HAVE_SDL
    if (strcmp(d, "sdl") == 0)
        return err_set(e, -ENOTSUP,
                       "-display sdl: this program was built "
                       "without SDL2 (package libsdl2-dev)");
#endif
    return 0;
}

int run_check(const struct options *o, struct err *e)
{
    const struct machine *m;
    int rc = machine_select(o->cfg.machine, &m, e);

    if (rc < 0) return err_prefix(e, "-M %s", o->cfg.machine);
    rc = check_drives(o, e);
    if (rc == 0) rc = check_file("-kernel", o->cfg.kernel, false, e);
    if (rc == 0) rc = check_initrds(o->cfg.initrd, e);
    if (rc == 0) rc = check_firmware(o, e);
    if (rc == 0) rc = check_cpu(o, e);
    if (rc == 0) rc = check_devices(o, e);
    if (rc == 0) rc = check_display(o, e);
    if (rc == 0) rc = check_place("-pidfile", o->pidfile, e);
    if (rc == 0) rc = check_place("-D", o->log_file, e);
    if (rc == 0) rc = check_chardevs(o, e);
    if (rc == 0) rc = check_gdb(o, e);
    return rc;
}
