/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format "luks": a LUKS1 header in front of a raw disk whose sectors are
 * encrypted, numbered from the payload's start.
 *
 * Writes of less than a sector read it first; two of them to one sector at the
 * same time would lose one, so all such writes take a lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "block/luks.h"

enum { BOUNCE_BYTES = 1 << 20 };

struct luks_disk {
    struct luks_info info;
    struct luks *luks;     /* NULL: opened to be looked at, no secret */
    uint64_t payload;      /* offset in the file */
    pthread_mutex_t edges; /* held while parts of sectors change */
};

static int probe(const uint8_t *head, size_t bytes)
{
    static const uint8_t magic[8] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };

    return bytes >= 8 && memcmp(head, magic, 8) == 0 ? 100 : 0;
}

static void set_size(struct node *n, const struct luks_disk *d)
{
    n->size_bytes = n->child->size_bytes > d->payload
                        ? (n->child->size_bytes - d->payload) & ~UINT64_C(511)
                        : 0;
}

static int open_disk(struct node *n, const struct node_options *o,
                     struct err *e)
{
    struct luks_disk *d = calloc(1, sizeof(*d));
    const char *id = node_option(o, "key-secret");
    int rc;

    if (d == NULL) return err_set(e, -ENOMEM, "out of memory");
    rc = luks_read_info(n->child, 0, n->child->size_bytes, &d->info, e);
    if (rc == 0 && (id != NULL || !(o->is_no_backing || o->is_check)))
        rc = luks_open(n->child, 0, n->child->size_bytes, o->secrets, id,
                       "key-secret", &d->luks, e);
    if (rc < 0) {
        err_prefix(e, "%s", n->name);
        free(d);
        return rc;
    }
    pthread_mutex_init(&d->edges, NULL);
    d->payload = d->info.payload_offset;
    n->is_readonly = n->child->is_readonly || o->is_readonly;
    n->is_encrypted = true;
    n->align_bytes = BLOCK_SECTOR_BYTES;
    n->s = d;
    set_size(n, d);
    return 0;
}

static void close_disk(struct node *n)
{
    struct luks_disk *d = n->s;

    luks_close(d->luks);
    pthread_mutex_destroy(&d->edges);
    free(d);
}

/* ------------------------------------------------------------- transfers */

/* The whole sectors of [offset, offset + bytes), at most BOUNCE_BYTES. */
struct span {
    uint64_t first; /* octet, multiple of a sector */
    size_t bytes;   /* multiple of a sector */
    size_t skip;    /* of it before offset */
    size_t used;    /* of it from offset on */
};

static struct span span_of(uint64_t offset, size_t bytes)
{
    struct span s = { .first = offset & ~UINT64_C(511) };

    s.skip = (size_t)(offset - s.first);
    s.used = bytes < BOUNCE_BYTES - s.skip ? bytes : BOUNCE_BYTES - s.skip;
    s.bytes = (s.skip + s.used + 511) & ~(size_t)511;
    return s;
}

static int read_span(struct node *n, const struct span *s, uint8_t *buf)
{
    const struct luks_disk *d = n->s;
    int rc = node_pread(n->child, d->payload + s->first, buf, s->bytes);

    if (rc == 0)
        luks_decrypt(d->luks, s->first / BLOCK_SECTOR_BYTES, buf, s->bytes);
    return rc;
}

static uint8_t *get_bounce(size_t bytes)
{
    size_t want = (bytes + 4096 + 1023) & ~(size_t)1023;
    void *buf;

    if (want > BOUNCE_BYTES) want = BOUNCE_BYTES;
    return posix_memalign(&buf, 4096, want) == 0 ? buf : NULL;
}

static int read_disk(struct node *n, uint64_t offset, const struct iovec *iov,
                     int iovcnt, size_t bytes)
{
    const struct luks_disk *d = n->s;
    uint8_t *buf;
    size_t done = 0;
    int rc = 0;

    if (d->luks == NULL) return -EACCES;
    buf = get_bounce(bytes);
    if (buf == NULL) return -ENOMEM;
    while (done < bytes && rc == 0) {
        struct span s = span_of(offset + done, bytes - done);

        rc = read_span(n, &s, buf);
        if (rc == 0) iov_from_buf(iov, iovcnt, done, buf + s.skip, s.used);
        done += s.used;
    }
    free(buf);
    return rc;
}

