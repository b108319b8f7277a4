/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw block core */
/* 82077AA floppy controller with an 8237A beside it (data sheet 290166). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/chips/chips.h"
#include "hw/storage/fdc.h"
#include "tests/unit/support/storage_rig.h"

enum {
    DISK_BYTES = 1474560,
    DOR = 0x3f2,
    MSR = 0x3f4,
    FIFO = 0x3f5,
    DIR = 0x3f7,
    RQM = 0x80,
    DIO = 0x40,
    BUSY = 0x10,
    BUFFER = 0x20000,
};

struct env {
    struct srig r;
    struct dev *fdc, *dma;
    struct drive *drive;
    char path[128];
    uint8_t result[16];
    unsigned result_octets;
};

static struct blk *open_image(struct env *x, uint64_t bytes, bool is_readonly)
{
    const struct blk_options o = { .format = "raw",
                                   .is_readonly = is_readonly };
    struct err e = ERR_INIT;
    struct blk *b = NULL;
    uint8_t *data = malloc(bytes);

    srig_fill(data, 0, bytes);
    srig_file(&x->r, data, bytes, bytes, x->path, sizeof(x->path));
    free(data);
    assert_int_equal(blk_open(x->r.loop, x->path, &o, &b, &e), 0);
    return b;
}

static void insert(struct env *x, uint64_t bytes, bool is_readonly)
{
    struct err e = ERR_INIT;

    assert_int_equal(drive_set_medium_locked(x->drive,
                                             open_image(x, bytes, is_readonly),
                                             false, &e),
                     0);
}

static void drop_interrupts(struct env *x);

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    struct err e = ERR_INIT;

    srig_open(&x->r);
    assert_int_equal(dev_add(x->r.vm, NULL, &dma8237_class, NULL, &x->dma, &e),
                     0);
    assert_int_equal(dev_add(x->r.vm, NULL, &fdc_class, "fdc", &x->fdc, &e), 0);
    fdc_connect(x->fdc, srig_line(&x->r, 6), x->dma);
    assert_int_equal(drive_add(x->r.drives, "floppy0", true, false,
                               open_image(x, DISK_BYTES, false), &x->drive, &e),
                     0);
    assert_int_equal(fdc_attach(x->fdc, 0, x->drive, &e), 0);
    dev_reset_tree(vm_root(x->r.vm));
    srig_out(&x->r, 0xd0, 1, 0);    /* second 8237A: enable */
    srig_out(&x->r, 0xd6, 1, 0xc0); /* cascade */
    srig_out(&x->r, 0xd4, 1, 0);
    srig_out(&x->r, DOR, 1, 0x00);
    srig_out(&x->r, DOR, 1, 0x1c);
    drop_interrupts(x);
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

static uint8_t msr(struct env *x)
{
    return (uint8_t)srig_in(&x->r, MSR, 1);
}

static bool has_request(void *arg)
{
    return (msr(arg) & RQM) != 0;
}

static void send(struct env *x, const uint8_t *cmd, unsigned octets)
{
    for (unsigned i = 0; i < octets; i++) {
        assert_int_equal(msr(x) & (RQM | DIO), RQM);
        srig_out(&x->r, FIFO, 1, cmd[i]);
    }
}

static void take_result(struct env *x)
{
    srig_wait(&x->r, has_request, x);
    x->result_octets = 0;
    while ((msr(x) & (RQM | DIO | BUSY)) == (RQM | DIO | BUSY)) {
        assert_in_range(x->result_octets, 0, sizeof(x->result) - 1);
        x->result[x->result_octets++] = (uint8_t)srig_in(&x->r, FIFO, 1);
    }
    assert_int_equal(msr(x), RQM);
}

#define COMMAND(x, ...)                                \
    do {                                               \
        static const uint8_t cmd_[] = { __VA_ARGS__ }; \
        send(x, cmd_, sizeof(cmd_));                   \
    } while (0)

static void assert_result(struct env *x, const char *hex)
{
    char text[64] = "";

    for (unsigned i = 0; i < x->result_octets; i++)
        sprintf(text + i * 3, "%02x ", x->result[i]);
    assert_string_equal(text, hex);
}

