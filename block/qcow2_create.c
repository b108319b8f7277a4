/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New qcow2 images.  The whole layout is computed first, so that the file is
 * written once, front to back: refcount table, refcount blocks, L1 table, LUKS
 * header, then with preallocation all L2 tables and the data; the header of the
 * image comes last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_ops.h"
#include "config.h"

static const char *const compat_words[] = { "0.10", "1.1", "v2", "v3", NULL };
static const char *const compression_words[] = { "zlib",
#ifdef HAVE_ZSTD
                                                 "zstd",
#endif
                                                 NULL };
static const char *const prealloc_words[] = { "off", "metadata", "falloc",
                                              "full", NULL };

const struct image_create_opt qcow2_create_opts[] = {
    /* clang-format off */
    { "backing_file", IMAGE_TEXT, "File name of a base image",
      NULL, 0, 0, true },
    { "backing_fmt", IMAGE_TEXT, "Image format of the base image",
      NULL, 0, 0, true },
    { "cluster_size", IMAGE_SIZE, "qcow2 cluster size",
      NULL, 1u << QCOW2_MIN_CLUSTER_BITS, 1u << QCOW2_MAX_CLUSTER_BITS,
      false },
    { "compat", IMAGE_TEXT, "Compatibility level (v2 [0.10] or v3 [1.1])",
      compat_words, 0, 0, true },
    { "compression_type", IMAGE_TEXT,
      "Compression method used for image cluster compression",
      compression_words, 0, 0, false },
    { "encrypt.cipher-alg", IMAGE_TEXT, "Name of encryption cipher algorithm",
      NULL, 0, 0, false },
    { "encrypt.cipher-mode", IMAGE_TEXT, "Name of encryption cipher mode",
      NULL, 0, 0, false },
    { "encrypt.format", IMAGE_TEXT, "Encrypt the image, format choices: 'luks'",
      NULL, 0, 0, false },
    { "encrypt.hash-alg", IMAGE_TEXT, "Name of encryption hash algorithm",
      NULL, 0, 0, false },
    { "encrypt.iter-time", IMAGE_NUMBER,
      "Time to spend in PBKDF in milliseconds", NULL, 0, 0, false },
    { "encrypt.ivgen-alg", IMAGE_TEXT, "Name of IV generator algorithm",
      NULL, 0, 0, false },
    { "encrypt.ivgen-hash-alg", IMAGE_TEXT,
      "Name of IV generator hash algorithm", NULL, 0, 0, false },
    { "encrypt.key-secret", IMAGE_TEXT,
      "ID of secret providing the LUKS passphrase", NULL, 0, 0, false },
    { "encryption", IMAGE_BOOL,
      "Encrypt the image with format 'aes' (not supported, use "
      "encrypt.format=luks)", NULL, 0, 0, false },
    { "extended_l2", IMAGE_BOOL, "Extended L2 tables", NULL, 0, 0, false },
    { "extent_size_hint", IMAGE_SIZE,
      "Extent size hint for the image file, 0 to disable",
      NULL, 0, UINT32_MAX, false },
    { "lazy_refcounts", IMAGE_BOOL, "Postpone refcount updates",
      NULL, 0, 0, true },
    { "nocow", IMAGE_BOOL,
      "Turn off copy-on-write (valid only on btrfs)", NULL, 0, 0, false },
    { "preallocation", IMAGE_TEXT,
      "Preallocation mode (allowed values: off, metadata, falloc, full)",
      prealloc_words, 0, 0, false },
    { "refcount_bits", IMAGE_NUMBER, "Width of a reference count entry in bits",
      NULL, 0, 0, true },
    { "size", IMAGE_SIZE, "Virtual disk size", NULL, 0, 0, true },
    { NULL, IMAGE_TEXT, NULL, NULL, 0, 0, false },
    /* clang-format on */
};

/* -------------------------------------------------------------- options */

