/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link: hw block core */
/* PIIX3 IDE with ATA disks, register by register (ATA/ATAPI-6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hw/pci.h"
#include "hw/storage/ide.h"
#include "tests/unit/support/storage_rig.h"

enum {
    DISK_SECTORS = 4096,
    CMD = 0x1f0,
    CTL = 0x3f6,
    BM = 0xc000,
    PRDT = 0x1000,
    BUFFER = 0x10000,

    BSY = 0x80,
    DRDY = 0x40,
    DRQ = 0x08,
    ERR = 0x01,
};

struct env {
    struct srig r;
    struct dev *ide;
    char path[128];
};

static void pci_write(struct srig *r, unsigned devfn, unsigned off,
                      unsigned bytes, uint32_t v)
{
    srig_out(r, 0xcf8, 4, 0x80000000u | devfn << 8 | (off & 0xfc));
    srig_out(r, 0xcfc + (off & 3), bytes, v);
}

static uint32_t pci_read(struct srig *r, unsigned devfn, unsigned off,
                         unsigned bytes)
{
    srig_out(r, 0xcf8, 4, 0x80000000u | devfn << 8 | (off & 0xfc));
    return srig_in(r, 0xcfc + (off & 3), bytes);
}

static int make(void **state)
{
    struct env *x = calloc(1, sizeof(*x));
    uint8_t *disk = malloc(DISK_SECTORS * 512);
    struct err e = ERR_INIT;

    srig_open(&x->r);
    srig_fill(disk, 0, DISK_SECTORS * 512);
    srig_file(&x->r, disk, DISK_SECTORS * 512, DISK_SECTORS * 512, x->path,
              sizeof(x->path));
    free(disk);
    assert_int_equal(dev_add(x->r.vm, pci_bus_dev(vm_pci_bus(x->r.vm)),
                             &ide_piix3_class, "ide", &x->ide, &e),
                     0);
    ide_connect(x->ide, 0, srig_line(&x->r, 14));
    ide_connect(x->ide, 1, srig_line(&x->r, 15));
    assert_int_equal(ide_attach(x->ide, 0,
                                srig_drive(&x->r, "hd0", x->path, false, false),
                                false, &e),
                     0);
    dev_reset_tree(vm_root(x->r.vm));
    pci_write(&x->r, 9, 0x20, 4, BM);
    pci_write(&x->r, 9, 0x04, 2, 5); /* I/O, bus master */
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

static uint8_t alt_status(struct env *x)
{
    return (uint8_t)srig_in(&x->r, CTL, 1);
}

static bool is_idle(void *arg)
{
    return (alt_status(arg) & BSY) == 0;
}

static uint8_t wait_ready(struct env *x)
{
    srig_wait(&x->r, is_idle, x);
    return in(x, 7);
}

static void command28(struct env *x, uint8_t cmd, uint32_t lba, uint8_t count)
{
    out(x, 6, (uint8_t)(0xe0 | lba >> 24));
    out(x, 2, count);
    out(x, 3, (uint8_t)lba);
    out(x, 4, (uint8_t)(lba >> 8));
    out(x, 5, (uint8_t)(lba >> 16));
    out(x, 7, cmd);
}

static void command48(struct env *x, uint8_t cmd, uint64_t lba, uint16_t count)
{
    out(x, 6, 0xe0);
    out(x, 2, (uint8_t)(count >> 8));
    out(x, 3, (uint8_t)(lba >> 24));
    out(x, 4, (uint8_t)(lba >> 32));
    out(x, 5, (uint8_t)(lba >> 40));
    out(x, 2, (uint8_t)count);
    out(x, 3, (uint8_t)lba);
    out(x, 4, (uint8_t)(lba >> 8));
    out(x, 5, (uint8_t)(lba >> 16));
    out(x, 7, cmd);
}

/* Take one DRQ block by PIO. */
static void pio_in(struct env *x, uint8_t *buf, size_t bytes)
{
    assert_int_equal(wait_ready(x) & (DRQ | ERR), DRQ);
    for (size_t i = 0; i < bytes; i += 2) {
        uint32_t v = srig_in(&x->r, CMD, 2);

        buf[i] = (uint8_t)v;
        buf[i + 1] = (uint8_t)(v >> 8);
    }
}

static void pio_out(struct env *x, const uint8_t *buf, size_t bytes)
{
    assert_int_equal(wait_ready(x) & (DRQ | ERR), DRQ);
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t v;

        memcpy(&v, buf + i, 4);
        srig_out(&x->r, CMD, 4, v);
    }
}

static void assert_pattern(const uint8_t *buf, uint64_t at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(buf[i], srig_pattern(at + i));
}

