/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/code.h"

#include "core/base/log.h"
#include "core/cpu/copy.h"
#include "core/soft/host_log.h"
#include "core/soft/ring.h"
#include "core/soft/verify.h"
#include "core/vm/vm.h"

/*
 * Running translated code: entry through the indirect-branch table, what to do
 * when it comes back, and making blocks.
 */

void soft_enter_code(uint64_t code, uint64_t rip);

/* ---- the memory slow path (entry.S, soft_slow) */

enum { BOUNCE_ALIGN = 64 };

static bool is_canonical(uint64_t lin)
{
    return (int64_t)(lin << 16) >> 16 == (int64_t)lin;
}

static bool is_crossing(uint64_t lin, unsigned bytes)
{
    return (lin & (PAGE_BYTES - 1)) + bytes > PAGE_BYTES;
}

/* A load across two pages of memory, into the bounce buffer. */
static uint64_t load_crossing(struct engine *eng, uint64_t lin, unsigned bytes)
{
    unsigned first = PAGE_BYTES - (unsigned)(lin & (PAGE_BYTES - 1));
    uint8_t *to = eng->bounce + (lin & (BOUNCE_ALIGN - 1));
    uint64_t second = lin + first;
    struct page_ref a, b;

    if (bytes > BOUNCE_ALIGN) return 0;
    if (!cpu_is_long(&eng->cpu)) second = (uint32_t)second;
    if (tlb_resolve(eng, lin, ACC_READ, &a) != PAGE_DIRECT) return 0;
    if (tlb_resolve(eng, second, ACC_READ, &b) != PAGE_DIRECT) return 0;
    cpu_copy(to, a.host, first);
    cpu_copy(to + first, b.host, bytes - first);
    return (uint64_t)to;
}

/* Called from entry.S: host address for the access, or 0 when the instruction
 * must be emulated (fault, device, store across pages, store to code). */
uint64_t soft_slow_access(uint64_t lin, const struct slow_site *site);

/* The check of a group may stand before instructions that fault: it must not
 * make a page dirty.  So a store needs a page that is known to be. */
