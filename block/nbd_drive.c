/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server of a VM: exports what is in its drives. */
#include <errno.h>

#include "block/drive_priv.h"
#include "block/nbd_export.h"

static int need_server(const struct drive_table *t, struct err *e)
{
    if (t != NULL && t->nbd != NULL) return 0;
    return err_set(e, -EINVAL, "NBD server not running");
}

int nbd_drives_start(struct drive_table *t, const char *address,
                     unsigned max_clients, struct err *e)
{
    const struct nbd_server_options o = { .address = address,
                                          .max_clients = max_clients };

    if (t->nbd != NULL) return err_set(e, -EBUSY, "NBD server already running");
    return nbd_server_start(&o, &t->nbd, e);
}

int nbd_drives_add(struct drive_table *t, struct drive *d, const char *name,
                   const char *description, bool is_writable, struct err *e)
{
    struct nbd_export_options x = { .name = name != NULL ? name : d->id,
                                    .description = description,
                                    .blk = d->blk,
                                    .is_writable = is_writable };
    int rc = need_server(t, e);

    if (rc < 0) return rc;
    if (d->blk == NULL)
        return err_set(e, -ENOMEDIUM, "Device '%s' has no medium", d->id);
    return nbd_server_add(t->nbd, &x, e);
}

int nbd_drives_remove(struct drive_table *t, const char *name, struct err *e)
{
    int rc = need_server(t, e);

    return rc < 0 ? rc : nbd_server_remove(t->nbd, name, e);
}

int nbd_drives_stop(struct drive_table *t, struct err *e)
{
    int rc = need_server(t, e);

    if (rc < 0) return rc;
    nbd_server_stop(t->nbd, false);
    t->nbd = NULL;
    return 0;
}