static void drop_interrupts(struct env *x)
{
    for (unsigned i = 0; i < 4; i++) {
        COMMAND(x, 0x08);
        take_result(x);
    }
}

static void setup_dma(struct env *x, bool to_memory, uint32_t bytes)
{
    srig_out(&x->r, 0x0a, 1, 6);
    srig_out(&x->r, 0x0c, 1, 0);
    srig_out(&x->r, 0x0b, 1, to_memory ? 0x46 : 0x4a);
    srig_out(&x->r, 4, 1, BUFFER & 0xff);
    srig_out(&x->r, 4, 1, BUFFER >> 8 & 0xff);
    srig_out(&x->r, 0x81, 1, BUFFER >> 16);
    srig_out(&x->r, 5, 1, (bytes - 1) & 0xff);
    srig_out(&x->r, 5, 1, (bytes - 1) >> 8);
    srig_out(&x->r, 0x0a, 1, 2);
}

static void seek(struct env *x, uint8_t cylinder)
{
    const uint8_t cmd[] = { 0x0f, 0, cylinder };

    send(x, cmd, sizeof(cmd));
    COMMAND(x, 0x08);
    take_result(x);
    assert_int_equal(x->result[0], 0x20);
    assert_int_equal(x->result[1], cylinder);
}

/* READ or WRITE DATA: MT MFM, N = 2. */
static void transfer(struct env *x, uint8_t code, uint8_t c, uint8_t h,
                     uint8_t r, uint8_t eot)
{
    const uint8_t cmd[] = {
        code, (uint8_t)(h << 2), c, h, r, 2, eot, 0x1b, 0xff
    };

    send(x, cmd, sizeof(cmd));
    take_result(x);
}

