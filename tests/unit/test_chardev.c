/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: places, permissions, stale sockets, bounded output, the
 * keys of a shared terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host/chardev.h"
#include "core/loop/loop.h"

struct front { /* what one front end saw */
    char got[4096];
    size_t len, room;
    unsigned opened, closed, breaks, focused;
};

struct rig {
    struct loop *loop;
    char dir[64], path[128], spec[192];
    struct front dev, mon;
};

static size_t can_receive(void *arg)
{
    return ((struct front *)arg)->room;
}

static void receive(void *arg, const uint8_t *buf, size_t bytes)
{
    struct front *f = arg;

    assert_true(bytes <= f->room);
    assert_true(f->len + bytes < sizeof(f->got));
    memcpy(f->got + f->len, buf, bytes);
    f->len += bytes;
    f->room -= bytes;
}

static void opened(void *arg, bool is_open)
{
    struct front *f = arg;

    if (is_open) {
        f->opened++;
    } else {
        f->closed++;
    }
}

static void send_break(void *arg)
{
    ((struct front *)arg)->breaks++;
}

static void focus(void *arg, bool has_focus)
{
    ((struct front *)arg)->focused += has_focus;
}

static struct chardev_front handlers(struct front *f)
{
    f->room = sizeof(f->got) - 1;
    return (struct chardev_front){ .can_receive = can_receive,
                                   .receive = receive,
                                   .opened = opened,
                                   .send_break = send_break,
                                   .focus = focus,
                                   .arg = f };
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;

    strcpy(r->dir, "/tmp/test-chardev-XXXXXX");
    if (mkdtemp(r->dir) == NULL) return -1;
    snprintf(r->path, sizeof(r->path), "%s/place", r->dir);
    if (loop_create(&r->loop, &e) < 0) return -1;
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    char cmd[128];

    loop_destroy(r->loop);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
    if (system(cmd) != 0) return -1;
    free(r);
    return 0;
}

static struct chardev *must_open(struct rig *r, const char *kind,
                                 const char *words)
{
    struct chardev *c = NULL;
    struct err e = ERR_INIT;

    snprintf(r->spec, sizeof(r->spec), "%s%s%s", kind, r->path, words);
    if (chardev_open(r->loop, "c", r->spec, &c, &e) < 0)
        fail_msg("%s: %s", r->spec, e.text);
    return c;
}

static void must_fail(struct rig *r, const char *spec, int rc, const char *word)
{
    struct chardev *c = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(chardev_open(r->loop, "c", spec, &c, &e), rc);
    if (strstr(e.text, word) == NULL) fail_msg("%s: %s", spec, e.text);
    assert_null(c);
}

static int dial(struct rig *r)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path, r->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* Let the loop work until n octets came to f, or for long enough. */
static void until(struct rig *r, const struct front *f, size_t n)
{
    for (unsigned i = 0; i < 200 && f->len < n; i++)
        loop_step(r->loop, 10);
    assert_int_equal(f->len, n);
}

static void settle(struct rig *r)
{
    for (unsigned i = 0; i < 5; i++)
        loop_step(r->loop, 1);
}

static void read_all(int fd, char *buf, size_t bytes)
{
    size_t n = 0;

    while (n < bytes) {
        ssize_t k = read(fd, buf + n, bytes - n);
        assert_true(k > 0);
        n += (size_t)k;
    }
    buf[bytes] = '\0';
}

static void a_file_gets_what_is_written(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "file:", "");
    struct err e = ERR_INIT;
    char buf[16] = "";
    int fd;

    assert_int_equal(access(r->path, F_OK), -1); /* not made in vain */
    assert_int_equal(chardev_start(c, &e), 0);
    assert_int_equal(access(r->path, F_OK), 0);
    assert_int_equal(chardev_write(c, "hello", 5), 5);
    chardev_close(c);
    chardev_close(must_open(r, "file:", ""));
    fd = open(r->path, O_RDONLY); /* nor emptied in vain */
    assert_int_equal(read(fd, buf, sizeof(buf)), 5);
    close(fd);
    memset(buf, 0, sizeof(buf));
    c = must_open(r, "file:", ""); /* truncates, as QEMU's does */
    assert_int_equal(chardev_write(c, "abc", 3), 3);
    chardev_close(c);
    fd = open(r->path, O_RDONLY);
    assert_int_equal(read(fd, buf, sizeof(buf)), 3);
    assert_string_equal(buf, "abc");
    close(fd);
}

