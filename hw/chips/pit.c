/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82C54 programmable interval timer and the system control port 0x61.
 *
 * Document: Intel 82C54 data sheet (231244); 82371SB (PIIX3) data sheet for
 * port 61h.  Nothing is ticked: a channel keeps the clock edge at which its
 * counting element was loaded, and count and output follow from guest time.
 * A count written while a cycle runs (modes 2 and 3) waits in next_count
 * until switch_tick.  Only channel 0 has a timer, for its rising edges; the
 * counters stay exact when the loop is late.
 */
#include "hw/chips/chips.h"

#include <errno.h>

#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

#define PIT_HZ 1193182u /* 14.31818 MHz / 12 */
#define NS_HZ  1000000000u

/* 82C54 data sheet, "Control Word Format" and "Read-Back Command" */
#define PIT_CW_SC(v)   ((v) >> 6 & 3) /* 3: read-back */
#define PIT_CW_RW(v)   ((v) >> 4 & 3) /* 0 latch, 1 LSB, 2 MSB, 3 both */
#define PIT_CW_MODE(v) ((v) >> 1 & 7) /* 6 and 7 mean 2 and 3 */
#define PIT_CW_BCD     0x01
#define PIT_RB_COUNT   0x20 /* 0 = latch the count */
#define PIT_RB_STATUS  0x10 /* 0 = latch the status */
#define PIT_ST_OUT     0x80
#define PIT_ST_NULL    0x40

/* PIIX3, "NMI Status and Control Register" */
#define SYSCTL_GATE2   0x01
#define SYSCTL_SPEAKER 0x02
#define SYSCTL_RW      0x0f
#define SYSCTL_REFRESH 0x10
#define SYSCTL_OUT2    0x20
#define REFRESH_NS     15085u

/* A periodic interrupt comes no faster than this; the counter does not
 * change. */
#define PIT_MIN_PERIOD_NS 50000u
/* When the loop is later than this, missed edges are not caught up. */
#define PIT_MAX_LATE_NS 20000000u

struct pit_channel {
    uint8_t mode, rw; /* rw 0: not programmed yet */
    bool is_bcd, gate;
    bool has_lsb;  /* LSB written, MSB to come */
    bool read_msb; /* the next octet read is the MSB */
    uint8_t lsb;
    uint8_t latch_octets; /* of latch, still to be read */
    bool has_status;
    uint8_t status;
    uint16_t latch;
    bool is_null;   /* count written, not in the counting element yet */
    bool is_loaded; /* a count is being counted */
    bool is_held;   /* counting is suspended by the gate (or a half write) */
    bool has_next;  /* next_count takes over at switch_tick */
    uint32_t count, next_count; /* 1..65536; 1..10000 in BCD */
    uint64_t start_tick;        /* the counting element was loaded */
    uint64_t held_ticks;        /* counted when suspended */
    uint64_t switch_tick;
};

struct pit {
    struct pit_channel ch[3];
    uint8_t sysctl;   /* port 0x61, writable bits */
    uint64_t edge_ns; /* next rising edge of channel 0, 0 none */
    struct dev *d;
    struct timer timer;
    struct irq_line irq;
    void (*speaker)(void *arg, unsigned hz);
    void *speaker_arg;
    unsigned speaker_hz;
};

static uint64_t pit_ticks(const struct pit *p)
{
    return muldiv64(clock_now_ns(p->d->vm), PIT_HZ, NS_HZ);
}

/* First nanosecond at which the tick has been counted. */
static uint64_t pit_tick_ns(uint64_t tick)
{
    return muldiv64(tick, NS_HZ, PIT_HZ) + 1;
}

