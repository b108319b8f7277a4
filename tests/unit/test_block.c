/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: block core */
/* Block layer: opening, locks with qemu-io as a peer, transfers, overlay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "block/block.h"
#include "core/loop/loop.h"

enum { IMAGE_BYTES = 1 << 20 };

struct env {
    struct loop *loop;
    char dir[64];
    char image[96];
    int done; /* completions */
    int last_rc;
};

static const struct blk_options raw_rw = { .format = "raw" };
static const struct blk_options raw_ro = { .format = "raw",
                                           .is_readonly = true };
static const struct blk_options raw_snapshot = { .format = "raw",
                                                 .is_snapshot = true };

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at ^ at >> 9 ^ 0x33);
}

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void read_file(const char *path, uint64_t at, void *data, size_t bytes)
{
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fread(data, 1, bytes, f), bytes);
    fclose(f);
}

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    uint8_t *data = malloc(IMAGE_BYTES);

    strcpy(x->dir, "/tmp/orrery-block-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->image, sizeof(x->image), "%s/disk.img", x->dir);
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        data[i] = pattern(i);
    write_file(x->image, data, IMAGE_BYTES);
    free(data);
    assert_int_equal(loop_create(&x->loop, NULL), 0);
    *state = x;
    return 0;
}

static int drop(void **state)
{
    static const char *const names[] = { "disk.img", "fifo", "socket", "dir",
                                         "link",     "odd",  "empty" };
    struct env *x = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", x->dir, names[i]);
        if (unlink(path) < 0) rmdir(path);
    }
    assert_int_equal(rmdir(x->dir), 0); /* nothing else was left behind */
    loop_step(x->loop, 0);
    loop_destroy(x->loop);
    free(x);
    return 0;
}

static struct blk *open_ok(struct env *x, const struct blk_options *o)
{
    struct err e = ERR_INIT;
    struct blk *b = NULL;

    if (blk_open(x->loop, x->image, o, &b, &e) < 0) fail_msg("%s", e.text);
    return b;
}

static void assert_refused(struct env *x, const char *file,
                           const struct blk_options *o, int rc,
                           const char *word)
{
    struct err e = ERR_INIT;
    struct blk *b = NULL;
    uint64_t start = loop_now_ns();

    assert_int_equal(blk_open(x->loop, file, o, &b, &e), rc);
    assert_true(loop_now_ns() - start < 1000000000u);
    assert_null(b);
    if (strstr(e.text, word) == NULL) fail_msg("%s", e.text);
    assert_null(strchr(e.text, '\n'));
}

static void on_done(void *arg, int rc)
{
    struct env *x = arg;

    x->done++;
    x->last_rc = rc;
}

static void wait_done(struct env *x, int count)
{
    uint64_t end = loop_now_ns() + 10000000000u;

    while (x->done < count) {
        assert_true(loop_now_ns() < end);
        loop_step(x->loop, 100);
    }
    assert_int_equal(x->done, count);
}

/* ---------------------------------------------------------------- opening */

static void what_is_no_disk_is_refused_at_once(void **state)
{
    struct env *x = *state;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/fifo", x->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(x, path, &raw_rw, -EINVAL, "is a FIFO");
    assert_refused(x, path, &raw_ro, -EINVAL, path);
    assert_refused(x, x->dir, &raw_rw, -EINVAL, "is a directory");
    assert_refused(x, "/dev/zero", &raw_ro, -EINVAL, "character device");
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/socket", x->dir);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_refused(x, sa.sun_path, &raw_rw, -EINVAL, "is a socket");
    close(fd);
    snprintf(path, sizeof(path), "%s/missing", x->dir);
    assert_refused(x, path, &raw_rw, -ENOENT, path);
    snprintf(path, sizeof(path), "%s/link", x->dir);
    assert_int_equal(symlink("link", path), 0);
    assert_refused(x, path, &raw_rw, -ELOOP, path);
}