static void a_doubled_comma_belongs_to_the_path(void **state)
{
    struct rig *r = *state;
    char path[256];
    struct chardev *c;
    struct err e = ERR_INIT;

    strcat(r->path, ",,1");
    c = must_open(r, "file:", "");
    assert_int_equal(chardev_start(c, &e), 0);
    chardev_close(c);
    snprintf(path, sizeof(path), "%s/place,1", r->dir);
    assert_int_equal(access(path, F_OK), 0);
}

static void a_unix_socket_is_private_and_goes_away(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "unix:", ",server=on,wait=off");
    struct stat st;

    assert_int_equal(lstat(r->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    chardev_close(c);
    assert_int_equal(lstat(r->path, &st), -1);
}

static void octets_go_both_ways_and_peers_come_and_go(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "unix:", ",server,nowait");
    struct chardev_front f = handlers(&r->dev);
    char buf[16];
    int fd;

    chardev_set_front(c, &f);
    assert_false(chardev_is_open(c));
    assert_int_equal(chardev_write(c, "lost", 4), 4); /* no peer yet */
    for (unsigned round = 1; round <= 2; round++) {
        fd = dial(r);
        settle(r);
        assert_int_equal(r->dev.opened, round);
        assert_int_equal(write(fd, "in", 2), 2);
        until(r, &r->dev, 2 * round);
        assert_int_equal(chardev_write(c, "out", 3), 3);
        read_all(fd, buf, 3);
        assert_string_equal(buf, "out");
        close(fd);
        for (unsigned i = 0; i < 100 && r->dev.closed < round; i++)
            loop_step(r->loop, 10);
        assert_int_equal(r->dev.closed, round);
    }
    assert_memory_equal(r->dev.got, "inin", 4);
    chardev_close(c);
}

static void a_dead_socket_is_replaced(void **state)
{
    struct rig *r = *state;
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct err e = ERR_INIT;

    strcpy(a.sun_path, r->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    snprintf(r->spec, sizeof(r->spec), "unix:%s,server=on,wait=off", r->path);
    assert_int_equal(chardev_check(r->spec, &e), 0);
    chardev_close(must_open(r, "unix:", ",server=on,wait=off"));
}

static void a_live_socket_and_a_file_are_left_alone(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "unix:", ",server=on,wait=off");
    struct err e = ERR_INIT;
    struct stat st;
    int fd;

    must_fail(r, r->spec, -EADDRINUSE, r->path);
    assert_int_equal(chardev_check(r->spec, &e), -EADDRINUSE);
    settle(r);      /* takes the visits of those who looked */
    close(dial(r)); /* the first one still serves */
    chardev_close(c);
    fd = open(r->path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    must_fail(r, r->spec, -EADDRINUSE, r->path);
    assert_int_equal(chardev_check(r->spec, &e), -EEXIST);
    assert_int_equal(lstat(r->path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void checking_creates_nothing(void **state)
{
    static const char *const forms[] = { "file:%s",
                                         "unix:%s,server=on,wait=off",
                                         "mon:unix:%s,server=on" };
    struct rig *r = *state;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct err e = ERR_INIT;

        snprintf(r->spec, sizeof(r->spec), forms[i], r->path);
        assert_int_equal(chardev_check(r->spec, &e), 0);
        assert_int_equal(access(r->path, F_OK), -1);
    }
}

static void a_server_that_waits_returns_with_its_peer(void **state)
{
    struct rig *r = *state;
    struct chardev *c;
    pid_t pid = fork();
    int status;

    if (pid == 0) { /* dial until somebody listens */
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        strcpy(a.sun_path, r->path);
        for (unsigned i = 0; i < 1000; i++) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);

            if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
                _exit(write(fd, "x", 1) == 1 ? 0 : 1);
            close(fd);
            usleep(5000);
        }
        _exit(2);
    }
    c = must_open(r, "unix:", ",server=on");
    assert_true(chardev_is_open(c));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    chardev_close(c);
}

static void a_peer_that_does_not_read_stops_nobody(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "unix:", ",server=on,wait=off");
    int fd = dial(r), small = 4096;
    static uint8_t block[8192];
    size_t taken = 0, offered = 0, back = 0;
    uint64_t start;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    settle(r);
    start = loop_now_ns();
    for (unsigned i = 0; i < 512; i++) { /* 4 MiB */
        for (size_t k = 0; k < sizeof(block); k++)
            block[k] = (uint8_t)(taken + k);
        taken += chardev_write(c, block, sizeof(block));
        offered += sizeof(block);
    }
    assert_true(loop_now_ns() - start < 2000000000u);
    assert_true(taken < offered);
    assert_true(chardev_pending(c) <= 64 << 10);
    assert_true(chardev_pending(c) > 0);
    while (back < taken) { /* the oldest were kept, in order */
        uint8_t buf[8192];
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            loop_step(r->loop, 10);
            continue;
        }
        assert_true(n > 0);
        for (ssize_t k = 0; k < n; k++)
            assert_int_equal(buf[k], (uint8_t)(back + (size_t)k));
        back += (size_t)n;
    }
    close(fd);
    chardev_close(c);
}

