/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818A real-time clock with 114 octets of CMOS RAM at 0x70/0x71.
 *
 * Document: Motorola MC146818A data sheet (ADI1026R1).  Nothing is ticked:
 * the time of day is base_s at guest time base_ns plus what has passed, and
 * the flags of register C are brought up to date (rtc_sync) when somebody
 * looks or an enabled interrupt is due.  offset_s is what the guest has set
 * against the wall clock; base_s follows the wall clock when the machine goes
 * on after a pause, so that the guest's clock does not fall behind.
 */
#include "hw/chips/chips.h"

#include <errno.h>
#include <time.h>

#include "core/vm/clock.h"
#include "core/vm/port.h"
#include "core/vm/vm.h"

/* Data sheet, "Address Map" */
enum {
    RTC_SEC,
    RTC_SEC_ALARM,
    RTC_MIN,
    RTC_MIN_ALARM,
    RTC_HOUR,
    RTC_HOUR_ALARM,
    RTC_WDAY,
    RTC_MDAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D,
    RTC_CENTURY = 0x32, /* where a PC keeps it (ACPI FADT CENTURY) */
    RTC_BYTES = 128,
};

#define RTC_A_UIP     0x80
#define RTC_A_RESET   0x60 /* DV 110, 111: divider chain held in reset */
#define RTC_A_RS(v)   ((v)&0x0f)
#define RTC_A_DEFAULT 0x26 /* 32.768 kHz, 1024 Hz */
#define RTC_B_SET     0x80
#define RTC_B_PIE     0x40
#define RTC_B_AIE     0x20
#define RTC_B_UIE     0x10
#define RTC_B_SQWE    0x08
#define RTC_B_DM      0x04 /* binary */
#define RTC_B_24H     0x02
#define RTC_C_IRQF    0x80
#define RTC_FLAGS     0x70 /* PF, AF, UF; the same places as in B */
#define RTC_D_VRT     0x80
#define RTC_PM        0x80
#define RTC_DONT_CARE 0xc0 /* alarm octet: any value */

#define RTC_XTAL_HZ 32768u
#define RTC_S_NS    1000000000u
/* "Update Cycle": UIP rises 244 us before an update that takes 1984 us. */
#define RTC_UIP_NS (244000u + 1984000u)
/* Some 34,000 years: more than the registers can say. */
#define RTC_MAX_OFFSET_S (UINT64_C(1) << 40)

struct rtc {
    uint8_t cmos[RTC_BYTES];
    uint8_t index;
    uint64_t offset_s; /* two's complement: guest's time less wall time */
    struct dev *d;
    struct irq_line irq;
    struct timer timer;
    int64_t base_s;
    uint64_t base_ns;   /* start of a second */
    uint64_t synced_ns; /* flags are right up to here */
};

/* The clock does not advance: set mode or divider in reset. */
static bool rtc_is_stopped(const struct rtc *r)
{
    return (r->cmos[RTC_B] & RTC_B_SET) != 0 ||
           (r->cmos[RTC_A] & RTC_A_RESET) == RTC_A_RESET;
}

static uint64_t rtc_now_ns(const struct rtc *r)
{
    uint64_t now = clock_now_ns(r->d->vm);

    return now > r->base_ns ? now : r->base_ns;
}

static int64_t rtc_second(const struct rtc *r, uint64_t now_ns)
{
    uint64_t past_ns = now_ns > r->base_ns ? now_ns - r->base_ns : 0;

    return r->base_s + (int64_t)(past_ns / RTC_S_NS);
}

static uint8_t rtc_encode(const struct rtc *r, int v)
{
    unsigned u = (unsigned)v;

    if ((r->cmos[RTC_B] & RTC_B_DM) != 0) return u & 0xff;
    return (u / 10 % 10) << 4 | u % 10;
}

static int rtc_decode(const struct rtc *r, uint8_t v)
{
    if ((r->cmos[RTC_B] & RTC_B_DM) != 0) return v;
    return (v >> 4) * 10 + (v & 15);
}

