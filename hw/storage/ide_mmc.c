/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROM commands: MMC-3 (T10/1363-D) clause 6, SPC-2 for the common ones.
 * The disc has one session with one data track; its size decides whether it
 * is a CD or a DVD.  Every handler ends in atapi_ok, atapi_reply, atapi_read
 * or atapi_fail, exactly once.
 */
#include <string.h>

#include "block/block.h"
#include "core/base/log.h"
#include "core/base/trace.h"
#include "core/vm/report.h"
#include "hw/storage/ide_int.h"

enum {
    SK_NOT_READY = 0x02,
    SK_ILLEGAL = 0x05,
    SK_ATTENTION = 0x06,
    ASC_BAD_OPCODE = 0x20,
    ASC_LBA_RANGE = 0x21,
    ASC_BAD_FIELD = 0x24,
    ASC_NO_SAVED = 0x39,
    ASC_NO_MEDIUM = 0x3a,
    ASC_LOAD_EJECT = 0x53,

    PROFILE_CD = 0x08,
    PROFILE_DVD = 0x10,
    CD_MAX_SECTORS = 80 * 60 * 75,
    LEAD_OUT = 0xaa,
    DATA_TRACK = 0x14, /* ADR 1, data, copying prohibited: 4 */
    MSF_START = 150,
    DVD_START = 0x30000,
};

enum mmc_flag {
    M_READY = 1,    /* needs a medium */
    M_ANY_TIME = 2, /* runs in spite of a pending unit attention */
};

struct mmc_cmd {
    uint8_t code;
    uint8_t flags;
    void (*run)(struct ide_unit *u, const uint8_t *p);
};

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static void put_msf(uint8_t *p, uint32_t lba)
{
    lba += MSF_START;
    p[0] = (uint8_t)(lba / 75 / 60);
    p[1] = (uint8_t)(lba / 75 % 60);
    p[2] = (uint8_t)(lba % 75);
}

/* Four octets: an address as LBA or as 0:M:S:F. */
static void put_address(uint8_t *p, uint32_t lba, bool is_msf)
{
    p[0] = 0;
    if (is_msf)
        put_msf(p + 1, lba);
    else
        put32(p, lba);
}

static void bad_field(struct ide_unit *u)
{
    atapi_fail(u, SK_ILLEGAL, ASC_BAD_FIELD, 0);
}

/* Zeroed space for a reply. */
static uint8_t *reply_buf(struct ide_unit *u, uint32_t bytes)
{
    memset(u->data, 0, bytes);
    return u->data;
}

static bool is_dvd(const struct ide_unit *u)
{
    return atapi_sectors(u) > CD_MAX_SECTORS;
}

/* -------------------------------------------------------- common (SPC) */

static void test_unit_ready(struct ide_unit *u, const uint8_t *p)
{
    (void)p;
    atapi_ok(u);
}

static void request_sense(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 18);

    if (u->sense_key == 0 && u->ua_asc != 0) {
        u->sense_key = SK_ATTENTION;
        u->asc = u->ua_asc;
        u->ua_asc = 0;
    }
    r[0] = 0x70;
    r[2] = u->sense_key;
    r[7] = 10;
    r[12] = u->asc;
    r[13] = u->ascq;
    u->sense_key = u->asc = u->ascq = 0;
    atapi_reply(u, 18, p[4]);
}

static void inquiry(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 36);

    if (p[1] & 1) { /* no vital product data */
        bad_field(u);
        return;
    }
    r[0] = 0x05; /* CD-ROM */
    r[1] = 0x80; /* removable */
    r[3] = 0x21; /* ATAPI, response format 1 */
    r[4] = 36 - 5;
    memcpy(r + 8, "ORRERY  ", 8);
    memcpy(r + 16, "ORRERY DVD-ROM  ", 16);
    memcpy(r + 32, "1.0 ", 4);
    atapi_reply(u, 36, get16(p + 3));
}

static uint32_t page_recovery(struct ide_unit *u, uint8_t *r)
{
    (void)u;
    r[0] = 0x01;
    r[1] = 6;
    r[3] = 5; /* retries */
    return 8;
}

static uint32_t page_cd(struct ide_unit *u, uint8_t *r)
{
    (void)u;
    r[0] = 0x0d;
    r[1] = 6;
    r[3] = 0x0d; /* spin down after 32 minutes */
    r[5] = 60;   /* seconds per minute */
    r[7] = 75;   /* frames per second */
    return 8;
}

