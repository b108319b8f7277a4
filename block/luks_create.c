/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS1 headers: making them, with one key slot. */
#include "block/luks_int.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}

static int split(const struct crypto_hash *h, const uint8_t *key,
                 size_t key_bytes, uint32_t stripes, uint8_t *out)
{
    uint8_t *last = out + (size_t)(stripes - 1) * key_bytes;
    int rc = crypto_random(out, (size_t)(stripes - 1) * key_bytes);

    if (rc == 0) rc = luks_sum_stripes(h, out, key_bytes, stripes, last);
    luks_xor(last, key, key_bytes);
    return rc;
}

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
    if (s->iter_ms > LUKS_MAX_ITER_MS)
        return err_set(e, -ERANGE, "iter-time=%llu: at most %d ms",
                       (unsigned long long)s->iter_ms, LUKS_MAX_ITER_MS);
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
    uint64_t bytes =
        ((uint64_t)info->key_bytes * LUKS_STRIPES + LUKS_SLOT_ALIGN - 1) /
        LUKS_SLOT_ALIGN * LUKS_SLOT_ALIGN;

    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++) {
        info->slot[i].offset = LUKS_SLOT_ALIGN + i * bytes;
        info->slot[i].stripes = LUKS_STRIPES;
    }
    info->payload_offset = LUKS_SLOT_ALIGN + LUKS_KEY_SLOTS * bytes;
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

int luks_measure(const struct crypto_hash *h, size_t key_bytes, uint64_t ms,
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
    if (count < LUKS_MIN_ITERATIONS) count = LUKS_MIN_ITERATIONS;
    *out = count > LUKS_MAX_ITERATIONS ? LUKS_MAX_ITERATIONS : (uint32_t)count;
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

void luks_encode_slot(const struct luks_slot *s, uint8_t *out)
{
    put32(out, s->is_active ? LUKS_SLOT_ENABLED : LUKS_SLOT_DISABLED);
    put32(out + 4, s->iterations);
    memcpy(out + 8, s->salt, sizeof(s->salt));
    put32(out + 40, (uint32_t)(s->offset / BLOCK_SECTOR_BYTES));
    put32(out + 44, s->stripes);
}

static void encode(const struct luks_info *info, uint8_t *at)
{
    memset(at, 0, LUKS_HEADER_BYTES);
    memcpy(at, LUKS_MAGIC, LUKS_MAGIC_BYTES);
    at[LUKS_AT_VERSION + 1] = 1;
    memcpy(at + LUKS_AT_CIPHER, info->cipher, strlen(info->cipher));
    memcpy(at + LUKS_AT_MODE, info->mode, strlen(info->mode));
    memcpy(at + LUKS_AT_HASH, info->hash, strlen(info->hash));
    put32(at + LUKS_AT_PAYLOAD,
          (uint32_t)(info->payload_offset / BLOCK_SECTOR_BYTES));
    put32(at + LUKS_AT_KEY_BYTES, info->key_bytes);
    memcpy(at + LUKS_AT_DIGEST, info->digest, sizeof(info->digest));
    memcpy(at + LUKS_AT_DIGEST_SALT, info->digest_salt,
           sizeof(info->digest_salt));
    put32(at + LUKS_AT_DIGEST_ITERATIONS, info->digest_iterations);
    memcpy(at + LUKS_AT_UUID, info->uuid, strlen(info->uuid));
    for (unsigned i = 0; i < LUKS_KEY_SLOTS; i++)
        luks_encode_slot(&info->slot[i],
                         at + LUKS_AT_SLOTS + LUKS_SLOT_BYTES * i);
}

int luks_write_slot(struct node *file, uint64_t offset,
                    const struct luks_info *info, unsigned slot,
                    const struct crypto_hash *h, const uint8_t *secret,
                    size_t secret_bytes, const uint8_t *key, struct err *e)
{
    const struct luks_slot *s = &info->slot[slot];
    size_t bytes = (size_t)luks_slot_bytes(info, s);
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
    luks_wipe(pieces, bytes);
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
    if (rc == 0) rc = luks_measure(h, info->key_bytes, ms, &s->iterations);
    if (rc < 0) return rc;
    s->is_active = true;
    info->digest_iterations = s->iterations / 8;
    if (info->digest_iterations < LUKS_MIN_ITERATIONS)
        info->digest_iterations = LUKS_MIN_ITERATIONS;
    return crypto_pbkdf2(h, key, info->key_bytes, info->digest_salt,
                         sizeof(info->digest_salt), info->digest_iterations,
                         info->digest, sizeof(info->digest));
}

int luks_create(struct node *file, uint64_t offset, const struct luks_spec *s,
                const uint8_t *secret, size_t secret_bytes, struct luks **out,
                struct err *e)
{
    uint8_t key[CRYPTO_MAX_KEY], header[LUKS_HEADER_BYTES];
    const struct crypto_hash *h;
    struct luks_info info;
    int rc = decode_spec(s, &info, e);

    if (rc == 0) rc = crypto_hash_find(info.hash, &h, e);
    if (rc < 0) return rc;
    place_slots(&info);
    rc = crypto_random(key, sizeof(key));
    if (rc == 0)
        rc = fill(&info, h, key,
                  s->iter_ms != 0 ? s->iter_ms : LUKS_DEFAULT_ITER_MS);
    if (rc < 0) {
        err_set(e, rc, "LUKS header: %s", strerror(-rc));
        goto done;
    }
    rc = luks_write_slot(file, offset, &info, 0, h, secret, secret_bytes, key,
                         e);
    if (rc < 0) goto done;
    encode(&info, header);
    rc = node_pwrite(file, offset, header, sizeof(header));
    if (rc < 0)
        err_set(e, rc, "LUKS header cannot be written: %s", strerror(-rc));
    else if (out != NULL)
        rc = luks_make(&info, key, out, e);
done:
    explicit_bzero(key, sizeof(key));
    return rc;
}
