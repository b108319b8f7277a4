/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying images: several threads each take the next piece, read it, leave out
 * what is zero and write the rest.
 *
 * Pieces are taken in order under the lock, and so is what the source says
 * about them (its map is a walk through one file).  Plain writes are made in
 * the order of the pieces, which keeps the target's file in order, unless
 * is_out_of_order.  Nobody waits for its turn: what was read goes into a ring
 * of slots, and whoever fills the one that is next writes it and all that are
 * ready behind it, while the others read on.  Compressed clusters are written
 * as they are ready: the work is in compressing, and their order in the file
 * does not matter.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "block/img/img.h"

enum {
    COPY_PIECE_BYTES = 512 << 10,
    COPY_COMPRESSED_BYTES = 1 << 20,
    COPY_MAX_THREADS = 16,
    COPY_SLOTS = 16,
    SECTOR = BLOCK_SECTOR_BYTES,
};

enum piece_kind { PIECE_DATA, PIECE_ZERO, PIECE_BACKING };

struct piece {
    enum piece_kind kind;
    uint64_t offset; /* in the target */
    uint64_t bytes;
};

/* A piece on its way, when order matters. */
struct slot {
    struct piece p;
    uint8_t *buf;
    bool is_ready;  /* read, to be written */
    bool is_copied; /* nothing is left to be written */
};

struct copier {
    struct img_copy *c;
    pthread_mutex_t lock;  /* guards all below */
    pthread_cond_t freed;  /* slots; or it is over */
    pthread_cond_t failed; /* for the one that sleeps because of -r */
    struct slot slots[COPY_SLOTS];
    uint64_t taken, written; /* pieces; slots by their number */
    bool is_writing;         /* some thread is at the slots that are ready */
    uint64_t at;             /* next octet to give out */
    uint64_t done_bytes;
    uint64_t start_ns;
    int rc;
    struct err e;
    /* What the source says from extent_at on. */
    uint64_t extent_at;
    struct img_extent extent;
    uint32_t cluster_bytes; /* target's, for compressed */
    uint32_t grain_bytes;   /* smallest hole */
    size_t buffer_bytes;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------- the source */

/* Which source holds offset of the target; *from: offset in it, *left: octets
 * up to its end. */
static struct node *source_at(const struct img_copy *c, uint64_t offset,
                              uint64_t *from, uint64_t *left)
{
    uint64_t skip = c->skip_bytes;

    for (unsigned i = 0; i < c->source_count; i++) {
        uint64_t bytes = c->sources[i]->size_bytes;

        if (offset < bytes - skip) {
            *from = offset + skip;
            *left = bytes - skip - offset;
            return c->sources[i];
        }
        offset -= bytes - skip;
        skip = 0;
    }
    return NULL;
}

static int refresh_extent_locked(struct copier *k)
{
    const struct img_copy *c = k->c;
    uint64_t from, left;
    struct node *n = source_at(c, k->at, &from, &left);
    int rc;

    if (n == NULL) return -EIO;
    if (left > c->bytes - k->at) left = c->bytes - k->at;
    rc = img_status(n, c->base, from, left, &k->extent);
    if (rc < 0 && c->is_salvaging) {
        k->extent.e = (struct node_extent){ left < SECTOR ? left : SECTOR,
                                            EXTENT_DATA | EXTENT_ALLOCATED, 0 };
        rc = 0;
    }
    k->extent_at = k->at;
    return rc;
}

static enum piece_kind kind_locked(const struct copier *k)
{
    const struct img_copy *c = k->c;

