/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * With "clocks=N" on the command line, for ten times N seconds: the five clocks of a PC against
 * each other while the processor computes.  PIT (82C54), ACPI PM timer (ACPI
 * 4.8.3.3, 3.579545 MHz, 24 bits), HPET (IA-PC HPET 1.0a, 2.3.7), local APIC
 * timer (SDM 3A 10.5.4) and TSC.  The HPET tells its own frequency and is what
 * the others are compared with; APIC timer and TSC do not and are measured in
 * the first half, to be compared in the second.
 */
#include "cputest.h"

enum { HPET = 0xfed00000, PM_PCI = 0x80000b00, PER_MILLE = 1 };
#define PIT_HZ 1193182
#define PM_HZ  3579545

struct reading {
    uint64_t hpet, pit, pm, apic, tsc;
};

static unsigned pm_port;
static uint64_t hpet_period_fs;
static volatile uint64_t work[512];

/* v * mul / div, which must fit. */
static uint64_t muldiv(uint64_t v, uint64_t mul, uint64_t div)
{
    uint64_t low, high;
    asm("mul %3; div %4"
        : "=&a"(low), "=&d"(high)
        : "0"(v), "r"(mul), "r"(div)
        : "cc");
    return low;
}

static uint64_t read_hpet(void)
{
    return *(volatile uint64_t *)(uint64_t)(HPET + 0xf0);
}

static uint64_t hpet_ns(uint64_t ticks)
{
    return muldiv(ticks, hpet_period_fs, 1000000);
}

static unsigned read_pit(void)
{
    outb(0x43, 0x00); /* latch counter 0 */
    unsigned low = inb(0x40);
    return low | (unsigned)inb(0x40) << 8;
}

static void outl(unsigned port, uint32_t v)
{
    asm volatile("outl %0, %w1" : : "a"(v), "d"(port));
}

/* All five within a short time, as the HPET tells; the best of some tries. */
static void read_all(struct reading *best)
{
    uint64_t least = UINT64_MAX;

    for (unsigned n = 0; n < 200; n++) {
        struct reading r;
        r.hpet = read_hpet();
        r.tsc = rdtsc();
        r.apic = apic_read(0x390);
        r.pit = read_pit();
        r.pm = inl(pm_port) & 0xffffff;
        uint64_t took = read_hpet() - r.hpet;
        if (took >= least) continue;
        least = took;
        *best = r;
        if (hpet_ns(took) < 100000) return;
    }
}

static void compute_ns(uint64_t ns)
{
    uint64_t from = read_hpet(), x = 1;

    while (hpet_ns(read_hpet() - from) < ns) {
        for (unsigned n = 0; n < 200000; n++) {
            x = x * 6364136223846793005u + n;
            work[x >> 55] += x;
        }
    }
}

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* ticks modulo wrap at hz, against ns: nanoseconds apart. */
static uint64_t apart(uint64_t ticks, uint64_t wrap, uint64_t hz, uint64_t ns)
{
    uint64_t want = muldiv(ns, hz, 1000000000);
    uint64_t d = (ticks - want) & (wrap - 1);

    if (d > wrap / 2) d = wrap - d;
    return d * 1000000000 / hz;
}

static void compare(const char *name, uint64_t off_ns, uint64_t ns)
{
    put("apart by ");
    put_hex(off_ns);
    put(" ns (hexadecimal): ");
    put(name);
    put("\n");
    check(name, off_ns <= ns * PER_MILLE / 1000, 1);
}

void test_clocks(unsigned seconds)
{
    struct reading a, b, c;

    section("clocks");
    outl(0xcf8, PM_PCI | 0x40); /* PIIX4 function 3: PMBASE */
    pm_port = (inl(0xcfc) & 0xffc0) + 8;
    hpet_period_fs = *(volatile uint64_t *)(uint64_t)HPET >> 32;
    *(volatile uint64_t *)(uint64_t)(HPET + 0x10) |= 1;
    outb(0x43, 0x34); /* counter 0, mode 2, 65536 */
    outb(0x40, 0);
    outb(0x40, 0);
    apic_write(0xf0, 0x1ff);
    apic_write(0x3e0, 0xa); /* by 128 */
    apic_write(0x320, 0x10050);
    apic_write(0x380, 0xffffffff);
    compute_ns(100000000);
    read_all(&a);
    put("begun\n");
    compute_ns(seconds * 500000000ull);
    read_all(&b);
    compute_ns(seconds * 500000000ull);
    read_all(&c);

    uint64_t first = hpet_ns(b.hpet - a.hpet), all = hpet_ns(c.hpet - a.hpet);
    compare("PIT and HPET",
            apart((a.pit - c.pit) & 0xffff, 0x10000, PIT_HZ, all), all);
    compare("PM timer and HPET",
            apart((c.pm - a.pm) & 0xffffff, 0x1000000, PM_HZ, all), all);
    uint64_t second = all - first;
    uint64_t want = muldiv(b.tsc - a.tsc, second, first);
    uint64_t off = difference(c.tsc - b.tsc, want);
    compare("TSC and HPET", muldiv(off, second, want), second);
    uint64_t counted = (uint32_t)(a.apic - b.apic);
    want = muldiv(counted, second, first);
    off = difference((uint32_t)(b.apic - c.apic), want);
    compare("APIC timer and HPET", muldiv(off, second, want), second);
}