static int rtc_decode_hour(const struct rtc *r, uint8_t v)
{
    int hour;

    if ((r->cmos[RTC_B] & RTC_B_24H) != 0) return rtc_decode(r, v);
    hour = rtc_decode(r, v & ~RTC_PM) % 12;
    return (v & RTC_PM) != 0 ? hour + 12 : hour;
}

/* Write the time of day into the registers. */
static void rtc_fill(struct rtc *r, uint64_t now_ns)
{
    time_t t = (time_t)rtc_second(r, now_ns);
    uint8_t *m = r->cmos;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL) return; /* the year does not fit */
    m[RTC_SEC] = rtc_encode(r, tm.tm_sec);
    m[RTC_MIN] = rtc_encode(r, tm.tm_min);
    if ((m[RTC_B] & RTC_B_24H) != 0) {
        m[RTC_HOUR] = rtc_encode(r, tm.tm_hour);
    } else {
        m[RTC_HOUR] =
            rtc_encode(r, tm.tm_hour % 12 == 0 ? 12 : tm.tm_hour % 12);
        if (tm.tm_hour >= 12) m[RTC_HOUR] |= RTC_PM;
    }
    m[RTC_WDAY] = rtc_encode(r, tm.tm_wday + 1);
    m[RTC_MDAY] = rtc_encode(r, tm.tm_mday);
    m[RTC_MONTH] = rtc_encode(r, tm.tm_mon + 1);
    m[RTC_YEAR] = rtc_encode(r, tm.tm_year % 100);
    m[RTC_CENTURY] = rtc_encode(r, (tm.tm_year + 1900) / 100);
}

/* Take the time of day from the registers; the second began at start_ns. */
static void rtc_take(struct rtc *r, uint64_t start_ns)
{
    const uint8_t *m = r->cmos;
    struct tm tm = {
        .tm_sec = rtc_decode(r, m[RTC_SEC]),
        .tm_min = rtc_decode(r, m[RTC_MIN]),
        .tm_hour = rtc_decode_hour(r, m[RTC_HOUR]),
        .tm_mday = rtc_decode(r, m[RTC_MDAY]),
        .tm_mon = rtc_decode(r, m[RTC_MONTH]) - 1,
        .tm_year = rtc_decode(r, m[RTC_CENTURY]) * 100 +
                   rtc_decode(r, m[RTC_YEAR]) - 1900,
    };

    r->base_s = (int64_t)timegm(&tm);
    r->base_ns = start_ns;
    r->offset_s = (uint64_t)r->base_s - (uint64_t)clock_wall_s(r->d->vm);
}

/* Periodic interrupt, data sheet table "Periodic Interrupt Rate"; in cycles
 * of the 32.768 kHz crystal, 0 = off. */
static uint32_t rtc_periodic_cycles(const struct rtc *r)
{
    unsigned rs = RTC_A_RS(r->cmos[RTC_A]);

    if (rs == 0 || (r->cmos[RTC_A] & RTC_A_RESET) == RTC_A_RESET) return 0;
    if (rs < 3) rs += 7;
    return 1u << (rs - 1);
}

static uint64_t rtc_cycles(const struct rtc *r, uint64_t ns)
{
    return ns > r->base_ns ? muldiv64(ns - r->base_ns, RTC_XTAL_HZ, RTC_S_NS)
                           : 0;
}

static bool rtc_alarm_has(const struct rtc *r, unsigned reg, int value)
{
    uint8_t v = r->cmos[reg];

    if ((v & RTC_DONT_CARE) == RTC_DONT_CARE) return true;
    if (reg == RTC_HOUR_ALARM) return rtc_decode_hour(r, v) == value;
    return rtc_decode(r, v) == value;
}

