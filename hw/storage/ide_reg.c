/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE task file: command and control block registers, interrupt, resets
 * (ATA/ATAPI-6, clauses 5 to 7 and 9).
 *
 * Both devices of a channel see every write; the selected one answers.  A
 * missing device 1 beside a device 0 reads as zero, an empty channel reads
 * 7Fh (a pull-down keeps BSY away).
 */
#include "core/base/log.h"
#include "core/base/trace.h"
#include "hw/storage/ide_int.h"

enum {
    REG_DATA = 0,
    REG_ERROR = 1, /* write: Features */
    REG_NSECTOR = 2,
    REG_LOW = 3,
    REG_MID = 4,
    REG_HIGH = 5,
    REG_DEVICE = 6,
    REG_STATUS = 7, /* write: Command */
    EMPTY_CHANNEL = 0x7f,
};

static struct ide_unit *selected(struct ide_channel *c)
{
    return channel_unit(c, c->selected);
}

void ide_update_irq(struct ide_channel *c)
{
    bool level = selected(c)->irq_pending && !(c->control & DC_NIEN);

    if (level && !c->irq_level) c->bm.status |= BM_IRQ;
    c->irq_level = level;
    irq_set(&c->irq, level);
}

void ide_raise_irq(struct ide_unit *u)
{
    u->irq_pending = true;
    ide_update_irq(unit_channel(u));
}

/* ATA/ATAPI-6, 9.12 "Signature and persistence" */
void ide_set_signature(struct ide_unit *u)
{
    u->tf = (struct ide_taskfile){ .nsector = 1, .lba_low = 1 };
    if (u->kind == IDE_CDROM) {
        u->tf.lba_mid = 0x14;
        u->tf.lba_high = 0xeb;
    }
    u->device &= DEV_DEV1;
    u->status = u->kind == IDE_DISK ? ST_OK : 0;
}

void ide_unit_reset(struct ide_unit *u, bool is_hard)
{
    if (u->kind == IDE_NONE) return;
    ide_io_cancel(u);
    ide_fifo_reset(u);
    u->sectors_left = 0;
    u->phase = PH_IDLE;
    u->irq_pending = false;
    ide_set_signature(u);
    u->error = 1; /* diagnostic code: no error */
    if (u->kind == IDE_CDROM)
        atapi_reset(u, is_hard);
    else if (is_hard)
        ata_reset(u);
}

/* ------------------------------------------------------------ data port */

static void block_done(struct ide_unit *u)
{
    if (u->kind == IDE_CDROM)
        atapi_block_done(u);
    else
        ata_block_done(u);
}

static uint32_t read_data(struct ide_unit *u, unsigned bytes)
{
    uint32_t v = 0;

    if (u->phase != PH_PIO_IN) return 0;
    for (unsigned i = 0; i < bytes && u->fifo.pos < u->block_end; i++)
        v |= (uint32_t)fifo_get(&u->fifo, 0) << 8 * i;
    if (u->fifo.pos >= u->block_end) block_done(u);
    return v;
}

static void write_data(struct ide_unit *u, unsigned bytes, uint32_t v)
{
    if (u->phase != PH_PIO_OUT && u->phase != PH_PACKET) return;
    for (unsigned i = 0; i < bytes; i++) {
        if (!fifo_put(&u->fifo, (uint8_t)(v >> 8 * i))) break;
    }
    if (u->fifo.len >= u->fifo.cap) block_done(u);
}

/* ------------------------------------------------------------ reading */

static uint8_t read_taskfile(const struct ide_channel *c,
                             const struct ide_unit *u, unsigned reg)
{
    bool hob = (c->control & DC_HOB) != 0;

    switch (reg) {
    case REG_ERROR: return u->error;
    case REG_NSECTOR: return hob ? u->tf.hob_nsector : u->tf.nsector;
    case REG_LOW: return hob ? u->tf.hob_low : u->tf.lba_low;
    case REG_MID: return hob ? u->tf.hob_mid : u->tf.lba_mid;
    case REG_HIGH: return hob ? u->tf.hob_high : u->tf.lba_high;
    case REG_DEVICE: return u->device | 0xa0; /* obsolete bits read one */
    default: return u->status;
    }
}

/* What the bus shows when the selected device is not there. */
static uint8_t missing_value(struct ide_channel *c)
{
    bool is_empty = channel_unit(c, 0)->kind == IDE_NONE &&
                    channel_unit(c, 1)->kind == IDE_NONE;

    return is_empty ? EMPTY_CHANNEL : 0;
}

static uint8_t read_reg(struct ide_channel *c, unsigned reg)
{
    struct ide_unit *u = selected(c);
    uint8_t v;

    if (u->kind == IDE_NONE) return missing_value(c);
    v = read_taskfile(c, u, reg);
    if (reg == REG_STATUS) {
        u->irq_pending = false;
        ide_update_irq(c);
    }
    return v;
}

