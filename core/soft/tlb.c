/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"
#include "core/soft/engine.h"

#include "core/cpu/mmu.h"
#include "core/vm/dirty.h"
#include "core/vm/mem.h"

/*
 * The software TLB of one vCPU: per space a table for data, probed by
 * translated code, and a small one for instruction fetch, used when a block
 * is looked up.  Only pages that may be touched directly are entered:
 * anything odd (MMIO, ROM writes, pages that hold translated code) misses
 * for ever and is seen here each time.
 *
 * A flush without global pages has to find the others: a bit for each half of
 * a slot says that it holds one.  Another for the slot says that it may hold
 * anything: most are free.  What is kept of other PCIDs: context.c.
 */

static bool is_canonical(uint64_t lin)
{
    return (int64_t)(lin << 16) >> 16 == (int64_t)lin;
}

static uint64_t no_tag(unsigned slot)
{
    return (uint64_t)(slot ^ 1) << PAGE_SHIFT;
}

static unsigned slot_of(uint64_t lin)
{
    return lin >> PAGE_SHIFT & (TLB_ENTRIES - 1);
}

static void clear_stack(struct engine *eng, unsigned space)
{
    eng->stack[space].page = NO_STACK_PAGE;
    eng->stack[space].host = 0;
    eng->stack[space].delta = -NO_STACK_PAGE;
}

static void clear_slot(struct engine *eng, unsigned space, unsigned slot)
{
    eng->tlb[space][slot].rtag = no_tag(slot);
    eng->tlb[space][slot].wtag = no_tag(slot);
    eng->local[space][0][slot / 64] &= ~(1ull << (slot & 63));
    eng->local[space][1][slot / 64] &= ~(1ull << (slot & 63));
}

/* The next slot from *slot on that may hold something; false: none. */
static bool next_filled(const struct engine *eng, unsigned space,
                        unsigned *slot)
{
    const uint64_t *filled = eng->filled[space];
    unsigned w = *slot / 64;
    uint64_t left;

    if (w == LOCAL_WORDS) return false;
    left = filled[w] & (~0ull << (*slot & 63));
    while (!left && ++w < LOCAL_WORDS)
        left = filled[w];
    if (!left) return false;
    *slot = w * 64 + (unsigned)__builtin_ctzll(left);
    return true;
}

static void clear_data(struct engine *eng, unsigned space)
{
    for (unsigned i = 0; next_filled(eng, space, &i); i++)
        clear_slot(eng, space, i);
    for (unsigned w = 0; w < LOCAL_WORDS; w++)
        eng->filled[space][w] = 0;
}

void ibt_clear(struct engine *eng, unsigned space)
{
    unsigned n = eng->ibt_used_count[space];

    if (n > IBT_USED_MAX) {
        for (unsigned i = 0; i < IBT_ENTRIES; i++) {
            eng->ibt[space][i] = eng->ibt_miss;
        }
    } else {
        for (unsigned i = 0; i < n; i++) {
            eng->ibt[space][eng->ibt_used[space][i]] = eng->ibt_miss;
        }
    }
    eng->ibt_used_count[space] = 0;
    eng->ibt_has_nonglobal[space] = eng->ibt_has_global[space] = false;
}

/* A set that may say yes wrongly, of numbers. */
static unsigned filter_bit(uint64_t n)
{
    return n * 0x9e3779b97f4a7c15ull >> 49 & (FILTER_BITS - 1);
}

static void filter_add(uint64_t *filter, uint64_t n)
{
    unsigned bit = filter_bit(n);

    filter[bit / 64] |= 1ull << (bit & 63);
}

static bool filter_has(const uint64_t *filter, uint64_t n)
{
    unsigned bit = filter_bit(n);

    return filter[bit / 64] >> (bit & 63) & 1;
}

static void filter_clear(uint64_t *filter)
{
    for (unsigned i = 0; i < FILTER_BITS / 64; i++)
        filter[i] = 0;
}

static void clear_fetch(struct engine *eng, unsigned space)
{
    for (unsigned i = 0; i < FETCH_ENTRIES; i++) {
        eng->fetch[space][i].tag = 1;
    }
    filter_clear(eng->fetched_pages[space]);
    eng->fetch_has_nonglobal[space] = false;
}

/* A large page may be cached as many small ones, and INVLPG of one of its
 * addresses drops them all (SDM 3A 4.10.4.1): a filter knows the 4 MiB
 * regions, and for giant pages the GiB, that had a part of one cached. */
static uint64_t large_region(uint64_t lin)
{
    return lin >> 22;
}

