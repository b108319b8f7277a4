/* SPDX-License-Identifier: GPL-2.0-or-later */
/* eject, change, info block. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "core/vm/vm.h"
#include "monitor/command.h"

static struct drive *find(struct cmd *c, const char *id, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct drive *d = t != NULL ? drive_find(t, id) : NULL;

    if (d == NULL) err_set(e, -ENODEV, "Device '%s' not found", id);
    return d;
}

int cmd_eject(struct cmd *c, struct err *e)
{
    struct drive *d = find(c, c->arg[1].text, e);

    if (d == NULL) return -ENODEV;
    if (!drive_is_removable(d))
        return err_set(e, -EINVAL, "Device '%s' is not removable",
                       c->arg[1].text);
    if (drive_blk(d) == NULL) return 0;
    return drive_set_medium_locked(d, NULL, c->arg[0].is_given, e);
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

int cmd_change(struct cmd *c, struct err *e)
{
    struct drive *d = find(c, c->arg[1].text, e);
    struct blk_options o = { .is_auto_readonly = !c->arg[4].is_given };
    struct blk *b = NULL;
    int rc;

    if (d == NULL) return -ENODEV;
    if (!drive_is_removable(d))
        return err_set(e, -EINVAL, "Device '%s' is not removable",
                       c->arg[1].text);
    if (c->arg[3].is_given) o.format = c->arg[3].text;
    rc = blk_mode(c, d, &o, e);
    if (rc < 0) return rc;
    rc = blk_open(vm_loop(c->vm), c->arg[2].text, &o, &b, e);
    if (rc < 0) {
        size_t n = strlen(c->arg[2].text); /* the text may name it already */

        if (strncmp(e->text, c->arg[2].text, n) == 0 && e->text[n] == ':' &&
            e->text[n + 1] == ' ')
            memmove(e->text, e->text + n + 2, strlen(e->text + n + 2) + 1);
        return err_prefix(e, "Could not open '%s'", c->arg[2].text);
    }
    rc = drive_set_medium_locked(d, b, c->arg[0].is_given, e);
    if (rc < 0) blk_close(b);
    return rc;
}

static void print_drive(struct drive *d, FILE *out)
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
        bool is_open = ops != NULL && ops->is_tray_open != NULL &&
                       ops->is_tray_open(ops->arg);

        fprintf(out, "    Removable device: %slocked, tray %s\n",
                is_locked ? "" : "not ", is_open ? "open" : "closed");
    }
    if (b != NULL)
        fprintf(out, "    Cache mode:       %s\n", blk_cache_text(b));
}

int info_block(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    bool is_first = true;

    if (c->arg[0].is_given) {
        struct drive *d = find(c, c->arg[0].text, e);

        if (d == NULL) return -ENODEV;
        print_drive(d, c->out);
        return 0;
    }
    if (t == NULL) return 0;
    for (struct drive *d = drive_next(t, NULL); d != NULL;
         d = drive_next(t, d)) {
        if (!is_first) fputc('\n', c->out);
        is_first = false;
        print_drive(d, c->out);
    }
    return 0;
}
