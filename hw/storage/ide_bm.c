/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bus master part of the PIIX3 IDE function: Intel 82371FB/82371SB data sheet
 * 290550, "Bus Master IDE registers" and "Bus Master function"; SFF-8038i.
 *
 * A descriptor is 8 octets: address (bit 0 is zero), count (0 = 64 KiB) and
 * end-of-table in bit 31.  A table does not leave its 64 KiB, which bounds
 * the walk.
 */
#include "core/base/log.h"
#include "core/vm/dma.h"
#include "hw/storage/ide_int.h"

enum {
    BM_CMD_START = 0x01,
    BM_CMD_READ = 0x08, /* device to memory */
    BM_CMD_MASK = BM_CMD_START | BM_CMD_READ,
    BM_ST_CAPABLE = 0x60, /* drive 0/1 DMA capable: plain storage */
    PRD_BYTES = 8,
    PRD_BUDGET = 65536 / PRD_BYTES,
};
#define PRD_EOT 0x80000000u

bool ide_bm_is_active(const struct ide_channel *c)
{
    return (c->bm.status & BM_ACTIVE) != 0;
}

static enum bm_result next_segment(struct ide_channel *c)
{
    struct ide_bm *b = &c->bm;
    uint8_t raw[PRD_BYTES];
    uint32_t count;

    if (b->is_last || b->walked >= PRD_BUDGET) return BM_SHORT;
    if (dma_read_locked(c->ide->d, b->next, raw, sizeof(raw)) < 0)
        return BM_FAULT;
    b->walked++;
    b->next = (b->next & ~0xffffu) | ((b->next + PRD_BYTES) & 0xffffu);
    b->seg_addr = (uint32_t)(raw[0] | raw[1] << 8 | raw[2] << 16) |
                  (uint32_t)raw[3] << 24;
    b->seg_addr &= ~1u;
    count = (uint32_t)(raw[4] | raw[5] << 8) & 0xfffeu;
    b->seg_left = count != 0 ? count : 0x10000;
    b->is_last = (raw[7] & 0x80) != 0;
    return BM_DONE;
}

enum bm_result ide_bm_move(struct ide_channel *c, uint8_t *buf, uint32_t bytes,
                           bool to_guest)
{
    struct ide_bm *b = &c->bm;

    while (bytes > 0) {
        uint32_t n = b->seg_left < bytes ? b->seg_left : bytes;
        int rc;

        if (n == 0) {
            enum bm_result r = next_segment(c);
            if (r != BM_DONE) return r;
            continue; /* a segment is never empty */
        }
        rc = to_guest ? dma_write_locked(c->ide->d, b->seg_addr, buf, n)
                      : dma_read_locked(c->ide->d, b->seg_addr, buf, n);
        if (rc < 0) return BM_FAULT;
        buf += n;
        bytes -= n;
        b->seg_addr += n;
        b->seg_left -= n;
    }
    return BM_DONE;
}

void ide_bm_end(struct ide_channel *c)
{
    /* "Interrupt and Active both set": the table was longer. */
    if (c->bm.is_last && c->bm.seg_left == 0)
        c->bm.status &= (uint8_t)~BM_ACTIVE;
}

void ide_bm_stop(struct ide_channel *c, bool is_error)
{
    c->bm.status &= (uint8_t)~BM_ACTIVE;
    if (is_error) c->bm.status |= BM_ERROR;
}

static void start(struct ide_channel *c)
{
    struct ide_bm *b = &c->bm;
    struct ide_unit *u = channel_unit(c, c->selected);

    b->next = b->table;
    b->walked = 0;
    b->seg_left = 0;
    b->is_last = false;
    b->status |= BM_ACTIVE;
    if (u->phase != PH_DMA_IN && u->phase != PH_DMA_OUT) return;
    if (u->kind == IDE_CDROM)
        atapi_dma(u);
    else
        ata_dma(u);
}

static void write_command(struct ide_channel *c, uint8_t v)
{
    uint8_t old = c->bm.command;

    c->bm.command = v & BM_CMD_MASK;
    if ((v & BM_CMD_START) && !(old & BM_CMD_START))
        start(c);
    else if (!(v & BM_CMD_START))
        c->bm.status &= (uint8_t)~BM_ACTIVE;
}

static void write_octet(struct ide_channel *c, unsigned reg, uint8_t v)
{
    struct ide_bm *b = &c->bm;
    unsigned shift = (reg & 3) * 8;

    switch (reg) {
    case 0: write_command(c, v); break;
    case 2:
        b->status &= (uint8_t) ~(v & (BM_ERROR | BM_IRQ));
        b->status =
            (uint8_t)((b->status & ~BM_ST_CAPABLE) | (v & BM_ST_CAPABLE));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        b->table &= ~(0xffu << shift);
        b->table |= (uint32_t)v << shift;
        b->table &= ~3u;
        break;
    default: break;
    }
}

static uint8_t read_octet(const struct ide_channel *c, unsigned reg)
{
    switch (reg) {
    case 0: return c->bm.command;
    case 2: return c->bm.status;
    case 4:
    case 5:
    case 6:
    case 7: return (uint8_t)(c->bm.table >> (reg & 3) * 8);
    default: return 0;
    }
}

static uint32_t bm_read(void *arg, unsigned port, unsigned bytes)
{
    struct ide *s = arg;
    uint32_t v = 0;

    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = (port + i) & 15;
        v |= (uint32_t)read_octet(&s->ch[at >> 3], at & 7) << 8 * i;
    }
    return v;
}

static void bm_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct ide *s = arg;

    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = (port + i) & 15;
        write_octet(&s->ch[at >> 3], at & 7, (uint8_t)(v >> 8 * i));
    }
}

const struct port_ops ide_bm_ports = {
    .read = bm_read,
    .write = bm_write,
    .max_bytes = 4,
};
