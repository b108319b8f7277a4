/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * One block: landing pad, poll of engine.attn, the instructions, and out of
 * line what they need when something is odd.
 */

struct translator *translator_new(void)
{
    struct translator *t = calloc(1, sizeof(*t));

    if (!t) return NULL;
    ZydisDecoderInit(&t->decoder[0], ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                     ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&t->decoder[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                     ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&t->decoder[2], ZYDIS_MACHINE_MODE_LONG_64,
                     ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&t->decoder[3], ZYDIS_MACHINE_MODE_REAL_16,
                     ZYDIS_STACK_WIDTH_16);
    return t;
}

void translator_free(struct translator *t)
{
    free(t);
}

/* Leave when attn is set.  Two forms: flags dead, flags live. */
static void emit_poll(struct translator *t, bool are_flags_live)
{
    struct emitter *e = &t->hot;

    t->now = NULL;
    t->are_flags_saved = false;
    if (!are_flags_live) {
        emit_op_rm(e, 0x83, false, 7, mem_gs(offsetof(struct engine, attn)));
        emit8(e, 0);
        emit_jcc(e, 5, emit_pc(e));
        add_fixup(t, FIX_ATTEND);
        return;
    }
    emit_op_rm(e, 0x8b, false, S2, mem_gs(offsetof(struct engine, attn)));
    emit_op_rr(e, 0x87, true, H_CX, S2);
    emit8(e, 0xe3); /* jrcxz over the exit */
    emit8(e, 8);
    emit_move(e, H_CX, S2);
    emit_jmp(e, emit_pc(e));
    add_fixup(t, FIX_ATTEND);
    emit_move(e, H_CX, S2);
}

static bool emit_insn(struct translator *t, struct guest_insn *n)
{
    t->now = n;
    t->are_flags_saved = false;
    if (fold_adjustment(t, n)) return true;
    switch (n->kind) {
    case INSN_GENERIC: return emit_generic(t, n);
    case INSN_NOP: return true;
    case INSN_LEA: return emit_lea_insn(t, n);
    case INSN_MOFFS: return emit_moffs(t, n);
    case INSN_INCDEC: return emit_incdec(t, n);
    case INSN_PUSH: return emit_push(t, n);
    case INSN_POP: return emit_pop(t, n);
    case INSN_LEAVE: return emit_leave(t, n);
    case INSN_SYSTEM: return emit_system(t, n);
    case INSN_BIT_TEST: return emit_bit_test(t, n);
    case INSN_STRING: return emit_string(t, n);
    case INSN_EMULATE: return false;
    default: return emit_branch(t, n);
    }
}

static void emit_emulate(struct emitter *e, const struct code_cache *c,
                         uint64_t rip)
{
    emit_call(e, c->entry[CODE_EXIT_EMULATE]);
    emit_rip64(e, rip);
}

static void add_map(struct translator *t, struct block *b,
                    const struct guest_insn *n)
{
    struct code_cache *c = t->cache;
    struct insn_map *m;

    if (c->map_count == c->map_max) {
        t->hot.status = -ENOSPC;
        return;
    }
    m = &c->maps[c->map_count++];
    m->host = (uint16_t)(emit_pc(&t->hot) - b->pad);
    m->guest = (int16_t)(n->rip - t->rip);
    b->map_count++;
}

static bool is_branch(const struct guest_insn *n)
{
    if (n->kind == INSN_SYSTEM) return ends_block_system(n);
    return n->kind >= INSN_JMP && n->kind <= INSN_CALL_INDIRECT;
}

/* LEA uses it for registers without one of the host's. */
static bool lea_keeps_s1(const struct translator *t, const struct guest_insn *n)
{
    const int g[3] = {
        guest_gpr(n->o[0].reg.value),
        guest_gpr(n->o[1].mem.base),
        guest_gpr(n->o[1].mem.index),
    };

    for (unsigned i = 0; i < 3; i++) {
        if (g[i] >= 0 && host_in(t, g[i]) == H_NONE) return false;
    }
    return n->d.operand_width != 16;
}

/* Does emitting it leave S1 alone, but for a group's address? */
static bool keeps_s1(const struct translator *t, const struct guest_insn *n)
{
    if (n->kind == INSN_LEA) return lea_keeps_s1(t, n);
    return n->kind == INSN_GENERIC || n->kind == INSN_NOP ||
           n->kind == INSN_PUSH || n->kind == INSN_POP || n->kind == INSN_JCC ||
           n->kind == INSN_JMP;
}

/*
 * Does a jump to rip need no look at engine.attn?  Direct jumps stay in the
 * page, so those forward of all the block end soon in one that looks.  After
 * STI the next block must.
 */
static bool skips_poll(const struct translator *t, uint64_t rip)
{
    const struct guest_insn *last = &t->insn[t->count - 1];

    if (t->count > 1 && last[-1].d.mnemonic == ZYDIS_MNEMONIC_STI) return false;
    for (unsigned i = 0; i < t->count; i++) {
        if (rip <= t->insn[i].rip) return false;
    }
    return true;
}

bool emit_block_insn(struct translator *t, struct block *b,
                     struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    uint8_t *at;
    unsigned fixes, moves;
    int64_t pending;

    begin_folding(t, n);
    at = e->at;
    moves = e->move_count;
    fixes = t->fix_count;
    pending = t->sp_pending;
    add_map(t, b, n);
    t->are_flags_saved = false;
    emit_group_checks(t, n);
    if (emit_insn(t, n)) {
        if (!keeps_s1(t, n)) t->in_s1 = -1;
        if (n->kind != INSN_GENERIC && n->kind != INSN_NOP &&
            n->kind != INSN_LEA && n->kind != INSN_JCC) {
            t->in_s2 = -1;
        }
        return true;
    }
    if (e->status == 0) e->at = at;
    e->move_count = moves;
    t->fix_count = fixes;
    t->sp_pending = pending;
    settle_sp(t);
    return false;
}

/* The main path. */
static void emit_body(struct translator *t, struct block *b)
{
    struct guest_insn *n = NULL;

    for (unsigned i = 0; i < t->count; i++) {
        n = &t->insn[i];
        if (!emit_block_insn(t, b, n)) {
            emit_emulate(&t->hot, t->cache, n->rip);
            t->cache->stat.emulated_ends++;
            return;
        }
        b->insn_count++;
        t->cache->stat.guest_bytes += n->d.length;
        if (i + 1 < t->count && is_branch(n)) b->is_super = true;
    }
    t->now = NULL;
    settle_sp(t);
    if (!is_branch(n)) emit_goto(t, n->next);
}

/* ---- out of line */

/* Undo save_flags out of line. */
static void cold_restore_flags(struct emitter *e)
{
    emit_move(e, S2, H_AX);
    emit_load(e, H_AX, offsetof(struct engine, saved_flags));
    emit8(e, 0x04); /* add al, 0x7f */
    emit8(e, 0x7f);
    emit8(e, 0x9e); /* sahf */
    emit_move(e, H_AX, S2);
}

/* The range lies in two pages: no need to look further. */
static uint8_t *cold_crossing(struct emitter *e, unsigned bytes)
{
    emit_op_rr(e, 0x89, false, S1, S2);
    emit_alu_imm(e, 4, false, S2, PAGE_BYTES - 1);
    emit_alu_imm(e, 7, false, S2, PAGE_BYTES - (int)bytes);
    emit_jcc(e, 7, emit_pc(e)); /* ja */
    return e->at;
}

/* Where a patchable jump leads at first: is not linked yet. */
static void cold_exit(struct translator *t, uint64_t rip, const uint8_t *jump,
                      unsigned flags)
{
    struct emitter *e = &t->cold;

    emit_note(e, MOVE_LINK, 0);
    emit_call(e, t->cache->entry[CODE_EXIT_LINK]);
    emit64(e, rip);
    emit64(e, (uint64_t)jump | flags);
}

/* A patchable jump to rip; flags: LINK_*. */
static void cold_link(struct translator *t, uint64_t rip, unsigned flags)
{
    struct emitter *e = &t->cold;
    uint8_t *jump;

    emit_align(e, 4, 1);
    emit_jmp(e, emit_pc(e));
    jump = e->at;
    emit_patch(e, jump, emit_pc(e));
    cold_exit(t, rip, jump - 4 + e->exec, flags);
}

/* The block goes on without groups, a loop in its plain form. */
static void cold_ungrouped(struct translator *t, const struct fixup *f,
                           uint8_t *crossing)
{
    struct emitter *e = &t->cold;

    if (crossing) emit_patch(e, crossing, emit_pc(e));
    if (f->has_saved_flags) cold_restore_flags(e);
    if (f->is_swapped) emit_swaps(t, e);
    if (f->fail_to) {
        emit_jmp(e, f->fail_to);
    } else {
        cold_link(t, f->rip, LINK_UNGROUPED | (f->is_stack ? 0 : LINK_POLLED));
    }
}

static void cold_loop_exit(struct translator *t, const struct fixup *f)
{
    emit_swaps(t, &t->cold);
    if (is_link_in_page(t, f->rip)) {
        cold_link(t, f->rip, skips_poll(t, f->rip) ? LINK_POLLED : 0);
    } else {
        emit_cold_table_jump(t, f->rip);
    }
}

/* S1 = the address that was compared. */
static void cold_address(struct translator *t, const struct fixup *f)
{
    struct emitter *e = &t->cold;

    if (f->is_const) {
        (f->is_rip ? emit_rip_const : emit_const)(e, S1, f->address);
    } else if (f->is_stack) {
        emit_op_rm(e, 0x33, true, S1, mem_gs((int32_t)f->tag_at));
    } else if (f->place) {
        emit_op_rm(e, 0x03, true, S1,
                   mem_gs((int32_t)(offsetof(struct engine, sites) +
                                    f->is_write * sizeof(struct site_set) +
                                    offsetof(struct site_set, base)) +
                          8 * (f->place - 1)));
    } else {
        emit_op_rm(
            e, 0x33, true, S1,
            (struct mem_form){ S2, H_NONE, 0, true, (int32_t)f->tag_at });
    }
}

static void cold_slow(struct translator *t, const struct fixup *f)
{
    struct emitter *e = &t->cold;
    unsigned swaps = f->is_swapped ? loop_swaps(t) : NO_SWAPS;
    uint8_t *crossing = NULL;

    cold_address(t, f);
    if (f->group_kind == GROUP_PLAIN && !f->is_const) {
        crossing = cold_crossing(e, f->bytes);
    }
    emit_call(e, t->cache->entry[CODE_SLOW]); /* struct slow_site */
    emit_rip64(e, f->rip);
    emit16(e, f->bytes);
    emit8(e, f->is_write);
    emit8(e, f->has_saved_flags);
    emit8(e, f->is_stack ? t->space + 1 : 0);
    emit8(e, f->group_kind);
    emit16(e, swaps);
    emit32(e, t->number);
    emit_note(e, MOVE_NUMBER, 4);
    emit16(e, f->place);
    emit16(e, (uint16_t)f->first);
    emit16(e, (uint16_t)f->from);
    emit_jmp(e, f->back);
    if (f->is_group) cold_ungrouped(t, f, crossing);
}

static void cold_emulate(struct translator *t, const struct fixup *f)
{
    struct emitter *e = &t->cold;

    if (f->has_saved_flags) cold_restore_flags(e);
    emit_emulate(e, t->cache, f->rip);
}

static void emit_cold(struct translator *t)
{
    struct emitter *e = &t->cold;
    struct code_cache *c = t->cache;

    for (unsigned i = 0; i < t->fix_count; i++) {
        struct fixup *f = &t->fix[i];

        emit_patch(&t->hot, f->end, emit_pc(e));
        switch (f->kind) {
        case FIX_SLOW: cold_slow(t, f); break;
        case FIX_EMULATE: cold_emulate(t, f); break;
        case FIX_LINK:
            cold_exit(t, f->rip, f->end - 4 + t->hot.exec,
                      skips_poll(t, f->rip));
            break;
        case FIX_LOOP_EXIT: cold_loop_exit(t, f); break;
        case FIX_TABLE: emit_cold_table_jump(t, f->rip); break;
        case FIX_ATTEND:
            emit_call(e, c->entry[CODE_EXIT_ATTEND]);
            emit_rip64(e, t->rip);
            break;
        }
    }
}

/* ---- */

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* An instruction that starts here and ends in the next page is a block of
 * its own, made from a copy. */
static void take_crossing(struct translator *t, const uint8_t *next)
{
    unsigned left =
        PAGE_BYTES - (unsigned)((uint64_t)t->start & (PAGE_BYTES - 1));
    ZydisDecodedInstruction d;

    t->is_crossing = false;
    if (left >= 15 || !next) return;
    if (ZydisDecoderDecodeInstruction(block_decoder(t), NULL, t->start, left,
                                      &d) != ZYDIS_STATUS_NO_MORE_DATA) {
        return;
    }
    memcpy(t->crossing, t->start, left);
    memcpy(t->crossing + left, next, 16);
    t->is_crossing = true;
}

static void begin(struct translator *t, struct soft_vm *s,
                  const struct engine *eng, const uint8_t *start, uint64_t lin)
{
    struct code_cache *c = s->cache;
    int64_t exec = c->exec - c->write;

    t->eng = eng;
    t->cache = c;
    t->mode = eng->mode;
    t->is_verified = s->options.is_verified;
    t->space = eng->mode.bits >> BM_SPACE_SHIFT & 3;
    t->start = start;
    t->lin = lin;
    t->rip = lin - eng->mode.cs_base;
    if (!(t->mode.bits & BM_CODE64)) t->rip = (uint32_t)t->rip;
    t->hot = (struct emitter){ .at = c->hot,
                               .end = c->hot_end,
                               .exec = exec,
                               .moves = t->moves[0],
                               .is_fixed = !code_may_move(&t->mode, lin) };
    t->cold = (struct emitter){ .at = c->cold,
                                .end = c->cold_end,
                                .exec = exec,
                                .start = c->cold,
                                .moves = t->moves[1],
                                .is_fixed = t->hot.is_fixed };
    t->fix_count = 0;
    t->sp_pending = 0;
    t->in_s2 = -1;
    t->now = NULL;
}

/* Pages the block may depend on; false: no room. */
static bool attach_pages(struct translator *t, struct block *b,
                         const uint8_t *next)
{
    const uint8_t *page = (void *)((uint64_t)b->start & ~(PAGE_BYTES - 1ull));

    b->page[0] = code_page_get_locked(t->cache, page);
    if (!b->page[0]) return false;
    t->is_hot = t->space == SPACE_USER && (b->page[0]->samples == HOT_SAMPLES ||
                                           t->eng->soft->options.is_all_hot);
    t->next = code_may_span(&t->mode, t->lin) && t->is_hot && next != page
                  ? next
                  : NULL;
    if (!t->is_crossing && !t->next) return true;
    b->page[1] = code_page_get_locked(t->cache, next);
    return b->page[1] != NULL;
}

/* Stores to these lines drop the block. */
static void depend_on_lines(struct translator *t, struct block *b)
{
    if (b->page[1] == b->page[0]) t->lines[0] |= t->lines[1];
    if (!t->lines[1]) b->page[1] = NULL;
    b->is_spanning = b->page[1] != NULL;
    for (int i = 0; i < 2; i++) {
        b->lines[i] = t->lines[i];
        if (b->page[i]) atomic_fetch_or(&b->page[i]->lines, b->lines[i]);
    }
}

/* Where links to a block in two pages lead: through the table, which is
 * emptied when the second page may be another one. */
static void emit_way_in(struct translator *t, struct block *b)
{
    uint8_t *at = emit_pc(&t->hot);

    if (t->lines[1]) {
        t->hot.is_fixed = true;
        emit_goto_space(t, t->space, t->rip);
    }
    emit_align(&t->hot, 8, 0);
    t->hot.start = t->hot.at;
    b->pad = emit_pc(&t->hot);
    b->way_in = (uint16_t)(b->pad - at);
}

/* What has to change when the block is moved. */
static void keep_moves(struct translator *t, struct block *b)
{
    const struct emitter *of[2] = { &t->hot, &t->cold };
    struct code_cache *c = t->cache;

    b->first_move = c->move_count;
    if (t->hot.is_fixed || t->cold.is_fixed ||
        c->move_max - c->move_count < t->hot.move_count + t->cold.move_count) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < of[i]->move_count; k++) {
            struct code_move *m = &c->moves[c->move_count++];
            *m = of[i]->moves[k];
            m->is_cold = (uint8_t)i;
        }
    }
    b->move_count = (uint16_t)(c->move_count - b->first_move);
}

