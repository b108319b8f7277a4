/* SPDX-License-Identifier: GPL-2.0-or-later */
/* eject, change, info block. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block.h"
#include "core/base/size.h"
#include "core/host/display.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

int cmd_no_device(struct cmd *c, const char *id, struct err *e)
{
    c->error_class = "DeviceNotFound";
    return err_set(e, -ENODEV, "Device '%s' not found", id);
}

struct drive *cmd_drive(struct cmd *c, const char *id, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct drive *d = t != NULL ? drive_find(t, id) : NULL;

    if (d == NULL) cmd_no_device(c, id, e);
    return d;
}

/* The drive of arguments device and id, of which JSON may have either; -errno
 * if it is not there or no medium can be taken out. */
static int removable(struct cmd *c, unsigned device, unsigned id,
                     struct drive **out, struct err *e)
{
    const char *name = c->arg[device].text;

    if (c->arg[device].is_given == c->arg[id].is_given)
        return err_set(e, -EINVAL, "Need exactly one of 'device' and 'id'");
    if (name == NULL) name = c->arg[id].text;
    *out = cmd_drive(c, name, e);
    if (*out == NULL) return -ENODEV;
    if (!drive_is_removable(*out))
        return err_set(e, -EINVAL, "Device '%s' is not removable", name);
    return 0;
}

static bool is_tray_open(const struct drive *d)
{
    const struct drive_ops *ops = drive_get_ops(d);

    return ops != NULL && ops->is_tray_open != NULL &&
           ops->is_tray_open(ops->arg);
}

int cmd_eject(struct cmd *c, struct err *e)
{
    struct drive *d = NULL;
    bool was_open;
    int rc = removable(c, 1, 2, &d, e);

    if (rc < 0) return rc;
    if (drive_blk(d) == NULL) return 0;
    was_open = is_tray_open(d);
    rc = drive_set_medium_locked(d, NULL, c->arg[0].is_given, e);
    if (rc == 0 && is_tray_open(d) != was_open)
        vm_report_tray_locked(c->vm, drive_id(d), !was_open);
    return rc;
}

static int blk_mode(struct cmd *c, struct drive *d, struct blk_options *o,
                    struct err *e)
{
    const char *mode = c->arg[4].is_given ? c->arg[4].text : "retain";

    o->is_readonly = drive_is_cdrom(d);
    if (strcmp(mode, "retain") == 0) {
        if (drive_blk(d) != NULL)
            o->is_readonly = blk_is_readonly(drive_blk(d));
    } else if (strcmp(mode, "read-only") == 0) {
        o->is_readonly = true;
    } else if (strcmp(mode, "read-write") == 0) {
        o->is_readonly = false;
    } else {
        return err_set(e, -EINVAL,
                       "invalid parameter: %s (retain, read-only, read-write)",
                       mode);
    }
    if (drive_is_cdrom(d)) o->is_readonly = true;
    return 0;
}

/* "change vnc password TEXT" */
static int change_vnc(struct cmd *c, struct err *e)
{
    struct display_password *p = vm_service(c->vm, "vnc-password");
    const char *what = c->arg[2].text;

    if (strcmp(what, "password") != 0 && strcmp(what, "passwd") != 0)
        return err_set(e, -EINVAL,
                       "No support for changing the VNC address; write "
                       "change vnc password TEXT");
    if (p == NULL) return err_set(e, -ENOENT, "there is no VNC display");
    if (!c->arg[3].is_given)
        return err_set(e, -EINVAL, "write change vnc password TEXT");
    return p->set(p->arg, c->arg[3].text, e);
}

static int open_image(struct cmd *c, struct drive *d, struct blk **b,
                      struct err *e)
{
    struct blk_options o = { .is_auto_readonly = !c->arg[4].is_given };
    int rc = blk_mode(c, d, &o, e);