static void unknown_format_and_cache_are_named(void **state)
{
    struct env *x = *state;
    const struct blk_options format = { .format = "floppy2000" };
    const struct blk_options cache = { .cache = "sometimes" };

    assert_refused(x, x->image, &format, -EINVAL, "floppy2000");
    assert_refused(x, x->image, &cache, -EINVAL, "sometimes");
}

static void an_image_of_another_format_is_not_taken_for_raw(void **state)
{
    struct env *x = *state;
    const struct blk_options probe = { .format = NULL };
    struct blk *b;

    write_file(x->image, "QED\0", 4);
    assert_refused(x, x->image, &probe, -ENOTSUP, "qed");
    b = open_ok(x, &raw_rw); /* when told so */
    blk_close(b);
}

static void a_probed_raw_disk_can_not_become_another_format(void **state)
{
    struct env *x = *state;
    const struct blk_options probe = { .format = NULL };
    struct blk *b = open_ok(x, &probe);
    uint8_t sector[1024] = "QFI\xfb";

    assert_string_equal(blk_format(b), "raw");
    assert_int_equal(blk_pwrite(b, 0, sector, 512), -EPERM);
    assert_int_equal(blk_pwrite(b, 0, sector, 3), 0);
    assert_int_equal(blk_pwrite(b, 3, sector + 3, 1), -EPERM); /* bit by bit */
    assert_int_equal(blk_pwrite(b, 512, sector, 512), 0);
    sector[0] = 0xeb;
    assert_int_equal(blk_pwrite(b, 0, sector, 1024), 0);
    blk_close(b);
}

static void a_readonly_file_opens_readonly_when_allowed(void **state)
{
    struct env *x = *state;
    const struct blk_options either = { .format = "raw",
                                        .is_auto_readonly = true };
    struct blk *b;

    bool is_root = geteuid() == 0;

    assert_int_equal(chmod(x->image, 0444), 0);
    if (is_root) { /* root may write any file: be nobody meanwhile */
        assert_int_equal(chmod(x->dir, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    assert_refused(x, x->image, &raw_rw, -EACCES, "readonly=on");
    b = open_ok(x, &either);
    assert_true(blk_is_readonly(b));
    blk_close(b);
    if (is_root) assert_int_equal(seteuid(0), 0);
}

/* ---------------------------------------------------------------- locks */

static void a_second_writer_is_refused(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_rw);

    assert_refused(x, x->image, &raw_rw, -EBUSY, "in use");
    assert_refused(x, x->image, &raw_ro, -EBUSY, x->image);
    assert_refused(x, x->image, &raw_snapshot, -EBUSY, "in use");
    blk_close(b);
    b = open_ok(x, &raw_rw); /* free again */
    blk_close(b);
}

static void readers_share_and_keep_writers_out(void **state)
{
    struct env *x = *state;
    struct blk *a = open_ok(x, &raw_ro), *b = open_ok(x, &raw_ro);
    struct blk *c = open_ok(x, &raw_snapshot);

    assert_refused(x, x->image, &raw_rw, -EBUSY, "in use");
    blk_close(a);
    blk_close(b);
    assert_refused(x, x->image, &raw_rw, -EBUSY, "in use");
    blk_close(c);
    a = open_ok(x, &raw_rw);
    blk_close(a);
}

static void *let_go(void *arg)
{
    const struct timespec soon = { .tv_nsec = 60 * 1000000 };

    nanosleep(&soon, NULL);
    close(*(int *)arg);
    return NULL;
}

/* As that of a killed process whose files the kernel has yet to close. */
static void a_lock_that_is_about_to_go_is_waited_for(void **state)
{
    struct env *x = *state;
    struct flock denies_write = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1
    };
    int fd = open(x->image, O_RDONLY);
    pthread_t thread;
    struct blk *b;

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &denies_write), 0);
    assert_int_equal(pthread_create(&thread, NULL, let_go, &fd), 0);
    b = open_ok(x, &raw_rw);
    assert_int_equal(pthread_join(thread, NULL), 0);
    blk_close(b);
}