struct block *code_translate(struct soft_vm *s, const struct engine *eng,
                             const uint8_t *start, uint64_t lin,
                             const uint8_t *next)
{
    struct code_cache *c = s->cache;
    struct translator *t = c->translator;
    uint64_t began = now_ns(), old[2] = { 0, 0 };
    unsigned maps = c->map_count;
    struct block *b;

    if (c->block_count == c->block_max) return NULL;
    begin(t, s, eng, start, lin);
    t->number = c->block_count;
    b = &c->blocks[c->block_count];
    memset(b, 0, sizeof(*b));
    b->start = start;
    b->lin = lin;
    b->mode = eng->mode;
    /* Whoever writes to the page from here on waits for the lock. */
    take_crossing(t, next);
    if (!attach_pages(t, b, next)) return NULL;
    for (int i = 0; i < 2; i++) {
        if (b->page[i]) old[i] = atomic_exchange(&b->page[i]->lines, ~0ull);
    }
    take_crossing(t, next);
    decode_block(t);
    find_live_flags(t);
    loop_reset_regs(t);
    plan_loop(t);
    plan_groups(t);
    b->flags_in = t->insn[0].in != 0;
    b->first_map = c->map_count;
    emit_way_in(t, b);
    emit_pad(t);
    b->body = emit_pc(&t->hot);
    emit_poll(t, b->flags_in);
    b->polled = (uint16_t)(emit_pc(&t->hot) - b->body);
    emit_body(t, b);
    emit_loop_body(t, b);
    b->bytes = (uint32_t)(emit_pc(&t->hot) - b->pad);
    emit_cold(t);
    for (int i = 2; i-- > 0;) { /* both may be the same page */
        if (b->page[i]) atomic_store(&b->page[i]->lines, old[i]);
    }
    if (t->hot.status < 0 || t->cold.status < 0) {
        c->map_count = maps;
        return NULL;
    }
    depend_on_lines(t, b);
    c->stat.blocks++;
    c->stat.insns += t->count;
    c->stat.host_bytes += (uint64_t)(t->hot.at - c->hot);
    c->stat.cold_bytes += (uint64_t)(t->cold.at - c->cold);
    b->cold = c->cold + t->cold.exec;
    b->cold_bytes = (uint32_t)(t->cold.at - c->cold);
    keep_moves(t, b);
    c->hot = t->hot.at;
    c->cold = t->cold.at;
    code_tidy(c);
    c->block_count++;
    code_insert_locked(c, b);
    code_set_newest_locked(c, b);
    c->stat.ns += now_ns() - began;
    return b;
}
