/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <string.h>

/*
 * A block that jumps back to its own start is written twice.  The plain form
 * runs one round; its jump back leads to the setup of the second form, which
 * checks the accesses whose registers change by a constant each round, once
 * for as many rounds as they stay in their pages, and keeps what is to be
 * added to the registers for the host address.  It goes round until that many
 * rounds are done (a register reaches engine.loop_limit), then through the
 * plain form again, which looks at engine.attn.  Where nothing but constant
 * addresses was checked, each round looks at attn.
 *
 * Nothing takes a translation away while a block runs: that needs either an
 * instruction that is emulated, or an exclusive section, for which attn is
 * set.
 *
 * In the second form R13 to R15 may have changed places with registers the
 * loop does not use.  Leaving it changes them back.
 */

enum { STRIDE_MAX = 64, RECIPROCAL_SHIFT = 20, USES_MIN = 2 };

#define FIELD(f) ((int32_t)offsetof(struct engine, f))

void loop_reset_regs(struct translator *t)
{
    for (int g = 0; g < 16; g++) {
        t->regs.host[g] = (int8_t)host_of_gpr(g);
        t->regs.home[g] = (int8_t)g;
    }
    memset(&t->loop, 0, sizeof(t->loop));
    for (int i = 0; i < 3; i++)
        t->loop.victim[i] = -1;
}

/* ---- planning */

static bool is_high_byte(const struct guest_insn *n)
{
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        const ZydisDecodedOperand *o = &n->o[i];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            guest_gpr(o->reg.value) >= 0x100) {
            return true;
        }
    }
    return false;
}

static bool is_loop_insn(const struct guest_insn *n)
{
    switch (n->kind) {
    case INSN_GENERIC: return n->mem < 0 || !is_high_byte(n);
    case INSN_NOP:
    case INSN_LEA: return true;
    default: return false;
    }
}

static void find_steps(struct translator *t)
{
    struct loop *l = &t->loop;
    int64_t by;

    for (int r = 0; r < 16; r++) {
        l->is_known[r] = true;
        l->step[r] = 0;
        for (unsigned i = 0; i < t->count; i++) {
            l->written |= t->insn[i].writes & 1u << r;
            if (!adds_constant(&t->insn[i], r, &by)) l->is_known[r] = false;
            l->step[r] += by;
        }
        if (l->step[r] != (int16_t)l->step[r]) l->is_known[r] = false;
    }
}

bool loop_hoists(const struct translator *t, struct group *g)
{
    const struct loop *l = &t->loop;
    int b = g->a.base, x = g->a.index;
    int64_t stride = 0, ahead = 0;

    if (g->is_indexed) return false;

    if (b >= 0) {
        if (!l->is_known[b]) return false;
        stride += l->step[b];
        g->base_varies = l->written >> b & 1;
    }
    if (x >= 0) {
        if (!l->is_known[x]) return false;
        stride += l->step[x] * (1 << g->a.scale);
        ahead = g->index_delta * (1 << g->a.scale);
        g->index_varies = l->written >> x & 1;
    }
    if (stride > STRIDE_MAX || stride < -STRIDE_MAX) return false;
    if ((b >= 0 || x >= 0) && g->from + ahead != (int32_t)(g->from + ahead)) {
        return false;
    }
    g->stride = stride;
    g->from += ahead;
    g->end += ahead;
    g->is_hoisted = true;
    g->is_stack = false;
    return true;
}

static bool is_any_hoisted(const struct translator *t)
{
    for (unsigned k = 0; k < t->group_count; k++) {
        if (t->group[k].members && t->group[k].is_hoisted) return true;
    }
    return false;
}

void plan_loop(struct translator *t)
{
    const struct guest_insn *last = &t->insn[t->count - 1];

    if (t->eng->soft->options.is_ungrouped || !(t->mode.bits & BM_CODE64) ||
        (t->mode.bits & BM_UNGROUPED) || t->is_crossing) {
        return;
    }
    if (last->kind != INSN_JCC || last->target != t->rip || t->insn[0].in) {
        return;
    }
    for (unsigned i = 0; i + 1 < t->count; i++) {
        if (!is_loop_insn(&t->insn[i])) return;
    }
    find_steps(t);
    t->loop.is_body = true;
    plan_groups(t);
    t->loop.is_body = false;
    t->loop.is_on = is_any_hoisted(t);
}

