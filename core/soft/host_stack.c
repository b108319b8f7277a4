/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/*
 * PUSH, POP, LEAVE.  The stack slot is checked first, then written, then SP
 * changes: a fault finds everything as it was.
 */

unsigned stack_asize(const struct translator *t)
{
    if (t->mode.bits & BM_CODE64) return 8;
    return t->mode.bits & BM_STACK32 ? 4 : 2;
}

struct mem_form emit_stack_access(struct translator *t, int offset,
                                  unsigned bytes, bool is_write)
{
    struct access a = {
        .base = GPR_SP,
        .index = -1,
        .disp = offset,
        .asize = (uint8_t)stack_asize(t),
        .seg = SEG_SS,
        .bytes = bytes,
        .is_write = is_write,
    };
    struct mem_form m = mem_at(S1, 0);

    if (!group_access(t, true, &a, &m)) emit_ungrouped_access(t, &a);
    return m;
}

/* mov r/m16, r16 */
static const struct enc store16 = {
    .op = 0x89,
    .prefix = { 0x66 },
    .prefix_count = 1,
};
static const struct enc load16 = {
    .op = 0x8b,
    .prefix = { 0x66 },
    .prefix_count = 1,
};

/* SP = base + delta in the stack's address size; may use S2. */
static void set_sp(struct emitter *e, unsigned asize, int base, int delta)
{
    if (asize != 2) {
        emit_lea(e, asize == 8, H_GUEST_SP, mem_at(base, delta));
        return;
    }
    emit_lea(e, false, S2, mem_at(base, delta));
    emit_rr(e, &store16, S2, H_GUEST_SP);
}

void emit_stack_adjust(struct translator *t, int delta)
{
    if (t->folds) {
        t->sp_pending += delta;
    } else {
        set_sp(&t->hot, stack_asize(t), H_GUEST_SP, delta);
    }
}

/* Bytes the instruction pushes or pops, from the operand for the stack. */
unsigned stack_slot_bytes(const struct guest_insn *n)
{
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        const ZydisDecodedOperand *o = &n->o[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            return o->size / 8;
        }
    }
    return 0;
}

void emit_store_sized(struct emitter *e, unsigned bytes, int reg,
                      struct mem_form m)
{
    if (bytes == 2) {
        emit_rm(e, &store16, reg, m);
    } else {
        emit_op_rm(e, 0x89, bytes == 8, reg, m);
    }
}

/* Zero-extending load. */
void emit_load_sized(struct emitter *e, unsigned bytes, int reg,
                     struct mem_form m)
{
    struct enc movzx = { .map = 1, .op = 0xb7 };

    if (bytes == 2) {
        emit_rm(e, &movzx, reg, m);
    } else {
        emit_op_rm(e, 0x8b, bytes == 8, reg, m);
    }
}

static void store_const(struct emitter *e, unsigned bytes, int64_t v,
                        bool is_rip, struct mem_form m)
{
    struct enc mov = { .op = 0xc7, .w = bytes == 8 };

    if (bytes == 8 && v != (int32_t)v) {
        (is_rip ? emit_rip_const : emit_const)(e, S2, (uint64_t)v);
        emit_op_rm(e, 0x89, true, S2, m);
        return;
    }
    if (is_rip) e->is_fixed = true;
    if (bytes == 2) mov.prefix[mov.prefix_count++] = 0x66;
    emit_rm(e, &mov, 0, m);
    if (bytes == 2) {
        emit16(e, (uint16_t)v);
    } else {
        emit32(e, (uint32_t)v);
    }
}

void emit_push_const(struct translator *t, unsigned bytes, uint64_t v,
                     bool is_rip, int32_t old_at)
{
    struct mem_form m = emit_stack_access(t, -(int)bytes, bytes, true);

    if (old_at) {
        emit_load_sized(&t->hot, bytes, S2, m);
        emit_store(&t->hot, S2, old_at);
    }
    store_const(&t->hot, bytes, (int64_t)v, is_rip, m);
    emit_stack_adjust(t, -(int)bytes);
}

static const size_t temp0 = offsetof(struct engine, temp);