    if (c->has_backing && k->extent.e.flags == 0)
        return k->at >= c->backing_bytes ? PIECE_ZERO : PIECE_BACKING;
    if (!(k->extent.e.flags & EXTENT_ZERO)) return PIECE_DATA;
    return c->sparse_bytes == 0 ? PIECE_DATA : PIECE_ZERO;
}

/* Extents end anywhere; a compressed piece is whole clusters. */
static int align_piece_locked(struct copier *k, struct piece *p)
{
    uint64_t cluster = k->cluster_bytes, end = p->offset + p->bytes;

    if (end < k->c->bytes) end -= end % cluster;
    if (p->kind != PIECE_DATA && end > p->offset) {
        p->bytes = end - p->offset;
        return 0;
    }
    p->kind = PIECE_DATA;
    p->bytes = end > p->offset ? end - p->offset : cluster;
    if (p->bytes > k->c->bytes - p->offset) p->bytes = k->c->bytes - p->offset;
    return 0;
}

/* The next piece; 1 when all are given out. */
static int take_locked(struct copier *k, struct piece *p)
{
    struct img_copy *c = k->c;
    uint64_t left;
    int rc;

    if (atomic_load(&c->work->is_cancelled)) return -ECANCELED;
    if (k->at >= c->bytes) return 1;
    if (k->at < k->extent_at || k->at >= k->extent_at + k->extent.e.bytes) {
        rc = refresh_extent_locked(k);
        if (rc < 0)
            return err_set(&k->e, rc,
                           "error while reading block status at offset "
                           "%llu: %s",
                           (unsigned long long)k->at, strerror(-rc));
    }
    left = k->extent_at + k->extent.e.bytes - k->at;
    *p = (struct piece){ kind_locked(k), k->at, left };
    if (p->kind == PIECE_DATA && p->bytes > k->buffer_bytes)
        p->bytes = k->buffer_bytes;
    if (c->is_compressed) {
        rc = align_piece_locked(k, p);
        if (rc < 0) return rc;
    }
    if (p->kind == PIECE_DATA && p->bytes > k->buffer_bytes)
        p->bytes = k->buffer_bytes;
    k->at += p->bytes;
    return 0;
}

static int salvage(struct node *n, uint64_t from, uint8_t *buf, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += SECTOR) {
        size_t here = bytes - done < SECTOR ? bytes - done : SECTOR;
        int rc = node_pread(n, from + done, buf + done, here);

        if (rc == 0) continue;
        fprintf(stderr,
                "orrery img: warning: error while reading offset %llu: %s\n",
                (unsigned long long)(from + done), strerror(-rc));
        memset(buf + done, 0, here);
    }
    return 0;
}

static int read_piece(const struct img_copy *c, uint64_t offset, uint8_t *buf,
                      size_t bytes)
{
    while (bytes > 0) {
        uint64_t from, left;
        struct node *n = source_at(c, offset, &from, &left);
        size_t here = left < bytes ? (size_t)left : bytes;
        int rc;

        if (n == NULL) return -EIO;
        rc = node_pread(n, from, buf, here);
        if (rc < 0 && c->is_salvaging) rc = salvage(n, from, buf, here);
        if (rc < 0) return rc;
        offset += here;
        buf += here;
        bytes -= here;
    }
    return 0;
}

/* ------------------------------------------------------------- the target */

static int write_zeros(const struct copier *k, uint64_t offset, uint64_t bytes)
{
    const struct img_copy *c = k->c;

    if (c->is_zero_target && !c->has_backing) return 0;
    return node_zero(c->target, offset, bytes,
                     c->sparse_bytes != 0 ? NODE_REQ_UNMAP : 0);
}

/* Length of the run of grains from at on that are all zero or all not; grains
 * start at multiples of their size in the target. */
static size_t run_bytes(const struct copier *k, uint64_t offset,
                        const uint8_t *buf, size_t at, size_t bytes,
                        bool *is_zero)
{
    const size_t first = at;
    bool is_first = true;

    while (at < bytes) {
        size_t here = k->grain_bytes - (size_t)((offset + at) % k->grain_bytes);
        bool zero;

        if (here > bytes - at) here = bytes - at;
        zero = buf_is_zero(buf + at, here);
        if (is_first) *is_zero = zero;
        if (zero != *is_zero) break;
        is_first = false;
        at += here;
    }
    return at - first;
}

static int write_plain(const struct copier *k, const struct piece *p,
                       const uint8_t *buf)
{
    size_t at = 0;

    if (k->c->sparse_bytes == 0)
        return node_pwrite(k->c->target, p->offset, buf, (size_t)p->bytes);
    while (at < p->bytes) {
        bool is_zero;
        size_t run =
            run_bytes(k, p->offset, buf, at, (size_t)p->bytes, &is_zero);
        int rc = is_zero
                     ? write_zeros(k, p->offset + at, run)
                     : node_pwrite(k->c->target, p->offset + at, buf + at, run);

        if (rc < 0) return rc;
        at += run;
    }
    return 0;
}

static int write_compressed(const struct copier *k, const struct piece *p,
                            uint8_t *buf)
{
    for (size_t at = 0; at < p->bytes; at += k->cluster_bytes) {
        size_t here = (size_t)p->bytes - at;
        struct iovec iov;
        int rc;

        if (here > k->cluster_bytes) here = k->cluster_bytes;
        if (k->c->sparse_bytes != 0 && buf_is_zero(buf + at, here)) {
            rc = write_zeros(k, p->offset + at, here);
        } else {
            iov = (struct iovec){ buf + at, here };
            rc = node_write(k->c->target, p->offset + at, &iov, 1,
                            NODE_REQ_COMPRESSED);
        }
        if (rc < 0) return rc;
    }
    return 0;
}

