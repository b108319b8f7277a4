/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of the 82077AA (data sheet 290166, 5.0).  The table says how many
 * octets a command has; nothing runs before the last of them has come.
 */
#include <string.h>

#include "core/base/log.h"
#include "core/base/trace.h"
#include "hw/storage/fdc_int.h"

struct fdc_cmd {
    uint8_t code, mask; /* first octet & mask == code */
    uint8_t octets;     /* whole command, <= FDC_CMD_BYTES */
    void (*run)(struct fdc *f);
};

static void put(struct fdc *f, uint8_t v)
{
    fifo_put(&f->result_fifo, v);
}

void fdc_result(struct fdc *f)
{
    struct fifo filled = f->result_fifo;

    fdc_set_phase(f, FD_RESULT);
    f->result_fifo = filled;
}

void fdc_data_result(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
    uint8_t n = f->cmd[5] != 0 ? f->cmd[5] : 2;

    fifo_reset(&f->result_fifo);
    put(f, (uint8_t)(st0 | f->side << 2 | f->ds));
    put(f, st1);
    put(f, st2);
    put(f, f->cyl);
    put(f, f->head);
    put(f, f->sector);
    put(f, n);
    fdc_result(f);
    fdc_raise_irq(f);
}

static void invalid(struct fdc *f)
{
    log_guest(f->d->id, "invalid command %02xh", f->cmd[0]);
    put(f, ST0_INVALID);
    fdc_result(f);
}

static void done(struct fdc *f)
{
    fdc_set_phase(f, FD_COMMAND);
}

/* ------------------------------------------------------------ data */

/* Drive and head of octet 1. */
static struct fdc_unit *select_drive(struct fdc *f)
{
    f->ds = f->cmd[1] & 3;
    f->head = f->side = f->cmd[1] >> 2 & 1;
    return &f->unit[f->ds];
}

/* What stops a command before a sector is looked for; true: it ended. */
static bool is_unreadable(struct fdc *f, const struct fdc_unit *u)
{
    if (fdc_has_medium(u) && fdc_rate_matches(f, u) && f->head < u->geo.heads &&
        f->track[f->ds] < u->geo.cylinders)
        return false;
    fdc_data_result(f, ST0_ABNORMAL, ST1_NO_ADDRESS_MARK, 0);
    return true;
}

static bool is_protected(struct fdc *f, const struct fdc_unit *u)
{
    if (!fdc_is_readonly(u)) return false;
    fdc_data_result(f, ST0_ABNORMAL, ST1_NOT_WRITABLE, 0);
    return true;
}

