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

/* Little-endian loads and stores of 1, 2, 4 or 8 bytes, one host access. */
static inline uint64_t cpu_get(const void *p, unsigned bytes)
{
    switch (bytes) {
    case 1: return *(const volatile uint8_t *)p;
    case 2: return *(const volatile uint16_t *)p;
    case 4: return *(const volatile uint32_t *)p;
    default: return *(const volatile uint64_t *)p;
    }
}

static inline void cpu_put(void *p, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 1: *(volatile uint8_t *)p = (uint8_t)v; break;
    case 2: *(volatile uint16_t *)p = (uint16_t)v; break;
    case 4: *(volatile uint32_t *)p = (uint32_t)v; break;
    default: *(volatile uint64_t *)p = v; break;
    }
}

#endif
