/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/*
 * Control transfers.
 *
 * Within the page of the block a direct jump is a host jump, patched when its
 * target exists.  Across pages and for indirect targets the jump goes through
 * the indirect-branch table of the vCPU and space: an entry holds a block's
 * landing pad, and the pad compares S1, the guest's target, with the block's
 * own address, so collisions and empty slots are harmless and a change of
 * the address space only has to empty the table.
 */

enum { INSN_BYTES = 15 };

static void emit_table_jump(const struct translator *t, struct emitter *e,
                            unsigned space, uint64_t rip)
{
    int32_t at = IBT_AT + (int32_t)space * IBT_SPAN;

    if (is_no_code(&t->mode, rip)) { /* no branch leads there: it is next */
        emit_call(e, t->cache->entry[CODE_EXIT_EMULATE]);
        emit_rip64(e, rip);
        return;
    }
    if (rip - t->rip + MOVE_REACH > 2 * MOVE_REACH) e->is_fixed = true;
    emit_rip_const(e, S1, rip);
    emit_op_rm(e, 0xff, false, 4, mem_gs(at + (int32_t)ibt_slot(rip) * 8));
    emit_note(e, MOVE_TARGET, 4);
}

void emit_goto_space(struct translator *t, unsigned space, uint64_t rip)
{
    emit_table_jump(t, &t->hot, space, rip);
}

/* May a target of so many bytes be where no code can be? */
static bool may_be_no_code(const struct translator *t, unsigned bytes)
{
    if (t->mode.bits & BM_CODE64) return bytes == 8;
    return t->mode.cs_limit < (bytes == 2 ? UINT16_MAX : UINT32_MAX);
}

/* BRANCH_MARK (engine.h). */
static void emit_mark(struct translator *t, int sp_change)
{
    struct enc mov = { .op = 0xc7 };

    t->cache->blocks[t->number].sp_change = sp_change;
    emit_rm(&t->hot, &mov, 0, mem_at(H_SP, -8));
    emit32(&t->hot, BRANCH_MARK | t->number);
    emit_note(&t->hot, MOVE_NUMBER, 4);
}

/* To the guest address in S1; no flag is touched. */
static void emit_indirect_jump(struct translator *t, unsigned bytes,
                               int sp_change)
{
    struct enc pext = {
        .is_vex = true,
        .map = 2,
        .op = 0xf5,
        .pp = 2,
        .w = 1,
        .v = S1,
    };
    struct mem_form slot = {
        H_NONE, S2, 3, true, IBT_AT + (int32_t)t->space * IBT_SPAN,
    };

    if (may_be_no_code(t, bytes)) emit_mark(t, sp_change);
    emit_rm(&t->hot, &pext, S2, mem_gs(offsetof(struct engine, ibt_mask)));
    emit_op_rm(&t->hot, 0xff, false, 4, slot);
}

bool is_link_in_page(const struct translator *t, uint64_t rip)
{
    uint64_t lin = t->mode.cs_base + rip;

    if (!(t->mode.bits & BM_CODE64)) lin = (uint32_t)lin;
    /* A block that may end in the next page is not linked to. */
    return !t->is_crossing && (lin ^ t->lin) >> PAGE_SHIFT == 0 &&
           (lin & (PAGE_BYTES - 1)) <= PAGE_BYTES - INSN_BYTES;
}

static void add_link(struct translator *t, uint64_t rip)
{
    struct fixup *f =
        add_fixup(t, is_link_in_page(t, rip) ? FIX_LINK : FIX_TABLE);

    f->rip = rip;
}

/* The rel32 of a patchable jump is aligned: it is changed while others may
 * execute it. */
static void emit_link_jump(struct translator *t, uint64_t rip)
{
    struct emitter *e = &t->hot;

    emit_align(e, 4, 1);
    emit_jmp(e, emit_pc(e));
    add_link(t, rip);
}

void emit_goto(struct translator *t, uint64_t rip)
{
    if (is_link_in_page(t, rip)) {
        emit_link_jump(t, rip);
    } else {
        emit_table_jump(t, &t->hot, t->space, rip);
    }
}

