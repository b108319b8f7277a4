/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"

#include "core/cpu/copy.h"

/*
 * Blocks: finding, linking, dropping.  Keys hold host addresses of guest
 * memory, so blocks survive changes of paging and of the memory map.
 *
 * A dropped block stays in the cache until the next reset: somebody may be
 * executing it.  Its landing pad is turned into a jump to the miss routine and
 * the jumps that led to it are turned back, each by one aligned store.
 */

void code_lock(struct code_cache *c)
{
    while (atomic_flag_test_and_set_explicit(&c->lock, memory_order_acquire)) {
        __builtin_ia32_pause();
    }
}

void code_unlock(struct code_cache *c)
{
    atomic_flag_clear_explicit(&c->lock, memory_order_release);
}

static uint8_t *writable(const struct code_cache *c, uint8_t *exec)
{
    return c->write + (exec - c->exec);
}

/* ---- pages */

static unsigned page_slot(const uint8_t *page)
{
    uint64_t n = (uint64_t)page >> PAGE_SHIFT;

    return (n ^ n >> 13) & (PAGE_HASH - 1);
}

static struct code_page *page_find(struct code_cache *c, const uint8_t *page)
{
    struct code_page *p = atomic_load(&c->page_hash[page_slot(page)]);

    while (p && p->page != page)
        p = p->next;
    return p;
}

bool code_page_is_live(struct soft_vm *s, const uint8_t *page)
{
    struct code_page *p = s->cache ? page_find(s->cache, page) : NULL;

    return p && atomic_load(&p->is_live);
}

struct code_page *code_page_get_locked(struct code_cache *c,
                                       const uint8_t *page)
{
    struct code_page *p = page_find(c, page);
    unsigned slot = page_slot(page);

    if (p) return p;
    if (c->page_count == c->page_max) return NULL;
    p = &c->pages[c->page_count++];
    p->page = page;
    p->blocks = NULL;
    atomic_store(&p->is_live, false);
    atomic_store(&p->lines, 0);
    atomic_store(&p->stores, 0);
    p->samples = 0;
    p->next = atomic_load(&c->page_hash[slot]);
    atomic_store(&c->page_hash[slot], p);
    return p;
}

static uint64_t line_mask(const uint8_t *host, uint64_t bytes)
{
    unsigned first = ((uint64_t)host & (PAGE_BYTES - 1)) / 64;
    unsigned last = (((uint64_t)host & (PAGE_BYTES - 1)) + bytes - 1) / 64;

    if (last > 63) last = 63;
    return (~0ull << first) & (~0ull >> (63 - last));
}

/* ---- dropping */

static void set_rel32(struct code_cache *c, uint8_t *at, const uint8_t *to)
{
    int32_t rel = (int32_t)(to - (at + 4));

    __atomic_store_n((int32_t *)(void *)writable(c, at), rel, __ATOMIC_RELEASE);
}

/* The pad's first instruction, 5 bytes or more, becomes a jump. */
static void close_pad(struct code_cache *c, struct block *b)
{
    uint64_t *at = (uint64_t *)(void *)writable(c, b->pad);
    int32_t rel = (int32_t)(c->entry[CODE_EXIT_MISS] - (b->pad + 5));
    uint64_t v = *at & ~0xffffffffffull;

    v |= 0xe9 | (uint64_t)(uint32_t)rel << 8;
    __atomic_store_n(at, v, __ATOMIC_RELEASE);
}

/* Where a block is found: its set, and what tells it from most others there. */
static uint32_t *set_of(const struct code_cache *c, const uint8_t *start,
                        uint64_t lin, uint32_t *tag)
{
    const uint64_t odd = 0x9e3779b97f4a7c15ull; /* 2^64 / golden ratio */
    uint64_t h = ((lin >> PAGE_SHIFT) * odd + (uint64_t)start) * odd;

    *tag = (uint32_t)(h >> 32) >> NUMBER_BITS << NUMBER_BITS;
    return c->sets[h >> 28 & (c->set_count - 1)];
}

static struct block *block_in(const struct code_cache *c, uint32_t way)
{
    return &c->blocks[(way & ((1u << NUMBER_BITS) - 1)) - 1];
}

