/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block, in QEMU 7.2's shape. */
#include <string.h>
#include <sys/stat.h>

#include "block/block.h"
#include "core/vm/vm.h"
#include "monitor/commands.h"

static void put_cache(struct json_out *o, const struct blk *b)
{
    const char *text = blk_cache_text(b);

    json_open(o, "cache", '{');
    json_bool(o, "no-flush", strstr(text, "ignore flushes") != NULL);
    json_bool(o, "direct", strstr(text, "direct") != NULL);
    json_bool(o, "writeback", strstr(text, "writeback") != NULL);
    json_close(o, '}');
}

static void put_image(struct json_out *o, const struct blk *b)
{
    struct stat st;

    json_open(o, "image", '{');
    json_uint(o, "virtual-size", blk_size_bytes(b));
    json_str(o, "filename", blk_file(b));
    json_str(o, "format", blk_format(b));
    if (stat(blk_file(b), &st) == 0)
        json_uint(o, "actual-size", (uint64_t)st.st_blocks * 512);
    json_bool(o, "dirty-flag", false);
    json_close(o, '}');
}

static void put_medium(struct json_out *o, struct drive *d)
{
    static const char *const limits[] = { "iops", "iops_rd", "iops_wr",
                                          "bps",  "bps_rd",  "bps_wr" };
    const struct blk *b = drive_blk(d);

    json_open(o, "inserted", '{');
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        json_int(o, limits[i], 0);
    json_str(o, "detect_zeroes", "off");
    put_image(o, b);
    json_bool(o, "ro", blk_is_readonly(b));
    json_strf(o, "node-name", "#%s", drive_id(d));
    json_int(o, "backing_file_depth", 0);
    json_str(o, "drv", blk_format(b));
    json_int(o, "write_threshold", 0);
    json_bool(o, "encrypted", false);
    put_cache(o, b);
    json_str(o, "file", blk_file(b));
    json_close(o, '}');
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

        json_open(o, NULL, '{');
        if (!drive_is_removable(d) || drive_is_cdrom(d))
            json_str(o, "io-status", "ok");
        json_str(o, "device", drive_id(d));
        json_bool(o, "locked",
                  ops != NULL && ops->is_locked != NULL &&
                      ops->is_locked(ops->arg));
        json_bool(o, "removable", drive_is_removable(d));
        if (drive_blk(d) != NULL) put_medium(o, d);
        if (drive_device(d) != NULL) json_str(o, "qdev", drive_device(d));
        if (drive_is_cdrom(d))
            json_bool(o, "tray_open",
                      ops != NULL && ops->is_tray_open != NULL &&
                          ops->is_tray_open(ops->arg));
        json_str(o, "type", "unknown");
        json_close(o, '}');
    }
    json_close(o, ']');
    return 0;
}