void emit_cold_table_jump(struct translator *t, uint64_t rip)
{
    emit_table_jump(t, &t->cold, t->space, rip);
}

/* If not, the block goes on with where n leads. */
static bool is_last(const struct translator *t, const struct guest_insn *n)
{
    return n == &t->insn[t->count - 1];
}

static bool emit_jcc_insn(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;

    emit_align(e, 4, 2);
    emit_jcc(e, n->d.opcode & 15, emit_pc(e));
    if (t->loop.is_on) {
        t->loop.jump = e->at;
    } else {
        add_link(t, n->target);
    }
    if (is_last(t, n)) emit_goto(t, n->next);
    return true;
}

/* ---- LOOP, JCXZ */

enum { OP_LOOPNE = 0xe0, OP_LOOPE = 0xe1, OP_LOOP = 0xe2, OP_JCXZ = 0xe3 };

/* A short jump to be completed; returns where its distance is. */
static uint8_t *emit_short(struct emitter *e, unsigned op)
{
    emit8(e, op);
    emit8(e, 0);
    return e->at;
}

static void land_short(struct emitter *e, const uint8_t *from, uint8_t *at)
{
    if (e->status == 0) at[-1] = (uint8_t)(e->at - from);
}

static bool emit_loop(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    uint8_t *take, *skip;

    if (n->d.address_width == 32) emit8(e, 0x67);
    take = emit_short(e, n->d.opcode);
    skip = emit_short(e, 0xeb);
    land_short(e, take, take);
    emit_goto(t, n->target);
    land_short(e, skip, skip);
    emit_goto(t, n->next);
    return true;
}

/* The counter is CX, which 64-bit mode cannot express. */
static bool emit_loop_cx(struct translator *t, struct guest_insn *n)
{
    static const struct enc store16 = {
        .op = 0x89,
        .prefix = { 0x66 },
        .prefix_count = 1,
    };
    static const struct enc movzx = { .map = 1, .op = 0xb7 };
    struct emitter *e = &t->hot;
    unsigned op = n->d.opcode;
    uint8_t *zero, *other = NULL;

    if (op != OP_JCXZ) {
        emit_lea(e, false, S2, mem_at(H_CX, -1));
        emit_rr(e, &store16, S2, H_CX);
    }
    emit_rr(e, &movzx, S1, H_CX);
    emit_op_rr(e, 0x87, true, H_CX, S1);
    zero = emit_short(e, 0xe3); /* jrcxz */
    emit_move(e, H_CX, S1);
    if (op == OP_LOOPE) other = emit_short(e, 0x75);
    if (op == OP_LOOPNE) other = emit_short(e, 0x74);
    emit_goto(t, op == OP_JCXZ ? n->next : n->target);
    land_short(e, zero, zero);
    emit_move(e, H_CX, S1);
    if (other) land_short(e, other, other);
    emit_goto(t, op == OP_JCXZ ? n->target : n->next);
    return true;
}

/* ---- calls, returns, indirect jumps */

enum { TEMP1 = offsetof(struct engine, temp) + 8, TEMP2 = TEMP1 + 8 };

static bool is_slot_size(unsigned bytes)
{
    return bytes == 2 || bytes == 4 || bytes == 8;
}

static bool emit_call_insn(struct translator *t, struct guest_insn *n)
{
    unsigned bytes = stack_slot_bytes(n);

    if (!is_slot_size(bytes)) return false;
    emit_push_const(t, bytes, n->next, true, 0);
    settle_sp(t);
    emit_goto(t, n->target);
    return true;
}

static bool emit_ret(struct translator *t, struct guest_insn *n)
{
    unsigned bytes = stack_slot_bytes(n), extra = 0;
    struct mem_form m;

    if (!is_slot_size(bytes)) return false;
    if (n->d.raw.imm[0].size) extra = (unsigned)n->d.raw.imm[0].value.u;
    m = emit_stack_access(t, 0, bytes, false);
    emit_load_sized(&t->hot, bytes, S1, m);
    emit_stack_adjust(t, (int)(bytes + extra));
    settle_sp(t);
    emit_indirect_jump(t, bytes, (int)(bytes + extra));
    return true;
}

