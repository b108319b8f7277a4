/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_STORAGE_IDE_INT_H
#define ORRERY_HW_STORAGE_IDE_INT_H

#include "core/base/fifo.h"
#include "core/vm/vm.h"
#include "hw/pci.h"
#include "hw/storage/ide.h"

/*
 * Inside of the IDE controller.  A unit (device) is a state machine over
 * `phase`; data passes through the unit's buffer, block by block:
 *
 *   disk --ide_io--> data[] --PIO, DMA--> guest      (and the other way)
 *
 * What the guest writes by DMA goes to the request without data[].
 *
 * An ide_req owns its own buffer, so a cancelled one can not touch anything.
 * At most one request of a unit is current; after a cancel the next waits
 * until the old one is really over (two writes must not change places).
 */

/* ATA/ATAPI-6, 7.15 "Status register", 7.9 "Error register", 7.8 "Device
 * Control", 7.7 "Device" */
enum {
    ST_ERR = 0x01,
    ST_DRQ = 0x08,
    ST_DSC = 0x10, /* seek complete; service in packet devices */
    ST_DF = 0x20,
    ST_DRDY = 0x40,
    ST_BSY = 0x80,
    ST_OK = ST_DRDY | ST_DSC,

    ER_ABRT = 0x04,
    ER_IDNF = 0x10,
    ER_UNC = 0x40,

    DC_NIEN = 0x02,
    DC_SRST = 0x04,
    DC_HOB = 0x80,

    DEV_DEV1 = 0x10,
    DEV_LBA = 0x40,
};

/* ATA/ATAPI-6, 8.23 PACKET: Interrupt Reason bits in Sector Count */
enum { IR_COD = 1, IR_IO = 2 };

enum {
    ATA_SECTOR_BYTES = 512,
    CD_SECTOR_BYTES = 2048,
    CD_RAW_BYTES = 2352,
    IDE_BUF_BYTES = 65536,
    IDE_DMA_BYTES = 128 << 10, /* a request that is written by DMA */
    ATA_MAX_MULTIPLE = 16,
    ATAPI_PACKET_BYTES = 12,
};

enum ide_kind { IDE_NONE, IDE_DISK, IDE_CDROM };

enum ide_phase {
    PH_IDLE,
    PH_IO,      /* a request is with the block layer */
    PH_PIO_IN,  /* guest reads the data port */
    PH_PIO_OUT, /* guest writes the data port */
    PH_PACKET,  /* guest writes the command packet */
    PH_DMA_IN,  /* data[] waits for the bus master */
    PH_DMA_OUT, /* unit waits for data from the bus master */
    PH_MAX = PH_DMA_OUT,
};

enum ide_op { IDE_READ, IDE_WRITE, IDE_FLUSH, IDE_DISCARD };

struct ide;
struct ide_req;

/* The registers a guest writes; hob: what was there before. */
struct ide_taskfile {
    uint8_t feature, nsector, lba_low, lba_mid, lba_high;
    uint8_t hob_feature, hob_nsector, hob_low, hob_mid, hob_high;
};

struct ide_unit {
    struct ide *ide;
    unsigned index;
    enum ide_kind kind;
    struct drive *drive;

    struct ide_taskfile tf;
    uint8_t device, error, status;
    bool irq_pending;

    uint8_t phase;
    struct fifo fifo;   /* over data[] */
    uint32_t block_end; /* PIO in: end of this DRQ block in data[] */

    /* The transfer that runs; latched when the command was written. */
    uint8_t command;
    bool is_dma, is_lba48;
    uint64_t lba;          /* next sector */
    uint32_t sectors_left; /* not yet in (or from) data[] */
    uint32_t per_block;    /* disk: sectors per DRQ block */

    /* Disk */
    uint32_t heads, sectors; /* as INITIALIZE DEVICE PARAMETERS set them */
    uint32_t multiple;       /* SET MULTIPLE MODE; 0 = off */
    uint8_t xfer_mode;       /* SET FEATURES 03h */
    bool has_write_cache, has_smart;
    bool is_cache_off;            /* how it is after a reset; not saved */
    struct ide_geometry geometry; /* not saved */

    /* What IDENTIFY tells besides; "" and 0: the usual.  Not saved. */
    char serial[21], model[41], firmware[9];
    uint64_t wwn;
    uint32_t rotation_rate;

    /* CD-ROM */
    uint8_t packet[ATAPI_PACKET_BYTES];
    uint32_t byte_limit;      /* octets per DRQ block */
    uint32_t cd_sector_bytes; /* what the guest gets per sector */
    uint8_t sense_key, asc, ascq;
    uint8_t ua_asc;      /* unit attention to report, 0 = none */
    uint8_t media_event; /* GET EVENT STATUS NOTIFICATION */
    bool is_tray_open, is_tray_locked;

    /* Requests */
    uint64_t gen;
    unsigned in_flight;
    struct ide_req *deferred;
    struct ide_req *spare;  /* memory for the next large one, or NULL */
    unsigned reads_now;     /* in a row that ended within ide_io_start */
    uint32_t write_sectors; /* of the request that writes */