static void need_qemu_io(void)
{
    if (system("qemu-io --version >/dev/null 2>&1") != 0) {
        print_message("skipped: qemu-io is not installed\n");
        skip();
    }
}

/* Exit status of qemu-io running one command on the image. */
static int qemu_io(struct env *x, const char *options, const char *command)
{
    char line[512];

    snprintf(line, sizeof(line),
             "timeout 20 qemu-io -f raw %s -c '%s' %s >/dev/null 2>&1", options,
             command, x->image);
    return system(line);
}

static void qemu_and_we_refuse_each_other(void **state)
{
    struct env *x = *state;
    int to[2], from[2], status;
    char word[64] = "";
    struct blk *b;
    pid_t pid;

    need_qemu_io();
    b = open_ok(x, &raw_rw);
    assert_int_not_equal(qemu_io(x, "", "write 0 512"), 0);
    blk_close(b);
    assert_int_equal(qemu_io(x, "", "write -P 7 0 512"), 0);
    b = open_ok(x, &raw_ro);
    assert_int_not_equal(qemu_io(x, "", "write 0 512"), 0);
    assert_int_equal(qemu_io(x, "-r", "read -P 7 0 512"), 0);
    blk_close(b);

    /* the other way round: qemu-io holds it while we try */
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid = fork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execlp("qemu-io", "qemu-io", "-f", "raw", x->image, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(write(to[1], "length\n", 7), 7);
    for (size_t n = 0; strstr(word, "MiB") == NULL && n < sizeof(word) - 1;) {
        ssize_t got = read(from[0], word + n, sizeof(word) - 1 - n);

        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_refused(x, x->image, &raw_rw, -EBUSY, "in use");
    close(to[1]);
    close(from[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    b = open_ok(x, &raw_rw);
    blk_close(b);
}

static void what_we_write_qemu_reads(void **state)
{
    struct env *x = *state;
    uint8_t data[4096];
    struct blk *b;

    need_qemu_io();
    b = open_ok(x, &raw_rw);
    memset(data, 0xa5, sizeof(data));
    assert_int_equal(blk_pwrite(b, 12345, data, sizeof(data)), 0);
    blk_close(b);
    assert_int_equal(qemu_io(x, "-r", "read -P 0xa5 12345 4096"), 0);
    assert_int_equal(qemu_io(x, "", "write -P 0x11 8192 512"), 0);
    b = open_ok(x, &raw_ro);
    assert_int_equal(blk_pread(b, 8192, data, 512), 0);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(data[i], 0x11);
    blk_close(b);
}

/* ------------------------------------------------------------- transfers */

static void scattered_reads_and_writes_complete_on_the_loop(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_rw);
    uint8_t one[100], two[1000], three[7];
    struct iovec iov[] = { { one, sizeof(one) },
                           { NULL, 0 },
                           { two, sizeof(two) },
                           { three, sizeof(three) } };

    assert_true(blk_read(b, 777, iov, 4, on_done, x) > 0);
    memset(iov, 0, sizeof(iov)); /* the list was copied */
    wait_done(x, 1);
    assert_int_equal(x->last_rc, 0);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(one[i], pattern(777 + i));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(two[i], pattern(877 + i));
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(three[i], pattern(1877 + i));
    iov[0] = (struct iovec){ two, 1000 };
    iov[1] = (struct iovec){ one, 100 };
    assert_true(blk_write(b, 5000, iov, 2, true, on_done, x) > 0);
    wait_done(x, 2);
    assert_true(blk_flush(b, on_done, x) > 0);
    wait_done(x, 3);
    assert_int_equal(x->last_rc, 0);
    read_file(x->image, 6000, two, 100);
    assert_memory_equal(two, one, 100);
    blk_close(b);
}

static void ranges_outside_are_errors(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_rw);
    uint8_t buf[512];
    struct iovec iov = { buf, sizeof(buf) };
    struct iovec huge[2] = { { buf, SIZE_MAX / 2 }, { buf, SIZE_MAX / 2 } };

    assert_true(blk_read(b, IMAGE_BYTES - 511, &iov, 1, on_done, x) > 0);
    wait_done(x, 1);
    assert_int_equal(x->last_rc, -EIO);
    assert_true(blk_write(b, UINT64_MAX - 10, &iov, 1, false, on_done, x) > 0);
    wait_done(x, 2);
    assert_int_equal(x->last_rc, -EIO);
    assert_int_equal(blk_read(b, 0, huge, 2, on_done, x), -EINVAL);
    assert_int_equal(blk_read(b, 0, &iov, -1, on_done, x), -EINVAL);
    assert_int_equal(blk_pread(b, IMAGE_BYTES, buf, 1), -EIO);
    assert_int_equal(blk_pread(b, IMAGE_BYTES, buf, 0), 0);
    blk_close(b);
    b = open_ok(x, &raw_ro);
    assert_true(blk_write(b, 0, &iov, 1, false, on_done, x) > 0);
    wait_done(x, 3);
    assert_int_equal(x->last_rc, -EROFS);
    blk_close(b);
}

static void a_file_that_shrank_gives_errors_not_zeros(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_ro);
    uint8_t buf[512];

    assert_int_equal(truncate(x->image, 1000), 0);
    assert_int_equal(blk_pread(b, 0, buf, 512), 0);
    assert_int_equal(blk_pread(b, 4096, buf, 512), -EIO);
    blk_close(b);
}

static void an_odd_size_is_filled_up_with_zeros(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    uint8_t buf[512];
    char path[128];
    struct blk *b;

    snprintf(path, sizeof(path), "%s/odd", x->dir);
    memset(buf, 0x77, sizeof(buf));
    write_file(path, buf, 100);
    assert_int_equal(blk_open(x->loop, path, &raw_rw, &b, &e), 0);
    assert_int_equal(blk_size_bytes(b), 512);
    assert_non_null(strstr(blk_warning(b), "100"));
    assert_int_equal(blk_pread(b, 0, buf, 512), 0);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(buf[i], i < 100 ? 0x77 : 0);
    blk_close(b);
    snprintf(path, sizeof(path), "%s/empty", x->dir);
    write_file(path, "", 0);
    assert_int_equal(blk_open(x->loop, path, &raw_rw, &b, &e), 0);
    assert_int_equal(blk_size_bytes(b), 0);
    assert_null(blk_warning(b));
    assert_int_equal(blk_pread(b, 0, buf, 1), -EIO);
    blk_close(b);
}

static void discard_frees_space_and_reads_zeros(void **state)
{
    struct env *x = *state;
    const struct blk_options unmap = { .format = "raw",
                                       .passes_discard = true };
    struct blk *b = open_ok(x, &unmap);
    struct stat before, after;
    uint8_t buf[512];

    assert_int_equal(blk_flush(b, on_done, x) > 0, 1);
    wait_done(x, 1);
    assert_int_equal(stat(x->image, &before), 0);
    assert_true(blk_discard(b, 65536, 524288, on_done, x) > 0);
    wait_done(x, 2);
    assert_int_equal(x->last_rc, 0);
    assert_int_equal(stat(x->image, &after), 0);
    assert_int_equal(after.st_size, IMAGE_BYTES);
    if (after.st_blocks < before.st_blocks) { /* not on every file system */
        assert_int_equal(blk_pread(b, 65536, buf, 512), 0);
        for (unsigned i = 0; i < 512; i++)
            assert_int_equal(buf[i], 0);
    }
    assert_true(blk_discard(b, IMAGE_BYTES, 1, on_done, x) > 0);
    wait_done(x, 3);
    assert_int_equal(x->last_rc, -EIO);
    blk_close(b);
}

static void drain_and_close_complete_everything(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_rw);
    uint8_t buf[64][512];

    for (unsigned i = 0; i < 64; i++) {
        struct iovec iov = { buf[i], 512 };
        assert_true(blk_read(b, i * 512, &iov, 1, on_done, x) > 0);
    }
    blk_drain(b);
    assert_int_equal(x->done, 64);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(buf[i][5], pattern(i * 512 + 5));
    for (unsigned i = 0; i < 64; i++) {
        struct iovec iov = { buf[i], 512 };
        assert_true(blk_write(b, i * 512, &iov, 1, false, on_done, x) > 0);
    }
    blk_close(b);
    assert_int_equal(x->done, 128);
    loop_step(x->loop, 0); /* what was posted finds nothing to do */
    assert_int_equal(x->done, 128);
}

