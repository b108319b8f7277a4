/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS1 headers: reading, unlocking, making ("LUKS On-Disk Format
 * Specification" 1.2.3).  All numbers are big endian.
 *
 * The master key lies in each key slot split into `stripes` pieces of its
 * length, all of which are needed to get it back (AF splitter, section 2.4),
 * encrypted with a key that PBKDF2 makes of the secret.
 */
#include "block/luks.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/crypto.h"
#include "block/image.h"

/* Section 4, table 1 and 2: offsets of the fields. */
enum {
    AT_VERSION = 6,
    AT_CIPHER = 8,
    AT_MODE = 40,
    AT_HASH = 72,
    AT_PAYLOAD = 104,
    AT_KEY_BYTES = 108,
    AT_DIGEST = 112,
    AT_DIGEST_SALT = 132,
    AT_DIGEST_ITERATIONS = 164,
    AT_UUID = 168,
    AT_SLOTS = 208,
    SLOT_BYTES = 48,
    HEADER_BYTES = 592,

    SLOT_ALIGN = 4096,
    STRIPES = 4000,
    MAX_STRIPES = 8192,
    MIN_ITERATIONS = 1000,
    MAX_ITERATIONS = 100000000, /* about a minute: no header hangs us longer */
    DIGEST_BYTES = 20,
    DEFAULT_ITER_MS = 2000,
    MAX_ITER_MS = 60000,
};
#define SLOT_ENABLED  0x00ac71f3u
#define SLOT_DISABLED 0x0000deadu
static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

struct luks {
    struct luks_info info;
    struct crypto *crypto;
};

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}

static void wipe_free(void *data, size_t bytes)
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

static uint64_t slot_bytes(const struct luks_info *i, const struct luks_slot *s)
{
    return ((uint64_t)i->key_bytes * s->stripes + BLOCK_SECTOR_BYTES - 1) /
           BLOCK_SECTOR_BYTES * BLOCK_SECTOR_BYTES;
}

static int check_slot(const struct luks_info *info, unsigned index,
                      struct err *e)
{
    const struct luks_slot *s = &info->slot[index];
    uint64_t end = s->offset + slot_bytes(info, s);

