/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/throttle.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/size.h"
#include "core/loop/loop.h"

/* ---------------------------------------------------------------- names */

enum { PARTS = 3, IOPS_SIZE = THROTTLE_KINDS * PARTS, FIELDS = IOPS_SIZE + 1 };

#define NAMES(j, o)                      \
    { j, o }, { j "_max", o "-max" },    \
    {                                    \
        j "_max_length", o "-max-length" \
    }

/* kind * 3 + part, iops_size last. */
static const struct {
    const char *json, *option;
} fields[FIELDS] = {
    NAMES("bps", "bps-total"),     NAMES("bps_rd", "bps-read"),
    NAMES("bps_wr", "bps-write"),  NAMES("iops", "iops-total"),
    NAMES("iops_rd", "iops-read"), NAMES("iops_wr", "iops-write"),
    { "iops_size", "iops-size" },
};
#undef NAMES

const char *throttle_field(struct throttle_limits *l, unsigned index,
                           enum throttle_part *part, uint64_t **value)
{
    struct throttle_limit *x;

    if (index >= FIELDS) return NULL;
    *part = (enum throttle_part)(index % PARTS);
    if (index == IOPS_SIZE) {
        *value = &l->iops_bytes;
        return fields[index].json;
    }
    x = &l->of[index / PARTS];
    *value = *part == THROTTLE_RATE   ? &x->per_s
             : *part == THROTTLE_PEAK ? &x->max
                                      : &x->burst_s;
    return fields[index].json;
}

const char *throttle_long_name(unsigned index)
{
    return index < FIELDS ? fields[index].option : NULL;
}

static int out_of_range(struct err *e)
{
    return err_set(e, -ERANGE, "bps/iops/max values must be within [0, %llu]",
                   (unsigned long long)THROTTLE_MAX_VALUE);
}

int throttle_set(struct throttle_limits *l, const char *key, const char *text,
                 struct err *e)
{
    static const char prefix[] = "throttling.";
    bool is_long = strncmp(key, prefix, sizeof(prefix) - 1) == 0;
    enum throttle_part part;
    uint64_t *value, v;
    int rc;

    for (unsigned i = 0; i < FIELDS; i++) {
        const char *name = is_long ? fields[i].option : fields[i].json;

        if (strcmp(is_long ? key + sizeof(prefix) - 1 : key, name) != 0)
            continue;
        if (text[0] == '-') return out_of_range(e);
        rc = uint_parse(text, &v);
        if (rc < 0)
            return err_set(e, -EINVAL, "Parameter '%s' expects a number", key);
        throttle_field(l, i, &part, &value);
        if (part == THROTTLE_LENGTH && i != IOPS_SIZE && v == 0)
            return err_set(e, -EINVAL, "the burst length cannot be 0");
        *value = v;
        return 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- rules */

bool throttle_is_on(const struct throttle_limits *l)
{
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (l->of[i].per_s > 0) return true;
    }
    return false;
}

/* Both a total and one of its parts. */
static bool is_double(const struct throttle_limits *l, unsigned total)
{
    const struct throttle_limit *t = &l->of[total];

    return (t->per_s && (t[1].per_s || t[2].per_s)) ||
           (t->max && (t[1].max || t[2].max));
}

static int check_one(const struct throttle_limit *x, struct err *e)
{
    uint64_t room =
        x->burst_s > 1 ? THROTTLE_MAX_VALUE / x->burst_s : THROTTLE_MAX_VALUE;

    if (x->per_s > THROTTLE_MAX_VALUE || x->max > THROTTLE_MAX_VALUE)
        return out_of_range(e);
    if (x->burst_s > 1 && x->max == 0)
        return err_set(e, -EINVAL, "burst length set without burst rate");
    if (x->max > room)
        return err_set(e, -EINVAL, "burst length too high for this burst rate");
    if (x->max > 0 && x->per_s == 0)
        return err_set(e, -EINVAL,
                       "bps_max/iops_max require corresponding bps/iops "
                       "values");
    if (x->max > 0 && x->max < x->per_s)
        return err_set(e, -EINVAL,
                       "bps_max/iops_max cannot be lower than bps/iops");
    return 0;
}

int throttle_check(const struct throttle_limits *l, struct err *e)
{
    int rc = 0;

    if (is_double(l, THROTTLE_BPS) || is_double(l, THROTTLE_IOPS))
        return err_set(e, -EINVAL,
                       "bps/iops/max total values and read/write values "
                       "cannot be used at the same time");
    if (l->iops_bytes > 0 && l->of[THROTTLE_IOPS].per_s == 0 &&
        l->of[THROTTLE_IOPS_READ].per_s == 0 &&
        l->of[THROTTLE_IOPS_WRITE].per_s == 0)
        return err_set(e, -EINVAL,
                       "iops size requires an iops value to be set");
    for (unsigned i = 0; i < THROTTLE_KINDS && rc == 0; i++)
        rc = check_one(&l->of[i], e);
    return rc;
}

/* -------------------------------------------------------------- buckets */

void throttle_init(struct throttle *t, const struct throttle_limits *l,
                   uint64_t now_ns)
{
    *t = (struct throttle){ .limits = *l, .leaked_ns = now_ns };
}

static double leak(double level, double rate, double seconds)
{
    level -= rate * seconds;
    return level > 0 ? level : 0;
}

static void leak_all(struct throttle *t, uint64_t now_ns)
{
    double s;

    if (now_ns <= t->leaked_ns) return;
    s = (double)(now_ns - t->leaked_ns) / 1e9;
    t->leaked_ns = now_ns;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        const struct throttle_limit *x = &t->limits.of[i];

        t->bucket[i].level = leak(t->bucket[i].level, (double)x->per_s, s);
        t->bucket[i].burst = leak(t->bucket[i].burst, (double)x->max, s);
    }
}

