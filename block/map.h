/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_MAP_H
#define ORRERY_BLOCK_MAP_H

#include <pthread.h>

#include "block/block_int.h"
#include "block/image.h"

/*
 * What the formats that are only read have in common: tables in the file say
 * where each piece of the disk lies.  A driver says where one piece is; this
 * reads runs of them, looks through to the backing file and answers
 * node_status.  Tables are read in pages through a small cache, so no table's
 * size, which the image chooses, becomes an allocation.  Any thread.
 */
enum {
    MAP_PAGE_BYTES = 16384,
    MAP_PAGES = 64,
    MAP_MAX_UNPACKED = 4 << 20, /* largest compressed cluster */
    MAP_MAX_STEPS = 4096,       /* pieces looked at in one call */
};

enum map_kind { MAP_ZERO, MAP_DATA, MAP_BACKING, MAP_PACKED };
struct map_range {
    uint64_t bytes; /* > 0, from the offset asked for to where it changes */
    enum map_kind kind;
    struct node *file;    /* DATA, PACKED: NULL: not open (EIO) */
    uint64_t file_offset; /* DATA, PACKED */
    bool is_plain;        /* DATA: holes of the file may tell of zeros */
    /* PACKED: the whole cluster, and where in it the offset is. */
    uint64_t packed_bytes;
    uint32_t cluster_bytes, skip_bytes;
};

struct map;
struct map_ops {
    /* Where offset (below size_bytes) lies.  -EIO: the tables make no sense.
     */
    int (*find)(struct node *n, uint64_t offset, struct map_range *out);
    /* Unpack r's cluster into buf (cluster_bytes); NULL: nothing is packed. */
    int (*unpack)(struct node *n, const struct map_range *r, uint8_t *buf);
};

struct map_page {
    uint64_t number;
    struct node *file; /* NULL: empty */
    uint8_t *data;
};

/* First member of a driver's state. */
struct map {
    const struct map_ops *ops;
    pthread_mutex_t lock; /* guards all below */
    struct map_page pages[MAP_PAGES];
    uint64_t unpacked_at; /* file offset of the cluster in unpacked */
    struct node *unpacked_file;
    uint8_t *unpacked;
};

/* State of bytes octets, its struct map made; NULL: out of memory. */
void *map_create(size_t bytes, const struct map_ops *ops);
void map_destroy(void *state);

/* Octets of a table, through the cache; -EIO past the end of the file. */
int map_table(struct map *m, struct node *file, uint64_t offset, void *buf,
              size_t bytes);

/* Driver functions. */
int map_readv(struct node *n, uint64_t offset, const struct iovec *iov,
              int iovcnt, size_t bytes);
int map_status(struct node *n, uint64_t offset, uint64_t bytes,
               struct node_extent *out);
/* Every piece lies inside the file and can be found. */
int map_check(struct node *n, struct image_check *c, struct err *e);

/* deflate; wbits as in zlib's inflateInit2.  Exactly out_bytes, or -EIO. */
int map_inflate(int wbits, const uint8_t *in, size_t in_bytes, uint8_t *out,
                size_t out_bytes);

/* Little and big end first, from any address. */
uint16_t get_le16(const void *p);
uint32_t get_le32(const void *p);
uint64_t get_le64(const void *p);
uint16_t get_be16(const void *p);
uint32_t get_be32(const void *p);
uint64_t get_be64(const void *p);
bool is_power_of_2(uint64_t v);

extern const struct block_driver block_vdi;
extern const struct block_driver block_vpc;
extern const struct block_driver block_qcow1;
extern const struct block_driver block_vhdx;
extern const struct block_driver block_vmdk;

#endif