static void unhash(struct code_cache *c, struct block *b)
{
    uint32_t tag, *set = set_of(c, b->start, b->lin, &tag);

    for (unsigned i = 0; i < SET_WAYS; i++) {
        if (set[i] && block_in(c, set[i]) == b) set[i] = 0;
    }
}

/* Lists are long where code is used at many linear addresses. */
static void enlist(struct block *b, int i)
{
    struct code_page *p = b->page[i];
    struct block *next = p->blocks;

    b->page_next[i] = next;
    b->page_at[i] = &p->blocks;
    if (next) next->page_at[next->page[0] != p] = &b->page_next[i];
    p->blocks = b;
}

static void unlist(struct block *b, int i)
{
    struct block *next = b->page_next[i];

    *b->page_at[i] = next;
    if (next) next->page_at[next->page[0] != b->page[i]] = b->page_at[i];
}

static void drop_locked(struct code_cache *c, struct block *b)
{
    b->is_dead = true;
    unhash(c, b);
    close_pad(c, b);
    for (struct link *l = b->links; l; l = l->next) {
        set_rel32(c, l->at, l->stub);
    }
    b->links = NULL;
    if (b->has_loop) {
        for (unsigned i = 0; i < c->soft->engine_count; i++) {
            atomic_store(&c->soft->engines[i]->attn, 1);
        }
    }
    for (int i = 0; i < 2; i++) {
        struct code_page *p = b->page[i];
        if (!p || (i == 1 && p == b->page[0])) continue;
        unlist(b, i);
        if (!p->blocks) {
            atomic_store(&p->lines, 0);
            atomic_store(&p->is_live, false);
        }
    }
    c->stat.dropped++;
}

void code_drop_at(struct soft_vm *s, uint64_t lin)
{
    struct code_cache *c = s->cache;

    if (!c) return;
    code_lock(c);
    for (unsigned i = 0; i < c->block_count; i++) {
        struct block *b = &c->blocks[i];
        const struct insn_map *m = &c->maps[b->first_map];
        int64_t off = (int64_t)(lin - b->lin);

        if (b->is_dead || off != (int16_t)off) continue;
        for (unsigned n = 0; n < b->map_count; n++) {
            if (m[n].guest != off) continue;
            drop_locked(c, b);
            break;
        }
    }
    code_unlock(c);
}

bool code_would_drop(struct soft_vm *s, const uint8_t *host, uint64_t bytes)
{
    const uint8_t *page = (void *)((uint64_t)host & ~(PAGE_BYTES - 1ull));
    struct code_page *p = s->cache ? page_find(s->cache, page) : NULL;

    return p && (atomic_load(&p->lines) & line_mask(host, bytes));
}

bool code_written(struct soft_vm *s, const uint8_t *host, uint64_t bytes)
{
    const uint8_t *page = (void *)((uint64_t)host & ~(PAGE_BYTES - 1ull));
    uint64_t mask = line_mask(host, bytes), lines = 0;
    struct code_page *p;
    struct block *b, *next;
    bool is_any = false;

    if (!s->cache) return false;
    /* The store before the look: the translator marks before it reads. */
    atomic_thread_fence(memory_order_seq_cst);
    p = page_find(s->cache, page);
    if (!p || !(atomic_load(&p->lines) & mask)) return false;
    code_lock(s->cache);
    for (b = p->blocks; b; b = next) {
        int i = b->page[0] != p;
        next = b->page_next[i];
        if (!(b->lines[i] & mask)) continue;
        drop_locked(s->cache, b);
        is_any = true;
    }
    /* Lines of no block must not stop every later store. */
    for (b = p->blocks; b; b = b->page_next[b->page[0] != p]) {
        lines |= b->lines[b->page[0] != p];
    }
    atomic_store(&p->lines, lines);
    code_unlock(s->cache);
    return is_any;
}

enum { STORES_MAX = 1024 };

void code_note_store(struct soft_vm *s, const uint8_t *host)
{
    const uint8_t *page = (void *)((uint64_t)host & ~(PAGE_BYTES - 1ull));
    struct code_page *p = page_find(s->cache, page);

    if (!p || atomic_fetch_add(&p->stores, 1) < STORES_MAX) return;
    atomic_store(&p->stores, 0);
    code_written(s, page, PAGE_BYTES);
}

