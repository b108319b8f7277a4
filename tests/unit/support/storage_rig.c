/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/storage_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/pci.h"

void srig_open(struct srig *r)
{
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    r->cfg.ram_bytes = SRIG_RAM_BYTES;
    r->cfg.cpus = 1;
    strcpy(r->dir, "/tmp/orrery-storage-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(loop_create(&r->loop, &e), 0);
    assert_int_equal(vm_create(&r->cfg, r->loop, &r->vm, &e), 0);
    assert_int_equal(drive_table_create(r->loop, &r->drives), 0);
    vm_lock(r->vm);
    vm_set_service(r->vm, "drives", r->drives);
    assert_int_equal(mem_init_ram(&r->ram, "ram", SRIG_RAM_BYTES, &e), 0);
    mem_add_locked(r->vm, mem_root(r->vm), 0, &r->ram, 0);
    assert_int_equal(dev_add(r->vm, NULL, &pci_bus_class, NULL, NULL, &e), 0);
}

void srig_close(struct srig *r)
{
    char path[128];

    mem_del_locked(r->vm, &r->ram);
    vm_unlock(r->vm);
    vm_destroy(r->vm);
    drive_table_destroy(r->drives);
    mem_free(&r->ram);
    while (r->files > 0) {
        snprintf(path, sizeof(path), "%s/%u", r->dir, --r->files);
        unlink(path);
    }
    rmdir(r->dir);
    loop_step(r->loop, 0); /* what was posted last */
    loop_destroy(r->loop);
}

static void line_set(void *arg, unsigned n, bool level)
{
    struct srig *r = arg;

    if (level && !r->line[n]) r->rises[n]++;
    r->line[n] = level;
}

struct irq_line srig_line(struct srig *r, unsigned n)
{
    return (struct irq_line){ .set = line_set, .arg = r, .n = n };
}

const char *srig_file(struct srig *r, const void *data, size_t bytes,
                      uint64_t size, char *path, size_t cap)
{
    int fd;

    snprintf(path, cap, "%s/%u", r->dir, r->files++);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    if (bytes > 0) assert_int_equal(write(fd, data, bytes), (ssize_t)bytes);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
    return path;
}

struct drive *srig_drive(struct srig *r, const char *id, const char *file,
                         bool is_removable, bool is_cdrom)
{
    const struct blk_options o = { .format = "raw", .is_readonly = is_cdrom };
    struct err e = ERR_INIT;
    struct drive *d = NULL;
    struct blk *b = NULL;

    if (file != NULL) assert_int_equal(blk_open(r->loop, file, &o, &b, &e), 0);
    assert_int_equal(
        drive_add(r->drives, id, is_removable, is_cdrom, b, &d, &e), 0);
    return d;
}

uint8_t srig_pattern(uint64_t at)
{
    return (uint8_t)(at ^ at >> 9 ^ at >> 17 ^ 0x5a);
}

void srig_fill(uint8_t *buf, uint64_t at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf[i] = srig_pattern(at + i);
}

uint32_t srig_in(struct srig *r, unsigned port, unsigned bytes)
{
    return port_read_locked(r->vm, port, bytes);
}

void srig_out(struct srig *r, unsigned port, unsigned bytes, uint32_t v)
{
    port_write_locked(r->vm, port, bytes, v);
}

static void step(struct srig *r, int timeout_ms)
{
    vm_unlock(r->vm);
    loop_step(r->loop, timeout_ms);
    vm_lock(r->vm);
}

void srig_wait(struct srig *r, bool (*test)(void *arg), void *arg)
{
    uint64_t end = loop_now_ns() + 10000000000u;

    while (!test(arg)) {
        assert_true(loop_now_ns() < end);
        step(r, 100);
    }
}

void srig_poll(struct srig *r)
{
    step(r, 0);
}

void srig_settle(struct srig *r)
{
    for (unsigned i = 0; i < 20; i++)
        step(r, 1);
}