/* Seconds from `second` to the next alarm, 1..86400; 0: never. */
static unsigned rtc_alarm_in(const struct rtc *r, int64_t second)
{
    int64_t day = second - ((second % 86400) + 86400) % 86400;
    int first = (int)(second - day) + 1;

    for (int h = 0; h < 48; h++) {
        if ((h + 1) * 3600 <= first ||
            !rtc_alarm_has(r, RTC_HOUR_ALARM, h % 24)) {
            continue;
        }
        for (int m = 0; m < 60; m++) {
            int at = h * 3600 + m * 60;

            if (at + 60 <= first || !rtc_alarm_has(r, RTC_MIN_ALARM, m))
                continue;
            for (int s = 0; s < 60; s++) {
                if (at + s >= first && rtc_alarm_has(r, RTC_SEC_ALARM, s))
                    return (unsigned)(at + s - first + 1);
            }
        }
    }
    return 0;
}

/* Set in register C what has happened since the last look. */
static void rtc_sync(struct rtc *r, uint64_t now_ns)
{
    uint32_t cycles = rtc_periodic_cycles(r);
    uint8_t flags = 0;

    if (now_ns <= r->synced_ns) return;
    if (cycles != 0 &&
        rtc_cycles(r, now_ns) / cycles != rtc_cycles(r, r->synced_ns) / cycles)
        flags |= RTC_B_PIE;
    if (!rtc_is_stopped(r)) {
        int64_t was = rtc_second(r, r->synced_ns);
        int64_t is = rtc_second(r, now_ns);
        unsigned alarm;

        if (is != was) {
            flags |= RTC_B_UIE;
            alarm = rtc_alarm_in(r, was);
            if (alarm != 0 && is - was >= alarm) flags |= RTC_B_AIE;
        }
    }
    r->cmos[RTC_C] |= flags;
    r->synced_ns = now_ns;
}

/* Interrupt line and the time at which it may change next. */
static void rtc_update(struct rtc *r, uint64_t now_ns)
{
    uint8_t enabled = r->cmos[RTC_B] & RTC_FLAGS;
    uint8_t want = enabled & ~r->cmos[RTC_C];
    uint64_t next_ns = UINT64_MAX, at_ns;
    uint32_t cycles = rtc_periodic_cycles(r);

    if ((enabled & r->cmos[RTC_C]) != 0) {
        r->cmos[RTC_C] |= RTC_C_IRQF;
    } else {
        r->cmos[RTC_C] &= ~RTC_C_IRQF;
    }
    irq_set(&r->irq, (r->cmos[RTC_C] & RTC_C_IRQF) != 0);

    if ((want & RTC_B_PIE) != 0 && cycles != 0) {
        uint64_t n = (rtc_cycles(r, now_ns) / cycles + 1) * cycles;

        next_ns = r->base_ns + muldiv64(n, RTC_S_NS, RTC_XTAL_HZ) + 1;
    }
    if ((want & (RTC_B_UIE | RTC_B_AIE)) != 0 && !rtc_is_stopped(r)) {
        uint64_t s = (now_ns - r->base_ns) / RTC_S_NS;
        unsigned in = 1;

        if ((want & RTC_B_UIE) == 0)
            in = rtc_alarm_in(r, r->base_s + (int64_t)s);
        at_ns = r->base_ns + (s + in) * RTC_S_NS;
        if (in != 0 && at_ns < next_ns) next_ns = at_ns;
    }
    if (next_ns == UINT64_MAX) {
        timer_disarm_locked(&r->timer);
    } else {
        timer_arm_locked(&r->timer, next_ns);
    }
}

static void rtc_due(void *arg)
{
    struct rtc *r = arg;
    uint64_t now_ns = rtc_now_ns(r);

    rtc_sync(r, now_ns);
    rtc_update(r, now_ns);
}

static bool rtc_is_time(unsigned index)
{
    return index == RTC_CENTURY ||
           (index <= RTC_YEAR && index != RTC_SEC_ALARM &&
            index != RTC_MIN_ALARM && index != RTC_HOUR_ALARM);
}