static void assert_on_disk(struct env *x, uint64_t sector,
                           const uint8_t *expected, size_t bytes)
{
    uint8_t *buf = malloc(bytes);
    FILE *f = fopen(x->path, "rb");

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(sector * 512), SEEK_SET), 0);
    assert_int_equal(fread(buf, 1, bytes, f), bytes);
    fclose(f);
    assert_memory_equal(buf, expected, bytes);
    free(buf);
}

static uint16_t word(const uint8_t *id, unsigned n)
{
    return (uint16_t)(id[n * 2] | id[n * 2 + 1] << 8);
}

static void set_prd(struct env *x, unsigned n, uint32_t addr, uint32_t bytes,
                    bool is_last)
{
    uint32_t d[2] = { addr, (bytes & 0xffff) | (is_last ? 0x80000000u : 0) };

    mem_write_locked(x->r.vm, PRDT + n * 8, d, sizeof(d));
}

static bool is_bm_irq(void *arg)
{
    struct env *x = arg;

    return (srig_in(&x->r, BM + 2, 1) & 4) != 0;
}

static void start_dma(struct env *x, bool to_memory)
{
    srig_out(&x->r, BM + 4, 4, PRDT);
    srig_out(&x->r, BM + 2, 1, 6);
    srig_out(&x->r, BM, 1, to_memory ? 8 : 0);
    srig_out(&x->r, BM, 1, (to_memory ? 8u : 0u) | 1);
}

/* ---------------------------------------------------------------- tests */

static void pci_function_is_a_piix3_ide_controller(void **state)
{
    struct env *x = *state;

    assert_int_equal(pci_read(&x->r, 9, 0, 4), 0x70108086);
    assert_int_equal(pci_read(&x->r, 9, 8, 4) >> 8, 0x010180);
    assert_int_equal(pci_read(&x->r, 9, 0x20, 4), BM | 1);
    pci_write(&x->r, 9, 0x40, 2, 0x8000);
    assert_int_equal(pci_read(&x->r, 9, 0x40, 2), 0x8000);
}

static void reset_leaves_the_disk_signature(void **state)
{
    struct env *x = *state;

    out(x, 6, 0x10);
    out(x, 2, 0x77);
    srig_out(&x->r, CTL, 1, 4);
    assert_int_equal(alt_status(x), BSY);
    srig_out(&x->r, CTL, 1, 0);
    assert_int_equal(alt_status(x), 0x50);
    assert_int_equal(in(x, 1), 1);
    assert_int_equal(in(x, 2), 1);
    assert_int_equal(in(x, 3), 1);
    assert_int_equal(in(x, 4), 0);
    assert_int_equal(in(x, 5), 0);
    assert_int_equal(in(x, 6) & 0x10, 0);
}

static void
a_missing_slave_reads_zero_and_an_empty_channel_has_no_bsy(void **state)
{
    struct env *x = *state;

    out(x, 6, 0xb0);
    assert_int_equal(in(x, 7), 0);
    out(x, 7, 0xec); /* ignored */
    assert_int_equal(in(x, 7), 0);
    out(x, 6, 0xa0);
    assert_int_equal(in(x, 7) & DRDY, DRDY);
    assert_int_equal(srig_in(&x->r, 0x177, 1), 0x7f);
}

static void identify_tells_size_modes_and_sums_to_zero(void **state)
{
    struct env *x = *state;
    uint8_t id[512], sum = 0;

    out(x, 6, 0xa0);
    out(x, 7, 0xec);
    assert_true(x->r.line[14]);
    pio_in(x, id, 512);
    assert_false(x->r.line[14]);
    assert_int_equal(alt_status(x) & (BSY | DRQ), 0);
    assert_int_equal(word(id, 0) & 0x8000, 0);
    assert_int_equal(word(id, 60) | word(id, 61) << 16, DISK_SECTORS);
    assert_int_equal(word(id, 100), DISK_SECTORS);
    assert_int_equal(word(id, 83) & 0xc400, 0x4400); /* valid, 48-bit */
    assert_int_equal(word(id, 49) & 0x300, 0x300);   /* LBA, DMA */
    /* ATA/ATAPI-7 at most: drivers ask later ones for their logs (85, bit
     * 5 of 84: general purpose logging). */
    assert_int_equal(word(id, 80), 0xf0);
    assert_int_equal(word(id, 84) & 0x20, 0);
    assert_int_equal(word(id, 3), 16);
    assert_int_equal(word(id, 6), 63);
    assert_int_equal(word(id, 1), DISK_SECTORS / (16 * 63));
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + id[i]);
    assert_int_equal(sum, 0);
}

static int add_disk(struct env *x, const char *id, const char *const *props,
                    struct err *e)
{
    struct dev *d;
    int rc = dev_new(x->r.vm, x->ide, &ide_hd_class, id, &d, e);

    for (; rc == 0 && *props != NULL; props += 2) {
        rc = dev_set(d, props[0], props[1], e);
        if (rc < 0) dev_remove(d);
    }
    return rc < 0 ? rc : dev_create(d, e);
}