static void cancelled_requests_still_complete(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_rw);
    uint8_t buf[200][512];
    int64_t id[200];

    for (unsigned i = 0; i < 200; i++) {
        struct iovec iov = { buf[i], 512 };
        id[i] = blk_read(b, i * 512, &iov, 1, on_done, x);
        assert_true(id[i] > 0);
    }
    for (unsigned i = 200; i-- > 0;)
        blk_cancel(b, id[i]);
    blk_cancel(b, 123456);
    blk_drain(b);
    assert_int_equal(x->done, 200);
    blk_close(b);
}

struct chain {
    struct env *x;
    struct blk *b;
    uint8_t buf[512];
    unsigned left;
};

static void next_link(void *arg, int rc)
{
    struct chain *c = arg;
    struct iovec iov = { c->buf, sizeof(c->buf) };

    assert_int_equal(rc, 0);
    c->x->done++;
    if (c->left-- > 0)
        assert_true(blk_read(c->b, 0, &iov, 1, next_link, c) > 0);
}

static void callbacks_may_start_requests_and_drain_waits_for_them(void **state)
{
    struct env *x = *state;
    struct chain c = { .x = x, .b = open_ok(x, &raw_rw), .left = 20 };
    struct iovec iov = { c.buf, sizeof(c.buf) };

    assert_true(blk_read(c.b, 0, &iov, 1, next_link, &c) > 0);
    blk_drain(c.b);
    assert_int_equal(x->done, 21);
    blk_close(c.b);
}

