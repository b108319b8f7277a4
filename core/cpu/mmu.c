/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Page walks: SDM volume 3A, chapter 4.  One loop serves the three formats;
 * a struct walk holds what differs.  Accessed and dirty bits are set with
 * compare-and-exchange after all checks; when an entry has changed under us
 * the walk starts again.
 */
#include "core/cpu/mmu.h"

#include "core/cpu/cpuid.h"

#define PTE_P  (1u << 0)
#define PTE_W  (1u << 1)
#define PTE_U  (1u << 2)
#define PTE_A  (1u << 5)
#define PTE_D  (1u << 6)
#define PTE_PS (1u << 7)
#define PTE_G  (1u << 8)
#define PTE_NX ((uint64_t)1 << 63)

#define PFEC_P    1u
#define PFEC_W    2u
#define PFEC_U    4u
#define PFEC_RSVD 8u
#define PFEC_I    16u

enum { MAX_LEVELS = 4 };

struct walk {
    uint64_t lin;
    unsigned levels;            /* of tables read from memory */
    unsigned entry_bytes;       /* 4 or 8 */
    unsigned index_bits;        /* 10 or 9 */
    uint64_t table;             /* gpa of the first table */
    uint64_t reserved;          /* bits reserved in every entry */
    bool has_large[MAX_LEVELS]; /* by level, 0 = page table */
    bool has_nx;

    /* result */
    void *host[MAX_LEVELS]; /* entries by level */
    uint64_t entry[MAX_LEVELS];
    unsigned leaf;
    uint64_t gpa, page_bytes;
    bool is_user, can_write, is_nx;
};

static unsigned phys_bits(const struct cpu *c)
{
    return c->model && c->model->phys_bits ? c->model->phys_bits : 40;
}

static void walk_open(const struct cpu *c, struct walk *w)
{
    uint64_t phys_mask = ((uint64_t)1 << phys_bits(c)) - 1;
    uint64_t high = ~phys_mask & 0x000fffffffffffff;
    bool has_1g = !c->model || c->model->has_1g_pages;
    for (unsigned n = 0; n < MAX_LEVELS; n++) {
        w->has_large[n] = false;
    }
    w->has_nx = c->efer & EFER_NXE;
    w->entry_bytes = 8;
    w->index_bits = 9;
    w->reserved = high | (w->has_nx ? 0 : PTE_NX);
    w->has_large[1] = true;
    if (cpu_is_long(c)) {
        w->levels = 4;
        w->table = c->cr3 & phys_mask & ~(uint64_t)4095;
        w->has_large[2] = has_1g;
    } else if (c->cr4 & CR4_PAE) {
        w->lin = (uint32_t)w->lin;
        w->levels = 2;
        w->reserved |= 0x7ff0000000000000;
        w->table = c->pdpte[w->lin >> 30] & phys_mask & ~(uint64_t)4095;
    } else {
        w->lin = (uint32_t)w->lin;
        w->levels = 2;
        w->entry_bytes = 4;
        w->index_bits = 10;
        w->has_nx = false;
        w->reserved = 0;
        w->has_large[1] = c->cr4 & CR4_PSE;
        w->table = c->cr3 & 0xfffff000;
    }
}

static uint64_t entry_load(const struct walk *w, const void *host)
{
    return w->entry_bytes == 8
               ? __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED)
               : __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
}

static unsigned level_shift(const struct walk *w, unsigned level)
{
    return 12 + w->index_bits * level;
}

/* Bits that must be clear in a leaf above the page table. */
static uint64_t large_reserved(const struct cpu *c, const struct walk *w,
                               unsigned level)
{
    if (w->entry_bytes == 8) {
        return (((uint64_t)1 << level_shift(w, level)) - 1) & ~0x1fffull;
    }
    /* PSE-36: bits 20..13 are address bits 39..32, bit 21 is reserved. */
    unsigned bits = phys_bits(c) < 40 ? phys_bits(c) : 40;
    uint64_t used = bits > 32 ? (((uint64_t)1 << (bits - 32)) - 1) << 13 : 0;
    return 0x3fe000 & ~used;
}

static uint64_t leaf_address(const struct walk *w, unsigned level, uint64_t e)
{
    if (w->entry_bytes == 4) {
        if (level == 0) return e & 0xfffff000;
        return (e & 0xffc00000) | (e >> 13 & 0xff) << 32;
    }
    return e & 0x000ffffffffff000 &
           ~(((uint64_t)1 << level_shift(w, level)) - 1);
}

