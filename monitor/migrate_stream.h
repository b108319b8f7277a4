/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_MONITOR_MIGRATE_STREAM_H
#define ORRERY_MONITOR_MIGRATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * A machine on its way from one program to another.
 *
 *     "ORRERYMG", version
 *     frames: type (4 letters), CRC-32C, length, octets
 *         HEAD  what the machine is: "key=value" lines
 *         PAGE  up to 256 pages of main memory, any number of times
 *         STAT  CPUs and devices, once: a vmstate stream without memory
 *         END   the sender has let go of the disks
 *     and back, where the sender wants answers:
 *         LOAD  HEAD fits; STAT is in the machine
 *         DONE  the machine has its disks, and runs if it shall
 *         FAIL  why not
 *
 * Numbers are little-endian.  Whoever reads one trusts nothing in it.  Any
 * thread.
 */
typedef int (*migrate_write_fn)(void *arg, const void *data, size_t bytes);
typedef int (*migrate_read_fn)(void *arg, void *data, size_t bytes);

enum {
    MIGRATE_PAGE = 4096,
    MIGRATE_CHUNK_PAGES = 256,
    MIGRATE_CHUNK_BYTES = MIGRATE_PAGE * MIGRATE_CHUNK_PAGES,
    MIGRATE_CHUNK_WORDS = MIGRATE_CHUNK_PAGES / 64,
    MIGRATE_MAX_HEAD = 32 << 10,
    MIGRATE_MAX_STATE = 256 << 20,
    MIGRATE_MAX_TEXT = 300, /* of FAIL */
};

struct migrate_frame {
    char type[4];
    uint32_t crc;
    uint64_t bytes;
};

struct migrate_out {
    migrate_write_fn write;
    void *arg;
    bool is_compressed;
    uint8_t *plain, *packed; /* one chunk; frame, head and data of one */
    size_t packed_cap;
    uint64_t sent_bytes;
    uint64_t zero_pages, normal_pages;
};

int migrate_out_init(struct migrate_out *o, migrate_write_fn write, void *arg,
                     bool is_compressed);
void migrate_out_free(struct migrate_out *o);
int migrate_put_magic(struct migrate_out *o);
int migrate_put_frame(struct migrate_out *o, const char *type, const void *body,
                      size_t bytes);
/*
 * Pages of memory that starts at ram and may change meanwhile: those of the
 * chunk at page base (a multiple of MIGRATE_CHUNK_PAGES) whose bits are set.
 */
int migrate_put_pages(struct migrate_out *o, const uint8_t *ram, uint64_t base,
                      const uint64_t bits[MIGRATE_CHUNK_WORDS]);
int migrate_put_state(struct migrate_out *o, const uint8_t *state, size_t bytes,
                      bool is_running);

struct migrate_in {
    migrate_read_fn read;
    void *arg;
    struct migrate_frame frame;
    uint8_t *body, *scratch; /* of the frame; a chunk's pages */
    size_t body_cap;
};

int migrate_in_init(struct migrate_in *i, migrate_read_fn read, void *arg);
void migrate_in_free(struct migrate_in *i);
/* After the magic was read: the version. */
int migrate_get_version(struct migrate_in *i, struct err *e);
/* The next frame, checked, into i->frame and i->body. */
int migrate_get_frame(struct migrate_in *i, struct err *e);
bool migrate_is_frame(const struct migrate_in *i, const char *type);
/*
 * Put a PAGE frame into memory of that many octets.  used: one bit per page
 * that may hold something but zeros; updated.  (To look would cost more: memory
 * that was read once gets no huge pages when it is written.)
 */
int migrate_apply_pages(struct migrate_in *i, uint8_t *ram, uint64_t ram_bytes,
                        uint64_t *used, struct err *e);
/* Take a STAT frame apart; caller frees *state. */
int migrate_take_state(struct migrate_in *i, uint8_t **state, size_t *bytes,
                       bool *is_running, struct err *e);

extern const char migrate_magic[8];

/* CRC-32C (RFC 3720, appendix B.4); for frames made elsewhere, in tests. */
uint32_t migrate_crc(const void *data, size_t bytes);

#endif
