/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * High precision event timer at 0xfed00000: a 64-bit counter of 100 MHz and
 * three comparators, all able to be periodic.
 *
 * Document: IA-PC HPET specification 1.0a.  The counter is computed from guest
 * time.  A comparator value that lies a little in the past when it is written
 * matches at once instead of after a wrap: an emulated guest needs longer
 * from reading the counter to writing the comparator than hardware allows.
 */
#include <errno.h>

#include "core/vm/clock.h"
#include "core/vm/mem.h"
#include "core/vm/vm.h"
#include "hw/chips/chips.h"

#define HPET_BASE    UINT64_C(0xfed00000)
#define HPET_BYTES   0x400u
#define HPET_TICK_NS 10u
#define HPET_TICK_FS UINT64_C(10000000)

/* Specification table 2 */
enum {
    HPET_CAP = 0x000,
    HPET_CONFIG = 0x010,
    HPET_STATUS = 0x020,
    HPET_COUNTER = 0x0f0,
    HPET_TIMER = 0x100,
    HPET_TIMER_STEP = 0x20,
    HPET_TIMERS = 3,
    HPET_GSIS = 24
};

/* 2.3.4: vendor 0x8086, legacy capable, 64 bits, three timers, revision 1 */
#define CAP_VALUE                                                     \
    (HPET_TICK_FS << 32 | UINT64_C(0x8086) << 16 | UINT64_C(0xa000) | \
     (HPET_TIMERS - 1) << 8 | 1)
#define CONFIG_ENABLE UINT64_C(1)
#define CONFIG_LEGACY UINT64_C(2)

/* 2.3.8, timer n configuration and capability */
#define TN_LEVEL     UINT64_C(0x0002)
#define TN_ENABLE    UINT64_C(0x0004)
#define TN_PERIODIC  UINT64_C(0x0008)
#define TN_CAP       UINT64_C(0x0030) /* periodic and 64 bits possible */
#define TN_VAL_SET   UINT64_C(0x0040)
#define TN_32BIT     UINT64_C(0x0100)
#define TN_ROUTE(v)  ((v) >> 9 & 31)
#define TN_WRITABLE  UINT64_C(0x3f4e)
#define TN_ROUTE_CAP UINT64_C(0x00ff0000) /* I/O APIC pins 16..23 */

/* A comparator written this late still matches: one second. */
#define HPET_GRACE_TICKS   UINT64_C(100000000)
#define HPET_MIN_PERIOD_NS 50000u
#define HPET_MAX_LATE_NS   20000000u
#define HPET_FAR_TICKS     (UINT64_C(1) << 56)

struct hpet;

struct hpet_timer {
    uint64_t config, comparator, period;
    bool is_fresh; /* written and not matched since */
    /* not saved */
    struct hpet *h;
    unsigned n;
    struct timer timer;
};

struct hpet {
    uint64_t config, status;
    uint64_t counter; /* at start_ns, or where it is halted */
    uint64_t start_ns;
    bool pit_level, rtc_level; /* what PIT and RTC drive */
    struct hpet_timer timer[HPET_TIMERS];
    struct dev *d;
    struct mem_region mmio;
    struct irq_line irq0, irq8, gsi[HPET_GSIS];
};

static bool hpet_is_legacy(const struct hpet *h)
{
    return (h->config & CONFIG_LEGACY) != 0;
}

static uint64_t hpet_count(const struct hpet *h)
{
    uint64_t now_ns = clock_now_ns(h->d->vm);

    if ((h->config & CONFIG_ENABLE) == 0 || now_ns < h->start_ns)
        return h->counter;
    return h->counter + (now_ns - h->start_ns) / HPET_TICK_NS;
}

static uint64_t hpet_mask(const struct hpet_timer *t)
{
    return (t->config & TN_32BIT) != 0 ? UINT32_MAX : UINT64_MAX;
}

static const struct irq_line *hpet_line(struct hpet *h,
                                        const struct hpet_timer *t)
{
    uint64_t route = TN_ROUTE(t->config);

    if (hpet_is_legacy(h) && t->n == 0) return &h->irq0;
    if (hpet_is_legacy(h) && t->n == 1) return &h->irq8;
    if (route >= HPET_GSIS || (TN_ROUTE_CAP >> route & 1) == 0) return NULL;
    return &h->gsi[route];
}

/* Drive the line of a level timer; an edge timer's goes down when it is
 * switched off. */
