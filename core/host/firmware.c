/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/host/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where distributions keep firmware for virtual machines. */
static const char *const dirs[] = {
    "/usr/share/seabios",    "/usr/share/qemu",      "/usr/share/vgabios",
    "/usr/lib/ipxe/qemu",    "/usr/share/ipxe/qemu", "/usr/share/ipxe",
    "/usr/share/OVMF",       "/usr/share/ovmf",      "/usr/share/qemu-firmware",
    "/usr/local/share/qemu",
};

/* Debian package by how the name begins. */
static const struct {
    const char *prefix, *package;
} packages[] = {
    { "bios", "seabios" },   { "vgabios", "seabios" }, { "efi-", "ipxe-qemu" },
    { "pxe-", "ipxe-qemu" }, { "OVMF", "ovmf" },
};

static bool is_readable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           access(path, R_OK) == 0;
}

/* " (it comes with ...)" for a name that comes from one, else "". */
static const char *advice(const char *name, char *buf, size_t cap)
{
    buf[0] = '\0';
    for (unsigned i = 0; i < sizeof(packages) / sizeof(packages[0]); i++) {
        const char *p = packages[i].prefix;

        if (strncmp(name, p, strlen(p)) == 0) {
            snprintf(buf, cap, " (it comes with the package %s)",
                     packages[i].package);
        }
    }
    return buf;
}

int firmware_find(const char *data_dir, const char *name, char *path,
                  size_t cap, struct err *e)
{
    char hint[80];

    if (strchr(name, '/') != NULL) {
        snprintf(path, cap, "%s", name);
        if (is_readable(path)) return 0;
        return err_set(e, -ENOENT, "firmware file %s can not be read", name);
    }
    if (data_dir != NULL) {
        snprintf(path, cap, "%s/%s", data_dir, name);
        if (is_readable(path)) return 0;
        return err_set(e, -ENOENT, "no firmware file %s in %s%s", name,
                       data_dir, advice(name, hint, sizeof(hint)));
    }
    for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        snprintf(path, cap, "%s/%s", dirs[i], name);
        if (is_readable(path)) return 0;
    }
    return err_set(e, -ENOENT, "firmware file %s not found%s", name,
                   advice(name, hint, sizeof(hint)));
}

static int read_open_file(int fd, const char *path, size_t max_bytes,
                          uint8_t **out, size_t *bytes, struct err *e)
{
    struct stat st;
    uint8_t *data;
    size_t done = 0, size;

    if (fstat(fd, &st) < 0) {
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, -EINVAL, "%s is not a regular file", path);
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max_bytes) {
        return err_set(e, -EFBIG, "%s has %lld bytes, more than %zu", path,
                       (long long)st.st_size, max_bytes);
    }
    size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (data == NULL) {
        return err_set(e, -ENOMEM, "%s: out of memory", path);
    }
    while (done < size) {
        ssize_t n = read(fd, data + done, size - done);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            int rc = n < 0 ? -errno : -EIO;

            free(data);
            return err_set(e, rc, "%s: %s", path, strerror(-rc));
        }
        done += (size_t)n;
    }
    *out = data;
    *bytes = size;
    return 0;
}

int file_read_all(const char *path, size_t max_bytes, uint8_t **out,
                  size_t *bytes, struct err *e)
{
    /* O_NONBLOCK: a FIFO must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

    if (fd < 0) return err_set(e, -errno, "%s: %s", path, strerror(errno));
    rc = read_open_file(fd, path, max_bytes, out, bytes, e);
    close(fd);
    return rc;
}
