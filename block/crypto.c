/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sector ciphers out of nettle's block ciphers.  XTS (IEEE 1619) is made here
 * so that a whole sector goes to the block cipher in one call: its bulk loops
 * keep the processor's AES unit busy, block by block they do not.
 */
#include "block/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "config.h"

int crypto_random(void *out, size_t bytes)
{
    uint8_t *at = out;

    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? -errno : -EIO;
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}

bool crypto_is_equal(const void *a, const void *b, size_t bytes)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t differs = 0;

    for (size_t i = 0; i < bytes; i++)
        differs |= x[i] ^ y[i];
    return differs == 0;
}

#ifdef HAVE_NETTLE

#include <nettle/cbc.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <nettle/ripemd160.h>

enum { BLOCK_BYTES = 16, BLOCKS = CRYPTO_SECTOR_BYTES / BLOCK_BYTES };

/* Block ciphers of 16-octet blocks; the last that fits the key is taken. */
static const struct cipher_name {
    const char *name;
    const struct nettle_cipher *cipher;
} ciphers[] = {
    { "aes", &nettle_aes128 },         { "aes", &nettle_aes192 },
    { "aes", &nettle_aes256 },         { "serpent", &nettle_serpent128 },
    { "serpent", &nettle_serpent192 }, { "serpent", &nettle_serpent256 },
    { "twofish", &nettle_twofish128 }, { "twofish", &nettle_twofish192 },
    { "twofish", &nettle_twofish256 },
};

struct crypto_hash {
    const char *name;
    const struct nettle_hash *hash;
};
static const struct crypto_hash hashes[] = {
    { "sha256", &nettle_sha256 }, { "sha1", &nettle_sha1 },
    { "sha512", &nettle_sha512 }, { "sha384", &nettle_sha384 },
    { "sha224", &nettle_sha224 }, { "ripemd160", &nettle_ripemd160 },
};

/* A cipher with its key, for one direction. */
struct keyed {
    const struct nettle_cipher *cipher;
    void *context;
};

enum iv_kind { IV_PLAIN, IV_PLAIN64, IV_ESSIV };

struct crypto {
    bool is_xts;
    enum iv_kind iv;
    struct keyed encrypt, decrypt;
    struct keyed tweak; /* XTS: second half of the key */
    struct keyed essiv;
};

/* ---------------------------------------------------------------- keys */

static int find_cipher(const char *name, size_t key_bytes,
                       const struct nettle_cipher **out, struct err *e)
{
    for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
        if (strcmp(ciphers[i].name, name) != 0 ||
            ciphers[i].cipher->key_size != key_bytes)
            continue;
        *out = ciphers[i].cipher;
        return 0;
    }
    return err_set(e, -ENOTSUP,
                   "cipher %.31s with a key of %zu bits is not "
                   "supported",
                   name, key_bytes * 8);
}

static int key_set(struct keyed *k, const struct nettle_cipher *cipher,
                   const uint8_t *key, bool is_decrypt)
{
    k->cipher = cipher;
    k->context = calloc(1, cipher->context_size);
    if (k->context == NULL) return -ENOMEM;
    if (is_decrypt)
        cipher->set_decrypt_key(k->context, key);
    else
        cipher->set_encrypt_key(k->context, key);
    return 0;
}

static void key_wipe(struct keyed *k)
{
    if (k->context == NULL) return;
    explicit_bzero(k->context, k->cipher->context_size);
    free(k->context);
    k->context = NULL;
}

/* "xts-plain64", "cbc-essiv:sha256" */
static int parse_mode(struct crypto *c, const char *mode,
                      const struct crypto_hash **essiv, struct err *e)
{
    const char *iv = strchr(mode, '-');
    size_t chain = iv == NULL ? 0 : (size_t)(iv - mode);

    if (chain != 3 ||
        (strncmp(mode, "xts", 3) != 0 && strncmp(mode, "cbc", 3) != 0))
        return err_set(e, -ENOTSUP, "cipher mode '%.31s' is not supported",
                       mode);
    c->is_xts = mode[0] == 'x';
    iv++;
    if (strcmp(iv, "plain") == 0) {
        c->iv = IV_PLAIN;
    } else if (strcmp(iv, "plain64") == 0) {
        c->iv = IV_PLAIN64;
    } else if (strncmp(iv, "essiv:", 6) == 0) {
        c->iv = IV_ESSIV;
        return crypto_hash_find(iv + 6, essiv, e);
    } else {
        return err_set(e, -ENOTSUP, "IV generator '%.31s' is not supported",
                       iv);
    }
    return 0;
}

