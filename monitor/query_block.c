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

static void put_number(struct json_out *o, const char *before, const char *op,
                       const char *after, uint64_t v)
{
    char key[48];

    snprintf(key, sizeof(key), "%s%s%s", before, op, after);
    json_uint(o, key, v);
}

/* Nothing is merged, and what devices refuse never gets here. */
static void put_op(struct json_out *o, const char *op, bool has_bytes,
                   const struct blk_op_stats *s)
{
    put_number(o, "", op, "_operations", s->operations);
    put_number(o, "", op, "_total_time_ns", s->total_ns);
    put_number(o, "failed_", op, "_operations", s->failed);
    put_number(o, "invalid_", op, "_operations", 0);
    if (!has_bytes) return;
    put_number(o, "", op, "_bytes", s->bytes);
    put_number(o, "", op, "_merged", 0);
}

int query_block_stats(struct cmd *c, struct err *e)
{
    struct drive_table *t = vm_service(c->vm, "drives");
    struct json_out *o = c->json;

    (void)e;
    json_open(o, NULL, '[');
    for (struct drive *d = t != NULL ? drive_next(t, NULL) : NULL; d != NULL;
         d = drive_next(t, d)) {
        struct blk_stats s = { .read = { 0 } };
        char node[64];

        if (is_hidden(d)) continue;
        if (drive_blk(d) != NULL) blk_get_stats(drive_blk(d), &s);
        json_open(o, NULL, '{');
        json_str(o, "device", json_id(d));
        if (drive_blk(d) != NULL)
            json_str(o, "node-name", nodes_name_of(d, node, sizeof(node)));
        if (drive_device(d) != NULL) json_str(o, "qdev", drive_device(d));
        json_open(o, "stats", '{');
        put_op(o, "rd", true, &s.read);
        put_op(o, "wr", true, &s.write);
        put_op(o, "unmap", true, &s.discard);
        put_op(o, "flush", false, &s.flush);
        json_int(o, "wr_highest_offset", 0);
        json_bool(o, "account_invalid", true);
        json_bool(o, "account_failed", true);
        json_open(o, "timed_stats", '[');
        json_close(o, ']');
        json_close(o, '}');
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}
