/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library in front of libc: SHIM="call:n:path" makes the nth call on that
 * file, and all later ones, fail with EIO.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls;

static int fails(const char *call, int fd)
{
    const char *rule = getenv("SHIM");
    char link[64], path[4096];
    size_t len = strlen(call);
    char *rest;
    long nth;
    ssize_t n;

    if (rule == NULL || strncmp(rule, call, len) != 0 || rule[len] != ':')
        return 0;
    nth = strtol(rule + len + 1, &rest, 10);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0) return 0;
    path[n] = '\0';
    if (strcmp(path, rest + 1) != 0) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 < nth) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    return fails("pwritev", fd) ? -1 : NEXT(pwritev)(fd, iov, count, at);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t at)
{
    return fails("preadv", fd) ? -1 : NEXT(preadv)(fd, iov, count, at);
}

int fdatasync(int fd)
{
    return fails("fdatasync", fd) ? -1 : NEXT(fdatasync)(fd);
}