/* preadv2 with RWF_NOWAIT is the file system's to offer. */
static void skip_if_host_cannot_read_now(const char *path)
{
    char octet;
    struct iovec iov = { &octet, 1 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = preadv2(fd, &iov, 1, 0, RWF_NOWAIT);

    close(fd);
    if (n == 1) return;
    print_message("no reads without waiting in %s\n", path);
    skip();
}

static void octets_in_memory_are_read_at_once(void **state)
{
    struct env *x = *state;
    struct blk *b;
    struct blk_stats stats;
    uint8_t buf[5000];

    skip_if_host_cannot_read_now(x->image);
    b = open_ok(x, &raw_rw);
    assert_int_equal(blk_read_now(b, 4321, buf, sizeof(buf)), 0);
    for (unsigned i = 0; i < sizeof(buf); i++)
        assert_int_equal(buf[i], pattern(4321 + i));
    blk_get_stats(b, &stats);
    assert_int_equal(stats.read.operations, 1);
    assert_int_equal(stats.read.bytes, sizeof(buf));
    /* errors are told by blk_read */
    assert_int_equal(blk_read_now(b, IMAGE_BYTES - 1, buf, 2), -EAGAIN);
    assert_int_equal(blk_read_now(b, 0, buf, 0), -EAGAIN);
    blk_quiesce(b);
    assert_int_equal(blk_read_now(b, 0, buf, 1), -EAGAIN);
    blk_resume(b);
    assert_int_equal(blk_read_now(b, 0, buf, 1), 0);
    blk_close(b);
}

static const struct blk_options raw_tool = { .format = "raw", .is_tool = true };

static int count_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void a_tool_that_waits_serves_its_request_itself(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_tool);
    int threads = count_threads();
    uint8_t data[700], back[700];
    struct iovec iov = { data, sizeof(data) };

    memset(data, 0x5c, sizeof(data));
    assert_true(blk_write(b, 333, &iov, 1, false, on_done, x) > 0);
    assert_int_equal(x->done, 0);
    blk_wait(b);
    assert_int_equal(x->done, 1);
    assert_int_equal(x->last_rc, 0);
    read_file(x->image, 333, back, sizeof(back));
    assert_memory_equal(data, back, sizeof(data));
    iov.iov_base = back;
    assert_true(blk_read(b, 1333, &iov, 1, on_done, x) > 0);
    blk_wait(b);
    assert_int_equal(x->done, 2);
    assert_int_equal(back[0], pattern(1333));
    blk_wait(b); /* nothing is in flight */
    assert_int_equal(x->done, 2);
    assert_int_equal(count_threads(), threads);
    assert_true(blk_read(b, IMAGE_BYTES, &iov, 1, on_done, x) > 0);
    blk_wait(b);
    assert_int_equal(x->last_rc, -EIO);
    assert_true(blk_write(b, 0, &iov, 1, false, on_done, x) > 0);
    blk_close(b); /* serves what is left */
    assert_int_equal(x->done, 4);
}

