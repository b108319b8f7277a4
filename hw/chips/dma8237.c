/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pair of 8237A DMA controllers with the page registers of a PC/AT.
 *
 * Document: Intel 8237A data sheet (231466); IBM PC/AT Technical Reference
 * for the page register ports.  Controller 1 (channels 0..3) moves octets
 * within 64 KiB pages, controller 2 (channels 4..7, channel 4 is the cascade)
 * moves words within 128 KiB pages.  Transfers happen when the device asks,
 * all at once; the address wraps inside its page as the hardware's does.
 */
#include "hw/chips/chips.h"

#include <errno.h>
#include <string.h>

#include "core/vm/dma.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/* Data sheet, "Mode Register" and "Command Register" */
#define DMA_MODE_TYPE(v)   ((v) >> 2 & 3)
#define DMA_MODE_AUTO      0x10
#define DMA_MODE_DOWN      0x20
#define DMA_MODE_SELECT(v) ((v) >> 6 & 3) /* 3: cascade */
#define DMA_CMD_DISABLE    0x04

enum dma_type { DMA_VERIFY, DMA_TO_MEMORY, DMA_FROM_MEMORY, DMA_ILLEGAL };

struct dma_channel {
    uint16_t base_addr, base_count, addr, count;
    uint8_t mode, page;
};

struct dma_ctl {
    struct dma_channel ch[4];
    uint8_t command, mask, request, tc, temp;
    bool is_msb; /* first/last flip-flop */
};

struct dma_client {
    void (*ready)(void *arg);
    void *arg;
};

struct dma8237 {
    struct dma_ctl ctl[2];
    uint8_t page_spare[16]; /* page ports without a channel (0x80 POST) */
    struct dma_client client[8];
    struct dev *d;
};

/* Page register port 0x80 + i belongs to channel, 0xff: to none. */
static const uint8_t page_channel[16] = {
    0xff, 2, 3, 1, 0xff, 0xff, 0xff, 0, /* 0x80..0x87 */
    0xff, 6, 7, 5, 0xff, 0xff, 0xff, 4, /* 0x88..0x8f */
};

static struct dma_channel *dma_channel(struct dma8237 *m, unsigned channel)
{
    return &m->ctl[channel >> 2 & 1].ch[channel & 3];
}

bool dma8237_is_ready(struct dev *d, unsigned channel)
{
    const struct dma8237 *m = d->s;
    const struct dma_ctl *c = &m->ctl[channel >> 2 & 1];

    if (channel > 7 || channel == 4) return false;
    if ((c->command & DMA_CMD_DISABLE) != 0) return false;
    /* Controller 1 reaches the bus through channel 4 of controller 2. */
    if (channel < 4 && ((m->ctl[1].command & DMA_CMD_DISABLE) != 0 ||
                        (m->ctl[1].mask & 1) != 0)) {
        return false;
    }
    return (c->mask >> (channel & 3) & 1) == 0 &&
           DMA_MODE_SELECT(c->ch[channel & 3].mode) != 3;
}

void dma8237_set_client(struct dev *d, unsigned channel,
                        void (*ready)(void *arg), void *arg)
{
    struct dma8237 *m = d->s;

    if (channel > 7) return;
    m->client[channel] = (struct dma_client){ .ready = ready, .arg = arg };
}

/* Tell the devices whose channel became ready. */
static void dma_notify(struct dma8237 *m, unsigned was_ready)
{
    for (unsigned i = 0; i < 8; i++) {
        if (m->client[i].ready == NULL || (was_ready >> i & 1) != 0) continue;
        if (dma8237_is_ready(m->d, i)) m->client[i].ready(m->client[i].arg);
    }
}

static unsigned dma_ready_mask(struct dma8237 *m)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < 8; i++) {
        if (dma8237_is_ready(m->d, i)) mask |= 1u << i;
    }
    return mask;
}

static void dma_terminal_count(struct dma_ctl *c, unsigned n)
{
    struct dma_channel *ch = &c->ch[n];

    c->tc |= 1u << n;
    c->request &= ~(1u << n);
    if ((ch->mode & DMA_MODE_AUTO) != 0) {
        ch->addr = ch->base_addr;
        ch->count = ch->base_count;
    } else {
        c->mask |= 1u << n;
    }
}