static bool push_memory(struct translator *t, struct guest_insn *n,
                        unsigned bytes)
{
    struct emitter *e = &t->hot;
    struct access a;
    struct mem_form m;

    if (!access_of(t, n, &n->o[0], &a) || a.bytes != bytes) return false;
    emit_access(t, &a);
    emit_load_sized(e, bytes, S2, mem_at(S1, 0));
    emit_store(e, S2, (int32_t)temp0);
    m = emit_stack_access(t, -(int)bytes, bytes, true);
    emit_load(e, S2, (int32_t)temp0);
    emit_store_sized(e, bytes, S2, m);
    emit_stack_adjust(t, -(int)bytes);
    return true;
}

bool emit_push(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    const ZydisDecodedOperand *o = &n->o[0];
    unsigned bytes = stack_slot_bytes(n);
    struct mem_form m;
    int g;

    if (bytes != 2 && bytes != 4 && bytes != 8) return false;
    switch (o->type) {
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        emit_push_const(t, bytes, o->imm.value.u, false, 0);
        return true;
    case ZYDIS_OPERAND_TYPE_MEMORY: return push_memory(t, n, bytes);
    case ZYDIS_OPERAND_TYPE_REGISTER: break;
    default: return false;
    }
    g = guest_gpr(o->reg.value);
    if (g < 0) return false; /* segment register */
    m = emit_stack_access(t, -(int)bytes, bytes, true);
    emit_store_sized(e, bytes, reg_in(t, g, S2), m);
    emit_stack_adjust(t, -(int)bytes);
    return true;
}

static bool pop_memory(struct translator *t, struct guest_insn *n,
                       unsigned bytes)
{
    struct emitter *e = &t->hot;
    struct access a;
    struct mem_form m;

    if (!access_of(t, n, &n->o[0], &a) || a.bytes != bytes) return false;
    a.is_write = true;
    /* The address is computed with SP behind the popped slot. */
    if (a.base == GPR_SP) a.disp += (int)bytes;
    m = emit_stack_access(t, 0, bytes, false);
    emit_load_sized(e, bytes, S2, m);
    emit_store(e, S2, (int32_t)temp0);
    emit_access(t, &a);
    emit_load(e, S2, (int32_t)temp0);
    emit_store_sized(e, bytes, S2, mem_at(S1, 0));
    emit_stack_adjust(t, (int)bytes);
    return true;
}

bool emit_pop(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    const ZydisDecodedOperand *o = &n->o[0];
    unsigned bytes = stack_slot_bytes(n);
    struct mem_form m;
    int g, h;

    if (bytes != 2 && bytes != 4 && bytes != 8) return false;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) return pop_memory(t, n, bytes);
    g = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? guest_gpr(o->reg.value) : -1;
    if (g < 0) return false;
    if (g == GPR_SP && bytes == 2) return false;
    m = emit_stack_access(t, 0, bytes, false);
    h = host_in(t, g);
    if (g != GPR_SP) {
        if (h == H_NONE) {
            emit_load_sized(e, bytes, S2, m);
            emit_store_sized(e, bytes, S2, mem_gs(home_of(t, g)));
        } else if (bytes == 2) {
            emit_rm(e, &load16, h, m);
        } else {
            emit_op_rm(e, 0x8b, bytes == 8, h, m);
        }
        emit_stack_adjust(t, (int)bytes);
    } else {
        emit_op_rm(e, 0x8b, bytes == 8, H_GUEST_SP, m);
    }
    return true;
}

bool emit_leave(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    unsigned bytes = stack_slot_bytes(n), asize = stack_asize(t);
    struct access a = {
        .base = GPR_BP,
        .index = -1,
        .asize = (uint8_t)asize,
        .seg = SEG_SS,
        .bytes = bytes,
    };

    if (bytes != 2 && bytes != 4 && bytes != 8) return false;
    emit_access(t, &a);
    set_sp(e, asize, H_BP, (int)bytes);
    if (bytes == 2) {
        emit_rm(e, &load16, H_BP, mem_at(S1, 0));
    } else {
        emit_op_rm(e, 0x8b, bytes == 8, H_BP, mem_at(S1, 0));
    }
    return true;
}