static uint32_t page_audio(struct ide_unit *u, uint8_t *r)
{
    (void)u;
    r[0] = 0x0e;
    r[1] = 14;
    r[2] = 4; /* immediate */
    r[7] = 75;
    r[8] = 1; /* port 0: left */
    r[9] = 0xff;
    r[10] = 2; /* port 1: right */
    r[11] = 0xff;
    return 16;
}

/* MMC-3, 5.5.10 "Capabilities and Mechanical Status" */
static uint32_t page_capabilities(struct ide_unit *u, uint8_t *r)
{
    enum { KB_PER_S = 4 * 176 };

    r[0] = 0x2a;
    r[1] = 18;
    r[2] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM */
    r[4] = 0x71; /* mode 2 forms, multi-session, audio play */
    r[5] = 0x03; /* READ CD of audio, accurate */
    r[6] = (uint8_t)(0x29 | (u->is_tray_locked ? 2 : 0)); /* tray */
    put16(r + 8, KB_PER_S);
    put16(r + 10, 2);   /* volume levels */
    put16(r + 12, 512); /* buffer, KB */
    put16(r + 14, KB_PER_S);
    return 20;
}

static const struct mode_page {
    uint8_t code;
    uint32_t (*put)(struct ide_unit *u, uint8_t *r);
} mode_pages[] = {
    { 0x01, page_recovery },
    { 0x0d, page_cd },
    { 0x0e, page_audio },
    { 0x2a, page_capabilities },
};

static uint8_t medium_type(const struct ide_unit *u)
{
    if (u->is_tray_open) return 0x71;
    return atapi_has_medium(u) ? 0x01 : 0x70;
}

static void mode_sense(struct ide_unit *u, uint8_t page_field, uint32_t header,
                       uint32_t alloc)
{
    uint8_t *r = reply_buf(u, 256);
    uint8_t code = page_field & 0x3f;
    uint32_t n = header;

    if (page_field >> 6 == 3) {
        atapi_fail(u, SK_ILLEGAL, ASC_NO_SAVED, 0);
        return;
    }
    for (size_t i = 0; i < sizeof(mode_pages) / sizeof(mode_pages[0]); i++) {
        if (code == mode_pages[i].code || code == 0x3f)
            n += mode_pages[i].put(u, r + n);
    }
    if (n == header) {
        bad_field(u);
        return;
    }
    if (header == 4) {
        r[0] = (uint8_t)(n - 1);
        r[1] = medium_type(u);
    } else {
        put16(r, n - 2);
        r[2] = medium_type(u);
    }
    atapi_reply(u, n, alloc);
}

static void mode_sense_6(struct ide_unit *u, const uint8_t *p)
{
    mode_sense(u, p[2], 4, p[4]);
}

static void mode_sense_10(struct ide_unit *u, const uint8_t *p)
{
    mode_sense(u, p[2], 8, get16(p + 7));
}

/* -------------------------------------------------------- tray */

static void move_tray(struct ide_unit *u, bool is_open)
{
    if (u->is_tray_open == is_open) return;
    u->is_tray_open = is_open;
    vm_report_tray_locked(u->ide->d->vm, drive_id(u->drive), is_open);
}

static void start_stop(struct ide_unit *u, const uint8_t *p)
{
    bool is_start = (p[4] & 1) != 0, is_load_eject = (p[4] & 2) != 0;

    if (is_load_eject && !is_start) {
        if (u->is_tray_locked) {
            atapi_fail(u, SK_ILLEGAL, ASC_LOAD_EJECT, 2);
            return;
        }
        move_tray(u, true);
    } else if (is_load_eject && u->is_tray_open) {
        move_tray(u, false);
        if (atapi_has_medium(u)) {
            u->ua_asc = 0x28;
            u->media_event = 2;
        }
    }
    atapi_ok(u);
}

static void prevent_allow(struct ide_unit *u, const uint8_t *p)
{
    u->is_tray_locked = (p[4] & 1) != 0;
    atapi_ok(u);
}

static void mechanism_status(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 8);

    r[1] = u->is_tray_open ? 0x10 : 0;
    r[5] = 1; /* slots */
    atapi_reply(u, 8, get16(p + 8));
}