/* The sector number is encrypted with the hash of the key. */
static int set_essiv(struct crypto *c, const char *cipher,
                     const struct crypto_hash *hash, const uint8_t *key,
                     size_t key_bytes, struct err *e)
{
    const struct nettle_cipher *nc;
    size_t bytes = hash->hash->digest_size;
    uint8_t digest[CRYPTO_MAX_DIGEST];
    void *context;
    int rc = find_cipher(cipher, bytes, &nc, e);

    if (rc < 0) return rc;
    context = calloc(1, hash->hash->context_size);
    if (context == NULL) return err_set(e, -ENOMEM, "out of memory");
    hash->hash->init(context);
    hash->hash->update(context, key_bytes, key);
    hash->hash->digest(context, bytes, digest);
    rc = key_set(&c->essiv, nc, digest, false);
    explicit_bzero(digest, sizeof(digest));
    explicit_bzero(context, hash->hash->context_size);
    free(context);
    return rc < 0 ? err_set(e, rc, "out of memory") : 0;
}

int crypto_open(const char *cipher, const char *mode, const uint8_t *key,
                size_t key_bytes, struct crypto **out, struct err *e)
{
    const struct nettle_cipher *nc;
    const struct crypto_hash *essiv = NULL;
    struct crypto *c = calloc(1, sizeof(*c));
    size_t data_key;
    int rc;

    if (c == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = parse_mode(c, mode, &essiv, e);
    if (rc < 0) goto fail;
    data_key = c->is_xts ? key_bytes / 2 : key_bytes;
    rc = find_cipher(cipher, data_key, &nc, e);
    if (rc < 0) goto fail;
    rc = key_set(&c->encrypt, nc, key, false);
    if (rc == 0) rc = key_set(&c->decrypt, nc, key, true);
    if (rc == 0 && c->is_xts)
        rc = key_set(&c->tweak, nc, key + data_key, false);
    if (rc < 0) err_set(e, rc, "out of memory");
    if (rc == 0 && essiv != NULL)
        rc = set_essiv(c, cipher, essiv, key, key_bytes, e);
    if (rc < 0) goto fail;
    *out = c;
    return 0;
fail:
    crypto_close(c);
    return rc;
}

void crypto_close(struct crypto *c)
{
    if (c == NULL) return;
    key_wipe(&c->encrypt);
    key_wipe(&c->decrypt);
    key_wipe(&c->tweak);
    key_wipe(&c->essiv);
    free(c);
}

/* -------------------------------------------------------------- sectors */

static void run(const struct keyed *k, bool is_decrypt, size_t bytes,
                uint8_t *dst, const uint8_t *src)
{
    if (is_decrypt)
        k->cipher->decrypt(k->context, bytes, dst, src);
    else
        k->cipher->encrypt(k->context, bytes, dst, src);
}

static void make_iv(const struct crypto *c, uint64_t sector, uint8_t *iv)
{
    uint64_t n = c->iv == IV_PLAIN ? (uint32_t)sector : sector;

    memset(iv, 0, BLOCK_BYTES);
    for (unsigned i = 0; i < 8; i++)
        iv[i] = (uint8_t)(n >> 8 * i);
    if (c->iv == IV_ESSIV) run(&c->essiv, false, BLOCK_BYTES, iv, iv);
}

/* The tweak of each block of a sector: times x in GF(2^128). */
static void make_tweaks(const struct crypto *c, uint64_t sector,
                        uint64_t t[2 * BLOCKS])
{
    uint8_t iv[BLOCK_BYTES];

    make_iv(c, sector, iv);
    run(&c->tweak, false, BLOCK_BYTES, (uint8_t *)t, iv);
    for (unsigned i = 2; i < 2 * BLOCKS; i += 2) {
        uint64_t carry = t[i - 1] >> 63;

        t[i] = t[i - 2] << 1 ^ (carry ? 0x87 : 0);
        t[i + 1] = t[i - 1] << 1 | t[i - 2] >> 63;
    }
}

static void xor_words(uint8_t *buf, const uint64_t *words)
{
    for (unsigned i = 0; i < 2 * BLOCKS; i++) {
        uint64_t v;

        memcpy(&v, buf + 8 * i, 8);
        v ^= words[i];
        memcpy(buf + 8 * i, &v, 8);
    }
}

static void do_sector(const struct crypto *c, uint64_t sector, uint8_t *buf,
                      bool is_decrypt)
{
    uint64_t tweaks[2 * BLOCKS];
    uint8_t iv[BLOCK_BYTES];

    if (c->is_xts) {
        make_tweaks(c, sector, tweaks);
        xor_words(buf, tweaks);
        run(is_decrypt ? &c->decrypt : &c->encrypt, is_decrypt,
            CRYPTO_SECTOR_BYTES, buf, buf);
        xor_words(buf, tweaks);
        return;
    }
    make_iv(c, sector, iv);
    if (is_decrypt)
        cbc_decrypt(c->decrypt.context, c->decrypt.cipher->decrypt, BLOCK_BYTES,
                    iv, CRYPTO_SECTOR_BYTES, buf, buf);
    else
        cbc_encrypt(c->encrypt.context, c->encrypt.cipher->encrypt, BLOCK_BYTES,
                    iv, CRYPTO_SECTOR_BYTES, buf, buf);
}

void crypto_decrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes)
{
    uint8_t *at = buf;

    for (; bytes >= CRYPTO_SECTOR_BYTES; bytes -= CRYPTO_SECTOR_BYTES) {
        do_sector(c, sector++, at, true);
        at += CRYPTO_SECTOR_BYTES;
    }
}

