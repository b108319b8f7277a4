/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: compressed clusters.  zlib means raw deflate with a window of 4 KiB;
 * zstd means one frame.  Both are followed by rubbish up to a sector's end.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "config.h"

#if HAVE_ZSTD
#include <zstd.h>

#include "block/qcow2_io.h"
#endif

/* With a window of 4 KiB, level 6 makes files 1 % smaller than level 4 and takes
 * half as long again. */
enum { WINDOW_BITS = -12, MEM_LEVEL = 8, LEVEL = 4 };

/*
 * Octets that deflate cannot make smaller, found at a tenth of its cost: all
 * values are about equally frequent (sum of squares; by collision entropy the
 * codes of single octets save less than 0.4 %), and hardly any four octets were
 * there before within the window.
 */
enum { HASH_BITS = 12, MIN_REPEATS = 16 };

static bool is_flat(const uint8_t *src, size_t bytes)
{
    uint32_t count[4][256] = { { 0 } };
    uint64_t squares = 0, all = bytes;

    for (size_t i = 0; i + 4 <= bytes; i += 4) {
        for (unsigned k = 0; k < 4; k++)
            count[k][src[i + k]]++;
    }
    for (unsigned v = 0; v < 256; v++) {
        uint64_t c =
            (uint64_t)count[0][v] + count[1][v] + count[2][v] + count[3][v];

        squares += c * c;
    }
    return squares < all * all / 256 * 65 / 64 + all;
}

static bool has_repeats(const uint8_t *src, size_t bytes)
{
    uint32_t last[1 << HASH_BITS] = { 0 };
    unsigned found = 0;

    for (uint32_t i = 1; i + 4 <= bytes; i++) {
        uint32_t four, before, *slot;

        memcpy(&four, src + i, sizeof(four));
        slot = &last[four * 2654435761u >> (32 - HASH_BITS)];
        memcpy(&before, src + *slot, sizeof(before));
        if (before == four && i - *slot <= 1u << -WINDOW_BITS &&
            ++found == MIN_REPEATS)
            return true;
        *slot = i;
    }
    return false;
}

static int64_t deflate_cluster(void *dst, size_t dst_bytes, const void *src,
                               size_t bytes)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)src,
                   .avail_in = (uInt)bytes,
                   .next_out = dst,
                   .avail_out = (uInt)dst_bytes };
    int rc;

    if (is_flat(src, bytes) && !has_repeats(src, bytes)) return -ENOSPC;
    rc = deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                      Z_DEFAULT_STRATEGY);

    if (rc != Z_OK) return -ENOMEM;
    rc = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return rc == Z_STREAM_END ? (int64_t)(dst_bytes - z.avail_out) : -ENOSPC;
}

static int inflate_cluster(void *dst, size_t dst_bytes, const void *src,
                           size_t bytes)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)src,
                   .avail_in = (uInt)bytes,
                   .next_out = dst,
                   .avail_out = (uInt)dst_bytes };

    if (inflateInit2(&z, WINDOW_BITS) != Z_OK) return -ENOMEM;
    inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return z.avail_out == 0 ? 0 : -EIO;
}

#if HAVE_ZSTD
static int64_t zstd_pack(void *dst, size_t dst_bytes, const void *src,
                         size_t bytes)
{
    size_t made = ZSTD_compress(dst, dst_bytes, src, bytes, 3);

    return ZSTD_isError(made) ? -ENOSPC : (int64_t)made;
}

static int zstd_unpack(void *dst, size_t dst_bytes, const void *src,
                       size_t bytes)
{
    ZSTD_inBuffer in = { src, bytes, 0 };
    ZSTD_outBuffer out = { dst, dst_bytes, 0 };
    ZSTD_DCtx *ctx = ZSTD_createDCtx();

    if (ctx == NULL) return -ENOMEM;
    while (out.pos < out.size) {
        size_t before = in.pos + out.pos;
        size_t rc = ZSTD_decompressStream(ctx, &out, &in);

        if (ZSTD_isError(rc) || in.pos + out.pos == before) break;
    }
    ZSTD_freeDCtx(ctx);
    return out.pos == out.size ? 0 : -EIO;
}
#endif

int64_t qcow2_compress(unsigned type, void *dst, size_t dst_bytes,
                       const void *src, size_t bytes)
{
    if (type == QCOW2_ZLIB) return deflate_cluster(dst, dst_bytes, src, bytes);
#if HAVE_ZSTD
    if (type == QCOW2_ZSTD) return zstd_pack(dst, dst_bytes, src, bytes);
#endif
    return -ENOTSUP;
}

int qcow2_decompress(unsigned type, void *dst, size_t dst_bytes,
                     const void *src, size_t bytes)
{
    if (type == QCOW2_ZLIB) return inflate_cluster(dst, dst_bytes, src, bytes);
#if HAVE_ZSTD
    if (type == QCOW2_ZSTD) return zstd_unpack(dst, dst_bytes, src, bytes);
#endif
    return -ENOTSUP;
}
