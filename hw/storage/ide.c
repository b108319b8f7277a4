/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PIIX3 IDE function: Intel 82371FB/82371SB data sheet 290550.  Two channels
 * at the legacy ports with two devices each; bus master in BAR 4.
 *
 * The legacy ports are decoded whether or not IDETIM bit 15 is set: some
 * firmware for virtual machines relies on it.
 */
#include "hw/storage/ide.h"

#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "hw/storage/ide_int.h"

enum {
    PIIX3_IDE_DEVFN = 1 * 8 + 1,
    CFG_IDETIM = 0x40, /* one word per channel */
    CFG_IDETIM_BYTES = 4,
};

static const unsigned command_base[IDE_CHANNELS] = { 0x1f0, 0x170 };
static const unsigned control_base[IDE_CHANNELS] = { 0x3f6, 0x376 };

void ide_connect(struct dev *d, unsigned channel, struct irq_line irq)
{
    struct ide *s = d->s;

    if (channel < IDE_CHANNELS) s->ch[channel].irq = irq;
}

int ide_attach(struct dev *d, unsigned unit, struct drive *drive, bool is_cdrom,
               struct err *e)
{
    struct ide *s = d->s;
    struct ide_unit *u;

    if (unit >= IDE_UNITS)
        return err_set(e, -EINVAL, "IDE has no unit %u (0 to 3)", unit);
    u = &s->unit[unit];
    if (u->kind != IDE_NONE)
        return err_set(e, -EBUSY,
                       "IDE unit %u is taken twice (by '%s' and '%s')", unit,
                       drive_id(u->drive), drive_id(drive));
    if (!is_cdrom && drive_blk(drive) == NULL)
        return err_set(e, -ENOMEDIUM, "disk '%s' needs an image",
                       drive_id(drive));
    if (!is_cdrom && blk_is_readonly(drive_blk(drive)))
        return err_set(e, -EROFS,
                       "%s: an IDE disk must be writable; use snapshot=on or "
                       "media=cdrom",
                       blk_file(drive_blk(drive)));
    u->drive = drive;
    drive_set_device(drive, d->id);
    u->kind = is_cdrom ? IDE_CDROM : IDE_DISK;
    if (is_cdrom)
        atapi_attach(u);
    else
        ata_set_geometry(u);
    ide_unit_reset(u, true);
    return 0;
}

bool ide_get_geometry(struct dev *d, unsigned unit, struct ide_geometry *out)
{
    struct ide *s = d->s;

    if (unit >= IDE_UNITS || s->unit[unit].kind != IDE_DISK) return false;
    *out = s->unit[unit].geometry;
    return true;
}

static int map_ports(struct ide *s, struct err *e)
{
    int rc = 0;

    for (unsigned i = 0; i < IDE_CHANNELS && rc == 0; i++) {
        struct vm *vm = s->d->vm;

        rc = port_map_locked(vm, command_base[i], 8, &ide_command_ports,
                             &s->ch[i], "ide", e);
        if (rc == 0)
            rc = port_map_locked(vm, control_base[i], 1, &ide_control_ports,
                                 &s->ch[i], "ide", e);
    }
    return rc;
}

static void unmap_ports(struct ide *s)
{
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        port_unmap_locked(s->d->vm, command_base[i], 8, &s->ch[i]);
        port_unmap_locked(s->d->vm, control_base[i], 1, &s->ch[i]);
    }
}

static int ide_create(struct dev *d, struct err *e)
{
    static const struct pci_ids ids = {
        .vendor = 0x8086,
        .device = 0x7010,
        .subvendor = 0x1af4, /* as other virtual PCs: drivers look at it */
        .subdevice = 0x1100,
        .prog_if = 0x80,
        .subclass = 0x01,
        .base_class = 0x01,
    };
    struct ide *s = d->s;
    int rc;

    s->d = d;
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        s->ch[i].ide = s;
        s->ch[i].index = i;
    }
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        s->unit[i].ide = s;
        s->unit[i].index = i;
        s->unit[i].fifo.buf = s->unit[i].data;
    }
    rc = pci_func_init(d, &s->pci, &ids, PIIX3_IDE_DEVFN, e);
    if (rc < 0) return rc;
    memset(s->pci.wmask + CFG_IDETIM, 0xff, CFG_IDETIM_BYTES);
    pci_bar_io(&s->pci, 4, 16, &ide_bm_ports, s);
    rc = map_ports(s, e);
    if (rc < 0) {
        unmap_ports(s);
        pci_func_exit(&s->pci);
    }
    return rc;
}

static void ide_reset(struct dev *d)
{
    struct ide *s = d->s;

    pci_func_reset(&s->pci);
    memset(s->pci.config + CFG_IDETIM, 0, CFG_IDETIM_BYTES);
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        ide_unit_reset(&s->unit[i], true);
        s->unit[i].device = 0;
    }
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &s->ch[i];

        c->bm = (struct ide_bm){ .table = 0 };
        c->control = 0;
        c->selected = 0;
        ide_update_irq(c);
    }
}

static void ide_saving(struct dev *d)
{
    ide_io_drain(d->s);
}