static int write_span(struct node *n, const struct span *s,
                      const struct iovec *iov, int iovcnt, size_t done,
                      uint8_t *buf)
{
    struct luks_disk *d = n->s;
    bool is_partial = s->skip != 0 || s->used != s->bytes;
    int rc = 0;

    if (is_partial) {
        pthread_mutex_lock(&d->edges);
        rc = read_span(n, s, buf);
    }
    if (rc == 0) {
        iov_to_buf(iov, iovcnt, done, buf + s->skip, s->used);
        luks_encrypt(d->luks, s->first / BLOCK_SECTOR_BYTES, buf, s->bytes);
        rc = node_pwrite(n->child, d->payload + s->first, buf, s->bytes);
    }
    if (is_partial) pthread_mutex_unlock(&d->edges);
    return rc;
}

static int write_disk(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes, unsigned flags)
{
    const struct luks_disk *d = n->s;
    uint8_t *buf;
    size_t done = 0;
    int rc = 0;

    if (flags & NODE_REQ_COMPRESSED) return -ENOTSUP;
    if (d->luks == NULL) return -EACCES;
    buf = get_bounce(bytes);
    if (buf == NULL) return -ENOMEM;
    while (done < bytes && rc == 0) {
        struct span s = span_of(offset + done, bytes - done);

        rc = write_span(n, &s, iov, iovcnt, done, buf);
        done += s.used;
    }
    free(buf);
    return rc;
}

static int flush_disk(struct node *n)
{
    return node_flush(n->child);
}

/* --------------------------------------------------------- whole images */

static int truncate_disk(struct node *n, uint64_t size_bytes,
                         const char *preallocation, bool may_shrink,
                         struct err *e)
{
    const struct luks_disk *d = n->s;
    int rc;

    if (size_bytes % BLOCK_SECTOR_BYTES != 0)
        return err_set(e, -EINVAL, "size must be a multiple of 512");
    if (size_bytes > INT64_MAX - d->payload)
        return err_set(e, -EFBIG, "size too large");
    rc = node_truncate(n->child, d->payload + size_bytes, preallocation,
                       may_shrink, e);
    set_size(n, d);
    return rc;
}

static int describe(struct node *n, struct image_info *out)
{
    (void)n;
    *out = (struct image_info){ .has_specific = true };
    return 0;
}

static void describe_specific(struct node *n, struct info_sink *out)
{
    const struct luks_disk *d = n->s;

    luks_describe(&d->info, NULL, out);
}

static struct luks_spec spec_of(const struct image_create *c)
{
    return (struct luks_spec){
        .cipher_alg = image_opt_text(c, "cipher-alg"),
        .cipher_mode = image_opt_text(c, "cipher-mode"),
        .ivgen_alg = image_opt_text(c, "ivgen-alg"),
        .ivgen_hash_alg = image_opt_text(c, "ivgen-hash-alg"),
        .hash_alg = image_opt_text(c, "hash-alg"),
        .iter_ms = image_opt_u64(c, "iter-time", 0),
    };
}

static int create(const struct image_create *c, struct err *e)
{
    const char *id = image_opt_text(c, "key-secret");
    const char *preallocation = image_opt_text(c, "preallocation");
    struct luks_spec spec = spec_of(c);
    const uint8_t *secret;
    size_t secret_bytes;
    uint64_t header;
    struct node *file;
    int rc;

    if (id == NULL)
        return err_set(e, -EINVAL, "format luks needs key-secret=ID");
    rc = secret_find(c->secrets, id, &secret, &secret_bytes, e);
    if (rc == 0) rc = luks_header_bytes(&spec, &header, e);
    if (rc < 0) return rc;
    if (c->size_bytes > INT64_MAX - header)
        return err_set(e, -EFBIG, "size too large");
    rc = image_create_file(c, &file, e);
    if (rc < 0) return rc;
    rc = node_truncate(file, header + ((c->size_bytes + 511) & ~UINT64_C(511)),
                       preallocation != NULL ? preallocation : "off", false, e);
    if (rc == 0)
        rc = luks_create(file, 0, &spec, secret, secret_bytes, NULL, e);
    if (rc == 0) rc = node_flush(file);
    if (rc < 0 && e->code == 0)
        err_set(e, rc, "%s: %s", c->file, strerror(-rc));
    node_unref(file);
    return rc;
}