static void hpet_update_line(struct hpet *h, struct hpet_timer *t)
{
    const struct irq_line *line = hpet_line(h, t);
    bool is_on = (t->config & TN_ENABLE) != 0;

    if (line == NULL) return;
    if ((t->config & TN_LEVEL) != 0) {
        irq_set(line, is_on && (h->status >> t->n & 1) != 0);
    } else if (!is_on) {
        irq_set(line, false);
    }
}

static void hpet_interrupt(struct hpet *h, struct hpet_timer *t)
{
    const struct irq_line *line = hpet_line(h, t);

    if ((t->config & TN_LEVEL) != 0) h->status |= UINT64_C(1) << t->n;
    if ((t->config & TN_ENABLE) == 0 || line == NULL) return;
    if ((t->config & TN_LEVEL) == 0) irq_set(line, false);
    irq_set(line, true);
}

/* A periodic comparator that the counter has passed moves on. */
static void hpet_advance(struct hpet_timer *t, uint64_t count)
{
    uint64_t mask = hpet_mask(t), past = (count - t->comparator) & mask;

    if ((t->config & TN_PERIODIC) == 0 || (t->period & mask) == 0) return;
    if (past > mask / 2) return; /* still ahead */
    t->comparator += (past / (t->period & mask) + 1) * (t->period & mask);
    t->comparator &= mask;
}

static void hpet_arm(struct hpet_timer *t)
{
    struct hpet *h = t->h;
    uint64_t mask = hpet_mask(t), count = hpet_count(h), wait;

    timer_disarm_locked(&t->timer);
    if (!t->is_fresh) hpet_advance(t, count);
    wait = (t->comparator - count) & mask;
    if ((h->config & CONFIG_ENABLE) == 0) return;
    /* Nobody would notice a match. */
    if ((t->config & (TN_ENABLE | TN_LEVEL)) == 0) return;
    if (t->is_fresh && ((count - t->comparator) & mask) < HPET_GRACE_TICKS)
        wait = 0;
    if (wait > HPET_FAR_TICKS) return;
    if (wait == 0 && !t->is_fresh) wait = mask;
    if (wait > HPET_FAR_TICKS) return;
    timer_arm_locked(&t->timer, clock_now_ns(h->d->vm) + wait * HPET_TICK_NS);
}

static void hpet_due(void *arg)
{
    struct hpet_timer *t = arg;
    struct hpet *h = t->h;
    uint64_t now_ns = clock_now_ns(h->d->vm), count = hpet_count(h);
    uint64_t mask = hpet_mask(t), late, period = t->period & mask, next_ns;

    t->is_fresh = false;
    hpet_interrupt(h, t);
    if ((t->config & TN_PERIODIC) == 0 || period == 0) {
        hpet_arm(t); /* after a wrap */
        return;
    }
    late = (count - t->comparator) & mask;
    if (late > HPET_MAX_LATE_NS / HPET_TICK_NS) {
        hpet_advance(t, count);
    } else { /* one step: what was missed follows at once */
        t->comparator = (t->comparator + period) & mask;
    }
    t->is_fresh = true;
    late = (count - t->comparator) & mask;
    next_ns = late <= mask / 2
                  ? now_ns
                  : now_ns + ((t->comparator - count) & mask) * HPET_TICK_NS;
    if (period * HPET_TICK_NS < HPET_MIN_PERIOD_NS &&
        next_ns < now_ns + HPET_MIN_PERIOD_NS) {
        next_ns = now_ns + HPET_MIN_PERIOD_NS;
    }
    timer_arm_locked(&t->timer, next_ns);
}

static void hpet_arm_all(struct hpet *h)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        hpet_arm(&h->timer[i]);
    }
}

static void hpet_set_config(struct hpet *h, uint64_t v)
{
    uint64_t count = hpet_count(h);
    bool was_legacy = hpet_is_legacy(h);

    h->counter = count;
    h->start_ns = clock_now_ns(h->d->vm);
    h->config = v & (CONFIG_ENABLE | CONFIG_LEGACY);
    if (was_legacy != hpet_is_legacy(h)) {
        /* The lines change hands between PIT and RTC and the timers. */
        irq_set(&h->irq0, !hpet_is_legacy(h) && h->pit_level);
        irq_set(&h->irq8, !hpet_is_legacy(h) && h->rtc_level);
    }
    hpet_arm_all(h);
}

