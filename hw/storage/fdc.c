/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy controller 82077AA in PC/AT mode: Intel data sheet 290166.
 *
 * Seeks take no time; the interrupt comes with the last octet of the command.
 * Nothing depends on the motors.
 */
#include "hw/storage/fdc.h"

#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "core/base/log.h"
#include "core/vm/port.h"
#include "hw/chips/chips.h"
#include "hw/storage/fdc_int.h"

enum {
    FDC_BASE = 0x3f0,
    FDC_PORTS = 6,
    FDC_DIR_PORT = 0x3f7,

    REG_SRA = 0,
    REG_SRB = 1,
    REG_DOR = 2,
    REG_TDR = 3,
    REG_MSR = 4, /* write: DSR */
    REG_FIFO = 5,

    MSR_RQM = 0x80,
    MSR_DIO = 0x40,
    MSR_NDMA = 0x20,
    MSR_BUSY = 0x10,

    DSR_RESET = 0x80,
    DSR_POWER_DOWN = 0x40,
    DIR_CHANGED = 0x80,
};

static void update_irq(struct fdc *f)
{
    irq_set(&f->irq, f->irq_pending && (f->dor & DOR_DMA) != 0);
}

void fdc_raise_irq(struct fdc *f)
{
    f->irq_pending = true;
    update_irq(f);
}

void fdc_lower_irq(struct fdc *f)
{
    f->irq_pending = false;
    update_irq(f);
}

/* The one place where the FIFOs start anew. */
void fdc_set_phase(struct fdc *f, enum fdc_phase phase)
{
    f->phase = (uint8_t)phase;
    if (phase == FD_COMMAND) {
        fifo_reset(&f->cmd_fifo);
        fifo_reset(&f->result_fifo);
    }
    if (phase == FD_IN || phase == FD_OUT) {
        fifo_reset(&f->data_fifo);
        f->data_fifo.cap = FDC_DATA_BYTES;
    }
}

/* ------------------------------------------------------------ resets */

static bool is_in_reset(const struct fdc *f)
{
    return !(f->dor & DOR_NRESET);
}

void fdc_reset_controller(struct fdc *f, bool is_hard)
{
    fdc_io_cancel(f);
    fifo_reset(&f->data_fifo);
    fdc_set_phase(f, FD_COMMAND);
    fdc_lower_irq(f);
    f->sense_mask = 0;
    f->is_tc = false;
    f->perpendicular &= 0x3c; /* "software reset clears GAP and WGATE" */
    if (is_hard || !f->is_locked) {
        f->config = 0x20; /* no FIFO, polling on, no implied seek */
        f->pretrack = 0;
    }
    memset(f->track, 0, sizeof(f->track));
}

/* Leaving reset: polling finds that all drives became ready. */
static void leave_reset(struct fdc *f)
{
    if (f->config & CFG_NO_POLL) return;
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        f->sense_st0[i] = (uint8_t)(ST0_READY_CHANGED | i);
    f->sense_mask = 0x0f;
    fdc_raise_irq(f);
}

static void write_dor(struct fdc *f, uint8_t v)
{
    uint8_t old = f->dor;

    f->dor = v;
    if (!(v & DOR_NRESET) && (old & DOR_NRESET)) fdc_reset_controller(f, false);
    if ((v & DOR_NRESET) && !(old & DOR_NRESET)) leave_reset(f);
    update_irq(f);
    if ((v & DOR_DMA) && !(old & DOR_DMA)) fdc_dma_ready(f);
}

static void write_dsr(struct fdc *f, uint8_t v)
{
    f->dsr = v & (uint8_t)~DSR_RESET;
    f->ccr = v & 3;
    f->is_power_down = (v & DSR_POWER_DOWN) != 0;
    if (!(v & DSR_RESET) || is_in_reset(f)) return;
    fdc_reset_controller(f, false);
    leave_reset(f);
}

/* ------------------------------------------------------------ FIFO port */

static uint8_t main_status(const struct fdc *f)
{
    if (is_in_reset(f)) return 0;
    switch (f->phase) {
    case FD_COMMAND: return f->cmd_fifo.len > 0 ? MSR_RQM | MSR_BUSY : MSR_RQM;
    case FD_RESULT: return MSR_RQM | MSR_DIO | MSR_BUSY;
    case FD_IN:
        return f->is_ndma ? MSR_RQM | MSR_DIO | MSR_NDMA | MSR_BUSY : MSR_BUSY;
    case FD_OUT: return f->is_ndma ? MSR_RQM | MSR_NDMA | MSR_BUSY : MSR_BUSY;
    default: return f->is_ndma ? MSR_NDMA | MSR_BUSY : MSR_BUSY;
    }
}

