/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS1 headers: reading and unlocking ("LUKS On-Disk Format
 * Specification" 1.2.3).  All numbers are big endian.
 *
 * The master key lies in each key slot split into `stripes` pieces of its
 * length, all of which are needed to get it back (AF splitter, section 2.4),
 * encrypted with a key that PBKDF2 makes of the secret.
 */
#include "block/luks.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "block/luks_int.h"

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

void luks_wipe(void *data, size_t bytes)
{
    if (data == NULL) return;
    explicit_bzero(data, bytes);
    free(data);
}

/* -------------------------------------------------------------- reading */

/* A name: ended by a zero, printable. */
static int take_name(const uint8_t *at, size_t bytes, char *out,
                     const char *what, struct err *e)
{
    size_t length = strnlen((const char *)at, bytes);

    if (length == bytes)
        return err_set(e, -EINVAL, "LUKS header: %s is not ended", what);
    for (size_t i = 0; i < length; i++) {
        if (!isgraph(at[i]))
            return err_set(e, -EINVAL, "LUKS header: %s is no name", what);
    }
    memcpy(out, at, length);
    out[length] = '\0';
    return 0;
}

uint64_t luks_slot_bytes(const struct luks_info *i, const struct luks_slot *s)
{
    return ((uint64_t)i->key_bytes * s->stripes + BLOCK_SECTOR_BYTES - 1) /
           BLOCK_SECTOR_BYTES * BLOCK_SECTOR_BYTES;
}

static int check_slot(const struct luks_info *info, unsigned index,
                      struct err *e)
{
    const struct luks_slot *s = &info->slot[index];
    uint64_t end = s->offset + luks_slot_bytes(info, s);

    if (s->stripes == 0 || s->stripes > LUKS_MAX_STRIPES)
        return err_set(e, -EINVAL, "LUKS key slot %u: %u stripes", index,
                       s->stripes);
    if (s->iterations == 0 || s->iterations > LUKS_MAX_ITERATIONS)
        return err_set(e, -EINVAL, "LUKS key slot %u: %u iterations", index,
                       s->iterations);
    if (s->offset < LUKS_HEADER_BYTES || end > info->payload_offset)
        return err_set(e, -EINVAL,
                       "LUKS key slot %u lies outside the header area", index);
    for (unsigned i = 0; i < index; i++) {
        const struct luks_slot *o = &info->slot[i];

        if (o->is_active && o->offset < end &&
            s->offset < o->offset + luks_slot_bytes(info, o))
            return err_set(e, -EINVAL, "LUKS key slots %u and %u overlap", i,
                           index);
    }
    return 0;
}

static int decode_slot(const uint8_t *at, struct luks_info *info,
                       unsigned index, struct err *e)
{
    struct luks_slot *s = &info->slot[index];
    uint32_t state = get32(at);

    if (state != LUKS_SLOT_ENABLED && state != LUKS_SLOT_DISABLED)
        return err_set(e, -EINVAL, "LUKS key slot %u: state %#x", index, state);
    s->is_active = state == LUKS_SLOT_ENABLED;
    s->iterations = get32(at + 4);
    memcpy(s->salt, at + 8, sizeof(s->salt));
    s->offset = (uint64_t)get32(at + 40) * BLOCK_SECTOR_BYTES;
    s->stripes = get32(at + 44);
    return s->is_active ? check_slot(info, index, e) : 0;
}

static int decode(const uint8_t *at, struct luks_info *out, uint64_t bytes,
                  struct err *e)
{
    int rc;

    if (memcmp(at, LUKS_MAGIC, LUKS_MAGIC_BYTES) != 0)
        return err_set(e, -EINVAL, "no LUKS header");
    if (at[LUKS_AT_VERSION] != 0 || at[LUKS_AT_VERSION + 1] != 1)
        return err_set(e, -ENOTSUP, "LUKS version %u is not supported, only 1",
                       at[LUKS_AT_VERSION] << 8 | at[LUKS_AT_VERSION + 1]);
    rc =
        take_name(at + LUKS_AT_CIPHER, LUKS_NAME, out->cipher, "the cipher", e);
    if (rc == 0)
        rc = take_name(at + LUKS_AT_MODE, LUKS_NAME, out->mode, "mode", e);
    if (rc == 0)
        rc = take_name(at + LUKS_AT_HASH, LUKS_NAME, out->hash, "hash", e);
    if (rc == 0) rc = take_name(at + LUKS_AT_UUID, 40, out->uuid, "UUID", e);
    if (rc < 0) return rc;
    out->payload_offset =
        (uint64_t)get32(at + LUKS_AT_PAYLOAD) * BLOCK_SECTOR_BYTES;
    out->key_bytes = get32(at + LUKS_AT_KEY_BYTES);
    memcpy(out->digest, at + LUKS_AT_DIGEST, sizeof(out->digest));
    memcpy(out->digest_salt, at + LUKS_AT_DIGEST_SALT,
           sizeof(out->digest_salt));
    out->digest_iterations = get32(at + LUKS_AT_DIGEST_ITERATIONS);
    if (out->key_bytes == 0 || out->key_bytes > CRYPTO_MAX_KEY)
        return err_set(e, -EINVAL, "LUKS header: key of %u octets",
                       out->key_bytes);
    if (out->digest_iterations == 0 ||
        out->digest_iterations > LUKS_MAX_ITERATIONS)
        return err_set(e, -EINVAL, "LUKS header: %u iterations",
                       out->digest_iterations);
    if (out->payload_offset < LUKS_HEADER_BYTES || out->payload_offset > bytes)
        return err_set(e, -EINVAL, "LUKS header: payload at %llu, outside",
                       (unsigned long long)out->payload_offset);
    for (unsigned i = 0; i < LUKS_KEY_SLOTS && rc == 0; i++)
        rc = decode_slot(at + LUKS_AT_SLOTS + LUKS_SLOT_BYTES * i, out, i, e);
    return rc;
}

int luks_read_info(struct node *file, uint64_t offset, uint64_t bytes,
                   struct luks_info *out, struct err *e)
{
    uint8_t header[LUKS_HEADER_BYTES];
    int rc;

    if (bytes < sizeof(header))
        return err_set(e, -EINVAL, "no room for a LUKS header");
    rc = node_pread(file, offset, header, sizeof(header));
    if (rc < 0)
        return err_set(e, rc, "LUKS header cannot be read: %s", strerror(-rc));
    memset(out, 0, sizeof(*out));
    return decode(header, out, bytes, e);
}

/* ---------------------------------------------------------- AF splitter */

/* Each piece of the length of a digest becomes the hash of its number and
 * itself. */
static int diffuse(const struct crypto_hash *h, uint8_t *block, size_t bytes)
{
    size_t step = crypto_hash_bytes(h);
    uint8_t digest[CRYPTO_MAX_DIGEST];
    uint32_t number = 0;
    int rc = 0;

    for (size_t at = 0; at < bytes && rc == 0; at += step) {
        size_t here = bytes - at < step ? bytes - at : step;

        rc = crypto_hash_numbered(h, number++, block + at, here, digest);
        if (rc == 0) memcpy(block + at, digest, here);
    }
    explicit_bzero(digest, sizeof(digest));
    return rc;
}

void luks_xor(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] ^= from[i];
}