/* The kernel copies, where both sides are plain ranges of files. */
static int offload(const struct copier *k, const struct piece *p)
{
    uint64_t from, left, done = 0;
    struct node *n = source_at(k->c, p->offset, &from, &left);
    int rc = -EAGAIN;

    if (n == NULL || left < p->bytes) return -EAGAIN;
    while (done < p->bytes) {
        struct node_run a, b;
        off_t x, y;
        ssize_t copied;

        rc = node_run(n, from + done, p->bytes - done, false, &a);
        if (rc < 0) return rc;
        rc = a.is_zero
                 ? -EAGAIN
                 : node_run(k->c->target, p->offset + done, a.bytes, true, &b);
        if (rc < 0) {
            node_run_done(&a);
            return rc;
        }
        x = (off_t)a.file_offset;
        y = (off_t)b.file_offset;
        copied = copy_file_range(a.fd, &x, b.fd, &y,
                                 a.bytes < b.bytes ? a.bytes : b.bytes, 0);
        node_run_done(&a);
        node_run_done(&b);
        if (copied <= 0) return -EAGAIN;
        done += (uint64_t)copied;
    }
    return 0;
}

/* ------------------------------------------------------------ the threads */

static void fail_locked(struct copier *k, int rc, const char *what,
                        uint64_t offset)
{
    if (k->rc == 0) {
        k->rc = rc;
        if (rc != -ECANCELED && k->e.text[0] == '\0')
            err_set(&k->e, rc, "error while %s at byte %llu: %s", what,
                    (unsigned long long)offset, strerror(-rc));
    }
    pthread_cond_broadcast(&k->freed);
    pthread_cond_broadcast(&k->failed);
}

/* -r: the average since the start stays below the limit. */
static void limit_rate_locked(struct copier *k)
{
    const struct img_copy *c = k->c;

    while (c->rate_bytes != 0 && k->rc == 0 &&
           !atomic_load(&c->work->is_cancelled)) {
        unsigned __int128 ns =
            (unsigned __int128)k->done_bytes * 1000000000u / c->rate_bytes;
        struct timespec t;
        uint64_t until;

        if (now_ns() - k->start_ns >= ns) return;
        clock_gettime(CLOCK_REALTIME, &t);
        until = (uint64_t)t.tv_nsec + 50 * 1000 * 1000;
        t.tv_sec += (time_t)(until / 1000000000u);
        t.tv_nsec = (long)(until % 1000000000u);
        pthread_cond_timedwait(&k->failed, &k->lock, &t);
    }
}

static void finish_locked(struct copier *k, const struct piece *p)
{
    k->done_bytes += p->bytes;
    img_work_set(k->c->work, k->done_bytes, k->c->bytes);
    limit_rate_locked(k);
}

/* *is_copied: the octets are in the target already. */
static int fetch_piece(struct copier *k, const struct piece *p, uint8_t *buf,
                       bool *is_copied)
{
    *is_copied = false;
    if (p->kind != PIECE_DATA) return 0;
    if (k->c->is_offloaded) *is_copied = offload(k, p) == 0;
    if (*is_copied) return 0;
    return read_piece(k->c, p->offset, buf, (size_t)p->bytes);
}

static int store_piece(struct copier *k, const struct piece *p, uint8_t *buf)
{
    switch (p->kind) {
    case PIECE_BACKING: return 0;
    case PIECE_ZERO: return write_zeros(k, p->offset, p->bytes);
    default:
        return k->c->is_compressed ? write_compressed(k, p, buf)
                                   : write_plain(k, p, buf);
    }
}

static uint8_t *make_buffer(const struct copier *k)
{
    void *buf;

    return posix_memalign(&buf, 4096, k->buffer_bytes) == 0 ? buf : NULL;
}

/* Each thread reads and writes its pieces as they come. */
static void copy_any_locked(struct copier *k)
{
    uint8_t *buf = make_buffer(k);

    if (buf == NULL) fail_locked(k, -ENOMEM, "reading", 0);
    while (k->rc == 0) {
        const char *what = "reading";
        struct piece p = { .offset = k->at };
        bool is_copied;
        int rc = take_locked(k, &p);

        if (rc == 1) break;
        if (rc == 0) {
            pthread_mutex_unlock(&k->lock);
            rc = fetch_piece(k, &p, buf, &is_copied);
            if (rc == 0 && !is_copied) {
                what = "writing";
                rc = store_piece(k, &p, buf);
            }
            pthread_mutex_lock(&k->lock);
        }
        if (rc < 0)
            fail_locked(k, rc, what, p.offset);
        else
            finish_locked(k, &p);
    }
    free(buf);
}