/* MMC-3, 6.6; media class only */
static void get_event_status(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 8);
    uint32_t n = 4;

    if (!(p[1] & 1)) { /* asynchronous operation is not offered */
        bad_field(u);
        return;
    }
    r[3] = 1 << 4; /* classes supported */
    if (p[4] & 1 << 4) {
        n = 8;
        r[2] = 4;
        r[4] = u->media_event;
        r[5] = (uint8_t)((u->is_tray_open ? 1 : 0) |
                         (atapi_has_medium(u) ? 2 : 0));
        u->media_event = 0;
    } else {
        r[2] = 0x80; /* no event available */
    }
    put16(r, n - 4);
    atapi_reply(u, n, get16(p + 7));
}

/* -------------------------------------------------------- reading */

static bool range_ok(struct ide_unit *u, uint64_t lba, uint64_t sectors)
{
    if (lba + sectors <= atapi_sectors(u)) return true;
    log_guest(u->ide->d->id, "sectors %llu+%llu are not on the disc",
              (unsigned long long)lba, (unsigned long long)sectors);
    atapi_fail(u, SK_ILLEGAL, ASC_LBA_RANGE, 0);
    return false;
}

static void read_10(struct ide_unit *u, const uint8_t *p)
{
    uint32_t lba = get32(p + 2), n = get16(p + 7);

    if (range_ok(u, lba, n)) atapi_read(u, lba, n, CD_SECTOR_BYTES);
}

static void read_12(struct ide_unit *u, const uint8_t *p)
{
    uint32_t lba = get32(p + 2), n = get32(p + 6);

    if (range_ok(u, lba, n)) atapi_read(u, lba, n, CD_SECTOR_BYTES);
}

/* MMC-3, 6.15: main channel selection in octet 9 */
static void read_cd(struct ide_unit *u, const uint8_t *p)
{
    uint32_t lba = get32(p + 2);
    uint32_t n = get32(p + 5) & 0xffffff;
    uint8_t what = p[9] & 0xf8;

    if (p[10] & 7) { /* no sub-channel data */
        bad_field(u);
        return;
    }
    if (!range_ok(u, lba, n)) return;
    switch (what) {
    case 0x00: atapi_ok(u); break;
    case 0x10: atapi_read(u, lba, n, CD_SECTOR_BYTES); break;
    case 0xf8: atapi_read(u, lba, n, CD_RAW_BYTES); break;
    default: bad_field(u); break;
    }
}

static void read_capacity(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 8);

    (void)p;
    put32(r, atapi_sectors(u) - 1);
    put32(r + 4, CD_SECTOR_BYTES);
    atapi_reply(u, 8, 8);
}

static void seek(struct ide_unit *u, const uint8_t *p)
{
    if (range_ok(u, get32(p + 2), 1)) atapi_ok(u);
}

/* -------------------------------------------------------- disc */

static uint32_t toc_tracks(struct ide_unit *u, uint8_t *r, uint8_t start,
                           bool is_msf)
{
    uint32_t n = 4;

    r[2] = r[3] = 1;
    if (start <= 1) {
        r[n + 1] = DATA_TRACK;
        r[n + 2] = 1;
        put_address(r + n + 4, 0, is_msf);
        n += 8;
    }
    r[n + 1] = DATA_TRACK;
    r[n + 2] = LEAD_OUT;
    put_address(r + n + 4, atapi_sectors(u), is_msf);
    return n + 8;
}

static uint32_t toc_sessions(uint8_t *r, bool is_msf)
{
    r[2] = r[3] = 1;
    r[5] = DATA_TRACK;
    r[6] = 1;
    put_address(r + 8, 0, is_msf);
    return 12;
}

/* Lead-in entries A0h (first track), A1h (last), A2h (lead-out), track 1. */
static uint32_t toc_raw(struct ide_unit *u, uint8_t *r)
{
    static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
    uint32_t n = 4;

    r[2] = r[3] = 1;
    for (size_t i = 0; i < sizeof(points); i++, n += 11) {
        r[n] = 1;
        r[n + 1] = DATA_TRACK;
        r[n + 3] = points[i];
        if (points[i] == 0xa2)
            put_msf(r + n + 8, atapi_sectors(u));
        else if (points[i] == 1)
            put_msf(r + n + 8, 0);
        else
            r[n + 8] = 1;
    }
    return n;
}

