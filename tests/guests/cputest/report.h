/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPUTEST_REPORT_H
#define CPUTEST_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the CPU tests tell.  Every case is one line on the serial port:
 * "ok NAME" or "not ok NAME: got ..., expected ...".  What is expected stands
 * beside each case and comes from the Intel SDM (volume and section named);
 * none of it is what some program happened to print.
 *
 * A test ends with a triple fault, which resets the machine; the second start
 * is told by a byte of CMOS memory and says "cputest: done".
 */

/* First of all; does not come back on the second start. */
void report_open(void);
void report_before_reset(void);
void put(const char *s);
void put_hex(uint64_t v);
void section(const char *name);
/* One case: got == want. */
void check(const char *name, uint64_t got, uint64_t want);
void skip(const char *name, const char *why);
/* Is WORD on the kernel command line?  Tests for peers name the cases there
 * that would end them. */
bool is_asked(const char *word);

static inline void outb(unsigned port, uint8_t v)
{
    asm volatile("outb %0, %w1" : : "a"(v), "d"(port) : "memory");
}
static inline uint8_t inb(unsigned port)
{
    uint8_t v;
    asm volatile("inb %w1, %0" : "=a"(v) : "d"(port) : "memory");
    return v;
}
static inline uint32_t inl(unsigned port)
{
    uint32_t v;
    asm volatile("inl %w1, %0" : "=a"(v) : "d"(port) : "memory");
    return v;
}

#endif
