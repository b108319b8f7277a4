/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA disk: the commands of ATA/ATAPI-6 (clause 8) a PC needs.  A command
 * checks everything and latches the transfer in the unit; what runs later
 * (requests, DRQ blocks, the bus master) looks at nothing else.
 */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "core/base/log.h"
#include "hw/storage/ide_int.h"

enum ata_flag {
    F_LBA48 = 1,
    F_DMA = 2,
    F_WRITE = 4,
    F_MULTIPLE = 8,
};

enum { CMD_DATA_SET_MANAGEMENT = 0x06 };

struct ata_cmd {
    uint8_t code;
    uint8_t flags;
    void (*run)(struct ide_unit *u, const struct ata_cmd *cmd);
};

uint64_t ata_sectors(const struct ide_unit *u)
{
    struct blk *b = u->kind == IDE_DISK ? drive_blk(u->drive) : NULL;
    uint64_t n = b != NULL ? blk_size_bytes(b) / ATA_SECTOR_BYTES : 0;
    const uint64_t max = (uint64_t)1 << 48;

    return n < max ? n : max;
}

void ata_reset(struct ide_unit *u)
{
    u->heads = u->geometry.heads;
    u->sectors = u->geometry.sectors;
    u->multiple = 0;
    u->xfer_mode = 0;
    u->has_write_cache = !u->is_cache_off;
    u->has_smart = true;
    u->is_lba48 = false;
}

void ata_finish(struct ide_unit *u)
{
    u->phase = PH_IDLE;
    u->status = ST_OK;
    ide_raise_irq(u);
}

void ata_abort(struct ide_unit *u, uint8_t error)
{
    u->phase = PH_IDLE;
    u->status = ST_DRDY | ST_ERR;
    u->error = error;
    ide_raise_irq(u);
}

/* --------------------------------------------------------- addresses */

/* Address registers in the form the command used. */
static void put_lba(struct ide_unit *u, uint64_t lba)
{
    struct ide_taskfile *t = &u->tf;

    if (!u->is_lba48 && !(u->device & DEV_LBA)) {
        uint32_t spt = u->sectors != 0 ? u->sectors : 1;
        uint32_t heads = u->heads != 0 ? u->heads : 1;
        uint64_t track = lba / spt;

        t->lba_low = (uint8_t)(lba % spt + 1);
        t->lba_mid = (uint8_t)(track / heads);
        t->lba_high = (uint8_t)(track / heads >> 8);
        u->device = (uint8_t)((u->device & 0xf0) | (track % heads & 0x0f));
        return;
    }
    t->lba_low = (uint8_t)lba;
    t->lba_mid = (uint8_t)(lba >> 8);
    t->lba_high = (uint8_t)(lba >> 16);
    if (u->is_lba48) {
        t->hob_low = (uint8_t)(lba >> 24);
        t->hob_mid = (uint8_t)(lba >> 32);
        t->hob_high = (uint8_t)(lba >> 40);
    } else {
        u->device = (uint8_t)((u->device & 0xf0) | (lba >> 24 & 0x0f));
    }
}

/* The addressed sector; false: there is no such. */
static bool get_lba(const struct ide_unit *u, bool is_lba48, uint64_t *lba)
{
    const struct ide_taskfile *t = &u->tf;
    uint64_t low = (uint64_t)t->lba_low | (uint64_t)t->lba_mid << 8 |
                   (uint64_t)t->lba_high << 16;
    uint32_t head = u->device & 0x0f;

    if (is_lba48) {
        *lba = low | (uint64_t)t->hob_low << 24 | (uint64_t)t->hob_mid << 32 |
               (uint64_t)t->hob_high << 40;
        return true;
    }
    if (u->device & DEV_LBA) {
        *lba = low | (uint64_t)head << 24;
        return true;
    }
    if (t->lba_low == 0 || t->lba_low > u->sectors || head >= u->heads)
        return false;
    *lba = ((low >> 8) * u->heads + head) * u->sectors + t->lba_low - 1;
    return true;
}

static uint32_t get_count(const struct ide_unit *u, bool is_lba48)
{
    uint32_t n = u->tf.nsector;

    if (is_lba48) {
        n |= (uint32_t)u->tf.hob_nsector << 8;
        return n != 0 ? n : 65536;
    }
    return n != 0 ? n : 256;
}