/* Move n units upwards, all within the page. */
static void dma_move(struct dma8237 *m, unsigned channel, uint8_t *buf,
                     size_t units)
{
    struct dma_channel *ch = dma_channel(m, channel);
    unsigned shift = channel >= 4 ? 1 : 0;
    gpa_t page = (gpa_t)(shift != 0 ? ch->page & 0xfe : ch->page) << 16;
    gpa_t gpa = page + ((gpa_t)ch->addr << shift);

    /* What is not memory swallows writes and reads as ones. */
    switch (DMA_MODE_TYPE(ch->mode)) {
    case DMA_TO_MEMORY:
        (void)dma_write_locked(m->d, gpa, buf, units << shift);
        break;
    case DMA_FROM_MEMORY:
        memset(buf, 0xff, units << shift);
        (void)dma_read_locked(m->d, gpa, buf, units << shift);
        break;
    default: break;
    }
}

size_t dma8237_transfer(struct dev *d, unsigned channel, bool to_memory,
                        void *buf, size_t bytes, bool *is_tc)
{
    struct dma8237 *m = d->s;
    unsigned shift = channel >= 4 ? 1 : 0, type;
    uint8_t *at = buf;
    struct dma_channel *ch;
    bool is_end = false;
    size_t left;

    if (is_tc != NULL) *is_tc = false;
    if (!dma8237_is_ready(d, channel)) return 0;
    ch = dma_channel(m, channel);
    type = DMA_MODE_TYPE(ch->mode);
    if (type == DMA_ILLEGAL ||
        type == (to_memory ? DMA_FROM_MEMORY : DMA_TO_MEMORY)) {
        return 0;
    }
    if (!to_memory && type == DMA_VERIFY) memset(buf, 0, bytes);
    for (left = bytes >> shift; left != 0 && !is_end;) {
        size_t n = (size_t)ch->count + 1;

        if (n > left) n = left;
        if ((ch->mode & DMA_MODE_DOWN) != 0) {
            n = 1;
        } else if (n > 0x10000u - ch->addr) {
            n = 0x10000u - ch->addr; /* up to where the address wraps */
        }
        dma_move(m, channel, at, n);
        at += n << shift;
        left -= n;
        ch->addr += (ch->mode & DMA_MODE_DOWN) != 0 ? 0xffff : (uint16_t)n;
        is_end = n == (size_t)ch->count + 1;
        ch->count -= (uint16_t)n;
        if (is_end) dma_terminal_count(&m->ctl[channel >> 2], channel & 3);
    }
    if (is_tc != NULL) *is_tc = is_end;
    return (size_t)(at - (uint8_t *)buf);
}

static void dma_clear(struct dma_ctl *c)
{
    c->command = c->request = c->tc = c->temp = 0;
    c->mask = 0x0f;
    c->is_msb = false;
}

/* Registers 0..7: address and count of each channel. */
static void dma_write_channel(struct dma_ctl *c, unsigned reg, uint8_t v)
{
    struct dma_channel *ch = &c->ch[reg >> 1 & 3];
    uint16_t *base = (reg & 1) != 0 ? &ch->base_count : &ch->base_addr;
    uint16_t *now = (reg & 1) != 0 ? &ch->count : &ch->addr;

    if (c->is_msb) {
        *base = (*base & 0x00ff) | (uint16_t)(v << 8);
        *now = (*now & 0x00ff) | (uint16_t)(v << 8);
    } else {
        *base = (*base & 0xff00) | v;
        *now = (*now & 0xff00) | v;
    }
    c->is_msb = !c->is_msb;
}

static void dma_write_control(struct dma_ctl *c, unsigned reg, uint8_t v)
{
    uint8_t bit = 1u << (v & 3);

    switch (reg) {
    case 8: c->command = v; break;
    case 9: /* software request: no memory-to-memory on a PC, kept alone */
        c->request = (v & 4) != 0 ? c->request | bit : c->request & ~bit;
        break;
    case 10: c->mask = (v & 4) != 0 ? c->mask | bit : c->mask & ~bit; break;
    case 11: c->ch[v & 3].mode = v & 0xfc; break;
    case 12: c->is_msb = false; break;
    case 13: dma_clear(c); break;
    case 14: c->mask = 0; break;
    default: c->mask = v & 0x0f; break;
    }
}

static void dma_reg_write(struct dma8237 *m, unsigned ctl, unsigned reg,
                          uint8_t v)
{
    unsigned was_ready = dma_ready_mask(m);

    if (reg < 8) {
        dma_write_channel(&m->ctl[ctl], reg, v);
    } else {
        dma_write_control(&m->ctl[ctl], reg, v);
    }
    dma_notify(m, was_ready);
}