/* Latch C, H, R, EOT and check them; true: may go on. */
static bool latch_address(struct fdc *f, const struct fdc_unit *u)
{
    uint8_t side = f->head;

    f->is_multi_track = (f->cmd[0] & 0x80) != 0;
    f->cyl = f->cmd[2];
    f->sector = f->cmd[4];
    f->eot = f->last_eot = f->cmd[6];
    if (f->config & CFG_IMPLIED_SEEK) f->track[f->ds] = f->cyl;
    if (is_unreadable(f, u)) return false;
    if (f->cyl != f->track[f->ds]) {
        fdc_data_result(f, ST0_ABNORMAL, ST1_NO_DATA, ST2_WRONG_CYLINDER);
        return false;
    }
    if (f->cmd[3] != side || f->sector < 1 || f->sector > u->geo.sectors ||
        f->cmd[5] != 2) {
        fdc_data_result(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
        return false;
    }
    return true;
}

static void read_data(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    if (latch_address(f, u)) fdc_start(f, FX_READ);
}

static void write_data(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    if (latch_address(f, u) && !is_protected(f, u)) fdc_start(f, FX_WRITE);
}

/* From the index hole on: sectors 1 to EOT. */
static void read_track(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    f->cmd[4] = 1;
    if (!latch_address(f, u)) return;
    f->is_multi_track = false;
    fdc_start(f, FX_READ);
}

/* The sectors are there if the disk has them. */
static void verify(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    if (!latch_address(f, u)) return;
    if (f->eot > u->geo.sectors) {
        fdc_data_result(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
        return;
    }
    f->sector = f->eot;
    fdc_data_result(f, 0, 0, 0);
}

static void scan(struct fdc *f)
{
    select_drive(f);
    f->cyl = f->cmd[2];
    f->sector = f->cmd[4];
    fdc_data_result(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
}

static void format_track(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    f->cyl = f->track[f->ds];
    f->sector = 1;
    f->eot = f->cmd[3];
    f->fill = f->cmd[5];
    f->cmd[5] = f->cmd[2]; /* where the result looks for N */
    if (is_unreadable(f, u) || is_protected(f, u)) return;
    if (f->cmd[2] != 2 || f->eot == 0 || f->eot > u->geo.sectors) {
        fdc_data_result(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
        return;
    }
    fdc_start(f, FX_FORMAT);
}

static void read_id(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);

    f->cyl = f->track[f->ds];
    f->sector = 1;
    f->cmd[5] = 2;
    if (is_unreadable(f, u)) return;
    fdc_data_result(f, 0, 0, 0);
}

/* ------------------------------------------------------------ control */

static void seek_to(struct fdc *f, uint8_t track, uint8_t st0)
{
    struct fdc_unit *u = &f->unit[f->ds];

    if (u->drive != NULL) {
        f->track[f->ds] = track;
        if (fdc_has_medium(u)) u->is_changed = false; /* step pulse */
    }
    f->sense_mask |= (uint8_t)(1u << f->ds);
    f->sense_st0[f->ds] = (uint8_t)(st0 | ST0_SEEK_END | f->head << 2 | f->ds);
    done(f);
    fdc_raise_irq(f);
}

static void recalibrate(struct fdc *f)
{
    select_drive(f);
    f->head = 0;
    if (f->unit[f->ds].drive == NULL) /* track 0 signal never comes */
        seek_to(f, 0, ST0_ABNORMAL | 0x10);
    else
        seek_to(f, 0, 0);
}

static void seek(struct fdc *f)
{
    select_drive(f);
    seek_to(f, f->cmd[2], 0);
}

static void relative_seek(struct fdc *f)
{
    unsigned steps = f->cmd[2], at;

    select_drive(f);
    at = f->track[f->ds];
    if (f->cmd[0] & 0x40)
        at = at + steps < 255 ? at + steps : 255;
    else
        at = at > steps ? at - steps : 0;
    seek_to(f, (uint8_t)at, 0);
}

static void sense_interrupt(struct fdc *f)
{
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (!(f->sense_mask & 1u << i)) continue;
        f->sense_mask &= (uint8_t) ~(1u << i);
        fdc_lower_irq(f);
        put(f, f->sense_st0[i]);
        put(f, f->track[i]);
        fdc_result(f);
        return;
    }
    invalid(f);
}

static void sense_drive(struct fdc *f)
{
    const struct fdc_unit *u = select_drive(f);
    uint8_t st3 = (uint8_t)(f->head << 2 | f->ds);

    st3 |= ST3_READY | ST3_TWO_SIDES;
    if (f->track[f->ds] == 0 && u->drive != NULL) st3 |= ST3_TRACK_0;
    if (fdc_is_readonly(u)) st3 |= ST3_WRITE_PROTECTED;
    put(f, st3);
    fdc_result(f);
}

static void specify(struct fdc *f)
{
    f->specify[0] = f->cmd[1];
    f->specify[1] = f->cmd[2];
    done(f);
}

static void configure(struct fdc *f)
{
    f->config = f->cmd[2] & 0x7f;
    f->pretrack = f->cmd[3];
    done(f);
}

static void lock(struct fdc *f)
{
    f->is_locked = (f->cmd[0] & 0x80) != 0;
    put(f, f->is_locked ? 0x10 : 0);
    fdc_result(f);
}

static void perpendicular(struct fdc *f)
{
    uint8_t v = f->cmd[1];

    if (v & 0x80)
        f->perpendicular = v & 0x7f;
    else
        f->perpendicular = (uint8_t)((f->perpendicular & ~3u) | (v & 3u));
    done(f);
}

static void version(struct fdc *f)
{
    put(f, 0x90);
    fdc_result(f);
}

static void dumpreg(struct fdc *f)
{
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        put(f, f->track[i]);
    put(f, f->specify[0]);
    put(f, f->specify[1]);
    put(f, f->last_eot);
    put(f, (uint8_t)((f->is_locked ? 0x80 : 0) | f->perpendicular));
    put(f, f->config);
    put(f, f->pretrack);
    fdc_result(f);
}

/* Of the 82078: state for power management.  Sixteen octets both ways. */
static void save(struct fdc *f)
{
    put(f, 0);
    put(f, 0);
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        put(f, f->track[i]);
    put(f, f->specify[0]);
    put(f, f->specify[1]);
    put(f, f->last_eot);
    put(f, (uint8_t)((f->is_locked ? 0x80 : 0) | f->perpendicular));
    put(f, f->config);
    put(f, f->pretrack);
    put(f, f->is_power_down ? 1 : 0);
    for (unsigned i = 0; i < 3; i++)
        put(f, 0);
    fdc_result(f);
}

static void restore(struct fdc *f)
{
    for (unsigned i = 0; i < FDC_DRIVES; i++)
        f->track[i] = f->cmd[3 + i];
    f->specify[0] = f->cmd[7];
    f->specify[1] = f->cmd[8];
    f->last_eot = f->cmd[9];
    f->is_locked = (f->cmd[10] & 0x80) != 0;
    f->perpendicular = f->cmd[10] & 0x7f;
    f->config = f->cmd[11] & 0x7f;
    f->pretrack = f->cmd[12];
    done(f);
}

/* ------------------------------------------------------------ table */

static const struct fdc_cmd fdc_cmds[] = {
    /* clang-format off */
    { 0x06, 0x1f,  9, read_data },
    { 0x0c, 0x1f,  9, read_data },       /* deleted data: same on an image */
    { 0x05, 0x3f,  9, write_data },
    { 0x09, 0x3f,  9, write_data },
    { 0x02, 0x9f,  9, read_track },
    { 0x16, 0x1f,  9, verify },
    { 0x11, 0x1f,  9, scan },            /* equal, low, high */
    { 0x19, 0x1f,  9, scan },
    { 0x1d, 0x1f,  9, scan },
    { 0x0d, 0xbf,  6, format_track },
    { 0x0a, 0xbf,  2, read_id },
    { 0x07, 0xff,  2, recalibrate },
    { 0x08, 0xff,  1, sense_interrupt },
    { 0x03, 0xff,  3, specify },
    { 0x04, 0xff,  2, sense_drive },
    { 0x0f, 0xff,  3, seek },
    { 0x8f, 0xbf,  3, relative_seek },
    { 0x13, 0xff,  4, configure },
    { 0x14, 0x7f,  1, lock },
    { 0x12, 0xff,  2, perpendicular },
    { 0x10, 0xff,  1, version },
    { 0x0e, 0xff,  1, dumpreg },
    { 0x2e, 0xff,  1, save },
    { 0x4e, 0xff, 17, restore },
    { 0x00, 0x00,  1, invalid },         /* everything else */
    /* clang-format on */
};

static const struct fdc_cmd *find_cmd(uint8_t first)
{
    const struct fdc_cmd *c = fdc_cmds;

    while ((first & c->mask) != c->code)
        c++;
    return c;
}

void fdc_command_octet(struct fdc *f, uint8_t v)
{
    const struct fdc_cmd *c;

    if (!fifo_put(&f->cmd_fifo, v)) return;
    c = find_cmd(f->cmd[0]);
    if (f->cmd_fifo.len < c->octets) return;
    fifo_reset(&f->cmd_fifo);
    fifo_reset(&f->result_fifo);
    trace(TRACE_FDC_COMMAND, "%s cmd 0x%02x", f->d->id, f->cmd[0]);
    c->run(f);
}
