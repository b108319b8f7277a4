/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_BLOCK_THROTTLE_H
#define ORRERY_BLOCK_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Limits on octets and operations a second, with QEMU's names and rules (its
 * documentation, "The QEMU throttling infrastructure").  Each limit is a
 * bucket that leaks at the allowed rate; a request goes when no bucket it
 * fills is full.  Time is given in, so this can be tested without waiting.
 */
enum throttle_kind {
    THROTTLE_BPS,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_KINDS,
};
#define THROTTLE_MAX_VALUE UINT64_C(1000000000000000)
enum { THROTTLE_GROUP_NAME = 64 };

struct throttle_limit {
    uint64_t per_s;   /* 0: no limit */
    uint64_t max;     /* rate while a burst lasts; 0: no burst */
    uint64_t burst_s; /* how long, 0 or 1: a second */
};

struct throttle_limits {
    struct throttle_limit of[THROTTLE_KINDS];
    uint64_t iops_bytes; /* iops_size: octets that count as one operation */
};

bool throttle_is_on(const struct throttle_limits *l);
/* Rules about combinations; QEMU's texts. */
int throttle_check(const struct throttle_limits *l, struct err *e);

/*
 * Names of the fields.  index runs from 0 until NULL comes back: as query-block
 * has them ("bps_rd_max_length"); *value is where it is kept.
 */
enum throttle_part { THROTTLE_RATE, THROTTLE_PEAK, THROTTLE_LENGTH };
const char *throttle_field(struct throttle_limits *l, unsigned index,
                           enum throttle_part *part, uint64_t **value);
/* The name -drive has for it, "bps-read-max-length". */
const char *throttle_long_name(unsigned index);
/* By name: "bps_rd" or "throttling.bps-read"; text is a number.  1 taken, 0 no
 * such name, or an error. */
int throttle_set(struct throttle_limits *l, const char *key, const char *text,
                 struct err *e);

struct throttle {
    struct throttle_limits limits;
    struct {
        double level, burst;
    } bucket[THROTTLE_KINDS];
    uint64_t leaked_ns;
};
void throttle_init(struct throttle *t, const struct throttle_limits *l,
                   uint64_t now_ns);
/* How long until the next read or write may go; 0: now. */
uint64_t throttle_wait_ns(struct throttle *t, bool is_write, uint64_t now_ns);
/* One goes. */
void throttle_account(struct throttle *t, bool is_write, uint64_t bytes);

/*
 * Groups share one set of buckets.  Any thread, but for the functions that
 * take a list: loop thread.
 */
struct throttle_group;
struct throttle_groups { /* those of a machine, by name */
    struct throttle_group *first;
};
/* A reference to the group of that name, made (without limits) if need be. */
struct throttle_group *throttle_group_get(struct throttle_groups *all,
                                          const char *name);
struct throttle_group *throttle_group_find(struct throttle_groups *all,
                                           const char *name);
void throttle_group_put(struct throttle_groups *all, struct throttle_group *g);
void throttle_groups_clear(struct throttle_groups *all); /* nobody uses one */
const char *throttle_group_name(const struct throttle_group *g);
unsigned throttle_group_refs(const struct throttle_group *g);
/* Made by -object: the reference of that is the user's.  NULL: no. */
bool throttle_group_is_object(const struct throttle_group *g);
void throttle_group_make_object(struct throttle_group *g, bool is_object);
void throttle_group_set(struct throttle_group *g,
                        const struct throttle_limits *l);
void throttle_group_limits(struct throttle_group *g,
                           struct throttle_limits *out);
/* 0: it goes, and was accounted; else nanoseconds to wait. */
uint64_t throttle_group_ask(struct throttle_group *g, bool is_write,
                            uint64_t bytes);
/* It goes whatever the limits say. */
void throttle_group_force(struct throttle_group *g, bool is_write,
                          uint64_t bytes);

#endif