static int measure(const struct image_create *c, struct node *source,
                   uint64_t *required, uint64_t *fully_allocated, struct err *e)
{
    struct luks_spec spec = spec_of(c);
    uint64_t size = source != NULL ? source->size_bytes : c->size_bytes, header;
    int rc;

    if (image_opt_text(c, "key-secret") == NULL)
        return err_set(e, -EINVAL,
                       "Parameter 'key-secret' is required for cipher");
    rc = luks_header_bytes(&spec, &header, e);
    if (rc < 0) return rc;
    *required = *fully_allocated = header + ((size + 511) & ~UINT64_C(511));
    return 0;
}

static const char *const keys[] = { "key-secret", NULL };
static const char *const preallocations[] = { "off", "falloc", "full", NULL };
static const struct image_create_opt create_opts[] = {
    /* clang-format off */
    { "cipher-alg", IMAGE_TEXT, "Name of encryption cipher algorithm",
      NULL, 0, 0, false },
    { "cipher-mode", IMAGE_TEXT, "Name of encryption cipher mode",
      NULL, 0, 0, false },
    { "extent_size_hint", IMAGE_SIZE,
      "Extent size hint for the image file, 0 to disable",
      NULL, 0, UINT32_MAX, false },
    { "hash-alg", IMAGE_TEXT, "Name of encryption hash algorithm",
      NULL, 0, 0, false },
    { "iter-time", IMAGE_NUMBER, "Time to spend in PBKDF in milliseconds",
      NULL, 0, 0, false },
    { "ivgen-alg", IMAGE_TEXT, "Name of IV generator algorithm",
      NULL, 0, 0, false },
    { "ivgen-hash-alg", IMAGE_TEXT, "Name of IV generator hash algorithm",
      NULL, 0, 0, false },
    { "key-secret", IMAGE_TEXT,
      "ID of the secret that provides the keyslot passphrase",
      NULL, 0, 0, false },
    { "nocow", IMAGE_BOOL,
      "Turn off copy-on-write (valid only on btrfs)", NULL, 0, 0, false },
    { "preallocation", IMAGE_TEXT,
      "Preallocation mode (allowed values: off, falloc, full)",
      preallocations, 0, 0, false },
    { "size", IMAGE_SIZE, "Virtual disk size", NULL, 0, 0, false },
    { NULL, IMAGE_TEXT, NULL, NULL, 0, 0, false },
    /* clang-format on */
};

static int amend(struct node *n, const struct image_create *c, struct err *e)
{
    struct luks_disk *d = n->s;
    int rc = luks_amend(n->child, 0, d->luks, c, "", e);

    if (rc == 0) d->info = *luks_get_info(d->luks);
    return rc;
}

#define AMEND_OPTS(p)                                                         \
    { p "iter-time",  IMAGE_NUMBER,                                           \
      "Time to spend in PBKDF in milliseconds", NULL, 0, 0, true },           \
    { p "keyslot",    IMAGE_NUMBER,                                           \
      "Select a single keyslot to modify explicitly", NULL, 0, 0, true },     \
    { p "new-secret", IMAGE_TEXT,                                             \
      "New secret to set in the matching keyslots. Empty string to erase",    \
      NULL, 0, 0, true },                                                     \
    { p "old-secret", IMAGE_TEXT,                                             \
      "Select all keyslots that match this password", NULL, 0, 0, true },     \
    { p "state",      IMAGE_TEXT,                                             \
      "Select new state of affected keyslots (active/inactive)",              \
      NULL, 0, 0, true },                                                     \
    { NULL, IMAGE_TEXT, NULL, NULL, 0, 0, false }

/* clang-format off */
static const struct image_create_opt amend_opts[] = { AMEND_OPTS("") };
const struct image_create_opt luks_qcow2_amend_opts[] = {
    AMEND_OPTS("encrypt.")
};
/* clang-format on */
#undef AMEND_OPTS

const struct block_driver block_luks = {
    .name = "luks",
    .title = "an encrypted disk with a LUKS1 header",
    .keys = keys,
    .probe = probe,
    .open = open_disk,
    .close = close_disk,
    .readv = read_disk,
    .writev = write_disk,
    .flush = flush_disk,
    .create_opts = create_opts,
    .amend_opts = amend_opts,
    .amend = amend,
    .create = create,
    .measure = measure,
    .truncate = truncate_disk,
    .info = describe,
    .info_specific = describe_specific,
};
