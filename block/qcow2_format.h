/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_QCOW2_FORMAT_H
#define ORRERY_BLOCK_QCOW2_FORMAT_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* How a qcow2 file is laid out, and what this driver takes of it. */

enum {
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_MAX_REFCOUNT_ORDER = 6,
    QCOW2_MAX_L1_BYTES = 32 << 20,
    QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_TABLE_BYTES = 64 << 20,
    QCOW2_MAX_BACKING_NAME = 1023,
    QCOW2_HEADER_V2_BYTES = 72,
    QCOW2_HEADER_V3_BYTES = 104, /* without compression type */
    QCOW2_HEADER_BYTES = 112,
    QCOW2_SUBCLUSTERS = 32,
};
#define QCOW2_MAGIC 0x514649fbu

/* Entries of L1 and L2 tables, of the refcount table. */
#define QCOW2_COPIED        (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED    (UINT64_C(1) << 62)
#define QCOW2_ZERO          UINT64_C(1) /* L2, not with extended L2 entries */
#define QCOW2_OFFSET_MASK   UINT64_C(0x00fffffffffffe00)
#define QCOW2_REFTABLE_MASK UINT64_C(0xfffffffffffffe00)

/* Incompatible, compatible, autoclear feature bits. */
#define QCOW2_INCOMPAT_DIRTY       UINT64_C(1)
#define QCOW2_INCOMPAT_CORRUPT     UINT64_C(2)
#define QCOW2_INCOMPAT_DATA_FILE   UINT64_C(4)
#define QCOW2_INCOMPAT_COMPRESSION UINT64_C(8)
#define QCOW2_INCOMPAT_EXTENDED_L2 UINT64_C(16)
#define QCOW2_COMPAT_LAZY          UINT64_C(1)
#define QCOW2_AUTOCLEAR_BITMAPS    UINT64_C(1)

enum { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };
enum { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };

/* Types of header extensions. */
#define QCOW2_EXT_END            0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURES       0x6803f857u
#define QCOW2_EXT_BITMAPS        0x23852875u
#define QCOW2_EXT_CRYPTO         0x0537be77u
#define QCOW2_EXT_DATA_FILE      0x44415441u

/* The header, in host byte order.  Version 2 has no fields from incompatible
 * on: read as 0, refcount_order 4. */
struct qcow2_header {
    uint32_t version;
    uint64_t backing_offset; /* of the name; set by qcow2_header_write */
    uint32_t backing_bytes;
    uint32_t cluster_bits;
    uint64_t size_bytes;
    uint32_t crypt_method;
    uint32_t l1_entries;
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t snapshot_count;
    uint64_t snapshot_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_bytes;
    uint8_t compression_type;
};

/* A header extension other than the backing format, as it is in the file. */
struct qcow2_ext {
    uint32_t type, bytes;
    uint8_t *data; /* owned */
};

/* Numbers in the file are big-endian, at any address. */
static inline uint64_t qcow2_be64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}
static inline void qcow2_put64(void *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}
static inline uint32_t qcow2_be32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}
static inline void qcow2_put32(void *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}
static inline uint16_t qcow2_be16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return be16toh(v);
}
static inline void qcow2_put16(void *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof(v));
}

#endif