/* --------------------------------------------------------- one after another */

static bool is_next_ready(const struct copier *k)
{
    return k->slots[k->written % COPY_SLOTS].is_ready && !k->is_writing;
}

/* Write all that is ready. */
static void write_slots_locked(struct copier *k)
{
    k->is_writing = true;
    for (;;) {
        struct slot *t = &k->slots[k->written % COPY_SLOTS];
        int rc = 0;

        if (k->rc != 0 || !t->is_ready) break;
        pthread_mutex_unlock(&k->lock);
        if (!t->is_copied) rc = store_piece(k, &t->p, t->buf);
        pthread_mutex_lock(&k->lock);
        if (rc < 0) {
            fail_locked(k, rc, "writing", t->p.offset);
            break;
        }
        finish_locked(k, &t->p);
        t->is_ready = false;
        k->written++;
        /* To wake a thread for a single slot would cost as much as to fill
         * it. */
        if (k->taken - k->written <= COPY_SLOTS / 2)
            pthread_cond_signal(&k->freed);
    }
    k->is_writing = false;
}

/* Fill one more slot; false: all pieces are taken, or it failed. */
static bool read_slot_locked(struct copier *k)
{
    struct slot *t = &k->slots[k->taken % COPY_SLOTS];
    uint64_t at = k->at;
    int rc;

    if (t->buf == NULL) t->buf = make_buffer(k);
    rc = t->buf == NULL ? -ENOMEM : take_locked(k, &t->p);
    if (rc == 1) {
        pthread_cond_broadcast(&k->freed);
        return false;
    }
    if (rc == 0) {
        k->taken++;
        at = t->p.offset;
        pthread_mutex_unlock(&k->lock);
        rc = fetch_piece(k, &t->p, t->buf, &t->is_copied);
        pthread_mutex_lock(&k->lock);
    }
    if (rc < 0)
        fail_locked(k, rc, "reading", at);
    else
        t->is_ready = true;
    return rc == 0;
}

static void copy_in_order_locked(struct copier *k)
{
    bool is_more = true;

    /* Slots that others still read are theirs to write. */
    while (k->rc == 0 && (is_more || is_next_ready(k))) {
        if (is_next_ready(k))
            write_slots_locked(k);
        else if (k->taken - k->written < COPY_SLOTS)
            is_more = read_slot_locked(k);
        else
            pthread_cond_wait(&k->freed, &k->lock);
    }
}

static void *copy_thread(void *arg)
{
    struct copier *k = arg;

    pthread_mutex_lock(&k->lock);
    if (k->c->is_out_of_order || k->c->is_compressed || k->c->threads < 2)
        copy_any_locked(k);
    else
        copy_in_order_locked(k);
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* Holes are whole clusters of the target: part of one would be written out as
 * zeros anyway. */
static void set_grain(struct copier *k)
{
    const struct img_copy *c = k->c;
    uint32_t align = c->target->align_bytes;

    k->cluster_bytes = align != 0 ? align : 65536;
    k->grain_bytes = c->sparse_bytes > align ? c->sparse_bytes : align;
    if (k->grain_bytes == 0) k->grain_bytes = 4096;
    k->buffer_bytes =
        c->is_compressed ? COPY_COMPRESSED_BYTES : COPY_PIECE_BYTES;
    if (k->buffer_bytes < k->cluster_bytes) k->buffer_bytes = k->cluster_bytes;
}

int img_copy_run(struct img_copy *c, struct err *e)
{
    struct copier k = { .c = c,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .freed = PTHREAD_COND_INITIALIZER,
                        .failed = PTHREAD_COND_INITIALIZER };
    pthread_t threads[COPY_MAX_THREADS];
    unsigned count = 0;

    set_grain(&k);
    k.start_ns = now_ns();
    img_work_set(c->work, 0, c->bytes);
    while (count + 1 < c->threads && count + 1 < COPY_MAX_THREADS &&
           pthread_create(&threads[count], NULL, copy_thread, &k) == 0)
        count++;
    copy_thread(&k); /* this thread works too */
    while (count > 0)
        pthread_join(threads[--count], NULL);
    pthread_mutex_destroy(&k.lock);
    pthread_cond_destroy(&k.freed);
    pthread_cond_destroy(&k.failed);
    for (unsigned i = 0; i < COPY_SLOTS; i++)
        free(k.slots[i].buf);
    if (k.rc < 0 && e != NULL) *e = k.e;
    return k.rc;
}