static void a_tool_waits_for_many_requests(void **state)
{
    enum { COUNT = 64, BYTES = IMAGE_BYTES / COUNT, ROUNDS = 20 };
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_tool);
    uint8_t *data = malloc(IMAGE_BYTES), *back = malloc(IMAGE_BYTES);

    for (int round = 0; round < ROUNDS; round++) {
        memset(back, 0, IMAGE_BYTES);
        for (int i = 0; i < COUNT; i++) {
            struct iovec iov = { (i % 2 ? back : data) + i * BYTES, BYTES };
            uint64_t at = (uint64_t)i * BYTES;

            memset(data + at, round * 7 + i, BYTES);
            if (i % 2)
                assert_true(blk_read(b, at, &iov, 1, on_done, x) > 0);
            else
                assert_true(blk_write(b, at, &iov, 1, false, on_done, x) > 0);
        }
        while (x->done < COUNT * (round + 1))
            blk_wait(b);
        assert_int_equal(x->done, COUNT * (round + 1));
        assert_int_equal(x->last_rc, 0);
        for (int i = 1; i < COUNT; i += 2)
            assert_int_equal(back[i * BYTES + 5], pattern(i * BYTES + 5));
        for (int i = 0; i < COUNT; i += 2) {
            read_file(x->image, (uint64_t)i * BYTES, back, BYTES);
            assert_memory_equal(back, data + i * BYTES, BYTES);
        }
    }
    blk_close(b);
    free(data);
    free(back);
}

/* ------------------------------------------------------------- overlay */

static void snapshot_writes_leave_the_image_alone(void **state)
{
    struct env *x = *state;
    struct blk *b = open_ok(x, &raw_snapshot);
    uint8_t *shadow = malloc(IMAGE_BYTES), *buf = malloc(IMAGE_BYTES);
    uint32_t seed = 1;

    assert_false(blk_is_readonly(b));
    assert_string_equal(blk_format(b), "raw");
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        shadow[i] = pattern(i);
    for (unsigned i = 0; i < 300; i++) {
        size_t at, n;

        seed = seed * 1664525u + 1013904223u;
        at = seed >> 8 & (IMAGE_BYTES - 1);
        n = i % 10 == 0 ? 200000 : seed & 0x1fff;
        if (n > IMAGE_BYTES - at) n = IMAGE_BYTES - at;
        memset(shadow + at, (int)i, n);
        assert_int_equal(blk_pwrite(b, at, shadow + at, n), 0);
    }
    assert_int_equal(blk_pread(b, 0, buf, IMAGE_BYTES), 0);
    assert_memory_equal(buf, shadow, IMAGE_BYTES);
    blk_close(b);
    read_file(x->image, 0, buf, IMAGE_BYTES);
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        assert_int_equal(buf[i], pattern(i));
    free(shadow);
    free(buf);
}

static void snapshot_of_a_readonly_file_is_writable(void **state)
{
    struct env *x = *state;
    uint8_t buf[512] = { 1, 2, 3 }, back[512];
    struct blk *b;

    assert_int_equal(chmod(x->image, 0400), 0);
    b = open_ok(x, &raw_snapshot);
    assert_int_equal(blk_pwrite(b, 70000, buf, 512), 0);
    assert_int_equal(blk_pread(b, 70000, back, 512), 0);
    assert_memory_equal(back, buf, 512);
    blk_close(b);
}

