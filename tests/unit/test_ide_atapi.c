/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw block core */
/* ATAPI CD-ROM: packet transport (ATA/ATAPI-6) and MMC-3 commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm/report.h"
#include "hw/pci.h"
#include "hw/storage/ide.h"
#include "tests/unit/support/storage_rig.h"

enum {
    SECTORS = 500,
    CMD = 0x170,
    CTL = 0x376,
    BM = 0xc000 + 8,
    PRDT = 0x1000,
    BUFFER = 0x10000,

    BSY = 0x80,
    DRQ = 0x08,
    ERR = 0x01,
};

struct env {
    struct srig r;
    struct dev *ide;
    struct drive *drive;
    char path[128];
    uint8_t reply[SECTORS * 2352];
    size_t reply_bytes;
    unsigned blocks; /* DRQ blocks of the last packet */
    size_t largest;  /* octets of the largest one */
};

static void map_bus_master(struct env *x)
{
    srig_out(&x->r, 0xcf8, 4, 0x80000920);
    srig_out(&x->r, 0xcfc, 4, BM & ~15);
    srig_out(&x->r, 0xcf8, 4, 0x80000904);
    srig_out(&x->r, 0xcfc, 2, 5);
}

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    uint8_t *iso = malloc(SECTORS * 2048);
    struct err e = ERR_INIT;

    srig_open(&x->r);
    srig_fill(iso, 0, SECTORS * 2048);
    srig_file(&x->r, iso, SECTORS * 2048, SECTORS * 2048, x->path,
              sizeof(x->path));
    free(iso);
    assert_int_equal(dev_add(x->r.vm, pci_bus_dev(vm_pci_bus(x->r.vm)),
                             &ide_piix3_class, "ide", &x->ide, &e),
                     0);
    ide_connect(x->ide, 1, srig_line(&x->r, 15));
    x->drive = srig_drive(&x->r, "ide1-cd0", x->path, true, true);
    assert_int_equal(ide_attach(x->ide, 2, x->drive, true, &e), 0);
    dev_reset_tree(vm_root(x->r.vm));
    map_bus_master(x);
    *state = x;
    return 0;
}

static int drop(void **state)
{
    struct env *x = *state;

    srig_close(&x->r);
    free(x);
    return 0;
}

static uint8_t in(struct env *x, unsigned reg)
{
    return (uint8_t)srig_in(&x->r, CMD + reg, 1);
}

static void out(struct env *x, unsigned reg, uint8_t v)
{
    srig_out(&x->r, CMD + reg, 1, v);
}

static bool is_idle(void *arg)
{
    struct env *x = arg;

    return (srig_in(&x->r, CTL, 1) & BSY) == 0;
}

static uint8_t wait_ready(struct env *x)
{
    srig_wait(&x->r, is_idle, x);
    return in(x, 7);
}

static void send_packet(struct env *x, const uint8_t *cdb, bool is_dma,
                        uint16_t limit)
{
    out(x, 6, 0xa0);
    out(x, 1, is_dma);
    out(x, 4, (uint8_t)limit);
    out(x, 5, (uint8_t)(limit >> 8));
    out(x, 7, 0xa0);
    assert_int_equal(wait_ready(x) & (DRQ | ERR), DRQ);
    assert_int_equal(in(x, 2) & 3, 1); /* command, to the device */
    for (unsigned i = 0; i < 12; i += 2)
        srig_out(&x->r, CMD, 2, cdb[i] | cdb[i + 1] << 8);
}

/* Run a packet by PIO; the answer is in x->reply.  Returns the sense key that
 * the error register shows, 0 if none. */
static unsigned packet(struct env *x, const uint8_t *cdb, uint16_t limit)
{
    uint8_t status;

    send_packet(x, cdb, false, limit);
    x->reply_bytes = x->blocks = 0;
    x->largest = 0;
    while ((status = wait_ready(x)) & DRQ) {
        size_t n = in(x, 4) | (size_t)in(x, 5) << 8;

        assert_int_equal(in(x, 2) & 3, 2); /* data, to the host */
        assert_in_range(n, 1, limit);
        assert_in_range(x->reply_bytes + n, 1, sizeof(x->reply));
        for (size_t i = 0; i < n; i += 2) {
            uint32_t v = srig_in(&x->r, CMD, 2);

            x->reply[x->reply_bytes + i] = (uint8_t)v;
            if (i + 1 < n) x->reply[x->reply_bytes + i + 1] = (uint8_t)(v >> 8);
        }
        x->reply_bytes += n;
        if (n > x->largest) x->largest = n;
        x->blocks++;
    }
    assert_int_equal(in(x, 2) & 3, 3); /* status */
    return status & ERR ? in(x, 1) >> 4 : 0;
}