static uint8_t rtc_get(struct rtc *r, unsigned index)
{
    uint64_t now_ns = rtc_now_ns(r), phase_ns;
    uint8_t v;

    if (rtc_is_time(index) && !rtc_is_stopped(r)) rtc_fill(r, now_ns);
    if (index == RTC_C) {
        rtc_sync(r, now_ns);
        rtc_update(r, now_ns);
        v = r->cmos[RTC_C];
        r->cmos[RTC_C] = 0; /* a read clears all flags */
        rtc_update(r, now_ns);
        return v;
    }
    v = r->cmos[index];
    if (index == RTC_A && !rtc_is_stopped(r)) {
        phase_ns = (now_ns - r->base_ns) % RTC_S_NS;
        if (phase_ns >= RTC_S_NS - RTC_UIP_NS) v |= RTC_A_UIP;
    }
    return v;
}

/* Registers A and B: the clock may stop or go on. */
static void rtc_set_control(struct rtc *r, unsigned index, uint8_t v)
{
    uint64_t now_ns = rtc_now_ns(r);
    bool was_stopped = rtc_is_stopped(r);
    bool was_reset = (r->cmos[RTC_A] & RTC_A_RESET) == RTC_A_RESET;
    uint64_t start_ns = now_ns - (now_ns - r->base_ns) % RTC_S_NS;

    rtc_sync(r, now_ns);
    if (!was_stopped) rtc_fill(r, now_ns);
    if (index == RTC_A) {
        r->cmos[RTC_A] = v & ~RTC_A_UIP;
    } else {
        if ((v & RTC_B_SET) != 0) v &= ~RTC_B_UIE; /* SET clears UIE */
        r->cmos[RTC_B] = v;
    }
    if (was_reset && (r->cmos[RTC_A] & RTC_A_RESET) != RTC_A_RESET) {
        /* "The first update cycle begins one-half second later." */
        start_ns = now_ns > RTC_S_NS / 2 ? now_ns - RTC_S_NS / 2 : 0;
        r->base_ns = start_ns;
    }
    if (was_stopped && !rtc_is_stopped(r)) rtc_take(r, start_ns);
    r->synced_ns = now_ns;
    rtc_update(r, now_ns);
}

static void rtc_set(struct rtc *r, unsigned index, uint8_t v)
{
    uint64_t now_ns = rtc_now_ns(r);

    if (index == RTC_A || index == RTC_B) {
        rtc_set_control(r, index, v);
        return;
    }
    if (index == RTC_C || index == RTC_D) return; /* read only */
    if (!rtc_is_time(index)) {
        rtc_sync(r, now_ns);
        r->cmos[index] = v;
        if (index <= RTC_YEAR) rtc_update(r, now_ns); /* an alarm octet */
        return;
    }
    if (rtc_is_stopped(r)) {
        r->cmos[index] = v;
        return;
    }
    rtc_sync(r, now_ns);
    rtc_fill(r, now_ns);
    r->cmos[index] = v;
    rtc_take(r, now_ns - (now_ns - r->base_ns) % RTC_S_NS);
    rtc_update(r, now_ns);
}

static uint32_t rtc_read(void *arg, unsigned port, unsigned bytes)
{
    struct rtc *r = arg;

    (void)bytes;
    if (port == 0) return 0xff; /* the index can only be written */
    return rtc_get(r, r->index & (RTC_BYTES - 1));
}

static void rtc_write(void *arg, unsigned port, unsigned bytes, uint32_t v)
{
    struct rtc *r = arg;

    (void)bytes;
    if (port == 0) {
        r->index = v & (RTC_BYTES - 1); /* bit 7 masks NMI */
    } else {
        rtc_set(r, r->index & (RTC_BYTES - 1), v & 0xff);
    }
}

static const struct port_ops rtc_ops = {
    .read = rtc_read,
    .write = rtc_write,
};

void rtc_connect(struct dev *d, struct irq_line irq)
{
    struct rtc *r = d->s;

    r->irq = irq;
}

