/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: monitor block core */
/*
 * Migration in pieces: frames written and read back, mutated frames, places
 * to migrate to, and images that change hands between two that have them open.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/block.h"
#include "block/image.h"
#include "core/loop/loop.h"
#include "monitor/migrate_channel.h"
#include "monitor/migrate_stream.h"

enum { PAGES = 600, RAM_BYTES = PAGES * MIGRATE_PAGE, MUTATIONS = 4000 };

/* A stream in memory, and two memories between pages that nobody may touch. */
struct rig {
    uint8_t *data;
    size_t bytes, pos;
    uint8_t *from, *to;
    uint64_t used[PAGES / 64 + 4];
    struct err e;
};

static int put(void *arg, const void *data, size_t bytes)
{
    struct rig *r = arg;
    uint8_t *more = realloc(r->data, r->bytes + bytes);

    assert_non_null(more);
    r->data = more;
    memcpy(r->data + r->bytes, data, bytes);
    r->bytes += bytes;
    return 0;
}

static int get(void *arg, void *data, size_t bytes)
{
    struct rig *r = arg;

    if (bytes > r->bytes - r->pos) return -ENODATA;
    memcpy(data, r->data + r->pos, bytes);
    r->pos += bytes;
    return 0;
}

static uint8_t *guarded(size_t bytes)
{
    uint8_t *p = mmap(NULL, bytes + 2 * MIGRATE_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + MIGRATE_PAGE, bytes, PROT_READ | PROT_WRITE),
                     0);
    return p + MIGRATE_PAGE;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));

    if (r == NULL) return -1;
    r->from = guarded(RAM_BYTES);
    r->to = guarded(RAM_BYTES);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    munmap(r->from - MIGRATE_PAGE, RAM_BYTES + 2 * MIGRATE_PAGE);
    munmap(r->to - MIGRATE_PAGE, RAM_BYTES + 2 * MIGRATE_PAGE);
    free(r->data);
    free(r);
    return 0;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Pages of three kinds: zero, of one octet, random. */
static void fill(uint8_t *ram, uint32_t seed)
{
    for (unsigned i = 0; i < PAGES; i++) {
        uint8_t *page = ram + (size_t)i * MIGRATE_PAGE;
        uint32_t kind = next_random(&seed) % 3;

        memset(page, kind == 1 ? (int)(next_random(&seed) | 1) : 0,
               MIGRATE_PAGE);
        for (unsigned k = 0; kind == 2 && k < MIGRATE_PAGE; k += 4) {
            uint32_t v = next_random(&seed);

            memcpy(page + k, &v, sizeof(v));
        }
    }
}

/* About one page in every few, by a seed. */
static void choose(uint64_t bits[PAGES / 64 + 4], uint32_t seed, unsigned every)
{
    memset(bits, 0, (PAGES / 64 + 4) * sizeof(*bits));
    for (unsigned i = 0; i < PAGES; i++) {
        if (next_random(&seed) % every == 0) bits[i / 64] |= 1ull << (i % 64);
    }
}

static void send_pages(struct rig *r, const uint64_t *bits, bool is_compressed)
{
    struct migrate_out o;

    assert_int_equal(migrate_out_init(&o, put, r, is_compressed), 0);
    for (unsigned p = 0; p < PAGES; p += MIGRATE_CHUNK_PAGES)
        assert_int_equal(migrate_put_pages(&o, r->from, p, bits + p / 64), 0);
    assert_int_equal(o.sent_bytes, r->bytes);
    migrate_out_free(&o);
}

static void take_pages(struct rig *r)
{
    struct migrate_in i;

    assert_int_equal(migrate_in_init(&i, get, r), 0);
    while (r->pos < r->bytes) {
        if (migrate_get_frame(&i, &r->e) < 0) fail_msg("%s", r->e.text);
        assert_true(migrate_is_frame(&i, "PAGE"));
        if (migrate_apply_pages(&i, r->to, RAM_BYTES, r->used, &r->e) < 0)
            fail_msg("%s", r->e.text);
    }
    migrate_in_free(&i);
}

static void chosen_pages_arrive_and_no_others(void **state)
{
    struct rig *r = *state;
    uint64_t bits[PAGES / 64 + 4];

    for (uint32_t seed = 1; seed <= 24; seed++) {
        fill(r->from, seed * 2654435761u);
        memset(r->to, 0x5a, RAM_BYTES);
        memset(r->used, 0xff, sizeof(r->used));
        choose(bits, seed * 40503u, 1 + seed % 5);
        r->bytes = r->pos = 0;
        send_pages(r, bits, seed & 1);
        take_pages(r);
        for (unsigned i = 0; i < PAGES; i++) {
            const uint8_t *page = r->to + (size_t)i * MIGRATE_PAGE;

            if (bits[i / 64] >> (i % 64) & 1) {
                assert_memory_equal(page, r->from + (size_t)i * MIGRATE_PAGE,
                                    MIGRATE_PAGE);
            } else {
                for (unsigned k = 0; k < MIGRATE_PAGE; k++)
                    assert_int_equal(page[k], 0x5a);
            }
        }
    }
}

