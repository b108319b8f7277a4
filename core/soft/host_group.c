/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <string.h>

/*
 * Groups: accesses of a block off the same registers, unchanged but for known
 * constants added, share one check of the range from the first byte to the
 * last.  It stands before the first of them, or earlier, where the flags are
 * dead.  When the range does not lie in one page that may be accessed so, a
 * jump leads to a translation of the rest without groups (BM_UNGROUPED), or, if
 * it was the stack's, without those off RSP (BM_SPLIT_STACK).
 *
 * A group off RSP is checked against the page cached for the stack; its
 * members add engine.stack[].delta.  For the others the host address is kept
 * in engine.stash[].  64-bit code only.
 */

enum { GROUP_SPAN = 512, HOIST_INSNS = 16 };

static int64_t immediate(const struct guest_insn *n)
{
    return n->o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? n->o[1].imm.value.s
                                                        : 0;
}

static bool is_full_gpr(const ZydisDecodedOperand *o, int g)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->size == 64 &&
           guest_gpr(o->reg.value) == g;
}

/* Is g after n what it was before plus *by? */
bool adds_constant(const struct guest_insn *n, int g, int64_t *by)
{
    *by = 0;
    if (!(n->writes >> g & 1)) return true;
    switch (n->kind) {
    case INSN_PUSH: *by = -(int64_t)stack_slot_bytes(n); return g == GPR_SP;
    case INSN_POP:
        *by = stack_slot_bytes(n);
        return g == GPR_SP && !(n->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                                guest_gpr(n->o[0].reg.value) == GPR_SP);
    case INSN_LEA:
        *by = n->o[1].mem.disp.value;
        return is_full_gpr(&n->o[0], g) && n->d.address_width == 64 &&
               n->o[1].mem.index == ZYDIS_REGISTER_NONE &&
               guest_gpr(n->o[1].mem.base) == g;
    case INSN_GENERIC: break;
    default: return false;
    }
    if (!is_full_gpr(&n->o[0], g)) return false;
    switch (n->d.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        *by = immediate(n);
        return n->o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_SUB:
        *by = -immediate(n);
        return n->o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_INC: *by = 1; return true;
    case ZYDIS_MNEMONIC_DEC: *by = -1; return true;
    default: return false;
    }
}

/* ---- planning */

struct plan {
    struct translator *t;
    int64_t delta[16];       /* added to each register so far */
    bool is_open[GROUP_MAX]; /* the registers are still the same */
};

static bool is_constant(const struct group *g)
{
    return g->a.base < 0 && g->a.index < 0;
}

static bool fits(const struct group *g, int64_t from, int64_t end)
{
    enum { SAME_TABLE = 32 };
    int64_t lo = from < g->from ? from : g->from;
    int64_t hi = end > g->end ? end : g->end;

    if (is_constant(g)) return (lo ^ (hi - 1)) >> PAGE_SHIFT == 0;
    if (g->has_split && hi > g->split && lo < g->split) return false;
    if (g->is_indexed) {
        return hi - lo <= g->end - g->from + SAME_TABLE && hi - lo < PAGE_BYTES;
    }
    return hi - lo <= GROUP_SPAN;
}

/* An open group for the access, or a new one; -1: none. */
static int find_group(struct plan *p, const struct access *a, int64_t from,
                      bool is_indexed)
{
    struct translator *t = p->t;

    for (unsigned k = 0; k < t->group_count; k++) {
        const struct group *g = &t->group[k];
        if (!p->is_open[k] || g->a.base != a->base || g->a.index != a->index ||
            g->a.scale != a->scale || g->a.is_rip != a->is_rip ||
            g->is_indexed != is_indexed) {
            continue;
        }
        if (fits(g, from, from + a->bytes)) return (int)k;
        if (!is_constant(g) && !is_indexed && !g->has_split) {
            p->is_open[k] = false;
        }
    }
    if (t->group_count == GROUP_MAX) return -1;
    p->is_open[t->group_count] = true;
    return (int)t->group_count++;
}

/* Does it span two pages, as was seen, or another one off the same register? */
static void set_split(const struct plan *p, const struct guest_insn *n,
                      struct group *g)
{
    const struct translator *t = p->t;
    int16_t at;

