/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATAPI device: the packet transport of ATA/ATAPI-6 (clauses 8.23 and 9.8).
 * What the packets mean is in ide_mmc.c.
 *
 * PIO data goes out in DRQ blocks of at most the octets the host allowed in
 * Byte Count; a block ends with the buffer, so it may be shorter.
 */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "core/base/log.h"
#include "hw/storage/ide_int.h"

enum {
    FEATURE_DMA = 1,
    CMD_DEVICE_RESET = 0x08,
    CMD_PACKET = 0xa0,
    CMD_IDENTIFY_PACKET = 0xa1,
    CMD_IDENTIFY = 0xec,
    CMD_READ_SECTORS = 0x20,
    CMD_SET_FEATURES = 0xef,
    MAX_BYTE_COUNT = 0xfffe,
    /* CD-ROM 00:02:00 and sync field of a raw sector, ECMA-130 */
    RAW_DATA = 16,
    MSF_START = 150,
};

bool atapi_has_medium(const struct ide_unit *u)
{
    return !u->is_tray_open && atapi_sectors(u) > 0;
}

uint32_t atapi_sectors(const struct ide_unit *u)
{
    struct blk *b = u->kind == IDE_CDROM ? drive_blk(u->drive) : NULL;
    uint64_t n = b != NULL ? blk_size_bytes(b) / CD_SECTOR_BYTES : 0;

    return n < INT32_MAX ? (uint32_t)n : INT32_MAX;
}

static void set_reason(struct ide_unit *u, uint8_t reason)
{
    u->tf.nsector = (uint8_t)((u->tf.nsector & ~7u) | reason);
}

static void command_end(struct ide_unit *u, uint8_t status)
{
    set_reason(u, IR_IO | IR_COD);
    u->phase = PH_IDLE;
    u->status = status;
    if (u->is_dma) ide_bm_end(unit_channel(u));
    ide_raise_irq(u);
}

void atapi_ok(struct ide_unit *u)
{
    u->error = 0;
    command_end(u, ST_OK);
}

void atapi_fail(struct ide_unit *u, uint8_t key, uint8_t asc, uint8_t ascq)
{
    u->sense_key = key;
    u->asc = asc;
    u->ascq = ascq;
    u->sectors_left = 0;
    u->error = (uint8_t)(key << 4 | ER_ABRT);
    command_end(u, ST_DRDY | ST_ERR);
}

/* ------------------------------------------------------------ data in */

static void begin_block(struct ide_unit *u)
{
    uint32_t left = fifo_left(&u->fifo);
    uint32_t n = left < u->byte_limit ? left : u->byte_limit;

    if (n < left && (n & 1)) n--;
    u->block_end = u->fifo.pos + n;
    u->tf.lba_mid = (uint8_t)n;
    u->tf.lba_high = (uint8_t)(n >> 8);
    set_reason(u, IR_IO);
    u->phase = PH_PIO_IN;
    u->status = ST_OK | ST_DRQ;
    ide_raise_irq(u);
}

static void read_chunk(struct ide_unit *u)
{
    uint32_t max = IDE_BUF_BYTES / u->cd_sector_bytes;
    uint32_t n = u->sectors_left < max ? u->sectors_left : max;
    uint64_t at = u->lba * CD_SECTOR_BYTES;

    u->lba += n;
    u->sectors_left -= n;
    ide_io_start(u, IDE_READ, at, (uint64_t)n * CD_SECTOR_BYTES);
}

/* data[] holds something: hand it on. */
static void send(struct ide_unit *u)
{
    if (!u->is_dma) {
        begin_block(u);
        return;
    }
    set_reason(u, IR_IO);
    u->phase = PH_DMA_IN;
    u->status = ST_BSY | ST_OK;
    if (ide_bm_is_active(unit_channel(u))) atapi_dma(u);
}

static void sent(struct ide_unit *u)
{
    ide_fifo_reset(u);
    if (u->sectors_left > 0)
        read_chunk(u);
    else
        atapi_ok(u);
}