static void a_missing_temporary_directory_is_named(void **state)
{
    struct env *x = *state;

    setenv("TMPDIR", "/nonexistent-orrery", 1);
    assert_refused(x, x->image, &raw_snapshot, -ENOENT, "nonexistent-orrery");
    unsetenv("TMPDIR");
}

/* ------------------------------------------------------------- drives */

static bool is_locked(void *arg)
{
    (void)arg;
    return true;
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void drives_exchange_media(void **state)
{
    struct env *x = *state;
    struct drive_table *t;
    struct drive *cd, *hd;
    struct err e = ERR_INIT;
    int calls = 0;
    struct drive_ops ops = { .medium_changed = count_call, .arg = &calls };

    assert_int_equal(drive_table_create(x->loop, &t), 0);
    assert_int_equal(drive_add(t, "cd0", true, true, NULL, &cd, &e), 0);
    assert_int_equal(drive_add(t, "cd0", true, true, NULL, NULL, &e), -EEXIST);
    assert_int_equal(drive_add(t, "hd0", false, false, NULL, NULL, &e),
                     -EINVAL);
    assert_int_equal(
        drive_add(t, "hd0", false, false, open_ok(x, &raw_ro), &hd, &e), 0);
    assert_ptr_equal(drive_find(t, "hd0"), hd);
    assert_null(drive_find(t, "hd1"));
    assert_ptr_equal(drive_next(t, NULL), cd);
    assert_ptr_equal(drive_next(t, cd), hd);
    assert_null(drive_next(t, hd));
    drive_set_ops(cd, &ops);
    assert_int_equal(
        drive_set_medium_locked(cd, open_ok(x, &raw_ro), false, &e), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(drive_set_medium_locked(hd, NULL, true, &e), -EINVAL);
    ops.is_locked = is_locked;
    drive_set_ops(cd, &ops);
    assert_int_equal(drive_set_medium_locked(cd, NULL, false, &e), -EBUSY);
    assert_non_null(drive_blk(cd));
    assert_int_equal(drive_set_medium_locked(cd, NULL, true, &e), 0);
    assert_null(drive_blk(cd));
    drive_table_destroy(t);
}

struct stops {
    unsigned errors, stops;
};

static void count_stop(void *arg, struct blk *b, const struct blk_error *error)
{
    struct stops *s = arg;

    (void)b;
    s->errors++;
    s->stops += error->action == BLK_STOP;
}

/* A read that fails: over (BLK_REPORT), or held until the file is whole. */
static void read_of_a_shrunk_file(struct env *x, struct drive *d,
                                  struct stops *s, bool is_held)
{
    struct blk *b = drive_blk(d);
    struct iovec iov = { .iov_len = 512 };
    uint64_t end = loop_now_ns() + 10000000000u;
    uint8_t buf[512];
    int done = x->done;

    iov.iov_base = buf;
    *s = (struct stops){ 0 };
    assert_int_equal(truncate(x->image, 1000), 0);
    assert_true(blk_read(b, 4096, &iov, 1, on_done, x) > 0);
    while (s->errors == 0) {
        assert_true(loop_now_ns() < end);
        loop_step(x->loop, 100);
    }
    assert_int_equal(s->stops, is_held ? 1 : 0);
    if (!is_held) wait_done(x, done + 1);
    assert_int_equal(blk_held(b), is_held ? 1 : 0);
    assert_int_equal(truncate(x->image, IMAGE_BYTES), 0);
    if (is_held) blk_retry(b);
    wait_done(x, done + 1);
    assert_int_equal(x->last_rc, is_held ? 0 : -EIO);
}

static void a_device_s_rerror_goes_before_the_drive_s(void **state)
{
    static const struct blk_options stops_opt = { .format = "raw",
                                                  .is_readonly = true,
                                                  .on_read_error = BLK_STOP };
    struct env *x = *state;
    struct stops s = { 0 };
    struct drive_table *t;
    struct err e = ERR_INIT;
    struct drive *d;

    assert_int_equal(drive_table_create(x->loop, &t), 0);
    drive_table_set_stop(t, count_stop, &s);
    assert_int_equal(
        drive_add(t, "cd0", true, true, open_ok(x, &raw_ro), &d, &e), 0);
    assert_int_equal(drive_set_on_error(d, "rerror", "enospc", &e), -EINVAL);
    assert_int_equal(drive_set_on_error(d, "rerror", "auto", &e), 0);
    read_of_a_shrunk_file(x, d, &s, false);
    assert_int_equal(drive_set_on_error(d, "rerror", "stop", &e), 0);
    read_of_a_shrunk_file(x, d, &s, true);
    /* The next medium as well, whatever it was opened with. */
    assert_int_equal(drive_set_medium_locked(d, open_ok(x, &raw_ro), true, &e),
                     0);
    read_of_a_shrunk_file(x, d, &s, true);
    assert_int_equal(drive_set_on_error(d, "rerror", "report", &e), 0);
    assert_int_equal(
        drive_set_medium_locked(d, open_ok(x, &stops_opt), true, &e), 0);
    read_of_a_shrunk_file(x, d, &s, false);
    drive_table_destroy(t);
}

/* Whether it waits, is served or is held already when it is cancelled. */
static void a_cancelled_request_is_not_held(void **state)
{
    static const struct blk_options stops_opt = { .format = "raw",
                                                  .is_readonly = true,
                                                  .on_read_error = BLK_STOP };
    struct env *x = *state;
    struct blk *b = open_ok(x, &stops_opt);
    struct stops s = { 0 };
    uint8_t buf[512];
    struct iovec iov = { buf, sizeof(buf) };

    blk_set_stop(b, count_stop, &s);
    assert_int_equal(truncate(x->image, 1000), 0);
    for (int i = 1; i <= 500; i++) {
        int64_t id = blk_read(b, 4096, &iov, 1, on_done, x);

        assert_true(id > 0);
        for (volatile int wait = 0; wait < i * 100; wait++) {}
        blk_cancel(b, id);
        blk_drain(b);
        assert_int_equal(blk_held(b), 0);
        assert_int_equal(x->done, i);
        assert_true(x->last_rc < 0);
    }
    blk_close(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_disk_is_refused_at_once),
        TEST(unknown_format_and_cache_are_named),
        TEST(an_image_of_another_format_is_not_taken_for_raw),
        TEST(a_probed_raw_disk_can_not_become_another_format),
        TEST(a_readonly_file_opens_readonly_when_allowed),
        TEST(a_second_writer_is_refused),
        TEST(readers_share_and_keep_writers_out),
        TEST(a_lock_that_is_about_to_go_is_waited_for),
        TEST(qemu_and_we_refuse_each_other),
        TEST(what_we_write_qemu_reads),
        TEST(scattered_reads_and_writes_complete_on_the_loop),
        TEST(ranges_outside_are_errors),
        TEST(a_file_that_shrank_gives_errors_not_zeros),
        TEST(an_odd_size_is_filled_up_with_zeros),
        TEST(discard_frees_space_and_reads_zeros),
        TEST(drain_and_close_complete_everything),
        TEST(cancelled_requests_still_complete),
        TEST(callbacks_may_start_requests_and_drain_waits_for_them),
        TEST(octets_in_memory_are_read_at_once),
        TEST(a_tool_that_waits_serves_its_request_itself),
        TEST(a_tool_waits_for_many_requests),
        TEST(snapshot_writes_leave_the_image_alone),
        TEST(snapshot_of_a_readonly_file_is_writable),
        TEST(a_missing_temporary_directory_is_named),
        TEST(drives_exchange_media),
        TEST(a_device_s_rerror_goes_before_the_drive_s),
        TEST(a_cancelled_request_is_not_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