static void read_toc(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 64);
    bool is_msf = (p[1] & 2) != 0;
    uint8_t format = p[2] & 0x0f;
    uint32_t n = 0;

    if (format == 0) format = p[9] >> 6; /* where SFF-8020i had it */
    if (format == 0 && (p[6] <= 1 || p[6] == LEAD_OUT))
        n = toc_tracks(u, r, p[6], is_msf);
    else if (format == 1)
        n = toc_sessions(r, is_msf);
    else if (format == 2)
        n = toc_raw(u, r);
    if (n == 0) {
        bad_field(u);
        return;
    }
    put16(r, n - 2);
    atapi_reply(u, n, get16(p + 7));
}

static void read_disc_information(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 34);

    put16(r, 32);
    r[2] = 0x0e;                   /* complete session, finalized disc */
    r[3] = r[4] = r[5] = r[6] = 1; /* first track, sessions, tracks */
    r[7] = 0x20;                   /* unrestricted use */
    atapi_reply(u, 34, get16(p + 7));
}

static void read_track_information(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 36);

    if ((p[1] & 3) != 0 && get32(p + 2) > 1) { /* track or session > 1 */
        bad_field(u);
        return;
    }
    put16(r, 34);
    r[2] = r[3] = 1;
    r[5] = 0x04; /* data track */
    r[6] = 0x01; /* mode 1 */
    put32(r + 24, atapi_sectors(u));
    atapi_reply(u, 36, get16(p + 7));
}

static void read_sub_channel(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 24);
    uint32_t n = 4;

    if (p[2] & 0x40) {
        r[4] = p[3];
        switch (p[3]) {
        case 1:
            n = 16;
            r[5] = DATA_TRACK;
            r[6] = r[7] = 1;
            put_address(r + 8, 0, (p[1] & 2) != 0);
            put_address(r + 12, 0, (p[1] & 2) != 0);
            break;
        case 2: /* catalogue number, ISRC: none */
        case 3: n = 24; break;
        default: bad_field(u); return;
        }
    }
    r[1] = 0x15; /* no audio status to return */
    put16(r + 2, n - 4);
    atapi_reply(u, n, get16(p + 7));
}

/* MMC-3, 6.22 and 6.23.1: physical format, copyright, manufacturer */
static void read_dvd_structure(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, CD_SECTOR_BYTES + 4);
    uint32_t n;

    if (!is_dvd(u)) {
        atapi_fail(u, SK_ILLEGAL, 0x30, 2); /* incompatible format */
        return;
    }
    switch (p[7]) {
    case 0:
        n = CD_SECTOR_BYTES + 4;
        r[4] = 0x01; /* DVD-ROM, version 1 */
        r[5] = 0x0f; /* 120 mm, no maximum rate given */
        r[6] = 0x01; /* one embossed layer */
        put32(r + 8, DVD_START);
        put32(r + 12, DVD_START + atapi_sectors(u) - 1);
        break;
    case 1: n = 8; break;
    case 4: n = CD_SECTOR_BYTES + 4; break;
    default: bad_field(u); return;
    }
    put16(r, n - 2);
    atapi_reply(u, n, get16(p + 8));
}

static void set_cd_speed(struct ide_unit *u, const uint8_t *p)
{
    (void)p;
    atapi_ok(u);
}

/* -------------------------------------------------------- features */

/* MMC-3, clause 5.3: features, whether they are current, and their data. */
static const struct feature {
    uint16_t code;
    uint8_t flags; /* version << 2 | persistent << 1 | current */
    uint8_t bytes;
    uint8_t data[8];
} features[] = {
    /* clang-format off */
    { 0x0000, 0x03, 8, { 0, PROFILE_DVD, 0, 0, 0, PROFILE_CD, 0, 0 } },
    { 0x0001, 0x03, 4, { 0, 0, 0, 2 } },           /* core: ATAPI */
    { 0x0003, 0x03, 4, { 0x29, 0, 0, 0 } },        /* removable: tray */
    { 0x0010, 0x01, 8, { 0, 0, 8, 0, 0, 16, 0, 0 } }, /* random readable */
    { 0x001e, 0x00, 4, { 0, 0, 0, 0 } },           /* CD read */
    { 0x001f, 0x00, 0, { 0 } },                    /* DVD read */
    /* clang-format on */
};

