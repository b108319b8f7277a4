/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Execution phase of floppy commands that move data.
 *
 * One step is a run of sectors on one side of a track, at most to EOT: read
 * it, pass it on by DMA or PIO, go to the next; writing, the other way round.
 * Terminal count, EOT or an error ends the command.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "hw/chips/chips.h"
#include "hw/storage/fdc_int.h"

/* ------------------------------------------------------------ requests */

struct fdc_req {
    struct fdc *f; /* NULL: the controller is gone */
    struct vm *vm;
    struct blk *blk;
    uint64_t gen, offset;
    int64_t id;
    size_t bytes;
    bool is_write;
    struct fdc_req *next;
    uint8_t buf[];
};

static void io_done(struct fdc *f, int rc);
static void submit(struct fdc_req *r);

static void req_done(void *arg, int rc)
{
    struct fdc_req *r = arg, **at;
    struct fdc *f = r->f;
    bool needs_lock;

    if (f == NULL) {
        free(r);
        return;
    }
    needs_lock = !vm_is_locked(r->vm);
    if (needs_lock) vm_lock(r->vm);
    for (at = &f->reqs; *at != NULL && *at != r;)
        at = &(*at)->next;
    if (*at != NULL) *at = r->next;
    f->in_flight--;
    if (r->gen == f->gen && f->phase == FD_IO && f->deferred == NULL) {
        if (rc == 0 && !r->is_write) memcpy(f->data, r->buf, r->bytes);
        io_done(f, rc);
    } else if (f->deferred != NULL && f->in_flight == 0) {
        struct fdc_req *next = f->deferred;

        f->deferred = NULL;
        submit(next);
    }
    if (needs_lock) vm_unlock(r->vm);
    free(r);
}

static void submit(struct fdc_req *r)
{
    struct fdc *f = r->f;
    struct fdc_unit *u = &f->unit[f->ds];
    struct iovec iov = { r->buf, r->bytes };
    int64_t id = -ENOMEDIUM;

    r->blk = u->drive != NULL ? drive_blk(u->drive) : NULL;
    r->next = f->reqs;
    f->reqs = r;
    f->in_flight++;
    if (r->blk != NULL && r->is_write) {
        id = blk_write(r->blk, r->offset, &iov, 1, false, req_done, r);
    } else if (r->blk != NULL) {
        /* Behind the end of an odd image there are zeros. */
        uint64_t size = blk_size_bytes(r->blk);

        if (r->offset >= size)
            iov.iov_len = 0;
        else if (iov.iov_len > size - r->offset)
            iov.iov_len = (size_t)(size - r->offset);
        id = blk_read(r->blk, iov.iov_len > 0 ? r->offset : 0, &iov, 1,
                      req_done, r);
    }
    if (id > 0)
        r->id = id;
    else
        req_done(r, (int)id);
}

void fdc_io_cancel(struct fdc *f)
{
    f->gen++;
    free(f->deferred);
    f->deferred = NULL;
    for (struct fdc_req *r = f->reqs; r != NULL; r = r->next)
        blk_cancel(r->blk, r->id);
}

void fdc_io_drain(struct fdc *f)
{
    while (f->reqs != NULL)
        blk_drain(f->reqs->blk);
}

void fdc_io_destroy(struct fdc *f)
{
    fdc_io_cancel(f);
    while (f->reqs != NULL) {
        struct fdc_req *r = f->reqs;

        f->reqs = r->next;
        r->f = NULL;
    }
}

static void io_start(struct fdc *f, bool is_write, size_t bytes)
{
    const struct fdc_geometry *g = &f->unit[f->ds].geo;
    uint64_t sector =
        ((uint64_t)f->cyl * g->heads + f->head) * g->sectors + f->sector - 1;
    struct fdc_req *r = calloc(1, sizeof(*r) + bytes);

    fdc_set_phase(f, FD_IO);
    if (r == NULL) {
        io_done(f, -ENOMEM);
        return;
    }
    r->f = f;
    r->vm = f->d->vm;
    r->gen = f->gen;
    r->offset = sector * FDC_SECTOR_BYTES;
    r->bytes = bytes;
    r->is_write = is_write;
    if (is_write) memcpy(r->buf, f->data, bytes);
    if (f->in_flight > 0) { /* behind one that was cancelled */
        free(f->deferred);
        f->deferred = r;
    } else {
        submit(r);
    }
}

/* ------------------------------------------------------------ steps */

/* Sectors from the present one to EOT that the disk has. */
static uint32_t run_sectors(const struct fdc *f)
{
    const struct fdc_geometry *g = &f->unit[f->ds].geo;
    uint32_t last = f->eot < g->sectors ? f->eot : g->sectors;

    return f->sector <= last ? last - f->sector + 1u : 0;
}

/* Go on by n sectors on this side; the address may come to lie behind EOT. */
static void advance(struct fdc *f, uint32_t n)
{
    f->sector = (uint8_t)(f->sector + n);
}

/* Data sheet table 5-7: address after the last sector of a run. */
static void wrap_address(struct fdc *f)
{
    if (f->sector <= f->eot) return;
    f->sector = 1;
    if (f->is_multi_track && f->head == 0) {
        f->head = 1;
        return;
    }
    if (f->is_multi_track) f->head = 0;
    f->cyl++;
}

static void finish(struct fdc *f, uint8_t st1, uint8_t st2)
{
    if (f->exec != FX_FORMAT) wrap_address(f);
    fdc_data_result(f, st1 != 0 || st2 != 0 ? ST0_ABNORMAL : 0, st1, st2);
}

static void begin_run(struct fdc *f);

