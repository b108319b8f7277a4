/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware configuration device, read-only.
 *
 * Document: QEMU's specification docs/specs/fw_cfg.  Selector at port 0x510
 * (16 bits), data at 0x511 (octets), DMA address register at 0x514 (high
 * half) and 0x518 (low half, starts), both big-endian.
 *
 * Keys of files are given out in the order they were added and never change;
 * the directory lists them by name.  A DMA request is fetched once, carried
 * out while the port is written, and can not reach anything but RAM.
 */
#include "hw/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/vm/dma.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

enum {
    FIXED_ITEMS = 0x20,
    MAX_FILES = 128,
    FILE_NAME_BYTES = 56,
    LOCAL_FIRST = 0x8000, /* architecture's own items */
    LOCAL_ITEMS = 16,
    ITEMS = FIXED_ITEMS + MAX_FILES + LOCAL_ITEMS,
    MAX_DIR_BYTES = 4 + MAX_FILES * 64,
    PART_BYTES = 64 << 10, /* copied at a time */
};

/* More zeros than this behind an item's end are an error, not a request. */
#define MAX_FILL_BYTES (256u << 20)

#define ID_TRADITIONAL 1u
#define ID_DMA         2u

/* "QEMU CFG", what the DMA register reads */
#define DMA_SIGNATURE 0x51454d5520434647ull

struct item {
    uint8_t *data; /* NULL: empty, or in a file */
    size_t bytes;
    int file; /* descriptor + 1, or 0 */
    uint64_t file_offset;
};

struct fw_cfg {
    struct dev *d;
    struct item item[ITEMS];
    char name[MAX_FILES][FILE_NAME_BYTES];
    unsigned file_count;
    uint16_t key;
    uint32_t offset;   /* of the next octet in the selected item */
    uint32_t dma_high; /* as written, host order */
};

struct fw_cfg *vm_fw_cfg(struct vm *vm)
{
    return vm_service(vm, "fw_cfg");
}

/* ---- items ---- */

static struct item *find_item(struct fw_cfg *f, uint16_t key)
{
    /* Bit 14 once meant "write" and is ignored. */
    unsigned n = key & 0x3fff;

    if (key & LOCAL_FIRST) {
        return n < LOCAL_ITEMS ? &f->item[FIXED_ITEMS + MAX_FILES + n] : NULL;
    }
    return n < FIXED_ITEMS + MAX_FILES ? &f->item[n] : NULL;
}

static void empty_item(struct item *it)
{
    free(it->data);
    if (it->file) close(it->file - 1);
    *it = (struct item){ 0 };
}

int fw_cfg_take_item(struct fw_cfg *f, uint16_t key, void *data, size_t bytes,
                     struct err *e)
{
    struct item *it = find_item(f, key);

    if (it == NULL || bytes > UINT32_MAX) {
        free(data);
        return err_set(e, -EINVAL, "firmware item 0x%x can not be %zu bytes",
                       key, bytes);
    }
    empty_item(it);
    it->data = data;
    it->bytes = bytes;
    return 0;
}

void fw_cfg_back_item(struct fw_cfg *f, uint16_t key, const char *path,
                      uint64_t offset)
{
    struct item *it = find_item(f, key);
    struct stat st;
    int fd;

    if (it == NULL || it->data == NULL) return;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size < offset + it->bytes) {
        close(fd);
        return;
    }
    free(it->data);
    it->data = NULL;
    it->file = fd + 1;
    it->file_offset = offset;
}

static void *copy_of(const void *data, size_t bytes)
{
    void *p = malloc(bytes != 0 ? bytes : 1);

    if (p != NULL) memcpy(p, data, bytes);
    return p;
}

int fw_cfg_add_item(struct fw_cfg *f, uint16_t key, const void *data,
                    size_t bytes, struct err *e)
{
    void *p = copy_of(data, bytes);

    if (p == NULL) return err_set(e, -ENOMEM, "out of memory");
    return fw_cfg_take_item(f, key, p, bytes, e);
}

int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t v)
{
    v = htole16(v);
    return fw_cfg_add_item(f, key, &v, sizeof(v), NULL);
}

int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t v)
{
    v = htole32(v);
    return fw_cfg_add_item(f, key, &v, sizeof(v), NULL);
}

int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t v)
{
    v = htole64(v);
    return fw_cfg_add_item(f, key, &v, sizeof(v), NULL);
}

/* ---- files ---- */

static int find_file(const struct fw_cfg *f, const char *name)
{
    for (unsigned i = 0; i < f->file_count; i++) {
        if (strcmp(f->name[i], name) == 0) return (int)i;
    }
    return -1;
}

uint16_t fw_cfg_file_key(struct fw_cfg *f, const char *name)
{
    int i = find_file(f, name);

    return i >= 0 ? (uint16_t)(FW_CFG_FILE_FIRST + i) : 0;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const struct fw_cfg *f = arg;

    return strcmp(f->name[*(const unsigned *)a], f->name[*(const unsigned *)b]);
}