static uint32_t put_feature(const struct feature *f, uint8_t *r,
                            uint32_t profile, bool *is_current)
{
    uint8_t flags = f->flags;

    memcpy(r + 4, f->data, f->bytes);
    if (f->code == 0x0000) {
        r[6] = profile == PROFILE_DVD;
        r[10] = profile == PROFILE_CD;
    }
    if (f->code == 0x001e && profile == PROFILE_CD) flags |= 1;
    if (f->code == 0x001f && profile == PROFILE_DVD) flags |= 1;
    if (f->code == 0x0010 && profile == 0) flags &= (uint8_t)~1u;
    put16(r, f->code);
    r[2] = flags;
    r[3] = f->bytes;
    *is_current = (flags & 1) != 0;
    return 4u + f->bytes;
}

static void get_configuration(struct ide_unit *u, const uint8_t *p)
{
    uint8_t *r = reply_buf(u, 256);
    uint32_t from = get16(p + 2), profile = 0, n = 8;
    uint8_t which = p[1] & 3;

    if (which == 3) {
        bad_field(u);
        return;
    }
    if (atapi_has_medium(u)) profile = is_dvd(u) ? PROFILE_DVD : PROFILE_CD;
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        const struct feature *f = &features[i];
        bool is_current;
        uint32_t bytes;

        if (which == 2 ? f->code != from : f->code < from) continue;
        bytes = put_feature(f, r + n, profile, &is_current);
        if (which != 1 || is_current)
            n += bytes;
        else
            memset(r + n, 0, bytes);
    }
    put32(r, n - 4);
    put16(r + 6, profile);
    atapi_reply(u, n, get16(p + 7));
}

/* -------------------------------------------------------- table */

static const struct mmc_cmd mmc_cmds[] = {
    /* clang-format off */
    { 0x00, M_READY,    test_unit_ready },
    { 0x03, M_ANY_TIME, request_sense },
    { 0x12, M_ANY_TIME, inquiry },
    { 0x1a, 0,          mode_sense_6 },
    { 0x1b, 0,          start_stop },
    { 0x1e, 0,          prevent_allow },
    { 0x25, M_READY,    read_capacity },
    { 0x28, M_READY,    read_10 },
    { 0x2b, M_READY,    seek },
    { 0x42, M_READY,    read_sub_channel },
    { 0x43, M_READY,    read_toc },
    { 0x46, M_ANY_TIME, get_configuration },
    { 0x4a, M_ANY_TIME, get_event_status },
    { 0x51, M_READY,    read_disc_information },
    { 0x52, M_READY,    read_track_information },
    { 0x5a, 0,          mode_sense_10 },
    { 0xa8, M_READY,    read_12 },
    { 0xad, M_READY,    read_dvd_structure },
    { 0xbb, 0,          set_cd_speed },
    { 0xbd, 0,          mechanism_status },
    { 0xbe, M_READY,    read_cd },
    /* clang-format on */
};

static const struct mmc_cmd *find_cmd(uint8_t code)
{
    for (size_t i = 0; i < sizeof(mmc_cmds) / sizeof(mmc_cmds[0]); i++) {
        if (mmc_cmds[i].code == code) return &mmc_cmds[i];
    }
    return NULL;
}

void mmc_execute(struct ide_unit *u)
{
    const struct mmc_cmd *cmd = find_cmd(u->packet[0]);

    trace(TRACE_ATAPI_COMMAND, "%s cmd 0x%02x", u->ide->d->id, u->packet[0]);
    u->cd_sector_bytes = CD_SECTOR_BYTES;
    if (cmd == NULL) {
        log_guest(u->ide->d->id, "unknown packet command %02xh", u->packet[0]);
        atapi_fail(u, SK_ILLEGAL, ASC_BAD_OPCODE, 0);
        return;
    }
    if (u->ua_asc != 0 && !(cmd->flags & M_ANY_TIME)) {
        uint8_t asc = u->ua_asc;

        u->ua_asc = 0;
        atapi_fail(u, SK_ATTENTION, asc, 0);
        return;
    }
    if ((cmd->flags & M_READY) && !atapi_has_medium(u)) {
        atapi_fail(u, SK_NOT_READY, ASC_NO_MEDIUM, u->is_tray_open ? 2 : 1);
        return;
    }
    cmd->run(u, u->packet);
}