/* ---- hot code */

static void drop_page_locked(struct code_cache *c, struct code_page *p)
{
    struct block *next;

    for (struct block *b = p->blocks; b; b = next) {
        next = b->page_next[b->page[0] != p];
        drop_locked(c, b);
    }
}

bool code_is_hot(struct soft_vm *s, const uint8_t *page)
{
    struct code_page *p;
    bool is_hot;

    if (s->options.is_all_hot) return true;
    code_lock(s->cache);
    p = page_find(s->cache, page);
    is_hot = p && p->samples == HOT_SAMPLES;
    code_unlock(s->cache);
    return is_hot;
}

void code_note_running(struct soft_vm *s, const uint8_t *host)
{
    const uint8_t *page = (void *)((uint64_t)host & ~(PAGE_BYTES - 1ull));
    struct code_page *p;

    code_lock(s->cache);
    p = page_find(s->cache, page);
    if (p && p->samples < HOT_SAMPLES && ++p->samples == HOT_SAMPLES) {
        drop_page_locked(s->cache, p);
    }
    code_unlock(s->cache);
}

static unsigned no_site_bit(uint64_t rip)
{
    return (rip ^ rip >> 12) & (NO_SITE_BITS - 1);
}

bool code_has_no_site(const struct code_cache *c, uint64_t rip)
{
    unsigned bit = no_site_bit(rip);

    return c->no_site[bit / 64] >> (bit & 63) & 1;
}

/* Something was learned of its code: it is to be translated again. */
static void drop_to_learn_locked(struct code_cache *c, unsigned number)
{
    struct block *b = &c->blocks[number];

    if (number >= c->block_count || b->is_dead) return;
    code_drop_newest_locked(c, b->start);
    drop_locked(c, b);
}

void code_drop_site(struct soft_vm *s, unsigned block, uint64_t rip)
{
    struct code_cache *c = s->cache;
    unsigned bit = no_site_bit(rip);

    code_lock(c);
    c->no_site[bit / 64] |= 1ull << (bit & 63);
    drop_to_learn_locked(c, block);
    code_unlock(c);
}

static unsigned split_slot(uint64_t rip)
{
    return rip * 0x9e3779b97f4a7c15ull >> 40 & (SPLITS - 1);
}

void code_note_split(struct soft_vm *s, unsigned block, uint64_t rip, int at)
{
    struct code_cache *c = s->cache;
    struct code_split *p = &c->split[split_slot(rip)];

    code_lock(c);
    if (p->rip != rip) *p = (struct code_split){ .rip = rip };
    if (p->at != at) {
        /* Some frames are now here, now there. */
        if (p->changes < SPLIT_CHANGES) p->changes++;
        p->at = (int16_t)at;
        p->count = 0;
    }
    /* A single access may span them: not for ever. */
    if (p->count < SPLIT_SEEN + SPLIT_DROPS) p->count++;
    if (p->count >= SPLIT_SEEN && p->count < SPLIT_SEEN + SPLIT_DROPS &&
        p->changes < SPLIT_CHANGES) {
        drop_to_learn_locked(c, block);
    }
    code_unlock(c);
}

bool code_split_of(const struct code_cache *c, uint64_t rip, int16_t *at)
{
    const struct code_split *p = &c->split[split_slot(rip)];

    *at = p->at;
    return p->rip == rip && p->count >= SPLIT_SEEN &&
           p->changes < SPLIT_CHANGES;
}

/* ---- finding and linking */

static bool is_same_mode(const struct mode_key *a, const struct mode_key *b)
{
    return a->bits == b->bits && a->cs_base == b->cs_base &&
           a->cs_limit == b->cs_limit;
}

struct block *code_find_locked(struct code_cache *c, const uint8_t *start,
                               uint64_t lin, const struct mode_key *mode,
                               const uint8_t *next)
{
    uint32_t tag, *set = set_of(c, start, lin, &tag);

    for (unsigned i = 0; i < SET_WAYS; i++) {
        struct block *b;

        if (!set[i] || (set[i] ^ tag) >> NUMBER_BITS) continue;
        b = block_in(c, set[i]);
        if (b->start != start || b->lin != lin ||
            !is_same_mode(&b->mode, mode)) {
            continue;
        }
        if (b->is_spanning && b->page[1]->page != next) continue;
        return b;
    }
    return NULL;
}

