/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

static unsigned passed, failed, skipped;
static const char *section_name = "";

static void put_char(char c)
{
    while (!(inb(0x3fd) & 0x20)) {
    }
    outb(0x3f8, (uint8_t)c);
}

void put(const char *s)
{
    for (; *s; s++) {
        put_char(*s);
    }
}

void put_hex(uint64_t v)
{
    int shift = 60;
    while (shift > 0 && !(v >> shift & 15)) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        put_char("0123456789abcdef"[v >> shift & 15]);
    }
}

static void put_number(unsigned n)
{
    if (n > 9) put_number(n / 10);
    put_char((char)('0' + n % 10));
}

void section(const char *name)
{
    section_name = name;
}

static void put_name(const char *word, const char *name)
{
    put(word);
    put(section_name);
    put(": ");
    put(name);
}

void check(const char *name, uint64_t got, uint64_t want)
{
    if (got == want) {
        passed++;
        put_name("ok ", name);
    } else {
        failed++;
        put_name("not ok ", name);
        put(": got ");
        put_hex(got);
        put(", expected ");
        put_hex(want);
    }
    put("\n");
}

void skip(const char *name, const char *why)
{
    skipped++;
    put_name("ok ", name);
    put(" # SKIP ");
    put(why);
    put("\n");
}

bool is_asked(const char *word)
{
    extern uint32_t boot_info;
    const uint32_t *info = (const uint32_t *)(uintptr_t)boot_info;
    if (!(info[0] & 4)) return false;
    const char *s = (const char *)(uintptr_t)info[4];
    for (; *s; s++) {
        const char *a = s, *b = word;
        while (*b && *a == *b) {
            a++;
            b++;
        }
        if (!*b) return true;
    }
    return false;
}

/* A byte of CMOS memory tells a second start apart. */
enum { CMOS_AT = 0x72, CMOS_MAGIC = 0xa7 };

static uint8_t cmos_read(void)
{
    outb(0x70, CMOS_AT);
    return inb(0x71);
}

static void cmos_write(uint8_t v)
{
    outb(0x70, CMOS_AT);
    outb(0x71, v);
}

/* SDM 3A 6.15 "Double Fault": a third fault shuts the processor down, which
 * a PC's chip set answers with a reset. */
void report_before_reset(void)
{
    cmos_write(CMOS_MAGIC);
    put("now: ");
    put_number(passed);
    put(" passed, ");
    put_number(failed);
    put(" failed, ");
    put_number(skipped);
    put(" skipped\n");
}

void report_open(void)
{
    outb(0x3fb, 0x80); /* 115200 baud, 8N1 */
    outb(0x3f8, 1);
    outb(0x3f9, 0);
    outb(0x3fb, 3);
    section("reset");
    if (cmos_read() != CMOS_MAGIC) return;
    cmos_write(0);
    check("a triple fault resets the machine", 1, 1);
    put("cputest: done\n");
    outb(0xf4, 0x10);
    for (;;) {
    }
}