/* A run of n sectors is through. */
static void run_done(struct fdc *f, uint32_t n)
{
    const struct fdc_geometry *g = &f->unit[f->ds].geo;

    advance(f, n);
    if (f->is_tc) {
        finish(f, 0, 0);
    } else if (f->sector <= f->eot) {
        begin_run(f); /* only where EOT is more than the disk has */
    } else if (f->is_multi_track && f->head == 0 && g->heads > 1) {
        wrap_address(f);
        f->side = f->head;
        begin_run(f);
    } else {
        finish(f, ST1_END_OF_CYLINDER, 0);
    }
}

static void wait_out(struct fdc *f, uint32_t bytes)
{
    fdc_set_phase(f, FD_OUT);
    f->data_fifo.cap = bytes;
    if (f->is_ndma) fdc_raise_irq(f);
    fdc_data_ready(f);
}

static void begin_run(struct fdc *f)
{
    uint32_t n = run_sectors(f);

    if (n == 0)
        finish(f, ST1_NO_DATA, 0);
    else if (f->exec == FX_READ)
        io_start(f, false, (size_t)n * FDC_SECTOR_BYTES);
    else
        wait_out(f, n * FDC_SECTOR_BYTES);
}

static void read_run_ready(struct fdc *f)
{
    uint32_t bytes = run_sectors(f) * FDC_SECTOR_BYTES;

    fdc_set_phase(f, FD_IN);
    f->data_fifo.len = bytes;
    if (f->is_ndma) fdc_raise_irq(f);
    fdc_data_ready(f);
}

static void io_done(struct fdc *f, int rc)
{
    uint32_t n = (f->data_fifo.len + FDC_SECTOR_BYTES - 1) / FDC_SECTOR_BYTES;

    if (rc < 0)
        finish(f, rc == -ENOMEDIUM ? ST1_NO_ADDRESS_MARK : ST1_DATA_ERROR, 0);
    else if (f->exec == FX_READ)
        read_run_ready(f);
    else if (f->exec == FX_FORMAT)
        finish(f, 0, 0);
    else
        run_done(f, n);
}

/* ------------------------------------------------------------ the guest */

/* Octets of the run that the guest has taken or given so far. */
static uint32_t *progress(struct fdc *f)
{
    return f->phase == FD_IN ? &f->data_fifo.pos : &f->data_fifo.len;
}

static uint32_t run_bytes(const struct fdc *f)
{
    return f->phase == FD_IN ? f->data_fifo.len : f->data_fifo.cap;
}

/* False: nothing can be moved now. */
static bool move_by_dma(struct fdc *f)
{
    uint32_t *at = progress(f), left = run_bytes(f) - *at;
    size_t n;

    if (f->dma == NULL || !(f->dor & DOR_DMA) ||
        !dma8237_is_ready(f->dma, FDC_DMA_CHANNEL))
        return false;
    n = dma8237_transfer(f->dma, FDC_DMA_CHANNEL, f->phase == FD_IN,
                         f->data + *at, left, &f->is_tc);
    *at += (uint32_t)(n < left ? n : left);
    if (n == 0 && !f->is_tc) { /* channel set up for the other direction */
        finish(f, ST1_OVERRUN, 0);
        return false;
    }
    return f->is_tc || *at >= run_bytes(f);
}

static void write_run(struct fdc *f)
{
    uint32_t n = f->data_fifo.len;
    uint32_t bytes =
        (n + FDC_SECTOR_BYTES - 1) / FDC_SECTOR_BYTES * FDC_SECTOR_BYTES;

    if (n == 0) { /* terminal count before the first octet */
        finish(f, 0, 0);
        return;
    }
    memset(f->data + n, 0, bytes - n); /* rest of a sector cut short */
    io_start(f, true, bytes);
}

/* FORMAT TRACK writes a whole side: every sector gets the fill octet, if the
 * addresses are ones this disk can have. */
static void format_track(struct fdc *f)
{
    const struct fdc_geometry *g = &f->unit[f->ds].geo;
    uint32_t ids = f->data_fifo.len / 4;

    for (uint32_t i = 0; i < ids; i++) {
        const uint8_t *id = f->data + i * 4;

        if (id[0] != f->cyl || id[1] != f->head || id[2] < 1 ||
            id[2] > g->sectors || id[3] != 2) {
            finish(f, ST1_NO_DATA, 0);
            return;
        }
    }
    f->sector = 1;
    memset(f->data, f->fill, (size_t)g->sectors * FDC_SECTOR_BYTES);
    io_start(f, true, (size_t)g->sectors * FDC_SECTOR_BYTES);
}

void fdc_data_ready(struct fdc *f)
{
    if (f->phase != FD_IN && f->phase != FD_OUT) return;
    if (f->is_ndma ? *progress(f) < run_bytes(f) : !move_by_dma(f)) return;
    if (f->is_ndma) fdc_lower_irq(f);
    if (f->phase == FD_IN) {
        uint32_t n =
            (f->data_fifo.pos + FDC_SECTOR_BYTES - 1) / FDC_SECTOR_BYTES;
        run_done(f, n);
    } else if (f->exec == FX_FORMAT) {
        format_track(f);
    } else {
        write_run(f);
    }
}

void fdc_dma_ready(void *arg)
{
    struct fdc *f = arg;

    if (!f->is_ndma) fdc_data_ready(f);
}

void fdc_start(struct fdc *f, enum fdc_exec exec)
{
    f->exec = (uint8_t)exec;
    f->is_tc = false;
    f->is_ndma = (f->specify[1] & 1) != 0;
    if (exec == FX_FORMAT)
        wait_out(f, f->eot * 4u);
    else
        begin_run(f);
}