/* Latch the range of a command; false: ended with IDNF. */
static bool latch_range(struct ide_unit *u, const struct ata_cmd *cmd)
{
    bool is_lba48 = (cmd->flags & F_LBA48) != 0;
    uint64_t total = ata_sectors(u);
    uint64_t lba = 0;
    uint32_t count = get_count(u, is_lba48);
    bool is_found = get_lba(u, is_lba48, &lba);

    u->is_lba48 = is_lba48;
    if (!is_found || lba >= total || count > total - lba) {
        log_guest(u->ide->d->id, "sectors %llu+%u are not on the disk",
                  (unsigned long long)lba, count);
        ata_abort(u, ER_IDNF);
        return false;
    }
    u->lba = lba;
    u->sectors_left = count;
    u->is_dma = (cmd->flags & F_DMA) != 0;
    return true;
}

/* -------------------------------------------------------- transfers */

static uint32_t chunk_sectors(const struct ide_unit *u)
{
    uint32_t max = IDE_BUF_BYTES / ATA_SECTOR_BYTES;

    return u->sectors_left < max ? u->sectors_left : max;
}

static void read_chunk(struct ide_unit *u)
{
    ide_io_start(u, IDE_READ, u->lba * ATA_SECTOR_BYTES,
                 (uint64_t)chunk_sectors(u) * ATA_SECTOR_BYTES);
}

static void begin_block_in(struct ide_unit *u)
{
    uint32_t bytes = u->per_block * ATA_SECTOR_BYTES;
    uint32_t left = fifo_left(&u->fifo);

    u->block_end = u->fifo.pos + (bytes < left ? bytes : left);
    u->phase = PH_PIO_IN;
    u->status = ST_OK | ST_DRQ;
    ide_raise_irq(u);
}

static void begin_block_out(struct ide_unit *u)
{
    uint32_t n =
        u->per_block < u->sectors_left ? u->per_block : u->sectors_left;

    ide_fifo_reset(u);
    u->fifo.cap = n * ATA_SECTOR_BYTES;
    u->phase = PH_PIO_OUT;
    u->status = ST_OK | ST_DRQ;
}

static void wait_dma_out(struct ide_unit *u)
{
    ide_fifo_reset(u);
    u->fifo.cap = chunk_sectors(u) * ATA_SECTOR_BYTES;
    u->phase = PH_DMA_OUT;
    u->status = ST_BSY | ST_OK;
    if (ide_bm_is_active(unit_channel(u))) ata_dma(u);
}

static void transfer_end(struct ide_unit *u)
{
    put_lba(u, u->lba - 1);
    u->tf.nsector = 0;
    if (u->is_dma) ide_bm_end(unit_channel(u));
    ata_finish(u);
}

/* True if the bus master did its part; else the command is over or stuck, as
 * the data sheet says: a table that is too short ends without interrupt. */
static bool bm_ok(struct ide_unit *u, enum bm_result r)
{
    if (r == BM_DONE) return true;
    ide_bm_stop(unit_channel(u), r == BM_FAULT);
    if (r == BM_FAULT) {
        ata_abort(u, ER_ABRT);
    } else {
        log_guest(u->ide->d->id, "descriptor table is too short");
        u->phase = PH_IDLE;
        u->status = ST_OK;
    }
    return false;
}

static void read_dma(struct ide_unit *u)
{
    uint32_t n = u->fifo.len / ATA_SECTOR_BYTES;

    if (!bm_ok(u, ide_bm_move(unit_channel(u), u->data, u->fifo.len, true)))
        return;
    ide_fifo_reset(u);
    u->lba += n;
    u->sectors_left -= n < u->sectors_left ? n : u->sectors_left;
    if (u->sectors_left > 0)
        read_chunk(u);
    else
        transfer_end(u);
}

/*
 * TRIM (ACS-2, 7.10): data[] holds 64 ranges, 48 bits address and 16 bits
 * count, 0 = none.  fifo.pos is where the next one lies.
 */
static void trim_next(struct ide_unit *u)
{
    uint64_t total = ata_sectors(u), range = 0, lba, count;

    while (u->fifo.pos + 8 <= ATA_SECTOR_BYTES) {
        memcpy(&range, u->data + u->fifo.pos, 8); /* little-endian host */
        u->fifo.pos += 8;
        lba = range & (((uint64_t)1 << 48) - 1);
        count = range >> 48;
        if (count == 0) continue;
        if (lba >= total || count > total - lba) {
            ide_bm_end(unit_channel(u));
            ata_abort(u, ER_ABRT | ER_IDNF);
            return;
        }
        ide_io_start(u, IDE_DISCARD, lba * ATA_SECTOR_BYTES,
                     count * ATA_SECTOR_BYTES);
        return;
    }
    ide_bm_end(unit_channel(u));
    ata_finish(u);
}

