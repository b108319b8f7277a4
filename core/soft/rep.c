/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/rep.h"

#include "core/soft/engine.h"

/*
 * REP STOS and REP MOVS of translated code beyond one page or a page that the
 * TLB does not know (entry.S does the others).  Only memory is touched that
 * can be reached directly; for everything else, the exceptions too, the
 * emulator is asked to go on: the registers say how far it went.
 */

static void fill(uint64_t to, uint64_t v, uint64_t n, unsigned shift)
{
    switch (shift) {
    case 0:
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    case 1:
        __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    case 2:
        __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    default:
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(v) : "memory");
        break;
    }
}

static void copy(uint64_t to, uint64_t from, uint64_t n, unsigned shift)
{
    switch (shift) {
    case 0:
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    case 1:
        __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    case 2:
        __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    default:
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        break;
    }
}

/* The same from the last element down. */
static void fill_down(uint64_t to, uint64_t v, uint64_t n, unsigned shift)
{
    __asm__ volatile("std" ::: "memory", "cc");
    fill(to, v, n, shift);
    __asm__ volatile("cld" ::: "memory", "cc");
}

static void copy_down(uint64_t to, uint64_t from, uint64_t n, unsigned shift)
{
    __asm__ volatile("std" ::: "memory", "cc");
    copy(to, from, n, shift);
    __asm__ volatile("cld" ::: "memory", "cc");
}

/* Host address of lin for access; 0: not directly. */
static uint64_t reach(struct engine *eng, uint64_t lin, unsigned access)
{
    const struct tlb_entry *t =
        &eng->tlb[soft_space(&eng->cpu, 0)]
                 [lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    uint64_t off = lin ^ (access & ACC_WRITE ? t->wtag : t->rtag);
    struct page_ref r;

    if (off < PAGE_BYTES) {
        return (access & ACC_WRITE ? t->wpage : t->rpage) + off;
    }
    if (tlb_resolve(eng, lin, access, &r) != PAGE_DIRECT) return 0;
    return (uint64_t)r.host;
}

/* Elements from lin on that lie in its page. */
static uint64_t elements_left(uint64_t lin, uint32_t param)
{
    uint64_t off = lin & (PAGE_BYTES - 1);
    uint64_t up = (PAGE_BYTES - off) >> (param & REP_SHIFT);

    if (up == 0 || !(param & REP_DOWN)) return up;
    return (off >> (param & REP_SHIFT)) + 1;
}

static void step(struct engine *eng, bool is_movs, uint64_t to, uint64_t from,
                 uint64_t n, uint32_t param)
{
    uint64_t *gpr = eng->cpu.gpr;
    unsigned shift = param & REP_SHIFT;
    bool is_down = param & REP_DOWN;
    uint64_t bytes = is_down ? -(n << shift) : n << shift;

    if (is_movs) {
        (is_down ? copy_down : copy)(to, from, n, shift);
        gpr[GPR_SI] += bytes;
    } else {
        (is_down ? fill_down : fill)(to, gpr[GPR_AX], n, shift);
    }
    gpr[GPR_DI] += bytes;
    gpr[GPR_CX] -= n;
}

bool soft_rep(bool is_movs, uint32_t param)
{
    struct engine *eng;
    uint64_t *gpr, to, from = 0, n;

    __asm__("rdgsbase %0" : "=r"(eng));
    gpr = eng->cpu.gpr;
    if (eng->watch_count) return false;
    while (gpr[GPR_CX]) {
        n = elements_left(gpr[GPR_DI], param);
        if (is_movs && elements_left(gpr[GPR_SI], param) < n) {
            n = elements_left(gpr[GPR_SI], param);
        }
        if (n > gpr[GPR_CX]) n = gpr[GPR_CX];
        if (n == 0) return false; /* an element across pages */
        if (atomic_load_explicit(&eng->attn, memory_order_relaxed)) {
            return false;
        }
        if (is_movs) from = reach(eng, gpr[GPR_SI], ACC_READ);
        to = reach(eng, gpr[GPR_DI], ACC_READ | ACC_WRITE);
        if (!to || (is_movs && !from)) return false;
        step(eng, is_movs, to, from, n, param);
    }
    return true;
}