#define CDB(...)        \
    (const uint8_t[12]) \
    {                   \
        __VA_ARGS__     \
    }

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static void assert_sense(struct env *x, uint8_t key, uint8_t asc)
{
    assert_int_equal(packet(x, CDB(0x03, 0, 0, 0, 18), 256), 0);
    assert_int_equal(x->reply_bytes, 18);
    assert_int_equal(x->reply[0] & 0x7f, 0x70);
    assert_int_equal(x->reply[2], key);
    assert_int_equal(x->reply[12], asc);
}

static void assert_pattern(const uint8_t *buf, uint64_t at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(buf[i], srig_pattern(at + i));
}

/* ---------------------------------------------------------------- tests */

static void reset_leaves_the_packet_signature(void **state)
{
    struct env *x = *state;

    srig_out(&x->r, CTL, 1, 4);
    srig_out(&x->r, CTL, 1, 0);
    assert_int_equal(in(x, 2), 1);
    assert_int_equal(in(x, 3), 1);
    assert_int_equal(in(x, 4), 0x14);
    assert_int_equal(in(x, 5), 0xeb);
    assert_int_equal(in(x, 7), 0);
}

static void identify_device_aborts_and_shows_the_signature(void **state)
{
    struct env *x = *state;

    out(x, 6, 0xa0);
    out(x, 7, 0xec);
    assert_int_equal(wait_ready(x) & (ERR | DRQ), ERR);
    assert_int_equal(in(x, 1), 4);
    assert_int_equal(in(x, 4), 0x14);
    assert_int_equal(in(x, 5), 0xeb);
}

static void identify_packet_device_names_a_cdrom(void **state)
{
    struct env *x = *state;
    uint16_t id[256];

    out(x, 6, 0xa0);
    out(x, 7, 0xa1);
    assert_true(x->r.line[15]);
    assert_int_equal(wait_ready(x) & DRQ, DRQ);
    for (unsigned i = 0; i < 256; i++)
        id[i] = (uint16_t)srig_in(&x->r, CMD, 2);
    assert_int_equal(id[0] & 0xdf03, 0x8500); /* ATAPI, CD, 12 octets */
    assert_int_equal(id[49] & 0x300, 0x300);
    assert_int_equal(in(x, 7) & DRQ, 0);
}

static void inquiry_names_a_removable_cdrom(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x12, 0, 0, 0, 36), 0xfffe), 0);
    assert_int_equal(x->reply_bytes, 36);
    assert_int_equal(x->reply[0], 5);
    assert_int_equal(x->reply[1], 0x80);
    assert_memory_equal(x->reply + 8, "ORRERY", 6);
    assert_int_equal(packet(x, CDB(0x12, 0, 0, 0, 5), 0xfffe), 0);
    assert_int_equal(x->reply_bytes, 5);
}

static void capacity_and_toc_describe_one_data_track(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x25), 256), 0);
    assert_int_equal(x->reply_bytes, 8);
    assert_int_equal(be32(x->reply), SECTORS - 1);
    assert_int_equal(be32(x->reply + 4), 2048);

    assert_int_equal(packet(x, CDB(0x43, 0, 0, 0, 0, 0, 0, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 20);
    assert_int_equal(x->reply[1], 18);
    assert_int_equal(x->reply[2], 1);
    assert_int_equal(x->reply[3], 1);
    assert_int_equal(x->reply[5] & 0x04, 0x04); /* data track */
    assert_int_equal(x->reply[6], 1);
    assert_int_equal(be32(x->reply + 8), 0);
    assert_int_equal(x->reply[14], 0xaa);
    assert_int_equal(be32(x->reply + 16), SECTORS);

    /* MSF: LBA 0 is 00:02:00, 500 is 00:08:50 */
    assert_int_equal(packet(x, CDB(0x43, 2, 0, 0, 0, 0, 0xaa, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 12);
    assert_int_equal(be32(x->reply + 8), 0x00000832);

    assert_int_equal(packet(x, CDB(0x43, 0, 1, 0, 0, 0, 0, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 12);
    assert_int_equal(packet(x, CDB(0x43, 0, 2, 0, 0, 0, 1, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 4 + 4 * 11);
    assert_int_equal(x->reply[4 + 2 * 11 + 3], 0xa2);
    assert_int_equal(x->reply[4 + 2 * 11 + 9], 8);
    assert_int_equal(x->reply[4 + 2 * 11 + 10], 50);

    assert_int_equal(packet(x, CDB(0x43, 0, 0, 0, 0, 0, 5, 1, 0), 256), 5);
    assert_sense(x, 5, 0x24);
}

static void read_10_by_pio_keeps_to_the_byte_count(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 0, 17, 0, 0, 3), 2048), 0);
    assert_int_equal(x->reply_bytes, 3 * 2048);
    assert_int_equal(x->blocks, 3);
    assert_pattern(x->reply, 17 * 2048, 3 * 2048);
    /* limit below a sector, odd limit, large limit over several buffers */
    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 2), 511), 0);
    assert_int_equal(x->largest, 510);
    assert_pattern(x->reply, 2048, 2 * 2048);
    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 100), 0xfffe), 0);
    assert_int_equal(x->reply_bytes, 100 * 2048);
    assert_pattern(x->reply, 5 * 2048, 100 * 2048);
}