static uint8_t dma_reg_read(struct dma_ctl *c, unsigned reg)
{
    struct dma_channel *ch = &c->ch[reg >> 1 & 3];
    uint16_t v = (reg & 1) != 0 ? ch->count : ch->addr;
    uint8_t status;

    if (reg < 8) {
        c->is_msb = !c->is_msb;
        return c->is_msb ? v & 0xff : v >> 8;
    }
    switch (reg) {
    case 8: /* a read clears the terminal counts */
        status = c->tc | c->request << 4;
        c->tc = 0;
        return status;
    case 13: return c->temp;
    case 15: return c->mask | 0xf0;
    default: return 0xff;
    }
}

static uint32_t dma1_read(void *arg, unsigned port, unsigned bytes)
{
    struct dma8237 *m = arg;

    (void)bytes;
    return dma_reg_read(&m->ctl[0], port & 15);
}

static void dma1_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    (void)bytes;
    dma_reg_write(arg, 0, port & 15, v & 0xff);
}

static uint32_t dma2_read(void *arg, unsigned port, unsigned bytes)
{
    struct dma8237 *m = arg;

    (void)bytes;
    return dma_reg_read(&m->ctl[1], port >> 1 & 15);
}

static void dma2_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    (void)bytes;
    dma_reg_write(arg, 1, port >> 1 & 15, v & 0xff);
}

static uint32_t page_read(void *arg, unsigned port, unsigned bytes)
{
    struct dma8237 *m = arg;
    uint8_t channel = page_channel[port & 15];

    (void)bytes;
    return channel < 8 ? dma_channel(m, channel)->page
                       : m->page_spare[port & 15];
}

static void page_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct dma8237 *m = arg;
    uint8_t channel = page_channel[port & 15];

    (void)bytes;
    if (channel < 8) {
        dma_channel(m, channel)->page = v & 0xff;
    } else {
        m->page_spare[port & 15] = v & 0xff;
    }
}

static const struct port_ops dma1_ops = {
    .read = dma1_read,
    .write = dma1_write,
};
static const struct port_ops dma2_ops = {
    .read = dma2_read,
    .write = dma2_write,
};
static const struct port_ops page_ops = {
    .read = page_read,
    .write = page_write,
};

static void dma_destroy(struct dev *d)
{
    port_unmap_locked(d->vm, 0x00, 16, d->s);
    port_unmap_locked(d->vm, 0xc0, 32, d->s);
    port_unmap_locked(d->vm, 0x80, 16, d->s);
}

static void dma_reset(struct dev *d)
{
    struct dma8237 *m = d->s;

    memset(m->ctl, 0, sizeof(m->ctl));
    memset(m->page_spare, 0, sizeof(m->page_spare));
    dma_clear(&m->ctl[0]);
    dma_clear(&m->ctl[1]);
}

static int dma_create(struct dev *d, struct err *e)
{
    struct dma8237 *m = d->s;
    int rc;

    m->d = d;
    dma_reset(d);
    rc = port_map_locked(d->vm, 0x00, 16, &dma1_ops, m, "dma1", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0xc0, 32, &dma2_ops, m, "dma2", e);
    if (rc < 0) goto unmap_dma1;
    /* 0x92 above it is port92's; 0x80 takes the POST codes. */
    rc = port_map_locked(d->vm, 0x80, 16, &page_ops, m, "dma-page", e);
    if (rc < 0) goto unmap_dma2;
    return 0;
unmap_dma2:
    port_unmap_locked(d->vm, 0xc0, 32, m);
unmap_dma1:
    port_unmap_locked(d->vm, 0x00, 16, m);
    return rc;
}

static const struct field dma_channel_state[] = {
    U16(dma_channel, base_addr),
    U16(dma_channel, base_count),
    U16(dma_channel, addr),
    U16(dma_channel, count),
    U8(dma_channel, mode),
    U8(dma_channel, page),
    STATE_END,
};

static const struct field dma_ctl_state[] = {
    STRUCT_ARRAY(dma_ctl, ch, dma_channel_state),
    U8(dma_ctl, command),
    U8_MAX(dma_ctl, mask, 0x0f),
    U8_MAX(dma_ctl, request, 0x0f),
    U8_MAX(dma_ctl, tc, 0x0f),
    U8(dma_ctl, temp),
    BOOL(dma_ctl, is_msb),
    STATE_END,
};

static const struct field dma_state[] = {
    STRUCT_ARRAY(dma8237, ctl, dma_ctl_state),
    BYTES(dma8237, page_spare),
    STATE_END,
};

const struct dev_class dma8237_class = {
    .name = "i8257",
    .title = "8237A DMA controllers",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct dma8237),
    .state = dma_state,
    .version = 1,
    .is_internal = true,
    .create = dma_create,
    .reset = dma_reset,
    .destroy = dma_destroy,
};
