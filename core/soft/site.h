/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_SOFT_SITE_H
#define ORRERY_SOFT_SITE_H

#include <stdint.h>

/*
 * Range caches of places in user-mode code that is hot (host_address.c): where
 * an access there went last, one set for loads, one for stores.  A range is a
 * page, or several side by side whose memory is side by side for the host,
 * too; it says what the table said, and is emptied when that loses anything by
 * other means than replacement.
 *
 * An access of n bytes at lin is in the range when lin - base < limit, where
 * limit is counted for the most bytes places of this number may have: a
 * place's number is chosen by class.  limit 0: empty.
 */
enum {
    SITES = 512,
    SITE_CLASSES = 13,
    SITE_MISSES = 512,
    SITE_BYTES_MAX = 4096
};

struct site_set {
    uint64_t base[SITES];
    uint64_t limit[SITES];
    uint64_t host[SITES];
    int32_t misses[SITES]; /* left until a place is reconsidered */
};

/* What a group that spans two pages leads to. */
enum group_kind {
    GROUP_NONE,
    GROUP_PLAIN,
    GROUP_TABLE, /* look-ups: checked one by one from then on */
    GROUP_FRAME, /* after a few times it is split there */
};

/* Behind a call to soft_slow. */
struct slow_site {
    uint64_t rip;
    uint16_t bytes;
    uint8_t is_write;
    uint8_t has_saved_flags; /* guest flags are in saved_flags */
    uint8_t is_stack;        /* through engine.stack: its space, plus one */
    uint8_t is_group;        /* enum group_kind of several accesses: all or
                              * nothing; when it fails, the code 5 bytes later
                              * goes on */
    uint16_t swaps;          /* see soft_unswap */
    uint32_t block;          /* its number */
    uint16_t place;          /* in engine.sites, plus one; 0: none */
    int16_t first;         /* is_group: from rip to the first of the accesses */
    int16_t from;          /* and from that's place to the start of the range */
} __attribute__((packed)); /* it lies between instructions */

struct engine;

/* A new place's number for accesses of so many bytes; round robin in next[]. */
unsigned site_choose(uint16_t next[SITE_CLASSES], unsigned bytes);
void site_init(struct engine *eng);
void site_clear_all(struct engine *eng);
/* The place has missed: host address for lin, the range set, if the table has
 * it; or 0. */
uint64_t site_fill(struct engine *eng, uint64_t lin,
                   const struct slow_site *at);

#endif