static void write_dma(struct ide_unit *u)
{
    const uint32_t max = IDE_DMA_BYTES / ATA_SECTOR_BYTES;
    uint32_t bytes =
        ATA_SECTOR_BYTES * (u->sectors_left < max ? u->sectors_left : max);
    uint8_t *buf;
    struct ide_req *r =
        ide_io_make_write(u, u->lba * ATA_SECTOR_BYTES, bytes, &buf);

    if (r == NULL) {
        ata_io_done(u, IDE_WRITE, -ENOMEM);
        return;
    }
    if (bm_ok(u, ide_bm_move(unit_channel(u), buf, bytes, false)))
        ide_io_start_write(r);
    else
        ide_io_drop(r);
}

static void trim_dma(struct ide_unit *u)
{
    uint32_t bytes = u->fifo.cap;

    if (!bm_ok(u, ide_bm_move(unit_channel(u), u->data, bytes, false))) return;
    u->fifo.len = bytes;
    trim_next(u);
}

void ata_dma(struct ide_unit *u)
{
    if (u->phase == PH_DMA_IN)
        read_dma(u);
    else if (u->phase == PH_DMA_OUT && u->command == CMD_DATA_SET_MANAGEMENT)
        trim_dma(u);
    else if (u->phase == PH_DMA_OUT)
        write_dma(u);
}

static void read_done(struct ide_unit *u)
{
    if (!u->is_dma) {
        begin_block_in(u);
        return;
    }
    u->phase = PH_DMA_IN;
    u->status = ST_BSY | ST_OK;
    if (ide_bm_is_active(unit_channel(u))) ata_dma(u);
}

static void write_done(struct ide_unit *u)
{
    uint32_t n = u->write_sectors;

    u->lba += n;
    u->sectors_left -= n < u->sectors_left ? n : u->sectors_left;
    if (u->sectors_left == 0) {
        transfer_end(u);
    } else if (u->is_dma) {
        wait_dma_out(u);
    } else {
        begin_block_out(u);
        ide_raise_irq(u);
    }
}

void ata_io_done(struct ide_unit *u, enum ide_op op, int rc)
{
    if (rc < 0) {
        if (u->is_dma) ide_bm_end(unit_channel(u));
        if (op == IDE_READ || op == IDE_WRITE) put_lba(u, u->lba);
        ata_abort(u, op == IDE_READ ? ER_UNC : ER_ABRT);
        return;
    }
    switch (op) {
    case IDE_READ: read_done(u); break;
    case IDE_WRITE: write_done(u); break;
    case IDE_DISCARD: trim_next(u); break;
    default: ata_finish(u); break;
    }
}

/* A whole DRQ block passed the data port. */
void ata_block_done(struct ide_unit *u)
{
    if (u->phase == PH_PIO_OUT) {
        ide_io_start(u, IDE_WRITE, u->lba * ATA_SECTOR_BYTES, u->fifo.cap);
        return;
    }
    if (fifo_left(&u->fifo) > 0) {
        begin_block_in(u);
        return;
    }
    if (u->sectors_left > 0) { /* not IDENTIFY and the like */
        uint32_t n = u->fifo.len / ATA_SECTOR_BYTES;

        u->lba += n;
        u->sectors_left -= n < u->sectors_left ? n : u->sectors_left;
        if (u->sectors_left > 0) {
            read_chunk(u);
            return;
        }
        put_lba(u, u->lba - 1);
        u->tf.nsector = 0;
    }
    u->phase = PH_IDLE;
    u->status = ST_OK;
}

/* ---------------------------------------------------------- commands */

static void cmd_read(struct ide_unit *u, const struct ata_cmd *cmd)
{
    bool is_multiple = (cmd->flags & F_MULTIPLE) != 0;

    if (is_multiple && u->multiple == 0) {
        ata_abort(u, ER_ABRT);
        return;
    }
    if (!latch_range(u, cmd)) return;
    u->per_block = is_multiple ? u->multiple : 1;
    read_chunk(u);
}

static void cmd_write(struct ide_unit *u, const struct ata_cmd *cmd)
{
    bool is_multiple = (cmd->flags & F_MULTIPLE) != 0;

    if (is_multiple && u->multiple == 0) {
        ata_abort(u, ER_ABRT);
        return;
    }
    if (!latch_range(u, cmd)) return;
    u->per_block = is_multiple ? u->multiple : 1;
    if (u->is_dma)
        wait_dma_out(u);
    else
        begin_block_out(u); /* no interrupt before the first block */
}