/* Directory: be32 count, then per file be32 size, be16 key, 2 reserved
 * octets, name. */
static int make_directory(struct fw_cfg *f, struct err *e)
{
    uint8_t dir[MAX_DIR_BYTES] = { 0 };
    unsigned order[MAX_FILES];
    uint32_t count = htobe32(f->file_count);

    for (unsigned i = 0; i < f->file_count; i++) {
        order[i] = i;
    }
    qsort_r(order, f->file_count, sizeof(order[0]), compare_names, f);
    memcpy(dir, &count, 4);
    for (unsigned i = 0; i < f->file_count; i++) {
        uint8_t *p = dir + 4 + 64 * i;
        unsigned n = order[i];
        uint32_t size = htobe32((uint32_t)f->item[FW_CFG_FILE_FIRST + n].bytes);
        uint16_t key = htobe16((uint16_t)(FW_CFG_FILE_FIRST + n));

        memcpy(p, &size, 4);
        memcpy(p + 4, &key, 2);
        memcpy(p + 8, f->name[n], FILE_NAME_BYTES);
    }
    return fw_cfg_add_item(f, FW_CFG_FILE_DIR, dir,
                           4 + 64 * (size_t)f->file_count, e);
}

int fw_cfg_take_file(struct fw_cfg *f, const char *name, void *data,
                     size_t bytes, struct err *e)
{
    size_t len = strlen(name);
    int rc;

    if (len == 0 || len >= FILE_NAME_BYTES || find_file(f, name) >= 0 ||
        f->file_count >= MAX_FILES) {
        free(data);
        return err_set(e, -EINVAL, "firmware file %s can not be added", name);
    }
    rc = fw_cfg_take_item(f, (uint16_t)(FW_CFG_FILE_FIRST + f->file_count),
                          data, bytes, e);
    if (rc < 0) return rc;
    memset(f->name[f->file_count], 0, FILE_NAME_BYTES);
    memcpy(f->name[f->file_count], name, len);
    f->file_count++;
    return make_directory(f, e);
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data,
                    size_t bytes, struct err *e)
{
    void *p = copy_of(data, bytes);

    if (p == NULL) return err_set(e, -ENOMEM, "out of memory");
    return fw_cfg_take_file(f, name, p, bytes, e);
}

int fw_cfg_replace_file(struct fw_cfg *f, const char *name, const void *data,
                        size_t bytes, struct err *e)
{
    int i = find_file(f, name), rc;

    if (i < 0) return fw_cfg_add_file(f, name, data, bytes, e);
    rc = fw_cfg_add_item(f, (uint16_t)(FW_CFG_FILE_FIRST + i), data, bytes, e);
    return rc < 0 ? rc : make_directory(f, e);
}

/* ---- ports ---- */

static void select_key(struct fw_cfg *f, uint16_t key)
{
    f->key = key;
    f->offset = 0;
}

/* Octets of the selected item that are left. */
static size_t item_left(struct fw_cfg *f)
{
    const struct item *it = find_item(f, f->key);

    return it == NULL || f->offset >= it->bytes ? 0 : it->bytes - f->offset;
}

/* n octets of the selected item, from the offset + at on; what its file no
 * longer has reads as zeros. */
static void item_copy(struct fw_cfg *f, size_t at, uint8_t *to, size_t n)
{
    const struct item *it = find_item(f, f->key);
    uint64_t from = f->offset + (uint64_t)at;

    if (it->data != NULL) {
        memcpy(to, it->data + from, n);
        return;
    }
    while (n > 0) {
        ssize_t k = pread(it->file - 1, to, n, (off_t)(it->file_offset + from));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            log_guest(f->d->id, "the file of item 0x%x is cut short", f->key);
            memset(to, 0, n);
            return;
        }
        to += k;
        from += (uint64_t)k;
        n -= (size_t)k;
    }
}

static uint32_t fw_cfg_read(void *arg, unsigned port, unsigned bytes)
{
    struct fw_cfg *f = arg;
    uint8_t v;

    (void)bytes;
    if (port != 1) return 0;
    if (item_left(f) == 0) return 0;
    item_copy(f, 0, &v, 1);
    f->offset++;
    return v;
}

static void fw_cfg_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct fw_cfg *f = arg;

    /* Data can not be written. */
    if (port == 0 && bytes == 2) select_key(f, (uint16_t)v);
}

static const struct port_ops ports_ops = { fw_cfg_read, fw_cfg_write, 2 };

/* ---- DMA ---- */

/* The access structure in guest memory, big-endian */
struct dma_access {
    uint32_t control, bytes;
    uint64_t addr;
};