void crypto_encrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes)
{
    uint8_t *at = buf;

    for (; bytes >= CRYPTO_SECTOR_BYTES; bytes -= CRYPTO_SECTOR_BYTES) {
        do_sector(c, sector++, at, false);
        at += CRYPTO_SECTOR_BYTES;
    }
}

/* --------------------------------------------------------------- hashes */

int crypto_hash_find(const char *name, const struct crypto_hash **out,
                     struct err *e)
{
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        if (strcmp(hashes[i].name, name) != 0) continue;
        *out = &hashes[i];
        return 0;
    }
    return err_set(e, -ENOTSUP, "hash '%.31s' is not supported", name);
}

size_t crypto_hash_bytes(const struct crypto_hash *h)
{
    return h->hash->digest_size;
}

int crypto_hash_numbered(const struct crypto_hash *h, uint32_t number,
                         const uint8_t *data, size_t bytes, uint8_t *digest)
{
    const uint8_t be[4] = { (uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number };
    void *context = calloc(1, h->hash->context_size);

    if (context == NULL) return -ENOMEM;
    h->hash->init(context);
    h->hash->update(context, sizeof(be), be);
    h->hash->update(context, bytes, data);
    h->hash->digest(context, h->hash->digest_size, digest);
    explicit_bzero(context, h->hash->context_size);
    free(context);
    return 0;
}

struct mac {
    const struct nettle_hash *hash;
    uint8_t *outer, *inner, *state;
};

static void mac_update(void *arg, size_t bytes, const uint8_t *data)
{
    struct mac *m = arg;

    m->hash->update(m->state, bytes, data);
}

static void mac_digest(void *arg, size_t bytes, uint8_t *digest)
{
    struct mac *m = arg;

    hmac_digest(m->outer, m->inner, m->state, m->hash, bytes, digest);
}

int crypto_pbkdf2(const struct crypto_hash *h, const uint8_t *secret,
                  size_t secret_bytes, const uint8_t *salt, size_t salt_bytes,
                  uint32_t iterations, uint8_t *out, size_t out_bytes)
{
    /* Contexts are aligned to 16: sizes are rounded up. */
    size_t one = (h->hash->context_size + 15) / 16 * 16;
    uint8_t *all = calloc(3, one);
    struct mac m = { h->hash, all, all + one, all + 2 * one };

    if (all == NULL) return -ENOMEM;
    hmac_set_key(m.outer, m.inner, m.state, m.hash, secret_bytes, secret);
    pbkdf2(&m, mac_update, mac_digest, h->hash->digest_size, iterations,
           salt_bytes, salt, out_bytes, out);
    explicit_bzero(all, 3 * one);
    free(all);
    return 0;
}

#else

static int refuse(struct err *e)
{
    return err_set(e, -ENOTSUP,
                   "encrypted images need the nettle library, "
                   "which this program was built without");
}

int crypto_open(const char *cipher, const char *mode, const uint8_t *key,
                size_t key_bytes, struct crypto **out, struct err *e)
{
    (void)cipher, (void)mode, (void)key, (void)key_bytes, (void)out;
    return refuse(e);
}

void crypto_close(struct crypto *c)
{
    (void)c;
}

void crypto_decrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes)
{
    (void)c, (void)sector, (void)buf, (void)bytes;
}

void crypto_encrypt(const struct crypto *c, uint64_t sector, void *buf,
                    size_t bytes)
{
    (void)c, (void)sector, (void)buf, (void)bytes;
}

int crypto_hash_find(const char *name, const struct crypto_hash **out,
                     struct err *e)
{
    (void)name, (void)out;
    return refuse(e);
}

size_t crypto_hash_bytes(const struct crypto_hash *h)
{
    (void)h;
    return 0;
}

int crypto_hash_numbered(const struct crypto_hash *h, uint32_t number,
                         const uint8_t *data, size_t bytes, uint8_t *digest)
{
    (void)h, (void)number, (void)data, (void)bytes, (void)digest;
    return -ENOTSUP;
}

int crypto_pbkdf2(const struct crypto_hash *h, const uint8_t *secret,
                  size_t secret_bytes, const uint8_t *salt, size_t salt_bytes,
                  uint32_t iterations, uint8_t *out, size_t out_bytes)
{
    (void)h, (void)secret, (void)secret_bytes, (void)salt, (void)salt_bytes;
    (void)iterations, (void)out, (void)out_bytes;
    return -ENOTSUP;
}

#endif