    if (is_constant(g) || g->is_indexed) return;
    for (unsigned k = 0; k + 1 < t->group_count; k++) {
        const struct group *o = &t->group[k];
        if (!p->is_open[k] || !o->has_split || o->a.base != g->a.base ||
            o->a.index != g->a.index || o->a.scale != g->a.scale) {
            continue;
        }
        g->has_split = true;
        g->split = o->split;
    }
    if (!g->has_split && code_split_of(t->cache, n->rip, &at)) {
        g->has_split = true;
        g->split = g->from + at;
    }
}

static void add_member(struct plan *p, struct guest_insn *n,
                       const struct access *a, bool is_slot, bool is_indexed)
{
    int64_t delta = a->base >= 0 ? p->delta[a->base] : 0;
    int64_t from = a->disp + delta, end = from + a->bytes;
    unsigned count = p->t->group_count;
    struct group *g;
    int k;

    if (from != (int32_t)from && a->base >= 0) return;
    if (a->base == GPR_SP && p->t->mode.bits & BM_SPLIT_STACK) return;
    k = find_group(p, a, from, is_indexed);
    if (k < 0) return;
    g = &p->t->group[k];
    if (count != p->t->group_count) {
        *g = (struct group){ .a = *a,
                             .from = from,
                             .end = end,
                             .first = (unsigned)(n - p->t->insn),
                             .delta = delta,
                             .index_delta =
                                 a->index >= 0 ? p->delta[a->index] : 0,
                             .is_indexed = is_indexed,
                             .first_from = from,
                             .pin = H_NONE };
    }
    if (count != p->t->group_count) set_split(p, n, g);
    if (from < g->from) g->from = from;
    if (end > g->end) g->end = end;
    g->a.is_write |= a->is_write;
    g->members++;
    n->group[is_slot] = (int8_t)k;
    n->offset[is_slot] = from;
}

static void add_accesses(struct plan *p, struct guest_insn *n)
{
    struct access a = { .base = GPR_SP, .index = -1, .asize = 8 };
    unsigned bytes;

    if (n->mem >= 0 && n->kind == INSN_GENERIC &&
        access_of(p->t, n, &n->o[n->mem], &a) && a.asize == 8 &&
        a.seg != SEG_FS && a.seg != SEG_GS) {
        if (p->t->is_hot && !code_has_no_site(p->t->cache, n->rip) &&
            index_reach(p->t, n, &a)) {
            add_member(p, n, &a, false, true);
        } else if (a.base >= 0 || a.index < 0) {
            add_member(p, n, &a, false, false);
        }
        return;
    }
    if (n->mem >= 0) return;
    bytes = stack_slot_bytes(n);
    if (bytes != 8) return;
    a = (struct access){
        .base = GPR_SP, .index = -1, .asize = 8, .seg = SEG_SS, .bytes = bytes
    };
    switch (n->kind) {
    case INSN_PUSH:
    case INSN_CALL:
    case INSN_CALL_INDIRECT:
        a.disp = -8;
        a.is_write = true;
        break;
    case INSN_POP:
    case INSN_RET: break;
    default: return;
    }
    add_member(p, n, &a, true, false);
}

static void note_writes(struct plan *p, const struct guest_insn *n)
{
    for (int r = 0; r < 16; r++) {
        int64_t by;
        bool is_known;

        if (!(n->writes >> r & 1)) continue;
        is_known = adds_constant(n, r, &by);
        p->delta[r] = is_known ? p->delta[r] + by : 0;
        for (unsigned k = 0; k < p->t->group_count; k++) {
            const struct group *g = &p->t->group[k];
            if (g->a.index == r || (g->a.base == r && !is_known)) {
                p->is_open[k] = false;
            }
        }
    }
}

/* Between STI and the next instruction nothing may leave but for that one. */
static bool is_after_sti(const struct translator *t, unsigned i)
{
    return i > 0 && t->insn[i - 1].d.mnemonic == ZYDIS_MNEMONIC_STI;
}

/* Where the check stands: at the first member, or before, if the flags are
 * dead there and the registers known.  Two groups off RSP never overlap. */
static void place_check(struct translator *t, struct group *g, unsigned lowest)
{
    int64_t delta = g->delta, by;
    unsigned i = g->first;

    g->at = i;
    g->at_delta = delta;
    if (t->insn[i].in == 0) return;
    while (i > lowest && g->first - i < HOIST_INSNS) {
        i--;
        if (g->a.index >= 0 && t->insn[i].writes >> g->a.index & 1) return;
        if (g->a.base >= 0) {
            if (!adds_constant(&t->insn[i], g->a.base, &by)) return;
            delta -= by;
        }
        if (t->insn[i].in || is_after_sti(t, i)) continue;
        g->at = i;
        g->at_delta = delta;
        return;
    }
}