static void cmd_verify(struct ide_unit *u, const struct ata_cmd *cmd)
{
    if (!latch_range(u, cmd)) return;
    u->lba += u->sectors_left;
    u->sectors_left = 0;
    u->is_dma = false;
    transfer_end(u);
}

static void cmd_seek(struct ide_unit *u, const struct ata_cmd *cmd)
{
    uint64_t lba = 0;

    (void)cmd;
    if (get_lba(u, false, &lba) && lba < ata_sectors(u))
        ata_finish(u);
    else
        ata_abort(u, ER_IDNF);
}

static void cmd_ok(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    ata_finish(u);
}

static void cmd_flush(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    u->is_dma = false;
    ide_io_start(u, IDE_FLUSH, 0, 0);
}

/* Feature bit 0 is TRIM, the only function there is; one block of ranges. */
static void cmd_data_set_management(struct ide_unit *u,
                                    const struct ata_cmd *cmd)
{
    (void)cmd;
    if (u->tf.feature != 1 || get_count(u, true) != 1) {
        ata_abort(u, ER_ABRT);
        return;
    }
    u->is_dma = true;
    u->is_lba48 = true;
    u->sectors_left = 1;
    u->per_block = 1;
    wait_dma_out(u);
}

static void begin_reply(struct ide_unit *u)
{
    u->fifo.cap = IDE_BUF_BYTES;
    u->fifo.len = ATA_SECTOR_BYTES;
    u->fifo.pos = 0;
    u->sectors_left = 0;
    u->per_block = 1;
    begin_block_in(u);
}

static void cmd_identify(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    ata_identify(u, u->data);
    begin_reply(u);
}

static void cmd_init_params(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    if (u->tf.nsector == 0) {
        ata_abort(u, ER_ABRT);
        return;
    }
    u->heads = (u->device & 0x0fu) + 1;
    u->sectors = u->tf.nsector;
    ata_finish(u);
}

static void cmd_set_multiple(struct ide_unit *u, const struct ata_cmd *cmd)
{
    uint32_t n = u->tf.nsector;

    (void)cmd;
    if (n > ATA_MAX_MULTIPLE || (n & (n - 1)) != 0) {
        ata_abort(u, ER_ABRT);
        return;
    }
    u->multiple = n;
    ata_finish(u);
}

/* CHECK POWER MODE: FFh = active or idle */
static void cmd_check_power(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    u->tf.nsector = 0xff;
    ata_finish(u);
}

static void cmd_native_max(struct ide_unit *u, const struct ata_cmd *cmd)
{
    uint64_t total = ata_sectors(u);
    const uint64_t lba28_max = ((uint64_t)1 << 28);

    u->is_lba48 = (cmd->flags & F_LBA48) != 0;
    if (total == 0) {
        ata_abort(u, ER_ABRT);
        return;
    }
    if (!u->is_lba48) {
        u->device |= DEV_LBA;
        if (total > lba28_max) total = lba28_max;
    }
    put_lba(u, total - 1);
    ata_finish(u);
}

/* 8.46 SET FEATURES, subcommand in Features. */
static void cmd_set_features(struct ide_unit *u, const struct ata_cmd *cmd)
{
    uint8_t mode = u->tf.nsector;

    (void)cmd;
    switch (u->tf.feature) {
    case 0x02: u->has_write_cache = true; break;
    case 0x82:
        u->has_write_cache = false;
        cmd_flush(u, cmd);
        return;
    case 0x03:
        /* PIO default and flow control, multiword DMA 0-2, Ultra DMA 0-5 */
        if (mode > 0x0c && (mode < 0x20 || mode > 0x22) &&
            (mode < 0x40 || mode > 0x45)) {
            ata_abort(u, ER_ABRT);
            return;
        }
        u->xfer_mode = mode >= 0x20 ? mode : 0;
        break;
    case 0x05: /* APM on, off */
    case 0x85:
    case 0x42: /* acoustics on, off */
    case 0xc2:
    case 0x55: /* look-ahead off, on */
    case 0xaa:
    case 0x66: /* keep, restore settings at soft reset */
    case 0xcc: break;
    default: ata_abort(u, ER_ABRT); return;
    }
    ata_finish(u);
}