static unsigned log2_of(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0 ? (unsigned)__builtin_ctzll(v) : 64;
}

/* What version 2 cannot have. */
static int check_v2(const struct qcow2_plan *p, struct err *e)
{
    const char *what = NULL;

    if (p->h.compatible & QCOW2_COMPAT_LAZY) what = "lazy_refcounts=on";
    if (p->is_extended) what = "extended_l2=on";
    if (p->h.compression_type != QCOW2_ZLIB) what = "compression_type=zstd";
    if (p->h.refcount_order != 4) what = "refcount_bits other than 16";
    if (p->h.version >= 3 || what == NULL) return 0;
    return err_set(e, -EINVAL, "%s needs compat=1.1 or later", what);
}

static int plan_encryption(const struct image_create *c, struct qcow2_plan *p,
                           struct err *e)
{
    const char *format = image_opt_text(c, "encrypt.format");

    p->luks = (struct luks_spec){
        .cipher_alg = image_opt_text(c, "encrypt.cipher-alg"),
        .cipher_mode = image_opt_text(c, "encrypt.cipher-mode"),
        .ivgen_alg = image_opt_text(c, "encrypt.ivgen-alg"),
        .ivgen_hash_alg = image_opt_text(c, "encrypt.ivgen-hash-alg"),
        .hash_alg = image_opt_text(c, "encrypt.hash-alg"),
        .iter_ms = image_opt_u64(c, "encrypt.iter-time", 0),
    };
    if (image_opt_bool(c, "encryption", false) ||
        (format != NULL && strcmp(format, "aes") == 0))
        return err_set(e, -ENOTSUP,
                       "encryption format 'aes' is broken and not "
                       "supported; use encrypt.format=luks");
    if (format == NULL) {
        for (const char *const *o = c->pairs; o != NULL && *o != NULL; o += 2) {
            if (strncmp(*o, "encrypt.", 8) == 0)
                return err_set(e, -EINVAL, "%s needs encrypt.format", *o);
        }
        return 0;
    }
    if (strcmp(format, "luks") != 0)
        return err_set(e, -EINVAL, "encrypt.format=%s: must be luks", format);
    p->is_encrypted = true;
    p->h.crypt_method = QCOW2_CRYPT_LUKS;
    return luks_header_bytes(&p->luks, &p->luks_bytes, e);
}

static int plan_preallocation(const struct image_create *c,
                              struct qcow2_plan *p, struct err *e)
{
    const char *how = image_opt_text(c, "preallocation");

    for (unsigned i = 0; how != NULL && prealloc_words[i] != NULL; i++) {
        if (strcmp(how, prealloc_words[i]) == 0)
            p->prealloc = (enum qcow2_prealloc)i;
    }
    if (p->prealloc != QCOW2_PREALLOC_OFF && !p->is_extended &&
        image_opt_text(c, "backing_file") != NULL)
        return err_set(e, -EINVAL,
                       "backing file and preallocation can only be "
                       "used together if extended_l2 is on");
    return 0;
}

static bool is_v2(const struct image_create *c)
{
    const char *compat = image_opt_text(c, "compat");

    return compat != NULL &&
           (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0);
}

int qcow2_plan_options(const struct image_create *c, struct qcow2_plan *p,
                       struct err *e)
{
    const char *compression = image_opt_text(c, "compression_type");
    uint64_t cluster = image_opt_u64(c, "cluster_size", 65536);
    int rc;