/* What was zero from the beginning is not touched. */
static void unused_memory_stays_unused(void **state)
{
    struct rig *r = *state;
    uint64_t bits[PAGES / 64 + 4];

    fill(r->from, 12);
    memset(bits, 0xff, sizeof(bits));
    bits[PAGES / 64] = (1ull << PAGES % 64) - 1;
    memset(bits + PAGES / 64 + 1, 0, 3 * sizeof(*bits));
    send_pages(r, bits, false);
    memset(r->to, 0x5a, RAM_BYTES);
    take_pages(r);
    for (unsigned i = 0; i < PAGES; i++) {
        const uint8_t *page = r->from + (size_t)i * MIGRATE_PAGE;
        bool is_zero = page[0] == 0 && memcmp(page, page + 1, 4095) == 0;

        assert_int_equal(r->used[i / 64] >> (i % 64) & 1, !is_zero);
        assert_int_equal(r->to[(size_t)i * MIGRATE_PAGE],
                         is_zero ? 0x5a : page[0]);
    }
}

static void a_state_arrives_as_it_was(void **state)
{
    struct rig *r = *state;
    struct migrate_out o;
    struct migrate_in i;

    fill(r->from, 4711);
    assert_int_equal(migrate_out_init(&o, put, r, false), 0);
    assert_int_equal(migrate_in_init(&i, get, r), 0);
    for (size_t bytes = 1; bytes < RAM_BYTES; bytes *= 7) {
        uint8_t *got = NULL;
        size_t n = 0;
        bool is_running = bytes & 2;

        assert_int_equal(migrate_put_state(&o, r->from, bytes, bytes & 4), 0);
        assert_int_equal(migrate_get_frame(&i, &r->e), 0);
        assert_true(migrate_is_frame(&i, "STAT"));
        assert_int_equal(migrate_take_state(&i, &got, &n, &is_running, &r->e),
                         0);
        assert_int_equal(n, bytes);
        assert_int_equal(is_running, (bytes & 4) != 0);
        assert_memory_equal(got, r->from, bytes);
        free(got);
    }
    migrate_in_free(&i);
    migrate_out_free(&o);
}

/* Checksums right again, so that what is behind them is reached. */
static void sign(struct rig *r)
{
    size_t at = 0;

    while (r->bytes - at >= sizeof(struct migrate_frame)) {
        struct migrate_frame f;

        memcpy(&f, r->data + at, sizeof(f));
        if (f.bytes > r->bytes - at - sizeof(f)) return;
        f.crc = migrate_crc(r->data + at + sizeof(f), f.bytes);
        memcpy(r->data + at, &f, sizeof(f));
        at += sizeof(f) + f.bytes;
    }
}

/* Everything a receiver does with a stream; the guard pages see the rest. */
static int swallow(struct rig *r)
{
    struct migrate_in i;
    int rc;

    assert_int_equal(migrate_in_init(&i, get, r), 0);
    r->pos = 0;
    do {
        uint8_t *got = NULL;
        size_t n;
        bool is_running;

        r->e = (struct err)ERR_INIT;
        rc = migrate_get_frame(&i, &r->e);
        if (rc == 0 && migrate_is_frame(&i, "PAGE"))
            rc = migrate_apply_pages(&i, r->to, RAM_BYTES, r->used, &r->e);
        if (rc == 0 && migrate_is_frame(&i, "STAT"))
            rc = migrate_take_state(&i, &got, &n, &is_running, &r->e);
        free(got);
    } while (rc == 0 && r->pos < r->bytes);
    migrate_in_free(&i);
    return rc;
}

static int get_reset(void *arg, void *data, size_t bytes)
{
    (void)arg;
    (void)data;
    (void)bytes;
    return -ECONNRESET;
}

/* As by a sender that quits with an answer unread: socket(7), close. */
static void a_sender_that_resets_has_gone_away(void **state)
{
    struct rig *r = *state;
    struct migrate_in i;

    assert_int_equal(migrate_in_init(&i, get_reset, r), 0);
    assert_int_equal(migrate_get_frame(&i, &r->e), -ECONNRESET);
    assert_string_equal(r->e.text,
                        "the sender has gone away: Connection reset by peer");
    migrate_in_free(&i);
}

