/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main memory in a machine's state: written in pieces of 1 MiB. */
#include "monitor/vmstate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "monitor/vmstate_int.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

/* How much a piece that is worth compressing loses, and how it is guessed:
 * from some octets of it, taken evenly. */
enum { SAMPLES = 16, SAMPLE_BYTES = 1024, MIN_GAIN = 16 };

struct vmstate_packer {
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
    int level;
    uint8_t sample[SAMPLES * SAMPLE_BYTES];
    uint8_t packed[SAMPLES * SAMPLE_BYTES];
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

/* ---------------------------------------------------------------- memory */

void vmstate_packer_set(struct vmstate_packer *p, unsigned gear)
{
    /* Each about half as much work as the one before. */
    static const int levels[VMSTATE_GEARS] = { 1, -4, -20, -60 };

    p->level = levels[gear < VMSTATE_GEARS ? gear : VMSTATE_GEARS - 1];
}

struct vmstate_packer *vmstate_packer_new(void)
{
    struct vmstate_packer *p = calloc(1, sizeof(*p));

    if (p != NULL) vmstate_packer_set(p, 0);
#ifdef HAVE_ZSTD
    if (p != NULL) p->zstd = ZSTD_createCCtx();
    if (p != NULL && p->zstd == NULL) {
        free(p);
        p = NULL;
    }
#endif
    return p;
}

void vmstate_packer_free(struct vmstate_packer *p)
{
#ifdef HAVE_ZSTD
    if (p != NULL) ZSTD_freeCCtx(p->zstd);
#endif
    free(p);
}

static size_t squeeze(struct vmstate_packer *p, void *to, size_t cap,
                      const void *from, size_t bytes)
{
#ifdef HAVE_ZSTD
    size_t n = ZSTD_compressCCtx(p->zstd, to, cap, from, bytes, p->level);

    return ZSTD_isError(n) || n > bytes - bytes / MIN_GAIN ? 0 : n;
#else
    (void)p, (void)to, (void)cap, (void)from, (void)bytes;
    return 0;
#endif
}

/* What is packed or random already is not worth trying. */
static bool may_shrink(struct vmstate_packer *p, const uint8_t *from,
                       size_t bytes)
{
    size_t step = bytes / SAMPLES;

    if (step < 4 * (size_t)SAMPLE_BYTES) return true;
    for (size_t i = 0; i < SAMPLES; i++)
        memcpy(p->sample + i * SAMPLE_BYTES, from + i * step, SAMPLE_BYTES);
    return squeeze(p, p->packed, sizeof(p->packed), p->sample,
                   sizeof(p->sample)) != 0;
}

size_t vmstate_pack_ram(struct vmstate_packer *p, uint8_t *to,
                        const uint8_t *ram, uint64_t at, size_t bytes)
{
    uint8_t *body = to + sizeof(struct section), *data = body + RAM_HEAD_BYTES;
    struct section s = { .type = { 'R', 'A', 'M', ' ' } };
    uint32_t raw = (uint32_t)bytes, how = RAM_ZERO;
    size_t n = 0;

    if (!is_zero(ram + at, bytes)) {
        how = RAM_ZSTD;
        if (may_shrink(p, ram + at, bytes))
            n = squeeze(p, data, CHUNK_BYTES, ram + at, bytes);
        if (n == 0) {
            how = RAM_PLAIN;
            memcpy(data, ram + at, bytes);
            n = bytes;
        }
    }
    memcpy(body, &at, 8);
    memcpy(body + 8, &raw, 4);
    memcpy(body + 12, &how, 4);
    s.bytes = RAM_HEAD_BYTES + n;
    s.crc = vmstate_crc(body, s.bytes);
    memcpy(to, &s, sizeof(s));
    return sizeof(s) + s.bytes;
}

size_t vmstate_pack_end(uint8_t *to)
{
    const struct section end = { .type = { 'E', 'N', 'D', ' ' } };

    memcpy(to, &end, sizeof(end));
    return sizeof(end);
}

int vmstate_write_ram(const uint8_t *ram, uint64_t bytes,
                      vmstate_write_fn write, void *arg)
{
    struct vmstate_packer *p = vmstate_packer_new();
    uint8_t *buf = malloc(VMSTATE_PIECE_ROOM);
    int rc = p == NULL || buf == NULL ? -ENOMEM : 0;

    for (uint64_t at = 0; at < bytes && rc == 0; at += CHUNK_BYTES) {
        uint64_t left = bytes - at;

        left = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        rc = write(arg, buf, vmstate_pack_ram(p, buf, ram, at, (size_t)left));
    }
    if (rc == 0) rc = write(arg, buf, vmstate_pack_end(buf));
    free(buf);
    vmstate_packer_free(p);
    return rc;
}
