/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* Disk images of every format: open, describe, map, read, check, and for
 * qcow2 repair.  The seeds are images by qemu-img. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/image.h"
#include "tests/unit/support/sparse_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_some(struct node *n)
{
    static uint8_t buf[65536];
    uint64_t size = n->size_bytes, step = size / 24 + 1;

    for (uint64_t at = 0; at < size; at += step) {
        size_t here =
            size - at < sizeof(buf) ? (size_t)(size - at) : sizeof(buf);

        if (node_pread(n, at, buf, here) > 0) abort();
    }
}

static void map_some(struct node *n)
{
    uint64_t at = 0, size = n->size_bytes;

    for (unsigned i = 0; i < 64 && at < size; i++) {
        struct node_extent x;

        if (node_status(n, at, size - at, &x) < 0) return;
        if (x.bytes == 0 || x.bytes > size - at) abort();
        at += x.bytes;
    }
}

static void check(struct node *n, unsigned fix)
{
    struct image_check c = { .fix = fix };
    struct image_info i = { .cluster_bytes = 0 };
    struct err e = ERR_INIT;

    if (n->drv->info != NULL) n->drv->info(n, &i);
    /* A table of the size of the disk would take all the time. */
    if (n->drv->check != NULL && n->size_bytes < 1ull << 34)
        n->drv->check(n, &c, &e);
}

static void try_open(const char *path, const char *format, unsigned fix)
{
    struct node_options o = { .is_readonly = fix == 0,
                              .is_no_backing = true,
                              .is_check = fix != 0 };
    struct err e = ERR_INIT;
    struct node *n;

    if (node_open_image(path, format, false, false, &o, &n, &e) < 0) {
        if (e.text[0] == '\0') abort(); /* says nothing */
        return;
    }
    map_some(n);
    read_some(n);
    check(n, fix);
    node_unref(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *format;
    char path[64];
    int fd = sparse_image_open(data, bytes, path, &format);

    if (fd < 0) return 0;
    if (bytes > 5 && !(data[4] & 0x80)) sparse_image_fix(fd, format);
    try_open(path, format, 0);
    if (strcmp(format, "qcow2") == 0)
        try_open(path, format, IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS);
    close(fd);
    return 0;
}
