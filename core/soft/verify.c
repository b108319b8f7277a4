/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/verify.h"

#include "core/cpu/copy.h"
#include "core/soft/code.h"
#include "core/soft/ring.h"

/* Lock-step: verify.h says what is done; here is how it goes on. */

enum { CANDIDATES = 64 };

/* ---- state */

static void save_state(struct engine *eng, struct cpu *to)
{
    struct cpu *c = &eng->cpu;

    cpu_zero(c->xsave, sizeof(c->xsave));
    soft_vector_save(c);
    cpu_copy(to, c, sizeof(*to));
}

/* The vector registers are garbage before. */
static void load_state(struct engine *eng, const struct cpu *from)
{
    struct cpu *c = &eng->cpu;
    struct cpu_native *native = c->native;

    cpu_copy(c, from, sizeof(*c));
    c->native = native; /* it may be new */
    soft_vector_load(c);
}

/* ---- running ahead */

/* Number of the rewritten instruction at rip, which is most probably the
 * guess; or the count of them. */
static unsigned find_insn(const struct code_cache *cache, const struct block *b,
                          uint64_t rip, unsigned guess)
{
    const struct insn_map *m = &cache->maps[b->first_map];
    int64_t off = (int64_t)(rip - (b->lin - b->mode.cs_base));
    unsigned n = b->insn_count;

    if (!(b->mode.bits & BM_CODE64)) off = (int32_t)off;
    if (guess < n && m[guess].guest == off) return guess;
    for (unsigned i = 0; i < n; i++) {
        if (m[i].guest == off) return i;
    }
    return n;
}

/* Does the block run over its own start? */
static bool passes_start(const struct code_cache *cache, const struct block *b)
{
    const struct insn_map *m = &cache->maps[b->first_map];

    for (unsigned i = 1; i < b->insn_count; i++) {
        if (m[i].guest == 0) return true;
    }
    return false;
}

static bool is_same_step(const struct verify_step *a,
                         const struct verify_step *b)
{
    for (unsigned i = 0; i < 16; i++) {
        if (a->gpr[i] != b->gpr[i]) return false;
    }
    return a->rip == b->rip && a->rflags == b->rflags;
}

static void note_step(struct verify *l, const struct cpu *c)
{
    struct verify_step s, *to = &l->step[l->count++];

    cpu_copy(s.gpr, c->gpr, sizeof(s.gpr));
    s.rip = c->rip;
    s.rflags = c->rflags;
    if (!l->is_again) {
        cpu_copy(to, &s, sizeof(s));
    } else if (!is_same_step(&s, to)) {
        l->is_changed = true;
    }
}

/* Has the emulator left the block's instructions, or the round? */
static bool is_through(struct engine *eng, struct verify *l)
{
    const struct block *b = l->block;
    uint64_t rip = eng->cpu.rip;

    if (!b->has_loop && l->done > 0 &&
        (l->done >= b->insn_count ||
         (rip == l->start.rip && !passes_start(eng->soft->cache, b)))) {
        return true;
    }
    l->expected = find_insn(eng->soft->cache, b, rip, l->expected);
    if (l->expected == b->insn_count) return true;
    l->expected++;
    return false;
}

/* Up to `limit` steps are noted. */
static __attribute__((noinline)) void run_ahead(struct engine *eng,
                                                unsigned limit)
{
    struct verify *l = eng->verify;
    uint32_t hits = eng->watch_hits;

    l->count = l->done = 0;
    l->expected = 0;
    l->is_stopped = l->is_cut = l->is_changed = false;
    eng->is_ahead = eng->cpu.is_stepwise = true;
    if (l->is_again) eng->is_mode_stale = true; /* it is that at the end */
    note_step(l, &eng->cpu);
    if (__builtin_setjmp(l->env) == 0) {
        while (l->count < limit && !is_through(eng, l)) {
            if (cpu_emulate(&eng->cpu) != STEP_OK) verify_stop(eng);
            l->done += !(eng->cpu.rflags & FLAG_RF); /* REP that goes on */
            note_step(l, &eng->cpu);
        }
        l->is_cut = l->count == limit && !l->is_again;
    }
    eng->is_ahead = eng->cpu.is_stepwise = false;
    eng->is_mode_stale = false;
    eng->watch_hits = hits;
    if (l->is_stopped) {
        /* Where it stood before the instruction. */
        const struct verify_step *s = &l->step[l->count - 1];
        cpu_copy(eng->cpu.gpr, s->gpr, sizeof(s->gpr));
        eng->cpu.rip = s->rip;
        eng->cpu.rflags = s->rflags;
    }
}