static void read_12_and_zero_length(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0xa8, 0, 0, 0, 1, 0, 0, 0, 0, 2), 0x8000),
                     0);
    assert_int_equal(x->reply_bytes, 4096);
    assert_pattern(x->reply, 256 * 2048, 4096);
    assert_int_equal(packet(x, CDB(0x28), 2048), 0);
    assert_int_equal(x->reply_bytes, 0);
}

static void reading_past_the_end_is_out_of_range(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 1, 0xf3, 0, 0, 2), 2048), 5);
    assert_sense(x, 5, 0x21);
    assert_int_equal(
        packet(x, CDB(0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
               2048),
        5);
    assert_sense(x, 5, 0x21);
    assert_sense(x, 0, 0); /* reported once */
}

static void read_cd_makes_raw_sectors(void **state)
{
    struct env *x = *state;
    static const uint8_t sync[12] = { 0,    0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0 };

    assert_int_equal(
        packet(x, CDB(0xbe, 0, 0, 0, 0, 70, 0, 0, 30, 0xf8), 0xf000), 0);
    assert_int_equal(x->reply_bytes, 30 * 2352);
    for (unsigned i = 0; i < 30; i++) {
        const uint8_t *s = x->reply + i * 2352;
        unsigned frame = 70 + i + 150; /* BCD minute, second, frame */

        assert_memory_equal(s, sync, 12);
        assert_int_equal(s[12], 0);
        assert_int_equal(s[13], frame / 75);
        assert_int_equal(s[14], (frame % 75 / 10) << 4 | frame % 75 % 10);
        assert_int_equal(s[15], 1);
        assert_pattern(s + 16, (70 + i) * 2048, 2048);
    }
    assert_int_equal(packet(x, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10), 0xf000),
                     0);
    assert_int_equal(x->reply_bytes, 2048);
    assert_pattern(x->reply, 3 * 2048, 2048);
    assert_int_equal(packet(x, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x50), 0xf000),
                     5);
}

static bool is_bm_irq(void *arg)
{
    struct env *x = arg;

    return (srig_in(&x->r, BM + 2, 1) & 4) != 0;
}

static void start_dma(struct env *x, uint32_t bytes)
{
    uint32_t prd[2] = { BUFFER, 0x80000000u | (bytes & 0xffff) };

    mem_write_locked(x->r.vm, PRDT, prd, sizeof(prd));
    srig_out(&x->r, BM + 4, 4, PRDT);
    srig_out(&x->r, BM + 2, 1, 6);
    srig_out(&x->r, BM, 1, 9);
}

static void dma_reads_sectors_and_replies(void **state)
{
    struct env *x = *state;
    uint8_t buf[20 * 2048];

    send_packet(x, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 20), true, 0);
    start_dma(x, sizeof(buf));
    srig_wait(&x->r, is_bm_irq, x);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 4);
    assert_int_equal(in(x, 7) & (BSY | DRQ | ERR), 0);
    srig_out(&x->r, BM, 1, 0);
    mem_read_locked(x->r.vm, BUFFER, buf, sizeof(buf));
    assert_pattern(buf, 9 * 2048, sizeof(buf));

    send_packet(x, CDB(0x25), true, 0);
    start_dma(x, 8);
    srig_wait(&x->r, is_bm_irq, x);
    srig_out(&x->r, BM, 1, 0);
    mem_read_locked(x->r.vm, BUFFER, buf, 8);
    assert_int_equal(be32(buf), SECTORS - 1);
}

