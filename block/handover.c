/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that change hands while both sides have them open (migration).
 *
 * An inactive blk stands on its image read-only and without locks; what it
 * reads may be out of date.  To activate one means to open the image anew, as
 * the user asked for it: locks are taken, and no metadata of before survive.
 * To inactivate one means to close it properly, so that everything is in the
 * file and the locks are gone.  Devices see neither.
 */
#include "block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/blk_priv.h"
#include "block/drive_priv.h"

/* A copy of what the user asked for; what it points to is its own. */
struct blk_wish {
    struct blk_options o;
    char *file, *format;
    bool is_readonly;
};

/* As it will be when it is active. */
static bool will_be_readonly(const char *file, const struct blk_options *o)
{
    if (o->is_snapshot) return false;
    return o->is_readonly || (o->is_auto_readonly && access(file, W_OK) < 0);
}

struct blk_wish *blk_wish_new(const char *file, const struct blk_options *o)
{
    struct blk_wish *w = calloc(1, sizeof(*w));

    if (w == NULL) return NULL;
    w->o = *o;
    w->o.is_inactive = false;
    w->is_readonly = will_be_readonly(file, o);
    w->file = strdup(file);
    if (o->format != NULL) w->format = strdup(o->format);
    w->o.format = w->format;
    w->o.cache = NULL; /* the blk has it */
    if (w->file != NULL && (o->format == NULL) == (w->format == NULL)) return w;
    blk_wish_free(w);
    return NULL;
}

void blk_wish_free(struct blk_wish *w)
{
    if (w == NULL) return;
    free(w->file);
    free(w->format);
    free(w);
}

bool blk_wish_is_readonly(const struct blk_wish *w)
{
    return w->is_readonly;
}

int blk_open_root(struct blk *b, const char *file, const struct blk_options *o,
                  bool is_inactive, struct node **out, struct err *e)
{
    struct node_options no = { .is_readonly = o->is_readonly || is_inactive,
                               .is_auto_readonly = o->is_auto_readonly,
                               .is_discard = o->passes_discard,
                               .is_unlocked = is_inactive,
                               .is_direct = b->is_direct,
                               .is_unsafe = b->is_unsafe,
                               .secrets = o->secrets };
    struct node_kv kv[BLK_MAX_EXTRA];

    for (unsigned i = 0; i < o->extra_count; i++)
        kv[i] = (struct node_kv){ o->extra[i].key, o->extra[i].value, false };
    no.kv = kv;
    no.kv_count = o->extra_count;
    return node_open_image(file, o->format, true,
                           o->is_snapshot && !is_inactive, &no, out, e);
}

/* The other graph in the place of this one, which is closed. */
static void change_root(struct blk *b, struct node *root)
{
    struct node *old = blk_root(b);

    blk_set_root(b, root);
    node_unref(old);
}

static int open_as_wished(struct blk *b, bool is_inactive, struct node **out,
                          struct err *e)
{
    const struct blk_wish *w = b->wish;
    const struct node *n = b->root;
    struct blk_options o = w->o;
    int rc;

    /* A block job may have put the drive on another image. */
    if (strcmp(n->name, w->file) != 0 && !n->drv->is_filter)
        o.format = n->drv->name;
    rc = blk_open_root(b, n->name, &o, is_inactive, out, e);
    if (rc == 0 && !(*out)->drv->is_filter && (*out)->drv != n->drv) {
        rc = err_set(e, -EIO, "%s: its format was %s, now it is %s", n->name,
                     n->drv->name, (*out)->drv->name);
        node_unref(*out);
    }
    return rc;
}

int blk_open_again(struct blk *b, struct node **out, struct err *e)
{
    if (b->wish != NULL) return open_as_wished(b, true, out, e);
    return err_set(e, -ENOTSUP, "a node of -blockdev");
}

bool blk_is_inactive(const struct blk *b)
{
    return b->is_inactive;
}

int blk_activate(struct blk *b, struct err *e)
{
    struct node *root;
    int rc;

    if (!b->is_inactive) return 0;
    blk_quiesce(b);
    rc = open_as_wished(b, false, &root, e);
    if (rc == 0 && root->size_bytes != b->root->size_bytes) {
        rc = err_set(e, -EIO, "%s: its size changed meanwhile", root->name);
        node_unref(root);
    }
    if (rc == 0) {
        change_root(b, root);
        b->is_inactive = false;
    }
    blk_resume(b);
    return rc;
}

int blk_inactivate(struct blk *b, struct err *e)
{
    struct node *root;
    int rc;

    if (b->is_inactive || b->wish == NULL || b->root->is_readonly) return 0;
    blk_quiesce(b);
    rc = b->is_unsafe ? 0 : node_flush(b->root);
    if (rc < 0) {
        err_set(e, rc, "%s: %s", blk_file(b), strerror(-rc));
    } else {
        rc = open_as_wished(b, true, &root, e);
    }
    if (rc == 0) {
        change_root(b, root);
        b->is_inactive = true;
    }
    blk_resume(b);
    return rc;
}

/* -------------------------------------------------------------- drives */

int drives_check_handover(struct drive_table *t, struct err *e)
{
    if (t->nbd != NULL)
        return err_set(e, -EBUSY,
                       "drives are exported over the network; "
                       "nbd_server_stop first");
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->blk == NULL) continue;
        if (d->job != NULL)
            return err_set(e, -EBUSY, "Device '%s' is in use by a block job",
                           d->id);
        if (blk_held(d->blk) > 0)
            return err_set(e, -EIO,
                           "Device '%s' has a request that failed; mend that "
                           "and say cont first",
                           d->id);
        if (d->blk->wish == NULL && d->blk->root->is_readonly) continue;
        if (d->blk->wish == NULL)
            return err_set(e, -ENOTSUP,
                           "Device '%s' shows a node of -blockdev, which "
                           "cannot go along",
                           d->id);
        if (d->blk->wish->o.is_snapshot)
            return err_set(e, -ENOTSUP,
                           "Device '%s' writes to a temporary file "
                           "(snapshot=on), which cannot go along",
                           d->id);
    }
    return 0;
}

int drives_inactivate(struct drive_table *t, struct err *e)
{
    int rc = 0;

    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        if (d->blk != NULL) rc = blk_inactivate(d->blk, e);
        if (rc < 0) err_prefix(e, "%s", d->id);
    }
    return rc;
}

int drives_activate(struct drive_table *t, struct err *e)
{
    int rc = 0;

    for (struct drive *d = t->first; d != NULL && rc == 0; d = d->next) {
        if (d->blk != NULL) rc = blk_activate(d->blk, e);
        if (rc < 0) err_prefix(e, "%s", d->id);
    }
    return rc;
}

void drives_drain(struct drive_table *t)
{
    for (struct drive *d = t->first; d != NULL; d = d->next) {
        if (d->blk != NULL) blk_drain(d->blk);
    }
}