/* Seconds until level has leaked down to what the bucket holds. */
static double over(double level, double holds, double rate)
{
    return level > holds ? (level - holds) / rate : 0;
}

/* Without a burst a bucket holds a tenth of a second. */
static double bucket_wait(const struct throttle *t, unsigned i)
{
    const struct throttle_limit *x = &t->limits.of[i];
    double length = x->burst_s > 1 ? (double)x->burst_s : 1, wait, burst = 0;

    if (x->per_s == 0) return 0;
    if (x->max == 0)
        return over(t->bucket[i].level, (double)x->per_s / 10,
                    (double)x->per_s);
    wait = over(t->bucket[i].level, (double)x->max * length, (double)x->per_s);
    if (x->burst_s > 1)
        burst = over(t->bucket[i].burst, (double)x->max / 10, (double)x->max);
    return wait > burst ? wait : burst;
}

static const unsigned filled_by[2][4] = {
    { THROTTLE_BPS, THROTTLE_BPS_READ, THROTTLE_IOPS, THROTTLE_IOPS_READ },
    { THROTTLE_BPS, THROTTLE_BPS_WRITE, THROTTLE_IOPS, THROTTLE_IOPS_WRITE },
};

uint64_t throttle_wait_ns(struct throttle *t, bool is_write, uint64_t now_ns)
{
    double wait = 0;

    leak_all(t, now_ns);
    for (unsigned i = 0; i < 4; i++) {
        double w = bucket_wait(t, filled_by[is_write][i]);

        if (w > wait) wait = w;
    }
    if (wait <= 0) return 0;
    if (wait > 1e9) wait = 1e9; /* 30 years */
    return (uint64_t)(wait * 1e9) + 1;
}

void throttle_account(struct throttle *t, bool is_write, uint64_t bytes)
{
    double units = 1;

    if (t->limits.iops_bytes > 0 && bytes > t->limits.iops_bytes)
        units = (double)bytes / (double)t->limits.iops_bytes;
    for (unsigned i = 0; i < 4; i++) {
        unsigned b = filled_by[is_write][i];
        double add = b < THROTTLE_IOPS ? (double)bytes : units;

        t->bucket[b].level += add;
        t->bucket[b].burst += add;
    }
}

/* --------------------------------------------------------------- groups */

struct throttle_group {
    pthread_mutex_t lock; /* t */
    struct throttle t;
    unsigned refs;
    bool is_object;
    char *name;
    struct throttle_group *next;
};

struct throttle_group *throttle_group_find(struct throttle_groups *all,
                                           const char *name)
{
    struct throttle_group *g = all->first;

    while (g != NULL && strcmp(g->name, name) != 0)
        g = g->next;
    return g;
}

struct throttle_group *throttle_group_get(struct throttle_groups *all,
                                          const char *name)
{
    struct throttle_group *g = throttle_group_find(all, name);

    if (g != NULL) {
        g->refs++;
        return g;
    }
    g = calloc(1, sizeof(*g));
    if (g == NULL || (g->name = strdup(name)) == NULL) {
        free(g);
        return NULL;
    }
    pthread_mutex_init(&g->lock, NULL);
    g->refs = 1;
    g->next = all->first;
    all->first = g;
    return g;
}

void throttle_group_put(struct throttle_groups *all, struct throttle_group *g)
{
    struct throttle_group **at = &all->first;

    if (g == NULL || --g->refs > 0) return;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    pthread_mutex_destroy(&g->lock);
    free(g->name);
    free(g);
}

void throttle_groups_clear(struct throttle_groups *all)
{
    while (all->first != NULL) {
        all->first->refs = 1;
        throttle_group_put(all, all->first);
    }
}

const char *throttle_group_name(const struct throttle_group *g)
{
    return g->name;
}

unsigned throttle_group_refs(const struct throttle_group *g)
{
    return g->refs;
}

bool throttle_group_is_object(const struct throttle_group *g)
{
    return g != NULL && g->is_object;
}

void throttle_group_make_object(struct throttle_group *g, bool is_object)
{
    g->is_object = is_object;
}

void throttle_group_set(struct throttle_group *g,
                        const struct throttle_limits *l)
{
    pthread_mutex_lock(&g->lock);
    throttle_init(&g->t, l, loop_now_ns());
    pthread_mutex_unlock(&g->lock);
}

void throttle_group_limits(struct throttle_group *g,
                           struct throttle_limits *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->t.limits;
    pthread_mutex_unlock(&g->lock);
}

uint64_t throttle_group_ask(struct throttle_group *g, bool is_write,
                            uint64_t bytes)
{
    uint64_t wait;

    pthread_mutex_lock(&g->lock);
    wait = throttle_wait_ns(&g->t, is_write, loop_now_ns());
    if (wait == 0) throttle_account(&g->t, is_write, bytes);
    pthread_mutex_unlock(&g->lock);
    return wait;
}

void throttle_group_force(struct throttle_group *g, bool is_write,
                          uint64_t bytes)
{
    pthread_mutex_lock(&g->lock);
    throttle_account(&g->t, is_write, bytes);
    pthread_mutex_unlock(&g->lock);
}