/* ---- registers */

/* How often n uses register g, but for what is kept in hoisted addresses. */
static unsigned uses_in(const struct translator *t, const struct guest_insn *n,
                        int g)
{
    const struct group *k = n->group[0] >= 0 ? &t->group[n->group[0]] : NULL;
    unsigned uses = 0;

    for (unsigned o = 0; o < n->d.operand_count; o++) {
        const ZydisDecodedOperand *p = &n->o[o];
        bool is_hoisted = k && k->is_hoisted && (int)o == n->mem;

        if (p->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            int r = guest_gpr(p->reg.value);
            uses += r >= 0 && (r & 0x100 ? r & 3 : r) == g;
        } else if (p->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            uses +=
                guest_gpr(p->mem.base) == g && !(is_hoisted && !k->base_varies);
            uses += guest_gpr(p->mem.index) == g &&
                    !(is_hoisted && !k->index_varies);
        }
    }
    return uses;
}

static unsigned uses_of(const struct translator *t, int g)
{
    unsigned uses = 0;

    for (unsigned i = 0; i < t->count; i++)
        uses += uses_in(t, &t->insn[i], g);
    return uses;
}

/* Registers no instruction uses without naming it. */
static bool is_plain_register(int g)
{
    return g >= GPR_R8 && g <= GPR_R12;
}

static void choose_swaps(struct translator *t)
{
    unsigned uses[16];

    for (int g = 0; g < 16; g++)
        uses[g] = uses_of(t, g);
    for (int i = 0; i < 3; i++) {
        int slot = GPR_R13 + i, best = -1;

        if (uses[slot] < USES_MIN) continue;
        for (int g = 0; g <= GPR_R12; g++) {
            if (t->regs.home[g] != g) continue; /* taken */
            if (uses[g] &&
                (!is_plain_register(g) || uses[g] + USES_MIN > uses[slot])) {
                continue;
            }
            if (best < 0 || uses[g] < uses[best]) best = g;
        }
        if (best < 0) continue;
        t->loop.victim[i] = (int8_t)best;
        t->regs.host[slot] = (int8_t)host_of_gpr(best);
        t->regs.host[best] = H_NONE;
        t->regs.home[best] = (int8_t)slot;
    }
}

uint16_t loop_swaps(const struct translator *t)
{
    unsigned swaps = 0;

    for (int i = 0; i < 3; i++) {
        swaps |= (unsigned)(t->loop.victim[i] & 15) << 4 * i;
    }
    return (uint16_t)swaps;
}

void emit_swaps(struct translator *t, struct emitter *e)
{
    for (int i = 0; i < 3; i++) {
        int32_t slot = slot_of_gpr(GPR_R13 + i);
        int h;

        if (t->loop.victim[i] < 0) continue;
        h = host_of_gpr(t->loop.victim[i]);
        emit_load(e, S2, slot);
        emit_store(e, h, slot);
        emit_move(e, h, S2);
    }
}

static bool uses_scratch(const struct translator *t, const struct guest_insn *n)
{
    if (n->mem >= 0 && n->kind != INSN_LEA && n->kind != INSN_NOP &&
        (n->group[0] < 0 || !t->group[n->group[0]].is_hoisted)) {
        return true;
    }
    for (int g = 0; g < 16; g++) {
        if (t->regs.host[g] == H_NONE && uses_in(t, n, g)) return true;
    }
    return n->kind == INSN_LEA && n->d.operand_width == 16;
}

/* The two groups with most members keep their address in S1 and S2, if nothing
 * else needs these. */
static void choose_pins(struct translator *t)
{
    static const int pins[2] = { S2, S1 };
    unsigned hoisted = 0;

    for (unsigned i = 0; i + 1 < t->count; i++) {
        if (uses_scratch(t, &t->insn[i])) return;
    }
    for (unsigned k = 0; k < t->group_count; k++) {
        const struct group *g = &t->group[k];
        if (!g->members) continue;
        hoisted++;
        if (g->base_varies && g->index_varies) return;
    }
    for (unsigned i = 0; i < (hoisted <= 2 ? hoisted : 1); i++) {
        struct group *best = NULL;
        for (unsigned k = 0; k < t->group_count; k++) {
            struct group *g = &t->group[k];
            if (g->members && g->pin == H_NONE &&
                (!best || g->members > best->members)) {
                best = g;
            }
        }
        best->pin = pins[i];
    }
}