static void mode_sense_has_the_capabilities_page(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 28);
    assert_int_equal(x->reply[1], 26);
    assert_int_equal(x->reply[8], 0x2a);
    assert_int_equal(x->reply[9], 18);
    assert_int_equal(x->reply[8 + 6] >> 5, 1); /* tray */
    assert_int_equal(packet(x, CDB(0x1a, 0, 0x3f, 0, 255), 256), 0);
    assert_int_equal(x->reply[0], x->reply_bytes - 1);
    assert_int_equal(packet(x, CDB(0x5a, 0, 0x15, 0, 0, 0, 0, 1, 0), 256), 5);
    assert_int_equal(packet(x, CDB(0x5a, 0, 0xea, 0, 0, 0, 0, 1, 0), 256), 5);
    assert_sense(x, 5, 0x39); /* saved pages */
}

static void configuration_shows_the_current_profile(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0), 256), 0);
    assert_int_equal(be32(x->reply), x->reply_bytes - 4);
    assert_int_equal(x->reply[7], 8); /* CD-ROM */
    assert_int_equal(packet(x, CDB(0x46, 2, 0, 3, 0, 0, 0, 1, 0), 256), 0);
    assert_int_equal(x->reply_bytes, 16);
    assert_int_equal(x->reply[9], 3);
}

static void other_queries_have_their_lengths(void **state)
{
    struct env *x = *state;

    assert_int_equal(packet(x, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 64), 0);
    assert_int_equal(x->reply_bytes, 8);
    assert_int_equal(packet(x, CDB(0x51, 0, 0, 0, 0, 0, 0, 0, 34), 64), 0);
    assert_int_equal(x->reply_bytes, 34);
    assert_int_equal(packet(x, CDB(0x52, 1, 0, 0, 0, 1, 0, 0, 36), 64), 0);
    assert_int_equal(be32(x->reply + 24), SECTORS);
    assert_int_equal(packet(x, CDB(0x42, 2, 0x40, 1, 0, 0, 0, 0, 16), 64), 0);
    assert_int_equal(x->reply_bytes, 16);
    assert_int_equal(packet(x, CDB(0x2b, 0, 0, 0, 1, 0), 64), 0);
    assert_int_equal(packet(x, CDB(0xbb, 0, 0xff, 0xff), 64), 0);
    assert_int_equal(packet(x, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4), 64),
                     5); /* no DVD */
    assert_int_equal(packet(x, CDB(0xff), 64), 5);
    assert_sense(x, 5, 0x20);
}

static struct blk *open_iso(struct env *x, uint64_t bytes)
{
    const struct blk_options o = { .format = "raw", .is_readonly = true };
    struct err e = ERR_INIT;
    struct blk *b = NULL;
    char path[128];

    srig_file(&x->r, "new", 3, bytes, path, sizeof(path));
    assert_int_equal(blk_open(x->r.loop, path, &o, &b, &e), 0);
    return b;
}

static void changing_the_medium_is_a_unit_attention(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;

    assert_int_equal(drive_set_medium_locked(x->drive, NULL, false, &e), 0);
    assert_true(
        drive_get_ops(x->drive)->is_tray_open(drive_get_ops(x->drive)->arg));
    assert_int_equal(packet(x, CDB(0x00), 64), 2);
    assert_sense(x, 2, 0x3a);
    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 64), 2);

    assert_int_equal(
        drive_set_medium_locked(x->drive, open_iso(x, 40 * 2048), false, &e),
        0);
    /* GET EVENT STATUS sees new media even before the attention is gone. */
    assert_int_equal(packet(x, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 64), 0);
    assert_int_equal(x->reply_bytes, 8);
    assert_int_equal(x->reply[2], 4);
    assert_int_equal(x->reply[4], 2);
    assert_int_equal(x->reply[5], 2);
    assert_int_equal(packet(x, CDB(0x00), 64), 6);
    assert_sense(x, 6, 0x28);
    assert_int_equal(packet(x, CDB(0x00), 64), 0);
    assert_int_equal(packet(x, CDB(0x25), 64), 0);
    assert_int_equal(be32(x->reply), 39);
}

