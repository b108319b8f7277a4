/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of a migration: written and read. */
#include "monitor/migrate_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { STREAM_VERSION = 1, PLAIN = 0, ZSTD = 1 };

const char migrate_magic[8] = "ORRERYMG";

/* In a PAGE frame, before the pages that are there and not zero. */
struct page_head {
    uint64_t base; /* number of the chunk's first page */
    uint32_t how, reserved;
    uint64_t there[MIGRATE_CHUNK_WORDS], zero[MIGRATE_CHUNK_WORDS];
};

/* In a STAT frame. */
struct state_head {
    uint64_t bytes; /* unpacked */
    uint32_t how, is_running;
};

/* The processor has an instruction for this one: several times as fast as the
 * CRC-32 of zlib, which would be half of what a local migration costs. */
__attribute__((target("sse4.2"))) static uint32_t
crc_fast(uint32_t crc, const uint8_t *p, size_t bytes)
{
    uint64_t c = crc, v;

    for (; bytes >= sizeof(v); p += sizeof(v), bytes -= sizeof(v)) {
        memcpy(&v, p, sizeof(v));
        c = __builtin_ia32_crc32di(c, v);
    }
    for (crc = (uint32_t)c; bytes > 0; bytes--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t bytes)
{
    for (; bytes > 0; bytes--) {
        crc ^= *p++;
        for (unsigned i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

uint32_t migrate_crc(const void *data, size_t bytes)
{
    return ~(__builtin_cpu_supports("sse4.2") ? crc_fast(~0u, data, bytes)
                                              : crc_slow(~0u, data, bytes));
}

static bool has_bit(const uint64_t *bits, unsigned i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

/* Packed into at most cap octets; 0: it does not get smaller. */
static size_t pack(void *to, size_t cap, const void *from, size_t bytes)
{
#ifdef HAVE_ZSTD
    size_t n = ZSTD_compress(to, cap, from, bytes, 1);

    return ZSTD_isError(n) || n >= bytes ? 0 : n;
#else
    (void)to, (void)cap, (void)from, (void)bytes;
    return 0;
#endif
}

/* Exactly bytes come out. */
static bool unpack(void *to, size_t bytes, const void *from, size_t packed)
{
#ifdef HAVE_ZSTD
    return ZSTD_decompress(to, bytes, from, packed) == bytes;
#else
    (void)to, (void)bytes, (void)from, (void)packed;
    return false;
#endif
}

/* ------------------------------------------------------------- writing */

int migrate_out_init(struct migrate_out *o, migrate_write_fn write, void *arg,
                     bool is_compressed)
{
    *o = (struct migrate_out){ .write = write,
                               .arg = arg,
                               .is_compressed = is_compressed };
    o->packed_cap = sizeof(struct migrate_frame) + sizeof(struct page_head) +
                    MIGRATE_CHUNK_BYTES + MIGRATE_CHUNK_BYTES / 128 + 1024;
    o->plain = malloc(MIGRATE_CHUNK_BYTES);
    o->packed = malloc(o->packed_cap);
    if (o->plain != NULL && o->packed != NULL) return 0;
    migrate_out_free(o);
    return -ENOMEM;
}

void migrate_out_free(struct migrate_out *o)
{
    free(o->plain);
    free(o->packed);
    o->plain = o->packed = NULL;
}

static int put(struct migrate_out *o, const void *data, size_t bytes)
{
    int rc = o->write(o->arg, data, bytes);

    if (rc == 0) o->sent_bytes += bytes;
    return rc;
}

int migrate_put_magic(struct migrate_out *o)
{
    const uint32_t version = STREAM_VERSION;
    int rc = put(o, migrate_magic, sizeof(migrate_magic));

    return rc < 0 ? rc : put(o, &version, sizeof(version));
}

int migrate_put_frame(struct migrate_out *o, const char *type, const void *body,
                      size_t bytes)
{
    struct migrate_frame f = { .crc = migrate_crc(body, bytes),
                               .bytes = bytes };
    int rc;

    memcpy(f.type, type, sizeof(f.type));
    rc = put(o, &f, sizeof(f));
    return rc < 0 || bytes == 0 ? rc : put(o, body, bytes);
}

/* Frame at the start of o->packed, whose body is there already. */
static int put_packed(struct migrate_out *o, const char *type, size_t bytes)
{
    const uint8_t *body = o->packed + sizeof(struct migrate_frame);
    struct migrate_frame f = { .crc = migrate_crc(body, bytes),
                               .bytes = bytes };

    memcpy(f.type, type, sizeof(f.type));
    memcpy(o->packed, &f, sizeof(f));
    return put(o, o->packed, sizeof(f) + bytes);
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, MIGRATE_PAGE - 1) == 0;
}

/* Copy what is not zero to to; h says what is.  Returns the octets copied. */
static size_t gather(struct migrate_out *o, const uint8_t *chunk, uint8_t *to,
                     struct page_head *h)
{
    size_t n = 0;

    for (unsigned i = 0; i < MIGRATE_CHUNK_PAGES; i++) {
        if (!has_bit(h->there, i)) continue;
        /* What the guest writes meanwhile comes again. */
        if (!is_zero(chunk + (size_t)i * MIGRATE_PAGE)) {
            memcpy(to + n, chunk + (size_t)i * MIGRATE_PAGE, MIGRATE_PAGE);
            n += MIGRATE_PAGE;
            o->normal_pages++;
        } else {
            h->zero[i / 64] |= 1ull << (i % 64);
            o->zero_pages++;
        }
    }
    return n;
}

int migrate_put_pages(struct migrate_out *o, const uint8_t *ram, uint64_t base,
                      const uint64_t bits[MIGRATE_CHUNK_WORDS])
{
    uint8_t *body = o->packed + sizeof(struct migrate_frame);
    uint8_t *data = body + sizeof(struct page_head);
    struct page_head h = { .base = base, .how = PLAIN };
    size_t bytes, packed = 0;

    memcpy(h.there, bits, sizeof(h.there));
    bytes = gather(o, ram + base * MIGRATE_PAGE,
                   o->is_compressed ? o->plain : data, &h);
    if (o->is_compressed && bytes > 0) {
        packed =
            pack(data, o->packed_cap - sizeof(struct migrate_frame) - sizeof(h),
                 o->plain, bytes);
        if (packed == 0) memcpy(data, o->plain, bytes);
    }
    if (packed > 0) h.how = ZSTD;
    memcpy(body, &h, sizeof(h));
    return put_packed(o, "PAGE", sizeof(h) + (packed > 0 ? packed : bytes));
}

int migrate_put_state(struct migrate_out *o, const uint8_t *state, size_t bytes,
                      bool is_running)
{
    struct state_head h = { .bytes = bytes, .is_running = is_running };
    size_t cap = sizeof(h) + bytes + bytes / 128 + 1024, packed;
    uint8_t *body = malloc(cap);
    int rc;

    if (body == NULL) return -ENOMEM;
    packed = pack(body + sizeof(h), cap - sizeof(h), state, bytes);
    if (packed == 0) memcpy(body + sizeof(h), state, bytes);
    h.how = packed > 0 ? ZSTD : PLAIN;
    memcpy(body, &h, sizeof(h));
    rc = migrate_put_frame(o, "STAT", body,
                           sizeof(h) + (packed > 0 ? packed : bytes));
    free(body);
    return rc;
}

/* ------------------------------------------------------------- reading */

static int damaged(struct err *e, const char *what)
{
    return err_set(e, -EINVAL, "the stream is damaged: %s", what);
}

static int cut_short(struct err *e, int rc)
{
    if (rc == -ENODATA) return err_set(e, rc, "the stream ends too early");
    /* It left with an answer of ours unread. */
    if (rc == -ECONNRESET)
        return err_set(e, rc, "the sender has gone away: %s", strerror(-rc));
    return err_set(e, rc, "the stream cannot be read: %s", strerror(-rc));
}

int migrate_in_init(struct migrate_in *i, migrate_read_fn read, void *arg)
{
    *i = (struct migrate_in){ .read = read, .arg = arg };
    i->scratch = malloc(MIGRATE_CHUNK_BYTES);
    return i->scratch == NULL ? -ENOMEM : 0;
}

void migrate_in_free(struct migrate_in *i)
{
    free(i->body);
    free(i->scratch);
    i->body = i->scratch = NULL;
}

int migrate_get_version(struct migrate_in *i, struct err *e)
{
    uint32_t version;
    int rc = i->read(i->arg, &version, sizeof(version));

    if (rc < 0) return cut_short(e, rc);
    if (version == STREAM_VERSION) return 0;
    return err_set(e, -EINVAL,
                   "the stream has another version (%u, this program reads "
                   "%d)",
                   version, STREAM_VERSION);
}

bool migrate_is_frame(const struct migrate_in *i, const char *type)
{
    return memcmp(i->frame.type, type, sizeof(i->frame.type)) == 0;
}

/* Longest body a type may have; 0: there is no such type. */
static bool longest(const struct migrate_in *i, uint64_t *bytes)
{
    static const struct {
        const char *type;
        uint64_t bytes;
    } row[] = {
        { "HEAD", MIGRATE_MAX_HEAD },
        { "PAGE", sizeof(struct page_head) + MIGRATE_CHUNK_BYTES },
        { "STAT", sizeof(struct state_head) + MIGRATE_MAX_STATE },
        { "END ", 0 },
        { "LOAD", 0 },
        { "DONE", 0 },
        { "FAIL", MIGRATE_MAX_TEXT },
    };

    for (size_t k = 0; k < sizeof(row) / sizeof(row[0]); k++) {
        if (!migrate_is_frame(i, row[k].type)) continue;
        *bytes = row[k].bytes;
        return true;
    }
    return false;
}

/* Room for the body, and for a zero behind it. */
static int make_room(struct migrate_in *i, size_t bytes)
{
    uint8_t *more;

    if (bytes + 1 <= i->body_cap) return 0;
    more = realloc(i->body, bytes + 1);
    if (more == NULL) return -ENOMEM;
    i->body = more;
    i->body_cap = bytes + 1;
    return 0;
}

int migrate_get_frame(struct migrate_in *i, struct err *e)
{
    uint64_t max;
    int rc = i->read(i->arg, &i->frame, sizeof(i->frame));

    if (rc < 0) return cut_short(e, rc);
    if (!longest(i, &max)) return damaged(e, "what comes next is unknown");
    if (i->frame.bytes > max) return damaged(e, "a frame is too long");
    if (make_room(i, i->frame.bytes) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    if (i->frame.bytes > 0) rc = i->read(i->arg, i->body, i->frame.bytes);
    if (rc < 0) return cut_short(e, rc);
    i->body[i->frame.bytes] = 0;
    if (migrate_crc(i->body, i->frame.bytes) != i->frame.crc)
        return damaged(e, "wrong checksum");
    return 0;
}

/* Pages that are there and not zero; -1: the head contradicts itself. */
static int count_data(const struct page_head *h, uint64_t pages)
{
    int n = 0;

    if (h->base % MIGRATE_CHUNK_PAGES != 0 || h->base >= pages) return -1;
    for (unsigned i = 0; i < MIGRATE_CHUNK_PAGES; i++) {
        bool is_there = has_bit(h->there, i),
             is_zero_page = has_bit(h->zero, i);

        if (is_there && h->base + i >= pages) return -1;
        if (is_zero_page && !is_there) return -1;
        n += is_there && !is_zero_page;
    }
    return n;
}

/* chunk and used are those of the head's first page. */
static void scatter(const struct page_head *h, uint8_t *chunk, uint64_t *used,
                    const uint8_t *data)
{
    for (unsigned i = 0; i < MIGRATE_CHUNK_PAGES; i++) {
        uint8_t *page = chunk + (size_t)i * MIGRATE_PAGE;

        if (!has_bit(h->there, i)) continue;
        if (!has_bit(h->zero, i)) {
            memcpy(page, data, MIGRATE_PAGE);
            data += MIGRATE_PAGE;
            used[i / 64] |= 1ull << (i % 64);
        } else if (has_bit(used, i)) {
            memset(page, 0, MIGRATE_PAGE);
        }
    }
}

int migrate_apply_pages(struct migrate_in *i, uint8_t *ram, uint64_t ram_bytes,
                        uint64_t *used, struct err *e)
{
    const uint8_t *data = i->body + sizeof(struct page_head);
    struct page_head h;
    size_t bytes, raw;
    int count;

    if (i->frame.bytes < sizeof(h)) return damaged(e, "a piece of memory");
    memcpy(&h, i->body, sizeof(h));
    bytes = i->frame.bytes - sizeof(h);
    count = count_data(&h, (ram_bytes + MIGRATE_PAGE - 1) / MIGRATE_PAGE);
    if (count < 0) return damaged(e, "memory outside of the machine's");
    raw = (size_t)count * MIGRATE_PAGE;
    if (h.how == ZSTD && unpack(i->scratch, raw, data, bytes)) {
        data = i->scratch;
    } else if (h.how != PLAIN || bytes != raw) {
        return damaged(e, "a piece of memory");
    }
    scatter(&h, ram + h.base * MIGRATE_PAGE, used + h.base / 64, data);
    return 0;
}

int migrate_take_state(struct migrate_in *i, uint8_t **state, size_t *bytes,
                       bool *is_running, struct err *e)
{
    struct state_head h;
    const uint8_t *data = i->body + sizeof(h);
    size_t packed;
    bool is_whole;

    if (i->frame.bytes < sizeof(h)) return damaged(e, "the devices' state");
    memcpy(&h, i->body, sizeof(h));
    packed = i->frame.bytes - sizeof(h);
    if (h.bytes == 0 || h.bytes > MIGRATE_MAX_STATE || h.is_running > 1)
        return damaged(e, "the devices' state");
    *state = malloc(h.bytes);
    if (*state == NULL) return err_set(e, -ENOMEM, "out of memory");
    is_whole = h.how == ZSTD ? unpack(*state, h.bytes, data, packed)
                             : h.how == PLAIN && packed == h.bytes;
    if (!is_whole) {
        free(*state);
        *state = NULL;
        return damaged(e, "the devices' state");
    }
    if (h.how == PLAIN) memcpy(*state, data, packed);
    *bytes = h.bytes;
    *is_running = h.is_running != 0;
    return 0;
}