static uint64_t giant_region(uint64_t lin)
{
    return ~(lin >> 30);
}

static void note_large_page(struct engine *eng, uint64_t lin,
                            uint64_t page_bytes)
{
    if (page_bytes <= PAGE_BYTES) return;
    filter_add(eng->large_regions, large_region(lin));
    if (page_bytes > 1ull << 22) {
        filter_add(eng->large_regions, giant_region(lin));
    }
}

static bool is_large(const struct engine *eng, uint64_t lin)
{
    return filter_has(eng->large_regions, large_region(lin)) ||
           filter_has(eng->large_regions, giant_region(lin));
}

void ibt_set(struct engine *eng, unsigned space, uint64_t rip, uint8_t *pad)
{
    unsigned slot = ibt_slot(rip), n = eng->ibt_used_count[space];

    if (eng->ibt[space][slot] == eng->ibt_miss && n <= IBT_USED_MAX) {
        if (n < IBT_USED_MAX) eng->ibt_used[space][n] = (uint16_t)slot;
        eng->ibt_used_count[space] = n + 1;
    }
    eng->ibt[space][slot] = (uint64_t)pad;
}

static void flush_all(struct engine *eng)
{
    filter_clear(eng->large_regions);
    context_drop_all(eng);
    site_clear_all(eng);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        clear_stack(eng, s);
        clear_data(eng, s);
        clear_fetch(eng, s);
        ibt_clear(eng, s);
    }
}

/* Slots that hold a page that is not global lose it. */
static void drop_local_data(struct engine *eng, unsigned space)
{
    for (unsigned w = 0; w < LOCAL_WORDS; w++) {
        uint64_t *reads = &eng->local[space][0][w];
        uint64_t *writes = &eng->local[space][1][w];

        for (; *reads; *reads &= *reads - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(*reads);
            eng->tlb[space][slot].rtag = no_tag(slot);
        }
        for (; *writes; *writes &= *writes - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(*writes);
            eng->tlb[space][slot].wtag = no_tag(slot);
        }
    }
}

void tlb_drop_local(struct engine *eng)
{
    site_clear_all(eng);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        clear_stack(eng, s);
        drop_local_data(eng, s);
        if (eng->ibt_has_nonglobal[s]) ibt_clear(eng, s);
        if (!eng->fetch_has_nonglobal[s]) continue;
        eng->fetch_has_nonglobal[s] = false;
        for (unsigned i = 0; i < FETCH_ENTRIES; i++) {
            struct fetch_entry *f = &eng->fetch[s][i];
            if (!f->is_global) f->tag = 1;
        }
    }
}

static void flush_pcid(struct engine *eng, unsigned pcid)
{
    const struct cpu *c = &eng->cpu;
    unsigned present = c->cr4 & CR4_PCIDE ? c->cr3 & CR3_PCID : 0;

    context_drop(eng, pcid);
    if (pcid == present) tlb_drop_local(eng);
}

enum { PAGE_SLOTS = PAGE_BYTES / 2, TAIL_SLOTS = SPAN_BYTES / 2 };

/* The entries of the page's addresses go, and those of blocks that begin in
 * the page before. */
static void ibt_clear_page(struct engine *eng, unsigned space, uint64_t lin)
{
    unsigned at = ibt_slot(lin & ~(uint64_t)(PAGE_BYTES - 1)) - TAIL_SLOTS;
    unsigned mode = space == SPACE_USER ? SPACE_USER : SPACE_SUPER;

    if (eng->ibt_mode[mode].cs_base) {
        ibt_clear(eng, space);
        return;
    }
    for (unsigned i = 0; i < PAGE_SLOTS + TAIL_SLOTS; i++) {
        eng->ibt[space][(at + i) & (IBT_ENTRIES - 1)] = eng->ibt_miss;
    }
}

static void flush_page(struct engine *eng, uint64_t lin)
{
    unsigned slot = slot_of(lin);

    if (is_large(eng, lin)) {
        flush_all(eng);
        return;
    }
    site_clear_all(eng);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        clear_slot(eng, s, slot);
        clear_stack(eng, s);
        if (!filter_has(eng->fetched_pages[s], lin >> PAGE_SHIFT)) continue;
        ibt_clear_page(eng, s, lin);
        eng->fetch[s][lin >> PAGE_SHIFT & (FETCH_ENTRIES - 1)].tag = 1;
    }
}