static bool pit_is_periodic(const struct pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool pit_is_triggered(const struct pit_channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

static uint32_t pit_modulus(const struct pit_channel *c)
{
    return c->is_bcd ? 10000 : 65536;
}

/* Square wave: ticks of the high half, (n + 1) / 2 for odd n. */
static uint32_t pit_high_ticks(const struct pit_channel *c)
{
    return (c->count + 1) / 2;
}

/* Clock edges counted since the load; 0 while the load is pending. */
static uint64_t pit_elapsed(const struct pit_channel *c, uint64_t tick)
{
    if (c->is_held) return c->held_ticks;
    return tick > c->start_tick ? tick - c->start_tick : 0;
}

/* Bring pending loads up to the present. */
static void pit_sync(struct pit_channel *c, uint64_t tick)
{
    if (c->is_null && c->is_loaded && !c->has_next && !pit_is_triggered(c) &&
        tick >= c->start_tick) {
        c->is_null = false;
    }
    if (!c->has_next || c->is_held || tick < c->switch_tick) return;
    c->has_next = false;
    c->is_null = false;
    /* A count for a square wave takes over after either half. */
    bool was_high =
        c->mode == 3 && (c->switch_tick - c->start_tick) % c->count != 0;
    c->count = c->next_count;
    c->start_tick = c->switch_tick;
    if (was_high) {
        uint32_t high = pit_high_ticks(c);

        c->start_tick -= high < c->start_tick ? high : c->start_tick;
    }
}

static bool pit_out(const struct pit_channel *c, uint64_t tick)
{
    uint64_t t = pit_elapsed(c, tick);

    if (c->mode == 0) return c->is_loaded && t >= c->count;
    if (!c->is_loaded) return true;
    switch (c->mode) {
    case 1: return t >= c->count;
    case 2: return !c->gate || t % c->count != c->count - 1 || c->count == 1;
    case 3: return !c->gate || t % c->count < pit_high_ticks(c);
    default: return t != c->count; /* 4, 5: one clock low */
    }
}

static uint32_t pit_to_bcd(uint32_t v)
{
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

/* Digits above 9 count what they weigh. */
static uint32_t pit_from_bcd(uint32_t v)
{
    uint32_t n = (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 +
                 (v >> 12 & 15) * 1000;

    return n > 10000 ? 10000 : n;
}

/* The counting element as the guest reads it. */
static uint16_t pit_count(const struct pit_channel *c, uint64_t tick)
{
    uint64_t t = pit_elapsed(c, tick);
    uint32_t modulus = pit_modulus(c), v;

    if (!c->is_loaded) {
        v = 0;
    } else if (c->mode == 2) {
        v = c->count - (uint32_t)(t % c->count);
    } else if (c->mode == 3) {
        /* Counts down by two, an odd count starting one lower. */
        uint32_t at = (uint32_t)(t % c->count);
        uint32_t high = pit_high_ticks(c);

        if (at >= high) at -= high;
        v = (c->count & ~1u) - 2 * at;
    } else {
        v = (uint32_t)((c->count + modulus - t % modulus) % modulus);
    }
    v %= modulus;
    return (uint16_t)(c->is_bcd ? pit_to_bcd(v) : v);
}

/* Ticks at which the output next rises, 0 if it does not. */
static uint64_t pit_next_rise(const struct pit_channel *c, uint64_t tick)
{
    uint64_t t = pit_elapsed(c, tick);

    if (!c->is_loaded || c->is_held) return 0;
    switch (c->mode) {
    case 2:
    case 3:
        if (c->has_next && c->switch_tick > tick) {
            bool is_half = (c->switch_tick - c->start_tick) % c->count != 0;

            return c->switch_tick + (is_half ? c->next_count / 2 : 0);
        }
        return c->start_tick + (t / c->count + 1) * c->count;
    case 0:
    case 1: return t < c->count ? c->start_tick + c->count : 0;
    default: return t <= c->count ? c->start_tick + c->count + 1 : 0;
    }
}

static void pit_speaker_update(struct pit *p)
{
    const struct pit_channel *c = &p->ch[2];
    unsigned hz = 0;

    if ((p->sysctl & (SYSCTL_GATE2 | SYSCTL_SPEAKER)) ==
            (SYSCTL_GATE2 | SYSCTL_SPEAKER) &&
        c->is_loaded && c->mode == 3) {
        hz = PIT_HZ / (c->has_next ? c->next_count : c->count);
    }
    if (hz == p->speaker_hz) return;
    p->speaker_hz = hz;
    if (p->speaker != NULL) p->speaker(p->speaker_arg, hz);
}

/* Arm the timer for channel 0's next rising edge after edge tick `from`. */
static void pit_schedule(struct pit *p, uint64_t from)
{
    uint64_t rise = pit_next_rise(&p->ch[0], from);

    if (rise == 0) {
        p->edge_ns = 0;
        timer_disarm_locked(&p->timer);
        return;
    }
    p->edge_ns = pit_tick_ns(rise);
    timer_arm_locked(&p->timer, p->edge_ns);
}

/* After register accesses.  The one-clock pulse of modes 2 and 3 is made by
 * the timer alone, so that an edge is never seen twice. */
static void pit_update_irq(struct pit *p, uint64_t tick)
{
    const struct pit_channel *c = &p->ch[0];

    if (!pit_is_periodic(c) || !c->is_loaded)
        irq_set(&p->irq, pit_out(c, tick));
}

static void pit_edge(void *arg)
{
    struct pit *p = arg;
    struct pit_channel *c = &p->ch[0];
    uint64_t now_ns = clock_now_ns(p->d->vm), tick = pit_ticks(p);
    uint64_t from = muldiv64(p->edge_ns, PIT_HZ, NS_HZ), edge_ns;

    pit_sync(c, from);
    irq_set(&p->irq, false);
    irq_set(&p->irq, true);
    if (p->edge_ns + PIT_MAX_LATE_NS < now_ns) {
        pit_sync(c, tick);
        from = tick;
    }
    pit_schedule(p, from);
    edge_ns = p->edge_ns;
    if (edge_ns == 0 || !pit_is_periodic(c)) return;
    if (muldiv64(c->count, NS_HZ, PIT_HZ) < PIT_MIN_PERIOD_NS &&
        edge_ns < now_ns + PIT_MIN_PERIOD_NS) {
        p->edge_ns = now_ns + PIT_MIN_PERIOD_NS;
        timer_arm_locked(&p->timer, p->edge_ns);
    }
}

/* A whole count has been written. */
static void pit_load(struct pit_channel *c, uint32_t raw, uint64_t tick)
{
    uint32_t n = c->is_bcd ? pit_from_bcd(raw) : raw;

    if (n == 0) n = pit_modulus(c);
    c->is_null = true;
    if (pit_is_triggered(c)) {
        c->next_count = n; /* waits for the trigger */
        c->has_next = false;
        return;
    }
    if (pit_is_periodic(c) && c->is_loaded && !c->is_held) {
        uint64_t t = pit_elapsed(c, tick), at = t / c->count * c->count;

        if (c->mode == 3 && t % c->count < pit_high_ticks(c)) {
            at += pit_high_ticks(c);
        } else {
            at += c->count;
        }
        c->switch_tick = c->start_tick + at;
        c->next_count = n;
        c->has_next = true;
        return;
    }
    c->count = c->next_count = n;
    c->has_next = false;
    c->is_loaded = true;
    c->start_tick = tick + 1; /* the next clock loads it */
    c->held_ticks = 0;
    c->is_held = !c->gate;
}

static void pit_write_count(struct pit_channel *c, uint8_t v, uint64_t tick)
{
    switch (c->rw) {
    case 1: pit_load(c, v, tick); break;
    case 2: pit_load(c, (uint32_t)v << 8, tick); break;
    case 3:
        if (c->has_lsb) {
            c->has_lsb = false;
            pit_load(c, c->lsb | (uint32_t)v << 8, tick);
            break;
        }
        c->lsb = v;
        c->has_lsb = true;
        if (c->mode == 0) { /* stops counting, output low at once */
            c->is_loaded = false;
            c->is_null = true;
        }
        break;
    default: break; /* no control word yet */
    }
}

static uint8_t pit_read_count(struct pit_channel *c, uint64_t tick)
{
    uint16_t v;

    if (c->has_status) {
        c->has_status = false;
        return c->status;
    }
    v = c->latch_octets != 0 ? c->latch : pit_count(c, tick);
    if (c->latch_octets != 0) c->latch_octets--;
    if (c->rw == 2) return v >> 8;
    if (c->rw != 3) return v & 0xff;
    c->read_msb = !c->read_msb;
    return c->read_msb ? v & 0xff : v >> 8;
}

static void pit_latch_count(struct pit_channel *c, uint64_t tick)
{
    if (c->latch_octets != 0) return; /* the first one holds */
    c->latch = pit_count(c, tick);
    c->latch_octets = c->rw == 3 ? 2 : 1;
    c->read_msb = false;
}

static void pit_latch_status(struct pit_channel *c, uint64_t tick)
{
    if (c->has_status) return;
    c->has_status = true;
    c->status = (pit_out(c, tick) ? PIT_ST_OUT : 0) |
                (c->is_null ? PIT_ST_NULL : 0) | c->rw << 4 | c->mode << 1 |
                (c->is_bcd ? PIT_CW_BCD : 0);
}

static void pit_control(struct pit_channel *c, unsigned v)
{
    unsigned mode = PIT_CW_MODE(v);

    c->mode = mode > 5 ? mode - 4 : mode;
    c->rw = PIT_CW_RW(v);
    c->is_bcd = (v & PIT_CW_BCD) != 0;
    c->has_lsb = c->read_msb = false;
    c->latch_octets = 0;
    c->has_status = false;
    c->is_null = true;
    c->is_loaded = c->has_next = c->is_held = false;
    c->held_ticks = 0;
    c->next_count = pit_modulus(c);
}

static void pit_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct pit *p = arg;
    uint64_t tick = pit_ticks(p);

    (void)bytes;
    v &= 0xff;
    for (unsigned i = 0; i < 3; i++) {
        pit_sync(&p->ch[i], tick);
    }
    if (port < 3) {
        pit_write_count(&p->ch[port], v, tick);
        if (port == 0) pit_schedule(p, tick);
    } else if (PIT_CW_SC(v) == 3) {
        for (unsigned i = 0; i < 3; i++) {
            if ((v >> (i + 1) & 1) == 0) continue;
            if ((v & PIT_RB_COUNT) == 0) pit_latch_count(&p->ch[i], tick);
            if ((v & PIT_RB_STATUS) == 0) pit_latch_status(&p->ch[i], tick);
        }
    } else if (PIT_CW_RW(v) == 0) {
        pit_latch_count(&p->ch[PIT_CW_SC(v)], tick);
    } else {
        pit_control(&p->ch[PIT_CW_SC(v)], v);
        if (PIT_CW_SC(v) == 0) pit_schedule(p, tick);
    }
    pit_update_irq(p, tick);
    pit_speaker_update(p);
}

static uint32_t pit_read(void *arg, unsigned port, unsigned bytes)
{
    struct pit *p = arg;
    uint64_t tick = pit_ticks(p);

    (void)bytes;
    if (port >= 3) return 0xff; /* no operation: the bus floats */
    pit_sync(&p->ch[port], tick);
    return pit_read_count(&p->ch[port], tick);
}

/* Data sheet, "Gate Pin Operations Summary". */
static void pit_set_gate(struct pit_channel *c, bool gate, uint64_t tick)
{
    bool is_rising = gate && !c->gate;

    if (gate == c->gate) return;
    pit_sync(c, tick);
    if (!gate && c->is_loaded && !pit_is_triggered(c)) {
        c->held_ticks = pit_elapsed(c, tick);
        c->is_held = true;
    }
    c->gate = gate;
    if (!is_rising) return;
    switch (c->mode) {
    case 1:
    case 5: /* trigger */
        if (c->rw == 0) break;
        c->count = c->next_count;
        c->is_loaded = true;
        c->is_null = false;
        c->start_tick = tick + 1;
        break;
    case 2:
    case 3: /* reload */
        if (!c->is_loaded) break;
        if (c->has_next) c->count = c->next_count;
        c->has_next = false;
        c->is_held = false;
        c->start_tick = tick + 1;
        break;
    default: /* go on */
        if (!c->is_held) break;
        c->is_held = false;
        c->start_tick = tick > c->held_ticks ? tick - c->held_ticks : 0;
        break;
    }
}

static uint32_t sysctl_read(void *arg, unsigned port, unsigned bytes)
{
    struct pit *p = arg;
    uint64_t tick = pit_ticks(p);
    uint32_t v = p->sysctl;

    (void)port;
    (void)bytes;
    pit_sync(&p->ch[2], tick);
    if ((clock_now_ns(p->d->vm) / REFRESH_NS & 1) != 0) v |= SYSCTL_REFRESH;
    if (pit_out(&p->ch[2], tick)) v |= SYSCTL_OUT2;
    return v;
}

static void sysctl_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct pit *p = arg;

    (void)port;
    (void)bytes;
    p->sysctl = v & SYSCTL_RW;
    pit_set_gate(&p->ch[2], (v & SYSCTL_GATE2) != 0, pit_ticks(p));
    pit_speaker_update(p);
}

static const struct port_ops pit_ops = {
    .read = pit_read,
    .write = pit_write,
};
static const struct port_ops sysctl_ops = {
    .read = sysctl_read,
    .write = sysctl_write,
};

void pit_connect(struct dev *d, struct irq_line irq)
{
    struct pit *p = d->s;

    p->irq = irq;
}

void pit_set_speaker(struct dev *d, void (*fn)(void *arg, unsigned hz),
                     void *arg)
{
    struct pit *p = d->s;

    p->speaker = fn;
    p->speaker_arg = arg;
}

static void pit_reset(struct dev *d)
{
    struct pit *p = d->s;

    for (unsigned i = 0; i < 3; i++) {
        p->ch[i] = (struct pit_channel){
            .mode = 3, .gate = i != 2, .count = 65536, .next_count = 65536
        };
    }
    p->sysctl = 0;
    pit_schedule(p, pit_ticks(p));
    irq_set(&p->irq, false);
    pit_speaker_update(p);
}

static int pit_create(struct dev *d, struct err *e)
{
    struct pit *p = d->s;
    int rc;

    p->d = d;
    timer_init(&p->timer, d->vm, pit_edge, p);
    rc = port_map_locked(d->vm, 0x40, 4, &pit_ops, p, "pit", e);
    if (rc < 0) return rc;
    rc = port_map_locked(d->vm, 0x61, 1, &sysctl_ops, p, "pcspk", e);
    if (rc < 0) {
        port_unmap_locked(d->vm, 0x40, 4, p);
        return rc;
    }
    pit_reset(d);
    return 0;
}

static void pit_destroy(struct dev *d)
{
    struct pit *p = d->s;

    timer_disarm_locked(&p->timer);
    port_unmap_locked(d->vm, 0x40, 4, p);
    port_unmap_locked(d->vm, 0x61, 1, p);
}

static int pit_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct pit *p = d->s;
    uint64_t tick = pit_ticks(p);

    (void)version;
    for (unsigned i = 0; i < 3; i++) {
        struct pit_channel *c = &p->ch[i];

        if (c->count == 0 || c->next_count == 0)
            return err_set(e, -EINVAL, "channel %u: count is 0", i);
        if (c->start_tick > tick + 1)
            return err_set(e, -EINVAL, "channel %u: start_tick is not past", i);
        if (c->has_next && c->switch_tick < c->start_tick)
            return err_set(e, -EINVAL, "channel %u: bad switch_tick", i);
    }
    pit_schedule(p, tick);
    pit_speaker_update(p);
    return 0;
}

static const struct field pit_channel_state[] = {
    U8_MAX(pit_channel, mode, 5),
    U8_MAX(pit_channel, rw, 3),
    BOOL(pit_channel, is_bcd),
    BOOL(pit_channel, gate),
    BOOL(pit_channel, has_lsb),
    BOOL(pit_channel, read_msb),
    U8(pit_channel, lsb),
    U8_MAX(pit_channel, latch_octets, 2),
    BOOL(pit_channel, has_status),
    U8(pit_channel, status),
    U16(pit_channel, latch),
    BOOL(pit_channel, is_null),
    BOOL(pit_channel, is_loaded),
    BOOL(pit_channel, is_held),
    BOOL(pit_channel, has_next),
    U32_MAX(pit_channel, count, 65536),
    U32_MAX(pit_channel, next_count, 65536),
    U64(pit_channel, start_tick),
    U64(pit_channel, held_ticks),
    U64(pit_channel, switch_tick),
    STATE_END,
};

static const struct field pit_state[] = {
    STRUCT_ARRAY(pit, ch, pit_channel_state),
    U8_MAX(pit, sysctl, SYSCTL_RW),
    STATE_END,
};

const struct dev_class pit_class = {
    .name = "isa-pit",
    .title = "82C54 interval timer",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct pit),
    .state = pit_state,
    .version = 1,
    .is_internal = true,
    .create = pit_create,
    .reset = pit_reset,
    .loaded = pit_loaded,
    .destroy = pit_destroy,
};