static void assert_memory_pattern(struct env *x, uint64_t at, size_t bytes)
{
    uint8_t *buf = malloc(bytes);

    mem_read_locked(x->r.vm, BUFFER, buf, bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(buf[i], srig_pattern(at + i));
    free(buf);
}

/* ---------------------------------------------------------------- tests */

static void reset_interrupts_and_four_drives_are_sensed(void **state)
{
    struct env *x = *state;

    srig_out(&x->r, DOR, 1, 0x18);
    assert_int_equal(msr(x), 0);
    assert_false(x->r.line[6]);
    srig_out(&x->r, DOR, 1, 0x1c);
    assert_true(x->r.line[6]);
    assert_int_equal(msr(x), RQM);
    COMMAND(x, 0x08);
    assert_false(x->r.line[6]);
    take_result(x);
    assert_result(x, "c0 00 ");
    for (unsigned i = 1; i < 4; i++) {
        COMMAND(x, 0x08);
        take_result(x);
        assert_int_equal(x->result[0], 0xc0 | i);
    }
    COMMAND(x, 0x08); /* nothing left */
    take_result(x);
    assert_result(x, "80 ");
    srig_out(&x->r, MSR, 1, 0x80); /* the same by DSR */
    assert_true(x->r.line[6]);
}

static void version_lock_and_unknown_commands(void **state)
{
    struct env *x = *state;

    COMMAND(x, 0x10);
    take_result(x);
    assert_result(x, "90 ");
    COMMAND(x, 0x94);
    take_result(x);
    assert_result(x, "10 ");
    COMMAND(x, 0x14);
    take_result(x);
    assert_result(x, "00 ");
    COMMAND(x, 0x1f);
    take_result(x);
    assert_result(x, "80 ");
}

static void dumpreg_shows_what_was_configured(void **state)
{
    struct env *x = *state;

    COMMAND(x, 0x03, 0xaf, 0x02);
    COMMAND(x, 0x13, 0, 0x57, 0x11);
    COMMAND(x, 0x12, 0x84);
    seek(x, 12);
    COMMAND(x, 0x0e);
    take_result(x);
    assert_result(x, "0c 00 00 00 af 02 00 04 57 11 ");
    srig_out(&x->r, DOR, 1, 0x18); /* not locked: CONFIGURE is forgotten */
    srig_out(&x->r, DOR, 1, 0x1c);
    drop_interrupts(x);
    COMMAND(x, 0x0e);
    take_result(x);
    assert_int_equal(x->result[8], 0x20);
    assert_int_equal(x->result[9], 0);
}

static void recalibrate_and_seek_end_with_an_interrupt(void **state)
{
    struct env *x = *state;

    seek(x, 40);
    COMMAND(x, 0x04, 0x00);
    take_result(x);
    assert_int_equal(x->result[0] & 0x10, 0);
    COMMAND(x, 0x07, 0x00);
    assert_true(x->r.line[6]);
    COMMAND(x, 0x08);
    take_result(x);
    assert_result(x, "20 00 ");
    COMMAND(x, 0x04, 0x00);
    take_result(x);
    assert_int_equal(x->result[0] & 0x50, 0x10); /* track 0, not protected */
    COMMAND(x, 0xcf, 0x00, 5);
    COMMAND(x, 0x08);
    take_result(x);
    assert_result(x, "20 05 ");
    COMMAND(x, 0x8f, 0x00, 3);
    COMMAND(x, 0x08);
    take_result(x);
    assert_result(x, "20 02 ");
    COMMAND(x, 0x07, 0x01); /* no such drive */
    COMMAND(x, 0x08);
    take_result(x);
    assert_int_equal(x->result[0] & 0xf0, 0x70);
}

static void dma_read_stops_at_terminal_count(void **state)
{
    struct env *x = *state;
    unsigned before;

    seek(x, 3);
    setup_dma(x, true, 4 * 512);
    before = x->r.rises[6];
    transfer(x, 0xe6, 3, 1, 5, 18);
    assert_int_equal(x->r.rises[6] - before, 1);
    assert_false(x->r.line[6]);
    assert_result(x, "04 00 00 03 01 09 02 ");
    assert_memory_pattern(x, ((3 * 2 + 1) * 18 + 4) * 512, 4 * 512);
}

static void multi_track_goes_on_at_the_other_head(void **state)
{
    struct env *x = *state;

    seek(x, 10);
    setup_dma(x, true, 36 * 512);
    transfer(x, 0xe6, 10, 0, 1, 18);
    assert_result(x, "04 00 00 0b 00 01 02 ");
    assert_memory_pattern(x, 10 * 36 * 512, 36 * 512);
    /* without MT the track ends */
    setup_dma(x, true, 36 * 512);
    transfer(x, 0x66, 10, 0, 1, 18);
    assert_result(x, "40 80 00 0b 00 01 02 ");
}

static void wrong_addresses_find_no_data(void **state)
{
    struct env *x = *state;

    seek(x, 7);
    setup_dma(x, true, 512);
    transfer(x, 0xe6, 8, 0, 1, 18); /* other cylinder */
    assert_int_equal(x->result[0] & 0xc0, 0x40);
    assert_int_equal(x->result[1], 0x04);
    assert_int_equal(x->result[2], 0x10);
    transfer(x, 0xe6, 7, 0, 19, 19);
    assert_int_equal(x->result[1], 0x04);
    transfer(x, 0xe6, 7, 0, 0, 18);
    assert_int_equal(x->result[1], 0x04);
    COMMAND(x, 0x13, 0, 0x40, 0); /* implied seek */
    transfer(x, 0xe6, 8, 0, 1, 18);
    assert_int_equal(x->result[0] & 0xc0, 0);
    assert_memory_pattern(x, 8 * 36 * 512, 512);
}

static void write_reaches_the_file_and_fills_the_last_sector(void **state)
{
    struct env *x = *state;
    uint8_t data[1024], back[1024];
    FILE *f;

    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 3 + 1);
    mem_write_locked(x->r.vm, BUFFER, data, sizeof(data));
    seek(x, 1);
    setup_dma(x, false, 700);
    transfer(x, 0xc5, 1, 0, 17, 18);
    assert_result(x, "00 00 00 01 01 01 02 "); /* next: other head */
    memset(data + 700, 0, sizeof(data) - 700);
    f = fopen(x->path, "rb");
    assert_non_null(f);
    fseek(f, (36 + 16) * 512, SEEK_SET);
    assert_int_equal(fread(back, 1, sizeof(back), f), sizeof(back));
    fclose(f);
    assert_memory_equal(back, data, sizeof(data));
}