/* ATA/ATAPI-7, table 17: words 10-19, 23-26, 27-46, 108-111; ATA8-ACS: 217 */
static void a_disk_device_tells_what_the_user_said(void **state)
{
    struct env *x = *state;
    static const char *const props[] = {
        "drive",
        "hd1",
        "bus",
        "ide.0",
        "unit",
        "1",
        "model",
        "ABC",
        "ver",
        "v7",
        "serial",
        "123456789012345678901",
        "wwn",
        "0x5000c50012345678",
        "rotation_rate",
        "7200",
        NULL,
    };
    static const char *const again[] = { "drive", "hd1", NULL };
    static const char *const busy[] = { "drive", "hd2", "bus", "ide.0", NULL };
    static const char *const next[] = { "drive", "hd2", NULL };
    struct err e = ERR_INIT;
    uint8_t id[512] = { 0 };

    for (unsigned i = 1; i <= 2; i++) {
        const char name[] = { 'h', 'd', (char)('0' + i), '\0' };
        char path[sizeof(x->path)];

        srig_file(&x->r, id, sizeof(id), 1 << 20, path, sizeof(path));
        srig_drive(&x->r, name, path, true, false);
    }
    assert_int_equal(add_disk(x, "d1", again + 2, &e), -EINVAL);
    assert_int_equal(add_disk(x, "d1", props, &e), 0);
    assert_int_equal(add_disk(x, "d2", again, &e), -EBUSY);
    assert_int_equal(add_disk(x, "d2", busy, &e), -ENOSPC);
    assert_int_equal(add_disk(x, "d2", next, &e), 0);
    out(x, 6, 0xb0);
    out(x, 7, 0xec);
    pio_in(x, id, 512);
    assert_memory_equal(id + 20, "21436587092143658709", 20);
    assert_memory_equal(id + 46, "7v", 2);
    assert_memory_equal(id + 54, "BA C", 4);
    assert_int_equal(word(id, 108), 0x5000);
    assert_int_equal(word(id, 111), 0x5678);
    assert_int_equal(word(id, 84) & 0x100, 0x100);
    assert_int_equal(word(id, 87) & 0x100, 0x100);
    assert_int_equal(word(id, 217), 7200);
    /* The other one is where -device goes first: the secondary bus. */
    assert_int_equal(srig_in(&x->r, 0x177, 1) & DRDY, DRDY);
}

static void pio_read_gives_an_interrupt_per_sector(void **state)
{
    struct env *x = *state;
    uint8_t buf[512];
    unsigned before = x->r.rises[14];

    command28(x, 0x20, 100, 3);
    for (unsigned i = 0; i < 3; i++) {
        pio_in(x, buf, 512);
        assert_pattern(buf, (100 + i) * 512, 512);
    }
    assert_int_equal(alt_status(x), 0x50);
    assert_int_equal(x->r.rises[14] - before, 3);
    assert_int_equal(in(x, 2), 0);
    assert_int_equal(in(x, 3), 102);
}

static void count_zero_means_256_sectors(void **state)
{
    struct env *x = *state;
    uint8_t buf[512];

    command28(x, 0x20, 1000, 0);
    for (unsigned i = 0; i < 256; i++) {
        pio_in(x, buf, 512);
        assert_pattern(buf, (1000 + i) * 512, 512);
    }
    assert_int_equal(alt_status(x), 0x50);
}

static void chs_and_lba_name_the_same_sectors(void **state)
{
    struct env *x = *state;
    uint8_t buf[512];

    out(x, 6, 0xa0 | 5); /* cylinder 2, head 5, sector 7 */
    out(x, 2, 1);
    out(x, 3, 7);
    out(x, 4, 2);
    out(x, 5, 0);
    out(x, 7, 0x20);
    pio_in(x, buf, 512);
    assert_pattern(buf, ((2 * 16 + 5) * 63 + 6) * 512, 512);
    /* other geometry: 4 heads, 32 sectors */
    out(x, 6, 0xa0 | 3);
    out(x, 2, 32);
    out(x, 7, 0x91);
    assert_int_equal(wait_ready(x) & ERR, 0);
    out(x, 6, 0xa0 | 3);
    out(x, 2, 1);
    out(x, 3, 32);
    out(x, 4, 1);
    out(x, 7, 0x20);
    pio_in(x, buf, 512);
    assert_pattern(buf, ((1 * 4 + 3) * 32 + 31) * 512, 512);
    out(x, 3, 0); /* sector 0 does not exist */
    out(x, 2, 1);
    out(x, 7, 0x20);
    assert_int_equal(wait_ready(x) & ERR, ERR);
    assert_int_equal(in(x, 1), 0x10);
}