    if (rc < 0) return rc;
    if (c->arg[3].is_given) o.format = c->arg[3].text;
    rc = blk_open(vm_loop(c->vm), c->arg[2].text, &o, b, e);
    if (rc < 0) {
        size_t n = strlen(c->arg[2].text); /* the text may name it already */

        if (strncmp(e->text, c->arg[2].text, n) == 0 && e->text[n] == ':' &&
            e->text[n + 1] == ' ')
            memmove(e->text, e->text + n + 2, strlen(e->text + n + 2) + 1);
        return err_prefix(e, "Could not open '%s'", c->arg[2].text);
    }
    return 0;
}

int cmd_change(struct cmd *c, struct err *e)
{
    struct drive *d = NULL;
    struct blk *b = NULL;
    bool was_open;
    int rc;

    if (c->json == NULL && strcmp(c->arg[1].text, "vnc") == 0)
        return change_vnc(c, e);
    rc = removable(c, 1, 5, &d, e);
    if (rc == 0) rc = open_image(c, d, &b, e);
    if (rc < 0) return rc;
    was_open = is_tray_open(d);
    rc = drive_set_medium_locked(d, b, c->arg[0].is_given, e);
    if (rc < 0) {
        blk_close(b);
        return rc;
    }
    if (!was_open && drive_is_cdrom(d))
        vm_report_tray_locked(c->vm, drive_id(d), true);
    if (drive_is_cdrom(d) && !is_tray_open(d))
        vm_report_tray_locked(c->vm, drive_id(d), false);
    return 0;
}

/* As `qemu-img info` prints it. */
static void print_image(const struct blk *b, FILE *out)
{
    struct stat st;
    char size[32];

    fprintf(out,
            "\nImages:\nimage: %s\nfile format: %s\n"
            "virtual size: %s (%llu bytes)\n",
            blk_file(b), blk_format(b),
            size_text(blk_size_bytes(b), size, sizeof(size)),
            (unsigned long long)blk_size_bytes(b));
    if (stat(blk_file(b), &st) == 0)
        fprintf(out, "disk size: %s\n",
                size_text((uint64_t)st.st_blocks * 512, size, sizeof(size)));
}

static void print_drive(struct drive *d, FILE *out, bool is_long)
{
    const struct drive_ops *ops = drive_get_ops(d);
    struct blk *b = drive_blk(d);

    if (b == NULL) {
        fprintf(out, "%s: [not inserted]\n", drive_id(d));
    } else {
        fprintf(out, "%s: %s (%s%s)\n", drive_id(d), blk_file(b), blk_format(b),
                blk_is_readonly(b) ? ", read-only" : "");
    }
    if (drive_device(d) != NULL)
        fprintf(out, "    Attached to:      %s\n", drive_device(d));
    if (drive_is_removable(d)) {
        bool is_locked =
            ops != NULL && ops->is_locked != NULL && ops->is_locked(ops->arg);

        fprintf(out, "    Removable device: %slocked, tray %s\n",
                is_locked ? "" : "not ", is_tray_open(d) ? "open" : "closed");
    }
    if (b != NULL)
        fprintf(out, "    Cache mode:       %s\n", blk_cache_text(b));
    if (b != NULL && is_long) print_image(b, out);
}

int info_block(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    bool is_first = true, by_node = c->arg[0].is_given;

    if (c->arg[2].is_given) {
        struct drive *d = cmd_drive(c, c->arg[2].text, e);

        if (d == NULL) return -ENODEV;
        print_drive(d, c->out, c->arg[1].is_given);
        return 0;
    }
    if (t == NULL) return 0;
    for (struct drive *d = drive_next(t, NULL); d != NULL;
         d = drive_next(t, d)) {
        if (by_node && drive_blk(d) == NULL) continue; /* no node then */
        if (!is_first) fputc('\n', c->out);
        is_first = false;
        print_drive(d, c->out, c->arg[1].is_given);
    }
    return 0;
}
