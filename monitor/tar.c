/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/tar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct head {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
    char type, link[100], magic[6], version[2], user[32], group[32];
    char device[16], prefix[155], rest[12];
};
_Static_assert(sizeof(struct head) == TAR_BLOCK, "a head is one block");

static const uint8_t zeros[2 * TAR_BLOCK];

static int write_all(int fd, const void *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        data = (const char *)data + n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* With the field of the sum itself taken as blanks. */
static unsigned sum_of(const struct head *h)
{
    const uint8_t *p = (const uint8_t *)h;
    unsigned sum = 8 * ' ';

    for (size_t i = 0; i < sizeof(*h); i++) {
        if (p + i < (const uint8_t *)h->sum ||
            p + i >= (const uint8_t *)h->sum + sizeof(h->sum))
            sum += p[i];
    }
    return sum;
}

static void put_size(struct head *h, uint64_t bytes)
{
    if (bytes < 1ull << 33) {
        snprintf(h->size, sizeof(h->size), "%011llo",
                 (unsigned long long)bytes);
        return;
    }
    h->size[0] = (char)0x80;
    for (unsigned i = 0; i < 8; i++)
        h->size[11 - i] = (char)(bytes >> (8 * i));
}

int tar_put_head(int fd, const char *name, uint64_t bytes, int64_t mtime_s)
{
    struct head h = { .type = '0' };

    if (strlen(name) > sizeof(h.name)) return -ENAMETOOLONG;
    memcpy(h.name, name, strlen(name));
    memcpy(h.mode, "0000600", 8);
    memcpy(h.uid, "0000000", 8);
    memcpy(h.gid, "0000000", 8);
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    put_size(&h, bytes);
    snprintf(h.mtime, sizeof(h.mtime), "%011llo",
             (unsigned long long)mtime_s & 077777777777ull);
    snprintf(h.sum, sizeof(h.sum), "%06o", sum_of(&h));
    h.sum[7] = ' ';
    return write_all(fd, &h, sizeof(h));
}

int tar_pad(int fd, uint64_t bytes)
{
    return write_all(fd, zeros, -bytes % TAR_BLOCK);
}

int tar_put_end(int fd)
{
    return write_all(fd, zeros, sizeof(zeros));
}

static bool get_octal(const char *text, size_t cap, uint64_t *out)
{
    size_t i = 0;

    *out = 0;
    for (; i < cap && text[i] >= '0' && text[i] <= '7'; i++)
        *out = *out << 3 | (uint64_t)(text[i] - '0');
    return i > 0 && (i == cap || text[i] == '\0' || text[i] == ' ');
}

static bool get_size(const struct head *h, uint64_t *out)
{
    if (h->size[0] != (char)0x80)
        return get_octal(h->size, sizeof(h->size), out);
    *out = 0;
    for (unsigned i = 4; i < 12; i++)
        *out = *out << 8 | (uint8_t)h->size[i];
    return *out <= INT64_MAX / 2;
}

int tar_next(int fd, struct tar_member *m, struct err *e)
{
    off_t at = m->at + (off_t)((m->bytes + TAR_BLOCK - 1) & -TAR_BLOCK);
    off_t end = lseek(fd, 0, SEEK_END);
    struct head h;
    uint64_t sum;
    ssize_t n = pread(fd, &h, sizeof(h), at);

    if (n < 0) return err_set(e, -errno, "%s", strerror(errno));
    if (n != sizeof(h)) return err_set(e, -ENODATA, "the archive is cut short");
    if (memcmp(&h, zeros, sizeof(h)) == 0) return 0;
    if (!get_octal(h.sum, sizeof(h.sum), &sum) || sum != sum_of(&h) ||
        memcmp(h.magic, "ustar", 5) != 0 || !get_size(&h, &m->bytes) ||
        (h.type != '0' && h.type != '\0') || h.prefix[0] != '\0')
        return err_set(e, -EINVAL,
                       "this is no machine as orrery exports it, or damaged");
    memcpy(m->name, h.name, sizeof(h.name));
    m->name[sizeof(h.name)] = '\0';
    m->at = at + TAR_BLOCK;
    if (end < m->at || m->bytes > (uint64_t)(end - m->at))
        return err_set(e, -ENODATA, "the archive is cut short");
    return 1;
}
