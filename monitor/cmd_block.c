/* SPDX-License-Identifier: GPL-2.0-or-later */
/* eject, change, info block. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block.h"
#include "block/nodes.h"
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

struct drive *cmd_drive_by(struct cmd *c, const char *device, const char *id,
                           struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct drive *d = NULL;

    if ((device != NULL) == (id != NULL)) {
        err_set(e, -EINVAL, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    if (device != NULL) return cmd_drive(c, device, e);
    if (t != NULL) d = drive_find_device(t, id);
    return d != NULL ? d : cmd_drive(c, id, e);
}

/* The drive of arguments device and id, of which JSON may have either; -errno
 * if it is not there or no medium can be taken out. */
static int removable(struct cmd *c, unsigned device, unsigned id,
                     struct drive **out, struct err *e)
{
    *out = cmd_drive_by(c, c->arg[device].text, c->arg[id].text, e);
    if (*out == NULL) return e->code;
    if (!drive_is_removable(*out))
        return err_set(e, -EINVAL, "Device '%s' is not removable",
                       drive_id(*out));
    return 0;
}

int cmd_open_tray(struct cmd *c, struct drive *d, bool is_forced, struct err *e)
{
    bool has_moved;
    int rc = drive_open_tray_locked(d, is_forced, &has_moved, e);

    if (has_moved) vm_report_tray_locked(c->vm, drive_id(d), true);
    if (rc == -EAGAIN)
        err_set(e, rc,
                "Device '%s' is locked and force was not specified, wait for "
                "tray to open and try again",
                drive_id(d));
    return rc;
}

int cmd_close_tray(struct cmd *c, struct drive *d, struct err *e)
{
    bool has_moved;
    int rc = drive_close_tray_locked(d, &has_moved, e);

    if (has_moved) vm_report_tray_locked(c->vm, drive_id(d), false);
    return rc;
}

int cmd_eject(struct cmd *c, struct err *e)
{
    struct drive *d = NULL;
    int rc = removable(c, 1, 2, &d, e);

    if (rc == 0) rc = cmd_open_tray(c, d, c->arg[0].is_given, e);
    return rc < 0 ? rc : drive_take_medium_locked(d, e);
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
    } else if (c->json != NULL) {
        return err_set(e, -EINVAL,
                       "Parameter 'read-only-mode' does not accept value '%s'",
                       mode);
    } else {
        return err_set(e, -EINVAL,
                       "invalid parameter value: %s (retain, read-only, "
                       "read-write)",
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
    struct blk_options o;
    int rc;

    blk_options_init(&o);
    o.is_auto_readonly = !c->arg[4].is_given;
    o.secrets = objects_secrets(vm_service(c->vm, "drives"));
    rc = blk_mode(c, d, &o, e);
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
    int rc;

    if (c->json == NULL && strcmp(c->arg[1].text, "vnc") == 0)
        return change_vnc(c, e);
    rc = removable(c, 1, 5, &d, e);
    if (rc == 0) rc = open_image(c, d, &b, e);
    if (rc < 0) return rc;
    rc = cmd_open_tray(c, d, c->arg[0].is_given, e);
    if (rc == 0) rc = drive_take_medium_locked(d, e);
    if (rc == 0) rc = drive_put_medium_locked(d, b, e);
    if (rc < 0) {
        blk_close(b);
        return rc;
    }
    return cmd_close_tray(c, d, e);
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

static void print_limits(struct drive *d, FILE *out)
{
    struct throttle_limits l;
    const char *group = drive_limits(d, &l), *name;
    static const enum throttle_part parts[] = { THROTTLE_RATE, THROTTLE_PEAK };
    enum throttle_part part;
    uint64_t *value;

    if (group == NULL) return;
    fputs("    I/O throttling:  ", out);
    /* bps and its peaks, then iops and its peaks: three of each */
    for (unsigned half = 0; half < 4; half++) {
        for (unsigned i = half / 2 * 9; i < half / 2 * 9 + 9; i++) {
            name = throttle_field(&l, i, &part, &value);
            if (part == parts[half % 2])
                fprintf(out, " %s=%llu", name, (unsigned long long)*value);
        }
    }
    fprintf(out, " iops_size=%llu group=%s\n", (unsigned long long)l.iops_bytes,
            group);
}

static void print_cache(struct drive *d, FILE *out)
{
    struct blk_look look;

    blk_look(drive_blk(d), &look);
    fprintf(out, "    Cache mode:       %s\n", blk_cache_text(drive_blk(d)));
    if (look.backing_file != NULL)
        fprintf(out, "    Backing file:     %s (chain depth: %u)\n",
                look.backing_file, look.depth);
    if (look.detect != BLK_DETECT_OFF)
        fprintf(out, "    Detect zeroes:    %s\n",
                look.detect == BLK_DETECT_ON ? "on" : "unmap");
    print_limits(d, out);
}

static void print_medium(struct drive *d, FILE *out)
{
    struct blk *b = drive_blk(d);
    struct blk_look look;
    char node[64];

    if (b == NULL) {
        fprintf(out, "%s: [not inserted]\n", drive_id(d));
        return;
    }
    blk_look(b, &look);
    nodes_name_of(d, node, sizeof(node));
    fputs(drive_id(d), out);
    if (node[0] != '#' && !drive_is_node(d)) fprintf(out, " (%s)", node);
    fprintf(out, ": %s (%s%s%s)\n", blk_file(b), blk_format(b),
            blk_is_readonly(b) ? ", read-only" : "",
            look.is_encrypted ? ", encrypted" : "");
}

static void print_drive(struct drive *d, FILE *out, bool is_long)
{
    const struct drive_ops *ops = drive_get_ops(d);
    struct blk *b = drive_blk(d);

    print_medium(d, out);
    if (drive_device(d) != NULL)
        fprintf(out, "    Attached to:      %s\n", drive_device(d));
    if (b != NULL && strcmp(blk_io_status(b), "ok") != 0)
        fprintf(out, "    I/O status:       %s\n", blk_io_status(b));
    if (drive_is_removable(d)) {
        bool is_locked =
            ops != NULL && ops->is_locked != NULL && ops->is_locked(ops->arg);

        fprintf(out, "    Removable device: %slocked, tray %s\n",
                is_locked ? "" : "not ",
                drive_is_tray_open(d) ? "open" : "closed");
    }
    if (b != NULL) print_cache(d, out);
    if (b != NULL && is_long) print_image(b, out);
}

/* -n: nodes of -blockdev, on which a drive may stand or not. */
static void print_node(void *arg, const char *name, const struct node *n)
{
    if (name[0] == '#') return;
    nodes_print(n, name, arg);
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
        /* A node has a medium; a name of its own is told below. */
        if (by_node && (drive_blk(d) == NULL || drive_is_node(d))) continue;
        if (drive_is_node(d) && drive_device(d) == NULL) continue;
        if (!is_first) fputc('\n', c->out);
        is_first = false;
        print_drive(d, c->out, c->arg[1].is_given);
    }
    if (by_node) nodes_each(t, print_node, c->out);
    return 0;
}