static void hpet_set_timer_config(struct hpet *h, struct hpet_timer *t,
                                  uint64_t v)
{
    uint64_t was = t->config;
    const struct irq_line *old = hpet_line(h, t);

    v &= TN_WRITABLE;
    if (old != NULL && TN_ROUTE(v) != TN_ROUTE(was) &&
        !(hpet_is_legacy(h) && t->n < 2))
        irq_set(old, false);
    t->config = v;
    if ((v & TN_32BIT) != 0) {
        t->comparator &= UINT32_MAX;
        t->period &= UINT32_MAX;
    }
    if ((v & TN_LEVEL) == 0) h->status &= ~(UINT64_C(1) << t->n);
    hpet_update_line(h, t);
    hpet_arm(t);
}

/* 2.3.9: under periodic mode the value is the period; with VAL_SET it is
 * the next match as well. */
static void hpet_set_comparator(struct hpet_timer *t, uint64_t v)
{
    v &= hpet_mask(t);
    if ((t->config & TN_PERIODIC) != 0) t->period = v;
    if ((t->config & TN_PERIODIC) == 0 || (t->config & TN_VAL_SET) != 0) {
        t->comparator = v;
        t->is_fresh = true;
    }
    t->config &= ~TN_VAL_SET;
    hpet_arm(t);
}

/* The comparator as it stands now, also when the loop is behind. */
static uint64_t hpet_comparator(const struct hpet_timer *t)
{
    struct hpet_timer copy = *t;

    if ((t->h->config & CONFIG_ENABLE) != 0)
        hpet_advance(&copy, hpet_count(t->h));
    return copy.comparator;
}

static uint64_t hpet_read_timer(struct hpet *h, unsigned at)
{
    unsigned n = at / HPET_TIMER_STEP;
    const struct hpet_timer *t;

    if (n >= HPET_TIMERS) return 0;
    t = &h->timer[n];
    switch (at % HPET_TIMER_STEP & ~7u) {
    case 0x00: return t->config | TN_CAP | TN_ROUTE_CAP << 32;
    case 0x08: return hpet_comparator(t);
    default: return 0; /* no FSB delivery */
    }
}

static uint64_t hpet_read64(struct hpet *h, unsigned at)
{
    if (at >= HPET_TIMER) return hpet_read_timer(h, at - HPET_TIMER);
    switch (at & ~7u) {
    case HPET_CAP: return CAP_VALUE;
    case HPET_CONFIG: return h->config;
    case HPET_STATUS: return h->status;
    case HPET_COUNTER: return hpet_count(h);
    default: return 0;
    }
}

static uint64_t hpet_read(void *arg, uint64_t offset, unsigned bytes)
{
    uint64_t v = hpet_read64(arg, (unsigned)(offset & (HPET_BYTES - 1)));

    return bytes == 4 ? (uint32_t)(v >> ((offset & 4) != 0 ? 32 : 0)) : v;
}

static void hpet_write_timer(struct hpet *h, unsigned at, uint64_t v)
{
    unsigned n = at / HPET_TIMER_STEP;

    if (n >= HPET_TIMERS) return;
    switch (at % HPET_TIMER_STEP & ~7u) {
    case 0x00: hpet_set_timer_config(h, &h->timer[n], v); break;
    case 0x08: hpet_set_comparator(&h->timer[n], v); break;
    default: break;
    }
}

static void hpet_clear_status(struct hpet *h, uint64_t v)
{
    h->status &= ~v;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        if ((v >> i & 1) != 0) hpet_update_line(h, &h->timer[i]);
    }
}

static void hpet_write(void *arg, uint64_t offset, unsigned bytes, uint64_t v)
{
    struct hpet *h = arg;
    unsigned at = (unsigned)(offset & (HPET_BYTES - 1));

    if (bytes == 4) { /* fill the other half from the register */
        uint64_t now = (at & ~7u) == HPET_STATUS ? 0 : hpet_read64(h, at);

        if (at >= HPET_TIMER && (at % HPET_TIMER_STEP & ~7u) == 0x08 &&
            (at - HPET_TIMER) / HPET_TIMER_STEP < HPET_TIMERS) {
            const struct hpet_timer *t =
                &h->timer[(at - HPET_TIMER) / HPET_TIMER_STEP];

            if ((t->config & (TN_PERIODIC | TN_VAL_SET)) == TN_PERIODIC)
                now = t->period;
        }
        v = (at & 4) != 0 ? (now & UINT32_MAX) | v << 32
                          : (now & ~(uint64_t)UINT32_MAX) | (uint32_t)v;
    }
    if (at >= HPET_TIMER) {
        hpet_write_timer(h, at - HPET_TIMER, v);
        return;
    }
    switch (at & ~7u) {
    case HPET_CONFIG: hpet_set_config(h, v); break;
    case HPET_STATUS: hpet_clear_status(h, v); break;
    case HPET_COUNTER:
        h->counter = v;
        h->start_ns = clock_now_ns(h->d->vm);
        hpet_arm_all(h);
        break;
    default: break;
    }
}

