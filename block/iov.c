/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter lists. */
#include "block/block_int.h"

#include <errno.h>
#include <string.h>

int64_t iov_bytes(const struct iovec *iov, int iovcnt)
{
    int64_t sum = 0;

    if (iovcnt < 0 || iovcnt > BLOCK_MAX_IOV) return -EINVAL;
    for (int i = 0; i < iovcnt; i++) {
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum)) return -EINVAL;
    }
    return sum;
}

int iov_slice(const struct iovec *iov, int iovcnt, size_t skip, size_t bytes,
              struct iovec *out)
{
    int n = 0;

    for (int i = 0; i < iovcnt && bytes > 0; i++) {
        size_t part = iov[i].iov_len;

        if (skip >= part) {
            skip -= part;
            continue;
        }
        part -= skip;
        if (part > bytes) part = bytes;
        out[n].iov_base = (uint8_t *)iov[i].iov_base + skip;
        out[n].iov_len = part;
        n++;
        skip = 0;
        bytes -= part;
    }
    return n;
}

void iov_zero(const struct iovec *iov, int iovcnt)
{
    for (int i = 0; i < iovcnt; i++) {
        if (iov[i].iov_len > 0) memset(iov[i].iov_base, 0, iov[i].iov_len);
    }
}

void iov_to_buf(const struct iovec *iov, int iovcnt, size_t skip, void *buf,
                size_t bytes)
{
    uint8_t *at = buf;

    for (int i = 0; i < iovcnt && bytes > 0; i++) {
        size_t here = iov[i].iov_len;

        if (skip >= here) {
            skip -= here;
            continue;
        }
        here -= skip;
        if (here > bytes) here = bytes;
        memcpy(at, (const uint8_t *)iov[i].iov_base + skip, here);
        at += here;
        bytes -= here;
        skip = 0;
    }
}

void iov_from_buf(const struct iovec *iov, int iovcnt, size_t skip,
                  const void *buf, size_t bytes)
{
    const uint8_t *at = buf;

    for (int i = 0; i < iovcnt && bytes > 0; i++) {
        size_t here = iov[i].iov_len;

        if (skip >= here) {
            skip -= here;
            continue;
        }
        here -= skip;
        if (here > bytes) here = bytes;
        memcpy((uint8_t *)iov[i].iov_base + skip, at, here);
        at += here;
        bytes -= here;
        skip = 0;
    }
}

bool buf_is_zero(const void *buf, size_t bytes)
{
    const uint8_t *p = buf;

    /* An octet that is zero, and each one equal to the one before it. */
    return bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0);
}