static void dma_that_is_not_ready_is_waited_for(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };

    srig_out(&x->r, 0x0a, 1, 6);
    send(x, cmd, sizeof(cmd));
    srig_settle(&x->r);
    assert_int_equal(msr(x), BUSY);
    setup_dma(x, true, 512);
    take_result(x);
    assert_result(x, "00 00 00 00 00 02 02 ");
    assert_memory_pattern(x, 0, 512);
}

static void pio_read_runs_to_the_end_of_the_track(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0x46, 0, 0, 0, 17, 2, 18, 0x1b, 0xff };

    COMMAND(x, 0x03, 0xaf, 0x03); /* no DMA */
    send(x, cmd, sizeof(cmd));
    for (unsigned i = 0; i < 1024; i++) {
        srig_wait(&x->r, has_request, x);
        assert_int_equal(msr(x), 0xf0);
        assert_int_equal(srig_in(&x->r, FIFO, 1), srig_pattern(16 * 512 + i));
    }
    take_result(x);
    assert_result(x, "40 80 00 01 00 01 02 ");
}

static void format_fills_a_side(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0x4d, 0x04, 2, 18, 0x54, 0xf6 };
    uint8_t ids[18 * 4], back[19 * 512];
    FILE *f;

    seek(x, 2);
    for (unsigned i = 0; i < 18; i++) {
        ids[i * 4] = 2;
        ids[i * 4 + 1] = 1;
        ids[i * 4 + 2] = (uint8_t)(i + 1);
        ids[i * 4 + 3] = 2;
    }
    mem_write_locked(x->r.vm, BUFFER, ids, sizeof(ids));
    setup_dma(x, false, sizeof(ids));
    send(x, cmd, sizeof(cmd));
    take_result(x);
    assert_int_equal(x->result[0], 0x04);
    f = fopen(x->path, "rb");
    assert_non_null(f);
    fseek(f, (2 * 36 + 18) * 512, SEEK_SET);
    assert_int_equal(fread(back, 1, sizeof(back), f), sizeof(back));
    fclose(f);
    for (unsigned i = 0; i < 18 * 512; i++)
        assert_int_equal(back[i], 0xf6);
    assert_int_equal(back[18 * 512], srig_pattern(3 * 36 * 512));
    /* addresses of another track */
    ids[0] = 9;
    mem_write_locked(x->r.vm, BUFFER, ids, sizeof(ids));
    setup_dma(x, false, sizeof(ids));
    send(x, cmd, sizeof(cmd));
    take_result(x);
    assert_int_equal(x->result[0] & 0xc0, 0x40);
}

static void read_id_needs_the_right_data_rate(void **state)
{
    struct env *x = *state;

    COMMAND(x, 0x4a, 0x04);
    take_result(x);
    assert_result(x, "04 00 00 00 01 01 02 ");
    srig_out(&x->r, DIR, 1, 2); /* 250 kbit/s */
    COMMAND(x, 0x4a, 0x04);
    take_result(x);
    assert_int_equal(x->result[0] & 0xc0, 0x40);
    assert_int_equal(x->result[1], 0x01);
    insert(x, 737280, false);
    COMMAND(x, 0x4a, 0x04);
    take_result(x);
    assert_int_equal(x->result[0] & 0xc0, 0);
}

static void protected_disks_are_not_written(void **state)
{
    struct env *x = *state;

    insert(x, DISK_BYTES, true);
    setup_dma(x, false, 512);
    transfer(x, 0xc5, 0, 0, 1, 18);
    assert_int_equal(x->result[0] & 0xc0, 0x40);
    assert_int_equal(x->result[1], 0x02);
    COMMAND(x, 0x04, 0x00);
    take_result(x);
    assert_int_equal(x->result[0] & 0x40, 0x40);
}

