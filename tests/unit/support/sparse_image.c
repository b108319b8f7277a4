/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/support/sparse_image.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/map.h"

const char *const sparse_formats[] = { "raw", "qcow2", "vmdk", "vdi", "vhdx",
                                       "vpc", "qcow",  "luks", NULL };
enum { FORMATS = 8 };

uint8_t sparse_disk_octet(uint64_t at)
{
    static const uint64_t runs[] = { 0, 66048, 307200,
                                     SPARSE_DISK_BYTES - 256 };

    for (unsigned i = 0; i < 4; i++) {
        if (at >= runs[i] && at < runs[i] + 256)
            return (uint8_t)((at * 7 ^ at >> 9) | 1);
    }
    return 0;
}

int sparse_image_open(const uint8_t *data, size_t bytes, char path[64],
                      const char **format)
{
    uint64_t size;
    size_t at = 4;
    int fd;

    if (bytes < 4) return -1;
    *format = sparse_formats[data[0] % FORMATS];
    size = (uint64_t)(get_le32(data) >> 8) * 512 % (SPARSE_MAX_BYTES + 512);
    fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0) return -1;
    if (ftruncate(fd, (off_t)size) < 0) size = 0;
    while (bytes - at >= 6) {
        uint64_t where = get_le32(data + at);
        size_t part = get_le16(data + at + 4);

        at += 6;
        if (part > bytes - at) part = bytes - at;
        if (where <= size && part <= size - where &&
            pwrite(fd, data + at, part, (off_t)where) < 0)
            break;
        at += part;
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static uint32_t crc32c(const uint8_t *p, size_t bytes)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void fix_vhdx(int fd, off_t at, size_t bytes)
{
    static uint8_t none[65536];
    uint8_t p[65536];
    uint32_t crc;

    if (pread(fd, p, bytes, at) != (ssize_t)bytes ||
        memcmp(p, none, bytes) == 0)
        return;
    memset(p + 4, 0, 4);
    crc = crc32c(p, bytes);
    if (pwrite(fd, &crc, 4, at + 4) != 4) return;
}

static void fix_vhd(int fd, off_t at, size_t bytes, size_t field)
{
    uint8_t p[1024], sum_be[4];
    uint32_t sum = 0;

    if (pread(fd, p, bytes, at) != (ssize_t)bytes) return;
    memset(p + field, 0, 4);
    for (size_t i = 0; i < bytes; i++)
        sum += p[i];
    sum = ~sum;
    for (int i = 0; i < 4; i++)
        sum_be[i] = (uint8_t)(sum >> (24 - 8 * i));
    if (pwrite(fd, sum_be, 4, at + (off_t)field) != 4) return;
}

void sparse_image_fix(int fd, const char *format)
{
    if (strcmp(format, "vhdx") == 0) {
        fix_vhdx(fd, 64 << 10, 4096);
        fix_vhdx(fd, 128 << 10, 4096);
        fix_vhdx(fd, 192 << 10, 65536);
        fix_vhdx(fd, 256 << 10, 65536);
    } else if (strcmp(format, "vpc") == 0) {
        fix_vhd(fd, 0, 512, 64);
        fix_vhd(fd, 512, 1024, 36);
    }
}