/* Target of an indirect jump or call into scratch register to. */
static bool load_target(struct translator *t, struct guest_insn *n, int to)
{
    struct emitter *e = &t->hot;
    unsigned bytes = n->o[0].size / 8;
    struct enc movzx = { .map = 1, .op = 0xb7 };
    struct access a;
    int h;

    if (!is_slot_size(bytes)) return false;
    if (n->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        if (!access_of(t, n, &n->o[0], &a)) return false;
        emit_access(t, &a);
        emit_load_sized(e, bytes, to, mem_at(S1, 0));
        return true;
    }
    if (n->o[0].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    h = gpr_in(e, guest_gpr(n->o[0].reg.value), to);
    if (bytes == 2) {
        emit_rr(e, &movzx, to, h);
    } else if (bytes == 4 || h != to) {
        emit_op_rr(e, 0x89, bytes == 8, h, to);
    }
    return true;
}

static bool emit_jmp_indirect(struct translator *t, struct guest_insn *n)
{
    if (!load_target(t, n, S1)) return false;
    emit_indirect_jump(t, n->o[0].size / 8, 0);
    return true;
}

static bool emit_call_indirect(struct translator *t, struct guest_insn *n)
{
    unsigned bytes = stack_slot_bytes(n);

    if (!is_slot_size(bytes) || !load_target(t, n, S2)) return false;
    emit_store(&t->hot, S2, TEMP1);
    emit_push_const(t, bytes, n->next, true,
                    may_be_no_code(t, bytes) ? TEMP2 : 0);
    emit_load(&t->hot, S1, TEMP1);
    settle_sp(t);
    emit_indirect_jump(t, bytes, -(int)bytes);
    return true;
}

bool emit_branch(struct translator *t, struct guest_insn *n)
{
    switch (n->kind) {
    case INSN_JMP:
        if (is_last(t, n)) emit_goto(t, n->target);
        return true;
    case INSN_JCC: return emit_jcc_insn(t, n);
    case INSN_LOOP:
        return n->d.address_width == 16 ? emit_loop_cx(t, n) : emit_loop(t, n);
    case INSN_CALL: return emit_call_insn(t, n);
    case INSN_RET: return emit_ret(t, n);
    case INSN_JMP_INDIRECT: return emit_jmp_indirect(t, n);
    case INSN_CALL_INDIRECT: return emit_call_indirect(t, n);
    default: return false;
    }
}

/* ---- the landing pad */

/* S2 = S1 - rip without touching flags, in one instruction of 5 bytes or more
 * at first. */
static void emit_difference(struct emitter *e, uint64_t rip)
{
    uint64_t minus = -rip;

    if ((int64_t)minus == (int32_t)minus) {
        emit8(e, 0x4d); /* lea S2, [S1 + disp32] */
        emit8(e, 0x8d);
        emit8(e, 0xb5);
        emit32(e, (uint32_t)minus);
        e->is_fixed = true;
        return;
    }
    emit8(e, 0x49); /* mov S2, imm64 */
    emit8(e, 0xbe);
    emit64(e, minus);
    emit_note(e, MOVE_SUB, 8);
    emit_lea(e, true, S2, (struct mem_form){ S2, S1, 0, false, 0 });
}

/*
 * Flags must survive a mismatch even where they are dead in this block: the
 * jump was meant for another one.  The first instruction has 5 bytes or more:
 * closing the pad writes 5.
 */
void emit_pad(struct translator *t)
{
    struct emitter *e = &t->hot;
    uint8_t *hit;

    emit_difference(e, t->rip);
    emit_op_rr(e, 0x87, true, H_CX, S2); /* xchg */
    hit = emit_short(e, 0xe3);           /* jrcxz */
    emit_move(e, H_CX, S2);
    emit_jmp(e, t->cache->entry[CODE_EXIT_MISS]);
    land_short(e, hit, hit);
    emit_move(e, H_CX, S2);
}