/* Diffused sum of all stripes but the last. */
int luks_sum_stripes(const struct crypto_hash *h, const uint8_t *split,
                     size_t key_bytes, uint32_t stripes, uint8_t *sum)
{
    int rc = 0;

    memset(sum, 0, key_bytes);
    for (uint32_t i = 0; i + 1 < stripes && rc == 0; i++) {
        luks_xor(sum, split + (size_t)i * key_bytes, key_bytes);
        rc = diffuse(h, sum, key_bytes);
    }
    return rc;
}

static int merge(const struct crypto_hash *h, const uint8_t *split,
                 size_t key_bytes, uint32_t stripes, uint8_t *key)
{
    int rc = luks_sum_stripes(h, split, key_bytes, stripes, key);

    luks_xor(key, split + (size_t)(stripes - 1) * key_bytes, key_bytes);
    return rc;
}

/* ------------------------------------------------------------ unlocking */

/* The slot's contents into split (luks_slot_bytes), decrypted with the secret. */
static int read_slot(struct node *file, uint64_t offset,
                     const struct luks_info *info, const struct luks_slot *s,
                     const struct crypto_hash *h, const uint8_t *secret,
                     size_t secret_bytes, uint8_t *out, struct err *e)
{
    uint8_t key[CRYPTO_MAX_KEY];
    struct crypto *c = NULL;
    size_t bytes = (size_t)luks_slot_bytes(info, s);
    int rc = crypto_pbkdf2(h, secret, secret_bytes, s->salt, sizeof(s->salt),
                           s->iterations, key, info->key_bytes);

    if (rc < 0) return err_set(e, rc, "out of memory");
    rc = crypto_open(info->cipher, info->mode, key, info->key_bytes, &c, e);
    explicit_bzero(key, sizeof(key));
    if (rc < 0) return rc;
    rc = node_pread(file, offset + s->offset, out, bytes);
    if (rc < 0)
        err_set(e, rc, "LUKS key slot cannot be read: %s", strerror(-rc));
    else
        crypto_decrypt(c, 0, out, bytes);
    crypto_close(c);
    return rc;
}