static void read_multiple_moves_blocks(void **state)
{
    struct env *x = *state;
    uint8_t buf[8 * 512];
    unsigned before;

    command28(x, 0xc4, 0, 1); /* not set up */
    assert_int_equal(wait_ready(x) & ERR, ERR);
    assert_int_equal(in(x, 1), 4);
    out(x, 2, 8);
    out(x, 7, 0xc6);
    assert_int_equal(wait_ready(x) & ERR, 0);
    before = x->r.rises[14];
    command28(x, 0xc4, 8, 20);
    pio_in(x, buf, 8 * 512);
    assert_pattern(buf, 8 * 512, 8 * 512);
    pio_in(x, buf, 8 * 512);
    assert_pattern(buf, 16 * 512, 8 * 512);
    pio_in(x, buf, 4 * 512);
    assert_pattern(buf, 24 * 512, 4 * 512);
    assert_int_equal(x->r.rises[14] - before, 3);
    assert_int_equal(alt_status(x), 0x50);
    out(x, 2, 3); /* not a power of two */
    out(x, 7, 0xc6);
    assert_int_equal(wait_ready(x) & ERR, ERR);
}

static void pio_write_reaches_the_file(void **state)
{
    struct env *x = *state;
    uint8_t buf[1024];
    unsigned before = x->r.rises[14];

    memset(buf, 0xc3, sizeof(buf));
    command28(x, 0x30, 50, 2);
    assert_int_equal(x->r.rises[14], before); /* none before the first block */
    pio_out(x, buf, 512);
    pio_out(x, buf + 512, 512);
    assert_int_equal(wait_ready(x), 0x50);
    assert_int_equal(x->r.rises[14] - before, 2);
    out(x, 7, 0xe7);
    assert_int_equal(wait_ready(x), 0x50);
    assert_on_disk(x, 50, buf, sizeof(buf));
}

static void lba48_write_multiple_and_read_back(void **state)
{
    struct env *x = *state;
    uint8_t buf[4 * 512], back[512];

    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)(i * 7 + 1);
    out(x, 2, 4);
    out(x, 7, 0xc6);
    wait_ready(x);
    command48(x, 0x39, 300, 4);
    pio_out(x, buf, sizeof(buf));
    assert_int_equal(wait_ready(x), 0x50);
    assert_on_disk(x, 300, buf, sizeof(buf));
    command48(x, 0x24, 303, 1);
    pio_in(x, back, 512);
    assert_memory_equal(back, buf + 3 * 512, 512);
    srig_out(&x->r, CTL, 1, 0x80); /* HOB */
    assert_int_equal(in(x, 3), 0);
}

static void ranges_past_the_end_are_refused(void **state)
{
    struct env *x = *state;

    command28(x, 0x20, DISK_SECTORS - 1, 2);
    assert_int_equal(wait_ready(x) & (ERR | DRQ), ERR);
    assert_int_equal(in(x, 1), 0x10);
    command48(x, 0x24, 0xffffffffffffull, 0);
    assert_int_equal(wait_ready(x) & (ERR | DRQ), ERR);
    command48(x, 0x34, DISK_SECTORS, 1);
    assert_int_equal(wait_ready(x) & (ERR | DRQ), ERR);
    command28(x, 0x40, DISK_SECTORS - 2, 2); /* verify to the end */
    assert_int_equal(wait_ready(x), 0x50);
}

static void a_host_error_is_a_data_error_at_its_sector(void **state)
{
    struct env *x = *state;
    uint8_t buf[512];

    assert_int_equal(truncate(x->path, 200 * 512), 0);
    command28(x, 0x20, 70, 1);
    pio_in(x, buf, 512);
    command28(x, 0x20, 300, 4);
    assert_int_equal(wait_ready(x) & (ERR | DRQ), ERR);
    assert_int_equal(in(x, 1), 0x40); /* UNC */
    assert_int_equal(in(x, 3) | in(x, 4) << 8, 300);
    set_prd(x, 0, BUFFER, 512, true);
    command28(x, 0xc8, 301, 1);
    start_dma(x, true);
    srig_wait(&x->r, is_bm_irq, x);
    assert_int_equal(in(x, 7) & ERR, ERR);
    srig_out(&x->r, BM, 1, 0);
    command28(x, 0x20, 71, 1); /* goes on */
    pio_in(x, buf, 512);
    assert_pattern(buf, 71 * 512, 512);
}

static void unknown_commands_abort(void **state)
{
    struct env *x = *state;
    unsigned before = x->r.rises[14];

    out(x, 7, 0xf1); /* SECURITY SET PASSWORD */
    assert_int_equal(wait_ready(x), DRDY | ERR);
    assert_int_equal(in(x, 1), 4);
    assert_int_equal(x->r.rises[14] - before, 1);
}

