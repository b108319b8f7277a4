/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* NBD: names, the server and the client against each other and against
 * hostile peers of our own making (doc/proto.md of NetworkBlockDevice). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block/block_int.h"
#include "block/nbd.h"
#include "block/nbd_export.h"

enum { KiB = 1 << 10, MiB = 1 << 20, DISK = 8 * MiB };

struct rig {
    char folder[64], image[100], socket[100], name[160];
    struct node *node;
    struct nbd_server *server;
};

static const struct node_options writable = { .is_readonly = false };

static struct node *must_open(const char *file, const struct node_options *o)
{
    struct err e = ERR_INIT;
    struct node *n = NULL;

    if (node_open_image(file, "raw", true, false, o, &n, &e) < 0)
        fail_msg("%s: %s", file, e.text);
    return n;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct nbd_server_options so = { .address = NULL };
    struct nbd_export_options x = { .name = "disk", .is_writable = true };
    struct err e = ERR_INIT;
    char address[120];
    FILE *f;

    strcpy(r->folder, "/tmp/orrery-nbd-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->image, sizeof(r->image), "%s/disk", r->folder);
    snprintf(r->socket, sizeof(r->socket), "%s/socket", r->folder);
    snprintf(r->name, sizeof(r->name), "nbd:unix:%s:exportname=disk",
             r->socket);
    snprintf(address, sizeof(address), "unix:%s", r->socket);
    so.address = address;
    f = fopen(r->image, "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), DISK), 0);
    fclose(f);
    r->node = must_open(r->image, &writable);
    x.node = r->node;
    if (nbd_server_start(&so, &r->server, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(nbd_server_add(r->server, &x, &e), 0);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    nbd_server_stop(r->server, true);
    node_unref(r->node);
    unlink(r->image);
    rmdir(r->folder);
    free(r);
    return 0;
}

/* --------------------------------------------------------------- names */

static void names_are_taken_apart(void **unused)
{
    static const struct {
        const char *name, *path, *host, *port, *export;
    } rows[] = {
        { "nbd:unix:/a/b", "/a/b", "", "", "" },
        { "nbd:unix:/a:exportname=x y", "/a", "", "", "x y" },
        { "nbd:host:123", "", "host", "123", "" },
        { "nbd:[::1]:10809:exportname=d", "", "::1", "10809", "d" },
        { "nbd://host", "", "host", "10809", "" },
        { "nbd://host:99/a/b%20c", "", "host", "99", "a/b c" },
        { "nbd+unix:///e?socket=/tmp/x%3Ay", "/tmp/x:y", "", "", "e" },
        { "nbd+unix:///?socket=s", "s", "", "", "" },
    };
    struct nbd_address a;
    struct err e = ERR_INIT;

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(nbd_is_name(rows[i].name));
        if (nbd_parse_name(rows[i].name, &a, &e) < 0) fail_msg("%s", e.text);
        assert_int_equal(a.is_unix, rows[i].path[0] != '\0');
        assert_string_equal(a.path, rows[i].path);
        assert_string_equal(a.host, rows[i].host);
        assert_string_equal(a.port, rows[i].port);
        assert_string_equal(a.export, rows[i].export);
    }
    assert_false(nbd_is_name("/dev/nbd0"));
    assert_false(nbd_is_name("nbd"));
}

static void bad_names_are_refused(void **unused)
{
    static const char *const names[] = {
        "nbd:",          "nbd:unix:",         "nbd:host",
        "nbd:host:",     "nbd:host:99999",    "nbd:host:1x",
        "nbd://",        "nbd://h:1/x?a=b",   "nbd+unix:///x",
        "nbd+x://h/",    "nbds://host/",      "nbd+unix://h/x?socket=/a",
        "nbd://h/%zz",   "nbd://h/%0",        "nbd+unix:///x?socket=",
        "nbd:[::1:1234", "nbd://h?socket=/a", "nbd:/etc/passwd",
    };
    struct nbd_address a;

    (void)unused;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct err e = ERR_INIT;

        if (nbd_parse_name(names[i], &a, &e) == 0)
            fail_msg("%s was accepted", names[i]);
        assert_true(e.text[0] != '\0');
    }
}

/* ------------------------------------------------- client and server */

static void what_is_written_over_the_wire_reaches_the_disk(void **state)
{
    struct rig *r = *state;
    struct node *n = must_open(r->name, &writable);
    uint8_t *a = malloc(5 * MiB), *b = malloc(5 * MiB);
    struct node_extent x;

    assert_int_equal(n->size_bytes, DISK);
    for (unsigned i = 0; i < 5 * MiB; i++)
        a[i] = (uint8_t)(i * 7 + i / 4096 + 1);
    assert_int_equal(node_pwrite(n, 12345, a, 5 * MiB), 0);
    assert_int_equal(node_flush(n), 0);
    assert_int_equal(node_pread(r->node, 12345, b, 5 * MiB), 0);
    assert_memory_equal(a, b, 5 * MiB);
    memset(b, 0, 5 * MiB);
    assert_int_equal(node_pread(n, 12345, b, 5 * MiB), 0);
    assert_memory_equal(a, b, 5 * MiB);
    assert_int_equal(node_zero(n, MiB, MiB, NODE_REQ_UNMAP), 0);
    assert_int_equal(node_pread(n, MiB, b, MiB), 0);
    assert_true(buf_is_zero(b, MiB));
    assert_int_equal(node_status(n, MiB, MiB, &x), 0);
    assert_true(x.flags & EXTENT_ZERO);
    assert_int_equal(x.bytes, MiB);
    assert_int_equal(node_status(n, 2 * MiB, 64 * KiB, &x), 0);
    assert_true(x.flags & EXTENT_DATA);
    assert_int_equal(node_discard(n, 0, MiB), 0);
    assert_int_equal(node_pread(n, DISK, b, 1), -EIO);
    free(a);
    free(b);
    node_unref(n);
}

struct hammer {
    struct node *n;
    unsigned id;
    int rc;
};

/* Every thread has every eighth block of 16 KiB to itself. */
static void *hammer(void *arg)
{
    struct hammer *h = arg;
    uint8_t block[16 * KiB], back[16 * KiB];

    for (unsigned i = 0; i < 200 && h->rc == 0; i++) {
        uint64_t at = (uint64_t)(h->id + 8 * (i * 5 % 60)) * sizeof(block);

        memset(block, (int)(h->id * 31 + i), sizeof(block));
        h->rc = node_pwrite(h->n, at, block, sizeof(block));
        if (h->rc == 0) h->rc = node_pread(h->n, at, back, sizeof(back));
        if (h->rc == 0 && memcmp(block, back, sizeof(block)) != 0) h->rc = 1;
    }
    return NULL;
}

static void many_threads_share_a_connection(void **state)
{
    struct rig *r = *state;
    struct node *n = must_open(r->name, &writable);
    struct hammer h[8];
    pthread_t t[8];

    for (unsigned i = 0; i < 8; i++) {
        h[i] = (struct hammer){ n, i, 0 };
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(h[i].rc, 0);
    node_unref(n);
}

static void names_and_modes_are_checked(void **state)
{
    const struct node_options readonly = { .is_readonly = true };
    const struct node_options either = { .is_auto_readonly = true };
    struct nbd_export_options x = { .name = "ro" };
    struct rig *r = *state;
    struct err e = ERR_INIT;
    struct node *n;
    struct stat st;
    char name[200];

    x.node = r->node;
    assert_int_equal(nbd_server_add(r->server, &x, &e), 0);
    assert_int_equal(nbd_server_add(r->server, &x, &e), -EEXIST);
    assert_int_equal(stat(r->socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(name, sizeof(name), "nbd:unix:%s:exportname=none", r->socket);
    assert_int_equal(
        node_open_image(name, "raw", true, false, &readonly, &n, &e), -ENOENT);
    snprintf(name, sizeof(name), "nbd:unix:%s:exportname=ro", r->socket);
    assert_int_equal(
        node_open_image(name, "raw", true, false, &writable, &n, &e), -EACCES);
    n = must_open(name, &either);
    assert_true(n->is_readonly);
    assert_int_equal(node_pwrite(n, 0, "x", 1), -EROFS);
    node_unref(n);
    /* Not the user's own name: a file, which is not there. */
    assert_true(
        node_open_image(r->name, "raw", false, false, &readonly, &n, &e) < 0);
}

static void a_server_that_goes_fails_all_requests(void **state)
{
    struct rig *r = *state;
    struct node *n = must_open(r->name, &writable);
    struct err e = ERR_INIT;
    uint8_t b[512];

    assert_int_equal(node_pread(n, 0, b, sizeof(b)), 0);
    assert_int_equal(nbd_server_remove(r->server, "disk", &e), 0);
    assert_int_equal(node_pread(n, 0, b, sizeof(b)), -EIO);
    assert_int_equal(node_pwrite(n, 0, b, sizeof(b)), -EIO);
    assert_int_equal(node_flush(n), -EIO);
    node_unref(n);
}

/* ------------------------------------------------------ hostile clients */

static int dial(const struct rig *r)
{
    struct nbd_address a = { .is_unix = true };
    struct err e = ERR_INIT;
    int fd;

    strcpy(a.path, r->socket);
    fd = nbd_connect(&a, nbd_deadline(10000), &e);
    if (fd < 0) fail_msg("%s", e.text);
    return fd;
}

static uint64_t random_next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* What a client could say, in part well-formed. */
static size_t random_words(uint64_t *seed, uint8_t *out, size_t cap)
{
    static const uint32_t lengths[] = { 0,    1,    2,          4,
                                        6,    8,    14,         64,
                                        4097, 9216, 0x7fffffff, UINT32_MAX };
    uint8_t *p = out;

    while ((size_t)(p - out) + 64 < cap) {
        uint64_t v = random_next(seed);
        uint32_t length = lengths[v % 12];

        if (v >> 32 & 1) { /* an option */
            p = nbd_put(p, NBD_MAGIC_OPTION, 8);
            p = nbd_put(p, v >> 40 & 15, 4);
            p = nbd_put(p, length, 4);
            for (uint32_t i = 0; i < length && i < 16; i++)
                *p++ = i == 3 ? (uint8_t)(v >> 50) : 0;
        } else { /* a request */
            p = nbd_put(p, NBD_MAGIC_REQUEST, 4);
            p = nbd_put(p, v >> 36 & 31, 2);
            p = nbd_put(p, v >> 44 & 15, 2);
            p = nbd_put(p, v, 8);
            p = nbd_put(p, v >> 60 ? random_next(seed) % DISK : UINT64_MAX, 8);
            p = nbd_put(p, length, 4);
        }
    }
    return (size_t)(p - out);
}

static void say_go(int fd)
{
    uint8_t out[4 + 16 + 10], *p = out;

    p = nbd_put(p, 3, 4);
    p = nbd_put(p, NBD_MAGIC_OPTION, 8);
    p = nbd_put(p, NBD_OPT_GO, 4);
    p = nbd_put(p, 10, 4);
    p = nbd_put(p, 4, 4);
    memcpy(p, "disk", 4);
    nbd_put(p + 4, 0, 2);
    assert_int_equal(nbd_send(fd, out, sizeof(out), NULL, 0, 0), 0);
}

static void hostile_clients_do_not_harm_the_server(void **state)
{
    struct rig *r = *state;
    uint64_t seed = 0x9e3779b97f4a7c15ull;
    struct node *n;
    uint8_t b[512];

    for (unsigned i = 0; i < 300; i++) {
        uint8_t words[1500];
        size_t bytes = random_words(&seed, words, sizeof(words));
        int fd = dial(r);

        if (i % 3 == 0) {
            for (size_t k = 0; k < bytes; k += 7)
                words[k] = (uint8_t)random_next(&seed);
        }
        if (i % 3 != 1)
            say_go(fd);
        else
            nbd_put(words, 3, 4);
        /* The server may hang up at any octet. */
        nbd_send(fd, words, bytes, NULL, 0, nbd_deadline(100));
        if (i % 2) shutdown(fd, SHUT_WR);
        if (i % 4 == 3) {
            uint8_t back[256];

            nbd_recv(fd, back, sizeof(back), nbd_deadline(20));
        }
        close(fd);
    }
    n = must_open(r->name, &writable);
    assert_int_equal(node_pread(n, 0, b, sizeof(b)), 0);
    node_unref(n);
}

/* ------------------------------------------------------ hostile servers */

struct script {
    int listen_fd;
    const uint8_t *reply; /* to the first request; cookie put in at 8 */
    size_t bytes;
    bool is_structured;
    uint64_t size_bytes;
};

static void answer_option(int fd, uint32_t option, uint32_t type,
                          const uint8_t *data, size_t bytes)
{
    uint8_t out[64], *p = out;

    p = nbd_put(p, NBD_MAGIC_OPTION_REP, 8);
    p = nbd_put(p, option, 4);
    p = nbd_put(p, type, 4);
    p = nbd_put(p, bytes, 4);
    if (bytes > 0) memcpy(p, data, bytes);
    nbd_send(fd, out, 20 + bytes, NULL, 0, nbd_deadline(5000));
}

/* A server that negotiates well, and then says what the script has. */
static void *evil_server(void *arg)
{
    const struct script *s = arg;
    uint8_t head[28], data[8192];
    int fd = -1;

    while (fd < 0) /* not blocking */
        fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK);
    nbd_put(head, NBD_MAGIC, 8);
    nbd_put(head + 8, NBD_MAGIC_OPTION, 8);
    nbd_put(head + 16, 3, 2);
    nbd_send(fd, head, 18, NULL, 0, 0);
    nbd_recv(fd, head, 4, 0);
    for (;;) {
        uint32_t option, bytes;

        if (nbd_recv(fd, head, 16, nbd_deadline(5000)) < 0) goto out;
        option = (uint32_t)nbd_get(head + 8, 4);
        bytes = (uint32_t)nbd_get(head + 12, 4);
        if (bytes > sizeof(data) || nbd_recv(fd, data, bytes, 0) < 0) goto out;
        if (option == NBD_OPT_GO) {
            nbd_put(data, NBD_INFO_EXPORT, 2);
            nbd_put(data + 2, s->size_bytes, 8);
            nbd_put(data + 10, NBD_FLAG_HAS_FLAGS, 2);
            answer_option(fd, option, NBD_REP_INFO, data, 12);
            answer_option(fd, option, NBD_REP_ACK, NULL, 0);
            break;
        }
        answer_option(fd, option,
                      option == NBD_OPT_STRUCTURED_REPLY && s->is_structured
                          ? NBD_REP_ACK
                          : NBD_REP_ERR_UNSUP,
                      NULL, 0);
    }
    if (nbd_recv(fd, head, 28, nbd_deadline(5000)) < 0) goto out;
    memcpy(data, s->reply, s->bytes);
    if (s->bytes >= 16) memcpy(data + 8, head + 8, 8);
    nbd_send(fd, data, s->bytes, NULL, 0, nbd_deadline(5000));
    shutdown(fd, SHUT_WR);
    while (recv(fd, data, sizeof(data), 0) > 0)
        continue;
out:
    close(fd);
    return NULL;
}

/* Open, read 512 octets at 4096: what comes of it. */
static int read_from_evil(const struct script *script)
{
    struct nbd_address a = { .is_unix = false };
    struct script s = *script;
    struct node *n = NULL;
    struct err e = ERR_INIT;
    pthread_t t;
    char name[64];
    uint8_t b[512 + 64];
    int rc;

    strcpy(a.host, "127.0.0.1");
    strcpy(a.port, "0");
    s.listen_fd = nbd_listen(&a, &e);
    if (s.listen_fd < 0) fail_msg("%s", e.text);
    assert_int_equal(pthread_create(&t, NULL, evil_server, &s), 0);
    snprintf(name, sizeof(name), "nbd:127.0.0.1:%s", a.port);
    memset(b, 0xee, sizeof(b));
    rc = node_open_image(name, "raw", true, false, &writable, &n, &e);
    if (rc == 0) {
        rc = node_pread(n, 4096, b, 512);
        node_unref(n);
    }
    pthread_join(t, NULL);
    close(s.listen_fd);
    for (unsigned i = 512; i < sizeof(b); i++)
        assert_int_equal(b[i], 0xee);
    return rc;
}

static size_t chunk(uint8_t *out, unsigned flags, unsigned type, uint32_t bytes)
{
    nbd_put(out, NBD_MAGIC_CHUNK, 4);
    nbd_put(out + 4, flags, 2);
    nbd_put(out + 6, type, 2);
    nbd_put(out + 16, bytes, 4);
    return 20;
}

static void hostile_servers_give_errors_alone(void **unused)
{
    static const struct {
        unsigned type;
        uint32_t bytes;
        uint64_t offset;
        uint32_t length; /* of a hole */
    } chunks[] = {
        { NBD_REPLY_OFFSET_DATA, 8 + 513, 4096, 0 },
        { NBD_REPLY_OFFSET_DATA, 8 + 512, 4095, 0 },
        { NBD_REPLY_OFFSET_DATA, 8 + 512, 4097, 0 },
        { NBD_REPLY_OFFSET_DATA, 8 + 1, 4096 + 512, 0 },
        { NBD_REPLY_OFFSET_DATA, 8, 4096, 0 },
        { NBD_REPLY_OFFSET_DATA, UINT32_MAX, 4096, 0 },
        { NBD_REPLY_OFFSET_DATA, 8 + 100, 4096, 0 }, /* done too early */
        { NBD_REPLY_OFFSET_HOLE, 12, 4096, 513 },
        { NBD_REPLY_OFFSET_HOLE, 12, UINT64_MAX, 512 },
        { NBD_REPLY_OFFSET_HOLE, 12, 4096, UINT32_MAX },
        { NBD_REPLY_OFFSET_HOLE, 12, 4096, 0 },
        { NBD_REPLY_OFFSET_HOLE, 13, 4096, 512 },
        { NBD_REPLY_BLOCK_STATUS, 12, 0, 512 },
        { NBD_REPLY_NONE, 4, 0, 0 },
        { NBD_REPLY_NONE, 0, 0, 0 },
        { NBD_REPLY_ERROR, 3, 0, 0 },
        { NBD_REPLY_ERROR, UINT32_MAX, 0, 0 },
        { 77, 0, 0, 0 },
    };
    uint8_t out[2048];
    struct script s = { .reply = out, .is_structured = true };

    (void)unused;
    s.size_bytes = MiB;
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        memset(out, 0, sizeof(out));
        chunk(out, NBD_REPLY_FLAG_DONE, chunks[i].type, chunks[i].bytes);
        nbd_put(out + 20, chunks[i].offset, 8);
        nbd_put(out + 28, chunks[i].length, 4);
        s.bytes = 20 + (chunks[i].bytes < 1000 ? chunks[i].bytes : 1000);
        assert_int_equal(read_from_evil(&s), -EIO);
    }
    /* no reply at all, half a reply, a foreign magic, a simple reply that
     * must not be */
    for (s.bytes = 0; s.bytes < 16; s.bytes += 5)
        assert_int_equal(read_from_evil(&s), -EIO);
    s.bytes = 16 + 512;
    nbd_put(out, 0x12345678, 4);
    assert_int_equal(read_from_evil(&s), -EIO);
    memset(out, 0, sizeof(out));
    nbd_put(out, NBD_MAGIC_SIMPLE, 4);
    assert_int_equal(read_from_evil(&s), -EIO);
    /* The rig can also tell the truth. */
    s.is_structured = false;
    assert_int_equal(read_from_evil(&s), 0);
    nbd_put(out + 4, NBD_ENOSPC, 4);
    assert_int_equal(read_from_evil(&s), -ENOSPC);
    s.size_bytes = UINT64_MAX;
    assert_int_equal(read_from_evil(&s), -EFBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test_setup_teardown(
            what_is_written_over_the_wire_reaches_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads_share_a_connection, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_and_modes_are_checked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_server_that_goes_fails_all_requests,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_clients_do_not_harm_the_server,
                                        setup, teardown),
        cmocka_unit_test(hostile_servers_give_errors_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