static int is_master_key(const struct luks_info *info,
                         const struct crypto_hash *h, const uint8_t *key)
{
    uint8_t digest[LUKS_DIGEST_BYTES];
    int rc = crypto_pbkdf2(h, key, info->key_bytes, info->digest_salt,
                           sizeof(info->digest_salt), info->digest_iterations,
                           digest, sizeof(digest));

    if (rc < 0) return rc;
    return crypto_is_equal(digest, info->digest, sizeof(digest));
}

/* 1: this slot gave the key, 0: it did not. */
static int try_slot(struct node *file, uint64_t offset,
                    const struct luks_info *info, const struct luks_slot *s,
                    const struct crypto_hash *h, const uint8_t *secret,
                    size_t secret_bytes, uint8_t *key, struct err *e)
{
    size_t bytes = (size_t)luks_slot_bytes(info, s);
    uint8_t *pieces = calloc(1, bytes);
    int rc;

    if (pieces == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = read_slot(file, offset, info, s, h, secret, secret_bytes, pieces, e);
    if (rc == 0) rc = merge(h, pieces, info->key_bytes, s->stripes, key);
    if (rc == 0) rc = is_master_key(info, h, key);
    luks_wipe(pieces, bytes);
    return rc;
}

int luks_try_slot(struct node *file, uint64_t offset,
                  const struct luks_info *info, unsigned slot,
                  const struct crypto_hash *h, const uint8_t *secret,
                  size_t secret_bytes, uint8_t *key, struct err *e)
{
    return try_slot(file, offset, info, &info->slot[slot], h, secret,
                    secret_bytes, key, e);
}

int luks_make(const struct luks_info *info, const uint8_t *key,
              struct luks **out, struct err *e)
{
    struct luks *l = calloc(1, sizeof(*l));
    int rc;

    if (l == NULL) return err_set(e, -ENOMEM, "out of memory");
    l->info = *info;
    memcpy(l->key, key, info->key_bytes);
    rc = crypto_open(info->cipher, info->mode, key, info->key_bytes, &l->crypto,
                     e);
    if (rc < 0) {
        luks_wipe(l, sizeof(*l));
        return rc;
    }
    *out = l;
    return 0;
}

int luks_unlock(struct node *file, uint64_t offset,
                const struct luks_info *info, const uint8_t *secret,
                size_t secret_bytes, struct luks **out, struct err *e)
{
    const struct crypto_hash *h;
    uint8_t key[CRYPTO_MAX_KEY];
    int rc = crypto_hash_find(info->hash, &h, e);
    int found = 0;

    if (rc < 0) return rc;
    for (unsigned i = 0; i < LUKS_KEY_SLOTS && found == 0; i++) {
        if (info->slot[i].is_active)
            found = try_slot(file, offset, info, &info->slot[i], h, secret,
                             secret_bytes, key, e);
    }
    if (found > 0)
        rc = luks_make(info, key, out, e);
    else if (found == 0)
        rc = err_set(e, -EACCES, "the secret opens none of the key slots");
    else
        rc = found;
    explicit_bzero(key, sizeof(key));
    return rc;
}

int luks_open(struct node *file, uint64_t offset, uint64_t bytes,
              const struct secret_table *secrets, const char *secret_id,
              const char *option, struct luks **out, struct err *e)
{
    struct luks_info info;
    const uint8_t *secret;
    size_t secret_bytes;
    int rc = luks_read_info(file, offset, bytes, &info, e);

    if (rc < 0) return rc;
    if (secret_id == NULL)
        return err_set(e, -ENOKEY,
                       "image is encrypted; give the id of the secret that "
                       "opens it by %s=ID",
                       option);
    rc = secret_find(secrets, secret_id, &secret, &secret_bytes, e);
    if (rc < 0) return rc;
    return luks_unlock(file, offset, &info, secret, secret_bytes, out, e);
}

void luks_close(struct luks *l)
{
    if (l == NULL) return;
    crypto_close(l->crypto);
    luks_wipe(l, sizeof(*l));
}

const struct luks_info *luks_get_info(const struct luks *l)
{
    return &l->info;
}

void luks_decrypt(const struct luks *l, uint64_t sector, void *buf,
                  size_t bytes)
{
    crypto_decrypt(l->crypto, sector, buf, bytes);
}

void luks_encrypt(const struct luks *l, uint64_t sector, void *buf,
                  size_t bytes)
{
    crypto_encrypt(l->crypto, sector, buf, bytes);
}

/* ----------------------------------------------------------- describing */

static void describe_slots(const struct luks_info *info, struct info_sink *out)
{
    out->begin(out->arg, "slots", true);
    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++) {
        const struct luks_slot *s = &info->slot[i];

        out->begin(out->arg, NULL, false);
        out->truth(out->arg, "active", s->is_active);
        if (s->is_active) out->number(out->arg, "iters", s->iterations);
        out->number(out->arg, "key-offset", s->offset);
        if (s->is_active) out->number(out->arg, "stripes", s->stripes);
        out->end(out->arg);
    }
    out->end(out->arg);
}