static void nien_keeps_the_line_low(void **state)
{
    struct env *x = *state;
    uint8_t id[512];

    srig_out(&x->r, CTL, 1, 2);
    out(x, 7, 0xec);
    assert_false(x->r.line[14]);
    srig_out(&x->r, CTL, 1, 0);
    assert_true(x->r.line[14]);
    pio_in(x, id, 512);
}

static void dma_read_scatters_into_memory(void **state)
{
    struct env *x = *state;
    uint8_t *buf = malloc(200 * 512);

    set_prd(x, 0, BUFFER, 1024, false);
    set_prd(x, 1, BUFFER + 0x8000, 0, false); /* 0 = 64 KiB */
    set_prd(x, 2, BUFFER + 0x20000, 200 * 512 - 1024 - 65536, true);
    command28(x, 0xc8, 7, 200);
    start_dma(x, true);
    srig_wait(&x->r, is_bm_irq, x);
    assert_true(x->r.line[14]);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 4); /* not active */
    assert_int_equal(in(x, 7), 0x50);
    srig_out(&x->r, BM, 1, 0);
    mem_read_locked(x->r.vm, BUFFER, buf, 1024);
    mem_read_locked(x->r.vm, BUFFER + 0x8000, buf + 1024, 65536);
    mem_read_locked(x->r.vm, BUFFER + 0x20000, buf + 1024 + 65536,
                    200 * 512 - 1024 - 65536);
    assert_pattern(buf, 7 * 512, 200 * 512);
    free(buf);
}

static void dma_write_gathers_from_memory(void **state)
{
    struct env *x = *state;
    const size_t bytes = 150 * 512;
    uint8_t *buf = malloc(bytes);

    for (size_t i = 0; i < bytes; i++)
        buf[i] = (uint8_t)(i * 13 + (i >> 8));
    mem_write_locked(x->r.vm, BUFFER, buf, bytes);
    set_prd(x, 0, BUFFER, 512, false);
    set_prd(x, 1, BUFFER + 512, 0, false);
    set_prd(x, 2, BUFFER + 512 + 65536, 0, true); /* longer than needed */
    command48(x, 0x35, 2000, 150);
    assert_int_equal(alt_status(x) & BSY, BSY); /* waits for the engine */
    start_dma(x, false);
    srig_wait(&x->r, is_bm_irq, x);
    /* interrupt and active: the table was longer */
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 5);
    srig_out(&x->r, BM, 1, 0);
    assert_int_equal(in(x, 7), 0x50);
    assert_on_disk(x, 2000, buf, bytes);
    free(buf);
}

/* Descriptors of 64 KiB each for memory from 1 MiB on. */
static void set_large_prd(struct env *x, size_t bytes)
{
    for (unsigned i = 0; i * 65536 < bytes; i++)
        set_prd(x, i, 0x100000 + i * 65536, 0, (i + 1) * 65536 >= bytes);
}

/* preadv2 with RWF_NOWAIT is the file system's to offer. */
static void skip_if_host_cannot_read_now(const char *path)
{
    char octet;
    struct iovec iov = { &octet, 1 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = preadv2(fd, &iov, 1, 0, RWF_NOWAIT);

    close(fd);
    if (n == 1) return;
    print_message("no reads without waiting in %s\n", path);
    skip();
}

static void dma_reads_of_cached_octets_end_at_once(void **state)
{
    struct env *x = *state;
    uint8_t buf[4096];

    skip_if_host_cannot_read_now(x->path);
    set_prd(x, 0, BUFFER, sizeof(buf), true);
    command28(x, 0xc8, 40, 8);
    assert_false(x->r.line[14]); /* not before the engine has moved them */
    start_dma(x, true);
    assert_true(x->r.line[14]);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 4);
    assert_int_equal(in(x, 7), 0x50);
    srig_out(&x->r, BM, 1, 0);
    mem_read_locked(x->r.vm, BUFFER, buf, sizeof(buf));
    assert_pattern(buf, 40 * 512, sizeof(buf));
    command28(x, 0x20, 41, 1); /* PIO: the interrupt takes its time */
    assert_int_equal(alt_status(x) & BSY, BSY);
    assert_false(x->r.line[14]);
    pio_in(x, buf, 512);
    assert_pattern(buf, 41 * 512, 512);
}

static void a_large_dma_read_lets_others_run(void **state)
{
    enum { BYTES = DISK_SECTORS * 512 };
    struct env *x = *state;
    uint8_t *buf = malloc(BYTES);

    set_large_prd(x, BYTES);
    command48(x, 0x25, 0, DISK_SECTORS);
    start_dma(x, true);
    assert_int_equal(alt_status(x) & BSY, BSY);
    assert_false(x->r.line[14]);
    srig_wait(&x->r, is_bm_irq, x);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 4);
    assert_int_equal(in(x, 7), 0x50);
    mem_read_locked(x->r.vm, 0x100000, buf, BYTES);
    assert_pattern(buf, 0, BYTES);
    free(buf);
}

