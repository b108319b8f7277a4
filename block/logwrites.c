/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filter "logwrites" for tests: writes down everything that goes to the file
 * below, in order, in the format of the kernel's dm-log-writes target
 * (Documentation/admin-guide/device-mapper/log-writes.rst), so that a power
 * cut between any two writes can be played.
 *
 * The log has sectors of 512 octets: a superblock, then for each write one
 * sector that describes it and its data.  A write that is no multiple of
 * sectors is logged as the sectors it lies in.
 */
#include "block/block_int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512 };
#define LOG_MAGIC UINT64_C(0x6a736677736872)
enum { LOG_VERSION = 1, LOG_FLUSH = 1, LOG_DISCARD = 4, LOG_MARK = 8 };

struct log_super {
    uint64_t magic, version, nr_entries;
    uint32_t sectorsize;
};
struct log_entry {
    uint64_t sector, nr_sectors, flags, data_len;
};

struct logwrites {
    pthread_mutex_t lock; /* order of the log is order of the writes */
    int fd;
    uint64_t at, entries;
};

/* One sector with the record at its start. */
static int put_sector(struct logwrites *l, uint64_t at, const void *record,
                      size_t bytes)
{
    uint8_t sector[SECTOR] = { 0 };

    memcpy(sector, record, bytes);
    return pwrite(l->fd, sector, SECTOR, (off_t)at) == SECTOR ? 0 : -EIO;
}

static int put_super(struct logwrites *l)
{
    const struct log_super s = { LOG_MAGIC, LOG_VERSION, l->entries, SECTOR };

    return put_sector(l, 0, &s, sizeof(s));
}

static int put_entry(struct logwrites *l, const struct log_entry *entry,
                     const void *data)
{
    int rc = put_sector(l, l->at, entry, sizeof(*entry));

    if (rc == 0 && entry->data_len > 0 &&
        pwrite(l->fd, data, entry->data_len, (off_t)(l->at + SECTOR)) !=
            (ssize_t)entry->data_len)
        rc = -EIO;
    if (rc < 0) return rc;
    l->at += SECTOR + entry->data_len;
    l->entries++;
    return put_super(l);
}

static int logwrites_open(struct node *n, const struct node_options *o,
                          struct err *e)
{
    struct logwrites *l = calloc(1, sizeof(*l));
    int rc;

    if (l == NULL) return err_set(e, -ENOMEM, "out of memory");
    l->fd = open(o->log_writes, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (l->fd < 0) {
        rc = err_set(e, -errno, "%s: %s", o->log_writes, strerror(errno));
        free(l);
        return rc;
    }
    l->at = SECTOR;
    pthread_mutex_init(&l->lock, NULL);
    rc = put_super(l);
    if (rc < 0) {
        close(l->fd);
        free(l);
        return err_set(e, rc, "%s: cannot be written", o->log_writes);
    }
    n->s = l;
    n->size_bytes = n->child->size_bytes;
    n->is_readonly = n->child->is_readonly;
    return 0;
}

static int logwrites_readv(struct node *n, uint64_t offset,
                           const struct iovec *iov, int iovcnt, size_t bytes)
{
    return n->child->drv->readv(n->child, offset, iov, iovcnt, bytes);
}

/* Log the sectors of a range as they are in the file now. */
static int log_range(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct logwrites *l = n->s;
    uint64_t first = offset / SECTOR,
             end = (offset + bytes + SECTOR - 1) / SECTOR;
    size_t total = (size_t)(end - first) * SECTOR, here = total;
    struct log_entry entry = { first, end - first, 0, total };
    uint8_t *data = calloc(1, total);
    int rc;

    if (data == NULL) return -ENOMEM;
    if (first * SECTOR + here > n->child->size_bytes)
        here = (size_t)(n->child->size_bytes - first * SECTOR);
    rc = node_pread(n->child, first * SECTOR, data, here);
    if (rc == 0) rc = put_entry(l, &entry, data);
    free(data);
    return rc;
}

static int logwrites_writev(struct node *n, uint64_t offset,
                            const struct iovec *iov, int iovcnt, size_t bytes,
                            unsigned flags)
{
    struct logwrites *l = n->s;
    int rc;

    pthread_mutex_lock(&l->lock);
    rc = node_write(n->child, offset, iov, iovcnt, flags);
    n->size_bytes = n->child->size_bytes;
    if (rc == 0) rc = log_range(n, offset, bytes);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static int logwrites_discard(struct node *n, uint64_t offset, uint64_t bytes)
{
    struct logwrites *l = n->s;
    uint64_t first = (offset + SECTOR - 1) / SECTOR,
             end = (offset + bytes) / SECTOR;
    struct log_entry entry = { first, end > first ? end - first : 0,
                               LOG_DISCARD, 0 };
    int rc;

    pthread_mutex_lock(&l->lock);
    rc = node_discard(n->child, offset, bytes);
    if (rc == 0 && entry.nr_sectors > 0) rc = put_entry(l, &entry, NULL);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static int logwrites_flush(struct node *n)
{
    const struct log_entry entry = { 0, 0, LOG_FLUSH, 0 };
    struct logwrites *l = n->s;
    int rc;

    pthread_mutex_lock(&l->lock);
    rc = node_flush(n->child);
    if (rc == 0) rc = put_entry(l, &entry, NULL);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static int logwrites_status(struct node *n, uint64_t offset, uint64_t bytes,
                            struct node_extent *out)
{
    return node_status(n->child, offset, bytes, out);
}

/* The format has no record for a new length; a mark with a text stands for
 * it. */
static int logwrites_truncate(struct node *n, uint64_t size_bytes,
                              const char *how, bool may_shrink, struct err *e)
{
    const struct log_entry entry = { 0, 0, LOG_MARK, SECTOR };
    struct logwrites *l = n->s;
    char text[SECTOR] = { 0 };
    int rc;

    pthread_mutex_lock(&l->lock);
    rc = node_truncate(n->child, size_bytes, how, may_shrink, e);
    n->size_bytes = n->child->size_bytes;
    snprintf(text, sizeof(text), "truncate %llu",
             (unsigned long long)size_bytes);
    if (rc == 0 && put_entry(l, &entry, text) < 0)
        rc = err_set(e, -EIO, "the log cannot be written");
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static void logwrites_close(struct node *n)
{
    struct logwrites *l = n->s;

    close(l->fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

const struct block_driver block_logwrites = {
    .name = "logwrites",
    .title = "writes down all writes, for tests",
    .is_filter = true,
    .can_grow = true,
    .open = logwrites_open,
    .close = logwrites_close,
    .readv = logwrites_readv,
    .writev = logwrites_writev,
    .discard = logwrites_discard,
    .flush = logwrites_flush,
    .status = logwrites_status,
    .truncate = logwrites_truncate,
};