static uint64_t group_access(struct engine *eng, uint64_t lin,
                             const struct slow_site *site)
{
    unsigned space = soft_space(&eng->cpu, 0);
    const struct tlb_entry *t =
        &eng->tlb[space][lin >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    struct page_ref r;

    if (tlb_resolve(eng, lin, ACC_READ, &r) != PAGE_DIRECT) return 0;
    if (!site->is_write && !site->is_stack) return (uint64_t)r.host;
    if ((lin ^ t->wtag) >= PAGE_BYTES) return 0;
    if (site->is_stack) tlb_set_stack(eng, lin);
    return t->wpage + (lin & (PAGE_BYTES - 1));
}

/* The range of a group lies in two pages. */
static void note_spanning(struct engine *eng, uint64_t lin,
                          const struct slow_site *site)
{
    uint64_t first = site->rip + (uint64_t)(int64_t)site->first;
    unsigned left = PAGE_BYTES - (unsigned)(lin & (PAGE_BYTES - 1));

    switch (site->is_group) {
    case GROUP_TABLE: code_drop_site(eng->soft, site->block, first); break;
    case GROUP_FRAME:
        code_note_split(eng->soft, site->block, first, site->from + (int)left);
        break;
    default: break;
    }
}

uint64_t soft_slow_access(uint64_t lin, const struct slow_site *site)
{
    struct engine *eng;
    struct page_ref r;

    __asm__("rdgsbase %0" : "=r"(eng));
    if (eng->watch_count &&
        soft_is_watched(eng, lin, site->bytes,
                        site->is_write ? ACC_READ | ACC_WRITE : ACC_READ)) {
        return 0;
    }
    if (site->place) {
        uint64_t host = site_fill(eng, lin, site);
        if (host) return host;
    }
    if (site->is_group && is_crossing(lin, site->bytes)) {
        note_spanning(eng, lin, site);
        return 0;
    }
    if (is_crossing(lin, site->bytes)) {
        return site->is_write ? 0 : load_crossing(eng, lin, site->bytes);
    }
    if (site->is_group) return group_access(eng, lin, site);
    if (site->is_stack) {
        unsigned space = soft_space(&eng->cpu, 0);
        const struct stack_page *p = &eng->stack[space];

        tlb_set_stack(eng, lin);
        if ((lin ^ p->page) < PAGE_BYTES) {
            return p->host + (lin & (PAGE_BYTES - 1));
        }
    }
    switch (tlb_resolve(eng, lin,
                        site->is_write ? ACC_READ | ACC_WRITE : ACC_READ, &r)) {
    case PAGE_DIRECT: break;
    case PAGE_CODE:
        if (code_would_drop(eng->soft, r.host, site->bytes)) return 0;
        code_note_store(eng->soft, r.host);
        break;
    case PAGE_FAULT:
        /* By linear address: outside 64-bit code it may have wrapped. */
        if (!site->is_group && (eng->mode.bits & BM_CODE64) &&
            is_canonical(lin)) {
            eng->has_fault = true;
            eng->fault_lin = lin;
            eng->fault_error = r.error;
        }
        return 0;
    default: return 0;
    }
    if (site->is_stack) tlb_set_stack(eng, lin);
    return (uint64_t)r.host;
}

/* ---- making blocks */

/* Stores to the page are seen from now on, by all vCPUs. */
static void watch_page(struct engine *eng, const uint8_t *page)
{
    struct soft_vm *s = eng->soft;
    struct code_page *p;

    if (s->engine_count > 1) {
        soft_leave(eng);
        vm_lock(s->vm);
        vm_exclusive_begin_locked(s->vm);
    }
    code_lock(s->cache);
    p = code_page_get_locked(s->cache, page);
    if (p) atomic_store(&p->is_live, true);
    code_unlock(s->cache);
    for (unsigned i = 0; i < s->engine_count; i++) {
        tlb_protect(s->engines[i], page);
    }
    if (s->engine_count > 1) {
        vm_exclusive_end_locked(s->vm);
        vm_unlock(s->vm);
        soft_enter(eng);
    }
}

static void reset_cache(struct engine *eng)
{
    struct vm *vm = eng->soft->vm;

    soft_leave(eng);
    vm_lock(vm);
    vm_exclusive_begin_locked(vm);
    code_reset(eng->soft);
    vm_exclusive_end_locked(vm);
    vm_unlock(vm);
    soft_enter(eng);
}

static const uint8_t *page_of(const uint8_t *host)
{
    return (const uint8_t *)((uint64_t)host & ~(PAGE_BYTES - 1ull));
}

/* Host page after the one of lin, if code may be fetched from it. */
static const uint8_t *next_page(struct engine *eng, uint64_t lin)
{
    uint64_t next = (lin | (PAGE_BYTES - 1)) + 1;

    if (!cpu_is_long(&eng->cpu)) next = (uint32_t)next;
    return tlb_fetch(eng, next);
}

/* Block for the code, if it has one at another linear address. */
static struct block *move_block(struct engine *eng, const uint8_t *start,
                                uint64_t lin, uint8_t *link, uint64_t flushes)
{
    struct code_cache *c = eng->soft->cache;
    struct block *b;

    /* Blocks end before breakpoints; new ones are logged. */
    if (eng->soft->break_count || eng->log & LOG_IN_ASM) return NULL;
    code_lock(c);
    b = code_move_locked(c, start, lin, &eng->mode);
    if (b && link && flushes == c->stat.flushes) code_link_locked(c, link, b);
    code_unlock(c);
    return b;
}

enum { TAIL_BYTES = 15, TRIES = 4 };

/* Block for the code at rip, NULL when it must be emulated. */
struct block *soft_get_block(struct engine *eng, uint64_t rip, uint8_t *link)
{
    struct code_cache *c = eng->soft->cache;
    struct mode_key *m = &eng->mode;
    uint64_t lin = m->cs_base + rip;
    bool is_long = cpu_is_long(&eng->cpu);

    if (!is_long) lin = (uint32_t)lin;
    if (!(m->bits & BM_CODE64) && rip > m->cs_limit) return NULL;
    if (eng->soft->break_count && soft_is_break(eng->soft, lin)) return NULL;
    for (int try = 0; try < TRIES; try++) {
        const uint8_t *start = tlb_fetch(eng, lin), *next = NULL;
        struct block *b;
        uint64_t flushes;

        if (!start) return NULL;
        if ((lin & (PAGE_BYTES - 1)) > PAGE_BYTES - TAIL_BYTES ||
            (code_may_span(m, lin) && code_is_hot(eng->soft, page_of(start)))) {
            next = next_page(eng, lin);
        }
        code_lock(c);
        flushes = c->stat.flushes;
        b = code_find_locked(c, start, lin, m, next);
        if (b) {
            if (link) code_link_locked(c, link, b);
            code_unlock(c);
            return b;
        }
        code_unlock(c);
        if (!code_page_is_live(eng->soft, page_of(start))) {
            watch_page(eng, page_of(start));
            link = NULL;
            continue;
        }
        if (next && !code_page_is_live(eng->soft, next)) {
            watch_page(eng, next);
            link = NULL;
            continue;
        }
        b = move_block(eng, start, lin, link, flushes);
        if (b) return b;
        soft_vector_save(&eng->cpu);
        code_lock(c);
        b = code_translate(eng->soft, eng, start, lin, next);
        if (b && (eng->log & LOG_IN_ASM)) {
            host_log_block(eng, b, start, lin, next);
        }
        if (b && link && flushes == c->stat.flushes) {
            code_link_locked(c, link, b);
        }
        code_unlock(c);
        soft_vector_load(&eng->cpu);
        if (b) return b;
        reset_cache(eng);
        link = NULL;
    }
    return NULL;
}

static void lookup(struct engine *eng, struct block **out)
{
    struct cpu *c = &eng->cpu;
    unsigned space = eng->mode.bits >> BM_SPACE_SHIFT & 3;
    struct block *b = soft_get_block(eng, c->rip, (uint8_t *)eng->link);

    eng->stat.lookups++;
    *out = b;
    if (!b) return;
    ibt_set(eng, space, c->rip, b->pad);
}

static bool is_same(const struct mode_key *a, const struct mode_key *b)
{
    return a->bits == b->bits && a->cs_base == b->cs_base &&
           a->cs_limit == b->cs_limit;
}

/* The table of a space serves one mode at a time.  The two supervisor spaces
 * change together: STAC and CLAC jump from one to the other. */
static void own_table(struct engine *eng)
{
    struct mode_key m = eng->mode;
    unsigned space = m.bits >> BM_SPACE_SHIFT & 3;
    unsigned i = space == SPACE_USER ? SPACE_USER : SPACE_SUPER;

    m.bits &= ~(3u << BM_SPACE_SHIFT);
    if (is_same(&eng->ibt_mode[i], &m)) return;
    ibt_clear(eng, i);
    if (i != SPACE_USER) ibt_clear(eng, SPACE_SUPER_AC);
    eng->ibt_mode[i] = m;
}

static void take_mode(struct engine *eng)
{
    soft_update_mode(eng);
    eng->is_mode_stale = false;
    own_table(eng);
    ring_update(eng);
}

/* The stack slot of a call, as it was before: it could be written to. */
static void restore_slot(struct engine *eng, uint64_t off, unsigned bytes)
{
    uint64_t lin = off;
    struct page_ref r;

    if (!(eng->mode.bits & BM_CODE64)) {
        lin = (uint32_t)(off + eng->cpu.seg[SEG_SS].base);
    }
    switch (tlb_resolve(eng, lin, ACC_READ | ACC_WRITE, &r)) {
    case PAGE_DIRECT:
    case PAGE_CODE: cpu_put(r.host, bytes, eng->temp[2]); break;
    default: break;
    }
}

/* Code was left for where none can be: if by a branch, that has not been
 * executed, and will raise its exception in the emulator. */
static void undo_branch(struct engine *eng)
{
    const struct code_cache *cache = eng->soft->cache;
    uint32_t from = (uint32_t)eng->temp[0];
    const struct block *b = &cache->blocks[from & ~BRANCH_MARK];
    uint64_t mask = eng->mode.bits & BM_CODE64    ? UINT64_MAX
                    : eng->mode.bits & BM_STACK32 ? UINT32_MAX
                                                  : UINT16_MAX;
    struct cpu *c = &eng->cpu;
    uint64_t sp = c->gpr[GPR_SP];

    if (!(from & BRANCH_MARK)) return;
    if (b->sp_change < 0) {
        restore_slot(eng, sp & mask, (unsigned)-b->sp_change);
    }
    sp -= (uint64_t)(int64_t)b->sp_change;
    c->gpr[GPR_SP] = (c->gpr[GPR_SP] & ~mask) | (sp & mask);
    c->rip =
        b->lin - b->mode.cs_base +
        (uint64_t)(int64_t)cache->maps[b->first_map + b->insn_count - 1].guest;
    if (!(b->mode.bits & BM_CODE64)) c->rip = (uint32_t)c->rip;
    eng->cause = LEAVE_EMULATE;
}

void soft_enter_block(struct engine *eng, const uint8_t *code)
{
    struct cpu *c = &eng->cpu;

    c->rflags &= ~(uint64_t)FLAG_RF;
    eng->host_flags = (c->rflags & FLAGS_ARITH) | FLAG_IF | 2;
    eng->if_flag = c->rflags & FLAG_IF;
    eng->other_flags = c->rflags & ~(uint64_t)(FLAGS_ARITH | FLAG_IF | FLAG_VM);
    eng->stat.entries++;
    soft_enter_code((uint64_t)code, c->rip);
    if (eng->cause == LEAVE_SLOW) {
        const struct slow_site *site = (void *)eng->link;
        soft_unswap(c, site->swaps);
        if (site->has_saved_flags) {
            uint64_t ax = eng->saved_flags;
            eng->host_flags =
                (ax >> 8 & FLAGS_ARITH & 0xff) | (ax & 0xff ? FLAG_OF : 0);
        }
    }
    c->rflags = (c->rflags & ~(uint64_t)(FLAGS_ARITH | FLAG_IF)) |
                (eng->host_flags & FLAGS_ARITH) | eng->if_flag;
    if (eng->is_mode_stale) take_mode(eng);
    if (eng->cause == LEAVE_LOOKUP && !eng->link &&
        is_no_code(&eng->mode, c->rip)) {
        undo_branch(eng);
    }
}

/* A group's check has failed: link a block without groups to where it leads
 * then, and go on there. */
static struct block *run_ungrouped(struct engine *eng)
{
    uint32_t bit = eng->link & LINK_POLLED ? BM_UNGROUPED : BM_SPLIT_STACK;
    struct block *b;

    eng->mode.bits |= bit;
    b = soft_get_block(eng, eng->cpu.rip, (uint8_t *)eng->link);
    eng->mode.bits &= ~bit;
    if (b) soft_enter_block(eng, b->pad);
    return b;
}

/* Attention is asked for by timers and devices: what runs then is a sample of
 * what runs mostly. */
void soft_note_running(struct engine *eng)
{
    const uint8_t *host;

    if ((eng->mode.bits >> BM_SPACE_SHIFT & 3) != SPACE_USER) return;
    host = tlb_fetch(eng, eng->mode.cs_base + eng->cpu.rip);
    if (host) code_note_running(eng->soft, host);
}

enum cpu_step soft_run_translated(struct engine *eng)
{
    struct cpu *c = &eng->cpu;
    struct block *b;
    enum cpu_step step;
    unsigned space;

    if (eng->is_mode_stale) take_mode(eng);
    for (;;) {
        space = eng->mode.bits >> BM_SPACE_SHIFT & 3;
        if (eng->verify) {
            enum verify_result r = verify_block(eng);
            if (r == VERIFY_FAILED) return STEP_UNKNOWN;
            if (r == VERIFY_DONE) return STEP_OK;
            break;
        }
        soft_enter_block(eng, (void *)eng->ibt[space][ibt_slot(c->rip)]);
        while (eng->cause == LEAVE_LOOKUP && (eng->link & LINK_UNGROUPED)) {
            if (!run_ungrouped(eng)) eng->cause = LEAVE_EMULATE;
        }
        if (eng->cause == LEAVE_ATTEND) {
            soft_note_running(eng);
            return STEP_OK;
        }
        if (eng->cause != LEAVE_LOOKUP) break;
        if (atomic_load_explicit(&eng->attn, memory_order_relaxed)) {
            return STEP_OK;
        }
        lookup(eng, &b);
        if (!b) break;
    }
    if (eng->has_fault) return ring_fault(eng);
    if (eng->cause == LEAVE_IRET && ring_iret(eng)) return STEP_OK;
    if (soft_at_break(eng)) return STEP_OK;
    step = cpu_emulate(c);
    eng->stat.emulated++;
    eng->is_mode_stale = true;
    return step;
}
