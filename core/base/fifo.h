/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BASE_FIFO_H
#define ORRERY_BASE_FIFO_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Data port buffer that can not be passed: positions are checked at every
 * access.  buf is the device's array of cap octets.
 */
struct fifo {
    uint8_t *buf;
    uint32_t cap;
    uint32_t len; /* octets put */
    uint32_t pos; /* octets got */
};

static inline void fifo_reset(struct fifo *f)
{
    f->len = 0;
    f->pos = 0;
}

static inline bool fifo_put(struct fifo *f, uint8_t v)
{
    if (f->len >= f->cap) return false;
    f->buf[f->len++] = v;
    return true;
}

/* Next octet, or empty if there is none. */
static inline uint8_t fifo_get(struct fifo *f, uint8_t empty)
{
    if (f->pos >= f->len || f->pos >= f->cap) return empty;
    return f->buf[f->pos++];
}

static inline uint32_t fifo_left(const struct fifo *f)
{
    return f->len > f->pos ? f->len - f->pos : 0;
}

#endif