static void mutated_frames_are_refused_or_harmless(void **state)
{
    struct rig *r = *state;
    uint64_t bits[PAGES / 64 + 4];
    unsigned refused = 0, taken = 0;
    struct migrate_out o;
    uint8_t *good;
    size_t bytes;

    fill(r->from, 99);
    choose(bits, 7, 40);
    send_pages(r, bits, true);
    assert_int_equal(migrate_out_init(&o, put, r, true), 0);
    assert_int_equal(migrate_put_state(&o, r->from, 20000, true), 0);
    assert_int_equal(migrate_put_frame(&o, "HEAD", "ram=1\n", 6), 0);
    assert_int_equal(migrate_put_frame(&o, "END ", NULL, 0), 0);
    migrate_out_free(&o);
    assert_int_equal(swallow(r), 0);
    good = malloc(r->bytes);
    assert_non_null(good);
    bytes = r->bytes;
    memcpy(good, r->data, bytes);
    for (uint32_t k = 1; k <= MUTATIONS; k++) {
        uint32_t seed = k * 2654435761u;

        memcpy(r->data, good, bytes);
        r->bytes = bytes;
        for (unsigned n = 1 + next_random(&seed) % 4; n > 0; n--) {
            size_t at =
                next_random(&seed) % (next_random(&seed) % 4 ? 128 : bytes);

            r->data[at] =
                next_random(&seed) & 1 ? (uint8_t)next_random(&seed) : 0xff;
        }
        if (k % 16 == 0) r->bytes = next_random(&seed) % bytes + 1;
        if (k % 8 != 0) sign(r);
        if (swallow(r) < 0) {
            refused++;
            assert_true(r->e.text[0] != '\0');
        } else {
            taken++;
        }
    }
    free(good);
    print_message("%u refused, %u taken\n", refused, taken);
    assert_true(refused > 0 && taken > 0);
}

static void the_longest_lengths_are_refused(void **state)
{
    static const struct {
        const char *type;
        uint64_t bytes;
    } row[] = { { "HEAD", UINT64_MAX }, { "PAGE", UINT64_MAX },
                { "STAT", UINT64_MAX }, { "STAT", 1ull << 40 },
                { "HEAD", 1 << 20 },    { "PAGE", 2 << 20 },
                { "END ", 1 },          { "FAIL", 100000 },
                { "RAM ", 0 },          { "\0\0\0", 0 } };
    struct rig *r = *state;

    for (size_t k = 0; k < sizeof(row) / sizeof(row[0]); k++) {
        struct migrate_frame f = { .bytes = row[k].bytes };

        memcpy(f.type, row[k].type, 4);
        r->bytes = 0;
        put(r, &f, sizeof(f));
        assert_int_equal(swallow(r), -EINVAL);
    }
}