void tlb_flush(struct engine *eng, enum cpu_flush what, uint64_t lin)
{
    switch (what) {
    case CPU_FLUSH_ALL: flush_all(eng); break;
    case CPU_FLUSH_NONGLOBAL:
        context_drop_all(eng);
        tlb_drop_local(eng);
        break;
    case CPU_FLUSH_PAGE:
        flush_page(eng, lin);
        eng->stat.page_flushes++;
        return;
    case CPU_FLUSH_PCID: flush_pcid(eng, (unsigned)lin & CR3_PCID); break;
    case CPU_FLUSH_SWITCH:
        context_switch(eng, (unsigned)lin & CR3_PCID,
                       (unsigned)eng->cpu.cr3 & CR3_PCID);
        eng->stat.switches++;
        return;
    }
    eng->stat.flushes++;
}

void tlb_view_changed(struct engine *eng)
{
    flush_all(eng);
    for (unsigned i = 0; i < PHYS_ENTRIES; i++)
        eng->phys[i].gpa = 1;
}

void tlb_init(struct engine *eng)
{
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        eng->ibt_used_count[s] = IBT_USED_MAX + 1;
        for (unsigned w = 0; w < LOCAL_WORDS; w++)
            eng->filled[s][w] = ~0ull;
    }
    tlb_view_changed(eng);
    site_init(eng);
}

void tlb_drop_writes(struct engine *eng)
{
    site_clear_all(eng);
    context_protect(eng, NULL);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        clear_stack(eng, s);
        for (unsigned i = 0; next_filled(eng, s, &i); i++)
            eng->tlb[s][i].wtag = no_tag(i);
        for (unsigned w = 0; w < LOCAL_WORDS; w++)
            eng->local[s][1][w] = 0;
    }
}

void tlb_protect(struct engine *eng, const uint8_t *page)
{
    site_clear_all(eng);
    context_protect(eng, page);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        clear_stack(eng, s);
        for (unsigned i = 0; next_filled(eng, s, &i); i++) {
            struct tlb_entry *t = &eng->tlb[s][i];
            if (t->wpage == (uint64_t)page) t->wtag = no_tag(i);
        }
    }
}

/* Host address of the page at gpa, NULL unless all of it is memory. */
static uint8_t *host_page(struct engine *eng, uint64_t gpa, bool *can_write)
{
    enum mem_view view = cpu_mem_view(&eng->cpu);
    const struct mem_frag *f = mem_find_in(eng->soft->vm, view, gpa);

    if (!f || !f->host) return NULL;
    gpa &= mem_address_mask(eng->soft->vm, view);
    if (f->size - (gpa - f->start) < PAGE_BYTES) return NULL;
    *can_write = f->can_write;
    return f->host + (gpa - f->start);
}

void tlb_set_stack(struct engine *eng, uint64_t lin)
{
    unsigned space = soft_space(&eng->cpu, 0);
    const struct tlb_entry *t = &eng->tlb[space][slot_of(lin)];

    if ((lin ^ t->wtag) >= PAGE_BYTES) return;
    eng->stack[space].page = t->wtag;
    eng->stack[space].host = t->wpage;
    eng->stack[space].delta = t->wpage - t->wtag;
}

uint64_t tlb_find_host(const struct engine *eng, uint64_t host)
{
    uint64_t page = host & ~(uint64_t)(PAGE_BYTES - 1);

    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        for (unsigned i = 0; next_filled(eng, s, &i); i++) {
            const struct tlb_entry *t = &eng->tlb[s][i];
            bool is_read = t->rpage == page && slot_of(t->rtag) == i;

            if (is_read || (t->wpage == page && slot_of(t->wtag) == i)) {
                return (is_read ? t->rtag : t->wtag) | (host - page);
            }
        }
    }
    return 0;
}

uint8_t *tlb_phys_page(struct engine *eng, uint64_t gpa)
{
    unsigned i = gpa >> PAGE_SHIFT & (PHYS_ENTRIES - 1);
    bool can_write;

    gpa &= ~(uint64_t)(PAGE_BYTES - 1);
    if (eng->phys[i].gpa != gpa) {
        eng->phys[i].page = host_page(eng, gpa, &can_write);
        eng->phys[i].gpa = gpa;
    }
    return eng->phys[i].page;
}

static void set_local(struct engine *eng, unsigned space, unsigned is_write,
                      unsigned slot, bool is_local)
{
    uint64_t *word = &eng->local[space][is_write][slot / 64];
    uint64_t bit = 1ull << (slot & 63);

    *word = is_local ? *word | bit : *word & ~bit;
}