void luks_describe(const struct luks_info *info, const char *format,
                   struct info_sink *out)
{
    bool is_xts = strncmp(info->mode, "xts-", 4) == 0;
    char alg[2 * LUKS_NAME], chain[LUKS_NAME + 1];
    const char *iv = strchr(info->mode, '-');
    const char *iv_hash = iv == NULL ? NULL : strchr(iv, ':');

    snprintf(alg, sizeof(alg), "%s-%u", info->cipher,
             info->key_bytes * (is_xts ? 4 : 8));
    snprintf(chain, sizeof(chain), "%.*s",
             iv == NULL ? LUKS_NAME : (int)(iv - info->mode), info->mode);
    if (iv != NULL) {
        char name[LUKS_NAME + 1];

        snprintf(name, sizeof(name), "%.*s",
                 iv_hash == NULL ? LUKS_NAME : (int)(iv_hash - iv - 1), iv + 1);
        out->text(out->arg, "ivgen-alg", name);
    }
    out->text(out->arg, "hash-alg", info->hash);
    out->text(out->arg, "cipher-alg", alg);
    out->text(out->arg, "uuid", info->uuid);
    if (iv_hash != NULL) out->text(out->arg, "ivgen-hash-alg", iv_hash + 1);
    if (format != NULL) out->text(out->arg, "format", format);
    out->text(out->arg, "cipher-mode", chain);
    describe_slots(info, out);
    out->number(out->arg, "payload-offset", info->payload_offset);
    out->number(out->arg, "master-key-iters", info->digest_iterations);
}
