/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_HW_STORAGE_FDC_INT_H
#define ORRERY_HW_STORAGE_FDC_INT_H

#include "core/base/fifo.h"
#include "core/vm/vm.h"
#include "hw/storage/fdc.h"

/*
 * Inside of the floppy controller.  Octets of a command go to cmd[], of a
 * result come from result[]; data[] holds one run of sectors on one side of a
 * track.  Each has a struct fifo, reset in fdc_set_phase and nowhere passed.
 */

/* Intel 82077AA data sheet 290166, 2.1 "Status, data and control registers",
 * 5.0 "Command set", 6.0 "Status register encoding" */
enum {
    ST0_ABNORMAL = 0x40,
    ST0_INVALID = 0x80,
    ST0_READY_CHANGED = 0xc0,
    ST0_SEEK_END = 0x20,
    ST0_NOT_READY = 0x08,

    ST1_NO_ADDRESS_MARK = 0x01,
    ST1_NOT_WRITABLE = 0x02,
    ST1_NO_DATA = 0x04,
    ST1_OVERRUN = 0x10,
    ST1_DATA_ERROR = 0x20,
    ST1_END_OF_CYLINDER = 0x80,

    ST2_WRONG_CYLINDER = 0x10,

    ST3_WRITE_PROTECTED = 0x40,
    ST3_READY = 0x20,
    ST3_TRACK_0 = 0x10,
    ST3_TWO_SIDES = 0x08,

    DOR_SELECT = 0x03,
    DOR_NRESET = 0x04,
    DOR_DMA = 0x08,

    CFG_IMPLIED_SEEK = 0x40,
    CFG_NO_POLL = 0x10,
};

enum {
    FDC_SECTOR_BYTES = 512,
    FDC_MAX_SPT = 48,
    FDC_DATA_BYTES = FDC_MAX_SPT * FDC_SECTOR_BYTES,
    FDC_CMD_BYTES = 20,
    FDC_DMA_CHANNEL = 2,
    FDC_DRIVES = 4, /* the controller counts four */
};

enum fdc_phase {
    FD_COMMAND,
    FD_IO,  /* a request is with the block layer */
    FD_IN,  /* data[] goes to the guest */
    FD_OUT, /* data[] is filled by the guest */
    FD_RESULT,
    FD_PHASE_MAX = FD_RESULT,
};

enum fdc_exec { FX_READ, FX_WRITE, FX_FORMAT, FX_MAX = FX_FORMAT };

struct fdc_geometry {
    uint8_t cylinders, heads, sectors;
    uint8_t rate; /* as CCR: 0 500, 1 300, 2 250, 3 1000 kbit/s */
};

struct fdc_unit {
    struct drive *drive;     /* NULL: no drive */
    uint8_t type;            /* as CMOS has it */
    bool is_changed;         /* DSKCHG */
    struct fdc_geometry geo; /* of the medium; not saved */
};

struct fdc_req;

struct fdc {
    struct dev *d;
    struct irq_line irq;
    struct dev *dma;
    struct fdc_unit unit[FDC_DRIVES];

    uint8_t dor, dsr, tdr, ccr;
    bool irq_pending;
    uint8_t phase;
    uint8_t sense_mask; /* drives with an interrupt to sense */
    uint8_t sense_st0[FDC_DRIVES];
    uint8_t track[FDC_DRIVES]; /* present cylinder numbers */
    uint8_t specify[2];        /* SRT/HUT, HLT/ND */
    uint8_t config, pretrack, perpendicular, last_eot;
    bool is_locked, is_power_down;

    /* The transfer that runs */
    uint8_t exec;
    bool is_multi_track, is_tc, is_ndma;
    uint8_t ds, cyl, head, sector, eot, fill;
    uint8_t side; /* head that worked last, for ST0 */

    struct fifo cmd_fifo, result_fifo, data_fifo;
    uint8_t cmd[FDC_CMD_BYTES], result[FDC_CMD_BYTES];
    uint8_t data[FDC_DATA_BYTES];

    uint64_t gen;
    unsigned in_flight;
    struct fdc_req *reqs, *deferred;
};

/* fdc.c */
void fdc_set_phase(struct fdc *f, enum fdc_phase phase);
void fdc_raise_irq(struct fdc *f);
void fdc_lower_irq(struct fdc *f);
void fdc_reset_controller(struct fdc *f, bool is_hard);

/* fdc_cmd.c */
void fdc_command_octet(struct fdc *f, uint8_t v);
/* Answer with what was put into result[]; no interrupt. */
void fdc_result(struct fdc *f);
/* The seven octets of a data command, with interrupt. */
void fdc_data_result(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2);

/* fdc_xfer.c */
void fdc_start(struct fdc *f, enum fdc_exec exec);
void fdc_data_ready(struct fdc *f); /* DMA channel, or PIO moved an octet */
void fdc_dma_ready(void *arg);
void fdc_io_cancel(struct fdc *f);
void fdc_io_drain(struct fdc *f);
void fdc_io_destroy(struct fdc *f);

/* fdc_media.c */
bool fdc_has_medium(const struct fdc_unit *u);
bool fdc_is_readonly(const struct fdc_unit *u);
void fdc_find_geometry(struct fdc_unit *u);
/* drive-type= as CMOS has it, or FDC_TYPE_AUTO; -EINVAL. */
enum { FDC_TYPE_AUTO = 0xff };
int fdc_type_parse(const char *text, uint8_t *out);
uint8_t fdc_type_for_medium(const struct fdc_unit *u);
bool fdc_rate_matches(const struct fdc *f, const struct fdc_unit *u);

#endif