/*
 * The halves of an entry serve different pages when a copy's source and
 * destination share a slot, so an access fills its own half and takes the
 * other only when that is free.
 */
static void enter(struct engine *eng, unsigned space, uint64_t lin,
                  const struct cpu_page *p, uint8_t *page, unsigned access,
                  bool can_write)
{
    unsigned watched = eng->watch_count ? soft_watched_kinds(eng, lin) : 0;
    unsigned slot = slot_of(lin);
    struct tlb_entry *t = &eng->tlb[space][slot];
    uint64_t tag = lin & ~(uint64_t)(PAGE_BYTES - 1), none = no_tag(slot);

    if (watched) can_write = false;
    eng->filled[space][slot / 64] |= 1ull << (slot & 63);
    if (watched & ACC_READ) {
        if (t->rtag == tag) t->rtag = none;
    } else if (!(access & ACC_WRITE) || t->rtag == none) {
        t->rtag = tag;
        t->rpage = (uint64_t)page;
        set_local(eng, space, 0, slot, !p->is_global);
    }
    if (can_write && ((access & ACC_WRITE) || t->wtag == none)) {
        t->wtag = tag;
        t->wpage = (uint64_t)page;
        set_local(eng, space, 1, slot, !p->is_global);
    } else if (t->wtag == tag && !can_write) {
        t->wtag = none;
        site_clear_all(eng);
    }
    note_large_page(eng, lin, p->page_bytes);
    eng->stat.fills++;
}

enum page_kind tlb_resolve(struct engine *eng, uint64_t lin, unsigned access,
                           struct page_ref *r)
{
    unsigned space = soft_space(&eng->cpu, access);
    struct cpu_page p;
    bool can_write = false, is_code = false;
    struct vm_dirty *dirty;
    uint8_t *page;

    if (!is_canonical(lin) && cpu_is_long(&eng->cpu)) {
        /* The emulator checks before it comes here; this is for 32-bit
         * wrap-around oddities and must not index with garbage. */
        r->error = 0;
        return r->kind = PAGE_FAULT;
    }
    if (cpu_walk(&eng->cpu, lin, access, &p, &r->error) < 0) {
        return r->kind = PAGE_FAULT;
    }
    r->gpa = p.gpa;
    page = host_page(eng, p.gpa & ~(uint64_t)(PAGE_BYTES - 1), &can_write);
    if (!page || ((access & ACC_WRITE) && !can_write)) {
        return r->kind = PAGE_DEVICE;
    }
    r->host = page + (lin & (PAGE_BYTES - 1));
    if (can_write) is_code = code_page_is_live(eng->soft, page);
    dirty = vm_dirty(eng->soft->vm);
    if (dirty && (access & ACC_WRITE)) vm_dirty_mark_page(dirty, page);
    if (!(access & ACC_EXEC) && !eng->is_ahead) {
        enter(eng, space, lin, &p, page, access,
              can_write && !is_code && p.can_write &&
                  (!dirty || (access & ACC_WRITE)));
    }
    if ((access & ACC_WRITE) && is_code) return r->kind = PAGE_CODE;
    return r->kind = PAGE_DIRECT;
}

uint8_t *tlb_fetch(struct engine *eng, uint64_t lin)
{
    unsigned space = eng->mode.bits >> BM_SPACE_SHIFT & 3;
    struct fetch_entry *f =
        &eng->fetch[space][lin >> PAGE_SHIFT & (FETCH_ENTRIES - 1)];
    uint64_t tag = lin & ~(uint64_t)(PAGE_BYTES - 1);
    struct cpu_page p;
    uint32_t error;
    uint8_t *page;
    bool can_write;

    if (f->tag != tag) {
        if (!is_canonical(lin)) return NULL;
        if (cpu_walk(&eng->cpu, lin, ACC_EXEC, &p, &error) < 0) return NULL;
        page = host_page(eng, p.gpa & ~(uint64_t)(PAGE_BYTES - 1), &can_write);
        if (!page) return NULL;
        if (eng->is_ahead) return page + (lin & (PAGE_BYTES - 1));
        f->page = page;
        f->tag = tag;
        f->is_global = p.is_global;
        note_large_page(eng, lin, p.page_bytes);
    }
    filter_add(eng->fetched_pages[space], lin >> PAGE_SHIFT);
    if (f->is_global) {
        eng->ibt_has_global[space] = true;
    } else {
        eng->ibt_has_nonglobal[space] = true;
        eng->fetch_has_nonglobal[space] = true;
    }
    return f->page + (lin & (PAGE_BYTES - 1));
}