static void a_large_dma_write_reaches_the_file(void **state)
{
    enum { SECTORS = 2047, BYTES = SECTORS * 512 };
    struct env *x = *state;
    uint8_t *buf = malloc(BYTES);

    for (size_t i = 0; i < BYTES; i++)
        buf[i] = (uint8_t)(i * 11 + (i >> 9) + (i >> 17));
    mem_write_locked(x->r.vm, 0x100000, buf, BYTES);
    set_large_prd(x, BYTES);
    command48(x, 0x35, 1001, SECTORS);
    start_dma(x, false);
    srig_wait(&x->r, is_bm_irq, x);
    assert_int_equal(in(x, 7), 0x50);
    assert_int_equal(in(x, 3) | in(x, 4) << 8, 1001 + SECTORS - 1);
    assert_on_disk(x, 1001, buf, BYTES);
    free(buf);
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

static void trim_frees_ranges_and_checks_them(void **state)
{
    struct env *x = *state;
    uint64_t ranges[64] = { 0 };
    uint8_t id[512], buf[512];

    out(x, 7, 0xec);
    pio_in(x, id, 512);
    assert_int_equal(word(id, 169) & 1, 1);
    ranges[0] = 1024 | (uint64_t)256 << 48;
    ranges[5] = 3000 | (uint64_t)8 << 48;
    mem_write_locked(x->r.vm, BUFFER, ranges, 512);
    set_prd(x, 0, BUFFER, 512, true);
    out(x, 1, 1);
    command48(x, 0x06, 0, 1);
    start_dma(x, false);
    srig_wait(&x->r, is_bm_irq, x);
    srig_out(&x->r, BM, 1, 0);
    assert_int_equal(in(x, 7), 0x50);
    assert_reloads(x);
    command28(x, 0x20, 1023, 1);
    pio_in(x, buf, 512);
    assert_pattern(buf, 1023 * 512, 512);
    command28(x, 0x20, 1280, 1);
    pio_in(x, buf, 512);
    assert_pattern(buf, 1280 * 512, 512);

    ranges[63] = (DISK_SECTORS - 1) | (uint64_t)2 << 48;
    mem_write_locked(x->r.vm, BUFFER, ranges, 512);
    out(x, 1, 1);
    command48(x, 0x06, 0, 1);
    start_dma(x, false);
    srig_wait(&x->r, is_bm_irq, x);
    srig_out(&x->r, BM, 1, 0);
    assert_int_equal(in(x, 7) & ERR, ERR);
    out(x, 1, 0); /* no such function */
    command48(x, 0x06, 0, 1);
    assert_int_equal(wait_ready(x) & ERR, ERR);
}

static void the_machine_may_go_with_requests_in_flight(void **state)
{
    struct env *x = *state;

    set_prd(x, 0, BUFFER, 0, true);
    command28(x, 0xca, 0, 100);
    start_dma(x, false);
    assert_int_equal(alt_status(x) & BSY, BSY);
    srig_out(&x->r, CTL, 1, 4); /* one cancelled, one waiting behind it */
    srig_out(&x->r, CTL, 1, 0);
    command28(x, 0x20, 0, 100);
    assert_int_equal(alt_status(x) & BSY, BSY);
}

static void a_short_table_stops_without_interrupt(void **state)
{
    struct env *x = *state;
    unsigned before = x->r.rises[14];

    set_prd(x, 0, BUFFER, 512, true);
    command28(x, 0xc8, 0, 2);
    start_dma(x, true);
    srig_wait(&x->r, is_idle, x);
    srig_settle(&x->r);
    assert_int_equal(x->r.rises[14], before);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 7, 0);
}

static void dma_outside_memory_is_an_error(void **state)
{
    struct env *x = *state;

    set_prd(x, 0, 0xfe000000, 512, true);
    command28(x, 0xc8, 0, 1);
    start_dma(x, true);
    srig_wait(&x->r, is_bm_irq, x);
    assert_int_equal(srig_in(&x->r, BM + 2, 1) & 3, 2);
    assert_int_equal(in(x, 7) & ERR, ERR);
    /* table outside memory */
    srig_out(&x->r, BM, 1, 0);
    command28(x, 0xca, 0, 1);
    srig_out(&x->r, BM + 4, 4, 0xfffffff8);
    srig_out(&x->r, BM, 1, 1);
    assert_int_equal(wait_ready(x) & ERR, ERR);
}