/* ---- setup */

static bool has_count(const struct group *g)
{
    return g->members && g->is_hoisted && g->stride != 0;
}

/* S1: host address of the range.  Further rounds that stay in the page; the
 * least so far is in engine.temp[2]. */
static void emit_count(struct translator *t, const struct group *g,
                       bool is_first)
{
    struct emitter *e = &t->hot;
    unsigned by = (unsigned)(g->stride < 0 ? -g->stride : g->stride);

    emit_op_rr(e, 0x89, false, S1, S2);
    if (g->stride > 0) {
        emit_op_rr(e, 0xf7, false, 3, S2); /* neg */
        emit_alu_imm(e, 0, false, S2, (int32_t) - (g->end - g->from));
    }
    emit_alu_imm(e, 4, false, S2, PAGE_BYTES - 1);
    if (by > 1 && (by & (by - 1)) == 0) {
        emit_op_rr(e, 0xc1, false, 5, S2); /* shr */
        emit8(e, (unsigned)__builtin_ctz(by));
    } else if (by > 1) {
        /* Exact for 12 bits divided by up to 64. */
        emit_op_rr(e, 0x69, false, S2, S2); /* imul */
        emit32(e, ((1u << RECIPROCAL_SHIFT) + by - 1) / by);
        emit_op_rr(e, 0xc1, false, 5, S2); /* shr */
        emit8(e, RECIPROCAL_SHIFT);
    }
    if (!is_first) {
        uint8_t *skip;
        emit_op_rm(e, 0x3b, false, S2, mem_gs(FIELD(temp[2])));
        emit8(e, 0x73); /* jae */
        emit8(e, 0);
        skip = e->at;
        emit_op_rm(e, 0x89, false, S2, mem_gs(FIELD(temp[2])));
        if (e->status == 0) skip[-1] = (uint8_t)(e->at - skip);
    } else {
        emit_op_rm(e, 0x89, false, S2, mem_gs(FIELD(temp[2])));
    }
}

static void emit_stash(struct translator *t, unsigned k)
{
    const struct group *g = &t->group[k];
    struct emitter *e = &t->hot;

    if (g->base_varies) {
        emit_op_rr(e, 0x29, true, reg_in(t, g->a.base, S2), S1); /* sub */
    }
    if (g->index_varies) {
        int x = reg_in(t, g->a.index, S2);
        if (g->a.scale) {
            if (x != S2) emit_move(e, S2, x);
            emit_op_rr(e, 0xc1, true, 4, S2); /* shl */
            emit8(e, g->a.scale);
            x = S2;
        }
        emit_op_rr(e, 0x29, true, x, S1);
    }
    emit_store(e, S1, stash_of((int)k));
    t->in_s2 = -1;
}

static void emit_checks(struct translator *t)
{
    struct emitter *e = &t->hot;
    bool is_first = true;

    for (unsigned k = 0; k < t->group_count; k++) {
        struct group *g = &t->group[k];
        struct access a = g->a;

        if (!g->members || !g->is_hoisted) continue;
        a.disp = g->from;
        a.bytes = (unsigned)(g->end - g->from);
        t->checked_group = g;
        emit_ungrouped_access(t, &a);
        t->checked_group = NULL;
        if (g->stride) {
            emit_count(t, g, is_first);
            is_first = false;
        }
        emit_stash(t, k);
    }
    if (t->loop.counter < 0) return;
    emit_op_rm(e, 0x8b, false, S2, mem_gs(FIELD(temp[2])));
    emit_alu_imm(e, 0, false, S2, 1);
    emit_op_rr(e, 0x69, true, S2, S2); /* imul */
    emit32(e, (uint32_t)t->loop.step[t->loop.counter]);
    emit_op_rr(e, 0x01, true, reg_in(t, t->loop.counter, S1), S2); /* add */
    emit_store(e, S2, FIELD(loop_limit));
}

static int choose_counter(const struct translator *t)
{
    for (unsigned k = 0; k < t->group_count; k++) {
        const struct group *g = &t->group[k];
        if (!has_count(g)) continue;
        if (g->a.base >= 0 && t->loop.step[g->a.base]) return g->a.base;
        return g->a.index;
    }
    return -1;
}

/* ---- the second form */