    uint8_t data[IDE_BUF_BYTES];
};

/* Bus master registers of a channel and the walk through its table. */
struct ide_bm {
    uint8_t command, status;
    uint32_t table;              /* as written */
    uint32_t next;               /* address of the next descriptor */
    uint32_t walked;             /* descriptors taken */
    uint32_t seg_addr, seg_left; /* rest of the descriptor in use */
    bool is_last;
};

struct ide_channel {
    struct ide *ide;
    unsigned index;
    struct irq_line irq;
    bool irq_level;
    uint8_t control; /* Device Control */
    uint8_t selected;
    struct ide_bm bm;
};

struct ide {
    struct pci_func pci; /* first */
    struct dev *d;
    struct ide_channel ch[IDE_CHANNELS];
    struct ide_unit unit[IDE_UNITS];
    struct ide_req *reqs; /* all that live */
    struct port_ops ops;
};

static inline struct ide_channel *unit_channel(struct ide_unit *u)
{
    return &u->ide->ch[u->index / 2];
}

static inline struct ide_unit *channel_unit(struct ide_channel *c, unsigned dev)
{
    return &c->ide->unit[c->index * 2 + (dev & 1)];
}

static inline void ide_fifo_reset(struct ide_unit *u)
{
    fifo_reset(&u->fifo);
    u->block_end = 0;
}

/* ide_reg.c: ports, interrupts, resets */
extern const struct port_ops ide_command_ports, ide_control_ports;
void ide_update_irq(struct ide_channel *c);
void ide_raise_irq(struct ide_unit *u);
void ide_set_signature(struct ide_unit *u);
void ide_unit_reset(struct ide_unit *u, bool is_hard);

/* ide_bm.c: bus master (Intel 82371SB data sheet, 2.7) */
enum { BM_ACTIVE = 1, BM_ERROR = 2, BM_IRQ = 4 };
enum bm_result { BM_DONE, BM_SHORT, BM_FAULT };
extern const struct port_ops ide_bm_ports;
bool ide_bm_is_active(const struct ide_channel *c);
/* Move bytes between buf and the guest's segments. */
enum bm_result ide_bm_move(struct ide_channel *c, uint8_t *buf, uint32_t bytes,
                           bool to_guest);
/* The device has ended the transfer. */
void ide_bm_end(struct ide_channel *c);
void ide_bm_stop(struct ide_channel *c, bool is_error);

/* ide_io.c: requests */
/* Start; PH_IO.  Write: the octets are copied from data[0..bytes).  Read:
 * they are in data[] when the unit's io_done runs, which may be before the
 * function returns (DMA only: a guest that has not seen BSY after a PIO command
 * may not be ready for the interrupt yet). */
void ide_io_start(struct ide_unit *u, enum ide_op op, uint64_t offset,
                  uint64_t bytes);
/* A write in two steps: make, fill *buf, then start it or drop it.  NULL: no
 * memory. */
struct ide_req *ide_io_make_write(struct ide_unit *u, uint64_t offset,
                                  uint64_t bytes, uint8_t **buf);
void ide_io_start_write(struct ide_req *r);
void ide_io_drop(struct ide_req *r);
void ide_io_cancel(struct ide_unit *u);
void ide_io_drain(struct ide *s);   /* until nothing is in flight */
void ide_io_destroy(struct ide *s); /* let go of what is in flight */

/* Called by registers, bus master and requests for either kind. */
void ata_command(struct ide_unit *u, uint8_t command);
void ata_io_done(struct ide_unit *u, enum ide_op op, int rc);
void ata_block_done(struct ide_unit *u); /* a DRQ block was moved by PIO */
void ata_dma(struct ide_unit *u);        /* the bus master is active */
void ata_reset(struct ide_unit *u);
void ata_finish(struct ide_unit *u); /* good end, with interrupt */
void ata_abort(struct ide_unit *u, uint8_t error);
void ata_identify(struct ide_unit *u, uint8_t *out); /* 512 octets */
void ata_set_geometry(struct ide_unit *u);           /* after attaching */
uint64_t ata_sectors(const struct ide_unit *u);

void atapi_command(struct ide_unit *u, uint8_t command);
void atapi_io_done(struct ide_unit *u, enum ide_op op, int rc);
void atapi_block_done(struct ide_unit *u);
void atapi_dma(struct ide_unit *u);
void atapi_reset(struct ide_unit *u, bool is_hard);
void atapi_identify(struct ide_unit *u, uint8_t *out);
void atapi_attach(struct ide_unit *u);
/* ide_mmc.c: runs u->packet; ends in one of the four below. */
void mmc_execute(struct ide_unit *u);
void atapi_ok(struct ide_unit *u);
void atapi_reply(struct ide_unit *u, uint32_t bytes, uint32_t alloc);
void atapi_read(struct ide_unit *u, uint64_t lba, uint32_t sectors,
                uint32_t cd_sector_bytes);
void atapi_fail(struct ide_unit *u, uint8_t key, uint8_t asc, uint8_t ascq);
bool atapi_has_medium(const struct ide_unit *u);
uint32_t atapi_sectors(const struct ide_unit *u);

#endif