static uint32_t command_read(void *arg, unsigned port, unsigned bytes)
{
    struct ide_channel *c = arg;
    uint32_t v = 0;

    if (port == REG_DATA) return read_data(selected(c), bytes);
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint32_t)read_reg(c, (port + i) & 7) << 8 * i;
    return v;
}

/* ------------------------------------------------------------ writing */

/* 9.10, 8.9 EXECUTE DEVICE DIAGNOSTIC: both devices, device 0 answers. */
static void diagnostic(struct ide_channel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ide_unit *u = channel_unit(c, i);

        ide_unit_reset(u, false);
        u->device = 0;
    }
    c->selected = 0;
    if (selected(c)->kind != IDE_NONE) ide_raise_irq(selected(c));
}

static void write_command(struct ide_channel *c, uint8_t v)
{
    struct ide_unit *u = selected(c);

    if (v == 0x90) {
        diagnostic(c);
        return;
    }
    if (u->kind == IDE_NONE) return;
    /* Only DEVICE RESET gets through to a busy device, a packet one. */
    if ((u->status & ST_BSY) && !(v == 0x08 && u->kind == IDE_CDROM)) return;
    if (u->phase != PH_IDLE) ide_io_cancel(u);
    u->irq_pending = false;
    u->phase = PH_IDLE;
    u->command = v;
    u->error = 0;
    ide_fifo_reset(u);
    trace(TRACE_IDE_COMMAND, "%s cmd 0x%02x", u->ide->d->id, v);
    if (u->kind == IDE_CDROM)
        atapi_command(u, v);
    else
        ata_command(u, v);
    ide_update_irq(c);
}

static void write_taskfile(struct ide_unit *u, unsigned reg, uint8_t v)
{
    struct ide_taskfile *t = &u->tf;

    switch (reg) {
    case REG_ERROR:
        t->hob_feature = t->feature;
        t->feature = v;
        break;
    case REG_NSECTOR:
        t->hob_nsector = t->nsector;
        t->nsector = v;
        break;
    case REG_LOW:
        t->hob_low = t->lba_low;
        t->lba_low = v;
        break;
    case REG_MID:
        t->hob_mid = t->lba_mid;
        t->lba_mid = v;
        break;
    case REG_HIGH:
        t->hob_high = t->lba_high;
        t->lba_high = v;
        break;
    case REG_DEVICE: u->device = v; break;
    default: break;
    }
}

static void write_reg(struct ide_channel *c, unsigned reg, uint8_t v)
{
    c->control &= (uint8_t)~DC_HOB;
    if (reg == REG_STATUS) {
        write_command(c, v);
        return;
    }
    if (selected(c)->status & ST_BSY) return;
    for (unsigned i = 0; i < 2; i++)
        write_taskfile(channel_unit(c, i), reg, v);
    if (reg == REG_DEVICE) {
        c->selected = (v & DEV_DEV1) != 0;
        ide_update_irq(c);
    }
}

static void command_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct ide_channel *c = arg;

    if (port == REG_DATA) {
        write_data(selected(c), bytes, v);
        return;
    }
    for (unsigned i = 0; i < bytes; i++)
        write_reg(c, (port + i) & 7, (uint8_t)(v >> 8 * i));
}

/* ------------------------------------------------------- control block */

static uint32_t control_read(void *arg, unsigned port, unsigned bytes)
{
    struct ide_channel *c = arg;
    struct ide_unit *u = selected(c);

    (void)port, (void)bytes;
    return u->kind == IDE_NONE ? missing_value(c) : u->status;
}

static void soft_reset(struct ide_channel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ide_unit *u = channel_unit(c, i);

        ide_unit_reset(u, false);
        u->device = 0;
        if (u->kind != IDE_NONE) u->status = ST_BSY;
    }
    ide_bm_stop(c, false);
    c->selected = 0;
}

static void control_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct ide_channel *c = arg;
    uint8_t old = c->control;

    (void)port, (void)bytes;
    c->control = (uint8_t)v;
    if ((v & DC_SRST) && !(old & DC_SRST)) soft_reset(c);
    if (!(v & DC_SRST) && (old & DC_SRST)) {
        for (unsigned i = 0; i < 2; i++) {
            struct ide_unit *u = channel_unit(c, i);
            if (u->kind != IDE_NONE) ide_set_signature(u);
        }
    }
    ide_update_irq(c);
}

const struct port_ops ide_command_ports = {
    .read = command_read,
    .write = command_write,
    .max_bytes = 4,
};

const struct port_ops ide_control_ports = {
    .read = control_read,
    .write = control_write,
    .max_bytes = 1,
};