static void input_waits_until_the_front_end_has_room(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "unix:", ",server=on,wait=off");
    struct chardev_front f = handlers(&r->dev);
    int fd;

    r->dev.room = 1; /* a UART without FIFO */
    chardev_set_front(c, &f);
    fd = dial(r);
    assert_int_equal(write(fd, "abc", 3), 3);
    until(r, &r->dev, 1);
    settle(r);
    assert_int_equal(r->dev.len, 1);
    for (size_t n = 2; n <= 3; n++) {
        r->dev.room = 1;
        chardev_accept_input(c);
        until(r, &r->dev, n);
    }
    assert_memory_equal(r->dev.got, "abc", 3);
    close(fd);
    chardev_close(c);
}

static int last_key; /* what the escape handler was told */

static void on_escape(void *arg, int key)
{
    (void)arg;
    last_key = key;
}

static void mux_keys_switch_break_and_escape(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "mon:unix:", ",server=on,wait=off");
    struct chardev_front dev = handlers(&r->dev), mon = handlers(&r->mon);
    char help[2000] = "";
    int fd;

    assert_true(chardev_is_mux(c));
    chardev_set_front(c, &dev);
    chardev_set_monitor(c, &mon);
    chardev_set_escape(c, on_escape, NULL);
    fd = dial(r);
    assert_int_equal(write(fd, "a\1\1b\1bc\1cd", 10), 10);
    until(r, &r->mon, 1);
    assert_int_equal(r->dev.len, 4);
    assert_memory_equal(r->dev.got, "a\1bc", 4);
    assert_int_equal(r->dev.breaks, 1);
    assert_memory_equal(r->mon.got, "d", 1);
    assert_int_equal(r->mon.focused, 1);
    assert_int_equal(write(fd, "\1ce", 3), 3);
    until(r, &r->dev, 5);
    assert_int_equal(write(fd, "\1x\1h", 4), 4);
    for (unsigned i = 0;
         i < 100 && recv(fd, help, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++)
        loop_step(r->loop, 10);
    assert_int_equal(last_key, 'x');
    assert_true(recv(fd, help, sizeof(help) - 1, 0) > 0);
    assert_non_null(strstr(help, "ends the machine"));
    /* Both may write at any time. */
    chardev_write(c, "1", 1);
    chardev_write_answer(c, "2", 1);
    read_all(fd, help, 2);
    assert_string_equal(help, "12");
    close(fd);
    chardev_close(c);
}

