/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ORRERY_CPU_COPY_H
#define ORRERY_CPU_COPY_H

#include <stdint.h>

/*
 * memcpy and memset for code that runs while the guest's vector registers
 * are live in the host: libc's versions use vector registers.
 */
static inline void cpu_copy(void *to, const void *from, uint64_t bytes)
{
    __asm__ volatile("rep movsb"
                     : "+D"(to), "+S"(from), "+c"(bytes)
                     :
                     : "memory");
}

static inline void cpu_fill(void *to, uint8_t value, uint64_t bytes)
{
    __asm__ volatile("rep stosb"
                     : "+D"(to), "+c"(bytes)
                     : "a"(value)
                     : "memory");
}

static inline void cpu_zero(void *to, uint64_t bytes)
{
    cpu_fill(to, 0, bytes);
}

/* Types for guest data of any alignment. */
typedef uint16_t cpu_any16 __attribute__((aligned(1), may_alias));
typedef uint32_t cpu_any32 __attribute__((aligned(1), may_alias));
typedef uint64_t cpu_any64 __attribute__((aligned(1), may_alias));

/* Little-endian loads and stores of 1, 2, 4 or 8 bytes, one host access. */
static inline uint64_t cpu_get(const void *p, unsigned bytes)
{
    switch (bytes) {
    case 1: return *(const volatile uint8_t *)p;
    case 2: return *(const volatile cpu_any16 *)p;
    case 4: return *(const volatile cpu_any32 *)p;
    default: return *(const volatile cpu_any64 *)p;
    }
}

static inline void cpu_put(void *p, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 1: *(volatile uint8_t *)p = (uint8_t)v; break;
    case 2: *(volatile cpu_any16 *)p = (uint16_t)v; break;
    case 4: *(volatile cpu_any32 *)p = (uint32_t)v; break;
    default: *(volatile cpu_any64 *)p = v; break;
    }
}

#endif
