/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of IDE units to the block layer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "hw/storage/ide_int.h"

/* So many octets in a row are read while the guest's CPU waits and holds the VM
 * lock; then others get their turn. */
enum { MAX_NOW_BYTES = 1 << 20 };

struct ide_req {
    struct ide_unit *u; /* NULL: the controller is gone */
    struct vm *vm;
    uint64_t gen; /* differs from the unit's: cancelled */
    enum ide_op op;
    uint64_t offset, bytes;
    int64_t id;
    struct blk *blk;
    struct ide_req *next;
    size_t room; /* octets at buf */
    uint8_t buf[];
};

static void submit(struct ide_req *r);

/* A large one is kept: to get such memory from the host costs page faults. */
static void free_req(struct ide_unit *u, struct ide_req *r)
{
    if (u != NULL && r != NULL && u->spare == NULL && r->room > IDE_BUF_BYTES)
        u->spare = r;
    else
        free(r);
}

static void unlink_req(struct ide_req *r)
{
    struct ide_req **at = &r->u->ide->reqs;

    while (*at != NULL && *at != r)
        at = &(*at)->next;
    if (*at != NULL) *at = r->next;
}

static void end(struct ide_unit *u, enum ide_op op, int rc)
{
    u->phase = PH_IDLE;
    if (u->kind == IDE_CDROM)
        atapi_io_done(u, op, rc);
    else
        ata_io_done(u, op, rc);
}

/* data[] holds what was read. */
static void end_read(struct ide_unit *u, uint64_t bytes)
{
    u->fifo.cap = IDE_BUF_BYTES;
    u->fifo.len = (uint32_t)bytes;
    u->fifo.pos = 0;
    end(u, IDE_READ, 0);
}

static void deliver(struct ide_unit *u, struct ide_req *r, int rc)
{
    if (rc < 0 || r->op != IDE_READ) {
        end(u, r->op, rc);
        return;
    }
    memcpy(u->data, r->buf, r->bytes);
    end_read(u, r->bytes);
}

/* Loop thread; with the VM lock only when something drains. */
static void req_done(void *arg, int rc)
{
    struct ide_req *r = arg;
    struct ide_unit *u = r->u;
    struct vm *vm = r->vm;
    bool needs_lock;

    if (u == NULL) {
        free(r);
        return;
    }
    needs_lock = !vm_is_locked(vm);
    if (needs_lock) vm_lock(vm);
    unlink_req(r);
    u->in_flight--;
    if (r->gen == u->gen && u->phase == PH_IO && u->deferred == NULL) {
        deliver(u, r, rc);
    } else if (u->deferred != NULL && u->in_flight == 0) {
        struct ide_req *next = u->deferred;

        u->deferred = NULL;
        submit(next);
    }
    free_req(u, r);
    if (needs_lock) vm_unlock(vm);
}

static void submit(struct ide_req *r)
{
    struct ide_unit *u = r->u;
    struct iovec iov = { r->buf, (size_t)r->bytes };
    int64_t id = -ENOMEDIUM;

    r->blk = drive_blk(u->drive);
    u->in_flight++;
    r->next = u->ide->reqs;
    u->ide->reqs = r;
    if (r->blk != NULL) {
        switch (r->op) {
        case IDE_READ:
            id = blk_read(r->blk, r->offset, &iov, 1, req_done, r);
            break;
        case IDE_WRITE:
            id = blk_write(r->blk, r->offset, &iov, 1, !u->has_write_cache,
                           req_done, r);
            break;
        case IDE_FLUSH: id = blk_flush(r->blk, req_done, r); break;
        case IDE_DISCARD:
            id = blk_discard(r->blk, r->offset, r->bytes, req_done, r);
            break;
        }
    }
    if (id > 0) {
        r->id = id;
        return;
    }
    /* Not begun: ends here, with the VM lock held. */
    req_done(r, (int)id);
}

static struct ide_req *make_req(struct ide_unit *u, enum ide_op op,
                                uint64_t offset, uint64_t bytes)
{
    bool has_data = op == IDE_READ || op == IDE_WRITE;
    size_t room = has_data ? (size_t)bytes : 0;
    struct ide_req *r = NULL;

    if (has_data && bytes > IDE_DMA_BYTES) return NULL;
    if (room > IDE_BUF_BYTES) {
        room = IDE_DMA_BYTES;
        r = u->spare;
        u->spare = NULL;
    }
    if (r == NULL) r = malloc(sizeof(*r) + room);
    if (r == NULL) return NULL;
    *r = (struct ide_req){ .u = u,
                           .vm = u->ide->d->vm,
                           .gen = u->gen,
                           .op = op,
                           .offset = offset,
                           .bytes = bytes,
                           .room = room };
    return r;
}

static void start_req(struct ide_unit *u, struct ide_req *r)
{
    u->phase = PH_IO;
    u->status = ST_BSY;
    if (r->op == IDE_WRITE)
        u->write_sectors = (uint32_t)(r->bytes / ATA_SECTOR_BYTES);
    if (u->in_flight > 0) { /* behind one that was cancelled */
        free_req(u, u->deferred);
        u->deferred = r;
    } else {
        submit(r);
    }
}

static bool read_now(struct ide_unit *u, uint64_t offset, uint64_t bytes)
{
    struct blk *b = drive_blk(u->drive);

    if (!u->is_dma || u->in_flight > 0 || b == NULL) return false;
    if (bytes > IDE_BUF_BYTES || u->reads_now >= MAX_NOW_BYTES / IDE_BUF_BYTES)
        return false;
    if (blk_read_now(b, offset, u->data, (size_t)bytes) < 0) return false;
    u->reads_now++;
    end_read(u, bytes);
    return true;
}

void ide_io_start(struct ide_unit *u, enum ide_op op, uint64_t offset,
                  uint64_t bytes)
{
    bool has_data = op == IDE_READ || op == IDE_WRITE;
    struct ide_req *r = NULL;

    if (op == IDE_READ && read_now(u, offset, bytes)) return;
    u->reads_now = 0;
    if (!has_data || bytes <= IDE_BUF_BYTES) r = make_req(u, op, offset, bytes);
    if (r == NULL) {
        end(u, op, -ENOMEM);
        return;
    }
    if (op == IDE_WRITE) memcpy(r->buf, u->data, (size_t)bytes);
    start_req(u, r);
}

struct ide_req *ide_io_make_write(struct ide_unit *u, uint64_t offset,
                                  uint64_t bytes, uint8_t **buf)
{
    struct ide_req *r = make_req(u, IDE_WRITE, offset, bytes);

    if (r != NULL) *buf = r->buf;
    return r;
}

void ide_io_start_write(struct ide_req *r)
{
    start_req(r->u, r);
}

void ide_io_drop(struct ide_req *r)
{
    free_req(r->u, r);
}

void ide_io_cancel(struct ide_unit *u)
{
    u->gen++;
    free_req(u, u->deferred);
    u->deferred = NULL;
    for (struct ide_req *r = u->ide->reqs; r != NULL; r = r->next) {
        if (r->u == u) blk_cancel(r->blk, r->id);
    }
}

void ide_io_drain(struct ide *s)
{
    while (s->reqs != NULL)
        blk_drain(s->reqs->blk);
}

void ide_io_destroy(struct ide *s)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        ide_io_cancel(&s->unit[i]);
        free(s->unit[i].spare);
        s->unit[i].spare = NULL;
    }
    while (s->reqs != NULL) {
        struct ide_req *r = s->reqs;

        s->reqs = r->next;
        r->u = NULL;
    }
}