static void mux_stamps_lines_with_the_time(void **state)
{
    struct rig *r = *state;
    struct chardev *c = must_open(r, "mon:unix:", ",server=on,wait=off");
    struct chardev_front dev = handlers(&r->dev);
    char buf[64];
    int fd;

    chardev_set_front(c, &dev);
    fd = dial(r);
    assert_int_equal(write(fd, "\1tx", 3), 3);
    until(r, &r->dev, 1);
    chardev_write(c, "one", 3);
    chardev_write(c, "\ntwo\n", 5);
    read_all(fd, buf, 2 * 15 + 8);
    assert_int_equal(buf[0], '[');
    assert_memory_equal(buf + 13, "] one\n[", 7);
    assert_memory_equal(buf + 15 + 4 + 13, "] two\n", 6);
    close(fd);
    chardev_close(c);
}

static unsigned writes_seen;

static void written(void *arg)
{
    (void)arg;
    writes_seen++;
}

static void a_vc_keeps_the_newest_octets(void **state)
{
    struct rig *r = *state;
    struct chardev_front f = handlers(&r->dev);
    struct chardev *c = NULL;
    struct err e = ERR_INIT;
    uint8_t tail[8];
    uint64_t total = 0;

    assert_int_equal(chardev_open(r->loop, "c", "vc:80Cx24C", &c, &e), 0);
    assert_true(chardev_is_vc(c));
    chardev_set_front(c, &f);
    chardev_vc_watch(c, written, NULL);
    for (unsigned i = 0; i < 100000; i++)
        chardev_write(c, &(char){ (char)('a' + i % 26) }, 1);
    assert_int_equal(writes_seen, 100000);
    assert_int_equal(chardev_vc_tail(c, tail, sizeof(tail), &total), 8);
    assert_int_equal(total, 100000);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(tail[i], 'a' + (100000 - 8 + i) % 26);
    chardev_vc_input(c, (const uint8_t *)"typed", 5);
    assert_int_equal(r->dev.len, 5);
    chardev_close(c);
}

static void a_pty_talks_to_a_terminal_program(void **state)
{
    struct rig *r = *state;
    struct chardev_front f = handlers(&r->dev);
    struct chardev *c = NULL;
    struct err e = ERR_INIT;
    char name[128] = "", line[200];
    int saved = dup(2), p[2], fd;
    FILE *in;

    assert_int_equal(pipe(p), 0); /* the name is told on stderr, as QEMU does */
    dup2(p[1], 2);
    assert_int_equal(chardev_open(r->loop, "c", "pty", &c, &e), 0);
    dup2(saved, 2);
    close(p[1]);
    in = fdopen(p[0], "r");
    assert_non_null(fgets(line, sizeof(line), in));
    assert_int_equal(
        sscanf(line, "char device redirected to %127s (label c)", name), 1);
    fclose(in);
    chardev_set_front(c, &f);
    fd = open(name, O_RDWR | O_NOCTTY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "in", 2), 2);
    until(r, &r->dev, 2);
    chardev_write(c, "out", 3);
    read_all(fd, line, 3);
    assert_string_equal(line, "out");
    close(fd);
    settle(r);
    assert_int_equal(r->dev.closed, 0); /* the next user may come */
    chardev_close(c);
    close(saved);
}

static void telnet_commands_are_removed(void **state)
{
    struct rig *r = *state;
    struct chardev_front f = handlers(&r->dev);
    struct chardev *c = NULL;
    struct err e = ERR_INIT;
    char buf[16];

    /* RFC 854: IAC DO x, IAC SB .. IAC SE, IAC IAC, IAC BRK, CR NUL */
    static const char sent[] = "a\xff\xfd\x01"
                               "b\xff\xfa\x18\x01\xff\xf0"
                               "c\xff\xff\xff\xf3"
                               "d\r";

    for (unsigned port = 20000; c == NULL && port < 60000; port += 371) {
        snprintf(r->spec, sizeof(r->spec), "telnet::%u,server=on,wait=off",
                 port);
        if (chardev_open(r->loop, "c", r->spec, &c, &e) == 0) {
            struct {
                uint16_t family, port;
                uint8_t addr[4], zero[8];
            } a = { AF_INET,
                    (uint16_t)(port << 8 | port >> 8),
                    { 127, 0, 0, 1 },
                    { 0 } };
            int fd = socket(AF_INET, SOCK_STREAM, 0);

            chardev_set_front(c, &f);
            assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
            assert_int_equal(write(fd, sent, sizeof(sent)), sizeof(sent));
            until(r, &r->dev, 6);
            assert_memory_equal(r->dev.got,
                                "abc\xff"
                                "d\r",
                                6);
            assert_int_equal(r->dev.breaks, 1);
            read_all(fd, buf, 6); /* will echo, will suppress go-ahead */
            assert_memory_equal(buf, "\xff\xfb\x01\xff\xfb\x03", 6);
            close(fd);
        }
    }
    assert_non_null(c);
    chardev_close(c);
}

