/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects, named nodes and drives of a machine, in this order, as each may
 * refer to the one before; what happens when one of them fails at run time;
 * the question for a passphrase that nobody gave.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/block.h"
#include "block/nodes.h"
#include "block/passphrase.h"
#include "core/base/log.h"
#include "core/loop/loop.h"
#include "core/vm/report.h"
#include "core/vm/vm.h"
#include "ui/run.h"
#include "ui/run_parts.h"

/* ------------------------------------------------------------- passphrase */

/* An encrypted image without a secret: ask, and give the answer an id. */
static int ask(struct run_drives *r, const struct drive_config *d,
               struct blk_options *bo, struct err *e)
{
    char text[PASSPHRASE_MAX_BYTES], id[80];
    struct blk_extra *x = &bo->extra[bo->extra_count];
    const char *key = blk_secret_key(d->file, bo);
    int rc;

    if (key == NULL || bo->extra_count == BLK_MAX_EXTRA) return -EACCES;
    rc = passphrase_ask(d->file, text, sizeof(text), e);
    if (rc < 0) return rc;
    snprintf(id, sizeof(id), "#ask-%.60s", d->id);
    rc = objects_add_secret(r->table, id, text, e);
    explicit_bzero(text, sizeof(text));
    if (rc < 0) return rc;
    snprintf(x->key, sizeof(x->key), "%s", key);
    snprintf(x->value, sizeof(x->value), "%s", id);
    bo->extra_count++;
    return 0;
}

/* ----------------------------------------------------------------- drives */

static int open_image(struct run_drives *r, const struct drive_config *d,
                      struct blk_options *bo, struct blk **b, struct err *e)
{
    int rc;

    if (d->tree != NULL)
        return blk_open_tree(r->table, d->tree, d->file, bo, b, e);
    rc = blk_open(r->loop, d->file, bo, b, e);
    if (rc != -ENOKEY || r->o->is_daemonize || !isatty(STDIN_FILENO)) return rc;
    rc = ask(r, d, bo, e);
    return rc < 0 ? rc : blk_open(r->loop, d->file, bo, b, e);
}

static int open_drive(struct run_drives *r, const struct drive_config *d,
                      struct err *e)
{
    struct blk_options bo;
    bool is_removable =
        d->is_cdrom || d->iface == DRIVE_FLOPPY ||
        (d->iface == DRIVE_NONE && d->file == NULL && d->tree == NULL);
    struct drive *drive = NULL;
    struct blk *b = NULL;
    int rc;

    blk_options_init(&bo);
    bo.format = d->format;
    bo.is_readonly = d->is_readonly;
    bo.is_snapshot = d->is_snapshot;
    bo.is_auto_readonly = d->iface == DRIVE_FLOPPY;
    bo.is_inactive = r->o->incoming != NULL;
    bo.secrets = objects_secrets(r->table);
    rc = blk_options_parse(&bo, d->block_options, e);
    if (rc < 0) return err_prefix(e, "%s", run_drive_option(d));
    if (d->file != NULL || d->tree != NULL) {
        rc = open_image(r, d, &bo, &b, e);
        /* the text names the file */
        if (rc < 0) return err_prefix(e, "%s", run_drive_option(d));
    }
    rc = drive_add(r->table, d->id, is_removable, d->is_cdrom, b, &drive, e);
    if (rc < 0 && b != NULL) blk_close(b);
    if (rc == 0 && throttle_is_on(&bo.limits))
        rc = drive_set_limits(drive, &bo.limits, bo.throttle_group, e);
    return rc;
}

/* ----------------------------------------------------------------- errors */

/* werror=, rerror=: programs are told; the machine may have to wait until the
 * user has seen to it. */
static void on_disk_error(void *arg, struct blk *b,
                          const struct blk_error *error)
{
    static const char *const actions[] = {
        [BLK_REPORT] = "report", [BLK_IGNORE] = "ignore", [BLK_STOP] = "stop"
    };
    struct run_drives *r = arg;
    struct drive *d = drive_of_blk(r->table, b);
    const char *what = error->is_read ? "read" : "write";
    char node[64] = "";

    /* Cancelled since, by a reset: the machine has nothing to wait for. */
    if (error->action == BLK_STOP && blk_held(b) == 0) return;
    vm_lock(r->vm);
    if (d != NULL)
        vm_report_io_error_locked(r->vm, drive_is_node(d) ? "" : drive_id(d),
                                  nodes_name_of(d, node, sizeof(node)), what,
                                  actions[error->action], error->rc);
    if (error->action == BLK_STOP) vm_stop_locked(r->vm, RUN_IO_ERROR);
    vm_unlock(r->vm);
    if (error->action != BLK_STOP) return;
    log_warn("%s (%s): %s failed: %s; the machine is paused, `cont' tries "
             "again",
             d != NULL ? drive_id(d) : "disk", blk_file(b), what,
             strerror(-error->rc));
}

static void on_run_event(void *arg, enum vm_event ev)
{
    struct run_drives *r = arg;

    if (ev == VM_EVENT_RESUME) drive_table_retry(r->table);
}

/* -------------------------------------------------------------------- all */

static int open_objects(struct run_drives *r, struct err *e)
{
    for (unsigned i = 0; i < r->o->object_count; i++) {
        const char *text = r->o->object[i];

        /* Never the text: it may hold a passphrase. */
        if (objects_add_text(r->table, text, e) < 0)
            return err_prefix(e, "-object %.*s", (int)strcspn(text, ",{"),
                              text);
    }
    return 0;
}

static int open_nodes(struct run_drives *r, struct err *e)
{
    for (unsigned i = 0; i < r->o->blockdev_count; i++) {
        const char *text = r->o->blockdev[i];

        if (nodes_add_text(r->table, text, e) < 0)
            return err_prefix(e, "-blockdev %.200s", text);
    }
    return 0;
}

int run_drives_open(struct run_drives *r, struct vm *vm, struct loop *l,
                    const struct options *o, struct err *e)
{
    int rc;

    *r = (struct run_drives){ .vm = vm, .loop = l, .o = o };
    rc = drive_table_create(l, &r->table);
    if (rc < 0) return err_set(e, rc, "out of memory");
    drive_table_set_stop(r->table, on_disk_error, r);
    vm_add_listener(vm, on_run_event, r);
    vm_set_service(vm, "drives", r->table);
    rc = open_objects(r, e);
    if (rc == 0) rc = open_nodes(r, e);
    for (unsigned i = 0; i < o->cfg.drive_count && rc == 0; i++)
        rc = open_drive(r, &o->cfg.drive[i], e);
    return rc;
}

void run_drives_close(struct run_drives *r)
{
    if (r->table != NULL) drive_table_destroy(r->table);
    r->table = NULL;
}
