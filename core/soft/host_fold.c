/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/*
 * Folding of changes of RSP: pushes, pops and constants added to it only
 * change what is to be added later (translator.sp_pending), as long as nothing
 * in between can fault, leave or read RSP.  Accesses that are members of a
 * checked group cannot fault.
 */

static bool is_in_stack_group(const struct translator *t,
                              const struct guest_insn *n, bool is_slot)
{
    int k = n->group[is_slot];

    return k >= 0 && t->group[k].is_stack;
}

/* Instructions on general registers that never fault by themselves. */
static bool is_tame(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR: return true;
    default: return false;
    }
}

static uint32_t live_after(const struct translator *t,
                           const struct guest_insn *n)
{
    const struct guest_insn *last = &t->insn[t->count - 1];

    return n < last ? n[1].in : t->live_out;
}

/* ADD, SUB and LEA of RSP itself. */
static bool is_adjustment(const struct translator *t,
                          const struct guest_insn *n, int64_t *by)
{
    if (n->kind != INSN_GENERIC && n->kind != INSN_LEA) return false;
    if (!(n->writes >> GPR_SP & 1) || !adds_constant(n, GPR_SP, by)) {
        return false;
    }
    return !(live_after(t, n) & n->kill);
}

static bool is_plain_gpr(const ZydisDecodedOperand *o)
{
    int g;

    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    g = guest_gpr(o->reg.value);
    return g >= 0 && g != GPR_SP;
}

static bool uses_sp_register(const struct guest_insn *n)
{
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        const ZydisDecodedOperand *o = &n->o[i];

        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            guest_gpr(o->reg.value) == GPR_SP) {
            return true;
        }
    }
    return false;
}

static bool generic_folds(const struct translator *t,
                          const struct guest_insn *n)
{
    if (!is_tame(n->d.mnemonic) || uses_sp_register(n)) return false;
    if (n->mem < 0) return true;
    if (n->group[0] < 0) return false;
    return guest_gpr(n->o[n->mem].mem.base) != GPR_SP ||
           is_in_stack_group(t, n, false);
}

static bool can_fold(const struct translator *t, const struct guest_insn *n)
{
    int64_t by;

    if (!t->has_stack_group || t->loop.is_on) return false;
    switch (n->kind) {
    case INSN_PUSH:
        return is_in_stack_group(t, n, true) &&
               (n->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
                is_plain_gpr(&n->o[0]));
    case INSN_POP:
    case INSN_CALL_INDIRECT:
        return is_in_stack_group(t, n, true) && is_plain_gpr(&n->o[0]);
    case INSN_CALL:
    case INSN_RET: return is_in_stack_group(t, n, true);
    case INSN_GENERIC: return is_adjustment(t, n, &by) || generic_folds(t, n);
    case INSN_LEA:
        return is_adjustment(t, n, &by) ||
               (!uses_sp_register(n) && guest_gpr(n->o[1].mem.base) != GPR_SP);
    case INSN_NOP: return true;
    default: return false;
    }
}

void settle_sp(struct translator *t)
{
    if (t->sp_pending) {
        emit_lea(&t->hot, true, H_GUEST_SP,
                 mem_at(H_GUEST_SP, (int32_t)t->sp_pending));
    }
    t->sp_pending = 0;
}

void begin_folding(struct translator *t, const struct guest_insn *n)
{
    unsigned i = (unsigned)(n - t->insn);

    t->folds = can_fold(t, n) && t->sp_pending == (int16_t)t->sp_pending;
    if (!t->folds) {
        settle_sp(t);
        return;
    }
    /* A check looks at RSP, and may leave. */
    for (unsigned k = 0; k < t->group_count; k++) {
        if (t->group[k].members && t->group[k].at == i) settle_sp(t);
    }
}

bool fold_adjustment(struct translator *t, const struct guest_insn *n)
{
    int64_t by;

    if (!t->folds || !is_adjustment(t, n, &by)) return false;
    t->sp_pending += by;
    return true;
}