static void reset_within_a_transfer_leaves_a_working_disk(void **state)
{
    struct env *x = *state;
    uint8_t buf[512], mark[512];

    memset(mark, 0xee, sizeof(mark));
    for (unsigned i = 0; i < 50; i++) {
        command28(x, i & 1 ? 0x20 : 0xc8, i, 200);
        if (i & 1) srig_settle(&x->r);
        if (i % 3 == 0) start_dma(x, true);
        srig_out(&x->r, CTL, 1, 4);
        srig_out(&x->r, CTL, 1, 0);
        srig_out(&x->r, BM, 1, 0);
        assert_int_equal(alt_status(x), 0x50);
        /* A write that starts at once is not overtaken. */
        command28(x, 0x30, 3000, 1);
        mark[0] = (uint8_t)i;
        pio_out(x, mark, 512);
        if (i % 5 == 0)
            dev_reset_tree(vm_root(x->r.vm));
        else
            wait_ready(x);
        if (i % 5 == 0) {
            pci_write(&x->r, 9, 0x20, 4, BM);
            pci_write(&x->r, 9, 0x04, 2, 5);
            command28(x, 0x30, 3000, 1);
            mark[0] = (uint8_t)~i;
            pio_out(x, mark, 512);
            wait_ready(x);
        }
        command28(x, 0x20, 3000, 1);
        pio_in(x, buf, 512);
        assert_memory_equal(buf, mark, 512);
    }
}

static void diagnostic_selects_the_master_and_interrupts(void **state)
{
    struct env *x = *state;
    unsigned before = x->r.rises[14];

    out(x, 6, 0xb0);
    out(x, 7, 0x90);
    assert_int_equal(x->r.rises[14] - before, 1);
    assert_int_equal(in(x, 6) & 0x10, 0);
    assert_int_equal(in(x, 1), 1);
    assert_int_equal(wait_ready(x), 0x50);
}

static void features_modes_and_smart(void **state)
{
    struct env *x = *state;
    uint8_t id[512];

    out(x, 1, 3);
    out(x, 2, 0x22);
    out(x, 7, 0xef);
    assert_int_equal(wait_ready(x), 0x50);
    out(x, 1, 0x82);
    out(x, 7, 0xef);
    assert_int_equal(wait_ready(x), 0x50);
    out(x, 7, 0xec);
    pio_in(x, id, 512);
    assert_int_equal(word(id, 63), 0x0407); /* multiword mode 2 active */
    assert_int_equal(word(id, 85) & 0x20, 0);
    out(x, 1, 0xfe);
    out(x, 7, 0xef);
    assert_int_equal(wait_ready(x) & ERR, ERR);
    out(x, 1, 0xda); /* SMART RETURN STATUS */
    out(x, 4, 0x4f);
    out(x, 5, 0xc2);
    out(x, 7, 0xb0);
    assert_int_equal(wait_ready(x), 0x50);
    assert_int_equal(in(x, 4), 0x4f);
    assert_int_equal(in(x, 5), 0xc2);
    out(x, 4, 0);
    out(x, 7, 0xb0);
    assert_int_equal(wait_ready(x) & ERR, ERR);
}

static void native_max_is_the_last_sector(void **state)
{
    struct env *x = *state;

    command28(x, 0xf8, 0, 0);
    assert_int_equal(wait_ready(x), 0x50);
    assert_int_equal(in(x, 3) | in(x, 4) << 8, DISK_SECTORS - 1);
}

static void state_survives_saving_within_a_pio_read(void **state)
{
    struct env *x = *state;
    struct state_out o = { 0 };
    struct err e = ERR_INIT;
    uint8_t buf[512];

    command28(x, 0x20, 11, 2);
    pio_in(x, buf, 256);
    assert_int_equal(dev_save_tree(x->ide, &o, &e), 0);
    srig_out(&x->r, CTL, 1, 4);
    srig_out(&x->r, CTL, 1, 0);
    command28(x, 0x20, 500, 1);
    pio_in(x, buf, 512);
    assert_int_equal(dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e), 0);
    pio_in(x, buf + 256, 256);
    assert_pattern(buf + 256, 11 * 512 + 256, 256);
    pio_in(x, buf, 512);
    assert_pattern(buf, 12 * 512, 512);
    assert_int_equal(alt_status(x), 0x50);
    state_out_free(&o);
}

static void saving_completes_what_is_in_flight(void **state)
{
    struct env *x = *state;
    struct state_out o = { 0 }, again = { 0 };
    struct err e = ERR_INIT;

    for (unsigned i = 0; i < 4; i++)
        set_prd(x, i, BUFFER + i * 0x10000, 0, i == 3);
    command48(x, 0x25, 0, 512);
    start_dma(x, true);
    assert_int_equal(dev_save_tree(x->ide, &o, &e), 0);
    assert_int_equal(alt_status(x), 0x50);
    assert_int_equal(dev_load_tree(vm_root(x->r.vm), o.data, o.bytes, &e), 0);
    assert_true(x->r.line[14]);
    assert_int_equal(dev_save_tree(x->ide, &again, &e), 0);
    assert_int_equal(o.bytes, again.bytes);
    assert_memory_equal(o.data, again.data, o.bytes);
    state_out_free(&o);
    state_out_free(&again);
}

