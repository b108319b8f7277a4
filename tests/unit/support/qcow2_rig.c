/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/qcow2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int q2_rig_open(void **state)
{
    struct q2_rig *r = calloc(1, sizeof(*r));

    if (r == NULL) return -1;
    snprintf(r->dir, sizeof(r->dir), "/tmp/orrery-qcow2-XXXXXX");
    if (mkdtemp(r->dir) == NULL) return -1;
    snprintf(r->image, sizeof(r->image), "%s/image", r->dir);
    snprintf(r->raw, sizeof(r->raw), "%s/raw", r->dir);
    *state = r;
    return 0;
}

int q2_rig_close(void **state)
{
    struct q2_rig *r = *state;
    int rc = q2_run(r, "rm -rf \"$PWD\"");

    free(r);
    return rc;
}

void q2_need_qemu(void)
{
    if (system("command -v qemu-img qemu-io >/dev/null") == 0) return;
    print_message("no qemu-img and qemu-io: nothing to compare with\n");
    skip();
}

int q2_run(const struct q2_rig *r, const char *fmt, ...)
{
    char command[1024];
    int at = snprintf(command, sizeof(command), "cd %s && ", r->dir), rc;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command + at, sizeof(command) - (size_t)at, fmt, ap);
    va_end(ap);
    rc = system(command);
    return rc < 0 ? rc : rc >> 8;
}

void q2_write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

void q2_judge(const struct q2_rig *r, const uint8_t *model, size_t bytes,
              bool may_leak)
{
    int rc = q2_run(r, "qemu-img check -q -f qcow2 image");

    if (rc != 0 && !(may_leak && rc == 3)) {
        q2_run(r, "qemu-img check -f qcow2 image | tail -5");
        fail_msg("qemu-img check: status %d", rc);
    }
    q2_write_file(r->raw, model, bytes);
    assert_int_equal(
        q2_run(r, "qemu-img compare -f qcow2 -F raw image raw >/dev/null"), 0);
}

struct node *q2_open(const char *file, const struct node_options *o)
{
    static const struct node_options none;
    struct err e = ERR_INIT;
    struct node *n = NULL;
    int rc = node_open_image(file, "qcow2", true, false, o ? o : &none, &n, &e);

    if (rc < 0) fail_msg("%s", e.text);
    return n;
}

uint32_t q2_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes */
    return *seed >> 8;
}

void q2_fill(uint8_t *p, size_t bytes, uint32_t *seed)
{
    uint32_t v = q2_random(seed);

    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v + i * 7 + (i >> 9));
}

/* -------------------------------------------------------- file in memory */

/* One for all: tests do not care how fast this is. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct q2_mem *q2_mem_load(const char *file)
{
    struct q2_mem *m = calloc(1, sizeof(*m));
    FILE *f = fopen(file, "rb");

    assert_non_null(m);
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    m->bytes = (uint64_t)ftell(f);
    rewind(f);
    m->cap = m->bytes + (64 << 20);
    m->data = calloc(1, m->cap);
    assert_non_null(m->data);
    assert_int_equal(fread(m->data, 1, m->bytes, f), m->bytes);
    fclose(f);
    return m;
}

void q2_mem_free(struct q2_mem *m)
{
    for (size_t i = 0; i < m->events; i++)
        free(m->event[i].data);
    free(m->event);
    free(m->data);
    free(m);
}

static bool fails(const struct q2_mem *m, unsigned long nth, unsigned long at)
{
    return at != 0 && (nth == at || (m->is_sticky && nth > at));
}

static uint8_t *remember(struct q2_mem *m, int kind, uint64_t offset,
                         size_t bytes)
{
    struct q2_event *e;

    if (m->events == m->events_cap) {
        m->events_cap = m->events_cap * 2 + 64;
        m->event = realloc(m->event, m->events_cap * sizeof(*m->event));
    }
    e = &m->event[m->events++];
    e->kind = kind;
    e->offset = offset;
    e->bytes = bytes;
    e->data = malloc(bytes + 1);
    return e->data;
}

static int mem_readv(struct node *n, uint64_t offset, const struct iovec *iov,
                     int iovcnt, size_t bytes)
{
    struct q2_mem *m = n->s;
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (fails(m, ++m->reads, m->fail_read)) rc = -m->fail_error;
    if (rc == 0) iov_from_buf(iov, iovcnt, 0, m->data + offset, bytes);
    pthread_mutex_unlock(&lock);
    return rc;
}

static int mem_writev(struct node *n, uint64_t offset, const struct iovec *iov,
                      int iovcnt, size_t bytes, unsigned flags)
{
    struct q2_mem *m = n->s;
    int rc = 0;

    (void)flags;
    pthread_mutex_lock(&lock);
    if (fails(m, ++m->writes, m->fail_write)) rc = -m->fail_error;
    if (offset + bytes > m->cap) rc = -ENOSPC;
    if (rc == 0) {
        uint8_t *data = remember(m, Q2_WRITE, offset, bytes);

        iov_to_buf(iov, iovcnt, 0, data, bytes);
        memcpy(m->data + offset, data, bytes);
        if (offset + bytes > m->bytes) m->bytes = offset + bytes;
        n->size_bytes = m->bytes;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static int mem_flush(struct node *n)
{
    struct q2_mem *m = n->s;
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (fails(m, ++m->flushes, m->fail_flush)) rc = -m->fail_error;
    if (rc == 0) remember(m, Q2_FLUSH, 0, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

static void mem_close(struct node *n)
{
    (void)n;
}

static const struct block_driver mem_driver = {
    .name = "memory",
    .is_protocol = true,
    .can_grow = true,
    .readv = mem_readv,
    .writev = mem_writev,
    .flush = mem_flush,
    .close = mem_close,
};

int q2_mem_open(struct q2_mem *m, bool is_readonly, struct node **out,
                struct err *e)
{
    static const struct node_options none;
    struct node *n = calloc(1, sizeof(*n));

    assert_non_null(n);
    n->drv = &mem_driver;
    n->name = strdup("memory");
    n->refs = 1;
    n->size_bytes = m->bytes;
    n->is_readonly = is_readonly;
    n->s = m;
    return node_open(&block_qcow2, "memory", n, &none, out, e);
}