static void a_locked_tray_refuses_eject_and_asks_the_guest(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;

    assert_int_equal(packet(x, CDB(0x1e, 0, 0, 0, 1), 64), 0);
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 2), 64), 5);
    assert_sense(x, 5, 0x53);
    assert_int_equal(drive_set_medium_locked(x->drive, NULL, false, &e),
                     -EBUSY);
    assert_non_null(strstr(e.text, "ide1-cd0"));
    assert_int_equal(packet(x, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 64), 0);
    assert_int_equal(x->reply[4], 1); /* eject request */
    assert_int_equal(packet(x, CDB(0x1e, 0, 0, 0, 0), 64), 0);
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 2), 64), 0);
    assert_int_equal(packet(x, CDB(0x00), 64), 2);
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 3), 64), 0); /* load */
    assert_int_equal(packet(x, CDB(0x00), 64), 6);
    assert_int_equal(packet(x, CDB(0x00), 64), 0);
    assert_int_equal(packet(x, CDB(0x1e, 0, 0, 0, 1), 64), 0);
    assert_int_equal(drive_set_medium_locked(x->drive, NULL, true, &e), 0);
}

static void keep_news(void *arg, const char *event, const char *data)
{
    char *text = arg;

    strcat(strcat(text, event), data);
}

static void a_tray_the_guest_moves_is_reported(void **state)
{
    struct env *x = *state;
    char news[512] = "";
    struct vm_report_sink sink = { keep_news, news };

    vm_set_service(x->r.vm, "report", &sink);
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 2), 64), 0); /* eject */
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 2), 64), 0); /* is open */
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 3), 64), 0); /* load */
    assert_string_equal(news, "DEVICE_TRAY_MOVED{\"device\": \"ide1-cd0\", "
                              "\"id\": \"ide1-cd0\", \"tray-open\": true}"
                              "DEVICE_TRAY_MOVED{\"device\": \"ide1-cd0\", "
                              "\"id\": \"ide1-cd0\", \"tray-open\": false}");
    vm_set_service(x->r.vm, "report", NULL);
}

static void a_medium_pulled_within_a_read_gives_an_error(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    uint8_t status;

    send_packet(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 1, 0), false, 0x8000);
    assert_int_equal(drive_set_medium_locked(x->drive, NULL, true, &e), 0);
    while ((status = wait_ready(x)) & DRQ) {
        size_t n = in(x, 4) | (size_t)in(x, 5) << 8;

        for (size_t i = 0; i < n; i += 4)
            srig_in(&x->r, CMD, 4);
    }
    assert_int_equal(status & ERR, ERR);
    assert_int_equal(in(x, 1) >> 4, 2);
}

static void device_reset_gets_through_while_busy(void **state)
{
    struct env *x = *state;

    send_packet(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 30), false, 0x8000);
    out(x, 7, 0x08);
    assert_int_equal(in(x, 7), 0);
    assert_int_equal(in(x, 5), 0xeb);
    srig_settle(&x->r);
    assert_int_equal(in(x, 7), 0); /* the old read does not come back */
    assert_int_equal(packet(x, CDB(0x28, 0, 0, 0, 0, 4, 0, 0, 1), 2048), 0);
    assert_pattern(x->reply, 4 * 2048, 2048);
}

static void state_survives_saving_within_a_packet_read(void **state)
{
    struct env *x = *state;
    struct state_out o = { 0 };
    struct err e = ERR_INIT;

    send_packet(x, CDB(0x28, 0, 0, 0, 0, 2, 0, 0, 100), false, 2048);
    wait_ready(x);
    for (unsigned i = 0; i < 2048; i += 2)
        srig_in(&x->r, CMD, 2);
    assert_int_equal(dev_save_tree(x->ide, &o, &e), 0);
    dev_reset_tree(x->ide);
    assert_int_equal(dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e), 0);
    for (unsigned n = 1; n < 100; n++) {
        uint8_t buf[2048];

        assert_int_equal(wait_ready(x) & DRQ, DRQ);
        for (unsigned i = 0; i < 2048; i += 4) {
            uint32_t v = srig_in(&x->r, CMD, 4);
            memcpy(buf + i, &v, 4);
        }
        assert_pattern(buf, (2 + n) * 2048, 2048);
    }
    assert_int_equal(wait_ready(x) & (DRQ | ERR), 0);
    state_out_free(&o);
}

/* The present state can be saved and loaded. */
static void assert_reloads(struct env *x)
{
    struct state_out o = { 0 };
    struct err e = ERR_INIT;

    assert_int_equal(dev_save_tree(x->ide, &o, &e), 0);
    if (dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e) < 0)
        fail_msg("%s", e.text);
    state_out_free(&o);
}

