/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two processors: INIT and start-up IPI, atomic operations, TLB shootdown,
 * cross-modifying code: SDM 3A chapter 8. */
#include "cputest.h"

enum { ICR = 0x300, ICR_HIGH = 0x310, ROUNDS = 50000, SPLITS = 1000, CHANGES = 50 };

extern const uint8_t ap_code[], ap_code_end[];

static volatile unsigned starts, order, answer;
static volatile uint64_t ap_bad;
static uint8_t shared[8192] __attribute__((aligned(4096)));
static uint8_t *const target = (uint8_t *)0x3000000;

enum { IDLE, ADD, READ, RUN, SPIN };

static void spin_add(void)
{
    for (unsigned n = 0; n < ROUNDS; n++) {
        asm volatile("lock incq %0" : "+m"(*(uint64_t *)shared));
        uint32_t old = *(volatile uint32_t *)(shared + 512), seen;
        do {
            seen = old;
            asm volatile("lock cmpxchg %2, %1"
                         : "+a"(old), "+m"(*(uint32_t *)(shared + 512))
                         : "r"(seen + 1));
        } while (old != seen);
    }
    for (unsigned n = 0; n < SPLITS; n++) { /* slow on any processor */
        uint32_t one = 1;
        asm volatile("lock incl %0" : "+m"(*(uint32_t *)(shared + 62)));
        asm volatile("lock incw %0" : "+m"(*(uint16_t *)(shared + 255)));
        asm volatile("lock xaddl %0, %1"
                     : "+r"(one), "+m"(*(uint32_t *)(shared + 1022)));
        asm volatile("lock incl %0" : "+m"(*(uint32_t *)(shared + 4094)));
    }
}

/* Reads through a mapping; the other processor changes it and then asks for
 * an INVLPG by order: after the answer no old value may appear. */
static void spin_read(void)
{
    volatile uint32_t *p = (void *)(uint64_t)(VA + 0x90000);
    uint32_t last = 0;

    while (order == READ) {
        uint32_t asked = *(volatile uint32_t *)(shared + 2048);
        if (asked != last) {
            invlpg((uint64_t)p);
            last = asked;
            if (*p != asked) ap_bad++;
            *(volatile uint32_t *)(shared + 2052) = asked;
        }
        if (*p < last) ap_bad++;
    }
}

/* Calls a function the other processor changes; 8.1.3: a serializing
 * instruction comes before it. */
static void spin_run(void)
{
    while (order == RUN) {
        uint32_t asked = *(volatile uint32_t *)(shared + 2048), v;
        cpuid(0, 0);
        asm volatile("call *%1" : "=a"(v) : "r"(target) : "memory");
        if (v < asked) ap_bad++;
        *(volatile uint32_t *)(shared + 2052) = v;
    }
}

void ap_main(void);
void ap_main(void)
{
    asm volatile("lock incl %0" : "+m"(starts));
    for (;;) {
        unsigned now = order;
        if (now == ADD && answer != ADD) {
            spin_add();
            answer = ADD;
        } else if (now == READ) {
            answer = READ;
            spin_read();
        } else if (now == RUN) {
            answer = RUN;
            spin_run();
        } else if (now == IDLE) {
            answer = IDLE;
        }
        asm volatile("pause");
    }
}

static void wait_ms(unsigned ms) /* about: port 0x80 takes a microsecond */
{
    for (unsigned n = 0; n < 1000 * ms; n++) {
        inb(0x80);
    }
}

static bool wait_for(const volatile unsigned *p, unsigned v)
{
    uint64_t end = rdtsc() + 100000000000;
    while (*p != v && rdtsc() < end) {
        asm volatile("pause");
    }
    return *p == v;
}

static void send(uint32_t v)
{
    apic_write(ICR_HIGH, 1 << 24);
    apic_write(ICR, v);
    while (apic_read(ICR) & 0x1000) {
    }
}

static bool start_ap(void)
{
    for (unsigned n = 0; n < (unsigned)(ap_code_end - ap_code); n++) {
        ((uint8_t *)0x8000)[n] = ap_code[n];
    }
    unsigned before = starts;
    send(0x4500); /* INIT */
    wait_ms(10);
    send(0x4608);
    return wait_for(&starts, before + 1);
}

static void give(unsigned what)
{
    order = what;
    wait_for(&answer, what);
}

static void atomics(void)
{
    order = ADD;
    spin_add();
    wait_for(&answer, ADD);
    check("LOCK INC", *(uint64_t *)shared, 2 * ROUNDS);
    check("across a cache line", *(uint32_t *)(shared + 62), 2 * SPLITS);
    check("across a page", *(uint32_t *)(shared + 4094), 2 * SPLITS);
    check("of a misaligned word", *(uint16_t *)(shared + 255), 2 * SPLITS);
    check("LOCK CMPXCHG", *(uint32_t *)(shared + 512), 2 * ROUNDS);
    check("misaligned LOCK XADD", *(uint32_t *)(shared + 1022), 2 * SPLITS);
}

static bool wait_word(const volatile uint32_t *p, uint32_t v)
{
    uint64_t end = rdtsc() + 100000000000;
    while (*p != v) {
        if (rdtsc() > end) return false;
    }
    return true;
}

static void shootdown(void)
{
    volatile uint32_t *asked = (uint32_t *)(shared + 2048), *done = asked + 1;
    bool ok = true;

    *asked = *done = 0;
    ap_bad = 0;
    *(uint32_t *)page(20) = 0;
    map(VA + 0x90000, PHYS(page(20)) | P | W);
    give(READ);
    for (uint32_t n = 1; n <= CHANGES && ok; n++) {
        uint8_t *to = page(20 + (n & 1));
        *(volatile uint32_t *)to = n;
        *(volatile uint64_t *)pte(VA + 0x90000) = PHYS(to) | P | W;
        *asked = n;
        ok = wait_word(done, n);
        /* nobody uses the old page now */
        *(volatile uint32_t *)page(20 + (~n & 1)) = 0;
    }
    check("every shootdown is answered", ok, 1);
    give(IDLE);
    check("and no old page was seen afterwards", ap_bad, 0);
}

static void cross_modifying(void)
{
    volatile uint32_t *asked = (uint32_t *)(shared + 2048), *done = asked + 1;
    bool ok = true;

    target[0] = 0xb8;
    *(uint32_t *)(target + 1) = 0;
    target[5] = 0xc3;
    *asked = *done = 0;
    ap_bad = 0;
    give(RUN);
    for (uint32_t n = 1; n <= CHANGES && ok; n++) {
        *(volatile uint32_t *)(target + 1) = n;
        *asked = n;
        ok = wait_word(done, n);
    }
    check("code changed by the other processor is seen", ok, 1);
    give(IDLE);
    check("after a serializing instruction never late", ap_bad, 0);
}

void test_smp(void)
{
    section("second processor");
    if (is_asked("one-cpu")) {
        skip("two processors", "there is one");
        return;
    }
    check("INIT and start-up IPI start it", start_ap() ? starts : 0, 1);
    if (!starts) return;
    send(0x4608);
    wait_ms(5);
    check("a second start-up IPI does nothing", starts, 1);
    atomics();
    give(IDLE);
    shootdown();
    cross_modifying();
    check("INIT and start-up start it again", start_ap(), 1);
    check("twice in all", starts, 2);
    send(0x4500);
}
