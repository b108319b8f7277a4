/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main memory in a machine's state: written, checked, put back. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "monitor/vmstate_int.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum {
    RAM_HEAD_BYTES = 16, /* offset, raw length, flags */
    RAM_ZERO = 1,
    RAM_PLAIN = 2,
    RAM_ZSTD = 3,
};

struct ram_writer {
    vmstate_write_fn write;
    void *arg;
    uint8_t *buf; /* section head, RAM head, data */
    size_t cap;
};

static bool is_zero(const uint8_t *p, size_t bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

/* Compress into the buffer; 0: plain is not larger. */
static size_t compress_chunk(struct ram_writer *w, const uint8_t *data,
                             size_t bytes)
{
#ifdef HAVE_ZSTD
    size_t n = ZSTD_compress(w->buf + sizeof(struct section) + RAM_HEAD_BYTES,
                             w->cap, data, bytes, 1);

    return ZSTD_isError(n) || n >= bytes ? 0 : n;
#else
    (void)w, (void)data, (void)bytes;
    return 0;
#endif
}

static int write_chunk(struct ram_writer *w, const uint8_t *ram, uint64_t at,
                       size_t bytes)
{
    uint8_t *body = w->buf + sizeof(struct section);
    struct section s = { .type = { 'R', 'A', 'M', ' ' } };
    uint32_t raw = (uint32_t)bytes, how = RAM_ZERO;
    size_t n = 0;

    if (!is_zero(ram + at, bytes)) {
        n = compress_chunk(w, ram + at, bytes);
        how = n > 0 ? RAM_ZSTD : RAM_PLAIN;
        if (n == 0) {
            memcpy(body + RAM_HEAD_BYTES, ram + at, bytes);
            n = bytes;
        }
    }
    memcpy(body, &at, 8);
    memcpy(body + 8, &raw, 4);
    memcpy(body + 12, &how, 4);
    s.bytes = RAM_HEAD_BYTES + n;
    s.crc = vmstate_crc(body, s.bytes);
    memcpy(w->buf, &s, sizeof(s));
    return w->write(w->arg, w->buf, sizeof(s) + s.bytes);
}

int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg,
                      _Atomic uint64_t *progress)
{
    const struct section end = { .type = { 'E', 'N', 'D', ' ' } };
    struct ram_writer w = { .write = write, .arg = arg };
    int rc = 0;

    w.cap = CHUNK_BYTES + CHUNK_BYTES / 128 + 1024;
    w.buf = malloc(w.cap + sizeof(struct section) + RAM_HEAD_BYTES);
    if (w.buf == NULL) return -ENOMEM;
    for (uint64_t at = 0; at < bytes && rc == 0; at += CHUNK_BYTES) {
        uint64_t left = bytes - at;

        rc = write_chunk(&w, ram, at,
                         left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
        if (progress != NULL) atomic_store(progress, at);
    }
    if (rc == 0) rc = write(arg, &end, sizeof(end));
    free(w.buf);
    return rc;
}

/* --------------------------------------------------------------- memory */

/* Of a section's body. */
struct chunk {
    uint64_t at;
    uint32_t raw, how;
    const uint8_t *data;
    size_t bytes;
};

static int decode_chunk(const struct mem_region *ram, const uint8_t *body,
                        size_t bytes, struct chunk *c, struct err *e)
{
    if (bytes < RAM_HEAD_BYTES) return vmstate_damaged(e, "a piece of memory");
    memcpy(&c->at, body, 8);
    memcpy(&c->raw, body + 8, 4);
    memcpy(&c->how, body + 12, 4);
    c->data = body + RAM_HEAD_BYTES;
    c->bytes = bytes - RAM_HEAD_BYTES;
    if (c->raw > CHUNK_BYTES || c->at > ram->size || c->raw > ram->size - c->at)
        return vmstate_damaged(e, "memory outside of the machine's");
    if (c->how < RAM_ZERO || c->how > RAM_ZSTD ||
        (c->how == RAM_PLAIN && c->bytes != c->raw))
        return vmstate_damaged(e, "a piece of memory");
#ifndef HAVE_ZSTD
    if (c->how == RAM_ZSTD)
        return err_set(e, -ENOTSUP,
                       "the state is compressed with zstd, which this "
                       "program was built without");
#endif
    return 0;
}

static int put_chunk(struct mem_region *ram, const struct chunk *c,
                     struct err *e)
{
    (void)e;
    if (c->how == RAM_PLAIN) memcpy(ram->host + c->at, c->data, c->raw);
#ifdef HAVE_ZSTD
    if (c->how == RAM_ZSTD &&
        ZSTD_decompress(ram->host + c->at, c->raw, c->data, c->bytes) != c->raw)
        return vmstate_damaged(e, "a piece of memory");
#endif
    return 0; /* RAM_ZERO: fresh pages are */
}

typedef int (*chunk_fn)(struct mem_region *ram, const struct chunk *c,
                        struct err *e);

/* All pieces to the end, each given to fn or NULL. */
static int for_each_chunk(struct vm *vm, vmstate_read_fn read, void *arg,
                          chunk_fn fn, struct err *e)
{
    const size_t cap = CHUNK_BYTES + CHUNK_BYTES / 128 + 2048;
    struct mem_region *ram = vm_ram(vm);
    uint8_t *body = malloc(cap);
    int rc = body == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;

    while (rc == 0) {
        struct section s;
        struct chunk c;

        rc = vmstate_read_section(read, arg, &s, cap, e);
        if (rc < 0 || memcmp(s.type, "END ", 4) == 0) break;
        if (memcmp(s.type, "RAM ", 4) != 0)
            rc = vmstate_damaged(e, "a section");
        if (rc == 0) rc = vmstate_read_body(read, arg, &s, body, e);
        if (rc == 0) rc = decode_chunk(ram, body, s.bytes, &c, e);
        if (rc == 0 && fn != NULL) rc = fn(ram, &c, e);
    }
    free(body);
    return rc;
}

int vmstate_verify_ram(struct vm *vm, vmstate_read_fn read, void *arg,
                       struct err *e)
{
    return for_each_chunk(vm, read, arg, NULL, e);
}

int vmstate_load_ram_locked(struct vm *vm, vmstate_read_fn read, void *arg,
                            struct err *e)
{
    struct mem_region *ram = vm_ram(vm);
    int rc;

    vm_park_locked(vm);
    /* What the stream leaves out is zero; fresh pages are, for nothing. */
    madvise(ram->host, ram->size, MADV_DONTNEED);
    rc = for_each_chunk(vm, read, arg, put_chunk, e);
    mem_replaced_locked(vm);
    vm_unpark_locked(vm);
    return rc;
}