void code_insert_locked(struct code_cache *c, struct block *b)
{
    uint32_t number = (uint32_t)(b - c->blocks) + 1;
    uint32_t tag, *set = set_of(c, b->start, b->lin, &tag);
    unsigned way = 0;

    while (way < SET_WAYS && set[way])
        way++;
    if (way == SET_WAYS) {
        way = number % SET_WAYS;
        drop_locked(c, block_in(c, set[way]));
    }
    set[way] = tag | number;
    for (int i = 0; i < 2; i++) {
        struct code_page *p = b->page[i];
        if (!p || (i == 1 && p == b->page[0])) continue;
        enlist(b, i);
    }
}

bool code_may_span(const struct mode_key *mode, uint64_t lin)
{
    return (mode->bits >> BM_SPACE_SHIFT & 3) == SPACE_USER &&
           (mode->bits & BM_CODE64) &&
           !(mode->bits & (BM_UNGROUPED | BM_SPLIT_STACK)) &&
           (lin & (PAGE_BYTES - 1)) > PAGE_BYTES - SPAN_BYTES;
}

/* Where a jump at the executable address leads for b; NULL: it cannot. */
static uint8_t *entry_for(const struct block *b, const uint8_t *at,
                          unsigned flags)
{
    uint8_t *body = b->body + (flags & LINK_POLLED ? b->polled : 0);

    if (!b->is_spanning || (at >= b->pad && at < b->pad + b->bytes)) {
        return body;
    }
    /* The page its end is in may be another one at the next jump.  The table
     * has no blocks without groups. */
    return flags & LINK_UNGROUPED ? NULL : b->pad - b->way_in;
}

void code_link_locked(struct code_cache *c, uint8_t *at, struct block *b)
{
    unsigned flags = (uint64_t)at & LINK_BITS;
    uint8_t *entry;
    struct link *l;
    int32_t old;

    at -= flags;
    entry = entry_for(b, at, flags);
    if (b->is_dead || c->link_count == c->link_max || !entry) return;
    old = *(int32_t *)(void *)writable(c, at);
    for (l = b->links; l; l = l->next) {
        if (l->at == at) return; /* another vCPU was faster */
    }
    l = &c->links[c->link_count++];
    l->at = at;
    l->stub = at + 4 + old;
    l->next = b->links;
    b->links = l;
    set_rel32(c, at, entry);
    c->stat.links++;
}

void code_reset(struct soft_vm *s)
{
    struct code_cache *c = s->cache;

    code_lock(c);
    c->hot = c->hot_start;
    c->cold = c->cold_start;
    c->block_count = c->map_count = c->link_count = c->page_count = 0;
    c->move_count = 0;
    cpu_zero(c->sets, c->set_count * sizeof(*c->sets));
    cpu_zero(c->newest, sizeof(c->newest));
    for (unsigned i = 0; i < PAGE_HASH; i++) {
        atomic_store(&c->page_hash[i], NULL);
    }
    c->stat.flushes++;
    code_unlock(c);
    for (unsigned i = 0; i < s->engine_count; i++) {
        context_drop_targets(s->engines[i]);
        for (unsigned k = 0; k < SPACE_COUNT; k++) {
            ibt_clear(s->engines[i], k);
        }
    }
}

/* ---- host addresses */

struct block *code_block_at(struct code_cache *c, const uint8_t *pc)
{
    unsigned lo = 0, hi = c->block_count;

    /* Blocks are laid out in the order they are made. */
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (c->blocks[mid].pad + c->blocks[mid].bytes <= pc) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == c->block_count || pc < c->blocks[lo].pad) return NULL;
    return &c->blocks[lo];
}

uint64_t code_guest_rip(const struct code_cache *c, const struct block *b,
                        const uint8_t *pc)
{
    const struct insn_map *m = &c->maps[b->first_map];
    uint16_t off = (uint16_t)(pc - b->pad);
    int16_t guest = 0;

    for (unsigned i = 0; i < b->map_count && m[i].host <= off; i++) {
        guest = m[i].guest;
    }
    return b->lin - b->mode.cs_base + (uint64_t)(int64_t)guest;
}
