/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_LUKS_INT_H
#define ORRERY_BLOCK_LUKS_INT_H

#include "block/crypto.h"
#include "block/luks.h"

/* Shared by reading (luks.c) and making (luks_create.c) LUKS headers. */

/* Section 4, table 1 and 2: offsets of the fields. */
enum {
    LUKS_MAGIC_BYTES = 6,
    LUKS_AT_VERSION = 6,
    LUKS_AT_CIPHER = 8,
    LUKS_AT_MODE = 40,
    LUKS_AT_HASH = 72,
    LUKS_AT_PAYLOAD = 104,
    LUKS_AT_KEY_BYTES = 108,
    LUKS_AT_DIGEST = 112,
    LUKS_AT_DIGEST_SALT = 132,
    LUKS_AT_DIGEST_ITERATIONS = 164,
    LUKS_AT_UUID = 168,
    LUKS_AT_SLOTS = 208,
    LUKS_SLOT_BYTES = 48,
    LUKS_HEADER_BYTES = 592,

    LUKS_SLOT_ALIGN = 4096,
    LUKS_STRIPES = 4000,
    LUKS_MAX_STRIPES = 8192,
    LUKS_MIN_ITERATIONS = 1000,
    LUKS_MAX_ITERATIONS =
        100000000, /* about a minute: no header hangs us longer */
    LUKS_DIGEST_BYTES = 20,
    LUKS_DEFAULT_ITER_MS = 2000,
    LUKS_MAX_ITER_MS = 60000,
};
#define LUKS_SLOT_ENABLED  0x00ac71f3u
#define LUKS_SLOT_DISABLED 0x0000deadu
#define LUKS_MAGIC         "LUKS\xba\xbe"

struct luks {
    struct luks_info info;
    struct crypto *crypto;
    uint8_t key[CRYPTO_MAX_KEY]; /* the master key, for new key slots */
};

/* Octets of a key slot's contents, in whole sectors. */
uint64_t luks_slot_bytes(const struct luks_info *i, const struct luks_slot *s);
/* Section 2.4: diffused sum of all stripes but the last. */
int luks_sum_stripes(const struct crypto_hash *h, const uint8_t *split,
                     size_t key_bytes, uint32_t stripes, uint8_t *sum);
void luks_xor(uint8_t *to, const uint8_t *from, size_t bytes);
/* An open cipher with the master key. */
int luks_make(const struct luks_info *info, const uint8_t *key,
              struct luks **out, struct err *e);
/* 1: the secret opens this slot, key is the master key then; 0: it does not. */
int luks_try_slot(struct node *file, uint64_t offset,
                  const struct luks_info *info, unsigned slot,
                  const struct crypto_hash *h, const uint8_t *secret,
                  size_t secret_bytes, uint8_t *key, struct err *e);
/* The master key into a slot, split and encrypted with the secret. */
int luks_write_slot(struct node *file, uint64_t offset,
                    const struct luks_info *info, unsigned slot,
                    const struct crypto_hash *h, const uint8_t *secret,
                    size_t secret_bytes, const uint8_t *key, struct err *e);
/* How many iterations this computer makes in the time. */
int luks_measure(const struct crypto_hash *h, size_t key_bytes, uint64_t ms,
                 uint32_t *out);
/* LUKS_SLOT_BYTES of the header. */
void luks_encode_slot(const struct luks_slot *s, uint8_t *out);
void luks_wipe(void *data, size_t bytes); /* and free; NULL: nothing */

#endif