static const struct mem_ops hpet_ops = {
    .read = hpet_read,
    .write = hpet_write,
    .min_bytes = 4,
    .max_bytes = 8,
};

static void hpet_legacy_set(void *arg, unsigned n, bool level)
{
    struct hpet *h = arg;

    if (n == 0) {
        h->pit_level = level;
    } else {
        h->rtc_level = level;
    }
    if (!hpet_is_legacy(h)) irq_set(n == 0 ? &h->irq0 : &h->irq8, level);
}

struct irq_line hpet_legacy_input(struct dev *d, unsigned n)
{
    return (struct irq_line){ .set = hpet_legacy_set, .arg = d->s, .n = n };
}

void hpet_connect(struct dev *d, struct irq_line irq0, struct irq_line irq8,
                  const struct irq_line *gsi)
{
    struct hpet *h = d->s;

    h->irq0 = irq0;
    h->irq8 = irq8;
    for (unsigned i = 0; i < HPET_GSIS; i++) {
        h->gsi[i] = gsi[i];
    }
}

static void hpet_reset(struct dev *d)
{
    struct hpet *h = d->s;

    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        struct hpet_timer *t = &h->timer[i];

        t->config &= ~TN_ENABLE;
        h->status = 0;
        hpet_update_line(h, t);
        t->config = t->period = 0;
        t->comparator = UINT64_MAX;
        t->is_fresh = false;
        timer_disarm_locked(&t->timer);
    }
    h->config = h->counter = h->start_ns = 0;
}

static int hpet_create(struct dev *d, struct err *e)
{
    struct hpet *h = d->s;

    (void)e;
    h->d = d;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->timer[i].h = h;
        h->timer[i].n = i;
        timer_init(&h->timer[i].timer, d->vm, hpet_due, &h->timer[i]);
    }
    mem_init_mmio(&h->mmio, "hpet", HPET_BYTES, &hpet_ops, h);
    mem_add_locked(d->vm, mem_root(d->vm), HPET_BASE, &h->mmio, 1);
    hpet_reset(d);
    return 0;
}

static void hpet_destroy(struct dev *d)
{
    struct hpet *h = d->s;

    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        timer_disarm_locked(&h->timer[i].timer);
    }
    mem_del_locked(d->vm, &h->mmio);
}

static int hpet_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct hpet *h = d->s;

    (void)version;
    if (h->start_ns > clock_now_ns(d->vm))
        return err_set(e, -EINVAL, "start_ns is not past");
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->timer[i].config &= TN_WRITABLE;
        h->timer[i].comparator &= hpet_mask(&h->timer[i]);
        h->timer[i].period &= hpet_mask(&h->timer[i]);
    }
    hpet_arm_all(h);
    return 0;
}

static const struct field hpet_timer_state[] = {
    U64(hpet_timer, config),
    U64(hpet_timer, comparator),
    U64(hpet_timer, period),
    BOOL(hpet_timer, is_fresh),
    STATE_END,
};

static const struct field hpet_state[] = {
    U64_MAX(hpet, config, 3),
    U64_MAX(hpet, status, 7),
    U64(hpet, counter),
    U64(hpet, start_ns),
    BOOL(hpet, pit_level),
    BOOL(hpet, rtc_level),
    STRUCT_ARRAY(hpet, timer, hpet_timer_state),
    STATE_END,
};

const struct dev_class hpet_class = {
    .name = "hpet",
    .title = "high precision event timer",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct hpet),
    .state = hpet_state,
    .version = 1,
    .is_internal = true,
    .create = hpet_create,
    .reset = hpet_reset,
    .loaded = hpet_loaded,
    .destroy = hpet_destroy,
};