static int fill_zeros(struct fw_cfg *f, gpa_t addr, uint64_t bytes)
{
    static const uint8_t zeros[4096];

    while (bytes > 0) {
        size_t n = bytes < sizeof(zeros) ? bytes : sizeof(zeros);
        int rc = dma_write_locked(f->d, addr, zeros, n);

        if (rc < 0) return rc;
        addr += n;
        bytes -= n;
    }
    return 0;
}

static int send_item(struct fw_cfg *f, gpa_t addr, size_t bytes)
{
    uint8_t part[PART_BYTES];

    for (size_t done = 0; done < bytes;) {
        size_t n = bytes - done;
        int rc;

        if (n > sizeof(part)) n = sizeof(part);
        item_copy(f, done, part, n);
        rc = dma_write_locked(f->d, addr + done, part, n);
        if (rc < 0) return rc;
        done += n;
    }
    return 0;
}

static int dma_transfer(struct fw_cfg *f, uint32_t control, uint32_t bytes,
                        gpa_t addr)
{
    size_t left = item_left(f);
    size_t n = bytes < left ? bytes : left;
    int rc;

    if (control & FW_CFG_DMA_READ) {
        if (bytes - n > MAX_FILL_BYTES) return -EINVAL;
        rc = send_item(f, addr, n);
        if (rc == 0) rc = fill_zeros(f, addr + n, bytes - n);
        if (rc < 0) return rc;
    } else if (control & FW_CFG_DMA_WRITE) {
        return -EPERM;
    } else if (!(control & FW_CFG_DMA_SKIP)) {
        return 0;
    }
    f->offset += (uint32_t)n; /* n <= left: can not pass the item's end */
    return 0;
}

static void dma_start(struct fw_cfg *f, gpa_t at)
{
    struct dma_access a;
    uint32_t control, status = 0;

    f->dma_high = 0;
    if (dma_read_locked(f->d, at, &a, sizeof(a)) < 0) return;
    control = be32toh(a.control);
    if (control & FW_CFG_DMA_SELECT) select_key(f, (uint16_t)(control >> 16));
    if (dma_transfer(f, control, be32toh(a.bytes), be64toh(a.addr)) < 0) {
        status = htobe32(FW_CFG_DMA_ERROR);
        log_guest(f->d->id, "DMA of item 0x%x failed", f->key);
    }
    if (dma_write_locked(f->d, at, &status, sizeof(status)) < 0) {
        log_guest(f->d->id, "DMA status can not be written");
    }
}

static uint32_t dma_read(void *arg, unsigned port, unsigned bytes)
{
    uint64_t be = htobe64(DMA_SIGNATURE) >> 8 * port;

    (void)arg;
    (void)bytes;
    return (uint32_t)be;
}

static void dma_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct fw_cfg *f = arg;

    if (bytes != 4) return;
    if (port == 0) f->dma_high = be32toh(v);
    if (port == 4) dma_start(f, (gpa_t)f->dma_high << 32 | be32toh(v));
}

static const struct port_ops dma_ops = { dma_read, dma_write, 4 };

/* ---- device ---- */

static int fw_cfg_create(struct dev *d, struct err *e)
{
    struct fw_cfg *f = d->s;
    int rc;

    f->d = d;
    rc = port_map_locked(d->vm, 0x510, 2, &ports_ops, f, "fwcfg", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0x514, 8, &dma_ops, f, "fwcfg.dma", e);
    if (rc < 0) goto unmap;
    rc = fw_cfg_add_item(f, FW_CFG_SIGNATURE, "QEMU", 4, e);
    if (rc == 0) rc = fw_cfg_add_u32(f, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
    if (rc == 0) rc = make_directory(f, e);
    if (rc == 0) {
        vm_set_service(d->vm, "fw_cfg", f);
        return 0;
    }
    port_unmap_locked(d->vm, 0x514, 8, f);
unmap:
    port_unmap_locked(d->vm, 0x510, 2, f);
    return rc;
}

static void fw_cfg_reset(struct dev *d)
{
    struct fw_cfg *f = d->s;

    select_key(f, 0);
    f->dma_high = 0;
}

static void fw_cfg_destroy(struct dev *d)
{
    struct fw_cfg *f = d->s;

    port_unmap_locked(d->vm, 0x510, 2, f);
    port_unmap_locked(d->vm, 0x514, 8, f);
    vm_set_service(d->vm, "fw_cfg", NULL);
    for (unsigned i = 0; i < ITEMS; i++) {
        empty_item(&f->item[i]);
    }
}

static const struct field fw_cfg_state[] = {
    U16(fw_cfg, key),
    U32(fw_cfg, offset),
    U32(fw_cfg, dma_high),
    STATE_END,
};

const struct dev_class fw_cfg_class = {
    .name = "fw_cfg",
    .title = "firmware configuration",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct fw_cfg),
    .state = fw_cfg_state,
    .version = 1,
    .is_internal = true,
    .create = fw_cfg_create,
    .reset = fw_cfg_reset,
    .destroy = fw_cfg_destroy,
};