static void random_register_traffic_is_survived(void **state)
{
    struct env *x = *state;
    uint32_t seed = 12345;

    for (unsigned i = 0; i < 200000; i++) {
        unsigned reg, bytes;

        seed = seed * 1664525u + 1013904223u;
        reg = seed >> 24 & 15;
        bytes = 1u << (seed >> 20 & 3) % 3;
        if (reg < 8)
            srig_out(&x->r, CMD + reg, bytes, seed >> 4);
        else if (reg == 8)
            srig_out(&x->r, CTL, 1, seed & 0x86);
        else if (reg < 12)
            srig_out(&x->r, BM + (seed >> 12 & 7), 1, seed & 0xff);
        else
            srig_in(&x->r, CMD + (seed >> 12 & 7), bytes);
        if (i % 5000 == 0) dev_reset_tree(x->ide);
        if (i % 501 == 0) assert_reloads(x);
        if (i % 16 == 0) srig_poll(&x->r);
    }
    srig_out(&x->r, CTL, 1, 4);
    srig_out(&x->r, CTL, 1, 0);
    assert_int_equal(alt_status(x), 0x50);
}

static void geometry_follows_the_partition_table(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    struct ide_geometry g;
    uint8_t mbr[512] = { 0 };
    char path[128];

    mbr[510] = 0x55;
    mbr[511] = 0xaa;
    mbr[446 + 5] = 7;  /* end head: 8 heads */
    mbr[446 + 6] = 32; /* end sector */
    mbr[446 + 12] = 100;
    srig_file(&x->r, mbr, sizeof(mbr), 64 << 20, path, sizeof(path));
    assert_int_equal(ide_attach(x->ide, 3,
                                srig_drive(&x->r, "hd3", path, false, false),
                                false, &e),
                     0);
    assert_true(ide_get_geometry(x->ide, 3, &g));
    assert_int_equal(g.heads, 8);
    assert_int_equal(g.sectors, 32);
    assert_int_equal(g.cylinders, (64 << 20) / 512 / 256);
    assert_int_equal(g.translation, IDE_TRANS_NONE);
    assert_false(ide_get_geometry(x->ide, 2, &g));
}

static void attaching_twice_or_readonly_is_refused(void **state)
{
    struct env *x = *state;
    struct err e = ERR_INIT;
    char path[128];
    struct drive *d = srig_drive(
        &x->r, "cd", srig_file(&x->r, NULL, 0, 4096, path, sizeof(path)), true,
        true);

    assert_int_equal(ide_attach(x->ide, 0, d, true, &e), -EBUSY);
    assert_int_equal(ide_attach(x->ide, 4, d, true, &e), -EINVAL);
    assert_int_equal(ide_attach(x->ide, 1, d, false, &e), -EROFS);
    assert_non_null(strstr(e.text, path));
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

    command28(x, 0x30, 40, 4);
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
        TEST(pci_function_is_a_piix3_ide_controller),
        TEST(reset_leaves_the_disk_signature),
        TEST(a_missing_slave_reads_zero_and_an_empty_channel_has_no_bsy),
        TEST(identify_tells_size_modes_and_sums_to_zero),
        TEST(a_disk_device_tells_what_the_user_said),
        TEST(pio_read_gives_an_interrupt_per_sector),
        TEST(count_zero_means_256_sectors),
        TEST(chs_and_lba_name_the_same_sectors),
        TEST(read_multiple_moves_blocks),
        TEST(pio_write_reaches_the_file),
        TEST(lba48_write_multiple_and_read_back),
        TEST(ranges_past_the_end_are_refused),
        TEST(a_host_error_is_a_data_error_at_its_sector),
        TEST(unknown_commands_abort),
        TEST(nien_keeps_the_line_low),
        TEST(dma_read_scatters_into_memory),
        TEST(dma_write_gathers_from_memory),
        TEST(dma_reads_of_cached_octets_end_at_once),
        TEST(a_large_dma_read_lets_others_run),
        TEST(a_large_dma_write_reaches_the_file),
        TEST(trim_frees_ranges_and_checks_them),
        TEST(the_machine_may_go_with_requests_in_flight),
        TEST(a_short_table_stops_without_interrupt),
        TEST(dma_outside_memory_is_an_error),
        TEST(reset_within_a_transfer_leaves_a_working_disk),
        TEST(diagnostic_selects_the_master_and_interrupts),
        TEST(features_modes_and_smart),
        TEST(native_max_is_the_last_sector),
        TEST(state_survives_saving_within_a_pio_read),
        TEST(saving_completes_what_is_in_flight),
        TEST(random_register_traffic_is_survived),
        TEST(geometry_follows_the_partition_table),
        TEST(attaching_twice_or_readonly_is_refused),
        TEST(changed_state_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