    if (s->stripes == 0 || s->stripes > MAX_STRIPES)
        return err_set(e, -EINVAL, "LUKS key slot %u: %u stripes", index,
                       s->stripes);
    if (s->iterations == 0 || s->iterations > MAX_ITERATIONS)
        return err_set(e, -EINVAL, "LUKS key slot %u: %u iterations", index,
                       s->iterations);
    if (s->offset < HEADER_BYTES || end > info->payload_offset)
        return err_set(e, -EINVAL,
                       "LUKS key slot %u lies outside the header area", index);
    for (unsigned i = 0; i < index; i++) {
        const struct luks_slot *o = &info->slot[i];

        if (o->is_active && o->offset < end &&
            s->offset < o->offset + slot_bytes(info, o))
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

    if (state != SLOT_ENABLED && state != SLOT_DISABLED)
        return err_set(e, -EINVAL, "LUKS key slot %u: state %#x", index, state);
    s->is_active = state == SLOT_ENABLED;
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

    if (memcmp(at, magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL, "no LUKS header");
    if (at[AT_VERSION] != 0 || at[AT_VERSION + 1] != 1)
        return err_set(e, -ENOTSUP, "LUKS version %u is not supported, only 1",
                       at[AT_VERSION] << 8 | at[AT_VERSION + 1]);
    rc = take_name(at + AT_CIPHER, LUKS_NAME, out->cipher, "the cipher", e);
    if (rc == 0) rc = take_name(at + AT_MODE, LUKS_NAME, out->mode, "mode", e);
    if (rc == 0) rc = take_name(at + AT_HASH, LUKS_NAME, out->hash, "hash", e);
    if (rc == 0) rc = take_name(at + AT_UUID, 40, out->uuid, "UUID", e);
    if (rc < 0) return rc;
    out->payload_offset = (uint64_t)get32(at + AT_PAYLOAD) * BLOCK_SECTOR_BYTES;
    out->key_bytes = get32(at + AT_KEY_BYTES);
    memcpy(out->digest, at + AT_DIGEST, sizeof(out->digest));
    memcpy(out->digest_salt, at + AT_DIGEST_SALT, sizeof(out->digest_salt));
    out->digest_iterations = get32(at + AT_DIGEST_ITERATIONS);
    if (out->key_bytes == 0 || out->key_bytes > CRYPTO_MAX_KEY)
        return err_set(e, -EINVAL, "LUKS header: key of %u octets",
                       out->key_bytes);
    if (out->digest_iterations == 0 || out->digest_iterations > MAX_ITERATIONS)
        return err_set(e, -EINVAL, "LUKS header: %u iterations",
                       out->digest_iterations);
    if (out->payload_offset < HEADER_BYTES || out->payload_offset > bytes)
        return err_set(e, -EINVAL, "LUKS header: payload at %llu, outside",
                       (unsigned long long)out->payload_offset);
    for (unsigned i = 0; i < LUKS_KEY_SLOTS && rc == 0; i++)
        rc = decode_slot(at + AT_SLOTS + SLOT_BYTES * i, out, i, e);
    return rc;
}

int luks_read_info(struct node *file, uint64_t offset, uint64_t bytes,
                   struct luks_info *out, struct err *e)
{
    uint8_t header[HEADER_BYTES];
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

static void xor_block(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] ^= from[i];
}

/* Diffused sum of all stripes but the last. */
static int sum_stripes(const struct crypto_hash *h, const uint8_t *split,
                       size_t key_bytes, uint32_t stripes, uint8_t *sum)
{
    int rc = 0;

    memset(sum, 0, key_bytes);
    for (uint32_t i = 0; i + 1 < stripes && rc == 0; i++) {
        xor_block(sum, split + (size_t)i * key_bytes, key_bytes);
        rc = diffuse(h, sum, key_bytes);
    }
    return rc;
}

static int merge(const struct crypto_hash *h, const uint8_t *split,
                 size_t key_bytes, uint32_t stripes, uint8_t *key)
{
    int rc = sum_stripes(h, split, key_bytes, stripes, key);

    xor_block(key, split + (size_t)(stripes - 1) * key_bytes, key_bytes);
    return rc;
}

static int split(const struct crypto_hash *h, const uint8_t *key,
                 size_t key_bytes, uint32_t stripes, uint8_t *out)
{
    uint8_t *last = out + (size_t)(stripes - 1) * key_bytes;
    int rc = crypto_random(out, (size_t)(stripes - 1) * key_bytes);

    if (rc == 0) rc = sum_stripes(h, out, key_bytes, stripes, last);
    xor_block(last, key, key_bytes);
    return rc;
}

/* ------------------------------------------------------------ unlocking */

/* The slot's contents into split (slot_bytes), decrypted with the secret. */
static int read_slot(struct node *file, uint64_t offset,
                     const struct luks_info *info, const struct luks_slot *s,
                     const struct crypto_hash *h, const uint8_t *secret,
                     size_t secret_bytes, uint8_t *out, struct err *e)
{
    uint8_t key[CRYPTO_MAX_KEY];
    struct crypto *c = NULL;
    size_t bytes = (size_t)slot_bytes(info, s);
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
    uint8_t digest[DIGEST_BYTES];
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
    size_t bytes = (size_t)slot_bytes(info, s);
    uint8_t *pieces = calloc(1, bytes);
    int rc;

    if (pieces == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = read_slot(file, offset, info, s, h, secret, secret_bytes, pieces, e);
    if (rc == 0) rc = merge(h, pieces, info->key_bytes, s->stripes, key);
    if (rc == 0) rc = is_master_key(info, h, key);
    wipe_free(pieces, bytes);
    return rc;
}

static int make_luks(const struct luks_info *info, const uint8_t *key,
                     struct luks **out, struct err *e)
{
    struct luks *l = calloc(1, sizeof(*l));
    int rc;

    if (l == NULL) return err_set(e, -ENOMEM, "out of memory");
    l->info = *info;
    rc = crypto_open(info->cipher, info->mode, key, info->key_bytes, &l->crypto,
                     e);
    if (rc < 0) {
        free(l);
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
        rc = make_luks(info, key, out, e);
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
        return err_set(e, -EACCES,
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
    free(l);
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

/* --------------------------------------------------------------- making */

static const char *or_text(const char *text, const char *without)
{
    return text != NULL ? text : without;
}

/* "aes-256" is cipher aes with a key of 256 bits, twice that for XTS. */
static int decode_spec(const struct luks_spec *s, struct luks_info *out,
                       struct err *e)
{
    const char *alg = or_text(s->cipher_alg, "aes-256");
    const char *mode = or_text(s->cipher_mode, "xts");
    const char *iv = or_text(s->ivgen_alg, "plain64");
    const char *bits = strrchr(alg, '-');
    unsigned long key_bits = bits == NULL ? 0 : strtoul(bits + 1, NULL, 10);
    struct crypto *c = NULL;
    uint8_t key[CRYPTO_MAX_KEY] = { 0 };
    int rc;

    memset(out, 0, sizeof(*out));
    if (bits == NULL || bits - alg > LUKS_NAME || key_bits < 128 ||
        key_bits > 256)
        return err_set(e, -EINVAL, "cipher algorithm '%s' is not supported",
                       alg);
    if (s->iter_ms > MAX_ITER_MS)
        return err_set(e, -ERANGE, "iter-time=%llu: at most %d ms",
                       (unsigned long long)s->iter_ms, MAX_ITER_MS);
    memcpy(out->cipher, alg, (size_t)(bits - alg));
    out->key_bytes = (uint32_t)(key_bits / 8);
    if (strcmp(mode, "xts") == 0) out->key_bytes *= 2;
    if (strcmp(iv, "essiv") == 0)
        rc = snprintf(out->mode, sizeof(out->mode), "%s-%s:%s", mode, iv,
                      or_text(s->ivgen_hash_alg, "sha256"));
    else
        rc = snprintf(out->mode, sizeof(out->mode), "%s-%s", mode, iv);
    if (rc >= (int)sizeof(out->mode))
        return err_set(e, -EINVAL, "cipher mode '%s' is not supported", mode);
    snprintf(out->hash, sizeof(out->hash), "%s",
             or_text(s->hash_alg, "sha256"));
    rc = crypto_open(out->cipher, out->mode, key, out->key_bytes, &c, e);
    crypto_close(c);
    return rc;
}

/* Where QEMU and cryptsetup put the slots: behind the header's 4096 octets,
 * each in whole 4096s. */
static void place_slots(struct luks_info *info)
{
    uint64_t bytes = ((uint64_t)info->key_bytes * STRIPES + SLOT_ALIGN - 1) /
                     SLOT_ALIGN * SLOT_ALIGN;

    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++) {
        info->slot[i].offset = SLOT_ALIGN + i * bytes;
        info->slot[i].stripes = STRIPES;
    }
    info->payload_offset = SLOT_ALIGN + LUKS_KEY_SLOTS * bytes;
}

int luks_header_bytes(const struct luks_spec *s, uint64_t *bytes, struct err *e)
{
    const struct crypto_hash *h;
    struct luks_info info;
    int rc = decode_spec(s, &info, e);

    if (rc == 0) rc = crypto_hash_find(info.hash, &h, e);
    if (rc < 0) return rc;
    place_slots(&info);
    *bytes = info.payload_offset;
    return 0;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How many iterations this computer makes in the time. */
static int measure(const struct crypto_hash *h, size_t key_bytes, uint64_t ms,
                   uint32_t *out)
{
    static const uint8_t salt[32];
    uint8_t key[CRYPTO_MAX_KEY];
    uint64_t took = 0, count;
    uint32_t n = 4096;
    int rc = 0;

    for (; rc == 0 && n < 1u << 30; n *= 2) {
        uint64_t start = cpu_ns();

        rc = crypto_pbkdf2(h, salt, sizeof(salt), salt, sizeof(salt), n, key,
                           key_bytes);
        took = cpu_ns() - start;
        if (took > 20000000) break;
    }
    if (took == 0) took = 1;
    count = (uint64_t)((double)n / (double)took * (double)ms * 1e6);
    if (count < MIN_ITERATIONS) count = MIN_ITERATIONS;
    *out = count > MAX_ITERATIONS ? MAX_ITERATIONS : (uint32_t)count;
    return rc;
}

/* RFC 9562, version 4 */
static int make_uuid(char *out, size_t cap)
{
    uint8_t u[16];
    int rc = crypto_random(u, sizeof(u));

    u[6] = (u[6] & 0x0f) | 0x40;
    u[8] = (u[8] & 0x3f) | 0x80;
    snprintf(out, cap,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x",
             u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10],
             u[11], u[12], u[13], u[14], u[15]);
    return rc;
}

static void encode(const struct luks_info *info, uint8_t *at)
{
    memset(at, 0, HEADER_BYTES);
    memcpy(at, magic, sizeof(magic));
    at[AT_VERSION + 1] = 1;
    memcpy(at + AT_CIPHER, info->cipher, strlen(info->cipher));
    memcpy(at + AT_MODE, info->mode, strlen(info->mode));
    memcpy(at + AT_HASH, info->hash, strlen(info->hash));
    put32(at + AT_PAYLOAD,
          (uint32_t)(info->payload_offset / BLOCK_SECTOR_BYTES));
    put32(at + AT_KEY_BYTES, info->key_bytes);
    memcpy(at + AT_DIGEST, info->digest, sizeof(info->digest));
    memcpy(at + AT_DIGEST_SALT, info->digest_salt, sizeof(info->digest_salt));
    put32(at + AT_DIGEST_ITERATIONS, info->digest_iterations);
    memcpy(at + AT_UUID, info->uuid, strlen(info->uuid));
    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++) {
        const struct luks_slot *s = &info->slot[i];
        uint8_t *to = at + AT_SLOTS + SLOT_BYTES * i;

        put32(to, s->is_active ? SLOT_ENABLED : SLOT_DISABLED);
        put32(to + 4, s->iterations);
        memcpy(to + 8, s->salt, sizeof(s->salt));
        put32(to + 40, (uint32_t)(s->offset / BLOCK_SECTOR_BYTES));
        put32(to + 44, s->stripes);
    }
}

/* The master key into slot 0, split and encrypted with the secret. */
static int write_slot(struct node *file, uint64_t offset,
                      const struct luks_info *info, const struct crypto_hash *h,
                      const uint8_t *secret, size_t secret_bytes,
                      const uint8_t *key, struct err *e)
{
    const struct luks_slot *s = &info->slot[0];
    size_t bytes = (size_t)slot_bytes(info, s);
    uint8_t *pieces = calloc(1, bytes), slot_key[CRYPTO_MAX_KEY];
    struct crypto *c = NULL;
    int rc;

    if (pieces == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = split(h, key, info->key_bytes, s->stripes, pieces);
    if (rc == 0)
        rc = crypto_pbkdf2(h, secret, secret_bytes, s->salt, sizeof(s->salt),
                           s->iterations, slot_key, info->key_bytes);
    if (rc < 0) {
        err_set(e, rc, "LUKS key slot: %s", strerror(-rc));
        goto out;
    }
    rc =
        crypto_open(info->cipher, info->mode, slot_key, info->key_bytes, &c, e);
    if (rc < 0) goto out;
    crypto_encrypt(c, 0, pieces, bytes);
    rc = node_pwrite(file, offset + s->offset, pieces, bytes);
    if (rc < 0)
        err_set(e, rc, "LUKS key slot cannot be written: %s", strerror(-rc));
out:
    crypto_close(c);
    explicit_bzero(slot_key, sizeof(slot_key));
    wipe_free(pieces, bytes);
    return rc;
}

/* Salts, iterations, digest of the master key. */
static int fill(struct luks_info *info, const struct crypto_hash *h,
                const uint8_t *key, uint64_t ms)
{
    struct luks_slot *s = &info->slot[0];
    int rc = make_uuid(info->uuid, sizeof(info->uuid));

    if (rc == 0) rc = crypto_random(s->salt, sizeof(s->salt));
    if (rc == 0)
        rc = crypto_random(info->digest_salt, sizeof(info->digest_salt));
    if (rc == 0) rc = measure(h, info->key_bytes, ms, &s->iterations);
    if (rc < 0) return rc;
    s->is_active = true;
    info->digest_iterations = s->iterations / 8;
    if (info->digest_iterations < MIN_ITERATIONS)
        info->digest_iterations = MIN_ITERATIONS;
    return crypto_pbkdf2(h, key, info->key_bytes, info->digest_salt,
                         sizeof(info->digest_salt), info->digest_iterations,
                         info->digest, sizeof(info->digest));
}

int luks_create(struct node *file, uint64_t offset, const struct luks_spec *s,
                const uint8_t *secret, size_t secret_bytes, struct luks **out,
                struct err *e)
{
    uint8_t key[CRYPTO_MAX_KEY], header[HEADER_BYTES];
    const struct crypto_hash *h;
    struct luks_info info;
    int rc = decode_spec(s, &info, e);

    if (rc == 0) rc = crypto_hash_find(info.hash, &h, e);
    if (rc < 0) return rc;
    place_slots(&info);
    rc = crypto_random(key, sizeof(key));
    if (rc == 0)
        rc =
            fill(&info, h, key, s->iter_ms != 0 ? s->iter_ms : DEFAULT_ITER_MS);
    if (rc < 0) {
        err_set(e, rc, "LUKS header: %s", strerror(-rc));
        goto done;
    }
    rc = write_slot(file, offset, &info, h, secret, secret_bytes, key, e);
    if (rc < 0) goto done;
    encode(&info, header);
    rc = node_pwrite(file, offset, header, sizeof(header));
    if (rc < 0)
        err_set(e, rc, "LUKS header cannot be written: %s", strerror(-rc));
    else if (out != NULL)
        rc = make_luks(&info, key, out, e);
done:
    explicit_bzero(key, sizeof(key));
    return rc;
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