static uint8_t read_fifo(struct fdc *f)
{
    uint8_t v = 0;

    if (is_in_reset(f)) return 0;
    if (f->phase == FD_RESULT) {
        v = fifo_get(&f->result_fifo, 0);
        fdc_lower_irq(f);
        if (fifo_left(&f->result_fifo) == 0) fdc_set_phase(f, FD_COMMAND);
    } else if (f->phase == FD_IN && f->is_ndma) {
        v = fifo_get(&f->data_fifo, 0);
        fdc_data_ready(f);
    }
    return v;
}

static void write_fifo(struct fdc *f, uint8_t v)
{
    if (is_in_reset(f)) return;
    if (f->phase == FD_COMMAND) {
        fdc_command_octet(f, v);
    } else if (f->phase == FD_OUT && f->is_ndma) {
        fifo_put(&f->data_fifo, v);
        fdc_data_ready(f);
    } else {
        log_guest(f->d->id, "FIFO written in phase %u", f->phase);
    }
}

/* ------------------------------------------------------------ ports */

static uint8_t read_srb(const struct fdc *f)
{
    /* motors 0 and 1, drive select 0, upper bits one */
    return (uint8_t)(0xc0 | (f->dor >> 4 & 3) | (f->dor & 1 ? 0x20 : 0));
}

static uint32_t fdc_read(void *arg, unsigned port, unsigned bytes)
{
    struct fdc *f = arg;

    (void)bytes;
    switch (port) {
    case REG_SRA: return f->irq_pending ? 0xc0 : 0x40;
    case REG_SRB: return read_srb(f);
    case REG_DOR: return f->dor;
    case REG_TDR: return f->tdr;
    case REG_MSR: return main_status(f);
    default: return read_fifo(f);
    }
}

static void fdc_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct fdc *f = arg;

    (void)bytes;
    switch (port) {
    case REG_DOR: write_dor(f, (uint8_t)v); break;
    case REG_TDR: f->tdr = v & 3; break;
    case REG_MSR: write_dsr(f, (uint8_t)v); break;
    case REG_FIFO: write_fifo(f, (uint8_t)v); break;
    default: break;
    }
}

static uint32_t dir_read(void *arg, unsigned port, unsigned bytes)
{
    const struct fdc *f = arg;
    const struct fdc_unit *u = &f->unit[f->dor & DOR_SELECT];

    (void)port, (void)bytes;
    /* An empty drive never lets the line go. */
    return u->drive != NULL && (u->is_changed || !fdc_has_medium(u))
               ? DIR_CHANGED
               : 0;
}

static void ccr_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct fdc *f = arg;

    (void)port, (void)bytes;
    f->ccr = v & 3;
}

static const struct port_ops fdc_ports = {
    .read = fdc_read,
    .write = fdc_write,
    .max_bytes = 1,
};

static const struct port_ops fdc_dir_ports = {
    .read = dir_read,
    .write = ccr_write,
    .max_bytes = 1,
};

/* ------------------------------------------------------------ drives */

static void medium_changed(void *arg)
{
    struct fdc_unit *u = arg;

    u->is_changed = true;
    fdc_find_geometry(u);
}

void fdc_connect(struct dev *d, struct irq_line irq, struct dev *dma)
{
    struct fdc *f = d->s;

    f->irq = irq;
    f->dma = dma;
    if (dma != NULL) dma8237_set_client(dma, FDC_DMA_CHANNEL, fdc_dma_ready, f);
}

int fdc_attach(struct dev *d, unsigned unit, struct drive *drive, struct err *e)
{
    struct fdc *f = d->s;
    struct fdc_unit *u;
    struct drive_ops ops = { .medium_changed = medium_changed };

    if (unit >= FDC_UNITS)
        return err_set(e, -EINVAL, "there is no floppy unit %u (0 or 1)", unit);
    u = &f->unit[unit];
    if (u->drive != NULL)
        return err_set(e, -EBUSY,
                       "floppy unit %u is taken twice (by '%s' and '%s')", unit,
                       drive_id(u->drive), drive_id(drive));
    u->drive = drive;
    u->type = fdc_type_for_medium(u);
    fdc_find_geometry(u);
    ops.arg = u;
    drive_set_ops(drive, &ops);
    drive_set_device(drive, d->id);
    return 0;
}

uint8_t fdc_drive_type(struct dev *d, unsigned unit)
{
    const struct fdc *f = d->s;

    return unit < FDC_UNITS ? f->unit[unit].type : 0;
}

/* ------------------------------------------------------------ device */

static int fdc_create(struct dev *d, struct err *e)
{
    struct fdc *f = d->s;
    int rc;

    f->d = d;
    f->cmd_fifo = (struct fifo){ .buf = f->cmd, .cap = FDC_CMD_BYTES };
    f->result_fifo = (struct fifo){ .buf = f->result, .cap = FDC_CMD_BYTES };
    f->data_fifo = (struct fifo){ .buf = f->data, .cap = FDC_DATA_BYTES };
    rc = port_map_locked(d->vm, FDC_BASE, FDC_PORTS, &fdc_ports, f, "fdc", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, FDC_DIR_PORT, 1, &fdc_dir_ports, f, "fdc", e);
    if (rc < 0) port_unmap_locked(d->vm, FDC_BASE, FDC_PORTS, f);
    return rc;
}

