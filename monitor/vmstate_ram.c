/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main memory in a machine's state: written in pieces of 1 MiB. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"
#include "monitor/vmstate_int.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { HUGE_BYTES = 2 << 20 };

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

size_t vmstate_pack(void *to, size_t cap, const void *from, size_t bytes)
{
#ifdef HAVE_ZSTD
    size_t n = ZSTD_compress(to, cap, from, bytes, 1);

    return ZSTD_isError(n) || n >= bytes ? 0 : n;
#else
    (void)to, (void)cap, (void)from, (void)bytes;
    return 0;
#endif
}

bool vmstate_unpack(void *to, size_t bytes, const void *from, size_t packed)
{
#ifdef HAVE_ZSTD
    return ZSTD_decompress(to, bytes, from, packed) == bytes;
#else
    (void)to, (void)bytes, (void)from, (void)packed;
    return false;
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
        n = vmstate_pack(body + RAM_HEAD_BYTES, w->cap, ram + at, bytes);
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

/* Whole huge pages between from and to, which is written: nobody here reads
 * them again. */
static void give_back(uint8_t *ram, uint64_t from, uint64_t to)
{
    uintptr_t first = (uintptr_t)ram + from, end = (uintptr_t)ram + to;

    first = (first + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
    end &= ~(uintptr_t)(HUGE_BYTES - 1);
    if (first < end) madvise((void *)first, end - first, MADV_DONTNEED);
}

static int write_ram(uint8_t *ram, uint64_t bytes, bool once,
                     vmstate_write_fn write, void *arg,
                     _Atomic uint64_t *progress)
{
    const struct section end = { .type = { 'E', 'N', 'D', ' ' } };
    struct ram_writer w = { .write = write, .arg = arg };
    uint64_t given = 0;
    int rc = 0;

    w.cap = CHUNK_BYTES + CHUNK_BYTES / 128 + 1024;
    w.buf = malloc(w.cap + sizeof(struct section) + RAM_HEAD_BYTES);
    if (w.buf == NULL) return -ENOMEM;
    for (uint64_t at = 0; at < bytes && rc == 0; at += CHUNK_BYTES) {
        uint64_t left = bytes - at;

        if (once && at - given >= 4 * HUGE_BYTES) {
            give_back(ram, given, at);
            given = at - HUGE_BYTES; /* the page across the border, too */
        }
        rc = write_chunk(&w, ram, at,
                         left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
        if (progress != NULL) atomic_store(progress, at);
    }
    if (rc == 0) rc = write(arg, &end, sizeof(end));
    free(w.buf);
    return rc;
}

int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg,
                      _Atomic uint64_t *progress)
{
    return write_ram((uint8_t *)(uintptr_t)ram, bytes, false, write, arg,
                     progress);
}

int vmstate_write_ram_once(uint8_t *ram, uint64_t bytes, vmstate_write_fn write,
                           void *arg, _Atomic uint64_t *progress)
{
    return write_ram(ram, bytes, true, write, arg, progress);
}
