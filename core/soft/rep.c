/* SPDX-License-Identifier: GPL-2.0-or-later */
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

static uint64_t elements_left(uint64_t lin, unsigned shift)
{
    return (PAGE_BYTES - (lin & (PAGE_BYTES - 1))) >> shift;
}

/* Called from entry.S, guest registers in eng->cpu; false: the instruction is
 * not done, emulate it. */
bool soft_rep(bool is_movs, uint32_t param);
bool soft_rep(bool is_movs, uint32_t param)
{
    struct engine *eng;
    uint64_t *gpr, to, from = 0, n;
    unsigned shift = param & REP_SHIFT;

    __asm__("rdgsbase %0" : "=r"(eng));
    gpr = eng->cpu.gpr;
    if (eng->watch_count) return false;
    while (gpr[REG_CX]) {
        n = elements_left(gpr[REG_DI], shift);
        if (is_movs && elements_left(gpr[REG_SI], shift) < n) {
            n = elements_left(gpr[REG_SI], shift);
        }
        if (n > gpr[REG_CX]) n = gpr[REG_CX];
        if (n == 0) return false; /* an element across pages */
        if (atomic_load_explicit(&eng->attn, memory_order_relaxed)) {
            return false;
        }
        if (is_movs) from = reach(eng, gpr[REG_SI], ACC_READ);
        to = reach(eng, gpr[REG_DI], ACC_READ | ACC_WRITE);
        if (!to || (is_movs && !from)) return false;
        if (is_movs) {
            copy(to, from, n, shift);
            gpr[REG_SI] += n << shift;
        } else {
            fill(to, gpr[REG_AX], n, shift);
        }
        gpr[REG_DI] += n << shift;
        gpr[REG_CX] -= n;
    }
    return true;
}