static int check_unit(const struct ide_unit *u, struct err *e)
{
    const struct fifo *f = &u->fifo;

    if (f->len > f->cap || f->pos > f->len || u->block_end > f->len)
        return err_set(e, -EINVAL, "unit %u: buffer positions do not fit",
                       u->index);
    if (u->phase == PH_IO)
        return err_set(e, -EINVAL, "unit %u: saved within a request", u->index);
    if (u->kind == IDE_NONE && u->phase != PH_IDLE)
        return err_set(e, -EINVAL, "unit %u is active but not there", u->index);
    if (u->kind == IDE_CDROM &&
        ((u->phase == PH_PACKET && f->cap != ATAPI_PACKET_BYTES) ||
         u->phase == PH_PIO_OUT || u->phase == PH_DMA_OUT ||
         (u->cd_sector_bytes != CD_SECTOR_BYTES &&
          u->cd_sector_bytes != CD_RAW_BYTES) ||
         u->byte_limit == 1))
        return err_set(e, -EINVAL, "unit %u: no such CD-ROM state", u->index);
    if (u->kind == IDE_DISK &&
        (u->phase == PH_PACKET || f->cap % ATA_SECTOR_BYTES != 0 ||
         (u->multiple & (u->multiple - 1)) != 0 ||
         (u->phase != PH_IDLE && u->per_block == 0) ||
         ((u->phase == PH_PIO_OUT || u->phase == PH_DMA_OUT) &&
          (f->cap == 0 || f->cap / ATA_SECTOR_BYTES > u->sectors_left))))
        return err_set(e, -EINVAL, "unit %u: no such disk state", u->index);
    return 0;
}

static int ide_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct ide *s = d->s;

    (void)version;
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        int rc;

        ide_io_cancel(&s->unit[i]);
        rc = check_unit(&s->unit[i], e);
        if (rc < 0) {
            ide_unit_reset(&s->unit[i], true);
            return rc;
        }
    }
    pci_func_loaded(&s->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_update_irq(&s->ch[i]);
    return 0;
}

static void ide_destroy(struct dev *d)
{
    struct ide *s = d->s;

    ide_io_destroy(s);
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        if (s->unit[i].drive == NULL) continue;
        drive_set_device(s->unit[i].drive, NULL);
        if (s->unit[i].kind == IDE_CDROM) drive_set_ops(s->unit[i].drive, NULL);
    }
    unmap_ports(s);
    pci_func_exit(&s->pci);
}

static const struct field taskfile_state[] = { U8(ide_taskfile, feature),
                                               U8(ide_taskfile, nsector),
                                               U8(ide_taskfile, lba_low),
                                               U8(ide_taskfile, lba_mid),
                                               U8(ide_taskfile, lba_high),
                                               U8(ide_taskfile, hob_feature),
                                               U8(ide_taskfile, hob_nsector),
                                               U8(ide_taskfile, hob_low),
                                               U8(ide_taskfile, hob_mid),
                                               U8(ide_taskfile, hob_high),
                                               STATE_END };

static const struct field unit_state[] = {
    STRUCT(ide_unit, tf, taskfile_state),
    U8(ide_unit, device),
    U8(ide_unit, error),
    U8(ide_unit, status),
    BOOL(ide_unit, irq_pending),
    U8_MAX(ide_unit, phase, PH_MAX),
    U32_MAX(ide_unit, fifo.cap, IDE_BUF_BYTES),
    U32_MAX(ide_unit, fifo.len, IDE_BUF_BYTES),
    U32_MAX(ide_unit, fifo.pos, IDE_BUF_BYTES),
    U32_MAX(ide_unit, block_end, IDE_BUF_BYTES),
    U8(ide_unit, command),
    BOOL(ide_unit, is_dma),
    BOOL(ide_unit, is_lba48),
    U64_MAX(ide_unit, lba, (uint64_t)1 << 48),
    U32(ide_unit, sectors_left),
    U32_MAX(ide_unit, per_block, ATA_MAX_MULTIPLE),
    U32_MAX(ide_unit, heads, 16),
    U32_MAX(ide_unit, sectors, 255),
    U32_MAX(ide_unit, multiple, ATA_MAX_MULTIPLE),
    U8_MAX(ide_unit, xfer_mode, 0x45),
    BOOL(ide_unit, has_write_cache),
    BOOL(ide_unit, has_smart),
    BYTES(ide_unit, packet),
    U32_MAX(ide_unit, byte_limit, 0xfffe),
    U32_MAX(ide_unit, cd_sector_bytes, CD_RAW_BYTES),
    U8_MAX(ide_unit, sense_key, 0x0f),
    U8(ide_unit, asc),
    U8(ide_unit, ascq),
    U8(ide_unit, ua_asc),
    U8_MAX(ide_unit, media_event, 3),
    BOOL(ide_unit, is_tray_open),
    BOOL(ide_unit, is_tray_locked),
    BYTES(ide_unit, data),
    STATE_END
};

static const struct field bm_state[] = { U8(ide_bm, command),
                                         U8(ide_bm, status),
                                         U32(ide_bm, table),
                                         U32(ide_bm, next),
                                         U32_MAX(ide_bm, walked, 65536),
                                         U32(ide_bm, seg_addr),
                                         U32_MAX(ide_bm, seg_left, 65536),
                                         BOOL(ide_bm, is_last),
                                         STATE_END };

static const struct field channel_state[] = {
    U8(ide_channel, control), U8_MAX(ide_channel, selected, 1),
    BOOL(ide_channel, irq_level), STRUCT(ide_channel, bm, bm_state), STATE_END
};

static const struct field ide_state[] = { STRUCT(ide, pci, pci_func_state),
                                          STRUCT_ARRAY(ide, ch, channel_state),
                                          STRUCT_ARRAY(ide, unit, unit_state),
                                          STATE_END };

const struct dev_class ide_piix3_class = {
    .name = "piix3-ide",
    .title = "PIIX3 IDE controller with bus master",
    .bus = BUS_PCI,
    .size = sizeof(struct ide),
    .state = ide_state,
    .version = 1,
    .create = ide_create,
    .reset = ide_reset,
    .loaded = ide_loaded,
    .saving = ide_saving,
    .destroy = ide_destroy,
};