void rtc_set_cmos(struct dev *d, unsigned index, uint8_t value)
{
    struct rtc *r = d->s;

    if (index < RTC_BYTES) r->cmos[index] = value;
}

uint8_t rtc_get_cmos(struct dev *d, unsigned index)
{
    struct rtc *r = d->s;

    if (index >= RTC_BYTES) return 0xff;
    if (rtc_is_time(index) && !rtc_is_stopped(r)) rtc_fill(r, rtc_now_ns(r));
    return r->cmos[index];
}

/* Line the clock up with the wall clock again. */
static void rtc_rebase(struct rtc *r)
{
    r->base_s = (int64_t)((uint64_t)clock_wall_s(r->d->vm) + r->offset_s);
    r->base_ns = clock_now_ns(r->d->vm);
    r->synced_ns = r->base_ns;
}

static void rtc_event(void *arg, enum vm_event ev)
{
    struct rtc *r = arg;
    int64_t late_s;

    if (ev != VM_EVENT_RESUME || rtc_is_stopped(r)) return;
    late_s = (int64_t)((uint64_t)clock_wall_s(r->d->vm) + r->offset_s) -
             rtc_second(r, rtc_now_ns(r));
    if (late_s > -2 && late_s < 2) return; /* only the phase differs */
    rtc_sync(r, rtc_now_ns(r));
    rtc_rebase(r);
    rtc_update(r, rtc_now_ns(r));
}

static int rtc_create(struct dev *d, struct err *e)
{
    struct rtc *r = d->s;
    int rc;

    r->d = d;
    r->cmos[RTC_A] = RTC_A_DEFAULT;
    r->cmos[RTC_B] = RTC_B_24H;
    r->cmos[RTC_D] = RTC_D_VRT;
    timer_init(&r->timer, d->vm, rtc_due, r);
    rc = port_map_locked(d->vm, 0x70, 2, &rtc_ops, r, "rtc", e);
    if (rc < 0) return rc;
    vm_add_listener(d->vm, rtc_event, r);
    rtc_rebase(r);
    return 0;
}

static void rtc_destroy(struct dev *d)
{
    struct rtc *r = d->s;

    vm_remove_listener(d->vm, r);
    timer_disarm_locked(&r->timer);
    port_unmap_locked(d->vm, 0x70, 2, r);
}

/* RESET clears the interrupt enables and flags and SQWE; time and RAM are
 * kept by the battery. */
static void rtc_reset(struct dev *d)
{
    struct rtc *r = d->s;

    r->cmos[RTC_B] &= ~(RTC_FLAGS | RTC_B_SQWE);
    r->cmos[RTC_C] = 0;
    r->index = 0;
    rtc_update(r, rtc_now_ns(r));
}

static int rtc_loaded(struct dev *d, unsigned version, struct err *e)
{
    struct rtc *r = d->s;

    (void)version;
    if ((r->offset_s + RTC_MAX_OFFSET_S) > 2 * RTC_MAX_OFFSET_S)
        return err_set(e, -ERANGE, "offset_s is out of range");
    r->cmos[RTC_C] &= RTC_FLAGS | RTC_C_IRQF;
    r->cmos[RTC_D] = RTC_D_VRT;
    rtc_rebase(r);
    rtc_update(r, rtc_now_ns(r));
    return 0;
}

static const struct field rtc_state[] = {
    BYTES(rtc, cmos),
    U8_MAX(rtc, index, RTC_BYTES - 1),
    U64(rtc, offset_s),
    STATE_END,
};

const struct dev_class rtc_class = {
    .name = "mc146818rtc",
    .title = "MC146818A real-time clock",
    .bus = BUS_SYSTEM,
    .size = sizeof(struct rtc),
    .state = rtc_state,
    .version = 1,
    .is_internal = true,
    .create = rtc_create,
    .reset = rtc_reset,
    .loaded = rtc_loaded,
    .destroy = rtc_destroy,
};