    memset(p, 0, sizeof(*p));
    p->h.version = is_v2(c) ? 2 : 3;
    p->h.header_bytes =
        p->h.version == 2 ? QCOW2_HEADER_V2_BYTES : QCOW2_HEADER_BYTES;
    p->h.cluster_bits = log2_of(cluster);
    p->h.refcount_order = log2_of(image_opt_u64(c, "refcount_bits", 16));
    if (p->h.cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        p->h.cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return err_set(e, -EINVAL,
                       "cluster_size=%llu: must be a power of two "
                       "between 512 and 2048k",
                       (unsigned long long)cluster);
    if (p->h.refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
        return err_set(e, -EINVAL,
                       "refcount_bits=%s: must be a power of two "
                       "and at most 64",
                       image_opt_text(c, "refcount_bits"));
    if (image_opt_bool(c, "lazy_refcounts", false))
        p->h.compatible |= QCOW2_COMPAT_LAZY;
    p->is_extended = image_opt_bool(c, "extended_l2", false);
    if (p->is_extended) p->h.incompatible |= QCOW2_INCOMPAT_EXTENDED_L2;
    if (compression != NULL && strcmp(compression, "zstd") == 0) {
        p->h.compression_type = QCOW2_ZSTD;
        p->h.incompatible |= QCOW2_INCOMPAT_COMPRESSION;
    }
    rc = check_v2(p, e);
    if (rc < 0) return rc;
    if (p->is_extended && p->h.cluster_bits < 14)
        return err_set(e, -EINVAL,
                       "extended_l2=on needs a cluster_size of at "
                       "least 16384");
    if (image_opt_text(c, "backing_fmt") != NULL &&
        image_opt_text(c, "backing_file") == NULL)
        return err_set(e, -EINVAL, "backing_fmt needs backing_file");
    rc = plan_preallocation(c, p, e);
    return rc < 0 ? rc : plan_encryption(c, p, e);
}

/* --------------------------------------------------------------- layout */

static uint64_t ceil_shift(uint64_t v, unsigned bits)
{
    return (v >> bits) + ((v & ((UINT64_C(1) << bits) - 1)) != 0);
}

int qcow2_plan_layout(struct qcow2_plan *p, uint64_t size_bytes, bool with_data,
                      struct err *e)
{
    unsigned bits = p->h.cluster_bits,
             l2_bits = bits - (p->is_extended ? 4 : 3);
    unsigned refblock_bits = bits + 3 - p->h.refcount_order;
    uint64_t l1_entries, others, last;

    if (size_bytes > INT64_MAX - 511)
        return err_set(e, -EFBIG, "image size too large");
    size_bytes = (size_bytes + 511) & ~UINT64_C(511);
    p->h.size_bytes = size_bytes;
    l1_entries = ceil_shift(size_bytes, bits + l2_bits);
    if (l1_entries > QCOW2_MAX_L1_BYTES / 8)
        return err_set(e, -EFBIG,
                       "image size too large for the cluster size; "
                       "use a larger cluster_size");
    if (l1_entries == 0) l1_entries = 1;
    p->h.l1_entries = (uint32_t)l1_entries;
    p->l1 = ceil_shift(l1_entries * 8, bits);
    p->crypto = p->is_encrypted ? ceil_shift(p->luks_bytes, bits) : 0;
    p->data = with_data ? ceil_shift(size_bytes, bits) : 0;
    p->l2 = ceil_shift(p->data, l2_bits);
    /* Refcount blocks count themselves and the table. */
    others = 1 + p->l1 + p->crypto + p->l2 + p->data;
    p->reftable = p->refblocks = p->total = 0;
    do {
        last = p->total;
        p->total = others + p->reftable + p->refblocks;
        p->refblocks = ceil_shift(p->total, refblock_bits);
        p->reftable = ceil_shift(p->refblocks * 8, bits);
    } while (p->total != last ||
             p->total != others + p->reftable + p->refblocks);
    if (p->reftable << bits > QCOW2_MAX_REFTABLE_BYTES)
        return err_set(e, -EFBIG,
                       "image size too large for the cluster size; "
                       "use a larger cluster_size");
    p->h.reftable_offset = UINT64_C(1) << bits;
    p->h.reftable_clusters = (uint32_t)p->reftable;
    p->h.l1_offset = (1 + p->reftable + p->refblocks) << bits;
    return 0;
}

/* -------------------------------------------------------------- writing */

enum { STREAM_BYTES = 1 << 20 };

/* Numbers written one behind the other. */
struct stream {
    struct node *file;
    uint64_t offset; /* of buf in the file */
    uint8_t *buf;
    size_t used;
    int rc;
};

static void stream_flush(struct stream *s)
{
    if (s->rc == 0) s->rc = node_pwrite(s->file, s->offset, s->buf, s->used);
    s->offset += s->used;
    s->used = 0;
}

static void stream_put64(struct stream *s, uint64_t v)
{
    if (s->used == STREAM_BYTES) stream_flush(s);
    qcow2_put64(s->buf + s->used, v);
    s->used += 8;
}

static void stream_align(struct stream *s, unsigned bits)
{
    uint64_t mask = (UINT64_C(1) << bits) - 1;

    while (((s->offset + s->used) & mask) != 0)
        stream_put64(s, 0);
}

/* Refcounts of 1 for all clusters, as 64-bit numbers of several refcounts; the
 * last number may hold fewer. */
static void put_refcounts(struct stream *s, const struct qcow2_plan *p)
{
    unsigned order = p->h.refcount_order, each = 64u >> order;
    uint8_t word[8];

    for (uint64_t done = 0; done < p->total; done += each) {
        memset(word, 0, sizeof(word));
        for (unsigned i = 0; i < each && done + i < p->total; i++)
            qcow2_refcount_set_entry(word, order, i, 1);
        stream_put64(s, qcow2_be64(word));
    }
}

static void put_l2(struct stream *s, const struct qcow2_plan *p, uint64_t first)
{
    for (uint64_t i = 0; i < p->data; i++) {
        stream_put64(s, (first + i) << p->h.cluster_bits | QCOW2_COPIED);
        /* The place is kept; what a backing file has there is shown. */
        if (p->is_extended) stream_put64(s, 0);
    }
}

static int write_tables(struct node *file, const struct qcow2_plan *p)
{
    unsigned bits = p->h.cluster_bits;
    uint64_t l2_first = 1 + p->reftable + p->refblocks + p->l1 + p->crypto;
    struct stream s = { .file = file, .offset = p->h.reftable_offset };

    s.buf = malloc(STREAM_BYTES);
    if (s.buf == NULL) return -ENOMEM;
    for (uint64_t i = 0; i < p->refblocks; i++)
        stream_put64(&s, (1 + p->reftable + i) << bits);
    stream_align(&s, bits);
    put_refcounts(&s, p);
    stream_align(&s, bits);
    for (uint64_t i = 0; i < p->l2; i++)
        stream_put64(&s, (l2_first + i) << bits | QCOW2_COPIED);
    if (p->l2 == 0) stream_put64(&s, 0);
    stream_align(&s, bits);
    stream_flush(&s);
    if (p->l2 != 0) {
        s.offset = l2_first << bits;
        put_l2(&s, p, l2_first + p->l2);
        stream_align(&s, bits);
        stream_flush(&s);
    }
    free(s.buf);
    return s.rc;
}

static int write_crypto(struct node *file, const struct image_create *c,
                        const struct qcow2_plan *p, uint8_t ext[16],
                        struct err *e)
{
    uint64_t offset = (1 + p->reftable + p->refblocks + p->l1)
                      << p->h.cluster_bits;
    const uint8_t *secret;
    size_t secret_bytes;
    int rc = secret_find(c->secrets, image_opt_text(c, "encrypt.key-secret"),
                         &secret, &secret_bytes, e);

    if (rc < 0) return rc;
    qcow2_put64(ext, offset);
    qcow2_put64(ext + 8, p->luks_bytes);
    return luks_create(file, offset, &p->luks, secret, secret_bytes, NULL, e);
}

static int write_header(struct node *file, const struct image_create *c,
                        struct qcow2_plan *p, uint8_t *crypto, struct err *e)
{
    uint8_t names[512];
    struct qcow2_ext ext[2];
    unsigned count = 0;
    int rc;

    if (p->is_encrypted)
        ext[count++] = (struct qcow2_ext){ QCOW2_EXT_CRYPTO, 16, crypto };
    if (p->h.version >= 3) {
        ext[count] = (struct qcow2_ext){ QCOW2_EXT_FEATURES, 0, names };
        ext[count++].bytes = qcow2_feature_names(names);
    }
    rc = qcow2_header_write(file, &p->h, ext, count,
                            image_opt_text(c, "backing_file"),
                            image_opt_text(c, "backing_fmt"));
    /* The names of features are a help to others, no more. */
    if (rc == -ENOSPC && p->h.version >= 3)
        rc = qcow2_header_write(file, &p->h, ext, count - 1,
                                image_opt_text(c, "backing_file"),
                                image_opt_text(c, "backing_fmt"));
    if (rc == -ENOSPC)
        return err_set(e, rc,
                       "backing file name is too long for the cluster "
                       "size");
    return rc;
}

static int write_image(struct node *file, const struct image_create *c,
                       struct qcow2_plan *p, struct err *e)
{
    const char *how = p->prealloc == QCOW2_PREALLOC_FALLOC ? "falloc"
                      : p->prealloc == QCOW2_PREALLOC_FULL ? "full"
                                                           : "off";
    uint8_t crypto[16] = { 0 };
    int rc = node_truncate(file, p->total << p->h.cluster_bits, how, true, e);

    if (rc < 0) return rc;
    rc = image_progress(c->progress, 0, 1);
    if (rc == 0) rc = write_tables(file, p);
    if (rc == 0 && p->is_encrypted) rc = write_crypto(file, c, p, crypto, e);
    if (rc == 0) rc = write_header(file, c, p, crypto, e);
    if (rc == 0) rc = node_flush(file);
    if (rc == 0) image_progress(c->progress, 1, 1);
    return rc;
}

/* ------------------------------------------------------------- creating */

/* The disk is as large as the backing file's. */
static int size_of_backing(const struct image_create *c, uint64_t *out,
                           struct err *e)
{
    const struct node_options o = { .is_readonly = true,
                                    .secrets = c->secrets };
    const char *file = image_opt_text(c, "backing_file");
    struct node self = { .name = (char *)(uintptr_t)c->file,
                         .backing_file = (char *)(uintptr_t)file };
    struct node *n;
    char *path;
    int rc;

    if (file == NULL) return err_set(e, -EINVAL, "the image needs a size");
    path = node_backing_path(&self);
    if (path == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = node_open_image(path, image_opt_text(c, "backing_fmt"), false, false,
                         &o, &n, e);
    free(path);
    if (rc < 0) return rc;
    *out = n->size_bytes;
    node_unref(n);
    return 0;
}

int qcow2_create(const struct image_create *c, struct err *e)
{
    uint64_t size = c->size_bytes;
    struct qcow2_plan p;
    struct node *file;
    int rc = qcow2_plan_options(c, &p, e);

    if (rc < 0) return rc;
    if (p.is_encrypted && image_opt_text(c, "encrypt.key-secret") == NULL)
        return err_set(e, -EINVAL,
                       "encrypt.format=luks needs "
                       "encrypt.key-secret=ID");
    if (!c->has_size) rc = size_of_backing(c, &size, e);
    if (rc == 0)
        rc = qcow2_plan_layout(&p, size, p.prealloc != QCOW2_PREALLOC_OFF, e);
    if (rc < 0) return rc;
    rc = image_create_file(c, &file, e);
    if (rc < 0) return rc;
    rc = write_image(file, c, &p, e);
    if (rc < 0 && e->code == 0)
        err_set(e, rc, "%s: %s", c->file, strerror(-rc));
    node_unref(file);
    return rc;
}