static void forget(struct translator *t, int k)
{
    for (unsigned i = 0; i < t->count; i++) {
        for (int s = 0; s < 2; s++) {
            if (t->insn[i].group[s] == k) t->insn[i].group[s] = -1;
        }
    }
}

void plan_groups(struct translator *t)
{
    struct plan p = { .t = t };
    unsigned stack_from = 0;

    t->group_count = 0;
    t->has_stack_group = false;
    t->in_s1 = -1;
    for (unsigned i = 0; i < t->count; i++) {
        t->insn[i].group[0] = t->insn[i].group[1] = -1;
    }
    if (t->eng->soft->options.is_ungrouped || !(t->mode.bits & BM_CODE64) ||
        (t->mode.bits & BM_UNGROUPED)) {
        return;
    }
    for (unsigned i = 0; i < t->count; i++) {
        struct guest_insn *n = &t->insn[i];
        if (n->kind == INSN_EMULATE) break;
        if (!is_after_sti(t, i)) add_accesses(&p, n);
        note_writes(&p, n);
    }
    for (unsigned k = 0; k < t->group_count; k++) {
        struct group *g = &t->group[k];
        bool is_stack = g->a.base == GPR_SP && g->a.index < 0 &&
                        !g->is_indexed && !g->has_split;
        bool is_live = t->insn[g->first].in != 0;

        if (t->loop.is_body && loop_hoists(t, g)) continue;
        place_check(t, g, is_stack ? stack_from : 0);
        if (g->members < 2 && (!is_live || g->at == g->first)) {
            forget(t, (int)k);
            g->members = 0;
            continue;
        }
        g->is_stack = is_stack;
        if (!is_stack) continue;
        t->has_stack_group = true;
        for (unsigned i = g->first; i < t->count; i++) {
            const int8_t *of = t->insn[i].group;
            if (of[0] == (int)k || of[1] == (int)k) stack_from = i + 1;
        }
    }
}

/* ---- emission */

int32_t stash_of(int k)
{
    return (int32_t)(offsetof(struct engine, stash) + 8 * (size_t)k);
}

static int32_t delta_of(const struct translator *t)
{
    return (int32_t)(offsetof(struct engine, stack) +
                     t->space * sizeof(struct stack_page) +
                     offsetof(struct stack_page, delta));
}

void emit_group_checks(struct translator *t, struct guest_insn *n)
{
    unsigned i = (unsigned)(n - t->insn);

    t->now = n;
    for (unsigned k = 0; k < t->group_count; k++) {
        struct group *g = &t->group[k];
        struct access a = g->a;

        if (g->members == 0 || g->is_hoisted || g->at != i) continue;
        a.disp = g->from - (a.base >= 0 ? g->at_delta : 0);
        a.bytes = (unsigned)(g->end - g->from);
        t->checked_group = g;
        emit_ungrouped_access(t, &a);
        t->checked_group = NULL;
        if (!g->is_stack) emit_store(&t->hot, S1, stash_of((int)k));
        t->in_s1 = (int)k;
    }
}

static void add_index(struct translator *t, const struct access *a,
                      struct mem_form *m)
{
    int x = reg_in(t, a->index, S2);

    m->index = x;
    m->scale = a->scale;
    if (x != S2) return;
    /* The instruction's other operand may need S2. */
    emit_lea(&t->hot, true, S1,
             (struct mem_form){ S1, S2, a->scale, false, 0 });
    m->index = H_NONE;
    m->scale = 0;
    t->in_s1 = -1;
}

bool group_access(struct translator *t, bool is_slot, const struct access *a,
                  struct mem_form *m)
{
    int k = t->now->group[is_slot];
    const struct group *g;

    if (k < 0) return false;
    g = &t->group[k];
    if (g->is_hoisted) {
        *m = hoisted_operand(t, k, a);
        return true;
    }
    if (t->in_s1 != k) {
        emit_load(&t->hot, S1, g->is_stack ? delta_of(t) : stash_of(k));
        t->in_s1 = k;
    }
    if (g->is_stack) {
        *m = (struct mem_form){ S1, H_GUEST_SP, 0, false,
                                (int32_t)(a->disp + t->sp_pending) };
    } else {
        *m = mem_at(S1, (int32_t)(t->now->offset[is_slot] - g->from));
        if (g->is_indexed) add_index(t, a, m);
    }
    return true;
}