/* Follow the tables.  0, or -1 with the P and RSVD bits of the error code. */
static int walk_tables(struct cpu *c, struct walk *w, uint32_t *error)
{
    uint64_t table = w->table;
    w->is_user = w->can_write = true;
    w->is_nx = false;
    *error = 0;
    if (w->levels == 2 && w->entry_bytes == 8 &&
        !(c->pdpte[w->lin >> 30] & PTE_P)) {
        return -1;
    }
    for (unsigned level = w->levels; level-- > 0;) {
        unsigned shift = level_shift(w, level);
        uint64_t index = w->lin >> shift & ((1u << w->index_bits) - 1);
        uint64_t at = table + index * w->entry_bytes;
        uint8_t *host = c->ops->phys_ptr(c, at & ~(uint64_t)7);
        if (!host) return -1; /* tables outside RAM hold nothing */
        host += at & 7;
        uint64_t e = entry_load(w, host);
        if (!(e & PTE_P)) return -1;
        bool is_large = level && (e & PTE_PS) && w->entry_bytes == 8
                            ? true
                            : level && (e & PTE_PS) && w->has_large[level];
        uint64_t bad = e & w->reserved;
        if (is_large && !w->has_large[level]) bad |= PTE_PS;
        if (is_large) bad |= e & large_reserved(c, w, level);
        if (bad) {
            *error = PFEC_P | PFEC_RSVD;
            return -1;
        }
        w->host[level] = host;
        w->entry[level] = e;
        if (!(e & PTE_U)) w->is_user = false;
        if (!(e & PTE_W)) w->can_write = false;
        if (w->has_nx && (e & PTE_NX)) w->is_nx = true;
        if (level == 0 || is_large) {
            w->leaf = level;
            w->page_bytes = (uint64_t)1 << shift;
            w->gpa = leaf_address(w, level, e) | (w->lin & (w->page_bytes - 1));
            return 0;
        }
        table = leaf_address(w, 0, e);
    }
    return -1;
}

/* SDM volume 3A 4.6 "Access Rights". */
static bool is_allowed(const struct cpu *c, const struct walk *w,
                       unsigned access, bool is_user)
{
    if ((access & ACC_EXEC) && w->is_nx) return false;
    if (is_user) {
        if (!w->is_user) return false;
        return !(access & ACC_WRITE) || w->can_write;
    }
    if (access & ACC_EXEC) return !w->is_user || !(c->cr4 & CR4_SMEP);
    if (w->is_user && (c->cr4 & CR4_SMAP) &&
        ((access & ACC_SYSTEM) || !(c->rflags & FLAG_AC))) {
        return false;
    }
    return !(access & ACC_WRITE) || w->can_write || !(c->cr0 & CR0_WP);
}

/* Set bits in one entry; false when it changed since it was read. */
static bool entry_mark(const struct walk *w, unsigned level, uint64_t bits)
{
    uint64_t old = w->entry[level];
    if (w->entry_bytes == 8) {
        return __atomic_compare_exchange_n((uint64_t *)w->host[level], &old,
                                           old | bits, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }
    uint32_t old32 = (uint32_t)old;
    return __atomic_compare_exchange_n((uint32_t *)w->host[level], &old32,
                                       old32 | (uint32_t)bits, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool mark_used(struct cpu *c, const struct walk *w, unsigned access)
{
    for (unsigned level = w->levels; level-- > w->leaf;) {
        uint64_t bits = PTE_A;
        if (level == w->leaf && (access & ACC_WRITE)) bits |= PTE_D;
        if ((w->entry[level] & bits) == bits) continue;
        if (!entry_mark(w, level, bits)) return false;
        if (c->ops->phys_written) c->ops->phys_written(c, w->host[level]);
    }
    return true;
}

static void identity(const struct cpu *c, uint64_t lin, struct cpu_page *page)
{
    page->gpa = cpu_is_long(c) ? lin : (uint32_t)lin;
    page->page_bytes = 4096;
    page->can_write = page->can_exec = page->is_user = true;
    page->is_global = false;
}

int cpu_walk(struct cpu *c, uint64_t lin, unsigned access,
             struct cpu_page *page, uint32_t *error)
{
    if (!(c->cr0 & CR0_PG)) {
        identity(c, lin, page);
        return 0;
    }
    bool is_user = cpu_cpl(c) == 3 && !(access & ACC_SYSTEM);
    struct walk w;
    do {
        w.lin = lin;
        walk_open(c, &w);
        bool is_ok = walk_tables(c, &w, error) == 0;
        if (is_ok && !is_allowed(c, &w, access, is_user)) {
            *error = PFEC_P;
            is_ok = false;
        }
        if (!is_ok) {
            if (access & ACC_WRITE) *error |= PFEC_W;
            if (is_user) *error |= PFEC_U;
            if ((access & ACC_EXEC) && (w.has_nx || (c->cr4 & CR4_SMEP))) {
                *error |= PFEC_I;
            }
            return -1;
        }
    } while (!mark_used(c, &w, access));
    bool is_dirty = (access & ACC_WRITE) || (w.entry[w.leaf] & PTE_D);
    page->gpa = w.gpa;
    page->page_bytes = w.page_bytes;
    page->is_user = w.is_user;
    page->is_global = (w.entry[w.leaf] & PTE_G) && (c->cr4 & CR4_PGE);
    page->can_write = is_dirty && is_allowed(c, &w, ACC_WRITE, is_user);
    page->can_exec = is_allowed(c, &w, ACC_EXEC, is_user);
    return 0;
}

int cpu_walk_debug(struct cpu *c, uint64_t lin, uint64_t *gpa)
{
    if (!(c->cr0 & CR0_PG)) {
        *gpa = cpu_is_long(c) ? lin : (uint32_t)lin;
        return 0;
    }
    if (cpu_is_long(c) && (int64_t)(lin << 16) >> 16 != (int64_t)lin) {
        return -1;
    }
    struct walk w;
    uint32_t error;
    w.lin = lin;
    walk_open(c, &w);
    if (walk_tables(c, &w, &error) < 0) return -1;
    *gpa = w.gpa;
    return 0;
}