/* The check value of CRC-32C, and the examples of RFC 3720, B.4. */
static void checksums_are_crc_32c(void **state)
{
    uint8_t octets[32];

    (void)state;
    assert_int_equal(migrate_crc("", 0), 0);
    assert_int_equal(migrate_crc("123456789", 9), 0xe3069283);
    memset(octets, 0, sizeof(octets));
    assert_int_equal(migrate_crc(octets, 32), 0x8a9136aa);
    memset(octets, 0xff, sizeof(octets));
    assert_int_equal(migrate_crc(octets, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        octets[i] = (uint8_t)i;
    assert_int_equal(migrate_crc(octets, 32), 0x46dd794e);
}

static void a_place_is_one_of_five_kinds(void **state)
{
    static const char *const good[] = {
        "exec:cat",  "file:/a",         "unix:/a", "tcp:host:1",
        "tcp::4444", "tcp:[::1]:65535", "fd:3",
    };
    static const char *const bad[] = {
        "",         "exec",       "exec:",       "file:",    "unix:",
        "tcp:",     "tcp:host",   "tcp:host:",   "tcp::0",   "tcp::65536",
        "tcp::-1",  "tcp::1x",    "rdma:host:1", "EXEC:cat", "fd:",
        "execute:", "/tmp/state", "defer",
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (migrate_uri_check(good[i], &e) < 0) fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        e = (struct err)ERR_INIT;
        if (migrate_uri_check(bad[i], &e) == 0) fail_msg("%s", bad[i]);
        assert_true(e.text[0] != '\0');
    }
}

/* ---------------------------------------------- images that change hands */

struct images {
    struct loop *loop;
    char dir[64], file[96];
    struct err e;
};

static int images_setup(void **state)
{
    struct images *x = calloc(1, sizeof(*x));

    if (x == NULL || loop_create(&x->loop, &x->e) < 0) return -1;
    strcpy(x->dir, "/tmp/orrery-migrate-XXXXXX");
    if (mkdtemp(x->dir) == NULL) return -1;
    snprintf(x->file, sizeof(x->file), "%s/disk", x->dir);
    *state = x;
    return 0;
}

static int images_teardown(void **state)
{
    struct images *x = *state;

    unlink(x->file);
    rmdir(x->dir);
    loop_destroy(x->loop);
    free(x);
    return 0;
}

static void make_image(struct images *x, const char *format)
{
    const char *const none[] = { NULL };
    struct image_create c = {
        .file = x->file, .size_bytes = 1 << 20, .has_size = true, .pairs = none
    };

    if (image_create(format, &c, &x->e) < 0) fail_msg("%s", x->e.text);
}

static struct blk *open_blk(struct images *x, const char *format,
                            bool is_inactive)
{
    const struct blk_options o = { .format = format,
                                   .is_inactive = is_inactive };
    struct blk *b = NULL;

    if (blk_open(x->loop, x->file, &o, &b, &x->e) < 0)
        fail_msg("%s", x->e.text);
    return b;
}

static void expect_octet(struct blk *b, uint64_t at, uint8_t want)
{
    uint8_t got = (uint8_t)~want;

    assert_int_equal(blk_pread(b, at, &got, 1), 0);
    assert_int_equal(got, want);
}

static void one_of_two_has_an_image(struct images *x, const char *format)
{
    struct blk *a, *b;

    make_image(x, format);
    a = open_blk(x, format, false);
    assert_int_equal(blk_pwrite(a, 5000, "a", 1), 0);
    /* The second waits for it: no lock, nothing to be written. */
    b = open_blk(x, format, true);
    assert_true(blk_is_inactive(b));
    assert_false(blk_is_readonly(b));
    assert_int_equal(blk_size_bytes(b), 1 << 20);
    assert_true(blk_pwrite(b, 0, "x", 1) < 0);
    assert_int_equal(blk_activate(b, &x->e), -EBUSY);
    assert_true(blk_is_inactive(b));
    /* There it goes. */
    assert_int_equal(blk_inactivate(a, &x->e), 0);
    assert_true(blk_pwrite(a, 0, "x", 1) < 0);
    assert_int_equal(blk_activate(b, &x->e), 0);
    assert_int_equal(blk_activate(b, &x->e), 0);
    expect_octet(b, 5000, 'a');
    expect_octet(b, 0, 0);
    assert_int_equal(blk_pwrite(b, 700000, "b", 1), 0);
    assert_int_equal(blk_activate(a, &x->e), -EBUSY);
    /* And back, with what was written meanwhile. */
    assert_int_equal(blk_inactivate(b, &x->e), 0);
    assert_int_equal(blk_activate(a, &x->e), 0);
    expect_octet(a, 5000, 'a');
    expect_octet(a, 700000, 'b');
    assert_int_equal(blk_pwrite(a, 0, "c", 1), 0);
    blk_close(b);
    blk_close(a);
    a = open_blk(x, format, false);
    expect_octet(a, 0, 'c');
    expect_octet(a, 700000, 'b');
    blk_close(a);
}

static void one_of_two_has_a_raw_image(void **state)
{
    one_of_two_has_an_image(*state, "raw");
}

static void one_of_two_has_a_qcow2_image(void **state)
{
    one_of_two_has_an_image(*state, "qcow2");
}

static void an_image_that_changed_its_size_is_refused(void **state)
{
    struct images *x = *state;
    struct blk *b;

    make_image(x, "raw");
    b = open_blk(x, "raw", true);
    assert_int_equal(truncate(x->file, 2 << 20), 0);
    assert_int_equal(blk_activate(b, &x->e), -EIO);
    assert_true(blk_is_inactive(b));
    blk_close(b);
}

static void a_guest_cannot_turn_a_raw_image_into_another(void **state)
{
    struct images *x = *state;
    struct blk_options o = { .is_inactive = true };
    struct blk *b = NULL;

    make_image(x, "raw");
    assert_int_equal(blk_open(x->loop, x->file, &o, &b, &x->e), 0);
    assert_string_equal(blk_format(b), "raw");
    /* What the other side wrote looks like a qcow2 header now. */
    make_image(x, "qcow2");
    assert_int_equal(truncate(x->file, 1 << 20), 0);
    assert_true(blk_activate(b, &x->e) < 0);
    assert_true(blk_is_inactive(b));
    blk_close(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define I(f) cmocka_unit_test_setup_teardown(f, images_setup, images_teardown)
    const struct CMUnitTest tests[] = {
        T(chosen_pages_arrive_and_no_others),
        T(unused_memory_stays_unused),
        T(a_state_arrives_as_it_was),
        T(a_sender_that_resets_has_gone_away),
        T(mutated_frames_are_refused_or_harmless),
        T(the_longest_lengths_are_refused),
        T(checksums_are_crc_32c),
        T(a_place_is_one_of_five_kinds),
        I(one_of_two_has_a_raw_image),
        I(one_of_two_has_a_qcow2_image),
        I(an_image_that_changed_its_size_is_refused),
        I(a_guest_cannot_turn_a_raw_image_into_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