/* 8.41 SMART: the disk is always well; no data, no logs. */
static void cmd_smart(struct ide_unit *u, const struct ata_cmd *cmd)
{
    uint8_t sub = u->tf.feature;

    (void)cmd;
    if (u->tf.lba_mid != 0x4f || u->tf.lba_high != 0xc2 ||
        (!u->has_smart && sub != 0xd8)) {
        ata_abort(u, ER_ABRT);
        return;
    }
    switch (sub) {
    case 0xd8: u->has_smart = true; break;
    case 0xd9: u->has_smart = false; break;
    case 0xda: break; /* 4Fh C2h left as they are: no threshold exceeded */
    default: ata_abort(u, ER_ABRT); return;
    }
    ata_finish(u);
}

static void cmd_nop(struct ide_unit *u, const struct ata_cmd *cmd)
{
    (void)cmd;
    ata_abort(u, ER_ABRT); /* that is what NOP does */
}

static const struct ata_cmd ata_cmds[] = {
    /* clang-format off */
    { 0x00, 0,                              cmd_nop },
    { CMD_DATA_SET_MANAGEMENT, F_DMA,       cmd_data_set_management },
    { 0x20, 0,                              cmd_read },
    { 0x21, 0,                              cmd_read },
    { 0x24, F_LBA48,                        cmd_read },
    { 0x25, F_LBA48 | F_DMA,                cmd_read },
    { 0x27, F_LBA48,                        cmd_native_max },
    { 0x29, F_LBA48 | F_MULTIPLE,           cmd_read },
    { 0x30, F_WRITE,                        cmd_write },
    { 0x31, F_WRITE,                        cmd_write },
    { 0x34, F_WRITE | F_LBA48,              cmd_write },
    { 0x35, F_WRITE | F_LBA48 | F_DMA,      cmd_write },
    { 0x39, F_WRITE | F_LBA48 | F_MULTIPLE, cmd_write },
    { 0x3c, F_WRITE,                        cmd_write }, /* and verify */
    { 0x40, 0,                              cmd_verify },
    { 0x41, 0,                              cmd_verify },
    { 0x42, F_LBA48,                        cmd_verify },
    { 0x70, 0,                              cmd_seek },
    { 0x91, 0,                              cmd_init_params },
    { 0x94, 0,                              cmd_ok }, /* old power codes */
    { 0x95, 0,                              cmd_ok },
    { 0x96, 0,                              cmd_ok },
    { 0x97, 0,                              cmd_ok },
    { 0x98, 0,                              cmd_check_power },
    { 0x99, 0,                              cmd_ok },
    { 0xb0, 0,                              cmd_smart },
    { 0xc4, F_MULTIPLE,                     cmd_read },
    { 0xc5, F_WRITE | F_MULTIPLE,           cmd_write },
    { 0xc6, 0,                              cmd_set_multiple },
    { 0xc8, F_DMA,                          cmd_read },
    { 0xc9, F_DMA,                          cmd_read },
    { 0xca, F_WRITE | F_DMA,                cmd_write },
    { 0xcb, F_WRITE | F_DMA,                cmd_write },
    { 0xe0, 0,                              cmd_ok }, /* STANDBY IMMEDIATE */
    { 0xe1, 0,                              cmd_ok }, /* IDLE IMMEDIATE */
    { 0xe2, 0,                              cmd_ok }, /* STANDBY */
    { 0xe3, 0,                              cmd_ok }, /* IDLE */
    { 0xe5, 0,                              cmd_check_power },
    { 0xe6, 0,                              cmd_ok }, /* SLEEP */
    { 0xe7, 0,                              cmd_flush },
    { 0xea, F_LBA48,                        cmd_flush },
    { 0xec, 0,                              cmd_identify },
    { 0xef, 0,                              cmd_set_features },
    { 0xf8, 0,                              cmd_native_max },
    /* clang-format on */
};

void ata_command(struct ide_unit *u, uint8_t command)
{
    u->reads_now = 0;
    for (size_t i = 0; i < sizeof(ata_cmds) / sizeof(ata_cmds[0]); i++) {
        if (ata_cmds[i].code != command) continue;
        ata_cmds[i].run(u, &ata_cmds[i]);
        return;
    }
    if ((command & 0xf0) == 0x10) { /* RECALIBRATE, any step rate */
        cmd_ok(u, NULL);
        return;
    }
    log_guest(u->ide->d->id, "unknown ATA command %02xh", command);
    ata_abort(u, ER_ABRT);
}
