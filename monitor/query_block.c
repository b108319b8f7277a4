/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block and query-blockstats, in QEMU 7.2's shape. */
#include <string.h>

#include "block/block.h"
#include "block/nodes.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

/* A node that no device shows is no drive to others. */
static bool is_hidden(const struct drive *d)
{
    return drive_is_node(d) && drive_device(d) == NULL;
}

static const char *json_id(const struct drive *d)
{
    return drive_is_node(d) ? "" : drive_id(d);
}

int query_block(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct json_out *o = c->json;

    (void)e;
    json_open(o, NULL, '[');
    for (struct drive *d = t != NULL ? drive_next(t, NULL) : NULL; d != NULL;
         d = drive_next(t, d)) {
        const struct drive_ops *ops = drive_get_ops(d);

        if (is_hidden(d)) continue;
        json_open(o, NULL, '{');
        if (drive_device(d) != NULL &&
            (!drive_is_removable(d) || drive_is_cdrom(d)))
            json_str(o, "io-status",
                     drive_blk(d) != NULL ? blk_io_status(drive_blk(d)) : "ok");
        json_str(o, "device", json_id(d));
        json_bool(o, "locked",
                  ops != NULL && ops->is_locked != NULL &&
                      ops->is_locked(ops->arg));
        json_bool(o, "removable", drive_is_removable(d));
        if (drive_blk(d) != NULL) nodes_put_inserted(o, d);
        if (drive_device(d) != NULL) json_str(o, "qdev", drive_device(d));
        if (drive_is_cdrom(d)) json_bool(o, "tray_open", drive_is_tray_open(d));
        json_str(o, "type", "unknown");
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}

int info_block_stats(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");

    (void)e;
    for (struct drive *d = t != NULL ? drive_next(t, NULL) : NULL; d != NULL;
         d = drive_next(t, d)) {
        struct blk_stats s = { .read = { 0 } };

        if (is_hidden(d)) continue;
        if (drive_blk(d) != NULL) blk_get_stats(drive_blk(d), &s);
        fprintf(c->out,
                "%s: rd_bytes=%llu wr_bytes=%llu rd_operations=%llu "
                "wr_operations=%llu flush_operations=%llu "
                "wr_total_time_ns=%llu rd_total_time_ns=%llu "
                "flush_total_time_ns=%llu rd_merged=0 wr_merged=0\n",
                drive_id(d), (unsigned long long)s.read.bytes,
                (unsigned long long)s.write.bytes,
                (unsigned long long)s.read.operations,
                (unsigned long long)s.write.operations,
                (unsigned long long)s.flush.operations,
                (unsigned long long)s.write.total_ns,
                (unsigned long long)s.read.total_ns,
                (unsigned long long)s.flush.total_ns);
    }
    return 0;
}

/* query-nodes */
int query_block_stats(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct json_out *o = c->json;
    bool is_by_node = c->arg[0].number != 0;

    (void)e;
    json_open(o, NULL, '[');
    if (is_by_node && t != NULL) nodes_put_all_stats(o, t);
    for (struct drive *d = t != NULL && !is_by_node ? drive_next(t, NULL)
                                                    : NULL;
         d != NULL; d = drive_next(t, d)) {
        if (is_hidden(d)) continue;
        json_open(o, NULL, '{');
        json_str(o, "device", json_id(d));
        nodes_put_drive_stats(o, d);
        if (drive_device(d) != NULL) json_str(o, "qdev", drive_device(d));
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}