void atapi_dma(struct ide_unit *u)
{
    struct ide_channel *c = unit_channel(u);
    enum bm_result r;

    if (u->phase != PH_DMA_IN) return;
    r = ide_bm_move(c, u->data, u->fifo.len, true);
    if (r == BM_DONE) {
        sent(u);
        return;
    }
    ide_bm_stop(c, r == BM_FAULT);
    ide_fifo_reset(u);
    if (r == BM_FAULT) {
        atapi_fail(u, 0x0b, 0, 0); /* aborted command */
        return;
    }
    log_guest(u->ide->d->id, "descriptor table is too short");
    u->sectors_left = 0;
    u->phase = PH_IDLE;
    u->status = ST_OK;
}

void atapi_block_done(struct ide_unit *u)
{
    if (u->phase == PH_PACKET) {
        memcpy(u->packet, u->data, sizeof(u->packet));
        ide_fifo_reset(u);
        u->phase = PH_IDLE;
        u->status = ST_BSY;
        mmc_execute(u);
    } else if (fifo_left(&u->fifo) > 0) {
        begin_block(u);
    } else {
        sent(u);
    }
}

void atapi_reply(struct ide_unit *u, uint32_t bytes, uint32_t alloc)
{
    if (bytes > alloc) bytes = alloc;
    if (bytes > IDE_BUF_BYTES) bytes = IDE_BUF_BYTES;
    u->sectors_left = 0;
    if (bytes == 0) {
        atapi_ok(u);
        return;
    }
    u->fifo.cap = IDE_BUF_BYTES;
    u->fifo.len = bytes;
    u->fifo.pos = 0;
    send(u);
}

void atapi_read(struct ide_unit *u, uint64_t lba, uint32_t sectors,
                uint32_t cd_sector_bytes)
{
    u->lba = lba;
    u->sectors_left = sectors;
    u->cd_sector_bytes = cd_sector_bytes;
    if (sectors == 0)
        atapi_ok(u);
    else
        read_chunk(u);
}

static uint8_t bcd(uint32_t v)
{
    return (uint8_t)((v / 10 % 10) << 4 | v % 10);
}

/* Sync, address, mode 1 and zeros for the check octets around each sector of
 * data[], in place from the last to the first. */
static void make_raw(struct ide_unit *u)
{
    uint32_t n = u->fifo.len / CD_SECTOR_BYTES;
    uint64_t first = u->lba - n;

    for (uint32_t i = n; i-- > 0;) {
        uint8_t *to = u->data + (size_t)i * CD_RAW_BYTES;
        uint32_t at = (uint32_t)(first + i) + MSF_START;

        memmove(to + RAW_DATA, u->data + (size_t)i * CD_SECTOR_BYTES,
                CD_SECTOR_BYTES);
        memset(to + RAW_DATA + CD_SECTOR_BYTES, 0,
               CD_RAW_BYTES - RAW_DATA - CD_SECTOR_BYTES);
        memset(to, 0xff, 12);
        to[0] = to[11] = 0;
        to[12] = bcd(at / 75 / 60);
        to[13] = bcd(at / 75 % 60);
        to[14] = bcd(at % 75);
        to[15] = 1;
    }
    u->fifo.len = n * CD_RAW_BYTES;
}

void atapi_io_done(struct ide_unit *u, enum ide_op op, int rc)
{
    (void)op;
    if (rc == -ENOMEDIUM) {
        atapi_fail(u, 0x02, 0x3a, 0);
    } else if (rc < 0) {
        atapi_fail(u, 0x03, 0x11, 0); /* unrecovered read error */
    } else {
        if (u->cd_sector_bytes == CD_RAW_BYTES) make_raw(u);
        send(u);
    }
}

/* ------------------------------------------------------------ commands */

static void cmd_packet(struct ide_unit *u)
{
    uint32_t limit = u->tf.lba_mid | (uint32_t)u->tf.lba_high << 8;

    u->is_dma = (u->tf.feature & FEATURE_DMA) != 0;
    if (limit == 0 || limit > MAX_BYTE_COUNT) limit = MAX_BYTE_COUNT;
    u->byte_limit = limit > 1 ? limit : 2;
    u->sectors_left = 0;
    ide_fifo_reset(u);
    u->fifo.cap = ATAPI_PACKET_BYTES;
    u->phase = PH_PACKET;
    set_reason(u, IR_COD);
    u->status = ST_OK | ST_DRQ;
}