static void bad_specs_are_refused_with_a_reason(void **state)
{
    struct rig *r = *state;
    char fifo[256];

    must_fail(r, "bogus", -EINVAL, "bogus");
    must_fail(r, "file:", -EINVAL, "path");
    must_fail(r, "unix:", -EINVAL, "path");
    must_fail(r, "null:x", -EINVAL, "nothing after");
    must_fail(r, "null,frob=1", -EINVAL, "frob=1");
    must_fail(r, "file:/nonexistent/x", -ENOENT, "/nonexistent/x");
    must_fail(r, "unix:/nonexistent/x", -ENOENT, "/nonexistent/x");
    must_fail(r, "unix:/nonexistent/x,server=on,wait=off", -ENOENT, "/none");
    must_fail(r, "tcp:localhost", -EINVAL, "HOST:PORT");
    must_fail(r, "pipe:/nonexistent/x", -ENOENT, "/nonexistent/x");
    must_fail(r,
              "unix:/12345678901234567890123456789012345678901234567890/"
              "12345678901234567890123456789012345678901234567890/123456",
              -ENAMETOOLONG, "107 characters");
    snprintf(fifo, sizeof(fifo), "file:%s/fifo", r->dir);
    assert_int_equal(mkfifo(fifo + 5, 0600), 0);
    must_fail(r, fifo, -ENXIO, "nobody reads");
}

static void a_pipe_needs_no_peer(void **state)
{
    struct rig *r = *state;
    struct chardev_front f = handlers(&r->dev);
    struct chardev *c;
    char in[256], out[256], buf[8];
    int fd;

    snprintf(in, sizeof(in), "%s.in", r->path);
    snprintf(out, sizeof(out), "%s.out", r->path);
    assert_int_equal(mkfifo(in, 0600), 0);
    assert_int_equal(mkfifo(out, 0600), 0);
    c = must_open(r, "pipe:", "");
    chardev_set_front(c, &f);
    chardev_write(c, "out", 3);
    fd = open(out, O_RDONLY);
    read_all(fd, buf, 3);
    close(fd);
    fd = open(in, O_WRONLY);
    assert_int_equal(write(fd, "in", 2), 2);
    until(r, &r->dev, 2);
    close(fd);
    settle(r);
    assert_int_equal(r->dev.closed, 0);
    chardev_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_gets_what_is_written),
        TEST(a_doubled_comma_belongs_to_the_path),
        TEST(a_unix_socket_is_private_and_goes_away),
        TEST(octets_go_both_ways_and_peers_come_and_go),
        TEST(a_dead_socket_is_replaced),
        TEST(a_live_socket_and_a_file_are_left_alone),
        TEST(checking_creates_nothing),
        TEST(a_server_that_waits_returns_with_its_peer),
        TEST(a_peer_that_does_not_read_stops_nobody),
        TEST(input_waits_until_the_front_end_has_room),
        TEST(mux_keys_switch_break_and_escape),
        TEST(mux_stamps_lines_with_the_time),
        TEST(a_vc_keeps_the_newest_octets),
        TEST(a_pty_talks_to_a_terminal_program),
        TEST(telnet_commands_are_removed),
        TEST(bad_specs_are_refused_with_a_reason),
        TEST(a_pipe_needs_no_peer),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
