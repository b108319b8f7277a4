/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/translate.h"

/* One step of MOVS, STOS and LODS without a repeat prefix, upwards. */

static const size_t temp0 = offsetof(struct engine, temp);

static void store_part(struct emitter *e, unsigned bytes, int reg)
{
    struct enc mov8 = { .op = 0x88, .force_rex = true };

    if (bytes == 1) {
        emit_rm(e, &mov8, reg, mem_at(S1, 0));
    } else {
        emit_store_sized(e, bytes, reg, mem_at(S1, 0));
    }
}

static void load_part(struct emitter *e, unsigned bytes, int reg)
{
    struct enc mov = { .op = bytes == 1 ? 0x8a : 0x8b, .w = bytes == 8 };

    if (bytes == 2) mov.prefix[mov.prefix_count++] = 0x66;
    emit_rm(e, &mov, reg, mem_at(S1, 0));
}

static void advance(struct translator *t, unsigned asize, int reg, int by)
{
    struct enc mov16 = { .op = 0x89, .prefix = { 0x66 }, .prefix_count = 1 };

    if (asize != 2) {
        emit_lea(&t->hot, asize == 8, reg, mem_at(reg, by));
        return;
    }
    emit_lea(&t->hot, false, S2, mem_at(reg, by));
    emit_rr(&t->hot, &mov16, S2, reg);
}

static bool memory_operand(struct translator *t, struct guest_insn *n,
                           unsigned i, bool is_write, struct access *a)
{
    if (n->o[i].type != ZYDIS_OPERAND_TYPE_MEMORY) return false;
    if (!access_of(t, n, &n->o[i], a)) return false;
    a->is_write = is_write;
    return a->base == REG_SI || a->base == REG_DI;
}

bool emit_string(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    unsigned op = n->d.opcode & 0xfe;
    struct access to, from;

    if ((n->d.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                            ZYDIS_ATTRIB_HAS_REPNE)) ||
        (t->mode.bits & BM_DF)) {
        return false;
    }
    switch (op) {
    case 0xa4: /* MOVS */
        if (!memory_operand(t, n, 0, true, &to) ||
            !memory_operand(t, n, 1, false, &from)) {
            return false;
        }
        emit_access(t, &from);
        load_part(e, from.bytes, S2);
        emit_store(e, S2, (int32_t)temp0);
        emit_access(t, &to);
        emit_load(e, S2, (int32_t)temp0);
        store_part(e, to.bytes, S2);
        advance(t, to.asize, H_SI, (int)to.bytes);
        advance(t, to.asize, H_DI, (int)to.bytes);
        return true;
    case 0xaa: /* STOS */
        if (!memory_operand(t, n, 0, true, &to)) return false;
        emit_access(t, &to);
        store_part(e, to.bytes, H_AX);
        advance(t, to.asize, H_DI, (int)to.bytes);
        return true;
    case 0xac: /* LODS */
        if (!memory_operand(t, n, 1, false, &from)) return false;
        emit_access(t, &from);
        load_part(e, from.bytes, H_AX);
        advance(t, from.asize, H_SI, (int)from.bytes);
        return true;
    default: return false;
    }
}