static void cmd_identify_packet(struct ide_unit *u)
{
    atapi_identify(u, u->data);
    u->is_dma = false;
    u->sectors_left = 0;
    u->fifo.cap = IDE_BUF_BYTES;
    u->fifo.len = ATA_SECTOR_BYTES;
    u->fifo.pos = 0;
    u->block_end = ATA_SECTOR_BYTES;
    u->byte_limit = ATA_SECTOR_BYTES;
    u->phase = PH_PIO_IN;
    u->status = ST_OK | ST_DRQ;
    ide_raise_irq(u);
}

static void cmd_set_features(struct ide_unit *u)
{
    uint8_t mode = u->tf.nsector;

    if (u->tf.feature == 0x03) {
        if (mode > 0x0c && (mode < 0x20 || mode > 0x22) &&
            (mode < 0x40 || mode > 0x45)) {
            ata_abort(u, ER_ABRT);
            return;
        }
        u->xfer_mode = mode >= 0x20 ? mode : 0;
    }
    ata_finish(u);
}

void atapi_command(struct ide_unit *u, uint8_t command)
{
    uint8_t dev = u->device & DEV_DEV1;

    u->is_dma = false;
    switch (command) {
    case CMD_PACKET: cmd_packet(u); break;
    case CMD_IDENTIFY_PACKET: cmd_identify_packet(u); break;
    case CMD_SET_FEATURES: cmd_set_features(u); break;
    case CMD_DEVICE_RESET: /* no interrupt */
        ide_unit_reset(u, false);
        u->device = dev;
        break;
    case CMD_IDENTIFY:
    case CMD_READ_SECTORS: /* says: look, I am a packet device */
        ide_set_signature(u);
        ata_abort(u, ER_ABRT);
        break;
    case 0xe0: /* power management */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6: ata_finish(u); break;
    case 0xe5:
        u->tf.nsector = 0xff;
        ata_finish(u);
        break;
    default: ata_abort(u, ER_ABRT); break;
    }
}

void atapi_reset(struct ide_unit *u, bool is_hard)
{
    u->sense_key = u->asc = u->ascq = 0;
    u->is_tray_locked = false;
    if (!is_hard) return;
    u->xfer_mode = 0;
    u->ua_asc = 0;
    u->media_event = 0;
    u->cd_sector_bytes = CD_SECTOR_BYTES;
    /* Power-on closes the tray if there is something in it. */
    if (drive_blk(u->drive) != NULL) u->is_tray_open = false;
}

/* ------------------------------------------------- monitor's side */

static void medium_changed(void *arg)
{
    struct ide_unit *u = arg;

    if (drive_blk(u->drive) == NULL) {
        u->is_tray_open = true;
        u->is_tray_locked = false;
        u->media_event = 3; /* media removal */
        return;
    }
    u->is_tray_open = false;
    u->ua_asc = 0x28;   /* medium may have changed */
    u->media_event = 2; /* new media */
}

static bool is_locked(void *arg)
{
    const struct ide_unit *u = arg;

    return u->is_tray_locked;
}

static void eject_request(void *arg)
{
    struct ide_unit *u = arg;

    u->media_event = 1;
}

static bool is_tray_open(void *arg)
{
    const struct ide_unit *u = arg;

    return u->is_tray_open;
}

static void set_tray(void *arg, bool is_open)
{
    struct ide_unit *u = arg;

    if (u->is_tray_open == is_open) return;
    u->is_tray_open = is_open;
    if (is_open) {
        u->is_tray_locked = false;
        u->media_event = 3; /* media removal */
    } else if (drive_blk(u->drive) != NULL) {
        u->ua_asc = 0x28;
        u->media_event = 2; /* new media */
    }
}

void atapi_attach(struct ide_unit *u)
{
    const struct drive_ops ops = {
        .medium_changed = medium_changed,
        .is_locked = is_locked,
        .eject_request = eject_request,
        .is_tray_open = is_tray_open,
        .set_tray = set_tray,
        .arg = u,
    };

    drive_set_ops(u->drive, &ops);
    u->cd_sector_bytes = CD_SECTOR_BYTES;
}
