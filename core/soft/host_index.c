/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/*
 * Table look-ups: an index that was a byte, or has been cut to a few bits, just
 * before.  All that the access may reach is checked in place of the access, so
 * look-ups in the same table share a check (host_group.c).
 */

enum { LOOK_BACK = 12, REACH_MAX = 2080 };

/* Largest value of register g behind n, which writes it; -1: not known. */
static int64_t largest(const struct guest_insn *n, int g)
{
    const ZydisDecodedOperand *to = &n->o[0];
    uint64_t by = n->o[1].imm.value.u;

    if (n->kind != INSN_GENERIC || to->type != ZYDIS_OPERAND_TYPE_REGISTER ||
        guest_gpr(to->reg.value) != g || to->size < 32) {
        return -1;
    }
    if (n->d.mnemonic == ZYDIS_MNEMONIC_MOVZX) {
        return n->o[1].size == 8 ? UINT8_MAX : -1;
    }
    if (n->o[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return -1;
    if (n->d.mnemonic == ZYDIS_MNEMONIC_AND) {
        return by < REACH_MAX ? (int64_t)by : -1;
    }
    if (n->d.mnemonic == ZYDIS_MNEMONIC_SHR && by < to->size &&
        to->size - by < 12) {
        return (1 << (to->size - by)) - 1;
    }
    return -1;
}

bool index_reach(const struct translator *t, const struct guest_insn *n,
                 struct access *a)
{
    int64_t reach = -1;

    if (a->base < 0 || a->index < 0 || a->index == a->base) return false;
    for (const struct guest_insn *p = n; p > t->insn && n - p < LOOK_BACK;) {
        p--;
        if (!(p->writes >> a->index & 1)) continue;
        reach = largest(p, a->index);
        break;
    }
    if (reach < 0) return false;
    reach = (reach << a->scale) + a->bytes;
    if (reach > REACH_MAX) return false;
    a->index = -1;
    a->bytes = (unsigned)reach;
    return true;
}