static void disk_change_line_follows_the_medium(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;

    assert_int_equal(srig_in(&x->r, DIR, 1), 0);
    assert_int_equal(drive_set_medium_locked(x->drive, NULL, false, &e), 0);
    assert_int_equal(srig_in(&x->r, DIR, 1), 0x80);
    seek(x, 1);
    assert_int_equal(srig_in(&x->r, DIR, 1), 0x80); /* still empty */
    transfer(x, 0xe6, 1, 0, 1, 18);
    assert_int_equal(x->result[0] & 0xc0, 0x40);
    insert(x, DISK_BYTES, false);
    assert_int_equal(srig_in(&x->r, DIR, 1), 0x80);
    seek(x, 0);
    assert_int_equal(srig_in(&x->r, DIR, 1), 0);
}

static void odd_sizes_read_zeros_behind_the_end(void **state)
{
    struct env *x = *state;
    const uint64_t bytes = 1296384; /* as GRUB's rescue floppy */
    uint64_t last = bytes / 512 - 1;
    uint8_t c = (uint8_t)(last / 36), h = (uint8_t)(last / 18 % 2);
    uint8_t r = (uint8_t)(last % 18 + 1), buf[1024];

    insert(x, bytes, false);
    assert_int_equal(fdc_drive_type(x->fdc, 0), 4);
    seek(x, c);
    setup_dma(x, true, 1024);
    transfer(x, 0xe6, c, h, r, 18);
    assert_int_equal(x->result[0] & 0xc0, 0);
    mem_read_locked(x->r.vm, BUFFER, buf, sizeof(buf));
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(buf[i], srig_pattern(last * 512 + i));
    for (unsigned i = 512; i < 1024; i++)
        assert_int_equal(buf[i], 0);
    seek(x, 79);
    setup_dma(x, true, 512);
    transfer(x, 0xe6, 79, 1, 18, 18);
    assert_int_equal(x->result[0] & 0xc0, 0);
}

static void image_sizes_choose_the_format(void **state)
{
    struct env *x = *state;
    static const struct {
        uint64_t bytes;
        uint8_t c, h, r, rate; /* last sector */
    } sizes[] = {
        { 163840, 39, 0, 8, 2 },   { 184320, 39, 0, 9, 2 },
        { 327680, 39, 1, 8, 2 },   { 368640, 39, 1, 9, 1 },
        { 737280, 79, 1, 9, 2 },   { 1228800, 79, 1, 15, 0 },
        { 1474560, 79, 1, 18, 0 }, { 1720320, 79, 1, 21, 0 },
        { 2949120, 79, 1, 36, 3 },
    };

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        insert(x, sizes[i].bytes, false);
        srig_out(&x->r, DIR, 1, sizes[i].rate);
        seek(x, sizes[i].c);
        setup_dma(x, true, 512);
        transfer(x, 0xe6, sizes[i].c, sizes[i].h, sizes[i].r, sizes[i].r);
        assert_int_equal(x->result[0] & 0xc0, 0);
        assert_memory_pattern(x, sizes[i].bytes - 512, 512);
    }
}

static void reset_within_a_transfer_is_clean(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };

    for (unsigned i = 0; i < 30; i++) {
        setup_dma(x, true, 18 * 512);
        send(x, cmd, sizeof(cmd));
        if (i & 1) srig_poll(&x->r);
        srig_out(&x->r, DOR, 1, 0x18);
        srig_out(&x->r, DOR, 1, 0x1c);
        srig_poll(&x->r);
        drop_interrupts(x);
        assert_int_equal(msr(x), RQM);
        setup_dma(x, true, 512);
        transfer(x, 0xe6, 0, 0, 2, 18);
        assert_memory_pattern(x, 512, 512);
    }
}

static void the_machine_may_go_with_requests_in_flight(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };

    setup_dma(x, true, 18 * 512);
    send(x, cmd, sizeof(cmd));
    assert_int_equal(msr(x) & RQM, 0);
}