static void any_packet_is_survived(void **state)
{
    struct env *x = *state;
    uint32_t seed = 99;

    for (unsigned i = 0; i < 6000; i++) {
        uint8_t cdb[12];
        unsigned limit, reads = 0;

        for (unsigned k = 0; k < 12; k++) {
            seed = seed * 1664525u + 1013904223u;
            cdb[k] = (uint8_t)(seed >> 24);
            if (k > 0 && (seed >> 20 & 7) < 5) cdb[k] &= 3;
        }
        cdb[0] = (uint8_t)i;
        limit = seed >> 8 & 0xffff;
        send_packet(x, cdb, seed >> 30 == 0, (uint16_t)limit);
        if (seed >> 30 == 0) start_dma(x, seed & 0xfffe);
        while (srig_wait(&x->r, is_idle, x), (in(x, 7) & DRQ) && reads++ < 3000)
            srig_in(&x->r, CMD, 4);
        if (i % 11 == 0) assert_reloads(x);
        if (i % 7 == 0) out(x, 7, 0x08);
        srig_out(&x->r, BM, 1, 0);
        if (srig_in(&x->r, CTL, 1) & (BSY | DRQ)) {
            srig_out(&x->r, CTL, 1, 4);
            srig_out(&x->r, CTL, 1, 0);
        }
    }
    assert_int_equal(packet(x, CDB(0x1b, 0, 0, 0, 3), 64) & ~6u, 0);
}

/* A snapshot is hostile: change octets before the data buffer of a record,
 * load, and go on using the device. */
static void changed_state_is_refused_or_harmless(void **state)
{
    struct env *x = *state;
    struct state_out o = { 0 };
    struct err e = ERR_INIT;
    uint32_t seed = 31337;
    unsigned refused = 0;

    send_packet(x, CDB(0x28, 0, 0, 0, 0, 2, 0, 0, 100), false, 2048);
    wait_ready(x);
    assert_int_equal(dev_save_tree(x->ide, &o, &e), 0);
    for (unsigned i = 0; i < 1500; i++) {
        uint8_t *at = memmem(o.data, o.bytes, "\4data", 5), old[4];
        size_t where[4];

        assert_non_null(at);
        for (unsigned k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            where[k] = (size_t)(at - o.data) - 1 - (seed >> 8) % 600;
            old[k] = o.data[where[k]];
            if (k == 0 || (seed >> 28) == 0)
                o.data[where[k]] = (uint8_t)(seed >> 20);
        }
        if (dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e) < 0) refused++;
        for (unsigned k = 4; k-- > 0;)
            o.data[where[k]] = old[k];
        for (unsigned k = 0; k < 40; k++) {
            srig_in(&x->r, CMD, 4);
            srig_out(&x->r, CMD, 4, k);
            srig_in(&x->r, CMD + (k & 7), 1);
        }
        srig_out(&x->r, BM, 1, 0);
        srig_out(&x->r, BM, 1, 9);
        if (i % 32 == 0) srig_poll(&x->r);
        if (i % 8 == 0) dev_reset_tree(x->ide);
    }
    assert_in_range(refused, 1, 1500 - 1);
    state_out_free(&o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reset_leaves_the_packet_signature),
        TEST(identify_device_aborts_and_shows_the_signature),
        TEST(identify_packet_device_names_a_cdrom),
        TEST(inquiry_names_a_removable_cdrom),
        TEST(capacity_and_toc_describe_one_data_track),
        TEST(read_10_by_pio_keeps_to_the_byte_count),
        TEST(read_12_and_zero_length),
        TEST(reading_past_the_end_is_out_of_range),
        TEST(read_cd_makes_raw_sectors),
        TEST(dma_reads_sectors_and_replies),
        TEST(mode_sense_has_the_capabilities_page),
        TEST(configuration_shows_the_current_profile),
        TEST(other_queries_have_their_lengths),
        TEST(changing_the_medium_is_a_unit_attention),
        TEST(a_locked_tray_refuses_eject_and_asks_the_guest),
        TEST(a_tray_the_guest_moves_is_reported),
        TEST(a_medium_pulled_within_a_read_gives_an_error),
        TEST(device_reset_gets_through_while_busy),
        TEST(state_survives_saving_within_a_packet_read),
        TEST(any_packet_is_survived),
        TEST(changed_state_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