static void fdc_reset(struct dev *d)
{
    struct fdc *f = d->s;

    fdc_reset_controller(f, true);
    f->dor = DOR_NRESET | DOR_DMA;
    f->dsr = f->ccr = 0;
    f->tdr = 0;
    f->perpendicular = 0;
    f->is_locked = f->is_power_down = false;
    f->specify[0] = f->specify[1] = 0;
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        f->unit[i].is_changed = false;
    update_irq(f);
}

static void fdc_saving(struct dev *d)
{
    fdc_io_drain(d->s);
}

static bool fifo_ok(const struct fifo *q)
{
    return q->len <= q->cap && q->pos <= q->len;
}

static int fdc_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct fdc *f = d->s;
    bool is_moving = f->phase == FD_IN || f->phase == FD_OUT;

    (void)version;
    fdc_io_cancel(f);
    for (unsigned i = 0; i < FDC_UNITS; i++)
        fdc_find_geometry(&f->unit[i]);
    if (f->phase == FD_IO || !fifo_ok(&f->cmd_fifo) ||
        !fifo_ok(&f->result_fifo) || !fifo_ok(&f->data_fifo) ||
        (is_moving && f->unit[f->ds].drive == NULL) ||
        (is_moving &&
         (f->sector == 0 || f->cyl >= f->unit[f->ds].geo.cylinders ||
          f->head >= f->unit[f->ds].geo.heads)) ||
        (f->phase == FD_OUT && f->exec == FX_WRITE &&
         f->data_fifo.cap % FDC_SECTOR_BYTES != 0)) {
        fdc_reset(d);
        return err_set(e, -EINVAL, "no such controller state");
    }
    update_irq(f);
    return 0;
}

static void fdc_destroy(struct dev *d)
{
    struct fdc *f = d->s;

    fdc_io_destroy(f);
    if (f->dma != NULL) dma8237_set_client(f->dma, FDC_DMA_CHANNEL, NULL, NULL);
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        if (f->unit[i].drive == NULL) continue;
        drive_set_ops(f->unit[i].drive, NULL);
        drive_set_device(f->unit[i].drive, NULL);
    }
    port_unmap_locked(d->vm, FDC_BASE, FDC_PORTS, f);
    port_unmap_locked(d->vm, FDC_DIR_PORT, 1, f);
}

static const struct field unit_state[] = { BOOL(fdc_unit, is_changed),
                                           STATE_END };

static const struct field fdc_state[] = {
    STRUCT_ARRAY(fdc, unit, unit_state),
    U8(fdc, dor),
    U8(fdc, dsr),
    U8_MAX(fdc, tdr, 3),
    U8_MAX(fdc, ccr, 3),
    BOOL(fdc, irq_pending),
    U8_MAX(fdc, phase, FD_PHASE_MAX),
    U8_MAX(fdc, sense_mask, 0x0f),
    BYTES(fdc, sense_st0),
    BYTES(fdc, track),
    BYTES(fdc, specify),
    U8_MAX(fdc, config, 0x7f),
    U8(fdc, pretrack),
    U8_MAX(fdc, perpendicular, 0x7f),
    U8(fdc, last_eot),
    BOOL(fdc, is_locked),
    BOOL(fdc, is_power_down),
    U8_MAX(fdc, exec, FX_MAX),
    BOOL(fdc, is_multi_track),
    BOOL(fdc, is_tc),
    BOOL(fdc, is_ndma),
    U8_MAX(fdc, ds, 3),
    U8(fdc, cyl),
    U8_MAX(fdc, head, 1),
    U8_MAX(fdc, side, 1),
    U8(fdc, sector),
    U8(fdc, eot),
    U8(fdc, fill),
    U32_MAX(fdc, cmd_fifo.len, FDC_CMD_BYTES),
    U32_MAX(fdc, result_fifo.len, FDC_CMD_BYTES),
    U32_MAX(fdc, result_fifo.pos, FDC_CMD_BYTES),
    U32_MAX(fdc, data_fifo.cap, FDC_DATA_BYTES),
    U32_MAX(fdc, data_fifo.len, FDC_DATA_BYTES),
    U32_MAX(fdc, data_fifo.pos, FDC_DATA_BYTES),
    BYTES(fdc, cmd),
    BYTES(fdc, result),
    BYTES(fdc, data),
    STATE_END
};

const struct dev_class fdc_class = {
    .name = "isa-fdc",
    .title = "82077AA floppy controller",
    .bus = BUS_ISA,
    .size = sizeof(struct fdc),
    .state = fdc_state,
    .version = 1,
    .create = fdc_create,
    .reset = fdc_reset,
    .loaded = fdc_loaded,
    .saving = fdc_saving,
    .destroy = fdc_destroy,
};
