/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_LUKS_H
#define ORRERY_BLOCK_LUKS_H

#include "block/block_int.h"

/*
 * LUKS1 headers ("LUKS On-Disk Format Specification" 1.2.3): in a qcow2 image
 * (encrypt.format=luks) or in front of a raw disk (format luks).  The header is
 * hostile input: all of it is checked before use.
 */
enum { LUKS_KEY_SLOTS = 8, LUKS_NAME = 32 };

struct luks_slot {
    bool is_active;
    uint32_t iterations, stripes;
    uint8_t salt[32];
    uint64_t offset; /* from the header's start */
};

/* What the header says; for `info` too. */
struct luks_info {
    char cipher[LUKS_NAME + 1]; /* aes */
    char mode[LUKS_NAME + 1];   /* xts-plain64, cbc-essiv:sha256 */
    char hash[LUKS_NAME + 1];
    char uuid[41];
    uint32_t key_bytes;
    uint64_t payload_offset; /* from the header's start */
    uint8_t digest[20], digest_salt[32];
    uint32_t digest_iterations;
    struct luks_slot slot[LUKS_KEY_SLOTS];
};

struct luks;
struct info_sink;
struct secret_table;

/* Header at offset of the file; at most bytes of it (the file's rest). */
int luks_read_info(struct node *file, uint64_t offset, uint64_t bytes,
                   struct luks_info *out, struct err *e);
/* -EACCES: the secret opens no key slot. */
int luks_unlock(struct node *file, uint64_t offset,
                const struct luks_info *info, const uint8_t *secret,
                size_t secret_bytes, struct luks **out, struct err *e);
/* Both, with the secret of an id (NULL: refused with a text that names the
 * option key). */
int luks_open(struct node *file, uint64_t offset, uint64_t bytes,
              const struct secret_table *secrets, const char *secret_id,
              const char *option, struct luks **out, struct err *e);
void luks_close(struct luks *l); /* wipes; NULL: nothing */
const struct luks_info *luks_get_info(const struct luks *l);
/* In place, whole 512-octet sectors; sector is the number of the first.  Any
 * thread, several at once. */
void luks_decrypt(const struct luks *l, uint64_t sector, void *buf,
                  size_t bytes);
void luks_encrypt(const struct luks *l, uint64_t sector, void *buf,
                  size_t bytes);

/* Options of create; NULL or 0: QEMU's defaults (aes-256, xts, plain64,
 * sha256, 2000 ms). */
struct luks_spec {
    const char *cipher_alg, *cipher_mode, *ivgen_alg, *ivgen_hash_alg,
        *hash_alg;
    uint64_t iter_ms;
};
/* Names and combination; length of the header with its key slots (a multiple
 * of 4096; the payload may begin there). */
int luks_header_bytes(const struct luks_spec *s, uint64_t *bytes,
                      struct err *e);
/* Write a header with one key slot; room for luks_header_bytes is there and
 * reads as zeros.  *out, if not NULL: the open cipher. */
int luks_create(struct node *file, uint64_t offset, const struct luks_spec *s,
                const uint8_t *secret, size_t secret_bytes, struct luks **out,
                struct err *e);

/*
 * Fill or erase key slots: options state, new-secret, old-secret, keyslot and
 * iter-time, each behind prefix, with QEMU's rules and texts.  Nothing else may
 * be going on with the image.
 */
struct image_create;
int luks_amend(struct node *file, uint64_t offset, struct luks *l,
               const struct image_create *c, const char *prefix, struct err *e);

/* `info`: cipher, mode, hash, UUID and key slots in QEMU's layout; format: of
 * the encryption, or NULL. */
void luks_describe(const struct luks_info *info, const char *format,
                   struct info_sink *out);

#endif
