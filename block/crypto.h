/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_CRYPTO_H
#define ORRERY_BLOCK_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Ciphers over 512-byte sectors and hashes, as encrypted disks use them.  The
 * primitives are the nettle library's; a program built without it refuses with
 * -ENOTSUP wherever one of these is made.  An open cipher does not change: any
 * number of threads may use it at once.
 */
enum { CRYPTO_SECTOR_BYTES = 512, CRYPTO_MAX_KEY = 64, CRYPTO_MAX_DIGEST = 64 };

struct crypto;
struct crypto_hash;

/*
 * cipher: aes, serpent, twofish.  mode as LUKS spells it: xts or cbc, "-", then
 * plain, plain64 or essiv:HASH.  The key is copied.
 */
int crypto_open(const char *cipher, const char *mode, const uint8_t *key,
                size_t key_bytes, struct crypto **out, struct err *e);
void crypto_close(struct crypto *c); /* wipes; NULL: nothing */
/* In place, whole sectors; sector is the number of the first one. */
void crypto_decrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes);
void crypto_encrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes);

/* sha1, sha224, sha256, sha384, sha512, ripemd160 */
int crypto_hash_find(const char *name, const struct crypto_hash **out,
                     struct err *e);
size_t crypto_hash_bytes(const struct crypto_hash *h);
/* Digest of the number (four octets, big endian) and the data behind it. */
int crypto_hash_numbered(const struct crypto_hash *h, uint32_t number,
                         const uint8_t *data, size_t bytes, uint8_t *digest);
/* RFC 8018, 5.2 with HMAC; 0 or -ENOMEM. */
int crypto_pbkdf2(const struct crypto_hash *h, const uint8_t *secret,
                  size_t secret_bytes, const uint8_t *salt, size_t salt_bytes,
                  uint32_t iterations, uint8_t *out, size_t out_bytes);
int crypto_random(void *out, size_t bytes);
/* Same octets?  Takes the same time whatever they are. */
bool crypto_is_equal(const void *a, const void *b, size_t bytes);

#endif