/* ---- comparing */

static unsigned registers_of(const struct block *b)
{
    return b->mode.bits & BM_CODE64 ? 16 : 8;
}

static uint64_t register_mask(const struct block *b)
{
    return b->mode.bits & BM_CODE64 ? UINT64_MAX : UINT32_MAX;
}

/* Registers that differ. */
static unsigned count_differences(const struct verify *l,
                                  const struct verify_step *s)
{
    const struct cpu *t = &l->translated;
    uint64_t mask = register_mask(l->block);
    unsigned n = 0;

    for (unsigned i = 0; i < registers_of(l->block); i++)
        n += ((t->gpr[i] ^ s->gpr[i]) & mask) != 0;
    return n;
}

enum { FLAGS_LEFT_OUT = FLAGS_ARITH | FLAG_RF };

static bool flags_agree(struct engine *eng, unsigned at)
{
    struct verify *l = eng->verify;
    uint64_t differ = l->translated.rflags ^ l->step[at].rflags;

    l->flags_differ = (uint32_t)(differ & ~(uint64_t)FLAGS_LEFT_OUT);
    differ &= FLAGS_ARITH;
    if (differ) {
        l->flags_differ |= verify_flags_that_matter(eng, at, (uint32_t)differ);
    }
    return l->flags_differ == 0;
}

static bool is_same_segment(const struct cpu_segment *a,
                            const struct cpu_segment *b)
{
    return a->sel == b->sel && a->attr == b->attr && a->limit == b->limit &&
           a->base == b->base;
}

/* All of the state but what a step holds. */
static bool rest_agrees(struct verify *l, bool is_aside)
{
    struct cpu *t = &l->translated, *e = &l->emulated;
    unsigned at;

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (!is_same_segment(&t->seg[i], &e->seg[i])) return false;
    }
    return t->kernel_gs_base == e->kernel_gs_base &&
           !verify_memory_differs(l, is_aside, &at) &&
           verify_vector_differs(t->xsave, e->xsave) < 0;
}

/* Emulate again as far as step `at`: state to emulated, memory too; what the
 * translated code has made is not changed. */
static void emulate_again(struct engine *eng, unsigned at)
{
    struct verify *l = eng->verify;

    verify_set_aside(l);
    load_state(eng, &l->start);
    l->is_again = true;
    run_ahead(eng, at + 1);
    l->is_again = false;
    if (l->count != at + 1) l->is_changed = true;
    save_state(eng, &l->emulated);
    verify_put_back(l);
}

/* Vector state is saved.  Does the state in which the block was left agree with
 * one of the steps?  l->at: that, or the one most alike. */
static bool find_agreement(struct engine *eng)
{
    struct verify *l = eng->verify;
    unsigned last = l->count - 1, least = 100, tries = 0;

    l->at = last;
    for (unsigned i = 0; i <= last; i++) {
        const struct verify_step *s = &l->step[i];
        unsigned n;

        if (s->rip != l->translated.rip) continue;
        n = count_differences(l, s);
        if (n < least) {
            least = n;
            l->at = i;
        }
        if (n || !flags_agree(eng, i)) continue;
        if (i == last) {
            if (rest_agrees(l, false)) return true;
            l->at = i;
        } else if (tries++ < CANDIDATES) {
            emulate_again(eng, i);
            l->count = last + 1;
            if (rest_agrees(l, true)) return true;
            l->at = i;
        }
    }
    return false;
}

/* An instruction that raised a SIMD exception has left its flag in MXCSR; the
 * emulator will raise it again. */
static void forgive_simd_flags(struct verify *l)
{
    l->translated.xsave[24] = l->emulated.xsave[24];
}

/* False: they differ, l->emulated is the state to show. */
static bool agrees(struct engine *eng, bool has_faulted)
{
    struct verify *l = eng->verify;

    if (has_faulted) forgive_simd_flags(l);
    if (find_agreement(eng)) return true;
    emulate_again(eng, l->at);
    if (l->is_changed) {
        l->stat.doubtful++;
        return true;
    }
    if (has_faulted) forgive_simd_flags(l);
    return l->step[l->at].rip == l->translated.rip &&
           count_differences(l, &l->step[l->at]) == 0 &&
           flags_agree(eng, l->at) && rest_agrees(l, true);
}

/* ---- blocks */