static void state_survives_within_command_transfer_and_result(void **state)
{
    struct env *x = *state;
    static const uint8_t cmd[] = { 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };
    struct state_out o = { 0 };
    struct err e = ERR_INIT;

    srig_out(&x->r, 0x0a, 1, 6);
    send(x, cmd, 5);
    for (unsigned step = 0; step < 3; step++) {
        assert_int_equal(dev_save_tree(x->fdc, &o, &e), 0);
        dev_reset_tree(x->fdc);
        assert_int_equal(dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e),
                         0);
        state_out_free(&o);
        if (step == 0) send(x, cmd + 5, 4);
        if (step == 1) {
            setup_dma(x, true, 512);
            srig_wait(&x->r, has_request, x);
        }
    }
    assert_true(x->r.line[6]);
    take_result(x);
    assert_result(x, "00 00 00 00 00 02 02 ");
    assert_memory_pattern(x, 0, 512);
}

/* The present state can be saved and loaded. */
static void assert_reloads(struct env *x)
{
    struct state_out o = { 0 };
    struct err e = ERR_INIT;

    assert_int_equal(dev_save_tree(x->fdc, &o, &e), 0);
    if (dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e) < 0)
        fail_msg("%s", e.text);
    state_out_free(&o);
}

static void any_octets_are_survived(void **state)
{
    struct env *x = *state;
    uint32_t seed = 4711;

    setup_dma(x, true, 65536);
    for (unsigned i = 0; i < 300000; i++) {
        seed = seed * 1664525u + 1013904223u;
        switch (seed >> 28) {
        case 0: srig_in(&x->r, FIFO, 1); break;
        case 1: srig_in(&x->r, 0x3f0 + (seed >> 20 & 7), 1); break;
        case 2:
            if ((seed & 0x3f00) == 0)
                srig_out(&x->r, 0x3f0 + (seed >> 20 & 7), 1, seed >> 12 & 255);
            break;
        case 3:
            if ((seed & 0xff00) == 0)
                srig_out(&x->r, 0x0b, 1, seed >> 16 & 255);
            break;
        case 4: srig_out(&x->r, 0x0a, 1, seed >> 24 & 7); break;
        default: srig_out(&x->r, FIFO, 1, seed >> 16 & 255); break;
        }
        if (i % 16 == 0) srig_poll(&x->r);
        if (i % 127 == 0) assert_reloads(x);
        if (i % 4096 == 0) {
            srig_out(&x->r, DOR, 1, 0);
            srig_out(&x->r, DOR, 1, 0x1c);
        }
    }
    dev_reset_tree(vm_root(x->r.vm));
    COMMAND(x, 0x10);
    take_result(x);
    assert_result(x, "90 ");
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

    static const uint8_t cmd[] = { 0xc5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };

    srig_out(&x->r, 0x0a, 1, 6);
    send(x, cmd, sizeof(cmd));
    assert_int_equal(dev_save_tree(x->fdc, &o, &e), 0);
    for (unsigned i = 0; i < 5000; i++) {
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
            srig_in(&x->r, FIFO, 1);
            srig_out(&x->r, FIFO, 1, k);
        }
        setup_dma(x, (i & 1) != 0, 65536);
        if (i % 32 == 0) srig_poll(&x->r);
        if (i % 8 == 0) dev_reset_tree(x->fdc);
    }
    assert_in_range(refused, 1, 5000 - 1);
    state_out_free(&o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reset_interrupts_and_four_drives_are_sensed),
        TEST(version_lock_and_unknown_commands),
        TEST(dumpreg_shows_what_was_configured),
        TEST(recalibrate_and_seek_end_with_an_interrupt),
        TEST(dma_read_stops_at_terminal_count),
        TEST(multi_track_goes_on_at_the_other_head),
        TEST(wrong_addresses_find_no_data),
        TEST(write_reaches_the_file_and_fills_the_last_sector),
        TEST(dma_that_is_not_ready_is_waited_for),
        TEST(pio_read_runs_to_the_end_of_the_track),
        TEST(format_fills_a_side),
        TEST(read_id_needs_the_right_data_rate),
        TEST(protected_disks_are_not_written),
        TEST(disk_change_line_follows_the_medium),
        TEST(odd_sizes_read_zeros_behind_the_end),
        TEST(image_sizes_choose_the_format),
        TEST(reset_within_a_transfer_is_clean),
        TEST(the_machine_may_go_with_requests_in_flight),
        TEST(state_survives_within_command_transfer_and_result),
        TEST(any_octets_are_survived),
        TEST(changed_state_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