struct mem_form hoisted_operand(struct translator *t, int k,
                                const struct access *a)
{
    const struct group *g = &t->group[k];
    struct emitter *e = &t->hot;
    struct mem_form m = mem_at(S1, (int32_t)(a->disp - g->from));

    if (g->pin != H_NONE) {
        m.base = g->pin;
    } else if (t->in_s1 != k) {
        emit_load(e, S1, stash_of(k));
        t->in_s1 = k;
    }
    if (g->base_varies && g->index_varies) {
        int b = reg_in(t, a->base, S2);
        emit_lea(e, true, S1, (struct mem_form){ S1, b, 0, false, 0 });
        t->in_s1 = -1;
    }
    if (g->index_varies) {
        m.index = reg_in(t, a->index, S2);
        m.scale = a->scale;
    } else if (g->base_varies) {
        m.index = reg_in(t, a->base, S2);
    }
    if (m.index == S2 && g->pin == H_NONE) {
        /* The instruction's other operand may need S2. */
        emit_lea(e, true, S1, (struct mem_form){ S1, S2, m.scale, false, 0 });
        m.index = H_NONE;
        m.scale = 0;
        t->in_s1 = -1;
    }
    return m;
}

/* Round again, or once through the plain form. */
static void emit_back(struct translator *t, const struct guest_insn *last)
{
    struct emitter *e = &t->hot;
    int h;

    t->now = NULL;
    t->are_flags_saved = false;
    emit_jcc(e, (last->d.opcode & 15) ^ 1, emit_pc(e));
    add_fixup(t, FIX_LOOP_EXIT)->rip = last->next;
    if (t->loop.counter >= 0) {
        h = host_in(t, t->loop.counter);
        emit_op_rm(e, 0x3b, true, h, mem_gs(FIELD(loop_limit)));
        emit_jcc(e, 5, t->loop.top); /* jne */
    } else {
        emit_op_rm(e, 0x83, false, 7, mem_gs(FIELD(attn)));
        emit8(e, 0);
        emit_jcc(e, 4, t->loop.top); /* je */
    }
    emit_swaps(t, e);
    emit_jmp(e, t->loop.plain);
}

static bool emit_second_form(struct translator *t, struct block *b)
{
    struct loop *l = &t->loop;

    t->now = &t->insn[0];
    t->are_flags_saved = false;
    l->is_setup = true;
    emit_checks(t);
    l->is_setup = false;
    choose_swaps(t);
    if (l->counter >= 0 && host_in(t, l->counter) == H_NONE) return false;
    choose_pins(t);
    emit_swaps(t, &t->hot);
    for (unsigned k = 0; k < t->group_count; k++) {
        if (t->group[k].pin == H_NONE) continue;
        emit_load(&t->hot, t->group[k].pin, stash_of((int)k));
    }
    t->in_s1 = t->in_s2 = -1;
    emit_align(&t->hot, 8, 0);
    l->top = emit_pc(&t->hot);
    b->loop_from = (uint16_t)(l->top - b->pad);
    b->swaps = loop_swaps(t);
    for (unsigned i = 0; i + 1 < t->count; i++) {
        if (!emit_block_insn(t, b, &t->insn[i])) return false;
    }
    emit_back(t, &t->insn[t->count - 1]);
    return true;
}

void emit_loop_body(struct translator *t, struct block *b)
{
    struct emitter *e = &t->hot;
    uint8_t *at = e->at;
    unsigned fixes = t->fix_count, maps = t->cache->map_count;
    unsigned own = b->map_count, moves = e->move_count;
    bool has_form;

    if (!t->loop.is_on || !t->loop.jump) return;
    t->loop.plain = b->body;
    t->loop.is_body = true;
    plan_groups(t);
    t->loop.counter = choose_counter(t);
    emit_patch(e, t->loop.jump, emit_pc(e));
    has_form = emit_second_form(t, b);
    /* Nor has the plain form a link for its jump back. */
    b->has_loop = true;
    b->is_counted = t->loop.counter >= 0;
    t->loop.is_body = false;
    if (has_form || e->status < 0) return;
    b->is_counted = false;
    b->swaps = NO_SWAPS;
    e->at = at;
    e->move_count = moves;
    t->fix_count = fixes;
    t->cache->map_count = maps;
    b->map_count = own;
    emit_patch(e, t->loop.jump, b->body);
}