static void enter_block(struct engine *eng, const struct block *b)
{
    struct verify *l = eng->verify;

    l->ungrouped_bit = 0;
    if (b->has_loop) {
        atomic_store(&eng->attn, 1);
        soft_enter_block(eng, b->body + b->polled);
    } else {
        soft_enter_block(eng, b->pad);
    }
    if (eng->cause == LEAVE_IRET && ring_iret(eng)) eng->cause = LEAVE_ATTEND;
    if (eng->cause == LEAVE_LOOKUP && (eng->link & LINK_UNGROUPED)) {
        l->ungrouped_rip = eng->cpu.rip;
        l->ungrouped_bit =
            eng->link & LINK_POLLED ? BM_UNGROUPED : BM_SPLIT_STACK;
    }
}

/* More than the translated code of the block can do at a time: rounds of a loop
 * stay in a page, but for those by its plain form. */
static unsigned steps_of(const struct block *b)
{
    unsigned rounds = b->is_counted ? PAGE_BYTES + 4 : 4;
    unsigned n = (b->insn_count + 1u) * rounds;

    return b->has_loop && n < VERIFY_STEPS ? n : VERIFY_STEPS;
}

/* False: the emulator could not go as far as translated code may. */
static bool predict(struct engine *eng)
{
    struct verify *l = eng->verify;
    unsigned limit = steps_of(l->block);

    save_state(eng, &l->start);
    soft_vector_load(&eng->cpu);
    verify_forget(l);
    run_ahead(eng, limit);
    save_state(eng, &l->emulated);
    verify_undo(l);
    load_state(eng, &l->start);
    l->stat.steps += l->count;
    /* A loop that goes on is left at its head after fewer rounds. */
    return !l->is_cut ||
           (l->block->has_loop && !l->is_stopped && limit < VERIFY_STEPS);
}

static void count_run(struct verify *l, struct block *b)
{
    bool is_first = b->verified == 0;

    if (b->verified < VERIFY_TIMES) b->verified++;
    l->stat.blocks += is_first;
    l->stat.runs++;
    l->stat.supers += is_first && b->is_super;
    l->stat.super_runs += b->is_super;
    l->stat.loops += is_first && b->has_loop;
    l->stat.loop_runs += b->has_loop;
}

/* False: they differ. */
static bool run_and_compare(struct engine *eng, struct block *b)
{
    struct verify *l = eng->verify;
    uint64_t signals = eng->stat.signals;
    bool is_good, is_stale;

    l->block = b;
    if (!predict(eng)) {
        l->stat.long_runs++;
        if (b->verified < VERIFY_TIMES) b->verified++;
        enter_block(eng, b);
        return true;
    }
    count_run(l, b);
    enter_block(eng, b);
    is_stale = eng->is_mode_stale; /* IRET */
    save_state(eng, &l->translated);
    is_good = agrees(eng, eng->stat.signals != signals);
    if (!is_good) verify_report(eng);
    load_state(eng, &l->translated);
    eng->is_mode_stale = is_stale;
    return is_good;
}

static struct block *next_block(struct engine *eng)
{
    struct verify *l = eng->verify;
    uint32_t bit = l->ungrouped_bit;
    struct block *b;

    if (l->ungrouped_rip != eng->cpu.rip) bit = 0;
    eng->mode.bits |= bit;
    b = soft_get_block(eng, eng->cpu.rip, NULL);
    eng->mode.bits &= ~bit;
    return b;
}

/* Of any length: a loop that takes a lock and frees it is not always to be left
 * with the lock taken. */
static unsigned new_slice(struct verify *l)
{
    l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
    return (l->random >> 40) % VERIFY_SLICE;
}

/* Let others run, find out what is hot. */
static void take_turns(struct engine *eng)
{
    struct verify *l = eng->verify;

    if (l->runs % VERIFY_SAMPLE == 0) soft_note_running(eng);
    if (l->slice-- > 0 || eng->soft->engine_count == 1) return;
    l->slice = new_slice(l);
    if (!verify_turn_is_wanted(eng->soft->turn)) return;
    soft_leave(eng);
    soft_enter(eng);
}

enum verify_result verify_block(struct engine *eng)
{
    struct verify *l = eng->verify;
    struct block *b;

    l->runs++;
    take_turns(eng);
    eng->cause = LEAVE_EMULATE;
    b = next_block(eng);
    if (!b) {
        l->ungrouped_bit = 0;
        return VERIFY_EMULATE;
    }
    if (eng->watch_count ||
        (b->verified == VERIFY_TIMES && l->runs % VERIFY_EVERY)) {
        enter_block(eng, b);
    } else if (!run_and_compare(eng, b)) {
        return VERIFY_FAILED;
    }
    return eng->cause == LEAVE_LOOKUP || eng->cause == LEAVE_ATTEND
               ? VERIFY_DONE
               : VERIFY_EMULATE;
}
