/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/soft/rep.h"
#include "core/soft/translate.h"

/* One step of MOVS, STOS and LODS upwards, and REP MOVS and REP STOS in 64-bit
 * code. */

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
    return a->base == GPR_SI || a->base == GPR_DI;
}

static unsigned log2_bytes(unsigned bytes)
{
    return bytes == 8 ? 3 : bytes == 4 ? 2 : bytes - 1;
}

/* FS and GS have a base. */
static bool has_base(const struct guest_insn *n)
{
    for (unsigned i = 0; i < n->d.operand_count; i++) {
        ZydisRegister seg = n->o[i].mem.segment;
        if (n->o[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (seg == ZYDIS_REGISTER_FS || seg == ZYDIS_REGISTER_GS)) {
            return true;
        }
    }
    return false;
}

/* By the routines of entry.S, which say what S1 and S2 hold. */
static bool emit_rep(struct translator *t, struct guest_insn *n)
{
    unsigned op = n->d.opcode, bytes = op & 1 ? n->d.operand_width / 8 : 1;
    bool is_stos = (op & 0xfe) == 0xaa;
    uint32_t param = t->space * TLB_SPAN | log2_bytes(bytes);

    if (!(t->mode.bits & BM_CODE64) || n->d.address_width != 64 ||
        has_base(n) || !(n->d.attributes & ZYDIS_ATTRIB_HAS_REP) ||
        (!is_stos && (op & 0xfe) != 0xa4)) {
        return false;
    }
    save_flags(t);
    if (t->are_flags_saved) param |= REP_FLAGS_SAVED;
    if (t->mode.bits & BM_DF) param |= REP_DOWN;
    emit_const(&t->hot, S1, param);
    emit_rip_const(&t->hot, S2, n->rip);
    emit_call(&t->hot,
              t->cache->entry[is_stos ? CODE_REP_STOS : CODE_REP_MOVS]);
    restore_flags(t);
    return true;
}

bool emit_string(struct translator *t, struct guest_insn *n)
{
    struct emitter *e = &t->hot;
    unsigned op = n->d.opcode & 0xfe;
    struct access to, from;

    if (n->d.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                           ZYDIS_ATTRIB_HAS_REPNE)) {
        return emit_rep(t, n);
    }
    if (t->mode.bits & BM_DF) return false;
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
